/* Charts of `reproduce`: figures 3 to 6, overlap by block, detectors. */
#include "cli/reproduce_figures.h"

#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPARED = 6, LABELLED = 3, PANEL = 270 };

static kh_status figures_folder(const kh_reproduce *r, char *out, size_t room, kh_error *err) {
    return kh_outdir_path(r->settings->out, out, room, err, "figures");
}

void kh_reproduce_footnote(const kh_reproduce *r, char *out, size_t out_bytes) {
    kh_model_footnote(r->session->model, "alignment ln", out, out_bytes);
}

kh_status kh_reproduce_show(kh_reproduce *r, kh_figure *figure, const char *stem,
                            const char *alternative, const char *caption, kh_error *err) {
    char folder[KH_REPRODUCE_PATH];
    uint8_t *bytes = NULL;
    size_t count = 0;
    kh_status status = kh_figure_render(figure, KH_FIGURE_SVG, 1, &bytes, &count, err);
    if (!status)
        kh_html_figure(&r->figures, stem, "image/svg+xml", bytes, count, alternative, caption);
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
                                             .mode = "ln"};
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

/* ---- figure 4 -------------------------------------------------------------------------------- */

static kh_status add_stems(const kh_reproduce *r, const float *means, kh_figure *figure,
                           kh_error *err) {
    const size_t neurons = r->info->neurons;
    double *values = kh_calloc(neurons, sizeof *values);
    kh_status status = values ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for figure 4");
    for (size_t b = 0; b < r->info->blocks && !status; b++) {
        char title[32];
        (void)snprintf(title, sizeof title, "block %zu", b);
        for (size_t n = 0; n < neurons; n++)
            values[n] = (double)means[b * neurons + n];
        const kh_figure_stems stems = {.title = title,
                                       .x = {.label = b + 3 >= r->info->blocks ? "neuron" : NULL},
                                       .y = {.label = b % 3 ? NULL : "mean a"},
                                       .values = values,
                                       .count = neurons,
                                       .labelled = LABELLED,
                                       .width = PANEL,
                                       .height = 170};
        status = kh_figure_add_stems(figure, &stems, err);
    }
    kh_free(values);
    return status;
}

static kh_status draw_fig4(kh_reproduce *r, size_t class_index, kh_error *err) {
    const size_t count = r->info->blocks * r->info->neurons;
    char path[KH_REPRODUCE_PATH], name[96], title[200], footnote[512], caption[400];
    KH_TRY(kh_outdir_path(r->run, path, sizeof path, err, "arrays/class_mean.npy"));
    if (!kh_file_exists(path) || r->labelled == 0) return KH_OK;
    float *means = kh_alloc_floats(count);
    if (!means) return kh_fail(err, KH_E_MEMORY, "no memory for figure 4");
    kh_class_short(r->classes, class_index, name, sizeof name);
    (void)snprintf(title, sizeof title, "What pictures of %s activate, block by block", name);
    kh_reproduce_footnote(r, footnote, sizeof footnote);
    const kh_figure_options options = {
        .title = title,
        .subtitle = "Mean memory coefficient of every key neuron over the class's images and their "
                    "patches; the three strongest of a block are named. Scales differ.",
        .footnote = footnote};
    kh_figure *figure = NULL;
    kh_status status = kh_store_npy_floats(path, class_index * count, count, means, err);
    if (!status) status = kh_figure_create(&options, &figure, err);
    if (!status) kh_figure_columns(figure, 3);
    if (!status) status = add_stems(r, means, figure, err);
    kh_free(means);
    if (status) {
        kh_figure_free(figure);
        return status;
    }
    (void)snprintf(caption, sizeof caption,
                   "Figure 4. Class-averaged activation of every neuron, class %s. C4 looks at the "
                   "highest stem of each block, C5 at how few stems hold the sum.",
                   name);
    return kh_reproduce_show(r, figure, "fig4", "Stem plots, one a block", caption, err);
}

/* ---- figures 5 and 6 ------------------------------------------------------------------------- */

/* Of the compared classes a few: three relatives, then others. */
static kh_status few_classes(const kh_reproduce *r, size_t *few, size_t *count, kh_error *err) {
    kh_answer *rows = NULL;
    KH_TRY(
        kh_reproduce_ask(r, "SELECT DISTINCT class_a FROM distances ORDER BY class_a", &rows, err));
    *count = 0;
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = 0; i < kh_answer_rows(rows); i++) {
            const size_t c = (size_t)kh_answer_number(rows, i, 0);
            const size_t most = turn == 0 ? COMPARED / 2 : COMPARED;
            if (c < r->info->classes && r->is_relative[c] == (turn == 0) && *count < most)
                few[(*count)++] = c;
        }
    kh_answer_free(rows);
    return KH_OK;
}

