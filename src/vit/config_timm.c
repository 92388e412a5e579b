/* config.json as timm's save_for_hf writes it, and the older flat form. */
#include "base/text.h"
#include "vit/config.h"
#include "vit/json_get.h"
#include "vit/labels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WHAT "config.json"

/* timm's pooling before fc_norm is decided. */
typedef struct timm_pool {
    enum { POOL_TOKEN, POOL_AVG, POOL_MAP } kind;
    int fc_norm; /* -1: when the pooling is avg */
} timm_pool;

static timm_pool pool_of(const kh_config *c) {
    switch (c->pool) {
    case KH_POOL_AVG:
        return (timm_pool){POOL_AVG, 0};
    case KH_POOL_AVG_FC:
        return (timm_pool){POOL_AVG, -1};
    case KH_POOL_MAP:
        return (timm_pool){POOL_MAP, -1};
    default:
        return (timm_pool){POOL_TOKEN, -1};
    }
}

static kh_status read_pool(const json_t *args, timm_pool *pool, kh_error *err) {
    char name[32] = "";
    KH_TRY(kh_get_text(args, "config.json: model_args", "global_pool", name, sizeof name, err));
    if (name[0]) {
        if (strcmp(name, "token") == 0)
            pool->kind = POOL_TOKEN;
        else if (strcmp(name, "avg") == 0)
            pool->kind = POOL_AVG;
        else if (strcmp(name, "map") == 0)
            pool->kind = POOL_MAP;
        else {
            char shown[KH_SHOWN_BYTES];
            return kh_fail(err, KH_E_UNSUPPORTED,
                           "config.json: global_pool '%s' is not token, avg or map",
                           kh_shown(name, strlen(name), shown, sizeof shown));
        }
    }
    if (kh_get(args, "fc_norm")) {
        bool fc_norm = false;
        KH_TRY(kh_get_bool(args, "config.json: model_args", "fc_norm", &fc_norm, err));
        pool->fc_norm = fc_norm;
    }
    return KH_OK;
}

static kh_status set_pool(kh_config *c, timm_pool pool, kh_error *err) {
    const bool fc_norm = pool.fc_norm < 0 ? pool.kind == POOL_AVG : pool.fc_norm;
    if (fc_norm && pool.kind != POOL_AVG)
        return kh_fail(err, KH_E_UNSUPPORTED, "config.json: fc_norm without global_pool avg");
    if (pool.kind == POOL_AVG)
        c->pool = fc_norm ? KH_POOL_AVG_FC : KH_POOL_AVG;
    else if (pool.kind == POOL_MAP)
        c->pool = KH_POOL_MAP;
    else
        c->pool = c->distill_token ? KH_POOL_DISTILL : KH_POOL_TOKEN;
    if (c->pool == KH_POOL_AVG && c->distill_token)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "config.json: averaged patches beside a distillation head");
    return KH_OK;
}

/* Keys that need a certain value because nothing else is implemented. */
static kh_status check_fixed(const json_t *args, kh_error *err) {
    const char *what = "config.json: model_args";
    bool include_prefix = false, final_norm = true, pad = false;
    size_t channels = 3;
    KH_TRY(kh_get_bool(args, what, "pool_include_prefix", &include_prefix, err));
    KH_TRY(kh_get_bool(args, what, "final_norm", &final_norm, err));
    KH_TRY(kh_get_bool(args, what, "dynamic_img_pad", &pad, err));
    KH_TRY(kh_get_size(args, what, "in_chans", 1, 1024, &channels, err));
    if (include_prefix)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s: pool_include_prefix true is not supported",
                       what);
    if (!final_norm)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s: final_norm false is not supported", what);
    if (pad)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s: dynamic_img_pad true is not supported", what);
    if (channels != 3)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s: in_chans is %zu, only 3 is supported", what,
                       channels);
    char text[32] = "learn";
    KH_TRY(kh_get_text(args, what, "pos_embed", text, sizeof text, err));
    if (strcmp(text, "learn") != 0)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s: pos_embed other than 'learn' is not supported",
                       what);
    return KH_OK;
}

