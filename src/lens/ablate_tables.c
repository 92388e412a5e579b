/* Rows of the sweep, of swaps and of steering doses. */
#include "keyhole/truth.h"
#include "lens/ablate.h"

#include "base/alloc.h"

#include <math.h>

/* Room for rows of images, and columns to reduce them to. */
typedef struct reducing {
    kh_ablate_study *s;
    const float **rows;
    kh_columns columns;
    size_t n;
} reducing;

static void reducing_clear(reducing *r) {
    kh_columns_clear(&r->columns);
    kh_free(r->rows);
}

static kh_status reducing_init(reducing *r, kh_ablate_study *s, size_t rows, size_t columns,
                               kh_error *err) {
    *r = (reducing){.s = s, .rows = kh_calloc(rows, sizeof *r->rows)};
    if (!r->rows) return kh_fail(err, KH_E_MEMORY, "no memory for rows of a table");
    return kh_columns_init(&r->columns, columns, s->o.resamples, err);
}

static void reduce(reducing *r, uint64_t seed) {
    kh_columns_fill(&r->columns, r->rows, r->n, seed);
}

/* ---- sweep --------------------------------------------------------------------------------- */

static const kh_ablate_metric sweep_metrics[KH_SWEEP_COLUMNS] = {
    KH_ABLATE_D_LOGIT, KH_ABLATE_D_MARGIN, KH_ABLATE_D_TOP1, KH_ABLATE_D_SWEPT};

enum { SWEEP_ROWS = 2 * KH_SWEEP_COLUMNS }; /* own: 3, other: 4, both: selectivity */

typedef struct sweeping {
    reducing own, other;
    kh_ablation *out;
    double *differences; /* [resamples] */
    double *of_classes;  /* [sweep k, SWEEP_ROWS, classes] means, for the rows over classes */
} sweeping;

static void add_sweep(kh_ablation *out, const kh_ablate_options *o, size_t k, size_t c,
                      kh_ablate_images images, kh_ablate_metric metric, kh_ablate_mean value) {
    out->effects[out->effect_count++] = (kh_ablate_effect){.is_sweep = true,
                                                           .images = images,
                                                           .set = KH_ABLATE_RANKED,
                                                           .op = o->ops[0],
                                                           .k = o->sweep_k[k],
                                                           .class_index = c,
                                                           .metric = metric,
                                                           .value = value,
                                                           .set_lo = (double)NAN,
                                                           .set_hi = (double)NAN};
}

/* Accuracy lost on the class's images minus accuracy lost on the others. */
static kh_ablate_mean selectivity_of(sweeping *w, size_t column) {
    const kh_columns *own = &w->own.columns, *other = &w->other.columns;
    kh_ablate_mean out = {.n = w->own.n + w->other.n,
                          .mean = other->mean[column] - own->mean[column],
                          .std = (double)NAN};
    for (size_t r = 0; r < own->resamples; r++)
        w->differences[r] =
            other->means[r * own->count + column] - own->means[r * own->count + column];
    kh_columns_interval(w->differences, own->resamples, &out.lo, &out.hi);
    return out;
}

static void sweep_class(sweeping *w, size_t c, size_t place) {
    kh_ablate_study *s = w->own.s;
    const kh_ablate_options *o = &s->o;
    const size_t width = o->sweep_k_count * KH_SWEEP_COLUMNS;
    w->own.n = w->other.n = 0;
    for (size_t i = 0; i < s->images; i++) {
        reducing *to = s->truth[i] == c ? &w->own : &w->other;
        to->rows[to->n++] = s->sweep + (i * s->classes + c) * width;
    }
    reduce(&w->own, o->seed);
    reduce(&w->other, o->seed + 1);
    for (size_t k = 0; k < o->sweep_k_count; k++) {
        double *means = w->of_classes + k * SWEEP_ROWS * w->out->class_count + place;
        for (size_t m = 0; m < KH_SWEEP_COLUMNS; m++) {
            const size_t column = k * KH_SWEEP_COLUMNS + m;
            const kh_ablate_mean own = kh_columns_get(&w->own.columns, column, w->own.n);
            const kh_ablate_mean other = kh_columns_get(&w->other.columns, column, w->other.n);
            if (sweep_metrics[m] != KH_ABLATE_D_SWEPT)
                add_sweep(w->out, o, k, c, KH_ABLATE_ON_OWN, sweep_metrics[m], own);
            add_sweep(w->out, o, k, c, KH_ABLATE_ON_OTHER, sweep_metrics[m], other);
            if (sweep_metrics[m] != KH_ABLATE_D_SWEPT)
                means[2 * m * w->out->class_count] = own.mean;
            means[(2 * m + 1) * w->out->class_count] = other.mean;
            if (sweep_metrics[m] != KH_ABLATE_D_TOP1) continue;
            const kh_ablate_mean both = selectivity_of(w, column);
            add_sweep(w->out, o, k, c, KH_ABLATE_ON_BOTH, KH_ABLATE_SELECTIVITY, both);
            means[6 * w->out->class_count] = both.mean; /* where own d_swept would be */
            const size_t size = kh_ablate_find_k(kh_ablate_sizes, KH_SIZES, o->sweep_k[k]);
            if (size != SIZE_MAX) w->out->class_rows[place].selectivity[size] = both.mean;
        }
    }
}

