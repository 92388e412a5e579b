/* keyhole/ablate.h: causal tests: what a model's answer loses without some of its key neurons.
 *
 * Formulas, designs and what the numbers cannot tell: docs/analyses/ablation.md. */
#ifndef KEYHOLE_ABLATE_H
#define KEYHOLE_ABLATE_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/io.h"
#include "keyhole/lens.h"
#include "keyhole/vit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- interventions ------------------------------------------------------------------------- */

/* What a changed memory coefficient becomes. */
typedef enum kh_ablate_op {
    KH_ABLATE_MEAN,       /* its mean over images: at prefix tokens per token, else over patches */
    KH_ABLATE_CLASS_MEAN, /* the same over the images of the picture's class */
    KH_ABLATE_ZERO,
    KH_ABLATE_RESAMPLE, /* its value on another picture */
    KH_ABLATE_SCALE     /* alpha times itself */
} kh_ablate_op;
#define KH_ABLATE_OPS 5
KH_API const char *kh_ablate_op_name(kh_ablate_op op); /* "mean", "class-mean", "zero", ... */
KH_API kh_status kh_ablate_op_parse(const char *name, kh_ablate_op *out, kh_error *err);

typedef enum kh_ablate_tokens {
    KH_ABLATE_ALL,    /* every token */
    KH_ABLATE_CLS,    /* the class token */
    KH_ABLATE_IMAGE,  /* patches */
    KH_ABLATE_MASK,   /* patches that show the image's class */
    KH_ABLATE_CONTEXT /* all other patches */
} kh_ablate_tokens;
#define KH_ABLATE_TOKENS 5
KH_API const char *kh_ablate_tokens_name(kh_ablate_tokens tokens); /* "all", "cls", ... */
KH_API kh_status kh_ablate_tokens_parse(const char *name, kh_ablate_tokens *out, kh_error *err);

/* One set of neurons, changed together. Op ZERO, SCALE, or MEAN with the caller's own values. */
typedef struct kh_intervention {
    const kh_neuron *neurons; /* none twice; any blocks */
    size_t count;
    kh_ablate_op op;
    double alpha;        /* SCALE */
    const float *values; /* MEAN: [prefix_tokens + 1, count], the last row for patches */
    kh_ablate_tokens tokens;
    const uint8_t *mask; /* MASK, CONTEXT: [images, patches], 1: shows the class */
} kh_intervention;

/* Logits with each intervention on each image: images [count, 3, height, width] normalised, out
 * [interventions, count, classes]. Same as a pass with edits at hook_post, by an update of the
 * residual stream behind the block; without a change bit for bit the plain logits. batch: variants
 * at once, 0: 16; the result does not depend on it. Errors: KH_E_ARG, KH_E_UNSUPPORTED no
 * classifier, or norms behind the MLP; KH_E_NUMERIC, KH_E_MEMORY. */
KH_API kh_status kh_lens_intervene(kh_ctx *ctx, const kh_model *model, const kh_intervention *what,
                                   size_t interventions, const float *images, size_t count,
                                   size_t batch, float *out, kh_error *err);

/* ---- the study ----------------------------------------------------------------------------- */

typedef enum kh_ablate_rank {
    KH_ABLATE_BY_LN,
    KH_ABLATE_BY_FOLD,
    KH_ABLATE_BY_CONTRIB,    /* logits added, mean over the class's images */
    KH_ABLATE_BY_ACTIVATION, /* mean coefficient over the class's images */
    KH_ABLATE_BY_RANDOM,
    KH_ABLATE_BY_BOTTOM /* ln, smallest first */
} kh_ablate_rank;
#define KH_ABLATE_RANKS 6
KH_API const char *kh_ablate_rank_name(kh_ablate_rank rank);
KH_API kh_status kh_ablate_rank_parse(const char *name, kh_ablate_rank *out, kh_error *err);

