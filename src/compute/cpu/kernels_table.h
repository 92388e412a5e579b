/* compute/cpu/kernels_table.h (template): the peak loop and the table of one instruction set. */
#include "compute/cpu/isa.h"

/* 12 independent chains: enough to hide the latency of two multiply-add units. */
static double spin(size_t rounds, float *sink) {
    enum { CHAINS = 12 };
    vf acc[CHAINS];
    UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = v_set1((float)i);
    const vf a = v_set1(0.999f), b = v_set1(0.001f);
    for (size_t n = 0; n < rounds; n++) {
        UNROLL for (int i = 0; i < CHAINS; i++) acc[i] = v_fma(acc[i], a, b);
    }
    vf sum = v_zero();
    UNROLL for (int i = 0; i < CHAINS; i++) sum = v_add(sum, acc[i]);
    *sink = v_fold_add(sum);
    return 2.0 * CHAINS * VL * (double)rounds;
}

#define KH_ISA_TABLE(symbol, text, check)                                                          \
    const kh_cpu_isa symbol = {.name = text,                                                       \
                               .lanes = VL,                                                        \
                               .nr = NR,                                                           \
                               .mr = MR,                                                           \
                               .supported = check,                                                 \
                               .linear = linear,                                                   \
                               .linear_backward = linear_backward,                                 \
                               .mlp = mlp,                                                         \
                               .mlp_backward = mlp_backward,                                       \
                               .attention = attention,                                             \
                               .attention_backward = attention_backward,                           \
                               .layernorm = layernorm,                                             \
                               .layernorm_backward = layernorm_backward,                           \
                               .activate = activate,                                               \
                               .activate_backward = activate_backward,                             \
                               .gate = gate,                                                       \
                               .gate_backward = gate_backward,                                     \
                               .spin = spin}
