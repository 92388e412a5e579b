#include "vit/names.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 256

/* ---- patterns -------------------------------------------------------------------------------- */

/* What '#' and '*' stood for. */
typedef struct binding {
    const char *number, *tail;
    size_t number_length, tail_length;
} binding;

/* '#' is a block's number, '*' (only at the end) whatever is left. */
static bool match_rule(const char *pattern, const char *name, binding *out) {
    *out = (binding){"", "", 0, 0};
    for (;; pattern++) {
        if (*pattern == '*') {
            out->tail = name;
            out->tail_length = strlen(name);
            return true;
        }
        if (*pattern == '#') {
            out->number = name;
            while (*name >= '0' && *name <= '9')
                name++;
            out->number_length = (size_t)(name - out->number);
            if (!out->number_length) return false;
            continue;
        }
        if (*pattern != *name) return false;
        if (*pattern == '\0') return true;
        name++;
    }
}

/* prefix + pattern with the binding put in; false when it does not fit. */
static bool expand(const char *prefix, const char *pattern, const binding *b,
                   char out[NAME_BYTES]) {
    size_t at = strlen(prefix);
    if (at >= NAME_BYTES) return false;
    memcpy(out, prefix, at);
    for (; *pattern; pattern++) {
        const char *piece = pattern;
        size_t length = 1;
        if (*pattern == '#') {
            piece = b->number;
            length = b->number_length;
        } else if (*pattern == '*') {
            piece = b->tail;
            length = b->tail_length;
        }
        if (length >= NAME_BYTES - at) return false;
        memcpy(out + at, piece, length);
        at += length;
    }
    out[at] = '\0';
    return true;
}

/* ---- prefixes -------------------------------------------------------------------------------- */

/* Names that wrappers put in front, possibly several times. */
static const char *const wrappers[] = {"module.", "_orig_mod.", "timm_model.", NULL};

/* Splits "module.vit." into wrappers and one of the scheme's own prefixes. */
static bool split_prefix(const kh_name_scheme *scheme, const char *prefix, size_t *outer_length) {
    size_t at = 0;
    for (bool again = true; again;) {
        again = false;
        for (size_t i = 0; wrappers[i]; i++)
            if (kh_starts_with(prefix + at, wrappers[i])) {
                at += strlen(wrappers[i]);
                again = true;
            }
    }
    for (size_t i = 0; scheme->prefixes[i]; i++)
        if (strcmp(prefix + at, scheme->prefixes[i]) == 0) {
            *outer_length = at;
            return true;
        }
    return false;
}

/* Looks for the scheme's probe; *strange is a name that has it behind an unknown prefix. */
static bool find_prefix(const kh_tensors *tensors, const kh_name_scheme *scheme, kh_sources *out,
                        const char **strange) {
    const size_t count = kh_tensors_count(tensors);
    for (size_t i = 0; i < count; i++) {
        const char *name = kh_tensors_get(tensors, i).name;
        if (!kh_ends_with(name, scheme->probe)) continue;
        const size_t length = strlen(name) - strlen(scheme->probe);
        if (length > 0 && name[length - 1] != '.') continue;
        size_t outer;
        char prefix[sizeof out->prefix];
        if (length >= sizeof prefix) continue;
        memcpy(prefix, name, length);
        prefix[length] = '\0';
        if (!split_prefix(scheme, prefix, &outer) || outer >= sizeof out->outer) {
            *strange = name;
            continue;
        }
        memcpy(out->prefix, prefix, length + 1);
        memcpy(out->outer, prefix, outer);
        out->outer[outer] = '\0';
        out->scheme = scheme;
        return true;
    }
    return false;
}

/* ---- what we know we cannot compute -----------------------------------------------------------
 */

