/* Verdicts do what docs/analyses/claims.md says: planted numbers for every verdict of every claim.
 */
#include "support/kh_test.h"

#include "keyhole/claims.h"
#include "keyhole/truth.h"

#define NO ((double)NAN)

static const kh_band unknown = {NO, NO, NO};

#define REPRODUCED(call) assert_int_equal(call, KH_VERDICT_REPRODUCED)
#define MIXED(call)      assert_int_equal(call, KH_VERDICT_MIXED)
#define NOT(call)        assert_int_equal(call, KH_VERDICT_NOT)
#define UNTESTED(call)   assert_int_equal(call, KH_VERDICT_UNTESTED)

static kh_band band(double mean, double lo, double hi) {
    return (kh_band){mean, lo, hi};
}

/* ---- forms ----------------------------------------------------------------------------------- */

static void above_chance_and_bar(void **state) {
    (void)state;
    REPRODUCED(kh_claim_above(band(0.6, 0.4, 0.8), 0.3, 0.6));
    MIXED(kh_claim_above(band(0.59, 0.4, 0.8), 0.3, 0.6));
    NOT(kh_claim_above(band(0.9, 0.3, 1.0), 0.3, 0.6)); /* not above: equal */
    NOT(kh_claim_above(band(0.1, 0.05, 0.2), 0.3, 0.6));
    UNTESTED(kh_claim_above(unknown, 0.3, 0.6));
    UNTESTED(kh_claim_above(band(0.6, 0.4, NO), 0.3, 0.6));
    UNTESTED(kh_claim_above(band(0.6, 0.4, 0.8), NO, 0.6));
}

/* A bootstrap of one class has no width: it would pass every "above chance". */
static void intervals_need_six_things(void **state) {
    (void)state;
    double values[6] = {0.4, NO, NO, NO, NO, NO};
    kh_error err = {0};
    kh_band one, few;
    kh_assert_ok(kh_lens_bootstrap(values, 6, 100, 1, &one, &err));
    assert_true(one.lo == one.mean && one.hi == one.mean);
    REPRODUCED(kh_claim_above(one, 0.3, 0.35));
    few = kh_claim_enough(one, 1);
    assert_true(few.mean == one.mean && isnan(few.lo) && isnan(few.hi));
    UNTESTED(kh_claim_above(few, 0.3, 0.35));
    UNTESTED(kh_claim_above(kh_claim_enough(one, 5), 0.3, 0.35));
    REPRODUCED(kh_claim_above(kh_claim_enough(one, 6), 0.3, 0.35));
}

static void two_parts(void **state) {
    (void)state;
    const kh_verdict yes = KH_VERDICT_REPRODUCED, no = KH_VERDICT_NOT, some = KH_VERDICT_MIXED;
    REPRODUCED(kh_claim_both(yes, yes));
    NOT(kh_claim_both(no, no));
    MIXED(kh_claim_both(yes, no));
    MIXED(kh_claim_both(some, no));
    MIXED(kh_claim_both(yes, some));
    NOT(kh_claim_both(no, KH_VERDICT_UNTESTED));
    REPRODUCED(kh_claim_both(KH_VERDICT_UNTESTED, yes));
    UNTESTED(kh_claim_both(KH_VERDICT_UNTESTED, KH_VERDICT_UNTESTED));
}

static void verdicts_have_names(void **state) {
    (void)state;
    assert_string_equal(kh_verdict_name(KH_VERDICT_UNTESTED), "cannot be tested");
    assert_string_equal(kh_verdict_name(KH_VERDICT_NOT), "not reproduced");
}

static void later_blocks_are_the_last_third(void **state) {
    (void)state;
    assert_int_equal(kh_claim_later(12), 8);
    assert_int_equal(kh_claim_later(24), 16);
    assert_int_equal(kh_claim_later(3), 2);
    assert_int_equal(kh_claim_later(2), 1); /* at least one */
    assert_int_equal(kh_claim_later(1), 0);
    assert_int_equal(kh_claim_later(4), 3);
}

