/* Pages of a dissection: detectors by category, masks against true objects. */
#include "cli/run_figures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CATEGORIES = 8 };

/* Totals per category and block out of a table like `detectors`: [categories, blocks]. */
static double *by_category(kh_plate *p, const char *table, const char *column,
                           const kh_answer *categories, size_t count) {
    const size_t blocks = p->run->blocks;
    double *out = kh_plate_numbers(p, count * blocks);
    for (size_t i = 0; out && i < count; i++) {
        char sql[256];
        const char *name = kh_answer_text(categories, i, 0);
        if (!name || strchr(name, '\'')) continue;
        (void)snprintf(sql, sizeof sql, "SELECT block, %s FROM %s WHERE category = '%.64s'", column,
                       table, name);
        const double *one = kh_plate_blocks(p, true, sql, 1);
        for (size_t b = 0; one && b < blocks; b++)
            out[i * blocks + b] = isfinite(one[b]) ? one[b] : 0;
    }
    return out;
}

/* Are neurons special? The same count for random directions of the block's space. */
static void add_rotation(kh_plate *p) {
    const size_t blocks = p->run->blocks;
    if (p->status || !kh_run_has(p->run, true, "rotation")) return;
    double *of = kh_plate_blocks(p, true,
                                 "SELECT block, sum(share), sum(rotated_share), max(rotated_units) "
                                 "FROM rotation GROUP BY block",
                                 3);
    if (!of) return;
    const kh_figure_line lines[] = {
        {.name = "neurons", .y = of, .kind = KH_LINE_POINTS},
        {.name = "random directions", .y = of + blocks, .kind = KH_LINE_NULL}};
    char title[96];
    (void)snprintf(title, sizeof title,
                   "Detectors among neurons and %.0f random directions a block", of[2 * blocks]);
    kh_plate_lines(p, (kh_figure_lines){.title = title,
                                        .y = {.label = "share of units", .high = 1},
                                        .lines = lines,
                                        .line_count = 2});
}

void kh_draw_detectors(kh_plate *p) {
    const size_t blocks = p->run->blocks;
    const kh_answer *categories = kh_plate_ask(
        p, true, "SELECT category, min(rowid) FROM detectors GROUP BY category ORDER BY 2 LIMIT 8");
    const size_t count = categories ? kh_answer_rows(categories) : 0;
    const char **names = kh_plate_keep(p, MAX_CATEGORIES, sizeof *names);
    double *found = by_category(p, "detectors", "detectors", categories, count);
    double *labels = by_category(p, "detectors", "labels", categories, count);
    double *iou = kh_plate_quartiles(p, true, "SELECT block, iou FROM dissection");
    double *best =
        kh_plate_blocks(p, true, "SELECT block, max(iou) FROM dissection GROUP BY block", 1);
    double *line = kh_plate_numbers(p, blocks), *all = kh_plate_numbers(p, blocks);
    if (!count || !names || !found || !labels || !iou || !best || !line || !all) return;
    for (size_t i = 0; i < count; i++)
        names[i] = kh_answer_text(categories, i, 0);
    for (size_t b = 0; b < blocks; b++) {
        line[b] = 0.04;
        for (size_t i = 0; i < count; i++)
            all[b] += found[i * blocks + b];
    }
    const size_t peak = kh_plate_peak(all, blocks);
    kh_plate_title(p, "%.0f of %zu neurons of block %zu detect something that has a name",
                   all[peak], p->run->neurons, peak);
    kh_plate_caption(
        p,
        "Network dissection of every key neuron over %zu pictures: its map above its "
        "own threshold against each label's pixels. A detector overlaps its best label "
        "with an IoU of at least 0.04 (as in the original; dashed below); it counts "
        "for the category of that label. Labels: different ones among the detectors.",
        p->run->images);
    kh_plate_limits(p, "that a neuron means its label: 0.04 is a small overlap, which directions "
                       "drawn at random may reach too; things without a label cannot be found.");
    kh_plate_open(p, 2);
    kh_plate_bars(p, (kh_figure_bars){.title = "Detectors by category",
                                      .y = {.label = "neurons"},
                                      .values = found,
                                      .series = count,
                                      .series_names = names,
                                      .is_stacked = true});
    kh_plate_bars(p, (kh_figure_bars){.title = "Different labels found",
                                      .y = {.label = "labels"},
                                      .values = labels,
                                      .series = count,
                                      .series_names = names,
                                      .is_stacked = true});
    const kh_figure_line lines[] = {
        {.name = "best neuron", .y = best, .kind = KH_LINE_POINTS},
        kh_plate_middle(p, iou, "median neuron", "middle half of the neurons"),
        {.name = "0.04: detectors reach it", .y = line, .kind = KH_LINE_DASHED}};
    kh_plate_lines(p, (kh_figure_lines){.title = "Overlap with the best label",
                                        .y = {.label = "IoU"},
                                        .lines = lines,
                                        .line_count = 3});
    add_rotation(p);
}

