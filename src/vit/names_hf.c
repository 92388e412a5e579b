/* The names of transformers: vit and deit, dinov2 with and without registers, clip, siglip. */
#include "vit/names.h"

static const char *const vit_prefixes[] = {"vit.", "deit.", "", NULL};

/* attention and norms of the vit naming; dinov2 shares the attention */
#define ENCODER_ATTENTION                                                                          \
    {"blocks.#.attn.qkv.*",                                                                        \
     KH_RULE_PLAIN,                                                                                \
     false,                                                                                        \
     {"encoder.layer.#.attention.attention.query.*", "encoder.layer.#.attention.attention.key.*",  \
      "encoder.layer.#.attention.attention.value.*"}},                                             \
    {                                                                                              \
        "blocks.#.attn.proj.*", KH_RULE_PLAIN, false, {                                            \
            "encoder.layer.#.attention.output.dense.*"                                             \
        }                                                                                          \
    }

static const kh_name_rule vit_rules[] = {
    {"cls_token", KH_RULE_PLAIN, false, {"embeddings.cls_token"}},
    {"dist_token", KH_RULE_PLAIN, false, {"embeddings.distillation_token"}},
    {"pos_embed", KH_RULE_PLAIN, false, {"embeddings.position_embeddings"}},
    {"patch_embed.proj.*", KH_RULE_PLAIN, false, {"embeddings.patch_embeddings.projection.*"}},
    ENCODER_ATTENTION,
    {"blocks.#.norm1.*", KH_RULE_PLAIN, false, {"encoder.layer.#.layernorm_before.*"}},
    {"blocks.#.norm2.*", KH_RULE_PLAIN, false, {"encoder.layer.#.layernorm_after.*"}},
    {"blocks.#.mlp.fc1.*", KH_RULE_PLAIN, false, {"encoder.layer.#.intermediate.dense.*"}},
    {"blocks.#.mlp.fc2.*", KH_RULE_PLAIN, false, {"encoder.layer.#.output.dense.*"}},
    {"norm.*", KH_RULE_PLAIN, false, {"layernorm.*"}},
    {"head.*", KH_RULE_PLAIN, true, {"classifier.*"}},
    {"head.*", KH_RULE_PLAIN, true, {"cls_classifier.*"}},
    {"head_dist.*", KH_RULE_PLAIN, true, {"distillation_classifier.*"}},
    {.timm = NULL},
};

const kh_name_scheme kh_names_hf_vit = {"transformers ViT",
                                        "embeddings.patch_embeddings.projection.weight",
                                        vit_prefixes, vit_rules, false};

static const char *const dinov2_prefixes[] = {"dinov2.", "dinov2_with_registers.", "", NULL};

static const kh_name_rule dinov2_rules[] = {
    {"cls_token", KH_RULE_PLAIN, false, {"embeddings.cls_token"}},
    {"reg_token", KH_RULE_PLAIN, false, {"embeddings.register_tokens"}},
    {"pos_embed", KH_RULE_PLAIN, false, {"embeddings.position_embeddings"}},
    {"patch_embed.proj.*", KH_RULE_PLAIN, false, {"embeddings.patch_embeddings.projection.*"}},
    ENCODER_ATTENTION,
    {"blocks.#.norm1.*", KH_RULE_PLAIN, false, {"encoder.layer.#.norm1.*"}},
    {"blocks.#.norm2.*", KH_RULE_PLAIN, false, {"encoder.layer.#.norm2.*"}},
    {"blocks.#.ls1.gamma", KH_RULE_PLAIN, false, {"encoder.layer.#.layer_scale1.lambda1"}},
    {"blocks.#.ls2.gamma", KH_RULE_PLAIN, false, {"encoder.layer.#.layer_scale2.lambda1"}},
    {"blocks.#.mlp.fc1.*", KH_RULE_PLAIN, false, {"encoder.layer.#.mlp.fc1.*"}},
    {"blocks.#.mlp.fc1.*", KH_RULE_PLAIN, false, {"encoder.layer.#.mlp.weights_in.*"}},
    {"blocks.#.mlp.fc2.*", KH_RULE_PLAIN, false, {"encoder.layer.#.mlp.fc2.*"}},
    {"blocks.#.mlp.fc2.*", KH_RULE_PLAIN, false, {"encoder.layer.#.mlp.weights_out.*"}},
    {"norm.*", KH_RULE_PLAIN, false, {"layernorm.*"}},
    {"head.*", KH_RULE_PLAIN, true, {"classifier.*"}},
    {.timm = NULL},
};

