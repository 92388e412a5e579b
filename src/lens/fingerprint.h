/* lens/fingerprint.h: 64 bits of an image that near duplicates share. */
#ifndef KH_LENS_FINGERPRINT_H
#define KH_LENS_FINGERPRINT_H

#include "keyhole/io.h"

/* Difference hash: grey means of 9 x 8 cells, one bit for each pair of neighbours in a row (is the
 * right one brighter). tensor [3, height, width] is undone with the mean and std of `how`. */
uint64_t kh_fingerprint(const float *tensor, size_t height, size_t width, const kh_preprocess *how);

/* Bits that differ. */
static inline unsigned kh_fingerprint_distance(uint64_t a, uint64_t b) {
    return (unsigned)__builtin_popcountll(a ^ b);
}

/* Images this close count as one picture. */
enum { KH_NEAR_DUPLICATE_BITS = 3 };

/* [images] of a state of the lens "images". */
const uint64_t *kh_lens_fingerprints(const void *images_state);

#endif
