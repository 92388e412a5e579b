/* Pictures and masks of exemplars: every image once through the pass, its parts put where they
 * belong in files that are written in any order. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/export.h"

#include "base/alloc.h"
#include "base/file.h"
#include "compute/backend.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

void kh_export_upsample_zeros(const float *map, kh_grid grid, size_t height, size_t width,
                              float *padded, float *out) {
    const size_t wide = grid.width + 2;
    memset(padded, 0, (grid.height + 2) * wide * sizeof *padded);
    for (size_t y = 0; y < grid.height; y++)
        memcpy(padded + (y + 1) * wide + 1, map + y * grid.width, grid.width * sizeof *map);
    for (size_t y = 0; y < height; y++) {
        const double at_y =
            ((double)y + 0.5) * (double)grid.height / (grid.seen_height * (double)height) + 0.5;
        const size_t top = (size_t)at_y < grid.height ? (size_t)at_y : grid.height;
        const double wy = at_y - (double)top < 1 ? at_y - (double)top : 1;
        for (size_t x = 0; x < width; x++) {
            const double at_x =
                ((double)x + 0.5) * (double)grid.width / (grid.seen_width * (double)width) + 0.5;
            const size_t left = (size_t)at_x < grid.width ? (size_t)at_x : grid.width;
            const double wx = at_x - (double)left < 1 ? at_x - (double)left : 1;
            const float *a = padded + top * wide + left, *b = a + wide;
            const double upper = (double)a[0] + wx * ((double)a[1] - (double)a[0]);
            const double lower = (double)b[0] + wx * ((double)b[1] - (double)b[0]);
            out[y * width + x] = (float)(upper + wy * (lower - upper));
        }
    }
}

/* ---- the pass ------------------------------------------------------------------------------ */

typedef struct work {
    kh_export *e;
    kh_pass *pass;
    float *images;   /* [batch, 3, height, width] */
    uint8_t *planes; /* [batch, 3, height, width] */
    uint64_t *ids;   /* [batch] */
    size_t *first;   /* [batch + 1] places of an image */
    size_t count;
    float *map, *padded, *up; /* [threads, ...] */
    uint8_t *mask;            /* [threads, pixels] */
    kh_grid grid;
} work;

static kh_status create_pass(work *r, kh_error *err) {
    const kh_export *e = r->e;
    kh_tap *taps = kh_calloc(e->layer_count, sizeof *taps);
    char(*names)[64] = kh_calloc(e->layer_count, sizeof *names);
    kh_status status = KH_OK;
    if (!taps || !names) status = kh_fail(err, KH_E_MEMORY, "no memory for taps");
    for (size_t l = 0; l < e->layer_count && !status; l++) {
        const kh_export_layer *layer = &e->layers[l];
        (void)snprintf(names[l], sizeof *names, "blocks.%zu.%s", layer->block,
                       e->options->channels ? "hook_mlp_out" : "mlp.hook_post");
        const bool is_whole = layer->count == e->width;
        taps[l] = (kh_tap){.site = names[l],
                           .units = is_whole ? NULL : layer->units,
                           .unit_count = is_whole ? 0 : layer->count};
    }
    const kh_pass_spec spec = {
        .max_batch = e->options->batch, .taps = taps, .tap_count = e->layer_count};
    if (!status) status = kh_pass_create(e->ctx, e->model, &spec, &r->pass, err);
    kh_free(names);
    kh_free(taps);
    return status;
}

static kh_status allocate(work *r, kh_error *err) {
    const kh_export *e = r->e;
    const size_t batch = e->options->batch, threads = kh_ctx_threads(e->ctx);
    const size_t patches = e->info->tokens - e->info->prefix_tokens;
    r->grid = kh_lens_grid(e->info);
    r->images = kh_alloc_floats(batch * 3 * e->pixels);
    r->planes = kh_calloc(batch * 3, e->pixels);
    r->ids = kh_calloc(batch, sizeof *r->ids);
    r->first = kh_calloc(batch + 1, sizeof *r->first);
    r->map = kh_alloc_floats(threads * patches);
    r->padded = kh_alloc_floats(threads * (r->grid.height + 2) * (r->grid.width + 2));
    r->up = kh_alloc_floats(threads * e->pixels);
    r->mask = kh_calloc(threads, e->pixels);
    if (!r->images || !r->planes || !r->ids || !r->first || !r->map || !r->padded || !r->up ||
        !r->mask)
        return kh_fail(err, KH_E_MEMORY, "no memory for a batch of %zu images", batch);
    return create_pass(r, err);
}

static void clear(work *r) {
    kh_pass_free(r->pass);
    void *const all[] = {r->images, r->planes, r->ids, r->first, r->map, r->padded, r->up, r->mask};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
}

static kh_status read_image(work *r, size_t i, kh_error *err) {
    const kh_export *e = r->e;
    const kh_preprocess *how = &e->info->preprocess;
    kh_image image = {0}, seen = {0};
    kh_status status =
        kh_source_read_image(e->source, (size_t)r->ids[i], e->options->decode, &image, err);
    if (!status) status = kh_preprocess_bytes(how, &image, &seen, err);
    if (!status)
        status =
            kh_preprocess_floats(how, &seen, r->images + i * 3 * e->pixels, 3 * e->pixels, err);
    uint8_t *planes = r->planes + i * 3 * e->pixels;
    for (size_t p = 0; p < e->pixels && !status; p++)
        for (size_t c = 0; c < 3; c++)
            planes[c * e->pixels + p] = seen.rgb[3 * p + c];
    kh_image_clear(&image);
    kh_image_clear(&seen);
    if (!status) return KH_OK;
    return kh_error_context(err, status, "image %llu, %s", (unsigned long long)r->ids[i],
                            kh_source_get(e->source, (size_t)r->ids[i]).name);
}

