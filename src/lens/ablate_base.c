/* Unchanged passes over images, what they leave for variants, and what a variant did. */
#include "lens/ablate.h"
#include "lens/pooling.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>

bool kh_ablate_has_weights(const kh_model_info *info) {
    return !info->head_is_indirect &&
           (info->pool == KH_POOL_TOKEN || info->pool == KH_POOL_AVG ||
            info->pool == KH_POOL_AVG_FC || info->pool == KH_POOL_RAW_AVG);
}

kh_status kh_ablate_base_init(kh_ablate_base *b, kh_ctx *ctx, const kh_model *model,
                              size_t first_block, size_t blocks, size_t capacity, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    *b = (kh_ablate_base){.info = info, .blocks = blocks, .capacity = capacity};
    kh_tap *taps = kh_calloc(blocks + 2, sizeof *taps);
    char(*names)[64] = kh_calloc(blocks + 1, sizeof *names);
    b->states = kh_calloc(capacity, sizeof *b->states);
    b->a = kh_calloc(capacity * blocks, sizeof *b->a);
    b->weight = kh_calloc(capacity * info->tokens, sizeof *b->weight);
    b->tokens = kh_calloc(capacity * info->tokens, sizeof *b->tokens);
    kh_status status = KH_OK;
    if (!taps || !names || !b->states || !b->a || !b->weight || !b->tokens)
        status = kh_fail(err, KH_E_MEMORY, "no memory for passes over %zu images", capacity);
    if (!status) {
        for (size_t i = 0; i < blocks; i++) {
            (void)snprintf(names[i], sizeof names[i], "blocks.%zu.mlp.hook_post", first_block + i);
            taps[i].site = names[i];
        }
        (void)snprintf(names[blocks], sizeof names[blocks], "blocks.%zu.hook_resid_post",
                       first_block);
        taps[blocks].site = names[blocks];
        size_t count = blocks + 1;
        b->resid_tap = blocks;
        b->scale_tap = SIZE_MAX;
        if (kh_ablate_has_weights(info) && info->pool != KH_POOL_RAW_AVG) {
            b->scale_tap = count;
            taps[count++].site = "ln_final.hook_scale";
        }
        const kh_pass_spec spec = {
            .max_batch = capacity, .taps = taps, .tap_count = count, .want_logits = true};
        status = kh_pass_create(ctx, model, &spec, &b->pass, err);
    }
    kh_free(names);
    kh_free(taps);
    return status;
}

void kh_ablate_base_clear(kh_ablate_base *b) {
    kh_pass_free(b->pass);
    kh_free(b->states);
    kh_free(b->a);
    kh_free(b->weight);
    kh_free(b->tokens);
    *b = (kh_ablate_base){0};
}

kh_status kh_ablate_base_run(kh_ablate_base *b, const float *images, size_t count, kh_error *err) {
    const kh_model_info *info = b->info;
    KH_TRY(kh_pass_run(b->pass, images, count, err));
    for (size_t i = 0; i < count; i++) {
        const float **a = b->a + i * b->blocks;
        for (size_t s = 0; s < b->blocks; s++)
            a[s] = kh_pass_tap(b->pass, s) + i * info->tokens * info->neurons;
        const float *x = kh_pass_tap(b->pass, b->resid_tap) + i * info->tokens * info->dim;
        b->states[i] = (kh_ablate_state){.x = x, .a = a};
        if (!kh_ablate_has_weights(info)) continue;
        const float *scale = NULL;
        if (b->scale_tap != SIZE_MAX)
            scale =
                kh_pass_tap(b->pass, b->scale_tap) + i * kh_pass_tap_count(b->pass, b->scale_tap);
        kh_lens_pool_weights(info, scale, b->weight + i * info->tokens, NULL);
    }
    return KH_OK;
}

