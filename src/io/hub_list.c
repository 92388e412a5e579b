#include "io/hub.h"

#include "base/alloc.h"
#include "io/tensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Small files we take when they are there. */
static const char *const wanted[] = {"config.json", "preprocessor_config.json", KH_HUB_INDEX};

/* timm's order of preference; the index of shards comes behind the single file. */
static const char *const weights[] = {"model.safetensors", KH_HUB_INDEX,
                                      "open_clip_model.safetensors",
                                      "open_clip_pytorch_model.safetensors"};

static bool is_hex_text(const char *text, size_t count) {
    return text && strlen(text) == count && strspn(text, "0123456789abcdef") == count;
}

/* Letters that need no escaping in an address and no thought in a shell. */
static bool is_plain(const char *name) {
    const size_t length = strlen(name);
    return length > 0 && length < 256 && name[0] != '.' && name[0] != '-' &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               length;
}

static bool is_wanted(const char *name) {
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (strcmp(name, wanted[i]) == 0) return true;
    return is_plain(name) && kh_is_weight_name(name);
}

static bool is_pickle(const char *name) {
    return kh_ends_with(name, ".bin") || kh_ends_with(name, ".pt") || kh_ends_with(name, ".pth") ||
           kh_ends_with(name, ".npz");
}

static kh_status add_file(kh_hub_list *list, const char *name, const json_t *entry, kh_error *err) {
    const json_t *lfs = json_object_get(entry, "lfs");
    const json_t *size = json_object_get(json_is_object(lfs) ? lfs : entry, "size");
    size_t bytes;
    if (!kh_json_size(size, &bytes))
        return kh_fail(err, KH_E_FORMAT, "the hub's list of files gives no size for '%s'", name);
    kh_hub_file file = {.bytes = bytes};
    (void)snprintf(file.name, sizeof file.name, "%s", name);
    const char *sha256 = json_string_value(json_object_get(lfs, "sha256"));
    const char *blob = json_string_value(json_object_get(entry, "blobId"));
    if (is_hex_text(sha256, 64)) memcpy(file.sha256, sha256, 65);
    /* of an LFS file, the blob is only the pointer */
    if (!json_is_object(lfs) && is_hex_text(blob, 40)) memcpy(file.blob_id, blob, 41);
    if (kh_hub_list_find(list, name))
        return kh_fail(err, KH_E_FORMAT, "the hub's list of files names '%s' twice", name);
    list->files[list->count++] = file;
    return KH_OK;
}

static kh_status read_list(const json_t *root, kh_hub_list *out, kh_error *err) {
    const json_t *siblings = json_object_get(root, "siblings");
    if (!json_is_array(siblings))
        return kh_fail(err, KH_E_FORMAT,
                       "the hub's answer has no list of files; is the endpoint a model hub?");
    const char *commit = json_string_value(json_object_get(root, "sha"));
    if (is_hex_text(commit, 40)) memcpy(out->commit, commit, 41);
    size_t room = 0;
    for (size_t i = 0; i < json_array_size(siblings); i++) {
        const json_t *entry = json_array_get(siblings, i);
        const char *name = json_string_value(json_object_get(entry, "rfilename"));
        if (!name) return kh_fail(err, KH_E_FORMAT, "the hub's list of files has a nameless file");
        if (is_pickle(name)) out->has_pickles = true;
        if (!is_wanted(name)) continue;
        if (out->count == room) {
            if (room >= 4096)
                return kh_fail(err, KH_E_LIMIT, "the hub lists more than 4096 weight files");
            room = room ? 2 * room : 16;
            kh_hub_file *grown = kh_realloc(out->files, room, sizeof *grown);
            if (!grown) return kh_fail(err, KH_E_MEMORY, "no memory for a list of files");
            out->files = grown;
        }
        KH_TRY(add_file(out, name, entry, err));
    }
    return KH_OK;
}

kh_status kh_hub_list_parse(const char *bytes, size_t count, kh_hub_list *out, kh_error *err) {
    *out = (kh_hub_list){0};
    const kh_json_limits limits = {.max_depth = 32, .max_values = 1000000};
    json_t *root = NULL;
    kh_status status =
        kh_json_parse_object(bytes, count, limits, "the hub's list of files", &root, err);
    if (!status) status = read_list(root, out, err);
    json_decref(root);
    if (status) kh_hub_list_clear(out);
    return status;
}

void kh_hub_list_clear(kh_hub_list *list) {
    if (!list) return;
    kh_free(list->files);
    *list = (kh_hub_list){0};
}

const kh_hub_file *kh_hub_list_find(const kh_hub_list *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->files[i].name, name) == 0) return &list->files[i];
    return NULL;
}

const kh_hub_file *kh_hub_list_weights(const kh_hub_list *list) {
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        const kh_hub_file *file = kh_hub_list_find(list, weights[i]);
        if (file) return file;
    }
    const kh_hub_file *first = NULL; /* by the alphabet */
    for (size_t i = 0; i < list->count; i++) {
        const kh_hub_file *file = &list->files[i];
        if (kh_is_weight_name(file->name) && (!first || strcmp(file->name, first->name) < 0))
            first = file;
    }
    return first;
}
