/* Alignment on plain arrays, against a scalar float64 reference written from the formulas. */
#include "support/kh_test.h"

#include "lens/align.h"

#define DIM     24
#define UNITS   40
#define CLASSES 7

typedef struct world {
    float v[UNITS * DIM], e[CLASSES * DIM], bias[CLASSES];
    float g[DIM], b[DIM], g2[DIM], b2[DIM];
    kh_lens_norm final, before;
} world;

static void make_world(world *w) {
    kh_test_fill(w->v, UNITS * DIM, 1, 0.6f);
    kh_test_fill(w->e, CLASSES * DIM, 2, 0.4f);
    kh_test_fill(w->bias, CLASSES, 3, 0.3f);
    kh_test_fill(w->g, DIM, 4, 0.5f);
    kh_test_fill(w->b, DIM, 5, 0.2f);
    kh_test_fill(w->g2, DIM, 6, 0.5f);
    kh_test_fill(w->b2, DIM, 7, 0.2f);
    for (size_t i = 0; i < DIM; i++) {
        w->g[i] += 1;
        w->g2[i] += 0.9f;
    }
    w->final = (kh_lens_norm){w->g, w->b, 1e-6};
    w->before = (kh_lens_norm){0};
}

/* ---- reference: one score, float64, straight from the definition --------------------------- */

static void ref_norm(const double *x, const float *g, const float *b, double eps, bool is_linear,
                     double *y) {
    double mean = 0, var = 0;
    for (size_t i = 0; i < DIM; i++)
        mean += x[i] / DIM;
    for (size_t i = 0; i < DIM; i++)
        var += (x[i] - mean) * (x[i] - mean) / DIM;
    for (size_t i = 0; i < DIM; i++)
        y[i] = is_linear ? (double)g[i] * (x[i] - mean)
                         : (x[i] - mean) / sqrt(var + eps) * (double)g[i] + (double)b[i];
}

static double dot(const double *x, const float *e) {
    double sum = 0;
    for (size_t i = 0; i < DIM; i++)
        sum += x[i] * (double)e[i];
    return sum;
}

static double ref_logit(const world *w, const double *v, size_t c) {
    double y[DIM];
    if (!w->final.w) return dot(v, w->e + c * DIM) + (double)w->bias[c];
    ref_norm(v, w->g, w->b, w->final.eps, false, y);
    return dot(y, w->e + c * DIM) + (double)w->bias[c];
}

static double ref_score(const world *w, kh_align_mode mode, size_t n, size_t c) {
    double v[DIM], y[DIM], sum = 0, vv = 0, ee = 0, best = -INFINITY;
    for (size_t i = 0; i < DIM; i++)
        v[i] = (double)w->v[n * DIM + i];
    if (w->before.w) {
        ref_norm(v, w->g2, w->b2, w->before.eps, mode == KH_ALIGN_FOLD, y);
        memcpy(v, y, sizeof v);
    }
    switch (mode) {
    case KH_ALIGN_RAW:
        return dot(v, w->e + c * DIM);
    case KH_ALIGN_COS:
        for (size_t i = 0; i < DIM; i++) {
            vv += v[i] * v[i];
            ee += (double)w->e[c * DIM + i] * (double)w->e[c * DIM + i];
        }
        return vv > 0 ? dot(v, w->e + c * DIM) / sqrt(vv * ee) : 0;
    case KH_ALIGN_FOLD:
        if (!w->final.w) return dot(v, w->e + c * DIM);
        ref_norm(v, w->g, w->b, 0, true, y);
        return dot(y, w->e + c * DIM);
    case KH_ALIGN_LN:
        return ref_logit(w, v, c);
    case KH_ALIGN_MARGIN:
        for (size_t other = 0; other < CLASSES; other++)
            if (other != c && ref_logit(w, v, other) > best) best = ref_logit(w, v, other);
        return ref_logit(w, v, c) - best;
    case KH_ALIGN_PROB:
        for (size_t other = 0; other < CLASSES; other++)
            sum += exp(ref_logit(w, v, other));
        return exp(ref_logit(w, v, c)) / sum;
    }
    return (double)NAN;
}

/* ---- what is tested: rows, a plain product, finish ----------------------------------------- */

