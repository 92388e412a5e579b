/* keyhole/diorama.h: the demo world. Procedural scenes of one object with parts, materials and
 * colours before a varied background, each with the truth of every pixel. Scene `index` of a seed
 * is the same on every run and thread count.
 */
#ifndef KEYHOLE_DIORAMA_H
#define KEYHOLE_DIORAMA_H

#include "keyhole/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a label map is about, in the order of the maps. */
typedef enum kh_diorama_category {
    KH_DIORAMA_OBJECT,     /* the class's object, or a distractor that is no class */
    KH_DIORAMA_PART,       /* a named part of the object: roof, tail, wheel */
    KH_DIORAMA_MATERIAL,   /* plain, stripes, dots, checker, ... ; objects only */
    KH_DIORAMA_COLOUR,     /* the named main colour, objects and background */
    KH_DIORAMA_BACKGROUND, /* sky, grass, sand, ... ; where nothing stands before it */
    KH_DIORAMA_CATEGORIES  /* how many */
} kh_diorama_category;

enum { KH_DIORAMA_MAX_REGIONS = 48, KH_DIORAMA_MAX_SIZE = 1024, KH_DIORAMA_MIN_SIZE = 32 };

typedef enum kh_diorama_flags {
    /* Backgrounds independent of the class: the planted shortcuts are gone (docs/diorama.md). */
    KH_DIORAMA_NO_SHORTCUTS = 1
} kh_diorama_flags;

/* Labels are numbered from 1 over all categories; 0 is "unlabelled". Names and category live as
 * long as the library. */
KH_API size_t kh_diorama_label_count(void); /* numbers 1..count are valid */
KH_API const char *kh_diorama_label_name(size_t label);
KH_API kh_diorama_category kh_diorama_label_category(size_t label);
KH_API const char *kh_diorama_category_name(
    kh_diorama_category category); /* "object", "part", "material", "color", "background" */

/* Classes are 0..count-1; class c is the object label kh_diorama_class_label(c). */
KH_API size_t kh_diorama_class_count(void);
KH_API const char *kh_diorama_class_name(size_t class_index);
KH_API const char *kh_diorama_class_wnid(
    size_t class_index); /* a made-up synset-like id, "d00000007", unique per class */
KH_API size_t kh_diorama_class_label(size_t class_index);
/* True for the six close relatives of one family. */
KH_API bool kh_diorama_class_is_relative(size_t class_index);
/* The background label before which the class stands most of the time, or 0 (the planted
 * shortcuts). */
KH_API size_t kh_diorama_class_shortcut(size_t class_index);

/* One region: the visible pixels of one part of one thing. */
typedef struct kh_diorama_region {
    uint16_t object;   /* object label */
    uint16_t part;     /* part label, 0 for distractors */
    uint16_t material; /* material label */
    uint16_t colour;   /* colour label */
    uint32_t pixels;   /* visible pixels */
    char caption[80];  /* "striped orange fish tail" */
} kh_diorama_region;

/* What a scene shows. */
typedef struct kh_diorama_scene {
    uint64_t index;
    size_t class_index;
    uint16_t background; /* background label */
    double
        visible;  /* visible share of the object's pixels, 0..1 (the rest is occluded or outside) */
    double scale; /* longer side of the object's box over the picture's side, before occlusion */
    uint32_t box[4]; /* visible object's x0, y0, x1, y1 in pixels; x1 and y1 exclusive */
    size_t regions;  /* used entries of region */
    kh_diorama_region region[KH_DIORAMA_MAX_REGIONS];
} kh_diorama_scene;

/* A renderer for square pictures of `size` pixels a side. Use each handle from one thread at a
 * time; any number of handles may run at once. */
typedef struct kh_diorama kh_diorama;

/* flags: kh_diorama_flags or 0. KH_E_ARG for a size outside
 * KH_DIORAMA_MIN_SIZE..KH_DIORAMA_MAX_SIZE or unknown flags. */
KH_API kh_status kh_diorama_new(uint32_t size, uint64_t seed, uint32_t flags, kh_diorama **out,
                                kh_error *err);
KH_API void kh_diorama_free(kh_diorama *diorama);

/* Renders scene `index`. Its class is index modulo the number of classes.
 * rgb: NULL or [size][size][3] bytes, sRGB. labels: NULL or [KH_DIORAMA_CATEGORIES][size][size]
 * label numbers. scene: NULL or the description. */
KH_API kh_status kh_diorama_render(kh_diorama *diorama, uint64_t index, uint8_t *rgb,
                                   uint16_t *labels, kh_diorama_scene *scene, kh_error *err);

/* ---- data sets ------------------------------------------------------------------------------- */

/* Which scenes go into a folder. Zero means "the default" unless the comment says otherwise. */
typedef struct kh_diorama_set {
    uint64_t seed;
    uint64_t start;        /* first scene's index */
    uint64_t count;        /* scenes, 1..KH_DIORAMA_MAX_COUNT */
    uint32_t size;         /* 96 */
    uint32_t flags;        /* kh_diorama_flags */
    const size_t *classes; /* [class_count] ascending; only scenes of these. NULL: of all */
    size_t class_count;
    bool no_labels;          /* pictures and scenes.csv alone */
    bool overwrite;          /* replace the data set of an earlier run with other settings */
    size_t threads;          /* 0: one per core. The files do not depend on it */
    kh_progress_fn progress; /* counts "scenes" */
    void *progress_user;
} kh_diorama_set;

enum { KH_DIORAMA_MAX_COUNT = 100000000 };

typedef struct kh_diorama_cost {
    double bytes;   /* on the disk, with 4 KiB for every begun 4 KiB of a file */
    uint64_t files; /* pictures and label maps */
    double seconds; /* of one thread */
} kh_diorama_cost;

/* What writing the set would take, from one scene of each of its classes. Errors: KH_E_ARG. */
KH_API kh_status kh_diorama_estimate(const kh_diorama_set *set, kh_diorama_cost *out,
                                     kh_error *err);

/* Writes the set into a folder, in the layout of Broden (docs/diorama.md):
 *     images/scenes/<class>/<index>.png              pictures
 *     images/labels/<category>/<class>/<index>.png   label maps, label = R + 256 G
 *     index.csv label.csv category.csv c_<category>.csv captions.csv scenes.csv classes.csv
 *     labels.txt manifest.json                       the manifest comes last
 * The same set gives the same bytes on any number of threads. A folder that already holds exactly
 * this set is left alone, and *was_there (may be NULL) says so; one that a stopped run left is
 * begun anew. Memory does not grow with count. Errors: KH_E_ARG an impossible set, or a folder with
 * other results (see overwrite); KH_E_IO the folder cannot be written or the disk is too small;
 * KH_E_MEMORY; KH_E_STOPPED. */
KH_API kh_status kh_diorama_write(const kh_diorama_set *set, const char *folder, bool *was_there,
                                  kh_error *err);

/* The folder of pictures ("<cache>/diorama/.../images/scenes", in class folders) of the default set
 * `demo:images`: four scenes of every class, seed 3, size 96. Rendered into the cache on first use.
 * Errors: KH_E_IO, KH_E_ARG no cache folder or out too small, KH_E_MEMORY. */
KH_API kh_status kh_diorama_demo_images(char *out, size_t out_bytes, kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
