/* diorama/tiles.h: one period of each pattern as a small picture. */
#ifndef KH_DIORAMA_TILES_H
#define KH_DIORAMA_TILES_H

#include <cairo/cairo.h>

#include "diorama/easel.h"

enum { KH_TILE_SIZES = 5, KH_TILE_SMALLEST = 8 }; /* 8, 16, ..., 128 pixels */

/* How much of the second colour each pixel of a tile has, 0..255, for every material and size. */
typedef struct kh_tiles {
    uint8_t *share[KH_MATERIALS][KH_TILE_SIZES]; /* [side][side]; plain has none */
    uint8_t *block;                              /* owns them all */
} kh_tiles;

bool kh_tiles_init(kh_tiles *tiles); /* false when out of memory */
void kh_tiles_clear(kh_tiles *tiles);

/* Periods of the pattern along a tile's side. */
double kh_tile_periods(kh_material material);

/* A repeating pattern in the paint's two colours, for a user space in which one unit is unit_px
 * pixels. The caller destroys it.
 */
cairo_pattern_t *kh_tiles_pattern(const kh_tiles *tiles, const kh_paint *paint, double unit_px);

#endif
