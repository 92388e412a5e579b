/* A run's results do not depend on how it was carried out. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/atlas_set.h"

#include "base/rng.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MODEL "random:test_vit@3"

static const char *set_folder;
static char expected[65];

static int make_expected(void **state) {
    (void)state;
    static char folder[4096];
    atlas_world w;
    (void)snprintf(folder, sizeof folder, "%s", atlas_set_folder());
    set_folder = folder;
    atlas_world_open(&w, MODEL, set_folder, 1);
    const kh_atlas_options options = atlas_options(kh_test_folder("first"));
    atlas_digest_of(&w, &options, expected);
    atlas_world_close(&w);
    return 0;
}

static void threads_and_batches_change_nothing(void **state) {
    (void)state;
    static const size_t batches[] = {1, 7, 32};
    for (size_t threads = 1; threads < 4; threads++)
        for (size_t i = 0; i < 3; i++) {
            if (ATLAS_IS_SANITIZED && (i != 1 || threads != 2)) continue;
            atlas_world w;
            char digest[65];
            atlas_world_open(&w, MODEL, set_folder, threads);
            kh_atlas_options options = atlas_options(kh_test_folder("batch"));
            options.batch = batches[i];
            options.decode_threads = 1 + i;
            atlas_digest_of(&w, &options, digest);
            assert_string_equal(digest, expected);
            atlas_world_close(&w);
        }
}

static void shards_in_any_order_change_nothing(void **state) {
    (void)state;
    for (size_t shards = ATLAS_IS_SANITIZED ? 2 : 1; shards < (ATLAS_IS_SANITIZED ? 3 : 5);
         shards++) {
        atlas_world w;
        char digest[65], out[4096];
        kh_error err = {0};
        kh_atlas_summary summary;
        (void)snprintf(out, sizeof out, "%s", kh_test_folder("shards"));
        atlas_world_open(&w, MODEL, set_folder, 2);
        kh_atlas_options options = atlas_options(out);
        options.shards = shards;
        for (size_t i = 0; i < shards && shards > 1; i++) {
            options.shard = (i * 2 + 1) % shards == i ? i : shards - 1 - i;
            options.batch = 1 + i;
            kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err));
            assert_false(summary.is_complete);
        }
        for (size_t i = 0; i < shards && shards > 1; i++) { /* whoever was left out above */
            options.shard = i;
            kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err));
        }
        options.shard = 0;
        options.shards = 1;
        options.only_merge = shards > 1;
        atlas_digest_of(&w, &options, digest);
        assert_string_equal(digest, expected);
        atlas_world_close(&w);
    }
}

static void shards_of_other_directories_are_merged(void **state) {
    (void)state;
    atlas_world w;
    char digest[65], a[4096], b[4096], c[4096];
    kh_error err = {0};
    (void)snprintf(a, sizeof a, "%s", kh_test_folder("a"));
    (void)snprintf(b, sizeof b, "%s", kh_test_folder("b"));
    (void)snprintf(c, sizeof c, "%s", kh_test_folder("c"));
    atlas_world_open(&w, MODEL, set_folder, 2);
    kh_atlas_options options = atlas_options(a);
    options.shards = 2;
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err));
    options.out = b;
    options.shard = 1;
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err));
    const char *others[] = {b, a};
    options = atlas_options(c);
    options.other_runs = others;
    options.other_run_count = 2;
    options.only_merge = true;
    atlas_digest_of(&w, &options, digest);
    assert_string_equal(digest, expected);
    atlas_world_close(&w);
}

typedef struct stopper {
    uint64_t after, seen;
} stopper;

static bool stop_after(void *user, const char *what, uint64_t done, uint64_t total) {
    stopper *s = user;
    (void)what;
    (void)total;
    s->seen = done;
    return done < s->after;
}

