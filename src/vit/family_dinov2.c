/* DINOv2 with and without registers, and TIPSv2, which has its shape. The giants are gated
 * (SwiGLU). */
#include "vit/registry.h"

#define DINOV2                                                                                     \
    .class_token = true, .layer_scale = true, .eps = 1e-6, .pixels = KH_PIXELS_IMAGENET,           \
    .filter = KH_FILTER_BICUBIC
#define GIANT .gated = true, .act = KH_ACT_SILU

const kh_family kh_family_dinov2 = {
    .name = "dinov2", DINOV2, .pos_has_prefix = true, .act = KH_ACT_GELU};
const kh_family kh_family_dinov2_giant = {
    .name = "dinov2_giant", DINOV2, .pos_has_prefix = true, GIANT};
const kh_family kh_family_dinov2_reg = {
    .name = "dinov2_reg", DINOV2, .registers = 4, .act = KH_ACT_GELU};
const kh_family kh_family_dinov2_reg_giant = {
    .name = "dinov2_reg_giant", DINOV2, .registers = 4, GIANT};

#define TIPSV2                                                                                     \
    .class_token = true, .registers = 1, .layer_scale = true, .eps = 1e-6,                         \
    .pixels = KH_PIXELS_UNIT, .filter = KH_FILTER_BICUBIC

const kh_family kh_family_tipsv2 = {.name = "tipsv2", TIPSV2, .act = KH_ACT_GELU};
const kh_family kh_family_tipsv2_giant = {.name = "tipsv2_giant", TIPSV2, GIANT};
