/* Decoding equals Pillow's open(...).convert("RGB"); damaged files are refused with a reason. */
#include "io/golden.h"

#include "base/alloc.h"

/* Warnings heard by the last decode. */
typedef struct heard {
    int count;
    char last[300];
} heard;

static void listen(void *user, const char *text) {
    heard *h = user;
    h->count++;
    (void)snprintf(h->last, sizeof h->last, "%s", text);
}

static uint8_t *sample(const char *name, size_t *count) {
    char path[300];
    (void)snprintf(path, sizeof path, "golden/images/%s", name);
    return golden_file(path, count);
}

static void every_recorded_file(void **state) {
    (void)state;
    json_t *root = golden_load("images.json");
    json_t *images = json_object_get(root, "images");
    assert_true(json_object_size(images) >= 60);
    const char *name;
    json_t *entry;
    size_t wrong = 0;
    json_object_foreach(images, name, entry) {
        char path[1024];
        (void)snprintf(path, sizeof path, "%s/golden/images/%s", KH_TEST_DATA, name);
        kh_image image;
        kh_error err;
        kh_assert_ok(kh_image_read(path, NULL, NULL, &image, &err));
        assert_int_equal(image.width, golden_size(entry, "width"));
        assert_int_equal(image.height, golden_size(entry, "height"));
        if (!golden_same(&image, golden_text(entry, "rgb"))) {
            print_error("%s (%s) differs\n", name, golden_text(entry, "what"));
            wrong++;
        }
        kh_image_clear(&image);
    }
    json_decref(root);
    assert_int_equal(wrong, 0);
}

static void gray16_saturates_with_a_warning_or_scales(void **state) {
    (void)state;
    size_t count;
    uint8_t *bytes = sample("gray16.png", &count);
    heard h = {0};
    kh_decode_options options = {.warn = listen, .warn_user = &h};
    kh_image saturated, scaled;
    kh_error err;
    kh_assert_ok(kh_image_decode(bytes, count, &options, NULL, &saturated, &err));
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.last, "16-bit grey"));
    options.gray16_scale = true;
    kh_assert_ok(kh_image_decode(bytes, count, &options, NULL, &scaled, &err));
    assert_int_equal(h.count, 1);
    size_t differing = 0;
    for (size_t i = 0; i < 3 * scaled.width * scaled.height; i++) {
        if (scaled.rgb[i]) assert_int_equal(saturated.rgb[i], 255); /* high byte set */
        differing += scaled.rgb[i] != saturated.rgb[i];
    }
    assert_true(differing > 100);
    kh_image_clear(&saturated);
    kh_image_clear(&scaled);
    free(bytes);
}

/* A JPEG of one colour whose EXIF block carries the given orientation cannot show a turn; a 3x2
 * picture can: pixel i has the value i. Where the eight orientations put the pixels is written out
 * by hand from EXIF 2.3, table 6. */
static const uint8_t upright[9][6] = {{0, 1, 2, 3, 4, 5}, {0, 1, 2, 3, 4, 5}, {2, 1, 0, 5, 4, 3},
                                      {5, 4, 3, 2, 1, 0}, {3, 4, 5, 0, 1, 2}, {0, 3, 1, 4, 2, 5},
                                      {3, 0, 4, 1, 5, 2}, {5, 2, 4, 1, 3, 0}, {2, 5, 1, 4, 0, 3}};

static uint32_t crc32_plain(const uint8_t *bytes, size_t count) {
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? 0xEDB88320u ^ crc >> 1 : crc >> 1;
    }
    return crc ^ 0xFFFFFFFFu;
}

typedef struct bytes {
    uint8_t at[4096];
    size_t count;
} bytes;

static void put32(bytes *b, uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8)
        b->at[b->count++] = (uint8_t)(v >> shift);
}

static void put(bytes *b, const void *data, size_t count) {
    memcpy(b->at + b->count, data, count);
    b->count += count;
}

static void put_chunk(bytes *b, const char *type, const void *data, size_t count) {
    put32(b, (uint32_t)count);
    const size_t start = b->count;
    put(b, type, 4);
    put(b, data, count);
    put32(b, crc32_plain(b->at + start, count + 4));
}