/* Bits of what to do. OWN includes the curves. */
enum {
    KH_ABLATE_OWN = 1,
    KH_ABLATE_SWEEP = 2,
    KH_ABLATE_SWAP = 4,
    KH_ABLATE_STEER = 8,
    KH_ABLATE_CAUSAL = 16,
    KH_ABLATE_SHARED = 32,
    KH_ABLATE_EVERYTHING = 63
};
#define KH_ABLATE_DESIGNS 6
KH_API const char *kh_ablate_design_name(size_t bit); /* of 1 << bit: "own", "sweep", ... */

/* Image `index`, prepared for the model, into image [3, height, width]. An image that cannot be
 * read: *is_broken, and KH_OK. */
typedef kh_status (*kh_ablate_image_fn)(void *user, size_t index, float *image, bool *is_broken,
                                        kh_error *err);

enum { KH_ABLATE_MOST_K = 32 };

typedef struct kh_ablate_options {
    unsigned designs;                /* KH_ABLATE_EVERYTHING */
    kh_ablate_rank rank;             /* BY_LN */
    kh_ablate_op ops[KH_ABLATE_OPS]; /* MEAN, ZERO; all but the first for the ranked set only */
    size_t op_count;
    double alpha; /* of KH_ABLATE_SCALE; 0 */
    kh_ablate_tokens tokens;
    const kh_label_set *label_set; /* MASK, CONTEXT: what every pixel shows */
    const kh_source *source;       /* the same: names of the images, which the maps are found by */
    bool by_majority; /* a patch shows what most of its pixels do, not what its first one does */
    bool is_global;   /* all blocks */
    size_t block;     /* SIZE_MAX: the one that holds the top-1 neuron of most classes */
    size_t k[KH_ABLATE_MOST_K]; /* ascending from 1 on; above M: M; M is always added */
    size_t k_count;
    size_t sets;                      /* matched random sets; 20 */
    size_t sweep_k[KH_ABLATE_MOST_K]; /* 1, 3, 10 */
    size_t sweep_k_count;
    size_t swap_k, steer_k;     /* 10 */
    size_t pairs;               /* of swap, for each class: half near, half random; 4 */
    size_t keys;                /* of causal: the first so many of each ranking; 10 */
    size_t random_keys;         /* of causal: random neurons of each class; 20 */
    size_t most_shared;         /* of shared; 50 */
    size_t per_class;           /* the first so many images of a class; 0: all */
    size_t resamples;           /* of bootstraps; 1000 */
    uint64_t seed;              /* set i has seed 1000 + i + seed */
    size_t image_batch;         /* images per pass; 4 */
    size_t batch;               /* variants per pass; 16 */
    const uint8_t *is_relative; /* [classes] members of one group of close relatives, or NULL */
    const char *state;          /* folder where unfinished work is kept and found; NULL: none is */
    double checkpoint_seconds;  /* how often; 600 */
    const char *image_set;      /* digest of what the images are, to compare with the state's */
    kh_progress_fn progress;    /* "images", twice over the set */
    void *progress_user;
    /* Hears of every image whose label map cannot be read, and why; NULL: they are only counted. */
    void (*broken_map)(void *user, size_t index, const char *reason);
    void *broken_map_user;
} kh_ablate_options;

KH_API kh_ablate_options kh_ablate_options_default(void);

/* A mean over images with its bootstrap interval. */
typedef struct kh_ablate_mean {
    size_t n;
    double mean, std, lo, hi;
} kh_ablate_mean;

typedef enum kh_ablate_metric {
    KH_ABLATE_D_LOGIT,
    KH_ABLATE_D_MARGIN,
    KH_ABLATE_D_PROB,
    KH_ABLATE_TOP1,
    KH_ABLATE_TOP5,
    KH_ABLATE_D_TOP1,
    KH_ABLATE_RANK,
    KH_ABLATE_KL,
    KH_ABLATE_FLIP,
    KH_ABLATE_MARGIN,
    KH_ABLATE_METRICS,
    KH_ABLATE_SHARE = KH_ABLATE_METRICS, /* from here on not of single images */
    KH_ABLATE_D_SWEPT,
    KH_ABLATE_SELECTIVITY
} kh_ablate_metric;
KH_API const char *kh_ablate_metric_name(kh_ablate_metric metric); /* "d_logit", ... */