kh_status kh_ablate_over(const double *values, size_t count, const kh_ablate_options *o,
                         kh_ablate_mean *out, kh_error *err) {
    kh_band band;
    double squares = 0;
    KH_TRY(kh_lens_bootstrap(values, count, o->resamples, o->seed, &band, err));
    *out = (kh_ablate_mean){.mean = band.mean, .lo = band.lo, .hi = band.hi};
    for (size_t i = 0; i < count; i++)
        if (!isnan(values[i])) {
            squares += (values[i] - out->mean) * (values[i] - out->mean);
            out->n++;
        }
    out->std = sqrt(squares / (double)out->n);
    return KH_OK;
}

/* Means over classes, every class alike. */
static kh_status sweep_all(sweeping *w, kh_error *err) {
    const kh_ablate_options *o = &w->own.s->o;
    const size_t count = w->out->class_count;
    for (size_t k = 0; k < o->sweep_k_count; k++)
        for (size_t row = 0; row < SWEEP_ROWS; row++) {
            const bool is_both = row == 6;
            const kh_ablate_metric metric =
                is_both ? KH_ABLATE_SELECTIVITY : sweep_metrics[row / 2];
            const kh_ablate_images images = is_both   ? KH_ABLATE_ON_BOTH
                                            : row % 2 ? KH_ABLATE_ON_OTHER
                                                      : KH_ABLATE_ON_OWN;
            kh_ablate_mean value;
            KH_TRY(kh_ablate_over(w->of_classes + (k * SWEEP_ROWS + row) * count, count, o, &value,
                                  err));
            add_sweep(w->out, o, k, KH_NO_CLASS, images, metric, value);
            if (metric == KH_ABLATE_D_MARGIN)
                kh_ablate_add_quantity(w->out, false, value, "sweep_%s_d_margin_%zu",
                                       kh_ablate_images_name(images), o->sweep_k[k]);
            if (is_both)
                kh_ablate_add_quantity(w->out, false, value, "selectivity_%zu", o->sweep_k[k]);
        }
    return KH_OK;
}

kh_status kh_ablate_sweep_rows(kh_ablate_study *s, kh_ablation *out, kh_error *err) {
    if (!s->sweep) return KH_OK;
    const size_t width = s->o.sweep_k_count * KH_SWEEP_COLUMNS;
    sweeping w = {.out = out};
    kh_status status = reducing_init(&w.own, s, s->images, width, err);
    if (!status) status = reducing_init(&w.other, s, s->images, width, err);
    w.differences = kh_calloc(s->o.resamples, sizeof *w.differences);
    w.of_classes =
        kh_calloc(s->o.sweep_k_count * SWEEP_ROWS * out->class_count, sizeof *w.of_classes);
    if (!status && (!w.differences || !w.of_classes))
        status = kh_fail(err, KH_E_MEMORY, "no memory for the sweep's rows");
    if (!status) {
        for (size_t i = 0; i < out->class_count; i++)
            sweep_class(&w, out->class_rows[i].class_index, i);
        status = sweep_all(&w, err);
    }
    kh_free(w.of_classes);
    kh_free(w.differences);
    reducing_clear(&w.other);
    reducing_clear(&w.own);
    return status;
}

/* ---- swaps --------------------------------------------------------------------------------- */

static double base_rate(const kh_ablate_study *s, size_t c, size_t pair, kh_ablate_pair kind) {
    size_t n = 0, hits = 0;
    for (size_t i = 0; i < s->images; i++)
        for (size_t p = 0; p < s->o.pairs; p++) {
            const size_t at = s->truth[i] * s->o.pairs + p;
            if (c != KH_NO_CLASS ? s->truth[i] != c || p != pair : s->pair_kind[at] != kind)
                continue;
            n++;
            hits += s->predicted[i] == s->pair_to[at];
        }
    return (double)hits / (double)n;
}