static bool align(const world *w, kh_align_mode mode, float *out) {
    static float rows[UNITS * DIM], vectors[CLASSES * DIM];
    double constant[CLASSES];
    memcpy(rows, w->v, sizeof rows);
    kh_align_rows(NULL, mode, &w->before, &w->final, UNITS, DIM, rows);
    kh_align_classes(mode, w->e, CLASSES, DIM, &w->final, vectors);
    kh_align_constants(mode, w->e, w->bias, CLASSES, DIM, &w->final, constant);
    for (size_t n = 0; n < UNITS; n++)
        for (size_t c = 0; c < CLASSES; c++) {
            double sum = 0;
            for (size_t i = 0; i < DIM; i++)
                sum += (double)rows[n * DIM + i] * (double)vectors[c * DIM + i];
            out[n * CLASSES + c] = (float)sum;
        }
    return kh_align_finish(NULL, mode, constant, UNITS, CLASSES, out);
}

static void assert_matches_reference(const world *w, kh_align_mode mode) {
    float got[UNITS * CLASSES], want[UNITS * CLASSES];
    assert_true(align(w, mode, got));
    for (size_t n = 0; n < UNITS; n++)
        for (size_t c = 0; c < CLASSES; c++)
            want[n * CLASSES + c] = (float)ref_score(w, mode, n, c);
    /* fp32 roundings of 24 products and of the rows, scores up to about 5 */
    kh_assert_close(got, want, UNITS * CLASSES, 1e-6, 1e-6);
}

static void every_mode_matches_the_reference(void **state) {
    (void)state;
    world w;
    make_world(&w);
    for (size_t mode = 0; mode < KH_ALIGN_MODES; mode++)
        assert_matches_reference(&w, (kh_align_mode)mode);
}

static void every_mode_matches_behind_a_post_norm(void **state) {
    (void)state;
    world w;
    make_world(&w);
    w.before = (kh_lens_norm){w.g2, w.b2, 1e-6};
    for (size_t mode = 0; mode < KH_ALIGN_MODES; mode++)
        assert_matches_reference(&w, (kh_align_mode)mode);
}

static void every_mode_matches_without_a_final_norm(void **state) {
    (void)state;
    world w;
    make_world(&w);
    w.final = (kh_lens_norm){0};
    for (size_t mode = 0; mode < KH_ALIGN_MODES; mode++)
        assert_matches_reference(&w, (kh_align_mode)mode);
}

static void a_value_vector_worked_by_hand(void **state) {
    (void)state;
    float v[4] = {3, 1, -1, -3}, e[4] = {1, 2, 0, -1}, g[4] = {1, 1, 2, 1}, b[4] = {0, 0, 1, 1};
    const kh_lens_norm final = {g, b, 0};
    kh_value_stats s;
    kh_lens_value_stats(v, 1, 4, &s);
    assert_true(s.mean == 0 && s.var == 5 && fabs(s.norm - sqrt(20)) < 1e-15);
    /* fold: 3*1 + 1*2 - 0 + 3 = 8; constant: 0 + 0 + 0 - 1 */
    assert_true(fabs(kh_align_fold(NULL, &final, 4, v, e) - 8) < 1e-15);
    double constant;
    const float bias = 0.5f;
    kh_align_constants(KH_ALIGN_LN, e, &bias, 1, 4, &final, &constant);
    assert_true(constant == -0.5);
    kh_align_rows(NULL, KH_ALIGN_LN, NULL, &final, 1, 4, v);
    assert_float_equal(v[0], 3 / sqrtf(5), 1e-7f);
    assert_float_equal(v[3], -3 / sqrtf(5), 1e-7f);
}

static void check_1_1_ln_orders_like_fold_over_sigma(void **state) {
    (void)state;
    world w;
    make_world(&w);
    float ln[UNITS * CLASSES], fold[UNITS * CLASSES];
    kh_value_stats stats[UNITS];
    assert_true(align(&w, KH_ALIGN_LN, ln));
    assert_true(align(&w, KH_ALIGN_FOLD, fold));
    kh_lens_value_stats(w.v, UNITS, DIM, stats);
    size_t compared = 0;
    for (size_t c = 0; c < CLASSES; c++)
        for (size_t n = 0; n < UNITS; n++)
            for (size_t m = 0; m < UNITS; m++) {
                const double a = (double)fold[n * CLASSES + c] / sqrt(stats[n].var + 1e-6);
                const double b = (double)fold[m * CLASSES + c] / sqrt(stats[m].var + 1e-6);
                if (!(a - b > 1e-5)) continue; /* closer than rounding */
                compared++;
                assert_true(ln[n * CLASSES + c] > ln[m * CLASSES + c]);
            }
    assert_true(compared > CLASSES * UNITS * (UNITS - 1) / 2 * 9 / 10);
}