static void a_stopped_run_goes_on_where_it_was(void **state) {
    (void)state;
    atlas_world w;
    char digest[65];
    kh_error err = {0};
    kh_atlas_summary summary;
    atlas_world_open(&w, MODEL, set_folder, 2);
    stopper stop = {.after = 4};
    kh_atlas_options options = atlas_options(kh_test_folder("stopped"));
    options.batch = 3;
    options.progress = stop_after;
    options.progress_user = &stop;
    size_t calls = 0;
    while (kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err) == KH_E_STOPPED) {
        assert_false(summary.is_complete);
        stop.after = stop.seen + ATLAS_SET_IMAGES / 6;
        assert_true(++calls < 20);
    }
    assert_true(calls >= 3);
    assert_true(summary.is_complete);
    kh_assert_ok(kh_atlas_digest(options.out, digest, &err));
    assert_string_equal(digest, expected);
    /* the same command again does nothing */
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err));
    assert_int_equal(summary.done_before, ATLAS_SET_IMAGES);
    assert_int_equal(summary.done_now, 0);
    atlas_world_close(&w);
}

/* In the child: no thread of ours lives in the parent at this moment. */
static void run_in_child(const char *out) {
    atlas_world w;
    kh_error err = {0};
    atlas_world_open(&w, MODEL, set_folder, 2);
    kh_atlas_options options = atlas_options(out);
    options.batch = 2;
    options.checkpoint_images = 2;
    _exit(kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err) == KH_OK ? 0 : 1);
}

static size_t leftovers(const char *folder, const char *inner) {
    char path[4200];
    size_t count = 0;
    (void)snprintf(path, sizeof path, "%s/%s", folder, inner);
    DIR *listing = opendir(path);
    for (const struct dirent *at; listing && (at = readdir(listing));)
        count += strstr(at->d_name, ".partial") != NULL;
    if (listing) (void)closedir(listing);
    return count;
}

static void a_killed_run_goes_on_where_it_was(void **state) {
    (void)state;
    char out[4096], digest[65];
    kh_error err = {0};
    (void)snprintf(out, sizeof out, "%s", kh_test_folder("killed"));
    kh_rng rng = kh_rng_make((uint64_t)getpid(), 2); /* another moment every time */
    size_t killed = 0;
    for (size_t tries = 0; tries < 60; tries++) {
        (void)fflush(NULL);
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) run_in_child(out);
        const bool lets_it_end = killed >= (ATLAS_IS_SANITIZED ? 2 : 5);
        if (!lets_it_end) {
            const struct timespec wait = {0, (long)(20000000 + kh_rng_below(&rng, 150000000))};
            (void)nanosleep(&wait, NULL);
            (void)kill(child, SIGKILL);
        }
        int how;
        assert_int_equal(waitpid(child, &how, 0), child);
        killed += WIFSIGNALED(how);
        if (WIFEXITED(how)) {
            assert_int_equal(WEXITSTATUS(how), 0);
            break;
        }
    }
    kh_assert_ok(kh_atlas_digest(out, digest, &err));
    assert_string_equal(digest, expected);
    assert_int_equal(leftovers(out, "."), 0);
    assert_int_equal(leftovers(out, "shards"), 0);
    assert_int_equal(leftovers(out, "arrays"), 0);
}

/* One label map for every readable picture, all by formula. */
static const char *label_folder(void) {
    const char *folder = kh_test_folder("maps");
    char path[8300];
    uint8_t rgb[48 * 48 * 3] = {0};
    kh_error err = {0};
    atlas_world w;
    atlas_world_open(&w, MODEL, set_folder, 1);
    (void)snprintf(path, sizeof path, "%s/labels.txt", folder);
    FILE *names = fopen(path, "wb");
    assert_non_null(names);
    assert_true(fputs("sky\nn01440764\ngrass\n", names) >= 0);
    assert_int_equal(fclose(names), 0);
    for (size_t i = 0; i < kh_source_count(w.source); i++) {
        for (size_t p = 0; p < 48 * 48; p++)
            rgb[3 * p] = (uint8_t)((p / 48 / (5 + i % 7) + p % 48 / 11 + i) % 4);
        const char *name = strstr(kh_source_get(w.source, i).name, set_folder);
        assert_non_null(name);
        (void)snprintf(path, sizeof path, "%s%s", folder, name + strlen(set_folder));
        char *slash = strrchr(path, '/');
        *slash = '\0';
        (void)mkdir(path, 0777);
        *slash = '/';
        const kh_image image = {48, 48, rgb};
        kh_assert_ok(kh_image_write(path, &image, &err));
    }
    atlas_world_close(&w);
    return folder;
}

