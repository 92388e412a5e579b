/* safetensors: every rule has a file that breaks it, odd but right files are read to the bit. */
#define _POSIX_C_SOURCE 200809L
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "io/tensors.h"
#include "support/table.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define REJECT KH_TEST_DATA "/reject/safetensors"
#define ACCEPT KH_TEST_DATA "/accept/safetensors"

static char path_room[4096];

static const char *in(const char *folder, const char *name) {
    (void)snprintf(path_room, sizeof path_room, "%s/%s", folder, name);
    return path_room;
}

static void put_file(const char *path, const void *bytes, size_t count) {
    kh_error err = {0};
    kh_assert_ok(kh_file_write(path, bytes, count, &err));
}

/* ---- files on disk -----------------------------------------------------------------------------
 */

static void every_broken_file_is_refused_with_its_rule(void **state) {
    (void)state;
    kh_test_table table = kh_test_table_read(REJECT "/expected.txt");
    assert_true(table.rows > 90);
    size_t wrong = 0;
    for (size_t i = 0; i < table.rows; i++) {
        char *const *row = table.cells[i];
        kh_error err = {0};
        kh_tensors *t = NULL;
        const kh_status status = kh_tensors_open(in(REJECT, row[0]), NULL, &t, &err);
        if (status && !t && !strcmp(kh_status_name(status), row[1]) && err.code == status &&
            strstr(err.text, row[2]) && strstr(err.text, row[0]))
            continue;
        print_error("%s: got %s '%s', expected %s with '%s'\n", row[0], kh_status_name(status),
                    err.text, row[1], row[2]);
        kh_tensors_close(t);
        wrong++;
    }
    assert_int_equal(wrong, 0);
    kh_test_table_clear(&table);
}

