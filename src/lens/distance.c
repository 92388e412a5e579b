#include "lens/distance.h"

#include <math.h>

double kh_l2_distance(const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

static double dot(const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

double kh_rms_between(const double *mean_a, double square_a, const double *mean_b, double square_b,
                      size_t count) {
    return sqrt(fmax(square_a + square_b - 2 * dot(mean_a, mean_b, count), 0));
}

double kh_rms_within(const double *mean, double square_sum, size_t n, size_t count) {
    if (n < 2) return (double)NAN;
    const double spread = square_sum - (double)n * dot(mean, mean, count);
    return sqrt(fmax(2 * spread / ((double)n - 1), 0));
}
