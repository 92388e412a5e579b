/* One thin line per index, the largest ones named: many values of which few matter. */
#include "figure/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_LABELS 32

typedef struct stem_chart {
    kh_chart chart;
    const double *values;
    size_t count;
    size_t top[MAX_LABELS]; /* indices of the largest values, largest first */
    size_t top_count;
} stem_chart;

static bool overlaps(kh_box a, kh_box b) {
    return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height &&
           b.y < a.y + a.height;
}

/* Names the tops: above the stem, else beside an earlier name. */
static void draw_labels(kh_letters *letters, cairo_t *cr, const stem_chart *data, kh_box area) {
    kh_box placed[MAX_LABELS];
    size_t count = 0;
    for (size_t i = 0; i < data->top_count; i++) {
        char text[KH_NUMBER_ROOM];
        (void)snprintf(text, sizeof text, "%zu", data->top[i]);
        const double w = kh_letters_width(letters, &kh_style_small, text, strlen(text)) + 4;
        const double x = kh_chart_x(&data->chart, area, (double)data->top[i]);
        const double y = kh_chart_y(&data->chart, area, data->values[data->top[i]]);
        const double shifts[] = {-w / 2, 3, -w - 3};
        for (size_t attempt = 0; attempt < 3; attempt++) {
            const kh_box box = {x + shifts[attempt], attempt ? y - 6 : y - 15, w, 12};
            bool is_free = box.x >= area.x - 8 && box.x + w <= area.x + area.width + 12;
            for (size_t k = 0; k < count; k++)
                is_free = is_free && !overlaps(box, placed[k]);
            if (!is_free) continue;
            kh_letters_draw(letters, cr, &kh_style_small, box.x + 2, box.y + 10, 0, text);
            placed[count++] = box;
            break;
        }
    }
}

static void stems_draw(kh_letters *letters, cairo_t *cr, const void *opaque, kh_box box) {
    const stem_chart *data = opaque;
    const kh_box area = kh_chart_draw(letters, cr, &data->chart, box);
    const kh_extent probe = {.is_log = data->chart.y.is_log};
    const double base = probe.is_log ? data->chart.y.low : fmax(data->chart.y.low, 0);
    const double zero = kh_chart_y(&data->chart, area, base);
    cairo_save(cr);
    kh_clip(cr, area);
    kh_set_rgb(cr, kh_hues[0], 1);
    cairo_set_line_width(cr, fmin(2, fmax(0.6, area.width / (double)data->count * 0.6)));
    for (size_t i = 0; i < data->count; i++) {
        if (!kh_extent_can_draw(&probe, data->values[i])) continue;
        const double x = kh_chart_x(&data->chart, area, (double)i);
        cairo_move_to(cr, x, zero);
        cairo_line_to(cr, x, kh_chart_y(&data->chart, area, data->values[i]));
    }
    cairo_stroke(cr);
    cairo_restore(cr);
    if (data->chart.y.low < 0)
        kh_fill_box(cr, 0x555555, area.x, floor(zero), area.x + area.width, floor(zero) + 1);
    kh_set_rgb(cr, kh_hues[1], 1);
    for (size_t i = 0; i < data->top_count; i++) {
        cairo_arc(cr, kh_chart_x(&data->chart, area, (double)data->top[i]),
                  kh_chart_y(&data->chart, area, data->values[data->top[i]]), 2.5, 0,
                  2 * 3.14159265358979);
        cairo_fill(cr);
    }
    draw_labels(letters, cr, data, area);
}

/* The `labelled` largest, largest first, earlier index first among equals. */
static void find_top(stem_chart *data, size_t labelled) {
    const kh_extent probe = {.is_log = data->chart.y.is_log};
    if (labelled > MAX_LABELS) labelled = MAX_LABELS;
    for (size_t i = 0; i < data->count; i++) {
        if (!kh_extent_can_draw(&probe, data->values[i])) continue;
        size_t at = data->top_count;
        while (at > 0 && data->values[data->top[at - 1]] < data->values[i])
            at--;
        if (at >= labelled) continue;
        if (data->top_count < labelled) data->top_count++;
        for (size_t k = data->top_count - 1; k > at; k--)
            data->top[k] = data->top[k - 1];
        data->top[at] = i;
    }
}

kh_status kh_figure_add_stems(kh_figure *figure, const kh_figure_stems *stems, kh_error *err) {
    KH_TRY(kh_chart_check_axis(&stems->x, "x", err));
    KH_TRY(kh_chart_check_axis(&stems->y, "y", err));
    if (stems->count == 0 || !stems->values)
        return kh_fail(err, KH_E_ARG, "figure stems: no values to draw");
    if (stems->x.is_log) return kh_fail(err, KH_E_ARG, "figure stems: the x axis counts from 0");
    stem_chart *data = kh_page_keep(figure, NULL, 1, sizeof *data);
    double *values = kh_page_keep(figure, stems->values, stems->count, sizeof *values);
    if (!data || !values) return kh_page_no_memory(err);
    data->values = values;
    data->count = stems->count;
    kh_extent y = kh_extent_make(&stems->y);
    kh_extent_add_all(&y, values, stems->count);
    if (y.low <= y.high && !y.is_log) {
        y.low = fmin(y.low, 0);
        y.high = fmax(y.high, 0) * (stems->labelled ? 1.08 : 1);
    }
    const kh_extent x = {-0.5, (double)stems->count - 0.5, 0, false};
    data->chart.x = kh_range_make(&stems->x, x, 7, true, false);
    data->chart.y = kh_range_make(&stems->y, y, 4, false, true);
    data->chart.missing = y.missing;
    find_top(data, stems->labelled);
    if (!kh_chart_keep(figure, &data->chart, stems->title, &stems->x, &stems->y, stems->width,
                       stems->height))
        return kh_page_no_memory(err);
    return kh_chart_add(figure, data, stems_draw, err);
}
