/* Models of random weights: the formula of the goldens for seed 0, other numbers for other seeds.
 */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "keyhole/vit.h"
#include "vit/formula.h"

static kh_ctx *ctx;

static int setup(void **state) {
    (void)state;
    kh_error err;
    const kh_ctx_options options = {.device = "reference", .threads = 2};
    kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
    return 0;
}

static int teardown(void **state) {
    (void)state;
    kh_ctx_free(ctx);
    return 0;
}

static kh_model *open_model(const char *name, size_t side) {
    kh_error err;
    kh_model *model;
    const kh_model_options options = {.height = side, .width = side};
    kh_assert_ok(kh_model_open(ctx, name, &options, &model, &err));
    return model;
}

static float *read_tensor(const kh_model *model, const char *name, size_t *count) {
    kh_error err;
    size_t rank, shape[8];
    assert_true(kh_model_tensor_shape(model, name, &rank, shape));
    *count = 1;
    for (size_t i = 0; i < rank; i++)
        *count *= shape[i];
    float *values = kh_alloc_floats(*count);
    kh_assert_ok(kh_model_tensor_read(model, name, values, *count, &err));
    return values;
}

static void seed_zero_is_the_formula_in_every_tensor(void **state) {
    (void)state;
    static const char *const names[] = {"random:vit_tiny_patch16_224", "random:test_vit2@0",
                                        "random:deit_tiny_distilled_patch16_224",
                                        "random:vit_xsmall_patch16_clip_224"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        kh_model *model = open_model(names[n], 0);
        for (size_t i = 0; i < kh_model_tensor_count(model); i++) {
            const char *name = kh_model_tensor_name(model, i);
            size_t count, rank, shape[8];
            float *got = read_tensor(model, name, &count), *want = kh_alloc_floats(count);
            assert_true(kh_model_tensor_shape(model, name, &rank, shape));
            formula_tensor(name, rank, shape, want, count);
            if (memcmp(got, want, count * sizeof *got) != 0) fail_msg("%s: %s", names[n], name);
            kh_free(got);
            kh_free(want);
        }
        kh_model_close(model);
    }
}

static void published_spot_values_are_met(void **state) {
    (void)state;
    kh_model *model = open_model("random:vit_tiny_patch16_224", 0);
    size_t count;
    float *cls = read_tensor(model, "cls_token", &count);
    float *norm = read_tensor(model, "blocks.0.norm1.weight", &count);
    assert_float_equal(cls[0], 0.2345769703, 1e-8);
    assert_float_equal(norm[0], 1.0424871445, 1e-7);
    kh_free(cls);
    kh_free(norm);
    kh_model_close(model);
}

static void published_parameter_counts_are_met(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t parameters;
    } want[] = {
        {"random:vit_tiny_patch16_224", 5717416},
        {"random:vit_small_patch16_224", 22050664},
        {"random:vit_small_patch32_224", 22878952},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        kh_model *model = open_model(want[i].name, 0);
        assert_int_equal(kh_model_get_info(model)->parameters, want[i].parameters);
        kh_model_close(model);
    }
}

static void base_16_is_described_in_full(void **state) {
    (void)state;
    kh_model *model = open_model("random:vit_base_patch16_224", 0);
    const kh_model_info *info = kh_model_get_info(model);
    assert_int_equal(info->parameters, 86567656);
    assert_float_equal(info->forward_gflop, 35.1, 0.05);
    assert_int_equal(info->tokens, 197);
    assert_int_equal(info->grid_height, 14);
    assert_int_equal(info->head_dim, 64);
    assert_int_equal(info->neurons, 3072);
    assert_int_equal(info->classes, 1000);
    assert_string_equal(info->layout, "random");
    assert_string_equal(info->family, "vit");
    assert_string_equal(info->sha256, "");
    assert_string_equal(info->preprocess.preset, "timm");
    assert_true(info->preprocess.crop_pct == 0.9 && info->preprocess.mean[0] == 0.5);
    assert_string_equal(kh_classes_get(kh_model_classes(model), 207).wnid, "n02099601");
    kh_model_close(model);
}

