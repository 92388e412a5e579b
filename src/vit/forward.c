/* Through the blocks. Every function follows the plan; nothing is allocated. */
#include "vit/forward.h"

#include <math.h>

static kh_view qkv_view(const kh_pass *p, float *qkv, size_t part) {
    const kh_model_info *i = &p->model->info;
    return (kh_view){.base = qkv + part * i->dim,
                     .image_stride = i->tokens * 3 * i->dim,
                     .outer = 1,
                     .tokens = i->tokens,
                     .token_stride = 3 * i->dim,
                     .middle = i->heads,
                     .middle_stride = i->head_dim,
                     .units = i->head_dim};
}

static kh_view pattern_view(const kh_pass *p, float *base) {
    const kh_model_info *i = &p->model->info;
    return (kh_view){.base = base,
                     .image_stride = i->heads * i->tokens * i->tokens,
                     .outer = i->heads,
                     .outer_stride = i->tokens * i->tokens,
                     .tokens = i->tokens,
                     .token_stride = i->tokens,
                     .middle = 1,
                     .units = i->tokens};
}

static void normalise_heads(kh_pass *p, size_t block) {
    const kh_block *w = &p->model->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const kh_model_info *i = &p->model->info;
    const size_t rows = p->batch * i->tokens, dim = i->dim;
    if (b->qk_raw && kh_step_other(p, block, "attn.qk", "copy", 0))
        kh_rows_copy(p->ctx, rows, 2 * dim, b->qkv, 3 * dim, b->qk_raw, 2 * dim);
    for (size_t part = 0; part < 2; part++) {
        const kh_norm *norm = part ? &w->k_norm : &w->q_norm;
        if (!norm->w) continue;
        for (size_t h = 0; h < i->heads; h++) {
            float *at = b->qkv + part * dim + h * i->head_dim;
            kh_step_layernorm(p, block, part ? "attn.k_norm" : "attn.q_norm", norm, rows, at,
                              3 * dim, NULL, at, 3 * dim, NULL);
        }
    }
}

/* The one query of the last block. */
static void project_query(kh_pass *p, size_t block, const kh_normed *in) {
    const kh_model_info *i = &p->model->info;
    const size_t dim = i->dim, token = p->rows.list[0];
    kh_step_linear(p, block, "attn.q", dim,
                   &(kh_linear_args){.rows = p->batch,
                                     .x = in->x + token * dim,
                                     .x_stride = i->tokens * dim,
                                     .norm = in->norm,
                                     .w = p->model->blocks[block].qkv,
                                     .outs = dim,
                                     .y = p->blocks[block].qkv + token * 3 * dim,
                                     .y_stride = i->tokens * 3 * dim});
}

/* q, k and v; in the last block only those somebody looks at. */
static void project_qkv(kh_pass *p, size_t block) {
    const kh_model *m = p->model;
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim, rows = p->batch * m->info.tokens;
    size_t first = 0, last = 2;
    if (!kh_pass_goes_past(p, block, KH_STAGE_V) && !b->saves) {
        while (first < 2 && !kh_has(b->taps, (kh_stage)(KH_STAGE_Q + first)))
            first++;
        while (last > first && !kh_has(b->taps, (kh_stage)(KH_STAGE_Q + last)))
            last--;
    }
    kh_normed in = {b->x_pre, NULL, NULL};
    if (!m->info.is_post_norm) in = kh_block_norm(p, block, false, b->x_pre, rows, NULL, false);
    if (kh_pass_one_query(p, block)) {
        project_query(p, block, &in);
        first = 1;
    }
    kh_step_linear(p, block, "attn.qkv", dim,
                   &(kh_linear_args){.rows = rows,
                                     .x = in.x,
                                     .x_stride = dim,
                                     .norm = in.norm,
                                     .norm_out = in.norm_out,
                                     .w = m->blocks[block].qkv,
                                     .first_out = first * dim,
                                     .outs = (last - first + 1) * dim,
                                     .y = b->qkv + first * dim,
                                     .y_stride = 3 * dim});
    if (in.norm_out) kh_block_touch_rows(p, KH_STAGE_LN1_NORM, block, in.norm_out, dim, NULL);
    if (m->info.has_qk_norm) normalise_heads(p, block);
    for (size_t part = first; part <= last; part++) {
        const kh_view view = qkv_view(p, b->qkv, part);
        kh_block_touch(p, (kh_stage)(KH_STAGE_Q + part), block, &view);
    }
}

