/* The bytes and floats a model sees equal timm's and transformers'. */
#include "io/golden.h"

#include "base/alloc.h"

static void read_triple(const json_t *array, double out[3]) {
    for (size_t c = 0; c < 3; c++) {
        assert_true(json_is_number(json_array_get(array, c)));
        out[c] = json_number_value(json_array_get(array, c));
    }
}

/* input_size, interpolation, crop_pct and crop_mode of a recorded case; null means the default. */
static kh_preprocess timm_settings(const json_t *entry, const json_t *means) {
    kh_preprocess how = kh_preprocess_default();
    const json_t *size = json_object_get(entry, "input_size");
    how.height = (size_t)json_integer_value(json_array_get(size, 0));
    how.width = (size_t)json_integer_value(json_array_get(size, 1));
    how.filter = golden_filter(golden_text(entry, "interpolation"));
    const json_t *pct = json_object_get(entry, "crop_pct");
    how.crop_pct = json_is_number(pct) ? json_number_value(pct) : 0.0;
    const char *mode = json_string_value(json_object_get(entry, "crop_mode"));
    how.crop = mode ? golden_crop(mode) : KH_CROP_CENTER;
    const json_t *pair = json_object_get(means, golden_text(entry, "mean"));
    read_triple(json_array_get(pair, 0), how.mean);
    read_triple(json_array_get(pair, 1), how.std);
    return how;
}

static bool gives(const kh_preprocess *how, const kh_image *image, const char *sha) {
    kh_image out;
    kh_error err;
    kh_assert_ok(kh_preprocess_bytes(how, image, &out, &err));
    assert_int_equal(out.width, how->width);
    assert_int_equal(out.height, how->height);
    const bool same = golden_same(&out, sha);
    kh_image_clear(&out);
    return same;
}

static bool gives_floats(const kh_preprocess *how, const kh_image *image, const char *sha) {
    const size_t count = 3 * how->width * how->height;
    float *out = malloc(count * sizeof *out);
    assert_non_null(out);
    kh_error err;
    kh_assert_ok(kh_preprocess_image(how, image, out, count, &err));
    const bool same = strcmp(golden_sha(out, count * sizeof *out), sha) == 0;
    free(out);
    return same;
}

static void every_recorded_timm_geometry(void **state) {
    (void)state;
    json_t *root = golden_load("geometry.json");
    const json_t *cases = json_object_get(root, "cases");
    assert_true(json_array_size(cases) >= 250);
    size_t wrong = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const kh_preprocess how = timm_settings(c, json_object_get(root, "means"));
        kh_image photo = golden_photo(golden_size(c, "width"), golden_size(c, "height"));
        if (!gives(&how, &photo, golden_text(c, "rgb"))) {
            char *shown = json_dumps(c, JSON_COMPACT);
            print_error("differs: %s\n", shown);
            free(shown);
            wrong++;
        }
        kh_image_clear(&photo);
    }
    json_decref(root);
    assert_int_equal(wrong, 0);
}

static void sum_of_the_specification(void **state) {
    (void)state;
    kh_preprocess how = kh_preprocess_default();
    how.height = how.width = 16;
    how.crop_pct = 0.9;
    kh_image photo = golden_photo(37, 29), out;
    kh_error err;
    kh_assert_ok(kh_preprocess_bytes(&how, &photo, &out, &err));
    assert_int_equal(golden_fnv(out.rgb, 3 * 16 * 16), 0x003D5B88);
    kh_image_clear(&out);
    kh_image_clear(&photo);
}

/* Cropping alone, smaller and larger than the image. torchvision and transformers share every
 * offset but the ties, and those the recorded geometries and processors cover. */
static void every_recorded_center_crop(void **state) {
    (void)state;
    json_t *root = golden_load("geometry.json");
    const json_t *crops = json_object_get(root, "center_crops");
    size_t compared = 0;
    for (size_t i = 0; i < json_array_size(crops); i++) {
        const json_t *c = json_array_get(crops, i);
        const json_t *size = json_object_get(c, "crop");
        kh_image photo = golden_photo(golden_size(c, "width"), golden_size(c, "height"));
        kh_preprocess how = kh_preprocess_default();
        how.crop = KH_CROP_HF; /* the only mode without resizing */
        how.do_resize = false;
        how.height = how.crop_height = (size_t)json_integer_value(json_array_get(size, 0));
        how.width = how.crop_width = (size_t)json_integer_value(json_array_get(size, 1));
        const size_t dx =
            photo.width > how.width ? photo.width - how.width : how.width - photo.width;
        const size_t dy =
            photo.height > how.height ? photo.height - how.height : how.height - photo.height;
        if (dx % 2 == 0 && dy % 2 == 0) {
            assert_true(gives(&how, &photo, golden_text(c, "rgb")));
            compared++;
        }
        kh_image_clear(&photo);
    }
    json_decref(root);
    assert_true(compared >= 1);
}

