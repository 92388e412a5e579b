/* Which patches the class token's attention should have looked at, by the local gradient of every
 * block's attention output (Vilas et al. 2023). No pass backwards is needed: the path is short. */
#define _POSIX_C_SOURCE 200809L
#include "keyhole/perturb.h"

#include "base/alloc.h"
#include "compute/backend.h"
#include "lens/values.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct kh_gradient_map {
    kh_ctx *ctx;
    const kh_model *model;
    const kh_model_info *info;
    bool double_softmax;
    size_t max_batch, patches, classes;
    kh_pass *pass; /* taps 2b: attention output at the class token; 2b + 1: values */
    kh_lens_norm norm;
    float *embeddings, *bias; /* [classes, dim], [classes] or NULL */
    float **proj, **scale;    /* [blocks]: [dim, dim]; LayerScale [dim] or NULL */
    double *scratch;          /* [threads, scratch_each] */
    size_t scratch_each;
    double *importance; /* [max_batch, blocks, patches] */
};

void kh_gradient_map_free(kh_gradient_map *m) {
    if (!m) return;
    kh_pass_free(m->pass);
    kh_lens_norm_clear(&m->norm);
    for (size_t b = 0; b < m->info->blocks; b++) {
        if (m->proj) kh_free(m->proj[b]);
        if (m->scale) kh_free(m->scale[b]);
    }
    void *const all[] = {m->embeddings, m->bias, m->proj, m->scale, m->scratch, m->importance};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
    kh_free(m);
}

static kh_status check(const kh_model_info *info, size_t max_batch, kh_error *err) {
    if (!info->classes || info->head_is_projection || info->pool != KH_POOL_TOKEN)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "%s does not read its classes from the class token alone",
                       info->architecture);
    if (info->is_post_norm)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s has norms behind attention", info->architecture);
    if (max_batch == 0) return kh_fail(err, KH_E_ARG, "a gradient map needs a batch of 1 or more");
    return KH_OK;
}

static kh_status read_weights(kh_gradient_map *m, kh_error *err) {
    const kh_align_options align = kh_align_options_default();
    const size_t dim = m->info->dim;
    size_t classes;
    KH_TRY(kh_lens_read_final_norm(m->model, &m->norm, err));
    KH_TRY(kh_lens_read_embeddings(m->model, &align, &m->embeddings, &m->bias, &classes, err));
    for (size_t b = 0; b < m->info->blocks; b++) {
        KH_TRY(kh_lens_read_block(m->model, b, "attn.proj.weight", false, dim * dim, &m->proj[b],
                                  err));
        if (m->info->has_layer_scale)
            KH_TRY(kh_lens_read_block(m->model, b, "ls1.gamma", true, dim, &m->scale[b], err));
    }
    return KH_OK;
}

static kh_status create_pass(kh_gradient_map *m, kh_error *err) {
    static const size_t class_token[1] = {0};
    const size_t count = 2 * m->info->blocks;
    kh_tap *taps = kh_calloc(count, sizeof *taps);
    char(*names)[48] = kh_calloc(count, sizeof *names);
    kh_status status = KH_OK;
    if (!taps || !names) status = kh_fail(err, KH_E_MEMORY, "no memory for %zu taps", count);
    for (size_t i = 0; i < count && !status; i++) {
        (void)snprintf(names[i], sizeof *names, "blocks.%zu.%s", i / 2,
                       i % 2 ? "attn.hook_v" : "hook_attn_out");
        taps[i] = (kh_tap){.site = names[i]};
        if (i % 2 == 0) {
            taps[i].tokens = class_token;
            taps[i].token_count = 1;
        }
    }
    const kh_pass_spec spec = {.max_batch = m->max_batch, .taps = taps, .tap_count = count};
    if (!status) status = kh_pass_create(m->ctx, m->model, &spec, &m->pass, err);
    kh_free(names);
    kh_free(taps);
    return status;
}

kh_status kh_gradient_map_create(kh_ctx *ctx, const kh_model *model, size_t max_batch,
                                 bool double_softmax, kh_gradient_map **out, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    *out = NULL;
    KH_TRY(check(info, max_batch, err));
    kh_gradient_map *m = kh_calloc(1, sizeof *m);
    if (!m) return kh_fail(err, KH_E_MEMORY, "no memory for gradient maps");
    *m = (kh_gradient_map){.ctx = ctx,
                           .model = model,
                           .info = info,
                           .double_softmax = double_softmax,
                           .max_batch = max_batch,
                           .patches = info->tokens - info->prefix_tokens,
                           .classes = info->classes,
                           .scratch_each = 3 * info->dim + 2 * info->classes};
    m->proj = kh_calloc(info->blocks, sizeof *m->proj);
    m->scale = kh_calloc(info->blocks, sizeof *m->scale);
    m->scratch = kh_calloc(kh_ctx_threads(ctx) * m->scratch_each, sizeof *m->scratch);
    m->importance = kh_calloc(max_batch * info->blocks * m->patches, sizeof *m->importance);
    kh_status status = m->proj && m->scale && m->scratch && m->importance
                           ? read_weights(m, err)
                           : kh_fail(err, KH_E_MEMORY, "no memory for gradient maps");
    if (!status) status = create_pass(m, err);
    if (status)
        kh_gradient_map_free(m);
    else
        *out = m;
    return status;
}

