/* What a run is made of: its lenses, and the facts that decide whether two states belong together.
 */
#define _POSIX_C_SOURCE 200809L
#include "atlas/job.h"

#include "base/alloc.h"
#include "base/text.h"
#include "io/sha256.h"
#include "lens/class_images.h"
#include "lens/origin.h"
#include "lens/rotation.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

kh_status kh_atlas_path(char out[KH_ATLAS_PATH], kh_error *err, const char *folder,
                        const char *format, ...) {
    const int head = snprintf(out, KH_ATLAS_PATH, "%s/", folder);
    if (head >= 0 && head < KH_ATLAS_PATH) {
        va_list args;
        va_start(args, format);
        const int tail = vsnprintf(out + head, KH_ATLAS_PATH - (size_t)head, format, args);
        va_end(args);
        if (tail >= 0 && tail < KH_ATLAS_PATH - head) return KH_OK;
    }
    return kh_fail(err, KH_E_LIMIT, "the run directory's path is too long");
}

/* ---- lenses -------------------------------------------------------------------------------- */

static kh_status add_lens(kh_atlas_job *job, const kh_lens_kind *kind, bool was_asked_for,
                          kh_error *err) {
    const char *why_not = kind->refuses ? kind->refuses(&job->setup) : NULL;
    const bool comes_later = kind->needs_maps && job->options->maps_follow;
    if (why_not && comes_later && !job->options->label_set) return KH_OK;
    if (why_not && was_asked_for)
        return kh_fail(err, KH_E_UNSUPPORTED, "lens '%s': %s", kind->name, why_not);
    if (why_not) {
        char text[300];
        (void)snprintf(text, sizeof text, "lens '%s' is left out: %s", kind->name, why_not);
        if (job->options->warn) job->options->warn(job->options->warn_user, text);
        return KH_OK;
    }
    job->kinds[job->lens_count++] = kind;
    job->sites |= kind->sites_of ? kind->sites_of(&job->setup) : kind->sites;
    return KH_OK;
}

static kh_status list_lenses(kh_text *text, kh_error *err, const char *name) {
    for (size_t i = 0; kh_lens_kinds[i]; i++)
        kh_text_addf(text, "%s%s", i ? ", " : "", kh_lens_kinds[i]->name);
    char shown[KH_SHOWN_BYTES];
    const kh_status status =
        kh_fail(err, KH_E_NOT_FOUND, "no lens is called '%s'; there are %s",
                kh_shown(name, strlen(name), shown, sizeof shown), text->data ? text->data : "");
    kh_text_clear(text);
    return status;
}

static bool names_all(const char *asked) {
    return asked && strcmp(asked, "all") == 0;
}

static kh_status find_named(const char *asked, bool named[KH_ATLAS_MAX_LENSES], kh_error *err) {
    char copy[512] = "", *rest = NULL;
    bool is_any = false;
    if (!asked || names_all(asked)) return KH_OK;
    if (strlen(asked) >= sizeof copy) return kh_fail(err, KH_E_ARG, "too many lens names");
    memcpy(copy, asked, strlen(asked) + 1);
    for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        size_t i = 0;
        while (kh_lens_kinds[i] && strcmp(kh_lens_kinds[i]->name, name) != 0)
            i++;
        kh_text text = {0};
        if (!kh_lens_kinds[i]) return list_lenses(&text, err, name);
        is_any = named[i] = true;
    }
    return is_any ? KH_OK : kh_fail(err, KH_E_ARG, "no lens is named");
}

kh_status kh_atlas_check_lenses(const char *names, kh_error *err) {
    bool named[KH_ATLAS_MAX_LENSES] = {false};
    return find_named(names, named, err);
}

/* In the order of the list, whatever the order they were named in. */
static kh_status choose_lenses(kh_atlas_job *job, kh_error *err) {
    const char *asked = job->options->lenses;
    const bool all = names_all(asked);
    bool named[KH_ATLAS_MAX_LENSES] = {false};
    KH_TRY(find_named(asked, named, err));
    for (size_t i = 0; kh_lens_kinds[i] && i < KH_ATLAS_MAX_LENSES; i++)
        if (all || named[i] || (!asked && kh_lens_kinds[i]->is_default))
            KH_TRY(add_lens(job, kh_lens_kinds[i], named[i], err));
    if (job->lens_count == 0) return kh_fail(err, KH_E_ARG, "no lens is left");
    return KH_OK;
}

bool kh_atlas_goes_by_class(const kh_atlas_job *job) {
    for (size_t i = 0; i < job->lens_count; i++)
        if (job->kinds[i]->goes_by_class) return true;
    return false;
}

static bool is_plain(const kh_atlas_options *o) {
    return o->class_by == KH_BY_TRUTH && o->class_reduction == KH_REDUCE_MEAN;
}

