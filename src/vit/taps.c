#include "vit/taps.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "vit/steps.h"

kh_view kh_view_rows(const kh_model *model, float *base, size_t width, const kh_choice *choice) {
    const size_t rows = choice ? choice->count : model->info.tokens;
    return (kh_view){.base = base,
                     .image_stride = rows * width,
                     .outer = 1,
                     .tokens = model->info.tokens,
                     .token_stride = width,
                     .token_at = choice ? choice->at : NULL,
                     .middle = 1,
                     .units = width};
}

/* ---- planning -------------------------------------------------------------------------------- */

static kh_status copy_list(const size_t *from, size_t count, size_t limit, const char *what,
                           const char *site, size_t **to, kh_error *err) {
    if (count == 0) return KH_OK;
    if (!from) return kh_fail(err, KH_E_ARG, "%s: %zu %s announced, none given", site, count, what);
    for (size_t i = 0; i < count; i++)
        if (from[i] >= limit)
            return kh_fail(err, KH_E_ARG, "%s: %s %zu does not exist, there are %zu", site, what,
                           from[i], limit);
    *to = kh_calloc(count, sizeof **to);
    if (!*to) return kh_fail(err, KH_E_MEMORY, "out of memory for the %s of %s", what, site);
    memcpy(*to, from, count * sizeof **to);
    return KH_OK;
}

static kh_status check_duplicates(const size_t *list, size_t count, const char *what,
                                  const char *site, kh_error *err) {
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (list[i] == list[j])
                return kh_fail(err, KH_E_ARG, "edit of %s: %s %zu is listed twice", site, what,
                               list[i]);
    return KH_OK;
}

static size_t axis_size(const kh_site *site, size_t axis) {
    return axis == SIZE_MAX ? 0 : site->shape[axis];
}

static kh_status plan_tap(kh_pass *p, const kh_tap *tap, kh_tap_plan *t, kh_error *err) {
    KH_TRY(kh_site_resolve(p->model, tap->site, &t->stage, &t->block, err));
    t->site = kh_site_describe(p->model, t->stage, t->block);
    const size_t axis = kh_site_token_axis(&t->site);
    if (tap->token_count && axis == SIZE_MAX)
        return kh_fail(err, KH_E_ARG, "%s has no tokens to choose from", t->site.name);
    const size_t tokens = axis_size(&t->site, axis), units = t->site.shape[t->site.rank - 1];
    KH_TRY(
        copy_list(tap->tokens, tap->token_count, tokens, "token", t->site.name, &t->tokens, err));
    t->token_count = tap->token_count;
    KH_TRY(copy_list(tap->units, tap->unit_count, units, "unit", t->site.name, &t->units, err));
    t->unit_count = tap->unit_count;

    t->outer = t->middle = 1;
    for (size_t i = 0; i + 1 < t->site.rank; i++) {
        if (axis == SIZE_MAX || i < axis)
            t->outer *= t->site.shape[i];
        else if (i > axis)
            t->middle *= t->site.shape[i];
    }
    t->chosen_tokens = axis == SIZE_MAX ? 1 : t->token_count ? t->token_count : tokens;
    t->chosen_units = t->unit_count ? t->unit_count : units;
    t->is_full = !t->token_count && !t->unit_count;
    size_t rows;
    if (!kh_mul(t->outer * t->middle, t->chosen_tokens, &rows) ||
        !kh_mul(rows, t->chosen_units, &t->count))
        return kh_fail(err, KH_E_ARG, "tap of %s is too large", t->site.name);
    return KH_OK;
}

kh_status kh_taps_plan(kh_pass *p, const kh_pass_spec *spec, kh_error *err) {
    if (spec->tap_count && !spec->taps)
        return kh_fail(err, KH_E_ARG, "%zu taps announced, none given", spec->tap_count);
    p->taps = kh_calloc(spec->tap_count, sizeof *p->taps);
    if (!p->taps) return kh_fail(err, KH_E_MEMORY, "out of memory for %zu taps", spec->tap_count);
    p->tap_count = spec->tap_count;
    for (size_t i = 0; i < spec->tap_count; i++)
        KH_TRY(plan_tap(p, &spec->taps[i], &p->taps[i], err));
    return KH_OK;
}

