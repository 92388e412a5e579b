/* A complete run as the figures see it. */
#include "cli/outdir.h"
#include "cli/run_figures.h"
#include "cli/session.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

bool kh_run_has(const kh_run *run, bool in_truth, const char *table) {
    char sql[160];
    double is_there = 0;
    const char *path = in_truth ? run->truth_tables : run->tables;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM sqlite_master WHERE name = '%s'", table);
    if (!path[0] || kh_store_db_number(path, sql, 0, &is_there, NULL) || !(is_there > 0))
        return false;
    (void)snprintf(sql, sizeof sql, "SELECT count(*) FROM (SELECT 1 FROM \"%s\" LIMIT 1)", table);
    return !kh_store_db_number(path, sql, 0, &is_there, NULL) && is_there > 0;
}

static kh_status read_fact(const kh_run *run, const char *key, size_t *out, kh_error *err) {
    char sql[96];
    double value = 0;
    (void)snprintf(sql, sizeof sql, "SELECT value + 0 FROM run WHERE key = '%s'", key);
    KH_TRY(kh_store_db_number(run->tables, sql, 0, &value, err));
    if (!(value >= 0 && value < 1e9))
        return kh_fail(err, KH_E_FORMAT, "'%s': %s is %g", run->tables, key, value);
    *out = (size_t)value;
    return KH_OK;
}

/* "tench, Tinca tinca" to "tench"; the index too where two classes are called so. */
static kh_status read_names(kh_run *run, kh_error *err) {
    kh_answer *a = NULL;
    char text[128];
    run->names = kh_calloc(run->classes ? run->classes : 1, sizeof *run->names);
    if (!run->names) return kh_fail(err, KH_E_MEMORY, "no memory for names of classes");
    KH_TRY(kh_store_db_ask(run->tables,
                           "SELECT class, short, (SELECT count(*) FROM (SELECT "
                           "substr(name, 1, instr(name || ',', ',') - 1) s FROM classes) WHERE s = "
                           "short) FROM (SELECT class, substr(name, 1, instr(name || ',', ',') - 1)"
                           " short FROM classes) ORDER BY class",
                           NULL, 0, &a, err));
    kh_status status = KH_OK;
    for (size_t c = 0; c < run->classes && !status; c++) {
        const char *name = kh_answer_text(a, c, 1);
        if (!name || !*name)
            (void)snprintf(text, sizeof text, "class %zu", c);
        else if (kh_answer_number(a, c, 2) > 1)
            (void)snprintf(text, sizeof text, "%.60s (%zu)", name, c);
        else
            (void)snprintf(text, sizeof text, "%.60s", name);
        if (!(run->names[c] = kh_strdup(text)))
            status = kh_fail(err, KH_E_MEMORY, "no memory for names of classes");
    }
    kh_answer_free(a);
    return status;
}

static const char *text_at(const json_t *root, const char *outer, const char *inner) {
    const char *text = json_string_value(json_object_get(json_object_get(root, outer), inner));
    return text ? text : "";
}

/* " (patch 8, 96 px)", or nothing where a manifest does not say it. */
static void read_sizes(const json_t *root, const char *architecture, char *out, size_t room) {
    const json_t *model = json_object_get(root, "model");
    size_t patch, height, width;
    out[0] = '\0';
    if (kh_json_size(json_object_get(model, "patch"), &patch) &&
        kh_json_size(json_object_get(model, "image_height"), &height) &&
        kh_json_size(json_object_get(model, "image_width"), &width))
        kh_model_sizes(architecture, patch, height, width, out, room);
}

static kh_status class_setting_of(const json_t *root, kh_class_by *by,
                                  kh_class_reduction *reduction, kh_error *err) {
    const char *of = text_at(root, "settings", "class_by");
    const char *tokens = text_at(root, "settings", "class_reduction");
    *by = KH_BY_TRUTH;
    *reduction = KH_REDUCE_MEAN;
    if ((of[0] && kh_class_by_parse(of, by, err)) ||
        (tokens[0] && kh_class_reduction_parse(tokens, reduction, err)))
        return kh_error_context(err, KH_E_FORMAT, "manifest.json");
    return KH_OK;
}

