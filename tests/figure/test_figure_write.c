/* Files: whole or not at all, well-formed, the same every time; and everything that can go wrong.
 */
#include "figure/page_pixels.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/status.h"
#include "figure/scene.h"

#include <unistd.h>

#define SIDE 16

/* A page with one of everything; small. Returns the first failure. */
static kh_status fill_page(kh_figure *figure, kh_error *err) {
    static const double values[] = {1, 4, 2, (double)NAN, 3, 5};
    static const float cells[] = {1, 2, 3, NAN, 5, 6};
    static const uint64_t counts[] = {3, 9, 0, 2};
    static const char *const names[] = {"one", "two & <three>", NULL};
    static uint8_t rgb[SIDE * SIDE * 3];
    kh_scene_picture(rgb, SIDE, 2);
    const kh_figure_scale scale = {.low = 0, .high = 3, .label = "a", .unit = "logits"};
    const kh_figure_panel panels[2] = {
        {rgb, SIDE, SIDE, "caption <&\"> \xff", KH_FRAME_BAD, &scale},
        {rgb, SIDE, SIDE, NULL, KH_FRAME_GOOD, NULL}};
    const kh_figure_grid grid = {.panels = panels,
                                 .rows = 1,
                                 .columns = 2,
                                 .row_labels = names,
                                 .column_titles = names,
                                 .cell_width = 40,
                                 .cell_height = 40,
                                 .scales = &scale,
                                 .scale_count = 1};
    const kh_figure_bars bars = {.title = "bars",
                                 .values = values,
                                 .series = 2,
                                 .groups = 3,
                                 .series_names = names,
                                 .show_values = true,
                                 .band_low = values,
                                 .band_high = values,
                                 .band_name = "chance"};
    const kh_figure_line line = {
        .name = "line", .y = values, .low = values, .high = values, .band_name = "b", .count = 6};
    const kh_figure_lines lines = {.lines = &line, .line_count = 1, .is_x_integer = true};
    const kh_figure_stems stems = {.values = values, .count = 6, .labelled = 3};
    const kh_figure_histogram histogram = {.counts = counts,
                                           .bins = 4,
                                           .high = 1,
                                           .markers = values,
                                           .marker_names = names,
                                           .marker_count = 1};
    const kh_figure_matrix matrix = {
        .values = cells, .rows = 2, .columns = 3, .column_names = names, .show_numbers = true};
    KH_TRY(kh_figure_add_note(figure, "a note", err));
    KH_TRY(kh_figure_add_grid(figure, &grid, err));
    KH_TRY(kh_figure_add_scale(figure, &scale, err));
    KH_TRY(kh_figure_add_bars(figure, &bars, err));
    KH_TRY(kh_figure_add_lines(figure, &lines, err));
    KH_TRY(kh_figure_add_stems(figure, &stems, err));
    KH_TRY(kh_figure_add_histogram(figure, &histogram, err));
    return kh_figure_add_matrix(figure, &matrix, err);
}

static kh_figure *full_page(void) {
    const kh_figure_options options = {
        .title = "Title <&>", .subtitle = "sub ♥ 金", .footnote = "model \"x\"; sha 0\x01"};
    kh_figure *figure;
    kh_error err;
    kh_assert_ok(kh_figure_create(&options, &figure, &err));
    kh_assert_ok(fill_page(figure, &err));
    return figure;
}

static void the_same_page_gives_the_same_bytes(void **state) {
    (void)state;
    for (kh_figure_format format = KH_FIGURE_PNG; format <= KH_FIGURE_PDF; format++) {
        uint8_t *first, *again, *other;
        size_t first_count, again_count, other_count;
        kh_error err;
        kh_figure *a = full_page(), *b = full_page();
        kh_assert_ok(kh_figure_render(a, format, 1, &first, &first_count, &err));
        kh_assert_ok(kh_figure_render(a, format, 1, &again, &again_count, &err));
        kh_assert_ok(kh_figure_render(b, format, 1, &other, &other_count, &err));
        assert_int_equal(first_count, again_count);
        assert_int_equal(first_count, other_count);
        assert_memory_equal(first, again, first_count);
        assert_memory_equal(first, other, first_count);
        free(first);
        free(again);
        free(other);
        kh_figure_free(a);
        kh_figure_free(b);
    }
}

