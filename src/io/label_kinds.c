/* What the labels of a set are kinds of, by WordNet's data.noun in its folder. */
#include "io/label_set.h"
#include "io/wordnet.h"

#include "base/alloc.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>

/* Labels times what is above them; WordNet has about twelve above each of ImageNet's 1000, a
 * quarter of a million in all of its 21,841. */
enum { MOST_LINKS = 1 << 19 };

/* For one category at a time, indexed by synset. */
typedef struct gathering {
    const kh_wordnet *wordnet;
    uint32_t *count; /* labels below it; scratch, zero between categories */
    size_t *kind;    /* its place among the set's kinds */
} gathering;

/* The synset a label is named by: "n02099601", maybe words behind it. */
static bool synset_of(const kh_wordnet *wordnet, const char *name, size_t *synset) {
    char wnid[10];
    if (!name || strspn(name, "n0123456789") != 9) return false;
    memcpy(wnid, name, 9);
    wnid[9] = '\0';
    return kh_wordnet_find(wordnet, wnid, synset);
}

static kh_status add_kind(kh_label_set *set, const gathering *g, size_t category, size_t synset,
                          kh_error *err) {
    if (set->kind_count == set->kind_room) {
        const size_t room = set->kind_room ? 2 * set->kind_room : 64;
        kh_kind *more = kh_realloc(set->kinds, room, sizeof *more);
        if (!more) return kh_fail(err, KH_E_MEMORY, "no memory for kinds of labels");
        set->kinds = more;
        set->kind_room = room;
    }
    const kh_synset s = kh_wordnet_get(g->wordnet, synset);
    kh_kind *k = &set->kinds[set->kind_count];
    *k = (kh_kind){.name = kh_strdup(s.name),
                   .category = category,
                   .depth = s.depth,
                   .labels = kh_calloc(g->count[synset], sizeof *k->labels)};
    memcpy(k->wnid, s.wnid, sizeof k->wnid);
    g->kind[synset] = set->kind_count++;
    return k->name && k->labels ? KH_OK
                                : kh_fail(err, KH_E_MEMORY, "no memory for kinds of labels");
}

static bool has_same_labels(const kh_kind *a, const kh_kind *b) {
    return a->count == b->count && memcmp(a->labels, b->labels, a->count * sizeof *a->labels) == 0;
}

static void free_kind(kh_kind *k) {
    kh_free(k->name);
    kh_free(k->labels);
}

typedef struct entry {
    uint64_t hash; /* of the labels */
    const kh_kind *kind;
} entry;

static uint64_t hash_of(const kh_kind *k) {
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < k->count; i++)
        hash = (hash ^ k->labels[i]) * 1099511628211u;
    return hash;
}

/* Equal ones side by side, the deepest first, of equally deep ones the first of the set. */
static int compare_entries(const void *left, const void *right) {
    const entry *a = left, *b = right;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    if (a->kind->depth != b->kind->depth) return a->kind->depth > b->kind->depth ? -1 : 1;
    return (a->kind > b->kind) - (a->kind < b->kind);
}

/* Of those from `first` on with the same labels the deepest stays. */
static kh_status keep_deepest(kh_label_set *set, size_t first, kh_error *err) {
    const size_t count = set->kind_count - first;
    if (count == 0) return KH_OK;
    entry *sorted = kh_calloc(count, sizeof *sorted);
    if (!sorted) return kh_fail(err, KH_E_MEMORY, "no memory for kinds of labels");
    for (size_t i = 0; i < count; i++)
        sorted[i] = (entry){hash_of(&set->kinds[first + i]), &set->kinds[first + i]};
    qsort(sorted, count, sizeof *sorted, compare_entries);
    const kh_kind *kept = NULL; /* the last one; two sets of one hash may both stay, no more */
    for (size_t i = 0; i < count; i++) {
        kh_kind *k = &set->kinds[sorted[i].kind - set->kinds];
        k->is_kept = !kept || !has_same_labels(kept, k);
        if (k->is_kept) kept = k;
    }
    kh_free(sorted);
    size_t end = first;
    for (size_t i = first; i < set->kind_count; i++) {
        if (set->kinds[i].is_kept)
            set->kinds[end++] = set->kinds[i];
        else
            free_kind(&set->kinds[i]);
    }
    set->kind_count = end;
    return KH_OK;
}

