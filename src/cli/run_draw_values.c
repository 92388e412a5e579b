/* Page "key_value": do the neurons a token drives hardest speak for the picture's class? */
#include "cli/run_figures.h"

#include <math.h>
#include <stdio.h>

enum { DOTTED = 60 }; /* classes with a dot of their own */

/* The rows of a table that are of this kind; a format's arguments. */
#define KIND "variant = '%s' AND tokens = '%s'"

/* A dot for each class and block, side by side in the order of the classes. */
static kh_figure_line dots_of(kh_plate *p, const char *variant, const char *tokens) {
    char sql[256];
    kh_figure_line line = {.name = "a class", .kind = KH_LINE_DOTS};
    (void)snprintf(sql, sizeof sql,
                   "SELECT block, rate, dense_rank() OVER (ORDER BY class) FROM kv WHERE " KIND,
                   variant, tokens);
    const kh_answer *a = kh_plate_ask(p, false, sql);
    const size_t rows = a ? kh_answer_rows(a) : 0;
    double *x = kh_plate_numbers(p, rows), *y = kh_plate_numbers(p, rows);
    if (!a || !x || !y) return line;
    const double classes = (double)rows / (double)p->run->blocks;
    for (size_t r = 0; r < rows; r++) {
        const double side = (kh_answer_number(a, r, 2) - 0.5) / classes - 0.5;
        x[r] = kh_answer_number(a, r, 0) + 0.6 * side;
        y[r] = kh_answer_number(a, r, 1);
    }
    line.x = x;
    line.y = y;
    line.count = rows;
    return line;
}

/* Many classes: where the middle half of them lies. */
static kh_figure_line band_of(kh_plate *p, const char *variant, const char *tokens) {
    char sql[256];
    (void)snprintf(sql, sizeof sql, "SELECT block, rate FROM kv WHERE " KIND, variant, tokens);
    kh_figure_line line = kh_plate_middle(p, kh_plate_quartiles(p, false, sql), "median class",
                                          "middle half of the classes");
    line.kind = KH_LINE_DASHED;
    return line;
}

static double *blocks_of(kh_plate *p, const char *columns, size_t count, const char *variant,
                         const char *tokens) {
    char sql[256];
    (void)snprintf(sql, sizeof sql, "SELECT block, %s FROM kv_blocks WHERE " KIND, columns, variant,
                   tokens);
    return kh_plate_blocks(p, false, sql, count);
}

static void add_strip(kh_plate *p, bool has_dots, const char *variant, const char *tokens,
                      const char *title) {
    const double *of = blocks_of(p, "rate, rate_random", 2, variant, tokens);
    if (!of) return;
    const kh_figure_line lines[] = {
        has_dots ? dots_of(p, variant, tokens) : band_of(p, variant, tokens),
        {.name = "mean of the classes", .y = of, .kind = KH_LINE_POINTS},
        {.name = "a random other class", .y = of + p->run->blocks, .kind = KH_LINE_NULL}};
    kh_plate_lines(p, (kh_figure_lines){.title = title,
                                        .x = {.label = "block (0 is the first)",
                                              .low = -0.5, /* dots stand on both sides of a block */
                                              .high = (double)p->run->blocks - 0.5},
                                        .is_x_integer = true,
                                        .y = {.label = "share of tokens", .high = 1},
                                        .lines = lines,
                                        .line_count = 3});
}

static void add_difference(kh_plate *p, bool has_class_token) {
    double *zero = kh_plate_numbers(p, p->run->blocks);
    const kh_figure_line lines[] = {
        {.name = "neuron of the class's five, all tokens",
         .y = blocks_of(p, "difference", 1, "class_topk", "all"),
         .kind = KH_LINE_POINTS},
        {.name = "class of the neuron's five, all tokens",
         .y = blocks_of(p, "difference", 1, "neuron_topk", "all"),
         .kind = KH_LINE_DASHED},
        {.name = "no difference", .y = zero, .kind = KH_LINE_NULL},
        {.name = "neuron of the class's five, class token",
         .y = has_class_token ? blocks_of(p, "difference", 1, "class_topk", "class_token") : zero,
         .kind = KH_LINE_POINTS}};
    if (zero && lines[0].y && lines[1].y && lines[3].y)
        kh_plate_lines(p, (kh_figure_lines){.title = "Correctly named pictures less the others",
                                            .y = {.label = "difference of shares"},
                                            .lines = lines,
                                            .line_count = has_class_token ? 4 : 3});
}

