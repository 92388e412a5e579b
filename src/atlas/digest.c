/* sha256 over everything a run found out. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/digest.h"

#include "base/alloc.h"
#include "base/file.h"
#include "io/sha256.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takes one part after the other. */
typedef struct taker {
    kh_digest *digest;
    kh_sha256 *sha;
    bool is_open; /* the last part has not got its digest yet */
} taker;

static bool end_part(taker *t) {
    const bool was_open = t->is_open;
    t->is_open = false;
    return !was_open || kh_sha256_finish(t->sha, t->digest->parts[t->digest->count - 1].sha256);
}

static bool begin_part(taker *t, const char *kind, const char *name, size_t length) {
    kh_digest *d = t->digest;
    if (!end_part(t)) return false;
    kh_digest_part *grown = kh_realloc(d->parts, d->count + 1, sizeof *grown);
    if (!grown) return false;
    d->parts = grown;
    kh_digest_part *part = &grown[d->count++];
    *part = (kh_digest_part){.sha256 = ""};
    (void)snprintf(part->name, sizeof part->name, "%s %.*s", kind, (int)length, name);
    t->is_open = true;
    return true;
}

static bool begin_table(void *user, const char *name) {
    return begin_part(user, "table", name, strlen(name));
}

static bool see(void *user, const void *bytes, size_t count) {
    return kh_sha256_add(((taker *)user)->sha, bytes, count);
}

static kh_status no_memory(kh_error *err) {
    return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
}

static kh_status add_file(taker *t, const char *path, kh_error *err) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    kh_status status = KH_OK;
    if (fd < 0 || fstat(fd, &info) != 0)
        status = kh_fail(err, KH_E_IO, "cannot read '%s': %s", path, strerror(errno));
    else
        status = kh_sha256_add_file(t->sha, fd, (uint64_t)info.st_size, path, err);
    if (fd >= 0) (void)close(fd);
    return status;
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static kh_status add_arrays(taker *t, const char *run, kh_error *err) {
    char path[KH_ATLAS_PATH];
    struct dirent **entries = NULL;
    KH_TRY(kh_atlas_path(path, err, run, "arrays"));
    const int count = scandir(path, &entries, NULL, by_bytes);
    if (count < 0) return kh_fail(err, KH_E_IO, "cannot read folder '%s'", path);
    kh_status status = KH_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        const size_t length = strlen(name);
        if (!status && length > 4 && strcmp(name + length - 4, ".npy") == 0 &&
            kh_lens_knows_array(name, length - 4)) { /* others are somebody's */
            if (!begin_part(t, "array", name, length - 4)) status = no_memory(err);
            if (!status) status = kh_atlas_path(path, err, run, "arrays/%s", name);
            if (!status) status = add_file(t, path, err);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

kh_status kh_digest_take(const char *run, kh_digest *out, kh_error *err) {
    char path[KH_ATLAS_PATH];
    *out = (kh_digest){0};
    KH_TRY(kh_atlas_path(path, err, run, "run.sqlite"));
    taker t = {.digest = out, .sha = kh_sha256_create()};
    if (!t.sha) return no_memory(err);
    kh_status status = kh_store_db_scan(path, begin_table, see, &t, err);
    if (!status) status = add_arrays(&t, run, err);
    if (!status && !end_part(&t)) status = no_memory(err);
    kh_sha256_free(t.sha);
    return status;
}

void kh_digest_clear(kh_digest *digest) {
    kh_free(digest->parts);
    *digest = (kh_digest){0};
}

kh_status kh_digest_sum(const kh_digest *digest, const char *dissection, char out[65],
                        kh_error *err) {
    kh_sha256 *sha = kh_sha256_create();
    bool ok = sha != NULL;
    for (size_t i = 0; i < digest->count && ok; i++) {
        const kh_digest_part *part = &digest->parts[i];
        ok = kh_sha256_add(sha, part->name, strlen(part->name) + 1) &&
             kh_sha256_add(sha, part->sha256, sizeof part->sha256);
    }
    ok = ok && kh_sha256_add(sha, dissection, strlen(dissection)) && kh_sha256_finish(sha, out);
    kh_sha256_free(sha);
    return ok ? KH_OK : no_memory(err);
}

/* A dissection is a run of its own within the run whose thresholds it takes. */
static kh_status of_dissection(const char *run, char out[65], kh_error *err) {
    char path[KH_ATLAS_PATH];
    out[0] = '\0';
    KH_TRY(kh_atlas_path(path, err, run, "dissect/manifest.json"));
    if (!kh_file_exists(path)) return KH_OK;
    KH_TRY(kh_atlas_path(path, err, run, "dissect"));
    return kh_atlas_digest(path, out, err);
}

kh_status kh_atlas_digest(const char *run, char out[65], kh_error *err) {
    char path[KH_ATLAS_PATH], dissection[65];
    kh_digest digest;
    KH_TRY(kh_atlas_path(path, err, run, "manifest.json"));
    if (!kh_file_exists(path))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "'%s' holds no complete run; run keyhole atlas to its end first", run);
    kh_status status = kh_digest_take(run, &digest, err);
    if (!status) status = kh_digest_check(&digest, run, err);
    if (!status) status = of_dissection(run, dissection, err);
    if (!status) status = kh_digest_sum(&digest, dissection, out, err);
    kh_digest_clear(&digest);
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
