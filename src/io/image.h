/* io/image.h: inside the image decoders. */
#ifndef KH_IO_IMAGE_H
#define KH_IO_IMAGE_H

#include "base/status.h"
#include "base/text.h"
#include "keyhole/io.h"

/* Encoded bytes and the rules for reading them. Everything is set. */
typedef struct kh_encoded {
    const uint8_t *bytes;
    size_t count;
    const kh_decode_options *options;
    const kh_limits *limits;
} kh_encoded;

/* width x height pixels with undefined contents, after the limits were asked. Pair: kh_image_clear.
 * Errors: KH_E_FORMAT a side is 0, KH_E_LIMIT, KH_E_MEMORY. */
kh_status kh_image_create(size_t width, size_t height, const kh_limits *limits, kh_image *out,
                          kh_error *err);

/* Each fills *out (cleared again on failure) and, when the file carries one, the EXIF orientation
 * 1..8; otherwise *orientation is left alone. */
kh_status kh_jpeg_decode(const kh_encoded *in, kh_image *out, unsigned *orientation, kh_error *err);
kh_status kh_png_decode(const kh_encoded *in, kh_image *out, unsigned *orientation, kh_error *err);
kh_status kh_webp_decode(const kh_encoded *in, kh_image *out, unsigned *orientation, kh_error *err);

/* Orientation 1..8 in an EXIF block, with or without its "Exif\0\0" prefix; 0 when it has none. */
unsigned kh_exif_orientation(const uint8_t *bytes, size_t count);

/* Turns and mirrors the image so that what EXIF calls the top is on top. */
kh_status kh_image_orient(kh_image *image, unsigned orientation, kh_error *err);

/* The image as RGB PNG in place of what `out` held, quickly (zlib level 1). is_flat: areas of equal
 * pixels, such as label maps. The same pixels give the same bytes. */
kh_status kh_png_encode(const kh_image *image, bool is_flat, kh_text *out, kh_error *err);

/* One line for the person who asked for warnings. */
void kh_image_warn(const kh_encoded *in, const char *text);

#endif
