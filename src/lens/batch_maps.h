/* lens/batch_maps.h: label maps of the images of a batch at the model's input, read once for all
 * lenses. */
#ifndef KH_LENS_BATCH_MAPS_H
#define KH_LENS_BATCH_MAPS_H

#include "lens/subject.h"

typedef struct kh_batch_maps {
    const kh_lens_setup *setup;
    kh_subject_maps subjects;
    size_t categories, pixels;
    uint16_t *labels; /* [batch, categories, pixels] */
    bool *has;        /* [batch, categories] annotated */
    bool *is_there;   /* [batch] the image has label maps, and all of them could be read */
} kh_batch_maps;

/* Errors: KH_E_NOT_FOUND no image has label maps; KH_E_MEMORY. Pair: kh_batch_maps_clear. */
kh_status kh_batch_maps_init(kh_batch_maps *maps, const kh_lens_setup *setup, size_t max_batch,
                             kh_error *err);
void kh_batch_maps_clear(kh_batch_maps *maps);

/* Those of an image, into its place in the batch. Some that cannot be read: is_there is false, and
 * why->code is set. Errors: KH_E_MEMORY. */
kh_status kh_batch_maps_read(kh_batch_maps *maps, size_t place, uint64_t image, kh_error *why,
                             kh_error *err);

/* truth [pixels]: 1 on the subject of the image at this place. False when it shows none. */
bool kh_batch_maps_subject(const kh_batch_maps *maps, size_t place, size_t truth_class,
                           uint8_t *truth);

#endif