/* Bits, so that -0 and NaN count; any NaN equals any NaN. */
static bool same_float(float a, float b) {
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

static void check_values(const kh_tensors *t, const kh_tensor_info *info, char *values) {
    kh_error err = {0};
    float *got = kh_alloc_floats(info->count + 1);
    double *wide = kh_calloc(info->count + 1, sizeof *wide);
    got[info->count] = 42.0f;
    bool finite = true;
    kh_assert_ok(kh_tensors_read(t, info->name, true, got, info->count, &err));
    kh_assert_ok(kh_tensors_read_f64(t, info->name, true, wide, info->count, &err));
    assert_true(same_float(got[info->count], 42.0f));
    size_t i = 0;
    if (strcmp(values, "-") != 0)
        for (char *rest = NULL, *word = strtok_r(values, ",", &rest); word;
             word = strtok_r(NULL, ",", &rest), i++) {
            const float want = strtof(word, NULL);
            assert_true(i < info->count);
            finite = finite && isfinite(want);
            if (!same_float(got[i], want) || !same_float((float)wide[i], want))
                fail_msg("%s[%zu] is %a, %a; expected %s", info->name, i, (double)got[i], wide[i],
                         word);
        }
    assert_int_equal(i, info->count);
    if (finite)
        kh_assert_ok(kh_tensors_read(t, info->name, false, got, info->count, &err));
    else
        kh_assert_fails(kh_tensors_read(t, info->name, false, got, info->count, &err), KH_E_NUMERIC,
                        "element 0");
    kh_free(got);
    kh_free(wide);
}

static void check_shape(const kh_tensor_info *info, const char *text) {
    char shown[128] = "-";
    size_t at = 0;
    size_t count = 1;
    for (size_t i = 0; i < info->rank; i++) {
        at +=
            (size_t)snprintf(shown + at, sizeof shown - at, "%s%zu", i ? "x" : "", info->shape[i]);
        count *= info->shape[i];
    }
    assert_string_equal(shown, text);
    assert_int_equal(count, info->count);
}

static void odd_files_are_read_to_the_bit(void **state) {
    (void)state;
    kh_test_table table = kh_test_table_read(ACCEPT "/expected.txt");
    assert_true(table.rows > 30);
    for (size_t i = 0; i < table.rows; i++) {
        char *const *row = table.cells[i];
        kh_error err = {0};
        kh_tensors *t = NULL;
        kh_assert_ok(kh_tensors_open(in(ACCEPT, row[0]), NULL, &t, &err));
        if (strcmp(row[1], "-") == 0) {
            assert_int_equal(kh_tensors_count(t), 0);
            kh_tensors_close(t);
            continue;
        }
        kh_tensor_info info;
        if (!kh_tensors_find(t, row[1], &info)) fail_msg("%s: no '%s'", row[0], row[1]);
        assert_string_equal(info.dtype, row[2]);
        if (strcmp(row[4], "unsupported") != 0) {
            check_shape(&info, row[3]);
            check_values(t, &info, row[4]);
        } else {
            float out[8];
            kh_assert_fails(kh_tensors_read(t, row[1], false, out, info.count, &err),
                            KH_E_UNSUPPORTED, row[2]);
        }
        kh_tensors_close(t);
    }
    kh_test_table_clear(&table);
}

static void double_values_stay_exact(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t;
    double out[10];
    kh_assert_ok(kh_tensors_open(ACCEPT "/f64.safetensors", NULL, &t, &err));
    kh_assert_ok(kh_tensors_read_f64(t, "a", false, out, 10, &err));
    assert_true(out[2] == 0.1);
    assert_true(out[5] == 1.0 + 0x1p-24 + 0x1p-50);
    assert_true(out[7] == 0x1p-150);
    kh_tensors_close(t);
    kh_assert_ok(kh_tensors_open(ACCEPT "/f64_too_large.safetensors", NULL, &t, &err));
    kh_assert_ok(kh_tensors_read_f64(t, "a", false, out, 1, &err));
    assert_true(out[0] == 1e300);
    kh_tensors_close(t);
}

/* ---- all 65536 sixteen-bit patterns against arithmetic -----------------------------------------
 */

static double pattern_value(unsigned bits, int exponent_bits, int mantissa_bits) {
    const int mantissa = (int)(bits & ((1u << mantissa_bits) - 1));
    const int exponent = (int)((bits >> mantissa_bits) & ((1u << exponent_bits) - 1));
    const int top = (1 << exponent_bits) - 1, bias = (1 << (exponent_bits - 1)) - 1;
    const double sign = bits & 0x8000u ? -1.0 : 1.0;
    if (exponent == top) return mantissa ? (double)NAN : sign * (double)INFINITY;
    if (exponent == 0) return sign * ldexp(mantissa, 1 - bias - mantissa_bits);
    return sign * ldexp(mantissa + (1 << mantissa_bits), exponent - bias - mantissa_bits);
}

static void every_sixteen_bit_pattern(const char *dtype, int exponent_bits, int mantissa_bits) {
    enum { COUNT = 65536 };
    kh_error err = {0};
    char path[512], header[128];
    (void)snprintf(path, sizeof path, "%s/all.safetensors", kh_test_folder("patterns"));
    const int length = snprintf(header, sizeof header,
                                "{\"a\":{\"dtype\":\"%s\",\"shape\":[65536],"
                                "\"data_offsets\":[0,131072]}}",
                                dtype);
    unsigned char *bytes = kh_calloc(8 + 128 + 2 * COUNT, 1);
    bytes[0] = (unsigned char)length;
    memcpy(bytes + 8, header, (size_t)length);
    for (unsigned i = 0; i < COUNT; i++) {
        bytes[8 + (size_t)length + 2 * i] = (unsigned char)(i & 255);
        bytes[8 + (size_t)length + 2 * i + 1] = (unsigned char)(i >> 8);
    }
    put_file(path, bytes, 8 + (size_t)length + 2 * COUNT);
    kh_tensors *t;
    kh_assert_ok(kh_tensors_open(path, NULL, &t, &err));
    float *out = kh_alloc_floats(COUNT);
    kh_assert_ok(kh_tensors_read(t, "a", true, out, COUNT, &err));
    for (unsigned i = 0; i < COUNT; i++)
        if (!same_float(out[i], (float)pattern_value(i, exponent_bits, mantissa_bits)))
            fail_msg("%s %04x is %a", dtype, i, (double)out[i]);
    kh_free(out);
    kh_free(bytes);
    kh_tensors_close(t);
}

static void every_half_is_exact(void **state) {
    (void)state;
    every_sixteen_bit_pattern("F16", 5, 10);
    every_sixteen_bit_pattern("BF16", 8, 7);
}

/* ---- limits ------------------------------------------------------------------------------------
 */

static void caps_are_the_callers(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t;
    kh_limits limits = kh_limits_default();
    limits.max_tensors = 1;
    kh_assert_fails(kh_tensors_open(ACCEPT "/reversed_order.safetensors", &limits, &t, &err),
                    KH_E_LIMIT, "more than 1 tensors");
    limits = kh_limits_default();
    limits.max_header_bytes = 20;
    kh_assert_fails(kh_tensors_open(ACCEPT "/rank_0.safetensors", &limits, &t, &err), KH_E_LIMIT,
                    "the limit is 20");
    limits = kh_limits_default();
    limits.max_weights_bytes = 50;
    kh_assert_fails(kh_tensors_open(ACCEPT "/rank_0.safetensors", &limits, &t, &err), KH_E_LIMIT,
                    "the limit is 50");
}

static void a_header_above_100_million_bytes_is_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/wide.safetensors", kh_test_folder("wide"));
    const unsigned char length[8] = {0x01, 0xE1, 0xF5, 0x05, 0, 0, 0, 0}; /* 100000001 */
    put_file(path, length, 8);
    assert_int_equal(truncate(path, 100000100), 0); /* sparse */
    kh_assert_fails(kh_tensors_open(path, NULL, &t, &err), KH_E_LIMIT, "the limit is 100000000");
}

