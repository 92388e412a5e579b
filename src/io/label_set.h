/* io/label_set.h: inside the label maps. */
#ifndef KH_IO_LABEL_SET_H
#define KH_IO_LABEL_SET_H

#include "base/status.h"
#include "io/sha256.h"
#include "keyhole/io.h"

/* ImageNet-S marks what is not to be counted with 1000, behind its 919 classes. */
enum { KH_LABEL_CATEGORIES = 16, KH_LABELS = 65535, KH_IMAGENET_S_LABELS = 919 };

typedef struct kh_labelled_image {
    char *key;                        /* "folder/name" without ending */
    size_t height, width;             /* of the picture; 0: not known */
    char *cells[KH_LABEL_CATEGORIES]; /* items with ';' between: a number or a map's path */
} kh_labelled_image;

typedef struct kh_kind {
    char wnid[12];
    char *name;
    size_t category, depth;
    size_t *labels, count;
    bool is_kept; /* while they are gathered */
} kh_kind;

struct kh_label_set {
    char *folder;              /* cells are relative to it */
    kh_labelled_image *images; /* sorted by key */
    size_t image_count, image_capacity;
    char *names[KH_LABELS + 1]; /* NULL: not used */
    uint8_t category_of[KH_LABELS + 1];
    size_t label_count;
    bool is_named_by_list; /* labels.txt: a map may have no label beyond it */
    char *categories[KH_LABEL_CATEGORIES];
    size_t category_count;
    kh_kind *kinds;
    size_t kind_count, kind_room;
    kh_limits limits;
    char sha256[65];
};

/* Fill the set from the tables of a Broden folder, or from a folder of maps. */
kh_status kh_label_set_read_broden(kh_label_set *set, kh_error *err);
kh_status kh_label_set_read_masks(kh_label_set *set, kh_error *err);

/* label_kinds.c: what the labels are kinds of, when the folder has data.noun; adds it to sha. */
kh_status kh_label_set_read_kinds(kh_label_set *set, kh_sha256 *sha, kh_error *err);
void kh_label_set_free_kinds(kh_label_set *set);

/* key of a path: the last two parts, without the ending; free with kh_free. */
char *kh_label_key(const char *path);

#endif
