/* Writes an image as PNG: what keyhole saw, kept for people and for tests. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "keyhole/io.h"

#include <png.h>
#include <string.h>

kh_status kh_image_write(const char *path, const kh_image *image, kh_error *err) {
    if (!image->rgb || image->width == 0 || image->height == 0 || image->width > 65535 ||
        image->height > 65535)
        return kh_fail(err, KH_E_ARG, "cannot write a %zux%zu image (1 to 65535 px a side)",
                       image->width, image->height);
    png_image png;
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    png.width = (png_uint_32)image->width;
    png.height = (png_uint_32)image->height;
    png.format = PNG_FORMAT_RGB;
    /* libpng's own bound, so that one pass is enough */
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(png);
    unsigned char *bytes = kh_realloc(NULL, room, 1);
    if (!bytes) return kh_fail(err, KH_E_MEMORY, "no memory for a PNG of %zu bytes", (size_t)room);
    kh_status status;
    if (!png_image_write_to_memory(&png, bytes, &room, 0, image->rgb, 0, NULL))
        status = kh_fail(err, KH_E_FORMAT, "libpng: %s", png.message);
    else
        status = kh_file_write(path, bytes, room, err);
    png_image_free(&png);
    kh_free(bytes);
    return status;
}