/* zlib's stored block around the rows of a PNG */
static void put_stored(bytes *b, const uint8_t *rows, size_t count, bool good_sum) {
    bytes z = {.count = 0};
    uint32_t s1 = 1, s2 = 0;
    for (size_t i = 0; i < count; i++) {
        s1 = (s1 + rows[i]) % 65521;
        s2 = (s2 + s1) % 65521;
    }
    const uint8_t head[] = {0x78,
                            0x01,
                            0x01,
                            (uint8_t)count,
                            (uint8_t)(count >> 8),
                            (uint8_t)~count,
                            (uint8_t)(~count >> 8)};
    put(&z, head, sizeof head);
    put(&z, rows, count);
    put32(&z, (s2 << 16 | s1) ^ (good_sum ? 0 : 1));
    put_chunk(b, "IDAT", z.at, z.count);
}

static const uint8_t png_signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

static void put_header(bytes *b, uint32_t width, uint32_t height, uint8_t depth, uint8_t colour) {
    bytes h = {.count = 0};
    put(b, png_signature, 8);
    put32(&h, width);
    put32(&h, height);
    const uint8_t rest[] = {depth, colour, 0, 0, 0};
    put(&h, rest, 5);
    put_chunk(b, "IHDR", h.at, h.count);
}

static size_t exif_block(uint8_t *out, unsigned orientation, bool big_endian) {
    const uint8_t little[] = {'I',
                              'I',
                              42,
                              0,
                              8,
                              0,
                              0,
                              0,
                              2,
                              0,
                              0x0F,
                              0x01,
                              2,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0x12,
                              0x01,
                              3,
                              0,
                              1,
                              0,
                              0,
                              0,
                              (uint8_t)orientation,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0,
                              0};
    const uint8_t big[] = {
        'M', 'M', 0, 42, 0, 0, 0,    8,    0, 2, 0x01, 0x0F, 0, 2, 0, 0,
        0,   0,   0, 0,  0, 0, 0x01, 0x12, 0, 3, 0,    0,    0, 1, 0, (uint8_t)orientation,
        0,   0,   0, 0,  0, 0};
    memcpy(out, big_endian ? big : little, sizeof little);
    return sizeof little;
}

static bytes oriented_png(unsigned orientation, bool behind) {
    static const uint8_t rows[] = {0, 0, 1, 2, 0, 3, 4, 5};
    bytes b = {.count = 0};
    uint8_t exif[64];
    const size_t exif_bytes = exif_block(exif, orientation, behind);
    put_header(&b, 3, 2, 8, 0);
    if (!behind) put_chunk(&b, "eXIf", exif, exif_bytes);
    put_stored(&b, rows, sizeof rows, true);
    if (behind) put_chunk(&b, "eXIf", exif, exif_bytes);
    put_chunk(&b, "IEND", "", 0);
    return b;
}

static void png_exif_orientations(void **state) {
    (void)state;
    for (unsigned orientation = 0; orientation <= 8; orientation++) {
        for (int behind = 0; behind < 2; behind++) {
            const bytes b = oriented_png(orientation, behind);
            kh_decode_options options = {.exif_rotate = true};
            kh_image image;
            kh_error err;
            kh_assert_ok(kh_image_decode(b.at, b.count, &options, NULL, &image, &err));
            const bool turned = orientation >= 5;
            assert_int_equal(image.width, turned ? 2 : 3);
            assert_int_equal(image.height, turned ? 3 : 2);
            for (size_t i = 0; i < 6; i++)
                assert_int_equal(image.rgb[3 * i], upright[orientation][i]);
            kh_image_clear(&image);
            options.exif_rotate = false; /* the default */
            kh_assert_ok(kh_image_decode(b.at, b.count, &options, NULL, &image, &err));
            assert_int_equal(image.width, 3);
            for (size_t i = 0; i < 6; i++)
                assert_int_equal(image.rgb[3 * i], i);
            kh_image_clear(&image);
        }
    }
}