static kh_status check_keys(const json_t *args, kh_error *err) {
    static const char *const known[] = {
        "img_size",   "patch_size", "in_chans",         "num_classes",    "global_pool",
        "embed_dim",  "depth",      "num_heads",        "mlp_ratio",      "qkv_bias",
        "qk_norm",    "proj_bias",  "init_values",      "class_token",    "pos_embed",
        "reg_tokens", "pre_norm",   "final_norm",       "fc_norm",        "pool_include_prefix",
        "act_layer",  "norm_layer", "dynamic_img_size", "no_embed_class", "dynamic_img_pad",
    };
    void *at = json_object_iter((json_t *)(uintptr_t)args);
    for (; at; at = json_object_iter_next((json_t *)(uintptr_t)args, at)) {
        const char *key = json_object_iter_key(at);
        bool is_known = strstr(key, "_drop") != NULL || kh_starts_with(key, "drop_");
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            if (strcmp(key, known[i]) == 0) is_known = true;
        char shown[KH_SHOWN_BYTES];
        if (!is_known)
            return kh_fail(err, KH_E_UNSUPPORTED,
                           "config.json: model_args has '%s', which keyhole does not know; it may "
                           "change what the model computes",
                           kh_shown(key, strlen(key), shown, sizeof shown));
    }
    return KH_OK;
}

static kh_status read_args(const json_t *args, kh_config *c, timm_pool *pool, bool *has_image,
                           kh_error *err) {
    const char *what = "config.json: model_args";
    KH_TRY(check_keys(args, err));
    KH_TRY(check_fixed(args, err));
    *has_image = kh_get(args, "img_size") != NULL;
    KH_TRY(kh_get_size_pair(args, what, "img_size", 1, 4096, &c->height, &c->width, err));
    size_t patch_width = c->patch;
    KH_TRY(kh_get_size_pair(args, what, "patch_size", 1, 64, &c->patch, &patch_width, err));
    if (patch_width != c->patch)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s: patches of %zux%zu are not square", what,
                       c->patch, patch_width);
    KH_TRY(kh_get_size(args, what, "num_classes", 0, 1000000, &c->classes, err));
    KH_TRY(kh_get_size(args, what, "embed_dim", 16, 8192, &c->dim, err));
    KH_TRY(kh_get_size(args, what, "depth", 1, 256, &c->blocks, err));
    KH_TRY(kh_get_size(args, what, "num_heads", 1, 8192, &c->heads, err));
    KH_TRY(kh_get_double(args, what, "mlp_ratio", 0.01, 1000, &c->mlp_ratio, err));
    KH_TRY(kh_get_bool(args, what, "qkv_bias", &c->qkv_bias, err));
    KH_TRY(kh_get_bool(args, what, "qk_norm", &c->qk_norm, err));
    KH_TRY(kh_get_bool(args, what, "proj_bias", &c->proj_bias, err));
    KH_TRY(kh_get_bool(args, what, "class_token", &c->class_token, err));
    KH_TRY(kh_get_size(args, what, "reg_tokens", 0, 64, &c->registers, err));
    if (kh_get(args, "init_values")) {
        double scale = 0;
        KH_TRY(kh_get_double(args, what, "init_values", -1e6, 1e6, &scale, err));
        c->layer_scale = scale != 0;
    } else if (json_object_get(args, "init_values")) {
        c->layer_scale = false; /* null */
    }
    bool no_embed_class = !c->pos_has_prefix;
    KH_TRY(kh_get_bool(args, what, "no_embed_class", &no_embed_class, err));
    c->pos_has_prefix = !no_embed_class;
    KH_TRY(kh_get_bool(args, what, "pre_norm", &c->norm_pre, err));
    c->patch_bias = !c->norm_pre;
    char name[64] = "";
    KH_TRY(kh_get_text(args, what, "act_layer", name, sizeof name, err));
    if (name[0] && !kh_activation_parse(name, &c->act)) {
        char shown[KH_SHOWN_BYTES];
        return kh_fail(err, KH_E_UNSUPPORTED, "%s: unknown activation '%s'", what,
                       kh_shown(name, strlen(name), shown, sizeof shown));
    }
    name[0] = '\0';
    KH_TRY(kh_get_text(args, what, "norm_layer", name, sizeof name, err));
    if (name[0]) {
        if (strcmp(name, "layernorm") != 0)
            return kh_fail(err, KH_E_UNSUPPORTED, "%s: norm_layer other than 'layernorm'", what);
        c->eps = 1e-6; /* timm's LayerNorm class; the family's own epsilon is replaced */
    }
    return read_pool(args, pool, err);
}

