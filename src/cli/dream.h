/* cli/dream.h: the pieces of `dream`: what to paint, painting it, and what is left behind. */
#ifndef KH_CLI_DREAM_H
#define KH_CLI_DREAM_H

#include "cli/session.h"

enum { KH_DREAM_TERMS = 32, KH_DREAM_MARKS = 64 };

typedef struct kh_dream_options {
    kh_common common;
    kh_model_settings model;
    const char *classes, *neurons, *goal, *pick, *weights;
    size_t topk;
    bool per_block, is_negative, interpolates;
    const char *gate, *tokens;
    size_t cell;
    double diversity;
    size_t images;
    const char *photo, *magnitudes;
    const char *preset, *snapshots, *norm, *schedule;
    size_t steps, batch, size, seed;
    double lr;
    size_t check_every, until;
    const char *out, *judge, *natural;
    bool evaluates, overwrite;
} kh_dream_options;

/* One dream to be: what it is called, what it is after, how far it is. */
typedef struct kh_dream_item {
    char stem[64];   /* of its files, and its name: "n02099601_b10n1198" */
    char label[120]; /* "golden retriever b10n1198" */
    size_t target;   /* class, or SIZE_MAX */
    kh_dream_term terms[KH_DREAM_TERMS];
    size_t term_count;
    size_t block; /* highest it reads */
    size_t order; /* of the list, before sorting by block */
    kh_dream *dream;
    char *log;         /* finished rows of log.csv, or NULL */
    size_t last_mark;  /* step of the last picture */
    size_t recognised; /* checks in a row that saw the class */
    bool is_done;
} kh_dream_item;

typedef struct kh_dream_run {
    const kh_dream_options *options;
    kh_session *session;
    kh_dream_settings settings;
    kh_dream_objective objective; /* what all items share; terms are an item's own */
    float *photo, *magnitude;
    kh_dream_item *items;
    size_t item_count;
    size_t marks[KH_DREAM_MARKS]; /* steps with pictures, ascending; the last is the end */
    size_t mark_count;
    size_t distinct; /* neurons among the first terms of all items */
    double seconds;  /* spent stepping */
    size_t steps_made;
    size_t memory_bytes;
} kh_dream_run;

/* dream_items.c: reads the options into settings, objective and items. KH_E_ARG: misuse. */
kh_status kh_dream_run_plan(kh_dream_run *run, kh_error *err);
void kh_dream_run_clear(kh_dream_run *run);

/* dream_folder.c: makes the folder, or takes it up again. KH_E_ARG: it holds something else. */
kh_status kh_dream_run_folder(const kh_dream_run *run, kh_error *err);

/* dream_paint.c: all items to their end, or what is missing of them. */
kh_status kh_dream_run_paint(kh_dream_run *run, kh_error *err);

/* dream_log.c: the rows an item has so far, on disk and in memory. */
kh_status kh_dream_log_load(const kh_dream_run *run, kh_dream_item *item, size_t upto,
                            kh_error *err);
kh_status kh_dream_log_add(const kh_dream_run *run, kh_dream_item *item, const char *row,
                           kh_error *err);
/* Step of the last row, 0 without one; counts the checks in a row that were right. */
size_t kh_dream_log_last(const kh_dream_item *item, size_t *recognised);

/* dream_files.c: log.csv, contact sheets, strips, manifest.json. */
kh_status kh_dream_run_files(const kh_dream_run *run, kh_error *err);
/* "images/<stem>_s<step>.png", with "_i<image>" for dreams of several. */
kh_status kh_dream_picture_path(const kh_dream_run *run, const kh_dream_item *item, size_t image,
                                size_t step, char *out, size_t out_bytes, kh_error *err);

/* dream_evaluate.c: recognition under every view; tables and a figure. */
kh_status kh_dream_run_evaluate(const kh_dream_run *run, kh_error *err);

/* dream_natural.c: activations beside those of natural images, ranking, plausibility. */
kh_status kh_dream_run_natural(const kh_dream_run *run, kh_error *err);

#endif