/* A header of brackets asks the JSON reader for far more memory than it has bytes. */
static void a_bracket_bomb_is_refused_before_it_is_built(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensor_header header;
    const size_t count = (size_t)8 << 20;
    char *text = kh_calloc(count, 1);
    const kh_limits limits = kh_limits_default();
    memcpy(text, "{\"a\":[", 6);
    for (size_t i = 6; i + 3 < count; i += 3)
        memcpy(text + i, "[],", 3);
    memcpy(text + count - 5, "[]]} ", 5);
    kh_assert_fails(kh_tensor_header_parse(text, count, 0, &limits, "bomb", &header, &err),
                    KH_E_LIMIT, "JSON values");
    kh_free(text);
}

static void no_truncation_is_accepted(void **state) {
    (void)state;
    kh_error err = {0};
    char path[512];
    (void)snprintf(path, sizeof path, "%s/cut.safetensors", kh_test_folder("cut"));
    unsigned char *bytes;
    size_t count;
    kh_assert_ok(kh_file_read(ACCEPT "/empty_between.safetensors", 4096, &bytes, &count, &err));
    assert_true(count > 256 && count <= 512);
    for (size_t cut = 0; cut < count; cut++) {
        const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        assert_int_equal(write(fd, bytes, cut), cut);
        (void)close(fd);
        kh_tensors *t = NULL;
        if (kh_tensors_open(path, NULL, &t, &err) != KH_E_FORMAT)
            fail_msg("%zu of %zu bytes: %s", cut, count, t ? "accepted" : err.text);
    }
    kh_free(bytes);
}

/* ---- the world changes -------------------------------------------------------------------------
 */

static void a_file_cut_after_opening_is_an_error(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t;
    char path[512], digest[65];
    (void)snprintf(path, sizeof path, "%s/shrinks.safetensors", kh_test_folder("shrinks"));
    float *data = kh_alloc_floats(100000);
    kh_test_fill(data, 100000, 1, 1.0f);
    const kh_tensor_out tensor = {.name = "a", .rank = 1, .shape = {100000}, .data = data};
    kh_assert_ok(kh_tensors_write(path, &tensor, 1, NULL, NULL, 0, &err));
    kh_assert_ok(kh_tensors_open(path, NULL, &t, &err));
    assert_int_equal(truncate(path, 4096), 0);
    kh_assert_fails(kh_tensors_read(t, "a", false, data, 100000, &err), KH_E_IO, "became shorter");
    kh_assert_fails(kh_tensors_sha256(t, digest, &err), KH_E_IO, "became shorter");
    kh_tensors_close(t);
    kh_free(data);
}

