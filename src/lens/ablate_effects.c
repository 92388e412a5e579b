/* Rows of design A: every metric over all images and over those of each class. */
#include "lens/ablate.h"

#include "base/alloc.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

const size_t kh_ablate_sizes[KH_SIZES] = {1, 3, 10};

size_t kh_ablate_find_k(const size_t *list, size_t count, size_t k) {
    for (size_t i = 0; i < count; i++)
        if (list[i] == k) return i;
    return SIZE_MAX;
}

enum { MOST_QUANTITIES = 160 };

void kh_ablate_add_quantity(kh_ablation *out, bool is_correct, kh_ablate_mean value,
                            const char *format, ...) {
    if (out->quantity_count == MOST_QUANTITIES) return;
    kh_ablate_quantity *q = &out->quantities[out->quantity_count++];
    q->is_correct = is_correct;
    q->value = value;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(q->key, sizeof q->key, format, args);
    va_end(args);
}

/* ---- room ---------------------------------------------------------------------------------- */

static void *room(size_t count, size_t bytes, bool *ok) {
    void *block = kh_calloc(count, bytes);
    *ok = *ok && block;
    return block;
}

static void begin_classes(const kh_ablate_study *s, kh_ablation *out) {
    const double nan = (double)NAN;
    for (size_t c = 0; c < s->classes; c++) {
        if (s->class_n[c] == 0) continue;
        const uint32_t unit = s->order[c * s->units];
        kh_ablate_class *row = &out->class_rows[out->class_count++];
        *row = (kh_ablate_class){
            .class_index = c,
            .n = s->class_n[c],
            .first = {s->first_block + unit / s->info->neurons, unit % s->info->neurons},
            .ln = (double)s->ln[unit * s->classes + c],
            .k50 = KH_NO_CLASS,
            .d_logit_1 = {0, nan, nan, nan, nan},
            .d_top1_10 = nan,
            .spearman_ln_effect = nan};
        for (size_t i = 0; i < KH_SIZES; i++)
            row->share[i] = row->d_margin[i] = row->random_d_margin[i] = row->selectivity[i] = nan;
        for (size_t i = 0; i < s->images; i++) {
            if (s->truth[i] != c) continue;
            row->correct += s->is_right[i];
            row->margin += (double)s->base_margin[i] / (double)row->n;
        }
    }
}

kh_status kh_ablate_make_room(kh_ablate_study *s, kh_ablation *out, kh_error *err) {
    const unsigned d = s->o.designs;
    const size_t classes = s->classes, groups = 2 * (classes + 1);
    const size_t own = groups * s->series_count * s->o.k_count * (KH_ABLATE_METRICS + 1);
    const size_t sweep = d & KH_ABLATE_SWEEP ? (classes + 1) * s->o.sweep_k_count * 8 : 0;
    const size_t listed = d & KH_ABLATE_CAUSAL ? classes * s->listed_count : 0;
    bool ok = true;
    out->effects = room(own + sweep, sizeof *out->effects, &ok);
    out->points = room(2 * s->series_count * (s->o.k_count + 2), sizeof *out->points, &ok);
    out->swaps = room(d & KH_ABLATE_SWAP ? classes * s->o.pairs + 3 : 0, sizeof *out->swaps, &ok);
    out->doses =
        room(d & KH_ABLATE_STEER ? (classes + 1) * 4 * KH_STEER_DOSES : 0, sizeof *out->doses, &ok);
    out->listed = room(listed, sizeof *out->listed, &ok);
    out->correlations =
        room(d & KH_ABLATE_CAUSAL ? (classes + 2) * 27 : 0, sizeof *out->correlations, &ok);
    out->shared = room(s->shared_count * (classes + 1), sizeof *out->shared, &ok);
    out->class_rows = room(classes, sizeof *out->class_rows, &ok);
    out->quantities = room(MOST_QUANTITIES, sizeof *out->quantities, &ok);
    if (!ok) return kh_fail(err, KH_E_MEMORY, "no memory for the tables of an ablation");
    begin_classes(s, out);
    return KH_OK;
}

/* ---- rows ---------------------------------------------------------------------------------- */

typedef struct writing {
    kh_ablate_study *s;
    kh_ablation *out;
    kh_columns columns;
    double *ratios; /* [resamples] */
    double *means;  /* [sets] */
    size_t n, class_index;
    bool is_correct;
    kh_ablate_class *row; /* of the class, or NULL */
} writing;

