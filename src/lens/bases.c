/* Classes that share value vectors: likeness of their sets, a tree, and how well a labelling fits.
 */
#include "keyhole/bases.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- likeness of sets ---------------------------------------------------------------------- */

static int compare_u64(const void *left, const void *right) {
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static size_t shared_by(const uint64_t *a, const uint64_t *b, size_t k) {
    size_t i = 0, j = 0, both = 0;
    while (i < k && j < k) {
        both += a[i] == b[j];
        const bool is_a = a[i] <= b[j], is_b = b[j] <= a[i];
        i += is_a;
        j += is_b;
    }
    return both;
}

kh_status kh_lens_set_likeness(const kh_ranking *ranking, size_t k, kh_set_likeness kind,
                               float *out, size_t count, kh_error *err) {
    const size_t classes = ranking->classes;
    size_t want;
    if (k == 0 || k > ranking->k)
        return kh_fail(err, KH_E_ARG, "sets of the first %zu ranks, the ranking has %zu", k,
                       ranking->k);
    if (!kh_mul(classes, classes, &want) || count != want)
        return kh_fail(err, KH_E_SHAPE, "room for %zu likenesses of %zu classes", count, classes);
    uint64_t *sets = kh_calloc(classes * k, sizeof *sets);
    if (!sets) return kh_fail(err, KH_E_MEMORY, "no memory for the sets of %zu classes", classes);
    for (size_t c = 0; c < classes; c++) {
        for (size_t r = 0; r < k; r++) {
            const kh_ranked *unit = &ranking->global[c * ranking->k + r];
            sets[c * k + r] = ((uint64_t)unit->block << 32) | unit->index;
        }
        qsort(sets + c * k, k, sizeof *sets, compare_u64);
    }
    for (size_t a = 0; a < classes; a++)
        for (size_t b = a; b < classes; b++) {
            const size_t both = shared_by(sets + a * k, sets + b * k, k);
            const size_t of = kind == KH_SETS_JACCARD ? 2 * k - both : k;
            out[a * classes + b] = out[b * classes + a] = (float)((double)both / (double)of);
        }
    kh_free(sets);
    return KH_OK;
}

/* ---- average linkage ----------------------------------------------------------------------- */

/* A slot holds a cluster; it is the slot of the cluster's first leaf, or dead. */
typedef struct linkage {
    size_t count;
    double *distance;  /* [count, count] between slots, read at [lower, higher] */
    size_t *id, *size; /* [count] of the cluster in a slot; size 0: dead */
    size_t *nearest;   /* [count] the nearest higher slot, or `count` */
} linkage;

static double *between(const linkage *l, size_t a, size_t b) {
    return &l->distance[a < b ? a * l->count + b : b * l->count + a];
}

static void find_nearest(linkage *l, size_t slot) {
    size_t best = l->count;
    for (size_t j = slot + 1; j < l->count; j++)
        if (l->size[j] && (best == l->count || *between(l, slot, j) < *between(l, slot, best)))
            best = j;
    l->nearest[slot] = best;
}

/* The live slot whose nearest higher slot is the nearest of all. */
static size_t closest(const linkage *l) {
    size_t best = l->count;
    for (size_t i = 0; i < l->count; i++)
        if (l->size[i] && l->nearest[i] < l->count &&
            (best == l->count ||
             *between(l, i, l->nearest[i]) < *between(l, best, l->nearest[best])))
            best = i;
    return best;
}

static kh_join join(linkage *l, size_t step) {
    const size_t a = closest(l), b = l->nearest[a];
    const double na = (double)l->size[a], nb = (double)l->size[b];
    const kh_join made = {.left = l->id[a] < l->id[b] ? l->id[a] : l->id[b],
                          .right = l->id[a] < l->id[b] ? l->id[b] : l->id[a],
                          .height = *between(l, a, b),
                          .size = l->size[a] + l->size[b]};
    l->size[b] = 0;
    for (size_t k = 0; k < l->count; k++) /* Lance and Williams 1967 */
        if (l->size[k] && k != a)
            *between(l, a, k) = (na * *between(l, a, k) + nb * *between(l, b, k)) / (na + nb);
    l->size[a] = made.size;
    l->id[a] = l->count + step;
    for (size_t k = 0; k <= b; k++) {
        if (!l->size[k]) continue;
        if (k == a || l->nearest[k] == a || l->nearest[k] == b)
            find_nearest(l, k);
        else if (k < a && !(*between(l, k, l->nearest[k]) < *between(l, k, a)) &&
                 (a < l->nearest[k] || *between(l, k, a) < *between(l, k, l->nearest[k])))
            l->nearest[k] = a;
    }
    return made;
}

static kh_status link_all(linkage *l, const float *distance, kh_join *joins, kh_error *err) {
    for (size_t i = 0; i < l->count; i++)
        for (size_t j = i + 1; j < l->count; j++) {
            if (!isfinite(distance[i * l->count + j]))
                return kh_fail(err, KH_E_NUMERIC, "the distance of items %zu and %zu is not finite",
                               i, j);
            *between(l, i, j) = (double)distance[i * l->count + j];
        }
    for (size_t i = 0; i < l->count; i++)
        l->id[i] = i, l->size[i] = 1;
    for (size_t i = 0; i < l->count; i++)
        find_nearest(l, i);
    for (size_t step = 0; step + 1 < l->count; step++)
        joins[step] = join(l, step);
    return KH_OK;
}

kh_status kh_lens_average_linkage(const float *distance, size_t count, kh_join *joins,
                                  kh_error *err) {
    size_t cells;
    if (count == 0 || !kh_mul(count, count, &cells))
        return kh_fail(err, KH_E_ARG, "a tree of %zu items", count);
    linkage l = {.count = count,
                 .distance = kh_calloc(cells, sizeof(double)),
                 .id = kh_calloc(count, sizeof(size_t)),
                 .size = kh_calloc(count, sizeof(size_t)),
                 .nearest = kh_calloc(count, sizeof(size_t))};
    const kh_status status =
        l.distance && l.id && l.size && l.nearest
            ? link_all(&l, distance, joins, err)
            : kh_fail(err, KH_E_MEMORY, "no memory for a tree of %zu items", count);
    kh_free(l.distance);
    kh_free(l.id);
    kh_free(l.size);
    kh_free(l.nearest);
    return status;
}

kh_status kh_lens_tree_cut(const kh_join *joins, size_t count, size_t clusters, size_t *label,
                           kh_error *err) {
    if (clusters == 0 || clusters > count)
        return kh_fail(err, KH_E_ARG, "%zu items in %zu clusters", count, clusters);
    size_t *parent = kh_calloc(2 * count, sizeof *parent);
    size_t *number = kh_calloc(2 * count, sizeof *number);
    kh_status status = KH_OK;
    if (!parent || !number) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for the clusters of %zu items", count);
        goto done;
    }
    for (size_t i = 0; i < 2 * count; i++)
        parent[i] = i, number[i] = SIZE_MAX;
    for (size_t step = 0; step + clusters < count; step++)
        parent[joins[step].left] = parent[joins[step].right] = count + step;
    size_t next = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        while (parent[at] != at)
            at = parent[at];
        if (number[at] == SIZE_MAX) number[at] = next++;
        label[i] = number[at];
    }

