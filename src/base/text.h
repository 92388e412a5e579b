/* base/text.h: strings: a growing buffer, escaping of foreign names, strict number parsing. */
#ifndef KH_BASE_TEXT_H
#define KH_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A growing NUL-terminated string. Start with {0}; end with kh_text_clear. After an allocation
 * failure `failed` is true, further appends do nothing, and data may be NULL. */
typedef struct kh_text {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
} kh_text;

void kh_text_clear(kh_text *text);
void kh_text_add(kh_text *text, const char *piece);
void kh_text_add_bytes(kh_text *text, const char *bytes, size_t count);
void kh_text_addf(kh_text *text, const char *format, ...) KH_PRINTF(2, 3);

/* The usual size for kh_shown. */
#define KH_SHOWN_BYTES 200

/* Copies a name from a stranger so that a terminal or page can show it: control characters (also
 * those that turn the direction of text), quotes, backslashes and invalid UTF-8 become \xNN; what
 * does not fit ends in "...". Returns out. */
const char *kh_shown(const char *name, size_t length, char *out, size_t out_bytes);

/* Valid UTF-8 without overlong forms, surrogates or code points above U+10FFFF. */
bool kh_utf8_valid(const char *bytes, size_t length);

/* Whole-string parsers: no sign where none is meant, no leftovers, no white space. */
bool kh_parse_size(const char *text, size_t *out);
bool kh_parse_u64(const char *text, uint64_t *out);
bool kh_parse_double(const char *text, double *out); /* finite */

/* Levenshtein distance of a and b, of which the first KH_EDIT_COMPARED bytes count. */
enum { KH_EDIT_COMPARED = 64 };
size_t kh_edit_distance(const char *a, size_t a_length, const char *b, size_t b_length);

/* "1 page", "2 pages": printf("%zu page%s", n, KH_S(n)) */
#define KH_S(count) ((count) == 1 ? "" : "s")
/* "1 class", "2 classes" */
#define KH_ES(count) ((count) == 1 ? "" : "es")

bool kh_starts_with(const char *text, const char *prefix);
bool kh_ends_with(const char *text, const char *suffix);

#endif
