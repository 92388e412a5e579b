/* compute/cpu/cpu.h: the cpu backend: packed weights, chunks of rows over the pool, kernels by isa.
 */
#ifndef KH_COMPUTE_CPU_H
#define KH_COMPUTE_CPU_H

#include "compute/cpu/isa.h"
#include "compute/ctx.h"

extern const kh_backend kh_cpu_backend;

/* The best instruction set this processor has, or the one called `name`; NULL when unknown to this
 * build or missing in this processor. */
const kh_cpu_isa *kh_cpu_find_isa(const char *name);

/* What attention needs per worker before anybody asked for more. */
bool kh_cpu_reserve_default(kh_ctx *ctx);

double kh_cpu_peak_gflops(kh_ctx *ctx, double seconds);

/* weight.c */
kh_weight *kh_cpu_pack(kh_ctx *ctx, const float *weight, const float *bias, size_t outs, size_t ins,
                       bool backward);
bool kh_cpu_pack_backward(kh_ctx *ctx, kh_weight *weight);
void kh_cpu_weight_free(kh_ctx *ctx, kh_weight *weight);
void kh_cpu_unpack(kh_ctx *ctx, const kh_weight *weight, size_t first_out, size_t outs,
                   float *host);
void kh_cpu_unpack_bias(kh_ctx *ctx, const kh_weight *weight, float *host);
size_t kh_cpu_weight_bytes(const kh_weight *weight);

#endif