/* A strict little XML reader: tags nest, attributes are quoted, '&' begins an entity, ids are
 * unique and every reference has its id. Returns the number of elements, 0 when malformed. */
static size_t count_elements(const char *xml) {
    char stack[64][32];
    size_t depth = 0, elements = 0;
    for (const char *p = xml; *p; p++) {
        if (*p == '&' && strncmp(p, "&amp;", 5) && strncmp(p, "&lt;", 4) && strncmp(p, "&gt;", 4))
            return 0;
        if (*p == '>') return 0;
        if (*p != '<') continue;
        if (p[1] == '?') {
            p = strstr(p, "?>");
            if (!p++) return 0;
            continue;
        }
        const bool is_end = p[1] == '/';
        const char *name = p + 1 + is_end;
        const size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
        if (length == 0 || length >= 32) return 0;
        bool is_quoted = false;
        const char *q = name + length;
        for (; *q && (is_quoted || *q != '>'); q++) {
            if (*q == '"') is_quoted = !is_quoted;
            if (*q == '<') return 0;
        }
        if (!*q) return 0;
        if (is_end) {
            if (depth == 0) return 0;
            depth--;
            if (strlen(stack[depth]) != length || memcmp(stack[depth], name, length)) return 0;
        } else if (q[-1] != '/') {
            if (depth == 64) return 0;
            memcpy(stack[depth], name, length);
            stack[depth++][length] = '\0';
        }
        elements += !is_end;
        p = q;
    }
    return depth == 0 ? elements : 0;
}

static void svg_is_well_formed(void **state) {
    (void)state;
    uint8_t *bytes;
    size_t count;
    kh_error err;
    kh_figure *figure = full_page();
    kh_assert_ok(kh_figure_render(figure, KH_FIGURE_SVG, 2, &bytes, &count, &err));
    const char *svg = (const char *)bytes;
    assert_int_equal(strlen(svg), count);
    assert_true(count_elements(svg) > 100);
    assert_int_equal(count_elements("<a><b></a></b>"), 0); /* the reader itself can say no */
    assert_int_equal(count_elements("<a>&</a>"), 0);
    assert_int_equal(count_elements("<a/><b>"), 0);
    size_t width, height, references = 0;
    char size[64], id[64];
    kh_assert_ok(kh_figure_size(figure, &width, &height, &err));
    (void)snprintf(size, sizeof size, "width=\"%zupx\" height=\"%zupx\"", 2 * width, 2 * height);
    assert_non_null(strstr(svg, size));
    for (const char *p = strstr(svg, "\"#"); p; p = strstr(p + 1, "\"#")) {
        (void)snprintf(id, sizeof id, " id=\"%.*s\"", (int)strcspn(p + 2, "\""), p + 2);
        const char *found = strstr(svg, id);
        assert_non_null(found);
        assert_null(strstr(found + 1, id));
        references++;
    }
    assert_true(references > 50);
    assert_non_null(strstr(svg, "id=\"k0\""));
    free(bytes);
    kh_figure_free(figure);
}

static void pdf_carries_no_clock(void **state) {
    (void)state;
    uint8_t *bytes;
    size_t count;
    kh_error err;
    kh_figure *figure = full_page();
    kh_assert_ok(kh_figure_render(figure, KH_FIGURE_PDF, 1, &bytes, &count, &err));
    assert_memory_equal(bytes, "%PDF-", 5);
    bool has_date = false;
    for (size_t i = 0; i + 25 < count; i++)
        has_date = has_date || memcmp(bytes + i, "/CreationDate (1970010100", 25) == 0;
    assert_true(has_date);
    free(bytes);
    kh_figure_free(figure);
}

