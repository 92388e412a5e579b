/* lens/scores.h: kh_lens_score_stats on the threads of a pool. */
#ifndef KH_LENS_SCORES_H
#define KH_LENS_SCORES_H

#include "base/pool.h"
#include "keyhole/lens.h"

/* pool may be NULL; the result does not depend on it. */
kh_status kh_score_stats_on(kh_pool *pool, const float *scores, size_t units, size_t classes,
                            kh_score_stats *out, kh_error *err);

#endif
