/* Mean, spread, percentiles and histograms of many scores. */
#include "lens/scores.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

static void swap_floats(float *a, float *b) {
    const float t = *a;
    *a = *b;
    *b = t;
}

/* Reorders v so that v[k] is where sorting would put it, smaller ones before, larger ones behind.
 * Median-of-three pivots, three-way split: equal values cost nothing. No NaN among them. */
static float select_kth(float *v, size_t count, size_t k) {
    size_t lo = 0, hi = count - 1;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (v[mid] < v[lo]) swap_floats(&v[mid], &v[lo]);
        if (v[hi] < v[lo]) swap_floats(&v[hi], &v[lo]);
        if (v[hi] < v[mid]) swap_floats(&v[hi], &v[mid]);
        const float pivot = v[mid];
        size_t less = lo, at = lo, more = hi + 1; /* [lo,less) < pivot = [less,at), [more,hi] > */
        while (at < more) {
            if (v[at] < pivot)
                swap_floats(&v[less++], &v[at++]);
            else if (v[at] > pivot)
                swap_floats(&v[--more], &v[at]);
            else
                at++;
        }
        if (k < less)
            hi = less - 1;
        else if (k >= more)
            lo = more;
        else
            return v[k];
    }
    return v[k];
}

/* Quantile of v, which it reorders. */
static double quantile_of(float *v, size_t count, double q) {
    const double position = q * (double)(count - 1);
    size_t below = (size_t)position;
    if (below > count - 1) below = count - 1;
    const double fraction = position - (double)below;
    const double a = (double)select_kth(v, count, below);
    if (!(fraction > 0) || below + 1 >= count) return a;
    double b = (double)v[below + 1]; /* smallest of the part behind */
    for (size_t i = below + 2; i < count; i++)
        if ((double)v[i] < b) b = (double)v[i];
    return a + (b - a) * fraction;
}

kh_status kh_lens_quantile(const float *values, size_t count, double q, double *out,
                           kh_error *err) {
    if (count == 0) return kh_fail(err, KH_E_ARG, "a percentile of no values");
    if (!(q >= 0 && q <= 1)) return kh_fail(err, KH_E_ARG, "quantile %g is not in [0, 1]", q);
    for (size_t i = 0; i < count; i++)
        if (isnan(values[i]))
            return kh_fail(err, KH_E_NUMERIC,
                           "value %zu of %zu is NaN, its percentile has no meaning", i, count);
    float *copy = kh_alloc_floats(count);
    if (!copy)
        return kh_fail(err, KH_E_MEMORY, "no memory for the percentile of %zu values", count);
    memcpy(copy, values, count * sizeof *copy);
    *out = quantile_of(copy, count, q);
    kh_free(copy);
    return KH_OK;
}

/* ---- statistics of a block's scores -------------------------------------------------------- */

#define UNITS_PER_TASK 64
#define FINE_BINS      4096 /* a multiple of KH_HISTOGRAM_BINS */

/* What one task sees of its rows; added up in the order of tasks. */
typedef struct part {
    size_t kept;
    double sum, squares;
    float min, max;
    uint32_t bins[FINE_BINS];
} part;

typedef struct stats_job {
    const float *scores;
    size_t units, classes;
    part *parts;
    float *tops;           /* [units] NaN where a row is all NaN */
    double mean, min, per; /* of the second round; per: fine bins per score */
} stats_job;

static double bins_per_score(double min, double max) {
    const double width = max - min;
    return width > 0 && isfinite(width) ? FINE_BINS / width
                                        : 0; /* 0: everything in the first bin */
}

static size_t fine_bin(float v, double min, double per) {
    if (!(per > 0)) return 0;
    const size_t bin = (size_t)(((double)v - min) * per);
    return bin < FINE_BINS ? bin : FINE_BINS - 1;
}

/* First round: count, sum, range, each row's best. */
static void range_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const stats_job *job = arg;
    part *p = &job->parts[task];
    p->min = INFINITY;
    p->max = -INFINITY;
    for (size_t n = task * UNITS_PER_TASK; n < job->units && n < (task + 1) * UNITS_PER_TASK; n++) {
        const float *row = job->scores + n * job->classes;
        float top = NAN;
        double sum = 0;
        for (size_t c = 0; c < job->classes; c++) {
            const float s = row[c];
            if (isnan(s)) continue;
            p->kept++;
            sum += (double)s;
            if (s < p->min) p->min = s;
            if (!(s <= top)) top = s;
        }
        p->sum += sum;
        if (top > p->max) p->max = top;
        job->tops[n] = top;
    }
}

/* Second round: squares around the mean, fine histogram. */
static void spread_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const stats_job *job = arg;
    part *p = &job->parts[task];
    for (size_t n = task * UNITS_PER_TASK; n < job->units && n < (task + 1) * UNITS_PER_TASK; n++) {
        const float *row = job->scores + n * job->classes;
        double squares = 0;
        for (size_t c = 0; c < job->classes; c++) {
            if (isnan(row[c])) continue;
            const double d = (double)row[c] - job->mean;
            squares += d * d;
            p->bins[fine_bin(row[c], job->min, job->per)]++;
        }
        p->squares += squares;
    }
}

