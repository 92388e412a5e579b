/* The pictures of `ablate`. */
#include "cli/ablate.h"
#include "cli/outdir.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what they share ------------------------------------------------------------------------- */

static double quantity(const kh_ablation *a, const char *key) {
    const kh_ablate_quantity *q = kh_ablate_quantity_of(a, key, false);
    return q ? q->value.mean : (double)NAN;
}

const char *kh_ablate_number(double value, int decimals, char *out, size_t out_bytes) {
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%.*f", decimals, fabs(value));
    const bool is_zero = strspn(digits, "0.") == strlen(digits);
    (void)snprintf(out, out_bytes, "%s%s", value < 0 && !is_zero ? "\u2212" : "", digits);
    return out;
}

kh_figure_axis kh_ablate_change_axis(const char *label, const double *values, size_t count) {
    kh_figure_axis axis = {.label = label, .has_zero = true};
    for (size_t i = 0; i < count; i++)
        if (values[i] < 0 || values[i] > 0) return axis;
    axis.low = -0.1;
    axis.high = 0.1;
    return axis;
}

kh_status kh_ablate_page(const char *title, const char *subtitle, const char *footnote,
                         size_t columns, kh_figure **out, kh_error *err) {
    const kh_figure_options options = {.title = title, .subtitle = subtitle, .footnote = footnote};
    KH_TRY(kh_figure_create(&options, out, err));
    kh_figure_columns(*out, columns);
    return KH_OK;
}

kh_status kh_ablate_page_end(kh_status status, kh_figure *figure, const char *folder,
                             const char *stem, kh_error *err) {
    if (!status) return kh_outdir_figure(folder, stem, figure, err);
    kh_figure_free(figure);
    return status;
}

/* ---- damage against k ------------------------------------------------------------------------ */

enum { MOST_POINTS = KH_ABLATE_MOST_K + 2 };

typedef struct curve {
    double x[MOST_POINTS], y[MOST_POINTS], low[MOST_POINTS], high[MOST_POINTS];
    size_t count;
} curve;

static void curve_of(const kh_ablation *a, kh_ablate_set set, kh_ablate_op op,
                     kh_ablate_metric metric, bool is_correct, curve *out) {
    out->count = 0;
    for (size_t i = 0; i < a->effect_count && out->count < MOST_POINTS; i++) {
        const kh_ablate_effect *e = &a->effects[i];
        if (e->is_sweep || e->class_index != KH_NO_CLASS || e->set != set || e->op != op ||
            e->metric != metric || e->is_correct != is_correct)
            continue;
        const size_t at = out->count++;
        out->x[at] = (double)e->k;
        out->y[at] = e->value.mean;
        out->low[at] = set == KH_ABLATE_RANDOM ? e->set_lo : e->value.lo;
        out->high[at] = set == KH_ABLATE_RANDOM ? e->set_hi : e->value.hi;
    }
}

/* Whether anything that is drawn differs from zero. */
static bool changes(const kh_figure_line *lines, size_t count) {
    for (size_t l = 0; l < count; l++)
        for (size_t i = 0; i < lines[l].count; i++)
            if (fabs(lines[l].y[i]) > 0 || (lines[l].low && fabs(lines[l].low[i]) > 0) ||
                (lines[l].high && fabs(lines[l].high[i]) > 0))
                return true;
    return false;
}

