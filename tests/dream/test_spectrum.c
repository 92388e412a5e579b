/* Half spectra against sums written out in double, and the closed forms of single coefficients. */
#include "support/kh_test.h"

#include "dream/canvas.h"

static const size_t sizes[][2] = {{128, 128}, {5, 7}, {6, 7}, {7, 6}, {9, 8}, {1, 4}, {4, 1}};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

static const double tau = 6.28318530717958647692;

/* x[y][X] = sum c Re(e^{i tau kx X / w} sum_ky e^{i tau ky y / h} z), term by term */
static double direct(size_t h, size_t w, const float *z, size_t y, size_t x) {
    const size_t columns = w / 2 + 1;
    double sum = 0;
    for (size_t kx = 0; kx < columns; kx++)
        for (size_t ky = 0; ky < h; ky++) {
            const double c = kx == 0 || 2 * kx == w ? 1 : 2;
            const double angle =
                tau * ((double)(kx * x) / (double)w + (double)(ky * y) / (double)h);
            const float *at = z + 2 * (ky * columns + kx);
            sum += c * ((double)at[0] * cos(angle) - (double)at[1] * sin(angle));
        }
    return sum;
}

static void a_plane_is_the_sum_of_its_waves(void **state) {
    (void)state;
    kh_error err = {0};
    for (size_t i = 1; i < SIZES; i++) {
        const size_t h = sizes[i][0], w = sizes[i][1];
        kh_spectrum *s;
        kh_assert_ok(kh_spectrum_create(h, w, &s, &err));
        float z[256], x[128], scratch[512];
        assert_true(kh_spectrum_scratch(s) <= 512);
        kh_test_fill(z, 2 * h * kh_spectrum_columns(s), 3 + i, 1.0f);
        kh_spectrum_to_plane(s, z, x, scratch);
        for (size_t k = 0; k < h * w; k++) {
            const double want = direct(h, w, z, k / w, k % w);
            if (!(fabs((double)x[k] - want) <= 1e-5))
                fail_msg("%zux%zu, pixel %zu: %g, expected %g", h, w, k, (double)x[k], want);
        }
        kh_spectrum_free(s);
    }
}

static void going_back_is_the_transpose(void **state) {
    (void)state;
    kh_error err = {0};
    for (size_t i = 0; i < SIZES; i++) {
        const size_t h = sizes[i][0], w = sizes[i][1];
        kh_spectrum *s;
        kh_assert_ok(kh_spectrum_create(h, w, &s, &err));
        const size_t columns = kh_spectrum_columns(s), cells = 2 * h * columns;
        float *z = malloc(cells * sizeof *z), *back = malloc(cells * sizeof *back);
        float *x = malloc(h * w * sizeof *x), *g = malloc(h * w * sizeof *g);
        float *scratch = malloc(kh_spectrum_scratch(s) * sizeof *scratch);
        kh_test_fill(z, cells, 11, 1.0f);
        kh_test_fill(g, h * w, 12, 1.0f);
        kh_spectrum_to_plane(s, z, x, scratch);
        kh_spectrum_from_plane(s, g, back, scratch);
        double left = 0, right = 0, size = 0;
        for (size_t k = 0; k < h * w; k++) {
            left += (double)x[k] * (double)g[k];
            size += (double)x[k] * (double)x[k];
        }
        for (size_t k = 0; k < cells; k++)
            right +=
                (double)z[k] * (double)back[k] * (double)kh_spectrum_weight(s, k / 2 % columns);
        if (!(fabs(left - right) <= 1e-5 * sqrt(size)))
            fail_msg("%zux%zu: %.9g against %.9g", h, w, left, right);
        free(z);
        free(back);
        free(x);
        free(g);
        free(scratch);
        kh_spectrum_free(s);
    }
}

/* ---- what single coefficients of a Fourier image do
 * ----------------------------------------------
 */

typedef struct fixture {
    kh_canvas canvas;
    float *theta, *x, *scratch;
} fixture;

