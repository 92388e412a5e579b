/* What a pass computes, what it refuses, and what it takes. */
#include "vit/parity.h"
#include "vit/passes.h"
#include "vit/reference.h"

#include "base/alloc.h"

static kh_ctx *best(void) {
    kh_ctx **ctx = parity_contexts();
    size_t last = 0;
    while (ctx[last + 1])
        last++;
    return ctx[last];
}

static kh_model *open_tiny(const char *name) {
    kh_error err;
    kh_model *model = NULL;
    kh_assert_ok(kh_model_open(best(), name, NULL, &model, &err));
    return model;
}

static double gflop_of(const kh_model *model, const kh_pass_spec *spec) {
    kh_pass *pass = pass_make(best(), model, spec);
    const double gflop = kh_pass_gflop(pass);
    kh_pass_free(pass);
    return gflop;
}

/* Not inlined: gcc 12 takes what it returns for a pointer into its frame. */
__attribute__((noinline)) static char *plan_of(const kh_model *model, const kh_pass_spec *spec) {
    kh_error err;
    char *text = NULL;
    kh_pass *pass = pass_make(best(), model, spec);
    kh_assert_ok(kh_pass_explain(pass, &text, &err));
    kh_pass_free(pass);
    return text;
}

static void near(double got, double want, const char *what) {
    if (!(fabs(got - want) <= 1e-9 * want)) fail_msg("%s: %.12g, expected %.12g", what, got, want);
}

/* ViT-Ti/16: 197 tokens, dim 192, 12 blocks. Worked by hand, 2 FLOP per multiply-add. */
static void a_pass_computes_only_what_is_asked_for(void **state) {
    (void)state;
    kh_model *model = open_tiny("random:vit_tiny_patch16_224");
    const double n = 197, d = 192, m = 768, unit = 2e-9;
    const double embed = unit * 196 * 768 * d, qkv = unit * n * d * 3 * d;
    const double attention = 2 * unit * n * n * d, proj = unit * n * d * d;
    const double mlp = 2 * unit * n * d * m, block = qkv + attention + proj + mlp;
    const double one_row = unit * (d * d + 2 * d * m); /* proj and MLP of the class token alone */
    const double one_query = unit * (2 * n * d * d + d * d) + attention / n; /* its query too */
    kh_pass_spec spec = {.want_logits = true};
    near(gflop_of(model, &spec), embed + 11 * block + one_query + one_row + unit * d * 1000,
         "logits");

    kh_tap tap = {.site = "blocks.11.hook_resid_post"};
    spec.taps = &tap;
    spec.tap_count = 1;
    near(gflop_of(model, &spec), embed + 12 * block + unit * d * 1000, "logits and all tokens");

    tap.site = "blocks.11.mlp.hook_post";
    near(gflop_of(model, &spec), embed + 12 * block - unit * (n - 1) * m * d + unit * d * 1000,
         "logits and all hidden units: fc2 for the class token");

    spec = (kh_pass_spec){.taps = &tap, .tap_count = 1};
    tap.site = "blocks.3.mlp.hook_pre";
    const double start = embed + 3 * block + qkv + attention + proj;
    near(gflop_of(model, &spec), start + unit * n * d * m, "block 3, all key neurons");
    const size_t units[] = {700, 5, 701};
    tap.units = units;
    tap.unit_count = 3;
    near(gflop_of(model, &spec), start + unit * n * d * 3, "block 3, three key neurons");
    const size_t tokens[] = {0, 4};
    tap.tokens = tokens;
    tap.token_count = 2;
    near(gflop_of(model, &spec),
         embed + 3 * block + qkv + attention + unit * 2 * d * d + unit * 2 * d * 3,
         "block 3, three key neurons of two tokens");
    tap = (kh_tap){.site = "blocks.2.attn.hook_v"};
    near(gflop_of(model, &spec), embed + 2 * block + unit * n * d * d, "block 2, v alone");
    tap.site = "blocks.4.hook_resid_pre";
    near(gflop_of(model, &spec), embed + 4 * block, "four blocks");
    tap.site = "hook_embed";
    near(gflop_of(model, &spec), embed, "patches");
    spec = (kh_pass_spec){.want_logits = true, .start_block = 11};
    near(gflop_of(model, &spec), one_query + one_row + unit * d * 1000, "from block 11");
    const kh_tap pattern = {.site = "blocks.11.attn.hook_pattern"};
    spec.taps = &pattern;
    spec.tap_count = 1;
    near(gflop_of(model, &spec), qkv + attention + one_row + unit * d * 1000, "and its pattern");
    kh_model_close(model);
}

