#include "io/tensors.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* One tensor in the order of writing. */
typedef struct planned {
    const kh_tensor_out *tensor;
    size_t bytes;
} planned;

static int by_name(const void *a, const void *b) {
    const planned *x = a, *y = b;
    return strcmp(x->tensor->name, y->tensor->name);
}

static void add_quoted(kh_text *out, const char *text) {
    kh_text_add(out, "\"");
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\') kh_text_add(out, "\\");
        if ((unsigned char)*p < 0x20)
            kh_text_addf(out, "\\u%04x", (unsigned)*p);
        else
            kh_text_add_bytes(out, p, 1);
    }
    kh_text_add(out, "\"");
}

static kh_status plan_one(const kh_tensor_out *tensor, planned *out, kh_error *err) {
    const char *name = tensor->name;
    char shown[KH_SHOWN_BYTES];
    if (!name || !*name || strlen(name) > KH_TENSOR_MAX_NAME ||
        !kh_utf8_valid(name, strlen(name)) || strcmp(name, "__metadata__") == 0)
        return kh_fail(err, KH_E_ARG, "a tensor cannot be called '%s'",
                       name ? kh_shown(name, strlen(name), shown, sizeof shown) : "");
    (void)kh_shown(name, strlen(name), shown, sizeof shown);
    if (tensor->rank > KH_TENSOR_MAX_RANK)
        return kh_fail(err, KH_E_ARG, "tensor '%s' has %zu dimensions, at most %d", shown,
                       tensor->rank, KH_TENSOR_MAX_RANK);
    size_t bytes = sizeof(float);
    for (size_t i = 0; i < tensor->rank; i++)
        if (!kh_mul(bytes, tensor->shape[i], &bytes) || tensor->shape[i] > KH_TENSOR_MAX_NUMBER)
            return kh_fail(err, KH_E_ARG, "tensor '%s': shape overflows", shown);
    if (bytes && !tensor->data) return kh_fail(err, KH_E_ARG, "tensor '%s' has no data", shown);
    *out = (planned){.tensor = tensor, .bytes = bytes};
    return KH_OK;
}

static kh_status make_plan(const kh_tensor_out *tensors, size_t count, planned *plan,
                           kh_error *err) {
    for (size_t i = 0; i < count; i++)
        KH_TRY(plan_one(&tensors[i], &plan[i], err));
    qsort(plan, count, sizeof *plan, by_name);
    char shown[KH_SHOWN_BYTES];
    for (size_t i = 1; i < count; i++) {
        const char *name = plan[i].tensor->name;
        if (strcmp(name, plan[i - 1].tensor->name) == 0)
            return kh_fail(err, KH_E_ARG, "two tensors are called '%s'",
                           kh_shown(name, strlen(name), shown, sizeof shown));
    }
    return KH_OK;
}

static kh_status add_metadata(kh_text *out, const char *const *keys, const char *const *values,
                              size_t pairs, kh_error *err) {
    for (size_t i = 0; i < pairs; i++) {
        if (!keys[i] || !values[i] || !kh_utf8_valid(keys[i], strlen(keys[i])) ||
            !kh_utf8_valid(values[i], strlen(values[i])))
            return kh_fail(err, KH_E_ARG, "metadata pair %zu is not valid text", i);
        for (size_t j = 0; j < i; j++)
            if (strcmp(keys[i], keys[j]) == 0)
                return kh_fail(err, KH_E_ARG, "metadata pair %zu repeats the key of pair %zu", i,
                               j);
        kh_text_add(out, i ? "," : "\"__metadata__\":{");
        add_quoted(out, keys[i]);
        kh_text_add(out, ":");
        add_quoted(out, values[i]);
    }
    if (pairs) kh_text_add(out, "}");
    return KH_OK;
}

/* {"__metadata__":{...},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}, spaces up to 8n */
static kh_status make_header(const planned *plan, size_t count, const char *const *keys,
                             const char *const *values, size_t pairs, kh_text *out, kh_error *err) {
    kh_text_add(out, "{");
    KH_TRY(add_metadata(out, keys, values, pairs, err));
    size_t begin = 0;
    for (size_t i = 0; i < count; i++) {
        const kh_tensor_out *tensor = plan[i].tensor;
        size_t end;
        if (!kh_add(begin, plan[i].bytes, &end) || end > KH_TENSOR_MAX_NUMBER)
            return kh_fail(err, KH_E_ARG, "the tensors together are too large");
        if (i || pairs) kh_text_add(out, ",");
        add_quoted(out, tensor->name);
        kh_text_add(out, ":{\"dtype\":\"F32\",\"shape\":[");
        for (size_t d = 0; d < tensor->rank; d++)
            kh_text_addf(out, "%s%zu", d ? "," : "", tensor->shape[d]);
        kh_text_addf(out, "],\"data_offsets\":[%zu,%zu]}", begin, end);
        begin = end;
    }
    kh_text_add(out, "}");
    while (!out->failed && out->length % 8 != 0)
        kh_text_add(out, " ");
    if (out->failed) return kh_fail(err, KH_E_MEMORY, "no memory for a header");
    return KH_OK;
}

static kh_status put_floats(kh_file_writer *writer, const float *data, size_t bytes,
                            kh_error *err) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return kh_file_put(writer, data, bytes, err);
#else
    uint32_t piece[1024];
    for (size_t at = 0; at < bytes; at += sizeof piece) {
        const size_t count = (bytes - at < sizeof piece ? bytes - at : sizeof piece) / 4;
        memcpy(piece, (const char *)data + at, count * 4);
        for (size_t i = 0; i < count; i++)
            piece[i] = __builtin_bswap32(piece[i]);
        KH_TRY(kh_file_put(writer, piece, count * 4, err));
    }
    return KH_OK;
#endif
}

static kh_status put_all(kh_file_writer *writer, const kh_text *header, const planned *plan,
                         size_t count, kh_error *err) {
    unsigned char prefix[8];
    for (size_t i = 0; i < 8; i++)
        prefix[i] = (unsigned char)(((uint64_t)header->length >> (8 * i)) & 0xFF);
    KH_TRY(kh_file_put(writer, prefix, sizeof prefix, err));
    KH_TRY(kh_file_put(writer, header->data, header->length, err));
    for (size_t i = 0; i < count; i++)
        KH_TRY(put_floats(writer, plan[i].tensor->data, plan[i].bytes, err));
    return KH_OK;
}

kh_status kh_tensors_write(const char *path, const kh_tensor_out *tensors, size_t count,
                           const char *const *keys, const char *const *values, size_t pairs,
                           kh_error *err) {
    kh_text header = {0};
    kh_file_writer writer;
    kh_status status;
    planned *plan = kh_calloc(count, sizeof *plan);
    if (!plan) return kh_fail(err, KH_E_MEMORY, "no memory to write %zu tensors", count);
    KH_GO(make_plan(tensors, count, plan, err));
    KH_GO(make_header(plan, count, keys, values, pairs, &header, err));
    KH_GO(kh_file_begin(&writer, path, err));
    status = put_all(&writer, &header, plan, count, err);
    const kh_status end = kh_file_end(&writer, !status, status ? NULL : err);
    if (!status) status = end;
done:
    kh_text_clear(&header);
    kh_free(plan);
    return status;
}
