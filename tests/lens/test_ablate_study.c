/* What must hold for every ablation study: the same numbers whatever the batches and threads,
 * orders that are orders, controls that match, curves that begin and end where they should. */
#include "lens/ablate_numbers.h"

#include "keyhole/truth.h"

#include "base/alloc.h"

static ablate_world world;

static int open_world(void **state) {
    (void)state;
    ablate_world_open(&world);
    return 0;
}

static int close_world(void **state) {
    (void)state;
    ablate_world_close(&world);
    return 0;
}

/* ---- the same whatever the machine --------------------------------------------------------- */

static void same_for_all_batches_and_threads(void **state) {
    (void)state;
    static double want[MOST], got[MOST];
    static const struct {
        size_t batch, image_batch, threads;
    } ways[] = {{1, 1, 1}, {7, 5, 3}, {64, 24, 1}};
    for (size_t scope = 0; scope < 2; scope++) {
        kh_ablate_options o = everything();
        if (scope) {
            o.is_global = true;
            o.designs &= ~(unsigned)KH_ABLATE_SWEEP;
        } else {
            o.block = 0;
        }
        kh_ablation a = ablate_world_run(&world, &o);
        const size_t count = flatten(&a, want);
        kh_ablation_clear(&a);
        for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
            kh_error err = {0};
            const kh_ctx_options options = {.threads = ways[w].threads,
                                            .isa = kh_ctx_isa(world.g.ctx)};
            kh_ctx *ctx;
            kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
            o.batch = ways[w].batch;
            o.image_batch = ways[w].image_batch;
            kh_assert_ok(kh_ablate(ctx, world.g.model, &o, IMAGES, world.truth, ablate_world_read,
                                   &world, &a, &err));
            assert_int_equal(flatten(&a, got), count);
            assert_same_numbers(want, got, count, scope ? "all blocks" : "one block");
            kh_ablation_clear(&a);
            kh_ctx_free(ctx);
        }
    }
}

static void another_seed_is_another_study(void **state) {
    (void)state;
    static double one[MOST], other[MOST];
    kh_ablate_options o = everything();
    o.designs = KH_ABLATE_OWN;
    o.block = 0;
    kh_ablation a = ablate_world_run(&world, &o);
    const size_t count = flatten(&a, one);
    kh_ablation_clear(&a);
    o.seed = 6;
    a = ablate_world_run(&world, &o);
    assert_int_equal(flatten(&a, other), count);
    assert_true(memcmp(one, other, count * sizeof *one) != 0);
    kh_ablation_clear(&a);
}

/* ---- orders -------------------------------------------------------------------------------- */

static void random_orders_match_neuron_by_neuron(void **state) {
    (void)state;
    enum { DECILES = 10, SCOPE = 2, UNITS = SCOPE * 50 };
    static uint32_t order[UNITS], members[UNITS], out[4 * UNITS], other[4 * UNITS];
    static uint8_t decile[UNITS];
    static size_t member_at[SCOPE * DECILES + 1];
    const kh_model_info info = {.neurons = 50};
    kh_ablate_study s = {.info = &info,
                         .blocks = SCOPE,
                         .units = UNITS,
                         .order = order,
                         .decile = decile,
                         .members = members,
                         .member_at = member_at};
    size_t at = 0;
    for (size_t u = 0; u < UNITS; u++) {
        order[u] = (uint32_t)(u * 37 % UNITS);
        decile[u] = (uint8_t)(u * 7 % DECILES);
    }
    for (size_t g = 0; g < SCOPE * DECILES; g++) {
        member_at[g] = at;
        for (size_t u = g / DECILES * 50; u < (g / DECILES + 1) * 50; u++)
            if (decile[u] == g % DECILES) members[at++] = (uint32_t)u;
    }
    member_at[SCOPE * DECILES] = at;
    assert_int_equal(at, UNITS);
    size_t same = 0;
    for (size_t set = 0; set < 20; set++) {
        bool seen[UNITS] = {false};
        kh_ablate_random_order(&s, 0, set, out);
        kh_ablate_random_order(&s, 0, set + 1, other);
        for (size_t i = 0; i < UNITS; i++) {
            assert_false(seen[out[i]]);
            seen[out[i]] = true;
            assert_int_equal(out[i] / 50, order[i] / 50);
            assert_int_equal(decile[out[i]], decile[order[i]]);
            same += out[i] == other[i];
        }
        /* five of a decile: none of the first 12 ranks before the others are used up */
        for (size_t i = 0; i < 12; i++)
            for (size_t r = 0; r < UNITS / 8; r++)
                assert_int_not_equal(out[i], order[r]);
    }
    assert_true(same < 20 * UNITS / 2);
}

static void rankings_rank(void **state) {
    (void)state;
    static const kh_ablate_rank ranks[] = {KH_ABLATE_BY_LN, KH_ABLATE_BY_BOTTOM};
    for (size_t r = 0; r < 2; r++) {
        kh_ablate_options o = ablate_world_options();
        o.block = 1;
        o.rank = ranks[r];
        o.k_count = 1;
        o.sets = 0;
        kh_ablation a = ablate_world_run(&world, &o);
        assert_int_equal(a.class_count, LABELS);
        for (size_t i = 0; i < LABELS; i++) {
            const size_t c = a.class_rows[i].class_index;
            assert_int_equal(a.class_rows[i].first.block, 1);
            assert_int_equal(a.class_rows[i].first.index, world.order[1][c][r ? NEURONS - 1 : 0]);
        }
        kh_ablation_clear(&a);
    }
}

