/* Painted values as bytes and as transparency. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "dream/job.h"

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* numpy's percentile: linear interpolation at q (n - 1). */
static float quantile(const float *sorted, size_t count, double q) {
    const double at = q * (double)(count - 1);
    const size_t low = (size_t)at, high = low + 1 < count ? low + 1 : low;
    return (float)((double)sorted[low] +
                   (at - (double)low) * ((double)sorted[high] - (double)sorted[low]));
}

static float *sorted_copy(const float *values, size_t count) {
    float *copy = kh_alloc_floats(count);
    if (!copy) return NULL;
    memcpy(copy, values, count * sizeof *copy);
    qsort(copy, count, sizeof *copy, by_value);
    return copy;
}

/* MaCo's way: clip to the 1 % and 99 % quantiles of all channels, then stretch to [0, 1]. */
static kh_status stretch(float *values, size_t count, kh_error *err) {
    float *sorted = sorted_copy(values, count);
    if (!sorted) return kh_fail(err, KH_E_MEMORY, "out of memory for a picture");
    const float low = quantile(sorted, count, 0.01), high = quantile(sorted, count, 0.99);
    for (size_t i = 0; i < count; i++) {
        const float v = fminf(fmaxf(values[i], low), high);
        values[i] = high > low ? (v - low) / (high - low) : 0.5f;
    }
    kh_free(sorted);
    return KH_OK;
}

kh_status kh_dream_picture(kh_dream *d, size_t image, kh_image *out, kh_error *err) {
    const size_t n = d->canvas.size, count = n * n;
    *out = (kh_image){0};
    float *pixels = kh_alloc_floats(3 * count);
    uint8_t *rgb = kh_calloc(3 * count, 1);
    kh_status status = KH_OK;
    if (!pixels || !rgb) status = kh_fail(err, KH_E_MEMORY, "out of memory for a picture");
    if (!status) status = kh_dream_pixels(d, image, pixels, 3 * count, err);
    const bool is_stretched =
        d->settings.paint == KH_PAINT_MACO || d->settings.paint == KH_PAINT_STANDARD;
    if (!status && is_stretched) status = stretch(pixels, 3 * count, err);
    for (size_t i = 0; !status && i < 3 * count; i++)
        rgb[3 * (i % count) + i / count] =
            (uint8_t)(255.0f * fminf(fmaxf(pixels[i], 0), 1)); /* truncated, as the reference */
    kh_free(pixels);
    if (status) {
        kh_free(rgb);
        return status;
    }
    *out = (kh_image){n, n, rgb};
    return KH_OK;
}

kh_status kh_dream_alpha(const kh_dream *d, size_t image, float *out, size_t count, kh_error *err) {
    const size_t pixels = d->canvas.size * d->canvas.size;
    if (image >= d->images)
        return kh_fail(err, KH_E_ARG, "image %zu of a dream of %zu", image, d->images);
    if (count != pixels)
        return kh_fail(err, KH_E_SHAPE, "room for %zu floats, the image has %zu pixels", count,
                       pixels);
    const float *alpha = d->image[image].alpha;
    if (!alpha)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "only MaCo and standardised dreams keep transparency");
    float *sorted = sorted_copy(alpha, pixels);
    if (!sorted) return kh_fail(err, KH_E_MEMORY, "out of memory for transparency");
    const float high = quantile(sorted, pixels, 0.8);
    kh_free(sorted);
    for (size_t i = 0; i < pixels; i++)
        out[i] = high > 0 ? fminf(alpha[i], high) / high : 1.0f;
    return KH_OK;
}