static const struct {
    const char *piece, *reason;
} evidence[] = {
    {"patch_embed.backbone", "hybrid with a convolutional stem"},
    {"rope.", "rotary positions (RoPE)"},
    {".attn.q_proj", "EVA-02 (separate q, k, v)"},
    {"attn.inner_attn_ln", "EVA-02 (a norm inside the attention)"},
    {"mlp.fc1_g", "EVA-02 (SwiGLU of two matrices)"},
    {"relative_position_bias_table", "BEiT (relative position bias)"},
    {"attn.q_bias", "BEiT (bias on q and v only)"},
    {"blocks.0.attn.norm.", "scale norms"},
    {"blocks.0.mlp.norm.", "scale norms"},
    {"blocks.0.in_proj", "parallel blocks"},
    {"blocks.0.attns.0", "parallel blocks"},
    {"lambda_q1", "differential attention"},
    {"attn.gate", "gated attention"},
    {"head.0.", "several heads in one (an ensemble)"},
};

static kh_status refuse_known(const kh_tensors *tensors, const kh_config *config, kh_error *err) {
    const size_t count = kh_tensors_count(tensors);
    for (size_t i = 0; i < count; i++) {
        const char *name = kh_tensors_get(tensors, i).name;
        if (kh_starts_with(name, "text_model.") || kh_starts_with(name, "text.")) continue;
        for (size_t k = 0; k < sizeof evidence / sizeof evidence[0]; k++) {
            if (!strstr(name, evidence[k].piece)) continue;
            char shown[KH_SHOWN_BYTES];
            return kh_fail(
                err, KH_E_UNSUPPORTED, "unsupported architecture: %s (%s: tensor '%s'); %s",
                config->architecture, evidence[k].reason,
                kh_shown(name, strlen(name), shown, sizeof shown), KH_SUPPORTED_FAMILIES);
        }
    }
    return KH_OK;
}

kh_status kh_sources_open(const kh_tensors *tensors, const kh_config *config, kh_sources *out,
                          kh_error *err) {
    static const kh_name_scheme *const by_probe[] = {&kh_names_timm, &kh_names_openai};
    static const kh_name_scheme *const foreign[] = {&kh_names_hf_vit, &kh_names_hf_clip};
    memset(out, 0, sizeof *out);
    out->tensors = tensors;
    KH_TRY(refuse_known(tensors, config, err));
    const char *strange = NULL;
    if (config->names) {
        if (find_prefix(tensors, config->names, out, &strange)) return KH_OK;
    } else {
        for (size_t i = 0; i < 2; i++)
            if (find_prefix(tensors, by_probe[i], out, &strange)) return KH_OK;
    }
    char shown[KH_SHOWN_BYTES];
    if (strange)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "tensor '%s' stands behind a prefix that is not known",
                       kh_shown(strange, strlen(strange), shown, sizeof shown));
    const char *wanted = config->names ? config->names->label : "timm (or OpenAI CLIP)";
    const kh_name_scheme *const *others = config->names ? by_probe : foreign;
    for (size_t i = 0; i < 2; i++)
        if (find_prefix(tensors, others[i], out, &strange))
            return kh_fail(err, KH_E_FORMAT,
                           "the weights have %s names, but config.json speaks of %s; the two files "
                           "do not belong together",
                           others[i]->label, wanted);
    const char *first = kh_tensors_count(tensors) ? kh_tensors_get(tensors, 0).name : "(none)";
    return kh_fail(err, KH_E_UNSUPPORTED,
                   "the weights are not a Vision Transformer with %s names: no '%s' among %zu "
                   "tensors (the first is '%s')",
                   wanted, config->names ? config->names->probe : kh_names_timm.probe,
                   kh_tensors_count(tensors), kh_shown(first, strlen(first), shown, sizeof shown));
}

void kh_sources_clear(kh_sources *sources) {
    if (!sources) return;
    kh_free(sources->items);
    sources->items = NULL;
    sources->count = 0;
}

/* ---- finding --------------------------------------------------------------------------------- */

