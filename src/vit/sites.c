#include "vit/sites.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

typedef struct site_row {
    const char *suffix;     /* behind "blocks.N." inside blocks */
    const char *short_name; /* shorthand: short_name + block number; NULL: none */
    bool is_editable;
} site_row;

static const site_row rows[KH_STAGE_COUNT] = {
    [KH_STAGE_EMBED] = {"hook_embed", "embed", true},
    [KH_STAGE_FULL_EMBED] = {"hook_full_embed", "full_embed", true},
    [KH_STAGE_LN_PRE_SCALE] = {"ln_pre.hook_scale", NULL, false},
    [KH_STAGE_LN_PRE_NORM] = {"ln_pre.hook_normalized", "ln_pre", true},
    [KH_STAGE_RESID_PRE] = {"hook_resid_pre", "resid_pre", true},
    [KH_STAGE_LN1_SCALE] = {"ln1.hook_scale", NULL, false},
    [KH_STAGE_LN1_NORM] = {"ln1.hook_normalized", NULL, true},
    [KH_STAGE_Q] = {"attn.hook_q", "q", true},
    [KH_STAGE_K] = {"attn.hook_k", "k", true},
    [KH_STAGE_V] = {"attn.hook_v", "v", true},
    [KH_STAGE_SCORES] = {"attn.hook_attn_scores", "attn_scores", false},
    [KH_STAGE_PATTERN] = {"attn.hook_pattern", "pattern", true},
    [KH_STAGE_Z] = {"attn.hook_z", "z", true},
    [KH_STAGE_RESULT] = {"attn.hook_result", "result", false},
    [KH_STAGE_ATTN_OUT] = {"hook_attn_out", "attn_out", true},
    [KH_STAGE_RESID_MID] = {"hook_resid_mid", "resid_mid", true},
    [KH_STAGE_LN2_SCALE] = {"ln2.hook_scale", NULL, false},
    [KH_STAGE_LN2_NORM] = {"ln2.hook_normalized", NULL, true},
    [KH_STAGE_PRE] = {"mlp.hook_pre", "pre", true},
    [KH_STAGE_PRE_LINEAR] = {"mlp.hook_pre_linear", "pre_linear", true},
    [KH_STAGE_POST] = {"mlp.hook_post", "post", true},
    [KH_STAGE_MLP_OUT] = {"hook_mlp_out", "mlp_out", true},
    [KH_STAGE_RESID_POST] = {"hook_resid_post", "resid_post", true},
    [KH_STAGE_FINAL_SCALE] = {"ln_final.hook_scale", NULL, false},
    [KH_STAGE_FINAL_NORM] = {"ln_final.hook_normalized", "ln_final", true},
    [KH_STAGE_PRE_HEAD] = {"hook_pre_head", "pre_head", true},
    [KH_STAGE_LOGITS] = {"logits", NULL, false},
};

bool kh_stage_in_block(kh_stage stage) {
    return stage >= KH_STAGE_RESID_PRE && stage <= KH_STAGE_RESID_POST;
}

bool kh_stage_in_tail(kh_stage stage) {
    return stage >= KH_STAGE_FINAL_SCALE;
}

bool kh_stage_exists(const kh_model *model, kh_stage stage) {
    switch (stage) {
    case KH_STAGE_LN_PRE_SCALE:
    case KH_STAGE_LN_PRE_NORM:
        return model->norm_pre.w != NULL;
    case KH_STAGE_PRE_LINEAR:
        return model->info.is_gated;
    case KH_STAGE_FINAL_SCALE:
    case KH_STAGE_FINAL_NORM:
        return model->norm.w != NULL;
    case KH_STAGE_LOGITS:
        return model->head != NULL;
    default:
        return true;
    }
}

/* In a post-norm block the norms act on what attention and MLP put out. */
size_t kh_stage_rank(const kh_model *model, kh_stage stage) {
    const size_t at = (size_t)stage;
    if (!model->info.is_post_norm) return at;
    switch (stage) {
    case KH_STAGE_LN1_SCALE:
    case KH_STAGE_LN1_NORM:
        return at + (KH_STAGE_RESULT - KH_STAGE_LN1_NORM);
    case KH_STAGE_LN2_SCALE:
    case KH_STAGE_LN2_NORM:
        return at + (KH_STAGE_POST - KH_STAGE_LN2_NORM);
    default:
        if (stage > KH_STAGE_LN1_NORM && stage <= KH_STAGE_RESULT) return at - 2;
        if (stage > KH_STAGE_LN2_NORM && stage <= KH_STAGE_POST) return at - 2;
        return at;
    }
}

