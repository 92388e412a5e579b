#include "figure/compose.h"

#include <stdarg.h>
#include <stdio.h>

kh_status kh_compose_begin(const kh_figure_head *head, const char *title, const char *subtitle,
                           kh_figure **out, kh_error *err) {
    const kh_figure_options options = {.title = head->title ? head->title : title,
                                       .subtitle = head->subtitle ? head->subtitle : subtitle,
                                       .footnote = head->footnote};
    return kh_figure_create(&options, out, err);
}

kh_status kh_compose_end(kh_figure *figure, kh_status status, kh_figure **out) {
    if (status) kh_figure_free(figure);
    *out = status ? NULL : figure;
    return status;
}

const char *kh_compose_text(kh_figure *figure, const char *format, ...) {
    char text[2048];
    const char *out;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return kh_page_keep_text(figure, text, &out) ? out : NULL;
}