static size_t run_tasks(kh_pool *pool, kh_task_fn fn, stats_job *job) {
    const size_t tasks = (job->units + UNITS_PER_TASK - 1) / UNITS_PER_TASK;
    kh_pool_run(pool, tasks, fn, job);
    return tasks;
}

/* Exact quantile: the histogram says in which bins the two ranks lie, and only those are searched.
 */
static kh_status quantile_by_bins(const stats_job *job, const uint64_t *bins, size_t kept, double q,
                                  double *out, kh_error *err) {
    const double position = q * (double)(kept - 1);
    const size_t below = (size_t)position;
    const size_t above = below + 1 < kept ? below + 1 : below;
    size_t first = 0, last, before = 0, count = 0;
    while (before + bins[first] <= below)
        before += bins[first++];
    for (last = first; before + (count += bins[last]) <= above; last++) {
    }
    float *found = kh_alloc_floats(count);
    if (!found)
        return kh_fail(err, KH_E_MEMORY, "no memory for the percentile of %zu scores", kept);
    size_t at = 0;
    for (size_t i = 0; i < job->units * job->classes; i++) {
        if (isnan(job->scores[i])) continue;
        const size_t bin = fine_bin(job->scores[i], job->min, job->per);
        if (bin >= first && bin <= last) found[at++] = job->scores[i];
    }
    const double a = (double)select_kth(found, count, below - before);
    const double b = above > below ? (double)select_kth(found, count, above - before) : a;
    *out = a + (b - a) * (position - (double)below);
    kh_free(found);
    return KH_OK;
}

static void fill_tops(const float *tops, size_t units, kh_score_stats *out) {
    out->top_min = (double)INFINITY;
    out->top_max = (double)-INFINITY;
    for (size_t n = 0; n < units; n++) {
        if ((double)tops[n] < out->top_min) out->top_min = (double)tops[n];
        if ((double)tops[n] > out->top_max) out->top_max = (double)tops[n];
    }
    const double per = bins_per_score(out->top_min, out->top_max);
    for (size_t n = 0; n < units; n++) {
        if (isnan(tops[n])) continue;
        const size_t bin = fine_bin(tops[n], out->top_min, per);
        out->top_histogram[bin / (FINE_BINS / KH_HISTOGRAM_BINS)]++;
    }
}

static kh_status fill_stats(kh_pool *pool, stats_job *job, kh_score_stats *out, kh_error *err) {
    size_t tasks = run_tasks(pool, range_task, job);
    double sum = 0;
    out->min = (double)INFINITY;
    out->max = (double)-INFINITY;
    for (size_t i = 0; i < tasks; i++) {
        const part *p = &job->parts[i];
        out->count += p->kept;
        sum += p->sum;
        if ((double)p->min < out->min) out->min = (double)p->min;
        if ((double)p->max > out->max) out->max = (double)p->max;
    }
    out->nan_count = job->units * job->classes - out->count;
    if (out->count == 0) {
        out->mean = out->std = out->min = out->max = out->p99 = (double)NAN;
        out->top_min = out->top_max = (double)NAN;
        return KH_OK;
    }
    fill_tops(job->tops, job->units, out);
    job->mean = out->mean = sum / (double)out->count;
    job->min = out->min;
    job->per = bins_per_score(out->min, out->max);
    tasks = run_tasks(pool, spread_task, job);
    uint64_t bins[FINE_BINS] = {0};
    double squares = 0;
    for (size_t i = 0; i < tasks; i++) {
        squares += job->parts[i].squares;
        for (size_t b = 0; b < FINE_BINS; b++)
            bins[b] += job->parts[i].bins[b];
    }
    out->std = sqrt(squares / (double)out->count);
    for (size_t b = 0; b < FINE_BINS; b++)
        out->histogram[b / (FINE_BINS / KH_HISTOGRAM_BINS)] += bins[b];
    return quantile_by_bins(job, bins, out->count, 0.99, &out->p99, err);
}

kh_status kh_score_stats_on(kh_pool *pool, const float *scores, size_t units, size_t classes,
                            kh_score_stats *out, kh_error *err) {
    memset(out, 0, sizeof *out);
    size_t count;
    if (!kh_mul(units, classes, &count) || count == 0)
        return kh_fail(err, KH_E_ARG, "statistics of %zu x %zu scores", units, classes);
    stats_job job = {.scores = scores, .units = units, .classes = classes};
    job.parts = kh_calloc((units + UNITS_PER_TASK - 1) / UNITS_PER_TASK, sizeof *job.parts);
    job.tops = kh_alloc_floats(units);
    const kh_status status =
        job.parts && job.tops
            ? fill_stats(pool, &job, out, err)
            : kh_fail(err, KH_E_MEMORY, "no memory for the statistics of %zu scores", count);
    kh_free(job.tops);
    kh_free(job.parts);
    return status;
}

kh_status kh_lens_score_stats(const float *scores, size_t units, size_t classes,
                              kh_score_stats *out, kh_error *err) {
    return kh_score_stats_on(NULL, scores, units, classes, out, err);
}
