/* Heatmaps: the numbers of the report's pipeline, and its traps. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "keyhole/lens.h"

#define G    14
#define SIZE 224

static const kh_grid grid = {G, G, 1, 1};
static float map[G * G], large[SIZE * SIZE];

static double mean_of(const float *v, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i];
    return sum / (double)n;
}

/* ---- JET ----------------------------------------------------------------------------------- */

static void jet_has_opencvs_spots(void **state) {
    (void)state;
    static const uint8_t spots[][4] = {{0, 0, 0, 128},     {31, 0, 0, 252},    {32, 0, 0, 255},
                                       {64, 0, 128, 255},  {96, 2, 255, 254},  {127, 126, 255, 130},
                                       {160, 255, 252, 0}, {191, 255, 128, 0}, {255, 128, 0, 0}};
    for (size_t i = 0; i < sizeof spots / sizeof *spots; i++)
        assert_memory_equal(kh_lens_jet(spots[i][0]), spots[i] + 1, 3);
    assert_int_equal(kh_lens_jet(159)[2], 1);
}

static uint8_t ramp(double rising, double falling) {
    const double v = nearbyint(rising < falling ? rising : falling); /* half to even */
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void jet_is_the_formula_everywhere_but_at_159(void **state) {
    (void)state;
    for (int i = 0; i < 256; i++) {
        const uint8_t *got = kh_lens_jet((uint8_t)i);
        assert_int_equal(got[0], ramp(4 * i - 382.5, 1147.5 - 4 * i));
        assert_int_equal(got[1], ramp(4 * i - 127.5, 892.5 - 4 * i));
        assert_int_equal(got[2], ramp(4 * i + 127.5, 637.5 - 4 * i) - (i == 159));
    }
}

/* ---- upsampling ---------------------------------------------------------------------------- */

static void check_5_1_the_mean_survives_upsampling(void **state) {
    (void)state;
    kh_test_fill(map, G * G, 3, 2);
    kh_lens_upsample(map, grid, SIZE, SIZE, large);
    assert_true(fabs(mean_of(large, SIZE * SIZE) - mean_of(map, G * G)) < 1e-7);
}

static void check_5_2_an_isolated_one_peaks_at_31_32nds_squared_and_a_corner_at_one(void **state) {
    (void)state;
    uint8_t levels[SIZE * SIZE], top = 0;
    float peak = 0;
    memset(map, 0, sizeof map);
    map[6 * G + 9] = 1;
    kh_lens_upsample(map, grid, SIZE, SIZE, large);
    kh_lens_map_u8(large, SIZE * SIZE, levels);
    for (size_t i = 0; i < SIZE * SIZE; i++) {
        peak = fmaxf(peak, large[i]);
        top = levels[i] > top ? levels[i] : top;
    }
    assert_true(peak == 0.9384765625f); /* (31/32)^2 is exact */
    assert_int_equal(top, 239);
    assert_true(large[(6 * 16 + 7) * SIZE + 9 * 16 + 7] == peak);
    memset(map, 0, sizeof map);
    map[G - 1] = 1;
    kh_lens_upsample(map, grid, SIZE, SIZE, large);
    assert_true(large[SIZE - 1] == 1);
    kh_lens_map_u8(large, SIZE * SIZE, levels);
    assert_int_equal(levels[SIZE - 1], 255);
}

static void check_5_3_pixels_0_to_7_replicate_the_edge_cell(void **state) {
    (void)state;
    kh_test_fill(map, G * G, 4, 1);
    kh_lens_upsample(map, grid, SIZE, SIZE, large);
    for (size_t y = 0; y < 8; y++)
        for (size_t x = 0; x < 8; x++) {
            assert_true(large[y * SIZE + x] == map[0]);
            assert_true(large[(SIZE - 1 - y) * SIZE + SIZE - 1 - x] == map[G * G - 1]);
        }
    assert_true(large[8] != map[0]);
}

static void check_5_4_levels_are_monotone_and_truncated(void **state) {
    (void)state;
    uint8_t before = 0, level;
    for (int i = 0; i <= 100000; i++) {
        const float m = (float)i / 100000;
        kh_lens_map_u8(&m, 1, &level);
        assert_true(level >= before);
        assert_int_equal(level, (int)(255 * m));
        before = level;
    }
    assert_int_equal(before, 255);
    const float odd[4] = {NAN, -1, 2, 0.99999f};
    uint8_t out[4];
    kh_lens_map_u8(odd, 4, out);
    assert_int_equal(out[0], 0);
    assert_int_equal(out[1], 0);
    assert_int_equal(out[2], 255);
    assert_int_equal(out[3], 254);
}

/* torch's definition, one pixel at a time, in float64 */
static double ref_upsample(const float *m, size_t gh, size_t gw, size_t h, size_t w, size_t y,
                           size_t x) {
    double sy = ((double)y + 0.5) * ((double)gh / (double)h) - 0.5;
    double sx = ((double)x + 0.5) * ((double)gw / (double)w) - 0.5;
    sy = sy < 0 ? 0 : sy;
    sx = sx < 0 ? 0 : sx;
    const size_t y0 = (size_t)floor(sy), x0 = (size_t)floor(sx);
    const size_t y1 = y0 + 1 < gh ? y0 + 1 : gh - 1, x1 = x0 + 1 < gw ? x0 + 1 : gw - 1;
    const double ly = sy - (double)y0, lx = sx - (double)x0;
    return (1 - ly) * ((1 - lx) * (double)m[y0 * gw + x0] + lx * (double)m[y0 * gw + x1]) +
           ly * ((1 - lx) * (double)m[y1 * gw + x0] + lx * (double)m[y1 * gw + x1]);
}

static void any_grid_and_any_size_match_the_definition(void **state) {
    (void)state;
    const size_t sizes[][4] = {{14, 14, 224, 224}, {3, 5, 48, 80}, {16, 16, 518, 518},
                               {2, 7, 31, 33},     {1, 1, 9, 4},   {9, 4, 5, 3}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t gh = sizes[i][0], gw = sizes[i][1], h = sizes[i][2], w = sizes[i][3];
        float *got = malloc(h * w * sizeof *got), *want = malloc(h * w * sizeof *want);
        float cells[256];
        kh_test_fill(cells, gh * gw, i, 1);
        kh_lens_upsample(cells, (kh_grid){gh, gw, 1, 1}, h, w, got);
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++)
                want[y * w + x] = (float)ref_upsample(cells, gh, gw, h, w, y, x);
        kh_assert_close(got, want, h * w, 1e-6, 1e-6);
        free(got);
        free(want);
    }
}

