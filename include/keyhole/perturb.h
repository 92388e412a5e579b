/* keyhole/perturb.h: what a model still recognises when its attention is cut or tokens are taken
 * away, and maps of which tokens matter (Vilas et al. 2023).
 *
 * Formulas and what the numbers cannot tell: docs/analyses/perturb.md. */
#ifndef KEYHOLE_PERTURB_H
#define KEYHOLE_PERTURB_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/io.h"
#include "keyhole/vit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- maps ------------------------------------------------------------------------------------ */

/* How much the class token's attention to each patch speaks for a class, one image: with l_b the
 * cross entropy of class c when the classifier reads block b's attention output at the class token,
 *
 *     importance[t] = - sum over blocks and heads of dl_b / dA_b[head, class token, t]
 *
 * double_softmax: the cross entropy takes a softmax of a softmax, as the published code does. */
typedef struct kh_gradient_map kh_gradient_map;
/* Reads the weights it needs and makes a pass for batches of max_batch. Errors: KH_E_UNSUPPORTED
 * models that do not classify by the class token alone, or with norms behind attention. Pair:
 * kh_gradient_map_free. */
KH_API kh_status kh_gradient_map_create(kh_ctx *ctx, const kh_model *model, size_t max_batch,
                                        bool double_softmax, kh_gradient_map **out, kh_error *err);
KH_API void kh_gradient_map_free(kh_gradient_map *map);
/* images [count, 3, height, width] normalised, classes [count]; out [count, patches]. Errors:
 * KH_E_ARG, KH_E_NUMERIC. */
KH_API kh_status kh_gradient_map_run(kh_gradient_map *map, const float *images, size_t count,
                                     const size_t *classes, float *out, kh_error *err);

/* Relevance of patches for a class through all blocks, one image (Chefer et al. 2021, generic
 * attention explainability): with R the identity at first, and from the first block to the last
 *
 *     R <- R + mean over heads of max(0, A_b * dz_c/dA_b) R        (* element by element)
 *
 * the class token's row of R at each patch. A_b [heads, tokens, tokens] are the attention patterns,
 * z_c the logit of class c. */
typedef struct kh_relevance kh_relevance;
/* Makes a pass for batches of max_batch, forwards and backwards; the model must be prepared for
 * gradients up to the last block. Errors: KH_E_UNSUPPORTED models that do not classify by the class
 * token alone; KH_E_ARG not prepared. Pair: kh_relevance_free. */
KH_API kh_status kh_relevance_create(kh_ctx *ctx, const kh_model *model, size_t max_batch,
                                     kh_relevance **out, kh_error *err);
KH_API void kh_relevance_free(kh_relevance *relevance);
/* As kh_gradient_map_run. */
KH_API kh_status kh_relevance_run(kh_relevance *relevance, const float *images, size_t count,
                                  const size_t *classes, float *out, kh_error *err);

/* Which pixels wake a key neuron where its block speaks most for a class: the gradient of
 *
 *     sum over n < 3 of 0.5^n a_j(t_n),   t_n: patches by decreasing logit of the class when the
 *                                         classifier reads the block's MLP output
 *
 * with respect to the input, clipped to [0, 1], averaged over each patch, as grey (0.299, 0.587,
 * 0.114), brought to [0, 1]. One image; out [patches]. The model must be prepared for gradients up
 * to the neuron's block. */
KH_API kh_status kh_lens_neuron_gradient(kh_ctx *ctx, const kh_model *model, kh_neuron neuron,
                                         size_t class_index, const float *image, float *out,
                                         kh_error *err);

/* ---- the study ------------------------------------------------------------------------------- */

typedef struct kh_perturb_options {
    const kh_label_set *label_set; /* NULL: no token is known to show the class or its context */
    bool by_majority;    /* a token's label is that of most of its pixels, not of its first */
    bool single_softmax; /* gradient maps without the published code's second softmax */
    size_t steps;        /* of removal; 12; 0: none; at most the patches */
    size_t random;       /* orders drawn at random; 10 */
    uint64_t seed;
    size_t batch;          /* images, or variants of images, per pass; 8 */
    bool neuron_gradients; /* also of each image's class's best aligned neuron */
    bool no_relevance;     /* nor curves in the order of relevance; saves a pass backwards */
    const kh_decode_options *decode;
    /* Sees every image with its maps: gradient [patches], neuron [patches] or NULL, relevance
     * [patches] or NULL. */
    void (*see)(void *user, size_t image, const float *gradient, const float *neuron,
                const float *relevance);
    void *see_user;
    kh_progress_fn progress; /* "images" */
    void *progress_user;
    /* Hears of every image that cannot be read and is left out, and why; NULL: `warn` does. */
    void (*broken)(void *user, size_t image, const char *reason);
    /* And of every one whose label map cannot be read: as if it had none. NULL: `warn` does. */
    void (*broken_map)(void *user, size_t image, const char *reason);
    void *broken_user;
    kh_warn_fn warn;
    void *warn_user;
} kh_perturb_options;
KH_API kh_perturb_options kh_perturb_options_default(void);

/* self_only: patches attend to themselves alone, in every block. no_cls: patches do not attend to
 * the class token, the rest is not renormalised. no_context: only tokens that show the class are
 * left (and the prefix). no_class: only the others. */
typedef struct kh_perturb_row {
    const char *kind;
    uint64_t images, hits, base_hits;                 /* base: undisturbed, on the same images */
    uint64_t tokens, identifiable, base_identifiable; /* patches, and those of the last block that
                                                         the classifier reads as the class */
} kh_perturb_row;

/* One point of a curve: patches removed in the order of a map ("gradient", "neuron": the map of the
 * class's best aligned neuron, or "relevance"), most important first ("positive") or last
 * ("negative"); or in an order drawn at random ("random"). */
typedef struct kh_removal_point {
    size_t removed;
    uint64_t hits;
    uint64_t fewest, most; /* random: hits of one order over all images; else hits */
    double margin;         /* mean of z_c less the best other logit */
} kh_removal_point;
typedef struct kh_removal_curve {
    const char *method, *sign;
    uint64_t images; /* random: times the number of orders */
    kh_removal_point *points;
    double auc;           /* trapezoid of accuracy over the share removed, 0 to 1 */
    double auc_base;      /* the same, over the accuracy with nothing removed */
    double auc_published; /* sum of accuracies with 1 .. T-1 patches left over (largest T); NaN
                             unless every number of patches was tried */
} kh_removal_curve;

typedef struct kh_perturbation {
    size_t images, broken, labelled, with_maps; /* seen; unreadable; of known class; of those with
                                                   tokens that show it */
    size_t broken_maps;                         /* whose label map cannot be read */
    size_t row_count, curve_count, point_count;
    kh_perturb_row rows[4];
    kh_removal_curve curves[7]; /* random last */
    kh_removal_point *points;   /* of all curves */
} kh_perturbation;

/* Every image of known class. Prepares the model for gradients, unless neither neuron_gradients nor
 * relevance is wanted. Errors:
 * KH_E_UNSUPPORTED as kh_gradient_map_create; KH_E_NOT_FOUND no image has a class, or none has
 * label maps; KH_E_FORMAT of these maps none can be read; KH_E_STOPPED. Pair:
 * kh_perturbation_clear. */
KH_API kh_status kh_lens_perturb(kh_ctx *ctx, kh_model *model, const kh_source *source,
                                 const kh_perturb_options *options, kh_perturbation *out,
                                 kh_error *err);
KH_API void kh_perturbation_clear(kh_perturbation *perturbation);

#ifdef __cplusplus
}
#endif
#endif
