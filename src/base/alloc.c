#define _DEFAULT_SOURCE
#include "base/alloc.h"

#include "base/checked.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_size_t requests;
static atomic_size_t fail_at; /* 0: never */

static bool may_allocate(void) {
    const size_t now = atomic_fetch_add_explicit(&requests, 1, memory_order_relaxed) + 1;
    const size_t limit = atomic_load_explicit(&fail_at, memory_order_relaxed);
    return limit == 0 || now != limit;
}

void kh_alloc_fail_after(size_t n) {
    atomic_store(&requests, 0);
    atomic_store(&fail_at, n);
}

size_t kh_alloc_count(void) {
    return atomic_load(&requests);
}

void *kh_calloc(size_t count, size_t size) {
    size_t bytes;
    if (!kh_mul(count, size, &bytes) || !may_allocate()) return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *kh_realloc(void *old, size_t count, size_t size) {
    size_t bytes;
    if (!kh_mul(count, size, &bytes) || !may_allocate()) return NULL;
    return realloc(old, bytes ? bytes : 1);
}

float *kh_alloc_floats(size_t count) {
    size_t bytes;
    if (!kh_mul(count, sizeof(float), &bytes) || !kh_add(bytes, 63, &bytes)) return NULL;
    bytes &= ~(size_t)63;
    if (!may_allocate()) return NULL;
    return aligned_alloc(64, bytes ? bytes : 64);
}

float *kh_alloc_floats_large(size_t count) {
    enum { LARGE_PAGE = 2 << 20, WORTH_IT = 3 << 19 };
    size_t bytes, rounded;
    if (!kh_mul(count, sizeof(float), &bytes) || bytes < WORTH_IT) return kh_alloc_floats(count);
    if (!kh_add(bytes, LARGE_PAGE - WORTH_IT, &rounded) || !may_allocate()) return NULL;
    const size_t paged = rounded / LARGE_PAGE * LARGE_PAGE; /* what lies on large pages */
    void *memory = NULL;
    if (posix_memalign(&memory, LARGE_PAGE, paged > bytes ? paged : bytes) != 0) return NULL;
#ifdef MADV_HUGEPAGE
    (void)madvise(memory, paged, MADV_HUGEPAGE); /* advice: failing costs only speed */
#endif
    return memory;
}

char *kh_strdup(const char *text) {
    const size_t bytes = strlen(text) + 1;
    char *copy = kh_calloc(bytes, 1);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

void kh_free(void *block) {
    free(block);
}
