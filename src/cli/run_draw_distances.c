/* Figures 5 and 6: how far classes are from each other, block by block. */
#include "cli/run_figures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NUMBERED = 8, DEFINITIONS = 3, NAMED = 12 };

static const char *meaning(const char *definition) {
    if (strcmp(definition, "D1") == 0)
        return "D1: length of the difference of two mean maps, each of the class's own best "
               "aligned neurons. It compares where and how strongly they fire, not what they stand "
               "for.";
    if (strcmp(definition, "D2") == 0)
        return "D2: root mean square distance of two pictures' maps, one of each class, each of "
               "the class's own best aligned neurons.";
    return "D3: distance of the class means of the same neurons (the best aligned ones of all "
           "compared classes), each in units of its standard deviation over patches.";
}

/* Why these, behind their number. */
static const char *why(const kh_plate *p, size_t count) {
    const char *is = p->run->compare_why;
    if (strcmp(is, "asked") == 0) return " (chosen by --compare)";
    if (strcmp(is, "report") == 0) return " (the report's fish, boat and dogs)";
    if (strcmp(is, "all") == 0) return " (all with labelled pictures)";
    if (strcmp(is, "seen") != 0) return "";
    return count < KH_ATLAS_COMPARED ? " (all with labelled pictures)"
                                     : " (the first with labelled pictures)";
}

/* "tench, fireboat and 3 more" */
static void list_names(const char *const *names, size_t count, char *out, size_t room) {
    const size_t shown = count <= NAMED ? count : NAMED - 1;
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < shown && used < room; i++)
        used += (size_t)snprintf(out + used, room - used, "%s%s",
                                 i == 0           ? ""
                                 : i + 1 == count ? " and "
                                                  : ", ",
                                 names[i]);
    if (shown < count && used < room)
        (void)snprintf(out + used, room - used, " and %zu more", count - shown);
}

/* Places of the compared classes among themselves; their number. */
static size_t find_classes(kh_plate *p, const char *sql, size_t *place, const char **names) {
    const kh_answer *a = kh_plate_ask(p, false, sql);
    size_t count = 0;
    for (size_t c = 0; c < p->run->classes; c++)
        place[c] = SIZE_MAX;
    for (size_t r = 0; a && r < kh_answer_rows(a); r++) {
        const double c = kh_answer_number(a, r, 0);
        if (!(c >= 0 && c < (double)p->run->classes)) continue;
        names[count] = p->run->names[(size_t)c];
        place[(size_t)c] = count++;
    }
    return count;
}

static void add_block(kh_plate *p, const kh_answer *a, size_t block, const size_t *place, size_t n,
                      const char *const *names, const char *unit) {
    float *cells = kh_plate_keep(p, n * n, sizeof *cells);
    double high = 0;
    char title[64];
    if (!cells) return;
    for (size_t i = 0; i < n * n; i++)
        cells[i] = NAN;
    for (size_t r = 0; r < kh_answer_rows(a); r++) {
        const double x = kh_answer_number(a, r, 1), y = kh_answer_number(a, r, 2);
        if (kh_answer_number(a, r, 0) < (double)block || kh_answer_number(a, r, 0) > (double)block)
            continue;
        if (!(x >= 0 && y >= 0 && x < (double)p->run->classes && y < (double)p->run->classes))
            continue;
        const size_t i = place[(size_t)x], j = place[(size_t)y];
        if (i >= n || j >= n) continue;
        cells[i * n + j] = cells[j * n + i] = (float)kh_answer_number(a, r, 3);
        high = fmax(high, (double)cells[i * n + j]);
    }
    const size_t side = n <= NUMBERED ? 44 : n <= 16 ? 20 : 14;
    (void)snprintf(title, sizeof title, "block %zu: up to %.3g", block, high);
    kh_plate_matrix(p,
                    &(kh_figure_matrix){
                        .title = title,
                        .values = cells,
                        .rows = n,
                        .columns = n,
                        .row_names = names,
                        .column_names = names,
                        .scale = {.high = high > 0 ? high : 1, .label = "distance", .unit = unit},
                        .show_numbers = n <= NUMBERED,
                        .decimals = 2,
                        .cell_width = (double)side,
                        .cell_height = n <= NUMBERED ? 24 : (double)side});
}

/* The nearest and the farthest pair of the last block. */
static void title(kh_plate *p, const kh_answer *a) {
    const size_t classes = p->run->classes, last = p->run->blocks - 1;
    size_t near = SIZE_MAX, far = SIZE_MAX;
    for (size_t r = 0; r < kh_answer_rows(a); r++) {
        const double x = kh_answer_number(a, r, 1), y = kh_answer_number(a, r, 2);
        const double d = kh_answer_number(a, r, 3);
        if (kh_answer_number(a, r, 0) < (double)last || !(x >= 0 && y > x && y < (double)classes))
            continue;
        if (near == SIZE_MAX || d < kh_answer_number(a, near, 3)) near = r;
        if (far == SIZE_MAX || d > kh_answer_number(a, far, 3)) far = r;
    }
    if (near == far) { /* one pair, or all alike */
        kh_plate_title(p, "Distances between classes, block by block");
        return;
    }
    kh_plate_title(p, "Nearest in block %zu: %s and %s; farthest: %s and %s", last,
                   p->run->names[(size_t)kh_answer_number(a, near, 1)],
                   p->run->names[(size_t)kh_answer_number(a, near, 2)],
                   p->run->names[(size_t)kh_answer_number(a, far, 1)],
                   p->run->names[(size_t)kh_answer_number(a, far, 2)]);
}

