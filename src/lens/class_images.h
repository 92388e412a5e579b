/* lens/class_images.h: the images of a class, and what is taken of each, as the run's class_by and
 * class_reduction say. */
#ifndef KH_LENS_CLASS_IMAGES_H
#define KH_LENS_CLASS_IMAGES_H

#include "lens/lens.h"

/* The class that an image of the batch counts for, or KH_NO_CLASS. */
size_t kh_class_of(const kh_lens_setup *setup, const kh_lens_batch *batch, size_t image);
/* At most so many classes have images. */
size_t kh_classes_counted(const kh_lens_setup *setup);

/* NULL, or why no image can be reduced so. */
const char *kh_class_reduction_refuses(kh_class_reduction reduction, const kh_model_info *info);
/* Floats that kh_class_reduced wants as `room`; 0: none. */
size_t kh_class_room(const kh_lens_setup *setup);
/* A block's coefficients on an image of the batch, reduced: [neurons]. Of the batch's features, or
 * computed into the block's part of room [blocks, neurons]. */
const float *kh_class_reduced(const kh_lens_setup *setup, const kh_lens_batch *batch, size_t image,
                              size_t block, float *room);

/* What a mean over the images of a class is: "mean coefficient over patches and images of a class,
 * by block and neuron". */
void kh_class_mean_text(const kh_lens_setup *setup, char *out, size_t room);

#endif
