/* Image sets in archives, on libarchive: tar in all its dialects, compressed or not, and zip. */
#include "io/source.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 256 << 10, MAX_LABEL_MEMBER = 64 };

static kh_status refuse(struct archive *archive, const char *path, kh_status code, kh_error *err) {
    const char *why = archive ? archive_error_string(archive) : NULL;
    char shown[KH_SHOWN_BYTES], reason[KH_SHOWN_BYTES];
    if (!why) why = "it ended early or changed while it was read";
    return kh_fail(err, code, "archive '%s': %s", kh_shown(path, strlen(path), shown, sizeof shown),
                   kh_shown(why, strlen(why), reason, sizeof reason));
}

static kh_status open_archive(const char *path, struct archive **out, kh_error *err) {
    struct archive *archive = archive_read_new();
    *out = NULL;
    if (!archive) return kh_fail(err, KH_E_MEMORY, "no memory to read an archive");
    (void)archive_read_support_filter_all(archive);
    (void)archive_read_support_format_tar(archive);
    (void)archive_read_support_format_zip(archive);
    if (archive_read_open_filename(archive, path, BLOCK_BYTES) != ARCHIVE_OK) {
        const kh_status code = kh_file_exists(path) ? KH_E_FORMAT : KH_E_NOT_FOUND;
        const kh_status status = refuse(archive, path, code, err);
        (void)archive_read_free(archive);
        return status;
    }
    *out = archive;
    return KH_OK;
}

/* The next regular file; *name NULL behind the last. */
static kh_status next_file(struct archive *archive, const char *path, const char **name,
                           struct archive_entry **entry, kh_error *err) {
    *name = NULL;
    for (;;) {
        const int got = archive_read_next_header(archive, entry);
        if (got == ARCHIVE_EOF) return KH_OK;
        if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
            return refuse(archive, path, KH_E_FORMAT, err);
        const char *is_called = archive_entry_pathname(*entry);
        if (!is_called || archive_entry_filetype(*entry) != AE_IFREG) continue;
        if (kh_path_base(is_called)[0] == '.') continue;
        *name = is_called;
        return KH_OK;
    }
}

/* ---- listing ------------------------------------------------------------------------------- */

/* webdataset: what stands before the first point of the file name belongs together. */
static size_t key_length(const char *name) {
    const char *base = kh_path_base(name);
    return (size_t)(base - name) + strcspn(base, ".");
}

/* A member "key.cls": the class of every image of that key, wherever it stands in the archive. */
typedef struct class_member {
    char *key;
    size_t truth;
} class_member;

typedef struct listing {
    kh_source *source;
    const char *path;
    size_t prefix;         /* of an item's name: path and ':' */
    size_t first, members; /* first item of this archive, images so far */
    class_member *classes;
    size_t class_count, class_capacity, key_bytes;
} listing;

static void clear_classes(listing *l) {
    for (size_t i = 0; i < l->class_count; i++)
        kh_free(l->classes[i].key);
    kh_free(l->classes);
}

static kh_status add_class(listing *l, const char *name, size_t truth, kh_error *err) {
    const size_t length = key_length(name), limit = l->source->limits.max_label_bytes;
    char shown[KH_SHOWN_BYTES];
    if (limit < length + 1 || l->key_bytes > limit - length - 1)
        return kh_fail(err, KH_E_LIMIT,
                       "archive '%s': the names of its .cls members take more than %zu bytes; make "
                       "several archives of it",
                       kh_shown(l->path, strlen(l->path), shown, sizeof shown), limit);
    if (l->class_count == l->class_capacity) {
        const size_t capacity = l->class_capacity ? 2 * l->class_capacity : 64;
        class_member *grown = kh_realloc(l->classes, capacity, sizeof *grown);
        if (!grown) return kh_fail(err, KH_E_MEMORY, "no memory for %zu labels", capacity);
        l->classes = grown;
        l->class_capacity = capacity;
    }
    char *key = kh_realloc(NULL, length + 1, 1);
    if (!key) return kh_fail(err, KH_E_MEMORY, "no memory for a label");
    memcpy(key, name, length);
    key[length] = '\0';
    l->classes[l->class_count++] = (class_member){key, truth};
    l->key_bytes += length + 1;
    return KH_OK;
}

