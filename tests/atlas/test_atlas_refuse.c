/* What must not be mixed or believed is refused, with nothing lost. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/atlas_set.h"

#include "lens/distance.h"

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
    options.class_by = KH_BY_CORRECT;
    options.class_reduction = KH_REDUCE_MAX;
    assert_refused(&w, &options, KH_E_ARG,
                   "made with other settings: class_by there truth, here correct; class_reduction "
                   "there mean, here max");
    options = few_lenses(out);
    options.lenses = "accuracy";
    assert_refused(&w, &options, KH_E_ARG, "made with other lenses: only there images,");
    options.class_by = KH_BY_PREDICTED;
    assert_refused(&w, &options, KH_E_ARG,
                   "class means by predicted, reduction mean, but no lens 'class_mean'");
    options.class_by = (kh_class_by)3;
    assert_refused(&w, &options, KH_E_ARG, "no such choice of images or tokens");

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

    /* a token before the patches is no class token */
    (void)snprintf(part, sizeof part, "%s/golden/reg1_gap_medium", KH_TEST_DATA);
    atlas_world_open(&other, part, set_folder, 1);
    kh_atlas_options of_token = few_lenses("never_made");
    of_token.class_reduction = KH_REDUCE_CLS;
    assert_refused(&other, &of_token, KH_E_UNSUPPORTED,
                   "class reduction cls: the model has no class token");
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

/* ---- which classes are compared -------------------------------------------------------------- */

#define COMPARE_LENSES "images,units,distance"

static double cell(const char *out, const char *query) {
    kh_error err = {0};
    char path[4200];
    double value = 0;
    (void)snprintf(path, sizeof path, "%s/run.sqlite", out);
    kh_assert_ok(kh_store_db_number(path, query, 0, &value, &err));
    return value;
}

static void compare_in(const atlas_world *w, const char *out, const size_t *list, size_t count,
                       char digest[65]) {
    kh_atlas_options options = atlas_options(out);
    options.lenses = COMPARE_LENSES;
    options.compare = list;
    options.compare_count = count;
    atlas_digest_of(w, &options, digest);
}

/* The set has images of classes 0, 1 and 2 of 1000. */
static void classes_are_compared_as_asked(void **state) {
    (void)state;
    static const char *const queries[] = {
        "SELECT distance FROM distances WHERE definition = 'D1' AND k = 3 AND block = 1 AND class_a"
        " = 2 AND class_b = 0",
        "SELECT distance FROM distances WHERE definition = 'D2' AND k = 1 AND block = 0 AND class_a"
        " = 0 AND class_b = 2",
        "SELECT distance FROM distances WHERE definition = 'D3' AND k = 3 AND block = 1 AND class_a"
        " = 0 AND class_b = 2"};
    static const char sum[] = "SELECT sum(DISTINCT class_a) * 10 + count(DISTINCT class_a) FROM "
                              "distances";
    static const size_t asked[] = {2, 0}, turned[] = {0, 2}, seen[] = {1, 2, 0}, other[] = {0, 1};
    atlas_world w;
    kh_error err = {0};
    char plain[4096], chosen[4096], parts[4096], digest[4][65];
    (void)snprintf(plain, sizeof plain, "%s", kh_test_folder("plain"));
    (void)snprintf(chosen, sizeof chosen, "%s", kh_test_folder("chosen"));
    (void)snprintf(parts, sizeof parts, "%s", kh_test_folder("parts"));
    atlas_world_open(&w, MODEL, set_folder, 2);
    compare_in(&w, plain, NULL, 0, digest[0]);
    assert_true(cell(plain, sum) == 33); /* one of the report's five has images: those that have */
    compare_in(&w, plain, seen, 3, digest[1]); /* is the same run */
    assert_string_equal(digest[0], digest[1]);
    compare_in(&w, chosen, asked, 2, digest[2]);
    assert_true(cell(chosen, sum) == 22);
    for (size_t i = 0; i < 2; i++) /* of each class's own neurons: the others change nothing */
        assert_true(cell(plain, queries[i]) > 0 &&
                    !(fabs(cell(chosen, queries[i]) - cell(plain, queries[i])) > 0));
    assert_true(cell(chosen, queries[2]) > 0 && /* fewer neurons, each adds a square */
                cell(chosen, queries[2]) <= cell(plain, queries[2]));

    kh_atlas_options options = atlas_options(parts);
    options.lenses = COMPARE_LENSES;
    options.compare = turned;
    options.compare_count = 2;
    options.shards = 2;
    for (options.shard = 0; options.shard < 2; options.shard++)
        kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err));
    options.shards = 1;
    options.shard = 0;
    options.only_merge = true;
    options.compare = other;
    assert_refused(&w, &options, KH_E_ARG, "other settings: compare there 0,2, here 0,1");
    options.compare = NULL;
    assert_refused(&w, &options, KH_E_ARG, "other settings: compare there 0,2, here 0,1,2");
    compare_in(&w, parts, turned, 2, digest[3]);
    assert_string_equal(digest[2], digest[3]);
    atlas_world_close(&w);
}

