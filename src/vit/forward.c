/* Through the blocks. Every function follows the plan; nothing is allocated. */
#include <math.h>

#include "vit/steps.h"
#include "vit/taps.h"

/* ---- one block ----------------------------------------------------------------------------------
 */

static bool has(uint32_t bits, kh_stage stage) {
    return (bits & KH_BIT(stage)) != 0;
}

static void touch(kh_pass *p, kh_stage stage, size_t block, const kh_view *view) {
    kh_touch(p, stage, block, p->blocks[block].taps, p->blocks[block].edits, view);
}

static void touch_rows(kh_pass *p, kh_stage stage, size_t block, float *base, size_t width,
                       const kh_choice *choice) {
    const kh_view view = kh_view_rows(p->model, base, width, choice);
    touch(p, stage, block, &view);
}

/* What a linear layer reads behind a norm. */
typedef struct normed {
    const float *x;
    const kh_norm *norm; /* NULL: x is normalised already */
    float *norm_out;     /* where the layer leaves norm(x) for a tap */
} normed;

/* A norm in front of attention or MLP. It is fused into the layer behind it unless somebody edits
 * its result, or `alone` asks for it because nothing or several products follow. */
static normed pre_norm(kh_pass *p, size_t block, bool second, const float *x, size_t rows,
                       const kh_choice *choice, bool alone) {
    const kh_block *w = &p->model->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const kh_norm *norm = second ? &w->norm2 : &w->norm1;
    const kh_stage scale_stage = second ? KH_STAGE_LN2_SCALE : KH_STAGE_LN1_SCALE;
    const kh_stage norm_stage = second ? KH_STAGE_LN2_NORM : KH_STAGE_LN1_NORM;
    const char *name = second ? "norm2" : "norm1";
    const size_t dim = norm->dim;
    normed out = {x, norm, NULL};
    if (has(b->taps, scale_stage)) {
        kh_step_layernorm(p, block, name, norm, rows, x, dim, NULL, NULL, 0, p->scale);
        touch_rows(p, scale_stage, block, p->scale, 1, choice);
    }
    if (!kh_pass_reaches(p, block, norm_stage)) return out;
    float *direct = kh_plan_direct(p, norm_stage, block);
    float *to = direct ? direct : p->ln;
    if (has(b->edits, norm_stage) || alone) {
        kh_step_layernorm(p, block, name, norm, rows, x, dim, NULL, to, dim, NULL);
        touch_rows(p, norm_stage, block, to, dim, choice);
        return (normed){to, NULL, NULL};
    }
    if (has(b->taps, norm_stage)) out.norm_out = to;
    return out;
}

/* y = residual + branch, where the branch has its own sites (attn_out or mlp_out) and, in post-norm
 * blocks, a norm. choice: which tokens the rows are. Returns false when the pass ends inside. */
static bool add_branch(kh_pass *p, size_t block, bool second, float *branch, const float *residual,
                       float *y, size_t rows, const kh_choice *choice) {
    const kh_model *m = p->model;
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim;
    const kh_stage out_stage = second ? KH_STAGE_MLP_OUT : KH_STAGE_ATTN_OUT;
    const char *name = second ? "hook_resid_post" : "hook_resid_mid";
    if (m->info.is_post_norm) {
        const kh_norm *norm = second ? &m->blocks[block].norm2 : &m->blocks[block].norm1;
        const kh_stage scale_stage = second ? KH_STAGE_LN2_SCALE : KH_STAGE_LN1_SCALE;
        const kh_stage norm_stage = second ? KH_STAGE_LN2_NORM : KH_STAGE_LN1_NORM;
        const char *norm_name = second ? "norm2" : "norm1";
        if (has(b->taps, scale_stage)) {
            kh_step_layernorm(p, block, norm_name, norm, rows, branch, dim, NULL, NULL, 0,
                              p->scale);
            touch_rows(p, scale_stage, block, p->scale, 1, choice);
        }
        if (!kh_pass_reaches(p, block, norm_stage)) return false;
        if (!has(b->taps | b->edits, norm_stage) && !has(b->taps | b->edits, out_stage)) {
            kh_step_layernorm(p, block, norm_name, norm, rows, branch, dim, residual, y, dim, NULL);
            return kh_pass_goes_past(p, block, out_stage);
        }
        kh_step_layernorm(p, block, norm_name, norm, rows, branch, dim, NULL, p->ln, dim, NULL);
        touch_rows(p, norm_stage, block, p->ln, dim, choice);
        branch = p->ln;
    }
    touch_rows(p, out_stage, block, branch, dim, choice);
    if (!kh_pass_goes_past(p, block, out_stage)) return false;
    kh_step_add(p, block, name, rows * dim, residual, branch, y);
    return true;
}

