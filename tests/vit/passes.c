#include "vit/passes.h"

const char *const pass_families[] = {
    "vit_base",        "vit_base_mae_ft",    "vit_base_qk_norm",    "deit_base_distilled",
    "deit3_base",      "dinov2_reg4_giant",  "clip_base_quickgelu", "siglip_base32",
    "siglip_gap_base", "rpn_base",           "hf_dinov2",           "hf_clip_classes",
    "test_vit2",       "vit_base_nonsquare", "vit_base_dino",       NULL};

kh_model *pass_open(kh_ctx *ctx, const char *golden_name) {
    kh_error err;
    kh_model *model = NULL;
    char path[512];
    (void)snprintf(path, sizeof path, KH_TEST_DATA "/golden/%s", golden_name);
    kh_assert_ok(kh_model_open(ctx, path, NULL, &model, &err));
    return model;
}

float *pass_images(const kh_model *model, size_t count) {
    const kh_model_info *i = kh_model_get_info(model);
    const size_t floats = count * 3 * i->image_height * i->image_width;
    float *images = malloc(floats * sizeof *images);
    assert_non_null(images);
    kh_test_fill(images, floats, 11, 1.0f);
    return images;
}

kh_pass *pass_make(kh_ctx *ctx, const kh_model *model, const kh_pass_spec *spec) {
    kh_error err;
    kh_pass *pass = NULL;
    kh_assert_ok(kh_pass_create(ctx, model, spec, &pass, &err));
    return pass;
}

float *pass_site(kh_ctx *ctx, const kh_model *model, const kh_tap *tap, const kh_edit *edits,
                 size_t edit_count, const float *images, size_t batch, size_t *count) {
    kh_error err;
    const kh_pass_spec spec = {
        .max_batch = batch, .taps = tap, .tap_count = 1, .edits = edits, .edit_count = edit_count};
    kh_pass *pass = pass_make(ctx, model, &spec);
    kh_assert_ok(kh_pass_run(pass, images, batch, &err));
    *count = batch * kh_pass_tap_count(pass, 0);
    float *out = malloc(*count * sizeof *out);
    assert_non_null(out);
    memcpy(out, kh_pass_tap(pass, 0), *count * sizeof *out);
    kh_pass_free(pass);
    return out;
}

const char *pass_result_site(const kh_model *model) {
    return kh_model_get_info(model)->classes ? "logits" : "hook_pre_head";
}

void pass_assert_same(const float *got, const float *want, size_t count, const char *what) {
    for (size_t i = 0; i < count; i++)
        if (memcmp(&got[i], &want[i], sizeof *got) != 0)
            fail_msg("%s: float %zu of %zu is %.9g, expected the same bits as %.9g", what, i, count,
                     (double)got[i], (double)want[i]);
}
