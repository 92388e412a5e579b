/* Image sets from folders and lists of paths. */
#define _POSIX_C_SOURCE 200809L
#include "io/source.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/text.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FOLDER_DEPTH = 16 };

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static kh_status walk(kh_source *source, const char *path, int depth, kh_error *err) {
    struct dirent **entries = NULL;
    const int count = scandir(path, &entries, NULL, by_bytes);
    char shown[KH_SHOWN_BYTES];
    kh_shown(path, strlen(path), shown, sizeof shown);
    if (count < 0) return kh_fail(err, KH_E_IO, "cannot read folder '%s'", shown);
    kh_status status = KH_OK;
    if (depth > MAX_FOLDER_DEPTH)
        status = kh_fail(err, KH_E_LIMIT, "folder '%s' lies more than %d folders deep", shown,
                         MAX_FOLDER_DEPTH);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (!status && name[0] != '.') {
            char *inner = kh_path_join(path, name);
            if (!inner)
                status = kh_fail(err, KH_E_MEMORY, "no memory for a path");
            else if (kh_is_directory(inner))
                status = walk(source, inner, depth + 1, err);
            else if (kh_is_image_name(name))
                status = kh_source_add(source, inner, KH_NO_CLASS, err);
            kh_free(inner);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

kh_status kh_source_add_folder(kh_source *source, const char *path, kh_error *err) {
    const size_t before = source->count;
    KH_TRY(walk(source, path, 0, err));
    char shown[KH_SHOWN_BYTES];
    if (source->count == before)
        return kh_fail(err, KH_E_NOT_FOUND, "folder '%s' has no .jpg, .jpeg, .png or .webp files",
                       kh_shown(path, strlen(path), shown, sizeof shown));
    return KH_OK;
}

/* Cuts "path<tab>label" or "picture.jpg label" in two; NULL when the line is a path alone. */
static char *cut_label(char *line) {
    char *tab = strrchr(line, '\t');
    if (tab) {
        *tab = '\0';
        return tab + 1;
    }
    for (char *blank = strchr(line, ' '); blank; blank = strchr(blank + 1, ' ')) {
        *blank = '\0';
        const bool is_image = kh_is_image_name(line);
        if (is_image && blank[1] != '\0') return blank + 1;
        *blank = ' ';
    }
    return NULL;
}

static kh_status add_line(kh_source *source, char *line, kh_error *err) {
    /* without classes nobody asks for labels, and a blank may belong to the name */
    const char *label = source->classes ? cut_label(line) : NULL;
    size_t truth = KH_NO_CLASS;
    if (label && !kh_label_class(source->classes, label, &truth)) {
        char shown[KH_SHOWN_BYTES], about[KH_SHOWN_BYTES];
        return kh_fail(err, KH_E_FORMAT, "list: '%s', label of '%s', is no class of this model",
                       kh_shown(label, strlen(label), shown, sizeof shown),
                       kh_shown(line, strlen(line), about, sizeof about));
    }
    return kh_source_add(source, line, truth, err);
}

kh_status kh_source_add_list(kh_source *source, const char *path, kh_error *err) {
    unsigned char *bytes = NULL;
    size_t count = 0;
    KH_TRY(kh_file_read(path, source->limits.max_label_bytes, &bytes, &count, err));
    kh_status status = KH_OK;
    char *rest = NULL;
    for (char *line = strtok_r((char *)bytes, "\n", &rest); line && !status;
         line = strtok_r(NULL, "\n", &rest)) {
        const size_t length = strlen(line);
        if (length && line[length - 1] == '\r') line[length - 1] = '\0';
        if (*line) status = add_line(source, line, err);
    }
    kh_free(bytes);
    return status;
}
