/* keyhole verify: a model against numbers recorded elsewhere. */
#include "cli/commands.h"
#include "cli/session.h"

#include "base/alloc.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    double tolerance, gradient_tolerance;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->tolerance = 2e-5;
    s->gradient_tolerance = 1e-4;
}

static const kh_option options[] = {
    {KH_OPT_NUMBER, "tolerance", 0, offsetof(settings, tolerance), "X",
     "Largest absolute difference allowed at any site. Default: 2e-5."},
    {KH_OPT_NUMBER, "gradient-tolerance", 0, offsetof(settings, gradient_tolerance), "X",
     "Largest relative L2 difference allowed for the input gradient. Default: 1e-4."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

/* One compared tensor. */
typedef struct line {
    const char *name;
    size_t count;
    double max_abs, rel_l2;
    bool is_gradient;
} line;

typedef struct verifier {
    kh_session session;
    kh_tensors *golden;
    kh_pass *pass;
    float *input;
    size_t batch;
    line *lines;
    size_t line_count;
    kh_tap *taps;
    kh_tensor_info *wanted; /* one per tap */
    size_t tap_count;
    size_t tokens[64];
    size_t token_count;
} verifier;

static void measure(line *l, const float *got, const float *want, size_t count) {
    double worst = 0, diff2 = 0, want2 = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs((double)got[i] - (double)want[i]);
        if (!(d <= worst)) worst = d; /* NaN sticks */
        diff2 += d * d;
        want2 += (double)want[i] * (double)want[i];
    }
    l->count = count;
    l->max_abs = worst;
    l->rel_l2 = want2 > 0 ? sqrt(diff2 / want2) : sqrt(diff2);
}

static bool is_close(const settings *s, const line *l) {
    return l->is_gradient ? l->rel_l2 <= s->gradient_tolerance : l->max_abs <= s->tolerance;
}

/* "0,1,100": the tokens a golden keeps of its block sites */
static void read_token_list(verifier *v) {
    const char *text = kh_tensors_metadata(v->golden, "tokens");
    while (text && *text && v->token_count < sizeof v->tokens / sizeof *v->tokens) {
        char *end = NULL;
        v->tokens[v->token_count++] = (size_t)strtoull(text, &end, 10);
        if (!end || end == text) {
            v->token_count--;
            return;
        }
        text = *end == ',' || *end == ' ' ? end + 1 : end;
        while (*text == ' ')
            text++;
    }
}

static kh_status collect_taps(verifier *v, kh_error *err) {
    const size_t count = kh_tensors_count(v->golden);
    v->taps = kh_calloc(count + 1, sizeof *v->taps);
    v->wanted = kh_calloc(count + 1, sizeof *v->wanted);
    v->lines = kh_calloc(count + 1, sizeof *v->lines);
    if (!v->taps || !v->wanted || !v->lines)
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu comparisons", count);
    read_token_list(v);
    for (size_t i = 0; i < count; i++) {
        const kh_tensor_info info = kh_tensors_get(v->golden, i);
        kh_site site;
        if (kh_site_find(v->session.model, info.name, &site, NULL)) continue;
        kh_tap *tap = &v->taps[v->tap_count];
        tap->site = info.name;
        size_t per_image = site.count;
        if (v->token_count && site.block != SIZE_MAX && site.axes[0] == KH_AXIS_TOKEN) {
            tap->tokens = v->tokens;
            tap->token_count = v->token_count;
            per_image = site.count / site.shape[0] * v->token_count;
        }
        if (info.count != v->batch * per_image)
            return kh_fail(err, KH_E_SHAPE,
                           "golden tensor '%s' has %zu values, the model's site has %zu x %zu",
                           info.name, info.count, v->batch, per_image);
        v->wanted[v->tap_count++] = info;
    }
    if (v->tap_count == 0)
        return kh_fail(err, KH_E_FORMAT, "the golden file has no tensor named like a site");
    return KH_OK;
}

static kh_status read_input(verifier *v, kh_error *err) {
    const kh_model_info *m = kh_model_get_info(v->session.model);
    kh_tensor_info info;
    if (!kh_tensors_find(v->golden, "input", &info))
        return kh_fail(err, KH_E_FORMAT, "the golden file has no tensor 'input'");
    if (info.rank != 4 || info.shape[1] != 3 || info.shape[2] != m->image_height ||
        info.shape[3] != m->image_width)
        return kh_fail(err, KH_E_SHAPE,
                       "golden input is %zux%zu, the model takes %zux%zu; --size may help",
                       info.rank == 4 ? info.shape[2] : 0, info.rank == 4 ? info.shape[3] : 0,
                       m->image_height, m->image_width);
    v->batch = info.shape[0];
    v->input = kh_alloc_floats(info.count);
    if (!v->input) return kh_fail(err, KH_E_MEMORY, "no memory for the input");
    return kh_tensors_read(v->golden, "input", false, v->input, info.count, err);
}

static kh_status compare_taps(verifier *v, kh_error *err) {
    for (size_t t = 0; t < v->tap_count; t++) {
        const kh_tensor_info *info = &v->wanted[t];
        float *want = kh_alloc_floats(info->count);
        if (!want) return kh_fail(err, KH_E_MEMORY, "no memory for '%s'", info->name);
        kh_status status = kh_tensors_read(v->golden, info->name, true, want, info->count, err);
        line *l = &v->lines[v->line_count++];
        l->name = info->name;
        if (!status) measure(l, kh_pass_tap(v->pass, t), want, info->count);
        kh_free(want);
        KH_TRY(status);
    }
    return KH_OK;
}

/* "logit:3" or "feature:3" of image 0 */
static kh_status compare_gradient(verifier *v, kh_error *err) {
    kh_tensor_info info;
    const char *objective = kh_tensors_metadata(v->golden, "objective");
    if (!objective || !kh_tensors_find(v->golden, "grad", &info)) return KH_OK;
    const char *const seed_site =
        kh_starts_with(objective, "feature:") ? "hook_pre_head" : "logits";
    char shown[KH_SHOWN_BYTES];
    const char *colon = strchr(objective, ':');
    size_t component = 0;
    kh_site site;
    if (!colon || !kh_parse_size(colon + 1, &component) ||
        kh_site_find(v->session.model, seed_site, &site, NULL) || component >= site.count)
        return kh_fail(err, KH_E_FORMAT, "the golden file's objective '%s' is not understood",
                       kh_shown(objective, strlen(objective), shown, sizeof shown));
    const kh_model_info *m = kh_model_get_info(v->session.model);
    KH_TRY(kh_model_prepare_gradient(v->session.model, m->blocks - 1, err));
    const kh_pass_spec spec = {
        .max_batch = v->batch, .want_gradient = true, .seed_sites = &seed_site, .seed_count = 1};
    kh_pass *pass = NULL;
    KH_TRY(kh_pass_create(v->session.ctx, v->session.model, &spec, &pass, err));
    float *seed = kh_calloc(v->batch * site.count, sizeof *seed);
    float *got = kh_alloc_floats(info.count);
    float *want = kh_alloc_floats(info.count);
    kh_status status = KH_OK;
    if (!seed || !got || !want) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for the gradient");
    } else {
        seed[component] = 1.0f;
        const float *const seeds[] = {seed};
        status = kh_pass_run(pass, v->input, v->batch, err);
        if (!status) status = kh_pass_backward(pass, seeds, got, info.count, err);
        if (!status) status = kh_tensors_read(v->golden, "grad", true, want, info.count, err);
        line *l = &v->lines[v->line_count++];
        l->name = "grad";
        l->is_gradient = true;
        if (!status) measure(l, got, want, info.count);
    }
    kh_free(seed);
    kh_free(got);
    kh_free(want);
    kh_pass_free(pass);
    return status;
}