/* Rates of correct and other pictures, and both p; false where there are not both. */
static bool ask_difference(kh_plate *p, size_t block, const char *tokens, double of[6]) {
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT rate_correct, rate_wrong, p, p_within, correct, images - correct FROM "
                   "kv_blocks WHERE block = %zu AND " KIND,
                   block, "class_topk", tokens);
    const kh_answer *a = kh_plate_ask(p, false, sql);
    if (!a || !kh_answer_rows(a)) return false;
    for (size_t i = 0; i < 6; i++)
        of[i] = kh_answer_number(a, 0, i);
    return of[2] > 0;
}

static void tell_difference(kh_plate *p, size_t block) {
    char text[768], also[128] = "";
    double all[6], one[6];
    if (!ask_difference(p, block, "all", all)) return;
    if (ask_difference(p, block, "class_token", one))
        (void)snprintf(also, sizeof also, " (class token: %.1f and %.1f %%, p = %.2g and %.2g)",
                       100 * one[0], 100 * one[1], one[2], one[3]);
    (void)snprintf(
        text, sizeof text,
        "Block %zu: a top neuron is one of the class's five for %.1f %% of the tokens of "
        "%.0f correctly named pictures and %.1f %% of those of %.0f other%s. Shuffling "
        "300 times which pictures are the correct ones gives a difference as large with "
        "p = %.2g; within each class, so that easy classes play no part, with p = "
        "%.2g%s.",
        block, 100 * all[0], all[4], 100 * all[1], all[5], all[5] > 1 ? "s" : "", all[2], all[3],
        also);
    kh_plate_note(p, text);
}

/* What one sees where the class stands out most. */
static void title_of(kh_plate *p, const double *of, const double *of_class_token, size_t block) {
    const size_t blocks = p->run->blocks;
    char also[128] = "";
    if (of_class_token)
        (void)snprintf(also, sizeof also, "; for the class token %.0f and %.0f %%",
                       100 * of_class_token[block], 100 * of_class_token[blocks + block]);
    kh_plate_title(p,
                   "Block %zu: %.0f %% of the tokens drive a neuron that speaks for the picture's "
                   "class, %.0f %% one for a random other class%s",
                   block, 100 * of[block], 100 * of[blocks + block], also);
}

void kh_draw_key_value(kh_plate *p) {
    const size_t blocks = p->run->blocks;
    const double *of = blocks_of(p, "rate, rate_random, classes, images", 4, "class_topk", "all");
    const bool has_class_token =
        kh_plate_number(p, false, "SELECT count(*) FROM kv_blocks WHERE tokens = 'class_token'") >
        0;
    const double *of_class_token =
        has_class_token ? blocks_of(p, "rate, rate_random", 2, "class_topk", "class_token") : NULL;
    const bool has_both =
        kh_plate_number(p, false, "SELECT count(*) FROM kv_blocks WHERE p > 0") > 0;
    double *more = kh_plate_numbers(p, blocks);
    if (!of || !more || (has_class_token && !of_class_token)) return;
    for (size_t b = 0; b < blocks; b++)
        more[b] = of[b] - of[blocks + b];
    const size_t peak = kh_plate_peak(more, blocks);
    const double classes = of[2 * blocks + peak];
    const bool has_dots = classes <= DOTTED;
    title_of(p, of, of_class_token, peak);
    kh_plate_caption(
        p,
        "Key-value agreement (Vilas et al. 2023) of %.0f classes over %.0f labelled pictures. A "
        "token's top neurons are the five of a block with the largest coefficients. A class's five "
        "are the neurons whose value vectors are most aligned with it (raw), a neuron's five the "
        "classes that its own is most aligned with. Shares of the tokens of a class's pictures, "
        "and their mean over classes; grey: the same tokens, asked for one random other class.",
        classes, of[3 * blocks + peak]);
    kh_plate_limits(p, "that these neurons decide the answer: only that what fires hardest speaks "
                       "for the class. Neurons that serve many classes raise both lines.");
    kh_plate_open(p, 2);
    add_strip(p, has_dots, "class_topk", "all",
              "All tokens: a top neuron is one of the class's five");
    add_strip(p, has_dots, "neuron_topk", "all",
              "All tokens: the class is one of a top neuron's five");
    if (has_class_token)
        add_strip(p, has_dots, "class_topk", "class_token",
                  "Class token: a top neuron is one of the class's five");
    if (has_both) add_difference(p, has_class_token);
    if (has_both) tell_difference(p, peak);
}
