/* figure/chart.h: what every chart with axes shares: title, legend, axes, the way from a value to
 * px. */
#ifndef KH_FIGURE_CHART_H
#define KH_FIGURE_CHART_H

#include "figure/colours.h"
#include "figure/page.h"
#include "figure/ticks.h"

typedef enum kh_key_kind {
    KH_KEY_BOX,
    KH_KEY_LINE,
    KH_KEY_DASH,
    KH_KEY_POINTS,
    KH_KEY_DOT
} kh_key_kind;

/* A line of the legend. */
typedef struct kh_key {
    const char *name;
    uint32_t rgb;
    kh_key_kind kind;
} kh_key;

typedef struct kh_range {
    double low, high; /* low < high always */
    bool is_log;
    kh_ticks ticks;
} kh_range;

typedef struct kh_chart {
    const char *title, *x_label, *y_label;
    double width, height;
    kh_range x, y;
    const char *const *names; /* categories under the x axis, or NULL: 0, 1, ... */
    size_t groups;            /* > 0: x has categories instead of ticks */
    const kh_key *keys;
    size_t key_count;
    size_t
        missing; /* values that are not drawn because they are not finite (or <= 0 on a log axis) */
} kh_chart;

/* Smallest and largest drawable value seen so far. */
typedef struct kh_extent {
    double low, high;
    size_t missing;
    bool is_log;
} kh_extent;

kh_extent kh_extent_make(const kh_figure_axis *axis);
bool kh_extent_can_draw(const kh_extent *extent, double value);
void kh_extent_add(kh_extent *extent, double value);
void kh_extent_add_all(kh_extent *extent, const double *values, size_t count);

/* The axis' own ends when given, else the extent; rounded outwards to ticks when is_rounded. An
 * empty extent becomes 0..1. */
kh_range kh_range_make(const kh_figure_axis *axis, kh_extent extent, size_t wanted_ticks,
                       bool is_whole, bool is_rounded);

kh_status kh_chart_check_axis(const kh_figure_axis *axis, const char *which, kh_error *err);
/* Copies title, labels and names into the figure and fills in sizes. */
bool kh_chart_keep(kh_figure *figure, kh_chart *chart, const char *title, const kh_figure_axis *x,
                   const kh_figure_axis *y, double width, double height);
/* Adds an element whose data begin with a kh_chart. */
kh_status kh_chart_add(kh_figure *figure, const void *data,
                       void (*draw)(kh_letters *, cairo_t *, const void *, kh_box), kh_error *err);

/* Draws everything but the data; returns where the data go. */
kh_box kh_chart_draw(kh_letters *letters, cairo_t *cr, const kh_chart *chart, kh_box box);

/* A legend on its own, for several charts at once; keys and names are copied. */
kh_status kh_legend_add(kh_figure *figure, const kh_key *keys, size_t count, kh_error *err);

/* Px of a value; values outside the range land outside the area. */
double kh_chart_x(const kh_chart *chart, kh_box area, double value);
double kh_chart_y(const kh_chart *chart, kh_box area, double value);

void kh_clip(cairo_t *cr, kh_box box);
void kh_fill_box(cairo_t *cr, uint32_t rgb, double x0, double y0, double x1, double y1);

#endif
