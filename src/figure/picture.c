#include "figure/picture.h"

#include "figure/ticks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A Cairo image of RGB bytes, brought to [to_height, to_width] by repeating pixels; in an error
 * state when out of memory. */
static cairo_surface_t *surface_of(const uint8_t *rgb, size_t width, size_t height, size_t to_width,
                                   size_t to_height) {
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)to_width, (int)to_height);
    unsigned char *pixels = cairo_image_surface_get_data(surface);
    if (!pixels) return surface;
    const size_t stride = (size_t)cairo_image_surface_get_stride(surface);
    for (size_t y = 0; y < to_height; y++)
        for (size_t x = 0; x < to_width; x++) {
            const uint8_t *from = rgb + (y * height / to_height * width + x * width / to_width) * 3;
            const uint32_t word =
                0xff000000u | (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
            memcpy(pixels + y * stride + x * 4, &word, 4); /* native byte order, as Cairo wants */
        }
    cairo_surface_mark_dirty(surface);
    return surface;
}

/* Enlarged squares are made here and not by the viewer, because SVG viewers blur. */
void kh_picture_draw(cairo_t *cr, const uint8_t *rgb, size_t width, size_t height, kh_box box,
                     bool is_smooth) {
    const bool is_larger = box.width >= (double)width && box.height >= (double)height;
    const bool is_squares = is_larger && !is_smooth;
    const size_t to_width = is_squares ? (size_t)box.width : width;
    const size_t to_height = is_squares ? (size_t)box.height : height;
    cairo_surface_t *surface = surface_of(rgb, width, height, to_width, to_height);
    cairo_save(cr);
    cairo_rectangle(cr, box.x, box.y, box.width, box.height);
    cairo_clip(cr);
    cairo_translate(cr, box.x, box.y);
    cairo_scale(cr, box.width / (double)to_width, box.height / (double)to_height);
    cairo_set_source_surface(cr, surface, 0, 0);
    cairo_pattern_set_filter(cairo_get_source(cr),
                             is_squares ? CAIRO_FILTER_NEAREST : CAIRO_FILTER_GOOD);
    cairo_pattern_set_extend(cairo_get_source(cr), CAIRO_EXTEND_PAD);
    cairo_paint(cr);
    cairo_restore(cr);
    cairo_surface_destroy(surface);
}

void kh_hatch(cairo_t *cr, kh_box box) {
    cairo_save(cr);
    cairo_rectangle(cr, box.x, box.y, box.width, box.height);
    cairo_clip(cr);
    kh_set_rgb(cr, 0xf4f4f4, 1);
    cairo_paint(cr);
    kh_set_rgb(cr, 0x8a8a8a, 1);
    cairo_set_line_width(cr, 1);
    for (double at = -box.height; at < box.width; at += 6) {
        cairo_move_to(cr, box.x + at, box.y + box.height);
        cairo_line_to(cr, box.x + at + box.height, box.y);
    }
    cairo_stroke(cr);
    cairo_restore(cr);
}

/* ---- colour bars ----------------------------------------------------------------------------- */

#define BAR_WIDTH  320.0
#define BAR_HEIGHT 12.0
#define BAR_SIDE                                                                                   \
    26.0 /* room for half a number at the right end; the left one begins with the bar */
#define NUMBER_GAP 12.0 /* between two numbers */

static bool is_drawable(const kh_figure_scale *scale) {
    return isfinite(scale->low) && isfinite(scale->high);
}

static void draw_strip(cairo_t *cr, const kh_figure_scale *scale, kh_box box) {
    uint8_t row[512 * 3];
    size_t steps = (size_t)box.width;
    if (steps > 512) steps = 512;
    if (steps < 2) steps = 2;
    for (size_t i = 0; i < steps; i++)
        memcpy(row + i * 3, scale->table[(i * 255 + (steps - 1) / 2) / (steps - 1)], 3);
    if (is_drawable(scale))
        kh_picture_draw(cr, row, steps, 1, box, false);
    else
        kh_hatch(cr, box);
    kh_set_rgb(cr, 0x5a5a5a, 1);
    cairo_set_line_width(cr, 1);
    cairo_rectangle(cr, box.x - 0.5, box.y - 0.5, box.width + 1, box.height + 1);
    cairo_stroke(cr);
}

double kh_colour_bar_width(const kh_figure_scale *scale) {
    (void)scale;
    return BAR_WIDTH + BAR_SIDE;
}

double kh_colour_bar_height(const kh_figure_scale *scale) {
    return (scale->label ? kh_line_height(&kh_style_body) + 4 : 1) + BAR_HEIGHT + 5 +
           kh_line_height(&kh_style_body);
}

/* The value at one end of the bar, where it fits between `from` and `to`. */
static void draw_bar_end(kh_letters *letters, cairo_t *cr, double value, double end,
                         double baseline, double left, double from, double to) {
    char text[KH_NUMBER_ROOM];
    (void)kh_number_short(value, 3, text);
    const double half = kh_letters_width(letters, &kh_style_body, text, strlen(text)) / 2;
    const double x = fmax(end, left + half);
    if (x - half < from + NUMBER_GAP || x + half > to - NUMBER_GAP) return;
    kh_letters_draw(letters, cr, &kh_style_body, x, baseline, 0.5, text);
}