/* ---- curves -------------------------------------------------------------------------------- */

static double base_margin(void) {
    double sum = 0;
    for (size_t i = 0; i < IMAGES; i++)
        sum += kh_ablate_margin(world.base + i * CLASSES, CLASSES, world.truth[i]) / IMAGES;
    return sum;
}

static void curves_begin_and_end_where_they_should(void **state) {
    (void)state;
    kh_ablate_options o = ablate_world_options();
    o.block = 0;
    kh_ablation a = ablate_world_run(&world, &o);
    const double all = ablate_world_mean(&a, KH_ABLATE_RANKED, KH_ABLATE_MEAN, NEURONS, KH_NO_CLASS,
                                         KH_ABLATE_MARGIN);
    size_t starts = 0, ends = 0;
    for (size_t i = 0; i < a.point_count; i++) {
        const kh_ablate_point *p = &a.points[i];
        if (p->is_correct) continue;
        if (p->k == 0) {
            starts++;
            assert_near(p->margin.mean, p->is_insertion ? all : base_margin(), 1e-6, "start");
        }
        if (p->k == NEURONS) {
            ends++;
            assert_near(p->margin.mean, p->is_insertion ? base_margin() : all, 1e-6, "end");
        }
        assert_near(p->fraction, (double)p->k / NEURONS, 0, "fraction");
    }
    assert_int_equal(starts, 5); /* deletion: ranked, random, active; insertion: ranked, random */
    assert_int_equal(ends, 4);   /* active has half the neurons */
    for (size_t i = 0; i < a.effect_count; i++)
        if (a.effects[i].metric == KH_ABLATE_SHARE && a.effects[i].k == NEURONS &&
            !isnan(a.effects[i].value.mean))
            assert_near(a.effects[i].value.mean, 1, 0, "share of all");
    kh_ablation_clear(&a);
}

/* Insertion with all but a few neurons left is deletion of those few, by another path: the change
 * of the rest is subtracted from the change of all. */
static void insertion_mirrors_deletion(void **state) {
    (void)state;
    kh_ablate_options o = ablate_world_options();
    const size_t grid[] = {1, NEURONS - 2};
    memcpy(o.k, grid, sizeof grid);
    o.k_count = 2;
    o.block = 0;
    o.rank = KH_ABLATE_BY_LN;
    kh_ablation a = ablate_world_run(&world, &o);
    o.rank = KH_ABLATE_BY_BOTTOM; /* the same order from its end, ties aside */
    o.k[0] = 2;
    kh_ablation b = ablate_world_run(&world, &o);
    double inserted = (double)NAN;
    for (size_t i = 0; i < a.point_count; i++)
        if (a.points[i].is_insertion && a.points[i].set == KH_ABLATE_RANKED &&
            a.points[i].k == NEURONS - 2 && !a.points[i].is_correct)
            inserted = a.points[i].margin.mean;
    const double deleted =
        ablate_world_mean(&b, KH_ABLATE_RANKED, KH_ABLATE_MEAN, 2, KH_NO_CLASS, KH_ABLATE_MARGIN);
    assert_near(inserted, deleted, 1e-6, "insertion");
    kh_ablation_clear(&b);
    kh_ablation_clear(&a);
}

/* A coefficient's mean over images instead of itself: on average that changes nothing to first
 * order, so single random neurons must do far less on average than on single images. */
static void single_random_neurons_do_nothing_on_average(void **state) {
    (void)state;
    kh_ablate_options o = ablate_world_options();
    o.block = 0;
    o.k_count = 1;
    o.sets = 20;
    kh_ablation a = ablate_world_run(&world, &o);
    for (size_t i = 0; i < a.effect_count; i++) {
        const kh_ablate_effect *e = &a.effects[i];
        if (e->is_correct || e->class_index != KH_NO_CLASS || e->set != KH_ABLATE_RANDOM ||
            e->metric != KH_ABLATE_D_LOGIT)
            continue;
        assert_true(e->value.std > 0);
        assert_true(fabs(e->value.mean) < 3 * e->value.std / sqrt(IMAGES));
        assert_true(e->set_lo < 0 && e->set_hi > 0);
    }
    kh_ablation_clear(&a);
}

static void steering_by_one_changes_nothing(void **state) {
    (void)state;
    kh_ablate_options o = ablate_world_options();
    o.designs = KH_ABLATE_STEER;
    kh_ablation a = ablate_world_run(&world, &o);
    size_t ones = 0;
    for (size_t i = 0; i < a.dose_count; i++) {
        if (a.doses[i].alpha != 1) continue;
        ones++;
        assert_near(a.doses[i].d_logit.mean, 0, 0, "dose 1");
        assert_near(a.doses[i].d_margin.mean, 0, 0, "dose 1");
    }
    assert_true(ones >= 4 * (LABELS + 1) - 2);
    kh_ablation_clear(&a);
}

