/* lens/dissect.h: inside the lens "dissect". */
#ifndef KH_LENS_DISSECT_H
#define KH_LENS_DISSECT_H

#include "lens/lens.h"

enum { KH_DISSECT_PATCHES = 4096 };

/* Where a patch lies: nine tenths of it on the subject, none but a tenth, or between. */
enum { KH_REGION_SUBJECT, KH_REGION_BORDER, KH_REGION_BACKGROUND, KH_REGIONS };

/* How a map of patches lies on the pixels: bilinear between patch middles, edges replicated. */
typedef struct kh_dissect_plan {
    kh_grid grid;
    size_t height, width;
    size_t *y0, *y1, *x0, *x1; /* rows [height] and columns [width] between which a pixel lies */
    double *wy, *wx;           /* share of the second */
} kh_dissect_plan;

/* Errors: KH_E_MEMORY; KH_E_LIMIT more patches than KH_DISSECT_PATCHES. */
kh_status kh_dissect_plan_init(kh_dissect_plan *plan, const kh_model_info *info, kh_error *err);
void kh_dissect_plan_clear(kh_dissect_plan *plan);

/* Label maps of one image at the model's input. */
typedef struct kh_dissect_image {
    const uint16_t *maps; /* [categories, height * width] */
    const bool *has;      /* [categories] annotated at all */
    size_t categories;
} kh_dissect_image;

/* Pixels where the upsampled map is above the threshold: intersect[label] by label, active[c] in
 * every annotated category. Pixels whose four patches all lie below are never visited. */
void kh_dissect_count(const kh_dissect_plan *plan, const float *map, float threshold,
                      const kh_dissect_image *image, uint64_t *intersect, uint64_t *active);

/* region [patches] of an image whose subject has this label. */
void kh_dissect_regions(const kh_dissect_plan *plan, const uint16_t *map, uint16_t subject,
                        uint8_t *region);

/* Counters of the lens; shapes as in lens_dissect.c. */
typedef struct kh_dissect_view {
    const kh_lens_setup *setup;
    size_t labels, categories;
    uint64_t images;
    const uint64_t *intersect, *active, *truth, *tokens;
    const int64_t *fire;
    size_t rotated_units; /* of a block; 0: no baseline */
    const uint64_t *rotated_intersect, *rotated_active;
} kh_dissect_view;

/* Of a neuron in a category; label 0: there is none. */
typedef struct kh_best_label {
    size_t label;
    double iou;
} kh_best_label;

/* dissect_kinds.c: tables "kinds" and "dissection_kinds", when the labels are kinds of something.
 * best [units, categories]. */
void kh_dissect_write_kinds(const kh_dissect_view *view, const kh_best_label *best,
                            const kh_lens_out *out);

/* Tables "dissection", "dissection_categories", "detectors", "labels", "regions" and, with a
 * baseline, "rotation". */
kh_status kh_dissect_write(const kh_dissect_view *view, const kh_lens_out *out, kh_error *err);

/* A neuron detects a label whose pixels it meets this well. */
#define KH_DETECTOR_IOU 0.04

/* |A and B| / |A or B| */
static inline double kh_dissect_iou(uint64_t both, uint64_t active, uint64_t truth) {
    const uint64_t either = active + truth - both;
    return either ? (double)both / (double)either : 0;
}

#endif
