/* keyhole/lens.h: analyses: a question to a model, an answer in numbers.
 *
 * Two floors. The mathematics works on plain arrays and never sees a model; thin wrappers read
 * weights and run passes. Indices are zero-based. Shapes are written slowest axis first.
 *
 * Order of every list of scores: value descending, then block ascending, then index ascending; NaN
 * last. Formulas and what each analysis cannot tell: docs/analyses/. */
#ifndef KEYHOLE_LENS_H
#define KEYHOLE_LENS_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/vit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- classification ------------------------------------------------------------------------ */

/* p[c] = exp(z[c] - max z) / sum, summed in double. count > 0; p may be z. */
KH_API void kh_lens_softmax(const float *logits, size_t count, float *p);

/* Indices of the k largest values, best first, ties to the lower index, NaN last.
 * k <= count; writes k indices. Errors: KH_E_ARG k too large; KH_E_MEMORY. */
KH_API kh_status kh_lens_top(const float *values, size_t count, size_t k, size_t *out,
                             kh_error *err);

/* How many classes stand before class c: #{p' > p_c} + #{c' < c: p' = p_c}; 0 is the winner.
 * A NaN stands behind every number. Source: spec of the class identifiability rate. */
KH_API size_t kh_lens_rank_position(const float *values, size_t count, size_t c);

/* ---- images of a class --------------------------------------------------------------------- */

/* Which images count for a class: those that are of it, those that the model calls so (of equal
 * logits the first class), or those that are and are called so. */
typedef enum kh_class_by { KH_BY_TRUTH, KH_BY_PREDICTED, KH_BY_CORRECT } kh_class_by;
KH_API const char *kh_class_by_name(kh_class_by by); /* "truth", "predicted", "correct" */
KH_API kh_status kh_class_by_parse(const char *name, kh_class_by *out, kh_error *err);

/* One number of a neuron's coefficients on an image. */
typedef enum kh_class_reduction {
    KH_REDUCE_MEAN, /* mean over patches */
    KH_REDUCE_CLS,  /* at the class token */
    KH_REDUCE_MAX,  /* largest of the patches */
    KH_REDUCE_ALL   /* mean over all tokens: class token and registers too */
} kh_class_reduction;
KH_API const char *kh_class_reduction_name(kh_class_reduction reduction); /* "mean", "cls", ... */
KH_API kh_status kh_class_reduction_parse(const char *name, kh_class_reduction *out, kh_error *err);

/* ---- alignment ----------------------------------------------------------------------------- */

/* v: value vector; E_c: class embedding; g, b, eps: final LayerNorm; mu, var: mean and biased
 * variance of v over dim. Models without a final norm: ln is E_c.v + bias_c and fold is E_c.v. */
typedef enum kh_align_mode {
    KH_ALIGN_RAW,  /* v.E_c: the report's formula */
    KH_ALIGN_COS,  /* v.E_c / (|v| |E_c|): Vilas et al.'s agreement; a zero vector gives 0 */
    KH_ALIGN_LN,   /* E_c.(g (v-mu)/sqrt(var+eps) + b) + bias_c: the report's code, its rankings */
    KH_ALIGN_FOLD, /* E_c.(g (v-mu)): the linear part; for attribution and causal work */
    KH_ALIGN_MARGIN, /* ln_c - max over c' != c of ln_c' */
    KH_ALIGN_PROB    /* softmax over c of ln: the report's text */
} kh_align_mode;
#define KH_ALIGN_MODES 6

KH_API const char *kh_align_mode_name(kh_align_mode mode); /* "raw", "cos", ... */
KH_API kh_status kh_align_mode_parse(const char *name, kh_align_mode *out, kh_error *err);

/* Which memories: MLP value vectors (columns of mlp.fc2, times ls2), or attention values (columns
 * of attn.proj, times ls1; `dim` per block, coefficient = the heads' outputs side by side). In
 * post-norm blocks the vector passes through norm2 (norm1) first; `fold` takes only that norm's
 * linear part. */
typedef enum kh_align_source { KH_ALIGN_MLP, KH_ALIGN_ATTENTION } kh_align_source;