static void pixels_no_patch_saw_repeat_the_last_cell(void **state) {
    (void)state;
    /* 384 px, patch 14: 27 cells cover 378 px */
    const kh_model_info info = {
        .patch = 14, .image_height = 384, .image_width = 384, .grid_height = 27, .grid_width = 27};
    const kh_grid so400m = kh_lens_grid(&info);
    static float cells[27 * 27], out[384 * 384];
    for (size_t i = 0; i < 27 * 27; i++)
        cells[i] = (float)(i % 27);
    kh_lens_upsample(cells, so400m, 384, 384, out);
    /* the centre of cell 20 lies at pixel 20 * 14 + 6.5 */
    assert_float_equal((out[20 * 14 + 6] + out[20 * 14 + 7]) / 2, 20, 1e-5f);
    for (size_t x = 371; x < 384; x++)
        assert_true(out[x] == 26);
}

static void a_constant_map_stays_exactly_constant(void **state) {
    (void)state;
    for (size_t i = 0; i < G * G; i++)
        map[i] = 0.1f;
    kh_lens_upsample(map, grid, 197, 201, large);
    for (size_t i = 0; i < 197 * 201; i++)
        assert_true(large[i] == 0.1f);
}

/* ---- normalisation and scales -------------------------------------------------------------- */

