/* Operands of an image set that are not there: which part of the path is wrong, and what it may
 * have meant. */
#define _POSIX_C_SOURCE 200809L
#include "io/source.h"

#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_BYTES = 4096, MOST_ENTRIES = 10000 };

/* Of the first part of the path that is not there: where it begins and ends. Parts behind a file
 * that is no folder are not there either. */
static void find_missing(char *path, size_t *begin, size_t *end) {
    struct stat info;
    size_t at = strspn(path, "/");
    for (;;) {
        *begin = at;
        at += strcspn(path + at, "/");
        *end = at;
        const char kept = path[at];
        if (!kept) return;
        path[at] = '\0';
        const bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
        path[at] = kept;
        if (!is_folder) return;
        at += strspn(path + at, "/");
        if (!path[at]) return;
    }
}

/* The entry of a folder that is most like `name`, if one is like it. */
static bool find_like(const char *folder, const char *name, size_t length, char out[256]) {
    size_t best = (length < 9 ? length / 3 : 3) + 2, seen = 0; /* fewer changes than this */
    DIR *listing = opendir(folder);
    out[0] = '\0';
    for (const struct dirent *at; listing && (at = readdir(listing)) && seen < MOST_ENTRIES;) {
        const size_t size = strlen(at->d_name);
        if (at->d_name[0] == '.' || size >= 256) continue;
        const size_t distance = kh_edit_distance(name, length, at->d_name, size);
        const bool is_tie = distance == best && out[0] && strcmp(at->d_name, out) < 0;
        seen++;
        if (distance > best || (distance == best && !is_tie)) continue;
        best = distance;
        memcpy(out, at->d_name, size + 1);
    }
    if (listing) (void)closedir(listing);
    return out[0] != '\0';
}

/* ", did you mean ..." or "" */
static void suggest(const char *operand, char *out, size_t out_bytes) {
    struct stat info;
    char path[PATH_BYTES], folder[PATH_BYTES], like[256], whole[PATH_BYTES + 256];
    char shown[KH_SHOWN_BYTES];
    size_t begin, end;
    out[0] = '\0';
    if ((size_t)snprintf(path, sizeof path, "%s", operand) >= sizeof path) return;
    find_missing(path, &begin, &end);
    (void)snprintf(folder, sizeof folder, "%.*s", begin ? (int)begin : 1, begin ? path : ".");
    if (find_like(folder, path + begin, end - begin, like)) {
        (void)snprintf(whole, sizeof whole, "%.*s%s%s", (int)begin, path, like, path + end);
        if (stat(whole, &info) == 0) {
            (void)snprintf(out, out_bytes, "; did you mean '%s'?",
                           kh_shown(whole, strlen(whole), shown, sizeof shown));
            return;
        }
    }
    if (path[end])
        (void)snprintf(out, out_bytes, "; there is no folder '%s'",
                       kh_shown(path, end, shown, sizeof shown));
}

kh_status kh_source_check_operand(const char *operand, kh_error *err) {
    struct stat info;
    char shown[KH_SHOWN_BYTES], hint[KH_SHOWN_BYTES + 40];
    if (stat(operand, &info) == 0) return KH_OK;
    const int why = errno;
    (void)kh_shown(operand, strlen(operand), shown, sizeof shown);
    if (why != ENOENT && why != ENOTDIR)
        return kh_fail(err, KH_E_IO, "cannot open '%s': %s", shown, strerror(why));
    suggest(operand, hint, sizeof hint);
    return kh_fail(err, KH_E_NOT_FOUND, "no image, folder or archive '%s' is there%s", shown,
                   hint[0] ? hint : "; check the path");
}
