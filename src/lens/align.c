#include "lens/align.h"

#include "base/status.h"

#include <float.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

static const char *const mode_names[KH_ALIGN_MODES] = {"raw",  "cos",    "ln",
                                                       "fold", "margin", "prob"};

const char *kh_align_mode_name(kh_align_mode mode) {
    return (size_t)mode < KH_ALIGN_MODES ? mode_names[mode] : "?";
}

kh_status kh_align_mode_parse(const char *name, kh_align_mode *out, kh_error *err) {
    for (size_t i = 0; i < KH_ALIGN_MODES; i++)
        if (strcmp(name, mode_names[i]) == 0) {
            *out = (kh_align_mode)i;
            return KH_OK;
        }
    return kh_fail(err, KH_E_ARG,
                   "unknown alignment mode; one of raw, cos, ln, fold, margin, prob");
}

static void stats_of(const float *v, size_t dim, kh_value_stats *out) {
    double sum = 0, squares = 0, spread = 0;
    for (size_t i = 0; i < dim; i++) {
        sum += (double)v[i];
        squares += (double)v[i] * (double)v[i];
    }
    const double mean = sum / (double)dim;
    for (size_t i = 0; i < dim; i++) {
        const double d = (double)v[i] - mean;
        spread += d * d;
    }
    *out = (kh_value_stats){mean, spread / (double)dim, sqrt(squares)};
}

void kh_lens_value_stats(const float *values, size_t rows, size_t dim, kh_value_stats *out) {
    for (size_t r = 0; r < rows; r++)
        stats_of(values + r * dim, dim, &out[r]);
}

/* v <- (v - mean) * scale */
static void centre(float *v, size_t dim, double mean, double scale) {
    for (size_t i = 0; i < dim; i++)
        v[i] = (float)(((double)v[i] - mean) * scale);
}

/* The post-norm block's norm of v alone; for fold only its linear part. */
static void pass_norm(float *v, size_t dim, const kh_lens_norm *norm, bool is_linear) {
    kh_value_stats s;
    stats_of(v, dim, &s);
    const double scale = is_linear ? 1 : 1 / sqrt(s.var + norm->eps);
    for (size_t i = 0; i < dim; i++) {
        const double y = ((double)v[i] - s.mean) * scale * (double)norm->w[i];
        v[i] = (float)(is_linear ? y : y + (double)norm->b[i]);
    }
}

static void align_row(kh_align_mode mode, const kh_lens_norm *before, const kh_lens_norm *final,
                      size_t dim, float *v) {
    kh_value_stats s;
    if (before && before->w) pass_norm(v, dim, before, mode == KH_ALIGN_FOLD);
    if (mode == KH_ALIGN_RAW || (mode != KH_ALIGN_COS && !final->w)) return;
    stats_of(v, dim, &s);
    switch (mode) {
    case KH_ALIGN_COS:
        centre(v, dim, 0, s.norm > 0 ? 1 / s.norm : 0);
        break;
    case KH_ALIGN_FOLD:
        centre(v, dim, s.mean, 1);
        break;
    default:
        centre(v, dim, s.mean, 1 / sqrt(s.var + final->eps));
        break;
    }
}

#define ROWS_PER_TASK 64

typedef struct rows_job {
    kh_align_mode mode;
    const kh_lens_norm *before, *final;
    size_t count, dim;
    float *rows;
} rows_job;

static void rows_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const rows_job *job = arg;
    for (size_t r = task * ROWS_PER_TASK; r < job->count && r < (task + 1) * ROWS_PER_TASK; r++)
        align_row(job->mode, job->before, job->final, job->dim, job->rows + r * job->dim);
}

static void run_tasks(kh_pool *pool, size_t rows, kh_task_fn fn, void *job) {
    const size_t tasks = (rows + ROWS_PER_TASK - 1) / ROWS_PER_TASK;
    kh_pool_run(pool, tasks, fn, job);
}

void kh_align_rows(kh_pool *pool, kh_align_mode mode, const kh_lens_norm *before,
                   const kh_lens_norm *final, size_t count, size_t dim, float *rows) {
    rows_job job = {mode, before, final, count, dim, rows};
    run_tasks(pool, count, rows_task, &job);
}

