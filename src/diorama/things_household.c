/* Mug, umbrella, lamp, chair, clock, guitar and key. */
#include <math.h>

#include "diorama/limb.h"
#include "diorama/things.h"

void kh_draw_mug(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double right = kh_between(rng, 0.4, 0.52);
    const double top = kh_between(rng, -0.85, -0.6);
    const double mouth = kh_between(rng, 0.12, 0.2); /* how far one sees into it */
    const double taper = kh_between(rng, 0.0, 0.14);
    const double bulge = kh_between(rng, -0.02, 0.08);
    const double ear = kh_between(rng, 0.1, 0.14);
    const double band = kh_between(rng, 0.12, 0.22);
    const bool banded = kh_pose_chance(rng, 0.65);
    const double left = -1.0 + bulge, mid = 0.5 * (left + right), half = 0.5 * (right - left);
    const double y = top + mouth;
    cairo_t *cr = kh_easel_path(easel);
    cairo_move_to(cr, right - 0.08, y + 0.22);
    cairo_curve_to(cr, right + 0.35, y + 0.0, 1.0 - 0.5 * ear, y + 0.25, 1.0 - 0.5 * ear, y + 0.62);
    cairo_curve_to(cr, 1.0 - 0.5 * ear, y + 1.0, right + 0.3, y + 1.15, right - 0.1, y + 1.1);
    kh_easel_stroke(easel, KH_PART_HANDLE, &dress->second, ear);
    cairo_move_to(cr, left, y);
    cairo_curve_to(cr, left - bulge, 0.2, left - bulge + taper, 0.6, left + taper, 0.82);
    cairo_curve_to(cr, left + taper + 0.04, 1.06, right - taper - 0.04, 1.06, right - taper, 0.82);
    cairo_curve_to(cr, right + bulge - taper, 0.6, right + bulge, 0.2, right, y);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_BODY, &dress->body);
    if (banded) {
        const double a = left - 0.4 * bulge + 0.4 * taper, b = right + 0.4 * bulge - 0.4 * taper;
        cairo_move_to(cr, a, 0.2);
        cairo_curve_to(cr, a + 0.3, 0.2 + mouth, b - 0.3, 0.2 + mouth, b, 0.2);
        cairo_line_to(cr, b - 0.2 * taper, 0.2 + band);
        cairo_curve_to(cr, b - 0.3, 0.2 + band + mouth, a + 0.3, 0.2 + band + mouth,
                       a + 0.2 * taper, 0.2 + band);
        cairo_close_path(cr);
        kh_easel_fill(easel, KH_PART_BODY, &dress->second);
    }
    kh_easel_ellipse(easel, mid, y, half, mouth);
    kh_easel_fill(easel, KH_PART_BODY, &dress->light);
    kh_easel_ellipse(easel, mid, y + 0.02, 0.87 * half, 0.76 * mouth);
    kh_easel_fill(easel, KH_PART_HOLE, &dress->detail);
}

void kh_draw_umbrella(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double rim = kh_between(rng, -0.12, 0.1);
    const double scallop = kh_between(rng, 0.1, 0.2);
    const double blunt = kh_between(rng, 0.45, 0.65);
    const double hook = kh_between(rng, 0.13, 0.19);
    const double peak = -0.86;
    enum { PANELS = 4 };
    static const double edge[PANELS + 1] = {-1.0, -0.52, 0.0, 0.52, 1.0};
    cairo_t *cr = kh_easel_path(easel);
    cairo_move_to(cr, 0.0, -0.96);
    cairo_line_to(cr, 0.0, 0.7);
    kh_easel_stroke(easel, KH_PART_SHAFT, &dress->detail, 0.075);
    cairo_move_to(cr, 0.0, 0.6);
    cairo_line_to(cr, 0.0, 0.94 - hook);
    cairo_arc_negative(cr, hook, 0.94 - hook, hook, KH_PI, 0.0);
    cairo_line_to(cr, 2.0 * hook, 0.86 - hook);
    kh_easel_stroke(easel, KH_PART_HANDLE, &dress->third, 0.12);
    for (int pass = 0; pass < 2; pass++) { /* every panel, then every second one */
        for (int i = pass; i < PANELS; i += 1 + pass) {
            const double a = edge[i], b = edge[i + 1], steep = 0.5 * (rim + peak);
            cairo_move_to(cr, 0.0, peak);
            cairo_curve_to(cr, blunt * b, peak, b, steep + 0.05, b, rim);
            cairo_curve_to(cr, b - 0.1, rim - scallop, a + 0.1, rim - scallop, a, rim);
            cairo_curve_to(cr, a, steep + 0.05, blunt * a, peak, 0.0, peak);
            cairo_close_path(cr);
        }
        kh_easel_fill(easel, KH_PART_CANOPY, pass ? &dress->second : &dress->body);
    }
}

