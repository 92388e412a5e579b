/* Rows about single neurons: alignment, contribution and effect side by side, how they correlate,
 * and whether a shared neuron carries all of its classes. */
#include "lens/ablate.h"
#include "lens/attribution.h"

#include "base/alloc.h"

#include <math.h>

/* ---- causal -------------------------------------------------------------------------------- */

static void list_class(kh_ablate_study *s, kh_ablation *out, size_t c, kh_columns *columns,
                       const float **rows) {
    const size_t width = s->listed_count * KH_CAUSAL_COLUMNS;
    size_t n = 0;
    for (size_t i = 0; i < s->images; i++)
        if (s->truth[i] == c) rows[n++] = s->causal + i * width;
    kh_columns_fill(columns, rows, n, s->o.seed);
    for (size_t l = 0; l < s->listed_count; l++) {
        const kh_ablate_listed *from = &s->listed[c * s->listed_count + l];
        const size_t unit = from->unit, at = l * KH_CAUSAL_COLUMNS;
        out->listed[out->listed_count++] = (kh_ablate_neuron){
            .class_index = c,
            .neuron = {s->first_block + unit / s->info->neurons, unit % s->info->neurons},
            .picked_by = from->picked_by,
            .place = s->ln_place[c * s->units + unit],
            .ln = (double)s->ln[unit * s->classes + c],
            .fold = (double)s->fold[unit * s->classes + c],
            .contribution = s->contribution[c * s->units + unit],
            .direct = columns->mean[at + 2],
            .direct_margin = columns->mean[at + 3],
            .activation = s->activation[c * s->units + unit],
            .effect_logit = kh_columns_get(columns, at, n),
            .effect_margin = kh_columns_get(columns, at + 1, n)};
    }
}

/* ---- correlations -------------------------------------------------------------------------- */

typedef enum quantity {
    LN,
    FOLD,
    CONTRIBUTION,
    DIRECT,
    DIRECT_MARGIN,
    ACTIVATION,
    EFFECT,
    EFFECT_MARGIN
} quantity;

static double quantity_of(const kh_ablate_neuron *n, quantity q) {
    switch (q) {
    case LN:
        return n->ln;
    case FOLD:
        return n->fold;
    case CONTRIBUTION:
        return n->contribution;
    case DIRECT:
        return n->direct;
    case DIRECT_MARGIN:
        return n->direct_margin;
    case ACTIVATION:
        return n->activation;
    case EFFECT:
        return n->effect_logit.mean;
    case EFFECT_MARGIN:
        return n->effect_margin.mean;
    }
    return (double)NAN;
}

static const struct {
    const char *name;
    quantity a, b;
} pairs[] = {{"ln_contribution", LN, CONTRIBUTION},
             {"ln_effect", LN, EFFECT},
             {"fold_effect", FOLD, EFFECT},
             {"contribution_effect", CONTRIBUTION, EFFECT},
             {"direct_effect", DIRECT, EFFECT},
             {"activation_effect", ACTIVATION, EFFECT},
             {"ln_effect_margin", LN, EFFECT_MARGIN},
             {"contribution_effect_margin", CONTRIBUTION, EFFECT_MARGIN},
             {"direct_margin_effect_margin", DIRECT_MARGIN, EFFECT_MARGIN}};
enum { PAIRS = sizeof pairs / sizeof *pairs };
static const char *const choices[] = {"listed", "ln", "random"};
enum { CHOICES = 3 };

static bool is_chosen(const kh_ablate_neuron *n, size_t choice) {
    return choice == 0 || (choice == 1 && n->picked_by == KH_ABLATE_PICK_LN) ||
           (choice == 2 && n->picked_by == KH_ABLATE_PICK_RANDOM);
}

typedef struct correlating {
    const kh_ablate_study *s;
    kh_ablation *out;
    float *a, *b;    /* [listed] */
    double *classes; /* [class rows] */
    kh_attribution_scratch scratch;
} correlating;