static bool flag(const json_t *config, const char *key, bool otherwise) {
    const json_t *value = json_object_get(config, key);
    return value && !json_is_null(value) ? json_is_true(value) : otherwise;
}

static kh_preprocess hf_settings(const json_t *config, const json_t *shape) {
    static const kh_filter filters[] = {KH_FILTER_BOX,     KH_FILTER_LANCZOS, KH_FILTER_BILINEAR,
                                        KH_FILTER_BICUBIC, KH_FILTER_BOX,     KH_FILTER_HAMMING};
    kh_preprocess how = kh_preprocess_default();
    how.crop = KH_CROP_HF;
    how.height = (size_t)json_integer_value(json_array_get(shape, 1));
    how.width = (size_t)json_integer_value(json_array_get(shape, 2));
    how.filter = filters[golden_size(config, "resample")];
    how.do_crop = flag(config, "do_center_crop", false);
    const json_t *size = json_object_get(config, "size");
    if (json_object_get(size, "shortest_edge")) {
        how.shortest_edge = golden_size(size, "shortest_edge");
    } else {
        how.resize_height = golden_size(size, "height");
        how.resize_width = golden_size(size, "width");
    }
    if (how.do_crop) {
        how.crop_height = golden_size(json_object_get(config, "crop_size"), "height");
        how.crop_width = golden_size(json_object_get(config, "crop_size"), "width");
    }
    how.rescale_factor = json_number_value(json_object_get(config, "rescale_factor"));
    read_triple(json_object_get(config, "image_mean"), how.mean);
    read_triple(json_object_get(config, "image_std"), how.std);
    return how;
}

static void every_recorded_transformers_processor(void **state) {
    (void)state;
    json_t *root = golden_load("geometry.json");
    const json_t *cases = json_object_get(root, "transformers");
    assert_true(json_array_size(cases) >= 40);
    size_t wrong = 0;
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const kh_preprocess how =
            hf_settings(json_object_get(c, "config"), json_object_get(c, "shape"));
        kh_image photo = golden_photo(golden_size(c, "width"), golden_size(c, "height"));
        if (!gives(&how, &photo, golden_text(c, "rgb")) ||
            !gives_floats(&how, &photo, golden_text(c, "float"))) {
            char *shown = json_dumps(c, JSON_COMPACT);
            print_error("differs: %s\n", shown);
            free(shown);
            wrong++;
        }
        kh_image_clear(&photo);
    }
    json_decref(root);
    assert_int_equal(wrong, 0);
}

/* All 200 photographs, seven ways, against sums recorded from Pillow and timm: no byte differs. */
static void every_photograph(void **state) {
    (void)state;
    const char *folder = golden_photos();
    if (!folder) {
        print_message("skipped: no photographs here; name their folder in KEYHOLE_PHOTOS\n");
        skip();
    }
    json_t *root = golden_load("preprocess.json");
    json_t *settings = json_object_get(root, "settings"), *photos = json_object_get(root, "photos");
    const json_t *floats = json_object_get(settings, "float");
    const json_t *means = json_object_get(floats, "mean_std");
    static const char *const keys[] = {"bicubic_center", "bilinear_center", "bicubic_squash",
                                       "bilinear_squash", "border"};
    const char *name, *mean;
    json_t *entry, *sum;
    size_t wrong = 0, seen = 0, seen_floats = 0;
    json_object_foreach(photos, name, entry) {
        char path[2048];
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        kh_image photo;
        kh_error err;
        kh_assert_ok(kh_image_read(path, NULL, NULL, &photo, &err));
        seen++;
        bool same = golden_same(&photo, golden_text(entry, "rgb"));
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
            const kh_preprocess how = timm_settings(json_object_get(settings, keys[k]), means);
            same &= gives(&how, &photo, golden_text(entry, keys[k]));
        }
        kh_preprocess squash;
        kh_assert_ok(kh_preprocess_preset("squash224", &squash, &err));
        same &= gives(&squash, &photo, golden_text(entry, "squash224"));
        json_object_foreach(json_object_get(entry, "float"), mean, sum) {
            kh_preprocess how = timm_settings(floats, means);
            read_triple(json_array_get(json_object_get(means, mean), 0), how.mean);
            read_triple(json_array_get(json_object_get(means, mean), 1), how.std);
            same &= gives_floats(&how, &photo, json_string_value(sum));
            seen_floats++;
        }
        if (!same) {
            print_error("%s differs\n", name);
            wrong++;
        }
        kh_image_clear(&photo);
    }
    json_decref(root);
    assert_int_equal(wrong, 0);
    assert_true(seen >= 200 && seen_floats >= 15);
}

