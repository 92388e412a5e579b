/* The pass over the images: loader, forward pass, reductions, lenses. */
#define _POSIX_C_SOURCE 200809L
#include "atlas/job.h"

#include "base/alloc.h"
#include "base/text.h"
#include "lens/batch_maps.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- taps ---------------------------------------------------------------------------------- */

static const struct {
    const char *suffix; /* behind "blocks.N.", or the whole name */
    bool is_per_block, is_cls;
} sites[KH_LENS_SITES] = {
    [KH_SITE_POST] = {"mlp.hook_post", true, false},
    [KH_SITE_RESID_MID] = {"hook_resid_mid", true, false},
    [KH_SITE_RESID_POST] = {"hook_resid_post", true, false},
    [KH_SITE_ATTN_OUT] = {"hook_attn_out", true, false},
    [KH_SITE_MLP_OUT] = {"hook_mlp_out", true, false},
    [KH_SITE_Z_CLS] = {"attn.hook_z", true, true},
    [KH_SITE_ATTN_CLS] = {"hook_attn_out", true, true},
    [KH_SITE_MLP_CLS] = {"hook_mlp_out", true, true},
    [KH_SITE_EMBED_CLS] = {"blocks.0.hook_resid_pre", false, true},
    [KH_SITE_FINAL_SCALE] = {"ln_final.hook_scale", false, true},
    [KH_SITE_EMBED] = {"blocks.0.hook_resid_pre", false, false},
    [KH_SITE_FINAL_SCALES] = {"ln_final.hook_scale", false, false},
    [KH_SITE_LN2_SCALE] = {"ln2.hook_scale", true, false},
};

/* The coefficients are always tapped: the reductions need them. */
static bool is_wanted(const kh_atlas_job *job, size_t site) {
    return site == KH_SITE_POST || (job->sites >> site & 1u);
}

size_t kh_atlas_tap_of(const kh_atlas_job *job, kh_lens_site site, size_t block) {
    size_t tap = 0;
    for (size_t s = 0; s < (size_t)site; s++)
        if (is_wanted(job, s)) tap += sites[s].is_per_block ? job->info->blocks : 1;
    if (!is_wanted(job, site) || (!sites[site].is_per_block && block > 0)) return SIZE_MAX;
    return tap + block;
}

kh_status kh_atlas_create_pass(const kh_atlas_job *job, size_t max_batch, kh_pass **out,
                               kh_error *err) {
    static const size_t class_token[1] = {0};
    const size_t blocks = job->info->blocks, most = KH_LENS_SITES * blocks;
    kh_tap *taps = kh_calloc(most, sizeof *taps);
    char(*names)[64] = kh_calloc(most, sizeof *names);
    kh_status status = KH_OK;
    size_t count = 0;
    *out = NULL;
    if (!taps || !names) status = kh_fail(err, KH_E_MEMORY, "no memory for %zu taps", most);
    for (size_t s = 0; s < KH_LENS_SITES && !status; s++)
        for (size_t b = 0; is_wanted(job, s) && b < (sites[s].is_per_block ? blocks : 1); b++) {
            char *name = names[count];
            if (sites[s].is_per_block)
                (void)snprintf(name, sizeof *names, "blocks.%zu.%s", b, sites[s].suffix);
            else
                (void)snprintf(name, sizeof *names, "%s", sites[s].suffix);
            taps[count++] = (kh_tap){.site = name,
                                     .tokens = sites[s].is_cls ? class_token : NULL,
                                     .token_count = sites[s].is_cls ? 1 : 0};
        }
    const kh_pass_spec spec = {.max_batch = max_batch,
                               .taps = taps,
                               .tap_count = count,
                               .want_logits = job->info->classes > 0};
    if (!status) status = kh_pass_create(job->ctx, job->model, &spec, out, err);
    kh_free(names);
    kh_free(taps);
    return status;
}

