/* keyhole bench: speed as a fraction of what this machine can do, measured in the same run. */
#define _DEFAULT_SOURCE
#include "cli/bench_dream.h"
#include "cli/commands.h"
#include "cli/session.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "base/sorted.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_ROUNDS = 64, MAX_BATCH = 1024 };

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *batches;
    size_t rounds;
    double seconds;
    bool is_dream, is_every_row;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->rounds = 7;
    s->seconds = 1.0;
}

static const kh_option options[] = {
    {KH_OPT_TEXT, "batches", 'b', offsetof(settings, batches), "LIST",
     "Batch sizes, separated by commas. Default: 1,8,16."},
    {KH_OPT_SIZE, "rounds", 0, offsetof(settings, rounds), "N",
     "Rounds of each case; the median counts. Default: 7."},
    {KH_OPT_NUMBER, "seconds", 0, offsetof(settings, seconds), "S",
     "At least this long per round. Default: 1."},
    {KH_OPT_FLAG, "dream", 0, offsetof(settings, is_dream), NULL,
     "Steps of dreams (forward, backward and everything around them) instead of forward passes."},
    {KH_OPT_FLAG, "every-row", 0, offsetof(settings, is_every_row), NULL,
     "Forward passes that compute every token's row in the last block too, as an atlas needs it."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

/* What a child process sends back. */
typedef struct measurement {
    double images_per_s, gflops, peak_gflops, fraction_of_peak;
    double gflop_per_image;                       /* executed, not nominal */
    double whole_gflop_per_image, whole_fraction; /* of a forward that leaves nothing out */
    double load_seconds;
    size_t pass_bytes;
    size_t weight_bytes;
    long peak_rss_bytes; /* filled by the parent */
    kh_error err;
} measurement;

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, kh_compare_doubles);
    return count % 2 ? values[count / 2] : 0.5 * (values[count / 2 - 1] + values[count / 2]);
}

/* What is timed: a forward pass, or a step of dreams. */
typedef struct load {
    kh_pass *pass; /* NULL: dreams */
    const float *images;
    kh_bench_dream dream;
    size_t batch;
} load;

static kh_status run_once(load *l, kh_error *err) {
    return l->pass ? kh_pass_run(l->pass, l->images, l->batch, err)
                   : kh_bench_dream_step(&l->dream, err);
}

/* Peak and forward passes take turns, so that a change of clock speed meets both. */
static kh_status time_rounds(kh_session *session, const settings *s, load *l, measurement *m,
                             kh_error *err) {
    double rates[MAX_ROUNDS], peaks[MAX_ROUNDS], fractions[MAX_ROUNDS];
    const double gflop = l->pass ? kh_pass_gflop(l->pass) : l->dream.gflop;
    KH_TRY(run_once(l, err)); /* first touch of pages and caches */
    for (size_t r = 0; r < s->rounds; r++) {
        const double before = kh_ctx_peak_gflops(session->ctx, 0.1);
        const double start = seconds_now();
        double elapsed = 0;
        size_t runs = 0;
        do {
            KH_TRY(run_once(l, err));
            runs++;
            elapsed = seconds_now() - start;
        } while (elapsed < s->seconds);
        const double after = kh_ctx_peak_gflops(session->ctx, 0.1);
        rates[r] = (double)(runs * l->batch) / elapsed;
        peaks[r] = 0.5 * (before + after);
        fractions[r] = rates[r] * gflop / peaks[r];
    }
    m->gflop_per_image = gflop;
    m->images_per_s = median(rates, s->rounds);
    m->gflops = m->images_per_s * m->gflop_per_image;
    m->peak_gflops = median(peaks, s->rounds);
    m->fraction_of_peak = median(fractions, s->rounds);
    m->whole_gflop_per_image =
        l->pass ? kh_model_get_info(session->model)->forward_gflop : l->dream.gflop;
    m->whole_fraction = m->fraction_of_peak * m->whole_gflop_per_image / m->gflop_per_image;
    m->pass_bytes =
        l->pass ? kh_pass_memory_bytes(l->pass) : kh_dreamer_memory_bytes(l->dream.dreamer);
    return KH_OK;
}

/* One unit behind the last block at every token keeps all its rows; without a head the features are
 * asked for. */
