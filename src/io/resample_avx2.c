/* AVX2 kernels of resample.h. A 24-bit weight does not fit the 16-bit multiply-add, so it is split,
 * k = 4096 high + low, and both sums meet in 32-bit wrap-around arithmetic: the same integers. */
#include "io/resample.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

#define ROUND (1 << 21)
#define SHIFT 22

/* bytes R0 G0 B0 R1 G1 B1 R2 ... -> R0 R1 G0 G1 B0 B1 0 0, R2 R3 G2 G3 B2 B3 0 0 as 16-bit */
AVX2 static inline __m256i load_group(const uint8_t *p) {
    const __m128i order = _mm_setr_epi8(0, 3, 1, 4, 2, 5, -1, -1, 6, 9, 7, 10, 8, 11, -1, -1);
    const __m128i raw = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_cvtepu8_epi16(_mm_shuffle_epi8(raw, order));
}

/* One output pixel: R G B 0 in the low four bytes. Reads whole groups of 4 pixels plus 4 bytes. */
AVX2 static inline uint32_t one_pixel(const uint8_t *p, const int16_t *k, size_t groups) {
    __m256i high = _mm256_setzero_si256(), low = _mm256_setzero_si256();
    for (size_t g = 0; g < groups; g++, p += 12, k += 32) {
        const __m256i v = load_group(p);
        const __m256i kh = _mm256_loadu_si256((const __m256i *)(const void *)k);
        const __m256i kl = _mm256_loadu_si256((const __m256i *)(const void *)(k + 16));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(v, kh));
        low = _mm256_add_epi32(low, _mm256_madd_epi16(v, kl));
    }
    const __m256i both = _mm256_add_epi32(_mm256_slli_epi32(high, 12), low);
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(ROUND)), SHIFT);
    sum = _mm_packs_epi32(sum, sum);
    return (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(sum, sum));
}

/* Bytes one_pixel reads for a window, from its first pixel on. */
static size_t reach(const kh_window *w) {
    return (w->count + 3) / 4 * 12 + 4;
}

AVX2 static void horizontal_row(const uint8_t *row, const kh_window *windows, size_t count,
                                uint8_t *out) {
    size_t x = 0;
    for (; x + 1 < count; x++) { /* the fourth byte is overwritten by the next pixel */
        const kh_window *w = &windows[x];
        const uint32_t rgb = one_pixel(row + 3 * w->first, w->expanded, (w->count + 3) / 4);
        memcpy(out + 3 * x, &rgb, 4);
    }
    const kh_window *w = &windows[x];
    const uint32_t rgb = one_pixel(row + 3 * w->first, w->expanded, (w->count + 3) / 4);
    memcpy(out + 3 * x, &rgb, 3);
}

AVX2 static void horizontal_avx2(const uint8_t *in, size_t in_stride, size_t in_bytes, size_t rows,
                                 const kh_window *windows, size_t count, uint8_t *out,
                                 size_t out_stride) {
    size_t farthest = 0; /* bytes of a row that are touched */
    for (size_t x = 0; x < count; x++) {
        const size_t end = 3 * windows[x].first + reach(&windows[x]);
        if (end > farthest) farthest = end;
    }
    for (size_t y = 0; y < rows; y++) {
        const uint8_t *row = in + y * in_stride;
        if (farthest <= in_bytes - y * in_stride) {
            horizontal_row(row, windows, count, out + y * out_stride);
            continue;
        }
        /* the last rows: nothing readable behind them */
        kh_resample_plain.horizontal(row, in_stride, in_bytes - y * in_stride, 1, windows, count,
                                     out + y * out_stride, out_stride);
    }
}

typedef struct sums {
    __m256i high[2], low[2]; /* columns 0..7 and 8..15 */
} sums;

/* Rows a and b, 16 columns, with their weights (ka, kb) as 16-bit pairs. */
AVX2 static inline void add_pair(sums *s, __m128i a, __m128i b, __m256i kh, __m256i kl) {
    const __m256i left = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
    const __m256i right = _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(a, b));
    s->high[0] = _mm256_add_epi32(s->high[0], _mm256_madd_epi16(left, kh));
    s->low[0] = _mm256_add_epi32(s->low[0], _mm256_madd_epi16(left, kl));
    s->high[1] = _mm256_add_epi32(s->high[1], _mm256_madd_epi16(right, kh));
    s->low[1] = _mm256_add_epi32(s->low[1], _mm256_madd_epi16(right, kl));
}

AVX2 static inline __m256i finish(__m256i high, __m256i low) {
    const __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(high, 12), low);
    return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(ROUND)), SHIFT);
}

static inline int32_t pair16(int32_t a, int32_t b) {
    return (int32_t)(((uint32_t)a & 0xFFFFu) | (uint32_t)b << 16);
}

AVX2 static inline void sixteen_columns(const uint8_t *in, size_t in_stride, const kh_window *w,
                                        uint8_t *out) {
    const __m256i zero = _mm256_setzero_si256();
    sums s = {{zero, zero}, {zero, zero}};
    size_t i = 0;
    for (; i + 1 < w->count; i += 2) {
        const int32_t ka = w->weights[i], kb = w->weights[i + 1];
        const uint8_t *p = in + i * in_stride;
        add_pair(&s, _mm_loadu_si128((const __m128i *)(const void *)p),
                 _mm_loadu_si128((const __m128i *)(const void *)(p + in_stride)),
                 _mm256_set1_epi32(pair16(ka >> 12, kb >> 12)),
                 _mm256_set1_epi32(pair16(ka & 0xFFF, kb & 0xFFF)));
    }
    if (i < w->count) {
        const int32_t k = w->weights[i];
        const uint8_t *p = in + i * in_stride;
        add_pair(&s, _mm_loadu_si128((const __m128i *)(const void *)p), _mm_setzero_si128(),
                 _mm256_set1_epi32(pair16(k >> 12, 0)), _mm256_set1_epi32(pair16(k & 0xFFF, 0)));
    }
    /* packs works within 128-bit lanes: 0..3 8..11 4..7 12..15, put straight by the permute */
    const __m256i words =
        _mm256_packs_epi32(finish(s.high[0], s.low[0]), finish(s.high[1], s.low[1]));
    const __m256i straight = _mm256_permute4x64_epi64(words, 0xD8);
    const __m128i bytes =
        _mm_packus_epi16(_mm256_castsi256_si128(straight), _mm256_extracti128_si256(straight, 1));
    _mm_storeu_si128((__m128i *)(void *)out, bytes);
}

AVX2 static void vertical_avx2(const uint8_t *in, size_t in_stride, size_t bytes,
                               const kh_window *window, uint8_t *out) {
    if (bytes < 16) {
        kh_resample_plain.vertical(in, in_stride, bytes, window, out);
        return;
    }
    for (size_t x = 0; x + 16 <= bytes; x += 16)
        sixteen_columns(in + x, in_stride, window, out + x);
    if (bytes % 16) /* the last sixteen once more, shifted */
        sixteen_columns(in + bytes - 16, in_stride, window, out + bytes - 16);
}

const kh_resample_kernels kh_resample_avx2 = {"avx2", horizontal_avx2, vertical_avx2};

#else
typedef int kh_no_avx2; /* an empty file is not C */
#endif