static fixture fixture_open(size_t n) {
    kh_error err = {0};
    kh_dream_settings s;
    kh_assert_ok(kh_dream_preset("report-quant", &s, &err));
    s.size = n;
    fixture f;
    kh_assert_ok(kh_canvas_init(&f.canvas, &s, NULL, false, &err));
    f.theta = calloc(3 * f.canvas.count, sizeof *f.theta);
    f.x = calloc(n * n, sizeof *f.x);
    f.scratch = malloc(kh_canvas_scratch(&f.canvas) * sizeof *f.scratch);
    return f;
}

static void fixture_close(fixture *f) {
    free(f->theta);
    free(f->x);
    free(f->scratch);
    kh_canvas_clear(&f->canvas);
}

/* The plane of one coefficient of 1, everything else 0. */
static const float *plane_of(fixture *f, size_t ky, size_t kx, size_t part) {
    kh_canvas_state state;
    const size_t columns = f->canvas.size / 2 + 1;
    memset(f->theta, 0, 3 * f->canvas.count * sizeof *f->theta);
    f->theta[2 * (ky * columns + kx) + part] = 1;
    kh_canvas_begin(&f->canvas, f->theta, &state);
    kh_canvas_channel(&f->canvas, &state, f->theta, 0, f->x, f->scratch);
    return f->x;
}

static float largest(const float *x, size_t count) {
    float m = 0;
    for (size_t i = 0; i < count; i++)
        m = fmaxf(m, fabsf(x[i]));
    return m;
}

static void single_coefficients_are_waves_of_known_height(void **state) {
    (void)state;
    fixture f = fixture_open(128);
    const size_t count = 128 * 128;
    const float *x = plane_of(&f, 0, 0, 0);
    for (size_t i = 0; i < count; i++)
        assert_float_equal(x[i], 0.25f, 1e-6f);
    x = plane_of(&f, 3, 4, 0); /* radius 5 */
    for (size_t i = 0; i < count; i++) {
        const double angle = tau * (double)(3 * (i / 128) + 4 * (i % 128)) / 128;
        assert_float_equal(x[i], (float)(0.1 * cos(angle)), 1e-6f);
    }
    assert_float_equal(largest(plane_of(&f, 7, 0, 0), count), 0.25f / 7, 1e-6f);
    x = plane_of(&f, 64, 64, 0);
    for (size_t i = 0; i < count; i++)
        assert_float_equal(x[i], ((i / 128 + i % 128) % 2 ? -0.00276214f : 0.00276214f), 1e-7f);
    assert_float_equal(largest(plane_of(&f, 0, 64, 0), count), 0.00390625f, 1e-7f);
    assert_true(largest(plane_of(&f, 0, 0, 1), count) == 0);
    assert_true(largest(plane_of(&f, 64, 64, 1), count) == 0);
    fixture_close(&f);
}

static void the_scale_is_n_over_the_radius(void **state) {
    (void)state;
    float s[128 * 65];
    kh_spectrum_scale(128, 128, 1, s);
    assert_float_equal(s[0], 128, 1e-4);
    assert_float_equal(s[1], 128, 1e-4);
    assert_float_equal(s[65], 128, 1e-4);
    assert_float_equal(s[3 * 65 + 4], 128.0f / 5, 1e-4);
    assert_float_equal(s[125 * 65 + 4], 128.0f / 5, 1e-4); /* ky = -3 */
    assert_float_equal(s[64 * 65 + 64], 1.41421356f, 1e-6);
}

static void impossible_sides_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_spectrum *s;
    kh_assert_fails(kh_spectrum_create(0, 4, &s, &err), KH_E_ARG, "4x0");
    kh_assert_fails(kh_spectrum_create(4, 100000, &s, &err), KH_E_ARG, "100000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plane_is_the_sum_of_its_waves),
        cmocka_unit_test(going_back_is_the_transpose),
        cmocka_unit_test(single_coefficients_are_waves_of_known_height),
        cmocka_unit_test(the_scale_is_n_over_the_radius),
        cmocka_unit_test(impossible_sides_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
