#define _GNU_SOURCE
#include "base/pool.h"

#include "base/alloc.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define RELAX() _mm_pause()
#else
#define RELAX() ((void)0)
#endif

/* A block of a ViT hands out several rounds per millisecond, so waiting threads spin this often
 * before they go to sleep. About 50 microseconds. */
enum { SPIN_ROUNDS = 1500 };

typedef struct worker {
    kh_pool *pool;
    size_t index;
    pthread_t thread;
    bool started;
} worker;

struct kh_pool {
    size_t threads;
    worker *workers;

    pthread_mutex_t lock;
    pthread_cond_t wake; /* a new round or the end */
    pthread_cond_t idle; /* the last worker left the round */

    atomic_uint round; /* changes when there is work */
    atomic_bool quit;
    atomic_size_t next;   /* next task to hand out */
    atomic_size_t inside; /* workers that have not left the round */
    atomic_bool busy;
    size_t tasks;
    kh_task_fn fn;
    void *arg;
};

size_t kh_cores_available(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        const int count = CPU_COUNT(&set);
        if (count > 0) return (size_t)count;
    }
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

/* Two runnable threads sometimes land on one core of a small virtual machine and stay there, so
 * each worker gets its own core of those the process may use. Failing to pin costs only speed. */
static void pin_to_core(size_t index) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    const size_t count = (size_t)CPU_COUNT(&allowed);
    if (count < 2) return;
    size_t want = index % count;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &allowed)) continue;
        if (want-- != 0) continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET((size_t)cpu, &one);
        (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

static void run_tasks(kh_pool *pool, size_t index) {
    for (;;) {
        const size_t task = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (task >= pool->tasks) return;
        pool->fn(pool->arg, task, index);
    }
}

static unsigned wait_for_round(kh_pool *pool, unsigned seen) {
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        const unsigned round = atomic_load_explicit(&pool->round, memory_order_acquire);
        if (round != seen || atomic_load_explicit(&pool->quit, memory_order_relaxed)) return round;
        RELAX();
    }
    pthread_mutex_lock(&pool->lock);
    unsigned round;
    while ((round = atomic_load_explicit(&pool->round, memory_order_acquire)) == seen &&
           !atomic_load_explicit(&pool->quit, memory_order_relaxed))
        pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return round;
}

static void leave_round(kh_pool *pool) {
    if (atomic_fetch_sub_explicit(&pool->inside, 1, memory_order_acq_rel) != 1) return;
    pthread_mutex_lock(&pool->lock);
    pthread_cond_signal(&pool->idle);
    pthread_mutex_unlock(&pool->lock);
}

static _Thread_local size_t
    worker_of_this_thread; /* 0 outside the pool, else index of the worker */

static void *worker_main(void *arg) {
    worker *me = arg;
    kh_pool *pool = me->pool;
    worker_of_this_thread = me->index;
    pin_to_core(me->index);
    unsigned seen = 0;
    for (;;) {
        const unsigned round = wait_for_round(pool, seen);
        if (atomic_load_explicit(&pool->quit, memory_order_acquire)) return NULL;
        if (round == seen) continue;
        seen = round;
        run_tasks(pool, me->index);
        leave_round(pool);
    }
}

kh_status kh_pool_create(size_t threads, kh_pool **out, kh_error *err) {
    *out = NULL;
    if (threads == 0) threads = kh_cores_available();
    if (threads > 1024)
        return kh_fail(err, KH_E_ARG, "%zu threads asked for, at most 1024 are possible", threads);
    kh_pool *pool = kh_calloc(1, sizeof *pool);
    if (!pool) return kh_fail(err, KH_E_MEMORY, "no memory for a thread pool");
    pool->threads = threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->idle, NULL);
    pool->workers = kh_calloc(threads, sizeof *pool->workers);
    if (!pool->workers) {
        kh_pool_free(pool);
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu threads", threads);
    }
    for (size_t i = 1; i < threads; i++) {
        pool->workers[i].pool = pool;
        pool->workers[i].index = i;
        const int failed =
            pthread_create(&pool->workers[i].thread, NULL, worker_main, &pool->workers[i]);
        if (failed) {
            kh_pool_free(pool);
            return kh_fail(err, KH_E_MEMORY, "cannot start thread %zu of %zu: %s; try --threads 1",
                           i + 1, threads, strerror(failed));
        }
        pool->workers[i].started = true;
    }
    *out = pool;
    return KH_OK;
}

void kh_pool_free(kh_pool *pool) {
    if (!pool) return;
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->quit, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 1; pool->workers && i < pool->threads; i++)
        if (pool->workers[i].started) pthread_join(pool->workers[i].thread, NULL);
    kh_free(pool->workers);
    pthread_cond_destroy(&pool->idle);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    kh_free(pool);
}

size_t kh_pool_threads(const kh_pool *pool) {
    return pool->threads;
}

static void wait_until_idle(kh_pool *pool) {
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        if (atomic_load_explicit(&pool->inside, memory_order_acquire) == 0) return;
        RELAX();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load_explicit(&pool->inside, memory_order_acquire) != 0)
        pthread_cond_wait(&pool->idle, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void kh_pool_run(kh_pool *pool, size_t tasks, kh_task_fn fn, void *arg) {
    if (!pool) {
        for (size_t task = 0; task < tasks; task++)
            fn(arg, task, 0);
        return;
    }
    bool expected = false;
    const bool nested = !atomic_compare_exchange_strong(&pool->busy, &expected, true);
    if (nested || pool->threads == 1 || tasks <= 1) {
        const size_t index = nested ? worker_of_this_thread : 0;
        for (size_t task = 0; task < tasks; task++)
            fn(arg, task, index);
        if (!nested) atomic_store(&pool->busy, false);
        return;
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->tasks = tasks;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->inside, pool->threads - 1, memory_order_relaxed);
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->round, 1, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    run_tasks(pool, 0);
    wait_until_idle(pool);
    atomic_store(&pool->busy, false);
}
