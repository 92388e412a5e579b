#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "vit/load.h"
#include "vit/names.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- configuration --------------------------------------------------------------------------- */

/* *out stays NULL when the file does not exist. */
static kh_status read_json(const char *folder, const char *name, const kh_limits *limits,
                           json_t **out, kh_error *err) {
    *out = NULL;
    char *path = kh_path_join(folder, name);
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    unsigned char *bytes = NULL;
    size_t count = 0;
    kh_status status = KH_OK;
    if (!kh_file_exists(path)) goto done;
    KH_GO(kh_file_read(path, limits->max_config_bytes, &bytes, &count, err));
    const kh_json_limits json_limits = {.max_depth = 32, .max_values = 4000000};
    KH_GO(kh_json_parse_object((const char *)bytes, count, json_limits, name, out, err));
done:
    kh_free(bytes);
    kh_free(path);
    return status;
}

static kh_status config_of_folder(const char *folder, const kh_model_options *o, kh_warner warner,
                                  const kh_limits *limits, kh_config *out, kh_error *err) {
    json_t *root = NULL, *processor = NULL;
    kh_status status;
    KH_GO(read_json(folder, "config.json", limits, &root, err));
    char shown[KH_SHOWN_BYTES];
    if (!root && !o->architecture) {
        status = kh_fail(err, KH_E_NOT_FOUND,
                         "no config.json in %s, so heads, norm epsilon, activation and pooling are "
                         "unknown; put the model's config.json there or name the architecture "
                         "(--architecture)",
                         kh_shown(folder, strlen(folder), shown, sizeof shown));
        goto done;
    }
    const bool is_hf = root && !o->architecture && !json_object_get(root, "architecture") &&
                       json_object_get(root, "model_type");
    if (is_hf) {
        KH_GO(read_json(folder, "preprocessor_config.json", limits, &processor, err));
        KH_GO(kh_config_hf(root, processor, warner, out, err));
    } else {
        KH_GO(kh_config_timm(root, o->architecture, warner, out, err));
    }
done:
    json_decref(root);
    json_decref(processor);
    return status;
}

/* Preprocessing at another input size: transformers' resize keeps its ratio to the crop. */
static void resize_preprocess(kh_preprocess *how, size_t height, size_t width) {
    if (how->crop == KH_CROP_HF) {
        const double down = (double)height / (double)how->height;
        const double across = (double)width / (double)how->width;
        if (how->shortest_edge)
            how->shortest_edge =
                (size_t)lround((double)how->shortest_edge * (down > across ? down : across));
        how->resize_height = (size_t)lround((double)how->resize_height * down);
        how->resize_width = (size_t)lround((double)how->resize_width * across);
        how->crop_height = height;
        how->crop_width = width;
    }
    how->height = height;
    how->width = width;
}

static kh_status choose_size(kh_config *c, const kh_model_options *o, kh_grid *from,
                             kh_error *err) {
    size_t height = o->height ? o->height : o->width, width = o->width ? o->width : o->height;
    *from = (kh_grid){c->height / c->patch, c->width / c->patch};
    const bool is_asked = height || width;
    if (!is_asked) {
        height = c->prefer_crop ? c->preprocess.height : c->height;
        width = c->prefer_crop ? c->preprocess.width : c->width;
    }
    const bool is_own = height == c->height && width == c->width;
    if (!is_own && (height % c->patch || width % c->patch))
        return kh_fail(err, KH_E_SHAPE,
                       "input size %zux%zu is not a multiple of the patch size %zu", height, width,
                       c->patch);
    if (height != c->preprocess.height || width != c->preprocess.width) {
        if (!is_asked)
            return kh_fail(err, KH_E_SHAPE,
                           "preprocessor_config.json makes images of %zux%zu, but the model takes "
                           "%zux%zu; choose one with --size",
                           c->preprocess.height, c->preprocess.width, height, width);
        resize_preprocess(&c->preprocess, height, width);
    }
    c->height = height;
    c->width = width;
    return kh_config_check(c, err);
}

