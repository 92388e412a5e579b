#include "compute/compute_test.h"

/* ---- activations against the double libm ---- */

static double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}

static double true_act(kh_activation act, double u) {
    const double t = tanh(0.79788456080286535588 * (u + 0.044715 * u * u * u));
    switch (act) {
    case KH_ACT_NONE:
        return u;
    case KH_ACT_GELU:
        return u * 0.5 * (1.0 + erf(u / sqrt(2.0)));
    case KH_ACT_GELU_TANH:
        return 0.5 * u * (1.0 + t);
    case KH_ACT_QUICK_GELU:
        return u * sigmoid(1.702 * u);
    case KH_ACT_SILU:
        return u * sigmoid(u);
    }
    return NAN;
}

/* central difference of the double function, Richardson-extrapolated: good to 1e-10 */
static double true_slope(kh_activation act, double u) {
    const double h = 1e-3;
    const double wide = (true_act(act, u + 2 * h) - true_act(act, u - 2 * h)) / (4 * h);
    const double narrow = (true_act(act, u + h) - true_act(act, u - h)) / (2 * h);
    return (4 * narrow - wide) / 3;
}

static void activations_agree_with_libm(void **state) {
    (void)state;
    enum { COUNT = 60001 };
    float *u = kh_alloc_floats(COUNT), *y = kh_alloc_floats(COUNT), *ones = kh_alloc_floats(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        u[i] = (float)((double)i - 30000) * 0.001f; /* -30 .. 30 */
        ones[i] = 1.0f;
    }
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        const kh_backend *b = kh_ctx_backend(ctx);
        for (int a = KH_ACT_NONE; a <= KH_ACT_SILU; a++) {
            const kh_activation act = (kh_activation)a;
            b->activate(ctx, act, COUNT, u, y);
            for (size_t j = 0; j < COUNT; j++) {
                const double x = (double)u[j], diff = fabs((double)y[j] - true_act(act, x));
                if (!(diff <= 2e-7 * fmax(1.0, fabs(x))))
                    fail_msg("act %d at %g is %.9g, off by %g", a, x, (double)y[j], diff);
            }
            b->activate_backward(ctx, act, COUNT, u, ones, y);
            for (size_t j = 0; j < COUNT; j++) {
                const double x = (double)u[j], diff = fabs((double)y[j] - true_slope(act, x));
                if (!(diff <= 6e-7)) /* two terms, each a few ulp of numbers up to 1.1 */
                    fail_msg("slope %d at %g is %.9g, off by %g", a, x, (double)y[j], diff);
            }
        }
        kh_ctx_free(ctx);
    }
    kh_free(u), kh_free(y), kh_free(ones);
}

static void activations_at_the_ends(void **state) {
    (void)state;
    const float u[] = {INFINITY, NAN,   1e30f,  -1e30f, 3e38f,  -3e38f,
                       0.0f,     -0.0f, 1e-40f, 150.0f, -150.0f};
    enum { COUNT = sizeof u / sizeof u[0] };
    const float one[COUNT] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 1) : open_reference();
        if (!ctx) continue;
        for (int a = KH_ACT_GELU; a <= KH_ACT_SILU; a++) {
            float y[COUNT], d[COUNT];
            kh_ctx_backend(ctx)->activate(ctx, (kh_activation)a, COUNT, u, y);
            kh_ctx_backend(ctx)->activate_backward(ctx, (kh_activation)a, COUNT, u, one, d);
            assert_true(isinf(y[0]) && y[0] > 0);
            assert_true(isnan(y[1]) && isnan(d[1]));
            for (size_t j = 2; j <= 4; j += 2)
                assert_true(y[j] == u[j] && d[j] == 1.0f);
            for (size_t j = 3; j <= 5; j += 2)
                assert_true(y[j] == 0.0f && d[j] == 0.0f);
            assert_true(y[6] == 0.0f && y[7] == 0.0f && d[6] == 0.5f && d[7] == 0.5f);
            assert_true(y[9] == 150.0f && y[10] == 0.0f);
        }
        kh_ctx_free(ctx);
    }
}

