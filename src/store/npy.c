/* numpy's array files, format version 1.0.
 *
 * "\x93NUMPY", 1, 0, header length as little-endian u16, then a Python dict padded with spaces to a
 * multiple of 64 bytes and ended by a newline, then the elements. */
#include "keyhole/store.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/text.h"
#include "store/npy_header.h"
#include "store/sink.h"

#include <string.h>

#define MAGIC_BYTES 10

typedef struct type_row {
    const char *name;
    size_t bytes;
} type_row;

static const type_row types[] = {[KH_NPY_F32] = {"<f4", 4},
                                 [KH_NPY_F64] = {"<f8", 8},
                                 [KH_NPY_I32] = {"<i4", 4},
                                 [KH_NPY_I64] = {"<i8", 8},
                                 [KH_NPY_U8] = {"|u1", 1}};

struct kh_npy {
    kh_sink *file;
    size_t element_bytes;
    size_t promised, added;
};

bool kh_npy_header(kh_text *out, const char *type, const size_t *shape, size_t rank) {
    kh_text header = {0};
    kh_text_addf(&header, "{'descr': '%s', 'fortran_order': False, 'shape': (", type);
    for (size_t i = 0; i < rank; i++)
        kh_text_addf(&header, i ? ", %zu" : rank == 1 ? "%zu," : "%zu", shape[i]);
    kh_text_add(&header, "), }");
    while (!header.failed && (MAGIC_BYTES + header.length + 1) % 64)
        kh_text_add(&header, " ");
    kh_text_add(&header, "\n");
    const char magic[MAGIC_BYTES] = {(char)0x93,
                                     'N',
                                     'U',
                                     'M',
                                     'P',
                                     'Y',
                                     1,
                                     0,
                                     (char)(header.length & 255),
                                     (char)(header.length >> 8)};
    kh_text_add_bytes(out, magic, sizeof magic);
    if (!header.failed) kh_text_add_bytes(out, header.data, header.length);
    const bool ok = !header.failed && !out->failed;
    kh_text_clear(&header);
    return ok;
}

static void write_header(kh_sink *file, const char *type, const size_t *shape, size_t rank) {
    kh_text header = {0};
    if (kh_npy_header(&header, type, shape, rank))
        kh_sink_write(file, header.data, header.length);
    else
        kh_sink_refuse(file, KH_E_MEMORY, "no memory for the header of an array");
    kh_text_clear(&header);
}

kh_status kh_store_npy_open(const char *path, kh_npy_type type, const size_t *shape, size_t rank,
                            kh_npy **out, kh_error *err) {
    *out = NULL;
    size_t count = 1, bytes;
    if ((size_t)type >= sizeof types / sizeof *types || rank > 8)
        return kh_fail(err, KH_E_ARG, "an array of rank %zu, type %d", rank, (int)type);
    for (size_t i = 0; i < rank; i++)
        if (!kh_mul(count, shape[i], &count))
            return kh_fail(err, KH_E_LIMIT, "the shape of an array overflows");
    if (!kh_mul(count, types[type].bytes, &bytes))
        return kh_fail(err, KH_E_LIMIT, "the shape of an array overflows");
    kh_npy *npy = kh_calloc(1, sizeof *npy);
    if (!npy) return kh_fail(err, KH_E_MEMORY, "no memory for an array file");
    npy->element_bytes = types[type].bytes;
    npy->promised = count;
    const kh_status status = kh_sink_open(path, &npy->file, err);
    if (status) {
        kh_free(npy);
        return status;
    }
    write_header(npy->file, types[type].name, shape, rank);
    *out = npy;
    return KH_OK;
}

/* Elements of `width` bytes with their bytes reversed, for big-endian machines. */
static void write_swapped(kh_npy *npy, const unsigned char *bytes, size_t elements) {
    const size_t width = npy->element_bytes;
    for (size_t i = 0; i < elements; i++) {
        unsigned char swapped[8];
        for (size_t b = 0; b < width; b++)
            swapped[b] = bytes[i * width + width - 1 - b];
        kh_sink_write(npy->file, swapped, width);
    }
}

void kh_store_npy_add(kh_npy *npy, const void *data, size_t elements) {
    if (elements > npy->promised - npy->added) {
        kh_sink_refuse(npy->file, KH_E_SHAPE, "more than the promised %zu elements of an array",
                       npy->promised);
        return;
    }
    npy->added += elements;
    const uint16_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    if (first)
        kh_sink_write(npy->file, data, elements * npy->element_bytes);
    else
        write_swapped(npy, data, elements);
}

kh_status kh_store_npy_close(kh_npy *npy, kh_error *err) {
    if (npy->added != npy->promised)
        kh_sink_refuse(npy->file, KH_E_SHAPE, "%zu of %zu elements of an array were written",
                       npy->added, npy->promised);
    const kh_status status = kh_sink_close(npy->file, err);
    kh_free(npy);
    return status;
}

void kh_store_npy_abort(kh_npy *npy) {
    if (!npy) return;
    kh_sink_abort(npy->file);
    kh_free(npy);
}

kh_status kh_store_npy(const char *path, kh_npy_type type, const size_t *shape, size_t rank,
                       const void *data, kh_error *err) {
    kh_npy *npy = NULL;
    KH_TRY(kh_store_npy_open(path, type, shape, rank, &npy, err));
    kh_store_npy_add(npy, data, npy->promised);
    return kh_store_npy_close(npy, err);
}
