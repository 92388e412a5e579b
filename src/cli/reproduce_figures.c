/* Charts of `reproduce`: figure 3, overlap by block; those of the atlas and of the ablation. */
#include "cli/reproduce_figures.h"

#include "cli/outdir.h"
#include "cli/run_figures.h"

#include "base/alloc.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WIDE = 860, SHARP = 2 /* pixels for one on the page */ };

static kh_status figures_folder(const kh_reproduce *r, char *out, size_t room, kh_error *err) {
    return kh_outdir_path(r->settings->out, out, room, err, "figures");
}

void kh_reproduce_footnote(const kh_reproduce *r, char *out, size_t out_bytes) {
    char mode[32];
    (void)snprintf(mode, sizeof mode, "alignment mode %s", kh_align_mode_name(r->ranking.mode));
    kh_model_footnote(r->session->model, mode, out, out_bytes);
}

void kh_reproduce_list(kh_reproduce *r, const char *file) {
    if (r->figure_count == KH_REPRODUCE_FIGURES) return;
    (void)snprintf(r->figure_files[r->figure_count++], sizeof r->figure_files[0], "%s", file);
}

kh_status kh_reproduce_show(kh_reproduce *r, kh_figure *figure, const char *stem,
                            const char *alternative, const char *caption, kh_error *err) {
    char folder[KH_REPRODUCE_PATH];
    char file[48];
    uint8_t *bytes = NULL;
    size_t count = 0, width = 0, height = 0;
    kh_status status = kh_figure_size(figure, &width, &height, err);
    if (!status) status = kh_figure_render(figure, KH_FIGURE_PNG, SHARP, &bytes, &count, err);
    if (!status) kh_html_figure(&r->figures, stem, bytes, count, width, alternative, caption);
    (void)snprintf(file, sizeof file, "figures/%s", stem);
    kh_reproduce_list(r, file);
    free(bytes);
    if (!status) status = figures_folder(r, folder, sizeof folder, err);
    if (!status) return kh_outdir_figure(folder, stem, figure, err);
    kh_figure_free(figure);
    return status;
}

/* ---- figure 3 -------------------------------------------------------------------------------- */

static kh_status draw_fig3(kh_reproduce *r, kh_error *err) {
    const size_t blocks = r->info->blocks;
    double *band = kh_calloc(blocks, 2 * sizeof *band);
    uint64_t *counts = kh_calloc(blocks, sizeof *counts);
    char footnote[512], null_name[64];
    kh_figure *figure = NULL;
    kh_status status = band && counts ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for figure 3");
    for (size_t b = 0; b < blocks && !status; b++) {
        counts[b] = r->top_blocks[b];
        band[b] = r->null_band.block_share[b].lo * (double)r->info->classes;
        band[blocks + b] = r->null_band.block_share[b].hi * (double)r->info->classes;
    }
    kh_reproduce_footnote(r, footnote, sizeof footnote);
    (void)snprintf(null_name, sizeof null_name, "95 %% of %zu random heads", r->null_band.draws);
    const kh_figure_blocks_histogram what = {.head.footnote = footnote,
                                             .counts = counts,
                                             .ranks = 1,
                                             .blocks = blocks,
                                             .null_low = band,
                                             .null_high = band ? band + blocks : NULL,
                                             .null_name = null_name,
                                             .mode = kh_align_mode_name(r->ranking.mode)};
    if (!status) status = kh_figure_fig3(&what, &figure, err);
    kh_free(band);
    kh_free(counts);
    if (status) return status;
    return kh_reproduce_show(r, figure, "fig3",
                             "Bar chart: classes by the block of their top-1 neuron",
                             "Figure 3. In which block the best aligned neuron of each class sits. "
                             "From the weights alone; grey is what a random head gives. C1, C2.",
                             err);
}

/* ---- figures of the atlas -------------------------------------------------------------------- */

kh_status kh_reproduce_embed(kh_reproduce *r, const char *folder, const char *stem, const char *id,
                             const char *alternative, const char *caption, kh_error *err) {
    char path[KH_REPRODUCE_PATH];
    unsigned char *bytes = NULL;
    size_t count = 0;
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "%s.png", stem));
    KH_TRY(kh_file_read(path, 64u << 20, &bytes, &count, err));
    kh_html_figure(&r->figures, id, bytes, count, WIDE, alternative, caption);
    kh_free(bytes);
    return KH_OK;
}

/* Figures of a run that may not have all of them. */
static kh_status embed_if_there(kh_reproduce *r, const char *folder, const char *stem,
                                const char *id, const char *alternative, const char *caption,
                                kh_error *err) {
    char path[KH_REPRODUCE_PATH];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "%s.png", stem));
    if (!kh_file_exists(path)) return KH_OK;
    return kh_reproduce_embed(r, folder, stem, id, alternative, caption, err);
}

