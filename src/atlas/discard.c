/* Making room: removes what a run has left in a directory. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/job.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
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

/* Files of a folder with one of these endings. */
static kh_status remove_ending(const char *directory, const char *folder,
                               const char *const *endings, kh_error *err) {
    char path[KH_ATLAS_PATH];
    KH_TRY(kh_atlas_path(path, err, directory, "%s", folder));
    DIR *listing = opendir(path);
    kh_status status = KH_OK;
    for (const struct dirent *entry; listing && !status && (entry = readdir(listing));)
        for (size_t i = 0; endings[i] && !status; i++)
            if (kh_ends_with(entry->d_name, endings[i]))
                status = remove_file(path, entry->d_name, err);
    if (listing) (void)closedir(listing);
    remove_folder(directory, folder);
    return status;
}

/* Those that figures.json lists; all pictures where drawing them was stopped. */
static kh_status remove_figures(const char *directory, kh_error *err) {
    static const char *const all[] = {".png",         ".svg",         ".partial",
                                      "figures.json", KH_FOLDER_MARK, NULL};
    char folder[KH_ATLAS_PATH], file[256];
    size_t i;
    json_t *root = NULL, *one;
    KH_TRY(kh_atlas_path(folder, err, directory, "figures"));
    if (kh_folder_is_marked(folder, "figures"))
        return remove_ending(directory, "figures", all, err);
    root = read_json(directory, "figures/figures.json");
    kh_status status = remove_file(folder, "figures.json", err);
    json_array_foreach(json_object_get(root, "figures"), i, one) {
        const char *name = json_string_value(json_object_get(one, "name"));
        for (size_t k = 0; k < 2 && name && !strchr(name, '/') && !status; k++) {
            (void)snprintf(file, sizeof file, "%s%s", name, all[k]);
            status = remove_file(folder, file, err);
        }
    }
    json_decref(root);
    remove_folder(directory, "figures");
    return status;
}

kh_status kh_atlas_discard(const char *directory, kh_error *err) {
    static const char *const states[] = {".state", ".state.partial", NULL};
    static const char *const arrays[] = {".npy", ".npy.partial", NULL};
    static const char *const rest[] = {"run.sqlite", "run.sqlite.partial", "fingerprint.json"};
    char path[KH_ATLAS_PATH];
    json_t *manifest = read_json(directory, "manifest.json");
    kh_status status = remove_file(directory, "manifest.json", err);
    if (!status) status = remove_listed(directory, manifest, err);
    if (!status) status = remove_ending(directory, "shards", states, err);
    if (!status) status = remove_ending(directory, "arrays", arrays, err);
    if (!status) status = remove_figures(directory, err);
    for (size_t i = 0; i < sizeof rest / sizeof *rest && !status; i++)
        status = remove_file(directory, rest[i], err);
    json_decref(manifest);
    if (!status) status = kh_atlas_path(path, err, directory, "dissect");
    if (status || !kh_is_directory(path)) return status;
    status = kh_atlas_discard(path, err);
    remove_folder(directory, "dissect");
    return status;
}
