/* What the two halves of a block share: sites, the norm in front, joining the residual stream. */
#include "vit/forward.h"

void kh_block_touch(kh_pass *p, kh_stage stage, size_t block, const kh_view *view) {
    kh_touch(p, stage, block, p->blocks[block].taps, p->blocks[block].edits, view);
}

void kh_block_touch_rows(kh_pass *p, kh_stage stage, size_t block, float *base, size_t width,
                         const kh_choice *choice) {
    const kh_view view = kh_view_rows(p->model, base, width, choice);
    kh_block_touch(p, stage, block, &view);
}

kh_normed kh_block_norm(kh_pass *p, size_t block, bool second, const float *x, size_t rows,
                        const kh_choice *choice, bool alone) {
    const kh_block *w = &p->model->blocks[block];
    const kh_block_plan *b = &p->blocks[block];
    const kh_norm *norm = second ? &w->norm2 : &w->norm1;
    const kh_stage scale_stage = second ? KH_STAGE_LN2_SCALE : KH_STAGE_LN1_SCALE;
    const kh_stage norm_stage = second ? KH_STAGE_LN2_NORM : KH_STAGE_LN1_NORM;
    const char *name = second ? "norm2" : "norm1";
    const size_t dim = norm->dim;
    kh_normed out = {x, norm, NULL};
    if (kh_has(b->taps, scale_stage)) {
        kh_step_layernorm(p, block, name, norm, rows, x, dim, NULL, NULL, 0, p->scale);
        kh_block_touch_rows(p, scale_stage, block, p->scale, 1, choice);
    }
    if (!kh_pass_reaches(p, block, norm_stage)) return out;
    float *direct = kh_plan_direct(p, norm_stage, block);
    float *to = direct ? direct : p->ln;
    if (kh_has(b->edits, norm_stage) || alone) {
        kh_step_layernorm(p, block, name, norm, rows, x, dim, NULL, to, dim, NULL);
        kh_block_touch_rows(p, norm_stage, block, to, dim, choice);
        return (kh_normed){to, NULL, NULL};
    }
    if (kh_has(b->taps, norm_stage)) out.norm_out = to;
    return out;
}

/* ---- joining the residual stream ------------------------------------------------------------- */

static kh_stage out_stage_of(bool second) {
    return second ? KH_STAGE_MLP_OUT : KH_STAGE_ATTN_OUT;
}

/* Whether a branch is computed apart from the residual stream. */
static bool branch_is_apart(const kh_pass *p, size_t block, kh_stage out_stage) {
    const kh_block_plan *b = &p->blocks[block];
    return p->model->info.is_post_norm || kh_has(b->taps | b->edits, out_stage) ||
           !kh_pass_goes_past(p, block, out_stage);
}

/* A branch somebody looks at joins the stream at once all the same when all of it goes into a tap,
 * or when every tap asks for the same token: then the product keeps these rows on its way. */
static bool keeps_branch(const kh_pass *p, size_t block, kh_stage out_stage,
                         const kh_choice *choice, kh_branch *kept, kh_view *view) {
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = p->model->info.dim;
    if (p->model->info.is_post_norm || kh_has(b->edits, out_stage) ||
        !kh_pass_goes_past(p, block, out_stage))
        return false;
    float *full = kh_plan_direct(p, out_stage, block);
    if (full) {
        *kept = (kh_branch){full, 0, 1};
        *view = kh_view_rows(p->model, full, dim, NULL);
        return true;
    }
    size_t token = SIZE_MAX;
    for (size_t i = 0; i < p->tap_count; i++) {
        const kh_tap_plan *t = &p->taps[i];
        if (t->stage != out_stage || t->block != block) continue;
        if (t->token_count != 1 || (token != SIZE_MAX && token != t->tokens[0])) return false;
        token = t->tokens[0];
    }
    *kept = (kh_branch){p->branch, choice ? choice->at[token] : token, kh_pass_rows(p, block)};
    *view = kh_view_rows(p->model, p->branch, dim, NULL);
    view->image_stride = dim;
    view->token_stride = 0;
    return true;
}

kh_join kh_join_make(const kh_pass *p, size_t block, bool second, const float *stream, float *y,
                     const kh_choice *choice) {
    const kh_block_plan *b = &p->blocks[block];
    const kh_stage out_stage = out_stage_of(second);
    float *own = second ? b->mlp_branch : b->attn_branch;
    kh_join join = {
        .second = second, .stream = stream, .y = y, .choice = choice, .residual = stream, .to = y};
    if (!branch_is_apart(p, block, out_stage) ||
        keeps_branch(p, block, out_stage, choice, &join.kept, &join.seen))
        return join;
    join.residual = NULL;
    join.to = own ? own : p->branch;
    return join;
}

/* In post-norm blocks the branch goes through a norm first. */
bool kh_join_finish(kh_pass *p, size_t block, const kh_join *join, size_t rows) {
    const kh_model *m = p->model;
    const kh_block_plan *b = &p->blocks[block];
    const size_t dim = m->info.dim;
    const bool second = join->second;
    const kh_stage out_stage = out_stage_of(second);
    float *branch = join->to;
    if (join->kept.to) kh_block_touch(p, out_stage, block, &join->seen);
    if (join->residual) return true;
    if (m->info.is_post_norm) {
        const kh_norm *norm = second ? &m->blocks[block].norm2 : &m->blocks[block].norm1;
        const kh_stage scale_stage = second ? KH_STAGE_LN2_SCALE : KH_STAGE_LN1_SCALE;
        const kh_stage norm_stage = second ? KH_STAGE_LN2_NORM : KH_STAGE_LN1_NORM;
        const char *name = second ? "norm2" : "norm1";
        if (kh_has(b->taps, scale_stage)) {
            kh_step_layernorm(p, block, name, norm, rows, branch, dim, NULL, NULL, 0, p->scale);
            kh_block_touch_rows(p, scale_stage, block, p->scale, 1, join->choice);
        }
        if (!kh_pass_reaches(p, block, norm_stage)) return false;
        if (!kh_has(b->taps | b->edits, norm_stage) && !kh_has(b->taps | b->edits, out_stage)) {
            kh_step_layernorm(p, block, name, norm, rows, branch, dim, join->stream, join->y, dim,
                              NULL);
            return kh_pass_goes_past(p, block, out_stage);
        }
        kh_step_layernorm(p, block, name, norm, rows, branch, dim, NULL, p->ln, dim, NULL);
        kh_block_touch_rows(p, norm_stage, block, p->ln, dim, join->choice);
        branch = p->ln;
    }
    kh_block_touch_rows(p, out_stage, block, branch, dim, join->choice);
    if (!kh_pass_goes_past(p, block, out_stage)) return false;
    kh_step_add(p, block, second ? "hook_resid_post" : "hook_resid_mid", rows * dim, join->stream,
                branch, join->y);
    return true;
}
