#define _POSIX_C_SOURCE 200809L
#include "io/hub.h"

#include "base/alloc.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* Error pages and redirect bodies are not read beyond this. */
#define IGNORED_BYTES 65536u
#define MAX_REDIRECTS 8

struct kh_http {
    CURL *curl;
    const char *endpoint;
    struct curl_slist *token_header; /* NULL: no token */
    kh_http_tick tick;
    void *tick_user;
    char why[CURL_ERROR_SIZE];
    /* the request in progress */
    kh_http_reply *reply;
    kh_http_sink sink;
    void *sink_user;
    kh_error *err;
    kh_status sink_status;
    bool at_endpoint; /* this hop is the hub itself */
    bool stopped;
    size_t ignored;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static CURLcode global_status;

static void start_curl(void) {
    global_status = curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- headers -----------------------------------------------------------------------------------
 */

/* Value of "name: value" without blanks around it, or NULL; bytes are not NUL-terminated. */
static const char *header_value(const char *line, size_t count, const char *name, size_t *length) {
    const size_t name_length = strlen(name);
    if (count <= name_length || strncasecmp(line, name, name_length) != 0 ||
        line[name_length] != ':')
        return NULL;
    const char *from = line + name_length + 1, *to = line + count;
    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (to > from && strchr(" \t\r\n", to[-1]))
        to--;
    *length = (size_t)(to - from);
    return from;
}

static bool is_hex(const char *text, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!strchr("0123456789abcdef", text[i])) return false;
    return true;
}

static void read_linked_etag(kh_http_reply *reply, const char *value, size_t length) {
    if (length >= 2 && memcmp(value, "W/", 2) == 0) value += 2, length -= 2;
    if (length >= 2 && value[0] == '"') value++, length -= 2;
    if (length != 64 || !is_hex(value, 64)) return;
    memcpy(reply->linked_sha256, value, 64);
    reply->linked_sha256[64] = '\0';
}

/* "bytes 100-999/1000" or "bytes 100-999/ *" */
static void read_content_range(kh_http_reply *reply, const char *value, size_t length) {
    char text[96], start[32], end[32], total[32];
    if (length >= sizeof text) return;
    memcpy(text, value, length);
    text[length] = '\0';
    if (sscanf(text, "bytes %31[0-9]-%31[0-9]/%31[0-9*]", start, end, total) != 3) return;
    uint64_t last;
    if (!kh_parse_u64(start, &reply->range_start) || !kh_parse_u64(end, &last)) return;
    if (last < reply->range_start) return;
    if (!kh_parse_u64(total, &reply->range_total)) reply->range_total = 0;
    reply->has_range = true;
}

static size_t on_header(char *line, size_t size, size_t items, void *user) {
    kh_http *http = user;
    const size_t count = size * items;
    size_t length;
    const char *value;
    if (count >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        http->reply->has_range = false; /* a new answer begins */
        http->reply->error_code[0] = '\0';
    } else if ((value = header_value(line, count, "Content-Range", &length))) {
        read_content_range(http->reply, value, length);
    } else if ((value = header_value(line, count, "X-Error-Code", &length))) {
        (void)kh_shown(value, length, http->reply->error_code, sizeof http->reply->error_code);
    } else if (http->at_endpoint && (value = header_value(line, count, "X-Linked-ETag", &length))) {
        read_linked_etag(http->reply, value, length);
    }
    return count;
}

/* ---- body, progress ----------------------------------------------------------------------------
 */

static size_t on_body(char *bytes, size_t size, size_t items, void *user) {
    kh_http *http = user;
    const size_t count = size * items;
    (void)curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &http->reply->code);
    if (http->reply->code == 200 || http->reply->code == 206) {
        http->sink_status =
            http->sink(http->sink_user, http->reply, (unsigned char *)bytes, count, http->err);
        return http->sink_status ? 0 : count;
    }
    http->ignored += count;
    return http->ignored > IGNORED_BYTES ? 0 : count;
}

static int on_progress(void *user, curl_off_t down_total, curl_off_t down_now, curl_off_t up_total,
                       curl_off_t up_now) {
    kh_http *http = user;
    (void)down_total;
    (void)down_now;
    (void)up_total;
    (void)up_now;
    if (!http->tick || http->tick(http->tick_user)) return 0;
    http->stopped = true;
    return 1;
}

/* ---- addresses ---------------------------------------------------------------------------------
 */

/* Scheme, host and port are the same. */
static bool same_origin(const char *a, const char *b) {
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    CURLU *x = curl_url(), *y = curl_url();
    bool same = x && y && curl_url_set(x, CURLUPART_URL, a, 0) == CURLUE_OK &&
                curl_url_set(y, CURLUPART_URL, b, 0) == CURLUE_OK;
    for (size_t i = 0; same && i < sizeof parts / sizeof *parts; i++) {
        char *p = NULL, *q = NULL;
        same = curl_url_get(x, parts[i], &p, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               curl_url_get(y, parts[i], &q, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               strcasecmp(p, q) == 0;
        curl_free(p);
        curl_free(q);
    }
    curl_url_cleanup(x);
    curl_url_cleanup(y);
    return same;
}

/* ---- life --------------------------------------------------------------------------------------
 */

/* Everything that stays the same from request to request. */
static void set_options(kh_http *http, const kh_hub_tuning *tuning) {
    CURL *curl = http->curl;
    /* an https hub never leads to plain http */
    const bool secure = kh_starts_with(http->endpoint, "https:");
#if LIBCURL_VERSION_NUM >= 0x075500
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, secure ? "https" : "http,https");
#else
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS,
                           (long)(secure ? CURLPROTO_HTTPS : CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    (void)curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* we look at every hop */
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "keyhole/" KH_VERSION);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, tuning->connect_ms);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, tuning->stall_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, tuning->stall_seconds);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->why);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, http);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, http);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, http);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 262144L);
}

