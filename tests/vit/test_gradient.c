/* Gradients to the pixels, against finite differences of the float64 path. */
#include "vit/edits.h"

#include "vit/parity.h"

enum { IMAGES = 2, PROBES = 4 };

static bool can_seed(const kh_site *s) {
    return !strstr(s->name, "hook_scale") && !strstr(s->name, "scores") &&
           !strstr(s->name, "pattern") && !strstr(s->name, "hook_result");
}

typedef struct problem {
    kh_ctx *ctx;
    kh_model *model;
    ref_model *ref;
    float *images;
    size_t pixels;
} problem;

static problem problem_open(kh_ctx *ctx, const char *name) {
    kh_error err;
    problem p = {.ctx = ctx, .model = pass_open(ctx, name)};
    const kh_model_info *info = kh_model_get_info(p.model);
    p.ref = ref_from_model(p.model);
    p.images = pass_images(p.model, IMAGES);
    p.pixels = 3 * info->image_height * info->image_width;
    kh_assert_ok(kh_model_prepare_gradient(p.model, info->blocks - 1, &err));
    return p;
}

static void problem_close(problem *p) {
    free(p->images);
    ref_close(p->ref);
    kh_model_close(p->model);
}

/* sum_i <seeds[i], site_i> of one image in float64, with one pixel moved. */
static double objective(const problem *p, const kh_edit *edits, size_t edit_count,
                        const char *const *sites, const float *const *seeds, size_t count,
                        size_t image, size_t pixel, double move) {
    double *x = calloc(p->pixels, sizeof *x);
    double *out = calloc(4096, sizeof *out);
    for (size_t i = 0; i < p->pixels; i++)
        x[i] = (double)p->images[image * p->pixels + i];
    x[pixel] += move;
    const float *own[8];
    for (size_t s = 0; s < count; s++) {
        kh_site site;
        assert_int_equal(kh_site_find(p->model, sites[s], &site, NULL), KH_OK);
        own[s] = seeds[s] + image * site.count;
    }
    edit_watch watch = {.model = p->model,
                        .edits = edits,
                        .edit_count = edit_count,
                        .image = image,
                        .sites = sites,
                        .site_count = count,
                        .seeds = own};
    ref_forward(p->ref, x, edit_watch_hook, &watch, out);
    free(x);
    free(out);
    return watch.total;
}

static float *seeds_for(const problem *p, const char *name, uint64_t number, bool one_unit) {
    kh_site site;
    assert_int_equal(kh_site_find(p->model, name, &site, NULL), KH_OK);
    const size_t count = IMAGES * site.count, units = site.shape[site.rank - 1];
    float *seed = malloc(count * sizeof *seed);
    kh_test_fill(seed, count, number, 1.0f);
    for (size_t i = 0; one_unit && i < count; i++)
        if (i % units != 7 % units && i % units != units / 2) seed[i] = 0;
    return seed;
}

/* The pass's gradient of the seeds at these sites, at a few pixels of every image. */
static void check(const problem *p, const kh_edit *edits, size_t edit_count,
                  const char *const *sites, size_t count, bool one_unit) {
    kh_error err;
    const kh_pass_spec spec = {.max_batch = IMAGES,
                               .edits = edits,
                               .edit_count = edit_count,
                               .want_gradient = true,
                               .seed_sites = sites,
                               .seed_count = count};
    kh_pass *pass = pass_make(p->ctx, p->model, &spec);
    kh_assert_ok(kh_pass_run(pass, p->images, IMAGES, &err));
    float *got = malloc(IMAGES * p->pixels * sizeof *got), *seeds[8];
    for (size_t s = 0; s < count; s++)
        seeds[s] = seeds_for(p, sites[s], 100 + s, one_unit);
    const float *const *given = (const float *const *)seeds;
    kh_assert_ok(kh_pass_backward(pass, given, got, IMAGES * p->pixels, &err));
    double largest = 0;
    for (size_t i = 0; i < IMAGES * p->pixels; i++) {
        assert_true(isfinite(got[i]));
        largest = fmax(largest, fabs((double)got[i]));
    }
    const double step = 1e-4;
    for (size_t k = 0; k < PROBES; k++) {
        const size_t image = k % IMAGES, pixel = (k * 1237 + 5) % p->pixels;
        const double up = objective(p, edits, edit_count, sites, given, count, image, pixel, step);
        const double down =
            objective(p, edits, edit_count, sites, given, count, image, pixel, -step);
        const double want = (up - down) / (2 * step);
        const double have = (double)got[image * p->pixels + pixel];
        if (!(fabs(have - want) <= 2e-5 * fmax(largest, 1e-3)))
            fail_msg("seed at %s%s%s: gradient of image %zu, pixel %zu is %.9g, expected %.9g "
                     "(largest %.3g)",
                     sites[0], edit_count ? ", edit of " : "", edit_count ? edits[0].site : "",
                     image, pixel, have, want, largest);
    }
    for (size_t s = 0; s < count; s++)
        free(seeds[s]);
    free(got);
    kh_pass_free(pass);
}

