/* What must not be mixed or believed is refused, with nothing lost. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/atlas_set.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODEL "random:test_vit@3"

static char set_folder[4096];

/* What is refused does not hang on the lenses; test_atlas_run has all of them. */
static kh_atlas_options few_lenses(const char *out) {
    kh_atlas_options options = atlas_options(out);
    if (ATLAS_IS_SANITIZED) options.lenses = "images,units,class_mean,exemplars,selectivity";
    return options;
}

static int make_set(void **state) {
    (void)state;
    (void)snprintf(set_folder, sizeof set_folder, "%s", atlas_set_folder());
    return 0;
}

/* A directory with the first half done. */
static void half_a_run(atlas_world *w, char out[4096]) {
    kh_error err = {0};
    (void)snprintf(out, 4096, "%s", kh_test_folder("half"));
    atlas_world_open(w, MODEL, set_folder, 2);
    kh_atlas_options options = few_lenses(out);
    options.shards = 2;
    kh_assert_ok(kh_atlas(w->ctx, w->model, w->source, &options, NULL, &err));
}

static void assert_refused(const atlas_world *w, const kh_atlas_options *options, kh_status want,
                           const char *part) {
    kh_error err = {0};
    kh_assert_fails(kh_atlas(w->ctx, w->model, w->source, options, NULL, &err), want, part);
}

static void another_run_is_not_mixed_in(void **state) {
    (void)state;
    atlas_world w, other;
    char out[4096];
    half_a_run(&w, out);
    kh_atlas_options options = few_lenses(out);
    options.exemplars = 3;
    assert_refused(&w, &options, KH_E_ARG, "made with other settings: exemplars there 15, here 3");
    options = few_lenses(out);
    options.lenses = "accuracy";
    assert_refused(&w, &options, KH_E_ARG, "made with other lenses: only there images,");

    atlas_world_open(&other, "random:test_vit@4", set_folder, 1);
    options = few_lenses(out);
    assert_refused(&other, &options, KH_E_ARG,
                   "made with another checkpoint: tag there random@3, here random@4");
    atlas_world_close(&other);

    char part[4200];
    (void)snprintf(part, sizeof part, "%s/n01440764", set_folder);
    atlas_world_open(&other, MODEL, part, 1);
    assert_refused(&other, &options, KH_E_ARG, "made with another set of images");
    atlas_world_close(&other);

    kh_error err = {0};
    const kh_model_options squash = {.preset = "squash224", .height = 160, .width = 160};
    kh_model *model;
    kh_assert_ok(kh_model_open(w.ctx, MODEL, &squash, &model, &err));
    kh_assert_fails(
        kh_atlas(w.ctx, model, w.source, &options, NULL, &err), KH_E_ARG,
        "made with other preprocessing: preset there timm, here squash224; crop there "
        "center, here squash; filter there bicubic, here bilinear; crop_pct there 0.95, "
        "here 1");
    kh_model_close(model);

    /* and the half that was there is still good */
    kh_atlas_summary summary;
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err));
    assert_int_equal(summary.done_before, ATLAS_SET_IMAGES / 2);
    assert_true(summary.is_complete);
    options.exemplars = 3; /* a complete directory is protected, too */
    assert_refused(&w, &options, KH_E_ARG, "made with other settings");
    atlas_world_close(&w);
}

static void shard_path(char path[4200], const char *out, const char *name) {
    (void)snprintf(path, 4200, "%s/shards/%s", out, name);
}

static void copy_file(const char *from, const char *to, long flip, long cut) {
    FILE *in = fopen(from, "rb"), *file = fopen(to, "wb");
    assert_non_null(in);
    assert_non_null(file);
    (void)fseek(in, 0, SEEK_END);
    const long size = ftell(in);
    rewind(in);
    const size_t kept = (size_t)(size - cut);
    char *bytes = malloc(kept);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, kept, in), kept);
    const long at = flip < 0 ? size + flip : flip;
    if (at >= 0 && at < (long)kept) bytes[at] = (char)(bytes[at] ^ 0x10);
    assert_int_equal(fwrite(bytes, 1, kept, file), kept);
    free(bytes);
    (void)fclose(in);
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_shard_is_noticed(void **state) {
    (void)state;
    atlas_world w;
    char out[4096], good[4200], spare[4200];
    half_a_run(&w, out);
    shard_path(good, out, "shard-0000-of-0002.state");
    shard_path(spare, out, "spare");
    assert_int_equal(rename(good, spare), 0);
    const kh_atlas_options options = few_lenses(out);
    const struct {
        long flip, cut;
        const char *part;
    } cases[] = {{-5000, 0, "its digest is wrong"}, {-3, 0, "its digest is wrong"},
                 {-1, 70, "it ends early"},         {2, 0, "it is no state"},
                 {-1, 1, "its digest is wrong"},    {-200000, 0, "is damaged"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        copy_file(spare, good, cases[i].flip, cases[i].cut);
        kh_error err = {0};
        const kh_status status = kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err);
        if (i + 1 < sizeof cases / sizeof *cases || status == KH_OK)
            kh_assert_fails(status, KH_E_FORMAT, cases[i].part);
        /* without it the work is only longer */
    }
    assert_int_equal(unlink(good), 0);
    kh_error err = {0};
    kh_atlas_summary summary;
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err));
    assert_true(summary.is_complete);
    /* the images behind the damaged shard were done, and kept, by the first attempt */
    assert_int_equal(summary.done_now, ATLAS_SET_IMAGES / 2);
    atlas_world_close(&w);
}