static kh_status read_class(listing *l, struct archive *archive, const char *name, kh_error *err) {
    char text[MAX_LABEL_MEMBER + 1];
    size_t truth;
    if (!l->source->classes) return KH_OK;
    const la_ssize_t got = archive_read_data(archive, text, MAX_LABEL_MEMBER);
    if (got < 0) return refuse(archive, l->path, KH_E_FORMAT, err);
    text[got] = '\0';
    text[strcspn(text, "\r\n")] = '\0';
    if (kh_label_class(l->source->classes, text, &truth)) return add_class(l, name, truth, err);
    char shown[KH_SHOWN_BYTES], member[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_FORMAT, "archive member '%s': '%s' is no class of this model",
                   kh_shown(name, strlen(name), member, sizeof member),
                   kh_shown(text, strlen(text), shown, sizeof shown));
}

static int compare_keys(const void *left, const void *right) {
    const class_member *a = left, *b = right;
    return strcmp(a->key, b->key);
}

static kh_status sort_classes(listing *l, kh_error *err) {
    qsort(l->classes, l->class_count, sizeof *l->classes, compare_keys);
    for (size_t i = 1; i < l->class_count; i++) {
        const class_member *a = &l->classes[i - 1], *b = &l->classes[i];
        if (a->truth == b->truth || strcmp(a->key, b->key) != 0) continue;
        char shown[KH_SHOWN_BYTES], key[KH_SHOWN_BYTES];
        return kh_fail(err, KH_E_FORMAT,
                       "archive '%s': several .cls members of the key '%s' (a name up to the first "
                       "point of its last part) name different classes, such as %zu and %zu",
                       kh_shown(l->path, strlen(l->path), shown, sizeof shown),
                       kh_shown(a->key, strlen(a->key), key, sizeof key),
                       a->truth < b->truth ? a->truth : b->truth,
                       a->truth < b->truth ? b->truth : a->truth);
    }
    return KH_OK;
}

