/* Clouds of dots: how two numbers of the same things go together. */
#include "figure/chart.h"

#include <math.h>

typedef struct scatter_chart {
    kh_chart chart;
    const kh_figure_cloud *clouds;
    size_t cloud_count;
    bool has_diagonal, has_zeros, is_last_null;
    double radius;
} scatter_chart;

static bool is_null(const scatter_chart *data, size_t index) {
    return data->is_last_null && index + 1 == data->cloud_count;
}

static uint32_t colour(const scatter_chart *data, size_t index) {
    return is_null(data, index) ? KH_GREY_NULL : kh_hues[index % KH_HUES];
}

static bool can_draw(const kh_chart *chart, double x, double y) {
    const kh_extent on_x = {.is_log = chart->x.is_log}, on_y = {.is_log = chart->y.is_log};
    return kh_extent_can_draw(&on_x, x) && kh_extent_can_draw(&on_y, y);
}

static void draw_helpers(const scatter_chart *data, cairo_t *cr, kh_box area) {
    const kh_chart *chart = &data->chart;
    const double dashes[] = {5, 4};
    kh_set_rgb(cr, 0x888888, 1);
    cairo_set_line_width(cr, 1);
    if (data->has_zeros && !chart->x.is_log && chart->x.low < 0 && chart->x.high > 0) {
        const double x = floor(kh_chart_x(chart, area, 0)) + 0.5;
        cairo_move_to(cr, x, area.y);
        cairo_line_to(cr, x, area.y + area.height);
        cairo_stroke(cr);
    }
    if (data->has_zeros && !chart->y.is_log && chart->y.low < 0 && chart->y.high > 0) {
        const double y = floor(kh_chart_y(chart, area, 0)) + 0.5;
        cairo_move_to(cr, area.x, y);
        cairo_line_to(cr, area.x + area.width, y);
        cairo_stroke(cr);
    }
    if (!data->has_diagonal || chart->x.is_log != chart->y.is_log) return;
    const double low = fmax(chart->x.low, chart->y.low), high = fmin(chart->x.high, chart->y.high);
    if (!(low < high)) return;
    cairo_set_dash(cr, dashes, 2, 0);
    cairo_move_to(cr, kh_chart_x(chart, area, low), kh_chart_y(chart, area, low));
    cairo_line_to(cr, kh_chart_x(chart, area, high), kh_chart_y(chart, area, high));
    cairo_stroke(cr);
    cairo_set_dash(cr, NULL, 0, 0);
}

static void draw_cloud(const scatter_chart *data, cairo_t *cr, size_t index, kh_box area) {
    const kh_figure_cloud *cloud = &data->clouds[index];
    kh_set_rgb(cr, colour(data, index), is_null(data, index) ? 0.6 : 0.75);
    for (size_t i = 0; i < cloud->count; i++) {
        if (!can_draw(&data->chart, cloud->x[i], cloud->y[i])) continue;
        cairo_arc(cr, kh_chart_x(&data->chart, area, cloud->x[i]),
                  kh_chart_y(&data->chart, area, cloud->y[i]), data->radius, 0,
                  2 * 3.14159265358979);
        cairo_fill(cr);
    }
}

static void scatter_draw(kh_letters *letters, cairo_t *cr, const void *opaque, kh_box box) {
    const scatter_chart *data = opaque;
    const kh_box area = kh_chart_draw(letters, cr, &data->chart, box);
    const double r = data->radius + 1;
    const kh_box room = {area.x - r, area.y - r, area.width + 2 * r, area.height + 2 * r};
    kh_clip(cr, room); /* whole dots at the edge */
    draw_helpers(data, cr, area);
    for (size_t i = 0; i < data->cloud_count; i++)
        if (is_null(data, i)) draw_cloud(data, cr, i, area);
    for (size_t i = 0; i < data->cloud_count; i++)
        if (!is_null(data, i)) draw_cloud(data, cr, i, area);
}

/* ---- copying --------------------------------------------------------------------------------- */

static bool keep_cloud(kh_figure *figure, const kh_figure_cloud *from, kh_figure_cloud *to) {
    *to = *from;
    to->x = kh_page_keep(figure, from->x, from->count, sizeof *from->x);
    to->y = kh_page_keep(figure, from->y, from->count, sizeof *from->y);
    return to->x && to->y && kh_page_keep_text(figure, from->name, &to->name);
}

static bool keep_scatter(kh_figure *figure, const kh_figure_scatter *from, scatter_chart *data) {
    kh_figure_cloud *clouds = kh_page_keep(figure, NULL, from->cloud_count, sizeof *clouds);
    kh_key *keys = kh_page_keep(figure, NULL, from->cloud_count, sizeof *keys);
    kh_extent x = kh_extent_make(&from->x), y = kh_extent_make(&from->y);
    size_t missing = 0;
    if (!clouds || !keys) return false;
    data->clouds = clouds;
    data->cloud_count = from->cloud_count;
    data->has_diagonal = from->has_diagonal;
    data->has_zeros = from->has_zeros;
    data->is_last_null = from->is_last_null;
    data->radius = from->radius > 0 ? from->radius : 3.5;
    for (size_t i = 0; i < from->cloud_count; i++) {
        const kh_figure_cloud *cloud = &from->clouds[i];
        if (!keep_cloud(figure, cloud, &clouds[i])) return false;
        for (size_t k = 0; k < cloud->count; k++) {
            if (!kh_extent_can_draw(&x, cloud->x[k]) || !kh_extent_can_draw(&y, cloud->y[k])) {
                missing++;
                continue;
            }
            kh_extent_add(&x, cloud->x[k]);
            kh_extent_add(&y, cloud->y[k]);
        }
        if (!cloud->name) continue;
        const kh_key key = {clouds[i].name, colour(data, i), KH_KEY_DOT};
        keys[data->chart.key_count++] = key;
    }
    data->chart.keys = keys;
    data->chart.missing = missing;
    data->chart.x = kh_range_make(&from->x, x, 6, false, true);
    data->chart.y = kh_range_make(&from->y, y, 5, false, true);
    return kh_chart_keep(figure, &data->chart, from->title, &from->x, &from->y, from->width,
                         from->height);
}

kh_status kh_figure_add_scatter(kh_figure *figure, const kh_figure_scatter *scatter,
                                kh_error *err) {
    KH_TRY(kh_chart_check_axis(&scatter->x, "x", err));
    KH_TRY(kh_chart_check_axis(&scatter->y, "y", err));
    if (scatter->cloud_count == 0 || !scatter->clouds)
        return kh_fail(err, KH_E_ARG, "figure scatter: no clouds to draw");
    scatter_chart *data = kh_page_keep(figure, NULL, 1, sizeof *data);
    if (!data || !keep_scatter(figure, scatter, data)) return kh_page_no_memory(err);
    return kh_chart_add(figure, data, scatter_draw, err);
}
