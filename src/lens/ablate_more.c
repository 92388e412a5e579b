/* The second round over the images: one visit each, and every design but A. */
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <math.h>
#include <string.h>

const double kh_steer_alphas[KH_STEER_DOSES] = {0, 0.5, 1, 2, 4, 8};

/* ---- sweep --------------------------------------------------------------------------------- */

/* tag: (class, k) */
static void keep_sweep(void *user, size_t tag, const float *logits) {
    kh_ablate_visit *v = user;
    const kh_ablate_study *s = v->study;
    const size_t cells = s->classes * s->o.sweep_k_count, c = tag / s->o.sweep_k_count;
    float *to = s->sweep + (v->image * cells + tag) * KH_SWEEP_COLUMNS;
    kh_ablate_measure(&v->base, logits, s->classes, v->truth, v->scratch, v->metrics);
    to[0] = (float)v->metrics[KH_ABLATE_D_LOGIT];
    to[1] = (float)v->metrics[KH_ABLATE_D_MARGIN];
    to[2] = (float)v->metrics[KH_ABLATE_D_TOP1];
    to[3] = logits[c] - v->base.logits[c];
}

static kh_status visit_sweep(kh_ablate_visit *v, kh_error *err) {
    kh_ablate_study *s = v->study;
    for (size_t c = 0; c < s->classes; c++)
        for (size_t k = 0; k < s->o.sweep_k_count && s->class_n[c] > 0; k++) {
            const uint32_t *order = s->order + c * s->units;
            const size_t count = s->o.sweep_k[k];
            const kh_ablate_part part =
                kh_ablate_part_of(s, s->o.ops[0], v->image, v->donor, order, count, order + count);
            KH_TRY(kh_engine_add(&s->engine, v->state, &part, 1, c * s->o.sweep_k_count + k,
                                 keep_sweep, v, err));
        }
    return kh_engine_flush(&s->engine, keep_sweep, v, err);
}

/* ---- swap ---------------------------------------------------------------------------------- */

/* tag: 0 the class's neurons zeroed only; then (pair, random) */
static void keep_swap(void *user, size_t tag, const float *logits) {
    kh_ablate_visit *v = user;
    const kh_ablate_study *s = v->study;
    const size_t predicted = kh_ablate_predicted(logits, s->classes);
    for (size_t p = 0; p < s->o.pairs; p++) {
        const size_t to = s->pair_to[v->truth * s->o.pairs + p];
        float *at = s->swap + (v->image * s->o.pairs + p) * KH_SWAP_COLUMNS;
        if (tag == 0) at[1] = predicted == to;
        if (tag == 2 + 2 * p) at[2] = predicted == to;
        if (tag != 1 + 2 * p) continue;
        kh_ablate_log_softmax(logits, s->classes, v->scratch);
        at[0] = predicted == to;
        at[3] = logits[v->truth] - v->base.logits[v->truth];
        at[4] = logits[to] - v->base.logits[to];
        at[5] = (float)exp(v->scratch[to]);
    }
}

/* units without those of set[count] -> out, how many */
static size_t without(const uint32_t *units, size_t count, const uint32_t *set, uint32_t *out) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_in = false;
        for (size_t j = 0; j < count; j++)
            is_in |= units[i] == set[j];
        if (!is_in) out[kept++] = units[i];
    }
    return kept;
}

static kh_status add_swap(kh_ablate_visit *v, const uint32_t *from, const uint32_t *to, size_t c,
                          uint32_t *list, size_t tag, kh_error *err) {
    kh_ablate_study *s = v->study;
    const size_t k = s->o.swap_k;
    const kh_ablate_part parts[] = {
        {.units = list, .count = without(from, k, to, list), .op = KH_ABLATE_ZERO},
        {.units = to,
         .count = k,
         .op = KH_ABLATE_CLASS_MEAN,
         .means = s->class_means + c * s->groups * s->units,
         .row_units = s->units}};
    return kh_engine_add(&s->engine, v->state, parts, 2, tag, keep_swap, v, err);
}

