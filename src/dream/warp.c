#include "dream/warp.h"

#include <math.h>
#include <string.h>

#include "dream/axis.h"

kh_warp kh_warp_place(size_t side, size_t to, ptrdiff_t dx, ptrdiff_t dy, kh_real fill) {
    return (kh_warp){
        .kind = KH_WARP_PLACE, .from = side, .to = to, .dx = dx, .dy = dy, .fill = fill};
}

kh_warp kh_warp_rotate(size_t side, double degrees, kh_real fill) {
    const double radians = degrees * (3.14159265358979323846 / 180.0);
    const double c = cos(radians), s = sin(radians), centre = 0.5 * (double)(side - 1);
    return (kh_warp){.kind = KH_WARP_AFFINE,
                     .from = side,
                     .to = side,
                     .m00 = c,
                     .m01 = -s,
                     .m10 = s,
                     .m11 = c,
                     .tx = centre - c * centre + s * centre,
                     .ty = centre - s * centre - c * centre,
                     .fill = fill};
}

kh_warp kh_warp_slide(size_t side, double dx, double dy, kh_real fill) {
    const double stretch = side > 1 ? (double)side / (double)(side - 1) : 1.0;
    return (kh_warp){.kind = KH_WARP_AFFINE,
                     .from = side,
                     .to = side,
                     .m00 = 1,
                     .m11 = 1,
                     .tx = -dx * stretch,
                     .ty = -dy * stretch,
                     .fill = fill};
}

kh_warp kh_warp_resize(size_t side, size_t to) {
    return (kh_warp){.kind = KH_WARP_RESIZE, .from = side, .to = to};
}

kh_warp kh_warp_crop(size_t side, size_t to, double x0, double y0, double width) {
    return (kh_warp){
        .kind = KH_WARP_CROP, .from = side, .to = to, .tx = x0, .ty = y0, .m00 = width};
}

kh_warp kh_warp_roll(size_t side, size_t dx, size_t dy) {
    return (kh_warp){.kind = KH_WARP_ROLL,
                     .from = side,
                     .to = side,
                     .dx = (ptrdiff_t)(dx % side),
                     .dy = (ptrdiff_t)(dy % side)};
}

/* ---- placing -----------------------------------------------------------------------------------
 */

/* Overlap along one axis: out indices [first, end) come from in indices first - shift and on. */
static void overlap(const kh_warp *w, ptrdiff_t shift, size_t *first, size_t *end) {
    const ptrdiff_t from = (ptrdiff_t)w->from, to = (ptrdiff_t)w->to;
    const ptrdiff_t low = shift > 0 ? shift : 0;
    const ptrdiff_t high = from + shift < to ? from + shift : to;
    *first = (size_t)(low < to ? low : to);
    *end = high > low ? (size_t)high : *first;
}

static void place(const kh_warp *w, const kh_real *in, kh_real *out, bool back) {
    size_t x0, x1, y0, y1;
    overlap(w, w->dx, &x0, &x1);
    overlap(w, w->dy, &y0, &y1);
    const size_t written = back ? w->from : w->to;
    for (size_t i = 0; i < written * written; i++)
        out[i] = back ? 0 : w->fill;
    for (size_t y = y0; y < y1; y++) {
        const size_t inner =
            (size_t)((ptrdiff_t)y - w->dy) * w->from + (size_t)((ptrdiff_t)x0 - w->dx);
        const size_t outer = y * w->to + x0;
        if (back)
            memcpy(out + inner, in + outer, (x1 - x0) * sizeof *out);
        else
            memcpy(out + outer, in + inner, (x1 - x0) * sizeof *out);
    }
}

static void roll(const kh_warp *w, const kh_real *in, kh_real *out, bool back) {
    const size_t n = w->from;
    const size_t dx = back ? (n - (size_t)w->dx) % n : (size_t)w->dx;
    const size_t dy = back ? (n - (size_t)w->dy) % n : (size_t)w->dy;
    for (size_t y = 0; y < n; y++)
        for (size_t x = 0; x < n; x++)
            out[((y + dy) % n) * n + (x + dx) % n] = in[y * n + x];
}

/* ---- affine ------------------------------------------------------------------------------------
 */

/* The four neighbours of a source point; weight 0 for those outside the plane. */
typedef struct corners {
    size_t at[4];
    kh_real weight[4];
    kh_real outside; /* weight of the fill */
} corners;

