/* A run: what is there, what is missing, the pass over that, and the tables at the end. */
#define _POSIX_C_SOURCE 200809L
#include "keyhole/atlas.h"

#include "atlas/job.h"
#include "atlas/shards.h"
#include "base/alloc.h"
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
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
    const kh_atlas_options *options;
    char own[KH_ATLAS_PATH]; /* this process's state file */
    kh_shards shards;        /* all that were found when it began, without our own */
    kh_ranges covered;       /* by them and by our own */
    uint64_t first, end;     /* this process's share */
    kh_atlas_summary summary;
} run;

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

/* Reads all heads, refuses those of another run, and takes up our own state if there is one. */
static kh_status find_states(run *r, kh_error *err) {
    const kh_atlas_options *o = r->options;
    KH_TRY(kh_shards_list(o->out, &r->shards, err));
    for (size_t i = 0; i < o->other_run_count; i++)
        KH_TRY(kh_shards_list(o->other_runs[i], &r->shards, err));
    size_t own = SIZE_MAX;
    for (size_t i = 0; i < r->shards.count; i++) {
        kh_shard *shard = &r->shards.items[i];
        KH_TRY(
            kh_state_same_run(r->job.head.fingerprint, shard->head.fingerprint, shard->path, err));
        for (size_t k = 0; k < shard->head.covered.count; k++)
            if (kh_ranges_add(&r->covered, shard->head.covered.items[k].first,
                              shard->head.covered.items[k].end, err))
                return kh_error_context(err, KH_E_ARG, "shard '%s'", shard->path);
        if (strcmp(shard->path, r->own) == 0) own = i;
    }
    r->summary.done_before = (size_t)kh_ranges_total(&r->covered);
    if (own == SIZE_MAX) return KH_OK;
    KH_TRY(absorb(r, r->own, err));
    return kh_state_join(&r->job.head, &r->shards.items[own].head, err);
}

/* ---- work ---------------------------------------------------------------------------------- */

static kh_status do_missing(run *r, kh_error *err) {
    kh_range_ids gap;
    const double start = seconds_now();
    kh_status status = KH_OK;
    bool did_any = false;
    while (!status && kh_ranges_gap(&r->covered, r->first, r->end, &gap)) {
        const uint64_t before = r->summary.done_before + r->summary.done_now;
        status =
            kh_atlas_drive(&r->job, gap.first, gap.end, save, r, before, r->summary.images, err);
        if (status) break;
        status = kh_ranges_add(&r->covered, gap.first, gap.end, err);
        r->summary.done_now += (size_t)(gap.end - gap.first);
        did_any = true;
    }
    r->summary.seconds =
        seconds_now() - start; /* of the pass; saving once more is not part of it */
    r->summary.load_seconds = r->job.load_seconds;
    r->summary.pass_seconds = r->job.pass_seconds;
    r->summary.lens_seconds = r->job.lens_seconds;
    if (!status && did_any) status = save(r, err);
    return status;
}

/* Shards of other processes may have ended meanwhile: merge exactly what covers everything. */
static kh_status merge_others(run *r, kh_error *err) {
    for (size_t i = 0; i < r->shards.count; i++) {
        kh_shard *shard = &r->shards.items[i];
        if (strcmp(shard->path, r->own) == 0) continue;
        KH_TRY(absorb(r, shard->path, err));
        KH_TRY(kh_state_join(&r->job.head, &shard->head, err));
    }
    return KH_OK;
}

static void remove_states(const run *r) {
    char folder[KH_ATLAS_PATH];
    (void)unlink(r->own);
    for (size_t i = 0; i < r->shards.count; i++)
        (void)unlink(r->shards.items[i].path);
    if (!kh_atlas_path(folder, NULL, r->options->out, "shards")) (void)rmdir(folder);
}

static kh_status finish(run *r, kh_error *err) {
    kh_range_ids gap;
    if (kh_ranges_gap(&r->covered, 0, r->summary.images, &gap)) return KH_OK;
    KH_TRY(merge_others(r, err));
    r->summary.broken = r->job.head.broken_count;
    KH_TRY(kh_atlas_write_results(&r->job, &r->summary, err));
    r->summary.is_complete = true;
    if (!r->options->keep_state) remove_states(r);
    return KH_OK;
}

/* ---- a whole call -------------------------------------------------------------------------- */

