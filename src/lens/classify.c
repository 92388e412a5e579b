/* Softmax, the best classes of an image, the rank of one. */
#include "keyhole/lens.h"

#include "base/alloc.h"
#include "base/status.h"
#include "lens/order.h"

#include <math.h>
#include <stdlib.h>

void kh_lens_softmax(const float *logits, size_t count, float *p) {
    float top = logits[0];
    for (size_t c = 1; c < count; c++)
        if (logits[c] > top) top = logits[c];
    double sum = 0;
    for (size_t c = 0; c < count; c++)
        sum += exp((double)logits[c] - (double)top);
    for (size_t c = 0; c < count; c++)
        p[c] = (float)(exp((double)logits[c] - (double)top) / sum);
}

typedef struct entry {
    float value;
    size_t index;
} entry;

static int compare_entries(const void *left, const void *right) {
    const entry *a = left, *b = right;
    if (kh_before(a->value, b->value)) return -1;
    if (kh_before(b->value, a->value)) return 1;
    return (a->index > b->index) - (a->index < b->index);
}

kh_status kh_lens_top(const float *values, size_t count, size_t k, size_t *out, kh_error *err) {
    if (k > count)
        return kh_fail(err, KH_E_ARG, "the best %zu of %zu values were asked for", k, count);
    entry *entries = kh_calloc(count, sizeof *entries);
    if (!entries) return kh_fail(err, KH_E_MEMORY, "no memory to sort %zu values", count);
    for (size_t i = 0; i < count; i++)
        entries[i] = (entry){values[i], i};
    qsort(entries, count, sizeof *entries, compare_entries);
    for (size_t i = 0; i < k; i++)
        out[i] = entries[i].index;
    kh_free(entries);
    return KH_OK;
}

size_t kh_lens_rank_position(const float *values, size_t count, size_t c) {
    size_t before = 0;
    for (size_t i = 0; i < count; i++)
        before += kh_before(values[i], values[c]) || (i < c && !kh_before(values[c], values[i]));
    return before;
}
