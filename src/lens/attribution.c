#include "lens/attribution.h"

#include "base/alloc.h"

#include <math.h>

kh_status kh_attribution_scratch_init(kh_attribution_scratch *s, size_t neurons, kh_error *err) {
    *s = (kh_attribution_scratch){.order_a = kh_calloc(neurons, sizeof *s->order_a),
                                  .order_b = kh_calloc(neurons, sizeof *s->order_b),
                                  .rank_a = kh_calloc(neurons, sizeof *s->rank_a),
                                  .rank_b = kh_calloc(neurons, sizeof *s->rank_b),
                                  .magnitude = kh_alloc_floats(neurons)};
    if (s->order_a && s->order_b && s->rank_a && s->rank_b && s->magnitude) return KH_OK;
    kh_attribution_scratch_clear(s);
    return kh_fail(err, KH_E_MEMORY, "no memory to rank %zu neurons", neurons);
}

void kh_attribution_scratch_clear(kh_attribution_scratch *s) {
    kh_free(s->order_a);
    kh_free(s->order_b);
    kh_free(s->rank_a);
    kh_free(s->rank_b);
    kh_free(s->magnitude);
    *s = (kh_attribution_scratch){0};
}

/* order sorts values downwards; equal ones share the mean of their places. */
static void ranks_of(const float *values, const size_t *order, size_t count, double *rank) {
    for (size_t first = 0; first < count;) {
        size_t end = first + 1;
        while (end < count && !(values[order[end]] < values[order[first]]))
            end++;
        for (size_t i = first; i < end; i++)
            rank[order[i]] = 0.5 * (double)(first + end - 1);
        first = end;
    }
}

static double correlation(const double *a, const double *b, size_t count) {
    const double mean = 0.5 * ((double)count - 1);
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < count; i++) {
        ab += (a[i] - mean) * (b[i] - mean);
        aa += (a[i] - mean) * (a[i] - mean);
        bb += (b[i] - mean) * (b[i] - mean);
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : (double)NAN;
}

double kh_spearman(const float *a, const float *b, size_t count, kh_attribution_scratch *s) {
    if (kh_lens_top(a, count, count, s->order_a, NULL) ||
        kh_lens_top(b, count, count, s->order_b, NULL))
        return (double)NAN;
    ranks_of(a, s->order_a, count, s->rank_a);
    ranks_of(b, s->order_b, count, s->rank_b);
    return correlation(s->rank_a, s->rank_b, count);
}

static double overlap(const size_t *a, const size_t *b, size_t k) {
    size_t both = 0;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < k; j++)
            both += a[i] == b[j];
    return (double)both / (double)k;
}

kh_status kh_attribution_of(const float *x, const float *alignment, size_t neurons,
                            kh_attribution_scratch *s, kh_attribution *out, kh_error *err) {
    static const size_t sizes[3] = {1, 5, 10};
    double all = 0, head = 0;
    *out = (kh_attribution){0};
    out->spearman = kh_spearman(x, alignment, neurons, s);
    for (size_t i = 0; i < 3; i++)
        out->overlap[i] = overlap(s->order_a, s->order_b, sizes[i] < neurons ? sizes[i] : neurons);
    for (size_t j = 0; j < neurons; j++) {
        s->magnitude[j] = fabsf(x[j]);
        out->sum += (double)x[j];
        all += (double)s->magnitude[j];
    }
    KH_TRY(kh_lens_top(s->magnitude, neurons, neurons, s->order_a, err));
    for (size_t rank = 0; rank < neurons; rank++) {
        if (rank < KH_ATTRIBUTION_TOP) out->top[rank] = s->order_a[rank];
        head += (double)s->magnitude[s->order_a[rank]];
        if (out->k50 == 0 && head >= 0.5 * all) out->k50 = rank + 1;
        if (out->k90 == 0 && head >= 0.9 * all) out->k90 = rank + 1;
    }
    out->top_value = (double)x[out->top[0]];
    out->cancel = all / fabs(out->sum);
    return KH_OK;
}
