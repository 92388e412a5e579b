#define _POSIX_C_SOURCE 200809L
#include "base/json.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Jansson reports a failed allocation without words, as a syntax error, or not at all: a string or
 * a number then lacks a character. So its requests go through base/alloc, and we remember a
 * refusal. A program that gave Jansson allocators of its own keeps them. */
static _Thread_local bool allocation_failed;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void *watched_malloc(size_t bytes) {
    void *block = kh_realloc(NULL, bytes, 1);
    if (block) return block;
    /* Jansson's lexer writes out of bounds when its buffer cannot grow, so it gets what may still
     * be there; the parse is reported as failed all the same. */
    allocation_failed = true;
    return malloc(bytes);
}

static void watch_allocations(void) {
    json_malloc_t allocate;
    json_free_t release;
    json_get_alloc_funcs(&allocate, &release);
    if (allocate == malloc && release == free) json_set_alloc_funcs(watched_malloc, kh_free);
}

/* Walks the text once, outside and inside strings, without believing anything about it. */
static kh_status prescan(const char *bytes, size_t count, kh_json_limits limits, const char *what,
                         kh_error *err) {
    size_t depth = 0, values = 0;
    bool in_string = false;
    for (size_t i = 0; i < count; i++) {
        const char c = bytes[i];
        if (c == '\0') return kh_fail(err, KH_E_FORMAT, "%s: NUL byte at offset %zu", what, i);
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        if (c == '"') in_string = true;
        if (c == '{' || c == '[') {
            depth++;
            values++;
            if (depth > limits.max_depth)
                return kh_fail(err, KH_E_LIMIT, "%s: JSON nested deeper than %zu levels", what,
                               limits.max_depth);
        }
        if ((c == '}' || c == ']') && depth > 0) depth--;
        if (c == ',') values++;
        if (values > limits.max_values)
            return kh_fail(err, KH_E_LIMIT, "%s: more than %zu JSON values", what,
                           limits.max_values);
    }
    return KH_OK;
}

/* Jansson's own quotes stay: no backslash is left that could be taken for one of kh_shown's. */
static const char *shown_reason(const char *text, char *out) {
    (void)kh_shown(text, strlen(text), out, KH_SHOWN_BYTES);
    for (char *at = out; (at = strstr(at, "\\x27")) != NULL;) {
        *at++ = '\'';
        memmove(at, at + 3, strlen(at + 3) + 1);
    }
    return out;
}

kh_status kh_json_parse(const char *bytes, size_t count, kh_json_limits limits, const char *what,
                        json_t **out, kh_error *err) {
    *out = NULL;
    if (!kh_utf8_valid(bytes, count)) return kh_fail(err, KH_E_FORMAT, "%s: not valid UTF-8", what);
    KH_TRY(prescan(bytes, count, limits, what, err));
    (void)pthread_once(&once, watch_allocations);
    json_error_t where;
    allocation_failed = false;
    json_t *root = json_loadb(bytes, count, JSON_REJECT_DUPLICATES, &where);
    if (allocation_failed || (!root && where.text[0] == '\0')) {
        json_decref(root);
        return kh_fail(err, KH_E_MEMORY, "%s: no memory to read the JSON text", what);
    }
    if (!root) {
        char shown[KH_SHOWN_BYTES];
        return kh_fail(err, KH_E_FORMAT, "%s: not valid JSON, line %d column %d: %s", what,
                       where.line, where.column, shown_reason(where.text, shown));
    }
    *out = root;
    return KH_OK;
}

kh_status kh_json_parse_object(const char *bytes, size_t count, kh_json_limits limits,
                               const char *what, json_t **out, kh_error *err) {
    KH_TRY(kh_json_parse(bytes, count, limits, what, out, err));
    if (json_is_object(*out)) return KH_OK;
    json_decref(*out);
    *out = NULL;
    return kh_fail(err, KH_E_FORMAT, "%s: the JSON text is not an object", what);
}

kh_status kh_json_read_own(const char *path, const char *what, json_t **out, kh_error *err) {
    const kh_json_limits limits = {.max_depth = 16, .max_values = 1000000};
    unsigned char *bytes = NULL;
    size_t count = 0;
    KH_TRY(kh_file_read(path, 64u << 20, &bytes, &count, err));
    const kh_status status =
        kh_json_parse_object((const char *)bytes, count, limits, what, out, err);
    kh_free(bytes);
    const size_t folder = (size_t)(kh_path_base(path) - path);
    char shown[KH_SHOWN_BYTES];
    if (!status || folder < 2) return status;
    return kh_error_context(err, status, "'%s'", kh_shown(path, folder - 1, shown, sizeof shown));
}

bool kh_json_size(const json_t *value, size_t *out) {
    if (!json_is_integer(value)) return false;
    const json_int_t number = json_integer_value(value);
    if (number < 0) return false;
    *out = (size_t)number;
    return true;
}

json_t *kh_json_text(const char *text) {
    if (!text) return json_null();
    const size_t length = strlen(text);
    if (kh_utf8_valid(text, length)) return json_stringn(text, length);
    char *shown = length < SIZE_MAX / 4 - 4 ? kh_realloc(NULL, 4 * length + 5, 1) : NULL;
    json_t *value = NULL;
    if (shown) value = json_string(kh_shown(text, length, shown, 4 * length + 5));
    kh_free(shown);
    return value;
}
