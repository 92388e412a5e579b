/* keyhole ablate: what a model's answers lose without some of its key neurons. */
#define _POSIX_C_SOURCE 200809L
#include "cli/ablate.h"
#include "cli/atlas.h"
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/outdir.h"

#include "base/file.h"
#include "base/folder.h"
#include "base/text.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *out, *label_file, *truth, *patches, *rank, *ops, *tokens, *block, *k, *sweep_k;
    const char *designs;
    double alpha;
    size_t sets, swap_k, steer_k, pairs, keys, random_keys, per_class, seed, resamples, batch;
    size_t checkpoint;
    bool is_global, overwrite, resume, dry_run;
} settings;

static void defaults(void *at) {
    settings *s = at;
    const kh_ablate_options o = kh_ablate_options_default();
    s->out = "keyhole-ablate";
    s->rank = "ln";
    s->ops = "mean,zero";
    s->tokens = "all";
    s->patches = "nearest";
    s->checkpoint = (size_t)o.checkpoint_seconds;
    s->sets = o.sets;
    s->swap_k = o.swap_k;
    s->steer_k = o.steer_k;
    s->pairs = o.pairs;
    s->keys = o.keys;
    s->random_keys = o.random_keys;
    s->resamples = o.resamples;
    s->batch = o.batch;
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "out", 'o', offsetof(settings, out), "DIR",
     "Folder for tables and pictures. Default: keyhole-ablate."},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Begin again: replace results that are already in DIR, and what an unfinished study left."},
    {KH_OPT_FLAG, "resume", 0, offsetof(settings, resume), NULL,
     "Insist that DIR holds an unfinished study to go on with, and say what is left of it. (Without"
     " it one that is there is finished as well.)"},
    {KH_OPT_SIZE, "checkpoint", 0, offsetof(settings, checkpoint), "SECONDS",
     "State goes to the disk this often; 0: after every image. Default: 600."},
    {KH_OPT_FLAG, "dry-run", 0, offsetof(settings, dry_run), NULL,
     "Say what it would take, and end."},
    {KH_OPT_TEXT, "label-file", 0, offsetof(settings, label_file), "FILE",
     "True classes: lines 'name label', or one label a line in the order of the images."},
    {KH_OPT_SIZE, "per-class", 0, offsetof(settings, per_class), "N",
     "Use the first N images of each class. Default: all."},
    {KH_OPT_TEXT, "designs", 0, offsetof(settings, designs), "LIST",
     "Of own, sweep, swap, steer, causal, shared, with commas between. Default: all."},
    {KH_OPT_SECTION, "Which neurons", 0, 0, NULL, NULL},
    {KH_OPT_TEXT, "rank-by", 'r', offsetof(settings, rank),
     "ln|fold|contrib|activation|random|bottom",
     "Order of a class's neurons: alignment, logits added, mean coefficient, chance, or the worst"
     " aligned first. Default: ln."},
    {KH_OPT_TEXT, "block", 0, offsetof(settings, block), "B",
     "Neurons of this block (0 is the first). Default: the block that holds the top-1 neuron of"
     " most classes."},
    {KH_OPT_FLAG, "global", 0, offsetof(settings, is_global), NULL,
     "Neurons of all blocks; a variant then costs a whole pass."},
    {KH_OPT_TEXT, "k", 'k', offsetof(settings, k), "LIST",
     "How many at once, ascending. Default: 1,2,3,5,10,20,50,100,200,500,1000. All of them is"
     " always added."},
    {KH_OPT_SIZE, "sets", 0, offsetof(settings, sets), "R",
     "Matched random sets beside each. Default: 20."},
    {KH_OPT_SECTION, "What happens to them", 0, 0, NULL, NULL},
    {KH_OPT_TEXT, "op", 0, offsetof(settings, ops), "LIST",
     "Of mean, class-mean, zero, resample, scale; the first is used everywhere, the others for the"
     " ranked neurons only. Default: mean,zero."},
    {KH_OPT_NUMBER, "alpha", 0, offsetof(settings, alpha), "A",
     "Factor of --op scale. Default: 0."},
    {KH_OPT_TEXT, "tokens", 0, offsetof(settings, tokens), "all|cls|image|mask|context",
     "Tokens at which coefficients change: all, the class token, patches, patches that show the"
     " image's class, or all other patches (both with --truth). Default: all."},
    {KH_OPT_TEXT, "truth", 0, offsetof(settings, truth), "DIR",
     KH_LABEL_MAPS
     " For --tokens mask and context; images without, or with one that cannot be read,"
     " are left out."},
    {KH_OPT_TEXT, "patches", 0, offsetof(settings, patches), "nearest|majority",
     "A patch shows what its first pixel shows, or most of its pixels. Default: nearest."},
    {KH_OPT_SECTION, "Designs", 0, 0, NULL, NULL},
    {KH_OPT_TEXT, "sweep-k", 0, offsetof(settings, sweep_k), "LIST",
     "Neurons each class loses on every image. Default: 1,3,10."},
    {KH_OPT_SIZE, "swap-k", 0, offsetof(settings, swap_k), "K",
     "Neurons exchanged between two classes. Default: 10."},
    {KH_OPT_SIZE, "pairs", 0, offsetof(settings, pairs), "P",
     "Other classes each class is swapped with: half similar, half random. Default: 4."},
    {KH_OPT_SIZE, "steer-k", 0, offsetof(settings, steer_k), "K",
     "Neurons scaled together. Default: 10."},
    {KH_OPT_SIZE, "keys", 0, offsetof(settings, keys), "N",
     "Single neurons: the first N of each class by alignment, by contribution and by activation."
     " Default: 10."},
    {KH_OPT_SIZE, "random-keys", 0, offsetof(settings, random_keys), "N",
     "Single neurons: random ones of each class. Default: 20."},
    {KH_OPT_SIZE, "seed", 's', offsetof(settings, seed), "S",
     "Of random neurons, partners, classes and intervals. Default: 0."},
    {KH_OPT_SIZE, "resamples", 0, offsetof(settings, resamples), "N",
     "Of each bootstrap interval. Default: 1000."},
    {KH_OPT_SIZE, "batch", 'b', offsetof(settings, batch), "N",
     "Variants of an image per pass. Results do not depend on it. Default: 16."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

/* ---- options ------------------------------------------------------------------------------- */

enum { MOST_TEXT = 512 };

/* Calls take(part) for the parts of "a,b,c". */
static kh_status each(const char *what, const char *text, void *user,
                      kh_status (*take)(void *user, const char *part, kh_error *err),
                      kh_error *err) {
    char copy[MOST_TEXT], *rest = NULL;
    const size_t length = strlen(text);
    size_t count = 0;
    if (length >= sizeof copy) return kh_fail(err, KH_E_ARG, "--%s is too long", what);
    memcpy(copy, text, length + 1);
    for (char *one = strtok_r(copy, ",", &rest); one; one = strtok_r(NULL, ",", &rest), count++)
        KH_TRY(take(user, one, err));
    return count ? KH_OK : kh_fail(err, KH_E_ARG, "--%s is empty", what);
}

typedef struct sizes {
    const char *name;
    size_t *list, count;
} sizes;

static kh_status take_size(void *user, const char *part, kh_error *err) {
    sizes *to = user;
    char shown[KH_SHOWN_BYTES];
    size_t value;
    if (!kh_parse_size(part, &value) || value == 0 ||
        (to->count && value <= to->list[to->count - 1]))
        return kh_fail(err, KH_E_ARG,
                       "--%s: '%s' does not fit; it lists whole numbers from 1 on, ascending, like "
                       "1,3,10",
                       to->name, kh_shown(part, strlen(part), shown, sizeof shown));
    if (to->count == KH_ABLATE_MOST_K - 1)
        return kh_fail(err, KH_E_ARG, "--%s lists at most %d numbers", to->name,
                       KH_ABLATE_MOST_K - 1);
    to->list[to->count++] = value;
    return KH_OK;
}

static kh_status take_op(void *user, const char *part, kh_error *err) {
    kh_ablate_options *o = user;
    kh_ablate_op op;
    KH_TRY(kh_ablate_op_parse(part, &op, err));
    for (size_t i = 0; i < o->op_count; i++)
        if (o->ops[i] == op) return kh_fail(err, KH_E_ARG, "--op lists %s twice", part);
    o->ops[o->op_count++] = op;
    return KH_OK;
}

static kh_status take_design(void *user, const char *part, kh_error *err) {
    static const char *const names[] = {"own", "sweep", "swap", "steer", "causal", "shared"};
    unsigned *designs = user;
    char shown[KH_SHOWN_BYTES];
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], part) == 0) {
            *designs |= 1u << i;
            return KH_OK;
        }
    return kh_fail(err, KH_E_ARG,
                   "--designs: '%s' is unknown; there are own, sweep, swap, steer, causal, shared",
                   kh_shown(part, strlen(part), shown, sizeof shown));
}

