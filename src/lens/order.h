/* lens/order.h: the one order every list of scores follows. */
#ifndef KH_LENS_ORDER_H
#define KH_LENS_ORDER_H

#include <math.h>
#include <stdbool.h>

/* Does score a stand strictly before score b? Larger first, NaN last. */
static inline bool kh_before(float a, float b) {
    return isnan(b) ? !isnan(a) : a > b;
}

#endif
