/* Dreams as wholes: the same bytes whatever runs beside them, saving, going on, what is refused. */
#include "dream/dreams.h"

#include "base/alloc.h"
#include "dream/loss.h"

#define MODEL "random:vit_tiny_patch16_224"
enum { SIDE = 64, SIZE = 36 };

static kh_dream *neuron_dream(stage *s, const char *name, size_t block, size_t index) {
    const kh_dream_settings settings = preset_of("default", 0);
    const kh_dream_term term = neuron_term(block, index);
    const kh_dream_objective o = {.terms = &term, .term_count = 1, .target = SIZE_MAX};
    return dream_open(s, name, &settings, &o);
}

static void step_alone(stage *s, kh_dream *d, size_t steps) {
    kh_error err = {0};
    for (size_t i = 0; i < steps; i++)
        kh_assert_ok(kh_dreamer_step(s->dreamer, &d, 1, &err));
}

static kh_image picture_of(kh_dream *d, size_t image) {
    kh_error err = {0};
    kh_image out;
    kh_assert_ok(kh_dream_picture(d, image, &out, &err));
    return out;
}

static void assert_same_theta(const kh_dream *a, const kh_dream *b) {
    assert_int_equal(a->images, b->images);
    for (size_t i = 0; i < a->images; i++) {
        const size_t bytes = 3 * a->canvas.count * sizeof(float);
        assert_memory_equal(a->image[i].theta, b->image[i].theta, bytes);
        assert_memory_equal(a->image[i].m, b->image[i].m, bytes);
        assert_memory_equal(a->image[i].v, b->image[i].v, bytes);
    }
}

static void packing_changes_no_byte(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    static const size_t where[4][2] = {{3, 100}, {3, 102}, {6, 5}, {11, 700}};
    kh_dream *together[4], *alone[4];
    for (size_t i = 0; i < 4; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "d%zu", i);
        together[i] = neuron_dream(&s, name, where[i][0], where[i][1]);
        alone[i] = neuron_dream(&s, name, where[i][0], where[i][1]);
    }
    for (size_t t = 0; t < 4; t++) {
        kh_assert_ok(kh_dreamer_step(s.dreamer, together, 3, &err));
        kh_assert_ok(kh_dreamer_step(s.dreamer, together + 3, 1, &err));
    }
    for (size_t t = 0; t < 2; t++) /* another order, another company */
        kh_assert_ok(kh_dreamer_step(s.dreamer, together, 4, &err));
    for (size_t i = 0; i < 4; i++) {
        step_alone(&s, alone[i], 6);
        assert_same_theta(alone[i], together[i]);
        kh_dream_free(together[i]);
        kh_dream_free(alone[i]);
    }
    stage_close(&s);
}

/* Class goals, diversity and neurons of one block side by side; the last one looks at the class
 * token only, so that alone its pass leaves the other rows out. */
static void company_of_other_kinds_changes_no_byte(void **state) {
    (void)state;
    enum { KINDS = 5 };
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_dream_settings settings = preset_of("report-quant", SIZE);
    const kh_dream_term terms[] = {{.goal = KH_GOAL_LOGIT, .index = 3, .weight = 1},
                                   neuron_term(5, 9),
                                   neuron_term(5, 200),
                                   {.goal = KH_GOAL_VALUE, .block = 5, .index = 9, .weight = 1}};
    const kh_dream_objective goals[] = {
        {.terms = &terms[0], .term_count = 1},
        {.terms = &terms[1],
         .term_count = 1,
         .images = 2,
         .diversity = KH_DIVERSITY_UNITS,
         .lambda = 1,
         .lambda_is_relative = true},
        {.terms = &terms[2], .term_count = 1, .gate = KH_GATE_POST},
        {.terms = &terms[3], .term_count = 1},
        {.terms = &terms[2], .term_count = 1, .tokens = KH_TOKENS_CLASS}};
    kh_dream *together[KINDS];
    for (size_t i = 0; i < KINDS; i++)
        together[i] = dream_open(&s, "same", &settings, &goals[i]);
    for (size_t t = 0; t < 3; t++)
        kh_assert_ok(kh_dreamer_step(s.dreamer, together, KINDS, &err));
    for (size_t i = 0; i < KINDS; i++) {
        kh_dream *alone = dream_open(&s, "same", &settings, &goals[i]);
        step_alone(&s, alone, 3);
        assert_same_theta(alone, together[i]);
        kh_dream_free(alone);
        kh_dream_free(together[i]);
    }
    stage_close(&s);
}

