/* Sums of two value vectors: every pair of a block, for every class. */
#include "lens/pairs.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "lens/aligner.h"
#include "lens/clones.h"

#include <math.h>

#define CLASSES_PER_TASK 128
#define ROWS_PER_TASK    32

typedef struct pairs_job {
    const float *fold;
    const double *var, *constant;
    float *inverse; /* [units, units] 1 / sqrt(variance of the sum + eps) */
    double eps;
    size_t units, classes;
    kh_pair *out;
} pairs_job;

/* Covariances to inverse deviations. Rounding may leave a tiny negative variance of opposite
 * vectors. */
static void inverse_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const pairs_job *job = arg;
    const size_t units = job->units;
    for (size_t i = task * ROWS_PER_TASK; i < units && i < (task + 1) * ROWS_PER_TASK; i++)
        for (size_t j = 0; j < units; j++) {
            const double var = job->var[i] + job->var[j] + 2 * (double)job->inverse[i * units + j];
            job->inverse[i * units + j] = (float)(1 / sqrt((var > 0 ? var : 0) + job->eps));
        }
}

/* The two best singles of a class. */
static void best_singles(const pairs_job *job, size_t c, size_t top[2], double *best) {
    double scores[2] = {-(double)INFINITY, -(double)INFINITY};
    top[0] = top[1] = 0;
    for (size_t n = 0; n < job->units; n++) {
        const double s = (double)job->fold[n * job->classes + c] / sqrt(job->var[n] + job->eps);
        if (s > scores[0]) {
            scores[1] = scores[0];
            top[1] = top[0];
            scores[0] = s;
            top[0] = n;
        } else if (s > scores[1]) {
            scores[1] = s;
            top[1] = n;
        }
    }
    *best = scores[0];
}

static double pair_score(const pairs_job *job, size_t c, size_t i, size_t j) {
    const double sum =
        (double)job->fold[i * job->classes + c] + (double)job->fold[j * job->classes + c];
    return sum * (double)job->inverse[i * job->units + j];
}

typedef struct strip {
    float best[CLASSES_PER_TASK];
    uint32_t i[CLASSES_PER_TASK], j[CLASSES_PER_TASK];
} strip;

/* Every pair for `width` classes from `first` on. */
KH_CLONES static void scan(const float *fold, const float *inverse, size_t units, size_t classes,
                           size_t first, size_t width, strip *s) {
    for (size_t i = 0; i < units; i++)
        for (size_t j = i + 1; j < units; j++) {
            const float *a = fold + i * classes + first, *b = fold + j * classes + first;
            const float by = inverse[i * units + j];
            const uint32_t u = (uint32_t)i, v = (uint32_t)j;
            for (size_t c = 0; c < width; c++) { /* no branch: the compiler makes vectors of it */
                const float score = (a[c] + b[c]) * by;
                const bool is_better = score > s->best[c];
                s->best[c] = is_better ? score : s->best[c];
                s->i[c] = is_better ? u : s->i[c];
                s->j[c] = is_better ? v : s->j[c];
            }
        }
}

static void strip_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const pairs_job *job = arg;
    const size_t first = task * CLASSES_PER_TASK, classes = job->classes, units = job->units;
    const size_t width = classes - first < CLASSES_PER_TASK ? classes - first : CLASSES_PER_TASK;
    strip s = {.best = {0}};
    for (size_t c = 0; c < width; c++)
        s.best[c] = -INFINITY;
    scan(job->fold, job->inverse, units, classes, first, width, &s);
    for (size_t c = 0; c < width; c++) {
        const double constant = job->constant[first + c];
        size_t top[2];
        double single;
        best_singles(job, first + c, top, &single);
        job->out[first + c] =
            (kh_pair){.i = s.i[c],
                      .j = s.j[c],
                      .score = (float)(pair_score(job, first + c, s.i[c], s.j[c]) + constant),
                      .best_single = (float)(single + constant),
                      .top2 = (float)(pair_score(job, first + c, top[0], top[1]) + constant)};
    }
}

static void run_tasks(kh_pool *pool, size_t items, size_t per_task, kh_task_fn fn, pairs_job *job) {
    const size_t tasks = (items + per_task - 1) / per_task;
    kh_pool_run(pool, tasks, fn, job);
}

void kh_pairs_best(kh_pool *pool, const float *fold, const double *var, float *gram, double eps,
                   const double *constant, size_t units, size_t classes, kh_pair *out) {
    pairs_job job = {.fold = fold,
                     .var = var,
                     .constant = constant,
                     .inverse = gram,
                     .eps = eps,
                     .units = units,
                     .classes = classes,
                     .out = out};
    run_tasks(pool, units, ROWS_PER_TASK, inverse_task, &job);
    run_tasks(pool, classes, CLASSES_PER_TASK, strip_task, &job);
}

