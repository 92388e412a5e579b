/* Fish, bird, butterfly and snail. */
#include <math.h>

#include "diorama/limb.h"
#include "diorama/things.h"

/* A white eye with a dark pupil, seen on any colour. */
static void eye(kh_easel *easel, const kh_dress *dress, double x, double y, double r) {
    kh_easel_ellipse(easel, x, y, r, r);
    kh_easel_fill(easel, KH_PART_EYE, &dress->light);
    kh_easel_ellipse(easel, x + 0.2 * r, y, 0.55 * r, 0.55 * r);
    kh_easel_fill(easel, KH_PART_EYE, &dress->detail);
}

void kh_draw_fish(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double h = kh_between(rng, 0.34, 0.58);
    const double root = kh_between(rng, -0.58, -0.45); /* x where the tail begins */
    const double flick = kh_between(rng, -0.15, 0.15); /* the tail swings up or down */
    const double spread = kh_between(rng, 0.32, 0.5);
    const double notch = kh_between(rng, -0.85, -0.7);
    const double fin = kh_between(rng, 0.15, 0.3);
    const double lean = kh_between(rng, -0.35, -0.1);
    cairo_t *cr = kh_easel_path(easel);
    cairo_move_to(cr, root + 0.15, 0.0);
    cairo_curve_to(cr, -0.7, flick - 0.1, -0.9, flick - 0.9 * spread, -1.0, flick - spread);
    cairo_curve_to(cr, -0.9, flick - 0.3 * spread, notch, flick - 0.1, notch, flick);
    cairo_curve_to(cr, notch, flick + 0.1, -0.9, flick + 0.3 * spread, -1.0, flick + spread);
    cairo_curve_to(cr, -0.9, flick + 0.9 * spread, -0.7, flick + 0.1, root + 0.15, 0.0);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_TAIL, &dress->second);
    kh_easel_polygon(
        easel,
        (const double[][2]){
            {0.45, -0.8 * h}, {0.1, -h - fin}, {lean, -h - 0.8 * fin}, {lean + 0.05, -0.6 * h}},
        4);
    kh_easel_polygon(
        easel, (const double[][2]){{0.25, 0.85 * h}, {-0.2, 0.6 * h}, {-0.2, h + 0.7 * fin}}, 3);
    kh_easel_fill(easel, KH_PART_FIN, &dress->second);
    cairo_move_to(cr, 1.0, 0.02);
    cairo_curve_to(cr, 0.8, -0.7 * h, 0.5, -h, 0.2, -h);
    cairo_curve_to(cr, -0.2, -h, root + 0.1, -0.15, root, flick * 0.4 - 0.08);
    cairo_line_to(cr, root, flick * 0.4 + 0.08);
    cairo_curve_to(cr, root + 0.1, 0.15, -0.2, h, 0.2, h);
    cairo_curve_to(cr, 0.5, h, 0.8, 0.7 * h, 1.0, 0.02);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_BODY, &dress->body);
    cairo_move_to(cr, 0.46, -0.55 * h);
    cairo_curve_to(cr, 0.3, -0.2 * h, 0.3, 0.2 * h, 0.46, 0.55 * h);
    cairo_move_to(cr, 0.95, 0.12 * h + 0.02);
    cairo_line_to(cr, 0.8, 0.16 * h + 0.04);
    kh_easel_stroke(easel, KH_PART_BODY, &dress->detail, 0.045);
    cairo_move_to(cr, 0.26, 0.1 * h);
    cairo_curve_to(cr, 0.1, -0.1 * h, -0.05, 0.1 * h, -0.12, 0.3 * h);
    cairo_curve_to(cr, 0.0, 0.55 * h, 0.15, 0.5 * h, 0.26, 0.1 * h);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_FIN, &dress->third);
    eye(easel, dress, 0.64, -0.22 * h, 0.1);
}

static void bird_wing(kh_easel *easel, const kh_dress *dress, bool raised, kh_rng *rng) {
    cairo_t *cr = kh_easel_path(easel);
    if (raised) {
        const double tip = kh_between(rng, -0.75, -0.2);
        const double back = kh_between(rng, 0.2, 0.35);
        cairo_move_to(cr, 0.25, 0.1);
        cairo_curve_to(cr, 0.3, -0.3, tip + 0.5, -0.9, tip, -1.0);
        cairo_line_to(cr, tip - 0.02, -0.7);
        cairo_line_to(cr, tip - back * 0.5, -0.68);
        cairo_line_to(cr, tip - 0.3 * back, -0.4);
        cairo_line_to(cr, tip - 0.6 * back + 0.05, -0.3);
        cairo_curve_to(cr, -0.4, 0.1, -0.1, 0.25, 0.25, 0.1);
    } else {
        const double droop = kh_between(rng, -0.1, 0.15);
        cairo_move_to(cr, 0.3, -0.02);
        cairo_curve_to(cr, 0.3, 0.45, -0.2, 0.45, -0.75, 0.25 + droop);
        cairo_curve_to(cr, -0.5, 0.0, -0.1, -0.2, 0.3, -0.02);
    }
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_WING, &dress->second);
    if (raised) return;
    cairo_move_to(cr, 0.1, 0.2);
    cairo_line_to(cr, -0.4, 0.26);
    kh_easel_stroke(easel, KH_PART_WING, &dress->detail, 0.035);
}

