/* The memory of a pass: buffers all blocks share, and what each block keeps for the way back. */
#include "vit/plan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

/* rows * width floats of the pass's own; *to stays NULL for nothing. */
static kh_status take(kh_pass *p, size_t rows, size_t width, float **to, kh_error *err) {
    size_t count;
    if (!kh_mul(rows, width, &count) || count > SIZE_MAX / sizeof(float) / 2)
        return kh_fail(err, KH_E_MEMORY, "a pass of this batch needs more memory than there is");
    if (count == 0) return KH_OK;
    if (p->memory_count == p->memory_room) {
        const size_t room = p->memory_room ? 2 * p->memory_room : 64;
        float **more = kh_realloc(p->memory, room, sizeof *more);
        if (!more) return kh_fail(err, KH_E_MEMORY, "out of memory for a pass");
        p->memory = more;
        p->memory_room = room;
    }
    *to = p->ops->alloc(p->ctx, count);
    if (!*to)
        return kh_fail(
            err, KH_E_MEMORY,
            "out of memory: %.1f MB of activations on top of %.1f MB; try a smaller batch",
            (double)count * 4e-6, (double)p->bytes * 1e-6);
    p->memory[p->memory_count++] = *to;
    p->bytes += count * sizeof(float);
    return KH_OK;
}

/* Tapped at this stage with no full tap to write into, or edited. */
static bool needs_room(const kh_pass *p, kh_stage stage) {
    for (size_t b = p->first_block; b < p->block_end; b++) {
        const kh_block_plan *plan = &p->blocks[b];
        if (!((plan->taps | plan->edits) & KH_BIT(stage))) continue;
        if (!(plan->taps & KH_BIT(stage)) || !kh_plan_direct(p, stage, b)) return true;
    }
    return false;
}

static bool any_bits(const kh_pass *p, kh_stage stage, bool taps, bool edits, bool seeds) {
    for (size_t b = p->first_block; b < p->block_end; b++) {
        const kh_block_plan *plan = &p->blocks[b];
        const uint32_t bits =
            (taps ? plan->taps : 0) | (edits ? plan->edits : 0) | (seeds ? plan->seeds : 0);
        if (bits & KH_BIT(stage)) return true;
    }
    return false;
}

static bool any_seeds_or_edits(const kh_pass *p, kh_stage stage) {
    return any_bits(p, stage, false, true, true);
}

static kh_status take_taps(kh_pass *p, kh_error *err) {
    for (size_t i = 0; i < p->tap_count; i++)
        KH_TRY(take(p, p->max_batch, p->taps[i].count, &p->taps[i].data, err));
    return KH_OK;
}

/* A full tap behind a block is where its residual stream lies from then on: the next block reads it
 * there and writes elsewhere. Not where that block's input is edited, since edits are done in
 * place. */
static float *post_in_tap(const kh_pass *p, size_t block) {
    const bool is_last = block + 1 == p->block_end;
    if (!is_last &&
        (p->blocks[block + 1].saves || p->blocks[block + 1].edits & KH_BIT(KH_STAGE_RESID_PRE)))
        return NULL;
    return kh_plan_direct(p, KH_STAGE_RESID_POST, block);
}