static void check_1_2_scaling_leaves_ln_and_multiplies_raw_and_fold(void **state) {
    (void)state;
    world w;
    make_world(&w);
    w.final.eps = 0;
    float before[KH_ALIGN_MODES][UNITS * CLASSES], after[UNITS * CLASSES];
    for (size_t m = 0; m < KH_ALIGN_MODES; m++)
        assert_true(align(&w, (kh_align_mode)m, before[m]));
    for (size_t i = 0; i < UNITS * DIM; i++)
        w.v[i] *= 7;
    for (size_t m = 0; m < KH_ALIGN_MODES; m++) {
        const bool is_linear = m == KH_ALIGN_RAW || m == KH_ALIGN_FOLD;
        for (size_t i = 0; i < UNITS * CLASSES && is_linear; i++)
            before[m][i] *= 7;
        assert_true(align(&w, (kh_align_mode)m, after));
        kh_assert_close(after, before[m], UNITS * CLASSES, 1e-6, 3e-6);
    }
    /* a power of two has no rounding at all */
    assert_true(align(&w, KH_ALIGN_LN, before[0]));
    for (size_t i = 0; i < UNITS * DIM; i++)
        w.v[i] *= 4;
    assert_true(align(&w, KH_ALIGN_LN, after));
    assert_memory_equal(after, before[0], sizeof after);
}

static void check_1_3_adding_a_constant_leaves_ln_and_fold(void **state) {
    (void)state;
    world w;
    make_world(&w);
    float ln[UNITS * CLASSES], fold[UNITS * CLASSES], raw[UNITS * CLASSES], after[UNITS * CLASSES];
    assert_true(align(&w, KH_ALIGN_LN, ln));
    assert_true(align(&w, KH_ALIGN_FOLD, fold));
    assert_true(align(&w, KH_ALIGN_RAW, raw));
    for (size_t i = 0; i < UNITS * DIM; i++)
        w.v[i] += 0.75f;
    assert_true(align(&w, KH_ALIGN_LN, after));
    kh_assert_close(after, ln, UNITS * CLASSES, 1e-6, 5e-6);
    assert_true(align(&w, KH_ALIGN_FOLD, after));
    kh_assert_close(after, fold, UNITS * CLASSES, 1e-6, 2e-6);
    assert_true(align(&w, KH_ALIGN_RAW, after));
    float worst = 0;
    for (size_t i = 0; i < UNITS * CLASSES; i++)
        worst = fmaxf(worst, fabsf(after[i] - raw[i]));
    assert_true(worst > 0.1f); /* raw does see it */
}

static void check_1_4_cos_stays_within_one_and_zero_vectors_give_zero(void **state) {
    (void)state;
    world w;
    make_world(&w);
    float out[UNITS * CLASSES];
    for (size_t n = 0; n < UNITS; n++) /* many exact and opposite copies of class embeddings */
        for (size_t i = 0; i < DIM; i++)
            w.v[n * DIM + i] = w.e[n % CLASSES * DIM + i] * (n % 2 ? -1.0f : 1.0f) * (float)(n + 1);
    memset(w.v, 0, DIM * sizeof(float));
    assert_true(align(&w, KH_ALIGN_COS, out));
    for (size_t i = 0; i < UNITS * CLASSES; i++)
        assert_true(out[i] >= -1 && out[i] <= 1);
    for (size_t c = 0; c < CLASSES; c++)
        assert_true(out[c] == 0);
    for (size_t n = 1; n < UNITS; n++)
        assert_float_equal(out[n * CLASSES + n % CLASSES], (n % 2 ? -1.0f : 1.0f), 2e-7f);
}