void kh_draw_bird(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const bool raised = kh_pose_chance(rng, 0.4);
    const double stride = kh_between(rng, 0.0, 0.18);
    const double fat = kh_between(rng, 0.36, 0.46);
    const double head_x = kh_between(rng, 0.45, 0.55);
    const double head_y = kh_between(rng, -0.42, -0.28);
    const double head = kh_between(rng, 0.23, 0.28);
    const double beak = kh_between(rng, -0.06, 0.1); /* the beak points up or down */
    const double tail = kh_between(rng, -0.3, 0.3);
    const bool crest = kh_pose_chance(rng, 0.35);
    cairo_t *cr = kh_easel_path(easel);
    for (int i = 0; i < 2; i++) {
        const double x = -0.12 + 0.24 * i, foot = x + (i ? stride : -stride);
        cairo_move_to(cr, x, 0.4);
        cairo_line_to(cr, foot, 0.97);
        cairo_line_to(cr, foot + 0.16, 0.97);
        cairo_move_to(cr, foot, 0.97);
        cairo_line_to(cr, foot - 0.08, 0.97);
    }
    kh_easel_stroke(easel, KH_PART_LEG, &dress->third, 0.06);
    kh_easel_polygon(easel,
                     (const double[][2]){{-0.35, -0.08},
                                         {-1.0, tail - 0.12},
                                         {-0.92, tail + 0.02},
                                         {-1.0, tail + 0.16},
                                         {-0.4, 0.3}},
                     5);
    kh_easel_fill(easel, KH_PART_TAIL, &dress->second);
    if (crest) {
        kh_easel_polygon(easel,
                         (const double[][2]){{head_x - 0.2, head_y},
                                             {head_x - 0.4, head_y - 0.3},
                                             {head_x - 0.15, head_y - 0.26},
                                             {head_x - 0.18, head_y - 0.44},
                                             {head_x + 0.12, head_y - 0.1}},
                         5);
        kh_easel_fill(easel, KH_PART_HEAD, &dress->second);
    }
    kh_easel_polygon(easel,
                     (const double[][2]){{head_x + 0.1, head_y - 0.13},
                                         {1.0, head_y + beak},
                                         {head_x + 0.1, head_y + 0.15}},
                     3);
    kh_easel_fill(easel, KH_PART_BEAK, &dress->third);
    kh_easel_tilted_ellipse(easel, -0.05, 0.16, 0.56, fat, -0.3);
    kh_easel_fill(easel, KH_PART_BODY, &dress->body);
    kh_limb(cr, 0.2, 0.1, 0.3, head_x, head_y, head);
    kh_easel_fill(easel, KH_PART_HEAD, &dress->body);
    bird_wing(easel, dress, raised, rng);
    eye(easel, dress, head_x + 0.06, head_y - 0.05, 0.09);
}

/* Both wings of one half, from the body at x = c out to x = c + w. */
static void butterfly_wing(cairo_t *cr, double c, double w, double top, double low, bool upper) {
    if (upper) {
        cairo_move_to(cr, c, 0.05);
        cairo_curve_to(cr, c + 0.15 * w, -0.4, c + 0.5 * w, top - 0.1, c + 0.85 * w, top);
        cairo_curve_to(cr, c + 1.05 * w, top + 0.05, c + 1.05 * w, -0.1, c + 0.7 * w, 0.08);
        cairo_curve_to(cr, c + 0.4 * w, 0.2, c + 0.2 * w, 0.1, c, 0.05);
    } else {
        cairo_move_to(cr, c, 0.0);
        cairo_curve_to(cr, c + 0.4 * w, 0.0, c + 0.95 * w, 0.05, c + 0.8 * w, 0.4 * low + 0.1);
        cairo_curve_to(cr, c + 0.75 * w, 0.7 * low, c + 0.6 * w, low, c + 0.4 * w, low);
        cairo_curve_to(cr, c + 0.2 * w, low, c + 0.1 * w, 0.35, c, 0.15);
    }
    cairo_close_path(cr);
}

