#include "lens/attribution_pooled.h"
#include "lens/clones.h"
#include "lens/pooling.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

size_t kh_pooled_heads(const kh_model_info *info) {
    return info->pool == KH_POOL_DISTILL || info->pool == KH_POOL_CLS_AVG ? 2 : 1;
}

unsigned kh_pooled_sites(const kh_model_info *info) {
    unsigned sites = 1u << KH_SITE_ATTN_OUT | 1u << KH_SITE_MLP_OUT | 1u << KH_SITE_EMBED;
    if (info->pool != KH_POOL_RAW_AVG) sites |= 1u << KH_SITE_FINAL_SCALES;
    if (info->is_post_norm) sites |= 1u << KH_SITE_LN2_SCALE;
    return sites;
}

static size_t widest(const kh_model_info *info) {
    return info->neurons > info->dim ? info->neurons : info->dim;
}

kh_status kh_pooled_init(kh_pooled *p, const kh_model_info *info, kh_error *err) {
    *p = (kh_pooled){.info = info,
                     .heads = kh_pooled_heads(info),
                     .sum = kh_calloc(info->blocks * widest(info), sizeof *p->sum)};
    return p->sum ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for sums over tokens");
}

void kh_pooled_clear(kh_pooled *p) {
    kh_free(p->weight);
    kh_free(p->sum);
    *p = (kh_pooled){0};
}

kh_status kh_pooled_begin(kh_pooled *p, const kh_lens_batch *batch, kh_error *err) {
    const size_t tokens = p->info->tokens, each = p->heads * tokens;
    if (batch->count > p->room) {
        kh_free(p->weight);
        p->weight = kh_calloc(batch->count * each, sizeof *p->weight);
        p->room = p->weight ? batch->count : 0;
        if (!p->weight) return kh_fail(err, KH_E_MEMORY, "no memory for sums over tokens");
    }
    const float *scale = batch->site[KH_SITE_FINAL_SCALES][0];
    const size_t scales = p->info->pool == KH_POOL_AVG_FC ? 1 : tokens;
    for (size_t i = 0; i < batch->count; i++) {
        double *w = p->weight + i * each;
        kh_lens_pool_weights(p->info, scale ? scale + i * scales : NULL, w,
                             p->heads > 1 ? w + tokens : NULL);
    }
    return KH_OK;
}

KH_CLONES static void sum_rows(const double *weight, const float *scale, size_t tokens,
                               const float *rows, size_t width, double *sum) {
    for (size_t t = 0; t < tokens; t++) {
        const double w = scale ? weight[t] / (double)scale[t] : weight[t];
        const float *row = rows + t * width;
        if (!(fabs(w) > 0)) continue; /* a token the logits do not see */
        for (size_t i = 0; i < width; i++)
            sum[i] += w * (double)row[i];
    }
}

const double *kh_pooled_sum(kh_pooled *p, size_t image, size_t head, size_t block,
                            const float *rows, size_t width, const float *scale) {
    const size_t tokens = p->info->tokens;
    double *sum = p->sum + block * widest(p->info);
    memset(sum, 0, width * sizeof *sum);
    sum_rows(p->weight + (image * p->heads + head) * tokens, scale, tokens, rows, width, sum);
    return sum;
}

double kh_pooled_mean_weight(const kh_pooled *p, size_t image) {
    const kh_pool_kind pool = p->info->pool;
    if (p->info->is_post_norm || (pool != KH_POOL_AVG_FC && pool != KH_POOL_RAW_AVG))
        return (double)NAN;
    const size_t tokens = p->info->tokens;
    const double patches = (double)(tokens - p->info->prefix_tokens);
    return patches * p->weight[(image * p->heads + 1) * tokens - 1];
}
