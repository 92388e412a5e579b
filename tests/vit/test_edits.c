/* Changing values at a site, against the float64 path making the same change. */
#include "vit/edits.h"

#include "vit/parity.h"

enum { IMAGES = 3 };

typedef void (*for_site)(kh_ctx *ctx, const kh_model *model, const ref_model *ref,
                         const kh_site *site, const float *images);

static void each_editable_site(for_site check, bool every_context) {
    kh_ctx **ctx = parity_contexts();
    for (size_t c = 0; ctx[c]; c++)
        for (size_t f = 0; pass_families[f]; f++) {
            if (!every_context && ctx[c + 1]) continue; /* the last is the fastest */
            kh_model *model = pass_open(ctx[c], pass_families[f]);
            ref_model *ref = ref_from_model(model);
            float *images = pass_images(model, IMAGES);
            size_t editable = 0;
            for (size_t i = 0; i < kh_site_count(model); i++) {
                const kh_site site = kh_site_get(model, i);
                if (!site.is_editable) continue;
                editable++;
                check(ctx[c], model, ref, &site, images);
            }
            assert_true(editable >= 25);
            free(images);
            ref_close(ref);
            kh_model_close(model);
        }
}

/* Times one changes no bit of the result, whatever path the plan takes. */
static void scale_one(kh_ctx *ctx, const kh_model *model, const ref_model *ref, const kh_site *site,
                      const float *images) {
    (void)ref;
    const kh_tap tap = {.site = pass_result_site(model)};
    const kh_edit edit = {.site = site->name, .op = KH_EDIT_SCALE, .value = 1};
    size_t count;
    float *want = pass_site(ctx, model, &tap, NULL, 0, images, IMAGES, &count);
    float *got = pass_site(ctx, model, &tap, &edit, 1, images, IMAGES, &count);
    pass_assert_same(got, want, count, site->name);
    free(got);
    free(want);
}

static void scaling_by_one_keeps_every_bit(void **state) {
    (void)state;
    each_editable_site(scale_one, true);
}

static size_t token_axis_size(const kh_site *s) {
    for (size_t a = 0; a < s->rank; a++)
        if (s->axes[a] == KH_AXIS_TOKEN || s->axes[a] == KH_AXIS_PATCH ||
            s->axes[a] == KH_AXIS_QUERY)
            return s->shape[a];
    return 0;
}

/* Runs pass and float64 path with these edits and compares result and edited site. */
static void compare(kh_ctx *ctx, const kh_model *model, const ref_model *ref, const kh_edit *edits,
                    size_t edit_count, const float *images) {
    kh_error err;
    const kh_model_info *info = kh_model_get_info(model);
    const size_t pixels = 3 * info->image_height * info->image_width;
    const char *const sites[] = {pass_result_site(model), edits[0].site};
    const kh_tap taps[] = {{.site = sites[0]}, {.site = sites[1]}};
    const kh_pass_spec spec = {.max_batch = IMAGES,
                               .taps = taps,
                               .tap_count = 2,
                               .edits = edits,
                               .edit_count = edit_count};
    kh_pass *pass = pass_make(ctx, model, &spec);
    kh_assert_ok(kh_pass_run(pass, images, IMAGES, &err));
    double *image = malloc(pixels * sizeof *image), *kept[2];
    for (size_t s = 0; s < 2; s++)
        kept[s] = calloc(kh_pass_tap_count(pass, s), sizeof(double));
    double *out = calloc(info->classes + 4 * info->dim, sizeof *out);
    for (size_t b = 0; b < IMAGES; b++) {
        for (size_t i = 0; i < pixels; i++)
            image[i] = (double)images[b * pixels + i];
        edit_watch watch = {.model = model,
                            .edits = edits,
                            .edit_count = edit_count,
                            .image = b,
                            .sites = sites,
                            .kept = kept,
                            .site_count = 2};
        ref_forward(ref, image, edit_watch_hook, &watch, out);
        for (size_t s = 0; s < 2; s++) {
            const size_t count = kh_pass_tap_count(pass, s);
            const float *got = kh_pass_tap(pass, s) + b * count;
            for (size_t i = 0; i < count; i++)
                if (!(fabs((double)got[i] - kept[s][i]) <= 2e-5 * fmax(1, fabs(kept[s][i]))))
                    fail_msg("edit of %s, image %zu, %s[%zu]: %.9g, expected %.9g", edits[0].site,
                             b, sites[s], i, (double)got[i], kept[s][i]);
        }
    }
    free(image);
    free(kept[0]);
    free(kept[1]);
    free(out);
    kh_pass_free(pass);
}

