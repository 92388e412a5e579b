/* Marks on exemplars: no picture is without one, and the box is where the maximum is. */
#include "support/kh_test.h"

#include "cli/exemplar_marks.h"

enum { MOST = 130 };

static uint8_t rgb[3 * MOST * MOST];
static float up[MOST * MOST];

/* Grey pictures, which hold no colour of a mark. */
static void draw(const float *map, kh_grid grid, double threshold, size_t width, size_t height) {
    memset(rgb, 100, sizeof rgb);
    kh_marks_draw(map, grid, threshold, width, height, up, rgb);
}

static bool is(size_t at, uint8_t r, uint8_t g, uint8_t b) {
    return rgb[3 * at] == r && rgb[3 * at + 1] == g && rgb[3 * at + 2] == b;
}

typedef struct extent {
    size_t count, x0, x1, y0, y1;
} extent;

static extent yellow(size_t width, size_t height) {
    extent e = {0, SIZE_MAX, 0, SIZE_MAX, 0};
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            if (!is(y * width + x, 255, 230, 0)) continue;
            e.count++;
            if (x < e.x0) e.x0 = x;
            if (x > e.x1) e.x1 = x;
            if (y < e.y0) e.y0 = y;
            if (y > e.y1) e.y1 = y;
        }
    return e;
}

static size_t whites(size_t width, size_t height) {
    size_t count = 0;
    for (size_t i = 0; i < width * height; i++)
        count += is(i, 255, 255, 255);
    return count;
}

/* A patch alone above the threshold: in an odd enlargement no pixel is at its very middle, so the
 * bilinear map stays below. */
static void a_patch_that_the_bilinear_map_loses_has_a_box(void **state) {
    (void)state;
    const kh_grid grid = {12, 12, 1, 1};
    float map[144] = {0};
    map[5 * 12 + 3] = 2;
    draw(map, grid, 1.99, 96, 96);
    assert_int_equal(whites(96, 96), 0);
    const extent e = yellow(96, 96);
    assert_int_equal(e.count, 28);
    assert_int_equal(e.x0, 24);
    assert_int_equal(e.x1, 31);
    assert_int_equal(e.y0, 40);
    assert_int_equal(e.y1, 47);
    draw(map, grid, (double)NAN, 96, 96);
    assert_int_equal(whites(96, 96), 0);
    assert_int_equal(yellow(96, 96).count, 28);
}

static void a_map_above_its_threshold_has_a_line_too(void **state) {
    (void)state;
    const kh_grid grid = {4, 4, 1, 1};
    float map[16] = {0};
    map[5] = map[6] = map[9] = map[10] = 1;
    draw(map, grid, 0.5, 64, 64);
    assert_true(whites(64, 64) > 50);
    assert_true(is(40 * 64 + 16, 255, 255, 255)); /* half way to the next patch */
    assert_true(is(40 * 64 + 15, 0, 0, 0));
    assert_int_equal(yellow(64, 64).x0, 16); /* the first of equals */
}

/* Every patch of every grid, at sizes that are no multiple and with borders nobody looked at. */
static void boxes_stay_inside_and_cover_their_patch(void **state) {
    (void)state;
    static const struct {
        size_t rows, columns, width, height;
        double seen_height, seen_width;
    } known[] = {{14, 14, 120, 120, 1, 1},     {1, 1, 120, 90, 1, 1},    {7, 10, 120, 84, 1, 1},
                 {6, 6, 100, 100, 0.96, 0.96}, {37, 37, 120, 120, 1, 1}, {50, 50, 20, 20, 1, 1}};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        const kh_grid grid = {known[k].rows, known[k].columns, known[k].seen_height,
                              known[k].seen_width};
        const size_t w = known[k].width, h = known[k].height;
        for (size_t t = 0; t < grid.height * grid.width; t++) {
            float map[2500] = {0};
            map[t] = 1;
            draw(map, grid, 2, w, h);
            const extent e = yellow(w, h);
            const double x =
                (double)(t % grid.width) * grid.seen_width * (double)w / (double)grid.width;
            const double y =
                (double)(t / grid.width) * grid.seen_height * (double)h / (double)grid.height;
            assert_true(e.count > 0);
            assert_true(fabs((double)e.x0 - x) <= 1 && fabs((double)e.y0 - y) <= 1);
            const double right = x + grid.seen_width * (double)w / (double)grid.width;
            assert_true(fabs((double)e.x1 + 1 - right) <= 1);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_patch_that_the_bilinear_map_loses_has_a_box),
        cmocka_unit_test(a_map_above_its_threshold_has_a_line_too),
        cmocka_unit_test(boxes_stay_inside_and_cover_their_patch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
