/* lens/ablate.h: the parts of an ablation study.
 *
 *     ablate_options.c   options, names
 *     ablate_engine.c    variants of an image: update of the residual stream, the rest of the model
 *     ablate_base.c      unchanged passes over images, and what they hand out
 *     ablate_masks.c     patches that show an image's class
 *     ablate_stats.c     first round: means and contributions
 *     ablate_rank.c      orders of neurons, matched random sets
 *     ablate_own.c       second round: design A, its controls, insertion
 *     ablate_more.c      second round: the other designs
 *     ablate_bootstrap.c intervals of many columns at once
 *     ablate_effects.c   rows of the result: design A
 *     ablate_curves.c    curves and their areas
 *     ablate_tables.c    sweep, swaps, doses
 *     ablate_causal.c    single neurons, correlations, shared neurons
 *     ablate_state.c     unfinished studies as files
 *     ablate_plan.c      what a study will take
 *     ablate.c           the conductor
 *
 * The scope is one block or all of them; neuron u of the scope is neuron u % neurons of block
 * first_block + u / neurons. */
#ifndef KH_LENS_ABLATE_H
#define KH_LENS_ABLATE_H

#include "base/json.h"
#include "keyhole/ablate.h"
#include "lens/subject.h"
#include "lens/values.h"

/* ---- the engine ---------------------------------------------------------------------------- */

/* Tokens at which coefficients change, ascending. Borrowed. */
typedef struct kh_ablate_rows {
    const size_t *tokens;
    size_t count;
} kh_ablate_rows;

/* An image as the unchanged model left it. Borrowed. */
typedef struct kh_ablate_state {
    const float *x;        /* [tokens, dim] behind the first block of the scope */
    const float *const *a; /* [scope blocks] -> [tokens, neurons] coefficients */
    kh_ablate_rows rows;   /* of this image; tokens NULL: those of every image */
} kh_ablate_state;

static inline bool kh_ablate_is_masked(kh_ablate_tokens tokens) {
    return tokens == KH_ABLATE_MASK || tokens == KH_ABLATE_CONTEXT;
}
/* -> out [tokens], how many. Of every image (masked: none); on [patches] 1: shows the class. */
size_t kh_ablate_edited_tokens(const kh_model_info *info, kh_ablate_tokens tokens, size_t *out);
size_t kh_ablate_masked_tokens(const kh_model_info *info, kh_ablate_tokens tokens,
                               const uint8_t *on, size_t *out);

/* A list of neurons changed in one way. */
typedef struct kh_ablate_part {
    const uint32_t *units; /* of the scope */
    size_t count;
    const uint32_t *rest; /* all others of the scope, or NULL; allows to subtract instead of add */
    kh_ablate_op op;
    double alpha;
    const float *means;           /* MEAN, CLASS_MEAN: [prefix + 1, row_units] */
    size_t row_units;             /* columns of means */
    bool by_place;                /* column of means: place in units instead of the unit itself */
    const kh_ablate_state *donor; /* RESAMPLE */
} kh_ablate_part;

enum { KH_ABLATE_PARTS = 2 };

/* What becomes of a variant: its logits. Calls come in the order of kh_engine_add. */
typedef void (*kh_engine_sink)(void *user, size_t tag, const float *logits);

typedef struct kh_engine_slot {
    const kh_ablate_state *state;
    kh_ablate_part parts[KH_ABLATE_PARTS];
    size_t part_count, tag;
} kh_engine_slot;

typedef struct kh_engine_all {
    kh_ablate_part part; /* op, alpha, means, donor of it count */
    double *sum;         /* [tokens, dim] of the change of all neurons */
} kh_engine_all;

enum { KH_ENGINE_ALLS = 8 };

