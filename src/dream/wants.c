#include "dream/wants.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

static kh_status mark_unit(kh_wants *w, size_t block, size_t unit, kh_error *err) {
    kh_wants_block *b = &w->blocks[block];
    const size_t neurons = kh_model_get_info(w->model)->neurons;
    if (!b->units) {
        b->units = kh_calloc(neurons, sizeof *b->units);
        b->list = kh_calloc(neurons, sizeof *b->list);
        b->at = kh_calloc(neurons, sizeof *b->at);
        if (!b->units || !b->list || !b->at)
            return kh_fail(err, KH_E_MEMORY, "out of memory for a dream's neurons");
    }
    b->units[unit] = true;
    return KH_OK;
}

/* Neurons at the class token and nothing else: then the pass leaves out what only others need. */
static bool looks_at_class(const kh_wants *w, const kh_dream *d) {
    if (d->objective.tokens != KH_TOKENS_CLASS || d->objective.diversity != KH_DIVERSITY_NONE ||
        kh_model_get_info(w->model)->is_gated)
        return false;
    for (size_t i = 0; i < d->objective.term_count; i++)
        if (d->terms[i].goal != KH_GOAL_NEURON) return false;
    return true;
}

static kh_status mark_dream(kh_wants *w, const kh_dream *d, kh_error *err) {
    for (size_t i = 0; i < d->objective.term_count; i++) {
        const kh_dream_term *t = &d->terms[i];
        switch (t->goal) {
        case KH_GOAL_NEURON:
            KH_TRY(mark_unit(w, t->block, t->index, err));
            if (d->objective.diversity != KH_DIVERSITY_NONE ||
                kh_model_get_info(w->model)->is_gated)
                w->blocks[t->block].has_dense = true;
            break;
        case KH_GOAL_VALUE:
            w->blocks[t->block].has_value = true;
            break;
        case KH_GOAL_DIRECTION:
            w->blocks[t->block].has_stream = true;
            break;
        case KH_GOAL_LOGIT:
        case KH_GOAL_PROBABILITY:
        case KH_GOAL_LOG_PROBABILITY:
            w->has_logits = true;
            break;
        }
    }
    if (d->top_block > w->top) w->top = d->top_block;
    if (!looks_at_class(w, d)) w->only_class = false;
    return KH_OK;
}

const size_t kh_wants_class_token = 0;

static size_t add_tap(kh_wants *w, size_t *name, const char *part, size_t block,
                      const size_t *units, size_t unit_count) {
    char *to = w->names[(*name)++];
    (void)snprintf(to, sizeof w->names[0], "blocks.%zu.%s", block, part);
    w->taps[w->tap_count] = (kh_tap){.site = to, .units = units, .unit_count = unit_count};
    if (w->only_class) {
        w->taps[w->tap_count].tokens = &kh_wants_class_token;
        w->taps[w->tap_count].token_count = 1;
    }
    kh_text_addf(&w->signature, "%s(%zu", to, unit_count);
    for (size_t i = 0; i < unit_count; i++)
        kh_text_addf(&w->signature, ",%zu", units[i]);
    kh_text_add(&w->signature, ")");
    return w->tap_count++;
}

static size_t add_seed(kh_wants *w, size_t *name, const char *part, size_t block, size_t floats) {
    char *to = w->names[(*name)++];
    if (block == SIZE_MAX)
        (void)snprintf(to, sizeof w->names[0], "%s", part);
    else
        (void)snprintf(to, sizeof w->names[0], "blocks.%zu.%s", block, part);
    w->seeds[w->seed_count] = to;
    w->seed_floats[w->seed_count] = floats;
    kh_text_addf(&w->signature, "%s;", to);
    return w->seed_count++;
}

