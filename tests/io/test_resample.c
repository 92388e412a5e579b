/* Resizing equals Pillow byte for byte; the fast kernels equal the plain ones. */
#include "io/golden.h"

#include "io/resample.h"

/* models.md's own sums, from another Pillow release than the recorded file */
static void sums_of_the_specification(void **state) {
    (void)state;
    static const struct {
        size_t width, height;
        kh_filter filter;
        uint32_t fnv;
    } cases[] = {{24, 24, KH_FILTER_BICUBIC, 0xA2667795},
                 {24, 24, KH_FILTER_BILINEAR, 0x02C46F3C},
                 {24, 24, KH_FILTER_LANCZOS, 0xCF346746},
                 {60, 47, KH_FILTER_BICUBIC, 0xB03C2FE1},
                 {37, 12, KH_FILTER_BICUBIC, 0x3A214F7B}};
    kh_image photo = golden_photo(37, 29);
    assert_int_equal(golden_fnv(photo.rgb, 3 * 37 * 29), 0x228D9F55);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kh_image out;
        kh_error err;
        kh_assert_ok(
            kh_image_resize(&photo, cases[i].width, cases[i].height, cases[i].filter, &out, &err));
        assert_int_equal(golden_fnv(out.rgb, 3 * out.width * out.height), cases[i].fnv);
        kh_image_clear(&out);
    }
    kh_image_clear(&photo);
}

static void every_recorded_size_and_filter(void **state) {
    (void)state;
    json_t *root = golden_load("resize.json");
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) >= 200);
    size_t wrong = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const json_t *to = json_object_get(c, "to");
        const size_t width = (size_t)json_integer_value(json_array_get(to, 0));
        const size_t height = (size_t)json_integer_value(json_array_get(to, 1));
        const char *filter = golden_text(c, "filter");
        kh_image photo = golden_photo(golden_size(c, "width"), golden_size(c, "height")), out;
        kh_error err;
        kh_assert_ok(kh_image_resize(&photo, width, height, golden_filter(filter), &out, &err));
        if (!golden_same(&out, golden_text(c, "rgb"))) {
            print_error("%zux%zu to %zux%zu, %s differs\n", photo.width, photo.height, width,
                        height, filter);
            wrong++;
        }
        kh_image_clear(&out);
        kh_image_clear(&photo);
    }
    json_decref(root);
    assert_int_equal(wrong, 0);
}

/* Sides around the widths of the vector loops, up, down and mixed; sentinels behind the output. */
static void fast_kernels_give_the_same_bytes(void **state) {
    (void)state;
    static const size_t sides[] = {1, 2, 3, 5, 6, 7, 16, 17, 33, 145, 197};
    const size_t n = sizeof sides / sizeof *sides;
    const kh_resample_kernels *fast = kh_resample_best();
    if (fast == &kh_resample_plain) print_message("note: only the plain kernels on this machine\n");
    for (size_t i = 0; i < n * n * n; i++) {
        const size_t w = sides[i % n], h = sides[i / n % n], to = sides[i / n / n];
        const size_t to_h = sides[(i * 7 + 3) % n], bytes = 3 * to * to_h;
        kh_image photo = golden_photo(w, h);
        uint8_t *plain = malloc(bytes + 8), *quick = malloc(bytes + 8);
        assert_non_null(plain);
        assert_non_null(quick);
        memset(plain + bytes, 0xA5, 8);
        memset(quick + bytes, 0xA5, 8);
        for (kh_filter f = KH_FILTER_BILINEAR; f <= KH_FILTER_HAMMING; f++) {
            const kh_region all = {0, 0, to, to_h};
            kh_error err;
            kh_assert_ok(
                kh_resample(&kh_resample_plain, &photo, to, to_h, f, all, plain, 3 * to, &err));
            kh_assert_ok(kh_resample(fast, &photo, to, to_h, f, all, quick, 3 * to, &err));
            assert_memory_equal(plain, quick, bytes + 8);
        }
        free(plain);
        free(quick);
        kh_image_clear(&photo);
    }
}

