/* More pictures of `ablate`: on and off target, doses, swaps, alignment against effect. */
#include "cli/ablate.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- on and off target ----------------------------------------------------------------------- */

enum { MOST_CLOUDS = 5 };

/* x: damage on the class's images, y: on all others; [sweep k, classes] each. */
static void fill_targets(const kh_ablation *a, kh_ablate_metric metric, double *x, double *y) {
    const kh_ablate_options *o = &a->options;
    for (size_t e = 0, at = 0; e < a->effect_count; e++) {
        const kh_ablate_effect *r = &a->effects[e];
        if (!r->is_sweep || r->class_index == KH_NO_CLASS || r->metric != metric) continue;
        if (a->class_rows[at].class_index != r->class_index) at++;
        size_t k = 0;
        while (o->sweep_k[k] != r->k)
            k++;
        (r->images == KH_ABLATE_ON_OWN ? x : y)[k * a->class_count + at] = r->value.mean;
    }
}

static kh_status add_targets(const kh_ablation *a, kh_figure *figure, kh_ablate_metric metric,
                             const char *title, const char *x_label, const char *y_label,
                             kh_error *err) {
    const size_t classes = a->class_count, count = a->options.sweep_k_count;
    double *x = kh_calloc(2 * count * classes, sizeof *x), *y = x ? x + count * classes : NULL;
    kh_figure_cloud clouds[MOST_CLOUDS];
    char names[MOST_CLOUDS][32];
    if (!x) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    fill_targets(a, metric, x, y);
    const size_t shown = count < MOST_CLOUDS ? count : MOST_CLOUDS;
    for (size_t k = 0; k < shown; k++) {
        (void)snprintf(names[k], sizeof names[k], "k = %zu", a->options.sweep_k[k]);
        clouds[k] = (kh_figure_cloud){names[k], x + k * classes, y + k * classes, classes};
    }
    const kh_figure_scatter chart = {.title = title,
                                     .x = kh_ablate_change_axis(x_label, x, shown * classes),
                                     .y = kh_ablate_change_axis(y_label, y, shown * classes),
                                     .clouds = clouds,
                                     .cloud_count = shown,
                                     .has_diagonal = true,
                                     .has_zeros = true,
                                     .width = 560,
                                     .height = 380};
    const kh_status status = kh_figure_add_scatter(figure, &chart, err);
    kh_free(x);
    return status;
}

kh_status kh_ablate_draw_selectivity(const kh_ablate_run *run, const char *footnote,
                                     const char *folder, kh_error *err) {
    const kh_ablation *a = &run->result;
    char title[200];
    const size_t k = a->options.sweep_k[a->options.sweep_k_count - 1];
    char texts[2][32];
    double own = (double)NAN, other = (double)NAN;
    for (size_t i = 0; i < a->effect_count; i++) {
        const kh_ablate_effect *e = &a->effects[i];
        if (!e->is_sweep || e->class_index != KH_NO_CLASS || e->k != k ||
            e->metric != KH_ABLATE_D_TOP1)
            continue;
        if (e->images == KH_ABLATE_ON_OWN)
            own = e->value.mean;
        else
            other = e->value.mean;
    }
    (void)snprintf(
        title, sizeof title,
        "Without %zu neuron%s of a class, accuracy changes by %s on its images and by %s "
        "on all others",
        k, k == 1 ? "" : "s", kh_ablate_number(own, 3, texts[0], sizeof texts[0]),
        kh_ablate_number(other, 3, texts[1], sizeof texts[1]));
    kh_figure *figure = NULL;
    kh_status status = kh_ablate_page(
        title,
        "One dot for each class and number of neurons: what its neurons' absence does to its "
        "own images and to those of all other classes. Dashed: as much to both. Classes that "
        "change alike lie on one dot.",
        footnote, 2, &figure, err);
    if (!status)
        status = add_targets(a, figure, KH_ABLATE_D_TOP1, "Accuracy",
                             "change on the class's images (share)",
                             "change on other images (share)", err);
    if (!status)
        status = add_targets(a, figure, KH_ABLATE_D_MARGIN, "Margin of the image's true class",
                             "change on the class's images (logits)",
                             "change on other images (logits)", err);
    return kh_ablate_page_end(status, figure, folder, "ablate_selectivity", err);
}

