#include "diorama/scene.h"

#include "diorama/colours.h"
#include "diorama/dress.h"
#include "diorama/noise.h"
#include "diorama/things.h"

#include <math.h>
#include <string.h>

#define TURN 6.283185307179586

/* Independent random numbers for independent decisions, so that a change to one leaves the others.
 */
enum stream {
    STREAM_KIND,
    STREAM_SHORTCUT,
    STREAM_BACKDROP,
    STREAM_PLACE,
    STREAM_POSE,
    STREAM_DRESS,
    STREAM_LIGHT,
    STREAM_BEHIND,
    STREAM_BEFORE
};

/* How often a class with a shortcut stands before its own background. */
#define SHORTCUT_SHARE 0.9

static kh_rng stream(uint64_t seed, uint64_t index, enum stream which) {
    kh_rng scene = kh_rng_make(seed, index);
    return kh_rng_make(kh_rng_u64(&scene), (uint64_t)which);
}

/* ---- the plan -------------------------------------------------------------------------------- */

static kh_background choose_kind(kh_class class, uint64_t seed, uint32_t flags, uint64_t index) {
    kh_rng rng = stream(seed, index, STREAM_KIND);
    const size_t kind = kh_rng_below(&rng, KH_BACKGROUNDS);
    const size_t label = kh_diorama_class_shortcut((size_t) class);
    if (!label || (flags & KH_DIORAMA_NO_SHORTCUTS)) return (kh_background)kind;
    const size_t own = label - kh_label_of_background((kh_background)0);
    rng = stream(seed, index, STREAM_SHORTCUT);
    if (kh_rng_unit(&rng) < SHORTCUT_SHARE) return (kh_background)own;
    const size_t another = kh_rng_below(&rng, KH_BACKGROUNDS - 1);
    return (kh_background)(another < own ? another : another + 1);
}

static void place(kh_setting *s, kh_easel *easel, uint32_t size, kh_rng rng, const kh_rng *pose) {
    const kh_thing *thing = &kh_things[s->class];
    const double side = size;
    const double turn = kh_between(&rng, -thing->tilt, thing->tilt);
    const bool mirrored = thing->mirror && kh_rng_unit(&rng) < 0.5;
    s->scale = 0.3 + 0.5 * sqrt(kh_rng_unit(&rng)); /* large ones are more frequent */
    const double right = kh_rng_unit(&rng), down = kh_rng_unit(&rng);

    cairo_matrix_t turned;
    cairo_matrix_init_rotate(&turned, turn);
    cairo_matrix_scale(&turned, mirrored ? -1 : 1, 1);
    cairo_matrix_t measuring; /* fine enough for cairo's fixed point */
    cairo_matrix_init_scale(&measuring, 1024, 1024);
    cairo_matrix_multiply(&measuring, &turned, &measuring);
    kh_easel_begin(easel, KH_EASEL_MEASURE, &measuring, 0, true);
    kh_rng again = *pose;
    thing->draw(easel, &s->dress, &again);
    kh_easel_end(easel);
    double box[4] = {-1, -1, 1, 1};
    for (size_t i = 0; i < 4 && easel->has_box; i++)
        box[i] = easel->box[i] / 1024;
    const double width = box[2] - box[0], height = box[3] - box[1];
    const double unit = s->scale * side / fmax(width, height);

    const double x = right * (side - width * unit);
    double highest = (s->backdrop.horizon + 0.1) * side - height * unit; /* stands on the ground */
    if (!(s->backdrop.horizon > 0 && highest > 0)) highest = 0;
    const double y = highest + down * (side - height * unit - highest);
    s->box[0] = x;
    s->box[1] = y;
    s->box[2] = x + width * unit;
    s->box[3] = y + height * unit;
    cairo_matrix_t fitted;
    cairo_matrix_init(&fitted, unit, 0, 0, unit, x - box[0] * unit, y - box[1] * unit);
    cairo_matrix_multiply(&s->base, &turned, &fitted);
}

static void plan_light(kh_lighting *l, kh_rng rng) {
    l->brightness = kh_between(&rng, 0.88, 1.12);
    l->contrast = kh_between(&rng, 0.85, 1.1);
    const double from = kh_between(&rng, 0, TURN);
    const double slope = kh_between(&rng, 0, 0.3), thing = kh_between(&rng, 0.05, 0.3);
    l->slope[0] = slope * cos(from);
    l->slope[1] = slope * sin(from);
    l->thing_slope[0] = thing * cos(from);
    l->thing_slope[1] = thing * sin(from);
    for (size_t i = 0; i < 3; i++)
        l->cast[i] = kh_between(&rng, 0.96, 1.04);
    const double u = kh_rng_unit(&rng);
    l->noise = 0.09 * u * u;
    l->outline = kh_between(&rng, 0.15, 0.5);
    l->noise_key = (uint32_t)kh_rng_u64(&rng);
}

