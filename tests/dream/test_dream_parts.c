/* The small parts: GELU's slopes, diversity, total variation, Adam and NAdam, weights. */
#include "support/kh_test.h"

#include "dream/loss.h"
#include "dream/optimizer.h"
#include "dream/regular.h"

static bool is_near(double got, double want, double tolerance) {
    return fabs(got - want) <= tolerance;
}

static void gelu_has_its_known_values(void **state) {
    (void)state;
    assert_true(kh_gelu(0) == 0 && is_near(kh_gelu_slope(0), 0.5, 1e-15));
    assert_true(is_near(kh_gelu(1), .8413447461, 1e-10));
    assert_true(is_near(kh_gelu_slope(1), 1.0833154706, 1e-10));
    assert_true(is_near(kh_gelu(-1), -.1586552539, 1e-10));
    assert_true(is_near(kh_gelu_slope(-1), -.0833154706, 1e-10));
    assert_true(is_near(kh_gelu(-.7517915247), -.1699712075, 1e-10));
    assert_true(is_near(kh_gelu_slope(-.7517915247), 0, 1e-9));
    assert_true(is_near(kh_gelu_slope(-3), -.0119456472, 1e-10));
}

/* ---- diversity ---------------------------------------------------------------------------------
 */

enum { IMAGES = 3, TOKENS = 4, NEURONS = 6, EACH = TOKENS * NEURONS };

static double diversity(kh_dream_diversity kind, size_t images, float *h, double weight,
                        float *seeds, double *cosine) {
    kh_error err = {0};
    const float *at[IMAGES];
    float *to[IMAGES];
    for (size_t i = 0; i < IMAGES; i++) {
        at[i] = h + i * EACH;
        to[i] = seeds + i * EACH;
    }
    double value;
    kh_assert_ok(
        kh_diversity(kind, images, TOKENS, NEURONS, 0, at, weight, to, &value, cosine, &err));
    return value;
}

static void alike_images_are_a_stationary_point(void **state) {
    (void)state;
    float h[IMAGES * EACH], seeds[IMAGES * EACH] = {0};
    double cosine;
    kh_test_fill(h, EACH, 1, 1.0f);
    for (size_t i = 1; i < IMAGES; i++)
        memcpy(h + i * EACH, h, EACH * sizeof *h);
    assert_true(is_near(diversity(KH_DIVERSITY_UNITS, IMAGES, h, 1, seeds, &cosine),
                        TOKENS * IMAGES * IMAGES, 1e-9));
    assert_true(is_near(cosine, 1, 1e-9));
    for (size_t i = 0; i < IMAGES * EACH; i++)
        assert_true(fabs((double)seeds[i]) <= 1e-6);
}

static void orthogonal_images_leave_the_diagonal(void **state) {
    (void)state;
    float h[IMAGES * EACH] = {0}, seeds[IMAGES * EACH] = {0};
    double cosine;
    for (size_t i = 0; i < IMAGES; i++)
        for (size_t t = 0; t < TOKENS; t++)
            h[i * EACH + t * NEURONS + i] = 1.0f + (float)t;
    assert_true(is_near(diversity(KH_DIVERSITY_UNITS, IMAGES, h, 1, seeds, &cosine),
                        TOKENS * IMAGES, 1e-9));
    assert_true(is_near(cosine, 0, 1e-9));
}

static void diversity_slopes(void **state) {
    (void)state;
    const kh_dream_diversity kinds[] = {KH_DIVERSITY_UNITS, KH_DIVERSITY_GRAM};
    for (size_t k = 0; k < 2; k++) {
        float h[IMAGES * EACH], seeds[IMAGES * EACH] = {0}, unused[IMAGES * EACH] = {0};
        double cosine;
        kh_test_fill(h, IMAGES * EACH, 2, 1.0f);
        (void)diversity(kinds[k], IMAGES, h, 0.7, seeds, &cosine);
        for (size_t i = 0; i < IMAGES * EACH; i++) {
            const float kept = h[i], step = 1e-3f;
            h[i] = kept + step;
            const double up = diversity(kinds[k], IMAGES, h, 0, unused, &cosine);
            const float above = h[i];
            h[i] = kept - step;
            const double down = diversity(kinds[k], IMAGES, h, 0, unused, &cosine);
            const double got = 0.7 * (up - down) / (double)(above - h[i]);
            h[i] = kept;
            if (!is_near(got, (double)seeds[i], 2e-5))
                fail_msg("kind %zu, value %zu: %g, expected %g", k, i, (double)seeds[i], got);
        }
        for (size_t t = 0; k == 0 && t < IMAGES * TOKENS; t++) { /* across the vector, not along */
            double along = 0;
            for (size_t j = 0; j < NEURONS; j++)
                along += (double)h[t * NEURONS + j] * (double)seeds[t * NEURONS + j];
            assert_true(fabs(along) <= 1e-6);
        }
    }
}

/* ---- total variation ----------------------------------------------------------------------------
 */

static void total_variation_of_a_ramp(void **state) {
    (void)state;
    float ramp[30], flat[30], g[30] = {0};
    for (size_t i = 0; i < 30; i++) {
        ramp[i] = (float)(i % 6);
        flat[i] = 0.3f;
    }
    assert_true(is_near(kh_regular_tv(ramp, 5, 6, 1, NULL), 13.94427, 1e-5));
    assert_true(kh_regular_tv(flat, 5, 6, 1, g) == 0);
    for (size_t i = 0; i < 30; i++)
        assert_true(g[i] == 0);
}

