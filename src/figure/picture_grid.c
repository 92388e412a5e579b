/* Rows and columns of pictures with captions that always fit. */
#include "base/checked.h"
#include "figure/colours.h"
#include "figure/picture.h"

#include <math.h>
#include <string.h>

#define GAP         14.0
#define CAPTION_GAP 5.0
#define CAPTION_MAX 3
#define LABEL_WIDTH 120.0
#define LABEL_GAP   10.0
#define TITLE_MAX   3
#define MAX_CELL    30000.0

static double label_width(const kh_figure_grid *grid) {
    return grid->row_labels ? LABEL_WIDTH + LABEL_GAP : 0;
}

static double cells_width(const kh_figure_grid *grid) {
    return (double)grid->columns * ((double)grid->cell_width + GAP) - GAP;
}

static double grid_width(kh_letters *letters, const void *data) {
    const kh_figure_grid *grid = data;
    (void)letters;
    double width = label_width(grid) + cells_width(grid);
    for (size_t i = 0; i < grid->scale_count; i++) {
        const double bar = label_width(grid) + kh_colour_bar_width(&grid->scales[i]);
        if (bar > width) width = bar;
    }
    return ceil(width);
}

/* Height of the title and the column titles. */
static double head_height(kh_letters *letters, const kh_figure_grid *grid, double width) {
    size_t most = 0;
    for (size_t c = 0; grid->column_titles && c < grid->columns; c++) {
        const size_t lines = kh_letters_lines(letters, &kh_style_heading, grid->column_titles[c],
                                              (double)grid->cell_width, TITLE_MAX);
        if (lines > most) most = lines;
    }
    const size_t title =
        kh_letters_lines(letters, &kh_style_heading, grid->title, width, TITLE_MAX);
    return (title ? (double)title * kh_line_height(&kh_style_heading) + 8 : 0) +
           (most ? (double)most * kh_line_height(&kh_style_heading) + 6 : 0);
}

/* Height below the picture of one cell. */
static double foot_height(kh_letters *letters, const kh_figure_panel *panel, double width) {
    const size_t lines =
        kh_letters_lines(letters, &kh_style_body, panel->caption, width, CAPTION_MAX);
    return (panel->scale ? KH_SMALL_BAR_HEIGHT + 2 : 0) +
           (lines ? CAPTION_GAP + (double)lines * kh_line_height(&kh_style_body) : 0);
}

static double row_height(kh_letters *letters, const kh_figure_grid *grid, size_t row) {
    double foot = 0;
    for (size_t c = 0; c < grid->columns; c++) {
        const double h =
            foot_height(letters, &grid->panels[row * grid->columns + c], (double)grid->cell_width);
        if (h > foot) foot = h;
    }
    return (double)grid->cell_height + foot;
}

static double rows_height(kh_letters *letters, const kh_figure_grid *grid) {
    double height = 0;
    for (size_t r = 0; r < grid->rows; r++)
        height += (r ? GAP : 0) + row_height(letters, grid, r);
    return height;
}

static double grid_height(kh_letters *letters, const void *data, double width) {
    const kh_figure_grid *grid = data;
    double height = head_height(letters, grid, width) + rows_height(letters, grid);
    for (size_t i = 0; i < grid->scale_count; i++)
        height += GAP + kh_colour_bar_height(&grid->scales[i]);
    return ceil(height);
}

/* The largest box of the picture's shape inside the cell, centred, in whole px. */
static kh_box fit(const kh_figure_panel *panel, kh_box cell) {
    const double w = (double)panel->width, h = (double)panel->height;
    const double factor = fmin(cell.width / w, cell.height / h);
    kh_box box = {0, 0, fmax(1, floor(w * factor + 1e-6)), fmax(1, floor(h * factor + 1e-6))};
    box.x = cell.x + floor((cell.width - box.width) / 2);
    box.y = cell.y + floor((cell.height - box.height) / 2);
    return box;
}

