/* diorama/noise.h: smooth noise and waves from integer hashes and plain arithmetic: the same on
 * every machine. */
#ifndef KH_DIORAMA_NOISE_H
#define KH_DIORAMA_NOISE_H

#include <stdint.h>

static inline uint32_t kh_noise_mix(uint32_t z) {
    z ^= z >> 15;
    z *= 0x2C1B3C6Du;
    z ^= z >> 12;
    z *= 0x297A2D39u;
    return z ^ (z >> 15);
}

/* [0, 1) at a lattice point. */
static inline double kh_noise_cell(uint32_t key, int32_t x, int32_t y) {
    return (double)kh_noise_mix((uint32_t)x * 0x8DA6B343u ^ (uint32_t)y * 0xD8163841u ^ key) *
           0x1p-32;
}

/* The next integer below; |x| < 2^31. */
static inline int32_t kh_noise_floor(double x) {
    const int32_t whole = (int32_t)x;
    return whole - (x < whole);
}

/* [0, 1), smooth between lattice points. */
static inline double kh_noise(uint32_t key, double x, double y) {
    const int32_t ix = kh_noise_floor(x), iy = kh_noise_floor(y);
    const double fx = x - ix, fy = y - iy;
    const double sx = fx * fx * (3 - 2 * fx), sy = fy * fy * (3 - 2 * fy);
    const double a = kh_noise_cell(key, ix, iy), b = kh_noise_cell(key, ix + 1, iy);
    const double c = kh_noise_cell(key, ix, iy + 1), d = kh_noise_cell(key, ix + 1, iy + 1);
    const double top = a + (b - a) * sx, bottom = c + (d - c) * sx;
    return top + (bottom - top) * sy;
}

/* Two octaves, [0, 1). */
static inline double kh_noise2(uint32_t key, double x, double y) {
    return (2 * kh_noise(key, x, y) + kh_noise(key + 1, 2.17 * x, 2.17 * y)) / 3;
}

/* Like a sine of period 1, in [-1, 1]. */
static inline double kh_wave(double x) {
    const double f = 2 * (x - kh_noise_floor(x)) - 1;
    return 4 * f * (1 - (f < 0 ? -f : f));
}

/* 0 below low, 1 above high, straight between. */
static inline double kh_rise(double x, double low, double high) {
    const double t = (x - low) / (high - low);
    return t < 0 ? 0 : t > 1 ? 1 : t;
}

#endif
