#define _POSIX_C_SOURCE 200809L
#include "atlas/shards.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/partial.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

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

/* ---- who does it --------------------------------------------------------------------------- */

/* No process has the number 0. */
static kh_status claim_path(const char *state, char out[KH_ATLAS_PATH], kh_error *err) {
    if (snprintf(out, KH_ATLAS_PATH, "%s.0.partial", state) < KH_ATLAS_PATH) return KH_OK;
    return kh_fail(err, KH_E_LIMIT, "the run directory's path is too long");
}

static kh_status refuse(const char *state, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG,
                   "another process is at work on '%s'; wait for it, or stop it: the same command "
                   "then goes on",
                   kh_shown(state, strlen(state), shown, sizeof shown));
}

/* Who sweeps a folder holds such a file for a moment, and takes it away: hence more than one try.
 */
static kh_status try_claim(const char *state, int flags, int *out, kh_error *err) {
    enum { TRIES = 20 };
    const struct timespec nap = {0, 10000000};
    char path[KH_ATLAS_PATH];
    *out = -1;
    KH_TRY(claim_path(state, path, err));
    for (size_t i = 0; i < TRIES; i++) {
        const int fd = open(path, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (fd < 0) return KH_OK;
        if (kh_partial_claim(fd)) {
            *out = fd;
            return KH_OK;
        }
        (void)close(fd);
        (void)nanosleep(&nap, NULL);
    }
    return refuse(state, err);
}

kh_status kh_shard_claim(const char *state, int *out, kh_error *err) {
    return try_claim(state, O_CREAT, out, err);
}

void kh_shard_release(const char *state, int *claim) {
    char path[KH_ATLAS_PATH];
    if (*claim < 0) return;
    if (!claim_path(state, path, NULL)) (void)unlink(path);
    (void)close(*claim);
    *claim = -1;
}

kh_status kh_shard_check_free(const char *state, kh_error *err) {
    int fd;
    KH_TRY(try_claim(state, 0, &fd, err));
    if (fd >= 0) (void)close(fd);
    return KH_OK;
}

/* ---- what is there ------------------------------------------------------------------------- */

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
