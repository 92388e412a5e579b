/* Values of options that name several classes or blocks. */
#include "cli/lists.h"

#include "base/alloc.h"
#include "base/text.h"

#include <string.h>

kh_status kh_class_list(const kh_classes *classes, const char *text, size_t **out, size_t *count,
                        kh_error *err) {
    *count = 0;
    size_t room = 1;
    for (const char *p = text; *p; p++)
        room += *p == ',';
    char *copy = kh_strdup(text);
    *out = kh_calloc(room, sizeof **out);
    kh_status status = copy && *out ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a list");
    char *rest = copy;
    while (!status && rest) {
        char *comma = strchr(rest, ',');
        if (comma) *comma = '\0';
        status = kh_classes_find(classes, rest, &(*out)[*count], err);
        if (!status) ++*count;
        rest = comma ? comma + 1 : NULL;
    }
    kh_free(copy);
    return status;
}

bool kh_parse_range(const char *text, size_t *first, size_t *last) {
    char start[24];
    const char *dash = strchr(text, '-');
    const size_t length = dash ? (size_t)(dash - text) : strlen(text);
    if (length >= sizeof start) return false;
    memcpy(start, text, length);
    start[length] = '\0';
    if (!kh_parse_size(start, first)) return false;
    *last = *first;
    return !dash || (kh_parse_size(dash + 1, last) && *first <= *last);
}

kh_status kh_block_list(const char *text, size_t blocks, bool *chosen, kh_error *err) {
    char part[64], shown[KH_SHOWN_BYTES];
    for (size_t b = 0; b < blocks; b++)
        chosen[b] = !text;
    while (text) {
        const size_t length = strcspn(text, ",");
        size_t first, last;
        if (length >= sizeof part)
            return kh_fail(err, KH_E_ARG, "--blocks: a part of the list is too long");
        memcpy(part, text, length);
        part[length] = '\0';
        if (!kh_parse_range(part, &first, &last) || last >= blocks)
            return kh_fail(err, KH_E_ARG,
                           "--blocks '%s': expected blocks from 0 to %zu, like 3,8-11",
                           kh_shown(part, length, shown, sizeof shown), blocks - 1);
        for (size_t b = first; b <= last; b++)
            chosen[b] = true;
        text = text[length] ? text + length + 1 : NULL;
    }
    return KH_OK;
}
