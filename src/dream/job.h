/* dream/job.h: a dream from the inside. */
#ifndef KH_DREAM_JOB_H
#define KH_DREAM_JOB_H

#include "dream/canvas.h"
#include "dream/chain.h"
#include "keyhole/dream.h"
#include "vit/sites.h"

/* One image: three blocks of 3 * canvas.count floats, and what its last rendering left. */
typedef struct kh_dream_image {
    float *theta, *m, *v, *gradient;
    float *planes; /* [3, n, n] behind the transform */
    float *pixels; /* [3, n, n] as painted */
    float *back;   /* [3, n, n] gradient of pixels, then of planes */
    float *alpha;  /* [n, n] or NULL: sum of |gradient of pixels| over channels */
    kh_canvas_state state;
    double extra_loss; /* regularisers of this image */
} kh_dream_image;

struct kh_dream {
    char name[64];
    kh_dream_settings settings;
    kh_dream_objective objective;
    kh_dream_term *terms;
    float **directions; /* [term_count] of [dim], owned */
    size_t dim;
    float *start; /* I0 of an accentuation, [3, n, n], or NULL */
    kh_canvas canvas;
    size_t images, views, model_side;
    kh_dream_image *image; /* [images] */
    kh_draw *draws;        /* [views] of the step being made */
    size_t steps_done;
    size_t first_view; /* place in the batch of the step being made */
    size_t top_block;
    double view_loss; /* of the step being made */
    kh_dream_stats stats;
    /* For recordings: draws given from outside instead of drawn. */
    const kh_draw *given;
    float mean[3], std[3]; /* what views are normalised with */
    bool is_photo;
};

/* Streams of random numbers, all of one dream's seed and name. */
enum {
    KH_STREAM_INIT,
    KH_STREAM_SHARED, /* transforms all views share */
    KH_STREAM_VIEW,   /* transforms of one view */
    KH_STREAM_NOISE
};

kh_rng kh_dream_stream(const kh_dream *d, unsigned purpose, size_t step, size_t index);

void kh_dream_draw(kh_dream *d); /* fills draws for the step to come */

const kh_model *kh_dreamer_model(const kh_dreamer *dreamer);

/* A step up to the gradients of the parameters, without the update: what tests look at. */
kh_status kh_dreamer_gradient(kh_dreamer *dreamer, kh_dream *const *dreams, size_t count,
                              kh_error *err);

/* What the last step showed the model: [views, 3, m, m] normalised. */
const float *kh_dreamer_inputs(const kh_dreamer *dreamer);

#endif
