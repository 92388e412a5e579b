/* Pages about logits: attribution, its concentration, and what the stream says of a class. */
#include "cli/run_figures.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* " (ln)": the alignment that contributions were compared with, as the run says it; nothing where a
 * run of an earlier version does not. */
static const char *mode_of(kh_plate *p, char *out, size_t room) {
    const bool is_said =
        kh_plate_number(p, false,
                        "SELECT count(*) FROM pragma_table_info('attribution_check') WHERE name = "
                        "'alignment'") > 0;
    const kh_answer *a =
        is_said ? kh_plate_ask(p, false, "SELECT alignment FROM attribution_check") : NULL;
    const char *name = a && kh_answer_rows(a) ? kh_answer_text(a, 0, 0) : NULL;
    out[0] = '\0';
    if (name) (void)snprintf(out, room, " (%s)", name);
    return out;
}

void kh_draw_attribution(kh_plate *p) {
    char mode[16];
    const size_t blocks = p->run->blocks;
    double *of = kh_plate_blocks(p, false,
                                 "SELECT block, sum(attention * n) / sum(n), sum(neurons * n) / "
                                 "sum(n), sum((mlp - neurons) * n) / sum(n) FROM attribution WHERE "
                                 "n > 0 GROUP BY block",
                                 3);
    double *k50 = kh_plate_quartiles(p, false, "SELECT block, k50 FROM attribution WHERE n > 0");
    double *k90 = kh_plate_quartiles(p, false, "SELECT block, k90 FROM attribution WHERE n > 0");
    double *rho =
        kh_plate_quartiles(p, false, "SELECT block, spearman FROM attribution WHERE n > 0");
    double *overlap = kh_plate_blocks(p, false,
                                      "SELECT block, avg(overlap1), avg(overlap5), avg(overlap10) "
                                      "FROM attribution WHERE n > 0 GROUP BY block",
                                      3);
    double *zero = kh_plate_numbers(p, blocks);
    const double images = kh_plate_number(p, false, "SELECT images FROM attribution_check");
    const double error = kh_plate_number(p, false, "SELECT worst_error FROM attribution_check");
    if (!of || !k50 || !k90 || !rho || !overlap || !zero) return;
    const size_t peak = kh_plate_peak(of + blocks, blocks);
    kh_plate_title(p,
                   "Neurons of block %zu add most to the true class's logit (%.2f); %.0f of them "
                   "make up half of what they add and take away",
                   peak, of[blocks + peak], k50[blocks + peak]);
    kh_plate_caption(
        p,
        "Exact parts of the true class's logit, mean over %.0f labelled pictures: what "
        "attention, key neurons and MLP biases of a block write into what the classifier reads "
        "(the class token, or the mean of the patches), through the final norm with its own "
        "denominator. The parts of all blocks, the "
        "embedding and a constant sum to the logit (worst error %.2g). Spearman: do "
        "the neurons that contribute more have the larger alignment%s?",
        images, error, mode_of(p, mode, sizeof mode));
    kh_plate_limits(p, "effects through later blocks: what a neuron tells other blocks is counted "
                       "there. Only removing it shows its whole effect.");
    kh_plate_open(p, 2);
    static const char *const parts[] = {"attention", "key neurons", "bias of the MLP"};
    kh_plate_bars(p, (kh_figure_bars){.title = "Added to the true class's logit",
                                      .y = {.label = "logits"},
                                      .values = of,
                                      .series = 3,
                                      .series_names = parts,
                                      .is_stacked = true});
    double *sum = kh_plate_numbers(p, 2 * blocks);
    for (size_t b = 0; sum && b < blocks; b++) {
        sum[b] = (b ? sum[b - 1] : 0) + of[b];
        sum[blocks + b] = (b ? sum[blocks + b - 1] : 0) + of[blocks + b];
    }
    const kh_figure_line sums[] = {
        {.name = "attention", .y = sum, .kind = KH_LINE_POINTS},
        {.name = "key neurons", .y = sum ? sum + blocks : NULL, .kind = KH_LINE_POINTS}};
    if (sum)
        kh_plate_lines(p, (kh_figure_lines){.title = "The same, summed up to a block",
                                            .y = {.label = "logits"},
                                            .lines = sums,
                                            .line_count = 2});
    const char *of_classes = "middle half of the classes";
    const kh_figure_line few[] = {kh_plate_middle(p, k90, "nine tenths", of_classes),
                                  kh_plate_middle(p, k50, "half", of_classes)};
    kh_plate_lines(p, (kh_figure_lines){.title = "Fewest neurons that make up half and nine "
                                                 "tenths of what is added and taken away",
                                        .y = {.label = "neurons", .is_log = true},
                                        .lines = few,
                                        .line_count = 2});
    const kh_figure_line agree[] = {kh_plate_middle(p, rho, "median class", of_classes),
                                    {.name = "no relation", .y = zero, .kind = KH_LINE_NULL}};
    kh_plate_lines(p,
                   (kh_figure_lines){.title = "Contribution and alignment: Spearman's correlation",
                                     .y = {.label = "rank correlation", .low = -1, .high = 1},
                                     .lines = agree,
                                     .line_count = 2});
    static const char *const first[] = {"first", "first 5", "first 10"};
    kh_plate_bars(p,
                  (kh_figure_bars){.title = "Largest contributions among the best aligned neurons",
                                   .y = {.label = "share found", .high = 1},
                                   .values = overlap,
                                   .series = 3,
                                   .series_names = first,
                                   .is_ordered = true});
}

