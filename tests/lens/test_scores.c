/* Percentiles, statistics and histograms of scores. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "lens/scores.h"

static int ascending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double sorted_quantile(float *v, size_t n, double q) {
    qsort(v, n, sizeof *v, ascending);
    const double at = q * (double)(n - 1);
    const size_t lo = (size_t)floor(at), hi = (size_t)ceil(at);
    return (double)v[lo] + ((double)v[hi] - (double)v[lo]) * (at - (double)lo);
}

static void quantiles_equal_those_of_the_sorted_values(void **state) {
    (void)state;
    kh_error err = {0};
    const size_t sizes[] = {1, 2, 3, 7, 100, 1009};
    const double qs[] = {0, 0.025, 0.25, 0.5, 0.8, 0.99, 0.975, 1};
    for (size_t s = 0; s < 6; s++)
        for (size_t coarse = 0; coarse < 2; coarse++)
            for (size_t i = 0; i < 8; i++) {
                float v[1009], copy[1009];
                double got;
                kh_test_fill(v, sizes[s], 40 + s, 10);
                for (size_t j = 0; j < sizes[s] && coarse; j++)
                    v[j] = rintf(v[j] / 4);
                memcpy(copy, v, sizeof v);
                kh_assert_ok(kh_lens_quantile(v, sizes[s], qs[i], &got, &err));
                assert_memory_equal(v, copy, sizes[s] * sizeof *v); /* input is left alone */
                assert_true(fabs(got - sorted_quantile(copy, sizes[s], qs[i])) <= 1e-12);
            }
}

static void quantiles_refuse_nothing_nan_and_nonsense(void **state) {
    (void)state;
    kh_error err = {0};
    const float v[3] = {1, NAN, 2};
    double q;
    kh_assert_fails(kh_lens_quantile(v, 0, 0.5, &q, &err), KH_E_ARG, "no values");
    kh_assert_fails(kh_lens_quantile(v, 1, 1.5, &q, &err), KH_E_ARG, "not in [0, 1]");
    kh_assert_fails(kh_lens_quantile(v, 1, (double)NAN, &q, &err), KH_E_ARG, "not in [0, 1]");
    kh_assert_fails(kh_lens_quantile(v, 3, 0.5, &q, &err), KH_E_NUMERIC, "NaN");
}

static void statistics_match_float64(void **state) {
    (void)state;
    kh_error err = {0};
    float s[50 * 9], copy[50 * 9];
    kh_score_stats got;
    kh_test_fill(s, 450, 5, 3);
    for (size_t i = 0; i < 450; i++)
        s[i] += 1000; /* an offset that cancels badly in one pass */
    kh_assert_ok(kh_lens_score_stats(s, 50, 9, &got, &err));
    long double mean = 0, var = 0;
    for (size_t i = 0; i < 450; i++)
        mean += (long double)s[i] / 450;
    for (size_t i = 0; i < 450; i++)
        var += ((long double)s[i] - mean) * ((long double)s[i] - mean) / 450;
    assert_true(fabs(got.mean - (double)mean) < 1e-10);
    assert_true(fabs(got.std - sqrt((double)var)) < 1e-10);
    memcpy(copy, s, sizeof s);
    assert_true(fabs(got.p99 - sorted_quantile(copy, 450, 0.99)) < 1e-10);
    assert_true(got.min == (double)copy[0] && got.max == (double)copy[449]);
    assert_int_equal(got.count, 450);
    uint64_t all = 0, tops = 0;
    for (size_t b = 0; b < KH_HISTOGRAM_BINS; b++) {
        all += got.histogram[b];
        tops += got.top_histogram[b];
    }
    assert_int_equal(all, 450);
    assert_int_equal(tops, 50);
    assert_true(got.histogram[0] >= 1 && got.histogram[KH_HISTOGRAM_BINS - 1] >= 1);
    float lowest_top = INFINITY;
    for (size_t n = 0; n < 50; n++) {
        float top = -INFINITY;
        for (size_t c = 0; c < 9; c++)
            top = fmaxf(top, s[n * 9 + c]);
        lowest_top = fminf(lowest_top, top);
    }
    assert_true(got.top_min == (double)lowest_top && got.top_max == got.max);
}