static void files_appear_whole(void **state) {
    (void)state;
    static const char *const names[] = {"a.png", "b.SVG", "c.pdf", "a.b.PnG"};
    static const char *const starts[] = {"\x89PNG", "<?xm", "%PDF", "\x89PNG"};
    const char *folder = kh_test_folder("figure");
    kh_figure *figure = full_page();
    kh_error err;
    for (size_t i = 0; i < 4; i++) {
        char *path = kh_path_join(folder, names[i]);
        unsigned char *bytes;
        size_t count;
        kh_assert_ok(kh_figure_write(figure, path, 1, &err));
        kh_assert_ok(kh_file_read(path, 1 << 24, &bytes, &count, &err));
        assert_memory_equal(bytes, starts[i], 4);
        kh_free(bytes);
        kh_free(path);
    }
    kh_figure_free(figure);
}

static void places_that_cannot_be_written_are_named(void **state) {
    (void)state;
    kh_figure *figure = full_page();
    kh_error err;
    const char *folder = kh_test_folder("figure");
    char *inside = kh_path_join(folder, "no/such/folder/a.png");
    char *is_folder = kh_path_join(folder, "folder.png");
    kh_assert_ok(kh_make_directories(is_folder, &err));
    kh_assert_fails(kh_figure_write(figure, "/dev/full", 1, &err), KH_E_IO, "No space left");
    kh_assert_fails(kh_figure_write(figure, inside, 1, &err), KH_E_NOT_FOUND, "no/such/folder");
    kh_assert_fails(kh_figure_write(figure, is_folder, 1, &err), KH_E_IO, "folder.png");
    kh_assert_fails(kh_figure_write(figure, "figure.jpg", 1, &err), KH_E_ARG, ".png, .svg or .pdf");
    kh_assert_fails(kh_figure_write(figure, "a\x1b[31m", 1, &err), KH_E_ARG, "\\x1b");
    kh_assert_fails(kh_figure_write(figure, "png", 1, &err), KH_E_ARG, "must end in");
    kh_assert_fails(kh_figure_write(figure, "x.png", -1, &err), KH_E_ARG, "scale");
    kh_assert_fails(kh_figure_write(figure, "x.png", 17, &err), KH_E_ARG, "scale");
    kh_assert_fails(kh_figure_write(figure, "x.png", (double)NAN, &err), KH_E_ARG, "scale");
    assert_false(kh_file_exists("x.png"));
    kh_free(inside);
    kh_free(is_folder);
    kh_figure_free(figure);
}

static void pages_grow_until_they_are_refused(void **state) {
    (void)state;
    static uint8_t rgb[SIDE * SIDE * 3];
    kh_figure_panel *panels = kh_calloc(2000, sizeof *panels);
    assert_non_null(panels);
    for (size_t i = 0; i < 2000; i++) {
        const kh_figure_panel p = {rgb, SIDE, SIDE, "a caption", KH_FRAME_THIN, NULL};
        panels[i] = p;
    }
    kh_error err;
    size_t width, height;
    kh_figure *figure;
    kh_figure_grid grid = {
        .panels = panels, .rows = 40, .columns = 5, .cell_width = 100, .cell_height = 100};
    kh_assert_ok(kh_figure_create(NULL, &figure, &err));
    kh_assert_ok(kh_figure_add_grid(figure, &grid, &err)); /* 200 panels */
    kh_assert_ok(kh_figure_size(figure, &width, &height, &err));
    assert_int_equal(width, 2 * 24 + 5 * 100 + 4 * 14);
    assert_int_equal(height, 2 * 24 + 40 * (100 + 5 + 16) + 39 * 14);
    kh_pixels page = kh_page_pixels(figure, 1);
    assert_int_equal(page.height, height);
    kh_pixels_clear(&page);
    kh_assert_fails(kh_figure_write(figure, "x.png", 8, &err), KH_E_LIMIT, "smaller scale");
    kh_figure_free(figure);
    grid.rows = 1;
    grid.columns = 2000;
    kh_assert_ok(kh_figure_create(NULL, &figure, &err));
    kh_assert_ok(kh_figure_add_grid(figure, &grid, &err));
    kh_assert_fails(kh_figure_write(figure, "x.png", 1, &err), KH_E_LIMIT, "use fewer columns");
    kh_assert_fails(kh_figure_write(figure, "x.svg", 1, &err), KH_E_LIMIT, "32767");
    kh_figure_free(figure);
    grid.rows = 2000;
    grid.columns = 1;
    kh_assert_ok(kh_figure_create(NULL, &figure, &err));
    kh_assert_ok(kh_figure_add_grid(figure, &grid, &err));
    kh_assert_fails(kh_figure_write(figure, "x.png", 1, &err), KH_E_LIMIT, "use fewer rows");
    kh_figure_free(figure);
    kh_free(panels);
}