/* These three carry orientation 6: a quarter turn clockwise of what is stored. */
static void exif_is_found_in_every_format(void **state) {
    (void)state;
    static const char *const names[] = {"exif_rotated.jpg", "exif.png", "exif.webp"};
    for (size_t i = 0; i < 3; i++) {
        size_t count;
        uint8_t *file = sample(names[i], &count);
        kh_image flat, turned;
        kh_error err;
        kh_assert_ok(kh_image_decode(file, count, NULL, NULL, &flat, &err));
        kh_assert_ok(kh_image_decode(file, count, &(kh_decode_options){.exif_rotate = true}, NULL,
                                     &turned, &err));
        assert_int_equal(turned.width, flat.height);
        assert_int_equal(turned.height, flat.width);
        for (size_t y = 0; y < flat.height; y++)
            for (size_t x = 0; x < flat.width; x++)
                assert_memory_equal(turned.rgb + 3 * (x * turned.width + flat.height - 1 - y),
                                    flat.rgb + 3 * (y * flat.width + x), 3);
        kh_image_clear(&flat);
        kh_image_clear(&turned);
        free(file);
    }
}

/* Pillow reads these: the checksum of image data and whatever follows the last row do not count. */
static void harmless_png_damage_is_read(void **state) {
    (void)state;
    size_t count;
    uint8_t *file = sample("rgb8.png", &count);
    kh_image whole, image;
    heard h = {0};
    const kh_decode_options options = {.warn = listen, .warn_user = &h};
    kh_error err;
    kh_assert_ok(kh_image_decode(file, count, &options, NULL, &whole, &err));
    assert_int_equal(h.count, 0);
    for (size_t cut = 1; cut <= 20; cut++) { /* IEND, the checksum, the sum of the data */
        kh_assert_ok(kh_image_decode(file, count - cut, NULL, NULL, &image, &err));
        assert_memory_equal(image.rgb, whole.rgb, 3 * whole.width * whole.height);
        kh_image_clear(&image);
    }
    file[count - 13] ^= 1; /* last byte of the last IDAT's checksum */
    kh_assert_ok(kh_image_decode(file, count, &options, NULL, &image, &err));
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.last, "wrong checksum"));
    assert_memory_equal(image.rgb, whole.rgb, 3 * whole.width * whole.height);
    kh_image_clear(&image);
    kh_image_clear(&whole);
    free(file);
}

static void damaged_png_is_refused(void **state) {
    (void)state;
    size_t count;
    uint8_t *file = sample("rgb8.png", &count);
    kh_image image;
    kh_error err;
    kh_assert_fails(kh_image_decode(file, count / 2, NULL, NULL, &image, &err), KH_E_FORMAT,
                    "PNG is truncated");
    assert_null(image.rgb);
    kh_assert_fails(kh_image_decode(file, 20, NULL, NULL, &image, &err), KH_E_FORMAT,
                    "end before the picture");
    file[29] ^= 1; /* checksum of IHDR */
    kh_assert_fails(kh_image_decode(file, count, NULL, NULL, &image, &err), KH_E_FORMAT,
                    "wrong checksum in the header chunk at byte 8");
    file[29] ^= 1;
    file[count - 17] ^= 1; /* last byte of the sum over the data */
    kh_assert_fails(kh_image_decode(file, count, NULL, NULL, &image, &err), KH_E_FORMAT,
                    "sum over its data is wrong");
    file[count - 17] ^= 1;
    file[count - 200] ^= 1; /* in the data */
    kh_assert_fails(kh_image_decode(file, count, NULL, NULL, &image, &err), KH_E_FORMAT, "PNG");
    free(file);

    static const uint8_t rows[] = {0, 0, 1, 2, 0, 3, 4, 5};
    bytes b = {.count = 0};
    put_header(&b, 3, 3, 8, 0); /* one row more than there is */
    put_stored(&b, rows, sizeof rows, true);
    put_chunk(&b, "IEND", "", 0);
    kh_assert_fails(kh_image_decode(b.at, b.count, NULL, NULL, &image, &err), KH_E_FORMAT,
                    "Not enough image data");
    b.count = 0;
    put_header(&b, 3, 2, 8, 3); /* no palette */
    put_stored(&b, rows, sizeof rows, true);
    kh_assert_fails(kh_image_decode(b.at, b.count, NULL, NULL, &image, &err), KH_E_FORMAT, "PLTE");
    b.count = 0;
    put_header(&b, 3, 2, 8, 0);
    put_chunk(&b, "IEND", "", 0);
    kh_assert_fails(kh_image_decode(b.at, b.count, NULL, NULL, &image, &err), KH_E_FORMAT,
                    "holds no image data");
}