static kh_status verify(verifier *v, const settings *s, char **operands, kh_error *err) {
    KH_TRY(kh_session_open(&v->session, &s->common, err));
    KH_TRY(kh_session_model(&v->session, operands[0], &s->model, err));
    KH_TRY(kh_tensors_open(operands[1], NULL, &v->golden, err));
    KH_TRY(read_input(v, err));
    KH_TRY(collect_taps(v, err));
    const kh_pass_spec spec = {.max_batch = v->batch, .taps = v->taps, .tap_count = v->tap_count};
    KH_TRY(kh_pass_create(v->session.ctx, v->session.model, &spec, &v->pass, err));
    KH_TRY(kh_pass_run(v->pass, v->input, v->batch, err));
    KH_TRY(compare_taps(v, err));
    return compare_gradient(v, err);
}

static json_t *lines_json(const verifier *v, const settings *s, bool passed) {
    json_t *sites = json_array();
    for (size_t i = 0; i < v->line_count; i++) {
        const line *l = &v->lines[i];
        json_array_append_new(sites,
                              json_pack("{s:s, s:I, s:o, s:o, s:b}", "site", l->name, "values",
                                        (json_int_t)l->count, "max_abs", kh_json_number(l->max_abs),
                                        "rel_l2", kh_json_number(l->rel_l2), "ok", is_close(s, l)));
    }
    const char *by = kh_tensors_metadata(v->golden, "recorded_with");
    return json_pack("{s:b, s:f, s:f, s:s?, s:o, s:o}", "passed", passed, "tolerance", s->tolerance,
                     "gradient_tolerance", s->gradient_tolerance, "recorded_with", by, "model",
                     kh_model_receipt(v->session.model), "sites", sites);
}

