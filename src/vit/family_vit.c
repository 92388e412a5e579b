/* The plain ViT and its near relatives: augreg, orig, SAM, DINO, MAE, EVA fine-tunes, FlexiViT,
 * rpn. */
#include "vit/registry.h"

#define PLAIN                                                                                      \
    .class_token = true, .pos_has_prefix = true, .act = KH_ACT_GELU, .eps = 1e-6,                  \
    .filter = KH_FILTER_BICUBIC

const kh_family kh_family_vit = {.name = "vit", PLAIN};

/* the "plus" sizes and the 36-block small one: LayerScale */
const kh_family kh_family_vit_scaled = {.name = "vit_scaled", PLAIN, .layer_scale = true};

const kh_family kh_family_vit_miil = {
    .name = "vit_miil",
    .class_token = true,
    .pos_has_prefix = true,
    .no_qkv_bias = true,
    .act = KH_ACT_GELU,
    .eps = 1e-6,
    .pixels = KH_PIXELS_UNIT,
    .filter = KH_FILTER_BILINEAR,
};

/* the class token runs through the blocks but the mean leaves it out */
const kh_family kh_family_eva = {
    .name = "eva", PLAIN, .pool = KH_GLOBAL_AVG, .pixels = KH_PIXELS_CLIP};

/* trained with many patch sizes; its positions are resampled linearly */
const kh_family kh_family_flexivit = {
    .name = "flexivit",
    .class_token = true,
    .act = KH_ACT_GELU,
    .eps = 1e-6,
    .filter = KH_FILTER_BICUBIC,
    .pos_filter = KH_POS_LINEAR,
};

const kh_family kh_family_test_vit = {.name = "test_vit", PLAIN};

const kh_family kh_family_test_vit2 = {
    .name = "test_vit2",
    .registers = 1,
    .pos_has_prefix = true,
    .layer_scale = true,
    .pool = KH_GLOBAL_AVG,
    .act = KH_ACT_GELU,
    .eps = 1e-6,
    .filter = KH_FILTER_BICUBIC,
};

/* Norms sit on the outputs of attention and MLP. The tensors have the names of a pre-norm model, so
 * only the architecture's name can tell. */
const kh_family kh_family_rpn = {
    .name = "rpn",
    .no_qkv_bias = true,
    .post_norm = true,
    .pool = KH_GLOBAL_AVG,
    .act = KH_ACT_GELU,
    .eps = 1e-6,
    .filter = KH_FILTER_BICUBIC,
};