/* The residual stream and what attention needs; per block when gradients follow. */
static kh_status take_stream(kh_pass *p, kh_error *err) {
    const kh_model *m = p->model;
    const kh_model_info *i = &m->info;
    const size_t dim = i->dim, rows = p->max_batch * i->tokens;
    const size_t patches = i->tokens - i->prefix_tokens, ins = 3 * i->patch * i->patch;
    const bool compact = p->rows.list != NULL;
    const size_t last = p->block_end - 1;
    size_t wide = 0;
    if (p->runs_embed) wide = p->max_batch * patches * ins;
    bool attends = false;
    for (size_t b = p->first_block; b < p->block_end; b++) {
        if (!kh_pass_goes_past(p, b, KH_STAGE_RESID_PRE)) continue;
        if (!p->blocks[b].saves && 3 * rows * dim > wide) wide = 3 * rows * dim;
        attends = true;
    }
    KH_TRY(take(p, 1, wide, &p->wide, err));
    KH_TRY(take(p, rows, dim, &p->x, err));
    if (attends || m->norm_pre.w) KH_TRY(take(p, rows, dim, &p->z, err));
    p->full_embed = p->z;
    if (m->norm_pre.w && p->want_gradient) KH_TRY(take(p, rows, dim, &p->full_embed, err));
    if ((p->embed_taps | p->embed_edits) & KH_BIT(KH_STAGE_EMBED))
        KH_TRY(take(p, p->max_batch * patches, dim, &p->embed, err));
    if (compact) {
        KH_TRY(take(p, p->max_batch * p->rows.count, dim, &p->xc, err));
        KH_TRY(take(p, p->max_batch * p->rows.count, dim, &p->zc, err));
    }
    for (size_t b = p->first_block; b < p->block_end; b++) {
        kh_block_plan *plan = &p->blocks[b];
        const size_t own = p->max_batch * kh_pass_rows(p, b);
        plan->x_pre = plan->x_mid = p->x;
        plan->qkv = p->wide;
        if (compact && b == last) plan->x_mid = p->xc;
        float *mid = kh_plan_direct(p, KH_STAGE_RESID_MID, b);
        if (mid && !plan->saves) plan->x_mid = mid;
        if (!plan->saves) continue;
        KH_TRY(take(p, rows, dim, &plan->x_pre, err));
        KH_TRY(take(p, rows, 3 * dim, &plan->qkv, err));
        KH_TRY(take(p, own, dim, &plan->x_mid, err));
        if (i->has_qk_norm) KH_TRY(take(p, rows, 2 * dim, &plan->qk_raw, err));
        if (i->is_post_norm) {
            KH_TRY(take(p, own, dim, &plan->attn_branch, err));
            KH_TRY(take(p, own, dim, &plan->mlp_branch, err));
        }
        if (plan->saves_pre) KH_TRY(take(p, own, kh_fc1_rows(m), &plan->pre, err));
    }
    for (size_t b = p->first_block; b < p->block_end; b++) {
        kh_block_plan *plan = &p->blocks[b];
        float *tap = post_in_tap(p, b);
        plan->x_post = tap ? tap : b < last ? p->blocks[b + 1].x_pre : compact ? p->xc : p->x;
        if (b < last) p->blocks[b + 1].x_pre = plan->x_post;
    }
    return KH_OK;
}

/* Hidden units kept outside the MLP operation. */
static kh_status take_hidden(kh_pass *p, kh_error *err) {
    const kh_model *m = p->model;
    const size_t neurons = m->info.neurons;
    const uint32_t middle = KH_BIT(KH_STAGE_PRE) | KH_BIT(KH_STAGE_PRE_LINEAR);
    const uint32_t post_bit = KH_BIT(KH_STAGE_POST);
    size_t pre = 0, post = 0;
    for (size_t b = p->first_block; b < p->block_end; b++) {
        const kh_block_plan *plan = &p->blocks[b];
        if (!kh_pass_reaches(p, b, KH_STAGE_PRE)) continue;
        const bool whole = kh_pass_goes_past(p, b, KH_STAGE_POST);
        const bool steps = whole && (plan->edits & (middle | post_bit));
        const size_t rows = p->max_batch * kh_pass_rows(p, b);
        const size_t halves = m->info.is_gated ? 2 : 1;
        const size_t n = whole ? neurons : p->units.count;
        bool wants_pre = !plan->saves_pre && (steps || ((plan->taps | plan->edits) & middle));
        if (!whole && m->info.is_gated && !plan->saves_pre) wants_pre = true;
        bool wants_post = steps || (plan->taps & post_bit) || kh_pass_one_out(p, b);
        if (!whole && kh_pass_reaches(p, b, KH_STAGE_POST)) wants_post = true;
        if (!m->info.is_gated && kh_plan_direct(p, KH_STAGE_PRE, b)) wants_pre = false;
        if (kh_plan_direct(p, KH_STAGE_POST, b)) wants_post = false;
        if (wants_pre && rows * halves * n > pre) pre = rows * halves * n;
        if (wants_post && rows * n > post) post = rows * n;
    }
    KH_TRY(take(p, 1, pre, &p->pre, err));
    return take(p, 1, post, &p->post, err);
}

