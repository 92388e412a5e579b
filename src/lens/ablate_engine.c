/* Variants of an image: the residual stream behind the first block of the scope, plus what the
 * changed coefficients add, through the rest of the model.
 *
 * Sums run in double, neuron by neuron in the order of the list, so that a variant does not depend
 * on the ones beside it. A list that begins with the list of the variant before it goes on from
 * there (the grid of k is nested); the additions are the same ones. */
#include "compute/backend.h"
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <stdio.h>
#include <string.h>

enum { ENGINE_TOKENS = 8 }; /* tokens that share a walk through the value vectors */

kh_status kh_ablate_check_model(const kh_model *model, kh_ablate_tokens tokens, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    if (info->classes == 0)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "this checkpoint has no classifier, so an ablation has no answer to change");
    if (info->is_post_norm)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "%s has norms behind its MLPs: what a neuron writes is not added as it is",
                       info->architecture);
    if (tokens == KH_ABLATE_CLS && !info->has_class_token)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s has no class token to change",
                       info->architecture);
    return KH_OK;
}

/* ---- making -------------------------------------------------------------------------------- */

static kh_status make_steps(kh_engine *e, kh_error *err) {
    for (size_t i = 1; i < e->blocks; i++) {
        char resid[64], post[64];
        const size_t block = e->first_block + i;
        (void)snprintf(resid, sizeof resid, "blocks.%zu.hook_resid_post", block);
        (void)snprintf(post, sizeof post, "blocks.%zu.mlp.hook_post", block);
        const kh_tap taps[] = {{.site = resid}, {.site = post}};
        const kh_pass_spec spec = {
            .max_batch = e->capacity, .taps = taps, .tap_count = 2, .start_block = block};
        KH_TRY(kh_pass_create(e->ctx, e->model, &spec, &e->steps[i], err));
    }
    const kh_pass_spec spec = {
        .max_batch = e->capacity, .want_logits = true, .start_block = e->first_block + e->blocks};
    return kh_pass_create(e->ctx, e->model, &spec, &e->tail, err);
}

static kh_status read_values(kh_engine *e, kh_error *err) {
    const kh_align_options align = kh_align_options_default();
    const size_t count = e->info->neurons * e->info->dim;
    for (size_t i = 0; i < e->blocks; i++) {
        e->values[i] = kh_alloc_floats_large(count);
        if (!e->values[i])
            return kh_fail(err, KH_E_MEMORY, "no memory for the value vectors of block %zu",
                           e->first_block + i);
        KH_TRY(
            kh_lens_value_vectors(e->model, &align, e->first_block + i, e->values[i], count, err));
    }
    return KH_OK;
}

kh_status kh_engine_init(kh_engine *e, kh_ctx *ctx, const kh_model *model, size_t first_block,
                         size_t blocks, kh_ablate_tokens tokens, size_t capacity, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    const size_t state = info->tokens * info->dim;
    *e = (kh_engine){.ctx = ctx,
                     .model = model,
                     .info = info,
                     .first_block = first_block,
                     .blocks = blocks,
                     .capacity = capacity};
    KH_TRY(kh_ablate_check_model(model, tokens, err));
    e->edited = kh_calloc(info->tokens, sizeof *e->edited);
    e->slots = kh_calloc(capacity, sizeof *e->slots);
    e->values = kh_calloc(blocks, sizeof *e->values);
    e->steps = kh_calloc(blocks, sizeof *e->steps);
    e->alls = kh_calloc(capacity, sizeof *e->alls);
    e->chains = kh_calloc(capacity + 1, sizeof *e->chains);
    e->x = kh_alloc_floats(capacity * state);
    e->scratch = kh_calloc(kh_ctx_threads(ctx), ENGINE_TOKENS * info->dim * sizeof *e->scratch);
    if (!e->edited || !e->slots || !e->values || !e->steps || !e->alls || !e->chains || !e->x ||
        !e->scratch)
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu variants at once; try a smaller batch",
                       capacity);
    e->edited_count = kh_ablate_edited_tokens(info, tokens, e->edited);
    KH_TRY(read_values(e, err));
    return make_steps(e, err);
}

