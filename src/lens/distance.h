/* lens/distance.h: distances between classes' activation maps, in double. */
#ifndef KH_LENS_DISTANCE_H
#define KH_LENS_DISTANCE_H

#include "lens/lens.h"

/* |a - b| */
double kh_l2_distance(const double *a, const double *b, size_t count);
/* Root mean square distance of an image of one class from an image of another, from each class's
 * mean map and mean squared norm: sqrt(E|x|^2 + E|y|^2 - 2 E[x].E[y]). */
double kh_rms_between(const double *mean_a, double square_a, const double *mean_b, double square_b,
                      size_t count);
/* Of two different images of one class, from the sum of squared norms over its n images. NaN for
 * fewer than two. */
double kh_rms_within(const double *mean, double square_sum, size_t n, size_t count);

/* How many of the classes that the lens compares have images. */
size_t kh_distance_compared(const kh_lens_setup *setup);

#endif