static kh_status add_damage(const kh_ablation *a, kh_figure *figure, kh_ablate_metric metric,
                            bool is_correct, const char *title, const char *y_label,
                            kh_error *err) {
    const kh_ablate_options *o = &a->options;
    curve ranked, other, random, active;
    kh_figure_line lines[4];
    size_t count = 0;
    char second[48], sets[64];
    curve_of(a, KH_ABLATE_RANKED, o->ops[0], metric, is_correct, &ranked);
    curve_of(a, KH_ABLATE_RANDOM, o->ops[0], metric, is_correct, &random);
    curve_of(a, KH_ABLATE_ACTIVE, o->ops[0], metric, is_correct, &active);
    (void)snprintf(sets, sizeof sets, "95 %% of %zu sets", o->sets);
    lines[count++] = (kh_figure_line){.name = "the class's first k",
                                      .x = ranked.x,
                                      .y = ranked.y,
                                      .low = ranked.low,
                                      .high = ranked.high,
                                      .band_name = "95 % interval",
                                      .count = ranked.count,
                                      .kind = KH_LINE_POINTS};
    if (active.count)
        lines[count++] = (kh_figure_line){.name = "most active, not aligned",
                                          .x = active.x,
                                          .y = active.y,
                                          .count = active.count,
                                          .kind = KH_LINE_DASHED};
    if (o->op_count > 1) {
        curve_of(a, KH_ABLATE_RANKED, o->ops[1], metric, is_correct, &other);
        (void)snprintf(second, sizeof second, "the first k, op %s", kh_ablate_op_name(o->ops[1]));
        lines[count++] = (kh_figure_line){.name = second,
                                          .x = other.x,
                                          .y = other.y,
                                          .count = other.count,
                                          .kind = KH_LINE_DASHED};
    }
    if (random.count)
        lines[count++] = (kh_figure_line){.name = "matched random",
                                          .x = random.x,
                                          .y = random.y,
                                          .low = random.low,
                                          .high = random.high,
                                          .band_name = sets,
                                          .count = random.count,
                                          .kind = KH_LINE_NULL};
    kh_figure_axis y = {.label = y_label, .has_zero = true};
    if (!changes(lines, count)) y = kh_ablate_change_axis(y_label, NULL, 0);
    if (metric == KH_ABLATE_FLIP) y.low = 0; /* a share */
    const kh_figure_lines chart = {.title = title,
                                   .x = {.label = "neurons changed, k", .is_log = true},
                                   .y = y,
                                   .lines = lines,
                                   .line_count = count,
                                   .width = 560,
                                   .height = 300};
    return kh_figure_add_lines(figure, &chart, err);
}

static kh_status draw_damage(const kh_ablate_run *run, const char *footnote, const char *folder,
                             kh_error *err) {
    const kh_ablation *a = &run->result;
    char title[200], subtitle[560], scope[32];
    kh_ablate_scope(a, scope, sizeof scope);
    const size_t k = isnan(quantity(a, "d_margin_10")) ? 1 : 10;
    const double random = quantity(a, k == 10 ? "random_d_margin_10" : "random_d_margin_1");
    char beside[80] = "";
    char own[32], other[32];
    if (!isnan(random))
        (void)snprintf(beside, sizeof beside, "; without random ones by %s",
                       kh_ablate_number(random, 2, other, sizeof other));
    (void)snprintf(
        title, sizeof title,
        "Without its class's first %zu neuron%s an image's margin changes by %s logits%s", k,
        k == 1 ? "" : "s",
        kh_ablate_number(quantity(a, k == 10 ? "d_margin_10" : "d_margin_1"), 2, own, sizeof own),
        beside);
    (void)snprintf(
        subtitle, sizeof subtitle,
        "Neurons of %s, ranked by %s for the image's true class; coefficients changed "
        "by op %s on tokens %s. Margin: true class's logit minus the largest other; below 0 "
        "the model loses. Matched random sets are drawn of up to half of the neurons.",
        scope, kh_ablate_rank_name(a->options.rank), kh_ablate_op_name(a->options.ops[0]),
        kh_ablate_tokens_name(a->options.tokens));
    kh_figure *figure = NULL;
    kh_status status = kh_ablate_page(title, subtitle, footnote, 2, &figure, err);
    if (!status)
        status = add_damage(a, figure, KH_ABLATE_D_MARGIN, false, "Margin, all images",
                            "change of the margin (logits)", err);
    if (!status)
        status =
            add_damage(a, figure, KH_ABLATE_D_MARGIN, true, "Margin, images the model gets right",
                       "change of the margin (logits)", err);
    if (!status)
        status = add_damage(a, figure, KH_ABLATE_D_TOP1, false, "Accuracy, all images",
                            "change of the accuracy (share)", err);
    if (!status)
        status = add_damage(a, figure, KH_ABLATE_FLIP, false, "Changed predictions, all images",
                            "predictions changed (share)", err);
    return kh_ablate_page_end(status, figure, folder, "ablate_damage", err);
}

/* ---- deletion and insertion ------------------------------------------------------------------ */

static void points_of(const kh_ablation *a, bool is_insertion, kh_ablate_set set, bool is_margin,
                      bool is_fraction, curve *out) {
    out->count = 0;
    for (size_t i = 0; i < a->point_count && out->count < MOST_POINTS; i++) {
        const kh_ablate_point *p = &a->points[i];
        if (p->is_insertion != is_insertion || p->set != set || p->is_correct) continue;
        if (!is_fraction && p->k == 0) continue; /* has no place on a log axis */
        const kh_ablate_mean *m = is_margin ? &p->margin : &p->top1;
        const size_t at = out->count++;
        out->x[at] = is_fraction ? p->fraction : (double)p->k;
        out->y[at] = m->mean;
        out->low[at] = m->lo;
        out->high[at] = m->hi;
    }
}

