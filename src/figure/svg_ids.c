#include "figure/svg_ids.h"

#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

typedef struct id {
    const char *name; /* points into the old text */
    size_t length;
    size_t number;
} id;

typedef struct ids {
    id *list;
    size_t count, room;
} ids;

static int by_name(const void *a, const void *b) {
    const id *x = a, *y = b;
    const size_t shorter = x->length < y->length ? x->length : y->length;
    const int order = memcmp(x->name, y->name, shorter);
    if (order) return order;
    return (x->length > y->length) - (x->length < y->length);
}

static bool collect(const char *svg, ids *all) {
    static const char mark[] = " id=\"";
    for (const char *at = strstr(svg, mark); at; at = strstr(at, mark)) {
        at += sizeof mark - 1;
        if (all->count == all->room) {
            const size_t room = all->room ? all->room * 2 : 256;
            id *grown = kh_realloc(all->list, room, sizeof *grown);
            if (!grown) return false;
            all->list = grown;
            all->room = room;
        }
        const id new_id = {at, strcspn(at, "\""), all->count};
        all->list[all->count++] = new_id;
    }
    if (all->count) qsort(all->list, all->count, sizeof *all->list, by_name);
    return true;
}

/* The next place in text where an id may be named; NULL at the end. */
static const char *next_name(const char *text) {
    for (const char *p = text; *p; p++) {
        if (*p == '#' && p > text && (p[-1] == '"' || p[-1] == '(')) return p + 1;
        if (*p == ' ' && strncmp(p, " id=\"", 5) == 0) return p + 5;
    }
    return NULL;
}

bool kh_svg_number_ids(kh_text *svg) {
    ids all = {0};
    kh_text out = {0};
    bool done = svg->data && collect(svg->data, &all);
    for (const char *at = svg->data; done && at;) {
        const char *name = next_name(at);
        kh_text_add_bytes(&out, at, name ? (size_t)(name - at) : strlen(at));
        if (!name) break;
        const id key = {name, strcspn(name, "\")"), 0};
        const id *found =
            all.count ? bsearch(&key, all.list, all.count, sizeof key, by_name) : NULL;
        if (found)
            kh_text_addf(&out, "k%zu", found->number);
        else
            kh_text_add_bytes(&out, name, key.length);
        at = name + key.length;
    }
    done = done && !out.failed;
    kh_free(all.list);
    if (!done) {
        kh_text_clear(&out);
        return false;
    }
    kh_text_clear(svg);
    *svg = out;
    return true;
}
