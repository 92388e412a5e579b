/* Claims about distances between classes: C7, C8 (figures 5 and 6). */
#include "cli/reproduce.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>

enum { TENCH = 0, FIREBOAT = 554 };

/* D1 between the compared classes: [2 (k = 1, 3), blocks, count, count]. */
typedef struct distances {
    size_t blocks, count;
    size_t *classes; /* [count] */
    double *d;
} distances;

static void distances_clear(distances *x) {
    kh_free(x->classes);
    kh_free(x->d);
}

static size_t place_of(const distances *x, size_t class_index) {
    size_t i = 0;
    while (i < x->count && x->classes[i] != class_index)
        i++;
    return i;
}

static double *row_of(const distances *x, size_t which, size_t block, size_t a) {
    return x->d + ((which * x->blocks + block) * x->count + a) * x->count;
}

static kh_status read_classes(const kh_reproduce *r, distances *x, kh_error *err) {
    kh_answer *rows = NULL;
    KH_TRY(
        kh_reproduce_ask(r, "SELECT DISTINCT class_a FROM distances ORDER BY class_a", &rows, err));
    x->count = kh_answer_rows(rows);
    x->blocks = r->info->blocks;
    x->classes = kh_calloc(x->count, sizeof *x->classes);
    x->d = kh_calloc(2 * x->blocks * x->count * x->count, sizeof *x->d);
    for (size_t i = 0; x->classes && i < x->count; i++)
        x->classes[i] = (size_t)kh_answer_number(rows, i, 0);
    kh_answer_free(rows);
    if (x->classes && x->d) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for the distances of %zu classes", x->count);
}

static kh_status read_distances(const kh_reproduce *r, distances *x, kh_error *err) {
    *x = (distances){0};
    KH_TRY(read_classes(r, x, err));
    kh_answer *rows = NULL;
    for (size_t i = 0; i < 2 * x->blocks * x->count * x->count; i++)
        x->d[i] = (double)NAN;
    KH_TRY(kh_reproduce_ask(r,
                            "SELECT k, block, class_a, class_b, distance FROM distances "
                            "WHERE definition = 'D1' AND class_a <> class_b",
                            &rows, err));
    for (size_t i = 0; i < kh_answer_rows(rows); i++) {
        const size_t block = (size_t)kh_answer_number(rows, i, 1);
        const size_t a = place_of(x, (size_t)kh_answer_number(rows, i, 2)),
                     b = place_of(x, (size_t)kh_answer_number(rows, i, 3));
        if (block < x->blocks && a < x->count && b < x->count)
            row_of(x, kh_answer_number(rows, i, 0) > 1, block, a)[b] = kh_answer_number(rows, i, 4);
    }
    kh_answer_free(rows);
    return KH_OK;
}

/* Probability that a relative of class a (at its place) is nearer than another class; equal ones
 * count half. NaN without either. */
static double nearer(const kh_reproduce *r, const distances *x, size_t block, size_t a) {
    const double *row = row_of(x, 0, block, a);
    double wins = 0, pairs = 0;
    for (size_t i = 0; i < x->count; i++)
        for (size_t j = 0; j < x->count; j++) {
            if (i == a || j == a || isnan(row[i]) || isnan(row[j])) continue;
            if (!r->is_relative[x->classes[i]] || r->is_relative[x->classes[j]]) continue;
            wins += row[i] < row[j] ? 1 : row[i] > row[j] ? 0 : 0.5;
            pairs += 1;
        }
    return pairs > 0 ? wins / pairs : (double)NAN;
}

static double between(const distances *x, size_t which, size_t block, size_t a, size_t b) {
    const size_t i = place_of(x, a), j = place_of(x, b);
    return i < x->count && j < x->count ? row_of(x, which, block, i)[j] : (double)NAN;
}

static double tench_to_dogs(const kh_reproduce *r, const distances *x, size_t block) {
    double sum = 0, n = 0;
    for (size_t i = 0; i < x->count; i++) {
        if (!r->is_relative[x->classes[i]]) continue;
        sum += between(x, 0, block, TENCH, x->classes[i]);
        n += 1;
    }
    return n > 0 ? sum / n : (double)NAN;
}

static kh_status judge_c7(kh_reproduce *r, const distances *x, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 7);
    const size_t named = x->blocks >= 2 ? x->blocks - 2 : 0;
    double *values = kh_calloc(x->count, 2 * sizeof *values);
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for distances");
    for (size_t a = 0; a < x->count; a++) {
        const bool is_relative = r->is_relative[x->classes[a]];
        values[a] = is_relative ? nearer(r, x, named, a) : (double)NAN;
        values[x->count + a] = is_relative ? nearer(r, x, x->blocks - 1, a) : (double)NAN;
    }
    kh_band band, last;
    size_t n = 0, m = 0;
    kh_status status = kh_reproduce_band(r, values, x->count, &band, &n, err);
    if (!status) status = kh_reproduce_band(r, values + x->count, x->count, &last, &m, err);
    kh_free(values);
    if (status) return status;
    const double boat = r->is_imagenet ? between(x, 0, named, TENCH, FIREBOAT) : (double)NAN;
    const double dogs = r->is_imagenet ? tench_to_dogs(r, x, named) : (double)NAN;
    claim->verdict = kh_claim_c7(band, boat, dogs);
    kh_claim_levels(claim, 0.5, 0.9);
    char name[80];
    (void)snprintf(name, sizeof name, "a relative is nearer than another class, block %zu", named);
    kh_claim_add(claim, name, band, n, "bootstrap over relatives", "%");
    (void)snprintf(name, sizeof name, "the same in block %zu", x->blocks - 1);
    kh_claim_add(claim, name, last, m, "bootstrap over relatives", "%");
    if (r->is_imagenet) {
        kh_claim_add_plain(claim, "distance of tench to fireboat", boat, "");
        kh_claim_add_plain(claim, "distance of tench to dogs, mean", dogs, "");
    }
    (void)snprintf(claim->found, sizeof claim->found,
                   "In block %zu a relative (%s) is nearer than a class that is none in %.0f %% of "
                   "the comparisons; by chance it would be half.%s",
                   named, r->relatives_name, 100 * band.mean,
                   r->is_imagenet ? "" : " The sentence about tench and fireboat needs ImageNet.");
    if (claim->verdict == KH_VERDICT_UNTESTED)
        kh_claim_cannot(claim,
                        "It needs labelled images of at least %d relatives and another class among "
                        "the compared ones; --relatives names the relatives.",
                        KH_CLAIM_FEWEST);
    return KH_OK;
}

