/* Writes one sample of every kind of figure into ./figure_samples, for people to look at; the test
 * is that each can be drawn and written as PNG, SVG and PDF. */
#include "support/kh_test.h"

#include "base/file.h"
#include "base/rng.h"
#include "figure/scene.h"

#define SIDE  224
#define BYTES ((size_t)SIDE * SIDE * 3)

static const char receipt[] =
    "vit_base_patch16_224.augreg_in21k_ft_in1k · weights sha256 "
    "1f0bd0c5b8f0a7c2 · preset squash224 (bilinear, mean 0.5, std 0.5) · mode ln · keyhole 0.1.0";

static void save(kh_figure *figure, const char *name) {
    static const char *const endings[] = {"png", "svg", "pdf"};
    kh_error err;
    kh_assert_ok(kh_make_directories("figure_samples", &err));
    for (size_t i = 0; i < 3; i++) {
        char path[256];
        (void)snprintf(path, sizeof path, "figure_samples/%s.%s", name, endings[i]);
        kh_assert_ok(kh_figure_write(figure, path, 1, &err));
    }
    kh_figure_free(figure);
}

static uint8_t *pictures(size_t count) {
    uint8_t *bytes = malloc(count * BYTES);
    assert_non_null(bytes);
    return bytes;
}

static void look_sample(bool is_shared, const char *name) {
    static const char *const labels[] = {"tench", "great white shark, white shark, man-eater",
                                         "indri, indris, Indri indri, Indri brevicaudatus"};
    static const char *const captions[] = {"n01440764_tench.JPEG\npredicted: tench, p 0.97",
                                           "shark.jpg\npredicted: hammerhead, p 0.55",
                                           "a_very_long_name_without_any_space_0001.jpeg"};
    enum { ROWS = 3, RANKS = 3 };
    uint8_t jet[256][3];
    kh_scene_jet(jet);
    uint8_t *bytes = pictures(ROWS * (RANKS + 1));
    kh_figure_look_map maps[ROWS][RANKS];
    kh_figure_look_row rows[ROWS];
    char neurons[ROWS][RANKS][24];
    for (unsigned r = 0; r < ROWS; r++) {
        uint8_t *own = bytes + r * (RANKS + 1) * BYTES;
        kh_scene_picture(own, SIDE, r);
        const kh_figure_look_row row = {own, labels[r], captions[r],
                                        r == 1 ? KH_FRAME_BAD : KH_FRAME_GOOD, maps[r]};
        rows[r] = row;
        for (unsigned k = 0; k < RANKS; k++) {
            uint8_t *map = own + (k + 1) * BYTES;
            kh_scene_overlay(map, SIDE, r, k, (const uint8_t(*)[3])jet);
            (void)snprintf(neurons[r][k], sizeof neurons[r][k], "b%un%u", 10 - k,
                           1198 + 311 * k * r);
            const kh_figure_look_map m = {map,
                                          neurons[r][k],
                                          9.15 - 1.7 * k,
                                          3.21 / (1 + k + r),
                                          0,
                                          3.21 / (1 + k + r),
                                          k == 2 ? "hammerhead, hammerhead shark" : labels[r],
                                          k != 2};
            maps[r][k] = m;
        }
    }
    const kh_figure_look look = {.head = {.footnote = receipt},
                                 .rows = rows,
                                 .row_count = ROWS,
                                 .ranks = RANKS,
                                 .width = SIDE,
                                 .height = SIDE,
                                 .table = (const uint8_t(*)[3])jet,
                                 .is_shared = is_shared};
    kh_figure *figure;
    kh_error err;
    kh_assert_ok(kh_figure_look_grid(&look, &figure, &err));
    save(figure, name);
    free(bytes);
}

static void look_with_own_scales(void **state) {
    (void)state;
    look_sample(false, "look");
}

static void look_with_one_scale(void **state) {
    (void)state;
    look_sample(true, "look_shared");
}

