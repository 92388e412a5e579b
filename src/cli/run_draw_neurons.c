/* Pages about all neurons of a block: thresholds, what they read and write, selectivity, audit. */
#include "cli/run_figures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* An axis with room above and below a band of either sign, so that it does not look cut where it
 * comes close to a tick. quartiles [3, blocks]. */
static kh_figure_axis roomy(const kh_plate *p, const char *label, const double *quartiles) {
    double low = 0, high = 0;
    for (size_t i = 0; i < 3 * p->run->blocks; i++) { /* fmin and fmax leave NaN out */
        low = fmin(low, quartiles[i]);
        high = fmax(high, quartiles[i]);
    }
    const double room = 0.08 * (high - low);
    return (kh_figure_axis){
        .label = label, .low = low < 0 ? low - room : low, .high = high > 0 ? high + room : high};
}

void kh_draw_thresholds(kh_plate *p) {
    const char *of = "middle half of the neurons";
    double *threshold = kh_plate_quartiles(p, false,
                                           "SELECT block, threshold FROM neurons WHERE "
                                           "is_low = 0");
    double *high = kh_plate_quartiles(p, false, "SELECT block, max FROM neurons");
    double *density = kh_plate_quartiles(p, false, "SELECT block, density FROM neurons");
    double *mean = kh_plate_quartiles(p, false, "SELECT block, mean FROM neurons");
    double *low =
        kh_plate_blocks(p, false, "SELECT block, avg(is_low) FROM neurons GROUP BY block", 1);
    const double n = kh_plate_number(p, false, "SELECT max(n) FROM neurons");
    const double all = kh_plate_number(p, false, "SELECT count(*) FROM neurons");
    if (!threshold || !high || !density || !mean || !low) return;
    const size_t peak = kh_plate_peak(threshold + p->run->blocks, p->run->blocks);
    kh_plate_title(p, "Neurons fire most strongly in block %zu, where the median threshold is %.2f",
                   peak, threshold[p->run->blocks + peak]);
    kh_plate_caption(p,
                     "Distribution of the memory coefficient a of %.0f key neurons, each over %.0f "
                     "patches of %zu pictures. Threshold: the value a neuron passes on the rarest "
                     "patches (default 0.5 %%), as network dissection uses it. Density: share of "
                     "patches on which it fires (a above 2⁻¹³). Silent: neurons that fire on fewer "
                     "patches than the threshold wants.",
                     all, n, p->run->images);
    kh_plate_limits(p, "what a neuron fires for, nor that weak coefficients do not matter: value "
                       "vectors differ in length.");
    kh_plate_open(p, 2);
    const kh_figure_line first[] = {kh_plate_middle(p, high, "largest", of),
                                    kh_plate_middle(p, threshold, "threshold", of)};
    const kh_figure_line second[] = {kh_plate_middle(p, density, "median neuron", of)};
    const kh_figure_line third[] = {kh_plate_middle(p, mean, "median neuron", of)};
    kh_plate_lines(p, (kh_figure_lines){.title = "Threshold, and largest coefficient seen",
                                        .y = {.label = "coefficient a"},
                                        .lines = first,
                                        .line_count = 2});
    kh_plate_lines(p, (kh_figure_lines){.title = "Density",
                                        .y = {.label = "share of patches"},
                                        .lines = second,
                                        .line_count = 1});
    kh_plate_lines(p, (kh_figure_lines){.title = "Mean coefficient",
                                        .y = roomy(p, "coefficient a", mean),
                                        .lines = third,
                                        .line_count = 1});
    kh_plate_bars(p, (kh_figure_bars){.title = "Silent neurons",
                                      .y = {.label = "share of neurons"},
                                      .values = low});
}

