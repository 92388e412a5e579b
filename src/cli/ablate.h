/* cli/ablate.h: what `ablate` measured and where it goes. */
#ifndef KH_CLI_ABLATE_H
#define KH_CLI_ABLATE_H

#include "cli/session.h"

typedef struct kh_ablate_broken {
    const char *name; /* borrowed from the source */
    char *reason;
} kh_ablate_broken;

typedef struct kh_ablate_run {
    kh_session *session;
    kh_source *source;
    kh_decode_options decode;
    size_t *truth; /* [images] */
    kh_ablate_broken *broken;
    size_t broken_count;
    kh_ablation result;
    uint8_t *is_relative; /* [classes], or NULL */
    char command[512];
} kh_ablate_run;

/* Tables, run.sqlite; figures are listed in the manifest, which comes last. */
kh_status kh_ablate_write_files(const kh_ablate_run *run, const char *folder, kh_error *err);
kh_status kh_ablate_write_figures(const kh_ablate_run *run, const char *folder, kh_error *err);

/* The row of summary.csv, or NULL. */
const kh_ablate_quantity *kh_ablate_quantity_of(const kh_ablation *result, const char *key,
                                                bool is_correct);
/* "block 10" or "all blocks" */
void kh_ablate_scope(const kh_ablation *result, char *out, size_t out_bytes);

/* "−0.24": a proper minus that no line breaks at, and no minus before zero. Returns out. */
const char *kh_ablate_number(double value, int decimals, char *out, size_t out_bytes);

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
