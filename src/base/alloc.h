/* base/alloc.h: the one place memory comes from, so that a test can let every n-th request fail. */
#ifndef KH_BASE_ALLOC_H
#define KH_BASE_ALLOC_H

#include <stddef.h>

/* count * size zeroed bytes; NULL when out of memory or when the product overflows. Zero bytes give
 * a pointer that may be freed. */
void *kh_calloc(size_t count, size_t size);

/* Like realloc for count * size bytes; on failure the old block stays valid. */
void *kh_realloc(void *old, size_t count, size_t size);

/* count floats, 64-byte aligned, contents undefined. Free with kh_free. */
float *kh_alloc_floats(size_t count);

/* The same for memory that is streamed through: where the system has large pages it is asked for
 * them (every 4 KiB page of a big matrix costs a walk through the page tables). Less than 1.5 MiB
 * behind the last whole 2 MiB stays on small pages: rounded up, a model would take a fifth more. */
float *kh_alloc_floats_large(size_t count);

char *kh_strdup(const char *text);

void kh_free(void *block);

/* Test hook: the n-th allocation from now fails (1 = the next one), 0 switches it off. */
void kh_alloc_fail_after(size_t n);

/* Allocations asked for since the last kh_alloc_fail_after. */
size_t kh_alloc_count(void);

#endif
