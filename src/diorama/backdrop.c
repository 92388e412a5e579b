#include "diorama/backdrop.h"

#include "diorama/colours.h"
#include "diorama/noise.h"

#include <math.h>
#include <string.h>

/* Elements 0 and 1 are sky and clouds where there is sky. */
enum { SKY, CLOUD, FIRST, SECOND, THIRD };

/* number[]: 0..3 belong to the sky, the rest to the kind. */
enum { CLOUDS, CLOUD_X, CLOUD_Y, SKY_FADE, A, B, C, D, E, F };

static const double white[3] = {1, 1, 1}, grey[3] = {0.55, 0.55, 0.55}, black[3] = {0, 0, 0};

/* ---- plans ----------------------------------------------------------------------------------- */

static void element(kh_backdrop *b, size_t i, kh_background background, kh_colour colour,
                    bool is_main, kh_rng *rng) {
    kh_element *e = &b->element[i];
    e->background = background;
    e->colour = colour;
    e->is_main = is_main;
    kh_colour_sample(colour, rng, e->rgb);
    if (i >= b->elements) b->elements = i + 1;
}

static void mute(kh_backdrop *b, size_t i, const double towards[3], double share) {
    kh_colour_mix(b->element[i].rgb, towards, share, b->element[i].rgb);
}

static kh_colour one_of(const kh_colour *choices, size_t count, kh_rng *rng) {
    return choices[kh_rng_below(rng, count)];
}
#define ONE_OF(rng, ...)                                                                           \
    one_of((const kh_colour[]){__VA_ARGS__},                                                       \
           sizeof((const kh_colour[]){__VA_ARGS__}) / sizeof(kh_colour), rng)

static void plan_sky(kh_backdrop *b, kh_rng *rng) {
    element(b, SKY, KH_BACKGROUND_SKY,
            ONE_OF(rng, KH_COLOUR_BLUE, KH_COLOUR_BLUE, KH_COLOUR_BLUE, KH_COLOUR_CYAN,
                   KH_COLOUR_CYAN, KH_COLOUR_GREY, KH_COLOUR_ORANGE, KH_COLOUR_PINK),
            true, rng);
    mute(b, SKY, white, kh_between(rng, 0.05, 0.2));
    element(b, CLOUD, KH_BACKGROUND_SKY, KH_COLOUR_WHITE, false, rng);
    b->number[CLOUDS] = kh_between(rng, 0.42, 0.85); /* above 0.75: hardly any */
    b->number[CLOUD_X] = kh_between(rng, 2.0, 4.0);
    b->number[CLOUD_Y] = kh_between(rng, 4.0, 8.0);
    b->number[SKY_FADE] = kh_between(rng, 0.05, 0.3);
}

/* A horizon with some sky above, or none: seen from above. */
static void plan_horizon(kh_backdrop *b, double likely, kh_rng *rng) {
    plan_sky(b, rng);
    const double horizon = kh_between(rng, 0.15, 0.55);
    const bool shown = kh_rng_unit(rng) < likely;
    b->horizon = shown ? horizon : 0;
    if (!shown) b->element[SKY].is_main = false;
}

static void plan_ground(kh_backdrop *b, kh_rng *rng) {
    switch (b->kind) {
    case KH_BACKGROUND_GRASS:
        plan_horizon(b, 0.6, rng);
        element(b, FIRST, KH_BACKGROUND_GRASS, KH_COLOUR_GREEN, true, rng);
        b->number[A] = kh_between(rng, 30, 60); /* blades across */
        b->number[B] = kh_between(rng, 7, 14);  /* and down */
        b->number[C] = kh_between(rng, 0.3, 0.6);
        break;
    case KH_BACKGROUND_SAND: {
        static const double tan[3] = {0.80, 0.66, 0.46};
        plan_horizon(b, 0.6, rng);
        const bool light = kh_rng_unit(rng) < 0.65;
        element(b, FIRST, KH_BACKGROUND_SAND, light ? KH_COLOUR_YELLOW : KH_COLOUR_BROWN, true,
                rng);
        mute(b, FIRST, tan, light ? kh_between(rng, 0.4, 0.6) : kh_between(rng, 0.2, 0.4));
        b->number[A] = kh_between(rng, 6, 16);
        b->number[B] = kh_between(rng, 0.03, 0.12);
        b->number[C] = kh_between(rng, -0.8, 0.8);
        break;
    }
    case KH_BACKGROUND_WATER:
        plan_horizon(b, 0.7, rng);
        element(b, FIRST, KH_BACKGROUND_WATER,
                ONE_OF(rng, KH_COLOUR_BLUE, KH_COLOUR_BLUE, KH_COLOUR_CYAN), true, rng);
        mute(b, FIRST, grey, kh_between(rng, 0.0, 0.25));
        b->number[A] = kh_between(rng, 4, 9);
        b->number[B] = kh_between(rng, 18, 40);
        b->number[C] = kh_between(rng, 0.15, 0.4);
        b->number[D] = kh_between(rng, 6, 14);
        break;
    default: { /* snow */
        static const double ice[3] = {0.80, 0.86, 0.95};
        plan_horizon(b, 0.6, rng);
        element(b, FIRST, KH_BACKGROUND_SNOW, KH_COLOUR_WHITE, true, rng);
        mute(b, FIRST, ice, kh_between(rng, 0.2, 0.8));
        b->number[A] = kh_between(rng, 2, 5);
        b->number[B] = kh_between(rng, 0.06, 0.16);
        b->number[C] = kh_rng_unit(rng) < 0.5 ? kh_between(rng, 0.1, 0.35) : 0; /* flakes */
        break;
    }
    }
}

