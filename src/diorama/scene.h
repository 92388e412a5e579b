/* diorama/scene.h: what is where in a scene, and putting it on the easel. */
#ifndef KH_DIORAMA_SCENE_H
#define KH_DIORAMA_SCENE_H

#include "diorama/backdrop.h"
#include "diorama/stage.h"

/* Numbers of the truth picture: 0 nothing, 1.. regions, KH_TRUTH_BACKDROP.. elements of the
 * backdrop. */
enum { KH_TRUTH_BACKDROP = 64 };

/* Where a renderer paints. Both pictures are size x size. */
typedef struct kh_canvas {
    uint32_t size;
    unsigned char *picture; /* 32 bits a pixel, cairo's RGB24 */
    size_t picture_stride;
    unsigned char *truth; /* numbers */
    size_t truth_stride;
    cairo_surface_t *picture_surface, *truth_surface;
    unsigned char *trial; /* like truth, for tries */
    cairo_t *trial_context;
} kh_canvas;

typedef struct kh_lighting {
    double brightness, contrast;
    double slope[2];       /* over the picture */
    double thing_slope[2]; /* over a thing's box */
    double cast[3];
    double noise;
    double outline; /* how dark the lines around parts are */
    uint32_t noise_key;
} kh_lighting;

typedef struct kh_setting {
    kh_class class;
    kh_backdrop backdrop;
    kh_dress dress;
    kh_lighting lighting;
    cairo_matrix_t base; /* places the object */
    double box[4];       /* of the whole object, pixels */
    double scale;
    size_t first_region, past_region; /* the object's */
    double visible;
} kh_setting;

/* Decides everything about scene `index` that does not depend on pixels; needs the easel for
 * measuring only. */
void kh_scene_plan(kh_setting *setting, kh_easel *easel, uint32_t size, uint64_t seed,
                   uint32_t flags, uint64_t index);

/* Paints the scene; fills in regions (with pixels of 0) and what is visible. */
void kh_scene_paint(kh_setting *setting, kh_easel *easel, kh_canvas *canvas, uint64_t seed,
                    uint64_t index);

#endif