void kh_draw_lamp(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double half = kh_between(rng, 0.6, 0.85);
    const double crown = half * kh_between(rng, 0.35, 0.6); /* half width of the shade above */
    const double rim = kh_between(rng, -0.15, 0.1);
    const double base = kh_between(rng, 0.38, 0.55);
    const double cord = half * kh_between(rng, 0.45, 0.65);
    const double cord_end = rim + kh_between(rng, 0.3, 0.5);
    const double trim = kh_between(rng, 0.08, 0.15);
    const bool vase = kh_pose_chance(rng, 0.4);
    const double vase_half = kh_between(rng, 0.2, 0.3);
    cairo_t *cr = kh_easel_path(easel);
    kh_easel_ellipse(easel, 0.0, rim + 0.03, 0.17, 0.17);
    kh_easel_fill(easel, KH_PART_STAND, &dress->light);
    cairo_move_to(cr, cord, rim);
    cairo_line_to(cr, cord, cord_end);
    kh_easel_stroke(easel, KH_PART_STRING, &dress->detail, 0.035);
    kh_easel_ellipse(easel, cord, cord_end, 0.06, 0.06);
    kh_easel_fill(easel, KH_PART_STRING, &dress->detail);
    kh_easel_box(easel, -0.055, rim, 0.055, 0.9, 0.0);
    if (vase) kh_easel_ellipse(easel, 0.0, 0.6, vase_half, 0.28);
    kh_easel_fill(easel, KH_PART_STAND, &dress->second);
    cairo_move_to(cr, -base, 1.0);
    cairo_curve_to(cr, -base, 0.86, -0.5 * base, 0.84, 0.0, 0.84);
    cairo_curve_to(cr, 0.5 * base, 0.84, base, 0.86, base, 1.0);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_BASE, &dress->third);
    kh_easel_polygon(
        easel, (const double[][2]){{-crown, -1.0}, {crown, -1.0}, {half, rim}, {-half, rim}}, 4);
    kh_easel_fill(easel, KH_PART_SHADE, &dress->body);
    const double inward = trim / (rim + 1.0) * (half - crown);
    kh_easel_polygon(
        easel,
        (const double[][2]){
            {-half + inward, rim - trim}, {half - inward, rim - trim}, {half, rim}, {-half, rim}},
        4);
    kh_easel_fill(easel, KH_PART_SHADE, &dress->third);
}

/* Seen from the front and a little from the right and above: the back stands behind the seat, moved
 * to the left. */
void kh_draw_chair(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double half = kh_between(rng, 0.42, 0.56);
    const double depth = kh_between(rng, 0.26, 0.4); /* shift of the back, to the left */
    const double lift = kh_between(rng, 0.16, 0.26); /* shift of the back, upwards */
    const double seat = kh_between(rng, 0.22, 0.36); /* y of the seat's front edge */
    const double post = kh_between(rng, 0.055, 0.075);
    const double thick = kh_between(rng, 0.1, 0.15);
    const bool upright = kh_pose_chance(rng, 0.5);
    const int slats = 2 + (int)kh_rng_below(rng, 2);
    const double x0 = -half + 0.5 * depth, x1 = half + 0.5 * depth;
    const double b0 = x0 - depth, b1 = x1 - depth, back = seat - lift;
    kh_easel_box(easel, b0, back, b0 + 2.0 * post, 1.0 - 0.8 * lift, 0.02);
    kh_easel_box(easel, b1 - 2.0 * post, back, b1, 1.0 - 0.8 * lift, 0.02);
    kh_easel_box(easel, x0, seat, x0 + 2.0 * post, 1.0, 0.02);
    kh_easel_box(easel, x1 - 2.0 * post, seat, x1, 1.0, 0.02);
    kh_easel_fill(easel, KH_PART_LEG, &dress->second);
    kh_easel_box(easel, b0, -1.0, b0 + 2.0 * post, back + 0.04, 0.04);
    kh_easel_box(easel, b1 - 2.0 * post, -1.0, b1, back + 0.04, 0.04);
    if (upright) {
        kh_easel_box(easel, b0, -0.94, b1, -0.74, 0.04);
        for (int i = 1; i <= slats; i++) {
            const double x = b0 + (b1 - b0) * i / (slats + 1.0);
            kh_easel_box(easel, x - 0.055, -0.8, x + 0.055, back + 0.04, 0.0);
        }
    } else {
        const double step = (back + 0.8) / slats;
        for (int i = 0; i < slats; i++) {
            const double y = -0.93 + step * i;
            kh_easel_box(easel, b0, y, b1, y + 0.55 * step, 0.04);
        }
    }
    kh_easel_fill(easel, KH_PART_BACK, &dress->second);
    kh_easel_polygon(easel,
                     (const double[][2]){{b0 - 0.02, back},
                                         {b1 + 0.02, back},
                                         {x1 + 0.04, seat},
                                         {x1 + 0.04, seat + thick},
                                         {x0 - 0.04, seat + thick},
                                         {x0 - 0.04, seat}},
                     6);
    kh_easel_fill(easel, KH_PART_SEAT, &dress->body);
    kh_easel_box(easel, x0 - 0.04, seat, x1 + 0.04, seat + thick, 0.0);
    kh_easel_fill(easel, KH_PART_SEAT, &dress->third);
}

