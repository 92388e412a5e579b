/* figure/colours.h: the colours charts use, tellable apart by colour-blind readers. */
#ifndef KH_FIGURE_COLOURS_H
#define KH_FIGURE_COLOURS_H

#include "keyhole/figure.h"

/* Okabe and Ito's palette (2008), strongest contrast to white first, its yellow made darker. */
#define KH_HUES 8
extern const uint32_t kh_hues[KH_HUES];

#define KH_GREY_BAND 0xd9d9d9u
#define KH_GREY_NULL 0x7a7a7au
#define KH_GOOD      0x009e73u
#define KH_BAD       0xd55e00u

/* 0: the colour, 1: white. */
uint32_t kh_shade(uint32_t rgb, double towards_white);
/* Black or white, whichever reads better on rgb. */
uint32_t kh_ink_on(uint32_t rgb);
/* Colour of a series: different hues, or shades of one when the series are ordered. */
uint32_t kh_series_colour(size_t index, size_t count, bool is_ordered);
/* Colour at 0..1 of a 256-entry table. */
uint32_t kh_table_colour(const uint8_t (*table)[3], double at);

#endif
