/* keyhole info: what a checkpoint is. */
#include "cli/commands.h"
#include "cli/session.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    bool sites, tensors, architectures, gradient;
    const char *explain;
} settings;

static const kh_option options[] = {
    {KH_OPT_FLAG, "sites", 0, offsetof(settings, sites), NULL,
     "List every site that can be read or edited, with its shape."},
    {KH_OPT_FLAG, "tensors", 0, offsetof(settings, tensors), NULL,
     "List every parameter by its timm name, with its shape."},
    {KH_OPT_FLAG, "architectures", 0, offsetof(settings, architectures), NULL,
     "List the registered architecture names instead (MODEL is not needed)."},
    {KH_OPT_TEXT, "explain", 0, offsetof(settings, explain), "SITES",
     "Print the plan of a pass that reads these sites, separated by commas: site names, 'logits', "
     "or"
     " single neurons such as b10n1198."},
    {KH_OPT_FLAG, "gradient", 0, offsetof(settings, gradient), NULL,
     "With --explain: the pass also goes back from the last of the sites to the pixels."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

static const char *pool_text(kh_pool_kind pool) {
    switch (pool) {
    case KH_POOL_TOKEN:
        return "final norm, then class token";
    case KH_POOL_AVG_FC:
        return "mean over patches, then fc_norm";
    case KH_POOL_AVG:
        return "final norm, then mean over patches";
    case KH_POOL_MAP:
        return "final norm, then attention pool";
    case KH_POOL_DISTILL:
        return "final norm, class and distillation token, mean of two heads";
    case KH_POOL_CLS_AVG:
        return "final norm, class token beside mean over patches";
    case KH_POOL_RAW_AVG:
        return "mean over patches without norm";
    }
    return "?";
}

static void embedding_text(const kh_model_info *info, char *out, size_t bytes) {
    if (info->classes == 0)
        (void)snprintf(out, bytes, "none: the checkpoint has no classifier");
    else if (info->head_is_indirect)
        (void)snprintf(out, bytes, "[%zu, %zu], indirect: behind an attention pool", info->classes,
                       info->dim);
    else if (info->pool == KH_POOL_CLS_AVG)
        (void)snprintf(out, bytes, "[%zu, %zu]: class-token half and patch-mean half",
                       info->classes, 2 * info->dim);
    else if (info->pool == KH_POOL_DISTILL)
        (void)snprintf(out, bytes, "head and head_dist, each [%zu, %zu]", info->classes, info->dim);
    else
        (void)snprintf(out, bytes, "[%zu, %zu] (head.weight)", info->classes, info->dim);
}

static void print_preprocess(const kh_preprocess *p) {
    static const char *const filters[] = {"bilinear", "bicubic", "lanczos", "box", "hamming"};
    static const char *const crops[] = {"center", "squash", "border", "transformers"};
    printf("preprocessing   %s: %zux%zu, %s, crop %s", p->preset, p->height, p->width,
           filters[p->filter], crops[p->crop]);
    if (p->crop != KH_CROP_HF) printf(", crop_pct %g", p->crop_pct);
    printf("\n                mean %g %g %g, std %g %g %g\n", p->mean[0], p->mean[1], p->mean[2],
           p->std[0], p->std[1], p->std[2]);
}

static void print_text(const kh_model_info *i, const kh_ctx *ctx) {
    char embedding[160];
    embedding_text(i, embedding, sizeof embedding);
    printf("source          %s (%s)\n", i->source, i->layout);
    printf("architecture    %s%s%s, family %s\n", i->architecture, i->tag[0] ? ", tag " : "",
           i->tag, i->family);
    printf("weights         %llu parameters, sha256 %s\n", (unsigned long long)i->parameters,
           i->sha256[0] ? i->sha256 : "none (random weights)");
    printf("blocks          %zu, dim %zu, heads %zu of %zu, neurons %zu per block (%zu in all)\n",
           i->blocks, i->dim, i->heads, i->head_dim, i->neurons, i->blocks * i->neurons);
    printf("tokens          %zu = %zu prefix (%s%s%zu registers) + %zu x %zu patches of %zu px\n",
           i->tokens, i->prefix_tokens, i->has_class_token ? "class, " : "",
           i->has_distill_token ? "distillation, " : "", i->registers, i->grid_height,
           i->grid_width, i->patch);
    printf("block           %s-norm, eps %g, %s%s, qkv bias %s%s%s%s\n",
           i->is_post_norm ? "post" : "pre", i->norm_eps, i->activation,
           i->is_gated ? " gated (SwiGLU)" : "", i->has_qkv_bias ? "yes" : "no",
           i->has_layer_scale ? ", LayerScale" : "", i->has_qk_norm ? ", qk norm" : "",
           i->has_norm_pre ? ", norm before the blocks" : "");
    printf("tail            %s\n", pool_text(i->pool));
    printf("class embedding %s\n", embedding);
    print_preprocess(&i->preprocess);
    printf("forward         %.2f GFLOP per image\n", i->forward_gflop);
    printf("device          %s, %s, %zu threads\n", kh_ctx_device(ctx), kh_ctx_isa(ctx),
           kh_ctx_threads(ctx));
}

static json_t *to_json(const kh_model *model, const kh_ctx *ctx) {
    const kh_model_info *i = kh_model_get_info(model);
    json_t *root = kh_model_receipt(model);
    json_t *more = json_pack(
        "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:[II], s:[II], s:I, s:I, s:I, s:I, s:s, s:f, "
        "s:s,"
        " s:b, s:b, s:b, s:b, s:b, s:I, s:f, s:s, s:s, s:I}",
        "layout", i->layout, "family", i->family, "dim", (json_int_t)i->dim, "blocks",
        (json_int_t)i->blocks, "heads", (json_int_t)i->heads, "head_dim", (json_int_t)i->head_dim,
        "neurons", (json_int_t)i->neurons, "patch", (json_int_t)i->patch, "image",
        (json_int_t)i->image_height, (json_int_t)i->image_width, "grid", (json_int_t)i->grid_height,
        (json_int_t)i->grid_width, "prefix_tokens", (json_int_t)i->prefix_tokens, "registers",
        (json_int_t)i->registers, "tokens", (json_int_t)i->tokens, "classes",
        (json_int_t)i->classes, "activation", i->activation, "norm_eps", i->norm_eps, "tail",
        pool_text(i->pool), "is_gated", i->is_gated, "is_post_norm", i->is_post_norm,
        "has_layer_scale", i->has_layer_scale, "has_norm_pre", i->has_norm_pre, "head_is_indirect",
        i->head_is_indirect, "parameters", (json_int_t)i->parameters, "forward_gflop",
        i->forward_gflop, "device", kh_ctx_device(ctx), "isa", kh_ctx_isa(ctx), "threads",
        (json_int_t)kh_ctx_threads(ctx));
    if (root && more) json_object_update(root, more);
    json_decref(more);
    return root;
}

static void print_shape(const char *name, size_t rank, const size_t *shape, const char *note) {
    printf("%-44s [", name);
    for (size_t r = 0; r < rank; r++)
        printf("%s%zu", r ? ", " : "", shape[r]);
    printf("]%s\n", note);
}

static void print_sites(const kh_model *model) {
    for (size_t s = 0; s < kh_site_count(model); s++) {
        const kh_site site = kh_site_get(model, s);
        print_shape(site.name, site.rank, site.shape, site.is_editable ? "  editable" : "");
    }
}

static void print_tensors(const kh_model *model) {
    for (size_t t = 0; t < kh_model_tensor_count(model); t++) {
        const char *name = kh_model_tensor_name(model, t);
        size_t rank = 0, shape[8] = {0};
        if (kh_model_tensor_shape(model, name, &rank, shape)) print_shape(name, rank, shape, "");
    }
}

enum { MAX_EXPLAINED = 64 };

/* What --explain names, ready for a plan; the text it points into is `copy`. */
typedef struct wanted {
    char *copy;
    char names[MAX_EXPLAINED][64];
    size_t units[MAX_EXPLAINED];
    kh_tap taps[MAX_EXPLAINED];
    size_t count;
    bool logits;
} wanted;

static kh_status want(wanted *w, const char *name, kh_error *err) {
    if (strcmp(name, "logits") == 0) {
        w->logits = true;
        return KH_OK;
    }
    if (w->count == MAX_EXPLAINED)
        return kh_fail(err, KH_E_LIMIT, "--explain takes at most %d sites", MAX_EXPLAINED);
    kh_tap *tap = &w->taps[w->count];
    kh_neuron neuron;
    if (kh_neuron_parse(name, &neuron, NULL) == KH_OK) {
        (void)snprintf(w->names[w->count], sizeof w->names[0], "blocks.%zu.mlp.hook_post",
                       neuron.block);
        w->units[w->count] = neuron.index;
        *tap = (kh_tap){.site = w->names[w->count], .units = &w->units[w->count], .unit_count = 1};
    } else {
        *tap = (kh_tap){.site = name};
    }
    w->count++;
    return KH_OK;
}

static kh_status explain(kh_session *session, const settings *s, kh_error *err) {
    wanted w = {.copy = kh_strdup(s->explain)};
    if (!w.copy) return kh_fail(err, KH_E_MEMORY, "no memory for the plan");
    kh_status status = KH_OK;
    for (char *rest = w.copy; rest && !status;) {
        char *comma = strchr(rest, ',');
        if (comma) *comma = '\0';
        status = want(&w, rest, err);
        rest = comma ? comma + 1 : NULL;
    }
    const char *seed = w.logits || w.count == 0 ? "logits" : w.taps[w.count - 1].site;
    const kh_pass_spec spec = {.max_batch = 1,
                               .taps = w.taps,
                               .tap_count = w.count,
                               .want_logits = w.logits,
                               .want_gradient = s->gradient,
                               .seed_sites = &seed,
                               .seed_count = s->gradient ? 1 : 0};
    kh_pass *pass = NULL;
    char *text = NULL;
    if (!status && s->gradient)
        status = kh_model_prepare_gradient(session->model,
                                           kh_model_get_info(session->model)->blocks - 1, err);
    if (!status) status = kh_pass_create(session->ctx, session->model, &spec, &pass, err);
    if (!status) status = kh_pass_explain(pass, &text, err);
    if (!status) fputs(text, stdout);
    free(text);
    kh_pass_free(pass);
    kh_free(w.copy);
    return status;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    if (s->architectures) {
        for (size_t i = 0; kh_model_architecture_name(i); i++)
            puts(kh_model_architecture_name(i));
        return KH_EXIT_DONE;
    }
    if (count == 0) {
        (void)kh_fail(err, KH_E_ARG, "missing operand: keyhole info MODEL");
        return KH_EXIT_MISUSED;
    }
    kh_session session;
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s->model, err);
    if (!status && s->common.json) {
        if (!kh_print_json(to_json(session.model, session.ctx), err)) status = KH_E_MEMORY;
    } else if (!status && s->explain) {
        status = explain(&session, s, err);
    } else if (!status && s->sites) {
        print_sites(session.model);
    } else if (!status && s->tensors) {
        print_tensors(session.model);
    } else if (!status) {
        print_text(kh_model_get_info(session.model), session.ctx);
    }
    kh_session_close(&session);
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_info = {
    .name = "info",
    .summary = "architecture, tag, weight hash, preprocessing, class embedding",
    .operands = "MODEL",
    .description = "Prints what the checkpoint is and how keyhole will run it. Everything here is"
                   " also stored with every result.",
    .examples = "  keyhole info ./vit_base_patch16_224.augreg_in21k_ft_in1k\n"
                "  keyhole info random:vit_tiny_patch16_224 --sites\n"
                "  keyhole info MODEL --explain b10n1198  # what one neuron costs\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
