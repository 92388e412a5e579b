/* Vectors of 4 floats in the compilers' own vector extension: any processor. The names every
 * vec_<isa>.h offers:
 *
 *   VL lanes, NV vectors across a panel, NR = VL * NV, MR rows of the highest tile
 *   v_load_fill   the first n floats at p, other lanes `fill`; n may exceed VL
 *   v_store_n     the first n lanes; n may exceed VL
 *   v_fma         a * b + c (rounded once where the processor can), v_fnma c - a * b
 *   v_max, v_min  b where the comparison is false, so a NaN in b comes through
 *   v_if_negative lanes of yes where x < 0, else of no (also for NaN)
 *   v_scale       x * 2^n for integral n in -252..252
 *   v_transpose   VL vectors of VL lanes, in place */
enum { VL = 4, NV = 2, NR = VL * NV, MR = 4 };
typedef float vf __attribute__((vector_size(16)));
typedef int vec_ints __attribute__((vector_size(16)));

#define VEC static inline __attribute__((always_inline))

VEC vf v_set1(float x) {
    return (vf){x, x, x, x};
}
VEC vf v_zero(void) {
    return v_set1(0.0f);
}
VEC vf v_load(const float *p) {
    return (vf){p[0], p[1], p[2], p[3]};
}
VEC void v_store(float *p, vf v) {
    for (int i = 0; i < VL; i++)
        p[i] = v[i];
}
VEC vf v_load_fill(const float *p, size_t n, float fill) {
    if (n >= VL) return v_load(p);
    vf v = v_set1(fill);
    for (size_t i = 0; i < n; i++)
        v[i] = p[i];
    return v;
}
VEC void v_store_n(float *p, vf v, size_t n) {
    for (size_t i = 0; i < VL && i < n; i++)
        p[i] = v[i];
}
VEC vf v_add(vf a, vf b) {
    return a + b;
}
VEC vf v_sub(vf a, vf b) {
    return a - b;
}
VEC vf v_mul(vf a, vf b) {
    return a * b;
}
VEC vf v_div(vf a, vf b) {
    return a / b;
}
VEC vf v_fma(vf a, vf b, vf c) {
    return a * b + c;
}
VEC vf v_fnma(vf a, vf b, vf c) {
    return c - a * b;
}
VEC vf v_pick(vec_ints mask, vf yes, vf no) {
    return (vf)((mask & (vec_ints)yes) | (~mask & (vec_ints)no));
}
VEC vf v_max(vf a, vf b) {
    return v_pick(a > b, a, b);
}
VEC vf v_min(vf a, vf b) {
    return v_pick(a < b, a, b);
}
VEC vf v_abs(vf a) {
    return (vf)((vec_ints)a & (vec_ints){0x7FFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF});
}
VEC vf v_if_negative(vf x, vf yes, vf no) {
    return v_pick(x < v_zero(), yes, no);
}
VEC vf v_scale(vf x, vf n) {
    vf a, b;
    for (int i = 0; i < VL; i++) { /* a NaN must not reach the conversion; x carries it already */
        const int all = n[i] == n[i] ? (int)n[i] : 0, half = all / 2;
        const union {
            int bits;
            float value;
        } first = {(half + 127) << 23}, second = {(all - half + 127) << 23};
        a[i] = first.value;
        b[i] = second.value;
    }
    return x * a * b;
}
VEC void v_transpose(vf *r) {
    for (int i = 0; i < VL; i++)
        for (int j = 0; j < i; j++) {
            const float t = r[i][j];
            r[i][j] = r[j][i];
            r[j][i] = t;
        }
}
VEC void v_prefetch_near(const float *p) {
    __builtin_prefetch(p, 0, 3);
}
VEC void v_prefetch_far(const float *p) {
    __builtin_prefetch(p, 0, 2);
}
VEC void v_prefetch_write(const float *p) {
    __builtin_prefetch(p, 1, 3);
}

#include "compute/cpu/vec_fold.h"
