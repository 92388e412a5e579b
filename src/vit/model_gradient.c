/* Weights packed a second time, for the backward pass, as far as it will go. */
#include "vit/load.h"

static kh_status pack_backward(kh_model *m, kh_weight *const *weights, size_t count,
                               kh_error *err) {
    for (size_t i = 0; i < count; i++)
        if (weights[i] && !m->backend->pack_backward(m->home, weights[i]))
            return kh_fail(err, KH_E_MEMORY,
                           "no memory for the backward pass's copy of the weights");
    return KH_OK;
}

kh_status kh_model_prepare_gradient_below_mlp(kh_model *m, size_t last_block, kh_error *err) {
    if (!m) return kh_fail(err, KH_E_ARG, "no model given");
    if (last_block >= m->info.blocks) return kh_model_prepare_gradient(m, last_block, err);
    if (last_block > 0) KH_TRY(kh_model_prepare_gradient(m, last_block - 1, err));
    const kh_block *b = &m->blocks[last_block];
    kh_weight *const weights[] = {m->patch_embed, b->qkv, b->proj};
    KH_TRY(pack_backward(m, weights, sizeof weights / sizeof weights[0], err));
    if (m->gradient_attentions < last_block + 1) m->gradient_attentions = last_block + 1;
    return KH_OK;
}

kh_status kh_model_prepare_gradient(kh_model *m, size_t last_block, kh_error *err) {
    if (!m) return kh_fail(err, KH_E_ARG, "no model given");
    const size_t blocks = last_block < m->info.blocks ? last_block + 1 : m->info.blocks;
    KH_TRY(pack_backward(m, &m->patch_embed, 1, err));
    for (; m->gradient_blocks < blocks; m->gradient_blocks++) {
        const kh_block *b = &m->blocks[m->gradient_blocks];
        kh_weight *const weights[] = {b->qkv, b->proj, b->fc1, b->fc2};
        KH_TRY(pack_backward(m, weights, sizeof weights / sizeof weights[0], err));
    }
    if (blocks < m->info.blocks || m->gradient_head) return KH_OK;
    const kh_map_pool *pool = &m->map_pool;
    kh_weight *const tail[] = {pool->kv, pool->proj, pool->fc1, pool->fc2, m->head, m->head_dist};
    KH_TRY(pack_backward(m, tail, sizeof tail / sizeof tail[0], err));
    m->gradient_head = true;
    return KH_OK;
}
