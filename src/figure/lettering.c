#include "figure/lettering.h"

#include "base/text.h"

#include <math.h>
#include <string.h>

const kh_style kh_style_title = {18, true, 0x111111};
const kh_style kh_style_subtitle = {13, false, 0x333333};
const kh_style kh_style_heading = {13, true, 0x111111};
const kh_style kh_style_body = {12, false, 0x1a1a1a};
const kh_style kh_style_small = {11, false, 0x404040};
const kh_style kh_style_note = {11, false, 0x9c3d00};

#define LINE_ROOM 2048
static const char ellipsis[] = "\xE2\x80\xA6";

/* Families that hold what Latin fonts lack; a family that is not installed costs nothing. */
static const char *const fallbacks[KH_LETTER_FACES - 1] = {
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "IPAGothic",
    "Noto Sans Symbols2",
    "FreeSans",
    "Unifont",
};

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

static bool is_noncharacter(uint32_t cp) {
    return (cp & 0xFFFE) == 0xFFFE || (cp >= 0xFDD0 && cp <= 0xFDEF);
}

/* Bytes of the first character (1 when invalid); *cp is U+FFFD when cairo would refuse it. */
static size_t next_character(const char *text, uint32_t *cp) {
    const unsigned char *s = (const unsigned char *)text;
    const size_t length = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    *cp = 0xFFFD;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80) return 1; /* also stops at the NUL */
    if (!kh_utf8_valid(text, length)) return 1;
    uint32_t code = length == 1 ? s[0] : s[0] & (0xFFu >> (length + 1));
    for (size_t i = 1; i < length; i++)
        code = (code << 6) | (s[i] & 0x3Fu);
    if (!is_noncharacter(code)) *cp = code;
    return length;
}

size_t kh_letters_clean(const char *text, char *out, size_t room) {
    size_t used = 0;
    while (*text) {
        uint32_t cp;
        const size_t length = next_character(text, &cp);
        const bool is_control = (cp < 0x20 && cp != '\n') || (cp >= 0x7F && cp < 0xA0);
        const bool is_bad = cp == 0xFFFD;
        const char *piece = is_control ? " " : is_bad ? "\xEF\xBF\xBD" : text;
        const size_t bytes = is_control ? 1 : is_bad ? 3 : length;
        if (used + bytes < room) memcpy(out + used, piece, bytes);
        used += bytes;
        text += length;
    }
    if (room) out[used < room ? used : room - 1] = '\0';
    return used;
}

/* ---- fonts ----------------------------------------------------------------------------------- */

static cairo_font_face_t *face_at(kh_letters *letters, size_t index, bool is_bold) {
    cairo_font_face_t **face = &letters->faces[index][is_bold];
    if (!*face)
        *face = cairo_toy_font_face_create(
            index ? fallbacks[index - 1] : letters->family, CAIRO_FONT_SLANT_NORMAL,
            is_bold ? CAIRO_FONT_WEIGHT_BOLD : CAIRO_FONT_WEIGHT_NORMAL);
    return *face;
}

static cairo_scaled_font_t *scaled(kh_letters *letters, size_t index, const kh_style *style) {
    cairo_matrix_t size, identity;
    cairo_matrix_init_scale(&size, style->size, style->size);
    cairo_matrix_init_identity(&identity);
    return cairo_scaled_font_create(face_at(letters, index, style->is_bold), &size, &identity,
                                    letters->options);
}

/* Advance of one character in one face; false when the face lacks it. */
static bool advance_in(kh_letters *letters, size_t index, const kh_style *style, const char *text,
                       size_t length, double *advance) {
    cairo_glyph_t glyph, *glyphs = &glyph;
    int count = 1;
    bool is_there = false;
    *advance = 0;
    cairo_scaled_font_t *font = scaled(letters, index, style); /* cached by cairo */
    if (cairo_scaled_font_text_to_glyphs(font, 0, 0, text, (int)length, &glyphs, &count, NULL, NULL,
                                         NULL) == CAIRO_STATUS_SUCCESS &&
        count > 0) {
        cairo_text_extents_t extents;
        cairo_scaled_font_glyph_extents(font, glyphs, count, &extents);
        *advance = extents.x_advance;
        is_there = glyphs[0].index != 0;
    }
    if (glyphs != &glyph) cairo_glyph_free(glyphs);
    cairo_scaled_font_destroy(font);
    return is_there;
}