/* Whether a branch is computed apart from the residual stream. */
static bool branch_is_apart(const kh_pass *p, size_t block, kh_stage out_stage) {
    const kh_block_plan *b = &p->blocks[block];
    return p->model->info.is_post_norm || has(b->taps | b->edits, out_stage) ||
           !kh_pass_goes_past(p, block, out_stage);
}

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
static void project_query(kh_pass *p, size_t block, const normed *in) {
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
        while (first < 2 && !has(b->taps, (kh_stage)(KH_STAGE_Q + first)))
            first++;
        while (last > first && !has(b->taps, (kh_stage)(KH_STAGE_Q + last)))
            last--;
    }
    normed in = {b->x_pre, NULL, NULL};
    if (!m->info.is_post_norm) in = pre_norm(p, block, false, b->x_pre, rows, NULL, false);
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
    if (in.norm_out) touch_rows(p, KH_STAGE_LN1_NORM, block, in.norm_out, dim, NULL);
    if (m->info.has_qk_norm) normalise_heads(p, block);
    for (size_t part = first; part <= last; part++) {
        const kh_view view = qkv_view(p, b->qkv, part);
        touch(p, (kh_stage)(KH_STAGE_Q + part), block, &view);
    }
}

/* scores, pattern, z; an edited pattern is mixed again. */
static void attend(kh_pass *p, size_t block) {
    const kh_model_info *i = &p->model->info;
    const kh_block_plan *b = &p->blocks[block];
    const bool one = kh_pass_one_query(p, block);
    float *scores = NULL, *pattern = NULL;
    if (has(b->taps, KH_STAGE_SCORES)) {
        scores = kh_plan_direct(p, KH_STAGE_SCORES, block);
        if (!scores) scores = p->scores;
    }
    if (has(b->edits, KH_STAGE_PATTERN))
        pattern = p->pattern;
    else if (has(b->taps, KH_STAGE_PATTERN)) {
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
        touch(p, KH_STAGE_SCORES, block, &view);
    }
    if (!pattern) return;
    const kh_view view = pattern_view(p, pattern);
    const size_t count = p->batch * i->heads * i->tokens * i->tokens;
    const bool edited = has(b->edits, KH_STAGE_PATTERN);
    if (edited && !p->recorder)
        kh_rows_copy(p->ctx, 1, count, pattern, count, p->pattern_before, count);
    touch(p, KH_STAGE_PATTERN, block, &view);
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
    touch(p, KH_STAGE_RESULT, block, &view);
}

