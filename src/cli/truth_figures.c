/* The charts of `truth`: figure 3, classes, ranks, blocks. */
#include "cli/outdir.h"
#include "cli/truth.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kh_truth_footnote(const kh_truth_result *r, char *out, size_t out_bytes) {
    char settings[256];
    (void)snprintf(settings, sizeof settings,
                   "alignment %s · %zu scene%s of each class, seed %llu%s · masks above the %.4gth "
                   "percentile · %zu random neuron%s",
                   kh_align_mode_name(r->settings.mode), r->settings.scenes,
                   KH_S(r->settings.scenes), (unsigned long long)r->settings.seed,
                   r->settings.flags & KH_DIORAMA_NO_SHORTCUTS ? ", no shortcuts" : "",
                   100.0 * r->settings.quantile, r->plan.draws, KH_S(r->plan.draws));
    kh_model_footnote(r->model, settings, out, out_bytes);
}

static kh_status draw_fig3(const kh_truth_result *r, const char *footnote, const char *folder,
                           kh_error *err) {
    const size_t cells = r->plan.topk * r->plan.blocks;
    uint64_t *counts = kh_calloc(cells, sizeof *counts);
    if (!counts) return kh_fail(err, KH_E_MEMORY, "no memory for figure 3");
    for (size_t i = 0; i < cells; i++)
        counts[i] = r->fig3[i];
    const kh_figure_blocks_histogram what = {.head.footnote = footnote,
                                             .counts = counts,
                                             .ranks = r->plan.topk,
                                             .blocks = r->plan.blocks,
                                             .mode = kh_align_mode_name(r->settings.mode)};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_fig3(&what, &figure, err);
    if (!status) status = kh_outdir_figure(folder, "fig3", figure, err);
    kh_free(counts);
    return status;
}

/* ---- classes --------------------------------------------------------------------------------- */

typedef struct placed {
    double value;
    size_t class_index;
} placed;

static int compare_placed(const void *left, const void *right) {
    const placed *a = left, *b = right;
    if (a->value > b->value || (isnan(b->value) && !isnan(a->value))) return -1;
    if (a->value < b->value || (isnan(a->value) && !isnan(b->value))) return 1;
    return (a->class_index > b->class_index) - (a->class_index < b->class_index);
}

enum { CLASSES_IN_A_ROW = 13, SERIES = 3 };

/* One chart: some classes, top-1 and mean random as bars, the random ones' range as a band. */
static kh_status add_classes(const kh_truth_result *r, kh_figure *figure, const placed *order,
                             size_t count, const char *title, bool is_pointing, double high,
                             kh_error *err) {
    static const char *const series[] = {"top-1 key neuron", "mean of random neurons",
                                         "the middle of the picture"};
    double values[3 * CLASSES_IN_A_ROW], low[CLASSES_IN_A_ROW], top[CLASSES_IN_A_ROW];
    const char *names[CLASSES_IN_A_ROW];
    for (size_t i = 0; i < count; i++) {
        const size_t c = order[i].class_index;
        const kh_truth_class *k = &r->class[c];
        names[i] = kh_diorama_class_name(r->world[c]);
        values[i] = is_pointing ? k->rank->pointing : k->rank->iou;
        values[count + i] = is_pointing ? k->random.pointing : k->random.iou;
        values[2 * count + i] = is_pointing ? r->middle[c].pointing : r->middle[c].iou;
        low[i] = top[i] = (double)NAN;
        for (size_t d = 0; d < r->plan.draws; d++) {
            const double v = is_pointing ? k->draw[d].pointing : k->draw[d].iou;
            low[i] = fmin(low[i], v);
            top[i] = fmax(top[i], v);
        }
    }
    char band[64];
    (void)snprintf(band, sizeof band, "all %zu random neuron%s", r->plan.draws,
                   KH_S(r->plan.draws));
    const kh_figure_bars bars = {
        .title = title,
        .y = {.label = is_pointing ? "scenes hit (share)" : "IoU, mean over scenes", .high = high},
        .values = values,
        .series = 3,
        .groups = count,
        .series_names = series,
        .group_names = names,
        .band_low = low,
        .band_high = top,
        .band_name = band,
        .width = 1080,
        .height = 250};
    return kh_figure_add_bars(figure, &bars, err);
}

static double largest(const kh_truth_result *r, bool is_pointing) {
    double most = 0.05;
    for (size_t c = 0; c < r->classes; c++)
        for (size_t i = 0; i < r->plan.topk + r->plan.draws; i++) {
            const kh_truth_mean *m = &r->means[c * r->plan.scored + i];
            most = fmax(most, is_pointing ? m->pointing : m->iou);
        }
    return ceil(most * 10.0) / 10.0;
}

