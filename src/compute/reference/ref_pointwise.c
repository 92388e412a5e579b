#define _GNU_SOURCE
/* LayerNorm, activations, gates and patches. */
#include "compute/reference/reference.h"

#include <math.h>
#include <string.h>

static double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}

/* Hendrycks & Gimpel 2016; kappa = sqrt(2/pi) */
static const double kappa = 0.79788456080286535588;

float kh_reference_act(kh_activation act, float value) {
    const double u = (double)value;
    switch (act) {
    case KH_ACT_NONE:
        return value;
    case KH_ACT_GELU:
        return (float)(u * 0.5 * erfc(-u * 0.70710678118654752440));
    case KH_ACT_GELU_TANH:
        return (float)(u * sigmoid(2.0 * kappa * (u + 0.044715 * u * u * u)));
    case KH_ACT_QUICK_GELU:
        return (float)(u * sigmoid(1.702 * u));
    case KH_ACT_SILU:
        return (float)(u * sigmoid(u));
    }
    return NAN;
}

float kh_reference_slope(kh_activation act, float value) {
    const double u = (double)value;
    double s;
    switch (act) {
    case KH_ACT_NONE:
        return 1.0f;
    case KH_ACT_GELU:
        return (float)(0.5 * erfc(-u * 0.70710678118654752440) +
                       u * exp(-0.5 * u * u) * 0.39894228040143267794);
    case KH_ACT_GELU_TANH:
        s = sigmoid(2.0 * kappa * (u + 0.044715 * u * u * u)); /* (1 + tanh) / 2 */
        return (float)(s + u * 2.0 * s * (1.0 - s) * kappa * (1.0 + 0.134145 * u * u));
    case KH_ACT_QUICK_GELU:
        s = sigmoid(1.702 * u);
        return (float)(s + 1.702 * u * s * (1.0 - s));
    case KH_ACT_SILU:
        s = sigmoid(u);
        return (float)(s + u * s * (1.0 - s));
    }
    return NAN;
}

typedef struct moments {
    float mean, deviation; /* deviation: sqrt(var + eps) */
} moments;

/* Two passes: ViT activations have outliers that cancel badly in E[x^2] - mean^2. The sums are
 * double: a mean that is large beside the deviation must not lose the deviation's digits. */
static moments moments_of_row(const kh_norm *norm, const float *x) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < norm->dim; i++)
        sum += (double)x[i];
    const float mean = (float)(sum / (double)norm->dim);
    for (size_t i = 0; i < norm->dim; i++)
        squares += (double)(x[i] - mean) * (double)(x[i] - mean);
    return (moments){mean, (float)sqrt(squares / (double)norm->dim + (double)norm->eps)};
}

float kh_reference_norm_row(const kh_norm *norm, const float *x, float *y) {
    const moments m = moments_of_row(norm, x);
    for (size_t i = 0; i < norm->dim; i++)
        y[i] = (x[i] - m.mean) / m.deviation * norm->w[i] + norm->b[i];
    return m.deviation;
}

void kh_reference_layernorm(kh_ctx *ctx, const kh_norm *norm, size_t rows, const float *x,
                            size_t x_stride, const float *residual, float *y, size_t y_stride,
                            float *scale) {
    (void)ctx;
    for (size_t r = 0; r < rows; r++) {
        const moments m = moments_of_row(norm, x + r * x_stride);
        if (scale) scale[r] = m.deviation;
        for (size_t i = 0; y && i < norm->dim; i++) {
            float v = (x[r * x_stride + i] - m.mean) / m.deviation * norm->w[i] + norm->b[i];
            if (residual) v += residual[r * y_stride + i];
            y[r * y_stride + i] = v;
        }
    }
}

