#define _POSIX_C_SOURCE 200809L
#include "base/file.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
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
    size_t capacity = guess + 1 > 4096 ? guess + 1 : 4096;
    size_t used = 0;
    unsigned char *bytes = kh_realloc(NULL, capacity, 1);
    if (!bytes)
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu bytes of a file", capacity);
    for (;;) {
        if (used + 1 >= capacity) {
            unsigned char *grown = kh_mul(capacity, 2, &capacity) ? kh_realloc(bytes, capacity, 1)
                                                                  : NULL;
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

static kh_status write_in_place(const char *path, const void *bytes, size_t count, kh_error *err) {
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return fail_io(err, "open", path);
    kh_status status = write_all(fd, path, bytes, count, err);
    if (close(fd) != 0 && !status) status = fail_io(err, "write", path);
    return status;
}

kh_status kh_file_write(const char *path, const void *bytes, size_t count, kh_error *err) {
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return write_in_place(path, bytes, count, err);
    kh_text partial = {0};
    kh_text_addf(&partial, "%s.%ld.partial", path, (long)getpid());
    if (partial.failed) {
        kh_text_clear(&partial);
        return kh_fail(err, KH_E_MEMORY, "no memory for a file name");
    }
    kh_status status = KH_OK;
    const int fd = open(partial.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0) {
        status = fail_io(err, "create", path);
    } else {
        status = write_all(fd, path, bytes, count, err);
        if (!status && fsync(fd) != 0 && errno != EINVAL) status = fail_io(err, "flush", path);
        if (close(fd) != 0 && !status) status = fail_io(err, "close", path);
        if (!status && rename(partial.data, path) != 0) status = fail_io(err, "replace", path);
        if (status) (void)unlink(partial.data);
    }
    kh_text_clear(&partial);
    return status;
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