static void seeds_at_every_site(void **state) {
    (void)state;
    kh_ctx **ctx = parity_contexts();
    for (size_t c = 0; ctx[c]; c++)
        for (size_t f = 0; pass_families[f]; f++) {
            if (c && ctx[c + 1]) continue; /* the definition and the fastest; recordings see all */
            problem p = problem_open(ctx[c], pass_families[f]);
            for (size_t i = 0; i < kh_site_count(p.model); i++) {
                const kh_site site = kh_site_get(p.model, i);
                const char *const name = site.name;
                if (!can_seed(&site)) continue;
                check(&p, NULL, 0, &name, 1, false);
                if (strstr(name, "mlp.")) check(&p, NULL, 0, &name, 1, true);
            }
            problem_close(&p);
        }
}

/* Several seeds at once, in blocks and tail, hidden units twice in one block. */
static void seeds_add_up(void **state) {
    (void)state;
    kh_ctx **ctx = parity_contexts();
    static const char *const sites[] = {"blocks.1.mlp.hook_post", "blocks.0.mlp.hook_pre",
                                        "blocks.1.mlp.hook_pre",  "blocks.0.attn.hook_k",
                                        "hook_full_embed",        "hook_pre_head"};
    for (size_t c = 0; ctx[c]; c++)
        for (size_t f = 0; pass_families[f]; f++) {
            if (c && ctx[c + 1]) continue; /* the definition and the fastest; recordings see all */
            problem p = problem_open(ctx[c], pass_families[f]);
            check(&p, NULL, 0, sites, 6, false);
            check(&p, NULL, 0, sites, 5, false);
            check(&p, NULL, 0, sites, 3, true);
            problem_close(&p);
        }
}

static void gradients_go_through_edits(void **state) {
    (void)state;
    kh_ctx *ctx = parity_contexts()[1];
    static const char *const families[] = {"vit_base",
                                           "vit_base_qk_norm",
                                           "dinov2_reg4_giant",
                                           "rpn_base",
                                           "clip_base_quickgelu",
                                           "siglip_base32",
                                           "deit_base_distilled",
                                           "hf_dinov2"};
    const size_t tokens[] = {0, 3}, units[] = {1, 2, 5}, image[] = {1};
    for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
        problem p = problem_open(ctx, families[f]);
        const char *const result = pass_result_site(p.model);
        for (size_t i = 0; i < kh_site_count(p.model); i++) {
            const kh_site site = kh_site_get(p.model, i);
            if (!site.is_editable) continue;
            bool has_tokens = false;
            for (size_t a = 0; a < site.rank; a++)
                has_tokens = has_tokens ||
                             ((site.axes[a] == KH_AXIS_TOKEN || site.axes[a] == KH_AXIS_PATCH ||
                               site.axes[a] == KH_AXIS_QUERY) &&
                              site.shape[a] > 3);
            const kh_edit edits[] = {{.site = site.name,
                                      .op = KH_EDIT_SCALE,
                                      .value = -1.5f,
                                      .tokens = tokens,
                                      .token_count = has_tokens ? 2 : 0},
                                     {.site = site.name,
                                      .op = KH_EDIT_SET,
                                      .value = 0.3f,
                                      .units = units,
                                      .unit_count = 3,
                                      .images = image,
                                      .image_count = 1},
                                     {.site = site.name, .op = KH_EDIT_ADD, .value = 0.1f},
                                     {.site = site.name,
                                      .op = KH_EDIT_ZERO,
                                      .units = units,
                                      .unit_count = 1,
                                      .tokens = tokens,
                                      .token_count = has_tokens ? 1 : 0}};
            check(&p, edits, 4, &result, 1, false);
            const char *const name = site.name; /* seed and edit at one site */
            if (can_seed(&site)) check(&p, edits, 4, &name, 1, true);
        }
        problem_close(&p);
    }
}