/* Mean over blocks [first, end) of the rank correlation of class a's distances, k = 1 and 3. */
static double agreement(const distances *x, size_t a, size_t first, size_t end) {
    double sum = 0, n = 0;
    for (size_t b = first; b < end; b++) {
        const double rho = kh_lens_spearman(row_of(x, 0, b, a), row_of(x, 1, b, a), x->count);
        if (isnan(rho)) continue;
        sum += rho;
        n += 1;
    }
    return n > 0 ? sum / n : (double)NAN;
}

/* Mean distance of a class to the others over the mean of all pairs. */
static double relative_distance(const distances *x, size_t which, size_t block,
                                size_t class_index) {
    double own = 0, n = 0, all = 0, pairs = 0;
    for (size_t a = 0; a < x->count; a++)
        for (size_t b = 0; b < x->count; b++) {
            const double d = row_of(x, which, block, a)[b];
            if (isnan(d)) continue;
            all += d;
            pairs += 1;
            if (x->classes[a] != class_index) continue;
            own += d;
            n += 1;
        }
    return n > 0 && all > 0 ? own / n / (all / pairs) : (double)NAN;
}

static kh_status judge_c8(kh_reproduce *r, const distances *x, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 8);
    const size_t later = kh_claim_later(x->blocks), named = x->blocks >= 2 ? x->blocks - 2 : 0;
    double *values = kh_calloc(x->count, 2 * sizeof *values);
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for distances");
    for (size_t a = 0; a < x->count; a++) {
        values[a] = agreement(x, a, 0, later);
        values[x->count + a] = agreement(x, a, later, x->blocks);
    }
    kh_band early, late;
    size_t n = 0, m = 0;
    kh_status status = kh_reproduce_band(r, values, x->count, &early, &n, err);
    if (!status) status = kh_reproduce_band(r, values + x->count, x->count, &late, &m, err);
    kh_free(values);
    if (status) return status;
    const double one = r->is_imagenet ? relative_distance(x, 0, named, FIREBOAT) : (double)NAN;
    const double three = r->is_imagenet ? relative_distance(x, 1, named, FIREBOAT) : (double)NAN;
    claim->verdict = kh_claim_c8(early, one, three);
    kh_claim_levels(claim, (double)NAN, 0.9);
    kh_claim_add(claim, "rank correlation of distances, one and three neurons, earlier blocks",
                 early, n, "bootstrap over classes", "");
    kh_claim_add(claim, "the same, later blocks", late, m, "bootstrap over classes", "");
    if (r->is_imagenet) {
        kh_claim_add_plain(claim, "fireboat's distance over the mean, one neuron", one, "");
        kh_claim_add_plain(claim, "fireboat's distance over the mean, three neurons", three, "");
    }
    (void)snprintf(claim->found, sizeof claim->found,
                   "In earlier blocks the order of a class's distances to the others with three "
                   "neurons correlates %.2f with that with one, in later blocks %.2f.%s",
                   early.mean, late.mean,
                   r->is_imagenet ? "" : " The sentence about fireboat needs ImageNet.");
    if (claim->verdict == KH_VERDICT_UNTESTED)
        kh_claim_too_few(claim, n, "compared classes with labelled images");
    return KH_OK;
}

kh_status kh_reproduce_judge_distances(kh_reproduce *r, kh_error *err) {
    distances x;
    for (size_t c = 7; c <= 8; c++) {
        kh_claim *claim = kh_claim_of(r, c);
        if (r->labelled == 0 || !kh_reproduce_has_table(r->database, "distances"))
            kh_claim_cannot(claim, "It needs true classes, and the lens 'distance' in the atlas.");
    }
    if (r->labelled == 0 || !kh_reproduce_has_table(r->database, "distances")) return KH_OK;
    kh_status status = read_distances(r, &x, err);
    for (size_t c = 7; c <= 8; c++)
        (void)snprintf(kh_claim_of(r, c)->setting, sizeof r->claims[0].setting,
                       "%zu compared classes, all labelled images; D1: distance of the classes' "
                       "mean maps, each of its own best aligned neurons of the block.",
                       x.count);
    if (!status) status = judge_c7(r, &x, err);
    if (!status) status = judge_c8(r, &x, err);
    distances_clear(&x);
    return status;
}