static void seeds_change_the_numbers_and_repeat_them(void **state) {
    (void)state;
    size_t count;
    kh_model *a = open_model("random:test_vit@7", 0), *b = open_model("random:test_vit@7", 0);
    kh_model *c = open_model("random:test_vit@8", 0);
    float *x = read_tensor(a, "blocks.3.mlp.fc1.weight", &count);
    float *y = read_tensor(b, "blocks.3.mlp.fc1.weight", &count);
    float *z = read_tensor(c, "blocks.3.mlp.fc1.weight", &count);
    assert_memory_equal(x, y, count * sizeof *x);
    size_t same = 0;
    for (size_t i = 0; i < count; i++)
        same += x[i] == z[i];
    assert_true(same < count / 100);
    kh_free(x);
    kh_free(y);
    kh_free(z);
    kh_model_close(a);
    kh_model_close(b);
    kh_model_close(c);
}

static void another_size_makes_a_model_of_that_size(void **state) {
    (void)state;
    kh_model *model = open_model("random:test_vit", 64);
    size_t count;
    float *got = read_tensor(model, "pos_embed", &count);
    assert_int_equal(count, 17 * 64); /* not resampled: the formula's own values */
    float want[17 * 64];
    formula_tensor("pos_embed", 3, (const size_t[]){1, 17, 64}, want, 17 * 64);
    assert_memory_equal(got, want, sizeof want);
    kh_free(got);
    kh_model_close(model);
}

static void a_folder_gives_the_settings_and_the_formula_the_weights(void **state) {
    (void)state;
    char name[1200];
    (void)snprintf(name, sizeof name, "random:%s", golden_path("vit_base_4heads", NULL));
    kh_model *model = open_model(name, 0);
    const kh_model_info *info = kh_model_get_info(model);
    assert_int_equal(info->heads, 4);
    assert_int_equal(info->dim, 24);
    assert_int_equal(info->classes, 10);
    assert_int_equal(info->neurons, 96);
    assert_int_equal(info->parameters, 19810);
    kh_model_close(model);
}

static void wrong_spellings_are_explained(void **state) {
    (void)state;
    kh_error err = {0};
    kh_model *model;
    kh_assert_fails(kh_model_open(ctx, "random:", NULL, &model, &err), KH_E_ARG,
                    "random:ARCHITECTURE[@SEED]");
    kh_assert_fails(kh_model_open(ctx, "random:test_vit@x", NULL, &model, &err), KH_E_ARG, "seed");
    kh_assert_fails(kh_model_open(ctx, "random:test_vit@", NULL, &model, &err), KH_E_ARG, "seed");
    kh_assert_fails(kh_model_open(ctx, "random:vit_huge", NULL, &model, &err), KH_E_UNSUPPORTED,
                    "unknown architecture");
    const char *folder = kh_test_folder("no_neurons");
    char spelled[1100], file[1100];
    (void)snprintf(spelled, sizeof spelled, "random:%s", folder);
    (void)snprintf(file, sizeof file, "%s/config.json", folder);
    static const char narrow[] = "{\"architecture\": \"test_vit\", \"model_args\": {"
                                 "\"embed_dim\": 16, \"num_heads\": 1, \"mlp_ratio\": 0.01}}";
    kh_assert_ok(kh_file_write(file, narrow, sizeof narrow - 1, &err));
    kh_assert_fails(kh_model_open(ctx, spelled, NULL, &model, &err), KH_E_SHAPE,
                    "leaves no neuron");
    const kh_model_options odd = {.height = 100};
    kh_assert_fails(kh_model_open(ctx, "random:test_vit", &odd, &model, &err), KH_E_SHAPE,
                    "multiple of the patch size 16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seed_zero_is_the_formula_in_every_tensor),
        cmocka_unit_test(published_spot_values_are_met),
        cmocka_unit_test(published_parameter_counts_are_met),
        cmocka_unit_test(base_16_is_described_in_full),
        cmocka_unit_test(seeds_change_the_numbers_and_repeat_them),
        cmocka_unit_test(another_size_makes_a_model_of_that_size),
        cmocka_unit_test(a_folder_gives_the_settings_and_the_formula_the_weights),
        cmocka_unit_test(wrong_spellings_are_explained),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
