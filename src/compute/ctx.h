/* compute/ctx.h: what a kh_ctx is made of. Only src/compute includes this; define _GNU_SOURCE
 * first. */
#ifndef KH_COMPUTE_CTX_H
#define KH_COMPUTE_CTX_H

#include "compute/backend.h"

#if defined(__linux__)
#include <sched.h>
#endif

struct kh_cpu_isa;

struct kh_ctx {
    const kh_backend *backend;
    const struct kh_cpu_isa *isa; /* kernels of the cpu backend; NULL for the reference */
    kh_pool *pool;
    const char *device;
    const char *isa_name;

    /* One piece of scratch for each worker, worker_floats long, 64-byte aligned. */
    float *scratch;
    size_t worker_floats;

#if defined(__linux__)
    bool is_caller_pinned;
    cpu_set_t caller_cores; /* to be given back */
#endif
};

/* Makes every worker's scratch at least `floats` long; false (and nothing changed) when out of
 * memory. Contents are lost. */
bool kh_ctx_reserve(kh_ctx *ctx, size_t floats);

/* The scratch of one worker. */
float *kh_ctx_scratch(const kh_ctx *ctx, size_t worker);

extern const kh_backend kh_reference_backend;

#endif
