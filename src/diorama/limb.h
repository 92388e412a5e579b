/* diorama/limb.h: shapes that many drawings share: tapered limbs, lumpy and spiky outlines, and a
 * frame in which a drawing may use its own units. All of them run clockwise on the picture, so that
 * shapes added to one path make a union.
 */
#ifndef KH_DIORAMA_LIMB_H
#define KH_DIORAMA_LIMB_H

#include <stdbool.h>

#include "diorama/colours.h"
#include "diorama/easel.h"

#define KH_PI 3.14159265358979323846

/* A number between lo and hi; true with probability p. Never two calls in one expression: C leaves
 * their order open. */
bool kh_pose_chance(kh_rng *rng, double p);

/* Maps own units to object coordinates: X = x + scale * own x, Y = y + scale * own y. */
typedef struct kh_frame {
    kh_easel *easel;
    double x, y, scale;
} kh_frame;

cairo_t *
kh_frame_begin(const kh_frame *frame); /* path in own units until kh_frame_fill or _stroke */
void kh_frame_fill(const kh_frame *frame, kh_part part, const kh_paint *paint);
void kh_frame_stroke(const kh_frame *frame, kh_part part, const kh_paint *paint, double width);

/* Two discs and what lies between them; r0 and r1 may differ a little. */
void kh_limb(cairo_t *cr, double x0, double y0, double r0, double x1, double y1, double r1);
/* A limb along a Bezier curve through its four control points, r0 at the start and r1 at the end.
 */
void kh_limb_curve(cairo_t *cr, const double points[4][2], double r0, double r1);
/* points: four. */
void kh_bezier_point(const double (*points)[2], double t, double *x, double *y);

/* An ellipse with a lumpy rim (round lumps outwards), and one with a spiky rim. rx and ry are the
 * outermost reach. */
void kh_fluff(cairo_t *cr, double x, double y, double rx, double ry, int lumps, double phase);
void kh_spikes(cairo_t *cr, double x, double y, double rx, double ry, int spikes, double depth,
               double phase);
/* A closed smooth curve through the points (Catmull-Rom). */
void kh_smooth(cairo_t *cr, const double (*points)[2], size_t count);

#endif
