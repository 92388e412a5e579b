#include "vit/edits.h"

static bool listed(const size_t *list, size_t count, size_t value) {
    for (size_t i = 0; i < count; i++)
        if (list[i] == value) return true;
    return count == 0;
}

/* From the definition: go through every element and ask whether it is meant. */
static void apply(const edit_watch *w, const kh_edit *e, const kh_site *s, double *values) {
    if (!listed(e->images, e->image_count, w->image)) return;
    size_t below_token = 1, tokens = 1;
    bool passed = false;
    for (size_t a = 0; a < s->rank; a++) {
        if (passed) below_token *= s->shape[a];
        if (s->axes[a] == KH_AXIS_TOKEN || s->axes[a] == KH_AXIS_PATCH ||
            s->axes[a] == KH_AXIS_QUERY) {
            passed = true;
            tokens = s->shape[a];
        }
    }
    const size_t units = s->shape[s->rank - 1];
    for (size_t i = 0; i < s->count; i++) {
        const size_t unit = i % units, token = i / below_token % tokens;
        if (!listed(e->units, e->unit_count, unit)) continue;
        if (e->token_count && !listed(e->tokens, e->token_count, token)) continue;
        double value = (double)e->value;
        for (size_t k = 0; e->values && k < (e->unit_count ? e->unit_count : units); k++)
            if (!e->unit_count ? k == unit : e->units[k] == unit) value = (double)e->values[k];
        if (e->op == KH_EDIT_ZERO)
            values[i] = 0;
        else if (e->op == KH_EDIT_SCALE)
            values[i] *= value;
        else if (e->op == KH_EDIT_SET)
            values[i] = value;
        else
            values[i] += value;
    }
}

void edit_watch_hook(void *user, const char *site, double *values, size_t count) {
    edit_watch *w = user;
    kh_site s;
    if (kh_site_find(w->model, site, &s, NULL)) return;
    assert_int_equal(s.count, count);
    for (size_t i = 0; i < w->edit_count; i++)
        if (strcmp(w->edits[i].site, site) == 0) apply(w, &w->edits[i], &s, values);
    for (size_t i = 0; i < w->site_count; i++) {
        if (strcmp(w->sites[i], site) != 0) continue;
        for (size_t k = 0; k < count; k++) {
            if (w->kept) w->kept[i][k] = values[k];
            if (w->seeds) w->total += (double)w->seeds[i][k] * values[k];
        }
    }
}
