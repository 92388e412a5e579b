/* io/tensors.h: what the files of this room share about safetensors; the public part is in
 * keyhole/io.h. The parsers take bytes, not files, so that a fuzzer can reach them directly. */
#ifndef KH_IO_TENSORS_H
#define KH_IO_TENSORS_H

#include <stdint.h>

#include "base/json.h"
#include "keyhole/io.h"

#define KH_TENSOR_MAX_RANK 8
/* docs/safetensors.schema.json of the reference implementation: dims and offsets below 2^48 */
#define KH_TENSOR_MAX_NUMBER ((UINT64_C(1) << 48) - 1)
#define KH_TENSOR_MAX_NAME   1024
#define KH_TENSOR_MAX_FILES  512

typedef enum kh_dtype_kind {
    KH_DTYPE_OTHER, /* known by name and size, never converted */
    KH_DTYPE_F32,
    KH_DTYPE_F16,
    KH_DTYPE_BF16,
    KH_DTYPE_F64
} kh_dtype_kind;

typedef struct kh_dtype {
    const char *name;
    unsigned bits;
    kh_dtype_kind kind;
} kh_dtype;

typedef struct kh_tensor_entry {
    char *name; /* owned */
    const kh_dtype *dtype;
    size_t rank;
    size_t shape[KH_TENSOR_MAX_RANK];
    size_t count;
    uint64_t begin, end; /* in the data part of its file */
    size_t file;         /* which file */
} kh_tensor_entry;

/* What one header says, checked. Start with {0}; end with kh_tensor_header_clear. */
typedef struct kh_tensor_header {
    kh_tensor_entry *entries; /* by name */
    size_t count;
    json_t *metadata; /* object of strings, or NULL */
} kh_tensor_header;

/* Length N of the header from a file's first 8 bytes; `have` of them exist. */
kh_status kh_tensor_header_length(const unsigned char *prefix, size_t have, uint64_t file_bytes,
                                  const kh_limits *limits, const char *shown_path, size_t *out,
                                  kh_error *err);

/* All rules about the header's text. data_bytes is what follows the header in the file.
 * shown_path is ready for messages. */
kh_status kh_tensor_header_parse(const char *bytes, size_t count, uint64_t data_bytes,
                                 const kh_limits *limits, const char *shown_path,
                                 kh_tensor_header *out, kh_error *err);
void kh_tensor_header_clear(kh_tensor_header *header);

/* One line of an index: this tensor lives in that file. Both are borrowed from the index. */
typedef struct kh_index_line {
    const char *tensor;
    const char *file;
} kh_index_line;

/* model.safetensors.index.json. Start with {0}; end with kh_tensor_index_clear. */
typedef struct kh_tensor_index {
    json_t *root;         /* owns the strings */
    kh_index_line *lines; /* by tensor name */
    size_t count;
    const char **files; /* distinct, by name */
    size_t file_count;
} kh_tensor_index;

kh_status kh_tensor_index_parse(const char *bytes, size_t count, const kh_limits *limits,
                                const char *shown_path, kh_tensor_index *out, kh_error *err);
void kh_tensor_index_clear(kh_tensor_index *index);

/* A plain name that may be joined to a folder: letters, digits, '.', '_', '-' and other printable
 * characters, but no '/', '\', control character or leading '.', ending in ".safetensors". */
bool kh_is_weight_name(const char *name);

#endif
