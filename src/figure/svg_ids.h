/* figure/svg_ids.h: Cairo numbers SVG parts from a counter of the whole process; we renumber them.
 */
#ifndef KH_FIGURE_SVG_IDS_H
#define KH_FIGURE_SVG_IDS_H

#include "base/text.h"

/* Replaces every id="..." and its references by k0, k1, ... in order of first appearance, so that
 * the same page gives the same bytes. false when out of memory (svg is then unchanged). */
bool kh_svg_number_ids(kh_text *svg);

#endif
