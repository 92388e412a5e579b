/* keyhole pairs: for every class and block, the two value vectors whose sum speaks most for it. */
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/lists.h"
#include "cli/outdir.h"
#include "cli/run_figures.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/sorted.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *head, *source, *classes, *blocks, *out, *weights;
    bool overwrite;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->head = "first";
    s->source = "mlp";
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "blocks", 0, offsetof(settings, blocks), "LIST",
     "Blocks to search, like 3,8-11. Default: all."},
    {KH_OPT_TEXT, "classes", 'c', offsetof(settings, classes), "LIST",
     "Classes to print, separated by commas: index, wnid or name. Default: a summary per block."},
    {KH_OPT_TEXT, "weights", 'w', offsetof(settings, weights), "RUN",
     "Multiply every value vector with its class-mean coefficient from this atlas run (of its own"
     " images), as the model does. Default: vectors as they are."},
    {KH_OPT_TEXT, "source", 0, offsetof(settings, source), "mlp|attention",
     "Value vectors of the MLPs, or columns of the attention output. Default: mlp."},
    {KH_OPT_TEXT, "head", 0, offsetof(settings, head), "first|second",
     "Which class embeddings, for models with two (distilled, DINOv2). Default: first."},
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Write pairs.csv, the figure and manifest.json there."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace results that are already in DIR."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

typedef struct search {
    kh_align_options align;
    size_t blocks, units, classes;
    bool *chosen;         /* [blocks] */
    kh_pair *pairs;       /* [blocks, classes] */
    kh_class_by class_by; /* of the means of --weights */
    kh_class_reduction class_reduction;
    char means_of[64]; /* says so, where they are not as always */
} search;

/* What a block gains, over the classes it has scores for. */
typedef struct gains {
    size_t classes, is_top2;   /* is_top2: classes whose best pair is their two best vectors */
    double single, score;      /* means */
    double gain[3], over_top2; /* quartiles of score - best single; mean of score - top2 */
} gains;

static kh_status sum_up(const search *q, size_t block, gains *out, kh_error *err) {
    double *gain = kh_calloc(q->classes, sizeof *gain);
    if (!gain) return kh_fail(err, KH_E_MEMORY, "no memory for the gains of a block");
    *out = (gains){0};
    for (size_t c = 0; c < q->classes; c++) {
        const kh_pair *p = &q->pairs[block * q->classes + c];
        if (isnan(p->score)) continue;
        gain[out->classes++] = (double)p->score - (double)p->best_single;
        out->single += (double)p->best_single;
        out->score += (double)p->score;
        out->over_top2 += (double)p->score - (double)p->top2;
        out->is_top2 += !(p->score > p->top2);
    }
    const double n = (double)out->classes;
    qsort(gain, out->classes, sizeof *gain, kh_compare_doubles);
    out->single /= n;
    out->score /= n;
    out->over_top2 /= n;
    for (size_t i = 0; i < 3; i++)
        out->gain[i] = out->classes ? kh_sorted_quantile(gain, out->classes, 0.25 * (double)(i + 1))
                                    : (double)NAN;
    kh_free(gain);
    return KH_OK;
}

/* ---- searching ------------------------------------------------------------------------------- */

/* weights [classes, units] of a block out of class_mean.npy [classes, blocks, units]. */
static kh_status read_weights(const search *q, const char *run, size_t block, float *out,
                              kh_error *err) {
    char path[4096];
    size_t shape[8], rank;
    KH_TRY(kh_outdir_path(run, path, sizeof path, err, "arrays/class_mean.npy"));
    KH_TRY(kh_store_npy_shape(path, shape, &rank, err));
    if (rank != 3 || shape[0] != q->classes || shape[1] != q->blocks || shape[2] != q->units)
        return kh_fail(err, KH_E_SHAPE,
                       "'%s' is not of this model: it has %zu classes, %zu blocks, %zu neurons",
                       path, q->classes, q->blocks, q->units);
    for (size_t c = 0; c < q->classes; c++)
        KH_TRY(kh_store_npy_floats(path, (c * q->blocks + block) * q->units, q->units,
                                   out + c * q->units, err));
    return KH_OK;
}

static kh_status read_setting(search *q, const char *run, kh_error *err) {
    KH_TRY(kh_run_class_setting(run, &q->class_by, &q->class_reduction, err));
    if (q->class_by == KH_BY_TRUTH && q->class_reduction == KH_REDUCE_MEAN) return KH_OK;
    (void)snprintf(q->means_of, sizeof q->means_of, " (images by %s, reduction %s)",
                   kh_class_by_name(q->class_by), kh_class_reduction_name(q->class_reduction));
    return KH_OK;
}

