/* lens/truth.h: AUROC with scratch of the caller. */
#ifndef KH_LENS_TRUTH_H
#define KH_LENS_TRUTH_H

#include "keyhole/truth.h"

/* As kh_lens_auroc, the values free of NaN; keys: room for 2 * count. */
double kh_auroc_with(const float *values, const uint8_t *is_positive, size_t count, uint64_t *keys);

#endif
