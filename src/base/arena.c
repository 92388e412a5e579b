#include "base/arena.h"

#include "base/alloc.h"
#include "base/checked.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifndef HAS_ASAN
#define HAS_ASAN 0
#endif

#if HAS_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* Under AddressSanitizer a poisoned gap follows each piece, so an overrun cannot hide in the next.
 */
#define GAP_BYTES (HAS_ASAN ? 64u : 0u)

bool kh_arena_init(kh_arena *arena, size_t capacity_bytes) {
    *arena = (kh_arena){0};
    size_t floats;
    if (!kh_add(capacity_bytes, 63, &floats)) return false;
    floats = floats / 64 * 16;
    arena->base = (unsigned char *)kh_alloc_floats(floats);
    if (!arena->base) return false;
    arena->capacity_bytes = floats * sizeof(float);
    POISON(arena->base, arena->capacity_bytes);
    return true;
}

void kh_arena_clear(kh_arena *arena) {
    if (!arena || !arena->base) return;
    UNPOISON(arena->base, arena->capacity_bytes);
    kh_free(arena->base);
    *arena = (kh_arena){0};
}

kh_mark kh_arena_mark(const kh_arena *arena) {
    return arena->used_bytes;
}

void kh_arena_rewind(kh_arena *arena, kh_mark mark) {
    POISON(arena->base + mark, arena->used_bytes - mark);
    arena->used_bytes = mark;
}

void *kh_arena_take(kh_arena *arena, size_t bytes) {
    size_t rounded;
    if (!kh_add(bytes, 63 + GAP_BYTES, &rounded)) return NULL;
    rounded &= ~(size_t)63;
    if (rounded > arena->capacity_bytes - arena->used_bytes) return NULL;
    unsigned char *piece = arena->base + arena->used_bytes;
    arena->used_bytes += rounded;
    if (arena->used_bytes > arena->peak_bytes) arena->peak_bytes = arena->used_bytes;
    UNPOISON(piece, bytes);
    return piece;
}

float *kh_arena_floats(kh_arena *arena, size_t rows, size_t columns) {
    size_t count, bytes;
    if (!kh_mul(rows, columns, &count) || !kh_mul(count, sizeof(float), &bytes)) return NULL;
    return kh_arena_take(arena, bytes);
}
