#include "compute/ctx.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <string.h>

static const kh_ctx_options defaults;

static kh_status choose_backend(kh_ctx *ctx, const kh_ctx_options *options, kh_error *err) {
    const char *device = options->device ? options->device : "cpu";
    if (strcmp(device, "cpu") != 0 && strcmp(device, "reference") != 0)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "device '%.40s' is unknown; this build has \"cpu\" and \"reference\"", device);
    ctx->device = strcmp(device, "cpu") == 0 ? "cpu" : "reference";
    ctx->backend = &kh_reference_backend;
    ctx->isa_name = "plain";
    return KH_OK;
}

kh_status kh_ctx_create(const kh_ctx_options *options, kh_ctx **out, kh_error *err) {
    *out = NULL;
    if (!options) options = &defaults;
    kh_ctx *ctx = kh_calloc(1, sizeof *ctx);
    if (!ctx) return kh_fail(err, KH_E_MEMORY, "no memory for a context");
    kh_status status = choose_backend(ctx, options, err);
    if (!status) status = kh_pool_create(options->threads, &ctx->pool, err);
    if (status) {
        kh_ctx_free(ctx);
        return status;
    }
    *out = ctx;
    return KH_OK;
}

void kh_ctx_free(kh_ctx *ctx) {
    if (!ctx) return;
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
    float *fresh = kh_alloc_floats(total);
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
    (void)ctx;
    (void)seconds;
    return 0;
}

const kh_backend *kh_ctx_backend(const kh_ctx *ctx) {
    return ctx->backend;
}

kh_pool *kh_ctx_pool(const kh_ctx *ctx) {
    return ctx->pool;
}
