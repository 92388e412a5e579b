#define _POSIX_C_SOURCE 200809L
#include "io/hub.h"

#include "base/alloc.h"
#include "base/file.h"
#include "io/sha256.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ATTEMPTS 100

/* A file on its way. Its partial file is named after its content, so what is resumed is the same.
 */
typedef struct part {
    kh_hub_transfer *transfer;
    const kh_hub_file *file;
    char sha256[65]; /* expected; from the list or, failing that, from the hub's answer */
    char *path, *partial;
    int fd;
    uint64_t have;
    bool begun;   /* this answer has brought bytes */
    bool restart; /* what we have cannot be continued */
} part;

static const char *show(const char *text, char out[KH_SHOWN_BYTES]) {
    return kh_shown(text, strlen(text), out, KH_SHOWN_BYTES);
}

static kh_status fail_write(const part *p, kh_error *err) {
    const int saved = errno;
    char shown[KH_SHOWN_BYTES];
    (void)show(p->partial, shown);
    if (saved == ENOSPC || saved == EDQUOT || saved == EFBIG)
        return kh_fail(err, KH_E_IO,
                       "cannot write '%s': %s; what arrived is kept: make room for %llu more bytes "
                       "and pull again",
                       shown, strerror(saved), (unsigned long long)(p->file->bytes - p->have));
    return kh_fail(err, KH_E_IO, "cannot write '%s': %s", shown, strerror(saved));
}

static kh_status start_over(part *p, kh_error *err) {
    p->transfer->done -= p->have;
    p->have = 0;
    return ftruncate(p->fd, 0) == 0 ? KH_OK : fail_write(p, err);
}

/* Looks at the first bytes of an answer: do they continue what we have? */
static kh_status begin_answer(part *p, const kh_http_reply *reply, kh_error *err) {
    p->begun = true;
    if (reply->code == 200) return p->have ? start_over(p, err) : KH_OK;
    if (reply->has_range && reply->range_start == p->have &&
        (reply->range_total == 0 || reply->range_total == p->file->bytes))
        return KH_OK;
    p->restart = true;
    return kh_fail(err, KH_E_NETWORK, "the hub answered with other bytes of '%s' than asked for",
                   p->file->name);
}

static kh_status take_bytes(void *user, const kh_http_reply *reply, const unsigned char *bytes,
                            size_t count, kh_error *err) {
    part *p = user;
    if (!p->begun) KH_TRY(begin_answer(p, reply, err));
    if (count > p->file->bytes - p->have)
        return kh_fail(err, KH_E_FORMAT, "'%s' is longer than the %llu bytes the hub lists",
                       p->file->name, (unsigned long long)p->file->bytes);
    while (count) {
        const ssize_t put = pwrite(p->fd, bytes, count, (off_t)p->have);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return fail_write(p, err);
        bytes += put;
        count -= (size_t)put;
        p->have += (uint64_t)put;
        p->transfer->done += (uint64_t)put;
    }
    return KH_OK;
}

kh_status kh_hub_refused(const kh_hub_transfer *transfer, const kh_http_reply *reply,
                         const char *what, kh_error *err) {
    const kh_hub_place *place = transfer->place;
    const char *endpoint = place->endpoint.data;
    if (strcmp(reply->error_code, "GatedRepo") == 0)
        return kh_fail(err, KH_E_NETWORK,
                       "model '%s' is gated: accept its terms at %s/%s, then set HF_TOKEN to your "
                       "token",
                       place->id, endpoint, place->id);
    if (reply->code == 404 && strcmp(reply->error_code, "RevisionNotFound") == 0)
        return kh_fail(err, KH_E_NOT_FOUND, "model '%s' at %s has no revision '%s'", place->id,
                       endpoint, place->revision);
    if (reply->code == 404)
        return kh_fail(err, KH_E_NOT_FOUND,
                       "no such model or private: '%s' at %s (HTTP 404 for %s); check the name%s",
                       place->id, endpoint, what,
                       transfer->has_token ? "" : ", or set HF_TOKEN to a token that may read it");
    if (reply->code == 401 || reply->code == 403)
        return kh_fail(err, KH_E_NETWORK, "%s '%s' at %s (HTTP %ld for %s); %s",
                       transfer->has_token ? "the token may not read model"
                                           : "no such model, or it needs a token:",
                       place->id, endpoint, reply->code, what,
                       transfer->has_token ? "check HF_TOKEN and the model's name"
                                           : "check the name, or set HF_TOKEN");
    return kh_fail(err, KH_E_NETWORK, "%s answered HTTP %ld for %s%s", endpoint, reply->code, what,
                   reply->code == 429   ? "; it asks to come back later"
                   : reply->code >= 500 ? "; the trouble is on its side, try again later"
                                        : "");
}

/* ---- checking ----------------------------------------------------------------------------------
 */

/* The file's own sum in the strongest form that the hub gave; "" when it gave none. */
static kh_status sum_of(const part *p, int fd, const char *path, char out[65], kh_error *err) {
    out[0] = '\0';
    if (!p->sha256[0] && !p->file->blob_id[0]) return KH_OK;
    if (!p->sha256[0]) return kh_git_blob_id(fd, p->file->bytes, path, out, err);
    kh_sha256 *sha = kh_sha256_create();
    if (!sha) return kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_status status = kh_sha256_add_file(sha, fd, p->file->bytes, path, err);
    if (!status && !kh_sha256_finish(sha, out))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    kh_sha256_free(sha);
    return status;
}

static const char *expected_sum(const part *p) {
    return p->sha256[0] ? p->sha256 : p->file->blob_id;
}