/* An index beyond the palette is black, as in Pillow. */
static void palette_index_beyond_the_palette(void **state) {
    (void)state;
    static const uint8_t rows[] = {0, 0, 1, 0, 5, 200}, colours[] = {9, 8, 7, 6, 5, 4};
    static const uint8_t want[] = {9, 8, 7, 6, 5, 4, 0, 0, 0, 0, 0, 0};
    bytes b = {.count = 0};
    put_header(&b, 2, 2, 8, 3);
    put_chunk(&b, "PLTE", colours, sizeof colours);
    put_stored(&b, rows, sizeof rows, true);
    put_chunk(&b, "IEND", "", 0);
    kh_image image;
    kh_error err;
    kh_assert_ok(kh_image_decode(b.at, b.count, NULL, NULL, &image, &err));
    assert_memory_equal(image.rgb, want, sizeof want);
    kh_image_clear(&image);
}

/* Which lengths Pillow 13 refuses: all that end before the end marker, except that the marker alone
 * may be missing where nothing is upsampled over rows and so nothing waits for it. */
static void truncated_jpeg_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *name;
        size_t harmless; /* bytes that may be missing */
    } files[] = {{"rgb_420.jpg", 0}, {"progressive.jpg", 0}, {"restart.jpg", 0},
                 {"gray.jpg", 0},    {"cmyk.jpg", 2},        {"ycck.jpg", 2}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t count;
        uint8_t *file = sample(files[i].name, &count);
        for (size_t cut = 1; cut <= files[i].harmless; cut++) {
            kh_image image;
            kh_error err;
            kh_assert_ok(kh_image_decode(file, count - cut, NULL, NULL, &image, &err));
            kh_image_clear(&image);
        }
        for (size_t cut = files[i].harmless + 1; cut < count - 3; cut++) {
            kh_image image;
            kh_error err;
            uint8_t *exact = malloc(count - cut); /* so that a sanitizer sees every overread */
            assert_non_null(exact);
            memcpy(exact, file, count - cut);
            kh_assert_fails(kh_image_decode(exact, count - cut, NULL, NULL, &image, &err),
                            KH_E_FORMAT, "JPEG is truncated");
            assert_null(image.rgb);
            free(exact);
        }
        free(file);
    }
}

static void damaged_jpeg_data_is_read_with_a_warning(void **state) {
    (void)state;
    size_t count;
    uint8_t *file = sample("restart.jpg", &count);
    size_t at = count - 3; /* find a restart marker and rename it */
    while (!(file[at] == 0xFF && file[at + 1] >= 0xD0 && file[at + 1] <= 0xD7))
        at--;
    file[at + 1] = file[at + 1] == 0xD3 ? 0xD5 : 0xD3;
    heard h = {0};
    const kh_decode_options options = {.warn = listen, .warn_user = &h};
    kh_image image;
    kh_error err;
    kh_assert_ok(kh_image_decode(file, count, &options, NULL, &image, &err));
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.last, "JPEG data is damaged"));
    kh_image_clear(&image);
    free(file);
}