/* A directory that is complete belongs to the run we were asked for, or it is refused. */
static kh_status check_complete(run *r, bool *is_complete, kh_error *err) {
    char path[KH_ATLAS_PATH], facts[KH_ATLAS_PATH];
    unsigned char *bytes = NULL;
    size_t count = 0;
    json_t *theirs = NULL;
    *is_complete = false;
    KH_TRY(kh_atlas_path(path, err, r->options->out, "manifest.json"));
    if (!kh_file_exists(path)) return KH_OK;
    KH_TRY(kh_atlas_path(facts, err, r->options->out, "fingerprint.json"));
    KH_TRY(kh_file_read(facts, 1 << 24, &bytes, &count, err));
    const kh_json_limits limits = {8, 100000};
    kh_status status =
        kh_json_parse_object((const char *)bytes, count, limits, "fingerprint.json", &theirs, err);
    if (!status) status = kh_state_same_run(r->job.head.fingerprint, theirs, r->options->out, err);
    *is_complete = !status;
    json_decref(theirs);
    kh_free(bytes);
    return status;
}

static kh_status write_fingerprint(run *r, kh_error *err) {
    char path[KH_ATLAS_PATH];
    KH_TRY(kh_atlas_path(path, err, r->options->out, "fingerprint.json"));
    char *text = json_dumps(r->job.head.fingerprint, JSON_INDENT(2));
    if (!text) return kh_fail(err, KH_E_MEMORY, "no memory to describe the run");
    const kh_status status = kh_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}

static kh_status prepare(run *r, kh_error *err) {
    const kh_atlas_options *o = r->options;
    char folder[KH_ATLAS_PATH];
    r->summary.images = r->job.setup.images;
    r->first = r->summary.images * o->shard / o->shards;
    r->end = r->summary.images * (o->shard + 1) / o->shards;
    KH_TRY(kh_atlas_path(folder, err, o->out, "shards"));
    KH_TRY(kh_atlas_path(r->own, err, o->out, "shards/shard-%04zu-of-%04zu.state", o->shard,
                         o->shards));
    KH_TRY(kh_make_directories(folder, err));
    KH_TRY(kh_atlas_begin(&r->job, err));
    KH_TRY(find_states(r, err));
    return write_fingerprint(r, err);
}

static kh_status work(run *r, kh_error *err) {
    kh_range_ids gap;
    KH_TRY(prepare(r, err));
    if (r->options->only_merge && kh_ranges_gap(&r->covered, 0, r->summary.images, &gap))
        return kh_fail(err, KH_E_ARG,
                       "no shard covers images %llu to %llu of %zu; run keyhole atlas without "
                       "--shard to do them here",
                       (unsigned long long)gap.first, (unsigned long long)(gap.end - 1),
                       r->summary.images);
    KH_TRY(do_missing(r, err));
    /* one shard of several: whoever comes last without --shard writes the tables */
    if (r->options->shards > 1) {
        r->summary.broken = r->job.head.broken_count;
        return KH_OK;
    }
    return finish(r, err);
}

kh_status kh_atlas(kh_ctx *ctx, const kh_model *model, const kh_source *source,
                   const kh_atlas_options *options, kh_atlas_summary *summary, kh_error *err) {
    run *r = kh_calloc(1, sizeof *r);
    if (!r) return kh_fail(err, KH_E_MEMORY, "no memory for a run");
    r->options = options;
    bool is_complete = false;
    kh_status status = kh_atlas_job_init(&r->job, ctx, model, source, options, err);
    if (!status) status = check_complete(r, &is_complete, err);
    if (!status && is_complete) {
        r->summary.images = r->summary.done_before = r->job.setup.images;
        r->summary.is_complete = true;
    } else if (!status) {
        status = work(r, err);
    }
    if (summary) *summary = r->summary;
    kh_shards_clear(&r->shards);
    kh_ranges_clear(&r->covered);
    kh_atlas_job_clear(&r->job);
    kh_free(r);
    return status;
}

/* ---- looking at a directory ---------------------------------------------------------------- */

kh_status kh_atlas_look(const char *directory, kh_atlas_status *out, kh_error *err) {
    char path[KH_ATLAS_PATH];
    kh_shards shards = {0};
    kh_ranges covered = {0};
    *out = (kh_atlas_status){0};
    KH_TRY(kh_atlas_path(path, err, directory, "manifest.json"));
    out->is_complete = kh_file_exists(path);
    kh_status status = kh_shards_list(directory, &shards, err);
    for (size_t i = 0; i < shards.count && !status; i++) {
        const kh_state_head *head = &shards.items[i].head;
        size_t images = 0;
        (void)kh_json_size(
            json_object_get(json_object_get(head->fingerprint, "image_set"), "images"), &images);
        out->images = images;
        out->broken += head->broken_count;
        for (size_t k = 0; k < head->covered.count && !status; k++)
            status = kh_ranges_add(&covered, head->covered.items[k].first,
                                   head->covered.items[k].end, err);
    }
    out->shards = shards.count;
    out->covered = (size_t)kh_ranges_total(&covered);
    kh_ranges_clear(&covered);
    kh_shards_clear(&shards);
    if (!status && !out->is_complete && out->shards == 0)
        status = kh_fail(err, KH_E_NOT_FOUND, "'%s' holds no run", directory);
    return status;
}
