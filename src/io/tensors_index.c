#include "io/tensors.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

bool kh_is_weight_name(const char *name) {
    const size_t length = strlen(name);
    if (length > 255 || name[0] == '.' || !kh_ends_with(name, ".safetensors")) return false;
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F || *p == '/' || *p == '\\') return false;
    return true;
}

static int by_tensor(const void *a, const void *b) {
    const kh_index_line *x = a, *y = b;
    return strcmp(x->tensor, y->tensor);
}

static int by_text(const void *a, const void *b) {
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static kh_status add_line(kh_tensor_index *index, const char *tensor, const json_t *value,
                          const char *shown_path, kh_error *err) {
    char name[KH_SHOWN_BYTES], file[KH_SHOWN_BYTES];
    (void)kh_shown(tensor, strlen(tensor), name, sizeof name);
    if (strlen(tensor) < 1 || strlen(tensor) > KH_TENSOR_MAX_NAME)
        return kh_fail(err, KH_E_LIMIT, "'%s': tensor name of %zu bytes, expected 1..%d",
                       shown_path, strlen(tensor), KH_TENSOR_MAX_NAME);
    if (!json_is_string(value))
        return kh_fail(err, KH_E_FORMAT, "'%s': weight_map '%s' is not a string", shown_path, name);
    const char *text = json_string_value(value);
    if (!kh_is_weight_name(text))
        return kh_fail(err, KH_E_FORMAT,
                       "'%s': weight_map '%s' names the file '%s'; expected a plain name that ends "
                       "in .safetensors, beside the index",
                       shown_path, name, kh_shown(text, strlen(text), file, sizeof file));
    index->lines[index->count++] = (kh_index_line){.tensor = tensor, .file = text};
    return KH_OK;
}

static kh_status read_map(kh_tensor_index *out, json_t *map, const kh_limits *limits,
                          const char *shown_path, kh_error *err) {
    if (!json_is_object(map))
        return kh_fail(err, KH_E_FORMAT, "'%s': weight_map is %s, expected an object", shown_path,
                       map ? "of another type" : "missing");
    const size_t count = json_object_size(map);
    if (count > limits->max_tensors)
        return kh_fail(err, KH_E_LIMIT, "'%s': %zu tensors, the limit is %zu", shown_path, count,
                       limits->max_tensors);
    out->lines = kh_calloc(count, sizeof *out->lines);
    out->files = kh_calloc(count, sizeof *out->files);
    if (!out->lines || !out->files)
        return kh_fail(err, KH_E_MEMORY, "'%s': no memory for %zu names", shown_path, count);
    const char *tensor;
    json_t *value;
    json_object_foreach(map, tensor, value) KH_TRY(add_line(out, tensor, value, shown_path, err));
    qsort(out->lines, out->count, sizeof *out->lines, by_tensor);
    for (size_t i = 0; i < count; i++)
        out->files[i] = out->lines[i].file;
    qsort(out->files, count, sizeof *out->files, by_text);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || strcmp(out->files[i], out->files[out->file_count - 1]) != 0)
            out->files[out->file_count++] = out->files[i];
    if (out->file_count > KH_TENSOR_MAX_FILES)
        return kh_fail(err, KH_E_LIMIT, "'%s': %zu weight files, at most %d", shown_path,
                       out->file_count, KH_TENSOR_MAX_FILES);
    return KH_OK;
}

kh_status kh_tensor_index_parse(const char *bytes, size_t count, const kh_limits *limits,
                                const char *shown_path, kh_tensor_index *out, kh_error *err) {
    *out = (kh_tensor_index){0};
    if (count > limits->max_index_bytes)
        return kh_fail(err, KH_E_LIMIT, "'%s': index of %zu bytes, the limit is %zu", shown_path,
                       count, limits->max_index_bytes);
    const kh_json_limits bounds = {.max_depth = 8, .max_values = 4 * limits->max_tensors + 65536};
    char what[KH_SHOWN_BYTES + 4] = "'";
    strncat(what, shown_path, KH_SHOWN_BYTES);
    strcat(what, "'");
    KH_TRY(kh_json_parse_object(bytes, count, bounds, what, &out->root, err));
    /* metadata.total_size is wrong in the wild and decides nothing here */
    const kh_status status =
        read_map(out, json_object_get(out->root, "weight_map"), limits, shown_path, err);
    if (status) kh_tensor_index_clear(out);
    return status;
}

void kh_tensor_index_clear(kh_tensor_index *index) {
    if (!index) return;
    kh_free(index->lines);
    kh_free((void *)(uintptr_t)index->files);
    json_decref(index->root);
    *index = (kh_tensor_index){0};
}
