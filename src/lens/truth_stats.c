/* Statistics of the truth report: AUROC and bootstrap. */
#include "lens/truth.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "base/sorted.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

/* A float's bits in the order of its value, both zeros alike; bit 0 says whether it is positive. */
static uint64_t key_of(float value, bool is_positive) {
    const float v = value + 0.0f; /* -0 + 0 = 0 */
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)bits << 1 | is_positive;
}

/* One stable round of a radix sort, by the digit above `shift`. */
static void sort_digit(const uint64_t *from, uint64_t *to, size_t count, unsigned shift) {
    size_t start[DIGITS] = {0}, sum = 0;
    for (size_t i = 0; i < count; i++)
        start[from[i] >> shift & (DIGITS - 1)]++;
    for (size_t d = 0; d < DIGITS; d++) {
        const size_t here = start[d];
        start[d] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++)
        to[start[from[i] >> shift & (DIGITS - 1)]++] = from[i];
}

double kh_auroc_with(const float *values, const uint8_t *is_positive, size_t count,
                     uint64_t *keys) {
    uint64_t *a = keys, *b = keys + count;
    for (size_t i = 0; i < count; i++)
        a[i] = key_of(values[i], is_positive[i] != 0);
    sort_digit(a, b, count, 1);
    sort_digit(b, a, count, 1 + DIGIT_BITS);
    sort_digit(a, b, count, 1 + 2 * DIGIT_BITS);
    uint64_t positives = 0, negatives = 0, twice = 0; /* twice the pairs in the right order */
    for (size_t i = 0; i < count;) {
        uint64_t tied[2] = {0, 0};
        const uint64_t value = b[i] >> 1;
        for (; i < count && b[i] >> 1 == value; i++)
            tied[b[i] & 1]++;
        twice += tied[1] * (2 * negatives + tied[0]);
        negatives += tied[0];
        positives += tied[1];
    }
    if (positives == 0 || negatives == 0) return (double)NAN;
    return (double)twice / (2.0 * (double)positives * (double)negatives);
}

kh_status kh_lens_auroc(const float *values, const uint8_t *is_positive, size_t count, double *out,
                        kh_error *err) {
    for (size_t i = 0; i < count; i++)
        if (isnan(values[i]))
            return kh_fail(err, KH_E_NUMERIC, "value %zu of %zu is NaN, it has no place among them",
                           i, count);
    uint64_t *keys = kh_calloc(count, 2 * sizeof *keys);
    if (!keys) return kh_fail(err, KH_E_MEMORY, "no memory to sort %zu values", count);
    *out = kh_auroc_with(values, is_positive, count, keys);
    kh_free(keys);
    return KH_OK;
}

/* ---- bootstrap ----------------------------------------------------------------------------- */

kh_status kh_lens_bootstrap(const double *values, size_t count, size_t resamples, uint64_t seed,
                            kh_band *out, kh_error *err) {
    if (resamples == 0) return kh_fail(err, KH_E_ARG, "a bootstrap of no resamples");
    *out = (kh_band){(double)NAN, (double)NAN, (double)NAN};
    double *kept = kh_calloc(count, sizeof *kept), *means = kh_calloc(resamples, sizeof *means);
    kh_status status = KH_OK;
    if (!kept || !means) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for %zu resamples", resamples);
        goto done;
    }
    size_t n = 0;
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) sum += kept[n++] = values[i];
    if (n == 0) goto done;
    kh_rng rng = kh_rng_make(seed, kh_hash_name("bootstrap"));
    for (size_t r = 0; r < resamples; r++) {
        double total = 0;
        for (size_t i = 0; i < n; i++)
            total += kept[kh_rng_below(&rng, n)];
        means[r] = total / (double)n;
    }
    qsort(means, resamples, sizeof *means, kh_compare_doubles);
    *out = (kh_band){sum / (double)n, kh_sorted_quantile(means, resamples, 0.025),
                     kh_sorted_quantile(means, resamples, 0.975)};

done:
    kh_free(means);
    kh_free(kept);
    return status;
}
