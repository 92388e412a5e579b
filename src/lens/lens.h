/* lens/lens.h: the seam between a pass over many images and the questions asked of it.
 *
 * A lens says which sites it wants, eats batches, and shows its state as flat pieces that merge
 * exactly (stream.h). Saving, loading, sharding and resuming need nothing else of it. At the end
 * it turns the state into tables and arrays. One file a lens. */
#ifndef KH_LENS_LENS_H
#define KH_LENS_LENS_H

#include "keyhole/lens.h"
#include "lens/stream.h"

/* What a lens can ask the pass for. */
typedef enum kh_lens_site {
    KH_SITE_POST,       /* [images, tokens, neurons] memory coefficients */
    KH_SITE_RESID_MID,  /* [images, tokens, dim] */
    KH_SITE_RESID_POST, /* [images, tokens, dim] */
    KH_SITE_ATTN_OUT,   /* [images, tokens, dim] */
    KH_SITE_MLP_OUT,    /* [images, tokens, dim] */
    KH_SITE_Z_CLS,      /* [images, dim] the heads' outputs side by side at the class token */
    KH_SITE_ATTN_CLS,   /* [images, dim] at the class token */
    KH_SITE_MLP_CLS,    /* [images, dim] at the class token */
    KH_SITE_EMBED_CLS,  /* [images, dim] the first block's input at the class token; block 0 only */
    KH_SITE_FINAL_SCALE,  /* [images] final norm's denominator at the class token; block 0 only */
    KH_SITE_EMBED,        /* [images, tokens, dim] the first block's input; block 0 only */
    KH_SITE_FINAL_SCALES, /* [images, tokens], or [images] when the patches' mean is normed; block 0
                             only */
    KH_SITE_LN2_SCALE,    /* [images, tokens] denominator of the block's second norm */
    KH_LENS_SITES
} kh_lens_site;

/* Reductions over an image's patch tokens, computed once for all lenses: [images, blocks *
 * neurons]. Each depends on its image alone. */
typedef struct kh_features {
    float *cls;     /* at token 0; NULL when the model has no class token */
    float *mean;    /* summed in double, patches in order */
    float *squares; /* mean of the squares */
    float *max;
    float *min;
    uint32_t *token; /* patch of the (first) maximum */
} kh_features;

typedef struct kh_lens_batch {
    size_t count;
    const uint64_t *ids;
    const size_t *truth;     /* KH_NO_CLASS: unknown */
    const float *images;     /* [count, 3, height, width] */
    const float *logits;     /* [count, classes]; NULL without a classifier */
    const size_t *predicted; /* [count] */
    const kh_features *features;
    const struct kh_batch_maps *maps;        /* NULL: the run has no label maps */
    const float *const *site[KH_LENS_SITES]; /* [block]; NULL unless wanted */
} kh_lens_batch;

/* Coefficients of neighbouring neurons of one block on one image. */
typedef struct kh_lens_tile {
    size_t block, first, width; /* neurons [first, first + width) of the block */
    size_t image;               /* of the batch */
} kh_lens_tile;

struct kh_lens_kind;

/* What every lens may know. Valid as long as the run. */
typedef struct kh_lens_setup {
    kh_ctx *ctx;
    const kh_model *model;
    const kh_model_info *info;
    const kh_source *source;
    const kh_ranking *ranking;                /* `ln`, all classes; NULL without a classifier */
    size_t images, patches, units;            /* units: blocks * neurons */
    size_t classes_seen;                      /* classes that are the truth of an image */
    const struct kh_distance_choice *compare; /* of the lens "distance" */
    kh_class_by class_by;                     /* of lenses with goes_by_class */
    kh_class_reduction class_reduction;
    size_t exemplars; /* shown for each unit */
    size_t sample;    /* images in the random baseline */
    uint64_t seed;
    double quantile;               /* of the dissection threshold */
    const kh_label_set *label_set; /* NULL: no pixel truth */
    const float *thresholds;       /* [units] of an earlier run, or NULL */
    const float *rotated;          /* [blocks, kh_rotation_units] of that run, or NULL */
    kh_warn_fn warn;
    void *warn_user;
    /* the lenses of the run, so that one can read another's state when it finishes */
    const struct kh_lens_kind *const *kinds;
    void *const *states;
    size_t lens_count;
} kh_lens_setup;

/* Where results go. The first failure is kept by whoever owns `user`; calls after it do nothing. */
typedef enum kh_out_type { KH_OUT_F32, KH_OUT_I32, KH_OUT_I64 } kh_out_type;
typedef struct kh_lens_out {
    void *user;
    /* columns: "class:i block:i mean:r name:t" (integer, real, text); rows follow. Real NaN is NULL
     */
    void (*table)(void *user, const char *name, const char *columns);
    void (*integer)(void *user, int64_t value);
    void (*real)(void *user, double value);
    void (*text)(void *user, const char *value); /* NULL: none */
    void (*row)(void *user);
    void (*array)(void *user, const char *name, kh_out_type type, const size_t *shape, size_t rank,
                  const void *data, const char *meaning);
} kh_lens_out;

