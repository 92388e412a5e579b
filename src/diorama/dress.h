/* diorama/dress.h: colours and materials of a scene's things. */
#ifndef KH_DIORAMA_DRESS_H
#define KH_DIORAMA_DRESS_H

#include "diorama/backdrop.h"
#include "diorama/easel.h"

/* Paints that stand out before the backdrop. unit: an object unit as a share of the picture's side;
 * patterns are made coarse enough to be seen. */
void kh_dress_choose(kh_dress *dress, const kh_backdrop *backdrop, double unit, kh_rng *rng);

/* For a distractor of that size, in any other colour. */
void kh_dress_distractor(kh_paint *paint, double unit, kh_colour avoid, kh_rng *rng);

#endif
