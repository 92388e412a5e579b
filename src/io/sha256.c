#define _POSIX_C_SOURCE 200809L
#include "io/sha256.h"

#include "base/alloc.h"
#include "base/text.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Large enough to hide the system calls, small enough to stay in the second-level cache. */
#define CHUNK_BYTES ((size_t)256 << 10)

struct kh_sha256 {
    EVP_MD_CTX *digest;
};

kh_sha256 *kh_sha256_create(void) {
    kh_sha256 *sha = kh_calloc(1, sizeof *sha);
    if (!sha) return NULL;
    sha->digest = EVP_MD_CTX_new();
    if (!sha->digest || EVP_DigestInit_ex(sha->digest, EVP_sha256(), NULL) != 1) {
        kh_sha256_free(sha);
        return NULL;
    }
    return sha;
}

void kh_sha256_free(kh_sha256 *sha) {
    if (!sha) return;
    EVP_MD_CTX_free(sha->digest);
    kh_free(sha);
}

bool kh_sha256_add(kh_sha256 *sha, const void *bytes, size_t count) {
    return EVP_DigestUpdate(sha->digest, bytes, count) == 1;
}

static void to_hex(const unsigned char *bytes, size_t count, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

bool kh_sha256_finish(kh_sha256 *sha, char out[65]) {
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int count = 0;
    if (EVP_DigestFinal_ex(sha->digest, bytes, &count) != 1 || count != 32) return false;
    to_hex(bytes, 32, out);
    return EVP_DigestInit_ex(sha->digest, EVP_sha256(), NULL) == 1;
}

static kh_status add_file(EVP_MD_CTX *digest, int fd, uint64_t bytes, const char *path,
                          kh_error *err) {
    unsigned char *chunk = kh_realloc(NULL, CHUNK_BYTES, 1);
    if (!chunk) return kh_fail(err, KH_E_MEMORY, "no memory to read a file for its digest");
    kh_status status = KH_OK;
    char shown[KH_SHOWN_BYTES];
    for (uint64_t at = 0; at < bytes && !status;) {
        const size_t want = bytes - at < CHUNK_BYTES ? (size_t)(bytes - at) : CHUNK_BYTES;
        const ssize_t got = pread(fd, chunk, want, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            status = kh_fail(err, KH_E_IO, "cannot read '%s': %s",
                             kh_shown(path, strlen(path), shown, sizeof shown), strerror(errno));
        } else if (got == 0) {
            status = kh_fail(err, KH_E_IO, "'%s' became shorter while it was read",
                             kh_shown(path, strlen(path), shown, sizeof shown));
        } else if (EVP_DigestUpdate(digest, chunk, (size_t)got) != 1) {
            status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
        } else {
            at += (uint64_t)got;
        }
    }
    kh_free(chunk);
    return status;
}

kh_status kh_sha256_add_file(kh_sha256 *sha, int fd, uint64_t bytes, const char *path,
                             kh_error *err) {
    return add_file(sha->digest, fd, bytes, path, err);
}

kh_status kh_git_blob_id(int fd, uint64_t bytes, const char *path, char out[41], kh_error *err) {
    char head[32];
    const int head_bytes = snprintf(head, sizeof head, "blob %llu", (unsigned long long)bytes);
    unsigned char id[EVP_MAX_MD_SIZE];
    unsigned int count = 0;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    kh_status status = KH_OK;
    if (!digest || EVP_DigestInit_ex(digest, EVP_sha1(), NULL) != 1 ||
        EVP_DigestUpdate(digest, head, (size_t)head_bytes + 1) != 1) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
        goto done;
    }
    KH_GO(add_file(digest, fd, bytes, path, err));
    if (EVP_DigestFinal_ex(digest, id, &count) != 1 || count != 20)
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    else
        to_hex(id, 20, out);
done:
    EVP_MD_CTX_free(digest);
    return status;
}
