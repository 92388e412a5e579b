/* io/resample.h: Pillow's resampling of 8-bit RGB, byte for byte. */
#ifndef KH_IO_RESAMPLE_H
#define KH_IO_RESAMPLE_H

#include "base/status.h"
#include "keyhole/io.h"

/* The part of a resized image one wants. Its bytes are those of the whole resized image. */
typedef struct kh_region {
    size_t left, top, width, height;
} kh_region;

/* One output pixel of an axis: out = clamp((2^21 + sum in[first + i] * weights[i]) >> 22). */
typedef struct kh_window {
    size_t first, count;
    const int32_t *weights;  /* [count] */
    const int16_t *expanded; /* [groups of 4][2][16]: high and low halves in the order of the fast
                                horizontal pass; NULL in a vertical axis */
} kh_window;

/* rows x windows pixels from rows of pixels, 3 bytes each. in_bytes: what may be read at `in`. */
typedef void (*kh_horizontal_fn)(const uint8_t *in, size_t in_stride, size_t in_bytes, size_t rows,
                                 const kh_window *windows, size_t count, uint8_t *out,
                                 size_t out_stride);
/* One row of `bytes` bytes; in points at input row window->first. */
typedef void (*kh_vertical_fn)(const uint8_t *in, size_t in_stride, size_t bytes,
                               const kh_window *window, uint8_t *out);

typedef struct kh_resample_kernels {
    const char *name;
    kh_horizontal_fn horizontal;
    kh_vertical_fn vertical;
} kh_resample_kernels;

extern const kh_resample_kernels kh_resample_plain; /* the definition */
/* The best for this machine; the same bytes. */
const kh_resample_kernels *kh_resample_best(void);
#if defined(__x86_64__)
extern const kh_resample_kernels kh_resample_avx2;
#endif

/* Resizes image to width x height and writes `part` of the result, [part.height, part.width, 3], to
 * out with `stride` bytes from row to row. Errors: KH_E_ARG empty size or part outside, KH_E_LIMIT
 * sizes overflow, KH_E_MEMORY. Formula: docs/preprocessing.md. */
kh_status kh_resample(const kh_resample_kernels *kernels, const kh_image *image, size_t width,
                      size_t height, kh_filter filter, kh_region part, uint8_t *out, size_t stride,
                      kh_error *err);

#endif
