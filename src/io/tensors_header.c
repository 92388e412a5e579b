#include "io/tensors.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* Element types of the reference implementation (safetensors/src/tensor.rs). */
static const kh_dtype dtypes[] = {
    {"F32", 32, KH_DTYPE_F32},          {"F16", 16, KH_DTYPE_F16},
    {"BF16", 16, KH_DTYPE_BF16},        {"F64", 64, KH_DTYPE_F64},
    {"BOOL", 8, KH_DTYPE_OTHER},        {"U8", 8, KH_DTYPE_OTHER},
    {"I8", 8, KH_DTYPE_OTHER},          {"I16", 16, KH_DTYPE_OTHER},
    {"U16", 16, KH_DTYPE_OTHER},        {"I32", 32, KH_DTYPE_OTHER},
    {"U32", 32, KH_DTYPE_OTHER},        {"I64", 64, KH_DTYPE_OTHER},
    {"U64", 64, KH_DTYPE_OTHER},        {"C64", 64, KH_DTYPE_OTHER},
    {"F8_E5M2", 8, KH_DTYPE_OTHER},     {"F8_E4M3", 8, KH_DTYPE_OTHER},
    {"F8_E8M0", 8, KH_DTYPE_OTHER},     {"F8_E4M3FNUZ", 8, KH_DTYPE_OTHER},
    {"F8_E5M2FNUZ", 8, KH_DTYPE_OTHER}, {"F6_E2M3", 6, KH_DTYPE_OTHER},
    {"F6_E3M2", 6, KH_DTYPE_OTHER},     {"F4", 4, KH_DTYPE_OTHER},
};

static const kh_dtype *find_dtype(const char *name) {
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
    return NULL;
}

/* Where we are, for messages. */
typedef struct place {
    const char *path; /* shown */
    const char *name; /* shown */
    kh_error *err;
} place;

/* What people have instead of weights, by its first bytes. */
static const char *other_kind(const unsigned char *prefix) {
    if (memcmp(prefix, "version ", 8) == 0)
        return "it looks like a Git LFS pointer; fetch the real file with 'git lfs pull'";
    if (memcmp(prefix, "PK\003\004", 4) == 0 || memcmp(prefix, "\200\002", 2) == 0)
        return "it looks like a PyTorch pickle; convert it to safetensors";
    if (memcmp(prefix, "<!DOCTYP", 8) == 0 || memcmp(prefix, "<!doctyp", 8) == 0 ||
        memcmp(prefix, "<html", 5) == 0)
        return "it looks like a web page";
    return "it is another kind of file, or truncated";
}

kh_status kh_tensor_header_length(const unsigned char *prefix, size_t have, uint64_t file_bytes,
                                  const kh_limits *limits, const char *shown_path, size_t *out,
                                  kh_error *err) {
    *out = 0;
    if (file_bytes < 8 || have < 8)
        return kh_fail(err, KH_E_FORMAT,
                       "'%s' has %llu bytes; a safetensors file has at least 8 and a header",
                       shown_path, (unsigned long long)file_bytes);
    uint64_t length = 0;
    for (size_t i = 0; i < 8; i++)
        length |= (uint64_t)prefix[i] << (8 * i);
    /* the place of N first: text, a pickle or a truncated file is not "too large" */
    if (length > file_bytes - 8)
        return kh_fail(err, KH_E_FORMAT,
                       "'%s' is not a safetensors file: the header would be %llu bytes, the file "
                       "has %llu after the length; %s",
                       shown_path, (unsigned long long)length, (unsigned long long)(file_bytes - 8),
                       other_kind(prefix));
    if (length > limits->max_header_bytes)
        return kh_fail(err, KH_E_LIMIT, "'%s': header of %llu bytes, the limit is %llu", shown_path,
                       (unsigned long long)length, (unsigned long long)limits->max_header_bytes);
    if (length < 2)
        return kh_fail(err, KH_E_FORMAT, "'%s': header of %llu bytes, expected at least '{}'",
                       shown_path, (unsigned long long)length);
    *out = (size_t)length;
    return KH_OK;
}

