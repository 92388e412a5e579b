/* What the verdicts of `reproduce` need: a ranking, an atlas of the images, a dissection. */
#include "cli/atlas.h"
#include "cli/images.h"
#include "cli/lists.h"
#include "cli/outdir.h"
#include "cli/reproduce.h"
#include "cli/run_figures.h"

#include "base/alloc.h"
#include "base/file.h"
#include "base/folder.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { TOPK = 10, FIRST_DOG = 151, LAST_DOG = 268, IMAGENET = 1000 };

/* ---- weights --------------------------------------------------------------------------------- */

static kh_status add_scores(void *user, size_t block, const float *scores, size_t units,
                            size_t classes, kh_error *err) {
    double *sums = user;
    (void)block;
    (void)err;
    for (size_t i = 0; i < units * classes; i++)
        sums[i % classes] += (double)scores[i];
    return KH_OK;
}

static kh_status rank(kh_reproduce *r, kh_error *err) {
    kh_rank_options options = kh_rank_options_default();
    options.k = TOPK < r->info->neurons ? TOPK : r->info->neurons;
    options.sink = add_scores;
    options.sink_user = r->class_score;
    options.progress = r->settings->progress;
    options.progress_user = r->session;
    KH_TRY(kh_lens_rank(r->session->ctx, r->session->model, &options, &r->ranking, err));
    for (size_t c = 0; c < r->info->classes; c++)
        r->class_score[c] /= (double)(r->info->blocks * r->info->neurons);
    kh_lens_block_histogram(&r->ranking, 0, r->top_blocks);
    kh_null_options null = kh_null_options_default();
    null.draws = r->settings->draws;
    null.seed = r->settings->seed;
    null.progress = r->settings->progress;
    null.progress_user = r->session;
    return kh_lens_null_band(r->session->ctx, r->session->model, &null, &r->null_band, err);
}

/* ---- relatives ------------------------------------------------------------------------------- */

static bool has_wnid(const kh_classes *classes, size_t index, const char *wnid) {
    const char *own = kh_classes_get(classes, index).wnid;
    return own && strcmp(own, wnid) == 0;
}

static kh_status named_relatives(kh_reproduce *r, const char *list, kh_error *err) {
    char one[256];
    for (const char *at = list; *at;) {
        const size_t length = strcspn(at, ",");
        size_t index;
        if (length == 0 || length >= sizeof one)
            return kh_fail(err, KH_E_ARG, "--relatives: a list of classes with commas between");
        memcpy(one, at, length);
        one[length] = '\0';
        KH_TRY(kh_classes_find(r->classes, one, &index, err));
        r->is_relative[index] = true;
        at += length + (at[length] == ',');
    }
    (void)snprintf(r->relatives_name, sizeof r->relatives_name, "the classes of --relatives");
    return KH_OK;
}

static kh_status find_relatives(kh_reproduce *r, kh_error *err) {
    const size_t classes = r->info->classes;
    r->is_imagenet = classes == IMAGENET && has_wnid(r->classes, 0, "n01440764") &&
                     has_wnid(r->classes, FIRST_DOG, "n02085620") &&
                     has_wnid(r->classes, LAST_DOG, "n02113978");
    if (r->settings->relatives) {
        const kh_status status = named_relatives(r, r->settings->relatives, err);
        r->is_misused = status != KH_OK && status != KH_E_MEMORY;
        if (status) return status;
    } else if (r->is_imagenet) {
        for (size_t c = FIRST_DOG; c <= LAST_DOG; c++)
            r->is_relative[c] = true;
        (void)snprintf(r->relatives_name, sizeof r->relatives_name, "the breeds of dogs");
    } else {
        for (size_t c = 0; c < classes; c++)
            for (size_t w = 0; w < kh_diorama_class_count(); w++)
                r->is_relative[c] |= kh_diorama_class_is_relative(w) &&
                                     has_wnid(r->classes, c, kh_diorama_class_wnid(w));
        (void)snprintf(r->relatives_name, sizeof r->relatives_name, "the demo world's dogs");
    }
    for (size_t c = 0; c < classes; c++)
        r->relatives += r->is_relative[c];
    return KH_OK;
}