static kh_status take_scratch(kh_pass *p, kh_error *err) {
    const kh_model *m = p->model;
    const kh_model_info *i = &m->info;
    const size_t dim = i->dim, rows = p->max_batch * i->tokens;
    const size_t square = i->heads * i->tokens * i->tokens;
    const bool out_sites = any_bits(p, KH_STAGE_ATTN_OUT, true, true, true) ||
                           any_bits(p, KH_STAGE_MLP_OUT, true, true, true);
    const bool norm_sites = any_bits(p, KH_STAGE_LN1_NORM, true, true, true) ||
                            any_bits(p, KH_STAGE_LN2_NORM, true, true, true);
    const bool scales = any_bits(p, KH_STAGE_LN1_SCALE, true, false, false) ||
                        any_bits(p, KH_STAGE_LN2_SCALE, true, false, false) ||
                        (p->embed_taps & KH_BIT(KH_STAGE_LN_PRE_SCALE)) ||
                        (p->tail.taps & KH_BIT(KH_STAGE_FINAL_SCALE));
    const bool alone = p->units.list != NULL || i->is_gated;
    if (norm_sites || alone || (i->is_post_norm && out_sites))
        KH_TRY(take(p, rows, dim, &p->ln, err));
    if (out_sites || i->is_post_norm) KH_TRY(take(p, rows, dim, &p->branch, err));
    if (scales) KH_TRY(take(p, rows, 1, &p->scale, err));
    if (needs_room(p, KH_STAGE_SCORES)) KH_TRY(take(p, p->max_batch, square, &p->scores, err));
    const bool edited = any_bits(p, KH_STAGE_PATTERN, false, true, false);
    const bool seen = p->see_attention;
    if (needs_room(p, KH_STAGE_PATTERN) || edited || seen)
        KH_TRY(take(p, p->max_batch, square, &p->pattern, err));
    if (edited) KH_TRY(take(p, p->max_batch, square, &p->pattern_before, err));
    if ((edited && p->want_gradient) || seen) KH_TRY(take(p, p->max_batch, square, &p->da, err));
    if (needs_room(p, KH_STAGE_RESULT)) KH_TRY(take(p, rows, i->heads * dim, &p->result, err));
    return take_hidden(p, err);
}

static kh_status take_tail(kh_pass *p, kh_error *err) {
    const kh_model *m = p->model;
    kh_tail_plan *t = &p->tail;
    if (!t->runs) return KH_OK;
    const size_t dim = m->info.dim, batch = p->max_batch, feature = m->feature_dim;
    const size_t rows = batch * t->tokens.count, patches = m->info.tokens - m->info.prefix_tokens;
    const size_t features = m->info.pool == KH_POOL_DISTILL ? 2 * feature : feature;
    const bool map = m->info.pool == KH_POOL_MAP;
    const size_t last =
        p->block_end > p->first_block ? kh_pass_rows(p, p->block_end - 1) : m->info.tokens;
    if (!kh_plan_pools_first(m)) {
        if (t->tokens.count != last) KH_TRY(take(p, rows, dim, &t->gathered, err));
        KH_TRY(take(p, rows, dim, &t->norm, err));
    } else {
        KH_TRY(take(p, batch, dim, &t->mean, err));
    }
    KH_TRY(take(p, batch, features, &t->pre_head, err));
    if (map) {
        KH_TRY(take(p, batch * patches, 2 * dim, &t->kv, err));
        KH_TRY(take(p, batch, dim, &t->o, err));
        KH_TRY(take(p, batch, dim, &t->r, err));
        KH_TRY(take(p, batch, m->info.neurons, &t->map_pre, err));
    }
    if (m->head) KH_TRY(take(p, batch, m->info.classes, &t->logits, err));
    if (m->head_dist) KH_TRY(take(p, batch, m->info.classes, &t->logits2, err));
    if (!t->seeds) return KH_OK;
    KH_TRY(take(p, batch, features, &t->d_feature, err));
    KH_TRY(take(p, batch, dim, &t->d_mean, err));
    if (!kh_plan_pools_first(m)) KH_TRY(take(p, rows, dim, &t->d_norm, err));
    if (t->gathered) KH_TRY(take(p, rows, dim, &t->d_x, err));
    if (map) {
        KH_TRY(take(p, batch * patches, 2 * dim, &t->d_kv, err));
        KH_TRY(take(p, batch, m->info.neurons, &t->d_map, err));
    }
    if (m->head) KH_TRY(take(p, batch, m->info.classes, &t->d_logits, err));
    return KH_OK;
}

