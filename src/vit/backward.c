/* From seeds back to the pixels. Nothing above the highest seed is computed, and no weight gradient
 * ever is. `live` says whether a gradient has begun to flow; before that, buffers hold nothing. */
#include <math.h>

#include "vit/steps.h"
#include "vit/taps.h"

static bool has(uint32_t bits, kh_stage stage) {
    return (bits & KH_BIT(stage)) != 0;
}

static void absorb(kh_pass *p, kh_stage stage, size_t block, const kh_view *view, size_t zero_count,
                   bool *live) {
    kh_absorb(p, stage, block, p->blocks[block].seeds, p->blocks[block].edits, view, zero_count,
              live);
}

static void absorb_rows(kh_pass *p, kh_stage stage, size_t block, float *base, size_t width,
                        bool *live) {
    const bool behind_attention =
        stage >= KH_STAGE_ATTN_OUT || (p->model->info.is_post_norm && stage == KH_STAGE_LN1_NORM);
    const bool compact = kh_pass_compact(p, block) && behind_attention;
    const kh_view view = kh_view_rows(p->model, base, width, compact ? &p->rows : NULL);
    absorb(p, stage, block, &view, p->batch * view.image_stride, live);
}

static bool has_own(const kh_pass *p, size_t block, kh_stage stage) {
    return has(p->blocks[block].seeds | p->blocks[block].edits, stage);
}

/* Gradient of a branch (attn_out or mlp_out) given dx at the sum; in post-norm blocks back through
 * the norm too. Returns where it lies, or NULL when nothing flows. */
static const float *branch_back(kh_pass *p, size_t block, bool second, float *dx, bool live) {
    const kh_model *m = p->model;
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim, rows = p->batch * kh_pass_rows(p, block);
    const kh_stage out_stage = second ? KH_STAGE_MLP_OUT : KH_STAGE_ATTN_OUT;
    const kh_stage norm_stage = second ? KH_STAGE_LN2_NORM : KH_STAGE_LN1_NORM;
    const bool post = m->info.is_post_norm;
    float *at = dx;
    if (has_own(p, block, out_stage) || (post && has_own(p, block, norm_stage))) {
        at = p->dbranch;
        if (live) kh_rows_copy(p->ctx, rows, dim, dx, dim, at, dim);
        absorb_rows(p, out_stage, block, at, dim, &live);
        if (post) absorb_rows(p, norm_stage, block, at, dim, &live);
    }
    if (!live) return NULL;
    if (!post) return at;
    p->ops->layernorm_backward(p->ctx, second ? &m->blocks[block].norm2 : &m->blocks[block].norm1,
                               rows, second ? b->mlp_branch : b->attn_branch, at, NULL,
                               p->dbranch2);
    return p->dbranch2;
}

/* ---- the MLP ------------------------------------------------------------------------------------
 */

/* First and one past the last unit with a seed that is not zero. */
static void seeded_units(const kh_pass *p, const float *seeds, size_t rows, size_t *first,
                         size_t *end) {
    const size_t neurons = p->model->info.neurons;
    *first = neurons;
    *end = 0;
    for (size_t r = 0; r < rows; r++) {
        const float *row = seeds + r * neurons;
        for (size_t j = 0; j < *first; j++)
            if (row[j] != 0.0f) {
                *first = j;
                break;
            }
        for (size_t j = neurons; j > *end; j--)
            if (row[j - 1] != 0.0f) {
                *end = j;
                break;
            }
    }
}

static const float *only_hidden_seed(const kh_pass *p, size_t block, kh_stage *stage) {
    for (size_t i = 0; i < p->seed_count; i++) {
        const kh_seed_plan *s = &p->seeds[i];
        if (s->block != block) continue;
        if (s->stage != KH_STAGE_PRE && s->stage != KH_STAGE_PRE_LINEAR &&
            s->stage != KH_STAGE_POST)
            continue;
        *stage = s->stage;
        return s->values;
    }
    return NULL;
}

/* fc1's outputs for units first..first+count-1 again, [rows, count] or gates and values side by
 * side. */
static void recompute_pre(kh_pass *p, size_t block, size_t image, size_t first, size_t count,
                          float *pre) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const size_t dim = m->info.dim, halves = m->info.is_gated ? 2 : 1;
    const size_t rows = kh_pass_rows(p, block);
    for (size_t half = 0; half < halves; half++)
        p->ops->linear(p->ctx, &(kh_linear_args){.rows = rows,
                                                 .x = p->blocks[block].x_mid + image * rows * dim,
                                                 .x_stride = dim,
                                                 .norm = m->info.is_post_norm ? NULL : &w->norm2,
                                                 .w = w->fc1,
                                                 .first_out = half * m->info.neurons + first,
                                                 .outs = count,
                                                 .y = pre + half * count,
                                                 .y_stride = halves * count});
}