/* scores, pattern, z; an edited pattern is mixed again. */
static void attend(kh_pass *p, size_t block) {
    const kh_model_info *i = &p->model->info;
    const kh_block_plan *b = &p->blocks[block];
    const bool one = kh_pass_one_query(p, block);
    float *scores = NULL, *pattern = NULL;
    if (kh_has(b->taps, KH_STAGE_SCORES)) {
        scores = kh_plan_direct(p, KH_STAGE_SCORES, block);
        if (!scores) scores = p->scores;
    }
    if (kh_has(b->edits, KH_STAGE_PATTERN))
        pattern = p->pattern;
    else if (kh_has(b->taps, KH_STAGE_PATTERN)) {
        pattern = kh_plan_direct(p, KH_STAGE_PATTERN, block);
        if (!pattern) pattern = p->pattern;
    }
    const kh_attention_args args = {.images = p->batch,
                                    .tokens = i->tokens,
                                    .heads = i->heads,
                                    .head_dim = i->head_dim,
                                    .qkv = b->qkv,
                                    .scale = (float)(1.0 / sqrt((double)i->head_dim)),
                                    .z = p->z,
                                    .scores = scores,
                                    .pattern = pattern,
                                    .first_query = one ? p->rows.list[0] : 0,
                                    .queries = one ? 1 : 0};
    kh_step_attention(p, block, &args);
    if (scores) {
        const kh_view view = pattern_view(p, scores);
        kh_block_touch(p, KH_STAGE_SCORES, block, &view);
    }
    if (!pattern) return;
    const kh_view view = pattern_view(p, pattern);
    const size_t count = p->batch * i->heads * i->tokens * i->tokens;
    const bool edited = kh_has(b->edits, KH_STAGE_PATTERN);
    if (edited && !p->recorder)
        kh_rows_copy(p->ctx, 1, count, pattern, count, p->pattern_before, count);
    kh_block_touch(p, KH_STAGE_PATTERN, block, &view);
    if (edited && kh_pass_goes_past(p, block, KH_STAGE_PATTERN) &&
        kh_step_other(p, block, "attn.hook_z", "mix again", 0))
        kh_rows_mix_changed(p->ctx, &args, p->pattern_before, pattern, p->z);
}

/* What every head adds to the residual stream, before bias and LayerScale. */
static void head_results(kh_pass *p, size_t block) {
    const kh_model_info *i = &p->model->info;
    const kh_block_plan *b = &p->blocks[block];
    if (!b->result) return;
    float *to = kh_plan_direct(p, KH_STAGE_RESULT, block);
    if (!to) to = p->result;
    for (size_t h = 0; h < i->heads; h++)
        kh_step_linear(p, block, "attn.hook_result", i->head_dim,
                       &(kh_linear_args){.rows = p->batch * i->tokens,
                                         .x = p->z + h * i->head_dim,
                                         .x_stride = i->dim,
                                         .w = b->result[h],
                                         .outs = i->dim,
                                         .y = to + h * i->dim,
                                         .y_stride = i->heads * i->dim});
    const kh_view view = {.base = to,
                          .image_stride = i->tokens * i->heads * i->dim,
                          .outer = 1,
                          .tokens = i->tokens,
                          .token_stride = i->heads * i->dim,
                          .middle = i->heads,
                          .middle_stride = i->dim,
                          .units = i->dim};
    kh_block_touch(p, KH_STAGE_RESULT, block, &view);
}

