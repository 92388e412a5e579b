/* diorama/stage.h: the inside of the easel, for the scene. */
#ifndef KH_DIORAMA_STAGE_H
#define KH_DIORAMA_STAGE_H

#include "diorama/easel.h"
#include "diorama/tiles.h"

enum { KH_EASEL_PATTERNS = 8 };

typedef enum kh_easel_mode {
    KH_EASEL_PAINT,   /* picture and truth */
    KH_EASEL_TRUTH,   /* truth alone, to see what would be covered */
    KH_EASEL_MEASURE, /* neither: `box` grows */
} kh_easel_mode;

struct kh_easel {
    kh_easel_mode mode;
    cairo_t *picture; /* paths are laid out here, also when nothing is painted */
    cairo_t *truth;   /* hard edges, replaces what is there */
    const kh_tiles *tiles;

    /* what is drawn now */
    cairo_matrix_t base; /* object coordinates to pixels */
    double unit_px;      /* pixels of one object unit */
    uint16_t object;     /* its label */
    bool is_class;       /* distractors have no parts */
    double box[4];       /* measured: x0, y0, x1, y1 in pixels */
    bool has_box;

    /* outlines: only in the picture */
    double outline_alpha;
    double outline_grey;
    double hair_px; /* width of an outline, and the least of a stroke */

    kh_diorama_region *region; /* [KH_DIORAMA_MAX_REGIONS]; region r is painted as number r + 1 */
    size_t regions;

    struct {
        kh_paint paint;
        cairo_pattern_t *pattern;
    } kept[KH_EASEL_PATTERNS]; /* patterns of the current thing */
    size_t kept_count;
};

/* Next comes a thing with this label, placed by `base`. Forgets the patterns and the box of the
 * last one. */
void kh_easel_begin(kh_easel *easel, kh_easel_mode mode, const cairo_matrix_t *base,
                    uint16_t object, bool is_class);
void kh_easel_end(kh_easel *easel);

/* A shape that is not easy to take for a class, inside [-1, 1] x [-1, 1]. */
void kh_distractor_draw(kh_easel *easel, kh_distractor distractor, const kh_paint *paint,
                        kh_rng *rng);

#endif
