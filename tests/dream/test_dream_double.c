/* Painting and transforms compiled once more in double: transposes agree to 1e-12, and the whole
 * way from parameters through a toy ViT in float64 has the slope it claims to 1e-6. */
#include "dream/canvas.h"
#include "dream/chain.h"
#include "vit/passes.h"
#include "vit/reference.h"

#include "base/rng.h"

_Static_assert(sizeof(kh_real) == sizeof(double), "this test is of the double build");

static double *filled(size_t count, uint64_t seed, double scale) {
    double *out = malloc(count * sizeof *out);
    kh_rng rng = kh_rng_make(seed, 77);
    for (size_t i = 0; i < count; i++)
        out[i] = scale * (2 * kh_rng_unit(&rng) - 1);
    return out;
}

static double *zeros(size_t count) {
    return calloc(count ? count : 1, sizeof(double));
}

static double dot(const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* |left - right| against the size of the terms both are sums of */
static void check_dots(double left, double right, double size, const char *what) {
    if (!(fabs(left - right) <= 1e-12 * size)) fail_msg("%s: %.17g and %.17g", what, left, right);
}

static kh_dream_settings settings_of(const char *preset, size_t size) {
    kh_error err = {0};
    kh_dream_settings s;
    kh_assert_ok(kh_dream_preset(preset, &s, &err));
    s.size = size;
    return s;
}

/* ---- spectra -----------------------------------------------------------------------------------
 */

static void spectra_have_their_transpose(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{128, 128}, {5, 7}, {6, 7}, {7, 6}, {9, 8}, {1, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t h = sizes[i][0], w = sizes[i][1], cells = 2 * h * (w / 2 + 1);
        kh_error err = {0};
        kh_spectrum *s;
        kh_assert_ok(kh_spectrum_create(h, w, &s, &err));
        double *z = filled(cells, 1, 1), *g = filled(h * w, 2, 1);
        double *x = zeros(h * w), *back = zeros(cells), *work = zeros(kh_spectrum_scratch(s));
        kh_spectrum_to_plane(s, z, x, work);
        kh_spectrum_from_plane(s, g, back, work);
        for (size_t k = 0; k < cells; k++)
            back[k] *= kh_spectrum_weight(s, k / 2 % (w / 2 + 1));
        check_dots(dot(x, g, h * w), dot(z, back, cells), sqrt(dot(x, x, h * w) * dot(g, g, h * w)),
                   "spectrum");
        free(z);
        free(g);
        free(x);
        free(back);
        free(work);
        kh_spectrum_free(s);
    }
}

/* x[y][X] = sum c_kx Re(e^{i tau kx X / w} sum_ky e^{i tau ky y / h} z), term by term, at 6 x 7. */
static void a_plane_is_the_sum_of_its_waves(void **state) {
    (void)state;
    enum { H = 6, W = 7, COLUMNS = 4 };
    kh_error err = {0};
    kh_spectrum *s;
    kh_assert_ok(kh_spectrum_create(H, W, &s, &err));
    double *z = filled(2 * H * COLUMNS, 3, 1), x[H * W], *work = zeros(kh_spectrum_scratch(s));
    kh_spectrum_to_plane(s, z, x, work);
    for (size_t i = 0; i < H * W; i++) {
        double want = 0;
        for (size_t k = 0; k < H * COLUMNS; k++) {
            const double angle = 6.28318530717958647692 * ((double)(k % COLUMNS * (i % W)) / W +
                                                           (double)(k / COLUMNS * (i / W)) / H);
            want += (k % COLUMNS ? 2 : 1) * (z[2 * k] * cos(angle) - z[2 * k + 1] * sin(angle));
        }
        assert_true(fabs(x[i] - want) <= 1e-12 * (2 * H * COLUMNS));
    }
    free(z);
    free(work);
    kh_spectrum_free(s);
}

/* ---- transforms --------------------------------------------------------------------------------
 */

static void check_chain(const kh_dream_settings *s, size_t side, const kh_draw *draw) {
    const size_t from = s->size * s->size, to = side * side;
    double *a = filled(from, 5, 1), *g = filled(to, 6, 1), *none = zeros(from);
    double *ta = zeros(to), *t0 = zeros(to), *back = zeros(from);
    void *work = malloc(kh_chain_scratch(s, s->size, side));
    kh_chain chain;
    kh_chain_make(s, s->size, side, draw, &chain);
    kh_chain_apply(&chain, a, ta, work);
    kh_chain_apply(&chain, none, t0, work);
    kh_chain_back(&chain, g, back, work);
    for (size_t i = 0; i < to; i++)
        ta[i] -= t0[i];
    check_dots(dot(ta, g, to), dot(a, back, from), sqrt(dot(ta, ta, to) * dot(g, g, to)), "chain");
    free(a);
    free(g);
    free(none);
    free(ta);
    free(t0);
    free(back);
    free(work);
}

/* All 11 scales x 21 angles x corners of both jitters, of the reference, its fractional shift and
 * the clean chain. */
static void chains_have_their_transpose_for_every_draw(void **state) {
    (void)state;
    kh_dream_settings kinds[3] = {settings_of("report-quant", 12), settings_of("report-quant", 12),
                                  settings_of("default", 12)};
    kinds[1].jitter_is_fractional = true;
    for (size_t k = 0; k < 3; k++)
        for (size_t n = 0; n < 11 * 21 * 4; n++) {
            const bool right = n % 2 == 1, down = n / 2 % 2 == 1;
            const kh_draw draw = {.scale = n / 4 % 11,
                                  .angle = (double)(n / 44) - 10,
                                  .dx = right ? 7 : 0,
                                  .dy = down ? 7 : 0,
                                  .dx2 = down ? 3 : 0,
                                  .dy2 = right ? 3 : 0};
            check_chain(&kinds[k], 14, &draw);
        }
}

static void crops_and_rolls_have_their_transpose(void **state) {
    (void)state;
    const kh_dream_settings crops = settings_of("thesis-maco", 60);
    const kh_dream_settings rolls = settings_of("pixel-tv", 20);
    for (uint64_t seed = 0; seed < 40; seed++) {
        kh_rng shared = kh_rng_make(seed, 1), own = kh_rng_make(seed, 2);
        kh_draw draw;
        kh_draw_make(&crops, 14, &shared, &own, &draw);
        check_chain(&crops, 14, &draw);
        kh_draw_make(&rolls, 14, &shared, &own, &draw);
        check_chain(&rolls, 14, &draw);
    }
}

/* ---- painting ----------------------------------------------------------------------------------
 */

typedef struct easel {
    kh_canvas canvas;
    kh_canvas_state state;
    size_t pixels, parameters;
    double *theta, *planes, *image, *gradient, *work;
} easel;

static easel easel_open(const char *preset, size_t n) {
    kh_error err = {0};
    const kh_dream_settings s = settings_of(preset, n);
    double *magnitude = filled(3 * n * (n / 2 + 1), 9, 1);
    for (size_t i = 0; i < 3 * n * (n / 2 + 1); i++)
        magnitude[i] += 1.5;
    easel e = {.pixels = 3 * n * n};
    kh_assert_ok(kh_canvas_init(&e.canvas, &s, magnitude, false, &err));
    free(magnitude);
    e.parameters = 3 * e.canvas.count;
    e.theta = filled(e.parameters, 10, 0.7);
    e.planes = zeros(e.pixels);
    e.image = zeros(e.pixels);
    e.gradient = zeros(e.parameters);
    e.work = zeros(kh_canvas_scratch(&e.canvas));
    return e;
}

static void easel_close(easel *e) {
    free(e->theta);
    free(e->planes);
    free(e->image);
    free(e->gradient);
    free(e->work);
    kh_canvas_clear(&e->canvas);
}

static void paint(easel *e) {
    kh_canvas_begin(&e->canvas, e->theta, &e->state);
    for (size_t c = 0; c < 3; c++)
        kh_canvas_channel(&e->canvas, &e->state, e->theta, c, e->planes + c * e->pixels / 3,
                          e->work);
    kh_canvas_finish(&e->canvas, &e->state, e->planes, e->image);
}

/* g: gradient of the image, overwritten; fills e->gradient. */
static void go_back(easel *e, double *g) {
    kh_canvas_back_pixels(&e->canvas, &e->state, e->planes, e->image, g);
    for (size_t c = 0; c < 3; c++)
        kh_canvas_back_channel(&e->canvas, &e->state, e->theta, c, g + c * e->pixels / 3,
                               e->gradient + c * e->canvas.count, e->work);
    kh_canvas_back_end(&e->canvas, &e->state, e->theta, e->gradient);
}

static const char *const paintings[] = {"report-quant", "standard-fourier", "maco", "thesis-maco",
                                        "pixel-tv"};

/* Every parameter by itself: kx = 0 and kx = n/2, phases, real frequencies. */
static void every_parameter_has_its_slope(void **state) {
    (void)state;
    for (size_t k = 0; k < 2 * sizeof paintings / sizeof paintings[0]; k++) {
        easel e = easel_open(paintings[k / 2], k % 2 ? 7 : 6);
        double *g = filled(e.pixels, 11, 1), *copy = zeros(e.pixels), norm = 0;
        memcpy(copy, g, e.pixels * sizeof *g);
        paint(&e);
        go_back(&e, copy);
        norm = sqrt(dot(e.gradient, e.gradient, e.parameters));
        for (size_t i = 0; i < e.parameters; i++) {
            const double kept = e.theta[i], step = 1e-5;
            e.theta[i] = kept + step;
            paint(&e);
            const double up = dot(g, e.image, e.pixels);
            e.theta[i] = kept - step;
            paint(&e);
            const double got = (up - dot(g, e.image, e.pixels)) / (2 * step);
            e.theta[i] = kept;
            if (!(fabs(got - e.gradient[i]) <= 1e-8 * norm))
                fail_msg("%s, parameter %zu: slope %.12g, gradient %.12g", paintings[k / 2], i, got,
                         e.gradient[i]);
        }
        free(g);
        free(copy);
        easel_close(&e);
    }
}

static void check_sum(const double *values, size_t count) {
    double sum = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        sum += values[i];
        size += fabs(values[i]);
    }
    assert_true(size > 0 && fabs(sum) <= 1e-12 * size);
}

