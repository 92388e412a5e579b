/* vit/load.h: from a configuration to a model with weights. */
#ifndef KH_VIT_LOAD_H
#define KH_VIT_LOAD_H

#include "vit/pos_embed.h"
#include "vit/table.h"

/* What MODEL on the command line turned out to be. */
typedef struct kh_model_source {
    char *folder;  /* NULL for random weights of a registered name */
    char *weights; /* .safetensors or index; NULL for random weights */
    bool is_random;
    char architecture[96]; /* random: the name, when there is no folder */
    uint64_t seed;
} kh_model_source;

/* A folder, a .safetensors, a pulled hub id, "demo", "demo:NAME", "random:ARCH[@SEED]" or
 * "random:FOLDER[@SEED]" (the folder's config.json, no weights). */
kh_status kh_model_source_find(const char *model, kh_warner warner, kh_model_source *out,
                               kh_error *err);
/* "demo" and "demo:NAME" */
bool kh_model_is_demo(const char *model);
/* Folder <demo>/model or <demo>/NAME, where <demo> is $KEYHOLE_DEMO (which may also be a checkpoint
 * itself), beside the program in its source or install tree, or where keyhole was configured to be
 * installed. Free *folder with kh_free. KH_E_NOT_FOUND names the places asked. */
kh_status kh_model_demo_find(const char *model, char **folder, kh_error *err);
void kh_model_source_clear(kh_model_source *source);

/* Gives parameter `index` of the table as plain floats. Called from several threads at once. */
typedef kh_status (*kh_fetch_fn)(void *user, size_t index, float *out, size_t count, kh_error *err);

typedef struct kh_fill {
    kh_fetch_fn fetch;
    void *user;
    kh_progress_fn progress;
    void *progress_user;
} kh_fill;

/* Packs and uploads every parameter but pos_embed. */
kh_status kh_model_fill(kh_model *model, const kh_fill *fill, kh_error *err);

/* Frees everything the table points at. */
void kh_model_release(kh_model *model);

/* The formula weights: value of every element from its tensor's name and place (docs/models.md). */
typedef struct kh_random_weights {
    const kh_tensor_table *table;
    uint64_t seed; /* 0: the formula itself */
} kh_random_weights;
kh_status kh_random_fetch(void *user, size_t index, float *out, size_t count, kh_error *err);

/* info from config and table; sizes, counts, work. */
void kh_model_describe(const kh_config *config, kh_model *model);

#endif
