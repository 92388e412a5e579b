/* Bars, side by side or stacked, with an optional grey band that says what chance gives. */
#include "base/checked.h"
#include "figure/chart.h"

#include <math.h>
#include <string.h>

typedef struct bar_chart {
    kh_chart chart;
    kh_figure_bars bars;
    bool is_whole; /* all values are whole numbers */
} bar_chart;

#define GROUP_SHARE 0.76 /* of a group's width that bars take */

static double value_at(const kh_figure_bars *bars, size_t series, size_t group) {
    return bars->values[series * bars->groups + group];
}

static uint32_t colour(const kh_figure_bars *bars, size_t series) {
    return kh_series_colour(series, bars->series, bars->is_ordered);
}

/* Values above bars, if all of them fit. */
static void draw_values(kh_letters *letters, cairo_t *cr, const bar_chart *data, kh_box area,
                        double slot) {
    const kh_figure_bars *bars = &data->bars;
    const kh_extent probe = {.is_log = data->chart.y.is_log};
    char text[KH_NUMBER_ROOM];
    const double pitch = area.width / (double)bars->groups;
    for (int pass = 0; pass < 2; pass++) /* measure, then draw */
        for (size_t g = 0; g < bars->groups; g++)
            for (size_t s = 0; s < bars->series; s++) {
                const double v = value_at(bars, s, g);
                if (!kh_extent_can_draw(&probe, v)) continue;
                (void)(data->is_whole ? kh_number(v, 0, text) : kh_number_short(v, 3, text));
                const double w = kh_letters_width(letters, &kh_style_small, text, strlen(text));
                if (pass == 0 && w > slot + (bars->series > 1 ? 0 : pitch - slot - 2)) return;
                if (pass == 0) continue;
                const double x =
                    area.x + pitch * ((double)g + (1 - GROUP_SHARE) / 2) + slot * ((double)s + 0.5);
                const double *edge = v < 0 ? bars->low : bars->high;
                const double end = edge ? edge[s * bars->groups + g] : v;
                const double y =
                    kh_chart_y(&data->chart, area, kh_extent_can_draw(&probe, end) ? end : v);
                const double baseline = v < 0 ? y + kh_style_small.size + 1 : y - 4;
                if (bars->band_low) { /* readable on the band's edge */
                    kh_set_rgb(cr, 0xffffff, 0.85);
                    cairo_rectangle(cr, x - w / 2 - 2, baseline - 9, w + 4, 11);
                    cairo_fill(cr);
                }
                kh_letters_draw(letters, cr, &kh_style_small, x, baseline, 0.5, text);
            }
}

static void draw_band(cairo_t *cr, const bar_chart *data, kh_box area, bool is_edge) {
    const kh_figure_bars *bars = &data->bars;
    const kh_extent probe = {.is_log = data->chart.y.is_log};
    const double pitch = area.width / (double)bars->groups;
    const double dashes[] = {3, 2};
    for (size_t g = 0; bars->band_low && g < bars->groups; g++) {
        if (!kh_extent_can_draw(&probe, bars->band_high[g])) continue;
        const double bottom =
            kh_extent_can_draw(&probe, bars->band_low[g]) ? bars->band_low[g] : data->chart.y.low;
        const double x0 = area.x + pitch * (double)g + 1, x1 = x0 + pitch - 2;
        const double y0 = kh_chart_y(&data->chart, area, bottom);
        const double y1 = kh_chart_y(&data->chart, area, bars->band_high[g]);
        if (!is_edge) {
            kh_fill_box(cr, KH_GREY_BAND, x0, y0, x1, fmin(y1, y0 - 1));
            continue;
        }
        kh_set_rgb(cr, 0x4d4d4d, 1);
        cairo_set_line_width(cr, 1);
        cairo_set_dash(cr, dashes, 2, 0);
        cairo_move_to(cr, x0, floor(y1) + 0.5);
        cairo_line_to(cr, x1, floor(y1) + 0.5);
        cairo_stroke(cr);
        cairo_set_dash(cr, NULL, 0, 0);
    }
}

