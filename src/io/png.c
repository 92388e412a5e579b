/* PNG through libpng, samples as stored: no gamma, no colour profile, no compositing.
 *
 * libpng inflates, unfilters and deinterlaces. The chunks are walked here first, to be as strict as
 * Pillow and no stricter: a wrong checksum counts before the image data, not after its start. */
#include "base/alloc.h"
#include "base/checked.h"
#include "io/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#define SIGNATURE_BYTES 8

typedef struct reader {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    const kh_encoded *in;
    size_t at;                 /* read position */
    size_t cut_at, cut_length; /* where an image data chunk begins that the file's end cuts short,
                                  and what is left of it; 0 when none is */
    char message[200];
    bool out_of_memory, ran_out;
    bool palette, gray16, interlaced;
    kh_image *image;
    uint8_t **rows; /* [height], into image->rgb; interlaced only */
    kh_status status;
    kh_error *err;
} reader;

/* ---- chunks ---------------------------------------------------------------------------------- */

typedef struct chunk {
    const uint8_t *type, *data;
    size_t length;
    uint32_t crc; /* as stored */
} chunk;

static uint32_t get32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t crc32_of(const uint8_t *bytes, size_t count) {
    uint32_t table[16]; /* a nibble at a time: header chunks are short */
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 4; bit++)
            c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < count; i++) {
        crc = table[(crc ^ bytes[i]) & 15] ^ crc >> 4;
        crc = table[(crc ^ (uint32_t)bytes[i] >> 4) & 15] ^ crc >> 4;
    }
    return crc ^ 0xFFFFFFFFu;
}

/* The chunk at *at, which moves behind it; false when the file ends within it. */
static bool next_chunk(const kh_encoded *in, size_t *at, chunk *out) {
    const size_t left = in->count - *at;
    if (left < 12) return false;
    const uint8_t *p = in->bytes + *at;
    const size_t length = get32(p);
    if (length > left - 12) return false;
    *out = (chunk){p + 4, p + 8, length, get32(p + 8 + length)};
    *at += length + 12;
    return true;
}

static bool is(const chunk *c, const char *type) {
    return memcmp(c->type, type, 4) == 0;
}

/* Everything up to the image data must be whole and right. */
static kh_status check_header(const kh_encoded *in, kh_error *err) {
    chunk c;
    for (size_t at = SIGNATURE_BYTES, n = 0;; n++) {
        const size_t start = at;
        /* the last image data chunk may be cut short and still hold every row */
        if (in->count - at >= 8 && memcmp(in->bytes + at + 4, "IDAT", 4) == 0) return KH_OK;
        if (!next_chunk(in, &at, &c))
            return kh_fail(err, KH_E_FORMAT, "PNG is truncated: %zu bytes end before the picture",
                           in->count);
        if (n == 0 && !is(&c, "IHDR"))
            return kh_fail(err, KH_E_FORMAT, "PNG is damaged: it does not begin with IHDR");
        if (is(&c, "IEND")) return kh_fail(err, KH_E_FORMAT, "PNG holds no image data");
        if (crc32_of(c.type, c.length + 4) != c.crc)
            return kh_fail(err, KH_E_FORMAT,
                           "PNG is damaged: wrong checksum in the header chunk at byte %zu", start);
    }
}

/* libpng asks for a chunk as a whole. Shortened to what there is, a cut chunk still gives all rows
 * when only checksums are missing. */
static void find_cut(reader *r) {
    const kh_encoded *in = r->in;
    size_t at = SIGNATURE_BYTES;
    chunk c;
    while (next_chunk(in, &at, &c))
        if (is(&c, "IEND")) return;
    const size_t left = in->count - at;
    if (left < 8 || memcmp(in->bytes + at + 4, "IDAT", 4) != 0) return;
    if (get32(in->bytes + at) <= left - 8) return; /* only the checksum is cut */
    r->cut_at = at;
    r->cut_length = left - 8;
}

static unsigned find_orientation(const kh_encoded *in) {
    chunk c;
    for (size_t at = SIGNATURE_BYTES; next_chunk(in, &at, &c);)
        if (is(&c, "eXIf")) return kh_exif_orientation(c.data, c.length);
    return 0;
}