static kh_status fill(const settings *s, kh_ablate_options *o, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    *o = kh_ablate_options_default();
    KH_TRY(kh_ablate_rank_parse(s->rank, &o->rank, err));
    KH_TRY(kh_ablate_tokens_parse(s->tokens, &o->tokens, err));
    o->op_count = 0;
    KH_TRY(each("op", s->ops, o, take_op, err));
    if (s->designs) {
        o->designs = 0;
        KH_TRY(each("designs", s->designs, &o->designs, take_design, err));
    }
    sizes k = {"k", o->k, 0}, sweep = {"sweep-k", o->sweep_k, 0};
    if (s->k) {
        KH_TRY(each("k", s->k, &k, take_size, err));
        o->k_count = k.count;
    }
    if (s->sweep_k) {
        KH_TRY(each("sweep-k", s->sweep_k, &sweep, take_size, err));
        o->sweep_k_count = sweep.count;
    }
    if (s->block && s->is_global)
        return kh_fail(err, KH_E_ARG, "--block and --global exclude each other");
    if (s->block && !kh_parse_size(s->block, &o->block))
        return kh_fail(err, KH_E_ARG, "--block '%s' is no number",
                       kh_shown(s->block, strlen(s->block), shown, sizeof shown));
    const bool is_masked = o->tokens == KH_ABLATE_MASK || o->tokens == KH_ABLATE_CONTEXT;
    if (is_masked && !s->truth)
        return kh_fail(err, KH_E_ARG,
                       "--tokens %s needs --truth DIR: label maps that say which patches show an "
                       "image's class",
                       s->tokens);
    if (s->truth && !is_masked)
        return kh_fail(err, KH_E_ARG, "--truth is for --tokens mask and context");
    if (s->resume && s->overwrite)
        return kh_fail(err, KH_E_ARG, "--resume and --overwrite exclude each other");
    if (s->batch == 0) return kh_fail(err, KH_E_ARG, "--batch starts at 1");
    if (s->resamples == 0) return kh_fail(err, KH_E_ARG, "--resamples starts at 1");
    if (s->swap_k == 0 || s->steer_k == 0)
        return kh_fail(err, KH_E_ARG, "--swap-k and --steer-k start at 1");
    if (s->sets > 1000 || s->pairs > 1000 || s->keys > 100000 || s->random_keys > 100000)
        return kh_fail(err, KH_E_ARG,
                       "--sets and --pairs are at most 1000, --keys and "
                       "--random-keys at most 100000");
    o->is_global = s->is_global;
    o->alpha = s->alpha;
    o->sets = s->sets;
    o->swap_k = s->swap_k;
    o->steer_k = s->steer_k;
    o->pairs = s->pairs;
    o->keys = s->keys;
    o->random_keys = s->random_keys;
    o->per_class = s->per_class;
    o->seed = s->seed;
    o->resamples = s->resamples;
    o->batch = s->batch;
    o->by_majority = strcmp(s->patches, "majority") == 0;
    o->checkpoint_seconds = (double)s->checkpoint;
    return KH_OK;
}

