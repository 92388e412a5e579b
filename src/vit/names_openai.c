/* OpenAI's CLIP and open_clip's own towers: everything behind `visual.`, the projection stored [in,
 * out]. */
#include "vit/names.h"

static const char *const prefixes[] = {"visual.", "", NULL};

static const kh_name_rule rules[] = {
    {"cls_token", KH_RULE_PLAIN, false, {"class_embedding"}},
    {"pos_embed", KH_RULE_PLAIN, false, {"positional_embedding"}},
    {"patch_embed.proj.*", KH_RULE_PLAIN, false, {"conv1.*"}},
    {"norm_pre.*", KH_RULE_PLAIN, false, {"ln_pre.*"}},
    {"norm.*", KH_RULE_PLAIN, false, {"ln_post.*"}},
    {"blocks.#.norm1.*", KH_RULE_PLAIN, false, {"transformer.resblocks.#.ln_1.*"}},
    {"blocks.#.norm2.*", KH_RULE_PLAIN, false, {"transformer.resblocks.#.ln_2.*"}},
    {"blocks.#.attn.qkv.weight",
     KH_RULE_PLAIN,
     false,
     {"transformer.resblocks.#.attn.in_proj_weight"}},
    {"blocks.#.attn.qkv.bias", KH_RULE_PLAIN, false, {"transformer.resblocks.#.attn.in_proj_bias"}},
    {"blocks.#.attn.proj.*", KH_RULE_PLAIN, false, {"transformer.resblocks.#.attn.out_proj.*"}},
    {"blocks.#.ls1.gamma", KH_RULE_PLAIN, false, {"transformer.resblocks.#.ls_1.gamma"}},
    {"blocks.#.ls2.gamma", KH_RULE_PLAIN, false, {"transformer.resblocks.#.ls_2.gamma"}},
    {"blocks.#.mlp.fc1.*", KH_RULE_PLAIN, false, {"transformer.resblocks.#.mlp.c_fc.*"}},
    {"blocks.#.mlp.fc2.*", KH_RULE_PLAIN, false, {"transformer.resblocks.#.mlp.c_proj.*"}},
    {"head.weight", KH_RULE_TRANSPOSE, false, {"proj"}},
    {"head.bias", KH_RULE_ZERO, false, {"proj"}},
    {.timm = NULL},
};

const kh_name_scheme kh_names_openai = {"OpenAI CLIP", "conv1.weight", prefixes, rules, true};