/* ---- doses ----------------------------------------------------------------------------------- */

enum { MOST_DOSES = 16 };

static kh_status add_doses(const kh_ablation *a, kh_figure *figure, kh_ablate_images images,
                           bool is_logit, const char *title, const char *y_label, kh_error *err) {
    double x[2][MOST_DOSES], y[2][MOST_DOSES], low[2][MOST_DOSES], high[2][MOST_DOSES];
    size_t count[2] = {0, 0};
    double most = 0.01;
    for (size_t i = 0; i < a->dose_count; i++) {
        const kh_ablate_dose *d = &a->doses[i];
        const size_t set = d->set == KH_ABLATE_RANDOM;
        if (d->class_index != KH_NO_CLASS || d->images != images || count[set] == MOST_DOSES)
            continue;
        const kh_ablate_mean *m = is_logit ? &d->d_logit : &d->predicted;
        const size_t at = count[set]++;
        x[set][at] = d->alpha;
        y[set][at] = m->mean;
        low[set][at] = m->lo;
        high[set][at] = m->hi;
        most = fmax(most, m->hi);
    }
    const bool is_share = !is_logit && images == KH_ABLATE_ON_OTHER; /* from 0 on */
    const kh_figure_line lines[] = {{.name = "the class's first neurons",
                                     .x = x[0],
                                     .y = y[0],
                                     .low = low[0],
                                     .high = high[0],
                                     .band_name = "95 % interval",
                                     .count = count[0],
                                     .kind = KH_LINE_POINTS},
                                    {.name = "as many matched random ones",
                                     .x = x[1],
                                     .y = y[1],
                                     .low = low[1],
                                     .high = high[1],
                                     .count = count[1],
                                     .kind = KH_LINE_NULL}};
    const kh_figure_lines chart = {.title = title,
                                   .x = {.label = "factor of the coefficients"},
                                   .y = {.label = y_label, .high = is_share ? 1.05 * most : 0},
                                   .lines = lines,
                                   .line_count = 2,
                                   .width = 560,
                                   .height = 280};
    return kh_figure_add_lines(figure, &chart, err);
}

kh_status kh_ablate_draw_steering(const kh_ablate_run *run, const char *footnote,
                                  const char *folder, kh_error *err) {
    const kh_ablation *a = &run->result;
    char title[200];
    double steered = (double)NAN, random = (double)NAN, alpha = 0;
    for (size_t i = 0; i < a->dose_count; i++) {
        const kh_ablate_dose *d = &a->doses[i];
        if (d->class_index != KH_NO_CLASS || d->images != KH_ABLATE_ON_OTHER || d->alpha < alpha)
            continue;
        alpha = d->alpha;
        if (d->set == KH_ABLATE_RANKED)
            steered = d->predicted.mean;
        else
            random = d->predicted.mean;
    }
    (void)snprintf(title, sizeof title,
                   "With %zu neuron%s of another class times %.3g, %.1f %% of images are taken for "
                   "that class (random neurons: %.1f %%)",
                   a->options.steer_k, a->options.steer_k == 1 ? "" : "s", alpha, 100 * steered,
                   100 * random);
    kh_figure *figure = NULL;
    kh_status status =
        kh_ablate_page(title,
                       "Coefficients of a class's neurons are multiplied, on all chosen "
                       "tokens; 1 leaves them as they are.",
                       footnote, 2, &figure, err);
    if (!status)
        status = add_doses(a, figure, KH_ABLATE_ON_OWN, false, "Neurons of the image's own class",
                           "predicted as the class (share)", err);
    if (!status)
        status = add_doses(a, figure, KH_ABLATE_ON_OTHER, false, "Neurons of a random other class",
                           "predicted as that class (share)", err);
    if (!status)
        status = add_doses(a, figure, KH_ABLATE_ON_OWN, true, "Neurons of the image's own class",
                           "change of the class's logit (logits)", err);
    if (!status)
        status = add_doses(a, figure, KH_ABLATE_ON_OTHER, true, "Neurons of a random other class",
                           "change of that class's logit (logits)", err);
    return kh_ablate_page_end(status, figure, folder, "ablate_steering", err);
}

