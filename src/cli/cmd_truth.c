/* keyhole truth: do the key neurons of a class fire where its object is? In the demo world. */
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/outdir.h"
#include "cli/truth.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SCENES = 10000, MAX_TOPK = 64, MAX_DRAWS = 1000, RESAMPLES = 1000 };

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *mode, *out;
    size_t scenes, seed, topk, draws, batch;
    double percentile;
    bool no_shortcuts, overwrite;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->mode = "ln";
    s->out = "keyhole-truth";
    s->scenes = 50;
    s->seed = 4;
    s->topk = 5;
    s->draws = 20;
    s->batch = 8;
    s->percentile = 80.0;
}

static const kh_option options[] = {
    {KH_OPT_SIZE, "scenes", 'n', offsetof(settings, scenes), "N",
     "Scenes of each class. Default: 50."},
    {KH_OPT_SIZE, "seed", 's', offsetof(settings, seed), "S",
     "Of the scenes, the random neurons and the intervals. Default: 4, no scene of the training."},
    {KH_OPT_SIZE, "topk", 'k', offsetof(settings, topk), "K",
     "First ranks of each class that are compared. Default: 5."},
    {KH_OPT_TEXT, "mode", 'm', offsetof(settings, mode), "raw|cos|ln|fold|margin|prob",
     "Alignment mode of the ranking. Default: ln."},
    {KH_OPT_SIZE, "draws", 0, offsetof(settings, draws), "R",
     "Random neurons of the top-1's block, for every class. Default: 20."},
    {KH_OPT_NUMBER, "percentile", 0, offsetof(settings, percentile), "P",
     "Masks keep pixels above this percentile of their own map. Default: 80."},
    {KH_OPT_FLAG, "no-shortcuts", 0, offsetof(settings, no_shortcuts), NULL,
     "Scenes whose backgrounds are independent of the class."},
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Folder for tables and pictures. Default: keyhole-truth."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace results that are already in DIR."},
    {KH_OPT_SIZE, "batch", 'b', offsetof(settings, batch), "N",
     "Images per pass. Results do not depend on it. Default: 8."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

/* ---- what is said ---------------------------------------------------------------------------- */

static void top_neuron(const kh_truth_result *r, size_t c, char *out, size_t out_bytes) {
    const kh_ranked *n = &r->plan.neurons.global[c * r->plan.count];
    kh_neuron_format((kh_neuron){n->block, n->index}, out, out_bytes);
}

static void print_class(const kh_truth_result *r, size_t c) {
    const kh_truth_class *k = &r->class[c];
    char neuron[32];
    top_neuron(r, c, neuron, sizeof neuron);
    printf("%-12s %-9s %8zu %6.3f %6.3f %7.3f %6zu/%zu %8.2f %6.2f %6.3f %6.3f %6.3f",
           kh_diorama_class_name(r->world[c]), neuron, r->correct[c], k->rank->iou, k->random.iou,
           k->rank->ceiling, k->draws_below, r->plan.draws, k->rank->pointing, k->rank->share,
           k->rank->auroc, k->random.auroc, r->selectivity[c].auroc);
    if (k->best_iou == KH_NO_CLASS)
        printf("     -\n");
    else
        printf(" %5zu\n", k->best_iou);
}

static kh_status print_means(const kh_truth_result *r, kh_error *err) {
    printf("\nmean over classes [95 %% bootstrap interval over classes]\n");
    for (const kh_truth_quantity *q = kh_truth_quantities; q->key; q++) {
        kh_band band;
        KH_TRY(kh_truth_band(r, q, &band, err));
        printf("  %-40s %7.3f  [%.3f, %.3f]\n", q->text, band.mean, band.lo, band.hi);
    }
    return KH_OK;
}

static void print_counts(const char *title, const size_t *counts, size_t count, size_t classes) {
    printf("\n%s\n", title);
    for (size_t i = 0; i < count; i++) {
        printf("  %2zu %4zu  ", i, counts[i]);
        for (size_t n = 0; n < counts[i] * 50 / classes; n++)
            putchar('#');
        putchar('\n');
    }
}

/* Figure 3, and how the classes of each block fare. */
static void print_blocks(const kh_truth_result *r) {
    printf("\nclasses by the block of their top-1 neuron (figure 3), and their means:\n"
           "  block classes accuracy    IoU pointing  AUROC    own\n");
    for (size_t b = 0; b < r->plan.blocks; b++) {
        double sum[5] = {0};
        for (size_t c = 0; c < r->classes; c++) {
            if (r->plan.neurons.global[c * r->plan.count].block != b) continue;
            sum[0] += (double)r->correct[c] / (double)r->settings.scenes;
            sum[1] += r->class[c].rank->iou;
            sum[2] += r->class[c].rank->pointing;
            sum[3] += r->class[c].rank->auroc;
            sum[4] += r->selectivity[c].auroc;
        }
        const double count = (double)r->fig3[b];
        printf("  %5zu %7zu", b, r->fig3[b]);
        if (r->fig3[b])
            printf(" %8.3f %6.3f %8.3f %6.3f %6.3f", sum[0] / count, sum[1] / count, sum[2] / count,
                   sum[3] / count, sum[4] / count);
        putchar('\n');
    }
}

static kh_status print_text(const kh_truth_result *r, const char *out, kh_error *err) {
    printf("%zu classes, %zu scene%s each, seed %llu; neurons ranked by alignment %s\n"
           "masks above the %.4gth percentile; random: mean of %zu neuron%s of the same block\n\n",
           r->classes, r->settings.scenes, KH_S(r->settings.scenes),
           (unsigned long long)r->settings.seed, kh_align_mode_name(r->settings.mode),
           100.0 * r->settings.quantile, r->plan.draws, KH_S(r->plan.draws));
    printf("%-12s %-9s %8s %6s %6s %7s %6s%s %8s %6s %6s %6s %6s %5s\n", "class", "top-1",
           "correct", "IoU", "random", "ceiling", "beats", "   ", "pointing", "blind", "AUROC",
           "random", "own", "best");
    for (size_t c = 0; c < r->classes; c++)
        print_class(r, c);
    KH_TRY(print_means(r, err));
    printf("\ntop-1 beats every random neuron in %zu of %zu classes\n", kh_truth_unbeaten(r),
           r->classes);
    print_counts("classes by the rank with the largest IoU:", r->best_iou, r->plan.topk,
                 r->classes);
    print_counts("classes by the rank that points best:", r->best_pointing, r->plan.topk,
                 r->classes);
    print_blocks(r);
    printf("\ntables and pictures in ");
    kh_print_path(out);
    putchar('\n');
    return KH_OK;
}

static json_t *counts_json(const size_t *counts, size_t count) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_integer((json_int_t)counts[i]));
    return list;
}