/* Frames lie outside the picture, so that they hide no pixel. */
static void draw_frame(cairo_t *cr, kh_figure_frame frame, kh_box box) {
    static const struct {
        uint32_t rgb;
        double width;
    } looks[] = {[KH_FRAME_THIN] = {0xa0a0a0, 1},
                 [KH_FRAME_NONE] = {0, 0},
                 [KH_FRAME_GOOD] = {KH_GOOD, 3},
                 [KH_FRAME_BAD] = {KH_BAD, 3},
                 [KH_FRAME_STRONG] = {0x000000, 3}};
    const double width = looks[frame].width, half = width / 2;
    if (!(width > 0)) return;
    const double dashes[] = {9, 5};
    if (frame == KH_FRAME_BAD) cairo_set_dash(cr, dashes, 2, 0);
    kh_set_rgb(cr, looks[frame].rgb, 1);
    cairo_set_line_width(cr, width);
    cairo_rectangle(cr, box.x - half, box.y - half, box.width + width, box.height + width);
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
}

static void draw_panel(kh_letters *letters, cairo_t *cr, const kh_figure_grid *grid,
                       const kh_figure_panel *panel, kh_box cell) {
    double y = cell.y + cell.height;
    if (panel->rgb) {
        const kh_box box = fit(panel, cell);
        kh_picture_draw(cr, panel->rgb, panel->width, panel->height, box, grid->is_smooth);
        draw_frame(cr, panel->frame, box);
    }
    if (panel->scale) {
        kh_small_bar_draw(letters, cr, panel->scale, cell.x, y + 2, cell.width);
        y += KH_SMALL_BAR_HEIGHT + 2;
    }
    (void)kh_letters_paragraph(letters, cr, &kh_style_body, cell.x, y + CAPTION_GAP, cell.width,
                               0.5, CAPTION_MAX, panel->caption);
}

static void draw_row_label(kh_letters *letters, cairo_t *cr, const char *label, double x, double y,
                           double height) {
    const size_t room = (size_t)fmax(1, floor(height / kh_line_height(&kh_style_heading)));
    const size_t most = room < 6 ? room : 6;
    const size_t lines = kh_letters_lines(letters, &kh_style_heading, label, LABEL_WIDTH, most);
    const double used = (double)lines * kh_line_height(&kh_style_heading);
    (void)kh_letters_paragraph(letters, cr, &kh_style_heading, x, floor(y + (height - used) / 2),
                               LABEL_WIDTH, 1, most, label);
}

static double draw_head(kh_letters *letters, cairo_t *cr, const kh_figure_grid *grid, kh_box box) {
    const double height = head_height(letters, grid, box.width);
    (void)kh_letters_paragraph(letters, cr, &kh_style_heading, box.x, box.y, box.width, 0,
                               TITLE_MAX, grid->title);
    for (size_t c = 0; grid->column_titles && c < grid->columns; c++) {
        const char *title = grid->column_titles[c];
        const double w = (double)grid->cell_width;
        const size_t lines = kh_letters_lines(letters, &kh_style_heading, title, w, TITLE_MAX);
        const double x = box.x + label_width(grid) + (double)c * (w + GAP);
        const double top = box.y + height - 6 - (double)lines * kh_line_height(&kh_style_heading);
        (void)kh_letters_paragraph(letters, cr, &kh_style_heading, x, top, w, 0.5, TITLE_MAX,
                                   title);
    }
    return height;
}

static void grid_draw(kh_letters *letters, cairo_t *cr, const void *data, kh_box box) {
    const kh_figure_grid *grid = data;
    double y = box.y + draw_head(letters, cr, grid, box);
    const double left = box.x + label_width(grid);
    for (size_t r = 0; r < grid->rows; r++) {
        if (grid->row_labels && grid->row_labels[r])
            draw_row_label(letters, cr, grid->row_labels[r], box.x, y, (double)grid->cell_height);
        for (size_t c = 0; c < grid->columns; c++) {
            const kh_box cell = {left + (double)c * ((double)grid->cell_width + GAP), y,
                                 (double)grid->cell_width, (double)grid->cell_height};
            draw_panel(letters, cr, grid, &grid->panels[r * grid->columns + c], cell);
        }
        y += row_height(letters, grid, r) + GAP;
    }
    for (size_t i = 0; i < grid->scale_count; i++) {
        const double height = kh_colour_bar_height(&grid->scales[i]);
        const kh_box bar = {left, y, kh_colour_bar_width(&grid->scales[i]), height};
        kh_colour_bar_draw(letters, cr, &grid->scales[i], bar);
        y += height + GAP;
    }
}

