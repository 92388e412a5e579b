/* PNG at little compression and great speed: data sets of thousands of small pictures. */
#include "io/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

typedef struct writer {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    kh_text *out;
    char message[200];
} writer;

static void PNGCBAPI on_error(png_structp png, png_const_charp message) {
    writer *w = png_get_error_ptr(png);
    (void)snprintf(w->message, sizeof w->message, "%s", message);
    longjmp(w->escape, 1);
}

static void PNGCBAPI on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void PNGCBAPI on_write(png_structp png, png_bytep bytes, size_t count) {
    writer *w = png_get_io_ptr(png);
    kh_text_add_bytes(w->out, (const char *)bytes, count);
}

static void PNGCBAPI on_flush(png_structp png) {
    (void)png;
}

/* False after libpng's escape; what it holds is freed by the caller. */
static bool write_rows(writer *w, const kh_image *image, bool is_flat) {
    if (setjmp(w->escape)) return false;
    png_set_write_fn(w->png, w, on_write, on_flush);
    png_set_IHDR(w->png, w->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(w->png, 1);
    png_set_filter(w->png, PNG_FILTER_TYPE_BASE, is_flat ? PNG_FILTER_NONE : PNG_FILTER_SUB);
    png_write_info(w->png, w->info);
    for (size_t y = 0; y < image->height; y++)
        png_write_row(w->png, image->rgb + 3 * image->width * y);
    png_write_end(w->png, NULL);
    return true;
}

kh_status kh_png_encode(const kh_image *image, bool is_flat, kh_text *out, kh_error *err) {
    writer w = {.out = out};
    out->length = 0;
    if (!image->rgb || image->width == 0 || image->height == 0 || image->width > 65535 ||
        image->height > 65535)
        return kh_fail(err, KH_E_ARG, "cannot write a %zux%zu image (1 to 65535 px a side)",
                       image->width, image->height);
    w.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &w, on_error, on_warning);
    w.info = w.png ? png_create_info_struct(w.png) : NULL;
    kh_status status = KH_OK;
    if (!w.info)
        status = kh_fail(err, KH_E_MEMORY, "no memory to write a PNG");
    else if (!write_rows(&w, image, is_flat))
        status = kh_fail(err, KH_E_FORMAT, "libpng: %s", w.message);
    else if (out->failed)
        status = kh_fail(err, KH_E_MEMORY, "no memory for a PNG of %zux%zu px", image->width,
                         image->height);
    png_destroy_write_struct(&w.png, &w.info);
    return status;
}