static void impossible_elements_are_refused(void **state) {
    (void)state;
    kh_error err;
    kh_figure *figure;
    const double value = 1;
    const float cell = 1;
    const uint64_t count = 1;
    const kh_figure_options wild = {.min_width = (double)NAN};
    kh_assert_fails(kh_figure_create(&wild, &figure, &err), KH_E_ARG, "min_width");
    assert_null(figure);
    kh_assert_ok(kh_figure_create(NULL, &figure, &err));
    const kh_figure_grid no_panels = {.rows = 0, .columns = 3};
    const uint8_t pixel[3] = {0};
    const kh_figure_panel flat = {.rgb = pixel, .width = 1, .height = 0};
    const kh_figure_panel odd = {.frame = (kh_figure_frame)77};
    const kh_figure_grid flat_grid = {.panels = &flat, .rows = 1, .columns = 1};
    const kh_figure_grid odd_grid = {.panels = &odd, .rows = 1, .columns = 1};
    const kh_figure_grid wrap = {.panels = &flat, .rows = SIZE_MAX, .columns = 2};
    const kh_figure_bars no_bars = {.values = &value};
    const kh_figure_bars bad_axis = {.values = &value, .groups = 1, .y = {.low = 2, .high = 1}};
    const kh_figure_bars bad_log = {
        .values = &value, .groups = 1, .y = {.is_log = true, .low = 0, .high = 1}};
    const kh_figure_histogram no_range = {.counts = &count, .bins = 1, .low = 1, .high = 1};
    const kh_figure_matrix too_many = {.values = &cell, .rows = SIZE_MAX / 2, .columns = 3};
    const kh_figure_stems no_stems = {.values = NULL, .count = 3};
    kh_assert_fails(kh_figure_add_grid(figure, &no_panels, &err), KH_E_ARG, "panel");
    kh_assert_fails(kh_figure_add_grid(figure, &flat_grid, &err), KH_E_SHAPE, "1 x 0");
    kh_assert_fails(kh_figure_add_grid(figure, &odd_grid, &err), KH_E_ARG, "frame");
    kh_assert_fails(kh_figure_add_grid(figure, &wrap, &err), KH_E_LIMIT, "too many");
    kh_assert_fails(kh_figure_add_bars(figure, &no_bars, &err), KH_E_ARG, "no groups");
    kh_assert_fails(kh_figure_add_bars(figure, &bad_axis, &err), KH_E_ARG, "from 2 to 1");
    kh_assert_fails(kh_figure_add_bars(figure, &bad_log, &err), KH_E_ARG, "begin at 0");
    kh_assert_fails(kh_figure_add_histogram(figure, &no_range, &err), KH_E_ARG, "from 1 to 1");
    kh_assert_fails(kh_figure_add_matrix(figure, &too_many, &err), KH_E_LIMIT, "too many");
    kh_assert_fails(kh_figure_add_stems(figure, &no_stems, &err), KH_E_ARG, "no values");
    kh_assert_fails(kh_figure_add_note(figure, NULL, &err), KH_E_ARG, "note");
    kh_figure_free(figure);
    kh_figure_free(NULL);
}