/* ---- copying --------------------------------------------------------------------------------- */

static kh_status check(const kh_figure_grid *grid, kh_error *err) {
    size_t count;
    if (grid->rows == 0 || grid->columns == 0 || !grid->panels)
        return kh_fail(err, KH_E_ARG, "figure grid: needs at least one panel");
    if (!kh_mul(grid->rows, grid->columns, &count) || grid->columns > 10000 || grid->rows > 10000)
        return kh_fail(err, KH_E_LIMIT, "figure grid: %zu x %zu panels are too many", grid->rows,
                       grid->columns);
    for (size_t i = 0; i < count; i++) {
        const kh_figure_panel *p = &grid->panels[i];
        if (p->rgb && (p->width == 0 || p->height == 0 || p->width > 30000 || p->height > 30000))
            return kh_fail(err, KH_E_SHAPE, "figure grid: panel %zu is %zu x %zu px", i, p->width,
                           p->height);
        if ((unsigned)p->frame > KH_FRAME_STRONG)
            return kh_fail(err, KH_E_ARG, "figure grid: panel %zu has an unknown frame", i);
    }
    return KH_OK;
}

static bool keep_panel(kh_figure *figure, const kh_figure_panel *from, kh_figure_panel *to) {
    *to = *from;
    if (from->rgb && !(to->rgb = kh_page_keep(figure, from->rgb, from->width * from->height, 3)))
        return false;
    if (from->scale) {
        kh_figure_scale *scale = kh_page_keep(figure, NULL, 1, sizeof *scale);
        if (!scale || !kh_page_keep_scale(figure, from->scale, scale)) return false;
        to->scale = scale;
    }
    return kh_page_keep_text(figure, from->caption, &to->caption);
}

static kh_figure_grid *keep_grid(kh_figure *figure, const kh_figure_grid *grid) {
    const size_t count = grid->rows * grid->columns;
    kh_figure_grid *copy = kh_page_keep(figure, grid, 1, sizeof *grid);
    kh_figure_panel *panels = kh_page_keep(figure, NULL, count, sizeof *panels);
    kh_figure_scale *scales = kh_page_keep(figure, NULL, grid->scale_count, sizeof *scales);
    if (!copy || !panels || !scales) return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!keep_panel(figure, &grid->panels[i], &panels[i])) return NULL;
        if (panels[i].rgb && grid->cell_width == 0 && panels[i].width > copy->cell_width)
            copy->cell_width = panels[i].width;
        if (panels[i].rgb && grid->cell_height == 0 && panels[i].height > copy->cell_height)
            copy->cell_height = panels[i].height;
    }
    if (copy->cell_width == 0) copy->cell_width = 64;
    if (copy->cell_height == 0) copy->cell_height = copy->cell_width;
    for (size_t i = 0; i < grid->scale_count; i++)
        if (!kh_page_keep_scale(figure, &grid->scales[i], &scales[i])) return NULL;
    copy->panels = panels;
    copy->scales = scales;
    if (!kh_page_keep_text(figure, grid->title, &copy->title) ||
        !kh_page_keep_texts(figure, grid->row_labels, grid->rows, &copy->row_labels) ||
        !kh_page_keep_texts(figure, grid->column_titles, grid->columns, &copy->column_titles))
        return NULL;
    return copy;
}

kh_status kh_figure_add_grid(kh_figure *figure, const kh_figure_grid *grid, kh_error *err) {
    KH_TRY(check(grid, err));
    kh_figure_grid *copy = keep_grid(figure, grid);
    if (!copy) return kh_page_no_memory(err);
    if ((double)copy->cell_width > MAX_CELL || (double)copy->cell_height > MAX_CELL)
        return kh_fail(err, KH_E_LIMIT, "figure grid: cells of %zu x %zu px are too large",
                       copy->cell_width, copy->cell_height);
    const kh_element element = {
        .width = grid_width, .height = grid_height, .draw = grid_draw, .data = copy};
    return kh_page_add(figure, &element, err);
}