/* The curve of the random sets, broken where they leave out sizes that the ranked ones have (no
 * set is left to draw there). Returns the number of lines. */
static size_t break_curve(const curve *random, const curve *ranked, const char *name,
                          kh_figure_line *lines) {
    size_t count = 0;
    for (size_t from = 0, end; from < random->count; from = end) {
        for (end = from + 1; end < random->count; end++) {
            bool is_gap = false;
            for (size_t i = 0; i < ranked->count; i++)
                is_gap |= ranked->x[i] > random->x[end - 1] && ranked->x[i] < random->x[end];
            if (is_gap) break;
        }
        lines[count] = (kh_figure_line){.name = count ? NULL : name,
                                        .x = random->x + from,
                                        .y = random->y + from,
                                        .count = end - from,
                                        .kind = KH_LINE_NULL};
        count++;
    }
    return count;
}

static kh_status add_curve(const kh_ablation *a, kh_figure *figure, bool is_insertion,
                           bool is_margin, bool is_fraction, kh_error *err) {
    curve ranked, random;
    char key[40], name[80], other[80], title[120];
    points_of(a, is_insertion, KH_ABLATE_RANKED, is_margin, is_fraction, &ranked);
    points_of(a, is_insertion, KH_ABLATE_RANDOM, is_margin, is_fraction, &random);
    (void)snprintf(key, sizeof key, "auc_%s_%s", is_insertion ? "insertion" : "deletion",
                   is_margin ? "margin" : "top1");
    (void)snprintf(name, sizeof name, "first of the class first (area %.3g)", quantity(a, key));
    (void)snprintf(key, sizeof key, "random_auc_%s_%s", is_insertion ? "insertion" : "deletion",
                   is_margin ? "margin" : "top1");
    (void)snprintf(other, sizeof other, "matched random (area %.3g)", quantity(a, key));
    (void)snprintf(title, sizeof title, "%s: %s",
                   is_insertion ? "Insertion, from all neurons changed"
                                : "Deletion, from none changed",
                   is_margin ? "margin" : "accuracy");
    kh_figure_line lines[1 + MOST_POINTS] = {{.name = name,
                                              .x = ranked.x,
                                              .y = ranked.y,
                                              .low = is_margin ? NULL : ranked.low,
                                              .high = is_margin ? NULL : ranked.high,
                                              .band_name = "95 % interval",
                                              .count = ranked.count,
                                              .kind = KH_LINE_POINTS}};
    const size_t count = 1 + break_curve(&random, &ranked, other, lines + 1);
    const kh_figure_lines chart = {
        .title = title,
        .x = {.label = is_fraction    ? "share of the neurons, k/M"
                       : is_insertion ? "neurons left as they were, k"
                                      : "neurons changed, k",
              .is_log = !is_fraction},
        .y = {.label = is_margin ? "mean margin (logits)" : "accuracy (share)"},
        .lines = lines,
        .line_count = count,
        .width = 560,
        .height = 260};
    return kh_figure_add_lines(figure, &chart, err);
}

static kh_status draw_curves(const kh_ablate_run *run, const char *footnote, const char *folder,
                             kh_error *err) {
    const kh_ablation *a = &run->result;
    char title[160], subtitle[480], scope[32];
    const kh_ablate_quantity *half = kh_ablate_quantity_of(a, "k50", false);
    kh_ablate_scope(a, scope, sizeof scope);
    if (half && !isnan(half->value.mean))
        (void)snprintf(title, sizeof title,
                       "At most %.0f of %zu neurons do half of what changing all of them does",
                       half->value.mean, a->neurons);
    else
        (void)snprintf(title, sizeof title, "Deletion and insertion of %zu neurons", a->neurons);
    (void)snprintf(subtitle, sizeof subtitle,
                   "Neurons of %s in the order of %s for the image's true class, op %s, tokens %s; "
                   "all images. Area: under the curve over k/M. The random curve breaks where "
                   "no random sets are drawn (of more than half of the neurons).",
                   scope, kh_ablate_rank_name(a->options.rank),
                   kh_ablate_op_name(a->options.ops[0]), kh_ablate_tokens_name(a->options.tokens));
    kh_figure *figure = NULL;
    kh_status status = kh_ablate_page(title, subtitle, footnote, 2, &figure, err);
    for (int which = 0; which < 8 && !status; which++)
        status = add_curve(a, figure, which & 1, which & 4, which & 2, err);
    return kh_ablate_page_end(status, figure, folder, "ablate_curves", err);
}

/* ---- classes --------------------------------------------------------------------------------- */

/* An interval drawn again from fewer images than that is too narrow to be counted. */
enum { CLASSES_IN_A_ROW = 13, MOST_CLASSES = 52, FEWEST_IMAGES = 8 };

