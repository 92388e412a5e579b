/* Heatmaps against masks: scores worked by hand, and a brute-force AUROC. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "keyhole/truth.h"

enum { SIDE = 10, PIXELS = SIDE * SIDE };

/* As many patches as pixels: upsampling changes nothing. */
static const kh_grid one_to_one = {SIDE, SIDE, 1, 1};

static kh_truth_maps one_map(const float *map, const uint8_t *truth) {
    return (kh_truth_maps){.maps = map,
                           .images = 1,
                           .stride = 1,
                           .scored = 1,
                           .grid = one_to_one,
                           .truth = truth,
                           .height = SIDE,
                           .width = SIDE,
                           .quantile = 0.8};
}

static kh_truth_score score_of(const float *map, const uint8_t *truth) {
    const kh_truth_maps what = one_map(map, truth);
    kh_truth_score s;
    kh_error err = {0};
    kh_assert_ok(kh_lens_truth_scores(NULL, &what, &s, &err));
    return s;
}

/* Values 1..100 in a scattered order; the object is where they are above `above`. */
static void scattered(float *map, uint8_t *truth, float above) {
    for (size_t i = 0; i < PIXELS; i++) {
        map[i] = (float)(1 + i * 37 % PIXELS);
        truth[i] = map[i] > above ? 7 : 0;
    }
}

static void a_map_that_is_the_mask_scores_one(void **state) {
    (void)state;
    float map[PIXELS];
    uint8_t truth[PIXELS];
    scattered(map, truth, 80); /* the mask keeps the 20 above position 79.2 */
    const kh_truth_score s = score_of(map, truth);
    assert_true(s.object == 20 && s.kept == 20 && !s.is_silent && s.is_hit);
    assert_true(s.iou == 1 && s.ceiling == 1 && s.precision == 1 && s.recall == 1 && s.auroc == 1);
    assert_true(s.share == 0.2 && s.peak == 100);
    assert_true(s.inside == 90.5 && s.outside == 40.5);
}

static void a_larger_and_a_smaller_object_bound_the_iou(void **state) {
    (void)state;
    float map[PIXELS];
    uint8_t truth[PIXELS];
    scattered(map, truth, 60); /* 40 pixels, 20 of them in the mask */
    kh_truth_score s = score_of(map, truth);
    assert_true(s.iou == 0.5 && s.ceiling == 0.5 && s.precision == 1 && s.recall == 0.5);
    assert_true(s.auroc == 1);
    scattered(map, truth, 95); /* 5 pixels, all of them in the mask */
    s = score_of(map, truth);
    assert_true(s.iou == 0.25 && s.ceiling == 0.25 && s.precision == 0.25 && s.recall == 1);
}

static void the_inverse_map_has_auroc_zero(void **state) {
    (void)state;
    float map[PIXELS];
    uint8_t truth[PIXELS];
    scattered(map, truth, 80);
    for (size_t i = 0; i < PIXELS; i++)
        map[i] = -map[i];
    const kh_truth_score s = score_of(map, truth);
    assert_true(s.auroc == 0 && s.iou == 0 && s.precision == 0 && !s.is_hit);
    assert_true(s.is_silent); /* nothing above 0, yet it has a mask */
    assert_true(s.kept == 20 && s.ceiling == 1);
}

static void a_constant_map_says_nothing(void **state) {
    (void)state;
    float map[PIXELS];
    uint8_t truth[PIXELS] = {0};
    for (size_t i = 0; i < PIXELS; i++) {
        map[i] = 3;
        truth[i] = i < 10; /* also where the first maximum would be */
    }
    const kh_truth_score s = score_of(map, truth);
    assert_true(s.is_silent && s.kept == 0 && s.iou == 0 && s.recall == 0 && isnan(s.precision));
    assert_true(!s.is_hit && s.auroc == 0.5 && s.ceiling == 0.5); /* 10 of the usual 20 */
}

