#include "dream/regular.h"

#include <math.h>
#include <stdbool.h>

/* One difference image: out[y][x] = in[y + dy][x + dx] - in[y][x], dx in -1..1. */
static double one_norm(const float *plane, size_t height, size_t width, size_t dy, ptrdiff_t dx,
                       double weight, float *g) {
    const size_t first = dx < 0 ? 1 : 0, end = dx > 0 ? width - 1 : width;
    double sum = 0;
    for (size_t y = 0; y + dy < height; y++)
        for (size_t x = first; x < end; x++) {
            const size_t other = (y + dy) * width + (size_t)((ptrdiff_t)x + dx);
            const double d = (double)plane[other] - (double)plane[y * width + x];
            sum += d * d;
        }
    const double norm = sqrt(sum);
    if (!g || norm == 0) return norm;
    for (size_t y = 0; y + dy < height; y++)
        for (size_t x = first; x < end; x++) {
            const size_t other = (y + dy) * width + (size_t)((ptrdiff_t)x + dx);
            const double d = (double)plane[other] - (double)plane[y * width + x];
            const float step = (float)(weight * d / norm);
            g[other] += step;
            g[y * width + x] -= step;
        }
    return norm;
}

double kh_regular_tv(const float *plane, size_t height, size_t width, double weight, float *g) {
    return one_norm(plane, height, width, 0, 1, weight, g) +
           one_norm(plane, height, width, 1, 0, weight, g) +
           one_norm(plane, height, width, 1, 1, weight, g) +
           one_norm(plane, height, width, 1, -1, weight, g);
}
