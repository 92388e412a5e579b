/* Streaming primitives: see stream.h for what each promises. */
#include "lens/stream.h"

#include <float.h>
#include <string.h>

double kh_fix_mean(int64_t sum, uint64_t n) {
    return n ? kh_fix_value(sum) / (double)n : (double)NAN;
}

double kh_fix_variance(int64_t sum, int64_t squares, uint64_t n) {
    if (!n) return (double)NAN;
    const double mean = kh_fix_mean(sum, n);
    const double variance = kh_fix_value(squares) / (double)n - mean * mean;
    return variance > 0 ? variance : 0;
}

/* ---- sketches ------------------------------------------------------------------------------ */

size_t kh_sketch_bin(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >= KH_SKETCH_LOW_BITS ? kh_sketch_bin_of_bits(bits) : 0;
}

double kh_sketch_edge(size_t bin) {
    if (bin == 0) return 0;
    const int32_t bits = (int32_t)(KH_SKETCH_LOW_BITS + ((bin - 1) << KH_SKETCH_SHIFT));
    float edge;
    memcpy(&edge, &bits, sizeof edge);
    return (double)edge;
}

static uint64_t total_of(const uint32_t *bins, size_t count) {
    uint64_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += bins[i];
    return total;
}

double kh_sketch_quantile(const uint32_t *bins, double q, float max, bool *is_low) {
    const uint64_t n = total_of(bins, KH_SKETCH_BINS);
    *is_low = false;
    if (n == 0) return (double)NAN;
    double rank = ceil(q * (double)n);
    if (rank < 1) rank = 1;
    uint64_t before = 0;
    size_t bin = 0;
    while (bin + 1 < KH_SKETCH_BINS && (double)(before + bins[bin]) < rank)
        before += bins[bin++];
    *is_low = bin == 0;
    if (bin == 0) return kh_sketch_edge(1);
    /* its middle: going by rank within the bin is finer for smooth data and twice as wrong at worst
     */
    const double value = 0.5 * (kh_sketch_edge(bin) + kh_sketch_edge(bin + 1));
    const bool is_above = bin + 1 == KH_SKETCH_BINS && (double)max > kh_sketch_edge(bin + 1);
    return value < (double)max && !is_above ? value : (double)max;
}

double kh_sketch_above(const uint32_t *bins, double value) {
    const uint64_t n = total_of(bins, KH_SKETCH_BINS);
    if (n == 0) return (double)NAN;
    const size_t bin = kh_sketch_bin((float)value);
    double above = (double)total_of(bins + bin + 1, KH_SKETCH_BINS - bin - 1);
    const double lo = kh_sketch_edge(bin), hi = kh_sketch_edge(bin + 1);
    if (bin > 0 && value < hi) above += (hi - fmax(value, lo)) / (hi - lo) * (double)bins[bin];
    return above / (double)n;
}

double kh_sketch_auroc(const uint32_t *a, const uint32_t *b, size_t bins) {
    const uint64_t n_a = total_of(a, bins), n_b = total_of(b, bins);
    if (n_a == 0 || n_b == 0) return (double)NAN;
    double wins = 0;
    uint64_t below = 0; /* of a */
    for (size_t i = 0; i < bins; i++) {
        wins += (double)b[i] * ((double)below + 0.5 * (double)a[i]);
        below += a[i];
    }
    return wins / ((double)n_a * (double)n_b);
}

/* ---- best lists ---------------------------------------------------------------------------- */

bool kh_top_before(kh_top_entry a, kh_top_entry b) {
    if (a.id == UINT64_MAX || b.id == UINT64_MAX) return a.id != UINT64_MAX && b.id == UINT64_MAX;
    if (a.value > b.value) return true;
    if (a.value < b.value) return false;
    if (a.id != b.id) return a.id < b.id;
    return a.token < b.token;
}

void kh_top_clear(kh_top_entry *list, size_t k) {
    for (size_t i = 0; i < k; i++)
        list[i] = (kh_top_entry){-INFINITY, UINT32_MAX, UINT64_MAX};
}

