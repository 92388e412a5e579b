/* vit/config.h: what has to be known about a model before a weight is read.
 *
 * A kh_config is filled from the registry and config.json (or from config.json alone in the
 * transformers layout); the tensor table follows from it, and every tensor in the file must agree.
 */
#ifndef KH_VIT_CONFIG_H
#define KH_VIT_CONFIG_H

#include <jansson.h>

#include "compute/backend.h"
#include "keyhole/vit.h"

/* How position embeddings are resampled to another grid; the three are different numbers. */
typedef enum kh_pos_filter {
    KH_POS_CUBIC_ANTIALIAS, /* timm, and DINOv2 with registers of transformers: a = -0.5 */
    KH_POS_CUBIC,           /* other models of transformers: a = -0.75, no antialiasing */
    KH_POS_LINEAR           /* FlexiViT */
} kh_pos_filter;

typedef struct kh_name_scheme kh_name_scheme;

typedef struct kh_config {
    char layout[24], architecture[96], tag[64], family[48];

    size_t dim, blocks, heads;
    size_t neurons;   /* columns of fc2; 0 until the file's shapes say so */
    double mlp_ratio; /* only for weights that come from no file */
    size_t patch;
    size_t height, width; /* image size of the checkpoint */

    bool class_token, distill_token;
    size_t registers;
    bool pos_has_prefix; /* position rows also for class, distillation and register tokens */

    bool qkv_bias, proj_bias, qk_norm, layer_scale, norm_pre, patch_bias, gated, post_norm;
    kh_pool_kind pool;
    kh_activation act;
    double eps;

    size_t classes;
    size_t label_offset;     /* head rows to drop in front */
    bool head_is_projection; /* CLIP: the head maps into a text space */
    bool map_pool_unused;    /* the file holds an attention pool that this head does not use */

    kh_pos_filter pos_filter;
    bool pos_must_fit; /* transformers: another grid in the file is an error, not a resampling */
    bool prefer_crop;  /* transformers DINOv2: the model runs at the processor's crop size */

    kh_preprocess preprocess;
    kh_classes *labels;          /* from config.json, NULL when it has none; owned */
    const kh_name_scheme *names; /* NULL: find out from the tensors' names */
    bool natively_quick_gelu;    /* config.json says so in its notes */
} kh_config;

void kh_config_clear(kh_config *config);

/* Tokens in front of the patches. */
size_t kh_config_prefix(const kh_config *config);

/* The limits of a configuration, whatever it came from. */
kh_status kh_config_check(const kh_config *config, kh_error *err);

/* The caller's wish to hear of oddities; user data and function from kh_model_options. */
typedef struct kh_warner {
    kh_warn_fn warn; /* NULL: silent */
    void *user;
} kh_warner;
void kh_warn(kh_warner warner, const char *format, ...) KH_PRINTF(2, 3);

/* A config for a registered architecture, as if config.json named it and said nothing else. */
kh_status kh_config_registered(const char *architecture, kh_config *out, kh_error *err);

/* config.json of timm. architecture (may be NULL) replaces the file's. */
kh_status kh_config_timm(const json_t *root, const char *architecture, kh_warner warner,
                         kh_config *out, kh_error *err);

/* config.json of transformers, and preprocessor_config.json (NULL when there is none). */
kh_status kh_config_hf(const json_t *root, const json_t *processor, kh_warner warner,
                       kh_config *out, kh_error *err);
/* preprocessor_config.json alone; model_type chooses the class when the file does not name one. */
kh_status kh_preprocess_hf(const json_t *processor, const char *model_type, kh_preprocess *out,
                           kh_error *err);

/* "gelu", "gelu_tanh", "quick_gelu", "silu" and the usual aliases. */
bool kh_activation_parse(const char *name, kh_activation *out);
const char *kh_activation_name(kh_activation act);

/* Tells what is unsupported about a name ("eva02_base_patch14_224": "EVA-02"); NULL when nothing is
 * known about it. */
const char *kh_unsupported_name(const char *architecture);
/* The sentence that ends every "unsupported" message. */
#define KH_SUPPORTED_FAMILIES                                                                      \
    "supported families: ViT, DeiT, DeiT-III, MAE, DINO, DINOv2, CLIP, SigLIP, gap/reg, rpn, "     \
    "FlexiViT (docs/models.md)"

#endif
