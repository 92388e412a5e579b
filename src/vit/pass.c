/* The public face of a pass: create, run, hand out, go back. */
#include "keyhole/vit.h"

#include <string.h>

#include "base/alloc.h"
#include "vit/steps.h"
#include "vit/taps.h"

/* Scratch was reserved in the model's own context when its weights were packed. Another context
 * gets as much by packing one narrow weight that is wider than any layer. */
static kh_status reserve_scratch(kh_ctx *ctx, const kh_model *m, kh_error *err) {
    const kh_backend *ops = kh_ctx_backend(ctx);
    const size_t sizes[] = {3 * m->info.dim, kh_fc1_rows(m), m->info.classes, m->feature_dim,
                            3 * m->info.patch * m->info.patch};
    size_t widest = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i] > widest) widest = sizes[i];
    float *zeros = kh_calloc(2 * widest, sizeof *zeros);
    kh_weight *weight = zeros ? ops->pack(ctx, zeros, NULL, 2 * widest, 1, false) : NULL;
    if (weight) ops->weight_free(ctx, weight);
    kh_free(zeros);
    if (!weight) return kh_fail(err, KH_E_MEMORY, "out of memory for scratch");
    return KH_OK;
}

kh_status kh_pass_fit_context(kh_ctx *ctx, const kh_model *model, kh_error *err) {
    if (ctx == model->home) return KH_OK;
    if (kh_ctx_backend(ctx) != model->backend ||
        strcmp(kh_ctx_isa(ctx), kh_ctx_isa(model->home)) != 0)
        return kh_fail(err, KH_E_ARG,
                       "the model's weights are packed for %s %s, this context is %s %s; open the "
                       "model again with it",
                       kh_ctx_device(model->home), kh_ctx_isa(model->home), kh_ctx_device(ctx),
                       kh_ctx_isa(ctx));
    return reserve_scratch(ctx, model, err);
}

/* Only some tokens: the same weights under another number of tokens. Nothing in front of the blocks
 * fits such a model, so passes over it start from residual rows. */
static kh_status drop_tokens(kh_pass *p, size_t tokens, kh_error *err) {
    const kh_model *m = p->model;
    const bool needs_patch = m->info.pool != KH_POOL_TOKEN && m->info.pool != KH_POOL_DISTILL;
    if (tokens < m->info.prefix_tokens + needs_patch || tokens > m->info.tokens)
        return kh_fail(err, KH_E_ARG, "a pass over %zu tokens; this model's has %zu to %zu", tokens,
                       m->info.prefix_tokens + needs_patch, m->info.tokens);
    p->narrow = kh_calloc(1, sizeof *p->narrow);
    if (!p->narrow) return kh_fail(err, KH_E_MEMORY, "out of memory for a pass");
    *p->narrow = *m;
    p->narrow->info.tokens = tokens;
    p->model = p->narrow;
    return KH_OK;
}

kh_status kh_pass_create(kh_ctx *ctx, const kh_model *model, const kh_pass_spec *spec,
                         kh_pass **out, kh_error *err) {
    *out = NULL;
    kh_pass *p = kh_calloc(1, sizeof *p);
    if (!p) return kh_fail(err, KH_E_MEMORY, "out of memory for a pass");
    const kh_status fits = kh_pass_fit_context(ctx, model, err);
    if (fits) {
        kh_free(p);
        return fits;
    }
    p->ctx = ctx;
    p->model = model;
    p->ops = kh_ctx_backend(ctx);
    p->max_batch = spec->max_batch ? spec->max_batch : 1;
    p->want_logits = spec->want_logits;
    p->want_gradient = spec->want_gradient;
    p->see_attention = spec->want_gradient ? spec->see_attention : NULL;
    p->see_user = spec->see_user;
    p->broken = SIZE_MAX;
    kh_status status = spec->tokens ? drop_tokens(p, spec->tokens, err) : KH_OK;
    if (!status) status = kh_plan_make(p, spec, err);
    if (status) {
        kh_pass_free(p);
        return status;
    }
    kh_recorder recorder = {0};
    static const float no_image = 0.0f;
    p->recorder = &recorder;
    p->batch = p->max_batch;
    kh_forward_all(p, p->runs_embed ? &no_image : NULL);
    p->recorder = NULL;
    p->batch = 0;
    p->gflop = recorder.flop * 1e-9 / (double)p->max_batch;
    *out = p;
    return KH_OK;
}

void kh_pass_free(kh_pass *p) {
    if (!p) return;
    kh_plan_clear(p);
    kh_free(p->narrow);
    kh_free(p);
}

double kh_pass_gflop(const kh_pass *p) {
    return p->gflop;
}

size_t kh_pass_memory_bytes(const kh_pass *p) {
    return p->bytes;
}

/* ---- running
 * -------------------------------------------------------------------------------------- */

static float *first_rows(const kh_pass *p) {
    return p->block_end > p->first_block ? p->blocks[p->first_block].x_pre : p->x;
}

