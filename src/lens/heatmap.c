/* A neuron's coefficients on the patches of a picture, as colours over the picture. */
#include "keyhole/lens.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

kh_grid kh_lens_grid(const kh_model_info *info) {
    return (kh_grid){
        .height = info->grid_height,
        .width = info->grid_width,
        .seen_height = (double)(info->grid_height * info->patch) / (double)info->image_height,
        .seen_width = (double)(info->grid_width * info->patch) / (double)info->image_width};
}

static const char *const scale_names[] = {"map", "class", "image", "shared"};

const char *kh_scale_name(kh_scale scale) {
    return (size_t)scale < 4 ? scale_names[scale] : "?";
}

kh_status kh_scale_parse(const char *name, kh_scale *out, kh_error *err) {
    for (size_t i = 0; i < 4; i++)
        if (strcmp(name, scale_names[i]) == 0) {
            *out = (kh_scale)i;
            return KH_OK;
        }
    return kh_fail(err, KH_E_ARG, "unknown scale; one of map, class, image, shared");
}

static bool shares_scale(kh_scale scale, size_t image, size_t rank, size_t other_image,
                         size_t other_rank, const size_t *classes) {
    switch (scale) {
    case KH_SCALE_MAP:
        return image == other_image && rank == other_rank;
    case KH_SCALE_CLASS:
        return classes[image] == classes[other_image];
    case KH_SCALE_IMAGE:
        return image == other_image;
    case KH_SCALE_SHARED:
        return true;
    }
    return false;
}

static kh_range range_of(const float *map, size_t count, bool clip) {
    kh_range range = {INFINITY, -INFINITY};
    for (size_t i = 0; i < count; i++) {
        const float v = clip && map[i] < 0 ? 0 : map[i];
        if (v < range.min) range.min = v;
        if (v > range.max) range.max = v;
    }
    return range;
}

kh_status kh_lens_map_ranges(const float *maps, size_t images, size_t k, size_t patches,
                             const size_t *classes, kh_scale scale, bool clip, kh_range *out,
                             kh_error *err) {
    if (patches == 0) return kh_fail(err, KH_E_ARG, "maps without patches have no range");
    if (scale == KH_SCALE_CLASS && !classes)
        return kh_fail(err, KH_E_ARG, "scale 'class' needs the class of every image");
    const size_t count = images * k;
    kh_range *own = kh_calloc(count, sizeof *own);
    if (!own) return kh_fail(err, KH_E_MEMORY, "no memory for the ranges of %zu maps", count);
    for (size_t i = 0; i < count; i++)
        own[i] = range_of(maps + i * patches, patches, clip);
    for (size_t i = 0; i < count; i++) {
        out[i] = own[i];
        for (size_t j = 0; j < count && scale != KH_SCALE_MAP; j++) {
            if (!shares_scale(scale, i / k, i % k, j / k, j % k, classes)) continue;
            if (own[j].min < out[i].min) out[i].min = own[j].min;
            if (own[j].max > out[i].max) out[i].max = own[j].max;
        }
    }
    kh_free(own);
    return KH_OK;
}

void kh_lens_map_normalize(const float *map, size_t count, kh_range range, bool clip, float *out) {
    const float width = range.max - range.min;
    for (size_t i = 0; i < count; i++) {
        const float v = clip && map[i] < 0 ? 0 : map[i];
        out[i] = width > 0 ? (v - range.min) / width : 0;
    }
}

/* Where pixel `at` of `size` falls among `cells` cell centres: lower cell, upper cell, weight of
 * the upper one. torch's align_corners=False. */
typedef struct tap {
    size_t lo, hi;
    double weight;
} tap;

static tap source_of(size_t at, size_t size, size_t cells, double seen) {
    double s = ((double)at + 0.5) * (double)cells / (seen * (double)size) - 0.5;
    if (!(s > 0)) s = 0;
    tap t = {.lo = (size_t)s};
    if (t.lo > cells - 1) t.lo = cells - 1;
    t.hi = t.lo + 1 < cells ? t.lo + 1 : t.lo;
    t.weight = s - (double)t.lo;
    return t;
}