static void warn_checksums(const kh_encoded *in) {
    if (!in->options->warn) return;
    chunk c;
    for (size_t at = SIGNATURE_BYTES; next_chunk(in, &at, &c);) {
        if (!is(&c, "IDAT") || crc32_of(c.type, c.length + 4) == c.crc) continue;
        kh_image_warn(in, "PNG image data has a wrong checksum and was read all the same");
        return;
    }
}

/* ---- what libpng calls ----------------------------------------------------------------------- */

static void note(reader *r, const char *message) {
    (void)snprintf(r->message, sizeof r->message, "%s", message);
}

static void PNGCBAPI on_error(png_structp png, png_const_charp message) {
    reader *r = png_get_error_ptr(png);
    note(r, message);
    longjmp(r->escape, 1);
}

static bool is_wrong_sum(const char *message) {
    return strstr(message, "incorrect data check") != NULL; /* zlib's words */
}

/* libpng only warns of a wrong sum over the data when it finds it behind the last row. */
static void PNGCBAPI on_warning(png_structp png, png_const_charp message) {
    reader *r = png_get_error_ptr(png);
    if (is_wrong_sum(message)) note(r, message);
}

static void PNGCBAPI on_read(png_structp png, png_bytep out, size_t count) {
    reader *r = png_get_io_ptr(png);
    if (count > r->in->count - r->at) {
        r->ran_out = true;
        png_error(png, "out of bytes");
    }
    memcpy(out, r->in->bytes + r->at, count);
    if (r->cut_at && r->at == r->cut_at && count == 8)
        for (size_t i = 0; i < 4; i++)
            out[i] = (png_byte)(r->cut_length >> (24 - 8 * i));
    r->at += count;
}

static png_voidp PNGCBAPI on_malloc(png_structp png, png_alloc_size_t size) {
    reader *r = png_get_mem_ptr(png);
    void *block = kh_realloc(NULL, size, 1);
    if (!block) r->out_of_memory = true;
    return block;
}

static void PNGCBAPI on_free(png_structp png, png_voidp block) {
    (void)png;
    kh_free(block);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Palette indices, one byte a pixel, lie in the last third of rgb and become colours in place. */
static void spread_palette(reader *r, size_t pixels) {
    uint8_t colours[256][3] = {{0}}; /* an index beyond the palette is black, as in Pillow */
    png_colorp entries = NULL;
    int count = 0;
    (void)png_get_PLTE(r->png, r->info, &entries, &count);
    for (int i = 0; i < count && i < 256; i++) {
        colours[i][0] = entries[i].red;
        colours[i][1] = entries[i].green;
        colours[i][2] = entries[i].blue;
    }
    uint8_t *rgb = r->image->rgb;
    const uint8_t *indices = rgb + 2 * pixels;
    for (size_t i = 0; i < pixels; i++)
        memcpy(rgb + 3 * i, colours[indices[i]], 3); /* never passes the next index */
}

/* 16-bit grey, big endian, in the last two thirds of rgb. */
static void spread_gray16(reader *r, size_t pixels) {
    const bool scale = r->in->options->gray16_scale;
    uint8_t *rgb = r->image->rgb;
    const uint8_t *samples = rgb + pixels;
    bool saturated = false;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t high = samples[2 * i], low = samples[2 * i + 1];
        const uint8_t gray = scale ? high : high ? 255 : low;
        saturated |= !scale && high;
        rgb[3 * i] = rgb[3 * i + 1] = rgb[3 * i + 2] = gray;
    }
    if (saturated)
        kh_image_warn(r->in, "16-bit grey PNG: values above 255 became 255, as in Pillow; "
                             "gray16_scale reads the high byte instead");
}

static void read_rows(reader *r, uint8_t *first, size_t stride, int passes) {
    const size_t height = r->image->height;
    if (passes == 1) {
        for (size_t y = 0; y < height; y++)
            png_read_row(r->png, first + y * stride, NULL);
        return;
    }
    for (size_t y = 0; y < height; y++)
        r->rows[y] = first + y * stride;
    png_read_image(r->png, r->rows);
}