enum { TINY_BLOCKS = 2 };

typedef struct met {
    size_t tokens, heads, calls;
    float *pattern[TINY_BLOCKS], *gradient[TINY_BLOCKS]; /* [IMAGES, heads, tokens, tokens] */
} met;

static void meet(void *user, size_t block, const float *pattern, const float *gradient) {
    met *m = user;
    const size_t bytes = IMAGES * m->heads * m->tokens * m->tokens * sizeof(float);
    assert_true(block < TINY_BLOCKS);
    m->calls++;
    memcpy(m->pattern[block], pattern, bytes);
    memcpy(m->gradient[block], gradient, bytes);
}

/* Gradient with respect to one place of all heads' patterns: what adding there changes. */
static void check_pattern(const problem *p, const met *m, const kh_edit *edit, size_t edit_count,
                          const char *site, const float *seeds, size_t block) {
    const size_t n = m->tokens;
    double want[6], got[6], largest = 1e-3;
    kh_edit edits[2];
    if (edit_count) edits[0] = *edit;
    for (size_t k = 0; k < 6; k++) {
        const size_t image = k % IMAGES, token = k / 2 * 2, unit = (5 * k + 1) % n;
        char name[48];
        double side[2];
        (void)snprintf(name, sizeof name, "blocks.%zu.attn.hook_pattern", block);
        for (size_t up = 0; up < 2; up++) {
            edits[edit_count] = (kh_edit){.site = name,
                                          .op = KH_EDIT_ADD,
                                          .value = up ? 0x1p-10f : -0x1p-10f,
                                          .tokens = &token,
                                          .token_count = 1,
                                          .units = &unit,
                                          .unit_count = 1};
            side[up] = objective(p, edits, edit_count + 1, &site, &seeds, 1, image, 0, 0);
        }
        want[k] = (side[1] - side[0]) / 0x1p-9;
        got[k] = 0;
        for (size_t h = 0; h < m->heads; h++)
            got[k] += (double)m->gradient[block][((image * m->heads + h) * n + token) * n + unit];
        largest = fmax(largest, fabs(want[k]));
    }
    for (size_t k = 0; k < 6; k++)
        if (!(fabs(got[k] - want[k]) <= 2e-5 * largest))
            fail_msg("%s, %zu edits, block %zu, place %zu of the pattern: %.9g, expected %.9g "
                     "(largest %.3g)",
                     kh_model_get_info(p->model)->architecture, edit_count, block, k, got[k],
                     want[k], largest);
}

