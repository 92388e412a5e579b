/* The list of pages of an atlas run, and drawing them. */
#define _POSIX_C_SOURCE 200809L
#include "cli/run_figures.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/json.h"
#include "base/partial.h"
#include "cli/outdir.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void fig5_d1(kh_plate *p) {
    kh_draw_distances(p, "D1", 1);
}
static void fig5_d2(kh_plate *p) {
    kh_draw_distances(p, "D2", 1);
}
static void fig5_d3(kh_plate *p) {
    kh_draw_distances(p, "D3", 1);
}
static void fig6_d1(kh_plate *p) {
    kh_draw_distances(p, "D1", 3);
}
static void fig6_d2(kh_plate *p) {
    kh_draw_distances(p, "D2", 3);
}
static void fig6_d3(kh_plate *p) {
    kh_draw_distances(p, "D3", 3);
}

/* A page is drawn when its table is there and has rows. */
static const struct {
    const char *stem, *table;
    bool in_truth;
    void (*draw)(kh_plate *plate);
} pages[] = {
    {"accuracy", "class_accuracy", false, kh_draw_accuracy},
    {"confusion", "confusion", false, kh_draw_confusion},
    {"fig4", "concentration", false, kh_draw_class_mean},
    {"concentration", "class_overlap", false, kh_draw_concentration},
    {"distances", "distances", false, kh_draw_distances_lines},
    {"fig5_D1", "distances", false, fig5_d1},
    {"fig5_D2", "distances", false, fig5_d2},
    {"fig5_D3", "distances", false, fig5_d3},
    {"fig6_D1", "distances", false, fig6_d1},
    {"fig6_D2", "distances", false, fig6_d2},
    {"fig6_D3", "distances", false, fig6_d3},
    {"thresholds", "neurons", false, kh_draw_thresholds},
    {"channels", "channels", false, kh_draw_channels},
    {"reads_writes", "reads_writes", false, kh_draw_reads_writes},
    {"selectivity", "selectivity", false, kh_draw_selectivity},
    {"attribution", "attribution", false, kh_draw_attribution},
    {"cumulative", "attribution", false, kh_draw_cumulative},
    {"audit", "audit", false, kh_draw_audit},
    {"identifiability", "identifiability", false, kh_draw_identifiability},
    {"composition", "composition", false, kh_draw_composition},
    {"key_value", "kv_blocks", false, kh_draw_key_value},
    {"detectors", "detectors", true, kh_draw_detectors},
    {"regions", "regions", true, kh_draw_regions},
    {"masks", "masks", true, kh_draw_masks},
};
enum { PAGES = sizeof pages / sizeof *pages };

static kh_status folder_path(const char *run, char *out, size_t room, kh_error *err) {
    return kh_outdir_path(run, out, room, err, "figures");
}

bool kh_run_is_drawn(const char *path) {
    char list[4200];
    return !kh_outdir_path(path, list, sizeof list, NULL, "figures/figures.json") &&
           kh_file_exists(list);
}

/* ---- what a drawing leaves when it is stopped ------------------------------------------------ */

static bool is_one_of_a_class(const char *name, size_t length) {
    static const char fig4[] = "fig4_";
    const size_t head = sizeof fig4 - 1;
    return length > head && memcmp(name, fig4, head) == 0 &&
           strspn(name + head, "0123456789") >= length - head;
}

/* "fig4_12.svg" in name[0..length): a page that is drawn here, or their list. */
static bool is_page(const char *name, size_t length) {
    static const char list[] = "figures.json";
    enum { ENDING = 4 };
    if (length == sizeof list - 1 && memcmp(name, list, length) == 0) return true;
    if (length <= ENDING || (memcmp(name + length - ENDING, ".png", ENDING) != 0 &&
                             memcmp(name + length - ENDING, ".svg", ENDING) != 0))
        return false;
    const size_t stem = length - ENDING;
    for (size_t i = 0; i < PAGES; i++)
        if (strlen(pages[i].stem) == stem && memcmp(pages[i].stem, name, stem) == 0) return true;
    return is_one_of_a_class(name, stem);
}

/* Files that were being written, and all pages of a drawing that did not come to its end. */
static void sweep(const char *folder) {
    char path[4400];
    const bool is_unfinished = kh_folder_is_marked(folder, "figures");
    DIR *listing = opendir(folder);
    for (const struct dirent *entry; listing && (entry = readdir(listing));) {
        const size_t base = kh_partial_base(entry->d_name);
        if (!is_page(entry->d_name, base ? base : strlen(entry->d_name)) ||
            kh_outdir_path(folder, path, sizeof path, NULL, "%s", entry->d_name))
            continue;
        if (base) kh_partial_remove(path);
        if (!base && is_unfinished) (void)unlink(path);
    }
    if (listing) (void)closedir(listing);
}

