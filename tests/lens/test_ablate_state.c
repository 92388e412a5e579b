/* A study that is stopped or killed, at whatever moment, and gone on with has the numbers of one
 * that was not; states that are damaged or of another study are refused. */
#define _POSIX_C_SOURCE 200809L
#include "lens/ablate_numbers.h"

#include "base/alloc.h"
#include "base/file.h"

#include <sys/stat.h>
#include <unistd.h>

enum { BROKEN = 1, USED = 2 * LABELS }; /* an image that cannot be read; two of each class */

static ablate_world world;
static double expected[MOST];
static size_t expected_count, expected_variants;

typedef struct watch {
    size_t calls, stop_at; /* of progress; 0: never */
    size_t copy_at;        /* of progress: what a kill would leave is copied to `copy` */
    const char *from, *copy;
    size_t reads[IMAGES];
    bool is_brighter; /* other pictures under the same names */
} watch;

static const char *const files[] = {"first.state", "second.state"};

static void copy_state(const char *from, const char *to) {
    kh_error err = {0};
    kh_assert_ok(kh_make_directories(to, &err));
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        unsigned char *bytes;
        size_t count;
        (void)snprintf(path, sizeof path, "%s/%s", from, files[i]);
        if (!kh_file_exists(path)) continue;
        kh_assert_ok(kh_file_read(path, 1 << 28, &bytes, &count, &err));
        (void)snprintf(path, sizeof path, "%s/%s", to, files[i]);
        kh_assert_ok(kh_file_write_lazy(path, bytes, count, &err));
        kh_free(bytes);
    }
}

static bool progress(void *user, const char *what, uint64_t done, uint64_t total) {
    watch *w = user;
    assert_string_equal(what, "images");
    assert_true(done <= total);
    w->calls++;
    if (w->calls == w->copy_at) copy_state(w->from, w->copy);
    return w->calls != w->stop_at;
}

static kh_status read_image(void *user, size_t index, float *image, bool *is_broken,
                            kh_error *err) {
    watch *w = user;
    (void)err;
    w->reads[index]++;
    *is_broken = index == BROKEN;
    for (size_t i = 0; i < PIXELS && !*is_broken; i++)
        image[i] = world.images[index * PIXELS + i] + (w->is_brighter ? 0.125f : 0.0f);
    return KH_OK;
}

static kh_ablate_options options(watch *w, const char *state) {
    kh_ablate_options o = everything();
    o.block = 0;
    o.per_class = 2;
    o.state = state;
    o.checkpoint_seconds = 0;
    o.image_set = "these pictures";
    o.progress = progress;
    o.progress_user = w;
    return o;
}

static kh_status run(const kh_ablate_options *o, watch *w, kh_ablation *out, kh_error *err) {
    return kh_ablate(world.g.ctx, world.g.model, o, IMAGES, world.truth, read_image, w, out, err);
}

static void assert_expected(const kh_ablation *a, const char *what) {
    static double got[MOST];
    assert_int_equal(a->images, USED);
    assert_int_equal(a->broken, 1);
    assert_int_equal(a->variants, expected_variants);
    assert_int_equal(flatten(a, got), expected_count);
    assert_same_numbers(expected, got, expected_count, what);
}

static void assert_goes_on(const kh_ablate_options *o, const char *what) {
    kh_error err = {0};
    watch w = {0};
    kh_ablation a;
    kh_ablate_options again = *o;
    again.progress_user = &w;
    kh_assert_ok(run(&again, &w, &a, &err));
    assert_expected(&a, what);
    kh_ablation_clear(&a);
}

static const char *state_folder(const char *name) {
    static char paths[4][4096];
    static size_t turn;
    char *path = paths[turn++ % 4];
    (void)snprintf(path, 4096, "%s/state", kh_test_folder(name));
    return path;
}

static int open_world(void **state) {
    (void)state;
    kh_error err = {0};
    watch w = {0};
    kh_ablation a;
    ablate_world_open(&world);
    kh_ablate_options o = options(&w, NULL);
    kh_assert_ok(run(&o, &w, &a, &err));
    expected_count = flatten(&a, expected);
    expected_variants = a.variants;
    assert_true(expected_count > 1000);
    kh_ablation_clear(&a);
    return 0;
}

static int close_world(void **state) {
    (void)state;
    ablate_world_close(&world);
    return 0;
}

/* ---- stopped and killed -------------------------------------------------------------------- */

