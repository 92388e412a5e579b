/* keyhole reproduce: the report's claims, tested on a model and images, as a page. */
#define _POSIX_C_SOURCE 200809L
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/inputs.h"
#include "cli/outdir.h"
#include "cli/reproduce.h"

#include "base/file.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PER_CLASS = 10000, MAX_DRAWS = 1000, MANY_CLASSES = 100 };

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    kh_reproduce_settings own;
    const char *label_file;
    bool overwrite;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->own.batch = 8;
    s->own.draws = 20;
    s->own.percentile = 80.0;
    s->own.out = "keyhole-reproduce";
}

#define OWN(field) offsetof(settings, own.field)

static const kh_option options[] = {
    {KH_OPT_TEXT, "out", 'o', OWN(out), "DIR",
     "Folder for the page, its tables and figures. Default: keyhole-reproduce."},
    {KH_OPT_TEXT, "truth", 0, OWN(truth), "DIR", KH_LABEL_MAPS " C9, C10 and C12 need them."},
    {KH_OPT_TEXT, "atlas", 0, OWN(atlas), "RUN",
     "A complete run of keyhole atlas over the same images. Default: one is made in DIR/atlas."},
    {KH_OPT_TEXT, "ablate", 0, OWN(ablate), "RUN",
     "Results of keyhole ablate with the same model and images. Default: the maps' images are"
     " ablated in DIR/ablate."},
    {KH_OPT_FLAG, "no-ablation", 0, OWN(no_ablation), NULL,
     "Make none, which saves most of the time; C14 then cannot be tested."},
    {KH_OPT_TEXT, "label-file", 0, offsetof(settings, label_file), "FILE",
     "True classes: lines 'name label', or one label a line in the order of the images."},
    {KH_OPT_TEXT, "relatives", 0, OWN(relatives), "LIST",
     "Similar classes, with commas between. Default: the dogs of ImageNet or the demo world."},
    {KH_OPT_SIZE, "per-class", 'n', OWN(per_class), "N",
     "Images of each class whose maps are looked at. Default: 10, or 2 of more than 100 classes."},
    {KH_OPT_SIZE, "draws", 0, OWN(draws), "R",
     "Random neurons and random heads that say what chance gives. Default: 20."},
    {KH_OPT_NUMBER, "percentile", 0, OWN(percentile), "P",
     "Masks keep pixels above this percentile of their own map. Default: 80."},
    {KH_OPT_TEXT, "lenses", 0, OWN(lenses), "NAMES",
     "Lenses of the atlas, as keyhole atlas takes them. Default: the cheap ones."},
    {KH_OPT_TEXT, "golden-image", 0, OWN(golden_image), "FILE", "The photograph of golden G9."},
    {KH_OPT_SIZE, "seed", 0, OWN(seed), "N", "Of random draws and intervals. Default: 0."},
    {KH_OPT_SIZE, "batch", 'b', OWN(batch), "N",
     "Images per pass. Results do not depend on it. Default: 8."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Replace results that are already in DIR; a complete atlas there is used again."},
    {KH_OPT_FLAG, "exif-rotate", 0, OWN(decode.exif_rotate), NULL,
     "Turn photographs as their EXIF tag says (Pillow and timm do not)."},
    {KH_OPT_FLAG, "gray16-scale", 0, OWN(decode.gray16_scale), NULL,
     "Scale 16-bit grey images instead of saturating them as Pillow does."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

/* ---- stopping -------------------------------------------------------------------------------- */

static volatile sig_atomic_t is_interrupted;

static void interrupt(int number) {
    is_interrupted = 1;
    (void)signal(number, SIG_DFL); /* a second time ends at once */
}

static bool progress(void *user, const char *what, uint64_t done, uint64_t total) {
    return kh_session_progress(user, what, done, total) && !is_interrupted;
}

/* ---- what is said ---------------------------------------------------------------------------- */

static void print_claim(const kh_claim *claim, const kh_claim_text *text) {
    char value[160] = "";
    if (claim->number_count) kh_claim_number_text(&claim->numbers[0], value, sizeof value);
    printf("%-4s %-16s %s\n", text->id, kh_verdict_name(claim->verdict), text->claim);
    if (claim->number_count) printf("%22s%s: %s\n", "", claim->numbers[0].name, value);
    if (claim->verdict == KH_VERDICT_UNTESTED) printf("%22s%s\n", "", claim->missing);
}

static void print_text(const kh_reproduce *r) {
    static const char *const states[] = {"not compared", "same", "differs"};
    for (size_t i = 0; i < KH_CLAIMS; i++)
        print_claim(&r->claims[i], &kh_claim_texts[i]);
    printf("\npublished numbers\n");
    for (size_t i = 0; i < KH_GOLDENS; i++)
        printf("G%zu   %-16s %s\n", i + 1, states[r->goldens[i].state], r->goldens[i].got);
    printf("\nthe page: ");
    kh_print_path(r->settings->out);
    printf("/index.html\n");
}

static json_t *claim_json(const kh_claim *claim, const kh_claim_text *text) {
    json_t *numbers = json_array();
    for (size_t k = 0; k < claim->number_count; k++) {
        const kh_claim_number *n = &claim->numbers[k];
        json_array_append_new(numbers, json_pack("{s:s, s:o, s:o, s:o, s:I, s:s}", "name", n->name,
                                                 "value", kh_json_number(n->band.mean), "lo",
                                                 kh_json_number(n->band.lo), "hi",
                                                 kh_json_number(n->band.hi), "n", (json_int_t)n->n,
                                                 "interval", n->interval));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", text->id, "claim", text->claim, "verdict",
                     kh_verdict_name(claim->verdict), "missing", claim->missing, "numbers",
                     numbers);
}

static kh_status print_json(const kh_reproduce *r, kh_error *err) {
    static const char *const states[] = {"not compared", "same", "differs"};
    json_t *claims = json_array(), *goldens = json_array();
    for (size_t i = 0; i < KH_CLAIMS; i++)
        json_array_append_new(claims, claim_json(&r->claims[i], &kh_claim_texts[i]));
    for (size_t i = 0; i < KH_GOLDENS; i++)
        json_array_append_new(goldens, json_pack("{s:s, s:s, s:s}", "state",
                                                 states[r->goldens[i].state], "published",
                                                 r->goldens[i].want, "found", r->goldens[i].got));
    json_t *root = json_pack(
        "{s:o, s:I, s:I, s:o, s:o, s:o}", "model", kh_model_receipt(r->session->model), "images",
        (json_int_t)kh_source_count(r->source), "labelled", (json_int_t)r->labelled, "claims",
        claims, "goldens", goldens, "out", kh_json_text(r->settings->out));
    return kh_print_json(root, err) ? KH_OK : KH_E_MEMORY;
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool is_misused(const settings *s, kh_error *err) {
    const kh_reproduce_settings *own = &s->own;
    if (own->per_class > MAX_PER_CLASS)
        return kh_fail(err, KH_E_ARG, "--per-class is 1 to %d", MAX_PER_CLASS);
    if (own->draws == 0 || own->draws > MAX_DRAWS)
        return kh_fail(err, KH_E_ARG, "--draws is 1 to %d", MAX_DRAWS);
    if (own->batch == 0) return kh_fail(err, KH_E_ARG, "--batch starts at 1");
    if (!(own->percentile > 0.0 && own->percentile < 100.0))
        return kh_fail(err, KH_E_ARG, "--percentile is above 0 and below 100");
    if (own->ablate && own->no_ablation)
        return kh_fail(err, KH_E_ARG, "--ablate and --no-ablation exclude each other");
    if (own->atlas && own->lenses)
        return kh_fail(err, KH_E_ARG, "--lenses belongs to a new atlas; --atlas brings its own");
    return kh_atlas_check_lenses(own->lenses, err) != KH_OK;
}

static kh_status judge(kh_reproduce *r, kh_error *err) {
    KH_TRY(kh_reproduce_check_goldens(r, err));
    KH_TRY(kh_reproduce_judge_weights(r, err));
    KH_TRY(kh_reproduce_judge_classes(r, err));
    KH_TRY(kh_reproduce_judge_distances(r, err));
    KH_TRY(kh_reproduce_judge_maps(r, err));
    return kh_reproduce_judge_causes(r, err);
}

static kh_status check_photograph(const char *path, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    if (!path || (kh_file_exists(path) && !kh_is_directory(path))) return KH_OK;
    return kh_fail(err, KH_E_NOT_FOUND, "--golden-image '%s': there is no such file",
                   kh_shown(path, strlen(path), shown, sizeof shown));
}

static kh_status reproduce(kh_reproduce *r, const settings *s, size_t count, char **operands,
                           kh_error *err) {
    const kh_source_options options_of_source = {.classes = kh_model_classes(r->session->model),
                                                 .label_file = s->label_file,
                                                 .warn = kh_session_warn,
                                                 .warn_user = r->session};
    r->info = kh_model_get_info(r->session->model);
    KH_TRY(check_photograph(s->own.golden_image, err));
    KH_TRY(kh_outdir_check(s->own.out, "reproduce", s->overwrite, err));
    KH_TRY(kh_reproduce_find_ablation(r, err));
    KH_TRY(kh_inputs_open(operands, count, &options_of_source, &r->source, err));
    if (s->own.ablate)
        KH_TRY(
            kh_outdir_check_origin(s->own.ablate, "--ablate", "ablate", r->info, r->source, err));
    KH_TRY(kh_reproduce_gather(r, err));
    KH_TRY(judge(r, err));
    KH_TRY(kh_outdir_begin(s->own.out, "reproduce", err));
    KH_TRY(kh_reproduce_draw(r, err));
    KH_TRY(kh_reproduce_write(r, err));
    if (s->common.json) return print_json(r, err);
    print_text(r);
    return KH_OK;
}

static void write_command(kh_text *text, size_t count, char **operands, const settings *s) {
    kh_text_add(text, "keyhole reproduce");
    for (size_t i = 0; i < count; i++)
        kh_text_addf(text, " %s", operands[i]);
    if (s->own.truth) kh_text_addf(text, " --truth %s", s->own.truth);
    if (s->own.atlas) kh_text_addf(text, " --atlas %s", s->own.atlas);
    if (s->own.ablate) kh_text_addf(text, " --ablate %s", s->own.ablate);
    kh_text_addf(text, " --out %s", s->own.out);
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    settings s = *(const settings *)from;
    if (is_misused(&s, err)) return KH_EXIT_MISUSED;
    kh_session session = {0};
    kh_text command = {0};
    write_command(&command, count, operands, &s);
    s.own.command = command.data ? command.data : "";
    s.own.model = operands[0];
    s.own.progress = progress;
    s.own.decode.warn = kh_session_warn;
    s.own.decode.warn_user = &session;
    kh_reproduce r = {.session = &session, .settings = &s.own};
    kh_status status = kh_session_open(&session, &s.common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s.model, err);
    if (!status) status = kh_require_classes(session.model, err);
    const struct sigaction action = {.sa_handler = interrupt};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (!status && s.own.per_class == 0)
        s.own.per_class = kh_model_get_info(session.model)->classes > MANY_CLASSES ? 2 : 10;
    if (!status) status = reproduce(&r, &s, count - 1, operands + 1, err);
    const bool names_no_class = r.is_misused;
    kh_reproduce_clear(&r);
    kh_text_clear(&command);
    kh_session_close(&session);
    if (names_no_class) return KH_EXIT_MISUSED;
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_reproduce = {
    .name = "reproduce",
    .summary = "the report's claims tested on a model and images: a page of verdicts and figures",
    .operands = "MODEL IMAGES...",
    .description =
        "Tests the seventeen claims of the report this program grew from (C1 to C17) on any model"
        " and labelled images, by rules that were fixed beforehand, and writes a page: the claim,"
        " the number with its interval, the verdict (reproduced, mixed, not reproduced, cannot be"
        " tested), what the number cannot say, and the report's figures for this model. What it"
        " needs (an atlas of the images, maps, an ablation, figures) it makes; --atlas and "
        "--ablate take results"
        " that are there. Numbers that were published for one checkpoint (G1 to G9) are compared"
        " when MODEL is that checkpoint. IMAGES are those of keyhole atlas.",
    .examples =
        "  keyhole diorama --count 250 --seed 2 --out world\n"
        "  keyhole reproduce demo world --truth world --out claims\n"
        "  keyhole reproduce timm/vit_base_patch16_224.augreg_in21k_ft_in1k val/ --out claims\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run,
};
