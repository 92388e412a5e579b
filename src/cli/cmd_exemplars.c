/* keyhole exemplars: pages of pictures on which chosen neurons fire, strongly and less so. */
#include "cli/commands.h"
#include "cli/exemplar_sheet.h"
#include "cli/images.h"
#include "cli/inputs.h"
#include "cli/lists.h"
#include "cli/outdir.h"
#include "cli/units.h"

#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_CLASSES = 25, AT_ONCE = 32 };

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *neurons, *classes, *out, *label_file;
    size_t batch;
    bool overwrite, exif_rotate, gray16_scale;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->batch = 8;
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "neurons", 0, offsetof(settings, neurons), "LIST",
     "A page for each of these, like b10n1198,b11n3."},
    {KH_OPT_TEXT, "classes", 'c', offsetof(settings, classes), "LIST",
     "A page for the best aligned neuron (ln, all blocks) of each of these: index, wnid or name."
     " Default: the first 25 classes."},
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR", "Where the pages go."},
    {KH_OPT_TEXT, "label-file", 0, offsetof(settings, label_file), "FILE",
     "As it was given to keyhole atlas."},
    {KH_OPT_SIZE, "batch", 'b', offsetof(settings, batch), "N", "Images per pass. Default: 8."},
    {KH_OPT_FLAG, "exif-rotate", 0, offsetof(settings, exif_rotate), NULL,
     "As it was given to keyhole atlas."},
    {KH_OPT_FLAG, "gray16-scale", 0, offsetof(settings, gray16_scale), NULL,
     "As it was given to keyhole atlas."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace results that are already in DIR."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

/* The first global rank of the classes, every neuron once. */
static kh_status neurons_of_classes(kh_session *session, const settings *s, kh_neuron **out,
                                    size_t *count, kh_error *err) {
    kh_rank_options how = kh_rank_options_default();
    kh_ranking ranking = {0};
    size_t *classes = NULL, wanted = 0;
    how.k = 1;
    KH_TRY(kh_require_classes(session->model, err));
    kh_status status = KH_OK;
    if (s->classes)
        status =
            kh_class_list(kh_model_classes(session->model), s->classes, &classes, &wanted, err);
    if (!status) status = kh_lens_rank(session->ctx, session->model, &how, &ranking, err);
    if (!s->classes) wanted = ranking.classes < DEFAULT_CLASSES ? ranking.classes : DEFAULT_CLASSES;
    *count = 0;
    *out = status ? NULL : calloc(wanted ? wanted : 1, sizeof **out);
    if (!status && !*out) status = kh_fail(err, KH_E_MEMORY, "no memory for a list of neurons");
    for (size_t i = 0; i < wanted && !status; i++) {
        const kh_ranked *first = &ranking.global[classes ? classes[i] : i];
        bool is_new = true;
        for (size_t j = 0; j < *count; j++)
            is_new &= (*out)[j].block != first->block || (*out)[j].index != first->index;
        if (is_new) (*out)[(*count)++] = (kh_neuron){first->block, first->index};
    }
    kh_ranking_clear(&ranking);
    kh_free(classes);
    return status;
}

/* The run must be of this model and these images. */
static kh_status check(const kh_run *run, const kh_session *session, const kh_source *source,
                       kh_error *err) {
    const kh_model_info *info = kh_model_get_info(session->model);
    char sha[65];
    if (strcmp(run->model_sha256, info->sha256) != 0 || run->blocks != info->blocks ||
        run->neurons != info->neurons)
        return kh_fail(err, KH_E_ARG, "the run in '%s' was made with other weights", run->path);
    KH_TRY(kh_source_sha256(source, sha, err));
    if (run->images != kh_source_count(source) || strcmp(run->images_sha256, sha) != 0)
        return kh_fail(
            err, KH_E_ARG,
            "the run in '%s' was made from another image set: %zu image%s there, %zu here",
            run->path, run->images, KH_S(run->images), kh_source_count(source));
    return KH_OK;
}

/* Some neurons at a time, so that their pictures fit in memory. */
static kh_status draw_some(kh_session *session, const settings *s, const kh_run *run,
                           const kh_source *source, const kh_neuron *neurons, size_t count,
                           kh_error *err) {
    const kh_decode_options decode = {.exif_rotate = s->exif_rotate,
                                      .gray16_scale = s->gray16_scale,
                                      .warn = kh_session_warn,
                                      .warn_user = session};
    kh_exemplars sets[AT_ONCE] = {{.count = 0}};
    kh_image *pictures = kh_calloc(run->images ? run->images : 1, sizeof *pictures);
    kh_status status = pictures ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for pictures");
    for (size_t i = 0; i < count && !status; i++)
        status = kh_exemplars_read(run, neurons[i], &sets[i], err);
    if (!status)
        status = kh_exemplars_look(session, source, &decode, s->batch, sets, count, pictures, err);
    for (size_t i = 0; i < count && !status; i++)
        status = kh_exemplars_draw(run, session->model, &sets[i], pictures, s->out, err);
    for (size_t i = 0; i < count; i++)
        kh_exemplars_clear(&sets[i]);
    for (size_t i = 0; pictures && i < run->images; i++)
        kh_image_clear(&pictures[i]);
    kh_free(pictures);
    return status;
}

static kh_status write_manifest(const settings *s, const kh_run *run, const kh_model *model,
                                const kh_neuron *neurons, size_t count, kh_error *err) {
    char name[32];
    kh_manifest *manifest = NULL;
    KH_TRY(kh_store_manifest_create("exemplars", &manifest, err));
    kh_store_manifest_model(manifest, kh_model_get_info(model));
    kh_store_manifest_text(manifest, "run", run->path);
    for (size_t i = 0; i < count; i++) {
        kh_neuron_format(neurons[i], name, sizeof name);
        kh_outdir_list_figure(manifest, name, "exemplars of a key neuron");
    }
    const kh_status status = kh_outdir_finish(s->out, manifest, err);
    kh_store_manifest_free(manifest);
    return status;
}

static kh_status draw_all(kh_session *session, const settings *s, const kh_run *run,
                          const kh_source *source, const kh_neuron *neurons, size_t count,
                          kh_error *err) {
    KH_TRY(kh_outdir_begin(s->out, "exemplars", err));
    for (size_t first = 0; first < count; first += AT_ONCE) {
        const size_t left = count - first;
        KH_TRY(draw_some(session, s, run, source, neurons + first, left < AT_ONCE ? left : AT_ONCE,
                         err));
    }
    KH_TRY(write_manifest(s, run, session->model, neurons, count, err));
    if (s->common.json)
        return kh_print_json(json_pack("{s:I, s:s}", "pages", (json_int_t)count, "out", s->out),
                             err)
                   ? KH_OK
                   : KH_E_MEMORY;
    printf("%zu page%s in %s\n", count, KH_S(count), s->out);
    return KH_OK;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    kh_session session = {0};
    kh_source *source = NULL;
    kh_run atlas = {0};
    kh_neuron *neurons = NULL;
    size_t chosen = 0;
    if (!s->out || s->batch == 0) {
        (void)kh_fail(err, KH_E_ARG,
                      s->out ? "--batch starts at 1" : "--out DIR says where the pages go");
        return KH_EXIT_MISUSED;
    }
    kh_status status = kh_outdir_check(s->out, "exemplars", s->overwrite, err);
    char digest[65];
    if (!status) status = kh_run_open(operands[0], &atlas, err);
    if (!status) status = kh_atlas_digest(operands[0], digest, err); /* is it what was written? */
    if (!status) status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[1], &s->model, err);
    if (!status) {
        const kh_source_options how = {.classes = kh_model_classes(session.model),
                                       .label_file = s->label_file,
                                       .warn = kh_session_warn,
                                       .warn_user = &session};
        status = kh_inputs_open(operands + 2, count - 2, &how, &source, err);
    }
    if (!status) status = check(&atlas, &session, source, err);
    bool is_misused = false;
    if (!status && s->neurons) {
        status = kh_units_of_list(s->neurons, atlas.blocks, atlas.neurons, "key neurons", &neurons,
                                  &chosen, err);
        is_misused = status == KH_E_ARG;
    } else if (!status) {
        status = neurons_of_classes(&session, s, &neurons, &chosen, err);
    }
    if (!status) status = draw_all(&session, s, &atlas, source, neurons, chosen, err);
    free(neurons);
    kh_source_free(source);
    kh_run_close(&atlas);
    kh_session_close(&session);
    return is_misused ? KH_EXIT_MISUSED : status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_exemplars = {
    .name = "exemplars",
    .summary = "pictures on which chosen neurons fire, strongly and less so, with where",
    .operands = "RUN MODEL IMAGES...",
    .description =
        "RUN is a complete run directory of keyhole atlas with the lens exemplars; MODEL and IMAGES"
        " are those it was made from. A page for each neuron: its strongest pictures, others around"
        " the 95 %, 75 % and 50 % quantile of its maxima, and random ones, each with a line around"
        " what is above the neuron's threshold. Pictures are read again and go once through the"
        " model.",
    .examples = "  keyhole exemplars run MODEL val/ --neurons b10n1198 --out sheets\n"
                "  keyhole exemplars run MODEL val/ --classes tench,207 --out sheets\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 3,
    .max_operands = SIZE_MAX,
    .run = run,
};
