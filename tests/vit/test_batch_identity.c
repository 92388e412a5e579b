/* The bits of an image's result depend on the image and the model alone. */
#include "vit/parity.h"
#include "vit/passes.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IMAGES = 8, RANDOM_SETS = 4 };
#else
enum { IMAGES = 8, RANDOM_SETS = 20 };
#endif

/* Every site of a model, from one pass over all images with every tap. */
typedef struct all_sites {
    kh_site *sites;
    kh_tap *taps;
    size_t count;
    float **values; /* [count][IMAGES * site.count] */
} all_sites;

static all_sites list_sites(const kh_model *model) {
    all_sites all = {.count = kh_site_count(model)};
    all.sites = malloc(all.count * sizeof *all.sites);
    all.taps = calloc(all.count, sizeof *all.taps);
    all.values = calloc(all.count, sizeof *all.values);
    assert_true(all.sites && all.taps && all.values);
    for (size_t i = 0; i < all.count; i++) {
        all.sites[i] = kh_site_get(model, i);
        all.taps[i].site = all.sites[i].name;
    }
    return all;
}

/* Batches of `batch` images through one pass with every tap. */
static void run_all(kh_ctx *ctx, const kh_model *model, all_sites *all, const float *images,
                    size_t batch) {
    kh_error err;
    const kh_model_info *info = kh_model_get_info(model);
    const size_t pixels = 3 * info->image_height * info->image_width;
    const kh_pass_spec spec = {.max_batch = batch,
                               .taps = all->taps,
                               .tap_count = all->count,
                               .want_logits = info->classes > 0};
    kh_pass *pass = pass_make(ctx, model, &spec);
    for (size_t first = 0; first < IMAGES; first += batch) {
        const size_t n = IMAGES - first < batch ? IMAGES - first : batch;
        kh_assert_ok(kh_pass_run(pass, images + first * pixels, n, &err));
        for (size_t i = 0; i < all->count; i++) {
            const size_t each = all->sites[i].count;
            if (!all->values[i]) all->values[i] = malloc(IMAGES * each * sizeof(float));
            memcpy(all->values[i] + first * each, kh_pass_tap(pass, i), n * each * sizeof(float));
            if (strcmp(all->sites[i].name, "logits") == 0)
                pass_assert_same(kh_pass_logits(pass), kh_pass_tap(pass, i), n * each, "logits");
        }
    }
    kh_pass_free(pass);
}

static void clear_sites(all_sites *all) {
    for (size_t i = 0; i < all->count; i++)
        free(all->values[i]);
    free(all->values);
    free(all->sites);
    free(all->taps);
}

static void compare_all(const all_sites *got, const all_sites *want, const char *what) {
    char label[256];
    for (size_t i = 0; i < want->count; i++) {
        (void)snprintf(label, sizeof label, "%s, %s", what, want->sites[i].name);
        pass_assert_same(got->values[i], want->values[i], IMAGES * want->sites[i].count, label);
    }
}

/* Only the result, nothing tapped on the way: the fused path. */
static void untapped_result(kh_ctx *ctx, const kh_model *model, const all_sites *want,
                            const float *images) {
    const char *name = pass_result_site(model);
    size_t count;
    const kh_tap tap = {.site = name};
    float *got = pass_site(ctx, model, &tap, NULL, 0, images, IMAGES, &count);
    for (size_t i = 0; i < want->count; i++)
        if (strcmp(want->sites[i].name, name) == 0)
            pass_assert_same(got, want->values[i], count, "no other taps");
    free(got);
}

