/* Every recorded folder opens, in every layout, with the right settings and the right weights. */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "base/file.h"
#include "keyhole/vit.h"
#include "vit/formula.h"

#include <jansson.h>

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

static json_t *cases(void) {
    json_error_t where;
    json_t *list = json_load_file(golden_path("cases.json", NULL), 0, &where);
    if (!list) fail_msg("cases.json: %s", where.text);
    return list;
}

static bool is_like(const char *folder, const char *start) {
    return strncmp(folder, start, strlen(start)) == 0;
}

/* Folders whose weights are the formula's values rounded to half precision. */
static double rounding_of(const char *folder) {
    if (is_like(folder, "variant_fp16") || is_like(folder, "variant_flat")) return 0x1p-11;
    return is_like(folder, "variant_bf16") ? 0x1p-8 : 0;
}

/* What the model must hold under a timm name, given how the case was recorded. */
static void expected_tensor(const char *folder, const kh_model *model, const char *name,
                            size_t rank, const size_t *shape, float *out, size_t count) {
    const kh_model_info *info = kh_model_get_info(model);
    const bool has_class_row = is_like(folder, "hf_dinov2_reg") || is_like(folder, "variant_face");
    /* the recorder's table of names gave this one another seed */
    const bool is_renamed = is_like(folder, "hf_siglip") && is_like(name, "attn_pool.proj.");
    char seed[64];
    (void)snprintf(seed, sizeof seed, "%s%s", is_renamed ? "head.attn.proj." : "",
                   is_renamed ? name + strlen("attn_pool.proj.") : name);
    if (is_like(folder, "variant_face") && strcmp(name, "reg_token") == 0)
        (void)snprintf(seed, sizeof seed, "register_tokens");
    formula_tensor(seed, rank, shape, out, count);
    if (strcmp(name, "head.bias") == 0 &&
        (info->head_is_projection || is_like(folder, "variant_openai")))
        memset(out, 0, count * sizeof *out); /* these files have none */
    if (has_class_row && (strcmp(name, "cls_token") == 0 || strcmp(name, "pos_embed") == 0)) {
        const size_t grid = info->grid_height * info->grid_width, dim = info->dim;
        const size_t rows[] = {1, grid + 1, dim};
        float *all = kh_alloc_floats((grid + 1) * dim);
        formula_tensor("pos_embed", 3, rows, all, (grid + 1) * dim);
        if (strcmp(name, "pos_embed") == 0)
            memcpy(out, all + dim, count * sizeof *out);
        else
            for (size_t d = 0; d < dim; d++)
                out[d] += all[d];
        kh_free(all);
    }
}

static void check_tensors(const char *folder, const kh_model *model, bool is_resampled) {
    kh_error err;
    const double rounding = rounding_of(folder);
    for (size_t i = 0; i < kh_model_tensor_count(model); i++) {
        const char *name = kh_model_tensor_name(model, i);
        size_t rank, shape[8], count = 1;
        assert_true(kh_model_tensor_shape(model, name, &rank, shape));
        for (size_t k = 0; k < rank; k++)
            count *= shape[k];
        if (is_resampled && strcmp(name, "pos_embed") == 0) continue;
        float *got = kh_alloc_floats(count), *want = kh_alloc_floats(count);
        kh_assert_ok(kh_model_tensor_read(model, name, got, count, &err));
        expected_tensor(folder, model, name, rank, shape, want, count);
        if (rounding == 0) {
            if (memcmp(got, want, count * sizeof *got) != 0)
                fail_msg("%s: %s is not what was recorded", folder, name);
        } else {
            kh_assert_close(got, want, count, rounding, 0x1p-24);
        }
        kh_free(got);
        kh_free(want);
    }
}

static void check_positions(const kh_model *model, const kh_tensors *golden) {
    kh_error err;
    kh_tensor_info want_info;
    if (!kh_tensors_find(golden, "pos_embed_resampled", &want_info)) return;
    size_t rank, shape[8];
    assert_true(kh_model_tensor_shape(model, "pos_embed", &rank, shape));
    const size_t dim = shape[2], count = shape[1] * dim;
    /* transformers keeps the row of the class token, which we have added to that token */
    const size_t skip = want_info.count - count;
    assert_true(skip == 0 || skip == dim);
    float *got = kh_alloc_floats(count), *want = kh_alloc_floats(want_info.count);
    kh_assert_ok(kh_model_tensor_read(model, "pos_embed", got, count, &err));
    kh_assert_ok(
        kh_tensors_read(golden, "pos_embed_resampled", false, want, want_info.count, &err));
    kh_assert_close(got, want + skip, count, 0, 2e-6);
    kh_free(got);
    kh_free(want);
}

