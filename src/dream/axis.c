#include "dream/axis.h"

#include <math.h>
#include <string.h>

void kh_axis_resize(kh_axis_map *map) {
    const double ratio = map->to > 1 ? (double)(map->from - 1) / (double)(map->to - 1) : 0.0;
    for (size_t i = 0; i < map->to; i++) {
        const double source = (double)i * ratio;
        size_t low = (size_t)source;
        if (low > map->from - 1) low = map->from - 1;
        const double t = source - (double)low;
        map->at[2 * i] = (uint32_t)low;
        map->at[2 * i + 1] = (uint32_t)(low + 1 < map->from ? low + 1 : low);
        map->weight[2 * i] = (kh_real)(1 - t);
        map->weight[2 * i + 1] = (kh_real)t;
    }
}

static size_t samples(double width, size_t to) {
    const double bin = (width > 1 ? width : 1) / (double)to;
    return bin > 1 ? (size_t)ceil(bin) : 1;
}

size_t kh_axis_crop_taps(double width, size_t to) {
    return 2 * samples(width, to);
}

void kh_axis_crop(kh_axis_map *map, double start, double width) {
    const double bin = (width > 1 ? width : 1) / (double)map->to;
    const size_t count = samples(width, map->to);
    const double share = 1.0 / (double)count, side = (double)map->from;
    for (size_t i = 0; i < map->to; i++)
        for (size_t k = 0; k < count; k++) {
            double p = start + ((double)i + ((double)k + 0.5) * share) * bin;
            uint32_t *at = map->at + (i * count + k) * 2;
            kh_real *weight = map->weight + (i * count + k) * 2;
            at[0] = at[1] = 0;
            weight[0] = weight[1] = 0;
            if (p < -1 || p > side) continue;
            if (p < 0) p = 0;
            size_t low = (size_t)p;
            if (low >= map->from - 1) {
                low = map->from - 1;
                p = (double)low;
            }
            at[0] = (uint32_t)low;
            at[1] = (uint32_t)(low + 1 < map->from ? low + 1 : low);
            weight[0] = (kh_real)((1 - (p - (double)low)) * share);
            weight[1] = (kh_real)((p - (double)low) * share);
        }
}

void kh_axis_rows(const kh_axis_map *map, size_t width, const kh_real *in, kh_real *out) {
    for (size_t i = 0; i < map->to; i++) {
        kh_real *row = out + i * width;
        memset(row, 0, width * sizeof *row);
        for (size_t k = 0; k < map->taps; k++) {
            const kh_real w = map->weight[i * map->taps + k];
            const kh_real *from = in + map->at[i * map->taps + k] * width;
            for (size_t x = 0; w != 0 && x < width; x++)
                row[x] += w * from[x];
        }
    }
}

void kh_axis_rows_back(const kh_axis_map *map, size_t width, const kh_real *g, kh_real *out) {
    memset(out, 0, map->from * width * sizeof *out);
    for (size_t i = 0; i < map->to; i++)
        for (size_t k = 0; k < map->taps; k++) {
            const kh_real w = map->weight[i * map->taps + k];
            kh_real *to = out + map->at[i * map->taps + k] * width;
            for (size_t x = 0; w != 0 && x < width; x++)
                to[x] += w * g[i * width + x];
        }
}

void kh_axis_columns(const kh_axis_map *map, size_t height, const kh_real *in, kh_real *out) {
    for (size_t y = 0; y < height; y++)
        for (size_t i = 0; i < map->to; i++) {
            kh_real sum = 0;
            for (size_t k = 0; k < map->taps; k++)
                sum +=
                    map->weight[i * map->taps + k] * in[y * map->from + map->at[i * map->taps + k]];
            out[y * map->to + i] = sum;
        }
}

void kh_axis_columns_back(const kh_axis_map *map, size_t height, const kh_real *g, kh_real *out) {
    memset(out, 0, height * map->from * sizeof *out);
    for (size_t y = 0; y < height; y++)
        for (size_t i = 0; i < map->to; i++)
            for (size_t k = 0; k < map->taps; k++)
                out[y * map->from + map->at[i * map->taps + k]] +=
                    map->weight[i * map->taps + k] * g[y * map->to + i];
}
