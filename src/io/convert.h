/* io/convert.h: little-endian bytes of a weight file to floats and doubles. */
#ifndef KH_IO_CONVERT_H
#define KH_IO_CONVERT_H

#include <stddef.h>

/* Every conversion but F64 to float is exact, subnormals, infinities and NaN included; F64 rounds
 * to nearest even. `bytes` need not be aligned and may not overlap out. */
void kh_floats_from_f32(const unsigned char *bytes, size_t count, float *out);
void kh_floats_from_f16(const unsigned char *bytes, size_t count, float *out);
void kh_floats_from_bf16(const unsigned char *bytes, size_t count, float *out);
void kh_floats_from_f64(const unsigned char *bytes, size_t count, float *out);

void kh_doubles_from_f32(const unsigned char *bytes, size_t count, double *out);
void kh_doubles_from_f16(const unsigned char *bytes, size_t count, double *out);
void kh_doubles_from_bf16(const unsigned char *bytes, size_t count, double *out);
void kh_doubles_from_f64(const unsigned char *bytes, size_t count, double *out);

/* Index of the first NaN or infinity, or count. */
size_t kh_first_nonfinite_float(const float *values, size_t count);
size_t kh_first_nonfinite_double(const double *values, size_t count);

#endif
