/* Counts in equal bins: the first series filled, the others as outlines, the null in grey. */
#include "base/checked.h"
#include "figure/chart.h"

#include <math.h>

#define MAX_MARKERS 16

typedef struct histogram_chart {
    kh_chart chart;
    const double *heights; /* [series, bins], counts or shares */
    size_t series, bins;
    double low, high;
    bool is_last_null;
    double markers[MAX_MARKERS];
    size_t marker_count;
} histogram_chart;

static uint32_t colour(const histogram_chart *data, size_t series) {
    if (data->is_last_null && series + 1 == data->series) return KH_GREY_NULL;
    return kh_hues[series % KH_HUES];
}

/* The silhouette of one series; bins that cannot be drawn stand on the floor. */
static void trace(const histogram_chart *data, cairo_t *cr, size_t series, kh_box area) {
    const kh_extent probe = {.is_log = data->chart.y.is_log};
    const double step = (data->high - data->low) / (double)data->bins;
    const double bottom = area.y + area.height + 3; /* the outline of the floor is clipped */
    cairo_move_to(cr, kh_chart_x(&data->chart, area, data->low), bottom);
    for (size_t i = 0; i < data->bins; i++) {
        const double h = data->heights[series * data->bins + i];
        const double y = kh_extent_can_draw(&probe, h) ? kh_chart_y(&data->chart, area, h) : bottom;
        cairo_line_to(cr, kh_chart_x(&data->chart, area, data->low + step * (double)i), y);
        cairo_line_to(cr, kh_chart_x(&data->chart, area, data->low + step * (double)(i + 1)), y);
    }
    cairo_line_to(cr, kh_chart_x(&data->chart, area, data->high), bottom);
}

static void draw_markers(const histogram_chart *data, cairo_t *cr, kh_box area) {
    const double dashes[] = {5, 3};
    for (size_t i = 0; i < data->marker_count; i++) {
        if (!isfinite(data->markers[i])) continue;
        const double x = floor(kh_chart_x(&data->chart, area, data->markers[i])) + 0.5;
        kh_set_rgb(cr, kh_hues[(data->series + i) % KH_HUES], 1);
        cairo_set_line_width(cr, 1.5);
        cairo_set_dash(cr, dashes, 2, 0);
        cairo_move_to(cr, x, area.y);
        cairo_line_to(cr, x, area.y + area.height);
        cairo_stroke(cr);
        cairo_set_dash(cr, NULL, 0, 0);
    }
}

static void histogram_draw(kh_letters *letters, cairo_t *cr, const void *opaque, kh_box box) {
    const histogram_chart *data = opaque;
    const kh_box area = kh_chart_draw(letters, cr, &data->chart, box);
    kh_clip(cr, area);
    if (data->is_last_null) {
        trace(data, cr, data->series - 1, area);
        kh_set_rgb(cr, KH_GREY_BAND, 1);
        cairo_fill(cr);
    }
    for (size_t s = 0; s < data->series; s++) {
        trace(data, cr, s, area);
        kh_set_rgb(cr, colour(data, s), 0.30);
        if (s == 0 && !(data->is_last_null && data->series == 1)) cairo_fill_preserve(cr);
        kh_set_rgb(cr, colour(data, s), 1);
        cairo_set_line_width(cr, 1.5);
        cairo_stroke(cr);
    }
    draw_markers(data, cr, area);
}

/* ---- copying --------------------------------------------------------------------------------- */

static bool keep_heights(kh_figure *figure, const kh_figure_histogram *from,
                         histogram_chart *data) {
    double *heights = kh_page_keep(figure, NULL, data->series * data->bins, sizeof *heights);
    if (!heights) return false;
    for (size_t s = 0; s < data->series; s++) {
        double total = 0;
        for (size_t i = 0; i < data->bins; i++)
            total += (double)from->counts[s * data->bins + i];
        for (size_t i = 0; i < data->bins; i++) {
            const double count = (double)from->counts[s * data->bins + i];
            heights[s * data->bins + i] = from->is_share && total > 0 ? count / total : count;
        }
    }
    data->heights = heights;
    return true;
}

static bool keep_keys(kh_figure *figure, const kh_figure_histogram *from, histogram_chart *data) {
    kh_key *keys = kh_page_keep(figure, NULL, data->series + MAX_MARKERS, sizeof *keys);
    if (!keys) return false;
    for (size_t s = 0; from->series_names && s < data->series; s++) {
        kh_key *key = &keys[data->chart.key_count++];
        key->rgb = colour(data, s);
        key->kind = s == 0 ? KH_KEY_BOX : KH_KEY_LINE;
        if (!kh_page_keep_text(figure, from->series_names[s], &key->name)) return false;
    }
    for (size_t i = 0; from->marker_names && i < data->marker_count; i++) {
        kh_key *key = &keys[data->chart.key_count++];
        key->rgb = kh_hues[(data->series + i) % KH_HUES];
        key->kind = KH_KEY_DASH;
        if (!kh_page_keep_text(figure, from->marker_names[i], &key->name)) return false;
    }
    data->chart.keys = keys;
    return true;
}

static bool keep_histogram(kh_figure *figure, const kh_figure_histogram *from,
                           histogram_chart *data) {
    data->series = from->series ? from->series : 1;
    data->bins = from->bins;
    data->low = from->low;
    data->high = from->high;
    data->is_last_null = from->is_last_null;
    for (size_t i = 0; i < from->marker_count; i++)
        data->markers[i] = from->markers[i];
    data->marker_count = from->marker_count;
    if (!keep_heights(figure, from, data) || !keep_keys(figure, from, data)) return false;
    kh_extent y = kh_extent_make(&from->y);
    kh_extent_add_all(&y, data->heights, data->series * data->bins);
    y.missing = 0; /* an empty bin on a log axis is simply empty */
    if (y.low <= y.high) y.low = y.is_log ? y.low * 0.7 : 0; /* the smallest bar has a height */
    const kh_extent x = {from->low, from->high, 0, false};
    data->chart.x = kh_range_make(&from->x, x, 7, false, false);
    data->chart.y = kh_range_make(&from->y, y, 5, !from->is_share, true);
    return kh_chart_keep(figure, &data->chart, from->title, &from->x, &from->y, from->width,
                         from->height);
}

kh_status kh_figure_add_histogram(kh_figure *figure, const kh_figure_histogram *histogram,
                                  kh_error *err) {
    size_t count;
    KH_TRY(kh_chart_check_axis(&histogram->x, "x", err));
    KH_TRY(kh_chart_check_axis(&histogram->y, "y", err));
    if (histogram->bins == 0 || !histogram->counts)
        return kh_fail(err, KH_E_ARG, "figure histogram: no bins to draw");
    if (!isfinite(histogram->low) || !isfinite(histogram->high) ||
        !(histogram->low < histogram->high) || histogram->x.is_log)
        return kh_fail(err, KH_E_ARG, "figure histogram: bins from %g to %g", histogram->low,
                       histogram->high);
    if (!kh_mul(histogram->bins, histogram->series ? histogram->series : 1, &count) ||
        count > 1000000 || histogram->marker_count > MAX_MARKERS)
        return kh_fail(err, KH_E_LIMIT, "figure histogram: %zu bins, %zu series, %zu markers",
                       histogram->bins, histogram->series, histogram->marker_count);
    histogram_chart *data = kh_page_keep(figure, NULL, 1, sizeof *data);
    if (!data || !keep_histogram(figure, histogram, data)) return kh_page_no_memory(err);
    return kh_chart_add(figure, data, histogram_draw, err);
}