/* All files of a rule are there. names[i] is filled for every part in any case. */
static bool try_rule(const kh_sources *s, const kh_name_rule *rule, const binding *b,
                     kh_source *out, char missing[NAME_BYTES]) {
    const char *prefix = rule->is_outer ? s->outer : s->prefix;
    out->kind = rule->kind;
    out->parts = 0;
    for (size_t i = 0; i < 3 && rule->file[i]; i++) {
        char name[NAME_BYTES];
        if (!expand(prefix, rule->file[i], b, name) ||
            !kh_tensors_find(s->tensors, name, &out->file[i])) {
            memcpy(missing, name, NAME_BYTES);
            return false;
        }
        out->parts = i + 1;
    }
    return true;
}

/* The first rule whose tensors exist; `missing` is what the first rule wanted. */
static bool find_source(const kh_sources *s, const char *timm, kh_source *out,
                        char missing[NAME_BYTES]) {
    bool has_missing = false;
    for (const kh_name_rule *rule = s->scheme->rules; rule->timm; rule++) {
        binding b;
        char lacking[NAME_BYTES] = "";
        if (!match_rule(rule->timm, timm, &b)) continue;
        if (try_rule(s, rule, &b, out, lacking)) return true;
        if (!has_missing) memcpy(missing, lacking, NAME_BYTES);
        has_missing = true;
    }
    if (!has_missing) (void)snprintf(missing, NAME_BYTES, "%s", timm);
    return false;
}

kh_status kh_sources_measure(kh_sources *s, kh_config *config, kh_error *err) {
    kh_source source;
    char missing[NAME_BYTES];
    if (!config->neurons && find_source(s, "blocks.0.mlp.fc2.weight", &source, missing)) {
        const kh_tensor_info *info = &source.file[0];
        if (info->rank != 2 || info->shape[1] < 1 || info->shape[1] > 1048576)
            return kh_fail(err, KH_E_SHAPE,
                           "'blocks.0.mlp.fc2.weight' of rank %zu is no MLP's matrix", info->rank);
        config->neurons = info->shape[1];
    }
    if (!config->neurons) config->neurons = 4 * config->dim; /* fc2 will be listed as missing */
    const size_t grid = (config->height / config->patch) * (config->width / config->patch);
    s->pos_rows = grid + (config->pos_has_prefix ? kh_config_prefix(config) : 0);
    if (!find_source(s, "pos_embed", &source, missing)) return KH_OK;
    const kh_tensor_info *info = &source.file[0];
    if (info->rank < 2 || info->rank > 3 || info->shape[info->rank - 2] < 1 ||
        info->shape[info->rank - 2] > 65536 + 128)
        return kh_fail(err, KH_E_SHAPE,
                       "the position embedding has rank %zu and is no table of rows", info->rank);
    s->pos_rows = info->shape[info->rank - 2];
    /* DINOv2 with registers: a row for the class token, none for the registers. timm's form adds
     * that row to the class token. */
    kh_source reg;
    s->class_position = config->class_token && config->registers && !config->pos_has_prefix &&
                        find_source(s, "reg_token", &reg, missing) &&
                        !kh_ends_with(reg.file[0].name, "reg_token");
    return KH_OK;
}

/* ---- matching -------------------------------------------------------------------------------- */

/* First few names of a list that may be long. */
typedef struct name_list {
    kh_text text;
    size_t count;
} name_list;

static void list_add(name_list *list, const char *name) {
    char shown[96];
    list->count++;
    if (list->count > 8) return;
    kh_text_addf(&list->text, "%s%s", list->count > 1 ? ", " : "",
                 kh_shown(name, strlen(name), shown, sizeof shown));
    if (list->count == 8) kh_text_add(&list->text, ", ...");
}

