/* Ranges of images, against a plain array of marks. */
#include "support/kh_test.h"

#include "atlas/ranges.h"
#include "base/rng.h"

enum { COUNT = 40 };

static void ranges_say_what_an_array_of_marks_says(void **state) {
    (void)state;
    kh_rng rng = kh_rng_make(4, 4);
    for (size_t trial = 0; trial < 500; trial++) {
        bool marks[COUNT] = {false};
        kh_ranges ranges = {0};
        for (size_t step = 0; step < 12; step++) {
            const size_t first = kh_rng_below(&rng, COUNT);
            const size_t end = first + kh_rng_below(&rng, COUNT - first + 1) / 4;
            bool overlaps = false;
            for (size_t i = first; i < end; i++)
                overlaps |= marks[i];
            kh_error err = {0};
            assert_int_equal(kh_ranges_add(&ranges, first, end, &err), overlaps ? KH_E_ARG : KH_OK);
            for (size_t i = first; i < end && !overlaps; i++)
                marks[i] = true;
            uint64_t total = 0;
            for (size_t i = 0; i < COUNT; i++)
                total += marks[i];
            assert_int_equal(kh_ranges_total(&ranges), total);
            for (size_t i = 1; i < ranges.count; i++) /* sorted, apart */
                assert_true(ranges.items[i - 1].end < ranges.items[i].first);
            kh_range_ids gap;
            const size_t from = kh_rng_below(&rng, COUNT);
            size_t at = from;
            while (at < COUNT && marks[at])
                at++;
            assert_int_equal(kh_ranges_gap(&ranges, from, COUNT, &gap), at < COUNT);
            if (at == COUNT) continue;
            assert_int_equal(gap.first, at);
            while (at < COUNT && !marks[at])
                at++;
            assert_int_equal(gap.end, at);
        }
        kh_ranges_clear(&ranges);
    }
}

static void what_is_covered_twice_is_named(void **state) {
    (void)state;
    kh_ranges ranges = {0};
    kh_error err = {0};
    kh_assert_ok(kh_ranges_add(&ranges, 0, 10, &err));
    kh_assert_fails(kh_ranges_add(&ranges, 7, 20, &err), KH_E_ARG,
                    "images 7 to 9 are covered twice: by 0-9 and by 7-19");
    kh_ranges_clear(&ranges);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_say_what_an_array_of_marks_says),
        cmocka_unit_test(what_is_covered_twice_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