typedef enum kh_ablate_set { KH_ABLATE_RANKED, KH_ABLATE_RANDOM, KH_ABLATE_ACTIVE } kh_ablate_set;
KH_API const char *kh_ablate_set_name(kh_ablate_set set); /* "ranked", "random", "active" */

typedef enum kh_ablate_images {
    KH_ABLATE_ON_OWN,
    KH_ABLATE_ON_OTHER,
    KH_ABLATE_ON_BOTH
} kh_ablate_images;
KH_API const char *kh_ablate_images_name(kh_ablate_images images); /* "own", "other", "both" */

/* Rows of the tables; what their columns mean: docs/analyses/ablation.md. class_index KH_NO_CLASS:
 * all. NaN: does not apply. */
typedef struct kh_ablate_effect {
    bool is_sweep, is_correct; /* is_correct: only images the unchanged model gets right */
    kh_ablate_images images;
    kh_ablate_set set;
    kh_ablate_op op;
    size_t k, class_index;
    kh_ablate_metric metric;
    kh_ablate_mean value;
    double set_lo, set_hi;
} kh_ablate_effect;

typedef struct kh_ablate_point {
    bool is_insertion, is_correct;
    kh_ablate_set set;
    size_t k;
    double fraction;
    kh_ablate_mean top1, margin;
} kh_ablate_point;

typedef enum kh_ablate_pair {
    KH_ABLATE_PAIR_RELATIVE,
    KH_ABLATE_PAIR_NEAR,
    KH_ABLATE_PAIR_FAR
} kh_ablate_pair;
KH_API const char *kh_ablate_pair_name(kh_ablate_pair pair); /* "relative", "near", "far" */

typedef struct kh_ablate_swap {
    size_t class_index, to; /* both KH_NO_CLASS: all pairs of this kind */
    kh_ablate_pair pair;
    kh_ablate_mean flip;
    double flip_base, flip_ablated, flip_random, d_logit_class, d_logit_to, prob_to;
} kh_ablate_swap;

typedef struct kh_ablate_dose {
    size_t class_index;
    kh_ablate_images images;
    kh_ablate_set set;
    double alpha;
    kh_ablate_mean predicted, d_logit, d_margin;
    double top1;
} kh_ablate_dose;

typedef enum kh_ablate_pick {
    KH_ABLATE_PICK_LN,
    KH_ABLATE_PICK_CONTRIB,
    KH_ABLATE_PICK_ACTIVATION,
    KH_ABLATE_PICK_RANDOM
} kh_ablate_pick;
KH_API const char *kh_ablate_pick_name(kh_ablate_pick pick);

/* One neuron for one class: alignment, contribution and effect side by side. */
typedef struct kh_ablate_neuron {
    size_t class_index;
    kh_neuron neuron;
    kh_ablate_pick picked_by;
    size_t place; /* by ln among all of the scope */
    double ln, fold, contribution, direct, direct_margin, activation;
    kh_ablate_mean effect_logit, effect_margin; /* base minus ablated */
} kh_ablate_neuron;

typedef enum kh_ablate_level {
    KH_ABLATE_OF_CLASS,
    KH_ABLATE_OF_MEAN,
    KH_ABLATE_OF_POOLED
} kh_ablate_level;
KH_API const char *kh_ablate_level_name(kh_ablate_level level);

typedef struct kh_ablate_correlation {
    kh_ablate_level level;
    size_t class_index;
    const char *neurons; /* "listed", "ln", "random"; static */
    const char *pair;    /* "ln_effect", ...; static */
    size_t n;
    double spearman, lo, hi;
} kh_ablate_correlation;

typedef struct kh_ablate_shared {
    kh_neuron neuron;
    size_t members;
    size_t class_index; /* KH_NO_CLASS: all images of other classes */
    bool is_member, drops;
    kh_ablate_mean d_logit, d_margin;
    double random_d_logit;
} kh_ablate_shared;