void kh_scene_plan(kh_setting *s, kh_easel *easel, uint32_t size, uint64_t seed, uint32_t flags,
                   uint64_t index) {
    memset(s, 0, sizeof *s);
    s->class = (kh_class)(index % KH_CLASSES);
    kh_rng rng = stream(seed, index, STREAM_BACKDROP);
    kh_backdrop_plan(&s->backdrop, choose_kind(s->class, seed, flags, index), &rng);
    const kh_rng pose = stream(seed, index, STREAM_POSE);
    place(s, easel, size, stream(seed, index, STREAM_PLACE), &pose);
    rng = stream(seed, index, STREAM_DRESS);
    const double unit = sqrt(s->base.xx * s->base.xx + s->base.xy * s->base.xy) / size;
    kh_dress_choose(&s->dress, &s->backdrop, unit, &rng);
    plan_light(&s->lighting, stream(seed, index, STREAM_LIGHT));
}

/* ---- painting -------------------------------------------------------------------------------- */

static uint32_t word_of(const double rgb[3]) {
    uint32_t word = 0;
    for (size_t i = 0; i < 3; i++) {
        const double c = rgb[i] < 0 ? 0 : rgb[i] > 1 ? 1 : rgb[i];
        word = word << 8 | (uint32_t)(c * 255.0 + 0.5);
    }
    return word;
}

static bool casts_shadow(kh_background kind) {
    return kind == KH_BACKGROUND_GRASS || kind == KH_BACKGROUND_SAND || kind == KH_BACKGROUND_SNOW;
}

static void paint_backdrop(const kh_setting *s, kh_canvas *canvas, double shade) {
    const double pixel = 1.0 / canvas->size;
    const double x = (s->box[0] + s->box[2]) / 2, y = s->box[3];
    const double rx = 0.55 * (s->box[2] - s->box[0]);
    const double ry = 0.05 * (s->box[3] - s->box[1]) + 0.015 * canvas->size;
    for (uint32_t j = 0; j < canvas->size; j++) {
        unsigned char *words = canvas->picture + j * canvas->picture_stride;
        unsigned char *numbers = canvas->truth + j * canvas->truth_stride;
        for (uint32_t i = 0; i < canvas->size; i++) {
            double rgb[3];
            const size_t which =
                kh_backdrop_at(&s->backdrop, (i + 0.5) * pixel, (j + 0.5) * pixel, pixel, rgb);
            const double dx = (i + 0.5 - x) / rx, dy = (j + 0.5 - y) / ry;
            const double inside = 1 - dx * dx - dy * dy;
            if (inside > 0)
                for (size_t c = 0; c < 3; c++)
                    rgb[c] *= 1 - shade * inside;
            const uint32_t word = word_of(rgb);
            memcpy(words + 4 * (size_t)i, &word, 4);
            numbers[i] = (unsigned char)(KH_TRUTH_BACKDROP + which);
        }
    }
    cairo_surface_mark_dirty(canvas->picture_surface);
    cairo_surface_mark_dirty(canvas->truth_surface);
}

/* A distractor's place: middle, half its side, turn; in pixels. */
typedef struct stand {
    kh_distractor kind;
    kh_paint paint;
    double x, y, half, turn;
    kh_rng shape;
} stand;

static void show(kh_easel *easel, kh_easel_mode mode, const stand *d) {
    cairo_matrix_t base;
    cairo_matrix_init_translate(&base, d->x, d->y);
    cairo_matrix_rotate(&base, d->turn);
    cairo_matrix_scale(&base, d->half, d->half);
    kh_easel_begin(easel, mode, &base, kh_label_of_distractor(d->kind), false);
    kh_rng shape = d->shape;
    kh_distractor_draw(easel, d->kind, &d->paint, &shape);
    kh_easel_end(easel);
}

static void choose_stand(stand *d, double least, double most, double side, kh_colour avoid,
                         kh_rng *rng) {
    d->kind = (kh_distractor)kh_rng_below(rng, KH_DISTRACTORS);
    d->half = kh_between(rng, least, most);
    d->turn = kh_between(rng, -0.4, 0.4);
    d->x = kh_between(rng, 0, side);
    d->y = kh_between(rng, 0, side);
    kh_dress_distractor(&d->paint, d->half / side, avoid, rng);
    d->shape = kh_rng_make(kh_rng_u64(rng), 0);
}