/* All label maps, or that of one image, are no pictures any more. */
static void tear_maps(const char *maps, bool all) {
    char path[8300];
    atlas_world w;
    atlas_world_open(&w, MODEL, set_folder, 1);
    for (size_t i = 0; i < kh_source_count(w.source); i++) {
        const char *name = strstr(kh_source_get(w.source, i).name, set_folder);
        if (!all && !strstr(name, "/02.png")) continue;
        (void)snprintf(path, sizeof path, "%s%s", maps, name + strlen(set_folder));
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_true(fputs("torn", file) >= 0);
        assert_int_equal(fclose(file), 0);
    }
    atlas_world_close(&w);
}

/* A torn map counts as none, and is listed; the image's own pass is not spoiled by it. */
static void assert_one_map_is_broken(const char *run) {
    char path[4200];
    double number = 0;
    kh_error err = {0};
    (void)snprintf(path, sizeof path, "%s/run.sqlite", run);
    kh_assert_ok(kh_store_db_number(
        path,
        "SELECT count(*) FROM broken_maps WHERE name LIKE '%02.png' AND reason LIKE '%not a%'", 0,
        &number, &err));
    assert_int_equal((int)number, 1);
    kh_assert_ok(kh_store_db_number(path, "SELECT count(*) FROM broken_maps", 0, &number, &err));
    assert_int_equal((int)number, 1);
    kh_assert_ok(kh_store_db_number(path, "SELECT count(*) FROM broken", 0, &number, &err));
    assert_int_equal((int)number, ATLAS_SET_BROKEN);
}

/* And leaves nothing that would pass for work done. */
static void a_set_of_torn_maps_is_an_error(const atlas_world *w, const kh_atlas_options *like,
                                           const char *maps) {
    kh_error err = {0};
    kh_atlas_status there;
    kh_atlas_options options = *like;
    options.out = kh_test_folder("torn");
    options.lenses = "masks";
    tear_maps(maps, true);
    kh_assert_fails(kh_atlas(w->ctx, w->model, w->source, &options, NULL, &err), KH_E_FORMAT,
                    "of no image the label maps could be read");
    err = (kh_error){0};
    kh_assert_ok(kh_atlas_look(options.out, &there, &err));
    assert_false(there.is_complete);
    assert_int_equal(there.covered, 0);
}

static void a_dissection_is_as_indifferent_as_its_run(void **state) {
    (void)state;
    atlas_world w;
    char first[65], digest[65], out[4096], maps[4096];
    kh_error err = {0};
    kh_label_set *set;
    (void)snprintf(maps, sizeof maps, "%s", label_folder());
    tear_maps(maps, false);
    (void)snprintf(out, sizeof out, "%s", kh_test_folder("thresholds"));
    kh_assert_ok(kh_label_set_open(maps, NULL, &set, &err));
    atlas_world_open(&w, MODEL, set_folder, 1);
    kh_atlas_options options = atlas_options(out);
    atlas_digest_of(&w, &options, digest);
    const kh_model_info *info = kh_model_get_info(w.model);
    float *thresholds = calloc(info->blocks * info->neurons, sizeof *thresholds);
    kh_assert_ok(kh_atlas_thresholds(out, thresholds, info->blocks * info->neurons, &err));
    kh_assert_fails(kh_atlas_thresholds(out, thresholds, 7, &err), KH_E_SHAPE, "7 neurons");
    float *rotated;
    kh_assert_ok(kh_atlas_rotated(out, info, &rotated, &err));
    assert_non_null(rotated);
    atlas_world_close(&w);
    const size_t runs = ATLAS_IS_SANITIZED ? 2 : 3;
    for (size_t i = 0; i < runs; i++) {
        atlas_world_open(&w, MODEL, set_folder, 1 + i);
        options = atlas_options(kh_test_folder("dissect"));
        options.lenses = "dissect,masks,context";
        options.label_set = set;
        options.thresholds = thresholds;
        options.rotated = rotated;
        options.batch = 1 + 6 * i;
        options.shards = i == 1 ? 2 : 1;
        options.shard = options.shards - 1;
        if (i == 1) kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err));
        options.shards = 1;
        options.shard = 0;
        atlas_digest_of(&w, &options, i ? digest : first);
        if (i) assert_string_equal(digest, first);
        assert_one_map_is_broken(options.out);
        if (i + 1 == runs) a_set_of_torn_maps_is_an_error(&w, &options, maps);
        atlas_world_close(&w);
    }
    free(rotated);
    free(thresholds);
    kh_label_set_close(set);
}

