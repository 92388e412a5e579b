/* diorama/easel.h: what an object's drawing function paints with. One path is filled twice: with
 * its paint and smooth edges into the picture, and with the number of its region and hard edges
 * into the truth.
 *
 * Object coordinates: x to the right, y downwards, the whole object inside [-1, 1] x [-1, 1] and
 * filling it in at least one direction. The scene has already placed, turned, mirrored and scaled
 * the object. Upright things stand with y = 1 on the ground.
 */
#ifndef KH_DIORAMA_EASEL_H
#define KH_DIORAMA_EASEL_H

#include <cairo/cairo.h>

#include "base/rng.h"
#include "diorama/world.h"

/* A colour with its name and a material. Sampled by the scene; drawing functions pass it on. */
typedef struct kh_paint {
    kh_colour colour;     /* named colour of rgb */
    kh_material material; /* how rgb and other are mixed */
    double rgb[3];        /* main colour, 0..1 */
    double other[3];      /* second colour of patterned materials */
    double pitch;         /* period of the pattern in object units, 0.12..0.3 */
    double angle;         /* turn of the pattern, radians */
} kh_paint;

/* The paints of one object: a body, a second colour for other parts, a third, and a plain dark or
 * light one for eyes, windows, outlines. Body, second and third have different named colours. */
typedef struct kh_dress {
    kh_paint body;
    kh_paint second;
    kh_paint third;
    kh_paint detail; /* plain; dark */
    kh_paint light;  /* plain; near white */
} kh_dress;

typedef struct kh_easel kh_easel;

/* The context in which the path of the next part is laid out (object coordinates). Build a path on
 * it with cairo_move_to, cairo_curve_to, cairo_arc, ...; cairo_save/restore with transformations
 * are fine while building. Never fill it directly. */
cairo_t *kh_easel_path(kh_easel *easel);

/* Fill or stroke the current path as `part` with `paint` and clear the path. The later part covers
 * the earlier one. Strokes have round caps and joins; width in object units. */
void kh_easel_fill(kh_easel *easel, kh_part part, const kh_paint *paint);
void kh_easel_stroke(kh_easel *easel, kh_part part, const kh_paint *paint, double width);

/* Shapes added to the current path. */
void kh_easel_ellipse(kh_easel *easel, double x, double y, double rx, double ry);
void kh_easel_tilted_ellipse(kh_easel *easel, double x, double y, double rx, double ry,
                             double angle);
void kh_easel_box(kh_easel *easel, double x0, double y0, double x1, double y1,
                  double corner); /* corner: radius */
void kh_easel_polygon(kh_easel *easel, const double (*points)[2], size_t count);

/* Draws one object. `rng` gives the pose: lengths, bends, counts; equal streams give equal
 * pictures. */
typedef void kh_draw_fn(kh_easel *easel, const kh_dress *dress, kh_rng *rng);

#endif
