#include "diorama/stage.h"

#include "diorama/colours.h"

#include <math.h>

#define TURN 6.283185307179586

static void star(kh_easel *easel, size_t tips, double inner) {
    double points[14][2];
    for (size_t i = 0; i < 2 * tips; i++) {
        const double radius = i % 2 ? inner : 1.0;
        const double angle = TURN * (double)i / (double)(2 * tips) - TURN / 4;
        points[i][0] = radius * cos(angle);
        points[i][1] = radius * sin(angle);
    }
    kh_easel_polygon(easel, (const double(*)[2])points, 2 * tips);
}

static void pebble(kh_easel *easel, kh_rng *rng) {
    double points[7][2];
    for (size_t i = 0; i < 7; i++) {
        const double radius = kh_between(rng, 0.68, 1.0);
        const double angle = TURN * (double)i / 7;
        points[i][0] = radius * cos(angle);
        points[i][1] = 0.75 * radius * sin(angle);
    }
    kh_easel_polygon(easel, (const double(*)[2])points, 7);
}

void kh_distractor_draw(kh_easel *easel, kh_distractor distractor, const kh_paint *paint,
                        kh_rng *rng) {
    switch (distractor) {
    case KH_DISTRACTOR_BALL:
        kh_easel_ellipse(easel, 0, 0, 0.9, 0.9);
        break;
    case KH_DISTRACTOR_RING:
        kh_easel_ellipse(easel, 0, 0, 0.75, 0.75);
        kh_easel_stroke(easel, KH_PART_BODY, paint, kh_between(rng, 0.25, 0.4));
        return;
    case KH_DISTRACTOR_STAR: {
        const size_t tips = 4 + kh_rng_below(rng, 3);
        star(easel, tips, kh_between(rng, 0.35, 0.5));
        break;
    }
    case KH_DISTRACTOR_CROSS: {
        const double arm = kh_between(rng, 0.2, 0.32);
        const double points[12][2] = {{-arm, -1},  {arm, -1},  {arm, -arm}, {1, -arm},
                                      {1, arm},    {arm, arm}, {arm, 1},    {-arm, 1},
                                      {-arm, arm}, {-1, arm},  {-1, -arm},  {-arm, -arm}};
        kh_easel_polygon(easel, points, 12);
        break;
    }
    case KH_DISTRACTOR_PEBBLE:
        pebble(easel, rng);
        break;
    case KH_DISTRACTOR_CRATE: {
        const double height = kh_between(rng, 0.6, 0.85);
        kh_easel_box(easel, -0.85, -height, 0.85, height, 0.05);
        break;
    }
    case KH_DISTRACTOR_POST: {
        const double half = kh_between(rng, 0.14, 0.24);
        kh_easel_box(easel, -half, -1, half, 1, 0.04);
        break;
    }
    case KH_DISTRACTORS:
        break;
    }
    kh_easel_fill(easel, KH_PART_BODY, paint);
}
