/* WordNet's nouns: what a synset is a kind of, how deep it lies, what two have in common. */
#include "io/wordnet.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Real ones have at most a handful; together they keep work and memory small for any file. */
enum { MAX_PARENTS = 32, MAX_ABOVE = 8000000 };

typedef struct above {
    uint32_t synset, steps;
} above;

typedef struct synset {
    uint32_t offset; /* ascending */
    uint32_t depth;
    size_t name;         /* into the pool */
    size_t first_parent; /* into parents */
    size_t first_above;  /* into above; itself is among them, with no steps */
    size_t above_count;
} synset;

struct kh_wordnet {
    synset *synsets;
    size_t count, room;
    kh_text pool;
    uint32_t *parents; /* offsets, then places */
    size_t parent_count, parent_room;
    above *above; /* of each synset by place */
    size_t above_count, above_room;
};

void kh_wordnet_close(kh_wordnet *w) {
    if (!w) return;
    kh_free(w->synsets);
    kh_free(w->parents);
    kh_free(w->above);
    kh_text_clear(&w->pool);
    kh_free(w);
}

/* ---- a line ---------------------------------------------------------------------------------- */

typedef struct reader {
    kh_wordnet *w;
    const char *what;
    size_t line;
    const char *at, *end; /* what is left of the line */
    kh_error *err;
} reader;

static kh_status bad(const reader *r, const char *expected) {
    return kh_fail(r->err, KH_E_FORMAT, "%s: line %zu: expected %s", r->what, r->line, expected);
}

/* The next piece up to a blank; false at the end of the line. */
static bool piece(reader *r, const char **text, size_t *length) {
    if (r->at == r->end) return false;
    const char *blank = memchr(r->at, ' ', (size_t)(r->end - r->at));
    *text = r->at;
    *length = (size_t)((blank ? blank : r->end) - r->at);
    r->at = blank ? blank + 1 : r->end;
    return *length > 0;
}

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
}

/* A number of exactly so many digits. */
static bool number(reader *r, size_t digits, int base, uint32_t *out) {
    const char *text;
    size_t length;
    *out = 0;
    if (!piece(r, &text, &length) || length != digits) return false;
    for (size_t i = 0; i < digits; i++) {
        if (digit(text[i]) >= base) return false;
        *out = *out * (uint32_t)base + (uint32_t)digit(text[i]);
    }
    return true;
}

static kh_status grow(void **items, size_t *room, size_t wanted, size_t size, kh_error *err) {
    if (wanted <= *room) return KH_OK;
    const size_t more = wanted < 512 ? 1024 : 2 * wanted;
    void *bigger = kh_realloc(*items, more, size);
    if (!bigger) return kh_fail(err, KH_E_MEMORY, "no memory for WordNet");
    *items = bigger;
    *room = more;
    return KH_OK;
}

static kh_status read_words(reader *r, synset *s) {
    uint32_t words, ignored;
    const char *text;
    size_t length;
    if (!number(r, 2, 16, &words) || words == 0) return bad(r, "a number of words like 02");
    s->name = r->w->pool.length;
    for (uint32_t i = 0; i < words; i++) {
        if (!piece(r, &text, &length) || !kh_utf8_valid(text, length)) return bad(r, "a word");
        for (size_t c = 0; c < length; c++)
            if ((unsigned char)text[c] < 0x20 || text[c] == 0x7F) return bad(r, "a word");
        if (!number(r, 1, 16, &ignored)) return bad(r, "a sense number like 0 behind a word");
        for (size_t c = 0; c < length && i == 0; c++)
            kh_text_add_bytes(&r->w->pool, text[c] == '_' ? " " : text + c, 1);
    }
    kh_text_add_bytes(&r->w->pool, "", 1);
    return r->w->pool.failed ? kh_fail(r->err, KH_E_MEMORY, "no memory for WordNet") : KH_OK;
}

