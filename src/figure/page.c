#include "figure/page.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <math.h>
#include <string.h>

#define GAP_ROWS    18.0
#define GAP_COLUMNS 24.0
#define MIN_WIDTH   480.0
#define MARGIN      24.0

/* ---- memory ---------------------------------------------------------------------------------- */

typedef struct kh_kept {
    struct kh_kept *next;
    max_align_t bytes[];
} kh_kept;

void *kh_page_keep(kh_figure *figure, const void *from, size_t count, size_t size) {
    size_t bytes, total;
    if (!kh_mul(count, size, &bytes) || !kh_add(bytes, sizeof(kh_kept), &total)) return NULL;
    kh_kept *kept = kh_calloc(total, 1);
    if (!kept) return NULL;
    kept->next = figure->kept;
    figure->kept = kept;
    if (from && bytes) memcpy(kept->bytes, from, bytes);
    return kept->bytes;
}

bool kh_page_keep_text(kh_figure *figure, const char *text, const char **out) {
    *out = NULL;
    if (!text) return true;
    const size_t length = kh_letters_clean(text, NULL, 0);
    char *copy = kh_page_keep(figure, NULL, length + 1, 1);
    if (!copy) return false;
    (void)kh_letters_clean(text, copy, length + 1);
    *out = copy;
    return true;
}

bool kh_page_keep_texts(kh_figure *figure, const char *const *texts, size_t count,
                        const char *const **out) {
    *out = NULL;
    if (!texts) return true;
    const char **copy = kh_page_keep(figure, NULL, count, sizeof *copy);
    if (!copy) return false;
    for (size_t i = 0; i < count; i++)
        if (!kh_page_keep_text(figure, texts[i], &copy[i])) return false;
    *out = (const char *const *)copy;
    return true;
}

bool kh_page_keep_scale(kh_figure *figure, const kh_figure_scale *scale, kh_figure_scale *out) {
    uint8_t(*table)[3] = kh_page_keep(figure, scale->table, 256, 3);
    if (!table) return false;
    if (!scale->table) kh_figure_colour_table(KH_COLOURS_SEQUENTIAL, table);
    *out = *scale;
    out->table = (const uint8_t(*)[3])table;
    return kh_page_keep_text(figure, scale->label, &out->label) &&
           kh_page_keep_text(figure, scale->unit, &out->unit);
}

kh_status kh_page_no_memory(kh_error *err) {
    return kh_fail(err, KH_E_MEMORY, "no memory for a figure");
}

/* ---- life ------------------------------------------------------------------------------------ */

kh_status kh_figure_create(const kh_figure_options *options, kh_figure **out, kh_error *err) {
    const kh_figure_options none = {0};
    *out = NULL;
    if (!options) options = &none;
    if (!(options->min_width >= 0) || !(options->margin >= 0) || options->min_width > 30000 ||
        options->margin > 1000)
        return kh_fail(err, KH_E_ARG, "figure: min_width must be within 0..30000, margin 0..1000");
    kh_figure *figure = kh_calloc(1, sizeof *figure);
    if (!figure) return kh_page_no_memory(err);
    const char *family = NULL;
    kh_status status = KH_OK;
    figure->columns = 1;
    figure->min_width = options->min_width > 0 ? ceil(options->min_width) : MIN_WIDTH;
    figure->margin = options->margin > 0 ? ceil(options->margin) : MARGIN;
    if (!kh_page_keep_text(figure, options->font ? options->font : "sans-serif", &family) ||
        !kh_page_keep_text(figure, options->title, &figure->title) ||
        !kh_page_keep_text(figure, options->subtitle, &figure->subtitle) ||
        !kh_page_keep_text(figure, options->footnote, &figure->footnote))
        status = kh_page_no_memory(err);
    kh_letters *letters = status ? NULL : kh_page_keep(figure, NULL, 1, sizeof *letters);
    if (!status && !letters) status = kh_page_no_memory(err);
    if (!status) status = kh_letters_init(letters, family, err);
    if (!status) figure->letters = letters;
    if (status) {
        kh_figure_free(figure);
        return status;
    }
    *out = figure;
    return KH_OK;
}

void kh_figure_free(kh_figure *figure) {
    if (!figure) return;
    if (figure->letters) kh_letters_clear(figure->letters);
    for (kh_kept *kept = figure->kept; kept;) {
        kh_kept *next = kept->next;
        kh_free(kept);
        kept = next;
    }
    kh_free(figure);
}

void kh_figure_columns(kh_figure *figure, size_t columns) {
    figure->columns = columns ? columns : 1;
}

kh_status kh_page_add(kh_figure *figure, const kh_element *element, kh_error *err) {
    kh_element *copy = kh_page_keep(figure, element, 1, sizeof *element);
    if (!copy) return kh_page_no_memory(err);
    copy->columns = figure->columns;
    copy->next = NULL;
    if (figure->last)
        figure->last->next = copy;
    else
        figure->first = copy;
    figure->last = copy;
    return KH_OK;
}