/* Which class embeddings. Distilled models: head (class token) or head_dist. transformers' DINOv2
 * classifier [classes, 2 dim]: its first half (class token) or its second half (patch mean). */
typedef enum kh_align_head { KH_HEAD_FIRST, KH_HEAD_SECOND } kh_align_head;

typedef struct kh_align_options {
    kh_align_mode mode;
    kh_align_source source;
    kh_align_head head;
    bool add_bias; /* v <- alpha * v + b2 (before LayerScale), off by default */
    double alpha;
    /* The user's own class embeddings instead of the head (linear probe, text embeddings):
     * [embedding_classes, dim], bias [embedding_classes] or NULL for zeros. Borrowed. */
    const float *embeddings;
    const float *embedding_bias;
    size_t embedding_classes;
} kh_align_options;

/* Mode ln, MLP, first head, alpha 1 without bias. */
KH_API kh_align_options kh_align_options_default(void);

/* Size of the answer without computing it: units per block (neurons, or dim for attention) and
 * classes. Errors: KH_E_UNSUPPORTED no class embeddings, indirect head, or no second head. */
KH_API kh_status kh_lens_alignment_shape(const kh_model *model, const kh_align_options *options,
                                         size_t *units, size_t *classes, kh_error *err);

/* Class embeddings, packed once; then one block after the other. Belongs to ctx; model must outlive
 * it. Memory: the embeddings twice, and one block's value vectors. */
typedef struct kh_aligner kh_aligner;
KH_API kh_status kh_lens_aligner_create(kh_ctx *ctx, const kh_model *model,
                                        const kh_align_options *options, kh_aligner **out,
                                        kh_error *err);
KH_API void kh_lens_aligner_free(kh_aligner *aligner);
KH_API size_t kh_lens_aligner_units(const kh_aligner *aligner);
KH_API size_t kh_lens_aligner_classes(const kh_aligner *aligner);

/* out [units, classes], fp32 products through the backend. Errors: KH_E_ARG block out of range,
 * KH_E_SHAPE count is not units * classes, KH_E_NUMERIC a NaN or infinity in the result. */
KH_API kh_status kh_lens_aligner_block(kh_aligner *aligner, size_t block, float *out, size_t count,
                                       kh_error *err);

/* The same in one call, with default options but mode. Alignment of every value vector of a block
 * with every class embedding: out [neurons, classes]. Errors: as above and KH_E_UNSUPPORTED. */
KH_API kh_status kh_lens_alignment(kh_ctx *ctx, const kh_model *model, size_t block,
                                   kh_align_mode mode, float *out, size_t count, kh_error *err);

/* Value vectors of a block, one per row, LayerScale (and alpha, bias if asked) applied, before any
 * norm: out [units, dim]. Errors: KH_E_ARG, KH_E_SHAPE, KH_E_MEMORY. */
KH_API kh_status kh_lens_value_vectors(const kh_model *model, const kh_align_options *options,
                                       size_t block, float *out, size_t count, kh_error *err);

/* Statistics of each row of values [rows, dim], in double: biased two-pass variance. */
typedef struct kh_value_stats {
    double mean, var, norm;
} kh_value_stats;
KH_API void kh_lens_value_stats(const float *values, size_t rows, size_t dim, kh_value_stats *out);

/* ---- statistics of scores ------------------------------------------------------------------ */

#define KH_HISTOGRAM_BINS 64

/* Of all scores of a block. std is the population's; p99 interpolates linearly at 0.99 (n-1).
 * histogram: equal bins over [min, max], the last one closed. top_histogram: the same of max over
 * classes of each unit, over [top_min, top_max]. */
typedef struct kh_score_stats {
    uint64_t count, nan_count;
    double mean, std, min, max, p99;
    uint64_t histogram[KH_HISTOGRAM_BINS];
    double top_min, top_max;
    uint64_t top_histogram[KH_HISTOGRAM_BINS];
} kh_score_stats;

/* scores [units, classes]; NaNs are counted and left out. Errors: KH_E_ARG empty, KH_E_MEMORY. */
KH_API kh_status kh_lens_score_stats(const float *scores, size_t units, size_t classes,
                                     kh_score_stats *out, kh_error *err);

