/* keyhole/figure.h: numbers as pictures: grids of heatmaps, bars, curves, matrices on one page. */
#ifndef KEYHOLE_FIGURE_H
#define KEYHOLE_FIGURE_H

#include "keyhole/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A page: title and subtitle on top, elements from top to bottom (or side by side, see
 * kh_figure_columns), a footnote below. It grows with what is put on it. Everything handed to an
 * add function is copied. Text is UTF-8; invalid bytes are shown as U+FFFD, '\n' breaks a line.
 * Lengths are in px of 1/96 inch at scale 1.
 *
 * In every struct below, zero or NULL means "the default" unless the comment says otherwise, so
 * `kh_figure_bars bars = {.values = v, .groups = 12}` is a complete chart. NaN and infinite values
 * are drawn as gaps (charts) or hatched cells (matrices, colour bars) and counted in a note. */
typedef struct kh_figure kh_figure;

typedef struct kh_figure_options {
    const char *title;    /* what one sees, as a sentence; wraps */
    const char *subtitle; /* how it was measured; wraps */
    const char *footnote; /* the receipt: model, weights' sha256, preset, command; wraps */
    const char *font;     /* family; NULL: "sans-serif" */
    double min_width;     /* page width at least this; 480 */
    double margin;        /* 24 */
} kh_figure_options;

/* options may be NULL. Errors: KH_E_MEMORY, KH_E_UNSUPPORTED no usable font. Pair: kh_figure_free.
 */
KH_API kh_status kh_figure_create(const kh_figure_options *options, kh_figure **out, kh_error *err);
KH_API void kh_figure_free(kh_figure *figure);

/* From here on elements stand side by side, `columns` in a row; 1 is the start. */
KH_API void kh_figure_columns(kh_figure *figure, size_t columns);

/* A paragraph across the page. */
KH_API kh_status kh_figure_add_note(kh_figure *figure, const char *text, kh_error *err);

/* ---- writing --------------------------------------------------------------------------------- */

typedef enum kh_figure_format { KH_FIGURE_PNG, KH_FIGURE_SVG, KH_FIGURE_PDF } kh_figure_format;

/* Page size in px at scale 1. */
KH_API kh_status kh_figure_size(const kh_figure *figure, size_t *width, size_t *height,
                                kh_error *err);

/* Writes the page; the format follows from .png, .svg or .pdf (any case). scale multiplies the
 * pixels of a PNG (0 means 1; 2 for print or dense screens) and the nominal size of SVG and PDF.
 * The file appears whole or not at all. The same calls on the same fonts give the same bytes.
 * Errors: KH_E_ARG unknown ending or scale outside (0, 16]; KH_E_LIMIT more than 32767 px on a side
 * or 178956970 in all; KH_E_IO; KH_E_MEMORY. */
KH_API kh_status kh_figure_write(const kh_figure *figure, const char *path, double scale,
                                 kh_error *err);
/* The same into memory; free *bytes with free(). */
KH_API kh_status kh_figure_render(const kh_figure *figure, kh_figure_format format, double scale,
                                  uint8_t **bytes, size_t *count, kh_error *err);

/* ---- colours --------------------------------------------------------------------------------- */

typedef enum kh_figure_colours {
    KH_COLOURS_SEQUENTIAL, /* dark violet - blue - green - yellow, even steps of lightness (Oklab)
                            */
    KH_COLOURS_DIVERGING,  /* blue - white - red, white exactly between 127 and 128 */
    KH_COLOURS_GREY        /* black - white */
} kh_figure_colours;

/* Fills a table of 256 RGB colours, from the low end to the high end. */
KH_API void kh_figure_colour_table(kh_figure_colours which, uint8_t table[256][3]);

/* A colour scale: values low..high run through table[0]..table[255]. */
typedef struct kh_figure_scale {
    const uint8_t (*table)[3]; /* 256 entries; NULL: KH_COLOURS_SEQUENTIAL */
    double low, high;
    const char *label; /* "memory coefficient a" */
    const char *unit;  /* "logits", NULL: none */
} kh_figure_scale;

/* ---- grid of pictures ------------------------------------------------------------------------ */

