/* lens/ablate_numbers.h: every number of a study in one row, to compare two studies bit by bit. */
#ifndef KH_TEST_ABLATE_NUMBERS_H
#define KH_TEST_ABLATE_NUMBERS_H

#include "lens/ablate_world.h"

enum { MOST = 60000 };

/* Every number of every table, in order. */
static inline size_t flatten(const kh_ablation *a, double *out) {
    size_t n = 0;
#define PUT(value)  out[n++] = (double)(value)
#define PUT_MEAN(m) (PUT((m).n), PUT((m).mean), PUT((m).std), PUT((m).lo), PUT((m).hi))
    for (size_t i = 0; i < a->effect_count; i++) {
        const kh_ablate_effect *e = &a->effects[i];
        PUT(e->k), PUT(e->class_index), PUT(e->metric), PUT(e->set), PUT(e->images);
        PUT_MEAN(e->value), PUT(e->set_lo), PUT(e->set_hi);
    }
    for (size_t i = 0; i < a->point_count; i++)
        PUT(a->points[i].k), PUT_MEAN(a->points[i].top1), PUT_MEAN(a->points[i].margin);
    for (size_t i = 0; i < a->swap_count; i++) {
        const kh_ablate_swap *s = &a->swaps[i];
        PUT(s->to), PUT_MEAN(s->flip), PUT(s->flip_base), PUT(s->flip_ablated);
        PUT(s->flip_random), PUT(s->d_logit_class), PUT(s->d_logit_to), PUT(s->prob_to);
    }
    for (size_t i = 0; i < a->dose_count; i++) {
        const kh_ablate_dose *d = &a->doses[i];
        PUT(d->alpha), PUT_MEAN(d->predicted), PUT_MEAN(d->d_logit), PUT_MEAN(d->d_margin);
        PUT(d->top1);
    }
    for (size_t i = 0; i < a->listed_count; i++) {
        const kh_ablate_neuron *l = &a->listed[i];
        PUT(l->neuron.index), PUT(l->ln), PUT(l->contribution), PUT(l->direct);
        PUT(l->direct_margin), PUT(l->activation);
        PUT_MEAN(l->effect_logit), PUT_MEAN(l->effect_margin);
    }
    for (size_t i = 0; i < a->correlation_count; i++)
        PUT(a->correlations[i].spearman), PUT(a->correlations[i].lo);
    for (size_t i = 0; i < a->shared_count; i++)
        PUT(a->shared[i].neuron.index), PUT_MEAN(a->shared[i].d_logit);
    for (size_t i = 0; i < a->class_count; i++)
        PUT(a->class_rows[i].margin), PUT(a->class_rows[i].k50);
    for (size_t i = 0; i < a->quantity_count; i++)
        PUT_MEAN(a->quantities[i].value);
    assert_true(n <= MOST);
    return n;
#undef PUT_MEAN
#undef PUT
}

static inline kh_ablate_options everything(void) {
    kh_ablate_options o = ablate_world_options();
    const size_t grid[] = {1, 3, 10, 60};
    memcpy(o.k, grid, sizeof grid);
    o.k_count = 4;
    o.designs = KH_ABLATE_EVERYTHING;
    o.ops[1] = KH_ABLATE_RESAMPLE;
    o.ops[2] = KH_ABLATE_CLASS_MEAN;
    o.op_count = 3;
    o.keys = 3;
    o.random_keys = 3;
    o.seed = 5;
    return o;
}

static inline void assert_same_numbers(const double *a, const double *b, size_t n,
                                       const char *what) {
    for (size_t i = 0; i < n; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s: number %zu of %zu is %.17g, was %.17g", what, i, n, b[i], a[i]);
}

#endif
