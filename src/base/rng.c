#include "base/rng.h"

#include <math.h>

/* SplitMix64 output function (Steele, Lea, Flood 2014) over key + counter. */
static uint64_t mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

kh_rng kh_rng_make(uint64_t seed, uint64_t stream) {
    const kh_rng rng = {mix64(seed + 0x9E3779B97F4A7C15u) ^ mix64(~stream), 0};
    return rng;
}

uint64_t kh_rng_u64(kh_rng *rng) {
    rng->counter += 1;
    return mix64(rng->key + rng->counter * 0x9E3779B97F4A7C15u);
}

double kh_rng_unit(kh_rng *rng) {
    return (double)(kh_rng_u64(rng) >> 11) * 0x1p-53;
}

double kh_rng_normal(kh_rng *rng) {
    /* Box-Muller, one of the pair, so that every call uses exactly two numbers */
    const double u = 1.0 - kh_rng_unit(rng);
    const double v = kh_rng_unit(rng);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v);
}

size_t kh_rng_below(kh_rng *rng, size_t limit) {
    const uint64_t n = limit;
    const uint64_t reject_below = (0 - n) % n; /* 2^64 mod n */
    uint64_t x;
    do {
        x = kh_rng_u64(rng);
    } while (x < reject_below);
    return (size_t)(x % n);
}

uint32_t kh_hash_name(const char *name) {
    uint32_t hash = 0x811C9DC5u;
    for (const char *p = name; *p; p++)
        hash = (hash ^ (uint32_t)(unsigned char)*p) * 0x01000193u;
    return hash;
}

double kh_mix_unit(uint32_t name_hash, uint32_t index) {
    uint32_t z = (index + 1u) * 0x9E3779B1u + name_hash;
    z ^= z >> 15;
    z *= 0x2C1B3C6Du;
    z ^= z >> 12;
    z *= 0x297A2D39u;
    z ^= z >> 15;
    return 2.0 * (double)z / 4294967296.0 - 1.0;
}
