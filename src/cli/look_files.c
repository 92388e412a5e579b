/* The tables and arrays of `look`. Columns are documented in docs/files.md. */
#include "cli/look.h"
#include "cli/outdir.h"

#include "base/alloc.h"

#include <math.h>

static kh_status write_look(const kh_look_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {
        "image",  "path",  "class", "predicted", "truth",         "rank",        "block",
        "neuron", "score", "min",   "max",       "class_token_a", "contribution"};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "look.csv"));
    kh_csv *csv = NULL;
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    const kh_look *l = &r->look;
    for (size_t i = 0; i < l->images; i++) {
        for (size_t rank = 0; rank < l->k; rank++) {
            const size_t at = i * l->k + rank;
            const float *map = l->maps + at * l->patches;
            float low = map[0], high = map[0];
            for (size_t p = 1; p < l->patches; p++) {
                low = fminf(low, map[p]);
                high = fmaxf(high, map[p]);
            }
            kh_store_csv_size(csv, i);
            kh_store_csv_text(csv, r->paths[i]);
            kh_store_csv_size(csv, l->class_index[i]);
            kh_store_csv_size(csv, l->top[i * l->predictions].class_index);
            if (r->truth[i] == SIZE_MAX)
                kh_store_csv_text(csv, NULL);
            else
                kh_store_csv_size(csv, r->truth[i]);
            kh_store_csv_size(csv, rank);
            kh_store_csv_size(csv, l->neurons[at].block);
            kh_store_csv_size(csv, l->neurons[at].index);
            kh_store_csv_f32(csv, l->neurons[at].score);
            kh_store_csv_f32(csv, low);
            kh_store_csv_f32(csv, high);
            kh_store_csv_f32(csv, l->class_coefficient[at]);
            kh_store_csv_f64(csv, l->contribution ? l->contribution[at] : (double)NAN);
            kh_store_csv_end(csv);
        }
    }
    return kh_store_csv_close(csv, err);
}

/* One row per mask: where the percentile lies and how many pixels are above it. */
static kh_status mask_row(const kh_look_result *r, kh_csv *csv, size_t image, size_t block,
                          const char *kind, const float *map, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(r->model);
    const size_t pixels = info->preprocess.height * info->preprocess.width;
    float *big = kh_alloc_floats(pixels);
    uint8_t *mask = kh_calloc(pixels, 1);
    kh_status status = KH_OK;
    double threshold = 0;
    size_t kept = 0;
    if (!big || !mask) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for a mask");
    } else {
        kh_lens_upsample(map, r->look.grid, info->preprocess.height, info->preprocess.width, big);
        status = kh_lens_mask(big, pixels, r->percentile / 100.0, mask, &threshold, &kept, err);
    }
    kh_free(big);
    kh_free(mask);
    KH_TRY(status);
    kh_store_csv_size(csv, image);
    kh_store_csv_size(csv, r->look.class_index[image]);
    kh_store_csv_size(csv, block);
    kh_store_csv_size(csv, r->look.block_neurons[image * r->look.blocks + block].index);
    kh_store_csv_text(csv, kind);
    kh_store_csv_f32(csv, (float)threshold);
    kh_store_csv_size(csv, kept);
    kh_store_csv_end(csv);
    return KH_OK;
}

static kh_status write_masks(const kh_look_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"image", "class", "block",  "neuron",
                                          "kind",  "q",     "kept_px"};
    const kh_look *l = &r->look;
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "mask_stats.csv"));
    float *running = kh_alloc_floats(l->blocks * l->patches);
    if (!running) return kh_fail(err, KH_E_MEMORY, "no memory for running means");
    kh_csv *csv = NULL;
    kh_status status =
        kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err);
    for (size_t i = 0; i < l->images && !status; i++) {
        const float *maps = l->block_maps + i * l->blocks * l->patches;
        kh_lens_running_mean(maps, l->blocks, l->patches, r->norm_before_mean, running);
        for (size_t b = 0; b < l->blocks && !status; b++) {
            status = mask_row(r, csv, i, b, "own", maps + b * l->patches, err);
            if (!status) status = mask_row(r, csv, i, b, "running", running + b * l->patches, err);
        }
    }
    kh_free(running);
    if (!status) return kh_store_csv_close(csv, err);
    kh_store_csv_abort(csv);
    return status;
}

