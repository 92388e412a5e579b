#include "lens/distance.h"

#include <math.h>
#include <stdlib.h>

double kh_l2_distance(const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sqrt(sum);
}

void kh_l2_matrix(const double *rows, size_t count, size_t width, double *out) {
    for (size_t a = 0; a < count; a++)
        for (size_t b = 0; b < count; b++)
            out[a * count + b] = kh_l2_distance(rows + a * width, rows + b * width, width);
}

static double dot(const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

double kh_mean_norm(const double *rows, size_t count, size_t width) {
    double sum = 0, n = 0;
    for (size_t a = 0; a < count; a++) {
        const double norm = sqrt(dot(rows + a * width, rows + a * width, width));
        if (isnan(norm)) continue;
        sum += norm;
        n += 1;
    }
    return n > 0 ? sum / n : (double)NAN;
}

double kh_rms_between(const double *mean_a, double square_a, const double *mean_b, double square_b,
                      size_t count) {
    return sqrt(fmax(square_a + square_b - 2 * dot(mean_a, mean_b, count), 0));
}

double kh_rms_within(const double *mean, double square_sum, size_t n, size_t count) {
    if (n < 2) return (double)NAN;
    const double spread = square_sum - (double)n * dot(mean, mean, count);
    return sqrt(fmax(2 * spread / ((double)n - 1), 0));
}

/* ---- the classes ---------------------------------------------------------------------------- */

enum { IMAGENET = 1000 };

/* Fish, boat and dogs, in the order in which they were always compared. */
static const size_t report[] = {0, 554, 207, 162, 250};
enum { REPORT = sizeof report / sizeof *report };

static int by_size(const void *left, const void *right) {
    const size_t a = *(const size_t *)left, b = *(const size_t *)right;
    return (a > b) - (a < b);
}

static void take(kh_distance_choice *c, const size_t *list, size_t count, const char *why) {
    c->why = why;
    for (c->count = 0; c->count < count && c->count < KH_DISTANCE_CLASSES; c->count++)
        c->classes[c->count] = list[c->count];
}

static bool are_report(const kh_distance_choice *c) {
    size_t found = 0;
    for (size_t i = 0; i < c->count; i++)
        for (size_t r = 0; r < REPORT; r++)
            found += c->classes[i] == report[r];
    return c->count == REPORT && found == REPORT;
}

static size_t seen_of(const kh_distance_choice *c, const bool *is_seen) {
    size_t found = 0;
    for (size_t i = 0; i < c->count; i++)
        found += is_seen[c->classes[i]];
    return found;
}

static void take_seen(kh_distance_choice *c, size_t classes, const bool *is_seen) {
    const bool are_all = classes <= KH_DISTANCE_CLASSES;
    c->why = are_all ? "all" : "seen";
    c->count = 0;
    for (size_t i = 0; i < classes && c->count < KH_DISTANCE_CLASSES; i++)
        if (are_all || is_seen[i]) c->classes[c->count++] = i;
}

kh_distance_choice kh_distance_choose(const size_t *asked, size_t count, size_t classes,
                                      const bool *is_seen) {
    kh_distance_choice c = {.count = 0};
    if (count) {
        take(&c, asked, count, "asked");
        qsort(c.classes, c.count, sizeof *c.classes, by_size);
        if (classes == IMAGENET && are_report(&c)) take(&c, report, REPORT, "asked");
    } else {
        if (classes == IMAGENET) take(&c, report, REPORT, "report");
        if (c.count == 0 || seen_of(&c, is_seen) < 2) take_seen(&c, classes, is_seen);
    }
    c.found = seen_of(&c, is_seen);
    return c;
}
