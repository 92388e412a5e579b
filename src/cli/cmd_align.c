/* keyhole align: which value vectors speak for which classes, from the weights alone. */
#include "cli/align.h"
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/lists.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/folder.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DRAWS = 10000 };

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *mode, *source, *head, *classes, *out, *null_kind;
    size_t topk, draws, seed;
    double value_bias;
    bool save_matrix, overwrite;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->mode = "ln";
    s->source = "mlp";
    s->head = "first";
    s->null_kind = "head";
    s->topk = 10;
    s->draws = 20;
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "mode", 'm', offsetof(settings, mode), "raw|cos|ln|fold|margin|prob",
     "Alignment mode. Default: ln, what the report's code ranks by."},
    {KH_OPT_TEXT, "source", 0, offsetof(settings, source), "mlp|attention",
     "Value vectors of the MLPs, or columns of the attention output. Default: mlp."},
    {KH_OPT_TEXT, "head", 0, offsetof(settings, head), "first|second",
     "Which class embeddings, for models with two (distilled, DINOv2). Default: first."},
    {KH_OPT_SIZE, "topk", 'k', offsetof(settings, topk), "K",
     "Value vectors kept per class (and per class and block), at most those of one block."
     " Default: 10."},
    {KH_OPT_NUMBER, "value-bias", 0, offsetof(settings, value_bias), "ALPHA",
     "Align ALPHA times the value vector plus the layer's output bias. Default: no bias."},
    {KH_OPT_TEXT, "classes", 'c', offsetof(settings, classes), "LIST",
     "Classes to print, separated by commas: index, wnid or name. Default: a summary."},
    {KH_OPT_SIZE, "draws", 0, offsetof(settings, draws), "N",
     "Draws of the null band, at most 10000; 0 leaves it out. Default: 20."},
    {KH_OPT_TEXT, "null", 0, offsetof(settings, null_kind), "head|permute",
     "Null: random head rows of the same lengths, or shuffled dims of the value vectors."
     " Default: head."},
    {KH_OPT_SIZE, "seed", 0, offsetof(settings, seed), "N", "Seed of the null. Default: 0."},
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Write tables, arrays, figures and manifest.json there."},
    {KH_OPT_FLAG, "save-matrix", 0, offsetof(settings, save_matrix), NULL,
     "Also write align.npy [blocks, neurons, classes] (147 MB for ViT-B/16)."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace results that are already in DIR."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

static kh_status save_block(void *user, size_t block, const float *scores, size_t units,
                            size_t classes, kh_error *err) {
    (void)block;
    (void)err;
    kh_store_npy_add(user, scores, units * classes); /* a failure is kept for close */
    return KH_OK;
}

static kh_status rank_options(const settings *s, kh_session *session, kh_rank_options *out,
                              kh_error *err) {
    *out = kh_rank_options_default();
    KH_TRY(kh_align_mode_parse(s->mode, &out->align.mode, err));
    out->align.source = strcmp(s->source, "mlp") == 0 ? KH_ALIGN_MLP : KH_ALIGN_ATTENTION;
    out->align.head = strcmp(s->head, "first") == 0 ? KH_HEAD_FIRST : KH_HEAD_SECOND;
    if (s->value_bias != 0.0) {
        out->align.add_bias = true;
        out->align.alpha = s->value_bias;
    }
    out->k = s->topk;
    out->progress = kh_session_progress;
    out->progress_user = session;
    return KH_OK;
}

static kh_status rank_and_save(kh_session *session, const settings *s, kh_align_result *r,
                               kh_error *err) {
    kh_npy *npy = NULL;
    if (s->save_matrix && s->out) {
        size_t units = 0, classes = 0;
        KH_TRY(kh_lens_alignment_shape(session->model, &r->options.align, &units, &classes, err));
        const size_t shape[] = {kh_model_get_info(session->model)->blocks, units, classes};
        char path[4096];
        KH_TRY(kh_outdir_path(s->out, path, sizeof path, err, "align.npy"));
        KH_TRY(kh_folder_mark(s->out, "align", err));
        KH_TRY(kh_store_npy_open(path, KH_NPY_F32, shape, 3, &npy, err));
        r->options.sink = save_block;
        r->options.sink_user = npy;
    }
    const kh_status status =
        kh_lens_rank(session->ctx, session->model, &r->options, &r->ranking, err);
    if (!npy) return status;
    const kh_status begun = status ? status : kh_outdir_begin(s->out, "align", err);
    if (!begun) return kh_store_npy_close(npy, err);
    kh_store_npy_abort(npy);
    return begun;
}

static kh_status compute(kh_session *session, const settings *s, kh_align_result *r,
                         kh_error *err) {
    KH_TRY(rank_and_save(session, s, r, err));
    const kh_ranking *k = &r->ranking;
    r->histogram = kh_calloc(k->k * k->blocks, sizeof *r->histogram);
    r->curve = kh_calloc(k->k, sizeof *r->curve);
    if (!r->histogram || !r->curve) return kh_fail(err, KH_E_MEMORY, "no memory for histograms");
    for (size_t rank = 0; rank < k->k; rank++)
        kh_lens_block_histogram(k, rank, r->histogram + rank * k->blocks);
    KH_TRY(kh_lens_rank_curve(k, r->curve, err));
    KH_TRY(kh_lens_shared(k, 1, &r->shared, err));
    (void)snprintf(r->settings_text, sizeof r->settings_text, "alignment mode %s, %s value vectors",
                   s->mode, s->source);
    if (s->draws == 0) return KH_OK;
    kh_null_options null = kh_null_options_default();
    null.align = r->options.align;
    null.kind = strcmp(s->null_kind, "head") == 0 ? KH_NULL_HEAD : KH_NULL_PERMUTE;
    null.draws = s->draws;
    null.seed = s->seed;
    null.progress = kh_session_progress;
    null.progress_user = session;
    (void)snprintf(r->null_name, sizeof r->null_name, "95 %% of %zu %s", s->draws,
                   null.kind == KH_NULL_HEAD ? "random heads" : "shuffles of dims");
    KH_TRY(kh_lens_null_band(session->ctx, session->model, &null, &r->null_band, err));
    r->has_null = true;
    return KH_OK;
}

static void print_class(const kh_align_result *r, const kh_classes *classes, size_t c) {
    const kh_ranking *k = &r->ranking;
    char label[256];
    kh_class_label(classes, c, label, sizeof label);
    printf("class %s", label);
    if (r->has_null)
        printf("   (top-1 under the null: %.4g to %.4g)", r->null_band.class_top1[c].lo,
               r->null_band.class_top1[c].hi);
    printf("\n  rank  neuron       S  margin to next  the neuron's own best class\n");
    for (size_t rank = 0; rank < k->k; rank++) {
        const kh_ranked *n = &k->global[c * k->k + rank];
        char name[32];
        kh_neuron_format((kh_neuron){n->block, n->index}, name, sizeof name);
        kh_class_label(classes, k->top_class[n->block * k->units + n->index], label, sizeof label);
        printf("  %4zu  %-9s %8.4f %12.4f    %s\n", rank, name, (double)n->score,
               (double)k->margin_to_next[c * k->k + rank], label);
    }
}

static void print_summary(const kh_align_result *r) {
    const kh_ranking *k = &r->ranking;
    printf("%zu classes, %zu value vectors, mode %s\n", k->classes, k->blocks * k->units,
           kh_align_mode_name(k->mode));
    printf("mean over classes of the best score  %.4f", r->curve[0].mean);
    if (r->has_null)
        printf("   null (%s): %.4f [%.4f, %.4f]", r->null_name, r->null_band.top1.mean,
               r->null_band.top1.lo, r->null_band.top1.hi);
    printf("\nmean gap from rank 0 to rank 1       %.4f\n", r->curve[0].gap_mean);
    printf("value vectors that are top-1 of 2 or more classes: %zu, of 3 or more: %zu\n",
           kh_lens_shared_count(&r->shared, 2), kh_lens_shared_count(&r->shared, 3));
    printf("block of each class's top-1 value vector:\n");
    for (size_t b = 0; b < k->blocks; b++) {
        const size_t count = r->histogram[b];
        printf("  block %2zu %5zu  ", b, count);
        for (size_t i = 0; i < count * 50 / k->classes; i++)
            putchar('#');
        if (r->has_null && r->null_band.block_share)
            printf("  (null %.0f to %.0f)", r->null_band.block_share[b].lo * (double)k->classes,
                   r->null_band.block_share[b].hi * (double)k->classes);
        putchar('\n');
    }
}

static json_t *class_json(const kh_align_result *r, const kh_classes *classes, size_t c) {
    const kh_ranking *k = &r->ranking;
    json_t *list = json_array();
    for (size_t rank = 0; rank < k->k; rank++) {
        const kh_ranked *n = &k->global[c * k->k + rank];
        char name[32];
        kh_neuron_format((kh_neuron){n->block, n->index}, name, sizeof name);
        json_array_append_new(list,
                              json_pack("{s:s, s:I, s:I, s:f, s:o, s:I}", "neuron", name, "block",
                                        (json_int_t)n->block, "index", (json_int_t)n->index,
                                        "score", (double)n->score, "margin_to_next",
                                        kh_json_number((double)k->margin_to_next[c * k->k + rank]),
                                        "top_class_of_neuron",
                                        (json_int_t)k->top_class[n->block * k->units + n->index]));
    }
    const kh_class label = kh_classes_get(classes, c);
    return json_pack("{s:I, s:s?, s:s, s:o}", "class", (json_int_t)c, "wnid", label.wnid, "name",
                     label.name, "neurons", list);
}

static json_t *result_json(const kh_align_result *r, const kh_model *model, const size_t *wanted,
                           size_t wanted_count) {
    const kh_ranking *k = &r->ranking;
    json_t *histogram = json_array();
    for (size_t b = 0; b < k->blocks; b++)
        json_array_append_new(histogram, json_integer((json_int_t)r->histogram[b]));
    json_t *root = json_pack(
        "{s:o, s:s, s:I, s:o, s:o, s:I, s:I, s:o}", "model", kh_model_receipt(model), "mode",
        kh_align_mode_name(k->mode), "k", (json_int_t)k->k, "mean_top1",
        kh_json_number(r->curve[0].mean), "mean_gap", kh_json_number(r->curve[0].gap_mean),
        "shared_by_2", (json_int_t)kh_lens_shared_count(&r->shared, 2), "shared_by_3",
        (json_int_t)kh_lens_shared_count(&r->shared, 3), "top1_blocks", histogram);
    if (r->has_null)
        json_object_set_new(root, "null_top1",
                            json_pack("{s:f, s:f, s:f}", "mean", r->null_band.top1.mean, "lo",
                                      r->null_band.top1.lo, "hi", r->null_band.top1.hi));
    json_t *classes = json_array();
    for (size_t i = 0; i < wanted_count; i++)
        json_array_append_new(classes, class_json(r, kh_model_classes(model), wanted[i]));
    json_object_set_new(root, "classes", classes);
    return root;
}

static kh_status print_result(const kh_session *session, const settings *s,
                              const kh_align_result *r, const size_t *wanted, size_t count,
                              kh_error *err) {
    if (s->common.json)
        return kh_print_json(result_json(r, session->model, wanted, count), err) ? KH_OK
                                                                                 : KH_E_MEMORY;
    for (size_t i = 0; i < count; i++)
        print_class(r, kh_model_classes(session->model), wanted[i]);
    if (count == 0) print_summary(r);
    if (s->out) fprintf(stderr, "results in %s\n", s->out);
    return KH_OK;
}

static void result_clear(kh_align_result *r) {
    kh_ranking_clear(&r->ranking);
    if (r->has_null) kh_null_band_clear(&r->null_band);
    kh_shared_clear(&r->shared);
    kh_free(r->histogram);
    kh_free(r->curve);
}

static bool is_misused(const settings *s, kh_error *err) {
    if (s->topk == 0) return kh_fail(err, KH_E_ARG, "--topk starts at 1");
    if (s->draws > MAX_DRAWS) return kh_fail(err, KH_E_ARG, "--draws is 0 to %d", MAX_DRAWS);
    if (s->save_matrix && !s->out) return kh_fail(err, KH_E_ARG, "--save-matrix needs --out DIR");
    return false;
}

/* How many there are to rank is known only when the model is open. */
static bool is_topk_too_large(const kh_session *session, const kh_rank_options *how,
                              kh_status *status, kh_error *err) {
    size_t units = 0, classes = 0;
    *status = kh_lens_alignment_shape(session->model, &how->align, &units, &classes, err);
    if (*status || how->k <= units) return false;
    *status = kh_fail(err, KH_E_ARG, "--topk %zu: a block of this model has %zu value vectors",
                      how->k, units);
    return true;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    (void)count;
    const settings *s = from;
    if (is_misused(s, err)) return KH_EXIT_MISUSED;
    bool is_wrong_topk = false, is_wrong_class = false;
    kh_session session = {0};
    kh_align_result result = {0};
    size_t *wanted = NULL, wanted_count = 0;
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s->model, err);
    if (!status) status = kh_require_classes(session.model, err);
    if (!status) status = rank_options(s, &session, &result.options, err);
    if (!status) is_wrong_topk = is_topk_too_large(&session, &result.options, &status, err);
    if (!status && s->classes) {
        status =
            kh_class_list(kh_model_classes(session.model), s->classes, &wanted, &wanted_count, err);
        is_wrong_class = status == KH_E_NOT_FOUND || status == KH_E_ARG;
    }
    if (!status && s->out) status = kh_outdir_check(s->out, "align", s->overwrite, err);
    if (!status) status = compute(&session, s, &result, err);
    if (!status && s->out) {
        status = kh_outdir_begin(s->out, "align", err);
        if (!status) status = kh_align_write_figures(&result, session.model, s->out, err);
        if (!status)
            status = kh_align_write_files(&result, session.model, s->out, s->save_matrix, err);
    }
    if (!status) status = print_result(&session, s, &result, wanted, wanted_count, err);
    kh_free(wanted);
    result_clear(&result);
    kh_session_close(&session);
    if (is_wrong_topk || is_wrong_class) return KH_EXIT_MISUSED;
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_align = {
    .name = "align",
    .summary = "which value vectors speak for which classes, from the weights alone",
    .operands = "MODEL",
    .description =
        "Scores every value vector of every block against every class (the alignment matrix S),"
        " ranks them per class over all blocks and within each block, counts the blocks of the best"
        " ones (figure 3 of the report), finds value vectors that several classes share, and puts a"
        " null beside it: what the same numbers are when the head is random. Modes:"
        " raw v.E, cos their cosine, ln head(final norm(v)) as the report's code ranks, fold its"
        " linear part, margin ln minus the best other class, prob softmax of ln.",
    .examples = "  keyhole align MODEL --classes tench,207 -k 5\n"
                "  keyhole align MODEL --mode cos --out align-cos\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 1,
    .max_operands = 1,
    .run = run,
};
