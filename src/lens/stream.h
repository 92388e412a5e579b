/* lens/stream.h: what a lens keeps while images stream by. Everything here merges exactly: integer
 * sums, extremes and lists under a total order do not depend on the order or the grouping in which
 * images were seen, bit for bit. */
#ifndef KH_LENS_STREAM_H
#define KH_LENS_STREAM_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/status.h"

/* ---- sums ---------------------------------------------------------------------------------- */

/* A real number as a multiple of 2^-20. One addition rounds by at most 2^-21; after that nothing
 * is lost. Room for |sum| < 2^43. */
#define KH_FIX_SCALE 1048576.0

/* To the nearest integer, halves to the even one, as llrint, which is a call for every number:
 * between 2^52 and 2^53 the last bit of a double is worth 1, so adding does the rounding. */
static inline int64_t kh_fix_round(double x) {
    const double shift = 0x1.8p52;
    if (!(fabs(x) < 0x1p51)) return (int64_t)llrint(x);
    const double moved = x + shift;
    int64_t bits, zero;
    memcpy(&bits, &moved, sizeof bits);
    memcpy(&zero, &shift, sizeof zero);
    return bits - zero;
}

/* False, and the sum unchanged, when the value is not finite or the sum would leave its room. */
static inline bool kh_fix_add(int64_t *sum, double value) {
    const double scaled = value * KH_FIX_SCALE;
    if (!(fabs(scaled) < 0x1p62)) return false;
    return !__builtin_add_overflow(*sum, kh_fix_round(scaled), sum);
}

static inline double kh_fix_value(int64_t sum) {
    return (double)sum / KH_FIX_SCALE;
}

/* Mean and population variance from sums; NaN for n = 0, and never a negative variance. */
double kh_fix_mean(int64_t sum, uint64_t n);
double kh_fix_variance(int64_t sum, int64_t squares, uint64_t n);

/* ---- sketches ------------------------------------------------------------------------------ */

/* Histogram over the logarithm of positive floats, straight from their bits: 128 bins an octave
 * from 2^-13 to 2^10, so a value is known to 0.4 %. Bin 0 holds everything below (negatives too),
 * the last bin everything above. */
enum {
    KH_SKETCH_LOW_BITS = 0x39000000, /* 2^-13 = 1.2e-4 */
    KH_SKETCH_SHIFT = 16,
    KH_SKETCH_OCTAVES = 23,
    KH_SKETCH_BINS = KH_SKETCH_OCTAVES * 128 + 1
};

/* Bin of a value that is at least 2^-13, from its bits. */
static inline size_t kh_sketch_bin_of_bits(int32_t bits) {
    const size_t bin = (size_t)((bits - KH_SKETCH_LOW_BITS) >> KH_SKETCH_SHIFT) + 1;
    return bin < KH_SKETCH_BINS ? bin : KH_SKETCH_BINS - 1;
}

size_t kh_sketch_bin(float value);
/* Lower edge of a bin; bin 0: 0, KH_SKETCH_BINS: the end of the last. */
double kh_sketch_edge(size_t bin);

/* The value at 1-based rank ceil(q n) of the sorted values, within 0.4 %, never above `max`.
 * *is_low: it lies in bin 0, and the answer is that bin's upper edge. What lies
 * above 2^10 reads as `max`. NaN for an empty sketch. */
double kh_sketch_quantile(const uint32_t *bins, double q, float max, bool *is_low);
/* Share of values above `value`, counting its bin by how much of it lies above. */
double kh_sketch_above(const uint32_t *bins, double value);
/* P(a < b) + P(a = b) / 2 for a random a and b: the area under the ROC curve. `bins` of any kind,
 * bins of one order. NaN when one is empty. */
double kh_sketch_auroc(const uint32_t *a, const uint32_t *b, size_t bins);

/* ---- best lists ---------------------------------------------------------------------------- */

typedef struct kh_top_entry {
    float value;
    uint32_t token;
    uint64_t id; /* UINT64_MAX: empty */
} kh_top_entry;

/* Value descending, then id ascending, then token ascending; empty places last. */
bool kh_top_before(kh_top_entry a, kh_top_entry b);
void kh_top_clear(kh_top_entry *list, size_t k);
/* Into a sorted list of k; what falls off the end is gone. */
void kh_top_insert(kh_top_entry *list, size_t k, kh_top_entry entry);

/* ---- pieces -------------------------------------------------------------------------------- */

/* How two states become one. Each rule is associative and commutative, and a fresh state is its
 * neutral element, so loading is merging into a fresh state. */
typedef enum kh_piece_rule {
    KH_PIECE_SUM_I64,
    KH_PIECE_SUM_U32,
    KH_PIECE_SUM_U64,
    KH_PIECE_MAX_F32,
    KH_PIECE_MIN_F32,
    KH_PIECE_TOP /* sorted lists of k kh_top_entry */
} kh_piece_rule;

/* A flat array that is part of a lens's state. */
typedef struct kh_piece {
    const char *name;
    kh_piece_rule rule;
    void *data;
    size_t count; /* elements */
    size_t k;     /* KH_PIECE_TOP: entries of a list, else 0 */
} kh_piece;

size_t kh_piece_element_bytes(kh_piece_rule rule);
/* How many elements of whole lists fit into so many bytes. */
size_t kh_piece_step(const kh_piece *piece, size_t bytes);
/* Sets every element to the neutral one. */
void kh_piece_reset(const kh_piece *piece);
/* Elements [first, first + count) of another state. TOP: first and count are multiples of k.
 * Errors: KH_E_LIMIT a sum leaves its room; KH_E_FORMAT a list that is not sorted. */
kh_status kh_piece_absorb(const kh_piece *piece, size_t first, const void *data, size_t count,
                          kh_error *err);

#endif
