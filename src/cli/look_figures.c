/* The pictures of `look`: figures 10-11 (one row per image) and 1-2 (one page per image). */
#include "cli/look.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct painter {
    const kh_look_result *r;
    size_t height, width, pixels;
    uint8_t table[256][3];
    uint8_t *pool; /* overlays of the page being drawn */
    size_t pool_used, pool_size;
} painter;

static kh_status painter_init(painter *p, const kh_look_result *r, size_t pictures, kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(r->model)->preprocess;
    *p = (painter){.r = r, .height = how->height, .width = how->width};
    p->pixels = p->height * p->width;
    for (size_t i = 0; i < 256; i++)
        memcpy(p->table[i], kh_lens_jet((uint8_t)i), 3);
    p->pool_size = pictures;
    p->pool = kh_calloc(pictures, p->pixels * 3);
    return p->pool ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for %zu pictures", pictures);
}

static uint8_t *next_picture(painter *p) {
    return p->pool + p->pool_used++ * p->pixels * 3;
}

kh_status kh_look_photo(const kh_look_result *r, size_t image, float **out, kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(r->model)->preprocess;
    const size_t pixels = how->height * how->width;
    *out = kh_alloc_floats(pixels * 3);
    if (!*out) return kh_fail(err, KH_E_MEMORY, "no memory for a photograph");
    if (r->r_compat)
        kh_lens_display_tensor(r->tensors + image * pixels * 3, pixels, *out);
    else
        kh_lens_display_bytes(r->photos[image].rgb, pixels, *out);
    return KH_OK;
}

static kh_status overlay(painter *p, const float *map, kh_range range, const float *photo,
                         const uint8_t **out, kh_error *err) {
    uint8_t *rgb = next_picture(p);
    *out = rgb;
    return kh_lens_heatmap(map, p->r->look.grid, range, p->height, p->width, photo, p->r->r_compat,
                           rgb, NULL, err);
}

static kh_status masked(painter *p, const float *map, const uint8_t *photo, const uint8_t **out,
                        kh_error *err) {
    uint8_t *rgb = next_picture(p);
    *out = rgb;
    float *big = kh_alloc_floats(p->pixels);
    uint8_t *mask = kh_calloc(p->pixels, 1);
    kh_status status = KH_OK;
    if (!big || !mask) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for a mask");
    } else {
        kh_lens_upsample(map, p->r->look.grid, p->height, p->width, big);
        status = kh_lens_mask(big, p->pixels, p->r->percentile / 100.0, mask, NULL, NULL, err);
        if (!status) kh_lens_mask_apply(mask, photo, p->pixels, rgb);
    }
    kh_free(big);
    kh_free(mask);
    return status;
}

static float map_peak(const float *map, size_t count) {
    float peak = map[0];
    for (size_t i = 1; i < count; i++)
        peak = fmaxf(peak, map[i]);
    return peak;
}

/* Texts of one image row; the figure copies them. */
typedef struct row_texts {
    char label[96], caption[256];
    char neurons[64][24], speaks[64][96];
} row_texts;

static void describe_row(const painter *p, size_t image, row_texts *t, kh_figure_look_row *row) {
    const kh_look *l = &p->r->look;
    const kh_classes *classes = kh_model_classes(p->r->model);
    const kh_prediction *top = &l->top[image * l->predictions];
    char predicted[96];
    kh_class_short(classes, l->class_index[image], t->label, sizeof t->label);
    kh_class_short(classes, top->class_index, predicted, sizeof predicted);
    (void)snprintf(t->caption, sizeof t->caption, "%.80s\npredicted %.60s, %.1f %%",
                   kh_path_base(p->r->paths[image]), predicted, 100.0 * (double)top->probability);
    if (p->r->truth[image] != SIZE_MAX && p->r->truth[image] != top->class_index) {
        char truth[96];
        kh_class_short(classes, p->r->truth[image], truth, sizeof truth);
        const size_t used = strlen(t->caption);
        (void)snprintf(t->caption + used, sizeof t->caption - used, "\ntrue class %.60s", truth);
    }
    row->label = t->label;
    row->caption = t->caption;
    row->rgb = p->r->photos[image].rgb;
    const size_t expected =
        p->r->truth[image] != SIZE_MAX ? p->r->truth[image] : l->class_index[image];
    const bool judged = p->r->truth[image] != SIZE_MAX || p->r->asked_class;
    row->frame = !judged                        ? KH_FRAME_THIN
                 : top->class_index == expected ? KH_FRAME_GOOD
                                                : KH_FRAME_BAD;
}