/* ---- alignment, contribution, effect --------------------------------------------------------- */

typedef struct panel {
    const char *pair, *title, *x_label;
    double (*x)(const kh_ablate_neuron *neuron);
    bool is_margin, has_diagonal;
} panel;

static double ln_of(const kh_ablate_neuron *n) {
    return n->ln;
}
static double contribution_of(const kh_ablate_neuron *n) {
    return n->contribution;
}
static double direct_of(const kh_ablate_neuron *n) {
    return n->direct;
}
static double direct_margin_of(const kh_ablate_neuron *n) {
    return n->direct_margin;
}

static const panel panels[] = {
    {"ln_effect", "Alignment", "alignment, mode ln (logits)", ln_of, false, false},
    {"ln_effect_margin", "Alignment", "alignment, mode ln (logits)", ln_of, true, false},
    {"contribution_effect", "Contribution", "what it adds directly (logits)", contribution_of,
     false, false},
    {"contribution_effect_margin", "Contribution", "what it adds directly (logits)",
     contribution_of, true, false},
    {"direct_effect", "Direct effect of this edit", "what the edit takes directly (logits)",
     direct_of, false, true},
    {"direct_margin_effect_margin", "Direct effect of this edit",
     "margin the edit takes directly (logits)", direct_margin_of, true, true}};
enum { PANELS = sizeof panels / sizeof *panels };

static double correlation_of(const kh_ablation *a, const char *pair) {
    for (size_t i = 0; i < a->correlation_count; i++) {
        const kh_ablate_correlation *c = &a->correlations[i];
        if (c->level == KH_ABLATE_OF_MEAN && strcmp(c->pair, pair) == 0 &&
            strcmp(c->neurons, "listed") == 0)
            return c->spearman;
    }
    return (double)NAN;
}

static kh_status add_panel(const kh_ablation *a, kh_figure *figure, const panel *what,
                           kh_error *err) {
    static const char *const names[] = {"first by alignment", "first by contribution or activation",
                                        "random"};
    double *x[3], *y[3], *memory = kh_calloc(6 * a->listed_count, sizeof *memory);
    size_t count[3] = {0, 0, 0};
    char title[160], number[32];
    if (!memory) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    for (size_t g = 0; g < 3; g++) {
        x[g] = memory + 2 * g * a->listed_count;
        y[g] = x[g] + a->listed_count;
    }
    for (size_t i = 0; i < a->listed_count; i++) {
        const kh_ablate_neuron *n = &a->listed[i];
        const size_t g = n->picked_by == KH_ABLATE_PICK_LN       ? 0
                         : n->picked_by == KH_ABLATE_PICK_RANDOM ? 2
                                                                 : 1;
        x[g][count[g]] = what->x(n);
        y[g][count[g]++] = what->is_margin ? n->effect_margin.mean : n->effect_logit.mean;
    }
    (void)snprintf(title, sizeof title, "%s, %s: Spearman %s", what->title,
                   what->is_margin ? "margin" : "logit",
                   kh_ablate_number(correlation_of(a, what->pair), 2, number, sizeof number));
    kh_figure_cloud clouds[3];
    for (size_t g = 0; g < 3; g++)
        clouds[g] = (kh_figure_cloud){names[g], x[g], y[g], count[g]};
    const kh_figure_scatter chart = {.title = title,
                                     .x = {.label = what->x_label},
                                     .y = {.label = what->is_margin
                                                        ? "margin lost without it (logits)"
                                                        : "logit lost without it (logits)"},
                                     .clouds = clouds,
                                     .cloud_count = 3,
                                     .has_diagonal = what->has_diagonal,
                                     .has_zeros = true,
                                     .is_last_null = true,
                                     .radius = 2.5,
                                     .width = 560,
                                     .height = 300};
    const kh_status status = kh_figure_add_scatter(figure, &chart, err);
    kh_free(memory);
    return status;
}

