/* JPEG through libjpeg-turbo with its defaults, fed as Pillow feeds it.
 *
 * Pillow hands libjpeg the file and then nothing: where libjpeg asks for more it is suspended, and
 * Pillow calls the file truncated. A missing end marker is therefore often an error even when every
 * pixel is there, while damage that libjpeg merely warns about is accepted. */
#include "base/alloc.h"
#include "base/text.h"
#include "io/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

/* An honest progressive file has about ten scans; each costs a pass over all coefficients. */
#define MAX_SCANS 500

/* image rows asked for in one call of libjpeg */
#define ROWS_AT_ONCE 16

typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char message[JMSG_LENGTH_MAX]; /* what made libjpeg give up */
    char warning[JMSG_LENGTH_MAX]; /* its first complaint */
    bool out_of_memory, too_many_scans;
    const kh_encoded *in;
    kh_image *image;
    uint8_t *cmyk; /* [4 * width], one row */
    kh_status status;
    kh_error *err;
} reader;

/* ---- what libjpeg calls ---------------------------------------------------------------------- */

static void on_error(j_common_ptr common) {
    reader *r = common->client_data;
    r->out_of_memory = common->err->msg_code == JERR_OUT_OF_MEMORY;
    common->err->format_message(common, r->message);
    longjmp(r->escape, 1);
}

static void on_message(j_common_ptr common, int level) {
    reader *r = common->client_data;
    if (level >= 0) return; /* traces */
    if (common->err->num_warnings++ == 0) common->err->format_message(common, r->warning);
}

static void on_output(j_common_ptr common) {
    (void)common; /* the library does not print */
}

static void on_progress(j_common_ptr common) {
    reader *r = common->client_data;
    if (!common->is_decompressor || r->jpeg.input_scan_number <= MAX_SCANS) return;
    r->too_many_scans = true;
    longjmp(r->escape, 1);
}

static void start_source(j_decompress_ptr jpeg) {
    (void)jpeg;
}

static boolean no_more_bytes(j_decompress_ptr jpeg) {
    (void)jpeg;
    return FALSE; /* suspends */
}

static void skip_bytes(j_decompress_ptr jpeg, long count) {
    struct jpeg_source_mgr *source = jpeg->src;
    if (count <= 0) return;
    const size_t step =
        (size_t)count < source->bytes_in_buffer ? (size_t)count : source->bytes_in_buffer;
    source->next_input_byte += step;
    source->bytes_in_buffer -= step; /* past the end: the next request suspends */
}

static void end_source(j_decompress_ptr jpeg) {
    (void)jpeg;
}

/* ---- reading --------------------------------------------------------------------------------- */

static kh_status truncated(reader *r) {
    const kh_image *image = r->image;
    if (!image->rgb)
        return kh_fail(r->err, KH_E_FORMAT, "JPEG is truncated: %zu bytes end before the picture",
                       r->in->count);
    return kh_fail(r->err, KH_E_FORMAT,
                   "JPEG is truncated: %zu bytes hold %u of %zu rows and no end marker",
                   r->in->count, (unsigned)r->jpeg.output_scanline, image->height);
}

static uint8_t multiply_255(unsigned a, unsigned b) {
    const unsigned t = a * b + 128; /* a * b / 255, rounded */
    return (uint8_t)(((t >> 8) + t) >> 8);
}

/* Pillow: stored samples are inverted (Adobe's habit), then R = (255 - K) - (255 - K) * C / 255. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, size_t width) {
    for (size_t x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        const unsigned white = cmyk[3]; /* 255 - K, and K = 255 - stored */
        for (size_t c = 0; c < 3; c++) {
            const unsigned ink = multiply_255(255u - cmyk[c], white);
            rgb[c] = (uint8_t)(white > ink ? white - ink : 0);
        }
    }
}

static bool read_rows(reader *r) {
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    const kh_image *image = r->image;
    const size_t stride = 3 * image->width;
    while (jpeg->output_scanline < jpeg->output_height) {
        const size_t y = jpeg->output_scanline;
        JSAMPROW rows[ROWS_AT_ONCE];
        if (r->cmyk) {
            rows[0] = r->cmyk;
            if (jpeg_read_scanlines(jpeg, rows, 1) == 0) return false;
            cmyk_to_rgb(r->cmyk, image->rgb + y * stride, image->width);
            continue;
        }
        const size_t left = image->height - y;
        const size_t count = left < ROWS_AT_ONCE ? left : ROWS_AT_ONCE;
        for (size_t i = 0; i < count; i++)
            rows[i] = image->rgb + (y + i) * stride;
        if (jpeg_read_scanlines(jpeg, rows, (JDIMENSION)count) == 0) return false;
    }
    return true;
}

