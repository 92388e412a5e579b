/* model.safetensors.index.json: shards beside the index, nothing outside its folder. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "io/tensors.h"
#include "support/table.h"

#define REJECT KH_TEST_DATA "/reject/index"
#define ACCEPT KH_TEST_DATA "/accept/index"

static void every_broken_index_is_refused_with_its_rule(void **state) {
    (void)state;
    kh_test_table table = kh_test_table_read(REJECT "/expected.txt");
    assert_true(table.rows > 20);
    size_t wrong = 0;
    for (size_t i = 0; i < table.rows; i++) {
        char *const *row = table.cells[i];
        char path[4096];
        (void)snprintf(path, sizeof path, REJECT "/%s", row[0]);
        kh_error err = {0};
        kh_tensors *t = NULL;
        const kh_status status = kh_tensors_open(path, NULL, &t, &err);
        if (status && !t && !strcmp(kh_status_name(status), row[1]) && strstr(err.text, row[2]))
            continue;
        print_error("%s: got %s '%s', expected %s with '%s'\n", row[0], kh_status_name(status),
                    err.text, row[1], row[2]);
        kh_tensors_close(t);
        wrong++;
    }
    assert_int_equal(wrong, 0);
    kh_test_table_clear(&table);
}

static void tensors_come_from_the_shard_the_index_names(void **state) {
    (void)state;
    kh_test_table table = kh_test_table_read(ACCEPT "/expected.txt");
    assert_true(table.rows > 10);
    for (size_t i = 0; i < table.rows; i++) {
        char *const *row = table.cells[i];
        char path[4096];
        (void)snprintf(path, sizeof path, ACCEPT "/%s", row[0]);
        kh_error err = {0};
        kh_tensors *t = NULL;
        kh_assert_ok(kh_tensors_open(path, NULL, &t, &err));
        const long want = strtol(row[2], NULL, 10);
        if (strcmp(row[1], "-") == 0) {
            assert_int_equal(kh_tensors_count(t), want);
            assert_false(kh_tensors_find(t, "unmapped", NULL));
        } else {
            float got = 0;
            kh_assert_ok(kh_tensors_read(t, row[1], false, &got, 1, &err));
            assert_int_equal((long)got, want);
        }
        kh_tensors_close(t);
    }
    kh_test_table_clear(&table);
}

/* The digest of an index is that of its shards' bytes, one after the other in name order:
 * cat m-00001-of-00002.safetensors m-00002-of-00002.safetensors | sha256sum */
static void the_digest_covers_the_shards_in_order(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t;
    char digest[65];
    kh_assert_ok(kh_tensors_open(ACCEPT "/plain.json", NULL, &t, &err));
    kh_assert_ok(kh_tensors_sha256(t, digest, &err));
    assert_string_equal(digest, "5cae0ed4c47224b878a0a5c6a8ec9c03b06582d0c25cf43df1414fabb0f338d4");
    kh_tensors_close(t);
    kh_assert_ok(kh_tensors_open(ACCEPT "/shared_in_second.json", NULL, &t, &err));
    kh_assert_ok(kh_tensors_sha256(t, digest, &err)); /* the map's own order does not matter */
    assert_string_equal(digest, "5cae0ed4c47224b878a0a5c6a8ec9c03b06582d0c25cf43df1414fabb0f338d4");
    kh_tensors_close(t);
}

static void caps_are_the_callers(void **state) {
    (void)state;
    kh_error err = {0};
    kh_tensors *t;
    kh_limits limits = kh_limits_default();
    limits.max_tensors = 1;
    kh_assert_fails(kh_tensors_open(ACCEPT "/plain.json", &limits, &t, &err), KH_E_LIMIT,
                    "2 tensors, the limit is 1");
    limits = kh_limits_default();
    limits.max_index_bytes = 10;
    kh_assert_fails(kh_tensors_open(ACCEPT "/plain.json", &limits, &t, &err), KH_E_LIMIT,
                    "limit of 10 bytes");
    limits = kh_limits_default();
    limits.max_weights_bytes = 300; /* less than both shards, more than one */
    kh_assert_fails(kh_tensors_open(ACCEPT "/plain.json", &limits, &t, &err), KH_E_LIMIT,
                    "exceed the limit of 300");
}

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    size_t failed = 0;
    for (size_t n = 1; n < 10000; n++) {
        kh_error err = {0};
        kh_tensors *t = NULL;
        kh_alloc_fail_after(n);
        const kh_status status = kh_tensors_open(ACCEPT "/plain.json", NULL, &t, &err);
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
        cmocka_unit_test(every_broken_index_is_refused_with_its_rule),
        cmocka_unit_test(tensors_come_from_the_shard_the_index_names),
        cmocka_unit_test(the_digest_covers_the_shards_in_order),
        cmocka_unit_test(caps_are_the_callers),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
