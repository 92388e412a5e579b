/* A run: what is there, what is missing, the pass over that, and the tables at the end. */
#define _POSIX_C_SOURCE 200809L
#include "keyhole/atlas.h"

#include "atlas/job.h"
#include "atlas/shards.h"
#include "atlas/team.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/text.h"
#include "lens/origin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

kh_atlas_options kh_atlas_options_default(void) {
    return (kh_atlas_options){.batch = 8,
                              .shards = 1,
                              .exemplars = 15,
                              .sample = 128,
                              .quantile = 0.995,
                              .checkpoint_seconds = 600};
}

typedef struct run {
    kh_atlas_job job;
    const kh_atlas_options *asked;
    kh_atlas_options options; /* the same, but progress goes through the watch */
    char own[KH_ATLAS_PATH];  /* this process's state file */
    int claim;                /* on it, or -1 */
    kh_shards shards;         /* all that were found when it began */
    kh_ranges covered;        /* by them and by our own */
    kh_ranges todo;           /* this process's share of the rest */
    kh_watch watch;
    kh_atlas_summary summary;
    bool is_void; /* what was seen is of no use */
} run;

static bool is_team(const run *r) {
    return kh_team_is_many(r->asked->team);
}

static bool is_lead(const run *r) {
    return !is_team(r) || r->asked->team->rank == 0;
}

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- states -------------------------------------------------------------------------------- */

static kh_status save(void *user, kh_error *err) {
    run *r = user;
    kh_piece pieces[KH_ATLAS_MAX_LENSES * KH_LENS_MAX_PIECES];
    const size_t count = kh_atlas_pieces(&r->job, pieces);
    return kh_state_write(r->own, &r->job.head, pieces, count, err);
}

static kh_status absorb(run *r, const char *path, kh_error *err) {
    kh_piece pieces[KH_ATLAS_MAX_LENSES * KH_LENS_MAX_PIECES];
    const size_t count = kh_atlas_pieces(&r->job, pieces);
    return kh_state_absorb(path, pieces, count, err);
}

/* The state file of one process of so many. */
static kh_status state_path(const run *r, size_t process, size_t processes, char out[KH_ATLAS_PATH],
                            kh_error *err) {
    return kh_atlas_path(out, err, r->options.out, "shards/shard-%04zu-of-%04zu.state", process,
                         processes);
}

/* The state files that a process of this run holds in memory. */
static bool is_held(const run *r, const char *path) {
    char held[KH_ATLAS_PATH];
    const size_t size = is_team(r) ? r->options.team->size : 1;
    if (size == 1) return strcmp(path, r->own) == 0;
    for (size_t rank = 0; rank < size; rank++)
        if (!state_path(r, rank, size, held, NULL) && strcmp(path, held) == 0) return true;
    return false;
}

/* Of a state that is held, and so will be written anew: images that could not be read are still to
 * be done when that was asked for, or when there are no others in it. */
static kh_status let_go(const run *r, kh_state_head *head, kh_error *err) {
    const bool is_empty = kh_ranges_total(&head->covered) == head->broken_count;
    if (r->options.only_merge || !(r->options.reads_broken_again || is_empty)) return KH_OK;
    return kh_state_forget_broken(head, err);
}

/* The tables would be made without them, and the states go. */
static kh_status refuse_to_miss(const run *r, const kh_shard *shard, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    const size_t broken = shard->head.broken_count;
    if (!r->options.reads_broken_again || r->options.shards > 1 || broken == 0) return KH_OK;
    return kh_fail(err, KH_E_ARG,
                   "'%s' says of %zu image%s that %s could not be read: the part that wrote it "
                   "reads %s again with --resume (--shard I/N as in its name), then this command; "
                   "without --resume it goes on without %s",
                   kh_shown(shard->path, strlen(shard->path), shown, sizeof shown), broken,
                   KH_S(broken), broken == 1 ? "it" : "they", broken == 1 ? "it" : "them",
                   broken == 1 ? "it" : "them");
}

/* Reads all heads and refuses those of another run. */
static kh_status find_states(run *r, kh_error *err) {
    const kh_atlas_options *o = &r->options;
    KH_TRY(kh_shards_list(o->out, &r->shards, err));
    for (size_t i = 0; i < o->other_run_count; i++)
        KH_TRY(kh_shards_list(o->other_runs[i], &r->shards, err));
    for (size_t i = 0; i < r->shards.count; i++) {
        kh_shard *shard = &r->shards.items[i];
        KH_TRY(kh_origin_same(r->job.head.fingerprint, shard->head.fingerprint, shard->path, err));
        KH_TRY(is_held(r, shard->path) ? let_go(r, &shard->head, err)
                                       : refuse_to_miss(r, shard, err));
        for (size_t k = 0; k < shard->head.covered.count; k++)
            if (kh_ranges_add(&r->covered, shard->head.covered.items[k].first,
                              shard->head.covered.items[k].end, err))
                return kh_error_context(err, KH_E_ARG, "shard '%s'", shard->path);
    }
    return KH_OK;
}