static void ties_count_half(void **state) {
    (void)state;
    float map[PIXELS];
    uint8_t truth[PIXELS];
    for (size_t i = 0; i < PIXELS; i++) {
        map[i] = i < 40 ? 1.0f : 0.0f;
        truth[i] = i % 2 == 0 && i < 80;
    }
    /* 20 + 20 positives at 1 and 0, 20 + 40 negatives: (20 * 40 + (20 * 20 + 20 * 40) / 2) / 2400
     */
    assert_true(score_of(map, truth).auroc == 1400.0 / 2400.0);
}

static void a_picture_without_the_object_has_no_score(void **state) {
    (void)state;
    float map[PIXELS];
    uint8_t truth[PIXELS];
    scattered(map, truth, 100);
    const kh_truth_score s = score_of(map, truth);
    assert_true(s.object == 0 && isnan(s.iou) && isnan(s.auroc) && isnan(s.share));
    for (size_t i = 0; i < PIXELS; i++)
        truth[i] = 1;
    const kh_truth_score all = score_of(map, truth);
    assert_true(all.object == PIXELS && all.iou == 0.2 && isnan(all.auroc) && isnan(all.outside));
}

static void pointing_takes_the_first_maximum_of_the_upsampled_map(void **state) {
    (void)state;
    /* one hot patch of 2 x 2, blown up to 8 x 8: its corner pixels reach the maximum */
    const float map[4] = {0, 0, 0, 1};
    uint8_t truth[64] = {0};
    kh_truth_maps what = {.maps = map,
                          .images = 1,
                          .stride = 1,
                          .scored = 1,
                          .grid = {2, 2, 1, 1},
                          .truth = truth,
                          .height = 8,
                          .width = 8,
                          .quantile = 0.8};
    kh_truth_score s;
    kh_error err = {0};
    truth[6 * 8 + 6] = 1; /* s = 1.125 and beyond is the patch itself: rows and columns 6, 7 */
    kh_assert_ok(kh_lens_truth_scores(NULL, &what, &s, &err));
    assert_true(s.is_hit && s.peak == 1);
    truth[6 * 8 + 6] = 0;
    truth[7 * 8 + 7] = 1; /* as large, but not the first */
    kh_assert_ok(kh_lens_truth_scores(NULL, &what, &s, &err));
    assert_false(s.is_hit);
    assert_true(s.auroc == (60.0 + 1.5) / 63.0); /* three ties */
}

static void the_middle_falls_off_to_the_corners(void **state) {
    (void)state;
    float map[3 * 2];
    kh_lens_truth_middle((kh_grid){3, 2, 1, 1}, map);
    /* patch centres at -2/3, 0, 2/3 and -1/2, 1/2 */
    assert_true(fabs((double)map[2] - (1 - 0.25 / 2)) < 1e-7 && map[3] == map[2]);
    assert_true(fabs((double)map[0] - (1 - (4.0 / 9 + 0.25) / 2)) < 1e-7 && map[5] == map[0]);
    float one;
    kh_lens_truth_middle((kh_grid){1, 1, 0.5, 1}, &one); /* the lower half was never looked at */
    assert_true(one == 1 - 0.25f / 2);
}

static void a_nan_in_a_map_is_named(void **state) {
    (void)state;
    float maps[3 * PIXELS];
    uint8_t truth[PIXELS] = {1};
    kh_truth_score s[3];
    kh_error err = {0};
    for (size_t i = 0; i < 3 * PIXELS; i++)
        maps[i] = (float)i;
    maps[2 * PIXELS + 5] = NAN;
    kh_truth_maps what = {.maps = maps,
                          .images = 1,
                          .stride = 3,
                          .scored = 3,
                          .grid = one_to_one,
                          .truth = truth,
                          .height = SIDE,
                          .width = SIDE,
                          .quantile = 0.8};
    kh_assert_fails(kh_lens_truth_scores(NULL, &what, s, &err), KH_E_NUMERIC, "map 2 of image 0");
    what.scored = 2;
    kh_assert_ok(kh_lens_truth_scores(NULL, &what, s, &err));
    what.quantile = 80;
    kh_assert_fails(kh_lens_truth_scores(NULL, &what, s, &err), KH_E_ARG, "80");
}

