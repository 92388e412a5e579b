/* Reading arrays that kh_store_npy wrote: version 1.0, little-endian floats, C order. */
#define _POSIX_C_SOURCE 200809L
#include "keyhole/store.h"

#include "base/checked.h"
#include "base/status.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAGIC_BYTES = 10, MAX_HEADER = 1024 };

typedef struct layout {
    size_t shape[8], rank, count;
    uint64_t offset; /* of the first element */
} layout;

static kh_status refuse(const char *path, const char *why, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_FORMAT, "'%s' is no array of float32 as keyhole writes them: %s",
                   kh_shown(path, strlen(path), shown, sizeof shown), why);
}

static bool read_all(int fd, void *to, size_t bytes, uint64_t offset) {
    char *at = to;
    while (bytes > 0) {
        const ssize_t got = pread(fd, at, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        at += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return true;
}

/* "(3, 12, 512), }" to shape. */
static bool read_shape(const char *at, layout *out) {
    out->count = 1;
    for (at++; *at != ')';) {
        char *end;
        if (*at < '0' || *at > '9' || out->rank == 8) return false;
        errno = 0;
        const unsigned long long side = strtoull(at, &end, 10);
        if (errno || side > SIZE_MAX || !kh_mul(out->count, (size_t)side, &out->count))
            return false;
        out->shape[out->rank++] = (size_t)side;
        at = end + (*end == ',');
        while (*at == ' ')
            at++;
    }
    return true;
}

static kh_status read_layout(int fd, const char *path, layout *out, kh_error *err) {
    static const char start[] = "{'descr': '<f4', 'fortran_order': False, 'shape': ";
    unsigned char magic[MAGIC_BYTES];
    char header[MAX_HEADER + 1];
    struct stat info;
    *out = (layout){0};
    if (fstat(fd, &info) != 0 || !read_all(fd, magic, sizeof magic, 0) ||
        memcmp(magic, "\x93NUMPY\x01\x00", 8) != 0)
        return refuse(path, "its first bytes are others", err);
    const size_t length = magic[8] + 256u * magic[9];
    if (length > MAX_HEADER || !read_all(fd, header, length, MAGIC_BYTES))
        return refuse(path, "its header is not all there", err);
    header[length] = '\0';
    if (strncmp(header, start, strlen(start)) != 0 || header[strlen(start)] != '(' ||
        !read_shape(header + strlen(start), out))
        return refuse(path, "its header says something else", err);
    size_t bytes;
    out->offset = MAGIC_BYTES + length;
    if (!kh_mul(out->count, sizeof(float), &bytes) ||
        (uint64_t)info.st_size != out->offset + (uint64_t)bytes)
        return refuse(path, "shape and size of the file differ", err);
    return KH_OK;
}

static kh_status open_array(const char *path, int *fd, layout *out, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0)
        return kh_fail(err, errno == ENOENT ? KH_E_NOT_FOUND : KH_E_IO, "cannot read '%s': %s",
                       kh_shown(path, strlen(path), shown, sizeof shown), strerror(errno));
    const kh_status status = read_layout(*fd, path, out, err);
    if (status) (void)close(*fd);
    return status;
}

kh_status kh_store_npy_shape(const char *path, size_t shape[8], size_t *rank, kh_error *err) {
    int fd;
    layout l;
    KH_TRY(open_array(path, &fd, &l, err));
    (void)close(fd);
    memcpy(shape, l.shape, sizeof l.shape);
    *rank = l.rank;
    return KH_OK;
}

kh_status kh_store_npy_floats(const char *path, size_t first, size_t count, float *out,
                              kh_error *err) {
    int fd;
    layout l;
    KH_TRY(open_array(path, &fd, &l, err));
    kh_status status = KH_OK;
    if (first > l.count || count > l.count - first)
        status = kh_fail(err, KH_E_SHAPE, "elements %zu to %zu of an array of %zu", first,
                         first + count, l.count);
    else if (!read_all(fd, out, count * sizeof *out, l.offset + (uint64_t)first * sizeof *out))
        status = kh_fail(err, KH_E_IO, "cannot read an array: %s", strerror(errno));
    (void)close(fd);
    return status;
}
