/* What must be computed, and in which rows and columns. */
#include "vit/plan.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "vit/steps.h"
#include "vit/taps.h"

/* ---- choices
 * ------------------------------------------------------------------------------------- */

static void choice_clear(kh_choice *c) {
    kh_free(c->list);
    kh_free(c->at);
    *c = (kh_choice){0};
}

/* Only the marked ones of `total`; everything when more than half is marked or nothing is. */
static kh_status choice_make(const bool *marked, size_t total, kh_choice *c, kh_error *err) {
    size_t count = 0;
    for (size_t i = 0; i < total; i++)
        count += marked[i];
    *c = (kh_choice){.total = total, .count = total};
    if (count == 0 || 2 * count > total) return KH_OK;
    c->list = kh_calloc(count, sizeof *c->list);
    c->at = kh_calloc(total, sizeof *c->at);
    if (!c->list || !c->at) return kh_fail(err, KH_E_MEMORY, "out of memory for a pass");
    c->count = 0;
    for (size_t i = 0; i < total; i++) {
        c->at[i] = marked[i] ? c->count : SIZE_MAX;
        if (marked[i]) c->list[c->count++] = i;
    }
    return KH_OK;
}

static void mark_all(bool *marked, size_t total) {
    for (size_t i = 0; i < total; i++)
        marked[i] = true;
}

/* Tokens the pooling looks at. */
static void mark_pooled(const kh_model *m, bool *marked) {
    const kh_pool_kind pool = m->info.pool;
    const bool patches = pool != KH_POOL_TOKEN && pool != KH_POOL_DISTILL;
    if (pool == KH_POOL_TOKEN || pool == KH_POOL_DISTILL || pool == KH_POOL_CLS_AVG)
        marked[0] = true;
    if (pool == KH_POOL_DISTILL) marked[1] = true;
    for (size_t t = m->info.prefix_tokens; patches && t < m->info.tokens; t++)
        marked[t] = true;
}

static void mark_tap(const kh_tap_plan *t, size_t total, bool *marked) {
    if (!t->token_count) mark_all(marked, total);
    for (size_t i = 0; i < t->token_count; i++)
        marked[t->tokens[i]] = true;
}

bool kh_plan_pools_first(const kh_model *m) {
    return m->info.pool == KH_POOL_AVG_FC || m->info.pool == KH_POOL_RAW_AVG;
}

static bool is_hidden(kh_stage stage) {
    return stage >= KH_STAGE_PRE && stage <= KH_STAGE_POST;
}

static bool is_final_norm(kh_stage stage) {
    return stage == KH_STAGE_FINAL_SCALE || stage == KH_STAGE_FINAL_NORM;
}

static bool tail_pools(const kh_pass *p) {
    return p->tail.stop >= kh_stage_rank(p->model, KH_STAGE_PRE_HEAD) ||
           kh_plan_pools_first(p->model);
}

static kh_status choose_tail_tokens(kh_pass *p, bool *marked, kh_error *err) {
    const kh_model *m = p->model;
    memset(marked, 0, m->info.tokens * sizeof *marked);
    if (!p->tail.runs || kh_plan_pools_first(m)) mark_all(marked, m->info.tokens);
    if (tail_pools(p)) mark_pooled(m, marked);
    for (size_t i = 0; i < p->tap_count; i++)
        if (is_final_norm(p->taps[i].stage)) mark_tap(&p->taps[i], m->info.tokens, marked);
    for (size_t i = 0; i < p->seed_count; i++)
        if (is_final_norm(p->seeds[i].stage)) mark_all(marked, m->info.tokens);
    return choice_make(marked, m->info.tokens, &p->tail.tokens, err);
}

/* When the last block keeps one token, its query is the only one that attention there must answer,
 * unless somebody looks at the others or q passes through a norm with the rest. */
static void choose_query(kh_pass *p) {
    const kh_block_plan *b = &p->blocks[p->block_end - 1];
    const uint32_t between = KH_BIT(KH_STAGE_Q) | KH_BIT(KH_STAGE_SCORES) |
                             KH_BIT(KH_STAGE_PATTERN) | KH_BIT(KH_STAGE_Z) |
                             KH_BIT(KH_STAGE_RESULT);
    p->has_one_query = p->rows.list && p->rows.count == 1 && !p->model->info.has_qk_norm &&
                       !p->see_attention && !((b->taps | b->edits | b->seeds) & between);
}