/* numpy's default percentile: linear interpolation at q (n-1) of the sorted values, q in [0, 1], in
 * double. Errors: KH_E_ARG n = 0 or q outside; KH_E_NUMERIC NaN; KH_E_MEMORY. */
KH_API kh_status kh_lens_quantile(const float *values, size_t count, double q, double *out,
                                  kh_error *err);

/* ---- ranking ------------------------------------------------------------------------------- */

typedef struct kh_ranked {
    uint32_t block, index;
    float score;
} kh_ranked;

/* For every class, its best value vectors. All arrays belong to the ranking. */
typedef struct kh_ranking {
    kh_align_mode mode;
    kh_align_source source;
    size_t blocks, units, classes, k;
    kh_ranked *global;     /* [classes, k] over all blocks */
    float *margin_to_next; /* [classes, k] score minus the next rank's; NaN behind the last pair */
    int32_t *block_index;  /* [blocks, k, classes] units, as topk_block.npy */
    float *block_score;    /* [blocks, k, classes] */
    uint32_t *top_class;   /* [blocks, units] the unit's own best class */
    float *top_score;      /* [blocks, units] */
    kh_score_stats *stats; /* [blocks] */
} kh_ranking;

/* Feeds on score blocks in ascending order of block. */
typedef struct kh_ranker kh_ranker;
/* k <= units. Errors: KH_E_ARG, KH_E_MEMORY. */
KH_API kh_status kh_lens_ranker_create(size_t blocks, size_t units, size_t classes, size_t k,
                                       kh_ranker **out, kh_error *err);
KH_API void kh_lens_ranker_free(kh_ranker *ranker);
/* scores [units, classes] of the next block. ctx lends threads and may be NULL. Errors:
 * KH_E_NUMERIC with the count of NaNs; KH_E_ARG more blocks than promised. */
KH_API kh_status kh_lens_ranker_feed(kh_ranker *ranker, kh_ctx *ctx, const float *scores,
                                     kh_error *err);
/* After the last block; the ranker is empty afterwards and can only be freed. */
KH_API kh_status kh_lens_ranker_finish(kh_ranker *ranker, kh_ranking *out, kh_error *err);
KH_API void kh_ranking_clear(kh_ranking *ranking);

/* Sees every block of scores [units, classes] while the ranking is made, e.g. to save it.
 * A status other than KH_OK stops. */
typedef kh_status (*kh_align_sink)(void *user, size_t block, const float *scores, size_t units,
                                   size_t classes, kh_error *err);

typedef struct kh_rank_options {
    kh_align_options align;
    size_t k;           /* at most the units of a block; 10 by default */
    kh_align_sink sink; /* NULL: nobody */
    void *sink_user;
    kh_progress_fn progress; /* "blocks" */
    void *progress_user;
} kh_rank_options;

KH_API kh_rank_options kh_rank_options_default(void);

/* Alignment of every block, ranked; one block of scores resident. Pair: kh_ranking_clear. */
KH_API kh_status kh_lens_rank(kh_ctx *ctx, const kh_model *model, const kh_rank_options *options,
                              kh_ranking *out, kh_error *err);

/* Figure 3: counts[b] = #{c: block of the rank-th global unit of c is b}; sums to classes.
 * rank < k, 0 is the best. */
KH_API void kh_lens_block_histogram(const kh_ranking *ranking, size_t rank, size_t *counts);

/* Score against rank over classes. q25, q75 interpolate linearly. gap: score minus next rank's. */
typedef struct kh_rank_curve {
    double mean, q25, q50, q75;
    double gap_mean, gap_q25, gap_q50, gap_q75; /* NaN where no next rank exists */
} kh_rank_curve;
/* out [k]. Errors: KH_E_MEMORY. */
KH_API kh_status kh_lens_rank_curve(const kh_ranking *ranking, kh_rank_curve *out, kh_error *err);

/* ---- null bands ---------------------------------------------------------------------------- */

/* What an alignment of nothing looks like. HEAD: rows of the head replaced by Gaussian rows of the
 * same length. PERMUTE: the dims of all value vectors shuffled by one permutation per draw. */
