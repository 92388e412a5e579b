/* diorama/broden.h: inside the writing of data sets.
 *
 *     broden.c          one set from beginning to end: render in parallel, write in order
 *     broden_tables.c   the CSV tables
 *     broden_folder.c   folders, the manifest, what an earlier run left
 *     demo_images.c     the default set in the cache */
#ifndef KH_DIORAMA_BRODEN_H
#define KH_DIORAMA_BRODEN_H

#include "base/file.h"
#include "base/text.h"
#include "keyhole/diorama.h"

enum { KH_BRODEN_CLASSES = 256 };

/* A set with its defaults filled in. */
typedef struct kh_broden {
    kh_diorama_set set;
    char folder[3072];
    size_t classes[KH_BRODEN_CLASSES]; /* [class_count] what the set holds, ascending */
    size_t class_count;
    uint64_t first; /* scenes of `classes` before the set's start */
    size_t labels;  /* numbers 1..labels */
    size_t pixels;  /* of a picture */
    char
        fingerprint[65]; /* sha256 of the first scenes: says that another keyhole draws otherwise */
    kh_diorama_cost cost;
} kh_broden;

/* Index of the set's k-th scene. */
uint64_t kh_broden_index(const kh_broden *b, uint64_t k);

/* Everything about one scene but its pixels. */
typedef struct kh_broden_row {
    kh_diorama_scene scene;
    uint32_t boxes[KH_DIORAMA_MAX_REGIONS][4]; /* x0, y0, x1, y1 of the regions */
    uint32_t *counts;                          /* [labels + 1] pixels of each label */
    kh_status status;                          /* why it could not be written */
    kh_error why;
} kh_broden_row;

/* "scenes/fish/000123.png", "labels/part/fish/000123.png": below images/ */
void kh_broden_picture(const kh_diorama_scene *scene, char *out, size_t out_bytes);
void kh_broden_map(const kh_diorama_scene *scene, size_t category, char *out, size_t out_bytes);

/* ---- broden_tables.c ------------------------------------------------------------------------- */

typedef struct kh_broden_table {
    kh_file_writer file;
    kh_text text; /* not yet written */
    bool is_open;
} kh_broden_table;

enum { KH_BRODEN_INDEX, KH_BRODEN_SCENES, KH_BRODEN_CAPTIONS, KH_BRODEN_TABLES };

/* The tables that grow with the set, and the sums over it. */
typedef struct kh_broden_tables {
    kh_broden_table table[KH_BRODEN_TABLES];
    uint64_t *images; /* [labels + 1] in which a label occurs */
    uint64_t *pixels; /* [labels + 1] */
} kh_broden_tables;

kh_status kh_broden_tables_begin(const kh_broden *b, kh_broden_tables *t, kh_error *err);
kh_status kh_broden_tables_add(const kh_broden *b, kh_broden_tables *t, const kh_broden_row *row,
                               kh_error *err);
/* Ends what was begun and, when keep is true, writes the tables of sums. */
kh_status kh_broden_tables_end(const kh_broden *b, kh_broden_tables *t, bool keep, kh_error *err);

/* ---- broden_folder.c ------------------------------------------------------------------------- */

/* Looks for an earlier run. *is_complete: it is the same set. */
kh_status kh_broden_folder_check(const kh_broden *b, bool *is_complete, kh_error *err);
/* Removes an earlier run, makes the folders, marks the set as unfinished. */
kh_status kh_broden_folder_begin(const kh_broden *b, kh_error *err);
/* Flushes, writes the manifest, removes the mark. */
kh_status kh_broden_folder_end(const kh_broden *b, kh_error *err);

#endif
