/* figure/page.h: the inside of a kh_figure: a list of elements that know their size and draw
 * themselves. A new element is one struct of data, three functions and an add function. */
#ifndef KH_FIGURE_PAGE_H
#define KH_FIGURE_PAGE_H

#include <cairo.h>

#include "base/status.h"
#include "figure/lettering.h"
#include "keyhole/figure.h"

typedef struct kh_box {
    double x, y, width, height;
} kh_box;

typedef struct kh_element kh_element;
struct kh_element {
    /* Width the element would like (0: whatever the page has). Whole px. */
    double (*width)(kh_letters *letters, const void *data);
    /* Height at a given width. Whole px. */
    double (*height)(kh_letters *letters, const void *data, double width);
    void (*draw)(kh_letters *letters, cairo_t *cr, const void *data, kh_box box);
    const void *data;
    size_t columns; /* elements per row */
    kh_box box;     /* set by kh_page_layout */
    kh_element *next;
};

struct kh_figure {
    struct kh_kept *kept; /* everything copied, freed with the figure */
    const char *title, *subtitle, *footnote;
    double min_width, margin;
    size_t columns;
    kh_element *first, *last;
    kh_letters *letters; /* its fonts are made when first needed */
};

/* Memory that lives as long as the figure: count * size bytes, copied from `from` unless NULL (then
 * zeroed). NULL when out of memory. */
void *kh_page_keep(kh_figure *figure, const void *from, size_t count, size_t size);
/* A clean copy of a text; NULL stays NULL. false when out of memory. */
bool kh_page_keep_text(kh_figure *figure, const char *text, const char **out);
/* A list of texts (NULLs allowed), a NULL list stays NULL. */
bool kh_page_keep_texts(kh_figure *figure, const char *const *texts, size_t count,
                        const char *const **out);
/* A colour scale with its table (the sequential one for NULL) and texts. */
bool kh_page_keep_scale(kh_figure *figure, const kh_figure_scale *scale, kh_figure_scale *out);

kh_status kh_page_no_memory(kh_error *err);

/* Appends an element (the struct is copied). */
kh_status kh_page_add(kh_figure *figure, const kh_element *element, kh_error *err);

/* Places all elements; page size in whole px. */
void kh_page_layout(const kh_figure *figure, double *width, double *height);
/* Draws the page as laid out, at the origin of cr. */
void kh_page_draw(const kh_figure *figure, cairo_t *cr, double width, double height);

#endif
