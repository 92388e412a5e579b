/* keyhole selftest: quick numeric checks of this build on this machine. */
#include "cli/commands.h"
#include "cli/session.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct settings {
    kh_common common;
} settings;

static const kh_option options[] = {KH_COMMON_OPTIONS(settings), {0}};

/* Small registered models of different build, run with random weights. */
static const char *const models[] = {"random:test_vit", "random:test_vit2"};

typedef struct run_result {
    float *logits, *gradient;
    size_t classes, pixels;
} run_result;

static void result_clear(run_result *r) {
    kh_free(r->logits);
    kh_free(r->gradient);
    *r = (run_result){0};
}

/* Logits and the gradient of logit 3, of image 0 in a batch of `batch` copies of different images.
 */
static kh_status forward(const kh_common *common, const char *device, size_t threads,
                         const char *name, size_t batch, run_result *out, kh_error *err) {
    kh_common how = *common;
    how.device = device;
    how.threads = threads;
    if (strcmp(device, "reference") == 0) how.isa = NULL;
    kh_session session = {0};
    kh_model_settings model = {0};
    kh_pass *pass = NULL;
    float *images = NULL, *seed = NULL;
    kh_status status = kh_session_open(&session, &how, err);
    if (!status) status = kh_session_model(&session, name, &model, err);
    if (!status) {
        const kh_model_info *info = kh_model_get_info(session.model);
        status = kh_model_prepare_gradient(session.model, info->blocks - 1, err);
        out->classes = info->classes;
        out->pixels = 3 * info->image_height * info->image_width;
    }
    const kh_pass_spec spec = {.max_batch = batch, .want_logits = true, .want_gradient = true};
    if (!status) status = kh_pass_create(session.ctx, session.model, &spec, &pass, err);
    if (!status) {
        images = kh_alloc_floats(batch * out->pixels);
        seed = kh_calloc(batch * out->classes, sizeof *seed);
        out->logits = kh_alloc_floats(batch * out->classes);
        out->gradient = kh_alloc_floats(batch * out->pixels);
        if (!images || !seed || !out->logits || !out->gradient)
            status = kh_fail(err, KH_E_MEMORY, "no memory for the self-test");
    }
    if (!status) {
        for (size_t i = 0; i < batch * out->pixels; i++)
            images[i] = (float)kh_mix_unit(kh_hash_name("image"), (uint32_t)i);
        seed[3] = 1.0f;
        const float *const seeds[] = {seed};
        status = kh_pass_run(pass, images, batch, err);
        if (!status) memcpy(out->logits, kh_pass_logits(pass), out->classes * sizeof(float));
        if (!status)
            status = kh_pass_backward(pass, seeds, out->gradient, batch * out->pixels, err);
    }
    kh_free(images);
    kh_free(seed);
    kh_pass_free(pass);
    kh_session_close(&session);
    return status;
}

static double max_diff(const float *a, const float *b, size_t count) {
    double worst = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        if (!(d <= worst)) worst = d;
    }
    return worst;
}

static double relative_l2(const float *a, const float *b, size_t count) {
    double diff = 0, want = 0;
    for (size_t i = 0; i < count; i++) {
        diff += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        want += (double)b[i] * (double)b[i];
    }
    return sqrt(diff / want);
}

typedef struct report {
    size_t passed, failed;
    json_t *checks;
    bool json;
} report;

static void say(report *r, const char *model, const char *what, double value, double limit) {
    const bool ok = value <= limit;
    if (ok)
        r->passed++;
    else
        r->failed++;
    if (r->json)
        json_array_append_new(r->checks,
                              json_pack("{s:s, s:s, s:o, s:f, s:b}", "model", model, "check", what,
                                        "value", kh_json_number(value), "limit", limit, "ok", ok));
    else
        printf("%-4s %-18s %-58s %9.3g (limit %g)\n", ok ? "ok" : "FAIL", model, what, value,
               limit);
}