typedef enum kh_null_kind { KH_NULL_HEAD, KH_NULL_PERMUTE } kh_null_kind;

typedef struct kh_band {
    double mean, lo, hi; /* over draws; lo, hi: 2.5 and 97.5 percentiles, linear interpolation */
} kh_band;

typedef struct kh_null_band {
    kh_null_kind kind;
    uint64_t seed;
    size_t draws, blocks, classes;
    kh_band top1;         /* mean over classes of the global top-1 score */
    kh_band *class_top1;  /* [classes] global top-1 score of each class */
    kh_band *block_top1;  /* [blocks] mean over classes of the block's best score */
    kh_band *block_share; /* [blocks] fraction of classes whose global top-1 sits there */
} kh_null_band;

typedef struct kh_null_options {
    kh_align_options align;
    kh_null_kind kind;
    size_t draws; /* 20 by default */
    uint64_t seed;
    kh_progress_fn progress; /* "draws" */
    void *progress_user;
} kh_null_options;

KH_API kh_null_options kh_null_options_default(void);
/* Same seed, same band, whatever the threads. Pair: kh_null_band_clear. */
KH_API kh_status kh_lens_null_band(kh_ctx *ctx, const kh_model *model,
                                   const kh_null_options *options, kh_null_band *out,
                                   kh_error *err);
KH_API void kh_null_band_clear(kh_null_band *band);

/* ---- shared value vectors ------------------------------------------------------------------ */

typedef struct kh_shared_link {
    uint32_t class_index, rank;
    float score;
} kh_shared_link;

typedef struct kh_shared_unit {
    uint32_t block, index;
    size_t n_classes;  /* distinct classes that have this unit among their first k */
    size_t first_link; /* links[first_link .. + n_classes), by class */
    double mean_score;
} kh_shared_unit;

/* Bipartite graph of classes and units from the first k global ranks. */
typedef struct kh_shared {
    size_t k, classes;
    size_t unit_count;     /* units with at least one class */
    kh_shared_unit *units; /* most shared first, then block, index */
    kh_shared_link *links; /* [classes * k] */
    size_t *class_share;   /* [classes] n_classes of the class's rank-0 unit */
} kh_shared;

/* k <= ranking->k. Sum of n_classes = classes * k. Pair: kh_shared_clear. */
KH_API kh_status kh_lens_shared(const kh_ranking *ranking, size_t k, kh_shared *out, kh_error *err);
KH_API void kh_shared_clear(kh_shared *shared);
/* Units that serve at least `at_least` classes. */
KH_API size_t kh_lens_shared_count(const kh_shared *shared, size_t at_least);

/* The best pair of value vectors of one block for a class, by the `ln` score of their sum. */
typedef struct kh_pair {
    uint32_t i, j;     /* i < j; the first in order of (i, j) among equals */
    float score;       /* ln of v_i + v_j */
    float best_single; /* largest ln score of one vector of the block */
    float top2;        /* ln of the sum of the two best singles */
} kh_pair;

/* Looks at every pair of the block: out [classes]. With fold scores s the sum has
 *
 *     ln = (s_i + s_j) / sqrt(var_i + var_j + 2 cov_ij + eps) + E_c.b + bias_c
 *
 * so one Gram matrix [units, units] fp32 (36 MB for 3072 units) decides all classes. options->mode
 * is ignored. Errors: KH_E_UNSUPPORTED post-norm blocks, or no final norm (scores add up: the best
 * pair is the two best singles); KH_E_SHAPE count is not the classes; KH_E_MEMORY. */
KH_API kh_status kh_lens_pairs(kh_ctx *ctx, const kh_model *model, const kh_align_options *options,
                               size_t block, kh_pair *out, size_t count, kh_error *err);
/* The same for vectors w[c, i] v_i that depend on the class, such as its mean coefficients: weights
 * [classes, units]; best_single and top2 are of weighted vectors too. A class whose first weight is
 * NaN (no images) gets NaN scores. Three more matrices [units, classes] fp32. */
KH_API kh_status kh_lens_pairs_weighted(kh_ctx *ctx, const kh_model *model,
                                        const kh_align_options *options, size_t block,
                                        const float *weights, kh_pair *out, size_t count,
                                        kh_error *err);

