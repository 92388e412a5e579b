/* From the middle of a block to its end: fc1, the hidden units, fc2. */
#include "vit/forward.h"

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
    kh_block_touch(p, stage, block, &view);
}

/* The chosen rows of fc1, run by run, `stride` floats between rows of y. */
static void fc1_runs(kh_pass *p, size_t block, const kh_normed *in, size_t rows, size_t first_row,
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
static void hidden_only(kh_pass *p, size_t block, const kh_normed *in, size_t rows) {
    const kh_model *m = p->model;
    const kh_block_plan *b = &p->blocks[block];
    const kh_choice *units = &p->units;
    const size_t n = units->count;
    const bool gated = m->info.is_gated, wants_post = kh_pass_reaches(p, block, KH_STAGE_POST);
    const bool wants_value = gated && kh_pass_reaches(p, block, KH_STAGE_PRE_LINEAR);
    const size_t stride = wants_value ? 2 * n : n;
    float *direct_post = kh_plan_direct(p, KH_STAGE_POST, block);
    float *post = direct_post ? direct_post : p->post;
    const bool wants_pre = b->saves_pre || kh_has(b->taps | b->edits, KH_STAGE_PRE);
    if (!gated && wants_post && !wants_pre) {
        fc1_runs(p, block, in, rows, 0, units, m->act, post, n);
        if (in->norm_out)
            kh_block_touch_rows(p, KH_STAGE_LN2_NORM, block, in->norm_out, m->info.dim,
                                kh_pass_compact(p, block) ? &p->rows : NULL);
        touch_hidden(p, KH_STAGE_POST, block, post, n, units);
        return;
    }
    float *direct_pre = b->saves_pre || gated ? NULL : kh_plan_direct(p, KH_STAGE_PRE, block);
    float *pre = b->saves_pre ? b->pre : direct_pre ? direct_pre : p->pre;
    fc1_runs(p, block, in, rows, 0, units, KH_ACT_NONE, pre, stride);
    if (in->norm_out)
        kh_block_touch_rows(p, KH_STAGE_LN2_NORM, block, in->norm_out, m->info.dim,
                            kh_pass_compact(p, block) ? &p->rows : NULL);
    if (wants_value)
        fc1_runs(p, block, &(kh_normed){in->x, in->norm, NULL}, rows, m->info.neurons, units,
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
    if (!kh_has(b->taps | b->edits, KH_STAGE_PRE) &&
        !kh_has(b->taps | b->edits, KH_STAGE_PRE_LINEAR))
        return NULL;
    float *direct = p->model->info.is_gated ? NULL : kh_plan_direct(p, KH_STAGE_PRE, block);
    return direct ? direct : p->pre;
}

static float *kept_post(const kh_pass *p, size_t block) {
    if (!kh_has(p->blocks[block].taps | p->blocks[block].edits, KH_STAGE_POST)) return NULL;
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

/* All of fc1; keep: where its outputs go before act, or NULL. */
static void whole_fc1(kh_pass *p, size_t block, const kh_normed *in, size_t rows, kh_activation act,
                      float *keep, float *y) {
    const size_t dim = p->model->info.dim, outs = kh_fc1_rows(p->model);
    kh_step_linear(p, block, "mlp.fc1", dim,
                   &(kh_linear_args){.rows = rows,
                                     .x = in->x,
                                     .x_stride = dim,
                                     .norm = in->norm,
                                     .norm_out = in->norm_out,
                                     .w = p->model->blocks[block].fc1,
                                     .outs = outs,
                                     .act = act,
                                     .pre = keep,
                                     .y = y,
                                     .y_stride = outs});
}

/* fc1, edits of the hidden units, fc2: one after the other. */
static void mlp_in_steps(kh_pass *p, size_t block, const kh_normed *in, size_t rows,
                         const kh_join *join) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const size_t dim = m->info.dim, neurons = m->info.neurons;
    float *pre = kept_pre(p, block), *post = kept_post(p, block);
    if (!pre) pre = p->pre;
    if (!post) post = p->post;
    whole_fc1(p, block, in, rows, KH_ACT_NONE, NULL, pre);
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
                                     .residual = join->residual,
                                     .y = join->to,
                                     .y_stride = dim,
                                     .branch = join->kept});
}

