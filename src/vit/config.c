#include "vit/config.h"

#include "base/checked.h"
#include "base/text.h"
#include "vit/registry.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void kh_config_clear(kh_config *config) {
    if (!config) return;
    kh_classes_free(config->labels);
    config->labels = NULL;
}

size_t kh_config_prefix(const kh_config *config) {
    return (size_t)config->class_token + (size_t)config->distill_token + config->registers;
}

void kh_warn(kh_warner warner, const char *format, ...) {
    if (!warner.warn) return;
    char text[1024];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof text, format, list);
    va_end(list);
    warner.warn(warner.user, text);
}

kh_status kh_config_check(const kh_config *c, kh_error *err) {
    if (c->dim < 16 || c->dim > 8192)
        return kh_fail(err, KH_E_LIMIT, "embedding width is %zu, expected 16 to 8192", c->dim);
    if (c->blocks < 1 || c->blocks > 256)
        return kh_fail(err, KH_E_LIMIT, "depth is %zu, expected 1 to 256", c->blocks);
    if (c->heads < 1 || c->dim % c->heads)
        return kh_fail(err, KH_E_SHAPE, "%zu heads do not divide an embedding width of %zu",
                       c->heads, c->dim);
    if (c->patch < 1 || c->patch > 64)
        return kh_fail(err, KH_E_LIMIT, "patch size is %zu, expected 1 to 64", c->patch);
    if (c->height > 4096 || c->width > 4096)
        return kh_fail(err, KH_E_LIMIT, "image size is %zux%zu, expected at most 4096x4096",
                       c->height, c->width);
    if (c->height < c->patch || c->width < c->patch)
        return kh_fail(err, KH_E_SHAPE, "image size %zux%zu is smaller than one patch of %zu",
                       c->height, c->width, c->patch);
    if (c->classes > 1000000 || c->label_offset > 1000000)
        return kh_fail(err, KH_E_LIMIT, "%zu classes (and %zu to skip), expected at most 1000000",
                       c->classes, c->label_offset);
    if (c->registers > 64)
        return kh_fail(err, KH_E_LIMIT, "%zu register tokens, expected at most 64", c->registers);
    const size_t tokens = kh_config_prefix(c) + (c->height / c->patch) * (c->width / c->patch);
    if (tokens > 65536)
        return kh_fail(err, KH_E_LIMIT, "%zu tokens, expected at most 65536", tokens);
    if (!(c->eps > 0 && c->eps < 1))
        return kh_fail(err, KH_E_LIMIT, "norm epsilon is %g, expected between 0 and 1", c->eps);
    const bool needs_class =
        c->pool == KH_POOL_TOKEN || c->pool == KH_POOL_DISTILL || c->pool == KH_POOL_CLS_AVG;
    if (needs_class && !c->class_token)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "the pooling takes the class token, but the model has none");
    if (c->pool == KH_POOL_DISTILL && !c->distill_token)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "the pooling takes a distillation token, but the model has none");
    return KH_OK;
}

static const struct {
    const char *name;
    kh_activation act;
} activation_names[] = {
    {"gelu", KH_ACT_GELU},
    {"gelu_tanh", KH_ACT_GELU_TANH},
    {"quick_gelu", KH_ACT_QUICK_GELU},
    {"silu", KH_ACT_SILU},
    {"gelu_erf", KH_ACT_GELU},
    {"gelu_pytorch_tanh", KH_ACT_GELU_TANH},
    {"gelu_new", KH_ACT_GELU_TANH},
    {"gelu_fast", KH_ACT_GELU_TANH},
    {"quickgelu", KH_ACT_QUICK_GELU},
    {"swish", KH_ACT_SILU},
};

bool kh_activation_parse(const char *name, kh_activation *out) {
    for (size_t i = 0; i < sizeof activation_names / sizeof activation_names[0]; i++)
        if (strcmp(name, activation_names[i].name) == 0) {
            *out = activation_names[i].act;
            return true;
        }
    return false;
}

