/* From what a person types to a class: index, wnid or name, and never the first of several. */
#include "base/alloc.h"
#include "base/text.h"
#include "io/classes.h"

#include <stdio.h>
#include <string.h>

#define MAX_QUERY   1000
#define SHOWN_QUERY 104
#define MAX_LISTED  (sizeof((kh_error *)0)->text - SHOWN_QUERY - 120)
#define SUGGESTED   5

/* ---- text ------------------------------------------------------------------------------------ */

/* Lower-case ASCII, '_' as a blank, blanks collapsed and trimmed; out has room for length + 1. */
static size_t simplify(const char *text, size_t length, char *out) {
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '_' || c == '\t') c = ' ';
        if (c >= 'A' && c <= 'Z') c = (char)(c - 'A' + 'a');
        if (c == ' ' && (used == 0 || out[used - 1] == ' ')) continue;
        out[used++] = c;
    }
    if (used && out[used - 1] == ' ') used--;
    out[used] = '\0';
    return used;
}

/* The next synonym of a comma-separated name; false at its end. */
static bool next_synonym(const char **at, const char **synonym, size_t *length) {
    if (!*at) return false;
    const char *comma = strchr(*at, ',');
    *synonym = *at;
    *length = comma ? (size_t)(comma - *at) : strlen(*at);
    *at = comma ? comma + 1 : NULL;
    return true;
}

/* ---- matching -------------------------------------------------------------------------------- */

/* From the most to the least particular. A class with one synonym has it as its full label too, so
 * the first two count as one level: "maillot" is class 638's label and 639's first synonym. */
typedef enum level { FULL_OR_FIRST, ANY_SYNONYM, SUBSTRING, LEVELS } level;

typedef struct search {
    const kh_classes *classes;
    const char *query; /* simplified */
    char *name;        /* room for the longest name, simplified */
} search;

static bool equals(const search *s, const char *text, size_t length) {
    (void)simplify(text, length, s->name);
    return strcmp(s->name, s->query) == 0;
}

