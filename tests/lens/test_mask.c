/* Percentile masks and running means. */
#include "support/kh_test.h"

#include "keyhole/lens.h"

#define G      14
#define SIZE   224
#define BLOCKS 12

static const kh_grid grid = {G, G, 1, 1};
static float maps[BLOCKS * G * G], running[BLOCKS * G * G], large[SIZE * SIZE];
static uint8_t mask[SIZE * SIZE], other[SIZE * SIZE];

static void mask_of(const float *map, uint8_t *out, size_t *kept) {
    kh_error err = {0};
    double threshold;
    kh_lens_upsample(map, grid, SIZE, SIZE, large);
    kh_assert_ok(kh_lens_mask(large, SIZE * SIZE, 0.8, out, &threshold, kept, &err));
}

static void check_6_1_the_first_running_mean_is_the_first_map(void **state) {
    (void)state;
    kh_test_fill(maps, BLOCKS * G * G, 1, 1);
    kh_lens_running_mean(maps, BLOCKS, G * G, false, running);
    assert_memory_equal(running, maps, G * G * sizeof *maps);
}

static void check_6_2_the_last_running_mean_is_the_plain_mean(void **state) {
    (void)state;
    float mean[G * G];
    kh_test_fill(maps, BLOCKS * G * G, 2, 1);
    for (size_t t = 0; t < G * G; t++) {
        double sum = 0;
        for (size_t b = 0; b < BLOCKS; b++)
            sum += (double)maps[b * G * G + t];
        mean[t] = (float)(sum / BLOCKS);
    }
    kh_lens_running_mean(maps, BLOCKS, G * G, false, running);
    kh_assert_close(running + (BLOCKS - 1) * G * G, mean, G * G, 0, 0);
    kh_lens_running_mean(maps, BLOCKS, G * G, false, maps); /* in place */
    assert_memory_equal(maps, running, sizeof maps);
}

static void normalised_running_means_weigh_blocks_equally(void **state) {
    (void)state;
    const float two[4] = {0, 1, 100, 0}; /* two blocks of two patches */
    const float flat[4] = {3, 3, 0, 5};
    float out[4];
    kh_lens_running_mean(two, 2, 2, true, out);
    assert_true(out[0] == 0 && out[1] == 1 && out[2] == 0.5f && out[3] == 0.5f);
    kh_lens_running_mean(two, 2, 2, false, out);
    assert_true(out[2] == 50 && out[3] == 0.5f);
    kh_lens_running_mean(flat, 2, 2, true, out); /* a constant map counts as zeros */
    assert_true(out[0] == 0 && out[1] == 0 && out[2] == 0 && out[3] == 0.5f);
}

static void check_6_3_random_pixels_keep_10035(void **state) {
    (void)state;
    kh_error err = {0};
    double threshold;
    size_t kept;
    for (size_t i = 0; i < SIZE * SIZE; i++) /* distinct: a permutation, 7919 is coprime to 224^2 */
        large[i] = (float)(i * 7919 % (SIZE * SIZE));
    kh_assert_ok(kh_lens_mask(large, SIZE * SIZE, 0.8, mask, &threshold, &kept, &err));
    assert_int_equal(kept, 10035);
    assert_true(threshold == 40140); /* 0.8 * 50175 exactly */
    for (size_t i = 0; i < SIZE * SIZE; i++)
        assert_int_equal(mask[i], large[i] > 40140.0f);
}

static void check_6_3b_upsampled_random_maps_keep_10035(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        size_t kept;
        kh_test_fill(maps, G * G, 100 + seed, 1);
        /* no two interior pixels are equal, and the replicated border corners rarely decide */
        mask_of(maps, mask, &kept);
        assert_in_range(kept, 10035 - 64, 10035);
    }
}

static void check_6_4_own_and_running_mask_of_block_0_are_the_same(void **state) {
    (void)state;
    size_t kept, kept_running;
    kh_test_fill(maps, BLOCKS * G * G, 5, 1);
    kh_lens_running_mean(maps, BLOCKS, G * G, false, running);
    mask_of(maps, mask, &kept);
    mask_of(running, other, &kept_running);
    assert_memory_equal(mask, other, sizeof mask);
    mask_of(running + G * G, other, &kept_running);
    assert_true(memcmp(mask, other, sizeof mask) != 0); /* block 1 differs */
}

static void check_6_5_masks_do_not_see_scale_or_offset(void **state) {
    (void)state;
    size_t kept, kept_scaled;
    float scaled[G * G];
    kh_test_fill(maps, G * G, 6, 1);
    for (size_t i = 0; i < G * G; i++)
        maps[i] = rintf(maps[i] * 1024); /* sums stay exact */
    for (size_t i = 0; i < G * G; i++)
        scaled[i] = 3 * maps[i] + 17;
    mask_of(maps, mask, &kept);
    mask_of(scaled, other, &kept_scaled);
    assert_int_equal(kept, kept_scaled);
    assert_memory_equal(mask, other, sizeof mask);
}

static void a_constant_map_gives_an_empty_mask(void **state) {
    (void)state;
    size_t kept;
    for (size_t i = 0; i < G * G; i++)
        maps[i] = 0.1f;
    mask_of(maps, mask, &kept);
    assert_int_equal(kept, 0);
    for (size_t i = 0; i < SIZE * SIZE; i++)
        assert_int_equal(mask[i], 0);
}

static void a_nan_map_is_refused(void **state) {
    (void)state;
    kh_error err = {0};
    float v[3] = {1, NAN, 2};
    kh_assert_fails(kh_lens_mask(v, 3, 0.8, mask, NULL, NULL, &err), KH_E_NUMERIC, "NaN");
}

static void masked_pictures_are_black_outside(void **state) {
    (void)state;
    const uint8_t m[2] = {1, 0}, rgb[6] = {1, 2, 3, 4, 5, 6}, want[6] = {1, 2, 3, 0, 0, 0};
    uint8_t out[6];
    kh_lens_mask_apply(m, rgb, 2, out);
    assert_memory_equal(out, want, 6);
}

static void a_mask_is_scored_against_the_truth(void **state) {
    (void)state;
    const uint8_t m[5] = {1, 1, 0, 0, 1}, truth[5] = {0, 1, 1, 0, 1}, none[5] = {0};
    const float values[5] = {0, 9, 1, 2, 9};
    kh_mask_score s;
    kh_lens_mask_score(m, values, truth, 5, &s);
    assert_true(s.kept == 3 && s.truth == 3 && s.both == 2);
    assert_true(s.iou == 0.5 && s.precision == 2.0 / 3 && s.recall == 2.0 / 3 && s.pointing_hit);
    kh_lens_mask_score(none, values, none, 5, &s);
    assert_true(isnan(s.iou) && isnan(s.precision) && isnan(s.recall) && !s.pointing_hit);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_6_1_the_first_running_mean_is_the_first_map),
        cmocka_unit_test(check_6_2_the_last_running_mean_is_the_plain_mean),
        cmocka_unit_test(normalised_running_means_weigh_blocks_equally),
        cmocka_unit_test(check_6_3_random_pixels_keep_10035),
        cmocka_unit_test(check_6_3b_upsampled_random_maps_keep_10035),
        cmocka_unit_test(check_6_4_own_and_running_mask_of_block_0_are_the_same),
        cmocka_unit_test(check_6_5_masks_do_not_see_scale_or_offset),
        cmocka_unit_test(a_constant_map_gives_an_empty_mask),
        cmocka_unit_test(a_nan_map_is_refused),
        cmocka_unit_test(masked_pictures_are_black_outside),
        cmocka_unit_test(a_mask_is_scored_against_the_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