static void what_is_standardised_has_gradients_that_sum_to_zero(void **state) {
    (void)state;
    for (size_t k = 1; k < 4; k++) {
        easel e = easel_open(paintings[k], 12);
        double *g = filled(e.pixels, 11, 1), *copy = zeros(e.pixels);
        memcpy(copy, g, e.pixels * sizeof *g);
        paint(&e);
        kh_canvas_back_pixels(&e.canvas, &e.state, e.planes, e.image, copy);
        check_sum(copy, e.pixels); /* of the planes */
        go_back(&e, g);
        /* phases; coefficients are left out, whose invisible parts are forced to 0 afterwards */
        if (e.canvas.settings.paint == KH_PAINT_MACO) check_sum(e.gradient, e.parameters);
        free(g);
        free(copy);
        easel_close(&e);
    }
}

/* ---- through a ViT -----------------------------------------------------------------------------
 */

typedef struct way {
    easel easel;
    kh_chain chain;
    kh_model *model;
    ref_model *vit;
    size_t side, classes;
    double *view, *logits;
    void *work;
} way;

static double loss(way *w) {
    const size_t count = w->side * w->side, n = w->easel.canvas.size;
    paint(&w->easel);
    for (size_t c = 0; c < 3; c++)
        kh_chain_apply(&w->chain, w->easel.image + c * n * n, w->view + c * count, w->work);
    for (size_t i = 0; i < 3 * count; i++)
        w->view[i] = (w->view[i] - 0.5) / 0.5;
    ref_forward(w->vit, w->view, NULL, NULL, w->logits);
    return -w->logits[2];
}

