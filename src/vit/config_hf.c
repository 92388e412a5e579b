/* config.json of transformers: vit, deit, dinov2, dinov2_with_registers, clip, siglip. Files leave
 * out what equals the class's default, so the defaults below matter. */
#include "base/text.h"
#include "vit/config.h"
#include "vit/json_get.h"
#include "vit/labels.h"
#include "vit/names.h"

#include <stdio.h>
#include <string.h>

#define WHAT "config.json"

typedef struct model_type {
    const char *name;
    const char *tower; /* key of the image tower's own object, NULL when the root is it */
    const char *family;
    const kh_name_scheme *names;
    double eps;
    kh_activation act;
    size_t patch;
    bool is_dinov2;
} model_type;

static const model_type types[] = {
    {"vit", NULL, "vit", &kh_names_hf_vit, 1e-12, KH_ACT_GELU, 16, false},
    {"deit", NULL, "deit_distilled", &kh_names_hf_vit, 1e-12, KH_ACT_GELU, 16, false},
    {"dinov2", NULL, "dinov2", &kh_names_hf_dinov2, 1e-6, KH_ACT_GELU, 14, true},
    {"dinov2_with_registers", NULL, "dinov2_reg", &kh_names_hf_dinov2, 1e-6, KH_ACT_GELU, 16, true},
    {"clip_vision_model", NULL, "clip", &kh_names_hf_clip, 1e-5, KH_ACT_QUICK_GELU, 32, false},
    {"clip", "vision_config", "clip", &kh_names_hf_clip, 1e-5, KH_ACT_QUICK_GELU, 32, false},
    {"siglip_vision_model", NULL, "siglip", &kh_names_hf_siglip, 1e-6, KH_ACT_GELU_TANH, 16, false},
    {"siglip", "vision_config", "siglip", &kh_names_hf_siglip, 1e-6, KH_ACT_GELU_TANH, 16, false},
};

static kh_status find_type(const json_t *root, const model_type **out, kh_error *err) {
    char name[64] = "", shown[KH_SHOWN_BYTES];
    KH_TRY(kh_get_text(root, WHAT, "model_type", name, sizeof name, err));
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(name, types[i].name) == 0) {
            *out = &types[i];
            return KH_OK;
        }
    return kh_fail(
        err, KH_E_UNSUPPORTED,
        "unsupported architecture: model_type '%s' (config.json); supported are vit, deit, "
        "dinov2, dinov2_with_registers, clip, siglip (docs/models.md)",
        kh_shown(name, strlen(name), shown, sizeof shown));
}

static kh_status read_sizes(const json_t *t, const model_type *type, kh_config *c, kh_error *err) {
    c->dim = 768;
    c->blocks = c->heads = 12;
    c->patch = type->patch;
    c->height = c->width = 224;
    c->eps = type->eps;
    c->act = type->act;
    c->qkv_bias = c->proj_bias = c->patch_bias = true;
    size_t channels = 3, patch_width = c->patch;
    KH_TRY(kh_get_size(t, WHAT, "hidden_size", 16, 8192, &c->dim, err));
    KH_TRY(kh_get_size(t, WHAT, "num_hidden_layers", 1, 256, &c->blocks, err));
    KH_TRY(kh_get_size(t, WHAT, "num_attention_heads", 1, 8192, &c->heads, err));
    KH_TRY(kh_get_double(t, WHAT, "layer_norm_eps", 0, 1, &c->eps, err));
    KH_TRY(kh_get_size_pair(t, WHAT, "image_size", 1, 4096, &c->height, &c->width, err));
    KH_TRY(kh_get_size_pair(t, WHAT, "patch_size", 1, 64, &c->patch, &patch_width, err));
    KH_TRY(kh_get_size(t, WHAT, "num_channels", 1, 1024, &channels, err));
    KH_TRY(kh_get_bool(t, WHAT, "qkv_bias", &c->qkv_bias, err));
    if (patch_width != c->patch)
        return kh_fail(err, KH_E_UNSUPPORTED, WHAT ": patches of %zux%zu are not square", c->patch,
                       patch_width);
    if (channels != 3)
        return kh_fail(err, KH_E_UNSUPPORTED, WHAT ": %zu image channels, only 3 are supported",
                       channels);
    char act[64] = "", shown[KH_SHOWN_BYTES];
    KH_TRY(kh_get_text(t, WHAT, "hidden_act", act, sizeof act, err));
    if (act[0] && !kh_activation_parse(act, &c->act))
        return kh_fail(err, KH_E_UNSUPPORTED, WHAT ": activation '%s' is not supported",
                       kh_shown(act, strlen(act), shown, sizeof shown));
    return KH_OK;
}

