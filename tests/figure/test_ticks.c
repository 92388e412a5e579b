#include "support/kh_test.h"

#include "figure/near.h"

#include "figure/chart.h"
#include "figure/ticks.h"

static void steps_are_1_2_or_5(void **state) {
    (void)state;
    assert_near(kh_ticks_step(0, 684, 5, true), 200, 0);
    assert_near(kh_ticks_step(0, 10, 5, false), 2, 1e-12);
    assert_near(kh_ticks_step(0, 0.31, 5, false), 0.1, 1e-12);
    assert_near(kh_ticks_step(0, 1e-6, 5, false), 2e-7, 1e-18);
    assert_near(kh_ticks_step(0, 2, 5, true), 1, 0); /* never half a class */
    for (double range = 1e-9; range < 1e9; range *= 1.37) {
        const double step = kh_ticks_step(0, range, 5, false);
        const double digit = step / pow(10, floor(log10(step) + 1e-9));
        assert_true(fabs(digit - 1) < 1e-6 || fabs(digit - 2) < 1e-6 || fabs(digit - 5) < 1e-6);
        assert_true(range / step <= 5 + 1e-6 && range / step >= 1.99);
    }
}

static void linear_ticks_by_hand(void **state) {
    (void)state;
    const kh_ticks t = kh_ticks_linear(-0.25, 0.6, 5, false);
    const double want[] = {-0.2, 0, 0.2, 0.4, 0.6};
    assert_int_equal(t.count, 5);
    assert_int_equal(t.decimals, 1);
    for (size_t i = 0; i < 5; i++)
        assert_near(t.at[i], want[i], 1e-12);
    assert_true(t.at[1] == 0 && !signbit(t.at[1])); /* never "-0" */
    assert_int_equal(kh_ticks_linear(3, 3, 5, false).count, 0);
}

static void log_ticks_by_hand(void **state) {
    (void)state;
    const kh_ticks few = kh_ticks_log(1, 100, 5);
    assert_int_equal(few.count, 3);
    assert_near(few.at[2], 100, 1e-9);
    const kh_ticks fine = kh_ticks_log(2, 30, 5);
    const double want[] = {2, 5, 10, 20};
    assert_int_equal(fine.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_near(fine.at[i], want[i], 1e-9);
    const kh_ticks many = kh_ticks_log(1e-20, 1e20, 5);
    assert_in_range(many.count, 3, 8);
}

static void check_number(double value, int decimals, const char *want) {
    char out[KH_NUMBER_ROOM];
    assert_string_equal(kh_number(value, decimals, out), want);
}

static void check_short(double value, int digits, const char *want) {
    char out[KH_NUMBER_ROOM];
    assert_string_equal(kh_number_short(value, digits, out), want);
}

static void numbers_are_written_for_people(void **state) {
    (void)state;
    check_number(0, 0, "0");
    check_number(999, 0, "999");
    check_number(1000, 0, "1,000");
    check_number(1234567, 0, "1,234,567");
    check_number(-1234.5, 2, "−1,234.50");
    check_number(-0.001, 2, "0.00"); /* no "−0.00" */
    check_number(12345678, 0, "1.2×10⁷");
    check_number((double)NAN, 2, "NaN");
    check_number((double)INFINITY, 2, "∞");
    check_number(-(double)INFINITY, 2, "−∞");
    check_short(3.14159, 3, "3.14");
    check_short(1.5, 3, "1.5");
    check_short(2, 3, "2");
    check_short(0.00012, 3, "0.00012");
    check_short(0.0000123, 3, "1.23×10⁻⁵");
    check_short(-99999999, 2, "−1.0×10⁸");
    check_short(100, 3, "100");
    check_short(68412, 3, "68,412");
}

static void huge_numbers_stay_inside_their_room(void **state) {
    (void)state;
    char out[KH_NUMBER_ROOM];
    const double values[] = {1e308, -1e308, 5e-324, -5e-324, 9999999, -9999999.99999, 0.99999999};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int d = 0; d < 12; d++) {
            assert_true(strlen(kh_number(values[i], d, out)) < KH_NUMBER_ROOM);
            assert_true(strlen(kh_number_short(values[i], d, out)) < KH_NUMBER_ROOM);
        }
}

static kh_range range_of(const kh_figure_axis *axis, double low, double high, bool is_whole) {
    kh_extent extent = kh_extent_make(axis);
    kh_extent_add(&extent, low);
    kh_extent_add(&extent, high);
    return kh_range_make(axis, extent, 5, is_whole, true);
}

/* Shares that are all 0 or all 1 must not have an axis from -1, or up to 1.1. */
static void one_value_alone_is_shown_against_zero(void **state) {
    (void)state;
    static const struct {
        double value, low, high;
    } known[] = {{0, 0, 1}, {1, 0, 1}, {0.25, 0, 0.25}, {-2, -2, 0}, {40, 0, 40}};
    for (size_t whole = 0; whole < 2; whole++)
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            if (whole && fabs(known[i].value) < 1 && known[i].value > 0) continue;
            const kh_figure_axis axis = {.label = "share"};
            const kh_range r = range_of(&axis, known[i].value, known[i].value, whole);
            assert_float_equal(r.low, known[i].low, 1e-12);
            assert_float_equal(r.high, known[i].high, 1e-12);
        }
}

static void an_axis_with_zero_holds_zero(void **state) {
    (void)state;
    const kh_figure_axis plain = {.label = "norm"}, zero = {.label = "norm", .has_zero = true};
    const kh_figure_axis log = {.label = "norm", .has_zero = true, .is_log = true};
    const kh_figure_axis given = {.low = 2, .high = 7, .has_zero = true};
    assert_float_equal(range_of(&plain, 40, 60, false).low, 40, 1e-12);
    assert_float_equal(range_of(&zero, 40, 60, false).low, 0, 1e-12);
    assert_float_equal(range_of(&zero, -60, -40, false).high, 0, 1e-12);
    assert_true(range_of(&log, 40, 60, false).low > 0);
    assert_float_equal(range_of(&given, 40, 60, false).low, 2, 1e-12);
}

/* Also where the room that rounding adds asks for longer steps. */
static void an_axis_from_the_data_ends_on_ticks(void **state) {
    (void)state;
    const double ends[][2] = {{-0.03, 0.25}, {-0.2, 0.55}, {-7, 17}, {0, 5.2}, {-0.9, 0.1}};
    const kh_figure_axis axis = {.label = "change"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        const kh_range range = range_of(&axis, ends[i][0], ends[i][1], false);
        const kh_ticks *t = &range.ticks;
        assert_true(t->count >= 2 && range.low <= ends[i][0] && range.high >= ends[i][1]);
        assert_float_equal(t->at[0], range.low, 1e-9);
        assert_float_equal(t->at[t->count - 1], range.high, 1e-9);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_1_2_or_5),
        cmocka_unit_test(linear_ticks_by_hand),
        cmocka_unit_test(log_ticks_by_hand),
        cmocka_unit_test(numbers_are_written_for_people),
        cmocka_unit_test(huge_numbers_stay_inside_their_room),
        cmocka_unit_test(one_value_alone_is_shown_against_zero),
        cmocka_unit_test(an_axis_with_zero_holds_zero),
        cmocka_unit_test(an_axis_from_the_data_ends_on_ticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