static kh_status prepare_pass(kh_session *session, const settings *s, size_t batch, load *l,
                              float **images, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(session->model);
    static const size_t unit = 0;
    char last[48];
    (void)snprintf(last, sizeof last, "blocks.%zu.hook_resid_post", info->blocks - 1);
    kh_tap taps[2];
    size_t count = 0;
    if (s->is_every_row) taps[count++] = (kh_tap){.site = last, .units = &unit, .unit_count = 1};
    if (info->classes == 0) taps[count++] = (kh_tap){.site = "hook_pre_head"};
    const kh_pass_spec spec = {
        .max_batch = batch, .want_logits = info->classes > 0, .taps = taps, .tap_count = count};
    const size_t floats = 3 * info->image_height * info->image_width * batch;
    KH_TRY(kh_pass_create(session->ctx, session->model, &spec, &l->pass, err));
    *images = kh_alloc_floats(floats);
    if (!*images) return kh_fail(err, KH_E_MEMORY, "no memory for the images");
    for (size_t i = 0; i < floats; i++)
        (*images)[i] = (float)kh_mix_unit(kh_hash_name("image"), (uint32_t)i);
    l->images = *images;
    return KH_OK;
}

static kh_status measure(const settings *s, const char *model, size_t batch, measurement *m,
                         kh_error *err) {
    kh_session session = {0};
    load l = {.batch = batch};
    float *images = NULL;
    kh_status status = kh_session_open(&session, &s->common, err);
    const double start = seconds_now();
    if (!status) status = kh_session_model(&session, model, &s->model, err);
    m->load_seconds = seconds_now() - start;
    if (!status) {
        m->weight_bytes = (size_t)kh_model_get_info(session.model)->parameters * sizeof(float);
        status = s->is_dream ? kh_bench_dream_open(&session, batch, &l.dream, err)
                             : prepare_pass(&session, s, batch, &l, &images, err);
    }
    if (!status) status = time_rounds(&session, s, &l, m, err);
    kh_free(images);
    kh_pass_free(l.pass);
    kh_bench_dream_close(&l.dream);
    kh_session_close(&session);
    return status;
}

/* Each case runs in a process of its own, so that its peak memory is its own. */
static kh_status measure_in_child(const settings *s, const char *model, size_t batch,
                                  measurement *m, kh_error *err) {
    int ends[2];
    *m = (measurement){0};
    if (pipe(ends) != 0) return kh_fail(err, KH_E_IO, "cannot make a pipe");
    (void)fflush(NULL);
    const pid_t child = fork();
    if (child < 0) {
        (void)close(ends[0]);
        (void)close(ends[1]);
        return kh_fail(err, KH_E_MEMORY, "cannot start a process for a case");
    }
    if (child == 0) {
        (void)close(ends[0]);
        (void)measure(s, model, batch, m, &m->err);
        const ssize_t put = write(ends[1], m, sizeof *m);
        _exit(put == (ssize_t)sizeof *m ? 0 : 1);
    }
    (void)close(ends[1]);
    const ssize_t got = read(ends[0], m, sizeof *m);
    (void)close(ends[0]);
    struct rusage used;
    int how = 0;
    if (wait4(child, &how, 0, &used) != child || got != (ssize_t)sizeof *m)
        return kh_fail(err, KH_E_MEMORY, "the case ended early (out of memory?)");
    m->peak_rss_bytes = used.ru_maxrss * 1024;
    if (m->err.code) return kh_fail(err, m->err.code, "%s", m->err.text);
    return KH_OK;
}

static void print_case(const char *name, size_t batch, const measurement *m) {
    printf("%-34s %5zu %9.2f %9.1f %9.1f %7.3f %8.3f %8.0f %8.2f\n", name, batch, m->images_per_s,
           m->gflops, m->peak_gflops, m->fraction_of_peak, m->whole_fraction,
           (double)m->peak_rss_bytes / 1048576.0, m->load_seconds);
    (void)fflush(stdout);
}

