/* Measured: the demo's runs with 5, 12 and 25 classes, a ViT-B/16 of random weights, a tiny one. */
#include "cli/run_sizes.h"

#include <string.h>

/* Bytes of a page: `fixed`, and so much for each block. */
typedef struct page {
    const char *lens;
    double fixed, block;
    size_t classes; /* with pictures, that it takes */
} page;

/* Pages of lines and bars. */
static const page pages[] = {
    {"units", 248e3, 5.5e3, 0},     {"audit", 232e3, 2.5e3, 0},
    {"channels", 202e3, 3e3, 0},    {"selectivity", 267e3, 2.5e3, 2},
    {"attribution", 313e3, 5e3, 1}, {"class_mean", 300e3, 5e3, 2}, /* concentration */
    {"identify", 274e3, 6.8e3, 1},                                 /* identifiability */
    {"identify", 176e3, 4.1e3, 1},                                 /* composition */
    {"exemplars", 183e3, 2e3, 2},                                  /* reads_writes */
    {"dissect", 260e3, 5e3, 0},                                    /* detectors */
    {"dissect", 176e3, 2e3, 0},                                    /* regions */
    {"masks", 280e3, 3e3, 1}};

static bool has(const kh_run_sizes *of, const char *lens) {
    for (size_t i = 0; i < of->lens_count; i++)
        if (strcmp(of->lenses[i], lens) == 0) return true;
    return false;
}

static double least(size_t a, double b) {
    return (double)a < b ? (double)a : b;
}

/* Figures 5 and 6: names, colour bar and cells of a block, with numbers in few. */
static double distances(const kh_run_sizes *of) {
    const double n = (double)of->classes_compared;
    return 150e3 + (double)of->blocks * (11e3 + 1.5e3 * n + (n <= 8 ? 730 : 160) * n * n);
}

uint64_t kh_run_sizes_figures(const kh_run_sizes *of, size_t *count) {
    const double blocks = (double)of->blocks, neurons = (double)of->neurons;
    const double seen = (double)of->classes_seen;
    const bool has_labels = of->classes_seen > 0;
    double bytes = 0;
    *count = 0;
#define ADD(is_there, number, each)                                                                \
    if (is_there) *count += (number), bytes += (double)(number) * (each)
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        const bool by_class = strcmp(pages[i].lens, "class_mean") == 0;
        const size_t classes = by_class ? of->classes_counted : of->classes_seen;
        ADD(has(of, pages[i].lens) && classes >= pages[i].classes, 1,
            pages[i].fixed + blocks * pages[i].block);
    }
    ADD(has(of, "accuracy") && has_labels, 1, 178e3 + 2.1e3 * least(of->classes_seen, 30));
    ADD(has(of, "accuracy") && has_labels && of->classes > 1 && of->classes <= 2000, 1,
        150e3 + 400 * (seen <= 40 ? seen * seen : 250));
    ADD(has(of, "class_mean") && of->classes_counted > 0, 1,
        104e3 + blocks * (21e3 + 50 * neurons));
    ADD(has(of, "attribution") && has_labels, 1, 240e3 + 100 * neurons); /* cumulative */
    ADD(has(of, "key_value") && has_labels, 1,
        230e3 + (seen <= 60 ? 1440 * seen * blocks : 8e3 * blocks));
    ADD(has(of, "distance") && of->classes_compared > 1, 1, 256e3 + 4.6e3 * blocks);
    ADD(has(of, "distance") && of->classes_compared > 1, 6, distances(of));
#undef ADD
    return (uint64_t)bytes + 650 * *count + 100; /* figures.json */
}
