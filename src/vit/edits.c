/* Changing the values of a site, and the gradient through such a change. */
#include "vit/taps.h"

typedef enum direction {
    FORWARD, /* change the values */
    BACK     /* take a gradient with respect to the changed values to the unchanged ones */
} direction;

typedef struct edit_job {
    const kh_edit_plan *edit;
    const kh_view *view;
    size_t images; /* of this batch */
    direction way;
} edit_job;

static float changed(const kh_edit_plan *e, direction way, float old, float value) {
    switch (e->op) {
    case KH_EDIT_ZERO:
        return 0.0f;
    case KH_EDIT_SCALE:
        return old * value;
    case KH_EDIT_SET:
        return way == FORWARD ? value : 0.0f;
    case KH_EDIT_ADD:
        return way == FORWARD ? old + value : old;
    }
    return old;
}

static void change_units(const edit_job *j, float *values) {
    const kh_edit_plan *e = j->edit;
    const size_t count = e->unit_count ? e->unit_count : j->view->units;
    for (size_t k = 0; k < count; k++) {
        size_t unit = e->unit_count ? e->units[k] : k;
        if (j->view->unit_at) unit = j->view->unit_at[unit];
        if (unit == SIZE_MAX) continue; /* nobody looks at this unit */
        values[unit] = changed(e, j->way, values[unit], e->values ? e->values[k] : e->value);
    }
}

static void edit_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const edit_job *j = arg;
    const kh_edit_plan *e = j->edit;
    const kh_view *v = j->view;
    const size_t image = e->image_count ? e->images[task] : task;
    if (image >= j->images) return;
    const size_t tokens = e->token_count ? e->token_count : v->tokens;
    for (size_t o = 0; o < v->outer; o++)
        for (size_t i = 0; i < tokens; i++) {
            size_t row = e->token_count ? e->tokens[i] : i;
            if (v->token_at) row = v->token_at[row];
            if (row == SIZE_MAX) continue;
            float *at =
                v->base + image * v->image_stride + o * v->outer_stride + row * v->token_stride;
            for (size_t m = 0; m < v->middle; m++)
                change_units(j, at + m * v->middle_stride);
        }
}

static void run_edit(kh_pass *p, const kh_edit_plan *e, const kh_view *view, direction way) {
    edit_job job = {e, view, p->batch, way};
    const size_t tasks = e->image_count ? e->image_count : p->batch;
    kh_pool_run(kh_ctx_pool(p->ctx), tasks, edit_task, &job);
}

static bool is_at(const kh_edit_plan *e, kh_stage stage, size_t block) {
    return e->stage == stage && (!kh_stage_in_block(stage) || e->block == block);
}

void kh_edits_apply(kh_pass *p, kh_stage stage, size_t block, const kh_view *view) {
    for (size_t i = 0; i < p->edit_count; i++)
        if (is_at(&p->edits[i], stage, block)) run_edit(p, &p->edits[i], view, FORWARD);
}

void kh_edits_back(kh_pass *p, kh_stage stage, size_t block, const kh_view *view) {
    for (size_t i = p->edit_count; i-- > 0;)
        if (is_at(&p->edits[i], stage, block)) run_edit(p, &p->edits[i], view, BACK);
}
