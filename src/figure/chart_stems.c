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

/* ---- names of the largest -------------------------------------------------------------------- */

#define NAME_HEIGHT 12.0
#define DOT         2.5 /* radius */

/* What a name must not cover: names written before, the dots, and the stems below them. */
typedef struct obstacles {
    kh_box names[MAX_LABELS], dots[MAX_LABELS], stems[MAX_LABELS];
    size_t name_count, count;
} obstacles;

/* From the dot to the name's edge. */
static double way_to(kh_box name, kh_box dot) {
    const double x = dot.x + dot.width / 2, y = dot.y + dot.height / 2;
    const double aside = fmax(0, fmax(name.x - x, x - name.x - name.width));
    const double up = fmax(0, fmax(name.y - y, y - name.y - name.height));
    return hypot(aside, up);
}

/* The end of the line from a dot to its name. */
static void end_of(kh_box name, kh_box dot, double *x, double *y) {
    *x = fmin(fmax(dot.x + dot.width / 2, name.x + 2), name.x + name.width - 2);
    *y = fmin(fmax(dot.y + dot.height / 2, name.y + 1), name.y + name.height - 1);
}

/* How strictly a place is chosen: beside its own dot and no other; at the end of a line that meets
 * nothing; anywhere free. */
typedef enum strictness { NEAREST, ON_A_LINE, ANYWHERE, STRICTNESSES } strictness;

#define SEEN_WAY (DOT + 5) /* a line shorter than that is not drawn */

static bool is_line_free(const obstacles *o, size_t own, kh_box name) {
    enum { STEPS = 12 };
    double x, y;
    end_of(name, o->dots[own], &x, &y);
    for (size_t step = 1; step < STEPS; step++) {
        const double share = (double)step / STEPS;
        const kh_box at = {o->dots[own].x + DOT + share * (x - o->dots[own].x - DOT),
                           o->dots[own].y + DOT + share * (y - o->dots[own].y - DOT), 0.1, 0.1};
        for (size_t i = 0; i < o->name_count; i++)
            if (overlaps(at, o->names[i])) return false;
        for (size_t i = 0; i < o->count; i++)
            if (i != own && overlaps(at, o->dots[i])) return false;
    }
    return true;
}

static bool is_free(const obstacles *o, size_t own, kh_box name, strictness how) {
    const double way = way_to(name, o->dots[own]);
    if (how == ON_A_LINE && !(way > SEEN_WAY)) return false;
    for (size_t i = 0; i < o->name_count; i++)
        if (overlaps(name, o->names[i])) return false;
    for (size_t i = 0; i < o->count; i++) {
        if (overlaps(name, o->dots[i])) return false;
        if (how != ANYWHERE && overlaps(name, o->stems[i])) return false;
        if (how == NEAREST && i != own && !(way + 1.5 < way_to(name, o->dots[i]))) return false;
    }
    return how == ANYWHERE || is_line_free(o, own, name);
}

/* The free place nearest to the dot, above or beside it; false where there is none. */
static bool find_place(const obstacles *o, size_t own, kh_box area, double width, strictness how,
                       kh_box *out) {
    double best = (double)INFINITY;
    const double x = o->dots[own].x + DOT, y = o->dots[own].y + DOT;
    for (double up = 6; up <= 78; up += up < 15 ? 9 : 6)
        for (double aside = -120; aside <= 120; aside += 3) {
            const kh_box name = {x + aside - width / 2, y - up, width, NAME_HEIGHT};
            const double way = way_to(name, o->dots[own]) + 0.05 * fabs(aside) + 0.01 * up;
            if (way < best && name.x >= area.x - 4 && name.x + width <= area.x + area.width + 12 &&
                name.y >= area.y - 14 && is_free(o, own, name, how)) {
                best = way;
                *out = name;
            }
        }
    return isfinite(best);
}

/* A name that could not stay at its dot is joined to it. */
static void draw_way(cairo_t *cr, kh_box name, kh_box dot) {
    double x, y;
    if (!(way_to(name, dot) > SEEN_WAY)) return;
    end_of(name, dot, &x, &y);
    kh_set_rgb(cr, 0x888888, 1);
    cairo_set_line_width(cr, 0.8);
    cairo_move_to(cr, dot.x + DOT, dot.y + DOT);
    cairo_line_to(cr, x, y);
    cairo_stroke(cr);
}

static kh_box dot_of(const stem_chart *data, kh_box area, size_t i) {
    const double x = kh_chart_x(&data->chart, area, (double)data->top[i]);
    const double y = kh_chart_y(&data->chart, area, data->values[data->top[i]]);
    return (kh_box){x - DOT, y - DOT, 2 * DOT, 2 * DOT};
}

/* Dots on the tops, and their names; each is said. */
static void draw_labels(kh_letters *letters, cairo_t *cr, const stem_chart *data, kh_box area,
                        double zero) {
    obstacles o = {.count = data->top_count};
    char text[KH_NUMBER_ROOM];
    for (size_t i = 0; i < o.count; i++) {
        const kh_box dot = o.dots[i] = dot_of(data, area, i);
        const double low = dot.y + dot.height;
        o.stems[i] = (kh_box){dot.x + DOT - 1, low, 2, fmax(0, zero - low)};
    }
    for (size_t i = 0; i < o.count; i++) {
        (void)snprintf(text, sizeof text, "%zu", data->top[i]);
        const double width = kh_letters_width(letters, &kh_style_small, text, strlen(text)) + 4;
        kh_box *name = &o.names[i];
        *name = (kh_box){o.dots[i].x + DOT - width / 2, o.dots[i].y - 12, width, NAME_HEIGHT};
        for (int how = NEAREST; how < STRICTNESSES; how++)
            if (find_place(&o, i, area, width, (strictness)how, name)) break;
        draw_way(cr, *name, o.dots[i]);
        kh_letters_draw(letters, cr, &kh_style_small, name->x + 2, name->y + 10, 0, text);
        o.name_count++;
    }
    kh_set_rgb(cr, kh_hues[1], 1);
    for (size_t i = 0; i < o.count; i++) {
        cairo_arc(cr, o.dots[i].x + DOT, o.dots[i].y + DOT, DOT, 0, 2 * 3.14159265358979);
        cairo_fill(cr);
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
    draw_labels(letters, cr, data, area, zero);
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
