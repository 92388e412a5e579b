/* Which class an image shows: by its path, by a label file. */
#include "io/source.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Letters of either case, '_' as a blank. */
static bool same_words(const char *a, size_t a_length, const char *b, size_t b_length) {
    if (a_length != b_length) return false;
    for (size_t i = 0; i < a_length; i++) {
        const int x = a[i] == '_' ? ' ' : tolower((unsigned char)a[i]);
        const int y = b[i] == '_' ? ' ' : tolower((unsigned char)b[i]);
        if (x != y) return false;
    }
    return true;
}

/* The whole label, one of its synonyms, or the wnid. A part of a name is enough for a person who
 * asks for a class, but a folder called "val" does not say that its pictures show a valley. */
static bool is_called(const kh_class *c, const char *name, size_t length) {
    if (c->wnid && same_words(c->wnid, strlen(c->wnid), name, length)) return true;
    if (same_words(c->name, strlen(c->name), name, length)) return true;
    for (const char *at = c->name; *at;) {
        at += strspn(at, " ");
        const size_t size = strcspn(at, ",");
        if (same_words(at, size, name, length)) return true;
        at += size + (at[size] == ',');
    }
    return false;
}

static bool find_class(const kh_classes *classes, const char *text, size_t length, size_t *index) {
    char name[160];
    if (length == 0 || length >= sizeof name) return false;
    memcpy(name, text, length);
    name[length] = '\0';
    if (strspn(name, "0123456789") == length) return false; /* a folder "12" is not class 12 */
    size_t found;
    if (kh_classes_find(classes, name, &found, NULL) != KH_OK) return false;
    const kh_class c = kh_classes_get(classes, found);
    if (!is_called(&c, name, length)) return false;
    *index = found;
    return true;
}

static bool of_path(const kh_classes *classes, const char *path, size_t *index) {
    const char *base = kh_path_base(path);
    if (base[0] == 'n' && strspn(base + 1, "0123456789") == 8 &&
        find_class(classes, base, 9, index))
        return true;
    if (base == path) return false;
    const char *end = base - 1;
    const char *start = end;
    while (start > path && start[-1] != '/')
        start--;
    return find_class(classes, start, (size_t)(end - start), index);
}

bool kh_classes_of_path(const kh_classes *classes, const char *path, size_t *index) {
    const char *member = kh_member_name(path);
    return (member != path && of_path(classes, member, index)) || of_path(classes, path, index);
}

bool kh_label_class(const kh_classes *classes, const char *text, size_t *index) {
    const size_t length = strlen(text);
    if (length && strspn(text, "0123456789") == length)
        return kh_parse_size(text, index) && *index < kh_classes_count(classes);
    return find_class(classes, text, length, index);
}

/* ---- label files --------------------------------------------------------------------------- */

typedef struct named {
    const char *name;
    size_t at;
} named;

static int compare_names(const void *left, const void *right) {
    const named *a = left, *b = right;
    const int order = strcmp(a->name, b->name);
    return order ? order : (a->at > b->at) - (a->at < b->at);
}

/* Its file name, without folder and archive. */
static const char *name_of(const kh_source *source, const kh_source_item *item) {
    const bool is_member = item->archive != SIZE_MAX;
    const size_t prefix = is_member ? strlen(source->archives[item->archive]) + 1 : 0;
    return kh_path_base(item->name + prefix);
}

/* The images a label line can mean: by file name without its folder. */
static named *sorted_names(const kh_source *source) {
    named *names = kh_calloc(source->count, sizeof *names);
    if (!names) return NULL;
    for (size_t i = 0; i < source->count; i++)
        names[i] = (named){name_of(source, &source->items[i]), i};
    qsort(names, source->count, sizeof *names, compare_names);
    return names;
}