/* Whether the plan's line of a step has these words. */
static bool line_says(const char *text, const char *step, const char *words) {
    const char *line = strstr(text, step), *found = line ? strstr(line, words) : NULL;
    return found && found < strchr(line, '\n');
}

static void the_plan_can_be_read(void **state) {
    (void)state;
    kh_model *model = open_tiny("random:vit_tiny_patch16_224");
    const size_t unit[] = {9};
    const kh_tap taps[] = {{.site = "post5", .units = unit, .unit_count = 1}};
    const kh_edit edits[] = {{.site = "pattern2"}, {.site = "pattern8"}};
    kh_pass_spec spec = {.taps = taps, .tap_count = 1, .edits = edits, .edit_count = 2};
    char *text = plan_of(model, &spec);
    assert_non_null(strstr(text, "blocks 0 to 5 of 12"));
    assert_non_null(strstr(text, "blocks.4.mlp"));
    assert_non_null(strstr(text, "[197, 192] -> 1"));
    assert_non_null(strstr(text, "tap blocks.5.mlp.hook_post"));
    assert_non_null(strstr(text, "edit blocks.2.attn.hook_pattern"));
    assert_non_null(strstr(text, "mix again"));
    assert_non_null(strstr(text, "edit of blocks.8.attn.hook_pattern lies behind"));
    assert_null(strstr(text, "blocks.6"));
    free(text);
    const size_t zero[] = {0};
    const kh_tap branches[] = {{.site = "blocks.3.hook_mlp_out", .tokens = zero, .token_count = 1},
                               {.site = "blocks.4.hook_attn_out"}};
    spec = (kh_pass_spec){.want_logits = true, .taps = branches, .tap_count = 2};
    text = plan_of(model, &spec);
    assert_true(line_says(text, "blocks.3.mlp ", "keeps branch"));
    assert_true(line_says(text, "blocks.4.attn.proj ", "keeps branch"));
    assert_false(line_says(text, "blocks.4.mlp ", "keeps branch"));
    assert_null(strstr(text, "add"));
    free(text);
    spec = (kh_pass_spec){.want_logits = true, .max_batch = 4};
    text = plan_of(model, &spec);
    assert_non_null(strstr(text, "batch of 4"));
    assert_non_null(strstr(text, "1 of 197 tokens"));
    assert_non_null(strstr(text, "head"));
    free(text);
    kh_model_close(model);
}

static void running_takes_no_memory(void **state) {
    (void)state;
    kh_error err;
    kh_model *model = pass_open(best(), "vit_base");
    kh_assert_ok(kh_model_prepare_gradient(model, 1, &err));
    const kh_tap taps[] = {{.site = "post1"}, {.site = "pattern0"}, {.site = "q1"}};
    const kh_edit edit = {.site = "pattern1", .op = KH_EDIT_SCALE, .value = 2};
    const kh_pass_spec spec = {.max_batch = 3,
                               .taps = taps,
                               .tap_count = 3,
                               .edits = &edit,
                               .edit_count = 1,
                               .want_logits = true,
                               .want_gradient = true};
    kh_pass *pass = pass_make(best(), model, &spec);
    float *images = pass_images(model, 3), *gradient = malloc(3 * 3072 * sizeof *gradient);
    const float seed[30] = {[3] = 1}, *seeds[] = {seed};
    kh_alloc_fail_after(0); /* counts from here */
    for (size_t batch = 1; batch <= 3; batch++) {
        kh_assert_ok(kh_pass_run(pass, images, batch, &err));
        kh_assert_ok(kh_pass_backward(pass, seeds, gradient, batch * 3072, &err));
    }
    assert_int_equal(kh_alloc_count(), 0);
    free(images);
    free(gradient);
    kh_pass_free(pass);
    kh_model_close(model);
}

