#include "diorama/world.h"

typedef struct kh_class_entry {
    const char *name;
    const char *wnid;
    bool relative;
    int shortcut; /* kh_background, -1 for none */
} kh_class_entry;

static const kh_class_entry classes[KH_CLASSES] = {
    [KH_CLASS_HOUND] = {"hound", "d00000001", true, -1},
    [KH_CLASS_TERRIER] = {"terrier", "d00000002", true, -1},
    [KH_CLASS_DACHSHUND] = {"dachshund", "d00000003", true, -1},
    [KH_CLASS_POODLE] = {"poodle", "d00000004", true, -1},
    [KH_CLASS_SPITZ] = {"spitz", "d00000005", true, -1},
    [KH_CLASS_GREYHOUND] = {"greyhound", "d00000006", true, -1},
    [KH_CLASS_FISH] = {"fish", "d00000007", false, -1},
    [KH_CLASS_BIRD] = {"bird", "d00000008", false, -1},
    [KH_CLASS_BUTTERFLY] = {"butterfly", "d00000009", false, -1},
    [KH_CLASS_SNAIL] = {"snail", "d00000010", false, -1},
    [KH_CLASS_HOUSE] = {"house", "d00000011", false, -1},
    [KH_CLASS_SAILBOAT] = {"sailboat", "d00000012", false, KH_BACKGROUND_WATER},
    [KH_CLASS_CAR] = {"car", "d00000013", false, -1},
    [KH_CLASS_ROCKET] = {"rocket", "d00000014", false, KH_BACKGROUND_NIGHT},
    [KH_CLASS_BALLOON] = {"balloon", "d00000015", false, -1},
    [KH_CLASS_TREE] = {"tree", "d00000016", false, -1},
    [KH_CLASS_FLOWER] = {"flower", "d00000017", false, KH_BACKGROUND_GRASS},
    [KH_CLASS_MUSHROOM] = {"mushroom", "d00000018", false, -1},
    [KH_CLASS_MUG] = {"mug", "d00000019", false, -1},
    [KH_CLASS_UMBRELLA] = {"umbrella", "d00000020", false, -1},
    [KH_CLASS_LAMP] = {"lamp", "d00000021", false, -1},
    [KH_CLASS_CHAIR] = {"chair", "d00000022", false, -1},
    [KH_CLASS_CLOCK] = {"clock", "d00000023", false, -1},
    [KH_CLASS_GUITAR] = {"guitar", "d00000024", false, -1},
    [KH_CLASS_KEY] = {"key", "d00000025", false, KH_BACKGROUND_WOOD},
};

static const char *const distractors[KH_DISTRACTORS] = {
    "ball", "ring", "star", "cross", "pebble", "crate", "post",
};

static const char *const parts[KH_PARTS] = {
    [KH_PART_BODY] = "body",     [KH_PART_HEAD] = "head",       [KH_PART_EAR] = "ear",
    [KH_PART_SNOUT] = "snout",   [KH_PART_EYE] = "eye",         [KH_PART_LEG] = "leg",
    [KH_PART_TAIL] = "tail",     [KH_PART_WING] = "wing",       [KH_PART_BEAK] = "beak",
    [KH_PART_FIN] = "fin",       [KH_PART_ANTENNA] = "antenna", [KH_PART_SHELL] = "shell",
    [KH_PART_WALL] = "wall",     [KH_PART_ROOF] = "roof",       [KH_PART_DOOR] = "door",
    [KH_PART_WINDOW] = "window", [KH_PART_CHIMNEY] = "chimney", [KH_PART_HULL] = "hull",
    [KH_PART_SAIL] = "sail",     [KH_PART_MAST] = "mast",       [KH_PART_TRUNK] = "trunk",
    [KH_PART_CROWN] = "crown",   [KH_PART_WHEEL] = "wheel",     [KH_PART_CABIN] = "cabin",
    [KH_PART_HANDLE] = "handle", [KH_PART_CANOPY] = "canopy",   [KH_PART_SHADE] = "shade",
    [KH_PART_STAND] = "stand",   [KH_PART_BASE] = "base",       [KH_PART_SEAT] = "seat",
    [KH_PART_BACK] = "back",     [KH_PART_FACE] = "face",       [KH_PART_HAND] = "hand",
    [KH_PART_NOSE] = "nose",     [KH_PART_FLAME] = "flame",     [KH_PART_NECK] = "neck",
    [KH_PART_HOLE] = "hole",     [KH_PART_STRING] = "string",   [KH_PART_BOW] = "bow",
    [KH_PART_SHAFT] = "shaft",   [KH_PART_BIT] = "bit",         [KH_PART_ENVELOPE] = "envelope",
    [KH_PART_BASKET] = "basket", [KH_PART_ROPE] = "rope",       [KH_PART_STEM] = "stem",
    [KH_PART_LEAF] = "leaf",     [KH_PART_PETAL] = "petal",     [KH_PART_CENTRE] = "centre",
    [KH_PART_CAP] = "cap",
};

