#include "diorama/scene.h"

#include "base/alloc.h"
#include "base/status.h"
#include "diorama/noise.h"

#include <stdio.h>
#include <string.h>

struct kh_diorama {
    uint64_t seed;
    uint32_t flags;
    kh_tiles tiles;
    kh_canvas canvas;
    cairo_surface_t *trial_surface;
    kh_diorama_region region[KH_DIORAMA_MAX_REGIONS];
    kh_setting setting;
};

/* ---- life ------------------------------------------------------------------------------------ */

/* A picture in our own memory; NULL when out of memory. */
static cairo_surface_t *make_surface(cairo_format_t format, uint32_t size, unsigned char **bytes,
                                     size_t *stride) {
    *stride = (size_t)cairo_format_stride_for_width(format, (int)size);
    *bytes = kh_calloc(size, *stride);
    if (!*bytes) return NULL;
    cairo_surface_t *surface =
        cairo_image_surface_create_for_data(*bytes, format, (int)size, (int)size, (int)*stride);
    if (!cairo_surface_status(surface)) return surface;
    cairo_surface_destroy(surface);
    return NULL;
}

kh_status kh_diorama_new(uint32_t size, uint64_t seed, uint32_t flags, kh_diorama **out,
                         kh_error *err) {
    *out = NULL;
    if (size < KH_DIORAMA_MIN_SIZE || size > KH_DIORAMA_MAX_SIZE)
        return kh_fail(err, KH_E_ARG, "diorama: size %lu, must be within %d..%d",
                       (unsigned long)size, KH_DIORAMA_MIN_SIZE, KH_DIORAMA_MAX_SIZE);
    if (flags & ~(uint32_t)KH_DIORAMA_NO_SHORTCUTS)
        return kh_fail(err, KH_E_ARG, "diorama: unknown flags 0x%lx", (unsigned long)flags);
    kh_diorama *d = kh_calloc(1, sizeof *d);
    if (!d) return kh_fail(err, KH_E_MEMORY, "no memory for a diorama");
    d->seed = seed;
    d->flags = flags;
    kh_canvas *c = &d->canvas;
    c->size = size;
    c->picture_surface = make_surface(CAIRO_FORMAT_RGB24, size, &c->picture, &c->picture_stride);
    c->truth_surface = make_surface(CAIRO_FORMAT_A8, size, &c->truth, &c->truth_stride);
    d->trial_surface = make_surface(CAIRO_FORMAT_A8, size, &c->trial, &c->truth_stride);
    if (!kh_tiles_init(&d->tiles) || !c->picture_surface || !c->truth_surface ||
        !d->trial_surface) {
        kh_diorama_free(d);
        return kh_fail(err, KH_E_MEMORY, "no memory for a diorama of %lu pixels a side",
                       (unsigned long)size);
    }
    *out = d;
    return KH_OK;
}

void kh_diorama_free(kh_diorama *diorama) {
    if (!diorama) return;
    cairo_surface_destroy(diorama->canvas.picture_surface);
    cairo_surface_destroy(diorama->canvas.truth_surface);
    cairo_surface_destroy(diorama->trial_surface);
    kh_free(diorama->canvas.picture);
    kh_free(diorama->canvas.truth);
    kh_free(diorama->canvas.trial);
    kh_tiles_clear(&diorama->tiles);
    kh_free(diorama);
}

/* ---- what comes out -------------------------------------------------------------------------- */

static uint8_t to_byte(double c) {
    return (uint8_t)(c < 0 ? 0 : c > 255 ? 255 : c + 0.5);
}

/* Light, contrast, cast and grain, from the painted picture to bytes. */
static void light(const kh_diorama *d, uint8_t *rgb) {
    const kh_canvas *canvas = &d->canvas;
    const kh_lighting *l = &d->setting.lighting;
    const double *box = d->setting.box;
    const double x = (box[0] + box[2]) / 2, y = (box[1] + box[3]) / 2;
    const double reach = d->setting.scale * canvas->size, side = canvas->size;
    const unsigned first = (unsigned)d->setting.first_region + 1;
    const unsigned past = (unsigned)d->setting.past_region + 1;
    for (uint32_t j = 0; j < canvas->size; j++) {
        const unsigned char *words = canvas->picture + j * canvas->picture_stride;
        const unsigned char *numbers = canvas->truth + j * canvas->truth_stride;
        for (uint32_t i = 0; i < canvas->size; i++, rgb += 3) {
            uint32_t word;
            memcpy(&word, words + 4 * (size_t)i, 4);
            double factor = l->brightness * (1 + l->slope[0] * ((i + 0.5) / side - 0.5) +
                                             l->slope[1] * ((j + 0.5) / side - 0.5));
            if (numbers[i] >= first && numbers[i] < past)
                factor *=
                    1 +
                    (l->thing_slope[0] * (i + 0.5 - x) + l->thing_slope[1] * (j + 0.5 - y)) / reach;
            const uint32_t a = kh_noise_mix(l->noise_key + j * canvas->size + i);
            const uint32_t b = kh_noise_mix(a ^ 0x9E3779B9u);
            for (unsigned c = 0; c < 3; c++) {
                const double painted = (double)(word >> (16 - 8 * c) & 255);
                const double grain =
                    (double)((a >> (10 * c) & 1023) + (b >> (10 * c) & 1023)) / 1023 - 1;
                const double lit = ((painted - 127.5) * l->contrast + 127.5) * factor * l->cast[c];
                rgb[c] = to_byte(lit + 255 * l->noise * grain);
            }
        }
    }
}

