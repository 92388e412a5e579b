/* One run on several ranks: here they are threads with letter boxes between them. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/atlas_set.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* Every kind of merging, and states that are small. */
#define MODEL  "random:test_vit@3"
#define LENSES "images,accuracy,class_mean,class_argmax,distance,exemplars,audit"

enum { MOST_RANKS = 5 };

/* ---- letter boxes -------------------------------------------------------------------------- */

typedef struct letter {
    struct letter *next;
    size_t count;
    unsigned char bytes[];
} letter;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t arrived;
    letter *first[MOST_RANKS][MOST_RANKS][2]; /* [to][from][kind] */
} post = {.lock = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER};

static kh_status send(void *user, size_t to, kh_team_kind kind, const void *bytes, size_t count,
                      kh_error *err) {
    const kh_team *me = user;
    letter *one = malloc(sizeof *one + count);
    (void)err;
    one->next = NULL;
    one->count = count;
    memcpy(one->bytes, bytes, count);
    (void)pthread_mutex_lock(&post.lock);
    letter **at = &post.first[to][me->rank][kind];
    while (*at)
        at = &(*at)->next;
    *at = one;
    (void)pthread_cond_broadcast(&post.arrived);
    (void)pthread_mutex_unlock(&post.lock);
    return KH_OK;
}

static kh_status receive(void *user, size_t from, kh_team_kind kind, void *bytes, size_t count,
                         kh_error *err) {
    const kh_team *me = user;
    letter **box = &post.first[me->rank][from][kind];
    (void)err;
    (void)pthread_mutex_lock(&post.lock);
    while (!*box)
        (void)pthread_cond_wait(&post.arrived, &post.lock);
    letter *one = *box;
    *box = one->next;
    (void)pthread_mutex_unlock(&post.lock);
    if (one->count != count) abort(); /* the two ends do not mean the same message */
    memcpy(bytes, one->bytes, count);
    free(one);
    return KH_OK;
}

static bool poll(void *user, size_t from, kh_team_kind kind) {
    const kh_team *me = user;
    (void)pthread_mutex_lock(&post.lock);
    const bool is_there = post.first[me->rank][from][kind] != NULL;
    (void)pthread_mutex_unlock(&post.lock);
    return is_there;
}

static void assert_boxes_are_empty(void) {
    for (size_t to = 0; to < MOST_RANKS; to++)
        for (size_t from = 0; from < MOST_RANKS; from++)
            assert_true(!post.first[to][from][0] && !post.first[to][from][1]);
}

/* ---- ranks --------------------------------------------------------------------------------- */

typedef struct rank {
    atlas_world world;
    kh_team team;
    kh_atlas_options options;
    kh_atlas_summary summary;
    kh_status status;
    kh_error err;
    pthread_t thread;
    uint64_t stop_at, shown; /* images of the whole team, as this rank knows them */
} rank;

static char set_folder[4096], expected[65];
static rank ranks[MOST_RANKS];

static bool note_progress(void *user, const char *what, uint64_t done, uint64_t total) {
    rank *r = user;
    (void)what;
    if (done < r->shown || done > total) abort(); /* the line would run backwards */
    r->shown = done;
    return r->stop_at == 0 || done < r->stop_at;
}

static void *run_rank(void *arg) {
    rank *r = arg;
    r->status =
        kh_atlas(r->world.ctx, r->world.model, r->world.source, &r->options, &r->summary, &r->err);
    return NULL;
}

/* Class means of other images and tokens than those of test_atlas_run. */
static kh_atlas_options team_options(const char *out) {
    kh_atlas_options options = atlas_options(out);
    options.lenses = LENSES;
    options.class_by = KH_BY_PREDICTED;
    options.class_reduction = KH_REDUCE_ALL;
    return options;
}

