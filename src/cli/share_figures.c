/* The pictures of `share`: likeness of classes in the order of their tree, and the bases. */
#include "cli/outdir.h"
#include "cli/share.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAMED_CLASSES = 64, SHOWN_BASES = 50, PICTURE = 800, GREY = 160 };

/* Short names in the order of the tree; one block of memory, kh_free. */
static char (*names_in_order(const kh_share_result *r, const kh_model *model))[80] {
    char(*names)[80] = kh_calloc(r->classes, sizeof *names);
    for (size_t i = 0; names && i < r->classes; i++)
        kh_class_short(kh_model_classes(model), r->order[i], names[i], sizeof *names);
    return names;
}

/* Many classes: a pixel or a small box each. */
static kh_status add_picture(kh_figure *figure, const float *values, size_t rows, size_t columns,
                             const kh_figure_scale *scale, const char *title, kh_error *err) {
    uint8_t table[256][3];
    const size_t wide = columns < PICTURE ? PICTURE / columns : 1, width = columns * wide;
    const size_t high = rows < PICTURE ? PICTURE / rows : 1, height = rows * high;
    kh_figure_colour_table(KH_COLOURS_SEQUENTIAL, table);
    uint8_t *rgb = kh_calloc(height * width, 3);
    if (!rgb) return kh_fail(err, KH_E_MEMORY, "no memory for a matrix of classes");
    for (size_t i = 0; i < height * width; i++) {
        const float value = values[i / width / high * columns + i % width / wide];
        const double at = ((double)value - scale->low) / (scale->high - scale->low);
        const double level = at > 0 ? fmin(255, round(255 * at)) : 0;
        if (isfinite(value))
            memcpy(rgb + 3 * i, table[(size_t)level], 3);
        else
            memset(rgb + 3 * i, GREY, 3);
    }
    const kh_figure_panel panel = {.rgb = rgb, .width = width, .height = height};
    const kh_figure_grid grid = {.panels = &panel,
                                 .rows = 1,
                                 .columns = 1,
                                 .cell_width = width,
                                 .cell_height = height,
                                 .scales = scale,
                                 .scale_count = 1,
                                 .title = title};
    const kh_status status = kh_figure_add_grid(figure, &grid, err);
    kh_free(rgb);
    return status;
}

/* The diagonal is 1 whatever the classes are: it is left out, and the scale ends at the largest of
 * the others. */
static kh_status add_likeness(const kh_share_result *r, kh_figure *figure, char (*names)[80],
                              kh_error *err) {
    const size_t n = r->classes;
    float *values = kh_alloc_floats(n * n);
    const char **row = kh_calloc(n, sizeof *row);
    double high = 0;
    char label[120];
    kh_status status = KH_OK;
    if (!values || !row) status = kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    for (size_t i = 0; i < n && !status; i++)
        for (size_t j = 0; j < n; j++) {
            values[i * n + j] = r->likeness[r->order[i] * n + r->order[j]];
            if (i != j) high = fmax(high, (double)values[i * n + j]);
            if (i == j) values[i * n + j] = NAN;
            row[i] = names[i];
        }
    (void)snprintf(label, sizeof label, "%s (0: nothing in common, 1: the same %zu)",
                   r->likeness_name, r->k);
    const kh_figure_scale scale = {.high = high > 0 ? high : 1, .label = label};
    const kh_figure_matrix matrix = {.values = values,
                                     .rows = n,
                                     .columns = n,
                                     .row_names = row,
                                     .column_names = row,
                                     .scale = scale,
                                     .missing = "a class with itself",
                                     .cell_width = n > 40 ? 16 : 24,
                                     .cell_height = n > 40 ? 16 : 24};
    if (!status)
        status =
            n <= NAMED_CLASSES
                ? kh_figure_add_matrix(figure, &matrix, err)
                : add_picture(figure, values, n, n, &scale,
                              "every class against every class, in the order of the tree "
                              "(classes.csv and tree.csv name them; grey: a class with itself)",
                              err);
    kh_free(row);
    kh_free(values);
    return status;
}