/* Runs inside setjmp: libjpeg may leave it at any call. */
static kh_status read_image(reader *r) {
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    int header;
    do
        header = jpeg_read_header(jpeg, FALSE);
    while (header == JPEG_HEADER_TABLES_ONLY);
    if (header != JPEG_HEADER_OK) return truncated(r);
    const int components = jpeg->num_components;
    if (jpeg->data_precision != 8)
        return kh_fail(r->err, KH_E_FORMAT, "JPEG has %d bits per sample; only 8 are read",
                       jpeg->data_precision);
    if (components != 1 && components != 3 && components != 4)
        return kh_fail(r->err, KH_E_FORMAT, "JPEG has %d components; 1, 3 or 4 are read",
                       components);
    KH_TRY(kh_image_create(jpeg->image_width, jpeg->image_height, r->in->limits, r->image, r->err));
    jpeg->out_color_space = components == 4 ? JCS_CMYK : JCS_RGB; /* grey is replicated */
    if (components == 4) {
        r->cmyk = kh_calloc(jpeg->image_width, 4);
        if (!r->cmyk)
            return kh_fail(r->err, KH_E_MEMORY, "no memory for a row of %u CMYK pixels",
                           (unsigned)jpeg->image_width);
    }
    if (!jpeg_start_decompress(jpeg) || !read_rows(r)) return truncated(r);
    (void)jpeg_finish_decompress(jpeg); /* what follows the last row does not matter */
    return KH_OK;
}

/* EXIF orientation from the APP1 segment, 0 when there is none. */
static unsigned find_orientation(const uint8_t *bytes, size_t count) {
    size_t at = 2;
    while (count - at >= 4 && bytes[at] == 0xFF) {
        const unsigned marker = bytes[at + 1];
        if (marker == 0xFF) { /* fill byte */
            at++;
            continue;
        }
        if (marker == 0xDA || marker == 0xD9) return 0;
        const size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (length < 2 || length > count - at - 2) return 0;
        if (marker == 0xE1 && length >= 8 && memcmp(bytes + at + 4, "Exif\0\0", 6) == 0)
            return kh_exif_orientation(bytes + at + 4, length - 2);
        at += 2 + length;
    }
    return 0;
}

static void warn_damaged(const reader *r) {
    char text[JMSG_LENGTH_MAX + 64];
    (void)snprintf(text, sizeof text, "JPEG data is damaged and was decoded as far as it goes: %s",
                   r->warning);
    kh_image_warn(r->in, text);
}

kh_status kh_jpeg_decode(const kh_encoded *in, kh_image *out, unsigned *orientation,
                         kh_error *err) {
    reader *r = kh_calloc(1, sizeof *r);
    if (!r) return kh_fail(err, KH_E_MEMORY, "no memory for a JPEG decoder");
    r->in = in;
    r->image = out;
    r->err = err;
    r->jpeg.err = jpeg_std_error(&r->errors);
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    r->errors.output_message = on_output;
    r->jpeg.client_data = r;
    if (setjmp(r->escape) == 0) {
        jpeg_create_decompress(&r->jpeg);
        r->source = (struct jpeg_source_mgr){in->bytes,     in->count,  start_source,
                                             no_more_bytes, skip_bytes, jpeg_resync_to_restart,
                                             end_source};
        r->jpeg.src = &r->source;
        r->progress.progress_monitor = on_progress;
        r->jpeg.progress = &r->progress;
        r->status = read_image(r);
    } else if (r->too_many_scans) {
        r->status = kh_fail(err, KH_E_LIMIT, "JPEG has more than %d scans", MAX_SCANS);
    } else if (r->out_of_memory) {
        r->status = kh_fail(err, KH_E_MEMORY, "no memory to decode a JPEG");
    } else {
        r->status = kh_fail(err, KH_E_FORMAT, "JPEG cannot be decoded: %s", r->message);
    }
    jpeg_destroy_decompress(&r->jpeg);
    const kh_status status = r->status;
    if (!status && r->warning[0]) warn_damaged(r);
    if (!status && in->options->exif_rotate) {
        const unsigned found = find_orientation(in->bytes, in->count);
        if (found) *orientation = found;
    }
    if (status) kh_image_clear(out);
    kh_free(r->cmyk);
    kh_free(r);
    return status;
}