/* Seeds of one image on units first..end-1, everything else zero; d_in [rows, dim] of that image.
 */
static void sparse_image(kh_pass *p, size_t block, kh_stage stage, size_t image, const float *seeds,
                         size_t first, size_t count, float *d_in) {
    const kh_model *m = p->model;
    const size_t neurons = m->info.neurons, rows = kh_pass_rows(p, block);
    const size_t half = stage == KH_STAGE_PRE_LINEAR ? neurons : 0;
    kh_linear_backward_args args = {.rows = rows,
                                    .dy = seeds + first,
                                    .dy_stride = neurons,
                                    .w = m->blocks[block].fc1,
                                    .first_out = half + first,
                                    .outs = count,
                                    .dx = d_in};
    if (stage == KH_STAGE_POST) {
        recompute_pre(p, block, image, first, count, p->dpre);
        kh_rows_copy(p->ctx, rows, count, seeds + first, neurons, p->dpost, count);
        args.dy = p->dwide;
        args.dy_stride = m->info.is_gated ? 2 * count : count;
        if (m->info.is_gated) {
            p->ops->gate_backward(p->ctx, m->act, rows, count, p->dpre, p->dpost, p->dwide);
            p->ops->linear_backward(p->ctx, &args);
            args.dy = p->dwide + count;
            args.first_out = neurons + first;
            args.add = d_in;
        } else {
            p->ops->activate_backward(p->ctx, m->act, rows * count, p->dpre, p->dpost, p->dwide);
        }
    }
    p->ops->linear_backward(p->ctx, &args);
}

/* The one seed of this block lies on hidden units and is mostly zero: only its columns count,
 * chosen image by image so that an image's bits do not depend on its neighbours. Writes the
 * gradient at fc1's input; false when every seed is zero. */
static bool sparse_hidden(kh_pass *p, size_t block, float *d_in) {
    const kh_model *m = p->model;
    const size_t rows = kh_pass_rows(p, block), dim = m->info.dim, neurons = m->info.neurons;
    kh_stage stage = KH_STAGE_PRE;
    const float *seeds = only_hidden_seed(p, block, &stage);
    bool any = false;
    for (size_t image = 0; image < p->batch; image++) {
        const float *own = seeds + image * rows * neurons;
        float *to = d_in + image * rows * dim;
        size_t first, end;
        seeded_units(p, own, rows, &first, &end);
        if (first >= end) {
            kh_rows_zero(p->ctx, rows * dim, to);
            continue;
        }
        sparse_image(p, block, stage, image, own, first, end - first, to);
        any = true;
    }
    return any;
}

static void absorb_hidden(kh_pass *p, kh_stage stage, size_t block, float *base, size_t stride,
                          size_t zero_count, bool *live) {
    const kh_choice *rows = kh_pass_compact(p, block) ? &p->rows : NULL;
    kh_view view = kh_view_rows(p->model, base, p->model->info.neurons, rows);
    view.image_stride = kh_pass_rows(p, block) * stride;
    view.token_stride = stride;
    absorb(p, stage, block, &view, zero_count, live);
}

/* From the branch gradient (NULL: none) to dpre in p->dwide; false when nothing flows. */
static bool hidden_back(kh_pass *p, size_t block, size_t rows, const float *dbranch) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim, neurons = m->info.neurons, outs = kh_fc1_rows(m);
    const bool gated = m->info.is_gated;
    const bool apart = gated || has_own(p, block, KH_STAGE_POST);
    bool live = dbranch != NULL;
    if (live)
        p->ops->linear_backward(p->ctx,
                                &(kh_linear_backward_args){.rows = rows,
                                                           .dy = dbranch,
                                                           .dy_stride = dim,
                                                           .gamma = w->ls2,
                                                           .w = w->fc2,
                                                           .outs = dim,
                                                           .act = apart ? KH_ACT_NONE : m->act,
                                                           .pre = apart ? NULL : b->pre,
                                                           .dx = apart ? p->dpost : p->dwide});
    if (apart) {
        absorb_hidden(p, KH_STAGE_POST, block, p->dpost, neurons, rows * neurons, &live);
        if (live && gated)
            p->ops->gate_backward(p->ctx, m->act, rows, neurons, b->pre, p->dpost, p->dwide);
        else if (live)
            p->ops->activate_backward(p->ctx, m->act, rows * neurons, b->pre, p->dpost, p->dwide);
    }
    /* a seed that starts the flow clears both halves, from the first float of the rows on */
    if (!live && (has(b->seeds, KH_STAGE_PRE) || has(b->seeds, KH_STAGE_PRE_LINEAR))) {
        kh_rows_zero(p->ctx, rows * outs, p->dwide);
        live = true;
    }
    if (gated) absorb_hidden(p, KH_STAGE_PRE_LINEAR, block, p->dwide + neurons, outs, 0, &live);
    absorb_hidden(p, KH_STAGE_PRE, block, p->dwide, outs, 0, &live);
    return live;
}