static json_t *class_json(const kh_truth_result *r, size_t c) {
    char neuron[32];
    top_neuron(r, c, neuron, sizeof neuron);
    json_t *row = json_pack(
        "{s:I, s:s, s:s, s:s, s:I, s:I, s:o}", "class", (json_int_t)c, "wnid",
        kh_diorama_class_wnid(r->world[c]), "name", kh_diorama_class_name(r->world[c]), "top1",
        neuron, "correct", (json_int_t)r->correct[c], "draws_below",
        (json_int_t)r->class[c].draws_below, "best_iou_rank",
        r->class[c].best_iou == KH_NO_CLASS ? json_null()
                                            : json_integer((json_int_t)r->class[c].best_iou));
    for (const kh_truth_quantity *q = kh_truth_quantities; q->key; q++)
        json_object_set_new(row, q->key, kh_json_number(q->of(r, c)));
    return row;
}

static kh_status print_json(const kh_truth_result *r, const char *out, kh_error *err) {
    json_t *means = json_object(), *classes = json_array();
    kh_status status = KH_OK;
    for (const kh_truth_quantity *q = kh_truth_quantities; q->key && !status; q++) {
        kh_band band = {0};
        status = kh_truth_band(r, q, &band, err);
        json_object_set_new(means, q->key,
                            json_pack("{s:o, s:o, s:o}", "mean", kh_json_number(band.mean), "lo",
                                      kh_json_number(band.lo), "hi", kh_json_number(band.hi)));
    }
    for (size_t c = 0; c < r->classes; c++)
        json_array_append_new(classes, class_json(r, c));
    json_t *root = json_pack(
        "{s:o, s:s, s:I, s:I, s:I, s:I, s:f, s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "model",
        kh_model_receipt(r->model), "mode", kh_align_mode_name(r->settings.mode),
        "scenes_per_class", (json_int_t)r->settings.scenes, "seed", (json_int_t)r->settings.seed,
        "k", (json_int_t)r->plan.topk, "draws", (json_int_t)r->plan.draws, "percentile",
        100.0 * r->settings.quantile, "means", means, "unbeaten_classes",
        (json_int_t)kh_truth_unbeaten(r), "best_iou_rank", counts_json(r->best_iou, r->plan.topk),
        "best_pointing_rank", counts_json(r->best_pointing, r->plan.topk), "top1_blocks",
        counts_json(r->fig3, r->plan.blocks), "classes", classes, "out", kh_json_text(out));
    if (!status) return kh_print_json(root, err) ? KH_OK : KH_E_MEMORY;
    json_decref(root);
    return status;
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool is_misused(const settings *s, kh_error *err) {
    if (s->scenes == 0 || s->scenes > MAX_SCENES)
        return kh_fail(err, KH_E_ARG, "--scenes is 1 to %d", MAX_SCENES);
    if (s->topk == 0 || s->topk > MAX_TOPK)
        return kh_fail(err, KH_E_ARG, "--topk is 1 to %d", MAX_TOPK);
    if (s->draws == 0 || s->draws > MAX_DRAWS)
        return kh_fail(err, KH_E_ARG, "--draws is 1 to %d", MAX_DRAWS);
    if (s->batch == 0) return kh_fail(err, KH_E_ARG, "--batch starts at 1");
    if (!(s->percentile > 0.0 && s->percentile < 100.0))
        return kh_fail(err, KH_E_ARG, "--percentile is above 0 and below 100");
    return false;
}

static kh_status measure(kh_session *session, const settings *s, kh_truth_result *r,
                         kh_error *err) {
    kh_truth_settings how = {.scenes = s->scenes,
                             .seed = s->seed,
                             .topk = s->topk,
                             .draws = s->draws,
                             .batch = s->batch,
                             .resamples = RESAMPLES,
                             .quantile = s->percentile / 100.0,
                             .flags = s->no_shortcuts ? KH_DIORAMA_NO_SHORTCUTS : 0};
    KH_TRY(kh_align_mode_parse(s->mode, &how.mode, err));
    KH_TRY(kh_outdir_check(s->out, "truth", s->overwrite, err));
    KH_TRY(kh_truth_run(session, &how, r, err));
    KH_TRY(kh_outdir_begin(s->out, "truth", err));
    KH_TRY(kh_truth_write_charts(r, s->out, err));
    KH_TRY(kh_truth_write_maps(session, r, s->out, err));
    return kh_truth_write_files(r, s->out, err);
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    if (is_misused(s, err)) return KH_EXIT_MISUSED;
    kh_session session = {0};
    kh_truth_result result = {0};
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, count ? operands[0] : "demo", &s->model, err);
    if (!status) status = kh_require_classes(session.model, err);
    if (!status) status = measure(&session, s, &result, err);
    if (!status)
        status =
            s->common.json ? print_json(&result, s->out, err) : print_text(&result, s->out, err);
    kh_truth_result_clear(&result);
    kh_session_close(&session);
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_truth = {
    .name = "truth",
    .summary = "do a class's key neurons fire where its object is? Measured in the demo world",
    .operands = "[MODEL]",
    .description =
        "Renders scenes of every class of the demo world, whose true masks are known, takes the key"
        " neurons whose value vectors are most aligned with the class, and compares where they fire"
        " with where the object is: overlap of the percentile mask (IoU), pointing game, and AUROC"
        " over pixels, which needs no threshold. Beside each number stands what random neurons of"
        " the same block do. Also: which rank is best, each block's best neuron, whether the first"
        " neuron fires more for its own class, and figure 3's histogram. MODEL is a model of the"
        " demo world; default: demo. random:FOLDER runs the same shape with random weights.",
    .examples = "  keyhole truth --out truth\n"
                "  keyhole truth random:demo/model --out truth-random  # what no training gives\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 0,
    .max_operands = 1,
    .run = run,
};
