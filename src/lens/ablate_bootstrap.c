/* Bootstrap intervals of many columns at once: every resample is drawn once for all of them. */
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "base/sorted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

kh_status kh_columns_init(kh_columns *c, size_t count, size_t resamples, kh_error *err) {
    *c = (kh_columns){.count = count, .resamples = resamples};
    c->mean = kh_calloc(count, sizeof *c->mean);
    c->std = kh_calloc(count, sizeof *c->std);
    c->means = kh_calloc(resamples, count * sizeof *c->means);
    c->column = kh_calloc(resamples, sizeof *c->column);
    if (c->mean && c->std && c->means && c->column) return KH_OK;
    kh_columns_clear(c);
    return kh_fail(err, KH_E_MEMORY, "no memory for %zu resamples of %zu columns", resamples,
                   count);
}

void kh_columns_clear(kh_columns *c) {
    kh_free(c->mean);
    kh_free(c->std);
    kh_free(c->means);
    kh_free(c->column);
    *c = (kh_columns){0};
}

void kh_columns_fill(kh_columns *c, const float *const *rows, size_t n, uint64_t seed) {
    memset(c->mean, 0, c->count * sizeof *c->mean);
    memset(c->std, 0, c->count * sizeof *c->std);
    memset(c->means, 0, c->resamples * c->count * sizeof *c->means);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c->count; k++)
            c->mean[k] += (double)rows[i][k];
    for (size_t k = 0; k < c->count; k++)
        c->mean[k] /= (double)n; /* NaN for n = 0 */
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c->count; k++) {
            const double off = (double)rows[i][k] - c->mean[k];
            c->std[k] += off * off;
        }
    for (size_t k = 0; k < c->count; k++)
        c->std[k] = sqrt(c->std[k] / (double)n);
    kh_rng rng = kh_rng_make(seed, kh_hash_name("bootstrap"));
    for (size_t r = 0; r < c->resamples; r++) {
        double *to = c->means + r * c->count;
        for (size_t i = 0; i < n; i++) {
            const float *row = rows[kh_rng_below(&rng, n)];
            for (size_t k = 0; k < c->count; k++)
                to[k] += (double)row[k];
        }
        for (size_t k = 0; k < c->count; k++)
            to[k] /= (double)n;
    }
}

void kh_columns_interval(double *values, size_t resamples, double *lo, double *hi) {
    size_t kept = 0;
    for (size_t r = 0; r < resamples; r++)
        if (!isnan(values[r])) values[kept++] = values[r];
    *lo = *hi = (double)NAN;
    if (kept == 0) return;
    qsort(values, kept, sizeof *values, kh_compare_doubles);
    *lo = kh_sorted_quantile(values, kept, 0.025);
    *hi = kh_sorted_quantile(values, kept, 0.975);
}

kh_ablate_mean kh_columns_get(kh_columns *c, size_t column, size_t n) {
    kh_ablate_mean out = {.n = n, .mean = c->mean[column], .std = c->std[column]};
    for (size_t r = 0; r < c->resamples; r++)
        c->column[r] = c->means[r * c->count + column];
    kh_columns_interval(c->column, c->resamples, &out.lo, &out.hi);
    return out;
}
