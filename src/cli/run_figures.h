/* cli/run_figures.h: the figures of an atlas run, drawn from its run.sqlite and arrays alone. */
#ifndef KH_CLI_RUN_FIGURES_H
#define KH_CLI_RUN_FIGURES_H

#include "cli/command.h"

#include "base/json.h"

/* A complete run, and its dissection if it has one. Read only. */
typedef struct kh_run {
    const char *path;
    char tables[4096], truth_tables[4096]; /* run.sqlite; dissect/run.sqlite or "" */
    size_t blocks, neurons, classes, images, grid_height, grid_width;
    char **names;      /* [classes] short and distinct */
    char receipt[512]; /* model, weights, preprocessing, images: for footnotes */
    char model_sha256[65], images_sha256[65];
    char compare_why[16]; /* why those classes are compared; "" when it does not say */
    kh_class_by class_by; /* of class means */
    kh_class_reduction class_reduction;
} kh_run;

/* Errors: KH_E_NOT_FOUND no complete run; KH_E_FORMAT. Pair: kh_run_close. */
kh_status kh_run_open(const char *path, kh_run *out, kh_error *err);
void kh_run_close(kh_run *run);
/* Of which images and tokens its class means are; as always when it does not say. */
kh_status kh_run_class_setting(const char *path, kh_class_by *by, kh_class_reduction *reduction,
                               kh_error *err);
bool kh_run_has(const kh_run *run, bool in_truth, const char *table);

/* One page being drawn. The first failure is kept and everything after it does nothing. */
typedef struct kh_plate {
    const kh_run *run;
    const char *folder; /* figures go there */
    json_t *list;       /* of what was drawn: file, title, caption */
    kh_figure *figure;
    void *kept[64]; /* answers and numbers that live until the page ends */
    kh_answer *answers[64];
    size_t kept_count, answer_count;
    size_t only_class; /* of figure 4; KH_NO_CLASS: the first with pictures */
    char title[256], caption[1024], limits[512];
    kh_status status;
    kh_error *err;
} kh_plate;

/* ---- what a page asks the run ---------------------------------------------------------------- */

/* All rows of a query; valid until the page ends. NULL after a failure. */
kh_answer *kh_plate_ask(kh_plate *p, bool in_truth, const char *sql);
/* The first cell of a query, or NaN. */
double kh_plate_number(kh_plate *p, bool in_truth, const char *sql);
/* [count, blocks]: rows are (block, value, ...); what has no row is NaN. */
double *kh_plate_blocks(kh_plate *p, bool in_truth, const char *sql, size_t count);
/* [3, blocks]: lower quartile, median, upper quartile of rows (block, value). */
double *kh_plate_quartiles(kh_plate *p, bool in_truth, const char *sql);
double *kh_plate_numbers(kh_plate *p, size_t count);
void *kh_plate_keep(kh_plate *p, size_t count, size_t size);
/* sum over blocks of the mean, say: the block with the largest finite value; 0 if none. */
size_t kh_plate_peak(const double *values, size_t count);
/* The same for the smallest. */
size_t kh_plate_least(const double *values, size_t count);

/* ---- what a page shows ----------------------------------------------------------------------- */

/* title: what one sees, as a sentence; caption: how it was measured, with n; limits: what it
 * cannot tell ("" for none). Formats. */
void kh_plate_title(kh_plate *p, const char *format, ...) KH_PRINTF(2, 3);
void kh_plate_caption(kh_plate *p, const char *format, ...) KH_PRINTF(2, 3);
void kh_plate_limits(kh_plate *p, const char *text);
/* Makes the page from title and caption; charts come next, `columns` side by side. */
void kh_plate_open(kh_plate *p, size_t columns);

/* Charts over blocks: lines and groups without a count have one value for each block; without an
 * x label they say "block"; without a size they fit two in a row. */
void kh_plate_lines(kh_plate *p, kh_figure_lines chart);
void kh_plate_bars(kh_plate *p, kh_figure_bars chart);
void kh_plate_matrix(kh_plate *p, const kh_figure_matrix *matrix);
void kh_plate_stems(kh_plate *p, const kh_figure_stems *stems);
void kh_plate_histogram(kh_plate *p, const kh_figure_histogram *histogram);
void kh_plate_note(kh_plate *p, const char *text);
/* values [rows, columns] of too many classes to name: one pixel each. */
void kh_plate_picture(kh_plate *p, const float *values, size_t rows, size_t columns,
                      const kh_figure_scale *scale, const char *title);
/* Line of a median with the middle half around it, from kh_plate_quartiles. */
kh_figure_line kh_plate_middle(const kh_plate *p, const double *quartiles, const char *name,
                               const char *of);

/* Writes <folder>/<stem>.png and .svg; frees everything. With nothing opened it writes nothing. */
void kh_plate_close(kh_plate *p, const char *stem);

/* ---- the pages ------------------------------------------------------------------------------- */

void kh_draw_accuracy(kh_plate *p);
void kh_draw_confusion(kh_plate *p);
void kh_draw_class_mean(kh_plate *p);
void kh_draw_concentration(kh_plate *p);
void kh_draw_distances(kh_plate *p, const char *definition, size_t k);
void kh_draw_distances_lines(kh_plate *p);
void kh_draw_thresholds(kh_plate *p);
void kh_draw_channels(kh_plate *p);
void kh_draw_reads_writes(kh_plate *p);
void kh_draw_selectivity(kh_plate *p);
void kh_draw_audit(kh_plate *p);
void kh_draw_attribution(kh_plate *p);
void kh_draw_cumulative(kh_plate *p);
void kh_draw_identifiability(kh_plate *p);
void kh_draw_composition(kh_plate *p);
void kh_draw_key_value(kh_plate *p);
void kh_draw_detectors(kh_plate *p);
void kh_draw_regions(kh_plate *p);
void kh_draw_masks(kh_plate *p);

/* Draws every page the run has tables for into folder (NULL: RUN/figures), and figures.json, which
 * lists them, last. classes [class_count] (or NULL): figure 4 of these too. The same run gives the
 * same bytes. */
typedef struct kh_run_draw_options {
    const char *folder;
    const size_t *classes;
    size_t class_count;
    kh_progress_fn progress;
    void *user;
} kh_run_draw_options;
kh_status kh_run_draw_with(const char *path, const kh_run_draw_options *options, size_t *drawn,
                           kh_error *err);
kh_status kh_run_draw(const char *path, const char *folder, kh_progress_fn progress, void *user,
                      size_t *drawn, kh_error *err);
/* A folder that was named holds nothing or figures of a run, and can be made. */
kh_status kh_run_check_folder(const char *folder, kh_error *err);
/* Whether RUN/figures is complete. */
bool kh_run_is_drawn(const char *path);
/* Removes what a drawing that was stopped left in RUN/figures. */
void kh_run_discard_figures(const char *path);

#endif