static kh_status apply_preset(kh_config *c, const char *folder, const kh_model_options *o,
                              const kh_limits *limits, kh_error *err) {
    if (!o->preset || strcmp(o->preset, c->preprocess.preset) == 0) return KH_OK;
    if (strcmp(o->preset, "timm") == 0)
        return kh_fail(err, KH_E_NOT_FOUND,
                       "preset 'timm' needs a timm config.json; this model has a transformers one");
    kh_preprocess how;
    if (strcmp(o->preset, "hf") == 0) {
        json_t *processor = NULL;
        if (folder) KH_TRY(read_json(folder, "preprocessor_config.json", limits, &processor, err));
        if (!processor)
            return kh_fail(err, KH_E_NOT_FOUND,
                           "preset 'hf' needs a preprocessor_config.json beside the weights");
        const kh_status status = kh_preprocess_hf(processor, NULL, &how, err);
        json_decref(processor);
        if (status) return status;
    } else {
        KH_TRY(kh_preprocess_preset(o->preset, &how, err));
    }
    const size_t height = c->preprocess.height, width = c->preprocess.width;
    if (how.height != height || how.width != width) resize_preprocess(&how, height, width);
    c->preprocess = how;
    return KH_OK;
}

static kh_status apply_activation(kh_config *c, const kh_model_options *o, kh_warner warner,
                                  kh_error *err) {
    if (o->activation) {
        char shown[KH_SHOWN_BYTES];
        if (!kh_activation_parse(o->activation, &c->act))
            return kh_fail(err, KH_E_ARG,
                           "unknown activation '%s'; there are gelu, gelu_tanh, quick_gelu, silu",
                           kh_shown(o->activation, strlen(o->activation), shown, sizeof shown));
        return KH_OK;
    }
    const bool is_native = c->natively_quick_gelu || kh_starts_with(c->tag, "openai") ||
                           kh_starts_with(c->tag, "metaclip") || kh_starts_with(c->tag, "dfn");
    if (strcmp(c->layout, "timm") == 0 && strcmp(c->family, "clip") == 0 && is_native &&
        c->act == KH_ACT_GELU)
        kh_warn(warner,
                "the '%s' weights were trained with QuickGELU, but %s applies the exact GELU to "
                "them (as timm does); --act quick_gelu gives the original model",
                c->tag, c->architecture);
    return KH_OK;
}

/* Names of the classes: the caller's file, the checkpoint's own, ImageNet's for 1000, or numbers.
 */
static kh_status choose_classes(kh_config *c, const kh_model_options *o, const kh_limits *limits,
                                kh_classes **out, kh_error *err) {
    *out = NULL;
    if (c->classes == 0) return KH_OK;
    if (o->labels_path) return kh_classes_read(o->labels_path, c->classes, limits, out, err);
    if (c->labels) {
        *out = c->labels;
        c->labels = NULL;
        return KH_OK;
    }
    if (c->classes == 1000 && !c->head_is_projection) return kh_classes_imagenet1k(out, err);
    return kh_classes_create(c->classes, NULL, NULL, out, err);
}

/* ---- weights --------------------------------------------------------------------------------- */

typedef struct file_user {
    const kh_sources *sources;
    const kh_tensor_table *table;
    const kh_config *config;
} file_user;

static kh_status fetch_from_file(void *user, size_t index, float *out, size_t count,
                                 kh_error *err) {
    const file_user *u = user;
    const char *name = u->table->items[index].name;
    const bool is_head = kh_starts_with(name, "head.") || kh_starts_with(name, "head_dist.");
    return kh_sources_read(u->sources, u->table, index, is_head ? u->config->label_offset : 0, out,
                           count, err);
}

/* Grid of the file's position rows: the configuration's if it fits, else a square. */
static kh_status grid_of_rows(const kh_config *c, size_t rows, size_t prefix, kh_grid configured,
                              kh_grid *out, kh_error *err) {
    *out = configured;
    if (rows == prefix + configured.height * configured.width) return KH_OK;
    const size_t patches = rows > prefix ? rows - prefix : 0;
    const size_t side = (size_t)lround(sqrt((double)patches));
    if (c->pos_must_fit || side == 0 || side * side != patches)
        return kh_fail(
            err, KH_E_SHAPE,
            "the position embedding has %zu rows; a grid of %zux%zu patches with %zu rows "
            "in front needs %zu",
            rows, configured.height, configured.width, prefix,
            prefix + configured.height * configured.width);
    *out = (kh_grid){side, side};
    return KH_OK;
}