static void patterns_are_met_on_the_way_back(void **state) {
    (void)state;
    kh_error err;
    static const char *const families[] = {"vit_base", "vit_base_qk_norm", "dinov2_reg4_giant",
                                           "rpn_base", "siglip_base32",    "deit_base_distilled"};
    const size_t tokens[] = {0, 3};
    kh_ctx **ctx = parity_contexts();
    for (size_t c = 0; ctx[c]; c++)
        for (size_t f = 0; f < sizeof families / sizeof families[0]; f++) {
            if (c && ctx[c + 1]) continue; /* the definition and the fastest */
            problem p = problem_open(ctx[c], families[f]);
            const kh_model_info *info = kh_model_get_info(p.model);
            const char *const result = pass_result_site(p.model);
            met m = {.tokens = info->tokens, .heads = info->heads};
            const size_t square = IMAGES * m.heads * m.tokens * m.tokens;
            for (size_t b = 0; b < TINY_BLOCKS; b++) {
                m.pattern[b] = calloc(square, sizeof(float));
                m.gradient[b] = calloc(square, sizeof(float));
            }
            float *seed = seeds_for(&p, result, 77, false);
            const kh_edit edit = {.site = "blocks.1.attn.hook_pattern",
                                  .op = KH_EDIT_SCALE,
                                  .value = 1.5f,
                                  .tokens = tokens,
                                  .token_count = 2};
            for (size_t edited = 0; edited < 2; edited++) {
                const kh_tap tap = {.site = "blocks.1.attn.hook_pattern"};
                const kh_pass_spec spec = {.max_batch = IMAGES,
                                           .taps = edited ? &tap : NULL,
                                           .tap_count = edited,
                                           .edits = &edit,
                                           .edit_count = edited,
                                           .want_gradient = true,
                                           .see_attention = meet,
                                           .see_user = &m,
                                           .seed_sites = &result,
                                           .seed_count = 1};
                kh_pass *pass = pass_make(ctx[c], p.model, &spec);
                float *pixels = malloc(IMAGES * p.pixels * sizeof *pixels);
                const float *given = seed;
                kh_assert_ok(kh_pass_run(pass, p.images, IMAGES, &err));
                m.calls = 0;
                kh_assert_ok(kh_pass_backward(pass, &given, pixels, IMAGES * p.pixels, &err));
                assert_int_equal(m.calls, TINY_BLOCKS);
                if (edited) pass_assert_same(m.pattern[1], kh_pass_tap(pass, 0), square, "pattern");
                for (size_t b = 0; b < TINY_BLOCKS; b++)
                    check_pattern(&p, &m, &edit, edited, result, seed, b);
                free(pixels);
                kh_pass_free(pass);
            }
            for (size_t b = 0; b < TINY_BLOCKS; b++)
                free(m.pattern[b]), free(m.gradient[b]);
            free(seed);
            problem_close(&p);
        }
}

/* A gradient's bits do not depend on the other images of the batch either, nor do logits on it. */
static void gradients_of_images_are_independent(void **state) {
    (void)state;
    kh_error err;
    kh_ctx **ctx = parity_contexts();
    static const char *const sites[] = {"logits", "blocks.1.mlp.hook_post",
                                        "blocks.1.mlp.hook_pre"};
    for (size_t c = 0; ctx[c]; c++) {
        problem p = problem_open(ctx[c], "vit_base");
        for (size_t s = 0; s < 3; s++) {
            const kh_tap tap = {.site = "logits"};
            const kh_pass_spec spec = {.max_batch = IMAGES,
                                       .taps = &tap,
                                       .tap_count = 1,
                                       .want_gradient = true,
                                       .seed_sites = &sites[s],
                                       .seed_count = 1};
            kh_pass *pass = pass_make(p.ctx, p.model, &spec);
            kh_site site;
            kh_assert_ok(kh_site_find(p.model, sites[s], &site, &err));
            float *seed = seeds_for(&p, sites[s], 5, true);
            seed[site.count + 3] = 1.5f; /* another unit in image 1 only */
            float *both = malloc(2 * p.pixels * sizeof *both),
                  *one = malloc(p.pixels * sizeof *one);
            const float *given = seed;
            kh_assert_ok(kh_pass_run(pass, p.images, IMAGES, &err));
            kh_assert_ok(kh_pass_backward(pass, &given, both, 2 * p.pixels, &err));
            size_t count;
            float *logits = pass_site(p.ctx, p.model, &tap, NULL, 0, p.images, IMAGES, &count);
            pass_assert_same(kh_pass_tap(pass, 0), logits, count, "logits beside a gradient");
            for (size_t b = 0; b < IMAGES; b++) {
                given = seed + b * site.count;
                kh_assert_ok(kh_pass_run(pass, p.images + b * p.pixels, 1, &err));
                kh_assert_ok(kh_pass_backward(pass, &given, one, p.pixels, &err));
                pass_assert_same(one, both + b * p.pixels, p.pixels, sites[s]);
            }
            free(logits);
            free(seed);
            free(both);
            free(one);
            kh_pass_free(pass);
        }
        problem_close(&p);
    }
}