/* "@ 02083346 n 0000": hypernym; "@i" is that of an instance. Others are passed over. */
static kh_status read_pointers(reader *r) {
    kh_wordnet *w = r->w;
    uint32_t pointers, target, ignored;
    const char *text, *part;
    size_t length, part_length, parents = 0;
    if (!number(r, 3, 10, &pointers)) return bad(r, "a number of pointers like 004");
    for (uint32_t i = 0; i < pointers; i++) {
        if (!piece(r, &text, &length) || length > 2 || !number(r, 8, 10, &target) ||
            !piece(r, &part, &part_length) || part_length != 1 || !number(r, 4, 16, &ignored))
            return bad(r, "a pointer like '@ 02083346 n 0000'");
        if (text[0] != '@') continue;
        if (part[0] != 'n') return bad(r, "a noun behind '@'");
        if (++parents > MAX_PARENTS)
            return kh_fail(r->err, KH_E_LIMIT, "%s: line %zu: more than %d hypernyms", r->what,
                           r->line, MAX_PARENTS);
        KH_TRY(grow((void **)&w->parents, &w->parent_room, w->parent_count + 1, sizeof *w->parents,
                    r->err));
        w->parents[w->parent_count++] = target;
    }
    if (piece(r, &text, &length) && (length != 1 || *text != '|'))
        return bad(r, "' | ' and a gloss, or the end of the line");
    return KH_OK;
}

static kh_status read_line(reader *r) {
    kh_wordnet *w = r->w;
    uint32_t ignored;
    const char *text;
    size_t length;
    synset s = {.first_parent = w->parent_count};
    if (!number(r, 8, 10, &s.offset)) return bad(r, "an offset of eight digits");
    if (w->count && s.offset <= w->synsets[w->count - 1].offset)
        return bad(r, "offsets that grow from line to line");
    if (!number(r, 2, 10, &ignored)) return bad(r, "a file number like 05");
    if (!piece(r, &text, &length) || length != 1 || *text != 'n')
        return bad(r, "'n': this is no file of nouns");
    KH_TRY(read_words(r, &s));
    KH_TRY(read_pointers(r));
    KH_TRY(grow((void **)&w->synsets, &w->room, w->count + 1, sizeof *w->synsets, r->err));
    w->synsets[w->count++] = s;
    return KH_OK;
}

static kh_status read_lines(kh_wordnet *w, const char *text, size_t length, const char *what,
                            kh_error *err) {
    reader r = {.w = w, .what = what, .err = err};
    const char *end = text + length;
    for (const char *at = text; at < end; at = r.end + 1) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        r.at = at;
        r.end = newline ? newline : end;
        r.line++;
        if (r.at == r.end || *r.at == ' ') continue; /* the licence */
        KH_TRY(read_line(&r));
    }
    return w->count ? KH_OK : kh_fail(err, KH_E_FORMAT, "%s holds no synsets", what);
}

/* ---- the graph ------------------------------------------------------------------------------- */

