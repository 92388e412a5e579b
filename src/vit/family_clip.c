/* CLIP image towers. The weights of OpenAI, MetaCLIP and DFN were trained with QuickGELU; the plain
 * names apply the exact GELU to them all the same, and so do we, with a warning. */
#include "vit/registry.h"

#define CLIP                                                                                       \
    .class_token = true, .pos_has_prefix = true, .norm_pre = true, .eps = 1e-5,                    \
    .pixels = KH_PIXELS_CLIP, .filter = KH_FILTER_BICUBIC, .is_clip = true

const kh_family kh_family_clip = {.name = "clip", CLIP, .act = KH_ACT_GELU};
const kh_family kh_family_clip_quickgelu = {
    .name = "clip_quickgelu", CLIP, .act = KH_ACT_QUICK_GELU};
