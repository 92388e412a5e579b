#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "keyhole/io.h"

#include <unistd.h>

static void what_was_written_reads_back_the_same(void **state) {
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {37, 29}, {224, 3}};
    const char *folder = kh_test_folder("image-write");
    char path[512];
    (void)snprintf(path, sizeof path, "%s/picture.png", folder);
    for (size_t s = 0; s < 3; s++) {
        kh_error err = {0};
        kh_image image = {.width = sizes[s][0], .height = sizes[s][1]};
        const size_t bytes = image.width * image.height * 3;
        image.rgb = kh_calloc(bytes, 1);
        kh_rng rng = kh_rng_make(s, 0);
        for (size_t i = 0; i < bytes; i++)
            image.rgb[i] = (uint8_t)kh_rng_below(&rng, 256);
        kh_assert_ok(kh_image_write(path, &image, &err));
        kh_image back;
        kh_assert_ok(kh_image_read(path, NULL, NULL, &back, &err));
        assert_int_equal(back.width, image.width);
        assert_int_equal(back.height, image.height);
        assert_memory_equal(back.rgb, image.rgb, bytes);
        kh_image_clear(&back);
        kh_image_clear(&image);
    }
}

static void a_full_disk_and_an_empty_image_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    uint8_t pixel[3] = {1, 2, 3};
    const kh_image image = {.width = 1, .height = 1, .rgb = pixel};
    const kh_image empty = {0};
    kh_assert_fails(kh_image_write("/dev/full", &image, &err), KH_E_IO, "No space left");
    kh_assert_fails(kh_image_write("no/such/folder/x.png", &image, &err), KH_E_NOT_FOUND,
                    "no/such/folder");
    kh_assert_fails(kh_image_write("x.png", &empty, &err), KH_E_ARG, "0x0");
    kh_alloc_fail_after(1);
    kh_assert_fails(kh_image_write("x.png", &image, &err), KH_E_MEMORY, "no memory");
    kh_alloc_fail_after(0);
    assert_int_equal(access("x.png", F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_reads_back_the_same),
        cmocka_unit_test(a_full_disk_and_an_empty_image_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
