/* keyhole/truth.h: does a class's key neuron fire where the object is? Heatmaps against true masks,
 * with the baselines that say what a score is worth.
 *
 * Formulas, and what the numbers cannot tell: docs/analyses/truth.md. */
#ifndef KEYHOLE_TRUTH_H
#define KEYHOLE_TRUTH_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/lens.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Probability that a positive has a larger value than a negative, equal values counting one half:
 *
 *     AUROC = (#{(p, n): v_p > v_n} + #{v_p = v_n} / 2) / (#p #n)
 *
 * counted exactly. NaN without positives or without negatives. Errors: KH_E_NUMERIC a NaN among the
 * values, KH_E_MEMORY. */
KH_API kh_status kh_lens_auroc(const float *values, const uint8_t *is_positive, size_t count,
                               double *out, kh_error *err);

/* Mean of values and the percentile bootstrap's 95 % interval of that mean: `resamples` draws with
 * replacement, 2.5 and 97.5 percentiles (linear interpolation) of their means. NaNs are left out;
 * all NaN where none is left. Same seed and count: the same draws, so that intervals of several
 * columns of one table belong together. Errors: KH_E_ARG no resamples, KH_E_MEMORY. */
KH_API kh_status kh_lens_bootstrap(const double *values, size_t count, size_t resamples,
                                   uint64_t seed, kh_band *out, kh_error *err);

/* ---- one map against one mask -------------------------------------------------------------- */

/* Of the upsampled map, not clipped. A picture without a pixel of the object has NaN everywhere but
 * in kept, is_silent and peak. */
typedef struct kh_truth_score {
    size_t object, kept; /* pixels of the object, of the percentile mask */
    bool is_silent;      /* no coefficient above 0, or all of them equal */
    bool is_hit;         /* pointing game: the first maximum lies on the object */
    double share;        /* object / pixels: what pointing blindly hits */
    double iou;          /* of the percentile mask and the object; 0 for an empty mask */
    double ceiling;   /* best IoU of any mask of `kept` pixels: min / max of the two sizes. For an
                         empty mask: of the size the percentile leaves of distinct values */
    double precision; /* NaN for an empty mask */
    double recall;
    double auroc;           /* of the map's values for the object's pixels: no threshold */
    double inside, outside; /* mean of the map on the object and beside it */
    float peak;             /* largest coefficient over the patches */
} kh_truth_score;

typedef struct kh_truth_maps {
    const float *maps; /* [images, stride, patches] as kh_look has them */
    size_t images, stride;
    size_t scored; /* the first so many maps of every image; <= stride */
    kh_grid grid;
    const uint8_t *truth; /* [images, height, width] not 0 on the object */
    size_t height, width;
    double quantile; /* of the mask; the report's is 0.8 */
} kh_truth_maps;

/* out [images, scored]. ctx lends threads and may be NULL; the result does not depend on them.
 * Errors: KH_E_ARG quantile outside [0, 1], KH_E_NUMERIC a NaN in a map, KH_E_MEMORY. */
KH_API kh_status kh_lens_truth_scores(kh_ctx *ctx, const kh_truth_maps *what, kh_truth_score *out,
                                      kh_error *err);

/* A map that knows nothing but where the middle of a picture is: 1 - d^2, d from 0 there to 1 in
 * the corners. What objects near the middle give to anyone. map [grid.height, grid.width] */
KH_API void kh_lens_truth_middle(kh_grid grid, float *map);

/* Means over the images that show the object. */
typedef struct kh_truth_mean {
    size_t images; /* that show it */
    size_t silent; /* of them; they stay in every mean below, where an empty mask has IoU 0 */
    double share, iou, ceiling, recall, pointing, auroc, inside, outside;
    double precision; /* over the images with a mask */
} kh_truth_mean;

/* scores[0], scores[stride], ...: one neuron on `images` images. NaN where no image shows it. */
KH_API void kh_lens_truth_mean(const kh_truth_score *scores, size_t images, size_t stride,
                               kh_truth_mean *out);
/* Mean of several neurons' means; images and silent are sums. */
KH_API void kh_lens_truth_mean_of(const kh_truth_mean *means, size_t count, kh_truth_mean *out);

/* ---- which neurons ------------------------------------------------------------------------- */

/* For every class the neurons to look at, as the global list of a ranking that kh_lens_look takes:
 *
 *     [0, topk)           the class's first ranks
 *     then draws          random neurons of rank 0's block, none of the topk, all different
 *     then blocks         the class's best neuron of each block
 *     then classes        every class's rank 0, for who fires on whose pictures
 *
 * The first `scored` of them are compared with masks. */
typedef struct kh_truth_plan {
    size_t topk, draws, blocks, classes;
    size_t scored; /* topk + draws + blocks */
    size_t count;  /* scored + classes */
    kh_ranking neurons;
} kh_truth_plan;

/* The draws of class c depend on seed and c alone. Errors: KH_E_ARG topk is 0 or above the
 * ranking's k, or too few neurons in a block for the draws; KH_E_MEMORY. Pair: kh_truth_plan_clear.
 */
KH_API kh_status kh_lens_truth_plan(const kh_ranking *ranking, size_t topk, size_t draws,
                                    uint64_t seed, kh_truth_plan *out, kh_error *err);
KH_API void kh_truth_plan_clear(kh_truth_plan *plan);

/* ---- what it says about a class ------------------------------------------------------------ */

typedef struct kh_truth_class {
    const kh_truth_mean *rank, *draw, *block; /* [topk], [draws], [blocks] in the caller's means */
    kh_truth_mean random;                     /* mean of the draws */
    /* Rank with the largest mean, ties to the lower one; KH_NO_CLASS when no image shows the
     * object. */
    size_t best_iou, best_pointing;
    size_t draws_below; /* random neurons with a smaller mean IoU than rank 0 */
} kh_truth_class;

/* scores [images, plan->scored] of the class's own pictures; means [plan->scored] is filled, and
 * out points into it. */
KH_API void kh_lens_truth_class(const kh_truth_plan *plan, const kh_truth_score *scores,
                                size_t images, kh_truth_mean *means, kh_truth_class *out);

/* Does a class's neuron fire more on its own class's pictures? peaks [images, classes]: largest
 * coefficient of class c's neuron on each picture. */
typedef struct kh_truth_selectivity {
    double own, other; /* mean peak on the class's pictures and on all others */
    double auroc;      /* of the peaks for the class's pictures; NaN without others */
} kh_truth_selectivity;

/* class_index [images]; out [classes]. Errors: KH_E_NUMERIC, KH_E_MEMORY. */
KH_API kh_status kh_lens_truth_selectivity(const float *peaks, const size_t *class_index,
                                           size_t images, size_t classes, kh_truth_selectivity *out,
                                           kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
