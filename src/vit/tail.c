/* Behind the last block: final norm, pooling, head; and the way back. */
#include <math.h>

#include "vit/steps.h"
#include "vit/taps.h"

static void touch_tail(kh_pass *p, kh_stage stage, const kh_view *view) {
    kh_touch(p, stage, SIZE_MAX, p->tail.taps, p->tail.edits, view);
}

static bool goes_past(const kh_pass *p, kh_stage stage) {
    return p->tail.stop > kh_stage_rank(p->model, stage);
}

static bool has(uint32_t bits, kh_stage stage) {
    return (bits & KH_BIT(stage)) != 0;
}

/* One vector per image. */
static kh_view vector_view(float *base, size_t width) {
    return (kh_view){.base = base,
                     .image_stride = width,
                     .outer = 1,
                     .tokens = 1,
                     .token_stride = width,
                     .middle = 1,
                     .units = width};
}

static kh_view pre_head_view(const kh_pass *p, float *base) {
    const size_t feature = p->model->feature_dim;
    const size_t tokens = p->model->info.pool == KH_POOL_DISTILL ? 2 : 1;
    kh_view view = vector_view(base, feature);
    view.image_stride = tokens * feature;
    view.tokens = tokens;
    return view;
}

/* Row of a token among the rows of the final norm. */
static size_t row_of(const kh_pass *p, size_t token) {
    return p->tail.tokens.at ? p->tail.tokens.at[token] : token;
}

static size_t patch_count(const kh_model *m) {
    return m->info.tokens - m->info.prefix_tokens;
}

static size_t last_rows(const kh_pass *p) {
    return p->block_end > p->first_block ? kh_pass_rows(p, p->block_end - 1)
                                         : p->model->info.tokens;
}

/* Residual stream behind the last block carried out. */
static float *last_residual(const kh_pass *p) {
    return p->block_end > p->first_block ? p->blocks[p->block_end - 1].x_post : p->x;
}

/* Final norm on the rows the plan chose. */
static void norm_rows(kh_pass *p) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    const size_t dim = m->info.dim, rows = p->batch * t->tokens.count;
    t->x = last_residual(p);
    if (t->gathered) {
        kh_step_gather(p, SIZE_MAX, "hook_resid_post", last_rows(p), dim, t->tokens.count,
                       t->gather_list ? t->gather_list : t->tokens.list, t->x, t->gathered);
        t->x = t->gathered;
    }
    const bool scale = has(t->taps, KH_STAGE_FINAL_SCALE);
    const bool norm = goes_past(p, KH_STAGE_FINAL_SCALE);
    kh_step_layernorm(p, SIZE_MAX, "norm", &m->norm, rows, t->x, dim, NULL, norm ? t->norm : NULL,
                      dim, scale ? p->scale : NULL);
    if (scale) {
        const kh_view view = kh_view_rows(m, p->scale, 1, &t->tokens);
        touch_tail(p, KH_STAGE_FINAL_SCALE, &view);
    }
    if (!norm) return;
    const kh_view view = kh_view_rows(m, t->norm, dim, &t->tokens);
    touch_tail(p, KH_STAGE_FINAL_NORM, &view);
}

static void copy_token(kh_pass *p, size_t token, float *to, size_t to_stride) {
    const size_t dim = p->model->info.dim, rows = p->tail.tokens.count;
    if (kh_step_other(p, SIZE_MAX, "hook_pre_head", "copy token", 0))
        kh_rows_copy(p->ctx, p->batch, dim, p->tail.norm + row_of(p, token) * dim, rows * dim, to,
                     to_stride);
}

static void mean_patches(kh_pass *p, const float *from, size_t rows, size_t first, float *to,
                         size_t to_stride) {
    if (kh_step_other(p, SIZE_MAX, "patches", "mean", 0))
        kh_rows_mean(p->ctx, p->batch, rows, first, patch_count(p->model), p->model->info.dim, from,
                     to, to_stride);
}

