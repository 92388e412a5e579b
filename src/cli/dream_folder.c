/* The folder of a run: whose it is, and what a killed run left in it. */
#define _POSIX_C_SOURCE 200809L
#include "cli/dream.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"

#include <dirent.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* FNV-1a: another direction under the same name is another dream. */
static uint64_t fingerprint(const float *values, size_t count) {
    const unsigned char *bytes = (const unsigned char *)values;
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < count * sizeof *values; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001B3);
    return hash;
}

/* What decides the pictures, as text: a folder goes on only with the same. */
static void describe(const kh_dream_run *run, kh_text *out) {
    const kh_dream_options *o = run->options;
    const kh_model_info *info = kh_model_get_info(run->session->model);
    const kh_dream_objective *goal = &run->objective;
    kh_text_addf(out, "model %s %s %zu\npreset %s seed %zu steps %zu\n", info->architecture,
                 info->sha256[0] ? info->sha256 : info->source, info->image_height, o->preset,
                 o->seed, run->settings.steps);
    kh_dream_set_text(&run->settings, out);
    kh_text_addf(out, "\ngate %d %zu tokens %d %zu images %zu diversity %d %a interpolate %d\n",
                 (int)goal->gate, goal->warm_steps, (int)goal->tokens, goal->cell, goal->images,
                 (int)goal->diversity, goal->lambda, goal->interpolates);
    kh_text_addf(out, "photo %s %a magnitudes %s until %zu %zu negative %d\nmarks",
                 o->photo ? o->photo : "-", goal->penalty, o->magnitudes ? o->magnitudes : "-",
                 o->until, o->check_every, o->is_negative);
    for (size_t i = 0; i < run->mark_count; i++)
        kh_text_addf(out, " %zu", run->marks[i]);
    for (size_t i = 0; i < run->item_count; i++) {
        const kh_dream_item *item = &run->items[i];
        kh_text_addf(out, "\n%s", item->stem);
        for (size_t t = 0; t < item->term_count; t++)
            kh_text_addf(out, " %zu:%zu:%a", item->terms[t].block, item->terms[t].index,
                         item->terms[t].weight);
        if (item->direction)
            kh_text_addf(out, " along %016" PRIx64 " %a", fingerprint(item->direction, info->dim),
                         item->terms[0].power);
    }
    kh_text_add(out, "\n");
}

static kh_status forget(const kh_dream_run *run, kh_error *err) {
    static const char *const endings[] = {"csv", "safetensors"};
    char path[4096];
    for (size_t i = 0; i < run->item_count; i++)
        for (size_t k = 0; k < 2; k++) {
            KH_TRY(kh_outdir_path(run->options->out, path, sizeof path, err, "state/%s.%s",
                                  run->items[i].stem, endings[k]));
            (void)unlink(path); /* mostly not there */
        }
    return KH_OK;
}

/* What a killed run was writing when it was killed. */
static kh_status sweep(const kh_dream_run *run, kh_error *err) {
    static const char *const folders[] = {".", "images", "state", "strips"};
    char path[4096];
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        KH_TRY(kh_outdir_path(run->options->out, path, sizeof path, err, "%s", folders[i]));
        DIR *folder = opendir(path);
        for (const struct dirent *at; folder && (at = readdir(folder));) {
            if (!kh_ends_with(at->d_name, ".partial")) continue;
            if (kh_outdir_path(run->options->out, path, sizeof path, NULL, "%s/%s", folders[i],
                               at->d_name) == KH_OK)
                (void)unlink(path); /* in nobody's way if it stays */
        }
        if (folder) (void)closedir(folder);
    }
    return KH_OK;
}

/* Of a folder with a dream.txt of ours, and of any other. */
static kh_status check_folder(const kh_dream_options *o, bool is_there, bool is_same,
                              kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    if (!is_there) return kh_outdir_check(o->out, "dream", o->overwrite, err);
    KH_TRY(kh_folder_check(o->out, "dream", true, true, err));
    KH_TRY(kh_outdir_check_can_make(o->out, err));
    if (is_same || o->overwrite) return KH_OK;
    return kh_fail(err, KH_E_ARG,
                   "'%s' holds dreams of another kind (dream.txt says which); choose another --out "
                   "or add --overwrite",
                   kh_shown(o->out, strlen(o->out), shown, sizeof shown));
}

/* The same run goes on; another one is refused unless --overwrite. */
kh_status kh_dream_run_folder(const kh_dream_run *run, kh_error *err) {
    enum { MAX_BYTES = 1 << 24 };
    const kh_dream_options *o = run->options;
    kh_text what = {0};
    char path[4096];
    unsigned char *before = NULL;
    size_t count = 0;
    describe(run, &what);
    kh_status status = what.failed ? kh_fail(err, KH_E_MEMORY, "no memory") : KH_OK;
    if (!status) status = kh_outdir_path(o->out, path, sizeof path, err, "dream.txt");
    if (!status && kh_file_exists(path))
        status = kh_file_read(path, MAX_BYTES, &before, &count, err);
    const bool is_there = before && kh_starts_with((const char *)before, "model ");
    const bool same = !status && is_there && strcmp((const char *)before, what.data) == 0;
    if (!status) status = check_folder(o, is_there, same, err);
    if (!status) status = kh_outdir_begin(o->out, "dream", err);
    if (!status && same) status = sweep(run, err);
    if (!status && !same) status = forget(run, err);
    if (!status && !same) status = kh_file_write(path, what.data, what.length, err);
    kh_free(before);
    kh_text_clear(&what);
    return status;
}
