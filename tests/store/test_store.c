/* Result files: what is written reads back, and what fails leaves nothing. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/partial.h"
#include "keyhole/store.h"

#include <dirent.h>
#include <float.h>
#include <jansson.h>
#include <locale.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *folder;

static char *in_folder(const char *name) {
    static char path[4][512];
    static size_t at;
    char *p = path[at++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static char *contents(const char *path, size_t *bytes) {
    kh_error err = {0};
    unsigned char *data;
    kh_assert_ok(kh_file_read(path, 1 << 20, &data, bytes, &err));
    return (char *)data;
}

static void assert_contents(const char *path, const char *want) {
    size_t bytes;
    char *got = contents(path, &bytes);
    assert_string_equal(got, want);
    assert_int_equal(bytes, strlen(want));
    kh_free(got);
}

static size_t files_in_folder(void) {
    DIR *dir = opendir(folder);
    size_t count = 0;
    assert_non_null(dir);
    for (const struct dirent *e; (e = readdir(dir)) != NULL;)
        count += e->d_name[0] != '.';
    (void)closedir(dir);
    return count;
}

static int fresh_folder(void **state) {
    (void)state;
    folder = kh_test_folder("store");
    return 0;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static void every_number_reads_back(void **state) {
    (void)state;
    const double values[] = {0.0, -0.0, 0.1, 1.0 / 3, 1e-300, DBL_MIN, DBL_MAX, 4.9e-324, -2.5e17};
    char text[32];
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_true(strtod(kh_store_f64(values[i], text, sizeof text), NULL) == values[i]);
        const float f = (float)values[i];
        assert_true(strtof(kh_store_f32(f, text, sizeof text), NULL) == f);
    }
    uint32_t bits = 1;
    for (int i = 0; i < 20000; i++) {
        float f;
        bits = bits * 1664525u + 1013904223u;
        memcpy(&f, &bits, sizeof f);
        if (!isfinite(f)) continue;
        assert_true(strtof(kh_store_f32(f, text, sizeof text), NULL) == f);
    }
    assert_string_equal(kh_store_f32(NAN, text, sizeof text), "nan");
    assert_string_equal(kh_store_f64((double)-INFINITY, text, sizeof text), "-inf");
    assert_string_equal(kh_store_f32(0.5f, text, sizeof text), "0.5");
    assert_string_equal(kh_store_f64(-1.5e-7, text, sizeof text), "-1.4999999999999999e-07");
}

static void numbers_have_a_point_in_every_locale(void **state) {
    (void)state;
    char text[32];
    const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE"};
    bool has_comma = false;
    for (size_t i = 0; i < 3 && !has_comma; i++)
        has_comma = setlocale(LC_NUMERIC, commas[i]) != NULL;
    if (!has_comma) skip();
    kh_store_f64(1.5, text, sizeof text);
    (void)setlocale(LC_NUMERIC, "C");
    assert_string_equal(text, "1.5");
}

/* ---- CSV ----------------------------------------------------------------------------------- */

static void cells_are_quoted_as_rfc_4180_says(void **state) {
    (void)state;
    kh_error err = {0};
    const char *const columns[] = {"class", "name", "score"};
    const char *path = in_folder("a.csv");
    kh_csv *csv;
    kh_assert_ok(kh_store_csv_open(path, columns, 3, &csv, &err));
    kh_store_csv_size(csv, 0);
    kh_store_csv_text(csv, "tench, Tinca tinca");
    kh_store_csv_f32(csv, 0.1f);
    kh_store_csv_end(csv);
    kh_store_csv_i64(csv, INT64_MIN);
    kh_store_csv_text(csv, "say \"keyhole\"\n");
    kh_store_csv_f64(csv, 0.1);
    kh_store_csv_end(csv);
    kh_store_csv_size(csv, SIZE_MAX);
    kh_store_csv_text(csv, NULL);
    kh_store_csv_f32(csv, NAN);
    kh_store_csv_end(csv);
    kh_assert_ok(kh_store_csv_close(csv, &err));
    assert_contents(path, "class,name,score\n"
                          "0,\"tench, Tinca tinca\",0.100000001\n"
                          "-9223372036854775808,\"say \"\"keyhole\"\"\n\",0.10000000000000001\n"
                          "18446744073709551615,,nan\n");
    assert_int_equal(files_in_folder(), 1);
}