typedef struct kh_engine {
    kh_ctx *ctx;
    const kh_model *model;
    const kh_model_info *info;
    size_t first_block, blocks;   /* of the scope */
    size_t *edited, edited_count; /* tokens of an image without rows of its own */
    size_t capacity, count;
    kh_engine_slot *slots; /* [capacity] */
    float **values;        /* [blocks] -> value vectors [neurons, dim] */
    kh_pass **steps;       /* [blocks] from the block before to this one; [0] is NULL */
    kh_pass *tail;         /* from behind the scope to the logits */
    float *x;              /* [capacity, tokens, dim] */
    double *scratch;       /* [threads, ENGINE_TOKENS, dim] */
    kh_engine_all all[KH_ENGINE_ALLS];
    size_t all_count;
    const double **alls; /* [capacity] of a slot: all neurons' change, to subtract from; or NULL */
    size_t *chains;      /* [capacity + 1] first slots of runs of nested variants */
    size_t done;         /* variants so far */
} kh_engine;

kh_status kh_engine_init(kh_engine *engine, kh_ctx *ctx, const kh_model *model, size_t first_block,
                         size_t blocks, kh_ablate_tokens tokens, size_t capacity, kh_error *err);
void kh_engine_clear(kh_engine *engine);
/* Puts a variant in line; carries the line out when it is full. Everything borrowed must live until
 * kh_engine_flush. A part without units changes nothing. */
kh_status kh_engine_add(kh_engine *engine, const kh_ablate_state *state,
                        const kh_ablate_part *parts, size_t part_count, size_t tag,
                        kh_engine_sink sink, void *user, kh_error *err);
kh_status kh_engine_flush(kh_engine *engine, kh_engine_sink sink, void *user, kh_error *err);
kh_ablate_rows kh_engine_rows(const kh_engine *engine, const kh_ablate_state *state);
/* Before the first variant of another image; the line must be empty. */
void kh_engine_new_image(kh_engine *engine);

/* a' of one neuron: group is the token for prefix tokens, else prefix. */
double kh_ablate_value(const kh_ablate_part *part, const kh_model_info *info, size_t place,
                       size_t unit, size_t token, double old);

/* KH_E_UNSUPPORTED when a model cannot be studied this way. */
kh_status kh_ablate_check_model(const kh_model *model, kh_ablate_tokens tokens, kh_error *err);

/* ---- unchanged passes ---------------------------------------------------------------------- */

typedef struct kh_ablate_base {
    kh_pass *pass;
    const kh_model_info *info;
    size_t blocks, capacity;
    size_t scale_tap, resid_tap; /* post taps are 0 .. blocks-1 */
    kh_ablate_state *states;     /* [capacity] of the last run */
    const float **a;             /* [capacity, blocks] */
    size_t *tokens;              /* [capacity, tokens] rows of the states, where masked */
    double *weight;              /* [capacity, tokens] how much of a token's stream, divided by the
                                    final norm's denominator, reaches the logits; 0 when unknown */
} kh_ablate_base;

kh_status kh_ablate_base_init(kh_ablate_base *base, kh_ctx *ctx, const kh_model *model,
                              size_t first_block, size_t blocks, size_t capacity, kh_error *err);
void kh_ablate_base_clear(kh_ablate_base *base);
kh_status kh_ablate_base_run(kh_ablate_base *base, const float *images, size_t count,
                             kh_error *err);
/* Only these patches of an image of the last run change; on [patches]. */
void kh_ablate_base_mask(kh_ablate_base *base, size_t image, kh_ablate_tokens tokens,
                         const uint8_t *on);
/* Whether contributions have a meaning through the first head: token or mean pooling. */
bool kh_ablate_has_weights(const kh_model_info *info);

/* ---- bootstrap ----------------------------------------------------------------------------- */

typedef struct kh_columns {
    size_t count, resamples;
    double *mean, *std; /* [count] */
    double *means;      /* [resamples, count] of each resample */
    double *column;     /* scratch [resamples] */
} kh_columns;

kh_status kh_columns_init(kh_columns *columns, size_t count, size_t resamples, kh_error *err);
void kh_columns_clear(kh_columns *columns);
/* rows[i] points to image i's values [count]. The draws are those of kh_lens_bootstrap with this
 * seed and n. n = 0: all NaN. */
