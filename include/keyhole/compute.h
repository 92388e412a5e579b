/* keyhole/compute.h: the context every computation borrows: threads, scratch memory, a backend. */
#ifndef KEYHOLE_COMPUTE_H
#define KEYHOLE_COMPUTE_H

#include "keyhole/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Threads, scratch memory and backend of one caller. Used by one thread at a time. */
typedef struct kh_ctx kh_ctx;

typedef struct kh_ctx_options {
    const char
        *device; /* "cpu" (NULL means "cpu"), or "reference": plain loops, slow, the definition */
    const char *isa; /* NULL: best the processor has; else "avx512", "avx2", "neon", "plain" */
    size_t threads;  /* 0: one per core this process may use */
    bool pin_caller; /* also bind the calling thread to a core; workers always are */
} kh_ctx_options;

/* options NULL means all defaults. Errors: KH_E_UNSUPPORTED unknown device, or an isa this
 * processor lacks; KH_E_MEMORY. Pair: kh_ctx_free. */
KH_API kh_status kh_ctx_create(const kh_ctx_options *options, kh_ctx **out, kh_error *err);
KH_API void kh_ctx_free(kh_ctx *ctx);

KH_API size_t kh_ctx_threads(const kh_ctx *ctx);
KH_API const char *kh_ctx_device(const kh_ctx *ctx); /* "cpu" */
KH_API const char *kh_ctx_isa(const kh_ctx *ctx);    /* "avx512", "avx2", "neon" or "plain" */

/* fp32 multiply-add peak of this context's threads and instruction set, in GFLOP/s (one
 * multiply-add = 2 FLOP): the median of millisecond rounds of a loop that touches registers only,
 * for about `seconds`. */
KH_API double kh_ctx_peak_gflops(kh_ctx *ctx, double seconds);

#ifdef __cplusplus
}
#endif
#endif