/* Takes up our own state if there is one. */
static kh_status take_own(run *r, kh_error *err) {
    kh_state_head head = {0};
    if (!kh_file_exists(r->own)) return KH_OK;
    kh_status status = kh_state_read_head(r->own, &head, err);
    if (!status) status = kh_origin_same(r->job.head.fingerprint, head.fingerprint, r->own, err);
    if (!status) status = absorb(r, r->own, err);
    const size_t broken = head.broken_count;
    if (!status) status = let_go(r, &head, err);
    const bool is_less = head.broken_count < broken;
    if (!status) status = kh_state_join(&r->job.head, &head, err);
    kh_state_head_clear(&head);
    /* another process may do them, and after a kill they must not be in two states */
    const bool is_one = !is_team(r) && r->options.shards == 1;
    return !status && is_less && !is_one ? save(r, err) : status;
}

/* ---- work ---------------------------------------------------------------------------------- */

/* Images that no state covers: those of our shard, or our equal part when a team shares them. */
static kh_status plan_work(run *r, kh_error *err) {
    const kh_atlas_options *o = &r->options;
    const size_t images = r->summary.images;
    uint64_t first = images * o->shard / o->shards, end = images * (o->shard + 1) / o->shards;
    uint64_t skip = 0, left = UINT64_MAX;
    if (is_team(r)) {
        const uint64_t missing = images - kh_ranges_total(&r->covered);
        const kh_team *team = o->team;
        skip = missing * team->rank / team->size;
        left = missing * (team->rank + 1) / team->size - skip;
    }
    for (kh_range_ids gap; left > 0 && kh_ranges_gap(&r->covered, first, end, &gap);) {
        const uint64_t length = gap.end - gap.first, passed = skip < length ? skip : length;
        const uint64_t count = length - passed < left ? length - passed : left;
        KH_TRY(kh_ranges_add(&r->todo, gap.first + passed, gap.first + passed + count, err));
        skip -= passed;
        left -= count;
        first = gap.end;
    }
    return KH_OK;
}

static kh_status do_missing(run *r, kh_error *err) {
    const double start = seconds_now();
    kh_status status = KH_OK;
    for (size_t i = 0; i < r->todo.count && !status; i++) {
        const kh_range_ids part = r->todo.items[i];
        const uint64_t before = r->summary.done_before + r->summary.done_now;
        status =
            kh_atlas_drive(&r->job, part.first, part.end, save, r, before, r->summary.images, err);
        if (!status) r->summary.done_now += (size_t)(part.end - part.first);
    }
    r->summary.seconds =
        seconds_now() - start; /* of the pass; saving once more is not part of it */
    r->summary.load_seconds = r->job.load_seconds;
    r->summary.pass_seconds = r->job.pass_seconds;
    r->summary.lens_seconds = r->job.lens_seconds;
    return status;
}

static bool has_no_others(const run *r) {
    for (size_t i = 0; i < r->shards.count; i++)
        if (!is_held(r, r->shards.items[i].path)) return false;
    return true;
}

/* Shards of other processes may have ended meanwhile: merge exactly what covers everything. */
static kh_status merge_others(run *r, kh_error *err) {
    for (size_t i = 0; i < r->shards.count; i++) {
        kh_shard *shard = &r->shards.items[i];
        if (is_held(r, shard->path)) continue;
        KH_TRY(absorb(r, shard->path, err));
        KH_TRY(kh_state_join(&r->job.head, &shard->head, err));
    }
    return KH_OK;
}

static void remove_states(run *r) {
    char path[KH_ATLAS_PATH];
    kh_shard_release(r->own, &r->claim); /* or its folder would not be empty */
    (void)unlink(r->own);
    for (size_t i = 0; i < r->shards.count; i++)
        (void)unlink(r->shards.items[i].path);
    for (size_t rank = 0; is_team(r) && rank < r->options.team->size; rank++)
        if (!state_path(r, rank, r->options.team->size, path, NULL)) (void)unlink(path);
    (void)kh_atlas_sweep(r->options.out, NULL);
    if (!kh_atlas_path(path, NULL, r->options.out, "shards")) (void)rmdir(path);
}

