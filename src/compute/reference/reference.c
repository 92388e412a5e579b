#define _GNU_SOURCE
#include "compute/reference/reference.h"

#include "base/alloc.h"

#include <string.h>

static float *host_alloc(kh_ctx *ctx, size_t count) {
    (void)ctx;
    float *memory = kh_alloc_floats(count);
    if (memory) memset(memory, 0, count * sizeof *memory);
    return memory;
}

static void host_release(kh_ctx *ctx, float *memory) {
    (void)ctx;
    kh_free(memory);
}

static void host_upload(kh_ctx *ctx, float *to, const float *host, size_t count) {
    (void)ctx;
    if (count) memcpy(to, host, count * sizeof *to);
}

static void host_download(kh_ctx *ctx, float *host, const float *from, size_t count) {
    (void)ctx;
    if (count) memcpy(host, from, count * sizeof *host);
}

const kh_backend kh_reference_backend = {
    .name = "reference",
    .alloc = host_alloc,
    .release = host_release,
    .upload = host_upload,
    .download = host_download,
    .pack = kh_reference_pack,
    .pack_backward = kh_reference_pack_backward,
    .weight_free = kh_reference_weight_free,
    .unpack = kh_reference_unpack,
    .unpack_bias = kh_reference_unpack_bias,
    .weight_bytes = kh_reference_weight_bytes,
    .linear = kh_reference_linear,
    .linear_backward = kh_reference_linear_backward,
    .mlp = kh_reference_mlp,
    .mlp_backward = kh_reference_mlp_backward,
    .reserve_attention = kh_reference_reserve_attention,
    .attention = kh_reference_attention,
    .attention_backward = kh_reference_attention_backward,
    .layernorm = kh_reference_layernorm,
    .layernorm_backward = kh_reference_layernorm_backward,
    .activate = kh_reference_activate,
    .activate_backward = kh_reference_activate_backward,
    .gate = kh_reference_gate,
    .gate_backward = kh_reference_gate_backward,
    .patchify = kh_reference_patchify,
    .unpatchify = kh_reference_unpatchify,
};