static kh_status plan_edit(kh_pass *p, const kh_edit *edit, kh_edit_plan *e, kh_error *err) {
    KH_TRY(kh_site_resolve(p->model, edit->site, &e->stage, &e->block, err));
    e->site = kh_site_describe(p->model, e->stage, e->block);
    const char *name = e->site.name;
    if (!e->site.is_editable) return kh_fail(err, KH_E_ARG, "%s can be read but not edited", name);
    const size_t axis = kh_site_token_axis(&e->site);
    if (edit->token_count && axis == SIZE_MAX)
        return kh_fail(err, KH_E_ARG, "%s has no tokens to choose from", name);
    const size_t units = e->site.shape[e->site.rank - 1];
    KH_TRY(copy_list(edit->tokens, edit->token_count, axis_size(&e->site, axis), "token", name,
                     &e->tokens, err));
    e->token_count = edit->token_count;
    KH_TRY(copy_list(edit->units, edit->unit_count, units, "unit", name, &e->units, err));
    e->unit_count = edit->unit_count;
    KH_TRY(
        copy_list(edit->images, edit->image_count, p->max_batch, "image", name, &e->images, err));
    e->image_count = edit->image_count;
    KH_TRY(check_duplicates(e->tokens, e->token_count, "token", name, err));
    KH_TRY(check_duplicates(e->units, e->unit_count, "unit", name, err));
    KH_TRY(check_duplicates(e->images, e->image_count, "image", name, err));
    if ((unsigned)edit->op > KH_EDIT_ADD)
        return kh_fail(err, KH_E_ARG, "edit of %s: unknown operation %d", name, (int)edit->op);
    e->op = edit->op;
    e->value = edit->value;
    if (edit->values && e->op != KH_EDIT_ZERO) {
        const size_t count = e->unit_count ? e->unit_count : units;
        e->values = kh_calloc(count, sizeof *e->values);
        if (!e->values) return kh_fail(err, KH_E_MEMORY, "out of memory for an edit of %s", name);
        memcpy(e->values, edit->values, count * sizeof *e->values);
    }
    return KH_OK;
}

kh_status kh_edits_plan(kh_pass *p, const kh_pass_spec *spec, kh_error *err) {
    if (spec->edit_count && !spec->edits)
        return kh_fail(err, KH_E_ARG, "%zu edits announced, none given", spec->edit_count);
    p->edits = kh_calloc(spec->edit_count, sizeof *p->edits);
    if (!p->edits)
        return kh_fail(err, KH_E_MEMORY, "out of memory for %zu edits", spec->edit_count);
    p->edit_count = spec->edit_count;
    for (size_t i = 0; i < spec->edit_count; i++)
        KH_TRY(plan_edit(p, &spec->edits[i], &p->edits[i], err));
    return KH_OK;
}

void kh_taps_free(kh_pass *p) {
    for (size_t i = 0; i < p->tap_count; i++) {
        kh_free(p->taps[i].tokens);
        kh_free(p->taps[i].units);
    }
    kh_free(p->taps);
}

void kh_edits_free(kh_pass *p) {
    for (size_t i = 0; i < p->edit_count; i++) {
        kh_free(p->edits[i].tokens);
        kh_free(p->edits[i].units);
        kh_free(p->edits[i].images);
        kh_free(p->edits[i].values);
    }
    kh_free(p->edits);
}

/* ---- copying out ----------------------------------------------------------------------------- */

typedef struct tap_job {
    const kh_tap_plan *tap;
    const kh_view *view;
} tap_job;

