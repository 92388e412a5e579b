/* What is in a run directory, and is it still what was written there? */
#include "atlas/digest.h"
#include "atlas/shards.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <string.h>

kh_status kh_atlas_read_fingerprint(const char *directory, json_t **out, kh_error *err) {
    char path[KH_ATLAS_PATH];
    unsigned char *bytes = NULL;
    size_t count = 0;
    const kh_json_limits limits = {8, 100000};
    KH_TRY(kh_atlas_path(path, err, directory, "fingerprint.json"));
    KH_TRY(kh_file_read(path, 1 << 24, &bytes, &count, err));
    const kh_status status =
        kh_json_parse_object((const char *)bytes, count, limits, "fingerprint.json", out, err);
    kh_free(bytes);
    char shown[KH_SHOWN_BYTES];
    if (!status) return KH_OK;
    return kh_error_context(err, status, "'%s'",
                            kh_shown(directory, strlen(directory), shown, sizeof shown));
}

static size_t images_of(const json_t *fingerprint) {
    size_t images = 0;
    (void)kh_json_size(json_object_get(json_object_get(fingerprint, "image_set"), "images"),
                       &images);
    return images;
}

static kh_status look_at_states(const char *directory, kh_atlas_status *out, kh_error *err) {
    kh_shards shards = {0};
    kh_ranges covered = {0};
    kh_status status = kh_shards_list(directory, &shards, err);
    for (size_t i = 0; i < shards.count && !status; i++) {
        const kh_state_head *head = &shards.items[i].head;
        out->images = images_of(head->fingerprint);
        out->broken += head->broken_count;
        out->broken_maps += head->broken_maps_count;
        for (size_t k = 0; k < head->covered.count && !status; k++)
            status = kh_ranges_add(&covered, head->covered.items[k].first,
                                   head->covered.items[k].end, err);
    }
    out->shards = shards.count;
    out->covered = (size_t)kh_ranges_total(&covered);
    kh_ranges_clear(&covered);
    kh_shards_clear(&shards);
    return status;
}

/* A manifest makes a run complete when it is that of an atlas and the files it lists are there. */
static kh_status look_at_manifest(const char *directory, const char *path, kh_atlas_status *out,
                                  kh_error *err) {
    char file[KH_ATLAS_PATH], shown[2][KH_SHOWN_BYTES];
    size_t i;
    json_t *root = NULL, *one;
    (void)kh_shown(directory, strlen(directory), shown[0], sizeof shown[0]);
    KH_TRY(kh_json_read_own(path, "manifest.json", &root, err));
    kh_status status = KH_OK;
    const char *found = json_string_value(json_object_get(root, "analysis"));
    const json_t *files = json_object_get(root, "files");
    if (!found || strcmp(found, "atlas") != 0)
        status = kh_fail(
            err, KH_E_FORMAT, "'%s' holds no run of an atlas but results of '%s'", shown[0],
            kh_shown(found ? found : "", found ? strlen(found) : 0, shown[1], sizeof shown[1]));
    else if (json_array_size(files) == 0)
        status = kh_fail(err, KH_E_FORMAT, "'%s': its manifest.json lists no files", shown[0]);
    json_array_foreach(files, i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        if (status || !name) continue;
        status = kh_atlas_path(file, err, directory, "%s", name);
        if (!status && !kh_file_exists(file))
            status = kh_fail(err, KH_E_NOT_FOUND,
                             "'%s' is not complete: '%s' is missing; put it back, or make the run "
                             "again with keyhole atlas --overwrite",
                             shown[0], kh_shown(name, strlen(name), shown[1], sizeof shown[1]));
    }
    const json_t *images = json_object_get(root, "images");
    (void)kh_json_size(json_object_get(images, "count"), &out->images);
    (void)kh_json_size(json_object_get(images, "broken"), &out->broken);
    (void)kh_json_size(json_object_get(images, "broken_maps"), &out->broken_maps);
    out->covered = out->images;
    json_decref(root);
    return status;
}

kh_status kh_atlas_look(const char *directory, kh_atlas_status *out, kh_error *err) {
    char path[KH_ATLAS_PATH], shown[KH_SHOWN_BYTES];
    json_t *fingerprint = NULL;
    *out = (kh_atlas_status){0};
    KH_TRY(kh_atlas_path(path, err, directory, "manifest.json"));
    out->is_complete = kh_file_exists(path);
    const kh_status begun = kh_atlas_read_fingerprint(directory, &fingerprint, err);
    if (!begun) out->images = images_of(fingerprint);
    json_decref(fingerprint);
    KH_TRY(look_at_states(directory, out, err));
    if (out->is_complete) return look_at_manifest(directory, path, out, err);
    if (begun == KH_E_NOT_FOUND && out->shards == 0)
        return kh_fail(err, KH_E_NOT_FOUND, "'%s' holds no run",
                       kh_shown(directory, strlen(directory), shown, sizeof shown));
    return KH_OK;
}

/* ---- is it whole? -------------------------------------------------------------------------- */

static kh_status check_states(const char *run, kh_error *err) {
    kh_shards shards = {0};
    kh_status status = kh_shards_list(run, &shards, err);
    size_t damaged = 0;
    for (size_t i = 0; i < shards.count && (!status || status == KH_E_FORMAT); i++) {
        const kh_status one = kh_state_verify(shards.items[i].path, damaged ? NULL : err);
        damaged += one != KH_OK;
        if (one) status = one;
    }
    kh_shards_clear(&shards);
    if (damaged < 2) return status;
    return kh_error_context(err, status, "%zu shards are damaged, the first", damaged);
}

kh_status kh_atlas_check(const char *run, kh_error *err) {
    char path[KH_ATLAS_PATH], digest[65];
    KH_TRY(check_states(run, err));
    KH_TRY(kh_atlas_path(path, err, run, "dissect"));
    KH_TRY(check_states(path, err));
    KH_TRY(kh_atlas_path(path, err, run, "manifest.json"));
    return kh_file_exists(path) ? kh_atlas_digest(run, digest, err) : KH_OK;
}
