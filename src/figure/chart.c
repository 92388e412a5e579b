#include "figure/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_WIDTH  720.0
#define DEFAULT_HEIGHT 320.0
#define TICK_LENGTH    4.0
#define KEY_WIDTH      24.0
#define KEY_GAP        18.0

/* ---- ranges ---------------------------------------------------------------------------------- */

kh_extent kh_extent_make(const kh_figure_axis *axis) {
    const kh_extent extent = {(double)INFINITY, -(double)INFINITY, 0, axis->is_log};
    return extent;
}

bool kh_extent_can_draw(const kh_extent *extent, double value) {
    return isfinite(value) && fabs(value) < 1e300 && (!extent->is_log || value > 0);
}

void kh_extent_add(kh_extent *extent, double value) {
    if (!kh_extent_can_draw(extent, value)) {
        extent->missing++;
        return;
    }
    if (value < extent->low) extent->low = value;
    if (value > extent->high) extent->high = value;
}

void kh_extent_add_all(kh_extent *extent, const double *values, size_t count) {
    for (size_t i = 0; values && i < count; i++)
        kh_extent_add(extent, values[i]);
}

/* Makes low < high, whatever came in. One value alone is shown against 0, and 0 itself below 1: a
 * share has no room above 1 or below 0. */
static void widen(double *low, double *high, bool is_log) {
    if (!(*low <= *high)) {
        *low = is_log ? 1 : 0;
        *high = is_log ? 10 : 1;
    }
    const double size = fmax(fabs(*low), fabs(*high));
    if (*high - *low > size * 1e-9 && *high > *low) return;
    if (is_log) {
        *low /= 2;
        *high *= 2;
    } else if (size > 0) {
        *low = fmin(*low, 0);
        *high = fmax(*high, 0);
    } else {
        *high = 1;
    }
}

/* The next multiple of step in step's direction; a value just past a multiple keeps a short way, so
 * that a few hundredths below zero do not cost a whole step of empty paper. */
static double round_outwards(double value, double step) {
    const double steps = value / step; /* grows outwards */
    const double inner = floor(steps + 1e-9);
    if (steps - inner < 1e-9) return inner * step;
    return (steps - inner < 0.12 ? inner + 0.15 : inner + 1) * step;
}

kh_range kh_range_make(const kh_figure_axis *axis, kh_extent extent, size_t wanted_ticks,
                       bool is_whole, bool is_rounded) {
    const bool is_given = axis->low < axis->high;
    if (axis->has_zero && !axis->is_log && extent.low <= extent.high) {
        extent.low = fmin(extent.low, 0);
        extent.high = fmax(extent.high, 0);
    }
    kh_range range = {.low = is_given ? axis->low : extent.low,
                      .high = is_given ? axis->high : extent.high,
                      .is_log = axis->is_log};
    widen(&range.low, &range.high, range.is_log);
    if (range.is_log) {
        if (is_rounded && !is_given) {
            range.low = pow(10, floor(log10(range.low) + 1e-9));
            range.high = pow(10, ceil(log10(range.high) - 1e-9));
        }
        range.ticks = kh_ticks_log(range.low, range.high, wanted_ticks);
        return range;
    }
    double step = 0;
    for (int again = 0; again < 3 && is_rounded && !is_given; again++) {
        const double before = step; /* what rounding adds may ask for a longer step */
        step = kh_ticks_step(range.low, range.high, wanted_ticks, is_whole);
        if (!(step > before)) break;
        range.low = round_outwards(range.low, -step);
        range.high = round_outwards(range.high, step);
    }
    range.ticks = kh_ticks_linear(range.low, range.high, wanted_ticks, is_whole);
    return range;
}

static double share(const kh_range *range, double value) {
    if (range->is_log) return log(value / range->low) / log(range->high / range->low);
    return (value - range->low) / (range->high - range->low);
}

double kh_chart_x(const kh_chart *chart, kh_box area, double value) {
    return area.x + share(&chart->x, value) * area.width;
}

