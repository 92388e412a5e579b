/* dream/canvas.h: how parameters become an image, and how its gradient becomes theirs.
 *
 * One image is [3, n, n] and has 3 * kh_canvas_count parameters. Work is cut by channel, so that
 * threads can share a single image; what needs all channels lies between. Forward: begin, channel
 * x 3, finish. Backward: back_pixels, back_channel x 3, back_end. */
#ifndef KH_DREAM_CANVAS_H
#define KH_DREAM_CANVAS_H

#include "dream/spectrum.h"
#include "keyhole/dream.h"

typedef struct kh_canvas {
    kh_dream_settings settings;
    size_t size;
    size_t count;          /* parameters per channel */
    kh_spectrum *spectrum; /* NULL for pixels */
    kh_real *scale;        /* [n, columns] in front of the transform, NULL: 1 */
    kh_real *back_scale;   /* [n, columns] behind its adjoint, NULL: 1 */
    kh_real *magnitude;    /* [3, n, columns], KH_PAINT_MACO */
    kh_real gain;          /* of the transform */
    kh_real matrix[9];     /* colour */
} kh_canvas;

/* Means and deviations one image needs on its way back. */
typedef struct kh_canvas_moments {
    double mean, mean_i; /* mean_i: of imaginary parts */
    double sd;           /* unbiased, without the 1e-4 that is added to it */
} kh_canvas_moments;

typedef struct kh_canvas_state {
    kh_canvas_moments parameters, planes;
} kh_canvas_state;

/* The decorrelating matrix [3, 3], rows R, G, B, largest column norm 1, and its inverse. */
void kh_canvas_colours(kh_real matrix[9]);
void kh_canvas_colours_inverse(double inverse[9]);

/* settings->size is final here. magnitude may be NULL. is_accent: parameters are the spectrum of a
 * photo, unscaled forwards. */
kh_status kh_canvas_init(kh_canvas *c, const kh_dream_settings *settings, const kh_real *magnitude,
                         bool is_accent, kh_error *err);
void kh_canvas_clear(kh_canvas *c);

size_t kh_canvas_scratch(const kh_canvas *c); /* floats a channel needs */

void kh_canvas_begin(const kh_canvas *c, const kh_real *theta, kh_canvas_state *state);
/* theta: of the whole image; x [n, n] of this channel. */
void kh_canvas_channel(const kh_canvas *c, const kh_canvas_state *state, const kh_real *theta,
                       size_t channel, kh_real *x, kh_real *scratch);
/* x [3, n, n] -> image [3, n, n]; x is standardised in place where the canvas does that. */
void kh_canvas_finish(const kh_canvas *c, kh_canvas_state *state, kh_real *x, kh_real *image);

/* g [3, n, n]: gradient of the image; becomes that of the planes. */
void kh_canvas_back_pixels(const kh_canvas *c, const kh_canvas_state *state, const kh_real *x,
                           const kh_real *image, kh_real *g);
/* g [n, n] of this channel -> dtheta of this channel. */
void kh_canvas_back_channel(const kh_canvas *c, const kh_canvas_state *state, const kh_real *theta,
                            size_t channel, const kh_real *g, kh_real *dtheta, kh_real *scratch);
void kh_canvas_back_end(const kh_canvas *c, const kh_canvas_state *state, const kh_real *theta,
                        kh_real *dtheta);

/* Parameters whose image is this photo [3, n, n] in [0, 1] (stretched to that range first). */
kh_status kh_canvas_from_photo(const kh_canvas *c, const kh_real *photo, kh_real *theta,
                               kh_error *err);

/* The fitted natural magnitude spectrum [3, n, columns]. */
void kh_canvas_natural(size_t size, kh_real *magnitude);

#endif
