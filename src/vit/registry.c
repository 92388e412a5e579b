#include "vit/registry.h"

#include <string.h>

/* dim, blocks, heads, fc1 rows / dim */
#define SIZE_TINY                                                                                  \
    { 192, 12, 3, 4.0 }
#define SIZE_SMALL                                                                                 \
    { 384, 12, 6, 4.0 }
#define SIZE_SMALL_36                                                                              \
    { 384, 36, 6, 4.0 }
#define SIZE_MEDIUM                                                                                \
    { 512, 12, 8, 4.0 }
#define SIZE_MEDIUMD                                                                               \
    { 512, 20, 8, 4.0 }
#define SIZE_BETWIXT                                                                               \
    { 640, 12, 10, 4.0 }
#define SIZE_BASE                                                                                  \
    { 768, 12, 12, 4.0 }
#define SIZE_BASE_16_HEADS                                                                         \
    { 768, 12, 16, 4.0 }
#define SIZE_BASE_PLUS                                                                             \
    { 896, 12, 14, 4.0 }
#define SIZE_LARGE                                                                                 \
    { 1024, 24, 16, 4.0 }
#define SIZE_SO400M                                                                                \
    { 1152, 27, 16, 3.7362 }
#define SIZE_HUGE                                                                                  \
    { 1280, 32, 16, 4.0 }
#define SIZE_GIANT                                                                                 \
    { 1408, 40, 16, 48.0 / 11.0 }
#define SIZE_GIANTOPT                                                                              \
    { 1536, 40, 16, 4.0 }
#define SIZE_DINO_GIANT                                                                            \
    { 1536, 40, 24, 2.66667 * 2.0 }
#define SIZE_GIGANTIC                                                                              \
    { 1664, 48, 16, 64.0 / 13.0 }
#define SIZE_XSMALL                                                                                \
    { 256, 10, 4, 4.0 }
#define SIZE_WEE                                                                                   \
    { 256, 14, 4, 5.0 }
#define SIZE_LITTLE                                                                                \
    { 320, 14, 5, 5.6 }
#define SIZE_TEST                                                                                  \
    { 64, 6, 2, 3.0 }
#define SIZE_TEST2                                                                                 \
    { 64, 8, 2, 3.0 }

/* Sorted by name. patch, image side, classes of the default tag (0: none, or a projection's width),
 * crop_pct of the default tag. Facts from timm 1.0's registry; tests compare all of them. */