static kh_status search_blocks(kh_session *session, const settings *s, search *q, kh_error *err) {
    size_t wanted = 0, done = 0;
    float *weights = NULL;
    kh_status status = KH_OK;
    for (size_t b = 0; b < q->blocks; b++)
        wanted += q->chosen[b];
    if (s->weights && !(weights = kh_alloc_floats(q->classes * q->units)))
        return kh_fail(err, KH_E_MEMORY, "no memory for the weights of a block");
    for (size_t b = 0; b < q->blocks && !status; b++) {
        if (!q->chosen[b]) continue;
        (void)kh_session_progress(session, "blocks", done, wanted);
        if (weights) status = read_weights(q, s->weights, b, weights, err);
        if (!status)
            status = kh_lens_pairs_weighted(session->ctx, session->model, &q->align, b, weights,
                                            q->pairs + b * q->classes, q->classes, err);
        done++;
    }
    (void)kh_session_progress(session, "blocks", wanted, wanted);
    kh_free(weights);
    return status;
}

static kh_status prepare(const settings *s, const kh_model *model, search *q, kh_error *err) {
    q->align = kh_align_options_default();
    q->align.source = strcmp(s->source, "mlp") == 0 ? KH_ALIGN_MLP : KH_ALIGN_ATTENTION;
    q->align.head = strcmp(s->head, "first") == 0 ? KH_HEAD_FIRST : KH_HEAD_SECOND;
    KH_TRY(kh_lens_alignment_shape(model, &q->align, &q->units, &q->classes, err));
    q->blocks = kh_model_get_info(model)->blocks;
    q->chosen = kh_calloc(q->blocks, sizeof *q->chosen);
    q->pairs = kh_calloc(q->blocks * q->classes, sizeof *q->pairs);
    if (!q->chosen || !q->pairs) return kh_fail(err, KH_E_MEMORY, "no memory for the pairs");
    return kh_block_list(s->blocks, q->blocks, q->chosen, err);
}

/* ---- results --------------------------------------------------------------------------------- */

static kh_status write_table(const search *q, const char *folder, kh_error *err) {
    static const char *const columns[] = {
        "class", "block", "i", "j", "score", "gain_over_best_single", "gain_over_top2"};
    char path[4096];
    kh_csv *csv = NULL;
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "pairs.csv"));
    KH_TRY(kh_store_csv_open(path, columns, sizeof columns / sizeof *columns, &csv, err));
    for (size_t b = 0; b < q->blocks; b++)
        for (size_t c = 0; c < q->classes && q->chosen[b]; c++) {
            const kh_pair *p = &q->pairs[b * q->classes + c];
            kh_store_csv_size(csv, c);
            kh_store_csv_size(csv, b);
            kh_store_csv_size(csv, p->i);
            kh_store_csv_size(csv, p->j);
            kh_store_csv_f32(csv, p->score);
            kh_store_csv_f32(csv, p->score - p->best_single);
            kh_store_csv_f32(csv, p->score - p->top2);
            kh_store_csv_end(csv);
        }
    return kh_store_csv_close(csv, err);
}

static kh_status add_charts(kh_figure *figure, const search *q, const double *of, kh_error *err) {
    const double *single = of, *score = of + q->blocks;
    const double *low = of + 2 * q->blocks, *middle = of + 3 * q->blocks;
    const double *high = of + 4 * q->blocks, *share = of + 5 * q->blocks;
    const kh_figure_line scores[] = {
        {.name = "best pair, mean over classes",
         .y = score,
         .count = q->blocks,
         .kind = KH_LINE_POINTS},
        {.name = "best single vector", .y = single, .count = q->blocks, .kind = KH_LINE_DASHED}};
    const kh_figure_line gain[] = {{.name = "median class",
                                    .y = middle,
                                    .low = low,
                                    .high = high,
                                    .band_name = "middle half of the classes",
                                    .count = q->blocks,
                                    .kind = KH_LINE_POINTS}};
    const kh_figure_lines charts[] = {{.title = "Score of the sum",
                                       .x = {.label = "block (0 is the first)"},
                                       .y = {.label = "alignment ln (logits)"},
                                       .lines = scores,
                                       .line_count = 2,
                                       .is_x_integer = true},
                                      {.title = "What the second vector adds",
                                       .x = {.label = "block (0 is the first)"},
                                       .y = {.label = "best pair - best single (logits)"},
                                       .lines = gain,
                                       .line_count = 1,
                                       .is_x_integer = true}};
    for (size_t i = 0; i < 2; i++)
        KH_TRY(kh_figure_add_lines(figure, &charts[i], err));
    const kh_figure_bars bars = {.title =
                                     "Classes whose best pair is simply their two best vectors",
                                 .x = {.label = "block (0 is the first)"},
                                 .y = {.label = "share of classes", .high = 1},
                                 .values = share,
                                 .groups = q->blocks};
    return kh_figure_add_bars(figure, &bars, err);
}

