/* lens/concentration.h: how few of many values hold the sum of them. */
#ifndef KH_LENS_CONCENTRATION_H
#define KH_LENS_CONCENTRATION_H

#include "base/status.h"

typedef struct kh_concentration {
    double mean;      /* of the values as they are */
    double total;     /* of w = max(value, 0) */
    double gini;      /* of w; 0 when all are equal, (n-1)/n for a single one */
    double effective; /* exp of the entropy of w / total: as many equal values would do */
    double share[3];  /* of the 1, 3 and 10 largest in the total */
    const size_t *top;
    size_t top_count;
} kh_concentration;

/* top: the top_count largest, best first, ties to the lower index (SIZE_MAX behind the last);
 * borrowed by out. A sum of zero leaves NaN. Errors: KH_E_MEMORY. */
kh_status kh_concentration_of(const float *values, size_t count, size_t *top, size_t top_count,
                              kh_concentration *out, kh_error *err);

/* |a and b| / |a or b| of two lists without repeats. */
double kh_jaccard(const size_t *a, const size_t *b, size_t count);

#endif
