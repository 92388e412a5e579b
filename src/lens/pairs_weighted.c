/* Sums of two weighted value vectors, with weights that depend on the class: every pair.
 *
 *     ln(w_i v_i + w_j v_j) = (w_i s_i + w_j s_j)
 *         / sqrt(w_i^2 var_i + w_j^2 var_j + 2 w_i w_j cov_ij + eps) + constant */
#include "lens/pairs.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "lens/clones.h"

#include <math.h>

#define CLASSES_PER_TASK 64
#define ROWS_PER_TASK    32

typedef struct weighted_job {
    const float *fold, *gram, *weights;
    const double *var, *constant;
    float *w, *score, *spread; /* [units, classes]: w, w s, w^2 var */
    double eps;
    size_t units, classes;
    kh_pair *out;
} weighted_job;

static void prepare_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const weighted_job *job = arg;
    for (size_t i = task * ROWS_PER_TASK; i < job->units && i < (task + 1) * ROWS_PER_TASK; i++)
        for (size_t c = 0; c < job->classes; c++) {
            const size_t at = i * job->classes + c;
            const float w = job->weights[c * job->units + i];
            job->w[at] = w;
            job->score[at] = w * job->fold[at];
            job->spread[at] = (float)((double)w * (double)w * job->var[i]);
        }
}

typedef struct strip {
    float best[CLASSES_PER_TASK];
    uint32_t i[CLASSES_PER_TASK], j[CLASSES_PER_TASK];
} strip;

/* Rounding may leave a tiny negative variance of opposite vectors. */
KH_CLONES static void scan(const weighted_job *job, size_t first, size_t width, strip *s) {
    const size_t units = job->units, classes = job->classes;
    const float eps = (float)job->eps;
    for (size_t i = 0; i < units; i++)
        for (size_t j = i + 1; j < units; j++) {
            const size_t a = i * classes + first, b = j * classes + first;
            const float *wa = job->w + a, *wb = job->w + b;
            const float *sa = job->score + a, *sb = job->score + b;
            const float *va = job->spread + a, *vb = job->spread + b;
            const float twice = 2 * job->gram[i * units + j];
            const uint32_t u = (uint32_t)i, v = (uint32_t)j;
            for (size_t c = 0; c < width; c++) { /* no branch: the compiler makes vectors of it */
                const float var = va[c] + vb[c] + twice * (wa[c] * wb[c]);
                const float sum = sa[c] + sb[c];
                /* the score's square with its sign, which has the same order: a root that may set
                 * errno keeps the compiler from making vectors */
                const float score = sum * fabsf(sum) / ((var > 0 ? var : 0) + eps);
                const bool is_better = score > s->best[c];
                s->best[c] = is_better ? score : s->best[c];
                s->i[c] = is_better ? u : s->i[c];
                s->j[c] = is_better ? v : s->j[c];
            }
        }
}

static double single_score(const weighted_job *job, size_t c, size_t i) {
    const double w = (double)job->weights[c * job->units + i];
    return w * (double)job->fold[i * job->classes + c] / sqrt(w * w * job->var[i] + job->eps);
}

static double pair_score(const weighted_job *job, size_t c, size_t i, size_t j) {
    const double a = (double)job->weights[c * job->units + i],
                 b = (double)job->weights[c * job->units + j];
    const double var = a * a * job->var[i] + b * b * job->var[j] +
                       2 * a * b * (double)job->gram[i * job->units + j];
    const double sum =
        a * (double)job->fold[i * job->classes + c] + b * (double)job->fold[j * job->classes + c];
    return sum / sqrt((var > 0 ? var : 0) + job->eps);
}

static void finish(const weighted_job *job, size_t c, const strip *s, size_t place) {
    double top[2] = {-(double)INFINITY, -(double)INFINITY};
    size_t at[2] = {0, 0};
    for (size_t n = 0; n < job->units; n++) {
        const double score = single_score(job, c, n);
        if (score > top[0]) {
            top[1] = top[0];
            at[1] = at[0];
            top[0] = score;
            at[0] = n;
        } else if (score > top[1]) {
            top[1] = score;
            at[1] = n;
        }
    }
    const double constant = job->constant[c];
    job->out[c] =
        (kh_pair){.i = s->i[place],
                  .j = s->j[place],
                  .score = (float)(pair_score(job, c, s->i[place], s->j[place]) + constant),
                  .best_single = (float)(top[0] + constant),
                  .top2 = (float)(pair_score(job, c, at[0], at[1]) + constant)};
}

static void strip_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const weighted_job *job = arg;
    const size_t first = task * CLASSES_PER_TASK, left = job->classes - first;
    const size_t width = left < CLASSES_PER_TASK ? left : CLASSES_PER_TASK;
    strip s = {.best = {0}};
    for (size_t c = 0; c < width; c++)
        s.best[c] = -INFINITY;
    scan(job, first, width, &s);
    for (size_t c = 0; c < width; c++)
        if (isnan(job->weights[(first + c) * job->units]))
            job->out[first + c] = (kh_pair){.score = NAN, .best_single = NAN, .top2 = NAN};
        else
            finish(job, first + c, &s, c);
}

kh_status kh_pairs_best_weighted(kh_pool *pool, const float *fold, const double *var,
                                 const float *gram, const float *weights, double eps,
                                 const double *constant, size_t units, size_t classes, kh_pair *out,
                                 kh_error *err) {
    size_t cells, all;
    weighted_job job = {.fold = fold,
                        .gram = gram,
                        .weights = weights,
                        .var = var,
                        .constant = constant,
                        .eps = eps,
                        .units = units,
                        .classes = classes,
                        .out = out};
    if (kh_mul(units, classes, &cells) && kh_mul(cells, 3, &all)) job.w = kh_alloc_floats(all);
    if (!job.w)
        return kh_fail(err, KH_E_MEMORY, "no memory for weighted pairs of %zu vectors", units);
    job.score = job.w + cells;
    job.spread = job.score + cells;
    kh_pool_run(pool, (units + ROWS_PER_TASK - 1) / ROWS_PER_TASK, prepare_task, &job);
    kh_pool_run(pool, (classes + CLASSES_PER_TASK - 1) / CLASSES_PER_TASK, strip_task, &job);
    kh_free(job.w);
    return KH_OK;
}
