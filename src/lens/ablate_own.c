/* Design A: every image loses the neurons of its own class; controls; insertion. */
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/checked.h"

enum { INSERTION_SETS = 5 };

static size_t grid_up_to(const kh_ablate_study *s, size_t most) {
    size_t count = 0;
    while (count < s->o.k_count && s->o.k[count] <= most)
        count++;
    return count;
}

static void add_series(kh_ablate_study *s, kh_ablate_set set, kh_ablate_op op, bool is_insertion,
                       size_t sets, size_t k_count) {
    if (sets > 0 && k_count > 0)
        s->series[s->series_count++] = (kh_ablate_series){set, op, is_insertion, sets, k_count};
}

void kh_ablate_list_series(kh_ablate_study *s) {
    const kh_ablate_options *o = &s->o;
    const size_t half = grid_up_to(s, s->units / 2), below = grid_up_to(s, s->units - 1);
    const size_t few = o->sets < INSERTION_SETS ? o->sets : INSERTION_SETS;
    const bool is_wanted = (o->designs & KH_ABLATE_OWN) != 0;
    for (size_t i = 0; i < o->op_count && is_wanted; i++)
        add_series(s, KH_ABLATE_RANKED, o->ops[i], false, 1, o->k_count);
    if (is_wanted) {
        add_series(s, KH_ABLATE_RANDOM, o->ops[0], false, o->sets, half);
        add_series(s, KH_ABLATE_ACTIVE, o->ops[0], false, 1, half);
        add_series(s, KH_ABLATE_RANKED, o->ops[0], true, 1, below);
        add_series(s, KH_ABLATE_RANDOM, o->ops[0], true, few, below);
    }
    s->columns = s->series_count * o->k_count * KH_ABLATE_METRICS;
}

kh_status kh_ablate_plan_own(kh_ablate_study *s, kh_error *err) {
    const kh_ablate_options *o = &s->o;
    size_t cells, sums;
    kh_ablate_list_series(s);
    if (!kh_mul(s->images, s->columns, &cells) || !kh_mul(s->columns * 2, o->sets + 1, &sums))
        return kh_fail(err, KH_E_LIMIT, "too many images and conditions");
    s->own = kh_calloc(cells, sizeof *s->own);
    s->set_sums = kh_calloc(sums, sizeof *s->set_sums);
    s->sets = kh_calloc((o->sets + 3) * s->units, sizeof *s->sets);
    if (s->own && s->set_sums && s->sets) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for %zu numbers of each of %zu images", s->columns,
                   s->images);
}

kh_ablate_part kh_ablate_part_of(const kh_ablate_study *s, kh_ablate_op op, size_t image,
                                 const kh_ablate_state *donor, const uint32_t *units, size_t count,
                                 const uint32_t *rest) {
    kh_ablate_part part = {.units = units,
                           .count = count,
                           .rest = rest,
                           .op = op,
                           .alpha = s->o.alpha,
                           .row_units = s->units};
    if (part.op == KH_ABLATE_MEAN) part.means = s->means;
    if (part.op == KH_ABLATE_CLASS_MEAN)
        part.means = s->class_means + s->truth[image] * s->groups * s->units;
    if (part.op == KH_ABLATE_RESAMPLE) part.donor = donor;
    return part;
}

/* tag: (series, k, set) */
static void keep(void *user, size_t tag, const float *logits) {
    kh_ablate_visit *v = user;
    kh_ablate_study *s = v->study;
    const size_t per_k = s->o.sets + 1, k = tag / per_k % s->o.k_count;
    const size_t series = tag / per_k / s->o.k_count;
    const kh_ablate_series *what = &s->series[series];
    kh_ablate_measure(&v->base, logits, s->classes, v->truth, v->scratch, v->metrics);
    float *to = s->own + v->image * s->columns + kh_own_column(s, series, k, 0);
    double *sums = s->set_sums + tag * KH_ABLATE_METRICS * 2;
    for (size_t m = 0; m < KH_ABLATE_METRICS; m++) {
        to[m] += (float)(v->metrics[m] / (double)what->sets);
        sums[2 * m] += v->metrics[m];
        if (s->is_right[v->image]) sums[2 * m + 1] += v->metrics[m];
    }
}

static kh_status add_set(kh_ablate_visit *v, size_t series, size_t set, const uint32_t *order,
                         kh_error *err) {
    kh_ablate_study *s = v->study;
    const kh_ablate_series *what = &s->series[series];
    const bool is_whole =
        what->set != KH_ABLATE_ACTIVE; /* the active list lacks half the neurons */
    for (size_t k = 0; k < what->k_count; k++) {
        const size_t count = s->o.k[k], left = s->units - count;
        const kh_ablate_part part =
            what->is_insertion
                ? kh_ablate_part_of(s, what->op, v->image, v->donor, order + count, left, order)
                : kh_ablate_part_of(s, what->op, v->image, v->donor, order, count,
                                    is_whole ? order + count : NULL);
        const size_t tag = (series * s->o.k_count + k) * (s->o.sets + 1) + set;
        KH_TRY(kh_engine_add(&s->engine, v->state, &part, 1, tag, keep, v, err));
    }
    return KH_OK;
}

kh_status kh_ablate_visit_own(kh_ablate_visit *v, kh_error *err) {
    kh_ablate_study *s = v->study;
    for (size_t set = 0; set < s->o.sets && s->series_count; set++)
        kh_ablate_random_order(s, v->truth, set, s->sets + set * s->units);
    for (size_t i = 0; i < s->series_count; i++) {
        const kh_ablate_series *what = &s->series[i];
        for (size_t set = 0; set < what->sets; set++) {
            const uint32_t *order = s->order + v->truth * s->units;
            if (what->set == KH_ABLATE_RANDOM) order = s->sets + set * s->units;
            if (what->set == KH_ABLATE_ACTIVE) order = s->active + v->truth * (s->units / 2);
            KH_TRY(add_set(v, i, set, order, err));
        }
    }
    return kh_engine_flush(&s->engine, keep, v, err);
}