static void an_empty_cell_alone_is_still_a_row(void **state) {
    (void)state;
    kh_error err = {0};
    const char *const columns[] = {"only"};
    const char *path = in_folder("one.csv");
    kh_csv *csv;
    kh_assert_ok(kh_store_csv_open(path, columns, 1, &csv, &err));
    kh_store_csv_text(csv, "");
    kh_store_csv_end(csv);
    kh_assert_ok(kh_store_csv_close(csv, &err));
    assert_contents(path, "only\n\"\"\n");
}

static void a_row_of_the_wrong_length_is_refused_and_leaves_the_old_file(void **state) {
    (void)state;
    kh_error err = {0};
    const char *const columns[] = {"a", "b"};
    const char *path = in_folder("old.csv");
    kh_csv *csv;
    kh_assert_ok(kh_file_write(path, "old\n", 4, &err));
    kh_assert_ok(kh_store_csv_open(path, columns, 2, &csv, &err));
    kh_store_csv_size(csv, 1);
    kh_store_csv_end(csv);
    kh_store_csv_size(csv, 1);
    kh_store_csv_size(csv, 2);
    kh_store_csv_end(csv);
    kh_assert_fails(kh_store_csv_close(csv, &err), KH_E_SHAPE,
                    "row 0 of a table has 1 cells for 2");
    assert_contents(path, "old\n");
    kh_assert_ok(kh_store_csv_open(path, columns, 2, &csv, &err));
    kh_store_csv_size(csv, 1);
    kh_assert_fails(kh_store_csv_close(csv, &err), KH_E_SHAPE, "not ended");
    kh_assert_ok(kh_store_csv_open(path, columns, 2, &csv, &err));
    kh_store_csv_abort(csv);
    assert_contents(path, "old\n");
    assert_int_equal(files_in_folder(), 1);
    kh_assert_fails(kh_store_csv_open(path, columns, 0, &csv, &err), KH_E_ARG, "one column");
    assert_null(csv);
}

static void a_large_table_passes_the_buffer(void **state) {
    (void)state;
    kh_error err = {0};
    const char *const columns[] = {"i", "pad"};
    const char *path = in_folder("large.csv");
    char pad[200];
    memset(pad, 'x', sizeof pad);
    pad[sizeof pad - 1] = '\0';
    kh_csv *csv;
    kh_assert_ok(kh_store_csv_open(path, columns, 2, &csv, &err));
    for (size_t i = 0; i < 1000; i++) {
        kh_store_csv_size(csv, i);
        kh_store_csv_text(csv, pad);
        kh_store_csv_end(csv);
    }
    kh_assert_ok(kh_store_csv_close(csv, &err));
    size_t bytes, lines = 0;
    char *text = contents(path, &bytes);
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    assert_int_equal(lines, 1001);
    assert_int_equal(bytes, 6 + 10 * 202 + 90 * 203 + 900 * 204 - 1000 + 1000);
    kh_free(text);
}

static void a_full_disk_is_reported(void **state) {
    (void)state;
    kh_error err = {0};
    const char *const columns[] = {"a"};
    const float zeros[64] = {0};
    const size_t shape[] = {64};
    kh_csv *csv;
    kh_manifest *m;
    kh_assert_ok(kh_store_csv_open("/dev/full", columns, 1, &csv, &err));
    kh_store_csv_size(csv, 1);
    kh_store_csv_end(csv);
    kh_assert_fails(kh_store_csv_close(csv, &err), KH_E_IO, "No space left");
    kh_assert_fails(kh_store_npy("/dev/full", KH_NPY_F32, shape, 1, zeros, &err), KH_E_IO,
                    "No space left");
    kh_assert_ok(kh_store_manifest_create("test", &m, &err));
    kh_assert_fails(kh_store_manifest_write(m, "/dev/full", &err), KH_E_IO, "No space left");
    kh_store_manifest_free(m);
    kh_assert_fails(kh_store_csv_open(in_folder("no/such/x.csv"), columns, 1, &csv, &err),
                    KH_E_NOT_FOUND, "cannot create");
}