static kh_status read_preprocess(const json_t *cfg, kh_preprocess *how, size_t input[2],
                                 kh_warner warner, kh_error *err) {
    const char *what = WHAT ": pretrained_cfg";
    const json_t *size = kh_get(cfg, "input_size");
    if (size) {
        size_t chw[3];
        if (!json_is_array(size) || json_array_size(size) != 3)
            return kh_fail(err, KH_E_FORMAT, "%s: 'input_size' is not [3, height, width]", what);
        for (size_t i = 0; i < 3; i++) {
            const json_t *value = json_array_get(size, i);
            if (!json_is_integer(value) || json_integer_value(value) < 1 ||
                json_integer_value(value) > 4096)
                return kh_fail(err, KH_E_LIMIT, "%s: 'input_size' entries must be 1 to 4096", what);
            chw[i] = (size_t)json_integer_value(value);
        }
        if (chw[0] != 3)
            return kh_fail(err, KH_E_UNSUPPORTED, "%s: %zu image channels, only 3 are supported",
                           what, chw[0]);
        input[0] = chw[1];
        input[1] = chw[2];
    }
    how->crop_pct = 0.875;
    how->filter = KH_FILTER_BICUBIC;
    how->crop = KH_CROP_CENTER;
    const kh_preprocess plain = kh_preprocess_default();
    memcpy(how->mean, plain.mean, sizeof how->mean);
    memcpy(how->std, plain.std, sizeof how->std);
    KH_TRY(kh_get_triple(cfg, what, "mean", how->mean, err));
    KH_TRY(kh_get_triple(cfg, what, "std", how->std, err));
    for (size_t i = 0; i < 3; i++)
        if (!(how->std[i] > 0))
            return kh_fail(err, KH_E_LIMIT, "%s: 'std' has %g, expected above 0", what,
                           how->std[i]);
    KH_TRY(kh_get_double(cfg, what, "crop_pct", 0, 16, &how->crop_pct, err));
    if (!(how->crop_pct > 0)) how->crop_pct = 0.875;
    char name[64] = "", shown[KH_SHOWN_BYTES];
    KH_TRY(kh_get_text(cfg, what, "crop_mode", name, sizeof name, err));
    if (strcmp(name, "squash") == 0)
        how->crop = KH_CROP_SQUASH;
    else if (strcmp(name, "border") == 0)
        how->crop = KH_CROP_BORDER;
    else if (name[0] && strcmp(name, "center") != 0)
        kh_warn(warner, "crop_mode '%s' is unknown; timm crops the centre then, and so do we",
                kh_shown(name, strlen(name), shown, sizeof shown));
    static const struct {
        const char *name;
        kh_filter filter;
    } filters[] = {{"bilinear", KH_FILTER_BILINEAR},
                   {"bicubic", KH_FILTER_BICUBIC},
                   {"lanczos", KH_FILTER_LANCZOS},
                   {"box", KH_FILTER_BOX},
                   {"hamming", KH_FILTER_HAMMING}};
    name[0] = '\0';
    KH_TRY(kh_get_text(cfg, what, "interpolation", name, sizeof name, err));
    if (!name[0]) return KH_OK;
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        if (strcmp(name, filters[i].name) == 0) {
            how->filter = filters[i].filter;
            return KH_OK;
        }
    return kh_fail(err, KH_E_UNSUPPORTED,
                   "%s: interpolation '%s' is not bilinear, bicubic, lanczos, box or hamming", what,
                   kh_shown(name, strlen(name), shown, sizeof shown));
}

static bool notes_quick_gelu(const json_t *cfg) {
    const json_t *notes = kh_get(cfg, "notes");
    for (size_t i = 0; i < json_array_size(notes); i++) {
        const char *note = json_string_value(json_array_get(notes, i));
        if (note && strstr(note, "QuickGELU")) return true;
    }
    return false;
}

/* A CLIP head is a projection unless something says it was trained on classes. */
static bool is_projection(const kh_config *c) {
    static const size_t widths[] = {512, 640, 768, 1024, 1280};
    if (!kh_starts_with(c->family, "clip") || c->labels || strstr(c->tag, "ft_")) return false;
    for (size_t i = 0; i < sizeof widths / sizeof widths[0]; i++)
        if (c->classes == widths[i]) return true;
    return false;
}

static void warn_disagreement(const json_t *root, const kh_config *c, kh_warner warner) {
    const char *pool = json_string_value(kh_get(root, "global_pool"));
    const char *ours = c->pool == KH_POOL_MAP                                ? "map"
                       : c->pool == KH_POOL_AVG || c->pool == KH_POOL_AVG_FC ? "avg"
                                                                             : "token";
    char shown[32];
    if (pool && pool[0] && strcmp(pool, ours) != 0)
        kh_warn(warner,
                "config.json says global_pool '%s', but the architecture pools by '%s'; timm "
                "follows the architecture (and model_args), and so do we",
                kh_shown(pool, strlen(pool), shown, sizeof shown), ours);
    const json_t *features = kh_get(root, "num_features");
    if (json_is_integer(features) && json_integer_value(features) != (json_int_t)c->dim)
        kh_warn(warner, "config.json says num_features %lld, but the model is %zu wide",
                (long long)json_integer_value(features), c->dim);
}