static corners corners_of(const kh_warp *w, size_t x, size_t y) {
    const double px = w->m00 * (double)x + w->m01 * (double)y + w->tx;
    const double py = w->m10 * (double)x + w->m11 * (double)y + w->ty;
    /* floor() is a call on processors the compiler must assume to be old */
    const ptrdiff_t ix = (ptrdiff_t)px - (px < (double)(ptrdiff_t)px);
    const ptrdiff_t iy = (ptrdiff_t)py - (py < (double)(ptrdiff_t)py);
    const double ax = px - (double)ix, ay = py - (double)iy;
    const double wx[2] = {1 - ax, ax}, wy[2] = {1 - ay, ay};
    const ptrdiff_t side = (ptrdiff_t)w->from;
    corners c = {.outside = 0};
    for (size_t k = 0; k < 4; k++) {
        const ptrdiff_t cx = ix + (ptrdiff_t)(k % 2), cy = iy + (ptrdiff_t)(k / 2);
        const kh_real weight = (kh_real)(wx[k % 2] * wy[k / 2]);
        if (cx >= 0 && cy >= 0 && cx < side && cy < side) {
            c.at[k] = (size_t)(cy * side + cx);
            c.weight[k] = weight;
        } else {
            c.outside += weight;
        }
    }
    return c;
}

static void affine(const kh_warp *w, const kh_real *in, kh_real *out) {
    for (size_t y = 0; y < w->to; y++)
        for (size_t x = 0; x < w->to; x++) {
            const corners c = corners_of(w, x, y);
            kh_real sum = c.outside * w->fill;
            for (size_t k = 0; k < 4; k++)
                sum += c.weight[k] * in[c.at[k]];
            out[y * w->to + x] = sum;
        }
}

static void affine_back(const kh_warp *w, const kh_real *g, kh_real *out) {
    memset(out, 0, w->from * w->from * sizeof *out);
    for (size_t y = 0; y < w->to; y++)
        for (size_t x = 0; x < w->to; x++) {
            const corners c = corners_of(w, x, y);
            for (size_t k = 0; k < 4; k++)
                out[c.at[k]] += c.weight[k] * g[y * w->to + x];
        }
}

/* ---- separable ---------------------------------------------------------------------------------
 */

static size_t taps_of(const kh_warp *w) {
    return w->kind == KH_WARP_CROP ? kh_axis_crop_taps(w->m00, w->to) : 2;
}

static void axes_of(const kh_warp *w, void *scratch, kh_axis_map *x, kh_axis_map *y,
                    kh_real **plane) {
    const size_t taps = taps_of(w), count = w->to * taps;
    kh_real *reals = scratch;
    *plane = reals;
    reals += w->from * w->to;
    *x = (kh_axis_map){.from = w->from, .to = w->to, .taps = taps, .weight = reals};
    *y = *x;
    y->weight = reals + count;
    x->at = (uint32_t *)(void *)(reals + 2 * count);
    y->at = x->at + count;
    if (w->kind == KH_WARP_CROP) {
        kh_axis_crop(x, w->tx, w->m00);
        kh_axis_crop(y, w->ty, w->m00);
    } else {
        kh_axis_resize(x);
        kh_axis_resize(y);
    }
}

size_t kh_warp_scratch(const kh_warp *w) {
    if (w->kind != KH_WARP_CROP && w->kind != KH_WARP_RESIZE) return 0;
    return (w->from * w->to + 4 * w->to * taps_of(w)) * sizeof(kh_real);
}

static void separable(const kh_warp *w, const kh_real *in, kh_real *out, bool back, void *scratch) {
    if (w->kind == KH_WARP_RESIZE && w->from == w->to) {
        memcpy(out, in, w->from * w->from * sizeof *out);
        return;
    }
    kh_axis_map x, y;
    kh_real *plane; /* [to, from]: rows done, columns not yet */
    axes_of(w, scratch, &x, &y, &plane);
    if (back) {
        kh_axis_columns_back(&x, w->to, in, plane);
        kh_axis_rows_back(&y, w->from, plane, out);
    } else {
        kh_axis_rows(&y, w->from, in, plane);
        kh_axis_columns(&x, w->to, plane, out);
    }
}

void kh_warp_apply(const kh_warp *w, const kh_real *in, kh_real *out, void *scratch) {
    switch (w->kind) {
    case KH_WARP_PLACE:
        place(w, in, out, false);
        return;
    case KH_WARP_AFFINE:
        affine(w, in, out);
        return;
    case KH_WARP_ROLL:
        roll(w, in, out, false);
        return;
    case KH_WARP_RESIZE:
    case KH_WARP_CROP:
        separable(w, in, out, false, scratch);
        return;
    }
}

void kh_warp_back(const kh_warp *w, const kh_real *g, kh_real *out, void *scratch) {
    switch (w->kind) {
    case KH_WARP_PLACE:
        place(w, g, out, true);
        return;
    case KH_WARP_AFFINE:
        affine_back(w, g, out);
        return;
    case KH_WARP_ROLL:
        roll(w, g, out, true);
        return;
    case KH_WARP_RESIZE:
    case KH_WARP_CROP:
        separable(w, g, out, true, scratch);
        return;
    }
}