/* Values that break careless axes: all equal, all missing, tiny, huge, empty, on log axes too. */
static void strange_values_still_give_a_picture(void **state) {
    (void)state;
    static const double sets[][4] = {
        {0, 0, 0, 0},
        {7, 7, 7, 7},
        {1e300, -1e300, 1e-300, 0},
        {(double)NAN, (double)NAN, (double)INFINITY, -(double)INFINITY},
        {-3, -2, -1, -4},
        {1e-12, 2e-12, 3e-12, 1e-12},
        {1e15, 1e15 + 1, 1e15 + 2, 1e15}};
    kh_error err;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        for (int is_log = 0; is_log < 2; is_log++) {
            kh_figure *figure;
            float cells[4];
            for (size_t k = 0; k < 4; k++)
                cells[k] = (float)sets[i][k];
            const kh_figure_axis axis = {.is_log = is_log != 0};
            const kh_figure_bars bars = {
                .values = sets[i], .groups = 4, .y = axis, .show_values = true};
            const kh_figure_line line = {.x = sets[i], .y = sets[i], .count = 4};
            const kh_figure_line empty = {.name = "empty", .count = 0};
            const kh_figure_line both[2] = {line, empty};
            const kh_figure_lines lines = {.lines = both, .line_count = 2, .x = axis, .y = axis};
            const kh_figure_lines none = {.line_count = 0};
            const kh_figure_stems stems = {.values = sets[i], .count = 4, .y = axis, .labelled = 9};
            const kh_figure_matrix matrix = {
                .values = cells, .rows = 2, .columns = 2, .show_numbers = true};
            const kh_figure_scale scale = {.low = sets[i][0], .high = sets[i][1], .label = "s"};
            kh_assert_ok(kh_figure_create(NULL, &figure, &err));
            kh_assert_ok(kh_figure_add_bars(figure, &bars, &err));
            kh_assert_ok(kh_figure_add_lines(figure, &lines, &err));
            kh_assert_ok(kh_figure_add_lines(figure, &none, &err));
            kh_assert_ok(kh_figure_add_stems(figure, &stems, &err));
            kh_assert_ok(kh_figure_add_matrix(figure, &matrix, &err));
            kh_assert_ok(kh_figure_add_scale(figure, &scale, &err));
            kh_pixels page = kh_page_pixels(figure, 1);
            assert_true(kh_count(&page, 0x555555) > 1000); /* axes are there */
            kh_pixels_clear(&page);
            kh_figure_free(figure);
        }
}

static kh_status look_once(kh_error *err) {
    static uint8_t rgb[SIDE * SIDE * 3];
    const kh_figure_look_map maps[2] = {{rgb, "b1n2", 3, 4, 0, 4, "tench", true},
                                        {NULL, NULL, 0, 0, 0, 0, NULL, false}};
    const kh_figure_look_row row = {rgb, "tench", "x.jpg", KH_FRAME_GOOD, maps};
    const kh_figure_look look = {
        .rows = &row, .row_count = 1, .ranks = 2, .width = SIDE, .height = SIDE, .cell = 60};
    kh_figure *figure;
    uint8_t *bytes;
    size_t count;
    KH_TRY(kh_figure_look_grid(&look, &figure, err));
    kh_status status = fill_page(figure, err);
    if (!status) status = kh_figure_render(figure, KH_FIGURE_SVG, 1, &bytes, &count, err);
    if (!status) kh_free(bytes);
    kh_figure_free(figure);
    return status;
}

static kh_status others_once(kh_error *err) {
    static const uint64_t counts[] = {1, 2, 3, 4};
    static const double means[] = {2, 1};
    static uint8_t rgb[SIDE * SIDE * 3];
    const kh_figure_blocks_histogram fig3 = {.counts = counts, .ranks = 2, .blocks = 2};
    const kh_figure_rank_scores ranks = {.ranks = 2, .mean = means, .one = means};
    const kh_figure_align_counts align = {
        .counts = counts, .null_counts = counts, .blocks = 2, .bins = 2, .high = 1};
    const kh_figure_block_row row = {.heat = rgb, .mask = rgb, .running_heat = rgb};
    const kh_figure_blocks blocks = {
        .rgb = rgb, .width = SIDE, .height = SIDE, .rows = &row, .row_count = 1};
    kh_figure *figure;
    KH_TRY(kh_figure_fig3(&fig3, &figure, err));
    kh_figure_free(figure);
    KH_TRY(kh_figure_rank_curve(&ranks, &figure, err));
    kh_figure_free(figure);
    KH_TRY(kh_figure_align_hist(&align, &figure, err));
    kh_figure_free(figure);
    KH_TRY(kh_figure_blocks_table(&blocks, &figure, err));
    kh_figure_free(figure);
    return KH_OK;
}

