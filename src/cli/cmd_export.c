/* keyhole export: exemplars of a run in the layout of other programs. */
#define _POSIX_C_SOURCE 200809L
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/outdir.h"
#include "cli/session.h"
#include "cli/units.h"

#include "base/folder.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 4096 };

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *out, *format, *what, *threshold, *pad, *blocks, *units, *neurons, *label_file;
    size_t ranks, batch;
    bool exif_rotate, gray16_scale, overwrite, dry_run;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->format = "milan";
    s->what = "neurons";
    s->threshold = "0.99";
    s->pad = "edge";
    s->batch = kh_export_options_default().batch;
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Where the folders of layers go: MILAN calls it ROOT/MODEL/DATASET."},
    {KH_OPT_TEXT, "format", 0, offsetof(settings, format), "milan",
     "Whose layout. Default: milan."},
    {KH_OPT_TEXT, "of", 0, offsetof(settings, what), "neurons|channels",
     "Key neurons, or channels of the second matrix (a run with the lens channels). Default: "
     "neurons."},
    {KH_OPT_TEXT, "blocks", 0, offsetof(settings, blocks), "LIST",
     "Only these blocks, like 8-11 or 0,5. Default: all."},
    {KH_OPT_TEXT, "units", 0, offsetof(settings, units), "FIRST:END",
     "Only these units of each block: 0:100 are the first hundred. Default: all."},
    {KH_OPT_TEXT, "neurons", 0, offsetof(settings, neurons), "LIST",
     "Only these, like b10n1198,b11n3; --blocks and --units are not looked at then."},
    {KH_OPT_SIZE, "topk", 'k', offsetof(settings, ranks), "K",
     "Exemplars of each unit. Default: as many as the run keeps."},
    {KH_OPT_TEXT, "threshold", 0, offsetof(settings, threshold), "0.99|run",
     "Masks show what is above this quantile of the unit; run: the run's --quantile. Default: "
     "0.99."},
    {KH_OPT_TEXT, "pad", 0, offsetof(settings, pad), "edge|zeros",
     "Beyond the outer patches a map stays as it is, or falls to 0 as in MILAN. Default: edge."},
    {KH_OPT_TEXT, "label-file", 0, offsetof(settings, label_file), "FILE",
     "As it was given to keyhole atlas."},
    {KH_OPT_SIZE, "batch", 'b', offsetof(settings, batch), "N", "Images per pass. Default: 8."},
    {KH_OPT_FLAG, "dry-run", 0, offsetof(settings, dry_run), NULL,
     "Say how much disk it would take, and end."},
    {KH_OPT_FLAG, "exif-rotate", 0, offsetof(settings, exif_rotate), NULL,
     "As it was given to keyhole atlas."},
    {KH_OPT_FLAG, "gray16-scale", 0, offsetof(settings, gray16_scale), NULL,
     "As it was given to keyhole atlas."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace the results of an earlier export in DIR."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

static kh_status choose_units(const settings *s, const kh_model_info *info, kh_export_options *o,
                              kh_neuron **chosen, kh_error *err) {
    const size_t width = o->channels ? info->dim : info->neurons;
    const char *what = o->channels ? "channels" : "key neurons";
    if (s->neurons)
        KH_TRY(
            kh_units_of_list(s->neurons, info->blocks, width, what, chosen, &o->neuron_count, err));
    else if (s->blocks || s->units)
        KH_TRY(kh_units_of_ranges(s->blocks, s->units, info->blocks, width, chosen,
                                  &o->neuron_count, err));
    o->neurons = *chosen;
    return KH_OK;
}

static kh_status say_plan(const settings *s, const kh_model_info *info, const kh_export_options *o,
                          kh_error *err) {
    const size_t all = info->blocks * (o->channels ? info->dim : info->neurons);
    const double units = (double)(o->neurons ? o->neuron_count : all);
    const double pixels = (double)(info->image_height * info->image_width);
    const double ranks = (double)(s->ranks ? s->ranks : 15);
    const double bytes = units * ranks * 4 * pixels;
    if (s->common.json)
        return kh_print_json(json_pack("{s:f, s:f}", "units", units, "bytes", bytes), err)
                   ? KH_OK
                   : KH_E_MEMORY;
    printf("%.0f unit%s of %.0f exemplar%s: %.4g GB of pictures and masks\n", units, KH_S(units),
           ranks, KH_S(ranks), bytes * 1e-9);
    return KH_OK;
}

static kh_status say_summary(const settings *s, const kh_export_summary *t, kh_error *err) {
    if (s->common.json)
        return kh_print_json(json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}", "out", s->out, "layers",
                                       (json_int_t)t->layers, "units", (json_int_t)t->units,
                                       "exemplars", (json_int_t)t->ranks, "images",
                                       (json_int_t)t->images, "bytes", (json_int_t)t->bytes),
                             err)
                   ? KH_OK
                   : KH_E_MEMORY;
    printf("%zu unit%s of %zu layer%s, %zu exemplar%s each, from %zu image%s: %.1f MB in %s\n",
           t->units, KH_S(t->units), t->layers, KH_S(t->layers), t->ranks, KH_S(t->ranks),
           t->images, KH_S(t->images), (double)t->bytes * 1e-6, s->out);
    return KH_OK;
}

