#include "io/convert.h"

#include <stdint.h>
#include <string.h>

static inline uint16_t load_u16(const unsigned char *p) {
    uint16_t value;
    memcpy(&value, p, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap16(value);
#endif
    return value;
}

static inline uint32_t load_u32(const unsigned char *p) {
    uint32_t value;
    memcpy(&value, p, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline uint64_t load_u64(const unsigned char *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double double_of(uint64_t bits) {
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE binary16: 1 sign, 5 exponent (bias 15), 10 mantissa bits. A subnormal is mantissa * 2^-24,
 * which a float holds exactly and as a normal number, so flush-to-zero modes do not matter. */
static inline float half_value(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t rest = half & 0x7FFFu;
    const float small = (float)(int32_t)rest * 0x1p-24f;
    uint32_t small_bits;
    memcpy(&small_bits, &small, sizeof small_bits);
    const uint32_t rebias = rest >= 0x7C00u ? 224u << 23 : 112u << 23; /* Inf, NaN: 31 -> 255 */
    const uint32_t normal_bits = (rest << 13) + rebias;
    return float_of(sign | (rest < 0x0400u ? small_bits : normal_bits));
}

static inline float bfloat_value(uint16_t bits) {
    return float_of((uint32_t)bits << 16);
}

void kh_floats_from_f32(const unsigned char *bytes, size_t count, float *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = float_of(load_u32(bytes + 4 * i));
}

void kh_floats_from_f16(const unsigned char *bytes, size_t count, float *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = half_value(load_u16(bytes + 2 * i));
}

void kh_floats_from_bf16(const unsigned char *bytes, size_t count, float *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = bfloat_value(load_u16(bytes + 2 * i));
}

void kh_floats_from_f64(const unsigned char *bytes, size_t count, float *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = (float)double_of(load_u64(bytes + 8 * i));
}

void kh_doubles_from_f32(const unsigned char *bytes, size_t count, double *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = (double)float_of(load_u32(bytes + 4 * i));
}

void kh_doubles_from_f16(const unsigned char *bytes, size_t count, double *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = (double)half_value(load_u16(bytes + 2 * i));
}

void kh_doubles_from_bf16(const unsigned char *bytes, size_t count, double *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = (double)bfloat_value(load_u16(bytes + 2 * i));
}

void kh_doubles_from_f64(const unsigned char *bytes, size_t count, double *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = double_of(load_u64(bytes + 8 * i));
}

/* Largest magnitude as bits: an integer maximum vectorises and cannot be fooled by NaN. */
size_t kh_first_nonfinite_float(const float *values, size_t count) {
    enum { BLOCK = 4096 };
    for (size_t at = 0; at < count; at += BLOCK) {
        const size_t stop = count - at < BLOCK ? count : at + BLOCK;
        uint32_t largest = 0;
        for (size_t i = at; i < stop; i++) {
            uint32_t bits;
            memcpy(&bits, values + i, sizeof bits);
            bits &= 0x7FFFFFFFu;
            largest = bits > largest ? bits : largest;
        }
        if (largest < 0x7F800000u) continue;
        for (size_t i = at; i < stop; i++) {
            uint32_t bits;
            memcpy(&bits, values + i, sizeof bits);
            if ((bits & 0x7FFFFFFFu) >= 0x7F800000u) return i;
        }
    }
    return count;
}

size_t kh_first_nonfinite_double(const double *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, values + i, sizeof bits);
        if ((bits & 0x7FFFFFFFFFFFFFFFu) >= 0x7FF0000000000000u) return i;
    }
    return count;
}
