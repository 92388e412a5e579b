/* keyhole ablate: what a model's answers lose without some of its key neurons. */
#define _POSIX_C_SOURCE 200809L
#include "cli/ablate.h"
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/inputs.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/text.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *out, *label_file, *rank, *ops, *tokens, *block, *k, *sweep_k, *designs;
    double alpha;
    size_t sets, swap_k, steer_k, pairs, keys, random_keys, per_class, seed, resamples, batch;
    bool is_global, overwrite;
} settings;

static void defaults(void *at) {
    settings *s = at;
    const kh_ablate_options o = kh_ablate_options_default();
    s->out = "keyhole-ablate";
    s->rank = "ln";
    s->ops = "mean,zero";
    s->tokens = "all";
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
     "Replace results that are already in DIR."},
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
    {KH_OPT_TEXT, "tokens", 0, offsetof(settings, tokens), "all|cls|image",
     "Tokens at which coefficients change. Default: all."},
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
    return KH_OK;
}

/* ---- images -------------------------------------------------------------------------------- */

static kh_status note_broken(kh_ablate_run *run, size_t index, const char *why, kh_error *err) {
    const char *name = kh_source_get(run->source, index).name;
    char shown[KH_SHOWN_BYTES * 2];
    kh_shown(name, strlen(name), shown, sizeof shown);
    const bool names_it = strstr(why, shown) != NULL;
    fprintf(stderr, "keyhole: %s%s%s\n", names_it ? "" : shown, names_it ? "" : ": ", why);
    kh_ablate_broken *list = kh_realloc(run->broken, run->broken_count + 1, sizeof *list);
    if (list) run->broken = list;
    char *reason = list ? kh_strdup(why) : NULL;
    if (!reason) return kh_fail(err, KH_E_MEMORY, "no memory to remember a broken image");
    list[run->broken_count++] = (kh_ablate_broken){name, reason};
    return KH_OK;
}

static kh_status read_image(void *user, size_t index, float *image, bool *is_broken,
                            kh_error *err) {
    kh_ablate_run *run = user;
    const kh_preprocess *how = &kh_model_get_info(run->session->model)->preprocess;
    kh_image decoded = {0};
    kh_error why = {KH_OK, ""};
    kh_status status = kh_source_read_image(run->source, index, &run->decode, &decoded, &why);
    if (!status)
        status = kh_preprocess_image(how, &decoded, image, 3 * how->height * how->width, &why);
    kh_image_clear(&decoded);
    if (status == KH_E_MEMORY) return kh_fail(err, status, "%s", why.text);
    *is_broken = status != KH_OK;
    return status ? note_broken(run, index, why.text, err) : KH_OK;
}

/* Close relatives: the demo world's dogs, ImageNet's dogs. */
static kh_status find_relatives(kh_ablate_run *run, kh_error *err) {
    const kh_classes *classes = kh_model_classes(run->session->model);
    const size_t count = kh_classes_count(classes), world = kh_diorama_class_count();
    bool found = false;
    run->is_relative = kh_calloc(count, 1);
    if (!run->is_relative) return kh_fail(err, KH_E_MEMORY, "no memory for classes");
    for (size_t c = 0; c < count; c++) {
        const char *wnid = kh_classes_get(classes, c).wnid;
        for (size_t w = 0; w < world && wnid; w++)
            if (strcmp(wnid, kh_diorama_class_wnid(w)) == 0)
                run->is_relative[c] = kh_diorama_class_is_relative(w);
        found = found || run->is_relative[c];
    }
    const char *first = count == 1000 ? kh_classes_get(classes, 151).wnid : NULL;
    if (!found && first && strcmp(first, "n02085620") == 0)
        for (size_t c = 151; c <= 268; c++)
            run->is_relative[c] = 1;
    return KH_OK;
}

static kh_status open_images(kh_ablate_run *run, const settings *s, size_t count, char **operands,
                             kh_error *err) {
    const kh_source_options how = {.classes = kh_model_classes(run->session->model),
                                   .label_file = s->label_file};
    KH_TRY(kh_inputs_open(operands, count, &how, &run->source, err));
    const size_t images = kh_source_count(run->source);
    size_t labelled = 0;
    run->decode = (kh_decode_options){.warn = kh_session_warn, .warn_user = run->session};
    run->truth = kh_calloc(images, sizeof *run->truth);
    if (!run->truth) return kh_fail(err, KH_E_MEMORY, "no memory for %zu images", images);
    for (size_t i = 0; i < images; i++) {
        run->truth[i] = kh_source_get(run->source, i).truth;
        labelled += run->truth[i] != KH_NO_CLASS;
    }
    if (labelled == 0)
        return kh_fail(err, KH_E_ARG,
                       "none of the %zu images has a true class; put them in folders named after "
                       "their classes, or give --label-file",
                       images);
    return KH_OK;
}

/* ---- output -------------------------------------------------------------------------------- */

const kh_ablate_quantity *kh_ablate_quantity_of(const kh_ablation *a, const char *key,
                                                bool is_correct) {
    for (size_t i = 0; i < a->quantity_count; i++)
        if (a->quantities[i].is_correct == is_correct && strcmp(a->quantities[i].key, key) == 0)
            return &a->quantities[i];
    return NULL;
}

