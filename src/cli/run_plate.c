/* One page of a run's figures: asking, charts in one style, writing. */
#include "cli/outdir.h"
#include "cli/run_figures.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/sorted.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HALF_WIDTH  540
#define HALF_HEIGHT 240

static void no_memory(kh_plate *p) {
    if (!p->status) p->status = kh_fail(p->err, KH_E_MEMORY, "no memory for a figure");
}

void *kh_plate_keep(kh_plate *p, size_t count, size_t size) {
    if (p->status) return NULL;
    void *more = p->kept_count < sizeof p->kept / sizeof *p->kept ? kh_calloc(count, size) : NULL;
    if (more)
        p->kept[p->kept_count++] = more;
    else
        no_memory(p);
    return more;
}

double *kh_plate_numbers(kh_plate *p, size_t count) {
    return kh_plate_keep(p, count ? count : 1, sizeof(double));
}

/* ---- asking ---------------------------------------------------------------------------------- */

kh_answer *kh_plate_ask(kh_plate *p, bool in_truth, const char *sql) {
    kh_answer *a = NULL;
    if (p->status) return NULL;
    if (p->answer_count == sizeof p->answers / sizeof *p->answers)
        no_memory(p);
    else
        p->status = kh_store_db_ask(in_truth ? p->run->truth_tables : p->run->tables, sql, NULL, 0,
                                    &a, p->err);
    if (a) p->answers[p->answer_count++] = a;
    return a;
}

double kh_plate_number(kh_plate *p, bool in_truth, const char *sql) {
    const kh_answer *a = kh_plate_ask(p, in_truth, sql);
    return a && kh_answer_rows(a) ? kh_answer_number(a, 0, 0) : (double)NAN;
}

/* The block in the first column; false when it is none. */
static bool block_of(const kh_plate *p, const kh_answer *a, size_t row, size_t *block) {
    const double b = kh_answer_number(a, row, 0);
    if (!(b >= 0 && b < (double)p->run->blocks)) return false;
    *block = (size_t)b;
    return true;
}

double *kh_plate_blocks(kh_plate *p, bool in_truth, const char *sql, size_t count) {
    const kh_answer *a = kh_plate_ask(p, in_truth, sql);
    double *out = kh_plate_numbers(p, count * p->run->blocks);
    size_t b;
    if (!a || !out) return NULL;
    for (size_t i = 0; i < count * p->run->blocks; i++)
        out[i] = (double)NAN;
    for (size_t r = 0; r < kh_answer_rows(a); r++)
        for (size_t i = 0; i < count && block_of(p, a, r, &b); i++)
            out[i * p->run->blocks + b] = kh_answer_number(a, r, i + 1);
    return out;
}

double *kh_plate_quartiles(kh_plate *p, bool in_truth, const char *sql) {
    const kh_answer *a = kh_plate_ask(p, in_truth, sql);
    const size_t blocks = p->run->blocks, rows = a ? kh_answer_rows(a) : 0;
    double *out = kh_plate_numbers(p, 3 * blocks), *values = kh_plate_numbers(p, rows);
    if (!a || !out || !values) return NULL;
    for (size_t block = 0; block < blocks; block++) {
        size_t count = 0, b;
        for (size_t r = 0; r < rows; r++)
            if (block_of(p, a, r, &b) && b == block && isfinite(kh_answer_number(a, r, 1)))
                values[count++] = kh_answer_number(a, r, 1);
        qsort(values, count, sizeof *values, kh_compare_doubles);
        for (size_t i = 0; i < 3; i++)
            out[i * blocks + block] =
                count ? kh_sorted_quantile(values, count, 0.25 * (double)(i + 1)) : (double)NAN;
    }
    return out;
}

size_t kh_plate_peak(const double *values, size_t count) {
    size_t best = 0;
    for (size_t i = 1; values && i < count; i++)
        if (values[i] > values[best] || isnan(values[best])) best = i;
    return best;
}

size_t kh_plate_least(const double *values, size_t count) {
    size_t best = 0;
    for (size_t i = 1; values && i < count; i++)
        if (values[i] < values[best] || isnan(values[best])) best = i;
    return best;
}

/* ---- texts ----------------------------------------------------------------------------------- */

void kh_plate_title(kh_plate *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->title, sizeof p->title, format, args);
    va_end(args);
}

void kh_plate_caption(kh_plate *p, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(p->caption, sizeof p->caption, format, args);
    va_end(args);
}

void kh_plate_limits(kh_plate *p, const char *text) {
    (void)snprintf(p->limits, sizeof p->limits, "Not to be read from it: %s", text);
}

void kh_plate_open(kh_plate *p, size_t columns) {
    const kh_figure_options how = {
        .title = p->title, .subtitle = p->caption, .footnote = p->run->receipt};
    if (p->status) return;
    p->status = kh_figure_create(&how, &p->figure, p->err);
    if (!p->status) kh_figure_columns(p->figure, columns);
}

void kh_plate_note(kh_plate *p, const char *text) {
    if (!p->status) p->status = kh_figure_add_note(p->figure, text, p->err);
}

/* ---- charts ---------------------------------------------------------------------------------- */