/* ---- claims ---------------------------------------------------------------------------------- */

static void c1_needs_most_classes_in_the_last_but_one_block(void **state) {
    (void)state;
    const size_t report[12] = {[9] = 20, [10] = 940, [11] = 40};
    const size_t plural[12] = {[5] = 20, [8] = 20, [10] = 45, [11] = 15}; /* first, but not most */
    const size_t last[12] = {[10] = 1, [11] = 24};
    const size_t tie[12] = {[10] = 50, [11] = 50};
    const size_t few[12] = {[10] = 5}, enough[12] = {[10] = 6};
    const size_t none[12] = {0}, one_block[1] = {4};
    kh_band share;
    REPRODUCED(kh_claim_c1(report, 12, &share));
    assert_true(fabs(share.mean - 0.94) < 1e-12 && share.lo > 0.92 && share.hi < 0.96);
    MIXED(kh_claim_c1(plural, 12, NULL));
    NOT(kh_claim_c1(last, 12, NULL));
    NOT(kh_claim_c1(tie, 12, NULL));
    UNTESTED(kh_claim_c1(few, 12, NULL));
    REPRODUCED(kh_claim_c1(enough, 12, NULL));
    UNTESTED(kh_claim_c1(none, 12, NULL));
    UNTESTED(kh_claim_c1(one_block, 1, NULL));
}

static void c2_counts_the_last_third(void **state) {
    (void)state;
    const size_t all[12] = {[8] = 5, [10] = 90, [11] = 5};
    const size_t many[12] = {[7] = 30, [10] = 70};
    const size_t third[12] = {[0] = 66, [10] = 34};
    REPRODUCED(kh_claim_c2(all, 12, NULL));
    MIXED(kh_claim_c2(many, 12, NULL));
    NOT(kh_claim_c2(third, 12, NULL));
    const size_t few[12] = {[10] = 5}, enough[12] = {[10] = 6};
    UNTESTED(kh_claim_c2(few, 12, NULL));
    REPRODUCED(kh_claim_c2(enough, 12, NULL));
}

static void c3_needs_classes_on_both_sides(void **state) {
    (void)state;
    REPRODUCED(kh_claim_c3(band(-0.2, -0.3, -0.1), 0.001, 30, 970));
    MIXED(kh_claim_c3(band(-0.05, -0.08, -0.02), 0.01, 30, 970));
    NOT(kh_claim_c3(band(-0.2, -0.4, 0.01), 0.01, 30, 970));
    NOT(kh_claim_c3(band(-0.2, -0.3, -0.1), 0.05, 30, 970));
    NOT(kh_claim_c3(band(0.2, 0.1, 0.3), 0.001, 30, 970));
    UNTESTED(kh_claim_c3(band(-0.2, -0.3, -0.1), 0.001, 2, 23));
    UNTESTED(kh_claim_c3(band(-0.2, -0.3, -0.1), 0.001, 23, 2));
    UNTESTED(kh_claim_c3(unknown, NO, 30, 970));
}

static void c4_looks_at_the_strongest_and_at_all(void **state) {
    (void)state;
    REPRODUCED(kh_claim_c4(band(2.5, 2, 3), 1.2));
    MIXED(kh_claim_c4(band(2.5, 2, 3), 0.8));
    MIXED(kh_claim_c4(band(1.2, 1.1, 1.3), 1.2));
    NOT(kh_claim_c4(band(1.2, 0.9, 1.5), 1.2));
    MIXED(kh_claim_c4(band(2.5, 2, 3), NO));
    UNTESTED(kh_claim_c4(unknown, 1.2));
}

static void c5_few_neurons(void **state) {
    (void)state;
    REPRODUCED(kh_claim_c5(band(0.6, 0.5, 0.7), 512));
    MIXED(kh_claim_c5(band(0.3, 0.2, 0.4), 512));
    NOT(kh_claim_c5(band(0.09, 0.08, 0.11), 512)); /* exponential numbers: 0.096 */
    UNTESTED(kh_claim_c5(unknown, 512));
}

