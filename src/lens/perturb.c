/* What is still recognised when attention is cut or tokens are missing: the study over an image
 * set. */
#define _POSIX_C_SOURCE 200809L
#include "lens/perturb.h"
#include "lens/token_labels.h"

#include "base/alloc.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

kh_perturb_options kh_perturb_options_default(void) {
    return (kh_perturb_options){.steps = 12, .random = 10, .batch = 8};
}

bool kh_study_is_hit(const float *logits, size_t classes, size_t truth) {
    return kh_lens_rank_position(logits, classes, truth) == 0;
}

double kh_study_margin(const float *z, size_t classes, size_t c) {
    double other = -(double)INFINITY;
    for (size_t k = 0; k < classes; k++)
        if (k != c && (double)z[k] > other) other = (double)z[k];
    return classes > 1 ? (double)z[c] - other : (double)z[c];
}

kh_status kh_study_known(kh_study *s, const float *rows, size_t patches, size_t truth, bool *out,
                         kh_error *err) {
    if (patches == 0) return KH_OK;
    KH_TRY(kh_model_head(s->ctx, s->model, rows, patches, s->logits, err));
    for (size_t t = 0; t < patches; t++)
        out[t] = kh_study_is_hit(s->logits + t * s->classes, s->classes, truth);
    return KH_OK;
}

/* ---- disturbed attention ------------------------------------------------------------------- */

static kh_status count_disturbed(kh_study *s, size_t kind, kh_error *err) {
    const kh_model_info *info = s->info;
    kh_perturb_row *row = &s->out->rows[kind];
    kh_pass *pass = s->disturbed[kind];
    bool *known = kh_calloc(s->patches, sizeof *known);
    if (!known) return kh_fail(err, KH_E_MEMORY, "no memory for a batch");
    kh_status status = kh_pass_run(pass, s->images, s->count, err);
    for (size_t i = 0; i < s->count && !status; i++) {
        const float *rows =
            kh_pass_tap(pass, 0) + (i * info->tokens + info->prefix_tokens) * info->dim;
        status = kh_study_known(s, rows, s->patches, s->truth[i], known, err);
        row->images++;
        row->hits +=
            kh_study_is_hit(kh_pass_logits(pass) + i * s->classes, s->classes, s->truth[i]);
        row->base_hits += s->is_hit[i];
        for (size_t t = 0; t < s->patches; t++) {
            row->tokens++;
            row->identifiable += known[t];
            row->base_identifiable += s->is_known[i * s->patches + t];
        }
    }
    kh_free(known);
    return status;
}

/* ---- missing tokens ------------------------------------------------------------------------ */

/* Only patches with this label (1: on the subject) are left. */
static kh_status count_missing(kh_study *s, size_t i, size_t kind, uint8_t kept_label,
                               kh_error *err) {
    const kh_model_info *info = s->info;
    const size_t prefix = info->prefix_tokens, dim = info->dim;
    const float *from = kh_pass_tap(s->base, 0) + i * info->tokens * dim;
    kh_perturb_row *row = &s->out->rows[kind];
    char site[48];
    size_t kept = 0;
    memcpy(s->rows, from, prefix * dim * sizeof *from);
    for (size_t t = 0; t < s->patches; t++)
        if (s->token_label[t] == kept_label) {
            memcpy(s->rows + (prefix + kept++) * dim, from + (prefix + t) * dim,
                   dim * sizeof *from);
            row->base_identifiable += s->is_known[i * s->patches + t];
        }
    (void)snprintf(site, sizeof site, "blocks.%zu.hook_resid_post", info->blocks - 1);
    const kh_tap tap = {.site = site};
    const kh_pass_spec spec = {
        .max_batch = 1, .taps = &tap, .tap_count = 1, .want_logits = true, .tokens = prefix + kept};
    kh_pass *pass = NULL;
    bool *known = kh_calloc(s->patches, sizeof *known);
    kh_status status = known ? kh_pass_create(s->ctx, s->model, &spec, &pass, err)
                             : kh_fail(err, KH_E_MEMORY, "no memory for a pass");
    if (!status) status = kh_pass_run_from(pass, s->rows, 1, err);
    if (!status)
        status =
            kh_study_known(s, kh_pass_tap(pass, 0) + prefix * dim, kept, s->truth[i], known, err);
    if (!status) {
        row->images++;
        row->hits += kh_study_is_hit(kh_pass_logits(pass), s->classes, s->truth[i]);
        row->base_hits += s->is_hit[i];
        row->tokens += kept;
        for (size_t t = 0; t < kept; t++)
            row->identifiable += known[t];
    }
    kh_free(known);
    kh_pass_free(pass);
    return status;
}