/* One dreamer, one diverse dream after the other: the second one's pass is not the first one's. */
static void dreams_in_turn_change_no_byte(void **state) {
    (void)state;
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_dream_settings settings = preset_of("default", 0);
    kh_dream *after[3], *fresh[3];
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < 3; i++) {
            const kh_dream_term term = neuron_term(5, 7 + 200 * i);
            const kh_dream_objective o = {.terms = &term,
                                          .term_count = 1,
                                          .images = 2,
                                          .diversity = KH_DIVERSITY_UNITS,
                                          .lambda = 1};
            stage own = s;
            kh_error err = {0};
            if (round) kh_assert_ok(kh_dreamer_create(s.ctx, s.model, &own.dreamer, &err));
            kh_dream **at = round ? &fresh[i] : &after[i];
            *at = dream_open(&own, "turn", &settings, &o);
            step_alone(&own, *at, 2);
            if (round) kh_dreamer_free(own.dreamer);
        }
    for (size_t i = 0; i < 3; i++) {
        assert_same_theta(after[i], fresh[i]);
        kh_dream_free(after[i]);
        kh_dream_free(fresh[i]);
    }
    stage_close(&s);
}

static void threads_change_no_byte(void **state) {
    (void)state;
    kh_image seen[2];
    for (size_t k = 0; k < 2; k++) {
        stage s = stage_open(MODEL, SIDE, k ? 3 : 1);
        kh_dream *d = neuron_dream(&s, "one", 8, 17);
        step_alone(&s, d, 3);
        seen[k] = picture_of(d, 0);
        kh_dream_free(d);
        stage_close(&s);
    }
    assert_int_equal(seen[0].width, SIZE);
    assert_memory_equal(seen[0].rgb, seen[1].rgb, 3 * SIZE * SIZE);
    kh_image_clear(&seen[0]);
    kh_image_clear(&seen[1]);
}

/* Every preset whose images are small enough: saved, loaded elsewhere, stepped on. */
static void a_saved_dream_goes_on(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    char path[512];
    for (size_t p = 0; kh_dream_preset_name(p); p++) {
        kh_dream_settings settings = preset_of(kh_dream_preset_name(p), SIZE);
        const kh_dream_term term = neuron_term(4, 11);
        const kh_dream_objective o = {.terms = &term, .term_count = 1, .images = 2};
        kh_dream *whole = dream_open(&s, "saved", &settings, &o);
        kh_dream *half = dream_open(&s, "saved", &settings, &o);
        kh_dream *rest = dream_open(&s, "saved", &settings, &o);
        (void)snprintf(path, sizeof path, "%s/state.safetensors", kh_test_folder("dream"));
        step_alone(&s, whole, 4);
        step_alone(&s, half, 2);
        kh_assert_ok(kh_dream_save(half, path, &err));
        kh_assert_ok(kh_dream_load(rest, path, &err));
        assert_int_equal(kh_dream_steps_done(rest), 2);
        step_alone(&s, rest, 2);
        assert_same_theta(whole, rest);
        if (whole->image[0].alpha)
            assert_memory_equal(whole->image[0].alpha, rest->image[0].alpha,
                                SIZE * SIZE * sizeof(float));
        kh_dream_free(whole);
        kh_dream_free(half);
        kh_dream_free(rest);
    }
    stage_close(&s);
}

static void states_of_other_dreams_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 1);
    char path[512];
    (void)snprintf(path, sizeof path, "%s/state.safetensors", kh_test_folder("dream"));
    kh_dream *one = neuron_dream(&s, "one", 2, 3);
    kh_assert_ok(kh_dream_save(one, path, &err));
    kh_dream *named = neuron_dream(&s, "other", 2, 3), *aimed = neuron_dream(&s, "one", 2, 4);
    kh_assert_fails(kh_dream_load(named, path, &err), KH_E_ARG, "dream 'one'");
    kh_assert_fails(kh_dream_load(aimed, path, &err), KH_E_ARG, "another objective");
    kh_assert_fails(kh_dream_load(one, "nowhere/at.all", &err), KH_E_NOT_FOUND, "nowhere");
    kh_dream_free(one);
    kh_dream_free(named);
    kh_dream_free(aimed);
    stage_close(&s);
}