static void blocks_table(void **state) {
    (void)state;
    enum { BLOCKS = 12 };
    uint8_t jet[256][3];
    kh_scene_jet(jet);
    uint8_t *bytes = pictures(1 + BLOCKS * 2);
    kh_scene_picture(bytes, SIDE, 1);
    kh_figure_block_row rows[BLOCKS];
    char names[BLOCKS][24];
    for (unsigned b = 0; b < BLOCKS; b++) {
        uint8_t *heat = bytes + (1 + 2 * b) * BYTES, *mask = heat + BYTES;
        kh_scene_overlay(heat, SIDE, 1, (11 - b) / 3, (const uint8_t(*)[3])jet);
        kh_scene_picture(mask, SIDE, 1);
        for (size_t i = 0; i < BYTES; i++)
            if ((i / 3 % SIDE) / 16 * 7 % 5 || i / 3 / SIDE < 40) mask[i] = 0;
        (void)snprintf(names[b], sizeof names[b], "b%un%u", b, 101 * b + 7);
        const kh_figure_block_row row = {b,    names[b],      2.0 + 0.6 * b, 0.4 + 0.3 * b,
                                         heat, mask,          heat,          mask,
                                         0,    0.4 + 0.3 * b, -0.17,         0.2 + 0.15 * b};
        rows[b] = row;
    }
    const kh_figure_blocks blocks = {.head = {.footnote = receipt},
                                     .class_name = "tench, Tinca tinca",
                                     .image_name = "n01440764_tench.JPEG",
                                     .rgb = bytes,
                                     .width = SIDE,
                                     .height = SIDE,
                                     .rows = rows,
                                     .row_count = BLOCKS,
                                     .table = (const uint8_t(*)[3])jet};
    kh_figure *figure;
    kh_error err;
    kh_assert_ok(kh_figure_blocks_table(&blocks, &figure, &err));
    save(figure, "blocks");
    free(bytes);
}

static void figure_3(void **state) {
    (void)state;
    const uint64_t counts[3 * 12] = {0, 0, 1, 0, 2,  3,  8,  41, 77,  125, 684, 59,
                                     0, 1, 0, 2, 5,  9,  20, 80, 120, 210, 433, 120,
                                     1, 3, 4, 6, 11, 19, 36, 95, 140, 230, 305, 150};
    const double low[12] = {60, 60, 61, 59, 62, 63, 60, 61, 64, 60, 59, 60};
    const double high[12] = {101, 99, 100, 98, 104, 103, 102, 99, 101, 100, 98, 102};
    const kh_figure_blocks_histogram what = {.head = {.footnote = receipt},
                                             .counts = counts,
                                             .ranks = 3,
                                             .blocks = 12,
                                             .null_low = low,
                                             .null_high = high,
                                             .null_name = "95 % of 200 random heads",
                                             .mode = "ln"};
    kh_figure *figure;
    kh_error err;
    kh_assert_ok(kh_figure_fig3(&what, &figure, &err));
    save(figure, "fig3");
}

static void rank_curve(void **state) {
    (void)state;
    enum { RANKS = 20 };
    double mean[RANKS], low[RANKS], high[RANKS], null_low[RANKS], null_high[RANKS], one[RANKS];
    for (size_t i = 0; i < RANKS; i++) {
        mean[i] = 3.2 + 6 / (1 + 0.6 * (double)i);
        low[i] = mean[i] - 0.9;
        high[i] = mean[i] + 1.3 / (1 + 0.1 * (double)i);
        null_low[i] = 2.4 - 0.02 * (double)i;
        null_high[i] = 2.9 - 0.02 * (double)i;
        one[i] = i == 0 ? 14.3 : 3 + 4 / (double)(i + 1);
    }
    const kh_figure_rank_scores what = {.head = {.footnote = receipt},
                                        .ranks = RANKS,
                                        .classes = 1000,
                                        .mean = mean,
                                        .low = low,
                                        .high = high,
                                        .null_low = null_low,
                                        .null_high = null_high,
                                        .null_name = "best of 200 random heads",
                                        .one = one,
                                        .one_name = "tench",
                                        .mode = "ln"};
    kh_figure *figure;
    kh_error err;
    kh_assert_ok(kh_figure_rank_curve(&what, &figure, &err));
    save(figure, "rank_curve");
}

static double bell(kh_rng *rng) {
    double sum = 0;
    for (size_t i = 0; i < 12; i++)
        sum += kh_rng_unit(rng);
    return sum - 6;
}

