/* Figures about alignment: blocks of the top neurons (figure 3), score against rank, histograms. */
#include "base/alloc.h"
#include "base/checked.h"
#include "figure/chart.h"
#include "figure/compose.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *or_else(const char *text, const char *fallback) {
    return text ? text : fallback;
}

/* "alignment S (ln)" */
static const char *score_label(const char *mode, char out[96]) {
    if (mode)
        (void)snprintf(out, 96, "alignment S (%.60s)", mode);
    else
        (void)snprintf(out, 96, "alignment S");
    return out;
}

/* ---- figure 3 -------------------------------------------------------------------------------- */

static kh_status fig3_bars(kh_figure *figure, const kh_figure_blocks_histogram *what,
                           kh_error *err) {
    double *values = kh_calloc(what->blocks, sizeof *values);
    if (!values) return kh_page_no_memory(err);
    for (size_t b = 0; b < what->blocks; b++)
        values[b] = (double)what->counts[b];
    const double width = 120 + 48 * (double)what->blocks;
    const kh_figure_bars bars = {.title = what->ranks > 1 ? "The top key neuron (rank 0)" : NULL,
                                 .x = {.label = "block (0 is the first)"},
                                 .y = {.label = "number of classes"},
                                 .values = values,
                                 .groups = what->blocks,
                                 .show_values = true,
                                 .band_low = what->null_low,
                                 .band_high = what->null_high,
                                 .band_name = or_else(what->null_name, "what chance gives"),
                                 .width = width < 520    ? 520
                                          : width > 1600 ? 1600
                                                         : width};
    const kh_status status = kh_figure_add_bars(figure, &bars, err);
    kh_free(values);
    return status;
}

static kh_status fig3_ranks(kh_figure *figure, const kh_figure_blocks_histogram *what,
                            kh_error *err) {
    const size_t count = what->ranks * what->blocks;
    float *values = kh_calloc(count, sizeof *values);
    const char **names = kh_calloc(what->ranks, sizeof *names);
    char title[64];
    kh_status status = KH_OK;
    (void)snprintf(title, sizeof title, "Ranks 0 to %zu: number of classes", what->ranks - 1);
    if (!values || !names) status = kh_page_no_memory(err);
    for (size_t i = 0; !status && i < count; i++)
        values[i] = (float)what->counts[i];
    for (size_t r = 0; !status && r < what->ranks; r++)
        if (!(names[r] = kh_compose_text(figure, "rank %zu", r))) status = kh_page_no_memory(err);
    const kh_figure_matrix matrix = {.title = title,
                                     .x_label = "block (0 is the first)",
                                     .values = values,
                                     .rows = what->ranks,
                                     .columns = what->blocks,
                                     .row_names = (const char *const *)names,
                                     .scale = {.label = "number of classes"},
                                     .show_numbers = true,
                                     .cell_width = what->blocks <= 24 ? 48 : 0};
    if (!status) status = kh_figure_add_matrix(figure, &matrix, err);
    kh_free(values);
    kh_free(names);
    return status;
}

kh_status kh_figure_fig3(const kh_figure_blocks_histogram *what, kh_figure **out, kh_error *err) {
    char title[256], subtitle[512], most[KH_NUMBER_ROOM], all[KH_NUMBER_ROOM], score[96];
    size_t peak = 0, count;
    uint64_t total = 0;
    kh_figure *figure = NULL;
    *out = NULL;
    if (what->blocks == 0 || what->ranks == 0 || !what->counts)
        return kh_fail(err, KH_E_ARG, "blocks histogram: no blocks or no ranks");
    if (!kh_mul(what->blocks, what->ranks, &count) || count > 1000000)
        return kh_fail(err, KH_E_LIMIT, "blocks histogram: %zu ranks of %zu blocks are too many",
                       what->ranks, what->blocks);
    for (size_t b = 0; b < what->blocks; b++) {
        total += what->counts[b];
        if (what->counts[b] > what->counts[peak]) peak = b;
    }
    (void)snprintf(title, sizeof title, "%s of %s classes have their top key neuron in block %zu",
                   kh_number((double)what->counts[peak], 0, most), kh_number((double)total, 0, all),
                   peak);
    (void)snprintf(subtitle, sizeof subtitle,
                   "For every class, the neuron with the highest %s among all blocks; bars count "
                   "the classes whose neuron sits in that block. From the weights alone.",
                   score_label(what->mode, score));
    KH_TRY(kh_compose_begin(&what->head, title, subtitle, &figure, err));
    kh_status status = fig3_bars(figure, what, err);
    if (!status && what->ranks > 1) status = fig3_ranks(figure, what, err);
    return kh_compose_end(figure, status, out);
}