static void broken_images_are_counted_and_listed(void **state) {
    (void)state;
    atlas_world w;
    kh_error err = {0};
    kh_atlas_summary summary;
    char path[4096];
    double number;
    atlas_world_open(&w, MODEL, set_folder, 2);
    kh_atlas_options options = atlas_options(kh_test_folder("broken"));
    options.lenses = "images,accuracy";
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, &summary, &err));
    assert_int_equal(summary.broken, ATLAS_SET_BROKEN);
    (void)snprintf(path, sizeof path, "%s/run.sqlite", options.out);
    kh_assert_ok(kh_store_db_number(
        path, "SELECT count(*) FROM broken WHERE name LIKE '%.png' AND reason LIKE '%not a%'", 0,
        &number, &err));
    assert_int_equal((int)number, ATLAS_SET_BROKEN);
    kh_assert_ok(kh_store_db_number(path, "SELECT count(*) FROM images", 0, &number, &err));
    assert_int_equal((int)number, ATLAS_SET_IMAGES - ATLAS_SET_BROKEN);
    atlas_world_close(&w);
}

static double bytes_of(const char *folder, const char *name) {
    char path[8300];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    if (stat(path, &info) != 0) fail_msg("no file %s", path);
    return (double)info.st_size;
}

static void disk_and_state_are_as_estimated(void **state) {
    (void)state;
    if (ATLAS_IS_SANITIZED) skip(); /* sizes are the same in every build */
    static const char *const files[] = {"run.sqlite",
                                        "arrays/thresholds.npy",
                                        "arrays/thresholds_99.npy",
                                        "arrays/class_n.npy",
                                        "arrays/class_mean.npy",
                                        "arrays/distances.npy",
                                        "arrays/attribution_mean.npy",
                                        "arrays/channel_thresholds.npy",
                                        "arrays/channel_thresholds_99.npy",
                                        "arrays/rotated_thresholds.npy"};
    atlas_world w;
    kh_error err = {0};
    kh_atlas_estimate estimate;
    atlas_world_open(&w, MODEL, set_folder, 2);
    kh_atlas_options options = atlas_options(kh_test_folder("estimate"));
    options.keep_state = true;
    kh_assert_ok(kh_atlas_plan(w.ctx, w.model, w.source, &options, &estimate, &err));
    kh_assert_ok(kh_atlas(w.ctx, w.model, w.source, &options, NULL, &err));
    double disk = 0;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        disk += bytes_of(options.out, files[i]);
    const double kept = bytes_of(options.out, "shards/shard-0000-of-0001.state");
    if (!(fabs((double)estimate.disk_bytes - disk) <= 0.2 * disk))
        fail_msg("disk: %.0f bytes, estimated %.0f", disk, (double)estimate.disk_bytes);
    if (!(fabs((double)estimate.state_bytes - kept) <= 0.01 * kept))
        fail_msg("state: %.0f bytes, estimated %.0f", kept, (double)estimate.state_bytes);
    assert_int_equal(estimate.images, ATLAS_SET_IMAGES);
    atlas_world_close(&w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_run_goes_on_where_it_was),
        cmocka_unit_test(threads_and_batches_change_nothing),
        cmocka_unit_test(shards_in_any_order_change_nothing),
        cmocka_unit_test(shards_of_other_directories_are_merged),
        cmocka_unit_test(a_stopped_run_goes_on_where_it_was),
        cmocka_unit_test(a_dissection_is_as_indifferent_as_its_run),
        cmocka_unit_test(disk_and_state_are_as_estimated),
        cmocka_unit_test(broken_images_are_counted_and_listed),
    };
    return cmocka_run_group_tests(tests, make_expected, NULL);
}
