/* Pages about classes: accuracy, confusion, class means, concentration. */
#include "cli/run_figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMED = 40, IN_A_ROW = 13, LONG_NAMES = 8, SIDE = 250 };

/* ---- accuracy -------------------------------------------------------------------------------- */

/* Rows [first, first + count) of an answer (class, value, ...) as named bars. */
static void named_bars(kh_plate *p, const kh_answer *a, size_t first, size_t count, double scale,
                       const char *title, const char *y, double high) {
    const char **names = kh_plate_keep(p, count, sizeof *names);
    double *values = kh_plate_numbers(p, count);
    if (!names || !values) return;
    for (size_t i = 0; i < count; i++) {
        const double c = kh_answer_number(a, first + i, 0);
        names[i] = c >= 0 && c < (double)p->run->classes ? p->run->names[(size_t)c] : "?";
        values[i] = scale * kh_answer_number(a, first + i, 1);
    }
    kh_plate_bars(p, (kh_figure_bars){.title = title,
                                      .y = {.label = y, .high = high},
                                      .values = values,
                                      .groups = count,
                                      .group_names = names,
                                      .show_values = true,
                                      .width = 1100,
                                      .height = 220});
}

static void accuracy_histogram(kh_plate *p, const kh_answer *a) {
    enum { BINS = 20 };
    uint64_t *counts = kh_plate_keep(p, BINS, sizeof *counts);
    for (size_t r = 0; counts && r < kh_answer_rows(a); r++) {
        const double share = kh_answer_number(a, r, 1);
        const double bin = floor(share * BINS);
        if (share >= 0) counts[bin < BINS ? (size_t)bin : BINS - 1]++;
    }
    if (counts)
        kh_plate_histogram(p, &(kh_figure_histogram){.title = "How accurate classes are",
                                                     .x = {.label = "share of its pictures"},
                                                     .y = {.label = "number of classes"},
                                                     .counts = counts,
                                                     .bins = BINS,
                                                     .high = 1,
                                                     .width = 1100,
                                                     .height = 220});
}

void kh_draw_accuracy(kh_plate *p) {
    const kh_answer *total = kh_plate_ask(
        p, false, "SELECT labelled, hits, share, lo, hi FROM accuracy WHERE measure = 'top1'");
    const double top5 =
        kh_plate_number(p, false, "SELECT share FROM accuracy WHERE measure = 'top5'");
    const kh_answer *each = kh_plate_ask(
        p, false, "SELECT class, top1 FROM class_accuracy WHERE n > 0 ORDER BY top1 DESC, class");
    if (!total || !each || !(kh_answer_number(total, 0, 0) > 0)) return; /* no labels, no page */
    const size_t n = kh_answer_rows(each);
    kh_plate_title(p, "The model names the true class of %.0f of %.0f pictures (%.1f %%)",
                   kh_answer_number(total, 0, 1), kh_answer_number(total, 0, 0),
                   100 * kh_answer_number(total, 0, 2));
    kh_plate_caption(p,
                     "Top-1 accuracy over all labelled pictures %.1f %% (95 %% interval %.1f to "
                     "%.1f %%), top-5 %.1f %%. Below, for each of %zu classes with pictures, the "
                     "share of its pictures that are named right%s.",
                     100 * kh_answer_number(total, 0, 2), 100 * kh_answer_number(total, 0, 3),
                     100 * kh_answer_number(total, 0, 4), 100 * top5, n,
                     n > NAMED ? ": all of them counted, then the best and the worst by name" : "");
    kh_plate_limits(p, "accuracy on pictures of another kind, or with other preprocessing. A class "
                       "with few pictures may be high or low by luck.");
    kh_plate_open(p, 1);
    const char *y = "right (% of pictures)";
    if (n > NAMED) {
        accuracy_histogram(p, each);
        named_bars(p, each, 0, LONG_NAMES, 100, "The best classes", y, 100);
        named_bars(p, each, n - LONG_NAMES, LONG_NAMES, 100, "The worst classes", y, 100);
    } else {
        const size_t rows = (n + IN_A_ROW - 1) / IN_A_ROW, width = (n + rows - 1) / rows;
        for (size_t first = 0; first < n; first += width)
            named_bars(p, each, first, n - first < width ? n - first : width, 100,
                       first ? NULL : "Classes, best first", y, 100);
    }
}

/* ---- confusion ------------------------------------------------------------------------------- */