/* "timm/vit_base_patch16_224.augreg_in21k" -> name and tag */
static kh_status split_name(const char *text, char *name, size_t name_room, char *tag,
                            size_t tag_room, kh_error *err) {
    const char *slash = strrchr(text, '/');
    if (slash) text = slash + 1;
    const size_t length = strcspn(text, ".");
    if (length >= name_room)
        return kh_fail(err, KH_E_LIMIT, "config.json: 'architecture' is %zu bytes long", length);
    memcpy(name, text, length);
    name[length] = '\0';
    if (text[length] == '.') (void)snprintf(tag, tag_room, "%s", text + length + 1);
    return KH_OK;
}

static kh_status read_labels(const json_t *root, const json_t *cfg, kh_config *c, kh_error *err) {
    const json_t *names = kh_get(root, "label_names");
    if (!names) names = kh_get(cfg, "label_names");
    if (!names && cfg == root) names = kh_get(root, "labels");
    const json_t *texts = kh_get(root, "label_descriptions");
    if (!texts) texts = kh_get(cfg, "label_descriptions");
    return kh_labels_timm(names, texts, c->classes, &c->labels, err);
}

static kh_status fill(const json_t *root, kh_config *c, kh_warner warner, kh_error *err) {
    const json_t *cfg = kh_get(root, "pretrained_cfg");
    if (cfg && !json_is_object(cfg))
        return kh_fail(err, KH_E_FORMAT, WHAT ": 'pretrained_cfg' is not an object");
    if (!cfg) cfg = root; /* the older flat form */
    const char *what = cfg == root ? WHAT : WHAT ": pretrained_cfg";
    KH_TRY(kh_get_text(cfg, what, "tag", c->tag, sizeof c->tag, err));
    if (kh_get(cfg, "num_classes") || kh_get(root, "num_classes")) {
        KH_TRY(kh_get_size(cfg, what, "num_classes", 0, 1000000, &c->classes, err));
        KH_TRY(kh_get_size(root, WHAT, "num_classes", 0, 1000000, &c->classes, err));
    } else {
        c->classes = 1000;
    }
    KH_TRY(kh_get_size(cfg, what, "label_offset", 0, 1000000, &c->label_offset, err));
    size_t input[2] = {224, 224};
    KH_TRY(read_preprocess(cfg, &c->preprocess, input, warner, err));
    bool fixed = false, has_image = false;
    KH_TRY(kh_get_bool(cfg, what, "fixed_input_size", &fixed, err));

    timm_pool pool = pool_of(c);
    const json_t *args = kh_get(root, "model_args");
    if (args && !json_is_object(args))
        return kh_fail(err, KH_E_FORMAT, WHAT ": 'model_args' is not an object");
    if (args) KH_TRY(read_args(args, c, &pool, &has_image, err));
    KH_TRY(set_pool(c, pool, err));
    if (fixed && !has_image) {
        c->height = input[0];
        c->width = input[1];
    }
    c->preprocess.height = c->height;
    c->preprocess.width = c->width;
    c->natively_quick_gelu = notes_quick_gelu(cfg);
    KH_TRY(read_labels(root, cfg, c, err));
    c->head_is_projection = is_projection(c);
    warn_disagreement(root, c, warner);
    return KH_OK;
}

kh_status kh_config_timm(const json_t *root, const char *architecture, kh_warner warner,
                         kh_config *out, kh_error *err) {
    memset(out, 0, sizeof *out);
    char name[96], tag[64] = "";
    if (!architecture) architecture = json_string_value(kh_get(root, "architecture"));
    if (!architecture)
        return kh_fail(err, KH_E_FORMAT,
                       WHAT ": no 'architecture' (timm) and no 'model_type' "
                            "(transformers); is this a model's config.json?");
    KH_TRY(split_name(architecture, name, sizeof name, tag, sizeof tag, err));
    kh_config c;
    KH_TRY(kh_config_registered(name, &c, err));
    (void)snprintf(c.tag, sizeof c.tag, "%s", tag);
    kh_status status = root ? fill(root, &c, warner, err) : KH_OK;
    if (!root) c.head_is_projection = is_projection(&c);
    (void)snprintf(tag, sizeof tag, "%s", c.tag); /* a stranger's text that many places print */
    (void)kh_shown(tag, strlen(tag), c.tag, sizeof c.tag);
    if (!status) status = kh_config_check(&c, err);
    if (status) {
        kh_config_clear(&c);
        return status;
    }
    *out = c;
    return KH_OK;
}