static void clock_hand(cairo_t *cr, double y, double angle, double length) {
    cairo_move_to(cr, -0.12 * length * sin(angle), y + 0.12 * length * cos(angle));
    cairo_line_to(cr, length * sin(angle), y - length * cos(angle));
}

void kh_draw_clock(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const size_t kind = kh_rng_below(rng, 5); /* 0-1 on the wall, 2-3 alarm, 4 square */
    const bool alarm = kind == 2 || kind == 3, square = kind == 4;
    const double r = alarm ? 0.76 : 1.0, y = alarm ? 0.14 : 0.0;
    const double face = r * kh_between(rng, 0.76, 0.84);
    const double minute = 2.0 * KH_PI * kh_between(rng, 0.0, 1.0);
    const double hour = minute + KH_PI * kh_between(rng, 0.25, 1.75);
    cairo_t *cr = kh_easel_path(easel);
    if (alarm) {
        kh_limb(cr, -0.3, 0.6, 0.09, -0.52, 0.91, 0.09);
        kh_limb(cr, 0.3, 0.6, 0.09, 0.52, 0.91, 0.09);
        kh_easel_fill(easel, KH_PART_LEG, &dress->second);
        cairo_move_to(cr, -0.2, -0.6);
        cairo_curve_to(cr, -0.2, -1.05, 0.2, -1.05, 0.2, -0.6);
        kh_easel_stroke(easel, KH_PART_HANDLE, &dress->detail, 0.07);
        for (int side = -1; side <= 1; side += 2)
            kh_easel_tilted_ellipse(easel, side * 0.52, -0.55, 0.34, 0.24, side * 0.7);
        kh_easel_fill(easel, KH_PART_HEAD, &dress->second);
    }
    if (square)
        kh_easel_box(easel, -r, -r, r, r, 0.18);
    else
        kh_easel_ellipse(easel, 0.0, y, r, r);
    kh_easel_fill(easel, KH_PART_BODY, &dress->body);
    kh_easel_ellipse(easel, 0.0, y, face, face);
    kh_easel_fill(easel, KH_PART_FACE, &dress->light);
    for (int i = 0; i < 12; i++) {
        const double a = KH_PI * i / 6.0, from = (i % 3 ? 0.86 : 0.76) * face;
        cairo_move_to(cr, from * sin(a), y - from * cos(a));
        cairo_line_to(cr, 0.9 * face * sin(a), y - 0.9 * face * cos(a));
    }
    kh_easel_stroke(easel, KH_PART_FACE, &dress->detail, 0.06 * r);
    clock_hand(cr, y, minute, 0.72 * face);
    kh_easel_stroke(easel, KH_PART_HAND, &dress->detail, 0.07 * r);
    clock_hand(cr, y, hour, 0.46 * face);
    kh_easel_stroke(easel, KH_PART_HAND, &dress->detail, 0.11 * r);
    kh_easel_ellipse(easel, 0.0, y, 0.1 * r, 0.1 * r);
    kh_easel_fill(easel, KH_PART_HAND, &dress->second);
}