void kh_top_insert(kh_top_entry *list, size_t k, kh_top_entry entry) {
    if (k == 0 || !kh_top_before(entry, list[k - 1])) return;
    size_t at = k - 1;
    for (; at > 0 && kh_top_before(entry, list[at - 1]); at--)
        list[at] = list[at - 1];
    list[at] = entry;
}

/* ---- pieces -------------------------------------------------------------------------------- */

size_t kh_piece_element_bytes(kh_piece_rule rule) {
    switch (rule) {
    case KH_PIECE_SUM_I64:
    case KH_PIECE_SUM_U64:
        return 8;
    case KH_PIECE_SUM_U32:
    case KH_PIECE_MAX_F32:
    case KH_PIECE_MIN_F32:
        return 4;
    case KH_PIECE_TOP:
        return sizeof(kh_top_entry);
    }
    return 0;
}

size_t kh_piece_step(const kh_piece *piece, size_t bytes) {
    const size_t unit = piece->k ? piece->k : 1;
    return bytes / (kh_piece_element_bytes(piece->rule) * unit) * unit;
}

void kh_piece_reset(const kh_piece *piece) {
    float *floats = piece->data;
    switch (piece->rule) {
    case KH_PIECE_SUM_I64:
    case KH_PIECE_SUM_U64:
    case KH_PIECE_SUM_U32:
        memset(piece->data, 0, piece->count * kh_piece_element_bytes(piece->rule));
        break;
    case KH_PIECE_MAX_F32:
        for (size_t i = 0; i < piece->count; i++)
            floats[i] = -INFINITY;
        break;
    case KH_PIECE_MIN_F32:
        for (size_t i = 0; i < piece->count; i++)
            floats[i] = INFINITY;
        break;
    case KH_PIECE_TOP:
        kh_top_clear(piece->data, piece->count);
        break;
    }
}

static bool add_i64(int64_t *into, const int64_t *from, size_t count) {
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        ok &= !__builtin_add_overflow(into[i], from[i], &into[i]);
    return ok;
}

static bool add_u64(uint64_t *into, const uint64_t *from, size_t count) {
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        ok &= !__builtin_add_overflow(into[i], from[i], &into[i]);
    return ok;
}

static bool add_u32(uint32_t *into, const uint32_t *from, size_t count) {
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        ok &= !__builtin_add_overflow(into[i], from[i], &into[i]);
    return ok;
}

static bool insert_lists(kh_top_entry *into, const kh_top_entry *from, size_t count, size_t k) {
    for (size_t first = 0; first < count; first += k)
        for (size_t i = first; i < first + k; i++) {
            if (from[i].id == UINT64_MAX) continue;
            if (isnan(from[i].value)) return false;
            if (i > first && kh_top_before(from[i], from[i - 1])) return false;
            kh_top_insert(into + first, k, from[i]);
        }
    return true;
}

kh_status kh_piece_absorb(const kh_piece *piece, size_t first, const void *data, size_t count,
                          kh_error *err) {
    bool ok = true;
    float *floats = (float *)piece->data;
    const float *from = data;
    switch (piece->rule) {
    case KH_PIECE_SUM_I64:
        ok = add_i64((int64_t *)piece->data + first, data, count);
        break;
    case KH_PIECE_SUM_U64:
        ok = add_u64((uint64_t *)piece->data + first, data, count);
        break;
    case KH_PIECE_SUM_U32:
        ok = add_u32((uint32_t *)piece->data + first, data, count);
        break;
    case KH_PIECE_MAX_F32:
        for (size_t i = 0; i < count; i++)
            floats[first + i] = from[i] > floats[first + i] ? from[i] : floats[first + i];
        break;
    case KH_PIECE_MIN_F32:
        for (size_t i = 0; i < count; i++)
            floats[first + i] = from[i] < floats[first + i] ? from[i] : floats[first + i];
        break;
    case KH_PIECE_TOP:
        if (!insert_lists((kh_top_entry *)piece->data + first, data, count, piece->k))
            return kh_fail(err, KH_E_FORMAT, "%s: a list is not in order", piece->name);
        break;
    }
    if (!ok) return kh_fail(err, KH_E_LIMIT, "%s: a sum is too large to be kept", piece->name);
    return KH_OK;
}
