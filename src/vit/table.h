/* vit/table.h: every parameter of a model: its timm name, its shape, where it lives. Built from the
 * configuration before anything is read; loading fills it, tensor_read and closing walk along it.
 */
#ifndef KH_VIT_TABLE_H
#define KH_VIT_TABLE_H

#include "vit/config.h"
#include "vit/model.h"

typedef enum kh_place {
    KH_PLACE_VECTOR, /* backend memory of its own */
    KH_PLACE_WEIGHT, /* a packed matrix; its bias, if any, is the next parameter */
    KH_PLACE_BIAS,   /* inside the packed matrix before it */
    KH_PLACE_PREFIX, /* rows of model->prefix from `first_row` on */
    KH_PLACE_POS     /* model->pos */
} kh_place;

typedef struct kh_parameter {
    char name[48];
    size_t rank;
    size_t shape[4];
    size_t count;
    kh_place place;
    float **vector;            /* VECTOR: LayerScale and the like */
    const float **norm_vector; /* VECTOR: half of a kh_norm */
    kh_weight **weight;        /* WEIGHT and BIAS */
    size_t first_row;          /* PREFIX */
} kh_parameter;

typedef struct kh_tensor_table {
    kh_parameter *items;
    size_t count, capacity;
    size_t pos; /* index of pos_embed */
} kh_tensor_table;

/* model->blocks exist; config->neurons is known. */
kh_status kh_table_build(const kh_config *config, kh_model *model, kh_tensor_table *table,
                         kh_error *err);
void kh_table_clear(kh_tensor_table *table);
/* NULL when there is no such parameter. */
const kh_parameter *kh_table_find(const kh_tensor_table *table, const char *name);

#endif
