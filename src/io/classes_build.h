/* io/classes_build.h: collects labels in any order and makes a class list of them. */
#ifndef KH_IO_CLASSES_BUILD_H
#define KH_IO_CLASSES_BUILD_H

#include "base/text.h"
#include "io/classes.h"

#define KH_MAX_CLASSES     131072 /* the largest label set in use has 21 843 */
#define KH_MAX_LABEL_BYTES 1000

typedef struct kh_label {
    size_t wnid, name; /* offsets into the pool, KH_NO_TEXT when absent */
} kh_label;

#define KH_NO_TEXT SIZE_MAX

/* Start with {.what = ...}; end with kh_builder_finish or kh_builder_clear. */
typedef struct kh_builder {
    const char *what; /* the file, for messages */
    kh_text pool;
    kh_label *labels; /* [count] */
    bool *filled;     /* [count] */
    size_t count, capacity;
} kh_builder;

void kh_builder_clear(kh_builder *builder);

/* NULL means absent. A name that is a wnid counts
 * as one. Errors: KH_E_FORMAT index given twice, control characters; KH_E_LIMIT; KH_E_MEMORY. */
kh_status kh_builder_put(kh_builder *builder, size_t index, const char *wnid, size_t wnid_bytes,
                         const char *name, size_t name_bytes, kh_error *err);

/* Makes a list of `count` classes (0: as many as were put) and clears the builder either way.
 * Missing names become "class_<i>". Errors: KH_E_SHAPE more labels than count; KH_E_MEMORY. */
kh_status kh_builder_finish(kh_builder *builder, size_t count, kh_classes **out, kh_error *err);

#endif
