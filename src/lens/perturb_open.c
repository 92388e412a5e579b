/* Passes and memory of the study of disturbed models. */
#define _POSIX_C_SOURCE 200809L
#include "lens/perturb.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

/* ---- which neurons have maps --------------------------------------------------------------- */

static kh_status choose_neurons(kh_study *s, kh_error *err) {
    const kh_model_info *info = s->info;
    kh_rank_options options = kh_rank_options_default();
    if (options.k > info->neurons) options.k = info->neurons;
    KH_TRY(kh_lens_rank(s->ctx, s->model, &options, &s->ranking, err));
    s->chosen = kh_calloc(info->blocks, sizeof *s->chosen);
    s->chosen_count = kh_calloc(info->blocks, sizeof *s->chosen_count);
    s->tap_of = kh_calloc(info->blocks, sizeof *s->tap_of);
    bool *is_best = kh_calloc(info->neurons, sizeof *is_best);
    bool ok = s->chosen && s->chosen_count && s->tap_of && is_best;
    for (size_t b = 0; b < info->blocks && ok; b++) {
        memset(is_best, 0, info->neurons * sizeof *is_best);
        for (size_t c = 0; c < s->classes; c++) {
            const kh_ranked best = s->ranking.global[c * s->ranking.k];
            if (best.block == b) is_best[best.index] = true;
        }
        s->chosen[b] = kh_calloc(info->neurons, sizeof **s->chosen);
        ok = s->chosen[b] != NULL;
        for (size_t n = 0; n < info->neurons && ok; n++)
            if (is_best[n]) s->chosen[b][s->chosen_count[b]++] = n;
    }
    kh_free(is_best);
    return ok ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for the best aligned neurons");
}

/* ---- passes -------------------------------------------------------------------------------- */

static kh_status create_base(kh_study *s, kh_error *err) {
    const kh_model_info *info = s->info;
    kh_tap *taps = kh_calloc(info->blocks + 2, sizeof *taps);
    char(*names)[48] = kh_calloc(info->blocks + 2, sizeof *names);
    if (!taps || !names) {
        kh_free(taps);
        kh_free(names);
        return kh_fail(err, KH_E_MEMORY, "no memory for taps");
    }
    size_t count = 2;
    (void)snprintf(names[0], sizeof *names, "blocks.0.hook_resid_pre");
    (void)snprintf(names[1], sizeof *names, "blocks.%zu.hook_resid_post", info->blocks - 1);
    for (size_t b = 0; b < info->blocks; b++) {
        s->tap_of[b] = SIZE_MAX;
        if (s->chosen_count[b] == 0) continue;
        (void)snprintf(names[count], sizeof *names, "blocks.%zu.mlp.hook_post", b);
        taps[count] = (kh_tap){.units = s->chosen[b], .unit_count = s->chosen_count[b]};
        s->tap_of[b] = count++;
    }
    for (size_t i = 0; i < count; i++)
        taps[i].site = names[i];
    const kh_pass_spec spec = {
        .max_batch = s->options->batch, .taps = taps, .tap_count = count, .want_logits = true};
    const kh_status status = kh_pass_create(s->ctx, s->model, &spec, &s->base, err);
    kh_free(taps);
    kh_free(names);
    return status;
}

/* Every block: rows of patches become 0 at the class token, or 0 everywhere but 1 at themselves. */
static kh_status create_disturbed(kh_study *s, bool alone, kh_pass **out, kh_error *err) {
    static const size_t class_token[1] = {0};
    const kh_model_info *info = s->info;
    const size_t each = alone ? 1 + s->patches : 1, count = info->blocks * each;
    kh_edit *edits = kh_calloc(count, sizeof *edits);
    char(*names)[48] = kh_calloc(info->blocks, sizeof *names);
    size_t *tokens = kh_calloc(s->patches, sizeof *tokens);
    char last[48];
    kh_status status =
        edits && names && tokens ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for edits");
    for (size_t t = 0; t < s->patches && !status; t++)
        tokens[t] = info->prefix_tokens + t;
    for (size_t b = 0; b < info->blocks && !status; b++) {
        (void)snprintf(names[b], sizeof *names, "blocks.%zu.attn.hook_pattern", b);
        edits[b * each] = (kh_edit){.site = names[b],
                                    .op = KH_EDIT_ZERO,
                                    .tokens = tokens,
                                    .token_count = s->patches,
                                    .units = alone ? NULL : class_token,
                                    .unit_count = !alone};
        for (size_t t = 0; t + 1 < each; t++)
            edits[b * each + 1 + t] = (kh_edit){.site = names[b],
                                                .op = KH_EDIT_SET,
                                                .value = 1,
                                                .tokens = tokens + t,
                                                .token_count = 1,
                                                .units = tokens + t,
                                                .unit_count = 1};
    }
    (void)snprintf(last, sizeof last, "blocks.%zu.hook_resid_post", info->blocks - 1);
    const kh_tap tap = {.site = last};
    const kh_pass_spec spec = {.max_batch = s->options->batch,
                               .taps = &tap,
                               .tap_count = 1,
                               .edits = edits,
                               .edit_count = count,
                               .want_logits = true};
    if (!status) status = kh_pass_create(s->ctx, s->model, &spec, out, err);
    kh_free(edits);
    kh_free(names);
    kh_free(tokens);
    return status;
}

/* ---- memory -------------------------------------------------------------------------------- */