/* ---- heatmaps ------------------------------------------------------------------------------ */

/* Where a map of patches lies on the input image. seen_*: the part of each side that patches cover
 * (below 1 when the side is no multiple of the patch: the rest was never looked at). */
typedef struct kh_grid {
    size_t height, width;
    double seen_height, seen_width;
} kh_grid;
KH_API kh_grid kh_lens_grid(const kh_model_info *info);

/* Which maps share one colour scale. */
typedef enum kh_scale {
    KH_SCALE_MAP,   /* each its own: shows where, hides how strong */
    KH_SCALE_CLASS, /* all maps of images with the same class */
    KH_SCALE_IMAGE, /* all maps of an image */
    KH_SCALE_SHARED /* all maps there are */
} kh_scale;
KH_API const char *kh_scale_name(kh_scale scale); /* "map", "class", "image", "shared" */
KH_API kh_status kh_scale_parse(const char *name, kh_scale *out, kh_error *err);

typedef struct kh_range {
    float min, max;
} kh_range;

/* Smallest and largest value of each map's scale. maps [images, k, patches]; classes [images] is
 * needed for KH_SCALE_CLASS only; clip: negative values count as 0. out [images, k]. */
KH_API kh_status kh_lens_map_ranges(const float *maps, size_t images, size_t k, size_t patches,
                                    const size_t *classes, kh_scale scale, bool clip, kh_range *out,
                                    kh_error *err);

/* out = (max(v, 0) - min) / (max - min), without the max(.,0) unless clip; zeros when min = max. */
KH_API void kh_lens_map_normalize(const float *map, size_t count, kh_range range, bool clip,
                                  float *out);

/* map [grid.height, grid.width] to out [height, width], bilinear with half-pixel centres
 * (align_corners off), edges replicated: s = max(0, (y + 0.5) * grid.height / (seen * height) -
 * 0.5), computed in double. A constant stays exactly that constant. */
KH_API void kh_lens_upsample(const float *map, kh_grid grid, size_t height, size_t width,
                             float *out);

/* trunc(255 m); m in [0, 1]; NaN gives 0. */
KH_API void kh_lens_map_u8(const float *map, size_t count, uint8_t *out);

/* OpenCV's JET as RGB. */
KH_API const uint8_t *kh_lens_jet(uint8_t level); /* three bytes, static */

/* The photograph as floats in [0, 1], [height, width, 3]. From what the model saw as bytes: v/255.
 */
KH_API void kh_lens_display_bytes(const uint8_t *rgb, size_t pixels, float *out);
/* From the normalised tensor [3, height, width]: (x - min)/(max - min) over all of it, as the
 * report's code does; zeros when constant. */
KH_API void kh_lens_display_tensor(const float *tensor, size_t pixels, float *out);

/* out = trunc(255 * s / max s), s = JET(heat)/255 + photo, max over pixels and channels.
 * heat [pixels] as from kh_lens_map_u8, photo [pixels, 3]. swap_photo exchanges the photograph's
 * red and blue, as the report's code does (with kh_lens_display_tensor: `--r-compat`). */
KH_API void kh_lens_overlay(const uint8_t *heat, const float *photo, size_t pixels, bool swap_photo,
                            uint8_t *rgb);

/* All of it for one map: clip, normalise by range, upsample, u8, JET, overlay -> rgb
 * [height, width, 3]. heat, if not NULL, gets the u8 levels [height, width]. Errors: KH_E_MEMORY.
 */
KH_API kh_status kh_lens_heatmap(const float *map, kh_grid grid, kh_range range, size_t height,
                                 size_t width, const float *photo, bool swap_photo, uint8_t *rgb,
                                 uint8_t *heat, kh_error *err);

/* ---- masks --------------------------------------------------------------------------------- */

/* R_b = (1/(b+1)) sum over i <= b of M_i. maps, out [blocks, patches]; out may be maps.
 * normalize: average maps scaled to [0, 1] each instead of raw ones. */
KH_API void kh_lens_running_mean(const float *maps, size_t blocks, size_t patches, bool normalize,
                                 float *out);