static bool is_constant(const float *values, size_t n) {
    for (size_t i = 1; i < n; i++)
        if (values[i] != values[0]) return false;
    return true;
}

/* Over out->listed[first .. end): value->n and value->mean. NaN where a side is constant or not
 * known. */
static kh_status correlate(correlating *w, size_t first, size_t end, size_t pair, size_t choice,
                           kh_ablate_mean *value, kh_error *err) {
    size_t n = 0;
    bool is_known = true;
    for (size_t i = first; i < end; i++) {
        if (!is_chosen(&w->out->listed[i], choice)) continue;
        w->a[n] = (float)quantity_of(&w->out->listed[i], pairs[pair].a);
        w->b[n] = (float)quantity_of(&w->out->listed[i], pairs[pair].b);
        is_known = is_known && !isnan(w->a[n]) && !isnan(w->b[n]);
        n++;
    }
    const bool is_usable = is_known && !is_constant(w->a, n) && !is_constant(w->b, n);
    value->n = n;
    value->mean = is_usable ? kh_spearman(w->a, w->b, n, &w->scratch) : (double)NAN;
    if (is_usable && isnan(value->mean))
        return kh_fail(err, KH_E_MEMORY, "no memory to rank %zu neurons", n);
    return KH_OK;
}

static void add_correlation(correlating *w, kh_ablate_level level, size_t c, size_t pair,
                            size_t choice, kh_ablate_mean value) {
    w->out->correlations[w->out->correlation_count++] =
        (kh_ablate_correlation){.level = level,
                                .class_index = c,
                                .neurons = choices[choice],
                                .pair = pairs[pair].name,
                                .n = value.n,
                                .spearman = value.mean,
                                .lo = value.lo,
                                .hi = value.hi};
}

static kh_status correlate_all(correlating *w, kh_error *err) {
    kh_ablation *out = w->out;
    const size_t each = w->s->listed_count;
    for (size_t choice = 0; choice < CHOICES; choice++)
        for (size_t p = 0; p < PAIRS; p++) {
            kh_ablate_mean one = {0, (double)NAN, (double)NAN, (double)NAN, (double)NAN};
            for (size_t i = 0; i < out->class_count; i++) {
                KH_TRY(correlate(w, i * each, (i + 1) * each, p, choice, &one, err));
                w->classes[i] = one.mean;
                add_correlation(w, KH_ABLATE_OF_CLASS, out->class_rows[i].class_index, p, choice,
                                one);
                if (choice == 0 && pairs[p].a == LN && pairs[p].b == EFFECT)
                    out->class_rows[i].spearman_ln_effect = one.mean;
            }
            KH_TRY(correlate(w, 0, out->listed_count, p, choice, &one, err));
            kh_ablate_mean mean;
            KH_TRY(kh_ablate_over(w->classes, out->class_count, &w->s->o, &mean, err));
            add_correlation(w, KH_ABLATE_OF_MEAN, KH_NO_CLASS, p, choice, mean);
            add_correlation(w, KH_ABLATE_OF_POOLED, KH_NO_CLASS, p, choice, one);
            if (choice == 0) kh_ablate_add_quantity(out, false, mean, "spearman_%s", pairs[p].name);
        }
    return KH_OK;
}