void kh_draw_distances(kh_plate *p, const char *definition, size_t k) {
    char sql[256];
    size_t *place = kh_plate_keep(p, p->run->classes, sizeof *place);
    const char **names = kh_plate_keep(p, p->run->classes, sizeof *names);
    if (!place || !names) return;
    (void)snprintf(sql, sizeof sql,
                   "SELECT block, class_a, class_b, distance FROM distances WHERE definition = "
                   "'%s' AND k = %zu",
                   definition, k);
    const kh_answer *a = kh_plate_ask(p, false, sql);
    (void)snprintf(sql, sizeof sql,
                   "SELECT DISTINCT class_a c FROM distances WHERE definition = '%s' AND k = %zu "
                   "UNION SELECT DISTINCT class_b FROM distances WHERE definition = '%s' AND k = "
                   "%zu ORDER BY 1",
                   definition, k, definition, k);
    const size_t n = find_classes(p, sql, place, names);
    if (!a || n < 2 || n > 64) return;
    title(p, a);
    kh_plate_caption(p,
                     "Figure %d of the report: distances of %zu classes%s, by each class's %s. %s "
                     "Every block has its own scale (bar below it), since "
                     "distances grow with the coefficients.",
                     k == 1 ? 5 : 6, n, why(p, n),
                     k == 1 ? "best aligned neuron" : "three best aligned neurons",
                     meaning(definition));
    kh_plate_limits(p, "that classes far apart are told apart better, or that a block with large "
                       "distances separates more than one with small ones. Compare places within a "
                       "block.");
    kh_plate_open(p, n <= 32 ? 3 : 2);
    for (size_t b = 0; b < p->run->blocks; b++)
        add_block(p, a, b, place, n, names,
                  strcmp(definition, "D3") == 0 ? "standard deviations" : "coefficient a");
}

/* Mean over pairs, by block; false when there is none. */
static bool mean_of(kh_plate *p, const char *column, const char *definition, int k, double **out) {
    char sql[256];
    (void)snprintf(sql, sizeof sql,
                   "SELECT block, avg(%s) FROM distances WHERE definition = '%s' AND k = %d AND "
                   "class_a <> class_b GROUP BY block",
                   column, definition, k);
    *out = kh_plate_blocks(p, false, sql, 1);
    return *out != NULL;
}

/* A run of an earlier version does not say. */
static bool has_norms(kh_plate *p) {
    return kh_plate_number(p, false,
                           "SELECT count(*) FROM pragma_table_info('distances') WHERE name = "
                           "'per_norm'") > 0;
}

/* What is left of the growth over blocks when the maps' own size is taken out. */
static void per_norm(kh_plate *p) {
    double *one, *three, *stacked, *images;
    if (!mean_of(p, "per_norm", "D1", 1, &one) || !mean_of(p, "per_norm", "D1", 3, &three) ||
        !mean_of(p, "per_norm", "D1c", 3, &stacked) || !mean_of(p, "per_norm", "D2", 1, &images))
        return;
    const kh_figure_line lines[] = {{.name = "D1, k = 1", .y = one, .kind = KH_LINE_POINTS},
                                    {.name = "D1, k = 3", .y = three, .kind = KH_LINE_DASHED},
                                    {.name = "D1c, k = 3", .y = stacked},
                                    {.name = "D2, k = 1", .y = images, .kind = KH_LINE_POINTS}};
    kh_plate_lines(p, (kh_figure_lines){.title = "Over the mean length of a class's map",
                                        .y = {.label = "distance / length"},
                                        .lines = lines,
                                        .line_count = 4});
}

/* The sizes behind the scales: mean distance over pairs, for every reading. */
void kh_draw_distances_lines(kh_plate *p) {
    static const char *const definitions[DEFINITIONS] = {"D1", "D2", "D3"};
    static const char *const titles[DEFINITIONS] = {"D1: mean maps of the classes' own neurons",
                                                    "D2: maps of single pictures",
                                                    "D3: class means of the same neurons"};
    char list[512];
    size_t *place = kh_plate_keep(p, p->run->classes, sizeof *place);
    const char **names = kh_plate_keep(p, p->run->classes, sizeof *names);
    if (!place || !names) return;
    const size_t n =
        find_classes(p, "SELECT DISTINCT class_a FROM distances ORDER BY 1", place, names);
    if (n < 2) return;
    const bool is_said = has_norms(p);
    list_names(names, n, list, sizeof list);
    kh_plate_title(p, "How large the distances between classes are, block by block");
    kh_plate_caption(
        p,
        "Mean over all pairs of %zu compared classes%s: %s. For the three readings of "
        "the report's definition, with the best aligned neuron of a class (figure 5) "
        "and its three best ones (figure 6).%s",
        n, why(p, n), list,
        is_said ? " Last panel: over the mean length of the maps compared (D1c: three, one "
                  "behind the other); maps of one length with nothing in common are "
                  "1.41 apart."
                : "");
    kh_plate_limits(p, "which classes are near: the matrices say that.");
    kh_plate_open(p, 2);
    for (size_t i = 0; i < DEFINITIONS; i++) {
        double *of[2] = {NULL, NULL};
        if (!mean_of(p, "distance", definitions[i], 1, &of[0]) ||
            !mean_of(p, "distance", definitions[i], 3, &of[1]))
            return;
        const kh_figure_line lines[] = {{.name = "k = 1", .y = of[0], .kind = KH_LINE_POINTS},
                                        {.name = "k = 3", .y = of[1], .kind = KH_LINE_DASHED}};
        kh_plate_lines(p, (kh_figure_lines){.title = titles[i],
                                            .y = {.label = i == 2 ? "distance (std. deviations)"
                                                                  : "distance (coefficient a)"},
                                            .lines = lines,
                                            .line_count = 2});
    }
    if (is_said) per_norm(p);
}