/* ---- the atlas ------------------------------------------------------------------------------- */

/* Lenses and settings of a run that is complete, from its manifest, so that the run can be asked
 * for again: a run of other images or weights is then refused with what differs. */
static kh_status settings_of_run(const char *run, kh_atlas_options *o, char *lenses, size_t room,
                                 kh_error *err) {
    char path[KH_REPRODUCE_PATH], shown[KH_SHOWN_BYTES];
    size_t used = 0, i;
    json_t *root = NULL, *name;
    KH_TRY(kh_outdir_path(run, path, sizeof path, err, "manifest.json"));
    if (!kh_file_exists(path))
        return kh_fail(err, KH_E_NOT_FOUND,
                       "--atlas '%s': no complete run of keyhole atlas (it has no manifest.json)",
                       kh_shown(run, strlen(run), shown, sizeof shown));
    KH_TRY(kh_json_read_own(path, "manifest.json", &root, err));
    kh_status status = KH_OK;
    const json_t *settings = json_object_get(root, "settings");
    const double quantile = json_number_value(json_object_get(settings, "quantile"));
    size_t seed = 0;
    if (!kh_json_size(json_object_get(settings, "exemplars"), &o->exemplars) ||
        !kh_json_size(json_object_get(settings, "sample"), &o->sample) ||
        !kh_json_size(json_object_get(settings, "seed"), &seed) || !(quantile > 0))
        status =
            kh_fail(err, KH_E_FORMAT, "--atlas '%s': its manifest.json is not that of an atlas",
                    kh_shown(run, strlen(run), shown, sizeof shown));
    o->quantile = quantile;
    o->seed = seed;
    if (!status) status = kh_run_class_setting(run, &o->class_by, &o->class_reduction, err);
    json_array_foreach(json_object_get(root, "lenses"), i, name) {
        const char *text = json_string_value(name);
        if (!text || used + strlen(text) + 2 > room) continue;
        used += (size_t)snprintf(lenses + used, room - used, "%s%s", used ? "," : "", text);
    }
    o->lenses = lenses;
    json_decref(root);
    return status;
}

/* Which classes it compares, where they were chosen. */
static kh_status compared_of_run(const kh_reproduce *r, const char *run, kh_atlas_options *o,
                                 size_t room[KH_ATLAS_COMPARED], kh_error *err) {
    char path[KH_REPRODUCE_PATH];
    size_t *list = NULL, count = 0;
    json_t *root = NULL;
    KH_TRY(kh_outdir_path(run, path, sizeof path, err, "manifest.json"));
    KH_TRY(kh_json_read_own(path, "manifest.json", &root, err));
    const json_t *settings = json_object_get(root, "settings");
    const char *text = json_string_value(json_object_get(settings, "compare"));
    const char *why = json_string_value(json_object_get(settings, "compare_why"));
    kh_status status = KH_OK;
    if (text && why && strcmp(why, "asked") == 0 && strcmp(text, "all") != 0)
        status = kh_class_list(r->classes, text, &list, &count, err);
    if (!status && count > KH_ATLAS_COMPARED)
        status =
            kh_fail(err, KH_E_FORMAT, "--atlas: its manifest.json compares %zu classes", count);
    for (size_t i = 0; i < count && !status; i++)
        room[i] = list[i];
    o->compare = count ? room : NULL;
    o->compare_count = count;
    kh_free(list);
    json_decref(root);
    return status;
}