/* Shapes are equal but for leading ones (files of CLIP drop them). */
static bool same_shape(const size_t *a, size_t a_rank, const size_t *b, size_t b_rank) {
    while (a_rank > 1 && a[0] == 1) {
        a++;
        a_rank--;
    }
    while (b_rank > 1 && b[0] == 1) {
        b++;
        b_rank--;
    }
    if (a_rank != b_rank) return false;
    for (size_t i = 0; i < a_rank; i++)
        if (a[i] != b[i]) return false;
    return true;
}

static void show_shape(const size_t *shape, size_t rank, char *out, size_t room) {
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < rank && at < room; i++) {
        const int n = snprintf(out + at, room - at, "%s%zu", i ? "," : "", shape[i]);
        if (n < 0) return;
        at += (size_t)n;
    }
}

/* Shape that part `part` of a parameter must have in the file. */
static void wanted_shape(const kh_sources *s, const kh_config *config, const kh_parameter *p,
                         const kh_source *source, size_t shape[4], size_t *rank) {
    *rank = p->rank;
    memcpy(shape, p->shape, sizeof p->shape);
    const size_t first = p->rank > 1 && shape[0] == 1 ? p->rank - 2 : 0; /* the axis of rows */
    if (p->place == KH_PLACE_POS) shape[1] = s->pos_rows;
    if (strcmp(p->name, "head.weight") == 0 || strcmp(p->name, "head.bias") == 0 ||
        kh_starts_with(p->name, "head_dist."))
        shape[0] += config->label_offset;
    switch (source->kind) {
    case KH_RULE_PLAIN:
        shape[first] /= source->parts;
        break;
    case KH_RULE_FIRST:
        shape[first] *= 3;
        break;
    case KH_RULE_REST:
        shape[first] = shape[first] / 2 * 3;
        break;
    case KH_RULE_TRANSPOSE: {
        const size_t outs = shape[0];
        shape[0] = shape[1];
        shape[1] = outs;
        break;
    }
    case KH_RULE_ZERO:
        break;
    }
}

static kh_status check_shape(const kh_sources *s, const kh_config *config, const kh_parameter *p,
                             const kh_source *source, kh_error *err) {
    if (source->kind == KH_RULE_ZERO) return KH_OK;
    size_t shape[4], rank;
    wanted_shape(s, config, p, source, shape, &rank);
    for (size_t i = 0; i < source->parts; i++) {
        const kh_tensor_info *info = &source->file[i];
        if (same_shape(info->shape, info->rank, shape, rank)) continue;
        /* a patch projection may be stored as a matrix */
        if (rank == 4 && info->rank == 2 && info->shape[0] == shape[0] &&
            info->shape[1] == shape[1] * shape[2] * shape[3])
            continue;
        char got[128], want[96], shown[KH_SHOWN_BYTES];
        show_shape(info->shape, info->rank, got, sizeof got);
        show_shape(shape, rank, want, sizeof want);
        return kh_fail(err, KH_E_SHAPE, "tensor '%s' is [%s], but %s needs [%s] there",
                       kh_shown(info->name, strlen(info->name), shown, sizeof shown), got,
                       config->architecture, want);
    }
    return KH_OK;
}