/* How many value vectors serve 1, 2, 3, ... classes. */
static kh_status add_counts(const kh_share_result *r, kh_figure *figure, kh_error *err) {
    enum { GROUPS = 10 };
    double counts[GROUPS] = {0};
    static const char *const names[GROUPS] = {"1", "2", "3", "4", "5",
                                              "6", "7", "8", "9", "10 or more"};
    for (size_t u = 0; u < r->shared.unit_count; u++) {
        const size_t n = r->shared.units[u].n_classes;
        counts[(n < GROUPS ? n : GROUPS) - 1] += 1;
    }
    size_t groups = GROUPS;
    while (groups > 3 && counts[groups - 1] < 1)
        groups--;
    const kh_figure_bars bars = {.title = "How many classes a value vector serves",
                                 .x = {.label = r->shared.k > 1
                                                    ? "classes that have it among their first"
                                                    : "classes that have it first"},
                                 .y = {.label = "value vectors"},
                                 .values = counts,
                                 .groups = groups,
                                 .group_names = names,
                                 .show_values = true,
                                 .height = 220};
    return kh_figure_add_bars(figure, &bars, err);
}

static kh_status add_limits(const kh_share_result *r, kh_figure *figure, kh_error *err) {
    char text[256], length[80] = "";
    const kh_align_mode mode = r->ranking.mode;
    if (mode == KH_ALIGN_LN || mode == KH_ALIGN_COS)
        (void)snprintf(length, sizeof length, "Alignment %s ignores the length of a vector. ",
                       kh_align_mode_name(mode));
    (void)snprintf(
        text, sizeof text,
        "Not to be read from it: whether a shared vector matters for its classes. %sNear "
        "ties count as much as clear wins.",
        length);
    return kh_figure_add_note(figure, text, err);
}

static kh_status draw_likeness(const kh_share_result *r, const char *footnote, const char *folder,
                               char (*names)[80], kh_error *err) {
    char title[200], subtitle[512], first[48] = "first";
    const size_t two = kh_lens_shared_count(&r->shared, 2);
    if (two)
        (void)snprintf(title, sizeof title,
                       "%zu value vectors are the choice of two or more classes, %zu of three or "
                       "more",
                       two, kh_lens_shared_count(&r->shared, 3));
    else
        (void)snprintf(title, sizeof title, "Every class has a value vector of its own");
    if (r->shared.k > 1) (void)snprintf(first, sizeof first, "among their first %zu", r->shared.k);
    (void)snprintf(
        subtitle, sizeof subtitle,
        "Matrix: how many of their first %zu value vectors (best aligned, of all blocks) two "
        "classes have in common (%s), %zu classes in the order of their average-linkage "
        "tree. Bars: value vectors by the number of classes that have them %s.",
        r->k,
        strcmp(r->likeness_name, "jaccard") == 0 ? "Jaccard index: shared ones of all"
                                                 : "overlap: share of them",
        r->classes, first);
    const kh_figure_options how = {.title = title, .subtitle = subtitle, .footnote = footnote};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&how, &figure, err);
    if (!status) status = add_likeness(r, figure, names, err);
    if (!status) status = add_counts(r, figure, err);
    if (!status) status = add_limits(r, figure, err);
    if (!status) return kh_outdir_figure(folder, "share", figure, err);
    kh_figure_free(figure);
    return status;
}

/* Classes by their base, and in it in the order of the tree. */
static kh_status order_by_base(const kh_share_result *r, size_t **out, kh_error *err) {
    size_t count = 0;
    *out = kh_calloc(r->classes, sizeof **out);
    if (!*out) return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    for (size_t b = 0; b < r->bases; b++)
        for (size_t i = 0; i < r->classes; i++)
            if (r->label[1][r->order[i]] == b) (*out)[count++] = i;
    return KH_OK;
}

