/* The figure of --evaluate: recognition against steps, and activations beside natural images. */
#include "cli/dream.h"
#include "cli/outdir.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

static kh_status add_recognition(const kh_dream_run *run, const kh_dream_curve *curves,
                                 size_t count, kh_figure *figure, kh_error *err) {
    enum { LINES = 32 };
    kh_figure_line lines[LINES] = {{0}};
    double x[KH_DREAM_MARKS], top[KH_DREAM_MARKS];
    for (size_t m = 0; m < run->mark_count; m++) {
        x[m] = (double)run->marks[m];
        top[m] = (double)run->distinct / (double)run->best_count;
    }
    if (count > LINES - 1) count = LINES - 1;
    for (size_t i = 0; i < count; i++)
        lines[i] = (kh_figure_line){.name = curves[i].name,
                                    .x = x,
                                    .y = curves[i].share,
                                    .low = curves[i].has_band ? curves[i].low : NULL,
                                    .high = curves[i].has_band ? curves[i].high : NULL,
                                    .band_name = curves[i].has_band ? "95 % interval" : NULL,
                                    .count = run->mark_count,
                                    .kind = curves[i].is_view ? KH_LINE_DASHED : KH_LINE_POINTS};
    lines[count] = (kh_figure_line){.name = "ceiling: distinct neurons / classes",
                                    .x = x,
                                    .y = top,
                                    .count = run->mark_count,
                                    .kind = KH_LINE_NULL};
    const kh_figure_lines chart = {.title = "Share of pictures recognised as their class",
                                   .x = {.label = "steps", .is_log = true},
                                   .y = {.label = "top-1", .low = 0, .high = 1},
                                   .lines = lines,
                                   .line_count = count + 1};
    return kh_figure_add_lines(figure, &chart, err);
}

typedef struct pair {
    double painted, natural;
} pair;

static int by_painted(const void *a, const void *b) {
    const pair *x = a, *y = b;
    return (x->painted < y->painted) - (x->painted > y->painted);
}

/* Best picks with a neuron, the loudest first. Nothing without --natural. */
static kh_status add_activations(const kh_dream_run *run, kh_figure *figure, kh_error *err) {
    pair *pairs = kh_calloc(run->item_count, sizeof *pairs);
    double *painted = kh_calloc(run->item_count, sizeof *painted);
    double *natural = kh_calloc(run->item_count, sizeof *natural);
    size_t count = 0;
    kh_status status = KH_OK;
    if (!pairs || !painted || !natural) status = kh_fail(err, KH_E_MEMORY, "no memory for a chart");
    for (size_t i = 0; !status && i < run->item_count; i++) {
        const kh_dream_item *item = &run->items[i];
        if (isnan(item->z) || (run->picks > 1 && item->pick != KH_PICK_BEST)) continue;
        pairs[count++] = (pair){item->z, item->natural_z};
    }
    if (!status && count > 0) {
        qsort(pairs, count, sizeof *pairs, by_painted);
        for (size_t i = 0; i < count; i++) {
            painted[i] = pairs[i].painted;
            natural[i] = pairs[i].natural;
        }
        const kh_figure_line lines[] = {
            {.name = "painted picture", .y = painted, .count = count, .kind = KH_LINE_POINTS},
            {.name = "the natural image that wakes the neuron most",
             .y = natural,
             .count = count,
             .kind = KH_LINE_DASHED}};
        const kh_figure_lines chart = {
            .title = "Activation of the key neuron, in deviations of natural images",
            .x = {.label = "pictures, loudest first"},
            .y = {.label = "z"},
            .lines = lines,
            .line_count = 2,
            .is_x_integer = true};
        status = kh_figure_add_lines(figure, &chart, err);
    }
    kh_free(pairs);
    kh_free(painted);
    kh_free(natural);
    return status;
}

kh_status kh_dream_evaluation_figure(const kh_dream_run *run, const kh_dream_curve *curves,
                                     size_t count, kh_error *err) {
    char footnote[640];
    kh_model_footnote(run->session->model, run->options->preset, footnote, sizeof footnote);
    const kh_figure_options head = {
        .title = "What painted pictures are taken for",
        .subtitle = "squash: bilinear to the input, as the report did; crop: the checkpoint's own "
                    "preprocessing; rim: grey around it as while painting",
        .footnote = footnote};
    kh_figure *figure;
    KH_TRY(kh_figure_create(&head, &figure, err));
    kh_status status = add_recognition(run, curves, count, figure, err);
    if (!status) status = add_activations(run, figure, err);
    if (!status) return kh_outdir_figure(run->options->out, "evaluation", figure, err);
    kh_figure_free(figure);
    return status;
}
