/* The pictures of `align`: figure 3, score against rank, distribution of S. */
#include "cli/align.h"
#include "cli/outdir.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>

static kh_status draw_fig3(const kh_align_result *r, const char *footnote, const char *folder,
                           kh_error *err) {
    const kh_ranking *k = &r->ranking;
    const size_t ranks = k->k < 5 ? k->k : 5;
    uint64_t *counts = kh_calloc(ranks * k->blocks, sizeof *counts);
    double *low = kh_calloc(k->blocks, sizeof *low), *high = kh_calloc(k->blocks, sizeof *high);
    kh_status status = KH_OK;
    if (!counts || !low || !high) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for figure 3");
    } else {
        for (size_t i = 0; i < ranks * k->blocks; i++)
            counts[i] = r->histogram[i];
        for (size_t b = 0; b < k->blocks && r->has_null; b++) {
            low[b] = r->null_band.block_share[b].lo * (double)k->classes;
            high[b] = r->null_band.block_share[b].hi * (double)k->classes;
        }
        const kh_figure_blocks_histogram what = {
            .head.footnote = footnote,
            .counts = counts,
            .ranks = ranks,
            .blocks = k->blocks,
            .null_low = r->has_null ? low : NULL,
            .null_high = r->has_null ? high : NULL,
            .null_name = r->null_name,
            .mode = kh_align_mode_name(k->mode),
        };
        kh_figure *figure = NULL;
        status = kh_figure_fig3(&what, &figure, err);
        if (!status) status = kh_outdir_figure(folder, "fig3", figure, err);
    }
    kh_free(counts);
    kh_free(low);
    kh_free(high);
    return status;
}

static kh_status draw_curve(const kh_align_result *r, const char *footnote, const char *folder,
                            kh_error *err) {
    const size_t ranks = r->ranking.k;
    double *columns = kh_calloc(5 * ranks, sizeof *columns);
    if (!columns) return kh_fail(err, KH_E_MEMORY, "no memory for the rank curve");
    double *mean = columns, *low = columns + ranks, *high = low + ranks;
    double *null_low = high + ranks, *null_high = null_low + ranks;
    for (size_t i = 0; i < ranks; i++) {
        mean[i] = r->curve[i].mean;
        low[i] = r->curve[i].q25;
        high[i] = r->curve[i].q75;
        null_low[i] = r->null_band.top1.lo;
        null_high[i] = r->null_band.top1.hi;
    }
    char null_name[128];
    (void)snprintf(null_name, sizeof null_name, "rank 0 of %s", r->null_name);
    const kh_figure_rank_scores what = {
        .head.footnote = footnote,
        .ranks = ranks,
        .classes = r->ranking.classes,
        .mean = mean,
        .low = low,
        .high = high,
        .null_low = r->has_null ? null_low : NULL,
        .null_high = r->has_null ? null_high : NULL,
        .null_name = null_name,
        .mode = kh_align_mode_name(r->ranking.mode),
    };
    kh_figure *figure = NULL;
    kh_status status = kh_figure_rank_curve(&what, &figure, err);
    if (!status) status = kh_outdir_figure(folder, "rank_curve", figure, err);
    kh_free(columns);
    return status;
}

/* Values of a histogram below x, as if each bin's were spread evenly over it. */
static double count_below(const uint64_t *counts, double low, double high, double x) {
    double sum = 0;
    const double width = (high - low) / (double)KH_HISTOGRAM_BINS;
    for (size_t i = 0; i < KH_HISTOGRAM_BINS; i++) {
        const double start = low + width * (double)i;
        if (x <= start && width > 0.0) break;
        const double part = width > 0.0 ? fmin((x - start) / width, 1.0) : x >= low ? 1.0 : 0.0;
        sum += part * (double)counts[i];
    }
    return sum;
}

/* Each block's histogram has its own ends; the figure wants common ones. Differences of the rounded
 * cumulative counts keep the total exact. */
static void rebin(const uint64_t *from, double from_low, double from_high, uint64_t *to, double low,
                  double high) {
    double before = 0;
    for (size_t i = 0; i < KH_HISTOGRAM_BINS; i++) {
        const double end = low + (high - low) * (double)(i + 1) / (double)KH_HISTOGRAM_BINS;
        const bool is_last = i + 1 == KH_HISTOGRAM_BINS;
        const double upto =
            round(count_below(from, from_low, from_high, is_last ? (double)INFINITY : end));
        to[i] = (uint64_t)(upto - before);
        before = upto;
    }
}

static kh_status draw_histograms(const kh_align_result *r, const char *footnote, const char *folder,
                                 kh_error *err) {
    const kh_ranking *k = &r->ranking;
    double low = (double)INFINITY, high = -(double)INFINITY;
    for (size_t b = 0; b < k->blocks; b++) {
        low = fmin(low, k->stats[b].min);
        high = fmax(high, k->stats[b].max);
    }
    uint64_t *all = kh_calloc(k->blocks * KH_HISTOGRAM_BINS, sizeof *all);
    uint64_t *best = kh_calloc(k->blocks * KH_HISTOGRAM_BINS, sizeof *best);
    kh_status status = KH_OK;
    if (!all || !best) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for the histograms");
    } else {
        for (size_t b = 0; b < k->blocks; b++) {
            const kh_score_stats *s = &k->stats[b];
            rebin(s->histogram, s->min, s->max, all + b * KH_HISTOGRAM_BINS, low, high);
            rebin(s->top_histogram, s->top_min, s->top_max, best + b * KH_HISTOGRAM_BINS, low,
                  high);
        }
        const kh_figure_align_counts what = {
            .head.footnote = footnote,
            .counts = all,
            .best_counts = best,
            .blocks = k->blocks,
            .bins = KH_HISTOGRAM_BINS,
            .low = low,
            .high = high,
            .mode = kh_align_mode_name(k->mode),
        };
        kh_figure *figure = NULL;
        status = kh_figure_align_hist(&what, &figure, err);
        if (!status) status = kh_outdir_figure(folder, "align_hist", figure, err);
    }
    kh_free(all);
    kh_free(best);
    return status;
}

kh_status kh_align_write_figures(const kh_align_result *r, const kh_model *model,
                                 const char *folder, kh_error *err) {
    char footnote[512];
    kh_model_footnote(model, r->settings_text, footnote, sizeof footnote);
    KH_TRY(draw_fig3(r, footnote, folder, err));
    KH_TRY(draw_curve(r, footnote, folder, err));
    return draw_histograms(r, footnote, folder, err);
}
