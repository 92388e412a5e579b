/* Models that average their patches: "gap" (norm, mean) and "reg_gap" (registers; mean, fc_norm).
 */
#include "vit/registry.h"

#define GAP .pool = KH_GLOBAL_AVG, .act = KH_ACT_GELU, .eps = 1e-6, .filter = KH_FILTER_BICUBIC

const kh_family kh_family_gap = {
    .name = "gap", GAP, .norm_before_avg = true, .no_qkv_bias = true, .layer_scale = true};
/* base (16 heads), huge and giant */
const kh_family kh_family_gap_plain = {.name = "gap_plain", GAP, .norm_before_avg = true};

const kh_family kh_family_reg1_gap = {.name = "reg1_gap", GAP, .registers = 1, .layer_scale = true};
const kh_family kh_family_reg4_gap = {.name = "reg4_gap", GAP, .registers = 4, .layer_scale = true};
/* base has no LayerScale */
const kh_family kh_family_reg4_gap_plain = {.name = "reg4_gap_plain", GAP, .registers = 4};
