/* cli/ablate.h: what `ablate` measured and where it goes. */
#ifndef KH_CLI_ABLATE_H
#define KH_CLI_ABLATE_H

#include "cli/images.h"
#include "cli/session.h"

typedef struct kh_ablate_run {
    kh_session *session;
    kh_source *source;
    kh_decode_options decode;
    kh_label_set *label_set; /* or NULL */
    size_t *truth;           /* [images] */
    kh_broken_image *broken;
    size_t broken_count;
    kh_broken_image *broken_maps;
    size_t broken_maps_count;
    kh_status broken_maps_status; /* KH_E_MEMORY: not all are in the list */
    kh_ablation result;
    uint8_t *is_relative; /* [classes], or NULL */
    char command[512];
} kh_ablate_run;

/* Everything but session and source. */
void kh_ablate_run_clear(kh_ablate_run *run);

/* A kh_ablate_image_fn, with the run: image `index` of its source. One that cannot be read is kept
 * in `broken` with the reason. */
kh_status kh_ablate_read_image(void *run, size_t index, float *image, bool *is_broken,
                               kh_error *err);
/* The callback of kh_ablate_options, with the run: keeps the reason in `broken_maps`. */
void kh_ablate_miss_map(void *run, size_t index, const char *reason);
/* Source and true classes; KH_E_ARG when no image has one. */
kh_status kh_ablate_open_images(kh_ablate_run *run, const char *label_file, size_t count,
                                char **operands, kh_error *err);
/* Close relatives among the model's classes: the demo world's dogs, ImageNet's dogs. */
kh_status kh_ablate_find_relatives(kh_ablate_run *run, kh_error *err);

void kh_ablate_print(const kh_ablate_run *run, const char *out);
kh_status kh_ablate_print_json(const kh_ablate_run *run, const char *out, kh_error *err);
kh_status kh_ablate_print_estimate(const kh_ablate_estimate *estimate,
                                   const kh_ablate_options *options, bool json, kh_error *err);

/* Tables and run.sqlite, then figures, then the manifest, which lists what is there. */
kh_status kh_ablate_write_files(const kh_ablate_run *run, const char *folder, kh_error *err);
kh_status kh_ablate_write_figures(const kh_ablate_run *run, const char *folder, kh_error *err);

/* The row of summary.csv, or NULL. */
const kh_ablate_quantity *kh_ablate_quantity_of(const kh_ablation *result, const char *key,
                                                bool is_correct);
/* "block 10" or "all blocks" (SIZE_MAX) */
void kh_ablate_scope_name(size_t block, char *out, size_t out_bytes);
void kh_ablate_scope(const kh_ablation *result, char *out, size_t out_bytes);

/* "−0.24": a proper minus that no line breaks at, and no minus before zero. Returns out. */
const char *kh_ablate_number(double value, int decimals, char *out, size_t out_bytes);

/* An axis of changes: with zero on it, and room on both sides of zero where nothing changes. */
kh_figure_axis kh_ablate_change_axis(const char *label, const double *values, size_t count);

/* A page, and its end: written as folder/<stem>.png and .svg, or dropped after a failure. */
kh_status kh_ablate_page(const char *title, const char *subtitle, const char *footnote,
                         size_t columns, kh_figure **out, kh_error *err);
kh_status kh_ablate_page_end(kh_status status, kh_figure *figure, const char *folder,
                             const char *stem, kh_error *err);

kh_status kh_ablate_draw_selectivity(const kh_ablate_run *run, const char *footnote,
                                     const char *folder, kh_error *err);
kh_status kh_ablate_draw_steering(const kh_ablate_run *run, const char *footnote,
                                  const char *folder, kh_error *err);
kh_status kh_ablate_draw_causal(const kh_ablate_run *run, const char *footnote, const char *folder,
                                kh_error *err);
kh_status kh_ablate_draw_swap(const kh_ablate_run *run, const char *footnote, const char *folder,
                              kh_error *err);

/* Stems of the figures there are for this result. */
typedef struct kh_ablate_figure {
    const char *stem, *meaning;
    unsigned designs; /* that it needs */
    kh_status (*draw)(const kh_ablate_run *run, const char *footnote, const char *folder,
                      kh_error *err);
} kh_ablate_figure;
extern const kh_ablate_figure kh_ablate_figures[]; /* ends with stem NULL */

#endif