/* gram[i, j] = <row i, row j> / dim of the aligner's centred rows. */
static kh_status covariances(kh_aligner *a, float *gram, kh_error *err) {
    const kh_backend *backend = kh_ctx_backend(a->ctx);
    kh_weight *packed = backend->pack(a->ctx, a->rows, NULL, a->units, a->dim, false);
    float *y = backend->alloc(a->ctx, ALIGNER_ROWS * a->units);
    kh_status status = KH_OK;
    if (!packed || !y) {
        status =
            kh_fail(err, KH_E_MEMORY, "no memory for the pairs of %zu value vectors", a->units);
        goto done;
    }
    for (size_t first = 0; first < a->units; first += ALIGNER_ROWS) {
        const size_t rows = a->units - first < ALIGNER_ROWS ? a->units - first : ALIGNER_ROWS;
        backend->upload(a->ctx, a->x, a->rows + first * a->dim, rows * a->dim);
        backend->linear(a->ctx, &(kh_linear_args){.rows = rows,
                                                  .x = a->x,
                                                  .x_stride = a->dim,
                                                  .w = packed,
                                                  .y = y,
                                                  .y_stride = a->units});
        backend->download(a->ctx, gram + first * a->units, y, rows * a->units);
    }
    for (size_t i = 0; i < a->units * a->units; i++)
        gram[i] /= (float)a->dim;

done:
    if (y) backend->release(a->ctx, y);
    if (packed) backend->weight_free(a->ctx, packed);
    return status;
}

static kh_status check(const kh_aligner *a, size_t count, kh_error *err) {
    if (kh_model_get_info(a->model)->is_post_norm)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "pairs in post-norm blocks: the block's norm sees the sum first");
    if (!a->final.w)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "without a final norm scores of pairs add up: the best "
                       "pair is the two best vectors");
    if (count != a->classes)
        return kh_fail(err, KH_E_SHAPE, "room for %zu pairs, one for each of %zu classes", count,
                       a->classes);
    return KH_OK;
}

kh_status kh_lens_pairs(kh_ctx *ctx, const kh_model *model, const kh_align_options *options,
                        size_t block, kh_pair *out, size_t count, kh_error *err) {
    return kh_lens_pairs_weighted(ctx, model, options, block, NULL, out, count, err);
}

kh_status kh_lens_pairs_weighted(kh_ctx *ctx, const kh_model *model,
                                 const kh_align_options *options, size_t block,
                                 const float *weights, kh_pair *out, size_t count, kh_error *err) {
    kh_align_options folded = *options;
    folded.mode = KH_ALIGN_FOLD;
    kh_aligner *a = NULL;
    float *fold = NULL, *gram = NULL;
    kh_value_stats *stats = NULL;
    double *var = NULL, *constant = NULL;
    size_t scores, square;
    kh_status status;
    KH_GO(kh_lens_aligner_create(ctx, model, &folded, &a, err));
    KH_GO(check(a, count, err));
    if (kh_mul(a->units, a->classes, &scores)) fold = kh_alloc_floats(scores);
    if (kh_mul(a->units, a->units, &square)) gram = kh_alloc_floats(square);
    stats = kh_calloc(a->units, sizeof *stats);
    var = kh_calloc(a->units, sizeof *var);
    constant = kh_calloc(a->classes, sizeof *constant);
    if (!fold || !gram || !stats || !var || !constant) {
        status =
            kh_fail(err, KH_E_MEMORY, "no memory for the pairs of %zu value vectors", a->units);
        goto done;
    }
    KH_GO(kh_lens_aligner_block(a, block, fold, scores, err)); /* leaves centred rows behind */
    KH_GO(covariances(a, gram, err));
    kh_lens_value_stats(a->rows, a->units, a->dim, stats);
    for (size_t n = 0; n < a->units; n++)
        var[n] = stats[n].var;
    kh_align_constants(KH_ALIGN_LN, a->embeddings, a->bias, a->classes, a->dim, &a->final,
                       constant);
    if (weights)
        status = kh_pairs_best_weighted(kh_ctx_pool(ctx), fold, var, gram, weights, a->final.eps,
                                        constant, a->units, a->classes, out, err);
    else
        kh_pairs_best(kh_ctx_pool(ctx), fold, var, gram, a->final.eps, constant, a->units,
                      a->classes, out);

done:
    kh_free(constant);
    kh_free(var);
    kh_free(stats);
    kh_free(gram);
    kh_free(fold);
    kh_lens_aligner_free(a);
    return status;
}
