#include "vit/parity.h"

#include <dirent.h>

#include "base/rng.h"
#include "base/text.h"

enum { CONTEXTS = 5, CASES = 128 };

static kh_ctx *contexts[CONTEXTS + 1];
static char context_names[CONTEXTS][32];

int parity_free_contexts(void **state) {
    (void)state;
    for (size_t i = 0; i < CONTEXTS; i++) {
        kh_ctx_free(contexts[i]);
        contexts[i] = NULL;
    }
    return 0;
}

kh_ctx **parity_contexts(void) {
    static const char *const wanted[CONTEXTS][2] = {
        {"reference", NULL}, {"cpu", "plain"}, {"cpu", "avx2"}, {"cpu", "avx512"}, {"cpu", "neon"}};
    if (contexts[0]) return contexts;
    size_t count = 0;
    for (size_t i = 0; i < CONTEXTS; i++) {
        kh_error err;
        const kh_ctx_options options = {.device = wanted[i][0], .isa = wanted[i][1], .threads = 2};
        const kh_status status = kh_ctx_create(&options, &contexts[count], &err);
        if (status == KH_E_UNSUPPORTED) continue;
        kh_assert_ok_at(status, &err, __FILE__, __LINE__);
        (void)snprintf(context_names[count], sizeof context_names[0], "%s %s", wanted[i][0],
                       wanted[i][1] ? wanted[i][1] : "");
        count++;
    }
    assert_true(count >= 1);
    return contexts;
}

const char *parity_context_name(size_t index) {
    return context_names[index];
}

static int by_name(const void *a, const void *b) {
    return strcmp(a, b);
}

void parity_each_case(const char *prefix, bool begins,
                      void (*check)(kh_ctx *ctx, const char *name)) {
    static char names[CASES][64];
    size_t count = 0;
    DIR *folder = opendir(KH_TEST_DATA "/golden");
    assert_non_null(folder);
    for (const struct dirent *e = readdir(folder); e; e = readdir(folder)) {
        char path[512];
        (void)snprintf(path, sizeof path, KH_TEST_DATA "/golden/%.60s/golden.safetensors",
                       e->d_name);
        FILE *file = fopen(path, "rb");
        if (!file) continue;
        (void)fclose(file);
        if (kh_starts_with(e->d_name, prefix) != begins) continue;
        assert_true(count < CASES);
        (void)snprintf(names[count++], sizeof names[0], "%.60s", e->d_name);
    }
    (void)closedir(folder);
    qsort(names, count, sizeof names[0], by_name);
    assert_true(count > 0);
    kh_ctx **ctx = parity_contexts();
    for (size_t c = 0; ctx[c]; c++)
        for (size_t i = 0; i < count; i++) {
            print_message("%s: %s\n", parity_context_name(c), names[i]);
            check(ctx[c], names[i]);
        }
}

kh_model *parity_open(kh_ctx *ctx, const char *name, kh_tensors **golden) {
    kh_error err;
    char path[512];
    (void)snprintf(path, sizeof path, KH_TEST_DATA "/golden/%s/golden.safetensors", name);
    kh_assert_ok(kh_tensors_open(path, NULL, golden, &err));
    kh_model_options options = {0};
    const char *size = kh_tensors_metadata(*golden, "run_size");
    assert_non_null(size);
    assert_int_equal(sscanf(size, "%zux%zu", &options.height, &options.width), 2);
    kh_model *model = NULL;
    (void)snprintf(path, sizeof path, "%s" KH_TEST_DATA "/golden/%s",
                   kh_starts_with(name, "full_") ? "random:" : "", name);
    kh_assert_ok(kh_model_open(ctx, path, &options, &model, &err));
    return model;
}

float *parity_input(const kh_tensors *golden, const kh_model *model, size_t batch) {
    kh_error err;
    const kh_model_info *i = kh_model_get_info(model);
    const size_t count = batch * 3 * i->image_height * i->image_width;
    float *image = malloc(count * sizeof *image);
    assert_non_null(image);
    kh_tensor_info info;
    if (kh_tensors_find(golden, "input", &info)) {
        kh_assert_ok(kh_tensors_read(golden, "input", false, image, count, &err));
        return image;
    }
    const uint32_t hash = kh_hash_name("image");
    for (size_t k = 0; k < count; k++)
        image[k] = (float)kh_mix_unit(hash, (uint32_t)k);
    return image;
}

/* "0,1,100" */
static size_t token_list(const kh_tensors *golden, size_t out[8]) {
    const char *text = kh_tensors_metadata(golden, "tokens");
    size_t count = 0;
    while (text && *text && count < 8) {
        out[count++] = (size_t)strtoul(text, NULL, 10);
        text = strchr(text, ',');
        if (text) text++;
    }
    return count;
}

