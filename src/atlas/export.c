/* Exemplars of a run in the layout MILAN's programs read. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/export.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "lens/origin.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

kh_export_options kh_export_options_default(void) {
    return (kh_export_options){.batch = 8};
}

/* ---- is it the run's set? ------------------------------------------------------------------ */

/* Of a fingerprint, what decides which pictures its numbers speak of. */
static json_t *input_facts(const json_t *fingerprint) {
    const json_t *settings = json_object_get(fingerprint, "settings");
    return json_pack("{s:n, s:n, s:O?, s:O?, s:O?, s:{s:O?, s:O?}}", "lenses", "arithmetic",
                     "model", json_object_get(fingerprint, "model"), "preprocess",
                     json_object_get(fingerprint, "preprocess"), "image_set",
                     json_object_get(fingerprint, "image_set"), "settings", "exif_rotate",
                     json_object_get(settings, "exif_rotate"), "gray16_scale",
                     json_object_get(settings, "gray16_scale"));
}

static kh_status read_json(const char *run, const char *name, json_t **out, kh_error *err) {
    char path[KH_ATLAS_PATH];
    KH_TRY(kh_atlas_path(path, err, run, "%s", name));
    return kh_json_read_own(path, name, out, err);
}

static kh_status check_set(const kh_export *e, kh_error *err) {
    char path[KH_ATLAS_PATH];
    KH_TRY(kh_atlas_path(path, err, e->options->run, "manifest.json"));
    if (!kh_file_exists(path))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "'%s' holds no complete run; run keyhole atlas to its end first",
                       e->options->run);
    kh_atlas_job *job = kh_calloc(1, sizeof *job);
    if (!job) return kh_fail(err, KH_E_MEMORY, "no memory to compare runs");
    kh_atlas_options options = kh_atlas_options_default();
    options.out = e->options->run;
    options.lenses = "images";
    options.decode = e->options->decode;
    json_t *theirs = NULL;
    kh_status status = kh_atlas_job_init(job, e->ctx, e->model, e->source, &options, err);
    if (!status) status = read_json(e->options->run, "fingerprint.json", &theirs, err);
    if (!status) {
        json_t *mine = input_facts(job->head.fingerprint), *other = input_facts(theirs);
        status = mine && other ? kh_origin_same(mine, other, e->options->run, err)
                               : kh_fail(err, KH_E_MEMORY, "no memory to compare runs");
        json_decref(mine);
        json_decref(other);
    }
    json_decref(theirs);
    kh_atlas_job_clear(job);
    kh_free(job);
    return status;
}

static kh_status count_ranks(kh_export *e, kh_error *err) {
    json_t *manifest = NULL;
    size_t kept = 0;
    KH_TRY(read_json(e->options->run, "manifest.json", &manifest, err));
    const bool ok =
        kh_json_size(json_object_get(json_object_get(manifest, "settings"), "exemplars"), &kept);
    json_decref(manifest);
    if (!ok || kept == 0)
        return kh_fail(err, KH_E_FORMAT, "the run does not say how many exemplars it keeps");
    e->ranks = e->options->ranks ? e->options->ranks : kept;
    if (e->ranks <= kept) return KH_OK;
    return kh_fail(err, KH_E_ARG, "the run keeps %zu exemplars for each unit, %zu are asked for",
                   kept, e->ranks);
}

/* ---- text files ---------------------------------------------------------------------------- */

static kh_status write_csv(const kh_export *e, size_t l, const char *file, bool is_ids,
                           kh_error *err) {
    const kh_export_layer *layer = &e->layers[l];
    char path[KH_ATLAS_PATH];
    kh_text text = {0};
    for (size_t i = 0; i < layer->count * e->ranks; i++) {
        const char *end = (i + 1) % e->ranks ? "," : "\n";
        if (is_ids)
            kh_text_addf(&text, "%lld%s", (long long)layer->ids[i], end);
        else if (isnan(layer->activations[i]))
            kh_text_addf(&text, "nan%s", end);
        else
            kh_text_addf(&text, "%.5e%s", (double)layer->activations[i], end);
    }
    kh_status status = text.failed ? kh_fail(err, KH_E_MEMORY, "no memory for %s", file)
                                   : kh_export_path(e, l, file, path, err);
    if (!status) status = kh_file_write(path, text.data, text.length, err);
    kh_text_clear(&text);
    return status;
}