/* ---- npy ----------------------------------------------------------------------------------- */

static void an_array_has_numpys_bytes(void **state) {
    (void)state;
    kh_error err = {0};
    const float values[6] = {0, 1, 2, 3, 4, -0.5f};
    const size_t shape[] = {2, 3};
    const char *path = in_folder("a.npy");
    kh_assert_ok(kh_store_npy(path, KH_NPY_F32, shape, 2, values, &err));
    /* as numpy 1.24 writes np.save(..., np.array([[0, 1, 2], [3, 4, -.5]], '<f4')) */
    const char head[] = "\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, "
                        "'shape': (2, 3), }";
    size_t bytes;
    char *got = contents(path, &bytes);
    assert_int_equal(bytes, 128 + 24);
    assert_memory_equal(got, head, sizeof head - 1);
    for (size_t i = sizeof head - 1; i < 127; i++)
        assert_int_equal(got[i], ' ');
    assert_int_equal(got[127], '\n');
    assert_memory_equal(got + 128,
                        "\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40\0\0\0\xbf", 24);
    kh_free(got);
}

static void assert_described(kh_npy_type type, const size_t *shape, size_t rank, const char *want,
                             size_t data_bytes) {
    kh_error err = {0};
    const char *path = in_folder("t.npy");
    const unsigned char zeros[64] = {0};
    kh_assert_ok(kh_store_npy(path, type, shape, rank, zeros, &err));
    size_t bytes;
    char *got = contents(path, &bytes);
    assert_memory_equal(got + 10, want, strlen(want));
    assert_int_equal(bytes % 64, data_bytes % 64);
    assert_true(bytes >= 64 + data_bytes);
    kh_free(got);
}

static void every_type_and_rank_has_its_header(void **state) {
    (void)state;
    const size_t shape[] = {1, 1, 2, 1, 1, 1, 1, 1, 1};
    assert_described(KH_NPY_F64, shape, 0,
                     "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 8);
    assert_described(KH_NPY_I32, shape + 2, 1,
                     "{'descr': '<i4', 'fortran_order': False, 'shape': (2,), }", 8);
    assert_described(KH_NPY_I64, shape + 1, 2,
                     "{'descr': '<i8', 'fortran_order': False, 'shape': (1, 2), }", 16);
    assert_described(KH_NPY_U8, shape, 3,
                     "{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 2), }", 2);
    const size_t empty[] = {0, 4};
    assert_described(KH_NPY_F32, empty, 2,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4), }", 0);
    kh_error err = {0};
    kh_npy *npy;
    const size_t huge[] = {SIZE_MAX, 2}, wide[] = {SIZE_MAX / 2};
    kh_assert_fails(kh_store_npy_open(in_folder("x.npy"), KH_NPY_F32, shape, 9, &npy, &err),
                    KH_E_ARG, "rank 9");
    kh_assert_fails(kh_store_npy_open(in_folder("x.npy"), KH_NPY_U8, huge, 2, &npy, &err),
                    KH_E_LIMIT, "overflows");
    kh_assert_fails(kh_store_npy_open(in_folder("x.npy"), KH_NPY_F64, wide, 1, &npy, &err),
                    KH_E_LIMIT, "overflows");
}

static void assert_same_file(const char *left, const char *right) {
    size_t a_bytes, b_bytes;
    char *a = contents(left, &a_bytes), *b = contents(right, &b_bytes);
    assert_int_equal(a_bytes, b_bytes);
    assert_memory_equal(a, b, a_bytes);
    kh_free(a);
    kh_free(b);
}