void kh_ablate_base_mask(kh_ablate_base *b, size_t image, kh_ablate_tokens tokens,
                         const uint8_t *on) {
    size_t *rows = b->tokens + image * b->info->tokens;
    b->states[image].rows =
        (kh_ablate_rows){rows, kh_ablate_masked_tokens(b->info, tokens, on, rows)};
}

/* ---- what a variant did -------------------------------------------------------------------- */

void kh_ablate_log_softmax(const float *logits, size_t classes, double *out) {
    double top = (double)logits[0], sum = 0;
    for (size_t c = 1; c < classes; c++)
        top = fmax(top, (double)logits[c]);
    for (size_t c = 0; c < classes; c++)
        sum += exp((double)logits[c] - top);
    for (size_t c = 0; c < classes; c++)
        out[c] = (double)logits[c] - top - log(sum);
}

double kh_ablate_margin(const float *logits, size_t classes, size_t c) {
    double best = -(double)INFINITY;
    for (size_t o = 0; o < classes; o++)
        if (o != c) best = fmax(best, (double)logits[o]);
    return (double)logits[c] - best;
}

size_t kh_ablate_predicted(const float *logits, size_t classes) {
    size_t best = 0;
    for (size_t c = 1; c < classes; c++)
        if (logits[c] > logits[best]) best = c;
    return best;
}

void kh_ablate_measure(const kh_ablate_base_facts *base, const float *logits, size_t classes,
                       size_t c, double *log_prob, double *out) {
    double kl = 0;
    kh_ablate_log_softmax(logits, classes, log_prob);
    for (size_t o = 0; o < classes; o++)
        kl += exp(base->log_prob[o]) * (base->log_prob[o] - log_prob[o]);
    const size_t rank = kh_lens_rank_position(logits, classes, c);
    const double margin = kh_ablate_margin(logits, classes, c);
    out[KH_ABLATE_D_LOGIT] = (double)logits[c] - (double)base->logits[c];
    out[KH_ABLATE_D_MARGIN] = margin - kh_ablate_margin(base->logits, classes, c);
    out[KH_ABLATE_D_PROB] = exp(log_prob[c]) - exp(base->log_prob[c]);
    out[KH_ABLATE_TOP1] = rank == 0;
    out[KH_ABLATE_TOP5] = rank < 5;
    out[KH_ABLATE_D_TOP1] = (rank == 0) - (base->predicted == c);
    out[KH_ABLATE_RANK] = (double)rank;
    out[KH_ABLATE_KL] = kl;
    out[KH_ABLATE_FLIP] = kh_ablate_predicted(logits, classes) != base->predicted;
    out[KH_ABLATE_MARGIN] = margin;
}

/* ---- the public intervention --------------------------------------------------------------- */

typedef struct intervening {
    const kh_intervention *what;
    size_t interventions, images, classes;
    uint32_t **units;
    float *out; /* [interventions, images, classes] */
} intervening;

static void keep_logits(void *user, size_t tag, const float *logits) {
    const intervening *v = user;
    for (size_t c = 0; c < v->classes; c++)
        v->out[tag * v->classes + c] = logits[c];
}

static kh_status check_intervention(const kh_model_info *info, const kh_intervention *w,
                                    kh_error *err) {
    char name[48];
    for (size_t i = 0; i < w->count; i++) {
        kh_neuron_format(w->neurons[i], name, sizeof name);
        if (w->neurons[i].block >= info->blocks || w->neurons[i].index >= info->neurons)
            return kh_fail(err, KH_E_ARG, "neuron %s; the model has %zu blocks of %zu neurons",
                           name, info->blocks, info->neurons);
        for (size_t j = 0; j < i; j++)
            if (w->neurons[j].block == w->neurons[i].block &&
                w->neurons[j].index == w->neurons[i].index)
                return kh_fail(err, KH_E_ARG, "neuron %s is listed twice", name);
    }
    if (w->op != KH_ABLATE_ZERO && w->op != KH_ABLATE_SCALE && w->op != KH_ABLATE_MEAN)
        return kh_fail(err, KH_E_ARG, "an intervention of kind %s needs a set of images",
                       kh_ablate_op_name(w->op));
    if (w->op == KH_ABLATE_MEAN && w->count && !w->values)
        return kh_fail(err, KH_E_ARG, "an intervention with values needs values");
    return KH_OK;
}

