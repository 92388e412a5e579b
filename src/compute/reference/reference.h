/* compute/reference: the definition of every op in plain loops, one thread, one row after the
 * other.
 *
 * Products are summed in fp32 and in index order. LayerNorm's two sums are double, and the
 * activation functions and exp come from the double libm and are rounded once. Fast code is
 * compared with this. */
#ifndef KH_COMPUTE_REFERENCE_H
#define KH_COMPUTE_REFERENCE_H

#include "compute/ctx.h"

/* f(u) and f'(u), spec models.md 4.5 */
float kh_reference_act(kh_activation act, float u);
float kh_reference_slope(kh_activation act, float u);

/* y = norm(x), one row; y may be x. Returns sqrt(var + eps). */
float kh_reference_norm_row(const kh_norm *norm, const float *x, float *y);

kh_weight *kh_reference_pack(kh_ctx *ctx, const float *weight, const float *bias, size_t outs,
                             size_t ins, bool backward);
bool kh_reference_pack_backward(kh_ctx *ctx, kh_weight *weight);
void kh_reference_weight_free(kh_ctx *ctx, kh_weight *weight);
void kh_reference_unpack(kh_ctx *ctx, const kh_weight *weight, size_t first_out, size_t outs,
                         float *host);
void kh_reference_unpack_bias(kh_ctx *ctx, const kh_weight *weight, float *host);
size_t kh_reference_weight_bytes(const kh_weight *weight);
void kh_reference_linear(kh_ctx *ctx, const kh_linear_args *args);
void kh_reference_linear_backward(kh_ctx *ctx, const kh_linear_backward_args *args);
void kh_reference_mlp(kh_ctx *ctx, const kh_mlp_args *args);
void kh_reference_mlp_backward(kh_ctx *ctx, const kh_mlp_backward_args *args);

bool kh_reference_reserve_attention(kh_ctx *ctx, size_t tokens, size_t head_dim);
void kh_reference_attention(kh_ctx *ctx, const kh_attention_args *args);
void kh_reference_attention_backward(kh_ctx *ctx, const kh_attention_backward_args *args);

void kh_reference_layernorm(kh_ctx *ctx, const kh_norm *norm, size_t rows, const float *x,
                            size_t x_stride, const float *residual, float *y, size_t y_stride,
                            float *scale);
void kh_reference_layernorm_backward(kh_ctx *ctx, const kh_norm *norm, size_t rows, const float *x,
                                     const float *dy, const float *add, float *dx);
void kh_reference_activate(kh_ctx *ctx, kh_activation act, size_t count, const float *x, float *y);
void kh_reference_activate_backward(kh_ctx *ctx, kh_activation act, size_t count, const float *x,
                                    const float *dy, float *dx);
void kh_reference_gate(kh_ctx *ctx, kh_activation act, size_t rows, size_t neurons,
                       const float *pre, float *post);
void kh_reference_gate_backward(kh_ctx *ctx, kh_activation act, size_t rows, size_t neurons,
                                const float *pre, const float *dpost, float *dpre);

void kh_reference_patchify(kh_ctx *ctx, size_t images, size_t height, size_t width, size_t patch,
                           const float *pixels, float *patches);
void kh_reference_unpatchify(kh_ctx *ctx, size_t images, size_t height, size_t width, size_t patch,
                             const float *patches, float *pixels);

#endif