kh_status kh_run_class_setting(const char *path, kh_class_by *by, kh_class_reduction *reduction,
                               kh_error *err) {
    char manifest[4096];
    json_t *root = NULL;
    KH_TRY(kh_outdir_path(path, manifest, sizeof manifest, err, "manifest.json"));
    KH_TRY(kh_json_read_own(manifest, "manifest.json", &root, err));
    const kh_status status = class_setting_of(root, by, reduction, err);
    json_decref(root);
    return status;
}

static kh_status read_receipt(kh_run *run, const char *manifest, kh_error *err) {
    json_t *root = NULL;
    char sizes[96], images[48];
    KH_TRY(kh_json_read_own(manifest, "manifest.json", &root, err));
    const char *architecture = text_at(root, "model", "architecture");
    const char *tag = text_at(root, "model", "tag");
    const char *sha = text_at(root, "model", "sha256");
    read_sizes(root, architecture, sizes, sizeof sizes);
    (void)snprintf(images, sizeof images, "%zu image%s", run->images, KH_S(run->images));
    kh_footnote(&(kh_footnote_facts){architecture, tag, sizes, sha,
                                     text_at(root, "preprocess", "preset"), images},
                run->receipt, sizeof run->receipt);
    (void)snprintf(run->model_sha256, sizeof run->model_sha256, "%s", sha);
    (void)snprintf(run->images_sha256, sizeof run->images_sha256, "%s",
                   text_at(root, "images", "sha256"));
    (void)snprintf(run->compare_why, sizeof run->compare_why, "%s",
                   text_at(root, "settings", "compare_why"));
    const kh_status status = class_setting_of(root, &run->class_by, &run->class_reduction, err);
    json_decref(root);
    return status;
}

kh_status kh_run_open(const char *path, kh_run *out, kh_error *err) {
    char manifest[4096], shown[KH_SHOWN_BYTES];
    *out = (kh_run){.path = path};
    if ((size_t)snprintf(out->tables, sizeof out->tables, "%s/run.sqlite", path) >=
            sizeof out->tables - 32 ||
        (size_t)snprintf(manifest, sizeof manifest, "%s/manifest.json", path) >= sizeof manifest)
        return kh_fail(err, KH_E_LIMIT, "the run directory's path is too long");
    if (!kh_file_exists(manifest) || !kh_file_exists(out->tables))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "'%s' holds no complete run; run keyhole atlas to its end first",
                       kh_shown(path, strlen(path), shown, sizeof shown));
    (void)snprintf(out->truth_tables, sizeof out->truth_tables, "%s/dissect/manifest.json", path);
    const bool has_truth = kh_file_exists(out->truth_tables);
    out->truth_tables[0] = '\0';
    if (has_truth)
        (void)snprintf(out->truth_tables, sizeof out->truth_tables, "%s/dissect/run.sqlite", path);
    const struct {
        const char *key;
        size_t *to;
    } facts[] = {{"blocks", &out->blocks},           {"neurons", &out->neurons},
                 {"classes", &out->classes},         {"images", &out->images},
                 {"grid_height", &out->grid_height}, {"grid_width", &out->grid_width}};
    kh_status status = KH_OK;
    for (size_t i = 0; i < sizeof facts / sizeof *facts && !status; i++)
        status = read_fact(out, facts[i].key, facts[i].to, err);
    if (!status) status = read_names(out, err);
    if (!status) status = read_receipt(out, manifest, err);
    if (status) kh_run_close(out);
    return status;
}

void kh_run_close(kh_run *run) {
    for (size_t c = 0; run->names && c < run->classes; c++)
        kh_free(run->names[c]);
    kh_free(run->names);
    run->names = NULL;
}