/* Every run is stopped after a few images, with other batches and threads each time. */
static void a_study_in_many_runs_is_one_study(void **state) {
    (void)state;
    const char *folder = state_folder("runs");
    kh_error err = {0};
    kh_ablation a;
    kh_status status = KH_E_STOPPED;
    size_t runs = 0, looked = 0, visited = 0;
    while (status == KH_E_STOPPED) {
        watch w = {.stop_at = 5 + runs % 3};
        const kh_ctx_options how = {.threads = 1 + runs % 3, .isa = kh_ctx_isa(world.g.ctx)};
        kh_ctx *ctx;
        kh_assert_ok(kh_ctx_create(&how, &ctx, &err));
        kh_ablate_options o = options(&w, folder);
        o.checkpoint_seconds = runs % 2 ? 0 : 1e9; /* a stop keeps everything without them too */
        o.image_batch = 1 + runs % 5;
        o.batch = 3 + 5 * (runs % 4);
        status = kh_ablate(ctx, world.g.model, &o, IMAGES, world.truth, read_image, &w, &a, &err);
        kh_ctx_free(ctx);
        assert_true(++runs < 20);
        if (status != KH_E_STOPPED) break;
        kh_ablate_left left;
        kh_assert_ok(kh_ablate_look(folder, &left, &err));
        assert_int_equal(left.images, IMAGES);
        assert_true(left.looked > looked || left.visited > visited); /* nothing is done twice */
        looked = left.looked;
        visited = left.visited;
        err = (kh_error){0};
    }
    kh_assert_ok(status);
    assert_true(runs > 5);
    assert_expected(&a, "many runs");
    kh_ablation_clear(&a);
    /* complete, and not discarded yet: the tables come without a variant */
    watch w = {0};
    kh_ablate_options o = options(&w, folder);
    kh_assert_ok(run(&o, &w, &a, &err));
    assert_expected(&a, "complete");
    assert_true(w.calls < 8); /* the end of the first round, which was not kept */
    kh_ablation_clear(&a);
}

/* What lies on the disk at a moment is what a kill at that moment leaves. */
static void killed_at_any_moment(void **state) {
    (void)state;
    static const size_t moments[] = {1, 8, 20, 24, 25, 26, 29, 32};
    static const double often[] = {0, 0, 1e9};
    for (size_t m = 0; m < sizeof moments / sizeof *moments; m++) {
        char copy[4096];
        kh_error err = {0};
        kh_ablation a;
        (void)snprintf(copy, sizeof copy, "%s", state_folder("killed"));
        const char *folder = state_folder("running");
        watch w = {.copy_at = moments[m], .from = folder, .copy = copy};
        kh_ablate_options o = options(&w, folder);
        o.checkpoint_seconds = often[m % 3];
        o.image_batch = 1 + m % 4;
        kh_assert_ok(run(&o, &w, &a, &err));
        assert_expected(&a, "with a state");
        kh_ablation_clear(&a);
        assert_true(w.calls >= w.copy_at);
        o.state = copy;
        assert_goes_on(&o, "killed");
    }
}

/* Broken images are read again, so that whoever reads can name them; the others are not. */
static void broken_images_are_heard_of_again(void **state) {
    (void)state;
    const char *folder = state_folder("broken");
    kh_error err = {0};
    kh_ablation a;
    watch w = {.stop_at = IMAGES + 5};
    kh_ablate_options o = options(&w, folder);
    o.image_batch = 1;
    kh_assert_fails(run(&o, &w, &a, &err), KH_E_STOPPED, "the same command goes on from there");
    watch again = {0};
    o.progress_user = &again;
    kh_assert_ok(run(&o, &again, &a, &err));
    assert_expected(&a, "broken");
    assert_int_equal(again.reads[BROKEN], 1);
    assert_int_equal(again.reads[0] + again.reads[1], 1); /* as a partner of a later one, or not */
    kh_ablation_clear(&a);
}

/* ---- refused ------------------------------------------------------------------------------- */

/* Leaves both files of a study that was stopped in its second round. */
static const char *stopped_study(const char *name) {
    const char *folder = state_folder(name);
    kh_error err = {0};
    kh_ablation a;
    watch w = {.stop_at = IMAGES + 4};
    const kh_ablate_options o = options(&w, folder);
    kh_assert_fails(run(&o, &w, &a, &err), KH_E_STOPPED, "of 8 images");
    return folder;
}