/* Let the n-th allocation of kh_pass_create fail, for every n: an error, and nothing lost. */
static void creation_survives_a_lack_of_memory(void **state) {
    (void)state;
    kh_error err;
    kh_model *model = pass_open(best(), "deit_base_distilled");
    kh_assert_ok(kh_model_prepare_gradient(model, 1, &err));
    const size_t units[] = {3, 50}, tokens[] = {1};
    const kh_tap taps[] = {
        {.site = "post1", .units = units, .unit_count = 2},
        {.site = "blocks.0.attn.hook_result", .tokens = tokens, .token_count = 1},
        {.site = "ln_final", .tokens = tokens, .token_count = 1},
        {.site = "attn_scores1"}};
    const float values[] = {1, 2};
    const kh_edit edit = {.site = "pre0",
                          .op = KH_EDIT_ADD,
                          .values = values,
                          .units = units,
                          .unit_count = 2,
                          .tokens = tokens,
                          .token_count = 1};
    const kh_pass_spec spec = {
        .taps = taps, .tap_count = 4, .edits = &edit, .edit_count = 1, .want_gradient = true};
    size_t n = 1;
    for (;; n++) {
        kh_pass *pass = NULL;
        kh_alloc_fail_after(n);
        const kh_status status = kh_pass_create(best(), model, &spec, &pass, &err);
        kh_alloc_fail_after(0);
        if (!status) {
            kh_pass_free(pass);
            break;
        }
        assert_int_equal(status, KH_E_MEMORY);
        assert_null(pass);
        assert_true(n < 1000);
    }
    assert_true(n > 30);
    kh_model_close(model);
}

/* 16 tokens, so that 2^60 images have a number of rows that is zero again. */
static void sizes_that_wrap_round_are_refused(void **state) {
    (void)state;
    kh_error err;
    kh_model *model = pass_open(best(), "hf_siglip_vision_4x");
    assert_int_equal(kh_model_get_info(model)->tokens, 16);
    kh_assert_ok(kh_model_prepare_gradient(model, 0, &err));
    const char *const seed = "blocks.0.mlp.hook_post";
    for (size_t shift = 52; shift < 64; shift++) {
        const kh_pass_spec spec = {.want_gradient = true,
                                   .seed_sites = &seed,
                                   .seed_count = 1,
                                   .max_batch = (size_t)1 << shift};
        kh_pass *pass = NULL;
        kh_assert_fails(kh_pass_create(best(), model, &spec, &pass, &err), KH_E_MEMORY,
                        "more memory than there is");
    }
    kh_model_close(model);
}

static void impossible_passes_are_refused(void **state) {
    (void)state;
    kh_error err;
    kh_model *model = pass_open(best(), "vit_base");
    kh_pass *pass = NULL;
    kh_pass_spec spec = {0};
    kh_assert_fails(kh_pass_create(best(), model, &spec, &pass, &err), KH_E_ARG, "needs a tap");
    const size_t far[] = {17};
    kh_tap tap = {.site = "post0", .tokens = far, .token_count = 1};
    spec = (kh_pass_spec){.taps = &tap, .tap_count = 1};
    kh_assert_fails(kh_pass_create(best(), model, &spec, &pass, &err), KH_E_ARG,
                    "token 17 does not exist");
    tap = (kh_tap){.site = "logits", .tokens = far, .token_count = 1};
    kh_assert_fails(kh_pass_create(best(), model, &spec, &pass, &err), KH_E_ARG, "no tokens");
    tap = (kh_tap){.site = "blocks.0.hook_resid_mid"};
    spec.start_block = 1;
    kh_assert_fails(kh_pass_create(best(), model, &spec, &pass, &err), KH_E_ARG,
                    "lies before block 1");
    spec.start_block = 3;
    kh_assert_fails(kh_pass_create(best(), model, &spec, &pass, &err), KH_E_ARG,
                    "the model has 2 blocks");
    spec = (kh_pass_spec){.want_logits = true, .max_batch = 2};
    pass = pass_make(best(), model, &spec);
    assert_null(kh_pass_logits(pass));
    float *images = pass_images(model, 3);
    kh_assert_fails(kh_pass_run(pass, images, 3, &err), KH_E_ARG, "1 to 2");
    kh_assert_fails(kh_pass_run(pass, images, 0, &err), KH_E_ARG, "1 to 2");
    kh_assert_fails(kh_pass_run(pass, NULL, 1, &err), KH_E_ARG, "needs images");
    kh_assert_ok(kh_pass_run(pass, images, 2, &err));
    assert_non_null(kh_pass_logits(pass));
    assert_null(kh_pass_tap(pass, 0));
    kh_pass_free(pass);
    spec = (kh_pass_spec){.want_logits = true, .start_block = 1};
    pass = pass_make(best(), model, &spec);
    kh_assert_fails(kh_pass_run(pass, images, 1, &err), KH_E_ARG, "starts at block 1");
    kh_pass_free(pass);
    tap = (kh_tap){.site = "hook_embed"};
    spec = (kh_pass_spec){.want_logits = true, .taps = &tap, .tap_count = 1};
    pass = pass_make(best(), model, &spec);
    kh_assert_fails(kh_pass_run_from(pass, images, 1, &err), KH_E_ARG, "before block 0");
    kh_pass_free(pass);
    kh_pass_free(NULL);
    free(images);
    kh_model_close(model);
    model = pass_open(best(), "vit_base_dino");
    spec = (kh_pass_spec){.want_logits = true};
    kh_assert_fails(kh_pass_create(best(), model, &spec, &pass, &err), KH_E_UNSUPPORTED,
                    "no classifier");
    kh_model_close(model);
}

