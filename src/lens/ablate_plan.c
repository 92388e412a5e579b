/* What a study will take, before it begins: numbers of variants from options and classes alone,
 * time from a few variants of noise. */
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "base/text.h"

enum { LEAST_MANY = 64, MOST_MANY = 512, REPEATS = 3 };

#define LONG_ENOUGH 1.0 /* seconds, of one way of repeating */

/* Bytes of a cell, in the .csv and in run.sqlite together; of all figures, and of a single neuron
 * in theirs. Measured on the demo world. */
#define CELL_BYTES   11.5
#define FIGURE_BYTES 1.8e6
#define DOT_BYTES    1800.0

/* ---- how many ------------------------------------------------------------------------------ */

static kh_status count_images(kh_ablate_study *s, size_t *seen, kh_error *err) {
    s->class_n = kh_calloc(s->classes, sizeof *s->class_n);
    if (!s->class_n) return kh_fail(err, KH_E_MEMORY, "no memory for classes");
    for (size_t i = 0; i < s->asked; i++) {
        const size_t c = s->asked_truth[i];
        if (c >= s->classes || (s->o.per_class && s->class_n[c] == s->o.per_class)) continue;
        *seen += s->class_n[c]++ == 0;
        s->images++;
    }
    if (s->images) return KH_OK;
    return kh_fail(err, KH_E_ARG, "none of %zu image%s has a true class of the model", s->asked,
                   KH_S(s->asked));
}

static size_t at_most(size_t value, size_t most) {
    return value < most ? value : most;
}

/* Of one image. */
static void count_variants(kh_ablate_study *s, size_t seen, size_t out[KH_ABLATE_DESIGNS]) {
    const kh_ablate_options *o = &s->o;
    size_t own = 0;
    kh_ablate_list_series(s);
    for (size_t i = 0; i < s->series_count; i++)
        own += s->series[i].sets * s->series[i].k_count;
    s->o.pairs = at_most(o->pairs, seen - 1);
    s->listed_count = at_most(3 * o->keys + o->random_keys, s->units);
    s->shared_count = at_most(o->most_shared, seen / 2);
    const size_t all[KH_ABLATE_DESIGNS] = {own,
                                           seen * o->sweep_k_count,
                                           1 + 2 * o->pairs,
                                           4 * KH_STEER_DOSES,
                                           s->listed_count,
                                           2 * s->shared_count};
    for (size_t d = 0; d < KH_ABLATE_DESIGNS; d++)
        out[d] = o->designs >> d & 1u ? all[d] : 0;
}

/* ---- how large ----------------------------------------------------------------------------- */

static void estimate_bytes(const kh_ablate_study *s, size_t seen, kh_ablate_estimate *e) {
    const kh_ablate_options *o = &s->o;
    const size_t *v = e->variants_of;
    const double units = (double)s->units, classes = (double)s->classes, n = (double)s->images;
    const double cells = (double)s->groups * units;
    const double sums = 8 * ((classes + 1) * cells + 2 * classes * units);
    const double sets = 16.0 * (double)s->columns * (double)(o->sets + 1);
    const double row =
        4.0 * (double)(s->columns + KH_SWEEP_COLUMNS * v[1] + KH_CAUSAL_COLUMNS * v[4] +
                       KH_STEER_COLUMNS * v[3] + KH_SHARED_COLUMNS * v[5] / 2) +
        (v[2] ? 4.0 * KH_SWAP_COLUMNS * (double)o->pairs : 0);
    e->state_bytes = (uint64_t)(sums + sets + n * (row + 40));
    /* orders of neurons, alignments, means of classes; variants at once */
    e->memory_bytes =
        (uint64_t)(sets + n * row + sums + classes * (4 * cells + 40 * units) +
                   4.0 * (double)(s->info->tokens * s->info->dim * (o->batch + o->image_batch)));
    const double groups = (double)seen + 1;
    double table = 0; /* cells */
    for (size_t i = 0; i < s->series_count; i++)
        if (!s->series[i].is_insertion)
            table += groups * 2 * 18 * (double)(s->series[i].k_count * (KH_ABLATE_METRICS + 1));
    if (v[1]) table += groups * 18 * (double)(o->sweep_k_count * 8);
    if (v[2]) table += groups * 17 * (double)o->pairs;
    if (v[3]) table += groups * 19 * 4 * KH_STEER_DOSES;
    if (v[4]) table += (groups - 1) * 18 * (double)s->listed_count + groups * 8 * 27;
    table += groups * 29 + 100 * 6;
    const double dots = (groups - 1) * (double)v[4];
    e->disk_bytes = (uint64_t)(CELL_BYTES * table + FIGURE_BYTES + DOT_BYTES * dots);
}