/* The seed behind LN2 is -fc1.weight[j] / (B N) for every token. */
static void a_neurons_seed_is_its_key(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 1);
    const kh_model_info *info = kh_model_get_info(s.model);
    kh_dream *d = neuron_dream(&s, "one", 2, 3);
    kh_wants w;
    kh_assert_ok(kh_wants_make(s.model, &d, 1, &w, &err));
    kh_assert_ok(kh_wants_read_rows(&w, &err));
    kh_pass *pass;
    const kh_pass_spec spec = {.taps = w.taps, .tap_count = w.tap_count};
    kh_assert_ok(kh_pass_create(s.ctx, s.model, &spec, &pass, &err));
    float *image = calloc(3 * SIDE * SIDE, sizeof *image);
    kh_assert_ok(kh_pass_run(pass, image, 1, &err));
    float *seed = calloc(info->tokens * info->dim, sizeof *seed);
    const kh_loss_batch batch = {&w, pass, &seed};
    kh_assert_ok(kh_loss_dream(&batch, d, &err));
    float *keys = malloc(info->neurons * info->dim * sizeof *keys), *want = keys + 3 * info->dim;
    kh_assert_ok(kh_model_tensor_read(s.model, "blocks.2.mlp.fc1.weight", keys,
                                      info->neurons * info->dim, &err));
    for (size_t i = 0; i < info->dim; i++)
        want[i] = -want[i] / (float)info->tokens;
    for (size_t t = 0; t < info->tokens; t++)
        kh_assert_close(seed + t * info->dim, want, info->dim, 1e-6, 0);
    double sum = 0;
    for (size_t t = 0; t < info->tokens; t++)
        sum += (double)kh_pass_tap(pass, 0)[t];
    assert_true(fabs(d->view_loss + sum / (double)info->tokens) <= 1e-12);
    free(keys);
    free(seed);
    free(image);
    kh_pass_free(pass);
    kh_wants_clear(&w);
    kh_dream_free(d);
    stage_close(&s);
}

/* (L(theta + e d) - L(theta - e d)) / 2e against <gradient, d>, through everything there is. */
static void the_whole_chain_has_its_slope(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    kh_dream *d = neuron_dream(&s, "slope", 3, 3);
    const size_t count = 3 * d->canvas.count;
    float *start = malloc(count * sizeof *start), *along = malloc(count * sizeof *along);
    memcpy(start, d->image[0].theta, count * sizeof *start);
    kh_assert_ok(kh_dreamer_gradient(s.dreamer, &d, 1, &err));
    double want = 0, norm = 0;
    /* along the gradient's signs, where the slope is far above float's noise */
    for (size_t i = 0; i < count; i++) {
        along[i] = d->image[0].gradient[i] > 0 ? 1e-3f : -1e-3f;
        want += (double)d->image[0].gradient[i] * (double)along[i];
        norm += fabs((double)d->image[0].gradient[i]) * 1e-3;
    }
    double loss[2];
    for (size_t side = 0; side < 2; side++) {
        for (size_t i = 0; i < count; i++)
            d->image[0].theta[i] = start[i] + (side ? -0.3f : 0.3f) * along[i];
        kh_assert_ok(kh_dreamer_gradient(s.dreamer, &d, 1, &err));
        loss[side] = kh_dream_get_stats(d).loss;
    }
    const double got = (loss[0] - loss[1]) / 0.6;
    if (!(fabs(got - want) <= 1e-2 * norm)) fail_msg("slope %g, expected %g", got, want);
    free(start);
    free(along);
    kh_dream_free(d);
    stage_close(&s);
}

