/* lens/pairs.h: best pairs on plain arrays. */
#ifndef KH_LENS_PAIRS_H
#define KH_LENS_PAIRS_H

#include "base/pool.h"
#include "keyhole/lens.h"

/* fold [units, classes]; var [units]; gram [units, units]: covariances, overwritten; units >= 2.
 * pool may be NULL. */
void kh_pairs_best(kh_pool *pool, const float *fold, const double *var, float *gram, double eps,
                   const double *constant, size_t units, size_t classes, kh_pair *out);

/* The same of weights[c, i] v_i: weights [classes, units], gram is only read; a class whose first
 * weight is NaN gets NaN scores. Errors: KH_E_MEMORY. */
kh_status kh_pairs_best_weighted(kh_pool *pool, const float *fold, const double *var,
                                 const float *gram, const float *weights, double eps,
                                 const double *constant, size_t units, size_t classes, kh_pair *out,
                                 kh_error *err);

#endif
