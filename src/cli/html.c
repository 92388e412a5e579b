/* Pieces of HTML: escaped text, figures with their pictures inside. */
#include "cli/reproduce.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void kh_html_add(kh_text *html, const char *text) {
    for (const char *at = text; *at;) {
        const size_t plain = strcspn(at, "&<>\"");
        kh_text_add_bytes(html, at, plain);
        at += plain;
        if (*at == '&') kh_text_add(html, "&amp;");
        if (*at == '<') kh_text_add(html, "&lt;");
        if (*at == '>') kh_text_add(html, "&gt;");
        if (*at == '"') kh_text_add(html, "&quot;");
        if (*at) at++;
    }
}

void kh_html_addf(kh_text *html, const char *format, ...) {
    char text[2048];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    kh_html_add(html, text);
}

static void add_base64(kh_text *html, const uint8_t *bytes, size_t count) {
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char line[1024];
    size_t used = 0;
    for (size_t i = 0; i < count; i += 3) {
        const uint32_t one = bytes[i], two = i + 1 < count ? bytes[i + 1] : 0,
                       three = i + 2 < count ? bytes[i + 2] : 0;
        const uint32_t all = one << 16 | two << 8 | three;
        line[used++] = letters[all >> 18];
        line[used++] = letters[all >> 12 & 63];
        line[used++] = i + 1 < count ? letters[all >> 6 & 63] : '=';
        line[used++] = i + 2 < count ? letters[all & 63] : '=';
        if (used + 4 > sizeof line || i + 3 >= count) {
            kh_text_add_bytes(html, line, used);
            used = 0;
        }
    }
}

void kh_html_figure(kh_text *html, const char *id, const uint8_t *bytes, size_t count, size_t width,
                    const char *alternative, const char *caption) {
    kh_text_addf(html, "<figure id=\"%s\" class=\"wide\" tabindex=\"0\"><img alt=\"", id);
    kh_html_add(html, alternative);
    kh_text_addf(html, "\" width=\"%zu\" src=\"data:image/png;base64,", width);
    add_base64(html, bytes, count);
    kh_text_add(html, "\"/><figcaption>");
    kh_html_add(html, caption);
    kh_text_add(html, "</figcaption></figure>\n");
}

void kh_claim_number_text(const kh_claim_number *n, char *out, size_t out_bytes) {
    const bool is_percent = strcmp(n->unit, "%") == 0;
    const double scale = is_percent ? 100 : 1, v = n->band.mean * scale;
    const int digits = is_percent || fabs(v) >= 10 ? 1 : 3;
    char value[32], lo[32], hi[32];
    if (isnan(v)) {
        (void)snprintf(out, out_bytes, "not measured");
        return;
    }
    const bool is_whole = !is_percent && floor(v) == v && isnan(n->band.lo);
    (void)snprintf(value, sizeof value, "%.*f", is_whole ? 0 : digits, v);
    (void)snprintf(lo, sizeof lo, "%.*f", digits, n->band.lo * scale);
    (void)snprintf(hi, sizeof hi, "%.*f", digits, n->band.hi * scale);
    if (isnan(n->band.lo))
        (void)snprintf(out, out_bytes, "%s%s%s", value, *n->unit ? " " : "", n->unit);
    else
        (void)snprintf(out, out_bytes, "%s%s%s [%s, %s]", value, *n->unit ? " " : "", n->unit, lo,
                       hi);
}
