/* compute/cpu/isa.h: what one instruction set offers the cpu backend.
 *
 * Every file isa_<name>.c includes the same templates (kernels_*.h) over its own vector type and
 * exports one table. The functions below are single-threaded: they do a chunk of rows, one head, a
 * range of elements, and cpu.c hands the chunks to the pool.
 *
 * Packed weights. A matrix that is multiplied from the right, B [k, n], lies in panels of `nr`
 * columns, each panel [k][nr] without gaps and zero-padded at the right edge. `forward` holds the
 * transposed weight (k = ins, n = outs), `backward` the weight as stored (k = outs, n = ins).
 *
 * Packed rows ("slab"). The rows of a chunk lie in blocks of KH_KC columns, each block
 * [rows][KH_LDA]: the row distance is a compile-time constant, so the kernels address every row of
 * a tile from one register. KH_LDA is an odd number of cache lines, so rows do not fight for cache
 * sets.
 *
 * Order of sums. Every product adds k = 0, 1, 2, ... one after the other into one accumulator per
 * element, with fused multiply-adds where the processor has them. Blocking over k stores and
 * reloads the accumulator exactly, so neither tile heights nor block sizes change a bit of the
 * result. */
#ifndef KH_COMPUTE_CPU_ISA_H
#define KH_COMPUTE_CPU_ISA_H

#include "compute/backend.h"

enum {
    KH_KC = 768,         /* columns of a slab block; a multiple of every nr */
    KH_LDA = KH_KC + 16, /* floats between rows of a slab */
    KH_CHUNK = 144,      /* most rows of a chunk */
    KH_NR_MAX = 32,      /* widest panel */
    KH_MR_MAX = 12,      /* highest tile */
    KH_GROUP = 56        /* queries whose probabilities attention_backward keeps at a time */
};

struct kh_weight {
    size_t outs, ins;
    float *forward;  /* [ceil(outs / nr)][ins][nr] */
    float *backward; /* [ceil(ins / nr)][outs][nr], or NULL */
    float *bias;     /* [outs], padded with zeros to a multiple of nr */
};

typedef struct kh_range {
    size_t begin, end;
} kh_range;

typedef struct kh_cpu_isa {
    const char *name;
    size_t lanes, nr, mr;
    bool (*supported)(void);

    /* rows of the chunk; panels of the output, counted from panel 0 of the weight. keep_norm: this
     * chunk also writes norm_out (one of several column groups does). */
    void (*linear)(const kh_linear_args *args, kh_range rows, kh_range panels, bool keep_norm,
                   float *scratch);
    void (*linear_backward)(const kh_linear_backward_args *args, kh_range rows, kh_range panels,
                            float *scratch);
    void (*mlp)(const kh_mlp_args *args, kh_range rows, float *scratch);
    void (*mlp_backward)(const kh_mlp_backward_args *args, kh_range rows, float *scratch);
    /* one head; part p of `parts` of its query tiles */
    void (*attention)(const kh_attention_args *args, size_t image, size_t head, size_t part,
                      size_t parts, float *scratch);
    void (*attention_backward)(const kh_attention_backward_args *args, size_t image, size_t head,
                               float *scratch);
    void (*layernorm)(const kh_norm *norm, kh_range rows, const float *x, size_t x_stride,
                      const float *residual, float *y, size_t y_stride, float *scale);
    void (*layernorm_backward)(const kh_norm *norm, kh_range rows, const float *x, const float *dy,
                               const float *add, float *dx);
    void (*activate)(kh_activation act, size_t count, const float *x, float *y);
    void (*activate_backward)(kh_activation act, size_t count, const float *x, const float *dy,
                              float *dx);
    void (*gate)(kh_activation act, size_t neurons, const float *pre, float *post);
    void (*gate_backward)(kh_activation act, size_t neurons, const float *pre, const float *dpost,
                          float *dpre);
    /* Multiply-adds on registers only; returns the number of FLOP done, *sink keeps them alive. */
    double (*spin)(size_t rounds, float *sink);
} kh_cpu_isa;

static inline size_t kh_ceil_div(size_t a, size_t b) {
    return (a + b - 1) / b;
}

/* Floats of a slab of `rows` rows and k columns. */
static inline size_t kh_slab_floats(size_t rows, size_t k) {
    return kh_ceil_div(k, KH_KC) * rows * KH_LDA;
}

/* The queries attention is asked for: all when there are none by name. */
static inline kh_range kh_queries(size_t first, size_t count, size_t tokens) {
    return count ? (kh_range){first, first + count} : (kh_range){0, tokens};
}

/* Part i of n nearly equal parts of 0..total. */
static inline kh_range kh_part(size_t total, size_t i, size_t n) {
    const size_t base = total / n, more = total % n;
    const size_t begin = i * base + (i < more ? i : more);
    return (kh_range){begin, begin + base + (i < more)};
}

#if defined(__x86_64__) || defined(__i386__)
extern const kh_cpu_isa kh_isa_avx512, kh_isa_avx2;
#elif defined(__aarch64__)
extern const kh_cpu_isa kh_isa_neon;
#endif
extern const kh_cpu_isa kh_isa_plain;

#endif
