/* Value vectors that serve several classes: the bipartite graph of classes and their first units.
 */
#include "keyhole/lens.h"

#include "base/alloc.h"
#include "base/status.h"

#include <stdlib.h>

typedef struct edge {
    uint32_t block, index;
    kh_shared_link link;
} edge;

static int compare_u32(uint32_t a, uint32_t b) {
    return (a > b) - (a < b);
}

static int compare_edges(const void *left, const void *right) {
    const edge *a = left, *b = right;
    int order = compare_u32(a->block, b->block);
    if (order == 0) order = compare_u32(a->index, b->index);
    return order ? order : compare_u32(a->link.class_index, b->link.class_index);
}

static int compare_units(const void *left, const void *right) {
    const kh_shared_unit *a = left, *b = right;
    if (a->n_classes != b->n_classes) return a->n_classes > b->n_classes ? -1 : 1;
    const int order = compare_u32(a->block, b->block);
    return order ? order : compare_u32(a->index, b->index);
}

void kh_shared_clear(kh_shared *shared) {
    if (!shared) return;
    kh_free(shared->units);
    kh_free(shared->links);
    kh_free(shared->class_share);
    *shared = (kh_shared){0};
}

/* Sorted edges to units (not yet in their final order) and links. */
static void group(const edge *edges, size_t count, kh_shared *out) {
    for (size_t first = 0; first < count;) {
        size_t last = first;
        double sum = 0;
        while (last < count && edges[last].block == edges[first].block &&
               edges[last].index == edges[first].index) {
            out->links[last] = edges[last].link;
            sum += (double)edges[last].link.score;
            last++;
        }
        out->units[out->unit_count++] =
            (kh_shared_unit){.block = edges[first].block,
                             .index = edges[first].index,
                             .n_classes = last - first,
                             .first_link = first,
                             .mean_score = sum / (double)(last - first)};
        for (size_t i = first; i < last; i++)
            if (edges[i].link.rank == 0) out->class_share[edges[i].link.class_index] = last - first;
        first = last;
    }
}

kh_status kh_lens_shared(const kh_ranking *ranking, size_t k, kh_shared *out, kh_error *err) {
    *out = (kh_shared){.k = k, .classes = ranking->classes};
    if (k == 0 || k > ranking->k)
        return kh_fail(err, KH_E_ARG, "sharing among the first %zu ranks, the ranking has %zu", k,
                       ranking->k);
    const size_t count = ranking->classes * k;
    edge *edges = kh_calloc(count, sizeof *edges);
    out->units = kh_calloc(count, sizeof *out->units);
    out->links = kh_calloc(count, sizeof *out->links);
    out->class_share = kh_calloc(ranking->classes, sizeof *out->class_share);
    if (!edges || !out->units || !out->links || !out->class_share) {
        kh_free(edges);
        kh_shared_clear(out);
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu links", count);
    }
    for (size_t c = 0; c < ranking->classes; c++)
        for (size_t rank = 0; rank < k; rank++) {
            const kh_ranked *from = &ranking->global[c * ranking->k + rank];
            edges[c * k + rank] =
                (edge){from->block, from->index, {(uint32_t)c, (uint32_t)rank, from->score}};
        }
    qsort(edges, count, sizeof *edges, compare_edges);
    group(edges, count, out);
    qsort(out->units, out->unit_count, sizeof *out->units, compare_units);
    kh_free(edges);
    return KH_OK;
}

size_t kh_lens_shared_count(const kh_shared *shared, size_t at_least) {
    size_t count = 0;
    while (count < shared->unit_count && shared->units[count].n_classes >= at_least)
        count++;
    return count;
}