static bool find_offset(const kh_wordnet *w, uint32_t offset, size_t *index) {
    size_t lo = 0, hi = w->count;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (w->synsets[mid].offset < offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    *index = lo;
    return lo < w->count && w->synsets[lo].offset == offset;
}

static size_t end_of_parents(const kh_wordnet *w, size_t s) {
    return s + 1 < w->count ? w->synsets[s + 1].first_parent : w->parent_count;
}

static kh_status find_parents(kh_wordnet *w, const char *what, kh_error *err) {
    size_t place;
    for (size_t s = 0; s < w->count; s++)
        for (size_t p = w->synsets[s].first_parent; p < end_of_parents(w, s); p++) {
            if (!find_offset(w, w->parents[p], &place))
                return kh_fail(err, KH_E_FORMAT, "%s: the hypernym %08u of %08u is not there", what,
                               w->parents[p], w->synsets[s].offset);
            w->parents[p] = (uint32_t)place;
        }
    return KH_OK;
}

/* Two lists by place into `out`; steps to what is in both: the fewer. */
static size_t merge(const above *a, size_t a_count, const above *b, size_t b_count, above *out) {
    size_t i = 0, j = 0, n = 0;
    while (i < a_count || j < b_count) {
        if (j == b_count || (i < a_count && a[i].synset < b[j].synset)) {
            out[n++] = a[i++];
        } else if (i == a_count || b[j].synset < a[i].synset) {
            out[n++] = (above){b[j].synset, b[j].steps + 1};
            j++;
        } else {
            out[n] = a[i++];
            if (b[j].steps + 1 < out[n].steps) out[n].steps = b[j].steps + 1;
            n++;
            j++;
        }
    }
    return n;
}

/* Everything above s, whose parents are done. lists: two of [count] scratch. */
static kh_status look_up_from(kh_wordnet *w, size_t s, above *lists[2], const char *what,
                              kh_error *err) {
    size_t n = 1, now = 0;
    uint32_t depth = 0;
    lists[0][0] = (above){(uint32_t)s, 0};
    for (size_t p = w->synsets[s].first_parent; p < end_of_parents(w, s); p++) {
        const synset *parent = &w->synsets[w->parents[p]];
        n = merge(lists[now], n, w->above + parent->first_above, parent->above_count,
                  lists[1 - now]);
        now = 1 - now;
        if (parent->depth > depth) depth = parent->depth;
    }
    if (n > MAX_ABOVE - w->above_count)
        return kh_fail(err, KH_E_LIMIT, "%s: chains of hypernyms are too long", what);
    KH_TRY(grow((void **)&w->above, &w->above_room, w->above_count + n, sizeof *w->above, err));
    memcpy(w->above + w->above_count, lists[now], n * sizeof *w->above);
    w->synsets[s].first_above = w->above_count;
    w->synsets[s].above_count = n;
    w->synsets[s].depth = depth + 1;
    w->above_count += n;
    return KH_OK;
}

/* Parents before children: down a path of unfinished synsets until one has all its parents. */
static kh_status climb(kh_wordnet *w, size_t from, size_t *path, above *lists[2], const char *what,
                       kh_error *err) {
    size_t length = 0;
    path[length++] = from;
    while (length > 0) {
        const size_t s = path[length - 1];
        size_t waits_for = SIZE_MAX;
        for (size_t p = w->synsets[s].first_parent;
             p < end_of_parents(w, s) && waits_for == SIZE_MAX; p++)
            if (w->synsets[w->parents[p]].depth == 0) waits_for = w->parents[p];
        if (waits_for == SIZE_MAX) {
            KH_TRY(look_up_from(w, s, lists, what, err));
            length--;
        } else if (length == w->count || waits_for == s) { /* a path without a repeat is shorter */
            return kh_fail(err, KH_E_FORMAT, "%s: %08u is a hypernym of itself", what,
                           w->synsets[waits_for].offset);
        } else {
            path[length++] = waits_for;
        }
    }
    return KH_OK;
}

static kh_status build(kh_wordnet *w, const char *what, kh_error *err) {
    KH_TRY(find_parents(w, what, err));
    size_t *path = kh_calloc(w->count, sizeof *path);
    above *lists[2] = {kh_calloc(w->count, sizeof **lists), kh_calloc(w->count, sizeof **lists)};
    kh_status status = path && lists[0] && lists[1]
                           ? KH_OK
                           : kh_fail(err, KH_E_MEMORY, "no memory for %zu synsets", w->count);
    for (size_t s = 0; s < w->count && !status; s++)
        if (w->synsets[s].depth == 0) status = climb(w, s, path, lists, what, err);
    kh_free(path);
    kh_free(lists[0]);
    kh_free(lists[1]);
    return status;
}

kh_status kh_wordnet_parse(const char *text, size_t length, const char *what, kh_wordnet **out,
                           kh_error *err) {
    kh_wordnet *w = kh_calloc(1, sizeof *w);
    *out = NULL;
    if (!w) return kh_fail(err, KH_E_MEMORY, "no memory for WordNet");
    kh_status status = read_lines(w, text, length, what, err);
    if (!status) status = build(w, what, err);
    if (status)
        kh_wordnet_close(w);
    else
        *out = w;
    return status;
}

kh_status kh_wordnet_open(const char *folder, const kh_limits *limits, kh_wordnet **out,
                          kh_error *err) {
    const kh_limits defaults = kh_limits_default();
    const uint64_t most = (limits ? limits : &defaults)->max_label_bytes;
    unsigned char *bytes = NULL;
    size_t count = 0;
    *out = NULL;
    char *path = kh_path_join(folder, "data.noun");
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    kh_status status = kh_file_read(path, most, &bytes, &count, err);
    if (!status) status = kh_wordnet_parse((const char *)bytes, count, "data.noun", out, err);
    kh_free(bytes);
    kh_free(path);
    return status;
}

/* ---- questions ------------------------------------------------------------------------------- */

size_t kh_wordnet_count(const kh_wordnet *w) {
    return w->count;
}

bool kh_wordnet_find(const kh_wordnet *w, const char *wnid, size_t *index) {
    uint32_t offset = 0;
    if (!wnid || strlen(wnid) != 9 || wnid[0] != 'n') return false;
    for (size_t i = 1; i < 9; i++) {
        if (wnid[i] < '0' || wnid[i] > '9') return false;
        offset = 10 * offset + (uint32_t)(wnid[i] - '0');
    }
    return find_offset(w, offset, index);
}

kh_synset kh_wordnet_get(const kh_wordnet *w, size_t index) {
    kh_synset out = {.name = w->pool.data + w->synsets[index].name,
                     .depth = w->synsets[index].depth};
    (void)snprintf(out.wnid, sizeof out.wnid, "n%08u", w->synsets[index].offset % 100000000u);
    return out;
}

size_t kh_wordnet_above_count(const kh_wordnet *w, size_t s) {
    return w->synsets[s].above_count;
}

size_t kh_wordnet_above(const kh_wordnet *w, size_t s, size_t i) {
    return w->above[w->synsets[s].first_above + i].synset;
}

/* Steps from s up to `to`; false when it is not above s. */
static bool steps_up(const kh_wordnet *w, size_t s, size_t to, uint32_t *steps) {
    const above *list = w->above + w->synsets[s].first_above;
    size_t lo = 0, hi = w->synsets[s].above_count;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        if (list[mid].synset < to)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == w->synsets[s].above_count || list[lo].synset != to) return false;
    *steps = list[lo].steps;
    return true;
}

