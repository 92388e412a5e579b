/* keyhole atlas and keyhole merge: one pass over an image set into a run directory. */
#define _POSIX_C_SOURCE 200809L
#include "cli/atlas.h"
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/inputs.h"
#include "cli/lists.h"
#include "cli/run_figures.h"
#include "cli/session.h"
#include "cli/team.h"

#include "base/alloc.h"
#include "base/text.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *out, *lenses, *shard, *label_file, *from, *truth, *compare, *class_by,
        *class_reduction;
    size_t batch, exemplars, sample, seed, checkpoint;
    double quantile;
    bool no_figures, keep_state, dry_run, exif_rotate, gray16_scale, resume, overwrite;
} settings;

static void defaults(void *at) {
    settings *s = at;
    const kh_atlas_options o = kh_atlas_options_default();
    s->batch = o.batch;
    s->exemplars = o.exemplars;
    s->sample = o.sample;
    s->quantile = o.quantile;
    s->class_by = kh_class_by_name(o.class_by);
    s->class_reduction = kh_class_reduction_name(o.class_reduction);
    s->checkpoint = (size_t)o.checkpoint_seconds;
}

#define IMAGE_OPTIONS                                                                              \
    {KH_OPT_TEXT, "out",                                                                           \
     'o',         offsetof(settings, out),                                                         \
     "DIR",       "The run directory. The same command again finishes what is missing there."},    \
        {KH_OPT_TEXT,                                                                              \
         "label-file",                                                                             \
         0,                                                                                        \
         offsetof(settings, label_file),                                                           \
         "FILE",                                                                                   \
         "True classes: lines 'name label', or one label a line in the order of the images."},     \
        {KH_OPT_TEXT,                                                                              \
         "truth",                                                                                  \
         0,                                                                                        \
         offsetof(settings, truth),                                                                \
         "DIR",                                                                                    \
         KH_LABEL_MAPS                                                                             \
         " Once the run is complete, a second pass dissects every neuron into OUT/dissect; with"   \
         " WordNet's data.noun in DIR also against what labels are kinds of."},                    \
        {KH_OPT_TEXT, "lenses",                                                                    \
         0,           offsetof(settings, lenses),                                                  \
         "NAMES",     "Lenses with commas between, or all. Default: the cheap ones."},             \
        {KH_OPT_TEXT,                                                                              \
         "compare",                                                                                \
         0,                                                                                        \
         offsetof(settings, compare),                                                              \
         "LIST",                                                                                   \
         "Classes whose distances are told (figures 5 and 6): 2 to 40 indices, names or WordNet"   \
         " ids with commas between. Default: of ImageNet's 1000 the report's 0, 554, 207, 162 and" \
         " 250 if two of those have labelled images; else all of a model with at most 40; else"    \
         " the first 40 that have labelled images."},                                              \
        {KH_OPT_TEXT,                                                                              \
         "class-by",                                                                               \
         0,                                                                                        \
         offsetof(settings, class_by),                                                             \
         "truth|predicted|correct",                                                                \
         "Images that count for a class in its means (figure 4): those of it, those that the"      \
         " model calls so, or those of it that are called so. Default: truth."},                   \
        {KH_OPT_TEXT,                                                                              \
         "class-reduction",                                                                        \
         0,                                                                                        \
         offsetof(settings, class_reduction),                                                      \
         "mean|cls|max|all",                                                                       \
         "What class means take of an image: the mean over patches, the class token, the largest"  \
         " of the patches, or the mean over all tokens. Default: mean."},                          \
        {KH_OPT_SIZE, "exemplars",                                                                 \
         0,           offsetof(settings, exemplars),                                               \
         "K",         "Images listed for each neuron. Default: 15."},                              \
        {KH_OPT_SIZE, "sample",                                                                    \
         0,           offsetof(settings, sample),                                                  \
         "N",         "Images in the random baseline. Default: 128."},                             \
        {KH_OPT_NUMBER,                                                                            \
         "quantile",                                                                               \
         0,                                                                                        \
         offsetof(settings, quantile),                                                             \
         "Q",                                                                                      \
         "Share of patches below a neuron's threshold. Default: 0.995."},                          \
        {KH_OPT_SIZE, "seed", 0, offsetof(settings, seed), "N", "Of the random sample."}, {        \
        KH_OPT_FLAG, "keep-state", 0, offsetof(settings, keep_state), NULL,                        \
            "Keep shards/ when the tables are written."                                            \
    }