static void draw_group(cairo_t *cr, const bar_chart *data, kh_box area, size_t group, double slot) {
    const kh_figure_bars *bars = &data->bars;
    const kh_extent probe = {.is_log = data->chart.y.is_log};
    const double pitch = area.width / (double)bars->groups;
    const double left = area.x + pitch * ((double)group + (1 - GROUP_SHARE) / 2);
    double up = 0, down = 0;
    for (size_t s = 0; s < bars->series; s++) {
        const double v = value_at(bars, s, group);
        if (!kh_extent_can_draw(&probe, v)) continue;
        double from = probe.is_log ? data->chart.y.low : 0, to = v;
        if (bars->is_stacked) {
            double *sum = v < 0 ? &down : &up;
            from = probe.is_log && !(*sum > 0) ? from : *sum;
            to = *sum += v;
        }
        const double x = bars->is_stacked ? left : left + slot * (double)s;
        const double gap = !bars->is_stacked && bars->series > 1 && slot > 4 ? 1 : 0;
        kh_fill_box(cr, colour(bars, s), x, kh_chart_y(&data->chart, area, from), x + slot - gap,
                    kh_chart_y(&data->chart, area, to));
    }
}

static void draw_whiskers(cairo_t *cr, const bar_chart *data, kh_box area, double slot) {
    const kh_figure_bars *bars = &data->bars;
    const kh_extent probe = {.is_log = data->chart.y.is_log};
    const double pitch = area.width / (double)bars->groups, arm = fmin(4, slot / 4);
    kh_set_rgb(cr, 0x333333, 1);
    cairo_set_line_width(cr, 1.2);
    for (size_t g = 0; g < bars->groups; g++)
        for (size_t s = 0; s < bars->series; s++) {
            const double low = bars->low[s * bars->groups + g];
            const double high = bars->high[s * bars->groups + g];
            if (!kh_extent_can_draw(&probe, low) || !kh_extent_can_draw(&probe, high)) continue;
            const double middle =
                area.x + pitch * ((double)g + (1 - GROUP_SHARE) / 2) + slot * ((double)s + 0.5);
            const double x = floor(middle) + 0.5; /* one dark column of pixels */
            const double ends[2] = {kh_chart_y(&data->chart, area, low),
                                    kh_chart_y(&data->chart, area, high)};
            cairo_move_to(cr, x, ends[0]);
            cairo_line_to(cr, x, ends[1]);
            for (size_t e = 0; e < 2; e++) {
                cairo_move_to(cr, x - arm, ends[e]);
                cairo_line_to(cr, x + arm, ends[e]);
            }
            cairo_stroke(cr);
        }
}

static void bars_draw(kh_letters *letters, cairo_t *cr, const void *opaque, kh_box box) {
    const bar_chart *data = opaque;
    const kh_figure_bars *bars = &data->bars;
    const kh_box area = kh_chart_draw(letters, cr, &data->chart, box);
    const double pitch = area.width / (double)bars->groups;
    const double slot = pitch * GROUP_SHARE / (bars->is_stacked ? 1 : (double)bars->series);
    cairo_save(cr);
    kh_clip(cr, area);
    draw_band(cr, data, area, false);
    for (size_t g = 0; g < bars->groups; g++)
        draw_group(cr, data, area, g, slot);
    draw_band(cr, data, area, true);
    if (bars->low && !bars->is_stacked) draw_whiskers(cr, data, area, slot);
    cairo_restore(cr);
    if (!data->chart.y.is_log && data->chart.y.low < 0) {
        const double zero = floor(kh_chart_y(&data->chart, area, 0));
        kh_fill_box(cr, 0x555555, area.x, zero, area.x + area.width, zero + 1);
    }
    if (bars->show_values && !bars->is_stacked) draw_values(letters, cr, data, area, slot);
}

/* ---- copying --------------------------------------------------------------------------------- */

static kh_extent bars_extent(const kh_figure_bars *bars) {
    kh_extent extent = kh_extent_make(&bars->y);
    for (size_t g = 0; g < bars->groups; g++) {
        double up = 0, down = 0;
        for (size_t s = 0; s < bars->series; s++) {
            const double v = value_at(bars, s, g);
            if (!bars->is_stacked || !kh_extent_can_draw(&extent, v)) {
                kh_extent_add(&extent, v);
                continue;
            }
            *(v < 0 ? &down : &up) += v;
        }
        if (up > 0) kh_extent_add(&extent, up);
        if (down < 0) kh_extent_add(&extent, down);
    }
    const size_t missing = extent.missing;
    kh_extent_add_all(&extent, bars->band_high, bars->groups);
    kh_extent_add_all(&extent, bars->low, bars->series * bars->groups);
    kh_extent_add_all(&extent, bars->high, bars->series * bars->groups);
    extent.missing = missing;
    if (extent.low <= extent.high && extent.is_log) extent.low *= 0.7; /* the least is seen too */
    if (extent.low <= extent.high && !extent.is_log) {                 /* bars stand on zero */
        extent.low = fmin(extent.low, 0);
        extent.high = fmax(extent.high, 0);
        if (bars->show_values) extent.high *= 1.05;
    }
    return extent;
}