kh_status kh_ablate_causal_rows(kh_ablate_study *s, kh_ablation *out, kh_error *err) {
    if (!s->causal || s->listed_count == 0) return KH_OK;
    correlating w = {.s = s, .out = out};
    kh_columns columns = {0};
    const float **rows = kh_calloc(s->images, sizeof *rows);
    const size_t most = out->class_count * s->listed_count;
    w.a = kh_alloc_floats(most);
    w.b = kh_alloc_floats(most);
    w.classes = kh_calloc(out->class_count, sizeof *w.classes);
    kh_status status = KH_OK;
    if (!rows || !w.a || !w.b || !w.classes)
        status = kh_fail(err, KH_E_MEMORY, "no memory for correlations");
    if (!status)
        status =
            kh_columns_init(&columns, s->listed_count * KH_CAUSAL_COLUMNS, s->o.resamples, err);
    if (!status) status = kh_attribution_scratch_init(&w.scratch, most, err);
    if (!status) {
        for (size_t i = 0; i < out->class_count; i++)
            list_class(s, out, out->class_rows[i].class_index, &columns, rows);
        status = correlate_all(&w, err);
    }
    kh_attribution_scratch_clear(&w.scratch);
    kh_columns_clear(&columns);
    kh_free(w.classes);
    kh_free(w.b);
    kh_free(w.a);
    kh_free(rows);
    return status;
}

/* ---- shared neurons ------------------------------------------------------------------------ */

static bool is_member(const kh_ablate_study *s, size_t c, size_t shared) {
    return s->order[c * s->units] == s->shared[shared];
}

/* Images of class c, or of all classes that are no members. Returns whether the logit drops for
 * sure. */
static bool add_shared(kh_ablate_study *s, kh_ablation *out, size_t at, size_t c,
                       kh_columns *columns, const float **rows) {
    size_t n = 0;
    for (size_t i = 0; i < s->images; i++)
        if (c == KH_NO_CLASS ? !is_member(s, s->truth[i], at) : s->truth[i] == c)
            rows[n++] = s->shared_values + (i * s->shared_count + at) * KH_SHARED_COLUMNS;
    kh_columns_fill(columns, rows, n, s->o.seed);
    const kh_ablate_mean logit = kh_columns_get(columns, 0, n);
    const size_t unit = s->shared[at];
    out->shared[out->shared_count++] = (kh_ablate_shared){
        .neuron = {s->first_block + unit / s->info->neurons, unit % s->info->neurons},
        .members = s->shared_members[at],
        .class_index = c,
        .is_member = c != KH_NO_CLASS,
        .drops = logit.hi < 0,
        .d_logit = logit,
        .d_margin = kh_columns_get(columns, 1, n),
        .random_d_logit = columns->mean[2]};
    return logit.hi < 0;
}

kh_status kh_ablate_shared_rows(kh_ablate_study *s, kh_ablation *out, kh_error *err) {
    if (!s->shared_values) return KH_OK;
    kh_columns columns = {0};
    const float **rows = kh_calloc(s->images, sizeof *rows);
    kh_status status = rows ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for shared neurons");
    if (!status) status = kh_columns_init(&columns, KH_SHARED_COLUMNS, s->o.resamples, err);
    size_t all_drop = 0, drops = 0, members = 0, random_drops = 0;
    for (size_t i = 0; i < s->shared_count && !status; i++) {
        bool all = true;
        for (size_t k = 0; k < out->class_count; k++) {
            const size_t c = out->class_rows[k].class_index;
            if (!is_member(s, c, i)) continue;
            const bool one = add_shared(s, out, i, c, &columns, rows);
            const kh_ablate_mean random =
                kh_columns_get(&columns, 2, out->shared[out->shared_count - 1].d_logit.n);
            drops += one;
            random_drops += random.hi < 0;
            members++;
            all = all && one;
        }
        (void)add_shared(s, out, i, KH_NO_CLASS, &columns, rows);
        all_drop += all;
    }
    kh_columns_clear(&columns);
    kh_free(rows);
    kh_ablate_mean value = {members, (double)NAN, (double)NAN, (double)NAN, (double)NAN};
    value.mean = (double)drops / (double)members;
    if (!status) kh_ablate_add_quantity(out, false, value, "shared_members_drop");
    value.mean = (double)random_drops / (double)members;
    if (!status) kh_ablate_add_quantity(out, false, value, "shared_random_drop");
    value.n = s->shared_count;
    value.mean = (double)all_drop / (double)s->shared_count;
    if (!status) kh_ablate_add_quantity(out, false, value, "shared_neurons_all_drop");
    return status;
}