/* Runs inside setjmp. */
static kh_status read_image(reader *r) {
    png_structp png = r->png;
    png_uint_32 width, height;
    int depth, colour, interlace;
    png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF); /* ours come below */
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_set_crc_action(png, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE); /* check_header looked */
    png_set_read_fn(png, r, on_read);
    png_read_info(png, r->info);
    if (!png_get_IHDR(png, r->info, &width, &height, &depth, &colour, &interlace, NULL, NULL))
        return kh_fail(r->err, KH_E_FORMAT, "PNG is damaged: no usable IHDR");
    KH_TRY(kh_image_create(width, height, r->in->limits, r->image, r->err));
    const size_t pixels = (size_t)width * height;
    r->palette = colour == PNG_COLOR_TYPE_PALETTE;
    r->gray16 = colour == PNG_COLOR_TYPE_GRAY && depth == 16;
    r->interlaced = interlace != PNG_INTERLACE_NONE;
    if (r->palette)
        png_set_packing(png);
    else if (!r->gray16) {
        if (depth == 16) png_set_strip_16(png); /* the high byte */
        if (colour & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(png);
        if (colour == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
        if (!(colour & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
    }
    const int passes = png_set_interlace_handling(png);
    if (r->interlaced) {
        r->rows = kh_calloc(height, sizeof *r->rows);
        if (!r->rows) return kh_fail(r->err, KH_E_MEMORY, "no memory for a list of PNG rows");
    }
    png_read_update_info(png, r->info);
    const size_t sample_bytes = r->palette ? 1 : r->gray16 ? 2 : 3;
    const size_t stride = sample_bytes * width;
    if (png_get_rowbytes(png, r->info) != stride)
        return kh_fail(r->err, KH_E_FORMAT, "PNG rows have %zu bytes, expected %zu",
                       (size_t)png_get_rowbytes(png, r->info), stride);
    read_rows(r, r->image->rgb + (3 - sample_bytes) * pixels, stride, passes);
    return KH_OK;
}

/* libpng goes on behind the last row; trouble there is no reason to throw the picture away. */
static bool has_all_rows(const reader *r) {
    if (!r->png || !r->image->rgb) return false;
    return r->interlaced ? png_get_current_pass_number(r->png) >= PNG_INTERLACE_ADAM7_PASSES
                         : png_get_current_row_number(r->png) >= r->image->height;
}

static kh_status judge_escape(const reader *r) {
    if (r->out_of_memory) return kh_fail(r->err, KH_E_MEMORY, "no memory to decode a PNG");
    if (is_wrong_sum(r->message))
        return kh_fail(r->err, KH_E_FORMAT, "PNG is damaged: the sum over its data is wrong");
    if (has_all_rows(r)) return KH_OK;
    if (r->ran_out)
        return kh_fail(r->err, KH_E_FORMAT, "PNG is truncated: %zu bytes do not hold all rows",
                       r->in->count);
    return kh_fail(r->err, KH_E_FORMAT, "PNG cannot be decoded: %s", r->message);
}

kh_status kh_png_decode(const kh_encoded *in, kh_image *out, unsigned *orientation, kh_error *err) {
    KH_TRY(check_header(in, err));
    reader *r = kh_calloc(1, sizeof *r);
    if (!r) return kh_fail(err, KH_E_MEMORY, "no memory for a PNG decoder");
    r->in = in;
    r->image = out;
    r->err = err;
    find_cut(r);
    if (setjmp(r->escape) == 0) {
        r->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, r, on_error, on_warning, r,
                                          on_malloc, on_free);
        if (r->png) r->info = png_create_info_struct(r->png);
        r->status =
            r->info ? read_image(r) : kh_fail(err, KH_E_MEMORY, "no memory for a PNG decoder");
        if (!r->status && r->message[0]) r->status = judge_escape(r); /* warned of a wrong sum */
    } else {
        r->status = judge_escape(r);
    }
    const size_t pixels = out->width * out->height;
    if (!r->status && r->palette) spread_palette(r, pixels);
    if (!r->status && r->gray16) spread_gray16(r, pixels);
    png_destroy_read_struct(&r->png, &r->info, NULL);
    const kh_status status = r->status;
    if (!status) warn_checksums(in);
    if (!status && in->options->exif_rotate) {
        const unsigned found = find_orientation(in);
        if (found) *orientation = found;
    }
    if (status) kh_image_clear(out);
    kh_free(r->rows);
    kh_free(r);
    return status;
}