static bool keep_keys(kh_figure *figure, bar_chart *data) {
    const kh_figure_bars *bars = &data->bars;
    kh_key *keys = kh_page_keep(figure, NULL, bars->series + 2, sizeof *keys);
    if (!keys) return false;
    size_t count = 0;
    for (size_t s = 0; bars->series_names && s < bars->series; s++) {
        const kh_key key = {bars->series_names[s], colour(bars, s), KH_KEY_BOX};
        keys[count++] = key;
    }
    if (bars->band_low && bars->band_name) {
        const kh_key key = {bars->band_name, KH_GREY_BAND, KH_KEY_BOX};
        keys[count++] = key;
    }
    if (bars->low && bars->whisker_name) {
        const kh_key key = {bars->whisker_name, 0x333333, KH_KEY_LINE};
        keys[count++] = key;
    }
    data->chart.keys = keys;
    data->chart.key_count = count;
    return true;
}

static bool all_whole(const double *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (isfinite(values[i]) && fabs(values[i] - nearbyint(values[i])) > 0) return false;
    return true;
}

static bool keep_bars(kh_figure *figure, const kh_figure_bars *bars, bar_chart *data) {
    kh_figure_bars *to = &data->bars;
    *to = *bars;
    if (to->series == 0) to->series = 1;
    const size_t count = to->series * to->groups;
    data->is_whole = all_whole(bars->values, count);
    if (!bars->band_high) to->band_low = NULL;
    if (!(to->values = kh_page_keep(figure, bars->values, count, sizeof(double)))) return false;
    if (to->band_low &&
        (!(to->band_low = kh_page_keep(figure, bars->band_low, to->groups, sizeof(double))) ||
         !(to->band_high = kh_page_keep(figure, bars->band_high, to->groups, sizeof(double)))))
        return false;
    if (!to->band_low) to->band_high = NULL;
    if (!bars->low || !bars->high) to->low = to->high = NULL;
    if (to->low && (!(to->low = kh_page_keep(figure, bars->low, count, sizeof(double))) ||
                    !(to->high = kh_page_keep(figure, bars->high, count, sizeof(double)))))
        return false;
    const bool is_kept =
        kh_page_keep_texts(figure, bars->series_names, to->series, &to->series_names) &&
        kh_page_keep_texts(figure, bars->group_names, to->groups, &data->chart.names) &&
        kh_page_keep_text(figure, bars->band_name, &to->band_name) &&
        kh_page_keep_text(figure, bars->whisker_name, &to->whisker_name) &&
        kh_chart_keep(figure, &data->chart, bars->title, &bars->x, &bars->y, bars->width,
                      bars->height) &&
        keep_keys(figure, data);
    const kh_extent extent = bars_extent(to);
    data->chart.groups = to->groups;
    data->chart.missing = extent.missing;
    const double given = bars->y.high - bars->y.low; /* ends that were given may be nearer than 1 */
    data->chart.y =
        kh_range_make(&bars->y, extent, 5, data->is_whole && !(given > 0 && given < 2), true);
    return is_kept;
}

kh_status kh_figure_add_bars(kh_figure *figure, const kh_figure_bars *bars, kh_error *err) {
    size_t count;
    if (bars->groups == 0 || !bars->values)
        return kh_fail(err, KH_E_ARG, "figure bars: no groups to draw");
    if (!kh_mul(bars->groups, bars->series ? bars->series : 1, &count) || count > 1000000)
        return kh_fail(err, KH_E_LIMIT, "figure bars: %zu groups of %zu are too many", bars->groups,
                       bars->series);
    KH_TRY(kh_chart_check_axis(&bars->y, "y", err));
    bar_chart *data = kh_page_keep(figure, NULL, 1, sizeof *data);
    if (!data || !keep_bars(figure, bars, data)) return kh_page_no_memory(err);
    return kh_chart_add(figure, data, bars_draw, err);
}