/* One query, all patches: o; r = proj(o); feature = r + mlp(norm(r)). */
static void map_pool(kh_pass *p) {
    const kh_model *m = p->model;
    const kh_map_pool *pool = &m->map_pool;
    kh_tail_plan *t = &p->tail;
    const kh_model_info *i = &m->info;
    const size_t dim = i->dim, count = patch_count(m), first = row_of(p, i->prefix_tokens);
    for (size_t b = 0; b < p->batch; b++)
        kh_step_linear(p, SIZE_MAX, "attn_pool.kv", dim,
                       &(kh_linear_args){.rows = count,
                                         .x = t->norm + (b * t->tokens.count + first) * dim,
                                         .x_stride = dim,
                                         .w = pool->kv,
                                         .outs = 2 * dim,
                                         .y = t->kv + b * count * 2 * dim,
                                         .y_stride = 2 * dim});
    if (kh_step_other(p, SIZE_MAX, "attn_pool", "attention",
                      4.0 * (double)p->batch * (double)count * (double)dim))
        kh_rows_pool_attention(p->ctx, p->batch, count, i->heads, i->head_dim,
                               (float)(1.0 / sqrt((double)i->head_dim)), pool->q, t->kv, t->o);
    kh_step_linear(p, SIZE_MAX, "attn_pool.proj", dim,
                   &(kh_linear_args){.rows = p->batch,
                                     .x = t->o,
                                     .x_stride = dim,
                                     .w = pool->proj,
                                     .outs = dim,
                                     .y = t->r,
                                     .y_stride = dim});
    kh_step_mlp(p, SIZE_MAX, "attn_pool.mlp", dim, i->neurons,
                &(kh_mlp_args){.rows = p->batch,
                               .x = t->r,
                               .norm = &pool->norm,
                               .fc1 = pool->fc1,
                               .fc2 = pool->fc2,
                               .act = m->act,
                               .pre = t->map_pre,
                               .residual = t->r,
                               .y = t->pre_head});
}

static void pool(kh_pass *p) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    const size_t dim = m->info.dim, prefix = m->info.prefix_tokens, rows = t->tokens.count;
    switch (m->info.pool) {
    case KH_POOL_TOKEN:
        copy_token(p, 0, t->pre_head, dim);
        break;
    case KH_POOL_DISTILL:
        copy_token(p, 0, t->pre_head, 2 * dim);
        copy_token(p, 1, t->pre_head + dim, 2 * dim);
        break;
    case KH_POOL_AVG:
        mean_patches(p, t->norm, rows, row_of(p, prefix), t->pre_head, dim);
        break;
    case KH_POOL_CLS_AVG:
        copy_token(p, 0, t->pre_head, 2 * dim);
        mean_patches(p, t->norm, rows, row_of(p, prefix), t->pre_head + dim, 2 * dim);
        break;
    case KH_POOL_MAP:
        map_pool(p);
        break;
    case KH_POOL_AVG_FC:
    case KH_POOL_RAW_AVG:
        break; /* averaged before the norm, in kh_forward_tail */
    }
}

/* Mean of the patches, then fc_norm (or nothing). */
static bool mean_then_norm(kh_pass *p) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    const size_t dim = m->info.dim;
    if (!m->norm.w) {
        mean_patches(p, last_residual(p), m->info.tokens, m->info.prefix_tokens, t->pre_head, dim);
        return true;
    }
    mean_patches(p, last_residual(p), m->info.tokens, m->info.prefix_tokens, t->mean, dim);
    const bool scale = has(t->taps, KH_STAGE_FINAL_SCALE);
    kh_step_layernorm(p, SIZE_MAX, "fc_norm", &m->norm, p->batch, t->mean, dim, NULL, t->pre_head,
                      dim, scale ? p->scale : NULL);
    if (scale) {
        const kh_view view = vector_view(p->scale, 1);
        touch_tail(p, KH_STAGE_FINAL_SCALE, &view);
    }
    const kh_view view = vector_view(t->pre_head, dim);
    touch_tail(p, KH_STAGE_FINAL_NORM, &view);
    return goes_past(p, KH_STAGE_FINAL_NORM);
}

static void head(kh_pass *p) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    const size_t feature = m->feature_dim, classes = m->info.classes;
    const bool two = m->info.pool == KH_POOL_DISTILL;
    const size_t stride = two ? 2 * feature : feature;
    kh_linear_args args = {.rows = p->batch,
                           .x = t->pre_head,
                           .x_stride = stride,
                           .w = m->head,
                           .outs = classes,
                           .y = t->logits,
                           .y_stride = classes};
    kh_step_linear(p, SIZE_MAX, "head", feature, &args);
    if (two) {
        args.x = t->pre_head + feature;
        args.w = m->head_dist;
        args.y = t->logits2;
        kh_step_linear(p, SIZE_MAX, "head_dist", feature, &args);
        if (kh_step_other(p, SIZE_MAX, "logits", "mean of two", 0))
            for (size_t i = 0; i < p->batch * classes; i++)
                t->logits[i] = (t->logits[i] + t->logits2[i]) * 0.5f;
    }
    const kh_view view = vector_view(t->logits, classes);
    touch_tail(p, KH_STAGE_LOGITS, &view);
}