/* ---- any split, any threads ---------------------------------------------------------------- */

enum { IMAGES = 5, STRIDE = 4, SCORED = 3, PATCHES = 9 };

static void threads_and_batches_change_nothing(void **state) {
    (void)state;
    float maps[IMAGES * STRIDE * PATCHES];
    uint8_t truth[IMAGES * PIXELS];
    kh_truth_score want[IMAGES * SCORED], got[IMAGES * SCORED];
    kh_error err = {0};
    kh_rng rng = kh_rng_make(5, 1);
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++)
        maps[i] = (float)kh_rng_normal(&rng);
    for (size_t i = 0; i < sizeof truth; i++)
        truth[i] = kh_rng_unit(&rng) < 0.3;
    kh_truth_maps what = {.maps = maps,
                          .images = IMAGES,
                          .stride = STRIDE,
                          .scored = SCORED,
                          .grid = {3, 3, 1, 1},
                          .truth = truth,
                          .height = SIDE,
                          .width = SIDE,
                          .quantile = 0.8};
    memset(want, 0, sizeof want);
    kh_assert_ok(kh_lens_truth_scores(NULL, &what, want, &err));
    for (size_t threads = 1; threads <= 3; threads += 2) {
        kh_ctx *ctx = NULL;
        const kh_ctx_options options = {.threads = threads};
        kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
        memset(got, 0, sizeof got);
        kh_assert_ok(kh_lens_truth_scores(ctx, &what, got, &err));
        for (size_t i = 0; i < IMAGES * SCORED; i++)
            assert_memory_equal(&got[i].share, &want[i].share, 8 * sizeof(double));
        kh_ctx_free(ctx);
    }
    for (size_t i = 0; i < IMAGES; i++) { /* one image at a time, one map at a time */
        kh_truth_maps one = what;
        one.images = 1;
        one.scored = 1;
        one.maps = maps + i * STRIDE * PATCHES;
        one.truth = truth + i * PIXELS;
        kh_assert_ok(kh_lens_truth_scores(NULL, &one, got, &err));
        assert_true(got->iou == want[i * SCORED].iou && got->auroc == want[i * SCORED].auroc);
        assert_true(got->inside == want[i * SCORED].inside);
    }
}

/* ---- AUROC --------------------------------------------------------------------------------- */

static void auroc_is_the_share_of_pairs_in_order(void **state) {
    (void)state;
    enum { N = 200 };
    float values[N];
    uint8_t positive[N];
    kh_error err = {0};
    for (uint64_t seed = 0; seed < 30; seed++) {
        kh_rng rng = kh_rng_make(seed, 0);
        const double spread = seed % 3 == 0   ? 2
                              : seed % 3 == 1 ? 20
                                              : 1e6; /* many, few ties, none */
        for (size_t i = 0; i < N; i++) {
            values[i] = (float)(floor(kh_rng_normal(&rng) * spread) / 7);
            positive[i] = kh_rng_below(&rng, 4) == 0;
        }
        values[0] = -0.0f; /* equal to 0 */
        values[1] = 0.0f;
        values[2] = INFINITY;
        values[3] = -INFINITY;
        positive[0] = 1;
        positive[1] = 0;
        double good = 0, pairs = 0, got;
        for (size_t p = 0; p < N; p++)
            for (size_t n = 0; n < N; n++) {
                if (!positive[p] || positive[n]) continue;
                pairs++;
                good += values[p] > values[n] ? 1 : values[p] < values[n] ? 0 : 0.5;
            }
        kh_assert_ok(kh_lens_auroc(values, positive, N, &got, &err));
        assert_true(got == good / pairs);
    }
    values[9] = NAN;
    double got;
    kh_assert_fails(kh_lens_auroc(values, positive, N, &got, &err), KH_E_NUMERIC, "value 9");
    memset(positive, 1, sizeof positive);
    kh_assert_ok(kh_lens_auroc(values, positive, 9, &got, &err));
    assert_true(isnan(got));
}

