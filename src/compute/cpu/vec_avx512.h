/* Vectors of 16 floats, AVX-512F. See vec_plain.h for what each name means. */
#include <immintrin.h>

enum { VL = 16, NV = 2, NR = VL * NV, MR = 12 };
typedef __m512 vf;

#define VEC static inline __attribute__((always_inline))

VEC __mmask16 v_mask(size_t n) {
    return (__mmask16)(0xFFFFu >> (16 - n));
}
VEC vf v_zero(void) {
    return _mm512_setzero_ps();
}
VEC vf v_set1(float x) {
    return _mm512_set1_ps(x);
}
VEC vf v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
VEC void v_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}
VEC vf v_load_fill(const float *p, size_t n, float fill) {
    return n >= VL ? v_load(p) : _mm512_mask_loadu_ps(v_set1(fill), v_mask(n), p);
}
VEC void v_store_n(float *p, vf v, size_t n) {
    if (n >= VL)
        v_store(p, v);
    else
        _mm512_mask_storeu_ps(p, v_mask(n), v);
}
VEC vf v_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
VEC vf v_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
VEC vf v_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
VEC vf v_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
VEC vf v_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
VEC vf v_fnma(vf a, vf b, vf c) {
    return _mm512_fnmadd_ps(a, b, c);
}
VEC vf v_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
VEC vf v_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
VEC vf v_abs(vf a) {
    return _mm512_abs_ps(a);
}
VEC vf v_if_negative(vf x, vf yes, vf no) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, v_zero(), _CMP_LT_OQ), no, yes);
}
VEC vf v_scale(vf x, vf n) {
    return _mm512_scalef_ps(x, n);
}
VEC void v_transpose(vf *r) {
    __m512d t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_castps_pd(_mm512_unpacklo_ps(r[i], r[i + 1]));
        t[i + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(r[i], r[i + 1]));
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(t[i], t[i + 2]));
        r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(t[i], t[i + 2]));
        r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(t[i + 1], t[i + 3]));
        r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(t[i + 1], t[i + 3]));
    }
    vf s[16];
    for (int i = 0; i < 4; i++) {
        s[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        s[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xDD);
        s[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        s[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xDD);
    }
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(s[i], s[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(s[i], s[i + 8], 0xDD);
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
/* lane i with lane i + 8, then + 4, + 2, + 1 */
VEC float v_fold_add(vf v) {
    const __m256 a =
        _mm256_add_ps(_mm512_castps512_ps256(v),
                      _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
VEC float v_fold_max(vf v) {
    const __m256 a = _mm256_max_ps(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)),
                                   _mm512_castps512_ps256(v));
    const __m128 b = _mm_max_ps(_mm256_extractf128_ps(a, 1), _mm256_castps256_ps128(a));
    const __m128 c = _mm_max_ps(_mm_movehl_ps(b, b), b);
    return _mm_cvtss_f32(_mm_max_ss(_mm_movehdup_ps(c), c));
}