static void settings_that_change_numbers_are_refused(void **state) {
    (void)state;
    const char *folder = stopped_study("settings");
    kh_error err = {0};
    kh_ablation a;
    watch w = {0};
    for (size_t i = 0; i < 12; i++) {
        kh_ablate_options o = options(&w, folder);
        const char *what = "other settings";
        size_t truth[IMAGES];
        memcpy(truth, world.truth, sizeof truth);
        o.sets += i == 0;
        o.seed += i == 1;
        o.k[0] += i == 2;
        o.tokens = i == 3 ? KH_ABLATE_CLS : KH_ABLATE_ALL;
        o.block += i == 4;
        o.rank = i == 5 ? KH_ABLATE_BY_FOLD : KH_ABLATE_BY_LN;
        if (i == 6) o.op_count--;
        if (i == 7) o.designs &= ~(unsigned)KH_ABLATE_SWAP;
        o.per_class = i == 8 ? 3 : 2;
        o.alpha = i == 9 ? 0.5 : 0;
        if (i == 10) truth[0] = truth[IMAGES - 1];
        if (i == 11) o.image_set = "others";
        if (i >= 10) what = "another set of images";
        kh_assert_fails(
            kh_ablate(world.g.ctx, world.g.model, &o, IMAGES, truth, read_image, &w, &a, &err),
            KH_E_ARG, what);
        assert_non_null(strstr(err.text, "first.state"));
    }
    kh_ablate_options o = options(&w, folder);
    o.resamples++; /* these come after what is kept */
    kh_assert_ok(run(&o, &w, &a, &err));
    kh_ablation_clear(&a);
}

/* The second round's numbers belong to the first one's. */
static void changed_pictures_are_refused(void **state) {
    (void)state;
    const char *folder = stopped_study("pictures");
    char path[4096];
    kh_error err = {0};
    kh_ablation a;
    watch w = {.is_brighter = true};
    const kh_ablate_options o = options(&w, folder);
    (void)snprintf(path, sizeof path, "%s/first.state", folder);
    assert_int_equal(unlink(path), 0); /* the first round is done again */
    kh_assert_fails(run(&o, &w, &a, &err), KH_E_ARG, "their first round has changed");
    assert_int_equal(unlink(path), 0); /* that of the other pictures */
    assert_goes_on(&o, "the first round again");
}

static void damaged_states_are_refused(void **state) {
    (void)state;
    const char *folder = stopped_study("damaged");
    for (size_t f = 0; f < 2; f++) {
        char path[4096];
        unsigned char *bytes;
        size_t count;
        kh_error err = {0};
        kh_ablation a;
        watch w = {0};
        const kh_ablate_options o = options(&w, folder);
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[f]);
        kh_assert_ok(kh_file_read(path, 1 << 28, &bytes, &count, &err));
        for (size_t i = 0; i < 14; i++) { /* a bit of it is wrong */
            const size_t at = i < 7 ? i * 3 : (i - 6) * (count - 1) / 7;
            bytes[at] ^= 4;
            kh_assert_ok(kh_file_write_lazy(path, bytes, count, &err));
            bytes[at] ^= 4;
            kh_assert_fails(run(&o, &w, &a, &err), KH_E_FORMAT, "is damaged");
            assert_non_null(strstr(err.text, files[f]));
        }
        for (size_t i = 0; i < 6; i++) { /* its end is missing */
            kh_assert_ok(kh_file_write_lazy(path, bytes, i * (count - 1) / 5, &err));
            kh_assert_fails(run(&o, &w, &a, &err), KH_E_FORMAT, "is damaged");
        }
        kh_assert_ok(kh_file_write_lazy(path, bytes, count + 1, &err)); /* the NUL behind it */
        kh_assert_fails(run(&o, &w, &a, &err), KH_E_FORMAT, "something follows it");
        kh_assert_ok(kh_file_write_lazy(path, bytes, count, &err));
        kh_free(bytes);
    }
    watch w = {0};
    const kh_ablate_options o = options(&w, folder);
    assert_goes_on(&o, "mended");
}

/* Whichever request for memory fails, the state on the disk stays good. */
static void memory_may_end_anywhere(void **state) {
    (void)state;
    const char *folder = state_folder("memory"), *kept = stopped_study("kept");
    watch w = {0};
    kh_ablate_options o = options(&w, folder);
    o.checkpoint_seconds = 1e9;
    size_t failed = 0;
    for (size_t n = 1;; n += 1 + n / 6) {
        kh_error err = {0};
        kh_ablation a;
        copy_state(kept, folder);
        kh_alloc_fail_after(n);
        const kh_status status = run(&o, &w, &a, &err);
        const size_t asked = kh_alloc_count();
        kh_alloc_fail_after(0);
        if (!status) {
            assert_expected(&a, "a failure without consequence"); /* JSON has a reserve */
            kh_ablation_clear(&a);
            if (asked < n) break;
            continue;
        }
        assert_int_equal(status, KH_E_MEMORY);
        assert_goes_on(&o, "after a failure");
        failed++;
    }
    assert_true(failed > 10);
}

