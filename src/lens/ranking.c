/* For every class its best value vectors, over all blocks and per block, while blocks stream by. */
#include "lens/scores.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/status.h"
#include "compute/backend.h"

#include <math.h>
#include <string.h>

typedef struct ranked_unit {
    uint32_t index;
    float score;
} ranked_unit;

struct kh_ranker {
    kh_ranking result;
    size_t fed;
    size_t block_depth;      /* min(k + 1, units) */
    size_t global_depth;     /* min(k + 1, blocks * units) */
    ranked_unit *block_list; /* [classes, block_depth] of the block being fed */
    kh_ranked *global_list;  /* [classes, global_depth] */
    size_t global_count;     /* entries of every class so far */
};

void kh_ranking_clear(kh_ranking *r) {
    if (!r) return;
    kh_free(r->global);
    kh_free(r->margin_to_next);
    kh_free(r->block_index);
    kh_free(r->block_score);
    kh_free(r->top_class);
    kh_free(r->top_score);
    kh_free(r->stats);
    *r = (kh_ranking){0};
}

void kh_lens_ranker_free(kh_ranker *ranker) {
    if (!ranker) return;
    kh_ranking_clear(&ranker->result);
    kh_free(ranker->block_list);
    kh_free(ranker->global_list);
    kh_free(ranker);
}

static bool allocate(kh_ranker *r) {
    kh_ranking *out = &r->result;
    size_t per_class, per_block, units;
    if (!kh_mul(out->classes, out->k, &per_class) || !kh_mul(per_class, out->blocks, &per_block) ||
        !kh_mul(out->blocks, out->units, &units))
        return false;
    out->global = kh_calloc(per_class, sizeof *out->global);
    out->margin_to_next = kh_calloc(per_class, sizeof *out->margin_to_next);
    out->block_index = kh_calloc(per_block, sizeof *out->block_index);
    out->block_score = kh_calloc(per_block, sizeof *out->block_score);
    out->top_class = kh_calloc(units, sizeof *out->top_class);
    out->top_score = kh_calloc(units, sizeof *out->top_score);
    out->stats = kh_calloc(out->blocks, sizeof *out->stats);
    r->block_depth = out->k + 1 < out->units ? out->k + 1 : out->units;
    r->global_depth = out->k + 1 < units ? out->k + 1 : units;
    r->block_list = kh_calloc(out->classes, r->block_depth * sizeof *r->block_list);
    r->global_list = kh_calloc(out->classes, r->global_depth * sizeof *r->global_list);
    return out->global && out->margin_to_next && out->block_index && out->block_score &&
           out->top_class && out->top_score && out->stats && r->block_list && r->global_list;
}

kh_status kh_lens_ranker_create(size_t blocks, size_t units, size_t classes, size_t k,
                                kh_ranker **out, kh_error *err) {
    *out = NULL;
    if (blocks == 0 || classes == 0 || k == 0 || k > units || units > INT32_MAX ||
        blocks > UINT32_MAX || classes > UINT32_MAX)
        return kh_fail(err, KH_E_ARG, "the best %zu of %zu units in %zu blocks for %zu classes", k,
                       units, blocks, classes);
    kh_ranker *r = kh_calloc(1, sizeof *r);
    if (!r) return kh_fail(err, KH_E_MEMORY, "no memory for a ranking");
    r->result.blocks = blocks;
    r->result.units = units;
    r->result.classes = classes;
    r->result.k = k;
    if (!allocate(r)) {
        kh_lens_ranker_free(r);
        return kh_fail(err, KH_E_MEMORY, "no memory to rank %zu units for %zu classes",
                       blocks * units, classes);
    }
    *out = r;
    return KH_OK;
}

typedef struct feed_job {
    kh_ranker *ranker;
    const float *scores;
} feed_job;

/* Puts an entry into a list that is sorted and holds `count` of at most `depth`; it came later than
 * everything in the list, so it goes behind its equals. */
static void insert_unit(ranked_unit *list, size_t count, size_t depth, ranked_unit entry) {
    size_t at = count < depth ? count : depth - 1;
    while (at > 0 && entry.score > list[at - 1].score) {
        list[at] = list[at - 1];
        at--;
    }
    list[at] = entry;
}

#define CLASSES_PER_TASK 32

/* The block's lists of a strip of classes. */
static void class_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const feed_job *job = arg;
    kh_ranker *r = job->ranker;
    const size_t classes = r->result.classes, depth = r->block_depth, units = r->result.units;
    const size_t first = task * CLASSES_PER_TASK;
    const size_t last = classes - first < CLASSES_PER_TASK ? classes : first + CLASSES_PER_TASK;
    float threshold[CLASSES_PER_TASK]; /* score to beat */
    for (size_t n = 0; n < units; n++) {
        const float *row = job->scores + n * classes;
        for (size_t c = first; c < last; c++) {
            if (n >= depth && !(row[c] > threshold[c - first])) continue;
            ranked_unit *list = r->block_list + c * depth;
            insert_unit(list, n, depth, (ranked_unit){(uint32_t)n, row[c]});
            threshold[c - first] = list[depth - 1].score;
        }
    }
}

#define UNITS_PER_TASK 64

/* Each unit's own best class. */
static void unit_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const feed_job *job = arg;
    kh_ranking *out = &job->ranker->result;
    const size_t offset = job->ranker->fed * out->units;
    for (size_t n = task * UNITS_PER_TASK; n < out->units && n < (task + 1) * UNITS_PER_TASK; n++) {
        const float *row = job->scores + n * out->classes;
        size_t best = 0;
        for (size_t c = 1; c < out->classes; c++)
            if (row[c] > row[best]) best = c;
        out->top_class[offset + n] = (uint32_t)best;
        out->top_score[offset + n] = row[best];
    }
}

