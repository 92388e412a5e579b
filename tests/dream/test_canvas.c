/* Parameters to image and back, for every way of writing an image down. */
#include "support/kh_test.h"

#include "base/rng.h"
#include "dream/canvas.h"

typedef struct fixture {
    kh_canvas canvas;
    size_t pixels, parameters;
    float *theta, *x, *image, *g, *dtheta, *scratch;
    kh_canvas_state state;
} fixture;

static fixture fixture_open(const char *preset, size_t n, bool is_accent) {
    kh_error err = {0};
    fixture f = {.pixels = 3 * n * n};
    kh_dream_settings s;
    kh_assert_ok(kh_dream_preset(preset, &s, &err));
    s.size = n;
    /* milder than nature, whose first coefficient would drown the others in float differences */
    float *magnitude = malloc(3 * n * (n / 2 + 1) * sizeof *magnitude);
    kh_test_fill(magnitude, 3 * n * (n / 2 + 1), 23, 1.0f);
    for (size_t i = 0; i < 3 * n * (n / 2 + 1); i++)
        magnitude[i] += 1.5f;
    kh_assert_ok(kh_canvas_init(&f.canvas, &s, magnitude, is_accent, &err));
    free(magnitude);
    f.parameters = 3 * f.canvas.count;
    f.theta = malloc(f.parameters * sizeof *f.theta);
    f.dtheta = malloc(f.parameters * sizeof *f.dtheta);
    f.x = malloc(f.pixels * sizeof *f.x);
    f.image = malloc(f.pixels * sizeof *f.image);
    f.g = malloc(f.pixels * sizeof *f.g);
    f.scratch = malloc((kh_canvas_scratch(&f.canvas) + 1) * sizeof *f.scratch);
    kh_test_fill(f.theta, f.parameters, 21, 0.7f);
    kh_test_fill(f.g, f.pixels, 22, 1.0f);
    return f;
}

static void fixture_close(fixture *f) {
    free(f->theta);
    free(f->dtheta);
    free(f->x);
    free(f->image);
    free(f->g);
    free(f->scratch);
    kh_canvas_clear(&f->canvas);
}

static void paint(fixture *f) {
    kh_canvas_begin(&f->canvas, f->theta, &f->state);
    for (size_t c = 0; c < 3; c++)
        kh_canvas_channel(&f->canvas, &f->state, f->theta, c, f->x + c * f->pixels / 3, f->scratch);
    kh_canvas_finish(&f->canvas, &f->state, f->x, f->image);
}

/* <g, image> in double */
static double loss(fixture *f) {
    double sum = 0;
    paint(f);
    for (size_t i = 0; i < f->pixels; i++)
        sum += (double)f->g[i] * (double)f->image[i];
    return sum;
}

static void go_back(fixture *f) {
    float *g = malloc(f->pixels * sizeof *g);
    memcpy(g, f->g, f->pixels * sizeof *g);
    paint(f);
    kh_canvas_back_pixels(&f->canvas, &f->state, f->x, f->image, g);
    for (size_t c = 0; c < 3; c++)
        kh_canvas_back_channel(&f->canvas, &f->state, f->theta, c, g + c * f->pixels / 3,
                               f->dtheta + c * f->canvas.count, f->scratch);
    kh_canvas_back_end(&f->canvas, &f->state, f->theta, f->dtheta);
    free(g);
}

/* Slopes along random directions against central differences; painting is float, so the step is
 * large and the tolerance is that of float differences. */
static void check_slopes(const char *preset, size_t n) {
    fixture f = fixture_open(preset, n, false);
    float *start = malloc(f.parameters * sizeof *start), *d = malloc(f.parameters * sizeof *d);
    memcpy(start, f.theta, f.parameters * sizeof *start);
    go_back(&f);
    for (uint64_t seed = 0; seed < 4; seed++) {
        const double step = 3e-3;
        double want = 0, length = 0, total = 0;
        kh_test_fill(d, f.parameters, 100 + seed, 1.0f);
        for (size_t i = 0; i < f.parameters; i++) {
            want += (double)f.dtheta[i] * (double)d[i];
            length += (double)f.dtheta[i] * (double)f.dtheta[i];
            total += (double)d[i] * (double)d[i];
        }
        double at[2];
        for (size_t side = 0; side < 2; side++) {
            for (size_t i = 0; i < f.parameters; i++)
                f.theta[i] = (float)((double)start[i] + (side ? -step : step) * (double)d[i]);
            at[side] = loss(&f);
        }
        const double got = (at[0] - at[1]) / (2 * step);
        if (!(fabs(got - want) <= 2e-3 * sqrt(length * total / (double)f.parameters)))
            fail_msg("%s at %zu: slope %g, expected %g", preset, n, got, want);
    }
    free(start);
    free(d);
    fixture_close(&f);
}

static void gradients_are_slopes(void **state) {
    (void)state;
    const char *const presets[] = {"report-quant", "standard-fourier", "maco", "thesis-maco",
                                   "pixel-tv"};
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        check_slopes(presets[i], 8);
        check_slopes(presets[i], 9);
        check_slopes(presets[i], 14);
    }
}