void kh_draw_channels(kh_plate *p) {
    const char *of = "middle half of the channels";
    double *threshold = kh_plate_quartiles(p, false, "SELECT block, threshold FROM channels");
    double *high = kh_plate_quartiles(p, false, "SELECT block, max FROM channels");
    double *low = kh_plate_quartiles(p, false, "SELECT block, min FROM channels");
    double *mean = kh_plate_quartiles(p, false, "SELECT block, mean FROM channels");
    const double n = kh_plate_number(p, false, "SELECT max(n) FROM channels");
    const double all = kh_plate_number(p, false, "SELECT count(*) FROM channels");
    if (!threshold || !high || !low || !mean) return;
    const size_t peak = kh_plate_peak(high + p->run->blocks, p->run->blocks);
    kh_plate_title(p, "MLPs write the largest values in block %zu: the median channel reaches %.2f",
                   peak, high[p->run->blocks + peak]);
    kh_plate_caption(
        p,
        "What the second matrix of the MLPs puts out, %.0f channels of all blocks, "
        "each over %.0f patches of %zu pictures: largest and smallest value, mean, and "
        "the value that the rarest patches pass (threshold). These are sums over all "
        "key neurons, not key neurons.",
        all, n, p->run->images);
    kh_plate_limits(p,
                    "what a channel stands for: the residual stream has no preferred axes unless "
                    "training made some.");
    kh_plate_open(p, 2);
    const kh_figure_line ends[] = {kh_plate_middle(p, high, "largest", of),
                                   kh_plate_middle(p, threshold, "threshold", of),
                                   kh_plate_middle(p, low, "smallest", of)};
    const kh_figure_line middle[] = {kh_plate_middle(p, mean, "median channel", of)};
    kh_plate_lines(p, (kh_figure_lines){.title = "Range of a channel",
                                        .y = {.label = "output"},
                                        .lines = ends,
                                        .line_count = 3});
    kh_plate_lines(p, (kh_figure_lines){.title = "Mean of a channel",
                                        .y = roomy(p, "output", mean),
                                        .lines = middle,
                                        .line_count = 1});
}

/* Shares of a block's neurons by a text column: out[count, blocks]. */
static double *shares(kh_plate *p, bool in_truth, const char *table, const char *column,
                      const char *const *values, size_t count) {
    const size_t blocks = p->run->blocks;
    double *out = kh_plate_numbers(p, count * blocks);
    for (size_t i = 0; out && i < count; i++) {
        char sql[256];
        (void)snprintf(sql, sizeof sql, "SELECT block, avg(%s = '%s') FROM %s GROUP BY block",
                       column, values[i], table);
        const double *one = kh_plate_blocks(p, in_truth, sql, 1);
        if (!one) return NULL;
        memcpy(out + i * blocks, one, blocks * sizeof *one);
    }
    return out;
}

static double log_choose(double n, double k) {
    return lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1);
}

/* Expected number of classes that a neuron with `exemplars` strongest pictures reads by chance: at
 * least half of those a class can hold show it, at least three if it has fewer than exemplars. */
static double read_by_chance(kh_plate *p, double exemplars) {
    double sum = 0;
    if (!kh_run_has(p->run, false, "class_accuracy")) return (double)NAN;
    const double all = kh_plate_number(p, false, "SELECT sum(n) FROM class_accuracy");
    const kh_answer *a = kh_plate_ask(p, false, "SELECT n FROM class_accuracy WHERE n > 0");
    for (size_t r = 0; a && r < kh_answer_rows(a); r++) {
        const double n = kh_answer_number(a, r, 0), depth = fmin(exemplars, n);
        const double half = ceil(depth / 2), wanted = n < exemplars ? fmax(half, 3) : half;
        for (double hits = wanted; hits <= depth; hits++) /* hypergeometric */
            if (depth - hits <= all - n)
                sum += exp(log_choose(n, hits) + log_choose(all - n, depth - hits) -
                           log_choose(all, depth));
    }
    return sum;
}

