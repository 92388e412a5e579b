/* base/rng.h: small counter-based random numbers; the same seed and position give the same number.
 */
#ifndef KH_BASE_RNG_H
#define KH_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct kh_rng {
    uint64_t key;
    uint64_t counter;
} kh_rng;

/* stream separates independent uses of one seed. */
kh_rng kh_rng_make(uint64_t seed, uint64_t stream);

uint64_t kh_rng_u64(kh_rng *rng);
double kh_rng_unit(kh_rng *rng);                /* [0, 1), 53 bits */
double kh_rng_normal(kh_rng *rng);              /* mean 0, variance 1 */
size_t kh_rng_below(kh_rng *rng, size_t limit); /* 0..limit-1, unbiased; limit > 0 */

/* Deterministic weights without any file: the value in [-1, 1) of element `index` (C order) of the
 * tensor called `name`, the same on every machine. */
uint32_t kh_hash_name(const char *name); /* FNV-1a, 32 bits */
double kh_mix_unit(uint32_t name_hash, uint32_t index);

#endif
