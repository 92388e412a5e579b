#include "cli/perturb.h"

#include "base/alloc.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

kh_status kh_perturb_files_init(kh_perturb_files *f, const kh_perturb_settings *settings,
                                const kh_model *model, const kh_source *source, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    const size_t images = kh_source_count(source);
    *f = (kh_perturb_files){.settings = settings,
                            .model = model,
                            .source = source,
                            .patches = info->tokens - info->prefix_tokens};
    f->ids = kh_calloc(images, sizeof *f->ids);
    f->gradient = kh_calloc(images * f->patches, sizeof *f->gradient);
    if (settings->neuron_gradients) f->neuron = kh_calloc(images * f->patches, sizeof *f->neuron);
    if (!settings->no_relevance)
        f->relevance = kh_calloc(images * f->patches, sizeof *f->relevance);
    if (f->ids && f->gradient && (f->neuron || !settings->neuron_gradients) &&
        (f->relevance || settings->no_relevance))
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for maps of %zu images", images);
}

void kh_perturb_files_clear(kh_perturb_files *f) {
    kh_free(f->ids);
    kh_free(f->gradient);
    kh_free(f->neuron);
    kh_free(f->relevance);
    kh_broken_images_clear(f->broken, f->broken_count);
    kh_broken_images_clear(f->broken_maps, f->broken_maps_count);
    *f = (kh_perturb_files){0};
}

void kh_perturb_files_see(void *files, size_t image, const float *gradient, const float *neuron,
                          const float *relevance) {
    kh_perturb_files *f = files;
    f->ids[f->count] = image;
    memcpy(f->gradient + f->count * f->patches, gradient, f->patches * sizeof *gradient);
    if (neuron) memcpy(f->neuron + f->count * f->patches, neuron, f->patches * sizeof *neuron);
    if (relevance)
        memcpy(f->relevance + f->count * f->patches, relevance, f->patches * sizeof *relevance);
    f->count++;
}

void kh_perturb_files_miss(void *files, size_t image, const char *reason) {
    kh_perturb_files *f = files;
    const char *name = kh_source_get(f->source, image).name;
    const kh_status status = kh_broken_images_add(&f->broken, &f->broken_count, name, reason, NULL);
    if (status) f->broken_status = status;
}

void kh_perturb_files_miss_map(void *files, size_t image, const char *reason) {
    kh_perturb_files *f = files;
    const char *name = kh_source_get(f->source, image).name;
    const kh_status status =
        kh_broken_images_add(&f->broken_maps, &f->broken_maps_count, name, reason, NULL);
    if (status) f->broken_status = status;
}

size_t kh_perturb_maps(const kh_perturb_files *f, kh_perturb_map *out) {
    const kh_perturb_map all[KH_PERTURB_MAPS] = {
        {"gradient", "map.npy", "gradient maps, by patch", "gradient map",
         "gradient map (share of its largest size)", true, false, f->gradient},
        {"relevance", "relevance.npy", "relevance of Chefer et al., by patch", "relevance",
         "relevance of Chefer et al. (share of its largest)", false, false, f->relevance},
        {"neuron", "neuron_gradient.npy",
         "pixels that wake the class's best aligned neuron, by patch", "neuron gradient",
         "neuron gradient (share of its largest)", false, true, f->neuron}};
    size_t count = 0;
    for (size_t k = 0; k < KH_PERTURB_MAPS; k++)
        if (all[k].values) out[count++] = all[k];
    return count;
}

/* ---- tables -------------------------------------------------------------------------------- */

static double share(uint64_t part, uint64_t all) {
    return all ? (double)part / (double)all : (double)NAN;
}

kh_perturb_rates kh_perturb_rates_of(const kh_perturb_row *r) {
    const size_t n = (size_t)r->images;
    return (kh_perturb_rates){
        .accuracy = kh_lens_wilson((size_t)r->hits, n),
        .base_accuracy = kh_lens_wilson((size_t)r->base_hits, n),
        .identifiable = kh_lens_wilson_share(share(r->identifiable, r->tokens), n),
        .base_identifiable = kh_lens_wilson_share(share(r->base_identifiable, r->tokens), n)};
}

static kh_status open_table(const kh_perturb_files *f, const char *name, const char *const *columns,
                            size_t count, kh_csv **out, kh_error *err) {
    char path[4096];
    KH_TRY(kh_outdir_path(f->settings->out, path, sizeof path, err, "%s", name));
    return kh_store_csv_open(path, columns, count, out, err);
}