static void check_info(const char *folder, const kh_model *model, const kh_tensors *golden,
                       size_t height, size_t width) {
    const kh_model_info *info = kh_model_get_info(model);
    kh_tensor_info tensor;
    assert_int_equal(info->image_height, height);
    assert_int_equal(info->image_width, width);
    assert_int_equal(info->preprocess.height, height);
    assert_int_equal(info->preprocess.width, width);
    if (kh_tensors_find(golden, "hook_full_embed", &tensor)) {
        assert_int_equal(info->tokens, tensor.shape[1]);
        assert_int_equal(info->dim, tensor.shape[2]);
    }
    if (kh_tensors_find(golden, "blocks.0.attn.hook_pattern", &tensor))
        assert_int_equal(info->heads, tensor.shape[1]);
    if (kh_tensors_find(golden, "blocks.1.mlp.hook_post", &tensor))
        assert_int_equal(info->neurons, tensor.shape[2]);
    const bool has_logits = kh_tensors_find(golden, "logits", &tensor);
    assert_int_equal(info->classes, has_logits ? tensor.shape[1] : 0);
    assert_int_equal(info->classes > 0, kh_model_classes(model) != NULL);
    const char *parameters = kh_tensors_metadata(golden, "parameters");
    if (parameters && strcmp(info->layout, "timm") == 0 && height == info->image_height &&
        !is_like(folder, "resample"))
        assert_int_equal(info->parameters, strtoull(parameters, NULL, 10));
    const char *eps = kh_tensors_metadata(golden, "eps");
    if (eps) assert_true(info->norm_eps == strtod(eps, NULL));
    const char *act = kh_tensors_metadata(golden, "activation");
    static const char *const names[][2] = {{"GELU none", "gelu"},
                                           {"GELUTanh", "gelu_tanh"},
                                           {"GELU tanh", "gelu_tanh"},
                                           {"QuickGELU", "quick_gelu"},
                                           {"SiLU", "silu"}};
    if (act)
        for (size_t i = 0; i < 5; i++)
            if (is_like(act, names[i][0])) assert_string_equal(info->activation, names[i][1]);
    assert_int_equal(strlen(info->sha256), 64);
}

static void every_recorded_folder_opens_with_its_settings_and_weights(void **state) {
    (void)state;
    kh_error err;
    json_t *list = cases();
    size_t i, opened = 0;
    json_t *one;
    json_array_foreach(list, i, one) {
        const char *folder = json_string_value(json_object_get(one, "folder"));
        if (!json_is_true(json_object_get(one, "weights"))) continue;
        const json_t *size = json_object_get(one, "run_size");
        const size_t height = (size_t)json_integer_value(json_array_get(size, 0));
        const size_t width = (size_t)json_integer_value(json_array_get(size, 1));
        const bool is_resampled = is_like(folder, "resample") || strstr(folder, "_48") != NULL;
        kh_model_options options = {0};
        if (is_resampled) {
            options.height = height;
            options.width = width;
        }
        kh_tensors *golden;
        kh_model *model;
        kh_assert_ok(
            kh_tensors_open(golden_path(folder, "golden.safetensors"), NULL, &golden, &err));
        kh_assert_ok(kh_model_open(ctx, golden_path(folder, NULL), &options, &model, &err));
        check_info(folder, model, golden, height, width);
        check_tensors(folder, model, is_resampled);
        check_positions(model, golden);
        kh_model_close(model);
        kh_tensors_close(golden);
        opened++;
    }
    json_decref(list);
    assert_true(opened >= 50);
}

typedef struct heard {
    size_t count;
    char last[512];
} heard;

static void hear(void *user, const char *text) {
    heard *h = user;
    h->count++;
    (void)snprintf(h->last, sizeof h->last, "%s", text);
}

