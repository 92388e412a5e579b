/* Figures 10-11 (pictures and the heatmaps of their key neurons) and 1-2 (block by block). */
#include "base/alloc.h"
#include "base/checked.h"
#include "figure/compose.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DOT " \xC2\xB7 " /* a middle dot */

static const char *or_else(const char *text, const char *fallback) {
    return text ? text : fallback;
}

static const char one_scale[] = "All maps share one colour scale.";
static const char own_scale[] =
    "Every map has its own colour scale: compare places, not strengths; "
    "the numbers under each map are its ends.";

#define NBSP "\xC2\xA0"

/* "b10n1198 · S 9.15 · a max 3.21", on two lines where the cell is too narrow for one. A neuron
 * whose coefficient is nowhere positive leaves an empty map; the caption says so. */
static const char *map_caption(kh_figure *figure, const char *neuron, const char *score_name,
                               double score, double peak, size_t cell) {
    char s[KH_NUMBER_ROOM], a[KH_NUMBER_ROOM];
    const char *breaks[] = {DOT, "\n"};
    (void)kh_number(score, 2, s);
    (void)kh_number(peak, 2, a);
    const bool fires = !(peak <= 0.0);
    const char *caption = NULL;
    for (size_t i = 0; i < 2; i++) {
        caption = kh_compose_text(figure, "%.100s%s%.100s" NBSP "%s" DOT "%s%s",
                                  or_else(neuron, "?"), breaks[i], or_else(score_name, "S"), s,
                                  fires ? "a" NBSP "max" NBSP : "does" NBSP "not" NBSP "fire",
                                  fires ? a : "");
        if (!caption || kh_letters_width(figure->letters, &kh_style_body, caption,
                                         strlen(caption)) <= (double)cell)
            break;
    }
    return caption;
}

/* ---- look ------------------------------------------------------------------------------------ */

typedef struct look_parts {
    kh_figure_panel *panels; /* [rows, 1 + ranks] */
    kh_figure_scale *scales; /* [rows, ranks] */
    const char **labels;     /* [rows] */
    const char **titles;     /* [1 + ranks] */
} look_parts;

/* Pixels are kept, or become squares where the picture is too narrow for the captions below it. */
static size_t look_side(const kh_figure_look *look) {
    enum { LEAST = 144 };
    if (look->cell) return look->cell;
    return look->width * ((LEAST + look->width - 1) / look->width);
}

static kh_status look_check(const kh_figure_look *look, kh_error *err) {
    size_t count;
    if (look->row_count == 0 || !look->rows || look->width == 0 || look->height == 0)
        return kh_fail(err, KH_E_ARG, "look figure: no pictures");
    if (look->ranks > 1000 || look->row_count > 10000 ||
        !kh_mul(look->row_count, look->ranks + 1, &count))
        return kh_fail(err, KH_E_LIMIT, "look figure: %zu pictures with %zu maps are too many",
                       look->row_count, look->ranks);
    for (size_t r = 0; look->ranks && r < look->row_count; r++)
        if (!look->rows[r].maps)
            return kh_fail(err, KH_E_ARG, "look figure: picture %zu has no maps", r);
    return KH_OK;
}

static bool look_map(kh_figure *figure, const kh_figure_look *look, const kh_figure_look_map *map,
                     kh_figure_panel *panel, kh_figure_scale *scale) {
    if (!map->rgb) return true;
    panel->rgb = map->rgb;
    panel->width = look->width;
    panel->height = look->height;
    panel->frame = !map->speaks_for ? KH_FRAME_THIN : map->is_match ? KH_FRAME_GOOD : KH_FRAME_BAD;
    panel->caption =
        map_caption(figure, map->neuron, look->score_name, map->score, map->peak, look_side(look));
    if (panel->caption && map->speaks_for)
        panel->caption =
            kh_compose_text(figure, "%s\nspeaks for %s", panel->caption, map->speaks_for);
    if (!look->is_shared) {
        const kh_figure_scale own = {.table = look->table, .low = map->low, .high = map->high};
        *scale = own;
        panel->scale = scale;
    }
    return panel->caption != NULL;
}

