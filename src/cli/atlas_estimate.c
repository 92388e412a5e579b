/* --dry-run: both passes, their tables, and the figures. */
#define _POSIX_C_SOURCE 200809L
#include "cli/atlas.h"
#include "cli/run_sizes.h"

#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Measured on two cores of a server: 6 s for the 335 MB of tables and arrays of a ViT-B/16 and what
 * comes before them (aligning, sorting, digests), 1.4 s for 17 MB of figures. */
#define TABLE_SECONDS_A_BYTE  1.8e-8
#define FIGURE_SECONDS_A_BYTE 8e-8

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

/* Were tokens read early in the first pass, and can they be? */
static bool reads_tokens(const char *lenses, const kh_model_info *info) {
    if (!info->classes || info->head_is_indirect || info->head_is_projection) return false;
    return lenses && (strcmp(lenses, "all") == 0 || strstr(lenses, "identify"));
}

const char *kh_atlas_second_lenses(const char *lenses, const kh_model_info *info) {
    if (reads_tokens(lenses, info)) return "dissect,masks,context";
    return info->classes ? "dissect,masks" : "dissect";
}

/* The second pass before there is a first: its thresholds are not known and cost nothing. */
static kh_status plan_second(kh_session *session, const kh_source *source,
                             const kh_atlas_options *first, const kh_atlas_estimate *of_first,
                             const char *truth, kh_atlas_estimate *out, kh_error *err) {
    enum { MOST_ROTATED = 64 };
    const kh_model_info *info = kh_model_get_info(session->model);
    kh_atlas_options o = *first;
    kh_label_set *set = NULL;
    float *zeros = calloc(info->blocks * (info->neurons + MOST_ROTATED), sizeof *zeros);
    kh_status status = zeros ? kh_label_set_open(truth, NULL, &set, err)
                             : kh_fail(err, KH_E_MEMORY, "no memory for thresholds");
    o.lenses = kh_atlas_second_lenses(first->lenses, info);
    o.label_set = set;
    o.thresholds = zeros;
    for (size_t i = 0; i < of_first->lens_count; i++)
        if (strcmp(of_first->lenses[i], "rotated") == 0) o.rotated = zeros;
    if (!status) status = kh_atlas_plan(session->ctx, session->model, source, &o, out, err);
    kh_label_set_close(set);
    free(zeros);
    return status;
}

typedef struct estimate {
    kh_atlas_estimate of[2]; /* passes; without --truth the second is empty */
    size_t pages;
    uint64_t figure_bytes;
    double seconds;
} estimate;

static void add_figures(const kh_model_info *info, estimate *e) {
    const char *lenses[2 * KH_ATLAS_LENSES];
    size_t count = 0;
    for (size_t pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < e->of[pass].lens_count; i++)
            lenses[count++] = e->of[pass].lenses[i];
    const kh_run_sizes sizes = {.blocks = info->blocks,
                                .neurons = info->neurons,
                                .classes = info->classes,
                                .classes_seen = e->of[0].classes_seen,
                                .classes_counted = e->of[0].classes_counted,
                                .classes_compared = e->of[0].classes_compared,
                                .lenses = lenses,
                                .lens_count = count};
    e->figure_bytes = kh_run_sizes_figures(&sizes, &e->pages);
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

kh_status kh_atlas_say_estimate(kh_session *session, const kh_source *source,
                                const kh_atlas_options *o, const char *truth, bool draws, bool json,
                                kh_error *err) {
    estimate e = {.pages = 0};
    double each = 0;
    KH_TRY(kh_atlas_plan(session->ctx, session->model, source, o, &e.of[0], err));
    if (truth) KH_TRY(plan_second(session, source, o, &e.of[0], truth, &e.of[1], err));
    if (draws && o->shards == 1) add_figures(kh_model_get_info(session->model), &e);
    KH_TRY(seconds_per_image(session, o->batch, &each, err));
    const size_t processes = o->team ? o->team->size : 1;
    const uint64_t disk = e.of[0].disk_bytes + e.of[1].disk_bytes + e.figure_bytes;
    const uint64_t memory = larger(e.of[0].memory_bytes, e.of[1].memory_bytes);
    const uint64_t state = larger(e.of[0].state_bytes, e.of[1].state_bytes);
    const double gflop = e.of[0].gflop + e.of[1].gflop;
    e.seconds = each * (double)(e.of[0].images + e.of[1].images) / (double)(o->shards * processes);
    if (o->shards == 1)
        e.seconds += TABLE_SECONDS_A_BYTE * (double)(disk - e.figure_bytes) +
                     FIGURE_SECONDS_A_BYTE * (double)e.figure_bytes;
    if (json)
        return kh_print_json(json_pack("{s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I}", "images",
                                       (json_int_t)e.of[0].images, "gflop", gflop, "seconds",
                                       e.seconds, "memory_bytes", (json_int_t)memory, "state_bytes",
                                       (json_int_t)state, "disk_bytes", (json_int_t)disk,
                                       "dissect_bytes", (json_int_t)e.of[1].disk_bytes,
                                       "figure_bytes", (json_int_t)e.figure_bytes, "figures",
                                       (json_int_t)e.pages),
                             err)
                   ? KH_OK
                   : KH_E_MEMORY;
    const bool is_large = gflop >= 1000;
    printf("%zu image%s%s, %.*f %s, about %.0f s%s; %.0f MB of memory beside the weights; on disk "
           "%.0f MB of results",
           e.of[0].images, KH_S(e.of[0].images), truth ? " twice" : "", is_large && gflop < 1e4,
           is_large ? gflop * 1e-3 : gflop, is_large ? "TFLOP" : "GFLOP", e.seconds,
           o->shards > 1 ? " for this shard" : "", (double)memory * 1e-6, (double)disk * 1e-6);
    if (e.pages)
        printf(" (%.0f MB of them %zu figure%s)", (double)e.figure_bytes * 1e-6, e.pages,
               KH_S(e.pages));
    printf(" and, while it runs, %.0f MB of state\n", (double)state * 1e-6);
    return KH_OK;
}
