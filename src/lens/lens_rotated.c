/* Lens "rotated": thresholds of directions turned at random, so that the lens "dissect" can count
 * how many detectors there are when units mean nothing. */
#include "lens/lens.h"
#include "lens/rotation.h"

#include "base/alloc.h"

#include <math.h>

typedef struct state {
    const kh_lens_setup *setup;
    kh_rotation rotation;
    size_t units;            /* of all blocks */
    uint64_t *images;        /* [1] */
    uint32_t *above, *below; /* [units, KH_SKETCH_BINS] */
    float *max, *min;        /* [units] */
    float *turned;           /* [blocks, patches, units of a block] of the image at hand */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_rotation_clear(&s->rotation);
    void *const all[] = {s->images, s->above, s->below, s->max, s->min, s->turned};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    bool ok = s != NULL;
    *out = NULL;
    if (s) {
        const size_t each = kh_rotation_units(setup->info);
        s->setup = setup;
        s->units = setup->info->blocks * each;
        s->images = kh_calloc(1, sizeof *s->images);
        s->above = kh_calloc(s->units * KH_SKETCH_BINS, sizeof *s->above);
        s->below = kh_calloc(s->units * KH_SKETCH_BINS, sizeof *s->below);
        s->max = kh_calloc(s->units, sizeof *s->max);
        s->min = kh_calloc(s->units, sizeof *s->min);
        s->turned = kh_alloc_floats(s->units * setup->patches);
        ok = s->images && s->above && s->below && s->max && s->min && s->turned;
    }
    kh_status status = ok ? kh_rotation_init(&s->rotation, setup->info, setup->seed, err)
                          : kh_fail(err, KH_E_MEMORY, "no memory for rotated units");
    if (status)
        free_state(s);
    else
        *out = s;
    return status;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t u = s->units;
    p[0] = (kh_piece){"rotated.images", KH_PIECE_SUM_U64, s->images, 1, 0};
    p[1] = (kh_piece){"rotated.above", KH_PIECE_SUM_U32, s->above, u * KH_SKETCH_BINS, 0};
    p[2] = (kh_piece){"rotated.below", KH_PIECE_SUM_U32, s->below, u * KH_SKETCH_BINS, 0};
    p[3] = (kh_piece){"rotated.max", KH_PIECE_MAX_F32, s->max, u, 0};
    p[4] = (kh_piece){"rotated.min", KH_PIECE_MIN_F32, s->min, u, 0};
    return 5;
}

static bool see(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    const size_t each = s->rotation.units, patches = s->setup->patches;
    const float *rows =
        batch->site[KH_SITE_POST][block] + (i * info->tokens + info->prefix_tokens) * info->neurons;
    float *turned = s->turned + block * patches * each;
    bool ok = true;
    kh_rotation_apply(&s->rotation, block, rows, patches, turned);
    for (size_t r = 0; r < each; r++) {
        const size_t u = block * each + r;
        for (size_t t = 0; t < patches; t++) {
            const float v = turned[t * each + r];
            ok &= isfinite(v) != 0;
            if (v > s->max[u]) s->max[u] = v;
            if (v < s->min[u]) s->min[u] = v;
            kh_signed_count(s->above + u * KH_SKETCH_BINS, s->below + u * KH_SKETCH_BINS, v);
        }
    }
    return ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    s->images[0] += batch->count;
    return kh_lens_by_block(s->setup, batch, see, s, "a rotated unit", err);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    const size_t each = s->rotation.units, shape[2] = {s->setup->info->blocks, each};
    float *threshold = kh_alloc_floats(s->units);
    if (!threshold) return kh_fail(err, KH_E_MEMORY, "no memory for rotated units");
    out->table(out->user, "rotated", "block:i unit:i n:i min:r max:r threshold:r");
    for (size_t u = 0; u < s->units; u++) {
        const double t =
            kh_signed_quantile(s->above + u * KH_SKETCH_BINS, s->below + u * KH_SKETCH_BINS,
                               s->setup->quantile, s->max[u]);
        threshold[u] = (float)t;
        out->integer(out->user, (int64_t)(u / each));
        out->integer(out->user, (int64_t)(u % each));
        out->integer(out->user, (int64_t)(s->images[0] * s->setup->patches));
        out->real(out->user, s->images[0] ? (double)s->min[u] : (double)NAN);
        out->real(out->user, s->images[0] ? (double)s->max[u] : (double)NAN);
        out->real(out->user, t);
        out->row(out->user);
    }
    out->array(out->user, "rotated_thresholds", KH_OUT_F32, shape, 2, threshold,
               "value exceeded by the dissection share of patches, by block and rotated unit");
    kh_free(threshold);
    return KH_OK;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    const size_t units = setup->info->blocks * kh_rotation_units(setup->info);
    kh_lens_size_add(out, units, 3, 3, 0);
    out->array_bytes += 4 * units;
}

const kh_lens_kind kh_kind_rotated = {
    .name = "rotated",
    .version = 1,
    .sites = 1u << KH_SITE_POST,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
    .arrays = {"rotated_thresholds"},
};