static void noise_in_invisible_parameters_is_not_amplified(void **state) {
    (void)state;
    fixture f = fixture_open("report-quant", 8, false);
    go_back(&f);
    const size_t columns = 5;
    for (size_t c = 0; c < 3; c++)
        for (size_t ky = 0; ky < 8; ky += 4)
            for (size_t kx = 0; kx < columns; kx += 4)
                assert_true(f.dtheta[c * f.canvas.count + 2 * (ky * columns + kx) + 1] == 0);
    fixture_close(&f);
}

static void standardised_gradients_sum_to_zero(void **state) {
    (void)state;
    fixture f = fixture_open("thesis-maco", 12, false);
    go_back(&f);
    double sum = 0, size = 0;
    for (size_t i = 0; i < f.parameters; i++) {
        sum += (double)f.dtheta[i];
        size += fabs((double)f.dtheta[i]);
    }
    assert_true(fabs(sum) <= 1e-6 * size);
    fixture_close(&f);
}

/* |Z| is the given magnitude wherever the plane holds the frequency once. */
static void maco_keeps_magnitudes(void **state) {
    (void)state;
    kh_error err = {0};
    const size_t n = 12, columns = 7;
    for (size_t tied = 0; tied < 2; tied++) {
        fixture f = fixture_open(tied ? "maco" : "thesis-maco", n, false);
        float z[2 * 12 * 7];
        kh_spectrum *s;
        kh_assert_ok(kh_spectrum_create(n, n, &s, &err));
        float *scratch = malloc(kh_spectrum_scratch(s) * sizeof *scratch);
        kh_canvas_begin(&f.canvas, f.theta, &f.state);
        kh_canvas_channel(&f.canvas, &f.state, f.theta, 1, f.x, f.scratch);
        kh_spectrum_from_plane(s, f.x, z, scratch);
        const float *a = f.canvas.magnitude + n * columns;
        for (size_t ky = 0; ky < n; ky++)
            for (size_t kx = 0; kx < columns; kx++) {
                const size_t i = ky * columns + kx;
                const double got = hypot((double)z[2 * i], (double)z[2 * i + 1]);
                /* at the edges the plane holds ky and n - ky as one frequency */
                const bool is_inner = kx != 0 && 2 * kx != n;
                const size_t mirror = is_inner ? i : (n - ky) % n * columns + kx;
                const double want = 0.5 * ((double)a[i] + (double)a[mirror]);
                if (tied || is_inner)
                    assert_true(fabs(got - want) <= 1e-5 * (want + 1));
                else
                    assert_true(got <= want * 1.00001 + 1e-5);
            }
        free(scratch);
        kh_spectrum_free(s);
        fixture_close(&f);
    }
}

static void colours_are_the_recorded_ones(void **state) {
    (void)state;
    static const float want[9] = {.56282858f,  .19482528f, .04329451f,  .58447583f, 0,
                                  -.10823626f, .58447583f, -.19482528f, .06494176f};
    static const float want_inverse[9] = {.57744f,   .57744f,  .57744f,   2.77171f, -.30797f,
                                          -2.36109f, 3.11818f, -6.12087f, 3.11818f};
    float m[9], inverse[9];
    double wide[9];
    kh_canvas_colours(m);
    kh_canvas_colours_inverse(wide);
    kh_assert_close(m, want, 9, 0, 1e-7);
    for (size_t i = 0; i < 9; i++)
        inverse[i] = (float)wide[i];
    kh_assert_close(inverse, want_inverse, 9, 0, 6e-6);
    for (size_t i = 0; i < 9; i++) {
        double sum = 0;
        for (size_t k = 0; k < 3; k++)
            sum += (double)m[i / 3 * 3 + k] * wide[k * 3 + i % 3];
        assert_true(fabs(sum - (i % 4 == 0)) <= 1e-6);
    }
}

static void one_decorrelated_axis_is_a_warm_grey(void **state) {
    (void)state;
    fixture f = fixture_open("report-quant", 4, false);
    memset(f.x, 0, f.pixels * sizeof *f.x);
    for (size_t i = 0; i < 16; i++)
        f.x[i] = 1;
    kh_canvas_finish(&f.canvas, &f.state, f.x, f.image);
    assert_float_equal(f.image[0], 0.637107f, 1e-6);
    assert_float_equal(f.image[16], 0.642097f, 1e-6);
    assert_float_equal(f.image[32], 0.642097f, 1e-6);
    fixture_close(&f);
}