static void plan_wall(kh_backdrop *b, kh_rng *rng) {
    static const double beige[3] = {0.72, 0.62, 0.52};
    switch (b->kind) {
    case KH_BACKGROUND_BRICK:
        element(b, FIRST, KH_BACKGROUND_BRICK,
                ONE_OF(rng, KH_COLOUR_RED, KH_COLOUR_RED, KH_COLOUR_BROWN, KH_COLOUR_ORANGE,
                       KH_COLOUR_GREY),
                true, rng);
        mute(b, FIRST, grey, kh_between(rng, 0.1, 0.3));
        element(b, SECOND, KH_BACKGROUND_BRICK,
                ONE_OF(rng, KH_COLOUR_WHITE, KH_COLOUR_GREY, KH_COLOUR_BLACK), false, rng);
        b->number[A] = kh_between(rng, 6, 12);      /* rows */
        b->number[B] = kh_between(rng, 1.8, 2.6);   /* length of a brick in heights */
        b->number[C] = kh_between(rng, 0.10, 0.18); /* mortar */
        b->number[D] = kh_between(rng, 0.05, 0.2);
        break;
    case KH_BACKGROUND_WOOD:
        element(b, FIRST, KH_BACKGROUND_WOOD,
                ONE_OF(rng, KH_COLOUR_BROWN, KH_COLOUR_BROWN, KH_COLOUR_BROWN, KH_COLOUR_ORANGE,
                       KH_COLOUR_GREY),
                true, rng);
        mute(b, FIRST, beige, kh_between(rng, 0.0, 0.35));
        element(b, SECOND, KH_BACKGROUND_WOOD, KH_COLOUR_BLACK, false, rng);
        b->number[A] = kh_between(rng, 3, 8);
        b->number[B] = kh_rng_unit(rng) < 0.5; /* planks stand */
        b->number[C] = kh_between(rng, 0.1, 0.3);
        b->number[D] = kh_between(rng, 1.0, 3.0);
        break;
    case KH_BACKGROUND_TILES: {
        const kh_colour first = (kh_colour)kh_rng_below(rng, KH_COLOURS);
        const kh_colour other = (kh_colour)kh_rng_below(rng, KH_COLOURS);
        element(b, FIRST, KH_BACKGROUND_TILES, first, true, rng);
        element(b, SECOND, KH_BACKGROUND_TILES, kh_rng_unit(rng) < 0.5 ? first : other, true, rng);
        element(b, THIRD, KH_BACKGROUND_TILES, ONE_OF(rng, KH_COLOUR_WHITE, KH_COLOUR_GREY), false,
                rng);
        mute(b, FIRST, grey, kh_between(rng, 0.1, 0.3));
        mute(b, SECOND, grey, kh_between(rng, 0.1, 0.3));
        b->number[A] = kh_between(rng, 3, 7);
        b->number[B] = kh_rng_unit(rng) < 0.3; /* on the point */
        b->number[C] = kh_between(rng, 0.05, 0.1);
        b->number[D] = kh_between(rng, 0.0, 0.15);
        break;
    }
    default: /* paper */
        element(b, FIRST, KH_BACKGROUND_PAPER, (kh_colour)kh_rng_below(rng, KH_COLOURS), true, rng);
        mute(b, FIRST, grey, kh_between(rng, 0.0, 0.3));
        element(b, SECOND, KH_BACKGROUND_PAPER, ONE_OF(rng, KH_COLOUR_BLUE, KH_COLOUR_GREY), false,
                rng);
        b->number[A] = (double)kh_rng_below(rng, 4); /* blank, ruled, bands, grain */
        b->number[B] = kh_between(rng, 6, 14);
        b->number[C] = kh_between(rng, 0.04, 0.12);
        b->number[D] = kh_rng_unit(rng) < 0.5;
        break;
    }
}