void kh_engine_clear(kh_engine *e) {
    for (size_t i = 0; i < e->blocks; i++) {
        if (e->values) kh_free(e->values[i]);
        if (e->steps) kh_pass_free(e->steps[i]);
    }
    for (size_t i = 0; i < KH_ENGINE_ALLS; i++)
        kh_free(e->all[i].sum);
    kh_pass_free(e->tail);
    kh_free(e->edited);
    kh_free(e->slots);
    kh_free(e->alls);
    kh_free(e->chains);
    kh_free(e->values);
    kh_free(e->steps);
    kh_free(e->x);
    kh_free(e->scratch);
    *e = (kh_engine){0};
}

/* ---- which tokens -------------------------------------------------------------------------- */

size_t kh_ablate_edited_tokens(const kh_model_info *info, kh_ablate_tokens tokens, size_t *out) {
    const size_t first = tokens == KH_ABLATE_IMAGE ? info->prefix_tokens : 0;
    const size_t end = tokens == KH_ABLATE_CLS ? 1 : info->tokens;
    if (kh_ablate_is_masked(tokens)) return 0;
    for (size_t t = first; t < end; t++)
        out[t - first] = t;
    return end - first;
}

size_t kh_ablate_masked_tokens(const kh_model_info *info, kh_ablate_tokens tokens,
                               const uint8_t *on, size_t *out) {
    const size_t patches = info->tokens - info->prefix_tokens;
    size_t count = 0;
    for (size_t p = 0; p < patches; p++)
        if ((on[p] != 0) == (tokens == KH_ABLATE_MASK)) out[count++] = info->prefix_tokens + p;
    return count;
}

kh_ablate_rows kh_engine_rows(const kh_engine *e, const kh_ablate_state *state) {
    return state->rows.tokens ? state->rows : (kh_ablate_rows){e->edited, e->edited_count};
}

/* Groups of tokens that share a walk, of the slot with most. */
static size_t count_groups(const kh_engine *e) {
    size_t most = 0;
    for (size_t s = 0; s < e->count; s++) {
        const size_t count = kh_engine_rows(e, e->slots[s].state).count;
        if (count > most) most = count;
    }
    return (most + ENGINE_TOKENS - 1) / ENGINE_TOKENS;
}

/* The tokens of one group; none for a slot that has fewer. */
static kh_ablate_rows rows_of_group(const kh_engine *e, const kh_engine_slot *slot, size_t group) {
    const kh_ablate_rows all = kh_engine_rows(e, slot->state);
    const size_t first = group * ENGINE_TOKENS;
    if (first >= all.count) return (kh_ablate_rows){all.tokens, 0};
    const size_t left = all.count - first;
    return (kh_ablate_rows){all.tokens + first, left < ENGINE_TOKENS ? left : ENGINE_TOKENS};
}

/* ---- what the changed neurons add ---------------------------------------------------------- */

double kh_ablate_value(const kh_ablate_part *p, const kh_model_info *info, size_t place,
                       size_t unit, size_t token, double old) {
    const size_t prefix = info->prefix_tokens, group = token < prefix ? token : prefix;
    switch (p->op) {
    case KH_ABLATE_MEAN:
    case KH_ABLATE_CLASS_MEAN:
        return (double)p->means[group * p->row_units + (p->by_place ? place : unit)];
    case KH_ABLATE_ZERO:
        return 0;
    case KH_ABLATE_SCALE:
        return p->alpha * old;
    case KH_ABLATE_RESAMPLE:
        return (double)
            p->donor->a[unit / info->neurons][token * info->neurons + unit % info->neurons];
    }
    return old;
}

/* Adds the change of units[first .. end) of one scope block at some tokens to sums [rows, dim].
 * a [tokens, neurons] of that block. */
static void add_units(const kh_engine *e, const kh_ablate_part *p, const uint32_t *units,
                      size_t first, size_t end, size_t scope_block, const float *a,
                      kh_ablate_rows rows, double *sums) {
    const size_t neurons = e->info->neurons, dim = e->info->dim;
    for (size_t i = first; i < end; i++) {
        const size_t unit = units[i], j = unit % neurons;
        if (e->blocks > 1 && unit / neurons != scope_block) continue;
        const float *v = e->values[scope_block] + j * dim;
        for (size_t t = 0; t < rows.count; t++) {
            const size_t token = rows.tokens[t];
            const double old = (double)a[token * neurons + j];
            const double change = kh_ablate_value(p, e->info, i, unit, token, old) - old;
            if (change == 0) continue;
            double *sum = sums + t * dim;
            for (size_t d = 0; d < dim; d++)
                sum[d] += change * (double)v[d];
        }
    }
}