static kh_status show_pages(kh_reproduce *r, const char *folder, kh_error *err) {
    static const struct {
        const char *stem, *id, *alternative, *caption;
    } pages[] = {
        {"fig4", "fig4", "Stem plots, one a block",
         "Figure 4. Class-averaged activation of every neuron of every block. C4 looks at the "
         "highest stem of each block, C5 at how few stems hold the sum."},
        {"fig5_D1", "fig5", "Matrices of distances between classes, one a block",
         "Figure 5. How far apart classes are by the maps of their best aligned neuron. C7."},
        {"fig6_D1", "fig6", "Matrices of distances between classes, one a block",
         "Figure 6. The same with three neurons. C8."},
        {"audit", "audit", "Charts of token lengths, outliers and bright patches",
         "Beyond the report: lengths of tokens, outliers, and patches on which many neurons peak. "
         "C13."},
        {"attribution", "attribution", "Charts of what adds to the true class's logit",
         "Beyond the report: what adds to the true class's logit, and how few neurons it is. C17."},
        {"detectors", "detectors", "Bar charts of detectors by category and block",
         "Beyond the report: Network Dissection, which it could not run."},
    };
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++)
        KH_TRY(embed_if_there(r, folder, pages[i].stem, pages[i].id, pages[i].alternative,
                              pages[i].caption, err));
    return KH_OK;
}

/* Those that are there are used; a run that was handed in is not written to. */
static kh_status show_atlas(kh_reproduce *r, const char *own_folder, kh_error *err) {
    char folder[KH_REPRODUCE_PATH];
    KH_TRY(kh_outdir_path(r->run, folder, sizeof folder, err, "figures"));
    if (kh_run_is_drawn(r->run)) return show_pages(r, folder, err);
    if (r->settings->atlas) KH_TRY(kh_outdir_path(own_folder, folder, sizeof folder, err, "atlas"));
    KH_TRY(kh_run_draw(r->run, folder, r->settings->progress, r->session, NULL, err));
    return show_pages(r, folder, err);
}

/* ---- overlap by block ------------------------------------------------------------------------ */

static kh_status draw_overlap(kh_reproduce *r, kh_error *err) {
    const kh_reproduce_maps *m = &r->maps;
    const size_t blocks = r->info->blocks;
    if (m->shown == 0) return KH_OK;
    double *y = kh_calloc(blocks, 2 * sizeof *y), n = 0;
    if (!y) return kh_fail(err, KH_E_MEMORY, "no memory for a chart");
    for (size_t i = 0; i < m->images; i++) {
        const kh_truth_score *s = m->scores + i * m->plan.scored;
        if (!m->is_seen[i] || s->object == 0) continue;
        n += 1;
        for (size_t b = 0; b < blocks; b++) {
            y[b] += s[m->plan.topk + m->plan.draws + b].iou;
            y[blocks + b] += kh_lens_chance_iou(1 - r->settings->percentile / 100, s->share);
        }
    }
    for (size_t b = 0; b < 2 * blocks; b++)
        y[b] /= n;
    char footnote[512];
    kh_reproduce_footnote(r, footnote, sizeof footnote);
    const kh_figure_options options = {
        .title = "From which block on does the top neuron cover the object?",
        .subtitle = "Overlap (IoU) of the strongest fifth of each block's best aligned neuron with "
                    "the true mask; mean over images.",
        .footnote = footnote};
    const kh_figure_line lines[] = {{.name = "best aligned neuron of the block",
                                     .y = y,
                                     .count = blocks,
                                     .kind = KH_LINE_POINTS},
                                    {.name = "a random fifth of the picture",
                                     .y = y + blocks,
                                     .count = blocks,
                                     .kind = KH_LINE_NULL}};
    const kh_figure_lines chart = {.x = {.label = "block"},
                                   .y = {.label = "IoU"},
                                   .lines = lines,
                                   .line_count = 2,
                                   .is_x_integer = true,
                                   .width = 640,
                                   .height = 260};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    if (!status) status = kh_figure_add_lines(figure, &chart, err);
    kh_free(y);
    if (!status)
        return kh_reproduce_show(r, figure, "overlap", "Line chart of overlap by block",
                                 "Beyond figures 1 and 2: the same measured over all images. C9.",
                                 err);
    kh_figure_free(figure);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------- */

static void add_dreams(kh_reproduce *r) {
    kh_text_add(
        &r->figures,
        "<p id=\"dreams\">Figures 7 to 9, 12 and 13 are pictures painted for a neuron. They "
        "take long and are made by <code>keyhole dream MODEL --class NAME --out DIR</code>: "
        "with <code>--preset report-fail</code> for figure 7, <code>--preset report-quant</code> "
        "for "
        "8, <code>--preset report-qual</code> for 9 (and <code>--topk 5</code> for five neurons), "
        "<code>--preset report-qual --images 3 --diversity 11.8</code> for 12 and 13. "
        "keyhole’s docs/dream.md says more.</p>\n");
}

kh_status kh_reproduce_draw(kh_reproduce *r, kh_error *err) {
    char folder[KH_REPRODUCE_PATH];
    KH_TRY(figures_folder(r, folder, sizeof folder, err));
    KH_TRY(kh_make_directories(folder, err));
    KH_TRY(kh_reproduce_draw_blocks(r, err));
    KH_TRY(draw_overlap(r, err));
    KH_TRY(draw_fig3(r, err));
    KH_TRY(show_atlas(r, folder, err));
    KH_TRY(kh_reproduce_draw_heatmaps(r, err));
    if (r->ablation_folder[0])
        KH_TRY(embed_if_there(
            r, r->ablation_folder, "ablate_damage", "damage",
            "Line charts: damage against the number of neurons taken away",
            "Beyond the report: what the model loses when a class's best aligned neurons "
            "are taken away, beside matched random ones. C14, C17.",
            err));
    add_dreams(r);
    return KH_OK;
}
