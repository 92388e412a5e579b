/* lens/pooling.h: how much of each token's residual the logits see. */
#ifndef KH_LENS_POOLING_H
#define KH_LENS_POOLING_H

#include "keyhole/vit.h"

/* How much of each token's normalised residual the logit sees through each head: the pooling's
 * weights over sigma, the final norm's frozen denominator. scale: [tokens], or one for the mean
 * pooled before the norm, or NULL without a norm. first, second [tokens]; second may be NULL for
 * models with one head. */
void kh_lens_pool_weights(const kh_model_info *info, const float *scale, double *first,
                          double *second);

#endif
