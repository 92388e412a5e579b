/* manifest.json: what a result was made from and how. */
#include "keyhole/store.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kh_manifest {
    json_t *root;
    kh_error failure; /* the first one */
};

static void refuse(kh_manifest *m, kh_status code, const char *key) {
    if (!m->failure.code) (void)kh_fail(&m->failure, code, "manifest: cannot set '%s'", key);
}

/* The object that holds the last part of a dotted key, made on the way; *leaf is that part. */
static json_t *parent_of(json_t *root, const char *key, const char **leaf) {
    json_t *at = root;
    const char *dot;
    while (at && (dot = strchr(key, '.')) != NULL) {
        char part[128];
        const size_t length = (size_t)(dot - key);
        if (length >= sizeof part) return NULL;
        memcpy(part, key, length);
        part[length] = '\0';
        json_t *next = json_object_get(at, part);
        if (!next) {
            next = json_object();
            if (json_object_set_new(at, part, next) != 0) return NULL;
        }
        at = json_is_object(next) ? next : NULL;
        key = dot + 1;
    }
    *leaf = key;
    return at;
}

/* Takes over value, which may be NULL when making it failed. */
static void set(kh_manifest *m, const char *key, json_t *value) {
    const char *leaf = key;
    json_t *parent = value ? parent_of(m->root, key, &leaf) : NULL;
    if (!parent) {
        json_decref(value);
        refuse(m, KH_E_ARG, key);
        return;
    }
    if (json_object_set_new(parent, leaf, value) != 0) refuse(m, KH_E_MEMORY, key);
}

static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

kh_status kh_store_manifest_create(const char *analysis, kh_manifest **out, kh_error *err) {
    kh_manifest *m = kh_calloc(1, sizeof *m);
    *out = NULL;
    if (m) m->root = json_object();
    if (!m || !m->root) {
        kh_free(m);
        return kh_fail(err, KH_E_MEMORY, "no memory for a manifest");
    }
    kh_store_manifest_size(m, "format", 1);
    kh_store_manifest_text(m, "keyhole", kh_version());
    kh_store_manifest_text(m, "analysis", analysis);
    *out = m;
    return KH_OK;
}

void kh_store_manifest_free(kh_manifest *m) {
    if (!m) return;
    json_decref(m->root);
    kh_free(m);
}

void kh_store_manifest_text(kh_manifest *m, const char *key, const char *text) {
    set(m, key, kh_json_text(text));
}

void kh_store_manifest_size(kh_manifest *m, const char *key, uint64_t value) {
    if (value > INT64_MAX) {
        refuse(m, KH_E_LIMIT, key);
        return;
    }
    set(m, key, json_integer((json_int_t)value));
}

void kh_store_manifest_i64(kh_manifest *m, const char *key, int64_t value) {
    set(m, key, json_integer((json_int_t)value));
}

void kh_store_manifest_f64(kh_manifest *m, const char *key, double value) {
    set(m, key, number(value));
}

void kh_store_manifest_bool(kh_manifest *m, const char *key, bool value) {
    set(m, key, json_boolean(value));
}

void kh_store_manifest_texts(kh_manifest *m, const char *key, const char *const *texts,
                             size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++)
        if (json_array_append_new(array, kh_json_text(texts[i])) != 0) refuse(m, KH_E_MEMORY, key);
    set(m, key, array);
}

void kh_store_manifest_row(kh_manifest *m, const char *list, const char *const *keys,
                           const char *const *texts, size_t count) {
    if (!json_object_get(m->root, list)) set(m, list, json_array());
    json_t *row = json_object();
    bool ok = row != NULL;
    for (size_t i = 0; ok && i < count; i++)
        ok = json_object_set_new(row, keys[i], kh_json_text(texts[i])) == 0;
    if (!ok || json_array_append(json_object_get(m->root, list), row) != 0)
        refuse(m, KH_E_MEMORY, list);
    json_decref(row);
}

void kh_store_manifest_f64s(kh_manifest *m, const char *key, const double *values, size_t count) {
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++)
        if (json_array_append_new(array, number(values[i])) != 0) refuse(m, KH_E_MEMORY, key);
    set(m, key, array);
}

static const char *const pool_names[] = {
    [KH_POOL_TOKEN] = "token",    [KH_POOL_AVG_FC] = "avg_fc",   [KH_POOL_AVG] = "avg",
    [KH_POOL_MAP] = "map",        [KH_POOL_DISTILL] = "distill", [KH_POOL_CLS_AVG] = "cls_avg",
    [KH_POOL_RAW_AVG] = "raw_avg"};
static const char *const filter_names[] = {[KH_FILTER_BILINEAR] = "bilinear",
                                           [KH_FILTER_BICUBIC] = "bicubic",
                                           [KH_FILTER_LANCZOS] = "lanczos",
                                           [KH_FILTER_BOX] = "box",
                                           [KH_FILTER_HAMMING] = "hamming"};
static const char *const crop_names[] = {[KH_CROP_CENTER] = "center",
                                         [KH_CROP_SQUASH] = "squash",
                                         [KH_CROP_BORDER] = "border",
                                         [KH_CROP_HF] = "hf"};

