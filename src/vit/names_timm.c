/* timm's own names, DeiT-III's gamma_1, and Facebook's DINOv2, which differs in three places. */
#include "vit/names.h"

static const char *const prefixes[] = {"visual.trunk.", "", NULL};

static const kh_name_rule rules[] = {
    {"head.weight", KH_RULE_PLAIN, false, {"head.weight"}},
    {"head.weight", KH_RULE_PLAIN, true, {"visual.head.proj.weight"}},
    {"head.bias", KH_RULE_PLAIN, false, {"head.bias"}},
    {"head.bias", KH_RULE_ZERO, true, {"visual.head.proj.weight"}},
    {"reg_token", KH_RULE_PLAIN, false, {"reg_token"}},
    {"reg_token", KH_RULE_PLAIN, false, {"register_tokens"}},
    {"blocks.#.ls1.gamma", KH_RULE_PLAIN, false, {"blocks.#.ls1.gamma"}},
    {"blocks.#.ls1.gamma", KH_RULE_PLAIN, false, {"blocks.#.gamma_1"}},
    {"blocks.#.ls2.gamma", KH_RULE_PLAIN, false, {"blocks.#.ls2.gamma"}},
    {"blocks.#.ls2.gamma", KH_RULE_PLAIN, false, {"blocks.#.gamma_2"}},
    {"blocks.#.mlp.fc1.*", KH_RULE_PLAIN, false, {"blocks.#.mlp.fc1.*"}},
    {"blocks.#.mlp.fc1.*", KH_RULE_PLAIN, false, {"blocks.#.mlp.w12.*"}},
    {"blocks.#.mlp.fc2.*", KH_RULE_PLAIN, false, {"blocks.#.mlp.fc2.*"}},
    {"blocks.#.mlp.fc2.*", KH_RULE_PLAIN, false, {"blocks.#.mlp.w3.*"}},
    {"*", KH_RULE_PLAIN, false, {"*"}},
    {.timm = NULL},
};

const kh_name_scheme kh_names_timm = {"timm", "patch_embed.proj.weight", prefixes, rules, false};