static void unreadable_jpegs_say_why(void **state) {
    (void)state;
    size_t count;
    uint8_t *file = sample("rgb_444.jpg", &count);
    size_t at = 2; /* the frame header */
    while (file[at + 1] != 0xC0)
        at += 2 + ((size_t)file[at + 2] << 8 | file[at + 3]);
    kh_image image;
    kh_error err;
    file[at + 4] = 12;
    kh_assert_fails(kh_image_decode(file, count, NULL, NULL, &image, &err), KH_E_FORMAT, "12");
    file[at + 4] = 8;
    file[at + 7] = file[at + 8] = 0;
    kh_assert_fails(kh_image_decode(file, count, NULL, NULL, &image, &err), KH_E_FORMAT, "JPEG");
    free(file);
}

/* A small progressive file whose last scan comes again and again costs a pass each time. */
static void endless_scans_are_refused(void **state) {
    (void)state;
    size_t count;
    uint8_t *file = sample("gray_progressive.jpg", &count);
    size_t scan = count - 2;
    while (!(file[scan] == 0xFF && file[scan + 1] == 0xDA))
        scan--;
    const size_t length = count - 2 - scan;
    for (size_t times = 10; times <= 600; times += 590) {
        uint8_t *many = malloc(scan + times * length + 2);
        assert_non_null(many);
        memcpy(many, file, scan);
        for (size_t i = 0; i < times; i++)
            memcpy(many + scan + i * length, file + scan, length);
        memcpy(many + scan + times * length, "\xFF\xD9", 2);
        kh_image image;
        kh_error err;
        const kh_status status =
            kh_image_decode(many, scan + times * length + 2, NULL, NULL, &image, &err);
        if (times == 10)
            kh_assert_ok(status);
        else
            kh_assert_fails(status, KH_E_LIMIT, "more than 500 scans");
        kh_image_clear(&image);
        free(many);
    }
    free(file);
}

static void truncated_webp_is_refused(void **state) {
    (void)state;
    static const char *const names[] = {"lossy.webp", "lossless.webp", "animated.webp",
                                        "lossy_alpha.webp"};
    for (size_t i = 0; i < 4; i++) {
        size_t count;
        uint8_t *file = sample(names[i], &count);
        kh_image image;
        kh_error err;
        for (size_t keep = 12; keep < count; keep++) {
            uint8_t *exact = malloc(keep);
            assert_non_null(exact);
            memcpy(exact, file, keep);
            kh_assert_fails(kh_image_decode(exact, keep, NULL, NULL, &image, &err), KH_E_FORMAT,
                            "WebP is truncated");
            free(exact);
        }
        free(file);
    }
}

static void size_limits_come_before_memory(void **state) {
    (void)state;
    static const char *const names[] = {"rgb_420.jpg", "rgb8.png", "lossy.webp", "palette4.png"};
    kh_image image;
    kh_error err;
    kh_limits limits = kh_limits_default();
    limits.max_image_pixels = 100;
    for (size_t i = 0; i < 4; i++) {
        size_t count;
        uint8_t *file = sample(names[i], &count);
        kh_assert_fails(kh_image_decode(file, count, NULL, &limits, &image, &err), KH_E_LIMIT,
                        "more than the limit of 100 pixels");
        free(file);
    }
    bytes b = {.count = 0};
    put_header(&b, 0x7FFFFFFF, 0x7FFFFFFF, 8, 2);
    put_stored(&b, (const uint8_t *)"", 0, true);
    kh_assert_fails(kh_image_decode(b.at, b.count, NULL, NULL, &image, &err), KH_E_LIMIT,
                    "2147483647x2147483647");
    b.count = 0;
    put_header(&b, 13378, 13378, 8, 2); /* 178 970 884 pixels, just above Pillow's limit */
    put_stored(&b, (const uint8_t *)"", 0, true);
    kh_assert_fails(kh_image_decode(b.at, b.count, NULL, NULL, &image, &err), KH_E_LIMIT,
                    "178956970");
    limits.max_image_bytes = 50;
    kh_assert_fails(kh_image_decode(b.at, b.count, NULL, &limits, &image, &err), KH_E_LIMIT,
                    "limit of 50");
}