static bool is_same_way(const kh_ablate_part *a, const kh_ablate_part *b) {
    return a->op == b->op && a->means == b->means && a->donor == b->donor &&
           (a->op != KH_ABLATE_SCALE || a->alpha == b->alpha);
}

typedef struct all_job {
    const kh_engine *e;
    const kh_engine_all *all;
    const kh_ablate_state *state;
    kh_ablate_rows rows;
} all_job;

static void all_task(void *arg, size_t task, size_t worker) {
    const all_job *j = arg;
    const kh_engine *e = j->e;
    const size_t neurons = e->info->neurons, dim = e->info->dim;
    const kh_ablate_rows row = {j->rows.tokens + task, 1};
    double *sum = j->all->sum + row.tokens[0] * dim;
    (void)worker;
    memset(sum, 0, dim * sizeof *sum);
    for (size_t n = 0; n < neurons; n++) {
        const uint32_t unit = (uint32_t)n;
        add_units(e, &j->all->part, &unit, 0, 1, 0, j->state->a[0], row, sum);
    }
}

/* The change of every neuron of the (only) block in this way, made once for each image and way;
 * NULL when there are too many ways. */
static kh_status change_of_all(kh_engine *e, const kh_engine_slot *slot, const double **out,
                               kh_error *err) {
    const kh_ablate_part *way = &slot->parts[0];
    *out = NULL;
    for (size_t i = 0; i < e->all_count; i++)
        if (is_same_way(&e->all[i].part, way)) {
            *out = e->all[i].sum;
            return KH_OK;
        }
    if (e->all_count == KH_ENGINE_ALLS) return KH_OK;
    kh_engine_all *all = &e->all[e->all_count];
    if (!all->sum) all->sum = kh_calloc(e->info->tokens * e->info->dim, sizeof *all->sum);
    if (!all->sum) return kh_fail(err, KH_E_MEMORY, "no memory for the change of a whole block");
    all->part = *way;
    all_job job = {e, all, slot->state, kh_engine_rows(e, slot->state)};
    kh_pool_run(kh_ctx_pool(e->ctx), job.rows.count, all_task, &job);
    e->all_count++;
    *out = all->sum;
    return KH_OK;
}

/* Whether it is less work to subtract the others from the change of all. */
static bool subtracts(const kh_engine *e, const kh_engine_slot *slot) {
    const kh_ablate_part *p = &slot->parts[0];
    return e->blocks == 1 && slot->part_count == 1 && p->rest && !p->by_place &&
           2 * p->count > e->info->neurons;
}

/* Whether b's list begins with a's. */
static bool continues(const kh_engine_slot *a, const kh_engine_slot *b) {
    const kh_ablate_part *p = &a->parts[0], *q = &b->parts[0];
    return a->part_count == 1 && b->part_count == 1 && a->state == b->state &&
           p->units == q->units && p->count <= q->count && !p->by_place && !q->by_place &&
           is_same_way(p, q);
}

typedef struct update_job {
    const kh_engine *e;
    size_t scope_block, groups; /* groups of tokens */
} update_job;

static void write_tokens(const kh_engine *e, const float *from, float *to, kh_ablate_rows rows,
                         const double *all, const double *sums) {
    const size_t dim = e->info->dim;
    for (size_t t = 0; t < rows.count; t++)
        for (size_t d = 0; d < dim; d++) {
            const size_t at = rows.tokens[t] * dim + d;
            const double change = all ? all[at] - sums[t * dim + d] : sums[t * dim + d];
            to[at] = change == 0 ? from[at] : (float)((double)from[at] + change);
        }
}

/* A few tokens of a chain of nested variants, behind the first block of the scope. */
static void first_task(void *arg, size_t task, size_t worker) {
    const update_job *j = arg;
    const kh_engine *e = j->e;
    const size_t dim = e->info->dim, state = e->info->tokens * dim;
    const size_t chain = task / j->groups;
    const kh_engine_slot *first = &e->slots[e->chains[chain]];
    const kh_ablate_rows rows = rows_of_group(e, first, task % j->groups); /* of the whole chain */
    double *sums = e->scratch + worker * ENGINE_TOKENS * dim;
    memset(sums, 0, ENGINE_TOKENS * dim * sizeof *sums);
    size_t done = 0;
    for (size_t s = e->chains[chain]; s < e->chains[chain + 1]; s++) {
        const kh_engine_slot *slot = &e->slots[s];
        const double *all = e->alls[s];
        for (size_t p = 0; p < slot->part_count; p++) {
            const kh_ablate_part *part = &slot->parts[p];
            const uint32_t *units = all ? part->rest : part->units;
            const size_t end = all ? e->info->neurons - part->count : part->count;
            add_units(e, part, units, p ? 0 : done, end, 0, slot->state->a[0], rows, sums);
            if (p == 0) done = end;
        }
        write_tokens(e, slot->state->x, e->x + s * state, rows, all, sums);
    }
}

