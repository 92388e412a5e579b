/* Curves with bands around them; NaN makes a gap. */
#include "figure/chart.h"

#include <math.h>
#include <string.h>

typedef struct line_chart {
    kh_chart chart;
    const kh_figure_line *lines;
    size_t line_count;
} line_chart;

static double x_at(const kh_figure_line *line, size_t i) {
    return line->x ? line->x[i] : (double)i;
}

static bool can_draw(const kh_chart *chart, double x, double y) {
    return isfinite(x) && isfinite(y) && fabs(y) < 1e300 && (!chart->x.is_log || x > 0) &&
           (!chart->y.is_log || y > 0);
}

static uint32_t colour(const line_chart *data, size_t index) {
    size_t hue = 0;
    if (data->lines[index].kind == KH_LINE_NULL) return KH_GREY_NULL;
    for (size_t i = 0; i < index; i++)
        hue += data->lines[i].kind != KH_LINE_NULL;
    return kh_hues[hue % KH_HUES];
}

static void draw_band_run(const line_chart *data, cairo_t *cr, const kh_figure_line *line,
                          size_t from, size_t to, kh_box area) {
    const kh_chart *chart = &data->chart;
    for (size_t i = from; i < to; i++)
        cairo_line_to(cr, kh_chart_x(chart, area, x_at(line, i)),
                      kh_chart_y(chart, area, line->high[i]));
    for (size_t i = to; i-- > from;)
        cairo_line_to(cr, kh_chart_x(chart, area, x_at(line, i)),
                      kh_chart_y(chart, area, line->low[i]));
    cairo_close_path(cr);
    cairo_fill(cr);
}

static void draw_band(const line_chart *data, cairo_t *cr, size_t index, kh_box area) {
    const kh_figure_line *line = &data->lines[index];
    const bool is_null = line->kind == KH_LINE_NULL;
    if (!line->low || !line->high) return;
    kh_set_rgb(cr, is_null ? KH_GREY_BAND : colour(data, index), is_null ? 1 : 0.22);
    for (size_t i = 0, from = 0; i <= line->count; i++) {
        const bool is_end = i == line->count ||
                            !can_draw(&data->chart, x_at(line, i), line->low[i]) ||
                            !can_draw(&data->chart, x_at(line, i), line->high[i]);
        if (!is_end) continue;
        if (i > from) draw_band_run(data, cr, line, from, i, area);
        from = i + 1;
    }
}

static void draw_dot(const line_chart *data, cairo_t *cr, double x, double y, double radius,
                     kh_box area) {
    if (!can_draw(&data->chart, x, y)) return;
    cairo_arc(cr, kh_chart_x(&data->chart, area, x), kh_chart_y(&data->chart, area, y), radius, 0,
              2 * 3.14159265358979);
    cairo_fill(cr);
}

static void draw_dots(const line_chart *data, cairo_t *cr, size_t index, kh_box area) {
    const kh_figure_line *line = &data->lines[index];
    kh_set_rgb(cr, colour(data, index), 0.4);
    for (size_t i = 0; line->y && i < line->count; i++)
        draw_dot(data, cr, x_at(line, i), line->y[i], 2, area);
}

static void draw_line(const line_chart *data, cairo_t *cr, size_t index, kh_box area) {
    const kh_figure_line *line = &data->lines[index];
    const double dashes[] = {6, 4};
    bool is_down = false;
    if (!line->y) return;
    kh_set_rgb(cr, colour(data, index), 1);
    cairo_set_line_width(cr, 2);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    if (line->kind == KH_LINE_DASHED) cairo_set_dash(cr, dashes, 2, 0);
    for (size_t i = 0; i < line->count; i++) {
        const double x = x_at(line, i);
        if (!can_draw(&data->chart, x, line->y[i])) {
            is_down = false;
            continue;
        }
        const double px = kh_chart_x(&data->chart, area, x);
        const double py = kh_chart_y(&data->chart, area, line->y[i]);
        if (is_down)
            cairo_line_to(cr, px, py);
        else
            cairo_move_to(cr, px, py);
        is_down = true;
    }
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
    for (size_t i = 0; i < line->count; i++) {
        const double x = x_at(line, i);
        const bool is_alone =
            (i == 0 || !can_draw(&data->chart, x_at(line, i - 1), line->y[i - 1])) &&
            (i + 1 == line->count || !can_draw(&data->chart, x_at(line, i + 1), line->y[i + 1]));
        if (is_alone || line->kind == KH_LINE_POINTS) draw_dot(data, cr, x, line->y[i], 3, area);
    }
}