static void prepare_team(size_t size, const char *out) {
    for (size_t i = 0; i < size; i++) {
        rank *r = &ranks[i];
        r->team = (kh_team){.rank = i,
                            .size = size,
                            .user = &r->team,
                            .send = send,
                            .receive = receive,
                            .poll = poll};
        r->options = team_options(out);
        r->options.team = &r->team;
        r->options.batch = 1 + i;
        r->options.progress = note_progress;
        r->options.progress_user = r;
        r->err = (kh_error){KH_OK, ""};
        r->stop_at = r->shown = 0;
    }
}

static void run_team(size_t size) {
    for (size_t i = 1; i < size; i++)
        assert_int_equal(pthread_create(&ranks[i].thread, NULL, run_rank, &ranks[i]), 0);
    (void)run_rank(&ranks[0]);
    for (size_t i = 1; i < size; i++)
        assert_int_equal(pthread_join(ranks[i].thread, NULL), 0);
    assert_boxes_are_empty();
}

/* One rank gives the reason, the others keep silent. */
static void assert_one_speaks(size_t size, size_t speaker, kh_status want, const char *part) {
    for (size_t i = 0; i < size; i++) {
        if (i == speaker)
            kh_assert_fails_at(ranks[i].status, want, &ranks[i].err, part, __FILE__, __LINE__);
        if (i == speaker) continue;
        assert_int_equal(ranks[i].status, KH_E_STOPPED);
        assert_string_equal(ranks[i].err.text, "");
    }
}

static void assert_complete(size_t size, const char *out) {
    char digest[65];
    kh_error err = {0};
    for (size_t i = 0; i < size; i++) {
        kh_assert_ok_at(ranks[i].status, &ranks[i].err, __FILE__, __LINE__);
        assert_true(ranks[i].summary.is_complete);
    }
    assert_int_equal(ranks[0].summary.images, ATLAS_SET_IMAGES);
    kh_assert_ok(kh_atlas_digest(out, digest, &err));
    assert_string_equal(digest, expected);
    char path[4200];
    (void)snprintf(path, sizeof path, "%s/shards", out);
    assert_int_not_equal(access(path, F_OK), 0);
}

static int open_worlds(void **state) {
    (void)state;
    (void)snprintf(set_folder, sizeof set_folder, "%s", atlas_set_folder());
    for (size_t i = 0; i < MOST_RANKS; i++)
        atlas_world_open(&ranks[i].world, MODEL, set_folder, 1);
    const kh_atlas_options options = team_options(kh_test_folder("alone"));
    atlas_digest_of(&ranks[0].world, &options, expected);
    return 0;
}

static int close_worlds(void **state) {
    (void)state;
    for (size_t i = 0; i < MOST_RANKS; i++)
        atlas_world_close(&ranks[i].world);
    return 0;
}

/* ---- what must hold ------------------------------------------------------------------------ */

static void the_size_of_the_team_changes_nothing(void **state) {
    (void)state;
    for (size_t size = 2; size <= MOST_RANKS; size += size == 3 ? 2 : 1) {
        char out[4096];
        (void)snprintf(out, sizeof out, "%s", kh_test_folder("team"));
        prepare_team(size, out);
        run_team(size);
        assert_complete(size, out);
        assert_int_equal(ranks[0].summary.done_now, ATLAS_SET_IMAGES);
        assert_int_equal(ranks[0].summary.broken, ATLAS_SET_BROKEN);
        assert_int_equal(ranks[0].shown, ATLAS_SET_IMAGES);
        if (size != 3) continue;
        /* the same again does nothing */
        prepare_team(size, out);
        run_team(size);
        assert_complete(size, out);
        assert_int_equal(ranks[0].summary.done_now, 0);
    }
}

