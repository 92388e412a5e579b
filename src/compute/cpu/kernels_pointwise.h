/* compute/cpu/kernels_pointwise.h (template): exp, activations, LayerNorm.
 *
 * The polynomials are our own weighted least-squares fits, rounded to float; the tests compare each
 * function with the double libm. */
#include "compute/cpu/isa.h"

#include <math.h>

/* Adding and subtracting 1.5 * 2^23 rounds |x| < 2^22 to the nearest integer. */
VEC vf v_round(vf x) {
    const vf magic = v_set1(12582912.0f);
    return v_sub(v_add(x, magic), magic);
}

/* e^x for -104 <= x <= 89. x = n ln 2 + r, |r| <= ln 2 / 2 with ln 2 in two parts (Cody & Waite).
 */
VEC vf v_exp_within(vf x) {
    const vf n = v_round(v_mul(x, v_set1(1.44269504f)));
    vf r = v_fnma(n, v_set1(0.693145752f), x);
    r = v_fnma(n, v_set1(1.42860677e-6f), r);
    vf p = v_set1(0.00139357906f);
    p = v_fma(p, r, v_set1(0.00836916082f));
    p = v_fma(p, r, v_set1(0.0416664556f));
    p = v_fma(p, r, v_set1(0.166665152f));
    p = v_fma(p, r, v_set1(0.5f));
    p = v_fma(p, r, v_set1(1.0f));
    p = v_fma(p, r, v_set1(1.0f));
    return v_scale(p, n);
}

/* e^x; 0 below -104, +inf above 89, NaN stays NaN. */
VEC vf v_exp(vf x) {
    return v_exp_within(v_min(v_set1(89.0f), v_max(v_set1(-104.0f), x)));
}

/* e^x for x <= 0, and 0 below -87: a softmax adds these to 1, and numbers too small for a normal
 * float cost the processor a hundred times as much as others. NaN stays NaN. */
VEC vf v_exp_falling(vf x) {
    const vf lowest = v_set1(-87.0f);
    return v_if_negative(v_sub(x, lowest), v_zero(), v_exp_within(v_max(lowest, x)));
}

/* 2^x for x <= 0; 0 below -150 */
VEC vf v_exp2(vf x) {
    x = v_max(v_set1(-150.0f), x);
    const vf n = v_round(x), f = v_sub(x, n);
    vf p = v_set1(0.000154673748f);
    p = v_fma(p, f, v_set1(0.0013400421f));
    p = v_fma(p, f, v_set1(0.00961803552f));
    p = v_fma(p, f, v_set1(0.0555032715f));
    p = v_fma(p, f, v_set1(0.240226507f));
    p = v_fma(p, f, v_set1(0.693147182f));
    p = v_fma(p, f, v_set1(1.0f));
    return v_scale(p, n);
}

/* Phi(u), the normal distribution function. log2 of its tail, log2(1 - Phi(t)) for t >= 0, is so
 * smooth that one polynomial of degree 10 and one 2^x do, without branch or division. It was fitted
 * on [0, 6] and falls on beyond. Absolute error below 3e-8 everywhere. */
VEC vf v_normal(vf u) {
    const vf t = v_abs(u);
    vf p = v_set1(-5.96656946e-08f);
    p = v_fma(p, t, v_set1(1.4468751e-06f));
    p = v_fma(p, t, v_set1(-1.56093174e-05f));
    p = v_fma(p, t, v_set1(9.60515026e-05f));
    p = v_fma(p, t, v_set1(-0.000327383575f));
    p = v_fma(p, t, v_set1(6.75652991e-05f));
    p = v_fma(p, t, v_set1(0.00689349836f));
    p = v_fma(p, t, v_set1(-0.0524200164f));
    p = v_fma(p, t, v_set1(-0.459224194f));
    p = v_fma(p, t, v_set1(-1.15110409f));
    p = v_fma(p, t, v_set1(-1.0f));
    const vf tail = v_exp2(p);
    return v_if_negative(u, tail, v_sub(v_set1(1.0f), tail));
}

VEC vf v_sigmoid(vf x) {
    const vf one = v_set1(1.0f);
    return v_div(one, v_add(one, v_exp(v_sub(v_zero(), x))));
}

