#define _GNU_SOURCE /* syncfs */
#include "base/file.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/partial.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kh_status fail_io(kh_error *err, const char *verb, const char *path) {
    const int saved = errno;
    char shown[KH_SHOWN_BYTES * 2];
    return kh_fail(err, saved == ENOENT ? KH_E_NOT_FOUND : KH_E_IO, "cannot %s '%s': %s", verb,
                   kh_shown(path, strlen(path), shown, sizeof shown), strerror(saved));
}

static kh_status too_large(kh_error *err, const char *path, uint64_t max_bytes) {
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_LIMIT, "'%s' is larger than the limit of %llu bytes",
                   kh_shown(path, strlen(path), shown, sizeof shown),
                   (unsigned long long)max_bytes);
}

/* Reads to the end of fd; `guess` is the size the system reports (0 when unknown). */
static kh_status read_all(int fd, const char *path, uint64_t max_bytes, size_t guess,
                          unsigned char **out, size_t *out_bytes, kh_error *err) {
    size_t capacity = guess > 4096 ? guess + 2 : 4096; /* the end shows without growing */
    size_t used = 0;
    unsigned char *bytes = kh_realloc(NULL, capacity, 1);
    if (!bytes) return kh_fail(err, KH_E_MEMORY, "no memory for %zu bytes of a file", capacity);
    for (;;) {
        if (used + 1 >= capacity) {
            unsigned char *grown =
                kh_mul(capacity, 2, &capacity) ? kh_realloc(bytes, capacity, 1) : NULL;
            if (!grown) {
                kh_free(bytes);
                return kh_fail(err, KH_E_MEMORY, "no memory for %zu bytes of a file", capacity);
            }
            bytes = grown;
        }
        const ssize_t got = read(fd, bytes + used, capacity - used - 1);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            kh_free(bytes);
            return fail_io(err, "read", path);
        }
        if (got == 0) break;
        used += (size_t)got;
        if (used > max_bytes) {
            kh_free(bytes);
            return too_large(err, path, max_bytes);
        }
    }
    bytes[used] = 0;
    *out = bytes;
    *out_bytes = used;
    return KH_OK;
}

kh_status kh_file_read(const char *path, uint64_t max_bytes, unsigned char **out, size_t *out_bytes,
                       kh_error *err) {
    *out = NULL;
    *out_bytes = 0;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail_io(err, "open", path);
    struct stat info;
    kh_status status;
    if (fstat(fd, &info) != 0) {
        status = fail_io(err, "look at", path);
    } else if (S_ISDIR(info.st_mode)) {
        errno = EISDIR;
        status = fail_io(err, "read", path);
    } else if (S_ISREG(info.st_mode) && (uint64_t)info.st_size > max_bytes) {
        status = too_large(err, path, max_bytes);
    } else {
        const size_t guess = S_ISREG(info.st_mode) ? (size_t)info.st_size : 0;
        status = read_all(fd, path, max_bytes, guess, out, out_bytes, err);
    }
    (void)close(fd);
    return status;
}

static kh_status write_all(int fd, const char *path, const void *bytes, size_t count,
                           kh_error *err) {
    const unsigned char *p = bytes;
    while (count) {
        const ssize_t put = write(fd, p, count);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_io(err, "write", path);
        p += put;
        count -= (size_t)put;
    }
    return KH_OK;
}

