/* base/arena.h: scratch memory taken in a stack: mark, use, rewind. */
#ifndef KH_BASE_ARENA_H
#define KH_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct kh_arena {
    unsigned char *base;
    size_t capacity_bytes;
    size_t used_bytes;
    size_t peak_bytes;
} kh_arena;

typedef size_t kh_mark;

/* Reserves capacity_bytes at once; false when out of memory. Pair: kh_arena_clear. */
bool kh_arena_init(kh_arena *arena, size_t capacity_bytes);
void kh_arena_clear(kh_arena *arena);

kh_mark kh_arena_mark(const kh_arena *arena);
/* Gives back everything taken since the mark. */
void kh_arena_rewind(kh_arena *arena, kh_mark mark);

/* `bytes` bytes, 64-byte aligned, contents undefined; NULL when full. Valid until rewound. */
void *kh_arena_take(kh_arena *arena, size_t bytes);

/* rows * columns floats, 64-byte aligned, contents undefined; NULL when full or on overflow. */
float *kh_arena_floats(kh_arena *arena, size_t rows, size_t columns);

#endif
