/* The contact sheet of `keyhole diorama`: pictures, and below each its parts in colours. */
#include "cli/diorama.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { GAP = 2, PICTURES_ACROSS = 10, MOST_COLUMNS = 5 };

/* One class: a picture [2 size + GAP, scenes (size + GAP) - GAP] and what is written below. */
typedef struct strip {
    uint8_t *rgb;
    size_t width, height;
    kh_text caption;
} strip;

typedef struct sheet {
    const kh_diorama_set *set;
    kh_diorama *diorama;
    uint8_t *rgb;     /* [size][size][3] */
    uint16_t *labels; /* [categories][size][size] */
    size_t scenes, size;
} sheet;

/* Distinct in their order (Okabe and Ito 2008, then lighter); the truth is what matters, not which
 * part has which. */
static const uint8_t tints[][3] = {
    {230, 159, 0}, {86, 180, 233},  {0, 158, 115},   {240, 228, 66},  {0, 114, 178},
    {213, 94, 0},  {204, 121, 167}, {150, 230, 200}, {170, 140, 250}, {250, 180, 170},
};

static const uint16_t *map_of(const sheet *s, kh_diorama_category category) {
    return s->labels + (size_t)category * s->size * s->size;
}

static bool is_edge(const uint16_t *parts, const uint16_t *objects, size_t size, size_t x,
                    size_t y) {
    const size_t at = y * size + x;
    const size_t right = x + 1 < size ? at + 1 : at, below = y + 1 < size ? at + size : at;
    return parts[at] != parts[right] || parts[at] != parts[below] ||
           objects[at] != objects[right] || objects[at] != objects[below];
}

/* Grey picture, parts tinted, distractors darkened, a line where the label changes. */
static void paint_truth(const sheet *s, uint8_t *out, size_t row_bytes) {
    const uint16_t *objects = map_of(s, KH_DIORAMA_OBJECT), *parts = map_of(s, KH_DIORAMA_PART);
    const size_t size = s->size;
    size_t tint_of[KH_DIORAMA_MAX_REGIONS] = {0}, known = 0; /* given as parts appear */
    for (size_t y = 0; y < size; y++) {
        for (size_t x = 0; x < size; x++) {
            const size_t at = y * size + x;
            const uint8_t *from = s->rgb + 3 * at;
            uint8_t *to = out + y * row_bytes + 3 * x;
            const int grey = (54 * from[0] + 183 * from[1] + 19 * from[2]) >> 8;
            size_t t = 0;
            while (t < known && tint_of[t] != parts[at])
                t++;
            if (parts[at] && t == known && known < KH_DIORAMA_MAX_REGIONS)
                tint_of[known++] = parts[at];
            for (size_t c = 0; c < 3; c++) {
                int value =
                    160 + (grey & 0xE0) * 3 / 8; /* the background stands back, in few greys */
                if (objects[at] && !parts[at]) value = grey / 2;
                if (parts[at])
                    value = (2 * tints[t % (sizeof tints / sizeof *tints)][c] + grey) / 3;
                if (is_edge(parts, objects, size, x, y)) value = 20;
                to[c] = (uint8_t)value;
            }
        }
    }
}

static void add_parts(const kh_diorama_scene *scene, size_t label, kh_text *out) {
    for (size_t i = 0; i < scene->regions; i++) {
        const kh_diorama_region *r = &scene->region[i];
        bool is_new = r->object == label && r->part;
        for (size_t j = 0; j < i && is_new; j++)
            is_new = scene->region[j].part != r->part;
        if (is_new)
            kh_text_addf(out, "%s%s", strchr(out->data, ':') ? ", " : ": ",
                         kh_diorama_label_name(r->part));
    }
}

