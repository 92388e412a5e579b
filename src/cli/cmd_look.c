/* keyhole look: where a class's key neurons fire in photographs. */
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/look.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LOOK_IMAGES = 4096, MAX_LOOK_NEURONS = 64 };

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *class_query, *mode, *scale, *site, *out, *block, *label_file;
    size_t topk, batch;
    double percentile;
    bool truth, no_blocks, norm_before_mean, r_compat, exif_rotate, gray16_scale, overwrite;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->mode = "ln";
    s->scale = "map";
    s->site = "post";
    s->out = "keyhole-look";
    s->topk = 5;
    s->batch = 8;
    s->percentile = 80.0;
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "class", 'c', offsetof(settings, class_query), "CLASS",
     "Whose neurons: index, wnid or name. Default: each image's predicted class."},
    {KH_OPT_FLAG, "truth", 0, offsetof(settings, truth), NULL,
     "Whose neurons: the class named by the file (wnid) or its folder, the list or archive."},
    {KH_OPT_TEXT, "label-file", 0, offsetof(settings, label_file), "FILE",
     "True classes: lines 'name label', or one label a line in the order of the images. Implies "
     "--truth."},
    {KH_OPT_SIZE, "topk", 'k', offsetof(settings, topk), "K", "Neurons per class. Default: 5."},
    {KH_OPT_TEXT, "block", 0, offsetof(settings, block), "B",
     "Rank within this block instead of over all blocks."},
    {KH_OPT_TEXT, "mode", 'm', offsetof(settings, mode), "raw|cos|ln|fold|margin|prob",
     "Alignment mode of the ranking. Default: ln."},
    {KH_OPT_TEXT, "site", 0, offsetof(settings, site), "post|pre|pre_nobias",
     "Memory coefficients after the activation function, before it, or without the key's bias."
     " Default: post."},
    {KH_OPT_TEXT, "scale", 0, offsetof(settings, scale), "map|class|image|shared",
     "Which maps share a colour scale. map shows where, shared also how strong. Default: map."},
    {KH_OPT_FLAG, "no-blocks", 0, offsetof(settings, no_blocks), NULL,
     "Leave out the page per image with every block's first neuron, masks and running mean."},
    {KH_OPT_NUMBER, "percentile", 0, offsetof(settings, percentile), "P",
     "Masks keep pixels above this percentile of their own map. Default: 80."},
    {KH_OPT_FLAG, "norm-before-mean", 0, offsetof(settings, norm_before_mean), NULL,
     "Scale each block's map to 0..1 before the running mean."},
    {KH_OPT_FLAG, "r-compat", 0, offsetof(settings, r_compat), NULL,
     "Draw as the report's code did: photograph stretched, its red and blue exchanged."},
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Folder for pictures and numbers. Default: keyhole-look."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace results that are already in DIR."},
    {KH_OPT_SIZE, "batch", 'b', offsetof(settings, batch), "N",
     "Images per pass. Results do not depend on it. Default: 8."},
    {KH_OPT_FLAG, "exif-rotate", 0, offsetof(settings, exif_rotate), NULL,
     "Turn photographs as their EXIF tag says (Pillow and timm do not)."},
    {KH_OPT_FLAG, "gray16-scale", 0, offsetof(settings, gray16_scale), NULL,
     "Scale 16-bit grey images instead of saturating them as Pillow does."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

static bool wants_truth(const settings *s) {
    return s->truth || s->label_file;
}

static kh_status read_images(kh_session *session, const settings *s, const kh_inputs *inputs,
                             kh_look_result *r, kh_image_batch *batch, kh_error *err) {
    static kh_decode_options decode;
    decode = (kh_decode_options){.exif_rotate = s->exif_rotate,
                                 .gray16_scale = s->gray16_scale,
                                 .warn = kh_session_warn,
                                 .warn_user = session};
    if (inputs->count > MAX_LOOK_IMAGES)
        return kh_fail(err, KH_E_LIMIT, "%zu images; look takes at most %d at once", inputs->count,
                       MAX_LOOK_IMAGES);
    KH_TRY(kh_image_batch_init(batch, session, &decode, inputs->count, true, err));
    size_t next = 0;
    KH_TRY(kh_image_batch_fill(batch, inputs, &next, err));
    KH_TRY(kh_broken_images_say(session, batch->broken, batch->failed, inputs->count, err));
    r->photos = batch->bytes;
    r->tensors = batch->floats;
    r->paths = (char **)(void *)batch->paths;
    r->broken = batch->broken;
    r->broken_count = batch->failed;
    return KH_OK;
}

/* Fills truth per image and, when the classes are not the predicted ones, `asked`. */
static kh_status choose_classes(const settings *s, const kh_image_batch *batch,
                                const kh_classes *classes, kh_look_result *r, size_t *asked,
                                kh_error *err) {
    size_t one = 0;
    char shown[KH_SHOWN_BYTES];
    if (s->class_query) KH_TRY(kh_classes_find(classes, s->class_query, &one, err));
    r->asked_class = s->class_query != NULL;
    for (size_t i = 0; i < batch->count; i++) {
        r->truth[i] = batch->truths[i]; /* resolved with --truth only */
        if (!wants_truth(s) && !kh_classes_of_path(classes, batch->paths[i], &r->truth[i]))
            r->truth[i] = KH_NO_CLASS;
        asked[i] = wants_truth(s) ? r->truth[i] : one;
        if (asked[i] == KH_NO_CLASS)
            return kh_fail(err, KH_E_NOT_FOUND,
                           "--truth: '%s' has no true class, neither its name nor its folder is "
                           "one; " KH_GIVE_CLASSES,
                           kh_shown(batch->paths[i], strlen(batch->paths[i]), shown, sizeof shown));
    }
    return KH_OK;
}

static kh_status look_options(kh_session *session, const settings *s, const kh_look_result *r,
                              kh_look_options *out, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(session->model);
    *out = kh_look_options_default();
    out->ranking = r->ranking;
    out->k = r->ranking->k;
    out->by_block = s->block != NULL;
    if (s->block && (!kh_parse_size(s->block, &out->block) || out->block >= info->blocks))
        return kh_fail(err, KH_E_ARG, "--block '%s': the model has blocks 0 to %zu", s->block,
                       info->blocks - 1);
    out->want_block_maps = !s->no_blocks;
    out->want_contributions = !info->head_is_indirect;
    out->coefficient = strcmp(s->site, "post") == 0  ? KH_COEFFICIENT_POST
                       : strcmp(s->site, "pre") == 0 ? KH_COEFFICIENT_PRE
                                                     : KH_COEFFICIENT_PRE_NOBIAS;
    out->batch = s->batch;
    out->predictions = info->classes < 5 ? info->classes : 5;
    out->progress = kh_session_progress;
    out->progress_user = session;
    return KH_OK;
}

static kh_status rank(kh_session *session, const settings *s, kh_ranking *ranking, kh_error *err) {
    kh_rank_options options_of_rank = kh_rank_options_default();
    KH_TRY(kh_align_mode_parse(s->mode, &options_of_rank.align.mode, err));
    const size_t units = kh_model_get_info(session->model)->neurons;
    options_of_rank.k = s->topk < units ? s->topk : units;
    return kh_lens_rank(session->ctx, session->model, &options_of_rank, ranking, err);
}

static kh_status look(kh_session *session, const settings *s, const kh_inputs *inputs,
                      kh_ranking *ranking, kh_image_batch *batch, kh_look_result *r,
                      kh_error *err) {
    KH_TRY(kh_scale_parse(s->scale, &r->scale, err));
    KH_TRY(kh_outdir_check(s->out, "look", s->overwrite, err));
    KH_TRY(read_images(session, s, inputs, r, batch, err));
    KH_TRY(rank(session, s, ranking, err));
    r->model = session->model;
    r->ranking = ranking;
    r->r_compat = s->r_compat;
    r->norm_before_mean = s->norm_before_mean;
    r->percentile = s->percentile;
    r->site = s->site;
    r->block = s->block;
    r->from_truth = wants_truth(s);
    r->exif_rotate = s->exif_rotate;
    r->gray16_scale = s->gray16_scale;
    (void)snprintf(
        r->settings_text, sizeof r->settings_text, "neurons ranked by alignment %s %s%s · %s%s%s",
        s->mode, s->block ? "within block " : "over all blocks", s->block ? s->block : "",
        r->scale == KH_SCALE_SHARED ? "one colour scale" : "colour scale per ",
        r->scale == KH_SCALE_SHARED ? "" : s->scale, s->r_compat ? " · r-compat colours" : "");
    r->truth = kh_calloc(batch->count, sizeof *r->truth);
    size_t *asked = kh_calloc(batch->count, sizeof *asked);
    kh_look_options how;
    kh_status status = r->truth && asked ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory");
    if (!status) status = choose_classes(s, batch, kh_model_classes(session->model), r, asked, err);
    if (!status) status = look_options(session, s, r, &how, err);
    if (!status)
        status = kh_lens_look(session->ctx, session->model, &how, batch->floats, batch->count,
                              s->class_query || wants_truth(s) ? asked : NULL, &r->look, err);
    status = kh_image_batch_blame(batch, status, err);
    kh_free(asked);
    if (!status) status = kh_outdir_begin(s->out, "look", err);
    if (!status) status = kh_look_write_figures(r, s->out, err);
    if (!status) status = kh_look_write_files(r, s->out, err);
    return status;
}

static void print_image(const kh_look_result *r, size_t i) {
    const kh_look *l = &r->look;
    const kh_classes *classes = kh_model_classes(r->model);
    char label[256];
    kh_print_path(r->paths[i]);
    putchar('\n');
    for (size_t p = 0; p < l->predictions; p++) {
        const kh_prediction *top = &l->top[i * l->predictions + p];
        kh_class_label(classes, top->class_index, label, sizeof label);
        printf("  %6.2f %%  %s\n", 100.0 * (double)top->probability, label);
    }
    kh_class_label(classes, l->class_index[i], label, sizeof label);
    printf("  neurons of class %s\n  rank  neuron         S   max a   a at class token"
           "  contribution (logits)\n",
           label);
    for (size_t k = 0; k < l->k; k++) {
        const size_t at = i * l->k + k;
        const float *map = l->maps + at * l->patches;
        float peak = map[0];
        for (size_t p = 1; p < l->patches; p++)
            peak = fmaxf(peak, map[p]);
        char name[32];
        kh_neuron_format((kh_neuron){l->neurons[at].block, l->neurons[at].index}, name,
                         sizeof name);
        printf("  %4zu  %-9s %7.3f %7.3f  %18.3f", k, name, (double)l->neurons[at].score,
               (double)peak, (double)l->class_coefficient[at]);
        if (l->contribution) printf("  %21.4f", l->contribution[at]);
        putchar('\n');
    }
}

static json_t *image_json(const kh_look_result *r, size_t i) {
    const kh_look *l = &r->look;
    json_t *neurons = json_array(), *top = json_array();
    for (size_t p = 0; p < l->predictions; p++) {
        const kh_prediction *t = &l->top[i * l->predictions + p];
        json_array_append_new(top, json_pack("{s:I, s:f, s:f}", "class", (json_int_t)t->class_index,
                                             "logit", (double)t->logit, "probability",
                                             (double)t->probability));
    }
    for (size_t k = 0; k < l->k; k++) {
        const size_t at = i * l->k + k;
        char name[32];
        kh_neuron_format((kh_neuron){l->neurons[at].block, l->neurons[at].index}, name,
                         sizeof name);
        json_t *map = json_array();
        for (size_t p = 0; p < l->patches; p++)
            json_array_append_new(map, kh_json_number((double)l->maps[at * l->patches + p]));
        json_array_append_new(
            neurons, json_pack("{s:s, s:f, s:o, s:o, s:o}", "neuron", name, "score",
                               (double)l->neurons[at].score, "class_token_a",
                               kh_json_number((double)l->class_coefficient[at]), "contribution",
                               l->contribution ? kh_json_number(l->contribution[at]) : json_null(),
                               "map", map));
    }
    return json_pack("{s:o, s:I, s:o, s:o}", "image", kh_json_text(r->paths[i]), "class",
                     (json_int_t)l->class_index[i], "top", top, "neurons", neurons);
}

static kh_status print_result(const settings *s, const kh_look_result *r,
                              const kh_image_batch *batch, kh_error *err) {
    if (!s->common.json) {
        for (size_t i = 0; i < r->look.images; i++)
            print_image(r, i);
        printf("pictures and numbers in %s\n", s->out);
        return KH_OK;
    }
    json_t *images = json_array();
    for (size_t i = 0; i < r->look.images; i++)
        if (json_array_append_new(images, image_json(r, i)) != 0) {
            json_decref(images);
            return kh_fail(err, KH_E_MEMORY, "no memory for the JSON output");
        }
    json_t *root = json_pack("{s:o, s:[II], s:o, s:o, s:o}", "model", kh_model_receipt(r->model),
                             "grid", (json_int_t)r->look.grid.height,
                             (json_int_t)r->look.grid.width, "out", kh_json_text(s->out), "images",
                             images, "failed", kh_broken_images_json(batch->broken, batch->failed));
    return kh_print_json(root, err) ? KH_OK : KH_E_MEMORY;
}

static bool is_misused(const settings *s, kh_error *err) {
    if (s->topk == 0 || s->topk > MAX_LOOK_NEURONS)
        return kh_fail(err, KH_E_ARG, "--topk is 1 to %d", MAX_LOOK_NEURONS);
    if (s->batch == 0) return kh_fail(err, KH_E_ARG, "--batch starts at 1");
    if (!(s->percentile > 0.0 && s->percentile <= 100.0)) /* 0 is the figure's word for 80 */
        return kh_fail(err, KH_E_ARG, "--percentile is above 0 and at most 100");
    if (wants_truth(s) && s->class_query)
        return kh_fail(err, KH_E_ARG, "--class and --truth (or --label-file) exclude each other");
    return false;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    if (is_misused(s, err)) return KH_EXIT_MISUSED;
    kh_session session = {0};
    kh_inputs inputs = {0};
    kh_ranking ranking = {0};
    kh_image_batch batch = {0};
    kh_look_result result = {0};
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s->model, err);
    if (!status) status = kh_require_classes(session.model, err);
    if (!status) {
        const kh_source_options how = {.classes = kh_model_classes(session.model),
                                       .label_file = s->label_file,
                                       .warn = kh_session_warn,
                                       .warn_user = &session};
        status =
            kh_inputs_collect(operands + 1, count - 1, wants_truth(s) ? &how : NULL, &inputs, err);
    }
    if (!status) status = look(&session, s, &inputs, &ranking, &batch, &result, err);
    if (!status) status = print_result(s, &result, &batch, err);
    kh_look_clear(&result.look);
    kh_free(result.truth);
    kh_image_batch_clear(&batch);
    kh_ranking_clear(&ranking);
    kh_inputs_clear(&inputs);
    kh_session_close(&session);
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_look = {
    .name = "look",
    .summary = "where in photographs a class's key neurons fire: heatmaps and masks",
    .operands = "MODEL IMAGE...",
    .description =
        "Runs each image, takes the key neurons whose value vectors are most aligned with the "
        "class,"
        " and draws where they fire. look.png has one row per image (figures 10 and 11 of the"
        " report); blocks_*.png has one page per image with every block's first neuron, its"
        " percentile mask and the running mean over blocks (figures 1 and 2). look.csv, map.npy and"
        " mask_stats.csv hold the numbers, manifest.json how they were made. Register and class"
        " tokens are never drawn as patches.",
    .examples = "  keyhole look MODEL tench.jpg --out tench\n"
                "  keyhole look MODEL photos/ --truth --scale shared --no-blocks\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run,
};
