/* Which exemplars go where: read from a run's tables and arrays. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/export.h"

#include "base/alloc.h"
#include "base/file.h"
#include "lens/values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kh_export_clear(kh_export *e) {
    for (size_t l = 0; l < e->layer_count; l++) {
        kh_export_layer *layer = &e->layers[l];
        kh_store_npy_bytes_abort(layer->images);
        kh_store_npy_bytes_abort(layer->masks);
        void *const all[] = {layer->units, layer->threshold, layer->scale, layer->ids,
                             layer->activations};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            kh_free(all[i]);
    }
    kh_free(e->layers);
    kh_free(e->places);
    e->layers = NULL;
    e->places = NULL;
    e->layer_count = e->place_count = 0;
}

kh_status kh_export_path(const kh_export *e, size_t layer, const char *file,
                         char out[KH_ATLAS_PATH], kh_error *err) {
    return kh_atlas_path(out, err, e->options->out, "blocks.%zu.mlp.%s/%s", e->layers[layer].block,
                         e->options->channels ? "fc2" : "act", file);
}

/* ---- which units --------------------------------------------------------------------------- */

/* chosen [blocks, width] */
static kh_status choose(const kh_export *e, bool *chosen, kh_error *err) {
    const kh_export_options *o = e->options;
    for (size_t i = 0; i < e->info->blocks * e->width && !o->neuron_count; i++)
        chosen[i] = true;
    for (size_t i = 0; i < o->neuron_count; i++) {
        const kh_neuron n = o->neurons[i];
        if (n.block >= e->info->blocks || n.index >= e->width)
            return kh_fail(err, KH_E_ARG, "b%zun%zu: the model has %zu blocks of %zu %s", n.block,
                           n.index, e->info->blocks, e->width,
                           o->channels ? "channels" : "key neurons");
        chosen[n.block * e->width + n.index] = true;
    }
    return KH_OK;
}

static kh_status make_layer(kh_export *e, size_t block, const bool *chosen, kh_error *err) {
    size_t count = 0;
    for (size_t u = 0; u < e->width; u++)
        count += chosen[u];
    if (count == 0) return KH_OK;
    kh_export_layer *layer = &e->layers[e->layer_count++];
    *layer = (kh_export_layer){.block = block,
                               .units = kh_calloc(count, sizeof *layer->units),
                               .threshold = kh_alloc_floats(count),
                               .scale = kh_alloc_floats(count),
                               .ids = kh_calloc(count * e->ranks, sizeof *layer->ids),
                               .activations = kh_alloc_floats(count * e->ranks)};
    if (!layer->units || !layer->threshold || !layer->scale || !layer->ids || !layer->activations)
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu units", count);
    for (size_t u = 0; u < e->width; u++)
        if (chosen[u]) layer->units[layer->count++] = u;
    for (size_t i = 0; i < count * e->ranks; i++) {
        layer->ids[i] = -1;
        layer->activations[i] = NAN;
    }
    return KH_OK;
}

static kh_status make_layers(kh_export *e, kh_error *err) {
    bool *chosen = kh_calloc(e->info->blocks * e->width, sizeof *chosen);
    e->layers = kh_calloc(e->info->blocks, sizeof *e->layers);
    kh_status status = chosen && e->layers
                           ? choose(e, chosen, err)
                           : kh_fail(err, KH_E_MEMORY, "no memory for a list of units");
    for (size_t b = 0; b < e->info->blocks && !status; b++)
        status = make_layer(e, b, chosen + b * e->width, err);
    kh_free(chosen);
    return status;
}

/* ---- thresholds ---------------------------------------------------------------------------- */

static kh_status read_scale(const kh_export *e, kh_export_layer *layer, kh_error *err) {
    float *gamma = NULL;
    if (e->options->channels && e->info->has_layer_scale)
        KH_TRY(kh_lens_read_block(e->model, layer->block, "ls2.gamma", true, e->info->dim, &gamma,
                                  err));
    for (size_t i = 0; i < layer->count; i++)
        layer->scale[i] = gamma ? gamma[layer->units[i]] : 1.0f;
    kh_free(gamma);
    return KH_OK;
}

