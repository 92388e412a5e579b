/* One sha256 over everything a run found out. */
#define _POSIX_C_SOURCE 200809L
#include "keyhole/atlas.h"

#include "atlas/job.h"
#include "base/alloc.h"
#include "base/file.h"
#include "io/sha256.h"
#include "keyhole/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool see(void *user, const void *bytes, size_t count) {
    return kh_sha256_add(user, bytes, count);
}

static kh_status add_file(kh_sha256 *sha, const char *path, const char *name, kh_error *err) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    kh_status status = KH_OK;
    if (fd < 0 || fstat(fd, &info) != 0)
        status = kh_fail(err, KH_E_IO, "cannot read '%s': %s", path, strerror(errno));
    else if (!kh_sha256_add(sha, name, strlen(name) + 1))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    else
        status = kh_sha256_add_file(sha, fd, (uint64_t)info.st_size, path, err);
    if (fd >= 0) (void)close(fd);
    return status;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static kh_status add_arrays(kh_sha256 *sha, const char *run, kh_error *err) {
    char path[KH_ATLAS_PATH];
    struct dirent **entries = NULL;
    KH_TRY(kh_atlas_path(path, err, run, "arrays"));
    const int count = scandir(path, &entries, NULL, by_bytes);
    if (count < 0) return kh_fail(err, KH_E_IO, "cannot read folder '%s'", path);
    kh_status status = KH_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        const size_t length = strlen(name);
        if (!status && length > 4 && strcmp(name + length - 4, ".npy") == 0) {
            status = kh_atlas_path(path, err, run, "arrays/%s", name);
            if (!status) status = add_file(sha, path, name, err);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

/* A dissection is a run of its own within the run whose thresholds it takes. */
static kh_status add_dissection(kh_sha256 *sha, const char *run, kh_error *err) {
    char path[KH_ATLAS_PATH], digest[65];
    KH_TRY(kh_atlas_path(path, err, run, "dissect/manifest.json"));
    if (!kh_file_exists(path)) return KH_OK;
    KH_TRY(kh_atlas_path(path, err, run, "dissect"));
    KH_TRY(kh_atlas_digest(path, digest, err));
    if (kh_sha256_add(sha, digest, strlen(digest))) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
}

kh_status kh_atlas_digest(const char *run, char out[65], kh_error *err) {
    char path[KH_ATLAS_PATH];
    KH_TRY(kh_atlas_path(path, err, run, "manifest.json"));
    if (!kh_file_exists(path))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "'%s' holds no complete run; run keyhole atlas to its end first", run);
    KH_TRY(kh_atlas_path(path, err, run, "run.sqlite"));
    kh_sha256 *sha = kh_sha256_create();
    if (!sha) return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_status status = kh_store_db_scan(path, see, sha, err);
    if (!status) status = add_arrays(sha, run, err);
    if (!status) status = add_dissection(sha, run, err);
    if (!status && !kh_sha256_finish(sha, out))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_sha256_free(sha);
    return status;
}

kh_status kh_atlas_thresholds(const char *run, float *out, size_t count, kh_error *err) {
    char path[KH_ATLAS_PATH];
    unsigned char *bytes = NULL;
    size_t size = 0;
    KH_TRY(kh_atlas_path(path, err, run, "manifest.json"));
    if (!kh_file_exists(path))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "'%s' holds no complete run; run keyhole atlas to its end first", run);
    KH_TRY(kh_atlas_path(path, err, run, "arrays/thresholds.npy"));
    KH_TRY(kh_file_read(path, (uint64_t)1 << 32, &bytes, &size, err));
    /* as kh_store_npy writes it: version 1.0, the header's length behind the magic */
    const size_t header = size >= 10 ? 10u + bytes[8] + 256u * bytes[9] : size;
    const bool fits = header <= size && size - header == count * sizeof *out;
    if (fits) memcpy(out, bytes + header, size - header);
    kh_free(bytes);
    if (fits) return KH_OK;
    return kh_fail(err, KH_E_SHAPE, "'%s' does not hold thresholds of %zu neurons", path, count);
}