/* ---- score against rank ---------------------------------------------------------------------- */

static kh_status rank_lines(kh_figure *figure, const kh_figure_rank_scores *what, const double *x,
                            kh_error *err) {
    char score[96], name[64], classes[KH_NUMBER_ROOM];
    kh_figure_line lines[3];
    size_t count = 0;
    memset(lines, 0, sizeof lines);
    (void)snprintf(name, sizeof name, "mean of %s classes",
                   kh_number((double)what->classes, 0, classes));
    lines[count].name = name;
    lines[count].y = what->mean;
    lines[count].low = what->low;
    lines[count].high = what->high;
    lines[count].band_name = "middle half of the classes";
    lines[count++].kind = what->ranks <= 30 ? KH_LINE_POINTS : KH_LINE_SOLID;
    if (what->one) {
        lines[count].name = or_else(what->one_name, "one class");
        lines[count].y = what->one;
        lines[count++].kind = KH_LINE_DASHED;
    }
    if (what->null_low && what->null_high) {
        lines[count].low = what->null_low;
        lines[count].high = what->null_high;
        lines[count].band_name = or_else(what->null_name, "what chance gives");
        lines[count++].kind = KH_LINE_NULL;
    }
    for (size_t i = 0; i < count; i++) {
        lines[i].x = x;
        lines[i].count = what->ranks;
    }
    const kh_figure_lines chart = {
        .x = {.label = what->is_log_rank ? "1 + rank of the neuron within its class"
                                         : "rank of the neuron within its class (0 is the best)",
              .is_log = what->is_log_rank},
        .y = {.label = score_label(what->mode, score)},
        .lines = lines,
        .line_count = count,
        .is_x_integer = true,
        .height = 380};
    return kh_figure_add_lines(figure, &chart, err);
}

kh_status kh_figure_rank_curve(const kh_figure_rank_scores *what, kh_figure **out, kh_error *err) {
    char title[256], gap[KH_NUMBER_ROOM], score[96], subtitle[256];
    kh_figure *figure = NULL;
    *out = NULL;
    if (what->ranks == 0 || !what->mean)
        return kh_fail(err, KH_E_ARG, "rank curve: no ranks to draw");
    if (what->ranks > 1000000)
        return kh_fail(err, KH_E_LIMIT, "rank curve: %zu ranks are too many", what->ranks);
    if (what->ranks > 1)
        (void)snprintf(title, sizeof title, "Rank 0 leads rank 1 by %s on average",
                       kh_number_short(what->mean[0] - what->mean[1], 3, gap));
    else
        (void)snprintf(title, sizeof title, "Score of the top key neuron");
    (void)snprintf(subtitle, sizeof subtitle,
                   "For every class all neurons of all blocks are ranked by %s. From the weights "
                   "alone.",
                   score_label(what->mode, score));
    double *x = kh_calloc(what->ranks, sizeof *x);
    if (!x) return kh_page_no_memory(err);
    for (size_t i = 0; i < what->ranks; i++)
        x[i] = what->is_log_rank ? (double)i + 1 : (double)i; /* no place for 0 on a log axis */
    kh_status status = kh_compose_begin(&what->head, title, subtitle, &figure, err);
    if (!status) {
        status = rank_lines(figure, what, x, err);
        status = kh_compose_end(figure, status, out);
    }
    kh_free(x);
    return status;
}