static void plan_night(kh_backdrop *b, kh_rng *rng) {
    const kh_colour colour =
        ONE_OF(rng, KH_COLOUR_BLACK, KH_COLOUR_BLACK, KH_COLOUR_BLUE, KH_COLOUR_PURPLE);
    element(b, FIRST, KH_BACKGROUND_NIGHT, colour, true, rng);
    if (colour != KH_COLOUR_BLACK) mute(b, FIRST, black, kh_between(rng, 0.5, 0.65));
    element(b, SECOND, KH_BACKGROUND_NIGHT, ONE_OF(rng, KH_COLOUR_WHITE, KH_COLOUR_YELLOW), false,
            rng);
    element(b, THIRD, KH_BACKGROUND_NIGHT, KH_COLOUR_BLACK, false, rng);
    b->number[A] = kh_between(rng, 9, 18);                                  /* star cells */
    b->number[B] = kh_between(rng, 0.15, 0.5);                              /* share with a star */
    b->number[C] = kh_rng_unit(rng) < 0.4 ? kh_between(rng, 0.05, 0.1) : 0; /* moon */
    b->number[D] = kh_between(rng, 0.1, 0.9);
    b->number[E] = kh_between(rng, 0.1, 0.35);
    b->number[F] = kh_rng_unit(rng) < 0.4 ? kh_between(rng, 0.08, 0.2) : 0; /* hills */
}

void kh_backdrop_plan(kh_backdrop *b, kh_background kind, kh_rng *rng) {
    memset(b, 0, sizeof *b);
    b->kind = kind;
    b->key = (uint32_t)kh_rng_u64(rng);
    switch (kind) {
    case KH_BACKGROUND_SKY:
        plan_sky(b, rng);
        break;
    case KH_BACKGROUND_GRASS:
    case KH_BACKGROUND_SAND:
    case KH_BACKGROUND_WATER:
    case KH_BACKGROUND_SNOW:
        plan_ground(b, rng);
        break;
    case KH_BACKGROUND_NIGHT:
        plan_night(b, rng);
        break;
    case KH_BACKGROUND_BRICK:
    case KH_BACKGROUND_WOOD:
    case KH_BACKGROUND_TILES:
    case KH_BACKGROUND_PAPER:
    case KH_BACKGROUNDS:
        plan_wall(b, rng);
        break;
    }
}

/* ---- pixels ---------------------------------------------------------------------------------- */

static void scaled(const double from[3], double factor, double rgb[3]) {
    for (size_t i = 0; i < 3; i++)
        rgb[i] = from[i] * factor;
}

/* height: how much of the picture is sky. */
static size_t sky_at(const kh_backdrop *b, double u, double v, double height, double rgb[3]) {
    const double *n = b->number;
    kh_colour_mix(b->element[SKY].rgb, white, n[SKY_FADE] * (height > 0 ? v / height : 0), rgb);
    const double thick = kh_noise2(b->key, u * n[CLOUD_X], v * n[CLOUD_Y]);
    const double cloud = kh_rise(thick, n[CLOUDS], n[CLOUDS] + 0.15);
    if (cloud > 0) kh_colour_mix(rgb, b->element[CLOUD].rgb, 0.95 * cloud, rgb);
    return cloud > 0.5 ? CLOUD : SKY;
}

