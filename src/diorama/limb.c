#include "diorama/limb.h"

#include <math.h>

bool kh_pose_chance(kh_rng *rng, double p) {
    return kh_rng_unit(rng) < p;
}

cairo_t *kh_frame_begin(const kh_frame *frame) {
    cairo_t *cr = kh_easel_path(frame->easel);
    cairo_save(cr);
    cairo_translate(cr, frame->x, frame->y);
    cairo_scale(cr, frame->scale, frame->scale);
    return cr;
}

/* The path stays where it is when the frame is put away. */
void kh_frame_fill(const kh_frame *frame, kh_part part, const kh_paint *paint) {
    cairo_restore(kh_easel_path(frame->easel));
    kh_easel_fill(frame->easel, part, paint);
}

void kh_frame_stroke(const kh_frame *frame, kh_part part, const kh_paint *paint, double width) {
    cairo_restore(kh_easel_path(frame->easel));
    kh_easel_stroke(frame->easel, part, paint, width * frame->scale);
}

void kh_limb(cairo_t *cr, double x0, double y0, double r0, double x1, double y1, double r1) {
    const double along = atan2(y1 - y0, x1 - x0);
    cairo_new_sub_path(cr);
    cairo_arc(cr, x1, y1, r1, along - KH_PI / 2.0, along + KH_PI / 2.0);
    cairo_arc(cr, x0, y0, r0, along + KH_PI / 2.0, along + 3.0 * KH_PI / 2.0);
    cairo_close_path(cr);
}

void kh_bezier_point(const double (*points)[2], double t, double *x, double *y) {
    const double s = 1.0 - t;
    const double w[4] = {s * s * s, 3.0 * s * s * t, 3.0 * s * t * t, t * t * t};
    *x = w[0] * points[0][0] + w[1] * points[1][0] + w[2] * points[2][0] + w[3] * points[3][0];
    *y = w[0] * points[0][1] + w[1] * points[1][1] + w[2] * points[2][1] + w[3] * points[3][1];
}

void kh_limb_curve(cairo_t *cr, const double points[4][2], double r0, double r1) {
    enum { PIECES = 8 };
    double x0 = points[0][0], y0 = points[0][1];
    for (int i = 1; i <= PIECES; i++) {
        const double t = (double)i / PIECES, before = (double)(i - 1) / PIECES;
        double x1, y1;
        kh_bezier_point(points, t, &x1, &y1);
        kh_limb(cr, x0, y0, r0 + (r1 - r0) * before, x1, y1, r0 + (r1 - r0) * t);
        x0 = x1;
        y0 = y1;
    }
}

void kh_fluff(cairo_t *cr, double x, double y, double rx, double ry, int lumps, double phase) {
    const double half = KH_PI / lumps;
    const double out = 1.0 + 0.6 * half; /* how far a lump bulges over the chord of its feet */
    for (int i = 0; i <= lumps; i++) {
        const double a = phase + 2.0 * half * i, m = a - half;
        const double px = x + rx / out * cos(a), py = y + ry / out * sin(a);
        const double bulge = 1.0 + 0.35 * half; /* control points of a lump */
        if (i == 0) {
            cairo_move_to(cr, px, py);
        } else {
            cairo_curve_to(cr, x + rx * bulge * cos(m - 0.55 * half),
                           y + ry * bulge * sin(m - 0.55 * half),
                           x + rx * bulge * cos(m + 0.55 * half),
                           y + ry * bulge * sin(m + 0.55 * half), px, py);
        }
    }
    cairo_close_path(cr);
}

void kh_spikes(cairo_t *cr, double x, double y, double rx, double ry, int spikes, double depth,
               double phase) {
    for (int i = 0; i < 2 * spikes; i++) {
        const double a = phase + KH_PI * i / spikes;
        const double reach = i % 2 ? 1.0 - depth : 1.0;
        cairo_line_to(cr, x + rx * reach * cos(a), y + ry * reach * sin(a));
    }
    cairo_close_path(cr);
}

void kh_smooth(cairo_t *cr, const double (*points)[2], size_t count) {
    cairo_move_to(cr, points[0][0], points[0][1]);
    for (size_t i = 0; i < count; i++) {
        const double *a = points[(i + count - 1) % count], *b = points[i];
        const double *c = points[(i + 1) % count], *d = points[(i + 2) % count];
        cairo_curve_to(cr, b[0] + (c[0] - a[0]) / 6.0, b[1] + (c[1] - a[1]) / 6.0,
                       c[0] - (d[0] - b[0]) / 6.0, c[1] - (d[1] - b[1]) / 6.0, c[0], c[1]);
    }
    cairo_close_path(cr);
}