/* Before the lenses are chosen: those that are default would be left out. */
static kh_status check_class_means(const kh_atlas_job *job, kh_error *err) {
    const kh_atlas_options *o = job->options;
    if ((unsigned)o->class_by > KH_BY_CORRECT || (unsigned)o->class_reduction > KH_REDUCE_ALL)
        return kh_fail(err, KH_E_ARG, "class means: no such choice of images or tokens");
    const char *why_not = kh_class_reduction_refuses(o->class_reduction, job->info);
    return why_not ? kh_fail(err, KH_E_UNSUPPORTED, "class reduction %s: %s",
                             kh_class_reduction_name(o->class_reduction), why_not)
                   : KH_OK;
}

/* Once they are. The second pass is given the options of the first. */
static kh_status check_class_lenses(const kh_atlas_job *job, kh_error *err) {
    const kh_atlas_options *o = job->options;
    if (is_plain(o) || kh_atlas_goes_by_class(job) || o->label_set) return KH_OK;
    return kh_fail(err, KH_E_ARG,
                   "class means by %s, reduction %s, but no lens 'class_mean' or 'class_argmax'",
                   kh_class_by_name(o->class_by), kh_class_reduction_name(o->class_reduction));
}

/* Of images without a single true class: which lenses have nothing to say. */
static void warn_without_truth(const kh_atlas_job *job, size_t classes_seen) {
    const kh_atlas_options *o = job->options;
    kh_text names = {0}, text = {0};
    const size_t images = kh_source_count(job->source);
    if (classes_seen || !job->info->classes || !o->warn || o->only_merge || o->label_set) return;
    for (size_t i = 0; i < job->lens_count; i++)
        if (job->kinds[i]->needs_truth &&
            !(job->kinds[i]->goes_by_class && o->class_by == KH_BY_PREDICTED))
            kh_text_addf(&names, "%s%s", names.length ? ", " : "", job->kinds[i]->name);
    kh_text_addf(
        &text,
        "none of %zu image%s has a true class, so nothing comes of %s: put them in folders "
        "named after their classes, or give --label-file FILE",
        images, KH_S(images), names.data ? names.data : "");
    if (names.length && text.data) o->warn(o->warn_user, text.data);
    kh_text_clear(&names);
    kh_text_clear(&text);
}

/* ---- fingerprint --------------------------------------------------------------------------- */

/* sha256 of label tables and thresholds, or "" where there are none. */
static kh_status pixel_truth(const kh_atlas_job *job, char labels[65], char thresholds[65],
                             kh_error *err) {
    labels[0] = thresholds[0] = '\0';
    if (job->options->label_set) KH_TRY(kh_label_set_sha256(job->options->label_set, labels, err));
    if (!job->options->thresholds) return KH_OK;
    kh_sha256 *sha = kh_sha256_create();
    const bool ok =
        sha &&
        kh_sha256_add(sha, job->options->thresholds,
                      job->info->blocks * job->info->neurons * sizeof(float)) &&
        (!job->options->rotated ||
         kh_sha256_add(sha, job->options->rotated,
                       job->info->blocks * kh_rotation_units(job->info) * sizeof(float))) &&
        kh_sha256_finish(sha, thresholds);
    kh_sha256_free(sha);
    return ok ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a digest");
}

static json_t *fingerprint(const kh_atlas_job *job, const char *set, const char *labels,
                           const char *thresholds) {
    const kh_atlas_options *o = job->options;
    const kh_model_info *info = job->info;
    const kh_decode_options plain = {0}, *d = o->decode ? o->decode : &plain;
    const bool by_class = kh_atlas_goes_by_class(job);
    json_t *lenses = json_array();
    for (size_t i = 0; i < job->lens_count; i++)
        json_array_append_new(
            lenses, json_pack("[s, i]", job->kinds[i]->name, (int)job->kinds[i]->version));
    return json_pack(
        "{s:o, s:o, s:{s:I, s:s}, s:o, s:{s:I, s:I, s:f, s:I, s:s*, s:s*, s:s*, s:b, s:b, s:s, "
        "s:s}, "
        "s:o}",
        "model", kh_origin_model(info), "preprocess", kh_origin_preprocess(&info->preprocess),
        "image_set", "images", (json_int_t)kh_source_count(job->source), "sha256", set, "lenses",
        lenses, "settings", "exemplars", (json_int_t)o->exemplars, "sample", (json_int_t)o->sample,
        "quantile", o->quantile, "seed", (json_int_t)o->seed, "compare",
        job->compare_text[0] ? job->compare_text : NULL, "class_by",
        by_class && o->class_by != KH_BY_TRUTH ? kh_class_by_name(o->class_by) : NULL,
        "class_reduction",
        by_class && o->class_reduction != KH_REDUCE_MEAN
            ? kh_class_reduction_name(o->class_reduction)
            : NULL,
        "exif_rotate", d->exif_rotate, "gray16_scale", d->gray16_scale, "label_maps", labels,
        "thresholds", thresholds, "arithmetic", kh_origin_arithmetic(job->ctx));
}

