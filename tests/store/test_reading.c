/* Tables and arrays read back as they were written; what is damaged is refused. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "keyhole/store.h"

static const char *folder;

static char *in_folder(const char *name) {
    static char path[4][512];
    static size_t at;
    char *p = path[at++ % 4];
    (void)snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static int fresh_folder(void **state) {
    (void)state;
    folder = kh_test_folder("reading");
    return 0;
}

static void write_table(void) {
    kh_error err = {0};
    kh_db *db;
    kh_assert_ok(kh_store_db_create(in_folder("t.sqlite"), &db, &err));
    kh_store_db_table(db, "things", "place:i size:r name:t");
    for (int64_t i = 0; i < 200; i++) { /* more than the first room */
        kh_store_db_integer(db, i);
        kh_store_db_real(db, i == 7 ? (double)NAN : 0.5 * (double)i);
        kh_store_db_text(db, i == 3 ? NULL : i % 2 ? "odd" : "even");
        kh_store_db_row(db);
    }
    kh_assert_ok(kh_store_db_close(db, &err));
}

static void an_answer_holds_numbers_and_texts(void **state) {
    (void)state;
    kh_error err = {0};
    kh_answer *a;
    write_table();
    const int64_t from[] = {2, 190};
    kh_assert_ok(
        kh_store_db_ask(in_folder("t.sqlite"),
                        "SELECT place, size, name FROM things WHERE place >= ?1 AND place < ?2",
                        from, 2, &a, &err));
    assert_int_equal(kh_answer_rows(a), 188);
    for (size_t r = 0; r < 188; r++) {
        assert_true(kh_answer_number(a, r, 0) == (double)(r + 2));
        assert_true(r + 2 == 7 ? isnan(kh_answer_number(a, r, 1))
                               : kh_answer_number(a, r, 1) == 0.5 * (double)(r + 2));
        assert_true(isnan(kh_answer_number(a, r, 2)));
        assert_null(kh_answer_text(a, r, 0));
        if (r + 2 == 3)
            assert_null(kh_answer_text(a, r, 2));
        else
            assert_string_equal(kh_answer_text(a, r, 2), r % 2 ? "odd" : "even");
    }
    assert_true(isnan(kh_answer_number(a, 188, 0)) && isnan(kh_answer_number(a, 0, 3)));
    assert_null(kh_answer_text(a, 188, 2));
    kh_answer_free(a);
    kh_answer_free(NULL);
    kh_assert_ok(kh_store_db_ask(in_folder("t.sqlite"), "SELECT * FROM things WHERE place < 0",
                                 NULL, 0, &a, &err));
    assert_int_equal(kh_answer_rows(a), 0);
    kh_answer_free(a);
}

static void what_cannot_be_asked_is_said(void **state) {
    (void)state;
    kh_error err = {0};
    kh_answer *a;
    write_table();
    kh_assert_fails(kh_store_db_ask(in_folder("none.sqlite"), "SELECT 1", NULL, 0, &a, &err),
                    KH_E_NOT_FOUND, "none.sqlite");
    kh_assert_fails(
        kh_store_db_ask(in_folder("t.sqlite"), "SELECT x FROM nothing", NULL, 0, &a, &err),
        KH_E_FORMAT, "nothing");
    kh_assert_ok(kh_file_write(in_folder("text.sqlite"), "no database at all", 18, &err));
    kh_assert_fails(kh_store_db_ask(in_folder("text.sqlite"), "SELECT * FROM t", NULL, 0, &a, &err),
                    KH_E_FORMAT, "text.sqlite");
    for (size_t n = 1;; n++) {
        err = (kh_error){0};
        kh_alloc_fail_after(n);
        const kh_status status =
            kh_store_db_ask(in_folder("t.sqlite"), "SELECT * FROM things", NULL, 0, &a, &err);
        const size_t asked = kh_alloc_count();
        kh_alloc_fail_after(0);
        if (asked < n) {
            kh_answer_free(a);
            break;
        }
        assert_int_equal(status, KH_E_MEMORY);
        assert_null(a);
    }
}

static void an_array_reads_back_in_parts(void **state) {
    (void)state;
    kh_error err = {0};
    float values[2 * 3 * 5], part[7];
    const size_t shape[] = {2, 3, 5};
    size_t got[8], rank;
    for (size_t i = 0; i < 30; i++)
        values[i] = 0.25f * (float)i;
    kh_assert_ok(kh_store_npy(in_folder("a.npy"), KH_NPY_F32, shape, 3, values, &err));
    kh_assert_ok(kh_store_npy_shape(in_folder("a.npy"), got, &rank, &err));
    assert_int_equal(rank, 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(got[i], shape[i]);
    kh_assert_ok(kh_store_npy_floats(in_folder("a.npy"), 23, 7, part, &err));
    assert_memory_equal(part, values + 23, sizeof part);
    kh_assert_fails(kh_store_npy_floats(in_folder("a.npy"), 24, 7, part, &err), KH_E_SHAPE, "30");
    const size_t one[] = {30};
    kh_assert_ok(kh_store_npy(in_folder("one.npy"), KH_NPY_F32, one, 1, values, &err));
    kh_assert_ok(kh_store_npy_shape(in_folder("one.npy"), got, &rank, &err));
    assert_true(rank == 1 && got[0] == 30);
}

static void other_and_damaged_arrays_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    const size_t shape[] = {4};
    const float values[4] = {1, 2, 3, 4};
    size_t got[8], rank, bytes;
    unsigned char *file;
    kh_assert_ok(kh_store_npy(in_folder("i.npy"), KH_NPY_I32, shape, 1, values, &err));
    kh_assert_fails(kh_store_npy_shape(in_folder("i.npy"), got, &rank, &err), KH_E_FORMAT,
                    "says something else");
    kh_assert_ok(kh_store_npy(in_folder("f.npy"), KH_NPY_F32, shape, 1, values, &err));
    kh_assert_ok(kh_file_read(in_folder("f.npy"), 4096, &file, &bytes, &err));
    for (size_t cut = 0; cut < bytes; cut++) { /* every shorter file */
        kh_assert_ok(kh_file_write_lazy(in_folder("cut.npy"), file, cut, &err));
        assert_int_equal(kh_store_npy_shape(in_folder("cut.npy"), got, &rank, &err), KH_E_FORMAT);
    }
    for (size_t at = 0; at < bytes - sizeof values; at++) { /* no byte of the header may harm */
        unsigned char was = file[at];
        file[at] = '9';
        kh_assert_ok(kh_file_write_lazy(in_folder("hurt.npy"), file, bytes, &err));
        (void)kh_store_npy_shape(in_folder("hurt.npy"), got, &rank, &err);
        file[at] = was;
    }
    kh_free(file);
    kh_assert_fails(kh_store_npy_shape(in_folder("none.npy"), got, &rank, &err), KH_E_NOT_FOUND,
                    "none.npy");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_answer_holds_numbers_and_texts, fresh_folder),
        cmocka_unit_test_setup(what_cannot_be_asked_is_said, fresh_folder),
        cmocka_unit_test_setup(an_array_reads_back_in_parts, fresh_folder),
        cmocka_unit_test_setup(other_and_damaged_arrays_are_refused, fresh_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
