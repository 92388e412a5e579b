/* Transforms in the order the reference has them. Every random number is drawn whether the chain
 * uses it or not, so that settings that differ in one transform share the draws of the others. */
#include "dream/chain.h"

#include <math.h>
#include <string.h>

static ptrdiff_t jitter(const kh_dream_settings *s, size_t width, kh_rng *rng) {
    if (width == 0) return 0;
    if (s->chain == KH_CHAIN_CLEAN)
        return (ptrdiff_t)kh_rng_below(rng, width + 1) - (ptrdiff_t)(width / 2);
    return (ptrdiff_t)kh_rng_below(rng, width);
}

void kh_draw_make(const kh_dream_settings *s, size_t model_side, kh_rng *shared, kh_rng *own,
                  kh_draw *out) {
    *out = (kh_draw){.scale = KH_CHAIN_SCALES / 2, .gain = {1, 1, 1}};
    kh_rng *rng = s->chain == KH_CHAIN_CLEAN ? own : shared;
    out->dx = jitter(s, s->jitter, rng);
    out->dy = jitter(s, s->jitter, rng);
    out->scale = kh_rng_below(rng, KH_CHAIN_SCALES);
    const size_t angle = kh_rng_below(rng, 2 * s->max_angle + 6);
    out->angle = angle > 2 * s->max_angle ? 0.0 : (double)angle - (double)s->max_angle;
    out->dx2 = jitter(s, s->second_jitter, rng);
    out->dy2 = jitter(s, s->second_jitter, rng);
    const size_t rolls = 2 * s->roll + 1;
    out->roll_x = (kh_rng_below(shared, rolls) + rolls * model_side - s->roll) % model_side;
    out->roll_y = (kh_rng_below(shared, rolls) + rolls * model_side - s->roll) % model_side;
    const double cx = 0.5 + s->crop_spread * kh_rng_normal(own);
    const double cy = 0.5 + s->crop_spread * kh_rng_normal(own);
    out->crop_side = s->crop_low + (s->crop_high - s->crop_low) * kh_rng_unit(own);
    out->crop_x = cx - 0.5 * out->crop_side;
    out->crop_y = cy - 0.5 * out->crop_side;
    for (size_t c = 0; c < 3; c++) {
        out->mean[c] = s->colour_shift * (2 * kh_rng_unit(own) - 1);
        out->gain[c] = exp(-s->colour_shift * (2 * kh_rng_unit(own) - 1));
        out->scalar[c] = kh_rng_normal(own);
    }
}

static size_t add(kh_chain *chain, kh_warp op) {
    chain->ops[chain->count++] = op;
    return op.to;
}

/* Draws are counted from the middle: 5 is scale 1. */
static double scale_of(const kh_dream_settings *s, size_t draw) {
    return s->max_scale > 0 ? 1.0 + ((double)draw - 5.0) / (5.0 / s->max_scale) : 1.0;
}

static size_t jittered(const kh_dream_settings *s, kh_chain *chain, size_t side, ptrdiff_t dx,
                       ptrdiff_t dy, kh_real fill) {
    if (dx == 0 && dy == 0) return side;
    return add(chain, s->jitter_is_fractional ? kh_warp_slide(side, (double)dx, (double)dy, fill)
                                              : kh_warp_place(side, side, dx, dy, fill));
}

static size_t scaled(const kh_dream_settings *s, kh_chain *chain, size_t side, size_t draw,
                     kh_real fill) {
    const size_t to = (size_t)ceil(scale_of(s, draw) * (double)side);
    if (to != side) (void)add(chain, kh_warp_resize(side, to));
    if (to < side) {
        const size_t border = (side - to + 1) / 2;
        if (s->chain == KH_CHAIN_REFERENCE)
            return add(chain, kh_warp_place(to, to + 2 * border, (ptrdiff_t)border,
                                            (ptrdiff_t)border, fill));
        return add(chain, kh_warp_place(to, side, (ptrdiff_t)border, (ptrdiff_t)border, fill));
    }
    if (to > side && s->chain == KH_CHAIN_CLEAN) {
        const ptrdiff_t cut = (ptrdiff_t)((to - side) / 2);
        return add(chain, kh_warp_place(to, side, -cut, -cut, fill));
    }
    return to;
}