static void write_labels(const kh_diorama *d, uint16_t *labels) {
    const kh_canvas *canvas = &d->canvas;
    uint16_t table[256][KH_DIORAMA_CATEGORIES] = {{0}};
    for (size_t r = 0; r < KH_DIORAMA_MAX_REGIONS; r++) {
        uint16_t *row = table[r + 1];
        row[KH_DIORAMA_OBJECT] = d->region[r].object;
        row[KH_DIORAMA_PART] = d->region[r].part;
        row[KH_DIORAMA_MATERIAL] = d->region[r].material;
        row[KH_DIORAMA_COLOUR] = d->region[r].colour;
    }
    for (size_t e = 0; e < KH_BACKDROP_ELEMENTS; e++) {
        const kh_element *element = &d->setting.backdrop.element[e];
        table[KH_TRUTH_BACKDROP + e][KH_DIORAMA_COLOUR] = kh_label_of_colour(element->colour);
        table[KH_TRUTH_BACKDROP + e][KH_DIORAMA_BACKGROUND] =
            kh_label_of_background(element->background);
    }
    const size_t map = (size_t)canvas->size * canvas->size;
    for (size_t j = 0; j < canvas->size; j++)
        for (size_t i = 0; i < canvas->size; i++) {
            const uint16_t *row = table[canvas->truth[j * canvas->truth_stride + i]];
            uint16_t *out = labels + j * canvas->size + i;
            for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++)
                out[c * map] = row[c];
        }
}

static void write_caption(kh_diorama_region *region) {
    const char *material = kh_diorama_label_name(region->material);
    const bool is_plain = region->material == kh_label_of_material(KH_MATERIAL_PLAIN);
    const char *part = region->part ? kh_diorama_label_name(region->part) : "";
    (void)snprintf(region->caption, sizeof region->caption, "%s%s%s %s%s%s",
                   is_plain ? "" : material, is_plain ? "" : " ",
                   kh_diorama_label_name(region->colour), kh_diorama_label_name(region->object),
                   region->part ? " " : "", part);
}

static void describe(const kh_diorama *d, uint64_t index, kh_diorama_scene *scene) {
    const kh_canvas *canvas = &d->canvas;
    const kh_setting *s = &d->setting;
    memset(scene, 0, sizeof *scene);
    scene->index = index;
    scene->class_index = (size_t)s->class;
    scene->background = kh_label_of_background(s->backdrop.kind);
    scene->visible = s->visible;
    scene->scale = s->scale;
    uint32_t counts[256] = {0};
    uint32_t x0 = canvas->size, y0 = canvas->size, x1 = 0, y1 = 0;
    for (uint32_t j = 0; j < canvas->size; j++)
        for (uint32_t i = 0; i < canvas->size; i++) {
            const unsigned n = canvas->truth[j * canvas->truth_stride + i];
            counts[n] += 1;
            if (n <= s->first_region || n > s->past_region) continue;
            if (i < x0) x0 = i;
            if (j < y0) y0 = j;
            if (i >= x1) x1 = i + 1;
            if (j >= y1) y1 = j + 1;
        }
    if (x1 > 0) {
        scene->box[0] = x0;
        scene->box[1] = y0;
        scene->box[2] = x1;
        scene->box[3] = y1;
    }
    for (size_t r = 0; r < KH_DIORAMA_MAX_REGIONS; r++) {
        if (!counts[r + 1]) continue; /* wholly covered */
        kh_diorama_region *region = &scene->region[scene->regions++];
        *region = d->region[r];
        region->pixels = counts[r + 1];
        write_caption(region);
    }
}

/* A context that writes numbers: whole pixels, replacing what is there. */
static cairo_t *numbers_context(cairo_surface_t *surface) {
    cairo_t *context = cairo_create(surface);
    cairo_set_antialias(context, CAIRO_ANTIALIAS_NONE);
    cairo_set_operator(context, CAIRO_OPERATOR_SOURCE);
    return context;
}

static void round_strokes(cairo_t *context) {
    cairo_set_line_cap(context, CAIRO_LINE_CAP_ROUND);
    cairo_set_line_join(context, CAIRO_LINE_JOIN_ROUND);
}

kh_status kh_diorama_render(kh_diorama *diorama, uint64_t index, uint8_t *rgb, uint16_t *labels,
                            kh_diorama_scene *scene, kh_error *err) {
    kh_canvas *canvas = &diorama->canvas;
    memset(diorama->region, 0, sizeof diorama->region);
    kh_easel easel = {
        .picture = cairo_create(canvas->picture_surface),
        .truth = numbers_context(canvas->truth_surface),
        .tiles = &diorama->tiles,
        .region = diorama->region,
    };
    canvas->trial_context = numbers_context(diorama->trial_surface);
    round_strokes(easel.picture);
    round_strokes(easel.truth);
    round_strokes(canvas->trial_context);

    kh_scene_plan(&diorama->setting, &easel, canvas->size, diorama->seed, diorama->flags, index);
    kh_scene_paint(&diorama->setting, &easel, canvas, diorama->seed, index);
    const bool failed = cairo_status(easel.picture) || cairo_status(easel.truth) ||
                        cairo_status(canvas->trial_context);
    cairo_destroy(easel.picture);
    cairo_destroy(easel.truth);
    cairo_destroy(canvas->trial_context);
    canvas->trial_context = NULL;
    if (failed)
        return kh_fail(err, KH_E_MEMORY, "diorama: scene %llu could not be painted, out of memory?",
                       (unsigned long long)index);
    if (rgb) light(diorama, rgb);
    if (labels) write_labels(diorama, labels);
    if (scene) describe(diorama, index, scene);
    return KH_OK;
}