static void count_broken(run *r) {
    r->summary.broken = r->job.head.broken_count;
    r->summary.broken_maps = r->job.head.broken_maps_count;
}

/* By rank 0, whose state is that of the whole team by now. */
static kh_status finish(run *r, kh_error *err) {
    kh_range_ids gap;
    KH_TRY(merge_others(r, err));
    if (kh_ranges_gap(&r->job.head.covered, 0, r->summary.images, &gap))
        return kh_fail(err, KH_E_ARG,
                       "images %llu to %llu are in no state; did a process lose sight of the run "
                       "directory? The same command does them",
                       (unsigned long long)gap.first, (unsigned long long)(gap.end - 1));
    kh_state_sort_broken(&r->job.head);
    count_broken(r);
    if (r->summary.broken == r->summary.images) return KH_OK; /* there is nothing to write */
    const kh_status maps = kh_atlas_check_maps(&r->job, err);
    r->is_void = maps != KH_OK;
    if (r->is_void) remove_states(r); /* or nobody would look at the maps again */
    KH_TRY(maps);
    KH_TRY(kh_atlas_write_results(&r->job, &r->summary, err));
    r->summary.is_complete = r->summary.has_written = true;
    if (!r->options.keep_state) remove_states(r);
    return KH_OK;
}

/* ---- a team -------------------------------------------------------------------------------- */

static bool show_progress(void *user, uint64_t all) {
    const run *r = user;
    const kh_atlas_options *o = r->asked;
    return !o->progress ||
           o->progress(o->progress_user, "images", r->summary.done_before + all, r->summary.images);
}

/* What the pass reports goes to all, and what all have done to the user. */
static bool team_progress(void *user, const char *what, uint64_t done, uint64_t total) {
    run *r = user;
    uint64_t all;
    (void)what;
    (void)total;
    const bool goes_on = kh_watch_tell(&r->watch, done - r->summary.done_before, &all);
    if (goes_on && !show_progress(r, all)) kh_watch_stop(&r->watch);
    return !r->watch.is_stopped;
}

static kh_status work_together(run *r, kh_error *err) {
    const kh_team *team = r->options.team;
    uint64_t all = 0;
    kh_status status = do_missing(r, err);
    if (!status && r->todo.count > 0) status = save(r, err);
    const kh_status ended =
        kh_watch_end(&r->watch, status != KH_OK, show_progress, r, &all, status ? NULL : err);
    if (!status) status = ended;
    if (status == KH_E_STOPPED || (!status && r->watch.is_stopped))
        status = kh_fail(err, KH_E_STOPPED,
                         "stopped with %llu of %zu images done; the same command goes"
                         " on",
                         (unsigned long long)(r->summary.done_before + all), r->summary.images);
    KH_TRY(kh_team_agree(team, status, err));
    r->summary.done_now = (size_t)all;
    KH_TRY(kh_team_agree(team, kh_team_merge(team, &r->job, err), err));
    if (!is_lead(r)) kh_shard_release(r->own, &r->claim);
    KH_TRY(kh_team_agree(team, KH_OK, err));
    KH_TRY(kh_team_agree(team, is_lead(r) ? finish(r, err) : KH_OK, err));
    return kh_team_share(team, &r->summary.is_complete, sizeof r->summary.is_complete, err);
}

/* ---- a whole call -------------------------------------------------------------------------- */

/* A run that is under way has no mark: its fingerprint and the states of its processes tell, also
 * when states were brought here from other machines. */
static bool holds_run(const char *directory) {
    json_t *theirs = NULL;
    kh_shards shards = {0};
    const bool has_facts = kh_atlas_read_fingerprint(directory, &theirs, NULL) == KH_OK &&
                           json_is_object(json_object_get(theirs, "image_set"));
    json_decref(theirs);
    const bool has_states =
        !has_facts && kh_shards_list(directory, &shards, NULL) == KH_OK && shards.count > 0;
    kh_shards_clear(&shards);
    return has_facts || has_states;
}

/* Asked twice, as another process may begin the same run just now: mark, fingerprint, mark gone. */
static kh_status check_directory(const run *r, kh_error *err) {
    const char *out = r->options.out;
    if (!out || !out[0]) return KH_OK; /* refused with the other options */
    if (kh_folder_check(out, "atlas", true, false, NULL) == KH_OK) return KH_OK;
    return kh_folder_check(out, "atlas", true, holds_run(out), err);
}

