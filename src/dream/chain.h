/* dream/chain.h: from the painted image to what the model sees, and back: the random transforms of
 * one view. */
#ifndef KH_DREAM_CHAIN_H
#define KH_DREAM_CHAIN_H

#include "base/rng.h"
#include "dream/warp.h"
#include "keyhole/dream.h"

/* The draws of one view. Tests and recordings fill it by hand. */
typedef struct kh_draw {
    ptrdiff_t dx, dy;   /* first jitter */
    size_t scale;       /* 0..10 */
    double angle;       /* degrees */
    ptrdiff_t dx2, dy2; /* second jitter */
    size_t roll_x, roll_y;
    double crop_x, crop_y, crop_side; /* left, top and side as shares of the image */
    double mean[3], gain[3];          /* colour shift: (x - mean) * gain */
    double scalar[3];                 /* noise_is_scalar: N(0, 1) per channel */
} kh_draw;

enum { KH_CHAIN_MAX = 8, KH_CHAIN_SCALES = 11 };

typedef struct kh_chain {
    kh_warp ops[KH_CHAIN_MAX];
    size_t count;
} kh_chain;

/* shared: draws all views of a dream have in common at this step; own: those of one view. Each view
 * of a kind that differs between views uses its own stream. */
void kh_draw_make(const kh_dream_settings *s, size_t model_side, kh_rng *shared, kh_rng *own,
                  kh_draw *out);

void kh_chain_make(const kh_dream_settings *s, size_t size, size_t model_side, const kh_draw *draw,
                   kh_chain *out);

/* Bytes of scratch enough for every draw of these settings. */
size_t kh_chain_scratch(const kh_dream_settings *s, size_t size, size_t model_side);

/* in [size, size] -> out [model_side, model_side], one channel. */
void kh_chain_apply(const kh_chain *chain, const kh_real *in, kh_real *out, void *scratch);
/* out += the transpose applied to g */
void kh_chain_back(const kh_chain *chain, const kh_real *g, kh_real *out, void *scratch);

#endif