static void all_operations(kh_ctx *ctx, const kh_model *model, const ref_model *ref,
                           const kh_site *site, const float *images) {
    const size_t n = token_axis_size(site), units = site->shape[site->rank - 1];
    const size_t tokens[] = {0, n ? n - 1 : 0}, some[] = {units - 1, 1}, image[] = {2};
    const float values[] = {0.25f, -0.5f};
    const kh_edit edits[] = {
        {.site = site->name, .op = KH_EDIT_ZERO},
        {.site = site->name, .op = KH_EDIT_SCALE, .value = 0.5f, .images = image, .image_count = 1},
        {.site = site->name,
         .op = KH_EDIT_SET,
         .value = 0.125f,
         .tokens = n ? tokens : NULL,
         .token_count = n ? 2 : 0},
        {.site = site->name,
         .op = KH_EDIT_ADD,
         .values = values,
         .units = some,
         .unit_count = 2,
         .tokens = n ? tokens : NULL,
         .token_count = n ? 1 : 0},
    };
    for (size_t e = 0; e < 4; e++)
        compare(ctx, model, ref, &edits[e], 1, images);
    /* in the order given: (x * 0.5 for image 2), then two units changed */
    const kh_edit both[] = {edits[1], edits[3]};
    compare(ctx, model, ref, both, 2, images);
}

static void every_operation_at_every_site(void **state) {
    (void)state;
    each_editable_site(all_operations, false);
}

/* An image nobody edits keeps its bits. */
static void other_images_stay_as_they_are(void **state) {
    (void)state;
    kh_ctx *ctx = parity_contexts()[1];
    kh_model *model = pass_open(ctx, "vit_base");
    float *images = pass_images(model, IMAGES);
    const kh_tap tap = {.site = "logits"};
    const size_t image[] = {1};
    static const char *const sites[] = {"blocks.0.mlp.hook_post", "blocks.1.attn.hook_pattern",
                                        "blocks.0.hook_resid_pre"};
    for (size_t s = 0; s < 3; s++) {
        const kh_edit edit = {
            .site = sites[s], .op = KH_EDIT_ZERO, .images = image, .image_count = 1};
        size_t count;
        float *want = pass_site(ctx, model, &tap, NULL, 0, images, IMAGES, &count);
        float *got = pass_site(ctx, model, &tap, &edit, 1, images, IMAGES, &count);
        pass_assert_same(got, want, 10, sites[s]);
        pass_assert_same(got + 20, want + 20, 10, sites[s]);
        assert_memory_not_equal(got + 10, want + 10, 10 * sizeof *got);
        free(got);
        free(want);
    }
    free(images);
    kh_model_close(model);
}

static void edits_in_chosen_rows_of_the_last_block(void **state) {
    (void)state;
    kh_ctx *ctx = parity_contexts()[1];
    kh_model *model = pass_open(ctx, "vit_base");
    ref_model *ref = ref_from_model(model);
    float *images = pass_images(model, IMAGES);
    kh_error err;
    const size_t tokens[] = {0, 5}, units[] = {3, 90};
    static const char *const sites[] = {"blocks.1.hook_attn_out", "blocks.1.hook_resid_mid",
                                        "blocks.1.ln2.hook_normalized", "blocks.1.mlp.hook_pre",
                                        "blocks.1.mlp.hook_post"};
    for (size_t s = 0; s < 5; s++) {
        const bool hidden = strstr(sites[s], "mlp.") != NULL;
        const kh_edit edit = {.site = sites[s],
                              .op = KH_EDIT_SCALE,
                              .value = -2,
                              .tokens = tokens,
                              .token_count = 2,
                              .units = hidden ? units : NULL,
                              .unit_count = hidden ? 2 : 0};
        const kh_tap tap = {.site = "logits"};
        const char *const name = "logits";
        size_t count;
        float *got = pass_site(ctx, model, &tap, &edit, 1, images, 1, &count);
        double image[3 * 32 * 32], out[10], kept_values[10], *kept = kept_values;
        for (size_t i = 0; i < 3 * 32 * 32; i++)
            image[i] = (double)images[i];
        edit_watch watch = {.model = model,
                            .edits = &edit,
                            .edit_count = 1,
                            .sites = &name,
                            .kept = &kept,
                            .site_count = 1};
        ref_forward(ref, image, edit_watch_hook, &watch, out);
        for (size_t i = 0; i < 10; i++)
            assert_true(fabs((double)got[i] - kept[i]) <= 2e-5);
        free(got);
    }
    (void)err;
    free(images);
    ref_close(ref);
    kh_model_close(model);
}

