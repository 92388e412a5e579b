#include "lens/concentration.h"

#include "base/alloc.h"
#include "keyhole/lens.h"

#include <math.h>

/* With w sorted upwards and i from 1: sum (2i - n - 1) w_i / (n sum w). */
static double gini_of(const float *values, const size_t *order, size_t count, double total) {
    double weighted = 0;
    for (size_t rank = 0; rank < count; rank++) { /* order goes downwards */
        const double w = fmax((double)values[order[rank]], 0);
        weighted += ((double)count - 1 - 2 * (double)rank) * w;
    }
    return weighted / ((double)count * total);
}

kh_status kh_concentration_of(const float *values, size_t count, size_t *top, size_t top_count,
                              kh_concentration *out, kh_error *err) {
    static const size_t heads[3] = {1, 3, 10};
    size_t *order = kh_calloc(count, sizeof *order);
    if (!order) return kh_fail(err, KH_E_MEMORY, "no memory to sort %zu neurons", count);
    kh_status status = kh_lens_top(values, count, count, order, err);
    if (status) {
        kh_free(order);
        return status;
    }
    *out = (kh_concentration){.gini = (double)NAN, .effective = (double)NAN, .top = top};
    double sum = 0, head = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)values[i];
        out->total += fmax((double)values[i], 0);
    }
    out->mean = sum / (double)count;
    double entropy = 0;
    size_t next = 0;
    for (size_t rank = 0; rank < count; rank++) {
        const double w = fmax((double)values[order[rank]], 0), p = w / out->total;
        if (rank < top_count) top[rank] = order[rank];
        head += w;
        while (next < 3 && (rank + 1 == heads[next] || rank + 1 == count))
            out->share[next++] = head / out->total;
        if (p > 0) entropy -= p * log(p);
    }
    for (size_t rank = count; rank < top_count; rank++)
        top[rank] = SIZE_MAX;
    out->top_count = top_count < count ? top_count : count;
    if (out->total > 0) {
        out->effective = exp(entropy);
        out->gini = gini_of(values, order, count, out->total);
    }
    kh_free(order);
    return KH_OK;
}

double kh_jaccard(const size_t *a, const size_t *b, size_t count) {
    size_t both = 0, n_a = 0, n_b = 0;
    for (size_t i = 0; i < count; i++) {
        n_a += a[i] != SIZE_MAX;
        n_b += b[i] != SIZE_MAX;
        for (size_t j = 0; j < count; j++)
            both += a[i] != SIZE_MAX && a[i] == b[j];
    }
    return n_a + n_b > both ? (double)both / (double)(n_a + n_b - both) : 0;
}