void kh_draw_reads_writes(kh_plate *p) {
    static const char *const verdicts[] = {"agree",  "other",  "suppress",
                                           "shared", "silent", "unknown"};
    static const char *const series[] = {"agree: among the five classes it promotes most",
                                         "between",
                                         "suppress: in the lower half of what it promotes",
                                         "shared: it reads no single class",
                                         "silent",
                                         "unknown: too few labelled pictures"};
    enum { VERDICTS = 6 };
    const size_t blocks = p->run->blocks;
    double *of = shares(p, false, "reads_writes", "verdict", verdicts, VERDICTS);
    const double n = kh_plate_number(
        p, false,
        "SELECT count(*) FROM exemplars WHERE block = 0 AND neuron = 0 AND level = 'top'");
    const double known = kh_plate_number(p, false,
                                         "SELECT count(*) FROM reads_writes WHERE verdict NOT IN "
                                         "('unknown', 'silent')");
    const double all = kh_plate_number(p, false, "SELECT count(*) FROM reads_writes");
    if (!of || !(known > 0)) return; /* no labels, or of one class, or few of each: no page */
    const size_t peak = kh_plate_peak(of, blocks);
    if (of[peak] > 0 && peak == 0)
        kh_plate_title(p,
                       "In block 0, %.0f %% of the neurons write the class they read, more than "
                       "in any other",
                       100 * of[0]);
    else if (of[peak] > 0)
        kh_plate_title(p,
                       "In block %zu, %.0f %% of the neurons write the class they read; in block "
                       "0, %.0f %%",
                       peak, 100 * of[peak], 100 * of[0]);
    else
        kh_plate_title(p, "No neuron writes the class it reads");
    const double by_chance = fmin(read_by_chance(p, n), 1);
    const double least =
        by_chance >= 0 ? kh_plate_number(p, false, "SELECT min(n) FROM class_accuracy WHERE n > 0")
                       : 0;
    char chance[160] = "";
    if (by_chance >= 0.0005)
        (void)snprintf(chance, sizeof chance,
                       " With the pictures in random order at most %.1f %% of the neurons would "
                       "read a class.",
                       100 * by_chance);
    else if (by_chance >= 0)
        (void)snprintf(chance, sizeof chance,
                       " With the pictures in random order less than 0.1 %% of the neurons would "
                       "read a class.");
    kh_plate_caption(
        p,
        "What a key neuron reads: the class that at least half of its (up to %.0f) "
        "strongest pictures show%s.%s What it writes: how much its value vector promotes "
        "that class (alignment ln minus the class's mean over the block). %zu neurons a "
        "block.",
        n,
        least >= n ? ""
                   : "; a class with only n pictures, at least half of the n strongest, and three",
        chance, p->run->neurons);
    kh_plate_limits(p, "what a neuron does with weaker activations, nor its effect through later "
                       "blocks.");
    kh_plate_open(p, 1);
    kh_plate_bars(p, (kh_figure_bars){.title = "Does the value vector promote the class on the "
                                               "neuron's strongest pictures?",
                                      .y = {.label = "share of neurons", .high = 1},
                                      .values = of,
                                      .series = known < all ? VERDICTS : VERDICTS - 1,
                                      .series_names = series,
                                      .is_stacked = true,
                                      .width = 900,
                                      .height = 380});
}

