#define _POSIX_C_SOURCE 200809L
#include "base/folder.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const char mark_begins[] = "The results of keyhole ";
static const char mark_ends[] = " here are not complete. Run the command again.\n";

/* What a fresh file system holds: nobody's work. */
static bool is_of_nobody(const char *path, const char *name) {
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return true;
    if (strcmp(name, "lost+found") != 0) return false;
    char *inner = kh_path_join(path, name);
    const bool is_folder = inner && kh_is_directory(inner);
    kh_free(inner);
    return is_folder;
}

/* errno of a folder that cannot be read, else 0. */
static int look_into(const char *path, bool *is_empty) {
    DIR *listing = opendir(path);
    const int why = listing ? 0 : errno;
    *is_empty = listing || why == ENOENT;
    for (const struct dirent *at; listing && *is_empty && (at = readdir(listing));)
        *is_empty = is_of_nobody(path, at->d_name);
    if (listing) (void)closedir(listing);
    return *is_empty ? 0 : why;
}

bool kh_folder_is_empty(const char *path) {
    bool is_empty;
    (void)look_into(path, &is_empty);
    return is_empty;
}

/* What the mark says, "" for one that was killed before it was written; false without one. */
static bool read_mark(const char *path, char analysis[64]) {
    const size_t head = sizeof mark_begins - 1;
    char *name = kh_path_join(path, KH_FOLDER_MARK);
    unsigned char *bytes = NULL;
    size_t count = 0;
    const bool is_there = name && kh_file_exists(name) && !kh_is_directory(name) &&
                          kh_file_read(name, 1 << 12, &bytes, &count, NULL) == KH_OK;
    bool is_ours = is_there && count == 0;
    analysis[0] = '\0';
    if (is_there && count > head && memcmp(bytes, mark_begins, head) == 0) {
        const char *what = (const char *)bytes + head;
        const size_t length = strcspn(what, " ");
        is_ours = length < 64;
        if (is_ours) memcpy(analysis, what, length);
        if (is_ours) analysis[length] = '\0';
    }
    kh_free(bytes);
    kh_free(name);
    return is_ours;
}

bool kh_folder_is_marked(const char *path, const char *analysis) {
    char found[64];
    return read_mark(path, found) && (!found[0] || strcmp(found, analysis) == 0);
}

static kh_status check_manifest(const char *manifest, const char *shown, const char *analysis,
                                bool may_replace, kh_error *err) {
    char other[KH_SHOWN_BYTES];
    json_t *root = NULL;
    kh_status status = KH_OK;
    (void)kh_json_read_own(manifest, "manifest.json", &root, NULL);
    const char *found = json_string_value(json_object_get(root, "analysis"));
    if (!found)
        status = kh_fail(err, KH_E_ARG,
                         "'%s' holds a manifest.json that is not of keyhole, or damaged; choose "
                         "another --out, or empty it",
                         shown);
    else if (strcmp(found, analysis) != 0)
        status = kh_fail(err, KH_E_ARG,
                         "'%s' holds results of keyhole %s; choose another --out, or empty it",
                         shown, kh_shown(found, strlen(found), other, sizeof other));
    else if (!may_replace)
        status =
            kh_fail(err, KH_E_ARG,
                    "'%s' already holds results; choose another --out or add --overwrite", shown);
    json_decref(root);
    return status;
}

static kh_status check_strangers(const char *path, const char *shown, const char *analysis,
                                 kh_error *err) {
    bool is_empty;
    const int why = look_into(path, &is_empty);
    if (is_empty || why == ENOTDIR) return KH_OK; /* who makes it says that it cannot be */
    if (why) return kh_fail(err, KH_E_IO, "cannot read folder '%s': %s", shown, strerror(why));
    return kh_fail(err, KH_E_ARG,
                   "'%s' holds files that are no results of keyhole %s; choose another --out, or "
                   "empty it",
                   shown, analysis);
}

kh_status kh_folder_check(const char *path, const char *analysis, bool may_replace, bool knows,
                          kh_error *err) {
    char shown[KH_SHOWN_BYTES], found[64];
    (void)kh_shown(path, strlen(path), shown, sizeof shown);
    char *manifest = kh_path_join(path, "manifest.json");
    if (!manifest) return kh_fail(err, KH_E_MEMORY, "no memory for a path");
    kh_status status = KH_OK;
    if (kh_file_exists(manifest)) {
        status = check_manifest(manifest, shown, analysis, may_replace, err);
    } else if (read_mark(path, found)) {
        if (found[0] && strcmp(found, analysis) != 0)
            status = kh_fail(err, KH_E_ARG,
                             "'%s' holds results of keyhole %s that are not complete; choose "
                             "another --out, or empty it",
                             shown, found);
    } else if (!knows) {
        status = check_strangers(path, shown, analysis, err);
    }
    kh_free(manifest);
    return status;
}

/* In place, not as a partial file that is renamed: a run that is killed here must leave nothing
 * that the next one takes for somebody's. */
static kh_status write_mark(const char *name, const char *text, size_t count, kh_error *err) {
    const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    const char *verb = fd < 0 ? "create" : "write";
    int why = fd < 0 ? errno : 0;
    if (fd >= 0) {
        const ssize_t put = write(fd, text, count);
        if (put < 0) why = errno;
        if (put >= 0 && (size_t)put < count) why = ENOSPC;
        if (close(fd) != 0 && !why) why = errno;
    }
    if (!why) return KH_OK;
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_IO, "cannot %s '%s': %s", verb,
                   kh_shown(name, strlen(name), shown, sizeof shown), strerror(why));
}

kh_status kh_folder_mark(const char *path, const char *analysis, kh_error *err) {
    kh_text text = {0};
    KH_TRY(kh_make_directories(path, err));
    char *name = kh_path_join(path, KH_FOLDER_MARK);
    kh_text_addf(&text, "%s%s%s", mark_begins, analysis, mark_ends);
    kh_status status =
        name && !text.failed ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a path");
    if (!status) status = write_mark(name, text.data, text.length, err);
    kh_text_clear(&text);
    kh_free(name);
    return status;
}

void kh_folder_unmark(const char *path) {
    char *name = kh_path_join(path, KH_FOLDER_MARK);
    if (name) (void)unlink(name); /* one that stays beside a manifest is in nobody's way */
    kh_free(name);
}
