/* Class lists: building them from arrays, from the built-in table, from collected labels. */
#include "io/classes.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "io/classes_build.h"

#include <string.h>

/* n01440764, and the demo world's d00000007 */
bool kh_is_wnid(const char *text, size_t length) {
    if (length != 9 || (text[0] != 'n' && text[0] != 'd')) return false;
    for (size_t i = 1; i < 9; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return true;
}

/* The table is sorted by wnid. */
const char *kh_imagenet_name(const char *wnid, size_t length) {
    if (!kh_is_wnid(wnid, length)) return NULL;
    size_t lo = 0, hi = 1000;
    while (lo < hi) {
        const size_t mid = (lo + hi) / 2;
        const int order = strncmp(wnid, kh_imagenet_names[mid].wnid, 9);
        if (order == 0) return kh_imagenet_names[mid].name;
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

/* ---- builder --------------------------------------------------------------------------------- */

void kh_builder_clear(kh_builder *builder) {
    kh_text_clear(&builder->pool);
    kh_free(builder->labels);
    kh_free(builder->filled);
    *builder = (kh_builder){.what = builder->what};
}

static kh_status grow(kh_builder *b, size_t count, kh_error *err) {
    if (count > KH_MAX_CLASSES)
        return kh_fail(err, KH_E_LIMIT, "%s: class index %zu; at most %d classes are read", b->what,
                       count - 1, KH_MAX_CLASSES);
    if (count > b->capacity) {
        const size_t capacity = 2 * count < KH_MAX_CLASSES ? 2 * count : KH_MAX_CLASSES;
        kh_label *labels = kh_realloc(b->labels, capacity, sizeof *labels);
        if (labels) b->labels = labels;
        bool *filled = kh_realloc(b->filled, capacity, sizeof *filled);
        if (filled) b->filled = filled;
        if (!labels || !filled)
            return kh_fail(err, KH_E_MEMORY, "%s: no memory for %zu labels", b->what, capacity);
        b->capacity = capacity;
    }
    for (; b->count < count; b->count++) {
        b->labels[b->count] = (kh_label){KH_NO_TEXT, KH_NO_TEXT};
        b->filled[b->count] = false;
    }
    return KH_OK;
}

/* Copies a piece into the pool, tabs as blanks; *at is its offset. */
static kh_status keep(kh_builder *b, size_t index, const char *text, size_t length, size_t *at,
                      kh_error *err) {
    if (length > KH_MAX_LABEL_BYTES)
        return kh_fail(err, KH_E_LIMIT, "%s: label %zu has %zu bytes; at most %d are read", b->what,
                       index, length, KH_MAX_LABEL_BYTES);
    for (size_t i = 0; i < length; i++) {
        const unsigned char c = (unsigned char)text[i];
        const unsigned char next = i + 1 < length ? (unsigned char)text[i + 1] : 0;
        const bool is_c1 = c == 0xC2 && next >= 0x80 && next < 0xA0; /* U+0080..U+009F in UTF-8 */
        if ((c < 0x20 && c != '\t') || c == 0x7F || is_c1)
            return kh_fail(err, KH_E_FORMAT, "%s: label %zu holds the control character 0x%02x",
                           b->what, index, is_c1 ? next : c);
    }
    *at = b->pool.length;
    for (size_t i = 0; i < length; i++)
        kh_text_add_bytes(&b->pool, text[i] == '\t' ? " " : text + i, 1);
    kh_text_add_bytes(&b->pool, "", 1);
    return b->pool.failed ? kh_fail(err, KH_E_MEMORY, "%s: no memory for labels", b->what) : KH_OK;
}

kh_status kh_builder_put(kh_builder *b, size_t index, const char *wnid, size_t wnid_bytes,
                         const char *name, size_t name_bytes, kh_error *err) {
    if (index >= KH_MAX_CLASSES) /* before index + 1 is formed */
        return kh_fail(err, KH_E_LIMIT, "%s: class index %zu; at most %d classes are read", b->what,
                       index, KH_MAX_CLASSES);
    if (index >= b->count) KH_TRY(grow(b, index + 1, err));
    if (b->filled[index])
        return kh_fail(err, KH_E_FORMAT, "%s: class %zu is given twice", b->what, index);
    if (name && !wnid && kh_is_wnid(name, name_bytes)) {
        wnid = name;
        wnid_bytes = name_bytes;
        name = NULL;
    }
    if (wnid && !name) {
        name = kh_imagenet_name(wnid, wnid_bytes);
        name_bytes = name ? strlen(name) : wnid_bytes;
        if (!name) name = wnid;
    }
    if (wnid) KH_TRY(keep(b, index, wnid, wnid_bytes, &b->labels[index].wnid, err));
    if (name) KH_TRY(keep(b, index, name, name_bytes, &b->labels[index].name, err));
    b->filled[index] = true;
    return KH_OK;
}

/* Gives every class without a name "class_<i>", then turns offsets into pointers. */
static kh_status finish(kh_builder *b, size_t count, kh_classes **out, kh_error *err) {
    if (count && b->count > count)
        return kh_fail(err, KH_E_SHAPE, "%s has labels for %zu classes, the model has %zu", b->what,
                       b->count, count);
    if (count > b->count) KH_TRY(grow(b, count, err));
    if (!b->count) return kh_fail(err, KH_E_FORMAT, "%s holds no labels", b->what);
    for (size_t i = 0; i < b->count; i++) {
        if (b->labels[i].name != KH_NO_TEXT) continue;
        b->labels[i].name = b->pool.length;
        kh_text_addf(&b->pool, "class_%zu", i);
        kh_text_add_bytes(&b->pool, "", 1);
    }
    kh_classes *classes = kh_calloc(1, sizeof *classes);
    kh_class *items = kh_calloc(b->count, sizeof *items);
    if (!classes || !items || b->pool.failed) {
        kh_free(classes);
        kh_free(items);
        return kh_fail(err, KH_E_MEMORY, "%s: no memory for %zu classes", b->what, b->count);
    }
    for (size_t i = 0; i < b->count; i++) {
        const kh_label at = b->labels[i];
        items[i].name = b->pool.data + at.name;
        items[i].wnid = at.wnid == KH_NO_TEXT ? NULL : b->pool.data + at.wnid;
    }
    *classes = (kh_classes){b->count, items, b->pool.data};
    b->pool = (kh_text){0}; /* handed over */
    *out = classes;
    return KH_OK;
}

kh_status kh_builder_finish(kh_builder *builder, size_t count, kh_classes **out, kh_error *err) {
    const kh_status status = finish(builder, count, out, err);
    kh_builder_clear(builder);
    return status;
}

/* ---- public ---------------------------------------------------------------------------------- */

kh_status kh_classes_imagenet1k(kh_classes **out, kh_error *err) {
    *out = kh_calloc(1, sizeof **out);
    kh_class *items = kh_calloc(1000, sizeof *items);
    if (!*out || !items) {
        kh_free(*out);
        kh_free(items);
        *out = NULL;
        return kh_fail(err, KH_E_MEMORY, "no memory for 1000 classes");
    }
    memcpy(items, kh_imagenet_names, 1000 * sizeof *items);
    **out = (kh_classes){1000, items, NULL};
    return KH_OK;
}

kh_status kh_classes_create(size_t count, const char *const *wnids, const char *const *names,
                            kh_classes **out, kh_error *err) {
    *out = NULL;
    if (!count) return kh_fail(err, KH_E_ARG, "a class list needs at least one class");
    kh_builder b = {.what = "class list"};
    for (size_t i = 0; i < count; i++) {
        const char *wnid = wnids ? wnids[i] : NULL, *name = names ? names[i] : NULL;
        const kh_status status = kh_builder_put(&b, i, wnid, wnid ? strlen(wnid) : 0, name,
                                                name ? strlen(name) : 0, err);
        if (!status) continue;
        kh_builder_clear(&b);
        return status;
    }
    return kh_builder_finish(&b, count, out, err);
}

void kh_classes_free(kh_classes *classes) {
    if (!classes) return;
    kh_free(classes->items);
    kh_free(classes->pool);
    kh_free(classes);
}

size_t kh_classes_count(const kh_classes *classes) {
    return classes->count;
}

kh_class kh_classes_get(const kh_classes *classes, size_t index) {
    return index < classes->count ? classes->items[index] : (kh_class){NULL, ""};
}