/* Up to the middle of the block; false when the pass ends before it. */
static bool attention_half(kh_pass *p, size_t block) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim;
    touch_rows(p, KH_STAGE_RESID_PRE, block, b->x_pre, dim, NULL);
    if (!kh_pass_goes_past(p, block, KH_STAGE_RESID_PRE)) return false;
    if (!m->info.is_post_norm && !kh_pass_goes_past(p, block, KH_STAGE_LN1_NORM)) {
        (void)pre_norm(p, block, false, b->x_pre, p->batch * m->info.tokens, NULL, true);
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
    touch(p, KH_STAGE_Z, block, &z);
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
    const bool apart = branch_is_apart(p, block, KH_STAGE_ATTN_OUT);
    float *branch = b->attn_branch ? b->attn_branch : p->branch;
    kh_step_linear(p, block, "attn.proj", dim,
                   &(kh_linear_args){.rows = rows,
                                     .x = in,
                                     .x_stride = dim,
                                     .w = w->proj,
                                     .outs = dim,
                                     .gamma = w->ls1,
                                     .residual = apart ? NULL : residual,
                                     .y = apart ? branch : b->x_mid,
                                     .y_stride = dim});
    if (apart && !add_branch(p, block, false, branch, residual, b->x_mid, rows, choice))
        return false;
    touch_rows(p, KH_STAGE_RESID_MID, block, b->x_mid, dim, choice);
    return kh_pass_goes_past(p, block, KH_STAGE_RESID_MID);
}

/* ---- the MLP ------------------------------------------------------------------------------------
 */

/* `halves` 1: gates or plain pre-activations only; columns of `units` each. */
static kh_view hidden_view(const kh_pass *p, size_t block, float *base, size_t stride,
                           const kh_choice *units) {
    const kh_choice *rows = kh_pass_compact(p, block) ? &p->rows : NULL;
    kh_view view = kh_view_rows(p->model, base, p->model->info.neurons, rows);
    view.image_stride = kh_pass_rows(p, block) * stride;
    view.token_stride = stride;
    view.unit_at = units ? units->at : NULL;
    return view;
}

static void touch_hidden(kh_pass *p, kh_stage stage, size_t block, float *base, size_t stride,
                         const kh_choice *units) {
    const kh_view view = hidden_view(p, block, base, stride, units);
    touch(p, stage, block, &view);
}

/* The chosen rows of fc1, run by run, `stride` floats between rows of y. */
static void fc1_runs(kh_pass *p, size_t block, const normed *in, size_t rows, size_t first_row,
                     const kh_choice *units, kh_activation act, float *y, size_t stride) {
    const kh_model *m = p->model;
    const size_t dim = m->info.dim;
    for (size_t i = 0; i < units->count;) {
        const size_t start = units->list ? units->list[i] : 0;
        size_t length = units->list ? 1 : units->count;
        while (i + length < units->count && units->list[i + length] == start + length)
            length++;
        kh_step_linear(p, block, "mlp.fc1", dim,
                       &(kh_linear_args){.rows = rows,
                                         .x = in->x,
                                         .x_stride = dim,
                                         .norm = in->norm,
                                         .norm_out = i ? NULL : in->norm_out,
                                         .w = m->blocks[block].fc1,
                                         .first_out = first_row + start,
                                         .outs = length,
                                         .act = act,
                                         .y = y + i,
                                         .y_stride = stride});
        i += length;
    }
}