typedef enum kh_figure_frame {
    KH_FRAME_THIN, /* a hairline */
    KH_FRAME_NONE,
    KH_FRAME_GOOD,  /* solid bluish green */
    KH_FRAME_BAD,   /* dashed vermillion */
    KH_FRAME_STRONG /* solid black */
} kh_figure_frame;

typedef struct kh_figure_panel {
    const uint8_t *rgb; /* [height, width, 3]; NULL: an empty cell */
    size_t width, height;
    const char *caption; /* wraps to the cell, up to three lines, then "…" */
    kh_figure_frame frame;
    const kh_figure_scale *scale; /* a small colour bar of its own under the picture, or NULL */
} kh_figure_panel;

typedef struct kh_figure_grid {
    const kh_figure_panel *panels; /* [rows, columns], row by row */
    size_t rows, columns;
    const char *const *row_labels;    /* [rows] or NULL */
    const char *const *column_titles; /* [columns] or NULL */
    /* Cell size; 0: the largest panel, so pictures keep their pixels. Pictures keep their shape and
     * are centred; larger ones are averaged down, smaller ones enlarged in whole squares unless
     * is_smooth. */
    size_t cell_width, cell_height;
    bool is_smooth;
    const kh_figure_scale *scales; /* shared colour bars below the grid */
    size_t scale_count;
    const char *title; /* above the grid */
} kh_figure_grid;

KH_API kh_status kh_figure_add_grid(kh_figure *figure, const kh_figure_grid *grid, kh_error *err);
KH_API kh_status kh_figure_add_scale(kh_figure *figure, const kh_figure_scale *scale,
                                     kh_error *err);

/* ---- charts ---------------------------------------------------------------------------------- */

typedef struct kh_figure_axis {
    const char *label; /* with its unit: "alignment S (logits)" */
    bool is_log;       /* base 10; values <= 0 are gaps */
    double low, high;  /* both 0: from the data, rounded outwards to ticks */
    bool has_zero;     /* from the data and 0 (not on a logarithmic axis) */
} kh_figure_axis;

/* Bars: values [series, groups]. */
typedef struct kh_figure_bars {
    const char *title;
    kh_figure_axis x, y; /* x: only the label counts */
    const double *values;
    size_t series, groups;              /* series 0 means 1 */
    const char *const *series_names;    /* legend; NULL for one series */
    const char *const *group_names;     /* NULL: 0, 1, 2, ... */
    bool is_stacked;                    /* else side by side */
    bool is_ordered;                    /* series are ranks: shades of one colour, not many hues */
    bool show_values;                   /* numbers above the bars (where they fit) */
    const double *band_low, *band_high; /* [groups] grey null band behind the bars, or NULL */
    const char *band_name;
    const double *low, *high; /* [series, groups] whiskers of bars side by side, or NULL */
    const char *whisker_name; /* "95 % interval" */
    double width, height;     /* 720 x 320 with axes */
} kh_figure_bars;

typedef enum kh_figure_line_kind {
    KH_LINE_SOLID,
    KH_LINE_DASHED,
    KH_LINE_POINTS, /* line with a dot at each value */
    KH_LINE_NULL,   /* grey: what chance gives */
    KH_LINE_DOTS    /* pale dots and no line: one for each class, say */
} kh_figure_line_kind;

typedef struct kh_figure_line {
    const char *name;         /* legend; NULL: not in it */
    const double *x;          /* [count]; NULL: 0, 1, 2, ... */
    const double *y;          /* [count]; NULL: only the band */
    const double *low, *high; /* [count] band around the line, or NULL */
    const char *band_name;    /* "middle half of the classes" */
    size_t count;
    kh_figure_line_kind kind;
} kh_figure_line;

typedef struct kh_figure_lines {
    const char *title;
    kh_figure_axis x, y;
    const kh_figure_line *lines;
    size_t line_count;
    bool is_x_integer; /* ticks at whole numbers only */
    double width, height;
} kh_figure_lines;

/* Dots: clouds of points, e.g. one dot for each class. */
typedef struct kh_figure_cloud {
    const char *name;    /* legend; NULL: not in it */
    const double *x, *y; /* [count] */
    size_t count;
} kh_figure_cloud;