/* Behind attention of the last block. `marked` holds the tail's tokens when it comes in. */
static kh_status choose_last_rows(kh_pass *p, const kh_pass_spec *spec, bool *marked,
                                  kh_error *err) {
    const kh_model *m = p->model;
    const size_t tokens = m->info.tokens, last = p->block_end - 1;
    const size_t attention = kh_stage_position(m, KH_STAGE_RESULT, last);
    if (!p->tail.runs)
        memset(marked, 0, tokens * sizeof *marked);
    else if (!p->tail.tokens.list)
        mark_all(marked, tokens);
    for (size_t i = 0; i < p->tap_count; i++) {
        const kh_tap_plan *t = &p->taps[i];
        if (kh_stage_in_block(t->stage) && t->block == last &&
            kh_stage_position(m, t->stage, last) > attention)
            mark_tap(t, tokens, marked);
    }
    for (size_t i = 0; i < p->seed_count; i++) {
        const kh_seed_plan *s = &p->seeds[i];
        if (!kh_stage_in_block(s->stage) || s->block != last ||
            kh_stage_position(m, s->stage, last) <= attention)
            continue;
        /* seeds of hidden units are read in place, row by row, so all rows are there */
        if (!spec->seed_token_count || is_hidden(s->stage)) mark_all(marked, tokens);
        for (size_t k = 0; k < spec->seed_token_count; k++)
            marked[spec->seed_tokens[k]] = true;
    }
    KH_TRY(choice_make(marked, tokens, &p->rows, err));
    choose_query(p);
    return KH_OK;
}

/* Hidden units of all tokens are tapped in the last block, but only one token goes on from there.
 */
static void choose_out_token(kh_pass *p) {
    const kh_model *m = p->model;
    const size_t last = p->block_end - 1;
    const kh_block_plan *b = &p->blocks[last];
    const uint32_t hidden = KH_BIT(KH_STAGE_PRE) | KH_BIT(KH_STAGE_POST);
    const uint32_t behind = KH_BIT(KH_STAGE_MLP_OUT) | KH_BIT(KH_STAGE_RESID_POST);
    if (!p->tail.runs || !p->tail.tokens.list || p->tail.tokens.count != 1 || p->rows.list ||
        p->want_gradient || m->info.is_gated || m->info.is_post_norm || !(b->taps & hidden) ||
        b->edits & (hidden | behind))
        return;
    const size_t token = p->tail.tokens.list[0];
    for (size_t i = 0; i < p->tap_count; i++) {
        const kh_tap_plan *t = &p->taps[i];
        if (t->block == last && behind & KH_BIT(t->stage) && kh_stage_in_block(t->stage) &&
            (t->token_count != 1 || t->tokens[0] != token))
            return;
    }
    p->out_token = token;
}

/* Key neurons, when the pass ends among them. Gaps below a vector's width are computed along. */
static kh_status choose_units(kh_pass *p, kh_error *err) {
    enum { GAP = 16 };
    const kh_model *m = p->model;
    const size_t neurons = m->info.neurons, last = p->block_end - 1;
    const kh_block_plan *b = &p->blocks[last];
    p->units = (kh_choice){.total = neurons, .count = neurons};
    const size_t stop = b->stop;
    if (p->tail.runs || b->saves_pre || stop > kh_stage_rank(m, KH_STAGE_POST) ||
        stop < kh_stage_rank(m, KH_STAGE_PRE))
        return KH_OK;
    bool *marked = kh_calloc(neurons, sizeof *marked);
    if (!marked) return kh_fail(err, KH_E_MEMORY, "out of memory for a pass");
    for (size_t i = 0; i < p->tap_count; i++) {
        const kh_tap_plan *t = &p->taps[i];
        if (t->block != last || t->stage < KH_STAGE_PRE || t->stage > KH_STAGE_POST) continue;
        if (!t->unit_count) mark_all(marked, neurons);
        for (size_t k = 0; k < t->unit_count; k++)
            marked[t->units[k]] = true;
    }
    size_t before = SIZE_MAX;
    for (size_t i = 0; i < neurons; i++) {
        if (!marked[i]) continue;
        if (before != SIZE_MAX && i - before <= GAP)
            for (size_t j = before + 1; j < i; j++)
                marked[j] = true;
        before = i;
    }
    const kh_status status = choice_make(marked, neurons, &p->units, err);
    kh_free(marked);
    return status;
}