/* mask[i] = value > the quantile-th percentile (strictly; constant maps give an empty mask).
 * The report's quantile is 0.8. Errors: as kh_lens_quantile. */
KH_API kh_status kh_lens_mask(const float *values, size_t count, double quantile, uint8_t *mask,
                              double *threshold, size_t *kept, kh_error *err);
/* rgb where mask, black elsewhere. */
KH_API void kh_lens_mask_apply(const uint8_t *mask, const uint8_t *rgb, size_t pixels,
                               uint8_t *out);

/* A mask against the truth. NaN where the denominator is empty. pointing_hit: the first maximum of
 * values lies on the truth. */
typedef struct kh_mask_score {
    size_t kept, truth, both;
    double iou, precision, recall;
    bool pointing_hit;
} kh_mask_score;
KH_API void kh_lens_mask_score(const uint8_t *mask, const float *values, const uint8_t *truth,
                               size_t count, kh_mask_score *out);

/* ---- look: a class's neurons on pictures --------------------------------------------------- */

typedef enum kh_coefficient {
    KH_COEFFICIENT_POST,      /* after the activation function: the memory coefficient */
    KH_COEFFICIENT_PRE,       /* before it */
    KH_COEFFICIENT_PRE_NOBIAS /* before it and without the key's bias */
} kh_coefficient;

typedef struct kh_prediction {
    size_t class_index;
    float logit, probability;
} kh_prediction;

typedef struct kh_look_options {
    const kh_ranking *ranking; /* of this model, source MLP */
    size_t k;                  /* neurons per class, <= ranking->k; 5 by default */
    bool by_block;             /* per-block lists (of `block`) instead of global ones */
    size_t block;
    bool want_block_maps; /* rank-0 neuron of every block too: masks and running means */
    bool want_contributions;
    kh_coefficient coefficient;
    size_t predictions;      /* how many; 5 by default, at most the classes */
    size_t batch;            /* images per pass; 0: 8 */
    kh_progress_fn progress; /* "images" */
    void *progress_user;
} kh_look_options;

KH_API kh_look_options kh_look_options_default(void);

/* All arrays belong to the look. */
typedef struct kh_look {
    size_t images, k, blocks, classes, predictions;
    kh_grid grid;
    size_t patches;      /* grid.height * grid.width */
    size_t *class_index; /* [images] asked for, or predicted */
    float *logits;       /* [images, classes] */
    kh_prediction *top;  /* [images, predictions] */
    kh_ranked *neurons;  /* [images, k] */
    float *maps;         /* [images, k, patches], prefix tokens never among them; not clipped */
    float *class_coefficient; /* [images, k] at the class token; NaN when the model has none */
    double *contribution;     /* [images, k] logits added to class_index by this neuron alone, final
                                 norm's denominator frozen; NULL unless wanted */
    kh_ranked *block_neurons; /* [images, blocks], NULL unless wanted */
    float *block_maps;        /* [images, blocks, patches] */
} kh_look;

/* One pass with taps for exactly the neurons needed (and one for the predictions before it when
 * classes is NULL). images [count, 3, height, width] normalised; classes [count] or NULL: the
 * predicted class. Contribution = sum over tokens of w_t a_j(t) fold_jc / sigma_t, with the weights
 * w of the model's pooling. Errors: KH_E_ARG class out of range, ranking of another shape;
 * KH_E_UNSUPPORTED no classifier, or contributions behind attention pooling. Pair: kh_look_clear.
 */
KH_API kh_status kh_lens_look(kh_ctx *ctx, const kh_model *model, const kh_look_options *options,
                              const float *images, size_t count, const size_t *classes,
                              kh_look *out, kh_error *err);
KH_API void kh_look_clear(kh_look *look);

/* Logits and the first predictions of each image. logits [count, classes] or NULL; top
 * [count, predictions]. batch 0: 8. Errors: KH_E_UNSUPPORTED no classifier. */
KH_API kh_status kh_lens_classify(kh_ctx *ctx, const kh_model *model, const float *images,
                                  size_t count, size_t batch, size_t predictions, float *logits,
                                  kh_prediction *top, kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
