#include "vit/load.h"

#include <stdio.h>
#include <string.h>

/* Multiply-adds of one image's forward pass. */
static double multiply_adds(const kh_config *c, const kh_model *m) {
    const double n = (double)m->info.tokens, dim = (double)c->dim;
    const double patches = (double)(m->info.grid_height * m->info.grid_width);
    const double hidden = (double)(c->gated ? 2 * c->neurons : c->neurons);
    const double neurons = (double)c->neurons;
    const double block = n * dim * (3 * dim + dim + hidden + neurons) + 2 * n * n * dim;
    double sum = patches * 3 * (double)(c->patch * c->patch) * dim + (double)c->blocks * block;
    if (c->pool == KH_POOL_MAP)
        sum += patches * dim * 2 * dim + 2 * patches * dim + dim * (dim + 2 * neurons);
    const double heads = c->pool == KH_POOL_DISTILL ? 2 : 1;
    return sum + heads * (double)c->classes * (double)m->feature_dim;
}

void kh_model_describe(const kh_config *c, kh_model *m) {
    kh_model_info *info = &m->info;
    (void)snprintf(info->layout, sizeof info->layout, "%s", c->layout);
    (void)snprintf(info->architecture, sizeof info->architecture, "%s", c->architecture);
    (void)snprintf(info->tag, sizeof info->tag, "%s", c->tag);
    (void)snprintf(info->family, sizeof info->family, "%s", c->family);
    (void)snprintf(info->activation, sizeof info->activation, "%s", kh_activation_name(c->act));
    info->dim = c->dim;
    info->blocks = c->blocks;
    info->heads = c->heads;
    info->head_dim = c->dim / c->heads;
    info->neurons = c->neurons;
    info->patch = c->patch;
    info->image_height = c->height;
    info->image_width = c->width;
    info->grid_height = c->height / c->patch;
    info->grid_width = c->width / c->patch;
    info->prefix_tokens = kh_config_prefix(c);
    info->registers = c->registers;
    info->tokens = info->prefix_tokens + info->grid_height * info->grid_width;
    info->classes = c->classes;
    info->has_class_token = c->class_token;
    info->has_distill_token = c->distill_token;
    info->has_norm_pre = c->norm_pre;
    info->has_layer_scale = c->layer_scale;
    info->has_qkv_bias = c->qkv_bias;
    info->has_qk_norm = c->qk_norm;
    info->is_gated = c->gated;
    info->is_post_norm = c->post_norm;
    info->norm_eps = c->eps;
    info->pool = c->pool;
    info->head_is_indirect = c->pool == KH_POOL_MAP && c->classes > 0;
    info->head_is_projection = c->head_is_projection;
    info->preprocess = c->preprocess;
    m->act = c->act;
    m->feature_dim = c->pool == KH_POOL_CLS_AVG ? 2 * c->dim : c->dim;
    m->pos_rows =
        info->grid_height * info->grid_width + (c->pos_has_prefix ? info->prefix_tokens : 0);
    info->forward_gflop = 2e-9 * multiply_adds(c, m);
}