/* ---- bootstrap ----------------------------------------------------------------------------- */

static void the_interval_is_as_wide_as_the_standard_error_says(void **state) {
    (void)state;
    double values[101];
    kh_band band, again;
    kh_error err = {0};
    for (size_t i = 0; i < 100; i++)
        values[i] = (double)(i % 2); /* standard error of the mean 0.05 */
    values[100] = NAN;
    kh_assert_ok(kh_lens_bootstrap(values, 101, 4000, 4, &band, &err));
    assert_true(band.mean == 0.5);
    assert_true(fabs(band.lo - (0.5 - 1.96 * 0.05)) < 0.011); /* means are steps of 0.01 */
    assert_true(fabs(band.hi - (0.5 + 1.96 * 0.05)) < 0.011);
    kh_assert_ok(kh_lens_bootstrap(values, 100, 4000, 4, &again, &err));
    assert_memory_equal(&band, &again, sizeof band);
    for (size_t i = 0; i < 100; i++)
        values[i] = 0.25;
    kh_assert_ok(kh_lens_bootstrap(values, 100, 10, 4, &band, &err));
    assert_true(band.mean == 0.25 && band.lo == 0.25 && band.hi == 0.25);
    kh_assert_ok(kh_lens_bootstrap(values + 100, 1, 10, 4, &band, &err));
    assert_true(isnan(band.mean) && isnan(band.lo) && isnan(band.hi));
    kh_assert_fails(kh_lens_bootstrap(values, 1, 0, 4, &band, &err), KH_E_ARG, "no resamples");
}

/* ---- means, plan, class -------------------------------------------------------------------- */

static void means_leave_out_pictures_without_the_object(void **state) {
    (void)state;
    const kh_truth_score s[3] = {{.object = 10,
                                  .kept = 5,
                                  .is_hit = true,
                                  .share = 0.25,
                                  .iou = 0.5,
                                  .ceiling = 0.5,
                                  .precision = 0.75,
                                  .recall = 0.25,
                                  .auroc = 0.875,
                                  .inside = 2,
                                  .outside = -1},
                                 {.object = 0, .iou = (double)NAN, .auroc = (double)NAN},
                                 {.object = 20,
                                  .kept = 0,
                                  .is_silent = true,
                                  .share = 0.75,
                                  .iou = 0,
                                  .ceiling = 1,
                                  .precision = (double)NAN,
                                  .recall = 0,
                                  .auroc = 0.5,
                                  .inside = 0,
                                  .outside = 0}};
    kh_truth_mean m, both;
    kh_lens_truth_mean(s, 3, 1, &m);
    assert_true(m.images == 2 && m.silent == 1 && m.share == 0.5 && m.iou == 0.25);
    assert_true(m.ceiling == 0.75 && m.recall == 0.125 && m.pointing == 0.5);
    assert_true(m.auroc == 0.6875 && m.inside == 1 && m.outside == -0.5 && m.precision == 0.75);
    kh_truth_mean two[2] = {m, m};
    two[1].iou = 0.75;
    two[1].precision = (double)NAN;
    kh_lens_truth_mean_of(two, 2, &both);
    assert_true(both.images == 4 && both.silent == 2 && both.iou == 0.5);
    assert_true(both.precision == 0.75 && both.auroc == 0.6875);
    kh_lens_truth_mean(s + 1, 1, 1, &m);
    assert_true(m.images == 0 && isnan(m.iou) && isnan(m.pointing));
}