/* Seeds at one token only, in the last block reached: saying so changes no bit, nor do taps of what
 * the backward pass reads. */
static void promised_tokens_and_taps_change_no_bit(void **state) {
    (void)state;
    kh_error err;
    kh_ctx **ctx = parity_contexts();
    static const char *const sites[] = {"ln2.hook_normalized", "hook_resid_mid", "mlp.hook_pre",
                                        "hook_resid_post", "attn.hook_z"};
    static const size_t first[] = {0};
    static const kh_tap taps[] = {
        {.site = "blocks.0.hook_resid_mid"},
        {.site = "blocks.0.hook_resid_post"},
        {.site = "blocks.0.hook_mlp_out", .tokens = first, .token_count = 1},
        {.site = "blocks.1.hook_attn_out"},
        {.site = "blocks.1.hook_resid_mid"},
        {.site = "blocks.0.mlp.hook_post"}};
    for (size_t c = 0; ctx[c]; c++)
        for (size_t f = 0; pass_families[f]; f++) {
            problem p = problem_open(ctx[c], pass_families[f]);
            const size_t token = c % 2 ? 0 : 2;
            for (size_t s = 0; s < sizeof sites / sizeof sites[0]; s++) {
                char name[64];
                kh_site site;
                (void)snprintf(name, sizeof name, "blocks.1.%s", sites[s]);
                if (kh_site_find(p.model, name, &site, &err)) continue;
                const char *const seeded = name;
                const size_t tokens = site.shape[0], width = site.count / tokens;
                float *seed = seeds_for(&p, name, 9, false), *got[3];
                for (size_t i = 0; i < IMAGES * site.count; i++)
                    if (i / width % tokens != token) seed[i] = 0;
                for (size_t k = 0; k < 3; k++) {
                    const kh_pass_spec spec = {.max_batch = IMAGES,
                                               .want_gradient = true,
                                               .taps = taps,
                                               .tap_count = k == 2 ? sizeof taps / sizeof *taps : 0,
                                               .seed_sites = &seeded,
                                               .seed_count = 1,
                                               .seed_tokens = k == 1 ? &token : NULL,
                                               .seed_token_count = k == 1};
                    kh_pass *pass = pass_make(p.ctx, p.model, &spec);
                    const float *given = seed;
                    got[k] = malloc(IMAGES * p.pixels * sizeof(float));
                    kh_assert_ok(kh_pass_run(pass, p.images, IMAGES, &err));
                    kh_assert_ok(kh_pass_backward(pass, &given, got[k], IMAGES * p.pixels, &err));
                    kh_pass_free(pass);
                }
                for (size_t k = 1; k < 3; k++)
                    pass_assert_same(got[k], got[0], IMAGES * p.pixels, name);
                for (size_t k = 0; k < 3; k++)
                    free(got[k]);
                free(seed);
            }
            problem_close(&p);
        }
}

static void nothing_flows_from_zero_seeds(void **state) {
    (void)state;
    kh_error err;
    problem p = problem_open(parity_contexts()[1], "rpn_base");
    static const char *const sites[] = {"blocks.1.mlp.hook_post", "blocks.0.mlp.hook_pre",
                                        "logits"};
    for (size_t s = 0; s < 3; s++) {
        const kh_pass_spec spec = {
            .max_batch = IMAGES, .want_gradient = true, .seed_sites = &sites[s], .seed_count = 1};
        kh_pass *pass = pass_make(p.ctx, p.model, &spec);
        float *seed = calloc(IMAGES * 16 * 96, sizeof *seed);
        float *got = malloc(IMAGES * p.pixels * sizeof *got);
        const float *given = seed;
        kh_assert_ok(kh_pass_run(pass, p.images, IMAGES, &err));
        kh_assert_ok(kh_pass_backward(pass, &given, got, IMAGES * p.pixels, &err));
        for (size_t i = 0; i < IMAGES * p.pixels; i++)
            assert_true(got[i] == 0.0f);
        free(seed);
        free(got);
        kh_pass_free(pass);
    }
    problem_close(&p);
}

