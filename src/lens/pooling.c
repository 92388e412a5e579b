#include "lens/pooling.h"

#include <string.h>

void kh_lens_pool_weights(const kh_model_info *info, const float *scale, double *first,
                          double *second) {
    const size_t prefix = info->prefix_tokens, patches = info->tokens - prefix;
    const bool is_split = info->pool == KH_POOL_CLS_AVG;
    memset(first, 0, info->tokens * sizeof *first);
    if (second) memset(second, 0, info->tokens * sizeof *second);
    if (info->pool == KH_POOL_TOKEN || is_split) first[0] = 1 / (double)scale[0];
    if (info->pool == KH_POOL_DISTILL) {
        first[0] = 0.5 / (double)scale[0];
        if (second) second[1] = 0.5 / (double)scale[1];
    }
    if (info->pool == KH_POOL_TOKEN || info->pool == KH_POOL_DISTILL || info->pool == KH_POOL_MAP)
        return;
    double *mean = is_split ? second : first;
    for (size_t t = prefix; mean && t < info->tokens; t++) {
        const double sigma = !scale                         ? 1
                             : info->pool == KH_POOL_AVG_FC ? (double)scale[0]
                                                            : (double)scale[t];
        mean[t] = 1 / (sigma * (double)patches);
    }
}
