/* diorama/backdrop.h: what stands behind everything: ten kinds of background, computed pixel by
 * pixel from noise.
 */
#ifndef KH_DIORAMA_BACKDROP_H
#define KH_DIORAMA_BACKDROP_H

#include "base/rng.h"
#include "diorama/world.h"

enum { KH_BACKDROP_ELEMENTS = 6, KH_BACKDROP_NUMBERS = 12 };

/* A backdrop consists of elements (grass and the sky above it, bricks and mortar), each with its
 * own two labels. */
typedef struct kh_element {
    kh_background background;
    kh_colour colour;
    double rgb[3];
    bool is_main; /* covers much: things in front must differ from it */
} kh_element;

typedef struct kh_backdrop {
    kh_background kind;
    kh_element element[KH_BACKDROP_ELEMENTS];
    size_t elements;
    double horizon;                     /* 0: none; things stand below it */
    double number[KH_BACKDROP_NUMBERS]; /* what varies; each kind knows its own */
    uint32_t key;                       /* of its noise */
} kh_backdrop;

void kh_backdrop_plan(kh_backdrop *backdrop, kh_background kind, kh_rng *rng);

/* The colour at (u, v) in 0..1, v downwards, 0..1 each and within limits the caller clamps; returns
 * the element. pixel: the side of a pixel. */
size_t kh_backdrop_at(const kh_backdrop *backdrop, double u, double v, double pixel, double rgb[3]);

#endif