/* ---- notes ----------------------------------------------------------------------------------- */

static double note_width(kh_letters *letters, const void *data) {
    (void)letters;
    (void)data;
    return 0;
}

static double note_height(kh_letters *letters, const void *data, double width) {
    return kh_line_height(&kh_style_body) *
           (double)kh_letters_lines(letters, &kh_style_body, data, width, 0);
}

static void note_draw(kh_letters *letters, cairo_t *cr, const void *data, kh_box box) {
    (void)kh_letters_paragraph(letters, cr, &kh_style_body, box.x, box.y, box.width, 0, 0, data);
}

kh_status kh_figure_add_note(kh_figure *figure, const char *text, kh_error *err) {
    const char *copy;
    if (!text) return kh_fail(err, KH_E_ARG, "figure: a note without text");
    if (!kh_page_keep_text(figure, text, &copy)) return kh_page_no_memory(err);
    const kh_element element = {
        .width = note_width, .height = note_height, .draw = note_draw, .data = copy};
    return kh_page_add(figure, &element, err);
}

/* ---- layout ---------------------------------------------------------------------------------- */

/* One past the last element of the row that begins with `first`. */
static const kh_element *row_end(const kh_element *first) {
    const kh_element *e = first;
    for (size_t i = 0; e && i < first->columns && e->columns == first->columns; i++)
        e = e->next;
    return e;
}

static double content_width(const kh_figure *figure, kh_letters *letters) {
    double widest = figure->min_width - 2 * figure->margin;
    for (const kh_element *e = figure->first; e;) {
        const kh_element *end = row_end(e);
        double row = -GAP_COLUMNS;
        for (; e != end; e = e->next)
            row += GAP_COLUMNS + e->width(letters, e->data);
        if (row > widest) widest = row;
    }
    return ceil(widest);
}

static double text_height(kh_letters *letters, const kh_style *style, const char *text,
                          double width, double gap_above) {
    const size_t lines = kh_letters_lines(letters, style, text, width, 0);
    return lines ? gap_above + (double)lines * kh_line_height(style) : 0;
}

void kh_page_layout(const kh_figure *figure, double *width, double *height) {
    kh_letters *letters = figure->letters;
    const double content = content_width(figure, letters);
    double y = figure->margin;
    y += text_height(letters, &kh_style_title, figure->title, content, 0);
    y += text_height(letters, &kh_style_subtitle, figure->subtitle, content, 4);
    if (y > figure->margin && figure->first) y += GAP_ROWS;
    for (kh_element *e = figure->first; e;) {
        const kh_element *end = row_end(e);
        double x = figure->margin, tallest = 0;
        for (; e != end; e = e->next) {
            const double wish = e->width(letters, e->data);
            e->box.x = x;
            e->box.y = y;
            e->box.width = wish > 0 ? wish : content;
            e->box.height = e->height(letters, e->data, e->box.width);
            x += e->box.width + GAP_COLUMNS;
            if (e->box.height > tallest) tallest = e->box.height;
        }
        y += tallest;
        if (e) y += GAP_ROWS;
    }
    y += text_height(letters, &kh_style_small, figure->footnote, content, GAP_ROWS + 1);
    *width = content + 2 * figure->margin;
    *height = ceil(y + figure->margin);
}

static void draw_footnote(const kh_figure *figure, cairo_t *cr, double content, double bottom) {
    kh_letters *letters = figure->letters;
    const double height = text_height(letters, &kh_style_small, figure->footnote, content, 0);
    const double top = bottom - figure->margin - height;
    if (!(height > 0)) return;
    kh_set_rgb(cr, 0xc4c4c4, 1);
    cairo_rectangle(cr, figure->margin, floor(top - 8), content, 1);
    cairo_fill(cr);
    (void)kh_letters_paragraph(letters, cr, &kh_style_small, figure->margin, top, content, 0, 0,
                               figure->footnote);
}

void kh_page_draw(const kh_figure *figure, cairo_t *cr, double width, double height) {
    kh_letters *letters = figure->letters;
    const double content = width - 2 * figure->margin;
    double y = figure->margin;
    kh_set_rgb(cr, 0xffffff, 1);
    cairo_rectangle(cr, 0, 0, width, height);
    cairo_fill(cr);
    y += kh_letters_paragraph(letters, cr, &kh_style_title, figure->margin, y, content, 0, 0,
                              figure->title);
    (void)kh_letters_paragraph(letters, cr, &kh_style_subtitle, figure->margin, y + 4, content, 0,
                               0, figure->subtitle);
    for (const kh_element *e = figure->first; e; e = e->next) {
        cairo_save(cr);
        e->draw(letters, cr, e->data, e->box);
        cairo_restore(cr);
    }
    draw_footnote(figure, cr, content, height);
}
