/* The figures of `perturb`: removal curves, shares under disturbance, a sheet of maps. */
#include "cli/perturb.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SHEET_ROWS = 6 };

static const char *method_name(const char *method, bool has_article) {
    if (strcmp(method, "gradient") == 0) return has_article ? "the gradient map" : "gradient map";
    if (strcmp(method, "neuron") == 0)
        return has_article ? "the best aligned neuron" : "best aligned neuron";
    return method;
}

static double share(uint64_t part, uint64_t all) {
    return all ? (double)part / (double)all : (double)NAN;
}

static kh_status finish(kh_status status, const kh_perturb_files *f, const char *stem,
                        kh_figure *figure, kh_error *err) {
    if (!status) return kh_outdir_figure(f->settings->out, stem, figure, err);
    kh_figure_free(figure);
    return status;
}

/* ---- removal curves -------------------------------------------------------------------------- */

/* x, y and the range of the random orders, [4, points] */
static void fill_curve(const kh_perturb_files *f, const kh_perturbation *p,
                       const kh_removal_curve *c, double *out) {
    const size_t n = p->point_count;
    for (size_t k = 0; k < n; k++) {
        out[k] = (double)c->points[k].removed / (double)f->patches;
        out[n + k] = share(c->points[k].hits, c->images);
        out[2 * n + k] = share(c->points[k].fewest, p->labelled);
        out[3 * n + k] = share(c->points[k].most, p->labelled);
    }
}

enum { MOST_LINES = 5 };

static kh_status add_removal(const kh_perturb_files *f, const kh_perturbation *p, kh_figure *figure,
                             const char *sign, const char *title, kh_error *err) {
    const size_t n = p->point_count;
    char names[MOST_LINES][64], band[48];
    kh_figure_line lines[MOST_LINES];
    size_t count = 0;
    double *values = kh_calloc((4 * MOST_LINES) * n, sizeof *values);
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for curves");
    (void)snprintf(band, sizeof band, "worst to best of %zu order%s", f->settings->random,
                   KH_S(f->settings->random));
    for (size_t v = 0; v < p->curve_count && count + 1 < MOST_LINES; v++) {
        const kh_removal_curve *c = &p->curves[v];
        const bool is_random = strcmp(c->method, "random") == 0;
        if (!is_random && strcmp(c->sign, sign) != 0) continue;
        double *at = values + 4 * count * n;
        fill_curve(f, p, c, at);
        (void)snprintf(names[count], sizeof names[count], "%s (area %.3f)",
                       is_random ? "random order" : method_name(c->method, false), c->auc);
        lines[count] = (kh_figure_line){.name = names[count],
                                        .x = at,
                                        .y = at + n,
                                        .low = is_random ? at + 2 * n : NULL,
                                        .high = is_random ? at + 3 * n : NULL,
                                        .band_name = band,
                                        .count = n,
                                        .kind = is_random ? KH_LINE_NULL : KH_LINE_POINTS};
        count++;
    }
    double *base = values + 4 * count * n;
    for (size_t k = 0; k < n; k++) {
        base[k] = values[k];
        base[n + k] = values[n]; /* every curve starts with nothing taken away */
    }
    lines[count++] = (kh_figure_line){
        .name = "nothing taken away", .x = base, .y = base + n, .count = n, .kind = KH_LINE_DASHED};
    const kh_figure_lines chart = {.title = title,
                                   .x = {.label = "share of patches taken away", .high = 1},
                                   .y = {.label = "accuracy (share of images)", .high = 1},
                                   .lines = lines,
                                   .line_count = count,
                                   .width = 520,
                                   .height = 320};
    const kh_status status = kh_figure_add_lines(figure, &chart, err);
    kh_free(values);
    return status;
}

static const kh_removal_curve *best_order(const kh_perturbation *p,
                                          const kh_removal_curve **random) {
    const kh_removal_curve *best = NULL;
    *random = NULL;
    for (size_t v = 0; v < p->curve_count; v++) {
        const kh_removal_curve *c = &p->curves[v];
        if (strcmp(c->method, "random") == 0) *random = c;
        if (strcmp(c->sign, "positive") == 0 && (!best || c->auc < best->auc)) best = c;
    }
    return best;
}

