/* vit/pos_embed.h: position embeddings for another grid of patches. */
#ifndef KH_VIT_POS_EMBED_H
#define KH_VIT_POS_EMBED_H

#include "vit/config.h"

typedef struct kh_grid {
    size_t height, width;
} kh_grid;

/* from [prefix + from_grid, dim] -> to [prefix + to_grid, dim]. Prefix rows are copied; every
 * channel is an image of from_grid, resampled separably with half-pixel centres (align_corners
 * off):
 *
 *     CUBIC_ANTIALIAS  a = -0.5, window widened by the scale when shrinking, renormalised at edges
 *     CUBIC            a = -0.75, four taps, indices clamped
 *     LINEAR           two taps, indices clamped
 *
 * Weights in double, products and sums in float over x first, then y. Errors: KH_E_MEMORY.
 * Source: docs/models.md; equal to PyTorch's interpolate within rounding. */
kh_status kh_pos_resample(const float *from, kh_grid from_grid, size_t prefix, size_t dim,
                          kh_pos_filter filter, kh_grid to_grid, float *to, kh_error *err);

#endif
