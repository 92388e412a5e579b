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

/* Heads of all states of <folder>/shards, by name; a folder without any adds none. */
kh_status kh_shards_list(const char *folder, kh_shards *shards, kh_error *err);
void kh_shards_clear(kh_shards *shards);

#endif
