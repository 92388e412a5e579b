/* Value vectors that serve several classes. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "keyhole/lens.h"

/* Five classes, two ranks: b1n3 serves classes 0, 2 and 4, b0n3 classes 1 and 3 and 4, ... */
static kh_ranked lists[5 * 2] = {
    {1, 3, 9}, {0, 7, 8}, /* class 0 */
    {0, 3, 7}, {0, 7, 6}, /* class 1 */
    {1, 3, 5}, {1, 0, 4}, /* class 2 */
    {0, 3, 3}, {1, 0, 2}, /* class 3 */
    {0, 3, 1}, {1, 3, 0}, /* class 4 */
};
static const kh_ranking ranking = {.blocks = 2, .units = 8, .classes = 5, .k = 2, .global = lists};

static void the_graph_worked_by_hand(void **state) {
    (void)state;
    kh_error err = {0};
    kh_shared s;
    kh_assert_ok(kh_lens_shared(&ranking, 2, &s, &err));
    assert_int_equal(s.unit_count, 4);
    const size_t want[4][3] = {{0, 3, 3}, {1, 3, 3}, {0, 7, 2}, {1, 0, 2}};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(s.units[i].block, want[i][0]);
        assert_int_equal(s.units[i].index, want[i][1]);
        assert_int_equal(s.units[i].n_classes, want[i][2]);
    }
    const kh_shared_link *links = s.links + s.units[1].first_link; /* b1n3 */
    const uint32_t classes[3] = {0, 2, 4}, ranks[3] = {0, 0, 1};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(links[i].class_index, classes[i]);
        assert_int_equal(links[i].rank, ranks[i]);
    }
    assert_true(fabs(s.units[1].mean_score - 14.0 / 3) < 1e-12);
    for (size_t c = 0; c < 5; c++)
        assert_int_equal(s.class_share[c], 3);
    assert_int_equal(kh_lens_shared_count(&s, 3), 2);
    assert_int_equal(kh_lens_shared_count(&s, 2), 4);
    assert_int_equal(kh_lens_shared_count(&s, 4), 0);
    kh_shared_clear(&s);
    kh_shared_clear(NULL);
}

static void check_14_1_classes_per_unit_sum_to_the_classes_for_k_1(void **state) {
    (void)state;
    kh_error err = {0};
    kh_shared s;
    kh_assert_ok(kh_lens_shared(&ranking, 1, &s, &err));
    size_t sum = 0;
    for (size_t i = 0; i < s.unit_count; i++)
        sum += s.units[i].n_classes;
    assert_int_equal(sum, 5);
    assert_int_equal(s.unit_count, 2);
    assert_int_equal(s.units[0].block, 0); /* three classes: 1, 3, 4 */
    assert_int_equal(s.class_share[4], 3);
    assert_int_equal(s.class_share[0], 2);
    kh_shared_clear(&s);
}

static void more_ranks_than_there_are_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_shared s;
    kh_assert_fails(kh_lens_shared(&ranking, 3, &s, &err), KH_E_ARG, "first 3 ranks");
    kh_assert_fails(kh_lens_shared(&ranking, 0, &s, &err), KH_E_ARG, "first 0 ranks");
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    for (size_t n = 1; n <= 4; n++) {
        kh_error err = {0};
        kh_shared s;
        kh_alloc_fail_after(n);
        const kh_status status = kh_lens_shared(&ranking, 2, &s, &err);
        kh_alloc_fail_after(0);
        assert_int_equal(status, KH_E_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_graph_worked_by_hand),
        cmocka_unit_test(check_14_1_classes_per_unit_sum_to_the_classes_for_k_1),
        cmocka_unit_test(more_ranks_than_there_are_are_refused),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