static void what_cannot_be_compared_is_refused(void **state) {
    (void)state;
    size_t many[KH_ATLAS_COMPARED + 1];
    for (size_t i = 0; i < sizeof many / sizeof *many; i++)
        many[i] = i;
    const size_t twice[] = {1, 0, 1}, none[] = {0, 1000}, unseen[] = {0, 554};
    const struct {
        const size_t *list;
        size_t count;
        const char *lenses, *part;
    } cases[] = {{many, 1, COMPARE_LENSES, "1 class to compare: 2 to 40"},
                 {many, KH_ATLAS_COMPARED + 1, COMPARE_LENSES, "41 classes to compare: 2 to 40"},
                 {twice, 3, COMPARE_LENSES, "class 1 is to be compared twice"},
                 {none, 2, COMPARE_LENSES, "class 1000 to compare: the model has 1000"},
                 {unseen, 2, COMPARE_LENSES, "of 2 classes to compare 1 has labelled images"},
                 {many, 2, "images", "no lens 'distance'"}};
    atlas_world w;
    char out[4096];
    (void)snprintf(out, sizeof out, "%s", kh_test_folder("refused"));
    atlas_world_open(&w, MODEL, set_folder, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kh_atlas_options options = atlas_options(out);
        options.lenses = cases[i].lenses;
        options.compare = cases[i].list;
        options.compare_count = cases[i].count;
        assert_refused(&w, &options, KH_E_ARG, cases[i].part);
    }
    atlas_world_close(&w);
}

static void assert_choice(kh_distance_choice c, const char *why, const size_t *list, size_t count,
                          size_t found) {
    assert_string_equal(c.why, why);
    assert_int_equal(c.count, count);
    assert_int_equal(c.found, found);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(c.classes[i], list[i]);
}

static void classes_are_chosen_by_what_there_is(void **state) {
    (void)state;
    static const size_t report[] = {0, 554, 207, 162, 250}, asked[] = {554, 0, 250, 207, 162};
    static const size_t pair[] = {10, 30}, few[] = {0, 1, 2, 3};
    bool seen[1000] = {[30] = true, [10] = true};
    assert_choice(kh_distance_choose(NULL, 0, 1000, seen), "seen", pair, 2, 2);
    assert_choice(kh_distance_choose(NULL, 0, 999, seen), "seen", pair, 2, 2);
    seen[250] = seen[554] = true;
    assert_choice(kh_distance_choose(NULL, 0, 1000, seen), "report", report, 5, 2);
    assert_choice(kh_distance_choose(asked, 5, 1000, seen), "asked", report, 5, 2);
    assert_choice(kh_distance_choose((const size_t[]){30, 10}, 2, 1000, seen), "asked", pair, 2, 2);
    seen[3] = true;
    assert_choice(kh_distance_choose(NULL, 0, 4, seen), "all", few, 4, 1);
    memset(seen, 0, sizeof seen);
    assert_choice(kh_distance_choose(NULL, 0, 1000, seen), "seen", NULL, 0, 0);
    memset(seen, 1, sizeof seen);
    const kh_distance_choice most = kh_distance_choose(NULL, 0, 500, seen);
    assert_int_equal(most.count, KH_ATLAS_COMPARED);
    assert_int_equal(most.classes[KH_ATLAS_COMPARED - 1], KH_ATLAS_COMPARED - 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classes_are_compared_as_asked),
        cmocka_unit_test(what_cannot_be_compared_is_refused),
        cmocka_unit_test(classes_are_chosen_by_what_there_is),
        cmocka_unit_test(another_run_is_not_mixed_in),
        cmocka_unit_test(a_damaged_shard_is_noticed),
        cmocka_unit_test(overlaps_and_gaps_are_named),
        cmocka_unit_test(a_full_disk_loses_nothing),
        cmocka_unit_test(a_disk_that_fills_up_at_the_end_loses_nothing),
        cmocka_unit_test(an_output_that_cannot_be_written_is_refused_before_the_work),
    };
    return cmocka_run_group_tests(tests, make_set, NULL);
}