static kh_status visit_swap(kh_ablate_visit *v, kh_error *err) {
    kh_ablate_study *s = v->study;
    const size_t k = s->o.swap_k, pairs = s->o.pairs;
    const uint32_t *own = s->order + v->truth * s->units;
    uint32_t *random = s->lists + 3 * pairs * k; /* two orders, then scratch */
    const kh_ablate_part zero = {.units = own, .count = k, .op = KH_ABLATE_ZERO};
    KH_TRY(kh_engine_add(&s->engine, v->state, &zero, 1, 0, keep_swap, v, err));
    kh_ablate_random_order(s, v->truth, 0, random);
    for (size_t p = 0; p < pairs; p++) {
        const size_t to = s->pair_to[v->truth * pairs + p];
        uint32_t *lists = s->lists + 3 * p * k;
        kh_ablate_random_order(s, to, 0, random + s->units);
        memcpy(lists + 2 * k, random + s->units, k * sizeof *lists);
        KH_TRY(add_swap(v, own, s->order + to * s->units, to, lists, 1 + 2 * p, err));
        KH_TRY(add_swap(v, random, lists + 2 * k, to, lists + k, 2 + 2 * p, err));
    }
    return kh_engine_flush(&s->engine, keep_swap, v, err);
}

/* ---- steering ------------------------------------------------------------------------------ */

/* tag: (own or other, ranked or random, dose) */
static void keep_steer(void *user, size_t tag, const float *logits) {
    kh_ablate_visit *v = user;
    const kh_ablate_study *s = v->study;
    const size_t c = tag / KH_STEER_DOSES / 2 ? s->other[v->image] : v->truth;
    float *to = s->steer + (v->image * 4 * KH_STEER_DOSES + tag) * KH_STEER_COLUMNS;
    const size_t predicted = kh_ablate_predicted(logits, s->classes);
    to[0] = predicted == c;
    to[1] = logits[c] - v->base.logits[c];
    to[2] = (float)(kh_ablate_margin(logits, s->classes, c) -
                    kh_ablate_margin(v->base.logits, s->classes, c));
    to[3] = predicted == v->truth;
}

static kh_status visit_steer(kh_ablate_visit *v, kh_error *err) {
    kh_ablate_study *s = v->study;
    for (size_t who = 0; who < 2; who++) {
        const size_t c = who ? s->other[v->image] : v->truth;
        uint32_t *random = s->sets;
        kh_ablate_random_order(s, c, 0, random);
        for (size_t set = 0; set < 2; set++)
            for (size_t d = 0; d < KH_STEER_DOSES; d++) {
                const kh_ablate_part part = {.units = set ? random : s->order + c * s->units,
                                             .count = s->o.steer_k,
                                             .op = KH_ABLATE_SCALE,
                                             .alpha = kh_steer_alphas[d]};
                KH_TRY(kh_engine_add(&s->engine, v->state, &part, 1,
                                     (who * 2 + set) * KH_STEER_DOSES + d, keep_steer, v, err));
            }
        KH_TRY(kh_engine_flush(&s->engine, keep_steer, v, err)); /* `random` changes */
    }
    return KH_OK;
}

/* ---- single neurons ------------------------------------------------------------------------ */

static void keep_causal(void *user, size_t tag, const float *logits) {
    kh_ablate_visit *v = user;
    const kh_ablate_study *s = v->study;
    float *to = s->causal + (v->image * s->listed_count + tag) * KH_CAUSAL_COLUMNS;
    to[0] = v->base.logits[v->truth] - logits[v->truth];
    to[1] = (float)(kh_ablate_margin(v->base.logits, s->classes, v->truth) -
                    kh_ablate_margin(logits, s->classes, v->truth));
}

/* What the edit takes from the value vector's weight in the normalised residual that the logits
 * read, the final norm's denominator frozen; times `fold`: logits. */
static double weight_taken(const kh_ablate_visit *v, const kh_ablate_part *part) {
    const kh_ablate_study *s = v->study;
    const size_t neurons = s->info->neurons, unit = part->units[0];
    const float *a = v->state->a[unit / neurons] + unit % neurons;
    const kh_ablate_rows rows = kh_engine_rows(&s->engine, v->state);
    double sum = 0;
    for (size_t i = 0; i < rows.count; i++) {
        const size_t t = rows.tokens[i];
        const double old = (double)a[t * neurons];
        sum += v->weight[t] * (old - kh_ablate_value(part, s->info, 0, unit, t, old));
    }
    return sum;
}

/* The largest other logit's class. */
static size_t rival_of(const kh_ablate_visit *v) {
    const size_t classes = v->study->classes;
    size_t best = v->truth == 0 && classes > 1 ? 1 : 0;
    for (size_t c = 0; c < classes; c++)
        if (c != v->truth && v->base.logits[c] > v->base.logits[best]) best = c;
    return best;
}

static void note_direct(const kh_ablate_visit *v, const kh_ablate_part *part, size_t rival,
                        float *out) {
    const kh_ablate_study *s = v->study;
    const float *fold = s->fold + part->units[0] * s->classes;
    const double taken = kh_ablate_has_weights(s->info) ? weight_taken(v, part) : (double)NAN;
    out[2] = (float)(taken * (double)fold[v->truth]);
    out[3] = (float)(taken * ((double)fold[v->truth] - (double)fold[rival]));
}