const char *kh_activation_name(kh_activation act) {
    for (size_t i = 0; i < sizeof activation_names / sizeof activation_names[0]; i++)
        if (activation_names[i].act == act) return activation_names[i].name;
    return "none";
}

/* Registered names that begin alike, to help with a misspelt one. */
static void add_similar(kh_text *text, const char *name) {
    size_t best = 0;
    for (size_t i = 0; i < kh_registry_count(); i++) {
        const char *known = kh_registry_get(i)->name;
        size_t same = 0;
        while (name[same] && name[same] == known[same])
            same++;
        if (same > best) best = same;
    }
    if (best < 4) return;
    size_t shown = 0;
    for (size_t i = 0; i < kh_registry_count() && shown < 5; i++) {
        const char *known = kh_registry_get(i)->name;
        if (strncmp(known, name, best) != 0) continue;
        kh_text_addf(text, "%s%s", shown ? ", " : "; similar names: ", known);
        shown++;
    }
}

kh_status kh_config_registered(const char *architecture, kh_config *out, kh_error *err) {
    const kh_architecture *known = kh_registry_find(architecture);
    if (!known) {
        char shown[KH_SHOWN_BYTES];
        kh_shown(architecture, strlen(architecture), shown, sizeof shown);
        const char *reason = kh_unsupported_name(architecture);
        if (reason)
            return kh_fail(err, KH_E_UNSUPPORTED, "unsupported architecture: %s (%s); %s", shown,
                           reason, KH_SUPPORTED_FAMILIES);
        kh_text similar = {0};
        add_similar(&similar, architecture);
        const kh_status status = kh_fail(
            err, KH_E_UNSUPPORTED,
            "unknown architecture '%s': its head count, norm epsilon, activation and pooling "
            "cannot be read off the weights. Name a registered one with the same block "
            "(--architecture), and give num_heads, act_layer, global_pool and sizes in "
            "config.json's model_args%s; %s",
            shown, similar.data ? similar.data : "", KH_SUPPORTED_FAMILIES);
        kh_text_clear(&similar);
        return status;
    }
    const kh_family *f = known->family;
    kh_config c = {
        .dim = known->size.dim,
        .blocks = known->size.blocks,
        .heads = known->size.heads,
        .mlp_ratio = known->size.mlp_ratio,
        .patch = known->patch,
        .height = known->side,
        .width = known->side,
        .class_token = f->class_token,
        .distill_token = f->distill_token,
        .registers = f->registers,
        .pos_has_prefix = f->pos_has_prefix,
        .qkv_bias = !f->no_qkv_bias,
        .proj_bias = true,
        .layer_scale = f->layer_scale,
        .norm_pre = f->norm_pre,
        .patch_bias = !f->norm_pre,
        .gated = f->gated,
        .post_norm = f->post_norm,
        .act = f->act,
        .eps = f->eps,
        .classes = known->classes,
        .pos_filter = f->pos_filter,
        .preprocess = kh_preprocess_default(),
    };
    switch (f->pool) {
    case KH_GLOBAL_TOKEN:
        c.pool = f->distill_token ? KH_POOL_DISTILL : KH_POOL_TOKEN;
        break;
    case KH_GLOBAL_AVG:
        c.pool = f->norm_before_avg ? KH_POOL_AVG : KH_POOL_AVG_FC;
        break;
    case KH_GLOBAL_MAP:
        c.pool = KH_POOL_MAP;
        break;
    }
    (void)snprintf(c.layout, sizeof c.layout, "timm");
    (void)snprintf(c.architecture, sizeof c.architecture, "%s", known->name);
    (void)snprintf(c.family, sizeof c.family, "%s", f->name);
    (void)snprintf(c.preprocess.preset, sizeof c.preprocess.preset, "timm");
    c.preprocess.height = c.height;
    c.preprocess.width = c.width;
    c.preprocess.filter = f->filter;
    c.preprocess.crop_pct = known->crop_pct;
    kh_pixels_set(f->pixels, c.preprocess.mean, c.preprocess.std);
    *out = c;
    return KH_OK;
}