/* intermediate_size, or mlp_ratio as DINOv2 rounds it; the weights' shape must agree */
static kh_status read_neurons(const json_t *t, const model_type *type, kh_config *c,
                              kh_error *err) {
    size_t hidden = 3072;
    if (type->is_dinov2) {
        double ratio = 4;
        KH_TRY(kh_get_double(t, WHAT, "mlp_ratio", 0.01, 1000, &ratio, err));
        KH_TRY(kh_get_bool(t, WHAT, "use_swiglu_ffn", &c->gated, err));
        hidden = (size_t)((double)c->dim * ratio);
        if (c->gated) {
            hidden = ((size_t)((double)hidden * 2 / 3) + 7) / 8 * 8;
            c->act = KH_ACT_SILU;
        }
    } else {
        KH_TRY(kh_get_size(t, WHAT, "intermediate_size", 1, 1048576, &hidden, err));
    }
    c->neurons = hidden;
    return KH_OK;
}

static void set_family(const model_type *type, kh_config *c) {
    const bool is_clip = strcmp(type->family, "clip") == 0;
    const bool is_siglip = strcmp(type->family, "siglip") == 0;
    (void)snprintf(c->family, sizeof c->family, "%s%s", type->family,
                   type->is_dinov2 && c->gated               ? "_giant"
                   : is_clip && c->act == KH_ACT_QUICK_GELU  ? "_quickgelu"
                   : is_siglip && c->act == KH_ACT_GELU_TANH ? "_tanh"
                                                             : "");
    c->class_token = !is_siglip;
    c->distill_token = strcmp(type->name, "deit") == 0;
    c->layer_scale = type->is_dinov2;
    c->norm_pre = is_clip;
    c->patch_bias = !is_clip;
    c->pos_has_prefix = c->registers == 0;
    c->pos_filter =
        strcmp(type->name, "dinov2_with_registers") == 0 ? KH_POS_CUBIC_ANTIALIAS : KH_POS_CUBIC;
    c->pos_must_fit = true;
    c->prefer_crop = type->is_dinov2;
    c->names = type->names;
}

/* Two classes is what transformers assumes when nothing is said. */
static kh_status count_classes(const json_t *root, size_t *out, kh_error *err) {
    const json_t *labels = kh_get(root, "id2label");
    *out = 2;
    if (labels && !json_is_object(labels))
        return kh_fail(err, KH_E_FORMAT, WHAT ": 'id2label' is not an object");
    if (labels)
        *out = json_object_size(labels);
    else
        KH_TRY(kh_get_size(root, WHAT, "num_labels", 0, 1000000, out, err));
    if (*out > 1000000) return kh_fail(err, KH_E_LIMIT, WHAT ": %zu classes", *out);
    return KH_OK;
}