/* ---- LayerNorm ---- */

static const size_t dims[] = {1, 5, 16, 77, 192, 768};
enum { DIMS = 6 };

static void layernorm_agrees_with_double(void **state) {
    (void)state;
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        for (size_t k = 0; k < DIMS; k++) {
            enum { ROWS = 33 };
            const size_t dim = dims[k], xs = dim + 2, ys = dim + 4;
            float *x = random_floats(ROWS * xs, 1, 1.0f), *w = random_floats(dim, 2, 1.0f);
            float *bias = random_floats(dim, 3, 1.0f), *res = random_floats(ROWS * ys, 4, 1.0f);
            for (size_t j = 0; j < ROWS * xs; j++)
                x[j] += 30.0f;   /* a mean that would cancel */
            x[3 * xs] = 2000.0f; /* an outlier */
            guarded y = guarded_make(ROWS * ys - 4), scale = guarded_make(ROWS);
            const kh_norm norm = {w, bias, 1e-6f, dim};
            kh_ctx_backend(ctx)->layernorm(ctx, &norm, ROWS, x, xs, res, y.data, ys, scale.data);
            for (size_t r = 0; r < ROWS; r++) {
                double mean = 0, var = 0;
                for (size_t j = 0; j < dim; j++)
                    mean += (double)x[r * xs + j] / (double)dim;
                for (size_t j = 0; j < dim; j++)
                    var += pow((double)x[r * xs + j] - mean, 2) / (double)dim;
                const double deviation = sqrt(var + 1e-6);
                const float deviation32 = (float)deviation;
                float want[768];
                for (size_t j = 0; j < dim; j++)
                    want[j] = (float)(((double)x[r * xs + j] - mean) / deviation * (double)w[j] +
                                      (double)bias[j] + (double)res[r * ys + j]);
                kh_assert_close(y.data + r * ys, want, dim, 1e-5, dim == 1 ? 1e-3 : 2e-5);
                kh_assert_close(&scale.data[r], &deviation32, 1, 2e-5, 1e-7);
            }
            /* the scale alone */
            guarded alone = guarded_make(ROWS);
            kh_ctx_backend(ctx)->layernorm(ctx, &norm, ROWS, x, xs, NULL, NULL, 0, alone.data);
            assert_same_bits(alone.data, scale.data, ROWS);
            guarded_end(&alone), guarded_end(&y), guarded_end(&scale);
            kh_free(x), kh_free(w), kh_free(bias), kh_free(res);
        }
        kh_ctx_free(ctx);
    }
}

static double weighted_norm(const double *x, size_t dim, const float *w, const float *dy) {
    double mean = 0, var = 0, total = 0;
    for (size_t j = 0; j < dim; j++)
        mean += x[j] / (double)dim;
    for (size_t j = 0; j < dim; j++)
        var += (x[j] - mean) * (x[j] - mean) / (double)dim;
    for (size_t j = 0; j < dim; j++)
        total += (double)dy[j] * (x[j] - mean) / sqrt(var + 1e-6) * (double)w[j];
    return total;
}

