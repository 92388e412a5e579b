/* diorama/things.h: the table of drawing functions, one entry per class. */
#ifndef KH_DIORAMA_THINGS_H
#define KH_DIORAMA_THINGS_H

#include "diorama/easel.h"

typedef struct kh_thing {
    kh_draw_fn *draw;
    double tilt; /* largest turn to either side, radians */
    bool mirror; /* may be mirrored left to right */
} kh_thing;

/* Indexed by kh_class. */
extern const kh_thing kh_things[KH_CLASSES];

/* thing_animals.c, thing_dogs.c, ... */
kh_draw_fn kh_draw_hound, kh_draw_terrier, kh_draw_dachshund, kh_draw_poodle, kh_draw_spitz,
    kh_draw_greyhound;
kh_draw_fn kh_draw_fish, kh_draw_bird, kh_draw_butterfly, kh_draw_snail;
kh_draw_fn kh_draw_house, kh_draw_sailboat, kh_draw_car, kh_draw_rocket, kh_draw_balloon;
kh_draw_fn kh_draw_tree, kh_draw_flower, kh_draw_mushroom;
kh_draw_fn kh_draw_mug, kh_draw_umbrella, kh_draw_lamp, kh_draw_chair, kh_draw_clock,
    kh_draw_guitar, kh_draw_key;

#endif