static void tell_confusions(kh_plate *p) {
    enum { TOLD = 15 };
    const kh_answer *a = kh_plate_ask(p, false,
                                      "SELECT truth, predicted, n FROM confusion WHERE truth >= 0 "
                                      "AND truth <> predicted ORDER BY n DESC, truth, predicted");
    const size_t rows = a ? kh_answer_rows(a) : 0, told = rows < TOLD ? rows : TOLD;
    char text[2048] = "All confusions: ";
    if (told < rows)
        (void)snprintf(text, sizeof text, "The %zu most frequent of %zu confusions: ", told, rows);
    for (size_t r = 0; r < told; r++) {
        const size_t used = strlen(text);
        const double t = kh_answer_number(a, r, 0), c = kh_answer_number(a, r, 1);
        if (!(t >= 0 && c >= 0 && t < (double)p->run->classes && c < (double)p->run->classes))
            continue;
        const double n = kh_answer_number(a, r, 2);
        (void)snprintf(text + used, sizeof text - used, "%s%s taken for %s (%.0f picture%s)",
                       r ? "; " : "", p->run->names[(size_t)t], p->run->names[(size_t)c], n,
                       n > 1 ? "s" : "");
    }
    if (told) kh_plate_note(p, text);
}

/* Thousands of classes: the largest of several neighbours, so that one picture taken for another
 * class is still seen. */
static void add_pooled(kh_plate *p, const float *cells, const kh_figure_scale *scale) {
    const size_t classes = p->run->classes, step = (classes + SIDE - 1) / SIDE;
    const size_t side = (classes + step - 1) / step;
    float *pooled = kh_plate_keep(p, side * side, sizeof *pooled);
    char title[120];
    if (!pooled) return;
    for (size_t i = 0; i < classes * classes; i++) {
        float *to = &pooled[i / classes / step * side + i % classes / step];
        if (cells[i] > *to) *to = cells[i];
    }
    (void)snprintf(title, sizeof title,
                   "true class (down) against named class (right); a cell is the largest of %zu x "
                   "%zu",
                   step, step);
    kh_plate_picture(p, pooled, side, side, scale, title);
}

/* Classes with pictures, and those that are named beside them; false when there are too many. */
static bool add_named(kh_plate *p, const float *cells, const double *sums,
                      const kh_figure_scale *scale) {
    const size_t classes = p->run->classes;
    size_t rows[NAMED], columns[NAMED], down = 0, across = 0;
    const char *row_names[NAMED], *column_names[NAMED];
    for (size_t c = 0; c < classes; c++) {
        bool is_named = sums[c] > 0;
        for (size_t t = 0; t < classes && !is_named; t++)
            is_named = cells[t * classes + c] > 0;
        if ((sums[c] > 0 && down == NAMED) || (is_named && across == NAMED)) return false;
        if (sums[c] > 0) row_names[down] = p->run->names[c], rows[down++] = c;
        if (is_named) column_names[across] = p->run->names[c], columns[across++] = c;
    }
    float *shown = kh_plate_keep(p, down * across, sizeof *shown);
    for (size_t i = 0; shown && i < down * across; i++)
        shown[i] = cells[rows[i / across] * classes + columns[i % across]];
    if (shown)
        kh_plate_matrix(p, &(kh_figure_matrix){.x_label = "named by the model",
                                               .y_label = "true class",
                                               .values = shown,
                                               .rows = down,
                                               .columns = across,
                                               .row_names = row_names,
                                               .column_names = column_names,
                                               .scale = *scale,
                                               .show_numbers = true,
                                               .cell_width = 27,
                                               .cell_height = 22});
    return true;
}

void kh_draw_confusion(kh_plate *p) {
    const size_t classes = p->run->classes;
    const kh_answer *a =
        kh_plate_ask(p, false, "SELECT truth, predicted, n FROM confusion WHERE truth >= 0");
    float *cells = kh_plate_keep(p, classes * classes, sizeof *cells);
    double *sums = kh_plate_numbers(p, classes);
    double wrong = 0, all = 0;
    if (!a || !cells || !sums || classes < 2 || classes > 2000 || !kh_answer_rows(a)) return;
    for (size_t r = 0; r < kh_answer_rows(a); r++) {
        const double t = kh_answer_number(a, r, 0), c = kh_answer_number(a, r, 1);
        const double n = kh_answer_number(a, r, 2);
        if (!(t >= 0 && c >= 0 && t < (double)classes && c < (double)classes)) continue;
        cells[(size_t)t * classes + (size_t)c] = (float)n;
        sums[(size_t)t] += n;
        all += n;
        if ((size_t)t != (size_t)c) wrong += n;
    }
    for (size_t i = 0; i < classes * classes; i++)
        cells[i] =
            sums[i / classes] > 0 ? (float)(100.0 * (double)cells[i] / sums[i / classes]) : NAN;
    kh_plate_title(p, "%.0f of %.0f pictures %s taken for another class", wrong, all,
                   wrong == 1 ? "is" : "are");
    kh_plate_caption(
        p, "A row for each true class, a column for each class the model named; cells in "
           "%% of the row's pictures, so that every row sums to 100. Right answers lie on "
           "the diagonal.");
    kh_plate_limits(p, "whether picture or label is at fault.");
    kh_plate_open(p, 1);
    const kh_figure_scale scale = {.high = 100, .label = "share of the true class", .unit = "%"};
    if (!add_named(p, cells, sums, &scale)) add_pooled(p, cells, &scale);
    tell_confusions(p);
}