/* The right file is in place already. */
static bool is_there(const part *p) {
    if (!expected_sum(p)[0]) return false;
    const int fd = open(p->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    struct stat info;
    char sum[65];
    const bool right = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) &&
                       (uint64_t)info.st_size == p->file->bytes &&
                       sum_of(p, fd, p->path, sum, NULL) == KH_OK &&
                       strcmp(sum, expected_sum(p)) == 0;
    (void)close(fd);
    return right;
}

static kh_status open_partial(part *p, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    p->fd = open(p->partial, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    struct stat info;
    if (p->fd < 0 || fstat(p->fd, &info) != 0)
        return kh_fail(err, KH_E_IO, "cannot create '%s': %s", show(p->partial, shown),
                       strerror(errno));
    p->have = (uint64_t)info.st_size;
    p->transfer->done += p->have;
    /* without a sum we could not tell what an old piece belongs to */
    if (p->have > p->file->bytes || !expected_sum(p)[0]) return start_over(p, err);
    return KH_OK;
}

/* ---- transfer ----------------------------------------------------------------------------------
 */

/* One request; sets reply->may_retry when another may do better. */
static kh_status attempt(part *p, const char *url, kh_http_reply *reply, kh_error *err) {
    p->begun = p->restart = false;
    kh_status status = kh_http_get(p->transfer->http, url, p->have, take_bytes, p, reply, err);
    if (!p->sha256[0] && reply->linked_sha256[0])
        memcpy(p->sha256, reply->linked_sha256, sizeof p->sha256);
    if (!status && (reply->code == 200 || reply->code == 206)) {
        if (p->have == p->file->bytes) return KH_OK;
        reply->may_retry = true;
        return kh_fail(err, KH_E_NETWORK, "the transfer of '%s' ended after %llu of %llu bytes",
                       p->file->name, (unsigned long long)p->have,
                       (unsigned long long)p->file->bytes);
    }
    if (!status) {
        status = kh_hub_refused(p->transfer, reply, p->file->name, err);
        reply->may_retry = reply->code == 408 || reply->code == 429 || reply->code >= 500;
        p->restart = reply->code == 416;
    }
    if (p->restart) {
        reply->may_retry = true;
        const kh_status cleared = start_over(p, NULL);
        if (cleared) return cleared;
    }
    return status;
}

static kh_status transfer_all(part *p, const char *url, kh_error *err) {
    const kh_hub_tuning *tuning = p->transfer->tuning;
    unsigned failures = 0;
    for (unsigned tries = 1; p->have < p->file->bytes; tries++) {
        kh_http_reply reply;
        const uint64_t before = p->have;
        const kh_status status = attempt(p, url, &reply, err);
        if (!status) break;
        if (p->have > before) failures = 0;
        if (!reply.may_retry || failures >= tuning->retries || tries >= MAX_ATTEMPTS) return status;
        KH_TRY(kh_http_pause(p->transfer->http, tuning->backoff_ms << (failures < 6 ? failures : 6),
                             err));
        failures++;
    }
    return KH_OK;
}

/* Flushes, compares, renames. A wrong file is removed: nobody should resume it. */
static kh_status finish(part *p, bool *mismatch, kh_error *err) {
    char sum[65], shown[KH_SHOWN_BYTES];
    *mismatch = false;
    if (fsync(p->fd) != 0 && errno != EINVAL) return fail_write(p, err);
    KH_TRY(sum_of(p, p->fd, p->partial, sum, err));
    if (strcmp(sum, expected_sum(p)) != 0) {
        *mismatch = true;
        return kh_fail(err, KH_E_FORMAT,
                       "checksum mismatch of '%s': got %s, the hub lists %s; the download was "
                       "removed, pull again",
                       p->file->name, sum, expected_sum(p));
    }
    if (rename(p->partial, p->path) != 0)
        return kh_fail(err, KH_E_IO, "cannot replace '%s': %s", show(p->path, shown),
                       strerror(errno));
    return KH_OK;
}

static kh_status make_names(part *p, kh_text *url, kh_error *err) {
    const kh_hub_place *place = p->transfer->place;
    const char *sum = expected_sum(p);
    kh_text partial = {0};
    kh_text_addf(&partial, "%s/%s.%.16s.partial", place->folder.data, p->file->name,
                 sum[0] ? sum : "unknown");
    kh_text_addf(url, "%s/%s/resolve/%s/%s", place->endpoint.data, place->id, p->transfer->commit,
                 p->file->name);
    p->partial = partial.data;
    p->path = kh_path_join(place->folder.data, p->file->name);
    if (partial.failed || url->failed || !p->path)
        return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    return KH_OK;
}

kh_status kh_hub_fetch(kh_hub_transfer *transfer, const kh_hub_file *file, kh_error *err) {
    part p = {.transfer = transfer, .file = file, .fd = -1};
    memcpy(p.sha256, file->sha256, sizeof p.sha256);
    kh_text url = {0};
    kh_status status;
    KH_GO(make_names(&p, &url, err));
    if (is_there(&p)) {
        transfer->done += file->bytes;
        goto done;
    }
    KH_GO(open_partial(&p, err));
    bool resumed = p.have > 0, mismatch = false;
    do {
        KH_GO(transfer_all(&p, url.data, err));
        status = finish(&p, &mismatch, err);
        /* a resumed file may have begun badly: once more, from its first byte */
        if (!mismatch || !resumed) break;
        resumed = false;
        KH_GO(start_over(&p, err));
    } while (true);
    if (mismatch) (void)unlink(p.partial);
done:
    if (p.fd >= 0) (void)close(p.fd);
    kh_free(p.partial);
    kh_free(p.path);
    kh_text_clear(&url);
    return status;
}