void kh_draw_selectivity(kh_plate *p) {
    const size_t blocks = p->run->blocks;
    double *middle = kh_plate_quartiles(p, false, "SELECT block, auroc FROM selectivity");
    double *over = kh_plate_blocks(p, false,
                                   "SELECT block, avg(auroc > 0.9), avg(auroc > 0.75), avg(auroc < "
                                   "0.5), max(auroc) FROM selectivity GROUP BY block",
                                   4);
    double *d = kh_plate_quartiles(p, false, "SELECT block, d FROM selectivity");
    double *chance = kh_plate_numbers(p, blocks);
    const double n = kh_plate_number(p, false, "SELECT max(n + rest) FROM selectivity");
    const double asked = kh_plate_number(p, false, "SELECT count(auroc) FROM selectivity");
    if (!middle || !over || !d || !chance || !(n > 0) || !(asked > 0))
        return; /* no labels, or of one class alone: no page */
    for (size_t b = 0; b < blocks; b++)
        chance[b] = 0.5;
    const size_t peak = kh_plate_peak(over, blocks);
    kh_plate_title(p,
                   "In block %zu, %.0f %% of the neurons tell the class they write from the others "
                   "(AUROC above 0.9)",
                   peak, 100 * over[peak]);
    kh_plate_caption(p,
                     "For each neuron: does its largest coefficient in a picture tell pictures of "
                     "the class its value vector promotes most (alignment ln) from %.0f pictures "
                     "of all classes? AUROC 0.5 is chance, below it the neuron fires less on that "
                     "class. Cohen's d: the same by the mean over patches, in standard deviations.",
                     n);
    kh_plate_limits(p, "that a neuron with a low value is useless: it may answer to a part or a "
                       "background that several classes have.");
    kh_plate_open(p, 2);
    const char *of = "middle half of the neurons";
    const kh_figure_line first[] = {
        kh_plate_middle(p, middle, "median neuron", of),
        {.name = "best neuron", .y = over + 3 * blocks, .kind = KH_LINE_DASHED},
        {.name = "chance", .y = chance, .kind = KH_LINE_NULL}};
    const kh_figure_line second[] = {kh_plate_middle(p, d, "median neuron", of)};
    static const char *const series[] = {"above 0.9", "above 0.75", "below 0.5"};
    kh_plate_lines(p, (kh_figure_lines){.title = "AUROC for the class a neuron writes",
                                        .y = {.label = "AUROC", .high = 1},
                                        .lines = first,
                                        .line_count = 3});
    kh_plate_lines(p, (kh_figure_lines){.title = "Cohen's d of the mean coefficient",
                                        .y = {.label = "standard deviations"},
                                        .lines = second,
                                        .line_count = 1});
    kh_plate_bars(p, (kh_figure_bars){.title = "Neurons by AUROC",
                                      .y = {.label = "share of neurons", .high = 1},
                                      .values = over,
                                      .series = 3,
                                      .series_names = series});
}

/* ---- audit ----------------------------------------------------------------------------------- */

static void add_places(kh_plate *p) {
    const size_t rows = p->run->grid_height, columns = p->run->grid_width;
    const kh_answer *a = kh_plate_ask(
        p, false, "SELECT block, patch, outliers FROM audit_places WHERE outliers > 0");
    if (!a || kh_answer_rows(a) == 0 || p->status) return;
    if (!p->status) kh_figure_columns(p->figure, 4);
    for (size_t b = 0; b < p->run->blocks; b++) {
        float *cells = kh_plate_keep(p, rows * columns, sizeof *cells);
        double high = 0;
        char title[64];
        for (size_t r = 0; cells && r < kh_answer_rows(a); r++) {
            const double block = kh_answer_number(a, r, 0), patch = kh_answer_number(a, r, 1);
            if (block < (double)b || block > (double)b) continue;
            if (!(patch >= 0 && patch < (double)(rows * columns))) continue;
            cells[(size_t)patch] = (float)kh_answer_number(a, r, 2);
            high = fmax(high, kh_answer_number(a, r, 2));
        }
        if (!cells || !(high > 0)) continue;
        (void)snprintf(title, sizeof title, "block %zu: outliers by patch", b);
        kh_plate_matrix(p, &(kh_figure_matrix){.title = title,
                                               .values = cells,
                                               .rows = rows,
                                               .columns = columns,
                                               .scale = {.high = high, .label = "outliers"},
                                               .cell_width = 14,
                                               .cell_height = 14});
    }
}