/* The first face that has the character (0 when none has), and its advance there. */
static size_t face_of(kh_letters *letters, const kh_style *style, const char *text, size_t length,
                      double *advance) {
    if (advance_in(letters, 0, style, text, length, advance)) return 0;
    const double missing = *advance;
    for (size_t i = 1; i < KH_LETTER_FACES; i++)
        if (advance_in(letters, i, style, text, length, advance)) return i;
    *advance = missing;
    return 0;
}

kh_status kh_letters_init(kh_letters *letters, const char *family, kh_error *err) {
    memset(letters, 0, sizeof *letters);
    letters->family = family;
    letters->options = cairo_font_options_create();
    cairo_font_options_set_hint_metrics(letters->options, CAIRO_HINT_METRICS_OFF);
    cairo_font_options_set_hint_style(letters->options, CAIRO_HINT_STYLE_SLIGHT);
    cairo_font_options_set_antialias(letters->options, CAIRO_ANTIALIAS_GRAY);
    cairo_scaled_font_t *font = scaled(letters, 0, &kh_style_body);
    cairo_status_t status = cairo_scaled_font_status(font);
    cairo_scaled_font_destroy(font);
    double advance;
    if (!status && !(advance_in(letters, 0, &kh_style_body, "x", 1, &advance) && advance > 0))
        status = CAIRO_STATUS_FONT_TYPE_MISMATCH;
    if (!status) return KH_OK;
    kh_letters_clear(letters);
    return kh_fail(err, KH_E_UNSUPPORTED,
                   "no usable font for figures (%s); install one, for example the package "
                   "fonts-dejavu-core",
                   cairo_status_to_string(status));
}

void kh_letters_clear(kh_letters *letters) {
    for (size_t i = 0; i < KH_LETTER_FACES; i++)
        for (size_t b = 0; b < 2; b++)
            if (letters->faces[i][b]) cairo_font_face_destroy(letters->faces[i][b]);
    if (letters->options) cairo_font_options_destroy(letters->options);
    memset(letters, 0, sizeof *letters);
}

void kh_set_rgb(cairo_t *cr, uint32_t rgb, double alpha) {
    cairo_set_source_rgba(cr, ((rgb >> 16) & 255) / 255.0, ((rgb >> 8) & 255) / 255.0,
                          (rgb & 255) / 255.0, alpha);
}

/* ---- lines ----------------------------------------------------------------------------------- */

double kh_line_height(const kh_style *style) {
    return ceil(style->size * 1.3);
}

double kh_letters_width(kh_letters *letters, const kh_style *style, const char *text,
                        size_t length) {
    double width = 0;
    for (size_t at = 0; at < length && text[at];) {
        uint32_t cp;
        double advance;
        const size_t bytes = next_character(text + at, &cp);
        (void)face_of(letters, style, text + at, bytes, &advance);
        width += advance;
        at += bytes;
    }
    return width;
}

/* Draws text[0..length) in runs of one face each. */
static void draw_runs(kh_letters *letters, cairo_t *cr, const kh_style *style, double x, double y,
                      const char *text) {
    char run[LINE_ROOM];
    cairo_set_font_size(cr, style->size);
    cairo_set_font_options(cr, letters->options);
    while (*text) {
        size_t used = 0, run_face = 0;
        double width = 0;
        while (text[used]) {
            uint32_t cp;
            double advance;
            const size_t bytes = next_character(text + used, &cp);
            const size_t face = face_of(letters, style, text + used, bytes, &advance);
            if (used == 0) run_face = face;
            if (face != run_face || used + bytes >= sizeof run) break;
            memcpy(run + used, text + used, bytes);
            used += bytes;
            width += advance;
        }
        run[used] = '\0';
        cairo_set_font_face(cr, face_at(letters, run_face, style->is_bold));
        cairo_move_to(cr, x, y);
        cairo_show_text(cr, run);
        x += width;
        text += used;
    }
    cairo_new_path(cr);
}