static bool matches(const search *s, size_t index, level at) {
    const char *name = s->classes->items[index].name, *synonym;
    size_t length;
    if (at == SUBSTRING) {
        (void)simplify(name, strlen(name), s->name);
        return strstr(s->name, s->query) != NULL;
    }
    if (at == FULL_OR_FIRST && equals(s, name, strlen(name))) return true;
    const char *rest = name;
    while (next_synonym(&rest, &synonym, &length)) {
        if (equals(s, synonym, length)) return true;
        if (at == FULL_OR_FIRST) return false;
    }
    return false;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Adds "134 n02012849 'crane'"; false when the message would grow too long for a kh_error. */
static bool add_class(kh_text *text, const kh_classes *classes, size_t index) {
    const kh_class *c = &classes->items[index];
    char shown[KH_SHOWN_BYTES], piece[KH_SHOWN_BYTES + 80];
    const int length = snprintf(piece, sizeof piece, "%s%zu %.20s%s'%s'", text->length ? "; " : "",
                                index, c->wnid ? c->wnid : "", c->wnid ? " " : "",
                                kh_shown(c->name, strlen(c->name), shown, sizeof shown));
    if (length < 0 || text->length + (size_t)length > MAX_LISTED) return false;
    kh_text_add(text, piece);
    return true;
}

/* All candidates, as far as a message has room. */
static kh_status fail_ambiguous(const search *s, const char *query, level at, kh_error *err) {
    kh_text list = {0};
    size_t hits = 0, left_off = 0;
    for (size_t i = 0; i < s->classes->count; i++) {
        if (!matches(s, i, at)) continue;
        hits++;
        if (left_off || !add_class(&list, s->classes, i)) left_off++;
    }
    if (left_off) kh_text_addf(&list, "; and %zu more", left_off);
    const kh_status status =
        list.failed ? kh_fail(err, KH_E_MEMORY, "no memory to list classes")
                    : kh_fail(err, KH_E_ARG,
                              "class '%s' is ambiguous, %zu classes fit: %s. Give an index or "
                              "a wnid",
                              query, hits, list.data);
    kh_text_clear(&list);
    return status;
}

/* Of the full label and every synonym, the nearest to the query. */
static size_t distance_to(const search *s, size_t index) {
    const char *name = s->classes->items[index].name, *rest = name, *synonym;
    const size_t query_length = strlen(s->query);
    size_t length = simplify(name, strlen(name), s->name);
    size_t best = kh_edit_distance(s->query, query_length, s->name, length);
    while (next_synonym(&rest, &synonym, &length)) {
        const size_t used = simplify(synonym, length, s->name);
        const size_t distance = kh_edit_distance(s->query, query_length, s->name, used);
        if (distance < best) best = distance;
    }
    return best;
}

static kh_status fail_unknown(const search *s, const char *query, kh_error *err) {
    size_t nearest[SUGGESTED], distances[SUGGESTED], count = 0;
    for (size_t i = 0; i < s->classes->count; i++) {
        const size_t distance = distance_to(s, i);
        size_t at = count;
        while (at > 0 && distance < distances[at - 1])
            at--;
        if (at >= SUGGESTED) continue;
        if (count < SUGGESTED) count++;
        for (size_t k = count - 1; k > at; k--) {
            nearest[k] = nearest[k - 1];
            distances[k] = distances[k - 1];
        }
        nearest[at] = i;
        distances[at] = distance;
    }
    kh_text list = {0};
    for (size_t k = 0; k < count; k++)
        if (!add_class(&list, s->classes, nearest[k])) break;
    const kh_status status =
        list.failed
            ? kh_fail(err, KH_E_MEMORY, "no memory to list classes")
            : kh_fail(err, KH_E_NOT_FOUND, "no class '%s'; the closest: %s", query, list.data);
    kh_text_clear(&list);
    return status;
}

/* ---- public ---------------------------------------------------------------------------------- */

static bool all_digits(const char *text) {
    return *text && strspn(text, "0123456789") == strlen(text);
}

static kh_status find_index(const kh_classes *classes, const char *query, size_t *index,
                            kh_error *err) {
    size_t value;
    if (!kh_parse_size(query, &value) || value >= classes->count)
        return kh_fail(err, KH_E_NOT_FOUND, "class index %.40s is outside 0..%zu", query,
                       classes->count - 1);
    *index = value;
    return KH_OK;
}

static kh_status find_wnid(const kh_classes *classes, const char *query, size_t *index,
                           kh_error *err) {
    size_t hits = 0;
    for (size_t i = 0; i < classes->count; i++) {
        const char *wnid = classes->items[i].wnid;
        if (!wnid || strcmp(wnid, query) != 0) continue;
        if (!hits++) *index = i;
    }
    if (hits == 1) return KH_OK;
    if (hits)
        return kh_fail(err, KH_E_ARG, "wnid %s is ambiguous, %zu classes have it; give an index",
                       query, hits);
    return kh_fail(err, KH_E_NOT_FOUND, "no class with wnid %s among %zu classes", query,
                   classes->count);
}

static kh_status find_name(const search *s, const char *shown, size_t *index, kh_error *err) {
    for (level at = FULL_OR_FIRST; at < LEVELS; at++) {
        size_t hits = 0, hit = 0;
        for (size_t i = 0; i < s->classes->count; i++) {
            if (!matches(s, i, at)) continue;
            if (!hits++) hit = i;
        }
        if (hits > 1) return fail_ambiguous(s, shown, at, err);
        if (hits == 1) {
            *index = hit;
            return KH_OK;
        }
    }
    return fail_unknown(s, shown, err);
}

kh_status kh_classes_find(const kh_classes *classes, const char *query, size_t *index,
                          kh_error *err) {
    const size_t length = strlen(query);
    if (length > MAX_QUERY)
        return kh_fail(err, KH_E_ARG, "a class name of %zu bytes; at most %d are looked up", length,
                       MAX_QUERY);
    if (all_digits(query)) return find_index(classes, query, index, err);
    if (kh_is_wnid(query, length)) return find_wnid(classes, query, index, err);
    size_t longest = length;
    for (size_t i = 0; i < classes->count; i++) {
        const size_t bytes = strlen(classes->items[i].name);
        if (bytes > longest) longest = bytes;
    }
    char *simple = kh_calloc(length + 1, 1), *name = kh_calloc(longest + 1, 1);
    kh_status status;
    if (!simple || !name) {
        status = kh_fail(err, KH_E_MEMORY, "no memory to look up a class");
    } else if (simplify(query, length, simple) == 0) {
        status = kh_fail(err, KH_E_ARG, "the class name is empty; give an index, wnid or name");
    } else {
        char shown[SHOWN_QUERY];
        const search s = {classes, simple, name};
        status = find_name(&s, kh_shown(query, length, shown, sizeof shown), index, err);
    }
    kh_free(simple);
    kh_free(name);
    return status;
}
