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

/* What begins with `text` and goes on with four digits or more: where that ends, or NULL. */
static const char *skip_number(const char *at, const char *end, const char *text) {
    enum { DIGITS = 4 };
    const size_t length = strlen(text);
    if ((size_t)(end - at) < length || memcmp(at, text, length) != 0) return NULL;
    const char *first = at + length;
    for (at = first; at < end && *at >= '0' && *at <= '9';)
        at++;
    return at - first >= DIGITS ? at : NULL;
}

bool kh_shard_is_name(const char *name, size_t length) {
    static const char ending[] = ".state";
    const char *end = name + length, *at = skip_number(name, end, "shard-");
    if (at) at = skip_number(at, end, "-of-");
    return at && (size_t)(end - at) == sizeof ending - 1 &&
           memcmp(at, ending, sizeof ending - 1) == 0;
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
        if (!status && kh_shard_is_name(name, strlen(name))) {
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