static void an_array_in_pieces_is_the_same_file(void **state) {
    (void)state;
    kh_error err = {0};
    int32_t values[1000];
    for (int i = 0; i < 1000; i++)
        values[i] = i * i - 7;
    const size_t shape[] = {10, 100};
    char *whole = in_folder("whole.npy"), *pieces = in_folder("pieces.npy");
    kh_npy *npy;
    kh_assert_ok(kh_store_npy(whole, KH_NPY_I32, shape, 2, values, &err));
    kh_assert_ok(kh_store_npy_open(pieces, KH_NPY_I32, shape, 2, &npy, &err));
    for (size_t at = 0; at < 1000; at += 125)
        kh_store_npy_add(npy, values + at, 125);
    kh_assert_ok(kh_store_npy_close(npy, &err));
    assert_same_file(whole, pieces);
}

static void too_few_or_too_many_elements_leave_nothing(void **state) {
    (void)state;
    kh_error err = {0};
    const uint8_t values[5] = {0};
    const size_t shape[] = {4};
    const char *path = in_folder("short.npy");
    kh_npy *npy;
    kh_assert_ok(kh_store_npy_open(path, KH_NPY_U8, shape, 1, &npy, &err));
    kh_store_npy_add(npy, values, 3);
    kh_assert_fails(kh_store_npy_close(npy, &err), KH_E_SHAPE, "3 of 4 elements");
    kh_assert_ok(kh_store_npy_open(path, KH_NPY_U8, shape, 1, &npy, &err));
    kh_store_npy_add(npy, values, 5);
    kh_assert_fails(kh_store_npy_close(npy, &err), KH_E_SHAPE, "more than the promised 4");
    kh_assert_ok(kh_store_npy_open(path, KH_NPY_U8, shape, 1, &npy, &err));
    kh_store_npy_abort(npy);
    kh_store_npy_abort(NULL);
    assert_int_equal(files_in_folder(), 0);
}

static void bytes_come_in_any_order(void **state) {
    (void)state;
    kh_error err = {0};
    const size_t shape[] = {3, 2};
    const uint8_t values[] = {1, 2, 0, 0, 5, 6};
    char *whole = in_folder("whole.npy"), *parts = in_folder("parts.npy");
    kh_npy_bytes *npy;
    kh_assert_ok(kh_store_npy(whole, KH_NPY_U8, shape, 2, values, &err));
    kh_assert_ok(kh_store_npy_bytes_open(parts, shape, 2, &npy, &err));
    kh_store_npy_bytes_put(npy, 4, values + 4, 2);
    kh_store_npy_bytes_put(npy, 0, values, 2); /* 2 and 3 never come: they are 0 */
    kh_assert_ok(kh_store_npy_bytes_close(npy, &err));
    assert_same_file(whole, parts);
    kh_assert_ok(kh_store_npy_bytes_open(parts, shape, 2, &npy, &err));
    kh_store_npy_bytes_put(npy, 5, values, 2);
    kh_assert_fails(kh_store_npy_bytes_close(npy, &err), KH_E_SHAPE, "bytes 5 to 7 of an array of");
    assert_same_file(whole, parts);
    kh_store_npy_bytes_abort(NULL);
}

/* ---- manifest ------------------------------------------------------------------------------ */

