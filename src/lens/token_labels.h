/* lens/token_labels.h: which patches show an image's class. */
#ifndef KH_LENS_TOKEN_LABELS_H
#define KH_LENS_TOKEN_LABELS_H

#include "keyhole/vit.h"

/* truth [height, width] of the model's input, 1 on the subject -> out [patches], 1 on it. A patch
 * is what its first pixel is, as cv2's nearest resizing of the mask to the grid gives (pixel
 * floor(r height / rows)); by_majority: what more than half of its pixels are. */
void kh_token_labels(const uint8_t *truth, const kh_model_info *info, bool by_majority,
                     uint8_t *out);

#endif