/* Every site alone (so that the pass ends there), whole and in pieces. */
static void each_site_alone(kh_ctx *ctx, const kh_model *model, const all_sites *want,
                            const float *images) {
    const size_t batch = 2;
    for (size_t i = 0; i < want->count; i++) {
        const kh_site *s = &want->sites[i];
        size_t count;
        kh_tap tap = {.site = s->name};
        float *got = pass_site(ctx, model, &tap, NULL, 0, images, batch, &count);
        assert_int_equal(count, batch * s->count);
        pass_assert_same(got, want->values[i], count, s->name);
        free(got);

        size_t axis = SIZE_MAX;
        for (size_t a = 0; a < s->rank; a++)
            if (s->axes[a] == KH_AXIS_TOKEN || s->axes[a] == KH_AXIS_PATCH ||
                s->axes[a] == KH_AXIS_QUERY)
                axis = a;
        const size_t units = s->shape[s->rank - 1];
        const size_t tokens[] = {axis == SIZE_MAX ? 0 : s->shape[axis] - 1, 0};
        const size_t some[] = {units - 1, units / 2, 0};
        tap.tokens = tokens;
        tap.token_count = axis == SIZE_MAX ? 0 : 2;
        tap.units = some;
        tap.unit_count = 3;
        got = pass_site(ctx, model, &tap, NULL, 0, images, batch, &count);
        size_t outer = 1, middle = 1;
        for (size_t a = 0; a + 1 < s->rank; a++) {
            if (axis == SIZE_MAX || a < axis)
                outer *= s->shape[a];
            else if (a > axis)
                middle *= s->shape[a];
        }
        const size_t all_tokens = axis == SIZE_MAX ? 1 : s->shape[axis];
        const size_t chosen = axis == SIZE_MAX ? 1 : 2;
        assert_int_equal(count, batch * outer * chosen * middle * 3);
        size_t at = 0;
        for (size_t o = 0; o < batch * outer; o++)
            for (size_t t = 0; t < chosen; t++)
                for (size_t m = 0; m < middle; m++)
                    for (size_t u = 0; u < 3; u++, at++) {
                        const size_t token = axis == SIZE_MAX ? 0 : tokens[t];
                        const size_t from =
                            ((o * all_tokens + token) * middle + m) * units + some[u];
                        pass_assert_same(&got[at], &want->values[i][from], 1, s->name);
                    }
        free(got);
    }
}