static bool print_lines(const verifier *v, const settings *s) {
    bool passed = true;
    if (!s->common.json) printf("%-36s %10s %12s %12s\n", "site", "values", "max |diff|", "rel L2");
    for (size_t i = 0; i < v->line_count; i++) {
        const line *l = &v->lines[i];
        const bool ok = is_close(s, l);
        passed = passed && ok;
        if (!s->common.json)
            printf("%-36s %10zu %12.3g %12.3g%s\n", l->name, l->count, l->max_abs, l->rel_l2,
                   ok ? "" : "  <-- differs");
    }
    return passed;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    (void)count;
    const settings *s = from;
    verifier v = {0};
    kh_status status = verify(&v, s, operands, err);
    bool passed = false;
    if (!status) {
        passed = print_lines(&v, s);
        if (s->common.json && !kh_print_json(lines_json(&v, s, passed), err)) status = KH_E_MEMORY;
    }
    if (!status && !passed)
        (void)kh_fail(err, KH_E_NUMERIC,
                      "the model does not agree with the golden file; the first site that differs"
                      " holds the cause (tolerance %g, gradient %g)",
                      s->tolerance, s->gradient_tolerance);
    else if (!status && !s->common.json)
        printf("all %zu agree within %g (gradient: %g relative)\n", v.line_count, s->tolerance,
               s->gradient_tolerance);
    kh_pass_free(v.pass);
    kh_tensors_close(v.golden);
    kh_session_close(&v.session);
    kh_free(v.input);
    kh_free(v.taps);
    kh_free(v.wanted);
    kh_free(v.lines);
    return status || !passed ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_verify = {
    .name = "verify",
    .summary = "run the model against a golden file and print the error of every site",
    .operands = "MODEL GOLDEN.safetensors",
    .description =
        "GOLDEN holds a tensor 'input' [batch, 3, height, width] and tensors named like sites"
        " ('logits', 'blocks.3.mlp.hook_post', see keyhole info --sites), recorded with another"
        " implementation; 'grad' is the gradient of the metadata's 'objective' (logit:3) with "
        "respect"
        " to the input. Fails when any site differs by more than the tolerance, or is NaN.",
    .examples = "  keyhole verify tests/data/golden/vit_base "
                "tests/data/golden/vit_base/golden.safetensors\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = 2,
    .run = run,
};