typedef struct kh_ablate_class {
    size_t class_index, n, correct;
    double margin;
    kh_neuron first;
    double ln;
    size_t k50;                                                       /* KH_NO_CLASS: never */
    double share[3], d_margin[3], random_d_margin[3], selectivity[3]; /* k = 1, 3, 10 */
    kh_ablate_mean d_logit_1;
    double d_top1_10, spearman_ln_effect;
} kh_ablate_class;

typedef struct kh_ablate_quantity {
    char key[48];
    bool is_correct;
    kh_ablate_mean value;
} kh_ablate_quantity;

/* All arrays belong to the result. Lists of designs that were not asked for are empty. */
typedef struct kh_ablation {
    kh_ablate_options options; /* as carried out: block, k filled in; borrowed pointers NULL */
    size_t classes, neurons;   /* neurons: M, of the scope */
    size_t images, broken, unlabelled; /* images: used */
    size_t unmasked;    /* left out: none of its patches would change (MASK, CONTEXT) */
    size_t broken_maps; /* of these: the label map cannot be read */
    size_t variants;    /* passes through the rest of the model */
    kh_ablate_effect *effects;
    kh_ablate_point *points;
    kh_ablate_swap *swaps;
    kh_ablate_dose *doses;
    kh_ablate_neuron *listed;
    kh_ablate_correlation *correlations;
    kh_ablate_shared *shared;
    kh_ablate_class *class_rows;
    kh_ablate_quantity *quantities;
    size_t effect_count, point_count, swap_count, dose_count, listed_count, correlation_count,
        shared_count, class_count, quantity_count;
} kh_ablation;

/* Reads every image twice. truth [images]: class, or KH_NO_CLASS (left out). The result depends on
 * model, images, truth and options up to `seed` alone, not on batches or threads, nor on how often
 * the study was stopped, or killed, and gone on with from its state (which the caller discards at
 * the end).
 *
 * Errors: KH_E_ARG options; no image with a true class; KH_E_UNSUPPORTED no classifier that acts on
 * tokens, or norms behind the MLP; what `image` returns; KH_E_FORMAT a damaged state, or label
 * maps of which none can be read; KH_E_ARG a state of another study; KH_E_IO; KH_E_NUMERIC,
 * KH_E_MEMORY, KH_E_STOPPED. Pair: kh_ablation_clear. */
KH_API kh_status kh_ablate(kh_ctx *ctx, const kh_model *model, const kh_ablate_options *options,
                           size_t images, const size_t *truth, kh_ablate_image_fn image, void *user,
                           kh_ablation *out, kh_error *err);
KH_API void kh_ablation_clear(kh_ablation *ablation);

/* What a study will take, without reading an image: all are taken to be readable and to have label
 * maps. Times the model for about a second. */
typedef struct kh_ablate_estimate {
    size_t images, classes;                         /* that will be used */
    size_t block, neurons;                          /* SIZE_MAX: all blocks; M */
    size_t variants_of[KH_ABLATE_DESIGNS];          /* of one image, by design; of shared at most */
    uint64_t variants;                              /* of all */
    double share;                                   /* of the time of a whole pass that one takes */
    double passes;                                  /* the whole study, in passes over one image */
    double seconds;                                 /* with the tables, without reading images */
    uint64_t memory_bytes, state_bytes, disk_bytes; /* beside the weights; at most; results */
} kh_ablate_estimate;
KH_API kh_status kh_ablate_plan(kh_ctx *ctx, const kh_model *model,
                                const kh_ablate_options *options, size_t images,
                                const size_t *truth, kh_ablate_estimate *out, kh_error *err);

/* What a state holds. Errors: KH_E_NOT_FOUND none; KH_E_FORMAT damaged. */
typedef struct kh_ablate_left {
    size_t images;  /* of the set */
    size_t looked;  /* behind the first round */
    size_t used;    /* so far; of the whole set once looked == images */
    size_t visited; /* of these, behind the second round */
} kh_ablate_left;
KH_API kh_status kh_ablate_look(const char *state, kh_ablate_left *out, kh_error *err);
/* Removes a state and its folder, if nothing else is in it. None is fine. */
KH_API kh_status kh_ablate_discard(const char *state, kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
