/* The page as bytes: PNG, SVG or PDF from one drawing, and the same bytes every time. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "figure/page.h"
#include "figure/svg_ids.h"

#include <cairo-pdf.h>
#include <cairo-svg.h>
#include <math.h>
#include <string.h>

#define MAX_SIDE   32767.0     /* what Cairo can address */
#define MAX_PIXELS 178956970.0 /* what Pillow opens without complaint */

static cairo_status_t collect(void *user, const unsigned char *bytes, unsigned count) {
    kh_text *out = user;
    kh_text_add_bytes(out, (const char *)bytes, count);
    return out->failed ? CAIRO_STATUS_NO_MEMORY : CAIRO_STATUS_SUCCESS;
}

static kh_status check_size(double width, double height, double scale, kh_error *err) {
    if (!(scale > 0 && scale <= 16))
        return kh_fail(err, KH_E_ARG, "figure: scale %g is outside (0, 16]", scale);
    const double w = ceil(width * scale), h = ceil(height * scale);
    if (w <= MAX_SIDE && h <= MAX_SIDE && w * h <= MAX_PIXELS) return KH_OK;
    const char *help = w > h ? "use fewer columns or smaller cells"
                             : "use fewer rows, smaller cells, or several figures";
    return kh_fail(err, KH_E_LIMIT,
                   "figure would be %.0f x %.0f px; a side may have %.0f and all %.0f px: %s%s", w,
                   h, MAX_SIDE, MAX_PIXELS, help, scale > 1 ? ", or a smaller scale" : "");
}

static kh_status cairo_failed(cairo_status_t status, kh_error *err) {
    if (status == CAIRO_STATUS_NO_MEMORY) return kh_page_no_memory(err);
    const bool is_size = status == CAIRO_STATUS_INVALID_SIZE;
    return kh_fail(err, is_size ? KH_E_LIMIT : KH_E_UNSUPPORTED, "figure: cairo says '%s'",
                   cairo_status_to_string(status));
}

static cairo_surface_t *make_surface(kh_figure_format format, double width, double height,
                                     double scale, kh_text *bytes) {
    cairo_surface_t *surface;
    switch (format) {
    case KH_FIGURE_SVG:
        surface =
            cairo_svg_surface_create_for_stream(collect, bytes, width * scale, height * scale);
        cairo_svg_surface_set_document_unit(surface, CAIRO_SVG_UNIT_PX);
        return surface;
    case KH_FIGURE_PDF: /* 1 px = 3/4 pt; a fixed date, because equal input gives equal bytes */
        surface = cairo_pdf_surface_create_for_stream(collect, bytes, width * scale * 0.75,
                                                      height * scale * 0.75);
        cairo_pdf_surface_set_metadata(surface, CAIRO_PDF_METADATA_CREATE_DATE,
                                       "1970-01-01T00:00:00Z");
        return surface;
    case KH_FIGURE_PNG:
        break;
    }
    return cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)ceil(width * scale),
                                      (int)ceil(height * scale));
}

static cairo_status_t paint(const kh_figure *figure, cairo_surface_t *surface,
                            kh_figure_format format, double width, double height, double scale,
                            kh_text *bytes) {
    cairo_t *cr = cairo_create(surface);
    const double factor = format == KH_FIGURE_PDF ? scale * 0.75 : scale;
    cairo_scale(cr, factor, factor);
    kh_page_draw(figure, cr, width, height);
    cairo_status_t status = cairo_status(cr);
    cairo_destroy(cr);
    if (format == KH_FIGURE_PNG && !status)
        status = cairo_surface_write_to_png_stream(surface, collect, bytes);
    cairo_surface_finish(surface); /* SVG and PDF write here */
    return status ? status : cairo_surface_status(surface);
}

kh_status kh_figure_render(const kh_figure *figure, kh_figure_format format, double scale,
                           uint8_t **bytes, size_t *count, kh_error *err) {
    double width, height;
    kh_text out = {0};
    *bytes = NULL;
    *count = 0;
    if (scale >= 0 && scale <= 0) scale = 1;
    kh_page_layout(figure, &width, &height);
    KH_TRY(check_size(width, height, scale, err));
    cairo_surface_t *surface = make_surface(format, width, height, scale, &out);
    cairo_status_t failed = cairo_surface_status(surface);
    if (!failed) failed = paint(figure, surface, format, width, height, scale, &out);
    cairo_surface_destroy(surface);
    kh_status status = out.failed ? kh_page_no_memory(err)
                       : failed   ? cairo_failed(failed, err)
                                  : KH_OK;
    if (!status && format == KH_FIGURE_SVG && !kh_svg_number_ids(&out))
        status = kh_page_no_memory(err);
    if (status) {
        kh_text_clear(&out);
        return status;
    }
    *bytes = (uint8_t *)out.data;
    *count = out.length;
    return KH_OK;
}

static bool ends_with_any_case(const char *path, const char *ending) {
    const size_t length = strlen(path), tail = strlen(ending);
    if (length < tail) return false;
    for (size_t i = 0; i < tail; i++) {
        const char c = path[length - tail + i];
        if ((c >= 'A' && c <= 'Z' ? (char)(c + 32) : c) != ending[i]) return false;
    }
    return true;
}

kh_status kh_figure_write(const kh_figure *figure, const char *path, double scale, kh_error *err) {
    kh_figure_format format = KH_FIGURE_PNG;
    char shown[KH_SHOWN_BYTES];
    if (ends_with_any_case(path, ".svg"))
        format = KH_FIGURE_SVG;
    else if (ends_with_any_case(path, ".pdf"))
        format = KH_FIGURE_PDF;
    else if (!ends_with_any_case(path, ".png") && !kh_starts_with(path, "/dev/"))
        return kh_fail(err, KH_E_ARG, "figure '%s': the name must end in .png, .svg or .pdf",
                       kh_shown(path, strlen(path), shown, sizeof shown));
    uint8_t *bytes;
    size_t count;
    KH_TRY(kh_figure_render(figure, format, scale, &bytes, &count, err));
    const kh_status status = kh_file_write(path, bytes, count, err);
    kh_free(bytes);
    return status;
}

kh_status kh_figure_size(const kh_figure *figure, size_t *width, size_t *height, kh_error *err) {
    double w, h;
    kh_page_layout(figure, &w, &h);
    if (!(w < 1e9 && h < 1e9)) return kh_fail(err, KH_E_LIMIT, "figure is %g x %g px", w, h);
    *width = (size_t)w;
    *height = (size_t)h;
    return KH_OK;
}
