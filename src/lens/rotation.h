/* lens/rotation.h: directions that mean nothing: some units of a block's neurons turned at random.
 *
 * Network Dissection asks whether single neurons are special by rotating the basis they form. The
 * rows of a random rotation Q are orthonormal and each is uniform on the sphere, so a
 * few rows (an eighth of the neurons, at most KH_ROTATED) are as good a sample as all of them. */
#ifndef KH_LENS_ROTATION_H
#define KH_LENS_ROTATION_H

#include "lens/lens.h"

enum { KH_ROTATED = 64 };

typedef struct kh_rotation {
    size_t blocks, neurons, units; /* units of a block: kh_rotation_units */
    float *q;                      /* [blocks, neurons, units] */
} kh_rotation;

/* How many rotated units a block of such a model has. */
size_t kh_rotation_units(const kh_model_info *info);
/* The same for every process of one seed. Errors: KH_E_MEMORY. Pair: kh_rotation_clear. */
kh_status kh_rotation_init(kh_rotation *rotation, const kh_model_info *info, uint64_t seed,
                           kh_error *err);
void kh_rotation_clear(kh_rotation *rotation);

/* rows [count, neurons] of a block's coefficients -> out [count, units], each row by itself. */
void kh_rotation_apply(const kh_rotation *rotation, size_t block, const float *rows, size_t count,
                       float *out);

/* Two sketches (stream.h) for values of either sign: above holds values and everything within
 * 2^-13 of 0, below the magnitudes of negative ones. */
void kh_signed_count(uint32_t *above, uint32_t *below, float value);
/* The value at 1-based rank ceil(q n), within 0.4 % of itself; NaN for none. */
double kh_signed_quantile(const uint32_t *above, const uint32_t *below, double q, float max);

#endif
