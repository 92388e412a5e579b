/* SigLIP image towers: no class token, attention pooling or a plain mean. timm gives most names the
 * exact GELU and some the tanh form; transformers always uses tanh. */
#include "vit/registry.h"

#define SIGLIP .eps = 1e-6, .filter = KH_FILTER_BICUBIC
#define MEAN   .pool = KH_GLOBAL_AVG, .norm_before_avg = true

const kh_family kh_family_siglip = {
    .name = "siglip", SIGLIP, .pool = KH_GLOBAL_MAP, .act = KH_ACT_GELU};
const kh_family kh_family_siglip_tanh = {
    .name = "siglip_tanh", SIGLIP, .pool = KH_GLOBAL_MAP, .act = KH_ACT_GELU_TANH};
const kh_family kh_family_siglip_gap = {.name = "siglip_gap", SIGLIP, MEAN, .act = KH_ACT_GELU};
const kh_family kh_family_siglip_gap_tanh = {
    .name = "siglip_gap_tanh", SIGLIP, MEAN, .act = KH_ACT_GELU_TANH};