/* ---- one place ----------------------------------------------------------------------------- */

/* Does the model still say what the run says? Other instruction sets differ by rounding. */
static bool agrees(float got, float want) {
    return fabs((double)got - (double)want) <= 1e-3 * fabs((double)want) + 1e-4;
}

static bool put_place(work *r, size_t i, const kh_export_place *at, size_t worker) {
    const kh_export *e = r->e;
    const kh_export_layer *layer = &e->layers[at->layer];
    const size_t prefix = e->info->prefix_tokens, patches = e->info->tokens - prefix;
    const size_t column = layer->count == e->width ? layer->units[at->row] : at->row;
    const float *tap =
        kh_pass_tap(r->pass, at->layer) + (i * e->info->tokens + prefix) * layer->count + column;
    const float scale = layer->scale[at->row];
    float *map = r->map + worker * patches, *up = r->up + worker * e->pixels;
    float max = -INFINITY;
    for (size_t t = 0; t < patches; t++) {
        const float v = tap[t * layer->count];
        map[t] = scale == 1.0f ? v : scale != 0.0f ? v / scale : 0.0f;
        if (map[t] > max) max = map[t];
    }
    if (!agrees(max, at->value)) return false;
    if (e->options->zero_pad)
        kh_export_upsample_zeros(map, r->grid, e->info->image_height, e->info->image_width,
                                 r->padded + worker * (r->grid.height + 2) * (r->grid.width + 2),
                                 up);
    else
        kh_lens_upsample(map, r->grid, e->info->image_height, e->info->image_width, up);
    uint8_t *mask = r->mask + worker * e->pixels;
    for (size_t p = 0; p < e->pixels; p++)
        mask[p] = up[p] > layer->threshold[at->row];
    const size_t place = at->row * e->ranks + at->rank;
    kh_store_npy_bytes_put(layer->masks, place * e->pixels, mask, e->pixels);
    kh_store_npy_bytes_put(layer->images, place * 3 * e->pixels, r->planes + i * 3 * e->pixels,
                           3 * e->pixels);
    return true;
}

/* Layers side by side: a layer's files belong to one thread. */
static void put_layer(void *arg, size_t l, size_t worker) {
    work *r = arg;
    for (size_t i = 0; i < r->count; i++)
        for (size_t p = r->first[i]; p < r->first[i + 1]; p++)
            if (r->e->places[p].layer == l && !put_place(r, i, &r->e->places[p], worker))
                r->e->layers[l].differs = true;
}

static kh_status check_batch(const work *r, kh_error *err) {
    const kh_export *e = r->e;
    for (size_t l = 0; l < e->layer_count; l++)
        if (e->layers[l].differs)
            return kh_fail(err, KH_E_ARG,
                           "the model gives block %zu other activations than the run says: images "
                           "or weights changed since",
                           e->layers[l].block);
    return KH_OK;
}

static kh_status do_batch(work *r, kh_error *err) {
    for (size_t i = 0; i < r->count; i++)
        KH_TRY(read_image(r, i, err));
    KH_TRY(kh_pass_run(r->pass, r->images, r->count, err));
    kh_pool_run(kh_ctx_pool(r->e->ctx), r->e->layer_count, put_layer, r);
    return check_batch(r, err);
}

/* ---- all of them --------------------------------------------------------------------------- */

static kh_status open_files(kh_export *e, kh_error *err) {
    const size_t h = e->info->image_height, w = e->info->image_width;
    char path[KH_ATLAS_PATH];
    for (size_t l = 0; l < e->layer_count; l++) {
        kh_export_layer *layer = &e->layers[l];
        const size_t images[] = {layer->count, e->ranks, 3, h, w};
        const size_t masks[] = {layer->count, e->ranks, 1, h, w};
        KH_TRY(kh_export_path(e, l, "", path, err));
        KH_TRY(kh_make_directories(path, err));
        KH_TRY(kh_export_path(e, l, "images.npy", path, err));
        KH_TRY(kh_store_npy_bytes_open(path, images, 5, &layer->images, err));
        KH_TRY(kh_export_path(e, l, "masks.npy", path, err));
        KH_TRY(kh_store_npy_bytes_open(path, masks, 5, &layer->masks, err));
    }
    return KH_OK;
}

static kh_status close_files(kh_export *e, kh_error *err) {
    for (size_t l = 0; l < e->layer_count; l++) {
        kh_export_layer *layer = &e->layers[l];
        kh_npy_bytes *images = layer->images, *masks = layer->masks;
        layer->images = layer->masks = NULL;
        const kh_status first = kh_store_npy_bytes_close(images, err);
        const kh_status second = kh_store_npy_bytes_close(masks, first ? NULL : err);
        if (first || second) return first ? first : second;
    }
    return KH_OK;
}

kh_status kh_export_pictures(kh_export *e, size_t *images, kh_error *err) {
    work r = {.e = e};
    const kh_export_options *o = e->options;
    kh_status status = open_files(e, err);
    if (!status) status = allocate(&r, err);
    *images = 0;
    for (size_t at = 0; at < e->place_count && !status;) {
        for (r.count = 0; r.count < o->batch && at < e->place_count; r.count++) {
            r.ids[r.count] = e->places[at].image;
            r.first[r.count] = at;
            while (at < e->place_count && e->places[at].image == r.ids[r.count])
                at++;
            r.first[r.count + 1] = at;
        }
        status = do_batch(&r, err);
        *images += r.count;
        if (!status && o->progress && !o->progress(o->progress_user, "places", at, e->place_count))
            status = kh_fail(err, KH_E_STOPPED, "the export was stopped");
    }
    clear(&r);
    return status ? status : close_files(e, err);
}
