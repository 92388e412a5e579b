#include "diorama/dress.h"

#include "diorama/colours.h"

#define TURN 6.283185307179586

/* A pattern repeats after at least this share of the picture's side: 4.5 pixels of 96. */
#define LEAST_PERIOD 0.047

enum { TRIES = 24, MOST_RIVALS = KH_BACKDROP_ELEMENTS + 2 };

/* What a colour must differ from. */
typedef struct rivals {
    const double *rgb[MOST_RIVALS];
    double distance[MOST_RIVALS];
    size_t count;
    bool taken[KH_COLOURS]; /* names in use */
} rivals;

static void add_rival(rivals *r, const double rgb[3], double distance) {
    r->rgb[r->count] = rgb;
    r->distance[r->count] = distance;
    r->count += 1;
}

/* The smallest of distance / wanted distance; 1 and more is good. */
static double apart(const rivals *r, const double rgb[3]) {
    double least = 9;
    for (size_t i = 0; i < r->count; i++) {
        const double d = kh_colour_distance(rgb, r->rgb[i]) / r->distance[i];
        if (d < least) least = d;
    }
    return least;
}

/* The first of some random colours that is far enough from its rivals, or the farthest of them. */
static void choose_colour(kh_paint *paint, const rivals *r, kh_rng *rng) {
    double best = -1;
    for (size_t i = 0; i < TRIES && best < 1; i++) {
        const kh_colour colour = (kh_colour)kh_rng_below(rng, KH_COLOURS);
        double rgb[3];
        kh_colour_sample(colour, rng, rgb);
        if (r->taken[colour]) continue;
        const double now = apart(r, rgb);
        if (!(now > best)) continue;
        best = now;
        paint->colour = colour;
        for (size_t c = 0; c < 3; c++)
            paint->rgb[c] = rgb[c];
    }
}

/* The second colour of a pattern: a clearly lighter or darker one. */
static void choose_other(kh_paint *paint, kh_rng *rng) {
    static const double black[3] = {0.04, 0.04, 0.04}, white[3] = {0.98, 0.98, 0.98};
    const double luma = kh_colour_luma(paint->rgb);
    const bool lighter = luma < 0.35 || (luma < 0.65 && kh_rng_unit(rng) < 0.5);
    const double share = kh_between(rng, 0.5, 0.95);
    kh_colour_mix(paint->rgb, lighter ? white : black, lighter ? share : 0.75 * share,
                  paint->other);
}

static void choose_material(kh_paint *paint, double plain, double unit, kh_rng *rng) {
    const bool is_plain = kh_rng_unit(rng) < plain;
    const size_t kind = 1 + kh_rng_below(rng, KH_MATERIALS - 1);
    paint->material = is_plain ? KH_MATERIAL_PLAIN : (kh_material)kind;
    paint->pitch = kh_between(rng, 0.12, 0.3);
    if (paint->pitch * unit < LEAST_PERIOD) paint->pitch = LEAST_PERIOD / unit;
    paint->angle = kh_between(rng, 0, TURN / 2);
    choose_other(paint, rng);
}

static void plain(kh_paint *paint, kh_colour colour, kh_rng *rng) {
    paint->colour = colour;
    paint->material = KH_MATERIAL_PLAIN;
    kh_colour_sample(colour, rng, paint->rgb);
    for (size_t i = 0; i < 3; i++)
        paint->other[i] = paint->rgb[i];
    paint->pitch = 0.3;
    paint->angle = 0;
}

void kh_dress_choose(kh_dress *dress, const kh_backdrop *backdrop, double unit, kh_rng *rng) {
    rivals r = {.count = 0};
    double darkest = 1;
    for (size_t i = 0; i < backdrop->elements; i++)
        if (backdrop->element[i].is_main) {
            const double luma = kh_colour_luma(backdrop->element[i].rgb);
            if (luma < darkest) darkest = luma;
            add_rival(&r, backdrop->element[i].rgb, 0.26);
        }
    const size_t behind = r.count;

    choose_colour(&dress->body, &r, rng);
    choose_material(&dress->body, 0.35, unit, rng);
    r.taken[dress->body.colour] = true;
    add_rival(&r, dress->body.rgb, 0.22);
    for (size_t i = 0; i < behind; i++)
        r.distance[i] = 0.18;
    choose_colour(&dress->second, &r, rng);
    choose_material(&dress->second, 0.6, unit, rng);
    r.taken[dress->second.colour] = true;
    add_rival(&r, dress->second.rgb, 0.18);
    choose_colour(&dress->third, &r, rng);
    choose_material(&dress->third, 0.75, unit, rng);

    plain(&dress->detail, darkest < 0.16 ? KH_COLOUR_GREY : KH_COLOUR_BLACK, rng);
    plain(&dress->light, KH_COLOUR_WHITE, rng);
}

void kh_dress_distractor(kh_paint *paint, double unit, kh_colour avoid, kh_rng *rng) {
    rivals none = {.count = 0};
    none.taken[avoid] = true;
    choose_colour(paint, &none, rng);
    choose_material(paint, 0.6, unit, rng);
}