void kh_forward_tail(kh_pass *p) {
    const kh_model *m = p->model;
    if (m->info.pool == KH_POOL_AVG_FC || m->info.pool == KH_POOL_RAW_AVG) {
        if (!mean_then_norm(p)) return;
    } else {
        norm_rows(p);
        if (!goes_past(p, KH_STAGE_FINAL_NORM)) return;
        pool(p);
    }
    const kh_view view = pre_head_view(p, p->tail.pre_head);
    touch_tail(p, KH_STAGE_PRE_HEAD, &view);
    if (goes_past(p, KH_STAGE_PRE_HEAD)) head(p);
}

/* ---- backward
 * ------------------------------------------------------------------------------------ */

static void absorb_tail(kh_pass *p, kh_stage stage, const kh_view *view, size_t zero_count,
                        bool *live) {
    kh_absorb(p, stage, SIZE_MAX, p->tail.seeds, p->tail.edits, view, zero_count, live);
}

static void head_back(kh_pass *p, bool *live) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    const size_t feature = m->feature_dim, classes = m->info.classes;
    if (!has(t->seeds, KH_STAGE_LOGITS)) return;
    const kh_view view = vector_view(t->d_logits, classes);
    absorb_tail(p, KH_STAGE_LOGITS, &view, p->batch * classes, live);
    kh_linear_backward_args args = {.rows = p->batch,
                                    .dy = t->d_logits,
                                    .dy_stride = classes,
                                    .w = m->head,
                                    .outs = classes,
                                    .dx = t->d_feature};
    if (m->info.pool != KH_POOL_DISTILL) {
        p->ops->linear_backward(p->ctx, &args);
        return;
    }
    for (size_t i = 0; i < p->batch * classes; i++)
        t->d_logits[i] *= 0.5f;
    for (size_t token = 0; token < 2; token++) { /* dx is dense, pre_head interleaves both tokens */
        args.w = token ? m->head_dist : m->head;
        args.dx = t->d_mean;
        p->ops->linear_backward(p->ctx, &args);
        kh_rows_copy(p->ctx, p->batch, feature, t->d_mean, feature, t->d_feature + token * feature,
                     2 * feature);
    }
}

/* Gradient of the feature to d_norm, the gradient at the final norm's output rows. */
static void map_back(kh_pass *p) {
    const kh_model *m = p->model;
    const kh_map_pool *pool = &m->map_pool;
    kh_tail_plan *t = &p->tail;
    const kh_model_info *i = &m->info;
    const size_t dim = i->dim, count = patch_count(m), first = row_of(p, i->prefix_tokens);
    p->ops->linear_backward(p->ctx, &(kh_linear_backward_args){.rows = p->batch,
                                                               .dy = t->d_feature,
                                                               .dy_stride = dim,
                                                               .w = pool->fc2,
                                                               .outs = dim,
                                                               .act = m->act,
                                                               .pre = t->map_pre,
                                                               .dx = t->d_map});
    p->ops->linear_backward(p->ctx, &(kh_linear_backward_args){.rows = p->batch,
                                                               .dy = t->d_map,
                                                               .dy_stride = i->neurons,
                                                               .w = pool->fc1,
                                                               .outs = i->neurons,
                                                               .dx = t->d_mean});
    p->ops->layernorm_backward(p->ctx, &pool->norm, p->batch, t->r, t->d_mean, t->d_feature,
                               t->d_feature);
    p->ops->linear_backward(p->ctx, &(kh_linear_backward_args){.rows = p->batch,
                                                               .dy = t->d_feature,
                                                               .dy_stride = dim,
                                                               .w = pool->proj,
                                                               .outs = dim,
                                                               .dx = t->d_mean});
    kh_rows_pool_attention_backward(p->ctx, p->batch, count, i->heads, i->head_dim,
                                    (float)(1.0 / sqrt((double)i->head_dim)), pool->q, t->kv,
                                    t->d_mean, t->d_kv);
    for (size_t b = 0; b < p->batch; b++)
        p->ops->linear_backward(p->ctx, &(kh_linear_backward_args){
                                            .rows = count,
                                            .dy = t->d_kv + b * count * 2 * dim,
                                            .dy_stride = 2 * dim,
                                            .w = pool->kv,
                                            .outs = 2 * dim,
                                            .dx = t->d_norm + (b * t->tokens.count + first) * dim});
}