static void a_stopped_team_goes_on_in_another_size(void **state) {
    (void)state;
    /* every stop takes its share of the images */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    static const size_t sizes[] = {3, 1, 4};
#else
    static const size_t sizes[] = {3, 3, 2, 1, 4};
#endif
    char out[4096];
    (void)snprintf(out, sizeof out, "%s", kh_test_folder("stopped"));
    size_t before = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const size_t size = sizes[i];
        const bool is_last = i + 1 == sizeof sizes / sizeof *sizes;
        prepare_team(size, out);
        for (size_t r = 0; r < size; r++)
            ranks[r].options.batch = 1;
        /* one who stops stops all; later everybody does, or the images would not last */
        for (size_t r = i == 0 ? size - 1 : 0; r < size && !is_last; r++)
            ranks[r].stop_at = before + 1;
        run_team(size);
        if (is_last) {
            assert_complete(size, out);
            break;
        }
        kh_assert_fails_at(ranks[0].status, KH_E_STOPPED, &ranks[0].err, "the same command goes on",
                           __FILE__, __LINE__);
        kh_atlas_status there;
        kh_error err = {0};
        kh_assert_ok(kh_atlas_look(out, &there, &err));
        if (there.covered <= before || there.covered >= ATLAS_SET_IMAGES)
            fail_msg("team %zu: %zu images done, %zu before", i, there.covered, before);
        assert_false(there.is_complete);
        before = there.covered;
    }
}

static void a_rank_with_other_settings_is_the_one_who_says_so(void **state) {
    (void)state;
    const char *out = kh_test_folder("different");
    prepare_team(3, out);
    ranks[2].options.seed = 5;
    run_team(3);
    assert_one_speaks(3, 2, KH_E_ARG, "rank 2 of 3: 'rank 0' was made with other settings");
    prepare_team(3, out);
    ranks[1].options.lenses = "accuracy,astrology";
    run_team(3);
    assert_one_speaks(3, 1, KH_E_NOT_FOUND, "no lens is called 'astrology'");
    prepare_team(2, out);
    ranks[1].options.shards = 2;
    run_team(2);
    assert_one_speaks(2, 1, KH_E_ARG, "shards must be 1");
}

static void flip_byte(const char *path, long at) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_END), 0);
    const int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_END), 0);
    assert_int_equal(fputc(byte ^ 0x10, file), byte ^ 0x10);
    assert_int_equal(fclose(file), 0);
}

static void a_damaged_state_of_a_rank_is_noticed_and_done_again(void **state) {
    (void)state;
    char out[4096], path[4200];
    (void)snprintf(out, sizeof out, "%s", kh_test_folder("damaged"));
    prepare_team(2, out);
    ranks[0].stop_at = ranks[1].stop_at = 1;
    run_team(2);
    (void)snprintf(path, sizeof path, "%s/shards/shard-0001-of-0002.state", out);
    flip_byte(path, -5000);
    prepare_team(2, out);
    run_team(2);
    assert_one_speaks(2, 1, KH_E_FORMAT, "shard-0001-of-0002.state' is damaged");
    prepare_team(3, out); /* in a team of another size rank 0 meets it */
    run_team(3);
    assert_one_speaks(3, 0, KH_E_FORMAT, "shard-0001-of-0002.state' is damaged");
    assert_int_equal(unlink(path), 0);
    prepare_team(2, out);
    run_team(2);
    assert_complete(2, out);
}

static void a_full_disk_stops_all_and_loses_nothing(void **state) {
    (void)state;
    const char *out = kh_test_folder("full");
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, SIG_IGN);
    small = before;
    small.rlim_cur = 200000;
    prepare_team(2, out);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    run_team(2);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    const size_t speaker = ranks[0].err.text[0] ? 0 : 1;
    assert_one_speaks(2, speaker, KH_E_IO, "cannot write");
    prepare_team(2, out);
    run_team(2);
    assert_complete(2, out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_size_of_the_team_changes_nothing),
        cmocka_unit_test(a_stopped_team_goes_on_in_another_size),
        cmocka_unit_test(a_rank_with_other_settings_is_the_one_who_says_so),
        cmocka_unit_test(a_damaged_state_of_a_rank_is_noticed_and_done_again),
        cmocka_unit_test(a_full_disk_stops_all_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, open_worlds, close_worlds);
}