double kh_chart_y(const kh_chart *chart, kh_box area, double value) {
    return area.y + (1 - share(&chart->y, value)) * area.height;
}

/* ---- copying --------------------------------------------------------------------------------- */

kh_status kh_chart_check_axis(const kh_figure_axis *axis, const char *which, kh_error *err) {
    const bool is_given = axis->low < 0 || axis->low > 0 || axis->high < 0 || axis->high > 0;
    if (!isfinite(axis->low) || !isfinite(axis->high) || fabs(axis->low) > 1e300 ||
        fabs(axis->high) > 1e300 || (is_given && !(axis->low < axis->high)))
        return kh_fail(err, KH_E_ARG, "figure: %s axis from %g to %g", which, axis->low,
                       axis->high);
    if (axis->is_log && is_given && !(axis->low > 0))
        return kh_fail(err, KH_E_ARG, "figure: logarithmic %s axis cannot begin at %g", which,
                       axis->low);
    return KH_OK;
}

bool kh_chart_keep(kh_figure *figure, kh_chart *chart, const char *title, const kh_figure_axis *x,
                   const kh_figure_axis *y, double width, double height) {
    chart->width = ceil(width >= 160 && width <= 30000 ? width : DEFAULT_WIDTH);
    chart->height = ceil(height >= 120 && height <= 30000 ? height : DEFAULT_HEIGHT);
    return kh_page_keep_text(figure, title, &chart->title) &&
           kh_page_keep_text(figure, x->label, &chart->x_label) &&
           kh_page_keep_text(figure, y->label, &chart->y_label);
}

static double chart_width(kh_letters *letters, const void *data) {
    const kh_chart *chart = data;
    (void)letters;
    return chart->width;
}

static double chart_height(kh_letters *letters, const void *data, double width) {
    const kh_chart *chart = data;
    (void)letters;
    (void)width;
    return chart->height;
}

kh_status kh_chart_add(kh_figure *figure, const void *data,
                       void (*draw)(kh_letters *, cairo_t *, const void *, kh_box), kh_error *err) {
    const kh_element element = {
        .width = chart_width, .height = chart_height, .draw = draw, .data = data};
    return kh_page_add(figure, &element, err);
}

/* ---- drawing --------------------------------------------------------------------------------- */

void kh_clip(cairo_t *cr, kh_box box) {
    cairo_rectangle(cr, box.x, box.y, box.width, box.height);
    cairo_clip(cr);
}

void kh_fill_box(cairo_t *cr, uint32_t rgb, double x0, double y0, double x1, double y1) {
    kh_set_rgb(cr, rgb, 1);
    cairo_rectangle(cr, fmin(x0, x1), fmin(y0, y1), fabs(x1 - x0), fabs(y1 - y0));
    cairo_fill(cr);
}

static void draw_key(cairo_t *cr, const kh_key *key, double x, double y) {
    const double dashes[] = {5, 3};
    const double middle = y + 8;
    if (key->kind == KH_KEY_BOX) {
        kh_fill_box(cr, key->rgb, x, y + 3, x + KEY_WIDTH - 8, y + 13);
        return;
    }
    kh_set_rgb(cr, key->rgb, 1);
    cairo_set_line_width(cr, 2);
    if (key->kind == KH_KEY_DASH) cairo_set_dash(cr, dashes, 2, 0);
    if (key->kind != KH_KEY_DOT) {
        cairo_move_to(cr, x, middle);
        cairo_line_to(cr, x + KEY_WIDTH - 6, middle);
        cairo_stroke(cr);
    }
    cairo_set_dash(cr, NULL, 0, 0);
    if (key->kind == KH_KEY_POINTS || key->kind == KH_KEY_DOT) {
        cairo_arc(cr, x + (KEY_WIDTH - 6) / 2, middle, 3, 0, 2 * 3.14159265358979);
        cairo_fill(cr);
    }
}