/* Back through fc2 and fc1 in one operation, from the branch gradient to d_in. */
static void mlp_back_at_once(kh_pass *p, size_t block, size_t rows, const float *dbranch,
                             const float *add, float *d_in) {
    const kh_block *w = &p->model->blocks[block];
    p->ops->mlp_backward(p->ctx, &(kh_mlp_backward_args){.rows = rows,
                                                         .dy = dbranch,
                                                         .gamma = w->ls2,
                                                         .fc1 = w->fc1,
                                                         .fc2 = w->fc2,
                                                         .act = p->model->act,
                                                         .pre = p->blocks[block].pre,
                                                         .add = add,
                                                         .dx = d_in});
}

/* From the block's output to its middle: dx is updated in place. */
static void mlp_back(kh_pass *p, size_t block, float *dx, bool *live) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim, rows = p->batch * kh_pass_rows(p, block);
    const float *dbranch = branch_back(p, block, true, dx, *live);
    const bool sparse = !dbranch && kh_plan_hidden_is_sparse(p, block);
    bool flows;
    float *d_in = m->info.is_post_norm ? dx : p->dln;
    const float *add = m->info.is_post_norm && *live ? dx : NULL;
    if (sparse) {
        flows = sparse_hidden(p, block, d_in);
    } else if (kh_plan_hidden_is_passed(p, block)) {
        flows = dbranch != NULL;
        if (flows) mlp_back_at_once(p, block, rows, dbranch, add, d_in);
    } else {
        flows = hidden_back(p, block, rows, dbranch);
        if (flows)
            p->ops->linear_backward(p->ctx, &(kh_linear_backward_args){.rows = rows,
                                                                       .dy = p->dwide,
                                                                       .dy_stride = kh_fc1_rows(m),
                                                                       .w = w->fc1,
                                                                       .outs = kh_fc1_rows(m),
                                                                       .add = add,
                                                                       .dx = d_in});
    }
    if (m->info.is_post_norm) {
        if (flows) *live = true;
        return;
    }
    absorb_rows(p, KH_STAGE_LN2_NORM, block, p->dln, dim, &flows);
    if (!flows) return;
    p->ops->layernorm_backward(p->ctx, &w->norm2, rows, b->x_mid, p->dln, *live ? dx : NULL, dx);
    *live = true;
}

/* ---- attention
 * ----------------------------------------------------------------------------------- */

static float *edited_pattern(kh_pass *p, size_t block, const kh_attention_backward_args *args) {
    const kh_model_info *i = &p->model->info;
    const size_t count = i->heads * i->tokens * i->tokens;
    const kh_attention_args again = {.images = args->images,
                                     .tokens = args->tokens,
                                     .heads = args->heads,
                                     .head_dim = args->head_dim,
                                     .qkv = args->qkv,
                                     .scale = args->scale,
                                     .z = p->dln, /* not needed, but the operation writes it */
                                     .pattern = p->pattern_before};
    p->ops->attention(p->ctx, &again);
    kh_rows_copy(p->ctx, args->images, count, p->pattern_before, count, p->pattern, count);
    const kh_view view = {.base = p->pattern,
                          .image_stride = count,
                          .outer = i->heads,
                          .outer_stride = i->tokens * i->tokens,
                          .tokens = i->tokens,
                          .token_stride = i->tokens,
                          .middle = 1,
                          .units = i->tokens};
    kh_edits_apply(p, KH_STAGE_PATTERN, block, &view);
    kh_rows_mix_backward(p->ctx, args, p->pattern, p->da);
    if (p->see_attention) p->see_attention(p->see_user, block, p->pattern, p->da);
    kh_view gradient = view;
    gradient.base = p->da;
    kh_edits_back(p, KH_STAGE_PATTERN, block, &gradient);
    return p->da;
}

