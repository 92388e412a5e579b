/* keyhole/vit.h: models, the places in them one can read or change, and the pass that does it. */
#ifndef KEYHOLE_VIT_H
#define KEYHOLE_VIT_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/io.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- models ---------------------------------------------------------------------------------- */

/* A loaded model: read only after opening, may be shared by contexts of the same device and isa.
 * The context that opened it must outlive it. */
typedef struct kh_model kh_model;

typedef enum kh_pool_kind {
    KH_POOL_TOKEN,   /* norm, then token 0 */
    KH_POOL_AVG_FC,  /* mean over patches, then fc_norm */
    KH_POOL_AVG,     /* norm, then mean over patches */
    KH_POOL_MAP,     /* norm, then attention pool */
    KH_POOL_DISTILL, /* norm, then tokens 0 and 1 through two heads, averaged */
    KH_POOL_CLS_AVG, /* norm, then [token 0 ; mean over patches] (transformers dinov2) */
    KH_POOL_RAW_AVG  /* mean over patches without a norm (transformers CLIP classifier) */
} kh_pool_kind;

typedef struct kh_model_info {
    char source[512];                             /* folder or file it came from */
    char layout[24];                              /* "timm", "transformers" or "random" */
    char architecture[96];                        /* "vit_base_patch16_224" */
    char tag[64];                                 /* "augreg_in21k_ft_in1k", or "" */
    char family[48];                              /* row of docs/models.md */
    char sha256[65];                              /* of the weight files; "" for random weights */
    size_t dim, blocks, heads, head_dim, neurons; /* neurons: columns of fc2 */
    size_t patch, image_height, image_width, grid_height, grid_width;
    size_t prefix_tokens; /* class, distillation and register tokens */
    size_t registers;
    size_t tokens;  /* prefix_tokens + grid_height * grid_width */
    size_t classes; /* 0: no classifier */
    bool has_class_token, has_distill_token, has_norm_pre, has_layer_scale, has_qkv_bias;
    bool has_qk_norm, is_gated, is_post_norm;
    char activation[16]; /* "gelu", "gelu_tanh", "quick_gelu", "silu" */
    double norm_eps;
    kh_pool_kind pool;
    bool
        head_is_indirect; /* E acts behind an attention pool: projecting tokens is not meaningful */
    bool head_is_projection; /* CLIP: the head maps into a text space, its rows are not classes */
    uint64_t parameters;
    double forward_gflop; /* per image, 2 FLOP per multiply-add, whole forward */
    kh_preprocess preprocess;
} kh_model_info;

typedef struct kh_model_options {
    size_t height, width;    /* 0: the checkpoint's; else resample positions to this input size */
    const char *activation;  /* NULL: the family's; "quick_gelu" etc. to overrule it */
    const char *labels_path; /* NULL: the checkpoint's own names, or ImageNet-1k for 1000 classes */
    const char *preset;      /* NULL: the checkpoint's preprocessing; "squash224", "timm", "hf" */
    const char *architecture; /* NULL: from config.json; for folders without one */
    const kh_limits *limits;
    kh_warn_fn warn;
    void *warn_user;
    kh_progress_fn progress; /* bytes of weights read */
    void *progress_user;
} kh_model_options;

/* Opens MODEL: a timm or transformers folder, a .safetensors beside its config.json, a pulled hub
 * id
 * ("timm/vit_base_patch16_224.augreg_in21k_ft_in1k"), or "random:ARCH[@SEED]" for deterministic
 * random weights of a registered architecture. options may be NULL. Errors: KH_E_NOT_FOUND,
 * KH_E_FORMAT, KH_E_UNSUPPORTED (with the reason and the supported families), KH_E_NUMERIC. */
KH_API kh_status kh_model_open(kh_ctx *ctx, const char *model, const kh_model_options *options,
                               kh_model **out, kh_error *err);
KH_API void kh_model_close(kh_model *model);

KH_API const kh_model_info *kh_model_get_info(const kh_model *model); /* valid as long as model */
KH_API const kh_classes *kh_model_classes(const kh_model *model);     /* NULL when classes == 0 */

/* Parameters by their timm name ("blocks.3.mlp.fc2.weight"), as plain C-order floats. Every layout
 * answers to timm names. false / KH_E_NOT_FOUND when the model has no such tensor. */