/* When the last block kept chosen tokens, the tail's tokens are at other places. */
static kh_status place_tail_rows(kh_pass *p, kh_error *err) {
    kh_tail_plan *t = &p->tail;
    if (!t->runs || !p->rows.list || !t->tokens.list) return KH_OK;
    t->gather_list = kh_calloc(t->tokens.count, sizeof *t->gather_list);
    if (!t->gather_list) return kh_fail(err, KH_E_MEMORY, "out of memory for a pass");
    for (size_t i = 0; i < t->tokens.count; i++)
        t->gather_list[i] = p->rows.at[t->tokens.list[i]];
    return KH_OK;
}

/* ---- how far
 * ------------------------------------------------------------------------------------- */

static kh_status plan_seeds(kh_pass *p, const kh_pass_spec *spec, kh_error *err) {
    static const char *const logits[] = {"logits"};
    if (!spec->want_gradient) {
        if (spec->seed_count)
            return kh_fail(err, KH_E_ARG, "seed sites are given but want_gradient is off");
        return KH_OK;
    }
    const char *const *names = spec->seed_count ? spec->seed_sites : logits;
    const size_t count = spec->seed_count ? spec->seed_count : 1;
    if (!names) return kh_fail(err, KH_E_ARG, "%zu seed sites announced, none given", count);
    p->seeds = kh_calloc(count, sizeof *p->seeds);
    if (!p->seeds) return kh_fail(err, KH_E_MEMORY, "out of memory for %zu seeds", count);
    p->seed_count = count;
    for (size_t i = 0; i < spec->seed_token_count; i++)
        if (!spec->seed_tokens || spec->seed_tokens[i] >= p->model->info.tokens)
            return kh_fail(err, KH_E_ARG, "seed token %zu of %zu does not exist, there are %zu", i,
                           spec->seed_token_count, p->model->info.tokens);
    for (size_t i = 0; i < count; i++) {
        kh_seed_plan *s = &p->seeds[i];
        KH_TRY(kh_site_resolve(p->model, names[i], &s->stage, &s->block, err));
        s->site = kh_site_describe(p->model, s->stage, s->block);
        switch (s->stage) {
        case KH_STAGE_LN_PRE_SCALE:
        case KH_STAGE_LN1_SCALE:
        case KH_STAGE_LN2_SCALE:
        case KH_STAGE_FINAL_SCALE:
        case KH_STAGE_SCORES:
        case KH_STAGE_PATTERN:
        case KH_STAGE_RESULT:
            return kh_fail(err, KH_E_UNSUPPORTED, "gradients cannot start at %s", s->site.name);
        default:
            break;
        }
    }
    return KH_OK;
}

bool kh_plan_hidden_is_sparse(const kh_pass *p, size_t block) {
    const uint32_t edits = KH_BIT(KH_STAGE_LN2_NORM) | KH_BIT(KH_STAGE_PRE) |
                           KH_BIT(KH_STAGE_PRE_LINEAR) | KH_BIT(KH_STAGE_POST);
    size_t seeds = 0;
    for (size_t i = 0; i < p->seed_count; i++)
        seeds += p->seeds[i].block == block && is_hidden(p->seeds[i].stage);
    const size_t above = kh_stage_position(p->model, KH_STAGE_POST, block);
    return seeds == 1 && p->top <= above && !(p->blocks[block].edits & edits);
}