/* The same behind a later block: residual stream and coefficients are the variant's own. */
static void later_task(void *arg, size_t task, size_t worker) {
    const update_job *j = arg;
    const kh_engine *e = j->e;
    const size_t tokens = e->info->tokens, dim = e->info->dim, neurons = e->info->neurons;
    const size_t s = task / j->groups;
    const kh_ablate_rows rows = rows_of_group(e, &e->slots[s], task % j->groups);
    const kh_pass *step = e->steps[j->scope_block];
    const float *a = kh_pass_tap(step, 1) + s * tokens * neurons;
    double *sums = e->scratch + worker * ENGINE_TOKENS * dim;
    memset(sums, 0, ENGINE_TOKENS * dim * sizeof *sums);
    for (size_t p = 0; p < e->slots[s].part_count; p++) {
        const kh_ablate_part *part = &e->slots[s].parts[p];
        add_units(e, part, part->units, 0, part->count, j->scope_block, a, rows, sums);
    }
    float *x = e->x + s * tokens * dim;
    write_tokens(e, x, x, rows, NULL, sums);
}

/* ---- the line ------------------------------------------------------------------------------ */

static kh_status update_first(kh_engine *e, kh_error *err) {
    const size_t state = e->info->tokens * e->info->dim;
    const size_t groups = count_groups(e);
    size_t chain_count = 0;
    for (size_t s = 0; s < e->count; s++) {
        const kh_engine_slot *slot = &e->slots[s];
        memcpy(e->x + s * state, slot->state->x, state * sizeof *e->x);
        e->alls[s] = NULL;
        if (subtracts(e, slot)) KH_TRY(change_of_all(e, slot, &e->alls[s], err));
        if (s == 0 || e->alls[s] || e->alls[s - 1] || !continues(slot - 1, slot))
            e->chains[chain_count++] = s;
    }
    e->chains[chain_count] = e->count;
    update_job job = {e, 0, groups};
    kh_pool_run(kh_ctx_pool(e->ctx), chain_count * groups, first_task, &job);
    return KH_OK;
}

static kh_status update_later(kh_engine *e, size_t scope_block, kh_error *err) {
    const size_t state = e->info->tokens * e->info->dim;
    const size_t groups = count_groups(e);
    kh_pass *step = e->steps[scope_block];
    KH_TRY(kh_pass_run_from(step, e->x, e->count, err));
    memcpy(e->x, kh_pass_tap(step, 0), e->count * state * sizeof *e->x);
    update_job job = {e, scope_block, groups};
    kh_pool_run(kh_ctx_pool(e->ctx), e->count * groups, later_task, &job);
    return KH_OK;
}

kh_status kh_engine_flush(kh_engine *e, kh_engine_sink sink, void *user, kh_error *err) {
    if (e->count == 0) return KH_OK;
    KH_TRY(update_first(e, err));
    for (size_t i = 1; i < e->blocks; i++)
        KH_TRY(update_later(e, i, err));
    KH_TRY(kh_pass_run_from(e->tail, e->x, e->count, err));
    const float *logits = kh_pass_logits(e->tail);
    for (size_t s = 0; s < e->count; s++)
        sink(user, e->slots[s].tag, logits + s * e->info->classes);
    e->done += e->count;
    e->count = 0;
    return KH_OK;
}

kh_status kh_engine_add(kh_engine *e, const kh_ablate_state *state, const kh_ablate_part *parts,
                        size_t part_count, size_t tag, kh_engine_sink sink, void *user,
                        kh_error *err) {
    if (e->count == e->capacity) KH_TRY(kh_engine_flush(e, sink, user, err));
    kh_engine_slot *slot = &e->slots[e->count++];
    *slot = (kh_engine_slot){.state = state, .part_count = part_count, .tag = tag};
    memcpy(slot->parts, parts, part_count * sizeof *parts);
    return KH_OK;
}

void kh_engine_new_image(kh_engine *e) {
    e->all_count = 0;
}
