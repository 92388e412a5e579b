/* EXIF orientation: find tag 0x0112, and turn an image by it. */
#include "base/alloc.h"
#include "io/image.h"

#include <string.h>

typedef struct tiff {
    const uint8_t *bytes;
    size_t count;
    bool big_endian;
} tiff;

static unsigned get16(const tiff *t, size_t at) {
    const unsigned a = t->bytes[at], b = t->bytes[at + 1];
    return t->big_endian ? a << 8 | b : b << 8 | a;
}

static size_t get32(const tiff *t, size_t at) {
    const size_t a = get16(t, at), b = get16(t, at + 2);
    return t->big_endian ? a << 16 | b : b << 16 | a;
}

unsigned kh_exif_orientation(const uint8_t *bytes, size_t count) {
    if (count >= 6 && memcmp(bytes, "Exif\0\0", 6) == 0) {
        bytes += 6;
        count -= 6;
    }
    if (count < 8) return 0;
    tiff t = {bytes, count, bytes[0] == 'M'};
    if (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0) return 0;
    const size_t directory = get32(&t, 4);
    if (directory > count || count - directory < 2) return 0;
    const size_t entries = get16(&t, directory);
    for (size_t i = 0; i < entries; i++) {
        const size_t at = directory + 2 + 12 * i; /* tag, type, count, value */
        if (at > count || count - at < 12) return 0;
        if (get16(&t, at) != 0x0112) continue;
        const unsigned type = get16(&t, at + 2);
        const size_t value = type == 3   ? get16(&t, at + 8) /* SHORT, as the standard says */
                             : type == 4 ? get32(&t, at + 8)
                                         : 0;
        return value <= 8 ? (unsigned)value : 0;
    }
    return 0;
}

kh_status kh_image_orient(kh_image *image, unsigned orientation, kh_error *err) {
    if (orientation < 2 || orientation > 8) return KH_OK;
    const bool swap = orientation >= 5;
    const size_t w = image->width, h = image->height;
    kh_image turned = {swap ? h : w, swap ? w : h, kh_realloc(NULL, w * h, 3)};
    if (!turned.rgb) return kh_fail(err, KH_E_MEMORY, "no memory to turn a %zux%zu image", w, h);
    /* where stored row and column 0 lie in the upright picture, EXIF 2.3 table 6 */
    const bool right = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
    const bool bottom =
        orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
    for (size_t y = 0; y < turned.height; y++) {
        const size_t v = bottom ? turned.height - 1 - y : y;
        for (size_t x = 0; x < turned.width; x++) {
            const size_t u = right ? turned.width - 1 - x : x;
            const size_t from = swap ? u * w + v : v * w + u;
            memcpy(turned.rgb + 3 * (y * turned.width + x), image->rgb + 3 * from, 3);
        }
    }
    kh_free(image->rgb);
    *image = turned;
    return KH_OK;
}
