#define _GNU_SOURCE
#include "compute/reference/reference.h"

#include <math.h>

bool kh_reference_reserve_attention(kh_ctx *ctx, size_t tokens, size_t head_dim) {
    (void)head_dim;
    return tokens <= SIZE_MAX / 2 && kh_ctx_reserve(ctx, 2 * tokens);
}

/* s[j] = scale * <q, k_j>; a = softmax(s). k points at row 0, rows are `stride` apart. */
static void attend(const float *q, const float *k, size_t stride, size_t tokens, size_t head_dim,
                   float scale, float *scores, float *a) {
    float top = -INFINITY;
    for (size_t j = 0; j < tokens; j++) {
        float s = 0;
        for (size_t d = 0; d < head_dim; d++)
            s += q[d] * scale * k[j * stride + d];
        if (scores) scores[j] = s;
        a[j] = s;
        if (s > top) top = s;
    }
    float sum = 0;
    for (size_t j = 0; j < tokens; j++) {
        a[j] = (float)exp((double)(a[j] - top));
        sum += a[j];
    }
    for (size_t j = 0; j < tokens; j++)
        a[j] /= sum;
}

static void fill_nan(float *out, size_t count) {
    for (size_t i = 0; i < count; i++)
        out[i] = NAN;
}

void kh_reference_attention(kh_ctx *ctx, const kh_attention_args *args) {
    const size_t tokens = args->tokens, hd = args->head_dim, dim = args->heads * hd;
    const size_t stride = 3 * dim;
    if (!kh_reference_reserve_attention(ctx, tokens, hd)) {
        fill_nan(args->z, args->images * tokens * dim);
        return;
    }
    float *a = kh_ctx_scratch(ctx, 0); /* [tokens] */
    const size_t first = args->first_query, end = args->queries ? first + args->queries : tokens;
    for (size_t image = 0; image < args->images; image++)
        for (size_t head = 0; head < args->heads; head++)
            for (size_t t = first; t < end; t++) {
                const float *row0 = args->qkv + image * tokens * stride + head * hd;
                const size_t at = ((image * args->heads + head) * tokens + t) * tokens;
                attend(row0 + t * stride, row0 + dim, stride, tokens, hd, args->scale,
                       args->scores ? args->scores + at : NULL, a);
                for (size_t j = 0; args->pattern && j < tokens; j++)
                    args->pattern[at + j] = a[j];
                float *z = args->z + (image * tokens + t) * dim + head * hd;
                for (size_t d = 0; d < hd; d++) {
                    float sum = 0;
                    for (size_t j = 0; j < tokens; j++)
                        sum += a[j] * row0[2 * dim + j * stride + d];
                    z[d] = sum;
                }
            }
}

/* Adds one query's share: spec models.md 4.3, dS = A * (dA - rowsum(dA * A)). */
static void backward_of_query(const kh_attention_backward_args *args, size_t image, size_t head,
                              size_t t, float *a, float *ds) {
    const size_t tokens = args->tokens, hd = args->head_dim, dim = args->heads * hd;
    const size_t stride = 3 * dim;
    const float *row0 = args->qkv + image * tokens * stride + head * hd;
    const float *q = row0 + t * stride, *k = row0 + dim, *v = row0 + 2 * dim;
    const float *dz = args->dz + (image * tokens + t) * dim + head * hd;
    float *dq = args->dqkv + image * tokens * stride + head * hd + t * stride;
    float *dk = args->dqkv + image * tokens * stride + head * hd + dim;
    float *dv = dk + dim;
    attend(q, k, stride, tokens, hd, args->scale, NULL, a);
    float together = 0;
    for (size_t j = 0; j < tokens; j++) {
        float da = 0;
        for (size_t d = 0; d < hd; d++)
            da += dz[d] * v[j * stride + d];
        ds[j] = da;
        together += da * a[j];
    }
    const size_t at = ((image * args->heads + head) * tokens + t) * tokens;
    for (size_t j = 0; j < tokens; j++) {
        if (args->pattern) args->pattern[at + j] = a[j];
        if (args->dpattern) args->dpattern[at + j] = ds[j];
    }
    for (size_t j = 0; j < tokens; j++)
        ds[j] = a[j] * (ds[j] - together) * args->scale;
    for (size_t d = 0; d < hd; d++) {
        float sum = 0;
        for (size_t j = 0; j < tokens; j++) {
            sum += ds[j] * k[j * stride + d];
            dk[j * stride + d] += ds[j] * q[d];
            dv[j * stride + d] += a[j] * dz[d];
        }
        dq[d] = sum;
    }
}

void kh_reference_attention_backward(kh_ctx *ctx, const kh_attention_backward_args *args) {
    const size_t count = args->images * args->tokens * 3 * args->heads * args->head_dim;
    if (!kh_reference_reserve_attention(ctx, args->tokens, args->head_dim)) {
        fill_nan(args->dqkv, count);
        return;
    }
    float *a = kh_ctx_scratch(ctx, 0), *ds = a + args->tokens; /* [tokens] each */
    const size_t dim = args->heads * args->head_dim;
    for (size_t row = 0; row < args->images * args->tokens; row++)
        for (size_t i = dim; i < 3 * dim; i++)
            args->dqkv[row * 3 * dim + i] = 0;
    const size_t first = args->first_query;
    const size_t end = args->queries ? first + args->queries : args->tokens;
    for (size_t image = 0; image < args->images; image++)
        for (size_t head = 0; head < args->heads; head++)
            for (size_t t = first; t < end; t++)
                backward_of_query(args, image, head, t, a, ds);
}