static kh_status discard(const run *r, kh_error *err) {
    if (!kh_is_directory(r->options.out)) return KH_OK;
    KH_TRY(kh_folder_mark(r->options.out, "atlas", err)); /* the fingerprint goes as well */
    KH_TRY(kh_atlas_discard(r->options.out, err));
    if (!r->options.maps_follow || r->options.label_set) return KH_OK;
    char second[KH_ATLAS_PATH]; /* with files of the user's: the second pass may go there */
    KH_TRY(kh_atlas_path(second, err, r->options.out, "dissect"));
    return kh_is_directory(second) ? kh_folder_mark(second, "atlas", err) : KH_OK;
}

/* A directory that is complete belongs to the run we were asked for, or it is refused. */
static kh_status check_complete(run *r, bool *is_complete, kh_error *err) {
    char path[KH_ATLAS_PATH];
    json_t *theirs = NULL;
    *is_complete = false;
    if (r->options.overwrite) KH_TRY(discard(r, err));
    KH_TRY(kh_atlas_path(path, err, r->options.out, "manifest.json"));
    if (!kh_file_exists(path)) return KH_OK;
    KH_TRY(kh_atlas_read_fingerprint(r->options.out, &theirs, err));
    const kh_status status = kh_origin_same(r->job.head.fingerprint, theirs, r->options.out, err);
    *is_complete = !status;
    json_decref(theirs);
    return status ? status : kh_atlas_sweep(r->options.out, err);
}

static kh_status write_fingerprint(run *r, kh_error *err) {
    char path[KH_ATLAS_PATH];
    KH_TRY(kh_atlas_path(path, err, r->options.out, "fingerprint.json"));
    char *text = json_dumps(r->job.head.fingerprint, JSON_INDENT(2));
    if (!text) return kh_fail(err, KH_E_MEMORY, "no memory to describe the run");
    const kh_status status = kh_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}

static bool has_state_of(const run *r, const char *directory) {
    char folder[KH_ATLAS_PATH];
    if (kh_atlas_path(folder, NULL, directory, "shards/")) return false;
    for (size_t i = 0; i < r->shards.count; i++)
        if (kh_starts_with(r->shards.items[i].path, folder)) return true;
    return false;
}

/* A complete run among --from cannot give what is missing: its states went with its tables. */
static kh_status refuse_gap(const run *r, kh_range_ids gap, kh_error *err) {
    const kh_atlas_options *o = &r->options;
    char path[KH_ATLAS_PATH], shown[KH_SHOWN_BYTES], text[KH_SHOWN_BYTES + 160] = "";
    for (size_t i = 0; i < o->other_run_count && !text[0]; i++) {
        const char *other = o->other_runs[i];
        if (kh_atlas_path(path, NULL, other, "manifest.json") || !kh_file_exists(path)) continue;
        if (has_state_of(r, other)) continue;
        (void)snprintf(text, sizeof text,
                       "'%s' of --from is a complete run and has no states: what it has seen is in "
                       "its tables, which merge cannot join (atlas --keep-state keeps states); ",
                       kh_shown(other, strlen(other), shown, sizeof shown));
    }
    return kh_fail(err, KH_E_ARG,
                   "no shard covers images %llu to %llu of %zu; %srun keyhole atlas without "
                   "--shard to do them here",
                   (unsigned long long)gap.first, (unsigned long long)(gap.end - 1),
                   r->summary.images, text);
}

/* By the one process, or rank 0: the directory, and what is there. */
static kh_status take_stock(run *r, kh_error *err) {
    const char *out = r->options.out;
    char folder[KH_ATLAS_PATH];
    kh_range_ids gap;
    KH_TRY(kh_atlas_path(folder, err, out, "shards"));
    if (!holds_run(out)) KH_TRY(kh_folder_mark(out, "atlas", err));
    KH_TRY(kh_atlas_sweep(out, err));
    KH_TRY(find_states(r, err));
    KH_TRY(write_fingerprint(r, err));
    kh_folder_unmark(out);
    KH_TRY(kh_make_directories(folder, err));
    if (r->options.only_merge && kh_ranges_gap(&r->covered, 0, r->summary.images, &gap))
        return refuse_gap(r, gap, err);
    return KH_OK;
}

/* Each process: its own state, and what it will do. */
static kh_status get_ready(run *r, kh_error *err) {
    r->summary.done_before = (size_t)kh_ranges_total(&r->covered);
    if (!r->options.only_merge) KH_TRY(kh_shard_claim(r->own, &r->claim, err));
    KH_TRY(kh_atlas_begin(&r->job, err));
    KH_TRY(take_own(r, err));
    KH_TRY(kh_watch_begin(&r->watch, r->options.team, err));
    return plan_work(r, err);
}

