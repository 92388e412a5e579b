/* Base classes and pairs against numpy and scipy (tools/golden_bases.py), cases by hand,
 * properties.
 */
#include "lens/golden_bases.h"
#include "lens/golden_model.h"

#include "base/alloc.h"
#include "keyhole/bases.h"
#include "lens/align.h"
#include "lens/pairs.h"

enum { UNITS = 24, DIM = 8, CLASSES = 5, LEAVES = 12, ITEMS = 30 };

/* ---- pairs ----------------------------------------------------------------------------------- */

static float fold[UNITS * CLASSES], gram[UNITS * UNITS];
static double var[UNITS];

static void make_inputs(void) {
    float rows[UNITS * DIM], norm[DIM];
    kh_value_stats s[UNITS];
    memcpy(norm, golden_gain, sizeof norm);
    const kh_lens_norm final = {.w = norm, .b = norm, .eps = 1e-6};
    kh_lens_value_stats(golden_values, UNITS, DIM, s);
    for (size_t n = 0; n < UNITS; n++) {
        var[n] = s[n].var;
        for (size_t d = 0; d < DIM; d++)
            rows[n * DIM + d] = (float)((double)golden_values[n * DIM + d] - s[n].mean);
        for (size_t c = 0; c < CLASSES; c++)
            fold[n * CLASSES + c] = (float)kh_align_fold(NULL, &final, DIM, golden_values + n * DIM,
                                                         golden_embeddings + c * DIM);
    }
    for (size_t i = 0; i < UNITS * UNITS; i++) {
        double sum = 0;
        for (size_t d = 0; d < DIM; d++)
            sum += (double)rows[i / UNITS * DIM + d] * (double)rows[i % UNITS * DIM + d];
        gram[i] = (float)(sum / DIM);
    }
}

static void assert_pairs(const kh_pair *got, const double *want) {
    for (size_t c = 0; c < CLASSES; c++) {
        const double *w = want + 5 * c;
        assert_int_equal(got[c].i, (int)w[0]);
        assert_int_equal(got[c].j, (int)w[1]);
        assert_true(fabs((double)got[c].score - w[2]) < 2e-5); /* float32 of values up to 7 */
        assert_true(fabs((double)got[c].best_single - w[3]) < 2e-5);
        assert_true(fabs((double)got[c].top2 - w[4]) < 2e-5);
    }
}

static void pairs_are_those_of_numpy(void **state) {
    (void)state;
    kh_pair got[CLASSES];
    make_inputs();
    kh_pairs_best(NULL, fold, var, gram, 1e-6, golden_constant, UNITS, CLASSES, got);
    assert_pairs(got, golden_pairs);
}

static void weighted_pairs_are_those_of_numpy(void **state) {
    (void)state;
    kh_error err = {0};
    kh_pair got[CLASSES], again[CLASSES];
    kh_pool *pool;
    make_inputs();
    kh_assert_ok(kh_pairs_best_weighted(NULL, fold, var, gram, golden_weights, 1e-6,
                                        golden_constant, UNITS, CLASSES, got, &err));
    assert_pairs(got, golden_weighted_pairs);
    kh_assert_ok(kh_pool_create(2, &pool, &err));
    kh_assert_ok(kh_pairs_best_weighted(pool, fold, var, gram, golden_weights, 1e-6,
                                        golden_constant, UNITS, CLASSES, again, &err));
    kh_pool_free(pool);
    assert_memory_equal(again, got, sizeof got);
}

static void weights_of_one_change_nothing_and_missing_ones_are_said(void **state) {
    (void)state;
    kh_error err = {0};
    kh_pair got[CLASSES];
    float weights[CLASSES * UNITS];
    make_inputs();
    for (size_t i = 0; i < CLASSES * UNITS; i++)
        weights[i] = i / UNITS == 3 ? NAN : 1;
    kh_assert_ok(kh_pairs_best_weighted(NULL, fold, var, gram, weights, 1e-6, golden_constant,
                                        UNITS, CLASSES, got, &err));
    assert_true(isnan(got[3].score) && isnan(got[3].best_single) && isnan(got[3].top2));
    double want[CLASSES * 5];
    memcpy(want, golden_pairs, sizeof want);
    got[3] = (kh_pair){.i = (uint32_t)want[15],
                       .j = (uint32_t)want[16],
                       .score = (float)want[17],
                       .best_single = (float)want[18],
                       .top2 = (float)want[19]};
    assert_pairs(got, want);
}

