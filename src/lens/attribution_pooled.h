/* lens/attribution_pooled.h: what the logits read when it is not the class token alone: a mean of
 * the patches, or two vectors through two heads. With the final norm's denominators frozen a logit
 * is linear in every token,
 *
 *     z_c = sum over heads h and tokens t of w_h(t) E_hc.g (x_t - mean x_t) + constant,
 *
 * w the pooling's weight over the token's sigma; so sums over tokens come first, logits later. A
 * norm behind the MLP divides what its neurons write into a token once more. */
#ifndef KH_LENS_ATTRIBUTION_POOLED_H
#define KH_LENS_ATTRIBUTION_POOLED_H

#include "lens/lens.h"

enum { KH_POOLED_HEADS = 2 };

typedef struct kh_pooled {
    const kh_model_info *info;
    size_t heads;
    size_t room;    /* images there is room for */
    double *weight; /* [room, heads, tokens] of the batch at hand */
    double *sum;    /* [blocks, the larger of neurons and dim] */
} kh_pooled;

/* Is the class token's row not enough? */
static inline bool kh_is_pooled(const kh_model_info *info) {
    return info->pool != KH_POOL_TOKEN || info->is_post_norm;
}
size_t kh_pooled_heads(const kh_model_info *info);
/* 1u << kh_lens_site ... */
unsigned kh_pooled_sites(const kh_model_info *info);

kh_status kh_pooled_init(kh_pooled *p, const kh_model_info *info, kh_error *err);
void kh_pooled_clear(kh_pooled *p);

/* The weights of a batch's images. Errors: KH_E_MEMORY. */
kh_status kh_pooled_begin(kh_pooled *p, const kh_lens_batch *batch, kh_error *err);
/* Sum over tokens of w_h(t) rows[t] for an image; rows [tokens, width] of it, divided by scale
 * [tokens] unless that is NULL. Valid until the next call for that block; different blocks at once
 * are fine. */
const double *kh_pooled_sum(kh_pooled *p, size_t image, size_t head, size_t block,
                            const float *rows, size_t width, const float *scale);
/* The weight that all patches of an image share, times how many there are; NaN when tokens differ.
 * The sum over tokens is that of the patches' mean then. */
double kh_pooled_mean_weight(const kh_pooled *p, size_t image);

#endif
