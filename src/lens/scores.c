/* Mean, spread, percentiles and histograms of many scores. */
#include "keyhole/lens.h"

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

kh_status kh_lens_quantile(const float *values, size_t count, double q, double *out, kh_error *err) {
    if (count == 0) return kh_fail(err, KH_E_ARG, "a percentile of no values");
    if (!(q >= 0 && q <= 1)) return kh_fail(err, KH_E_ARG, "quantile %g is not in [0, 1]", q);
    for (size_t i = 0; i < count; i++)
        if (isnan(values[i]))
            return kh_fail(err, KH_E_NUMERIC, "value %zu of %zu is NaN, its percentile has no meaning",
                           i, count);
    float *copy = kh_alloc_floats(count);
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory for the percentile of %zu values", count);
    memcpy(copy, values, count * sizeof *copy);
    *out = quantile_of(copy, count, q);
    kh_free(copy);
    return KH_OK;
}

static void fill_histogram(const float *v, size_t count, double lo, double hi, uint64_t *bins) {
    memset(bins, 0, KH_HISTOGRAM_BINS * sizeof *bins);
    const double per = hi > lo ? KH_HISTOGRAM_BINS / (hi - lo) : 0;
    for (size_t i = 0; i < count; i++) {
        size_t bin = (size_t)(((double)v[i] - lo) * per);
        if (bin >= KH_HISTOGRAM_BINS) bin = KH_HISTOGRAM_BINS - 1;
        bins[bin]++;
    }
}

static void range_of(const float *v, size_t count, double *lo, double *hi) {
    float a = v[0], b = v[0];
    for (size_t i = 1; i < count; i++) {
        if (v[i] < a) a = v[i];
        if (v[i] > b) b = v[i];
    }
    *lo = (double)a;
    *hi = (double)b;
}

kh_status kh_lens_score_stats(const float *scores, size_t units, size_t classes,
                              kh_score_stats *out, kh_error *err) {
    memset(out, 0, sizeof *out);
    size_t count;
    if (!kh_mul(units, classes, &count) || count == 0)
        return kh_fail(err, KH_E_ARG, "statistics of %zu x %zu scores", units, classes);
    float *copy = kh_alloc_floats(count);
    float *tops = kh_alloc_floats(units);
    kh_status status = KH_OK;
    if (!copy || !tops) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for the statistics of %zu scores", count);
        goto done;
    }
    size_t kept = 0, top_count = 0;
    double sum = 0;
    for (size_t n = 0; n < units; n++) {
        const size_t before = kept;
        float top = 0;
        double row = 0;
        for (size_t c = 0; c < classes; c++) {
            const float s = scores[n * classes + c];
            if (isnan(s)) continue;
            if (kept == before || s > top) top = s;
            row += (double)s;
            copy[kept++] = s;
        }
        sum += row;
        if (kept > before) tops[top_count++] = top;
    }
    out->count = kept;
    out->nan_count = count - kept;
    if (kept == 0) {
        out->mean = out->std = out->min = out->max = out->p99 = (double)NAN;
        out->top_min = out->top_max = (double)NAN;
        goto done;
    }
    out->mean = sum / (double)kept;
    double squares = 0;
    for (size_t i = 0; i < kept; i++) {
        const double d = (double)copy[i] - out->mean;
        squares += d * d;
    }
    out->std = sqrt(squares / (double)kept);
    range_of(copy, kept, &out->min, &out->max);
    fill_histogram(copy, kept, out->min, out->max, out->histogram);
    range_of(tops, top_count, &out->top_min, &out->top_max);
    fill_histogram(tops, top_count, out->top_min, out->top_max, out->top_histogram);
    out->p99 = quantile_of(copy, kept, 0.99);

done:
    kh_free(tops);
    kh_free(copy);
    return status;
}