/* The pass ends among the hidden units: only the rows of fc1 somebody looks at. */
static void hidden_only(kh_pass *p, size_t block, const normed *in, size_t rows) {
    const kh_model *m = p->model;
    const kh_block_plan *b = &p->blocks[block];
    const kh_choice *units = &p->units;
    const size_t n = units->count;
    const bool gated = m->info.is_gated, wants_post = kh_pass_reaches(p, block, KH_STAGE_POST);
    const bool wants_value = gated && kh_pass_reaches(p, block, KH_STAGE_PRE_LINEAR);
    const size_t stride = wants_value ? 2 * n : n;
    float *direct_post = kh_plan_direct(p, KH_STAGE_POST, block);
    float *post = direct_post ? direct_post : p->post;
    const bool wants_pre = b->saves_pre || has(b->taps | b->edits, KH_STAGE_PRE);
    if (!gated && wants_post && !wants_pre) {
        fc1_runs(p, block, in, rows, 0, units, m->act, post, n);
        if (in->norm_out)
            touch_rows(p, KH_STAGE_LN2_NORM, block, in->norm_out, m->info.dim,
                       kh_pass_compact(p, block) ? &p->rows : NULL);
        touch_hidden(p, KH_STAGE_POST, block, post, n, units);
        return;
    }
    float *direct_pre = b->saves_pre || gated ? NULL : kh_plan_direct(p, KH_STAGE_PRE, block);
    float *pre = b->saves_pre ? b->pre : direct_pre ? direct_pre : p->pre;
    fc1_runs(p, block, in, rows, 0, units, KH_ACT_NONE, pre, stride);
    if (in->norm_out)
        touch_rows(p, KH_STAGE_LN2_NORM, block, in->norm_out, m->info.dim,
                   kh_pass_compact(p, block) ? &p->rows : NULL);
    if (wants_value)
        fc1_runs(p, block, &(normed){in->x, in->norm, NULL}, rows, m->info.neurons, units,
                 KH_ACT_NONE, pre + n, stride);
    touch_hidden(p, KH_STAGE_PRE, block, pre, stride, units);
    if (wants_value) touch_hidden(p, KH_STAGE_PRE_LINEAR, block, pre + n, stride, units);
    if (!wants_post) return;
    if (gated)
        kh_step_gate(p, block, rows, n, pre, post);
    else
        kh_step_activate(p, block, rows * n, pre, post);
    touch_hidden(p, KH_STAGE_POST, block, post, n, units);
}

/* Where all of fc1's outputs, or the coefficients, are kept; NULL: nobody wants them. */
static float *kept_pre(const kh_pass *p, size_t block) {
    const kh_block_plan *b = &p->blocks[block];
    if (b->saves_pre) return b->pre;
    if (!has(b->taps | b->edits, KH_STAGE_PRE) && !has(b->taps | b->edits, KH_STAGE_PRE_LINEAR))
        return NULL;
    float *direct = p->model->info.is_gated ? NULL : kh_plan_direct(p, KH_STAGE_PRE, block);
    return direct ? direct : p->pre;
}

static float *kept_post(const kh_pass *p, size_t block) {
    if (!has(p->blocks[block].taps | p->blocks[block].edits, KH_STAGE_POST)) return NULL;
    float *direct = kh_plan_direct(p, KH_STAGE_POST, block);
    return direct ? direct : p->post;
}

static void touch_pre(kh_pass *p, size_t block, float *pre) {
    const kh_model_info *i = &p->model->info;
    if (!pre) return;
    touch_hidden(p, KH_STAGE_PRE, block, pre, kh_fc1_rows(p->model), NULL);
    if (i->is_gated)
        touch_hidden(p, KH_STAGE_PRE_LINEAR, block, pre + i->neurons, kh_fc1_rows(p->model), NULL);
}

/* fc1, edits of the hidden units, fc2: one after the other. */
static void mlp_in_steps(kh_pass *p, size_t block, const normed *in, size_t rows,
                         const float *residual, float *y) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const size_t dim = m->info.dim, neurons = m->info.neurons, outs = kh_fc1_rows(m);
    float *pre = kept_pre(p, block), *post = kept_post(p, block);
    if (!pre) pre = p->pre;
    if (!post) post = p->post;
    kh_step_linear(p, block, "mlp.fc1", dim,
                   &(kh_linear_args){.rows = rows,
                                     .x = in->x,
                                     .x_stride = dim,
                                     .norm = in->norm,
                                     .norm_out = in->norm_out,
                                     .w = w->fc1,
                                     .outs = outs,
                                     .y = pre,
                                     .y_stride = outs});
    touch_pre(p, block, pre);
    if (m->info.is_gated)
        kh_step_gate(p, block, rows, neurons, pre, post);
    else
        kh_step_activate(p, block, rows * neurons, pre, post);
    touch_hidden(p, KH_STAGE_POST, block, post, neurons, NULL);
    kh_step_linear(p, block, "mlp.fc2", neurons,
                   &(kh_linear_args){.rows = rows,
                                     .x = post,
                                     .x_stride = neurons,
                                     .w = w->fc2,
                                     .outs = dim,
                                     .gamma = w->ls2,
                                     .residual = residual,
                                     .y = y,
                                     .y_stride = dim});
}

