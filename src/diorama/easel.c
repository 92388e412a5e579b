#include "diorama/stage.h"

#include <math.h>
#include <string.h>

#define TURN 6.283185307179586

cairo_t *kh_easel_path(kh_easel *easel) {
    return easel->picture;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

void kh_easel_tilted_ellipse(kh_easel *easel, double x, double y, double rx, double ry,
                             double angle) {
    cairo_t *cr = easel->picture;
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, angle);
    cairo_scale(cr, rx, ry);
    cairo_new_sub_path(cr);
    cairo_arc(cr, 0, 0, 1, 0, TURN);
    cairo_close_path(cr);
    cairo_restore(cr);
}

void kh_easel_ellipse(kh_easel *easel, double x, double y, double rx, double ry) {
    kh_easel_tilted_ellipse(easel, x, y, rx, ry, 0);
}

void kh_easel_box(kh_easel *easel, double x0, double y0, double x1, double y1, double corner) {
    cairo_t *cr = easel->picture;
    const double most = fmin(fabs(x1 - x0), fabs(y1 - y0)) / 2;
    const double r = corner < most ? corner : most;
    if (!(r > 0)) {
        cairo_rectangle(cr, x0, y0, x1 - x0, y1 - y0);
        return;
    }
    cairo_new_sub_path(cr);
    cairo_arc(cr, x1 - r, y0 + r, r, -TURN / 4, 0);
    cairo_arc(cr, x1 - r, y1 - r, r, 0, TURN / 4);
    cairo_arc(cr, x0 + r, y1 - r, r, TURN / 4, TURN / 2);
    cairo_arc(cr, x0 + r, y0 + r, r, TURN / 2, TURN * 3 / 4);
    cairo_close_path(cr);
}

void kh_easel_polygon(kh_easel *easel, const double (*points)[2], size_t count) {
    for (size_t i = 0; i < count; i++)
        if (i == 0)
            cairo_move_to(easel->picture, points[i][0], points[i][1]);
        else
            cairo_line_to(easel->picture, points[i][0], points[i][1]);
    if (count) cairo_close_path(easel->picture);
}

/* ---- painting -------------------------------------------------------------------------------- */

static void forget_patterns(kh_easel *easel) {
    for (size_t i = 0; i < easel->kept_count; i++)
        cairo_pattern_destroy(easel->kept[i].pattern);
    easel->kept_count = 0;
}

void kh_easel_begin(kh_easel *easel, kh_easel_mode mode, const cairo_matrix_t *base,
                    uint16_t object, bool is_class) {
    forget_patterns(easel);
    easel->mode = mode;
    easel->base = *base;
    easel->unit_px = sqrt(fabs(base->xx * base->yy - base->xy * base->yx));
    easel->object = object;
    easel->is_class = is_class;
    easel->has_box = false;
    cairo_new_path(easel->picture);
    cairo_set_matrix(easel->picture, base);
    cairo_set_matrix(easel->truth, base);
}

void kh_easel_end(kh_easel *easel) {
    forget_patterns(easel);
    cairo_identity_matrix(easel->picture);
    cairo_identity_matrix(easel->truth);
    cairo_new_path(easel->picture);
}

static bool same_pattern(const kh_paint *a, const kh_paint *b) {
    return a->material == b->material && !memcmp(a->rgb, b->rgb, sizeof a->rgb) &&
           !memcmp(a->other, b->other, sizeof a->other) &&
           !memcmp(&a->pitch, &b->pitch, sizeof a->pitch) &&
           !memcmp(&a->angle, &b->angle, sizeof a->angle);
}

static void set_source(kh_easel *easel, const kh_paint *paint) {
    if (paint->material == KH_MATERIAL_PLAIN) {
        cairo_set_source_rgb(easel->picture, paint->rgb[0], paint->rgb[1], paint->rgb[2]);
        return;
    }
    size_t i = 0;
    while (i < easel->kept_count && !same_pattern(&easel->kept[i].paint, paint))
        i++;
    if (i == easel->kept_count) {
        if (i == KH_EASEL_PATTERNS) {
            forget_patterns(easel);
            i = 0;
        }
        easel->kept[i].paint = *paint;
        easel->kept[i].pattern = kh_tiles_pattern(easel->tiles, paint, easel->unit_px);
        easel->kept_count = i + 1;
    }
    cairo_set_source(easel->picture, easel->kept[i].pattern);
}

