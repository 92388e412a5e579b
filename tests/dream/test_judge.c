/* Judging painted pictures, and probing their neurons. */
#include "dream/dreams.h"

#define MODEL "random:vit_tiny_patch16_224"
enum { SIDE = 64, SIZE = 32 };

static kh_image noise(size_t side, uint64_t seed) {
    float values[3 * SIDE * SIDE];
    kh_test_fill(values, 3 * side * side, seed, 127.0f);
    kh_image image = {side, side, malloc(3 * side * side)};
    for (size_t i = 0; i < 3 * side * side; i++)
        image.rgb[i] = (uint8_t)(values[i] + 128);
    return image;
}

/* At the model's own size, squashing changes nothing: the logits are those of the plain pass. */
static void logits_are_those_of_the_pass(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const size_t classes = kh_model_get_info(s.model)->classes;
    kh_image pictures[3] = {noise(SIDE, 1), noise(SIDE, 2), noise(SIDE, 3)};
    kh_dream_judge *judge;
    kh_assert_ok(kh_dream_judge_create(s.ctx, s.model, 2, &judge, &err));
    float *got = malloc(3 * classes * sizeof *got),
          *input = malloc(3 * SIDE * SIDE * sizeof *input);
    kh_assert_ok(
        kh_dream_judge_logits(judge, pictures, 3, KH_VIEW_SQUASH, KH_NORM_MODEL, got, &err));
    kh_pass *pass;
    const kh_pass_spec spec = {.want_logits = true};
    kh_assert_ok(kh_pass_create(s.ctx, s.model, &spec, &pass, &err));
    for (size_t i = 0; i < 3; i++) {
        for (size_t k = 0; k < 3 * SIDE * SIDE; k++)
            input[k] =
                ((float)pictures[i].rgb[3 * (k % (SIDE * SIDE)) + k / (SIDE * SIDE)] / 255.0f -
                 0.5f) /
                0.5f;
        kh_assert_ok(kh_pass_run(pass, input, 1, &err));
        kh_assert_close(got + i * classes, kh_pass_logits(pass), classes, 1e-5, 1e-5);
        kh_image_clear(&pictures[i]);
    }
    kh_pass_free(pass);
    free(got);
    free(input);
    kh_dream_judge_free(judge);
    stage_close(&s);
}

/* Every view and normalisation is another question; the same one twice has the same answer. */
static void views_differ(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const size_t classes = kh_model_get_info(s.model)->classes;
    kh_image picture = noise(SIZE, 4);
    kh_dream_judge *judge;
    kh_assert_ok(kh_dream_judge_create(s.ctx, s.model, 1, &judge, &err));
    float *all[7];
    for (size_t k = 0; k < 7; k++) {
        all[k] = malloc(classes * sizeof **all);
        const size_t kind = k % 6;
        kh_assert_ok(kh_dream_judge_logits(judge, &picture, 1, (kh_dream_view)(kind / 2),
                                           kind % 2 ? KH_NORM_IMAGENET : KH_NORM_MODEL, all[k],
                                           &err));
        for (size_t other = 0; other < k; other++) {
            const bool same = memcmp(all[k], all[other], classes * sizeof **all) == 0;
            assert_true(same == (k == 6 && other == 0));
        }
    }
    kh_assert_fails(
        kh_dream_judge_logits(judge, &picture, 1, KH_VIEW_RIM, KH_NORM_NONE, all[0], &err),
        KH_E_ARG, "normalisation");
    for (size_t k = 0; k < 7; k++)
        free(all[k]);
    kh_image_clear(&picture);
    kh_dream_judge_free(judge);
    stage_close(&s);
}