static const class_member *class_of(const listing *l, const char *name) {
    const size_t length = key_length(name);
    size_t low = 0, high = l->class_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        const char *key = l->classes[middle].key;
        const int order = strncmp(key, name, length);
        if (order == 0 && key[length] == '\0') return &l->classes[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Images get the class of their key; when only some have one, that is said. */
static kh_status match_classes(listing *l, kh_error *err) {
    const kh_source *source = l->source;
    const char *name = NULL;
    size_t without = 0;
    if (l->class_count == 0) return KH_OK;
    KH_TRY(sort_classes(l, err));
    for (size_t i = l->first; i < source->count; i++) {
        kh_source_item *item = &source->items[i];
        const class_member *found = class_of(l, item->name + l->prefix);
        if (found) item->truth = found->truth;
        if (found || item->truth != KH_NO_CLASS) continue;
        if (without++ == 0) name = item->name + l->prefix;
    }
    if (without == 0) return KH_OK;
    char text[KH_SHOWN_BYTES * 3], shown[KH_SHOWN_BYTES], member[KH_SHOWN_BYTES];
    (void)snprintf(text, sizeof text,
                   "%zu of %zu image%s in '%s' %s no .cls member of the same name and so no true "
                   "class, e.g. '%s'",
                   without, l->members, KH_S(l->members),
                   kh_shown(l->path, strlen(l->path), shown, sizeof shown),
                   without == 1 ? "has" : "have",
                   kh_shown(name, strlen(name), member, sizeof member));
    kh_source_warn(source, text);
    return KH_OK;
}

static kh_status add_member(listing *l, const char *name, kh_error *err) {
    kh_text whole = {0};
    kh_text_addf(&whole, "%s:%s", l->path, name);
    size_t truth;
    if (!l->source->classes || !kh_classes_of_path(l->source->classes, name, &truth))
        truth = KH_NO_CLASS;
    kh_status status = whole.failed ? kh_fail(err, KH_E_MEMORY, "no memory for a path")
                                    : kh_source_add(l->source, whole.data, truth, err);
    kh_text_clear(&whole);
    if (status) return status;
    kh_source_item *item = &l->source->items[l->source->count - 1];
    item->archive = l->source->archive_count - 1;
    item->member = l->members++;
    return KH_OK;
}

kh_status kh_source_add_archive(kh_source *source, const char *path, kh_error *err) {
    char **grown = kh_realloc(source->archives, source->archive_count + 1, sizeof *grown);
    if (grown) source->archives = grown;
    char *copy = grown ? kh_strdup(path) : NULL;
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    source->archives[source->archive_count++] = copy;
    listing l = {
        .source = source, .path = path, .prefix = strlen(path) + 1, .first = source->count};
    struct archive *archive;
    struct archive_entry *entry;
    const char *name;
    KH_TRY(open_archive(path, &archive, err));
    kh_status status;
    while (!(status = next_file(archive, path, &name, &entry, err)) && name) {
        if (kh_is_image_name(name))
            status = add_member(&l, name, err);
        else if (kh_ends_with(name, ".cls"))
            status = read_class(&l, archive, name, err);
        if (status) break;
    }
    (void)archive_read_free(archive);
    if (!status) status = match_classes(&l, err);
    clear_classes(&l);
    char shown[KH_SHOWN_BYTES];
    if (!status && l.members == 0)
        return kh_fail(err, KH_E_NOT_FOUND, "archive '%s' has no .jpg, .jpeg, .png or .webp files",
                       kh_shown(path, strlen(path), shown, sizeof shown));
    return status;
}

/* ---- reading ------------------------------------------------------------------------------- */

void kh_archive_cursor_clear(kh_archive_cursor *cursor) {
    if (cursor->archive) (void)archive_read_free(cursor->archive);
    *cursor = (kh_archive_cursor){0};
}

static kh_status read_member(struct archive *archive, const char *path, uint64_t limit,
                             unsigned char **out, size_t *count, kh_error *err) {
    size_t capacity = 64 << 10, used = 0;
    unsigned char *bytes = kh_realloc(NULL, capacity, 1);
    if (!bytes) return kh_fail(err, KH_E_MEMORY, "no memory for an image file");
    for (;;) {
        const la_ssize_t got = archive_read_data(archive, bytes + used, capacity - used);
        if (got < 0) {
            kh_free(bytes);
            return refuse(archive, path, KH_E_IO, err);
        }
        if (got == 0) break;
        used += (size_t)got;
        if (used > limit) {
            kh_free(bytes);
            return kh_fail(err, KH_E_LIMIT, "image file is larger than the limit of %llu bytes",
                           (unsigned long long)limit);
        }
        unsigned char *grown = used == capacity ? kh_realloc(bytes, capacity *= 2, 1) : bytes;
        if (!grown) {
            kh_free(bytes);
            return kh_fail(err, KH_E_MEMORY, "no memory for an image file of %zu bytes", used);
        }
        bytes = grown;
    }
    *out = bytes;
    *count = used;
    return KH_OK;
}

kh_status kh_archive_read_image(kh_archive_cursor *cursor, const kh_source *source,
                                const kh_source_item *item, unsigned char **out, size_t *count,
                                kh_error *err) {
    const char *path = source->archives[item->archive];
    if (!cursor->archive || cursor->which != item->archive || cursor->next > item->member) {
        struct archive *archive;
        kh_archive_cursor_clear(cursor);
        KH_TRY(open_archive(path, &archive, err));
        cursor->archive = archive;
        cursor->which = item->archive;
    }
    for (;;) {
        struct archive_entry *entry;
        const char *name;
        if (next_file(cursor->archive, path, &name, &entry, err)) return KH_E_IO;
        if (!name) return refuse(NULL, path, KH_E_IO, err);
        if (!kh_is_image_name(name)) continue;
        if (cursor->next++ < item->member) continue;
        if (strcmp(name, item->name + strlen(path) + 1) != 0)
            return refuse(NULL, path, KH_E_IO, err);
        return read_member(cursor->archive, path, source->limits.max_image_bytes, out, count, err);
    }
}