/* One image of one tap: [outer, tokens, middle, units]. */
static void tap_task(void *arg, size_t image, size_t worker) {
    (void)worker;
    const tap_job *j = arg;
    const kh_tap_plan *t = j->tap;
    const kh_view *v = j->view;
    float *to = t->data + image * t->count;
    for (size_t o = 0; o < v->outer; o++)
        for (size_t i = 0; i < t->chosen_tokens; i++) {
            const size_t token = t->token_count ? t->tokens[i] : i;
            const size_t row = v->token_at ? v->token_at[token] : token;
            const float *from =
                v->base + image * v->image_stride + o * v->outer_stride + row * v->token_stride;
            for (size_t m = 0; m < v->middle; m++, to += t->chosen_units) {
                const float *values = from + m * v->middle_stride;
                if (!t->unit_count && !v->unit_at) {
                    memcpy(to, values, t->chosen_units * sizeof(float));
                    continue;
                }
                for (size_t k = 0; k < t->chosen_units; k++) {
                    const size_t unit = t->unit_count ? t->units[k] : k;
                    to[k] = values[v->unit_at ? v->unit_at[unit] : unit];
                }
            }
        }
}

void kh_touch(kh_pass *p, kh_stage stage, size_t block, uint32_t taps, uint32_t edits,
              const kh_view *view) {
    if (!((taps | edits) & KH_BIT(stage))) return;
    if (edits & KH_BIT(stage)) {
        kh_step_note(p, "edit", stage, block);
        if (!p->recorder) kh_edits_apply(p, stage, block, view);
    }
    if (!(taps & KH_BIT(stage))) return;
    kh_step_note(p, "tap", stage, block);
    if (p->recorder) return;
    for (size_t i = 0; i < p->tap_count; i++) {
        const kh_tap_plan *t = &p->taps[i];
        if (t->stage != stage || (kh_stage_in_block(stage) && t->block != block)) continue;
        if (t->data == view->base) continue; /* the operation wrote it there */
        tap_job job = {t, view};
        kh_pool_run(kh_ctx_pool(p->ctx), p->batch, tap_task, &job);
    }
}

/* ---- seeds ------------------------------------------------------------------------------------
 */

typedef struct seed_job {
    const kh_view *view;
    const float *values; /* [images, outer, tokens, middle, units] */
} seed_job;

static void seed_task(void *arg, size_t image, size_t worker) {
    (void)worker;
    const seed_job *j = arg;
    const kh_view *v = j->view;
    const float *from = j->values + image * v->outer * v->tokens * v->middle * v->units;
    for (size_t o = 0; o < v->outer; o++)
        for (size_t t = 0; t < v->tokens; t++) {
            const size_t row = v->token_at ? v->token_at[t] : t;
            if (row == SIZE_MAX) { /* the caller promised zeros there */
                from += v->middle * v->units;
                continue;
            }
            float *to =
                v->base + image * v->image_stride + o * v->outer_stride + row * v->token_stride;
            for (size_t m = 0; m < v->middle; m++, from += v->units)
                for (size_t k = 0; k < v->units; k++)
                    to[m * v->middle_stride + k] += from[k];
        }
}

void kh_absorb(kh_pass *p, kh_stage stage, size_t block, uint32_t seeds, uint32_t edits,
               const kh_view *view, size_t zero_count, bool *live) {
    if (seeds & KH_BIT(stage)) {
        if (!*live) kh_rows_zero(p->ctx, zero_count, view->base);
        *live = true;
        for (size_t i = 0; i < p->seed_count; i++) {
            const kh_seed_plan *s = &p->seeds[i];
            if (s->stage != stage || (kh_stage_in_block(stage) && s->block != block)) continue;
            seed_job job = {view, s->values};
            kh_pool_run(kh_ctx_pool(p->ctx), p->batch, seed_task, &job);
        }
    }
    if (*live && (edits & KH_BIT(stage))) kh_edits_back(p, stage, block, view);
}