/* 3 blocks of 8 neurons, 2 classes, scores that say where they came from */
static kh_ranking small_ranking(void) {
    enum { BLOCKS = 3, UNITS = 8, CLASSES = 2, K = 4 };
    kh_error err = {0};
    kh_ranker *ranker;
    kh_ranking r;
    kh_assert_ok(kh_lens_ranker_create(BLOCKS, UNITS, CLASSES, K, &ranker, &err));
    for (size_t b = 0; b < BLOCKS; b++) {
        float scores[UNITS * CLASSES];
        for (size_t i = 0; i < UNITS * CLASSES; i++)
            scores[i] = (float)((i * 5 + b * 11) % 17 + (b == 1 ? 10 : 0));
        kh_assert_ok(kh_lens_ranker_feed(ranker, NULL, scores, &err));
    }
    kh_assert_ok(kh_lens_ranker_finish(ranker, &r, &err));
    kh_lens_ranker_free(ranker);
    return r;
}

static void the_plan_draws_other_neurons_of_the_first_ones_block(void **state) {
    (void)state;
    kh_ranking r = small_ranking();
    kh_truth_plan plan, fewer, other;
    kh_error err = {0};
    kh_assert_ok(kh_lens_truth_plan(&r, 2, 6, 4, &plan, &err));
    kh_assert_ok(kh_lens_truth_plan(&r, 2, 3, 4, &fewer, &err));
    kh_assert_ok(kh_lens_truth_plan(&r, 2, 6, 5, &other, &err));
    assert_true(plan.scored == 2 + 6 + 3 && plan.count == plan.scored + 2);
    assert_true(plan.neurons.k == plan.count && plan.neurons.classes == 2);
    size_t differ = 0;
    for (size_t c = 0; c < 2; c++) {
        const kh_ranked *row = plan.neurons.global + c * plan.count;
        assert_memory_equal(row, r.global + c * r.k, 2 * sizeof *row);
        for (size_t i = 2; i < 8; i++) {
            assert_int_equal(row[i].block, row[0].block);
            for (size_t j = 0; j < i; j++)
                assert_true(row[j].block != row[i].block || row[j].index != row[i].index);
            const kh_ranked *with_seed_5 = other.neurons.global + c * other.count;
            differ += row[i].index != with_seed_5[i].index;
        }
        const kh_ranked *short_row = fewer.neurons.global + c * fewer.count;
        for (size_t i = 2; i < 5; i++)
            assert_int_equal(short_row[i].index, row[i].index);
        for (size_t b = 0; b < 3; b++) {
            assert_int_equal(row[8 + b].block, b);
            assert_int_equal(row[8 + b].index, r.block_index[b * r.k * 2 + c]);
        }
        for (size_t o = 0; o < 2; o++)
            assert_memory_equal(&row[11 + o], &r.global[o * r.k], sizeof *row);
    }
    assert_true(differ > 0);
    kh_truth_plan_clear(&plan);
    kh_truth_plan_clear(&fewer);
    kh_truth_plan_clear(&other);
    kh_assert_fails(kh_lens_truth_plan(&r, 2, 8, 4, &plan, &err), KH_E_ARG, "8 random neurons");
    kh_assert_fails(kh_lens_truth_plan(&r, 5, 1, 4, &plan, &err), KH_E_ARG,
                    "the ranking has 1 to 4");
    kh_assert_fails(kh_lens_truth_plan(&r, 0, 1, 4, &plan, &err), KH_E_ARG, "0 neurons");
    kh_ranking_clear(&r);
}

static void a_class_knows_its_best_rank_and_the_draws_it_beats(void **state) {
    (void)state;
    const kh_truth_plan plan = {.topk = 3, .draws = 3, .blocks = 1, .classes = 1, .scored = 7};
    const double iou[7] = {0.25, 0.5, 0.5, 0.125, 0.25, 0.75, 0.25};
    kh_truth_score s[2 * 7] = {{0}};
    for (size_t i = 0; i < 14; i++)
        s[i] = (kh_truth_score){.object = 1, .kept = 1, .iou = iou[i % 7], .is_hit = i % 7 == 2};
    s[7].iou = 0.3125; /* the mean of rank 0 is 0.28125 */
    kh_truth_mean means[7];
    kh_truth_class c;
    kh_lens_truth_class(&plan, s, 2, means, &c);
    assert_true(c.rank[0].iou == 0.28125 && c.rank[0].images == 2);
    assert_int_equal(c.best_iou, 1); /* ranks 1 and 2 are equal */
    assert_int_equal(c.best_pointing, 2);
    assert_int_equal(c.draws_below, 2);
    assert_true(c.random.iou == 0.375 && c.block[0].iou == 0.25);
    for (size_t i = 0; i < 14; i++)
        s[i].object = 0;
    kh_lens_truth_class(&plan, s, 2, means, &c);
    assert_true(c.best_iou == KH_NO_CLASS && isnan(c.random.iou) && c.draws_below == 0);
}

