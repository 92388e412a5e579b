/* What the model is shown: normalisation, noise, colour shifts, rolls; and what steps leave alone.
 */
#include "dream/dreams.h"

#define MODEL "random:test_vit"
enum { SIDE = 32, PIXELS = SIDE * SIDE };

/* Pixels as they are, at the model's size: what is shown is what was painted. */
static kh_dream_settings plain(kh_dream_norm norm) {
    kh_dream_settings s = preset_of("pixel-tv", SIDE);
    s.chain = KH_CHAIN_RESIZE;
    s.norm = norm;
    s.views = 1;
    s.noise_normal = s.tv = 0;
    return s;
}

static kh_dream *plain_dream(stage *s, const kh_dream_settings *settings) {
    const kh_dream_term term = neuron_term(2, 11);
    const kh_dream_objective o = {.terms = &term, .term_count = 1};
    return dream_open(s, "plain", settings, &o);
}

static const float *shown(stage *s, kh_dream *d) {
    kh_error err = {0};
    kh_assert_ok(kh_dreamer_gradient(s->dreamer, &d, 1, &err));
    return kh_dreamer_inputs(s->dreamer);
}

static void grey_and_black_are_the_recorded_numbers(void **state) {
    (void)state;
    static const float imagenet[2][3] = {{.065502f, .196429f, .417778f},
                                         {-2.117904f, -2.035714f, -1.804444f}};
    stage s = stage_open(MODEL, SIDE, 1);
    for (size_t black = 0; black < 2; black++)
        for (size_t own = 0; own < 2; own++) {
            const kh_dream_settings settings = plain(own ? KH_NORM_MODEL : KH_NORM_IMAGENET);
            kh_dream *d = plain_dream(&s, &settings);
            for (size_t i = 0; i < 3 * PIXELS; i++)
                d->image[0].theta[i] = black ? 0.0f : 0.5f;
            const float *x = shown(&s, d);
            for (size_t c = 0; c < 3; c++) {
                float want = imagenet[black][c];
                if (own) want = black ? -1 : 0;
                assert_float_equal(x[c * PIXELS + 7], want, 1e-6);
            }
            kh_dream_free(d);
        }
    stage_close(&s);
}

/* One number for a whole channel of a view, other ones for others, fading to nothing, not beyond.
 */
static void scalar_noise_is_one_draw_per_view_and_channel(void **state) {
    (void)state;
    stage s = stage_open(MODEL, SIDE, 2);
    kh_dream_settings settings = plain(KH_NORM_NONE);
    settings.views = 3;
    settings.noise_normal = 0.5;
    settings.noise_decays_over = 4;
    settings.noise_is_scalar = true;
    kh_dream *d = plain_dream(&s, &settings);
    for (size_t step = 0; step < 7; step++) {
        d->steps_done = step;
        const double amount = step < 4 ? 0.5 * (1 - (double)step / 4) : 0;
        const float *x = shown(&s, d);
        for (size_t v = 0; v < 3; v++)
            for (size_t c = 0; c < 3; c++) {
                const double want = amount * d->draws[v].scalar[c];
                for (size_t i = 0; i < PIXELS; i += 37)
                    assert_float_equal(x[(v * 3 + c) * PIXELS + i],
                                       d->image[0].pixels[c * PIXELS + i] + (float)want, 1e-6);
                for (size_t k = 0; k < v * 3 + c; k++)
                    assert_true(d->draws[v].scalar[c] != d->draws[k / 3].scalar[k % 3]);
            }
    }
    kh_dream_free(d);
    stage_close(&s);
}

static void scalar_noise_is_normal(void **state) {
    (void)state;
    kh_dream_settings settings = plain(KH_NORM_NONE);
    double sum = 0, square = 0;
    const size_t draws = 3000;
    for (size_t k = 0; k < draws; k++) {
        kh_rng shared = kh_rng_make(k, 1), own = kh_rng_make(k, 2);
        kh_draw d;
        kh_draw_make(&settings, SIDE, &shared, &own, &d);
        for (size_t c = 0; c < 3; c++) {
            sum += d.scalar[c];
            square += d.scalar[c] * d.scalar[c];
        }
    }
    const double n = 3.0 * (double)draws;
    assert_true(fabs(sum / n) < 4 / sqrt(n));
    assert_true(fabs(square / n - 1) < 4 * sqrt(2 / n));
}

