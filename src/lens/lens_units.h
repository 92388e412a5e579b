/* lens/lens_units.h: what other lenses read from the state of "units" when they finish. */
#ifndef KH_LENS_UNITS_H
#define KH_LENS_UNITS_H

#include <stddef.h>

/* Mean and standard deviation of a neuron's coefficient over all patches of all images. */
double kh_lens_unit_mean(const void *units_state, size_t unit);
double kh_lens_unit_deviation(const void *units_state, size_t unit);

#endif