/* g = dy * w; dx = (g - mean(g) - xhat * mean(g * xhat)) / deviation */
void kh_reference_layernorm_backward(kh_ctx *ctx, const kh_norm *norm, size_t rows, const float *x,
                                     const float *dy, const float *add, float *dx) {
    (void)ctx;
    const size_t dim = norm->dim;
    for (size_t r = 0; r < rows; r++) {
        const float *xr = x + r * dim, *dyr = dy + r * dim;
        const moments m = moments_of_row(norm, xr);
        float mean_g = 0, mean_gx = 0;
        for (size_t i = 0; i < dim; i++) {
            const float g = dyr[i] * norm->w[i];
            mean_g += g;
            mean_gx += g * ((xr[i] - m.mean) / m.deviation);
        }
        mean_g /= (float)dim;
        mean_gx /= (float)dim;
        for (size_t i = 0; i < dim; i++) {
            const float g = dyr[i] * norm->w[i], xhat = (xr[i] - m.mean) / m.deviation;
            const float d = (g - mean_g - xhat * mean_gx) / m.deviation;
            dx[r * dim + i] = add ? add[r * dim + i] + d : d;
        }
    }
}

void kh_reference_activate(kh_ctx *ctx, kh_activation act, size_t count, const float *x, float *y) {
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        y[i] = kh_reference_act(act, x[i]);
}

void kh_reference_activate_backward(kh_ctx *ctx, kh_activation act, size_t count, const float *x,
                                    const float *dy, float *dx) {
    (void)ctx;
    for (size_t i = 0; i < count; i++)
        dx[i] = dy[i] * kh_reference_slope(act, x[i]);
}

void kh_reference_gate(kh_ctx *ctx, kh_activation act, size_t rows, size_t neurons,
                       const float *pre, float *post) {
    (void)ctx;
    for (size_t r = 0; r < rows; r++) {
        const float *gates = pre + r * 2 * neurons, *values = gates + neurons;
        for (size_t j = 0; j < neurons; j++)
            post[r * neurons + j] = kh_reference_act(act, gates[j]) * values[j];
    }
}

void kh_reference_gate_backward(kh_ctx *ctx, kh_activation act, size_t rows, size_t neurons,
                                const float *pre, const float *dpost, float *dpre) {
    (void)ctx;
    for (size_t r = 0; r < rows; r++) {
        const float *gates = pre + r * 2 * neurons, *values = gates + neurons;
        float *dgates = dpre + r * 2 * neurons, *dvalues = dgates + neurons;
        for (size_t j = 0; j < neurons; j++) {
            const float d = dpost[r * neurons + j];
            const float dgate = d * values[j] * kh_reference_slope(act, gates[j]);
            dvalues[j] = d * kh_reference_act(act, gates[j]);
            dgates[j] = dgate;
        }
    }
}

void kh_reference_patchify(kh_ctx *ctx, size_t images, size_t height, size_t width, size_t patch,
                           const float *pixels, float *patches) {
    (void)ctx;
    const size_t grid_h = height / patch, grid_w = width / patch;
    float *to = patches;
    for (size_t image = 0; image < images; image++)
        for (size_t gy = 0; gy < grid_h; gy++)
            for (size_t gx = 0; gx < grid_w; gx++)
                for (size_t c = 0; c < 3; c++)
                    for (size_t py = 0; py < patch; py++) {
                        const size_t row = (image * 3 + c) * height + gy * patch + py;
                        memcpy(to, pixels + row * width + gx * patch, patch * sizeof *to);
                        to += patch;
                    }
}

void kh_reference_unpatchify(kh_ctx *ctx, size_t images, size_t height, size_t width, size_t patch,
                             const float *patches, float *pixels) {
    (void)ctx;
    const size_t grid_h = height / patch, grid_w = width / patch;
    const float *from = patches;
    memset(pixels, 0, images * 3 * height * width * sizeof *pixels);
    for (size_t image = 0; image < images; image++)
        for (size_t gy = 0; gy < grid_h; gy++)
            for (size_t gx = 0; gx < grid_w; gx++)
                for (size_t c = 0; c < 3; c++)
                    for (size_t py = 0; py < patch; py++) {
                        const size_t row = (image * 3 + c) * height + gy * patch + py;
                        memcpy(pixels + row * width + gx * patch, from, patch * sizeof *from);
                        from += patch;
                    }
}