/* The pair of one class (c, pair), or all of a kind. */
static bool add_swap(reducing *r, kh_ablation *out, size_t c, size_t pair, kh_ablate_pair kind) {
    kh_ablate_study *s = r->s;
    r->n = 0;
    for (size_t i = 0; i < s->images; i++)
        for (size_t p = 0; p < s->o.pairs; p++)
            if (c != KH_NO_CLASS ? s->truth[i] == c && p == pair
                                 : s->pair_kind[s->truth[i] * s->o.pairs + p] == kind)
                r->rows[r->n++] = s->swap + (i * s->o.pairs + p) * KH_SWAP_COLUMNS;
    if (r->n == 0) return false;
    reduce(r, s->o.seed);
    const double *mean = r->columns.mean;
    out->swaps[out->swap_count++] =
        (kh_ablate_swap){.class_index = c,
                         .to = c == KH_NO_CLASS ? c : s->pair_to[c * s->o.pairs + pair],
                         .pair = kind,
                         .flip = kh_columns_get(&r->columns, 0, r->n),
                         .flip_base = base_rate(s, c, pair, kind),
                         .flip_ablated = mean[1],
                         .flip_random = mean[2],
                         .d_logit_class = mean[3],
                         .d_logit_to = mean[4],
                         .prob_to = mean[5]};
    return true;
}

kh_status kh_ablate_swap_rows(kh_ablate_study *s, kh_ablation *out, kh_error *err) {
    if (!s->swap || s->o.pairs == 0) return KH_OK;
    reducing r;
    kh_status status = reducing_init(&r, s, s->images * s->o.pairs, KH_SWAP_COLUMNS, err);
    if (status) {
        reducing_clear(&r);
        return status;
    }
    for (size_t kind = 0; kind <= KH_ABLATE_PAIR_FAR; kind++)
        if (add_swap(&r, out, KH_NO_CLASS, 0, (kh_ablate_pair)kind))
            kh_ablate_add_quantity(out, false, kh_columns_get(&r.columns, 0, r.n), "swap_%s",
                                   kh_ablate_pair_name((kh_ablate_pair)kind));
    for (size_t i = 0; i < out->class_count; i++)
        for (size_t p = 0; p < s->o.pairs; p++) {
            const size_t c = out->class_rows[i].class_index;
            (void)add_swap(&r, out, c, p, s->pair_kind[c * s->o.pairs + p]);
        }
    r.n = s->images * s->o.pairs;
    for (size_t i = 0; i < r.n; i++)
        r.rows[i] = s->swap + i * KH_SWAP_COLUMNS;
    reduce(&r, s->o.seed);
    kh_ablate_add_quantity(out, false, kh_columns_get(&r.columns, 2, r.n), "swap_random");
    reducing_clear(&r);
    return KH_OK;
}

/* ---- doses --------------------------------------------------------------------------------- */

static void add_doses(reducing *r, kh_ablation *out, size_t c, size_t who, size_t set) {
    kh_ablate_study *s = r->s;
    const size_t width = KH_STEER_DOSES * KH_STEER_COLUMNS;
    r->n = 0;
    for (size_t i = 0; i < s->images; i++)
        if (c == KH_NO_CLASS || (who ? s->other[i] : s->truth[i]) == c)
            r->rows[r->n++] = s->steer + (i * 4 + who * 2 + set) * width;
    if (r->n == 0) return;
    reduce(r, s->o.seed);
    for (size_t d = 0; d < KH_STEER_DOSES; d++) {
        const size_t at = d * KH_STEER_COLUMNS;
        out->doses[out->dose_count++] =
            (kh_ablate_dose){.class_index = c,
                             .images = who ? KH_ABLATE_ON_OTHER : KH_ABLATE_ON_OWN,
                             .set = set ? KH_ABLATE_RANDOM : KH_ABLATE_RANKED,
                             .alpha = kh_steer_alphas[d],
                             .predicted = kh_columns_get(&r->columns, at, r->n),
                             .d_logit = kh_columns_get(&r->columns, at + 1, r->n),
                             .d_margin = kh_columns_get(&r->columns, at + 2, r->n),
                             .top1 = r->columns.mean[at + 3]};
    }
}

kh_status kh_ablate_dose_rows(kh_ablate_study *s, kh_ablation *out, kh_error *err) {
    if (!s->steer) return KH_OK;
    reducing r;
    const kh_status status =
        reducing_init(&r, s, s->images, KH_STEER_DOSES * KH_STEER_COLUMNS, err);
    for (size_t g = 0; g <= s->classes && !status; g++)
        for (size_t which = 0; which < 4; which++)
            add_doses(&r, out, g ? g - 1 : KH_NO_CLASS, which / 2, which % 2);
    reducing_clear(&r);
    return status;
}