typedef struct kh_figure_scatter {
    const char *title;
    kh_figure_axis x, y;
    const kh_figure_cloud *clouds;
    size_t cloud_count;
    bool has_diagonal; /* a dashed line where y = x */
    bool has_zeros;    /* thin lines at x = 0 and y = 0 */
    bool is_last_null; /* draw the last cloud in grey and first: what chance gives */
    double radius;     /* of a dot; 3.5 */
    double width, height;
} kh_figure_scatter;

/* Stems: one thin line per index, the `labelled` largest named (figure 4 of the report). */
typedef struct kh_figure_stems {
    const char *title;
    kh_figure_axis x, y;
    const double *values; /* [count] */
    size_t count;
    size_t labelled; /* how many of the largest get their index written; 0: none */
    double width, height;
} kh_figure_stems;

/* Histogram with equal bins over [low, high): counts [series, bins]. */
typedef struct kh_figure_histogram {
    const char *title;
    kh_figure_axis x, y;
    const uint64_t *counts;
    size_t series, bins; /* series 0 means 1 */
    double low, high;
    const char *const *series_names;
    bool is_share;         /* y is the share of each series' total instead of the count */
    bool is_last_null;     /* draw the last series in grey: what chance gives */
    const double *markers; /* vertical lines at these values */
    const char *const *marker_names;
    size_t marker_count;
    double width, height;
} kh_figure_histogram;

/* Matrix of coloured cells: values [rows, columns]. */
typedef struct kh_figure_matrix {
    const char *title;
    const char *x_label, *y_label;
    const float *values;
    size_t rows, columns;
    const char *const *row_names;    /* NULL: 0, 1, 2, ... */
    const char *const *column_names; /* NULL: 0, 1, 2, ... */
    kh_figure_scale scale;           /* low == high: from the data */
    bool show_numbers;               /* with `decimals` digits, where they fit */
    int decimals;
    const char *missing;            /* what cells that are not finite mean; NULL: just that */
    double cell_width, cell_height; /* 0: chosen so that numbers fit */
} kh_figure_matrix;

KH_API kh_status kh_figure_add_bars(kh_figure *figure, const kh_figure_bars *bars, kh_error *err);
KH_API kh_status kh_figure_add_lines(kh_figure *figure, const kh_figure_lines *lines,
                                     kh_error *err);
KH_API kh_status kh_figure_add_scatter(kh_figure *figure, const kh_figure_scatter *scatter,
                                       kh_error *err);
KH_API kh_status kh_figure_add_stems(kh_figure *figure, const kh_figure_stems *stems,
                                     kh_error *err);
KH_API kh_status kh_figure_add_histogram(kh_figure *figure, const kh_figure_histogram *histogram,
                                         kh_error *err);
KH_API kh_status kh_figure_add_matrix(kh_figure *figure, const kh_figure_matrix *matrix,
                                      kh_error *err);

/* ---- whole figures --------------------------------------------------------------------------- */
/* Each makes a page from plain arrays; NULL titles and subtitles are written for you. Further
 * elements may be added before writing. Free *out with kh_figure_free. */

typedef struct kh_figure_head {
    const char *title;    /* NULL: a fitting one */
    const char *subtitle; /* NULL: a fitting one */
    const char *footnote; /* the receipt */
} kh_figure_head;

/* One heatmap of `look` (figures 10 and 11). */
typedef struct kh_figure_look_map {
    const uint8_t *rgb;     /* overlay [height, width, 3]; NULL: an empty cell */
    const char *neuron;     /* "b10n1198" */
    double score;           /* alignment S of its value vector with the row's class */
    double peak;            /* largest memory coefficient over the image tokens */
    double low, high;       /* coefficients at the two ends of this map's colours */
    const char *speaks_for; /* the class the value vector is most aligned with; NULL: not said */
    bool is_match;          /* ... and it is the row's class (solid frame; else dashed) */
} kh_figure_look_map;

typedef struct kh_figure_look_row {
    const uint8_t *rgb;             /* the picture [height, width, 3] */
    const char *label;              /* left of the row: the class looked for */
    const char *caption;            /* under the picture: file, prediction */
    kh_figure_frame frame;          /* of the picture: good or bad prediction */
    const kh_figure_look_map *maps; /* [ranks] */
} kh_figure_look_row;