/* rows (owned by the caller) -> model->pos, on the model's grid. */
static kh_status place_positions(kh_model *m, const kh_config *c, const float *rows, kh_grid from,
                                 size_t prefix, kh_error *err) {
    const kh_grid to = {m->info.grid_height, m->info.grid_width};
    const size_t count = m->pos_rows * c->dim;
    float *resampled = NULL;
    kh_status status = KH_OK;
    const bool is_same = from.height == to.height && from.width == to.width;
    /* timm and transformers leave a square target alone when the number of rows agrees */
    const bool is_left_alone =
        from.height * from.width == to.height * to.width && to.height == to.width;
    if (!is_same && !is_left_alone) {
        resampled = kh_alloc_floats(count);
        if (!resampled) return kh_fail(err, KH_E_MEMORY, "no memory for the position embedding");
        KH_GO(kh_pos_resample(rows, from, prefix, c->dim, c->pos_filter, to, resampled, err));
        rows = resampled;
    }
    m->pos = m->backend->alloc(m->home, count);
    if (m->pos)
        m->backend->upload(m->home, m->pos, rows, count);
    else
        status = kh_fail(err, KH_E_MEMORY, "no memory for the position embedding");
done:
    kh_free(resampled);
    return status;
}

static kh_status load_positions(kh_model *m, const kh_config *c, const kh_sources *s,
                                kh_grid configured, kh_error *err) {
    const size_t dim = c->dim;
    const size_t prefix = c->pos_has_prefix ? m->info.prefix_tokens : s->class_position ? 1 : 0;
    kh_grid from;
    KH_TRY(grid_of_rows(c, s->pos_rows, prefix, configured, &from, err));
    float *rows = kh_alloc_floats(s->pos_rows * dim);
    float *token = kh_alloc_floats(dim);
    kh_status status = KH_OK;
    if (!rows || !token) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for the position embedding");
        goto done;
    }
    KH_GO(kh_sources_read(s, m->table, m->table->pos, 0, rows, s->pos_rows * dim, err));
    if (s->class_position) {
        m->backend->download(m->home, token, m->prefix, dim);
        for (size_t d = 0; d < dim; d++)
            token[d] += rows[d];
        m->backend->upload(m->home, m->prefix, token, dim);
        KH_GO(place_positions(m, c, rows + dim, from, 0, err));
    } else {
        KH_GO(place_positions(m, c, rows, from, prefix, err));
    }
done:
    kh_free(rows);
    kh_free(token);
    return status;
}

/* The attention pool's query does not depend on the image: q = latent Wqᵀ + bq. */
static kh_status prepare_map_pool(kh_model *m, kh_error *err) {
    kh_map_pool *pool = &m->map_pool;
    if (m->info.pool != KH_POOL_MAP) return KH_OK;
    pool->q = m->backend->alloc(m->home, m->info.dim);
    if (!pool->q) return kh_fail(err, KH_E_MEMORY, "no memory for the pooling query");
    const kh_linear_args args = {.rows = 1,
                                 .x = pool->latent,
                                 .x_stride = m->info.dim,
                                 .w = pool->q_weight,
                                 .y = pool->q,
                                 .y_stride = m->info.dim};
    m->backend->linear(m->home, &args);
    return KH_OK;
}

/* Model with its table, no weights yet. */
static kh_status make_model(kh_ctx *ctx, const kh_config *c, kh_model **out, kh_error *err) {
    kh_model *m = kh_calloc(1, sizeof *m);
    if (!m) return kh_fail(err, KH_E_MEMORY, "no memory for a model");
    m->home = ctx;
    m->backend = kh_ctx_backend(ctx);
    kh_model_describe(c, m);
    m->blocks = kh_calloc(c->blocks, sizeof *m->blocks);
    m->table = kh_calloc(1, sizeof *m->table);
    kh_status status = KH_OK;
    if (!m->blocks || !m->table) status = kh_fail(err, KH_E_MEMORY, "no memory for a model");
    if (!status) status = kh_table_build(c, m, m->table, err);
    if (status) {
        kh_model_close(m);
        return status;
    }
    for (size_t i = 0; i < m->table->count; i++)
        m->info.parameters += m->table->items[i].count;
    *out = m;
    return KH_OK;
}

