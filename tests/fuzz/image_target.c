#include "fuzz/image_target.h"

#include "keyhole/io.h"

#include <stdlib.h>
#include <string.h>

static void ignore_warning(void *user, const char *text) {
    size_t *seen = user;
    *seen += strlen(text);
}

/* Every byte must be readable and stay the same: a picture that changes would be uninitialised. */
static uint32_t sum(const kh_image *image) {
    uint32_t h = 0x811C9DC5u;
    for (size_t i = 0; i < 3 * image->width * image->height; i++)
        h = (h ^ image->rgb[i]) * 0x01000193u;
    return h;
}

int fuzz_image(const uint8_t *data, size_t size, const char *magic, size_t magic_bytes) {
    if (size < magic_bytes || memcmp(data, magic, magic_bytes) != 0) return 0;
    kh_limits limits = kh_limits_default();
    limits.max_image_pixels = 1 << 18; /* keeps every run short */
    size_t warned = 0;
    const kh_decode_options options = {.exif_rotate = true,
                                       .gray16_scale = size % 2 != 0,
                                       .warn = ignore_warning,
                                       .warn_user = &warned};
    kh_image image, again, small;
    kh_error err;
    if (kh_image_decode(data, size, &options, &limits, &image, &err)) {
        if (image.rgb || !err.text[0]) abort();
        return 0;
    }
    if (kh_image_decode(data, size, &options, &limits, &again, &err)) abort();
    if (again.width != image.width || again.height != image.height || sum(&again) != sum(&image))
        abort();
    kh_preprocess how = kh_preprocess_default();
    how.height = how.width = 32;
    if (!kh_preprocess_bytes(&how, &image, &small, &err)) {
        (void)sum(&small);
        kh_image_clear(&small);
    }
    kh_image_clear(&image);
    kh_image_clear(&again);
    return 0;
}