static void total_variation_slopes(void **state) {
    (void)state;
    float x[30], g[30] = {0};
    kh_test_fill(x, 30, 3, 1.0f);
    (void)kh_regular_tv(x, 5, 6, 2, g);
    for (size_t i = 0; i < 30; i++) {
        const float kept = x[i];
        x[i] = kept + 1e-3f;
        const float above = x[i];
        const double up = kh_regular_tv(x, 5, 6, 0, NULL);
        x[i] = kept - 1e-3f;
        const double got = 2 * (up - kh_regular_tv(x, 5, 6, 0, NULL)) / (double)(above - x[i]);
        x[i] = kept;
        assert_true(is_near(got, (double)g[i], 1e-5));
    }
}

/* ---- optimisers ---------------------------------------------------------------------------------
 */

static kh_dream_settings adam(void) {
    kh_error err = {0};
    kh_dream_settings s;
    kh_assert_ok(kh_dream_preset("report-quant", &s, &err));
    return s;
}

static void adams_first_step_is_the_sign(void **state) {
    (void)state;
    const kh_dream_settings s = adam();
    const float g[4] = {0.3f, -1e-3f, 1e-8f, 0};
    float theta[4] = {0}, m[4] = {0}, v[4] = {0};
    kh_optimizer_step(&s, 1, 4, g, theta, m, v);
    for (size_t i = 0; i < 4; i++) {
        const double a = fabs((double)g[i]);
        assert_float_equal(theta[i], (float)(-0.05 * (double)g[i] / (a + 1e-8)), 1e-7);
    }
    assert_true(theta[3] == 0); /* what has no gradient stays put */
}

/* The same ten steps in double, written out. */
static void ten_steps_follow_the_formulas(void **state) {
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        kh_dream_settings s = adam();
        s.optimizer = kind ? KH_OPTIMIZER_NADAM : KH_OPTIMIZER_ADAM;
        float theta = 0.4f, m = 0, v = 0;
        double dt = 0.4, dm = 0, dv = 0, product = 1;
        for (size_t t = 1; t <= 10; t++) {
            const float g = sinf((float)t) * 0.2f + 0.1f;
            kh_optimizer_step(&s, t, 1, &g, &theta, &m, &v);
            const double dg = (double)g;
            dm = 0.9 * dm + 0.1 * dg;
            dv = 0.999 * dv + 0.001 * dg * dg;
            const double root = sqrt(dv / (1 - pow(0.999, (double)t))) + 1e-8;
            const double mu = 0.9 * (1 - 0.5 * pow(0.96, 0.004 * (double)t));
            const double next = 0.9 * (1 - 0.5 * pow(0.96, 0.004 * (double)(t + 1)));
            product *= mu;
            if (kind)
                dt -= 0.05 * ((1 - mu) / (1 - product) * dg + next / (1 - product * next) * dm) /
                      root;
            else
                dt -= 0.05 * dm / (1 - pow(0.9, (double)t)) / root;
            assert_true(is_near((double)theta, dt, 2e-6));
        }
    }
}

static void nadams_first_step_is_a_little_more(void **state) {
    (void)state;
    kh_dream_settings s = adam();
    s.optimizer = KH_OPTIMIZER_NADAM;
    s.lr = 1;
    const float g = 0.5f;
    float theta = 0, m = 0, v = 0;
    kh_optimizer_step(&s, 1, 1, &g, &theta, &m, &v);
    assert_float_equal(theta, -1.0564518f, 1e-5);
}

static void cosine_falls_from_lr_to_zero(void **state) {
    (void)state;
    kh_dream_settings s = adam();
    s.schedule = KH_SCHEDULE_COSINE;
    s.steps = 100;
    assert_true(is_near(kh_optimizer_rate(&s, 1), 0.05, 1e-12));
    assert_true(is_near(kh_optimizer_rate(&s, 51), 0.025, 1e-12));
    assert_true(is_near(kh_optimizer_rate(&s, 101), 0, 1e-12));
    assert_true(is_near(kh_optimizer_rate(&s, 500), 0, 1e-12));
}

static void weights_add_up_to_one(void **state) {
    (void)state;
    kh_error err = {0};
    const float scores[3] = {2, 1, 1}, mixed[2] = {1, -1};
    double w[3];
    kh_assert_ok(kh_dream_weights("equal", scores, 3, w, &err));
    assert_true(is_near(w[0], 1.0 / 3, 1e-15));
    kh_assert_ok(kh_dream_weights("score", scores, 3, w, &err));
    assert_true(is_near(w[0], 0.5, 1e-15) && is_near(w[1], 0.25, 1e-15));
    kh_assert_ok(kh_dream_weights("softmax", scores, 3, w, &err));
    assert_true(is_near(w[0], exp(1) / (exp(1) + 2), 1e-12));
    kh_assert_fails(kh_dream_weights("score", mixed, 2, w, &err), KH_E_NUMERIC, "positive");
    kh_assert_fails(kh_dream_weights("equal", scores, 0, w, &err), KH_E_ARG, "no neurons");
    kh_assert_fails(kh_dream_weights("best", scores, 3, w, &err), KH_E_NOT_FOUND, "softmax");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gelu_has_its_known_values),
        cmocka_unit_test(alike_images_are_a_stationary_point),
        cmocka_unit_test(orthogonal_images_leave_the_diagonal),
        cmocka_unit_test(diversity_slopes),
        cmocka_unit_test(total_variation_of_a_ramp),
        cmocka_unit_test(total_variation_slopes),
        cmocka_unit_test(adams_first_step_is_the_sign),
        cmocka_unit_test(ten_steps_follow_the_formulas),
        cmocka_unit_test(nadams_first_step_is_a_little_more),
        cmocka_unit_test(cosine_falls_from_lr_to_zero),
        cmocka_unit_test(weights_add_up_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
