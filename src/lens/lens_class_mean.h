/* lens/lens_class_mean.h: what other lenses read from the state of "class_mean". */
#ifndef KH_LENS_CLASS_MEAN_H
#define KH_LENS_CLASS_MEAN_H

#include <stddef.h>
#include <stdint.h>

/* Images of a class, and the sums over them of each neuron's mean over patches: [units], in units
 * of 2^-20. */
uint32_t kh_lens_class_images(const void *class_mean_state, size_t class_index);
const int64_t *kh_lens_class_sums(const void *class_mean_state, size_t class_index);

#endif