static bool look_fill(kh_figure *figure, const kh_figure_look *look, look_parts *parts) {
    const size_t columns = look->ranks + 1;
    parts->titles[0] = "picture";
    for (size_t k = 0; k < look->ranks; k++) {
        parts->titles[k + 1] = kh_compose_text(figure, "rank %zu", k);
        if (!parts->titles[k + 1]) return false;
    }
    for (size_t r = 0; r < look->row_count; r++) {
        const kh_figure_look_row *row = &look->rows[r];
        const kh_figure_panel picture = {.rgb = row->rgb,
                                         .width = look->width,
                                         .height = look->height,
                                         .caption = row->caption,
                                         .frame = row->frame};
        parts->panels[r * columns] = picture;
        parts->labels[r] = row->label;
        for (size_t k = 0; k < look->ranks; k++)
            if (!look_map(figure, look, &row->maps[k], &parts->panels[r * columns + 1 + k],
                          &parts->scales[r * look->ranks + k]))
                return false;
    }
    return true;
}

/* The first map's scale stands for all. */
static const kh_figure_look_map *first_map(const kh_figure_look *look) {
    for (size_t r = 0; r < look->row_count; r++)
        for (size_t k = 0; k < look->ranks; k++)
            if (look->rows[r].maps[k].rgb) return &look->rows[r].maps[k];
    return NULL;
}

static bool has_frames(const kh_figure_look *look) {
    for (size_t r = 0; r < look->row_count; r++)
        for (size_t k = 0; k < look->ranks; k++)
            if (look->rows[r].maps[k].rgb && look->rows[r].maps[k].speaks_for) return true;
    return false;
}

static bool has_picture_frames(const kh_figure_look *look) {
    for (size_t r = 0; r < look->row_count; r++)
        if (look->rows[r].frame == KH_FRAME_GOOD || look->rows[r].frame == KH_FRAME_BAD)
            return true;
    return false;
}

static kh_status look_add(kh_figure *figure, const kh_figure_look *look, const look_parts *parts,
                          kh_error *err) {
    const size_t side = look_side(look);
    const kh_figure_look_map *first = first_map(look);
    kh_figure_scale shared = {.table = look->table,
                              .label = or_else(look->value_name, "memory coefficient a")};
    if (first) {
        shared.low = first->low;
        shared.high = first->high;
    }
    bool has_labels = false;
    for (size_t r = 0; r < look->row_count; r++)
        has_labels = has_labels || parts->labels[r];
    const kh_figure_grid grid = {
        .panels = parts->panels,
        .rows = look->row_count,
        .columns = look->ranks + 1,
        .row_labels = has_labels ? (const char *const *)parts->labels : NULL,
        .column_titles = (const char *const *)parts->titles,
        .cell_width = side,
        .cell_height = (size_t)llround((double)side * (double)look->height / (double)look->width),
        .scales = &shared,
        .scale_count = look->is_shared && first ? 1 : 0};
    KH_TRY(kh_figure_add_grid(figure, &grid, err));
    const bool has_good = has_picture_frames(look), has_map = has_frames(look);
    if (!has_good && !has_map) return KH_OK;
    const char *note = kh_compose_text(
        figure, "%s%s%s",
        has_good ? "Frames of pictures: solid green, the prediction is right; dashed orange, it is "
                   "wrong."
                 : "",
        has_good && has_map ? "\n" : "",
        has_map ? "Frames of maps: solid green, the value vector speaks most for the row's own "
                  "class; dashed orange, more for another class."
                : "");
    return note ? kh_figure_add_note(figure, note, err) : kh_page_no_memory(err);
}

