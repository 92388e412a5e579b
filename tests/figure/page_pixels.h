/* figure/page_pixels.h: what a rendered page looks like, pixel by pixel. */
#ifndef KH_TEST_FIGURE_PAGE_PIXELS_H
#define KH_TEST_FIGURE_PAGE_PIXELS_H

#include "support/kh_test.h"

#include "figure/near.h"

#include <cairo.h>

#include "keyhole/figure.h"

typedef struct kh_png {
    const uint8_t *bytes;
    size_t count, at;
} kh_png;

typedef struct kh_pixels {
    cairo_surface_t *surface;
    size_t width, height;
} kh_pixels;

static inline cairo_status_t kh_png_read(void *user, unsigned char *out, unsigned count) {
    kh_png *png = user;
    if (count > png->count - png->at) return CAIRO_STATUS_READ_ERROR;
    memcpy(out, png->bytes + png->at, count);
    png->at += count;
    return CAIRO_STATUS_SUCCESS;
}

/* Renders as PNG at `scale` and decodes it again. */
static inline kh_pixels kh_page_pixels(const kh_figure *figure, double scale) {
    kh_error err;
    kh_png png = {0};
    uint8_t *bytes;
    kh_assert_ok(kh_figure_render(figure, KH_FIGURE_PNG, scale, &bytes, &png.count, &err));
    png.bytes = bytes;
    kh_pixels page = {cairo_image_surface_create_from_png_stream(kh_png_read, &png), 0, 0};
    assert_int_equal(cairo_surface_status(page.surface), CAIRO_STATUS_SUCCESS);
    page.width = (size_t)cairo_image_surface_get_width(page.surface);
    page.height = (size_t)cairo_image_surface_get_height(page.surface);
    free(bytes);
    return page;
}

static inline void kh_pixels_clear(kh_pixels *page) {
    cairo_surface_destroy(page->surface);
}

/* 0xRRGGBB */
static inline uint32_t kh_pixel(const kh_pixels *page, size_t x, size_t y) {
    uint32_t word;
    assert_true(x < page->width && y < page->height);
    memcpy(&word,
           cairo_image_surface_get_data(page->surface) +
               y * (size_t)cairo_image_surface_get_stride(page->surface) + x * 4,
           4);
    return word & 0xffffff;
}

/* Pixels of exactly this colour in a column. */
static inline size_t kh_count_in_column(const kh_pixels *page, size_t x, uint32_t rgb) {
    size_t count = 0;
    for (size_t y = 0; y < page->height; y++)
        count += kh_pixel(page, x, y) == rgb;
    return count;
}

static inline size_t kh_count(const kh_pixels *page, uint32_t rgb) {
    size_t count = 0;
    for (size_t x = 0; x < page->width; x++)
        count += kh_count_in_column(page, x, rgb);
    return count;
}

#endif