static void put_preprocess(kh_manifest *m, const kh_preprocess *p) {
    kh_store_manifest_text(m, "preprocess.preset", p->preset);
    kh_store_manifest_size(m, "preprocess.height", p->height);
    kh_store_manifest_size(m, "preprocess.width", p->width);
    kh_store_manifest_text(m, "preprocess.crop", crop_names[p->crop]);
    kh_store_manifest_text(m, "preprocess.filter", filter_names[p->filter]);
    if (p->crop != KH_CROP_HF) kh_store_manifest_f64(m, "preprocess.crop_pct", p->crop_pct);
    kh_store_manifest_f64s(m, "preprocess.mean", p->mean, 3);
    kh_store_manifest_f64s(m, "preprocess.std", p->std, 3);
    if (p->crop != KH_CROP_HF) return;
    kh_store_manifest_bool(m, "preprocess.do_resize", p->do_resize);
    kh_store_manifest_bool(m, "preprocess.do_crop", p->do_crop);
    kh_store_manifest_bool(m, "preprocess.do_rescale", p->do_rescale);
    kh_store_manifest_bool(m, "preprocess.do_normalize", p->do_normalize);
    kh_store_manifest_size(m, "preprocess.shortest_edge", p->shortest_edge);
    kh_store_manifest_size(m, "preprocess.resize_height", p->resize_height);
    kh_store_manifest_size(m, "preprocess.resize_width", p->resize_width);
    kh_store_manifest_size(m, "preprocess.crop_height", p->crop_height);
    kh_store_manifest_size(m, "preprocess.crop_width", p->crop_width);
    kh_store_manifest_f64(m, "preprocess.rescale_factor", p->rescale_factor);
}

void kh_store_manifest_model(kh_manifest *m, const kh_model_info *info) {
    kh_store_manifest_text(m, "model.source", info->source);
    kh_store_manifest_text(m, "model.sha256", info->sha256);
    kh_store_manifest_text(m, "model.layout", info->layout);
    kh_store_manifest_text(m, "model.architecture", info->architecture);
    kh_store_manifest_text(m, "model.tag", info->tag);
    kh_store_manifest_text(m, "model.family", info->family);
    kh_store_manifest_size(m, "model.dim", info->dim);
    kh_store_manifest_size(m, "model.blocks", info->blocks);
    kh_store_manifest_size(m, "model.heads", info->heads);
    kh_store_manifest_size(m, "model.neurons", info->neurons);
    kh_store_manifest_size(m, "model.classes", info->classes);
    kh_store_manifest_size(m, "model.patch", info->patch);
    kh_store_manifest_size(m, "model.image_height", info->image_height);
    kh_store_manifest_size(m, "model.image_width", info->image_width);
    kh_store_manifest_size(m, "model.grid_height", info->grid_height);
    kh_store_manifest_size(m, "model.grid_width", info->grid_width);
    kh_store_manifest_size(m, "model.prefix_tokens", info->prefix_tokens);
    kh_store_manifest_text(m, "model.activation", info->activation);
    kh_store_manifest_f64(m, "model.norm_eps", info->norm_eps);
    kh_store_manifest_text(m, "model.pool", pool_names[info->pool]);
    kh_store_manifest_size(m, "model.parameters", info->parameters);
    put_preprocess(m, &info->preprocess);
}

void kh_store_manifest_file(kh_manifest *m, const char *name, const size_t *shape, size_t rank,
                            const char *meaning) {
    json_t *files = json_object_get(m->root, "files");
    if (!files) {
        files = json_array();
        set(m, "files", files);
        files = json_object_get(m->root, "files");
    }
    json_t *entry = json_object();
    bool ok = files && entry && json_object_set_new(entry, "name", kh_json_text(name)) == 0;
    if (ok && rank) {
        json_t *sizes = json_array();
        for (size_t i = 0; i < rank; i++)
            ok = ok && sizes &&
                 json_array_append_new(sizes, json_integer((json_int_t)shape[i])) == 0;
        ok = ok && json_object_set(entry, "shape", sizes) == 0;
        json_decref(sizes);
    }
    ok = ok && json_object_set_new(entry, "meaning", kh_json_text(meaning)) == 0;
    if (!ok || json_array_append(files, entry) != 0) refuse(m, KH_E_MEMORY, "files");
    json_decref(entry);
}

kh_status kh_store_manifest_write(const kh_manifest *m, const char *path, kh_error *err) {
    if (m->failure.code) {
        if (err) *err = m->failure;
        return m->failure.code;
    }
    /* 17 digits read back as the same double */
    char *text = json_dumps(m->root, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
    const size_t length = text ? strlen(text) : 0;
    char *line = text ? realloc(text, length + 2) : NULL;
    if (!line) {
        free(text);
        return kh_fail(err, KH_E_MEMORY, "no memory for a manifest");
    }
    line[length] = '\n';
    line[length + 1] = '\0';
    const kh_status status = kh_file_write(path, line, length + 1, err);
    free(line);
    return status;
}
