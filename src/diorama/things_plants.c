/* Tree, flower and mushroom. */
#include <math.h>

#include "diorama/limb.h"
#include "diorama/things.h"

static void broad_tree(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double half = kh_between(rng, 0.62, 0.9);
    const double low = kh_between(rng, 0.1, 0.3); /* lower rim of the crown */
    const double trunk = kh_between(rng, 0.1, 0.15);
    const double fork = kh_between(rng, 0.3, 0.4);
    const double lean = kh_between(rng, -0.1, 0.1);
    const size_t fruits = kh_pose_chance(rng, 0.5) ? 3 + kh_rng_below(rng, 4) : 0;
    const double mid = 0.5 * (low - 1.0), tall = 0.5 * (low + 1.0);
    cairo_t *cr = kh_easel_path(easel);
    kh_limb(cr, 0.0, 1.0 - trunk, trunk, lean, fork, 0.8 * trunk);
    kh_limb(cr, lean, fork, 0.8 * trunk, lean - 0.45 * half, mid + 0.3, 0.05);
    kh_limb(cr, lean, fork, 0.8 * trunk, lean + 0.45 * half, mid + 0.25, 0.05);
    kh_limb(cr, lean, fork, 0.8 * trunk, lean, mid, 0.06);
    kh_limb(cr, -2.0 * trunk, 0.97, 0.03, 0.0, 0.86, 0.1);
    kh_limb(cr, 2.0 * trunk, 0.97, 0.03, 0.0, 0.86, 0.1);
    kh_easel_fill(easel, KH_PART_TRUNK, &dress->second);
    /* lumps of leaves around the middle, of unequal size */
    const int lumps = 6 + (int)kh_rng_below(rng, 3);
    const double phase = kh_between(rng, 0.0, 1.0);
    kh_easel_ellipse(easel, 0.0, mid, 0.66 * half, 0.66 * tall);
    for (int i = 0; i < lumps; i++) {
        const double a = -KH_PI / 2.0 + 2.0 * KH_PI * (i + (i ? 0.4 * phase : 0.0)) / lumps;
        const double r = i ? kh_between(rng, 0.28, 0.42) : 0.34;
        kh_easel_ellipse(easel, (1.0 - r) * half * cos(a), mid + (1.0 - r) * tall * sin(a),
                         r * half, r * tall);
    }
    kh_easel_fill(easel, KH_PART_CROWN, &dress->body);
    for (size_t i = 0; i < fruits; i++) {
        const double a = 2.4 * (double)i + phase, d = 0.25 + 0.09 * (double)i;
        kh_easel_ellipse(easel, d * half * cos(a), mid + d * tall * sin(a), 0.075, 0.075);
    }
    if (fruits > 0) kh_easel_fill(easel, KH_PART_CROWN, &dress->third);
}

static void fir_tree(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const int tiers = 3 + (int)kh_rng_below(rng, 2);
    const double half = kh_between(rng, 0.55, 0.75);
    const double foot = kh_between(rng, 0.6, 0.72);
    const double sag = kh_between(rng, 0.0, 0.1);
    cairo_t *cr = kh_easel_path(easel);
    kh_easel_box(easel, -0.1, 0.4, 0.1, 1.0, 0.0);
    kh_easel_fill(easel, KH_PART_TRUNK, &dress->second);
    for (int i = tiers - 1; i >= 0; i--) {
        const double y1 = -1.0 + (foot + 1.0) * (i + 1.0) / tiers;
        const double y0 = i ? y1 - (foot + 1.0) / tiers * 1.5 : -1.0;
        const double w = half * (0.35 + 0.65 * (i + 1.0) / tiers);
        cairo_move_to(cr, 0.0, y0);
        cairo_line_to(cr, w, y1);
        cairo_curve_to(cr, 0.4 * w, y1 + sag - 0.12, -0.4 * w, y1 + sag - 0.12, -w, y1);
        cairo_close_path(cr);
    }
    kh_easel_fill(easel, KH_PART_CROWN, &dress->body);
}

void kh_draw_tree(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    if (kh_pose_chance(rng, 0.3))
        fir_tree(easel, dress, rng);
    else
        broad_tree(easel, dress, rng);
}

static void leaf(cairo_t *cr, double x, double y, double tip_x, double tip_y, double fat) {
    const double dx = tip_x - x, dy = tip_y - y;
    cairo_move_to(cr, x, y);
    cairo_curve_to(cr, x + 0.3 * dx + fat * dy, y + 0.3 * dy - fat * dx, x + 0.7 * dx + fat * dy,
                   y + 0.7 * dy - fat * dx, tip_x, tip_y);
    cairo_curve_to(cr, x + 0.7 * dx - fat * dy, y + 0.7 * dy + fat * dx, x + 0.3 * dx - fat * dy,
                   y + 0.3 * dy + fat * dx, x, y);
    cairo_close_path(cr);
}

