/* keyhole perturb: what a model still recognises when attention is cut or tokens are missing. */
#define _POSIX_C_SOURCE 200809L
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/inputs.h"
#include "cli/perturb.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BATCH = 4096, MAX_RANDOM = 1000 };

static void defaults(void *at) {
    kh_perturb_settings *s = at;
    const kh_perturb_options o = kh_perturb_options_default();
    s->steps = o.steps;
    s->random = o.random;
    s->batch = o.batch;
    s->tokens = "nearest";
    s->softmax = "double";
}

#define AT(field) offsetof(kh_perturb_settings, field)

static const kh_option options[] = {
    {KH_OPT_TEXT, "out", 'o', AT(out), "DIR", "Folder for tables, maps and pictures."},
    {KH_OPT_TEXT, "truth", 0, AT(truth), "DIR",
     KH_LABEL_MAPS
     " With them also only tokens that show the class are left, and only the others."},
    {KH_OPT_TEXT, "tokens", 0, AT(tokens), "nearest|majority",
     "A patch shows what its first pixel shows, as Vilas et al. resize masks, or most of its"
     " pixels. Default: nearest."},
    {KH_OPT_TEXT, "softmax", 0, AT(softmax), "double|single",
     "Of the gradient map: double as in the published code, single as in its formula. Default:"
     " double."},
    {KH_OPT_SIZE, "steps", 0, AT(steps), "N",
     "Points of a removal curve, up to the number of patches; 0: no curves. Default: 12."},
    {KH_OPT_SIZE, "random", 0, AT(random), "N", "Orders drawn at random. Default: 10."},
    {KH_OPT_SIZE, "seed", 0, AT(seed), "N", "Of these orders."},
    {KH_OPT_FLAG, "neuron-gradients", 0, AT(neuron_gradients), NULL,
     "Also the pixels that wake each image's class's best aligned neuron (a pass backwards)."},
    {KH_OPT_FLAG, "no-relevance", 0, AT(no_relevance), NULL,
     "Leave out the relevance of Chefer et al. and the curves in its order (a pass backwards)."},
    {KH_OPT_SIZE, "pictures", 0, AT(pictures), "N",
     "Draw the maps of the first N images over them. Default: none."},
    {KH_OPT_TEXT, "label-file", 0, AT(label_file), "FILE",
     "True classes: lines 'name label', or one label a line in the order of the images."},
    {KH_OPT_SIZE, "batch", 'b', AT(batch), "N",
     "Images per pass. Results do not depend on it. Default: 8."},
    {KH_OPT_FLAG, "exif-rotate", 0, AT(exif_rotate), NULL,
     "Turn photographs as their EXIF tag says (Pillow and timm do not)."},
    {KH_OPT_FLAG, "overwrite", 0, AT(overwrite), NULL, "Replace earlier results in DIR."},
    KH_MODEL_OPTIONS(kh_perturb_settings),
    KH_COMMON_OPTIONS(kh_perturb_settings),
    {0},
};

static void fill_options(const kh_perturb_settings *s, kh_session *session,
                         const kh_decode_options *decode, kh_perturb_files *files,
                         kh_perturb_options *o) {
    *o = kh_perturb_options_default();
    o->by_majority = strcmp(s->tokens, "majority") == 0;
    o->single_softmax = strcmp(s->softmax, "single") == 0;
    o->steps = s->steps;
    o->random = s->random;
    o->seed = s->seed;
    o->batch = s->batch;
    o->neuron_gradients = s->neuron_gradients;
    o->no_relevance = s->no_relevance;
    o->decode = decode;
    o->see = kh_perturb_files_see;
    o->see_user = files;
    o->broken = kh_perturb_files_miss;
    o->broken_map = kh_perturb_files_miss_map;
    o->broken_user = files;
    o->progress = kh_session_progress;
    o->progress_user = session;
    o->warn = kh_session_warn;
    o->warn_user = session;
}

static kh_status say(const kh_perturb_files *files, const kh_perturbation *p, kh_error *err) {
    if (files->settings->common.json)
        return kh_print_json(kh_perturb_json(files, p), err) ? KH_OK : KH_E_MEMORY;
    printf("%zu image%s of known class, %zu with tokens that show it", p->labelled,
           KH_S(p->labelled), p->with_maps);
    if (p->broken) printf("; %zu could not be read", p->broken);
    if (p->broken_maps) printf("; label maps of %zu could not be read", p->broken_maps);
    putchar('\n');
    for (size_t k = 0; k < p->row_count; k++) {
        const kh_perturb_row *r = &p->rows[k];
        const double n = r->images ? (double)r->images : 1, t = r->tokens ? (double)r->tokens : 1;
        printf("%-10s accuracy %.3f (undisturbed %.3f), identifiable patches %.3f (%.3f)\n",
               r->kind, (double)r->hits / n, (double)r->base_hits / n, (double)r->identifiable / t,
               (double)r->base_identifiable / t);
    }
    for (size_t v = 0; v < p->curve_count; v++)
        printf("removal by %-9s %-8s area %.3f, over the base %.3f\n", p->curves[v].method,
               p->curves[v].sign, p->curves[v].auc, p->curves[v].auc_base);
    return KH_OK;
}

