#define _POSIX_C_SOURCE 200809L
#include "atlas/shards.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static kh_status add(kh_shards *shards, const char *path, kh_error *err) {
    kh_shard *grown = kh_realloc(shards->items, shards->count + 1, sizeof *grown);
    if (grown) shards->items = grown;
    char *copy = grown ? kh_strdup(path) : NULL;
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory to list shards");
    kh_shard *shard = &shards->items[shards->count++];
    *shard = (kh_shard){.path = copy};
    return kh_state_read_head(path, &shard->head, err);
}

kh_status kh_shards_list(const char *folder, kh_shards *shards, kh_error *err) {
    char path[KH_ATLAS_PATH];
    struct dirent **entries = NULL;
    KH_TRY(kh_atlas_path(path, err, folder, "shards"));
    if (!kh_is_directory(path)) return KH_OK;
    const int count = scandir(path, &entries, NULL, by_bytes);
    if (count < 0) return kh_fail(err, KH_E_IO, "cannot read folder '%s'", path);
    kh_status status = KH_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (!status && kh_ends_with(name, ".state")) {
            status = kh_atlas_path(path, err, folder, "shards/%s", name);
            if (!status) status = add(shards, path, err);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

void kh_shards_clear(kh_shards *shards) {
    for (size_t i = 0; i < shards->count; i++) {
        kh_free(shards->items[i].path);
        kh_state_head_clear(&shards->items[i].head);
    }
    kh_free(shards->items);
    *shards = (kh_shards){0};
}
