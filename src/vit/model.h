/* vit/model.h: a loaded model as the pass sees it. Only src/vit includes this.
 *
 * Weights live in backend memory, packed; vectors named `float *` are backend memory too. */
#ifndef KH_VIT_MODEL_H
#define KH_VIT_MODEL_H

#include "compute/backend.h"
#include "keyhole/vit.h"

typedef struct kh_block {
    kh_norm norm1, norm2;
    kh_weight *qkv;         /* [3 dim, dim]; rows q, k, v */
    kh_norm q_norm, k_norm; /* over head_dim; w NULL when absent */
    kh_weight *proj;        /* [dim, dim] */
    float *ls1, *ls2;       /* [dim] LayerScale, NULL when absent */
    kh_weight *fc1;         /* [neurons, dim]; gated: [2 neurons, dim], gates first */
    kh_weight *fc2;         /* [dim, neurons] */
} kh_block;

/* Attention pooling (SigLIP). The latent query is already multiplied through: q = latent Wqᵀ + bq.
 */
typedef struct kh_map_pool {
    float *latent; /* [dim], as stored */
    float *q;      /* [dim] */
    kh_weight *q_weight, *kv, *proj, *fc1, *fc2;
    kh_norm norm;
} kh_map_pool;

struct kh_model {
    kh_model_info info;
    kh_activation act;
    const kh_backend *backend;
    kh_ctx
        *home; /* the context it was opened with; owns nothing of it but frees memory through it */

    float *prefix;          /* [prefix_tokens, dim]: cls, dist, registers */
    float *pos;             /* [pos_rows, dim] for the current grid */
    size_t pos_rows;        /* patches (prefix gets no position) or tokens */
    kh_weight *patch_embed; /* [dim, 3 patch patch] */
    kh_norm norm_pre;       /* w NULL when absent */
    kh_block *blocks;       /* [info.blocks] */
    kh_norm norm;           /* final norm or fc_norm; w NULL for KH_POOL_RAW_AVG */
    kh_map_pool map_pool;   /* only KH_POOL_MAP */
    size_t feature_dim;     /* what the head multiplies: dim, or 2 dim for KH_POOL_CLS_AVG */
    kh_weight *head;        /* [classes, feature_dim], NULL when classes == 0 */
    kh_weight *head_dist;   /* only KH_POOL_DISTILL */

    kh_classes *classes;
    size_t gradient_blocks; /* blocks 0..n-1 (and the patch embedding) are packed for backward */
    size_t gradient_attentions; /* of this many blocks at least qkv and proj are */
    bool gradient_head;         /* norm, pool and head too */

    struct kh_tensor_table *table; /* names, shapes and where each parameter lives */
};

#endif
