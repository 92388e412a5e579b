/* dream/regular.h: what is added to a loss so that images stay images. */
#ifndef KH_DREAM_REGULAR_H
#define KH_DREAM_REGULAR_H

#include <stddef.h>

/* Total variation of one plane [height, width]: the Frobenius norms of its four difference images
 * (right, down, two diagonals), added up. g (or NULL) gets `weight` times its gradient added; a
 * norm of 0 has gradient 0. */
double kh_regular_tv(const float *plane, size_t height, size_t width, double weight, float *g);

#endif