static kh_status draw_removal(const kh_perturb_files *f, const kh_perturbation *p,
                              const char *footnote, kh_error *err) {
    const kh_removal_curve *random, *best = best_order(p, &random);
    char title[240], beside[64] = "", subtitle[480];
    if (!best) return KH_OK;
    if (random) (void)snprintf(beside, sizeof beside, ", %.3f in random order", random->auc);
    (void)snprintf(title, sizeof title,
                   "Most important patches first, accuracy falls fastest in the order of %s: "
                   "area %.3f%s",
                   method_name(best->method, true), best->auc, beside);
    (void)snprintf(
        subtitle, sizeof subtitle,
        "Of each of %zu image%s, patches are taken away behind the position embeddings in "
        "the order of a map of that image; the class token stays. Area: under accuracy, "
        "from no patch taken away to all %zu.",
        p->labelled, KH_S(p->labelled), f->patches);
    const kh_figure_options options = {.title = title, .subtitle = subtitle, .footnote = footnote};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    if (!status) kh_figure_columns(figure, 2);
    if (!status)
        status = add_removal(f, p, figure, "positive",
                             "Most important first: the lower, the better the map", err);
    if (!status)
        status = add_removal(f, p, figure, "negative",
                             "Least important first: the higher, the better the map", err);
    return finish(status, f, "perturb_removal", figure, err);
}

/* ---- shares ---------------------------------------------------------------------------------- */

enum { KINDS = 4 };

static const char *kind_name(const char *kind) {
    static const char *const names[][2] = {{"self_only", "see only themselves"},
                                           {"no_cls", "class token unseen"},
                                           {"no_context", "object alone"},
                                           {"no_class", "background alone"}};
    for (size_t k = 0; k < KINDS; k++)
        if (strcmp(kind, names[k][0]) == 0) return names[k][1];
    return kind;
}

static kh_status add_rates(const kh_perturbation *p, kh_figure *figure, bool is_accuracy,
                           kh_error *err) {
    static const char *const series[] = {"undisturbed, the same images", "disturbed"};
    static const char *const patches[] = {"undisturbed, the same patches", "disturbed"};
    double values[2 * KINDS], low[2 * KINDS], high[2 * KINDS];
    const char *names[KINDS];
    const size_t n = p->row_count;
    for (size_t k = 0; k < n; k++) {
        const kh_perturb_rates rates = kh_perturb_rates_of(&p->rows[k]);
        const kh_band bands[2] = {is_accuracy ? rates.base_accuracy : rates.base_identifiable,
                                  is_accuracy ? rates.accuracy : rates.identifiable};
        for (size_t s = 0; s < 2; s++) {
            values[s * n + k] = bands[s].mean;
            low[s * n + k] = bands[s].lo;
            high[s * n + k] = bands[s].hi;
        }
        names[k] = kind_name(p->rows[k].kind);
    }
    const kh_figure_bars bars = {
        .title = is_accuracy ? "Accuracy" : "Patches that the classifier reads as the class",
        .y = {.label = is_accuracy ? "share of images" : "share of patches", .high = 1},
        .values = values,
        .series = 2,
        .groups = n,
        .series_names = is_accuracy ? series : patches,
        .group_names = names,
        .show_values = true,
        .low = low,
        .high = high,
        .whisker_name = "95 % interval",
        .width = n > 2 ? 640 : 420,
        .height = 300};
    return kh_figure_add_bars(figure, &bars, err);
}