/* ---- the job ------------------------------------------------------------------------------- */

static kh_status check(const kh_atlas_options *o, kh_error *err) {
    if (!o->out || !o->out[0]) return kh_fail(err, KH_E_ARG, "an atlas needs an output directory");
    if (o->batch == 0 || o->batch > 4096)
        return kh_fail(err, KH_E_ARG, "batches of %zu images; 1 to 4096 are possible", o->batch);
    if (o->shards == 0 || o->shard >= o->shards)
        return kh_fail(err, KH_E_ARG, "shard %zu of %zu: shards are 0 to %zu", o->shard, o->shards,
                       o->shards ? o->shards - 1 : 0);
    if (!(o->quantile > 0 && o->quantile < 1))
        return kh_fail(err, KH_E_ARG, "quantile %g; it lies between 0 and 1", o->quantile);
    if (o->exemplars == 0 || o->exemplars > 1000 || o->sample > 100000)
        return kh_fail(err, KH_E_ARG, "1 to 1000 exemplars and at most 100000 sampled images");
    return KH_OK;
}

static kh_status rank(kh_atlas_job *job, kh_error *err) {
    kh_rank_options options = kh_rank_options_default();
    kh_error why = {KH_OK, ""};
    if (job->info->classes == 0) return KH_OK;
    if (options.k > job->info->neurons) options.k = job->info->neurons;
    const kh_status status = kh_lens_rank(job->ctx, job->model, &options, &job->ranking, &why);
    job->has_ranking = status == KH_OK;
    if (!status || status == KH_E_UNSUPPORTED) return KH_OK;
    return kh_fail(err, status, "%s", why.text);
}

kh_status kh_atlas_job_init(kh_atlas_job *job, kh_ctx *ctx, const kh_model *model,
                            const kh_source *source, const kh_atlas_options *options,
                            kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    *job = (kh_atlas_job){
        .ctx = ctx, .model = model, .info = info, .source = source, .options = options};
    char set[65], labels[65], thresholds[65];
    KH_TRY(check(options, err));
    KH_TRY(check_class_means(job, err));
    KH_TRY(rank(job, err));
    size_t classes_seen = 0;
    const kh_status found = kh_atlas_find_classes(job, &classes_seen, err);
    if (found) {
        kh_atlas_job_clear(job);
        return found;
    }
    job->setup = (kh_lens_setup){.ctx = ctx,
                                 .classes_seen = classes_seen,
                                 .compare = &job->compare,
                                 .class_by = options->class_by,
                                 .class_reduction = options->class_reduction,
                                 .model = model,
                                 .info = info,
                                 .source = source,
                                 .ranking = job->has_ranking ? &job->ranking : NULL,
                                 .images = kh_source_count(source),
                                 .patches = info->tokens - info->prefix_tokens,
                                 .units = info->blocks * info->neurons,
                                 .exemplars = options->exemplars,
                                 .sample = options->sample,
                                 .seed = options->seed,
                                 .quantile = options->quantile,
                                 .label_set = options->label_set,
                                 .thresholds = options->thresholds,
                                 .rotated = options->rotated,
                                 .warn = options->warn,
                                 .warn_user = options->warn_user,
                                 .kinds = job->kinds,
                                 .states = job->states};
    kh_status status = choose_lenses(job, err);
    job->setup.lens_count = job->lens_count;
    if (!status) status = kh_atlas_name_compared(job, err);
    if (!status) status = check_class_lenses(job, err);
    if (!status) warn_without_truth(job, classes_seen);
    if (!status) status = kh_source_sha256(source, set, err);
    if (!status) status = pixel_truth(job, labels, thresholds, err);
    if (!status && !(job->head.fingerprint = fingerprint(job, set, labels, thresholds)))
        status = kh_fail(err, KH_E_MEMORY, "no memory to describe the run");
    if (status) kh_atlas_job_clear(job);
    return status;
}

static void free_states(kh_atlas_job *job) {
    for (size_t i = 0; i < job->lens_count; i++) {
        job->kinds[i]->free(job->states[i]);
        job->states[i] = NULL;
    }
}

void kh_atlas_job_clear(kh_atlas_job *job) {
    free_states(job);
    kh_ranking_clear(&job->ranking);
    kh_state_head_clear(&job->head);
    job->lens_count = 0;
}

kh_status kh_atlas_begin(kh_atlas_job *job, kh_error *err) {
    free_states(job);
    for (size_t i = 0; i < job->lens_count; i++)
        KH_TRY(kh_lens_begin(job->kinds[i], &job->setup, &job->states[i], err));
    return KH_OK;
}

size_t kh_atlas_pieces(const kh_atlas_job *job, kh_piece *out) {
    size_t count = 0;
    for (size_t i = 0; i < job->lens_count; i++)
        count += job->kinds[i]->pieces(job->states[i], out + count);
    return count;
}
