/* keyhole/claims.h: when does a number say what the report says? Verdicts as pure functions of
 * numbers, and the few statistics they need.
 *
 * The rules, and why their bars lie where they do: docs/analyses/claims.md. */
#ifndef KEYHOLE_CLAIMS_H
#define KEYHOLE_CLAIMS_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/lens.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kh_verdict {
    KH_VERDICT_UNTESTED, /* a number is missing */
    KH_VERDICT_REPRODUCED,
    KH_VERDICT_MIXED,
    KH_VERDICT_NOT
} kh_verdict;

/* "cannot be tested", "reproduced", "mixed", "not reproduced" */
KH_API const char *kh_verdict_name(kh_verdict verdict);

/* ---- statistics ------------------------------------------------------------------------------ */

/* Wilson's 95 % interval of a share hits / count; all NaN for count = 0. */
KH_API kh_band kh_lens_wilson(size_t hits, size_t count);
/* The same for a share that is a mean over `count` independent things, of shares perhaps. */
KH_API kh_band kh_lens_wilson_share(double share, size_t count);

/* Mean of a minus mean of b, with the percentile bootstrap's 95 % interval (each group drawn with
 * replacement by itself) and p of 10 000 permutations of the labels: (1 + #{|d'| >= |d|}) / 10 001.
 * NaNs are left out. Errors: KH_E_ARG an empty group; KH_E_MEMORY. */
KH_API kh_status kh_lens_difference(const double *a, size_t a_count, const double *b,
                                    size_t b_count, uint64_t seed, kh_band *out, double *p,
                                    kh_error *err);

/* Spearman's rank correlation; equal values share their mean rank. Pairs with a NaN are left out;
 * NaN when one side is constant. O(count^2). */
KH_API double kh_lens_spearman(const double *a, const double *b, size_t count);

/* Share that the `top` largest of `count` independent exponential numbers hold of their sum:
 * (top / count) (1 + ln(count / top)). 1 when top >= count. */
KH_API double kh_lens_exponential_share(size_t top, size_t count);

/* IoU that a mask of this share of the pixels has with an object of that share by chance. */
KH_API double kh_lens_chance_iou(double mask, double object);

/* Bright dots: patches above half of the map's maximum (which must be above 0) whose neighbours,
 * eight or fewer at the border, are all below a quarter of it. on_object [patches] not 0: not
 * counted there; may be NULL. */
KH_API size_t kh_lens_map_dots(const float *map, kh_grid grid, const uint8_t *on_object);

/* Largest difference in levels (of 255) between the map scaled to [0, 1] in float, as heatmaps are,
 * and in double. */
KH_API size_t kh_lens_map_rounding(const float *map, size_t patches);

/* The first of the later blocks: the last third, at least one block. */
KH_API size_t kh_claim_later(size_t blocks);

/* An interval over fewer things (classes, images) than this says nothing: all of five lie on one
 * side of chance by chance alone in 1 of 32 cases, of six in 1 of 64, which is within the 2.5 %
 * that a 95 % interval leaves on that side. A bootstrap of one thing even has no width. */
enum { KH_CLAIM_FEWEST = 6 };
/* The band; without its interval when it is one over fewer than KH_CLAIM_FEWEST things, so that no
 * rule takes it. */
KH_API kh_band kh_claim_enough(kh_band band, size_t things);

/* ---- the rules ------------------------------------------------------------------------------- */

/* Above chance (interval's lower end > chance): reproduced when value >= bar, else mixed. Not above
 * chance: not reproduced. NaN: untested. */
KH_API kh_verdict kh_claim_above(kh_band value, double chance, double bar);
/* A claim of two parts. One that is untested leaves the other's verdict. */
KH_API kh_verdict kh_claim_both(kh_verdict one, kh_verdict other);

/* classes [blocks]: classes whose best aligned neuron is in that block. share may be NULL. */
KH_API kh_verdict kh_claim_c1(const size_t *classes, size_t blocks, kh_band *share);
KH_API kh_verdict kh_claim_c2(const size_t *classes, size_t blocks, kh_band *share);
/* accuracy of `early` classes minus that of `others` */
KH_API kh_verdict kh_claim_c3(kh_band difference, double p, size_t early, size_t others);
/* strongest: later over earlier blocks; all: the same of the mean over all neurons */
KH_API kh_verdict kh_claim_c4(kh_band strongest, double all);
KH_API kh_verdict kh_claim_c5(kh_band share_of_ten, size_t neurons);
KH_API kh_verdict kh_claim_c6(kh_band jaccard_difference);
/* tench_dogs, tench_fireboat: distances, NaN where these classes are not compared */
KH_API kh_verdict kh_claim_c7(kh_band nearer, double tench_fireboat, double tench_dogs);
/* fireboat_one, _three: its mean distance over all pairs' mean; NaN as above */
KH_API kh_verdict kh_claim_c8(kh_band correlation, double fireboat_one, double fireboat_three);
KH_API kh_verdict kh_claim_c9(kh_band earlier, kh_band later, double chance);
KH_API kh_verdict kh_claim_c10(kh_band first_beats_second, kh_band tenth_beats_first);
KH_API kh_verdict kh_claim_c11(kh_band relative_gap);
KH_API kh_verdict kh_claim_c12(kh_band reads_subject);
KH_API kh_verdict kh_claim_c13(kh_band maps_with_dots);
KH_API kh_verdict kh_claim_c14(kh_band share_of_ten, double share_of_random);
/* On ImageNet's validation set. share may be NULL. */
KH_API kh_verdict kh_claim_c15(size_t hits, size_t images, kh_band *share);
/* relatives of classes; failing classes that share their neuron, and the share of the others that
 * do; sharing: all classes that do. */
KH_API kh_verdict kh_claim_c16(size_t relatives, size_t classes, kh_band failures, double others,
                               size_t sharing);
/* several: share of classes that need two or more neurons; first_alone: share of the margin that
 * ablating the first neuron takes, NaN without an ablation */
KH_API kh_verdict kh_claim_c17(kh_band several, double first_alone);

/* ---- published numbers ----------------------------------------------------------------------- */

/* The neurons of a block that speak most for a class, as the sources' tutorial prints them: class
 * embeddings divided by the norm of each *column* (over classes), value vectors of length 1,
 * products in double. classes [count]; out [count, k]. Errors: KH_E_ARG, KH_E_UNSUPPORTED no plain
 * head, KH_E_MEMORY. */
KH_API kh_status kh_lens_column_ranking(const kh_model *model, size_t block, const size_t *classes,
                                        size_t count, size_t k, kh_ranked *out, kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
