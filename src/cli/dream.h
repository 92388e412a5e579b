/* cli/dream.h: the pieces of `dream`: what to paint, painting it, and what is left behind. */
#ifndef KH_CLI_DREAM_H
#define KH_CLI_DREAM_H

#include "cli/images.h"
#include "cli/session.h"

#include "base/text.h"

enum { KH_DREAM_TERMS = 32, KH_DREAM_MARKS = 64 };

typedef struct kh_dream_options {
    kh_common common;
    kh_model_settings model;
    const char *classes, *neurons, *directions, *minus, *goal, *pick, *weights;
    size_t topk, block;
    bool per_block, is_negative, interpolates, has_baselines;
    const char *gate, *tokens, *diversity_kind;
    size_t cell, warm_steps;
    double diversity, power, penalty;
    size_t images;
    const char *photo, *magnitudes;
    const char *preset, *snapshots, *norm, *schedule, *set;
    size_t steps, batch, size, seed;
    double lr; /* NaN: the preset's */
    size_t check_every, until, sheet_cell;
    const char *out, *judge, *natural;
    bool evaluates, overwrite;
} kh_dream_options;

/* Which neuron of its class a dream is after: the best, or one of the two it is compared with. */
typedef enum kh_dream_pick {
    KH_PICK_BEST,
    KH_PICK_NEXT,
    KH_PICK_RANDOM,
    KH_DREAM_PICKS
} kh_dream_pick;

/* One dream to be: what it is called, what it is after, how far it is. */
typedef struct kh_dream_item {
    char stem[64];   /* of its files, and its name: "n02099601_b10n1198" */
    char label[120]; /* "golden retriever b10n1198" */
    size_t target;   /* class, or SIZE_MAX */
    kh_dream_pick pick;
    kh_dream_term terms[KH_DREAM_TERMS];
    size_t term_count;
    float *direction; /* [dim] of terms[0], or NULL */
    size_t block;     /* highest it reads */
    size_t order;     /* of the list, before sorting by block */
    kh_dream *dream;
    char *log;         /* finished rows of log.csv, or NULL */
    size_t last_mark;  /* step of the last picture */
    size_t recognised; /* checks in a row that saw the class */
    bool is_done;
    double z, natural_z; /* its neuron's activation and the best natural image's; NaN: not asked */
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
    size_t best_count; /* items that are no baselines */
    size_t distinct;   /* neurons among the first terms of those */
    size_t picks;      /* 1, or all of them with baselines */
    double seconds;    /* spent stepping */
    size_t steps_made;
    size_t memory_bytes;
    json_t *failed; /* users' images that could not be read, or NULL */
} kh_dream_run;

/* The next piece of a list with commas, in `piece`; false at the end. */
bool kh_dream_piece(const char **rest, char piece[256]);
const char *kh_dream_pick_name(size_t pick); /* "best", "next", "random" */

/* dream_plan.c: reads the options into settings, objective and items. KH_E_ARG: misuse. */
kh_status kh_dream_run_plan(kh_dream_run *run, kh_error *err);
void kh_dream_run_clear(kh_dream_run *run);

const char *kh_dream_gate_name(kh_dream_gate gate); /* as --gate spells them */
const char *kh_dream_tokens_name(kh_dream_tokens tokens);

/* dream_items.c: the list of dreams. KH_E_ARG: misuse. */
kh_status kh_dream_run_items(kh_dream_run *run, kh_error *err);
/* NULL, with err, when out of memory. */
kh_dream_item *kh_dream_item_add(kh_dream_run *run, kh_error *err);
/* Names its files: wnid or "c207" where it has a class, then `what`. */
void kh_dream_item_name(const kh_dream_run *run, kh_dream_item *item, const char *what);
/* A class of --class or --direction; one that does not exist is misuse. */
kh_status kh_dream_class(const kh_dream_run *run, const char *query, size_t *out, kh_error *err);

/* dream_set.c: --set NAME=VALUE,... over the settings, and the settings as such a list. */
kh_status kh_dream_set(const char *list, kh_dream_settings *s, kh_error *err);
void kh_dream_set_text(const kh_dream_settings *s, kh_text *out);

/* dream_given.c: what users hand in: directions as items, a photo, magnitudes. */
kh_status kh_dream_run_directions(kh_dream_run *run, kh_error *err);
kh_status kh_dream_run_given(kh_dream_run *run, kh_error *err);
/* Says and keeps those of an option's ("--natural") `total` images that could not be read; a
 * failure when they are all. */
kh_status kh_dream_run_failed(kh_dream_run *run, const char *option, const kh_broken_image *broken,
                              size_t count, size_t total, kh_error *err);

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

/* dream_files.c: log.csv, contact sheets, strips. */
kh_status kh_dream_run_files(const kh_dream_run *run, kh_error *err);
/* "images/<stem>_s<step>.png", with "_i<image>" for dreams of several. */
kh_status kh_dream_picture_path(const kh_dream_run *run, const kh_dream_item *item, size_t image,
                                size_t step, char *out, size_t out_bytes, kh_error *err);

/* dream_natural.c: activations beside those of natural images, ranking, plausibility; fills the
 * items' z. */
kh_status kh_dream_run_natural(kh_dream_run *run, kh_error *err);

/* dream_evaluate.c: recognition under every view, by every judge; one table, one figure. */
kh_status kh_dream_run_evaluate(const kh_dream_run *run, kh_error *err);
/* Before anything is painted: do the other judges exist and know the same number of classes? */
kh_status kh_dream_run_judges(const kh_dream_run *run, kh_error *err);

/* dream_manifest.c: manifest.json, last of all. */
kh_status kh_dream_run_manifest(const kh_dream_run *run, kh_error *err);

/* dream_evaluate_figure.c: top-1 against steps of one judge and pick, and of every view of ours. */
typedef struct kh_dream_curve {
    char name[80];
    double share[KH_DREAM_MARKS], low[KH_DREAM_MARKS], high[KH_DREAM_MARKS];
    bool has_band;
    bool is_view; /* the same pictures as the first curve's, shown otherwise */
} kh_dream_curve;
kh_status kh_dream_evaluation_figure(const kh_dream_run *run, const kh_dream_curve *curves,
                                     size_t count, kh_error *err);

#endif