/* Also for very tall images, where the vertical pass comes first. */
static void a_part_has_the_bytes_of_the_whole(void **state) {
    (void)state;
    static const size_t sizes[][4] = {{37, 29, 60, 47},  {61, 90, 24, 20}, {9, 1000, 30, 200},
                                      {9, 1000, 9, 200}, {40, 31, 40, 17}, {40, 31, 20, 31},
                                      {20, 20, 20, 20}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t w = sizes[i][2], h = sizes[i][3];
        kh_image photo = golden_photo(sizes[i][0], sizes[i][1]), whole;
        kh_error err;
        kh_assert_ok(kh_image_resize(&photo, w, h, KH_FILTER_BICUBIC, &whole, &err));
        const kh_region part = {w / 3, h / 4, w / 2, h / 2};
        const size_t stride = 3 * part.width + 5;
        uint8_t *got = malloc(stride * part.height);
        assert_non_null(got);
        memset(got, 0xA5, stride * part.height);
        kh_assert_ok(kh_resample(kh_resample_best(), &photo, w, h, KH_FILTER_BICUBIC, part, got,
                                 stride, &err));
        for (size_t y = 0; y < part.height; y++) {
            assert_memory_equal(got + y * stride, whole.rgb + 3 * ((part.top + y) * w + part.left),
                                3 * part.width);
            for (size_t k = 3 * part.width; k < stride; k++)
                assert_int_equal(got[y * stride + k], 0xA5);
        }
        free(got);
        kh_image_clear(&whole);
        kh_image_clear(&photo);
    }
}

static void a_flat_image_stays_flat(void **state) {
    (void)state;
    kh_image flat = golden_photo(50, 41), out;
    memset(flat.rgb, 200, 3 * 50 * 41);
    kh_error err;
    for (kh_filter f = KH_FILTER_BILINEAR; f <= KH_FILTER_HAMMING; f++) {
        kh_assert_ok(kh_image_resize(&flat, 23, 77, f, &out, &err));
        for (size_t i = 0; i < 3 * 23 * 77; i++)
            assert_int_equal(out.rgb[i], 200);
        kh_image_clear(&out);
    }
    kh_image_clear(&flat);
}

static void impossible_sizes_are_refused(void **state) {
    (void)state;
    kh_image photo = golden_photo(4, 4), out;
    kh_error err;
    kh_assert_fails(kh_image_resize(&photo, 0, 4, KH_FILTER_BOX, &out, &err), KH_E_ARG, "4x4");
    kh_assert_fails(kh_image_resize(&photo, 4, 4, (kh_filter)9, &out, &err), KH_E_ARG, "filter");
    kh_assert_fails(kh_image_resize(&photo, SIZE_MAX / 2, 4, KH_FILTER_BOX, &out, &err), KH_E_LIMIT,
                    "too many");
    assert_null(out.rgb);
    uint8_t pixel[3];
    kh_assert_fails(kh_resample(&kh_resample_plain, &photo, (size_t)1 << 31, 1, KH_FILTER_BOX,
                                (kh_region){0, 0, 1, 1}, pixel, 3, &err),
                    KH_E_LIMIT, "a side is over");
    kh_assert_fails(kh_resample(&kh_resample_plain, &photo, 2, 2, KH_FILTER_BOX,
                                (kh_region){1, 0, 2, 1}, pixel, 3, &err),
                    KH_E_ARG, "cannot resize");
    kh_image_clear(&photo);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_the_specification),
        cmocka_unit_test(every_recorded_size_and_filter),
        cmocka_unit_test(fast_kernels_give_the_same_bytes),
        cmocka_unit_test(a_part_has_the_bytes_of_the_whole),
        cmocka_unit_test(a_flat_image_stays_flat),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
