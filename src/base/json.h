/* base/json.h: strict reading of JSON from strangers, on Jansson.
 *
 * Before Jansson sees a byte: size, UTF-8, NUL, nesting depth and number of values are checked, so
 * a hostile header cannot make the parser eat memory. Duplicate keys are errors. Trees are
 * Jansson's own (json_t); free with json_decref. */
#ifndef KH_BASE_JSON_H
#define KH_BASE_JSON_H

#include <jansson.h>

#include "base/status.h"

typedef struct kh_json_limits {
    size_t max_depth;  /* nesting of objects and arrays */
    size_t max_values; /* commas plus opening brackets, a cheap upper bound of values */
} kh_json_limits;

/* `what` names the text in messages ("config.json"). */
kh_status kh_json_parse(const char *bytes, size_t count, kh_json_limits limits, const char *what,
                        json_t **out, kh_error *err);

/* The same where the root must be an object. */
kh_status kh_json_parse_object(const char *bytes, size_t count, kh_json_limits limits,
                               const char *what, json_t **out, kh_error *err);

/* A file that we wrote ourselves, such as a manifest.json: at most 64 MiB, 16 deep, a million
 * values. Messages begin with the folder it lies in. */
kh_status kh_json_read_own(const char *path, const char *what, json_t **out, kh_error *err);

/* A plain non-negative integer (no sign, fraction or exponent); false otherwise. */
bool kh_json_size(const json_t *value, size_t *out);

/* A string, or null for NULL. Bytes that are not UTF-8 (file names may have them) become \xNN. NULL
 * when out of memory. */
json_t *kh_json_text(const char *text);

#endif
