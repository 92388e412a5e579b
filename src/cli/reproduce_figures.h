/* cli/reproduce_figures.h: figures between the pictures and the charts of `reproduce`. */
#ifndef KH_CLI_REPRODUCE_FIGURES_H
#define KH_CLI_REPRODUCE_FIGURES_H

#include "cli/reproduce.h"

/* Writes figures/<stem>.png and .svg, puts the SVG into the page, frees figure. */
kh_status kh_reproduce_show(kh_reproduce *r, kh_figure *figure, const char *stem,
                            const char *alternative, const char *caption, kh_error *err);
/* One line for the foot of a figure. */
void kh_reproduce_footnote(const kh_reproduce *r, char *out, size_t out_bytes);

/* Figures 1, 2, 10, 11. *class_index: the class of figures 1 and 2. */
kh_status kh_reproduce_draw_pictures(kh_reproduce *r, size_t *class_index, kh_error *err);

#endif