void kh_align_classes(kh_align_mode mode, const float *embeddings, size_t classes, size_t dim,
                      const kh_lens_norm *final, float *out) {
    for (size_t c = 0; c < classes; c++) {
        const float *e = embeddings + c * dim;
        float *to = out + c * dim;
        if (mode == KH_ALIGN_COS) {
            kh_value_stats s;
            stats_of(e, dim, &s);
            for (size_t i = 0; i < dim; i++)
                to[i] = s.norm > 0 ? (float)((double)e[i] / s.norm) : 0;
        } else if (mode != KH_ALIGN_RAW && final->w) {
            for (size_t i = 0; i < dim; i++)
                to[i] = e[i] * final->w[i];
        } else if (to != e) {
            memcpy(to, e, dim * sizeof *to);
        }
    }
}

void kh_align_constants(kh_align_mode mode, const float *embeddings, const float *bias,
                        size_t classes, size_t dim, const kh_lens_norm *final, double *constant) {
    const bool has_constant = mode != KH_ALIGN_RAW && mode != KH_ALIGN_COS && mode != KH_ALIGN_FOLD;
    for (size_t c = 0; c < classes; c++) {
        double sum = 0;
        for (size_t i = 0; has_constant && final->b && i < dim; i++)
            sum += (double)embeddings[c * dim + i] * (double) final->b[i];
        constant[c] = has_constant && bias ? sum + (double)bias[c] : sum;
    }
}

/* Each score minus the best of the others. Infinite (and so refused) with a single class. */
static void margins(float *s, size_t classes) {
    float best = -INFINITY, second = -INFINITY;
    size_t winner = 0;
    for (size_t c = 0; c < classes; c++) {
        if (s[c] > best) {
            second = best;
            best = s[c];
            winner = c;
        } else if (s[c] > second) {
            second = s[c];
        }
    }
    for (size_t c = 0; c < classes; c++)
        s[c] -= c == winner ? second : best;
}

typedef struct finish_job {
    kh_align_mode mode;
    const double *constant;
    size_t count, classes;
    float *scores;
    atomic_bool is_broken;
} finish_job;

static void finish_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    finish_job *job = arg;
    bool is_broken = false;
    for (size_t r = task * ROWS_PER_TASK; r < job->count && r < (task + 1) * ROWS_PER_TASK; r++) {
        float *s = job->scores + r * job->classes;
        for (size_t c = 0; c < job->classes; c++) {
            is_broken |= !(fabsf(s[c]) <= FLT_MAX);
            switch (job->mode) {
            case KH_ALIGN_RAW:
            case KH_ALIGN_FOLD:
                break;
            case KH_ALIGN_COS:
                s[c] = s[c] > 1 ? 1 : s[c] < -1 ? -1 : s[c];
                break;
            default:
                s[c] = (float)((double)s[c] + job->constant[c]);
                break;
            }
        }
        if (job->mode == KH_ALIGN_MARGIN) margins(s, job->classes);
        if (job->mode == KH_ALIGN_PROB) kh_lens_softmax(s, job->classes, s);
        for (size_t c = 0; c < job->classes; c++)
            is_broken |= !(fabsf(s[c]) <= FLT_MAX);
    }
    if (is_broken) atomic_store(&job->is_broken, true);
}

bool kh_align_finish(kh_pool *pool, kh_align_mode mode, const double *constant, size_t count,
                     size_t classes, float *scores) {
    finish_job job = {mode, constant, count, classes, scores, false};
    run_tasks(pool, count, finish_task, &job);
    return !atomic_load(&job.is_broken);
}

double kh_align_fold(const kh_lens_norm *before, const kh_lens_norm *final, size_t dim,
                     const float *v, const float *embedding) {
    kh_value_stats s;
    stats_of(v, dim, &s);
    const bool has_before = before && before->w;
    double mean = has_before ? 0 : s.mean, sum = 0;
    for (size_t i = 0; has_before && i < dim; i++)
        mean += (double)before->w[i] * ((double)v[i] - s.mean) / (double)dim;
    for (size_t i = 0; i < dim; i++) {
        const double u = has_before ? (double)before->w[i] * ((double)v[i] - s.mean) : (double)v[i];
        const double e = (double)embedding[i];
        sum += final->w ? e * (double) final->w[i] * (u - mean) : e * u;
    }
    return sum;
}
