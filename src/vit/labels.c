#include "vit/labels.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/status.h"
#include "base/text.h"
#include "io/classes.h"

#include <string.h>

typedef struct label_arrays {
    const char **wnids, **names;
} label_arrays;

static kh_status arrays_create(label_arrays *arrays, size_t count, kh_error *err) {
    arrays->wnids = kh_calloc(count, sizeof *arrays->wnids);
    arrays->names = kh_calloc(count, sizeof *arrays->names);
    if (!arrays->wnids || !arrays->names)
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu class names", count);
    return KH_OK;
}

static void arrays_clear(label_arrays *arrays) {
    kh_free((void *)arrays->wnids);
    kh_free((void *)arrays->names);
}

/* index -> text of an object with keys "0", "1", ...; missing ones stay NULL */
static kh_status read_map(const json_t *map, const char *what, size_t count, const char **out,
                          kh_error *err) {
    const char *key;
    const json_t *value;
    void *at = json_object_iter((json_t *)(uintptr_t)map);
    for (; at; at = json_object_iter_next((json_t *)(uintptr_t)map, at)) {
        key = json_object_iter_key(at);
        value = json_object_iter_value(at);
        size_t index;
        char shown[KH_SHOWN_BYTES];
        if (!kh_parse_size(key, &index) || index >= count)
            return kh_fail(err, KH_E_FORMAT, "%s: '%s' is not a class number below %zu", what,
                           kh_shown(key, strlen(key), shown, sizeof shown), count);
        if (!json_is_string(value))
            return kh_fail(err, KH_E_FORMAT, "%s: the name of class %zu is not a string", what,
                           index);
        out[index] = json_string_value(value);
    }
    return KH_OK;
}

kh_status kh_labels_timm(const json_t *names, const json_t *descriptions, size_t count,
                         kh_classes **out, kh_error *err) {
    *out = NULL;
    if (!names || count == 0) return KH_OK;
    if (!json_is_array(names) && !json_is_object(names))
        return kh_fail(err, KH_E_FORMAT,
                       "config.json: label_names is neither a list nor an object");
    if (descriptions && !json_is_object(descriptions))
        return kh_fail(err, KH_E_FORMAT, "config.json: label_descriptions is not an object");
    if (json_is_array(names) && json_array_size(names) != count)
        return kh_fail(err, KH_E_SHAPE, "config.json: label_names has %zu entries for %zu classes",
                       json_array_size(names), count);
    label_arrays arrays = {0};
    kh_status status;
    KH_GO(arrays_create(&arrays, count, err));
    if (json_is_array(names)) {
        for (size_t i = 0; i < count; i++) {
            arrays.names[i] = json_string_value(json_array_get(names, i));
            if (!arrays.names[i]) {
                status =
                    kh_fail(err, KH_E_FORMAT, "config.json: label_names[%zu] is not a string", i);
                goto done;
            }
        }
    } else {
        KH_GO(read_map(names, "config.json: label_names", count, arrays.names, err));
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = arrays.names[i];
        if (!name) continue;
        const char *text = json_string_value(json_object_get(descriptions, name));
        if (kh_is_wnid(name, strlen(name))) arrays.wnids[i] = name;
        if (text) arrays.names[i] = text;
    }
    KH_GO(kh_classes_create(count, arrays.wnids, arrays.names, out, err));
done:
    arrays_clear(&arrays);
    return status;
}

kh_status kh_labels_hf(const json_t *id2label, size_t count, kh_classes **out, kh_error *err) {
    *out = NULL;
    if (!id2label || count == 0) return KH_OK;
    label_arrays arrays = {0};
    kh_status status;
    KH_GO(arrays_create(&arrays, count, err));
    KH_GO(read_map(id2label, "config.json: id2label", count, arrays.names, err));
    bool is_trivial = true;
    for (size_t i = 0; i < count; i++)
        if (arrays.names[i] && !kh_starts_with(arrays.names[i], "LABEL_")) is_trivial = false;
    if (!is_trivial) KH_GO(kh_classes_create(count, NULL, arrays.names, out, err));
done:
    arrays_clear(&arrays);
    return status;
}