static bool ends_with(const char *name, const char *end) {
    const size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* Some rows of the branches, next to all hidden units: the products keep them on their way, and of
 * the last block's output only one row may be computed. way 0: token 0 of both branches and the
 * stream between them; 1: the same from the last token and the stream behind them; 2: two taps of
 * different tokens; 3: token 0 of the branches and of the stream, hidden units before the
 * activation. */
static void chosen_company(kh_ctx *ctx, const kh_model *model, const all_sites *want,
                           const float *images, size_t way) {
    kh_error err;
    const kh_model_info *info = kh_model_get_info(model);
    const size_t zero[] = {0}, end[] = {info->tokens - 1}, batch = 3;
    kh_tap *taps = calloc(2 * want->count, sizeof *taps);
    size_t *of = calloc(2 * want->count, sizeof *of), count = 0;
    assert_true(taps && of);
    for (size_t i = 0; i < want->count; i++) {
        const char *name = want->sites[i].name;
        const bool is_branch = ends_with(name, "hook_attn_out") || ends_with(name, "hook_mlp_out");
        const bool is_mid = ends_with(name, "hook_resid_mid");
        const bool is_post = ends_with(name, "hook_resid_post");
        const bool is_hidden = ends_with(name, way == 3 ? "mlp.hook_pre" : "mlp.hook_post");
        if (!is_hidden && !is_branch && !(is_mid && way == 0) && !(is_post && way % 2)) continue;
        kh_tap tap = {.site = name};
        if (is_branch || (is_post && way == 3)) {
            tap.tokens = way == 1 ? end : zero;
            tap.token_count = 1;
        }
        of[count] = i;
        taps[count++] = tap;
        if (!is_branch || way != 2) continue;
        tap.tokens = end;
        of[count] = i;
        taps[count++] = tap;
    }
    const kh_pass_spec spec = {
        .max_batch = batch, .taps = taps, .tap_count = count, .want_logits = info->classes > 0};
    kh_pass *pass = pass_make(ctx, model, &spec);
    for (size_t first = 0; first + batch <= IMAGES; first += batch) {
        const size_t pixels = 3 * info->image_height * info->image_width;
        kh_assert_ok(kh_pass_run(pass, images + first * pixels, batch, &err));
        for (size_t t = 0; t < count; t++) {
            const size_t each = want->sites[of[t]].count;
            const size_t rows = taps[t].token_count ? 1 : info->tokens;
            const size_t at = taps[t].token_count ? taps[t].tokens[0] : 0;
            for (size_t i = 0; i < batch; i++)
                pass_assert_same(kh_pass_tap(pass, t) + i * (each / info->tokens) * rows,
                                 want->values[of[t]] + (first + i) * each +
                                     at * (each / info->tokens),
                                 each / info->tokens * rows, taps[t].site);
        }
        if (!info->classes) continue;
        pass_assert_same(kh_pass_logits(pass),
                         want->values[want->count - 1] + first * info->classes,
                         batch * info->classes, "logits");
    }
    kh_pass_free(pass);
    free(taps);
    free(of);
}

static size_t pick(uint64_t *state, size_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (size_t)((*state >> 33) % below);
}

/* Any set of taps, each whole or of one or two tokens, with and without logits: what lies in whose
 * memory differs from set to set, the values do not. */
static void random_company(kh_ctx *ctx, const kh_model *model, const all_sites *want,
                           const float *images, uint64_t seed) {
    enum { MOST = 24 };
    kh_error err;
    const kh_model_info *info = kh_model_get_info(model);
    const size_t batch = 2, count = 1 + pick(&seed, MOST);
    const bool narrow = pick(&seed, 2); /* no other token than one: rows may be left out */
    const size_t only = pick(&seed, info->tokens);
    size_t of[MOST], tokens[MOST][2];
    kh_tap taps[MOST];
    for (size_t t = 0; t < count; t++) {
        of[t] = pick(&seed, want->count);
        const kh_site *site = &want->sites[of[t]];
        taps[t] = (kh_tap){.site = site->name};
        for (size_t k = 0; k < 2; k++)
            tokens[t][k] = narrow ? only : pick(&seed, info->tokens);
        const bool by_token = site->rank == 2 && site->axes[0] == KH_AXIS_TOKEN;
        if (!by_token || site->shape[0] != info->tokens || pick(&seed, 3) == 0) continue;
        taps[t].tokens = tokens[t];
        taps[t].token_count = narrow ? 1 : 1 + pick(&seed, 2);
    }
    const kh_pass_spec spec = {.max_batch = batch,
                               .taps = taps,
                               .tap_count = count,
                               .want_logits = info->classes > 0 && pick(&seed, 2)};
    kh_pass *pass = pass_make(ctx, model, &spec);
    for (size_t run = 0; run < 2;
         run++) { /* what the first leaves behind is nothing to the second */
        const size_t first = run * batch, pixels = 3 * info->image_height * info->image_width;
        kh_assert_ok(kh_pass_run(pass, images + first * pixels, batch, &err));
        for (size_t t = 0; t < count; t++) {
            const kh_site *site = &want->sites[of[t]];
            const size_t rows = taps[t].token_count,
                         width = site->count / (rows ? info->tokens : 1);
            for (size_t i = 0; i < batch; i++) {
                const float *all = want->values[of[t]] + (first + i) * site->count;
                const float *got = kh_pass_tap(pass, t) + i * width * (rows ? rows : 1);
                pass_assert_same(got, all + (rows ? tokens[t][0] * width : 0), width, site->name);
                if (rows == 2)
                    pass_assert_same(got + width, all + tokens[t][1] * width, width, site->name);
            }
        }
        if (spec.want_logits)
            pass_assert_same(kh_pass_logits(pass),
                             want->values[want->count - 1] + first * info->classes,
                             batch * info->classes, "logits");
    }
    kh_pass_free(pass);
}

/* Starting again from every recorded residual. */
static void resumed(kh_ctx *ctx, const kh_model *model, const all_sites *want) {
    kh_error err;
    const kh_model_info *info = kh_model_get_info(model);
    const char *result = pass_result_site(model);
    const size_t result_at = want->count - 1;
    assert_string_equal(want->sites[result_at].name, result);
    for (size_t start = 0; start <= info->blocks; start++) {
        const float *residual = NULL;
        char name[64];
        if (start < info->blocks)
            (void)snprintf(name, sizeof name, "blocks.%zu.hook_resid_pre", start);
        else
            (void)snprintf(name, sizeof name, "blocks.%zu.hook_resid_post", start - 1);
        for (size_t i = 0; i < want->count; i++)
            if (strcmp(want->sites[i].name, name) == 0) residual = want->values[i];
        assert_non_null(residual);
        const kh_tap tap = {.site = result};
        const kh_pass_spec spec = {.max_batch = IMAGES,
                                   .taps = &tap,
                                   .tap_count = 1,
                                   .want_logits = info->classes > 0,
                                   .start_block = start};
        kh_pass *pass = pass_make(ctx, model, &spec);
        kh_assert_ok(kh_pass_run_from(pass, residual, IMAGES, &err));
        pass_assert_same(kh_pass_tap(pass, 0), want->values[result_at],
                         IMAGES * want->sites[result_at].count, "resumed");
        kh_pass_free(pass);
    }
}

static void check_family(kh_ctx *ctx, const char *name) {
    kh_error err;
    kh_model *model = pass_open(ctx, name);
    float *images = pass_images(model, IMAGES);
    all_sites want = list_sites(model);
    run_all(ctx, model, &want, images, 1);
    const size_t batches[] = {3, IMAGES};
    for (size_t b = 0; b < 2; b++) {
        all_sites got = list_sites(model);
        run_all(ctx, model, &got, images, batches[b]);
        compare_all(&got, &want, "another batch size");
        clear_sites(&got);
    }
    for (size_t threads = 1; threads <= 3; threads += 2) {
        const kh_ctx_options options = {
            .device = kh_ctx_device(ctx), .isa = kh_ctx_isa(ctx), .threads = threads};
        kh_ctx *other = NULL;
        kh_assert_ok(kh_ctx_create(&options, &other, &err));
        all_sites got = list_sites(model);
        run_all(other, model, &got, images, IMAGES);
        compare_all(&got, &want, "another number of threads");
        clear_sites(&got);
        kh_ctx_free(other);
    }
    untapped_result(ctx, model, &want, images);
    each_site_alone(ctx, model, &want, images);
    for (size_t way = 0; way < 4; way++)
        chosen_company(ctx, model, &want, images, way);
    for (uint64_t seed = 0; seed < RANDOM_SETS; seed++)
        random_company(ctx, model, &want, images, seed);
    resumed(ctx, model, &want);
    clear_sites(&want);
    free(images);
    kh_model_close(model);
}

static void bits_do_not_depend_on_company(void **state) {
    (void)state;
    kh_ctx **ctx = parity_contexts();
    for (size_t c = 0; ctx[c]; c++)
        for (size_t f = 0; pass_families[f]; f++) {
            print_message("%s: %s\n", parity_context_name(c), pass_families[f]);
            check_family(ctx[c], pass_families[f]);
        }
}

/* A model opened by one context runs on another of its kind, and is refused by one of another kind.
 */
static void contexts_that_fit_share_a_model(void **state) {
    (void)state;
    kh_error err;
    kh_ctx **ctx = parity_contexts();
    kh_model *model = pass_open(ctx[0], "vit_base");
    const kh_pass_spec spec = {.want_logits = true};
    for (size_t c = 1; ctx[c]; c++) {
        kh_pass *pass = NULL;
        kh_assert_fails(kh_pass_create(ctx[c], model, &spec, &pass, &err), KH_E_ARG, "packed for");
        assert_null(pass);
    }
    kh_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bits_do_not_depend_on_company),
        cmocka_unit_test(contexts_that_fit_share_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, parity_free_contexts);
}
