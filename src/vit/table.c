#include "vit/table.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void kh_table_clear(kh_tensor_table *table) {
    if (!table) return;
    kh_free(table->items);
    memset(table, 0, sizeof *table);
}

const kh_parameter *kh_table_find(const kh_tensor_table *table, const char *name) {
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->items[i].name, name) == 0) return &table->items[i];
    return NULL;
}

/* Adding after a failure does nothing, so the builder reads as a list. */
typedef struct builder {
    kh_tensor_table *table;
    const char *prefix; /* "blocks.3." */
    bool failed;
} builder;

static kh_parameter *add(builder *b, kh_place place, const char *name, size_t rank,
                         const size_t *shape) {
    kh_tensor_table *t = b->table;
    if (b->failed) return NULL;
    if (t->count == t->capacity) {
        const size_t capacity = t->capacity ? 2 * t->capacity : 64;
        kh_parameter *items = kh_realloc(t->items, capacity, sizeof *items);
        if (!items) {
            b->failed = true;
            return NULL;
        }
        t->items = items;
        t->capacity = capacity;
    }
    kh_parameter *p = &t->items[t->count++];
    memset(p, 0, sizeof *p);
    (void)snprintf(p->name, sizeof p->name, "%s%s", b->prefix, name);
    p->place = place;
    p->rank = rank;
    p->count = 1;
    for (size_t i = 0; i < rank; i++) {
        p->shape[i] = shape[i];
        if (!kh_mul(p->count, shape[i], &p->count)) b->failed = true;
    }
    return p;
}

static void add_norm(builder *b, const char *name, kh_norm *norm, size_t dim, double eps) {
    char full[48];
    norm->dim = dim;
    norm->eps = (float)eps;
    (void)snprintf(full, sizeof full, "%s.weight", name);
    kh_parameter *p = add(b, KH_PLACE_VECTOR, full, 1, &dim);
    if (p) p->norm_vector = &norm->w;
    (void)snprintf(full, sizeof full, "%s.bias", name);
    p = add(b, KH_PLACE_VECTOR, full, 1, &dim);
    if (p) p->norm_vector = &norm->b;
}

static void add_shaped(builder *b, const char *name, kh_weight **weight, size_t rank,
                       const size_t *shape, bool has_bias) {
    char full[48];
    (void)snprintf(full, sizeof full, "%s.weight", name);
    kh_parameter *p = add(b, KH_PLACE_WEIGHT, full, rank, shape);
    if (p) p->weight = weight;
    if (!has_bias) return;
    (void)snprintf(full, sizeof full, "%s.bias", name);
    p = add(b, KH_PLACE_BIAS, full, 1, shape);
    if (p) p->weight = weight;
}

static void add_linear(builder *b, const char *name, kh_weight **weight, size_t outs, size_t ins,
                       bool has_bias) {
    add_shaped(b, name, weight, 2, (const size_t[]){outs, ins}, has_bias);
}

static void add_vector(builder *b, const char *name, float **vector, size_t count) {
    kh_parameter *p = add(b, KH_PLACE_VECTOR, name, 1, &count);
    if (p) p->vector = vector;
}

static void add_prefix(builder *b, const char *name, size_t *row, size_t rows, size_t dim) {
    kh_parameter *p = add(b, KH_PLACE_PREFIX, name, 3, (const size_t[]){1, rows, dim});
    if (p) p->first_row = *row;
    *row += rows;
}

static void add_embedding(builder *b, const kh_config *c, kh_model *m) {
    size_t row = 0;
    if (c->class_token) add_prefix(b, "cls_token", &row, 1, c->dim);
    if (c->distill_token) add_prefix(b, "dist_token", &row, 1, c->dim);
    if (c->registers) add_prefix(b, "reg_token", &row, c->registers, c->dim);
    b->table->pos = b->table->count;
    add(b, KH_PLACE_POS, "pos_embed", 3, (const size_t[]){1, m->pos_rows, c->dim});
    add_shaped(b, "patch_embed.proj", &m->patch_embed, 4,
               (const size_t[]){c->dim, 3, c->patch, c->patch}, c->patch_bias);
    if (c->norm_pre) add_norm(b, "norm_pre", &m->norm_pre, c->dim, c->eps);
}

static void add_block(builder *b, const kh_config *c, kh_block *block) {
    const size_t dim = c->dim, hidden = c->gated ? 2 * c->neurons : c->neurons;
    add_norm(b, "norm1", &block->norm1, dim, c->eps);
    add_linear(b, "attn.qkv", &block->qkv, 3 * dim, dim, c->qkv_bias);
    if (c->qk_norm) {
        add_norm(b, "attn.q_norm", &block->q_norm, dim / c->heads, c->eps);
        add_norm(b, "attn.k_norm", &block->k_norm, dim / c->heads, c->eps);
    }
    add_linear(b, "attn.proj", &block->proj, dim, dim, c->proj_bias);
    if (c->layer_scale) add_vector(b, "ls1.gamma", &block->ls1, dim);
    add_norm(b, "norm2", &block->norm2, dim, c->eps);
    add_linear(b, "mlp.fc1", &block->fc1, hidden, dim, c->proj_bias);
    add_linear(b, "mlp.fc2", &block->fc2, dim, c->neurons, c->proj_bias);
    if (c->layer_scale) add_vector(b, "ls2.gamma", &block->ls2, dim);
}

static void add_map_pool(builder *b, const kh_config *c, kh_map_pool *pool) {
    const size_t dim = c->dim;
    kh_parameter *p = add(b, KH_PLACE_VECTOR, "latent", 3, (const size_t[]){1, 1, dim});
    if (p) p->vector = &pool->latent;
    add_linear(b, "q", &pool->q_weight, dim, dim, true);
    add_linear(b, "kv", &pool->kv, 2 * dim, dim, true);
    add_linear(b, "proj", &pool->proj, dim, dim, true);
    add_norm(b, "norm", &pool->norm, dim, c->eps);
    add_linear(b, "mlp.fc1", &pool->fc1, c->neurons, dim, true);
    add_linear(b, "mlp.fc2", &pool->fc2, dim, c->neurons, true);
}

kh_status kh_table_build(const kh_config *c, kh_model *m, kh_tensor_table *table, kh_error *err) {
    builder b = {.table = table, .prefix = ""};
    memset(table, 0, sizeof *table);
    add_embedding(&b, c, m);
    for (size_t i = 0; i < c->blocks; i++) {
        char prefix[32];
        (void)snprintf(prefix, sizeof prefix, "blocks.%zu.", i);
        b.prefix = prefix;
        add_block(&b, c, &m->blocks[i]);
        b.prefix = "";
    }
    if (c->pool != KH_POOL_RAW_AVG)
        add_norm(&b, c->pool == KH_POOL_AVG_FC ? "fc_norm" : "norm", &m->norm, c->dim, c->eps);
    if (c->pool == KH_POOL_MAP) {
        b.prefix = "attn_pool.";
        add_map_pool(&b, c, &m->map_pool);
        b.prefix = "";
    }
    if (c->classes) add_linear(&b, "head", &m->head, c->classes, m->feature_dim, true);
    if (c->classes && c->pool == KH_POOL_DISTILL)
        add_linear(&b, "head_dist", &m->head_dist, c->classes, m->feature_dim, true);
    if (!b.failed) return KH_OK;
    kh_table_clear(table);
    return kh_fail(err, KH_E_MEMORY, "no memory for the list of parameters");
}