static void what_is_not_a_weight_file_is_named(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t = (kh_tensors *)path_room;
    const char *folder = kh_test_folder("odd");
    char path[512];
    kh_assert_fails(kh_tensors_open(in(folder, "none.safetensors"), NULL, &t, &err), KH_E_NOT_FOUND,
                    "none.safetensors': No such file");
    assert_null(t);
    kh_assert_fails(kh_tensors_open(folder, NULL, &t, &err), KH_E_IO, "is a folder");
    (void)snprintf(path, sizeof path, "%s/pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    kh_assert_fails(kh_tensors_open(path, NULL, &t, &err), KH_E_IO, "not a regular file");
    kh_assert_fails(kh_tensors_open("/dev/zero", NULL, &t, &err), KH_E_IO, "not a regular file");
    kh_tensors_close(NULL);
}

static void reading_checks_name_count_and_numbers(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/n.safetensors", kh_test_folder("numbers"));
    enum { COUNT = 300001 }; /* more than two pieces */
    float *data = kh_alloc_floats(COUNT);
    kh_test_fill(data, COUNT, 2, 1.0f);
    data[299999] = NAN;
    const kh_tensor_out tensors[] = {{.name = "bad", .rank = 1, .shape = {COUNT}, .data = data}};
    kh_assert_ok(kh_tensors_write(path, tensors, 1, NULL, NULL, 0, &err));
    kh_assert_ok(kh_tensors_open(path, NULL, &t, &err));
    float *out = kh_alloc_floats(COUNT);
    kh_assert_fails(kh_tensors_read(t, "bad", false, out, COUNT, &err), KH_E_NUMERIC,
                    "tensor 'bad': element 299999 of 300001 is NaN");
    kh_assert_ok(kh_tensors_read(t, "bad", true, out, COUNT, &err));
    assert_memory_equal(out, data, COUNT * sizeof *out);
    kh_assert_fails(kh_tensors_read(t, "bad", true, out, COUNT - 1, &err), KH_E_SHAPE,
                    "300001 elements, expected 300000");
    kh_assert_fails(kh_tensors_read(t, "b\033ad", true, out, COUNT, &err), KH_E_NOT_FOUND,
                    "no tensor 'b\\x1bad'");
    assert_false(kh_tensors_find(t, "ba", NULL));
    assert_true(kh_tensors_find(t, "bad", NULL));
    assert_null(kh_tensors_get(t, 1).name);
    kh_tensors_close(t);
    kh_free(out);
    kh_free(data);
}

/* ---- writing -----------------------------------------------------------------------------------
 */

static void written_files_are_read_back_and_never_differ(void **state) {
    (void)state;
    kh_error err = {0};
    const float a[6] = {1, 2, 3, 4, 5, -0.0f}, z = 7.5f;
    const kh_tensor_out tensors[] = {
        {.name = "z.\"q\"\\\n", .rank = 0, .data = &z},
        {.name = "empty", .rank = 2, .shape = {0, 9}, .data = NULL},
        {.name = "a", .rank = 2, .shape = {2, 3}, .data = a},
    };
    const char *const keys[] = {"format", "note"}, *const values[] = {"pt", "a \"b\" \t\xC3\xA9"};
    const char *folder = kh_test_folder("write");
    char first[512], second[512], digest[2][65];
    (void)snprintf(first, sizeof first, "%s/first.safetensors", folder);
    (void)snprintf(second, sizeof second, "%s/second.safetensors", folder);
    kh_assert_ok(kh_tensors_write(first, tensors, 3, keys, values, 2, &err));
    kh_assert_ok(kh_tensors_write(second, tensors, 3, keys, values, 2, &err));
    kh_tensors *t[2];
    kh_assert_ok(kh_tensors_open(first, NULL, &t[0], &err));
    kh_assert_ok(kh_tensors_open(second, NULL, &t[1], &err));
    for (size_t i = 0; i < 2; i++)
        kh_assert_ok(kh_tensors_sha256(t[i], digest[i], &err));
    assert_string_equal(digest[0], digest[1]);
    assert_int_equal(kh_tensors_count(t[0]), 3);
    assert_string_equal(kh_tensors_get(t[0], 0).name, "a");
    assert_string_equal(kh_tensors_get(t[0], 2).name, "z.\"q\"\\\n");
    assert_string_equal(kh_tensors_metadata(t[0], "note"), values[1]);
    assert_null(kh_tensors_metadata(t[0], "absent"));
    float got[6];
    kh_assert_ok(kh_tensors_read(t[0], "a", false, got, 6, &err));
    assert_memory_equal(got, a, sizeof a);
    kh_assert_ok(kh_tensors_read(t[0], tensors[0].name, false, got, 1, &err));
    assert_memory_equal(got, &z, sizeof z);
    unsigned char *bytes;
    size_t count;
    kh_assert_ok(kh_file_read(first, 4096, &bytes, &count, &err));
    assert_int_equal(bytes[0] % 8, 0); /* data is aligned */
    kh_free(bytes);
    for (size_t i = 0; i < 2; i++)
        kh_tensors_close(t[i]);
}

static void the_digest_is_that_of_the_bytes(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t;
    char path[512], digest[65];
    (void)snprintf(path, sizeof path, "%s/d.safetensors", kh_test_folder("digest"));
    put_file(path, "\2\0\0\0\0\0\0\0{}", 10);
    kh_assert_ok(kh_tensors_open(path, NULL, &t, &err));
    kh_assert_ok(kh_tensors_sha256(t, digest, &err));
    /* printf '\2\0\0\0\0\0\0\0{}' | sha256sum */
    assert_string_equal(digest, "411a485216e432ece6b9af94fa32154cf79a2a56d4f81266baa50063f45092bd");
    kh_tensors_close(t);
}

static void impossible_tensors_are_not_written(void **state) {
    (void)state;
    kh_error err = {0};
    const float one = 1;
    const char *folder = kh_test_folder("refuse");
    char path[512];
    (void)snprintf(path, sizeof path, "%s/x.safetensors", folder);
    kh_tensor_out bad[2] = {{.name = "a", .data = &one}, {.name = "a", .data = &one}};
    kh_assert_fails(kh_tensors_write(path, bad, 2, NULL, NULL, 0, &err), KH_E_ARG,
                    "two tensors are called 'a'");
    bad[0].name = "__metadata__";
    kh_assert_fails(kh_tensors_write(path, bad, 2, NULL, NULL, 0, &err), KH_E_ARG,
                    "'__metadata__'");
    bad[0].name = "";
    kh_assert_fails(kh_tensors_write(path, bad, 1, NULL, NULL, 0, &err), KH_E_ARG, "called ''");
    bad[0].name = "\xFF";
    kh_assert_fails(kh_tensors_write(path, bad, 1, NULL, NULL, 0, &err), KH_E_ARG, "\\xff");
    bad[0] = (kh_tensor_out){.name = "n", .rank = 1, .shape = {1}};
    kh_assert_fails(kh_tensors_write(path, bad, 1, NULL, NULL, 0, &err), KH_E_ARG, "no data");
    bad[0] = (kh_tensor_out){.name = "n", .rank = 9, .data = &one};
    kh_assert_fails(kh_tensors_write(path, bad, 1, NULL, NULL, 0, &err), KH_E_ARG, "dimensions");
    bad[0] = (kh_tensor_out){.name = "n", .rank = 2, .shape = {SIZE_MAX, 2}, .data = &one};
    kh_assert_fails(kh_tensors_write(path, bad, 1, NULL, NULL, 0, &err), KH_E_ARG, "overflows");
    const char *const twice[] = {"k", "k"};
    kh_assert_fails(kh_tensors_write(path, NULL, 0, twice, twice, 2, &err), KH_E_ARG, "repeats");
    assert_false(kh_file_exists(path));
    bad[0] = (kh_tensor_out){.name = "n", .rank = 0, .data = &one};
    kh_assert_fails(kh_tensors_write("/dev/full", bad, 1, NULL, NULL, 0, &err), KH_E_IO,
                    "No space left");
    (void)snprintf(path, sizeof path, "%s/none/x.safetensors", folder);
    kh_assert_fails(kh_tensors_write(path, bad, 1, NULL, NULL, 0, &err), KH_E_NOT_FOUND, "create");
}

/* ---- no memory ---------------------------------------------------------------------------------
 */

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/m.safetensors", kh_test_folder("memory"));
    const float data[4] = {1, 2, 3, 4};
    const kh_tensor_out tensors[] = {{.name = "a", .rank = 1, .shape = {4}, .data = data},
                                     {.name = "b", .rank = 1, .shape = {4}, .data = data}};
    const char *const key = "k";
    size_t failed = 0;
    for (size_t n = 1; n < 10000; n++) {
        kh_error err = {0};
        kh_tensors *t = NULL;
        double out[4];
        char digest[65];
        kh_alloc_fail_after(n);
        kh_status status = kh_tensors_write(path, tensors, 2, &key, &key, 1, &err);
        if (!status) status = kh_tensors_open(path, NULL, &t, &err);
        if (!status) status = kh_tensors_read_f64(t, "b", false, out, 4, &err);
        if (!status) status = kh_tensors_sha256(t, digest, &err);
        const bool reached = kh_alloc_count() >= n;
        kh_alloc_fail_after(0);
        kh_tensors_close(t);
        if (!reached) break;
        if (status != KH_E_MEMORY)
            fail_msg("request %zu failed: %s '%s'", n, kh_status_name(status), err.text);
        failed++;
    }
    assert_in_range(failed, 20, 9000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_broken_file_is_refused_with_its_rule),
        cmocka_unit_test(odd_files_are_read_to_the_bit),
        cmocka_unit_test(double_values_stay_exact),
        cmocka_unit_test(every_half_is_exact),
        cmocka_unit_test(caps_are_the_callers),
        cmocka_unit_test(a_header_above_100_million_bytes_is_refused),
        cmocka_unit_test(a_bracket_bomb_is_refused_before_it_is_built),
        cmocka_unit_test(no_truncation_is_accepted),
        cmocka_unit_test(a_file_cut_after_opening_is_an_error),
        cmocka_unit_test(what_is_not_a_weight_file_is_named),
        cmocka_unit_test(reading_checks_name_count_and_numbers),
        cmocka_unit_test(written_files_are_read_back_and_never_differ),
        cmocka_unit_test(the_digest_is_that_of_the_bytes),
        cmocka_unit_test(impossible_tensors_are_not_written),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
