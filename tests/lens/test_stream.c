/* What streams by: exact sums, sketches, best lists; any split and any order give the same bytes.
 */
#include "support/kh_test.h"

#include "base/rng.h"
#include "lens/concentration.h"
#include "lens/stream.h"

enum { VALUES = 20000, LISTS = 3, K = 7, BINS = KH_SKETCH_BINS };

static void assert_near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.17g, expected %.17g", got, want);
}

typedef struct state {
    int64_t sums[2];
    uint64_t n;
    uint32_t bins[BINS];
    float max, min;
    kh_top_entry top[LISTS * K];
} state;

static size_t pieces_of(state *s, kh_piece *p) {
    p[0] = (kh_piece){"sums", KH_PIECE_SUM_I64, s->sums, 2, 0};
    p[1] = (kh_piece){"n", KH_PIECE_SUM_U64, &s->n, 1, 0};
    p[2] = (kh_piece){"bins", KH_PIECE_SUM_U32, s->bins, BINS, 0};
    p[3] = (kh_piece){"max", KH_PIECE_MAX_F32, &s->max, 1, 0};
    p[4] = (kh_piece){"min", KH_PIECE_MIN_F32, &s->min, 1, 0};
    p[5] = (kh_piece){"top", KH_PIECE_TOP, s->top, LISTS * K, K};
    return 6;
}

static void reset(state *s) {
    kh_piece p[6];
    memset(s, 0, sizeof *s);
    for (size_t i = 0, n = pieces_of(s, p); i < n; i++)
        kh_piece_reset(&p[i]);
}

static void merge(state *into, state *from) {
    kh_piece a[6], b[6];
    kh_error err = {0};
    for (size_t i = 0, n = pieces_of(into, a) + 0 * pieces_of(from, b); i < n; i++)
        kh_assert_ok(kh_piece_absorb(&a[i], 0, b[i].data, b[i].count, &err));
}

static void see(state *s, const float *values, size_t id) {
    const float x = values[id];
    assert_true(kh_fix_add(&s->sums[0], (double)x));
    assert_true(kh_fix_add(&s->sums[1], (double)x * (double)x));
    s->n++;
    s->bins[kh_sketch_bin(x)]++;
    if (x > s->max) s->max = x;
    if (x < s->min) s->min = x;
    const kh_top_entry entry = {x, (uint32_t)(id % 5), id / 2}; /* two tokens of an image */
    kh_top_insert(s->top + id % LISTS * K, K, entry);
}

/* Heavy-tailed, a third negative, many ties. */
static void fill(float *values, uint64_t seed) {
    kh_rng rng = kh_rng_make(seed, 0);
    for (size_t i = 0; i < VALUES; i++) {
        const double x = exp(2 * kh_rng_normal(&rng) - 1);
        values[i] = (float)(kh_rng_below(&rng, 3) ? floor(x * 64) / 64 + x * 1e-3 : -x);
    }
}

static void every_split_and_order_gives_the_same_bytes(void **unused) {
    (void)unused;
    static float values[VALUES];
    static state whole, parts[7], merged;
    fill(values, 5);
    reset(&whole);
    for (size_t i = 0; i < VALUES; i++)
        see(&whole, values, i);
    kh_rng rng = kh_rng_make(9, 1);
    for (size_t trial = 0; trial < 30; trial++) {
        const size_t shards = trial < 3 ? 1 + 3 * trial : 1 + kh_rng_below(&rng, 7);
        for (size_t s = 0; s < shards; s++)
            reset(&parts[s]);
        const size_t start = kh_rng_below(&rng, VALUES); /* images in another order, too */
        for (size_t i = 0; i < VALUES; i++)
            see(&parts[kh_rng_below(&rng, shards)], values, (start + i * 7919) % VALUES);
        reset(&merged);
        for (size_t left = shards; left > 0; left--) { /* merged in any order */
            const size_t pick = kh_rng_below(&rng, left);
            merge(&merged, &parts[pick]);
            parts[pick] = parts[left - 1];
        }
        assert_memory_equal(&merged, &whole, sizeof whole);
    }
}

