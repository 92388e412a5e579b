/* Pairs of value vectors, by brute force over sums in float64. */
#include "lens/golden_model.h"

#include "base/alloc.h"
#include "lens/pairs.h"

#define UNITS   64
#define DIM     20
#define CLASSES 131 /* more than one strip */

static float v[UNITS * DIM], e[CLASSES * DIM], g[DIM];
static double constant[CLASSES];

static double ref_ln(size_t i, size_t j, double scale, size_t c) {
    double x[DIM], mean = 0, var = 0, sum = 0;
    for (size_t d = 0; d < DIM; d++) {
        x[d] = scale * ((double)v[i * DIM + d] + (double)v[j * DIM + d]);
        mean += x[d] / DIM;
    }
    for (size_t d = 0; d < DIM; d++)
        var += (x[d] - mean) * (x[d] - mean) / DIM;
    for (size_t d = 0; d < DIM; d++)
        sum += (x[d] - mean) / sqrt(var + 1e-6) * (double)g[d] * (double)e[c * DIM + d];
    return sum + constant[c];
}

static void make_inputs(float *fold, double *var, float *gram) {
    float centred[UNITS * DIM];
    kh_value_stats s[UNITS];
    kh_lens_value_stats(v, UNITS, DIM, s);
    for (size_t n = 0; n < UNITS; n++) {
        var[n] = s[n].var;
        for (size_t d = 0; d < DIM; d++)
            centred[n * DIM + d] = (float)((double)v[n * DIM + d] - s[n].mean);
        for (size_t c = 0; c < CLASSES; c++) {
            double sum = 0;
            for (size_t d = 0; d < DIM; d++)
                sum += (double)centred[n * DIM + d] * (double)g[d] * (double)e[c * DIM + d];
            fold[n * CLASSES + c] = (float)sum;
        }
    }
    for (size_t i = 0; i < UNITS; i++)
        for (size_t j = 0; j < UNITS; j++) {
            double sum = 0;
            for (size_t d = 0; d < DIM; d++)
                sum += (double)centred[i * DIM + d] * (double)centred[j * DIM + d];
            gram[i * UNITS + j] = (float)(sum / DIM);
        }
}

static float fold[UNITS * CLASSES], gram[UNITS * UNITS];
static double var[UNITS];

static void check_14_3_the_best_pair_is_that_of_brute_force(void **state) {
    (void)state;
    kh_error err = {0};
    kh_pair got[CLASSES], threaded[CLASSES];
    kh_test_fill(v, UNITS * DIM, 1, 0.5f);
    kh_test_fill(e, CLASSES * DIM, 2, 0.5f);
    kh_test_fill(g, DIM, 3, 1);
    for (size_t c = 0; c < CLASSES; c++)
        constant[c] = 0.01 * (double)c;
    make_inputs(fold, var, gram);
    kh_pairs_best(NULL, fold, var, gram, 1e-6, constant, UNITS, CLASSES, got);
    for (size_t c = 0; c < CLASSES; c++) {
        double best = -INFINITY, single = -INFINITY, second = -INFINITY;
        size_t first = 0, next = 0;
        for (size_t i = 0; i < UNITS; i++) {
            const double one = ref_ln(i, i, 0.5, c);
            if (one > single) {
                second = single;
                next = first;
                single = one;
                first = i;
            } else if (one > second) {
                second = one;
                next = i;
            }
            for (size_t j = i + 1; j < UNITS; j++)
                best = fmax(best, ref_ln(i, j, 1, c));
        }
        assert_true(got[c].i < got[c].j && got[c].j < UNITS);
        assert_true(fabs(ref_ln(got[c].i, got[c].j, 1, c) - best) < 1e-5); /* up to rounding */
        assert_true(fabs((double)got[c].score - best) < 1e-5);
        assert_true(fabs((double)got[c].best_single - single) < 1e-5);
        assert_true(fabs((double)got[c].top2 - ref_ln(first, next, 1, c)) < 1e-5);
        assert_true(got[c].score >= got[c].top2 - 1e-5f);
    }
    kh_pool *pool;
    kh_assert_ok(kh_pool_create(2, &pool, &err));
    make_inputs(fold, var, gram);
    kh_pairs_best(pool, fold, var, gram, 1e-6, constant, UNITS, CLASSES, threaded);
    assert_memory_equal(threaded, got, sizeof got);
    kh_pool_free(pool);
}