static kh_status take_backward(kh_pass *p, kh_error *err) {
    const kh_model *m = p->model;
    const kh_model_info *i = &m->info;
    if (!p->want_gradient) return KH_OK;
    const size_t dim = i->dim, rows = p->max_batch * i->tokens, outs = kh_fc1_rows(m);
    const size_t patches = i->tokens - i->prefix_tokens, ins = 3 * i->patch * i->patch;
    size_t wide = 3 * rows * dim;
    for (size_t b = p->first_block; b < p->block_end; b++)
        if (!kh_plan_hidden_is_passed(p, b) && rows * outs > wide) wide = rows * outs;
    if (p->max_batch * patches * ins > wide) wide = p->max_batch * patches * ins;
    KH_TRY(take(p, rows, dim, &p->dx, err));
    KH_TRY(take(p, rows, dim, &p->dz, err));
    KH_TRY(take(p, rows, dim, &p->dln, err));
    KH_TRY(take(p, 1, wide, &p->dwide, err));
    if (p->rows.list) {
        KH_TRY(take(p, p->max_batch * p->rows.count, dim, &p->dxc, err));
        KH_TRY(take(p, p->max_batch * p->rows.count, dim, &p->dzc, err));
    }
    if (i->is_gated || any_seeds_or_edits(p, KH_STAGE_POST))
        KH_TRY(take(p, rows, i->neurons, &p->dpost, err));
    if (any_bits(p, KH_STAGE_POST, false, false, true)) KH_TRY(take(p, rows, outs, &p->dpre, err));
    if (i->is_post_norm || any_seeds_or_edits(p, KH_STAGE_MLP_OUT) ||
        any_seeds_or_edits(p, KH_STAGE_ATTN_OUT))
        KH_TRY(take(p, rows, dim, &p->dbranch, err));
    if (i->is_post_norm) KH_TRY(take(p, rows, dim, &p->dbranch2, err));
    if (i->has_qk_norm) KH_TRY(take(p, rows, 2 * dim, &p->dqk, err));
    return KH_OK;
}

/* The columns of proj that belong to each head, without the bias. */
static kh_status pack_results(kh_pass *p, kh_error *err) {
    const kh_model_info *i = &p->model->info;
    const size_t dim = i->dim, width = i->head_dim;
    for (size_t b = p->first_block; b < p->block_end; b++) {
        kh_block_plan *plan = &p->blocks[b];
        if (!(plan->taps & KH_BIT(KH_STAGE_RESULT))) continue;
        plan->result = kh_calloc(i->heads, sizeof *plan->result);
        float *all = kh_alloc_floats(dim * dim), *one = kh_alloc_floats(dim * width);
        bool good = plan->result && all && one;
        if (good) p->ops->unpack(p->ctx, p->model->blocks[b].proj, 0, dim, all);
        for (size_t h = 0; good && h < i->heads; h++) {
            for (size_t o = 0; o < dim; o++)
                memcpy(one + o * width, all + o * dim + h * width, width * sizeof *one);
            plan->result[h] = p->ops->pack(p->ctx, one, NULL, dim, width, false);
            good = plan->result[h] != NULL;
            if (good) p->bytes += p->ops->weight_bytes(plan->result[h]);
        }
        kh_free(all);
        kh_free(one);
        if (!good) return kh_fail(err, KH_E_MEMORY, "out of memory for attn.hook_result");
    }
    return KH_OK;
}
kh_status kh_plan_memory(kh_pass *p, kh_error *err) {
    KH_TRY(take_taps(p, err));
    KH_TRY(take_stream(p, err));
    KH_TRY(take_scratch(p, err));
    KH_TRY(take_tail(p, err));
    KH_TRY(take_backward(p, err));
    return pack_results(p, err);
}