static kh_status load_random(kh_ctx *ctx, const kh_model_source *source, kh_config *c,
                             const kh_fill *progress, kh_model **out, kh_error *err) {
    const size_t hidden = (size_t)((double)c->dim * c->mlp_ratio);
    if (!c->neurons) c->neurons = c->gated ? hidden / 2 : hidden;
    if (!c->neurons)
        return kh_fail(err, KH_E_SHAPE,
                       "mlp_ratio %g of an embedding width of %zu leaves no neuron", c->mlp_ratio,
                       c->dim);
    (void)snprintf(c->layout, sizeof c->layout, "random");
    kh_status status;
    kh_model *m = NULL;
    KH_TRY(make_model(ctx, c, &m, err));
    kh_random_weights weights = {m->table, source->seed};
    const kh_fill fill = {kh_random_fetch, &weights, progress->progress, progress->progress_user};
    const size_t count = m->pos_rows * c->dim;
    float *pos = kh_alloc_floats(count);
    if (!pos) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for the position embedding");
        goto done;
    }
    KH_GO(kh_model_fill(m, &fill, err));
    KH_GO(kh_random_fetch(&weights, m->table->pos, pos, count, err));
    KH_GO(place_positions(m, c, pos, (kh_grid){m->info.grid_height, m->info.grid_width}, 0, err));
    (void)snprintf(m->info.tag, sizeof m->info.tag, "random@%llu",
                   (unsigned long long)source->seed);
done:
    kh_free(pos);
    if (status)
        kh_model_close(m);
    else
        *out = m;
    return status;
}

static kh_status load_file(kh_ctx *ctx, const kh_model_source *source, kh_config *c,
                           kh_grid configured, const kh_limits *limits, const kh_fill *progress,
                           kh_model **out, kh_error *err) {
    kh_tensors *tensors = NULL;
    kh_sources sources = {0};
    kh_model *m = NULL;
    kh_status status;
    KH_GO(kh_tensors_open(source->weights, limits, &tensors, err));
    KH_GO(kh_sources_open(tensors, c, &sources, err));
    KH_GO(kh_sources_measure(&sources, c, err));
    KH_GO(make_model(ctx, c, &m, err));
    KH_GO(kh_sources_match(&sources, c, m->table, err));
    file_user user = {&sources, m->table, c};
    const kh_fill fill = {fetch_from_file, &user, progress->progress, progress->progress_user};
    KH_GO(kh_model_fill(m, &fill, err));
    KH_GO(load_positions(m, c, &sources, configured, err));
    KH_GO(kh_tensors_sha256(tensors, m->info.sha256, err));
done:
    kh_sources_clear(&sources);
    kh_tensors_close(tensors);
    if (status)
        kh_model_close(m);
    else
        *out = m;
    return status;
}

/* ---- public ---------------------------------------------------------------------------------- */

static kh_status open_source(kh_ctx *ctx, const kh_model_source *source, const kh_model_options *o,
                             kh_warner warner, kh_model **out, kh_error *err) {
    const kh_limits limits = o->limits ? *o->limits : kh_limits_default();
    const kh_fill progress = {.progress = o->progress, .progress_user = o->progress_user};
    kh_config c = {0};
    kh_grid configured = {0, 0};
    kh_model *m = NULL;
    kh_status status;
    if (source->folder)
        KH_GO(config_of_folder(source->folder, o, warner, &limits, &c, err));
    else
        KH_GO(kh_config_registered(source->architecture, &c, err));
    if (source->is_random && !source->folder && c.classes == 0 &&
        (c.pool == KH_POOL_TOKEN || c.pool == KH_POOL_AVG_FC))
        c.classes = 1000; /* something to rank against, as timm's create_model has by default */
    KH_GO(apply_activation(&c, o, warner, err));
    KH_GO(choose_size(&c, o, &configured, err));
    KH_GO(apply_preset(&c, source->folder, o, &limits, err));
    if (source->is_random)
        KH_GO(load_random(ctx, source, &c, &progress, &m, err));
    else
        KH_GO(load_file(ctx, source, &c, configured, &limits, &progress, &m, err));
    if (!m) goto done; /* cannot be: both loaders give a model or a status */
    KH_GO(prepare_map_pool(m, err));
    KH_GO(choose_classes(&c, o, &limits, &m->classes, err));
    const char *where = source->folder ? source->folder : source->architecture;
    kh_shown(where, strlen(where), m->info.source, sizeof m->info.source);
done:
    kh_config_clear(&c);
    if (status)
        kh_model_close(m);
    else
        *out = m;
    return status;
}