/* ---- how much ------------------------------------------------------------------------------ */

static double least(double a, double b) {
    return a < b ? a : b;
}

/* Neurons whose change is added for one set over the grid: nested lists go on from each other, and
 * from half of the scope on the others are subtracted from the change of all. */
static double added_by_set(const kh_ablate_study *s, const kh_ablate_series *series) {
    double nested = 0, alone = 0;
    const bool subtracts = s->blocks == 1 && series->set != KH_ABLATE_ACTIVE;
    for (size_t k = 0; k < series->k_count; k++) {
        const double left = (double)(s->units - s->o.k[k]);
        const double count = series->is_insertion ? left : (double)s->o.k[k];
        const bool is_nested = !series->is_insertion && s->blocks == 1;
        if (subtracts && 2 * count > (double)s->units)
            alone += (double)s->units - count;
        else if (is_nested)
            nested = count;
        else
            alone += count;
    }
    /* a full line of variants breaks a chain, which then begins again */
    return alone + nested * (1 + 0.5 * (double)(series->k_count - 1) / (double)s->o.batch);
}

/* Neurons added for all variants of an image. */
static double added_by_image(const kh_ablate_study *s, const size_t *variants) {
    double sum = 0, sweep = 0;
    for (size_t i = 0; i < s->series_count; i++)
        sum += (double)s->series[i].sets * added_by_set(s, &s->series[i]);
    if (s->series_count) sum += (double)(s->o.op_count * s->units);
    for (size_t k = 0; k < s->o.sweep_k_count; k++)
        sweep = s->blocks == 1 ? (double)s->o.sweep_k[k] : sweep + (double)s->o.sweep_k[k];
    if (variants[1]) sum += sweep * (double)variants[1] / (double)s->o.sweep_k_count;
    return sum + 2 * (double)(s->o.swap_k * variants[2]) + (double)(s->o.steer_k * variants[3]) +
           (double)(variants[4] + variants[5]);
}

/* ---- how long ------------------------------------------------------------------------------ */

static void ignore(void *user, size_t tag, const float *logits) {
    (void)user;
    (void)tag;
    (void)logits;
}

typedef struct timing {
    kh_ablate_study *s;
    kh_ablate_base base;
    float *pixels;   /* [image_batch, 3, height, width] */
    uint32_t *order; /* [units] */
    uint8_t *mask;   /* [patches] every other one */
} timing;

