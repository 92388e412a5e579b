/* Making room: removes what a run has left in a directory, and what killed processes left of files
 * that they were writing. Names that no run gives are somebody's, and stay. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/shards.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/partial.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static kh_status remove_file(const char *directory, const char *name, kh_error *err) {
    char path[KH_ATLAS_PATH], shown[KH_SHOWN_BYTES];
    KH_TRY(kh_atlas_path(path, err, directory, "%s", name));
    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR) return KH_OK;
    return kh_fail(err, KH_E_IO, "cannot remove '%s': %s",
                   kh_shown(path, strlen(path), shown, sizeof shown), strerror(errno));
}

/* Fails quietly when something of the user's is left in it. */
static void remove_folder(const char *directory, const char *name) {
    char path[KH_ATLAS_PATH];
    if (!kh_atlas_path(path, NULL, directory, "%s", name)) (void)rmdir(path);
}

/* A name that stays within the directory: "arrays/class_mean.npy". */
static bool is_inside(const char *name) {
    if (!name || name[0] == '/' || name[0] == '\0') return false;
    for (const char *at = name; at; at = strchr(at, '/')) {
        at += *at == '/';
        if (strncmp(at, "..", 2) == 0 && (at[2] == '/' || at[2] == '\0')) return false;
    }
    return true;
}

/* What the manifest lists. One that cannot be read lists nothing. */
static kh_status remove_listed(const char *directory, const json_t *manifest, kh_error *err) {
    size_t i;
    const json_t *file;
    json_array_foreach(json_object_get(manifest, "files"), i, file) {
        const char *name = json_string_value(json_object_get(file, "name"));
        if (is_inside(name)) KH_TRY(remove_file(directory, name, err));
    }
    return KH_OK;
}

/* NULL when it cannot be read. */
static json_t *read_json(const char *directory, const char *name) {
    char path[KH_ATLAS_PATH];
    json_t *root = NULL;
    if (!kh_atlas_path(path, NULL, directory, "%s", name))
        (void)kh_json_read_own(path, name, &root, NULL);
    return root;
}

/* ---- names --------------------------------------------------------------------------------- */

static bool is_array(const char *name, size_t length) {
    enum { ENDING = 4 };
    return length > ENDING && memcmp(name + length - ENDING, ".npy", ENDING) == 0 &&
           kh_lens_knows_array(name, length - ENDING);
}

