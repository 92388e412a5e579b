/* lens/perturb.h: inside kh_lens_perturb. */
#ifndef KH_LENS_PERTURB_H
#define KH_LENS_PERTURB_H

#include "keyhole/perturb.h"
#include "lens/lens.h"
#include "lens/subject.h"

enum { KH_ALONE, KH_NO_CLASS_TOKEN, KH_NO_CONTEXT, KH_NO_SUBJECT, KH_DISTURBANCES };
/* at most: three maps in two directions, and random orders */
enum { KH_CURVES = 7 };

typedef struct kh_study {
    kh_ctx *ctx;
    kh_model *model;
    const kh_model_info *info;
    const kh_perturb_options *options;
    kh_lens_setup setup; /* for label maps */
    kh_subject_maps subjects;
    bool has_maps;
    size_t maps_read;
    kh_ranking ranking; /* ln */
    size_t patches, classes, pixels, floats;
    size_t steps; /* points of a curve less one */

    kh_pass *base;                  /* taps: embedded rows, last residual, neurons of each block */
    size_t *tap_of;                 /* [blocks] tap of its neurons, or SIZE_MAX */
    size_t **chosen, *chosen_count; /* [blocks] those neurons, ascending */
    kh_pass *disturbed[2];          /* KH_ALONE, KH_NO_CLASS_TOKEN; tap: last residual */
    kh_gradient_map *map;
    kh_relevance *relevance; /* NULL: not wanted */
    size_t ordered;          /* curves in the order of maps; the next one is random */

    /* the batch at hand */
    size_t count;
    float *images; /* [batch, 3, height, width] */
    size_t *ids, *truth;
    bool *is_known; /* [batch, patches] undisturbed, the classifier reads the class there */
    bool *is_hit;   /* [batch] undisturbed */
    double *margin; /* [batch] */
    float *gradient, *neuron, *relevant; /* [batch, patches] maps */
    float *logits;                       /* [patches, classes] scratch */
    float *rows;                       /* [batch, tokens, dim] scratch of passes over some tokens */
    uint16_t *labels;                  /* [pixels] */
    uint8_t *on_subject, *token_label; /* [pixels], [patches] */
    size_t *order;                     /* [batch, ordered + random, patches] */

    int64_t *margins;      /* [KH_CURVES, steps + 1] sums */
    uint64_t *random_hits; /* [random, steps + 1] */
    kh_perturbation *out;
} kh_study;

/* Patches of the last residual [patches, dim] that the classifier reads as the class. */
kh_status kh_study_known(kh_study *s, const float *rows, size_t patches, size_t truth, bool *out,
                         kh_error *err);
bool kh_study_is_hit(const float *logits, size_t classes, size_t truth);

/* Logit of the class less the best other one. */
double kh_study_margin(const float *logits, size_t classes, size_t truth);

/* Passes and memory; close also what a failed open left. */
kh_status kh_study_open(kh_study *s, const kh_source *source, kh_error *err);
void kh_study_close(kh_study *s);

/* Curves of the images at hand; maps are filled. */
kh_status kh_study_remove(kh_study *s, kh_error *err);
/* Areas under the curves. */
void kh_study_areas(const kh_study *s);

#endif