void kh_chain_make(const kh_dream_settings *s, size_t size, size_t model_side, const kh_draw *draw,
                   kh_chain *out) {
    const bool lucent = s->chain == KH_CHAIN_REFERENCE || s->chain == KH_CHAIN_CLEAN;
    const kh_real fill = s->chain == KH_CHAIN_CLEAN ? (kh_real)0.5 : 0;
    size_t side = size;
    out->count = 0;
    if (lucent && s->pad > 0)
        side = add(out, kh_warp_place(side, side + 2 * s->pad, (ptrdiff_t)s->pad, (ptrdiff_t)s->pad,
                                      (kh_real)0.5));
    if (lucent) {
        side = jittered(s, out, side, draw->dx, draw->dy, fill);
        side = scaled(s, out, side, draw->scale, fill);
        if (draw->angle != 0) side = add(out, kh_warp_rotate(side, draw->angle, fill));
        side = jittered(s, out, side, draw->dx2, draw->dy2, fill);
    }
    if (s->chain == KH_CHAIN_CROPS)
        side = add(out, kh_warp_crop(side, model_side, draw->crop_x * (double)side,
                                     draw->crop_y * (double)side, draw->crop_side * (double)side));
    if (side != model_side || out->count == 0) side = add(out, kh_warp_resize(side, model_side));
    if (s->chain == KH_CHAIN_ROLL && s->roll > 0)
        (void)add(out, kh_warp_roll(side, draw->roll_x, draw->roll_y));
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static size_t round_up(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

static size_t longest_side(const kh_dream_settings *s, size_t size, size_t model_side) {
    const double padded = (double)(size + 2 * s->pad);
    return larger((size_t)ceil((1 + s->max_scale) * padded) + 2, model_side);
}

size_t kh_chain_scratch(const kh_dream_settings *s, size_t size, size_t model_side) {
    const size_t side = longest_side(s, size, model_side);
    const kh_warp resize = kh_warp_resize(side, side + 1);
    const kh_warp crop = kh_warp_crop(side, model_side, 0, 0, s->crop_high * (double)side);
    return 2 * round_up(side * side * sizeof(kh_real)) +
           larger(kh_warp_scratch(&resize), kh_warp_scratch(&crop));
}

/* Two planes in turn, and what single operations need behind them. */
typedef struct workspace {
    kh_real *planes[2];
    void *rest;
} workspace;

static workspace divide(const kh_chain *chain, void *scratch) {
    size_t side = 0;
    for (size_t i = 0; i < chain->count; i++)
        side = larger(side, larger(chain->ops[i].from, chain->ops[i].to));
    kh_real *first = scratch;
    kh_real *second = first + round_up(side * side * sizeof(kh_real)) / sizeof(kh_real);
    return (workspace){{first, second},
                       second + round_up(side * side * sizeof(kh_real)) / sizeof(kh_real)};
}

void kh_chain_apply(const kh_chain *chain, const kh_real *in, kh_real *out, void *scratch) {
    const workspace w = divide(chain, scratch);
    for (size_t i = 0; i < chain->count; i++) {
        kh_real *to = i + 1 == chain->count ? out : w.planes[i % 2];
        kh_warp_apply(&chain->ops[i], in, to, w.rest);
        in = to;
    }
}

void kh_chain_back(const kh_chain *chain, const kh_real *g, kh_real *out, void *scratch) {
    const workspace w = divide(chain, scratch);
    for (size_t i = chain->count; i-- > 0;) {
        kh_real *to = w.planes[i % 2];
        kh_warp_back(&chain->ops[i], g, to, w.rest);
        g = to;
    }
    const size_t count = chain->ops[0].from * chain->ops[0].from;
    for (size_t i = 0; i < count; i++)
        out[i] += g[i];
}