void kh_draw_audit(kh_plate *p) {
    const size_t blocks = p->run->blocks;
    double *of = kh_plate_blocks(p, false,
                                 "SELECT block, median_norm, p99_norm, max_norm, class_token_norm, "
                                 "outliers_per_image, images_with_outliers, top_patch_share, "
                                 "top_patch_is_outlier, outlier_chance FROM audit",
                                 9);
    if (!of) return;
    double most = 0, dots = 0;
    size_t at = 0;
    for (size_t b = 0; b < blocks; b++) {
        most = fmax(most, of[4 * blocks + b]);
        if (of[6 * blocks + b] > dots) dots = of[6 * blocks + b], at = b;
    }
    if (most > 0)
        kh_plate_title(p,
                       "Up to %.2f patches a picture have an outlying norm; one patch holds the "
                       "maxima of up to %.0f %% of a block's neurons",
                       most, 100 * dots);
    else
        kh_plate_title(p,
                       "No patch has an outlying norm; in block %zu one patch holds the maxima "
                       "of %.1f %% of the firing neurons",
                       at, 100 * dots);
    kh_plate_caption(
        p,
        "Stray tokens and bright dots in %zu pictures. Norm: length of a patch's "
        "residual where the block's MLP reads it; an outlier is more than 2.5 times as long as the "
        "picture's median patch. Bright dot: the patch on which most firing neurons of "
        "a block have their maximum, its share of them%s.",
        p->run->images,
        most > 0 ? ", and how often that patch is an outlier, against how often any patch is" : "");
    kh_plate_limits(p, "what causes a dot: a corner of the picture, or the object, may draw many "
                       "neurons for good reason.");
    kh_plate_open(p, 2);
    const kh_figure_line norms[] = {
        {.name = "largest", .y = of + 2 * blocks, .kind = KH_LINE_POINTS},
        {.name = "99 % of the patches", .y = of + blocks, .kind = KH_LINE_POINTS},
        {.name = "median patch", .y = of, .kind = KH_LINE_POINTS},
        {.name = "class token", .y = of + 3 * blocks, .kind = KH_LINE_DASHED}};
    const kh_figure_line share[] = {{.name = "share of neurons with their maximum there",
                                     .y = of + 6 * blocks,
                                     .kind = KH_LINE_POINTS}};
    kh_plate_lines(p, (kh_figure_lines){.title = "Length of the residual stream",
                                        .y = {.label = "norm", .is_log = true},
                                        .lines = norms,
                                        .line_count = 4});
    kh_plate_lines(p, (kh_figure_lines){.title = "The brightest dot of a picture",
                                        .y = {.label = "share of firing neurons"},
                                        .lines = share,
                                        .line_count = 1});
    if (!(most > 0)) return;
    const kh_figure_line dot[] = {
        {.name = "brightest dot is an outlier", .y = of + 7 * blocks, .kind = KH_LINE_POINTS},
        {.name = "any patch is", .y = of + 8 * blocks, .kind = KH_LINE_NULL}};
    kh_plate_bars(p, (kh_figure_bars){.title = "Outliers",
                                      .y = {.label = "patches a picture"},
                                      .values = of + 4 * blocks});
    kh_plate_lines(p, (kh_figure_lines){.title = "Are dots outliers?",
                                        .y = {.label = "share"},
                                        .lines = dot,
                                        .line_count = 2});
    add_places(p);
}

/* ---- regions --------------------------------------------------------------------------------- */

void kh_draw_regions(kh_plate *p) {
    static const char *const regions[] = {"subject", "border", "background", "everywhere"};
    static const char *const series[] = {"subject", "border of the subject", "background",
                                         "none of them alone"};
    const size_t blocks = p->run->blocks;
    double *of = shares(p, true, "regions", "fires_on", regions, 4);
    if (!of) return;
    const size_t peak = kh_plate_peak(of, blocks);
    kh_plate_title(
        p, "Neurons that fire on the subject are most frequent in block %zu (%.0f %% of it)", peak,
        100 * of[peak]);
    kh_plate_caption(p,
                     "Mean coefficient of each of %zu neurons a block on patches at least nine "
                     "tenths on the true object (subject), at most one tenth (background) and "
                     "between (border); a region is named when the mean there is twice that of any "
                     "other.",
                     p->run->neurons);
    kh_plate_limits(p, "which subject: a neuron for one class and one for all objects look alike "
                       "here.");
    kh_plate_open(p, 1);
    kh_plate_bars(p, (kh_figure_bars){.title = "Where neurons fire",
                                      .y = {.label = "share of neurons", .high = 1},
                                      .values = of,
                                      .series = 4,
                                      .series_names = series,
                                      .is_stacked = true,
                                      .width = 900,
                                      .height = 340});
}