void kh_columns_fill(kh_columns *columns, const float *const *rows, size_t n, uint64_t seed);
/* Of one column. */
kh_ablate_mean kh_columns_get(kh_columns *columns, size_t column, size_t n);
/* Percentile interval of `resamples` values, which are sorted. */
void kh_columns_interval(double *values, size_t resamples, double *lo, double *hi);

/* ---- the study ----------------------------------------------------------------------------- */

/* A curve over the grid: one set, op and direction. */
typedef struct kh_ablate_series {
    kh_ablate_set set;
    kh_ablate_op op;
    bool is_insertion;
    size_t sets;    /* 1, or random ones */
    size_t k_count; /* the first so many of the grid */
} kh_ablate_series;

enum { KH_ABLATE_MOST_SERIES = 4 + KH_ABLATE_OPS };

enum { KH_SWEEP_COLUMNS = 4, KH_STEER_COLUMNS = 4, KH_SWAP_COLUMNS = 6, KH_STEER_DOSES = 6 };
enum { KH_CAUSAL_COLUMNS = 4, KH_SHARED_COLUMNS = 4 };
extern const double kh_steer_alphas[KH_STEER_DOSES];

typedef struct kh_ablate_listed {
    uint32_t unit;
    kh_ablate_pick picked_by;
} kh_ablate_listed;

typedef struct kh_ablate_study {
    kh_ctx *ctx;
    const kh_model *model;
    const kh_model_info *info;
    kh_ablate_options o;
    size_t first_block, blocks, units, groups, classes; /* groups: prefix tokens + 1 */
    size_t patches;
    kh_ablate_image_fn read;
    void *user;
    float *pixels, *donor_pixels; /* [image_batch, 3, height, width] */

    size_t asked;              /* images of the caller's set */
    const size_t *asked_truth; /* [asked] */
    json_t *fingerprint;       /* what a state depends on; NULL: none is kept */
    double saved_at;           /* seconds */
    bool has_first;            /* a state of the first round lies there */
    size_t next, visited;      /* images behind us: of the first round, of the second */
    size_t images;             /* used: readable and labelled */
    size_t broken, unlabelled, unmasked, broken_maps;
    size_t *taken;          /* [classes] for per_class */
    size_t *broken_at;      /* [broken] in the caller's set */
    size_t *broken_maps_at; /* [broken_maps] the same */
    uint8_t *masks;         /* [images, patches] 1: shows the class; NULL: not asked for */
    size_t *edited_of;      /* [classes] masked tokens of its images */
    size_t *index;          /* [images] in the caller's set */
    size_t *truth;          /* [images] */
    size_t *donor;          /* [images] place of the partner, a derangement */
    size_t *other;          /* [images] a random other class, to steer to */
    size_t *predicted;      /* [images] by the unchanged model */
    uint8_t *is_right;      /* [images] */
    float *base_margin;     /* [images] */
    size_t *class_n;        /* [classes] */

    double *sums;         /* [groups, units] then of classes [classes, groups, units] */
    double *magnitude;    /* [units] sum of |a| over images and tokens */
    double *weighted;     /* [classes, units] sum of w a */
    float *means;         /* [groups, units] */
    float *class_means;   /* [classes, groups, units] */
    double *activation;   /* [classes, units] mean over images and edited tokens */
    double *contribution; /* [classes, units] mean w a fold; NaN without weights */
    float *ln, *fold;     /* [units, classes] */

    uint32_t *order;    /* [classes, units] by o.rank */
    uint32_t *by_ln;    /* [classes, units] */
    uint32_t *active;   /* [classes, units / 2] */
    uint32_t *ln_place; /* [classes, units] */
    uint8_t *decile;    /* [units] within the block */
    uint32_t *members;  /* [blocks, 10, ...] units by block and decile */
    size_t *member_at;  /* [blocks * 10 + 1] */

    kh_ablate_series series[KH_ABLATE_MOST_SERIES];
    size_t series_count, columns; /* series_count * k_count * KH_ABLATE_METRICS */
    float *own;                   /* [images, columns] */
    double *set_sums; /* [series, k, sets, METRICS, 2] sums over images; 2: all, correct */

    float *sweep;    /* [images, classes, sweep k, KH_SWEEP_COLUMNS] */
    size_t *pair_to; /* [classes, pairs] */
    kh_ablate_pair *pair_kind;
    float *swap;              /* [images, pairs, KH_SWAP_COLUMNS] */
    float *steer;             /* [images, own/other, ranked/random, doses, KH_STEER_COLUMNS] */
    kh_ablate_listed *listed; /* [classes, listed_count] */
    size_t listed_count;
    float *causal;                    /* [images, listed_count, KH_CAUSAL_COLUMNS] */
    uint32_t *shared, *shared_random; /* [shared_count] */
    size_t shared_count;
    size_t *shared_members; /* [shared_count] classes */
    float *shared_values;   /* [images, shared_count, KH_SHARED_COLUMNS] */

    kh_engine engine;
    uint32_t *sets;  /* [sets + 2, units] random orders for the image at hand, and scratch */
    uint32_t *lists; /* [2 pairs + 1, swap_k] and scratch [3 units]: of swaps */
} kh_ablate_study;