/* By hand: 0 -> (0 - 0.5) / 0.5 = -1, 255 -> 1, 51 -> (0.2f - 0.5f) / 0.5f. Planes, not pixels. */
static void floats_by_hand(void **state) {
    (void)state;
    uint8_t rgb[] = {0, 51, 255, 255, 0, 51};
    const kh_image image = {2, 1, rgb};
    kh_preprocess how;
    kh_error err;
    kh_assert_ok(kh_preprocess_preset("squash224", &how, &err));
    assert_int_equal(how.width, 224);
    how.width = 2;
    how.height = 1;
    float out[6];
    kh_assert_ok(kh_preprocess_floats(&how, &image, out, 6, &err));
    const float fifth = (51.0f / 255.0f - 0.5f) / 0.5f;
    const float want[] = {-1.0f, 1.0f, fifth, -1.0f, 1.0f, fifth};
    kh_assert_close(out, want, 6, 0.0, 0.0);
    kh_assert_fails(kh_preprocess_floats(&how, &image, out, 5, &err), KH_E_SHAPE, "expected 6");
    how.std[1] = 0.0;
    kh_assert_fails(kh_preprocess_floats(&how, &image, out, 6, &err), KH_E_NUMERIC, "channel 1");
    how.std[1] = (double)NAN;
    kh_assert_fails(kh_preprocess_floats(&how, &image, out, 6, &err), KH_E_NUMERIC, "channel 1");
}

static void impossible_settings_are_refused(void **state) {
    (void)state;
    kh_image photo = golden_photo(100, 1), out;
    kh_preprocess how = kh_preprocess_default();
    kh_error err;
    how.crop_pct = (double)NAN;
    kh_assert_fails(kh_preprocess_bytes(&how, &photo, &out, &err), KH_E_ARG, "crop_pct");
    how.crop_pct = -0.5;
    kh_assert_fails(kh_preprocess_bytes(&how, &photo, &out, &err), KH_E_ARG, "crop_pct");
    how.crop_pct = 1e-300;
    kh_assert_fails(kh_preprocess_bytes(&how, &photo, &out, &err), KH_E_SHAPE, "vanish or be huge");
    how.crop_pct = 0.9;
    how.width = 0;
    kh_assert_fails(kh_preprocess_bytes(&how, &photo, &out, &err), KH_E_ARG, "0x224");
    how.width = 16;
    how.height = 16;
    how.crop = KH_CROP_BORDER; /* 100x1 to 17 wide leaves no height */
    kh_assert_fails(kh_preprocess_bytes(&how, &photo, &out, &err), KH_E_SHAPE, "vanish");
    how.crop = KH_CROP_HF;
    how.do_crop = false;
    how.shortest_edge = 16;
    kh_assert_fails(kh_preprocess_bytes(&how, &photo, &out, &err), KH_E_SHAPE, "nothing crops");
    how.do_crop = true;
    how.crop_height = 17;
    kh_assert_fails(kh_preprocess_bytes(&how, &photo, &out, &err), KH_E_SHAPE, "crop gives");
    kh_assert_fails(kh_preprocess_preset("nonsense", &how, &err), KH_E_NOT_FOUND, "squash224");
    kh_image_clear(&photo);
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    kh_image photo = golden_photo(50, 40);
    kh_preprocess how = kh_preprocess_default();
    how.height = how.width = 16;
    float out[3 * 16 * 16];
    for (size_t n = 1;; n++) {
        kh_error err;
        kh_alloc_fail_after(n);
        const kh_status status = kh_preprocess_image(&how, &photo, out, 3 * 16 * 16, &err);
        const bool reached = kh_alloc_count() >= n;
        kh_alloc_fail_after(0);
        if (!reached) {
            assert_int_equal(status, KH_OK);
            break;
        }
        kh_assert_fails(status, KH_E_MEMORY, "no memory");
    }
    kh_image_clear(&photo);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sum_of_the_specification),
        cmocka_unit_test(every_recorded_timm_geometry),
        cmocka_unit_test(every_recorded_center_crop),
        cmocka_unit_test(every_recorded_transformers_processor),
        cmocka_unit_test(every_photograph),
        cmocka_unit_test(floats_by_hand),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
