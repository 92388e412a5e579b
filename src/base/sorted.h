/* base/sorted.h: order statistics of doubles. */
#ifndef KH_BASE_SORTED_H
#define KH_BASE_SORTED_H

#include <stddef.h>

/* For qsort: ascending. No NaN. */
int kh_compare_doubles(const void *left, const void *right);

/* numpy's default: linear interpolation at q (count - 1) of values in ascending order. count > 0, q
 * in [0, 1]. */
double kh_sorted_quantile(const double *sorted, size_t count, double q);

#endif