kh_status kh_ablate_draw_causal(const kh_ablate_run *run, const char *footnote, const char *folder,
                                kh_error *err) {
    const kh_ablation *a = &run->result;
    char title[240], numbers[3][32];
    (void)snprintf(
        title, sizeof title,
        "Rank correlation with the margin a neuron holds: alignment %s, contribution %s, direct "
        "effect %s",
        kh_ablate_number(correlation_of(a, "ln_effect_margin"), 2, numbers[0], 32),
        kh_ablate_number(correlation_of(a, "contribution_effect_margin"), 2, numbers[1], 32),
        kh_ablate_number(correlation_of(a, "direct_margin_effect_margin"), 2, numbers[2], 32));
    kh_figure *figure = NULL;
    kh_status status = kh_ablate_page(
        title,
        "One dot for each class and neuron: mean over the class's images of what the true class's "
        "logit (left) and margin (right) lose without the neuron. Correlations are means over "
        "classes of Spearman's within a class. Dashed: as the direct effect says.",
        footnote, 2, &figure, err);
    for (size_t i = 0; i < PANELS && !status; i++)
        status = add_panel(a, figure, &panels[i], err);
    return kh_ablate_page_end(status, figure, folder, "ablate_causal", err);
}

/* ---- swaps ----------------------------------------------------------------------------------- */

kh_status kh_ablate_draw_swap(const kh_ablate_run *run, const char *footnote, const char *folder,
                              kh_error *err) {
    static const char *const series[] = {"neurons exchanged", "own neurons zeroed only",
                                         "random neurons exchanged", "before"};
    static const char *const labels[] = {"among close relatives", "similar classes",
                                         "random classes"};
    const kh_ablation *a = &run->result;
    double values[4 * 3];
    const char *names[3];
    size_t groups = 0;
    for (size_t i = 0; i < a->swap_count; i++)
        groups += a->swaps[i].class_index == KH_NO_CLASS;
    if (groups == 0) return KH_OK;
    for (size_t i = 0; i < groups; i++) {
        const kh_ablate_swap *s = &a->swaps[i]; /* the rows over all classes come first */
        names[i] = labels[s->pair];
        values[i] = s->flip.mean;
        values[groups + i] = s->flip_ablated;
        values[2 * groups + i] = s->flip_random;
        values[3 * groups + i] = s->flip_base;
    }
    char title[200];
    size_t most = 0; /* where exchanging does most */
    for (size_t i = 1; i < groups; i++)
        if (values[i] > values[most] || isnan(values[most])) most = i;
    (void)snprintf(title, sizeof title,
                   "With %zu neuron%s exchanged at most %.1f %% of images are taken for the other "
                   "class (%s; %.1f %% before)",
                   a->options.swap_k, KH_S(a->options.swap_k), 100 * values[most], names[most],
                   100 * values[3 * groups + most]);
    const kh_figure_bars bars = {.y = {.label = "predicted as the other class (share)"},
                                 .values = values,
                                 .series = 4,
                                 .groups = groups,
                                 .series_names = series,
                                 .group_names = names,
                                 .show_values = true,
                                 .width = 900,
                                 .height = 300};
    kh_figure *figure = NULL;
    kh_status status =
        kh_ablate_page(title,
                       "The first neurons of the image's class are set to zero, those of "
                       "another class to their means over that class's images.",
                       footnote, 1, &figure, err);
    if (!status) status = kh_figure_add_bars(figure, &bars, err);
    return kh_ablate_page_end(status, figure, folder, "ablate_swap", err);
}