static void mlp_at_once(kh_pass *p, size_t block, const kh_normed *in, size_t rows,
                        const kh_join *join) {
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
                               .residual = join->residual,
                               .y = join->to,
                               .branch = join->kept});
    touch_pre(p, block, pre);
    if (post) touch_hidden(p, KH_STAGE_POST, block, post, m->info.neurons, NULL);
}

/* The last block, of whose output only one token's row goes on: fc1 for all tokens, fc2 for that
 * one. */
static void mlp_one_out(kh_pass *p, size_t block, const kh_normed *in) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim, neurons = m->info.neurons, tokens = m->info.tokens;
    const size_t token = p->out_token;
    float *pre = kept_pre(p, block), *post = kept_post(p, block);
    if (!post) post = p->post;
    whole_fc1(p, block, in, p->batch * tokens, m->act, pre, post);
    touch_pre(p, block, pre);
    touch_hidden(p, KH_STAGE_POST, block, post, neurons, NULL);
    const bool is_seen = kh_has(b->taps, KH_STAGE_MLP_OUT);
    kh_step_linear(p, block, "mlp.fc2", neurons,
                   &(kh_linear_args){.rows = p->batch,
                                     .x = post + token * neurons,
                                     .x_stride = tokens * neurons,
                                     .w = w->fc2,
                                     .outs = dim,
                                     .gamma = w->ls2,
                                     .residual = b->x_mid + token * dim,
                                     .y = b->x_post + token * dim,
                                     .y_stride = tokens * dim,
                                     .branch = {is_seen ? p->branch : NULL, 0, 1}});
    kh_view row = kh_view_rows(m, p->branch, dim, NULL);
    row.image_stride = dim;
    row.token_stride = 0;
    if (is_seen) kh_block_touch(p, KH_STAGE_MLP_OUT, block, &row);
}

void kh_forward_mlp(kh_pass *p, size_t block) {
    const kh_model *m = p->model;
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim, rows = p->batch * kh_pass_rows(p, block);
    const kh_choice *choice = kh_pass_compact(p, block) ? &p->rows : NULL;
    const bool whole = m->info.is_post_norm ? kh_pass_reaches(p, block, KH_STAGE_LN2_SCALE)
                                            : kh_pass_reaches(p, block, KH_STAGE_MLP_OUT);
    kh_normed in = {b->x_mid, NULL, NULL};
    if (!m->info.is_post_norm) {
        const bool ends = !kh_pass_goes_past(p, block, KH_STAGE_LN2_NORM);
        const bool many = !whole && (p->units.list || m->info.is_gated);
        in = kh_block_norm(p, block, true, b->x_mid, rows, choice, ends || many);
        if (ends) return;
    }
    if (!whole) {
        hidden_only(p, block, &in, rows);
        return;
    }
    if (kh_pass_one_out(p, block)) {
        mlp_one_out(p, block, &in);
        if (in.norm_out) kh_block_touch_rows(p, KH_STAGE_LN2_NORM, block, in.norm_out, dim, NULL);
        kh_block_touch_rows(p, KH_STAGE_RESID_POST, block, b->x_post, dim, NULL);
        return;
    }
    const kh_join join = kh_join_make(p, block, true, b->x_mid, b->x_post, choice);
    const uint32_t middle =
        KH_BIT(KH_STAGE_PRE) | KH_BIT(KH_STAGE_PRE_LINEAR) | KH_BIT(KH_STAGE_POST);
    if (b->edits & middle)
        mlp_in_steps(p, block, &in, rows, &join);
    else
        mlp_at_once(p, block, &in, rows, &join);
    if (in.norm_out) kh_block_touch_rows(p, KH_STAGE_LN2_NORM, block, in.norm_out, dim, choice);
    if (!kh_join_finish(p, block, &join, rows)) return;
    kh_block_touch_rows(p, KH_STAGE_RESID_POST, block, b->x_post, dim, choice);
}
