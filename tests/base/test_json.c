/* JSON from strangers: exactly one valid object within its limits, or a reason. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/json.h"

static const kh_json_limits wide = {.max_depth = 32, .max_values = 1000};

static kh_status parse(const char *text, size_t count, kh_json_limits limits, json_t **out,
                       kh_error *err) {
    /* a copy that ends where the text ends: a byte too far is seen by the sanitizers */
    char *copy = malloc(count ? count : 1);
    memcpy(copy, text, count);
    const kh_status status = kh_json_parse_object(copy, count, limits, "it.json", out, err);
    free(copy);
    return status;
}

static void malformed_texts_are_refused(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"", "not valid JSON"},
        {" ", "not valid JSON"},
        {"[]", "not an object"},
        {"1", "not valid JSON"},
        {"null", "not valid JSON"},
        {"{", "not valid JSON"},
        {"{\"a\":1", "column 6: '}' expected near end of file"}, /* its quotes stay quotes */
        {"{\"a\":\\'\x7F}", "near '\\x5c'"}, /* the rest is made fit for a terminal */
        {"}", "not valid JSON"},
        {"{}}", "not valid JSON"},
        {"{} {}", "not valid JSON"},
        {"{}\xC2\xA0", "not valid JSON"}, /* no-break space */
        {"\xEF\xBB\xBF{}", "not valid JSON"},
        {"{'a':1}", "not valid JSON"},
        {"{a:1}", "not valid JSON"},
        {"{\"a\":1,}", "not valid JSON"},
        {"{\"a\":[1,]}", "not valid JSON"},
        {"{\"a\":[1 2]}", "not valid JSON"},
        {"{\"a\":01}", "not valid JSON"},
        {"{\"a\":+1}", "not valid JSON"},
        {"{\"a\":.5}", "not valid JSON"},
        {"{\"a\":5.}", "not valid JSON"},
        {"{\"a\":1e}", "not valid JSON"},
        {"{\"a\":0x10}", "not valid JSON"},
        {"{\"a\":--1}", "not valid JSON"},
        {"{\"a\":NaN}", "not valid JSON"},
        {"{\"a\":Infinity}", "not valid JSON"},
        {"{\"a\":1e999}", "not valid JSON"},
        {"{\"a\":9223372036854775808}", "not valid JSON"},
        {"{\"a\":123456789012345678901234567890}", "not valid JSON"},
        {"{\"a\":True}", "not valid JSON"},
        {"{\"a\":tru}", "not valid JSON"},
        {"{\"a\":/* */1}", "not valid JSON"},
        {"{\"a\":\"\n\"}", "not valid JSON"},
        {"{\"a\":\"\x1B\"}", "not valid JSON"},
        {"{\"a\":\"\\x41\"}", "not valid JSON"},
        {"{\"a\":\"\\u12\"}", "not valid JSON"},
        {"{\"a\":\"\\ud800\"}", "not valid JSON"},
        {"{\"a\":\"\\ud800\\u0041\"}", "not valid JSON"},
        {"{\"a\":\"\\ud800\\ud800\"}", "not valid JSON"},
        {"{\"a\":\"\\udc00\"}", "not valid JSON"},
        {"{\"\\ud800\":1}", "not valid JSON"},
        {"{\"a\\u0000b\":1}", "not valid JSON"},
        {"{\"a\":\"\\u0000\"}", "not valid JSON"},
        {"{\"a\":1,\"a\":1}", "duplicate"},
        {"{\"a\":1,\"\\u0061\":1}", "duplicate"},
        {"{\"b\":[{\"a\":{},\"a\":{}}]}", "duplicate"},
        {"{\"\xC0\x80\":1}", "not valid UTF-8"},
        {"{\"\xED\xA0\x80\":1}", "not valid UTF-8"},
        {"{}\xFF", "not valid UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kh_error err = {0};
        json_t *root = (json_t *)&err;
        const kh_status status = parse(bad[i][0], strlen(bad[i][0]), wide, &root, &err);
        if (status != KH_E_FORMAT || root || !strstr(err.text, bad[i][1]) ||
            !strstr(err.text, "it.json"))
            fail_msg("%s: %s '%s'", bad[i][0], kh_status_name(status), err.text);
    }
}

static void a_nul_byte_is_refused_anywhere(void **state) {
    (void)state;
    kh_error err = {0};
    json_t *root;
    kh_assert_fails(parse("{}\0", 3, wide, &root, &err), KH_E_FORMAT, "NUL byte at offset 2");
    kh_assert_fails(parse("{\"a\0\":1}", 8, wide, &root, &err), KH_E_FORMAT,
                    "NUL byte at offset 3");
    kh_assert_fails(parse("{\"a\\\0\":1}", 9, wide, &root, &err), KH_E_FORMAT, "it.json");
}

static void valid_texts_keep_their_values(void **state) {
    (void)state;
    kh_error err = {0};
    json_t *root;
    const char *text = " \t\r\n{\"a\":[0,-0,9223372036854775807,-9223372036854775808,1.5,1e-3],"
                       "\"\\u00e9\\ud83d\\ude00\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"\":{},"
                       "\"t\":true,\"n\":null} \n";
    kh_assert_ok(parse(text, strlen(text), wide, &root, &err));
    const json_t *a = json_object_get(root, "a");
    assert_int_equal(json_array_size(a), 6);
    assert_true(json_integer_value(json_array_get(a, 2)) == INT64_MAX);
    assert_true(json_integer_value(json_array_get(a, 3)) == INT64_MIN);
    assert_true(json_real_value(json_array_get(a, 4)) == 1.5);
    assert_string_equal(json_string_value(json_object_get(root, "\xC3\xA9\xF0\x9F\x98\x80")),
                        "\"\\/\b\f\n\r\t");
    assert_true(json_is_object(json_object_get(root, "")));
    json_decref(root);
}