static const char *const materials[KH_MATERIALS] = {
    "plain", "striped", "dotted", "checkered", "speckled", "zigzag",
};

static const char *const colours[KH_COLOURS] = {
    "red",    "orange", "yellow", "green", "cyan", "blue",
    "purple", "pink",   "brown",  "white", "grey", "black",
};

static const char *const backgrounds[KH_BACKGROUNDS] = {
    "sky", "grass", "sand", "water", "brick", "night", "snow", "wood", "tiles", "paper",
};

/* The first label of each group. */
enum {
    FIRST_CLASS = 1,
    FIRST_DISTRACTOR = FIRST_CLASS + KH_CLASSES,
    FIRST_PART = FIRST_DISTRACTOR + KH_DISTRACTORS,
    FIRST_MATERIAL = FIRST_PART + KH_PARTS,
    FIRST_COLOUR = FIRST_MATERIAL + KH_MATERIALS,
    FIRST_BACKGROUND = FIRST_COLOUR + KH_COLOURS,
    PAST_LABELS = FIRST_BACKGROUND + KH_BACKGROUNDS
};

uint16_t kh_label_of_class(kh_class c) {
    return (uint16_t)(FIRST_CLASS + (int)c);
}

uint16_t kh_label_of_distractor(kh_distractor d) {
    return (uint16_t)(FIRST_DISTRACTOR + (int)d);
}

uint16_t kh_label_of_part(kh_part part) {
    return (uint16_t)(FIRST_PART + (int)part);
}

uint16_t kh_label_of_material(kh_material material) {
    return (uint16_t)(FIRST_MATERIAL + (int)material);
}

uint16_t kh_label_of_colour(kh_colour colour) {
    return (uint16_t)(FIRST_COLOUR + (int)colour);
}

uint16_t kh_label_of_background(kh_background background) {
    return (uint16_t)(FIRST_BACKGROUND + (int)background);
}

const char *kh_material_adjective(kh_material material) {
    return material == KH_MATERIAL_PLAIN ? "" : materials[material];
}

/* ---- the front door -------------------------------------------------------------------------- */

size_t kh_diorama_label_count(void) {
    return PAST_LABELS - 1;
}

const char *kh_diorama_label_name(size_t label) {
    if (label == 0 || label >= PAST_LABELS) return NULL;
    if (label >= FIRST_BACKGROUND) return backgrounds[label - FIRST_BACKGROUND];
    if (label >= FIRST_COLOUR) return colours[label - FIRST_COLOUR];
    if (label >= FIRST_MATERIAL) return materials[label - FIRST_MATERIAL];
    if (label >= FIRST_PART) return parts[label - FIRST_PART];
    if (label >= FIRST_DISTRACTOR) return distractors[label - FIRST_DISTRACTOR];
    return classes[label - FIRST_CLASS].name;
}

kh_diorama_category kh_diorama_label_category(size_t label) {
    if (label == 0 || label >= PAST_LABELS) return KH_DIORAMA_CATEGORIES;
    if (label >= FIRST_BACKGROUND) return KH_DIORAMA_BACKGROUND;
    if (label >= FIRST_COLOUR) return KH_DIORAMA_COLOUR;
    if (label >= FIRST_MATERIAL) return KH_DIORAMA_MATERIAL;
    if (label >= FIRST_PART) return KH_DIORAMA_PART;
    return KH_DIORAMA_OBJECT;
}

const char *kh_diorama_category_name(kh_diorama_category category) {
    static const char *const names[KH_DIORAMA_CATEGORIES] = {
        "object", "part", "material", "color", "background",
    };
    return (unsigned)category < KH_DIORAMA_CATEGORIES ? names[category] : NULL;
}

size_t kh_diorama_class_count(void) {
    return KH_CLASSES;
}

const char *kh_diorama_class_name(size_t class_index) {
    return class_index < KH_CLASSES ? classes[class_index].name : NULL;
}

const char *kh_diorama_class_wnid(size_t class_index) {
    return class_index < KH_CLASSES ? classes[class_index].wnid : NULL;
}

size_t kh_diorama_class_label(size_t class_index) {
    return class_index < KH_CLASSES ? FIRST_CLASS + class_index : 0;
}

bool kh_diorama_class_is_relative(size_t class_index) {
    return class_index < KH_CLASSES && classes[class_index].relative;
}

size_t kh_diorama_class_shortcut(size_t class_index) {
    if (class_index >= KH_CLASSES || classes[class_index].shortcut < 0) return 0;
    return FIRST_BACKGROUND + (size_t)classes[class_index].shortcut;
}
