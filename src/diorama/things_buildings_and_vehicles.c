/* House, sailboat, car, rocket and hot-air balloon. */
#include <math.h>

#include "diorama/limb.h"
#include "diorama/things.h"

static void house_windows(kh_easel *easel, const kh_dress *dress, double half, double top,
                          double door_x, kh_rng *rng) {
    const double size = kh_between(rng, 0.15, 0.2) * half;
    const bool round = kh_pose_chance(rng, 0.25);
    const double y = top + (1.0 - top) * kh_between(rng, 0.3, 0.4);
    const double place[3] = {-0.55 * half, 0.0, 0.55 * half};
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 3; i++) {
            if (fabs(place[i] - door_x) < 0.3 * half) continue;
            if (pass == 0 && round) kh_easel_ellipse(easel, place[i], y, size, size);
            if (pass == 0 && !round)
                kh_easel_box(easel, place[i] - size, y - size, place[i] + size, y + size, 0.01);
            if (pass == 1) {
                cairo_t *cr = kh_easel_path(easel);
                cairo_move_to(cr, place[i] - size, y);
                cairo_line_to(cr, place[i] + size, y);
                cairo_move_to(cr, place[i], y - size);
                cairo_line_to(cr, place[i], y + size);
            }
        }
        if (pass == 0) kh_easel_fill(easel, KH_PART_WINDOW, &dress->light);
    }
    kh_easel_stroke(easel, KH_PART_WINDOW, &dress->detail, 0.05 * half);
}

void kh_draw_house(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const bool wide = kh_pose_chance(rng, 0.5);
    const double half = wide ? 1.0 : kh_between(rng, 0.7, 0.95);
    const double peak = wide ? kh_between(rng, -0.95, -0.4) : -1.0;
    const double eaves = peak + (1.0 - peak) * kh_between(rng, 0.38, 0.5);
    const double wall = half * kh_between(rng, 0.78, 0.88);
    const double ridge = kh_pose_chance(rng, 0.5) ? 0.0 : half * kh_between(rng, 0.3, 0.6);
    const double chimney = half * kh_between(rng, 0.35, 0.5);
    const double door_x = half * 0.55 * ((double)kh_rng_below(rng, 3) - 1.0);
    const double door = half * kh_between(rng, 0.15, 0.19);
    kh_easel_box(easel, chimney, peak, chimney + 0.22 * half, eaves, 0.0);
    kh_easel_fill(easel, KH_PART_CHIMNEY, &dress->third);
    kh_easel_box(easel, -wall, eaves - 0.05, wall, 1.0, 0.0);
    kh_easel_fill(easel, KH_PART_WALL, &dress->body);
    kh_easel_polygon(
        easel, (const double[][2]){{-half, eaves}, {-ridge, peak}, {ridge, peak}, {half, eaves}},
        4);
    kh_easel_fill(easel, KH_PART_ROOF, &dress->second);
    house_windows(easel, dress, half, eaves, door_x, rng);
    kh_easel_box(easel, door_x - door, 1.0 - 0.62 * (1.0 - eaves), door_x + door, 1.0, 0.0);
    kh_easel_fill(easel, KH_PART_DOOR, &dress->third);
    kh_easel_ellipse(easel, door_x + 0.6 * door, 1.0 - 0.28 * (1.0 - eaves), 0.04, 0.04);
    kh_easel_fill(easel, KH_PART_DOOR, &dress->detail);
}

void kh_draw_sailboat(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double half = kh_between(rng, 0.75, 0.98);
    const double deck = kh_between(rng, 0.5, 0.62);
    const double mast = kh_between(rng, -0.12, 0.12);
    const double boom = deck - kh_between(rng, 0.12, 0.2);
    const double main_top = kh_between(rng, -0.88, -0.78);
    const double main_reach = mast - half * kh_between(rng, 0.65, 0.85);
    const double jib_top = kh_between(rng, -0.8, -0.4);
    const double belly = kh_between(rng, 0.02, 0.22);
    cairo_t *cr = kh_easel_path(easel);
    kh_easel_box(easel, mast - 0.04, -0.98, mast + 0.04, deck + 0.05, 0.0);
    kh_easel_fill(easel, KH_PART_MAST, &dress->detail);
    /* the main sail behind the mast, full of wind, and the jib before it */
    cairo_move_to(cr, mast - 0.06, main_top);
    cairo_line_to(cr, mast - 0.06, boom);
    cairo_line_to(cr, main_reach, boom);
    cairo_curve_to(cr, main_reach + 0.02 - belly, boom - 0.5, mast - 0.4 - belly, main_top + 0.3,
                   mast - 0.06, main_top);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_SAIL, &dress->second);
    cairo_move_to(cr, mast + 0.08, jib_top);
    cairo_curve_to(cr, mast + 0.3 + 0.5 * belly, jib_top + 0.3, half - 0.15, boom - 0.3,
                   half - 0.08, boom + 0.02);
    cairo_line_to(cr, mast + 0.08, boom - 0.04);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_SAIL, &dress->third);
    kh_easel_polygon(easel, (const double[][2]){{mast, -1.0}, {mast + 0.3, -0.91}, {mast, -0.82}},
                     3);
    kh_easel_fill(easel, KH_PART_MAST, &dress->third);
    cairo_move_to(cr, -half, deck);
    cairo_line_to(cr, half, deck);
    cairo_curve_to(cr, half - 0.08, deck + 0.25, half - 0.2, 1.0, half - 0.4, 1.0);
    cairo_line_to(cr, -half + 0.3, 1.0);
    cairo_curve_to(cr, -half + 0.15, 0.95, -half + 0.05, deck + 0.25, -half, deck);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_HULL, &dress->body);
}