static void check_gradient(kh_pass *pass, const kh_model *model, const kh_tensors *golden,
                           size_t batch, const char *site_name, double rtol) {
    kh_error err;
    const kh_model_info *i = kh_model_get_info(model);
    const size_t pixels = 3 * i->image_height * i->image_width;
    kh_site site;
    kh_assert_ok(kh_site_find(model, site_name, &site, &err));
    float *seed = calloc(batch * site.count, sizeof *seed);
    float *got = malloc(batch * pixels * sizeof *got);
    assert_non_null(seed);
    assert_non_null(got);
    seed[3] = 1;
    const float *seeds[] = {seed};
    kh_assert_ok(kh_pass_backward(pass, seeds, got, batch * pixels, &err));
    kh_tensor_info info;
    size_t first = 0, rows = i->image_height;
    const char *name = "grad", *range = kh_tensors_metadata(golden, "grad_rows");
    if (range) {
        size_t last;
        assert_int_equal(sscanf(range, "%zu..%zu", &first, &last), 2);
        rows = last - first + 1;
        name = "grad_rows";
    }
    assert_true(kh_tensors_find(golden, name, &info));
    assert_int_equal(info.count, batch * 3 * rows * i->image_width);
    float *want = malloc(info.count * sizeof *want);
    assert_non_null(want);
    kh_assert_ok(kh_tensors_read(golden, name, false, want, info.count, &err));
    double difference = 0, length = 0, length_got = 0, product = 0, whole = 0;
    for (size_t c = 0; c < 3 * batch; c++)
        for (size_t y = 0; y < i->image_height; y++)
            for (size_t x = 0; x < i->image_width; x++) {
                const double g = (double)got[(c * i->image_height + y) * i->image_width + x];
                whole += g * g;
                if (y < first || y >= first + rows) continue;
                const double w = (double)want[(c * rows + y - first) * i->image_width + x];
                difference += (g - w) * (g - w);
                length += w * w;
                length_got += g * g;
                product += g * w;
            }
    const double relative = sqrt(difference / length);
    const double cosine = product / sqrt(length * length_got);
    if (!(relative <= rtol) || !(cosine >= 1 - 1e-8))
        fail_msg("gradient: relative difference %g, 1 - cosine %g", relative, 1 - cosine);
    const char *norm = kh_tensors_metadata(golden, "grad_norm");
    if (norm && !(fabs(sqrt(whole) / strtod(norm, NULL) - 1) <= rtol))
        fail_msg("gradient norm %.12g, recorded %s", sqrt(whole), norm);
    free(seed);
    free(got);
    free(want);
}

void parity_check_case(kh_ctx *ctx, const char *name, double atol, double gradient_rtol) {
    kh_error err;
    kh_tensors *golden = NULL;
    kh_model *model = parity_open(ctx, name, &golden);
    const kh_model_info *info = kh_model_get_info(model);
    size_t tokens[8];
    const size_t token_count = token_list(golden, tokens);
    kh_tap taps[128];
    kh_tensor_info tensors[128];
    size_t count = 0, batch = 1;
    for (size_t k = 0; k < kh_tensors_count(golden); k++) {
        const kh_tensor_info t = kh_tensors_get(golden, k);
        kh_site site;
        if (kh_ends_with(t.name, "_f64") || kh_site_find(model, t.name, &site, &err)) continue;
        if (strcmp(site.name, t.name) != 0) continue;
        assert_true(count < 128);
        taps[count] = (kh_tap){.site = t.name};
        if (token_count && site.block != SIZE_MAX) {
            taps[count].tokens = tokens;
            taps[count].token_count = token_count;
        }
        tensors[count++] = t;
        batch = t.shape[0];
    }
    assert_true(count >= 1);
    const char *objective = kh_tensors_metadata(golden, "objective");
    const bool gradient = strcmp(objective, "none") != 0;
    const char *seed_site = kh_starts_with(objective, "logit") ? "logits" : "hook_pre_head";
    if (gradient) kh_assert_ok(kh_model_prepare_gradient(model, info->blocks - 1, &err));
    const kh_pass_spec spec = {.max_batch = batch,
                               .taps = taps,
                               .tap_count = count,
                               .want_gradient = gradient,
                               .seed_sites = &seed_site,
                               .seed_count = gradient ? 1 : 0};
    kh_pass *pass = NULL;
    kh_assert_ok(kh_pass_create(ctx, model, &spec, &pass, &err));
    float *image = parity_input(golden, model, batch);
    kh_assert_ok(kh_pass_run(pass, image, batch, &err));
    for (size_t k = 0; k < count; k++) {
        assert_int_equal(kh_pass_tap_count(pass, k) * batch, tensors[k].count);
        float *want = malloc(tensors[k].count * sizeof *want);
        assert_non_null(want);
        kh_assert_ok(kh_tensors_read(golden, tensors[k].name, false, want, tensors[k].count, &err));
        kh_assert_close_at(kh_pass_tap(pass, k), want, tensors[k].count, 0, atol, tensors[k].name,
                           __FILE__, __LINE__);
        free(want);
    }
    if (gradient) check_gradient(pass, model, golden, batch, seed_site, gradient_rtol);
    free(image);
    kh_pass_free(pass);
    kh_model_close(model);
    kh_tensors_close(golden);
}