/* ---- running ------------------------------------------------------------------------------- */

static volatile sig_atomic_t is_interrupted;

static void interrupt(int number) {
    is_interrupted = 1;
    (void)signal(number, SIG_DFL); /* a second time ends at once */
}

static bool progress(void *user, const char *what, uint64_t done, uint64_t total) {
    return kh_session_progress(user, what, done, total) && !is_interrupted;
}

/* DIR/ablate.state, and whether something is there. */
typedef struct place {
    char state[4096];
    bool has_state;
} place;

static kh_status check_place(const settings *s, place *p, kh_error *err) {
    kh_ablate_left left;
    KH_TRY(kh_outdir_path(s->out, p->state, sizeof p->state, err, "ablate.state"));
    p->has_state = kh_is_directory(p->state);
    KH_TRY(kh_folder_check(s->out, "ablate", s->overwrite || s->resume, p->has_state, err));
    KH_TRY(kh_outdir_check_can_make(s->out, err));
    if (!s->resume) return KH_OK;
    const kh_status status = kh_ablate_look(p->state, &left, err);
    if (status) return kh_error_context(err, status, "--resume");
    if (s->common.json) return KH_OK;
    printf("resuming: %zu of %zu image%s looked at, %zu of %zu used ones done\n", left.looked,
           left.images, KH_S(left.images), left.visited, left.used);
    return KH_OK;
}