done:
    kh_free(parent);
    kh_free(number);
    return status;
}

kh_status kh_lens_tree_order(const kh_join *joins, size_t count, size_t *order, kh_error *err) {
    size_t *stack = kh_calloc(count + 1, sizeof *stack), depth = 0, next = 0;
    if (!stack) return kh_fail(err, KH_E_MEMORY, "no memory for the order of %zu items", count);
    if (count > 0) stack[depth++] = count > 1 ? 2 * count - 2 : 0;
    while (depth > 0) {
        const size_t at = stack[--depth];
        if (at < count) {
            order[next++] = at;
        } else {
            stack[depth++] = joins[at - count].right;
            stack[depth++] = joins[at - count].left;
        }
    }
    kh_free(stack);
    return KH_OK;
}

/* ---- two labellings ------------------------------------------------------------------------ */

/* Labels renumbered 0 .. *groups-1 in the order of their size_t values. */
static bool renumber(const size_t *labels, size_t count, uint64_t *sorted, size_t *out,
                     size_t *groups) {
    for (size_t i = 0; i < count; i++)
        sorted[i] = labels[i];
    qsort(sorted, count, sizeof *sorted, compare_u64);
    size_t distinct = 0;
    for (size_t i = 0; i < count; i++)
        if (i == 0 || sorted[i] != sorted[i - 1]) sorted[distinct++] = sorted[i];
    for (size_t i = 0; i < count; i++) {
        const uint64_t key = labels[i];
        const uint64_t *at = bsearch(&key, sorted, distinct, sizeof *sorted, compare_u64);
        if (!at) return false;
        out[i] = (size_t)(at - sorted);
    }
    *groups = distinct;
    return true;
}