static void c6_to_c8_relatives_and_distances(void **state) {
    (void)state;
    REPRODUCED(kh_claim_c6(band(0.1, 0.05, 0.15)));
    MIXED(kh_claim_c6(band(0.04, 0.01, 0.06)));
    NOT(kh_claim_c6(band(0.04, -0.01, 0.1)));
    UNTESTED(kh_claim_c6(unknown));

    REPRODUCED(kh_claim_c7(band(0.95, 0.9, 1), NO, NO));
    REPRODUCED(kh_claim_c7(band(0.95, 0.9, 1), 1, 2));
    MIXED(kh_claim_c7(band(0.95, 0.9, 1), 2, 1));
    MIXED(kh_claim_c7(band(0.7, 0.6, 0.8), NO, NO));
    NOT(kh_claim_c7(band(0.4, 0.3, 0.6), 2, 1));
    UNTESTED(kh_claim_c7(unknown, NO, NO));

    REPRODUCED(kh_claim_c8(band(0.5, 0.4, 0.6), NO, NO));
    REPRODUCED(kh_claim_c8(band(0.5, 0.4, 0.6), 1.2, 1.1));
    MIXED(kh_claim_c8(band(0.5, 0.4, 0.6), 1.1, 1.2));
    MIXED(kh_claim_c8(band(0.88, 0.8, 0.95), NO, NO));
    NOT(kh_claim_c8(band(0.97, 0.95, 0.99), NO, NO));
    UNTESTED(kh_claim_c8(unknown, NO, NO));
}

static void c9_low_blocks_and_later_ones(void **state) {
    (void)state;
    REPRODUCED(kh_claim_c9(band(0.1, 0.08, 0.12), band(0.3, 0.2, 0.4), 0.1));
    MIXED(kh_claim_c9(band(0.2, 0.15, 0.25), band(0.3, 0.2, 0.4), 0.1));
    NOT(kh_claim_c9(band(0.1, 0.08, 0.12), band(0.15, 0.09, 0.2), 0.1));
    UNTESTED(kh_claim_c9(unknown, band(0.3, 0.2, 0.4), 0.1));
    UNTESTED(kh_claim_c9(band(0.1, 0.08, 0.12), band(0.3, 0.2, 0.4), NO));
}

static void c10_ranks(void **state) {
    (void)state;
    REPRODUCED(kh_claim_c10(band(0.8, 0.7, 0.9), band(0.1, 0.05, 0.15)));
    MIXED(kh_claim_c10(band(0.8, 0.7, 0.9), band(0.3, 0.2, 0.4)));
    MIXED(kh_claim_c10(band(0.45, 0.35, 0.55), band(0.05, 0.01, 0.1)));
    MIXED(kh_claim_c10(band(0.8, 0.7, 0.9), band(0.5, 0.4, 0.6)));
    NOT(kh_claim_c10(band(0.5, 0.4, 0.6), band(0.45, 0.35, 0.55)));
    UNTESTED(kh_claim_c10(band(0.8, 0.7, 0.9), unknown));
}

static void c11_to_c13(void **state) {
    (void)state;
    REPRODUCED(kh_claim_c11(band(0.2, 0.1, 0.3)));
    MIXED(kh_claim_c11(band(0.28, 0.2, 0.35)));
    NOT(kh_claim_c11(band(0.4, 0.3, 0.5)));
    UNTESTED(kh_claim_c11(unknown));

    REPRODUCED(kh_claim_c12(band(0.3, 0.2, 0.4)));
    MIXED(kh_claim_c12(band(0.45, 0.35, 0.55)));
    NOT(kh_claim_c12(band(0.7, 0.6, 0.8)));
    UNTESTED(kh_claim_c12(unknown));

    REPRODUCED(kh_claim_c13(band(0.6, 0.5, 0.7)));
    MIXED(kh_claim_c13(band(0.3, 0.2, 0.4)));
    NOT(kh_claim_c13(band(0.05, 0.02, 0.1)));
    UNTESTED(kh_claim_c13(unknown));
}

