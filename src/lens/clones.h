/* lens/clones.h: plain loops compiled once more for AVX2 and AVX-512, chosen when the program
 * starts. Contraction is off everywhere, so all give the same bits. */
#ifndef KH_LENS_CLONES_H
#define KH_LENS_CLONES_H

#include <stddef.h>

/* Rows of a tile lie a whole layer apart, which no hardware expects: asks for one that comes soon.
 */
static inline void kh_expect_row(const float *row, size_t stride, size_t rows_left, size_t floats) {
    enum { ROWS_AHEAD = 10, LINE_FLOATS = 16 };
    if (rows_left <= ROWS_AHEAD) return;
    for (size_t at = 0; at < floats; at += LINE_FLOATS)
        __builtin_prefetch(row + ROWS_AHEAD * stride + at);
}

/* In front of a short loop of known length whose steps are too few to be counted. */
#if defined(__GNUC__) && !defined(__clang__)
#define KH_UNROLL _Pragma("GCC unroll 32")
#else
#define KH_UNROLL
#endif

/* Sanitizers run before the loader can choose. */
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) &&   \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define KH_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define KH_CLONES
#endif

#endif
