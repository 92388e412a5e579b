/* Image sets: what the operands of a command add up to, in a fixed order. */
#include "io/source.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"
#include "io/sha256.h"

#include <string.h>
#include <strings.h>

static bool has_ending(const char *name, const char *const *endings, size_t count) {
    const size_t length = strlen(name);
    for (size_t i = 0; i < count; i++) {
        const size_t size = strlen(endings[i]);
        if (length > size && strcasecmp(name + length - size, endings[i]) == 0) return true;
    }
    return false;
}

bool kh_is_image_name(const char *name) {
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp"};
    return has_ending(name, endings, sizeof endings / sizeof *endings);
}

bool kh_is_archive_name(const char *name) {
    static const char *const endings[] = {".tar",     ".tgz",     ".tar.gz",  ".tar.xz",
                                          ".tar.zst", ".tar.bz2", ".tar.lz4", ".zip"};
    return has_ending(name, endings, sizeof endings / sizeof *endings);
}

const char *kh_member_name(const char *name) {
    char archive[32];
    for (const char *colon = strchr(name, ':'); colon; colon = strchr(colon + 1, ':')) {
        const size_t length = (size_t)(colon - name);
        const size_t kept = length < sizeof archive - 1 ? length : sizeof archive - 1;
        memcpy(archive, colon - kept, kept); /* its ending decides */
        archive[kept] = '\0';
        if (kh_is_archive_name(archive)) return colon + 1;
    }
    return name;
}

void kh_source_warn(const kh_source *source, const char *text) {
    if (source->warn) source->warn(source->warn_user, text);
}

kh_status kh_source_add(kh_source *source, const char *name, size_t truth, kh_error *err) {
    if (source->count == source->capacity) {
        const size_t capacity = source->capacity ? source->capacity * 2 : 64;
        kh_source_item *grown = kh_realloc(source->items, capacity, sizeof *grown);
        if (!grown) return kh_fail(err, KH_E_MEMORY, "no memory for %zu images", capacity);
        source->items = grown;
        source->capacity = capacity;
    }
    char *copy = kh_strdup(name);
    if (!copy) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    if (truth == KH_NO_CLASS && source->classes &&
        !kh_classes_of_path(source->classes, copy, &truth))
        truth = KH_NO_CLASS;
    source->items[source->count++] =
        (kh_source_item){.name = copy, .truth = truth, .archive = SIZE_MAX};
    return KH_OK;
}

static kh_status add_operand(kh_source *source, const char *operand, kh_error *err) {
    if (strcmp(operand, "-") == 0) return kh_source_add_list(source, "/dev/stdin", err);
    if (operand[0] == '@') return kh_source_add_list(source, operand + 1, err);
    KH_TRY(kh_source_check_operand(operand, err));
    if (kh_is_directory(operand)) return kh_source_add_folder(source, operand, err);
    if (kh_is_archive_name(operand)) return kh_source_add_archive(source, operand, err);
    return kh_source_add(source, operand, KH_NO_CLASS, err);
}

kh_status kh_source_open(char *const *operands, size_t count, const kh_source_options *options,
                         kh_source **out, kh_error *err) {
    *out = NULL;
    kh_source *source = kh_calloc(1, sizeof *source);
    if (!source) return kh_fail(err, KH_E_MEMORY, "no memory for a set of images");
    source->classes = options ? options->classes : NULL;
    source->warn = options && !options->label_file ? options->warn : NULL; /* a file says more */
    source->warn_user = options ? options->warn_user : NULL;
    source->limits = options && options->limits ? *options->limits : kh_limits_default();
    kh_status status = KH_OK;
    for (size_t i = 0; i < count && !status; i++)
        status = add_operand(source, operands[i], err);
    if (!status && source->count == 0) status = kh_fail(err, KH_E_NOT_FOUND, "no images given");
    if (!status && options && options->label_file) {
        source->warn = options->warn;
        status = kh_source_read_labels(source, options->label_file, err);
    }
    source->classes = NULL;
    source->warn = NULL;
    source->warn_user = NULL;
    if (status)
        kh_source_free(source);
    else
        *out = source;
    return status;
}

void kh_source_free(kh_source *source) {
    if (!source) return;
    for (size_t i = 0; i < source->count; i++)
        kh_free(source->items[i].name);
    kh_free(source->items);
    for (size_t i = 0; i < source->archive_count; i++)
        kh_free(source->archives[i]);
    kh_free(source->archives);
    kh_free(source);
}

size_t kh_source_count(const kh_source *source) {
    return source->count;
}

kh_source_image kh_source_get(const kh_source *source, size_t index) {
    return (kh_source_image){source->items[index].name, source->items[index].truth};
}

kh_status kh_source_read_image(const kh_source *source, size_t index,
                               const kh_decode_options *options, kh_image *out, kh_error *err) {
    const kh_source_item *item = &source->items[index];
    if (item->archive == SIZE_MAX)
        return kh_image_read(item->name, options, &source->limits, out, err);
    kh_archive_cursor cursor = {0};
    unsigned char *bytes = NULL;
    size_t count = 0;
    *out = (kh_image){0};
    kh_status status = kh_archive_read_image(&cursor, source, item, &bytes, &count, err);
    kh_archive_cursor_clear(&cursor);
    if (!status) status = kh_image_decode(bytes, count, options, &source->limits, out, err);
    kh_free(bytes);
    return status;
}

/* "val/n01440764/a.jpg" to "n01440764/a.jpg": the part that stays when the set moves. */
static const char *last_two_parts(const char *path) {
    size_t slashes = 0;
    for (const char *at = path + strlen(path); at > path; at--)
        if (at[-1] == '/' && ++slashes == 2) return at;
    return path;
}

kh_status kh_source_sha256(const kh_source *source, char out[65], kh_error *err) {
    kh_sha256 *sha = kh_sha256_create();
    bool ok = sha != NULL;
    for (size_t i = 0; i < source->count && ok; i++) {
        const char *name = last_two_parts(source->items[i].name);
        const size_t truth = source->items[i].truth;
        unsigned char label[8];
        for (size_t b = 0; b < sizeof label; b++)
            label[b] = (unsigned char)((uint64_t)truth >> (8 * b));
        ok = kh_sha256_add(sha, name, strlen(name) + 1) && kh_sha256_add(sha, label, sizeof label);
    }
    ok = ok && kh_sha256_finish(sha, out);
    kh_sha256_free(sha);
    return ok ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a digest of the image list");
}
