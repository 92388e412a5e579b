/* Weights without a file: the same on every machine, so that goldens of full-size models need not
 * be stored and every architecture can be tried. */
#include "base/rng.h"
#include "base/text.h"
#include "vit/load.h"

#include <math.h>
#include <string.h>

typedef struct spread {
    double offset, scale;
} spread;

/* value = offset + scale * u, u in [-1, 1); the first rule that fits */
static spread spread_of(const kh_parameter *p) {
    const char *name = p->name;
    if (p->rank == 1 && kh_ends_with(name, ".weight")) return (spread){1.0, 0.2}; /* norms */
    if (kh_ends_with(name, ".bias")) return (spread){0.0, 0.1};
    if (kh_ends_with(name, "gamma")) return (spread){0.0, 0.5};
    if (p->place == KH_PLACE_PREFIX || p->place == KH_PLACE_POS ||
        strcmp(name, "attn_pool.latent") == 0)
        return (spread){0.0, 0.5};
    return (spread){0.0, sqrt(3.0 / (double)(p->count / p->shape[0]))};
}

kh_status kh_random_fetch(void *user, size_t index, float *out, size_t count, kh_error *err) {
    (void)err;
    const kh_random_weights *weights = user;
    const kh_parameter *p = &weights->table->items[index];
    const uint64_t mixed = weights->seed * UINT64_C(0x9E3779B97F4A7C15);
    const uint32_t hash = kh_hash_name(p->name) ^ (uint32_t)(mixed >> 32) ^ (uint32_t)mixed;
    const spread s = spread_of(p);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(s.offset + s.scale * kh_mix_unit(hash, (uint32_t)i));
    return KH_OK;
}