/* q_norm and k_norm act on every head apart; the operation wants dense rows. */
static void heads_norm_back(kh_pass *p, size_t block, float *dqkv) {
    const kh_model_info *i = &p->model->info;
    const kh_block *w = &p->model->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const size_t rows = p->batch * i->tokens, dim = i->dim;
    for (size_t part = 0; part < 2; part++) {
        const kh_norm *norm = part ? &w->k_norm : &w->q_norm;
        if (!norm->w) continue;
        float *x = p->dqk, *dy = p->dqk + rows * dim;
        kh_rows_copy(p->ctx, rows, dim, b->qk_raw + part * dim, 2 * dim, x, dim);
        kh_rows_copy(p->ctx, rows, dim, dqkv + part * dim, 3 * dim, dy, dim);
        p->ops->layernorm_backward(p->ctx, norm, rows * i->heads, x, dy, NULL, p->dln);
        kh_rows_copy(p->ctx, rows, dim, p->dln, dim, dqkv + part * dim, 3 * dim);
    }
}

static void attention_core_back(kh_pass *p, size_t block, float *dqkv) {
    const kh_model_info *i = &p->model->info;
    const bool one = kh_pass_one_query(p, block);
    const kh_attention_backward_args args = {.images = p->batch,
                                             .tokens = i->tokens,
                                             .heads = i->heads,
                                             .head_dim = i->head_dim,
                                             .qkv = p->blocks[block].qkv,
                                             .scale = (float)(1.0 / sqrt((double)i->head_dim)),
                                             .dz = p->dz,
                                             .dqkv = dqkv,
                                             .pattern = p->see_attention ? p->pattern : NULL,
                                             .dpattern = p->see_attention ? p->da : NULL,
                                             .first_query = one ? p->rows.list[0] : 0,
                                             .queries = one ? 1 : 0};
    if (has(p->blocks[block].edits, KH_STAGE_PATTERN)) {
        kh_rows_scores_backward(p->ctx, &args, p->pattern_before, edited_pattern(p, block, &args));
        return;
    }
    p->ops->attention_backward(p->ctx, &args);
    if (p->see_attention) p->see_attention(p->see_user, block, p->pattern, p->da);
}

/* Back through qkv where only one token's query was answered: its row takes all three parts, in the
 * order every row takes them; for the other rows the q part would add zeros. */
static void one_query_back(kh_pass *p, size_t block, const float *dqkv, const float *add,
                           float *d_in) {
    const kh_model_info *i = &p->model->info;
    const size_t dim = i->dim, step = i->tokens * dim, token = p->rows.list[0];
    kh_linear_backward_args args = {.rows = p->batch,
                                    .dy = dqkv + token * 3 * dim,
                                    .dy_stride = 3 * step,
                                    .w = p->model->blocks[block].qkv,
                                    .outs = 3 * dim,
                                    .dx = p->dzc};
    if (add) {
        kh_rows_copy(p->ctx, p->batch, dim, add + token * dim, step, p->dzc, dim);
        args.add = p->dzc;
    }
    p->ops->linear_backward(p->ctx, &args);
    args.rows = p->batch * i->tokens;
    args.dy = dqkv + dim;
    args.dy_stride = 3 * dim;
    args.first_out = dim;
    args.outs = 2 * dim;
    args.add = add;
    args.dx = d_in;
    p->ops->linear_backward(p->ctx, &args);
    kh_rows_copy(p->ctx, p->batch, dim, p->dzc, dim, d_in + token * dim, step);
}

/* From the middle of the block (gradient in dx, or dxc when the block kept chosen tokens) to its
 * input, in p->dx. */