static void a_few_steps_wake_the_neuron(void **state) {
    (void)state;
    stage s = stage_open(MODEL, SIDE, 2);
    kh_dream *d = neuron_dream(&s, "one", 6, 40);
    step_alone(&s, d, 1);
    const double before = kh_dream_get_stats(d).mean_pre;
    step_alone(&s, d, 15);
    const kh_dream_stats after = kh_dream_get_stats(d);
    assert_true(after.mean_pre > before + 0.3);
    assert_true(after.share_alive >= after.share_positive && after.max_pre >= after.mean_pre);
    assert_true(isnan(after.diversity));
    kh_dream_free(d);
    stage_close(&s);
}

static void a_photo_is_where_accentuation_starts(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    kh_dream_settings settings = preset_of("default", 24);
    settings.decay = 1.5;
    float photo[3 * 24 * 24], got[3 * 24 * 24];
    kh_test_fill(photo, 1728, 5, 0.5f);
    for (size_t i = 0; i < 1728; i++)
        photo[i] += 0.5f;
    photo[0] = 0;
    photo[1] = 1;
    const kh_dream_term term = neuron_term(4, 11);
    const kh_dream_objective o = {.terms = &term, .term_count = 1, .photo = photo, .penalty = 1};
    kh_dream *d = dream_open(&s, "photo", &settings, &o);
    kh_assert_ok(kh_dream_pixels(d, 0, got, 1728, &err));
    kh_assert_close(got, photo, 1728, 0, 2e-3);
    step_alone(&s, d, 3);
    assert_true(d->image[0].extra_loss > 0);
    kh_dream_free(d);
    stage_close(&s);
}

/* "both" is half the class token and half the patches, in loss and gradient. */
static void both_is_half_and_half(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_dream_settings settings = preset_of("default", 0);
    const kh_dream_term term = neuron_term(3, 11);
    const kh_dream_tokens kinds[3] = {KH_TOKENS_CLASS, KH_TOKENS_PATCHES, KH_TOKENS_BOTH};
    kh_dream *d[3];
    for (size_t k = 0; k < 3; k++) {
        const kh_dream_objective o = {.terms = &term, .term_count = 1, .tokens = kinds[k]};
        d[k] = dream_open(&s, "t", &settings, &o);
    }
    kh_assert_ok(kh_dreamer_gradient(s.dreamer, d, 3, &err));
    const double half = 0.5 * (kh_dream_get_stats(d[0]).loss + kh_dream_get_stats(d[1]).loss);
    assert_true(fabs(kh_dream_get_stats(d[2]).loss - half) <= 1e-12);
    const size_t count = 3 * d[0]->canvas.count;
    float *want = malloc(count * sizeof *want), largest = 0;
    for (size_t i = 0; i < count; i++) {
        want[i] = 0.5f * (d[0]->image[0].gradient[i] + d[1]->image[0].gradient[i]);
        largest = fmaxf(largest, fabsf(want[i]));
    }
    kh_assert_close(d[2]->image[0].gradient, want, count, 0, 1e-5 * (double)largest);
    free(want);
    for (size_t k = 0; k < 3; k++)
        kh_dream_free(d[k]);
    stage_close(&s);
}

static void warm_starts_switch_over(void **state) {
    (void)state;
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_dream_settings settings = preset_of("default", 0);
    const kh_dream_term term = neuron_term(3, 11);
    kh_dream_objective o = {
        .terms = &term, .term_count = 1, .gate = KH_GATE_POST_WARM, .warm_steps = 2};
    kh_dream *warm = dream_open(&s, "w", &settings, &o);
    o.gate = KH_GATE_PRE;
    kh_dream *pre = dream_open(&s, "w", &settings, &o);
    step_alone(&s, warm, 2);
    step_alone(&s, pre, 2);
    assert_same_theta(warm, pre);
    step_alone(&s, warm, 1);
    assert_true(fabs(kh_dream_get_stats(warm).loss + kh_dream_get_stats(warm).mean_post) <= 1e-12);
    kh_dream_free(warm);
    kh_dream_free(pre);
    stage_close(&s);
}