/* Position of (series, k, metric) among an image's own columns. */
static inline size_t kh_own_column(const kh_ablate_study *s, size_t series, size_t k,
                                   size_t metric) {
    return (series * s->o.k_count + k) * KH_ABLATE_METRICS + metric;
}

/* What a variant did to an image; base and logits [classes]. out [KH_ABLATE_METRICS]. */
typedef struct kh_ablate_base_facts {
    const float *logits;
    double *log_prob; /* [classes] */
    size_t predicted;
} kh_ablate_base_facts;
void kh_ablate_log_softmax(const float *logits, size_t classes, double *out);
double kh_ablate_margin(const float *logits, size_t classes, size_t c);
size_t kh_ablate_predicted(const float *logits, size_t classes);
void kh_ablate_measure(const kh_ablate_base_facts *base, const float *logits, size_t classes,
                       size_t c, double *scratch, double *out);

/* Checks options, fills in block, grids and sizes. */
kh_status kh_ablate_prepare(kh_ablate_study *study, kh_error *err);
kh_status kh_ablate_gather_stats(kh_ablate_study *study, kh_error *err);
/* ln, fold, deciles, orders; after the statistics. */
kh_status kh_ablate_rank_all(kh_ablate_study *study, kh_error *err);
/* Matched random order `set` for class c: out [units]. */
void kh_ablate_random_order(const kh_ablate_study *study, size_t c, size_t set, uint32_t *out);
/* Chooses neurons of the causal list, pairs and shared neurons. */
kh_status kh_ablate_choose(kh_ablate_study *study, kh_error *err);
/* The series of design A; the same, and memory for their values. */
void kh_ablate_list_series(kh_ablate_study *study);
kh_status kh_ablate_plan_own(kh_ablate_study *study, kh_error *err);
kh_status kh_ablate_plan_more(kh_ablate_study *study, kh_error *err);
kh_status kh_ablate_run_designs(kh_ablate_study *study, kh_error *err);
/* Part that changes the given neurons of an image. */
kh_ablate_part kh_ablate_part_of(const kh_ablate_study *study, kh_ablate_op op, size_t image,
                                 const kh_ablate_state *donor, const uint32_t *units, size_t count,
                                 const uint32_t *rest);

/* The image at hand in the second round. */
typedef struct kh_ablate_visit {
    kh_ablate_study *study;
    size_t image, truth;
    const kh_ablate_state *state, *donor;
    const double *weight; /* [tokens] */
    kh_ablate_base_facts base;
    double *scratch; /* [classes] */
    double metrics[KH_ABLATE_METRICS];
} kh_ablate_visit;
kh_status kh_ablate_visit_own(kh_ablate_visit *visit, kh_error *err);
kh_status kh_ablate_visit_more(kh_ablate_visit *visit, kh_error *err);

