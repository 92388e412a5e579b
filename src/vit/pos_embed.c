#include "vit/pos_embed.h"

#include "base/alloc.h"
#include "base/status.h"

#include <math.h>
#include <string.h>

/* Taps of one output position: weights for inputs low..low+count-1. */
typedef struct taps {
    size_t low, count;
    const double *weights;
} taps;

/* All taps of one axis. */
typedef struct pos_axis {
    size_t outs, width; /* room for `width` weights each */
    size_t *low, *count;
    double *weights; /* [outs, width] */
} pos_axis;

static double cubic(double x, double a) {
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
    return 0;
}

static void axis_clear(pos_axis *axis) {
    kh_free(axis->low);
    kh_free(axis->count);
    kh_free(axis->weights);
}

static void antialiased(pos_axis *axis, size_t ins) {
    const double scale = (double)ins / (double)axis->outs;
    const double widen = scale > 1 ? scale : 1;
    for (size_t i = 0; i < axis->outs; i++) {
        const double centre = scale * ((double)i + 0.5);
        const double from = trunc(centre - 2 * widen + 0.5), to = trunc(centre + 2 * widen + 0.5);
        const size_t low = from > 0 ? (size_t)from : 0;
        const size_t high = to < (double)ins ? (size_t)to : ins;
        double *w = axis->weights + i * axis->width, sum = 0;
        for (size_t j = low; j < high; j++) {
            w[j - low] = cubic(((double)j - centre + 0.5) / widen, -0.5);
            sum += w[j - low];
        }
        for (size_t j = 0; j < high - low; j++)
            w[j] /= sum;
        axis->low[i] = low;
        axis->count[i] = high - low;
    }
}

/* Clamped taps fall on the same input; their weights are added up there. */
static void clamped(pos_axis *axis, size_t ins, kh_pos_filter filter) {
    const double scale = (double)ins / (double)axis->outs;
    const bool is_cubic = filter == KH_POS_CUBIC;
    for (size_t i = 0; i < axis->outs; i++) {
        double centre = scale * ((double)i + 0.5) - 0.5;
        if (!is_cubic && centre < 0) centre = 0;
        const double base = floor(centre);
        const int first = is_cubic ? -1 : 0, last = is_cubic ? 2 : 1;
        const double begin = base + first;
        const size_t low = begin <= 0 ? 0 : begin >= (double)ins ? ins - 1 : (size_t)begin;
        double *w = axis->weights + i * axis->width;
        memset(w, 0, axis->width * sizeof *w);
        size_t count = 0;
        for (int k = first; k <= last; k++) {
            const double at = base + k, x = centre - at;
            const size_t j = at <= 0 ? 0 : at >= (double)ins ? ins - 1 : (size_t)at;
            w[j - low] += is_cubic ? cubic(x, -0.75) : 1 - fabs(x);
            if (j - low + 1 > count) count = j - low + 1;
        }
        axis->low[i] = low;
        axis->count[i] = count;
    }
}

static bool axis_create(pos_axis *axis, size_t ins, size_t outs, kh_pos_filter filter) {
    const double scale = (double)ins / (double)outs;
    axis->outs = outs;
    axis->width = filter == KH_POS_CUBIC_ANTIALIAS ? (size_t)(4 * (scale > 1 ? scale : 1)) + 3 : 4;
    axis->low = kh_calloc(outs, sizeof *axis->low);
    axis->count = kh_calloc(outs, sizeof *axis->count);
    axis->weights = kh_calloc(outs, axis->width * sizeof *axis->weights);
    if (!axis->low || !axis->count || !axis->weights) return false;
    if (filter == KH_POS_CUBIC_ANTIALIAS)
        antialiased(axis, ins);
    else
        clamped(axis, ins, filter);
    return true;
}

static taps axis_taps(const pos_axis *axis, size_t i) {
    return (taps){axis->low[i], axis->count[i], axis->weights + i * axis->width};
}

/* out[dim] = sum over taps of weight * in[tap, dim]; stride in floats between taps */
static void blend(taps t, const float *in, size_t stride, size_t dim, float *out) {
    memset(out, 0, dim * sizeof *out);
    for (size_t k = 0; k < t.count; k++) {
        const float weight = (float)t.weights[k];
        const float *row = in + (t.low + k) * stride;
        for (size_t d = 0; d < dim; d++)
            out[d] += weight * row[d];
    }
}

kh_status kh_pos_resample(const float *from, kh_grid from_grid, size_t prefix, size_t dim,
                          kh_pos_filter filter, kh_grid to_grid, float *to, kh_error *err) {
    kh_status status = KH_OK;
    pos_axis across = {0}, down = {0};
    float *middle = kh_alloc_floats(from_grid.height * to_grid.width * dim);
    if (!middle || !axis_create(&across, from_grid.width, to_grid.width, filter) ||
        !axis_create(&down, from_grid.height, to_grid.height, filter)) {
        status = kh_fail(err, KH_E_MEMORY, "no memory to resample the position embedding");
        goto done;
    }
    memcpy(to, from, prefix * dim * sizeof *to);
    from += prefix * dim;
    to += prefix * dim;
    for (size_t y = 0; y < from_grid.height; y++)
        for (size_t x = 0; x < to_grid.width; x++)
            blend(axis_taps(&across, x), from + y * from_grid.width * dim, dim, dim,
                  middle + (y * to_grid.width + x) * dim);
    for (size_t y = 0; y < to_grid.height; y++)
        for (size_t x = 0; x < to_grid.width; x++)
            blend(axis_taps(&down, y), middle + x * dim, to_grid.width * dim, dim,
                  to + (y * to_grid.width + x) * dim);
done:
    axis_clear(&across);
    axis_clear(&down);
    kh_free(middle);
    return status;
}