kh_status kh_figure_look_grid(const kh_figure_look *look, kh_figure **out, kh_error *err) {
    char subtitle[1024];
    kh_figure *figure = NULL;
    look_parts parts = {0};
    *out = NULL;
    KH_TRY(look_check(look, err));
    (void)snprintf(subtitle, sizeof subtitle,
                   "Left: the class looked for and the picture. Then, by rank, where on it the key "
                   "neurons fire whose value "
                   "vectors align best with the class. Heat is the %s of each image patch; %s is "
                   "the alignment, a max the largest coefficient on the picture. %s",
                   or_else(look->value_name, "memory coefficient a"),
                   or_else(look->score_name, "S"), look->is_shared ? one_scale : own_scale);
    KH_TRY(kh_compose_begin(&look->head, "Where the class's top key neurons fire", subtitle,
                            &figure, err));
    const size_t cells = look->row_count * (look->ranks + 1);
    parts.panels = kh_calloc(cells, sizeof *parts.panels);
    parts.scales = kh_calloc(cells, sizeof *parts.scales);
    parts.labels = kh_calloc(look->row_count, sizeof *parts.labels);
    parts.titles = kh_calloc(look->ranks + 1, sizeof *parts.titles);
    kh_status status = KH_OK;
    if (!parts.panels || !parts.scales || !parts.labels || !parts.titles ||
        !look_fill(figure, look, &parts))
        status = kh_page_no_memory(err);
    if (!status) status = look_add(figure, look, &parts, err);
    kh_free(parts.panels);
    kh_free(parts.scales);
    kh_free(parts.labels);
    kh_free(parts.titles);
    return kh_compose_end(figure, status, out);
}

/* ---- block by block -------------------------------------------------------------------------- */

#define BLOCK_COLUMNS 5

typedef struct block_parts {
    kh_figure_panel *panels; /* [rows, 5] */
    kh_figure_scale *scales; /* [rows, 2] */
    const char **labels;
} block_parts;

static kh_figure_panel picture(const kh_figure_blocks *blocks, const uint8_t *rgb) {
    const kh_figure_panel panel = {.rgb = rgb, .width = blocks->width, .height = blocks->height};
    return panel;
}

static size_t blocks_side(const kh_figure_blocks *blocks) {
    return blocks->cell ? blocks->cell : 160;
}

static bool blocks_fill(kh_figure *figure, const kh_figure_blocks *blocks, block_parts *parts) {
    for (size_t r = 0; r < blocks->row_count; r++) {
        const kh_figure_block_row *row = &blocks->rows[r];
        const uint8_t *pixels[BLOCK_COLUMNS] = {blocks->rgb, row->heat, row->mask,
                                                row->running_heat, row->running_mask};
        kh_figure_panel *panels = &parts->panels[r * BLOCK_COLUMNS];
        for (size_t c = 0; c < BLOCK_COLUMNS; c++)
            panels[c] = picture(blocks, pixels[c]);
        parts->labels[r] = kh_compose_text(figure, "block %zu", row->block);
        panels[1].caption = map_caption(figure, row->neuron, blocks->score_name, row->score,
                                        row->peak, blocks_side(blocks));
        if (!parts->labels[r] || !panels[1].caption) return false;
        if (blocks->is_shared) continue;
        const kh_figure_scale own = {.table = blocks->table, .low = row->low, .high = row->high};
        const kh_figure_scale mean = {
            .table = blocks->table, .low = row->running_low, .high = row->running_high};
        parts->scales[2 * r] = own;
        parts->scales[2 * r + 1] = mean;
        panels[1].scale = row->heat ? &parts->scales[2 * r] : NULL;
        panels[3].scale = row->running_heat ? &parts->scales[2 * r + 1] : NULL;
    }
    return true;
}

