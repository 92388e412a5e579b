/* Which pixels wake a key neuron: the gradient of its coefficient at three patches. */
#define _POSIX_C_SOURCE 200809L
#include "keyhole/perturb.h"

#include "base/alloc.h"
#include "base/status.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { PLACES = 3 };

typedef struct work {
    kh_ctx *ctx;
    const kh_model *model;
    const kh_model_info *info;
    kh_neuron neuron;
    size_t patches;
    kh_pass *pass;
    float *logits;   /* [patches, classes] */
    float *seed;     /* [tokens, neurons] */
    float *gradient; /* [3, height, width] */
} work;

static kh_status create(work *w, kh_error *err) {
    char out[48], post[48];
    const kh_model_info *i = w->info;
    (void)snprintf(out, sizeof out, "blocks.%zu.hook_mlp_out", w->neuron.block);
    (void)snprintf(post, sizeof post, "blocks.%zu.mlp.hook_post", w->neuron.block);
    const kh_tap tap = {.site = out};
    const char *const seeds[1] = {post};
    const kh_pass_spec spec = {.max_batch = 1,
                               .taps = &tap,
                               .tap_count = 1,
                               .want_gradient = true,
                               .seed_sites = seeds,
                               .seed_count = 1};
    w->logits = kh_alloc_floats(w->patches * i->classes);
    w->seed = kh_calloc(i->tokens * i->neurons, sizeof *w->seed);
    w->gradient = kh_alloc_floats(3 * i->image_height * i->image_width);
    if (!w->logits || !w->seed || !w->gradient)
        return kh_fail(err, KH_E_MEMORY, "no memory for the gradient of a neuron");
    return kh_pass_create(w->ctx, w->model, &spec, &w->pass, err);
}

/* Patches by decreasing logit of c; ties to the lower one. */
static void seed_places(work *w, size_t c) {
    double weight = 1;
    size_t chosen[PLACES];
    for (size_t n = 0; n < PLACES && n < w->patches; n++, weight *= 0.5) {
        size_t best = SIZE_MAX;
        for (size_t t = 0; t < w->patches; t++) {
            bool is_taken = false;
            for (size_t k = 0; k < n; k++)
                is_taken |= chosen[k] == t;
            if (!is_taken && (best == SIZE_MAX || w->logits[t * w->info->classes + c] >
                                                      w->logits[best * w->info->classes + c]))
                best = t;
        }
        chosen[n] = best;
        w->seed[(w->info->prefix_tokens + best) * w->info->neurons + w->neuron.index] =
            (float)weight;
    }
}

/* Clipped, averaged over patches, grey. */
static void reduce(const work *w, double *grey) {
    static const double weights[3] = {0.299, 0.587, 0.114};
    const kh_model_info *i = w->info;
    for (size_t t = 0; t < w->patches; t++) {
        const size_t top = t / i->grid_width * i->patch, left = t % i->grid_width * i->patch;
        grey[t] = 0;
        for (size_t c = 0; c < 3; c++) {
            double sum = 0;
            for (size_t y = top; y < top + i->patch; y++)
                for (size_t x = left; x < left + i->patch; x++) {
                    const float v = w->gradient[(c * i->image_height + y) * i->image_width + x];
                    sum += v > 1 ? 1 : v > 0 ? (double)v : 0;
                }
            grey[t] += weights[c] * sum / (double)(i->patch * i->patch);
        }
    }
}

static kh_status run(work *w, size_t c, const float *image, float *out, kh_error *err) {
    const kh_model_info *i = w->info;
    KH_TRY(kh_pass_run(w->pass, image, 1, err));
    KH_TRY(kh_model_head(w->ctx, w->model, kh_pass_tap(w->pass, 0) + i->prefix_tokens * i->dim,
                         w->patches, w->logits, err));
    seed_places(w, c);
    const float *const seeds[1] = {w->seed};
    KH_TRY(
        kh_pass_backward(w->pass, seeds, w->gradient, 3 * i->image_height * i->image_width, err));
    double *grey = kh_calloc(w->patches, sizeof *grey);
    if (!grey) return kh_fail(err, KH_E_MEMORY, "no memory for the gradient of a neuron");
    reduce(w, grey);
    double min = grey[0], max = grey[0];
    for (size_t t = 0; t < w->patches; t++) {
        min = grey[t] < min ? grey[t] : min;
        max = grey[t] > max ? grey[t] : max;
    }
    for (size_t t = 0; t < w->patches; t++)
        out[t] = max > min ? (float)((grey[t] - min) / (max - min)) : 0.0f;
    kh_free(grey);
    return isfinite(max) ? KH_OK
                         : kh_fail(err, KH_E_NUMERIC, "the gradient of a neuron is not finite");
}

kh_status kh_lens_neuron_gradient(kh_ctx *ctx, const kh_model *model, kh_neuron neuron,
                                  size_t class_index, const float *image, float *out,
                                  kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    work w = {.ctx = ctx,
              .model = model,
              .info = info,
              .neuron = neuron,
              .patches = info->tokens - info->prefix_tokens};
    if (neuron.block >= info->blocks || neuron.index >= info->neurons ||
        class_index >= info->classes)
        return kh_fail(err, KH_E_ARG,
                       "b%zun%zu and class %zu: the model has %zu blocks of %zu "
                       "neurons and %zu classes",
                       neuron.block, neuron.index, class_index, info->blocks, info->neurons,
                       info->classes);
    kh_status status = create(&w, err);
    if (!status) status = run(&w, class_index, image, out, err);
    kh_pass_free(w.pass);
    kh_free(w.logits);
    kh_free(w.seed);
    kh_free(w.gradient);
    return status;
}