static void the_impossible_is_refused(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 1);
    kh_dream *d;
    kh_dream_settings settings = preset_of("default", 0);
    kh_dream_term term = neuron_term(12, 0);
    kh_dream_objective o = {.terms = &term, .term_count = 1};
    kh_assert_fails(kh_dream_create(s.dreamer, "x", &settings, &o, &d, &err), KH_E_ARG, "block 12");
    term = neuron_term(0, 768);
    kh_assert_fails(kh_dream_create(s.dreamer, "x", &settings, &o, &d, &err), KH_E_ARG, "768");
    term = neuron_term(0, 0);
    o.diversity = KH_DIVERSITY_UNITS;
    kh_assert_fails(kh_dream_create(s.dreamer, "x", &settings, &o, &d, &err), KH_E_ARG, "two");
    o.diversity = KH_DIVERSITY_NONE;
    o.term_count = 0;
    kh_assert_fails(kh_dream_create(s.dreamer, "x", &settings, &o, &d, &err), KH_E_ARG, "goal");
    o.term_count = 1;
    settings.size = 5000;
    kh_assert_fails(kh_dream_create(s.dreamer, "x", &settings, &o, &d, &err), KH_E_ARG, "5000");
    settings.size = 32;
    settings.lr = 0;
    kh_assert_fails(kh_dream_create(s.dreamer, "x", &settings, &o, &d, &err), KH_E_ARG,
                    "optimiser");
    assert_null(d);
    kh_assert_fails(kh_dreamer_step(s.dreamer, NULL, 0, &err), KH_E_ARG, "no dreams");
    kh_assert_fails(kh_dream_preset("fancy", &settings, &err), KH_E_NOT_FOUND, "report-quant");
    stage_close(&s);
}

/* A diverse dream beside a class dream, created and stepped with every allocation failing once. */
static kh_status make_and_step(stage *s, kh_error *err) {
    const kh_dream_settings settings = preset_of("maco", 24);
    const kh_dream_term terms[] = {neuron_term(1, 5), {.goal = KH_GOAL_LOGIT, .weight = 1}};
    const kh_dream_objective goals[] = {{.terms = &terms[0],
                                         .term_count = 1,
                                         .images = 2,
                                         .diversity = KH_DIVERSITY_UNITS,
                                         .lambda = 1},
                                        {.terms = &terms[1], .term_count = 1}};
    kh_dreamer *dreamer = NULL;
    kh_dream *d[2] = {NULL, NULL};
    kh_status status = kh_dreamer_create(s->ctx, s->model, &dreamer, err);
    for (size_t i = 0; !status && i < 2; i++)
        status = kh_dream_create(dreamer, "m", &settings, &goals[i], &d[i], err);
    if (!status) status = kh_dreamer_step(dreamer, d, 2, err);
    kh_image picture = {0};
    if (!status) status = kh_dream_picture(d[0], 1, &picture, err);
    kh_image_clear(&picture);
    kh_dream_free(d[0]);
    kh_dream_free(d[1]);
    kh_dreamer_free(dreamer);
    return status;
}

static void memory_may_end_anywhere(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, 32, 1);
    kh_assert_ok(make_and_step(&s, &err)); /* weights are packed for gradients once */
    size_t failures = 0;
    for (size_t n = 1;; n++) {
        kh_alloc_fail_after(n);
        err = (kh_error){KH_OK, ""};
        const kh_status status = make_and_step(&s, &err);
        kh_alloc_fail_after(0);
        if (status == KH_OK) break;
        assert_int_equal(status, KH_E_MEMORY);
        assert_int_equal(err.code, KH_E_MEMORY);
        assert_true(err.text[0] != '\0');
        failures++;
    }
    assert_true(failures > 60);
    stage_close(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packing_changes_no_byte),
        cmocka_unit_test(company_of_other_kinds_changes_no_byte),
        cmocka_unit_test(dreams_in_turn_change_no_byte),
        cmocka_unit_test(threads_change_no_byte),
        cmocka_unit_test(a_saved_dream_goes_on),
        cmocka_unit_test(states_of_other_dreams_are_refused),
        cmocka_unit_test(a_neurons_seed_is_its_key),
        cmocka_unit_test(the_whole_chain_has_its_slope),
        cmocka_unit_test(a_few_steps_wake_the_neuron),
        cmocka_unit_test(a_photo_is_where_accentuation_starts),
        cmocka_unit_test(both_is_half_and_half),
        cmocka_unit_test(warm_starts_switch_over),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(the_impossible_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