static void pool_back(kh_pass *p) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    const size_t dim = m->info.dim, rows = t->tokens.count, prefix = m->info.prefix_tokens;
    const size_t tokens = m->info.pool == KH_POOL_DISTILL ? 2 : 1;
    kh_rows_zero(p->ctx, p->batch * rows * dim, t->d_norm);
    switch (m->info.pool) {
    case KH_POOL_TOKEN:
    case KH_POOL_DISTILL:
        for (size_t token = 0; token < tokens; token++)
            kh_rows_copy(p->ctx, p->batch, dim, t->d_feature + token * dim, tokens * dim,
                         t->d_norm + row_of(p, token) * dim, rows * dim);
        break;
    case KH_POOL_AVG:
        kh_rows_spread(p->ctx, p->batch, rows, row_of(p, prefix), patch_count(m), dim, t->d_feature,
                       dim, t->d_norm);
        break;
    case KH_POOL_CLS_AVG:
        kh_rows_copy(p->ctx, p->batch, dim, t->d_feature, 2 * dim, t->d_norm + row_of(p, 0) * dim,
                     rows * dim);
        kh_rows_spread(p->ctx, p->batch, rows, row_of(p, prefix), patch_count(m), dim,
                       t->d_feature + dim, 2 * dim, t->d_norm);
        break;
    case KH_POOL_MAP:
        map_back(p);
        break;
    case KH_POOL_AVG_FC:
    case KH_POOL_RAW_AVG:
        break;
    }
}

/* Mean models: norm backward on the mean, then to every patch. */
static void mean_back(kh_pass *p, float *dx, bool *live) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    const size_t dim = m->info.dim;
    const float *d_mean = t->d_feature;
    if (m->norm.w) {
        const kh_view view = vector_view(t->d_feature, dim);
        absorb_tail(p, KH_STAGE_FINAL_NORM, &view, p->batch * dim, live);
        if (!*live) return;
        p->ops->layernorm_backward(p->ctx, &m->norm, p->batch, t->mean, t->d_feature, NULL,
                                   t->d_mean);
        d_mean = t->d_mean;
    }
    if (!*live) return;
    kh_rows_zero(p->ctx, p->batch * m->info.tokens * dim, dx);
    kh_rows_spread(p->ctx, p->batch, m->info.tokens, m->info.prefix_tokens, patch_count(m), dim,
                   d_mean, dim, dx);
}

void kh_backward_tail(kh_pass *p, bool *live) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    const size_t dim = m->info.dim, rows = p->batch * t->tokens.count;
    const bool compact = p->block_end > 0 && kh_pass_compact(p, p->block_end - 1);
    float *dx = compact ? p->dxc : p->dx;
    *live = false;
    if (!t->runs || !t->seeds) return;
    head_back(p, live);
    const kh_view feature = pre_head_view(p, t->d_feature);
    absorb_tail(p, KH_STAGE_PRE_HEAD, &feature, p->batch * feature.image_stride, live);
    if (m->info.pool == KH_POOL_AVG_FC || m->info.pool == KH_POOL_RAW_AVG) {
        mean_back(p, dx, live);
        return;
    }
    if (*live) pool_back(p);
    const kh_view norm = kh_view_rows(m, t->d_norm, dim, &t->tokens);
    absorb_tail(p, KH_STAGE_FINAL_NORM, &norm, rows * dim, live);
    if (!*live) return;
    float *to = t->gathered ? t->d_x : dx;
    p->ops->layernorm_backward(p->ctx, &m->norm, rows, t->x, t->d_norm, NULL, to);
    if (t->gathered)
        kh_rows_scatter(p->ctx, p->batch, last_rows(p), dim, t->tokens.count,
                        t->gather_list ? t->gather_list : t->tokens.list, to, dx);
}