/* ---- figure 4 -------------------------------------------------------------------------------- */

/* "over patches and over" "the pictures of" class 3 */
static const char *tokens_of_means(const kh_plate *p) {
    static const char *const words[] = {[KH_REDUCE_MEAN] = "over patches and over",
                                        [KH_REDUCE_CLS] = "at the class token, over",
                                        [KH_REDUCE_MAX] =
                                            "of a picture the largest of its patches, over",
                                        [KH_REDUCE_ALL] = "over all tokens and over"};
    return words[p->run->class_reduction];
}

static const char *pictures_of_means(const kh_plate *p) {
    static const char *const words[] = {[KH_BY_TRUTH] = "the pictures of",
                                        [KH_BY_PREDICTED] = "the pictures that the model calls",
                                        [KH_BY_CORRECT] = "the rightly named pictures of"};
    return words[p->run->class_by];
}

static void say_means(const kh_plate *p, char *out, size_t room) {
    static const char *const tokens[] = {[KH_REDUCE_MEAN] = "over patches and pictures",
                                         [KH_REDUCE_CLS] = "at the class token, over pictures",
                                         [KH_REDUCE_MAX] = "largest of the patches, over pictures",
                                         [KH_REDUCE_ALL] = "over all tokens and pictures"};
    static const char *const of[] = {[KH_BY_TRUTH] = "",
                                     [KH_BY_PREDICTED] = " that the model calls so",
                                     [KH_BY_CORRECT] = " that are rightly named"};
    (void)snprintf(out, room, "%s%s", tokens[p->run->class_reduction], of[p->run->class_by]);
}

void kh_draw_class_mean(kh_plate *p) {
    const size_t blocks = p->run->blocks, neurons = p->run->neurons;
    char sql[160], only[64] = "";
    if (p->only_class != KH_NO_CLASS)
        (void)snprintf(only, sizeof only, "AND class = %zu ", p->only_class);
    (void)snprintf(sql, sizeof sql,
                   "SELECT class, n FROM concentration WHERE n > 0 %sORDER BY class LIMIT 1", only);
    const kh_answer *first = kh_plate_ask(p, false, sql);
    float *means = kh_plate_keep(p, blocks * neurons, sizeof *means);
    double *values = kh_plate_numbers(p, neurons);
    char path[4200], title[64];
    size_t shape[8], rank;
    if (!first || !kh_answer_rows(first) || !means || !values) return;
    const size_t c = (size_t)kh_answer_number(first, 0, 0);
    (void)snprintf(path, sizeof path, "%s/arrays/class_mean.npy", p->run->path);
    p->status = kh_store_npy_shape(path, shape, &rank, p->err);
    if (!p->status && (rank != 3 || c >= shape[0] || shape[1] != blocks || shape[2] != neurons))
        p->status = kh_fail(p->err, KH_E_SHAPE, "'%s' is not of this run", path);
    if (!p->status)
        p->status =
            kh_store_npy_floats(path, c * blocks * neurons, blocks * neurons, means, p->err);
    if (p->status) return;
    double high = 0, top = -1;
    size_t at = 0;
    for (size_t i = 0; i < blocks * neurons; i++) {
        high = fmax(high, (double)means[i]);
        if ((double)means[i] > top) top = (double)means[i], at = i;
    }
    kh_plate_title(p, "On pictures %s %s, neuron b%zun%zu is the strongest on average",
                   p->run->class_by == KH_BY_PREDICTED ? "called" : "of", p->run->names[c],
                   at / neurons, at % neurons);
    kh_plate_caption(
        p,
        "Figure 4: the mean memory coefficient of every key neuron, %s %s class %zu (%s; n = "
        "%.0f). "
        "One panel for each block, one line for each of its %zu neurons; the five largest have a "
        "dot and their number. All panels have one scale.",
        tokens_of_means(p), pictures_of_means(p), c, p->run->names[c],
        kh_answer_number(first, 0, 1), neurons);
    kh_plate_limits(p,
                    "whether a strong neuron matters for the class, nor whether it is strong for "
                    "this class only: many are strong on every picture.");
    kh_plate_open(p, 3);
    for (size_t b = 0; b < blocks; b++) {
        for (size_t n = 0; n < neurons; n++)
            values[n] = (double)means[b * neurons + n];
        (void)snprintf(title, sizeof title, "block %zu", b);
        kh_plate_stems(p, &(kh_figure_stems){.title = title,
                                             .x = {.label = "neuron"},
                                             .y = {.label = "mean coefficient a",
                                                   .low = fmin(0, -0.05 * high),
                                                   .high = 1.15 * high},
                                             .values = values,
                                             .count = neurons,
                                             .labelled = 5,
                                             .width = 380,
                                             .height = 190});
    }
}