static kh_status intervene(const intervening *v, kh_engine *e, kh_ablate_base *base,
                           const float *images, kh_error *err) {
    const kh_model_info *info = e->info;
    const size_t pixels = 3 * info->image_height * info->image_width;
    for (size_t i = 0; i < v->images; i++) {
        KH_TRY(kh_ablate_base_run(base, images + i * pixels, 1, err));
        if (v->what[0].mask)
            kh_ablate_base_mask(base, 0, v->what[0].tokens,
                                v->what[0].mask + i * (info->tokens - info->prefix_tokens));
        kh_engine_new_image(e);
        for (size_t n = 0; n < v->interventions; n++) {
            const kh_intervention *w = &v->what[n];
            const kh_ablate_part part = {.units = v->units[n],
                                         .count = w->count,
                                         .op = w->op,
                                         .alpha = w->alpha,
                                         .means = w->values,
                                         .row_units = w->count,
                                         .by_place = true};
            KH_TRY(kh_engine_add(e, &base->states[0], &part, 1, n * v->images + i, keep_logits,
                                 (void *)(uintptr_t)v, err));
        }
        KH_TRY(kh_engine_flush(e, keep_logits, (void *)(uintptr_t)v, err));
    }
    return KH_OK;
}

kh_status kh_lens_intervene(kh_ctx *ctx, const kh_model *model, const kh_intervention *what,
                            size_t interventions, const float *images, size_t count, size_t batch,
                            float *out, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    size_t first = info->blocks, last = 0;
    for (size_t n = 0; n < interventions; n++) {
        KH_TRY(check_intervention(info, &what[n], err));
        if (what[n].tokens != what[0].tokens || what[n].mask != what[0].mask)
            return kh_fail(err, KH_E_ARG, "the interventions of one call change the same tokens");
        if (kh_ablate_is_masked(what[n].tokens) != (what[n].mask != NULL))
            return kh_fail(err, KH_E_ARG, "tokens %s %s", kh_ablate_tokens_name(what[n].tokens),
                           what[n].mask ? "have no mask" : "need a mask of every image");
        for (size_t i = 0; i < what[n].count; i++) {
            const size_t block = what[n].neurons[i].block;
            if (block < first) first = block;
            if (block > last) last = block;
        }
    }
    if (interventions == 0 || count == 0) return KH_OK;
    if (first > last) first = last = info->blocks - 1;
    intervening v = {what, interventions, count, info->classes, NULL, out};
    kh_engine engine = {0};
    kh_ablate_base base = {0};
    v.units = kh_calloc(interventions, sizeof *v.units);
    kh_status status = v.units ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory to intervene");
    for (size_t n = 0; n < interventions && !status; n++) {
        v.units[n] = kh_calloc(what[n].count, sizeof *v.units[n]);
        if (!v.units[n]) status = kh_fail(err, KH_E_MEMORY, "no memory to intervene");
        for (size_t i = 0; i < what[n].count && !status; i++)
            v.units[n][i] = (uint32_t)((what[n].neurons[i].block - first) * info->neurons +
                                       what[n].neurons[i].index);
    }
    if (!status)
        status = kh_engine_init(&engine, ctx, model, first, last - first + 1, what[0].tokens,
                                batch ? batch : 16, err);
    if (!status) status = kh_ablate_base_init(&base, ctx, model, first, last - first + 1, 1, err);
    if (!status) status = intervene(&v, &engine, &base, images, err);
    kh_ablate_base_clear(&base);
    kh_engine_clear(&engine);
    for (size_t n = 0; v.units && n < interventions; n++)
        kh_free(v.units[n]);
    kh_free(v.units);
    return status;
}
