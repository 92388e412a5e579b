/* The same ranking for heads (or value vectors) that know nothing: what an alignment must beat. */
#include "lens/aligner.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

/* Packed null heads kept at once; more draws go round the blocks again. */
#define GROUP_BYTES ((size_t)256 << 20)

kh_null_options kh_null_options_default(void) {
    return (kh_null_options){.align = kh_align_options_default(), .draws = 20};
}

void kh_null_band_clear(kh_null_band *band) {
    if (!band) return;
    kh_free(band->class_top1);
    kh_free(band->block_top1);
    kh_free(band->block_share);
    *band = (kh_null_band){0};
}

typedef struct null_run {
    kh_aligner *aligner;
    const kh_null_options *options;
    size_t group;        /* draws packed at once */
    kh_weight **packed;  /* [group] */
    double *constants;   /* [group, classes] */
    float *vectors;      /* [classes, dim] */
    size_t *permutation; /* [dim] */
    float *scores;       /* [units, classes] */
    float *best;         /* [draws, classes] best score so far */
    uint32_t *where;     /* [draws, classes] its block */
    float *block_mean;   /* [draws, blocks] */
    float *column;       /* [draws] */
} null_run;

/* Gaussian rows as long as the head's. */
static void random_rows(const kh_aligner *a, kh_rng *rng, float *out) {
    for (size_t c = 0; c < a->classes; c++) {
        float *row = out + c * a->dim;
        for (size_t i = 0; i < a->dim; i++)
            row[i] = (float)kh_rng_normal(rng);
        kh_value_stats drawn, wanted;
        kh_lens_value_stats(row, 1, a->dim, &drawn);
        kh_lens_value_stats(a->embeddings + c * a->dim, 1, a->dim, &wanted);
        const double scale = drawn.norm > 0 ? wanted.norm / drawn.norm : 0;
        for (size_t i = 0; i < a->dim; i++)
            row[i] = (float)((double)row[i] * scale);
    }
}

/* Shuffled dims of every value vector = the class vectors, norm folded in, shuffled back. */
static void permute_columns(null_run *run, kh_rng *rng, float *rows) {
    const kh_aligner *a = run->aligner;
    for (size_t i = 0; i < a->dim; i++)
        run->permutation[i] = i;
    for (size_t i = a->dim; i > 1; i--) {
        const size_t j = kh_rng_below(rng, i);
        const size_t t = run->permutation[i - 1];
        run->permutation[i - 1] = run->permutation[j];
        run->permutation[j] = t;
    }
    for (size_t c = 0; c < a->classes; c++) {
        const float *from = rows + c * a->dim;
        for (size_t i = 0; i < a->dim; i++)
            run->scores[i] = from[run->permutation[i]];
        memcpy(rows + c * a->dim, run->scores, a->dim * sizeof *rows);
    }
}

static kh_status pack_draw(null_run *run, size_t draw, size_t slot, kh_error *err) {
    kh_aligner *a = run->aligner;
    const kh_align_mode mode = a->options.mode;
    double *constant = run->constants + slot * a->classes;
    kh_rng rng = kh_rng_make(run->options->seed, draw);
    if (run->options->kind == KH_NULL_HEAD) {
        random_rows(a, &rng, run->vectors);
        kh_align_constants(mode, run->vectors, a->bias, a->classes, a->dim, &a->final, constant);
        kh_align_classes(mode, run->vectors, a->classes, a->dim, &a->final, run->vectors);
    } else {
        kh_align_classes(mode, a->embeddings, a->classes, a->dim, &a->final, run->vectors);
        permute_columns(run, &rng, run->vectors);
        memcpy(constant, a->constant, a->classes * sizeof *constant);
    }
    run->packed[slot] =
        kh_ctx_backend(a->ctx)->pack(a->ctx, run->vectors, NULL, a->classes, a->dim, false);
    if (!run->packed[slot]) return kh_fail(err, KH_E_MEMORY, "no memory for a null head");
    return KH_OK;
}

static void free_packed(null_run *run) {
    kh_ctx *ctx = run->aligner->ctx;
    for (size_t i = 0; run->packed && i < run->group; i++) {
        if (run->packed[i]) kh_ctx_backend(ctx)->weight_free(ctx, run->packed[i]);
        run->packed[i] = NULL;
    }
}

/* Folds the scores of one block into the draw's records. */
static void take_block(null_run *run, size_t draw, size_t block) {
    const kh_aligner *a = run->aligner;
    float *best = run->best + draw * a->classes;
    uint32_t *where = run->where + draw * a->classes;
    float *top = run->vectors; /* free by now; at least `classes` long */
    memcpy(top, run->scores, a->classes * sizeof *top);
    for (size_t n = 1; n < a->units; n++)
        for (size_t c = 0; c < a->classes; c++) {
            const float s = run->scores[n * a->classes + c];
            top[c] = s > top[c] ? s : top[c];
        }
    double sum = 0;
    for (size_t c = 0; c < a->classes; c++) {
        sum += (double)top[c];
        if (block > 0 && !(top[c] > best[c])) continue;
        best[c] = top[c];
        where[c] = (uint32_t)block;
    }
    run->block_mean[draw * a->blocks + block] = (float)(sum / (double)a->classes);
}