static kh_status draw_classes(const kh_truth_result *r, const char *footnote, const char *folder,
                              kh_error *err) {
    placed *order = kh_calloc(r->classes, sizeof *order);
    if (!order) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    for (size_t c = 0; c < r->classes; c++)
        order[c] = (placed){r->class[c].rank->iou, c};
    qsort(order, r->classes, sizeof *order, compare_placed);
    char title[160];
    (void)snprintf(title, sizeof title,
                   "In %zu of %zu classes the top-1 key neuron covers the object better than all "
                   "%zu random neuron%s",
                   kh_truth_unbeaten(r), r->classes, r->plan.draws, KH_S(r->plan.draws));
    const kh_figure_options options = {
        .title = title,
        .subtitle =
            "For every class, the neuron whose value vector is most aligned with it, and "
            "random neurons of the same block. Above: overlap (IoU) of the strongest part "
            "of the heatmap with the object's true mask. Below: how often the heatmap's "
            "maximum lies on the object. The middle of the picture is a fixed map that fades "
            "towards the corners. Classes in the order of the IoU.",
        .footnote = footnote};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    for (int pointing = 0; pointing < 2; pointing++)
        for (size_t first = 0; first < r->classes && !status; first += CLASSES_IN_A_ROW) {
            const size_t left = r->classes - first;
            status = add_classes(r, figure, order + first,
                                 left < CLASSES_IN_A_ROW ? left : CLASSES_IN_A_ROW,
                                 first      ? NULL
                                 : pointing ? "Pointing game"
                                            : "Overlap with the object (IoU)",
                                 pointing, largest(r, pointing), err);
        }
    if (!status)
        status = kh_outdir_figure(folder, "truth_classes", figure, err);
    else
        kh_figure_free(figure);
    kh_free(order);
    return status;
}

/* ---- ranks and blocks ------------------------------------------------------------------------ */

/* Mean over classes and its interval of `count` neurons from place `first` of the plan on:
 * curves [3, count] mean, low, high. which: 0 IoU, 1 pointing, 2 AUROC. */
static kh_status curve_of(const kh_truth_result *r, size_t first, size_t count, int which,
                          double *curves, kh_error *err) {
    double *values = kh_calloc(r->classes, sizeof *values);
    kh_status status = values ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a curve");
    for (size_t i = 0; i < count && !status; i++) {
        kh_band band = {0};
        for (size_t c = 0; c < r->classes; c++) {
            const kh_truth_mean *m = &r->means[c * r->plan.scored + first + i];
            values[c] = which == 0 ? m->iou : which == 1 ? m->pointing : m->auroc;
        }
        status = kh_lens_bootstrap(values, r->classes, r->settings.resamples, r->settings.seed,
                                   &band, err);
        curves[i] = band.mean;
        curves[count + i] = band.lo;
        curves[2 * count + i] = band.hi;
    }
    kh_free(values);
    return status;
}

typedef struct curve_texts {
    const char *name, *null_name, *x;
    const char *titles[3], *y[3];
} curve_texts;

/* Three charts over ranks or blocks: IoU, pointing, AUROC; each with its level of chance. */
static kh_status add_curves(const kh_truth_result *r, kh_figure *figure, size_t first, size_t count,
                            const curve_texts *t, kh_error *err) {
    static const char *const level_keys[][2] = {{"iou_random", "iou_middle"},
                                                {"pointing_random", "pointing_middle"},
                                                {"auroc_random", "auroc_middle"}};
    double *curves = kh_calloc(5 * count, sizeof *curves);
    if (!curves) return kh_fail(err, KH_E_MEMORY, "no memory for a curve");
    kh_status status = KH_OK;
    for (int which = 0; which < SERIES && !status; which++) {
        kh_band level[2] = {{0}};
        for (const kh_truth_quantity *q = kh_truth_quantities; q->key; q++)
            for (size_t l = 0; l < 2 && !status; l++)
                if (strcmp(q->key, level_keys[which][l]) == 0)
                    status = kh_truth_band(r, q, &level[l], err);
        if (!status) status = curve_of(r, first, count, which, curves, err);
        for (size_t l = 0; l < 2; l++)
            for (size_t i = 0; i < count; i++)
                curves[(3 + l) * count + i] = level[l].mean;
        const kh_figure_line lines[] = {
            {.name = t->name,
             .y = curves,
             .low = curves + count,
             .high = curves + 2 * count,
             .band_name = "95 % interval over classes",
             .count = count,
             .kind = KH_LINE_POINTS},
            {.name = t->null_name, .y = curves + 3 * count, .count = count, .kind = KH_LINE_NULL},
            {.name = "the middle of the picture",
             .y = curves + 4 * count,
             .count = count,
             .kind = KH_LINE_DASHED}};
        const kh_figure_lines chart = {.title = t->titles[which],
                                       .x = {.label = t->x},
                                       .y = {.label = t->y[which]},
                                       .lines = lines,
                                       .line_count = 3,
                                       .is_x_integer = true,
                                       .width = 560,
                                       .height = 260};
        if (!status) status = kh_figure_add_lines(figure, &chart, err);
    }
    kh_free(curves);
    return status;
}