static double pairs_of(double n) {
    return n * (n - 1) / 2;
}

/* a, b renumbered; cells [a_groups, b_groups], sides [a_groups + b_groups]: scratch. */
static kh_label_match match(const size_t *a, size_t a_groups, const size_t *b, size_t b_groups,
                            size_t count, double *cells, double *sides) {
    memset(cells, 0, a_groups * b_groups * sizeof *cells);
    memset(sides, 0, (a_groups + b_groups) * sizeof *sides);
    for (size_t i = 0; i < count; i++) {
        cells[a[i] * b_groups + b[i]] += 1;
        sides[a[i]] += 1;
        sides[a_groups + b[i]] += 1;
    }
    const double n = (double)count;
    double entropy_a = 0, entropy_b = 0, information = 0, pure = 0;
    double pairs_a = 0, pairs_b = 0, pairs_both = 0;
    for (size_t g = 0; g < a_groups; g++) {
        entropy_a -= sides[g] / n * log(sides[g] / n);
        pairs_a += pairs_of(sides[g]);
        double most = 0;
        for (size_t h = 0; h < b_groups; h++) {
            const double cell = cells[g * b_groups + h];
            most = fmax(most, cell);
            pairs_both += pairs_of(cell);
            if (cell > 0)
                information += cell / n * log(n * cell / (sides[g] * sides[a_groups + h]));
        }
        pure += most;
    }
    for (size_t h = 0; h < b_groups; h++) {
        entropy_b -= sides[a_groups + h] / n * log(sides[a_groups + h] / n);
        pairs_b += pairs_of(sides[a_groups + h]);
    }
    const double all = pairs_of(n), chance = all > 0 ? pairs_a * pairs_b / all : 0;
    const double mean = (entropy_a + entropy_b) / 2, top = (pairs_a + pairs_b) / 2 - chance;
    const double nan = (double)NAN;
    return (kh_label_match){.nmi = mean > 0 ? fmax(information, 0) / mean : 1,
                            .ari = top > 0 ? (pairs_both - chance) / top : 1,
                            .purity = pure / n,
                            .nmi_null = nan,
                            .ari_null = nan,
                            .purity_null = nan};
}

kh_status kh_lens_label_match(const size_t *a, const size_t *b, size_t count, size_t shuffles,
                              uint64_t seed, kh_label_match *out, kh_error *err) {
    if (count == 0) return kh_fail(err, KH_E_ARG, "two labellings of nothing");
    uint64_t *sorted = kh_calloc(count, sizeof *sorted);
    size_t *of_a = kh_calloc(count, sizeof *of_a), *of_b = kh_calloc(count, sizeof *of_b);
    double *cells = NULL, *sides = NULL;
    size_t a_groups = 0, b_groups = 0, room;
    const bool is_numbered = sorted && of_a && of_b &&
                             renumber(a, count, sorted, of_a, &a_groups) &&
                             renumber(b, count, sorted, of_b, &b_groups);
    if (is_numbered && kh_mul(a_groups, b_groups, &room)) cells = kh_calloc(room, sizeof *cells);
    sides = kh_calloc(a_groups + b_groups, sizeof *sides);
    kh_status status = KH_OK;
    if (!cells || !sides) {
        status = kh_fail(err, KH_E_MEMORY, "no memory to compare two labellings of %zu", count);
        goto done;
    }
    *out = match(of_a, a_groups, of_b, b_groups, count, cells, sides);
    kh_rng rng = kh_rng_make(seed, 0);
    double nmi = 0, ari = 0, purity = 0;
    for (size_t s = 0; s < shuffles; s++) {
        for (size_t i = count; i > 1; i--) {
            const size_t j = kh_rng_below(&rng, i), kept = of_b[i - 1];
            of_b[i - 1] = of_b[j];
            of_b[j] = kept;
        }
        const kh_label_match m = match(of_a, a_groups, of_b, b_groups, count, cells, sides);
        nmi += m.nmi;
        ari += m.ari;
        purity += m.purity;
    }
    if (shuffles) {
        out->nmi_null = nmi / (double)shuffles;
        out->ari_null = ari / (double)shuffles;
        out->purity_null = purity / (double)shuffles;
    }

done:
    kh_free(sides);
    kh_free(cells);
    kh_free(of_b);
    kh_free(of_a);
    kh_free(sorted);
    return status;
}