static kh_status draw(const settings *s, const search *q, const kh_model *model, const char *folder,
                      kh_error *err) {
    double *of = kh_calloc(6 * q->blocks, sizeof *of);
    if (!of) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    size_t best = SIZE_MAX, n = 0;
    gains g, top = {0};
    kh_status status = KH_OK;
    for (size_t b = 0; b < q->blocks && !status; b++) {
        for (size_t i = 0; i < 6; i++)
            of[i * q->blocks + b] = (double)NAN;
        if (!q->chosen[b]) continue;
        status = sum_up(q, b, &g, err);
        if (status || g.classes == 0) continue;
        const double row[6] = {g.single,  g.score,   g.gain[0],
                               g.gain[1], g.gain[2], (double)g.is_top2 / (double)g.classes};
        for (size_t i = 0; i < 6; i++)
            of[i * q->blocks + b] = row[i];
        n = g.classes;
        if (best == SIZE_MAX || g.score > top.score) best = b, top = g;
    }
    char title[200], subtitle[400], footnote[512];
    (void)snprintf(title, sizeof title,
                   "In block %zu two value vectors together score %.2f, the best one alone %.2f",
                   best == SIZE_MAX ? 0 : best, top.score, top.single);
    (void)snprintf(subtitle, sizeof subtitle,
                   "For each of %zu classes, the pair of a block's value vectors with the largest "
                   "alignment of their sum, found by looking at every pair. ln is what the "
                   "classifier would say of the sum alone%s%s.",
                   n, s->weights ? "; vectors weighted by their class-mean coefficient" : "",
                   q->means_of);
    kh_model_footnote(model, s->weights ? "alignment mode ln, weighted pairs" : "alignment mode ln",
                      footnote, sizeof footnote);
    const kh_figure_options how = {.title = title, .subtitle = subtitle, .footnote = footnote};
    kh_figure *figure = NULL;
    if (!status) status = kh_figure_create(&how, &figure, err);
    if (!status) status = add_charts(figure, q, of, err);
    if (!status)
        status = kh_figure_add_note(
            figure,
            "Not to be read from it: that the two fire together on any image, or that the model "
            "uses them. Random weights gain as well, because there are millions of pairs to choose "
            "from.",
            err);
    kh_free(of);
    if (!status) return kh_outdir_figure(folder, "pairs", figure, err);
    kh_figure_free(figure);
    return status;
}

static kh_status write_all(const settings *s, const search *q, const kh_model *model,
                           kh_error *err) {
    kh_manifest *manifest = NULL;
    KH_TRY(kh_outdir_begin(s->out, "pairs", err));
    KH_TRY(draw(s, q, model, s->out, err));
    KH_TRY(write_table(q, s->out, err));
    KH_TRY(kh_store_manifest_create("pairs", &manifest, err));
    kh_store_manifest_model(manifest, kh_model_get_info(model));
    kh_store_manifest_text(manifest, "pairs.source", s->source);
    kh_store_manifest_text(manifest, "pairs.head", s->head);
    if (s->weights) {
        kh_store_manifest_text(manifest, "pairs.weights", s->weights);
        kh_store_manifest_text(manifest, "pairs.class_by", kh_class_by_name(q->class_by));
        kh_store_manifest_text(manifest, "pairs.class_reduction",
                               kh_class_reduction_name(q->class_reduction));
    }
    kh_store_manifest_file(manifest, "pairs.csv", NULL, 0, "best pair of every class and block");
    kh_outdir_list_figure(manifest, "pairs", "scores and gains of pairs per block");
    const kh_status status = kh_outdir_finish(s->out, manifest, err);
    kh_store_manifest_free(manifest);
    return status;
}