static void pools_and_heads_follow_the_class_named_in_the_config(void **state) {
    (void)state;
    static const struct {
        const char *folder;
        kh_pool_kind pool;
        bool indirect, projection;
    } want[] = {
        {"vit_base", KH_POOL_TOKEN, false, false},
        {"vit_base_mae_ft", KH_POOL_AVG_FC, false, false},
        {"gap_medium", KH_POOL_AVG, false, false},
        {"rpn_base", KH_POOL_AVG_FC, false, false},
        {"siglip_base32", KH_POOL_MAP, true, false},
        {"siglip_gap_base", KH_POOL_AVG, false, false},
        {"deit_base_distilled", KH_POOL_DISTILL, false, false},
        {"hf_deit", KH_POOL_TOKEN, false, false},
        {"hf_deit_teacher", KH_POOL_DISTILL, false, false},
        {"hf_dinov2", KH_POOL_CLS_AVG, false, false},
        {"hf_dinov2_model", KH_POOL_TOKEN, false, false},
        {"hf_clip_classes", KH_POOL_RAW_AVG, false, false},
        {"hf_clip_full", KH_POOL_TOKEN, false, true},
        {"hf_clip_projection", KH_POOL_TOKEN, false, true},
        {"hf_siglip_classes", KH_POOL_AVG, false, false},
        {"hf_siglip_vision", KH_POOL_MAP, false, false},
    };
    for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
        kh_error err;
        kh_model *model;
        kh_assert_ok(kh_model_open(ctx, golden_path(want[i].folder, NULL), NULL, &model, &err));
        const kh_model_info *info = kh_model_get_info(model);
        if (info->pool != want[i].pool || info->head_is_indirect != want[i].indirect ||
            info->head_is_projection != want[i].projection)
            fail_msg("%s: pool %d", want[i].folder, (int)info->pool);
        kh_model_close(model);
    }
}

static void a_weight_file_or_its_config_stands_for_the_folder(void **state) {
    (void)state;
    kh_error err;
    static const char *const files[] = {"model.safetensors", "config.json"};
    for (size_t i = 0; i < 2; i++) {
        kh_model *model;
        kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", files[i]), NULL, &model, &err));
        assert_string_equal(kh_model_get_info(model)->architecture, "vit_base_patch16_224");
        assert_string_equal(kh_model_get_info(model)->tag, "augreg2_in21k_ft_in1k");
        kh_model_close(model);
    }
}

static void class_names_come_from_the_checkpoint(void **state) {
    (void)state;
    kh_error err;
    kh_model *model;
    kh_assert_ok(kh_model_open(ctx, golden_path("deit_base", NULL), NULL, &model, &err));
    kh_class class = kh_classes_get(kh_model_classes(model), 3);
    assert_string_equal(class.wnid, "n01440767");
    assert_string_equal(class.name, "thing 3, other name");
    kh_model_close(model);
    kh_assert_ok(kh_model_open(ctx, golden_path("hf_vit", NULL), NULL, &model, &err));
    assert_string_equal(kh_classes_get(kh_model_classes(model), 9).name, "thing 9, other name");
    kh_model_close(model);
    kh_assert_ok(kh_model_open(ctx, golden_path("variant_flat_config", NULL), NULL, &model, &err));
    assert_string_equal(kh_classes_get(kh_model_classes(model), 9).name, "class 9");
    kh_model_close(model);
}

static void the_activation_may_be_overruled(void **state) {
    (void)state;
    kh_error err;
    kh_model *model;
    const kh_model_options options = {.activation = "quick_gelu"};
    kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", NULL), &options, &model, &err));
    assert_string_equal(kh_model_get_info(model)->activation, "quick_gelu");
    kh_model_close(model);
    const kh_model_options wrong = {.activation = "relu"};
    kh_assert_fails(kh_model_open(ctx, golden_path("vit_base", NULL), &wrong, &model, &err),
                    KH_E_ARG, "'relu'");
}

static bool stop(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)what;
    assert_true(done <= total);
    uint64_t *last = user;
    *last = done;
    return false;
}

static bool go_on(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)what;
    uint64_t *last = user;
    assert_true(done >= last[0]);
    last[0] = done;
    last[1] = total;
    return true;
}

static void progress_counts_bytes_and_may_stop(void **state) {
    (void)state;
    kh_error err;
    kh_model *model;
    uint64_t counts[2] = {0, 0};
    kh_model_options options = {.progress = go_on, .progress_user = counts};
    kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", NULL), &options, &model, &err));
    assert_int_equal(counts[1], 19810 * 4);
    assert_int_equal(counts[0], (19810 - 17 * 24) * 4); /* all but the positions */
    kh_model_close(model);
    options.progress = stop;
    kh_assert_fails(kh_model_open(ctx, golden_path("vit_base", NULL), &options, &model, &err),
                    KH_E_STOPPED, "stopped");
    assert_null(model);
}