static kh_status write_arrays(const kh_look_result *r, const char *folder, kh_error *err) {
    const kh_look *l = &r->look;
    const size_t shape[] = {l->images, l->k, l->patches};
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "map.npy"));
    KH_TRY(kh_store_npy(path, KH_NPY_F32, shape, 3, l->maps, err));
    if (!l->block_maps) return KH_OK;
    const size_t block_shape[] = {l->images, l->blocks, l->patches};
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "block_map.npy"));
    return kh_store_npy(path, KH_NPY_F32, block_shape, 3, l->block_maps, err);
}

static void list_figures(kh_manifest *m, const kh_look_result *r) {
    const kh_look *l = &r->look;
    char stem[KH_LOOK_STEM_BYTES];
    for (size_t first = 0, page = 1; first < l->images; first += KH_LOOK_ROWS_PER_PAGE, page++) {
        kh_look_page_stem(r, page, stem, sizeof stem);
        kh_outdir_list_figure(m, stem, "figures 10 and 11, one row per image");
    }
    for (size_t i = 0; l->block_maps && i < l->images; i++) {
        kh_look_blocks_stem(r, i, stem, sizeof stem);
        kh_outdir_list_figure(m, stem, "figures 1 and 2 of one image");
    }
}

static kh_status write_manifest(const kh_look_result *r, const char *folder, kh_error *err) {
    const kh_look *l = &r->look;
    kh_manifest *m = NULL;
    KH_TRY(kh_store_manifest_create("look", &m, err));
    kh_store_manifest_model(m, kh_model_get_info(r->model));
    kh_store_manifest_text(m, "look.mode", kh_align_mode_name(r->ranking->mode));
    kh_store_manifest_text(m, "look.block", r->block ? r->block : "all");
    kh_store_manifest_text(m, "look.class",
                           r->from_truth    ? "true"
                           : r->asked_class ? "asked for"
                                            : "predicted");
    kh_store_manifest_bool(m, "look.exif_rotate", r->exif_rotate);
    kh_store_manifest_bool(m, "look.gray16_scale", r->gray16_scale);
    kh_store_manifest_text(m, "look.coefficient", r->site);
    kh_store_manifest_text(m, "look.scale", kh_scale_name(r->scale));
    kh_store_manifest_bool(m, "look.r_compat", r->r_compat);
    kh_store_manifest_bool(m, "look.norm_before_mean", r->norm_before_mean);
    kh_store_manifest_f64(m, "look.mask_percentile", r->percentile);
    kh_store_manifest_size(m, "look.k", l->k);
    kh_store_manifest_size(m, "look.grid_height", l->grid.height);
    kh_store_manifest_size(m, "look.grid_width", l->grid.width);
    kh_store_manifest_texts(m, "images", (const char *const *)(void *)r->paths, l->images);
    kh_broken_images_list(r->broken, r->broken_count, m);
    const size_t shape[] = {l->images, l->k, l->patches};
    const size_t block_shape[] = {l->images, l->blocks, l->patches};
    kh_store_manifest_file(m, "look.csv", NULL, 0, "one row per image and rank");
    kh_store_manifest_file(m, "map.npy", shape, 3, "memory coefficients at the image tokens");
    if (l->block_maps) {
        kh_store_manifest_file(m, "block_map.npy", block_shape, 3,
                               "the same for each block's first neuron");
        kh_store_manifest_file(m, "mask_stats.csv", NULL, 0, "percentile masks");
    }
    list_figures(m, r);
    const kh_status status = kh_outdir_finish(folder, m, err);
    kh_store_manifest_free(m);
    return status;
}

kh_status kh_look_write_files(const kh_look_result *r, const char *folder, kh_error *err) {
    KH_TRY(write_look(r, folder, err));
    KH_TRY(write_arrays(r, folder, err));
    if (r->look.block_maps) KH_TRY(write_masks(r, folder, err));
    return write_manifest(r, folder, err);
}