/* ---- cumulative share ------------------------------------------------------------------------ */

static int descending(const void *left, const void *right) {
    const float a = *(const float *)left, b = *(const float *)right;
    return (a < b) - (a > b);
}

/* Adds one class's sorted shares of |contribution| to the curves [blocks, neurons]. */
static void add_class(const kh_run *run, float *values, double *curves) {
    for (size_t b = 0; b < run->blocks; b++) {
        float *of = values + b * run->neurons;
        double sum = 0, all = 0;
        for (size_t n = 0; n < run->neurons; n++) {
            of[n] = fabsf(of[n]);
            all += (double)of[n];
        }
        qsort(of, run->neurons, sizeof *of, descending);
        for (size_t n = 0; n < run->neurons && all > 0; n++) {
            sum += (double)of[n];
            curves[b * run->neurons + n] += sum / all;
        }
    }
}

void kh_draw_cumulative(kh_plate *p) {
    const kh_run *run = p->run;
    const size_t blocks = run->blocks, neurons = run->neurons;
    const kh_answer *classes =
        kh_plate_ask(p, false, "SELECT DISTINCT class FROM attribution WHERE n > 0 ORDER BY class");
    float *values = kh_plate_keep(p, blocks * neurons, sizeof *values);
    double *curves = kh_plate_numbers(p, blocks * neurons), *x = kh_plate_numbers(p, neurons);
    kh_figure_line *lines = kh_plate_keep(p, blocks, sizeof *lines);
    char(*names)[32] = kh_plate_keep(p, blocks, sizeof *names);
    char path[4200];
    size_t shape[8], rank, used = 0;
    if (!classes || !values || !curves || !x || !lines || !names) return;
    const size_t count = kh_answer_rows(classes);
    (void)snprintf(path, sizeof path, "%s/arrays/attribution_mean.npy", run->path);
    p->status = kh_store_npy_shape(path, shape, &rank, p->err);
    if (!p->status && (rank != 3 || shape[1] != blocks || shape[2] != neurons))
        p->status = kh_fail(p->err, KH_E_SHAPE, "'%s' is not of this run", path);
    for (size_t r = 0; r < count && !p->status; r++) {
        const double c = kh_answer_number(classes, r, 0);
        if (!(c >= 0 && c < (double)shape[0])) continue;
        p->status = kh_store_npy_floats(path, (size_t)c * blocks * neurons, blocks * neurons,
                                        values, p->err);
        if (!p->status) add_class(run, values, curves);
    }
    if (p->status || count == 0) return;
    for (size_t n = 0; n < neurons; n++)
        x[n] = (double)(n + 1);
    for (size_t i = 0; i < blocks * neurons; i++)
        curves[i] /= (double)count;
    const size_t first = neurons > 10 ? 10 : neurons;
    double *of_first = kh_plate_numbers(p, blocks);
    if (!of_first) return;
    for (size_t b = 0; b < blocks; b++)
        of_first[b] = curves[b * neurons + first - 1];
    const size_t peak = kh_plate_peak(of_first, blocks);
    for (size_t b = blocks; b-- > 0;) { /* the last blocks, a few before, and the peak */
        if (b != peak && (used >= 6 || (blocks - b > 3 && b % 4 != 0))) continue;
        (void)snprintf(names[used], sizeof names[used], "block %zu", b);
        lines[used] = (kh_figure_line){
            .name = names[used], .x = x, .y = curves + b * neurons, .count = neurons};
        used++;
    }
    kh_plate_title(p,
                   "The %zu largest contributions of a block make up at most %.0f %% of what is "
                   "added and taken away (block %zu)",
                   first, 100 * of_first[peak], peak);
    kh_plate_caption(
        p,
        "Neurons of a block sorted by the size |x| of what they add to or take from the "
        "true class's logit (class means), and the share of the block's sum of |x| "
        "that the first of them make up; mean of the curves of %zu classes. %zu "
        "neurons a block.",
        count, neurons);
    kh_plate_limits(p, "that the rest can be left out: parts of both signs cancel, and what a "
                       "neuron does through later blocks is not in it.");
    kh_plate_open(p, 1);
    kh_plate_lines(
        p, (kh_figure_lines){.title = "Cumulative share of contributions",
                             .x = {.label = "neurons, largest first", .is_log = true},
                             .y = {.label = "share of the sum of |contributions|", .high = 1},
                             .lines = lines,
                             .line_count = used,
                             .width = 900,
                             .height = 380});
}