static kh_status write_lists(const kh_export *e, size_t l, kh_error *err) {
    const kh_export_layer *layer = &e->layers[l];
    char path[KH_ATLAS_PATH];
    KH_TRY(write_csv(e, l, "ids.csv", true, err));
    KH_TRY(write_csv(e, l, "activations.csv", false, err));
    if (layer->count == e->width) return KH_OK;
    int64_t *units = kh_calloc(layer->count, sizeof *units);
    if (!units) return kh_fail(err, KH_E_MEMORY, "no memory for a list of units");
    for (size_t i = 0; i < layer->count; i++)
        units[i] = (int64_t)layer->units[i];
    kh_status status = kh_export_path(e, l, "units.npy", path, err);
    if (!status) status = kh_store_npy(path, KH_NPY_I64, &layer->count, 1, units, err);
    kh_free(units);
    return status;
}

static void list_files(const kh_export *e, size_t l, kh_manifest *m) {
    const size_t n = e->layers[l].count, h = e->info->image_height, w = e->info->image_width;
    const size_t shapes[][5] = {{n, e->ranks, 3, h, w}, {n, e->ranks, 1, h, w}, {n}};
    const struct {
        const char *name, *meaning;
        size_t shape, rank;
    } files[] = {
        {"images.npy", "what the model saw, 8 bits", 0, 5},
        {"masks.npy", "1 where the upsampled map is above the threshold", 1, 5},
        {"activations.csv", "a row for each unit, a column for each rank", 2, 0},
        {"ids.csv", "numbers of the images in the run", 2, 0},
        {"units.npy", "which units of the block", 2, 1},
    };
    const bool is_whole = n == e->width;
    for (size_t i = 0; i < sizeof files / sizeof *files - is_whole; i++) {
        char name[96];
        (void)snprintf(name, sizeof name, "blocks.%zu.mlp.%s/%s", e->layers[l].block,
                       e->options->channels ? "fc2" : "act", files[i].name);
        kh_store_manifest_file(m, name, shapes[files[i].shape], files[i].rank, files[i].meaning);
    }
}

static kh_status write_manifest(const kh_export *e, const kh_export_summary *summary,
                                kh_error *err) {
    const kh_export_options *o = e->options;
    char path[KH_ATLAS_PATH];
    kh_manifest *m = NULL;
    KH_TRY(kh_store_manifest_create("export", &m, err));
    kh_store_manifest_model(m, e->info);
    if (o->command) kh_store_manifest_text(m, "command", o->command);
    kh_store_manifest_text(m, "format_of_files", "milan");
    kh_store_manifest_text(m, "run.digest", e->run_digest);
    kh_store_manifest_text(m, "units", o->channels ? "channels of fc2" : "key neurons");
    kh_store_manifest_text(m, "threshold", o->use_run_quantile ? "the run's" : "0.99");
    kh_store_manifest_text(m, "pad", o->zero_pad ? "zeros" : "edge");
    kh_store_manifest_size(m, "ranks", e->ranks);
    kh_store_manifest_size(m, "images", summary->images);
    for (size_t l = 0; l < e->layer_count; l++)
        list_files(e, l, m);
    kh_status status = kh_atlas_path(path, err, o->out, "manifest.json");
    if (!status) status = kh_store_manifest_write(m, path, err);
    kh_store_manifest_free(m);
    return status;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static kh_status write_all(kh_export *e, kh_export_summary *summary, kh_error *err) {
    KH_TRY(kh_export_pictures(e, &summary->images, err));
    for (size_t l = 0; l < e->layer_count; l++)
        KH_TRY(write_lists(e, l, err));
    for (size_t l = 0; l < e->layer_count; l++)
        summary->units += e->layers[l].count;
    summary->layers = e->layer_count;
    summary->ranks = e->ranks;
    summary->bytes = (uint64_t)summary->units * e->ranks * 4 * e->pixels;
    return write_manifest(e, summary, err);
}

kh_status kh_atlas_export_milan(kh_ctx *ctx, const kh_model *model, const kh_source *source,
                                const kh_export_options *options, kh_export_summary *summary,
                                kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    kh_export_summary mine = {0};
    kh_export e = {.ctx = ctx,
                   .model = model,
                   .info = info,
                   .source = source,
                   .options = options,
                   .pixels = info->image_height * info->image_width,
                   .width = options->channels ? info->dim : info->neurons};
    if (options->batch == 0 || options->batch > 4096)
        return kh_fail(err, KH_E_ARG, "batches of %zu images; 1 to 4096 are possible",
                       options->batch);
    kh_status status = check_set(&e, err);
    if (!status) status = kh_atlas_digest(options->run, e.run_digest, err);
    if (!status) status = count_ranks(&e, err);
    if (!status) status = kh_export_read(&e, err);
    if (!status && options->begin) status = options->begin(options->begin_user, err);
    if (!status) status = write_all(&e, &mine, err);
    kh_export_clear(&e);
    if (summary) *summary = mine;
    return status;
}