static void layernorm_backward_is_the_derivative(void **state) {
    (void)state;
    enum { ROWS = 3, DIM = 53 };
    float *x = random_floats(ROWS * DIM, 1, 2.0f), *dy = random_floats(ROWS * DIM, 2, 1.0f);
    float *w = random_floats(DIM, 3, 1.0f), *b = random_floats(DIM, 4, 1.0f);
    float *add = random_floats(ROWS * DIM, 5, 1.0f), want[ROWS * DIM];
    for (size_t r = 0; r < ROWS; r++) {
        double row[DIM];
        for (size_t j = 0; j < DIM; j++)
            row[j] = (double)x[r * DIM + j];
        for (size_t j = 0; j < DIM; j++) {
            const double at = row[j], h = 1e-5;
            row[j] = at + h;
            const double plus = weighted_norm(row, DIM, w, dy + r * DIM);
            row[j] = at - h;
            const double minus = weighted_norm(row, DIM, w, dy + r * DIM);
            row[j] = at;
            want[r * DIM + j] = (float)((plus - minus) / (2 * h) + (double)add[r * DIM + j]);
        }
    }
    const kh_norm norm = {w, b, 1e-6f, DIM};
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        guarded dx = guarded_make(ROWS * DIM);
        kh_ctx_backend(ctx)->layernorm_backward(ctx, &norm, ROWS, x, dy, add, dx.data);
        kh_assert_close(dx.data, want, ROWS * DIM, 1e-5, 1e-6);
        for (size_t r = 0; r < ROWS; r++) { /* a constant added to a row changes nothing */
            double sum = 0, size = 0;
            for (size_t j = r * DIM; j < (r + 1) * DIM; j++) {
                sum += (double)dx.data[j] - (double)add[j];
                size += fabs((double)dx.data[j]) + fabs((double)add[j]);
            }
            assert_true(size > 0 && fabs(sum) <= 1e-6 * size);
        }
        /* in place of add */
        memcpy(dx.data, add, ROWS * DIM * sizeof *add);
        kh_ctx_backend(ctx)->layernorm_backward(ctx, &norm, ROWS, x, dy, dx.data, dx.data);
        kh_assert_close(dx.data, want, ROWS * DIM, 1e-5, 1e-6);
        guarded_end(&dx);
        kh_ctx_free(ctx);
    }
    kh_free(x), kh_free(dy), kh_free(w), kh_free(b), kh_free(add);
}

static void layernorm_backward_agrees_with_the_plain_loops(void **state) {
    (void)state;
    kh_ctx *reference = open_reference();
    for (size_t i = 0; i < ISAS; i++) {
        kh_ctx *ctx = open_isa(all_isas[i], 2);
        if (!ctx) continue;
        for (size_t k = 1; k < DIMS; k++)
            for (size_t r = 0; r < ROW_COUNTS; r++) {
                const size_t rows = row_counts[r], dim = dims[k], count = rows * dim;
                float *x = random_floats(count, 1, 2.0f), *dy = random_floats(count, 2, 1.0f);
                float *w = random_floats(dim, 3, 1.0f);
                const kh_norm norm = {w, w, 1e-6f, dim};
                guarded want = guarded_make(count), got = guarded_make(count);
                kh_ctx_backend(reference)->layernorm_backward(reference, &norm, rows, x, dy, NULL,
                                                              want.data);
                kh_ctx_backend(ctx)->layernorm_backward(ctx, &norm, rows, x, dy, NULL, got.data);
                kh_assert_close(got.data, want.data, count, 1e-5, 2e-6);
                guarded_end(&want), guarded_end(&got);
                kh_free(x), kh_free(dy), kh_free(w);
            }
        kh_ctx_free(ctx);
    }
    kh_ctx_free(reference);
}

/* ---- gates ---- */

static void gates_agree_with_their_formula(void **state) {
    (void)state;
    enum { ROWS = 35, NEURONS = 41 };
    float *pre = random_floats(ROWS * 2 * NEURONS, 1, 4.0f),
          *d = random_floats(ROWS * NEURONS, 2, 1.0f);
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        guarded post = guarded_make(ROWS * NEURONS), dpre = guarded_make(ROWS * 2 * NEURONS);
        kh_ctx_backend(ctx)->gate(ctx, KH_ACT_SILU, ROWS, NEURONS, pre, post.data);
        kh_ctx_backend(ctx)->gate_backward(ctx, KH_ACT_SILU, ROWS, NEURONS, pre, d, dpre.data);
        for (size_t r = 0; r < ROWS; r++)
            for (size_t j = 0; j < NEURONS; j++) {
                const double g = (double)pre[r * 2 * NEURONS + j];
                const double v = (double)pre[r * 2 * NEURONS + NEURONS + j];
                const double dj = (double)d[r * NEURONS + j];
                const float want[3] = {(float)(true_act(KH_ACT_SILU, g) * v),
                                       (float)(dj * v * true_slope(KH_ACT_SILU, g)),
                                       (float)(dj * true_act(KH_ACT_SILU, g))};
                const float got[3] = {post.data[r * NEURONS + j], dpre.data[r * 2 * NEURONS + j],
                                      dpre.data[r * 2 * NEURONS + NEURONS + j]};
                kh_assert_close(got, want, 3, 1e-6, 1e-6);
            }
        guarded_end(&post), guarded_end(&dpre);
        kh_ctx_free(ctx);
    }
    kh_free(pre), kh_free(d);
}

