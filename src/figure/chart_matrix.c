/* A matrix of coloured cells with numbers in them, and its colour bar. */
#include "base/checked.h"
#include "figure/chart.h"
#include "figure/picture.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX   150.0 /* px a row or column name may take */
#define LABEL_ROOM 20.0

typedef struct matrix_chart {
    kh_figure_matrix m;
    double cell_width, cell_height;
    double left, bottom; /* room for names and labels */
    double title_height;
    bool is_turned; /* column names run upwards */
    size_t missing;
} matrix_chart;

static const char *name_of(const char *const *names, size_t index, char number[KH_NUMBER_ROOM]) {
    if (names) return names[index] ? names[index] : "";
    (void)snprintf(number, KH_NUMBER_ROOM, "%zu", index);
    return number;
}

static double widest_name(kh_letters *letters, const char *const *names, size_t count) {
    char number[KH_NUMBER_ROOM];
    double widest = 0;
    for (size_t i = 0; i < count; i++) {
        const char *name = name_of(names, i, number);
        widest = fmax(widest, kh_letters_width(letters, &kh_style_body, name, strlen(name)));
    }
    return ceil(fmin(widest, NAME_MAX));
}

static const char *cell_text(const kh_figure_matrix *m, size_t index, char out[KH_NUMBER_ROOM]) {
    return kh_number((double)m->values[index], m->decimals, out);
}

static double widest_number(kh_letters *letters, const kh_figure_matrix *m) {
    char text[KH_NUMBER_ROOM];
    double widest = 0;
    for (size_t i = 0; i < m->rows * m->columns; i++) {
        (void)cell_text(m, i, text);
        widest = fmax(widest, kh_letters_width(letters, &kh_style_small, text, strlen(text)));
    }
    return widest;
}

static void measure(kh_letters *letters, matrix_chart *data) {
    const kh_figure_matrix *m = &data->m;
    const double names = widest_name(letters, m->column_names, m->columns);
    const bool is_small = m->rows * m->columns <= 4096;
    const double number = m->show_numbers && is_small ? widest_number(letters, m) + 10 : 0;
    const double side = m->columns > 64 || m->rows > 64 ? 8 : 24;
    data->cell_width = m->cell_width >= 1 ? ceil(m->cell_width) : ceil(fmax(side, number));
    data->cell_height = m->cell_height >= 1 ? ceil(m->cell_height) : side;
    data->is_turned = m->column_names && names > data->cell_width - 2;
    data->left = widest_name(letters, m->row_names, m->rows) + 8 + (m->y_label ? LABEL_ROOM : 0);
    data->bottom = 6 + (data->is_turned ? names : kh_line_height(&kh_style_body)) +
                   (m->x_label ? LABEL_ROOM : 0);
    const double width = data->left + data->cell_width * (double)m->columns;
    const size_t lines =
        kh_letters_lines(letters, &kh_style_heading, m->title, fmax(width, 320), 2);
    data->title_height = lines ? (double)lines * kh_line_height(&kh_style_heading) + 8 : 0;
}

static double matrix_width(kh_letters *letters, const void *opaque) {
    const matrix_chart *data = opaque;
    (void)letters;
    const double width = data->left + data->cell_width * (double)data->m.columns + 1;
    return ceil(fmax(width, data->left + kh_colour_bar_width(&data->m.scale)));
}

static double matrix_height(kh_letters *letters, const void *opaque, double width) {
    const matrix_chart *data = opaque;
    (void)letters;
    (void)width;
    return ceil(data->title_height + data->cell_height * (double)data->m.rows + data->bottom + 10 +
                kh_colour_bar_height(&data->m.scale) +
                (data->missing ? kh_line_height(&kh_style_note) + 4 : 0));
}

static void draw_cells(kh_letters *letters, cairo_t *cr, const matrix_chart *data, double x0,
                       double y0) {
    const kh_figure_matrix *m = &data->m;
    const bool has_numbers = m->show_numbers && data->cell_height >= 13 &&
                             m->rows * m->columns <= 4096 &&
                             widest_number(letters, m) <= data->cell_width - 1;
    const double gap = data->cell_width >= 12 && data->cell_height >= 12 ? 1 : 0;
    for (size_t i = 0; i < m->rows * m->columns; i++) {
        const double v = (double)m->values[i];
        const kh_box cell = {x0 + (double)(i % m->columns) * data->cell_width,
                             y0 + (double)(i / m->columns) * data->cell_height,
                             data->cell_width - gap, data->cell_height - gap};
        uint32_t ink = 0x000000;
        if (isfinite(v)) {
            const double range = m->scale.high - m->scale.low;
            const uint32_t rgb =
                kh_table_colour(m->scale.table, range > 0 ? (v - m->scale.low) / range : 0);
            kh_fill_box(cr, rgb, cell.x, cell.y, cell.x + cell.width, cell.y + cell.height);
            ink = kh_ink_on(rgb);
        } else {
            kh_hatch(cr, cell);
        }
        if (!has_numbers || !isfinite(v)) continue;
        char text[KH_NUMBER_ROOM];
        const kh_style style = {kh_style_small.size, false, ink};
        kh_letters_draw(letters, cr, &style, cell.x + cell.width / 2, cell.y + cell.height / 2 + 4,
                        0.5, cell_text(m, i, text));
    }
}

static void draw_turned(kh_letters *letters, cairo_t *cr, const kh_style *style, double x, double y,
                        double align, double width, const char *text) {
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, -3.14159265358979 / 2);
    kh_letters_draw_fit(letters, cr, style, 0, 0, align, width, text);
    cairo_restore(cr);
}