bool kh_plan_hidden_is_passed(const kh_pass *p, size_t block) {
    const uint32_t hidden =
        KH_BIT(KH_STAGE_PRE) | KH_BIT(KH_STAGE_PRE_LINEAR) | KH_BIT(KH_STAGE_POST);
    return !p->model->info.is_gated &&
           !((p->blocks[block].seeds | p->blocks[block].edits) & hidden);
}

/* The last stage whose value the backward pass needs for a seed. */
static size_t needed_for(const kh_pass *p, const kh_seed_plan *s) {
    const kh_model *m = p->model;
    const bool post = m->info.is_post_norm;
    const kh_stage all_pre = m->info.is_gated ? KH_STAGE_PRE_LINEAR : KH_STAGE_PRE;
    switch (s->stage) {
    case KH_STAGE_LN1_NORM:
    case KH_STAGE_ATTN_OUT:
    case KH_STAGE_RESID_MID:
    case KH_STAGE_Z:
        if (post && s->stage != KH_STAGE_Z) break;
        return kh_stage_position(m, s->stage == KH_STAGE_LN1_NORM ? KH_STAGE_RESID_PRE : KH_STAGE_V,
                                 s->block);
    case KH_STAGE_Q:
    case KH_STAGE_K:
    case KH_STAGE_V:
        return kh_stage_position(m, m->info.has_qk_norm ? KH_STAGE_V : KH_STAGE_RESID_PRE,
                                 s->block);
    case KH_STAGE_PRE:
    case KH_STAGE_PRE_LINEAR:
        return kh_stage_position(m, KH_STAGE_RESID_MID, s->block);
    case KH_STAGE_POST:
        return kh_stage_position(
            m, kh_plan_hidden_is_sparse(p, s->block) ? KH_STAGE_RESID_MID : all_pre, s->block);
    case KH_STAGE_LN2_NORM:
        if (post) break;
        return kh_stage_position(m, KH_STAGE_RESID_MID, s->block);
    case KH_STAGE_MLP_OUT:
    case KH_STAGE_RESID_POST:
        if (post) break;
        return kh_stage_position(m, all_pre, s->block);
    default:
        break;
    }
    return kh_stage_position(m, s->stage, s->block);
}

static void mark_bits(kh_pass *p, kh_stage stage, size_t block, size_t which) {
    uint32_t *embed[] = {&p->embed_taps, &p->embed_edits, &p->embed_seeds};
    uint32_t *tail[] = {&p->tail.taps, &p->tail.edits, &p->tail.seeds};
    if (kh_stage_in_block(stage)) {
        kh_block_plan *b = &p->blocks[block];
        uint32_t *bits[] = {&b->taps, &b->edits, &b->seeds};
        *bits[which] |= KH_BIT(stage);
    } else if (kh_stage_in_tail(stage)) {
        *tail[which] |= KH_BIT(stage);
    } else {
        *embed[which] |= KH_BIT(stage);
    }
}

static void mark_sites(kh_pass *p) {
    for (size_t i = 0; i < p->tap_count; i++)
        mark_bits(p, p->taps[i].stage, p->taps[i].block, 0);
    for (size_t i = 0; i < p->edit_count; i++)
        mark_bits(p, p->edits[i].stage, p->edits[i].block, 1);
    for (size_t i = 0; i < p->seed_count; i++)
        mark_bits(p, p->seeds[i].stage, p->seeds[i].block, 2);
}

/* A site the pass never computes because it starts behind it. */
static kh_status check_start(const kh_pass *p, const kh_site *site, kh_stage stage, size_t block,
                             kh_error *err) {
    if (p->runs_embed) return KH_OK;
    const size_t start = KH_STAGE_COUNT * (p->first_block + 1);
    if (kh_stage_position(p->model, stage, block) >= start) return KH_OK;
    return kh_fail(err, KH_E_ARG, "%s lies before block %zu, where this pass starts", site->name,
                   p->first_block);
}