bool kh_wordnet_lowest(const kh_wordnet *w, const size_t *synsets, size_t count, size_t *lowest) {
    uint64_t best = UINT64_MAX;
    bool is_any = false;
    if (count == 0) return false;
    const synset *first = &w->synsets[synsets[0]];
    for (size_t i = 0; i < first->above_count; i++) {
        const size_t to = w->above[first->first_above + i].synset;
        uint64_t sum = 0;
        uint32_t steps = 0;
        bool is_common = true;
        for (size_t j = 0; j < count && is_common; j++) {
            is_common = steps_up(w, synsets[j], to, &steps);
            sum += steps;
        }
        if (!is_common) continue;
        const uint32_t depth = w->synsets[to].depth;
        if (is_any && depth < w->synsets[*lowest].depth) continue;
        if (is_any && depth == w->synsets[*lowest].depth && sum >= best) continue;
        *lowest = to;
        best = sum;
        is_any = true;
    }
    return is_any;
}

double kh_wordnet_likeness(const kh_wordnet *w, size_t a, size_t b) {
    const size_t both[] = {a, b};
    size_t lowest;
    uint32_t from_a, from_b;
    if (!kh_wordnet_lowest(w, both, 2, &lowest) || !steps_up(w, a, lowest, &from_a) ||
        !steps_up(w, b, lowest, &from_b))
        return (double)NAN;
    const double depth = w->synsets[lowest].depth;
    return 2 * depth / (2 * depth + from_a + from_b);
}
