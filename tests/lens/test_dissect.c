/* Network Dissection's counting: worked by hand, and against plain loops over every pixel. */
#include "support/kh_test.h"

#include "base/rng.h"
#include "lens/dissect.h"

enum { GRID = 4, SIDE = 32, PIXELS = SIDE * SIDE, CATEGORIES = 2, LABELS = 6 };

static kh_dissect_plan plan_of(void) {
    kh_dissect_plan plan;
    kh_error err = {0};
    const kh_model_info info = {.patch = 8,
                                .image_height = SIDE,
                                .image_width = SIDE,
                                .grid_height = GRID,
                                .grid_width = GRID};
    kh_assert_ok(kh_dissect_plan_init(&plan, &info, &err));
    return plan;
}

/* Every pixel upsampled with the formula, in double. */
static bool is_above(const float *map, size_t y, size_t x, double threshold) {
    double at[2] = {((double)y + 0.5) * GRID / SIDE - 0.5, ((double)x + 0.5) * GRID / SIDE - 0.5};
    size_t lo[2], hi[2];
    double w[2];
    for (size_t k = 0; k < 2; k++) {
        if (at[k] < 0) at[k] = 0;
        lo[k] = (size_t)floor(at[k]);
        hi[k] = lo[k] + 1 < GRID ? lo[k] + 1 : GRID - 1;
        w[k] = lo[k] == hi[k] ? 0 : at[k] - (double)lo[k];
    }
    const double a = (double)map[lo[0] * GRID + lo[1]], b = (double)map[lo[0] * GRID + hi[1]];
    const double c = (double)map[hi[0] * GRID + lo[1]], d = (double)map[hi[0] * GRID + hi[1]];
    const double top = a + w[1] * (b - a), bottom = c + w[1] * (d - c);
    return top + w[0] * (bottom - top) > threshold;
}

static void counting_skips_nothing(void **state) {
    (void)state;
    kh_dissect_plan plan = plan_of();
    kh_rng rng = kh_rng_make(8, 8);
    for (size_t trial = 0; trial < 200; trial++) {
        float map[GRID * GRID];
        static uint16_t maps[CATEGORIES * PIXELS];
        bool has[CATEGORIES];
        for (size_t i = 0; i < GRID * GRID; i++)
            map[i] = (float)kh_rng_normal(&rng);
        for (size_t i = 0; i < CATEGORIES * PIXELS; i++)
            maps[i] = (uint16_t)kh_rng_below(&rng, LABELS + 1);
        for (size_t c = 0; c < CATEGORIES; c++)
            has[c] = kh_rng_below(&rng, 4) > 0;
        const float threshold = (float)kh_rng_normal(&rng);
        uint64_t got[LABELS + 1] = {0}, want[LABELS + 1] = {0};
        uint64_t active[CATEGORIES] = {0}, want_active[CATEGORIES] = {0};
        for (size_t p = 0; p < PIXELS; p++) {
            if (!is_above(map, p / SIDE, p % SIDE, (double)threshold)) continue;
            for (size_t c = 0; c < CATEGORIES; c++) {
                want_active[c] += has[c];
                const uint16_t label = maps[c * PIXELS + p];
                want[label] += has[c] && label > 0;
            }
        }
        const kh_dissect_image image = {maps, has, CATEGORIES};
        kh_dissect_count(&plan, map, threshold, &image, got, active);
        assert_memory_equal(got, want, sizeof got);
        assert_memory_equal(active, want_active, sizeof active);
    }
    kh_dissect_plan_clear(&plan);
}

static void its_own_mask_gives_one_and_another_nothing(void **state) {
    (void)state;
    kh_dissect_plan plan = plan_of();
    static uint16_t maps[2 * PIXELS];
    const bool has[2] = {true, true};
    const float map[GRID * GRID] = {0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0};
    uint64_t mask = 0;
    for (size_t p = 0; p < PIXELS; p++) {
        const bool on = is_above(map, p / SIDE, p % SIDE, 0.5);
        maps[p] = on ? 1 : 2;
        maps[PIXELS + p] = on ? 0 : 3;
        mask += on;
    }
    uint64_t intersect[4] = {0}, active[2] = {0};
    const kh_dissect_image image = {maps, has, 2};
    kh_dissect_count(&plan, map, 0.5f, &image, intersect, active);
    assert_true(mask > 0 && kh_dissect_iou(intersect[1], active[0], mask) == 1.0);
    assert_true(kh_dissect_iou(intersect[2], active[0], PIXELS - mask) == 0.0);
    assert_true(kh_dissect_iou(intersect[3], active[1], PIXELS - mask) == 0.0);
    /* half of the mask labelled, as much again elsewhere: 1/3 */
    assert_true(fabs(kh_dissect_iou(50, 100, 100) - 1.0 / 3) < 1e-15);
    assert_true(kh_dissect_iou(0, 0, 0) == 0.0);
    kh_dissect_plan_clear(&plan);
}

static void patches_lie_on_the_subject_at_its_border_or_behind(void **state) {
    (void)state;
    kh_dissect_plan plan = plan_of();
    static uint16_t map[PIXELS];
    uint8_t region[GRID * GRID];
    for (size_t p = 0; p < PIXELS; p++) /* columns 0 to 11 */
        map[p] = p % SIDE < 12 ? 5 : 6;
    kh_dissect_regions(&plan, map, 5, region);
    for (size_t i = 0; i < GRID; i++) {
        assert_int_equal(region[i * GRID + 0], KH_REGION_SUBJECT);
        assert_int_equal(region[i * GRID + 1], KH_REGION_BORDER);
        assert_int_equal(region[i * GRID + 2], KH_REGION_BACKGROUND);
        assert_int_equal(region[i * GRID + 3], KH_REGION_BACKGROUND);
    }
    kh_dissect_plan_clear(&plan);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counting_skips_nothing),
        cmocka_unit_test(its_own_mask_gives_one_and_another_nothing),
        cmocka_unit_test(patches_lie_on_the_subject_at_its_border_or_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