/* The number of the region, made when it is new. */
static size_t region_number(kh_easel *easel, kh_part part, const kh_paint *paint) {
    const kh_diorama_region want = {
        .object = easel->object,
        .part = easel->is_class ? kh_label_of_part(part) : 0,
        .material = kh_label_of_material(paint->material),
        .colour = kh_label_of_colour(paint->colour),
    };
    for (size_t r = 0; r < easel->regions; r++) {
        const kh_diorama_region *have = &easel->region[r];
        if (have->object == want.object && have->part == want.part &&
            have->material == want.material && have->colour == want.colour)
            return r + 1;
    }
    if (easel->regions == KH_DIORAMA_MAX_REGIONS) return KH_DIORAMA_MAX_REGIONS;
    easel->region[easel->regions] = want;
    easel->regions += 1;
    return easel->regions;
}

static void grow_box(kh_easel *easel, double margin) {
    double x0, y0, x1, y1;
    cairo_t *cr = easel->picture;
    cairo_save(cr);
    cairo_identity_matrix(cr);
    cairo_path_extents(cr, &x0, &y0, &x1, &y1);
    cairo_restore(cr);
    cairo_new_path(cr);
    const double grown[4] = {x0 - margin, y0 - margin, x1 + margin, y1 + margin};
    for (size_t i = 0; i < 4; i++)
        if (!easel->has_box || (i < 2 ? grown[i] < easel->box[i] : grown[i] > easel->box[i]))
            easel->box[i] = grown[i];
    easel->has_box = true;
}

/* width 0: fill, otherwise stroke; object units. */
static void put(kh_easel *easel, kh_part part, const kh_paint *paint, double width) {
    cairo_t *cr = easel->picture;
    if (easel->mode == KH_EASEL_MEASURE) {
        grow_box(easel, width * easel->unit_px / 2);
        return;
    }
    if (width > 0) width = fmax(width, 1.15 * easel->hair_px / easel->unit_px);
    cairo_matrix_t was;
    cairo_get_matrix(cr, &was);
    cairo_set_matrix(cr, &easel->base);

    const size_t number = region_number(easel, part, paint);
    cairo_path_t *path = cairo_copy_path(cr);
    cairo_append_path(easel->truth, path);
    cairo_path_destroy(path);
    cairo_set_source_rgba(easel->truth, 0, 0, 0, (double)number / 255.0);
    if (width > 0) {
        cairo_set_line_width(easel->truth, width);
        cairo_stroke(easel->truth);
    } else {
        cairo_fill(easel->truth);
    }
    if (easel->mode == KH_EASEL_PAINT) {
        /* The outline lies below the fill, which hides what is inside: a path of several
         * overlapping shapes shows the outline of their union. */
        if (!(width > 0) && easel->outline_alpha > 0) {
            const double grey = easel->outline_grey;
            cairo_set_source_rgba(cr, grey, grey, grey, easel->outline_alpha);
            cairo_set_line_width(cr, 1.4 * easel->hair_px / easel->unit_px);
            cairo_stroke_preserve(cr);
        }
        set_source(easel, paint);
        if (width > 0) {
            cairo_set_line_width(cr, width);
            cairo_stroke_preserve(cr);
        } else {
            cairo_fill_preserve(cr);
        }
    }
    cairo_new_path(cr);
    cairo_set_matrix(cr, &was);
}

void kh_easel_fill(kh_easel *easel, kh_part part, const kh_paint *paint) {
    put(easel, part, paint, 0);
}

void kh_easel_stroke(kh_easel *easel, kh_part part, const kh_paint *paint, double width) {
    if (width > 0) put(easel, part, paint, width);
}
