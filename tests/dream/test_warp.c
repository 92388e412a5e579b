/* Transforms: what they do to small planes, and that going back is the transpose. */
#include "support/kh_test.h"

#include "dream/axis.h"
#include "dream/chain.h"

static double dot(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

static void apply(kh_warp w, const float *in, float *out) {
    void *scratch = malloc(kh_warp_scratch(&w) + 1);
    kh_warp_apply(&w, in, out, scratch);
    free(scratch);
}

/* <T(a) - T(0), g> == <a, T' g> */
static void check_transpose(kh_warp w, const char *what) {
    const size_t from = w.from * w.from, to = w.to * w.to;
    float *a = malloc(from * sizeof *a), *zero = calloc(from, sizeof *zero);
    float *ta = malloc(to * sizeof *ta), *t0 = malloc(to * sizeof *t0), *g = malloc(to * sizeof *g);
    float *back = malloc(from * sizeof *back);
    void *scratch = malloc(kh_warp_scratch(&w) + 1);
    kh_test_fill(a, from, 1, 1.0f);
    kh_test_fill(g, to, 2, 1.0f);
    kh_warp_apply(&w, a, ta, scratch);
    kh_warp_apply(&w, zero, t0, scratch);
    kh_warp_back(&w, g, back, scratch);
    const double left = dot(ta, g, to) - dot(t0, g, to), right = dot(a, back, from);
    if (!(fabs(left - right) <= 2e-6 * sqrt((double)to) * 10))
        fail_msg("%s %zu -> %zu: %.9g against %.9g", what, w.from, w.to, left, right);
    free(a);
    free(zero);
    free(ta);
    free(t0);
    free(g);
    free(back);
    free(scratch);
}

static void every_operation_has_its_transpose(void **state) {
    (void)state;
    check_transpose(kh_warp_place(5, 9, 2, 2, 0.5f), "pad");
    check_transpose(kh_warp_place(9, 9, 7, 0, 0), "jitter");
    check_transpose(kh_warp_place(9, 9, -3, 4, 0.5f), "jitter");
    check_transpose(kh_warp_place(9, 5, -2, -2, 0), "crop");
    check_transpose(kh_warp_slide(12, 3, 0, 0), "slide");
    check_transpose(kh_warp_slide(12, 0, 7, 0), "slide");
    check_transpose(kh_warp_rotate(11, 7, 0.5f), "rotate");
    check_transpose(kh_warp_rotate(12, -10, 0), "rotate");
    check_transpose(kh_warp_resize(7, 13), "enlarge");
    check_transpose(kh_warp_resize(13, 7), "shrink");
    check_transpose(kh_warp_resize(4, 1), "to one");
    check_transpose(kh_warp_crop(40, 8, 3.3, 11.7, 20.5), "crop and shrink");
    check_transpose(kh_warp_crop(40, 16, 35, -4, 10), "crop over the border");
    check_transpose(kh_warp_roll(9, 4, 8), "roll");
}

static void padding_has_a_grey_rim(void **state) {
    (void)state;
    const float ones[4] = {1, 1, 1, 1};
    float out[16];
    apply(kh_warp_place(2, 4, 1, 1, 0.5f), ones, out);
    for (size_t i = 0; i < 16; i++) {
        const size_t y = i / 4, x = i % 4;
        assert_float_equal(out[i], (y > 0 && y < 3 && x > 0 && x < 3 ? 1.0f : 0.5f), 0);
    }
}

static void jitter_moves_right_and_down(void **state) {
    (void)state;
    const float in[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, want[9] = {0, 0, 0, 0, 1, 2, 0, 4, 5};
    float out[9];
    apply(kh_warp_place(3, 3, 1, 1, 0), in, out);
    kh_assert_close(out, want, 9, 0, 0);
    /* the reference's fraction at 152 pixels: 7.046 instead of 7, 4.6 % of the next pixel */
    float row[152 * 152] = {0}, moved[152 * 152];
    row[152 * 10 + 20] = 1;
    apply(kh_warp_slide(152, 7, 0, 0), row, moved);
    assert_float_equal(moved[152 * 10 + 27], 1 - 7.0f / 151, 1e-5);
    assert_float_equal(moved[152 * 10 + 28], 7.0f / 151, 1e-5);
}

static void rotating_by_90_turns_right_to_top(void **state) {
    (void)state;
    const float three[9] = {0, 0, 1, 0, 0, 1, 0, 0, 1}, top3[9] = {1, 1, 1, 0, 0, 0, 0, 0, 0};
    const float two[4] = {0, 1, 0, 1}, top2[4] = {1, 1, 0, 0};
    float out[9];
    apply(kh_warp_rotate(3, 90, 0), three, out);
    kh_assert_close(out, top3, 9, 0, 1e-6);
    apply(kh_warp_rotate(2, 90, 0), two, out);
    kh_assert_close(out, top2, 4, 0, 1e-6);
    float in[64], same[64];
    kh_test_fill(in, 64, 4, 1.0f);
    apply(kh_warp_rotate(8, 0, 0), in, same);
    assert_memory_equal(in, same, sizeof in);
}

static void ramps_stay_ramps(void **state) {
    (void)state;
    float in[49], out[169];
    for (size_t i = 0; i < 49; i++)
        in[i] = (float)(i % 7) + 10 * (float)(i / 7);
    apply(kh_warp_resize(7, 13), in, out);
    for (size_t i = 0; i < 169; i++)
        assert_float_equal(out[i], 0.5f * (float)(i % 13) + 5 * (float)(i / 13), 1e-5);
    float ones[169], back[49], total = 0;
    for (size_t i = 0; i < 169; i++)
        ones[i] = 1;
    kh_warp w = kh_warp_resize(7, 13);
    void *scratch = malloc(kh_warp_scratch(&w));
    kh_warp_back(&w, ones, back, scratch);
    free(scratch);
    for (size_t i = 0; i < 49; i++)
        total += back[i];
    assert_float_equal(total, 169, 1e-3);
}

/* ---- chains -------------------------------------------------------------------------------------
 */

static kh_dream_settings settings_of(const char *preset, size_t size) {
    kh_error err = {0};
    kh_dream_settings s;
    kh_assert_ok(kh_dream_preset(preset, &s, &err));
    s.size = size;
    return s;
}

static void sides_are_the_recorded_ones(void **state) {
    (void)state;
    static const size_t scaled[11] = {137, 140, 143, 146, 149, 152, 156, 159, 162, 165, 168};
    static const size_t framed[11] = {153, 152, 153, 152, 153, 152, 156, 159, 162, 165, 168};
    static const size_t framed224[11] = {248, 249, 248, 249, 248, 248, 253, 258, 263, 268, 273};
    for (size_t i = 0; i < 11; i++)
        for (size_t wide = 0; wide < 2; wide++) {
            const kh_dream_settings s = settings_of("report-quant", wide ? 224 : 128);
            const kh_draw draw = {.scale = i, .dx = 0};
            kh_chain chain;
            kh_chain_make(&s, s.size, 224, &draw, &chain);
            const kh_warp *last = &chain.ops[chain.count - 1];
            assert_int_equal(last->kind, KH_WARP_RESIZE);
            assert_int_equal(last->to, 224);
            assert_int_equal(last->from, wide ? framed224[i] : framed[i]);
            if (!wide && i != 5) assert_int_equal(chain.ops[1].to, scaled[i]);
        }
}

static void a_third_of_ones_is_one_in_the_middle(void **state) {
    (void)state;
    kh_dream_settings s = settings_of("report-quant", 3);
    s.pad = 0;
    s.max_scale = 0.67;
    const float ones[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, want[9] = {0, 0, 0, 0, 1, 0, 0, 0, 0};
    float out[9];
    const kh_draw draw = {.scale = 0}; /* 0.33 */
    kh_chain chain;
    kh_chain_make(&s, 3, 3, &draw, &chain);
    void *scratch = malloc(kh_chain_scratch(&s, 3, 3));
    kh_chain_apply(&chain, ones, out, scratch);
    free(scratch);
    kh_assert_close(out, want, 9, 0, 0);
}

static void check_chain(const kh_dream_settings *s, size_t model_side, const kh_draw *draw) {
    const size_t from = s->size * s->size, to = model_side * model_side;
    float *a = malloc(from * sizeof *a), *back = calloc(from, sizeof *back);
    float *ta = malloc(to * sizeof *ta), *t0 = malloc(to * sizeof *t0), *g = malloc(to * sizeof *g);
    void *scratch = malloc(kh_chain_scratch(s, s->size, model_side));
    kh_chain chain;
    kh_chain_make(s, s->size, model_side, draw, &chain);
    kh_test_fill(g, to, 2, 1.0f);
    memset(a, 0, from * sizeof *a);
    kh_chain_apply(&chain, a, t0, scratch);
    kh_test_fill(a, from, 1, 1.0f);
    kh_chain_apply(&chain, a, ta, scratch);
    kh_chain_back(&chain, g, back, scratch);
    const double left = dot(ta, g, to) - dot(t0, g, to), right = dot(a, back, from);
    if (!(fabs(left - right) <= 1e-5 * sqrt((double)to)))
        fail_msg("scale %zu, angle %g, (%td, %td): %.9g against %.9g", draw->scale, draw->angle,
                 draw->dx, draw->dy, left, right);
    free(a);
    free(back);
    free(ta);
    free(t0);
    free(g);
    free(scratch);
}

static void chains_have_their_transpose_for_every_draw(void **state) {
    (void)state;
    kh_dream_settings kinds[3] = {settings_of("report-quant", 20), settings_of("default", 20),
                                  settings_of("report-quant", 20)};
    kinds[2].jitter_is_fractional = true;
    for (size_t k = 0; k < 3; k++)
        for (size_t scale = 0; scale < 11; scale++)
            for (int angle = -10; angle <= 10; angle++)
                for (size_t corner = 0; corner < 4; corner++) {
                    const kh_draw draw = {.scale = scale,
                                          .angle = angle,
                                          .dx = corner % 2 ? 7 : 0,
                                          .dy = corner / 2 ? 7 : 0,
                                          .dx2 = corner / 2 ? 3 : 0,
                                          .dy2 = corner % 2 ? 3 : 0};
                    check_chain(&kinds[k], 24, &draw);
                }
}

/* Grey in, grey out: the clean chain never shows the model black. */
static void the_clean_chain_fills_with_grey(void **state) {
    (void)state;
    const kh_dream_settings s = settings_of("default", 24);
    float in[576], out[32 * 32];
    for (size_t i = 0; i < 576; i++)
        in[i] = 0.5f;
    void *scratch = malloc(kh_chain_scratch(&s, 24, 32));
    for (uint64_t k = 0; k < 50; k++) {
        kh_rng shared = kh_rng_make(k, 1), own = kh_rng_make(k, 2);
        kh_draw draw;
        kh_chain chain;
        kh_draw_make(&s, 32, &shared, &own, &draw);
        kh_chain_make(&s, 24, 32, &draw, &chain);
        kh_chain_apply(&chain, in, out, scratch);
        for (size_t i = 0; i < 1024; i++)
            assert_float_equal(out[i], 0.5f, 1e-6);
    }
    free(scratch);
}

static void draws_have_the_recorded_odds(void **state) {
    (void)state;
    const kh_dream_settings s = settings_of("report-quant", 128);
    size_t zeros = 0, scales[11] = {0}, tens = 0;
    const size_t count = 26000;
    for (size_t k = 0; k < count; k++) {
        kh_rng shared = kh_rng_make(k, 1), own = kh_rng_make(k, 2);
        kh_draw d;
        kh_draw_make(&s, 224, &shared, &own, &d);
        assert_true(d.dx >= 0 && d.dx < 8 && d.dy >= 0 && d.dy < 8);
        assert_true(d.dx2 >= 0 && d.dx2 < 4 && d.dy2 >= 0 && d.dy2 < 4);
        assert_true(fabs(d.angle) <= 10 && d.scale < 11);
        zeros += d.angle == 0;
        tens += d.angle == -10;
        scales[d.scale]++;
    }
    assert_true(zeros > 5700 && zeros < 6300); /* 6 of 26: 6000 +- 4 sd */
    assert_true(tens > 870 && tens < 1130);
    for (size_t i = 0; i < 11; i++)
        assert_true(scales[i] > 2170 && scales[i] < 2560);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operation_has_its_transpose),
        cmocka_unit_test(padding_has_a_grey_rim),
        cmocka_unit_test(jitter_moves_right_and_down),
        cmocka_unit_test(rotating_by_90_turns_right_to_top),
        cmocka_unit_test(ramps_stay_ramps),
        cmocka_unit_test(sides_are_the_recorded_ones),
        cmocka_unit_test(a_third_of_ones_is_one_in_the_middle),
        cmocka_unit_test(chains_have_their_transpose_for_every_draw),
        cmocka_unit_test(the_clean_chain_fills_with_grey),
        cmocka_unit_test(draws_have_the_recorded_odds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
