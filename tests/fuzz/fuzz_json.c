/* JSON from strangers (config.json and friends): what is taken is valid, within its limits, and
 * survives being written and read again. */
#include "fuzz/fuzz.h"

#include "base/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static size_t depth_of(const json_t *value) {
    size_t deepest = 0;
    const char *key;
    json_t *child;
    size_t i;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, child) {
            const size_t depth = depth_of(child);
            if (depth > deepest) deepest = depth;
        }
        return deepest + 1;
    }
    if (!json_is_array(value)) return 0;
    json_array_foreach(value, i, child) {
        const size_t depth = depth_of(child);
        if (depth > deepest) deepest = depth;
    }
    return deepest + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    const kh_json_limits limits = {.max_depth = 32, .max_values = 100000};
    kh_error err;
    json_t *root = NULL, *again = NULL;
    if (kh_json_parse_object((const char *)bytes, count, limits, "input", &root, &err)) {
        if (root || !err.code || !err.text[0]) abort();
        return 0;
    }
    if (depth_of(root) > limits.max_depth) abort();
    char *text = json_dumps(root, JSON_COMPACT);
    if (!text) abort();
    if (kh_json_parse_object(text, strlen(text), limits, "again", &again, &err)) abort();
    if (!json_equal(root, again)) abort();
    free(text);
    json_decref(root);
    json_decref(again);
    return 0;
}