static kh_status gather(kh_label_set *set, const gathering *g, size_t category, kh_error *err) {
    const size_t synsets = kh_wordnet_count(g->wordnet), first = set->kind_count;
    size_t s, sum = 0;
    memset(g->count, 0, synsets * sizeof *g->count);
    for (size_t l = 1; l <= set->label_count; l++) {
        if (set->category_of[l] != category || !synset_of(g->wordnet, set->names[l], &s)) continue;
        sum += kh_wordnet_above_count(g->wordnet, s);
        if (sum > MOST_LINKS)
            return kh_fail(err, KH_E_LIMIT, "data.noun: the labels have more than %d hypernyms",
                           MOST_LINKS);
        for (size_t i = 0; i < kh_wordnet_above_count(g->wordnet, s); i++)
            g->count[kh_wordnet_above(g->wordnet, s, i)]++;
    }
    for (s = 0; s < synsets; s++)
        if (g->count[s] > 1) KH_TRY(add_kind(set, g, category, s, err));
    for (size_t l = 1; l <= set->label_count; l++) {
        if (set->category_of[l] != category || !synset_of(g->wordnet, set->names[l], &s)) continue;
        for (size_t i = 0; i < kh_wordnet_above_count(g->wordnet, s); i++) {
            const size_t above = kh_wordnet_above(g->wordnet, s, i);
            if (g->count[above] < 2) continue;
            kh_kind *k = &set->kinds[g->kind[above]];
            k->labels[k->count++] = l;
        }
    }
    return keep_deepest(set, first, err);
}

kh_status kh_label_set_read_kinds(kh_label_set *set, kh_sha256 *sha, kh_error *err) {
    unsigned char *bytes = NULL;
    size_t count = 0;
    kh_wordnet *wordnet = NULL;
    gathering g = {NULL, NULL, NULL};
    char *path = kh_path_join(set->folder, "data.noun");
    if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    kh_status status = KH_OK;
    if (!kh_file_exists(path)) goto done;
    status = kh_file_read(path, set->limits.max_label_bytes, &bytes, &count, err);
    if (!status && !kh_sha256_add(sha, bytes, count))
        status = kh_fail(err, KH_E_MEMORY, "no memory for a digest");
    if (!status) status = kh_wordnet_parse((const char *)bytes, count, "data.noun", &wordnet, err);
    if (status) goto done;
    g = (gathering){wordnet, kh_calloc(kh_wordnet_count(wordnet), sizeof *g.count),
                    kh_calloc(kh_wordnet_count(wordnet), sizeof *g.kind)};
    if (!g.count || !g.kind) status = kh_fail(err, KH_E_MEMORY, "no memory for kinds of labels");
    for (size_t c = 0; c < set->category_count && !status; c++)
        status = gather(set, &g, c, err);
done:
    kh_free(g.count);
    kh_free(g.kind);
    kh_wordnet_close(wordnet);
    kh_free(bytes);
    kh_free(path);
    return status;
}

void kh_label_set_free_kinds(kh_label_set *set) {
    for (size_t k = 0; k < set->kind_count; k++)
        free_kind(&set->kinds[k]);
    kh_free(set->kinds);
}

size_t kh_label_set_kinds(const kh_label_set *set) {
    return set->kind_count;
}

kh_label_kind kh_label_set_kind(const kh_label_set *set, size_t kind) {
    const kh_kind *k = &set->kinds[kind];
    return (kh_label_kind){k->wnid, k->name, k->category, k->depth, k->labels, k->count};
}