static kh_status begin(void *user, kh_error *err) {
    const settings *s = user;
    return kh_outdir_begin(s->out, "export", err);
}

static kh_status export(kh_session *session, const settings *s, const kh_source *source,
                        kh_export_options *o, bool *is_misused, kh_error *err) {
    kh_export_summary summary;
    kh_neuron *chosen = NULL;
    const kh_model_info *info = kh_model_get_info(session->model);
    kh_status status = choose_units(s, info, o, &chosen, err);
    *is_misused = status != KH_OK && status != KH_E_MEMORY;
    if (!status && s->dry_run) {
        status = say_plan(s, info, o, err);
    } else if (!status) {
        status = kh_atlas_export_milan(session->ctx, session->model, source, o, &summary, err);
        if (!status) kh_folder_unmark(s->out);
        if (!status) status = say_summary(s, &summary, err);
    }
    free(chosen);
    return status;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    settings own = *(const settings *)from;
    const settings *s = &own;
    kh_session session = {0};
    kh_source *source = NULL;
    bool is_misused = false;
    if (!s->out) {
        (void)kh_fail(err, KH_E_ARG, "--out DIR says where the layers go");
        return KH_EXIT_MISUSED;
    }
    if (s->batch == 0 || s->batch > MAX_BATCH) {
        (void)kh_fail(err, KH_E_ARG, "--batch %zu: 1 to %d", s->batch, MAX_BATCH);
        return KH_EXIT_MISUSED;
    }
    if (strcmp(s->format, "milan") != 0) {
        char shown[KH_SHOWN_BYTES];
        (void)kh_fail(err, KH_E_ARG, "--format '%s': there is milan",
                      kh_shown(s->format, strlen(s->format), shown, sizeof shown));
        return KH_EXIT_MISUSED;
    }
    if (kh_outdir_check(s->out, "export", s->overwrite, err)) return KH_EXIT_FAILED;
    kh_text command = {0};
    kh_text_add(&command, "keyhole export");
    for (size_t i = 0; i < count; i++)
        kh_text_addf(&command, " %s", operands[i]);
    const kh_decode_options decode = {.exif_rotate = s->exif_rotate,
                                      .gray16_scale = s->gray16_scale,
                                      .warn = kh_session_warn,
                                      .warn_user = &session};
    kh_export_options o = kh_export_options_default();
    o.run = operands[0];
    o.out = s->out;
    o.channels = strcmp(s->what, "channels") == 0;
    o.ranks = s->ranks;
    o.use_run_quantile = strcmp(s->threshold, "run") == 0;
    o.zero_pad = strcmp(s->pad, "zeros") == 0;
    o.batch = s->batch;
    o.command = command.data;
    o.decode = &decode;
    o.begin = begin;
    o.begin_user = &own;
    o.progress = kh_session_progress;
    o.progress_user = &session;
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[1], &s->model, err);
    if (!status) {
        const kh_source_options source_options = {.classes = kh_model_classes(session.model),
                                                  .label_file = s->label_file,
                                                  .warn = kh_session_warn,
                                                  .warn_user = &session};
        status = kh_inputs_open(operands + 2, count - 2, &source_options, &source, err);
    }
    if (!status) status = export(&session, s, source, &o, &is_misused, err);
    kh_text_clear(&command);
    kh_source_free(source);
    kh_session_close(&session);
    if (is_misused) return KH_EXIT_MISUSED;
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_export = {
    .name = "export",
    .summary = "exemplars of a run for other programs: pictures, masks, activations",
    .operands = "RUN MODEL IMAGES...",
    .description =
        "RUN is a complete run directory of keyhole atlas; MODEL and IMAGES are those it was made"
        " from, and another model, preprocessing or image set is refused. For each block a folder"
        " blocks.B.mlp.act (or .fc2 for channels) holds images.npy, masks.npy, activations.csv and"
        " ids.csv as MILAN's programs read them, and units.npy when not all units are exported."
        " Images are read again and go once through the model.",
    .examples = "  keyhole export run MODEL val/ --out exemplars/vit/val --blocks 10-11\n"
                "  keyhole export run MODEL val/ --of channels --units 0:100 --pad zeros --out x\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 3,
    .max_operands = SIZE_MAX,
    .run = run,
};
