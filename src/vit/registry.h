/* vit/registry.h: what cannot be read off a timm checkpoint's tensors: heads, norm epsilon,
 * activation, pooling, kind of block. Keyed by architecture name; a family says what many names
 * share.
 *
 * A new architecture is one line in registry.c; a new family is one table in family_<name>.c. */
#ifndef KH_VIT_REGISTRY_H
#define KH_VIT_REGISTRY_H

#include "vit/config.h"

typedef enum kh_global_pool { KH_GLOBAL_TOKEN, KH_GLOBAL_AVG, KH_GLOBAL_MAP } kh_global_pool;

typedef enum kh_pixels {
    KH_PIXELS_INCEPTION, /* mean = std = 0.5 */
    KH_PIXELS_IMAGENET,
    KH_PIXELS_CLIP,
    KH_PIXELS_UNIT /* mean 0, std 1 */
} kh_pixels;

/* Unset fields are the plain ViT: pre-norm blocks, qkv bias, one row of positions per patch. */
typedef struct kh_family {
    const char *name; /* row of docs/models.md */
    bool class_token, distill_token;
    size_t registers;
    bool pos_has_prefix;
    bool no_qkv_bias, layer_scale, norm_pre, gated, post_norm;
    kh_global_pool pool;
    bool norm_before_avg; /* timm's fc_norm=False: norm, then mean */
    kh_activation act;
    double eps;
    kh_pixels pixels;
    kh_filter filter;
    kh_pos_filter pos_filter;
    bool is_clip;
} kh_family;

typedef struct kh_vit_size {
    size_t dim, blocks, heads;
    double mlp_ratio; /* fc1 rows = (int)(dim * mlp_ratio); gated: both halves */
} kh_vit_size;

typedef struct kh_architecture {
    const char *name;
    const kh_family *family;
    kh_vit_size size;
    size_t patch, side, classes;
    double crop_pct;
} kh_architecture;

/* NULL when not registered. */
const kh_architecture *kh_registry_find(const char *name);
size_t kh_registry_count(void);
const kh_architecture *kh_registry_get(size_t index); /* sorted by name */

void kh_pixels_set(kh_pixels pixels, double mean[3], double std[3]);

extern const kh_family kh_family_vit, kh_family_vit_scaled, kh_family_vit_miil, kh_family_eva,
    kh_family_flexivit, kh_family_test_vit, kh_family_test_vit2, kh_family_rpn;
extern const kh_family kh_family_deit, kh_family_deit_distilled, kh_family_deit3;
extern const kh_family kh_family_dinov2, kh_family_dinov2_giant, kh_family_dinov2_reg,
    kh_family_dinov2_reg_giant, kh_family_tipsv2, kh_family_tipsv2_giant;
extern const kh_family kh_family_clip, kh_family_clip_quickgelu;
extern const kh_family kh_family_siglip, kh_family_siglip_tanh, kh_family_siglip_gap,
    kh_family_siglip_gap_tanh;
extern const kh_family kh_family_gap, kh_family_gap_plain, kh_family_reg1_gap, kh_family_reg4_gap,
    kh_family_reg4_gap_plain;

#endif
