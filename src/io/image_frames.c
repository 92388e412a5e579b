/* Animated PNG, and PNG with transparency. Frames are encoded by libpng one by one; the chunks that
 * make them an animation (https://wiki.mozilla.org/APNG_Specification) are put around them here. */
#include "base/alloc.h"
#include "base/file.h"
#include "keyhole/io.h"

#include <png.h>
#include <string.h>

typedef struct bytes {
    unsigned char *data;
    size_t count, room;
    bool failed;
} bytes;

static void put(bytes *b, const void *data, size_t count) {
    if (b->failed) return;
    if (count > b->room - b->count) {
        const size_t room = 2 * (b->count + count);
        unsigned char *more = kh_realloc(b->data, room, 1);
        if (!more) {
            b->failed = true;
            return;
        }
        b->data = more;
        b->room = room;
    }
    memcpy(b->data + b->count, data, count);
    b->count += count;
}

static void big_endian(uint32_t value, unsigned char out[4]) {
    for (size_t i = 0; i < 4; i++)
        out[i] = (unsigned char)(value >> (24 - 8 * i));
}

static uint32_t from_big_endian(const unsigned char *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t crc_of(uint32_t crc, const unsigned char *data, size_t count) {
    for (size_t i = 0; i < count; i++) {
        crc ^= data[i];
        for (size_t k = 0; k < 8; k++)
            crc = crc & 1 ? 0xEDB88320u ^ crc >> 1 : crc >> 1;
    }
    return crc;
}

/* A chunk of two pieces; the first may be empty. */
static void put_chunk(bytes *b, const char type[4], const unsigned char *first, size_t first_count,
                      const unsigned char *second, size_t count) {
    unsigned char word[4], name[4];
    memcpy(name, type, 4);
    big_endian((uint32_t)(first_count + count), word);
    put(b, word, 4);
    put(b, name, 4);
    if (first_count) put(b, first, first_count);
    if (count) put(b, second, count);
    uint32_t crc = crc_of(0xFFFFFFFFu, name, 4);
    crc = crc_of(crc, first, first_count);
    crc = crc_of(crc, second, count);
    big_endian(crc ^ 0xFFFFFFFFu, word);
    put(b, word, 4);
}

static kh_status encode(const uint8_t *pixels, size_t width, size_t height, bool has_alpha,
                        unsigned char **out, size_t *count, kh_error *err) {
    png_image png;
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    png.width = (png_uint_32)width;
    png.height = (png_uint_32)height;
    png.format = has_alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(png);
    *out = kh_realloc(NULL, room, 1);
    if (!*out) return kh_fail(err, KH_E_MEMORY, "no memory for a PNG of %zu bytes", (size_t)room);
    kh_status status = KH_OK;
    if (!png_image_write_to_memory(&png, *out, &room, 0, pixels, 0, NULL))
        status = kh_fail(err, KH_E_FORMAT, "libpng: %s", png.message);
    png_image_free(&png);
    *count = room;
    if (status) {
        kh_free(*out);
        *out = NULL;
    }
    return status;
}

/* fcTL: sequence, size, offset 0, delay, replace what was there */
static void put_control(bytes *b, uint32_t *sequence, const kh_image *frame, unsigned delay_ms) {
    unsigned char data[26] = {0};
    big_endian((*sequence)++, data);
    big_endian((uint32_t)frame->width, data + 4);
    big_endian((uint32_t)frame->height, data + 8);
    data[20] = (unsigned char)(delay_ms >> 8);
    data[21] = (unsigned char)delay_ms;
    data[22] = 1000 >> 8;
    data[23] = 1000 & 255;
    put_chunk(b, "fcTL", NULL, 0, data, sizeof data);
}

/* Copies the chunks of one encoded frame: the header of the first, the image data of all. */
static void put_frame(bytes *b, uint32_t *sequence, const unsigned char *png, size_t count,
                      size_t frame, size_t frames, const kh_image *image, unsigned delay_ms) {
    bool controlled = false;
    for (size_t at = 8; at + 12 <= count;) {
        const size_t length = from_big_endian(png + at);
        const unsigned char *type = png + at + 4, *data = png + at + 8;
        if (length > count - at - 12) return;
        if (memcmp(type, "IDAT", 4) == 0) {
            if (!controlled) put_control(b, sequence, image, delay_ms);
            controlled = true;
            unsigned char word[4];
            big_endian(*sequence, word);
            if (frame == 0)
                put_chunk(b, "IDAT", NULL, 0, data, length);
            else
                put_chunk(b, "fdAT", word, 4, data, length);
            *sequence += frame > 0;
        } else if (frame == 0 && memcmp(type, "IEND", 4) != 0) {
            char name[4];
            memcpy(name, type, 4);
            put_chunk(b, name, NULL, 0, data, length);
            if (memcmp(type, "IHDR", 4) == 0) {
                unsigned char control[8] = {0}; /* frames, plays: 0 is for ever */
                big_endian((uint32_t)frames, control);
                put_chunk(b, "acTL", NULL, 0, control, sizeof control);
            }
        }
        at += length + 12;
    }
}

kh_status kh_image_write_frames(const char *path, const kh_image *frames, size_t count,
                                unsigned delay_ms, kh_error *err) {
    static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    if (count == 0 || delay_ms > 65535)
        return kh_fail(err, KH_E_ARG, "an animation of %zu frames, %u ms each", count, delay_ms);
    for (size_t i = 0; i < count; i++)
        if (!frames[i].rgb || frames[i].width != frames[0].width || frames[i].width == 0 ||
            frames[i].height != frames[0].height || frames[i].height == 0 ||
            frames[i].width > 65535 || frames[i].height > 65535)
            return kh_fail(err, KH_E_ARG, "frame %zu is %zux%zu, the first %zux%zu", i,
                           frames[i].width, frames[i].height, frames[0].width, frames[0].height);
    bytes all = {0};
    uint32_t sequence = 0;
    put(&all, signature, sizeof signature);
    kh_status status = KH_OK;
    for (size_t i = 0; !status && i < count; i++) {
        unsigned char *png = NULL;
        size_t png_count = 0;
        status =
            encode(frames[i].rgb, frames[i].width, frames[i].height, false, &png, &png_count, err);
        if (!status) put_frame(&all, &sequence, png, png_count, i, count, &frames[i], delay_ms);
        kh_free(png);
    }
    put_chunk(&all, "IEND", NULL, 0, NULL, 0);
    if (!status && all.failed) status = kh_fail(err, KH_E_MEMORY, "no memory for an animation");
    if (!status) status = kh_file_write(path, all.data, all.count, err);
    kh_free(all.data);
    return status;
}

kh_status kh_image_write_alpha(const char *path, const kh_image *image, const uint8_t *alpha,
                               kh_error *err) {
    const size_t width = image->width, height = image->height;
    if (!image->rgb || width == 0 || height == 0 || width > 65535 || height > 65535)
        return kh_fail(err, KH_E_ARG, "cannot write a %zux%zu image (1 to 65535 px a side)", width,
                       height);
    uint8_t *rgba = kh_calloc(width * height, 4);
    if (!rgba) return kh_fail(err, KH_E_MEMORY, "no memory for a %zux%zu image", width, height);
    for (size_t i = 0; i < width * height; i++) {
        memcpy(rgba + 4 * i, image->rgb + 3 * i, 3);
        rgba[4 * i + 3] = alpha[i];
    }
    unsigned char *png = NULL;
    size_t count = 0;
    kh_status status = encode(rgba, width, height, true, &png, &count, err);
    if (!status) status = kh_file_write(path, png, count, err);
    kh_free(png);
    kh_free(rgba);
    return status;
}