/* x' = (x - m) / exp(s) with m and s from U(-a, a), each channel and view its own. */
static void colours_shift_by_mean_and_gain(void **state) {
    (void)state;
    stage s = stage_open(MODEL, SIDE, 2);
    kh_dream_settings settings = plain(KH_NORM_MODEL);
    settings.views = 4;
    settings.colour_shift = 0.7;
    kh_dream *d = plain_dream(&s, &settings);
    double low = 1, high = -1;
    for (size_t step = 0; step < 20; step++) {
        d->steps_done = step;
        const float *x = shown(&s, d);
        for (size_t v = 0; v < 4; v++)
            for (size_t c = 0; c < 3; c++) {
                const double mean = d->draws[v].mean[c], gain = d->draws[v].gain[c];
                assert_true(fabs(mean) <= 0.7 && fabs(log(gain)) <= 0.7);
                low = fmin(low, fmin(mean, log(gain)));
                high = fmax(high, fmax(mean, log(gain)));
                for (size_t i = 0; i < PIXELS; i += 101) {
                    const double p = (double)d->image[0].pixels[c * PIXELS + i];
                    const double want = ((p - mean) * gain - 0.5) / 0.5;
                    assert_float_equal(x[(v * 3 + c) * PIXELS + i], (float)want, 1e-5);
                }
            }
    }
    assert_true(low < -0.6 && high > 0.6); /* 480 draws reach both ends */
    kh_dream_free(d);
    stage_close(&s);
}

/* Through colour shifts, scalar noise, rolls, eight copies and total variation on them. */
static void vitvis_has_its_slope(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_dream_settings settings = preset_of("vitvis", SIDE);
    const kh_dream_term term = neuron_term(2, 11);
    const kh_dream_objective o = {
        .terms = &term, .term_count = 1, .gate = KH_GATE_POST, .tokens = KH_TOKENS_PATCHES};
    kh_dream *d = dream_open(&s, "slope", &settings, &o);
    kh_dream_image *p = &d->image[0];
    float *start = malloc(3 * PIXELS * sizeof *start);
    float *along = malloc(3 * PIXELS * sizeof *along);
    kh_assert_ok(kh_dreamer_gradient(s.dreamer, &d, 1, &err));
    double want = 0, loss[2];
    for (size_t i = 0; i < 3 * PIXELS; i++) { /* along its signs, far above float's noise */
        start[i] = p->theta[i];
        along[i] = p->gradient[i] > 0 ? 1e-3f : -1e-3f;
        want += (double)p->gradient[i] * (double)along[i];
    }
    for (size_t side = 0; side < 2; side++) {
        for (size_t i = 0; i < 3 * PIXELS; i++)
            p->theta[i] = start[i] + (side ? -along[i] : along[i]);
        kh_assert_ok(kh_dreamer_gradient(s.dreamer, &d, 1, &err));
        loss[side] = kh_dream_get_stats(d).loss;
    }
    const double got = 0.5 * (loss[0] - loss[1]);
    if (!(fabs(got - want) <= 5e-3 * fabs(want))) fail_msg("slope %g, expected %g", got, want);
    free(start);
    free(along);
    kh_dream_free(d);
    stage_close(&s);
}

/* Im of frequencies that are their own conjugates stays what it was, to the bit. */
static void invisible_parameters_stay_put(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_dream_settings settings = preset_of("report-quant", 16);
    kh_dream *d = plain_dream(&s, &settings);
    float before[3][4], *theta = d->image[0].theta;
    const size_t columns = 9, cells[4] = {0, 8, 8 * columns, 8 * columns + 8};
    for (size_t c = 0; c < 3; c++)
        for (size_t k = 0; k < 4; k++)
            before[c][k] = theta[c * d->canvas.count + 2 * cells[k] + 1];
    for (size_t step = 0; step < 5; step++)
        kh_assert_ok(kh_dreamer_step(s.dreamer, &d, 1, &err));
    for (size_t c = 0; c < 3; c++)
        for (size_t k = 0; k < 4; k++)
            assert_memory_equal(&before[c][k], &theta[c * d->canvas.count + 2 * cells[k] + 1],
                                sizeof(float));
    assert_true(theta[2] != 0 && theta[0] != before[0][0]);
    kh_dream_free(d);
    stage_close(&s);
}