/* Outline of the cabin: where its roof begins and ends and where its screens meet the body, from
 * back to front. */
typedef struct car_shape {
    double back, roof_back, roof_front, front;
    double roof; /* how high the cabin is above the body */
} car_shape;

static const car_shape car_shapes[] = {
    {-0.72, -0.42, 0.12, 0.5, 0.5},   /* saloon */
    {-0.94, -0.82, 0.1, 0.5, 0.52},   /* estate */
    {-0.25, -0.1, 0.3, 0.6, 0.54},    /* pick-up */
    {-0.97, -0.93, 0.45, 0.75, 0.66}, /* van */
    {-0.85, -0.3, -0.05, 0.4, 0.42},  /* coupe */
};

void kh_draw_car(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const car_shape *s = &car_shapes[kh_rng_below(rng, sizeof car_shapes / sizeof *car_shapes)];
    const double wheel = kh_between(rng, 0.2, 0.27);
    const double sill = 1.0 - wheel * kh_between(rng, 0.75, 1.0);
    const double waist = sill - kh_between(rng, 0.34, 0.42);
    const double roof = waist - s->roof * kh_between(rng, 0.9, 1.1);
    const double bonnet = waist + kh_between(rng, 0.02, 0.14);
    const double hind = kh_between(rng, -0.66, -0.56);
    const double fore = kh_between(rng, 0.54, 0.62);
    const double wheels[2] = {hind, fore};
    const double mid = 0.5 * (s->roof_back + s->roof_front);
    cairo_t *cr = kh_easel_path(easel);
    kh_easel_polygon(easel,
                     (const double[][2]){{s->back, waist + 0.06},
                                         {s->roof_back, roof},
                                         {s->roof_front, roof},
                                         {s->front, waist + 0.06}},
                     4);
    kh_easel_fill(easel, KH_PART_CABIN, &dress->second);
    const double in = 0.07, top = roof + 0.09;
    kh_easel_polygon(easel,
                     (const double[][2]){{s->back + 1.6 * in, waist},
                                         {s->roof_back + in, top},
                                         {mid - 0.04, top},
                                         {mid - 0.04, waist}},
                     4);
    kh_easel_polygon(easel,
                     (const double[][2]){{mid + 0.04, waist},
                                         {mid + 0.04, top},
                                         {s->roof_front - 0.3 * in, top},
                                         {s->front - 1.6 * in, waist}},
                     4);
    kh_easel_fill(easel, KH_PART_WINDOW, &dress->light);
    cairo_move_to(cr, -1.0, waist + 0.1);
    cairo_curve_to(cr, -1.0, waist, -0.95, waist, -0.9, waist);
    cairo_line_to(cr, s->front, waist);
    cairo_curve_to(cr, 0.85, bonnet, 1.0, bonnet + 0.02, 1.0, bonnet + 0.16);
    cairo_line_to(cr, 1.0, sill);
    cairo_line_to(cr, -1.0, sill);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_BODY, &dress->body);
    cairo_move_to(cr, mid, waist + 0.02);
    cairo_line_to(cr, mid, sill - 0.05);
    cairo_move_to(cr, mid - 0.22, waist + 0.12);
    cairo_line_to(cr, mid - 0.12, waist + 0.12);
    kh_easel_stroke(easel, KH_PART_DOOR, &dress->detail, 0.035);
    kh_easel_ellipse(easel, 0.93, bonnet + 0.15, 0.07, 0.08);
    kh_easel_fill(easel, KH_PART_BODY, &dress->light);
    for (int i = 0; i < 2; i++)
        kh_easel_ellipse(easel, wheels[i], 1.0 - wheel, wheel, wheel);
    kh_easel_fill(easel, KH_PART_WHEEL, &dress->detail);
    for (int i = 0; i < 2; i++)
        kh_easel_ellipse(easel, wheels[i], 1.0 - wheel, 0.5 * wheel, 0.5 * wheel);
    kh_easel_fill(easel, KH_PART_WHEEL, &dress->third);
}

