/* Which format is it? Then hand it to the decoder that Pillow would use. */
#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/text.h"
#include "io/image.h"

#include <stdio.h>
#include <string.h>

void kh_image_clear(kh_image *image) {
    if (!image) return;
    kh_free(image->rgb);
    *image = (kh_image){0};
}

kh_status kh_image_create(size_t width, size_t height, const kh_limits *limits, kh_image *out,
                          kh_error *err) {
    size_t pixels, bytes;
    *out = (kh_image){0};
    if (!width || !height)
        return kh_fail(err, KH_E_FORMAT, "image is %zux%zu pixels; both sides must be at least 1",
                       width, height);
    if (!kh_mul(width, height, &pixels) || pixels > limits->max_image_pixels ||
        !kh_mul(pixels, 3, &bytes))
        return kh_fail(err, KH_E_LIMIT,
                       "image is %zux%zu pixels, more than the limit of %llu pixels", width, height,
                       (unsigned long long)limits->max_image_pixels);
    uint8_t *rgb = kh_realloc(NULL, bytes, 1);
    if (!rgb) return kh_fail(err, KH_E_MEMORY, "no memory for a %zux%zu image", width, height);
    *out = (kh_image){width, height, rgb};
    return KH_OK;
}

void kh_image_warn(const kh_encoded *in, const char *text) {
    if (in->options->warn) in->options->warn(in->options->warn_user, text);
}

static bool starts(const kh_encoded *in, size_t at, const char *magic, size_t length) {
    return in->count >= at + length && memcmp(in->bytes + at, magic, length) == 0;
}
#define STARTS(in, at, magic) starts(in, at, magic, sizeof magic - 1)

/* The name of an image format we recognise and do not read; NULL otherwise. */
static const char *unread_format(const kh_encoded *in) {
    if (STARTS(in, 0, "GIF87a") || STARTS(in, 0, "GIF89a")) return "GIF";
    if (STARTS(in, 0, "BM") && STARTS(in, 6, "\0\0\0\0")) return "BMP";
    if (STARTS(in, 0, "II*\0") || STARTS(in, 0, "MM\0*") || STARTS(in, 0, "II+\0") ||
        STARTS(in, 0, "MM\0+"))
        return "TIFF";
    if (STARTS(in, 4, "ftypavif") || STARTS(in, 4, "ftypavis")) return "AVIF";
    if (STARTS(in, 4, "ftyphei") || STARTS(in, 4, "ftyphev") || STARTS(in, 4, "ftypmif1"))
        return "HEIF";
    if (STARTS(in, 0, "\xFF\x0A") || STARTS(in, 4, "JXL \r\n\x87\n")) return "JPEG XL";
    if (STARTS(in, 4, "jP  \r\n\x87\n") || STARTS(in, 0, "\xFF\x4F\xFF\x51")) return "JPEG 2000";
    if (STARTS(in, 0, "8BPS")) return "Photoshop";
    if (STARTS(in, 0, "v/1\x01")) return "OpenEXR";
    if (STARTS(in, 0, "qoif")) return "QOI";
    if (STARTS(in, 0, "%PDF-")) return "PDF";
    if (STARTS(in, 0, "<svg")) return "SVG";
    if (in->count > 2 && in->bytes[0] == 'P' && in->bytes[1] >= '1' && in->bytes[1] <= '6' &&
        strchr(" \t\r\n#", in->bytes[2]) && in->bytes[2])
        return "PNM";
    return NULL;
}

static kh_status not_an_image(const kh_encoded *in, kh_error *err) {
    if (in->count == 0) return kh_fail(err, KH_E_FORMAT, "not an image: the file is empty");
    const char *format = unread_format(in);
    if (format)
        return kh_fail(err, KH_E_UNSUPPORTED, "format %s is not read; convert to PNG", format);
    char text[64], hex[64];
    const size_t shown = in->count < 12 ? in->count : 12;
    kh_shown((const char *)in->bytes, shown, text, sizeof text);
    size_t used = 0;
    for (size_t i = 0; i < shown; i++)
        used +=
            (size_t)snprintf(hex + used, sizeof hex - used, "%s%02x", i ? " " : "", in->bytes[i]);
    return kh_fail(err, KH_E_FORMAT, "not a JPEG, PNG or WebP image (first bytes: %s, '%s')", hex,
                   text);
}

kh_status kh_image_decode(const uint8_t *bytes, size_t count, const kh_decode_options *options,
                          const kh_limits *limits, kh_image *out, kh_error *err) {
    static const kh_decode_options no_options;
    const kh_limits defaults = kh_limits_default();
    const kh_encoded in = {bytes, count, options ? options : &no_options,
                           limits ? limits : &defaults};
    *out = (kh_image){0};
    if (count > in.limits->max_image_bytes)
        return kh_fail(err, KH_E_LIMIT, "image file has %zu bytes, more than the limit of %llu",
                       count, (unsigned long long)in.limits->max_image_bytes);
    unsigned orientation = 1;
    if (STARTS(&in, 0, "\xFF\xD8\xFF"))
        KH_TRY(kh_jpeg_decode(&in, out, &orientation, err));
    else if (STARTS(&in, 0, "\x89PNG\r\n\x1a\n"))
        KH_TRY(kh_png_decode(&in, out, &orientation, err));
    else if (STARTS(&in, 0, "RIFF") && STARTS(&in, 8, "WEBP"))
        KH_TRY(kh_webp_decode(&in, out, &orientation, err));
    else
        return not_an_image(&in, err);
    if (!in.options->exif_rotate) return KH_OK;
    const kh_status status = kh_image_orient(out, orientation, err);
    if (status) kh_image_clear(out);
    return status;
}

kh_status kh_image_read(const char *path, const kh_decode_options *options, const kh_limits *limits,
                        kh_image *out, kh_error *err) {
    const kh_limits defaults = kh_limits_default();
    unsigned char *bytes;
    size_t count;
    *out = (kh_image){0};
    KH_TRY(kh_file_read(path, (limits ? limits : &defaults)->max_image_bytes, &bytes, &count, err));
    const kh_status status = kh_image_decode(bytes, count, options, limits, out, err);
    kh_free(bytes);
    if (!status) return KH_OK;
    char shown[KH_SHOWN_BYTES];
    return kh_error_context(err, status, "%s", kh_shown(path, strlen(path), shown, sizeof shown));
}
