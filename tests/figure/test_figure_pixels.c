/* Do the pictures say what the numbers say? */
#include "figure/page_pixels.h"

#include "base/rng.h"
#include "figure/colours.h"
#include "figure/lettering.h"

static kh_figure *new_page(void) {
    kh_figure *figure;
    kh_error err;
    kh_assert_ok(kh_figure_create(NULL, &figure, &err));
    return figure;
}

static uint32_t rgb_at(const uint8_t *rgb, size_t i) {
    return (uint32_t)rgb[3 * i] << 16 | (uint32_t)rgb[3 * i + 1] << 8 | rgb[3 * i + 2];
}

static void fill_random(uint8_t *bytes, size_t count) {
    kh_rng rng = kh_rng_make(11, 0);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(kh_rng_unit(&rng) * 256);
}

/* ---- pictures -------------------------------------------------------------------------------- */

static void unscaled_pictures_keep_every_pixel(void **state) {
    (void)state;
    enum { W = 33, H = 21 };
    static uint8_t rgb[2][W * H * 3];
    fill_random(rgb[0], sizeof rgb);
    const kh_figure_panel panels[2] = {
        {.rgb = rgb[0], .width = W, .height = H},
        {.rgb = rgb[1], .width = W, .height = H, .frame = KH_FRAME_GOOD}};
    const kh_figure_grid grid = {.panels = panels, .rows = 1, .columns = 2};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_grid(figure, &grid, &err));
    kh_pixels page = kh_page_pixels(figure, 0);
    for (size_t p = 0; p < 2; p++)
        for (size_t i = 0; i < W * H; i++)
            assert_int_equal(kh_pixel(&page, 24 + p * (W + 14) + i % W, 24 + i / W),
                             rgb_at(rgb[p], i));
    assert_int_equal(kh_pixel(&page, 24 + W + 14 - 2, 30), KH_GOOD); /* the frame is outside */
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

static void small_maps_grow_in_whole_squares(void **state) {
    (void)state;
    uint8_t rgb[2 * 3 * 3];
    fill_random(rgb, sizeof rgb);
    const kh_figure_panel panel = {.rgb = rgb, .width = 3, .height = 2};
    const kh_figure_grid grid = {
        .panels = &panel, .rows = 1, .columns = 1, .cell_width = 60, .cell_height = 60};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_grid(figure, &grid, &err));
    for (size_t scale = 1; scale <= 2; scale++) {
        kh_pixels page = kh_page_pixels(figure, (double)scale);
        for (size_t y = 0; y < 40 * scale; y++)
            for (size_t x = 0; x < 60 * scale; x++) /* shape kept: 60 x 40, centred */
                assert_int_equal(kh_pixel(&page, 24 * scale + x, 34 * scale + y),
                                 rgb_at(rgb, y / (20 * scale) * 3 + x / (20 * scale)));
        kh_pixels_clear(&page);
    }
    kh_figure_free(figure);
}