static kh_status find_end(kh_pass *p, kh_error *err) {
    const kh_model *m = p->model;
    size_t end = 0;
    bool any = false;
    if (p->want_logits) {
        if (!m->head)
            return kh_fail(err, KH_E_UNSUPPORTED,
                           "this model has no classifier, so it has no logits; ask for "
                           "hook_pre_head");
        end = kh_stage_position(m, KH_STAGE_LOGITS, SIZE_MAX);
        any = true;
    }
    for (size_t i = 0; i < p->tap_count; i++) {
        const kh_tap_plan *t = &p->taps[i];
        KH_TRY(check_start(p, &t->site, t->stage, t->block, err));
        const size_t at = kh_stage_position(m, t->stage, t->block);
        if (at > end) end = at;
        any = true;
    }
    for (size_t i = 0; i < p->edit_count; i++)
        KH_TRY(check_start(p, &p->edits[i].site, p->edits[i].stage, p->edits[i].block, err));
    for (size_t i = 0; i < p->seed_count; i++) {
        const size_t seed = kh_stage_position(m, p->seeds[i].stage, p->seeds[i].block);
        if (seed > p->top) p->top = seed;
    }
    for (size_t i = 0; i < p->seed_count; i++) {
        const size_t at = needed_for(p, &p->seeds[i]);
        if (at > end) end = at;
        any = true;
    }
    if (!any) return kh_fail(err, KH_E_ARG, "a pass needs a tap, logits or a gradient to compute");

    const size_t part = end / KH_STAGE_COUNT, rank = end % KH_STAGE_COUNT;
    const size_t whole = kh_stage_rank(m, KH_STAGE_RESID_POST);
    p->embed_stop = part == 0 ? rank : KH_STAGE_COUNT;
    p->tail.runs = part == m->info.blocks + 1;
    p->tail.stop = rank;
    p->block_end = p->tail.runs ? m->info.blocks : part;
    if (p->block_end < p->first_block) p->block_end = p->first_block;
    for (size_t b = p->first_block; b < p->block_end; b++)
        p->blocks[b].stop = whole;
    if (!p->tail.runs && part > 0) p->blocks[part - 1].stop = rank;
    return KH_OK;
}

/* ---- gradients
 * ----------------------------------------------------------------------------------- */

static kh_status plan_saves(kh_pass *p, kh_error *err) {
    const kh_model *m = p->model;
    if (!p->want_gradient) return KH_OK;
    if (!p->runs_embed)
        return kh_fail(err, KH_E_ARG,
                       "a gradient needs the pixels, so the pass must start at block 0");
    const size_t part = p->top / KH_STAGE_COUNT;
    const bool in_tail = part == m->info.blocks + 1;
    const size_t blocks = in_tail ? m->info.blocks : part;
    const kh_stage mlp_input = m->info.is_post_norm ? KH_STAGE_RESID_MID : KH_STAGE_LN2_NORM;
    const bool half = blocks > 0 && p->top <= kh_stage_position(m, mlp_input, blocks - 1) &&
                      m->gradient_blocks + 1 >= blocks && m->gradient_attentions >= blocks;
    const bool ready = m->gradient_blocks >= (blocks ? blocks : 1) || m->info.blocks == 0 || half;
    if (!ready || (in_tail && !m->gradient_head))
        return kh_fail(err, KH_E_ARG,
                       "the weights are not packed for gradients up to %s; call "
                       "kh_model_prepare_gradient(model, %zu) first",
                       in_tail ? "the head" : "this block", blocks ? blocks - 1 : 0);
    for (size_t b = 0; b < blocks && b < p->block_end; b++) {
        kh_block_plan *plan = &p->blocks[b];
        plan->saves = true;
        const bool above = p->top > kh_stage_position(m, KH_STAGE_POST, b);
        const bool coefficient = (plan->seeds & KH_BIT(KH_STAGE_POST)) != 0;
        plan->saves_pre = above || (coefficient && !kh_plan_hidden_is_sparse(p, b));
        /* a seed between MLP and sum in a post-norm block, where LN2 lies behind the hidden units
         */
        if (!kh_pass_reaches(p, b, KH_STAGE_PRE)) plan->saves_pre = false;
    }
    return KH_OK;
}

/* ---- buffers
 * ------------------------------------------------------------------------------------- */