/* architectures[0] decides what the pooled tokens go through. */
static kh_status set_head(const json_t *root, const json_t *tower, const model_type *type,
                          kh_config *c, kh_error *err) {
    const char *name = json_string_value(json_array_get(kh_get(root, "architectures"), 0));
    if (!name) name = "";
    const bool is_classifier = strstr(name, "ForImageClassification") != NULL;
    const bool is_clip = strcmp(c->family, "clip") == 0 || kh_starts_with(c->family, "clip_");
    const bool is_siglip = kh_starts_with(c->family, "siglip");
    c->pool = KH_POOL_TOKEN;
    if (is_classifier) {
        KH_TRY(count_classes(root, &c->classes, err));
        if (type->is_dinov2) c->pool = KH_POOL_CLS_AVG;
        if (is_clip) c->pool = KH_POOL_RAW_AVG;
        if (is_siglip) {
            c->pool = KH_POOL_AVG;
            c->map_pool_unused = true;
        }
        if (c->distill_token && strstr(name, "WithTeacher")) c->pool = KH_POOL_DISTILL;
        return kh_labels_hf(kh_get(root, "id2label"), c->classes, &c->labels, err);
    }
    if (is_siglip) {
        bool has_head = true;
        KH_TRY(kh_get_bool(tower, WHAT, "vision_use_head", &has_head, err));
        c->pool = has_head ? KH_POOL_MAP : KH_POOL_AVG;
    }
    if (is_clip && (strstr(name, "WithProjection") || strcmp(name, "CLIPModel") == 0)) {
        c->classes = 512;
        KH_TRY(kh_get_size(tower, WHAT, "projection_dim", 1, 65536, &c->classes, err));
        if (tower != root)
            KH_TRY(kh_get_size(root, WHAT, "projection_dim", 1, 65536, &c->classes, err));
        c->head_is_projection = true;
    }
    return KH_OK;
}

/* Without a file the class's defaults hold, at the model's own size. */
static kh_status set_preprocess(const json_t *processor, const model_type *type, kh_warner warner,
                                kh_config *c, kh_error *err) {
    if (processor) return kh_preprocess_hf(processor, type->name, &c->preprocess, err);
    json_t *empty = json_object();
    if (!empty) return kh_fail(err, KH_E_MEMORY, "no memory for an empty object");
    const kh_status status = kh_preprocess_hf(empty, type->name, &c->preprocess, err);
    json_decref(empty);
    if (status) return status;
    kh_warn(warner,
            "no preprocessor_config.json: images are prepared by the defaults of transformers for "
            "'%s'",
            type->name);
    kh_preprocess *how = &c->preprocess;
    if (how->shortest_edge)
        how->shortest_edge = c->height < c->width ? c->height : c->width;
    else if (!how->do_crop) {
        how->resize_height = c->height;
        how->resize_width = c->width;
    }
    if (how->do_crop) {
        how->crop_height = c->height;
        how->crop_width = c->width;
    }
    how->height = c->height;
    how->width = c->width;
    return KH_OK;
}

kh_status kh_config_hf(const json_t *root, const json_t *processor, kh_warner warner,
                       kh_config *out, kh_error *err) {
    memset(out, 0, sizeof *out);
    kh_config c = {0};
    const model_type *type = &types[0];
    KH_TRY(find_type(root, &type, err));
    const json_t *tower = root;
    if (type->tower) {
        tower = kh_get(root, type->tower);
        if (!json_is_object(tower))
            return kh_fail(err, KH_E_FORMAT, WHAT ": no '%s' object", type->tower);
    }
    (void)snprintf(c.layout, sizeof c.layout, "transformers");
    const char *name = json_string_value(json_array_get(kh_get(root, "architectures"), 0));
    kh_shown(name ? name : type->name, strlen(name ? name : type->name), c.architecture,
             sizeof c.architecture);
    kh_status status;
    KH_GO(read_sizes(tower, type, &c, err));
    KH_GO(read_neurons(tower, type, &c, err));
    if (strcmp(type->name, "dinov2_with_registers") == 0) {
        c.registers = 4;
        KH_GO(kh_get_size(tower, WHAT, "num_register_tokens", 0, 64, &c.registers, err));
    }
    set_family(type, &c);
    KH_GO(set_head(root, tower, type, &c, err));
    KH_GO(set_preprocess(processor, type, warner, &c, err));
    if (c.prefer_crop) {
        /* the processor's crop decides; positions are interpolated to it on every call */
    } else if (c.preprocess.height != c.height || c.preprocess.width != c.width) {
        kh_warn(warner,
                "preprocessor_config.json makes images of %zux%zu, but the model takes %zux%zu",
                c.preprocess.height, c.preprocess.width, c.height, c.width);
    }
    KH_GO(kh_config_check(&c, err));
done:
    if (status)
        kh_config_clear(&c);
    else
        *out = c;
    return status;
}