static int compare_floats(const void *left, const void *right) {
    const float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static void the_sketch_knows_quantiles_to_half_a_percent(void **unused) {
    (void)unused;
    static float values[VALUES];
    static state s;
    for (uint64_t seed = 1; seed < 6; seed++) {
        fill(values, seed);
        reset(&s);
        for (size_t i = 0; i < VALUES; i++)
            see(&s, values, i);
        qsort(values, VALUES, sizeof *values, compare_floats);
        for (double q = 0.4; q <= 1; q += 0.005) {
            bool is_low;
            const double got = kh_sketch_quantile(s.bins, q, s.max, &is_low);
            const double want = (double)values[(size_t)ceil(q * VALUES) - 1];
            assert_false(is_low);
            if (!(fabs(got - want) <= 0.005 * want))
                fail_msg("quantile %g: %g, exactly %g", q, got, want);
        }
        bool is_low;
        (void)kh_sketch_quantile(s.bins, 0.2, s.max, &is_low);
        assert_true(is_low);
        assert_near(kh_sketch_quantile(s.bins, 1, s.max, &is_low), (double)s.max,
                    0.004 * (double)s.max);
        /* and back: the share above its own 0.995 quantile */
        const double t = kh_sketch_quantile(s.bins, 0.995, s.max, &is_low);
        assert_near(kh_sketch_above(s.bins, t), 0.005, 0.0002);
    }
}

static void bins_hold_what_their_edges_say(void **unused) {
    (void)unused;
    assert_int_equal(kh_sketch_bin(-3), 0);
    assert_int_equal(kh_sketch_bin(0x1.fffffep-14f), 0);
    assert_int_equal(kh_sketch_bin(0x1p-13f), 1);
    assert_int_equal(kh_sketch_bin(1e30f), BINS - 1);
    for (size_t bin = 1; bin + 1 < BINS; bin++) {
        const float lo = (float)kh_sketch_edge(bin), hi = (float)kh_sketch_edge(bin + 1);
        assert_int_equal(kh_sketch_bin(lo), bin);
        assert_int_equal(kh_sketch_bin(nextafterf(hi, 0)), bin);
        assert_true(hi <= lo * (1 + 1.0f / 128));
    }
}

static void auroc_counts_pairs(void **unused) {
    (void)unused;
    /* a = {0, 1, 1}, b = {1, 2}: of six pairs b wins 4, ties 2 */
    const uint32_t a[3] = {1, 2, 0}, b[3] = {0, 1, 1}, none[3] = {0};
    assert_near(kh_sketch_auroc(a, b, 3), 5.0 / 6, 1e-15);
    assert_near(kh_sketch_auroc(b, a, 3), 1.0 / 6, 1e-15);
    assert_true(isnan(kh_sketch_auroc(a, none, 3)));
}

static void rounding_is_that_of_the_library(void **unused) {
    (void)unused;
    kh_rng rng = kh_rng_make(7, 1);
    static const double odd[] = {0.5,      1.5,     2.5,          -0.5,         -2.5,
                                 0x1p51,   -0x1p51, 0x1p51 - 0.5, 0x1p51 - 1.5, 0x1p52 + 1,
                                 0x1.fp61, -0.0,    0x1p-1074};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_int_equal(kh_fix_round(odd[i]), llrint(odd[i]));
    for (int exponent = -4; exponent < 62; exponent++)
        for (int i = 0; i < 200; i++) {
            const double x = ldexp(2 * kh_rng_unit(&rng) - 1, exponent);
            const double half = floor(x) + 0.5; /* a tie, where it still can be told */
            assert_int_equal(kh_fix_round(x), llrint(x));
            assert_int_equal(kh_fix_round(half), llrint(half));
        }
}

static void what_cannot_be_summed_is_refused(void **unused) {
    (void)unused;
    int64_t sum = 0;
    kh_error err = {0};
    assert_false(kh_fix_add(&sum, (double)NAN));
    assert_false(kh_fix_add(&sum, (double)INFINITY));
    assert_false(kh_fix_add(&sum, 0x1p42));
    assert_true(kh_fix_add(&sum, -0x1.8p41));
    assert_true(kh_fix_add(&sum, 0.5));
    assert_near(kh_fix_value(sum), -0x1.8p41 + 0.5, 0);
    int64_t big = INT64_MAX - 5;
    uint32_t small = UINT32_MAX;
    const int64_t six = 6;
    const uint32_t one = 1;
    const kh_piece p = {"big", KH_PIECE_SUM_I64, &big, 1, 0};
    const kh_piece q = {"small", KH_PIECE_SUM_U32, &small, 1, 0};
    kh_assert_fails(kh_piece_absorb(&p, 0, &six, 1, &err), KH_E_LIMIT, "big: a sum is too large");
    kh_assert_fails(kh_piece_absorb(&q, 0, &one, 1, &err), KH_E_LIMIT, "small: a sum");
    kh_top_entry list[2], from[2] = {{1, 0, 4}, {2, 0, 3}};
    kh_top_clear(list, 2);
    const kh_piece r = {"list", KH_PIECE_TOP, list, 2, 2};
    kh_assert_fails(kh_piece_absorb(&r, 0, from, 2, &err), KH_E_FORMAT, "list: a list is not in");
}

static void moments_come_back_from_sums(void **unused) {
    (void)unused;
    int64_t sum = 0, squares = 0;
    const double x[4] = {1, 2, 3, 6};
    for (size_t i = 0; i < 4; i++)
        assert_true(kh_fix_add(&sum, x[i]) && kh_fix_add(&squares, x[i] * x[i]));
    assert_near(kh_fix_mean(sum, 4), 3, 0);
    assert_near(kh_fix_variance(sum, squares, 4), 3.5, 1e-12);
    assert_true(isnan(kh_fix_mean(sum, 0)) && isnan(kh_fix_variance(sum, squares, 0)));
}

static void equal_values_are_spread_and_a_single_one_is_not(void **unused) {
    (void)unused;
    enum { N = 96, TOP = 10 };
    kh_error err = {0};
    kh_concentration c;
    float values[N];
    size_t top[TOP];
    for (size_t i = 0; i < N; i++)
        values[i] = 0.3f;
    kh_assert_ok(kh_concentration_of(values, N, top, TOP, &c, &err));
    assert_near(c.effective, N, 1e-9);
    assert_near(c.gini, 0, 1e-12);
    assert_near(c.share[2], 10.0 / N, 1e-12);
    for (size_t i = 0; i < N; i++)
        values[i] = i == 41 ? 2.0f : i % 2 ? -0.1f : 0.0f; /* what is below 0 holds nothing */
    kh_assert_ok(kh_concentration_of(values, N, top, TOP, &c, &err));
    assert_near(c.effective, 1, 1e-12);
    assert_near(c.gini, (N - 1.0) / N, 1e-12);
    assert_near(c.share[0], 1, 1e-12);
    assert_int_equal(top[0], 41);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_and_order_gives_the_same_bytes),
        cmocka_unit_test(the_sketch_knows_quantiles_to_half_a_percent),
        cmocka_unit_test(bins_hold_what_their_edges_say),
        cmocka_unit_test(auroc_counts_pairs),
        cmocka_unit_test(rounding_is_that_of_the_library),
        cmocka_unit_test(what_cannot_be_summed_is_refused),
        cmocka_unit_test(moments_come_back_from_sums),
        cmocka_unit_test(equal_values_are_spread_and_a_single_one_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
