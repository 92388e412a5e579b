/* The folder of a data set: what it says of itself, what an earlier run left in it. */
#define _POSIX_C_SOURCE 200809L
#include "diorama/broden.h"

#include "base/alloc.h"
#include "base/folder.h"
#include "base/json.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *path_in(const kh_broden *b, char out[4096], const char *name) {
    (void)snprintf(out, 4096, "%s/%s", b->folder, name);
    return out;
}

static bool is_there(const kh_broden *b, const char *name) {
    char path[4096];
    return kh_file_exists(path_in(b, path, name));
}

/* ---- the manifest ---------------------------------------------------------------------------- */

static json_t *class_names(const kh_broden *b) {
    json_t *names = json_array();
    for (size_t i = 0; i < b->class_count; i++)
        (void)json_array_append_new(names, kh_json_text(kh_diorama_class_name(b->classes[i])));
    return names;
}

/* What makes two sets the same. */
static json_t *settings_json(const kh_broden *b) {
    const kh_diorama_set *s = &b->set;
    return json_pack("{s:I, s:I, s:I, s:I, s:b, s:b, s:o, s:s}", "seed", (json_int_t)s->seed,
                     "start", (json_int_t)s->start, "count", (json_int_t)s->count, "size",
                     (json_int_t)s->size, "shortcuts", !(s->flags & KH_DIORAMA_NO_SHORTCUTS),
                     "labels", !s->no_labels, "classes", class_names(b), "fingerprint",
                     b->fingerprint);
}

/* A command that makes the same set. */
static json_t *command_json(const kh_broden *b) {
    const kh_diorama_set *s = &b->set;
    kh_text text = {0};
    kh_text_addf(&text, "keyhole diorama --count %llu --seed %llu --start %llu --size %u",
                 (unsigned long long)s->count, (unsigned long long)s->seed,
                 (unsigned long long)s->start, s->size);
    if (s->flags & KH_DIORAMA_NO_SHORTCUTS) kh_text_add(&text, " --no-shortcuts");
    if (s->no_labels) kh_text_add(&text, " --no-labels");
    if (b->class_count < kh_diorama_class_count())
        for (size_t i = 0; i < b->class_count; i++)
            kh_text_addf(&text, "%s%s", i ? "," : " --class ",
                         kh_diorama_class_name(b->classes[i]));
    json_t *json = text.failed ? NULL : kh_json_text(text.data);
    kh_text_clear(&text);
    return json;
}

static json_t *files_json(const kh_broden *b) {
    static const char *const files[][2] = {
        {"images/scenes", "pictures in class folders"},
        {"index.csv", "pictures with their label maps"},
        {"scenes.csv", "what every picture shows"},
        {"classes.csv", "classes, their relatives and planted shortcuts"},
        {"labels.txt", "class names, one a line"},
        {"images/labels", "label maps, label = R + 256 G"}, /* from here on: with labels */
        {"captions.csv", "regions in words"},
        {"label.csv", "labels, in how many pictures and how many of their pixels"},
        {"category.csv", "categories of labels"},
        {"c_<category>.csv", "labels of one category, most frequent first"},
    };
    const size_t count = b->set.no_labels ? 5 : sizeof files / sizeof *files;
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(
            list, json_pack("{s:s, s:s}", "name", files[i][0], "meaning", files[i][1]));
    return list;
}

static kh_status write_manifest(const kh_broden *b, kh_error *err) {
    json_t *root = json_pack("{s:i, s:s, s:s, s:o, s:o, s:o}", "format", 1, "keyhole", kh_version(),
                             "analysis", "diorama", "diorama", settings_json(b), "command",
                             command_json(b), "files", files_json(b));
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    kh_text line = {0};
    if (text) kh_text_addf(&line, "%s\n", text);
    char path[4096];
    const kh_status status =
        text && !line.failed
            ? kh_file_write(path_in(b, path, "manifest.json"), line.data, line.length, err)
            : kh_fail(err, KH_E_MEMORY, "no memory for a manifest");
    kh_text_clear(&line);
    free(text);
    return status;
}

/* The "diorama" object of the manifest that is there; NULL when it is none of ours. */
static json_t *read_settings(const kh_broden *b) {
    char path[4096];
    unsigned char *bytes = NULL;
    size_t count = 0;
    json_t *root = NULL, *found = NULL;
    const kh_json_limits limits = {.max_depth = 8, .max_values = 100000};
    if (kh_file_read(path_in(b, path, "manifest.json"), 1u << 20, &bytes, &count, NULL) == KH_OK &&
        kh_json_parse_object((const char *)bytes, count, limits, "manifest.json", &root, NULL) ==
            KH_OK)
        found = json_incref(json_object_get(root, "diorama"));
    json_decref(root);
    kh_free(bytes);
    return found;
}

/* ---- what is already there ------------------------------------------------------------------- */

/* The first setting that differs, in words: "seed 1, not 2". */
static void say_difference(json_t *there, json_t *wanted, char *out, size_t out_bytes) {
    const char *key;
    json_t *value;
    (void)snprintf(out, out_bytes, "results of another command");
    if (!there) return;
    json_object_foreach(wanted, key, value) {
        const json_t *other = json_object_get(there, key);
        if (json_equal(other, value)) continue;
        if (json_is_integer(value) && json_is_integer(other))
            (void)snprintf(out, out_bytes, "scenes with %s %lld, not %lld", key,
                           (long long)json_integer_value(other),
                           (long long)json_integer_value(value));
        else if (strcmp(key, "fingerprint") == 0)
            (void)snprintf(out, out_bytes, "scenes as another version of keyhole drew them");
        else
            (void)snprintf(out, out_bytes, "scenes with other %s", key);
        return;
    }
}

