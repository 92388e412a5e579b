/* atlas/digest.h: what a run found out, as sha256: one of each table and array, one over these. */
#ifndef KH_ATLAS_DIGEST_H
#define KH_ATLAS_DIGEST_H

#include "atlas/job.h"
#include "keyhole/store.h"

typedef struct kh_digest_part {
    char name[160]; /* "table neurons", "array class_mean" */
    char sha256[65];
} kh_digest_part;

typedef struct kh_digest {
    kh_digest_part *parts; /* tables by name, then arrays by name */
    size_t count;
} kh_digest;

/* Of run.sqlite and arrays/ as they are on the disk. The caller clears, also after a failure. */
kh_status kh_digest_take(const char *run, kh_digest *out, kh_error *err);
void kh_digest_clear(kh_digest *digest);
/* Over names and digests of all parts and, unless it is "", the digest of a dissection. */
kh_status kh_digest_sum(const kh_digest *digest, const char *dissection, char out[65],
                        kh_error *err);

/* digest_check.c: the parts in a manifest, and are they still what the manifest says? So are the
 * counts of images and the checkpoint that both name. KH_E_FORMAT names those that differ. A
 * manifest without digests says nothing of the parts. */
void kh_digest_put(const kh_digest *digest, kh_manifest *manifest);
kh_status kh_digest_check(const kh_digest *digest, const char *run, kh_error *err);

#endif
