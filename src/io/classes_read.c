/* Label files: lines, "wnid names" lines, JSON maps and lists, config.json. */
#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "io/classes_build.h"

#include <string.h>

/* Maps and lists of labels are flat; a config.json around them is not deep either. */
static const kh_json_limits json_limits = {.max_depth = 16, .max_values = 1000000};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static void trim(const char **text, size_t *length) {
    while (*length && is_blank((*text)[*length - 1]))
        (*length)--;
    while (*length && is_blank(**text)) {
        (*text)++;
        (*length)--;
    }
}

/* ---- lines ----------------------------------------------------------------------------------- */

static kh_status put_line(kh_builder *b, size_t index, const char *line, size_t length,
                          kh_error *err) {
    if (length > 10 && kh_is_wnid(line, 9) && is_blank(line[9])) {
        const char *name = line + 10;
        size_t name_bytes = length - 10;
        trim(&name, &name_bytes);
        return kh_builder_put(b, index, line, 9, name, name_bytes, err);
    }
    return kh_builder_put(b, index, NULL, 0, line, length, err);
}

/* Empty lines may end the file and nothing else: elsewhere they would shift every later class. */
static kh_status read_lines(kh_builder *b, const char *bytes, size_t size, kh_error *err) {
    size_t index = 0, empty_at = 0;
    for (size_t number = 1; size; number++) {
        const char *end = memchr(bytes, '\n', size);
        const size_t whole = end ? (size_t)(end - bytes) : size;
        const char *line = bytes;
        size_t length = whole;
        trim(&line, &length);
        if (!length && !empty_at) empty_at = number;
        if (length && empty_at)
            return kh_fail(err, KH_E_FORMAT, "%s: line %zu is empty; expected one label per line",
                           b->what, empty_at);
        if (length) KH_TRY(put_line(b, index++, line, length, err));
        bytes += end ? whole + 1 : whole;
        size -= end ? whole + 1 : whole;
    }
    return KH_OK;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static kh_status put_string(kh_builder *b, size_t index, const json_t *name, kh_error *err) {
    if (!json_is_string(name))
        return kh_fail(err, KH_E_FORMAT, "%s: the label of class %zu is not a text", b->what,
                       index);
    return kh_builder_put(b, index, NULL, 0, json_string_value(name), json_string_length(name),
                          err);
}

/* "tench" or ["n01440764", "tench"] */
static kh_status put_value(kh_builder *b, size_t index, const json_t *value, kh_error *err) {
    if (!json_is_array(value)) return put_string(b, index, value, err);
    const json_t *wnid = json_array_get(value, 0), *name = json_array_get(value, 1);
    if (json_array_size(value) != 2 || !json_is_string(wnid) || !json_is_string(name) ||
        !kh_is_wnid(json_string_value(wnid), json_string_length(wnid)))
        return kh_fail(err, KH_E_FORMAT,
                       "%s: class %zu is not a pair such as [\"n01440764\", \"tench\"]", b->what,
                       index);
    return kh_builder_put(b, index, json_string_value(wnid), 9, json_string_value(name),
                          json_string_length(name), err);
}

static kh_status read_map(kh_builder *b, json_t *map, kh_error *err) {
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value) {
        size_t index;
        char shown[KH_SHOWN_BYTES];
        if (!kh_parse_size(key, &index) || (key[0] == '0' && key[1]))
            return kh_fail(err, KH_E_FORMAT, "%s: key '%s' is not a class index", b->what,
                           kh_shown(key, strlen(key), shown, sizeof shown));
        KH_TRY(put_value(b, index, value, err));
    }
    return KH_OK;
}