#define DECODE_OPTIONS                                                                             \
    {KH_OPT_FLAG, "exif-rotate",                                                                   \
     0,           offsetof(settings, exif_rotate),                                                 \
     NULL,        "Turn photographs as their EXIF tag says (Pillow and timm do not)."},            \
    {                                                                                              \
        KH_OPT_FLAG, "gray16-scale", 0, offsetof(settings, gray16_scale), NULL,                    \
            "Scale 16-bit grey images instead of saturating them as Pillow does."                  \
    }

static const kh_option atlas_options[] = {
    IMAGE_OPTIONS,
    {KH_OPT_TEXT, "shard", 0, offsetof(settings, shard), "I/N",
     "Do the I-th of N equal parts (0/4 .. 3/4); keyhole merge joins them."},
    {KH_OPT_SIZE, "batch", 'b', offsetof(settings, batch), "N",
     "Images per pass. Results do not depend on it. Default: 8."},
    {KH_OPT_SIZE, "checkpoint", 0, offsetof(settings, checkpoint), "SECONDS",
     "State goes to the disk this often. Default: 600."},
    {KH_OPT_FLAG, "resume", 0, offsetof(settings, resume), NULL,
     "Insist that DIR holds a run to go on with, say what is left of it, and read images again that"
     " could not be read. (Without it a run that is there is finished as well, without those.)"},
    {KH_OPT_FLAG, "overwrite", 0, offsetof(settings, overwrite), NULL,
     "Begin again: remove what an earlier run left in DIR. With --shard only this part's work: DIR"
     " with what other parts have done is refused."},
    {KH_OPT_FLAG, "no-figures", 0, offsetof(settings, no_figures), NULL,
     "Draw no figures at the end; keyhole figures RUN does so later."},
    {KH_OPT_FLAG, "dry-run", 0, offsetof(settings, dry_run), NULL,
     "Say what it would take, and end."},
    DECODE_OPTIONS,
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

static const kh_option merge_options[] = {
    IMAGE_OPTIONS,
    {KH_OPT_TEXT, "from", 0, offsetof(settings, from), "DIRS",
     "Other run directories whose shards belong to this run, with commas between."},
    {KH_OPT_FLAG, "no-figures", 0, offsetof(settings, no_figures), NULL,
     "Draw no figures at the end; keyhole figures RUN does so later."},
    DECODE_OPTIONS,
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

/* ---- stopping ------------------------------------------------------------------------------ */

static volatile sig_atomic_t is_interrupted;

static void interrupt(int number) {
    is_interrupted = 1;
    (void)signal(number, SIG_DFL); /* a second time ends at once */
}

static bool progress(void *user, const char *what, uint64_t done, uint64_t total) {
    return kh_session_progress(user, what, done, total) && !is_interrupted;
}

/* ---- options ------------------------------------------------------------------------------- */

static kh_status parse_shard(const char *text, kh_atlas_options *o, kh_error *err) {
    char first[24];
    const char *slash = strchr(text, '/');
    const size_t length = slash ? (size_t)(slash - text) : sizeof first;
    if (length < sizeof first) {
        memcpy(first, text, length);
        first[length] = '\0';
        if (kh_parse_size(first, &o->shard) && kh_parse_size(slash + 1, &o->shards) &&
            o->shard < o->shards)
            return KH_OK;
    }
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG, "--shard '%s': expected I/N with I from 0 to N-1, like 0/4",
                   kh_shown(text, strlen(text), shown, sizeof shown));
}

enum { MAX_FROM = 256 };

typedef struct request {
    kh_atlas_options options;
    kh_decode_options decode;
    const char *from[MAX_FROM];
    char from_text[8192];
    kh_text command;
} request;

static kh_status split_from(const char *text, request *q, kh_error *err) {
    if (strlen(text) >= sizeof q->from_text) return kh_fail(err, KH_E_ARG, "--from is too long");
    memcpy(q->from_text, text, strlen(text) + 1);
    char *rest = NULL;
    for (char *one = strtok_r(q->from_text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (q->options.other_run_count == MAX_FROM)
            return kh_fail(err, KH_E_ARG, "--from takes at most %d directories", MAX_FROM);
        q->from[q->options.other_run_count++] = one;
    }
    q->options.other_runs = q->from;
    return KH_OK;
}

static kh_status fill_request(const settings *s, bool only_merge, size_t count, char **operands,
                              kh_session *session, request *q, kh_error *err) {
    if (!s->out) return kh_fail(err, KH_E_ARG, "--out DIR says where the run lives");
    if (s->resume && s->overwrite)
        return kh_fail(err, KH_E_ARG, "--resume and --overwrite exclude each other");
    q->decode = (kh_decode_options){.exif_rotate = s->exif_rotate,
                                    .gray16_scale = s->gray16_scale,
                                    .warn = kh_session_warn,
                                    .warn_user = session};
    q->options = (kh_atlas_options){.out = s->out,
                                    .lenses = s->lenses,
                                    .batch = only_merge ? 1 : s->batch,
                                    .shards = 1,
                                    .exemplars = s->exemplars,
                                    .sample = s->sample,
                                    .quantile = s->quantile,
                                    .seed = s->seed,
                                    .checkpoint_seconds = (double)s->checkpoint,
                                    .keep_state = s->keep_state,
                                    .overwrite = s->overwrite,
                                    .reads_broken_again = s->resume,
                                    .only_merge = only_merge,
                                    .maps_follow = s->truth != NULL,
                                    .decode = &q->decode,
                                    .progress = progress,
                                    .progress_user = session,
                                    .warn = kh_session_warn,
                                    .warn_user = session};
    kh_text_add(&q->command, only_merge ? "keyhole merge" : "keyhole atlas");
    for (size_t i = 0; i < count; i++)
        kh_text_addf(&q->command, " %s", operands[i]);
    q->options.command = q->command.data;
    KH_TRY(kh_class_by_parse(s->class_by, &q->options.class_by, err));
    KH_TRY(kh_class_reduction_parse(s->class_reduction, &q->options.class_reduction, err));
    KH_TRY(kh_atlas_check_numbers(&q->options, err));
    KH_TRY(kh_atlas_check_lenses(s->lenses, err));
    if (s->shard) KH_TRY(parse_shard(s->shard, &q->options, err));
    return s->from ? split_from(s->from, q, err) : KH_OK;
}

/* ---- running ------------------------------------------------------------------------------- */

static kh_status open_source(const settings *s, size_t count, char **operands, kh_session *session,
                             kh_source **out, kh_error *err) {
    const kh_source_options options = {.classes = kh_model_classes(session->model),
                                       .label_file = s->label_file,
                                       .warn = kh_session_warn,
                                       .warn_user = session};
    return kh_inputs_open(operands, count, &options, out, err);
}

/* What this process works with. */
typedef struct work {
    const settings *s;
    const kh_team *team;
    kh_session session;
    kh_source *source;
    request q;
    size_t *compare;
    bool is_misused;
    bool has_news; /* tables that no figure shows yet */
} work;

/* Rank 0 says it; all hear whether that went well. Of two passes --json tells of the second, if it
 * comes to that. */
static kh_status report(work *w, const kh_atlas_summary *summary, const kh_atlas_options *o,
                        bool is_last, bool lacks_second, kh_error *err) {
    const bool json = w->s->common.json;
    kh_status status = KH_OK;
    if (w->team->rank == 0 && (is_last || !json || !summary->is_complete))
        status = kh_atlas_say_summary(summary, w->source, o, w->s->out, is_last, lacks_second, json,
                                      err);
    const bool is_empty = !summary->is_complete && o->shards == 1;
    if (!status && w->team->rank == 0 && summary->broken > 0 && (is_empty || o->out == w->s->out))
        status = kh_atlas_say_broken(&w->session, w->source, o, err);
    return kh_team_agree(w->team, status, err);
}

/* The second pass: its own run directory within the first, which must be complete. */
static kh_status dissect(work *w, kh_error *err) {
    kh_atlas_second second = {0};
    kh_atlas_summary summary = {0};
    kh_status status =
        kh_atlas_second_open(&second, &w->q.options, w->s->truth, w->session.model, err);
    status = kh_team_agree(w->team, status, err);
    if (!status)
        status =
            kh_atlas(w->session.ctx, w->session.model, w->source, &second.options, &summary, err);
    w->has_news |= summary.has_written;
    if (!status) status = report(w, &summary, &second.options, true, false, err);
    kh_atlas_second_close(&second);
    return status;
}

/* merge has joined the first pass, whose thresholds the shards of the second need. */
static kh_status miss_second(const work *w, const kh_atlas_summary *first, kh_error *err) {
    const settings *s = w->s;
    KH_TRY(kh_atlas_second_mark(s->out, err));
    if (!first->has_written)
        return kh_fail(err, KH_E_NOT_FOUND,
                       "the second pass, for --truth, is missing: no shard of it is there; run "
                       "keyhole atlas with the same options, --truth and --shard I/N, for every I, "
                       "then merge");
    const char *operands = w->q.command.data + strlen("keyhole merge");
    if (!s->common.json) kh_atlas_second_say_missing(operands, s->out, s->truth);
    return KH_OK;
}

/* --resume: there must be something. */
static kh_status say_what_is_left(const settings *s, kh_error *err) {
    kh_atlas_status there;
    const kh_status status = kh_atlas_look(s->out, &there, err);
    if (status == KH_E_NOT_FOUND) return kh_error_context(err, status, "--resume");
    KH_TRY(status);
    if (s->common.json || there.is_complete) return KH_OK;
    const size_t left = there.images - there.covered;
    printf("resuming: %zu of %zu image%s done, %zu left", there.covered, there.images,
           KH_S(there.images), left);
    if (there.broken)
        printf("; %zu could not be read, those of this part are read again", there.broken);
    putchar('\n');
    return KH_OK;
}

/* --compare, with the names of the model. Naming a class twice is naming it. */
static kh_status find_compared(work *w, kh_error *err) {
    kh_atlas_options *o = &w->q.options;
    size_t count = 0, kept = 0;
    if (!w->s->compare) return KH_OK;
    KH_TRY(kh_require_classes(w->session.model, err));
    kh_status status =
        kh_class_list(kh_model_classes(w->session.model), w->s->compare, &w->compare, &count, err);
    for (size_t i = 0, j; i < count && !status; i++) {
        for (j = 0; j < kept && w->compare[j] != w->compare[i];)
            j++;
        if (j == kept) w->compare[kept++] = w->compare[i];
    }
    if (!status && (kept < 2 || kept > KH_ATLAS_COMPARED))
        status = kh_fail(err, KH_E_ARG,
                         "%zu class%s: 2 to %d, as every one is compared with every other in each "
                         "block, and matrices of more cannot be read",
                         kept, kept == 1 ? "" : "es", KH_ATLAS_COMPARED);
    o->compare = w->compare;
    o->compare_count = kept;
    w->is_misused = status == KH_E_NOT_FOUND || status == KH_E_ARG;
    return status ? kh_error_context(err, status, "--compare") : KH_OK;
}

static kh_status open_all(work *w, size_t count, char **operands, kh_error *err) {
    kh_common common = w->s->common;
    common.quiet |= w->team->rank > 0; /* one progress line, one of every warning */
    KH_TRY(kh_atlas_check_from(&w->q.options, err));
    KH_TRY(kh_session_open(&w->session, &common, err));
    KH_TRY(kh_session_model(&w->session, operands[0], &w->s->model, err));
    KH_TRY(find_compared(w, err));
    KH_TRY(open_source(w->s, count - 1, operands + 1, &w->session, &w->source, err));
    if (w->s->truth) KH_TRY(kh_atlas_check_truth(w->s->truth, w->source, &w->session, err));
    if (w->s->truth && !w->s->dry_run && w->team->rank == 0)
        KH_TRY(kh_atlas_second_check(w->s->out, w->s->overwrite, err));
    if (w->s->resume && w->team->rank == 0) KH_TRY(say_what_is_left(w->s, err));
    return KH_OK;
}

/* Figures show results and are none: a run without them is complete. */
static void draw(work *w) {
    kh_error why = {0};
    if (!w->has_news && kh_run_is_drawn(w->s->out)) return;
    if (kh_run_draw(w->s->out, NULL, kh_session_progress, &w->session, NULL, &why)) {
        char text[1200];
        (void)snprintf(text, sizeof text, "the figures are not all drawn: %s", why.text);
        kh_session_warn(&w->session, text);
    }
}

static kh_status do_work(work *w, kh_error *err) {
    const settings *s = w->s;
    const kh_atlas_options *o = &w->q.options;
    kh_atlas_summary summary = {0};
    if (s->dry_run && w->team->rank > 0) return KH_OK;
    const kh_status status =
        s->dry_run ? kh_atlas_say_estimate(&w->session, w->source, o, s->truth, !s->no_figures,
                                           s->common.json, err)
                   : kh_atlas(w->session.ctx, w->session.model, w->source, o, &summary, err);
    if (status || s->dry_run) return status;
    if (s->overwrite && w->team->rank == 0) kh_run_discard_figures(s->out);
    const bool lacks_second = s->truth && o->only_merge && !kh_atlas_second_is_there(o);
    KH_TRY(report(w, &summary, o, !s->truth || lacks_second, lacks_second, err));
    w->has_news = summary.has_written;
    if (s->truth && summary.is_complete && !lacks_second) KH_TRY(dissect(w, err));
    if (summary.is_complete && w->team->rank == 0 && !s->no_figures) draw(w);
    return lacks_second ? miss_second(w, &summary, err) : KH_OK;
}

static int run_either(const settings *s, bool only_merge, size_t count, char **operands,
                      kh_error *err) {
    kh_launch launch = {.team = {.size = 1}};
    work w = {.s = s, .team = &launch.team, .session = {.common = s->common}};
    /* a shard is on its own, whoever started it */
    kh_status status =
        s->shard ? KH_OK : kh_launch_begin(&launch, kh_session_warn, &w.session, err);
    if (only_merge && launch.team.rank > 0) { /* one process is enough */
        kh_launch_end(&launch);
        return KH_EXIT_DONE;
    }
    if (only_merge) launch.team.size = 1;
    if (!status) {
        status = fill_request(s, only_merge, count, operands, &w.session, &w.q, err);
        w.is_misused = status != KH_OK;
        w.q.options.team = &launch.team;
        if (!status) status = open_all(&w, count, operands, err);
        status = kh_team_agree(w.team, status, err);
    }
    const struct sigaction action = {.sa_handler = interrupt};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    if (!status) status = do_work(&w, err);
    kh_text_clear(&w.q.command);
    kh_free(w.compare);
    kh_source_free(w.source);
    kh_session_close(&w.session);
    kh_launch_end(&launch);
    if (!status || !err->text[0]) return KH_EXIT_DONE; /* another rank says it, and exits with it */
    return w.is_misused ? KH_EXIT_MISUSED : KH_EXIT_FAILED;
}

static int run_atlas(const void *from, size_t count, char **operands, kh_error *err) {
    return run_either(from, false, count, operands, err);
}

static int run_merge(const void *from, size_t count, char **operands, kh_error *err) {
    return run_either(from, true, count, operands, err);
}

const kh_command kh_cmd_atlas = {
    .name = "atlas",
    .summary = "one pass over an image set: every key neuron, every lens, into a run directory",
    .operands = "MODEL IMAGES...",
    .description =
        "IMAGES are folders (by class, or flat), archives (tar, zip; webdataset names too), @FILE"
        " or - for a list of paths, or single images. True classes come from folder and file"
        " names, lists, archives or --label-file. Ctrl-C leaves a run that the same command"
        " finishes; so does kill -9. The results do not depend on threads, batch, shards or"
        " interruptions, bit for bit: keyhole status RUN --digest shows it.",
    .examples = "  keyhole atlas MODEL val/ --out run\n"
                "  keyhole atlas MODEL val/ --out run --shard 0/4   # on each of four machines\n"
                "  keyhole merge MODEL val/ --out run               # then once\n"
                "  mpirun --bind-to none -n 4 keyhole atlas MODEL val/ --out run\n",
    .options = atlas_options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run_atlas,
};

const kh_command kh_cmd_merge = {
    .name = "merge",
    .summary = "join the shards of an atlas into its tables",
    .operands = "MODEL IMAGES...",
    .description =
        "MODEL, IMAGES and options as they were given to keyhole atlas --shard. No image is"
        " decoded: names and true classes are listed, alignments computed. Shards that overlap,"
        " are damaged or belong to another run, and images that none covers, are errors. With "
        "--truth"
        " there are two rounds: all shards and merge, then all shards and merge again.",
    .examples = "  keyhole merge MODEL val/ --out run\n"
                "  keyhole merge MODEL val/ --out run --from node1/run,node2/run\n",
    .options = merge_options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run_merge,
};