static kh_status blocks_add(kh_figure *figure, const kh_figure_blocks *blocks,
                            const block_parts *parts, double kept, kh_error *err) {
    const size_t side = blocks_side(blocks);
    char number[KH_NUMBER_ROOM];
    const char *mask = kh_compose_text(figure, "its top %s\xC2\xA0%%\nof pixels",
                                       kh_number_short(kept, 3, number));
    const char *titles[BLOCK_COLUMNS] = {"picture", "top key neuron\nof this block", mask,
                                         "mean of the\nblocks so far", mask};
    const kh_figure_scale shared = {.table = blocks->table,
                                    .low = blocks->rows[0].low,
                                    .high = blocks->rows[0].high,
                                    .label = or_else(blocks->value_name, "memory coefficient a")};
    if (!mask) return kh_page_no_memory(err);
    const double shape = (double)blocks->height / (double)blocks->width;
    const kh_figure_grid grid = {.panels = parts->panels,
                                 .rows = blocks->row_count,
                                 .columns = BLOCK_COLUMNS,
                                 .row_labels = (const char *const *)parts->labels,
                                 .column_titles = titles,
                                 .cell_width = side,
                                 .cell_height = (size_t)fmax(1, round((double)side * shape)),
                                 .scales = &shared,
                                 .scale_count = blocks->is_shared ? 1 : 0};
    return kh_figure_add_grid(figure, &grid, err);
}

static kh_status blocks_begin(const kh_figure_blocks *blocks, double kept, kh_figure **out,
                              kh_error *err) {
    char title[512], subtitle[1024], number[KH_NUMBER_ROOM];
    (void)snprintf(title, sizeof title,
                   "Top key neuron of \xE2\x80\x9C%.200s\xE2\x80\x9D, block by block",
                   or_else(blocks->class_name, "the class"));
    (void)snprintf(
        subtitle, sizeof subtitle,
        "%s%.200s%sIn every block: the key neuron whose value vector aligns best with "
        "the class (%s), its %s on each image patch, the %s\xC2\xA0%% of pixels where it "
        "is largest, and the same for the mean over this and all earlier blocks. %s",
        blocks->image_name ? "Picture: " : "", or_else(blocks->image_name, ""),
        blocks->image_name ? ". " : "", or_else(blocks->score_name, "S"),
        or_else(blocks->value_name, "memory coefficient a"), kh_number_short(kept, 3, number),
        blocks->is_shared ? one_scale : own_scale);
    return kh_compose_begin(&blocks->head, title, subtitle, out, err);
}

kh_status kh_figure_blocks_table(const kh_figure_blocks *blocks, kh_figure **out, kh_error *err) {
    kh_figure *figure = NULL;
    block_parts parts = {0};
    const double kept = 100 - (blocks->percentile > 0 ? blocks->percentile : 80);
    *out = NULL;
    if (blocks->row_count == 0 || !blocks->rows || blocks->width == 0 || blocks->height == 0)
        return kh_fail(err, KH_E_ARG, "blocks figure: no blocks or no picture");
    if (blocks->row_count > 10000 || blocks->cell > 30000 || !(kept >= 0))
        return kh_fail(err, KH_E_LIMIT, "blocks figure: %zu blocks, cells of %zu px, percentile %g",
                       blocks->row_count, blocks->cell, blocks->percentile);
    KH_TRY(blocks_begin(blocks, kept, &figure, err));
    parts.panels = kh_calloc(blocks->row_count * BLOCK_COLUMNS, sizeof *parts.panels);
    parts.scales = kh_calloc(blocks->row_count * 2, sizeof *parts.scales);
    parts.labels = kh_calloc(blocks->row_count, sizeof *parts.labels);
    kh_status status = KH_OK;
    if (!parts.panels || !parts.scales || !parts.labels || !blocks_fill(figure, blocks, &parts))
        status = kh_page_no_memory(err);
    if (!status) status = blocks_add(figure, blocks, &parts, kept, err);
    kh_free(parts.panels);
    kh_free(parts.scales);
    kh_free(parts.labels);
    return kh_compose_end(figure, status, out);
}