static void gradient(way *w) {
    const size_t count = w->side * w->side, n = w->easel.canvas.size;
    double *seed = zeros(w->classes), *g = zeros(3 * count), *back = zeros(w->easel.pixels);
    seed[2] = -1;
    (void)loss(w);
    ref_gradient(w->vit, w->view, seed, g);
    for (size_t i = 0; i < 3 * count; i++)
        g[i] /= 0.5;
    for (size_t c = 0; c < 3; c++)
        kh_chain_back(&w->chain, g + c * count, back + c * n * n, w->work);
    go_back(&w->easel, back);
    free(seed);
    free(g);
    free(back);
}

static way way_open(kh_ctx *ctx, const char *preset) {
    kh_model *model = pass_open(ctx, "vit_base"); /* two blocks */
    const kh_model_info *info = kh_model_get_info(model);
    way w = {.model = model, .side = info->image_height, .classes = info->classes};
    const kh_draw draw = {.dx = 3,
                          .dy = 5,
                          .scale = 2,
                          .angle = 7,
                          .dx2 = 1,
                          .dy2 = 3,
                          .crop_x = 0.3,
                          .crop_y = 0.1,
                          .crop_side = 0.5};
    w.easel = easel_open(preset, 20);
    w.vit = ref_from_model(model);
    w.view = zeros(3 * w.side * w.side);
    w.logits = zeros(w.classes);
    w.work = malloc(kh_chain_scratch(&w.easel.canvas.settings, 20, w.side));
    kh_chain_make(&w.easel.canvas.settings, 20, w.side, &draw, &w.chain);
    assert_int_equal(info->blocks, 2);
    return w;
}

