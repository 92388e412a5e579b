/* The statistics behind verdicts: intervals, differences, correlations, levels of chance. */
#include "keyhole/claims.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "base/sorted.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>

enum { RESAMPLES = 1000, PERMUTATIONS = 10000 };

kh_band kh_lens_wilson(size_t hits, size_t count) {
    return kh_lens_wilson_share(count ? (double)hits / (double)count : (double)NAN, count);
}

kh_band kh_lens_wilson_share(double p, size_t count) {
    if (count == 0 || isnan(p)) return (kh_band){(double)NAN, (double)NAN, (double)NAN};
    const double z = 1.959963984540054, n = (double)count;
    const double middle = p + z * z / (2 * n);
    const double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    const double scale = 1 + z * z / n;
    return (kh_band){p, fmax(0, (middle - half) / scale), fmin(1, (middle + half) / scale)};
}

/* ---- two groups ------------------------------------------------------------------------------ */

static double mean_of(const double *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[i];
    return sum / (double)count;
}

static double mean_of_draw(const double *values, size_t count, kh_rng *rng) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += values[kh_rng_below(rng, count)];
    return sum / (double)count;
}

static double permutation_p(double *all, size_t a_count, size_t b_count, double found,
                            kh_rng *rng) {
    const size_t count = a_count + b_count;
    double total = 0;
    size_t as_large = 0;
    for (size_t i = 0; i < count; i++)
        total += all[i];
    for (size_t draw = 0; draw < PERMUTATIONS; draw++) {
        double sum = 0; /* of a random group of a_count */
        for (size_t i = 0; i < a_count; i++) {
            const size_t j = i + (size_t)kh_rng_below(rng, count - i);
            const double kept = all[i];
            all[i] = all[j];
            all[j] = kept;
            sum += all[i];
        }
        const double d = sum / (double)a_count - (total - sum) / (double)b_count;
        as_large += fabs(d) >= fabs(found) * (1 - 1e-12);
    }
    return (1.0 + (double)as_large) / (1.0 + PERMUTATIONS);
}

static size_t keep_numbers(const double *from, size_t count, double *to) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!isnan(from[i])) to[kept++] = from[i];
    return kept;
}

kh_status kh_lens_difference(const double *a, size_t a_count, const double *b, size_t b_count,
                             uint64_t seed, kh_band *out, double *p, kh_error *err) {
    double *all = kh_calloc(a_count + b_count + RESAMPLES, sizeof *all);
    if (!all) return kh_fail(err, KH_E_MEMORY, "no memory to compare two groups");
    const size_t n_a = keep_numbers(a, a_count, all), n_b = keep_numbers(b, b_count, all + n_a);
    if (n_a == 0 || n_b == 0) {
        kh_free(all);
        return kh_fail(err, KH_E_ARG, "groups of %zu and %zu numbers cannot be compared", n_a, n_b);
    }
    double *draws = all + n_a + n_b;
    kh_rng rng = kh_rng_make(seed, 1);
    for (size_t i = 0; i < RESAMPLES; i++)
        draws[i] = mean_of_draw(all, n_a, &rng) - mean_of_draw(all + n_a, n_b, &rng);
    qsort(draws, RESAMPLES, sizeof *draws, kh_compare_doubles);
    *out = (kh_band){mean_of(all, n_a) - mean_of(all + n_a, n_b),
                     kh_sorted_quantile(draws, RESAMPLES, 0.025),
                     kh_sorted_quantile(draws, RESAMPLES, 0.975)};
    *p = permutation_p(all, n_a, n_b, out->mean, &rng);
    kh_free(all);
    return KH_OK;
}

/* ---- correlation ----------------------------------------------------------------------------- */

static bool is_pair(const double *a, const double *b, size_t i) {
    return !isnan(a[i]) && !isnan(b[i]);
}

/* Place of a[i] among the pairs' values, from 0; equal ones share the middle of theirs. */
static double place_of(const double *a, const double *b, size_t count, size_t i) {
    double below = 0, equal = 0;
    for (size_t j = 0; j < count; j++) {
        if (!is_pair(a, b, j)) continue;
        below += a[j] < a[i];
        equal += a[j] == a[i];
    }
    return below + (equal - 1) / 2;
}

double kh_lens_spearman(const double *a, const double *b, size_t count) {
    double n = 0, aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < count; i++)
        n += is_pair(a, b, i);
    const double middle = (n - 1) / 2; /* mean of all places */
    for (size_t i = 0; i < count; i++) {
        if (!is_pair(a, b, i)) continue;
        const double x = place_of(a, b, count, i) - middle, y = place_of(b, a, count, i) - middle;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : (double)NAN;
}

/* ---- chance and maps ------------------------------------------------------------------------- */

double kh_lens_exponential_share(size_t top, size_t count) {
    if (top >= count) return 1;
    const double share = (double)top / (double)count;
    return share * (1 - log(share));
}

double kh_lens_chance_iou(double mask, double object) {
    const double both = mask * object;
    return both / (mask + object - both);
}

static bool has_dark_neighbours(const float *map, kh_grid grid, size_t y, size_t x, float limit) {
    const size_t top = y ? y - 1 : 0, left = x ? x - 1 : 0;
    for (size_t v = top; v <= y + 1 && v < grid.height; v++)
        for (size_t u = left; u <= x + 1 && u < grid.width; u++)
            if ((v != y || u != x) && !(map[v * grid.width + u] < limit)) return false;
    return true;
}

size_t kh_lens_map_dots(const float *map, kh_grid grid, const uint8_t *on_object) {
    const size_t patches = grid.height * grid.width;
    float most = 0;
    size_t dots = 0;
    for (size_t p = 0; p < patches; p++)
        if (map[p] > most) most = map[p];
    if (!(most > 0)) return 0;
    for (size_t p = 0; p < patches; p++) {
        if (on_object && on_object[p]) continue;
        dots += map[p] > 0.5f * most &&
                has_dark_neighbours(map, grid, p / grid.width, p % grid.width, 0.25f * most);
    }
    return dots;
}

size_t kh_lens_map_rounding(const float *map, size_t patches) {
    kh_range range = {0, 0};
    size_t worst = 0;
    for (size_t p = 0; p < patches; p++) {
        const float v = map[p] > 0 ? map[p] : 0;
        if (p == 0 || v < range.min) range.min = v;
        if (p == 0 || v > range.max) range.max = v;
    }
    if (!(range.max > range.min)) return 0;
    for (size_t p = 0; p < patches; p++) {
        float scaled;
        uint8_t level;
        kh_lens_map_normalize(&map[p], 1, range, true, &scaled);
        kh_lens_map_u8(&scaled, 1, &level);
        const double v = map[p] > 0 ? (double)map[p] : 0;
        const double exact =
            255 * (v - (double)range.min) / ((double)range.max - (double)range.min);
        const double off = fabs(trunc(exact) - (double)level);
        if (off > (double)worst) worst = (size_t)off;
    }
    return worst;
}