/* 2 kappa (u + 0.044715 u^3), kappa = sqrt(2 / pi): tanh-GELU is u * sigmoid of this */
VEC vf v_tanh_argument(vf u) {
    const vf inner = v_fma(v_mul(u, u), v_set1(0.0713548162726f), v_set1(1.59576912160573f));
    return v_mul(u, inner);
}

VEC vf v_act(kh_activation act, vf u) {
    switch (act) {
    case KH_ACT_NONE:
        return u;
    case KH_ACT_GELU:
        return v_mul(u, v_normal(u));
    case KH_ACT_GELU_TANH:
        return v_mul(u, v_sigmoid(v_tanh_argument(u)));
    case KH_ACT_QUICK_GELU:
        return v_mul(u, v_sigmoid(v_mul(u, v_set1(1.702f))));
    case KH_ACT_SILU:
        return v_mul(u, v_sigmoid(u));
    }
    return v_set1(NAN);
}

/* Slope of u * s(x(u)): s + u * s (1 - s) * x'. The product s (1 - s) comes from e^-|x|; taking
 * 1 - s would lose its digits where s is near one. */
VEC vf v_sigmoid_slope(vf u, vf x, vf x_slope) {
    const vf one = v_set1(1.0f), e = v_exp(v_sub(v_zero(), v_abs(x)));
    const vf t = v_div(one, v_add(one, e)), small = v_mul(e, t);
    return v_fma(v_mul(u, v_mul(small, t)), x_slope, v_if_negative(x, small, t));
}

VEC vf v_slope(kh_activation act, vf u) {
    switch (act) {
    case KH_ACT_NONE:
        return v_set1(1.0f);
    case KH_ACT_GELU: {
        const vf density = v_mul(v_exp(v_mul(v_mul(u, u), v_set1(-0.5f))), v_set1(0.398942280f));
        return v_fma(u, density, v_normal(u));
    }
    case KH_ACT_GELU_TANH:
        return v_sigmoid_slope(u, v_tanh_argument(u),
                               v_fma(v_min(v_set1(1e30f), v_mul(u, u)), v_set1(0.214064448817f),
                                     v_set1(1.59576912160573f)));
    case KH_ACT_QUICK_GELU:
        return v_sigmoid_slope(u, v_mul(u, v_set1(1.702f)), v_set1(1.702f));
    case KH_ACT_SILU:
        return v_sigmoid_slope(u, u, v_set1(1.0f));
    }
    return v_set1(NAN);
}

typedef struct moments {
    float mean, deviation; /* deviation: sqrt(var + eps) */
} moments;

/* Two passes over the row, four partial sums of VL lanes each. */
static moments moments_of_row(const kh_norm *norm, const float *x) {
    const size_t dim = norm->dim;
    vf sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    size_t i = 0;
    for (; i + 4 * VL <= dim; i += 4 * VL)
        for (size_t j = 0; j < 4; j++)
            sum[j] = v_add(sum[j], v_load(x + i + j * VL));
    for (; i < dim; i += VL)
        sum[0] = v_add(sum[0], v_load_fill(x + i, dim - i, 0.0f));
    const float mean = v_fold_add(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3]))) / (float)dim;

    const vf m = v_set1(mean);
    for (size_t j = 0; j < 4; j++)
        sum[j] = v_zero();
    for (i = 0; i + 4 * VL <= dim; i += 4 * VL)
        for (size_t j = 0; j < 4; j++) {
            const vf d = v_sub(v_load(x + i + j * VL), m);
            sum[j] = v_fma(d, d, sum[j]);
        }
    for (; i < dim; i += VL) {
        const vf d = v_sub(v_load_fill(x + i, dim - i, mean), m);
        sum[0] = v_fma(d, d, sum[0]);
    }
    const float squares = v_fold_add(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    return (moments){mean, sqrtf(squares / (float)dim + norm->eps)};
}

/* Elements i.. of norm(x) for one vector. */
VEC vf normed(const kh_norm *norm, vf x, vf mean, vf inverse, size_t i, size_t n) {
    const vf hat = v_mul(v_sub(x, mean), inverse);
    return v_fma(hat, v_load_fill(norm->w + i, n, 0.0f), v_load_fill(norm->b + i, n, 0.0f));
}

