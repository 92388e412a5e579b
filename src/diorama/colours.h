/* diorama/colours.h: what a named colour may look like, and how far two colours are apart. */
#ifndef KH_DIORAMA_COLOURS_H
#define KH_DIORAMA_COLOURS_H

#include "base/rng.h"
#include "diorama/world.h"

/* A colour that everybody would call by that name, 0..1. */
void kh_colour_sample(kh_colour colour, kh_rng *rng, double rgb[3]);

/* 0 for black, 1 for white: weighted by what the eye sees. */
double kh_colour_luma(const double rgb[3]);

/* 0 for equal colours, about 1 for black and white; lightness counts most. */
double kh_colour_distance(const double a[3], const double b[3]);

/* out = a + (b - a) * share */
void kh_colour_mix(const double a[3], const double b[3], double share, double out[3]);

/* Uniform in [low, high). */
double kh_between(kh_rng *rng, double low, double high);

#endif
