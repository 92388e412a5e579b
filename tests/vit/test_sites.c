/* Names of places in the pass. */
#include "vit/parity.h"
#include "vit/passes.h"

static kh_ctx *context(void) {
    return parity_contexts()[0];
}

static void every_site_answers_to_its_name(void **state) {
    (void)state;
    kh_error err;
    for (size_t f = 0; pass_families[f]; f++) {
        kh_model *model = pass_open(context(), pass_families[f]);
        const kh_model_info *info = kh_model_get_info(model);
        size_t previous = 0;
        for (size_t i = 0; i < kh_site_count(model); i++) {
            const kh_site site = kh_site_get(model, i);
            kh_site found;
            kh_assert_ok(kh_site_find(model, site.name, &found, &err));
            assert_string_equal(found.name, site.name);
            assert_int_equal(found.count, site.count);
            size_t product = 1;
            for (size_t a = 0; a < site.rank; a++)
                product *= site.shape[a];
            assert_int_equal(product, site.count);
            assert_int_equal(site.axes[site.rank], KH_AXIS_END);
            if (site.block == SIZE_MAX) continue;
            assert_true(site.block >= previous && site.block < info->blocks);
            previous = site.block;
        }
        assert_int_equal(kh_site_get(model, kh_site_count(model)).count, 0);
        kh_model_close(model);
    }
}

static void sites_come_in_the_order_of_the_pass(void **state) {
    (void)state;
    static const char *const pre_norm[] = {"hook_embed",
                                           "hook_full_embed",
                                           "blocks.0.hook_resid_pre",
                                           "blocks.0.ln1.hook_scale",
                                           "blocks.0.ln1.hook_normalized",
                                           "blocks.0.attn.hook_q",
                                           "blocks.0.attn.hook_k",
                                           "blocks.0.attn.hook_v",
                                           "blocks.0.attn.hook_attn_scores",
                                           "blocks.0.attn.hook_pattern",
                                           "blocks.0.attn.hook_z",
                                           "blocks.0.attn.hook_result",
                                           "blocks.0.hook_attn_out",
                                           "blocks.0.hook_resid_mid",
                                           "blocks.0.ln2.hook_scale",
                                           "blocks.0.ln2.hook_normalized",
                                           "blocks.0.mlp.hook_pre",
                                           "blocks.0.mlp.hook_post",
                                           "blocks.0.hook_mlp_out",
                                           "blocks.0.hook_resid_post",
                                           "blocks.1.hook_resid_pre"};
    static const char *const post_norm[] = {"hook_embed",
                                            "hook_full_embed",
                                            "blocks.0.hook_resid_pre",
                                            "blocks.0.attn.hook_q",
                                            "blocks.0.attn.hook_k",
                                            "blocks.0.attn.hook_v",
                                            "blocks.0.attn.hook_attn_scores",
                                            "blocks.0.attn.hook_pattern",
                                            "blocks.0.attn.hook_z",
                                            "blocks.0.attn.hook_result",
                                            "blocks.0.ln1.hook_scale",
                                            "blocks.0.ln1.hook_normalized",
                                            "blocks.0.hook_attn_out",
                                            "blocks.0.hook_resid_mid",
                                            "blocks.0.mlp.hook_pre",
                                            "blocks.0.mlp.hook_post",
                                            "blocks.0.ln2.hook_scale",
                                            "blocks.0.ln2.hook_normalized",
                                            "blocks.0.hook_mlp_out",
                                            "blocks.0.hook_resid_post",
                                            "blocks.1.hook_resid_pre"};
    kh_model *model = pass_open(context(), "vit_base");
    for (size_t i = 0; i < sizeof pre_norm / sizeof pre_norm[0]; i++)
        assert_string_equal(kh_site_get(model, i).name, pre_norm[i]);
    assert_string_equal(kh_site_get(model, kh_site_count(model) - 1).name, "logits");
    kh_model_close(model);
    model = pass_open(context(), "rpn_base");
    for (size_t i = 0; i < sizeof post_norm / sizeof post_norm[0]; i++)
        assert_string_equal(kh_site_get(model, i).name, post_norm[i]);
    kh_model_close(model);
}

static void expect(const kh_model *model, const char *name, const char *want) {
    kh_error err;
    kh_site site;
    kh_assert_ok(kh_site_find(model, name, &site, &err));
    assert_string_equal(site.name, want);
}

static void refuse(const kh_model *model, const char *name, const char *part) {
    kh_error err;
    kh_site site;
    kh_assert_fails(kh_site_find(model, name, &site, &err), KH_E_NOT_FOUND, part);
}