typedef struct kh_figure_look {
    kh_figure_head head;
    const kh_figure_look_row *rows;
    size_t row_count, ranks;
    size_t width, height;      /* of every picture and overlay */
    size_t cell;               /* px in the figure; 0: the first multiple of width from 144 on */
    const uint8_t (*table)[3]; /* colours of the heatmaps, 256 entries */
    bool is_shared; /* one scale for all maps: one bar below, from the first map's low, high;
                     * else each map has its own bar */
    const char *value_name; /* NULL: "memory coefficient a" */
    const char *score_name; /* NULL: "S" */
} kh_figure_look;

KH_API kh_status kh_figure_look_grid(const kh_figure_look *look, kh_figure **out, kh_error *err);

/* One block of figures 1 and 2. */
typedef struct kh_figure_block_row {
    size_t block;
    const char *neuron;                         /* "b7n1042" */
    double score;                               /* alignment S */
    double peak;                                /* largest coefficient of its map */
    const uint8_t *heat, *mask;                 /* own map and its mask, [height, width, 3] */
    const uint8_t *running_heat, *running_mask; /* mean of the blocks so far */
    double low, high;                           /* coefficients at the ends of `heat`'s colours */
    double running_low, running_high;
} kh_figure_block_row;

typedef struct kh_figure_blocks {
    kh_figure_head head;
    const char *class_name; /* "tench" */
    const char *image_name; /* "n01440764_tench.JPEG" */
    const uint8_t *rgb;     /* the picture [height, width, 3] */
    size_t width, height;
    size_t cell; /* px in the figure; 0: 160 */
    const kh_figure_block_row *rows;
    size_t row_count;
    double percentile; /* of the masks, for the titles; 0: 80 */
    const uint8_t (*table)[3];
    bool is_shared;         /* as in kh_figure_look */
    const char *value_name; /* NULL: "memory coefficient a" */
    const char *score_name; /* NULL: "S" */
} kh_figure_blocks;

KH_API kh_status kh_figure_blocks_table(const kh_figure_blocks *blocks, kh_figure **out,
                                        kh_error *err);

/* Figure 3: in which block the rank-r neuron of each class sits. */
typedef struct kh_figure_blocks_histogram {
    kh_figure_head head;
    const uint64_t *counts; /* [ranks, blocks]: classes whose rank-r neuron is in block b */
    size_t ranks, blocks;
    const double *null_low, *null_high; /* [blocks] rank 0 under the null, or NULL */
    const char *null_name;              /* "95 % of 200 random heads" */
    const char *mode;                   /* alignment mode, "ln" */
} kh_figure_blocks_histogram;

KH_API kh_status kh_figure_fig3(const kh_figure_blocks_histogram *what, kh_figure **out,
                                kh_error *err);

/* Score against rank: how far the first neuron stands out from the next ones. */
typedef struct kh_figure_rank_scores {
    kh_figure_head head;
    size_t ranks; /* x is 0..ranks-1, on a log axis 1..ranks */
    size_t classes;
    const double *mean;                 /* [ranks] over classes */
    const double *low, *high;           /* [ranks] quartiles over classes, or NULL */
    const double *null_low, *null_high; /* [ranks] band under the null, or NULL */
    const char *null_name;
    const double *one;    /* [ranks] a class to show on its own, or NULL */
    const char *one_name; /* its name */
    const char *mode;
    bool is_log_rank;
} kh_figure_rank_scores;

KH_API kh_status kh_figure_rank_curve(const kh_figure_rank_scores *what, kh_figure **out,
                                      kh_error *err);

/* Distribution of S, one panel per block, with the null behind it. */
typedef struct kh_figure_align_counts {
    kh_figure_head head;
    const uint64_t *counts;      /* [blocks, bins] all (neuron, class) pairs */
    const uint64_t *best_counts; /* [blocks, bins] each neuron's best class, or NULL */
    const uint64_t *null_counts; /* [blocks, bins] the null, or NULL */
    const char *null_name;
    size_t blocks, bins;
    double low, high; /* ends of the bins */
    size_t first_block;
    const char *mode;
    bool is_log_y;
} kh_figure_align_counts;

KH_API kh_status kh_figure_align_hist(const kh_figure_align_counts *what, kh_figure **out,
                                      kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