size_t kh_stage_position(const kh_model *model, kh_stage stage, size_t block) {
    const size_t rank = kh_stage_rank(model, stage);
    if (kh_stage_in_block(stage)) return KH_STAGE_COUNT * (block + 1) + rank;
    if (kh_stage_in_tail(stage)) return KH_STAGE_COUNT * (model->info.blocks + 1) + rank;
    return rank;
}

static void add_axis(kh_site *site, kh_axis axis, size_t size) {
    site->axes[site->rank] = axis;
    site->shape[site->rank] = size;
    site->rank++;
}

static void add_axes(const kh_model *model, kh_stage stage, kh_site *site) {
    const kh_model_info *info = &model->info;
    switch (stage) {
    case KH_STAGE_EMBED:
        add_axis(site, KH_AXIS_PATCH, info->tokens - info->prefix_tokens);
        add_axis(site, KH_AXIS_DIM, info->dim);
        return;
    case KH_STAGE_LN_PRE_SCALE:
    case KH_STAGE_LN1_SCALE:
    case KH_STAGE_LN2_SCALE:
        add_axis(site, KH_AXIS_TOKEN, info->tokens);
        add_axis(site, KH_AXIS_ONE, 1);
        return;
    case KH_STAGE_Q:
    case KH_STAGE_K:
    case KH_STAGE_V:
    case KH_STAGE_Z:
        add_axis(site, KH_AXIS_TOKEN, info->tokens);
        add_axis(site, KH_AXIS_HEAD, info->heads);
        add_axis(site, KH_AXIS_HEAD_DIM, info->head_dim);
        return;
    case KH_STAGE_SCORES:
    case KH_STAGE_PATTERN:
        add_axis(site, KH_AXIS_HEAD, info->heads);
        add_axis(site, KH_AXIS_QUERY, info->tokens);
        add_axis(site, KH_AXIS_KEY, info->tokens);
        return;
    case KH_STAGE_RESULT:
        add_axis(site, KH_AXIS_TOKEN, info->tokens);
        add_axis(site, KH_AXIS_HEAD, info->heads);
        add_axis(site, KH_AXIS_DIM, info->dim);
        return;
    case KH_STAGE_PRE:
    case KH_STAGE_PRE_LINEAR:
    case KH_STAGE_POST:
        add_axis(site, KH_AXIS_TOKEN, info->tokens);
        add_axis(site, KH_AXIS_NEURON, info->neurons);
        return;
    case KH_STAGE_FINAL_SCALE:
    case KH_STAGE_FINAL_NORM:
        if (info->pool == KH_POOL_AVG_FC)
            add_axis(site, KH_AXIS_ONE, 1);
        else
            add_axis(site, KH_AXIS_TOKEN, info->tokens);
        if (stage == KH_STAGE_FINAL_SCALE)
            add_axis(site, KH_AXIS_ONE, 1);
        else
            add_axis(site, KH_AXIS_DIM, info->dim);
        return;
    case KH_STAGE_PRE_HEAD:
        if (info->pool == KH_POOL_DISTILL) add_axis(site, KH_AXIS_TOKEN, 2);
        add_axis(site, KH_AXIS_FEATURE, model->feature_dim);
        return;
    case KH_STAGE_LOGITS:
        add_axis(site, KH_AXIS_CLASS, info->classes);
        return;
    default:
        add_axis(site, KH_AXIS_TOKEN, info->tokens);
        add_axis(site, KH_AXIS_DIM, info->dim);
        return;
    }
}

kh_site kh_site_describe(const kh_model *model, kh_stage stage, size_t block) {
    kh_site site;
    memset(&site, 0, sizeof site);
    site.block = kh_stage_in_block(stage) ? block : SIZE_MAX;
    if (kh_stage_in_block(stage))
        (void)snprintf(site.name, sizeof site.name, "blocks.%zu.%s", block, rows[stage].suffix);
    else
        (void)snprintf(site.name, sizeof site.name, "%s", rows[stage].suffix);
    add_axes(model, stage, &site);
    site.count = 1;
    for (size_t i = 0; i < site.rank; i++)
        site.count *= site.shape[i];
    site.is_editable = rows[stage].is_editable;
    return site;
}