static kh_status measure(kh_ablate_run *run, const settings *s, kh_ablate_options *o,
                         const place *p, kh_error *err) {
    /* an image that is being read is no broken one */
    const struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
    char image_set[65];
    KH_TRY(kh_source_sha256(run->source, image_set, err));
    o->state = p->state;
    o->image_set = image_set;
    o->progress = progress;
    o->progress_user = run->session;
    o->broken_map = kh_ablate_miss_map;
    o->broken_map_user = run;
    if (s->overwrite && p->has_state) KH_TRY(kh_ablate_discard(p->state, err));
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    KH_TRY(kh_ablate(run->session->ctx, run->session->model, o, kh_source_count(run->source),
                     run->truth, kh_ablate_read_image, run, &run->result, err));
    if (run->broken_maps_status)
        return kh_fail(err, run->broken_maps_status, "no memory for a list of images");
    KH_TRY(kh_outdir_begin(s->out, "ablate", err));
    KH_TRY(kh_ablate_write_files(run, s->out, err));
    return kh_ablate_discard(p->state, err);
}

static kh_status open_all(kh_ablate_run *run, const settings *s, kh_ablate_options *o, size_t count,
                          char **operands, kh_error *err) {
    KH_TRY(kh_session_open(run->session, &s->common, err));
    KH_TRY(kh_session_model(run->session, operands[0], &s->model, err));
    KH_TRY(kh_require_classes(run->session->model, err));
    KH_TRY(kh_ablate_open_images(run, s->label_file, count - 1, operands + 1, err));
    KH_TRY(kh_ablate_find_relatives(run, err));
    o->is_relative = run->is_relative;
    if (!s->truth) return KH_OK;
    KH_TRY(kh_atlas_check_truth(s->truth, run->source, run->session, err));
    KH_TRY(kh_label_set_open(s->truth, NULL, &run->label_set, err));
    o->label_set = run->label_set;
    o->source = run->source;
    return KH_OK;
}

static kh_status say_estimate(const kh_ablate_run *run, const settings *s,
                              const kh_ablate_options *o, kh_error *err) {
    kh_ablate_estimate e;
    KH_TRY(kh_ablate_plan(run->session->ctx, run->session->model, o, kh_source_count(run->source),
                          run->truth, &e, err));
    return kh_ablate_print_estimate(&e, o, s->common.json, err);
}

static kh_status do_work(kh_ablate_run *run, const settings *s, kh_ablate_options *o,
                         kh_error *err) {
    place p;
    if (s->dry_run) return say_estimate(run, s, o, err);
    KH_TRY(check_place(s, &p, err));
    KH_TRY(measure(run, s, o, &p, err));
    if (s->common.json)
        KH_TRY(kh_ablate_print_json(run, s->out, err));
    else
        kh_ablate_print(run, s->out);
    return KH_OK;
}

static int run_ablate(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    kh_ablate_options o;
    if (fill(s, &o, err)) return KH_EXIT_MISUSED;
    kh_session session = {0};
    kh_ablate_run run = {.session = &session};
    (void)snprintf(run.command, sizeof run.command, "keyhole ablate %s %s", operands[0],
                   operands[1]);
    kh_status status = open_all(&run, s, &o, count, operands, err);
    if (!status) status = do_work(&run, s, &o, err);
    if (run.source && status != KH_E_STOPPED) { /* also of a study that failed for that */
        kh_error *to = status ? NULL : err;
        const kh_status said = kh_broken_images_say(&session, run.broken, run.broken_count,
                                                    kh_source_count(run.source), to);
        kh_broken_maps_say(&session, run.broken_maps, run.broken_maps_count, status != KH_OK);
        if (!status) status = said;
    }
    kh_ablate_run_clear(&run);
    kh_source_free(run.source);
    kh_session_close(&session);
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_ablate = {
    .name = "ablate",
    .summary = "what a model's answers lose without some of its key neurons",
    .operands = "MODEL IMAGES...",
    .description =
        "Changes the memory coefficients of a class's key neurons and runs the rest of the model."
        " own: every image loses the first k neurons of its true class, beside matched random"
        " neurons, for k from 1 to all; deletion and insertion curves. sweep: every image loses"
        " every class's neurons, so damage on and off target can be compared. swap: the neurons of"
        " one class against those of another. steer: the neurons times 0 to 8. causal: single"
        " neurons, their alignment, contribution and effect side by side. shared: do all classes"
        " of a shared neuron drop? IMAGES need true classes: folders of classes, names, lists,"
        " archives or --label-file. Ctrl-C leaves a study that the same command finishes; so does"
        " kill -9, up to --checkpoint seconds.",
    .examples = "  keyhole ablate demo demo:images --out ablation\n"
                "  keyhole ablate MODEL val/ --per-class 5 --designs own,causal --out ablation\n"
                "  keyhole ablate MODEL val/ --rank-by contrib --op zero --tokens cls\n"
                "  keyhole ablate MODEL world/images/scenes --truth world --tokens mask\n"
                "  keyhole ablate MODEL val/ --dry-run\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run_ablate,
};
