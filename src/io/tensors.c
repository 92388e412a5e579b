#define _POSIX_C_SOURCE 200809L
#include "io/tensors.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/text.h"
#include "io/convert.h"
#include "io/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct weight_file {
    char *path;
    int fd; /* -1: not open */
    uint64_t bytes;
    uint64_t data_at; /* offset of the data part */
} weight_file;

struct kh_tensors {
    weight_file *files;
    size_t file_count;
    kh_tensor_entry *entries; /* by name */
    size_t count;
    json_t *metadata; /* NULL for none */
};

static const char *show(const char *text, char out[KH_SHOWN_BYTES]) {
    return kh_shown(text, strlen(text), out, KH_SHOWN_BYTES);
}

/* ---- opening -----------------------------------------------------------------------------------
 */

/* pread to the end of the request; a file that became shorter is an error, not a signal. */
static kh_status read_at(const weight_file *file, uint64_t at, void *out, size_t bytes,
                         kh_error *err) {
    unsigned char *p = out;
    char shown[KH_SHOWN_BYTES];
    while (bytes) {
        const size_t step = bytes < ((size_t)1 << 30) ? bytes : (size_t)1 << 30;
        const ssize_t got = pread(file->fd, p, step, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0)
            return kh_fail(err, KH_E_IO, "cannot read '%s': %s", show(file->path, shown),
                           strerror(errno));
        if (got == 0)
            return kh_fail(err, KH_E_IO, "'%s' became shorter since it was opened: no byte at %llu",
                           show(file->path, shown), (unsigned long long)at);
        p += got;
        at += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return KH_OK;
}

static kh_status open_file(const char *path, weight_file *out, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    *out = (weight_file){.fd = -1};
    out->path = kh_strdup(path);
    if (!out->path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    /* O_NONBLOCK: a named pipe must not make us wait for a writer */
    out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (out->fd < 0)
        return kh_fail(err, errno == ENOENT ? KH_E_NOT_FOUND : KH_E_IO, "cannot open '%s': %s",
                       show(path, shown), strerror(errno));
    struct stat info;
    if (fstat(out->fd, &info) != 0)
        return kh_fail(err, KH_E_IO, "cannot look at '%s': %s", show(path, shown), strerror(errno));
    if (S_ISDIR(info.st_mode))
        return kh_fail(err, KH_E_IO, "'%s' is a folder, expected a .safetensors file",
                       show(path, shown));
    if (!S_ISREG(info.st_mode))
        return kh_fail(err, KH_E_IO, "'%s' is not a regular file", show(path, shown));
    out->bytes = (uint64_t)info.st_size;
    return KH_OK;
}

static kh_status read_header(weight_file *file, const kh_limits *limits, kh_tensor_header *out,
                             kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    (void)show(file->path, shown);
    unsigned char prefix[8];
    const size_t have = file->bytes < 8 ? (size_t)file->bytes : 8;
    size_t length;
    KH_TRY(read_at(file, 0, prefix, have, err));
    KH_TRY(kh_tensor_header_length(prefix, have, file->bytes, limits, shown, &length, err));
    char *text = kh_realloc(NULL, length, 1);
    if (!text)
        return kh_fail(err, KH_E_MEMORY, "'%s': no memory for a header of %zu bytes", shown,
                       length);
    file->data_at = 8 + (uint64_t)length;
    kh_status status = read_at(file, 8, text, length, err);
    if (!status)
        status = kh_tensor_header_parse(text, length, file->bytes - file->data_at, limits, shown,
                                        out, err);
    kh_free(text);
    return status;
}

static kh_status open_single(const char *path, const kh_limits *limits, kh_tensors *t,
                             kh_error *err) {
    t->files = kh_calloc(1, sizeof *t->files);
    if (!t->files) return kh_fail(err, KH_E_MEMORY, "no memory to open a file");
    t->file_count = 1;
    t->files[0].fd = -1;
    KH_TRY(open_file(path, &t->files[0], err));
    if (t->files[0].bytes > limits->max_weights_bytes) {
        char shown[KH_SHOWN_BYTES];
        return kh_fail(err, KH_E_LIMIT, "'%s' has %llu bytes, the limit is %llu", show(path, shown),
                       (unsigned long long)t->files[0].bytes,
                       (unsigned long long)limits->max_weights_bytes);
    }
    kh_tensor_header header = {0};
    KH_TRY(read_header(&t->files[0], limits, &header, err));
    t->entries = header.entries; /* taken over */
    t->count = header.count;
    t->metadata = header.metadata;
    return KH_OK;
}

static kh_tensor_entry *find_entry(const kh_tensor_entry *entries, size_t count, const char *name) {
    size_t low = 0, high = count;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        const int order = strcmp(name, entries[mid].name);
        if (order == 0) return (kh_tensor_entry *)(uintptr_t)&entries[mid];
        if (order < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

/* Takes from one shard's header the tensors that the index maps to it; others are ignored. */
static kh_status take_mapped(kh_tensors *t, const kh_tensor_index *index, size_t file,
                             kh_tensor_header *header, kh_error *err) {
    for (size_t i = 0; i < index->count; i++) {
        if (strcmp(index->lines[i].file, index->files[file]) != 0) continue;
        kh_tensor_entry *found = find_entry(header->entries, header->count, index->lines[i].tensor);
        char name[KH_SHOWN_BYTES], path[KH_SHOWN_BYTES];
        if (!found)
            return kh_fail(err, KH_E_FORMAT, "'%s': the index puts tensor '%s' here, it is absent",
                           show(t->files[file].path, path), show(index->lines[i].tensor, name));
        kh_tensor_entry taken = *found;
        taken.name = kh_strdup(found->name);
        if (!taken.name) return kh_fail(err, KH_E_MEMORY, "no memory for a tensor's name");
        taken.file = file;
        t->entries[i] = taken; /* lines are by name, so entries are too */
    }
    return KH_OK;
}

static kh_status open_shard(const char *index_path, const kh_tensor_index *index, size_t file,
                            const kh_limits *limits, uint64_t *total, kh_tensors *t,
                            kh_error *err) {
    const size_t folder = (size_t)(kh_path_base(index_path) - index_path);
    kh_text path = {0};
    kh_text_add_bytes(&path, index_path, folder);
    kh_text_add(&path, index->files[file]);
    kh_status status = path.failed ? kh_fail(err, KH_E_MEMORY, "no memory for a path")
                                   : open_file(path.data, &t->files[file], err);
    kh_text_clear(&path);
    char shown[KH_SHOWN_BYTES];
    if (status) return kh_error_context(err, status, "index '%s'", show(index_path, shown));
    if (!kh_add_u64(*total, t->files[file].bytes, total) || *total > limits->max_weights_bytes)
        return kh_fail(err, KH_E_LIMIT, "'%s': the weight files exceed the limit of %llu bytes",
                       show(index_path, shown), (unsigned long long)limits->max_weights_bytes);
    kh_tensor_header header = {0};
    KH_TRY(read_header(&t->files[file], limits, &header, err));
    status = take_mapped(t, index, file, &header, err);
    if (!status && !t->metadata) t->metadata = json_incref(header.metadata);
    kh_tensor_header_clear(&header);
    return status;
}

static kh_status open_shards(const char *path, const kh_limits *limits, kh_tensors *t,
                             kh_error *err) {
    unsigned char *bytes = NULL;
    size_t count;
    uint64_t total = 0;
    kh_tensor_index index = {0};
    char shown[KH_SHOWN_BYTES];
    kh_status status = kh_file_read(path, limits->max_index_bytes, &bytes, &count, err);
    if (status) return status;
    KH_GO(
        kh_tensor_index_parse((const char *)bytes, count, limits, show(path, shown), &index, err));
    t->entries = kh_calloc(index.count, sizeof *t->entries);
    t->files = kh_calloc(index.file_count, sizeof *t->files);
    if (!t->entries || !t->files) {
        status = kh_fail(err, KH_E_MEMORY, "'%s': no memory for %zu tensors", shown, index.count);
        goto done;
    }
    t->count = index.count;
    t->file_count = index.file_count;
    for (size_t i = 0; i < t->file_count; i++)
        t->files[i].fd = -1;
    for (size_t i = 0; i < t->file_count; i++)
        KH_GO(open_shard(path, &index, i, limits, &total, t, err));
done:
    kh_tensor_index_clear(&index);
    kh_free(bytes);
    return status;
}

kh_status kh_tensors_open(const char *path, const kh_limits *limits, kh_tensors **out,
                          kh_error *err) {
    *out = NULL;
    const kh_limits defaults = kh_limits_default();
    if (!limits) limits = &defaults;
    kh_tensors *t = kh_calloc(1, sizeof *t);
    if (!t) return kh_fail(err, KH_E_MEMORY, "no memory to open a file");
    const kh_status status = kh_ends_with(path, ".json") ? open_shards(path, limits, t, err)
                                                         : open_single(path, limits, t, err);
    if (status) {
        kh_tensors_close(t);
        return status;
    }
    *out = t;
    return KH_OK;
}

void kh_tensors_close(kh_tensors *tensors) {
    if (!tensors) return;
    for (size_t i = 0; i < tensors->count; i++)
        kh_free(tensors->entries[i].name);
    for (size_t i = 0; i < tensors->file_count; i++) {
        if (tensors->files[i].fd >= 0) (void)close(tensors->files[i].fd);
        kh_free(tensors->files[i].path);
    }
    kh_free(tensors->entries);
    kh_free(tensors->files);
    json_decref(tensors->metadata);
    kh_free(tensors);
}

/* ---- looking -----------------------------------------------------------------------------------
 */

static kh_tensor_info info_of(const kh_tensor_entry *entry) {
    kh_tensor_info info = {.name = entry->name,
                           .dtype = entry->dtype->name,
                           .rank = entry->rank,
                           .count = entry->count};
    memcpy(info.shape, entry->shape, sizeof info.shape);
    return info;
}

size_t kh_tensors_count(const kh_tensors *tensors) {
    return tensors->count;
}

kh_tensor_info kh_tensors_get(const kh_tensors *tensors, size_t index) {
    if (index >= tensors->count) return (kh_tensor_info){0};
    return info_of(&tensors->entries[index]);
}

bool kh_tensors_find(const kh_tensors *tensors, const char *name, kh_tensor_info *out) {
    const kh_tensor_entry *entry = find_entry(tensors->entries, tensors->count, name);
    if (entry && out) *out = info_of(entry);
    return entry != NULL;
}

const char *kh_tensors_metadata(const kh_tensors *tensors, const char *key) {
    return json_string_value(json_object_get(tensors->metadata, key));
}

/* ---- reading -----------------------------------------------------------------------------------
 */

/* Small enough that the scan for NaN finds the bytes still in cache. */
#define PIECE_BYTES ((size_t)512 << 10)

typedef union output {
    float *f32;
    double *f64;
} output;

/* Converts count elements; is_double says which member of out is meant. */
static void convert(kh_dtype_kind kind, const unsigned char *bytes, size_t count, bool is_double,
                    output out, size_t at) {
    switch (kind) {
    case KH_DTYPE_F32:
        if (is_double)
            kh_doubles_from_f32(bytes, count, out.f64 + at);
        else
            kh_floats_from_f32(bytes, count, out.f32 + at);
        break;
    case KH_DTYPE_F16:
        if (is_double)
            kh_doubles_from_f16(bytes, count, out.f64 + at);
        else
            kh_floats_from_f16(bytes, count, out.f32 + at);
        break;
    case KH_DTYPE_BF16:
        if (is_double)
            kh_doubles_from_bf16(bytes, count, out.f64 + at);
        else
            kh_floats_from_bf16(bytes, count, out.f32 + at);
        break;
    case KH_DTYPE_F64:
        if (is_double)
            kh_doubles_from_f64(bytes, count, out.f64 + at);
        else
            kh_floats_from_f64(bytes, count, out.f32 + at);
        break;
    case KH_DTYPE_OTHER:
        break; /* refused before */
    }
}

static kh_status check_finite(const kh_tensor_entry *entry, bool is_double, output out, size_t at,
                              size_t count, const char *path, kh_error *err) {
    const size_t bad = is_double ? kh_first_nonfinite_double(out.f64 + at, count)
                                 : kh_first_nonfinite_float(out.f32 + at, count);
    if (bad == count) return KH_OK;
    const double value = is_double ? out.f64[at + bad] : (double)out.f32[at + bad];
    char name[KH_SHOWN_BYTES], file[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_NUMERIC, "'%s': tensor '%s': element %zu of %zu is %s",
                   show(path, file), show(entry->name, name), at + bad, entry->count,
                   value != value ? "NaN" : "infinite as a float");
}

static bool is_native_float(kh_dtype_kind kind) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return kind == KH_DTYPE_F32;
#else
    (void)kind;
    return false;
#endif
}

static kh_status read_pieces(const kh_tensors *t, const kh_tensor_entry *entry, bool is_double,
                             bool allow_nonfinite, output out, kh_error *err) {
    const weight_file *file = &t->files[entry->file];
    const size_t element = entry->dtype->bits / 8;
    const size_t per_piece = PIECE_BYTES / element;
    const bool direct = !is_double && is_native_float(entry->dtype->kind);
    unsigned char *piece = NULL;
    if (!direct) {
        piece = kh_realloc(NULL, PIECE_BYTES, 1);
        if (!piece) return kh_fail(err, KH_E_MEMORY, "no memory to convert a tensor");
    }
    kh_status status = KH_OK;
    for (size_t at = 0; at < entry->count; at += per_piece) {
        const size_t count = entry->count - at < per_piece ? entry->count - at : per_piece;
        const uint64_t from = file->data_at + entry->begin + (uint64_t)at * element;
        if (direct) {
            KH_GO(read_at(file, from, out.f32 + at, count * element, err));
        } else {
            KH_GO(read_at(file, from, piece, count * element, err));
            convert(entry->dtype->kind, piece, count, is_double, out, at);
        }
        if (!allow_nonfinite)
            KH_GO(check_finite(entry, is_double, out, at, count, file->path, err));
    }
done:
    kh_free(piece);
    return status;
}

static kh_status read_tensor(const kh_tensors *t, const char *name, bool is_double,
                             bool allow_nonfinite, output out, size_t count, kh_error *err) {
    char shown[KH_SHOWN_BYTES], file[KH_SHOWN_BYTES];
    const kh_tensor_entry *entry = find_entry(t->entries, t->count, name);
    if (!entry)
        return kh_fail(err, KH_E_NOT_FOUND, "'%s' has no tensor '%s'",
                       t->file_count ? show(t->files[0].path, file) : "the index",
                       show(name, shown));
    (void)show(t->files[entry->file].path, file);
    if (entry->dtype->kind == KH_DTYPE_OTHER)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "'%s': tensor '%s' has dtype %s; keyhole reads F32, F16, BF16 and F64", file,
                       show(name, shown), entry->dtype->name);
    if (entry->count != count)
        return kh_fail(err, KH_E_SHAPE, "'%s': tensor '%s' has %zu elements, expected %zu", file,
                       show(name, shown), entry->count, count);
    return read_pieces(t, entry, is_double, allow_nonfinite, out, err);
}

kh_status kh_tensors_read(const kh_tensors *tensors, const char *name, bool allow_nonfinite,
                          float *out, size_t count, kh_error *err) {
    return read_tensor(tensors, name, false, allow_nonfinite, (output){.f32 = out}, count, err);
}

kh_status kh_tensors_read_f64(const kh_tensors *tensors, const char *name, bool allow_nonfinite,
                              double *out, size_t count, kh_error *err) {
    return read_tensor(tensors, name, true, allow_nonfinite, (output){.f64 = out}, count, err);
}

kh_status kh_tensors_sha256(const kh_tensors *tensors, char out[65], kh_error *err) {
    kh_sha256 *sha = kh_sha256_create();
    if (!sha) return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_status status = KH_OK;
    for (size_t i = 0; i < tensors->file_count; i++) {
        const weight_file *file = &tensors->files[i];
        KH_GO(kh_sha256_add_file(sha, file->fd, file->bytes, file->path, err));
    }
    if (!kh_sha256_finish(sha, out)) status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
done:
    kh_sha256_free(sha);
    return status;
}