/* To whoever listens for images; else it is a warning. */
static void tell(const kh_study *s, void (*hears)(void *user, size_t image, const char *reason),
                 size_t image, const char *reason) {
    const kh_perturb_options *o = s->options;
    const char *name = kh_source_get(s->setup.source, image).name;
    char shown[KH_SHOWN_BYTES], text[2 * KH_SHOWN_BYTES + 200];
    if (hears) {
        hears(o->broken_user, image, reason);
    } else if (o->warn) {
        (void)snprintf(text, sizeof text, "%s: %s",
                       kh_shown(name, strlen(name), shown, sizeof shown), reason);
        o->warn(o->warn_user, text);
    }
}

static kh_status take_tokens(kh_study *s, size_t i, kh_error *err) {
    bool has_subject;
    kh_error why;
    KH_TRY(kh_subject_read(&s->subjects, &s->setup, s->ids[i], s->truth[i], s->labels,
                           s->on_subject, &has_subject, &why, err));
    if (why.code) {
        s->out->broken_maps++;
        tell(s, s->options->broken_map, s->ids[i], why.text);
    }
    s->maps_read += why.code == KH_OK && s->subjects.map_of[s->ids[i]] != SIZE_MAX &&
                    kh_subject_label(&s->subjects, &s->setup, s->truth[i]) != 0;
    if (!has_subject) return KH_OK;
    kh_token_labels(s->on_subject, s->info, s->options->by_majority, s->token_label);
    s->out->with_maps++;
    KH_TRY(count_missing(s, i, KH_NO_CONTEXT, 1, err));
    return count_missing(s, i, KH_NO_SUBJECT, 0, err);
}

/* ---- a batch ------------------------------------------------------------------------------- */

/* Coefficients of the class's best aligned neuron of all blocks. */
static void take_neuron_map(kh_study *s, size_t i) {
    const kh_model_info *info = s->info;
    const kh_ranked best = s->ranking.global[s->truth[i] * s->ranking.k];
    const size_t n = s->chosen_count[best.block];
    size_t column = 0;
    while (s->chosen[best.block][column] != best.index)
        column++;
    const float *tap = kh_pass_tap(s->base, s->tap_of[best.block]) +
                       (i * info->tokens + info->prefix_tokens) * n + column;
    for (size_t t = 0; t < s->patches; t++)
        s->neuron[i * s->patches + t] = tap[t * n];
}

static kh_status see_undisturbed(kh_study *s, kh_error *err) {
    const kh_model_info *info = s->info;
    KH_TRY(kh_pass_run(s->base, s->images, s->count, err));
    for (size_t i = 0; i < s->count; i++) {
        const float *z = kh_pass_logits(s->base) + i * s->classes;
        const float *rows =
            kh_pass_tap(s->base, 1) + (i * info->tokens + info->prefix_tokens) * info->dim;
        s->is_hit[i] = kh_study_is_hit(z, s->classes, s->truth[i]);
        s->margin[i] = kh_study_margin(z, s->classes, s->truth[i]);
        KH_TRY(kh_study_known(s, rows, s->patches, s->truth[i], s->is_known + i * s->patches, err));
        take_neuron_map(s, i);
    }
    return KH_OK;
}

