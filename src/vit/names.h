/* vit/names.h: where the tensors of a model are in a file, whatever the file calls them.
 *
 * A scheme is a table of rules, timm name -> name(s) in the file. '#' stands for the block's
 * number. The names of a file's tensors either all find their rule or the file is refused: that is
 * what notices an architecture we would compute wrongly. */
#ifndef KH_VIT_NAMES_H
#define KH_VIT_NAMES_H

#include "keyhole/io.h"
#include "vit/table.h"

typedef enum kh_rule_kind {
    KH_RULE_PLAIN,     /* up to three tensors, their rows one after the other */
    KH_RULE_TRANSPOSE, /* one matrix, stored [ins, outs] */
    KH_RULE_FIRST,     /* the first third of the rows of one tensor */
    KH_RULE_REST,      /* the other two thirds */
    KH_RULE_ZERO       /* not stored: zeros */
} kh_rule_kind;

typedef struct kh_name_rule {
    const char *timm;
    kh_rule_kind kind;
    bool is_outer; /* lives beside the model's prefix, not behind it */
    const char *file[3];
} kh_name_rule;

struct kh_name_scheme {
    const char *label;
    const char *probe; /* a tensor every such file has: what stands before it is the prefix */
    const char *const *prefixes; /* inner prefixes, ends with NULL; "" must be listed */
    const kh_name_rule *rules;   /* ends with timm NULL; more specific rules first */
    bool other_towers;           /* names outside the prefix belong to a text tower: ignored */
};

extern const kh_name_scheme kh_names_timm, kh_names_openai;
extern const kh_name_scheme kh_names_hf_vit, kh_names_hf_dinov2, kh_names_hf_clip,
    kh_names_hf_siglip;

/* Where one parameter comes from. */
typedef struct kh_source {
    kh_rule_kind kind;
    size_t parts;
    kh_tensor_info file[3];
} kh_source;

typedef struct kh_sources {
    const kh_tensors *tensors;
    const kh_name_scheme *scheme;
    char outer[64], prefix[128]; /* prefix begins with outer */
    kh_source *items;            /* one per parameter of the table */
    size_t count;
    size_t pos_rows;     /* rows of the file's position embedding */
    bool class_position; /* row 0 belongs to the class token though the model wants none: add it */
} kh_sources;

/* Chooses the scheme (config->names, or the one whose probe is there) and the prefix. */
kh_status kh_sources_open(const kh_tensors *tensors, const kh_config *config, kh_sources *out,
                          kh_error *err);
void kh_sources_clear(kh_sources *sources);

/* Columns of fc2 of block 0 and rows of the position embedding; before the table is built. */
kh_status kh_sources_measure(kh_sources *sources, kh_config *config, kh_error *err);

/* Finds every parameter and checks its shape; refuses unknown leftovers. */
kh_status kh_sources_match(kh_sources *sources, const kh_config *config,
                           const kh_tensor_table *table, kh_error *err);

/* Reads parameter `index` as plain floats; for pos_embed the file's rows. Thread-safe. */
kh_status kh_sources_read(const kh_sources *sources, const kh_tensor_table *table, size_t index,
                          size_t skip_rows, float *out, size_t count, kh_error *err);

#endif