/* ---- one block of one image ---------------------------------------------------------------- */

static void softmax(const double *from, size_t count, double *to) {
    double max = -(double)INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++)
        if (from[i] > max) max = from[i];
    for (size_t i = 0; i < count; i++)
        sum += to[i] = exp(from[i] - max);
    for (size_t i = 0; i < count; i++)
        to[i] /= sum;
}

/* z to dl/dz, in place. */
static void cross_entropy_back(double *z, double *q, size_t classes, size_t c, bool twice) {
    softmax(z, classes, z);
    if (!twice) {
        z[c] -= 1;
        return;
    }
    double along = 0;
    softmax(z, classes, q);
    q[c] -= 1;
    for (size_t k = 0; k < classes; k++)
        along += z[k] * q[k];
    for (size_t k = 0; k < classes; k++)
        z[k] *= q[k] - along;
}

/* x [dim] attention output -> go [dim], dl/dx; y, z, q: scratch. */
static void output_gradient(const kh_gradient_map *m, const float *x, size_t c, double *xh,
                            double *z, double *q, double *go) {
    const size_t dim = m->info->dim;
    double mean = 0, var = 0;
    for (size_t d = 0; d < dim; d++)
        mean += (double)x[d];
    mean /= (double)dim;
    for (size_t d = 0; d < dim; d++)
        var += ((double)x[d] - mean) * ((double)x[d] - mean);
    const double sigma = sqrt(var / (double)dim + m->norm.eps);
    for (size_t d = 0; d < dim; d++)
        xh[d] = ((double)x[d] - mean) / sigma;
    for (size_t k = 0; k < m->classes; k++) {
        const float *e = m->embeddings + k * dim;
        z[k] = m->bias ? (double)m->bias[k] : 0;
        for (size_t d = 0; d < dim; d++)
            z[k] += (double)e[d] * ((double)m->norm.w[d] * xh[d] + (double)m->norm.b[d]);
    }
    cross_entropy_back(z, q, m->classes, c, m->double_softmax);
    memset(go, 0, dim * sizeof *go);
    for (size_t k = 0; k < m->classes; k++)
        for (size_t d = 0; d < dim; d++)
            go[d] += z[k] * (double)m->embeddings[k * dim + d];
    double mean_g = 0, mean_gx = 0;
    for (size_t d = 0; d < dim; d++) {
        go[d] *= (double)m->norm.w[d];
        mean_g += go[d];
        mean_gx += go[d] * xh[d];
    }
    mean_g /= (double)dim;
    mean_gx /= (double)dim;
    for (size_t d = 0; d < dim; d++)
        go[d] = (go[d] - mean_g - xh[d] * mean_gx) / sigma;
}

typedef struct job {
    kh_gradient_map *m;
    const size_t *classes;
} job;

static void see_block(void *arg, size_t task, size_t worker) {
    const job *j = arg;
    kh_gradient_map *m = j->m;
    const size_t dim = m->info->dim, i = task / m->info->blocks, b = task % m->info->blocks;
    double *xh = m->scratch + worker * m->scratch_each, *go = xh + dim, *u = go + dim;
    double *z = u + dim, *q = z + m->classes;
    output_gradient(m, kh_pass_tap(m->pass, 2 * b) + i * dim, j->classes[i], xh, z, q, go);
    memset(u, 0, dim * sizeof *u);
    for (size_t o = 0; o < dim; o++) {
        const double g = go[o] * (m->scale[b] ? (double)m->scale[b][o] : 1);
        for (size_t d = 0; d < dim; d++)
            u[d] += g * (double)m->proj[b][o * dim + d];
    }
    /* heads lie side by side in a token's row, so their sum is one dot product */
    const float *v =
        kh_pass_tap(m->pass, 2 * b + 1) + (i * m->info->tokens + m->info->prefix_tokens) * dim;
    for (size_t t = 0; t < m->patches; t++) {
        double sum = 0;
        for (size_t d = 0; d < dim; d++)
            sum -= u[d] * (double)v[t * dim + d];
        m->importance[task * m->patches + t] = sum;
    }
}

kh_status kh_gradient_map_run(kh_gradient_map *m, const float *images, size_t count,
                              const size_t *classes, float *out, kh_error *err) {
    for (size_t i = 0; i < count; i++)
        if (classes[i] >= m->classes)
            return kh_fail(err, KH_E_ARG, "class %zu; the model has %zu", classes[i], m->classes);
    KH_TRY(kh_pass_run(m->pass, images, count, err));
    job j = {m, classes};
    kh_pool_run(kh_ctx_pool(m->ctx), count * m->info->blocks, see_block, &j);
    for (size_t i = 0; i < count; i++)
        for (size_t t = 0; t < m->patches; t++) {
            double sum = 0;
            for (size_t b = 0; b < m->info->blocks; b++)
                sum += m->importance[(i * m->info->blocks + b) * m->patches + t];
            if (!isfinite(sum))
                return kh_fail(err, KH_E_NUMERIC, "the gradient map of image %zu is not finite", i);
            out[i * m->patches + t] = (float)sum;
        }
    return KH_OK;
}