void kh_ablate_scope(const kh_ablation *a, char *out, size_t out_bytes) {
    if (a->options.is_global)
        (void)snprintf(out, out_bytes, "all blocks");
    else
        (void)snprintf(out, out_bytes, "block %zu", a->options.block);
}

static void print_text(const kh_ablate_run *run, const char *out) {
    const kh_ablation *a = &run->result;
    const kh_ablate_options *o = &a->options;
    char scope[32];
    kh_ablate_scope(a, scope, sizeof scope);
    printf("%zu images of %zu classes", a->images, a->class_count);
    if (a->unlabelled) printf(" (%zu without a true class left out)", a->unlabelled);
    printf("; %s, %zu neurons, ranked by %s, op %s, tokens %s\n%zu variants\n\n", scope, a->neurons,
           kh_ablate_rank_name(o->rank), kh_ablate_op_name(o->ops[0]),
           kh_ablate_tokens_name(o->tokens), a->variants);
    printf("%-36s %-8s %8s %10s  %s\n", "quantity", "images", "n", "mean", "95 % interval");
    for (size_t i = 0; i < a->quantity_count; i++) {
        const kh_ablate_quantity *q = &a->quantities[i];
        if (isnan(q->value.mean) && isnan(q->value.lo)) continue;
        printf("%-36s %-8s %8zu %10.4g", q->key, q->is_correct ? "correct" : "all", q->value.n,
               q->value.mean);
        if (!isnan(q->value.lo)) printf("  [%.4g, %.4g]", q->value.lo, q->value.hi);
        putchar('\n');
    }
    printf("\ntables and pictures in ");
    kh_print_path(out);
    putchar('\n');
}

static kh_status print_json(const kh_ablate_run *run, const char *out, kh_error *err) {
    const kh_ablation *a = &run->result;
    const kh_ablate_options *o = &a->options;
    json_t *quantities = json_array();
    for (size_t i = 0; i < a->quantity_count; i++) {
        const kh_ablate_quantity *q = &a->quantities[i];
        json_array_append_new(
            quantities, json_pack("{s:s, s:s, s:I, s:o, s:o, s:o}", "quantity", q->key, "subset",
                                  q->is_correct ? "correct" : "all", "n", (json_int_t)q->value.n,
                                  "mean", kh_json_number(q->value.mean), "lo",
                                  kh_json_number(q->value.lo), "hi", kh_json_number(q->value.hi)));
    }
    return kh_print_json(json_pack("{s:o, s:I, s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:I, s:o, s:o}",
                                   "model", kh_model_receipt(run->session->model), "images",
                                   (json_int_t)a->images, "broken", (json_int_t)a->broken,
                                   "without_class", (json_int_t)a->unlabelled, "block",
                                   o->is_global ? (json_int_t)-1 : (json_int_t)o->block, "rank_by",
                                   kh_ablate_rank_name(o->rank), "op", kh_ablate_op_name(o->ops[0]),
                                   "tokens", kh_ablate_tokens_name(o->tokens), "neurons",
                                   (json_int_t)a->neurons, "variants", (json_int_t)a->variants,
                                   "summary", quantities, "out", kh_json_text(out)),
                         err)
               ? KH_OK
               : KH_E_MEMORY;
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

static kh_status measure(kh_ablate_run *run, const settings *s, kh_ablate_options *o,
                         kh_error *err) {
    const struct sigaction action = {.sa_handler = interrupt};
    KH_TRY(find_relatives(run, err));
    o->is_relative = run->is_relative;
    o->progress = progress;
    o->progress_user = run->session;
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    KH_TRY(kh_outdir_check(s->out, "ablate", s->overwrite, err));
    KH_TRY(kh_ablate(run->session->ctx, run->session->model, o, kh_source_count(run->source),
                     run->truth, read_image, run, &run->result, err));
    KH_TRY(kh_outdir_begin(s->out, "ablate", err));
    KH_TRY(kh_ablate_write_figures(run, s->out, err));
    return kh_ablate_write_files(run, s->out, err);
}

static void clear(kh_ablate_run *run) {
    kh_ablation_clear(&run->result);
    for (size_t i = 0; i < run->broken_count; i++)
        kh_free(run->broken[i].reason);
    kh_free(run->broken);
    kh_free(run->truth);
    kh_free(run->is_relative);
    kh_source_free(run->source);
}

static int run_ablate(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    kh_ablate_options o;
    if (fill(s, &o, err)) return KH_EXIT_MISUSED;
    kh_session session = {0};
    kh_ablate_run run = {.session = &session};
    (void)snprintf(run.command, sizeof run.command, "keyhole ablate %s %s", operands[0],
                   operands[1]);
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s->model, err);
    if (!status) status = kh_require_classes(session.model, err);
    if (!status) status = open_images(&run, s, count - 1, operands + 1, err);
    if (!status) status = measure(&run, s, &o, err);
    if (!status && s->common.json)
        status = print_json(&run, s->out, err);
    else if (!status)
        print_text(&run, s->out);
    if (!status && run.broken_count)
        status = kh_images_failed(run.broken_count, kh_source_count(run.source), err);
    clear(&run);
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
        " archives or --label-file.",
    .examples = "  keyhole ablate demo demo:images --out ablation\n"
                "  keyhole ablate MODEL val/ --per-class 5 --designs own,causal --out ablation\n"
                "  keyhole ablate MODEL val/ --rank-by contrib --op zero --tokens cls\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run_ablate,
};
