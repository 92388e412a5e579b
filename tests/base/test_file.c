/* Files: whole or not at all. */
#define _DEFAULT_SOURCE
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/partial.h"
#include "base/text.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char room[1024];

static const char *in(const char *folder, const char *name) {
    (void)snprintf(room, sizeof room, "%s/%s", folder, name);
    return room;
}

static size_t entries(const char *folder) {
    size_t count = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    (void)closedir(d);
    return count;
}

static void assert_holds(const char *path, const char *text, size_t count) {
    kh_error err = {0};
    unsigned char *bytes;
    size_t got;
    kh_assert_ok(kh_file_read(path, 1 << 20, &bytes, &got, &err));
    assert_int_equal(got, count);
    assert_memory_equal(bytes, text, count);
    assert_int_equal(bytes[got], 0);
    kh_free(bytes);
}

/* In a folder that others may write to, a link in the partial file's place must not be followed. */
static void a_planted_link_is_not_written_through(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("planted");
    char path[1024], link[1100], victim[1024];
    (void)snprintf(path, sizeof path, "%s", in(folder, "f"));
    (void)snprintf(victim, sizeof victim, "%s", in(folder, "victim"));
    kh_assert_ok(kh_file_write(victim, "mine", 4, &err));
    for (unsigned serial = 0; serial < 50; serial++) {
        (void)snprintf(link, sizeof link, "%s.%ld.%u.partial", path, (long)getpid(), serial);
        assert_int_equal(symlink(victim, link), 0);
    }
    kh_assert_ok(kh_file_write(path, "new", 3, &err));
    assert_holds(path, "new", 3);
    assert_holds(victim, "mine", 4);
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
}

static void assert_base(const char *name, size_t want) {
    const size_t got = kh_partial_base(name);
    if (got != want) fail_msg("%s: %zu, expected %zu", name, got, want);
}

static void only_leftovers_are_removed(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("leftovers");
    char path[1024], left[1024], link[1024];
    assert_base("f.json.77.0.partial", 6);
    assert_base("run.sqlite.77.partial", 10);
    assert_base("f.partial", 0);
    assert_base("f.7x.partial", 0);
    assert_base(".7.partial", 0);
    assert_base("f.77.0.partial.txt", 0);
    (void)snprintf(path, sizeof path, "%s", in(folder, "f"));
    (void)snprintf(left, sizeof left, "%s", in(folder, "f.77.0.partial"));
    (void)snprintf(link, sizeof link, "%s", in(folder, "f.77.1.partial"));
    kh_file_writer writer;
    kh_assert_ok(kh_file_begin(&writer, path, &err));
    kh_assert_ok(kh_file_put(&writer, "half", 4, &err));
    kh_partial_remove(writer.partial); /* somebody writes it */
    kh_assert_ok(kh_file_write(left, "", 0, &err));
    kh_partial_remove(left);
    assert_false(kh_file_exists(left));
    assert_int_equal(symlink(path, link), 0);
    kh_partial_remove(link);
    kh_assert_ok(kh_file_end(&writer, true, &err));
    assert_holds(path, "half", 4);
    assert_int_equal(unlink(link), 0); /* it was there */
    assert_int_equal(entries(folder), 1);
}

static void files_come_back_as_they_went(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("file");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s", in(folder, "f"));
    kh_assert_ok(kh_file_write(path, "a\0b", 3, &err));
    assert_holds(path, "a\0b", 3);
    kh_assert_ok(kh_file_write(path, "", 0, &err)); /* replaced */
    assert_holds(path, "", 0);
    assert_int_equal(entries(folder), 1);
    char *large = malloc(100000);
    memset(large, 'x', 100000);
    kh_assert_ok(kh_file_write(path, large, 100000, &err));
    assert_holds(path, large, 100000);
    free(large);
}

static void a_pipe_is_read_to_its_end(void **state) {
    (void)state;
    int ends[2];
    char path[64];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "hello", 5), 5);
    (void)close(ends[1]);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", ends[0]);
    assert_holds(path, "hello", 5);
    (void)close(ends[0]);
}

static void reading_knows_its_limits(void **state) {
    (void)state;
    kh_error err = {0};
    unsigned char *bytes;
    size_t count;
    const char *folder = kh_test_folder("limits");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s", in(folder, "f"));
    kh_assert_ok(kh_file_write(path, "12345", 5, &err));
    kh_assert_ok(kh_file_read(path, 5, &bytes, &count, &err));
    kh_free(bytes);
    kh_assert_fails(kh_file_read(path, 4, &bytes, &count, &err), KH_E_LIMIT, "limit of 4 bytes");
    assert_null(bytes);
    kh_assert_fails(kh_file_read("/dev/zero", 100000, &bytes, &count, &err), KH_E_LIMIT,
                    "/dev/zero");
    kh_assert_fails(kh_file_read(in(folder, "none"), 9, &bytes, &count, &err), KH_E_NOT_FOUND,
                    "No such file");
    kh_assert_fails(kh_file_read(folder, 9, &bytes, &count, &err), KH_E_IO, "directory");
    kh_assert_fails(kh_file_read("x\033[2J", 9, &bytes, &count, &err), KH_E_NOT_FOUND, "x\\x1b[2J");
}

