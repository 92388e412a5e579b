#include "base/text.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void kh_text_clear(kh_text *text) {
    if (!text) return;
    kh_free(text->data);
    *text = (kh_text){0};
}

static bool reserve(kh_text *text, size_t more) {
    size_t need;
    if (text->failed || !kh_add(text->length, more, &need) || !kh_add(need, 1, &need)) {
        text->failed = true;
        return false;
    }
    if (need <= text->capacity) return true;
    size_t capacity = text->capacity ? text->capacity : 128;
    while (capacity < need && kh_mul(capacity, 2, &capacity))
        continue;
    if (capacity < need) capacity = need;
    char *grown = kh_realloc(text->data, capacity, 1);
    if (!grown) {
        text->failed = true;
        return false;
    }
    text->data = grown;
    text->capacity = capacity;
    return true;
}

void kh_text_add_bytes(kh_text *text, const char *bytes, size_t count) {
    if (!reserve(text, count)) return;
    if (count) memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = '\0';
}

void kh_text_add(kh_text *text, const char *piece) {
    kh_text_add_bytes(text, piece, strlen(piece));
}

void kh_text_addf(kh_text *text, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    const int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)need)) {
        (void)vsnprintf(text->data + text->length, (size_t)need + 1, format, again);
        text->length += (size_t)need;
    }
    va_end(again);
}

/* Length of the valid UTF-8 sequence at p (1..4), or 0. Unicode 15, table 3-7. */
static size_t utf8_sequence(const unsigned char *p, size_t left) {
    const unsigned char a = p[0];
    if (a < 0x80) return 1;
    if (a < 0xC2 || a > 0xF4) return 0;
    const size_t need = a < 0xE0 ? 2 : a < 0xF0 ? 3 : 4;
    if (left < need) return 0;
    for (size_t i = 1; i < need; i++)
        if ((p[i] & 0xC0) != 0x80) return 0;
    if (a == 0xE0 && p[1] < 0xA0) return 0; /* overlong */
    if (a == 0xED && p[1] > 0x9F) return 0; /* surrogate */
    if (a == 0xF0 && p[1] < 0x90) return 0; /* overlong */
    if (a == 0xF4 && p[1] > 0x8F) return 0; /* above U+10FFFF */
    return need;
}

bool kh_utf8_valid(const char *bytes, size_t length) {
    const unsigned char *p = (const unsigned char *)bytes;
    for (size_t i = 0; i < length;) {
        const size_t step = utf8_sequence(p + i, length - i);
        if (step == 0) return false;
        i += step;
    }
    return true;
}

/* C1 controls, and the characters that turn the direction of the text around them: U+061C, U+200E,
 * U+200F, U+202A to U+202E, U+2066 to U+2069. */
static bool is_hidden_control(const unsigned char *p, size_t size) {
    if (size == 2) return (p[0] == 0xC2 && p[1] < 0xA0) || (p[0] == 0xD8 && p[1] == 0x9C);
    if (size != 3 || p[0] != 0xE2) return false;
    if (p[1] == 0x80) return p[2] == 0x8E || p[2] == 0x8F || (p[2] >= 0xAA && p[2] <= 0xAE);
    return p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9;
}

const char *kh_shown(const char *name, size_t length, char *out, size_t out_bytes) {
    const unsigned char *p = (const unsigned char *)name;
    size_t at = 0;
    size_t i = 0;
    while (i < length) {
        char piece[8];
        size_t size = utf8_sequence(p + i, length - i);
        if (size == 0 || is_hidden_control(p + i, size) || p[i] < 0x20 || p[i] == 0x7F ||
            p[i] == '\'' || p[i] == '\\') {
            (void)snprintf(piece, sizeof piece, "\\x%02x", (unsigned)p[i]);
            size = 4;
            i += 1;
        } else {
            memcpy(piece, p + i, size);
            i += size;
        }
        if (at + size + 4 > out_bytes) { /* keep room for "..." */
            memcpy(out + at, "...", 3);
            at += 3;
            break;
        }
        memcpy(out + at, piece, size);
        at += size;
    }
    out[at] = '\0';
    return out;
}

bool kh_parse_u64(const char *text, uint64_t *out) {
    if (!text || !*text) return false;
    uint64_t value = 0;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9') return false;
        if (!kh_mul_u64(value, 10, &value) || !kh_add_u64(value, (uint64_t)(*p - '0'), &value))
            return false;
    }
    *out = value;
    return true;
}

bool kh_parse_size(const char *text, size_t *out) {
    uint64_t value;
    if (!kh_parse_u64(text, &value) || value > SIZE_MAX) return false;
    *out = (size_t)value;
    return true;
}

bool kh_parse_double(const char *text, double *out) {
    if (!text || !*text || strchr(" \t\n\r\v\f", *text)) return false;
    char *end = NULL;
    errno = 0;
    const double value = strtod(text, &end);
    if (*end || !isfinite(value)) return false;
    *out = value;
    return true;
}

bool kh_starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool kh_ends_with(const char *text, const char *suffix) {
    const size_t have = strlen(text), want = strlen(suffix);
    return have >= want && strcmp(text + have - want, suffix) == 0;
}

size_t kh_edit_distance(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t row[KH_EDIT_COMPARED + 1];
    if (a_length > KH_EDIT_COMPARED) a_length = KH_EDIT_COMPARED;
    if (b_length > KH_EDIT_COMPARED) b_length = KH_EDIT_COMPARED;
    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            const size_t shifted = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = replaced < shifted ? replaced : shifted;
        }
    }
    return row[b_length];
}