/* ---- masks --------------------------------------------------------------------------------- */

typedef struct kh_ablate_masks {
    kh_ablate_tokens tokens;
    bool by_majority;
    kh_lens_setup setup;
    kh_subject_maps maps;
    uint16_t *labels; /* [pixels] */
    uint8_t *on;      /* [pixels] */
    size_t *rows;     /* [tokens] */
} kh_ablate_masks;

kh_status kh_ablate_masks_init(kh_ablate_masks *masks, const kh_ablate_study *study, kh_error *err);
void kh_ablate_masks_clear(kh_ablate_masks *masks);
/* out [patches]; *edited: tokens that would change, 0 where the image has no such map; *why: where
 * it has one that cannot be read, as kh_subject_read says it. */
kh_status kh_ablate_masks_read(kh_ablate_masks *masks, size_t image, size_t truth, uint8_t *out,
                               size_t *edited, kh_error *why, kh_error *err);

/* ---- states -------------------------------------------------------------------------------- */

typedef enum kh_ablate_round { KH_ABLATE_FIRST, KH_ABLATE_SECOND } kh_ablate_round;

/* After kh_ablate_prepare: the study's fingerprint, where a state is kept. */
kh_status kh_ablate_begin_state(kh_ablate_study *study, kh_error *err);
/* Takes over what an earlier study left of this round. Errors: KH_E_FORMAT damaged, KH_E_ARG of
 * another study. */
kh_status kh_ablate_load(kh_ablate_study *study, kh_ablate_round round, kh_error *err);
/* Writes the round as far as it is, when it is time or `now`. */
kh_status kh_ablate_save(kh_ablate_study *study, kh_ablate_round round, bool now, kh_error *err);
/* Saves and returns KH_E_STOPPED. */
kh_status kh_ablate_stop(kh_ablate_study *study, kh_ablate_round round, size_t done, size_t of,
                         kh_error *err);

double kh_ablate_seconds(void); /* of a clock that only goes forward */

/* ---- rows of the result -------------------------------------------------------------------- */

enum { KH_SIZES = 3 };                         /* the numbers of neurons that summaries are about */
extern const size_t kh_ablate_sizes[KH_SIZES]; /* 1, 3, 10 */
/* Place of k in a list, or SIZE_MAX. */
size_t kh_ablate_find_k(const size_t *list, size_t count, size_t k);

/* Mean over `count` values (classes) with its bootstrap interval; NaNs are left out. */
kh_status kh_ablate_over(const double *values, size_t count, const kh_ablate_options *o,
                         kh_ablate_mean *out, kh_error *err);

/* Makes room for every row of every table. */
kh_status kh_ablate_make_room(kh_ablate_study *study, kh_ablation *out, kh_error *err);
kh_status kh_ablate_effect_rows(kh_ablate_study *study, kh_ablation *out, kh_error *err);
kh_status kh_ablate_curve_rows(kh_ablate_study *study, kh_ablation *out, kh_error *err);
kh_status kh_ablate_sweep_rows(kh_ablate_study *study, kh_ablation *out, kh_error *err);
kh_status kh_ablate_swap_rows(kh_ablate_study *study, kh_ablation *out, kh_error *err);
kh_status kh_ablate_dose_rows(kh_ablate_study *study, kh_ablation *out, kh_error *err);
kh_status kh_ablate_causal_rows(kh_ablate_study *study, kh_ablation *out, kh_error *err);
kh_status kh_ablate_shared_rows(kh_ablate_study *study, kh_ablation *out, kh_error *err);
void kh_ablate_add_quantity(kh_ablation *out, bool is_correct, kh_ablate_mean value,
                            const char *format, ...) KH_PRINTF(4, 5);

#endif
