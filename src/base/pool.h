/* base/pool.h: one pool of threads for everything; tasks are handed out by a counter.
 *
 * What a task computes must depend on its index alone, never on the worker, so that results do not
 * depend on the number of threads. Workers are pinned to cores where the system allows it. */
#ifndef KH_BASE_POOL_H
#define KH_BASE_POOL_H

#include <stddef.h>

#include "base/status.h"

typedef struct kh_pool kh_pool;

/* worker is in 0..threads-1 and may pick per-thread scratch memory. */
typedef void (*kh_task_fn)(void *arg, size_t task, size_t worker);

/* threads 0 means one per available core. The calling thread of kh_pool_run is worker 0. */
kh_status kh_pool_create(size_t threads, kh_pool **out, kh_error *err);
void kh_pool_free(kh_pool *pool);

size_t kh_pool_threads(const kh_pool *pool);

/* Runs fn(arg, task, worker) for task 0..tasks-1 and returns when all are done. One caller at a
 * time; a nested call from inside a task runs its tasks serially on that worker. pool NULL: all
 * tasks serially, as worker 0. */
void kh_pool_run(kh_pool *pool, size_t tasks, kh_task_fn fn, void *arg);

/* Cores this process may use. */
size_t kh_cores_available(void);

#endif
