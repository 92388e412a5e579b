/* What atlas and merge say: what it would take, and what was done. */
#define _POSIX_C_SOURCE 200809L
#include "cli/atlas.h"
#include "cli/outdir.h"

#include "base/file.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Of a plain pass over `batch` grey images; lenses add about a tenth. */
static kh_status seconds_per_image(kh_session *session, size_t batch, double *out, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(session->model);
    const kh_pass_spec spec = {.max_batch = batch, .want_logits = info->classes > 0};
    const size_t floats = batch * 3 * info->image_height * info->image_width;
    kh_pass *pass = NULL;
    float *images = calloc(floats, sizeof *images);
    kh_status status = images ? kh_pass_create(session->ctx, session->model, &spec, &pass, err)
                              : kh_fail(err, KH_E_MEMORY, "no memory for a batch");
    double best = 0;
    for (int i = 0; i < 3 && !status; i++) {
        const double start = seconds_now();
        status = kh_pass_run(pass, images, batch, err);
        const double took = (seconds_now() - start) / (double)batch;
        if (i == 0 || took < best) best = took;
    }
    kh_pass_free(pass);
    free(images);
    *out = 1.1 * best;
    return status;
}

kh_status kh_atlas_say_estimate(kh_session *session, const kh_source *source,
                                const kh_atlas_options *o, bool json, kh_error *err) {
    kh_atlas_estimate e;
    double each = 0;
    KH_TRY(kh_atlas_plan(session->ctx, session->model, source, o, &e, err));
    KH_TRY(seconds_per_image(session, o->batch, &each, err));
    const size_t processes = o->team ? o->team->size : 1;
    const double seconds = each * (double)e.images / (double)(o->shards * processes);
    if (json)
        return kh_print_json(json_pack("{s:I, s:f, s:f, s:I, s:I, s:I}", "images",
                                       (json_int_t)e.images, "gflop", e.gflop, "seconds", seconds,
                                       "memory_bytes", (json_int_t)e.memory_bytes, "state_bytes",
                                       (json_int_t)e.state_bytes, "disk_bytes",
                                       (json_int_t)e.disk_bytes),
                             err)
                   ? KH_OK
                   : KH_E_MEMORY;
    printf("%zu image%s, %.0f TFLOP, about %.0f s%s; %.0f MB of memory beside the weights; on disk "
           "%.0f MB of results and, while it runs, %.0f MB of state\n",
           e.images, KH_S(e.images), e.gflop * 1e-3, seconds,
           o->shards > 1 ? " for this shard" : "", (double)e.memory_bytes * 1e-6,
           (double)e.disk_bytes * 1e-6, (double)e.state_bytes * 1e-6);
    return KH_OK;
}

/* As keyhole status --digest says it: over the run and the dissection in it, so it is said behind
 * the second pass if there is to be one. */
static kh_status find_digest(const char *run, const kh_atlas_summary *t, char out[65],
                             kh_error *err) {
    char path[4096];
    KH_TRY(kh_outdir_path(run, path, sizeof path, err, "dissect/manifest.json"));
    if (!t->digest[0] || kh_file_exists(path)) return kh_atlas_digest(run, out, err);
    memcpy(out, t->digest, sizeof t->digest);
    return KH_OK;
}

kh_status kh_atlas_say_summary(const kh_atlas_summary *t, const kh_atlas_options *o,
                               const char *run, bool is_last, bool json, kh_error *err) {
    char digest[65] = "";
    if (t->is_complete && is_last) KH_TRY(find_digest(run, t, digest, err));
    if (json)
        return kh_print_json(
                   json_pack("{s:s, s:I, s:I, s:I, s:I, s:b, s:f, s:s}", "run", run, "images",
                             (json_int_t)t->images, "done_before", (json_int_t)t->done_before,
                             "done_now", (json_int_t)t->done_now, "broken", (json_int_t)t->broken,
                             "complete", t->is_complete, "seconds", t->seconds, "digest", digest),
                   err)
                   ? KH_OK
                   : KH_E_MEMORY;
    printf("%zu image%s: %zu %s done, %zu done now", t->images, KH_S(t->images), t->done_before,
           t->done_before == 1 ? "was" : "were", t->done_now);
    if (t->seconds > 0 && t->done_now) printf(" (%.3g images/s)", (double)t->done_now / t->seconds);
    if (t->broken) printf(", %zu could not be read (table broken)", t->broken);
    if (t->is_complete)
        printf("\ncomplete: %s%s%s%s%s\n", run, o->out == run ? "" : " with ",
               o->out == run ? "" : o->out, is_last ? ", digest " : "", digest);
    else
        printf("\nthis shard is done; keyhole merge joins it with the others\n");
    return KH_OK;
}