static kh_status print_blocks(const search *q, kh_error *err) {
    printf("%zu classes, %zu value vectors a block, every pair\n", q->classes, q->units);
    if (q->means_of[0]) printf("weighted by class means%s\n", q->means_of);
    printf("block  best single  best pair  gain  (quartiles over classes)  over the two best  "
           "they are the two best\n");
    for (size_t b = 0; b < q->blocks; b++) {
        gains g;
        if (!q->chosen[b]) continue;
        KH_TRY(sum_up(q, b, &g, err));
        printf("%5zu  %11.4f  %9.4f  %.4f  (%.4f, %.4f)  %17.4f  %6.1f %%\n", b, g.single, g.score,
               g.gain[1], g.gain[0], g.gain[2], g.over_top2,
               100.0 * (double)g.is_top2 / (double)g.classes);
    }
    return KH_OK;
}

static void print_class(const search *q, const kh_classes *classes, size_t c) {
    char label[256];
    kh_class_label(classes, c, label, sizeof label);
    printf("class %s\n  block  pair            score  over the best single  over the two best\n",
           label);
    for (size_t b = 0; b < q->blocks; b++) {
        const kh_pair *p = &q->pairs[b * q->classes + c];
        if (q->chosen[b])
            printf("  %5zu  %5u + %-5u  %8.4f  %20.4f  %17.4f\n", b, p->i, p->j, (double)p->score,
                   (double)p->score - (double)p->best_single, (double)p->score - (double)p->top2);
    }
}

static json_t *pairs_json(const search *q, const kh_model *model, const size_t *wanted,
                          size_t count) {
    json_t *list = json_array();
    for (size_t n = 0; n < (wanted ? count : q->classes); n++)
        for (size_t b = 0; b < q->blocks; b++) {
            const size_t c = wanted ? wanted[n] : n;
            const kh_pair *p = &q->pairs[b * q->classes + c];
            if (q->chosen[b])
                json_array_append_new(
                    list, json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "class", (json_int_t)c,
                                    "block", (json_int_t)b, "i", (json_int_t)p->i, "j",
                                    (json_int_t)p->j, "score", kh_json_number((double)p->score),
                                    "best_single", kh_json_number((double)p->best_single), "top2",
                                    kh_json_number((double)p->top2)));
        }
    return json_pack("{s:o, s:o}", "model", kh_model_receipt(model), "pairs", list);
}

static kh_status print_result(const settings *s, const search *q, const kh_model *model,
                              const size_t *wanted, size_t count, kh_error *err) {
    if (s->common.json)
        return kh_print_json(pairs_json(q, model, wanted, count), err) ? KH_OK : KH_E_MEMORY;
    for (size_t i = 0; i < count; i++)
        print_class(q, kh_model_classes(model), wanted[i]);
    if (count == 0) KH_TRY(print_blocks(q, err));
    if (s->out) fprintf(stderr, "results in %s\n", s->out);
    return KH_OK;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    (void)count;
    const settings *s = from;
    kh_session session = {0};
    search q = {0};
    size_t *wanted = NULL, wanted_count = 0;
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s->model, err);
    if (!status) status = kh_require_classes(session.model, err);
    if (!status) status = prepare(s, session.model, &q, err);
    const bool is_misused = status == KH_E_ARG; /* --blocks */
    if (!status && s->weights)
        status = kh_outdir_check_origin(s->weights, "--weights", "atlas",
                                        kh_model_get_info(session.model), NULL, err);
    char digest[65];
    if (!status && s->weights) status = kh_atlas_digest(s->weights, digest, err);
    if (!status && s->weights) status = read_setting(&q, s->weights, err);
    if (!status && s->classes)
        status =
            kh_class_list(kh_model_classes(session.model), s->classes, &wanted, &wanted_count, err);
    if (!status && s->out) status = kh_outdir_check(s->out, "pairs", s->overwrite, err);
    if (!status) status = search_blocks(&session, s, &q, err);
    if (!status && s->out) status = write_all(s, &q, session.model, err);
    if (!status) status = print_result(s, &q, session.model, wanted, wanted_count, err);
    kh_free(wanted);
    kh_free(q.chosen);
    kh_free(q.pairs);
    kh_session_close(&session);
    return is_misused ? KH_EXIT_MISUSED : status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_pairs = {
    .name = "pairs",
    .summary = "for every class and block, the two value vectors whose sum speaks most for it",
    .operands = "MODEL",
    .description =
        "Looks at every pair of value vectors of a block, for all classes, and names the pair whose"
        " sum the classifier gives the highest logit (alignment mode ln, with the final LayerNorm "
        "of"
        " the sum), what the pair gains over the best single vector, and over the sum of the two"
        " best. Exact: one matrix of covariances per block decides all classes. Weights alone;"
        " --weights takes class-mean coefficients from a run of keyhole atlas.",
    .examples = "  keyhole pairs MODEL --blocks 8-11 --out pairs\n"
                "  keyhole pairs MODEL --classes tench,207\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