static kh_status draw_rates(const kh_perturb_files *f, const kh_perturbation *p,
                            const char *footnote, kh_error *err) {
    const kh_perturb_row *alone = &p->rows[0];
    char title[200], subtitle[720];
    (void)snprintf(title, sizeof title,
                   "When patches see only themselves, accuracy is %.2f instead of %.2f",
                   share(alone->hits, alone->images), share(alone->base_hits, alone->images));
    (void)snprintf(
        subtitle, sizeof subtitle,
        "In every block, patches attend to themselves alone, or not to the class token (the class "
        "token still sees them).%s Right: patches of the last block that the final norm and the "
        "classifier read as the true class. Intervals: Wilson's; those of patches as if an image "
        "were one patch, for patches of an image are alike.",
        p->row_count > 2 ? " Object alone: only patches that show the true class are left; "
                           "background alone: only the others."
                         : "");
    const kh_figure_options options = {.title = title, .subtitle = subtitle, .footnote = footnote};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    if (!status) kh_figure_columns(figure, 2);
    if (!status) status = add_rates(p, figure, true, err);
    if (!status) status = add_rates(p, figure, false, err);
    return finish(status, f, "perturb_rates", figure, err);
}

/* ---- a sheet of maps ------------------------------------------------------------------------- */

/* The first image of each class, in the order of the images. */
static size_t choose_rows(const kh_perturb_files *f, size_t *rows) {
    size_t count = 0;
    for (size_t i = 0; i < f->count && count < SHEET_ROWS; i++) {
        const size_t c = kh_source_get(f->source, f->ids[i]).truth;
        bool is_new = true;
        for (size_t k = 0; k < count; k++)
            is_new = is_new && kh_source_get(f->source, f->ids[rows[k]]).truth != c;
        if (is_new) rows[count++] = i;
    }
    return count;
}

/* From 0, or symmetrical about it, to the largest value of one image's map. */
static kh_range range_of(const kh_perturb_files *f, const kh_perturb_map *map, size_t row) {
    kh_range range = {0, 0};
    for (size_t t = 0; t < f->patches; t++) {
        const float v = map->values[row * f->patches + t];
        range.max = fmaxf(range.max, map->is_signed ? fabsf(v) : v);
    }
    range.min = map->is_signed ? -range.max : 0;
    return range;
}

typedef struct sheet {
    size_t rows[SHEET_ROWS], row_count, map_count;
    kh_perturb_map maps[KH_PERTURB_MAPS];
    kh_image photos[SHEET_ROWS];
    uint8_t *overlays[SHEET_ROWS][KH_PERTURB_MAPS];
    kh_figure_panel panels[SHEET_ROWS * (1 + KH_PERTURB_MAPS)];
    char captions[SHEET_ROWS][240], peaks[SHEET_ROWS][KH_PERTURB_MAPS][40];
} sheet;

static kh_status fill_row(const kh_perturb_files *f, sheet *s, size_t k,
                          const kh_decode_options *decode, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(f->model);
    const size_t height = info->image_height, width = info->image_width;
    const kh_source_image image = kh_source_get(f->source, f->ids[s->rows[k]]);
    kh_figure_panel *panels = s->panels + k * (1 + s->map_count);
    char label[96];
    float *photo = kh_alloc_floats(3 * height * width);
    kh_status status = photo ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a picture");
    if (!status) status = kh_perturb_photo(f, s->rows[k], decode, &s->photos[k], err);
    if (!status) kh_lens_display_bytes(s->photos[k].rgb, height * width, photo);
    kh_class_short(kh_model_classes(f->model), image.truth, label, sizeof label);
    (void)snprintf(s->captions[k], sizeof s->captions[k], "%.80s\n%.120s", label,
                   kh_path_base(image.name));
    panels[0] = (kh_figure_panel){
        .rgb = s->photos[k].rgb, .width = width, .height = height, .caption = s->captions[k]};
    for (size_t m = 0; m < s->map_count && !status; m++) {
        const kh_range range = range_of(f, &s->maps[m], s->rows[k]);
        uint8_t *rgb = s->overlays[k][m] = kh_calloc(height * width, 3);
        status = rgb ? kh_perturb_overlay(f, s->maps[m].values + s->rows[k] * f->patches, range,
                                          photo, rgb, err)
                     : kh_fail(err, KH_E_MEMORY, "no memory for a picture");
        (void)snprintf(s->peaks[k][m], sizeof s->peaks[k][m], "largest %s%.3g",
                       s->maps[m].is_signed ? "size " : "", (double)range.max);
        panels[1 + m] = (kh_figure_panel){.rgb = rgb, .width = width, .height = height};
        if (!s->maps[m].is_relative) panels[1 + m].caption = s->peaks[k][m];
    }
    kh_free(photo);
    return status;
}

