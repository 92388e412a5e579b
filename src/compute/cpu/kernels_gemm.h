/* compute/cpu/kernels_gemm.h (template): tiles of C += A * B, the only place that multiplies.
 * Needs one of vec_*.h before it. */
#include "compute/cpu/isa.h"

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* c[r * c_step + 0..nv*VL) (+)= sum over k < kc of a[r * row_step + k * k_step] * b[k * NR + ...]
 *
 * height, nv and the steps are constants after inlining, so the accumulators live in
 * registers. `ahead` is walked through the second-level cache while we multiply: one cache line for
 * four k; it is the panel that comes next. */
VEC void tile(const int height, const int nv, const size_t row_step, const size_t k_step,
              const size_t c_step, size_t kc, const float *restrict a, const float *restrict b,
              float *restrict c, bool first, const float *ahead) {
    vf acc[MR][NV];
    UNROLL for (int r = 0; r < height; r++) {
        UNROLL for (int v = 0; v < nv; v++) {
            acc[r][v] = first ? v_zero() : v_load(c + (size_t)r * c_step + (size_t)(v * VL));
        }
    }
#define KH_STEP(k)                                                                                 \
    do {                                                                                           \
        vf bv[NV];                                                                                 \
        UNROLL for (int v = 0; v < nv; v++) bv[v] = v_load(b + (k)*NR + v * VL);                   \
        UNROLL for (int r = 0; r < height; r++) {                                                  \
            const vf ar = v_set1(a[(size_t)r * row_step + (k)*k_step]);                            \
            UNROLL for (int v = 0; v < nv; v++) acc[r][v] = v_fma(ar, bv[v], acc[r][v]);           \
        }                                                                                          \
    } while (0)
    size_t left = kc;
    for (; left >= 4; left -= 4) {
        v_prefetch_far(ahead);
        KH_STEP(0);
        KH_STEP(1);
        KH_STEP(2);
        KH_STEP(3);
        ahead += 16;
        a += 4 * k_step;
        b += 4 * NR;
    }
    for (; left > 0; left--) {
        KH_STEP(0);
        a += k_step;
        b += NR;
    }
#undef KH_STEP
    UNROLL for (int r = 0; r < height; r++) {
        UNROLL for (int v = 0; v < nv; v++)
            v_store(c + (size_t)r * c_step + (size_t)(v * VL), acc[r][v]);
    }
}

typedef void tile_fn(size_t kc, const float *a, const float *b, float *c, bool first,
                     const float *ahead);

/* A tile reads its thread's own slab and packed weights, which nobody writes once they are loaded,
 * and writes its thread's own sums. Watching every multiplication for races makes whole runs under
 * ThreadSanitizer several times longer; what fills slabs and what stores results is watched. */
#ifdef __SANITIZE_THREAD__
#define KH_UNWATCHED __attribute__((no_sanitize_thread))
#else
#define KH_UNWATCHED
#endif

/* rows_h_v: rows of A lie KH_LDA apart, and so do those of C (slabs). cols_h_v: rows of A are
 * neighbours and k steps KH_LDA (a slab transposed), rows of C lie NR apart. */
#define KH_TILE(name, h, v, row_step, k_step, c_step)                                              \
    KH_UNWATCHED static void name(size_t kc, const float *a, const float *b, float *c, bool first, \
                                  const float *ahead) {                                            \
        tile(h, v, row_step, k_step, c_step, kc, a, b, c, first, ahead);                           \
    }
#define KH_TILES(h)                                                                                \
    KH_TILE(rows_##h##_1, h, 1, KH_LDA, 1, KH_LDA)                                                 \
    KH_TILE(rows_##h##_2, h, 2, KH_LDA, 1, KH_LDA)                                                 \
    KH_TILE(cols_##h##_1, h, 1, 1, KH_LDA, NR)                                                     \
    KH_TILE(cols_##h##_2, h, 2, 1, KH_LDA, NR)
#define KH_NAMES(kind, h) [h] = {0, kind##_##h##_1, kind##_##h##_2}

/* clang-format off */
KH_TILES(1) KH_TILES(2) KH_TILES(3) KH_TILES(4)
#define KH_TABLE_4(kind) KH_NAMES(kind, 1), KH_NAMES(kind, 2), KH_NAMES(kind, 3), KH_NAMES(kind, 4)
#if KH_TILE_ROWS >= 6
KH_TILES(5) KH_TILES(6)
#define KH_TABLE_6(kind) KH_TABLE_4(kind), KH_NAMES(kind, 5), KH_NAMES(kind, 6)
#endif
#if KH_TILE_ROWS >= 8
KH_TILES(7) KH_TILES(8)
#define KH_TABLE_8(kind) KH_TABLE_6(kind), KH_NAMES(kind, 7), KH_NAMES(kind, 8)
#endif
#if KH_TILE_ROWS >= 12
KH_TILES(9) KH_TILES(10) KH_TILES(11) KH_TILES(12)
#define KH_TABLE_12(kind)                                                                          \
    KH_TABLE_8(kind), KH_NAMES(kind, 9), KH_NAMES(kind, 10), KH_NAMES(kind, 11), KH_NAMES(kind, 12)
#endif
/* clang-format on */
#define KH_PASTE(a, b)    a##b
#define KH_TABLE_OF(rows) KH_PASTE(KH_TABLE_, rows)
#define KH_TABLE(kind)    KH_TABLE_OF(KH_TILE_ROWS)(kind)

                static tile_fn *const row_tiles[MR + 1][NV + 1] = {KH_TABLE(rows)};
static tile_fn *const col_tiles[MR + 1][NV + 1] = {KH_TABLE(cols)};

/* Vectors needed for the first n columns of a panel. */
VEC size_t vectors(size_t n) {
    return n > VL ? 2 : 1;
}

VEC size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Where column k of row r lies in a slab of `rows` rows. */
VEC float *slab_at(float *slab, size_t rows, size_t r, size_t k) {
    return slab + (k / KH_KC * rows + r) * KH_LDA + k % KH_KC;
}

/* c (a slab row) = slab rows [r, r + height) times a panel, over all k. */
static void multiply_tile(size_t height, size_t nv, size_t k, float *slab, size_t slab_rows,
                          size_t r, const float *panel, float *c) {
    for (size_t k0 = 0; k0 < k; k0 += KH_KC)
        row_tiles[height][nv](least(KH_KC, k - k0), slab_at(slab, slab_rows, r, k0),
                              panel + k0 * NR, c, k0 == 0, panel + k0 * NR);
}