static void clipping_and_min_max(void **state) {
    (void)state;
    kh_error err = {0};
    const float m[4] = {-0.17f, 1, 3, 0.5f};
    const float clipped[4] = {0, 1.0f / 3, 1, 0.5f / 3};
    float out[4];
    kh_range range;
    kh_assert_ok(kh_lens_map_ranges(m, 1, 1, 4, NULL, KH_SCALE_MAP, true, &range, &err));
    assert_true(range.min == 0 && range.max == 3);
    kh_lens_map_normalize(m, 4, range, true, out);
    kh_assert_close(out, clipped, 4, 1e-7, 0);
    kh_assert_ok(kh_lens_map_ranges(m, 1, 1, 4, NULL, KH_SCALE_MAP, false, &range, &err));
    assert_true(range.min == -0.17f && range.max == 3);
    kh_lens_map_normalize(m, 4, range, false, out);
    assert_true(out[0] == 0 && out[2] == 1);
    const float flat[4] = {-1, -2, -3,
                           0}; /* all clipped: max = min, the report's code divides 0/0 */
    kh_assert_ok(kh_lens_map_ranges(flat, 1, 1, 4, NULL, KH_SCALE_MAP, true, &range, &err));
    kh_lens_map_normalize(flat, 4, range, true, out);
    for (size_t i = 0; i < 4; i++)
        assert_true(out[i] == 0);
}

static void scales_share_what_they_say(void **state) {
    (void)state;
    kh_error err = {0};
    /* three images, two ranks, one patch pair; image 0 and 2 are of the same class */
    const float maps[3 * 2 * 2] = {1, 2, 3, 9, 4, 5, 6, 7, 0, 8, 2, 3};
    const size_t classes[3] = {5, 6, 5};
    const float want[4][6][2] = {{{1, 2}, {3, 9}, {4, 5}, {6, 7}, {0, 8}, {2, 3}},  /* map */
                                 {{0, 9}, {0, 9}, {4, 7}, {4, 7}, {0, 9}, {0, 9}},  /* class */
                                 {{1, 9}, {1, 9}, {4, 7}, {4, 7}, {0, 8}, {0, 8}},  /* image */
                                 {{0, 9}, {0, 9}, {0, 9}, {0, 9}, {0, 9}, {0, 9}}}; /* shared */
    for (size_t scale = 0; scale < 4; scale++) {
        kh_range got[6];
        kh_scale parsed;
        kh_assert_ok(kh_scale_parse(kh_scale_name((kh_scale)scale), &parsed, &err));
        kh_assert_ok(kh_lens_map_ranges(maps, 3, 2, 2, classes, parsed, true, got, &err));
        for (size_t i = 0; i < 6; i++) {
            assert_true(got[i].min == want[scale][i][0]);
            assert_true(got[i].max == want[scale][i][1]);
        }
    }
    kh_range got[6];
    kh_scale parsed;
    kh_assert_fails(kh_scale_parse("neuron", &parsed, &err), KH_E_ARG, "map, class, image, shared");
    kh_assert_fails(kh_lens_map_ranges(maps, 3, 2, 2, NULL, KH_SCALE_CLASS, true, got, &err),
                    KH_E_ARG, "class of every image");
}

/* ---- overlay ------------------------------------------------------------------------------- */

static void the_overlay_adds_and_divides_by_the_brightest(void **state) {
    (void)state;
    const uint8_t heat[2] = {0, 255};                   /* (0, 0, 128) and (128, 0, 0) */
    const float photo[6] = {0.2f, 0.4f, 1, 1, 0.5f, 0}; /* brightest sum: 1 + 128/255 */
    const float top = 1 + 128.0f / 255;
    uint8_t rgb[6];
    kh_lens_overlay(heat, photo, 2, false, rgb);
    const float sums[6] = {0.2f, 0.4f, top, top, 0.5f, 0};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(rgb[i], (int)(255 * (sums[i] / top)));
    assert_int_equal(rgb[2], 255);
}

static void r_compat_swaps_the_photographs_red_and_blue_only(void **state) {
    (void)state;
    const uint8_t heat[1] = {255};
    const float photo[3] = {1, 0, 0}; /* red */
    uint8_t right[3], swapped[3];
    kh_lens_overlay(heat, photo, 1, false, right);
    kh_lens_overlay(heat, photo, 1, true, swapped);
    assert_true(right[0] == 255 && right[1] == 0 && right[2] == 0);
    assert_int_equal(swapped[0], (int)(255 * (128.0f / 255))); /* heat stays red */
    assert_int_equal(swapped[2], 255);                         /* the photo turned blue */
}