static void run_tasks(kh_ctx *ctx, size_t items, size_t per_task, kh_task_fn fn, feed_job *job) {
    const size_t tasks = (items + per_task - 1) / per_task;
    kh_pool_run(ctx ? kh_ctx_pool(ctx) : NULL, tasks, fn, job);
}

static void merge_block(kh_ranker *r) {
    kh_ranking *out = &r->result;
    const size_t depth = r->global_depth;
    for (size_t c = 0; c < out->classes; c++) {
        const ranked_unit *from = r->block_list + c * r->block_depth;
        kh_ranked *list = r->global_list + c * depth;
        size_t count = r->global_count;
        for (size_t i = 0; i < r->block_depth; i++) {
            if (count == depth && !(from[i].score > list[depth - 1].score)) break;
            size_t at = count < depth ? count++ : depth - 1;
            while (at > 0 && from[i].score > list[at - 1].score) {
                list[at] = list[at - 1];
                at--;
            }
            list[at] = (kh_ranked){(uint32_t)r->fed, from[i].index, from[i].score};
        }
        for (size_t rank = 0; rank < out->k; rank++) {
            const size_t to = (r->fed * out->k + rank) * out->classes + c;
            out->block_index[to] = (int32_t)from[rank].index;
            out->block_score[to] = from[rank].score;
        }
    }
    r->global_count += r->block_depth;
    if (r->global_count > depth) r->global_count = depth;
}

kh_status kh_lens_ranker_feed(kh_ranker *r, kh_ctx *ctx, const float *scores, kh_error *err) {
    kh_ranking *out = &r->result;
    if (r->fed >= out->blocks)
        return kh_fail(err, KH_E_ARG, "the ranking has all its %zu blocks", out->blocks);
    kh_score_stats *stats = &out->stats[r->fed];
    KH_TRY(kh_score_stats_on(ctx ? kh_ctx_pool(ctx) : NULL, scores, out->units, out->classes, stats,
                             err));
    if (stats->nan_count)
        return kh_fail(err, KH_E_NUMERIC, "block %zu: %llu of %llu scores are NaN", r->fed,
                       (unsigned long long)stats->nan_count,
                       (unsigned long long)(stats->nan_count + stats->count));
    feed_job job = {r, scores};
    run_tasks(ctx, out->classes, CLASSES_PER_TASK, class_task, &job);
    run_tasks(ctx, out->units, UNITS_PER_TASK, unit_task, &job);
    merge_block(r);
    r->fed++;
    return KH_OK;
}

kh_status kh_lens_ranker_finish(kh_ranker *r, kh_ranking *out, kh_error *err) {
    kh_ranking *result = &r->result;
    if (r->fed != result->blocks)
        return kh_fail(err, KH_E_ARG, "%zu of %zu blocks were ranked", r->fed, result->blocks);
    for (size_t c = 0; c < result->classes; c++) {
        const kh_ranked *list = r->global_list + c * r->global_depth;
        for (size_t rank = 0; rank < result->k; rank++) {
            const size_t to = c * result->k + rank;
            result->global[to] = list[rank];
            result->margin_to_next[to] =
                rank + 1 < r->global_depth ? list[rank].score - list[rank + 1].score : NAN;
        }
    }
    *out = *result;
    *result = (kh_ranking){0};
    return KH_OK;
}

void kh_lens_block_histogram(const kh_ranking *ranking, size_t rank, size_t *counts) {
    memset(counts, 0, ranking->blocks * sizeof *counts);
    for (size_t c = 0; c < ranking->classes; c++)
        counts[ranking->global[c * ranking->k + rank].block]++;
}

/* Mean and quartiles of one column; NaN when any is NaN. */
static kh_status summarize(const float *column, size_t count, double *mean, double quartiles[3],
                           kh_error *err) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)column[i];
    *mean = sum / (double)count;
    for (size_t i = 0; i < 3; i++) {
        quartiles[i] = (double)NAN;
        if (!isnan(*mean))
            KH_TRY(kh_lens_quantile(column, count, 0.25 * (double)(i + 1), &quartiles[i], err));
    }
    return KH_OK;
}

kh_status kh_lens_rank_curve(const kh_ranking *ranking, kh_rank_curve *out, kh_error *err) {
    const size_t classes = ranking->classes, k = ranking->k;
    float *column = kh_alloc_floats(classes);
    if (!column) return kh_fail(err, KH_E_MEMORY, "no memory for %zu scores", classes);
    kh_status status = KH_OK;
    for (size_t rank = 0; rank < k && !status; rank++) {
        double q[3];
        for (size_t c = 0; c < classes; c++)
            column[c] = ranking->global[c * k + rank].score;
        status = summarize(column, classes, &out[rank].mean, q, err);
        if (status) break;
        out[rank].q25 = q[0];
        out[rank].q50 = q[1];
        out[rank].q75 = q[2];
        for (size_t c = 0; c < classes; c++)
            column[c] = ranking->margin_to_next[c * k + rank];
        status = summarize(column, classes, &out[rank].gap_mean, q, err);
        out[rank].gap_q25 = q[0];
        out[rank].gap_q50 = q[1];
        out[rank].gap_q75 = q[2];
    }
    kh_free(column);
    return status;
}
