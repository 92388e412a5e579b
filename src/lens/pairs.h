/* lens/pairs.h: best pairs on plain arrays. */
#ifndef KH_LENS_PAIRS_H
#define KH_LENS_PAIRS_H

#include "base/pool.h"
#include "keyhole/lens.h"

/* fold [units, classes]; var [units]; gram [units, units]: covariances, overwritten; units >= 2.
 * pool may be NULL. */
void kh_pairs_best(kh_pool *pool, const float *fold, const double *var, float *gram, double eps,
                   const double *constant, size_t units, size_t classes, kh_pair *out);

#endif
