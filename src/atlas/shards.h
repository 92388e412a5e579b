/* atlas/shards.h: the state files of a run directory and of others that belong to it. */
#ifndef KH_ATLAS_SHARDS_H
#define KH_ATLAS_SHARDS_H

#include "atlas/job.h"

typedef struct kh_shard {
    char *path;
    kh_state_head head;
} kh_shard;

typedef struct kh_shards {
    kh_shard *items;
    size_t count;
} kh_shards;

/* "shard-0003-of-0016.state": the name of a state, in name[0..length). */
bool kh_shard_is_name(const char *name, size_t length);

/* One process at a time does what this state is of: a locked file beside it, whose name is that of
 * a partial file, so that what a kill leaves of it is swept up. KH_E_ARG: another has it. *out: for
 * kh_shard_release, -1 where no file can be made. A file system without locks claims nothing. */
kh_status kh_shard_claim(const char *state, int *out, kh_error *err);
/* The file goes; *claim becomes -1, and is fine as such. */
void kh_shard_release(const char *state, int *claim);
/* Would a claim be refused now? Makes no file. */
kh_status kh_shard_check_free(const char *state, kh_error *err);

/* Heads of all states of <folder>/shards, by name; a folder without any adds none. */
kh_status kh_shards_list(const char *folder, kh_shards *shards, kh_error *err);
void kh_shards_clear(kh_shards *shards);

#endif