static size_t ground_at(const kh_backdrop *b, double u, double v, double pixel, double rgb[3]) {
    const double *n = b->number;
    const uint32_t key = b->key + 16;
    double line = b->horizon;
    if (line > 0) {
        if (b->kind != KH_BACKGROUND_WATER) line += 0.05 * (kh_noise(key, u * 3, 0.5) - 0.5);
        if (v < line - pixel / 2) return sky_at(b, u, v, line, rgb);
    }
    /* far away things are smaller */
    const double near = line > 0 ? fmax(v - line, 0) / (1 - line) : 1;
    const double depth = line > 0 ? 2.2 * near / (0.4 + near) : v * 1.6;
    const double *base = b->element[FIRST].rgb;
    switch (b->kind) {
    case KH_BACKGROUND_GRASS: {
        const double blade = kh_noise(key + 1, u * n[A] + depth * 3, depth * n[B]);
        const double patch = kh_noise(key + 2, u * 4, depth * 4);
        scaled(base, 0.78 + n[C] * (blade - 0.35) + 0.25 * patch, rgb);
        break;
    }
    case KH_BACKGROUND_SAND: {
        const double bend = 1.2 * kh_noise(key + 1, u * 3, depth * 3);
        const double grain = kh_noise_cell(key + 2, kh_noise_floor(u * 90), kh_noise_floor(v * 90));
        scaled(base,
               0.98 + n[B] * kh_wave(depth * n[A] * 0.6 + n[C] * u * 3 + bend) +
                   0.12 * (grain - 0.5),
               rgb);
        break;
    }
    case KH_BACKGROUND_WATER: {
        const double streak = kh_noise(key + 1, u * n[A], depth * n[B]);
        const double swell = kh_wave(depth * n[D] + 1.5 * kh_noise(key + 2, u * 3, depth * 4));
        scaled(base, 0.9 + 0.09 * swell, rgb);
        const double glint = kh_rise(streak, 0.6, 0.9) * n[C];
        kh_colour_mix(rgb, white, glint, rgb);
        break;
    }
    default: { /* snow */
        scaled(base, 1.02 - n[B] * kh_noise2(key + 1, u * n[A], depth * n[A] * 1.5), rgb);
        break;
    }
    }
    if (!(line > 0 && v < line + pixel / 2)) return FIRST;
    double above[3]; /* a soft edge */
    const size_t sky = sky_at(b, u, v, line, above);
    const double share = kh_rise(v, line - pixel / 2, line + pixel / 2);
    kh_colour_mix(above, rgb, share, rgb);
    return share >= 0.5 ? FIRST : sky;
}

static size_t brick_at(const kh_backdrop *b, double u, double v, double pixel, double rgb[3]) {
    const double *n = b->number;
    const double y = v * n[A] + 0.37;
    const int32_t row = kh_noise_floor(y);
    const double x = u * n[A] / n[B] + (row % 2 ? 0.5 : 0);
    const int32_t column = kh_noise_floor(x);
    const double fy = y - row, fx = (x - column) * n[B];
    const double edge = fmin(fmin(fx, n[B] - fx), fmin(fy, 1 - fy)); /* in brick heights */
    const double soft = pixel * n[A] / 2;
    const double brick = kh_rise(edge, n[C] / 2 - soft, n[C] / 2 + soft);
    const double tone = 1 + 2 * n[D] * (kh_noise_cell(b->key, column, row) - 0.5) +
                        0.15 * (kh_noise(b->key + 1, u * 40, v * 40) - 0.5);
    double face[3];
    scaled(b->element[FIRST].rgb, tone, face);
    kh_colour_mix(b->element[SECOND].rgb, face, brick, rgb);
    return brick >= 0.5 ? FIRST : SECOND;
}

static size_t wood_at(const kh_backdrop *b, double u, double v, double pixel, double rgb[3]) {
    const double *n = b->number;
    const double along = n[B] > 0 ? v : u, across = (n[B] > 0 ? u : v) * n[A] + 0.4;
    const int32_t plank = kh_noise_floor(across);
    const double f = across - plank;
    const uint32_t key = b->key + 977u * (uint32_t)plank;
    const double bend = kh_noise(key, along * n[D], f * 1.5);
    const double grain = kh_wave(f * 3 + bend * 4) * 0.5 + kh_noise(key + 1, along * 4, f * 14);
    double face[3];
    scaled(b->element[FIRST].rgb,
           1.0 + n[C] * (grain - 0.5) + 0.3 * (kh_noise_cell(b->key, plank, 7) - 0.5), face);
    const double soft = pixel * n[A] / 2;
    const double seam = kh_rise(fmin(f, 1 - f), 0.03 - soft, 0.03 + soft);
    kh_colour_mix(b->element[SECOND].rgb, face, seam, rgb);
    return seam >= 0.5 ? FIRST : SECOND;
}

static size_t tiles_at(const kh_backdrop *b, double u, double v, double pixel, double rgb[3]) {
    const double *n = b->number;
    double x = u * n[A] + 0.3, y = v * n[A] + 0.6;
    if (n[B] > 0) {
        const double turned = 0.7071 * (x - y);
        y = 0.7071 * (x + y);
        x = turned;
    }
    const int32_t column = kh_noise_floor(x), row = kh_noise_floor(y);
    const double fx = x - column, fy = y - row;
    const double edge = fmin(fmin(fx, 1 - fx), fmin(fy, 1 - fy));
    const double soft = pixel * n[A] / 2;
    const double inside = kh_rise(edge, n[C] / 2 - soft, n[C] / 2 + soft);
    const size_t which = (column + row) % 2 ? SECOND : FIRST;
    double face[3];
    scaled(b->element[which].rgb, 1 + n[D] * (kh_noise_cell(b->key, column, row) - 0.5), face);
    kh_colour_mix(b->element[THIRD].rgb, face, inside, rgb);
    return inside >= 0.5 ? which : THIRD;
}

