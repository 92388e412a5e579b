#define _POSIX_C_SOURCE 200809L
#include "cli/units.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* "8" or "8-11" with `mark` between, both ends included; no leftovers. */
static bool parse_range(const char *text, char mark, size_t *first, size_t *last) {
    char head[24];
    const char *at = strchr(text, mark);
    const size_t length = at ? (size_t)(at - text) : strlen(text);
    if (length >= sizeof head) return false;
    memcpy(head, text, length);
    head[length] = '\0';
    if (!kh_parse_size(head, first)) return false;
    *last = *first;
    return !at || kh_parse_size(at + 1, last);
}

static kh_status refuse(const char *option, const char *text, const char *expected, size_t limit,
                        kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG, "--%s '%s': expected %s within 0 to %zu", option,
                   kh_shown(text, strlen(text), shown, sizeof shown), expected, limit);
}

static kh_status choose_blocks(const char *text, size_t block_count, bool *chosen, kh_error *err) {
    char copy[512] = "", *rest = NULL;
    for (size_t b = 0; b < block_count && !text; b++)
        chosen[b] = true;
    if (!text) return KH_OK;
    if (strlen(text) < sizeof copy) memcpy(copy, text, strlen(text) + 1);
    bool any = false;
    for (char *one = strtok_r(copy, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        size_t first, last;
        if (!parse_range(one, '-', &first, &last) || last < first || last >= block_count)
            return refuse("blocks", text, "blocks like 8-11 or 0,5", block_count - 1, err);
        for (size_t b = first; b <= last; b++)
            chosen[b] = any = true;
    }
    return any ? KH_OK : refuse("blocks", text, "blocks like 8-11 or 0,5", block_count - 1, err);
}

kh_status kh_units_of_ranges(const char *blocks, const char *units, size_t block_count,
                             size_t width, kh_neuron **out, size_t *count, kh_error *err) {
    size_t first = 0, end = width;
    if (units && (!strchr(units, ':') || !parse_range(units, ':', &first, &end) || end <= first ||
                  end > width))
        return refuse("units", units, "FIRST:END like 0:100", width, err);
    bool *chosen = calloc(block_count, sizeof *chosen);
    *out = calloc(block_count * (end - first), sizeof **out);
    *count = 0;
    kh_status status = chosen && *out ? choose_blocks(blocks, block_count, chosen, err)
                                      : kh_fail(err, KH_E_MEMORY, "no memory for a list of units");
    for (size_t b = 0; b < block_count && !status; b++)
        for (size_t u = first; u < end && chosen[b]; u++)
            (*out)[(*count)++] = (kh_neuron){b, u};
    free(chosen);
    return status;
}

kh_status kh_units_of_list(const char *list, size_t block_count, size_t width, const char *what,
                           kh_neuron **out, size_t *count, kh_error *err) {
    size_t room = 1;
    for (const char *p = list; *p; p++)
        room += *p == ',';
    char *copy = strdup(list), *rest = NULL;
    *out = calloc(room, sizeof **out);
    *count = 0;
    kh_status status =
        copy && *out ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a list of units");
    for (char *one = status ? NULL : strtok_r(copy, ",", &rest); one && !status;
         one = strtok_r(NULL, ",", &rest)) {
        kh_neuron n;
        status = kh_neuron_parse(one, &n, err);
        if (!status && (n.block >= block_count || n.index >= width))
            status = kh_fail(err, KH_E_ARG, "--neurons %.40s: the model has %zu blocks of %zu %s",
                             one, block_count, width, what);
        if (!status) (*out)[(*count)++] = n;
    }
    if (!status && *count == 0) status = kh_fail(err, KH_E_ARG, "--neurons names none");
    free(copy);
    return status;
}