static void unprepared_gradients_are_refused(void **state) {
    (void)state;
    kh_error err;
    kh_ctx *ctx = parity_contexts()[1];
    kh_model *model = pass_open(ctx, "vit_base");
    kh_pass *pass = NULL;
    const char *site = "blocks.0.mlp.hook_post";
    kh_pass_spec spec = {.want_gradient = true, .seed_sites = &site, .seed_count = 1};
    kh_assert_fails(kh_pass_create(ctx, model, &spec, &pass, &err), KH_E_ARG,
                    "kh_model_prepare_gradient(model, 0)");
    kh_assert_ok(kh_model_prepare_gradient(model, 0, &err));
    kh_assert_ok(kh_pass_create(ctx, model, &spec, &pass, &err));
    /* the attention half of block 1 lets seeds in front of its MLP in, and no others */
    kh_pass *half = NULL;
    kh_assert_ok(kh_model_prepare_gradient_below_mlp(model, 1, &err));
    site = "blocks.1.ln2.hook_normalized";
    kh_assert_ok(kh_pass_create(ctx, model, &spec, &half, &err));
    kh_pass_free(half);
    site = "blocks.1.mlp.hook_pre";
    kh_assert_fails(kh_pass_create(ctx, model, &spec, &half, &err), KH_E_ARG,
                    "kh_model_prepare_gradient(model, 1)");
    float gradient[3 * 32 * 32], seed[17 * 96] = {0};
    const float *given = seed;
    kh_assert_fails(kh_pass_backward(pass, &given, gradient, 3072, &err), KH_E_ARG, "before it");
    float *image = pass_images(model, 1);
    kh_assert_ok(kh_pass_run(pass, image, 1, &err));
    kh_assert_fails(kh_pass_backward(pass, &given, gradient, 3071, &err), KH_E_SHAPE, "3072");
    given = NULL;
    kh_assert_fails(kh_pass_backward(pass, &given, gradient, 3072, &err), KH_E_ARG,
                    "no seed for blocks.0.mlp.hook_post");
    kh_pass_free(pass);
    site = "logits";
    kh_assert_fails(kh_pass_create(ctx, model, &spec, &pass, &err), KH_E_ARG,
                    "kh_model_prepare_gradient(model, 1)");
    kh_assert_ok(kh_model_prepare_gradient(model, 1, &err));
    kh_assert_ok(kh_pass_create(ctx, model, &spec, &pass, &err));
    kh_pass_free(pass);
    static const char *const never[] = {"blocks.0.ln1.hook_scale", "blocks.1.attn.hook_pattern",
                                        "blocks.1.attn.hook_attn_scores",
                                        "blocks.1.attn.hook_result"};
    for (size_t i = 0; i < 4; i++) {
        spec.seed_sites = &never[i];
        kh_assert_fails(kh_pass_create(ctx, model, &spec, &pass, &err), KH_E_UNSUPPORTED,
                        "cannot start at");
    }
    spec = (kh_pass_spec){.want_gradient = true, .start_block = 1};
    kh_assert_fails(kh_pass_create(ctx, model, &spec, &pass, &err), KH_E_ARG, "start at block 0");
    spec = (kh_pass_spec){.want_logits = true};
    kh_assert_ok(kh_pass_create(ctx, model, &spec, &pass, &err));
    kh_assert_ok(kh_pass_run(pass, image, 1, &err));
    kh_assert_fails(kh_pass_backward(pass, &given, gradient, 3072, &err), KH_E_ARG,
                    "without want_gradient");
    kh_pass_free(pass);
    free(image);
    kh_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeds_at_every_site),
        cmocka_unit_test(seeds_add_up),
        cmocka_unit_test(gradients_go_through_edits),
        cmocka_unit_test(patterns_are_met_on_the_way_back),
        cmocka_unit_test(gradients_of_images_are_independent),
        cmocka_unit_test(promised_tokens_and_taps_change_no_bit),
        cmocka_unit_test(nothing_flows_from_zero_seeds),
        cmocka_unit_test(unprepared_gradients_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, parity_free_contexts);
}
