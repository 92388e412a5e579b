/* cli/share.h: what `share` computed, and the two ways it leaves: files and figures. */
#ifndef KH_CLI_SHARE_H
#define KH_CLI_SHARE_H

#include "cli/session.h"

enum { KH_SHARE_METHODS = 2 }; /* clusters of sets, bases of the factorisation */

/* What WordNet says of the classes. */
typedef struct kh_share_nouns {
    kh_wordnet *wordnet;
    size_t *synset; /* [classes], or KH_NO_CLASS */
    size_t known;   /* classes with a synset */
    size_t classes;
    size_t *room; /* [2, classes] scratch: classes of a group, and their synsets */
} kh_share_nouns;

typedef struct kh_share_result {
    kh_ranking ranking;
    kh_shared shared;
    size_t classes, k, bases, block; /* k: ranks in a set; block: the factorised one */
    size_t clusters;                 /* bases, or more where classes share nothing */
    const char *likeness_name;       /* "jaccard" */
    float *likeness;                 /* [classes, classes] */
    kh_join *joins;                  /* [classes - 1] */
    size_t *order;                   /* [classes] leaves of the tree */
    size_t *label[KH_SHARE_METHODS]; /* [classes] cluster; base with the largest part */
    kh_align_mode bases_mode;        /* alignment that is factorised: fold */
    kh_nmf nmf;                      /* of its positive part [units, classes] of the block */
    uint64_t seed;
    /* with --superclasses */
    char **group_names; /* [groups]; the last is "other" when classes are left over */
    size_t groups;
    size_t *group; /* [classes] or NULL */
    kh_label_match match[KH_SHARE_METHODS];
    kh_share_nouns nouns; /* with --wordnet */
} kh_share_result;

extern const char *const kh_share_method_names[KH_SHARE_METHODS]; /* "clusters", "bases" */

/* Lines "CLASSES <tab, comma or blank> NAME": an index, a range 151-268, a wnid or a name before a
 * tab or comma. '#' begins a comment. Classes on no line become the group "other". */
kh_status kh_share_read_groups(kh_share_result *r, const kh_classes *classes, const char *path,
                               kh_error *err);

/* Where most of a group's classes ended up. */
typedef struct kh_share_group {
    size_t classes, best, in_best, best_size;
    double within, across; /* mean likeness inside the group, and to all other classes */
} kh_share_group;
kh_status kh_share_look_at_group(const kh_share_result *r, size_t method, size_t group,
                                 kh_share_group *out, kh_error *err);

/* ---- WordNet --------------------------------------------------------------------------------- */

/* The synset of every class by its wnid. Errors: KH_E_NOT_FOUND WordNet knows none of them. Pair:
 * kh_share_nouns_clear. */
kh_status kh_share_read_nouns(const char *folder, const kh_classes *classes, kh_share_nouns *out,
                              kh_error *err);
void kh_share_nouns_clear(kh_share_nouns *nouns);

/* Of some classes: what all of them are kinds of, and how alike two of them are on average. */
typedef struct kh_share_kin {
    size_t known; /* of the classes; with fewer than two nothing else is said */
    bool has_lowest;
    kh_synset lowest;
    double likeness; /* mean Wu-Palmer similarity of two of them, 0 without a common one; or NaN */
} kh_share_kin;
/* classes [count], different ones. */
kh_share_kin kh_share_kin_of(const kh_share_nouns *nouns, const size_t *classes, size_t count);

/* The four columns lca_wnid, lca_name, lca_depth, wu_palmer. */
#define KH_SHARE_KIN_COLUMNS "lca_wnid", "lca_name", "lca_depth", "wu_palmer"
void kh_share_put_kin(kh_csv *csv, const kh_share_kin *kin);

/* Mean Wu-Palmer similarity of pairs of classes: all; those that share a value vector; those of one
 * cluster; of one base. NaN without such pairs. */
enum { KH_SHARE_PAIRS = 4 };
extern const char *const kh_share_pair_names[KH_SHARE_PAIRS];
void kh_share_pair_means(const kh_share_result *r, double means[KH_SHARE_PAIRS],
                         size_t counts[KH_SHARE_PAIRS]);

/* wordnet.csv and class_pairs.csv */
kh_status kh_share_write_nouns(const kh_share_result *r, const char *folder, kh_error *err);

/* ---- files ----------------------------------------------------------------------------------- */

/* shared.csv of `share` and `align`; nouns may be NULL. */
kh_status kh_share_write_units(const kh_shared *shared, const kh_share_nouns *nouns,
                               const char *folder, kh_error *err);
kh_status kh_share_write_files(const kh_share_result *r, const kh_model *model, const char *folder,
                               kh_error *err);
kh_status kh_share_write_figures(const kh_share_result *r, const kh_model *model,
                                 const char *folder, kh_error *err);

#endif