static void strangers_are_named(void **state) {
    (void)state;
    kh_image image;
    kh_error err;
#define DECODE(text)                                                                               \
    kh_image_decode((const uint8_t *)(text), sizeof(text) - 1, NULL, NULL, &image, &err)
    kh_assert_fails(DECODE("hello, I am a text file"), KH_E_FORMAT,
                    "not a JPEG, PNG or WebP image (first bytes: 68 65 6c 6c 6f");
    kh_assert_fails(DECODE(""), KH_E_FORMAT, "empty");
    kh_assert_fails(DECODE("\xFF"), KH_E_FORMAT, "first bytes: ff");
    kh_assert_fails(DECODE("\xFF\xD8\xFF"), KH_E_FORMAT, "JPEG is truncated");
    kh_assert_fails(DECODE("\x89PNG\r\n\x1a\n"), KH_E_FORMAT, "PNG is truncated");
    kh_assert_fails(DECODE("RIFF\x04\0\0\0WEBP"), KH_E_FORMAT, "WebP is truncated");
    kh_assert_fails(DECODE("GIF89a...."), KH_E_UNSUPPORTED,
                    "format GIF is not read; convert to PNG");
    kh_assert_fails(DECODE("BM\x10\0\0\0\0\0\0\0...."), KH_E_UNSUPPORTED, "format BMP is not read");
    kh_assert_fails(DECODE("II*\0........"), KH_E_UNSUPPORTED, "format TIFF is not read");
    kh_assert_fails(DECODE("MM\0*........"), KH_E_UNSUPPORTED, "format TIFF is not read");
    kh_assert_fails(DECODE("\0\0\0\x20"
                           "ftypavif"),
                    KH_E_UNSUPPORTED, "AVIF");
    kh_assert_fails(DECODE("P6 3 2 255 "), KH_E_UNSUPPORTED, "PNM");
#undef DECODE
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/picture.jpg", kh_test_folder("image"));
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    (void)fputs("a text file\n", file);
    (void)fclose(file);
    kh_assert_fails(kh_image_read(path, NULL, NULL, &image, &err), KH_E_FORMAT, "picture.jpg: not");
    kh_assert_fails(kh_image_read("/nowhere.png", NULL, NULL, &image, &err), KH_E_NOT_FOUND,
                    "nowhere.png");
}

/* Whatever runs out, nothing leaks (the sanitizers look) and the answer is KH_E_MEMORY. */
static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    static const char *const names[] = {"ycck.jpg",      "exif_rotated.jpg", "rgb8_interlaced.png",
                                        "palette4.png",  "exif.png",         "gray16.png",
                                        "animated.webp", "exif.webp"};
    const kh_decode_options options = {.exif_rotate = true};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t count;
        uint8_t *file = sample(names[i], &count);
        for (size_t n = 1;; n++) {
            assert_true(n < 1000);
            kh_image image;
            kh_error err;
            kh_alloc_fail_after(n);
            const kh_status status = kh_image_decode(file, count, &options, NULL, &image, &err);
            const bool reached = kh_alloc_count() >= n;
            kh_alloc_fail_after(0);
            if (status) {
                kh_assert_fails(status, KH_E_MEMORY, "no memory");
                assert_null(image.rgb);
            }
            kh_image_clear(&image);
            if (!reached) {
                assert_int_equal(status, KH_OK);
                break;
            }
        }
        free(file);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_file),
        cmocka_unit_test(gray16_saturates_with_a_warning_or_scales),
        cmocka_unit_test(png_exif_orientations),
        cmocka_unit_test(exif_is_found_in_every_format),
        cmocka_unit_test(harmless_png_damage_is_read),
        cmocka_unit_test(damaged_png_is_refused),
        cmocka_unit_test(palette_index_beyond_the_palette),
        cmocka_unit_test(truncated_jpeg_is_refused),
        cmocka_unit_test(damaged_jpeg_data_is_read_with_a_warning),
        cmocka_unit_test(unreadable_jpegs_say_why),
        cmocka_unit_test(endless_scans_are_refused),
        cmocka_unit_test(truncated_webp_is_refused),
        cmocka_unit_test(size_limits_come_before_memory),
        cmocka_unit_test(strangers_are_named),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