/* The stream behind block 0 may lie in its tap; what an edit makes of block 1's input may not. */
static void a_tap_does_not_see_the_next_block_s_edit(void **state) {
    (void)state;
    kh_ctx *ctx = parity_contexts()[0];
    kh_model *model = pass_open(ctx, "vit_base");
    float *images = pass_images(model, IMAGES);
    kh_error err;
    const kh_tap taps[] = {{.site = "blocks.0.hook_resid_post"},
                           {.site = "blocks.1.hook_resid_pre"}};
    const kh_edit edit = {.site = "blocks.1.hook_resid_pre", .op = KH_EDIT_SCALE, .value = 3};
    const kh_pass_spec spec = {
        .max_batch = IMAGES, .taps = taps, .tap_count = 2, .edits = &edit, .edit_count = 1};
    kh_pass *pass = pass_make(ctx, model, &spec);
    kh_assert_ok(kh_pass_run(pass, images, IMAGES, &err));
    size_t count;
    float *want = pass_site(ctx, model, taps, NULL, 0, images, IMAGES, &count);
    pass_assert_same(kh_pass_tap(pass, 0), want, count, "hook_resid_post");
    for (size_t i = 0; i < count; i++)
        want[i] *= 3;
    pass_assert_same(kh_pass_tap(pass, 1), want, count, "hook_resid_pre");
    kh_pass_free(pass);
    free(want);
    free(images);
    kh_model_close(model);
}

static void impossible_edits_are_refused(void **state) {
    (void)state;
    kh_error err;
    kh_ctx *ctx = parity_contexts()[1];
    kh_model *model = pass_open(ctx, "vit_base");
    const size_t far[] = {17}, twice[] = {3, 3}, unit[] = {96}, image[] = {1};
    const struct {
        kh_edit edit;
        kh_status status;
        const char *part;
    } cases[] = {
        {{.site = "blocks.0.attn.hook_attn_scores"}, KH_E_ARG, "can be read but not edited"},
        {{.site = "blocks.0.ln1.hook_scale"}, KH_E_ARG, "can be read but not edited"},
        {{.site = "logits"}, KH_E_ARG, "can be read but not edited"},
        {{.site = "blocks.0.mlp.hook_post", .tokens = far, .token_count = 1},
         KH_E_ARG,
         "token 17 does not exist, there are 17"},
        {{.site = "blocks.0.mlp.hook_post", .units = unit, .unit_count = 1},
         KH_E_ARG,
         "unit 96 does not exist, there are 96"},
        {{.site = "blocks.0.mlp.hook_post", .tokens = twice, .token_count = 2},
         KH_E_ARG,
         "token 3 is listed twice"},
        {{.site = "blocks.0.mlp.hook_post", .images = image, .image_count = 1},
         KH_E_ARG,
         "image 1 does not exist, there are 1"},
        {{.site = "hook_pre_head", .tokens = twice, .token_count = 1},
         KH_E_ARG,
         "has no tokens to choose from"},
        {{.site = "blocks.2.hook_resid_pre"}, KH_E_NOT_FOUND, "blocks 0 to 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        kh_pass *pass = NULL;
        const kh_pass_spec spec = {.want_logits = true, .edits = &cases[i].edit, .edit_count = 1};
        kh_assert_fails(kh_pass_create(ctx, model, &spec, &pass, &err), cases[i].status,
                        cases[i].part);
        assert_null(pass);
    }
    kh_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scaling_by_one_keeps_every_bit),
        cmocka_unit_test(every_operation_at_every_site),
        cmocka_unit_test(other_images_stay_as_they_are),
        cmocka_unit_test(edits_in_chosen_rows_of_the_last_block),
        cmocka_unit_test(a_tap_does_not_see_the_next_block_s_edit),
        cmocka_unit_test(impossible_edits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, parity_free_contexts);
}