size_t kh_site_token_axis(const kh_site *site) {
    for (size_t i = 0; i < site->rank; i++) {
        const kh_axis axis = site->axes[i];
        if (axis == KH_AXIS_TOKEN || axis == KH_AXIS_PATCH || axis == KH_AXIS_QUERY) return i;
    }
    return SIZE_MAX;
}

/* ---- the list -------------------------------------------------------------------------------- */

/* Stages of one part of the pass in its order: before the blocks, inside one, behind them. */
static size_t stages_between(const kh_model *model, kh_stage first, kh_stage last,
                             kh_stage out[KH_STAGE_COUNT]) {
    kh_stage at_rank[KH_STAGE_COUNT];
    for (size_t s = first; s <= (size_t)last; s++)
        at_rank[kh_stage_rank(model, (kh_stage)s)] = (kh_stage)s;
    size_t count = 0;
    for (size_t r = first; r <= (size_t)last; r++)
        if (kh_stage_exists(model, at_rank[r])) out[count++] = at_rank[r];
    return count;
}

size_t kh_site_count(const kh_model *model) {
    kh_stage list[KH_STAGE_COUNT];
    const size_t before = stages_between(model, KH_STAGE_EMBED, KH_STAGE_LN_PRE_NORM, list);
    const size_t inside = stages_between(model, KH_STAGE_RESID_PRE, KH_STAGE_RESID_POST, list);
    const size_t behind = stages_between(model, KH_STAGE_FINAL_SCALE, KH_STAGE_LOGITS, list);
    return before + inside * model->info.blocks + behind;
}

kh_site kh_site_get(const kh_model *model, size_t index) {
    kh_stage list[KH_STAGE_COUNT];
    const size_t before = stages_between(model, KH_STAGE_EMBED, KH_STAGE_LN_PRE_NORM, list);
    if (index < before) return kh_site_describe(model, list[index], SIZE_MAX);
    index -= before;
    const size_t inside = stages_between(model, KH_STAGE_RESID_PRE, KH_STAGE_RESID_POST, list);
    if (index < inside * model->info.blocks)
        return kh_site_describe(model, list[index % inside], index / inside);
    index -= inside * model->info.blocks;
    const size_t behind = stages_between(model, KH_STAGE_FINAL_SCALE, KH_STAGE_LOGITS, list);
    if (index < behind) return kh_site_describe(model, list[index], SIZE_MAX);
    kh_site none;
    memset(&none, 0, sizeof none);
    return none;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Reads decimal digits without leading zeros; returns where they end, NULL when there are none. */
static const char *take_number(const char *text, size_t *out) {
    size_t value = 0, digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 9; digits++)
        value = value * 10 + (size_t)(text[digits] - '0');
    if (digits == 0 || (digits > 1 && text[0] == '0')) return NULL;
    *out = value;
    return text + digits;
}

/* What a timm name means: a stage, or why it is none. */
typedef struct alias {
    const char *name;
    kh_stage stage;
    const char *trouble; /* NULL: the value is the same */
} alias;