static void timm_names_mean_the_same_values(void **state) {
    (void)state;
    kh_model *model = pass_open(context(), "vit_base");
    expect(model, "patch_embed", "hook_embed");
    expect(model, "pos_drop", "hook_full_embed");
    expect(model, "norm_pre", "hook_full_embed"); /* an identity here */
    expect(model, "blocks.1", "blocks.1.hook_resid_post");
    expect(model, "blocks.1.norm1", "blocks.1.ln1.hook_normalized");
    expect(model, "blocks.0.attn", "blocks.0.hook_attn_out");
    expect(model, "blocks.0.attn.proj", "blocks.0.hook_attn_out");
    expect(model, "blocks.1.mlp.fc1", "blocks.1.mlp.hook_pre");
    expect(model, "blocks.1.mlp.act", "blocks.1.mlp.hook_post");
    expect(model, "blocks.1.mlp.drop1", "blocks.1.mlp.hook_post");
    expect(model, "blocks.1.mlp.fc2", "blocks.1.hook_mlp_out");
    expect(model, "blocks.1.mlp", "blocks.1.hook_mlp_out");
    expect(model, "norm", "ln_final.hook_normalized");
    expect(model, "fc_norm", "hook_pre_head"); /* an identity here */
    expect(model, "head", "logits");
    refuse(model, "blocks.1.attn.qkv", "q, k and v side by side");
    refuse(model, "attn_pool", "no attention pool");
    kh_model_close(model);

    model = pass_open(context(), "deit3_base"); /* LayerScale */
    refuse(model, "blocks.1.mlp.fc2", "LayerScale");
    refuse(model, "blocks.1.mlp.fc2", "blocks.1.hook_mlp_out");
    refuse(model, "blocks.0.attn", "blocks.0.hook_attn_out");
    expect(model, "blocks.1.ls2", "blocks.1.hook_mlp_out");
    expect(model, "blocks.1.drop_path1", "blocks.1.hook_attn_out");
    kh_model_close(model);

    model = pass_open(context(), "dinov2_reg4_giant"); /* SwiGLU */
    refuse(model, "blocks.0.mlp.fc1", "mlp.hook_pre_linear");
    refuse(model, "blocks.0.mlp.act", "gate alone");
    expect(model, "blocks.0.mlp.drop1", "blocks.0.mlp.hook_post");
    kh_model_close(model);

    model = pass_open(context(), "rpn_base"); /* post-norm, mean before the norm */
    refuse(model, "blocks.0.mlp", "normalises its output");
    expect(model, "blocks.0.norm2", "blocks.0.ln2.hook_normalized");
    refuse(model, "norm", "fc_norm");
    expect(model, "fc_norm", "ln_final.hook_normalized");
    kh_model_close(model);

    model = pass_open(context(), "deit_base_distilled");
    refuse(model, "head", "mean of head and head_dist");
    kh_model_close(model);
}

static void shorthands(void **state) {
    (void)state;
    kh_model *model = pass_open(context(), "vit_base");
    expect(model, "post1", "blocks.1.mlp.hook_post");
    expect(model, "pre0", "blocks.0.mlp.hook_pre");
    expect(model, "resid_pre1", "blocks.1.hook_resid_pre");
    expect(model, "resid_mid1", "blocks.1.hook_resid_mid");
    expect(model, "resid_post0", "blocks.0.hook_resid_post");
    expect(model, "attn_out1", "blocks.1.hook_attn_out");
    expect(model, "mlp_out0", "blocks.0.hook_mlp_out");
    expect(model, "q1", "blocks.1.attn.hook_q");
    expect(model, "z0", "blocks.0.attn.hook_z");
    expect(model, "pattern1", "blocks.1.attn.hook_pattern");
    expect(model, "attn_scores1", "blocks.1.attn.hook_attn_scores");
    expect(model, "scale1ln2", "blocks.1.ln2.hook_scale");
    expect(model, "normalized0ln1", "blocks.0.ln1.hook_normalized");
    expect(model, "embed", "hook_embed");
    expect(model, "pre_head", "hook_pre_head");
    kh_model_close(model);
}

static void wrong_names_get_near_ones(void **state) {
    (void)state;
    kh_error err;
    kh_model *model = pass_open(context(), "vit_base");
    refuse(model, "blocks.1.mlp.hook_pots", "blocks.1.mlp.hook_post");
    refuse(model, "blocks.2.mlp.hook_post", "blocks 0 to 1");
    refuse(model, "post2", "blocks 0 to 1");
    refuse(model, "blocks.01.mlp.hook_post", "no site is called");
    refuse(model, "blocks..mlp", "no site is called");
    refuse(model, "blocks.1.", "no site is called");
    refuse(model, "blocks.99999999999999999999", "no site is called");
    refuse(model, "post", "no site is called");
    refuse(model, "post1x", "no site is called");
    refuse(model, "", "no site is called");
    refuse(model, "\x1b[31m", "\\x1b");
    refuse(model, "blocks.0.mlp.hook_pre_linear", "has no mlp.hook_pre_linear");
    refuse(model, "ln_pre.hook_normalized", "has no ln_pre.hook_normalized");
    kh_site site;
    kh_assert_fails(kh_site_find(model, NULL, &site, &err), KH_E_ARG, "needs a name");
    char longest[5000];
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    refuse(model, longest, "no site is called");
    kh_model_close(model);
    model = pass_open(context(), "vit_base_dino");
    refuse(model, "logits", "has no logits");
    kh_model_close(model);
    model = pass_open(context(), "hf_clip_classes");
    refuse(model, "ln_final.hook_normalized", "has no ln_final");
    kh_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_site_answers_to_its_name),
        cmocka_unit_test(sites_come_in_the_order_of_the_pass),
        cmocka_unit_test(timm_names_mean_the_same_values),
        cmocka_unit_test(shorthands),
        cmocka_unit_test(wrong_names_get_near_ones),
    };
    return cmocka_run_group_tests(tests, NULL, parity_free_contexts);
}
