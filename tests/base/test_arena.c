#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/arena.h"

static void pieces_are_aligned_and_do_not_overlap(void **state) {
    (void)state;
    kh_arena arena;
    assert_true(kh_arena_init(&arena, 4096));
    float *a = kh_arena_floats(&arena, 3, 5);
    float *b = kh_arena_floats(&arena, 1, 1);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal((uintptr_t)b % 64, 0);
    assert_true((unsigned char *)b >= (unsigned char *)(a + 15));
    kh_arena_clear(&arena);
}

static void rewinding_gives_the_same_place_again(void **state) {
    (void)state;
    kh_arena arena;
    assert_true(kh_arena_init(&arena, 4096));
    const kh_mark mark = kh_arena_mark(&arena);
    void *first = kh_arena_take(&arena, 100);
    kh_arena_rewind(&arena, mark);
    assert_ptr_equal(kh_arena_take(&arena, 7), first);
    assert_true(arena.peak_bytes >= 100);
    kh_arena_clear(&arena);
}

static void a_full_arena_says_no_and_stays_usable(void **state) {
    (void)state;
    kh_arena arena;
    assert_true(kh_arena_init(&arena, 1024));
    assert_null(kh_arena_take(&arena, 2000));
    assert_null(kh_arena_floats(&arena, SIZE_MAX / 2, 3)); /* product wraps */
    assert_null(kh_arena_take(&arena, SIZE_MAX - 3));
    assert_non_null(kh_arena_take(&arena, 64));
    kh_arena_clear(&arena);
}

static void a_refused_reservation_is_reported(void **state) {
    (void)state;
    kh_arena arena;
    kh_alloc_fail_after(1);
    assert_false(kh_arena_init(&arena, 64));
    kh_alloc_fail_after(0);
    kh_arena_clear(&arena);
    assert_false(kh_arena_init(&arena, SIZE_MAX));
}

static void large_pieces_start_on_a_large_page(void **state) {
    (void)state;
    float *small = kh_alloc_floats_large(100);
    float *large = kh_alloc_floats_large((3u << 19) / sizeof(float) + 1);
    assert_non_null(small);
    assert_non_null(large);
    assert_int_equal((uintptr_t)small % 64, 0);
    assert_int_equal((uintptr_t)large % (2u << 20), 0);
    assert_null(kh_alloc_floats_large(SIZE_MAX / sizeof(float)));
    kh_alloc_fail_after(1);
    assert_null(kh_alloc_floats_large(1u << 20));
    kh_alloc_fail_after(0);
    kh_free(small);
    kh_free(large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_and_do_not_overlap),
        cmocka_unit_test(rewinding_gives_the_same_place_again),
        cmocka_unit_test(a_full_arena_says_no_and_stays_usable),
        cmocka_unit_test(a_refused_reservation_is_reported),
        cmocka_unit_test(large_pieces_start_on_a_large_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