static void list_block(kh_wants *w, size_t block, size_t *name) {
    const kh_model_info *info = kh_model_get_info(w->model);
    kh_wants_block *b = &w->blocks[block];
    const size_t stream = info->tokens * info->dim;
    b->tap_pre = b->tap_value = b->tap_stream = SIZE_MAX;
    b->seed_input = b->seed_pre = b->seed_value = b->seed_stream = SIZE_MAX;
    for (size_t j = 0; b->units && j < info->neurons; j++) {
        b->at[j] = b->count;
        if (b->units[j]) b->list[b->count++] = j;
    }
    if (b->has_value) {
        b->tap_value = add_tap(w, name, "attn.hook_z", block, NULL, 0);
        b->seed_value = add_seed(w, name, "attn.hook_z", block, stream);
    }
    for (size_t i = 0; i < b->count; i++) /* a dense tap does not name them, their rows are kept */
        kh_text_addf(&w->signature, "%zu.%zu,", block, b->list[i]);
    if (b->count > 0) {
        const size_t units = b->has_dense ? 0 : b->count;
        b->tap_pre = add_tap(w, name, "mlp.hook_pre", block, units ? b->list : NULL, units);
        if (b->has_dense)
            b->seed_pre = add_seed(w, name, "mlp.hook_pre", block, info->tokens * info->neurons);
        if (!info->is_gated)
            b->seed_input =
                add_seed(w, name, info->is_post_norm ? "hook_resid_mid" : "ln2.hook_normalized",
                         block, stream);
    }
    if (b->has_stream) {
        b->tap_stream = add_tap(w, name, "hook_resid_post", block, NULL, 0);
        b->seed_stream = add_seed(w, name, "hook_resid_post", block, stream);
    }
}

kh_status kh_wants_make(const kh_model *model, kh_dream *const *dreams, size_t count, kh_wants *out,
                        kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    *out = (kh_wants){.model = model, .seed_logits = SIZE_MAX, .only_class = true};
    const size_t room = 4 * info->blocks + 1;
    out->blocks = kh_calloc(info->blocks, sizeof *out->blocks);
    out->taps = kh_calloc(room, sizeof *out->taps);
    out->seeds = kh_calloc(room, sizeof *out->seeds);
    out->seed_floats = kh_calloc(room, sizeof *out->seed_floats);
    out->names = kh_calloc(2 * room, sizeof *out->names);
    kh_status status = KH_OK;
    if (!out->blocks || !out->taps || !out->seeds || !out->seed_floats || !out->names)
        status = kh_fail(err, KH_E_MEMORY, "out of memory for a batch of dreams");
    for (size_t i = 0; !status && i < count; i++)
        status = mark_dream(out, dreams[i], err);
    if (out->only_class) kh_text_add(&out->signature, "class ");
    size_t name = 0;
    for (size_t b = 0; !status && b < info->blocks; b++)
        list_block(out, b, &name);
    if (!status && out->has_logits)
        out->seed_logits = add_seed(out, &name, "logits", SIZE_MAX, info->classes);
    if (!status && out->signature.failed)
        status = kh_fail(err, KH_E_MEMORY, "out of memory for a batch of dreams");
    if (status) kh_wants_clear(out);
    return status;
}

kh_status kh_wants_read_rows(kh_wants *w, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(w->model);
    float *all = NULL;
    kh_status status = KH_OK;
    for (size_t b = 0; !status && b < info->blocks; b++) {
        kh_wants_block *at = &w->blocks[b];
        if (at->seed_input == SIZE_MAX) continue;
        char name[64];
        (void)snprintf(name, sizeof name, "blocks.%zu.mlp.fc1.weight", b);
        if (!all) all = kh_alloc_floats(info->neurons * info->dim);
        at->rows = kh_alloc_floats(at->count * info->dim);
        if (!all || !at->rows)
            status = kh_fail(err, KH_E_MEMORY, "out of memory for a dream's neurons");
        if (!status)
            status = kh_model_tensor_read(w->model, name, all, info->neurons * info->dim, err);
        for (size_t i = 0; !status && i < at->count; i++)
            memcpy(at->rows + i * info->dim, all + at->list[i] * info->dim,
                   info->dim * sizeof *all);
    }
    kh_free(all);
    return status;
}

void kh_wants_clear(kh_wants *w) {
    const size_t blocks = w->blocks ? kh_model_get_info(w->model)->blocks : 0;
    for (size_t b = 0; b < blocks; b++) {
        kh_free(w->blocks[b].units);
        kh_free(w->blocks[b].list);
        kh_free(w->blocks[b].at);
        kh_free(w->blocks[b].rows);
    }
    kh_free(w->blocks);
    kh_free(w->taps);
    kh_free(w->seeds);
    kh_free(w->seed_floats);
    kh_free(w->names);
    kh_text_clear(&w->signature);
    *w = (kh_wants){0};
}
