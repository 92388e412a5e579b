/* figure/picture.h: pixels and colour bars as Cairo sees them. */
#ifndef KH_FIGURE_PICTURE_H
#define KH_FIGURE_PICTURE_H

#include "figure/page.h"

/* Draws [height, width, 3] bytes into box: pixel for pixel when the sizes agree, in whole squares
 * when enlarged (smoothly if is_smooth), averaged when reduced. */
void kh_picture_draw(cairo_t *cr, const uint8_t *rgb, size_t width, size_t height, kh_box box,
                     bool is_smooth);

/* Diagonal lines where a value is missing. */
void kh_hatch(cairo_t *cr, kh_box box);

/* A large colour bar: strip, round ticks below, "label (unit)" above. */
double kh_colour_bar_width(const kh_figure_scale *scale);
double kh_colour_bar_height(const kh_figure_scale *scale);
void kh_colour_bar_draw(kh_letters *letters, cairo_t *cr, const kh_figure_scale *scale, kh_box box);

/* A small one, as wide as a picture: strip, low at its left end, high at its right end. */
#define KH_SMALL_BAR_HEIGHT 26.0
void kh_small_bar_draw(kh_letters *letters, cairo_t *cr, const kh_figure_scale *scale, double x,
                       double y, double width);

#endif