/* A set whose manifest is right may still have lost pictures or tables since. */
static bool is_whole(const kh_broden *b) {
    char path[4096], picture[160];
    static const char *const tables[] = {"index.csv", "scenes.csv", "classes.csv"};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (!is_there(b, tables[i])) return false;
    for (uint64_t k = 0; k < b->set.count; k++) {
        const uint64_t index = kh_broden_index(b, k);
        const kh_diorama_scene scene = {.index = index,
                                        .class_index = (size_t)(index % kh_diorama_class_count())};
        kh_broden_picture(&scene, picture, sizeof picture);
        (void)snprintf(path, sizeof path, "%s/images/%s", b->folder, picture);
        if (!kh_file_exists(path)) return false;
    }
    return true;
}

kh_status kh_broden_folder_check(const kh_broden *b, bool *is_complete, kh_error *err) {
    char shown[KH_SHOWN_BYTES], what[160];
    *is_complete = false;
    kh_shown(b->folder, strlen(b->folder), shown, sizeof shown);
    if (is_there(b, "manifest.json")) {
        json_t *there = read_settings(b), *wanted = settings_json(b);
        const bool is_ours = there != NULL;
        const bool is_same = there && wanted && json_equal(there, wanted);
        *is_complete = is_same && is_whole(b);
        say_difference(there, wanted, what, sizeof what);
        json_decref(there);
        json_decref(wanted);
        if (is_same || (b->set.overwrite && is_ours)) return KH_OK;
        if (is_ours)
            return kh_fail(err, KH_E_ARG,
                           "'%s' already holds %s; choose another --out or add --overwrite", shown,
                           what);
    } else if (kh_folder_is_marked(b->folder, "diorama") || !kh_is_directory(b->folder) ||
               kh_folder_is_empty(b->folder)) {
        return KH_OK; /* what lies beside the mark is ours and may be removed */
    }
    return kh_fail(err, KH_E_ARG,
                   "'%s' holds files that are no set of scenes; choose another --out", shown);
}

/* Removes files whose name begins with a digit (of a scene) or ends in .partial, then the folder if
 * nothing else is in it. */
static void clear_pictures(const char *folder) {
    DIR *dir = opendir(folder);
    if (!dir) return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const char *name = entry->d_name;
        if (!kh_ends_with(name, ".png") && !kh_ends_with(name, ".partial")) continue;
        char *path = name[0] >= '0' && name[0] <= '9' ? kh_path_join(folder, name) : NULL;
        if (path) (void)unlink(path);
        kh_free(path);
    }
    (void)closedir(dir);
    (void)rmdir(folder);
}

static void clear_classes(const kh_broden *b, const char *below) {
    char path[4096];
    for (size_t c = 0; c < kh_diorama_class_count(); c++) {
        (void)snprintf(path, sizeof path, "%s/%s/%s", b->folder, below, kh_diorama_class_name(c));
        clear_pictures(path);
    }
    (void)rmdir(path_in(b, path, below));
}

static void map_folder(size_t category, char out[64]) {
    (void)snprintf(out, 64, "images/labels/%s",
                   kh_diorama_category_name((kh_diorama_category)category));
}

static void clear_tables(const kh_broden *b) {
    static const char *const names[] = {"index.csv",    "scenes.csv",  "captions.csv", "label.csv",
                                        "category.csv", "classes.csv", "labels.txt"};
    char path[4096], name[80];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unlink(path_in(b, path, names[i]));
    for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++) {
        (void)snprintf(name, sizeof name, "c_%s.csv",
                       kh_diorama_category_name((kh_diorama_category)c));
        (void)unlink(path_in(b, path, name));
    }
    DIR *dir = opendir(b->folder);
    if (!dir) return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (kh_ends_with(entry->d_name, ".partial")) (void)unlink(path_in(b, path, entry->d_name));
    (void)closedir(dir);
}

kh_status kh_broden_folder_begin(const kh_broden *b, kh_error *err) {
    char path[4096], below[64];
    KH_TRY(kh_folder_mark(b->folder, "diorama", err));
    if (unlink(path_in(b, path, "manifest.json")) != 0 && errno != ENOENT)
        return kh_fail(err, KH_E_IO, "cannot replace '%s': %s", path, strerror(errno));
    clear_tables(b);
    clear_classes(b, "images/scenes");
    for (size_t c = 0; c < KH_DIORAMA_CATEGORIES; c++) {
        map_folder(c, below);
        clear_classes(b, below);
    }
    (void)rmdir(path_in(b, path, "images/labels"));
    /* the first scenes are one of each class; a folder without a picture would stop timm */
    for (uint64_t i = 0; i < b->class_count && i < b->set.count; i++) {
        const uint64_t index = kh_broden_index(b, i);
        const char *class_name = kh_diorama_class_name((size_t)(index % kh_diorama_class_count()));
        (void)snprintf(path, sizeof path, "%s/images/scenes/%s", b->folder, class_name);
        KH_TRY(kh_make_directories(path, err));
        for (size_t c = 0; c < KH_DIORAMA_CATEGORIES && !b->set.no_labels; c++) {
            map_folder(c, below);
            (void)snprintf(path, sizeof path, "%s/%s/%s", b->folder, below, class_name);
            KH_TRY(kh_make_directories(path, err));
        }
    }
    return KH_OK;
}

kh_status kh_broden_folder_end(const kh_broden *b, kh_error *err) {
    KH_TRY(kh_folder_flush(b->folder, err));
    KH_TRY(write_manifest(b, err));
    kh_folder_unmark(b->folder);
    return KH_OK;
}
