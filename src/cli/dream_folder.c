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

/* ---- dreams of another kind, with --overwrite
 * ------------------------------------------------------------------- */

/* Is name[0..length) a dream of that run, as its dream.txt lists them below the marks? */
static bool is_listed(const char *dreams, const char *name, size_t length) {
    if (length == 0) return false;
    for (const char *line = strchr(dreams, '\n'); line && line[1]; line = strchr(line + 1, '\n')) {
        const bool is_it = strncmp(line + 1, name, length) == 0;
        if (is_it && (line[1 + length] == ' ' || line[1 + length] == '\n')) return true;
    }
    return false;
}

/* Without "_s0100" behind name[0..length), where `mark` is "_s". */
static size_t cut_number(const char *name, size_t length, const char *mark) {
    const size_t size = strlen(mark);
    size_t at = length;
    while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9')
        at--;
    const bool has_mark = at < length && at >= size && memcmp(name + at - size, mark, size) == 0;
    return has_mark ? at - size : length;
}

static size_t cut_alpha(const char *name, size_t length) {
    static const char alpha[] = "_alpha";
    const size_t size = sizeof alpha - 1;
    return length > size && memcmp(name + length - size, alpha, size) == 0 ? length - size : length;
}

static bool is_image_of(const char *dreams, const char *name, size_t length) {
    return is_listed(dreams, name, length) ||
           is_listed(dreams, name, cut_number(name, length, "_i"));
}

/* "b3n7_s0100.png", "b3n7_i0_s0100.png", "b3n7_i0_alpha.png" */
static bool is_picture(const char *dreams, const char *name) {
    const size_t length = kh_ends_with(name, ".png") ? strlen(name) - 4 : 0;
    size_t stem = cut_number(name, length, "_s");
    if (stem == length) stem = cut_alpha(name, length);
    return stem < length && is_image_of(dreams, name, stem);
}

/* "b3n7.png", "b3n7_i0.png" */
static bool is_strip(const char *dreams, const char *name) {
    return kh_ends_with(name, ".png") && is_image_of(dreams, name, strlen(name) - 4);
}

/* "b3n7.csv", "b3n7.safetensors" */
static bool is_state(const char *dreams, const char *name) {
    const size_t length = strcspn(name, ".");
    return (strcmp(name + length, ".csv") == 0 || strcmp(name + length, ".safetensors") == 0) &&
           is_listed(dreams, name, length);
}

/* "sheet_s0100_01.png", "sheet_next_s0100_01.png" */
static bool is_sheet(const char *dreams, const char *name) {
    (void)dreams;
    const size_t length = strlen(name);
    if (!kh_starts_with(name, "sheet_") || !kh_ends_with(name, ".png")) return false;
    const size_t page = cut_number(name, length - 4, "_");
    const size_t step = page < length - 4 ? cut_number(name, page, "_s") : page;
    if (step == page) return false;
    return step == 5 || (step == 10 && memcmp(name + 6, "next", 4) == 0) ||
           (step == 12 && memcmp(name + 6, "random", 6) == 0);
}

/* Their dream.txt: pictures, strips and states of the dreams it lists, sheets, tables and figures.
 * What else lies there is somebody's. */
static kh_status remove_others(const char *out, const char *before, kh_error *err) {
    static const struct {
        const char *name;
        bool (*is_own)(const char *dreams, const char *name);
    } folders[] = {
        {"images", is_picture}, {"strips", is_strip}, {"state", is_state}, {".", is_sheet}};
    static const char *const files[] = {"log.csv",     "evaluation.csv", "evaluation.png",
                                        "answers.csv", "evaluation.svg", "natural.csv",
                                        "ranking.png", "ranking.svg"};
    char path[4096];
    const char *dreams = strstr(before, "\nmarks");
    for (size_t i = 0; dreams && i < sizeof folders / sizeof *folders; i++) {
        KH_TRY(kh_outdir_path(out, path, sizeof path, err, "%s", folders[i].name));
        DIR *folder = opendir(path);
        for (const struct dirent *at; folder && (at = readdir(folder));)
            if (folders[i].is_own(dreams + 1, at->d_name) &&
                !kh_outdir_path(out, path, sizeof path, NULL, "%s/%s", folders[i].name, at->d_name))
                (void)unlink(path);
        if (folder) (void)closedir(folder);
        KH_TRY(kh_outdir_path(out, path, sizeof path, err, "%s", folders[i].name));
        (void)rmdir(path); /* when nothing is left in it; never "." */
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        KH_TRY(kh_outdir_path(out, path, sizeof path, err, "%s", files[i]));
        (void)unlink(path); /* of a run that had no manifest yet; mostly not there */
    }
    return KH_OK;
}

/* ---- the folder --------------------------------------------------------------------------------
 */

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
    if (!status && !same && is_there) status = remove_others(o->out, (const char *)before, err);
    if (!status && !same) status = forget(run, err);
    if (!status && !same) status = kh_file_write(path, what.data, what.length, err);
    kh_free(before);
    kh_text_clear(&what);
    return status;
}