/* Below zero only the caption tells, and it tells no number; above, it does. */
static void a_neuron_that_is_nowhere_positive_does_not_fire(void **state) {
    (void)state;
    static const double peaks[4] = {-0.01, -0.1, 0.5, 0.6};
    static uint8_t rgb[SIDE * SIDE * 3];
    uint8_t *pages[4];
    size_t counts[4];
    kh_error err;
    for (size_t i = 0; i < 4; i++) {
        const kh_figure_look_map map = {rgb, "b1n2", 3, peaks[i], 0, 1, "tench", true};
        const kh_figure_look_row row = {rgb, "tench", "x.jpg", KH_FRAME_GOOD, &map};
        const kh_figure_look look = {
            .rows = &row, .row_count = 1, .ranks = 1, .width = SIDE, .height = SIDE, .cell = 240};
        kh_figure *figure;
        kh_assert_ok(kh_figure_look_grid(&look, &figure, &err));
        kh_assert_ok(kh_figure_render(figure, KH_FIGURE_PNG, 1, &pages[i], &counts[i], &err));
        kh_figure_free(figure);
    }
    assert_int_equal(counts[0], counts[1]);
    assert_memory_equal(pages[0], pages[1], counts[0]);
    assert_true(counts[2] != counts[3] || memcmp(pages[2], pages[3], counts[2]) != 0);
    for (size_t i = 0; i < 4; i++)
        kh_free(pages[i]);
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    kh_status (*const tries[])(kh_error *) = {look_once, others_once};
    for (size_t t = 0; t < 2; t++) {
        kh_error err;
        kh_alloc_fail_after(0);
        kh_assert_ok(tries[t](&err));
        const size_t needed = kh_alloc_count();
        assert_true(needed > 30);
        for (size_t n = 1; n <= needed; n++) {
            kh_alloc_fail_after(n);
            const kh_status status = tries[t](&err);
            kh_alloc_fail_after(0);
            kh_assert_fails(status, KH_E_MEMORY, "memory");
        }
    }
}

static void whole_figures_check_their_arrays(void **state) {
    (void)state;
    kh_error err;
    kh_figure *figure;
    const uint8_t pixel[3] = {0};
    const kh_figure_look no_rows = {.width = 1, .height = 1};
    const kh_figure_look_row row = {.rgb = pixel};
    const kh_figure_look no_maps = {
        .rows = &row, .row_count = 1, .ranks = 1, .width = 1, .height = 1};
    const kh_figure_blocks no_blocks = {.width = 1, .height = 1};
    const kh_figure_blocks_histogram no_counts = {.ranks = 1, .blocks = 12};
    const kh_figure_rank_scores no_mean = {.ranks = 3};
    const kh_figure_align_counts no_bins = {.blocks = 1};
    kh_assert_fails(kh_figure_look_grid(&no_rows, &figure, &err), KH_E_ARG, "no pictures");
    kh_assert_fails(kh_figure_look_grid(&no_maps, &figure, &err), KH_E_ARG, "no maps");
    kh_assert_fails(kh_figure_blocks_table(&no_blocks, &figure, &err), KH_E_ARG, "no blocks");
    kh_assert_fails(kh_figure_fig3(&no_counts, &figure, &err), KH_E_ARG, "no blocks");
    kh_assert_fails(kh_figure_rank_curve(&no_mean, &figure, &err), KH_E_ARG, "no ranks");
    kh_assert_fails(kh_figure_align_hist(&no_bins, &figure, &err), KH_E_ARG, "no bins");
    assert_null(figure);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_page_gives_the_same_bytes),
        cmocka_unit_test(svg_is_well_formed),
        cmocka_unit_test(pdf_carries_no_clock),
        cmocka_unit_test(files_appear_whole),
        cmocka_unit_test(places_that_cannot_be_written_are_named),
        cmocka_unit_test(pages_grow_until_they_are_refused),
        cmocka_unit_test(impossible_elements_are_refused),
        cmocka_unit_test(strange_values_still_give_a_picture),
        cmocka_unit_test(a_neuron_that_is_nowhere_positive_does_not_fire),
        cmocka_unit_test(every_failed_allocation_is_reported),
        cmocka_unit_test(whole_figures_check_their_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
