/* lens/subject.h: which label of a set of label maps is an image's class. */
#ifndef KH_LENS_SUBJECT_H
#define KH_LENS_SUBJECT_H

#include "lens/lens.h"

typedef struct kh_subject_maps {
    size_t *map_of;    /* [images] place in the label set, or SIZE_MAX */
    uint16_t *subject; /* [classes] the label named like the class (or its wnid), or 0 */
} kh_subject_maps;

/* Matches the run's images and classes with its label set. Errors: KH_E_NOT_FOUND no image has
 * label maps; KH_E_MEMORY. */
kh_status kh_subject_maps_init(kh_subject_maps *maps, const kh_lens_setup *setup, kh_error *err);
void kh_subject_maps_clear(kh_subject_maps *maps);

/* The subject's label of an image with this true class, or 0 when it has none. */
static inline uint16_t kh_subject_label(const kh_subject_maps *maps, const kh_lens_setup *setup,
                                        size_t truth) {
    return truth < setup->info->classes ? maps->subject[truth] : 0;
}

/* truth [height * width]: 1 on the subject. labels: scratch of the same size. *has_subject is false
 * when the image shows none, and when its label map cannot be read: then why->code is set. Errors:
 * KH_E_MEMORY. */
kh_status kh_subject_read(const kh_subject_maps *maps, const kh_lens_setup *setup, size_t image,
                          size_t truth_class, uint16_t *labels, uint8_t *truth, bool *has_subject,
                          kh_error *why, kh_error *err);

#endif
