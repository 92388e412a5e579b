/* dream/axis.h: resampling along one axis as a short list of (source, weight) per output. */
#ifndef KH_DREAM_AXIS_H
#define KH_DREAM_AXIS_H

#include <stddef.h>
#include <stdint.h>

#include "dream/real.h"

typedef struct kh_axis_map {
    size_t from, to, taps;
    kh_real *weight; /* [to, taps] */
    uint32_t *at;    /* [to, taps] */
} kh_axis_map;

/* Bilinear with align_corners=True: r = (from - 1) / (to - 1), 0 when to is 1. Two taps. */
void kh_axis_resize(kh_axis_map *map);

/* Taps per output of a crop of `width` source pixels to `to` outputs. */
size_t kh_axis_crop_taps(double width, size_t to);
/* roi_align, aligned=False: bins of width / to from `start` on, ceil(bin) samples in each,
 * averaged; samples before -1 or behind `from` count 0, others are clamped. */
void kh_axis_crop(kh_axis_map *map, double start, double width);

/* in [from, width] -> out [to, width] */
void kh_axis_rows(const kh_axis_map *map, size_t width, const kh_real *in, kh_real *out);
/* in [height, from] -> out [height, to] */
void kh_axis_columns(const kh_axis_map *map, size_t height, const kh_real *in, kh_real *out);
/* Their transposes; out is overwritten. */
void kh_axis_rows_back(const kh_axis_map *map, size_t width, const kh_real *g, kh_real *out);
void kh_axis_columns_back(const kh_axis_map *map, size_t height, const kh_real *g, kh_real *out);

#endif
