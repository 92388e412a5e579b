/* Percentile masks and the running mean over blocks. */
#include "keyhole/lens.h"

#include "base/status.h"

#include <math.h>
#include <string.h>

static void min_max(const float *map, size_t count, float *lo, float *hi) {
    *lo = *hi = map[0];
    for (size_t i = 1; i < count; i++) {
        if (map[i] < *lo) *lo = map[i];
        if (map[i] > *hi) *hi = map[i];
    }
}

void kh_lens_running_mean(const float *maps, size_t blocks, size_t patches, bool normalize,
                          float *out) {
    for (size_t b = 0; b < blocks && patches; b++) {
        const float *map = maps + b * patches;
        float lo = 0, hi = 0;
        if (normalize) min_max(map, patches, &lo, &hi);
        for (size_t t = 0; t < patches; t++) {
            const float v = map[t];
            out[b * patches + t] = !normalize ? v : hi > lo ? (v - lo) / (hi - lo) : 0;
        }
    }
    for (size_t t = 0; t < patches; t++) {
        double sum = 0;
        for (size_t b = 0; b < blocks; b++) {
            sum += (double)out[b * patches + t];
            out[b * patches + t] = (float)(sum / (double)(b + 1));
        }
    }
}

kh_status kh_lens_mask(const float *values, size_t count, double quantile, uint8_t *mask,
                       double *threshold, size_t *kept, kh_error *err) {
    double q;
    KH_TRY(kh_lens_quantile(values, count, quantile, &q, err));
    size_t above = 0;
    for (size_t i = 0; i < count; i++) {
        mask[i] = (double)values[i] > q;
        above += mask[i];
    }
    if (threshold) *threshold = q;
    if (kept) *kept = above;
    return KH_OK;
}

void kh_lens_mask_apply(const uint8_t *mask, const uint8_t *rgb, size_t pixels, uint8_t *out) {
    for (size_t i = 0; i < pixels; i++)
        for (size_t channel = 0; channel < 3; channel++)
            out[i * 3 + channel] = mask[i] ? rgb[i * 3 + channel] : 0;
}

static double ratio(size_t part, size_t whole) {
    return whole ? (double)part / (double)whole : (double)NAN;
}

void kh_lens_mask_score(const uint8_t *mask, const float *values, const uint8_t *truth,
                        size_t count, kh_mask_score *out) {
    memset(out, 0, sizeof *out);
    size_t peak = 0;
    for (size_t i = 0; i < count; i++) {
        out->kept += mask[i] != 0;
        out->truth += truth[i] != 0;
        out->both += mask[i] && truth[i];
        if (values[i] > values[peak]) peak = i;
    }
    out->iou = ratio(out->both, out->kept + out->truth - out->both);
    out->precision = ratio(out->both, out->kept);
    out->recall = ratio(out->both, out->truth);
    out->pointing_hit = count && truth[peak];
}