/* ---- sets and trees -------------------------------------------------------------------------- */

static void likeness_counts_what_two_sets_share(void **state) {
    (void)state;
    kh_error err = {0};
    /* the first three of each class; the fourth rank does not count */
    kh_ranked global[] = {{0, 1, 9}, {1, 1, 8}, {2, 5, 7}, {3, 3, 6},  /* class 0 */
                          {2, 5, 9}, {0, 1, 8}, {1, 2, 7}, {3, 3, 6},  /* class 1: shares two */
                          {3, 0, 9}, {3, 1, 8}, {3, 2, 7}, {3, 3, 6}}; /* class 2: none */
    const kh_ranking ranking = {.classes = 3, .k = 4, .global = global};
    float out[9];
    kh_assert_ok(kh_lens_set_likeness(&ranking, 3, KH_SETS_JACCARD, out, 9, &err));
    const float jaccard[] = {1, 0.5f, 0, 0.5f, 1, 0, 0, 0, 1}; /* 2 of 4 */
    assert_memory_equal(out, jaccard, sizeof out);
    kh_assert_ok(kh_lens_set_likeness(&ranking, 3, KH_SETS_OVERLAP, out, 9, &err));
    assert_float_equal(out[1], 2.0f / 3, 1e-7f);
    kh_assert_ok(kh_lens_set_likeness(&ranking, 4, KH_SETS_OVERLAP, out, 9, &err));
    assert_true(out[2] == 0.25f && out[6] == 0.25f);
    kh_assert_fails(kh_lens_set_likeness(&ranking, 5, KH_SETS_OVERLAP, out, 9, &err), KH_E_ARG,
                    "has 4");
    kh_assert_fails(kh_lens_set_likeness(&ranking, 3, KH_SETS_OVERLAP, out, 8, &err), KH_E_SHAPE,
                    "8 likenesses");
}

static void the_tree_is_scipys(void **state) {
    (void)state;
    kh_error err = {0};
    kh_join joins[LEAVES - 1];
    size_t label[LEAVES], order[LEAVES], seen = 0;
    kh_assert_ok(kh_lens_average_linkage(golden_distance, LEAVES, joins, &err));
    for (size_t i = 0; i < LEAVES - 1; i++) {
        assert_int_equal(joins[i].left, (int)golden_tree[4 * i]);
        assert_int_equal(joins[i].right, (int)golden_tree[4 * i + 1]);
        assert_true(fabs(joins[i].height - golden_tree[4 * i + 2]) < 1e-12);
        assert_int_equal(joins[i].size, (int)golden_tree[4 * i + 3]);
    }
    kh_assert_ok(kh_lens_tree_cut(joins, LEAVES, 4, label, &err));
    for (size_t i = 0; i < LEAVES; i++)
        assert_int_equal(label[i], golden_cut[i]);
    kh_assert_ok(kh_lens_tree_order(joins, LEAVES, order, &err));
    for (size_t i = 0; i < LEAVES; i++)
        seen |= (size_t)1 << order[i];
    assert_int_equal(seen, (1 << LEAVES) - 1);
    for (size_t i = 1; i < LEAVES; i++) /* a cluster's leaves stand together */
        for (size_t j = i + 1; j < LEAVES; j++)
            if (label[order[i]] != label[order[i - 1]])
                assert_int_not_equal(label[order[j]], label[order[i - 1]]);
    kh_assert_ok(kh_lens_tree_cut(joins, LEAVES, LEAVES, label, &err));
    for (size_t i = 0; i < LEAVES; i++)
        assert_int_equal(label[i], i);
    kh_assert_fails(kh_lens_tree_cut(joins, LEAVES, 13, label, &err), KH_E_ARG, "13 clusters");
}