void kh_draw_rocket(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double half = kh_between(rng, 0.22, 0.34);
    const double tail = kh_between(rng, 0.4, 0.55);   /* y of the lower end */
    const double cone = kh_between(rng, -0.55, -0.4); /* y where the nose begins */
    const double fin = half + kh_between(rng, 0.22, 0.4);
    const double fin_top = kh_between(rng, -0.05, 0.15);
    const double sweep = kh_between(rng, 0.1, 0.3);
    const bool two = kh_pose_chance(rng, 0.5);
    cairo_t *cr = kh_easel_path(easel);
    cairo_move_to(cr, -0.7 * half, tail);
    cairo_curve_to(cr, -1.2 * half, tail + 0.25, -0.3 * half, 0.8, 0.0, 1.0);
    cairo_curve_to(cr, 0.3 * half, 0.8, 1.2 * half, tail + 0.25, 0.7 * half, tail);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_FLAME, &dress->third);
    for (int side = -1; side <= 1; side += 2) {
        cairo_move_to(cr, side * 0.8 * half, fin_top);
        cairo_curve_to(cr, side * (half + 0.1), fin_top + 0.1, side * fin, fin_top + 0.2,
                       side * fin, tail + sweep);
        cairo_line_to(cr, side * 0.7 * half, tail - 0.04);
        cairo_close_path(cr);
    }
    kh_easel_fill(easel, KH_PART_FIN, &dress->second);
    cairo_move_to(cr, -half, cone);
    cairo_curve_to(cr, -1.15 * half, 0.0, -half, 0.3, -0.75 * half, tail);
    cairo_line_to(cr, 0.75 * half, tail);
    cairo_curve_to(cr, half, 0.3, 1.15 * half, 0.0, half, cone);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_BODY, &dress->body);
    cairo_move_to(cr, -half, cone + 0.01);
    cairo_curve_to(cr, -0.8 * half, cone - 0.3, -0.3 * half, -0.85, 0.0, -1.0);
    cairo_curve_to(cr, 0.3 * half, -0.85, 0.8 * half, cone - 0.3, half, cone + 0.01);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_NOSE, &dress->second);
    const double pane = 0.5 * half, y = cone + 1.5 * pane;
    kh_easel_ellipse(easel, 0.0, y, pane, pane);
    if (two) kh_easel_ellipse(easel, 0.0, y + 2.6 * pane, pane, pane);
    kh_easel_fill(easel, KH_PART_WINDOW, &dress->detail);
    kh_easel_ellipse(easel, 0.0, y, 0.65 * pane, 0.65 * pane);
    if (two) kh_easel_ellipse(easel, 0.0, y + 2.6 * pane, 0.65 * pane, 0.65 * pane);
    kh_easel_fill(easel, KH_PART_WINDOW, &dress->light);
    kh_easel_box(easel, -0.06, fin_top + 0.14, 0.06, tail + 0.14, 0.05);
    kh_easel_fill(easel, KH_PART_FIN, &dress->second);
}

/* One side of the envelope at `across` of its width (-1 left rim, 1 right rim), from the crown down
 * to the mouth. */
static void gore_side(cairo_t *cr, double across, double half, double mouth, bool down) {
    const double x = across * half, waist = -1.0 + 0.95 * half, end = across * 0.2;
    if (down) {
        cairo_curve_to(cr, 1.0 * x * 0.62, -1.0, x, waist - 0.5 * half, x, waist);
        cairo_curve_to(cr, x, waist + 0.5 * half, 1.3 * end, mouth - 0.2, end, mouth);
    } else {
        cairo_curve_to(cr, 1.3 * end, mouth - 0.2, x, waist + 0.5 * half, x, waist);
        cairo_curve_to(cr, x, waist - 0.5 * half, 1.0 * x * 0.62, -1.0, 0.0, -1.0);
    }
}

void kh_draw_balloon(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double half = kh_between(rng, 0.68, 0.85);
    const double mouth = kh_between(rng, 0.42, 0.52);
    const double basket = kh_between(rng, 0.14, 0.19);
    const double rim = 1.0 - kh_between(rng, 0.22, 0.3);
    const double gore = kh_between(rng, 0.35, 0.5);
    cairo_t *cr = kh_easel_path(easel);
    cairo_move_to(cr, -0.17, mouth);
    cairo_line_to(cr, -basket + 0.02, rim + 0.02);
    cairo_move_to(cr, 0.17, mouth);
    cairo_line_to(cr, basket - 0.02, rim + 0.02);
    kh_easel_stroke(easel, KH_PART_ROPE, &dress->detail, 0.045);
    kh_easel_box(easel, -basket, rim, basket, 1.0, 0.05);
    kh_easel_fill(easel, KH_PART_BASKET, &dress->third);
    cairo_move_to(cr, 0.0, -1.0);
    gore_side(cr, 1.0, half, mouth, true);
    cairo_line_to(cr, -0.2, mouth);
    gore_side(cr, -1.0, half, mouth, false);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_ENVELOPE, &dress->body);
    cairo_move_to(cr, 0.0, -1.0);
    gore_side(cr, gore, half, mouth, true);
    cairo_line_to(cr, -0.2 * gore, mouth);
    gore_side(cr, -gore, half, mouth, false);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_ENVELOPE, &dress->second);
    kh_easel_box(easel, -0.21, mouth - 0.03, 0.21, mouth + 0.05, 0.02);
    kh_easel_fill(easel, KH_PART_ENVELOPE, &dress->third);
}