static void attention_back(kh_pass *p, size_t block, float *dx, bool *live) {
    const kh_model *m = p->model;
    const kh_block *w = &m->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim, tokens = m->info.tokens, rows = p->batch * tokens;
    const bool compact = kh_pass_compact(p, block);
    const float *dbranch = branch_back(p, block, false, dx, *live);
    bool flows = dbranch != NULL;
    if (flows)
        p->ops->linear_backward(
            p->ctx, &(kh_linear_backward_args){.rows = p->batch * kh_pass_rows(p, block),
                                               .dy = dbranch,
                                               .dy_stride = dim,
                                               .gamma = w->ls1,
                                               .w = w->proj,
                                               .outs = dim,
                                               .dx = compact ? p->dzc : p->dz});
    if (compact && flows)
        kh_rows_scatter(p->ctx, p->batch, tokens, dim, p->rows.count, p->rows.list, p->dzc, p->dz);
    if (compact && *live)
        kh_rows_scatter(p->ctx, p->batch, tokens, dim, p->rows.count, p->rows.list, dx, p->dx);
    dx = p->dx;
    kh_view z = kh_view_rows(m, p->dz, dim, NULL);
    z.middle = m->info.heads;
    z.middle_stride = z.units = m->info.head_dim;
    absorb(p, KH_STAGE_Z, block, &z, rows * dim, &flows);

    float *dqkv = p->dwide;
    if (flows)
        attention_core_back(p, block, dqkv);
    else if (has(b->seeds, KH_STAGE_Q) || has(b->seeds, KH_STAGE_K) || has(b->seeds, KH_STAGE_V)) {
        kh_rows_zero(p->ctx, rows * 3 * dim, dqkv);
        flows = true;
    }
    for (size_t part = 0; flows && part < 3; part++) {
        kh_view view = kh_view_rows(m, dqkv + part * dim, dim, NULL);
        view.image_stride = tokens * 3 * dim;
        view.token_stride = 3 * dim;
        view.middle = m->info.heads;
        view.middle_stride = view.units = m->info.head_dim;
        absorb(p, (kh_stage)(KH_STAGE_Q + part), block, &view, 0, &flows);
    }
    if (flows && m->info.has_qk_norm) heads_norm_back(p, block, dqkv);
    const bool post = m->info.is_post_norm;
    const float *add = post && *live ? dx : NULL;
    if (flows && kh_pass_one_query(p, block))
        one_query_back(p, block, dqkv, add, post ? dx : p->dln);
    else if (flows)
        p->ops->linear_backward(p->ctx, &(kh_linear_backward_args){.rows = rows,
                                                                   .dy = dqkv,
                                                                   .dy_stride = 3 * dim,
                                                                   .w = w->qkv,
                                                                   .outs = 3 * dim,
                                                                   .add = add,
                                                                   .dx = post ? dx : p->dln});
    if (post) {
        *live = *live || flows;
        return;
    }
    absorb_rows(p, KH_STAGE_LN1_NORM, block, p->dln, dim, &flows);
    if (!flows) return;
    p->ops->layernorm_backward(p->ctx, &w->norm1, rows, b->x_pre, p->dln, *live ? dx : NULL, dx);
    *live = true;
}

void kh_backward_block(kh_pass *p, size_t block, bool *live) {
    const size_t dim = p->model->info.dim;
    float *dx = kh_pass_compact(p, block) ? p->dxc : p->dx;
    absorb_rows(p, KH_STAGE_RESID_POST, block, dx, dim, live);
    mlp_back(p, block, dx, live);
    absorb_rows(p, KH_STAGE_RESID_MID, block, dx, dim, live);
    attention_back(p, block, dx, live);
    absorb_rows(p, KH_STAGE_RESID_PRE, block, p->dx, dim, live);
}

/* ---- down to the pixels
 * --------------------------------------------------------------------------- */

void kh_backward_embed(kh_pass *p, bool live, float *pixels) {
    const kh_model *m = p->model;
    const kh_model_info *i = &m->info;
    const size_t dim = i->dim, rows = p->batch * i->tokens, prefix = i->prefix_tokens;
    const size_t count = i->tokens - prefix, ins = 3 * i->patch * i->patch;
    const kh_view view = kh_view_rows(m, p->dx, dim, NULL);
    if (m->norm_pre.w) {
        kh_absorb(p, KH_STAGE_LN_PRE_NORM, SIZE_MAX, p->embed_seeds, p->embed_edits, &view,
                  rows * dim, &live);
        if (live)
            p->ops->layernorm_backward(p->ctx, &m->norm_pre, rows, p->full_embed, p->dx, NULL,
                                       p->dln);
        if (live) kh_rows_copy(p->ctx, rows, dim, p->dln, dim, p->dx, dim);
    }
    kh_absorb(p, KH_STAGE_FULL_EMBED, SIZE_MAX, p->embed_seeds, p->embed_edits, &view, rows * dim,
              &live);
    if (!live) kh_rows_zero(p->ctx, rows * dim, p->dx);
    live = true;
    kh_view patches = view;
    patches.base = p->dx + prefix * dim;
    patches.tokens = count;
    kh_absorb(p, KH_STAGE_EMBED, SIZE_MAX, p->embed_seeds, p->embed_edits, &patches, 0, &live);
    for (size_t b = 0; b < p->batch; b++)
        p->ops->linear_backward(
            p->ctx, &(kh_linear_backward_args){.rows = count,
                                               .dy = p->dx + (b * i->tokens + prefix) * dim,
                                               .dy_stride = dim,
                                               .w = m->patch_embed,
                                               .outs = dim,
                                               .dx = p->dwide + b * count * ins});
    p->ops->unpatchify(p->ctx, p->batch, i->image_height, i->image_width, i->patch, p->dwide,
                       pixels);
}
