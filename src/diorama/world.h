/* diorama/world.h: what there is in the demo world: classes, parts, materials, colours,
 * backgrounds, and their label numbers.
 */
#ifndef KH_DIORAMA_WORLD_H
#define KH_DIORAMA_WORLD_H

#include "keyhole/diorama.h"

typedef enum kh_colour {
    KH_COLOUR_RED,
    KH_COLOUR_ORANGE,
    KH_COLOUR_YELLOW,
    KH_COLOUR_GREEN,
    KH_COLOUR_CYAN,
    KH_COLOUR_BLUE,
    KH_COLOUR_PURPLE,
    KH_COLOUR_PINK,
    KH_COLOUR_BROWN,
    KH_COLOUR_WHITE,
    KH_COLOUR_GREY,
    KH_COLOUR_BLACK,
    KH_COLOURS
} kh_colour;

typedef enum kh_material {
    KH_MATERIAL_PLAIN,
    KH_MATERIAL_STRIPES,
    KH_MATERIAL_DOTS,
    KH_MATERIAL_CHECKER,
    KH_MATERIAL_SPECKLE,
    KH_MATERIAL_ZIGZAG,
    KH_MATERIALS
} kh_material;

typedef enum kh_background {
    KH_BACKGROUND_SKY,
    KH_BACKGROUND_GRASS,
    KH_BACKGROUND_SAND,
    KH_BACKGROUND_WATER,
    KH_BACKGROUND_BRICK,
    KH_BACKGROUND_NIGHT,
    KH_BACKGROUND_SNOW,
    KH_BACKGROUND_WOOD,
    KH_BACKGROUND_TILES,
    KH_BACKGROUND_PAPER,
    KH_BACKGROUNDS
} kh_background;

/* Parts are shared between classes: a dog and a fish both have an eye. Add a part here and its name
 * in world.c. */
typedef enum kh_part {
    KH_PART_BODY,
    KH_PART_HEAD,
    KH_PART_EAR,
    KH_PART_SNOUT,
    KH_PART_EYE,
    KH_PART_LEG,
    KH_PART_TAIL,
    KH_PART_WING,
    KH_PART_BEAK,
    KH_PART_FIN,
    KH_PART_ANTENNA,
    KH_PART_SHELL,
    KH_PART_WALL,
    KH_PART_ROOF,
    KH_PART_DOOR,
    KH_PART_WINDOW,
    KH_PART_CHIMNEY,
    KH_PART_HULL,
    KH_PART_SAIL,
    KH_PART_MAST,
    KH_PART_TRUNK,
    KH_PART_CROWN,
    KH_PART_WHEEL,
    KH_PART_CABIN,
    KH_PART_HANDLE,
    KH_PART_CANOPY,
    KH_PART_SHADE,
    KH_PART_STAND,
    KH_PART_BASE,
    KH_PART_SEAT,
    KH_PART_BACK,
    KH_PART_FACE,
    KH_PART_HAND,
    KH_PART_NOSE,
    KH_PART_FLAME,
    KH_PART_NECK,
    KH_PART_HOLE,
    KH_PART_STRING,
    KH_PART_BOW,
    KH_PART_SHAFT,
    KH_PART_BIT,
    KH_PART_ENVELOPE,
    KH_PART_BASKET,
    KH_PART_ROPE,
    KH_PART_STEM,
    KH_PART_LEAF,
    KH_PART_PETAL,
    KH_PART_CENTRE,
    KH_PART_CAP,
    KH_PARTS
} kh_part;

/* Things that stand around and are no class. */
typedef enum kh_distractor {
    KH_DISTRACTOR_BALL,
    KH_DISTRACTOR_RING,
    KH_DISTRACTOR_STAR,
    KH_DISTRACTOR_CROSS,
    KH_DISTRACTOR_PEBBLE,
    KH_DISTRACTOR_CRATE,
    KH_DISTRACTOR_POST,
    KH_DISTRACTORS
} kh_distractor;

typedef enum kh_class {
    /* six relatives: one body plan of a dog, different ears, legs, tails, coats */
    KH_CLASS_HOUND,
    KH_CLASS_TERRIER,
    KH_CLASS_DACHSHUND,
    KH_CLASS_POODLE,
    KH_CLASS_SPITZ,
    KH_CLASS_GREYHOUND,
    KH_CLASS_FISH,
    KH_CLASS_BIRD,
    KH_CLASS_BUTTERFLY,
    KH_CLASS_SNAIL,
    KH_CLASS_HOUSE,
    KH_CLASS_SAILBOAT,
    KH_CLASS_CAR,
    KH_CLASS_ROCKET,
    KH_CLASS_BALLOON,
    KH_CLASS_TREE,
    KH_CLASS_FLOWER,
    KH_CLASS_MUSHROOM,
    KH_CLASS_MUG,
    KH_CLASS_UMBRELLA,
    KH_CLASS_LAMP,
    KH_CLASS_CHAIR,
    KH_CLASS_CLOCK,
    KH_CLASS_GUITAR,
    KH_CLASS_KEY,
    KH_CLASSES
} kh_class;

/* Label numbers: objects first (classes, then distractors), then parts, materials, colours,
 * backgrounds. */
uint16_t kh_label_of_class(kh_class c);
uint16_t kh_label_of_distractor(kh_distractor d);
uint16_t kh_label_of_part(kh_part part);
uint16_t kh_label_of_material(kh_material material);
uint16_t kh_label_of_colour(kh_colour colour);
uint16_t kh_label_of_background(kh_background background);

const char *kh_material_adjective(kh_material material); /* "striped"; "" for plain */

#endif
