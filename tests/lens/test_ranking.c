/* Rankings against a plain sort of everything, with ties. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "keyhole/lens.h"

#define BLOCKS  4
#define UNITS   37
#define CLASSES 41
#define K       6

static float scores[BLOCKS][UNITS * CLASSES];

/* coarse: few distinct values, so nearly everything ties. */
static void fill(bool coarse) {
    kh_test_fill(scores[0], BLOCKS * UNITS * CLASSES, 21, 4);
    for (size_t b = 0; b < BLOCKS && coarse; b++)
        for (size_t i = 0; i < UNITS * CLASSES; i++)
            scores[b][i] = rintf(scores[b][i]);
}

static kh_status rank(size_t k, kh_ranking *out, kh_error *err) {
    kh_ranker *ranker = NULL;
    kh_status status = kh_lens_ranker_create(BLOCKS, UNITS, CLASSES, k, &ranker, err);
    for (size_t b = 0; b < BLOCKS && !status; b++)
        status = kh_lens_ranker_feed(ranker, NULL, scores[b], err);
    if (!status) status = kh_lens_ranker_finish(ranker, out, err);
    kh_lens_ranker_free(ranker);
    return status;
}

/* Stable selection in (block, index) order: the reference for the total order. */
static kh_ranked best_of(size_t first_block, size_t last_block, size_t c, size_t rank_wanted) {
    static bool taken[BLOCKS][UNITS];
    memset(taken, 0, sizeof taken);
    kh_ranked best = {0, 0, NAN};
    for (size_t r = 0; r <= rank_wanted; r++) {
        bool found = false;
        for (size_t b = first_block; b <= last_block; b++)
            for (size_t n = 0; n < UNITS; n++) {
                const float s = scores[b][n * CLASSES + c];
                if (taken[b][n] || (found && !(s > best.score))) continue;
                best = (kh_ranked){(uint32_t)b, (uint32_t)n, s};
                found = true;
            }
        taken[best.block][best.index] = true;
    }
    return best;
}

static void assert_same(kh_ranked got, kh_ranked want) {
    assert_int_equal(got.block, want.block);
    assert_int_equal(got.index, want.index);
    assert_true(got.score == want.score);
}

static void check_2_3_lists_are_those_of_a_sort_even_among_ties(void **state) {
    (void)state;
    kh_error err = {0};
    for (size_t coarse = 0; coarse < 2; coarse++) {
        kh_ranking r;
        fill(coarse);
        kh_assert_ok(rank(K, &r, &err));
        for (size_t c = 0; c < CLASSES; c++)
            for (size_t i = 0; i < K; i++) {
                const kh_ranked want = best_of(0, BLOCKS - 1, c, i);
                const kh_ranked next = best_of(0, BLOCKS - 1, c, i + 1);
                assert_same(r.global[c * K + i], want);
                assert_true(r.margin_to_next[c * K + i] == want.score - next.score);
                for (size_t b = 0; b < BLOCKS; b++) {
                    const size_t at = (b * K + i) * CLASSES + c;
                    assert_same(
                        (kh_ranked){(uint32_t)b, (uint32_t)r.block_index[at], r.block_score[at]},
                        best_of(b, b, c, i));
                }
            }
        kh_ranking_clear(&r);
    }
}

static void check_2_1_global_rank_0_is_some_blocks_rank_0(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    fill(true);
    kh_assert_ok(rank(K, &r, &err));
    for (size_t c = 0; c < CLASSES; c++) {
        const kh_ranked top = r.global[c * K];
        assert_int_equal(r.block_index[(top.block * K) * CLASSES + c], top.index);
    }
    kh_ranking_clear(&r);
}

static void check_2_2_global_lists_lie_in_the_union_of_block_lists(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    fill(true);
    kh_assert_ok(rank(K, &r, &err));
    for (size_t c = 0; c < CLASSES; c++)
        for (size_t i = 0; i < K; i++) {
            const kh_ranked g = r.global[c * K + i];
            bool found = false;
            for (size_t j = 0; j < K; j++)
                found |= r.block_index[(g.block * K + j) * CLASSES + c] == (int32_t)g.index;
            assert_true(found);
        }
    kh_ranking_clear(&r);
}