static double seconds_now(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- a batch ------------------------------------------------------------------------------- */

typedef struct drive {
    kh_atlas_job *job;
    kh_pass *pass;
    kh_features features;
    kh_batch_maps maps;
    kh_loader *loader;
    size_t image_floats;
    float *images;
    uint64_t *ids;
    size_t *truth, *predicted;
    const float **site[KH_LENS_SITES]; /* [blocks] */
    size_t count;                      /* images in the batch */
} drive;

static kh_status allocate(drive *d, uint64_t first, uint64_t end, kh_error *err) {
    const kh_atlas_options *o = d->job->options;
    const kh_model_info *info = d->job->info;
    d->image_floats = 3 * info->image_height * info->image_width;
    d->images = kh_alloc_floats(o->batch * d->image_floats);
    d->ids = kh_calloc(o->batch, sizeof *d->ids);
    d->truth = kh_calloc(o->batch, sizeof *d->truth);
    d->predicted = kh_calloc(o->batch, sizeof *d->predicted);
    bool ok = d->images && d->ids && d->truth && d->predicted;
    for (size_t s = 0; s < KH_LENS_SITES && ok; s++)
        ok = (d->site[s] = kh_calloc(info->blocks, sizeof *d->site[s])) != NULL;
    if (!ok) return kh_fail(err, KH_E_MEMORY, "no memory for a batch of %zu images", o->batch);
    KH_TRY(kh_features_init(&d->features, info, o->batch, err));
    if (o->label_set) KH_TRY(kh_batch_maps_init(&d->maps, &d->job->setup, o->batch, err));
    KH_TRY(kh_atlas_create_pass(d->job, o->batch, &d->pass, err));
    const kh_loader_options loading = {.how = &info->preprocess,
                                       .decode = o->decode,
                                       .first = (size_t)first,
                                       .end = (size_t)end,
                                       .threads = o->decode_threads ? o->decode_threads : 2,
                                       .ahead = o->ahead ? o->ahead : 4 * o->batch};
    return kh_loader_create(d->job->source, &loading, &d->loader, err);
}

static void clear(drive *d) {
    kh_loader_free(d->loader);
    kh_pass_free(d->pass);
    kh_features_clear(&d->features);
    kh_batch_maps_clear(&d->maps);
    for (size_t s = 0; s < KH_LENS_SITES; s++)
        kh_free(d->site[s]);
    kh_free(d->predicted);
    kh_free(d->truth);
    kh_free(d->ids);
    kh_free(d->images);
}

/* The next images that can be read; *end is behind the last one looked at. */
static kh_status fill(drive *d, bool *more, uint64_t *end, kh_error *err) {
    d->count = 0;
    while (d->count < d->job->options->batch) {
        kh_loaded one;
        KH_TRY(kh_loader_next(d->loader, &one, more, err));
        if (!*more) return KH_OK;
        *end = one.id + 1;
        if (one.status) {
            KH_TRY(kh_state_add_broken(&d->job->head, one.id, one.reason, err));
            continue;
        }
        memcpy(d->images + d->count * d->image_floats, one.floats,
               d->image_floats * sizeof *one.floats);
        d->ids[d->count] = one.id;
        d->truth[d->count] = kh_source_get(d->job->source, one.id).truth;
        d->count++;
    }
    return KH_OK;
}

/* A logit that is no number: which image was it? */
static kh_status blame(drive *d, kh_status status, kh_error *err) {
    for (size_t i = 0; i < d->count && status == KH_E_NUMERIC; i++) {
        kh_error why = {KH_OK, ""};
        if (kh_pass_run(d->pass, d->images + i * d->image_floats, 1, &why) != KH_E_NUMERIC)
            continue;
        const char *name = kh_source_get(d->job->source, (size_t)d->ids[i]).name;
        char shown[KH_SHOWN_BYTES];
        return kh_fail(err, KH_E_NUMERIC, "%s: %s",
                       kh_shown(name, strlen(name), shown, sizeof shown), why.text);
    }
    return status;
}

static void predict(drive *d) {
    const float *logits = kh_pass_logits(d->pass);
    const size_t classes = d->job->info->classes;
    for (size_t i = 0; i < d->count && logits; i++) {
        const float *z = logits + i * classes;
        size_t best = 0;
        for (size_t c = 1; c < classes; c++)
            if (z[c] > z[best]) best = c;
        d->predicted[i] = best;
    }
}

/* An image whose label maps cannot be read counts as one without. */
static kh_status read_maps(drive *d, kh_error *err) {
    kh_error why;
    for (size_t i = 0; i < d->count && d->job->options->label_set; i++) {
        KH_TRY(kh_batch_maps_read(&d->maps, i, d->ids[i], &why, err));
        if (why.code) KH_TRY(kh_state_add_broken_maps(&d->job->head, d->ids[i], why.text, err));
    }
    return KH_OK;
}

static kh_status consume(drive *d, kh_error *err) {
    kh_atlas_job *job = d->job;
    if (d->count == 0) return KH_OK;
    const double start = seconds_now();
    const kh_status ran = kh_pass_run(d->pass, d->images, d->count, err);
    const double passed = seconds_now();
    job->pass_seconds += passed - start;
    if (ran) return blame(d, ran, err);
    KH_TRY(read_maps(d, err));
    kh_lens_batch batch = {.count = d->count,
                           .ids = d->ids,
                           .truth = d->truth,
                           .images = d->images,
                           .logits = kh_pass_logits(d->pass),
                           .predicted = d->predicted,
                           .features = &d->features,
                           .maps = job->options->label_set ? &d->maps : NULL};
    for (size_t s = 0; s < KH_LENS_SITES; s++) {
        for (size_t b = 0; b < job->info->blocks; b++) {
            const size_t tap = kh_atlas_tap_of(job, (kh_lens_site)s, b);
            d->site[s][b] = tap == SIZE_MAX ? NULL : kh_pass_tap(d->pass, tap);
        }
        batch.site[s] = d->site[s];
    }
    predict(d);
    kh_features_compute(&d->features, &job->setup, &batch);
    for (size_t i = 0; i < job->lens_count; i++)
        KH_TRY(job->kinds[i]->consume(job->states[i], &batch, err));
    job->lens_seconds += seconds_now() - passed;
    return KH_OK;
}

/* ---- all batches --------------------------------------------------------------------------- */

kh_status kh_atlas_drive(kh_atlas_job *job, uint64_t first, uint64_t end,
                         kh_checkpoint_fn checkpoint, void *user, uint64_t done, uint64_t total,
                         kh_error *err) {
    const kh_atlas_options *o = job->options;
    drive d = {.job = job};
    kh_status status = allocate(&d, first, end, err);
    double last = seconds_now();
    uint64_t at = first, saved = first;
    bool more = true, is_stopped = false;
    while (!status && more && at < end && !is_stopped) {
        uint64_t next = at;
        const double start = seconds_now();
        status = fill(&d, &more, &next, err);
        job->load_seconds += seconds_now() - start;
        if (!status) status = consume(&d, err);
        if (!status) status = kh_ranges_add(&job->head.covered, at, next, err);
        if (status) break;
        at = next;
        is_stopped =
            o->progress && !o->progress(o->progress_user, "images", done + (at - first), total);
        const bool is_time = seconds_now() - last >= o->checkpoint_seconds ||
                             (o->checkpoint_images && at - saved >= o->checkpoint_images);
        if (!is_stopped && (!is_time || at == end)) continue;
        status = checkpoint(user, err);
        last = seconds_now();
        saved = at;
    }
    clear(&d);
    if (!status && is_stopped && at < end)
        status = kh_fail(err, KH_E_STOPPED, "stopped behind image %llu; the same command goes on",
                         (unsigned long long)(at - 1));
    return status;
}
