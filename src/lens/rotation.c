#include "lens/rotation.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "lens/clones.h"

#include <math.h>
#include <string.h>

size_t kh_rotation_units(const kh_model_info *info) {
    const size_t eighth = (info->neurons + 7) / 8;
    return eighth < KH_ROTATED ? eighth : KH_ROTATED;
}

/* Gaussian rows made orthonormal one after the other, twice each: rows [units, neurons]. */
static void orthonormal(kh_rng *rng, double *rows, size_t units, size_t neurons) {
    for (size_t r = 0; r < units; r++) {
        double *row = rows + r * neurons;
        for (size_t j = 0; j < neurons; j++)
            row[j] = kh_rng_normal(rng);
        for (size_t twice = 0; twice < 2; twice++)
            for (size_t o = 0; o < r; o++) {
                const double *other = rows + o * neurons;
                double along = 0;
                for (size_t j = 0; j < neurons; j++)
                    along += row[j] * other[j];
                for (size_t j = 0; j < neurons; j++)
                    row[j] -= along * other[j];
            }
        double length = 0;
        for (size_t j = 0; j < neurons; j++)
            length += row[j] * row[j];
        for (size_t j = 0; j < neurons; j++)
            row[j] /= sqrt(length);
    }
}

kh_status kh_rotation_init(kh_rotation *rotation, const kh_model_info *info, uint64_t seed,
                           kh_error *err) {
    const size_t units = kh_rotation_units(info), neurons = info->neurons;
    *rotation = (kh_rotation){.blocks = info->blocks, .neurons = neurons, .units = units};
    rotation->q = kh_alloc_floats(info->blocks * neurons * units);
    double *rows = kh_calloc(units * neurons, sizeof *rows);
    if (!rotation->q || !rows) {
        kh_free(rows);
        kh_rotation_clear(rotation);
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu rotated units a block", units);
    }
    for (size_t b = 0; b < info->blocks; b++) {
        kh_rng rng = kh_rng_make(seed, kh_hash_name("rotation") + b);
        orthonormal(&rng, rows, units, neurons);
        for (size_t j = 0; j < neurons; j++)
            for (size_t r = 0; r < units; r++)
                rotation->q[(b * neurons + j) * units + r] = (float)rows[r * neurons + j];
    }
    kh_free(rows);
    return KH_OK;
}

void kh_rotation_clear(kh_rotation *rotation) {
    kh_free(rotation->q);
    *rotation = (kh_rotation){0};
}

/* Neurons in order for every unit, so a row's sums depend on the row alone. */
KH_CLONES static void turn_row(const float *row, const float *q, size_t neurons, size_t units,
                               float *out) {
    float sum[KH_ROTATED] = {0};
    if (units == KH_ROTATED) {
        for (size_t j = 0; j < neurons; j++)
            for (size_t r = 0; r < KH_ROTATED; r++)
                sum[r] += row[j] * q[j * KH_ROTATED + r];
    } else {
        for (size_t j = 0; j < neurons; j++)
            for (size_t r = 0; r < units; r++)
                sum[r] += row[j] * q[j * units + r];
    }
    memcpy(out, sum, units * sizeof *out);
}

void kh_rotation_apply(const kh_rotation *rotation, size_t block, const float *rows, size_t count,
                       float *out) {
    const float *q = rotation->q + block * rotation->neurons * rotation->units;
    for (size_t t = 0; t < count; t++)
        turn_row(rows + t * rotation->neurons, q, rotation->neurons, rotation->units,
                 out + t * rotation->units);
}

/* ---- values of either sign ----------------------------------------------------------------- */

void kh_signed_count(uint32_t *above, uint32_t *below, float value) {
    const size_t bin = kh_sketch_bin(-value);
    if (value < 0 && bin > 0)
        below[bin]++;
    else
        above[kh_sketch_bin(value)]++;
}

static double middle_of(size_t bin) {
    return 0.5 * (kh_sketch_edge(bin) + kh_sketch_edge(bin + 1));
}

double kh_signed_quantile(const uint32_t *above, const uint32_t *below, double q, float max) {
    uint64_t n = 0, seen = 0;
    for (size_t b = 0; b < KH_SKETCH_BINS; b++)
        n += (uint64_t)above[b] + below[b];
    if (n == 0) return (double)NAN;
    const uint64_t rank = (uint64_t)ceil(q * (double)n);
    for (size_t b = KH_SKETCH_BINS; b-- > 1;)
        if ((seen += below[b]) >= rank) return -middle_of(b);
    if ((seen += above[0]) >= rank) return 0;
    for (size_t b = 1; b < KH_SKETCH_BINS; b++)
        if ((seen += above[b]) >= rank)
            return middle_of(b) < (double)max ? middle_of(b) : (double)max;
    return (double)max;
}
