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

#ifdef __cplusplus
}
#endif
#endif