static kh_status draw_strip(sheet *s, size_t class_index, strip *out, kh_error *err) {
    const size_t classes = kh_diorama_class_count();
    out->width = s->scenes * (s->size + GAP) - GAP;
    out->height = 2 * s->size + GAP;
    out->rgb = kh_calloc(out->width * out->height, 3);
    if (!out->rgb) return kh_fail(err, KH_E_MEMORY, "no memory for a contact sheet");
    memset(out->rgb, 255, out->width * out->height * 3);
    kh_text_add(&out->caption, kh_diorama_class_name(class_index));
    /* the first scene of this class at or after start */
    uint64_t index = s->set->start / classes * classes + class_index;
    if (index < s->set->start) index += classes;
    const size_t row_bytes = 3 * out->width;
    for (size_t k = 0; k < s->scenes; k++, index += classes) {
        kh_diorama_scene scene;
        KH_TRY(kh_diorama_render(s->diorama, index, s->rgb, s->labels, &scene, err));
        uint8_t *at = out->rgb + 3 * k * (s->size + GAP);
        for (size_t y = 0; y < s->size; y++)
            memcpy(at + y * row_bytes, s->rgb + 3 * s->size * y, 3 * s->size);
        paint_truth(s, at + (s->size + GAP) * row_bytes, row_bytes);
        if (k == 0) add_parts(&scene, kh_diorama_class_label(class_index), &out->caption);
    }
    return out->caption.failed ? kh_fail(err, KH_E_MEMORY, "no memory for a contact sheet") : KH_OK;
}

static kh_status write_figure(const sheet *s, const strip *strips, size_t count, const char *path,
                              kh_error *err) {
    char subtitle[256];
    (void)snprintf(subtitle, sizeof subtitle,
                   "%zu class%s, %zu scene%s each at %zu px; below each picture its parts in"
                   " colours, things that are no class dark",
                   count, KH_ES(count), s->scenes, KH_S(s->scenes), s->size);
    char footnote[160];
    (void)snprintf(footnote, sizeof footnote,
                   "diorama · seed %llu · from scene %llu%s · keyhole %s",
                   (unsigned long long)s->set->seed, (unsigned long long)s->set->start,
                   s->set->flags & KH_DIORAMA_NO_SHORTCUTS ? " · no shortcuts" : "", kh_version());
    const kh_figure_options options = {
        .title = "The demo world", .subtitle = subtitle, .footnote = footnote};
    size_t columns = PICTURES_ACROSS / s->scenes;
    if (columns > MOST_COLUMNS) columns = MOST_COLUMNS;
    if (columns > count) columns = count;
    const size_t rows = (count + columns - 1) / columns;
    kh_figure_panel *panels = kh_calloc(rows * columns, sizeof *panels);
    if (!panels) return kh_fail(err, KH_E_MEMORY, "no memory for a contact sheet");
    for (size_t i = 0; i < count; i++)
        panels[i] = (kh_figure_panel){.rgb = strips[i].rgb,
                                      .width = strips[i].width,
                                      .height = strips[i].height,
                                      .caption = strips[i].caption.data,
                                      .frame = KH_FRAME_NONE};
    const kh_figure_grid grid = {.panels = panels, .rows = rows, .columns = columns};
    kh_figure *figure = NULL;
    kh_status status = kh_figure_create(&options, &figure, err);
    if (!status) status = kh_figure_add_grid(figure, &grid, err);
    if (!status) status = kh_figure_write(figure, path, 1.0, err);
    kh_figure_free(figure);
    kh_free(panels);
    return status;
}

kh_status kh_diorama_sheet(const kh_diorama_set *set, size_t scenes, const char *path,
                           kh_error *err) {
    sheet s = {.set = set, .scenes = scenes, .size = set->size};
    const size_t count = set->classes ? set->class_count : kh_diorama_class_count();
    KH_TRY(kh_diorama_new(set->size, set->seed, set->flags, &s.diorama, err));
    s.rgb = kh_calloc(s.size * s.size, 3);
    s.labels = kh_calloc(s.size * s.size * KH_DIORAMA_CATEGORIES, sizeof *s.labels);
    strip *strips = kh_calloc(count, sizeof *strips);
    kh_status status = s.rgb && s.labels && strips
                           ? KH_OK
                           : kh_fail(err, KH_E_MEMORY, "no memory for a contact sheet");
    for (size_t i = 0; i < count && !status; i++)
        status = draw_strip(&s, set->classes ? set->classes[i] : i, &strips[i], err);
    if (!status) status = write_figure(&s, strips, count, path, err);
    for (size_t i = 0; strips && i < count; i++) {
        kh_free(strips[i].rgb);
        kh_text_clear(&strips[i].caption);
    }
    kh_free(strips);
    kh_free(s.labels);
    kh_free(s.rgb);
    kh_diorama_free(s.diorama);
    return status;
}