static kh_status run_atlas(kh_reproduce *r, kh_atlas_options *o, kh_error *err) {
    const kh_reproduce_settings *s = r->settings;
    static char lenses[512];
    static size_t compared[KH_ATLAS_COMPARED];
    *o = kh_atlas_options_default();
    o->batch = s->batch;
    o->lenses = s->lenses;
    o->seed = s->seed;
    o->decode = &s->decode;
    o->maps_follow = r->labels != NULL;
    o->command = s->command;
    o->progress = s->progress;
    o->progress_user = r->session;
    o->warn = kh_session_warn;
    o->warn_user = r->session;
    if (s->atlas) {
        (void)snprintf(r->run, sizeof r->run, "%s", s->atlas);
        KH_TRY(settings_of_run(s->atlas, o, lenses, sizeof lenses, err));
        KH_TRY(compared_of_run(r, s->atlas, o, compared, err));
    } else {
        KH_TRY(kh_outdir_path(s->out, r->run, sizeof r->run, err, "atlas"));
        KH_TRY(kh_folder_mark(s->out, "reproduce", err)); /* before kh_outdir_begin */
    }
    o->out = r->run;
    r->class_by = o->class_by;
    r->class_reduction = o->class_reduction;
    kh_atlas_summary summary;
    KH_TRY(kh_atlas(r->session->ctx, r->session->model, r->source, o, &summary, err));
    r->is_run_reused = summary.done_now == 0;
    if (summary.broken > 0) KH_TRY(kh_atlas_say_broken(r->session, r->source, o, err));
    return kh_outdir_path(r->run, r->database, sizeof r->database, err, "run.sqlite");
}

static void warn_of_maps(const kh_reproduce *r, size_t count, const char *run) {
    char text[KH_SHOWN_BYTES + 160], shown[KH_SHOWN_BYTES];
    (void)snprintf(text, sizeof text,
                   "label maps of %zu image%s could not be read, as if there were none: table "
                   "broken_maps of '%s'",
                   count, KH_S(count), kh_shown(run, strlen(run), shown, sizeof shown));
    kh_session_warn(r->session, text);
}

/* A run that was handed in keeps what it has; ours gets its dissection. */
static kh_status dissect(kh_reproduce *r, const kh_atlas_options *first, kh_error *err) {
    const size_t units = r->info->blocks * r->info->neurons;
    char out[KH_REPRODUCE_PATH], manifest[KH_REPRODUCE_PATH], digest[65];
    KH_TRY(kh_outdir_path(r->run, out, sizeof out, err, "dissect"));
    KH_TRY(kh_outdir_path(r->run, manifest, sizeof manifest, err, "dissect/manifest.json"));
    r->has_dissection = kh_file_exists(manifest);
    if (r->settings->atlas && r->has_dissection)
        return kh_atlas_digest(out, digest, err); /* is it what was written? */
    if (!r->labels || r->settings->atlas) return KH_OK;
    float *thresholds = kh_alloc_floats(units);
    if (!thresholds) return kh_fail(err, KH_E_MEMORY, "no memory for thresholds");
    kh_atlas_options o = *first;
    o.out = out;
    o.lenses = "dissect,masks";
    o.label_set = r->labels;
    o.thresholds = thresholds;
    kh_atlas_summary summary = {0};
    kh_status status = kh_atlas_thresholds(r->run, thresholds, units, err);
    if (!status)
        status = kh_atlas(r->session->ctx, r->session->model, r->source, &o, &summary, err);
    kh_free(thresholds);
    if (!status && summary.broken_maps > 0) warn_of_maps(r, summary.broken_maps, out);
    if (!status && !summary.is_complete)
        status = kh_fail(err, KH_E_IO, "no image could be read again for the second pass");
    r->has_dissection = status == KH_OK;
    return status;
}

/* ---- all ------------------------------------------------------------------------------------- */