static void selectivity_compares_own_pictures_with_others(void **state) {
    (void)state;
    const float peaks[5 * 2] = {3, 1, 2, 1, 2, 1, 1, 1, 0, 1};
    const size_t classes[5] = {0, 0, 1, 1, 1};
    kh_truth_selectivity s[2];
    kh_error err = {0};
    kh_assert_ok(kh_lens_truth_selectivity(peaks, classes, 5, 2, s, &err));
    assert_true(s[0].own == 2.5 && s[0].other == 1 && s[0].auroc == 5.5 / 6);
    assert_true(s[1].own == 1 && s[1].other == 1 && s[1].auroc == 0.5);
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    kh_ranking r = small_ranking();
    float map[PIXELS];
    uint8_t truth[PIXELS];
    scattered(map, truth, 80);
    const double values[2] = {1, 2};
    const size_t classes[PIXELS] = {0};
    const kh_truth_maps what = one_map(map, truth);
    for (size_t which = 0; which < 5; which++) {
        kh_status status = KH_E_MEMORY;
        for (size_t n = 1; status == KH_E_MEMORY; n++) {
            assert_true(n < 50);
            kh_truth_plan plan = {0};
            kh_truth_score s;
            kh_truth_selectivity selective;
            kh_band band;
            double auroc;
            kh_alloc_fail_after(n);
            status = which == 0   ? kh_lens_truth_scores(NULL, &what, &s, NULL)
                     : which == 1 ? kh_lens_auroc(map, truth, PIXELS, &auroc, NULL)
                     : which == 2 ? kh_lens_bootstrap(values, 2, 5, 1, &band, NULL)
                     : which == 3
                         ? kh_lens_truth_plan(&r, 1, 2, 3, &plan, NULL)
                         : kh_lens_truth_selectivity(map, classes, PIXELS, 1, &selective, NULL);
            kh_alloc_fail_after(0);
            kh_truth_plan_clear(&plan);
            assert_true(n > 1 || status == KH_E_MEMORY);
        }
        assert_int_equal(status, KH_OK);
    }
    kh_ranking_clear(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_map_that_is_the_mask_scores_one),
        cmocka_unit_test(a_larger_and_a_smaller_object_bound_the_iou),
        cmocka_unit_test(the_inverse_map_has_auroc_zero),
        cmocka_unit_test(a_constant_map_says_nothing),
        cmocka_unit_test(ties_count_half),
        cmocka_unit_test(a_picture_without_the_object_has_no_score),
        cmocka_unit_test(pointing_takes_the_first_maximum_of_the_upsampled_map),
        cmocka_unit_test(the_middle_falls_off_to_the_corners),
        cmocka_unit_test(a_nan_in_a_map_is_named),
        cmocka_unit_test(threads_and_batches_change_nothing),
        cmocka_unit_test(auroc_is_the_share_of_pairs_in_order),
        cmocka_unit_test(the_interval_is_as_wide_as_the_standard_error_says),
        cmocka_unit_test(means_leave_out_pictures_without_the_object),
        cmocka_unit_test(the_plan_draws_other_neurons_of_the_first_ones_block),
        cmocka_unit_test(a_class_knows_its_best_rank_and_the_draws_it_beats),
        cmocka_unit_test(selectivity_compares_own_pictures_with_others),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