static void the_photograph_comes_from_bytes_or_from_the_tensor(void **state) {
    (void)state;
    const uint8_t rgb[6] = {0, 255, 51, 10, 20, 30};
    const float tensor[6] = {-1, 0, 1, -1, 0.5f, 0}; /* planes r, g, b of two pixels */
    const float from_tensor[6] = {0, 1, 0.75f, 0.5f, 0, 0.5f};
    float out[6];
    kh_lens_display_bytes(rgb, 2, out);
    assert_true(out[0] == 0 && out[1] == 1 && out[2] == 0.2f && out[3] == 10.0f / 255);
    kh_lens_display_tensor(tensor, 2, out);
    kh_assert_close(out, from_tensor, 6, 0, 0);
    const float flat[3] = {2, 2, 2};
    kh_lens_display_tensor(flat, 1, out);
    assert_true(out[0] == 0 && out[2] == 0);
}

static void a_whole_heatmap_is_its_steps(void **state) {
    (void)state;
    kh_error err = {0};
    static float photo[SIZE * SIZE * 3];
    static uint8_t rgb[SIZE * SIZE * 3], want[SIZE * SIZE * 3], heat[SIZE * SIZE],
        levels[SIZE * SIZE];
    kh_range range;
    float scaled[G * G];
    kh_test_fill(map, G * G, 8, 1);
    for (size_t i = 0; i < SIZE * SIZE * 3; i++)
        photo[i] = (float)(i % 256) / 255;
    kh_assert_ok(kh_lens_map_ranges(map, 1, 1, G * G, NULL, KH_SCALE_MAP, true, &range, &err));
    kh_lens_map_normalize(map, G * G, range, true, scaled);
    kh_lens_upsample(scaled, grid, SIZE, SIZE, large);
    kh_lens_map_u8(large, SIZE * SIZE, levels);
    kh_lens_overlay(levels, photo, SIZE * SIZE, true, want);
    kh_assert_ok(kh_lens_heatmap(map, grid, range, SIZE, SIZE, photo, true, rgb, heat, &err));
    assert_memory_equal(rgb, want, sizeof rgb);
    assert_memory_equal(heat, levels, sizeof heat);
    kh_assert_ok(kh_lens_heatmap(map, grid, range, SIZE, SIZE, photo, true, rgb, NULL, &err));
    for (size_t n = 1; n <= 3; n++) {
        kh_alloc_fail_after(n);
        const kh_status status =
            kh_lens_heatmap(map, grid, range, SIZE, SIZE, photo, true, rgb, heat, &err);
        kh_alloc_fail_after(0);
        assert_int_equal(status, KH_E_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jet_has_opencvs_spots),
        cmocka_unit_test(jet_is_the_formula_everywhere_but_at_159),
        cmocka_unit_test(check_5_1_the_mean_survives_upsampling),
        cmocka_unit_test(check_5_2_an_isolated_one_peaks_at_31_32nds_squared_and_a_corner_at_one),
        cmocka_unit_test(check_5_3_pixels_0_to_7_replicate_the_edge_cell),
        cmocka_unit_test(check_5_4_levels_are_monotone_and_truncated),
        cmocka_unit_test(any_grid_and_any_size_match_the_definition),
        cmocka_unit_test(pixels_no_patch_saw_repeat_the_last_cell),
        cmocka_unit_test(a_constant_map_stays_exactly_constant),
        cmocka_unit_test(clipping_and_min_max),
        cmocka_unit_test(scales_share_what_they_say),
        cmocka_unit_test(the_overlay_adds_and_divides_by_the_brightest),
        cmocka_unit_test(r_compat_swaps_the_photographs_red_and_blue_only),
        cmocka_unit_test(the_photograph_comes_from_bytes_or_from_the_tensor),
        cmocka_unit_test(a_whole_heatmap_is_its_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