static void c14_to_c17(void **state) {
    (void)state;
    REPRODUCED(kh_claim_c14(band(0.7, 0.6, 0.8), 0.05));
    MIXED(kh_claim_c14(band(0.3, 0.2, 0.4), 0.05));
    NOT(kh_claim_c14(band(0.1, 0.02, 0.2), 0.05));
    UNTESTED(kh_claim_c14(unknown, 0.05));

    kh_band share;
    REPRODUCED(kh_claim_c15(41685, 50000, &share)); /* 83.37 % */
    assert_true(fabs(share.mean - 0.8337) < 1e-12);
    NOT(kh_claim_c15(42300, 50000, NULL)); /* 84.6 % */
    NOT(kh_claim_c15(41000, 50000, NULL));
    UNTESTED(kh_claim_c15(0, 0, NULL));

    REPRODUCED(kh_claim_c16(118, 1000, band(0.6, 0.5, 0.7), 0.3, 300));
    MIXED(kh_claim_c16(118, 1000, band(0.4, 0.35, 0.5), 0.3, 300));
    MIXED(kh_claim_c16(118, 1000, band(0.6, 0.5, 0.7), 0.3, 2));
    MIXED(kh_claim_c16(100, 1000, band(0.6, 0.5, 0.7), 0.3, 300));
    NOT(kh_claim_c16(100, 1000, band(0.2, 0.1, 0.3), 0.3, 300));

    REPRODUCED(kh_claim_c17(band(0.8, 0.7, 0.9), NO));
    REPRODUCED(kh_claim_c17(band(0.8, 0.7, 0.9), 0.3));
    MIXED(kh_claim_c17(band(0.8, 0.7, 0.9), 0.6));
    MIXED(kh_claim_c17(band(0.5, 0.4, 0.6), NO));
    NOT(kh_claim_c17(band(0.3, 0.2, 0.4), 0.6));
    UNTESTED(kh_claim_c17(unknown, NO));
}

/* ---- statistics ------------------------------------------------------------------------------ */

static void wilson_by_hand(void **state) {
    (void)state;
    /* the formula in Python, for 24 of 25 and 0 of 10 */
    const kh_band most = kh_lens_wilson(24, 25), none = kh_lens_wilson(0, 10);
    assert_true(fabs(most.lo - 0.8045594) < 1e-6 && fabs(most.hi - 0.9929038) < 1e-6);
    assert_true(none.lo == 0 && fabs(none.hi - 0.2775328) < 1e-6);
    assert_true(isnan(kh_lens_wilson(0, 0).mean));
    /* a mean share of 0.25 over 10 images: the formula in Python */
    const kh_band share = kh_lens_wilson_share(0.25, 10);
    assert_true(share.mean == 0.25 && fabs(share.lo - 0.0809478) < 1e-6);
    assert_true(fabs(share.hi - 0.5578186) < 1e-6);
    assert_true(isnan(kh_lens_wilson_share((double)NAN, 10).lo));
}

static void differences_and_their_p(void **state) {
    (void)state;
    kh_error err = {0};
    double low[40], high[60], p;
    kh_band d;
    for (size_t i = 0; i < 40; i++)
        low[i] = 0.5 + 0.01 * (double)(i % 7);
    for (size_t i = 0; i < 60; i++)
        high[i] = 0.8 + 0.01 * (double)(i % 5);
    kh_assert_ok(kh_lens_difference(low, 40, high, 60, 3, &d, &p, &err));
    assert_true(d.mean < -0.28 && d.mean > -0.3 && d.lo < d.mean && d.mean < d.hi && d.hi < -0.27);
    assert_true(fabs(p - 1.0 / 10001) < 1e-12);
    low[3] = NO; /* left out */
    kh_assert_ok(kh_lens_difference(low, 40, low, 40, 3, &d, &p, &err));
    assert_true(d.mean == 0 && d.lo < 0 && d.hi > 0 && p == 1);
    low[0] = NO;
    kh_assert_fails(kh_lens_difference(low, 1, high, 60, 3, &d, &p, &err), KH_E_ARG, "0 and 60");
}