KH_API bool kh_model_tensor_shape(const kh_model *model, const char *name, size_t *rank,
                                  size_t shape[8]);
KH_API kh_status kh_model_tensor_read(const kh_model *model, const char *name, float *out,
                                      size_t count, kh_error *err);
KH_API size_t kh_model_tensor_count(const kh_model *model);
KH_API const char *kh_model_tensor_name(const kh_model *model, size_t index);

/* Makes gradients possible (a second copy of the weights of blocks 0..last_block, packed for the
 * backward pass). Call once before passes with want_gradient are created; not thread-safe. */
KH_API kh_status kh_model_prepare_gradient(kh_model *model, size_t last_block, kh_error *err);
/* The same, but of last_block only what seeds up to the input of its MLP need (behind LN2, or
 * hook_resid_mid in post-norm blocks): a third of that block's memory. */
KH_API kh_status kh_model_prepare_gradient_below_mlp(kh_model *model, size_t last_block,
                                                     kh_error *err);

/* Final norm and head on plain vectors: rows [rows, dim] as if each were the pooled residual
 * (before the final norm) -> logits [rows, classes]. Errors: KH_E_UNSUPPORTED no head or indirect.
 */
KH_API kh_status kh_model_head(kh_ctx *ctx, const kh_model *model, const float *rows,
                               size_t row_count, float *logits, kh_error *err);

/* Registered architecture names, sorted; NULL after the last. */
KH_API const char *kh_model_architecture_name(size_t index);

/* ---- key neurons ------------------------------------------------------------------------------
 */

typedef struct kh_neuron {
    size_t block, index; /* zero-based */
} kh_neuron;

/* Accepts "b10n1198", "10:1198" and "blocks.10.mlp.fc1[1198]". */
KH_API kh_status kh_neuron_parse(const char *text, kh_neuron *out, kh_error *err);
/* Writes "b10n1198". */
KH_API void kh_neuron_format(kh_neuron neuron, char *out, size_t out_bytes);

/* ---- sites ----------------------------------------------------------------------------------- */

/* Axes of a site, slowest first; a batch axis always comes before them. */
typedef enum kh_axis {
    KH_AXIS_END,
    KH_AXIS_TOKEN, /* every token */
    KH_AXIS_PATCH, /* image tokens only */
    KH_AXIS_HEAD,
    KH_AXIS_QUERY,
    KH_AXIS_KEY,
    KH_AXIS_DIM,
    KH_AXIS_HEAD_DIM,
    KH_AXIS_NEURON,
    KH_AXIS_CLASS,
    KH_AXIS_ONE,
    KH_AXIS_FEATURE /* width of what the head multiplies */
} kh_axis;

typedef struct kh_site {
    char name[64];   /* canonical TransformerLens spelling: "blocks.7.mlp.hook_post" */
    size_t block;    /* SIZE_MAX when outside the blocks */
    kh_axis axes[5]; /* ends with KH_AXIS_END */
    size_t shape[4];
    size_t rank;
    size_t count; /* product of shape: floats per image */
    bool is_editable;
} kh_site;

/* Resolves a TransformerLens name, a timm module name ("blocks.7.mlp.fc1") or a shorthand
 * ("post7", "resid_post10"). Errors: KH_E_NOT_FOUND with the nearest names. */
KH_API kh_status kh_site_find(const kh_model *model, const char *name, kh_site *out, kh_error *err);
KH_API size_t kh_site_count(const kh_model *model);
KH_API kh_site kh_site_get(const kh_model *model, size_t index); /* in the order of the pass */

/* ---- the pass -------------------------------------------------------------------------------- */

/* Hand out this site. Empty lists mean everything. tokens selects along the first TOKEN/PATCH/QUERY
 * axis, units along the last axis (neurons, dims, classes). Result: [images, selected..., ...]. */
typedef struct kh_tap {
    const char *site;
    const size_t *tokens;
    size_t token_count;
    const size_t *units;
    size_t unit_count;
} kh_tap;

typedef enum kh_edit_op {
    KH_EDIT_ZERO,
    KH_EDIT_SCALE, /* times value */
    KH_EDIT_SET,   /* becomes value (or values[...]) */
    KH_EDIT_ADD    /* plus value (or values[...]) */
} kh_edit_op;

