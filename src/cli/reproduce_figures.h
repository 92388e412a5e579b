/* cli/reproduce_figures.h: figures between the pictures and the charts of `reproduce`. */
#ifndef KH_CLI_REPRODUCE_FIGURES_H
#define KH_CLI_REPRODUCE_FIGURES_H

#include "cli/reproduce.h"

/* Notes a picture without its ending, for the manifest. */
void kh_reproduce_list(kh_reproduce *r, const char *file);
/* folder/stem.png among the page's figures. */
kh_status kh_reproduce_embed(kh_reproduce *r, const char *folder, const char *stem, const char *id,
                             const char *alternative, const char *caption, kh_error *err);
/* Writes figures/<stem>.png and .svg, puts the picture into the page, frees figure. */
kh_status kh_reproduce_show(kh_reproduce *r, kh_figure *figure, const char *stem,
                            const char *alternative, const char *caption, kh_error *err);
/* One line for the foot of a figure. */
void kh_reproduce_footnote(const kh_reproduce *r, char *out, size_t out_bytes);

/* Figures 1 and 2; figures 10 and 11. */
kh_status kh_reproduce_draw_blocks(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_draw_heatmaps(kh_reproduce *r, kh_error *err);

#endif