static void spearman_with_ties(void **state) {
    (void)state;
    /* Pearson of the places 1 2.5 2.5 4 5 and 2 1 3 4.5 4.5, in Python */
    const double a[] = {1, 2, 2, 4, NO, 5}, b[] = {2, 1, 3, 5, 9, 5}, flat[] = {1, 1, 1, 1, 1, 1};
    assert_true(fabs(kh_lens_spearman(a, b, 6) - 0.7894736842105263) < 1e-9);
    assert_true(fabs(kh_lens_spearman(a, a, 6) - 1) < 1e-12);
    assert_true(isnan(kh_lens_spearman(a, flat, 6)));
    assert_true(isnan(kh_lens_spearman(a, b, 0)));
}

static void levels_of_chance(void **state) {
    (void)state;
    assert_true(fabs(kh_lens_exponential_share(10, 512) - 0.09640) < 1e-4);
    assert_true(kh_lens_exponential_share(10, 8) == 1);
    /* a fifth on a fifth: 0.04 / 0.36 */
    assert_true(fabs(kh_lens_chance_iou(0.2, 0.2) - 1.0 / 9) < 1e-12);
}

static void dots_are_alone(void **state) {
    (void)state;
    const kh_grid grid = {4, 4, 1, 1};
    float map[16] = {0};
    map[0] = 8; /* a dot in the corner */
    assert_int_equal(kh_lens_map_dots(map, grid, NULL), 1);
    map[15] = 4; /* half: not above it */
    assert_int_equal(kh_lens_map_dots(map, grid, NULL), 1);
    map[15] = 4.5f;
    assert_int_equal(kh_lens_map_dots(map, grid, NULL), 2);
    map[14] = 2; /* a quarter: not below it */
    assert_int_equal(kh_lens_map_dots(map, grid, NULL), 1);
    const uint8_t object[16] = {[0] = 1};
    assert_int_equal(kh_lens_map_dots(map, grid, object), 0);
    for (size_t i = 0; i < 16; i++)
        map[i] = -1;
    assert_int_equal(kh_lens_map_dots(map, grid, NULL), 0);
    for (size_t i = 0; i < 16; i++)
        map[i] = 3;
    assert_int_equal(kh_lens_map_dots(map, grid, NULL), 0);
}

static void scaling_in_float_moves_at_most_a_level(void **state) {
    (void)state;
    float map[196];
    kh_test_fill(map, 196, 5, 3.0f);
    assert_true(kh_lens_map_rounding(map, 196) <= 1);
    for (size_t i = 0; i < 196; i++)
        map[i] = -1;
    assert_int_equal(kh_lens_map_rounding(map, 196), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(above_chance_and_bar),
        cmocka_unit_test(intervals_need_six_things),
        cmocka_unit_test(two_parts),
        cmocka_unit_test(verdicts_have_names),
        cmocka_unit_test(later_blocks_are_the_last_third),
        cmocka_unit_test(c1_needs_most_classes_in_the_last_but_one_block),
        cmocka_unit_test(c2_counts_the_last_third),
        cmocka_unit_test(c3_needs_classes_on_both_sides),
        cmocka_unit_test(c4_looks_at_the_strongest_and_at_all),
        cmocka_unit_test(c5_few_neurons),
        cmocka_unit_test(c6_to_c8_relatives_and_distances),
        cmocka_unit_test(c9_low_blocks_and_later_ones),
        cmocka_unit_test(c10_ranks),
        cmocka_unit_test(c11_to_c13),
        cmocka_unit_test(c14_to_c17),
        cmocka_unit_test(wilson_by_hand),
        cmocka_unit_test(differences_and_their_p),
        cmocka_unit_test(spearman_with_ties),
        cmocka_unit_test(levels_of_chance),
        cmocka_unit_test(dots_are_alone),
        cmocka_unit_test(scaling_in_float_moves_at_most_a_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
