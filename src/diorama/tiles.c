#include "diorama/tiles.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

enum { SAMPLES = 4 }; /* per pixel and direction */

static size_t side_of(size_t size) {
    return (size_t)KH_TILE_SMALLEST << size;
}

static double from_middle(double x) {
    return fabs(x - 0.5);
}

/* Spots of a speckled tile: place in it and radius. */
static const double spots[][3] = {
    {0.10, 0.14, 0.085}, {0.38, 0.05, 0.060}, {0.68, 0.16, 0.095}, {0.92, 0.33, 0.055},
    {0.26, 0.36, 0.090}, {0.54, 0.42, 0.065}, {0.80, 0.56, 0.090}, {0.08, 0.60, 0.060},
    {0.36, 0.68, 0.080}, {0.62, 0.80, 0.085}, {0.90, 0.88, 0.060}, {0.16, 0.88, 0.075},
};

static bool in_spot(double x, double y) {
    for (size_t i = 0; i < sizeof spots / sizeof spots[0]; i++) {
        double dx = fabs(x - spots[i][0]), dy = fabs(y - spots[i][1]);
        if (dx > 0.5) dx = 1.0 - dx;
        if (dy > 0.5) dy = 1.0 - dy;
        if (dx * dx + dy * dy < spots[i][2] * spots[i][2]) return true;
    }
    return false;
}

/* True where the second colour is; x and y in 0..1. */
static bool is_second(kh_material material, double x, double y) {
    switch (material) {
    case KH_MATERIAL_STRIPES:
        return from_middle(y) < 0.21;
    case KH_MATERIAL_DOTS: {
        const double dx = from_middle(x), dy = from_middle(y);
        const double ex = 0.5 - dx, ey = 0.5 - dy; /* to the nearest corner */
        return dx * dx + dy * dy < 0.19 * 0.19 || ex * ex + ey * ey < 0.19 * 0.19;
    }
    case KH_MATERIAL_CHECKER:
        return (x < 0.5) != (y < 0.5);
    case KH_MATERIAL_SPECKLE:
        return in_spot(x, y);
    case KH_MATERIAL_ZIGZAG: {
        const double bend = 0.5 * from_middle(x) * 2.0; /* 0..0.5 */
        double t = y + bend;
        if (t >= 1.0) t -= 1.0;
        return t < 0.42;
    }
    case KH_MATERIAL_PLAIN:
    case KH_MATERIALS:
        break;
    }
    return false;
}

double kh_tile_periods(kh_material material) {
    switch (material) {
    case KH_MATERIAL_SPECKLE:
        return 2.6;
    case KH_MATERIAL_DOTS:
        return 1.5;
    case KH_MATERIAL_CHECKER:
    case KH_MATERIAL_ZIGZAG:
        return 1.25;
    case KH_MATERIAL_STRIPES:
    case KH_MATERIAL_PLAIN:
    case KH_MATERIALS:
        break;
    }
    return 1.0;
}

static void draw_tile(kh_material material, size_t side, uint8_t *share) {
    const double step = 1.0 / (double)(side * SAMPLES);
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            unsigned hits = 0;
            for (size_t j = 0; j < SAMPLES; j++)
                for (size_t i = 0; i < SAMPLES; i++)
                    hits += is_second(material, ((double)(x * SAMPLES + i) + 0.5) * step,
                                      ((double)(y * SAMPLES + j) + 0.5) * step);
            share[y * side + x] = (uint8_t)(hits * 255u / (SAMPLES * SAMPLES));
        }
}

bool kh_tiles_init(kh_tiles *tiles) {
    memset(tiles, 0, sizeof *tiles);
    size_t bytes = 0;
    for (size_t s = 0; s < KH_TILE_SIZES; s++)
        bytes += side_of(s) * side_of(s);
    tiles->block = kh_calloc(KH_MATERIALS - 1, bytes);
    if (!tiles->block) return false;
    uint8_t *next = tiles->block;
    for (int m = KH_MATERIAL_PLAIN + 1; m < KH_MATERIALS; m++)
        for (size_t s = 0; s < KH_TILE_SIZES; s++) {
            tiles->share[m][s] = next;
            draw_tile((kh_material)m, side_of(s), next);
            next += side_of(s) * side_of(s);
        }
    return true;
}

void kh_tiles_clear(kh_tiles *tiles) {
    kh_free(tiles->block);
    memset(tiles, 0, sizeof *tiles);
}

static uint32_t mixed(const double a[3], const double b[3], uint8_t share) {
    const double t = share / 255.0;
    uint32_t word = 0;
    for (size_t i = 0; i < 3; i++)
        word = word << 8 | (uint32_t)((a[i] + (b[i] - a[i]) * t) * 255.0 + 0.5);
    return word;
}

cairo_pattern_t *kh_tiles_pattern(const kh_tiles *tiles, const kh_paint *paint, double unit_px) {
    const double period = paint->pitch * kh_tile_periods(paint->material); /* of a tile, units */
    size_t s = 0;
    while (s + 1 < KH_TILE_SIZES && (double)side_of(s) < period * unit_px)
        s++;
    const size_t side = side_of(s);
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)side, (int)side);
    unsigned char *bytes = cairo_image_surface_get_data(surface);
    if (bytes) { /* NULL when out of memory: the pattern then carries the error on */
        const uint8_t *share = tiles->share[paint->material][s];
        uint32_t words[256];
        for (size_t i = 0; i < 256; i++)
            words[i] = mixed(paint->rgb, paint->other, (uint8_t)i);
        const size_t stride = (size_t)cairo_image_surface_get_stride(surface);
        for (size_t y = 0; y < side; y++)
            for (size_t x = 0; x < side; x++)
                memcpy(bytes + y * stride + x * 4, &words[share[y * side + x]], 4);
        cairo_surface_mark_dirty(surface);
    }
    cairo_pattern_t *pattern = cairo_pattern_create_for_surface(surface);
    cairo_surface_destroy(surface);
    cairo_pattern_set_extend(pattern, CAIRO_EXTEND_REPEAT);
    cairo_pattern_set_filter(pattern, CAIRO_FILTER_BILINEAR);
    cairo_matrix_t matrix; /* user space to tile pixels */
    cairo_matrix_init_scale(&matrix, (double)side / period, (double)side / period);
    cairo_matrix_rotate(&matrix, paint->angle);
    cairo_pattern_set_matrix(pattern, &matrix);
    return pattern;
}
