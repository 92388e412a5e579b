/* From pixels to the rows block 0 reads. Follows the plan; nothing is allocated. */
#include "vit/steps.h"
#include "vit/taps.h"

static void touch_embed(kh_pass *p, kh_stage stage, const kh_view *view) {
    kh_touch(p, stage, SIZE_MAX, p->embed_taps, p->embed_edits, view);
}

static bool embed_goes_past(const kh_pass *p, kh_stage stage) {
    return p->embed_stop > kh_stage_rank(p->model, stage);
}

static void copy_prefix(kh_pass *p, float *tokens) {
    const kh_model *m = p->model;
    const size_t dim = m->info.dim, prefix = m->info.prefix_tokens;
    if (prefix == 0 || !kh_step_other(p, SIZE_MAX, "prefix tokens", "copy", 0)) return;
    for (size_t i = 0; i < p->batch; i++) {
        float *to = tokens + i * m->info.tokens * dim;
        if (m->pos_rows == m->info.tokens)
            kh_rows_add(p->ctx, prefix * dim, m->prefix, m->pos, to);
        else
            kh_rows_copy(p->ctx, prefix, dim, m->prefix, dim, to, dim);
    }
}

/* tokens[image, prefix + t] = pos[t] + patches[image, t] W + b, one product per image, in place. */
static void embed_patches(kh_pass *p, const float *patches, float *tokens) {
    const kh_model *m = p->model;
    const size_t dim = m->info.dim, prefix = m->info.prefix_tokens;
    const size_t count = m->info.tokens - prefix, ins = 3 * m->info.patch * m->info.patch;
    const float *pos = m->pos + (m->pos_rows == m->info.tokens ? prefix * dim : 0);
    const bool separate = ((p->embed_taps | p->embed_edits) & KH_BIT(KH_STAGE_EMBED)) != 0;
    if (separate) {
        kh_step_linear(p, SIZE_MAX, "patch_embed", ins,
                       &(kh_linear_args){.rows = p->batch * count,
                                         .x = patches,
                                         .x_stride = ins,
                                         .w = m->patch_embed,
                                         .outs = dim,
                                         .y = p->embed,
                                         .y_stride = dim});
        kh_view view = kh_view_rows(m, p->embed, dim, NULL);
        view.tokens = count;
        view.image_stride = count * dim;
        touch_embed(p, KH_STAGE_EMBED, &view);
        if (!embed_goes_past(p, KH_STAGE_EMBED)) return;
    }
    for (size_t i = 0; i < p->batch; i++) {
        float *to = tokens + (i * m->info.tokens + prefix) * dim;
        if (separate) {
            kh_step_add(p, SIZE_MAX, "positions", count * dim, pos, p->embed + i * count * dim, to);
            continue;
        }
        kh_step_linear(p, SIZE_MAX, "patch_embed", ins,
                       &(kh_linear_args){.rows = count,
                                         .x = patches + i * count * ins,
                                         .x_stride = ins,
                                         .w = m->patch_embed,
                                         .outs = dim,
                                         .residual = pos,
                                         .y = to,
                                         .y_stride = dim});
    }
}

void kh_forward_embed(kh_pass *p, const float *images) {
    const kh_model *m = p->model;
    const size_t dim = m->info.dim, rows = p->batch * m->info.tokens;
    float *first = p->block_end > 0 ? p->blocks[0].x_pre : p->x;
    float *tokens = m->norm_pre.w ? p->full_embed : first;
    kh_step_patchify(p, images, p->wide);
    embed_patches(p, p->wide, tokens);
    if (!embed_goes_past(p, KH_STAGE_EMBED)) return;
    copy_prefix(p, tokens);
    const kh_view full = kh_view_rows(m, tokens, dim, NULL);
    touch_embed(p, KH_STAGE_FULL_EMBED, &full);
    if (!m->norm_pre.w || !embed_goes_past(p, KH_STAGE_FULL_EMBED)) return;
    const bool scale = (p->embed_taps & KH_BIT(KH_STAGE_LN_PRE_SCALE)) != 0;
    kh_step_layernorm(p, SIZE_MAX, "norm_pre", &m->norm_pre, rows, tokens, dim, NULL, first, dim,
                      scale ? p->scale : NULL);
    if (scale) {
        const kh_view view = kh_view_rows(m, p->scale, 1, NULL);
        touch_embed(p, KH_STAGE_LN_PRE_SCALE, &view);
    }
    const kh_view view = kh_view_rows(m, first, dim, NULL);
    touch_embed(p, KH_STAGE_LN_PRE_NORM, &view);
}