static const kh_architecture architectures[] = {
    {"deit3_base_patch16_224", &kh_family_deit3, SIZE_BASE, 16, 224, 1000, 0.9},
    {"deit3_base_patch16_384", &kh_family_deit3, SIZE_BASE, 16, 384, 1000, 1.0},
    {"deit3_huge_patch14_224", &kh_family_deit3, SIZE_HUGE, 14, 224, 1000, 0.9},
    {"deit3_large_patch16_224", &kh_family_deit3, SIZE_LARGE, 16, 224, 1000, 0.9},
    {"deit3_large_patch16_384", &kh_family_deit3, SIZE_LARGE, 16, 384, 1000, 1.0},
    {"deit3_medium_patch16_224", &kh_family_deit3, SIZE_MEDIUM, 16, 224, 1000, 0.9},
    {"deit3_small_patch16_224", &kh_family_deit3, SIZE_SMALL, 16, 224, 1000, 0.9},
    {"deit3_small_patch16_384", &kh_family_deit3, SIZE_SMALL, 16, 384, 1000, 1.0},
    {"deit_base_distilled_patch16_224", &kh_family_deit_distilled, SIZE_BASE, 16, 224, 1000, 0.9},
    {"deit_base_distilled_patch16_384", &kh_family_deit_distilled, SIZE_BASE, 16, 384, 1000, 1.0},
    {"deit_base_patch16_224", &kh_family_deit, SIZE_BASE, 16, 224, 1000, 0.9},
    {"deit_base_patch16_384", &kh_family_deit, SIZE_BASE, 16, 384, 1000, 1.0},
    {"deit_small_distilled_patch16_224", &kh_family_deit_distilled, SIZE_SMALL, 16, 224, 1000, 0.9},
    {"deit_small_patch16_224", &kh_family_deit, SIZE_SMALL, 16, 224, 1000, 0.9},
    {"deit_tiny_distilled_patch16_224", &kh_family_deit_distilled, SIZE_TINY, 16, 224, 1000, 0.9},
    {"deit_tiny_patch16_224", &kh_family_deit, SIZE_TINY, 16, 224, 1000, 0.9},
    {"eva_large_patch14_196", &kh_family_eva, SIZE_LARGE, 14, 196, 1000, 1.0},
    {"eva_large_patch14_336", &kh_family_eva, SIZE_LARGE, 14, 336, 1000, 1.0},
    {"flexivit_base", &kh_family_flexivit, SIZE_BASE, 16, 240, 1000, 0.95},
    {"flexivit_large", &kh_family_flexivit, SIZE_LARGE, 16, 240, 1000, 0.95},
    {"flexivit_small", &kh_family_flexivit, SIZE_SMALL, 16, 240, 1000, 0.95},
    {"test_vit", &kh_family_test_vit, SIZE_TEST, 16, 160, 1000, 0.95},
    {"test_vit2", &kh_family_test_vit2, SIZE_TEST2, 16, 160, 1000, 0.95},
    {"vit_base_patch14_dinov2", &kh_family_dinov2, SIZE_BASE, 14, 518, 0, 1.0},
    {"vit_base_patch14_reg1_tipsv2", &kh_family_tipsv2, SIZE_BASE, 14, 448, 0, 1.0},
    {"vit_base_patch14_reg4_dinov2", &kh_family_dinov2_reg, SIZE_BASE, 14, 518, 0, 1.0},
    {"vit_base_patch16_224", &kh_family_vit, SIZE_BASE, 16, 224, 1000, 0.9},
    {"vit_base_patch16_224_miil", &kh_family_vit_miil, SIZE_BASE, 16, 224, 11221, 0.875},
    {"vit_base_patch16_384", &kh_family_vit, SIZE_BASE, 16, 384, 1000, 1.0},
    {"vit_base_patch16_clip_224", &kh_family_clip, SIZE_BASE, 16, 224, 1000, 0.95},
    {"vit_base_patch16_clip_384", &kh_family_clip, SIZE_BASE, 16, 384, 1000, 1.0},
    {"vit_base_patch16_clip_quickgelu_224", &kh_family_clip_quickgelu, SIZE_BASE, 16, 224, 512,
     1.0},
    {"vit_base_patch16_gap_224", &kh_family_gap_plain, SIZE_BASE_16_HEADS, 16, 224, 1000, 0.9},
    {"vit_base_patch16_plus_240", &kh_family_vit_scaled, SIZE_BASE_PLUS, 16, 240, 1000, 0.95},
    {"vit_base_patch16_plus_clip_240", &kh_family_clip, SIZE_BASE_PLUS, 16, 240, 640, 1.0},
    {"vit_base_patch16_reg4_gap_256", &kh_family_reg4_gap_plain, SIZE_BASE, 16, 256, 1000, 0.9},
    {"vit_base_patch16_rpn_224", &kh_family_rpn, SIZE_BASE, 16, 224, 1000, 0.9},
    {"vit_base_patch16_siglip_224", &kh_family_siglip, SIZE_BASE, 16, 224, 0, 0.9},
    {"vit_base_patch16_siglip_256", &kh_family_siglip, SIZE_BASE, 16, 256, 0, 0.9},
    {"vit_base_patch16_siglip_384", &kh_family_siglip, SIZE_BASE, 16, 384, 0, 0.9},
    {"vit_base_patch16_siglip_512", &kh_family_siglip, SIZE_BASE, 16, 512, 0, 0.9},
    {"vit_base_patch16_siglip_gap_224", &kh_family_siglip_gap, SIZE_BASE, 16, 224, 0, 0.9},
    {"vit_base_patch16_siglip_gap_256", &kh_family_siglip_gap, SIZE_BASE, 16, 256, 0, 0.9},
    {"vit_base_patch16_siglip_gap_384", &kh_family_siglip_gap, SIZE_BASE, 16, 384, 0, 0.9},
    {"vit_base_patch16_siglip_gap_512", &kh_family_siglip_gap, SIZE_BASE, 16, 512, 0, 0.9},
    {"vit_base_patch32_224", &kh_family_vit, SIZE_BASE, 32, 224, 1000, 0.9},
    {"vit_base_patch32_384", &kh_family_vit, SIZE_BASE, 32, 384, 1000, 1.0},
    {"vit_base_patch32_clip_224", &kh_family_clip, SIZE_BASE, 32, 224, 1000, 0.9},
    {"vit_base_patch32_clip_256", &kh_family_clip, SIZE_BASE, 32, 256, 512, 1.0},
    {"vit_base_patch32_clip_384", &kh_family_clip, SIZE_BASE, 32, 384, 1000, 1.0},
    {"vit_base_patch32_clip_448", &kh_family_clip, SIZE_BASE, 32, 448, 1000, 1.0},
    {"vit_base_patch32_clip_quickgelu_224", &kh_family_clip_quickgelu, SIZE_BASE, 32, 224, 512,
     0.9},
    {"vit_base_patch32_plus_256", &kh_family_vit_scaled, SIZE_BASE_PLUS, 32, 256, 1000, 0.95},
    {"vit_base_patch32_siglip_256", &kh_family_siglip_tanh, SIZE_BASE, 32, 256, 0, 0.9},
    {"vit_base_patch32_siglip_gap_256", &kh_family_siglip_gap_tanh, SIZE_BASE, 32, 256, 0, 0.9},
    {"vit_base_patch8_224", &kh_family_vit, SIZE_BASE, 8, 224, 1000, 0.9},
    {"vit_betwixt_patch16_gap_256", &kh_family_gap, SIZE_BETWIXT, 16, 256, 1000, 0.95},
    {"vit_betwixt_patch16_reg1_gap_256", &kh_family_reg1_gap, SIZE_BETWIXT, 16, 256, 1000, 0.95},
    {"vit_betwixt_patch16_reg4_gap_256", &kh_family_reg4_gap, SIZE_BETWIXT, 16, 256, 1000, 0.95},
    {"vit_betwixt_patch16_reg4_gap_384", &kh_family_reg4_gap, SIZE_BETWIXT, 16, 384, 1000, 1.0},
    {"vit_betwixt_patch32_clip_224", &kh_family_clip, SIZE_BETWIXT, 32, 224, 512, 0.9},
    {"vit_giant_patch14_224", &kh_family_vit, SIZE_GIANT, 14, 224, 1000, 0.9},
    {"vit_giant_patch14_clip_224", &kh_family_clip, SIZE_GIANT, 14, 224, 1024, 1.0},
    {"vit_giant_patch14_dinov2", &kh_family_dinov2_giant, SIZE_DINO_GIANT, 14, 518, 0, 1.0},
    {"vit_giant_patch14_reg1_tipsv2", &kh_family_tipsv2_giant, SIZE_DINO_GIANT, 14, 448, 0, 1.0},
    {"vit_giant_patch14_reg4_dinov2", &kh_family_dinov2_reg_giant, SIZE_DINO_GIANT, 14, 518, 0,
     1.0},
    {"vit_giant_patch16_gap_224", &kh_family_gap_plain, SIZE_GIANT, 16, 224, 0, 0.9},
    {"vit_giantopt_patch16_siglip_256", &kh_family_siglip_tanh, SIZE_GIANTOPT, 16, 256, 0, 0.9},
    {"vit_giantopt_patch16_siglip_384", &kh_family_siglip_tanh, SIZE_GIANTOPT, 16, 384, 0, 0.9},
    {"vit_giantopt_patch16_siglip_gap_256", &kh_family_siglip_gap_tanh, SIZE_GIANTOPT, 16, 256, 0,
     0.9},
    {"vit_giantopt_patch16_siglip_gap_384", &kh_family_siglip_gap_tanh, SIZE_GIANTOPT, 16, 384, 0,
     0.9},
    {"vit_gigantic_patch14_224", &kh_family_vit, SIZE_GIGANTIC, 14, 224, 1000, 0.9},
    {"vit_gigantic_patch14_clip_224", &kh_family_clip, SIZE_GIGANTIC, 14, 224, 1280, 1.0},
    {"vit_gigantic_patch14_clip_378", &kh_family_clip, SIZE_GIGANTIC, 14, 378, 1280, 1.0},
    {"vit_gigantic_patch14_clip_quickgelu_224", &kh_family_clip_quickgelu, SIZE_GIGANTIC, 14, 224,
     1280, 1.0},
    {"vit_huge_patch14_224", &kh_family_vit, SIZE_HUGE, 14, 224, 0, 0.9},
    {"vit_huge_patch14_clip_224", &kh_family_clip, SIZE_HUGE, 14, 224, 1000, 1.0},
    {"vit_huge_patch14_clip_336", &kh_family_clip, SIZE_HUGE, 14, 336, 1000, 1.0},
    {"vit_huge_patch14_clip_378", &kh_family_clip, SIZE_HUGE, 14, 378, 1024, 1.0},
    {"vit_huge_patch14_clip_quickgelu_224", &kh_family_clip_quickgelu, SIZE_HUGE, 14, 224, 1024,
     1.0},
    {"vit_huge_patch14_clip_quickgelu_378", &kh_family_clip_quickgelu, SIZE_HUGE, 14, 378, 1024,
     1.0},
    {"vit_huge_patch14_gap_224", &kh_family_gap_plain, SIZE_HUGE, 14, 224, 0, 0.9},
    {"vit_huge_patch16_gap_448", &kh_family_gap_plain, SIZE_HUGE, 16, 448, 0, 1.0},
    {"vit_large_patch14_224", &kh_family_vit, SIZE_LARGE, 14, 224, 1000, 0.9},
    {"vit_large_patch14_clip_224", &kh_family_clip, SIZE_LARGE, 14, 224, 1000, 1.0},
    {"vit_large_patch14_clip_336", &kh_family_clip, SIZE_LARGE, 14, 336, 1000, 1.0},
    {"vit_large_patch14_clip_quickgelu_224", &kh_family_clip_quickgelu, SIZE_LARGE, 14, 224, 768,
     1.0},
    {"vit_large_patch14_clip_quickgelu_336", &kh_family_clip_quickgelu, SIZE_LARGE, 14, 336, 768,
     1.0},
    {"vit_large_patch14_dinov2", &kh_family_dinov2, SIZE_LARGE, 14, 518, 0, 1.0},
    {"vit_large_patch14_reg1_tipsv2", &kh_family_tipsv2, SIZE_LARGE, 14, 448, 0, 1.0},
    {"vit_large_patch14_reg4_dinov2", &kh_family_dinov2_reg, SIZE_LARGE, 14, 518, 0, 1.0},
    {"vit_large_patch16_224", &kh_family_vit, SIZE_LARGE, 16, 224, 1000, 0.9},
    {"vit_large_patch16_384", &kh_family_vit, SIZE_LARGE, 16, 384, 1000, 1.0},
    {"vit_large_patch16_siglip_256", &kh_family_siglip, SIZE_LARGE, 16, 256, 0, 0.9},
    {"vit_large_patch16_siglip_384", &kh_family_siglip, SIZE_LARGE, 16, 384, 0, 0.9},
    {"vit_large_patch16_siglip_512", &kh_family_siglip_tanh, SIZE_LARGE, 16, 512, 0, 0.9},
    {"vit_large_patch16_siglip_gap_256", &kh_family_siglip_gap, SIZE_LARGE, 16, 256, 0, 0.9},
    {"vit_large_patch16_siglip_gap_384", &kh_family_siglip_gap, SIZE_LARGE, 16, 384, 0, 0.9},
    {"vit_large_patch16_siglip_gap_512", &kh_family_siglip_gap_tanh, SIZE_LARGE, 16, 512, 0, 0.9},
    {"vit_large_patch32_224", &kh_family_vit, SIZE_LARGE, 32, 224, 0, 0.9},
    {"vit_large_patch32_384", &kh_family_vit, SIZE_LARGE, 32, 384, 1000, 1.0},
    {"vit_little_patch16_reg1_gap_256", &kh_family_reg1_gap, SIZE_LITTLE, 16, 256, 1000, 0.95},
    {"vit_little_patch16_reg4_gap_256", &kh_family_reg4_gap, SIZE_LITTLE, 16, 256, 1000, 0.95},
    {"vit_medium_patch16_clip_224", &kh_family_clip, SIZE_MEDIUM, 16, 224, 512, 0.9},
    {"vit_medium_patch16_gap_240", &kh_family_gap, SIZE_MEDIUM, 16, 240, 11821, 0.95},
    {"vit_medium_patch16_gap_256", &kh_family_gap, SIZE_MEDIUM, 16, 256, 1000, 0.95},
    {"vit_medium_patch16_gap_384", &kh_family_gap, SIZE_MEDIUM, 16, 384, 1000, 0.95},
    {"vit_medium_patch16_reg1_gap_256", &kh_family_reg1_gap, SIZE_MEDIUM, 16, 256, 1000, 0.95},
    {"vit_medium_patch16_reg4_gap_256", &kh_family_reg4_gap, SIZE_MEDIUM, 16, 256, 1000, 0.95},
    {"vit_medium_patch32_clip_224", &kh_family_clip, SIZE_MEDIUM, 32, 224, 512, 0.9},
    {"vit_mediumd_patch16_reg4_gap_256", &kh_family_reg4_gap, SIZE_MEDIUMD, 16, 256, 1000, 0.95},
    {"vit_mediumd_patch16_reg4_gap_384", &kh_family_reg4_gap, SIZE_MEDIUMD, 16, 384, 1000, 1.0},
    {"vit_small_patch14_dinov2", &kh_family_dinov2, SIZE_SMALL, 14, 518, 0, 1.0},
    {"vit_small_patch14_reg4_dinov2", &kh_family_dinov2_reg, SIZE_SMALL, 14, 518, 0, 1.0},
    {"vit_small_patch16_224", &kh_family_vit, SIZE_SMALL, 16, 224, 1000, 0.9},
    {"vit_small_patch16_36x1_224", &kh_family_vit_scaled, SIZE_SMALL_36, 16, 224, 1000, 0.9},
    {"vit_small_patch16_384", &kh_family_vit, SIZE_SMALL, 16, 384, 1000, 1.0},
    {"vit_small_patch32_224", &kh_family_vit, SIZE_SMALL, 32, 224, 1000, 0.9},
    {"vit_small_patch32_384", &kh_family_vit, SIZE_SMALL, 32, 384, 1000, 1.0},
    {"vit_small_patch8_224", &kh_family_vit, SIZE_SMALL, 8, 224, 0, 0.9},
    {"vit_so400m_patch14_reg1_tipsv2", &kh_family_tipsv2, SIZE_SO400M, 14, 448, 0, 1.0},
    {"vit_so400m_patch14_siglip_224", &kh_family_siglip, SIZE_SO400M, 14, 224, 0, 0.9},
    {"vit_so400m_patch14_siglip_378", &kh_family_siglip, SIZE_SO400M, 14, 378, 0, 0.9},
    {"vit_so400m_patch14_siglip_384", &kh_family_siglip, SIZE_SO400M, 14, 384, 0, 0.9},
    {"vit_so400m_patch14_siglip_gap_224", &kh_family_siglip_gap, SIZE_SO400M, 14, 224, 0, 0.9},
    {"vit_so400m_patch14_siglip_gap_378", &kh_family_siglip_gap, SIZE_SO400M, 14, 378, 0, 0.9},
    {"vit_so400m_patch14_siglip_gap_384", &kh_family_siglip_gap, SIZE_SO400M, 14, 384, 0, 1.0},
    {"vit_so400m_patch14_siglip_gap_448", &kh_family_siglip_gap, SIZE_SO400M, 14, 448, 0, 1.0},
    {"vit_so400m_patch14_siglip_gap_896", &kh_family_siglip_gap, SIZE_SO400M, 14, 896, 0, 1.0},
    {"vit_so400m_patch16_siglip_256", &kh_family_siglip_tanh, SIZE_SO400M, 16, 256, 0, 0.9},
    {"vit_so400m_patch16_siglip_384", &kh_family_siglip_tanh, SIZE_SO400M, 16, 384, 0, 0.9},
    {"vit_so400m_patch16_siglip_512", &kh_family_siglip_tanh, SIZE_SO400M, 16, 512, 0, 0.9},
    {"vit_so400m_patch16_siglip_gap_256", &kh_family_siglip_gap_tanh, SIZE_SO400M, 16, 256, 0, 0.9},
    {"vit_so400m_patch16_siglip_gap_384", &kh_family_siglip_gap_tanh, SIZE_SO400M, 16, 384, 0, 0.9},
    {"vit_so400m_patch16_siglip_gap_512", &kh_family_siglip_gap_tanh, SIZE_SO400M, 16, 512, 0, 0.9},
    {"vit_tiny_patch16_224", &kh_family_vit, SIZE_TINY, 16, 224, 1000, 0.9},
    {"vit_tiny_patch16_384", &kh_family_vit, SIZE_TINY, 16, 384, 1000, 1.0},
    {"vit_wee_patch16_reg1_gap_256", &kh_family_reg1_gap, SIZE_WEE, 16, 256, 1000, 0.95},
    {"vit_xsmall_patch16_clip_224", &kh_family_clip, SIZE_XSMALL, 16, 224, 512, 0.9},
};