/* ---- patches ---- */

static void patches_by_hand(void **state) {
    (void)state;
    enum { H = 7, W = 5, P = 2, GH = 3, GW = 2, IMAGES = 2 };
    float pixels[IMAGES * 3 * H * W];
    for (size_t i = 0; i < IMAGES * 3 * H * W; i++)
        pixels[i] = (float)i + 1;
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        guarded patches = guarded_make(IMAGES * GH * GW * 3 * P * P),
                back = guarded_make(IMAGES * 3 * H * W);
        kh_ctx_backend(ctx)->patchify(ctx, IMAGES, H, W, P, pixels, patches.data);
        for (size_t n = 0; n < IMAGES; n++)
            for (size_t t = 0; t < GH * GW; t++)
                for (size_t c = 0; c < 3; c++)
                    for (size_t p = 0; p < P * P; p++) {
                        const size_t y = t / GW * P + p / P, x = t % GW * P + p % P;
                        const float got = patches.data[((n * GH * GW + t) * 3 + c) * P * P + p];
                        assert_true(got == pixels[((n * 3 + c) * H + y) * W + x]);
                    }
        kh_ctx_backend(ctx)->unpatchify(ctx, IMAGES, H, W, P, patches.data, back.data);
        for (size_t j = 0; j < IMAGES * 3 * H * W; j++) {
            const size_t y = j / W % H, x = j % W;
            assert_true(back.data[j] == (y < GH * P && x < GW * P ? pixels[j] : 0.0f));
        }
        guarded_end(&patches), guarded_end(&back);
        kh_ctx_free(ctx);
    }
}

/* Long enough for several tasks; every thread count gives the same bits. */
static void threads_change_nothing(void **state) {
    (void)state;
    enum { COUNT = 50000, DIM = 100 };
    float *u = random_floats(COUNT, 1, 6.0f), *w = random_floats(DIM, 2, 1.0f);
    const kh_norm norm = {w, w, 1e-6f, DIM};
    for (size_t i = 0; i < ISAS; i++) {
        float *first = kh_alloc_floats(3 * COUNT), *again = kh_alloc_floats(3 * COUNT);
        for (size_t threads = 1; threads <= 3; threads++) {
            kh_ctx *ctx = open_isa(all_isas[i], threads);
            if (!ctx) break;
            const kh_backend *b = kh_ctx_backend(ctx);
            float *out = threads == 1 ? first : again;
            b->activate(ctx, KH_ACT_GELU, COUNT, u, out);
            b->layernorm(ctx, &norm, COUNT / DIM, u, DIM, NULL, out + COUNT, DIM, NULL);
            b->layernorm_backward(ctx, &norm, COUNT / DIM, u, out, NULL, out + 2 * COUNT);
            assert_same_bits(out, first, 3 * COUNT);
            kh_ctx_free(ctx);
        }
        kh_free(first), kh_free(again);
    }
    kh_free(u), kh_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_agree_with_libm),
        cmocka_unit_test(activations_at_the_ends),
        cmocka_unit_test(layernorm_agrees_with_double),
        cmocka_unit_test(layernorm_backward_is_the_derivative),
        cmocka_unit_test(layernorm_backward_agrees_with_the_plain_loops),
        cmocka_unit_test(gates_agree_with_their_formula),
        cmocka_unit_test(patches_by_hand),
        cmocka_unit_test(threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