/* timm's config.json: label_names in index order, label_descriptions by label name. */
static kh_status read_timm(kh_builder *b, const json_t *names, const json_t *descriptions,
                           kh_error *err) {
    for (size_t i = 0; i < json_array_size(names); i++) {
        const json_t *label = json_array_get(names, i);
        const json_t *text =
            json_is_string(label) ? json_object_get(descriptions, json_string_value(label)) : NULL;
        if (text && json_is_string(text) &&
            kh_is_wnid(json_string_value(label), json_string_length(label)))
            KH_TRY(kh_builder_put(b, i, json_string_value(label), 9, json_string_value(text),
                                  json_string_length(text), err));
        else
            KH_TRY(put_string(b, i, label, err));
    }
    return KH_OK;
}

static kh_status read_object(kh_builder *b, json_t *root, kh_error *err) {
    json_t *map = json_object_get(root, "id2label");
    const json_t *names = json_object_get(root, "label_names");
    if (json_is_object(map)) return read_map(b, map, err);
    if (json_is_array(names))
        return read_timm(b, names, json_object_get(root, "label_descriptions"), err);
    return read_map(b, root, err);
}

static kh_status read_list(kh_builder *b, const json_t *list, kh_error *err) {
    for (size_t i = 0; i < json_array_size(list); i++)
        KH_TRY(put_value(b, i, json_array_get(list, i), err));
    return KH_OK;
}

static kh_status read_json(kh_builder *b, const char *bytes, size_t size, bool *sparse,
                           kh_error *err) {
    json_t *root;
    KH_TRY(kh_json_parse(bytes, size, json_limits, b->what, &root, err));
    *sparse = json_is_object(root) && !json_is_array(json_object_get(root, "label_names"));
    const kh_status status =
        json_is_object(root) ? read_object(b, root, err) : read_list(b, root, err);
    json_decref(root);
    return status;
}

/* ---- public ---------------------------------------------------------------------------------- */

kh_status kh_classes_parse(const char *bytes, size_t size, size_t count, const kh_limits *limits,
                           const char *what, kh_classes **out, kh_error *err) {
    *out = NULL;
    if (size > limits->max_label_bytes)
        return kh_fail(err, KH_E_LIMIT, "%s has %zu bytes, more than the limit of %zu", what, size,
                       limits->max_label_bytes);
    if (size >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) { /* byte order mark */
        bytes += 3;
        size -= 3;
    }
    const char *nul = size ? memchr(bytes, 0, size) : NULL;
    if (nul)
        return kh_fail(err, KH_E_FORMAT, "%s: NUL byte at offset %zu; expected a text file", what,
                       (size_t)(nul - bytes));
    if (!kh_utf8_valid(bytes, size))
        return kh_fail(err, KH_E_FORMAT, "%s is not valid UTF-8; expected a text file", what);
    size_t first = 0;
    while (first < size && (is_blank(bytes[first]) || bytes[first] == '\n'))
        first++;
    const bool json = first < size && (bytes[first] == '{' || bytes[first] == '[');
    bool sparse = false;
    kh_builder b = {.what = what};
    kh_status status =
        json ? read_json(&b, bytes, size, &sparse, err) : read_lines(&b, bytes, size, err);
    if (!status && !sparse && count && b.count && b.count != count)
        status = kh_fail(err, KH_E_SHAPE, "%s has %zu labels, the model has %zu classes", what,
                         b.count, count);
    if (!status && !b.count) status = kh_fail(err, KH_E_FORMAT, "%s holds no labels", what);
    if (!status) return kh_builder_finish(&b, count, out, err);
    kh_builder_clear(&b);
    return status;
}

kh_status kh_classes_read(const char *path, size_t count, const kh_limits *limits, kh_classes **out,
                          kh_error *err) {
    const kh_limits defaults = kh_limits_default();
    if (!limits) limits = &defaults;
    unsigned char *bytes;
    size_t size;
    char shown[KH_SHOWN_BYTES];
    *out = NULL;
    KH_TRY(kh_file_read(path, limits->max_label_bytes, &bytes, &size, err));
    const kh_status status =
        kh_classes_parse((const char *)bytes, size, count, limits,
                         kh_shown(path, strlen(path), shown, sizeof shown), out, err);
    kh_free(bytes);
    return status;
}
