/* vit/rows.h: moving, adding and averaging rows of activations.
 *
 * Plain loops on the context's threads over memory the processor can see. A backend whose memory it
 * cannot see will bring these as operations of its own; nothing else in this room touches values.
 */
#ifndef KH_VIT_ROWS_H
#define KH_VIT_ROWS_H

#include "vit/plan.h"

/* to[r] = from[r], rows of `width` with their strides */
void kh_rows_copy(kh_ctx *ctx, size_t rows, size_t width, const float *from, size_t from_stride,
                  float *to, size_t to_stride);
/* out[i] = a[i] + b[i]; out may be a or b */
void kh_rows_add(kh_ctx *ctx, size_t count, const float *a, const float *b, float *out);
void kh_rows_zero(kh_ctx *ctx, size_t count, float *out);
/* to[image, i] = from[image, list[i]]; from has from_rows rows per image */
void kh_rows_gather(kh_ctx *ctx, size_t images, size_t from_rows, size_t width, size_t count,
                    const size_t *list, const float *from, float *to);
/* to[image, list[i]] = from[image, i], all other rows 0 */
void kh_rows_scatter(kh_ctx *ctx, size_t images, size_t to_rows, size_t width, size_t count,
                     const size_t *list, const float *from, float *to);
/* to[image] = mean of rows first..first+count-1 of an image, summed in double */
void kh_rows_mean(kh_ctx *ctx, size_t images, size_t rows, size_t first, size_t count, size_t width,
                  const float *from, float *to, size_t to_stride);
/* to[image, first + t] += from[image] / count */
void kh_rows_spread(kh_ctx *ctx, size_t images, size_t rows, size_t first, size_t count,
                    size_t width, const float *from, size_t from_stride, float *to);
/* True when every value is a number; *at is the first that is not. */
bool kh_rows_finite(kh_ctx *ctx, size_t count, const float *values, size_t *at);

/* Attention of one query q [heads * head_dim] over `count` keys: kv rows are [k | v].
 * o [images, heads * head_dim]. */
void kh_rows_pool_attention(kh_ctx *ctx, size_t images, size_t count, size_t heads, size_t head_dim,
                            float scale, const float *q, const float *kv, float *o);
void kh_rows_pool_attention_backward(kh_ctx *ctx, size_t images, size_t count, size_t heads,
                                     size_t head_dim, float scale, const float *q, const float *kv,
                                     const float *d_o, float *dkv);

/* z rows from an edited pattern [images, heads, tokens, tokens]; rows whose pattern did not change
 * keep the z they have, bit for bit. */
void kh_rows_mix_changed(kh_ctx *ctx, const kh_attention_args *shape, const float *before,
                         const float *after, float *z);
/* Gradient of z = after * v: d_after and the v part of dqkv. */
void kh_rows_mix_backward(kh_ctx *ctx, const kh_attention_backward_args *shape, const float *after,
                          float *d_after);
/* Softmax and score gradients: the q and k parts of dqkv from pattern and its gradient. */
void kh_rows_scores_backward(kh_ctx *ctx, const kh_attention_backward_args *shape,
                             const float *pattern, const float *d_pattern);

#endif
