/* Softmax, best classes, rank positions. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "keyhole/lens.h"

static void softmax_matches_float64_and_survives_large_logits(void **state) {
    (void)state;
    const float z[4] = {1000, 999, -1000, 1000.5f};
    float p[4];
    double e[4], sum = 0;
    for (size_t i = 0; i < 4; i++)
        sum += e[i] = exp((double)z[i] - 1000.5);
    kh_lens_softmax(z, 4, p);
    for (size_t i = 0; i < 4; i++)
        assert_float_equal(p[i], (float)(e[i] / sum), 1e-7f);
}

static void ties_go_to_the_lower_index_and_nan_comes_last(void **state) {
    (void)state;
    kh_error err = {0};
    const float v[7] = {1, 3, NAN, 3, -INFINITY, 2, 3};
    const size_t want[7] = {1, 3, 6, 5, 0, 4, 2};
    size_t got[7];
    kh_assert_ok(kh_lens_top(v, 7, 7, got, &err));
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(got[i], want[i]);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(kh_lens_rank_position(v, 7, want[i]), i);
    kh_assert_fails(kh_lens_top(v, 7, 8, got, &err), KH_E_ARG, "best 8 of 7");
}

static void rank_positions_are_the_order(void **state) {
    (void)state;
    kh_error err = {0};
    float v[300];
    size_t order[300];
    kh_test_fill(v, 300, 11, 5);
    for (size_t i = 0; i < 300; i++)
        v[i] = floorf(v[i]); /* plenty of ties */
    kh_assert_ok(kh_lens_top(v, 300, 300, order, &err));
    for (size_t i = 0; i < 300; i++)
        assert_int_equal(kh_lens_rank_position(v, 300, order[i]), i);
}

static void a_failing_allocation_is_reported(void **state) {
    (void)state;
    kh_error err = {0};
    const float v[2] = {0, 1};
    size_t got[2];
    kh_alloc_fail_after(1);
    const kh_status status = kh_lens_top(v, 2, 1, got, &err);
    kh_alloc_fail_after(0);
    assert_int_equal(status, KH_E_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_matches_float64_and_survives_large_logits),
        cmocka_unit_test(ties_go_to_the_lower_index_and_nan_comes_last),
        cmocka_unit_test(rank_positions_are_the_order),
        cmocka_unit_test(a_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