enum { KH_LENS_MAX_PIECES = 24 };

/* What a lens will write, for an estimate. */
typedef struct kh_lens_size {
    uint64_t rows, integers, reals; /* of its tables; most integers are small */
    uint64_t text_bytes;            /* in text cells */
    uint64_t array_bytes;
} kh_lens_size;

/* rows of so many integer and real cells, and bytes of text each. */
static inline void kh_lens_size_add(kh_lens_size *size, uint64_t rows, uint64_t integers,
                                    uint64_t reals, uint64_t text_bytes) {
    size->rows += rows;
    size->integers += rows * integers;
    size->reals += rows * reals;
    size->text_bytes += rows * text_bytes;
}

typedef struct kh_lens_kind {
    const char *name;
    unsigned version; /* changes when a state can no longer be merged with an older one */
    unsigned sites;   /* 1u << kh_lens_site ... */
    unsigned (*sites_of)(const kh_lens_setup *setup); /* instead, when they depend on the model */
    bool is_default;
    bool needs_truth;   /* has nothing to say of images without true classes */
    bool goes_by_class; /* its images of a class are those of class_images.h */
    bool needs_maps;    /* of the second pass: wants label maps */
    /* NULL when this model can be looked at; else why not (the lens is left out) */
    const char *(*refuses)(const kh_lens_setup *setup);
    /* sums come from kh_calloc: they count as neutral already */
    kh_status (*create)(const kh_lens_setup *setup, void **state, kh_error *err);
    void (*free)(void *state);
    /* Fills `pieces`, returns how many. Always the same ones for one setup. */
    size_t (*pieces)(void *state, kh_piece *pieces);
    /* Every tile of a batch once, before `consume` and right after it was reduced, so that its
     * coefficients are still in the cache. Tiles of different neurons come from different threads
     * at once, and the batch's features are not complete. NULL: not wanted */
    void (*see_tile)(void *state, const kh_lens_batch *batch, kh_lens_tile tile);
    kh_status (*consume)(void *state, const kh_lens_batch *batch, kh_error *err);
    kh_status (*finish)(void *state, const kh_lens_out *out, kh_error *err);
    void (*size)(const kh_lens_setup *setup, kh_lens_size *size); /* adds to it; NULL: little */
    const char *arrays[3]; /* names of those that it can write; NULL after the last */
} kh_lens_kind;

/* Every lens, NULL after the last. */
extern const kh_lens_kind *const kh_lens_kinds[];
/* Why a lens that asks for no more does not fit: no classifier. */
const char *kh_lens_wants_classes(const kh_lens_setup *setup);
const kh_lens_kind *kh_lens_kind_find(const char *name);
/* Does any lens write an array of this name? */
bool kh_lens_knows_array(const char *name, size_t length);
/* The state of another lens of the run, or NULL when it is not part of it. */
void *kh_lens_peer(const kh_lens_setup *setup, const kh_lens_kind *kind);

/* A fresh state: create and every piece neutral. */
kh_status kh_lens_begin(const kh_lens_kind *kind, const kh_lens_setup *setup, void **state,
                        kh_error *err);

/* The message for a value no sum can take. */
kh_status kh_lens_not_finite(const kh_lens_setup *setup, const char *what, uint64_t id,
                             kh_error *err);

/* Calls see(state, batch, image, block) for every block and image on the run's threads: images of
 * one block in order by one thread, blocks side by side. What it changes must belong to its block.
 * False from `see` becomes kh_lens_not_finite(what). */
typedef bool (*kh_see_fn)(void *state, const kh_lens_batch *batch, size_t image, size_t block);
kh_status kh_lens_by_block(const kh_lens_setup *setup, const kh_lens_batch *batch, kh_see_fn see,
                           void *state, const char *what, kh_error *err);

/* ln of the class's own best neuron in a block, by rank. */
static inline size_t kh_ranking_unit(const kh_ranking *r, size_t block, size_t rank, size_t c) {
    return (size_t)r->block_index[(block * r->k + rank) * r->classes + c];
}

extern const kh_lens_kind kh_kind_images, kh_kind_accuracy, kh_kind_units, kh_kind_rotated,
    kh_kind_class_mean, kh_kind_class_argmax, kh_kind_distance, kh_kind_exemplars, kh_kind_channels,
    kh_kind_selectivity, kh_kind_attribution, kh_kind_heads, kh_kind_audit, kh_kind_identify,
    kh_kind_key_value, kh_kind_dissect, kh_kind_masks, kh_kind_context;

#endif