const kh_name_scheme kh_names_hf_dinov2 = {"transformers DINOv2",
                                           "embeddings.patch_embeddings.projection.weight",
                                           dinov2_prefixes, dinov2_rules, false};

static const char *const tower_prefixes[] = {"vision_model.", "", NULL};

/* `pre_layrnorm` is spelt so in the files */
#define TOWER                                                                                      \
    {"pos_embed", KH_RULE_PLAIN, false, {"embeddings.position_embedding.weight"}},                 \
        {"patch_embed.proj.*", KH_RULE_PLAIN, false, {"embeddings.patch_embedding.*"}},            \
        {"norm_pre.*", KH_RULE_PLAIN, false, {"pre_layrnorm.*"}},                                  \
        {"norm.*", KH_RULE_PLAIN, false, {"post_layernorm.*"}},                                    \
        {"blocks.#.norm1.*", KH_RULE_PLAIN, false, {"encoder.layers.#.layer_norm1.*"}},            \
        {"blocks.#.norm2.*", KH_RULE_PLAIN, false, {"encoder.layers.#.layer_norm2.*"}},            \
        {"blocks.#.attn.qkv.*",                                                                    \
         KH_RULE_PLAIN,                                                                            \
         false,                                                                                    \
         {"encoder.layers.#.self_attn.q_proj.*", "encoder.layers.#.self_attn.k_proj.*",            \
          "encoder.layers.#.self_attn.v_proj.*"}},                                                 \
        {"blocks.#.attn.proj.*", KH_RULE_PLAIN, false, {"encoder.layers.#.self_attn.out_proj.*"}}, \
        {"blocks.#.mlp.fc1.*", KH_RULE_PLAIN, false, {"encoder.layers.#.mlp.fc1.*"}},              \
        {"blocks.#.mlp.fc2.*", KH_RULE_PLAIN, false, {"encoder.layers.#.mlp.fc2.*"}}, {            \
        "head.*", KH_RULE_PLAIN, true, {                                                           \
            "classifier.*"                                                                         \
        }                                                                                          \
    }

static const kh_name_rule clip_rules[] = {
    {"cls_token", KH_RULE_PLAIN, false, {"embeddings.class_embedding"}},
    {"head.weight", KH_RULE_PLAIN, true, {"visual_projection.weight"}},
    {"head.bias", KH_RULE_ZERO, true, {"visual_projection.weight"}},
    TOWER,
    {.timm = NULL},
};

const kh_name_scheme kh_names_hf_clip = {"transformers CLIP", "embeddings.patch_embedding.weight",
                                         tower_prefixes, clip_rules, false};

static const kh_name_rule siglip_rules[] = {
    {"attn_pool.latent", KH_RULE_PLAIN, false, {"head.probe"}},
    {"attn_pool.q.weight", KH_RULE_FIRST, false, {"head.attention.in_proj_weight"}},
    {"attn_pool.q.bias", KH_RULE_FIRST, false, {"head.attention.in_proj_bias"}},
    {"attn_pool.kv.weight", KH_RULE_REST, false, {"head.attention.in_proj_weight"}},
    {"attn_pool.kv.bias", KH_RULE_REST, false, {"head.attention.in_proj_bias"}},
    {"attn_pool.proj.*", KH_RULE_PLAIN, false, {"head.attention.out_proj.*"}},
    {"attn_pool.norm.*", KH_RULE_PLAIN, false, {"head.layernorm.*"}},
    {"attn_pool.mlp.fc1.*", KH_RULE_PLAIN, false, {"head.mlp.fc1.*"}},
    {"attn_pool.mlp.fc2.*", KH_RULE_PLAIN, false, {"head.mlp.fc2.*"}},
    TOWER,
    {.timm = NULL},
};

const kh_name_scheme kh_names_hf_siglip = {"transformers SigLIP",
                                           "embeddings.patch_embedding.weight", tower_prefixes,
                                           siglip_rules, false};