/* ---- folders ------------------------------------------------------------------------------- */

static void states_are_found_and_discarded(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ablate_left left;
    char path[4096];
    const char *none = state_folder("none");
    kh_assert_fails(kh_ablate_look(none, &left, &err), KH_E_NOT_FOUND, "no unfinished study");
    kh_assert_ok(kh_ablate_discard(none, &err));
    const char *folder = stopped_study("discard");
    kh_assert_ok(kh_ablate_look(folder, &left, &err));
    assert_int_equal(left.images, IMAGES);
    assert_int_equal(left.looked, IMAGES);
    assert_int_equal(left.used, USED);
    assert_int_equal(left.visited, 3);
    (void)snprintf(path, sizeof path, "%s/second.state.77.0.partial", folder); /* of a kill */
    kh_assert_ok(kh_file_write_lazy(path, "half", 4, &err));
    (void)snprintf(path, sizeof path, "%s/notes.txt", folder);
    kh_assert_ok(kh_file_write_lazy(path, "mine", 4, &err));
    kh_assert_ok(kh_ablate_discard(folder, &err));
    assert_true(kh_file_exists(path));
    assert_int_equal(unlink(path), 0);
    assert_true(kh_is_directory(folder));
    kh_assert_ok(kh_ablate_discard(folder, &err));
    assert_false(kh_is_directory(folder)); /* it was empty but for our files */
}

/* ---- what it will take --------------------------------------------------------------------- */

static size_t bytes_of(const char *folder) {
    size_t bytes = 0;
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        struct stat info;
        (void)snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        assert_int_equal(stat(path, &info), 0);
        bytes += (size_t)info.st_size;
    }
    return bytes;
}

static void plans_count_what_studies_do(void **state) {
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        const char *folder = state_folder("plan");
        kh_error err = {0};
        kh_ablation a;
        kh_ablate_estimate e;
        watch w = {0};
        kh_ablate_options o = options(&w, folder);
        o.designs &= ~(unsigned)KH_ABLATE_SHARED; /* known at most */
        o.per_class = i == 1 ? 0 : 2;
        o.is_global = i == 2;
        o.block = i == 2 ? SIZE_MAX : i % 2;
        if (i == 3) o.designs = KH_ABLATE_SWAP | KH_ABLATE_CAUSAL;
        kh_assert_ok(kh_ablate_plan(world.g.ctx, world.g.model, &o, IMAGES, world.truth, &e, &err));
        assert_int_equal(w.calls, 0);
        size_t of_image = 0;
        for (size_t d = 0; d < KH_ABLATE_DESIGNS; d++)
            of_image += e.variants_of[d];
        kh_assert_ok(run(&o, &w, &a, &err));
        const size_t missing = i == 1; /* the broken image */
        assert_int_equal(e.images, a.images + missing);
        assert_int_equal(e.classes, a.class_count);
        assert_int_equal(e.neurons, a.neurons);
        assert_int_equal(e.variants, of_image * e.images);
        assert_int_equal(a.variants, of_image * a.images);
        assert_true(e.share > 0); /* timed, so on a busy machine it may be anything */
        assert_near(e.passes, (double)e.images * (3 + (double)of_image * e.share), 1e-6, "passes");
        assert_true(e.seconds > 0 && e.seconds < 3600);
        assert_true((double)e.state_bytes > 0.8 * (double)bytes_of(folder));
        assert_true((double)e.state_bytes < 1.5 * (double)bytes_of(folder) + 4096);
        kh_ablation_clear(&a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_study_in_many_runs_is_one_study),
        cmocka_unit_test(killed_at_any_moment),
        cmocka_unit_test(broken_images_are_heard_of_again),
        cmocka_unit_test(settings_that_change_numbers_are_refused),
        cmocka_unit_test(changed_pictures_are_refused),
        cmocka_unit_test(damaged_states_are_refused),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(states_are_found_and_discarded),
        cmocka_unit_test(plans_count_what_studies_do),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