static kh_status draw_row(painter *p, size_t image, const kh_range *ranges, row_texts *t,
                          kh_figure_look_map *maps, kh_figure_look_row *row, kh_error *err) {
    const kh_look *l = &p->r->look;
    describe_row(p, image, t, row);
    float *photo = NULL;
    kh_status status = kh_look_photo(p->r, image, &photo, err);
    for (size_t rank = 0; rank < l->k && !status; rank++) {
        const size_t at = image * l->k + rank;
        const kh_ranked *n = &l->neurons[at];
        const float *map = l->maps + at * l->patches;
        const uint32_t own = p->r->ranking->top_class[n->block * p->r->ranking->units + n->index];
        kh_neuron_format((kh_neuron){n->block, n->index}, t->neurons[rank], sizeof t->neurons[0]);
        kh_class_short(kh_model_classes(p->r->model), own, t->speaks[rank], sizeof t->speaks[0]);
        maps[rank] = (kh_figure_look_map){
            .neuron = t->neurons[rank],
            .score = (double)n->score,
            .peak = (double)map_peak(map, l->patches),
            .low = (double)ranges[at].min,
            .high = (double)ranges[at].max,
            .speaks_for = t->speaks[rank],
            .is_match = own == l->class_index[image],
        };
        status = overlay(p, map, ranges[at], photo, &maps[rank].rgb, err);
    }
    row->maps = maps;
    kh_free(photo);
    return status;
}

/* NULL: the figures' own word, for coefficients after the activation function. */
static const char *value_name(const kh_look_result *r) {
    return strcmp(r->site, "post") == 0 ? NULL : "key activation (before the activation function)";
}

static kh_status draw_page(const kh_look_result *r, const kh_range *ranges, size_t first,
                           size_t count, const char *stem, const char *folder, kh_error *err) {
    const kh_look *l = &r->look;
    painter p;
    KH_TRY(painter_init(&p, r, count * l->k, err));
    kh_figure_look_row *rows = kh_calloc(count, sizeof *rows);
    kh_figure_look_map *maps = kh_calloc(count * l->k, sizeof *maps);
    row_texts *texts = kh_calloc(count, sizeof *texts);
    kh_status status = KH_OK;
    if (!rows || !maps || !texts) status = kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    for (size_t i = 0; i < count && !status; i++)
        status = draw_row(&p, first + i, ranges, &texts[i], maps + i * l->k, &rows[i], err);
    if (!status) {
        char footnote[512];
        kh_model_footnote(r->model, r->settings_text, footnote, sizeof footnote);
        const kh_figure_look look = {
            .head.footnote = footnote,
            .rows = rows,
            .row_count = count,
            .ranks = l->k,
            .width = p.width,
            .height = p.height,
            .table = (const uint8_t(*)[3])p.table,
            .is_shared = r->scale == KH_SCALE_SHARED,
            .value_name = value_name(r),
        };
        kh_figure *figure = NULL;
        status = kh_figure_look_grid(&look, &figure, err);
        if (!status) status = kh_outdir_figure(folder, stem, figure, err);
    }
    kh_free(rows);
    kh_free(maps);
    kh_free(texts);
    kh_free(p.pool);
    return status;
}

void kh_look_page_stem(const kh_look_result *r, size_t page, char *out, size_t room) {
    if (r->look.images <= KH_LOOK_ROWS_PER_PAGE)
        (void)snprintf(out, room, "look");
    else
        (void)snprintf(out, room, "look-%zu", page);
}

void kh_look_blocks_stem(const kh_look_result *r, size_t image, char *out, size_t room) {
    char file[96];
    kh_outdir_stem(r->paths[image], file, sizeof file);
    (void)snprintf(out, room, "blocks_%zu_%s", image, file);
}

static kh_status draw_pages(const kh_look_result *r, const char *folder, kh_error *err) {
    const kh_look *l = &r->look;
    kh_range *ranges = kh_calloc(l->images * l->k, sizeof *ranges);
    if (!ranges) return kh_fail(err, KH_E_MEMORY, "no memory for colour scales");
    kh_status status = kh_lens_map_ranges(l->maps, l->images, l->k, l->patches, l->class_index,
                                          r->scale, true, ranges, err);
    for (size_t first = 0, page = 1; first < l->images && !status; page++) {
        const size_t left = l->images - first;
        const size_t count = left < KH_LOOK_ROWS_PER_PAGE ? left : KH_LOOK_ROWS_PER_PAGE;
        char stem[KH_LOOK_STEM_BYTES];
        kh_look_page_stem(r, page, stem, sizeof stem);
        status = draw_page(r, ranges, first, count, stem, folder, err);
        first += count;
    }
    kh_free(ranges);
    return status;
}