static void scores_are_means_of_coefficients(void **state) {
    (void)state;
    kh_error err = {0};
    stage s = stage_open(MODEL, SIDE, 2);
    const kh_model_info *info = kh_model_get_info(s.model);
    const kh_neuron neurons[] = {{5, 30}, {2, 7}, {5, 3}, {5, 30}};
    kh_dream_probe *probe;
    kh_assert_ok(kh_dream_probe_create(s.ctx, s.model, neurons, 4, KH_TOKENS_ALL, 2, &probe, &err));
    const size_t count = kh_dream_probe_features(probe), pixels = 3 * SIDE * SIDE;
    assert_int_equal(count, (info->tokens - 1) * info->dim);
    float *inputs = malloc(2 * pixels * sizeof *inputs), scores[8];
    float *features = malloc(2 * count * sizeof *features);
    kh_test_fill(inputs, 2 * pixels, 8, 1.0f);
    kh_assert_ok(kh_dream_probe_run(probe, inputs, 2, scores, features, &err));
    const kh_tap taps[] = {{.site = "post5"}, {.site = "post2"}, {.site = "ln_final"}};
    const kh_pass_spec spec = {.max_batch = 2, .taps = taps, .tap_count = 3};
    kh_pass *pass;
    kh_assert_ok(kh_pass_create(s.ctx, s.model, &spec, &pass, &err));
    kh_assert_ok(kh_pass_run(pass, inputs, 2, &err));
    for (size_t i = 0; i < 2; i++) {
        for (size_t n = 0; n < 4; n++) {
            const float *post = kh_pass_tap(pass, neurons[n].block == 2);
            double sum = 0;
            for (size_t t = 0; t < info->tokens; t++)
                sum += (double)post[(i * info->tokens + t) * info->neurons + neurons[n].index];
            assert_float_equal(scores[i * 4 + n], (float)(sum / (double)info->tokens), 1e-5);
        }
        kh_assert_close(features + i * count,
                        kh_pass_tap(pass, 2) + (i * info->tokens + 1) * info->dim, count, 0, 0);
    }
    free(inputs);
    free(features);
    kh_pass_free(pass);
    kh_dream_probe_free(probe);
    const kh_neuron wrong = {12, 0};
    kh_assert_fails(
        kh_dream_probe_create(s.ctx, s.model, &wrong, 1, KH_TOKENS_ALL, 1, &probe, &err), KH_E_ARG,
        "b12n0");
    stage_close(&s);
}

/* Dreams and the rim view are square; the other views are not. */
static void inputs_that_are_not_square_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ctx *ctx;
    kh_model *model;
    kh_dreamer *dreamer;
    kh_dream *dream;
    kh_dream_judge *judge;
    const kh_model_options size = {.height = 48, .width = 32};
    const kh_dream_settings settings = preset_of("default", 0);
    const kh_dream_term term = neuron_term(0, 0);
    const kh_dream_objective o = {.terms = &term, .term_count = 1};
    kh_assert_ok(kh_ctx_create(NULL, &ctx, &err));
    kh_assert_ok(kh_model_open(ctx, "random:test_vit", &size, &model, &err));
    kh_assert_ok(kh_dreamer_create(ctx, model, &dreamer, &err));
    kh_assert_fails(kh_dream_create(dreamer, "x", &settings, &o, &dream, &err), KH_E_UNSUPPORTED,
                    "48x32");
    kh_assert_ok(kh_dream_judge_create(ctx, model, 1, &judge, &err));
    kh_image picture = noise(SIZE, 4);
    float *logits = malloc(kh_model_get_info(model)->classes * sizeof *logits);
    kh_assert_ok(
        kh_dream_judge_logits(judge, &picture, 1, KH_VIEW_SQUASH, KH_NORM_MODEL, logits, &err));
    kh_assert_fails(
        kh_dream_judge_logits(judge, &picture, 1, KH_VIEW_RIM, KH_NORM_MODEL, logits, &err),
        KH_E_UNSUPPORTED, "square");
    free(logits);
    kh_image_clear(&picture);
    kh_dream_judge_free(judge);
    kh_dreamer_free(dreamer);
    kh_model_close(model);
    kh_ctx_free(ctx);
}

static void intervals_are_wilsons(void **state) {
    (void)state;
    double low, high;
    kh_dream_interval(8, 10, &low, &high); /* textbook: 0.490 to 0.943 */
    assert_float_equal((float)low, 0.4902f, 1e-4);
    assert_float_equal((float)high, 0.9433f, 1e-4);
    kh_dream_interval(0, 0, &low, &high);
    assert_true(low == 0 && high == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_the_pass),
        cmocka_unit_test(views_differ),
        cmocka_unit_test(scores_are_means_of_coefficients),
        cmocka_unit_test(inputs_that_are_not_square_are_refused),
        cmocka_unit_test(intervals_are_wilsons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
