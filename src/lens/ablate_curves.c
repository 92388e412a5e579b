/* Deletion and insertion curves over all images, and the areas under them. */
#include "lens/ablate.h"

#include "base/alloc.h"

#include <math.h>

typedef struct drawing {
    kh_ablate_study *s;
    kh_ablation *out;
    const float **rows;
    kh_columns own, base; /* base: top1 and margin of the unchanged model */
    float *facts;         /* [images, 2] */
    double *means;        /* [sets] */
    size_t n;
    bool is_correct;
} drawing;

/* A random series' intervals are over its sets. */
static kh_ablate_mean value_of(drawing *d, size_t series, size_t k, size_t metric) {
    const kh_ablate_study *s = d->s;
    const kh_ablate_series *what = &s->series[series];
    kh_ablate_mean out = kh_columns_get(&d->own, kh_own_column(s, series, k, metric), d->n);
    if (what->set != KH_ABLATE_RANDOM || d->n == 0) return out;
    for (size_t set = 0; set < what->sets; set++) {
        const size_t tag = (series * s->o.k_count + k) * (s->o.sets + 1) + set;
        d->means[set] =
            s->set_sums[(tag * KH_ABLATE_METRICS + metric) * 2 + d->is_correct] / (double)d->n;
    }
    kh_columns_interval(d->means, what->sets, &out.lo, &out.hi);
    return out;
}

static void add_point(drawing *d, const kh_ablate_series *what, size_t k, kh_ablate_mean top1,
                      kh_ablate_mean margin) {
    d->out->points[d->out->point_count++] =
        (kh_ablate_point){.is_insertion = what->is_insertion,
                          .is_correct = d->is_correct,
                          .set = what->set,
                          .k = k,
                          .fraction = (double)k / (double)d->s->units,
                          .top1 = top1,
                          .margin = margin};
}

/* The unchanged model, or the whole scope changed (the end of series 0). */
static void add_end(drawing *d, const kh_ablate_series *what, size_t k, bool is_base) {
    const size_t last = d->s->o.k_count - 1;
    if (is_base)
        add_point(d, what, k, kh_columns_get(&d->base, 0, d->n), kh_columns_get(&d->base, 1, d->n));
    else
        add_point(d, what, k, value_of(d, 0, last, KH_ABLATE_TOP1),
                  value_of(d, 0, last, KH_ABLATE_MARGIN));
}

/* Trapezoids over k/M. */
static void add_areas(drawing *d, const kh_ablate_series *what, size_t first) {
    const kh_ablate_point *p = d->out->points;
    kh_ablate_mean area[2];
    for (size_t m = 0; m < 2; m++) {
        area[m] = (kh_ablate_mean){d->n, 0, (double)NAN, (double)NAN, (double)NAN};
        for (size_t i = first + 1; i < d->out->point_count; i++) {
            const double a = m ? p[i - 1].margin.mean : p[i - 1].top1.mean;
            const double b = m ? p[i].margin.mean : p[i].top1.mean;
            area[m].mean += 0.5 * (a + b) * (p[i].fraction - p[i - 1].fraction);
        }
        kh_ablate_add_quantity(d->out, d->is_correct, area[m], "%sauc_%s_%s",
                               what->set == KH_ABLATE_RANDOM ? "random_" : "",
                               what->is_insertion ? "insertion" : "deletion",
                               m ? "margin" : "top1");
    }
}

static void draw_series(drawing *d, size_t series) {
    const kh_ablate_study *s = d->s;
    const kh_ablate_series *what = &s->series[series];
    const size_t first = d->out->point_count;
    if (what->op != s->o.ops[0]) return;
    add_end(d, what, 0, !what->is_insertion);
    for (size_t k = 0; k < what->k_count; k++)
        add_point(d, what, s->o.k[k], value_of(d, series, k, KH_ABLATE_TOP1),
                  value_of(d, series, k, KH_ABLATE_MARGIN));
    if (what->set == KH_ABLATE_ACTIVE) return; /* it ends at half the neurons */
    if (what->is_insertion || what->k_count < s->o.k_count)
        add_end(d, what, s->units, what->is_insertion);
    add_areas(d, what, first);
}

static void draw_subset(drawing *d) {
    const kh_ablate_study *s = d->s;
    size_t n = 0;
    for (size_t i = 0; i < s->images; i++)
        if (!d->is_correct || s->is_right[i]) d->rows[n++] = d->facts + 2 * i;
    d->n = n;
    kh_columns_fill(&d->base, d->rows, n, s->o.seed);
    kh_ablate_add_quantity(d->out, d->is_correct, kh_columns_get(&d->base, 0, n), "base_top1");
    kh_ablate_add_quantity(d->out, d->is_correct, kh_columns_get(&d->base, 1, n), "base_margin");
    n = 0;
    for (size_t i = 0; i < s->images && s->columns; i++)
        if (!d->is_correct || s->is_right[i]) d->rows[n++] = s->own + i * s->columns;
    if (s->columns) kh_columns_fill(&d->own, d->rows, n, s->o.seed);
    for (size_t i = 0; i < s->series_count; i++)
        draw_series(d, i);
}

kh_status kh_ablate_curve_rows(kh_ablate_study *s, kh_ablation *out, kh_error *err) {
    drawing d = {.s = s, .out = out};
    d.rows = kh_calloc(s->images, sizeof *d.rows);
    d.facts = kh_calloc(s->images, 2 * sizeof *d.facts);
    d.means = kh_calloc(s->o.sets + 1, sizeof *d.means);
    kh_status status = KH_OK;
    if (!d.rows || !d.facts || !d.means) status = kh_fail(err, KH_E_MEMORY, "no memory for curves");
    if (!status) status = kh_columns_init(&d.own, s->columns, s->o.resamples, err);
    if (!status) status = kh_columns_init(&d.base, 2, s->o.resamples, err);
    for (size_t i = 0; i < s->images && !status; i++) {
        d.facts[2 * i] = s->is_right[i];
        d.facts[2 * i + 1] = s->base_margin[i];
    }
    for (size_t correct = 0; correct < 2 && !status; correct++) {
        d.is_correct = correct;
        draw_subset(&d);
    }
    kh_columns_clear(&d.own);
    kh_columns_clear(&d.base);
    kh_free(d.means);
    kh_free(d.facts);
    kh_free(d.rows);
    return status;
}
