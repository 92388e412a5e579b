/* lens/attribution.h: how a class's contributions spread over the neurons of a block. */
#ifndef KH_LENS_ATTRIBUTION_H
#define KH_LENS_ATTRIBUTION_H

#include "lens/values.h"

enum { KH_ATTRIBUTION_TOP = 10 };

typedef struct kh_attribution {
    double sum;        /* of all contributions */
    double cancel;     /* sum of |x| over |sum of x| */
    size_t k50, k90;   /* fewest neurons with half (nine tenths) of the sum of |x| */
    double top_value;  /* of the neuron with the largest |x| */
    double overlap[3]; /* of the 1, 5, 10 largest contributions with the best aligned ones */
    double spearman;   /* rank correlation of contribution and alignment over all neurons */
    size_t top[KH_ATTRIBUTION_TOP];
} kh_attribution;

typedef struct kh_attribution_scratch {
    size_t *order_a, *order_b;
    double *rank_a, *rank_b;
    float *magnitude;
} kh_attribution_scratch;

kh_status kh_attribution_scratch_init(kh_attribution_scratch *scratch, size_t neurons,
                                      kh_error *err);
void kh_attribution_scratch_clear(kh_attribution_scratch *scratch);

/* contributions, alignment [neurons] of one class. Errors: KH_E_MEMORY. */
kh_status kh_attribution_of(const float *contributions, const float *alignment, size_t neurons,
                            kh_attribution_scratch *scratch, kh_attribution *out, kh_error *err);

/* Spearman's correlation; ties share their mean rank. order, rank: room for count. NaN when one
 * side is constant. */
double kh_spearman(const float *a, const float *b, size_t count, kh_attribution_scratch *scratch);

#endif
