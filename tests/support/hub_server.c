#define _DEFAULT_SOURCE
#include "support/hub_server.h"

#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One answer on its way. */
typedef struct answer {
    hub_server *server;
    const hub_server_file *file;
    size_t from;
    size_t cut; /* SIZE_MAX: whole */
} answer;

static void sleep_ms(int ms) {
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};
    (void)nanosleep(&pause, NULL);
}

static ssize_t read_answer(void *user, uint64_t at, char *out, size_t room) {
    const answer *a = user;
    hub_server *s = a->server;
    const size_t start = a->from + (size_t)at;
    const int stall = atomic_load(&s->stall_bytes);
    if (a->file->is_lfs && stall > 0 && start >= (size_t)stall) {
        while (!atomic_load(&s->closing))
            sleep_ms(20);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (start >= a->cut) return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t count = a->file->count - start;
    if (count > room) count = room;
    if (count > 4096) count = 4096;
    if (count > a->cut - start) count = a->cut - start;
    if (a->file->is_lfs) sleep_ms(atomic_load(&s->pause_ms));
    memcpy(out, (const char *)a->file->bytes + start, count);
    if (a->file->is_lfs && atomic_load(&s->corrupts) && start == 0) out[0] ^= 1;
    return (ssize_t)count;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status,
                                 const char *text, const char *header, const char *value) {
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (header) (void)MHD_add_response_header(response, header, value);
    const enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_file(hub_server *s, struct MHD_Connection *connection,
                                 const hub_server_file *file) {
    const char *range = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Range");
    unsigned long from = 0;
    if (range && !atomic_load(&s->ignores_range)) (void)sscanf(range, "bytes=%lu-", &from);
    if (file->is_lfs && range) {
        unsigned long asked = 0;
        (void)sscanf(range, "bytes=%lu-", &asked);
        atomic_fetch_add(&s->ranges, 1);
        atomic_store(&s->last_range, (long)asked);
    }
    if (from >= file->count && from > 0)
        return send_text(connection, MHD_HTTP_RANGE_NOT_SATISFIABLE, "", NULL, NULL);
    if (from && atomic_load(&s->wrong_ranges) > 0) {
        atomic_fetch_sub(&s->wrong_ranges, 1);
        from = from > 10 ? from - 10 : 0;
    }
    answer *a = malloc(sizeof *a);
    *a = (answer){.server = s, .file = file, .from = from, .cut = SIZE_MAX};
    if (file->is_lfs && atomic_load(&s->cuts) > 0) {
        atomic_fetch_sub(&s->cuts, 1);
        a->cut = from + (size_t)atomic_load(&s->cut_bytes);
    }
    struct MHD_Response *response =
        MHD_create_response_from_callback(file->count - from, 4096, read_answer, a, free);
    char text[96];
    (void)snprintf(text, sizeof text, "bytes %lu-%zu/%zu", from, file->count - 1, file->count);
    const bool partial = range && !atomic_load(&s->ignores_range);
    if (partial) (void)MHD_add_response_header(response, "Content-Range", text);
    const enum MHD_Result result =
        MHD_queue_response(connection, partial ? MHD_HTTP_PARTIAL_CONTENT : MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result send_list(hub_server *s, struct MHD_Connection *connection) {
    atomic_fetch_add(&s->lists, 1);
    const int status = atomic_load(&s->list_status);
    const char *code = atomic_load(&s->error_code);
    if (status)
        return send_text(connection, (unsigned)status, "{\"error\":\"no\"}",
                         code ? "X-Error-Code" : NULL, code);
    const size_t room = atomic_load(&s->long_list) ? 20000000 : 65536;
    char *text = malloc(room + 1);
    size_t at =
        (size_t)snprintf(text, room, "{\"id\":\"%s\",%s%s%s\"private\":false,\"siblings\":[", s->id,
                         s->commit[0] ? "\"sha\":\"" : "", s->commit, s->commit[0] ? "\"," : "");
    for (size_t i = 0; s->files[i].name; i++) {
        const hub_server_file *f = &s->files[i];
        const size_t listed = f->listed ? f->listed : f->count;
        at += (size_t)snprintf(text + at, room - at, "%s{\"rfilename\":\"%s\",\"size\":%zu",
                               i ? "," : "", f->name, listed);
        if (f->blob_id && !atomic_load(&s->hides_sums))
            at += (size_t)snprintf(text + at, room - at, ",\"blobId\":\"%s\"", f->blob_id);
        if (f->is_lfs && f->sha256 && !atomic_load(&s->hides_sums))
            at += (size_t)snprintf(text + at, room - at,
                                   ",\"lfs\":{\"sha256\":\"%s\",\"size\":%zu,\"pointerSize\":134}",
                                   f->sha256, listed);
        at += (size_t)snprintf(text + at, room - at, "}");
    }
    at += (size_t)snprintf(text + at, room - at, "]}");
    if (atomic_load(&s->long_list)) {
        memset(text + at, ' ', room - at);
        text[room] = '\0';
    }
    const enum MHD_Result result = send_text(connection, MHD_HTTP_OK, text, NULL, NULL);
    free(text);
    return result;
}

static const hub_server_file *find_file(const hub_server *s, const char *name) {
    for (size_t i = 0; s->files[i].name; i++)
        if (strcmp(s->files[i].name, name) == 0) return &s->files[i];
    return NULL;
}

static enum MHD_Result send_redirect(hub_server *s, struct MHD_Connection *connection,
                                     const hub_server_file *file, const char *url) {
    char location[512], etag[80];
    if (s->location)
        (void)snprintf(location, sizeof location, "%s", s->location);
    else if (atomic_load(&s->loops))
        (void)snprintf(location, sizeof location, "%s", url);
    else
        (void)snprintf(location, sizeof location, "http://127.0.0.1:%u/store/%s?signature=secret",
                       s->store_port, file->name);
    (void)snprintf(etag, sizeof etag, "\"%s\"", file->sha256 ? file->sha256 : "0");
    struct MHD_Response *response =
        MHD_create_response_from_buffer(5, (void *)(uintptr_t) "Found", MHD_RESPMEM_PERSISTENT);
    (void)MHD_add_response_header(response, "Location", location);
    (void)MHD_add_response_header(response, "X-Linked-ETag", etag);
    const enum MHD_Result result = MHD_queue_response(connection, MHD_HTTP_FOUND, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result at_hub(void *user, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **state) {
    (void)version, (void)upload, (void)upload_bytes;
    hub_server *s = user;
    static int seen;
    if (!*state) { /* the first call announces the request's headers only */
        *state = &seen;
        return MHD_YES;
    }
    const char *token = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    if (token) atomic_fetch_add(&s->tokens_at_hub, 1);
    char want[256], base[256];
    if (s->token) {
        (void)snprintf(want, sizeof want, "Bearer %s", s->token);
        if (!token || strcmp(token, want) != 0)
            return send_text(connection, MHD_HTTP_UNAUTHORIZED, "no", NULL, NULL);
    }
    if (atomic_load(&s->unavailable) > 0) {
        atomic_fetch_sub(&s->unavailable, 1);
        return send_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "later", NULL, NULL);
    }
    const char *blobs = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "blobs");
    (void)snprintf(base, sizeof base, "/api/models/%s/revision/", s->id);
    if (strcmp(method, "GET") == 0 && strncmp(url, base, strlen(base)) == 0 && blobs)
        return send_list(s, connection);
    (void)snprintf(base, sizeof base, "/%s/resolve/%s/", s->id, s->commit[0] ? s->commit : "main");
    const hub_server_file *file =
        strncmp(url, base, strlen(base)) == 0 ? find_file(s, url + strlen(base)) : NULL;
    if (!file) {
        atomic_fetch_add(&s->unknown, 1);
        return send_text(connection, MHD_HTTP_NOT_FOUND, "no", "X-Error-Code", "EntryNotFound");
    }
    if (file->is_lfs) return send_redirect(s, connection, file, url);
    atomic_fetch_add(&s->smalls, 1);
    return send_file(s, connection, file);
}

static enum MHD_Result at_store(void *user, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload,
                                size_t *upload_bytes, void **state) {
    (void)method, (void)version, (void)upload, (void)upload_bytes;
    hub_server *s = user;
    static int seen;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization"))
        atomic_fetch_add(&s->tokens_at_store, 1);
    const hub_server_file *file = strncmp(url, "/store/", 7) == 0 ? find_file(s, url + 7) : NULL;
    if (!file) return send_text(connection, MHD_HTTP_NOT_FOUND, "no", NULL, NULL);
    atomic_fetch_add(&s->weights, 1);
    return send_file(s, connection, file);
}

static struct MHD_Daemon *start_one(MHD_AccessHandlerCallback handler, hub_server *s,
                                    unsigned *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL, handler, s,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_END);
    if (!daemon) return NULL;
    *port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return daemon;
}

bool hub_server_start(hub_server *server) {
    atomic_store(&server->closing, false);
    server->store = start_one(at_store, server, &server->store_port);
    server->hub = start_one(at_hub, server, &server->hub_port);
    (void)snprintf(server->endpoint, sizeof server->endpoint, "http://127.0.0.1:%u",
                   server->hub_port);
    return server->store && server->hub;
}

void hub_server_stop(hub_server *server) {
    atomic_store(&server->closing, true);
    if (server->hub) MHD_stop_daemon(server->hub);
    if (server->store) MHD_stop_daemon(server->store);
    server->hub = server->store = NULL;
}