/* Draws (cr not NULL) or only measures the legend; returns its height. */
static double legend(kh_letters *letters, cairo_t *cr, const kh_chart *chart, double x, double y,
                     double width) {
    double at = 0, line = 0;
    bool is_any = false;
    for (size_t i = 0; i < chart->key_count; i++) {
        const kh_key *key = &chart->keys[i];
        if (!key->name || !*key->name) continue;
        double w =
            KEY_WIDTH + kh_letters_width(letters, &kh_style_body, key->name, strlen(key->name));
        if (w > width) w = width;
        if (at > 0 && at + w > width) {
            at = 0;
            line += 18;
        }
        if (cr) {
            draw_key(cr, key, x + at, y + line);
            kh_letters_draw_fit(letters, cr, &kh_style_body, x + at + KEY_WIDTH, y + line + 12, 0,
                                w - KEY_WIDTH + 1, key->name);
        }
        at += w + KEY_GAP;
        is_any = true;
    }
    return is_any ? line + 18 + 6 : 0;
}

static double widest_tick(kh_letters *letters, const kh_ticks *ticks) {
    char text[KH_NUMBER_ROOM];
    double widest = 0;
    for (size_t i = 0; i < ticks->count; i++) {
        (void)kh_tick_text(ticks, i, text);
        widest = fmax(widest, kh_letters_width(letters, &kh_style_body, text, strlen(text)));
    }
    return widest;
}

static void draw_y_axis(kh_letters *letters, cairo_t *cr, const kh_chart *chart, kh_box area,
                        double left) {
    char text[KH_NUMBER_ROOM];
    for (size_t i = 0; i < chart->y.ticks.count; i++) {
        const double y = floor(kh_chart_y(chart, area, chart->y.ticks.at[i]) - 0.5);
        kh_fill_box(cr, 0xe3e3e3, area.x, y, area.x + area.width, y + 1);
        kh_letters_draw(letters, cr, &kh_style_body, area.x - 7, y + 4.5, 1,
                        kh_tick_text(&chart->y.ticks, i, text));
    }
    if (!chart->y_label) return;
    cairo_save(cr);
    cairo_translate(cr, left + kh_style_body.size, area.y + area.height / 2);
    cairo_rotate(cr, -3.14159265358979 / 2);
    kh_letters_draw_fit(letters, cr, &kh_style_body, 0, 0, 0.5, area.height + 40, chart->y_label);
    cairo_restore(cr);
}

/* How many names must be left out between two that are written. */
static size_t name_stride(kh_letters *letters, const kh_chart *chart, double pitch) {
    char number[KH_NUMBER_ROOM];
    double widest = 0;
    for (size_t i = 0; i < chart->groups; i++) {
        (void)snprintf(number, sizeof number, "%zu", i);
        const char *name = chart->names ? chart->names[i] : number;
        if (name)
            widest = fmax(widest, kh_letters_width(letters, &kh_style_body, name, strlen(name)));
    }
    const double need = fmin(widest, 110) + 6;
    return (size_t)fmax(1, ceil(need / pitch));
}

static void draw_names(kh_letters *letters, cairo_t *cr, const kh_chart *chart, kh_box area) {
    char number[KH_NUMBER_ROOM];
    const double pitch = area.width / (double)chart->groups;
    const size_t stride = name_stride(letters, chart, pitch);
    const double baseline = area.y + area.height + TICK_LENGTH + 2 + kh_style_body.size;
    for (size_t i = 0; i < chart->groups; i += stride) {
        (void)snprintf(number, sizeof number, "%zu", i);
        const char *name = chart->names ? chart->names[i] : number;
        if (name)
            kh_letters_draw_fit(letters, cr, &kh_style_body, area.x + ((double)i + 0.5) * pitch,
                                baseline, 0.5, pitch * (double)stride, name);
    }
}