static kh_status show(kh_study *s, kh_error *err) {
    const kh_perturb_options *o = s->options;
    if (!o->see) return KH_OK;
    float *neuron = kh_alloc_floats(s->patches);
    kh_status status = neuron ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a map");
    for (size_t i = 0; i < s->count && !status; i++) {
        const kh_ranked best = s->ranking.global[s->truth[i] * s->ranking.k];
        if (o->neuron_gradients)
            status = kh_lens_neuron_gradient(s->ctx, s->model, (kh_neuron){best.block, best.index},
                                             s->truth[i], s->images + i * s->floats, neuron, err);
        if (!status)
            o->see(o->see_user, s->ids[i], s->gradient + i * s->patches,
                   o->neuron_gradients ? neuron : NULL,
                   s->relevance ? s->relevant + i * s->patches : NULL);
    }
    kh_free(neuron);
    return status;
}

static kh_status see_batch(kh_study *s, kh_error *err) {
    if (s->count == 0) return KH_OK;
    KH_TRY(see_undisturbed(s, err));
    KH_TRY(count_disturbed(s, KH_ALONE, err));
    KH_TRY(count_disturbed(s, KH_NO_CLASS_TOKEN, err));
    for (size_t i = 0; i < s->count && s->has_maps; i++)
        KH_TRY(take_tokens(s, i, err));
    KH_TRY(kh_gradient_map_run(s->map, s->images, s->count, s->truth, s->gradient, err));
    if (s->relevance)
        KH_TRY(kh_relevance_run(s->relevance, s->images, s->count, s->truth, s->relevant, err));
    KH_TRY(kh_study_remove(s, err));
    s->out->labelled += s->count;
    return show(s, err);
}

/* ---- all images ---------------------------------------------------------------------------- */

static kh_status drive(kh_study *s, const kh_source *source, kh_error *err) {
    const kh_perturb_options *o = s->options;
    const kh_loader_options loading = {.how = &s->info->preprocess,
                                       .decode = o->decode,
                                       .end = kh_source_count(source),
                                       .threads = 2,
                                       .ahead = 2 * o->batch};
    kh_loader *loader = NULL;
    KH_TRY(kh_loader_create(source, &loading, &loader, err));
    kh_status status = KH_OK;
    bool more = true;
    while (!status && more) {
        kh_loaded one;
        status = kh_loader_next(loader, &one, &more, err);
        if (!status && more && one.status) {
            s->out->broken++;
            tell(s, o->broken, one.id, one.reason);
        } else if (!status && more) {
            const size_t truth = kh_source_get(source, one.id).truth;
            s->out->images++;
            if (truth < s->classes) {
                memcpy(s->images + s->count * s->floats, one.floats, s->floats * sizeof(float));
                s->ids[s->count] = one.id;
                s->truth[s->count++] = truth;
            }
        }
        if (status || (more && s->count < o->batch)) continue;
        status = see_batch(s, err);
        s->count = 0;
        if (!status && o->progress &&
            !o->progress(o->progress_user, "images", s->out->images + s->out->broken,
                         kh_source_count(source)))
            status = kh_fail(err, KH_E_STOPPED, "stopped behind image %zu",
                             s->out->images + s->out->broken);
    }
    kh_loader_free(loader);
    if (!status && s->out->labelled == 0)
        status = kh_fail(err, KH_E_NOT_FOUND,
                         "none of %zu image%s can be used: %zu could not be read, the others have "
                         "no true class of the model",
                         kh_source_count(source), KH_S(kh_source_count(source)), s->out->broken);
    if (!status && s->out->broken_maps > 0 && s->maps_read == 0)
        status = kh_fail(err, KH_E_FORMAT,
                         "label maps of %zu image%s could not be read, and no other image has one",
                         s->out->broken_maps, KH_S(s->out->broken_maps));
    return status;
}

kh_status kh_lens_perturb(kh_ctx *ctx, kh_model *model, const kh_source *source,
                          const kh_perturb_options *options, kh_perturbation *out, kh_error *err) {
    *out = (kh_perturbation){0};
    kh_study s = {.ctx = ctx, .model = model, .options = options, .out = out};
    kh_status status = kh_study_open(&s, source, err);
    if (!status) status = drive(&s, source, err);
    if (!status) kh_study_areas(&s);
    kh_study_close(&s);
    if (status) kh_perturbation_clear(out);
    return status;
}

void kh_perturbation_clear(kh_perturbation *p) {
    kh_free(p->points);
    *p = (kh_perturbation){0};
}