kh_status kh_model_open(kh_ctx *ctx, const char *model, const kh_model_options *options,
                        kh_model **out, kh_error *err) {
    if (!out) return kh_fail(err, KH_E_ARG, "nowhere to put the model");
    *out = NULL;
    if (!ctx || !model || !model[0]) return kh_fail(err, KH_E_ARG, "no model named");
    const kh_model_options plain = {0};
    const kh_model_options *o = options ? options : &plain;
    const kh_warner warner = {o->warn, o->warn_user};
    kh_model_source source;
    KH_TRY(kh_model_source_find(model, warner, &source, err));
    const kh_status status = open_source(ctx, &source, o, warner, out, err);
    if (status && source.folder) {
        char shown[KH_SHOWN_BYTES];
        (void)kh_error_context(err, status, "%s",
                               kh_shown(source.folder, strlen(source.folder), shown, sizeof shown));
    }
    kh_model_source_clear(&source);
    return status;
}

void kh_model_close(kh_model *model) {
    if (!model) return;
    kh_model_release(model);
    if (model->table) kh_table_clear(model->table);
    kh_free(model->table);
    kh_free(model->blocks);
    kh_classes_free(model->classes);
    kh_free(model);
}

const kh_model_info *kh_model_get_info(const kh_model *model) {
    return &model->info;
}

const kh_classes *kh_model_classes(const kh_model *model) {
    return model->classes;
}

bool kh_model_tensor_shape(const kh_model *model, const char *name, size_t *rank, size_t shape[8]) {
    const kh_parameter *p = kh_table_find(model->table, name);
    if (!p) return false;
    *rank = p->rank;
    for (size_t i = 0; i < p->rank; i++)
        shape[i] = p->shape[i];
    return true;
}

kh_status kh_model_tensor_read(const kh_model *model, const char *name, float *out, size_t count,
                               kh_error *err) {
    const kh_parameter *p = kh_table_find(model->table, name);
    if (!p) {
        char shown[KH_SHOWN_BYTES];
        return kh_fail(err, KH_E_NOT_FOUND, "%s has no tensor '%s'", model->info.architecture,
                       kh_shown(name, strlen(name), shown, sizeof shown));
    }
    if (count != p->count)
        return kh_fail(err, KH_E_SHAPE, "%s has %zu elements, room is for %zu", p->name, p->count,
                       count);
    const kh_backend *backend = model->backend;
    switch (p->place) {
    case KH_PLACE_WEIGHT:
        backend->unpack(model->home, *p->weight, 0, p->shape[0], out);
        break;
    case KH_PLACE_BIAS:
        backend->unpack_bias(model->home, *p->weight, out);
        break;
    case KH_PLACE_VECTOR:
        backend->download(model->home, out, p->vector ? *p->vector : *p->norm_vector, count);
        break;
    case KH_PLACE_PREFIX:
        backend->download(model->home, out, model->prefix + p->first_row * model->info.dim, count);
        break;
    case KH_PLACE_POS:
        backend->download(model->home, out, model->pos, count);
        break;
    }
    return KH_OK;
}

size_t kh_model_tensor_count(const kh_model *model) {
    return model->table->count;
}

const char *kh_model_tensor_name(const kh_model *model, size_t index) {
    return index < model->table->count ? model->table->items[index].name : NULL;
}