static kh_status read_thresholds(kh_export *e, kh_error *err) {
    const kh_export_options *o = e->options;
    char path[KH_ATLAS_PATH];
    size_t shape[8], rank;
    KH_TRY(kh_atlas_path(path, err, o->run, "arrays/%sthresholds%s.npy",
                         o->channels ? "channel_" : "", o->use_run_quantile ? "" : "_99"));
    if (!kh_file_exists(path))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "the run has no thresholds of these units: it was made without the lens "
                       "'%s'",
                       o->channels ? "channels" : "units");
    KH_TRY(kh_store_npy_shape(path, shape, &rank, err));
    if (rank != 2 || shape[0] != e->info->blocks || shape[1] != e->width)
        return kh_fail(err, KH_E_SHAPE, "'%s' holds thresholds of another model", path);
    float *row = kh_alloc_floats(e->width);
    kh_status status = row ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for thresholds");
    for (size_t l = 0; l < e->layer_count && !status; l++) {
        kh_export_layer *layer = &e->layers[l];
        status = kh_store_npy_floats(path, layer->block * e->width, e->width, row, err);
        for (size_t i = 0; i < layer->count && !status; i++)
            layer->threshold[i] = row[layer->units[i]];
        if (!status) status = read_scale(e, layer, err);
    }
    kh_free(row);
    return status;
}

/* ---- exemplars ----------------------------------------------------------------------------- */

static kh_status bad_row(kh_error *err) {
    return kh_fail(err, KH_E_FORMAT, "a row of the run's table of exemplars is impossible");
}

/* One row of the answer: unit, rank, image, value. */
static kh_status take_row(kh_export *e, size_t l, const kh_answer *a, size_t i,
                          const size_t *row_of, kh_error *err) {
    kh_export_layer *layer = &e->layers[l];
    double cells[4];
    for (size_t c = 0; c < 4; c++) {
        cells[c] = kh_answer_number(a, i, c);
        if (!isfinite(cells[c]) || (c < 3 && !(cells[c] >= 0))) return bad_row(err);
    }
    if (cells[0] >= (double)e->width || cells[1] >= (double)e->ranks ||
        cells[2] >= (double)kh_source_count(e->source))
        return bad_row(err);
    const size_t row = row_of[(size_t)cells[0]], rank = (size_t)cells[1];
    if (row == SIZE_MAX) return KH_OK;
    layer->ids[row * e->ranks + rank] = (int64_t)cells[2];
    layer->activations[row * e->ranks + rank] = (float)cells[3];
    e->places[e->place_count++] = (kh_export_place){.image = (uint64_t)cells[2],
                                                    .value = (float)cells[3],
                                                    .layer = (uint32_t)l,
                                                    .row = (uint32_t)row,
                                                    .rank = (uint32_t)rank};
    return KH_OK;
}

static kh_status read_layer(kh_export *e, size_t l, size_t *row_of, kh_error *err) {
    const kh_export_layer *layer = &e->layers[l];
    const int64_t parameters[2] = {(int64_t)layer->block, (int64_t)e->ranks};
    char path[KH_ATLAS_PATH];
    kh_answer *a = NULL;
    for (size_t u = 0; u < e->width; u++)
        row_of[u] = SIZE_MAX;
    for (size_t i = 0; i < layer->count; i++)
        row_of[layer->units[i]] = i;
    KH_TRY(kh_atlas_path(path, err, e->options->run, "run.sqlite"));
    KH_TRY(kh_store_db_ask(path,
                           e->options->channels
                               ? "SELECT channel, rank, image, value FROM channel_exemplars WHERE "
                                 "level = 'top' AND block = ?1 AND rank < ?2"
                               : "SELECT neuron, rank, image, value FROM exemplars WHERE level = "
                                 "'top' AND block = ?1 AND rank < ?2",
                           parameters, 2, &a, err));
    kh_export_place *more =
        kh_realloc(e->places, e->place_count + kh_answer_rows(a) + 1, sizeof *more);
    kh_status status = more ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for exemplars");
    if (more) e->places = more;
    for (size_t i = 0; i < kh_answer_rows(a) && !status; i++)
        status = take_row(e, l, a, i, row_of, err);
    kh_answer_free(a);
    return status;
}

static int by_image(const void *left, const void *right) {
    const kh_export_place *a = left, *b = right;
    if (a->image != b->image) return a->image > b->image ? 1 : -1;
    if (a->layer != b->layer) return a->layer > b->layer ? 1 : -1;
    return (a->row > b->row) - (a->row < b->row);
}

kh_status kh_export_read(kh_export *e, kh_error *err) {
    KH_TRY(make_layers(e, err));
    KH_TRY(read_thresholds(e, err));
    size_t *row_of = kh_calloc(e->width, sizeof *row_of);
    kh_status status = row_of ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for exemplars");
    for (size_t l = 0; l < e->layer_count && !status; l++)
        status = read_layer(e, l, row_of, err);
    kh_free(row_of);
    if (!status) qsort(e->places, e->place_count, sizeof *e->places, by_image);
    return status;
}