static void large_pictures_are_averaged_down(void **state) {
    (void)state;
    enum { SIDE = 128 };
    static uint8_t rgb[SIDE * SIDE * 3];
    for (size_t i = 0; i < SIDE * SIDE; i++)
        memset(rgb + 3 * i, (i % SIDE + i / SIDE) % 2 ? 255 : 0, 3); /* a fine checkerboard */
    const kh_figure_panel panel = {.rgb = rgb, .width = SIDE, .height = SIDE};
    const kh_figure_grid grid = {
        .panels = &panel, .rows = 1, .columns = 1, .cell_width = 32, .cell_height = 32};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_grid(figure, &grid, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    for (size_t y = 2; y < 30; y++)
        for (size_t x = 2; x < 30; x++)
            assert_in_range(kh_pixel(&page, 24 + x, 24 + y) & 255, 96, 160); /* no moiré */
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

/* ---- colours --------------------------------------------------------------------------------- */

static double luminance(const uint8_t c[3]) {
    double sum = 0;
    const double weights[] = {0.2126, 0.7152, 0.0722};
    for (size_t k = 0; k < 3; k++) {
        const double v = c[k] / 255.0;
        sum += weights[k] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static void colour_tables_rise_evenly(void **state) {
    (void)state;
    uint8_t t[256][3];
    kh_figure_colour_table(KH_COLOURS_SEQUENTIAL, t);
    for (size_t i = 4; i < 256; i += 4) { /* lightness, by the CIE formula */
        const double step = cbrt(luminance(t[i])) - cbrt(luminance(t[i - 4]));
        assert_true(step > 0.004 && step < 0.025);
    }
    kh_figure_colour_table(KH_COLOURS_DIVERGING, t);
    for (size_t i = 4; i < 128; i += 4) {
        assert_true(luminance(t[i]) > luminance(t[i - 4]));
        assert_true(luminance(t[255 - i]) > luminance(t[259 - i]));
    }
    assert_true(t[0][2] > t[0][0] && t[255][0] > t[255][2]); /* blue to red */
    assert_true(t[127][0] > 245 && t[127][1] > 245 && t[127][2] > 245);
    assert_true(t[128][0] > 245 && t[128][1] > 245 && t[128][2] > 245);
    kh_figure_colour_table(KH_COLOURS_GREY, t);
    assert_true(t[7][0] == 7 && t[255][2] == 255);
}

static void colour_bars_end_in_their_end_colours(void **state) {
    (void)state;
    uint8_t t[256][3];
    for (size_t i = 0; i < 256; i++) {
        t[i][0] = (uint8_t)i;
        t[i][1] = 3;
        t[i][2] = 200;
    }
    const kh_figure_scale scale = {.table = (const uint8_t(*)[3])t, .low = -1, .high = 5};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_scale(figure, &scale, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    const size_t y = 24 + 6;
    assert_int_equal(kh_pixel(&page, 24, y), 0x0003c8);
    assert_int_equal(kh_pixel(&page, 24 + 319, y), 0xff03c8);
    size_t red = 0;
    for (size_t x = 24; x < 24 + 320; x++) { /* every colour in order */
        const size_t now = kh_pixel(&page, x, y) >> 16;
        assert_true(now >= red && now <= red + 1);
        red = now;
    }
    for (size_t x = 0; x < 23; x++) /* "−1" stays out of the margin */
        assert_int_equal(kh_count_in_column(&page, x, 0xffffff), page.height);
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

/* ---- charts ---------------------------------------------------------------------------------- */

/* Widest run of the colour in any column, per bar from left to right. */
static size_t bar_heights(const kh_pixels *page, uint32_t rgb, size_t *heights, size_t room) {
    size_t count = 0, best = 0;
    for (size_t x = 0; x <= page->width; x++) {
        const size_t h = x < page->width ? kh_count_in_column(page, x, rgb) : 0;
        if (h < 4 && best > 0 && count < room) {
            heights[count++] = best;
            best = 0;
        }
        if (h >= 4 && h > best) best = h;
    }
    return count;
}

/* First and last row of a colour in a column. */
static void rows_of(const kh_pixels *page, size_t x, uint32_t rgb, size_t *first, size_t *last) {
    *first = *last = SIZE_MAX;
    for (size_t y = 0; y < page->height; y++)
        if (kh_pixel(page, x, y) == rgb) {
            if (*first == SIZE_MAX) *first = y;
            *last = y;
        }
    assert_true(*first != SIZE_MAX);
}

static void bars_stand_on_the_axis_and_reach_their_tick(void **state) {
    (void)state;
    const double values[] = {40, 10};
    const kh_figure_bars bars = {.values = values, .groups = 2, .height = 400};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_bars(figure, &bars, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    size_t bar = 0, top, bottom, grid_top, grid_bottom, axis_top, axis_bottom;
    while (kh_count_in_column(&page, bar, kh_hues[0]) < 100)
        bar++;
    bar += 5;
    rows_of(&page, bar, kh_hues[0], &top, &bottom);
    rows_of(&page, page.width - 50, 0xe3e3e3, &grid_top, &grid_bottom); /* the line of 40 */
    rows_of(&page, page.width - 50, 0x555555, &axis_top, &axis_bottom); /* the line of 0 */
    assert_near(top, grid_top, 1.5);
    assert_near(bottom + 1, axis_top, 1.5);
    assert_true(bottom - top > 200);
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

static void bars_are_as_tall_as_their_values(void **state) {
    (void)state;
    const double values[] = {10, 40, 20, (double)NAN, 30};
    const kh_figure_bars bars = {.values = values, .groups = 5, .height = 400};
    kh_figure *figure = new_page();
    kh_error err;
    size_t h[8];
    kh_assert_ok(kh_figure_add_bars(figure, &bars, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    assert_int_equal(bar_heights(&page, kh_hues[0], h, 8), 4); /* NaN is a gap */
    const double unit = (double)h[1] / 40;
    assert_true(unit > 4);
    assert_near((double)h[0], 10 * unit, 2);
    assert_near((double)h[2], 20 * unit, 2);
    assert_near((double)h[3], 30 * unit, 2);
    assert_true(kh_count(&page, 0x9c3d00) > 20); /* "1 value not drawn" */
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

static void whiskers_run_from_low_to_high(void **state) {
    (void)state;
    const double values[] = {20, 20}, low[] = {10, (double)NAN}, high[] = {30, 30};
    const kh_figure_bars bars = {
        .values = values, .groups = 2, .low = low, .high = high, .y = {.high = 40}, .height = 400};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_bars(figure, &bars, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    size_t bar = 0, top, bottom, axis, end = 0, most = 0, middle = 0;
    while (kh_count_in_column(&page, bar, kh_hues[0]) < 100)
        bar++;
    rows_of(&page, bar + 5, kh_hues[0], &top, &axis);
    const double unit = (double)(axis + 1 - top) / 20;
    for (size_t x = bar; kh_count_in_column(&page, x, kh_hues[0]) > 20; x++, end = x)
        if (kh_count_in_column(&page, x, 0x333333) > most) {
            most = kh_count_in_column(&page, x, 0x333333);
            middle = x;
        }
    assert_near((double)middle, (double)(bar + end) / 2, 2);
    rows_of(&page, middle, 0x333333, &top, &bottom);
    assert_near((double)(bottom - top), 20 * unit, 3);
    assert_near((double)(axis - bottom), 10 * unit, 2);
    for (size_t x = end + 10; x < page.width; x++) /* no whisker without an end */
        assert_true(kh_count_in_column(&page, x, 0x333333) < most / 2);
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

static void stacked_bars_add_up(void **state) {
    (void)state;
    const double values[] = {10, 20, 30, 5};
    kh_figure_bars bars = {
        .values = values, .series = 2, .groups = 2, .is_stacked = true, .height = 400};
    kh_figure *figure = new_page();
    kh_error err;
    size_t first[4], second[4];
    kh_assert_ok(kh_figure_add_bars(figure, &bars, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    assert_int_equal(bar_heights(&page, kh_hues[0], first, 4), 2);
    assert_int_equal(bar_heights(&page, kh_hues[1], second, 4), 2);
    assert_near((double)first[1] / (double)first[0], 2, 0.05);
    assert_near((double)second[0] / (double)first[0], 3, 0.05);
    assert_near((double)second[1] / (double)first[0], 0.5, 0.05);
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

static void lines_break_where_a_value_is_missing(void **state) {
    (void)state;
    double y[101];
    for (size_t i = 0; i < 101; i++)
        y[i] = i >= 40 && i <= 60 ? (double)NAN : 1;
    const kh_figure_line line = {.y = y, .count = 101};
    const kh_figure_lines lines = {.lines = &line, .line_count = 1};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_lines(figure, &lines, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    size_t inked = 0, gaps = 0, first = 0, last = 0;
    for (size_t x = 0; x < page.width; x++)
        if (kh_count_in_column(&page, x, kh_hues[0]) > 0) {
            if (!inked) first = x;
            if (inked && x > last + 1) gaps++;
            last = x;
            inked++;
        }
    assert_int_equal(gaps, 1);
    assert_near((double)inked / (double)(last - first), 0.78, 0.02); /* 39 + 39 of 100 */
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

/* A hue at 0.4 over white? */
static bool is_pale(uint32_t rgb, uint32_t hue) {
    for (int shift = 0; shift < 24; shift += 8) {
        const double want = 255 - 0.4 * (255 - (double)(hue >> shift & 255));
        if (fabs((double)(rgb >> shift & 255) - want) > 2) return false;
    }
    return true;
}

static void dots_of_a_strip_have_no_line(void **state) {
    (void)state;
    const double x[] = {0, 1, 1.5, 3}, y[] = {0.45, 0.45, (double)NAN, 0.45};
    const kh_figure_line strip = {.x = x, .y = y, .count = 4, .kind = KH_LINE_DOTS};
    const kh_figure_lines lines = {.y = {.high = 1}, .lines = &strip, .line_count = 1};
    kh_figure *figure = new_page();
    kh_error err;
    size_t dots = 0, first[4] = {0};
    bool was_dot = false;
    kh_assert_ok(kh_figure_add_lines(figure, &lines, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    for (size_t column = 0; column < page.width; column++) {
        bool has_dot = false;
        for (size_t row = 0; row < page.height; row++) {
            has_dot |= is_pale(kh_pixel(&page, column, row), kh_hues[0]);
            assert_true(kh_pixel(&page, column, row) != kh_hues[0]);
        }
        if (has_dot && !was_dot && dots < 4) first[dots++] = column;
        was_dot = has_dot;
    }
    assert_int_equal(dots, 3);
    assert_near((double)(first[2] - first[1]) / (double)(first[1] - first[0]), 2, 0.02);
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

static void histograms_show_shares(void **state) {
    (void)state;
    const uint64_t counts[] = {100, 300, 0, 200};
    const kh_figure_histogram histogram = {
        .counts = counts, .bins = 4, .low = 0, .high = 4, .is_share = true, .height = 400};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_histogram(figure, &histogram, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    uint32_t fill = 0; /* the translucent blue: the most common colour after white and text */
    for (size_t x = page.width / 2 - 150; x < page.width / 2 && !fill; x++)
        for (size_t y = page.height / 2; y < page.height && !fill; y++)
            if (kh_count_in_column(&page, x, kh_pixel(&page, x, y)) > 60 &&
                kh_pixel(&page, x, y) != 0xffffff)
                fill = kh_pixel(&page, x, y);
    assert_true(fill != 0);
    size_t tallest = 0, lowest = SIZE_MAX, empty = 0;
    for (size_t x = 60; x < page.width - 60; x++) {
        const size_t h = kh_count_in_column(&page, x, fill);
        if (h > tallest) tallest = h;
        if (h > 20 && h < lowest) lowest = h;
        empty += h == 0;
    }
    assert_near((double)tallest / (double)lowest, 3, 0.2);
    assert_true(empty > 100); /* the empty bin */
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

static void matrix_cells_wear_their_colour(void **state) {
    (void)state;
    const float values[] = {0, 0.5f, 1, NAN};
    uint8_t t[256][3];
    for (size_t i = 0; i < 256; i++) {
        t[i][0] = (uint8_t)i;
        t[i][1] = 17;
        t[i][2] = 99;
    }
    const kh_figure_matrix matrix = {.values = values,
                                     .rows = 1,
                                     .columns = 4,
                                     .scale = {.table = (const uint8_t(*)[3])t},
                                     .cell_width = 60,
                                     .cell_height = 60};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_matrix(figure, &matrix, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    assert_in_range(kh_count(&page, 0x001163), 59 * 59, 59 * 59 + 40); /* plus the colour bar's */
    assert_in_range(kh_count(&page, 0x801163), 59 * 59, 59 * 59 + 40);
    assert_in_range(kh_count(&page, 0xff1163), 59 * 59, 59 * 59 + 40);
    assert_true(kh_count(&page, 0xf4f4f4) > 500); /* the hatched cell's ground */
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

static void stems_name_the_largest(void **state) {
    (void)state;
    double values[500] = {0};
    values[123] = 5;
    values[321] = 2.5;
    const kh_figure_stems stems = {.values = values, .count = 500, .labelled = 2, .width = 700};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_stems(figure, &stems, &err));
    kh_pixels page = kh_page_pixels(figure, 4);
    size_t tall = 0, column = 0;
    for (size_t x = 0; x < page.width; x++) {
        const size_t h = kh_count_in_column(&page, x, kh_hues[0]);
        if (h > tall) {
            tall = h;
            column = x;
        }
    }
    size_t other = 0;
    for (size_t x = column + 200; x < page.width; x++)
        if (kh_count_in_column(&page, x, kh_hues[0]) > other)
            other = kh_count_in_column(&page, x, kh_hues[0]);
    assert_near((double)tall / (double)other, 2, 0.06);
    assert_true(kh_count(&page, kh_hues[1]) > 100); /* two dots */
    kh_pixels_clear(&page);
    kh_figure_free(figure);
}

/* Ink of the names of the `labelled` largest values; the axes' own is taken off. */
static size_t ink_of_names(const double *values, size_t count, size_t labelled) {
    size_t ink[2];
    for (size_t i = 0; i < 2; i++) {
        const kh_figure_stems stems = {.y = {.low = 0, .high = 10},
                                       .values = values,
                                       .count = count,
                                       .labelled = i ? labelled : 0,
                                       .width = 700,
                                       .height = 180};
        kh_figure *figure = new_page();
        kh_error err;
        kh_assert_ok(kh_figure_add_stems(figure, &stems, &err));
        kh_pixels page = kh_page_pixels(figure, 2);
        ink[i] = kh_count(&page, kh_style_small.rgb);
        kh_pixels_clear(&page);
        kh_figure_free(figure);
    }
    assert_true(ink[1] > ink[0]);
    return ink[1] - ink[0];
}

/* Five stems closer to each other than their names are wide: none is left out or lies on a dot. */
static void neighbours_are_all_named(void **state) {
    (void)state;
    enum { COUNT = 500, FIRST = 222, STEP = 5, NAMED = 5 };
    double together[COUNT] = {0};
    size_t alone = 0;
    for (size_t i = 0; i < NAMED; i++) {
        double one[COUNT] = {0};
        together[FIRST + STEP * i] = one[FIRST + STEP * i] = 5 - 0.2 * (double)(i % 2);
        alone += ink_of_names(one, COUNT, 1);
    }
    const size_t ink = ink_of_names(together, COUNT, NAMED);
    assert_true((double)ink > 0.9 * (double)alone && (double)ink < 1.1 * (double)alone);
}

/* A dot of the first cloud: its colour, three quarters opaque on white. */
static bool is_dot(uint32_t rgb) {
    for (unsigned shift = 0; shift < 24; shift += 8) {
        const double hue = (double)(kh_hues[0] >> shift & 255), got = (double)(rgb >> shift & 255);
        if (!(fabs(got - (0.75 * hue + 0.25 * 255)) <= 2)) return false;
    }
    return true;
}

static void dots_stand_where_their_numbers_say(void **state) {
    (void)state;
    const double x[] = {1, 2, 3, (double)NAN}, y[] = {1.5, 1.5, 4.5, 2}; /* off the grid lines */
    const kh_figure_cloud cloud = {.x = x, .y = y, .count = 4};
    const kh_figure_scatter scatter = {.x = {.low = 0, .high = 4},
                                       .y = {.low = 0, .high = 5},
                                       .clouds = &cloud,
                                       .cloud_count = 1,
                                       .radius = 6};
    kh_figure *figure = new_page();
    kh_error err;
    kh_assert_ok(kh_figure_add_scatter(figure, &scatter, &err));
    kh_pixels page = kh_page_pixels(figure, 1);
    double across[3] = {0}, down[3] = {0}, pixels[3] = {0};
    size_t dots = 0;
    bool was_dot = false;
    for (size_t column = 0; column < page.width; column++) {
        bool has_dot = false;
        for (size_t row = 0; row < page.height; row++) {
            if (!is_dot(kh_pixel(&page, column, row))) continue;
            if (!has_dot && !was_dot) dots++;
            has_dot = true;
            assert_true(dots <= 3); /* the one without x is left out */
            across[dots - 1] += (double)column;
            down[dots - 1] += (double)row;
            pixels[dots - 1]++;
        }
        was_dot = has_dot;
    }
    assert_int_equal(dots, 3);
    for (size_t i = 0; i < 3; i++) {
        across[i] /= pixels[i];
        down[i] /= pixels[i];
        assert_true(pixels[i] > 70 && pixels[i] < 114); /* 36 pi, without the rim */
    }
    assert_near(across[2] - across[1], across[1] - across[0], 0.02);
    assert_near(down[0], down[1], 0.02);
    assert_true(down[2] < down[0] - 50);
    kh_pixels_clear(&page);
    kh_figure_free(figure);
    figure = new_page();
    const kh_figure_scatter empty = {.title = "nothing"};
    kh_assert_fails(kh_figure_add_scatter(figure, &empty, &err), KH_E_ARG, "no clouds");
    kh_figure_free(figure);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unscaled_pictures_keep_every_pixel),
        cmocka_unit_test(small_maps_grow_in_whole_squares),
        cmocka_unit_test(large_pictures_are_averaged_down),
        cmocka_unit_test(colour_tables_rise_evenly),
        cmocka_unit_test(colour_bars_end_in_their_end_colours),
        cmocka_unit_test(bars_stand_on_the_axis_and_reach_their_tick),
        cmocka_unit_test(bars_are_as_tall_as_their_values),
        cmocka_unit_test(whiskers_run_from_low_to_high),
        cmocka_unit_test(stacked_bars_add_up),
        cmocka_unit_test(lines_break_where_a_value_is_missing),
        cmocka_unit_test(dots_of_a_strip_have_no_line),
        cmocka_unit_test(histograms_show_shares),
        cmocka_unit_test(matrix_cells_wear_their_colour),
        cmocka_unit_test(stems_name_the_largest),
        cmocka_unit_test(neighbours_are_all_named),
        cmocka_unit_test(dots_stand_where_their_numbers_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