static void lines_draw(kh_letters *letters, cairo_t *cr, const void *opaque, kh_box box) {
    const line_chart *data = opaque;
    const kh_box area = kh_chart_draw(letters, cr, &data->chart, box);
    const kh_box room = {area.x - 4, area.y - 4, area.width + 8, area.height + 8};
    kh_clip(cr, room); /* whole dots at the edge */
    for (size_t i = 0; i < data->line_count; i++)
        if (data->lines[i].kind == KH_LINE_NULL) draw_band(data, cr, i, area);
    for (size_t i = 0; i < data->line_count; i++)
        if (data->lines[i].kind != KH_LINE_NULL) draw_band(data, cr, i, area);
    for (size_t i = 0; i < data->line_count; i++)
        if (data->lines[i].kind == KH_LINE_DOTS)
            draw_dots(data, cr, i, area);
        else
            draw_line(data, cr, i, area);
}

/* ---- copying --------------------------------------------------------------------------------- */

static bool keep_doubles(kh_figure *figure, const double *from, size_t count, const double **out) {
    *out = from ? kh_page_keep(figure, from, count, sizeof *from) : NULL;
    return !from || *out;
}

static bool keep_line(kh_figure *figure, const kh_figure_line *from, kh_figure_line *to) {
    *to = *from;
    return keep_doubles(figure, from->x, from->count, &to->x) &&
           keep_doubles(figure, from->y, from->count, &to->y) &&
           keep_doubles(figure, from->low, from->count, &to->low) &&
           keep_doubles(figure, from->high, from->count, &to->high) &&
           kh_page_keep_text(figure, from->name, &to->name) &&
           kh_page_keep_text(figure, from->band_name, &to->band_name);
}

static bool keep_keys(kh_figure *figure, line_chart *data) {
    kh_key *keys = kh_page_keep(figure, NULL, data->line_count * 2, sizeof *keys);
    if (!keys) return false;
    for (size_t i = 0; i < data->line_count; i++) {
        const kh_figure_line *line = &data->lines[i];
        const bool is_null = line->kind == KH_LINE_NULL;
        const uint32_t rgb = colour(data, i);
        const kh_key_kind kind = line->kind == KH_LINE_DASHED   ? KH_KEY_DASH
                                 : line->kind == KH_LINE_POINTS ? KH_KEY_POINTS
                                 : line->kind == KH_LINE_DOTS   ? KH_KEY_DOT
                                                                : KH_KEY_LINE;
        if (line->y) {
            const kh_key key = {line->name, rgb, kind};
            keys[data->chart.key_count++] = key;
        }
        if (line->low && line->high) {
            const kh_key key = {line->band_name, is_null ? KH_GREY_BAND : kh_shade(rgb, 0.78),
                                KH_KEY_BOX};
            keys[data->chart.key_count++] = key;
        }
    }
    data->chart.keys = keys;
    return true;
}

/* Ranks begin at 1, which no round step meets: name the first whole number as well. */
static void add_first_tick(kh_range *x) {
    kh_ticks *ticks = &x->ticks;
    if (ticks->count < 2 || ticks->count == KH_TICKS_MAX || fabs(x->low - nearbyint(x->low)) > 1e-9)
        return;
    if (ticks->at[0] - x->low < 0.45 * (ticks->at[1] - ticks->at[0])) return;
    memmove(ticks->at + 1, ticks->at, ticks->count * sizeof ticks->at[0]);
    ticks->at[0] = x->low;
    ticks->count++;
}

static bool keep_lines(kh_figure *figure, const kh_figure_lines *lines, line_chart *data) {
    kh_figure_line *copy = kh_page_keep(figure, NULL, lines->line_count, sizeof *copy);
    kh_extent x = kh_extent_make(&lines->x), y = kh_extent_make(&lines->y);
    if (!copy) return false;
    for (size_t i = 0; i < lines->line_count; i++) {
        const kh_figure_line *line = &lines->lines[i];
        if (!keep_line(figure, line, &copy[i])) return false;
        for (size_t k = 0; k < line->count; k++)
            kh_extent_add(&x, x_at(line, k));
        kh_extent_add_all(&y, line->y, line->count);
        kh_extent_add_all(&y, line->low, line->count);
        kh_extent_add_all(&y, line->high, line->count);
    }
    data->lines = copy;
    data->line_count = lines->line_count;
    data->chart.missing = y.missing + x.missing;
    data->chart.x = kh_range_make(&lines->x, x, 8, lines->is_x_integer, false);
    data->chart.y = kh_range_make(&lines->y, y, 5, false, true);
    if (lines->is_x_integer && !lines->x.is_log) add_first_tick(&data->chart.x);
    return kh_chart_keep(figure, &data->chart, lines->title, &lines->x, &lines->y, lines->width,
                         lines->height) &&
           keep_keys(figure, data);
}

kh_status kh_figure_add_lines(kh_figure *figure, const kh_figure_lines *lines, kh_error *err) {
    KH_TRY(kh_chart_check_axis(&lines->x, "x", err));
    KH_TRY(kh_chart_check_axis(&lines->y, "y", err));
    line_chart *data = kh_page_keep(figure, NULL, 1, sizeof *data);
    if (!data || !keep_lines(figure, lines, data)) return kh_page_no_memory(err);
    return kh_chart_add(figure, data, lines_draw, err);
}