static bool is_of_the_run(const char *name, size_t length) {
    static const char *const names[] = {"run.sqlite", "fingerprint.json", "manifest.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0) return true;
    return false;
}

/* Where a run puts files of its own, and which names it gives them. */
static const struct {
    const char *folder;
    bool (*is_own)(const char *name, size_t length);
} places[] = {{"shards", kh_shard_is_name}, {"arrays", is_array}, {".", is_of_the_run}};
enum { PLACES = sizeof places / sizeof *places };

/* ---- removing ------------------------------------------------------------------------------ */

/* Partial files that nobody writes any more; with `all` the files too. */
static kh_status sweep(const char *directory, size_t place, bool all, kh_error *err) {
    char path[KH_ATLAS_PATH], file[KH_ATLAS_PATH];
    KH_TRY(kh_atlas_path(path, err, directory, "%s", places[place].folder));
    DIR *listing = opendir(path);
    kh_status status = KH_OK;
    for (const struct dirent *entry; listing && !status && (entry = readdir(listing));) {
        const char *name = entry->d_name;
        const size_t base = kh_partial_base(name);
        if (!places[place].is_own(name, base ? base : strlen(name))) continue;
        if (base && !kh_atlas_path(file, NULL, path, "%s", name)) kh_partial_remove(file);
        if (!base && all) status = remove_file(path, name, err);
    }
    if (listing) (void)closedir(listing);
    return status;
}

kh_status kh_atlas_sweep(const char *directory, kh_error *err) {
    for (size_t i = 0; i < PLACES; i++)
        KH_TRY(sweep(directory, i, false, err));
    return KH_OK;
}

/* Pictures that figures.json lists. */
static kh_status remove_figures(const char *directory, kh_error *err) {
    static const char *const endings[] = {".png", ".svg"};
    char folder[KH_ATLAS_PATH], file[256];
    size_t i;
    KH_TRY(kh_atlas_path(folder, err, directory, "figures"));
    json_t *root = read_json(directory, "figures/figures.json"), *one;
    kh_status status = KH_OK;
    json_array_foreach(json_object_get(root, "figures"), i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        for (size_t k = 0; k < 2 && name && !strchr(name, '/') && !status; k++) {
            (void)snprintf(file, sizeof file, "%s%s", name, endings[k]);
            status = remove_file(folder, file, err);
        }
    }
    if (!status && root) status = remove_file(folder, "figures.json", err);
    json_decref(root);
    remove_folder(directory, "figures");
    return status;
}

enum { NAME_BYTES = 256 };

static kh_status refuse_others(const char *directory, const char *file, kh_error *err) {
    char shown[2][KH_SHOWN_BYTES];
    return kh_fail(
        err, KH_E_ARG,
        "'%s' holds what other parts have done ('%s'), and --overwrite would remove that "
        "too: choose another --out, remove the directory yourself, or begin all of it "
        "again without --shard",
        kh_shown(directory, strlen(directory), shown[0], sizeof shown[0]),
        kh_shown(file, strlen(file), shown[1], sizeof shown[1]));
}

/* The first by name of the states in a folder that are not `own`; "" when there is none. */
static void find_other(const char *folder, const char *own, char other[NAME_BYTES]) {
    DIR *listing = opendir(folder);
    other[0] = '\0';
    for (const struct dirent *entry; listing && (entry = readdir(listing));) {
        const char *name = entry->d_name;
        if (kh_shard_is_name(name, strlen(name)) && strcmp(name, own) != 0 &&
            (!other[0] || strcmp(name, other) < 0))
            (void)snprintf(other, NAME_BYTES, "%s", name);
    }
    if (listing) (void)closedir(listing);
}

kh_status kh_atlas_check_discard(const char *directory, size_t shard, size_t shards,
                                 kh_error *err) {
    static const char *const passes[] = {"", "dissect/"};
    char path[KH_ATLAS_PATH], own[64], other[NAME_BYTES], file[NAME_BYTES + 32];
    (void)snprintf(own, sizeof own, "shard-%04zu-of-%04zu.state", shard, shards);
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++) {
        (void)snprintf(file, sizeof file, "%smanifest.json", passes[i]);
        KH_TRY(kh_atlas_path(path, err, directory, "%s", file));
        if (kh_file_exists(path)) return refuse_others(directory, file, err);
        KH_TRY(kh_atlas_path(path, err, directory, "%sshards", passes[i]));
        find_other(path, own, other);
        (void)snprintf(file, sizeof file, "%sshards/%s", passes[i], other);
        if (other[0]) return refuse_others(directory, file, err);
    }
    return KH_OK;
}

kh_status kh_atlas_discard(const char *directory, kh_error *err) {
    char path[KH_ATLAS_PATH];
    json_t *manifest = read_json(directory, "manifest.json");
    kh_status status = remove_file(directory, "manifest.json", err);
    if (!status) status = remove_listed(directory, manifest, err);
    json_decref(manifest);
    for (size_t i = 0; i < PLACES && !status; i++) {
        status = sweep(directory, i, true, err);
        if (i + 1 < PLACES) remove_folder(directory, places[i].folder);
    }
    if (!status) status = remove_figures(directory, err);
    if (!status) status = kh_atlas_path(path, err, directory, "dissect");
    if (status || !kh_is_directory(path)) return status;
    status = kh_atlas_discard(path, err);
    kh_folder_unmark(path);
    remove_folder(directory, "dissect");
    return status;
}
