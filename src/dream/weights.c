/* How much each of the top k neurons counts. */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "keyhole/dream.h"

kh_status kh_dream_weights(const char *how, const float *scores, size_t count, double *out,
                           kh_error *err) {
    if (count == 0) return kh_fail(err, KH_E_ARG, "weights of no neurons");
    const bool is_equal = strcmp(how, "equal") == 0, is_softmax = strcmp(how, "softmax") == 0;
    if (!is_equal && !is_softmax && strcmp(how, "score") != 0)
        return kh_fail(err, KH_E_NOT_FOUND, "no weighting '%.40s'; equal, score or softmax", how);
    double top = (double)scores[0], sum = 0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(scores[i])) return kh_fail(err, KH_E_NUMERIC, "score %zu is no number", i);
        if (!is_equal && !is_softmax && !(scores[i] > 0))
            return kh_fail(err, KH_E_NUMERIC,
                           "score %zu is %g; weights by score want positive scores, softmax does "
                           "not",
                           i, (double)scores[i]);
        top = fmax(top, (double)scores[i]);
    }
    for (size_t i = 0; i < count; i++) {
        out[i] = is_equal ? 1 : is_softmax ? exp((double)scores[i] - top) : (double)scores[i];
        sum += out[i];
    }
    for (size_t i = 0; i < count; i++)
        out[i] /= sum;
    return KH_OK;
}