/* ---- identifiability ------------------------------------------------------------------------- */

static const double *site(kh_plate *p, const char *column, const char *which, const char *tokens) {
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT block, %s FROM identifiability WHERE site = '%s' AND tokens = '%s'",
                   column, which, tokens);
    return kh_plate_blocks(p, false, sql, 1);
}

static void add_identifiability(kh_plate *p, const char *column, const char *title, const char *y,
                                const double *chance) {
    const kh_figure_line lines[] = {
        {.name = "class token, stream",
         .y = site(p, column, "residual", "class_token"),
         .kind = KH_LINE_POINTS},
        {.name = "patches, stream",
         .y = site(p, column, "residual", "patches"),
         .kind = KH_LINE_POINTS},
        {.name = "class token, MLP",
         .y = site(p, column, "mlp", "class_token"),
         .kind = KH_LINE_DASHED},
        {.name = "patches, MLP", .y = site(p, column, "mlp", "patches"), .kind = KH_LINE_DASHED},
        {.name = "chance", .y = chance, .kind = KH_LINE_NULL}};
    kh_plate_lines(
        p, (kh_figure_lines){
               .title = title, .y = {.label = y, .high = 1}, .lines = lines, .line_count = 5});
}

static const double *change(kh_plate *p, const char *layer, const char *tokens) {
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT block, rate FROM class_change WHERE layer = '%s' AND tokens = '%s'",
                   layer, tokens);
    return kh_plate_blocks(p, false, sql, 1);
}

