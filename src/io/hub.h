/* io/hub.h: the parts of a hub download; the public part is in keyhole/io.h.
 *
 *     hub.c        one pull from beginning to end
 *     hub_list.c   what the hub says it has, and what of it we want
 *     hub_file.c   one file: resume, check, rename
 *     hub_http.c   one request, its redirects and its limits
 *     hub_cache.c  names, folders, the marker of a complete model, the lock */
#ifndef KH_IO_HUB_H
#define KH_IO_HUB_H

#include <stdint.h>

#include "base/json.h"
#include "base/text.h"
#include "keyhole/io.h"

/* Patience and caps; tests shorten them. */
typedef struct kh_hub_tuning {
    long connect_ms;    /* for the connection */
    long stall_seconds; /* slower than stall_bytes a second for this long ends the transfer */
    long stall_bytes;
    unsigned retries;    /* failed attempts in a row that brought nothing */
    unsigned backoff_ms; /* first pause between attempts; doubles */
    kh_limits limits;
} kh_hub_tuning;

kh_hub_tuning kh_hub_tuning_default(void); /* 20 s, 30 s below 1 KB/s, 4 retries from 500 ms */

/* kh_hub_pull with its patience as an argument. */
kh_status kh_hub_pull_tuned(const char *id, const kh_hub_options *options,
                            const kh_hub_tuning *tuning, char *out, size_t out_bytes,
                            kh_error *err);

/* ---- hub_cache.c -------------------------------------------------------------------------------
 */

/* Appends the cache's folder: `given`, else $KEYHOLE_CACHE, $XDG_CACHE_HOME/keyhole or
 * ~/.cache/keyhole. KH_E_ARG when none is set. */
kh_status kh_cache_find(const char *given, kh_text *out, kh_error *err);

/* Options with every default filled in. Start with {0}; end with kh_hub_place_clear. */
typedef struct kh_hub_place {
    const char *id; /* borrowed */
    const char *revision;
    kh_text endpoint; /* no '/' at the end */
    kh_text folder;
} kh_hub_place;

kh_status kh_hub_place_init(kh_hub_place *place, const char *id, const kh_hub_options *options,
                            kh_error *err);
void kh_hub_place_clear(kh_hub_place *place);

/* "owner/name" in the hub's letters; anything else could escape from the cache or the address. */
bool kh_hub_id_valid(const char *id);
bool kh_hub_revision_valid(const char *revision);

/* ---- hub_list.c --------------------------------------------------------------------------------
 */

typedef struct kh_hub_file {
    char name[256];
    uint64_t bytes;
    char sha256[65];  /* "" when the hub gives none */
    char blob_id[41]; /* Git's sha1 of small files, "" when unknown */
} kh_hub_file;

/* The files of one commit that keyhole may want. Start with {0}; end with kh_hub_list_clear. */
typedef struct kh_hub_list {
    char commit[41]; /* "" when the hub gives none */
    kh_hub_file *files;
    size_t count;
    bool has_pickles; /* .bin, .pt, .pth, .npz */
} kh_hub_list;

kh_status kh_hub_list_parse(const char *bytes, size_t count, kh_hub_list *out, kh_error *err);
void kh_hub_list_clear(kh_hub_list *list);
const kh_hub_file *kh_hub_list_find(const kh_hub_list *list, const char *name);
/* The weights to take: one file, or the index of shards. NULL when there are none. */
const kh_hub_file *kh_hub_list_weights(const kh_hub_list *list);

#define KH_HUB_INDEX "model.safetensors.index.json"

/* The marker of a complete model, written last. */
kh_status kh_hub_marker_write(const kh_hub_place *place, const char *commit,
                              const kh_hub_file *const *files, size_t count, kh_error *err);
/* True when the marker is there and every file it names has the size it says. */
bool kh_hub_is_complete(const kh_hub_place *place);

/* ---- hub_http.c --------------------------------------------------------------------------------
 */

typedef struct kh_http kh_http;

typedef struct kh_http_reply {
    long code;              /* of the last hop */
    char error_code[64];    /* X-Error-Code */
    char linked_sha256[65]; /* X-Linked-ETag when the hub itself sent one that is a sha256 */
    bool has_range;
    uint64_t range_start, range_total; /* of Content-Range; total 0 when unknown */
    bool may_retry;                    /* after a failure: another attempt may do better */
} kh_http_reply;

/* Gets the body of a 200 or 206 in pieces; on failure returns it and stops the transfer. */
typedef kh_status (*kh_http_sink)(void *user, const kh_http_reply *reply,
                                  const unsigned char *bytes, size_t count, kh_error *err);
/* Called several times a second; false stops. */
typedef bool (*kh_http_tick)(void *user);

/* endpoint and token (or NULL) are borrowed; the token goes to the endpoint's origin only. */
kh_status kh_http_create(const char *endpoint, const char *token, const kh_hub_tuning *tuning,
                         kh_http_tick tick, void *tick_user, kh_http **out, kh_error *err);
void kh_http_free(kh_http *http);

/* GET, following redirects. KH_OK means that an answer came: look at reply->code. from > 0 asks for
 * the bytes from there on. */
kh_status kh_http_get(kh_http *http, const char *url, uint64_t from, kh_http_sink sink, void *user,
                      kh_http_reply *reply, kh_error *err);

/* Waits, ticking; KH_E_STOPPED when the tick says so. */
kh_status kh_http_pause(kh_http *http, unsigned ms, kh_error *err);

/* ---- hub_file.c --------------------------------------------------------------------------------
 */

/* Shared by all files of a pull. */
typedef struct kh_hub_transfer {
    kh_http *http;
    const kh_hub_place *place;
    const kh_hub_tuning *tuning;
    char commit[128]; /* goes into addresses */
    bool has_token;
    kh_progress_fn progress;
    void *progress_user;
    uint64_t done, total; /* bytes of all files */
    uint64_t told;        /* done at the last call of progress */
    int64_t told_ms;
} kh_hub_transfer;

/* Brings one file into the folder unless the right one is there. */
kh_status kh_hub_fetch(kh_hub_transfer *transfer, const kh_hub_file *file, kh_error *err);

/* What an HTTP status means for the person who asked for `what` ("the list of files"). */
kh_status kh_hub_refused(const kh_hub_transfer *transfer, const kh_http_reply *reply,
                         const char *what, kh_error *err);

#endif
