/* Vectors of 4 floats, NEON on 64-bit ARM. See vec_plain.h for what each name means. */
#include <arm_neon.h>

enum { VL = 4, NV = 2, NR = VL * NV, MR = 8 };
typedef float32x4_t vf;

#define VEC static inline __attribute__((always_inline))

VEC vf v_zero(void) {
    return vdupq_n_f32(0.0f);
}
VEC vf v_set1(float x) {
    return vdupq_n_f32(x);
}
VEC vf v_load(const float *p) {
    return vld1q_f32(p);
}
VEC void v_store(float *p, vf v) {
    vst1q_f32(p, v);
}
VEC vf v_load_fill(const float *p, size_t n, float fill) {
    if (n >= VL) return v_load(p);
    float lanes[VL] = {fill, fill, fill, fill};
    for (size_t i = 0; i < n; i++)
        lanes[i] = p[i];
    return v_load(lanes);
}
VEC void v_store_n(float *p, vf v, size_t n) {
    if (n >= VL) {
        v_store(p, v);
        return;
    }
    float lanes[VL];
    v_store(lanes, v);
    for (size_t i = 0; i < n; i++)
        p[i] = lanes[i];
}
VEC vf v_add(vf a, vf b) {
    return vaddq_f32(a, b);
}
VEC vf v_sub(vf a, vf b) {
    return vsubq_f32(a, b);
}
VEC vf v_mul(vf a, vf b) {
    return vmulq_f32(a, b);
}
VEC vf v_div(vf a, vf b) {
    return vdivq_f32(a, b);
}
VEC vf v_fma(vf a, vf b, vf c) {
    return vfmaq_f32(c, a, b);
}
VEC vf v_fnma(vf a, vf b, vf c) {
    return vfmsq_f32(c, a, b);
}
VEC vf v_max(vf a, vf b) {
    return vbslq_f32(vcgtq_f32(a, b), a, b);
}
VEC vf v_min(vf a, vf b) {
    return vbslq_f32(vcltq_f32(a, b), a, b);
}
VEC vf v_abs(vf a) {
    return vabsq_f32(a);
}
VEC vf v_if_negative(vf x, vf yes, vf no) {
    return vbslq_f32(vcltq_f32(x, v_zero()), yes, no);
}
VEC vf v_scale(vf x, vf n) {
    const int32x4_t all = vcvtq_s32_f32(n), half = vshrq_n_s32(all, 1);
    const int32x4_t bias = vdupq_n_s32(127);
    const int32x4_t a = vshlq_n_s32(vaddq_s32(half, bias), 23);
    const int32x4_t b = vshlq_n_s32(vaddq_s32(vsubq_s32(all, half), bias), 23);
    return vmulq_f32(vmulq_f32(x, vreinterpretq_f32_s32(a)), vreinterpretq_f32_s32(b));
}
VEC void v_transpose(vf *r) {
    const float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
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