void kh_draw_identifiability(kh_plate *p) {
    const size_t blocks = p->run->blocks;
    double *chance = kh_plate_numbers(p, 3 * blocks);
    const double *stream = site(p, "rate", "residual", "patches");
    const double n = kh_plate_number(p, false, "SELECT max(n) FROM identifiability");
    const double *agree = kh_plate_blocks(
        p, false, "SELECT block, key_value, key_value_random, memory_prediction FROM agreement", 3);
    if (!chance || !stream || !agree) return;
    for (size_t b = 0; b < blocks; b++) {
        chance[b] = 1.0 / (double)p->run->classes;
        chance[blocks + b] = 0.5 + 0.5 / (double)p->run->classes;
        chance[2 * blocks + b] = 0.5;
    }
    const size_t last = blocks - 1;
    kh_plate_title(p, "Behind the last block, %.0f %% of the patches name the picture's class",
                   100 * stream[last]);
    kh_plate_caption(p,
                     "Every token's state read as the classifier would read the class token (Vilas "
                     "et al. 2023), in %zu pictures, up to %.0f tokens. Rate: the true class comes "
                     "first. Identifiability: 1 - place / classes. Change: the layer's output "
                     "speaks more for the class than the stream before the block. Agreement: a "
                     "top-5 neuron of the token is among the class's five best aligned (raw), and "
                     "a top-5 neuron's class is the MLP output's.",
                     p->run->images, n);
    kh_plate_limits(p, "that the model uses what a patch's state would say: the classifier never "
                       "reads patches here.");
    kh_plate_open(p, 2);
    add_identifiability(p, "rate", "The true class comes first", "share of tokens", chance);
    add_identifiability(p, "mean", "Identifiability", "1 - place / classes", chance + blocks);
    const kh_figure_line changes[] = {
        {.name = "class token, attention",
         .y = change(p, "attention", "class_token"),
         .kind = KH_LINE_POINTS},
        {.name = "patches, attention",
         .y = change(p, "attention", "patches"),
         .kind = KH_LINE_POINTS},
        {.name = "class token, MLP", .y = change(p, "mlp", "class_token"), .kind = KH_LINE_DASHED},
        {.name = "patches, MLP", .y = change(p, "mlp", "patches"), .kind = KH_LINE_DASHED},
        {.name = "even", .y = chance + 2 * blocks, .kind = KH_LINE_NULL}};
    kh_plate_lines(p, (kh_figure_lines){.title = "The layer raises the true class",
                                        .y = {.label = "share of tokens", .high = 1},
                                        .lines = changes,
                                        .line_count = 5});
    const kh_figure_line agreement[] = {
        {.name = "keys and values of the true class", .y = agree, .kind = KH_LINE_POINTS},
        {.name = "memory and prediction", .y = agree + 2 * blocks, .kind = KH_LINE_POINTS},
        {.name = "keys and values of a random class", .y = agree + blocks, .kind = KH_LINE_NULL}};
    kh_plate_lines(p, (kh_figure_lines){.title = "Agreement",
                                        .y = {.label = "share of tokens", .high = 1},
                                        .lines = agreement,
                                        .line_count = 3});
}

void kh_draw_composition(kh_plate *p) {
    enum { CELLS = 8 };
    static const char *const names[CELLS] = {
        "stream only",    "attention only",    "MLP only",  "stream and attention",
        "stream and MLP", "attention and MLP", "all three", "none: it is composed"};
    static const int has[CELLS][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 0},
                                      {1, 0, 1}, {0, 1, 1}, {1, 1, 1}, {0, 0, 0}};
    const size_t blocks = p->run->blocks;
    double *of = kh_plate_numbers(p, CELLS * blocks);
    for (size_t i = 0; of && i < CELLS; i++) {
        char sql[256];
        (void)snprintf(sql, sizeof sql,
                       "SELECT block, share FROM composition WHERE in_previous = %d AND "
                       "in_attention = %d AND in_mlp = %d",
                       has[i][0], has[i][1], has[i][2]);
        const double *one = kh_plate_blocks(p, false, sql, 1);
        if (one) memcpy(of + i * blocks, one, blocks * sizeof *one);
    }
    if (!of || p->status || blocks < 2) return;
    const size_t last = blocks - 1;
    kh_plate_title(p,
                   "In block %zu, %.0f %% of the tokens' top classes are neither the stream's nor "
                   "a layer's: they are composed",
                   last, 100 * of[7 * blocks + last]);
    kh_plate_caption(p,
                     "A token's top class behind a block: is it the top class of the stream before "
                     "the block, of attention's output, of the MLP's output? Eight cells that "
                     "exclude each other, in %zu pictures.",
                     p->run->images);
    kh_plate_limits(p, "how strongly each part speaks: only the first class of each counts.");
    kh_plate_open(p, 1);
    const char **places = kh_plate_keep(p, blocks, sizeof *places); /* block 0 has none before */
    char(*texts)[24] = kh_plate_keep(p, blocks, sizeof *texts);
    double *later = kh_plate_numbers(p, CELLS * (blocks - 1));
    if (!places || !texts || !later) return;
    for (size_t b = 1; b < blocks; b++) {
        (void)snprintf(texts[b], sizeof texts[b], "%zu", b);
        places[b - 1] = texts[b];
        for (size_t i = 0; i < CELLS; i++)
            later[i * (blocks - 1) + b - 1] = of[i * blocks + b];
    }
    kh_plate_bars(p, (kh_figure_bars){.title = "Where a token's top class comes from",
                                      .x = {.label = "block (no stream comes before block 0)"},
                                      .y = {.label = "share of tokens", .high = 1},
                                      .values = later,
                                      .groups = blocks - 1,
                                      .group_names = places,
                                      .series = CELLS,
                                      .series_names = names,
                                      .is_stacked = true,
                                      .width = 900,
                                      .height = 400});
}
