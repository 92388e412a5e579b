#define _POSIX_C_SOURCE 200809L
#include "io/hub.h"

#include "base/alloc.h"
#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PUBLIC_HUB "https://huggingface.co"

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

/* Not empty, no leading dot or dash, and neither ".." nor "--", which separates owner and name in
 * the cache. */
static bool is_segment(const char *text, size_t length) {
    if (length < 1 || length > 96 || text[0] == '.' || text[0] == '-') return false;
    for (size_t i = 0; i < length; i++) {
        if (!strchr(letters, text[i])) return false;
        if (i > 0 && text[i] == text[i - 1] && (text[i] == '.' || text[i] == '-')) return false;
    }
    return true;
}

bool kh_hub_id_valid(const char *id) {
    const char *slash = strchr(id, '/');
    return slash && is_segment(id, (size_t)(slash - id)) &&
           is_segment(slash + 1, strlen(slash + 1));
}

bool kh_hub_revision_valid(const char *revision) {
    const char *from = revision; /* refs/pr/1 */
    for (unsigned parts = 1; parts <= 4; parts++) {
        const size_t length = strcspn(from, "/");
        if (!is_segment(from, length)) return false;
        if (!from[length]) return true;
        from += length + 1;
    }
    return false;
}

static const char *set_variable(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

kh_status kh_cache_find(const char *given, kh_text *out, kh_error *err) {
    if (!given) given = set_variable("KEYHOLE_CACHE");
    const char *xdg = set_variable("XDG_CACHE_HOME");
    const char *home = set_variable("HOME");
    if (given)
        kh_text_add(out, given);
    else if (xdg && *xdg == '/')
        kh_text_addf(out, "%s/keyhole", xdg);
    else if (home)
        kh_text_addf(out, "%s/.cache/keyhole", home);
    else
        return kh_fail(err, KH_E_ARG,
                       "no cache folder: neither KEYHOLE_CACHE, XDG_CACHE_HOME nor HOME is "
                       "set");
    return KH_OK;
}

static kh_status find_endpoint(kh_text *out, const kh_hub_options *options, kh_error *err) {
    const char *given = options->endpoint ? options->endpoint : set_variable("HF_ENDPOINT");
    if (!given) given = PUBLIC_HUB;
    char shown[KH_SHOWN_BYTES];
    if (!kh_starts_with(given, "https://") && !kh_starts_with(given, "http://"))
        return kh_fail(err, KH_E_ARG, "hub endpoint '%s' must begin with https:// or http://",
                       kh_shown(given, strlen(given), shown, sizeof shown));
    size_t length = strlen(given);
    while (length > 0 && given[length - 1] == '/')
        length--;
    kh_text_add_bytes(out, given, length);
    return KH_OK;
}

static kh_status fill(kh_hub_place *place, const kh_hub_options *options, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    if (!place->id || !kh_hub_id_valid(place->id))
        return kh_fail(err, KH_E_ARG,
                       "'%s' is not a hub model: expected owner/name, such as "
                       "timm/vit_base_patch16_224.augreg_in21k_ft_in1k",
                       place->id ? kh_shown(place->id, strlen(place->id), shown, sizeof shown)
                                 : "");
    if (!kh_hub_revision_valid(place->revision))
        return kh_fail(err, KH_E_ARG, "'%s' is not a revision: a branch, tag or commit",
                       kh_shown(place->revision, strlen(place->revision), shown, sizeof shown));
    KH_TRY(find_endpoint(&place->endpoint, options, err));
    KH_TRY(kh_cache_find(options->cache_dir, &place->folder, err));
    kh_text_add(&place->folder, "/hub/");
    for (const char *p = place->id; *p; p++)
        kh_text_add_bytes(&place->folder, *p == '/' ? "--" : p, *p == '/' ? 2 : 1);
    kh_text_add(&place->folder, "/");
    for (const char *p = place->revision; *p; p++)
        kh_text_add_bytes(&place->folder, *p == '/' ? "--" : p, *p == '/' ? 2 : 1);
    if (place->folder.failed || place->endpoint.failed)
        return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    return KH_OK;
}

kh_status kh_hub_place_init(kh_hub_place *place, const char *id, const kh_hub_options *options,
                            kh_error *err) {
    static const kh_hub_options none;
    if (!options) options = &none;
    *place = (kh_hub_place){.id = id, .revision = options->revision ? options->revision : "main"};
    const kh_status status = fill(place, options, err);
    if (status) kh_hub_place_clear(place);
    return status;
}

void kh_hub_place_clear(kh_hub_place *place) {
    if (!place) return;
    kh_text_clear(&place->endpoint);
    kh_text_clear(&place->folder);
}

/* ---- the marker --------------------------------------------------------------------------------
 */

#define MARKER "complete"

/* Names, revisions and digests were checked, so nothing here needs escaping. */
kh_status kh_hub_marker_write(const kh_hub_place *place, const char *commit,
                              const kh_hub_file *const *files, size_t count, kh_error *err) {
    kh_text text = {0};
    kh_text_addf(&text, "{\"id\":\"%s\",\"revision\":\"%s\",\"commit\":\"%s\",\"files\":[",
                 place->id, place->revision, commit);
    for (size_t i = 0; i < count; i++) {
        const char *check = files[i]->sha256[0] ? "sha256" : files[i]->blob_id[0] ? "git" : "size";
        kh_text_addf(&text,
                     "%s\n  {\"name\":\"%s\",\"bytes\":%llu,\"check\":\"%s\",\"sum\":\"%s\"}",
                     i ? "," : "", files[i]->name, (unsigned long long)files[i]->bytes, check,
                     files[i]->sha256[0] ? files[i]->sha256 : files[i]->blob_id);
    }
    kh_text_add(&text, "\n]}\n");
    char *path = kh_path_join(place->folder.data, MARKER);
    const kh_status status = text.failed || !path
                                 ? kh_fail(err, KH_E_MEMORY, "no memory for a list of files")
                                 : kh_file_write(path, text.data, text.length, err);
    kh_free(path);
    kh_text_clear(&text);
    return status;
}

static bool has_file(const kh_hub_place *place, const json_t *entry) {
    const char *name = json_string_value(json_object_get(entry, "name"));
    size_t bytes;
    if (!name || !*name || strchr(name, '/') ||
        !kh_json_size(json_object_get(entry, "bytes"), &bytes))
        return false;
    char *path = kh_path_join(place->folder.data, name);
    struct stat info;
    const bool has =
        path && stat(path, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == bytes;
    kh_free(path);
    return has;
}

bool kh_hub_is_complete(const kh_hub_place *place) {
    char *path = kh_path_join(place->folder.data, MARKER);
    unsigned char *bytes = NULL;
    size_t count = 0;
    json_t *root = NULL;
    const kh_json_limits limits = {.max_depth = 4, .max_values = 100000};
    bool complete =
        path && kh_file_read(path, 1u << 20, &bytes, &count, NULL) == KH_OK &&
        kh_json_parse_object((const char *)bytes, count, limits, MARKER, &root, NULL) == KH_OK;
    const json_t *files = json_object_get(root, "files");
    complete = complete && json_array_size(files) > 0;
    for (size_t i = 0; complete && i < json_array_size(files); i++)
        complete = has_file(place, json_array_get(files, i));
    json_decref(root);
    kh_free(bytes);
    kh_free(path);
    return complete;
}

kh_status kh_hub_find(const char *id, const kh_hub_options *options, char *out, size_t out_bytes,
                      kh_error *err) {
    kh_hub_place place;
    KH_TRY(kh_hub_place_init(&place, id, options, err));
    kh_status status = KH_OK;
    char shown[KH_SHOWN_BYTES];
    if (!kh_hub_is_complete(&place))
        status = kh_fail(err, KH_E_NOT_FOUND,
                         "model '%s' (revision %s) is not in '%s'; get it with 'keyhole pull %s'",
                         id, place.revision,
                         kh_shown(place.folder.data, place.folder.length, shown, sizeof shown), id);
    else if (place.folder.length >= out_bytes)
        status = kh_fail(err, KH_E_ARG, "a path of %zu bytes does not fit in %zu",
                         place.folder.length + 1, out_bytes);
    else
        memcpy(out, place.folder.data, place.folder.length + 1);
    kh_hub_place_clear(&place);
    return status;
}