size_t kh_registry_count(void) {
    return sizeof architectures / sizeof architectures[0];
}

const kh_architecture *kh_registry_get(size_t index) {
    return index < kh_registry_count() ? &architectures[index] : NULL;
}

const kh_architecture *kh_registry_find(const char *name) {
    size_t low = 0, high = kh_registry_count();
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const int order = strcmp(name, architectures[middle].name);
        if (order == 0) return &architectures[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const char *kh_model_architecture_name(size_t index) {
    return index < kh_registry_count() ? architectures[index].name : NULL;
}

void kh_pixels_set(kh_pixels pixels, double mean[3], double std[3]) {
    static const double table[4][2][3] = {
        [KH_PIXELS_INCEPTION] = {{0.5, 0.5, 0.5}, {0.5, 0.5, 0.5}},
        [KH_PIXELS_IMAGENET] = {{0.485, 0.456, 0.406}, {0.229, 0.224, 0.225}},
        [KH_PIXELS_CLIP] = {{0.48145466, 0.4578275, 0.40821073},
                            {0.26862954, 0.26130258, 0.27577711}},
        [KH_PIXELS_UNIT] = {{0, 0, 0}, {1, 1, 1}},
    };
    memcpy(mean, table[pixels][0], sizeof table[0][0]);
    memcpy(std, table[pixels][1], sizeof table[0][1]);
}

/* Names people will try, and why they do not work. '*' at either end stands for anything. */
static const struct {
    const char *pattern, *reason;
} unsupported[] = {
    {"*_rope*", "rotary positions (RoPE)"},
    {"eva02_*", "EVA-02 (rotary positions, SwiGLU with a norm)"},
    {"vit_pe_*", "rotary positions (RoPE)"},
    {"eva_giant_*", "EVA giant (its own block)"},
    {"aimv2_*", "AIMv2 (RMSNorm)"},
    {"test_vit4", "RMSNorm"},
    {"beitv2_*", "BEiT (relative position bias)"},
    {"beit3_*", "BEiT-3 (scale norms)"},
    {"beit_*", "BEiT (relative position bias)"},
    {"*_relpos*", "relative position bias"},
    {"vit_srelpos_*", "relative position bias"},
    {"*_sapiens2", "rotary positions (RoPE)"},
    {"*_lingbot", "rotary positions (RoPE)"},
    {"naflexvit_*", "NaFlex (variable grids)"},
    {"vit_*_18x2_*", "parallel blocks"},
    {"vit_*_xp_*", "parallel blocks"},
    {"vit_pwee_*", "parallel blocks"},
    {"vit_dpwee_*", "differential attention"},
    {"vit_dwee_*", "differential attention"},
    {"vit_dlittle_*", "differential attention"},
    {"vit_*_r26_*", "hybrid (a convolutional stem)"},
    {"vit_*_r50_*", "hybrid (a convolutional stem)"},
    {"vit_*_resnet*", "hybrid (a convolutional stem)"},
    {"vit_*_r_s16_*", "hybrid (a convolutional stem)"},
    {"vit_*_mci_*", "hybrid (a convolutional stem)"},
    {"vit_so150m*", "so150m variants (positions for registers, another tail)"},
    {"vit_intern300m_*", "InternViT (no final norm)"},
    {"*_radio_*", "RADIO (no final norm)"},
    {"samvit_*", "SAM's windowed attention"},
    {"vit_*_dinov3*", "DINOv3 (rotary positions)"},
    {"test_vit3", "attention pooling behind registers"},
};

/* '*' matches any run of characters */
static bool glob(const char *pattern, const char *text) {
    if (*pattern == '\0') return *text == '\0';
    if (*pattern != '*') return *text == *pattern && glob(pattern + 1, text + 1);
    for (;; text++) {
        if (glob(pattern + 1, text)) return true;
        if (*text == '\0') return false;
    }
}

const char *kh_unsupported_name(const char *architecture) {
    if (strlen(architecture) > 200) return NULL;
    for (size_t i = 0; i < sizeof unsupported / sizeof unsupported[0]; i++)
        if (glob(unsupported[i].pattern, architecture)) return unsupported[i].reason;
    return NULL;
}