/* Round numbers along the bar, and the two ends where no round number is near. */
static void draw_bar_numbers(kh_letters *letters, cairo_t *cr, const kh_figure_scale *scale,
                             kh_box strip) {
    char text[KH_NUMBER_ROOM];
    const double y = strip.y + strip.height;
    const double baseline = y + 6 + kh_style_body.size;
    kh_set_rgb(cr, 0x333333, 1);
    if (!(is_drawable(scale) && scale->low < scale->high)) {
        kh_letters_draw(letters, cr, &kh_style_body, strip.x, baseline, 0,
                        kh_number_short(scale->low, 3, text));
        kh_letters_draw(letters, cr, &kh_style_body, strip.x + strip.width, baseline, 1,
                        kh_number_short(scale->high, 3, text));
        return;
    }
    const kh_ticks ticks = kh_ticks_linear(scale->low, scale->high, 6, false);
    double first = (double)INFINITY, last = -(double)INFINITY; /* px that tick numbers cover */
    for (size_t i = 0; i < ticks.count; i++) {
        const double share = (ticks.at[i] - scale->low) / (scale->high - scale->low);
        const double x = strip.x + share * strip.width;
        kh_set_rgb(cr, 0x333333, 1);
        cairo_rectangle(cr, floor(x - 0.5), y + 1, 1, 4);
        cairo_fill(cr);
        (void)kh_tick_text(&ticks, i, text);
        const double half = kh_letters_width(letters, &kh_style_body, text, strlen(text)) / 2;
        const double middle = fmax(x, strip.x + half); /* not into the margin */
        kh_letters_draw(letters, cr, &kh_style_body, middle, baseline, 0.5, text);
        first = fmin(first, middle - half);
        last = fmax(last, middle + half);
    }
    draw_bar_end(letters, cr, scale->low, strip.x, baseline, strip.x, -(double)INFINITY, first);
    draw_bar_end(letters, cr, scale->high, strip.x + strip.width, baseline, strip.x, last,
                 (double)INFINITY);
}

void kh_colour_bar_draw(kh_letters *letters, cairo_t *cr, const kh_figure_scale *scale,
                        kh_box box) {
    char label[512];
    double y = box.y + 1;
    if (scale->label) {
        (void)snprintf(label, sizeof label, "%.300s%s%.100s%s", scale->label,
                       scale->unit ? " (" : "", scale->unit ? scale->unit : "",
                       scale->unit ? ")" : "");
        char clean[sizeof label];
        (void)kh_letters_clean(label, clean, sizeof clean);
        kh_letters_draw_fit(letters, cr, &kh_style_body, box.x, box.y + kh_style_body.size, 0,
                            box.width, clean);
        y = box.y + kh_line_height(&kh_style_body) + 4;
    }
    const kh_box strip = {box.x, y, BAR_WIDTH, BAR_HEIGHT};
    draw_strip(cr, scale, strip);
    draw_bar_numbers(letters, cr, scale, strip);
}

/* Decimals after the size of the larger end, so that both ends look alike. */
static int small_decimals(const kh_figure_scale *scale) {
    const double size = fmax(fabs(scale->low), fabs(scale->high));
    if (!(size > 0) || !isfinite(size)) return 0;
    const double decimals = size >= 0.1 && size < 10 ? 2 : 2 - floor(log10(size));
    return decimals < 0 ? 0 : decimals > 5 ? 5 : (int)decimals;
}

static const char *small_number(const kh_figure_scale *scale, double value,
                                char out[KH_NUMBER_ROOM]) {
    const double size = fmax(fabs(scale->low), fabs(scale->high));
    if (!(value < 0 || value > 0))
        return isnan(value) ? kh_number(value, 0, out) : strcpy(out, "0");
    return size < 1e-3 ? kh_number_short(value, 3, out)
                       : kh_number(value, small_decimals(scale), out);
}

void kh_small_bar_draw(kh_letters *letters, cairo_t *cr, const kh_figure_scale *scale, double x,
                       double y, double width) {
    char text[KH_NUMBER_ROOM];
    const kh_box strip = {floor(x) + 1, floor(y) + 4, floor(width) - 2, 6};
    draw_strip(cr, scale, strip);
    const double baseline = strip.y + 9 + kh_style_small.size;
    kh_letters_draw(letters, cr, &kh_style_small, x, baseline, 0,
                    small_number(scale, scale->low, text));
    kh_letters_draw(letters, cr, &kh_style_small, x + width, baseline, 1,
                    small_number(scale, scale->high, text));
}

/* ---- a colour bar as an element -------------------------------------------------------------- */

static double bar_width(kh_letters *letters, const void *data) {
    (void)letters;
    return kh_colour_bar_width(data);
}

static double bar_height(kh_letters *letters, const void *data, double width) {
    (void)letters;
    (void)width;
    return kh_colour_bar_height(data);
}

static void bar_draw(kh_letters *letters, cairo_t *cr, const void *data, kh_box box) {
    kh_colour_bar_draw(letters, cr, data, box);
}

kh_status kh_figure_add_scale(kh_figure *figure, const kh_figure_scale *scale, kh_error *err) {
    kh_figure_scale *copy = kh_page_keep(figure, NULL, 1, sizeof *copy);
    if (!copy || !kh_page_keep_scale(figure, scale, copy)) return kh_page_no_memory(err);
    const kh_element element = {
        .width = bar_width, .height = bar_height, .draw = bar_draw, .data = copy};
    return kh_page_add(figure, &element, err);
}