/* Change a site before the rest of the model sees it. Edits apply in the order given; a tap on the
 * same site sees the edited values. images empty: every image of a run (indices within the batch).
 */
typedef struct kh_edit {
    const char *site;
    kh_edit_op op;
    float value;
    const float
        *values; /* NULL, or one per unit (unit_count, or the axis size when units is empty) */
    const size_t *tokens;
    size_t token_count;
    const size_t *units;
    size_t unit_count;
    const size_t *images;
    size_t image_count;
} kh_edit;

/* What kh_pass_backward meets in a block a gradient flows through, from the last block to the
 * first: its attention pattern (behind its edits) and the gradient with respect to it, both
 * [batch, heads, tokens, tokens], valid during the call. */
typedef void (*kh_attention_fn)(void *user, size_t block, const float *pattern,
                                const float *gradient);

typedef struct kh_pass_spec {
    size_t max_batch; /* 1 when 0 */
    const kh_tap *taps;
    size_t tap_count;
    const kh_edit *edits;
    size_t edit_count;
    bool want_logits;
    bool want_gradient;            /* kh_pass_backward will be called */
    kh_attention_fn see_attention; /* NULL, or sees every block's attention on the way back */
    void *see_user;
    /* Sites whose gradient seeds kh_pass_backward takes, in order. Logits: "logits". Empty with
     * want_gradient: one seed, "logits". */
    const char *const *seed_sites;
    size_t seed_count;
    /* Empty: seeds may be anything at every token. Else the caller promises that every seed in the
     * last block the pass reaches is zero at all other tokens; rows behind attention that no tap
     * wants either are then left out of that block, forwards and backwards, bit for bit the same.
     */
    const size_t *seed_tokens;
    size_t seed_token_count;
    /* Resume: start behind blocks 0..start_block-1 with residual rows given to kh_pass_run_from. */
    size_t start_block;
    /* 0: all tokens. Else the pass runs on that many, for pictures some of whose patches are
     * dropped behind the position embeddings: kh_pass_run_from takes [batch, tokens, dim] with the
     * prefix tokens first, then the patches that are kept, in any order. Sites, taps and edits
     * count tokens as they are given. */
    size_t tokens;
} kh_pass_spec;

/* A plan and the memory to carry it out. Computes only what the spec needs: the last block it must
 * reach, in that block only the wanted fc1 rows. Belongs to ctx; model must outlive it. */
typedef struct kh_pass kh_pass;

KH_API kh_status kh_pass_create(kh_ctx *ctx, const kh_model *model, const kh_pass_spec *spec,
                                kh_pass **out, kh_error *err);
KH_API void kh_pass_free(kh_pass *pass);

/* The plan as text, one step per line with shapes, GFLOP and bytes; free with free(). */
KH_API kh_status kh_pass_explain(const kh_pass *pass, char **text, kh_error *err);
KH_API double kh_pass_gflop(const kh_pass *pass);        /* per image, forward */
KH_API size_t kh_pass_memory_bytes(const kh_pass *pass); /* activations and scratch */

/* images [batch, 3, height, width], normalised; batch <= max_batch. Errors: KH_E_ARG, KH_E_NUMERIC
 * when a logit is NaN or infinite. */
KH_API kh_status kh_pass_run(kh_pass *pass, const float *images, size_t batch, kh_error *err);
/* residual [batch, tokens, dim]: blocks.<start_block>.hook_resid_pre. */
KH_API kh_status kh_pass_run_from(kh_pass *pass, const float *residual, size_t batch,
                                  kh_error *err);

/* Results of the last run, valid until the next run or kh_pass_free. */
KH_API const float *kh_pass_logits(const kh_pass *pass); /* [batch, classes], NULL if not wanted */
KH_API const float *kh_pass_tap(const kh_pass *pass, size_t tap); /* [batch, ...] */
KH_API size_t kh_pass_tap_count(const kh_pass *pass, size_t tap); /* floats per image */

/* Gradient of sum_i <seeds[i], site_i> with respect to the images of the last run.
 * seeds[i]: [batch, site shape] dense; out [batch, 3, height, width]. */
KH_API kh_status kh_pass_backward(kh_pass *pass, const float *const *seeds, float *out,
                                  size_t count, kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