void kh_draw_guitar(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double half = kh_between(rng, 0.5, 0.66);         /* of the lower bout */
    const double bout = half * kh_between(rng, 0.68, 0.82); /* of the upper one */
    const double waist = bout * kh_between(rng, 0.62, 0.78);
    const double top = kh_between(rng, -0.12, 0.04); /* y of the shoulders */
    const double hole = kh_between(rng, 0.15, 0.19);
    const double neck = kh_between(rng, 0.08, 0.105);
    const double head = kh_between(rng, 0.13, 0.17);
    const bool electric = kh_pose_chance(rng, 0.35); /* with two horns */
    const double mid = top + 0.42 * (1.0 - top);
    cairo_t *cr = kh_easel_path(easel);
    for (int i = 0; i < 3; i++) {
        kh_easel_box(easel, -head - 0.09, -0.95 + 0.09 * i, head + 0.09, -0.9 + 0.09 * i, 0.0);
    }
    kh_easel_fill(easel, KH_PART_HEAD, &dress->detail);
    cairo_move_to(cr, 0.0, top);
    if (electric) {
        cairo_curve_to(cr, 0.1, top + 0.12, 0.2, top + 0.1, bout - 0.1, top - 0.16);
        cairo_curve_to(cr, bout + 0.1, top - 0.1, bout, mid - 0.25, waist, mid);
    } else {
        cairo_curve_to(cr, 0.8 * bout, top - 0.02, 1.35 * bout, mid - 0.2, waist, mid);
    }
    cairo_curve_to(cr, waist + 0.02, mid + 0.1, half, mid + 0.1, half, 0.68);
    cairo_curve_to(cr, half, 0.95, 0.5 * half, 1.0, 0.0, 1.0);
    cairo_curve_to(cr, -0.5 * half, 1.0, -half, 0.95, -half, 0.68);
    cairo_curve_to(cr, -half, mid + 0.1, -waist - 0.02, mid + 0.1, -waist, mid);
    if (electric) {
        cairo_curve_to(cr, -bout, mid - 0.25, -bout - 0.1, top - 0.02, -bout + 0.1, top - 0.1);
        cairo_curve_to(cr, -0.2, top + 0.1, -0.1, top + 0.12, 0.0, top);
    } else {
        cairo_curve_to(cr, -1.35 * bout, mid - 0.2, -0.8 * bout, top - 0.02, 0.0, top);
    }
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_BODY, &dress->body);
    if (electric)
        kh_easel_box(easel, -0.2, mid + 0.02, 0.2, mid + 0.14, 0.03);
    else
        kh_easel_ellipse(easel, 0.0, mid + 0.02, hole, hole);
    kh_easel_fill(easel, KH_PART_HOLE, &dress->detail);
    kh_easel_box(easel, -0.2, 0.71, 0.2, 0.79, 0.02);
    kh_easel_fill(easel, KH_PART_BODY, &dress->detail);
    kh_easel_box(easel, -neck, -0.75, neck, top + 0.16, 0.0);
    kh_easel_fill(easel, KH_PART_NECK, &dress->second);
    kh_easel_polygon(easel,
                     (const double[][2]){{-neck, -0.66},
                                         {-head, -0.74},
                                         {-head * 1.15, -1.0},
                                         {head * 1.15, -1.0},
                                         {head, -0.74},
                                         {neck, -0.66}},
                     6);
    kh_easel_fill(easel, KH_PART_HEAD, &dress->third);
    for (int i = -1; i <= 1; i++) {
        cairo_move_to(cr, 0.045 * i, -0.7);
        cairo_line_to(cr, 0.045 * i, 0.74);
    }
    kh_easel_stroke(easel, KH_PART_STRING, &dress->light, 0.018);
}

void kh_draw_key(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const size_t kind = kh_rng_below(rng, 3); /* bow: a ring, a clover leaf, a rounded diamond */
    const double r = kh_between(rng, 0.3, 0.4);
    const double wall = kh_between(rng, 0.13, 0.18);
    const double shaft = kh_between(rng, 0.065, 0.095);
    const double tooth = kh_between(rng, 0.2, 0.36);
    const int teeth = 2 + (int)kh_rng_below(rng, 2);
    const double edge = 0.5 * wall, centre = -1.0 + r;
    /* teeth of unequal length near the end */
    for (int i = 0; i < teeth; i++) {
        const double x = 0.97 - 0.2 * i;
        const double length = tooth * kh_between(rng, 0.65, 1.0);
        kh_easel_box(easel, x - 0.12, 0.0, x, shaft + length, 0.0);
    }
    kh_easel_fill(easel, KH_PART_BIT, &dress->second);
    kh_easel_box(easel, kind == 1 ? centre : centre + r - wall, -shaft, 1.0, shaft, 0.5 * shaft);
    kh_easel_fill(easel, KH_PART_SHAFT, &dress->second);
    kh_easel_box(easel, centre + r - 0.02, -1.9 * shaft, centre + r + 0.09, 1.9 * shaft, 0.02);
    kh_easel_fill(easel, KH_PART_SHAFT, &dress->third);
    if (kind == 0) {
        kh_easel_ellipse(easel, centre, 0.0, r - edge, 1.15 * r - edge);
    } else if (kind == 1) {
        const double q = 0.56 * r, ring = q - 0.35 * wall;
        kh_easel_ellipse(easel, -1.0 + q + 0.15 * wall, 0.0, ring, ring);
        kh_easel_ellipse(easel, centre + 0.5 * q, -q, ring, ring);
        kh_easel_ellipse(easel, centre + 0.5 * q, q, ring, ring);
    } else {
        const double in = r - edge;
        kh_easel_polygon(
            easel,
            (const double[][2]){
                {centre - in, 0.0}, {centre, -1.2 * in}, {centre + in, 0.0}, {centre, 1.2 * in}},
            4);
    }
    kh_easel_stroke(easel, KH_PART_BOW, &dress->body, kind == 1 ? 0.8 * wall : wall);
}