static void quick_gelu_weights_under_the_erf_name_are_mentioned(void **state) {
    (void)state;
    kh_error err;
    kh_model *model;
    heard h = {0};
    kh_model_options options = {.warn = hear, .warn_user = &h};
    kh_assert_ok(kh_model_open(ctx, golden_path("clip_base", NULL), &options, &model, &err));
    assert_int_equal(h.count, 0); /* a laion checkpoint */
    kh_model_close(model);

    const char *folder = kh_test_folder("openai");
    char path[512];
    unsigned char *bytes;
    size_t count;
    kh_assert_ok(
        kh_file_read(golden_path("clip_base", "model.safetensors"), 1 << 20, &bytes, &count, &err));
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    kh_assert_ok(kh_file_write(path, bytes, count, &err));
    kh_free(bytes);
    kh_assert_ok(
        kh_file_read(golden_path("clip_base", "config.json"), 1 << 20, &bytes, &count, &err));
    char *tag = strstr((char *)bytes, "laion2b_ft_in12k_in1k");
    memcpy(tag, "openai_ft_in12k_in1kk", strlen("openai_ft_in12k_in1kk"));
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    kh_assert_ok(kh_file_write(path, bytes, count, &err));
    kh_free(bytes);
    kh_assert_ok(kh_model_open(ctx, folder, &options, &model, &err));
    assert_int_equal(h.count, 1);
    assert_non_null(strstr(h.last, "quick_gelu"));
    kh_model_close(model);
}

static void every_failing_allocation_leaves_nothing_behind(void **state) {
    (void)state;
    static const char *const folders[] = {"vit_base", "hf_dinov2_reg_48", "siglip_base32",
                                          "variant_openai_clip"};
    for (size_t f = 0; f < sizeof folders / sizeof folders[0]; f++) {
        size_t n = 1;
        for (;; n++) {
            kh_error err = {0};
            kh_model *model = NULL;
            kh_alloc_fail_after(n);
            const kh_status status =
                kh_model_open(ctx, golden_path(folders[f], NULL), NULL, &model, &err);
            kh_alloc_fail_after(0);
            if (status == KH_OK) {
                kh_model_close(model);
                break;
            }
            assert_null(model);
            if (status != KH_E_MEMORY) fail_msg("allocation %zu: %s", n, err.text);
        }
        assert_true(n > 20);
    }
}

static void gradients_are_prepared_up_to_a_block(void **state) {
    (void)state;
    kh_error err;
    kh_model *model;
    kh_assert_ok(kh_model_open(ctx, golden_path("siglip_base32", NULL), NULL, &model, &err));
    kh_assert_ok(kh_model_prepare_gradient(model, 0, &err));
    kh_assert_ok(kh_model_prepare_gradient(model, 1, &err));
    kh_assert_ok(kh_model_prepare_gradient(model, SIZE_MAX, &err));
    check_tensors("siglip_base32", model, false); /* reading still gives the weights */
    kh_model_close(model);
}

static void unknown_tensors_and_wrong_counts_are_errors(void **state) {
    (void)state;
    kh_error err;
    kh_model *model;
    float out[24];
    kh_assert_ok(kh_model_open(ctx, golden_path("vit_base", NULL), NULL, &model, &err));
    kh_assert_fails(kh_model_tensor_read(model, "fc_norm.weight", out, 24, &err), KH_E_NOT_FOUND,
                    "fc_norm.weight");
    kh_assert_fails(kh_model_tensor_read(model, "norm.weight", out, 23, &err), KH_E_SHAPE, "24");
    size_t rank, shape[8];
    assert_false(kh_model_tensor_shape(model, "norm_pre.weight", &rank, shape));
    kh_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recorded_folder_opens_with_its_settings_and_weights),
        cmocka_unit_test(pools_and_heads_follow_the_class_named_in_the_config),
        cmocka_unit_test(a_weight_file_or_its_config_stands_for_the_folder),
        cmocka_unit_test(class_names_come_from_the_checkpoint),
        cmocka_unit_test(the_activation_may_be_overruled),
        cmocka_unit_test(progress_counts_bytes_and_may_stop),
        cmocka_unit_test(quick_gelu_weights_under_the_erf_name_are_mentioned),
        cmocka_unit_test(every_failing_allocation_leaves_nothing_behind),
        cmocka_unit_test(gradients_are_prepared_up_to_a_block),
        cmocka_unit_test(unknown_tensors_and_wrong_counts_are_errors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