void kh_draw_flower(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const int petals = 5 + (int)kh_rng_below(rng, 5);
    const double reach = kh_between(rng, 0.52, 0.62);
    const double bend = kh_between(rng, -0.25, 0.25);
    const double phase = kh_between(rng, 0.0, 2.0 * KH_PI);
    const bool pointed = kh_pose_chance(rng, 0.4);
    const double heart = reach * kh_between(rng, 0.3, 0.4);
    const double leaf_y = kh_between(rng, 0.4, 0.6);
    const double leaf_reach = kh_between(rng, 0.4, 0.6);
    const double y = -1.0 + reach;
    cairo_t *cr = kh_easel_path(easel);
    cairo_move_to(cr, 0.0, y);
    cairo_curve_to(cr, 0.0, 0.2, bend, 0.5, bend, 0.95);
    kh_easel_stroke(easel, KH_PART_STEM, &dress->third, 0.1);
    leaf(cr, 0.7 * bend, leaf_y + 0.25, leaf_reach + 0.3 * bend, leaf_y - 0.1, 0.3);
    leaf(cr, 0.8 * bend, leaf_y + 0.3, -leaf_reach + 0.3 * bend, leaf_y, -0.3);
    kh_easel_fill(easel, KH_PART_LEAF, &dress->third);
    for (int i = 0; i < petals; i++) {
        const double a = phase + 2.0 * KH_PI * i / petals;
        const double fat = petals < 7 ? 0.42 : 0.33;
        if (pointed)
            leaf(cr, 0.0, y, reach * cos(a), y + reach * sin(a), fat);
        else
            kh_easel_tilted_ellipse(easel, 0.62 * reach * cos(a), y + 0.62 * reach * sin(a),
                                    0.38 * reach, 0.38 * reach * (petals < 7 ? 0.8 : 0.62), a);
    }
    kh_easel_fill(easel, KH_PART_PETAL, &dress->body);
    kh_easel_ellipse(easel, 0.0, y, heart, heart);
    kh_easel_fill(easel, KH_PART_CENTRE, &dress->second);
}

void kh_draw_mushroom(kh_easel *easel, const kh_dress *dress, kh_rng *rng) {
    const double half = kh_between(rng, 0.72, 0.98);
    const double rim = kh_between(rng, -0.05, 0.2);
    const double stem = kh_between(rng, 0.2, 0.3);
    const double bulge = stem + kh_between(rng, 0.06, 0.16);
    const double peak = kh_between(rng, 0.3, 0.85); /* how blunt the cap is */
    const double spot = kh_between(rng, 0.1, 0.15);
    cairo_t *cr = kh_easel_path(easel);
    cairo_move_to(cr, -stem, rim);
    cairo_curve_to(cr, -stem, 0.5, -bulge, 0.6, -bulge, 0.85);
    cairo_curve_to(cr, -bulge, 1.05, bulge, 1.05, bulge, 0.85);
    cairo_curve_to(cr, bulge, 0.6, stem, 0.5, stem, rim);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_STEM, &dress->second);
    kh_easel_polygon(easel,
                     (const double[][2]){{-stem, rim + 0.2},
                                         {stem, rim + 0.2},
                                         {stem + 0.13, rim + 0.42},
                                         {-stem - 0.13, rim + 0.42}},
                     4);
    kh_easel_fill(easel, KH_PART_STEM, &dress->light);
    /* the gills below the cap */
    kh_easel_ellipse(easel, 0.0, rim, 0.94 * half, 0.17);
    kh_easel_fill(easel, KH_PART_CAP, &dress->light);
    for (int i = -3; i <= 3; i++) {
        cairo_move_to(cr, 0.25 * stem * i, rim + 0.02);
        cairo_line_to(cr, 0.26 * half * i, rim + 0.13 - 0.008 * i * i);
    }
    kh_easel_stroke(easel, KH_PART_CAP, &dress->detail, 0.03);
    cairo_move_to(cr, -half, rim + 0.03);
    cairo_curve_to(cr, -half, rim - 0.6, -peak * half, -1.0, 0.0, -1.0);
    cairo_curve_to(cr, peak * half, -1.0, half, rim - 0.6, half, rim + 0.03);
    cairo_curve_to(cr, 0.6 * half, rim - 0.06, -0.6 * half, rim - 0.06, -half, rim + 0.03);
    cairo_close_path(cr);
    kh_easel_fill(easel, KH_PART_CAP, &dress->body);
    const double tall = rim + 1.0;
    kh_easel_ellipse(easel, -0.45 * half, rim - 0.32 * tall, spot, spot);
    kh_easel_ellipse(easel, 0.05 * half, rim - 0.66 * tall, 1.2 * spot, 1.1 * spot);
    kh_easel_ellipse(easel, 0.2 * half, rim - 0.24 * tall, spot, 0.9 * spot);
    kh_easel_ellipse(easel, 0.62 * half, rim - 0.33 * tall, 0.7 * spot, 0.8 * spot);
    kh_easel_fill(easel, KH_PART_CAP, &dress->third);
}