static size_t block_aliases(const kh_model *model, alias out[20]) {
    const kh_model_info *info = &model->info;
    const char *scaled =
        info->has_layer_scale
            ? "LayerScale still multiplies its output; what the residual receives is "
            : NULL;
    const char *normed = info->is_post_norm
                             ? "this block normalises its output before adding it; see ln1/ln2 and "
                             : scaled;
    const char *gated = info->is_gated
                            ? "it holds the gates (mlp.hook_pre) and the linear half "
                              "(mlp.hook_pre_linear) side by side; ask for one; see also "
                            : NULL;
    const char *packed = "it holds q, k and v side by side; ask for attn.hook_q, _k, _v or ";
    const char *acted =
        info->is_gated ? "it is the activated gate alone; the coefficient is " : NULL;
    const alias list[] = {
        {"norm1", KH_STAGE_LN1_NORM, NULL},
        {"norm2", KH_STAGE_LN2_NORM, NULL},
        {"attn.qkv", KH_STAGE_Q, packed},
        {"attn", KH_STAGE_ATTN_OUT, normed},
        {"attn.proj", KH_STAGE_ATTN_OUT, normed},
        {"attn.proj_drop", KH_STAGE_ATTN_OUT, normed},
        {"ls1", KH_STAGE_ATTN_OUT, info->is_post_norm ? normed : NULL},
        {"drop_path1", KH_STAGE_ATTN_OUT, NULL},
        {"mlp.fc1", KH_STAGE_PRE, gated},
        {"mlp.act", KH_STAGE_POST, acted},
        {"mlp.drop1", KH_STAGE_POST, NULL},
        {"mlp.norm", KH_STAGE_POST, NULL},
        {"mlp.fc2", KH_STAGE_MLP_OUT, normed},
        {"mlp.drop2", KH_STAGE_MLP_OUT, normed},
        {"mlp", KH_STAGE_MLP_OUT, normed},
        {"ls2", KH_STAGE_MLP_OUT, info->is_post_norm ? normed : NULL},
        {"drop_path2", KH_STAGE_MLP_OUT, NULL},
    };
    const size_t count = sizeof list / sizeof list[0];
    memcpy(out, list, sizeof list);
    return count;
}

static size_t outer_aliases(const kh_model *model, alias out[20]) {
    const kh_pool_kind pool = model->info.pool;
    const bool norm_at_end = pool == KH_POOL_AVG_FC || pool == KH_POOL_RAW_AVG;
    const alias list[] = {
        {"patch_embed", KH_STAGE_EMBED, NULL},
        {"pos_drop", KH_STAGE_FULL_EMBED, NULL},
        {"norm_pre", model->norm_pre.w ? KH_STAGE_LN_PRE_NORM : KH_STAGE_FULL_EMBED, NULL},
        {"norm", KH_STAGE_FINAL_NORM,
         norm_at_end
             ? "this model normalises the mean of the patches (fc_norm), not the tokens; ask "
               "for the last hook_resid_post or "
             : NULL},
        {"fc_norm", pool == KH_POOL_AVG_FC ? KH_STAGE_FINAL_NORM : KH_STAGE_PRE_HEAD, NULL},
        {"attn_pool", KH_STAGE_PRE_HEAD,
         pool == KH_POOL_MAP ? NULL : "this model has no attention pool; ask for "},
        {"head_drop", KH_STAGE_PRE_HEAD, NULL},
        {"head", KH_STAGE_LOGITS,
         pool == KH_POOL_DISTILL ? "the logits are the mean of head and head_dist; ask for "
                                 : NULL},
    };
    memcpy(out, list, sizeof list);
    return sizeof list / sizeof list[0];
}

static kh_status from_alias(const kh_model *model, const alias *list, size_t count,
                            const char *name, const char *shown, size_t block, kh_stage *stage,
                            bool *found, kh_error *err) {
    *found = false;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(name, list[i].name) != 0) continue;
        if (list[i].trouble)
            return kh_fail(err, KH_E_NOT_FOUND, "'%s' is not a site of this model: %s'%s'", shown,
                           list[i].trouble, kh_site_describe(model, list[i].stage, block).name);
        *stage = list[i].stage;
        *found = true;
        return KH_OK;
    }
    return KH_OK;
}

static bool match_suffix(const char *text, bool in_block, kh_stage *stage) {
    for (size_t s = 0; s < KH_STAGE_COUNT; s++)
        if (kh_stage_in_block((kh_stage)s) == in_block && strcmp(text, rows[s].suffix) == 0) {
            *stage = (kh_stage)s;
            return true;
        }
    return false;
}