static bool is_ignored(const kh_sources *s, const kh_config *config, const char *name) {
    if (!kh_starts_with(name, s->outer)) return false;
    const char *beside = name + strlen(s->outer);
    const bool is_inside = kh_starts_with(name, s->prefix);
    const char *inside = is_inside ? name + strlen(s->prefix) : beside;
    static const char *const starts[] = {"pooler.", "text_model.", "text_projection."};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++)
        if (kh_starts_with(inside, starts[i]) || kh_starts_with(beside, starts[i])) return true;
    if (kh_ends_with(name, "mask_token") || kh_ends_with(name, "position_ids") ||
        kh_ends_with(name, "num_batches_tracked") || strstr(name, "pre_logits"))
        return true;
    if (strcmp(beside, "logit_scale") == 0 || strcmp(beside, "logit_bias") == 0) return true;
    if (config->map_pool_unused && is_inside && kh_starts_with(inside, "head.")) return true;
    if (config->pool == KH_POOL_RAW_AVG && kh_starts_with(inside, "post_layernorm.")) return true;
    /* the text tower beside an image tower */
    return kh_ends_with(s->prefix, "visual.trunk.") || kh_ends_with(s->prefix, "visual.")
               ? !kh_starts_with(beside, "visual.")
               : false;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static kh_status list_unexpected(const kh_sources *s, const kh_config *config, name_list *list,
                                 kh_error *err) {
    size_t used_count = 0;
    for (size_t i = 0; i < s->count; i++)
        used_count += s->items[i].parts;
    const char **used = kh_calloc(used_count + 1, sizeof *used);
    if (!used) return kh_fail(err, KH_E_MEMORY, "no memory for %zu names", used_count);
    size_t at = 0;
    for (size_t i = 0; i < s->count; i++)
        for (size_t k = 0; k < s->items[i].parts; k++)
            used[at++] = s->items[i].file[k].name;
    qsort((void *)used, used_count, sizeof *used, by_name);
    for (size_t i = 0; i < kh_tensors_count(s->tensors); i++) {
        const char *name = kh_tensors_get(s->tensors, i).name;
        if (!bsearch(&name, (const void *)used, used_count, sizeof *used, by_name) &&
            !is_ignored(s, config, name))
            list_add(list, name);
    }
    kh_free((void *)used);
    return KH_OK;
}

/* What often lies behind a mismatch. */
static const char *hint(const kh_config *config, const name_list *missing,
                        const name_list *unexpected) {
    const char *m = missing->text.data ? missing->text.data : "";
    const char *u = unexpected->text.data ? unexpected->text.data : "";
    if (strstr(u, "fc_norm.") && strstr(m, "norm."))
        return " The weights pool by the mean (fc_norm): set \"global_pool\": \"avg\" in "
               "model_args.";
    if (strstr(m, "head.weight") || strstr(m, "classifier."))
        return " The weights have no classifier: set num_classes to 0.";
    if (strstr(u, "head.weight") || strstr(u, "classifier.weight"))
        return " The weights have a classifier that config.json does not speak of: set "
               "num_classes (or architectures).";
    if (strstr(u, "ls1.gamma") && !config->layer_scale)
        return " The weights have LayerScale: is the architecture's name right?";
    return "";
}

kh_status kh_sources_match(kh_sources *s, const kh_config *config, const kh_tensor_table *table,
                           kh_error *err) {
    name_list missing = {0}, unexpected = {0};
    kh_status status = KH_OK;
    s->items = kh_calloc(table->count, sizeof *s->items);
    if (!s->items) return kh_fail(err, KH_E_MEMORY, "no memory for %zu tensors", table->count);
    for (size_t i = 0; i < table->count; i++) {
        char lacking[NAME_BYTES] = "";
        if (!find_source(s, table->items[i].name, &s->items[s->count], lacking)) {
            s->items[s->count].parts = 0;
            list_add(&missing, lacking);
        }
        s->count++;
    }
    KH_GO(list_unexpected(s, config, &unexpected, err));
    if (missing.count || unexpected.count) {
        status = kh_fail(err, KH_E_FORMAT,
                         "the weights do not fit %s: %zu tensors missing%s%s%s, %zu not "
                         "expected%s%s%s.%s",
                         config->architecture, missing.count, missing.count ? " (" : "",
                         missing.text.data ? missing.text.data : "", missing.count ? ")" : "",
                         unexpected.count, unexpected.count ? " (" : "",
                         unexpected.text.data ? unexpected.text.data : "",
                         unexpected.count ? ")" : "", hint(config, &missing, &unexpected));
        goto done;
    }
    for (size_t i = 0; i < table->count; i++)
        KH_GO(check_shape(s, config, &table->items[i], &s->items[i], err));
done:
    kh_text_clear(&missing.text);
    kh_text_clear(&unexpected.text);
    return status;
}