static void margins_and_probabilities_belong_together(void **state) {
    (void)state;
    world w;
    make_world(&w);
    float margin[UNITS * CLASSES], prob[UNITS * CLASSES];
    assert_true(align(&w, KH_ALIGN_MARGIN, margin));
    assert_true(align(&w, KH_ALIGN_PROB, prob));
    for (size_t n = 0; n < UNITS; n++) {
        double sum = 0;
        size_t positive = 0;
        for (size_t c = 0; c < CLASSES; c++) {
            sum += (double)prob[n * CLASSES + c];
            positive += margin[n * CLASSES + c] > 0;
        }
        assert_true(fabs(sum - 1) < 1e-6);
        assert_int_equal(positive, 1); /* one winner */
    }
}

static void equal_best_classes_have_margin_zero(void **state) {
    (void)state;
    float s[4] = {2, 5, 5, 1};
    const double zero[4] = {0};
    assert_true(kh_align_finish(NULL, KH_ALIGN_MARGIN, zero, 1, 4, s));
    assert_true(s[0] == -3 && s[1] == 0 && s[2] == 0 && s[3] == -4);
}

static void a_score_that_is_not_finite_is_seen(void **state) {
    (void)state;
    const double zero[2] = {0};
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t mode = 0; mode < KH_ALIGN_MODES; mode++)
        for (size_t i = 0; i < 3; i++) {
            float s[4] = {1, 2, 3, bad[i]};
            assert_false(kh_align_finish(NULL, (kh_align_mode)mode, zero, 2, 2, s));
        }
    float one[1] = {1}; /* a margin over nobody */
    assert_false(kh_align_finish(NULL, KH_ALIGN_MARGIN, zero, 1, 1, one));
}

static void threads_change_nothing(void **state) {
    (void)state;
    static float rows[500 * DIM], threaded[500 * DIM], scores[500 * DIM], more[500 * DIM];
    kh_error err = {0};
    kh_pool *pool;
    world w;
    double constant[DIM] = {0.25, -1};
    make_world(&w);
    kh_test_fill(rows, 500 * DIM, 9, 1);
    memcpy(threaded, rows, sizeof rows);
    memcpy(scores, rows, sizeof rows);
    memcpy(more, rows, sizeof rows);
    kh_assert_ok(kh_pool_create(2, &pool, &err));
    kh_align_rows(NULL, KH_ALIGN_LN, NULL, &w.final, 500, DIM, rows);
    kh_align_rows(pool, KH_ALIGN_LN, NULL, &w.final, 500, DIM, threaded);
    assert_memory_equal(rows, threaded, sizeof rows);
    assert_true(kh_align_finish(NULL, KH_ALIGN_PROB, constant, 500, DIM, scores));
    assert_true(kh_align_finish(pool, KH_ALIGN_PROB, constant, 500, DIM, more));
    assert_memory_equal(scores, more, sizeof scores);
    kh_pool_free(pool);
}

static void modes_have_names(void **state) {
    (void)state;
    kh_error err = {0};
    kh_align_mode mode;
    for (size_t m = 0; m < KH_ALIGN_MODES; m++) {
        kh_assert_ok(kh_align_mode_parse(kh_align_mode_name((kh_align_mode)m), &mode, &err));
        assert_int_equal(mode, m);
    }
    kh_assert_fails(kh_align_mode_parse("cosine", &mode, &err), KH_E_ARG, "raw, cos, ln");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mode_matches_the_reference),
        cmocka_unit_test(every_mode_matches_behind_a_post_norm),
        cmocka_unit_test(every_mode_matches_without_a_final_norm),
        cmocka_unit_test(a_value_vector_worked_by_hand),
        cmocka_unit_test(check_1_1_ln_orders_like_fold_over_sigma),
        cmocka_unit_test(check_1_2_scaling_leaves_ln_and_multiplies_raw_and_fold),
        cmocka_unit_test(check_1_3_adding_a_constant_leaves_ln_and_fold),
        cmocka_unit_test(check_1_4_cos_stays_within_one_and_zero_vectors_give_zero),
        cmocka_unit_test(margins_and_probabilities_belong_together),
        cmocka_unit_test(equal_best_classes_have_margin_zero),
        cmocka_unit_test(a_score_that_is_not_finite_is_seen),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(modes_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