static kh_status begin_timing(timing *t, kh_error *err) {
    kh_ablate_study *s = t->s;
    const size_t floats = s->o.image_batch * 3 * s->info->image_height * s->info->image_width;
    t->pixels = kh_alloc_floats(floats);
    t->order = kh_calloc(s->units, sizeof *t->order);
    t->mask = kh_calloc(s->patches, 1);
    if (!t->pixels || !t->order || !t->mask)
        return kh_fail(err, KH_E_MEMORY, "no memory to try a few variants");
    kh_rng rng = kh_rng_make(0, 0);
    for (size_t i = 0; i < floats; i++)
        t->pixels[i] = (float)kh_rng_below(&rng, 1000) * 2e-3f - 1.0f;
    for (size_t i = 0; i < s->units; i++)
        t->order[i] = (uint32_t)i;
    for (size_t i = s->units; i-- > 1;) {
        const size_t other = kh_rng_below(&rng, i + 1);
        const uint32_t kept = t->order[i];
        t->order[i] = t->order[other];
        t->order[other] = kept;
    }
    for (size_t i = 0; i < s->patches; i += 2)
        t->mask[i] = 1;
    KH_TRY(kh_ablate_base_init(&t->base, s->ctx, s->model, s->first_block, s->blocks,
                               s->o.image_batch, err));
    return kh_engine_init(&s->engine, s->ctx, s->model, s->first_block, s->blocks, s->o.tokens,
                          s->o.batch, err);
}

static void end_timing(timing *t) {
    kh_ablate_base_clear(&t->base);
    kh_free(t->mask);
    kh_free(t->order);
    kh_free(t->pixels);
}

static kh_status time_image(timing *t, double *each, kh_error *err) {
    const size_t batch = t->s->o.image_batch;
    for (size_t i = 0; i < REPEATS; i++) {
        const double start = kh_ablate_seconds();
        KH_TRY(kh_ablate_base_run(&t->base, t->pixels, batch, err));
        const double took = (kh_ablate_seconds() - start) / (double)batch;
        *each = i ? least(*each, took) : took;
        if (took * (double)batch > LONG_ENOUGH) break;
    }
    return KH_OK;
}

/* Of a full line of variants, each without `count` neurons of its own. */
static kh_status time_variant(timing *t, size_t count, double *each, kh_error *err) {
    kh_ablate_study *s = t->s;
    const size_t batch = s->engine.capacity;
    for (size_t i = 0; i < REPEATS; i++) {
        const double start = kh_ablate_seconds();
        for (size_t v = 0; v < batch; v++) {
            const kh_ablate_part part = {.units = t->order + v * 7 % (s->units - count + 1),
                                         .count = count,
                                         .op = KH_ABLATE_ZERO};
            KH_TRY(kh_engine_add(&s->engine, &t->base.states[0], &part, 1, 0, ignore, NULL, err));
        }
        KH_TRY(kh_engine_flush(&s->engine, ignore, NULL, err));
        const double took = (kh_ablate_seconds() - start) / (double)batch;
        *each = i ? least(*each, took) : took;
        if (took * (double)batch > LONG_ENOUGH) break;
    }
    return KH_OK;
}

/* Of drawing one value, and of one interval, with the study's resamples. */
static kh_status time_tables(const kh_ablate_options *o, double *value, double *interval,
                             kh_error *err) {
    enum { COLUMNS = 32, ROWS = 32, MOST = 500 };
    const size_t resamples = at_most(o->resamples, MOST);
    float line[COLUMNS];
    const float *rows[ROWS];
    kh_columns columns;
    for (size_t i = 0; i < COLUMNS; i++)
        line[i] = (float)(i * 37 % COLUMNS);
    for (size_t i = 0; i < ROWS; i++)
        rows[i] = line;
    kh_status status = kh_columns_init(&columns, COLUMNS, resamples, err);
    if (!status) {
        const double scale = (double)o->resamples / (double)resamples;
        const double start = kh_ablate_seconds();
        kh_columns_fill(&columns, rows, ROWS, 0);
        const double filled = kh_ablate_seconds();
        for (size_t i = 0; i < COLUMNS; i++) {
            columns.means[i] = (double)i; /* not all the same, as sorting knows that case */
            (void)kh_columns_get(&columns, i, ROWS);
        }
        *value = scale * (filled - start) / (COLUMNS * ROWS);
        *interval = scale * (kh_ablate_seconds() - filled) / COLUMNS;
    }
    kh_columns_clear(&columns);
    return status;
}

/* Bootstraps: over all images and over each class, of all and of those that are right; the sweep
 * over all images for every class. */