static void a_logit_that_is_not_a_number_is_an_error(void **state) {
    (void)state;
    kh_error err;
    kh_model *model = pass_open(best(), "vit_base");
    const kh_edit edit = {.site = "resid_mid1", .op = KH_EDIT_SET, .value = INFINITY};
    kh_pass_spec spec = {.want_logits = true, .max_batch = 2, .edits = &edit, .edit_count = 1};
    kh_pass *pass = pass_make(best(), model, &spec);
    float *images = pass_images(model, 2);
    kh_assert_fails(kh_pass_run(pass, images, 2, &err), KH_E_NUMERIC, "breaks in block 1");
    assert_null(kh_pass_logits(pass));
    kh_pass_free(pass);
    spec.edit_count = 0;
    pass = pass_make(best(), model, &spec);
    images[3072 + 5] = NAN;
    kh_assert_fails(kh_pass_run(pass, images, 2, &err), KH_E_NUMERIC,
                    "image 1 of the batch holds NaN");
    images[3072 + 5] = 0;
    kh_assert_ok(kh_pass_run(pass, images, 2, &err));
    kh_pass_free(pass);
    free(images);
    kh_model_close(model);
}

/* The head on a row equals the pass's logits when every token is that row: here the final residual.
 */
static void the_head_reads_plain_vectors(void **state) {
    (void)state;
    kh_error err;
    static const char *const families[] = {"vit_base", "vit_base_mae_ft", "siglip_gap_base"};
    for (size_t f = 0; f < 3; f++) {
        kh_model *model = pass_open(best(), families[f]);
        const kh_model_info *info = kh_model_get_info(model);
        float *images = pass_images(model, 1), row[24], got[20];
        float *residual = malloc(info->tokens * 24 * sizeof *residual);
        kh_test_fill(row, 24, 3, 2.0f);
        for (size_t t = 0; t < info->tokens; t++)
            memcpy(residual + t * 24, row, sizeof row);
        const kh_pass_spec spec = {.want_logits = true, .start_block = info->blocks};
        kh_pass *pass = pass_make(best(), model, &spec);
        kh_assert_ok(kh_pass_run_from(pass, residual, 1, &err));
        float rows[48];
        memcpy(rows, row, sizeof row);
        memcpy(rows + 24, row, sizeof row);
        kh_assert_ok(kh_model_head(best(), model, rows, 2, got, &err));
        kh_assert_close(got, kh_pass_logits(pass), 10, 0, 1e-6);
        pass_assert_same(got + 10, got, 10, "the same row twice");
        kh_pass_free(pass);
        free(images);
        free(residual);
        kh_model_close(model);
    }
    kh_model *model = pass_open(best(), "siglip_base32");
    float row[24] = {0}, logits[10];
    kh_assert_fails(kh_model_head(best(), model, row, 1, logits, &err), KH_E_UNSUPPORTED,
                    "attention pool");
    kh_model_close(model);
}