typedef struct placed {
    double own, low, high, random; /* change of the margin; low, high: 95 % interval of own */
    size_t class_index, images;
} placed;

static int compare_placed(const void *left, const void *right) {
    const placed *a = left, *b = right;
    if (a->own < b->own || (isnan(b->own) && !isnan(a->own))) return -1;
    if (a->own > b->own || (isnan(a->own) && !isnan(b->own))) return 1;
    return (a->class_index > b->class_index) - (a->class_index < b->class_index);
}

static void fill_placed(const kh_ablation *a, placed *out) {
    for (size_t i = 0; i < a->class_count; i++) {
        const kh_ablate_class *c = &a->class_rows[i];
        out[i] = (placed){.own = (double)NAN,
                          .low = (double)NAN,
                          .high = (double)NAN,
                          .random = (double)NAN,
                          .class_index = c->class_index,
                          .images = c->n};
    }
    for (size_t e = 0, at = 0; e < a->effect_count; e++) {
        const kh_ablate_effect *r = &a->effects[e];
        if (r->is_sweep || r->is_correct || r->class_index == KH_NO_CLASS || r->k != 1 ||
            r->metric != KH_ABLATE_D_MARGIN || r->op != a->options.ops[0])
            continue;
        while (out[at].class_index != r->class_index)
            at++; /* both are in the order of classes */
        if (r->set == KH_ABLATE_RANKED) {
            out[at].own = r->value.mean;
            out[at].low = r->value.lo;
            out[at].high = r->value.hi;
        }
        if (r->set == KH_ABLATE_RANDOM) out[at].random = r->value.mean;
    }
}

static kh_status add_class_bars(const kh_ablate_run *run, kh_figure *figure, const placed *order,
                                size_t count, double low, double high, bool is_first,
                                kh_error *err) {
    static const char *const series[] = {"its first neuron", "a matched random neuron"};
    double values[2 * CLASSES_IN_A_ROW], ends[2][2 * CLASSES_IN_A_ROW];
    char texts[CLASSES_IN_A_ROW][80];
    const char *names[CLASSES_IN_A_ROW];
    for (size_t i = 0; i < count; i++) {
        values[i] = order[i].own;
        values[count + i] = order[i].random;
        ends[0][i] = order[i].low;
        ends[1][i] = order[i].high;
        ends[0][count + i] = ends[1][count + i] = (double)NAN; /* no interval */
        kh_class_short(kh_model_classes(run->session->model), order[i].class_index, texts[i],
                       sizeof texts[i]);
        names[i] = texts[i];
    }
    const kh_figure_bars bars = {
        .y = {.label = "change of the margin (logits)", .low = low, .high = high},
        .values = values,
        .series = 2,
        .groups = count,
        .series_names = is_first ? series : NULL,
        .group_names = names,
        .low = ends[0],
        .high = ends[1],
        .whisker_name = is_first ? "95 % interval" : NULL,
        .width = 1080,
        .height = 250};
    return kh_figure_add_bars(figure, &bars, err);
}

/* Common ends of all rows, on ticks, so that both signs have one where both occur. */
static void find_ends(const placed *order, size_t count, double *low, double *high) {
    *low = *high = 0;
    for (size_t i = 0; i < count; i++) { /* fmin and fmax leave NaN out */
        *low = fmin(*low, fmin(fmin(order[i].own, order[i].low), order[i].random));
        *high = fmax(*high, fmax(fmax(order[i].own, order[i].high), order[i].random));
    }
    if (!(*high > *low)) {
        *low = -0.1;
        *high = 0.1;
    }
    for (int again = 0; again < 3; again++) { /* what rounding adds may ask for a longer step */
        const double rough = (*high - *low) / 5, power = pow(10, floor(log10(rough) + 1e-9));
        const double share = rough / power - 1e-9;
        const double step = (share <= 1 ? 1 : share <= 2 ? 2 : share <= 5 ? 5 : 10) * power;
        *low = floor(*low / step + 1e-9) * step;
        *high = ceil(*high / step - 1e-9) * step;
    }
}