void kh_draw_masks(kh_plate *p) {
    const size_t blocks = p->run->blocks;
    const char *columns = "pooled_iou, iou, precision, recall, pointing";
    char sql[256];
    double *of[2];
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(sql, sizeof sql, "SELECT block, %s FROM masks WHERE kind = '%s'", columns,
                       i ? "running" : "own");
        of[i] = kh_plate_blocks(p, true, sql, 5);
    }
    const double n = kh_plate_number(p, true, "SELECT max(n) FROM masks");
    double *chance = kh_plate_numbers(p, 2 * blocks);
    if (!of[0] || !of[1] || !chance) return;
    /* precision P and recall R of one mask over all pixels: share of the object = 0.2 P / R */
    const double *own = of[0];
    double object = 0, used = 0;
    for (size_t b = 0; b < blocks; b++)
        if (own[3 * blocks + b] > 0) {
            object += 0.2 * own[2 * blocks + b] / own[3 * blocks + b];
            used++;
        }
    object = used > 0 ? object / used : (double)NAN;
    for (size_t b = 0; b < blocks; b++) {
        chance[b] = 0.2 * object / (0.2 + object - 0.2 * object);
        chance[blocks + b] = object;
    }
    const size_t peak = kh_plate_peak(own, blocks);
    kh_plate_title(p, "The best aligned neuron's map meets the object best in block %zu (IoU %.2f)",
                   peak, own[peak]);
    kh_plate_caption(p,
                     "For %.0f pictures: the fifth of the picture where the block's best aligned "
                     "neuron of the true class fires most (figures 1 and 2), against the object's "
                     "true mask. Running: the mean of the maps of all blocks so far. Chance: a "
                     "random fifth, with objects as large as these (about %.0f %% of a picture, "
                     "estimated from precision and recall).",
                     n, 100 * object);
    kh_plate_limits(p,
                    "whether the neuron fires at all: a fifth of the picture is kept however weak "
                    "the map is. The middle of a picture alone does well too.");
    kh_plate_open(p, 2);
    static const char *const titles[] = {"Overlap (IoU of all pictures together)", "Precision",
                                         "Recall", "Maximum lies on the object"};
    static const size_t column[] = {0, 2, 3, 4};
    for (size_t i = 0; i < 4; i++) {
        const kh_figure_line lines[] = {
            {.name = "own map", .y = own + column[i] * blocks, .kind = KH_LINE_POINTS},
            {.name = "running mean", .y = of[1] + column[i] * blocks, .kind = KH_LINE_DASHED},
            {.name = "chance", .y = i == 0 ? chance : chance + blocks, .kind = KH_LINE_NULL}};
        kh_plate_lines(p, (kh_figure_lines){.title = titles[i],
                                            .y = {.label = i == 0   ? "IoU"
                                                           : i == 3 ? "share of pictures"
                                                                    : "share of pixels"},
                                            .lines = lines,
                                            .line_count = i == 2 ? 2 : 3});
    }
}