static void depth_and_size_are_limited_before_parsing(void **state) {
    (void)state;
    kh_error err = {0};
    json_t *root;
    const kh_json_limits tight = {.max_depth = 3, .max_values = 6};
    kh_assert_ok(parse("{\"a\":{\"b\":[]}}", 14, tight, &root, &err));
    json_decref(root);
    kh_assert_fails(parse("{\"a\":{\"b\":[[]]}}", 16, tight, &root, &err), KH_E_LIMIT,
                    "deeper than 3");
    kh_assert_ok(parse("{\"a\":[1,2,3,4,5]}", 17, tight, &root, &err));
    json_decref(root);
    kh_assert_fails(parse("{\"a\":[1,2,3,4,5,6]}", 19, tight, &root, &err), KH_E_LIMIT,
                    "more than 6 JSON values");
    /* brackets and commas inside strings do not count, escaped quotes do not end them */
    const char *text = "{\"[[[[{{{{,,,,,,,\\\"[[[[\":\",,,,,,,,\\\\\"}";
    kh_assert_ok(parse(text, strlen(text), tight, &root, &err));
    json_decref(root);
    char deep[200001];
    memset(deep, '[', sizeof deep);
    kh_assert_fails(parse(deep, sizeof deep, wide, &root, &err), KH_E_LIMIT, "deeper than 32");
}

static void sizes_are_plain_integers(void **state) {
    (void)state;
    kh_error err = {0};
    json_t *root;
    const char *text = "{\"a\":[0,7,9223372036854775807],\"b\":[-1,1.0,1e3,\"1\",true,null,[],{}]}";
    kh_assert_ok(parse(text, strlen(text), wide, &root, &err));
    static const size_t want[] = {0, 7, INT64_MAX};
    size_t i, size = 42;
    json_t *value;
    json_array_foreach(json_object_get(root, "a"), i, value) {
        assert_true(kh_json_size(value, &size));
        assert_true(size == want[i]);
    }
    json_array_foreach(json_object_get(root, "b"), i, value)
        assert_false(kh_json_size(value, &size));
    assert_false(kh_json_size(NULL, &size));
    json_decref(root);
}

static void messages_do_not_carry_control_characters(void **state) {
    (void)state;
    kh_error err = {0};
    json_t *root;
    const char *text = "{\"a\":1,\"\\u001b[2J\":1 \"\\u001b[2J\"}";
    kh_assert_fails(parse(text, strlen(text), wide, &root, &err), KH_E_FORMAT, "not valid JSON");
    for (const char *p = err.text; *p; p++)
        assert_true((unsigned char)*p >= 0x20);
    text = "{\"a\":\x1B]0;x\x07}";
    kh_assert_fails(parse(text, strlen(text), wide, &root, &err), KH_E_FORMAT, "not valid JSON");
    for (const char *p = err.text; *p; p++)
        assert_true((unsigned char)*p >= 0x20);
}

/* Jansson drops a character of a token when its buffer cannot grow; nobody may see that token. */
static void out_of_memory_is_never_a_wrong_value(void **state) {
    (void)state;
    const char *text =
        "{\"a_name_of_more_than_sixteen_bytes\":\"a text of more than sixteen bytes\","
        "\"b\":[1,2.5,{\"c\":\"d\"}]}";
    size_t failed = 0;
    for (size_t n = 1; n < 1000; n++) {
        kh_error err = {0};
        json_t *root = NULL;
        kh_alloc_fail_after(n);
        const kh_status status =
            kh_json_parse_object(text, strlen(text), wide, "it.json", &root, &err);
        const bool reached = kh_alloc_count() >= n;
        kh_alloc_fail_after(0);
        json_decref(root);
        if (!reached) break;
        if (status != KH_E_MEMORY) fail_msg("request %zu: %s", n, kh_status_name(status));
        failed++;
    }
    assert_in_range(failed, 10, 900);
}

static void any_text_becomes_a_string(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", ""}, {"it's \xC3\xBC", "it's \xC3\xBC"}, {"a\xFF'", "a\\xff\\x27"}, {"\xFF", "\\xff"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *text = kh_json_text(cases[i][0]);
        assert_string_equal(json_string_value(text), cases[i][1]);
        json_decref(text);
    }
    char long_name[300] = "";
    memset(long_name, '\xFE', sizeof long_name - 1);
    json_t *text = kh_json_text(long_name), *null = kh_json_text(NULL);
    assert_int_equal(json_string_length(text), 4 * (sizeof long_name - 1));
    assert_true(json_is_null(null));
    json_decref(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(malformed_texts_are_refused),
        cmocka_unit_test(a_nul_byte_is_refused_anywhere),
        cmocka_unit_test(valid_texts_keep_their_values),
        cmocka_unit_test(depth_and_size_are_limited_before_parsing),
        cmocka_unit_test(sizes_are_plain_integers),
        cmocka_unit_test(messages_do_not_carry_control_characters),
        cmocka_unit_test(out_of_memory_is_never_a_wrong_value),
        cmocka_unit_test(any_text_becomes_a_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
