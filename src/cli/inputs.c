#define _POSIX_C_SOURCE 200809L
#include "cli/inputs.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/text.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_FOLDER_DEPTH = 16 };

static kh_status add_path(kh_inputs *inputs, const char *path, kh_error *err) {
    if (inputs->count == inputs->capacity) {
        const size_t capacity = inputs->capacity ? inputs->capacity * 2 : 64;
        char **grown = kh_realloc(inputs->paths, capacity, sizeof *grown);
        if (!grown) return kh_fail(err, KH_E_MEMORY, "no memory for %zu paths", capacity);
        inputs->paths = grown;
        inputs->capacity = capacity;
    }
    char *copy = kh_strdup(path);
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    inputs->paths[inputs->count++] = copy;
    return KH_OK;
}

static bool is_image_name(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp"};
    const size_t length = strlen(name);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const size_t size = strlen(endings[i]);
        if (length > size && strcasecmp(name + length - size, endings[i]) == 0) return true;
    }
    return false;
}

static kh_status add_folder(kh_inputs *inputs, const char *path, int depth, kh_error *err) {
    struct dirent **entries = NULL;
    const int count = scandir(path, &entries, NULL, alphasort);
    if (count < 0) return kh_fail(err, KH_E_IO, "cannot read folder '%s'", path);
    kh_status status = KH_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (!status && name[0] != '.') {
            char *inner = kh_path_join(path, name);
            if (!inner)
                status = kh_fail(err, KH_E_MEMORY, "no memory for a path");
            else if (kh_is_directory(inner))
                status =
                    depth < MAX_FOLDER_DEPTH ? add_folder(inputs, inner, depth + 1, err) : KH_OK;
            else if (is_image_name(name))
                status = add_path(inputs, inner, err);
            kh_free(inner);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

static kh_status add_list(kh_inputs *inputs, const char *path, kh_error *err) {
    unsigned char *bytes = NULL;
    size_t count = 0;
    KH_TRY(kh_file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, (uint64_t)64 << 20, &bytes,
                        &count, err));
    kh_status status = KH_OK;
    char *rest = NULL;
    for (char *line = strtok_r((char *)bytes, "\n", &rest); line && !status;
         line = strtok_r(NULL, "\n", &rest)) {
        const size_t length = strlen(line);
        if (length && line[length - 1] == '\r') line[length - 1] = '\0';
        if (*line) status = add_path(inputs, line, err);
    }
    kh_free(bytes);
    return status;
}

static kh_status add_operand(kh_inputs *inputs, const char *operand, kh_error *err) {
    if (strcmp(operand, "-") == 0) return add_list(inputs, operand, err);
    if (operand[0] == '@') return add_list(inputs, operand + 1, err);
    if (!kh_is_directory(operand)) return add_path(inputs, operand, err);
    const size_t before = inputs->count;
    KH_TRY(add_folder(inputs, operand, 0, err));
    if (inputs->count == before)
        return kh_fail(err, KH_E_NOT_FOUND, "folder '%s' has no .jpg, .jpeg, .png or .webp files",
                       operand);
    return KH_OK;
}

kh_status kh_inputs_collect(char *const *operands, size_t count, kh_inputs *out, kh_error *err) {
    *out = (kh_inputs){0};
    kh_status status = KH_OK;
    for (size_t i = 0; i < count && !status; i++)
        status = add_operand(out, operands[i], err);
    if (!status && out->count == 0) status = kh_fail(err, KH_E_NOT_FOUND, "no images given");
    if (status) kh_inputs_clear(out);
    return status;
}

void kh_inputs_clear(kh_inputs *inputs) {
    for (size_t i = 0; i < inputs->count; i++)
        kh_free(inputs->paths[i]);
    kh_free(inputs->paths);
    *inputs = (kh_inputs){0};
}

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

bool kh_input_truth(const kh_classes *classes, const char *path, size_t *index) {
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