static void equal_distances_join_the_lowest_first(void **state) {
    (void)state;
    kh_error err = {0};
    float all[25];
    kh_join joins[4];
    for (size_t i = 0; i < 25; i++)
        all[i] = 1;
    kh_assert_ok(kh_lens_average_linkage(all, 5, joins, &err));
    for (size_t i = 0; i < 4; i++) { /* 0 takes 1, then 2, 3, 4 */
        assert_int_equal(joins[i].left, i == 0 ? 0 : i + 1);
        assert_int_equal(joins[i].right, i == 0 ? 1 : i + 4);
        assert_true(joins[i].height == 1.0 && joins[i].size == i + 2);
    }
    size_t label[1], order[1];
    kh_assert_ok(kh_lens_average_linkage(all, 1, joins, &err));
    kh_assert_ok(kh_lens_tree_cut(joins, 1, 1, label, &err));
    kh_assert_ok(kh_lens_tree_order(joins, 1, order, &err));
    assert_true(label[0] == 0 && order[0] == 0);
    all[1] = NAN;
    kh_assert_fails(kh_lens_average_linkage(all, 5, joins, &err), KH_E_NUMERIC, "0 and 1");
}

static void labellings_match_as_numpy_says(void **state) {
    (void)state;
    kh_error err = {0};
    kh_label_match m, again;
    size_t far[ITEMS];
    for (size_t i = 0; i < ITEMS; i++)
        far[i] = golden_a[i] * 1000000007u; /* names of labels do not count */
    kh_assert_ok(kh_lens_label_match(far, golden_b, ITEMS, 0, 0, &m, &err));
    assert_true(fabs(m.nmi - golden_match[0]) < 1e-12);
    assert_true(fabs(m.ari - golden_match[1]) < 1e-12);
    assert_true(fabs(m.purity - golden_match[2]) < 1e-12);
    assert_true(isnan(m.nmi_null));
    kh_assert_ok(kh_lens_label_match(golden_a, golden_a, ITEMS, 500, 3, &m, &err));
    assert_true(fabs(m.nmi - 1) < 1e-12 && fabs(m.ari - 1) < 1e-12 && m.purity == 1.0);
    assert_true(fabs(m.ari_null) < 0.02 && m.nmi_null > 0.02 && m.nmi_null < 0.5);
    kh_assert_ok(kh_lens_label_match(golden_a, golden_a, ITEMS, 500, 3, &again, &err));
    assert_memory_equal(&again, &m, sizeof m);
    kh_assert_fails(kh_lens_label_match(golden_a, golden_b, 0, 0, 0, &m, &err), KH_E_ARG,
                    "nothing");
}

/* ---- factorisation --------------------------------------------------------------------------- */

enum { ROWS = 40, COLUMNS = 25, RANK = 3 };

/* Three bases on rows and columns of their own. */
static void plant(float *x) {
    float w[ROWS * RANK], h[COLUMNS * RANK];
    kh_test_fill(w, ROWS * RANK, 1, 1);
    kh_test_fill(h, COLUMNS * RANK, 2, 1);
    for (size_t r = 0; r < ROWS; r++)
        for (size_t c = 0; c < COLUMNS; c++) {
            const size_t k = r * RANK / ROWS;
            const float weight[] = {9, 4, 1};
            x[r * COLUMNS + c] = c * RANK / COLUMNS == k ? weight[k] * (0.2f + fabsf(w[r * RANK])) *
                                                               (0.2f + fabsf(h[c * RANK]))
                                                         : 0;
        }
}

static void planted_bases_are_found(void **state) {
    (void)state;
    kh_error err = {0};
    float x[ROWS * COLUMNS];
    kh_nmf found, again;
    plant(x);
    kh_nmf_options o = kh_nmf_options_default();
    o.rank = RANK;
    o.tolerance = 0;
    for (size_t threads = 1; threads <= 2; threads++) {
        const kh_ctx_options how = {.threads = threads};
        kh_ctx *ctx;
        kh_assert_ok(kh_ctx_create(&how, &ctx, &err));
        kh_assert_ok(kh_lens_nmf(ctx, x, ROWS, COLUMNS, &o, threads == 1 ? &found : &again, &err));
        kh_ctx_free(ctx);
    }
    assert_true(found.error < 1e-3);
    for (size_t r = 0; r < ROWS; r++) /* the strongest first, each on its own rows */
        for (size_t k = 0; k < RANK; k++)
            assert_true((found.rows_of[r * RANK + k] > 1e-3f) == (k == r * RANK / ROWS));
    for (size_t c = 0; c < COLUMNS; c++)
        for (size_t k = 0; k < RANK; k++)
            assert_true((found.columns_of[c * RANK + k] > 1e-2f) == (k == c * RANK / COLUMNS));
    for (size_t k = 0; k < RANK; k++) {
        double square = 0;
        for (size_t r = 0; r < ROWS; r++)
            square += pow((double)found.rows_of[r * RANK + k], 2);
        assert_true(fabs(square - 1) < 1e-5);
    }
    double off = 0, all = 0; /* the error is what it says */
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        double sum = 0;
        for (size_t k = 0; k < RANK; k++)
            sum += (double)found.rows_of[i / COLUMNS * RANK + k] *
                   (double)found.columns_of[i % COLUMNS * RANK + k];
        off += pow((double)x[i] - sum, 2);
        all += pow((double)x[i], 2);
    }
    assert_true(fabs(sqrt(off / all) - found.error) < 1e-3);
    assert_memory_equal(found.rows_of, again.rows_of, ROWS * RANK * sizeof(float));
    assert_memory_equal(found.columns_of, again.columns_of, COLUMNS * RANK * sizeof(float));
    kh_nmf_clear(&found);
    kh_nmf_clear(&again);
}