static size_t paper_at(const kh_backdrop *b, double u, double v, double pixel, double rgb[3]) {
    const double *n = b->number;
    const double across = (n[D] > 0 ? u : v) * n[B];
    const double f = across - kh_noise_floor(across);
    double tone = 1;
    if (n[A] == 2.0) tone += n[C] * (f < 0.5 ? -1 : 1);
    if (n[A] == 3.0) tone += n[C] * 2 * (kh_noise2(b->key, u * 30, v * 30) - 0.5);
    tone += 0.08 * (kh_noise(b->key + 2, u * 3, v * 3) - 0.5);
    scaled(b->element[FIRST].rgb, tone, rgb);
    if (n[A] == 1.0) {
        const double half = 0.5 * n[B] * fmax(pixel, 0.009); /* of a line */
        const double line = 1 - kh_rise(fmin(f, 1 - f), half * 0.6, half * 1.4);
        kh_colour_mix(rgb, b->element[SECOND].rgb, 0.8 * line, rgb);
        if (line > 0.5) return SECOND;
    }
    return FIRST;
}

static size_t night_at(const kh_backdrop *b, double u, double v, double pixel, double rgb[3]) {
    const double *n = b->number;
    if (n[F] > 0 && v > 1 - n[F] - 0.08 * kh_noise(b->key + 5, u * 4, 0.5)) {
        memcpy(rgb, b->element[THIRD].rgb, 3 * sizeof *rgb);
        return THIRD;
    }
    scaled(b->element[FIRST].rgb, 0.8 + 0.4 * v, rgb);
    double light = 0;
    if (n[C] > 0) {
        const double dx = u - n[D], dy = v - n[E];
        light = 1 - kh_rise(sqrt(dx * dx + dy * dy), n[C] - pixel / 2, n[C] + pixel / 2);
    }
    const double x = u * n[A], y = v * n[A];
    const int32_t column = kh_noise_floor(x), row = kh_noise_floor(y);
    if (kh_noise_cell(b->key, column, row) < n[B]) {
        const double dx = x - column - 0.2 - 0.6 * kh_noise_cell(b->key + 1, column, row);
        const double dy = y - row - 0.2 - 0.6 * kh_noise_cell(b->key + 2, column, row);
        const double bright = 0.4 + 0.6 * kh_noise_cell(b->key + 3, column, row);
        const double radius = fmax(0.7 * pixel, 0.006) * n[A];
        light = fmax(light,
                     bright * (1 - kh_rise(sqrt(dx * dx + dy * dy), 0.5 * radius, 1.5 * radius)));
    }
    kh_colour_mix(rgb, b->element[SECOND].rgb, light, rgb);
    return light > 0.5 ? SECOND : FIRST;
}

size_t kh_backdrop_at(const kh_backdrop *b, double u, double v, double pixel, double rgb[3]) {
    switch (b->kind) {
    case KH_BACKGROUND_SKY:
        return sky_at(b, u, v, 1, rgb);
    case KH_BACKGROUND_BRICK:
        return brick_at(b, u, v, pixel, rgb);
    case KH_BACKGROUND_NIGHT:
        return night_at(b, u, v, pixel, rgb);
    case KH_BACKGROUND_WOOD:
        return wood_at(b, u, v, pixel, rgb);
    case KH_BACKGROUND_TILES:
        return tiles_at(b, u, v, pixel, rgb);
    case KH_BACKGROUND_PAPER:
    case KH_BACKGROUNDS:
        return paper_at(b, u, v, pixel, rgb);
    case KH_BACKGROUND_GRASS:
    case KH_BACKGROUND_SAND:
    case KH_BACKGROUND_WATER:
    case KH_BACKGROUND_SNOW:
        break;
    }
    const size_t which = ground_at(b, u, v, pixel, rgb);
    if (b->kind == KH_BACKGROUND_SNOW && b->number[C] > 0) { /* flakes fall before the sky, too */
        const double x = u * 12 + 2 * v, y = v * 12;
        const int32_t column = kh_noise_floor(x), row = kh_noise_floor(y);
        if (kh_noise_cell(b->key + 40, column, row) < b->number[C]) {
            const double dx = x - column - 0.5, dy = y - row - 0.5;
            if (dx * dx + dy * dy < 0.014) {
                memcpy(rgb, white, sizeof white);
                return FIRST;
            }
        }
    }
    return which;
}