/* "post7", "resid_post10", "scale3ln1", "normalized3ln2", "embed". */
static bool match_shorthand(const char *text, kh_stage *stage, size_t *block) {
    const size_t letters = strcspn(text, "0123456789");
    const char *end = NULL;
    size_t number = SIZE_MAX;
    if (text[letters]) end = take_number(text + letters, &number);
    if (text[letters] && !end) return false;
    const char *rest = end ? end : "";
    static const struct {
        const char *word, *rest;
        kh_stage stage;
    } norms[] = {{"scale", "ln1", KH_STAGE_LN1_SCALE},
                 {"scale", "ln2", KH_STAGE_LN2_SCALE},
                 {"normalized", "ln1", KH_STAGE_LN1_NORM},
                 {"normalized", "ln2", KH_STAGE_LN2_NORM}};
    for (size_t i = 0; end && i < sizeof norms / sizeof norms[0]; i++)
        if (strlen(norms[i].word) == letters && strncmp(text, norms[i].word, letters) == 0 &&
            strcmp(rest, norms[i].rest) == 0) {
            *stage = norms[i].stage;
            *block = number;
            return true;
        }
    if (*rest) return false;
    for (size_t s = 0; s < KH_STAGE_COUNT; s++) {
        const char *word = rows[s].short_name;
        if (!word || kh_stage_in_block((kh_stage)s) != (end != NULL)) continue;
        if (strlen(word) != letters || strncmp(text, word, letters) != 0) continue;
        *stage = (kh_stage)s;
        *block = number;
        return true;
    }
    return false;
}

static kh_status not_found(const kh_model *model, const char *name, const char *shown,
                           kh_error *err) {
    enum { NEAREST = 4 };
    size_t best[NEAREST], distance[NEAREST], found = 0;
    const size_t count = kh_site_count(model);
    for (size_t i = 0; i < count; i++) {
        const char *site = kh_site_get(model, i).name;
        const size_t d = kh_edit_distance(name, strlen(name), site, strlen(site));
        size_t at = found;
        while (at > 0 && distance[at - 1] > d)
            at--;
        if (at >= NEAREST) continue;
        const size_t last = found < NEAREST ? found : NEAREST - 1;
        for (size_t j = last; j > at; j--) {
            best[j] = best[j - 1];
            distance[j] = distance[j - 1];
        }
        best[at] = i;
        distance[at] = d;
        if (found < NEAREST) found++;
    }
    char list[512];
    size_t used = 0;
    list[0] = '\0';
    for (size_t i = 0; i < found && used < sizeof list; i++) {
        const int wrote = snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "",
                                   kh_site_get(model, best[i]).name);
        if (wrote > 0) used += (size_t)wrote;
    }
    return kh_fail(err, KH_E_NOT_FOUND, "no site is called '%s'; nearest: %s", shown, list);
}

kh_status kh_site_resolve(const kh_model *model, const char *name, kh_stage *stage, size_t *block,
                          kh_error *err) {
    if (!name) return kh_fail(err, KH_E_ARG, "a site needs a name");
    char shown[KH_SHOWN_BYTES];
    (void)kh_shown(name, strlen(name), shown, sizeof shown);
    alias aliases[20];
    bool found = false;
    *block = SIZE_MAX;
    size_t number;
    const char *rest = kh_starts_with(name, "blocks.") ? take_number(name + 7, &number) : NULL;
    if (rest && (*rest == '.' || !*rest)) {
        *block = number;
        if (!*rest) {
            *stage = KH_STAGE_RESID_POST;
            found = true;
        } else if (match_suffix(rest + 1, true, stage)) {
            found = true;
        } else if (number < model->info.blocks) {
            const size_t count = block_aliases(model, aliases);
            KH_TRY(from_alias(model, aliases, count, rest + 1, shown, number, stage, &found, err));
        }
    } else {
        const size_t count = outer_aliases(model, aliases);
        found = match_suffix(name, false, stage);
        if (!found)
            KH_TRY(from_alias(model, aliases, count, name, shown, SIZE_MAX, stage, &found, err));
        if (!found) found = match_shorthand(name, stage, block);
    }
    if (!found) return not_found(model, name, shown, err);
    if (kh_stage_in_block(*stage) && *block >= model->info.blocks)
        return kh_fail(err, KH_E_NOT_FOUND, "'%s': the model has blocks 0 to %zu", shown,
                       model->info.blocks - 1);
    if (!kh_stage_exists(model, *stage))
        return kh_fail(err, KH_E_NOT_FOUND, "'%s': this model has no %s", shown,
                       rows[*stage].suffix);
    return KH_OK;
}

kh_status kh_site_find(const kh_model *model, const char *name, kh_site *out, kh_error *err) {
    kh_stage stage;
    size_t block;
    KH_TRY(kh_site_resolve(model, name, &stage, &block, err));
    *out = kh_site_describe(model, stage, block);
    return KH_OK;
}
