/* figure/lettering.h: text on a page: measuring, wrapping, drawing, with a second font where the
 * first lacks a letter. Widths add up letter by letter, so layout is the same at every scale. */
#ifndef KH_FIGURE_LETTERING_H
#define KH_FIGURE_LETTERING_H

#include <cairo.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct kh_style {
    double size;
    bool is_bold;
    uint32_t rgb; /* 0xRRGGBB */
} kh_style;

extern const kh_style kh_style_title, kh_style_subtitle, kh_style_heading, kh_style_body,
    kh_style_small, kh_style_note;

#define KH_LETTER_FACES 12 /* the chosen family and the fallbacks */

/* Fonts of one figure. */
typedef struct kh_letters {
    cairo_font_face_t *faces[KH_LETTER_FACES][2]; /* regular, bold; made when first needed */
    cairo_font_options_t *options;
    const char *family;
} kh_letters;

/* family stays with the caller. Errors: KH_E_UNSUPPORTED when no font at all can be loaded,
 * KH_E_MEMORY. Pair: kh_letters_clear. */
kh_status kh_letters_init(kh_letters *letters, const char *family, kh_error *err);
void kh_letters_clear(kh_letters *letters);

/* Copies text (at most room - 1 bytes) with invalid UTF-8 as U+FFFD and control characters other
 * than
 * '\n' as spaces; returns the length a large enough room would hold. out may be NULL with room 0.
 */
size_t kh_letters_clean(const char *text, char *out, size_t room);

double kh_line_height(const kh_style *style);

/* Width of the first `length` bytes, one line. */
double kh_letters_width(kh_letters *letters, const kh_style *style, const char *text,
                        size_t length);

/* One line with its baseline at y; align 0 starts at x, 0.5 centres on it, 1 ends there. */
void kh_letters_draw(kh_letters *letters, cairo_t *cr, const kh_style *style, double x, double y,
                     double align, const char *text);
/* The same, shortened with an ellipsis to fit `width`. */
void kh_letters_draw_fit(kh_letters *letters, cairo_t *cr, const kh_style *style, double x,
                         double y, double align, double width, const char *text);

/* Lines the text needs at this width, at most max_lines (0: no limit). NULL and "" need none. */
size_t kh_letters_lines(kh_letters *letters, const kh_style *style, const char *text, double width,
                        size_t max_lines);
/* Draws wrapped text below y (its top) inside [x, x + width]; what does not fit ends in an
 * ellipsis. Returns the height used. */
double kh_letters_paragraph(kh_letters *letters, cairo_t *cr, const kh_style *style, double x,
                            double y, double width, double align, size_t max_lines,
                            const char *text);

void kh_set_rgb(cairo_t *cr, uint32_t rgb, double alpha);

#endif