static void the_99th_percentile_is_exact_and_needs_no_threads(void **state) {
    (void)state;
    kh_error err = {0};
    const size_t units[] = {1, 3, 130, 301};
    kh_pool *pool;
    kh_assert_ok(kh_pool_create(2, &pool, &err));
    for (size_t i = 0; i < 4; i++)
        for (size_t shape = 0; shape < 3; shape++) {
            static float s[301 * 17];
            kh_score_stats one, two;
            const size_t n = units[i] * 17;
            kh_test_fill(s, n, 70 + i, 2);
            for (size_t j = 0; j < n && shape; j++)
                s[j] = shape == 1 ? expf(9 * s[j]) : rintf(s[j]);
            kh_assert_ok(kh_lens_score_stats(s, units[i], 17, &one, &err));
            kh_assert_ok(kh_score_stats_on(pool, s, units[i], 17, &two, &err));
            assert_memory_equal(&one, &two, sizeof one);
            assert_true(one.p99 == sorted_quantile(s, n, 0.99));
        }
    kh_pool_free(pool);
}

static void nan_scores_are_counted_and_left_out(void **state) {
    (void)state;
    kh_error err = {0};
    const float s[6] = {1, NAN, 3, NAN, NAN, NAN}, none[2] = {NAN, NAN};
    kh_score_stats got;
    kh_assert_ok(kh_lens_score_stats(s, 3, 2, &got, &err));
    assert_int_equal(got.nan_count, 4);
    assert_int_equal(got.count, 2);
    assert_true(got.mean == 2 && got.min == 1 && got.max == 3 && got.std == 1);
    kh_assert_ok(kh_lens_score_stats(none, 1, 2, &got, &err));
    assert_int_equal(got.nan_count, 2);
    assert_true(isnan(got.mean) && isnan(got.p99));
    kh_assert_fails(kh_lens_score_stats(s, 0, 2, &got, &err), KH_E_ARG, "0 x 2");
}

static void constant_scores_have_a_histogram(void **state) {
    (void)state;
    kh_error err = {0};
    const float s[4] = {2, 2, 2, 2};
    kh_score_stats got;
    kh_assert_ok(kh_lens_score_stats(s, 2, 2, &got, &err));
    assert_true(got.std == 0 && got.p99 == 2);
    assert_int_equal(got.histogram[0], 4);
    assert_int_equal(got.top_histogram[0], 2);
}

static void infinite_scores_do_no_harm(void **state) {
    (void)state;
    kh_error err = {0};
    const float s[4] = {-INFINITY, 1, INFINITY, 2};
    kh_score_stats got;
    kh_assert_ok(kh_lens_score_stats(s, 2, 2, &got, &err));
    assert_true(got.max == (double)INFINITY && got.min == (double)-INFINITY);
    assert_int_equal(got.histogram[0], 4);
}

static void failing_allocations_are_reported(void **state) {
    (void)state;
    const float s[4] = {2, 1, 2, 3};
    kh_score_stats got;
    double q;
    for (size_t n = 1; n <= 3; n++) {
        kh_error err = {0};
        kh_alloc_fail_after(n);
        const kh_status status = kh_lens_score_stats(s, 2, 2, &got, &err);
        kh_alloc_fail_after(0);
        assert_int_equal(status, KH_E_MEMORY);
    }
    kh_alloc_fail_after(1);
    const kh_status status = kh_lens_quantile(s, 4, 0.5, &q, NULL);
    kh_alloc_fail_after(0);
    assert_int_equal(status, KH_E_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_equal_those_of_the_sorted_values),
        cmocka_unit_test(quantiles_refuse_nothing_nan_and_nonsense),
        cmocka_unit_test(statistics_match_float64),
        cmocka_unit_test(the_99th_percentile_is_exact_and_needs_no_threads),
        cmocka_unit_test(nan_scores_are_counted_and_left_out),
        cmocka_unit_test(constant_scores_have_a_histogram),
        cmocka_unit_test(infinite_scores_do_no_harm),
        cmocka_unit_test(failing_allocations_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