static size_t first_of(const named *names, size_t count, const char *name) {
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (strcmp(names[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static char *trimmed(char *text) {
    while (isspace((unsigned char)*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        *--end = '\0';
    return text;
}

/* Cuts the line behind its image name; NULL when it names no image. */
static char *cut_behind_name(char *line) {
    for (char *at = line; *at; at++) {
        if (*at != ',' && *at != '\t' && *at != ' ') continue;
        const char separator = *at;
        *at = '\0';
        if (kh_is_image_name(line)) return trimmed(at + 1);
        *at = separator;
    }
    return NULL;
}

typedef struct label_reader {
    kh_source *source;
    named *names;
    size_t *lines;     /* [images] the line that labels it, 0: none yet */
    const char *shown; /* the file, fit for a terminal */
    size_t line, labelled, ordered;
    bool is_begun;              /* a line that is not empty was there */
    char first[KH_SHOWN_BYTES]; /* name in the file, fit for a terminal */
} label_reader;

static kh_status bad_label(const label_reader *r, const char *label, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_FORMAT, "label file, line %zu: '%s' is no class of this model",
                   r->line, kh_shown(label, strlen(label), shown, sizeof shown));
}

static kh_status two_labels(const label_reader *r, size_t at, const char *name, size_t truth,
                            kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_FORMAT,
                   "label file '%s': lines %zu and %zu name different classes, %zu and %zu, for "
                   "image '%s'; folders do not count",
                   r->shown, r->lines[at], r->line, r->source->items[at].truth, truth,
                   kh_shown(name, strlen(name), shown, sizeof shown));
}

static kh_status label_all(label_reader *r, const char *name, size_t truth, kh_error *err) {
    const kh_source *source = r->source;
    for (size_t i = first_of(r->names, source->count, name);
         i < source->count && strcmp(r->names[i].name, name) == 0; i++) {
        const size_t at = r->names[i].at;
        if (r->lines[at] && source->items[at].truth != truth)
            return two_labels(r, at, name, truth, err);
        if (r->lines[at]) continue;
        source->items[at].truth = truth;
        r->lines[at] = r->line;
        r->labelled++;
    }
    return KH_OK;
}

static bool is_image(const label_reader *r, const char *name) {
    const size_t at = first_of(r->names, r->source->count, name);
    return at < r->source->count && strcmp(r->names[at].name, name) == 0;
}

static kh_status take_line(label_reader *r, char *line, kh_error *err) {
    kh_source *source = r->source;
    char *label = cut_behind_name(line);
    const bool is_first = !r->is_begun;
    size_t truth;
    r->is_begun = true;
    if (!label) { /* one label a line, in the order of the images */
        if (is_first && !kh_label_class(source->classes, line, &truth)) return KH_OK;
        if (!kh_label_class(source->classes, line, &truth)) return bad_label(r, line, err);
        if (r->ordered < source->count) source->items[r->ordered].truth = truth;
        r->ordered++;
        return KH_OK;
    }
    if (!kh_label_class(source->classes, label, &truth)) return bad_label(r, label, err);
    const char *base = kh_path_base(line);
    const char *member = strrchr(base, ':'); /* "set.tar:a.png", as images of archives are called */
    if (!r->first[0]) (void)kh_shown(line, strlen(line), r->first, sizeof r->first);
    if (member && !is_image(r, base)) base = member + 1;
    return label_all(r, base, truth, err);
}

/* Of a file that names some images only: how many it leaves out, and one of them. */
static void say_left_out(const label_reader *r) {
    const kh_source *source = r->source;
    size_t left = 0, known = 0, one = 0;
    for (size_t i = 0; i < source->count; i++) {
        if (r->lines[i]) continue;
        if (left++ == 0) one = i;
        known += source->items[i].truth != KH_NO_CLASS;
    }
    if (left == 0 || r->ordered) return;
    const char *image = name_of(source, &source->items[one]);
    char text[KH_SHOWN_BYTES * 3], shown[KH_SHOWN_BYTES], rest[64] = "";
    if (known)
        (void)snprintf(rest, sizeof rest, "; %zu of them ha%s a class without it", known,
                       known == 1 ? "s" : "ve");
    (void)snprintf(text, sizeof text, "%zu of %zu image%s ha%s no line in '%s', e.g. '%s'%s", left,
                   source->count, KH_S(source->count), left == 1 ? "s" : "ve", r->shown,
                   kh_shown(image, strlen(image), shown, sizeof shown), rest);
    kh_source_warn(source, text);
}

static kh_status names_none(const label_reader *r, const char *file, kh_error *err) {
    const kh_source *source = r->source;
    const char *image = name_of(source, &source->items[0]);
    char shown[KH_SHOWN_BYTES];
    (void)kh_shown(image, strlen(image), shown, sizeof shown);
    if (!r->first[0])
        return kh_fail(err, KH_E_FORMAT,
                       "label file '%s' holds no labels; lines are 'name label', such as '%s 0'",
                       file, shown);
    return kh_fail(err, KH_E_FORMAT,
                   "label file '%s' names none of %zu image%s: its first name is '%s', the first "
                   "image is '%s'; file names must be the same, folders do not count",
                   file, source->count, KH_S(source->count), r->first, shown);
}

kh_status kh_source_read_labels(kh_source *source, const char *path, kh_error *err) {
    unsigned char *bytes = NULL;
    size_t count = 0;
    if (!source->classes)
        return kh_fail(err, KH_E_ARG, "a label file needs a model that has classes");
    KH_TRY(kh_file_read(path, source->limits.max_label_bytes, &bytes, &count, err));
    char shown[KH_SHOWN_BYTES];
    label_reader r = {.source = source,
                      .names = sorted_names(source),
                      .lines = kh_calloc(source->count, sizeof *r.lines),
                      .shown = kh_shown(path, strlen(path), shown, sizeof shown)};
    kh_status status = r.names && r.lines
                           ? KH_OK
                           : kh_fail(err, KH_E_MEMORY, "no memory to match labels with images");
    for (char *next = (char *)bytes; next && !status;) { /* empty lines count too */
        char *line = next, *end = strchr(line, '\n');
        next = end ? end + 1 : NULL;
        if (end) *end = '\0';
        line = trimmed(line);
        r.line++;
        if (*line) status = take_line(&r, line, err);
    }
    if (!status && r.ordered && (r.labelled || r.ordered != source->count))
        status = kh_fail(err, KH_E_FORMAT,
                         "label file '%s': %zu line%s of labels alone, for %zu image%s; either one "
                         "for every image in order, or lines 'name label'",
                         shown, r.ordered, KH_S(r.ordered), source->count, KH_S(source->count));
    if (!status && !r.ordered && !r.labelled) status = names_none(&r, shown, err);
    if (!status) say_left_out(&r);
    kh_free(r.lines);
    kh_free(r.names);
    kh_free(bytes);
    return status;
}