static void alignment_histograms(void **state) {
    (void)state;
    enum { BLOCKS = 12, BINS = 60 };
    static uint64_t counts[BLOCKS * BINS], best[BLOCKS * BINS], null[BLOCKS * BINS];
    kh_rng rng = kh_rng_make(3, 0);
    for (size_t b = 0; b < BLOCKS; b++)
        for (size_t i = 0; i < 20000; i++) {
            const double wide = 0.8 + 0.12 * (double)b;
            const double s = bell(&rng) * wide, m = 2.2 * wide + fabs(bell(&rng)) * wide;
            const double n = bell(&rng) * 0.8;
            counts[b * BINS + (size_t)fmin(59, fmax(0, (s + 6) * 4))]++;
            if (i % 10 == 0) best[b * BINS + (size_t)fmin(59, fmax(0, (m + 6) * 4))]++;
            null[b * BINS + (size_t)fmin(59, fmax(0, (n + 6) * 4))]++;
        }
    const kh_figure_align_counts what = {.head = {.footnote = receipt},
                                         .counts = counts,
                                         .best_counts = best,
                                         .null_counts = null,
                                         .null_name = "random head rows",
                                         .blocks = BLOCKS,
                                         .bins = BINS,
                                         .low = -6,
                                         .high = 9,
                                         .mode = "ln",
                                         .is_log_y = true};
    kh_figure *figure;
    kh_error err;
    kh_assert_ok(kh_figure_align_hist(&what, &figure, &err));
    save(figure, "align_hist");
}

static void stems_by_block(void **state) {
    (void)state;
    static double values[3072];
    const kh_figure_options options = {
        .title = "Which key neurons fire for “tench”",
        .subtitle =
            "Mean memory coefficient over the image tokens of 50 pictures of the class; the "
            "five largest carry their neuron's number.",
        .footnote = receipt};
    kh_figure *figure;
    kh_error err;
    kh_assert_ok(kh_figure_create(&options, &figure, &err));
    kh_figure_columns(figure, 2);
    kh_rng rng = kh_rng_make(9, 0);
    for (size_t b = 8; b < 12; b++) {
        char title[32];
        for (size_t i = 0; i < 3072; i++)
            values[i] = fabs(bell(&rng)) * 0.02 - 0.01;
        for (size_t i = 0; i < 8; i++)
            values[(size_t)(kh_rng_unit(&rng) * 3072)] =
                0.2 + 0.1 * (double)(b - 8) * kh_rng_unit(&rng);
        values[100 + b] = 0.45;
        values[103 + b] = 0.44;
        (void)snprintf(title, sizeof title, "block %zu", b);
        const kh_figure_stems stems = {.title = title,
                                       .x = {.label = "neuron"},
                                       .y = {.label = "mean coefficient"},
                                       .values = values,
                                       .count = 3072,
                                       .labelled = 5,
                                       .width = 460,
                                       .height = 240};
        kh_assert_ok(kh_figure_add_stems(figure, &stems, &err));
    }
    save(figure, "stems");
}

