/* lens/distance.h: distances between classes' activation maps, in double. */
#ifndef KH_LENS_DISTANCE_H
#define KH_LENS_DISTANCE_H

#include "lens/lens.h"

/* |a - b| */
double kh_l2_distance(const double *a, const double *b, size_t count);
/* Of every two rows: rows [count, width], out [count, count]. */
void kh_l2_matrix(const double *rows, size_t count, size_t width, double *out);
/* Mean length of the rows; those that hold NaN are left out, and of none it is NaN. */
double kh_mean_norm(const double *rows, size_t count, size_t width);
/* Root mean square distance of an image of one class from an image of another, from each class's
 * mean map and mean squared norm: sqrt(E|x|^2 + E|y|^2 - 2 E[x].E[y]). */
double kh_rms_between(const double *mean_a, double square_a, const double *mean_b, double square_b,
                      size_t count);
/* Of two different images of one class, from the sum of squared norms over its n images. NaN for
 * fewer than two. */
double kh_rms_within(const double *mean, double square_sum, size_t n, size_t count);

/* The classes that the lens compares. */
enum { KH_DISTANCE_CLASSES = 40 };
typedef struct kh_distance_choice {
    size_t classes[KH_DISTANCE_CLASSES], count;
    size_t found;    /* of those, how many have labelled images */
    const char *why; /* "asked", "report" (its five), "all", "seen" (those with labelled images) */
} kh_distance_choice;

/* asked [count] distinct classes in any order; none: of ImageNet's 1000 the report's five if two of
 * them have labelled images; else all of at most KH_DISTANCE_CLASSES; else the first with labelled
 * images. The same choice has the same order. is_seen [classes] */
kh_distance_choice kh_distance_choose(const size_t *asked, size_t count, size_t classes,
                                      const bool *is_seen);

#endif
