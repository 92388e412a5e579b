#include "support/kh_test.h"

#include "vit/formula.h"
#include "vit/pos_embed.h"

/* Recorded from torch.nn.functional.interpolate: first, second, middle, last, sum. */
static void a_4x4_grid_resamples_as_in_pytorch(void **state) {
    (void)state;
    static const struct {
        kh_pos_filter filter;
        kh_grid to;
        double want[5];
    } cases[] = {
        {KH_POS_CUBIC_ANTIALIAS, {6, 6}, {0.2573513, 0.2314515, -0.4378019, 1.1451804, 0.1158424}},
        {KH_POS_CUBIC_ANTIALIAS,
         {3, 3},
         {-0.0937171, 0.0218960, -0.2915118, 0.3399468, -0.1850368}},
        {KH_POS_CUBIC_ANTIALIAS,
         {2, 8},
         {-0.4070827, -0.3585409, -0.1555911, 0.1167731, -1.0605758}},
        {KH_POS_CUBIC, {6, 6}, {0.2829756, 0.2541237, -0.4743164, 1.2041137, -0.2964236}},
        {KH_POS_CUBIC, {3, 3}, {0.0207315, 0.0077599, -0.3095806, 0.6000518, 0.0282518}},
        {KH_POS_CUBIC, {2, 8}, {-0.4601756, -0.3658294, 0.0227065, 0.1507646, -0.0584860}},
    };
    float pos[16];
    const size_t shape[] = {1, 1, 4, 4};
    /* rank 4, so the formula's general spread sqrt(3 / fan_in) does not apply: values are in [-1,
     * 1) */
    formula_tensor("pos", 4, shape, pos, 16);
    for (size_t i = 0; i < 16; i++)
        pos[i] = (float)((double)pos[i] / sqrt(3.0 / 16.0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kh_error err;
        float out[36];
        const size_t count = cases[i].to.height * cases[i].to.width;
        kh_assert_ok(
            kh_pos_resample(pos, (kh_grid){4, 4}, 0, 1, cases[i].filter, cases[i].to, out, &err));
        double sum = 0;
        for (size_t k = 0; k < count; k++)
            sum += (double)out[k];
        const double got[5] = {(double)out[0], (double)out[1], (double)out[count / 2],
                               (double)out[count - 1], sum};
        for (size_t k = 0; k < 5; k++)
            if (!(fabs(got[k] - cases[i].want[k]) <= 2e-6))
                fail_msg("case %zu, number %zu: %.7f, expected %.7f", i, k, got[k],
                         cases[i].want[k]);
    }
}

/* By hand: halves of a ramp. Two taps at weights 1/4 and 3/4, the outer ones clamped. */
static void linear_resampling_doubles_a_ramp(void **state) {
    (void)state;
    kh_error err;
    const float ramp[2] = {0, 4};
    float out[4];
    kh_assert_ok(
        kh_pos_resample(ramp, (kh_grid){1, 2}, 0, 1, KH_POS_LINEAR, (kh_grid){1, 4}, out, &err));
    const float want[4] = {0, 1, 3, 4};
    kh_assert_close(out, want, 4, 0, 1e-6);
}

static void a_constant_stays_constant_and_prefix_rows_stay_put(void **state) {
    (void)state;
    enum { PREFIX = 2, DIM = 3 };
    for (int filter = 0; filter <= KH_POS_LINEAR; filter++)
        for (size_t h = 1; h <= 9; h += 2)
            for (size_t w = 1; w <= 9; w += 4) {
                kh_error err;
                float from[(PREFIX + 25) * DIM], to[(PREFIX + 81) * DIM];
                for (size_t i = 0; i < PREFIX * DIM; i++)
                    from[i] = (float)i - 2.5f;
                for (size_t i = PREFIX * DIM; i < sizeof from / sizeof from[0]; i++)
                    from[i] = (float)(i % DIM) + 0.5f;
                kh_assert_ok(kh_pos_resample(from, (kh_grid){5, 5}, PREFIX, DIM,
                                             (kh_pos_filter)filter, (kh_grid){h, w}, to, &err));
                kh_assert_close(to, from, PREFIX * DIM, 0, 0);
                for (size_t i = PREFIX * DIM; i < (PREFIX + h * w) * DIM; i++)
                    assert_float_equal(to[i], (float)(i % DIM) + 0.5f, 2e-6f);
            }
}

/* Turning the grid round and resampling commute. */
static void resampling_does_not_know_left_from_right(void **state) {
    (void)state;
    enum { OLD = 7, NEW = 10 };
    float from[OLD * OLD], turned[OLD * OLD], a[NEW * NEW], b[NEW * NEW];
    kh_error err;
    kh_test_fill(from, OLD * OLD, 5, 1);
    for (size_t i = 0; i < OLD * OLD; i++)
        turned[i] = from[OLD * OLD - 1 - i];
    for (int filter = 0; filter <= KH_POS_LINEAR; filter++) {
        kh_assert_ok(kh_pos_resample(from, (kh_grid){OLD, OLD}, 0, 1, (kh_pos_filter)filter,
                                     (kh_grid){NEW, NEW}, a, &err));
        kh_assert_ok(kh_pos_resample(turned, (kh_grid){OLD, OLD}, 0, 1, (kh_pos_filter)filter,
                                     (kh_grid){NEW, NEW}, b, &err));
        for (size_t i = 0; i < NEW * NEW; i++)
            assert_float_equal(a[i], b[NEW * NEW - 1 - i], 1e-6f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_4x4_grid_resamples_as_in_pytorch),
        cmocka_unit_test(linear_resampling_doubles_a_ramp),
        cmocka_unit_test(a_constant_stays_constant_and_prefix_rows_stay_put),
        cmocka_unit_test(resampling_does_not_know_left_from_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
