/* figure/scene.h: made-up pictures and heatmaps for figure tests. */
#ifndef KH_TEST_FIGURE_SCENE_H
#define KH_TEST_FIGURE_SCENE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "keyhole/figure.h"

/* A disc in front of hills; `seed` moves and colours it. rgb: [side, side, 3]. */
static inline void kh_scene_picture(uint8_t *rgb, size_t side, unsigned seed) {
    const double cx = 0.3 + 0.12 * (double)(seed % 4), cy = 0.45 + 0.08 * (double)(seed % 3);
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            uint8_t *p = rgb + (y * side + x) * 3;
            const double u = (double)x / (double)side, v = (double)y / (double)side;
            const double hill = 0.62 + 0.08 * sin(9 * u + (double)seed);
            const double d = hypot(u - cx, v - cy);
            p[0] = (uint8_t)(v > hill ? 70 + 60 * v : 150 + 80 * v);
            p[1] = (uint8_t)(v > hill ? 110 + 60 * u : 185 + 40 * v);
            p[2] = (uint8_t)(v > hill ? 50 : 235);
            if (d > 0.21) continue;
            const double light = 1.1 - 3 * hypot(u - cx + 0.06, v - cy + 0.06);
            p[0] = (uint8_t)(light * (seed % 2 ? 220 : 90));
            p[1] = (uint8_t)(light * (seed % 3 ? 90 : 160));
            p[2] = (uint8_t)(light * 120);
        }
}

/* A blob of heat (strength 0..1) over the picture, averaged half and half. table: 256 colours. */
static inline void kh_scene_overlay(uint8_t *rgb, size_t side, unsigned seed, unsigned rank,
                                    const uint8_t (*table)[3]) {
    kh_scene_picture(rgb, side, seed);
    const double cx = 0.3 + 0.12 * (double)(seed % 4) + 0.1 * rank,
                 cy = 0.45 + 0.08 * (double)(seed % 3) - 0.05 * rank;
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            const double u = ((double)(x * 14 / side) + 0.5) / 14,
                         v = ((double)(y * 14 / side) + 0.5) / 14;
            const double heat = exp(-pow(hypot(u - cx, v - cy) / (0.16 + 0.03 * rank), 2));
            const uint8_t *c = table[(size_t)(255 * heat)];
            uint8_t *p = rgb + (y * side + x) * 3;
            for (size_t k = 0; k < 3; k++)
                p[k] = (uint8_t)((p[k] + c[k]) / 2);
        }
}

/* OpenCV's JET by its formula. */
static inline void kh_scene_jet(uint8_t table[256][3]) {
    for (int i = 0; i < 256; i++) {
        const double c[3] = {fmin(4 * i - 382.5, 1147.5 - 4 * i),
                             fmin(4 * i - 127.5, 892.5 - 4 * i),
                             fmin(4 * i + 127.5, 637.5 - 4 * i)};
        for (size_t k = 0; k < 3; k++)
            table[i][k] = (uint8_t)lrint(fmax(0, fmin(255, c[k])));
    }
}

#endif