void kh_run_discard_figures(const char *path) {
    char folder[4200];
    if (folder_path(path, folder, sizeof folder, NULL)) return;
    sweep(folder);
    if (kh_folder_is_marked(folder, "figures")) kh_folder_unmark(folder);
    (void)rmdir(folder);
}

/* What the last drawing has listed, as the run may not have it any more. */
static void remove_listed(const char *folder, const char *list) {
    static const char *const endings[] = {"png", "svg"};
    char path[4400];
    size_t i;
    json_t *root = NULL, *page;
    if (!kh_file_exists(list) || kh_json_read_own(list, "figures.json", &root, NULL)) return;
    json_array_foreach(json_object_get(root, "figures"), i, page) {
        const char *name = json_string_value(json_object_get(page, "name"));
        for (size_t k = 0; name && name[0] != '.' && !strchr(name, '/') && k < 2; k++)
            if (!kh_outdir_path(folder, path, sizeof path, NULL, "%s.%s", name, endings[k]))
                (void)unlink(path);
    }
    json_decref(root);
}

/* ---- drawing --------------------------------------------------------------------------------- */

static kh_status write_list(const char *folder, json_t *list, kh_error *err) {
    char path[4400];
    json_t *root = json_pack("{s:O}", "figures", list);
    char *text = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
    kh_status status = text ? kh_outdir_path(folder, path, sizeof path, err, "figures.json")
                            : kh_fail(err, KH_E_MEMORY, "no memory for the list of figures");
    if (!status) status = kh_file_write(path, text, strlen(text), err);
    free(text);
    json_decref(root);
    return status;
}

static kh_status draw_pages(kh_plate *p, const kh_run_draw_options *o, kh_error *err) {
    for (size_t i = 0; i < PAGES && !p->status; i++) {
        if (o->progress && !o->progress(o->user, "figures", i, PAGES))
            p->status = kh_fail(err, KH_E_STOPPED, "drawing was stopped");
        else if (kh_run_has(p->run, pages[i].in_truth, pages[i].table))
            pages[i].draw(p);
        kh_plate_close(p, pages[i].stem);
    }
    for (size_t i = 0; i < o->class_count && !p->status; i++) {
        char stem[40];
        (void)snprintf(stem, sizeof stem, "fig4_%zu", o->classes[i]);
        p->only_class = o->classes[i];
        if (kh_run_has(p->run, false, "concentration")) kh_draw_class_mean(p);
        kh_plate_close(p, stem);
    }
    if (o->progress) (void)o->progress(o->user, "figures", PAGES, PAGES);
    return p->status;
}

kh_status kh_run_check_folder(const char *folder, kh_error *err) {
    char path[4400];
    json_t *root = NULL;
    KH_TRY(kh_outdir_path(folder, path, sizeof path, err, "figures.json"));
    const bool is_ours = kh_file_exists(path) && !kh_json_read_own(path, path, &root, NULL) &&
                         json_is_array(json_object_get(root, "figures"));
    json_decref(root);
    KH_TRY(kh_folder_check(folder, "figures", true, is_ours, err));
    return kh_outdir_check_can_make(folder, err);
}

kh_status kh_run_draw(const char *path, const char *folder, kh_progress_fn progress, void *user,
                      size_t *drawn, kh_error *err) {
    const kh_run_draw_options how = {.folder = folder, .progress = progress, .user = user};
    return kh_run_draw_with(path, &how, drawn, err);
}

kh_status kh_run_draw_with(const char *path, const kh_run_draw_options *options, size_t *drawn,
                           kh_error *err) {
    char own[4200], list[4400];
    kh_run run;
    KH_TRY(folder_path(path, own, sizeof own, err));
    const char *folder = options->folder ? options->folder : own;
    if (options->folder) KH_TRY(kh_run_check_folder(folder, err)); /* the run's own is the run's */
    KH_TRY(kh_run_open(path, &run, err));
    kh_plate *p = kh_calloc(1, sizeof *p);
    json_t *all = json_array();
    kh_status status = KH_OK;
    if (!p || !all) status = kh_fail(err, KH_E_MEMORY, "no memory for figures");
    if (!status) sweep(folder);
    if (!status) status = kh_folder_mark(folder, "figures", err);
    if (!status) status = kh_outdir_path(folder, list, sizeof list, err, "figures.json");
    if (!status) {
        remove_listed(folder, list);
        (void)unlink(list); /* it says that all are there */
        p->run = &run;
        p->folder = folder;
        p->list = all;
        p->err = err;
        p->only_class = KH_NO_CLASS;
        status = draw_pages(p, options, err);
    }
    if (!status) status = write_list(folder, all, err);
    if (!status) kh_folder_unmark(folder);
    if (drawn) *drawn = json_array_size(all);
    json_decref(all);
    kh_free(p);
    kh_run_close(&run);
    return status;
}
