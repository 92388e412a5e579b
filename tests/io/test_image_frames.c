/* Animated PNG and transparency, read back chunk by chunk. */
#include "support/kh_test.h"

#include <png.h>

#include "keyhole/io.h"

static const char *path_of(const char *name) {
    static char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", kh_test_folder("frames"), name);
    return path;
}

static void animations_hold_their_frames(void **state) {
    (void)state;
    kh_error err = {0};
    uint8_t rgb[3][3 * 5 * 4];
    kh_image frames[3];
    for (size_t i = 0; i < 3; i++) {
        memset(rgb[i], (int)(40 * i + 10), sizeof rgb[i]);
        frames[i] = (kh_image){5, 4, rgb[i]};
    }
    const char *path = path_of("a.png");
    kh_assert_ok(kh_image_write_frames(path, frames, 3, 600, &err));
    kh_image first;
    kh_assert_ok(kh_image_read(path, NULL, NULL, &first, &err)); /* checks every CRC of it */
    assert_memory_equal(first.rgb, rgb[0], sizeof rgb[0]);
    kh_image_clear(&first);
    FILE *file = fopen(path, "rb");
    unsigned char bytes[4096];
    const size_t count = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    char order[200] = "";
    size_t used = 0;
    unsigned next = 0;
    for (size_t at = 8; at + 12 <= count;) {
        const size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        const unsigned char *type = bytes + at + 4, *data = bytes + at + 8;
        assert_true(used + 6 <= sizeof order);
        memcpy(order + used, type, 4);
        memcpy(order + used + 4, " ", 2);
        used += 5;
        if (memcmp(type, "acTL", 4) == 0) assert_int_equal(data[3], 3);
        if (memcmp(type, "fcTL", 4) == 0) {
            assert_int_equal(data[20] << 8 | data[21], 600);
            assert_int_equal(data[22] << 8 | data[23], 1000);
        }
        if (memcmp(type, "fcTL", 4) == 0 || memcmp(type, "fdAT", 4) == 0)
            assert_int_equal(data[3], next++); /* one sequence over both */
        at += length + 12;
    }
    assert_string_equal(order, "IHDR acTL sRGB fcTL IDAT fcTL fdAT fcTL fdAT IEND ");
    frames[1].width = 4;
    kh_assert_fails(kh_image_write_frames(path, frames, 3, 600, &err), KH_E_ARG, "frame 1");
    kh_assert_fails(kh_image_write_frames(path, frames, 0, 600, &err), KH_E_ARG, "0 frames");
}

static void transparency_comes_back(void **state) {
    (void)state;
    kh_error err = {0};
    uint8_t rgb[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    const uint8_t alpha[4] = {0, 80, 160, 255};
    const kh_image image = {2, 2, rgb};
    const char *path = path_of("t.png");
    kh_assert_ok(kh_image_write_alpha(path, &image, alpha, &err));
    png_image png;
    memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    assert_true(png_image_begin_read_from_file(&png, path));
    assert_int_equal(png.format & PNG_FORMAT_FLAG_ALPHA, PNG_FORMAT_FLAG_ALPHA);
    png.format = PNG_FORMAT_RGBA;
    uint8_t got[16];
    assert_true(png_image_finish_read(&png, NULL, got, 0, NULL));
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(got[4 * i + 3], alpha[i]);
        assert_memory_equal(got + 4 * i, rgb + 3 * i, 3);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(animations_hold_their_frames),
        cmocka_unit_test(transparency_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