/* ---- concentration --------------------------------------------------------------------------- */

void kh_draw_concentration(kh_plate *p) {
    const size_t blocks = p->run->blocks;
    double *top1 = kh_plate_quartiles(p, false, "SELECT block, top1_share FROM concentration");
    double *top10 = kh_plate_quartiles(p, false, "SELECT block, top10_share FROM concentration");
    double *effective = kh_plate_quartiles(p, false, "SELECT block, effective FROM concentration");
    double *mean = kh_plate_quartiles(p, false, "SELECT block, mean FROM concentration");
    double *found = kh_plate_blocks(p, false,
                                    "SELECT block, avg(aligned_place = 0), avg(aligned_place >= 0)"
                                    " FROM concentration WHERE n > 0 GROUP BY block",
                                    2);
    double *alike = kh_plate_quartiles(p, false, "SELECT block, mean_jaccard FROM class_overlap");
    double *nearest = kh_plate_quartiles(p, false, "SELECT block, jaccard FROM class_overlap");
    const double n =
        kh_plate_number(p, false, "SELECT count(DISTINCT class) FROM concentration WHERE n > 0");
    if (!top1 || !top10 || !effective || !mean || !found || !alike || !nearest || !(n > 0)) return;
    const size_t peak = kh_plate_peak(top10 + blocks, blocks);
    const size_t least = kh_plate_least(top10 + blocks, blocks);
    char means[96];
    say_means(p, means, sizeof means);
    kh_plate_title(p,
                   "Ten of %zu neurons hold between %.0f %% (block %zu) and %.0f %% (block %zu) of "
                   "a class's mean activation",
                   p->run->neurons, 100 * top10[blocks + least], least, 100 * top10[blocks + peak],
                   peak);
    kh_plate_caption(p,
                     "Class means of the memory coefficients (%s, negative "
                     "ones count as 0) of %.0f classes with pictures. Effective number: exp of the "
                     "entropy, the number of equally strong neurons that would be as spread. "
                     "Likeness: shared ones among the ten strongest neurons of two classes "
                     "(Jaccard).",
                     means, n);
    kh_plate_limits(p,
                    "that these neurons carry the class: some are strong on every picture, which "
                    "the likeness of classes shows.");
    kh_plate_open(p, 2);
    const char *of = "middle half of the classes";
    const kh_figure_line shares[] = {kh_plate_middle(p, top10, "ten strongest", of),
                                     kh_plate_middle(p, top1, "strongest", of)};
    kh_plate_lines(p, (kh_figure_lines){.title = "Share of the strongest neurons",
                                        .y = {.label = "share of the class mean"},
                                        .lines = shares,
                                        .line_count = 2});
    const kh_figure_line one[] = {kh_plate_middle(p, effective, "median class", of)};
    kh_plate_lines(p, (kh_figure_lines){.title = "Effective number of neurons",
                                        .y = {.label = "neurons"},
                                        .lines = one,
                                        .line_count = 1});
    const kh_figure_line strength[] = {kh_plate_middle(p, mean, "median class", of)};
    kh_plate_lines(p, (kh_figure_lines){.title = "Mean coefficient of a block",
                                        .y = {.label = "mean coefficient a"},
                                        .lines = strength,
                                        .line_count = 1});
    const kh_figure_line likeness[] = {kh_plate_middle(p, nearest, "nearest other class", of),
                                       kh_plate_middle(p, alike, "all other classes", of)};
    kh_plate_lines(p, (kh_figure_lines){.title = "Likeness of two classes' ten strongest neurons",
                                        .y = {.label = "Jaccard index", .high = 1},
                                        .lines = likeness,
                                        .line_count = 2});
    static const char *const series[] = {"it is the strongest", "it is among the ten strongest"};
    kh_plate_bars(p, (kh_figure_bars){.title = "The block's best aligned neuron of a class ...",
                                      .y = {.label = "share of classes", .high = 1},
                                      .values = found,
                                      .series = 2,
                                      .series_names = series});
}