/* ---- histograms ------------------------------------------------------------------------------ */

static size_t align_series(const kh_figure_align_counts *what, const uint64_t *from[3]) {
    size_t series = 0;
    from[series++] = what->counts;
    if (what->best_counts) from[series++] = what->best_counts;
    if (what->null_counts) from[series++] = what->null_counts;
    return series;
}

static kh_status align_legend(kh_figure *figure, const kh_figure_align_counts *what,
                              kh_error *err) {
    kh_key keys[3];
    size_t count = 0;
    keys[count++] =
        (kh_key){"every neuron with every class", kh_shade(kh_hues[0], 0.4), KH_KEY_BOX};
    if (what->best_counts)
        keys[count++] = (kh_key){"every neuron with its best class", kh_hues[1], KH_KEY_LINE};
    if (what->null_counts)
        keys[count++] =
            (kh_key){or_else(what->null_name, "what chance gives"), KH_GREY_BAND, KH_KEY_BOX};
    return kh_legend_add(figure, keys, count, err);
}

static kh_status align_panels(kh_figure *figure, const kh_figure_align_counts *what,
                              uint64_t *counts, kh_error *err) {
    const uint64_t *from[3];
    const size_t series = align_series(what, from);
    char title[64], score[96];
    KH_TRY(align_legend(figure, what, err));
    kh_figure_columns(figure, what->blocks < 3 ? what->blocks : 3);
    for (size_t b = 0; b < what->blocks; b++) {
        for (size_t s = 0; s < series; s++)
            memcpy(counts + s * what->bins, from[s] + b * what->bins, what->bins * sizeof *counts);
        (void)snprintf(title, sizeof title, "block %zu", what->first_block + b);
        const kh_figure_histogram histogram = {.title = title,
                                               .x = {.label = score_label(what->mode, score)},
                                               .y = {.label = "share", .is_log = what->is_log_y},
                                               .counts = counts,
                                               .series = series,
                                               .bins = what->bins,
                                               .low = what->low,
                                               .high = what->high,
                                               .is_share = true,
                                               .is_last_null = what->null_counts != NULL,
                                               .width = what->blocks < 3 ? 480 : 340,
                                               .height = 230};
        KH_TRY(kh_figure_add_histogram(figure, &histogram, err));
    }
    kh_figure_columns(figure, 1);
    return KH_OK;
}

kh_status kh_figure_align_hist(const kh_figure_align_counts *what, kh_figure **out, kh_error *err) {
    char subtitle[256], score[96];
    size_t count;
    kh_figure *figure = NULL;
    *out = NULL;
    if (what->blocks == 0 || what->bins == 0 || !what->counts)
        return kh_fail(err, KH_E_ARG, "alignment histogram: no blocks or no bins");
    if (what->blocks > 1000 || !kh_mul(what->bins, 3, &count) || what->bins > 100000)
        return kh_fail(err, KH_E_LIMIT, "alignment histogram: %zu blocks of %zu bins are too many",
                       what->blocks, what->bins);
    (void)snprintf(subtitle, sizeof subtitle,
                   "Distribution of %s over the neurons of each block, as shares of their number. "
                   "From the weights alone.",
                   score_label(what->mode, score));
    uint64_t *counts = kh_calloc(count, sizeof *counts);
    if (!counts) return kh_page_no_memory(err);
    kh_status status = kh_compose_begin(&what->head, "How strongly value vectors speak for classes",
                                        subtitle, &figure, err);
    if (!status) status = kh_compose_end(figure, align_panels(figure, what, counts, err), out);
    kh_free(counts);
    return status;
}