static kh_status draw_sheet(const kh_perturb_files *f, const sheet *s, const char *footnote,
                            kh_error *err) {
    uint8_t table[256][3];
    const char *titles[1 + KH_PERTURB_MAPS] = {"picture"};
    kh_figure_scale scales[KH_PERTURB_MAPS];
    for (size_t i = 0; i < 256; i++)
        memcpy(table[i], kh_lens_jet((uint8_t)i), 3);
    for (size_t m = 0; m < s->map_count; m++) {
        titles[1 + m] = s->maps[m].title;
        scales[m] = (kh_figure_scale){.table = (const uint8_t(*)[3])table,
                                      .low = s->maps[m].is_signed ? -1 : 0,
                                      .high = 1,
                                      .label = s->maps[m].label};
    }
    const size_t width = kh_model_get_info(f->model)->image_width;
    const size_t cell = width >= 160 ? width : width * ((159 + width) / width);
    const kh_figure_grid grid = {.panels = s->panels,
                                 .rows = s->row_count,
                                 .columns = 1 + s->map_count,
                                 .column_titles = titles,
                                 .cell_width = cell,
                                 .cell_height =
                                     cell * kh_model_get_info(f->model)->image_height / width,
                                 .scales = scales,
                                 .scale_count = s->map_count};
    const kh_figure_options options = {
        .title = "Which patches speak for the true class",
        .subtitle = "The first image of each of the first classes in the set, with its true class "
                    "below. Colours "
                    "are shares of the largest value of that map, which stands below it. "
                    "Attention to patches where the gradient map is below 0 speaks against the "
                    "class.",
        .footnote = footnote};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    if (!status) status = kh_figure_add_grid(figure, &grid, err);
    return finish(status, f, "perturb_maps", figure, err);
}

static kh_status draw_maps(const kh_perturb_files *f, const kh_decode_options *decode,
                           const char *footnote, kh_error *err) {
    sheet *s = kh_calloc(1, sizeof *s);
    if (!s) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    kh_status status = KH_OK;
    s->row_count = choose_rows(f, s->rows);
    s->map_count = kh_perturb_maps(f, s->maps);
    for (size_t k = 0; k < s->row_count && !status; k++)
        status = fill_row(f, s, k, decode, err);
    if (!status) status = draw_sheet(f, s, footnote, err);
    for (size_t k = 0; k < s->row_count; k++) {
        kh_image_clear(&s->photos[k]);
        for (size_t m = 0; m < s->map_count; m++)
            kh_free(s->overlays[k][m]);
    }
    kh_free(s);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------- */

kh_status kh_perturb_write_figures(const kh_perturb_files *f, const kh_perturbation *p,
                                   const kh_decode_options *decode, kh_error *err) {
    char footnote[640], settings[200];
    const kh_perturb_settings *s = f->settings;
    (void)snprintf(settings, sizeof settings,
                   "%zu image%s of known class · softmax of the gradient map %s · %zu step%s, %zu "
                   "random order%s, seed %llu",
                   p->labelled, KH_S(p->labelled), s->softmax, s->steps, KH_S(s->steps), s->random,
                   KH_S(s->random), (unsigned long long)s->seed);
    kh_model_footnote(f->model, settings, footnote, sizeof footnote);
    if (p->curve_count) KH_TRY(draw_removal(f, p, footnote, err));
    KH_TRY(draw_rates(f, p, footnote, err));
    return draw_maps(f, decode, footnote, err);
}

void kh_perturb_list_figures(const kh_perturbation *p, kh_manifest *m) {
    if (p->curve_count)
        kh_outdir_list_figure(m, "perturb_removal", "accuracy against patches taken away");
    kh_outdir_list_figure(m, "perturb_rates", "accuracy and identifiable patches");
    kh_outdir_list_figure(m, "perturb_maps", "maps over some of the images");
}