static void draw_x_axis(kh_letters *letters, cairo_t *cr, const kh_chart *chart, kh_box area) {
    char text[KH_NUMBER_ROOM];
    const double bottom = area.y + area.height;
    double free_from = -(double)INFINITY; /* x where the last number ends */
    for (size_t i = 0; chart->groups == 0 && i < chart->x.ticks.count; i++) {
        const double x = kh_chart_x(chart, area, chart->x.ticks.at[i]);
        (void)kh_tick_text(&chart->x.ticks, i, text);
        const double half = kh_letters_width(letters, &kh_style_body, text, strlen(text)) / 2;
        kh_fill_box(cr, 0x555555, floor(x - 0.5), bottom, floor(x - 0.5) + 1, bottom + TICK_LENGTH);
        if (x - half < free_from + 4) continue;
        free_from = x + half;
        kh_letters_draw(letters, cr, &kh_style_body, x,
                        bottom + TICK_LENGTH + 2 + kh_style_body.size, 0.5, text);
    }
    if (chart->groups) draw_names(letters, cr, chart, area);
    if (chart->x_label)
        kh_letters_draw_fit(letters, cr, &kh_style_body, area.x + area.width / 2,
                            bottom + TICK_LENGTH + 6 + 2 * kh_line_height(&kh_style_body), 0.5,
                            area.width + 40, chart->x_label);
}

static void draw_missing(kh_letters *letters, cairo_t *cr, const kh_chart *chart, kh_box box) {
    char note[160], count[KH_NUMBER_ROOM];
    if (chart->missing == 0) return;
    (void)snprintf(note, sizeof note, "%s value%s not drawn: not a finite number%s",
                   kh_number((double)chart->missing, 0, count), chart->missing == 1 ? "" : "s",
                   chart->y.is_log ? " above zero" : "");
    kh_letters_draw_fit(letters, cr, &kh_style_note, box.x + box.width, box.y + box.height - 3, 1,
                        box.width, note);
}

kh_box kh_chart_draw(kh_letters *letters, cairo_t *cr, const kh_chart *chart, kh_box box) {
    const double line = kh_line_height(&kh_style_body);
    const double left =
        (chart->y_label ? line + 6 : 0) + widest_tick(letters, &chart->y.ticks) + 10;
    const double bottom =
        TICK_LENGTH + 4 + line + (chart->x_label ? line + 4 : 0) + (chart->missing ? line + 4 : 0);
    double top = kh_letters_paragraph(letters, cr, &kh_style_heading, box.x, box.y, box.width, 0, 2,
                                      chart->title);
    top += top > 0 ? 6 : 0;
    top += legend(letters, cr, chart, box.x, box.y + top, box.width) + 12;
    const kh_box area = {ceil(box.x + left), ceil(box.y + top),
                         fmax(20, floor(box.width - left - 14)),
                         fmax(20, floor(box.height - top - bottom))};
    draw_y_axis(letters, cr, chart, area, box.x);
    draw_x_axis(letters, cr, chart, area);
    draw_missing(letters, cr, chart, box);
    kh_fill_box(cr, 0x555555, area.x, area.y + area.height, area.x + area.width,
                area.y + area.height + 1);
    return area;
}

/* ---- a legend as an element ------------------------------------------------------------------ */

static double legend_width(kh_letters *letters, const void *data) {
    (void)letters;
    (void)data;
    return 0;
}

static double legend_height(kh_letters *letters, const void *data, double width) {
    return legend(letters, NULL, data, 0, 0, width);
}

static void legend_draw(kh_letters *letters, cairo_t *cr, const void *data, kh_box box) {
    (void)legend(letters, cr, data, box.x, box.y, box.width);
}

kh_status kh_legend_add(kh_figure *figure, const kh_key *keys, size_t count, kh_error *err) {
    kh_chart *chart = kh_page_keep(figure, NULL, 1, sizeof *chart);
    kh_key *copy = kh_page_keep(figure, keys, count, sizeof *copy);
    if (!chart || !copy) return kh_page_no_memory(err);
    for (size_t i = 0; i < count; i++)
        if (!kh_page_keep_text(figure, keys[i].name, &copy[i].name)) return kh_page_no_memory(err);
    chart->keys = copy;
    chart->key_count = count;
    const kh_element element = {
        .width = legend_width, .height = legend_height, .draw = legend_draw, .data = chart};
    return kh_page_add(figure, &element, err);
}
