#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/pool.h"

#include <stdatomic.h>

enum { TASKS = 1000 };

typedef struct tally {
    atomic_int runs[TASKS];
    atomic_size_t worst_worker;
    kh_pool *pool;
    atomic_int nested;
} tally;

static void count(void *arg, size_t task, size_t worker) {
    tally *t = arg;
    atomic_fetch_add(&t->runs[task], 1);
    if (worker > atomic_load(&t->worst_worker)) atomic_store(&t->worst_worker, worker);
}

static void every_task_runs_exactly_once(void **state) {
    (void)state;
    for (size_t threads = 1; threads <= 5; threads++) {
        kh_error err = {0};
        kh_pool *pool;
        kh_assert_ok(kh_pool_create(threads, &pool, &err));
        assert_int_equal(kh_pool_threads(pool), threads);
        static tally t;
        memset(&t, 0, sizeof t);
        for (int round = 0; round < 50; round++)
            kh_pool_run(pool, TASKS, count, &t);
        for (size_t i = 0; i < TASKS; i++)
            assert_int_equal(atomic_load(&t.runs[i]), 50);
        assert_true(atomic_load(&t.worst_worker) < threads);
        kh_pool_free(pool);
    }
}

static void inner(void *arg, size_t task, size_t worker) {
    (void)task;
    (void)worker;
    tally *t = arg;
    atomic_fetch_add(&t->nested, 1);
}

static void outer(void *arg, size_t task, size_t worker) {
    (void)task;
    (void)worker;
    tally *t = arg;
    kh_pool_run(t->pool, 3, inner, t);
}

static void a_nested_run_does_its_tasks_on_the_spot(void **state) {
    (void)state;
    kh_error err = {0};
    static tally t;
    memset(&t, 0, sizeof t);
    kh_assert_ok(kh_pool_create(3, &t.pool, &err));
    kh_pool_run(t.pool, 40, outer, &t);
    assert_int_equal(atomic_load(&t.nested), 120);
    kh_pool_free(t.pool);
}

static void without_a_pool_the_caller_does_everything(void **state) {
    (void)state;
    static tally t;
    memset(&t, 0, sizeof t);
    kh_pool_run(NULL, TASKS, count, &t);
    for (size_t i = 0; i < TASKS; i++)
        assert_int_equal(atomic_load(&t.runs[i]), 1);
    assert_int_equal(atomic_load(&t.worst_worker), 0);
}

static void no_tasks_is_no_work(void **state) {
    (void)state;
    kh_error err = {0};
    kh_pool *pool;
    kh_assert_ok(kh_pool_create(0, &pool, &err));
    assert_int_equal(kh_pool_threads(pool), kh_cores_available());
    kh_pool_run(pool, 0, count, NULL);
    kh_pool_free(pool);
}

static void impossible_pools_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_pool *pool;
    kh_assert_fails(kh_pool_create(100000, &pool, &err), KH_E_ARG, "at most 1024");
    assert_null(pool);
    for (size_t n = 1; n <= 2; n++) {
        kh_alloc_fail_after(n);
        kh_assert_fails(kh_pool_create(2, &pool, &err), KH_E_MEMORY, "no memory");
        kh_alloc_fail_after(0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_runs_exactly_once),
        cmocka_unit_test(a_nested_run_does_its_tasks_on_the_spot),
        cmocka_unit_test(without_a_pool_the_caller_does_everything),
        cmocka_unit_test(no_tasks_is_no_work),
        cmocka_unit_test(impossible_pools_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
