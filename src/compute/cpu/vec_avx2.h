/* Vectors of 8 floats, AVX2 + FMA. See vec_plain.h for what each name means. */
#include <immintrin.h>

enum { VL = 8, NV = 2, NR = VL * NV, MR = 6 };
typedef __m256 vf;

#define VEC static inline __attribute__((always_inline))

VEC __m256i v_mask(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
VEC vf v_zero(void) {
    return _mm256_setzero_ps();
}
VEC vf v_set1(float x) {
    return _mm256_set1_ps(x);
}
VEC vf v_load(const float *p) {
    return _mm256_loadu_ps(p);
}
VEC void v_store(float *p, vf v) {
    _mm256_storeu_ps(p, v);
}
VEC vf v_load_fill(const float *p, size_t n, float fill) {
    if (n >= VL) return v_load(p);
    const __m256i mask = v_mask(n);
    return _mm256_blendv_ps(v_set1(fill), _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
VEC void v_store_n(float *p, vf v, size_t n) {
    if (n >= VL)
        v_store(p, v);
    else
        _mm256_maskstore_ps(p, v_mask(n), v);
}
VEC vf v_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
VEC vf v_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
VEC vf v_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
VEC vf v_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
VEC vf v_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
VEC vf v_fnma(vf a, vf b, vf c) {
    return _mm256_fnmadd_ps(a, b, c);
}
VEC vf v_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
VEC vf v_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
VEC vf v_abs(vf a) {
    return _mm256_andnot_ps(v_set1(-0.0f), a);
}
VEC vf v_if_negative(vf x, vf yes, vf no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(x, v_zero(), _CMP_LT_OQ));
}
/* in two steps, so that results below 2^-126 come out right */
VEC vf v_scale(vf x, vf n) {
    const __m256i all = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(all, 1);
    const __m256i rest = _mm256_sub_epi32(all, half), bias = _mm256_set1_epi32(127);
    const __m256i a = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
    const __m256i b = _mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23);
    return _mm256_mul_ps(_mm256_mul_ps(x, _mm256_castsi256_ps(a)), _mm256_castsi256_ps(b));
}
VEC void v_transpose(vf *r) {
    vf t[8], s[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        s[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        s[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        s[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        s[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(s[i], s[i + 4], 0x31);
    }
}
VEC void v_prefetch_near(const float *p) {
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}
VEC void v_prefetch_far(const float *p) {
    _mm_prefetch((const char *)p, _MM_HINT_T1);
}
VEC void v_prefetch_write(const float *p) {
    __builtin_prefetch(p, 1, 3);
}
/* lane i with lane i + 4, then + 2, + 1 */
VEC float v_fold_add(vf v) {
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
VEC float v_fold_max(vf v) {
    const __m128 b = _mm_max_ps(_mm256_extractf128_ps(v, 1), _mm256_castps256_ps128(v));
    const __m128 c = _mm_max_ps(_mm_movehl_ps(b, b), b);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(c), c));
}