static kh_status visit_causal(kh_ablate_visit *v, kh_error *err) {
    kh_ablate_study *s = v->study;
    const kh_ablate_listed *list = s->listed + v->truth * s->listed_count;
    const size_t rival = rival_of(v);
    for (size_t i = 0; i < s->listed_count; i++) {
        const kh_ablate_part part =
            kh_ablate_part_of(s, s->o.ops[0], v->image, v->donor, &list[i].unit, 1, NULL);
        note_direct(v, &part, rival,
                    s->causal + (v->image * s->listed_count + i) * KH_CAUSAL_COLUMNS);
        KH_TRY(kh_engine_add(&s->engine, v->state, &part, 1, i, keep_causal, v, err));
    }
    return kh_engine_flush(&s->engine, keep_causal, v, err);
}

/* tag: (neuron, random) */
static void keep_shared(void *user, size_t tag, const float *logits) {
    kh_ablate_visit *v = user;
    const kh_ablate_study *s = v->study;
    float *to =
        s->shared_values + (v->image * s->shared_count + tag / 2) * KH_SHARED_COLUMNS + tag % 2 * 2;
    to[0] = logits[v->truth] - v->base.logits[v->truth];
    to[1] = (float)(kh_ablate_margin(logits, s->classes, v->truth) -
                    kh_ablate_margin(v->base.logits, s->classes, v->truth));
}

static kh_status visit_shared(kh_ablate_visit *v, kh_error *err) {
    kh_ablate_study *s = v->study;
    for (size_t i = 0; i < 2 * s->shared_count; i++) {
        const uint32_t *unit = (i % 2 ? s->shared_random : s->shared) + i / 2;
        const kh_ablate_part part =
            kh_ablate_part_of(s, s->o.ops[0], v->image, v->donor, unit, 1, NULL);
        KH_TRY(kh_engine_add(&s->engine, v->state, &part, 1, i, keep_shared, v, err));
    }
    return kh_engine_flush(&s->engine, keep_shared, v, err);
}

/* ---- memory -------------------------------------------------------------------------------- */

static kh_status make(float **out, size_t images, size_t a, size_t b, const char *what,
                      kh_error *err) {
    size_t count;
    if (!kh_mul(a, b, &count) || !kh_mul(count, images, &count))
        return kh_fail(err, KH_E_LIMIT, "too many images for %s", what);
    *out = kh_calloc(count, sizeof **out);
    if (*out) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for %s of %zu images (%.0f MB)", what, images,
                   (double)count * 4e-6);
}

kh_status kh_ablate_plan_more(kh_ablate_study *s, kh_error *err) {
    const kh_ablate_options *o = &s->o;
    const size_t n = s->images;
    if (o->designs & KH_ABLATE_SWEEP)
        KH_TRY(
            make(&s->sweep, n, s->classes * o->sweep_k_count, KH_SWEEP_COLUMNS, "the sweep", err));
    if (o->designs & KH_ABLATE_SWAP) {
        KH_TRY(make(&s->swap, n, o->pairs, KH_SWAP_COLUMNS, "swaps", err));
        s->lists = kh_calloc(3 * o->pairs * o->swap_k + 4 * s->units, sizeof *s->lists);
        if (!s->lists) return kh_fail(err, KH_E_MEMORY, "no memory for swaps");
    }
    if (o->designs & KH_ABLATE_STEER)
        KH_TRY(make(&s->steer, n, 4 * KH_STEER_DOSES, KH_STEER_COLUMNS, "steering", err));
    if (o->designs & KH_ABLATE_CAUSAL)
        KH_TRY(make(&s->causal, n, s->listed_count, KH_CAUSAL_COLUMNS, "single neurons", err));
    if (o->designs & KH_ABLATE_SHARED)
        KH_TRY(
            make(&s->shared_values, n, s->shared_count, KH_SHARED_COLUMNS, "shared neurons", err));
    return KH_OK;
}

kh_status kh_ablate_visit_more(kh_ablate_visit *v, kh_error *err) {
    const unsigned designs = v->study->o.designs;
    if (designs & KH_ABLATE_SWEEP) KH_TRY(visit_sweep(v, err));
    if (designs & KH_ABLATE_SWAP) KH_TRY(visit_swap(v, err));
    if (designs & KH_ABLATE_STEER) KH_TRY(visit_steer(v, err));
    if (designs & KH_ABLATE_CAUSAL) KH_TRY(visit_causal(v, err));
    return designs & KH_ABLATE_SHARED ? visit_shared(v, err) : KH_OK;
}