static void a_manifest_nests_and_keeps_its_order(void **state) {
    (void)state;
    kh_error err = {0};
    kh_manifest *m;
    const char *path = in_folder("manifest.json");
    const char *const command[] = {"keyhole", "align", "bad \xff byte"};
    const double mean[] = {0.5, 0.25, (double)NAN};
    const size_t shape[] = {12, 10, 1000};
    kh_assert_ok(kh_store_manifest_create("align", &m, &err));
    kh_store_manifest_texts(m, "command", command, 3);
    kh_store_manifest_text(m, "model.tag", "augreg_in21k_ft_in1k");
    kh_store_manifest_size(m, "model.blocks", 12);
    kh_store_manifest_bool(m, "one_based", false);
    kh_store_manifest_f64s(m, "mean", mean, 3);
    kh_store_manifest_i64(m, "offset", -3);
    kh_store_manifest_text(m, "nothing", NULL);
    kh_store_manifest_file(m, "topk_block.npy", shape, 3, "units [blocks, k, classes]");
    kh_store_manifest_file(m, "fig3.csv", NULL, 0, "blocks of the top units");
    kh_assert_ok(kh_store_manifest_write(m, path, &err));
    assert_contents(path, "{\n"
                          "  \"format\": 1,\n"
                          "  \"keyhole\": \"" KH_VERSION "\",\n"
                          "  \"analysis\": \"align\",\n"
                          "  \"command\": [\n    \"keyhole\",\n    \"align\",\n"
                          "    \"bad \\\\xff byte\"\n  ],\n"
                          "  \"model\": {\n    \"tag\": \"augreg_in21k_ft_in1k\",\n"
                          "    \"blocks\": 12\n  },\n"
                          "  \"one_based\": false,\n"
                          "  \"mean\": [\n    0.5,\n    0.25,\n    null\n  ],\n"
                          "  \"offset\": -3,\n"
                          "  \"nothing\": null,\n"
                          "  \"files\": [\n"
                          "    {\n      \"name\": \"topk_block.npy\",\n"
                          "      \"shape\": [\n        12,\n        10,\n        1000\n      ],\n"
                          "      \"meaning\": \"units [blocks, k, classes]\"\n    },\n"
                          "    {\n      \"name\": \"fig3.csv\",\n"
                          "      \"meaning\": \"blocks of the top units\"\n    }\n"
                          "  ]\n"
                          "}\n");
    kh_store_manifest_size(m, "format.deeper", 1); /* format is a number, not an object */
    kh_assert_fails(kh_store_manifest_write(m, path, &err), KH_E_ARG, "format.deeper");
    kh_store_manifest_free(m);
    kh_store_manifest_free(NULL);
}

static void a_manifest_describes_the_model(void **state) {
    (void)state;
    kh_error err = {0};
    kh_manifest *m;
    kh_model_info info = {.layout = "timm",
                          .tag = "augreg",
                          .blocks = 12,
                          .neurons = 3072,
                          .norm_eps = 1e-6,
                          .pool = KH_POOL_AVG_FC,
                          .activation = "gelu"};
    info.preprocess = (kh_preprocess){.preset = "squash224",
                                      .crop = KH_CROP_HF,
                                      .filter = KH_FILTER_BILINEAR,
                                      .std = {0.5, 0.5, 0.5},
                                      .rescale_factor = 1.0 / 255,
                                      .shortest_edge = 224};
    const char *path = in_folder("manifest.json");
    kh_assert_ok(kh_store_manifest_create("align", &m, &err));
    kh_store_manifest_model(m, &info);
    kh_assert_ok(kh_store_manifest_write(m, path, &err));
    kh_store_manifest_free(m);
    size_t bytes;
    char *text = contents(path, &bytes);
    json_t *root = json_loadb(text, bytes, 0, NULL);
    const char *tag, *pool, *filter;
    double eps, factor;
    json_int_t neurons, edge;
    assert_non_null(root);
    assert_int_equal(json_unpack(root, "{s:{s:s,s:s,s:f,s:I},s:{s:s,s:f,s:I}}", "model", "tag",
                                 &tag, "pool", &pool, "norm_eps", &eps, "neurons", &neurons,
                                 "preprocess", "filter", &filter, "rescale_factor", &factor,
                                 "shortest_edge", &edge),
                     0);
    assert_string_equal(tag, "augreg");
    assert_string_equal(pool, "avg_fc");
    assert_string_equal(filter, "bilinear");
    assert_true(eps == 1e-6);
    assert_true(factor == 1.0 / 255);
    assert_int_equal(neurons, 3072);
    assert_int_equal(edge, 224);
    json_decref(root);
    kh_free(text);
}

/* ---- memory -------------------------------------------------------------------------------- */

