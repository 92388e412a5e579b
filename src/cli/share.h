/* cli/share.h: what `share` computed, and the two ways it leaves: files and figures. */
#ifndef KH_CLI_SHARE_H
#define KH_CLI_SHARE_H

#include "cli/session.h"

enum { KH_SHARE_METHODS = 2 }; /* clusters of sets, bases of the factorisation */

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
    kh_nmf nmf;                      /* of max(fold, 0) [units, classes] of the block */
    uint64_t seed;
    /* with --superclasses */
    char **group_names; /* [groups]; the last is "other" when classes are left over */
    size_t groups;
    size_t *group; /* [classes] or NULL */
    kh_label_match match[KH_SHARE_METHODS];
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

/* shared.csv of `share` and `align`. */
kh_status kh_share_write_units(const kh_shared *shared, const char *folder, kh_error *err);
kh_status kh_share_write_files(const kh_share_result *r, const kh_model *model, const char *folder,
                               kh_error *err);
kh_status kh_share_write_figures(const kh_share_result *r, const kh_model *model,
                                 const char *folder, kh_error *err);

#endif
