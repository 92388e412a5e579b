/* Whose results a folder holds. */
#define _DEFAULT_SOURCE
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"

#include <sys/stat.h>
#include <unistd.h>

static char room[2048];

static const char *in(const char *folder, const char *name) {
    if ((size_t)snprintf(room, sizeof room, "%s/%s", folder, name) >= sizeof room)
        fail_msg("too long: %s", folder);
    return room;
}

static void put(const char *folder, const char *name, const char *text) {
    kh_error err = {0};
    kh_assert_ok(kh_file_write(in(folder, name), text, strlen(text), &err));
}

static kh_status check(const char *folder, bool may_replace, kh_error *err) {
    return kh_folder_check(folder, "share", may_replace, false, err);
}

static void nothing_is_in_nobodys_way(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("empty");
    assert_true(kh_folder_is_empty(folder));
    kh_assert_ok(check(folder, false, &err));
    assert_true(kh_folder_is_empty(in(folder, "not/there")));
    kh_assert_ok(check(in(folder, "not/there"), false, &err));
    put(folder, "lost+found", ""); /* a file of that name is somebody's */
    kh_assert_fails(check(folder, false, &err), KH_E_ARG, "no results of keyhole share");
    assert_int_equal(unlink(in(folder, "lost+found")), 0);
    assert_int_equal(mkdir(in(folder, "lost+found"), 0700), 0); /* a fresh file system */
    assert_true(kh_folder_is_empty(folder));
    kh_assert_ok(check(folder, false, &err));
    put(folder, "file", "");
    assert_false(kh_folder_is_empty(folder));
    kh_assert_ok(check(in(folder, "file"), false, &err)); /* who makes it says why it cannot be */
}

static void files_of_somebody_are_refused_until_the_caller_knows_them(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("strangers");
    put(folder, ".hidden", "mine");
    kh_assert_fails(check(folder, true, &err), KH_E_ARG, "no results of keyhole share");
    kh_assert_ok(kh_folder_check(folder, "share", false, true, &err));
    put(folder, "manifest.json", "{\"analysis\": 7}");
    kh_assert_fails(check(folder, true, &err), KH_E_ARG, "not of keyhole");
    put(folder, "manifest.json", "{\"analysis\": \"sha");
    kh_assert_fails(kh_folder_check(folder, "share", true, true, &err), KH_E_ARG, "damaged");
}

static void complete_results_are_replaced_by_their_own_analysis_alone(void **state) {
    (void)state;
    kh_error err = {0};
    const char *folder = kh_test_folder("complete");
    put(folder, "manifest.json", "{\"analysis\": \"share\"}");
    kh_assert_fails(check(folder, false, &err), KH_E_ARG, "--overwrite");
    kh_assert_ok(check(folder, true, &err));
    put(folder, "manifest.json", "{\"analysis\": \"atlas\\u001b\"}");
    kh_assert_fails(check(folder, true, &err), KH_E_ARG, "keyhole atlas\\x1b;");
    kh_assert_ok(kh_folder_mark(folder, "share", &err)); /* which a manifest overrules */
    kh_assert_fails(check(folder, true, &err), KH_E_ARG, "keyhole atlas\\x1b;");
}

static void the_mark_names_its_analysis(void **state) {
    (void)state;
    kh_error err = {0};
    char deep[2048];
    (void)snprintf(deep, sizeof deep, "%s", in(kh_test_folder("marked"), "a/b"));
    kh_assert_ok(kh_folder_mark(deep, "share", &err));
    put(deep, "shared.csv", "half");
    assert_true(kh_folder_is_marked(deep, "share"));
    assert_false(kh_folder_is_marked(deep, "shar"));
    kh_assert_ok(check(deep, false, &err));
    kh_assert_fails(kh_folder_check(deep, "align", true, false, &err), KH_E_ARG,
                    "keyhole share that are not complete");
    kh_assert_ok(kh_folder_mark(deep, "align", &err)); /* over the old one, which is longer */
    assert_false(kh_folder_is_marked(deep, "share"));
    assert_true(kh_folder_is_marked(deep, "align"));
    put(deep, KH_FOLDER_MARK, ""); /* killed before its first word */
    kh_assert_ok(check(deep, false, &err));
    put(deep, KH_FOLDER_MARK, "business\n"); /* of somebody */
    kh_assert_fails(check(deep, false, &err), KH_E_ARG, "no results");
    kh_folder_unmark(deep);
    assert_false(kh_file_exists(in(deep, KH_FOLDER_MARK)));
}

/* In a folder that others may write to, the mark must not be written through a link of theirs. */
static void a_planted_link_is_not_followed(void **state) {
    (void)state;
    kh_error err = {0};
    char victim[2048];
    const char *folder = kh_test_folder("link");
    (void)snprintf(victim, sizeof victim, "%s", in(kh_test_folder("victim"), "file"));
    kh_assert_ok(kh_file_write(victim, "keep", 4, &err));
    assert_int_equal(symlink(victim, in(folder, KH_FOLDER_MARK)), 0);
    kh_assert_fails(kh_folder_mark(folder, "share", &err), KH_E_IO, "cannot create");
    struct stat info;
    assert_int_equal(stat(victim, &info), 0);
    assert_int_equal(info.st_size, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_in_nobodys_way),
        cmocka_unit_test(files_of_somebody_are_refused_until_the_caller_knows_them),
        cmocka_unit_test(complete_results_are_replaced_by_their_own_analysis_alone),
        cmocka_unit_test(the_mark_names_its_analysis),
        cmocka_unit_test(a_planted_link_is_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