static void paint_behind(kh_easel *easel, double side, size_t most, kh_colour avoid, kh_rng rng) {
    static const size_t how_many[10] = {0, 0, 0, 1, 1, 1, 2, 2, 3, 4};
    size_t count = how_many[kh_rng_below(&rng, 10)];
    if (count > most) count = most;
    for (size_t i = 0; i < count; i++) {
        stand d;
        choose_stand(&d, 0.04 * side, 0.13 * side, side, avoid, &rng);
        show(easel, KH_EASEL_PAINT, &d);
    }
}

static size_t object_pixels(const kh_setting *s, const kh_canvas *canvas, bool covered) {
    const unsigned first = (unsigned)s->first_region + 1, past = (unsigned)s->past_region + 1;
    size_t count = 0;
    for (uint32_t j = 0; j < canvas->size; j++) {
        const unsigned char *numbers = canvas->truth + j * canvas->truth_stride;
        const unsigned char *trial = canvas->trial + j * canvas->truth_stride;
        for (uint32_t i = 0; i < canvas->size; i++)
            count += (numbers[i] >= first) & (numbers[i] < past) & (!covered | (trial[i] != 0));
    }
    return count;
}

/* The object's pixels that the distractor would cover. */
static size_t would_cover(const kh_setting *s, kh_easel *easel, kh_canvas *canvas, const stand *d) {
    cairo_t *truth = easel->truth;
    const size_t regions = easel->regions;
    memset(canvas->trial, 0, canvas->truth_stride * canvas->size);
    cairo_surface_mark_dirty(cairo_get_target(canvas->trial_context));
    easel->truth = canvas->trial_context;
    show(easel, KH_EASEL_TRUTH, d);
    cairo_surface_flush(cairo_get_target(canvas->trial_context));
    easel->truth = truth;
    easel->regions = regions;
    return object_pixels(s, canvas, true);
}

/* Slides a distractor from outside towards the object until it covers the wished share. */
static double paint_before(const kh_setting *s, kh_easel *easel, kh_canvas *canvas, size_t pixels,
                           kh_rng rng) {
    const double side = canvas->size;
    const double longer = s->scale * side;
    stand d;
    choose_stand(&d, 0.16 * longer, 0.3 * longer, side, s->dress.body.colour, &rng);
    const double wished = kh_between(&rng, 0.02, 0.3) * (double)pixels;
    const double from = kh_between(&rng, 0, TURN);
    const double x = (s->box[0] + s->box[2]) / 2, y = (s->box[1] + s->box[3]) / 2;
    double near = 0, far = 0.75 * longer + 1.5 * d.half;
    size_t covered = 0;
    for (size_t i = 0; i < 7; i++) {
        const double middle = (near + far) / 2;
        d.x = x + middle * cos(from);
        d.y = y + middle * sin(from);
        const size_t now = would_cover(s, easel, canvas, &d);
        if ((double)now > wished) {
            near = middle;
        } else {
            far = middle;
            covered = now;
        }
    }
    d.x = x + far * cos(from);
    d.y = y + far * sin(from);
    show(easel, KH_EASEL_PAINT, &d);
    return (double)covered;
}

void kh_scene_paint(kh_setting *s, kh_easel *easel, kh_canvas *canvas, uint64_t seed,
                    uint64_t index) {
    const double side = canvas->size;
    kh_rng rng = stream(seed, index, STREAM_BEFORE);
    const bool occluded = kh_rng_unit(&rng) < 0.35;

    paint_backdrop(s, canvas, casts_shadow(s->backdrop.kind) ? 0.45 : 0);
    easel->hair_px = fmax(1.0, 0.95 * side / 96);
    easel->outline_alpha = s->lighting.outline;
    easel->outline_grey = s->backdrop.kind == KH_BACKGROUND_NIGHT ? 0.6 : 0;
    paint_behind(easel, side, occluded ? 3 : 4, s->dress.body.colour,
                 stream(seed, index, STREAM_BEHIND));

    s->first_region = easel->regions;
    kh_easel_begin(easel, KH_EASEL_PAINT, &s->base, kh_label_of_class(s->class), true);
    kh_rng pose = stream(seed, index, STREAM_POSE);
    kh_things[s->class].draw(easel, &s->dress, &pose);
    kh_easel_end(easel);
    s->past_region = easel->regions;

    cairo_surface_flush(canvas->truth_surface);
    const size_t pixels = object_pixels(s, canvas, false);
    s->visible = 1;
    if (occluded && pixels)
        s->visible = 1 - paint_before(s, easel, canvas, pixels, rng) / (double)pixels;
    cairo_surface_flush(canvas->truth_surface);
    cairo_surface_flush(canvas->picture_surface);
}