static void everything_else(void **state) {
    (void)state;
    kh_figure *figure;
    kh_error err;
    const kh_figure_options options = {
        .title = "Charts and tables with gaps, long names and unusual numbers: 金閣寺 Αθήνα naïve",
        .subtitle = "A missing value is hatched or left out and counted.",
        .footnote = receipt};
    kh_assert_ok(kh_figure_create(&options, &figure, &err));
    const double stacked[] = {3, 5, 2, 8, (double)NAN, 4, 6, 1, 2, 2, 5, 3};
    const char *groups[] = {"background", "object", "part: wheel", "colour"};
    const char *series[] = {"rank 1", "rank 2", "rank 3"};
    const kh_figure_bars bars = {.title = "Stacked bars, ranks in shades",
                                 .y = {.label = "maps"},
                                 .x = {.label = "what the map covers"},
                                 .values = stacked,
                                 .series = 3,
                                 .groups = 4,
                                 .series_names = series,
                                 .group_names = groups,
                                 .is_stacked = true,
                                 .is_ordered = true,
                                 .width = 440,
                                 .height = 260};
    kh_figure_bars grouped = bars;
    grouped.title = "The same side by side";
    grouped.is_stacked = false;
    grouped.is_ordered = false;
    grouped.show_values = true;
    kh_figure_columns(figure, 2);
    kh_assert_ok(kh_figure_add_bars(figure, &bars, &err));
    kh_assert_ok(kh_figure_add_bars(figure, &grouped, &err));
    float matrix[5 * 7];
    for (size_t i = 0; i < 35; i++)
        matrix[i] = (float)(sin((double)i) * 2.4);
    matrix[9] = NAN;
    const char *columns[] = {
        "tench",       "goldfish",   "great white shark, white shark, man-eater",
        "tiger shark", "hammerhead", "electric ray",
        "stingray"};
    uint8_t diverging[256][3];
    kh_figure_colour_table(KH_COLOURS_DIVERGING, diverging);
    const kh_figure_matrix m = {.title = "Effect of removing each class's top neuron",
                                .x_label = "class that is measured",
                                .y_label = "neuron removed",
                                .values = matrix,
                                .rows = 5,
                                .columns = 7,
                                .column_names = columns,
                                .scale = {.table = (const uint8_t(*)[3])diverging,
                                          .low = -2.4,
                                          .high = 2.4,
                                          .label = "change of the logit",
                                          .unit = "logits"},
                                .show_numbers = true,
                                .decimals = 2};
    kh_assert_ok(kh_figure_add_matrix(figure, &m, &err));
    double x[40], y[40];
    for (size_t i = 0; i < 40; i++) {
        x[i] = pow(10, (double)i / 8);
        y[i] = i == 17 ? (double)NAN : 3e-3 * pow(x[i], -0.8) * (1.2 + sin((double)i));
    }
    const kh_figure_line line = {.name = "with a gap", .x = x, .y = y, .count = 40};
    const kh_figure_lines lines = {.title = "Log axes",
                                   .x = {.label = "rank", .is_log = true},
                                   .y = {.label = "share", .is_log = true},
                                   .lines = &line,
                                   .line_count = 1,
                                   .width = 440,
                                   .height = 300};
    kh_assert_ok(kh_figure_add_lines(figure, &lines, &err));
    kh_figure_columns(figure, 1);
    const kh_figure_scale scale = {
        .low = -1200, .high = 45000, .label = "the sequential colours", .unit = "any unit"};
    kh_assert_ok(kh_figure_add_scale(figure, &scale, &err));
    float small[14 * 14];
    uint8_t map[14 * 14 * 3];
    uint8_t colours[256][3];
    kh_figure_colour_table(KH_COLOURS_SEQUENTIAL, colours);
    for (size_t i = 0; i < 196; i++) {
        small[i] = (float)exp(-pow(hypot((double)(i % 14) - 5, (double)(i / 14) - 8) / 4, 2));
        memcpy(map + 3 * i, colours[(size_t)(255 * (double)small[i])], 3);
    }
    const kh_figure_scale own = {.low = 0, .high = 1.25};
    const kh_figure_panel panels[4] = {
        {map, 14, 14, "14 × 14 cells, enlarged in whole squares", KH_FRAME_GOOD, &own},
        {map, 14, 14,
         "日本語のとても長い説明文は折り返されて三行で終わります。それ以上は省略記号になります。も"
         "っと長い文章でも大丈夫です。",
         KH_FRAME_BAD, NULL},
        {NULL, 0, 0, "an empty cell", KH_FRAME_THIN, NULL},
        {map, 14, 7, "a wide map keeps its shape", KH_FRAME_STRONG, NULL}};
    const kh_figure_grid grid = {.panels = panels,
                                 .rows = 1,
                                 .columns = 4,
                                 .cell_width = 168,
                                 .cell_height = 168,
                                 .title = "Small maps"};
    kh_assert_ok(kh_figure_add_grid(figure, &grid, &err));
    save(figure, "everything");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(look_with_own_scales), cmocka_unit_test(look_with_one_scale),
        cmocka_unit_test(blocks_table),         cmocka_unit_test(figure_3),
        cmocka_unit_test(rank_curve),           cmocka_unit_test(alignment_histograms),
        cmocka_unit_test(stems_by_block),       cmocka_unit_test(everything_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