static kh_status allocate(kh_study *s, kh_error *err) {
    const kh_model_info *info = s->info;
    const size_t batch = s->options->batch, n = s->patches;
    s->images = kh_alloc_floats(batch * s->floats);
    s->ids = kh_calloc(batch, sizeof *s->ids);
    s->truth = kh_calloc(batch, sizeof *s->truth);
    s->is_known = kh_calloc(batch * n, sizeof *s->is_known);
    s->is_hit = kh_calloc(batch, sizeof *s->is_hit);
    s->margin = kh_calloc(batch, sizeof *s->margin);
    s->gradient = kh_alloc_floats(batch * n);
    s->neuron = kh_alloc_floats(batch * n);
    s->relevant = kh_alloc_floats(batch * n);
    s->logits = kh_alloc_floats(n * s->classes);
    s->rows = kh_alloc_floats(batch * info->tokens * info->dim);
    s->labels = kh_calloc(s->pixels, sizeof *s->labels);
    s->on_subject = kh_calloc(s->pixels, 1);
    s->token_label = kh_calloc(n, 1);
    s->order = kh_calloc(batch * (s->ordered + s->options->random) * n, sizeof *s->order);
    s->margins = kh_calloc(KH_CURVES * (s->steps + 1), sizeof *s->margins);
    s->random_hits = kh_calloc((s->options->random + 1) * (s->steps + 1), sizeof *s->random_hits);
    s->out->points = kh_calloc(KH_CURVES * (s->steps + 1), sizeof *s->out->points);
    if (s->images && s->ids && s->truth && s->is_known && s->is_hit && s->margin && s->gradient &&
        s->neuron && s->relevant && s->random_hits && s->logits && s->rows && s->labels &&
        s->on_subject && s->token_label && s->order && s->margins && s->out->points)
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for a batch of %zu images", batch);
}

static void name_results(kh_study *s) {
    static const char *const kinds[KH_DISTURBANCES] = {"self_only", "no_cls", "no_context",
                                                       "no_class"};
    static const char *const methods[] = {"gradient", "neuron", "relevance"};
    kh_perturbation *out = s->out;
    out->row_count = s->has_maps ? KH_DISTURBANCES : KH_NO_CONTEXT;
    for (size_t k = 0; k < out->row_count; k++)
        out->rows[k].kind = kinds[k];
    out->point_count = s->steps ? s->steps + 1 : 0;
    out->curve_count = s->steps ? s->ordered + (s->options->random > 0) : 0;
    for (size_t v = 0; v < out->curve_count; v++)
        out->curves[v] = (kh_removal_curve){.method = v < s->ordered ? methods[v / 2] : "random",
                                            .sign = v >= s->ordered ? "none"
                                                    : v % 2         ? "negative"
                                                                    : "positive",
                                            .points = out->points + v * (s->steps + 1)};
}

static kh_status check(const kh_study *s, kh_error *err) {
    const kh_perturb_options *o = s->options;
    if (o->batch == 0 || o->batch > 4096)
        return kh_fail(err, KH_E_ARG, "batches of %zu images; 1 to 4096 are possible", o->batch);
    if (o->steps > s->patches)
        return kh_fail(err, KH_E_ARG, "%zu steps of removal; there are %zu patches", o->steps,
                       s->patches);
    if (o->random > 1000) return kh_fail(err, KH_E_ARG, "at most 1000 random orders");
    return KH_OK;
}

kh_status kh_study_open(kh_study *s, const kh_source *source, kh_error *err) {
    const kh_perturb_options *o = s->options;
    const kh_model_info *info = s->info = kh_model_get_info(s->model);
    s->patches = info->tokens - info->prefix_tokens;
    s->classes = info->classes;
    s->pixels = info->image_height * info->image_width;
    s->floats = 3 * s->pixels;
    s->steps = o->steps;
    s->ordered = o->no_relevance ? 4 : 6;
    KH_TRY(check(s, err));
    KH_TRY(kh_gradient_map_create(s->ctx, s->model, o->batch, !o->single_softmax, &s->map, err));
    s->setup = (kh_lens_setup){.ctx = s->ctx,
                               .model = s->model,
                               .info = info,
                               .source = source,
                               .images = kh_source_count(source),
                               .patches = s->patches,
                               .label_set = o->label_set};
    s->has_maps = o->label_set != NULL;
    if (s->has_maps) KH_TRY(kh_subject_maps_init(&s->subjects, &s->setup, err));
    KH_TRY(choose_neurons(s, err));
    if (o->neuron_gradients || !o->no_relevance)
        KH_TRY(kh_model_prepare_gradient(s->model, info->blocks - 1, err));
    if (!o->no_relevance)
        KH_TRY(kh_relevance_create(s->ctx, s->model, o->batch, &s->relevance, err));
    KH_TRY(allocate(s, err));
    name_results(s);
    KH_TRY(create_base(s, err));
    KH_TRY(create_disturbed(s, true, &s->disturbed[KH_ALONE], err));
    return create_disturbed(s, false, &s->disturbed[KH_NO_CLASS_TOKEN], err);
}

void kh_study_close(kh_study *s) {
    kh_pass_free(s->base);
    kh_pass_free(s->disturbed[0]);
    kh_pass_free(s->disturbed[1]);
    kh_gradient_map_free(s->map);
    kh_relevance_free(s->relevance);
    kh_subject_maps_clear(&s->subjects);
    kh_ranking_clear(&s->ranking);
    for (size_t b = 0; s->chosen && b < s->info->blocks; b++)
        kh_free(s->chosen[b]);
    void *const all[] = {s->chosen,      s->chosen_count, s->tap_of,  s->images,   s->ids,
                         s->truth,       s->is_known,     s->is_hit,  s->margin,   s->gradient,
                         s->neuron,      s->logits,       s->rows,    s->labels,   s->on_subject,
                         s->token_label, s->order,        s->margins, s->relevant, s->random_hits};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
}
