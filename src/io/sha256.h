/* io/sha256.h: digests of files, on OpenSSL (which uses the processor's own SHA instructions). */
#ifndef KH_IO_SHA256_H
#define KH_IO_SHA256_H

#include <stdint.h>

#include "base/status.h"

typedef struct kh_sha256 kh_sha256;

/* NULL when out of memory. Pair: kh_sha256_free. */
kh_sha256 *kh_sha256_create(void);
void kh_sha256_free(kh_sha256 *sha);
/* false when the library refuses, which it only does when out of memory */
bool kh_sha256_add(kh_sha256 *sha, const void *bytes, size_t count);
/* 64 lower-case hex digits plus NUL; the digest starts afresh. */
bool kh_sha256_finish(kh_sha256 *sha, char out[65]);

/* Feeds bytes [0, bytes) of an open file; KH_E_IO when it is shorter. `path` is for messages. */
kh_status kh_sha256_add_file(kh_sha256 *sha, int fd, uint64_t bytes, const char *path,
                             kh_error *err);

/* Git's name of a file's content: sha1 of "blob <bytes>\0" and the content, 40 hex digits. */
kh_status kh_git_blob_id(int fd, uint64_t bytes, const char *path, char out[41], kh_error *err);

#endif