/* The JSON reader takes -0 for the integer 0; our numbers have no sign. */
static bool has_minus_zero(const char *bytes, size_t count) {
    bool in_string = false;
    for (size_t i = 0; i < count; i++) {
        const char c = bytes[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        if (c == '"') in_string = true;
        const bool exponent = i > 0 && (bytes[i - 1] == 'e' || bytes[i - 1] == 'E');
        if (c != '-' || exponent || i + 1 >= count || bytes[i + 1] != '0') continue;
        if (i + 2 >= count || !strchr(".eE", bytes[i + 2])) return true;
    }
    return false;
}

static bool plain_number(const json_t *value, uint64_t *out) {
    size_t number;
    if (!kh_json_size(value, &number) || number > KH_TENSOR_MAX_NUMBER) return false;
    *out = number;
    return true;
}

static kh_status parse_dtype(const json_t *value, kh_tensor_entry *entry, place at) {
    if (!json_is_string(value))
        return kh_fail(at.err, KH_E_FORMAT, "'%s': tensor '%s': dtype is %s, expected a string",
                       at.path, at.name, value ? "of another type" : "missing");
    entry->dtype = find_dtype(json_string_value(value));
    if (entry->dtype) return KH_OK;
    char shown[KH_SHOWN_BYTES];
    return kh_fail(
        at.err, KH_E_FORMAT, "'%s': tensor '%s': unknown dtype '%s'", at.path, at.name,
        kh_shown(json_string_value(value), json_string_length(value), shown, sizeof shown));
}

static kh_status parse_shape(const json_t *value, kh_tensor_entry *entry, place at) {
    if (!json_is_array(value))
        return kh_fail(at.err, KH_E_FORMAT, "'%s': tensor '%s': shape is %s, expected an array",
                       at.path, at.name, value ? "of another type" : "missing");
    entry->rank = json_array_size(value);
    if (entry->rank > KH_TENSOR_MAX_RANK)
        return kh_fail(at.err, KH_E_LIMIT,
                       "'%s': tensor '%s': shape has %zu dimensions, at most %d", at.path, at.name,
                       entry->rank, KH_TENSOR_MAX_RANK);
    uint64_t count = 1;
    for (size_t i = 0; i < entry->rank; i++) {
        uint64_t dim;
        if (!plain_number(json_array_get(value, i), &dim))
            return kh_fail(at.err, KH_E_FORMAT,
                           "'%s': tensor '%s': dimension %zu is not a plain integer in 0..2^48-1",
                           at.path, at.name, i);
        if (!kh_mul_u64(count, dim, &count))
            return kh_fail(at.err, KH_E_LIMIT, "'%s': tensor '%s': shape overflows 64 bits",
                           at.path, at.name);
        entry->shape[i] = (size_t)dim;
    }
    entry->count = (size_t)count;
    return KH_OK;
}

static kh_status parse_offsets(const json_t *value, kh_tensor_entry *entry, place at) {
    if (!json_is_array(value) || json_array_size(value) != 2)
        return kh_fail(at.err, KH_E_FORMAT,
                       "'%s': tensor '%s': data_offsets %s, expected [begin, end]", at.path,
                       at.name, value ? "has another form" : "is missing");
    if (!plain_number(json_array_get(value, 0), &entry->begin) ||
        !plain_number(json_array_get(value, 1), &entry->end))
        return kh_fail(at.err, KH_E_FORMAT,
                       "'%s': tensor '%s': data_offsets are not plain integers in 0..2^48-1",
                       at.path, at.name);
    return KH_OK;
}

/* Shape, type and place must tell one story. */
static kh_status check_size(const kh_tensor_entry *entry, place at) {
    uint64_t bits;
    if (!kh_mul_u64(entry->count, entry->dtype->bits, &bits))
        return kh_fail(at.err, KH_E_LIMIT, "'%s': tensor '%s': size overflows 64 bits", at.path,
                       at.name);
    if (bits % 8 != 0)
        return kh_fail(at.err, KH_E_FORMAT,
                       "'%s': tensor '%s': %llu bits of %s are not whole bytes", at.path, at.name,
                       (unsigned long long)bits, entry->dtype->name);
    if (entry->begin > entry->end)
        return kh_fail(at.err, KH_E_FORMAT,
                       "'%s': tensor '%s': data_offsets begin at %llu and end before, at %llu",
                       at.path, at.name, (unsigned long long)entry->begin,
                       (unsigned long long)entry->end);
    if (entry->end - entry->begin != bits / 8)
        return kh_fail(at.err, KH_E_FORMAT,
                       "'%s': tensor '%s': data_offsets hold %llu bytes, shape and dtype need %llu",
                       at.path, at.name, (unsigned long long)(entry->end - entry->begin),
                       (unsigned long long)(bits / 8));
    return KH_OK;
}

static kh_status parse_entry(const char *name, const json_t *value, const kh_limits *limits,
                             kh_tensor_header *out, place at) {
    const size_t length = strlen(name); /* the JSON reader refuses NUL inside keys */
    if (length < 1 || length > KH_TENSOR_MAX_NAME)
        return kh_fail(at.err, KH_E_LIMIT, "'%s': tensor name of %zu bytes, expected 1..%d",
                       at.path, length, KH_TENSOR_MAX_NAME);
    if (out->count >= limits->max_tensors)
        return kh_fail(at.err, KH_E_LIMIT, "'%s': more than %zu tensors", at.path,
                       limits->max_tensors);
    if (!json_is_object(value))
        return kh_fail(at.err, KH_E_FORMAT, "'%s': tensor '%s': entry is not an object", at.path,
                       at.name);
    kh_tensor_entry entry = {0};
    KH_TRY(parse_dtype(json_object_get(value, "dtype"), &entry, at));
    KH_TRY(parse_shape(json_object_get(value, "shape"), &entry, at));
    KH_TRY(parse_offsets(json_object_get(value, "data_offsets"), &entry, at));
    KH_TRY(check_size(&entry, at));
    entry.name = kh_strdup(name);
    if (!entry.name) return kh_fail(at.err, KH_E_MEMORY, "'%s': no memory for a name", at.path);
    out->entries[out->count++] = entry;
    return KH_OK;
}

static kh_status parse_metadata(json_t *value, kh_tensor_header *out, place at) {
    if (json_is_null(value)) return KH_OK;
    if (!json_is_object(value))
        return kh_fail(at.err, KH_E_FORMAT, "'%s': __metadata__ is not an object", at.path);
    const char *key;
    json_t *text;
    json_object_foreach(value, key, text) {
        if (json_is_string(text)) continue;
        char shown[KH_SHOWN_BYTES];
        return kh_fail(at.err, KH_E_FORMAT, "'%s': __metadata__ '%s' is not a string", at.path,
                       kh_shown(key, strlen(key), shown, sizeof shown));
    }
    out->metadata = json_incref(value);
    return KH_OK;
}

static int by_place(const void *a, const void *b) {
    const kh_tensor_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    const kh_tensor_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* No holes, no overlaps, no bytes after the last tensor. */
static kh_status check_places(const kh_tensor_header *header, uint64_t data_bytes, place at) {
    uint64_t expected = 0;
    char shown[KH_SHOWN_BYTES];
    for (size_t i = 0; i < header->count; i++) {
        const kh_tensor_entry *entry = &header->entries[i];
        if (entry->begin != expected)
            return kh_fail(at.err, KH_E_FORMAT,
                           "'%s': tensor '%s': data begins at %llu, expected %llu (%s)", at.path,
                           kh_shown(entry->name, strlen(entry->name), shown, sizeof shown),
                           (unsigned long long)entry->begin, (unsigned long long)expected,
                           entry->begin < expected ? "tensors overlap" : "hole between tensors");
        if (entry->end > data_bytes)
            return kh_fail(at.err, KH_E_FORMAT,
                           "'%s' is truncated: tensor '%s' ends at %llu of %llu data bytes",
                           at.path, kh_shown(entry->name, strlen(entry->name), shown, sizeof shown),
                           (unsigned long long)entry->end, (unsigned long long)data_bytes);
        expected = entry->end;
    }
    if (expected != data_bytes)
        return kh_fail(at.err, KH_E_FORMAT, "'%s': %llu bytes after the last tensor", at.path,
                       (unsigned long long)(data_bytes - expected));
    return KH_OK;
}

static kh_status parse_root(json_t *root, uint64_t data_bytes, const kh_limits *limits,
                            kh_tensor_header *out, place at) {
    out->entries = kh_calloc(json_object_size(root), sizeof *out->entries);
    if (!out->entries) return kh_fail(at.err, KH_E_MEMORY, "'%s': no memory for names", at.path);
    const char *name;
    json_t *value;
    json_object_foreach(root, name, value) {
        char shown[KH_SHOWN_BYTES];
        at.name = kh_shown(name, strlen(name), shown, sizeof shown);
        if (strcmp(name, "__metadata__") == 0)
            KH_TRY(parse_metadata(value, out, at));
        else
            KH_TRY(parse_entry(name, value, limits, out, at));
    }
    qsort(out->entries, out->count, sizeof *out->entries, by_place);
    KH_TRY(check_places(out, data_bytes, at));
    qsort(out->entries, out->count, sizeof *out->entries, by_name);
    return KH_OK;
}

kh_status kh_tensor_header_parse(const char *bytes, size_t count, uint64_t data_bytes,
                                 const kh_limits *limits, const char *shown_path,
                                 kh_tensor_header *out, kh_error *err) {
    *out = (kh_tensor_header){0};
    const place at = {.path = shown_path, .name = "", .err = err};
    /* an ordinary entry has about 14 values; the rest is room for metadata and unknown fields */
    size_t values;
    if (!kh_mul(limits->max_tensors, 24, &values) || !kh_add(values, 65536, &values))
        values = SIZE_MAX;
    json_t *root = NULL;
    kh_status status;
    char what[KH_SHOWN_BYTES + 32] = "'";
    strncat(what, shown_path, KH_SHOWN_BYTES);
    strcat(what, "': header");
    KH_GO(kh_json_parse_object(bytes, count, (kh_json_limits){.max_depth = 8, .max_values = values},
                               what, &root, err));
    if (has_minus_zero(bytes, count)) {
        status = kh_fail(err, KH_E_FORMAT, "'%s': header: the number -0 has a sign", shown_path);
        goto done;
    }
    status = parse_root(root, data_bytes, limits, out, at);
done:
    json_decref(root);
    if (status) kh_tensor_header_clear(out);
    return status;
}

void kh_tensor_header_clear(kh_tensor_header *header) {
    if (!header) return;
    for (size_t i = 0; i < header->count; i++)
        kh_free(header->entries[i].name);
    kh_free(header->entries);
    json_decref(header->metadata);
    *header = (kh_tensor_header){0};
}