/* Lucid's squashing: the value itself inside, and no step further out at the border. */
static void lucid_squashing_stops_at_the_border(void **state) {
    (void)state;
    fixture f = fixture_open("report-quant", 2, false);
    f.canvas.settings.squash = KH_SQUASH_LUCID;
    f.canvas.settings.decorrelates = false;
    for (size_t i = 0; i < 12; i++)
        f.x[i] = i % 4 == 0 ? 0.1f : i % 4 == 1 ? 2.0f : i % 4 == 2 ? -2.0f : 0.0f;
    kh_canvas_finish(&f.canvas, &f.state, f.x, f.image);
    assert_float_equal(f.image[0], 0.58f, 1e-6); /* red: 0.1 + its mean 0.48 */
    assert_float_equal(f.image[1], 1, 1e-6);
    assert_float_equal(f.image[2], 0, 1e-6);
    assert_float_equal(f.image[4 + 3], 0.46f, 1e-6); /* green: its mean */
    float g[12], want[12];
    for (size_t i = 0; i < 12; i++) {
        g[i] = i < 6 ? 1.0f : -1.0f;
        /* descent goes against g: outwards where the value is high and g negative, or the reverse
         */
        const bool is_blocked = (i % 4 == 1 && g[i] < 0) || (i % 4 == 2 && g[i] > 0);
        want[i] = is_blocked ? 0 : g[i];
    }
    kh_canvas_back_pixels(&f.canvas, &f.state, f.x, f.image, g);
    kh_assert_close(g, want, 12, 0, 0);
    fixture_close(&f);
}

static void first_images_are_almost_grey(void **state) {
    (void)state;
    fixture f = fixture_open("report-quant", 128, false);
    double square = 0;
    const size_t draws = 70; /* of 3 channels each */
    for (size_t k = 0; k < draws; k++) {
        kh_rng rng = kh_rng_make(k, 1);
        for (size_t i = 0; i < f.parameters; i++)
            f.theta[i] = (float)(0.01 * kh_rng_normal(&rng));
        kh_canvas_begin(&f.canvas, f.theta, &f.state);
        for (size_t c = 0; c < 3; c++)
            kh_canvas_channel(&f.canvas, &f.state, f.theta, c, f.x + c * f.pixels / 3, f.scratch);
        for (size_t i = 0; i < f.pixels; i++)
            square += (double)f.x[i] * (double)f.x[i];
    }
    assert_float_equal((float)sqrt(square / (double)(draws * f.pixels)), 0.0188f, 0.0005f);
    fixture_close(&f);
}

static void a_photo_comes_back(void **state) {
    (void)state;
    kh_error err = {0};
    fixture f = fixture_open("report-quant", 10, true);
    float photo[300];
    kh_test_fill(photo, 300, 5, 0.5f);
    for (size_t i = 0; i < 300; i++)
        photo[i] += 0.5f;
    photo[7] = 0;
    photo[99] = 1;
    kh_assert_ok(kh_canvas_from_photo(&f.canvas, photo, f.theta, &err));
    paint(&f);
    kh_assert_close(f.image, photo, 300, 0, 2e-3); /* the 1e-3 inside the logit */
    photo[3] = 1.5f;
    kh_assert_fails(kh_canvas_from_photo(&f.canvas, photo, f.theta, &err), KH_E_NUMERIC, "1.5");
    fixture_close(&f);
}

static void magnitudes_of_an_image_are_its_spectrum(void **state) {
    (void)state;
    kh_error err = {0};
    uint8_t rgb[3 * 64];
    for (size_t i = 0; i < 64; i++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(i % 2 ? 200 : 100); /* one wave, at kx = 4 */
    const kh_image image = {8, 8, rgb};
    float out[3 * 8 * 5];
    kh_assert_ok(kh_dream_magnitude(&image, 1, 8, out, 120, &err));
    double logits[2];
    for (size_t k = 0; k < 2; k++) {
        const double p = (k ? 200 : 100) / 255.0;
        logits[k] = log((p + 1e-3) / (1 - p + 1e-3));
    }
    /* grey is 3 x .57744 of the first decorrelated channel */
    assert_float_equal(out[4], (float)(fabs(logits[1] - logits[0]) / 2 * 64 * 1.73232), 1e-3);
    assert_float_equal(out[0], (float)(fabs(logits[1] + logits[0]) / 2 * 64 * 1.73232), 1e-3);
    assert_true(out[1] < 1e-3f && out[5] < 1e-3f);
    kh_assert_fails(kh_dream_magnitude(&image, 1, 8, out, 100, &err), KH_E_SHAPE, "120");
    kh_assert_fails(kh_dream_magnitude(&image, 0, 8, out, 120, &err), KH_E_ARG, "one image");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(noise_in_invisible_parameters_is_not_amplified),
        cmocka_unit_test(standardised_gradients_sum_to_zero),
        cmocka_unit_test(maco_keeps_magnitudes),
        cmocka_unit_test(colours_are_the_recorded_ones),
        cmocka_unit_test(one_decorrelated_axis_is_a_warm_grey),
        cmocka_unit_test(lucid_squashing_stops_at_the_border),
        cmocka_unit_test(first_images_are_almost_grey),
        cmocka_unit_test(a_photo_comes_back),
        cmocka_unit_test(magnitudes_of_an_image_are_its_spectrum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