void kh_draw_butterfly(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double c = kh_between(rng, -0.22, 0.22); /* seen a little from one side */
    const double top = kh_between(rng, -0.85, -0.6);
    const double low = kh_between(rng, 0.6, 0.9);
    const double spot = kh_between(rng, 0.1, 0.17);
    const double feeler = kh_between(rng, 0.15, 0.32);
    const bool eyed = kh_pose_chance(rng, 0.6);
    const double w[2] = {-(1.0 + c) * 0.985, (1.0 - c) * 0.985};
    cairo_t *cr = kh_easel_path(easel);
    for (int i = 0; i < 2; i++) {
        butterfly_wing(cr, c, w[i], top, low, false);
        kh_easel_fill(easel, KH_PART_WING, &dress->second);
    }
    for (int i = 0; i < 2; i++) {
        butterfly_wing(cr, c, w[i], top, low, true);
        kh_easel_fill(easel, KH_PART_WING, &dress->body);
    }
    for (int i = 0; i < 2; i++) {
        kh_easel_ellipse(easel, c + 0.7 * w[i], 0.55 * top, spot * fabs(w[i]), spot);
        kh_easel_ellipse(easel, c + 0.45 * w[i], 0.6 * low, spot * fabs(w[i]), spot);
    }
    kh_easel_fill(easel, KH_PART_WING, &dress->third);
    if (eyed) {
        for (int i = 0; i < 2; i++)
            kh_easel_ellipse(easel, c + 0.7 * w[i], 0.55 * top, 0.5 * spot * fabs(w[i]),
                             0.5 * spot);
        kh_easel_fill(easel, KH_PART_WING, &dress->detail);
    }
    for (int side = -1; side <= 1; side += 2) {
        cairo_move_to(cr, c, -0.4);
        cairo_curve_to(cr, c + side * 0.05, -0.6, c + side * feeler, -0.75, c + side * feeler,
                       -0.9);
    }
    kh_easel_stroke(easel, KH_PART_ANTENNA, &dress->detail, 0.045);
    for (int side = -1; side <= 1; side += 2)
        kh_easel_ellipse(easel, c + side * feeler, -0.92, 0.05, 0.05);
    kh_easel_fill(easel, KH_PART_ANTENNA, &dress->detail);
    kh_easel_ellipse(easel, c, 0.12, 0.09, 0.48);
    kh_easel_fill(easel, KH_PART_BODY, &dress->detail);
    kh_easel_ellipse(easel, c, -0.4, 0.11, 0.11);
    kh_easel_fill(easel, KH_PART_HEAD, &dress->detail);
}

void kh_draw_snail(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double r = kh_between(rng, 0.56, 0.68);
    const double x = kh_between(rng, -0.28, -0.12);
    const double y = 0.86 - r;
    const double head_y = kh_between(rng, 0.15, 0.4);
    const double head_x = kh_between(rng, 0.68, 0.74);
    const double stalk = kh_between(rng, 0.42, 0.6);
    const double turns = kh_between(rng, 1.9, 2.7);
    const double start = kh_between(rng, 0.0, 2.0 * KH_PI);
    cairo_t *cr = kh_easel_path(easel);
    const double tips[2] = {head_x - 0.08, 0.92};
    for (int i = 0; i < 2; i++) {
        cairo_move_to(cr, head_x + 0.06 * i, head_y);
        cairo_line_to(cr, tips[i], head_y - stalk + 0.08 * i);
    }
    kh_easel_stroke(easel, KH_PART_ANTENNA, &dress->body, 0.08);
    for (int i = 0; i < 2; i++)
        kh_easel_ellipse(easel, tips[i], head_y - stalk + 0.08 * i, 0.085, 0.085);
    kh_easel_fill(easel, KH_PART_EYE, &dress->detail);
    cairo_move_to(cr, -1.0, 1.0);
    cairo_curve_to(cr, -0.8, 0.75, -0.5, 0.7, 0.2, 0.72);
    cairo_curve_to(cr, 0.4, 0.7, head_x - 0.22, head_y + 0.3, head_x - 0.2, head_y);
    cairo_curve_to(cr, head_x - 0.15, head_y - 0.22, 1.0, head_y - 0.2, 0.98, head_y + 0.08);
    cairo_curve_to(cr, 0.95, head_y + 0.35, 1.0, 1.0, 0.6, 1.0);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_BODY, &dress->body);
    kh_easel_ellipse(easel, x, y, r, r);
    kh_easel_fill(easel, KH_PART_SHELL, &dress->second);
    enum { STEPS = 48 };
    for (int i = 0; i <= STEPS; i++) {
        const double t = (double)i / STEPS, a = start + 2.0 * KH_PI * turns * t;
        cairo_line_to(cr, x + 0.88 * r * t * cos(a), y + 0.88 * r * t * sin(a));
    }
    kh_easel_stroke(easel, KH_PART_SHELL, &dress->third, 0.085);
    cairo_move_to(cr, 0.93, head_y + 0.16);
    cairo_line_to(cr, 0.82, head_y + 0.2);
    kh_easel_stroke(easel, KH_PART_HEAD, &dress->detail, 0.04);
}