static void check_14_2_a_vector_with_itself_scores_like_alone(void **state) {
    (void)state;
    kh_pair got[CLASSES];
    kh_test_fill(v, 2 * DIM, 4, 0.5f);
    memcpy(v + DIM, v, DIM * sizeof *v);
    for (size_t n = 2; n < UNITS; n++)
        memset(v + n * DIM, 0, DIM * sizeof *v);
    kh_test_fill(e, CLASSES * DIM, 5, 0.5f);
    kh_test_fill(g, DIM, 6, 1);
    /* gram of the first two rows alone */
    float small[4];
    make_inputs(fold, var, gram);
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++)
            small[i * 2 + j] = gram[i * UNITS + j];
    kh_pairs_best(NULL, fold, var, small, 1e-6, constant, 2, CLASSES, got);
    for (size_t c = 0; c < CLASSES; c++) {
        assert_true(got[c].i == 0 && got[c].j == 1);
        assert_true(fabs((double)got[c].score - ref_ln(0, 0, 0.5, c)) <
                    1e-4); /* eps counts a quarter */
        assert_true(fabs((double)got[c].score - ref_ln(0, 0, 1, c)) < 1e-6);
    }
}

static void opposite_vectors_do_no_harm(void **state) {
    (void)state;
    kh_pair got[1];
    const float f[2] = {0.5f, -0.5f};
    const double spread[2] = {1, 1}, zero = 0;
    float covariance[4] = {1, -1.0000001f, -1.0000001f, 1}; /* rounded past the truth */
    kh_pairs_best(NULL, f, spread, covariance, 1e-6, &zero, 2, 1, got);
    assert_true(got[0].score == 0);
}

static void pairs_of_a_model(void **state) {
    (void)state;
    golden_model m;
    kh_error err = {0};
    golden_open(&m, "deit3_base");
    kh_align_options options = kh_align_options_default();
    kh_pair pairs[10];
    float values[96 * 24], sum[24], logits[10], ln[960];
    kh_assert_ok(kh_lens_pairs(m.ctx, m.model, &options, 1, pairs, 10, &err));
    kh_assert_ok(kh_lens_value_vectors(m.model, &options, 1, values, 96 * 24, &err));
    kh_assert_ok(kh_lens_alignment(m.ctx, m.model, 1, KH_ALIGN_LN, ln, 960, &err));
    for (size_t c = 0; c < 10; c++) {
        float best = -INFINITY, all = -INFINITY;
        for (size_t n = 0; n < 96; n++)
            best = fmaxf(best, ln[n * 10 + c]);
        for (size_t i = 0; i < 96; i++)
            for (size_t j = i + 1; j < 96; j++) {
                for (size_t d = 0; d < 24; d++)
                    sum[d] = values[i * 24 + d] + values[j * 24 + d];
                kh_assert_ok(kh_model_head(m.ctx, m.model, sum, 1, logits, &err));
                all = fmaxf(all, logits[c]);
                if (i == pairs[c].i && j == pairs[c].j)
                    assert_float_equal(pairs[c].score, logits[c], 2e-5f); /* the true head */
            }
        assert_float_equal(pairs[c].score, all, 2e-5f);
        assert_float_equal(pairs[c].best_single, best, 1e-5f);
        if (c == 0) c = 7; /* classes 0, 8, 9 */
    }
    kh_assert_fails(kh_lens_pairs(m.ctx, m.model, &options, 1, pairs, 9, &err), KH_E_SHAPE,
                    "9 pairs");
    kh_assert_fails(kh_lens_pairs(m.ctx, m.model, &options, 2, pairs, 10, &err), KH_E_ARG,
                    "block 2");
    for (size_t n = 1;; n++) {
        err = (kh_error){0};
        kh_alloc_fail_after(n);
        const kh_status status = kh_lens_pairs(m.ctx, m.model, &options, 1, pairs, 10, &err);
        const size_t asked = kh_alloc_count();
        kh_alloc_fail_after(0);
        if (asked < n) break;
        if (status != KH_E_MEMORY) fail_msg("allocation %zu: %s", n, kh_status_name(status));
    }
    golden_close(&m);
    golden_open(&m, "rpn_base");
    kh_assert_fails(kh_lens_pairs(m.ctx, m.model, &options, 1, pairs, 10, &err), KH_E_UNSUPPORTED,
                    "post-norm");
    golden_close(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_14_2_a_vector_with_itself_scores_like_alone),
        cmocka_unit_test(check_14_3_the_best_pair_is_that_of_brute_force),
        cmocka_unit_test(opposite_vectors_do_no_harm),
        cmocka_unit_test(pairs_of_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