static void draw_names(kh_letters *letters, cairo_t *cr, const matrix_chart *data, double x0,
                       double y0) {
    const kh_figure_matrix *m = &data->m;
    char number[KH_NUMBER_ROOM];
    const double bottom = y0 + data->cell_height * (double)m->rows + 4;
    const double line = kh_line_height(&kh_style_body);
    const double names = widest_name(letters, m->column_names, m->columns) + 6;
    const double need = data->is_turned ? line : names;
    const size_t down = (size_t)ceil(fmax(1, (line - 2) / data->cell_height));
    const size_t across = (size_t)ceil(fmax(1, need / data->cell_width - 0.25));
    for (size_t r = 0; r < m->rows; r += down)
        kh_letters_draw_fit(letters, cr, &kh_style_body, x0 - 8,
                            y0 + ((double)r + 0.5) * data->cell_height + 4, 1, NAME_MAX,
                            name_of(m->row_names, r, number));
    for (size_t c = 0; c < m->columns; c += across) {
        const double x = x0 + ((double)c + 0.5) * data->cell_width;
        const char *name = name_of(m->column_names, c, number);
        if (data->is_turned)
            draw_turned(letters, cr, &kh_style_body, x + 4, bottom, 1, NAME_MAX, name);
        else
            kh_letters_draw(letters, cr, &kh_style_body, x, bottom + kh_style_body.size, 0.5, name);
    }
}

static void matrix_draw(kh_letters *letters, cairo_t *cr, const void *opaque, kh_box box) {
    const matrix_chart *data = opaque;
    const kh_figure_matrix *m = &data->m;
    const double x0 = box.x + data->left, y0 = box.y + data->title_height;
    const double wide = data->cell_width * (double)m->columns,
                 high = data->cell_height * (double)m->rows;
    (void)kh_letters_paragraph(letters, cr, &kh_style_heading, box.x, box.y, box.width, 0, 2,
                               m->title);
    draw_cells(letters, cr, data, x0, y0);
    draw_names(letters, cr, data, x0, y0);
    if (m->y_label)
        draw_turned(letters, cr, &kh_style_body, box.x + kh_style_body.size, y0 + high / 2, 0.5,
                    fmax(high, 80), m->y_label);
    if (m->x_label)
        kh_letters_draw_fit(letters, cr, &kh_style_body, x0 + wide / 2,
                            y0 + high + data->bottom - 3, 0.5, fmax(wide, 160), m->x_label);
    const kh_box bar = {x0, y0 + high + data->bottom + 10, kh_colour_bar_width(&m->scale),
                        kh_colour_bar_height(&m->scale)};
    kh_colour_bar_draw(letters, cr, &m->scale, bar);
    if (data->missing == 0) return;
    char note[200], count[KH_NUMBER_ROOM];
    if (m->missing)
        (void)snprintf(note, sizeof note, "hatched: %s", m->missing);
    else
        (void)snprintf(note, sizeof note, "hatched: %s value%s not finite",
                       kh_number((double)data->missing, 0, count),
                       data->missing == 1 ? " is" : "s are");
    kh_letters_draw(letters, cr, &kh_style_note, x0, bar.y + bar.height + kh_style_note.size, 0,
                    note);
}

/* ---- copying --------------------------------------------------------------------------------- */

static void scan(matrix_chart *data) {
    kh_figure_matrix *m = &data->m;
    double low = (double)INFINITY, high = -(double)INFINITY;
    for (size_t i = 0; i < m->rows * m->columns; i++) {
        const double v = (double)m->values[i];
        if (!isfinite(v)) {
            data->missing++;
            continue;
        }
        low = fmin(low, v);
        high = fmax(high, v);
    }
    if (m->scale.low < m->scale.high || m->scale.low > m->scale.high) return;
    m->scale.low = low <= high ? low : 0;
    m->scale.high = low < high ? high : m->scale.low + 1;
}

static bool keep_matrix(kh_figure *figure, const kh_figure_matrix *from, matrix_chart *data) {
    kh_figure_matrix *m = &data->m;
    *m = *from;
    m->decimals = from->decimals < 0 ? 0 : from->decimals > 5 ? 5 : from->decimals;
    m->values = kh_page_keep(figure, from->values, from->rows * from->columns, sizeof(float));
    if (!m->values || !kh_page_keep_scale(figure, &from->scale, &m->scale) ||
        !kh_page_keep_text(figure, from->title, &m->title) ||
        !kh_page_keep_text(figure, from->x_label, &m->x_label) ||
        !kh_page_keep_text(figure, from->y_label, &m->y_label) ||
        !kh_page_keep_text(figure, from->missing, &m->missing) ||
        !kh_page_keep_texts(figure, from->row_names, from->rows, &m->row_names) ||
        !kh_page_keep_texts(figure, from->column_names, from->columns, &m->column_names))
        return false;
    scan(data);
    measure(figure->letters, data);
    return true;
}

kh_status kh_figure_add_matrix(kh_figure *figure, const kh_figure_matrix *matrix, kh_error *err) {
    size_t count;
    if (matrix->rows == 0 || matrix->columns == 0 || !matrix->values)
        return kh_fail(err, KH_E_ARG, "figure matrix: needs at least one row and one column");
    if (!kh_mul(matrix->rows, matrix->columns, &count) || count > 4000000 ||
        matrix->cell_width > 4000 || matrix->cell_height > 4000)
        return kh_fail(err, KH_E_LIMIT, "figure matrix: %zu x %zu cells are too many to draw",
                       matrix->rows, matrix->columns);
    matrix_chart *data = kh_page_keep(figure, NULL, 1, sizeof *data);
    if (!data || !keep_matrix(figure, matrix, data)) return kh_page_no_memory(err);
    const kh_element element = {
        .width = matrix_width, .height = matrix_height, .draw = matrix_draw, .data = data};
    return kh_page_add(figure, &element, err);
}
