/* keyhole/bases.h: base classes: which classes share their value vectors, found from weights alone.
 *
 * Everything works on plain arrays, in a fixed order: the same input gives the same bytes, whatever
 * the threads. Formulas and what each one cannot tell: docs/analyses/shared.md. */
#ifndef KEYHOLE_BASES_H
#define KEYHOLE_BASES_H

#include "keyhole/lens.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How alike two classes' sets of first k global value vectors A and B are. */
typedef enum kh_set_likeness {
    KH_SETS_JACCARD, /* |A and B| / |A or B| */
    KH_SETS_OVERLAP  /* |A and B| / k */
} kh_set_likeness;

/* out [classes, classes], symmetric, 1 on the diagonal. Errors: KH_E_ARG k is 0 or above
 * ranking->k; KH_E_SHAPE count is not classes * classes. */
KH_API kh_status kh_lens_set_likeness(const kh_ranking *ranking, size_t k, kh_set_likeness kind,
                                      float *out, size_t count, kh_error *err);

/* ---- clusters ------------------------------------------------------------------------------ */

/* Two clusters become one. Leaves are 0 .. count-1; what step i makes is count + i (as in scipy).
 */
typedef struct kh_join {
    size_t left, right; /* left < right */
    double height;      /* mean distance between their members */
    size_t size;        /* leaves in it */
} kh_join;

/* Average linkage of `count` >= 1 items with distance[count, count] (symmetric; the part above the
 * diagonal is read): joins [count - 1], heights ascending up to rounding. Equal distances: the pair
 * with the lowest first leaves. Errors: KH_E_NUMERIC a distance is not finite; KH_E_MEMORY. */
KH_API kh_status kh_lens_average_linkage(const float *distance, size_t count, kh_join *joins,
                                         kh_error *err);
/* The tree cut into `clusters` (1 .. count): label [count], numbered in the order of their first
 * leaves. Errors: KH_E_ARG, KH_E_MEMORY. */
KH_API kh_status kh_lens_tree_cut(const kh_join *joins, size_t count, size_t clusters,
                                  size_t *label, kh_error *err);
/* Leaves from left to right, so that joined ones are neighbours: order [count]. */
KH_API kh_status kh_lens_tree_order(const kh_join *joins, size_t count, size_t *order,
                                    kh_error *err);

/* Two labellings of the same items. nmi: mutual information over the mean of the two entropies, 0
 * to 1; ari: adjusted Rand index (Hubert and Arabie 1985), 0 expected by chance; purity: share of
 * items whose b-label is the most frequent of their a-label. *_null: means over shuffles of b. */
typedef struct kh_label_match {
    double nmi, ari, purity;
    double nmi_null, ari_null, purity_null; /* NaN without shuffles */
} kh_label_match;
/* Errors: KH_E_ARG count is 0; KH_E_MEMORY. */
KH_API kh_status kh_lens_label_match(const size_t *a, const size_t *b, size_t count,
                                     size_t shuffles, uint64_t seed, kh_label_match *out,
                                     kh_error *err);

/* ---- non-negative matrix factorisation ----------------------------------------------------- */

/* values [rows, columns], nowhere negative, ~ rows_of [rows, rank] * columns_of^T, with
 * columns_of [columns, rank]; nowhere negative. Columns of rows_of have length 1; bases are sorted
 * by the length of their column in columns_of, longest first. */
typedef struct kh_nmf {
    size_t rows, columns, rank, iterations;
    float *rows_of, *columns_of;
    double error; /* |values - product| / |values|, Frobenius */
} kh_nmf;

typedef struct kh_nmf_options {
    size_t rank;             /* at least 1 and at most the smaller side */
    size_t iterations;       /* at most; 200 by default */
    double tolerance;        /* stops when an iteration lowers the error by less; 1e-5 by default */
    uint64_t seed;           /* of the first guess */
    kh_progress_fn progress; /* "iterations" */
    void *progress_user;
} kh_nmf_options;

KH_API kh_nmf_options kh_nmf_options_default(void);
/* Hierarchical alternating least squares (Cichocki and Phan 2009); the large products run through
 * the backend in float32, the updates in float64. A local optimum: other seeds give other bases.
 * Errors: KH_E_ARG rank; KH_E_NUMERIC a negative or infinite value, or nothing but zeros;
 * KH_E_MEMORY; KH_E_STOPPED. Pair: kh_nmf_clear. */
KH_API kh_status kh_lens_nmf(kh_ctx *ctx, const float *values, size_t rows, size_t columns,
                             const kh_nmf_options *options, kh_nmf *out, kh_error *err);
KH_API void kh_nmf_clear(kh_nmf *nmf);

#ifdef __cplusplus
}
#endif
#endif