/* Of all images: where the sets' means lie. */
static void set_interval(const writing *w, size_t series, size_t k, size_t metric, double *lo,
                         double *hi) {
    const kh_ablate_study *s = w->s;
    const kh_ablate_series *what = &s->series[series];
    *lo = *hi = (double)NAN;
    if (what->set != KH_ABLATE_RANDOM || w->class_index != KH_NO_CLASS || w->n == 0) return;
    for (size_t set = 0; set < what->sets; set++) {
        const size_t tag = (series * s->o.k_count + k) * (s->o.sets + 1) + set;
        w->means[set] =
            s->set_sums[(tag * KH_ABLATE_METRICS + metric) * 2 + w->is_correct] / (double)w->n;
    }
    kh_columns_interval(w->means, what->sets, lo, hi);
}

static kh_ablate_effect *add_row(writing *w, size_t series, size_t k, kh_ablate_metric metric,
                                 kh_ablate_mean value) {
    const kh_ablate_study *s = w->s;
    kh_ablate_effect *e = &w->out->effects[w->out->effect_count++];
    *e = (kh_ablate_effect){.is_correct = w->is_correct,
                            .images = KH_ABLATE_ON_OWN,
                            .set = s->series[series].set,
                            .op = s->series[series].op,
                            .k = s->o.k[k],
                            .class_index = w->class_index,
                            .metric = metric,
                            .value = value,
                            .set_lo = (double)NAN,
                            .set_hi = (double)NAN};
    return e;
}

/* The ranked series with this op: its last k is the whole scope. */
static size_t whole_of(const kh_ablate_study *s, size_t series) {
    for (size_t i = 0; i < s->series_count; i++)
        if (s->series[i].set == KH_ABLATE_RANKED && !s->series[i].is_insertion &&
            s->series[i].op == s->series[series].op)
            return i;
    return series;
}

/* A share of a damage that is none means nothing. */
static double ratio(double part, double whole) {
    return whole < 0 ? part / whole : (double)NAN;
}

static kh_ablate_mean share_of(writing *w, size_t series, size_t k) {
    const kh_ablate_study *s = w->s;
    kh_columns *c = &w->columns;
    const size_t at = kh_own_column(s, series, k, KH_ABLATE_D_MARGIN);
    const size_t all = kh_own_column(s, whole_of(s, series), s->o.k_count - 1, KH_ABLATE_D_MARGIN);
    kh_ablate_mean out = {.n = w->n, .mean = ratio(c->mean[at], c->mean[all]), .std = (double)NAN};
    for (size_t r = 0; r < c->resamples; r++)
        w->ratios[r] = ratio(c->means[r * c->count + at], c->means[r * c->count + all]);
    kh_columns_interval(w->ratios, c->resamples, &out.lo, &out.hi);
    return out;
}

/* What classes.csv and summary.csv take from a row. */
static void note(writing *w, size_t series, size_t k, const kh_ablate_effect *e) {
    const kh_ablate_study *s = w->s;
    const size_t size = kh_ablate_find_k(kh_ablate_sizes, KH_SIZES, s->o.k[k]);
    const bool is_main = series == 0, is_random = e->set == KH_ABLATE_RANDOM;
    const bool is_last = s->o.k[k] == s->units;
    const kh_ablate_mean *v = &e->value;
    const char *name = kh_ablate_metric_name(e->metric);
    if (w->row && !w->is_correct && is_main) {
        if (e->metric == KH_ABLATE_SHARE && v->mean >= 0.5 && w->row->k50 == KH_NO_CLASS)
            w->row->k50 = s->o.k[k];
        if (size != SIZE_MAX && e->metric == KH_ABLATE_SHARE) w->row->share[size] = v->mean;
        if (size != SIZE_MAX && e->metric == KH_ABLATE_D_MARGIN) w->row->d_margin[size] = v->mean;
        if (size == 0 && e->metric == KH_ABLATE_D_LOGIT) w->row->d_logit_1 = *v;
        if (size == 2 && e->metric == KH_ABLATE_D_TOP1) w->row->d_top1_10 = v->mean;
    }
    if (w->row && !w->is_correct && is_random && size != SIZE_MAX &&
        e->metric == KH_ABLATE_D_MARGIN)
        w->row->random_d_margin[size] = v->mean;
    if (w->class_index != KH_NO_CLASS) return;
    const bool is_told =
        e->metric == KH_ABLATE_D_MARGIN || e->metric == KH_ABLATE_D_TOP1 ||
        ((e->metric == KH_ABLATE_SHARE || e->metric == KH_ABLATE_D_LOGIT) && is_main);
    if (size != SIZE_MAX && is_told && (is_main || e->set != KH_ABLATE_RANKED)) {
        kh_ablate_mean shown = *v;
        if (is_random) {
            shown.lo = e->set_lo;
            shown.hi = e->set_hi;
        }
        kh_ablate_add_quantity(w->out, w->is_correct, shown, "%s%s_%zu",
                               is_main     ? ""
                               : is_random ? "random_"
                                           : "active_",
                               name, s->o.k[k]);
    }
    if (is_last && is_main && (e->metric == KH_ABLATE_D_MARGIN || e->metric == KH_ABLATE_D_TOP1))
        kh_ablate_add_quantity(w->out, w->is_correct, *v, "%s_all", name);
}