static void each_unit_knows_its_own_best_class(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    fill(true);
    kh_assert_ok(rank(1, &r, &err));
    for (size_t b = 0; b < BLOCKS; b++)
        for (size_t n = 0; n < UNITS; n++) {
            size_t best = 0;
            for (size_t c = 0; c < CLASSES; c++)
                if (scores[b][n * CLASSES + c] > scores[b][n * CLASSES + best]) best = c;
            assert_int_equal(r.top_class[b * UNITS + n], best);
            assert_true(r.top_score[b * UNITS + n] == scores[b][n * CLASSES + best]);
        }
    kh_ranking_clear(&r);
}

static void a_planted_unit_wins_its_class(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    fill(false);
    scores[2][5 * CLASSES + 17] = 100;
    scores[3][5 * CLASSES + 17] = 100; /* equal, but in a later block */
    kh_assert_ok(rank(2, &r, &err));
    assert_same(r.global[17 * 2], (kh_ranked){2, 5, 100});
    assert_same(r.global[17 * 2 + 1], (kh_ranked){3, 5, 100});
    assert_true(r.margin_to_next[17 * 2] == 0);
    assert_int_equal(r.top_class[2 * UNITS + 5], 17);
    kh_ranking_clear(&r);
}

static void all_units_can_be_ranked(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    fill(true);
    kh_assert_ok(rank(UNITS, &r, &err));
    for (size_t c = 0; c < CLASSES; c++) {
        bool seen[UNITS] = {false};
        for (size_t i = 0; i < UNITS; i++)
            seen[r.block_index[(1 * UNITS + i) * CLASSES + c]] = true;
        for (size_t n = 0; n < UNITS; n++)
            assert_true(seen[n]);
        assert_same(r.global[c * UNITS + UNITS - 1], best_of(0, BLOCKS - 1, c, UNITS - 1));
    }
    kh_ranking_clear(&r);
    kh_assert_fails(rank(UNITS + 1, &r, &err), KH_E_ARG, "best 38 of 37");
    kh_assert_fails(rank(0, &r, &err), KH_E_ARG, "best 0");
}

static void behind_the_last_unit_there_is_no_margin(void **state) {
    (void)state;
    kh_error err = {0};
    const float s[2] = {1, 3};
    kh_ranker *ranker;
    kh_ranking r;
    kh_rank_curve curve[2];
    kh_assert_ok(kh_lens_ranker_create(1, 2, 1, 2, &ranker, &err));
    kh_assert_ok(kh_lens_ranker_feed(ranker, NULL, s, &err));
    kh_assert_fails(kh_lens_ranker_feed(ranker, NULL, s, &err), KH_E_ARG, "all its 1 blocks");
    kh_assert_ok(kh_lens_ranker_finish(ranker, &r, &err));
    kh_lens_ranker_free(ranker);
    assert_true(r.margin_to_next[0] == 2 && isnan(r.margin_to_next[1]));
    kh_assert_ok(kh_lens_rank_curve(&r, curve, &err));
    assert_true(curve[0].mean == 3 && curve[0].gap_mean == 2 && curve[0].gap_q75 == 2);
    assert_true(curve[1].mean == 1 && isnan(curve[1].gap_mean) && isnan(curve[1].gap_q25));
    kh_ranking_clear(&r);
}

static void a_nan_score_fails_the_ranking(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    fill(false);
    scores[1][3] = NAN;
    kh_assert_fails(rank(K, &r, &err), KH_E_NUMERIC, "block 1: 1 of 1517 scores are NaN");
    kh_ranker *ranker;
    kh_assert_ok(kh_lens_ranker_create(2, UNITS, CLASSES, K, &ranker, &err));
    kh_assert_fails(kh_lens_ranker_finish(ranker, &r, &err), KH_E_ARG, "0 of 2 blocks");
    kh_lens_ranker_free(ranker);
    kh_lens_ranker_free(NULL);
}