static kh_status add_best(const kh_truth_result *r, kh_figure *figure, kh_error *err) {
    static const char *const series[] = {"by overlap (IoU)", "by pointing game"};
    const size_t topk = r->plan.topk;
    double *values = kh_calloc(topk, 2 * sizeof *values);
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    for (size_t k = 0; k < topk; k++) {
        values[k] = (double)r->best_iou[k];
        values[topk + k] = (double)r->best_pointing[k];
    }
    const kh_figure_bars bars = {.title = "Classes by their best rank (ties to the lower rank)",
                                 .x = {.label = "rank (0 is the top-1 neuron)"},
                                 .y = {.label = "number of classes"},
                                 .values = values,
                                 .series = 2,
                                 .groups = topk,
                                 .series_names = series,
                                 .show_values = true,
                                 .width = 560,
                                 .height = 260};
    const kh_status status = kh_figure_add_bars(figure, &bars, err);
    kh_free(values);
    return status;
}

static kh_status draw_ranks(const kh_truth_result *r, const char *footnote, const char *folder,
                            kh_error *err) {
    static const curve_texts texts = {.name = "neuron of this rank",
                                      .null_name = "random neurons of the top-1's block",
                                      .x = "rank (0 is the top-1 neuron)",
                                      .titles = {"Overlap with the object", "Pointing game",
                                                 "Pixels of the object above the others"},
                                      .y = {"IoU", "scenes hit (share)", "AUROC"}};
    char title[160];
    (void)snprintf(
        title, sizeof title,
        "Of the first %zu ranks, the top-1 neuron covers the object best in %zu of %zu classes",
        r->plan.topk, r->best_iou[0], r->classes);
    const kh_figure_options options = {
        .title = title,
        .subtitle = "The first ranks by alignment, each compared with the object's true mask; "
                    "means over classes.",
        .footnote = footnote};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    if (!status) kh_figure_columns(figure, 2);
    if (!status) status = add_best(r, figure, err);
    if (!status) status = add_curves(r, figure, 0, r->plan.topk, &texts, err);
    if (!status) return kh_outdir_figure(folder, "truth_ranks", figure, err);
    kh_figure_free(figure);
    return status;
}

static kh_status draw_blocks(const kh_truth_result *r, const char *footnote, const char *folder,
                             kh_error *err) {
    static const curve_texts texts = {.name = "the block's most aligned neuron",
                                      .null_name = "random neurons of the top-1's block",
                                      .x = "block (0 is the first)",
                                      .titles = {"Overlap with the object", "Pointing game",
                                                 "Pixels of the object above the others"},
                                      .y = {"IoU", "scenes hit (share)", "AUROC"}};
    const kh_figure_options options = {
        .title = "Where each block's most aligned neuron fires",
        .subtitle =
            "For every class and block, the neuron of that block whose value vector is most "
            "aligned with the class, compared with the object's true mask; means over "
            "classes.",
        .footnote = footnote};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    if (!status)
        status = add_curves(r, figure, r->plan.topk + r->plan.draws, r->plan.blocks, &texts, err);
    if (!status) return kh_outdir_figure(folder, "truth_blocks", figure, err);
    kh_figure_free(figure);
    return status;
}

kh_status kh_truth_write_charts(const kh_truth_result *r, const char *folder, kh_error *err) {
    char footnote[640];
    kh_truth_footnote(r, footnote, sizeof footnote);
    KH_TRY(draw_fig3(r, footnote, folder, err));
    KH_TRY(draw_classes(r, footnote, folder, err));
    KH_TRY(draw_ranks(r, footnote, folder, err));
    return draw_blocks(r, footnote, folder, err);
}