static kh_status work(run *r, kh_error *err) {
    const kh_team *team = r->options.team;
    kh_range_ids gap;
    r->summary.images = r->job.setup.images;
    KH_TRY(kh_team_agree(team, is_lead(r) ? take_stock(r, err) : KH_OK, err));
    KH_TRY(kh_team_share_ranges(team, &r->covered, err));
    KH_TRY(kh_team_agree(team, get_ready(r, err), err));
    if (is_team(r)) return work_together(r, err);
    KH_TRY(do_missing(r, err));
    for (size_t i = 0; i < r->todo.count; i++)
        KH_TRY(kh_ranges_add(&r->covered, r->todo.items[i].first, r->todo.items[i].end, err));
    count_broken(r);
    /* one shard of several: whoever comes last without --shard writes the tables */
    const bool is_last =
        r->options.shards == 1 && !kh_ranges_gap(&r->covered, 0, r->summary.images, &gap);
    /* a gigabyte that would be removed a moment later is written only if the tables cannot be */
    const bool is_alone = has_no_others(r);
    const bool saves_late = is_last && is_alone && !r->options.keep_state;
    if (r->todo.count > 0 && !saves_late) KH_TRY(save(r, err));
    if (!is_last) return KH_OK;
    const kh_status status = finish(r, err);
    if (r->summary.is_complete || r->todo.count == 0 || !saves_late || r->is_void) return status;
    const kh_status saved = save(r, status ? NULL : err);
    return status ? status : saved;
}

static kh_status begin(run *r, kh_ctx *ctx, const kh_model *model, const kh_source *source,
                       bool *is_complete, kh_error *err) {
    const kh_team *team = r->options.team;
    const kh_atlas_options *o = &r->options;
    kh_status status = is_lead(r) ? check_directory(r, err) : KH_OK;
    if (!status && o->overwrite && o->shards > 1 && o->out)
        status = kh_atlas_check_discard(o->out, o->shard, o->shards, err);
    if (!status) status = kh_atlas_job_init(&r->job, ctx, model, source, &r->options, err);
    if (!status)
        status = state_path(r, is_team(r) ? team->rank : o->shard,
                            is_team(r) ? team->size : o->shards, r->own, err);
    if (!status && o->overwrite) status = kh_shard_check_free(r->own, err);
    if (!status && is_team(r) && r->options.shards > 1)
        status = kh_fail(err, KH_E_ARG, "a team does every image: shards must be 1");
    KH_TRY(kh_team_agree(team, status, err));
    KH_TRY(kh_team_agree(team, kh_team_same_run(team, r->job.head.fingerprint, err), err));
    KH_TRY(kh_team_agree(team, is_lead(r) ? check_complete(r, is_complete, err) : KH_OK, err));
    return kh_team_share(team, is_complete, sizeof *is_complete, err);
}

/* A run that is complete: as said when it was made, if it is what was made. */
static kh_status believe(run *r, kh_error *err) {
    kh_atlas_status there;
    KH_TRY(kh_atlas_look(r->options.out, &there, err));
    r->summary.broken = there.broken;
    r->summary.broken_maps = there.broken_maps;
    return kh_atlas_digest(r->options.out, r->summary.digest, err);
}

kh_status kh_atlas(kh_ctx *ctx, const kh_model *model, const kh_source *source,
                   const kh_atlas_options *options, kh_atlas_summary *summary, kh_error *err) {
    run *r = kh_calloc(1, sizeof *r);
    if (!r) return kh_fail(err, KH_E_MEMORY, "no memory for a run");
    r->asked = options;
    r->options = *options;
    r->claim = -1;
    if (is_team(r)) {
        r->options.progress = team_progress;
        r->options.progress_user = r;
    }
    bool is_complete = false;
    kh_status status = begin(r, ctx, model, source, &is_complete, err);
    if (!status && is_complete) {
        r->summary.images = r->summary.done_before = r->job.setup.images;
        r->summary.is_complete = true;
        status = kh_team_agree(options->team, is_lead(r) ? believe(r, err) : KH_OK, err);
    } else if (!status) {
        status = work(r, err);
    }
    if (summary) *summary = r->summary;
    kh_shard_release(r->own, &r->claim);
    kh_shards_clear(&r->shards);
    kh_ranges_clear(&r->covered);
    kh_ranges_clear(&r->todo);
    kh_watch_clear(&r->watch);
    kh_atlas_job_clear(&r->job);
    kh_free(r);
    return status;
}