/* Up to the middle of the block; false when the pass ends before it. */
static bool attention_half(kh_pass *p, size_t block) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim;
    kh_block_touch_rows(p, KH_STAGE_RESID_PRE, block, b->x_pre, dim, NULL);
    if (!kh_pass_goes_past(p, block, KH_STAGE_RESID_PRE)) return false;
    if (!m->info.is_post_norm && !kh_pass_goes_past(p, block, KH_STAGE_LN1_NORM)) {
        (void)kh_block_norm(p, block, false, b->x_pre, p->batch * m->info.tokens, NULL, true);
        return false;
    }
    project_qkv(p, block);
    if (!kh_pass_goes_past(p, block, KH_STAGE_V)) return false;
    attend(p, block);
    if (!kh_pass_goes_past(p, block, KH_STAGE_PATTERN)) return false;
    const kh_view z = {.base = p->z,
                       .image_stride = m->info.tokens * dim,
                       .outer = 1,
                       .tokens = m->info.tokens,
                       .token_stride = dim,
                       .middle = m->info.heads,
                       .middle_stride = m->info.head_dim,
                       .units = m->info.head_dim};
    kh_block_touch(p, KH_STAGE_Z, block, &z);
    head_results(p, block);
    if (!kh_pass_goes_past(p, block, KH_STAGE_RESULT)) return false;

    const bool compact = kh_pass_compact(p, block);
    const size_t rows = p->batch * kh_pass_rows(p, block);
    const kh_choice *choice = compact ? &p->rows : NULL;
    const float *in = p->z, *residual = b->x_pre;
    if (compact) {
        kh_step_gather(p, block, "attn.hook_z", m->info.tokens, dim, p->rows.count, p->rows.list,
                       p->z, p->zc);
        kh_step_gather(p, block, "hook_resid_pre", m->info.tokens, dim, p->rows.count, p->rows.list,
                       b->x_pre, b->x_mid);
        in = p->zc;
        residual = b->x_mid;
    }
    const kh_join join = kh_join_make(p, block, false, residual, b->x_mid, choice);
    kh_step_linear(p, block, "attn.proj", dim,
                   &(kh_linear_args){.rows = rows,
                                     .x = in,
                                     .x_stride = dim,
                                     .w = w->proj,
                                     .outs = dim,
                                     .gamma = w->ls1,
                                     .residual = join.residual,
                                     .y = join.to,
                                     .y_stride = dim,
                                     .branch = join.kept});
    if (!kh_join_finish(p, block, &join, rows)) return false;
    kh_block_touch_rows(p, KH_STAGE_RESID_MID, block, b->x_mid, dim, choice);
    return kh_pass_goes_past(p, block, KH_STAGE_RESID_MID);
}

void kh_forward_block(kh_pass *p, size_t block) {
    if (attention_half(p, block)) kh_forward_mlp(p, block);
}

static bool stream_is_finite(const kh_pass *p, size_t block) {
    const size_t dim = p->model->info.dim, rows = kh_pass_rows(p, block);
    const float *x = p->blocks[block].x_post;
    size_t at;
    if (!kh_pass_one_out(p, block)) return kh_rows_finite(p->ctx, p->batch * rows * dim, x, &at);
    bool good = true;
    for (size_t i = 0; i < p->batch && good; i++)
        good = kh_rows_finite(p->ctx, dim, x + (i * rows + p->out_token) * dim, &at);
    return good;
}

void kh_forward_all(kh_pass *p, const float *images) {
    p->broken = SIZE_MAX;
    if (images) kh_forward_embed(p, images);
    for (size_t b = p->first_block; b < p->block_end; b++) {
        kh_forward_block(p, b);
        if (p->checks && kh_pass_reaches(p, b, KH_STAGE_RESID_POST) && !stream_is_finite(p, b)) {
            p->broken = b;
            return;
        }
    }
    if (p->tail.runs) kh_forward_tail(p);
}