kh_status kh_file_begin(kh_file_writer *writer, const char *path, kh_error *err) {
    static atomic_uint serial; /* threads may write the same path; the last rename wins */
    *writer = (kh_file_writer){.fd = -1};
    struct stat info;
    const bool in_place =
        stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
    writer->path = kh_strdup(path);
    if (!writer->path) return kh_fail(err, KH_E_MEMORY, "no memory for a file name");
    if (in_place) writer->fd = open(path, O_WRONLY | O_CLOEXEC);
    /* O_EXCL: in a folder that others may write to, the name could be theirs, or a link of theirs
     */
    for (unsigned tries = 0; !in_place && tries < 100; tries++) {
        kh_text partial = {0};
        kh_text_addf(&partial, "%s.%ld.%u.partial", path, (long)getpid(),
                     atomic_fetch_add(&serial, 1u));
        if (partial.failed) {
            kh_text_clear(&partial);
            kh_free(writer->path);
            writer->path = NULL;
            return kh_fail(err, KH_E_MEMORY, "no memory for a file name");
        }
        writer->fd = open(partial.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (writer->fd >= 0 && kh_partial_claim(writer->fd)) {
            writer->partial = partial.data;
            break;
        }
        const int saved = writer->fd >= 0 ? EEXIST : errno;
        if (writer->fd >= 0) (void)close(writer->fd);
        writer->fd = -1;
        kh_text_clear(&partial);
        errno = saved;
        if (errno != EEXIST) break;
    }
    if (writer->fd >= 0) return KH_OK;
    const kh_status status = fail_io(err, in_place ? "open" : "create", path);
    (void)kh_file_end(writer, false, NULL);
    return status;
}

kh_status kh_file_put(kh_file_writer *writer, const void *bytes, size_t count, kh_error *err) {
    return write_all(writer->fd, writer->path, bytes, count, err);
}

kh_status kh_file_end(kh_file_writer *writer, bool keep, kh_error *err) {
    kh_status status = KH_OK;
    if (writer->fd >= 0) {
        const char *path = writer->path;
        const int claim = dup(writer->fd); /* nobody removes it before it has its name */
        if (keep && writer->partial && !writer->is_lazy && fsync(writer->fd) != 0 &&
            errno != EINVAL)
            status = fail_io(err, "flush", path);
        if (close(writer->fd) != 0 && keep && !status) status = fail_io(err, "close", path);
        if (writer->partial && keep && !status && rename(writer->partial, path) != 0)
            status = fail_io(err, "replace", path);
        if (writer->partial && (!keep || status)) (void)unlink(writer->partial);
        if (claim >= 0) (void)close(claim);
    }
    kh_free(writer->partial);
    kh_free(writer->path);
    *writer = (kh_file_writer){.fd = -1};
    return status;
}

static kh_status write_whole(const char *path, const void *bytes, size_t count, bool is_lazy,
                             kh_error *err) {
    kh_file_writer writer;
    KH_TRY(kh_file_begin(&writer, path, err));
    writer.is_lazy = is_lazy;
    const kh_status put = kh_file_put(&writer, bytes, count, err);
    const kh_status end = kh_file_end(&writer, !put, put ? NULL : err);
    return put ? put : end;
}

kh_status kh_file_write(const char *path, const void *bytes, size_t count, kh_error *err) {
    return write_whole(path, bytes, count, false, err);
}

kh_status kh_file_write_lazy(const char *path, const void *bytes, size_t count, kh_error *err) {
    return write_whole(path, bytes, count, true, err);
}

kh_status kh_folder_flush(const char *folder, kh_error *err) {
#ifdef __linux__
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_io(err, "open", folder);
    const kh_status status = syncfs(fd) == 0 ? KH_OK : fail_io(err, "flush", folder);
    (void)close(fd);
    return status;
#else
    (void)folder;
    (void)err;
    sync();
    return KH_OK;
#endif
}

kh_status kh_make_directories(const char *path, kh_error *err) {
    char *copy = kh_strdup(path);
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    kh_status status = KH_OK;
    for (char *p = copy + 1; *copy && !status; p++) {
        if (*p != '/' && *p != '\0') continue;
        const char saved = *p;
        *p = '\0';
        if (mkdir(copy, 0777) != 0 && errno != EEXIST) status = fail_io(err, "create folder", path);
        *p = saved;
        if (saved == '\0') break;
    }
    if (!status && !kh_is_directory(path)) {
        errno = ENOTDIR;
        status = fail_io(err, "create folder", path);
    }
    kh_free(copy);
    return status;
}

bool kh_file_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool kh_is_directory(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

char *kh_path_join(const char *directory, const char *name) {
    kh_text path = {0};
    kh_text_add(&path, directory);
    if (path.length && path.data[path.length - 1] != '/') kh_text_add(&path, "/");
    kh_text_add(&path, name);
    if (path.failed) kh_text_clear(&path);
    return path.data;
}

const char *kh_path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
