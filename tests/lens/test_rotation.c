/* Directions turned at random, and quantiles of values of either sign. */
#include "support/kh_test.h"

#include "lens/rotation.h"

#include "base/rng.h"

#include <stdlib.h>

enum { BLOCKS = 2, NEURONS = 150, UNITS = 19 };

static kh_model_info small_info(size_t neurons) {
    return (kh_model_info){.blocks = BLOCKS, .neurons = neurons};
}

static kh_rotation rotation_of(size_t neurons, uint64_t seed) {
    kh_error err = {0};
    kh_rotation r;
    const kh_model_info info = small_info(neurons);
    kh_assert_ok(kh_rotation_init(&r, &info, seed, &err));
    return r;
}

static void rows_are_orthonormal(void **state) {
    (void)state;
    kh_rotation r = rotation_of(NEURONS, 3);
    assert_int_equal(r.units, UNITS);
    for (size_t b = 0; b < BLOCKS; b++)
        for (size_t i = 0; i < r.units; i++)
            for (size_t k = 0; k <= i; k++) {
                double dot = 0;
                for (size_t j = 0; j < NEURONS; j++) {
                    const float *q = r.q + (b * NEURONS + j) * r.units;
                    dot += (double)q[i] * (double)q[k];
                }
                if (!(fabs(dot - (i == k)) < 1e-6)) fail_msg("<%zu, %zu> = %g", i, k, dot);
            }
    kh_rotation_clear(&r);
}

static void blocks_and_seeds_turn_differently_and_repeatably(void **state) {
    (void)state;
    kh_rotation a = rotation_of(NEURONS, 3), b = rotation_of(NEURONS, 3),
                c = rotation_of(NEURONS, 4);
    const size_t each = NEURONS * a.units;
    assert_memory_equal(a.q, b.q, BLOCKS * each * sizeof *a.q);
    assert_memory_not_equal(a.q, c.q, each * sizeof *a.q);
    assert_memory_not_equal(a.q, a.q + each, each * sizeof *a.q);
    kh_rotation_clear(&a);
    kh_rotation_clear(&b);
    kh_rotation_clear(&c);
}

static void a_large_block_has_64(void **state) {
    (void)state;
    const kh_model_info large = small_info(3072), tiny = small_info(5);
    assert_int_equal(kh_rotation_units(&large), KH_ROTATED);
    assert_int_equal(kh_rotation_units(&tiny), 1);
}

static void units_are_weighted_sums(void **state) {
    (void)state;
    static const size_t widths[] = {NEURONS, 8 * KH_ROTATED};
    enum { ROWS = 3 };
    static float rows[ROWS * 8 * KH_ROTATED], out[ROWS * KH_ROTATED + 1];
    kh_rng rng = kh_rng_make(1, 2);
    for (size_t i = 0; i < ROWS * 8 * KH_ROTATED; i++)
        rows[i] = (float)kh_rng_normal(&rng);
    for (size_t w = 0; w < 2; w++) {
        const size_t neurons = widths[w];
        kh_rotation r = rotation_of(neurons, 9);
        out[ROWS * r.units] = 7;
        kh_rotation_apply(&r, 1, rows, ROWS, out);
        assert_true(out[ROWS * r.units] == 7);
        for (size_t i = 0; i < ROWS * r.units; i++) {
            double want = 0;
            for (size_t j = 0; j < neurons; j++)
                want += (double)rows[i / r.units * neurons + j] *
                        (double)r.q[(neurons + j) * r.units + i % r.units];
            assert_true(fabs(want - (double)out[i]) < 1e-5);
        }
        kh_rotation_clear(&r);
    }
}

static int compare(const void *left, const void *right) {
    const float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void quantiles_are_those_of_a_sort(void **state) {
    (void)state;
    enum { N = 5000 };
    static float values[N];
    static uint32_t above[KH_SKETCH_BINS], below[KH_SKETCH_BINS];
    assert_true(isnan(kh_signed_quantile(above, below, 0.5, 0)));
    kh_rng rng = kh_rng_make(4, 4);
    for (size_t i = 0; i < N; i++) {
        values[i] = (float)(kh_rng_normal(&rng) - 0.3);
        kh_signed_count(above, below, values[i]);
    }
    qsort(values, N, sizeof *values, compare);
    static const double qs[] = {0.01, 0.2, 0.5, 0.9, 0.995, 1};
    for (size_t i = 0; i < 6; i++) {
        const double want = (double)values[(size_t)ceil(qs[i] * N) - 1];
        const double got = kh_signed_quantile(above, below, qs[i], values[N - 1]);
        if (!(fabs(got - want) <= 0.004 * fabs(want) + 0x1p-13))
            fail_msg("q %g: %g, expected %g", qs[i], got, want);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_orthonormal),
        cmocka_unit_test(blocks_and_seeds_turn_differently_and_repeatably),
        cmocka_unit_test(a_large_block_has_64),
        cmocka_unit_test(units_are_weighted_sums),
        cmocka_unit_test(quantiles_are_those_of_a_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
