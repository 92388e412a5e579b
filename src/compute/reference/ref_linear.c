#define _GNU_SOURCE
#include "compute/reference/reference.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <assert.h>
#include <string.h>

struct kh_weight {
    size_t outs, ins;
    float *w;    /* [outs, ins] */
    float *bias; /* [outs], zeros if there was none */
};

kh_weight *kh_reference_pack(kh_ctx *ctx, const float *weight, const float *bias, size_t outs,
                             size_t ins, bool backward) {
    (void)backward;
    size_t count, row;
    if (!kh_mul(outs, ins, &count) || !kh_add(outs, ins, &row) || !kh_mul(row, 2, &row))
        return NULL;
    kh_weight *packed = kh_calloc(1, sizeof *packed);
    if (!packed) return NULL;
    packed->outs = outs;
    packed->ins = ins;
    packed->w = kh_alloc_floats(count);
    packed->bias = kh_calloc(outs, sizeof *packed->bias);
    if (!packed->w || !packed->bias || !kh_ctx_reserve(ctx, row)) {
        kh_reference_weight_free(ctx, packed);
        return NULL;
    }
    if (count) memcpy(packed->w, weight, count * sizeof *weight);
    if (bias && outs) memcpy(packed->bias, bias, outs * sizeof *bias);
    return packed;
}

bool kh_reference_pack_backward(kh_ctx *ctx, kh_weight *weight) {
    (void)ctx;
    (void)weight;
    return true;
}

void kh_reference_weight_free(kh_ctx *ctx, kh_weight *weight) {
    (void)ctx;
    if (!weight) return;
    kh_free(weight->w);
    kh_free(weight->bias);
    kh_free(weight);
}

void kh_reference_unpack(kh_ctx *ctx, const kh_weight *weight, size_t first_out, size_t outs,
                         float *host) {
    (void)ctx;
    assert(first_out + outs <= weight->outs);
    memcpy(host, weight->w + first_out * weight->ins, outs * weight->ins * sizeof *host);
}

void kh_reference_unpack_bias(kh_ctx *ctx, const kh_weight *weight, float *host) {
    (void)ctx;
    memcpy(host, weight->bias, weight->outs * sizeof *host);
}

size_t kh_reference_weight_bytes(const kh_weight *weight) {
    return (weight->outs * weight->ins + weight->outs) * sizeof(float);
}

static float dot(const float *a, const float *b, size_t count) {
    float sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

void kh_reference_linear(kh_ctx *ctx, const kh_linear_args *args) {
    const kh_weight *w = args->w;
    const size_t outs = args->outs ? args->outs : w->outs - args->first_out;
    assert(args->first_out + outs <= w->outs);
    float *normed = kh_ctx_scratch(ctx, 0); /* [ins] */
    for (size_t r = 0; r < args->rows; r++) {
        const float *x = args->x + r * args->x_stride;
        if (args->norm) {
            kh_reference_norm_row(args->norm, x, normed);
            x = normed;
        }
        if (args->norm_out) memcpy(args->norm_out + r * w->ins, x, w->ins * sizeof *x);
        float *branch = kh_branch_row(&args->branch, r, outs);
        for (size_t o = 0; o < outs; o++) {
            const size_t out = args->first_out + o;
            float u = dot(x, w->w + out * w->ins, w->ins) + w->bias[out];
            if (args->pre) args->pre[r * outs + o] = u;
            u = kh_reference_act(args->act, u);
            if (args->gamma) u *= args->gamma[o];
            if (branch) branch[o] = u;
            if (args->residual) u += args->residual[r * args->y_stride + o];
            args->y[r * args->y_stride + o] = u;
        }
    }
}

void kh_reference_linear_backward(kh_ctx *ctx, const kh_linear_backward_args *args) {
    (void)ctx;
    const kh_weight *w = args->w;
    const size_t outs = args->outs ? args->outs : w->outs - args->first_out;
    assert(args->first_out + outs <= w->outs);
    for (size_t r = 0; r < args->rows; r++) {
        const float *dy = args->dy + r * args->dy_stride;
        for (size_t i = 0; i < w->ins; i++) {
            const float *column = w->w + args->first_out * w->ins + i;
            float sum = 0;
            for (size_t o = 0; o < outs; o++) {
                const float d = args->gamma ? dy[o] * args->gamma[o] : dy[o];
                sum += d * column[o * w->ins];
            }
            if (args->add) sum += args->add[r * w->ins + i];
            if (args->act) sum *= kh_reference_slope(args->act, args->pre[r * w->ins + i]);
            args->dx[r * w->ins + i] = sum;
        }
    }
}

void kh_reference_mlp(kh_ctx *ctx, const kh_mlp_args *args) {
    const kh_weight *fc1 = args->fc1, *fc2 = args->fc2;
    const size_t dim = fc1->ins, neurons = fc2->ins;
    assert(fc1->outs == (args->gated ? 2 * neurons : neurons) && fc2->outs == dim);
    float *normed = kh_ctx_scratch(ctx, 0); /* [dim], for kh_reference_linear too */
    float *u = normed + dim;                /* [fc1 outs]; then the hidden units, [neurons] */
    for (size_t r = 0; r < args->rows; r++) {
        const float *x = args->x + r * dim;
        if (args->norm) {
            kh_reference_norm_row(args->norm, x, normed);
            x = normed;
        }
        if (args->norm_out) memcpy(args->norm_out + r * dim, x, dim * sizeof *x);
        for (size_t n = 0; n < fc1->outs; n++)
            u[n] = dot(x, fc1->w + n * dim, dim) + fc1->bias[n];
        if (args->pre) memcpy(args->pre + r * fc1->outs, u, fc1->outs * sizeof *u);
        for (size_t n = 0; n < neurons; n++) {
            const float value = kh_reference_act(args->act, u[n]);
            u[n] = args->gated ? value * u[neurons + n] : value;
        }
        if (args->post) memcpy(args->post + r * neurons, u, neurons * sizeof *u);
        float *branch = kh_branch_row(&args->branch, r, dim);
        for (size_t o = 0; o < dim; o++) {
            float y = dot(u, fc2->w + o * neurons, neurons) + fc2->bias[o];
            if (args->gamma) y *= args->gamma[o];
            if (branch) branch[o] = y;
            if (args->residual) y += args->residual[r * dim + o];
            args->y[r * dim + o] = y;
        }
    }
}

void kh_reference_mlp_backward(kh_ctx *ctx, const kh_mlp_backward_args *args) {
    const kh_weight *fc1 = args->fc1, *fc2 = args->fc2;
    const size_t dim = fc1->ins, neurons = fc1->outs;
    assert(fc2->ins == neurons && fc2->outs == dim);
    float *hidden = kh_ctx_scratch(ctx, 0); /* [neurons] */
    for (size_t r = 0; r < args->rows; r++) {
        kh_reference_linear_backward(ctx, &(kh_linear_backward_args){.rows = 1,
                                                                     .dy = args->dy + r * dim,
                                                                     .dy_stride = dim,
                                                                     .gamma = args->gamma,
                                                                     .w = fc2,
                                                                     .act = args->act,
                                                                     .pre = args->pre + r * neurons,
                                                                     .dx = hidden});
        kh_reference_linear_backward(
            ctx, &(kh_linear_backward_args){.rows = 1,
                                            .dy = hidden,
                                            .dy_stride = neurons,
                                            .w = fc1,
                                            .add = args->add ? args->add + r * dim : NULL,
                                            .dx = args->dx + r * dim});
    }
}
