/* Images of one dream growing apart: two measures of how alike their hidden vectors are. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "dream/loss.h"

/* ---- hidden vectors: D = sum_t |sum_i u_it|^2, u = h / max(|h|, 1e-12)
 * --------------------------- */

typedef struct unit_work {
    double *sum;     /* [neurons] sum_i u_i of one token */
    double *inverse; /* [images] 1 / |h_i| */
} unit_work;

static double one_token(size_t images, size_t neurons, const float *const *hidden, size_t at,
                        double weight, float *const *seeds, unit_work *work) {
    memset(work->sum, 0, neurons * sizeof *work->sum);
    for (size_t i = 0; i < images; i++) {
        const float *h = hidden[i] + at;
        double square = 0;
        for (size_t j = 0; j < neurons; j++)
            square += (double)h[j] * (double)h[j];
        work->inverse[i] = 1 / fmax(sqrt(square), 1e-12);
        for (size_t j = 0; j < neurons; j++)
            work->sum[j] += (double)h[j] * work->inverse[i];
    }
    double total = 0;
    for (size_t j = 0; j < neurons; j++)
        total += work->sum[j] * work->sum[j];
    /* dD/dh_i = 2 / |h_i| (s - (u_i.s) u_i) */
    for (size_t i = 0; i < images; i++) {
        const float *h = hidden[i] + at;
        double along = 0;
        for (size_t j = 0; j < neurons; j++)
            along += (double)h[j] * work->inverse[i] * work->sum[j];
        const double scale = 2 * weight * work->inverse[i];
        for (size_t j = 0; j < neurons; j++)
            seeds[i][at + j] +=
                (float)(scale * (work->sum[j] - along * (double)h[j] * work->inverse[i]));
    }
    return total;
}

static kh_status by_units(size_t images, size_t tokens, size_t neurons, size_t first_token,
                          const float *const *hidden, double weight, float *const *seeds,
                          double *value, double *cosine, kh_error *err) {
    unit_work work = {kh_calloc(neurons, sizeof(double)), kh_calloc(images, sizeof(double))};
    kh_status status = KH_OK;
    *value = 0;
    if (!work.sum || !work.inverse) status = kh_fail(err, KH_E_MEMORY, "no memory for diversity");
    for (size_t t = first_token; !status && t < tokens; t++)
        *value += one_token(images, neurons, hidden, t * neurons, weight, seeds, &work);
    const double diagonal = (double)(tokens - first_token) * (double)images;
    *cosine = (*value - diagonal) / (diagonal * (double)(images - 1));
    kh_free(work.sum);
    kh_free(work.inverse);
    return status;
}

/* ---- token Grams: D = sum over i != i' of <M_i, M_i'>, M = h h^T / |h h^T|
 * ------------------------ */

static double dot(size_t count, const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Normalised Gram of one image's tokens, and its norm. */
static double gram(size_t tokens, size_t neurons, const float *h, double *out) {
    for (size_t a = 0; a < tokens; a++)
        for (size_t b = 0; b <= a; b++) {
            double sum = 0;
            for (size_t j = 0; j < neurons; j++)
                sum += (double)h[a * neurons + j] * (double)h[b * neurons + j];
            out[a * tokens + b] = out[b * tokens + a] = sum;
        }
    const double norm = fmax(sqrt(dot(tokens * tokens, out, out)), 1e-12);
    for (size_t i = 0; i < tokens * tokens; i++)
        out[i] /= norm;
    return norm;
}

/* seeds += weight (K + K^T) h, K = (E - <E, M> M) / |h h^T|, E = 2 (S - M); K is symmetric here. */
static void gram_back(size_t tokens, size_t neurons, const float *h, const double *own,
                      const double *sum, double norm, double weight, float *seeds) {
    const size_t cells = tokens * tokens;
    const double along = 2 * (dot(cells, sum, own) - dot(cells, own, own));
    for (size_t a = 0; a < tokens; a++)
        for (size_t b = 0; b < tokens; b++) {
            const double m = own[a * tokens + b];
            const double k = (2 * (sum[a * tokens + b] - m) - along * m) / norm;
            const double scale = 2 * weight * k;
            for (size_t j = 0; j < neurons; j++)
                seeds[a * neurons + j] += (float)(scale * (double)h[b * neurons + j]);
        }
}

static kh_status by_grams(size_t images, size_t tokens, size_t neurons, const float *const *hidden,
                          double weight, float *const *seeds, double *value, double *cosine,
                          kh_error *err) {
    const size_t cells = tokens * tokens;
    double *grams = kh_calloc(images + 1, cells * sizeof *grams);
    double *norms = kh_calloc(images, sizeof *norms);
    if (!grams || !norms) {
        kh_free(grams);
        kh_free(norms);
        return kh_fail(err, KH_E_MEMORY, "no memory for diversity");
    }
    double *sum = grams + images * cells, own = 0;
    for (size_t i = 0; i < images; i++) {
        norms[i] = gram(tokens, neurons, hidden[i], grams + i * cells);
        own += dot(cells, grams + i * cells, grams + i * cells);
        for (size_t k = 0; k < cells; k++)
            sum[k] += grams[i * cells + k];
    }
    *value = dot(cells, sum, sum) - own;
    *cosine = *value / (double)(images * (images - 1));
    for (size_t i = 0; i < images; i++)
        gram_back(tokens, neurons, hidden[i], grams + i * cells, sum, norms[i], weight, seeds[i]);
    kh_free(grams);
    kh_free(norms);
    return KH_OK;
}

kh_status kh_diversity(kh_dream_diversity kind, size_t images, size_t tokens, size_t neurons,
                       size_t first_token, const float *const *hidden, double weight,
                       float *const *seeds, double *value, double *cosine, kh_error *err) {
    if (kind == KH_DIVERSITY_GRAM)
        return by_grams(images, tokens, neurons, hidden, weight, seeds, value, cosine, err);
    return by_units(images, tokens, neurons, first_token, hidden, weight, seeds, value, cosine,
                    err);
}
