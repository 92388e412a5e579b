/* dream/warp.h: linear operations on square planes, and their transposes.
 *
 * Every operation maps a plane [from, from] to a plane [to, to]; all but the fill is linear, and
 * kh_warp_back is the exact transpose of the linear part. */
#ifndef KH_DREAM_WARP_H
#define KH_DREAM_WARP_H

#include <stdbool.h>
#include <stddef.h>

#include "dream/real.h"

typedef enum kh_warp_kind {
    KH_WARP_PLACE,  /* out[y][x] = in[y - dy][x - dx], or fill: padding, shifts, centre crops */
    KH_WARP_AFFINE, /* bilinear at (m00 x + m01 y + tx, m10 x + m11 y + ty), fill outside */
    KH_WARP_RESIZE, /* bilinear, align_corners=True; the identity when sides are equal */
    KH_WARP_CROP,   /* roi_align with aligned=False of the box at (tx, ty), side m00 */
    KH_WARP_ROLL    /* circular shift by (dx, dy), 0 <= both < from */
} kh_warp_kind;

typedef struct kh_warp {
    kh_warp_kind kind;
    size_t from, to;
    ptrdiff_t dx, dy;
    double m00, m01, m10, m11, tx, ty;
    kh_real fill;
} kh_warp;

/* The named ones. `side` is the side of the plane they start from. */
kh_warp kh_warp_place(size_t side, size_t to, ptrdiff_t dx, ptrdiff_t dy, kh_real fill);
kh_warp kh_warp_rotate(size_t side, double degrees, kh_real fill); /* counter-clockwise on screen */
/* x - dx W / (W - 1): what an affine warp with mismatched corner conventions does. */
kh_warp kh_warp_slide(size_t side, double dx, double dy, kh_real fill);
kh_warp kh_warp_resize(size_t side, size_t to);
kh_warp kh_warp_crop(size_t side, size_t to, double x0, double y0, double width);
kh_warp kh_warp_roll(size_t side, size_t dx, size_t dy);

/* Bytes of scratch one call may need. */
size_t kh_warp_scratch(const kh_warp *w);

void kh_warp_apply(const kh_warp *w, const kh_real *in, kh_real *out, void *scratch);
/* g [to, to] -> out [from, from], overwritten. */
void kh_warp_back(const kh_warp *w, const kh_real *g, kh_real *out, void *scratch);

#endif