static void overlaps_and_gaps_are_named(void **state) {
    (void)state;
    atlas_world w;
    char out[4096], good[4200], twice[4200];
    half_a_run(&w, out);
    kh_atlas_options options = few_lenses(out);
    options.only_merge = true;
    enum { HALF = ATLAS_SET_IMAGES / 2, LAST = ATLAS_SET_IMAGES - 1 };
    char says[100];
    (void)snprintf(says, sizeof says, "no shard covers images %d to %d of %d", HALF, LAST,
                   ATLAS_SET_IMAGES);
    assert_refused(&w, &options, KH_E_ARG, says);
    shard_path(good, out, "shard-0000-of-0002.state");
    shard_path(twice, out, "shard-0000-of-0003.state");
    copy_file(good, twice, -2000000000, 0);
    (void)snprintf(says, sizeof says, "images 0 to %d are covered twice", HALF - 1);
    assert_refused(&w, &options, KH_E_ARG, says);
    atlas_world_close(&w);
}

static void a_full_disk_loses_nothing(void **state) {
    (void)state;
    atlas_world w;
    char out[4096];
    struct rlimit before, small;
    half_a_run(&w, out);
    kh_atlas_options options = few_lenses(out);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    small = before;
    small.rlim_cur = 200000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    kh_error err = {0};
    const kh_status status = kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    kh_assert_fails(status, KH_E_IO, "cannot write");
    kh_atlas_summary summary;
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err));
    assert_true(summary.is_complete && summary.done_before >= ATLAS_SET_IMAGES / 2);
    atlas_world_close(&w);
}

/* The tables do not fit any more, a state does: the work is kept in that. */
static void a_disk_that_fills_up_at_the_end_loses_nothing(void **state) {
    (void)state;
    atlas_world w;
    char out[4096];
    struct rlimit before, small;
    kh_error err = {0};
    kh_atlas_summary summary;
    (void)snprintf(out, sizeof out, "%s", kh_test_folder("late"));
    atlas_world_open(&w, MODEL, set_folder, 2);
    kh_atlas_options options = few_lenses(out);
    options.lenses = "images";
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    small = before;
    small.rlim_cur = 40000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const kh_status status = kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    kh_assert_fails(status, KH_E_IO, "run.sqlite");
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err));
    assert_true(summary.is_complete);
    assert_int_equal(summary.done_before, ATLAS_SET_IMAGES);
    assert_int_equal(summary.done_now, 0);
    atlas_world_close(&w);
}

static void an_output_that_cannot_be_written_is_refused_before_the_work(void **state) {
    (void)state;
    atlas_world w;
    char out[4096];
    atlas_world_open(&w, MODEL, set_folder, 1);
    (void)snprintf(out, sizeof out, "%s/file", kh_test_folder("readonly"));
    FILE *file = fopen(out, "wb");
    assert_non_null(file);
    (void)fclose(file);
    kh_atlas_options options = few_lenses(out);
    assert_refused(&w, &options, KH_E_IO, "create folder");
    options.out = "/proc/nowhere";
    kh_error err = {0};
    assert_int_not_equal(kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err), KH_OK);
    options.out = NULL;
    assert_refused(&w, &options, KH_E_ARG, "output directory");
    options = few_lenses(out);
    options.lenses = "accuracy,astrology";
    assert_refused(&w, &options, KH_E_NOT_FOUND, "no lens is called 'astrology'");
    atlas_world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_run_is_not_mixed_in),
        cmocka_unit_test(a_damaged_shard_is_noticed),
        cmocka_unit_test(overlaps_and_gaps_are_named),
        cmocka_unit_test(a_full_disk_loses_nothing),
        cmocka_unit_test(a_disk_that_fills_up_at_the_end_loses_nothing),
        cmocka_unit_test(an_output_that_cannot_be_written_is_refused_before_the_work),
    };
    return cmocka_run_group_tests(tests, make_set, NULL);
}
