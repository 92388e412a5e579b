#include "compute/cpu/cpu.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <assert.h>
#include <string.h>

/* Packed floats of B [k, n]; false on overflow. */
static bool packed_floats(size_t k, size_t n, size_t nr, size_t *out) {
    size_t padded;
    return kh_add(n, nr - 1, &padded) && kh_mul(padded / nr * nr, k, out);
}

typedef struct pack_job {
    const float *from; /* [outs, ins] */
    float *to;
    size_t outs, ins, nr;
} pack_job;

/* One panel of the transpose: to[i][o] = from[o][i], a few columns at a time so that both sides
 * stay in the first cache. */
static void pack_forward_panel(void *arg, size_t panel, size_t worker) {
    (void)worker;
    const pack_job *job = arg;
    const size_t nr = job->nr, first = panel * nr;
    const size_t width = job->outs - first < nr ? job->outs - first : nr;
    float *to = job->to + panel * job->ins * nr;
    enum { STRIP = 16 };
    for (size_t i0 = 0; i0 < job->ins; i0 += STRIP) {
        const size_t i1 = job->ins - i0 < STRIP ? job->ins : i0 + STRIP;
        for (size_t o = 0; o < nr; o++) {
            const float *from = job->from + (first + o) * job->ins;
            for (size_t i = i0; i < i1; i++)
                to[i * nr + o] = o < width ? from[i] : 0.0f;
        }
    }
}

/* to[o][i] = from[o][i] for the nr columns of this panel, from the forward packing */
typedef struct turn_job {
    const kh_weight *weight;
    float *to;
    size_t nr;
} turn_job;

static void pack_backward_panel(void *arg, size_t panel, size_t worker) {
    (void)worker;
    const turn_job *job = arg;
    const kh_weight *w = job->weight;
    const size_t nr = job->nr, first = panel * nr;
    const size_t width = w->ins - first < nr ? w->ins - first : nr;
    float *to = job->to + panel * w->outs * nr;
    for (size_t o0 = 0; o0 < w->outs; o0 += nr) {
        const size_t height = w->outs - o0 < nr ? w->outs - o0 : nr;
        const float *from = w->forward + o0 / nr * w->ins * nr + first * nr;
        for (size_t o = 0; o < height; o++)
            for (size_t i = 0; i < nr; i++)
                to[(o0 + o) * nr + i] = i < width ? from[i * nr + o] : 0.0f;
    }
}

/* Scratch for the chunk of any op on this weight: both directions, alone or as half of an MLP. */
static bool reserve_for(kh_ctx *ctx, const kh_weight *weight) {
    const size_t widest = weight->outs > weight->ins ? weight->outs : weight->ins;
    const size_t slab = kh_slab_floats(KH_CHUNK, widest + KH_NR_MAX);
    return kh_ctx_reserve(ctx, 2 * slab + 3 * KH_CHUNK * KH_LDA);
}

kh_weight *kh_cpu_pack(kh_ctx *ctx, const float *weight, const float *bias, size_t outs, size_t ins,
                       bool backward) {
    const size_t nr = ctx->isa->nr;
    size_t count, guard;
    if (outs == 0 || ins == 0 || !packed_floats(ins, outs, nr, &count)) return NULL;
    if (!kh_mul(outs > ins ? outs : ins, 8 * KH_CHUNK * sizeof(float), &guard)) return NULL;
    kh_weight *packed = kh_calloc(1, sizeof *packed);
    if (!packed) return NULL;
    packed->outs = outs;
    packed->ins = ins;
    packed->forward = kh_alloc_floats_large(count);
    packed->bias = kh_calloc(kh_ceil_div(outs, nr) * nr, sizeof *packed->bias);
    if (!packed->forward || !packed->bias || !reserve_for(ctx, packed)) {
        kh_cpu_weight_free(ctx, packed);
        return NULL;
    }
    if (bias) memcpy(packed->bias, bias, outs * sizeof *bias);
    pack_job job = {weight, packed->forward, outs, ins, nr};
    kh_pool_run(ctx->pool, kh_ceil_div(outs, nr), pack_forward_panel, &job);
    if (backward && !kh_cpu_pack_backward(ctx, packed)) {
        kh_cpu_weight_free(ctx, packed);
        return NULL;
    }
    return packed;
}

bool kh_cpu_pack_backward(kh_ctx *ctx, kh_weight *weight) {
    if (weight->backward) return true;
    const size_t nr = ctx->isa->nr;
    size_t count;
    if (!packed_floats(weight->outs, weight->ins, nr, &count)) return false;
    float *to = kh_alloc_floats_large(count);
    if (!to) return false;
    turn_job job = {weight, to, nr};
    kh_pool_run(ctx->pool, kh_ceil_div(weight->ins, nr), pack_backward_panel, &job);
    weight->backward = to;
    return true;
}

void kh_cpu_weight_free(kh_ctx *ctx, kh_weight *weight) {
    (void)ctx;
    if (!weight) return;
    kh_free(weight->forward);
    kh_free(weight->backward);
    kh_free(weight->bias);
    kh_free(weight);
}

void kh_cpu_unpack(kh_ctx *ctx, const kh_weight *weight, size_t first_out, size_t outs,
                   float *host) {
    assert(first_out + outs <= weight->outs);
    const size_t nr = ctx->isa->nr;
    for (size_t o = 0; o < outs; o++) {
        const size_t out = first_out + o;
        const float *from = weight->forward + out / nr * weight->ins * nr + out % nr;
        for (size_t i = 0; i < weight->ins; i++)
            host[o * weight->ins + i] = from[i * nr];
    }
}

void kh_cpu_unpack_bias(kh_ctx *ctx, const kh_weight *weight, float *host) {
    (void)ctx;
    memcpy(host, weight->bias, weight->outs * sizeof *host);
}

size_t kh_cpu_weight_bytes(const kh_weight *weight) {
    const size_t one = weight->outs * weight->ins; /* without the padding of the last panel */
    return (one * (weight->backward ? 2 : 1) + weight->outs) * sizeof(float);
}