void kh_lens_upsample(const float *map, kh_grid grid, size_t height, size_t width, float *out) {
    for (size_t y = 0; y < height; y++) {
        const tap ty = source_of(y, height, grid.height, grid.seen_height);
        const float *upper = map + ty.lo * grid.width, *lower = map + ty.hi * grid.width;
        for (size_t x = 0; x < width; x++) {
            const tap tx = source_of(x, width, grid.width, grid.seen_width);
            /* a + w (b - a) rather than (1 - w) a + w b: equal corners give exactly themselves */
            const double a = (double)upper[tx.lo], b = (double)upper[tx.hi];
            const double c = (double)lower[tx.lo], d = (double)lower[tx.hi];
            const double top = a + tx.weight * (b - a), bottom = c + tx.weight * (d - c);
            out[y * width + x] = (float)(top + ty.weight * (bottom - top));
        }
    }
}

static uint8_t truncated(float v) {
    if (!(v > 0)) return 0; /* NaN too */
    return v >= 255 ? 255 : (uint8_t)v;
}

void kh_lens_map_u8(const float *map, size_t count, uint8_t *out) {
    for (size_t i = 0; i < count; i++)
        out[i] = truncated(255 * map[i]);
}

void kh_lens_display_bytes(const uint8_t *rgb, size_t pixels, float *out) {
    for (size_t i = 0; i < pixels * 3; i++)
        out[i] = (float)rgb[i] / 255;
}

void kh_lens_display_tensor(const float *tensor, size_t pixels, float *out) {
    const kh_range range = range_of(tensor, pixels * 3, false);
    const float width = range.max - range.min;
    for (size_t channel = 0; channel < 3; channel++)
        for (size_t i = 0; i < pixels; i++) {
            const float v = tensor[channel * pixels + i];
            out[i * 3 + channel] = width > 0 ? (v - range.min) / width : 0;
        }
}

/* One pixel of heat and photograph before the division by the brightest. */
static void add_pixel(uint8_t heat, const float *photo, bool swap_photo, float sum[3]) {
    const uint8_t *colour = kh_lens_jet(heat);
    for (size_t channel = 0; channel < 3; channel++)
        sum[channel] = (float)colour[channel] / 255 + photo[swap_photo ? 2 - channel : channel];
}

void kh_lens_overlay(const uint8_t *heat, const float *photo, size_t pixels, bool swap_photo,
                     uint8_t *rgb) {
    float sum[3], brightest = 0;
    for (size_t i = 0; i < pixels; i++) {
        add_pixel(heat[i], photo + i * 3, swap_photo, sum);
        for (size_t channel = 0; channel < 3; channel++)
            if (sum[channel] > brightest) brightest = sum[channel];
    }
    for (size_t i = 0; i < pixels; i++) {
        add_pixel(heat[i], photo + i * 3, swap_photo, sum);
        for (size_t channel = 0; channel < 3; channel++)
            rgb[i * 3 + channel] = truncated(255 * (sum[channel] / brightest));
    }
}

kh_status kh_lens_heatmap(const float *map, kh_grid grid, kh_range range, size_t height,
                          size_t width, const float *photo, bool swap_photo, uint8_t *rgb,
                          uint8_t *heat, kh_error *err) {
    const size_t cells = grid.height * grid.width;
    size_t pixels;
    if (!kh_mul(height, width, &pixels))
        return kh_fail(err, KH_E_ARG, "a heatmap of %zu x %zu pixels", height, width);
    float *scaled = kh_alloc_floats(cells);
    float *large = kh_alloc_floats(pixels);
    uint8_t *levels = kh_calloc(pixels, 1);
    kh_status status = KH_OK;
    if (!scaled || !large || !levels) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for a heatmap of %zu x %zu", height, width);
        goto done;
    }
    kh_lens_map_normalize(map, cells, range, true, scaled);
    kh_lens_upsample(scaled, grid, height, width, large);
    kh_lens_map_u8(large, pixels, levels);
    kh_lens_overlay(levels, photo, pixels, swap_photo, rgb);
    if (heat) memcpy(heat, levels, pixels);

done:
    kh_free(levels);
    kh_free(large);
    kh_free(scaled);
    return status;
}