kh_status kh_reproduce_gather(kh_reproduce *r, kh_error *err) {
    const size_t classes = r->info->classes;
    kh_atlas_options options;
    r->classes = kh_model_classes(r->session->model);
    r->class_score = kh_calloc(classes, sizeof *r->class_score);
    r->top_blocks = kh_calloc(r->info->blocks, sizeof *r->top_blocks);
    r->is_relative = kh_calloc(classes, sizeof *r->is_relative);
    if (!r->class_score || !r->top_blocks || !r->is_relative)
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu classes", classes);
    for (size_t i = 0; i < kh_source_count(r->source); i++)
        r->labelled += kh_source_get(r->source, i).truth < classes;
    for (size_t i = 0; i < KH_CLAIMS; i++)
        kh_claim_levels(&r->claims[i], (double)NAN, (double)NAN);
    KH_TRY(find_relatives(r, err));
    if (r->settings->truth) KH_TRY(kh_label_set_open(r->settings->truth, NULL, &r->labels, err));
    KH_TRY(rank(r, err));
    KH_TRY(run_atlas(r, &options, err));
    KH_TRY(dissect(r, &options, err));
    KH_TRY(kh_reproduce_look_at_maps(r, err));
    return kh_reproduce_ablate(r, err);
}

static void maps_clear(kh_reproduce_maps *m) {
    kh_free(m->id);
    kh_free(m->class_index);
    kh_truth_plan_clear(&m->plan);
    kh_free(m->scores);
    kh_free(m->is_seen);
    kh_free(m->has_dot);
    kh_free(m->has_shuffled_dot);
    kh_free(m->rank_zero);
}

void kh_reproduce_clear(kh_reproduce *r) {
    maps_clear(&r->maps);
    kh_ranking_clear(&r->ranking);
    kh_null_band_clear(&r->null_band);
    kh_free(r->class_score);
    kh_free(r->top_blocks);
    kh_free(r->is_relative);
    kh_label_set_close(r->labels);
    kh_source_free(r->source);
    kh_text_clear(&r->figures);
    *r = (kh_reproduce){0};
}

/* ---- helpers --------------------------------------------------------------------------------- */

kh_status kh_reproduce_ask(const kh_reproduce *r, const char *query, kh_answer **out,
                           kh_error *err) {
    return kh_store_db_ask(r->database, query, NULL, 0, out, err);
}

bool kh_reproduce_has_table(const char *database, const char *table) {
    char query[256];
    double count = 0;
    (void)snprintf(query, sizeof query,
                   "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '%s'",
                   table);
    return !kh_store_db_number(database, query, 0, &count, NULL) && count > 0;
}

kh_status kh_reproduce_band(const kh_reproduce *r, const double *values, size_t count, kh_band *out,
                            size_t *n, kh_error *err) {
    enum { RESAMPLES = 1000 };
    *n = 0;
    for (size_t i = 0; i < count; i++)
        *n += isnan(values[i]) ? 0 : 1;
    KH_TRY(kh_lens_bootstrap(values, count, RESAMPLES, r->settings->seed, out, err));
    *out = kh_claim_enough(*out, *n);
    return KH_OK;
}

void kh_claim_add(kh_claim *claim, const char *name, kh_band band, size_t n, const char *interval,
                  const char *unit) {
    if (claim->number_count == KH_CLAIM_NUMBERS || isnan(band.mean)) return;
    kh_claim_number *number = &claim->numbers[claim->number_count++];
    *number = (kh_claim_number){.band = band, .n = n, .interval = interval, .unit = unit};
    (void)snprintf(number->name, sizeof number->name, "%s", name);
}

void kh_claim_add_plain(kh_claim *claim, const char *name, double value, const char *unit) {
    kh_claim_add(claim, name, (kh_band){value, (double)NAN, (double)NAN}, 0, "", unit);
}

void kh_claim_levels(kh_claim *claim, double chance, double bar) {
    claim->chance = chance;
    claim->bar = bar;
}

void kh_claim_cannot(kh_claim *claim, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(claim->missing, sizeof claim->missing, format, args);
    va_end(args);
    claim->verdict = KH_VERDICT_UNTESTED;
    if (claim->number_count == 0) claim->found[0] = '\0'; /* it would speak of numbers */
}

void kh_claim_too_few(kh_claim *claim, size_t things, const char *what) {
    if (things < KH_CLAIM_FEWEST)
        kh_claim_cannot(claim,
                        "It needs at least %d %s; there %s %zu. So few can all lie on one side of "
                        "chance by luck.",
                        KH_CLAIM_FEWEST, what, things == 1 ? "is" : "are", things);
}