static void way_close(way *w) {
    ref_close(w->vit);
    kh_model_close(w->model);
    free(w->view);
    free(w->logits);
    free(w->work);
    easel_close(&w->easel);
}

/* (L(theta + e d) - L(theta - e d)) / 2e = <gradient, d> to 1e-6, fixed draws, random d. */
static void the_whole_way_has_its_slope(void **state) {
    (void)state;
    static const char *const presets[] = {"report-quant", "default", "thesis-maco", "pixel-tv"};
    kh_error err = {0};
    kh_ctx *ctx;
    kh_assert_ok(kh_ctx_create(NULL, &ctx, &err));
    for (size_t k = 0; k < sizeof presets / sizeof presets[0]; k++) {
        way w = way_open(ctx, presets[k]);
        easel *e = &w.easel;
        double *start = zeros(e->parameters);
        memcpy(start, e->theta, e->parameters * sizeof *start);
        gradient(&w);
        for (uint64_t seed = 0; seed < 3; seed++) {
            double *d = filled(e->parameters, 30 + seed, 1), at[2];
            const double step = 1e-5, want = dot(e->gradient, d, e->parameters);
            for (size_t side = 0; side < 2; side++) {
                for (size_t i = 0; i < e->parameters; i++)
                    e->theta[i] = start[i] + (side ? -step : step) * d[i];
                at[side] = loss(&w);
            }
            const double got = (at[0] - at[1]) / (2 * step);
            if (!(fabs(got - want) <= 1e-6 * fabs(want)))
                fail_msg("%s: slope %.12g, expected %.12g", presets[k], got, want);
            free(d);
        }
        free(start);
        way_close(&w);
    }
    kh_ctx_free(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spectra_have_their_transpose),
        cmocka_unit_test(a_plane_is_the_sum_of_its_waves),
        cmocka_unit_test(chains_have_their_transpose_for_every_draw),
        cmocka_unit_test(crops_and_rolls_have_their_transpose),
        cmocka_unit_test(every_parameter_has_its_slope),
        cmocka_unit_test(what_is_standardised_has_gradients_that_sum_to_zero),
        cmocka_unit_test(the_whole_way_has_its_slope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