static void layernorm(const kh_norm *norm, kh_range rows, const float *x, size_t x_stride,
                      const float *residual, float *y, size_t y_stride, float *scale) {
    const size_t dim = norm->dim;
    for (size_t r = rows.begin; r < rows.end; r++) {
        const float *xr = x + r * x_stride;
        const moments m = moments_of_row(norm, xr);
        if (scale) scale[r] = m.deviation;
        if (!y) continue;
        const vf mean = v_set1(m.mean), inverse = v_set1(1.0f / m.deviation);
        for (size_t i = 0; i < dim; i += VL) {
            vf v = normed(norm, v_load_fill(xr + i, dim - i, 0.0f), mean, inverse, i, dim - i);
            if (residual) v = v_add(v_load_fill(residual + r * y_stride + i, dim - i, 0.0f), v);
            v_store_n(y + r * y_stride + i, v, dim - i);
        }
    }
}

/* g = dy * w; dx = (g - mean(g) - xhat * mean(g * xhat)) / deviation */
static void layernorm_backward(const kh_norm *norm, kh_range rows, const float *x, const float *dy,
                               const float *add, float *dx) {
    const size_t dim = norm->dim;
    for (size_t r = rows.begin; r < rows.end; r++) {
        const float *xr = x + r * dim, *dyr = dy + r * dim;
        const moments m = moments_of_row(norm, xr);
        const vf mean = v_set1(m.mean), inverse = v_set1(1.0f / m.deviation);
        vf sum_g = v_zero(), sum_gx = v_zero();
        for (size_t i = 0; i < dim; i += VL) {
            const size_t n = dim - i;
            const vf hat = v_mul(v_sub(v_load_fill(xr + i, n, m.mean), mean), inverse);
            const vf g = v_mul(v_load_fill(dyr + i, n, 0.0f), v_load_fill(norm->w + i, n, 0.0f));
            sum_g = v_add(sum_g, g);
            sum_gx = v_fma(g, hat, sum_gx);
        }
        const vf mean_g = v_set1(v_fold_add(sum_g) / (float)dim);
        const vf mean_gx = v_set1(v_fold_add(sum_gx) / (float)dim);
        for (size_t i = 0; i < dim; i += VL) {
            const size_t n = dim - i;
            const vf hat = v_mul(v_sub(v_load_fill(xr + i, n, m.mean), mean), inverse);
            const vf g = v_mul(v_load_fill(dyr + i, n, 0.0f), v_load_fill(norm->w + i, n, 0.0f));
            vf d = v_mul(v_fnma(hat, mean_gx, v_sub(g, mean_g)), inverse);
            if (add) d = v_add(v_load_fill(add + r * dim + i, n, 0.0f), d);
            v_store_n(dx + r * dim + i, d, n);
        }
    }
}

static void activate(kh_activation act, size_t count, const float *x, float *y) {
    for (size_t i = 0; i < count; i += VL)
        v_store_n(y + i, v_act(act, v_load_fill(x + i, count - i, 0.0f)), count - i);
}

static void activate_backward(kh_activation act, size_t count, const float *x, const float *dy,
                              float *dx) {
    for (size_t i = 0; i < count; i += VL) {
        const vf slope = v_slope(act, v_load_fill(x + i, count - i, 0.0f));
        v_store_n(dx + i, v_mul(v_load_fill(dy + i, count - i, 0.0f), slope), count - i);
    }
}

/* one row: post[j] = act(pre[j]) * pre[neurons + j] */
static void gate(kh_activation act, size_t neurons, const float *pre, float *post) {
    for (size_t j = 0; j < neurons; j += VL) {
        const vf opened = v_act(act, v_load_fill(pre + j, neurons - j, 0.0f));
        const vf value = v_load_fill(pre + neurons + j, neurons - j, 0.0f);
        v_store_n(post + j, v_mul(opened, value), neurons - j);
    }
}

static void gate_backward(kh_activation act, size_t neurons, const float *pre, const float *dpost,
                          float *dpre) {
    for (size_t j = 0; j < neurons; j += VL) {
        const size_t n = neurons - j;
        const vf u = v_load_fill(pre + j, n, 0.0f), d = v_load_fill(dpost + j, n, 0.0f);
        const vf value = v_load_fill(pre + neurons + j, n, 0.0f);
        v_store_n(dpre + j, v_mul(v_mul(d, value), v_slope(act, u)), n);
        v_store_n(dpre + neurons + j, v_mul(d, v_act(act, u)), n);
    }
}
