/* DeiT, its distilled form with a second token and head, and DeiT-III. */
#include "vit/registry.h"

const kh_family kh_family_deit = {
    .name = "deit",
    .class_token = true,
    .pos_has_prefix = true,
    .act = KH_ACT_GELU,
    .eps = 1e-6,
    .pixels = KH_PIXELS_IMAGENET,
    .filter = KH_FILTER_BICUBIC,
};

const kh_family kh_family_deit_distilled = {
    .name = "deit_distilled",
    .class_token = true,
    .distill_token = true,
    .pos_has_prefix = true,
    .act = KH_ACT_GELU,
    .eps = 1e-6,
    .pixels = KH_PIXELS_IMAGENET,
    .filter = KH_FILTER_BICUBIC,
};

/* positions are added before the class token is put in front */
const kh_family kh_family_deit3 = {
    .name = "deit3",
    .class_token = true,
    .layer_scale = true,
    .act = KH_ACT_GELU,
    .eps = 1e-6,
    .pixels = KH_PIXELS_IMAGENET,
    .filter = KH_FILTER_BICUBIC,
};