static void put_residual(kh_pass *p, const float *residual) {
    p->ops->upload(p->ctx, first_rows(p), residual,
                   p->batch * p->model->info.tokens * p->model->info.dim);
}

/* A logit is not a number: run once more and look where it began. */
static kh_status say_where(kh_pass *p, const float *images, const float *residual, size_t logit,
                           kh_error *err) {
    const size_t classes = p->model->info.classes;
    const kh_model_info *i = &p->model->info;
    const size_t pixels = 3 * i->image_height * i->image_width, image = logit / classes;
    size_t at;
    p->has_result = false;
    if (images && !kh_rows_finite(p->ctx, p->batch * pixels, images, &at))
        return kh_fail(err, KH_E_NUMERIC, "image %zu of the batch holds NaN or infinity",
                       at / pixels);
    if (residual && !kh_rows_finite(p->ctx, p->batch * i->tokens * i->dim, residual, &at))
        return kh_fail(err, KH_E_NUMERIC, "the residual of image %zu holds NaN or infinity",
                       at / (i->tokens * i->dim));
    p->checks = true;
    if (residual) put_residual(p, residual);
    kh_forward_all(p, images);
    p->checks = false;
    if (p->broken != SIZE_MAX)
        return kh_fail(
            err, KH_E_NUMERIC,
            "image %zu: logit %zu is NaN or infinite; the residual stream breaks in block "
            "%zu",
            image, logit % classes, p->broken);
    return kh_fail(err, KH_E_NUMERIC,
                   "image %zu: logit %zu is NaN or infinite; every block's output is finite", image,
                   logit % classes);
}

static kh_status run(kh_pass *p, const float *images, const float *residual, size_t batch,
                     kh_error *err) {
    if (batch == 0 || batch > p->max_batch)
        return kh_fail(err, KH_E_ARG, "a batch of %zu, this pass takes 1 to %zu", batch,
                       p->max_batch);
    p->batch = batch;
    p->ran_images = images != NULL;
    if (residual) put_residual(p, residual);
    kh_forward_all(p, images);
    p->has_result = true;
    size_t at;
    if (p->want_logits &&
        !kh_rows_finite(p->ctx, batch * p->model->info.classes, p->tail.logits, &at))
        return say_where(p, images, residual, at, err);
    return KH_OK;
}

kh_status kh_pass_run(kh_pass *p, const float *images, size_t batch, kh_error *err) {
    if (!images) return kh_fail(err, KH_E_ARG, "kh_pass_run needs images");
    if (!p->runs_embed)
        return kh_fail(err, KH_E_ARG,
                       "this pass starts at block %zu%s; give its residual to kh_pass_run_from",
                       p->first_block, p->narrow ? " with some of the tokens" : "");
    return run(p, images, NULL, batch, err);
}

kh_status kh_pass_run_from(kh_pass *p, const float *residual, size_t batch, kh_error *err) {
    if (!residual) return kh_fail(err, KH_E_ARG, "kh_pass_run_from needs residual rows");
    if (p->embed_taps | p->embed_edits)
        return kh_fail(err, KH_E_ARG,
                       "this pass taps or edits sites before block 0, which a residual skips");
    return run(p, NULL, residual, batch, err);
}

const float *kh_pass_logits(const kh_pass *p) {
    return p->want_logits && p->has_result ? p->tail.logits : NULL;
}

const float *kh_pass_tap(const kh_pass *p, size_t tap) {
    return tap < p->tap_count && p->has_result ? p->taps[tap].data : NULL;
}

size_t kh_pass_tap_count(const kh_pass *p, size_t tap) {
    return tap < p->tap_count ? p->taps[tap].count : 0;
}

/* ---- back
 * ----------------------------------------------------------------------------------------- */

kh_status kh_pass_backward(kh_pass *p, const float *const *seeds, float *out, size_t count,
                           kh_error *err) {
    const kh_model_info *i = &p->model->info;
    if (!p->want_gradient)
        return kh_fail(err, KH_E_ARG, "this pass was created without want_gradient");
    if (!p->has_result || !p->ran_images)
        return kh_fail(err, KH_E_ARG, "kh_pass_backward needs a kh_pass_run before it");
    const size_t want = p->batch * 3 * i->image_height * i->image_width;
    if (count != want)
        return kh_fail(err, KH_E_SHAPE, "room for %zu floats, the gradient of %zu images has %zu",
                       count, p->batch, want);
    for (size_t s = 0; s < p->seed_count; s++) {
        if (!seeds || !seeds[s])
            return kh_fail(err, KH_E_ARG, "no seed for %s", p->seeds[s].site.name);
        p->seeds[s].values = seeds[s];
    }
    bool live = false;
    kh_backward_tail(p, &live);
    for (size_t b = p->model->info.blocks; b-- > 0;)
        if (p->blocks[b].saves) kh_backward_block(p, b, &live);
    kh_backward_embed(p, live, out);
    return KH_OK;
}
