/* Neurons' answers and final tokens of pictures, in one pass. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "keyhole/dream.h"

typedef struct place {
    size_t tap, at; /* which tap, which of its units */
} place;

struct kh_dream_probe {
    const kh_model *model;
    kh_pass *pass;
    size_t count, patches, dim;
    size_t first_token, end_token; /* those that count */
    place *places;                 /* [count] */
    size_t **units;                /* [taps] */
    size_t *widths;                /* [taps] */
    size_t taps;                   /* of neurons; the tap behind them is the tokens' */
    size_t *patch_tokens;
    char (*names)[48];
};

/* The units of one block, ascending and each once, become a tap. */
static kh_status add_block(kh_dream_probe *p, const kh_neuron *neurons, size_t block,
                           kh_error *err) {
    const size_t all = kh_model_get_info(p->model)->neurons;
    bool *wanted = kh_calloc(all, sizeof *wanted);
    size_t *units = kh_calloc(all, sizeof *units), *at = kh_calloc(all, sizeof *at), width = 0;
    if (!wanted || !units || !at) {
        kh_free(wanted);
        kh_free(units);
        kh_free(at);
        return kh_fail(err, KH_E_MEMORY, "out of memory for a probe");
    }
    for (size_t i = 0; i < p->count; i++)
        if (neurons[i].block == block) wanted[neurons[i].index] = true;
    for (size_t j = 0; j < all; j++) {
        at[j] = width;
        if (wanted[j]) units[width++] = j;
    }
    for (size_t i = 0; i < p->count; i++)
        if (neurons[i].block == block) p->places[i] = (place){p->taps, at[neurons[i].index]};
    kh_free(wanted);
    kh_free(at);
    if (width == 0) {
        kh_free(units);
        return KH_OK;
    }
    (void)snprintf(p->names[p->taps], sizeof p->names[0], "blocks.%zu.mlp.hook_post", block);
    p->units[p->taps] = units;
    p->widths[p->taps] = width;
    p->taps++;
    return KH_OK;
}

static kh_status make_pass(kh_dream_probe *p, kh_ctx *ctx, size_t batch, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(p->model);
    char *last = p->names[p->taps];
    kh_site site;
    (void)snprintf(last, sizeof p->names[0], "ln_final.hook_normalized");
    if (kh_site_find(p->model, last, &site, NULL) != KH_OK || site.shape[0] != info->tokens)
        (void)snprintf(last, sizeof p->names[0], "blocks.%zu.hook_resid_post", info->blocks - 1);
    kh_tap *taps = kh_calloc(p->taps + 1, sizeof *taps);
    if (!taps) return kh_fail(err, KH_E_MEMORY, "out of memory for a probe");
    for (size_t i = 0; i < p->taps; i++)
        taps[i] = (kh_tap){.site = p->names[i], .units = p->units[i], .unit_count = p->widths[i]};
    taps[p->taps] = (kh_tap){.site = last, .tokens = p->patch_tokens, .token_count = p->patches};
    const kh_pass_spec spec = {.max_batch = batch, .taps = taps, .tap_count = p->taps + 1};
    const kh_status status = kh_pass_create(ctx, p->model, &spec, &p->pass, err);
    kh_free(taps);
    return status;
}

static kh_status fill_probe(kh_dream_probe *p, kh_ctx *ctx, const kh_neuron *neurons, size_t batch,
                            kh_error *err) {
    const kh_model_info *info = kh_model_get_info(p->model);
    p->dim = info->dim;
    p->patches = info->tokens - info->prefix_tokens;
    p->places = kh_calloc(p->count, sizeof *p->places);
    p->units = kh_calloc(info->blocks, sizeof *p->units);
    p->widths = kh_calloc(info->blocks, sizeof *p->widths);
    p->names = kh_calloc(info->blocks + 1, sizeof *p->names);
    p->patch_tokens = kh_calloc(p->patches, sizeof *p->patch_tokens);
    if (!p->places || !p->units || !p->widths || !p->names || !p->patch_tokens)
        return kh_fail(err, KH_E_MEMORY, "out of memory for a probe");
    for (size_t i = 0; i < p->patches; i++)
        p->patch_tokens[i] = info->prefix_tokens + i;
    for (size_t i = 0; i < p->count; i++)
        if (neurons[i].block >= info->blocks || neurons[i].index >= info->neurons)
            return kh_fail(err, KH_E_ARG, "no neuron b%zun%zu in this model", neurons[i].block,
                           neurons[i].index);
    for (size_t b = 0; b < info->blocks; b++)
        KH_TRY(add_block(p, neurons, b, err));
    return make_pass(p, ctx, batch, err);
}

kh_status kh_dream_probe_create(kh_ctx *ctx, const kh_model *model, const kh_neuron *neurons,
                                size_t count, kh_dream_tokens tokens, size_t batch,
                                kh_dream_probe **out, kh_error *err) {
    *out = NULL;
    kh_dream_probe *p = kh_calloc(1, sizeof *p);
    if (!p) return kh_fail(err, KH_E_MEMORY, "out of memory for a probe");
    p->model = model;
    const kh_model_info *info = kh_model_get_info(model);
    p->count = count;
    p->first_token = tokens == KH_TOKENS_PATCHES ? info->prefix_tokens : 0;
    p->end_token = tokens == KH_TOKENS_CLASS ? 1 : info->tokens;
    const kh_status status = fill_probe(p, ctx, neurons, batch ? batch : 1, err);
    if (status) {
        kh_dream_probe_free(p);
        return status;
    }
    *out = p;
    return KH_OK;
}

void kh_dream_probe_free(kh_dream_probe *p) {
    if (!p) return;
    kh_pass_free(p->pass);
    for (size_t i = 0; p->units && i < p->taps; i++)
        kh_free(p->units[i]);
    kh_free(p->units);
    kh_free(p->widths);
    kh_free(p->places);
    kh_free(p->names);
    kh_free(p->patch_tokens);
    kh_free(p);
}

size_t kh_dream_probe_features(const kh_dream_probe *p) {
    return p->patches * p->dim;
}

kh_status kh_dream_probe_run(kh_dream_probe *p, const float *inputs, size_t images, float *scores,
                             float *features, kh_error *err) {
    const size_t tokens = kh_model_get_info(p->model)->tokens;
    KH_TRY(kh_pass_run(p->pass, inputs, images, err));
    for (size_t i = 0; i < images; i++)
        for (size_t n = 0; n < p->count; n++) {
            const size_t width = p->widths[p->places[n].tap];
            const float *post = kh_pass_tap(p->pass, p->places[n].tap) + i * tokens * width;
            double sum = 0;
            for (size_t t = p->first_token; t < p->end_token; t++)
                sum += (double)post[t * width + p->places[n].at];
            scores[i * p->count + n] = (float)(sum / (double)(p->end_token - p->first_token));
        }
    if (features)
        memcpy(features, kh_pass_tap(p->pass, p->taps),
               images * kh_dream_probe_features(p) * sizeof *features);
    return KH_OK;
}