static kh_range own_range(const float *map, size_t count) {
    kh_range range = {fmaxf(map[0], 0.0f), fmaxf(map[0], 0.0f)};
    for (size_t i = 1; i < count; i++) {
        const float v = fmaxf(map[i], 0.0f);
        range.min = fminf(range.min, v);
        range.max = fmaxf(range.max, v);
    }
    return range;
}

static kh_status draw_block(painter *p, size_t image, size_t b, const float *running,
                            const float *photo, char *name, size_t name_bytes,
                            kh_figure_block_row *row, kh_error *err) {
    const kh_look *l = &p->r->look;
    const kh_ranked *n = &l->block_neurons[image * l->blocks + b];
    const float *own = l->block_maps + (image * l->blocks + b) * l->patches;
    const float *mean = running + b * l->patches;
    const kh_range range = own_range(own, l->patches), mean_range = own_range(mean, l->patches);
    const uint8_t *rgb = p->r->photos[image].rgb;
    kh_neuron_format((kh_neuron){n->block, n->index}, name, name_bytes);
    *row = (kh_figure_block_row){
        .block = b,
        .neuron = name,
        .score = (double)n->score,
        .peak = (double)map_peak(own, l->patches),
        .low = (double)range.min,
        .high = (double)range.max,
        .running_low = (double)mean_range.min,
        .running_high = (double)mean_range.max,
    };
    KH_TRY(overlay(p, own, range, photo, &row->heat, err));
    KH_TRY(masked(p, own, rgb, &row->mask, err));
    KH_TRY(overlay(p, mean, mean_range, photo, &row->running_heat, err));
    return masked(p, mean, rgb, &row->running_mask, err);
}

static kh_status draw_blocks(const kh_look_result *r, size_t image, const char *folder,
                             kh_error *err) {
    const kh_look *l = &r->look;
    painter p;
    KH_TRY(painter_init(&p, r, l->blocks * 4, err));
    kh_figure_block_row *rows = kh_calloc(l->blocks, sizeof *rows);
    char(*names)[24] = kh_calloc(l->blocks, sizeof *names);
    float *running = kh_alloc_floats(l->blocks * l->patches);
    float *photo = NULL;
    kh_status status = rows && names && running
                           ? kh_look_photo(r, image, &photo, err)
                           : kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    if (!status)
        kh_lens_running_mean(l->block_maps + image * l->blocks * l->patches, l->blocks, l->patches,
                             r->norm_before_mean, running);
    for (size_t b = 0; b < l->blocks && !status; b++)
        status = draw_block(&p, image, b, running, photo, names[b], sizeof names[b], &rows[b], err);
    if (!status) {
        char footnote[512], class_name[96], stem[KH_LOOK_STEM_BYTES];
        kh_model_footnote(r->model, r->settings_text, footnote, sizeof footnote);
        kh_class_short(kh_model_classes(r->model), l->class_index[image], class_name,
                       sizeof class_name);
        kh_look_blocks_stem(r, image, stem, sizeof stem);
        const kh_figure_blocks blocks = {
            .head.footnote = footnote,
            .class_name = class_name,
            .image_name = kh_path_base(r->paths[image]),
            .rgb = r->photos[image].rgb,
            .width = p.width,
            .height = p.height,
            .rows = rows,
            .row_count = l->blocks,
            .percentile = r->percentile,
            .value_name = value_name(r),
            .table = (const uint8_t(*)[3])p.table,
        };
        kh_figure *figure = NULL;
        status = kh_figure_blocks_table(&blocks, &figure, err);
        if (!status) status = kh_outdir_figure(folder, stem, figure, err);
    }
    kh_free(rows);
    kh_free(names);
    kh_free(running);
    kh_free(photo);
    kh_free(p.pool);
    return status;
}

kh_status kh_look_write_figures(const kh_look_result *r, const char *folder, kh_error *err) {
    KH_TRY(draw_pages(r, folder, err));
    for (size_t i = 0; r->look.block_maps && i < r->look.images; i++)
        KH_TRY(draw_blocks(r, i, folder, err));
    return KH_OK;
}