kh_status kh_http_create(const char *endpoint, const char *token, const kh_hub_tuning *tuning,
                         kh_http_tick tick, void *tick_user, kh_http **out, kh_error *err) {
    *out = NULL;
    (void)pthread_once(&once, start_curl);
    kh_http *http = kh_calloc(1, sizeof *http);
    if (!http || global_status != CURLE_OK || !(http->curl = curl_easy_init())) {
        kh_http_free(http);
        return kh_fail(err, KH_E_MEMORY, "cannot start the download library");
    }
    http->endpoint = endpoint;
    http->tick = tick;
    http->tick_user = tick_user;
    set_options(http, tuning);
    if (token) {
        kh_text line = {0};
        kh_text_addf(&line, "Authorization: Bearer %s", token);
        if (!line.failed) http->token_header = curl_slist_append(NULL, line.data);
        kh_text_clear(&line);
        if (!http->token_header) {
            kh_http_free(http);
            return kh_fail(err, KH_E_MEMORY, "no memory for a request");
        }
    }
    *out = http;
    return KH_OK;
}

void kh_http_free(kh_http *http) {
    if (!http) return;
    curl_slist_free_all(http->token_header);
    curl_easy_cleanup(http->curl);
    kh_free(http);
}

/* ---- one request -------------------------------------------------------------------------------
 */

static kh_status explain(kh_http *http, CURLcode code, const char *url, kh_error *err) {
    if (http->stopped) return kh_fail(err, KH_E_STOPPED, "the download was stopped");
    if (http->sink_status) return http->sink_status; /* its message is there already */
    char shown[2 * KH_SHOWN_BYTES], why[KH_SHOWN_BYTES];
    (void)kh_shown(url, strcspn(url, "?"), shown, sizeof shown); /* signed addresses hold secrets */
    const char *text = http->why[0] ? http->why : curl_easy_strerror(code);
    (void)kh_shown(text, strlen(text), why, sizeof why);
    http->reply->may_retry = code != CURLE_UNSUPPORTED_PROTOCOL && code != CURLE_URL_MALFORMAT &&
                             code != CURLE_PEER_FAILED_VERIFICATION &&
                             code != CURLE_SSL_CACERT_BADFILE && code != CURLE_OUT_OF_MEMORY;
    if (code == CURLE_OUT_OF_MEMORY) return kh_fail(err, KH_E_MEMORY, "no memory for a download");
    return kh_fail(err, KH_E_NETWORK, "cannot download '%s': %s%s", shown, why,
                   code == CURLE_COULDNT_RESOLVE_HOST || code == CURLE_COULDNT_CONNECT
                       ? "; check the network, the proxy variables and HF_ENDPOINT"
                       : "");
}

static CURLcode perform(kh_http *http, const char *url, uint64_t from) {
    char range[32];
    (void)snprintf(range, sizeof range, "%llu-", (unsigned long long)from);
    http->at_endpoint = same_origin(url, http->endpoint);
    http->why[0] = '\0';
    http->ignored = 0;
    CURLcode code = curl_easy_setopt(http->curl, CURLOPT_URL, url);
    if (code) return code;
    code = curl_easy_setopt(http->curl, CURLOPT_RANGE, from ? range : NULL);
    if (code) return code;
    code = curl_easy_setopt(http->curl, CURLOPT_HTTPHEADER,
                            http->at_endpoint ? http->token_header : NULL);
    if (code) return code;
    code = curl_easy_perform(http->curl);
    (void)curl_easy_getinfo(http->curl, CURLINFO_RESPONSE_CODE, &http->reply->code);
    const long status = http->reply->code;
    /* we hung up on the long body of an answer that we do not read */
    if (code == CURLE_WRITE_ERROR && !http->sink_status && status >= 300) return CURLE_OK;
    return code;
}

kh_status kh_http_get(kh_http *http, const char *url, uint64_t from, kh_http_sink sink, void *user,
                      kh_http_reply *reply, kh_error *err) {
    *reply = (kh_http_reply){0};
    http->reply = reply;
    http->sink = sink;
    http->sink_user = user;
    http->sink_status = KH_OK;
    http->stopped = false;
    http->err = err;
    char *at = kh_strdup(url);
    kh_status status = KH_OK;
    for (unsigned hop = 0; at; hop++) {
        const CURLcode code = perform(http, at, from);
        if (code) {
            status = explain(http, code, at, err);
            break;
        }
        char *next = NULL;
        (void)curl_easy_getinfo(http->curl, CURLINFO_REDIRECT_URL, &next);
        if (reply->code < 300 || reply->code > 399 || !next) break;
        if (hop == MAX_REDIRECTS) {
            status =
                kh_fail(err, KH_E_NETWORK, "the hub redirects more than %d times", MAX_REDIRECTS);
            break;
        }
        char *copy = kh_strdup(next);
        kh_free(at);
        at = copy;
    }
    if (!at) status = kh_fail(err, KH_E_MEMORY, "no memory for an address");
    kh_free(at);
    return status;
}

kh_status kh_http_pause(kh_http *http, unsigned ms, kh_error *err) {
    for (unsigned waited = 0; waited < ms; waited += 50) {
        if (http->tick && !http->tick(http->tick_user))
            return kh_fail(err, KH_E_STOPPED, "the download was stopped");
        const unsigned step = ms - waited < 50 ? ms - waited : 50;
        const struct timespec pause = {.tv_nsec = (long)step * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    return KH_OK;
}