/* The neuron most active on every class is the first of all of them; without it each class's logit
 * changes as when it is set to its means by hand. */
static void shared_neurons_touch_all_their_classes(void **state) {
    (void)state;
    static float logits[IMAGES * CLASSES];
    kh_error err = {0};
    kh_ablate_options o = ablate_world_options();
    o.designs = KH_ABLATE_SHARED;
    o.block = 1;
    o.rank = KH_ABLATE_BY_ACTIVATION;
    kh_ablation a = ablate_world_run(&world, &o);
    assert_true(a.shared_count >= 3); /* two members or more, and the other images */
    size_t members = 0;
    for (size_t i = 0; i < a.shared_count; i++) {
        const kh_ablate_shared *s = &a.shared[i];
        const float values[] = {world.means[1][0][s->neuron.index],
                                world.means[1][1][s->neuron.index]};
        const kh_intervention what = {
            .neurons = &s->neuron, .count = 1, .op = KH_ABLATE_MEAN, .values = values};
        if (!s->is_member) {
            assert_int_equal(s->d_logit.n, IMAGES - s->members * PER_CLASS);
            continue;
        }
        members++;
        kh_assert_ok(kh_lens_intervene(world.g.ctx, world.g.model, &what, 1, world.images, IMAGES,
                                       0, logits, &err));
        double sum = 0;
        for (size_t j = 0; j < IMAGES; j++)
            if (world.truth[j] == s->class_index)
                sum += (double)logits[j * CLASSES + s->class_index] -
                       (double)world.base[j * CLASSES + s->class_index];
        assert_near(s->d_logit.mean, sum / PER_CLASS, 2e-6, "shared");
        assert_int_equal(s->drops, s->d_logit.hi < 0);
        assert_int_equal(s->d_logit.n, PER_CLASS);
    }
    assert_true(members >= 2);
    kh_ablation_clear(&a);
}

/* Whichever request for memory fails, the study says so and leaves nothing behind. */
static void memory_may_end_anywhere(void **state) {
    (void)state;
    kh_ablate_options o = everything();
    o.block = 1;
    o.per_class = 1;
    size_t failed = 0;
    for (size_t n = 1;; n += 1 + n / 16) {
        kh_error err = {0};
        kh_ablation a;
        kh_alloc_fail_after(n);
        const kh_status status = kh_ablate(world.g.ctx, world.g.model, &o, IMAGES, world.truth,
                                           ablate_world_read, &world, &a, &err);
        const size_t asked = kh_alloc_count();
        kh_alloc_fail_after(0);
        if (!status) {
            assert_true(asked < n); /* nothing failed */
            kh_ablation_clear(&a);
            break;
        }
        assert_int_equal(status, KH_E_MEMORY);
        assert_true(err.text[0] != '\0');
        assert_int_equal(a.effect_count, 0);
        failed++;
    }
    assert_true(failed > 20);
}

/* ---- bootstrap ----------------------------------------------------------------------------- */

static void columns_are_bootstraps_of_each(void **state) {
    (void)state;
    enum { N = 13, COLUMNS = 3, RESAMPLES = 50 };
    float values[N * COLUMNS];
    const float *rows[N];
    kh_error err = {0};
    kh_columns columns;
    kh_test_fill(values, N * COLUMNS, 3, 2.0f);
    for (size_t i = 0; i < N; i++)
        rows[i] = values + i * COLUMNS;
    kh_assert_ok(kh_columns_init(&columns, COLUMNS, RESAMPLES, &err));
    kh_columns_fill(&columns, rows, N, 8);
    for (size_t k = 0; k < COLUMNS; k++) {
        double one[N];
        kh_band band;
        for (size_t i = 0; i < N; i++)
            one[i] = (double)rows[i][k];
        kh_assert_ok(kh_lens_bootstrap(one, N, RESAMPLES, 8, &band, &err));
        const kh_ablate_mean got = kh_columns_get(&columns, k, N);
        assert_near(got.mean, band.mean, 0, "mean");
        assert_near(got.lo, band.lo, 0, "lo");
        assert_near(got.hi, band.hi, 0, "hi");
    }
    kh_columns_fill(&columns, rows, 0, 8);
    const kh_ablate_mean none = kh_columns_get(&columns, 0, 0);
    assert_true(isnan(none.mean) && isnan(none.lo) && isnan(none.hi));
    kh_columns_clear(&columns);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_for_all_batches_and_threads),
        cmocka_unit_test(another_seed_is_another_study),
        cmocka_unit_test(random_orders_match_neuron_by_neuron),
        cmocka_unit_test(rankings_rank),
        cmocka_unit_test(curves_begin_and_end_where_they_should),
        cmocka_unit_test(insertion_mirrors_deletion),
        cmocka_unit_test(single_random_neurons_do_nothing_on_average),
        cmocka_unit_test(steering_by_one_changes_nothing),
        cmocka_unit_test(shared_neurons_touch_all_their_classes),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(columns_are_bootstraps_of_each),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
