/* dream/real.h: the numbers images are made of: float. A test compiles painting and transforms a
 * second time in double, where a transpose has to agree to 1e-12. */
#ifndef KH_DREAM_REAL_H
#define KH_DREAM_REAL_H

#include "base/alloc.h"

#ifdef KH_DREAM_DOUBLE
typedef double kh_real;
#undef kiss_fft_scalar /* the installed library's */
#define kiss_fft_scalar double
#else
typedef float kh_real;
#endif

/* Room for `count` of them, aligned; NULL when memory ends. */
static inline kh_real *kh_alloc_reals(size_t count) {
    return (kh_real *)(void *)kh_alloc_floats(count * (sizeof(kh_real) / sizeof(float)));
}

#endif