float *kh_plan_direct(const kh_pass *p, kh_stage stage, size_t block) {
    if (stage > KH_STAGE_RESULT && kh_pass_compact(p, block)) return NULL;
    if (p->model->info.is_post_norm && stage == KH_STAGE_LN1_NORM) return NULL;
    if (is_hidden(stage) && p->units.list && block + 1 == p->block_end) return NULL;
    for (size_t i = 0; i < p->tap_count; i++)
        if (p->taps[i].stage == stage && p->taps[i].block == block && p->taps[i].is_full)
            return p->taps[i].data;
    return NULL;
}

/* ---- all of it
 * ----------------------------------------------------------------------------------- */

/* No size below may wrap round: nothing a token brings is wider than `widest`. */
static kh_status check_batch(const kh_pass *p, kh_error *err) {
    const kh_model_info *i = &p->model->info;
    const size_t widths[] = {3 * i->dim, kh_fc1_rows(p->model), i->heads * i->tokens,
                             i->heads * i->dim, 3 * i->patch * i->patch};
    size_t widest = 0, rows, count;
    for (size_t k = 0; k < sizeof widths / sizeof widths[0]; k++)
        if (widths[k] > widest) widest = widths[k];
    if (kh_mul(p->max_batch, i->tokens, &rows) && kh_mul(rows, widest, &count) &&
        kh_mul(count, sizeof(float), &count))
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "a pass of %zu images needs more memory than there is",
                   p->max_batch);
}

kh_status kh_plan_make(kh_pass *p, const kh_pass_spec *spec, kh_error *err) {
    const kh_model *m = p->model;
    KH_TRY(check_batch(p, err));
    if (spec->start_block > m->info.blocks)
        return kh_fail(err, KH_E_ARG, "start_block is %zu, the model has %zu blocks",
                       spec->start_block, m->info.blocks);
    p->first_block = spec->start_block;
    p->runs_embed = spec->start_block == 0 && !p->narrow;
    p->blocks = kh_calloc(m->info.blocks + 1, sizeof *p->blocks);
    bool *marked = kh_calloc(m->info.tokens, sizeof *marked);
    kh_status status = KH_OK;
    if (!p->blocks || !marked) {
        status = kh_fail(err, KH_E_MEMORY, "out of memory for a pass");
        goto done;
    }
    KH_GO(kh_taps_plan(p, spec, err));
    KH_GO(kh_edits_plan(p, spec, err));
    KH_GO(plan_seeds(p, spec, err));
    mark_sites(p);
    KH_GO(find_end(p, err));
    KH_GO(plan_saves(p, err));
    KH_GO(choose_tail_tokens(p, marked, err));
    p->rows = (kh_choice){.total = m->info.tokens, .count = m->info.tokens};
    p->units = (kh_choice){.total = m->info.neurons, .count = m->info.neurons};
    p->out_token = SIZE_MAX;
    if (p->block_end > p->first_block) {
        KH_GO(choose_last_rows(p, spec, marked, err));
        choose_out_token(p);
        KH_GO(choose_units(p, err));
    }
    KH_GO(place_tail_rows(p, err));
    if (!p->ops->reserve_attention(p->ctx, m->info.tokens, m->info.head_dim)) {
        status = kh_fail(err, KH_E_MEMORY, "out of memory for attention over %zu tokens",
                         m->info.tokens);
        goto done;
    }
    KH_GO(kh_plan_memory(p, err));
done:
    kh_free(marked);
    return status;
}

void kh_plan_clear(kh_pass *p) {
    for (size_t b = 0; p->blocks && b < p->model->info.blocks; b++) {
        kh_weight **result = p->blocks[b].result;
        for (size_t h = 0; result && h < p->model->info.heads; h++)
            if (result[h]) p->ops->weight_free(p->ctx, result[h]);
        kh_free(result);
    }
    for (size_t i = 0; i < p->memory_count; i++)
        p->ops->release(p->ctx, p->memory[i]);
    kh_free(p->memory);
    choice_clear(&p->rows);
    choice_clear(&p->units);
    choice_clear(&p->tail.tokens);
    kh_free(p->tail.gather_list);
    kh_free(p->blocks);
    kh_taps_free(p);
    kh_edits_free(p);
    kh_free(p->seeds);
}
