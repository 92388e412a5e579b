#define _POSIX_C_SOURCE 200809L
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

kh_status kh_outdir_path(const char *folder, char *out, size_t out_bytes, kh_error *err,
                         const char *format, ...) {
    const int head = snprintf(out, out_bytes, "%s/", folder);
    if (head >= 0 && (size_t)head < out_bytes) {
        va_list args;
        va_start(args, format);
        const int tail = vsnprintf(out + head, out_bytes - (size_t)head, format, args);
        va_end(args);
        if (tail >= 0 && (size_t)tail < out_bytes - (size_t)head) return KH_OK;
    }
    return kh_fail(err, KH_E_LIMIT, "the output folder's path is too long");
}

static kh_status refuse(const char *verb, const char *path, int why, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, why == ENOENT ? KH_E_NOT_FOUND : KH_E_IO, "cannot %s '%s': %s", verb,
                   kh_shown(path, strlen(path), shown, sizeof shown), strerror(why));
}

/* "a/b" to "a", "a" to ".", "/a" to "/" */
static void cut_last_part(char *path) {
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/')
        end--;
    while (end > 0 && path[end - 1] != '/')
        end--;
    while (end > 1 && path[end - 1] == '/')
        end--;
    memcpy(path + end, end ? "" : ".", end ? 1 : 2);
}

/* Asks the nearest folder on the way that is already there. */
kh_status kh_outdir_check_can_make(const char *path, kh_error *err) {
    char at[4096];
    if (!path[0]) return refuse("create folder", path, ENOENT, err);
    if ((size_t)snprintf(at, sizeof at, "%s", path) >= sizeof at)
        return refuse("create folder", path, ENAMETOOLONG, err);
    struct stat info;
    bool is_there = true;
    while (stat(at, &info) != 0) {
        if (errno != ENOENT || strcmp(at, ".") == 0 || strcmp(at, "/") == 0)
            return refuse("create folder", path, errno, err);
        is_there = false;
        cut_last_part(at);
    }
    if (!S_ISDIR(info.st_mode)) return refuse("create folder", path, ENOTDIR, err);
    if (access(at, W_OK | X_OK) == 0) return KH_OK;
    return refuse(is_there ? "write into folder" : "create folder", path, errno, err);
}

kh_status kh_outdir_check(const char *path, const char *analysis, bool overwrite, kh_error *err) {
    KH_TRY(kh_folder_check(path, analysis, overwrite, false, err));
    return kh_outdir_check_can_make(path, err);
}

/* "look.csv", "pictures/000000_gradient.png": nothing that leads out of the folder. */
static bool is_own_name(const char *name) {
    const char *slash = strchr(name, '/');
    if (!name[0] || name[0] == '.' || name[0] == '/') return false;
    return !slash || (slash[1] && slash[1] != '.' && !strchr(slash + 1, '/'));
}

/* Removes what the manifest of an earlier run lists, so that no picture of that run stays among
 * those of this one; and its folders when nothing else is in them. A manifest that cannot be read
 * lists nothing. */
static void remove_listed(const char *folder, const char *manifest) {
    size_t i;
    json_t *root = NULL, *file;
    if (kh_json_read_own(manifest, "manifest.json", &root, NULL)) return;
    json_array_foreach(json_object_get(root, "files"), i, file) {
        const char *name = json_string_value(json_object_get(file, "name"));
        char path[4096];
        if (!name || !is_own_name(name) ||
            kh_outdir_path(folder, path, sizeof path, NULL, "%s", name))
            continue;
        (void)unlink(path);
        if (!strchr(name, '/')) continue;
        cut_last_part(path);
        (void)rmdir(path);
    }
    json_decref(root);
}

kh_status kh_outdir_begin(const char *path, const char *analysis, kh_error *err) {
    char manifest[4096];
    KH_TRY(kh_outdir_path(path, manifest, sizeof manifest, err, "manifest.json"));
    KH_TRY(kh_folder_mark(path, analysis, err));
    if (kh_file_exists(manifest)) remove_listed(path, manifest);
    if (unlink(manifest) == 0 || errno == ENOENT) return KH_OK;
    return refuse("replace", manifest, errno, err);
}

kh_status kh_outdir_finish(const char *folder, kh_manifest *manifest, kh_error *err) {
    char path[4096];
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "manifest.json"));
    KH_TRY(kh_store_manifest_write(manifest, path, err));
    kh_folder_unmark(folder);
    return KH_OK;
}

