/* Relevance of patches through all blocks. R starts as the identity; only the class token's row of
 * it is wanted, and that is e0 (I + C_last) .. (I + C_0): one row, carried from the last block to
 * the first, as the gradient is. */
#include "keyhole/perturb.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "base/status.h"
#include "compute/backend.h"

#include <math.h>
#include <string.h>

struct kh_relevance {
    kh_ctx *ctx;
    const kh_model_info *info;
    size_t max_batch;
    kh_pass *pass;
    float *seed;   /* [max_batch, classes] */
    float *pixels; /* [max_batch, 3, height, width]: the gradient, which nobody reads */
    double *rows;  /* [max_batch, 2, tokens]: a row of R, and what a block adds to it */
    size_t count;  /* images of the run at hand */
};

void kh_relevance_free(kh_relevance *r) {
    if (!r) return;
    kh_pass_free(r->pass);
    kh_free(r->seed);
    kh_free(r->pixels);
    kh_free(r->rows);
    kh_free(r);
}

typedef struct job {
    kh_relevance *r;
    const float *pattern, *gradient;
} job;

/* row += row C, C = mean over heads of max(0, pattern * gradient); the sums in double. */
static void see_image(void *arg, size_t image, size_t worker) {
    (void)worker;
    const job *j = arg;
    const size_t n = j->r->info->tokens, heads = j->r->info->heads;
    double *row = j->r->rows + image * 2 * n, *added = row + n;
    memset(added, 0, n * sizeof *added);
    for (size_t h = 0; h < heads; h++)
        for (size_t q = 0; q < n; q++) {
            const double weight = row[q] / (double)heads;
            const size_t at = ((image * heads + h) * n + q) * n;
            if (weight == 0) continue; /* in the last block: all but the class token */
            for (size_t t = 0; t < n; t++) {
                const double c = (double)j->pattern[at + t] * (double)j->gradient[at + t];
                added[t] += c <= 0 ? 0 : weight * c; /* a NaN stays */
            }
        }
    for (size_t t = 0; t < n; t++)
        row[t] += added[t];
}

static void see_block(void *user, size_t block, const float *pattern, const float *gradient) {
    (void)block;
    job j = {user, pattern, gradient};
    kh_pool_run(kh_ctx_pool(j.r->ctx), j.r->count, see_image, &j);
}

static kh_status check(const kh_model_info *info, size_t max_batch, kh_error *err) {
    if (!info->classes || info->head_is_projection || info->pool != KH_POOL_TOKEN)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "%s does not read its classes from the class token alone",
                       info->architecture);
    if (max_batch == 0) return kh_fail(err, KH_E_ARG, "relevance needs a batch of 1 or more");
    return KH_OK;
}

kh_status kh_relevance_create(kh_ctx *ctx, const kh_model *model, size_t max_batch,
                              kh_relevance **out, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    *out = NULL;
    KH_TRY(check(info, max_batch, err));
    kh_relevance *r = kh_calloc(1, sizeof *r);
    if (!r) return kh_fail(err, KH_E_MEMORY, "no memory for relevance");
    *r = (kh_relevance){.ctx = ctx, .info = info, .max_batch = max_batch};
    const kh_pass_spec spec = {.max_batch = max_batch,
                               .want_logits = true,
                               .want_gradient = true,
                               .see_attention = see_block,
                               .see_user = r};
    kh_status status = kh_pass_create(ctx, model, &spec, &r->pass, err);
    if (!status) {
        r->seed = kh_calloc(max_batch * info->classes, sizeof *r->seed);
        r->pixels =
            kh_calloc(max_batch, 3 * info->image_height * info->image_width * sizeof *r->pixels);
        r->rows = kh_calloc(max_batch * 2 * info->tokens, sizeof *r->rows);
        if (!r->seed || !r->pixels || !r->rows)
            status = kh_fail(err, KH_E_MEMORY, "no memory for relevance");
    }
    if (status)
        kh_relevance_free(r);
    else
        *out = r;
    return status;
}

kh_status kh_relevance_run(kh_relevance *r, const float *images, size_t count,
                           const size_t *classes, float *out, kh_error *err) {
    const kh_model_info *i = r->info;
    const size_t n = i->tokens, patches = n - i->prefix_tokens;
    for (size_t k = 0; k < count; k++)
        if (classes[k] >= i->classes)
            return kh_fail(err, KH_E_ARG, "class %zu; the model has %zu", classes[k], i->classes);
    KH_TRY(kh_pass_run(r->pass, images, count, err));
    memset(r->seed, 0, count * i->classes * sizeof *r->seed);
    memset(r->rows, 0, count * 2 * n * sizeof *r->rows);
    for (size_t k = 0; k < count; k++) {
        r->seed[k * i->classes + classes[k]] = 1;
        r->rows[k * 2 * n] = 1;
    }
    r->count = count;
    const float *const seeds[1] = {r->seed};
    KH_TRY(kh_pass_backward(r->pass, seeds, r->pixels, count * 3 * i->image_height * i->image_width,
                            err));
    for (size_t k = 0; k < count; k++)
        for (size_t t = 0; t < patches; t++) {
            const double value = r->rows[k * 2 * n + i->prefix_tokens + t];
            if (!isfinite(value))
                return kh_fail(err, KH_E_NUMERIC, "the relevance of image %zu is not finite", k);
            out[k * patches + t] = (float)value;
        }
    return KH_OK;
}