/* Whatever goes wrong, the old file stays and nothing lies beside it. */
static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("failed");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s", in(folder, "f"));
    kh_assert_ok(kh_file_write(path, "old", 3, &err));
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 1000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    char large[5000] = {0};
    const kh_status status = kh_file_write(path, large, sizeof large, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)signal(SIGXFSZ, handler);
    kh_assert_fails(status, KH_E_IO, "cannot write");
    assert_holds(path, "old", 3);
    assert_int_equal(entries(folder), 1);
    kh_assert_fails(kh_file_write("/dev/full", "x", 1, &err), KH_E_IO, "No space left");
    kh_assert_fails(kh_file_write(folder, "x", 1, &err), KH_E_IO, "replace");
    kh_assert_fails(kh_file_write(in(folder, "none/f"), "x", 1, &err), KH_E_NOT_FOUND, "create");
    kh_assert_ok(kh_file_write("/dev/null", "x", 1, &err));
    assert_int_equal(entries(folder), 1);
}

static void files_can_be_written_in_pieces_or_given_up(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("pieces");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s", in(folder, "f"));
    kh_file_writer writer;
    kh_assert_ok(kh_file_begin(&writer, path, &err));
    kh_assert_ok(kh_file_put(&writer, "ab", 2, &err));
    assert_false(kh_file_exists(path)); /* nobody sees half a file */
    kh_assert_ok(kh_file_put(&writer, "c", 1, &err));
    kh_assert_ok(kh_file_end(&writer, true, &err));
    assert_holds(path, "abc", 3);
    kh_assert_ok(kh_file_begin(&writer, path, &err));
    kh_assert_ok(kh_file_put(&writer, "new", 3, &err));
    kh_assert_ok(kh_file_end(&writer, false, &err));
    assert_holds(path, "abc", 3);
    assert_int_equal(entries(folder), 1);
}

static void *write_again_and_again(void *user) {
    char text[4096];
    memset(text, 'a' + (int)(*(const char *)user % 26), sizeof text);
    kh_error err = {0};
    for (int i = 0; i < 20; i++)
        if (kh_file_write(room, text, sizeof text, &err)) return user;
    return NULL;
}

static void writers_at_the_same_time_leave_one_whole_file(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("threads");
    (void)in(folder, "f");
    pthread_t threads[4];
    static const char letters[] = "abcd";
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_again_and_again,
                                        (void *)(uintptr_t)&letters[i]),
                         0);
    for (size_t i = 0; i < 4; i++) {
        void *failed;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    unsigned char *bytes;
    size_t count;
    kh_assert_ok(kh_file_read(room, 1 << 20, &bytes, &count, &err));
    assert_int_equal(count, 4096);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(bytes[i], bytes[0]);
    kh_free(bytes);
    assert_int_equal(entries(folder), 1);
}

static void folders_are_made_with_their_parents(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("folders");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s", in(folder, "a/b//c/"));
    kh_assert_ok(kh_make_directories(path, &err));
    assert_true(kh_is_directory(path));
    kh_assert_ok(kh_make_directories(path, &err));
    kh_assert_ok(kh_file_write(in(folder, "file"), "x", 1, &err));
    assert_true(kh_file_exists(room));
    assert_false(kh_is_directory(room));
    kh_assert_fails(kh_make_directories(room, &err), KH_E_IO, "create folder");
    kh_assert_fails(kh_make_directories(in(folder, "file/x"), &err), KH_E_IO, "create folder");
}

static void paths_are_joined_and_split(void **state) {
    (void)state;
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *path = kh_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        kh_free(path);
    }
    assert_string_equal(kh_path_base("a/b/c.x"), "c.x");
    assert_string_equal(kh_path_base("c"), "c");
    assert_string_equal(kh_path_base("a/"), "");
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    const char *folder = kh_test_folder("memory");
    char path[1024];
    (void)snprintf(path, sizeof path, "%s", in(folder, "f"));
    char large[9000] = {1};
    for (size_t n = 1; n < 100; n++) {
        kh_error err = {0};
        unsigned char *bytes = NULL;
        size_t count;
        kh_alloc_fail_after(n);
        kh_status status = kh_file_write(path, large, sizeof large, &err);
        if (!status) status = kh_file_read(path, 1 << 20, &bytes, &count, &err);
        if (!status) status = kh_make_directories(folder, &err);
        const bool reached = kh_alloc_count() >= n;
        kh_alloc_fail_after(0);
        kh_free(bytes);
        assert_in_range(entries(folder), 0, 1);
        if (!reached) {
            assert_true(n > 3);
            return;
        }
        assert_int_equal(status, KH_E_MEMORY);
    }
    fail_msg("never ends");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_planted_link_is_not_written_through),
        cmocka_unit_test(files_come_back_as_they_went),
        cmocka_unit_test(only_leftovers_are_removed),
        cmocka_unit_test(a_pipe_is_read_to_its_end),
        cmocka_unit_test(reading_knows_its_limits),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(files_can_be_written_in_pieces_or_given_up),
        cmocka_unit_test(writers_at_the_same_time_leave_one_whole_file),
        cmocka_unit_test(folders_are_made_with_their_parents),
        cmocka_unit_test(paths_are_joined_and_split),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
