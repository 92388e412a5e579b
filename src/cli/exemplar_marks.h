/* cli/exemplar_marks.h: what is drawn onto an exemplar to say where its neuron fires. */
#ifndef KH_CLI_EXEMPLAR_MARKS_H
#define KH_CLI_EXEMPLAR_MARKS_H

#include "cli/command.h"

/* The patch with the largest value; the first of equals. */
size_t kh_marks_peak(const float *map, size_t patches);

/* Marks on rgb [height, width, 3]: a white line just inside of where the bilinear map is above the
 * threshold and a black one just outside (none where it is nowhere above, or the threshold is NaN);
 * then a yellow box in a black one around the patch of the maximum, which is always there.
 * up: [height, width] scratch. */
void kh_marks_draw(const float *map, kh_grid grid, double threshold, size_t width, size_t height,
                   float *up, uint8_t *rgb);

/* A row of swatches that says what the marks mean. */
kh_status kh_marks_add_legend(kh_figure *figure, bool has_threshold, bool has_class, kh_error *err);

#endif
