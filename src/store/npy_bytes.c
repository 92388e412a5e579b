/* An .npy of bytes whose parts come in any order. */
#define _POSIX_C_SOURCE 200809L
#include "keyhole/store.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "store/npy_header.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct kh_npy_bytes {
    kh_file_writer file;
    size_t header_bytes, count;
    kh_error failure; /* code KH_OK: none yet */
};

static kh_status start_file(kh_npy_bytes *npy, const size_t *shape, size_t rank, kh_error *err) {
    kh_text header = {0};
    kh_status status = KH_OK;
    if (!kh_npy_header(&header, "|u1", shape, rank))
        status = kh_fail(err, KH_E_MEMORY, "no memory for the header of an array");
    if (!status) status = kh_file_put(&npy->file, header.data, header.length, err);
    npy->header_bytes = header.length;
    kh_text_clear(&header);
    if (!status && ftruncate(npy->file.fd, (off_t)(npy->header_bytes + npy->count)) != 0)
        status = kh_fail(err, KH_E_IO, "cannot make room for an array of %zu bytes: %s", npy->count,
                         strerror(errno));
    return status;
}

kh_status kh_store_npy_bytes_open(const char *path, const size_t *shape, size_t rank,
                                  kh_npy_bytes **out, kh_error *err) {
    size_t count = 1;
    *out = NULL;
    if (rank > 8) return kh_fail(err, KH_E_ARG, "an array of rank %zu", rank);
    for (size_t i = 0; i < rank; i++)
        if (!kh_mul(count, shape[i], &count) || count > SIZE_MAX / 4)
            return kh_fail(err, KH_E_LIMIT, "the shape of an array overflows");
    kh_npy_bytes *npy = kh_calloc(1, sizeof *npy);
    if (!npy) return kh_fail(err, KH_E_MEMORY, "no memory for an array file");
    npy->count = count;
    kh_status status = kh_file_begin(&npy->file, path, err);
    if (status) {
        kh_free(npy);
        return status;
    }
    status = start_file(npy, shape, rank, err);
    if (status)
        kh_store_npy_bytes_abort(npy);
    else
        *out = npy;
    return status;
}

void kh_store_npy_bytes_put(kh_npy_bytes *npy, size_t first, const uint8_t *data, size_t count) {
    if (npy->failure.code) return;
    if (first > npy->count || count > npy->count - first) {
        (void)kh_fail(&npy->failure, KH_E_SHAPE, "bytes %zu to %zu of an array of %zu", first,
                      first + count, npy->count);
        return;
    }
    while (count > 0) {
        const ssize_t put = pwrite(npy->file.fd, data, count, (off_t)(npy->header_bytes + first));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) {
            (void)kh_fail(&npy->failure, KH_E_IO, "cannot write an array: %s", strerror(errno));
            return;
        }
        data += put;
        first += (size_t)put;
        count -= (size_t)put;
    }
}

kh_status kh_store_npy_bytes_close(kh_npy_bytes *npy, kh_error *err) {
    kh_status status = npy->failure.code;
    if (status && err) *err = npy->failure;
    const kh_status ended = kh_file_end(&npy->file, !status, status ? NULL : err);
    kh_free(npy);
    return status ? status : ended;
}

void kh_store_npy_bytes_abort(kh_npy_bytes *npy) {
    if (!npy) return;
    (void)kh_file_end(&npy->file, false, NULL);
    kh_free(npy);
}