static kh_status check_model(report *r, const kh_common *common, const char *name, kh_error *err) {
    run_result reference = {0}, fast = {0}, packed = {0};
    kh_status status = forward(common, "reference", 1, name, 1, &reference, err);
    if (!status) status = forward(common, "cpu", 1, name, 1, &fast, err);
    if (!status) status = forward(common, "cpu", common->threads, name, 3, &packed, err);
    if (!status) {
        say(r, name, "logits, fast against plain loops, max difference",
            max_diff(fast.logits, reference.logits, fast.classes), 2e-5);
        say(r, name, "input gradient, fast against plain loops, relative L2",
            relative_l2(fast.gradient, reference.gradient, fast.pixels), 1e-4);
        say(r, name, "logits, batch 3 and all threads against batch 1, max difference",
            max_diff(packed.logits, fast.logits, fast.classes), 0.0);
        say(r, name, "gradient, batch 3 and all threads against batch 1, max difference",
            max_diff(packed.gradient, fast.gradient, fast.pixels), 0.0);
    }
    result_clear(&reference);
    result_clear(&fast);
    result_clear(&packed);
    return status;
}

/* Pillow's bytes for a formula image: FNV-1a-32 sums recorded with Pillow. */
static kh_status check_resampling(report *r, kh_error *err) {
    enum { W = 37, H = 29 };
    static uint8_t rgb[W * H * 3];
    const uint32_t name = kh_hash_name("pil");
    for (uint32_t i = 0; i < W * H * 3; i++) /* top 8 bits of the 32-bit mix */
        rgb[i] = (uint8_t)((kh_mix_unit(name, i) + 1.0) * 128.0);
    static const struct {
        kh_filter filter;
        size_t width, height;
        uint32_t sum;
        const char *what;
    } cases[] = {
        {KH_FILTER_BICUBIC, 24, 24, 0xa2667795u, "bicubic 37x29 to 24x24, bytes equal Pillow's"},
        {KH_FILTER_BILINEAR, 24, 24, 0x02c46f3cu, "bilinear 37x29 to 24x24, bytes equal Pillow's"},
        {KH_FILTER_BICUBIC, 60, 47, 0xb03c2fe1u, "bicubic 37x29 to 60x47, bytes equal Pillow's"},
    };
    const kh_image image = {.width = W, .height = H, .rgb = rgb};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        kh_image out = {0};
        KH_TRY(
            kh_image_resize(&image, cases[c].width, cases[c].height, cases[c].filter, &out, err));
        uint32_t sum = 0x811C9DC5u;
        for (size_t i = 0; i < out.width * out.height * 3; i++)
            sum = (sum ^ out.rgb[i]) * 0x01000193u;
        kh_image_clear(&out);
        say(r, "resampling", cases[c].what, sum == cases[c].sum ? 0.0 : 1.0, 0.0);
    }
    return KH_OK;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    (void)count;
    (void)operands;
    const settings *s = from;
    report r = {.checks = json_array(), .json = s->common.json};
    kh_status status = check_resampling(&r, err);
    for (size_t i = 0; i < sizeof models / sizeof *models && !status; i++)
        status = check_model(&r, &s->common, models[i], err);
    if (!status && r.json) {
        json_t *root = json_pack("{s:I, s:I, s:O}", "passed", (json_int_t)r.passed, "failed",
                                 (json_int_t)r.failed, "checks", r.checks);
        if (!kh_print_json(root, err)) status = KH_E_MEMORY;
    } else if (!status) {
        printf("%zu passed, %zu failed\n", r.passed, r.failed);
    }
    json_decref(r.checks);
    if (!status && r.failed)
        status = kh_fail(err, KH_E_NUMERIC, "this build does not compute what it should here");
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_selftest = {
    .name = "selftest",
    .summary = "quick numeric self-checks of this build on this machine",
    .operands = "",
    .description = "Compares the fast code with plain loops, batches and threads with single runs,"
                   " and resampling with sums recorded from Pillow. Takes seconds.",
    .options = options,
    .settings_bytes = sizeof(settings),
    .min_operands = 0,
    .max_operands = 0,
    .run = run,
};