static kh_status draw_bases(const kh_share_result *r, const char *footnote, const char *folder,
                            char (*names)[80], kh_error *err) {
    const size_t shown = r->bases < SHOWN_BASES ? r->bases : SHOWN_BASES;
    float *values = kh_alloc_floats(r->classes * shown);
    const char **row = kh_calloc(r->classes, sizeof *row);
    char title[200], subtitle[512];
    size_t *place = NULL; /* in the tree */
    double high = 0;
    kh_status status = values && row ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a figure");
    if (!status) status = order_by_base(r, &place, err);
    for (size_t i = 0; i < r->classes && !status; i++) {
        const float *part = r->nmf.columns_of + r->order[place[i]] * r->bases;
        double sum = 0;
        for (size_t b = 0; b < r->bases; b++)
            sum += (double)part[b];
        for (size_t b = 0; b < shown; b++) {
            values[i * shown + b] = (float)(sum > 0 ? (double)part[b] / sum : (double)NAN);
            high = fmax(high, (double)values[i * shown + b]);
        }
        row[i] = names[place[i]];
    }
    kh_free(place);
    const double left = r->nmf.error * r->nmf.error;
    (void)snprintf(
        title, sizeof title,
        "%zu base classes explain %.0f %% of the squares of block %zu's positive alignments",
        r->bases, 100 * (1 - left), r->block);
    (void)snprintf(
        subtitle, sizeof subtitle,
        "Non-negative factorisation of the block's positive alignments (%s) of %zu "
        "value vectors and %zu classes; shown is how large a part of each class each base "
        "is, classes by their base. Unexplained: %.0f %% of their sum of squares (relative "
        "Frobenius norm %.2f).",
        kh_align_mode_name(r->bases_mode), r->nmf.rows, r->classes, 100 * left, r->nmf.error);
    const kh_figure_options how = {.title = title, .subtitle = subtitle, .footnote = footnote};
    const kh_figure_scale scale = {.high = high > 0 ? high : 1,
                                   .label = "part of the class (1: all of it)"};
    const kh_figure_matrix matrix = {.x_label = "base (the largest first)",
                                     .values = values,
                                     .rows = r->classes,
                                     .columns = shown,
                                     .row_names = row,
                                     .scale = scale,
                                     .cell_width = shown <= 12 ? 44 : 18,
                                     .cell_height = r->classes > 40 ? 16 : 22,
                                     .show_numbers = shown <= 12,
                                     .decimals = 2};
    kh_figure *figure = NULL;
    if (!status) status = kh_figure_create(&how, &figure, err);
    if (!status)
        status =
            r->classes <= NAMED_CLASSES
                ? kh_figure_add_matrix(figure, &matrix, err)
                : add_picture(
                      figure, values, r->classes, shown, &scale,
                      "classes (rows, by their base) and bases (columns, the largest first)", err);
    if (!status)
        status =
            kh_figure_add_note(figure,
                               "Not to be read from it: that these are the only bases. Another "
                               "seed or rank gives others of about the same error.",
                               err);
    kh_free(row);
    kh_free(values);
    if (!status) return kh_outdir_figure(folder, "bases", figure, err);
    kh_figure_free(figure);
    return status;
}

static void write_footnote(const kh_share_result *r, const kh_model *model, kh_align_mode mode,
                           char *out, size_t room) {
    char settings[96];
    (void)snprintf(settings, sizeof settings, "alignment mode %s, seed %llu",
                   kh_align_mode_name(mode), (unsigned long long)r->seed);
    kh_model_footnote(model, settings, out, room);
}

kh_status kh_share_write_figures(const kh_share_result *r, const kh_model *model,
                                 const char *folder, kh_error *err) {
    char footnote[512];
    char(*names)[80] = names_in_order(r, model);
    if (!names) return kh_fail(err, KH_E_MEMORY, "no memory for names of classes");
    write_footnote(r, model, r->ranking.mode, footnote, sizeof footnote);
    kh_status status = draw_likeness(r, footnote, folder, names, err);
    write_footnote(r, model, r->bases_mode, footnote, sizeof footnote);
    if (!status) status = draw_bases(r, footnote, folder, names, err);
    kh_free(names);
    return status;
}