static void write_class_texts(const kh_ablation *a, const placed *order, char *title,
                              size_t title_room, char *subtitle, size_t subtitle_room) {
    size_t falls = 0, rises = 0, counted = 0;
    double sum = 0;
    char few[200] = "", number[32];
    for (size_t i = 0; i < a->class_count; i++) {
        sum += order[i].own;
        if (order[i].images < FEWEST_IMAGES) continue;
        counted++;
        falls += order[i].high < 0;
        rises += order[i].low > 0;
    }
    if (counted)
        (void)snprintf(title, title_room,
                       "Without its first neuron a class's margin falls in %zu of %zu classes and "
                       "rises in %zu",
                       falls, counted, rises);
    else
        (void)snprintf(title, title_room,
                       "Without its first neuron a class's margin changes by %s logits, mean of "
                       "%zu class%s",
                       kh_ablate_number(sum / (double)a->class_count, 2, number, sizeof number),
                       a->class_count, KH_ES(a->class_count));
    if (counted < a->class_count)
        (void)snprintf(
            few, sizeof few,
            " %zu class%s with fewer than %d images: intervals of so few are too narrow, "
            "and are not counted.",
            a->class_count - counted, KH_ES(a->class_count - counted), FEWEST_IMAGES);
    (void)snprintf(
        subtitle, subtitle_room,
        "Mean change of the margin (the true class's logit minus the largest other) when "
        "one neuron is changed (op %s), on the class's images; below 0 the class loses. "
        "A logit by itself also moves when the final norm shrinks or enlarges all.%s%s%s",
        kh_ablate_op_name(a->options.ops[0]),
        counted ? " Counted above: classes whose 95 % interval does not reach zero." : "", few,
        a->class_count > MOST_CLASSES ? " The classes with the largest losses." : "");
}

static kh_status draw_classes(const kh_ablate_run *run, const char *footnote, const char *folder,
                              kh_error *err) {
    const kh_ablation *a = &run->result;
    placed *order = kh_calloc(a->class_count, sizeof *order);
    char title[160], subtitle[800];
    double low, high;
    if (!order) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    fill_placed(a, order);
    write_class_texts(a, order, title, sizeof title, subtitle, sizeof subtitle);
    qsort(order, a->class_count, sizeof *order, compare_placed);
    const size_t shown = a->class_count < MOST_CLASSES ? a->class_count : MOST_CLASSES;
    find_ends(order, shown, &low, &high);
    kh_figure *figure = NULL;
    kh_status status = kh_ablate_page(title, subtitle, footnote, 1, &figure, err);
    for (size_t first = 0; first < shown && !status; first += CLASSES_IN_A_ROW) {
        const size_t left = shown - first;
        status = add_class_bars(run, figure, order + first,
                                left < CLASSES_IN_A_ROW ? left : CLASSES_IN_A_ROW, low, high,
                                first == 0, err);
    }
    kh_free(order);
    return kh_ablate_page_end(status, figure, folder, "ablate_classes", err);
}

/* ---- all ------------------------------------------------------------------------------------- */

const kh_ablate_figure kh_ablate_figures[] = {
    {"ablate_damage", "damage against the number of neurons, beside matched random ones",
     KH_ABLATE_OWN, draw_damage},
    {"ablate_curves", "deletion and insertion curves", KH_ABLATE_OWN, draw_curves},
    {"ablate_classes", "every class without its first neuron", KH_ABLATE_OWN, draw_classes},
    {"ablate_selectivity", "damage on and off target", KH_ABLATE_SWEEP, kh_ablate_draw_selectivity},
    {"ablate_steering", "a class's neurons scaled", KH_ABLATE_STEER, kh_ablate_draw_steering},
    {"ablate_causal", "alignment and contribution against the effect of single neurons",
     KH_ABLATE_CAUSAL, kh_ablate_draw_causal},
    {"ablate_swap", "one class's neurons against another's", KH_ABLATE_SWAP, kh_ablate_draw_swap},
    {0},
};

kh_status kh_ablate_write_figures(const kh_ablate_run *run, const char *folder, kh_error *err) {
    const kh_ablate_options *o = &run->result.options;
    char footnote[640], settings[256], scope[32];
    kh_ablate_scope(&run->result, scope, sizeof scope);
    (void)snprintf(settings, sizeof settings,
                   "%zu image%s of %zu class%s · %s, %zu neurons · rank by %s, op %s, tokens %s · "
                   "%zu random set%s, seed %llu",
                   run->result.images, KH_S(run->result.images), run->result.class_count,
                   KH_ES(run->result.class_count), scope, run->result.neurons,
                   kh_ablate_rank_name(o->rank), kh_ablate_op_name(o->ops[0]),
                   kh_ablate_tokens_name(o->tokens), o->sets, KH_S(o->sets),
                   (unsigned long long)o->seed);
    kh_model_footnote(run->session->model, settings, footnote, sizeof footnote);
    for (const kh_ablate_figure *f = kh_ablate_figures; f->stem; f++)
        if ((o->designs & f->designs) == f->designs) KH_TRY(f->draw(run, footnote, folder, err));
    return KH_OK;
}