/* A value that block 0 does not have is no missing one. */
static void start_later(kh_plate *p, kh_figure_line *line) {
    double *x = kh_plate_numbers(p, p->run->blocks);
    for (size_t b = 0; x && b < p->run->blocks; b++)
        x[b] = (double)(b + 1);
    line->x = x;
    line->y++;
    line->count--;
}

void kh_plate_lines(kh_plate *p, kh_figure_lines chart) {
    kh_figure_line *lines = kh_plate_keep(p, chart.line_count, sizeof *lines);
    if (!lines) return;
    memcpy(lines, chart.lines, chart.line_count * sizeof *lines);
    for (size_t i = 0; i < chart.line_count; i++) {
        if (lines[i].count) continue;
        lines[i].count = p->run->blocks;
        if (lines[i].y && !lines[i].low && isnan(lines[i].y[0])) start_later(p, &lines[i]);
    }
    chart.lines = lines;
    if (!chart.x.label) {
        chart.x.label = "block (0 is the first)";
        chart.is_x_integer = true;
    }
    chart.y.has_zero = true; /* small changes look small */
    if (chart.width <= 0) chart.width = HALF_WIDTH;
    if (chart.height <= 0) chart.height = HALF_HEIGHT;
    p->status = kh_figure_add_lines(p->figure, &chart, p->err);
}

void kh_plate_bars(kh_plate *p, kh_figure_bars chart) {
    if (p->status) return;
    if (!chart.groups) chart.groups = p->run->blocks;
    if (!chart.x.label && !chart.group_names) chart.x.label = "block (0 is the first)";
    if (chart.width <= 0) chart.width = HALF_WIDTH;
    if (chart.height <= 0) chart.height = HALF_HEIGHT;
    p->status = kh_figure_add_bars(p->figure, &chart, p->err);
}

void kh_plate_matrix(kh_plate *p, const kh_figure_matrix *matrix) {
    if (!p->status) p->status = kh_figure_add_matrix(p->figure, matrix, p->err);
}

void kh_plate_stems(kh_plate *p, const kh_figure_stems *stems) {
    if (!p->status) p->status = kh_figure_add_stems(p->figure, stems, p->err);
}

void kh_plate_histogram(kh_plate *p, const kh_figure_histogram *histogram) {
    if (!p->status) p->status = kh_figure_add_histogram(p->figure, histogram, p->err);
}

void kh_plate_picture(kh_plate *p, const float *values, size_t rows, size_t columns,
                      const kh_figure_scale *scale, const char *title) {
    enum { SIDE = 750 };
    uint8_t table[256][3];
    size_t cells;
    if (!kh_mul(rows, columns, &cells)) cells = SIZE_MAX;
    uint8_t *rgb = kh_plate_keep(p, cells, 3);
    if (!rgb) return;
    kh_figure_colour_table(KH_COLOURS_SEQUENTIAL, table);
    for (size_t i = 0; i < cells; i++) {
        const double at = ((double)values[i] - scale->low) / (scale->high - scale->low);
        const double level = at > 0 ? fmin(255, round(255 * at)) : 0; /* NaN: the lowest */
        memcpy(rgb + 3 * i, table[(size_t)level], 3);
    }
    const kh_figure_panel panel = {.rgb = rgb, .width = columns, .height = rows};
    const kh_figure_grid grid = {.panels = &panel,
                                 .rows = 1,
                                 .columns = 1,
                                 .cell_width = columns < SIDE ? SIDE : columns,
                                 .cell_height = rows < SIDE ? SIDE : rows,
                                 .scales = scale,
                                 .scale_count = 1,
                                 .title = title};
    p->status = kh_figure_add_grid(p->figure, &grid, p->err);
}

kh_figure_line kh_plate_middle(const kh_plate *p, const double *quartiles, const char *name,
                               const char *of) {
    const size_t blocks = p->run->blocks;
    return (kh_figure_line){.name = name,
                            .y = quartiles ? quartiles + blocks : NULL,
                            .low = quartiles,
                            .high = quartiles ? quartiles + 2 * blocks : NULL,
                            .band_name = of,
                            .count = blocks,
                            .kind = KH_LINE_POINTS};
}

/* ---- writing --------------------------------------------------------------------------------- */

static void list_page(kh_plate *p, const char *stem) {
    json_t *row = json_pack("{s:s, s:o, s:o, s:o}", "name", stem, "title", kh_json_text(p->title),
                            "caption", kh_json_text(p->caption), "limits", kh_json_text(p->limits));
    if (!row || json_array_append_new(p->list, row)) no_memory(p);
}

void kh_plate_close(kh_plate *p, const char *stem) {
    if (p->figure && !p->status) {
        kh_figure_columns(p->figure, 1);
        if (p->limits[0]) kh_plate_note(p, p->limits);
    }
    if (p->figure && !p->status) {
        p->status = kh_outdir_figure(p->folder, stem, p->figure, p->err);
        p->figure = NULL;
        if (!p->status) list_page(p, stem);
    }
    kh_figure_free(p->figure);
    p->figure = NULL;
    for (size_t i = 0; i < p->kept_count; i++)
        kh_free(p->kept[i]);
    for (size_t i = 0; i < p->answer_count; i++)
        kh_answer_free(p->answers[i]);
    p->kept_count = p->answer_count = 0;
    p->title[0] = p->caption[0] = p->limits[0] = '\0';
}