/* Keys of these tokens get no attention at all: to the others they are not there. */
typedef struct dropped_tokens {
    size_t tokens;
    const bool *is_dropped;
} dropped_tokens;

static void hide_keys(void *user, const char *site, double *values, size_t count) {
    const dropped_tokens *d = user;
    if (!strstr(site, "hook_attn_scores")) return;
    for (size_t i = 0; i < count; i++)
        if (d->is_dropped[i % d->tokens]) values[i] = -1e30;
}

static void dropped_tokens_leave_no_trace(void **state) {
    (void)state;
    kh_error err;
    static const size_t kept[] = {0, 3, 4, 9, 16};
    enum { KEPT = 5, DIM = 24 };
    kh_model *model = pass_open(best(), "vit_base");
    const kh_model_info *info = kh_model_get_info(model);
    float *images = pass_images(model, 1), rows[KEPT * DIM];
    const kh_tap tap = {.site = "blocks.0.hook_resid_pre"};
    kh_pass_spec spec = {.taps = &tap, .tap_count = 1, .want_logits = true};
    kh_pass *whole = pass_make(best(), model, &spec);
    kh_assert_ok(kh_pass_run(whole, images, 1, &err));
    const float *embedded = kh_pass_tap(whole, 0);
    bool is_dropped[64];
    for (size_t t = 0; t < info->tokens; t++)
        is_dropped[t] = true;
    for (size_t k = 0; k < KEPT; k++) {
        memcpy(rows + k * DIM, embedded + kept[k] * DIM, DIM * sizeof *rows);
        is_dropped[kept[k]] = false;
    }
    spec = (kh_pass_spec){.tokens = KEPT, .want_logits = true};
    kh_pass *narrow = pass_make(best(), model, &spec);
    kh_assert_fails(kh_pass_run(narrow, images, 1, &err), KH_E_ARG, "with some of the tokens");
    kh_assert_ok(kh_pass_run_from(narrow, rows, 1, &err));
    double *pixels = calloc(3 * 32 * 32, sizeof *pixels), want[10];
    for (size_t i = 0; i < 3 * 32 * 32; i++)
        pixels[i] = (double)images[i];
    ref_model *reference = ref_from_model(model);
    dropped_tokens hidden = {info->tokens, is_dropped};
    ref_forward(reference, pixels, hide_keys, &hidden, want);
    for (size_t c = 0; c < 10; c++)
        if (!(fabs((double)kh_pass_logits(narrow)[c] - want[c]) <= 2e-5))
            fail_msg("logit %zu: %g, expected %g", c, (double)kh_pass_logits(narrow)[c], want[c]);
    kh_pass_free(narrow);
    /* all of them: the whole model, bit for bit */
    spec.tokens = info->tokens;
    narrow = pass_make(best(), model, &spec);
    kh_assert_ok(kh_pass_run_from(narrow, embedded, 1, &err));
    pass_assert_same(kh_pass_logits(narrow), kh_pass_logits(whole), 10, "all tokens");
    kh_pass_free(narrow);
    spec.tokens = info->tokens + 1;
    kh_assert_fails(kh_pass_create(best(), model, &spec, &narrow, &err), KH_E_ARG, "1 to 17");
    ref_close(reference);
    kh_pass_free(whole);
    free(pixels);
    free(images);
    kh_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pass_computes_only_what_is_asked_for),
        cmocka_unit_test(the_plan_can_be_read),
        cmocka_unit_test(running_takes_no_memory),
        cmocka_unit_test(creation_survives_a_lack_of_memory),
        cmocka_unit_test(sizes_that_wrap_round_are_refused),
        cmocka_unit_test(impossible_passes_are_refused),
        cmocka_unit_test(a_logit_that_is_not_a_number_is_an_error),
        cmocka_unit_test(the_head_reads_plain_vectors),
        cmocka_unit_test(dropped_tokens_leave_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, parity_free_contexts);
}