static kh_status add_tables(const kh_ablate_study *s, kh_ablate_estimate *e, kh_error *err) {
    const size_t *v = e->variants_of;
    const double n = (double)e->images, groups = (double)e->classes + 1;
    const double sweep = v[1] ? (double)(s->o.sweep_k_count * KH_SWEEP_COLUMNS) : 0;
    const double others =
        (double)(v[3] * KH_STEER_COLUMNS + v[4] * KH_CAUSAL_COLUMNS + v[5] * KH_SHARED_COLUMNS);
    double value, interval;
    KH_TRY(time_tables(&s->o, &value, &interval, err));
    e->seconds += value * n * (4 * (double)s->columns + (groups - 1) * sweep + 2 * others);
    e->seconds +=
        interval * groups * (2 * (double)s->columns + 2 * sweep + (double)(3 * v[3] + 2 * v[4]));
    return KH_OK;
}

static kh_status estimate_time(timing *t, kh_ablate_estimate *e, kh_error *err) {
    kh_ablate_study *s = t->s;
    double image = 0, few = 0, many = 0, rounds = 2;
    const size_t part = s->units / 16 > LEAST_MANY ? s->units / 16 : LEAST_MANY;
    const size_t most = at_most(at_most(part, MOST_MANY), s->units); /* more than noise */
    KH_TRY(begin_timing(t, err));
    KH_TRY(time_image(t, &image, err));
    if (kh_ablate_is_masked(s->o.tokens)) kh_ablate_base_mask(&t->base, 0, s->o.tokens, t->mask);
    KH_TRY(time_variant(t, 0, &few, err));
    KH_TRY(time_variant(t, most, &many, err));
    for (size_t i = 0; i < s->o.op_count; i++)
        rounds += s->o.ops[i] == KH_ABLATE_RESAMPLE; /* another image lends its coefficients */
    const double n = (double)s->images, of_image = (double)e->variants / n;
    const double added = added_by_image(s, e->variants_of);
    const double each = many > few ? (many - few) / (double)most : 0;
    e->share = of_image > 0 ? (few + added / of_image * each) / image : 0;
    e->passes = n * (rounds + of_image * e->share);
    e->seconds = e->passes * image;
    e->memory_bytes += kh_pass_memory_bytes(t->base.pass) + kh_pass_memory_bytes(s->engine.tail);
    return add_tables(s, e, err);
}

static kh_status plan(kh_ablate_study *s, kh_ablate_estimate *e, kh_error *err) {
    timing t = {.s = s};
    size_t seen = 0;
    KH_TRY(kh_ablate_prepare(s, err));
    KH_TRY(count_images(s, &seen, err));
    count_variants(s, seen, e->variants_of);
    e->images = s->images;
    e->classes = seen;
    e->block = s->o.is_global ? SIZE_MAX : s->o.block;
    e->neurons = s->units;
    for (size_t d = 0; d < KH_ABLATE_DESIGNS; d++)
        e->variants += (uint64_t)e->variants_of[d] * s->images;
    estimate_bytes(s, seen, e);
    const kh_status status = estimate_time(&t, e, err);
    end_timing(&t);
    return status;
}

kh_status kh_ablate_plan(kh_ctx *ctx, const kh_model *model, const kh_ablate_options *options,
                         size_t images, const size_t *truth, kh_ablate_estimate *out,
                         kh_error *err) {
    *out = (kh_ablate_estimate){0};
    kh_ablate_study *s = kh_calloc(1, sizeof *s);
    if (!s) return kh_fail(err, KH_E_MEMORY, "no memory for an ablation");
    *s = (kh_ablate_study){.ctx = ctx,
                           .model = model,
                           .info = kh_model_get_info(model),
                           .o = *options,
                           .asked = images,
                           .asked_truth = truth};
    const kh_status status = plan(s, out, err);
    kh_engine_clear(&s->engine);
    kh_free(s->class_n);
    kh_free(s);
    return status;
}
