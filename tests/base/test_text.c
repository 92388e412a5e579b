/* Strings: growing, escaping, parsing without forgiveness. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/text.h"

static void text_grows_and_stays_terminated(void **state) {
    (void)state;
    kh_text text = {0};
    for (size_t i = 0; i < 1000; i++)
        kh_text_addf(&text, "%zu,", i);
    kh_text_add_bytes(&text, "a\0b", 3);
    kh_text_add(&text, "");
    assert_false(text.failed);
    assert_int_equal(text.length, 10 * 2 + 90 * 3 + 900 * 4 + 3);
    assert_memory_equal(text.data, "0,1,2,3,", 8);
    assert_memory_equal(text.data + text.length - 7, "999,a\0b", 8);
    kh_text_clear(&text);
    assert_null(text.data);
    kh_text_clear(&text);
    kh_text_clear(NULL);
}

static void a_failed_text_stays_failed(void **state) {
    (void)state;
    kh_text text = {0};
    kh_text_add(&text, "kept");
    kh_alloc_fail_after(1);
    for (size_t i = 0; i < 200; i++)
        kh_text_add(&text, "x");
    kh_alloc_fail_after(0);
    assert_true(text.failed);
    const size_t length = text.length;
    kh_text_addf(&text, "%d", 1);
    assert_int_equal(text.length, length);
    kh_text_clear(&text);
}

static void foreign_names_are_shown_harmlessly(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"plain name", "plain name"},
        {"", ""},
        {"\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80", "\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80"},
        {"\x1B[2J", "\\x1b[2J"},
        {"a\r\nb\t", "a\\x0d\\x0ab\\x09"},
        {"it's", "it\\x27s"},
        {"\\x41", "\\x5cx41"},
        {"\x7F", "\\x7f"},
        {"\xC2\x9B", "\\xc2\\x9b"}, /* a C1 control: CSI in one character */
        {"a\xE2\x80\xAEgpj.exe", "a\\xe2\\x80\\xaegpj.exe"}, /* turns what follows around */
        {"\xE2\x81\xA6\xD8\x9C", "\\xe2\\x81\\xa6\\xd8\\x9c"},
        {"\xE2\x80\x93", "\xE2\x80\x93"}, /* a dash stays */
        {"\xFF\xC3", "\\xff\\xc3"},
        {"\xED\xA0\x80", "\\xed\\xa0\\x80"},
    };
    char out[KH_SHOWN_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(kh_shown(cases[i][0], strlen(cases[i][0]), out, sizeof out),
                            cases[i][1]);
    assert_string_equal(kh_shown("a\0b", 3, out, sizeof out), "a\\x00b");
}

static void edit_distances(void **state) {
    (void)state;
    assert_int_equal(kh_edit_distance("kitten", 6, "sitting", 7), 3);
    assert_int_equal(kh_edit_distance("", 0, "abc", 3), 3);
    assert_int_equal(kh_edit_distance("abc", 3, "", 0), 3);
    assert_int_equal(kh_edit_distance("flaw", 4, "lawn", 4), 2);
    char long_name[200];
    memset(long_name, 'x', sizeof long_name);
    assert_int_equal(kh_edit_distance(long_name, sizeof long_name, long_name, 70), 0);
}

static void long_names_end_in_dots_and_never_overrun(void **state) {
    (void)state;
    char name[600], room[64];
    memset(name, '\x1B', sizeof name);
    for (size_t bytes = 8; bytes <= 40; bytes++) {
        memset(room, '#', sizeof room);
        (void)kh_shown(name, sizeof name, room, bytes);
        assert_true(strlen(room) < bytes);
        assert_string_equal(room + strlen(room) - 3, "...");
        for (size_t i = bytes; i < sizeof room; i++)
            assert_int_equal(room[i], '#');
    }
}

/* Table 3-7 of the Unicode standard, its borders and one step beyond each. */
static void utf8_is_judged_by_the_standard(void **state) {
    (void)state;
    static const char *const good[] = {"",
                                       "\x7F",
                                       "\xC2\x80",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xEF\xBF\xBF",
                                       "\xF0\x90\x80\x80",
                                       "\xF4\x8F\xBF\xBF"};
    static const char *const bad[] = {"\x80",
                                      "\xBF",
                                      "\xC0\x80",
                                      "\xC1\xBF",
                                      "\xC2",
                                      "\xC2\x7F",
                                      "\xC2\xC0",
                                      "\xE0\x9F\xBF",
                                      "\xE0\xA0",
                                      "\xED\xA0\x80",
                                      "\xED\xBF\xBF",
                                      "\xF0\x8F\xBF\xBF",
                                      "\xF0\x90\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80\x80\x80",
                                      "\xF8\x88\x80\x80\x80",
                                      "\xFE",
                                      "\xFF",
                                      "a\xE2\x82"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!kh_utf8_valid(good[i], strlen(good[i]))) fail_msg("good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (kh_utf8_valid(bad[i], strlen(bad[i]))) fail_msg("bad %zu", i);
    assert_true(kh_utf8_valid("\0", 1));
}

static void numbers_have_no_leftovers(void **state) {
    (void)state;
    uint64_t u;
    size_t size;
    double d;
    assert_true(kh_parse_u64("18446744073709551615", &u) && u == UINT64_MAX);
    assert_true(kh_parse_u64("007", &u) && u == 7);
    assert_true(kh_parse_size("0", &size) && size == 0);
    static const char *const not_sizes[] = {"",
                                            " 1",
                                            "1 ",
                                            "+1",
                                            "-1",
                                            "-0",
                                            "1.0",
                                            "1e3",
                                            "0x",
                                            "a",
                                            "1\n",
                                            "18446744073709551616",
                                            "99999999999999999999999"};
    for (size_t i = 0; i < sizeof not_sizes / sizeof *not_sizes; i++) {
        if (kh_parse_u64(not_sizes[i], &u)) fail_msg("'%s' was taken", not_sizes[i]);
        if (kh_parse_size(not_sizes[i], &size)) fail_msg("'%s' was taken", not_sizes[i]);
    }
    assert_false(kh_parse_u64(NULL, &u));
    assert_true(kh_parse_double("-1.5e-3", &d) && d == -1.5e-3);
    assert_true(kh_parse_double("7", &d) && d == 7.0);
    static const char *const not_doubles[] = {"",    " 1",    "1 ",  "\t1",  "inf", "-inf",
                                              "nan", "1e999", "1,5", "1.5x", "e3"};
    for (size_t i = 0; i < sizeof not_doubles / sizeof *not_doubles; i++)
        if (kh_parse_double(not_doubles[i], &d)) fail_msg("'%s' was taken", not_doubles[i]);
    assert_false(kh_parse_double(NULL, &d));
}

static void beginnings_and_ends(void **state) {
    (void)state;
    assert_true(kh_starts_with("model.safetensors", "model"));
    assert_true(kh_starts_with("a", ""));
    assert_false(kh_starts_with("mod", "model"));
    assert_true(kh_ends_with("model.safetensors", ".safetensors"));
    assert_true(kh_ends_with("", ""));
    assert_false(kh_ends_with("tensors", ".safetensors"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_grows_and_stays_terminated),
        cmocka_unit_test(a_failed_text_stays_failed),
        cmocka_unit_test(foreign_names_are_shown_harmlessly),
        cmocka_unit_test(edit_distances),
        cmocka_unit_test(long_names_end_in_dots_and_never_overrun),
        cmocka_unit_test(utf8_is_judged_by_the_standard),
        cmocka_unit_test(numbers_have_no_leftovers),
        cmocka_unit_test(beginnings_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