static size_t find(const size_t *few, size_t count, double class_index) {
    size_t i = 0;
    while (i < count && few[i] != (size_t)class_index)
        i++;
    return i;
}

static kh_status add_matrices(const kh_reproduce *r, size_t k, const size_t *few, size_t count,
                              kh_figure *figure, kh_error *err) {
    char query[160], names[COMPARED][32];
    const char *shown[COMPARED];
    kh_answer *rows = NULL;
    (void)snprintf(query, sizeof query,
                   "SELECT block, class_a, class_b, distance FROM distances WHERE definition = "
                   "'D1' AND k = %zu",
                   k);
    for (size_t i = 0; i < count; i++) {
        char name[96];
        kh_class_short(r->classes, few[i], name, sizeof name);
        (void)snprintf(names[i], sizeof names[i], "%.12s", name);
        shown[i] = names[i];
    }
    KH_TRY(kh_reproduce_ask(r, query, &rows, err));
    kh_status status = KH_OK;
    for (size_t b = 0; b < r->info->blocks && !status; b++) {
        float values[COMPARED * COMPARED];
        char title[32];
        (void)snprintf(title, sizeof title, "block %zu", b);
        for (size_t i = 0; i < count * count; i++)
            values[i] = NAN;
        for (size_t i = 0; i < kh_answer_rows(rows); i++) {
            const size_t one = find(few, count, kh_answer_number(rows, i, 1)),
                         other = find(few, count, kh_answer_number(rows, i, 2));
            if ((size_t)kh_answer_number(rows, i, 0) == b && one < count && other < count)
                values[one * count + other] = (float)kh_answer_number(rows, i, 3);
        }
        const kh_figure_matrix matrix = {.title = title,
                                         .values = values,
                                         .rows = count,
                                         .columns = count,
                                         .row_names = shown,
                                         .column_names = shown,
                                         .show_numbers = true,
                                         .decimals = 1,
                                         .cell_width = 34,
                                         .cell_height = 24};
        status = kh_figure_add_matrix(figure, &matrix, err);
    }
    kh_answer_free(rows);
    return status;
}

static kh_status draw_distances(kh_reproduce *r, size_t k, kh_error *err) {
    size_t few[COMPARED], count = 0;
    char footnote[512], stem[8], title[120], caption[400];
    if (r->labelled == 0 || !kh_reproduce_has_table(r->database, "distances")) return KH_OK;
    KH_TRY(few_classes(r, few, &count, err));
    kh_reproduce_footnote(r, footnote, sizeof footnote);
    (void)snprintf(title, sizeof title, "How far apart classes are, by the maps of %s",
                   k == 1 ? "their top neuron" : "their top three neurons");
    const kh_figure_options options = {
        .title = title,
        .subtitle = "Euclidean distance between the classes' mean activation maps, each of its own "
                    "best aligned neurons of the block. Colours per block: compare within one.",
        .footnote = footnote};
    kh_figure *figure = NULL;
    KH_TRY(kh_figure_create(&options, &figure, err));
    kh_figure_columns(figure, 3);
    const kh_status status = add_matrices(r, k, few, count, figure, err);
    if (status) {
        kh_figure_free(figure);
        return status;
    }
    (void)snprintf(stem, sizeof stem, "fig%d", k == 1 ? 5 : 6);
    (void)snprintf(
        caption, sizeof caption,
        "Figure %d. Block-wise distances with %s (definition D1); the first three classes "
        "are relatives where there are any. %s.",
        k == 1 ? 5 : 6, k == 1 ? "one neuron" : "three neurons", k == 1 ? "C7" : "C8");
    return kh_reproduce_show(r, figure, stem, "Matrices of distances between classes, one a block",
                             caption, err);
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
        "take long and are made by <code>keyhole dream</code>: <code>keyhole dream MODEL "
        "--class NAME --out DIR</code> (figures 8, 9), <code>--objective post</code> (7), "
        "<code>--diversity</code> (12, 13); keyhole’s docs/dream.md has the settings of each."
        "</p>\n");
}

kh_status kh_reproduce_draw(kh_reproduce *r, kh_error *err) {
    char folder[KH_REPRODUCE_PATH];
    size_t class_index = 0;
    KH_TRY(figures_folder(r, folder, sizeof folder, err));
    KH_TRY(kh_make_directories(folder, err));
    KH_TRY(kh_reproduce_draw_pictures(r, &class_index, err));
    KH_TRY(draw_overlap(r, err));
    KH_TRY(draw_fig3(r, err));
    KH_TRY(draw_fig4(r, class_index, err));
    KH_TRY(draw_distances(r, 1, err));
    KH_TRY(draw_distances(r, 3, err));
    add_dreams(r);
    return KH_OK;
}