void kh_letters_draw(kh_letters *letters, cairo_t *cr, const kh_style *style, double x, double y,
                     double align, const char *text) {
    if (align > 0) x -= align * kh_letters_width(letters, style, text, strlen(text));
    kh_set_rgb(cr, style->rgb, 1);
    draw_runs(letters, cr, style, x, y, text);
}

/* Wide scripts break between any two characters. */
static bool is_wide(uint32_t cp) {
    return (cp >= 0x2E80 && cp <= 0xA4CF) || (cp >= 0xAC00 && cp <= 0xD7A3) ||
           (cp >= 0xF900 && cp <= 0xFAFF) || (cp >= 0xFF00 && cp <= 0xFFEF) ||
           (cp >= 0x20000 && cp <= 0x3FFFD);
}

static bool breaks_after(uint32_t cp) {
    return cp == ' ' || cp == '-' || cp == '/' || cp == '_' || cp == ',' || cp == ';' ||
           is_wide(cp);
}

/* Takes one line from text: copies it without trailing spaces to line, returns the bytes consumed.
 * With is_last, text that goes on after this line ends in an ellipsis. */
static size_t take_line(kh_letters *letters, const kh_style *style, const char *text, double width,
                        bool is_last, char line[LINE_ROOM]) {
    double used_width = 0;
    double room = width;
    size_t at = 0, best = 0; /* best: end of the last whole word */
    if (is_last && kh_letters_lines(letters, style, text, width, 2) > 1)
        room -= kh_letters_width(letters, style, ellipsis, 3);
    while (text[at] && text[at] != '\n' && at + 8 < LINE_ROOM) {
        uint32_t cp;
        double advance;
        const size_t bytes = next_character(text + at, &cp);
        (void)face_of(letters, style, text + at, bytes, &advance);
        if (used_width + advance > room + 1e-6 && cp != ' ' && at > 0) break;
        used_width += advance;
        at += bytes;
        if (breaks_after(cp)) best = at;
    }
    size_t end = at;
    const bool is_cut = text[at] && text[at] != '\n';
    if (is_cut && best > 0 && !is_last) end = best;
    size_t shown = end;
    while (shown > 0 && text[shown - 1] == ' ')
        shown--;
    memcpy(line, text, shown);
    line[shown] = '\0';
    if (text[end] == '\n') end++;
    while (is_cut && text[end] == ' ')
        end++;
    if (is_last && text[end]) memcpy(line + shown, ellipsis, sizeof ellipsis);
    return end;
}

size_t kh_letters_lines(kh_letters *letters, const kh_style *style, const char *text, double width,
                        size_t max_lines) {
    char line[LINE_ROOM];
    size_t lines = 0;
    while (text && *text && (max_lines == 0 || lines < max_lines)) {
        text += take_line(letters, style, text, width, false, line);
        lines++;
    }
    return lines;
}

double kh_letters_paragraph(kh_letters *letters, cairo_t *cr, const kh_style *style, double x,
                            double y, double width, double align, size_t max_lines,
                            const char *text) {
    char line[LINE_ROOM];
    const double height = kh_line_height(style);
    size_t lines = 0;
    while (text && *text && (max_lines == 0 || lines < max_lines)) {
        text += take_line(letters, style, text, width, lines + 1 == max_lines, line);
        kh_letters_draw(letters, cr, style, x + align * width,
                        y + (double)lines * height + style->size, align, line);
        lines++;
    }
    return (double)lines * height;
}

void kh_letters_draw_fit(kh_letters *letters, cairo_t *cr, const kh_style *style, double x,
                         double y, double align, double width, const char *text) {
    char line[LINE_ROOM];
    (void)take_line(letters, style, text, width, true, line);
    kh_letters_draw(letters, cr, style, x, y, align, line);
}