void kh_outdir_stem(const char *path, char *out, size_t out_bytes) {
    const char *base = kh_path_base(path);
    const char *dot = strrchr(base, '.');
    size_t length = dot && dot != base ? (size_t)(dot - base) : strlen(base);
    if (length > 80) length = 80;
    if (length > out_bytes - 1) length = out_bytes - 1;
    for (size_t i = 0; i < length; i++) {
        const char c = base[i];
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
        out[i] = plain ? c : '_';
    }
    out[length] = '\0';
}

kh_status kh_outdir_figure(const char *folder, const char *stem, kh_figure *figure, kh_error *err) {
    char path[4096];
    kh_status status = kh_outdir_path(folder, path, sizeof path, err, "%s.png", stem);
    if (!status) status = kh_figure_write(figure, path, 1.0, err);
    if (!status) status = kh_outdir_path(folder, path, sizeof path, err, "%s.svg", stem);
    if (!status) status = kh_figure_write(figure, path, 1.0, err);
    kh_figure_free(figure);
    return status;
}

void kh_outdir_list_figure(kh_manifest *manifest, const char *stem, const char *meaning) {
    static const char *const endings[] = {"png", "svg"};
    char name[256];
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(name, sizeof name, "%s.%s", stem, endings[i]);
        kh_store_manifest_file(manifest, name, NULL, 0, meaning);
    }
}

/* ---- results that are handed in -------------------------------------------------------------- */

static const char *text_at(const json_t *root, const char *outer, const char *inner) {
    const char *text = json_string_value(json_object_get(json_object_get(root, outer), inner));
    return text ? text : "";
}

static kh_status differs(const char *folder, const char *what, const char *there, const char *here,
                         kh_error *err) {
    char shown[3][KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG, "'%s' was made with another %s: there %s, here %s",
                   kh_shown(folder, strlen(folder), shown[0], sizeof shown[0]), what,
                   kh_shown(there, strlen(there), shown[1], sizeof shown[1]),
                   kh_shown(here, strlen(here), shown[2], sizeof shown[2]));
}

/* Random weights have no sha256; their source and tag (with the seed) say which they are. */
static kh_status check_model(const json_t *root, const char *folder, const kh_model_info *info,
                             kh_error *err) {
    char there[1024], here[1024];
    const char *sha = text_at(root, "model", "sha256");
    (void)snprintf(there, sizeof there, "%s%s%s", sha[0] ? sha : text_at(root, "model", "source"),
                   sha[0] ? "" : " ", sha[0] ? "" : text_at(root, "model", "tag"));
    (void)snprintf(here, sizeof here, "%s%s%s", info->sha256[0] ? info->sha256 : info->source,
                   info->sha256[0] ? "" : " ", info->sha256[0] ? "" : info->tag);
    return strcmp(there, here) == 0 ? KH_OK : differs(folder, "checkpoint", there, here, err);
}

static kh_status check_images(const json_t *root, const char *folder, const kh_source *source,
                              kh_error *err) {
    char here[65], texts[2][128];
    const char *there = text_at(root, "images", "sha256");
    size_t count = 0;
    (void)kh_json_size(json_object_get(json_object_get(root, "images"), "count"), &count);
    KH_TRY(kh_source_sha256(source, here, err));
    if (count == kh_source_count(source) && strcmp(there, here) == 0) return KH_OK;
    (void)snprintf(texts[0], sizeof texts[0], "%zu (list %.12s)", count, there);
    (void)snprintf(texts[1], sizeof texts[1], "%zu (list %.12s)", kh_source_count(source), here);
    return differs(folder, "set of images", texts[0], texts[1], err);
}

kh_status kh_outdir_check_origin(const char *folder, const char *option, const char *analysis,
                                 const kh_model_info *info, const kh_source *source,
                                 kh_error *err) {
    char path[4096], shown[KH_SHOWN_BYTES];
    json_t *root = NULL;
    (void)kh_shown(folder, strlen(folder), shown, sizeof shown);
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "manifest.json"));
    if (!kh_file_exists(path))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "%s '%s': no results of keyhole %s (it has no manifest.json)", option, shown,
                       analysis);
    KH_TRY(kh_json_read_own(path, "manifest.json", &root, err));
    kh_status status = KH_OK;
    const char *found = json_string_value(json_object_get(root, "analysis"));
    if (!found || strcmp(found, analysis) != 0)
        status = kh_fail(err, KH_E_ARG, "%s '%s': its manifest.json is not that of keyhole %s",
                         option, shown, analysis);
    if (!status) status = check_model(root, folder, info, err);
    if (!status && source) status = check_images(root, folder, source, err);
    json_decref(root);
    return status;
}