static kh_status run_group(null_run *run, size_t first, kh_error *err) {
    kh_aligner *a = run->aligner;
    const size_t draws =
        run->options->draws - first < run->group ? run->options->draws - first : run->group;
    for (size_t i = 0; i < draws; i++)
        KH_TRY(pack_draw(run, first + i, i, err));
    for (size_t block = 0; block < a->blocks; block++) {
        KH_TRY(kh_aligner_load(a, block, err));
        for (size_t i = 0; i < draws; i++) {
            const uint64_t done = (first * a->blocks + block * draws + i) / a->blocks;
            if (run->options->progress &&
                !run->options->progress(run->options->progress_user, "draws", done,
                                        run->options->draws))
                return kh_fail(err, KH_E_STOPPED, "stopped in a null band");
            if (!kh_aligner_scores(a, run->packed[i], run->constants + i * a->classes, run->scores))
                return kh_fail(err, KH_E_NUMERIC, "null band, block %zu: a score is not finite",
                               block);
            take_block(run, first + i, block);
        }
    }
    return KH_OK;
}

static kh_status band_of(const float *column, size_t draws, kh_band *out, kh_error *err) {
    double sum = 0;
    for (size_t i = 0; i < draws; i++)
        sum += (double)column[i];
    out->mean = sum / (double)draws;
    KH_TRY(kh_lens_quantile(column, draws, 0.025, &out->lo, err));
    return kh_lens_quantile(column, draws, 0.975, &out->hi, err);
}

static kh_status summarize(null_run *run, kh_null_band *out, kh_error *err) {
    const size_t draws = out->draws, classes = out->classes, blocks = out->blocks;
    for (size_t d = 0; d < draws; d++) {
        double sum = 0;
        for (size_t c = 0; c < classes; c++)
            sum += (double)run->best[d * classes + c];
        run->column[d] = (float)(sum / (double)classes);
    }
    KH_TRY(band_of(run->column, draws, &out->top1, err));
    for (size_t c = 0; c < classes; c++) {
        for (size_t d = 0; d < draws; d++)
            run->column[d] = run->best[d * classes + c];
        KH_TRY(band_of(run->column, draws, &out->class_top1[c], err));
    }
    for (size_t b = 0; b < blocks; b++) {
        for (size_t d = 0; d < draws; d++)
            run->column[d] = run->block_mean[d * blocks + b];
        KH_TRY(band_of(run->column, draws, &out->block_top1[b], err));
        for (size_t d = 0; d < draws; d++) {
            size_t count = 0;
            for (size_t c = 0; c < classes; c++)
                count += run->where[d * classes + c] == b;
            run->column[d] = (float)((double)count / (double)classes);
        }
        KH_TRY(band_of(run->column, draws, &out->block_share[b], err));
    }
    return KH_OK;
}

static bool allocate(null_run *run, kh_null_band *out) {
    const kh_aligner *a = run->aligner;
    const size_t draws = out->draws;
    size_t head, scores, per_draw;
    if (!kh_mul(a->classes, a->dim, &head) || !kh_mul(a->units, a->classes, &scores) ||
        !kh_mul(draws, a->classes, &per_draw))
        return false;
    run->group = GROUP_BYTES / sizeof(float) / head;
    if (run->group < 1) run->group = 1;
    if (run->group > draws) run->group = draws;
    if (scores < a->dim) scores = a->dim; /* also a row of the permutation */
    run->packed = kh_calloc(run->group, sizeof(kh_weight *));
    run->constants = kh_calloc(run->group, a->classes * sizeof *run->constants);
    run->vectors = kh_alloc_floats(head);
    run->permutation = kh_calloc(a->dim, sizeof *run->permutation);
    run->scores = kh_alloc_floats(scores);
    run->best = kh_alloc_floats(per_draw);
    run->where = kh_calloc(per_draw, sizeof *run->where);
    run->block_mean = kh_calloc(draws, a->blocks * sizeof *run->block_mean);
    run->column = kh_alloc_floats(draws);
    out->class_top1 = kh_calloc(a->classes, sizeof *out->class_top1);
    out->block_top1 = kh_calloc(a->blocks, sizeof *out->block_top1);
    out->block_share = kh_calloc(a->blocks, sizeof *out->block_share);
    return run->packed && run->constants && run->vectors && run->permutation && run->scores &&
           run->best && run->where && run->block_mean && run->column && out->class_top1 &&
           out->block_top1 && out->block_share;
}

kh_status kh_lens_null_band(kh_ctx *ctx, const kh_model *model, const kh_null_options *options,
                            kh_null_band *out, kh_error *err) {
    *out = (kh_null_band){.kind = options->kind, .seed = options->seed, .draws = options->draws};
    if (options->draws == 0) return kh_fail(err, KH_E_ARG, "a null band of no draws");
    null_run run = {.options = options};
    kh_status status;
    KH_GO(kh_lens_aligner_create(ctx, model, &options->align, &run.aligner, err));
    out->blocks = run.aligner->blocks;
    out->classes = run.aligner->classes;
    if (!allocate(&run, out)) {
        status =
            kh_fail(err, KH_E_MEMORY, "no memory for a null band of %zu draws", options->draws);
        goto done;
    }
    for (size_t first = 0; first < options->draws; first += run.group) {
        KH_GO(run_group(&run, first, err));
        free_packed(&run);
    }
    if (options->progress)
        (void)options->progress(options->progress_user, "draws", options->draws, options->draws);
    KH_GO(summarize(&run, out, err));

done:
    if (run.aligner) free_packed(&run);
    kh_free(run.column);
    kh_free(run.block_mean);
    kh_free(run.where);
    kh_free(run.best);
    kh_free(run.scores);
    kh_free(run.permutation);
    kh_free(run.vectors);
    kh_free(run.constants);
    kh_free(run.packed);
    kh_lens_aligner_free(run.aligner);
    if (status) kh_null_band_clear(out);
    return status;
}
