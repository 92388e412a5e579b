/* support/hub_server.h: a model hub on 127.0.0.1 that can misbehave on request.
 *
 * Two ports, as in the real world: the hub answers lists and small files, and sends weights to a
 * second server by a redirect to a signed address. */
#ifndef KH_TEST_SUPPORT_HUB_SERVER_H
#define KH_TEST_SUPPORT_HUB_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct hub_server_file {
    const char *name;
    const void *bytes; /* borrowed */
    size_t count;
    size_t listed;       /* size in the list; 0: count */
    bool is_lfs;         /* weights: behind the redirect, listed with sha256 */
    const char *sha256;  /* of an LFS file, in list and X-Linked-ETag; NULL: neither */
    const char *blob_id; /* of a small file; NULL: none */
} hub_server_file;

typedef struct hub_server {
    /* set before start */
    const char *id;     /* "acme/tiny" */
    const char *commit; /* "" : none in the list */
    hub_server_file files[16];
    const char *token;    /* NULL: everyone may */
    const char *location; /* NULL; else every weight redirects there */

    /* misbehaviour; may change while running */
    atomic_int list_status;         /* 0: 200 */
    const char *_Atomic error_code; /* X-Error-Code beside list_status */
    atomic_int unavailable;         /* this many requests get 503 first */
    atomic_int cuts;                /* this many weight answers end early */
    atomic_int cut_bytes;           /* after this many bytes */
    atomic_int stall_bytes;         /* > 0: silence after this many bytes */
    atomic_int pause_ms;            /* between pieces of 4 KB */
    atomic_bool ignores_range;      /* 200 with everything */
    atomic_int wrong_ranges;        /* this many 206 begin elsewhere */
    atomic_bool hides_sums;         /* no sha256 in the list, X-Linked-ETag only */
    atomic_bool corrupts;           /* flips a bit of every weight file */
    atomic_bool loops;              /* weights redirect for ever */
    atomic_bool long_list;          /* 20 MB of list */

    /* what happened */
    atomic_int lists, smalls, weights;
    atomic_int ranges;      /* weight requests with a Range */
    atomic_long last_range; /* its first byte */
    atomic_int tokens_at_hub, tokens_at_store;
    atomic_int unknown; /* requests for things that do not exist */

    /* filled by start */
    unsigned hub_port, store_port;
    char endpoint[64];
    atomic_bool closing;
    void *hub, *store;
} hub_server;

bool hub_server_start(hub_server *server);
void hub_server_stop(hub_server *server);

#endif
