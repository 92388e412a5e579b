/* atlas/features.h: every neuron's coefficients of an image, reduced over its patches. */
#ifndef KH_ATLAS_FEATURES_H
#define KH_ATLAS_FEATURES_H

#include "lens/lens.h"

/* Room for max_batch images. Pair: kh_features_clear. */
kh_status kh_features_init(kh_features *features, const kh_model_info *info, size_t max_batch,
                           kh_error *err);
void kh_features_clear(kh_features *features);
uint64_t kh_features_bytes(const kh_model_info *info, size_t max_batch);

/* From the batch's coefficients. Lenses that want to see tiles see each when it has just been
 * reduced: one walk over the memory for both. */
void kh_features_compute(kh_features *features, const kh_lens_setup *setup,
                         const kh_lens_batch *batch);

#endif