static void write_group(writing *w) {
    const kh_ablate_study *s = w->s;
    for (size_t i = 0; i < s->series_count; i++) {
        if (s->series[i].is_insertion) continue;
        for (size_t k = 0; k < s->series[i].k_count; k++) {
            for (size_t m = 0; m < KH_ABLATE_METRICS; m++) {
                const kh_ablate_mean value =
                    kh_columns_get(&w->columns, kh_own_column(s, i, k, m), w->n);
                kh_ablate_effect *e = add_row(w, i, k, (kh_ablate_metric)m, value);
                set_interval(w, i, k, m, &e->set_lo, &e->set_hi);
                note(w, i, k, e);
            }
            note(w, i, k, add_row(w, i, k, KH_ABLATE_SHARE, share_of(w, i, k)));
        }
    }
}

/* First k of the grid that does half of the whole scope's damage, of the means over all images. */
static void note_k50(writing *w) {
    const kh_ablate_study *s = w->s;
    kh_ablate_mean k50 = {w->n, (double)NAN, (double)NAN, (double)NAN, (double)NAN};
    for (size_t k = s->o.k_count; k-- > 0;)
        if (share_of(w, 0, k).mean >= 0.5) k50.mean = (double)s->o.k[k];
    kh_ablate_add_quantity(w->out, w->is_correct, k50, "k50");
}

static kh_ablate_class *class_row(kh_ablation *out, size_t c) {
    for (size_t i = 0; i < out->class_count; i++)
        if (out->class_rows[i].class_index == c) return &out->class_rows[i];
    return NULL;
}

static double k50_of(const kh_ablate_class *row) {
    return row->k50 == KH_NO_CLASS ? (double)INFINITY : (double)row->k50;
}

/* Lower median over classes; classes that never reach a half count as larger than any. */
static void note_class_median(kh_ablation *out) {
    kh_ablate_mean median = {out->class_count, (double)NAN, (double)NAN, (double)NAN, (double)NAN};
    const size_t middle = (out->class_count - 1) / 2;
    for (size_t i = 0; i < out->class_count; i++) {
        size_t below = 0, up_to = 0;
        const double k = k50_of(&out->class_rows[i]);
        for (size_t j = 0; j < out->class_count; j++) {
            below += k50_of(&out->class_rows[j]) < k;
            up_to += k50_of(&out->class_rows[j]) <= k;
        }
        if (below <= middle && middle < up_to && isfinite(k)) median.mean = k;
    }
    kh_ablate_add_quantity(out, false, median, "k50_class_median");
}

kh_status kh_ablate_effect_rows(kh_ablate_study *s, kh_ablation *out, kh_error *err) {
    if (s->series_count == 0) return KH_OK;
    writing w = {.s = s, .out = out};
    const float **rows = kh_calloc(s->images, sizeof *rows);
    w.ratios = kh_calloc(s->o.resamples, sizeof *w.ratios);
    w.means = kh_calloc(s->o.sets + 1, sizeof *w.means);
    kh_status status = KH_OK;
    if (!rows || !w.ratios || !w.means) status = kh_fail(err, KH_E_MEMORY, "no memory for rows");
    if (!status) status = kh_columns_init(&w.columns, s->columns, s->o.resamples, err);
    for (size_t g = 0; g <= s->classes && !status; g++)
        for (size_t correct = 0; correct < 2; correct++) {
            w.n = 0;
            w.class_index = g ? g - 1 : KH_NO_CLASS;
            w.is_correct = correct;
            w.row = g ? class_row(out, g - 1) : NULL;
            if (g && !w.row) continue;
            for (size_t i = 0; i < s->images; i++)
                if ((!g || s->truth[i] == g - 1) && (!correct || s->is_right[i]))
                    rows[w.n++] = s->own + i * s->columns;
            kh_columns_fill(&w.columns, rows, w.n, s->o.seed);
            write_group(&w);
            if (!g) note_k50(&w);
        }
    if (!status) note_class_median(out);
    kh_columns_clear(&w.columns);
    kh_free(w.means);
    kh_free(w.ratios);
    kh_free(rows);
    return status;
}