static void mlp_at_once(kh_pass *p, size_t block, const normed *in, size_t rows,
                        const float *residual, float *y) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    float *pre = kept_pre(p, block), *post = kept_post(p, block);
    kh_step_mlp(p, block, "mlp", m->info.dim, m->info.neurons,
                &(kh_mlp_args){.rows = rows,
                               .x = in->x,
                               .norm = in->norm,
                               .fc1 = w->fc1,
                               .fc2 = w->fc2,
                               .gated = m->info.is_gated,
                               .act = m->act,
                               .norm_out = in->norm_out,
                               .pre = pre,
                               .post = post,
                               .gamma = w->ls2,
                               .residual = residual,
                               .y = y});
    touch_pre(p, block, pre);
    if (post) touch_hidden(p, KH_STAGE_POST, block, post, m->info.neurons, NULL);
}

static void mlp_half(kh_pass *p, size_t block) {
    const kh_model *m = p->model;
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim, rows = p->batch * kh_pass_rows(p, block);
    const kh_choice *choice = kh_pass_compact(p, block) ? &p->rows : NULL;
    const bool whole = m->info.is_post_norm ? kh_pass_reaches(p, block, KH_STAGE_LN2_SCALE)
                                            : kh_pass_reaches(p, block, KH_STAGE_MLP_OUT);
    normed in = {b->x_mid, NULL, NULL};
    if (!m->info.is_post_norm) {
        const bool ends = !kh_pass_goes_past(p, block, KH_STAGE_LN2_NORM);
        const bool many = !whole && (p->units.list || m->info.is_gated);
        in = pre_norm(p, block, true, b->x_mid, rows, choice, ends || many);
        if (ends) return;
    }
    if (!whole) {
        hidden_only(p, block, &in, rows);
        return;
    }
    const bool apart = branch_is_apart(p, block, KH_STAGE_MLP_OUT);
    float *branch = b->mlp_branch ? b->mlp_branch : p->branch;
    const float *residual = apart ? NULL : b->x_mid;
    float *y = apart ? branch : b->x_post;
    const uint32_t middle =
        KH_BIT(KH_STAGE_PRE) | KH_BIT(KH_STAGE_PRE_LINEAR) | KH_BIT(KH_STAGE_POST);
    if (b->edits & middle)
        mlp_in_steps(p, block, &in, rows, residual, y);
    else
        mlp_at_once(p, block, &in, rows, residual, y);
    if (in.norm_out) touch_rows(p, KH_STAGE_LN2_NORM, block, in.norm_out, dim, choice);
    if (apart && !add_branch(p, block, true, branch, b->x_mid, b->x_post, rows, choice)) return;
    touch_rows(p, KH_STAGE_RESID_POST, block, b->x_post, dim, choice);
}

void kh_forward_block(kh_pass *p, size_t block) {
    if (attention_half(p, block)) mlp_half(p, block);
}

void kh_forward_all(kh_pass *p, const float *images) {
    p->broken = SIZE_MAX;
    if (images) kh_forward_embed(p, images);
    for (size_t b = p->first_block; b < p->block_end; b++) {
        kh_forward_block(p, b);
        size_t at;
        if (p->checks && kh_pass_reaches(p, b, KH_STAGE_RESID_POST) &&
            !kh_rows_finite(p->ctx, p->batch * kh_pass_rows(p, b) * p->model->info.dim,
                            p->blocks[b].x_post, &at)) {
            p->broken = b;
            return;
        }
    }
    if (p->tail.runs) kh_forward_tail(p);
}
