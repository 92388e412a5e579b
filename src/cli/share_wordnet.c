/* What WordNet says of classes that share value vectors. */
#include "cli/outdir.h"
#include "cli/share.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

const char *const kh_share_pair_names[KH_SHARE_PAIRS] = {"all pairs", "pairs that share vectors",
                                                         "within clusters", "within bases"};

kh_status kh_share_read_nouns(const char *folder, const kh_classes *classes, kh_share_nouns *out,
                              kh_error *err) {
    const size_t count = kh_classes_count(classes);
    *out = (kh_share_nouns){.classes = count};
    KH_TRY(kh_wordnet_open(folder, NULL, &out->wordnet, err));
    out->synset = kh_calloc(count, sizeof *out->synset);
    out->room = kh_calloc(2 * count, sizeof *out->room);
    if (!out->synset || !out->room) return kh_fail(err, KH_E_MEMORY, "no memory for synsets");
    for (size_t c = 0; c < count; c++)
        if (kh_wordnet_find(out->wordnet, kh_classes_get(classes, c).wnid, &out->synset[c]))
            out->known++;
        else
            out->synset[c] = KH_NO_CLASS;
    if (out->known) return KH_OK;
    return kh_fail(err, KH_E_NOT_FOUND,
                   "--wordnet: none of the model's classes has a wnid that is a noun there, like "
                   "n02084071; the first one's is '%.40s'",
                   kh_classes_get(classes, 0).wnid ? kh_classes_get(classes, 0).wnid : "");
}

void kh_share_nouns_clear(kh_share_nouns *nouns) {
    kh_wordnet_close(nouns->wordnet);
    kh_free(nouns->synset);
    kh_free(nouns->room);
    *nouns = (kh_share_nouns){0};
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* 0 for two that have nothing in common. */
static double likeness(const kh_share_nouns *nouns, size_t a, size_t b) {
    const double one = kh_wordnet_likeness(nouns->wordnet, a, b);
    return one >= 0 ? one : 0;
}

kh_share_kin kh_share_kin_of(const kh_share_nouns *nouns, const size_t *classes, size_t count) {
    kh_share_kin out = {.likeness = (double)NAN};
    size_t *of = nouns->room + nouns->classes, lowest;
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        if (nouns->synset[classes[i]] != KH_NO_CLASS) of[out.known++] = nouns->synset[classes[i]];
    if (out.known < 2) return out;
    for (size_t i = 0; i < out.known; i++)
        for (size_t j = 0; j < i; j++)
            sum += likeness(nouns, of[i], of[j]);
    out.likeness = 2 * sum / (double)(out.known * (out.known - 1));
    out.has_lowest = kh_wordnet_lowest(nouns->wordnet, of, out.known, &lowest);
    if (out.has_lowest) out.lowest = kh_wordnet_get(nouns->wordnet, lowest);
    return out;
}

void kh_share_put_kin(kh_csv *csv, const kh_share_kin *kin) {
    kh_store_csv_text(csv, kin->has_lowest ? kin->lowest.wnid : NULL);
    kh_store_csv_text(csv, kin->has_lowest ? kin->lowest.name : NULL);
    if (kin->has_lowest)
        kh_store_csv_size(csv, kin->lowest.depth);
    else
        kh_store_csv_text(csv, NULL);
    kh_store_csv_f64(csv, kin->likeness);
}

/* ---- pairs ----------------------------------------------------------------------------------- */

void kh_share_pair_means(const kh_share_result *r, double means[KH_SHARE_PAIRS],
                         size_t counts[KH_SHARE_PAIRS]) {
    const kh_share_nouns *nouns = &r->nouns;
    double sums[KH_SHARE_PAIRS] = {0};
    memset(counts, 0, KH_SHARE_PAIRS * sizeof *counts);
    for (size_t c = 0; c < r->classes; c++)
        for (size_t d = 0; d < c; d++) {
            if (nouns->synset[c] == KH_NO_CLASS || nouns->synset[d] == KH_NO_CLASS) continue;
            const double one = likeness(nouns, nouns->synset[c], nouns->synset[d]);
            const bool is_in[KH_SHARE_PAIRS] = {true, r->likeness[c * r->classes + d] > 0,
                                                r->label[0][c] == r->label[0][d],
                                                r->label[1][c] == r->label[1][d]};
            for (size_t i = 0; i < KH_SHARE_PAIRS; i++)
                if (is_in[i]) sums[i] += one, counts[i]++;
        }
    for (size_t i = 0; i < KH_SHARE_PAIRS; i++)
        means[i] = counts[i] ? sums[i] / (double)counts[i] : (double)NAN;
}

static kh_status write_pairs(const kh_share_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"class_a", "class_b", "likeness", KH_SHARE_KIN_COLUMNS};
    char path[4096];
    kh_csv *csv = NULL;
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "class_pairs.csv"));
    KH_TRY(kh_store_csv_open(path, columns, 7, &csv, err));
    for (size_t a = 0; a < r->classes; a++)
        for (size_t b = a + 1; b < r->classes; b++) {
            const size_t both[] = {a, b};
            if (!(r->likeness[a * r->classes + b] > 0)) continue;
            const kh_share_kin kin = kh_share_kin_of(&r->nouns, both, 2);
            kh_store_csv_size(csv, a);
            kh_store_csv_size(csv, b);
            kh_store_csv_f32(csv, r->likeness[a * r->classes + b]);
            kh_share_put_kin(csv, &kin);
            kh_store_csv_end(csv);
        }
    return kh_store_csv_close(csv, err);
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* A row for each group of labels [classes] that has two classes or more. */
static void put_groups(const kh_share_result *r, kh_csv *csv, const char *method,
                       const size_t *labels, size_t groups, const char *const *names) {
    size_t *classes = r->nouns.room;
    for (size_t g = 0; g < groups; g++) {
        size_t count = 0;
        for (size_t c = 0; c < r->classes; c++)
            if (labels[c] == g) classes[count++] = c;
        if (count < 2) continue;
        const kh_share_kin kin = kh_share_kin_of(&r->nouns, classes, count);
        kh_store_csv_text(csv, method);
        kh_store_csv_size(csv, g);
        kh_store_csv_text(csv, names ? names[g] : NULL);
        kh_store_csv_size(csv, count);
        kh_store_csv_size(csv, kin.known);
        kh_share_put_kin(csv, &kin);
        kh_store_csv_end(csv);
    }
}

kh_status kh_share_write_nouns(const kh_share_result *r, const char *folder, kh_error *err) {
    static const char *const columns[] = {"method",  "group", "name",
                                          "classes", "known", KH_SHARE_KIN_COLUMNS};
    char path[4096];
    kh_csv *csv = NULL;
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "wordnet.csv"));
    KH_TRY(kh_store_csv_open(path, columns, 9, &csv, err));
    put_groups(r, csv, kh_share_method_names[0], r->label[0], r->clusters, NULL);
    put_groups(r, csv, kh_share_method_names[1], r->label[1], r->bases, NULL);
    if (r->group)
        put_groups(r, csv, "superclasses", r->group, r->groups,
                   (const char *const *)r->group_names);
    KH_TRY(kh_store_csv_close(csv, err));
    return write_pairs(r, folder, err);
}