static json_t *case_json(const char *name, size_t batch, const measurement *m) {
    char full[160];
    (void)snprintf(full, sizeof full, "%s b%zu", name, batch);
    return json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:f}",
                     "name", full, "model", name, "batch", (json_int_t)batch, "images_per_s",
                     m->images_per_s, "gflops", m->gflops, "peak_gflops", m->peak_gflops,
                     "fraction_of_peak", m->fraction_of_peak, "gflop_per_image", m->gflop_per_image,
                     "whole_fraction_of_peak", m->whole_fraction, "whole_gflop_per_image",
                     m->whole_gflop_per_image, "peak_rss_bytes", (json_int_t)m->peak_rss_bytes,
                     "weight_bytes", (json_int_t)m->weight_bytes, "pass_bytes",
                     (json_int_t)m->pass_bytes, "load_s", m->load_seconds);
}

typedef struct collected {
    json_t *cases;
    double peaks[MAX_ROUNDS];
    size_t count;
} collected;

static kh_status bench_model(const settings *s, const char *model, const char *batches,
                             collected *all, kh_error *err) {
    const char *p = batches;
    do {
        const size_t length = strcspn(p, ",");
        char text[16] = "";
        size_t batch = 0;
        if (length < sizeof text) memcpy(text, p, length);
        if (!kh_parse_size(text, &batch) || batch == 0 || batch > MAX_BATCH ||
            all->count == MAX_ROUNDS)
            return kh_fail(err, KH_E_ARG, "--batches '%.60s': expected numbers from 1 to %d",
                           batches, MAX_BATCH);
        measurement m;
        KH_TRY(measure_in_child(s, model, batch, &m, err));
        all->peaks[all->count++] = m.peak_gflops;
        if (s->common.json)
            json_array_append_new(all->cases, case_json(model, batch, &m));
        else
            print_case(model, batch, &m);
        p += length + (p[length] == ',');
    } while (*p);
    return KH_OK;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    if (s->rounds == 0 || s->rounds > MAX_ROUNDS) {
        (void)kh_fail(err, KH_E_ARG, "--rounds is 1 to %d", MAX_ROUNDS);
        return KH_EXIT_MISUSED;
    }
    if (s->is_dream && s->is_every_row) {
        (void)kh_fail(err, KH_E_ARG, "--dream and --every-row: choose one");
        return KH_EXIT_MISUSED;
    }
    static char base[] = "random:vit_base_patch16_224", tiny[] = "random:vit_tiny_patch16_224";
    char *usual[] = {tiny, base};
    char **models = count ? operands : usual;
    const size_t model_count = count ? count : 2;
    collected all = {.cases = json_array()};
    if (!s->common.json)
        printf("%-34s %5s %9s %9s %9s %7s %8s %8s %8s\n", "model", "batch", "images/s", "GFLOP/s",
               "peak", "of peak", "as whole", "RSS MiB", "load s");
    kh_status status = KH_OK;
    for (size_t i = 0; i < model_count && !status; i++)
        status = bench_model(s, models[i], s->batches ? s->batches : "1,8,16", &all, err);
    if (!status && s->common.json) {
        json_t *root = json_pack(
            "{s:f, s:s, s:I, s:O}", "peak_gflops", median(all.peaks, all.count), "keyhole_version",
            kh_version(), "threads_asked", (json_int_t)s->common.threads, "cases", all.cases);
        if (!kh_print_json(root, err)) status = KH_E_MEMORY;
    }
    json_decref(all.cases);
    return status == KH_E_ARG ? KH_EXIT_MISUSED : status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_bench = {
    .name = "bench",
    .summary = "speed as a fraction of this machine's multiply-add peak",
    .operands = "[MODEL...]",
    .description =
        "Measures the fp32 multiply-add peak of the threads and instruction set in use (a loop that"
        " touches registers only) in turns with forward passes to the logits, and prints images per"
        " second, GFLOP/s of the work really done (2 per multiply-add; what the plan leaves out is"
        " not counted), their fraction of the peak, the same for the work of a forward that leaves"
        " nothing out (as whole: comparable with programs that compute every row), and the peak"
        " memory of the process. With --dream, images are image-steps, and only the work a step "
        "cannot do"
        " without is counted. Without MODEL: ViT-Ti/16 and ViT-B/16 with random weights.",
    .examples = "  keyhole bench --threads 2\n  keyhole bench random:vit_large_patch16_224 -b 4\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 0,
    .max_operands = 32,
    .run = run,
};
