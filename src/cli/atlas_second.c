/* The second pass of atlas and merge, for --truth: a run of its own in OUT/dissect. */
#include "cli/atlas.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define FOLDER "dissect"

/* ---- is it there? ---------------------------------------------------------------------------- */

/* Anything at all: tables, facts of a run that was stopped before its first state, states. */
bool kh_atlas_second_has_run(const char *run) {
    static const char *const files[] = {"manifest.json", "fingerprint.json"};
    char path[KH_SECOND_PATH];
    kh_atlas_status there;
    for (size_t i = 0; i < 2; i++)
        if (!kh_outdir_path(run, path, sizeof path, NULL, FOLDER "/%s", files[i]) &&
            kh_file_exists(path))
            return true;
    return !kh_outdir_path(run, path, sizeof path, NULL, FOLDER) &&
           kh_atlas_look(path, &there, NULL) == KH_OK;
}

/* Asked twice, as kh_atlas asks of its own directory: another process may begin just now. */
kh_status kh_atlas_second_check(const char *run, bool overwrite, kh_error *err) {
    char path[KH_SECOND_PATH];
    KH_TRY(kh_outdir_path(run, path, sizeof path, err, FOLDER));
    if (kh_folder_check(path, "atlas", true, overwrite, NULL) == KH_OK) return KH_OK;
    return kh_folder_check(path, "atlas", true, overwrite || kh_atlas_second_has_run(run), err);
}

bool kh_atlas_second_is_there(const kh_atlas_options *first) {
    bool is_there = kh_atlas_second_has_run(first->out);
    for (size_t i = 0; i < first->other_run_count && !is_there; i++)
        is_there = kh_atlas_second_has_run(first->other_runs[i]);
    return is_there;
}

bool kh_atlas_second_is_missing(const char *run) {
    char path[KH_SECOND_PATH];
    return !kh_atlas_second_has_run(run) && !kh_outdir_path(run, path, sizeof path, NULL, FOLDER) &&
           kh_folder_is_marked(path, "atlas");
}

kh_status kh_atlas_second_mark(const char *run, kh_error *err) {
    char path[KH_SECOND_PATH];
    KH_TRY(kh_outdir_path(run, path, sizeof path, err, FOLDER));
    return kh_folder_mark(path, "atlas", err);
}

void kh_atlas_second_say_missing(const char *operands, const char *run, const char *truth) {
    char shown[3][KH_SHOWN_BYTES];
    const char *const texts[] = {operands, run, truth};
    for (size_t i = 0; i < 3; i++)
        (void)kh_shown(texts[i], strlen(texts[i]), shown[i], sizeof shown[i]);
    printf(
        "The second pass, for --truth, is missing: it needs the thresholds of the first, which is"
        " complete now. Next, with the same options:\n"
        "  keyhole atlas%s --out %s --truth %s --shard I/N   # every part again\n"
        "  keyhole merge%s --out %s --truth %s               # then this again\n",
        shown[0], shown[1], shown[2], shown[0], shown[1], shown[2]);
}

/* ---- what it is given ------------------------------------------------------------------------ */

static kh_status list_others(kh_atlas_second *s, const kh_atlas_options *first, kh_error *err) {
    const size_t count = first->other_run_count;
    s->options.other_run_count = 0;
    s->others = kh_calloc(count + 1, sizeof *s->others);
    if (!s->others) return kh_fail(err, KH_E_MEMORY, "no memory for a list of runs");
    for (size_t i = 0; i < count; i++) {
        if (!kh_atlas_second_has_run(first->other_runs[i])) continue;
        char *path = kh_path_join(first->other_runs[i], FOLDER);
        if (!path) return kh_fail(err, KH_E_MEMORY, "no memory for a list of runs");
        s->others[s->options.other_run_count++] = path;
    }
    s->options.other_runs = (const char *const *)s->others;
    return KH_OK;
}

kh_status kh_atlas_second_open(kh_atlas_second *s, const kh_atlas_options *first, const char *truth,
                               const kh_model *model, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    const size_t units = info->blocks * info->neurons;
    *s = (kh_atlas_second){.options = *first, .thresholds = kh_alloc_floats(units)};
    if (!s->thresholds) return kh_fail(err, KH_E_MEMORY, "no memory for thresholds");
    KH_TRY(list_others(s, first, err));
    KH_TRY(kh_outdir_path(first->out, s->out, sizeof s->out, err, FOLDER));
    KH_TRY(kh_atlas_thresholds(first->out, s->thresholds, units, err));
    KH_TRY(kh_atlas_rotated(first->out, info, &s->rotated, err));
    KH_TRY(kh_label_set_open(truth, NULL, &s->labels, err));
    s->options.out = s->out;
    s->options.lenses = kh_atlas_second_lenses(first->lenses, info);
    s->options.label_set = s->labels;
    s->options.thresholds = s->thresholds;
    s->options.rotated = s->rotated;
    return KH_OK;
}

void kh_atlas_second_close(kh_atlas_second *s) {
    for (size_t i = 0; i < s->options.other_run_count && s->others; i++)
        kh_free(s->others[i]);
    kh_free(s->others);
    kh_label_set_close(s->labels);
    kh_free(s->rotated);
    kh_free(s->thresholds);
    *s = (kh_atlas_second){0};
}
