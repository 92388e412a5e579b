#define _GNU_SOURCE
#include "compute/ctx.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "compute/cpu/cpu.h"

#include <string.h>
#if defined(__linux__)
#include <pthread.h>
#endif

static const kh_ctx_options defaults;

/* Binds the calling thread to the first core it may use: the pool keeps that one free for it. The
 * pool must exist already, since new threads inherit the binding. */
static void pin_caller(kh_ctx *ctx) {
#if defined(__linux__)
    cpu_set_t one;
    CPU_ZERO(&one);
    if (pthread_getaffinity_np(pthread_self(), sizeof ctx->caller_cores, &ctx->caller_cores) != 0)
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &ctx->caller_cores)) continue;
        CPU_SET(cpu, &one);
        ctx->is_caller_pinned = pthread_setaffinity_np(pthread_self(), sizeof one, &one) == 0;
        return;
    }
#else
    (void)ctx;
#endif
}

static void unpin_caller(kh_ctx *ctx) {
#if defined(__linux__)
    if (ctx->is_caller_pinned)
        (void)pthread_setaffinity_np(pthread_self(), sizeof ctx->caller_cores, &ctx->caller_cores);
#else
    (void)ctx;
#endif
}

static kh_status choose_backend(kh_ctx *ctx, const kh_ctx_options *options, kh_error *err) {
    const char *device = options->device ? options->device : "cpu";
    if (strcmp(device, "reference") == 0) {
        if (options->isa && strcmp(options->isa, "plain") != 0)
            return kh_fail(err, KH_E_UNSUPPORTED,
                           "device \"reference\" knows no isa but \"plain\"");
        ctx->device = "reference";
        ctx->backend = &kh_reference_backend;
        ctx->isa_name = "plain";
        return KH_OK;
    }
    if (strcmp(device, "cpu") != 0)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "device '%.40s' is unknown; this build has \"cpu\" and \"reference\"",
                       device);
    ctx->isa = kh_cpu_find_isa(options->isa);
    if (!ctx->isa)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "isa '%.40s' is unknown or missing in this processor, whose best is \"%s\"",
                       options->isa, kh_cpu_find_isa(NULL)->name);
    ctx->device = "cpu";
    ctx->backend = &kh_cpu_backend;
    ctx->isa_name = ctx->isa->name;
    return KH_OK;
}

kh_status kh_ctx_create(const kh_ctx_options *options, kh_ctx **out, kh_error *err) {
    *out = NULL;
    if (!options) options = &defaults;
    kh_ctx *ctx = kh_calloc(1, sizeof *ctx);
    if (!ctx) return kh_fail(err, KH_E_MEMORY, "no memory for a context");
    kh_status status = choose_backend(ctx, options, err);
    if (!status) status = kh_pool_create(options->threads, &ctx->pool, err);
    if (!status && ctx->isa && !kh_cpu_reserve_default(ctx))
        status = kh_fail(err, KH_E_MEMORY, "no scratch memory for %zu threads; try --threads 1",
                         kh_pool_threads(ctx->pool));
    if (status) {
        kh_ctx_free(ctx);
        return status;
    }
    if (options->pin_caller) pin_caller(ctx);
    *out = ctx;
    return KH_OK;
}

void kh_ctx_free(kh_ctx *ctx) {
    if (!ctx) return;
    unpin_caller(ctx);
    kh_free(ctx->scratch);
    kh_pool_free(ctx->pool);
    kh_free(ctx);
}

bool kh_ctx_reserve(kh_ctx *ctx, size_t floats) {
    if (floats <= ctx->worker_floats) return true;
    size_t rounded, total;
    if (!kh_add(floats, 15, &rounded)) return false;
    rounded &= ~(size_t)15;
    if (!kh_mul(rounded, kh_pool_threads(ctx->pool), &total)) return false;
    float *fresh = kh_alloc_floats_large(total);
    if (!fresh) return false;
    kh_free(ctx->scratch);
    ctx->scratch = fresh;
    ctx->worker_floats = rounded;
    return true;
}

float *kh_ctx_scratch(const kh_ctx *ctx, size_t worker) {
    return ctx->scratch + worker * ctx->worker_floats;
}

size_t kh_ctx_threads(const kh_ctx *ctx) {
    return kh_pool_threads(ctx->pool);
}

const char *kh_ctx_device(const kh_ctx *ctx) {
    return ctx->device;
}

const char *kh_ctx_isa(const kh_ctx *ctx) {
    return ctx->isa_name;
}

double kh_ctx_peak_gflops(kh_ctx *ctx, double seconds) {
    return kh_cpu_peak_gflops(ctx, seconds);
}

const kh_backend *kh_ctx_backend(const kh_ctx *ctx) {
    return ctx->backend;
}

kh_pool *kh_ctx_pool(const kh_ctx *ctx) {
    return ctx->pool;
}