static void more_iterations_never_fit_worse(void **state) {
    (void)state;
    kh_error err = {0};
    float x[ROWS * COLUMNS];
    kh_ctx *ctx;
    kh_nmf n;
    double before = 1;
    kh_assert_ok(kh_ctx_create(NULL, &ctx, &err));
    kh_test_fill(x, ROWS * COLUMNS, 5, 1);
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        x[i] = x[i] > 0 ? x[i] : 0;
    kh_nmf_options o = kh_nmf_options_default();
    o.rank = 6;
    o.tolerance = 0;
    for (o.iterations = 1; o.iterations < 20; o.iterations++) {
        kh_assert_ok(kh_lens_nmf(ctx, x, ROWS, COLUMNS, &o, &n, &err));
        assert_int_equal(n.iterations, o.iterations);
        assert_true(n.error <= before + 1e-6);
        before = n.error;
        kh_nmf_clear(&n);
    }
    assert_true(before < 0.6);
    kh_ctx_free(ctx);
}

static bool stop(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user;
    (void)what;
    (void)total;
    return done < 1;
}

static void what_cannot_be_factorised_is_said(void **state) {
    (void)state;
    kh_error err = {0};
    float x[ROWS * COLUMNS];
    kh_ctx *ctx;
    kh_nmf n;
    kh_assert_ok(kh_ctx_create(NULL, &ctx, &err));
    plant(x);
    kh_nmf_options o = kh_nmf_options_default();
    o.rank = COLUMNS + 1;
    kh_assert_fails(kh_lens_nmf(ctx, x, ROWS, COLUMNS, &o, &n, &err), KH_E_ARG, "rank 26");
    o.rank = RANK;
    o.progress = stop;
    kh_assert_fails(kh_lens_nmf(ctx, x, ROWS, COLUMNS, &o, &n, &err), KH_E_STOPPED, "stopped");
    o.progress = NULL;
    for (size_t i = 1;; i++) {
        kh_alloc_fail_after(i);
        const kh_status status = kh_lens_nmf(ctx, x, ROWS, COLUMNS, &o, &n, &err);
        const size_t asked = kh_alloc_count();
        kh_alloc_fail_after(0);
        if (asked < i || i > 40) break; /* later ones are those of the next iteration */
        assert_int_equal(status, KH_E_MEMORY);
        assert_null(n.rows_of);
    }
    kh_nmf_clear(&n);
    x[7] = -1e-3f;
    kh_assert_fails(kh_lens_nmf(ctx, x, ROWS, COLUMNS, &o, &n, &err), KH_E_NUMERIC, "value 7");
    memset(x, 0, sizeof x);
    kh_assert_fails(kh_lens_nmf(ctx, x, ROWS, COLUMNS, &o, &n, &err), KH_E_NUMERIC, "zeros");
    kh_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_those_of_numpy),
        cmocka_unit_test(weighted_pairs_are_those_of_numpy),
        cmocka_unit_test(weights_of_one_change_nothing_and_missing_ones_are_said),
        cmocka_unit_test(likeness_counts_what_two_sets_share),
        cmocka_unit_test(the_tree_is_scipys),
        cmocka_unit_test(equal_distances_join_the_lowest_first),
        cmocka_unit_test(labellings_match_as_numpy_says),
        cmocka_unit_test(planted_bases_are_found),
        cmocka_unit_test(more_iterations_never_fit_worse),
        cmocka_unit_test(what_cannot_be_factorised_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