/* After steps too, |Z| of what is painted is the given magnitude where the plane holds it once. */
static void maco_keeps_magnitudes_over_steps(void **state) {
    (void)state;
    enum { N = 24, COLUMNS = N / 2 + 1 };
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_dream_settings settings = preset_of("maco", N);
    kh_dream *d = plain_dream(&s, &settings);
    for (size_t step = 0; step < 4; step++)
        kh_assert_ok(kh_dreamer_step(s.dreamer, &d, 1, &err));
    kh_spectrum *plan;
    kh_assert_ok(kh_spectrum_create(N, N, &plan, &err));
    float *x = malloc(N * N * sizeof *x), z[2 * N * COLUMNS];
    float *work = malloc((kh_canvas_scratch(&d->canvas) + 1) * sizeof *work);
    kh_canvas_state now;
    kh_canvas_begin(&d->canvas, d->image[0].theta, &now);
    kh_canvas_channel(&d->canvas, &now, d->image[0].theta, 2, x, work);
    kh_spectrum_from_plane(plan, x, z, work);
    const float *a = d->canvas.magnitude + 2 * N * COLUMNS;
    for (size_t ky = 0; ky < N; ky++)
        for (size_t kx = 0; kx < COLUMNS; kx++) {
            const size_t i = ky * COLUMNS + kx;
            const double want = (double)a[i], got = hypot((double)z[2 * i], (double)z[2 * i + 1]);
            assert_true(fabs(got - want) <= 2e-6 * (double)a[0] + 1e-5 * want);
        }
    free(work);
    free(x);
    kh_spectrum_free(plan);
    kh_dream_free(d);
    stage_close(&s);
}

static void presets_say_how_they_are_used(void **state) {
    (void)state;
    kh_error err = {0};
    kh_dream_usage usage;
    kh_model_info info = {.has_class_token = true};
    kh_assert_ok(kh_dream_preset_usage("report-fail", &info, &usage, &err));
    assert_int_equal(usage.gate, KH_GATE_POST);
    assert_int_equal(usage.tokens, KH_TOKENS_ALL);
    kh_assert_ok(kh_dream_preset_usage("report-quant", &info, &usage, &err));
    assert_int_equal(usage.snapshots[0], 250);
    assert_int_equal(usage.snapshots[2], 750);
    assert_int_equal(usage.snapshots[3], 0);
    kh_assert_ok(kh_dream_preset_usage("vitvis", &info, &usage, &err));
    assert_int_equal(usage.tokens, KH_TOKENS_PATCHES);
    kh_assert_ok(kh_dream_preset_usage("default", &info, &usage, &err));
    assert_int_equal(usage.tokens, KH_TOKENS_CLASS);
    info.has_class_token = false;
    kh_assert_ok(kh_dream_preset_usage("default", &info, &usage, &err));
    assert_int_equal(usage.tokens, KH_TOKENS_ALL);
    kh_assert_fails(kh_dream_preset_usage("fancy", &info, &usage, &err), KH_E_NOT_FOUND, "quick");
}

/* lambda' is the weight of a mean over pairs: the same loss as lambda with the sum's own factor. */
static void relative_diversity_is_a_mean(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_model_info *info = kh_model_get_info(s.model);
    const kh_dream_settings settings = preset_of("default", 0);
    const kh_dream_term term = neuron_term(2, 11);
    for (size_t gram = 0; gram < 2; gram++) {
        kh_dream_objective o = {.terms = &term,
                                .term_count = 1,
                                .images = 3,
                                .diversity = gram ? KH_DIVERSITY_GRAM : KH_DIVERSITY_UNITS,
                                .lambda = 5,
                                .lambda_is_relative = true};
        kh_dream *mean = dream_open(&s, "d", &settings, &o);
        o.lambda_is_relative = false;
        o.lambda = 5.0 / (3 * 2) / (gram ? 1 : (double)info->tokens);
        kh_dream *sum = dream_open(&s, "d", &settings, &o);
        kh_assert_ok(kh_dreamer_gradient(s.dreamer, &mean, 1, &err));
        const kh_dream_stats said = kh_dream_get_stats(mean);
        /* units keep their diagonal: N B of N B (B - 1) */
        const double want = -said.mean_pre + 5 * (said.diversity + (gram ? 0 : 0.5));
        assert_true(fabs(said.loss - want) <= 1e-9 * fabs(want));
        kh_assert_ok(kh_dreamer_gradient(s.dreamer, &sum, 1, &err));
        assert_true(fabs(kh_dream_get_stats(sum).loss - said.loss) <= 1e-9 * fabs(want));
        kh_dream_free(mean);
        kh_dream_free(sum);
    }
    stage_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grey_and_black_are_the_recorded_numbers),
        cmocka_unit_test(scalar_noise_is_one_draw_per_view_and_channel),
        cmocka_unit_test(scalar_noise_is_normal),
        cmocka_unit_test(colours_shift_by_mean_and_gain),
        cmocka_unit_test(vitvis_has_its_slope),
        cmocka_unit_test(invisible_parameters_stay_put),
        cmocka_unit_test(maco_keeps_magnitudes_over_steps),
        cmocka_unit_test(presets_say_how_they_are_used),
        cmocka_unit_test(relative_diversity_is_a_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
