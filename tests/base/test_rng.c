#include "support/kh_test.h"

#include "base/rng.h"

/* Spot values that were written down from another implementation: weights are rounded to fp32. */
static void the_name_formula_gives_the_published_values(void **state) {
    (void)state;
    const float cls = (float)(0.5 * kh_mix_unit(kh_hash_name("cls_token"), 0));
    const float norm = (float)(1.0 + 0.2 * kh_mix_unit(kh_hash_name("blocks.0.norm1.weight"), 0));
    const float qkv =
        (float)(sqrt(3.0 / 24.0) * kh_mix_unit(kh_hash_name("blocks.1.attn.qkv.weight"), 0));
    const float image = (float)kh_mix_unit(kh_hash_name("image"), 0);
    assert_true(fabs((double)cls - 0.2345769703) < 1e-10);
    assert_true(fabs((double)norm - 1.0424871445) < 1e-10);
    assert_true(fabs((double)qkv - 0.2771906555) < 1e-10);
    assert_true(fabs((double)image - 0.4952189326) < 1e-10);
}

static void streams_and_seeds_differ_and_repeat(void **state) {
    (void)state;
    kh_rng a = kh_rng_make(7, 1), again = kh_rng_make(7, 1);
    kh_rng other_stream = kh_rng_make(7, 2), other_seed = kh_rng_make(8, 1);
    const uint64_t first = kh_rng_u64(&a);
    assert_true(first == kh_rng_u64(&again));
    assert_true(first != kh_rng_u64(&other_stream));
    assert_true(first != kh_rng_u64(&other_seed));
}

static void numbers_fill_their_range_evenly(void **state) {
    (void)state;
    kh_rng rng = kh_rng_make(1, 1);
    size_t counts[7] = {0};
    double sum = 0, squares = 0;
    for (int i = 0; i < 70000; i++)
        counts[kh_rng_below(&rng, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9600, 10400); /* 4 sigma = 370 */
    for (int i = 0; i < 100000; i++) {
        const double unit = kh_rng_unit(&rng);
        assert_true(unit >= 0.0 && unit < 1.0);
        const double normal = kh_rng_normal(&rng);
        sum += normal;
        squares += normal * normal;
    }
    assert_true(fabs(sum / 1e5) < 0.013);
    assert_true(fabs(squares / 1e5 - 1.0) < 0.02);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_formula_gives_the_published_values),
        cmocka_unit_test(streams_and_seeds_differ_and_repeat),
        cmocka_unit_test(numbers_fill_their_range_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