static kh_status write_rows(const kh_perturb_files *f, const kh_perturbation *p, kh_error *err) {
    static const char *const columns[] = {"kind",
                                          "block_set",
                                          "accuracy",
                                          "accuracy_base",
                                          "ident_rate",
                                          "ident_rate_base",
                                          "n",
                                          "tokens",
                                          "accuracy_lo",
                                          "accuracy_hi",
                                          "accuracy_base_lo",
                                          "accuracy_base_hi",
                                          "ident_rate_lo",
                                          "ident_rate_hi",
                                          "ident_rate_base_lo",
                                          "ident_rate_base_hi"};
    kh_csv *csv;
    KH_TRY(open_table(f, "perturb.csv", columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t k = 0; k < p->row_count; k++) {
        const kh_perturb_row *r = &p->rows[k];
        const kh_perturb_rates rates = kh_perturb_rates_of(r);
        const kh_band bands[] = {rates.accuracy, rates.base_accuracy, rates.identifiable,
                                 rates.base_identifiable};
        kh_store_csv_text(csv, r->kind);
        kh_store_csv_text(csv, "all");
        kh_store_csv_f64(csv, share(r->hits, r->images));
        kh_store_csv_f64(csv, share(r->base_hits, r->images));
        kh_store_csv_f64(csv, share(r->identifiable, r->tokens));
        kh_store_csv_f64(csv, share(r->base_identifiable, r->tokens));
        kh_store_csv_size(csv, (size_t)r->images);
        kh_store_csv_size(csv, (size_t)r->tokens);
        for (size_t b = 0; b < 4; b++) {
            kh_store_csv_f64(csv, bands[b].lo);
            kh_store_csv_f64(csv, bands[b].hi);
        }
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_curves(const kh_perturb_files *f, const kh_perturbation *p, kh_error *err) {
    static const char *const columns[] = {"method",   "sign",   "n_removed",    "frac",         "n",
                                          "accuracy", "margin", "accuracy_low", "accuracy_high"};
    kh_csv *csv;
    KH_TRY(open_table(f, "removal.csv", columns, 9, &csv, err));
    for (size_t v = 0; v < p->curve_count; v++)
        for (size_t k = 0; k < p->point_count; k++) {
            const kh_removal_curve *c = &p->curves[v];
            kh_store_csv_text(csv, c->method);
            kh_store_csv_text(csv, c->sign);
            kh_store_csv_size(csv, c->points[k].removed);
            kh_store_csv_f64(csv, (double)c->points[k].removed / (double)f->patches);
            kh_store_csv_size(csv, (size_t)c->images);
            kh_store_csv_f64(csv, share(c->points[k].hits, c->images));
            kh_store_csv_f64(csv, c->points[k].margin);
            const uint64_t one_order = p->labelled;
            kh_store_csv_f64(csv, share(c->points[k].fewest, one_order));
            kh_store_csv_f64(csv, share(c->points[k].most, one_order));
            kh_store_csv_end(csv);
        }
    return kh_store_csv_close(csv, err);
}

static kh_status write_areas(const kh_perturb_files *f, const kh_perturbation *p, kh_error *err) {
    static const char *const columns[] = {"method", "sign", "auc_v", "auc_trap", "auc_trap_base"};
    kh_csv *csv;
    KH_TRY(open_table(f, "auc.csv", columns, 5, &csv, err));
    for (size_t v = 0; v < p->curve_count; v++) {
        kh_store_csv_text(csv, p->curves[v].method);
        kh_store_csv_text(csv, p->curves[v].sign);
        kh_store_csv_f64(csv, p->curves[v].auc_published);
        kh_store_csv_f64(csv, p->curves[v].auc);
        kh_store_csv_f64(csv, p->curves[v].auc_base);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_images(const kh_perturb_files *f, kh_error *err) {
    static const char *const columns[] = {"row", "image", "name", "class"};
    kh_csv *csv;
    KH_TRY(open_table(f, "images.csv", columns, 4, &csv, err));
    for (size_t i = 0; i < f->count; i++) {
        const kh_source_image image = kh_source_get(f->source, f->ids[i]);
        kh_store_csv_size(csv, i);
        kh_store_csv_size(csv, f->ids[i]);
        kh_store_csv_text(csv, image.name);
        kh_store_csv_size(csv, image.truth);
        kh_store_csv_end(csv);
    }
    return kh_store_csv_close(csv, err);
}

static kh_status write_map(const kh_perturb_files *f, const char *name, const float *maps,
                           kh_error *err) {
    const size_t shape[2] = {f->count, f->patches};
    char path[4096];
    KH_TRY(kh_outdir_path(f->settings->out, path, sizeof path, err, "%s", name));
    return kh_store_npy(path, KH_NPY_F32, shape, 2, maps, err);
}

/* ---- pictures ------------------------------------------------------------------------------ */

kh_status kh_perturb_photo(const kh_perturb_files *f, size_t row, const kh_decode_options *decode,
                           kh_image *out, kh_error *err) {
    kh_image image = {0};
    *out = (kh_image){0};
    kh_status status = kh_source_read_image(f->source, f->ids[row], decode, &image, err);
    if (!status)
        status = kh_preprocess_bytes(&kh_model_get_info(f->model)->preprocess, &image, out, err);
    kh_image_clear(&image);
    return status;
}

kh_status kh_perturb_overlay(const kh_perturb_files *f, const float *map, kh_range range,
                             const float *photo, uint8_t *rgb, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(f->model);
    /* shifted so that the smallest value is 0: heatmaps clip below */
    float *shifted = kh_calloc(f->patches, sizeof *shifted);
    if (!shifted) return kh_fail(err, KH_E_MEMORY, "no memory for a picture");
    for (size_t t = 0; t < f->patches; t++)
        shifted[t] = map[t] - range.min;
    const kh_status status =
        kh_lens_heatmap(shifted, kh_lens_grid(info), (kh_range){0, range.max - range.min},
                        info->image_height, info->image_width, photo, false, rgb, NULL, err);
    kh_free(shifted);
    return status;
}

static kh_status draw(const kh_perturb_files *f, size_t row, const kh_perturb_map *what,
                      const float *photo, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(f->model);
    const size_t height = info->image_height, width = info->image_width;
    const float *map = what->values + row * f->patches;
    kh_range range;
    char path[4096];
    kh_image image = {.width = width, .height = height, .rgb = kh_calloc(height * width, 3)};
    kh_status status = image.rgb ? kh_lens_map_ranges(map, 1, 1, f->patches, NULL, KH_SCALE_MAP,
                                                      false, &range, err)
                                 : kh_fail(err, KH_E_MEMORY, "no memory for a picture");
    if (!status) status = kh_perturb_overlay(f, map, range, photo, image.rgb, err);
    if (!status)
        status = kh_outdir_path(f->settings->out, path, sizeof path, err, "pictures/%06zu_%s.png",
                                f->ids[row], what->name);
    if (!status) status = kh_image_write(path, &image, err);
    kh_image_clear(&image);
    return status;
}

static kh_status draw_row(const kh_perturb_files *f, size_t row, const kh_decode_options *decode,
                          kh_error *err) {
    const kh_model_info *info = kh_model_get_info(f->model);
    const size_t pixels = info->image_height * info->image_width;
    kh_perturb_map maps[KH_PERTURB_MAPS];
    const size_t count = kh_perturb_maps(f, maps);
    kh_image seen = {0};
    float *photo = kh_alloc_floats(3 * pixels);
    kh_status status = photo ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a picture");
    if (!status) status = kh_perturb_photo(f, row, decode, &seen, err);
    if (!status) kh_lens_display_bytes(seen.rgb, pixels, photo);
    for (size_t m = 0; m < count && !status; m++)
        status = draw(f, row, &maps[m], photo, err);
    kh_image_clear(&seen);
    kh_free(photo);
    return status;
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void list_files(const kh_perturb_files *f, const kh_perturbation *p, size_t pictures,
                       kh_manifest *m) {
    const size_t shape[2] = {f->count, f->patches};
    kh_perturb_map maps[KH_PERTURB_MAPS];
    const size_t count = kh_perturb_maps(f, maps);
    kh_store_manifest_file(m, "perturb.csv", NULL, 0, "accuracy and identifiable patches");
    kh_store_manifest_file(m, "removal.csv", NULL, 0, "accuracy and margin by patches removed");
    kh_store_manifest_file(m, "auc.csv", NULL, 0, "areas under these curves");
    kh_store_manifest_file(m, "images.csv", NULL, 0, "which image a row of a map is");
    for (size_t k = 0; k < count; k++)
        kh_store_manifest_file(m, maps[k].file, shape, 2, maps[k].meaning);
    kh_perturb_list_figures(p, m);
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; i < pictures; i++) {
            char name[64];
            (void)snprintf(name, sizeof name, "pictures/%06zu_%s.png", f->ids[i], maps[k].name);
            kh_store_manifest_file(m, name, NULL, 0, "the map over the picture");
        }
}

static kh_status write_manifest(const kh_perturb_files *f, const kh_perturbation *p,
                                size_t pictures, kh_error *err) {
    const kh_perturb_settings *s = f->settings;
    char digest[65];
    kh_manifest *m;
    KH_TRY(kh_source_sha256(f->source, digest, err));
    KH_TRY(kh_store_manifest_create("perturb", &m, err));
    kh_store_manifest_model(m, kh_model_get_info(f->model));
    kh_store_manifest_text(m, "images.sha256", digest);
    kh_store_manifest_size(m, "images.seen", p->images);
    kh_store_manifest_size(m, "images.broken", p->broken);
    kh_store_manifest_size(m, "images.labelled", p->labelled);
    kh_store_manifest_size(m, "images.with_maps", p->with_maps);
    kh_store_manifest_size(m, "images.broken_maps", p->broken_maps);
    kh_store_manifest_text(m, "settings.tokens", s->tokens);
    kh_store_manifest_text(m, "settings.softmax", s->softmax);
    kh_store_manifest_size(m, "settings.steps", s->steps);
    kh_store_manifest_size(m, "settings.random", s->random);
    kh_store_manifest_size(m, "settings.seed", s->seed);
    kh_broken_images_list(f->broken, f->broken_count, m);
    kh_broken_maps_list(f->broken_maps, f->broken_maps_count, m);
    list_files(f, p, pictures, m);
    const kh_status status = kh_outdir_finish(s->out, m, err);
    kh_store_manifest_free(m);
    return status;
}

kh_status kh_perturb_files_write(const kh_perturb_files *f, const kh_perturbation *p,
                                 const kh_decode_options *decode, kh_error *err) {
    const kh_perturb_settings *s = f->settings;
    const size_t pictures = s->pictures < f->count ? s->pictures : f->count;
    kh_perturb_map maps[KH_PERTURB_MAPS];
    const size_t count = kh_perturb_maps(f, maps);
    char path[4096];
    KH_TRY(kh_outdir_begin(s->out, "perturb", err));
    KH_TRY(write_rows(f, p, err));
    KH_TRY(write_curves(f, p, err));
    KH_TRY(write_areas(f, p, err));
    KH_TRY(write_images(f, err));
    for (size_t k = 0; k < count; k++)
        KH_TRY(write_map(f, maps[k].file, maps[k].values, err));
    KH_TRY(kh_perturb_write_figures(f, p, decode, err));
    if (pictures) {
        KH_TRY(kh_outdir_path(s->out, path, sizeof path, err, "pictures"));
        KH_TRY(kh_make_directories(path, err));
    }
    for (size_t i = 0; i < pictures; i++)
        KH_TRY(draw_row(f, i, decode, err));
    return write_manifest(f, p, pictures, err);
}

json_t *kh_perturb_json(const kh_perturb_files *f, const kh_perturbation *p) {
    json_t *rows = json_array(), *curves = json_array();
    for (size_t k = 0; k < p->row_count; k++) {
        const kh_perturb_row *r = &p->rows[k];
        json_array_append_new(
            rows,
            json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "kind", r->kind, "images",
                      (json_int_t)r->images, "accuracy", kh_json_number(share(r->hits, r->images)),
                      "accuracy_base", kh_json_number(share(r->base_hits, r->images)), "ident_rate",
                      kh_json_number(share(r->identifiable, r->tokens)), "ident_rate_base",
                      kh_json_number(share(r->base_identifiable, r->tokens))));
    }
    for (size_t v = 0; v < p->curve_count; v++) {
        const kh_removal_curve *c = &p->curves[v];
        json_array_append_new(curves, json_pack("{s:s, s:s, s:o, s:o, s:o}", "method", c->method,
                                                "sign", c->sign, "auc", kh_json_number(c->auc),
                                                "auc_base", kh_json_number(c->auc_base),
                                                "auc_published", kh_json_number(c->auc_published)));
    }
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:o}", "out",
                     kh_json_text(f->settings->out), "images", (json_int_t)p->images, "labelled",
                     (json_int_t)p->labelled, "with_maps", (json_int_t)p->with_maps, "broken_maps",
                     (json_int_t)p->broken_maps, "failed",
                     kh_broken_images_json(f->broken, f->broken_count), "failed_maps",
                     kh_broken_images_json(f->broken_maps, f->broken_maps_count), "perturbations",
                     rows, "removal", curves);
}