static kh_status write_everything(kh_error *err) {
    const char *const columns[] = {"a", "b"};
    const float values[4] = {0};
    const size_t shape[] = {2, 2};
    kh_csv *csv;
    kh_manifest *m;
    kh_status status = kh_store_csv_open(in_folder("m.csv"), columns, 2, &csv, err);
    if (status) return status;
    kh_store_csv_size(csv, 1);
    kh_store_csv_text(csv, "x,y");
    kh_store_csv_end(csv);
    status = kh_store_csv_close(csv, err);
    if (status) return status;
    status = kh_store_npy(in_folder("m.npy"), KH_NPY_F32, shape, 2, values, err);
    if (status) return status;
    status = kh_store_manifest_create("test", &m, err);
    if (status) return status;
    status = kh_store_manifest_write(m, in_folder("m.json"), err);
    kh_store_manifest_free(m);
    return status;
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    kh_error err = {0};
    kh_alloc_fail_after(0);
    kh_assert_ok(write_everything(&err));
    const size_t total = kh_alloc_count();
    assert_true(total > 5);
    for (size_t n = 1; n <= total; n++) {
        err = (kh_error){0};
        kh_alloc_fail_after(n);
        const kh_status status = write_everything(&err);
        kh_alloc_fail_after(0);
        if (status != KH_E_MEMORY || err.code != KH_E_MEMORY)
            fail_msg("allocation %zu of %zu: %s", n, total, kh_status_name(status));
        DIR *dir = opendir(folder);
        for (const struct dirent *e; (e = readdir(dir)) != NULL;)
            assert_null(strstr(e->d_name, "partial"));
        (void)closedir(dir);
    }
}

/* In another process: one that opens and closes the file itself loses SQLite's locks on it. */
static void clear_up(const char *partial) {
    int how;
    (void)fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kh_partial_remove(partial);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
}

static void a_database_that_is_being_written_is_nobodys_leftover(void **state) {
    (void)state;
    kh_error err = {0};
    kh_db *db;
    char path[4096], partial[4200];
    double value = 0;
    (void)snprintf(path, sizeof path, "%s/run.sqlite", kh_test_folder("leftover"));
    (void)snprintf(partial, sizeof partial, "%s.%ld.partial", path, (long)getpid());
    kh_assert_ok(kh_store_db_create(path, &db, &err));
    clear_up(partial);
    kh_store_db_table(db, "one", "value:i");
    kh_store_db_integer(db, 7);
    kh_store_db_row(db);
    clear_up(partial);
    kh_assert_ok(kh_store_db_close(db, &err));
    kh_assert_ok(kh_store_db_number(path, "SELECT value FROM one", 0, &value, &err));
    assert_int_equal((int)value, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_database_that_is_being_written_is_nobodys_leftover),
        cmocka_unit_test(every_number_reads_back),
        cmocka_unit_test(numbers_have_a_point_in_every_locale),
        cmocka_unit_test_setup(cells_are_quoted_as_rfc_4180_says, fresh_folder),
        cmocka_unit_test_setup(an_empty_cell_alone_is_still_a_row, fresh_folder),
        cmocka_unit_test_setup(a_row_of_the_wrong_length_is_refused_and_leaves_the_old_file,
                               fresh_folder),
        cmocka_unit_test_setup(a_large_table_passes_the_buffer, fresh_folder),
        cmocka_unit_test_setup(a_full_disk_is_reported, fresh_folder),
        cmocka_unit_test_setup(an_array_has_numpys_bytes, fresh_folder),
        cmocka_unit_test_setup(every_type_and_rank_has_its_header, fresh_folder),
        cmocka_unit_test_setup(an_array_in_pieces_is_the_same_file, fresh_folder),
        cmocka_unit_test_setup(too_few_or_too_many_elements_leave_nothing, fresh_folder),
        cmocka_unit_test_setup(bytes_come_in_any_order, fresh_folder),
        cmocka_unit_test_setup(a_manifest_nests_and_keeps_its_order, fresh_folder),
        cmocka_unit_test_setup(a_manifest_describes_the_model, fresh_folder),
        cmocka_unit_test_setup(every_failing_allocation_is_reported, fresh_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