static kh_status study(const kh_perturb_settings *s, kh_session *session, const kh_source *source,
                       kh_perturb_files *files, kh_error *err) {
    const kh_decode_options decode = {
        .exif_rotate = s->exif_rotate, .warn = kh_session_warn, .warn_user = session};
    kh_perturb_options o;
    kh_perturbation p = {0};
    kh_label_set *set = NULL;
    kh_status status = KH_OK;
    fill_options(s, session, &decode, files, &o);
    if (s->truth) status = kh_label_set_open(s->truth, NULL, &set, err);
    o.label_set = set;
    if (!status) status = kh_lens_perturb(session->ctx, session->model, source, &o, &p, err);
    if (files->broken_status) status = kh_fail(err, files->broken_status, "no memory for a list");
    if (status) { /* broken images may be the reason */
        (void)kh_broken_images_say(session, files->broken, files->broken_count,
                                   kh_source_count(source), NULL);
    } else {
        status = kh_broken_images_say(session, files->broken, files->broken_count,
                                      kh_source_count(source), err);
    }
    kh_broken_maps_say(session, files->broken_maps, files->broken_maps_count, status != KH_OK);
    if (!status) status = kh_perturb_files_write(files, &p, &decode, err);
    if (!status) status = say(files, &p, err);
    kh_perturbation_clear(&p);
    kh_label_set_close(set);
    return status;
}

static bool is_misused(const kh_perturb_settings *s, const kh_model_info *info, kh_error *err) {
    const size_t patches = info->tokens - info->prefix_tokens;
    if (s->batch == 0 || s->batch > MAX_BATCH)
        return kh_fail(err, KH_E_ARG, "--batch %zu: 1 to %d", s->batch, MAX_BATCH);
    if (s->random > MAX_RANDOM)
        return kh_fail(err, KH_E_ARG, "--random %zu: at most %d", s->random, MAX_RANDOM);
    if (s->steps > patches)
        return kh_fail(err, KH_E_ARG, "--steps %zu: there are %zu patches", s->steps, patches);
    return false;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const kh_perturb_settings *s = from;
    kh_session session = {0};
    kh_source *source = NULL;
    kh_perturb_files files = {0};
    if (!s->out) {
        (void)kh_fail(err, KH_E_ARG, "--out DIR says where tables and maps go");
        return KH_EXIT_MISUSED;
    }
    if (kh_outdir_check(s->out, "perturb", s->overwrite, err)) return KH_EXIT_FAILED;
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s->model, err);
    const bool misused = !status && is_misused(s, kh_model_get_info(session.model), err);
    if (misused) status = KH_E_ARG;
    if (!status) {
        const kh_source_options source_options = {.classes = kh_model_classes(session.model),
                                                  .label_file = s->label_file,
                                                  .warn = kh_session_warn,
                                                  .warn_user = &session};
        status = kh_inputs_open(operands + 1, count - 1, &source_options, &source, err);
    }
    if (!status) status = kh_require_truth(source, err);
    if (!status) status = kh_perturb_files_init(&files, s, session.model, source, err);
    if (!status) status = study(s, &session, source, &files, err);
    kh_perturb_files_clear(&files);
    kh_source_free(source);
    kh_session_close(&session);
    return misused ? KH_EXIT_MISUSED : status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_perturb = {
    .name = "perturb",
    .summary = "what is still recognised when attention is cut or tokens are missing",
    .operands = "MODEL IMAGES...",
    .description =
        "IMAGES as for keyhole atlas; their true classes must be known. Patches that attend to"
        " themselves alone, or not to the class token; only tokens that show the class, or only"
        " the others (--truth); tokens taken away in the order of a map, most important first and"
        " last, beside random orders. perturb.csv, removal.csv, auc.csv, map.npy, relevance.npy and"
        " images.csv hold the numbers; perturb_removal, perturb_rates and perturb_maps draw"
        " them.",
    .examples = "  keyhole perturb MODEL val/ --out disturbed\n"
                "  keyhole perturb demo world/images/scenes --truth world --steps 36 --out x\n",
    .options = options,
    .settings_bytes = sizeof(kh_perturb_settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run,
};