static void check_3_1_block_histograms_sum_to_the_classes(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    fill(false);
    kh_assert_ok(rank(K, &r, &err));
    for (size_t i = 0; i < K; i++) {
        size_t counts[BLOCKS], sum = 0, direct[BLOCKS] = {0};
        kh_lens_block_histogram(&r, i, counts);
        for (size_t c = 0; c < CLASSES; c++)
            direct[best_of(0, BLOCKS - 1, c, i).block]++;
        for (size_t b = 0; b < BLOCKS; b++) {
            sum += counts[b];
            assert_int_equal(counts[b], direct[b]);
        }
        assert_int_equal(sum, CLASSES);
    }
    kh_ranking_clear(&r);
}

static void check_3_2_permuting_units_inside_a_block_keeps_the_histogram(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking a, b;
    fill(true);
    kh_assert_ok(rank(K, &a, &err));
    for (size_t block = 0; block < BLOCKS; block++) /* rows reversed */
        for (size_t n = 0; n < UNITS / 2; n++)
            for (size_t c = 0; c < CLASSES; c++) {
                float *x = &scores[block][n * CLASSES + c];
                float *y = &scores[block][(UNITS - 1 - n) * CLASSES + c];
                const float t = *x;
                *x = *y;
                *y = t;
            }
    kh_assert_ok(rank(K, &b, &err));
    for (size_t i = 0; i < K; i++) {
        size_t before[BLOCKS], after[BLOCKS];
        kh_lens_block_histogram(&a, i, before);
        kh_lens_block_histogram(&b, i, after);
        assert_memory_equal(before, after, sizeof before);
    }
    kh_ranking_clear(&a);
    kh_ranking_clear(&b);
}

static void the_curve_is_the_mean_and_quartiles_over_classes(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    kh_rank_curve curve[K];
    fill(false);
    kh_assert_ok(rank(K, &r, &err));
    kh_assert_ok(kh_lens_rank_curve(&r, curve, &err));
    for (size_t i = 0; i < K; i++) {
        double mean = 0, gap = 0;
        size_t below = 0, above = 0;
        for (size_t c = 0; c < CLASSES; c++) {
            mean += (double)r.global[c * K + i].score / CLASSES;
            gap += (double)r.margin_to_next[c * K + i] / CLASSES;
            below += (double)r.global[c * K + i].score < curve[i].q25;
            above += (double)r.global[c * K + i].score > curve[i].q75;
        }
        assert_true(fabs(curve[i].mean - mean) < 1e-12);
        assert_true(fabs(curve[i].gap_mean - gap) < 1e-12);
        assert_int_equal(below, 10); /* of 41: positions 10, 20, 30 are the quartiles */
        assert_int_equal(above, 10);
        assert_true(curve[i].q25 <= curve[i].q50 && curve[i].q50 <= curve[i].q75);
    }
    kh_ranking_clear(&r);
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ranking r;
    fill(false);
    kh_alloc_fail_after(0);
    kh_assert_ok(rank(K, &r, &err));
    kh_ranking_clear(&r);
    const size_t total = kh_alloc_count();
    for (size_t n = 1; n <= total; n++) {
        kh_alloc_fail_after(n);
        const kh_status status = rank(K, &r, &err);
        kh_alloc_fail_after(0);
        assert_int_equal(status, KH_E_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_2_1_global_rank_0_is_some_blocks_rank_0),
        cmocka_unit_test(check_2_2_global_lists_lie_in_the_union_of_block_lists),
        cmocka_unit_test(check_2_3_lists_are_those_of_a_sort_even_among_ties),
        cmocka_unit_test(each_unit_knows_its_own_best_class),
        cmocka_unit_test(a_planted_unit_wins_its_class),
        cmocka_unit_test(all_units_can_be_ranked),
        cmocka_unit_test(behind_the_last_unit_there_is_no_margin),
        cmocka_unit_test(a_nan_score_fails_the_ranking),
        cmocka_unit_test(check_3_1_block_histograms_sum_to_the_classes),
        cmocka_unit_test(check_3_2_permuting_units_inside_a_block_keeps_the_histogram),
        cmocka_unit_test(the_curve_is_the_mean_and_quartiles_over_classes),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
