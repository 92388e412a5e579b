/* The conductor of an ablation study: two rounds over the images, then the tables. */
#include "lens/ablate.h"

#include "base/alloc.h"

/* ---- second round -------------------------------------------------------------------------- */

static kh_status read_image(kh_ablate_study *s, size_t image, float *to, kh_error *err) {
    bool is_broken = false;
    KH_TRY(s->read(s->user, s->index[image], to, &is_broken, err));
    if (is_broken)
        return kh_fail(err, KH_E_IO, "image %zu could be read before, and now it cannot",
                       s->index[image]);
    return KH_OK;
}

static bool needs_donors(const kh_ablate_study *s) {
    for (size_t i = 0; i < s->o.op_count; i++)
        if (s->o.ops[i] == KH_ABLATE_RESAMPLE) return true;
    return false;
}

typedef struct second_round {
    kh_ablate_base base, donors;
    double *log_prob, *scratch; /* [classes] */
} second_round;

static kh_status visit_batch(kh_ablate_study *s, second_round *r, size_t first, size_t count,
                             kh_error *err) {
    const size_t pixels = 3 * s->info->image_height * s->info->image_width;
    const bool donors = needs_donors(s);
    for (size_t i = 0; i < count; i++) {
        KH_TRY(read_image(s, first + i, s->pixels + i * pixels, err));
        if (donors) KH_TRY(read_image(s, s->donor[first + i], s->donor_pixels + i * pixels, err));
    }
    KH_TRY(kh_ablate_base_run(&r->base, s->pixels, count, err));
    if (donors) KH_TRY(kh_ablate_base_run(&r->donors, s->donor_pixels, count, err));
    for (size_t i = 0; i < count; i++) {
        const size_t done = s->asked + s->asked * (first + i) / s->images;
        if (s->o.progress && !s->o.progress(s->o.progress_user, "images", done, 2 * s->asked))
            return kh_ablate_stop(s, KH_ABLATE_SECOND, first + i, s->images, err);
        if (s->masks)
            kh_ablate_base_mask(&r->base, i, s->o.tokens, s->masks + (first + i) * s->patches);
        const float *logits = kh_pass_logits(r->base.pass) + i * s->classes;
        kh_ablate_visit v = {.study = s,
                             .image = first + i,
                             .truth = s->truth[first + i],
                             .state = &r->base.states[i],
                             .donor = donors ? &r->donors.states[i] : NULL,
                             .weight = r->base.weight + i * s->info->tokens,
                             .base = {logits, r->log_prob, 0},
                             .scratch = r->scratch};
        v.base.predicted = kh_ablate_predicted(logits, s->classes);
        kh_ablate_log_softmax(logits, s->classes, r->log_prob);
        kh_engine_new_image(&s->engine);
        KH_TRY(kh_ablate_visit_own(&v, err));
        KH_TRY(kh_ablate_visit_more(&v, err));
        s->visited = first + i + 1;
        KH_TRY(kh_ablate_save(s, KH_ABLATE_SECOND, false, err));
    }
    return KH_OK;
}

kh_status kh_ablate_run_designs(kh_ablate_study *s, kh_error *err) {
    second_round r = {.log_prob = kh_calloc(s->classes, sizeof(double)),
                      .scratch = kh_calloc(s->classes, sizeof(double))};
    kh_status status = KH_OK;
    if (!r.log_prob || !r.scratch) status = kh_fail(err, KH_E_MEMORY, "no memory for classes");
    if (!status)
        status = kh_engine_init(&s->engine, s->ctx, s->model, s->first_block, s->blocks,
                                s->o.tokens, s->o.batch, err);
    if (!status) status = kh_ablate_load(s, KH_ABLATE_SECOND, err);
    if (!status)
        status = kh_ablate_base_init(&r.base, s->ctx, s->model, s->first_block, s->blocks,
                                     s->o.image_batch, err);
    if (!status && needs_donors(s))
        status = kh_ablate_base_init(&r.donors, s->ctx, s->model, s->first_block, s->blocks,
                                     s->o.image_batch, err);
    while (s->visited < s->images && !status) {
        const size_t left = s->images - s->visited;
        status =
            visit_batch(s, &r, s->visited, left < s->o.image_batch ? left : s->o.image_batch, err);
    }
    /* whatever becomes of the tables; a disk without room for it may have some for them */
    if (!status) (void)kh_ablate_save(s, KH_ABLATE_SECOND, true, NULL);
    if (!status && s->o.progress)
        (void)s->o.progress(s->o.progress_user, "images", 2 * s->asked, 2 * s->asked);
    kh_ablate_base_clear(&r.donors);
    kh_ablate_base_clear(&r.base);
    kh_free(r.scratch);
    kh_free(r.log_prob);
    return status;
}

/* ---- all ----------------------------------------------------------------------------------- */

static void clear_study(kh_ablate_study *s) {
    void *const blocks[] = {s->pixels,        s->donor_pixels,   s->index,
                            s->truth,         s->donor,          s->other,
                            s->is_right,      s->base_margin,    s->predicted,
                            s->class_n,       s->sums,           s->magnitude,
                            s->weighted,      s->means,          s->class_means,
                            s->activation,    s->contribution,   s->ln,
                            s->fold,          s->order,          s->by_ln,
                            s->active,        s->ln_place,       s->decile,
                            s->members,       s->member_at,      s->own,
                            s->set_sums,      s->sweep,          s->pair_to,
                            s->pair_kind,     s->swap,           s->steer,
                            s->listed,        s->causal,         s->shared,
                            s->shared_random, s->shared_members, s->shared_values,
                            s->sets,          s->lists,          s->masks,
                            s->edited_of,     s->taken,          s->broken_at,
                            s->broken_maps_at};
    json_decref(s->fingerprint);
    kh_engine_clear(&s->engine);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        kh_free(blocks[i]);
}

static kh_status study(kh_ablate_study *s, size_t images, const size_t *truth, kh_ablation *out,
                       kh_error *err) {
    KH_TRY(kh_ablate_prepare(s, err));
    s->asked = images;
    s->asked_truth = truth;
    KH_TRY(kh_ablate_begin_state(s, err));
    KH_TRY(kh_ablate_gather_stats(s, err));
    KH_TRY(kh_ablate_rank_all(s, err));
    KH_TRY(kh_ablate_choose(s, err));
    KH_TRY(kh_ablate_plan_own(s, err));
    KH_TRY(kh_ablate_plan_more(s, err));
    KH_TRY(kh_ablate_run_designs(s, err));
    out->options = s->o;
    out->options.is_relative = NULL;
    out->options.progress = NULL;
    out->options.progress_user = NULL;
    out->options.broken_map = NULL;
    out->options.broken_map_user = NULL;
    out->options.label_set = NULL;
    out->options.source = NULL;
    out->options.state = NULL;
    out->options.image_set = NULL;
    out->classes = s->classes;
    out->neurons = s->units;
    out->images = s->images;
    out->broken = s->broken;
    out->unlabelled = s->unlabelled;
    out->unmasked = s->unmasked;
    out->broken_maps = s->broken_maps;
    out->variants = s->engine.done;
    KH_TRY(kh_ablate_make_room(s, out, err));
    KH_TRY(kh_ablate_effect_rows(s, out, err));
    KH_TRY(kh_ablate_curve_rows(s, out, err));
    KH_TRY(kh_ablate_sweep_rows(s, out, err));
    KH_TRY(kh_ablate_swap_rows(s, out, err));
    KH_TRY(kh_ablate_dose_rows(s, out, err));
    KH_TRY(kh_ablate_causal_rows(s, out, err));
    return kh_ablate_shared_rows(s, out, err);
}

kh_status kh_ablate(kh_ctx *ctx, const kh_model *model, const kh_ablate_options *options,
                    size_t images, const size_t *truth, kh_ablate_image_fn image, void *user,
                    kh_ablation *out, kh_error *err) {
    *out = (kh_ablation){0};
    kh_ablate_study *s = kh_calloc(1, sizeof *s);
    if (!s) return kh_fail(err, KH_E_MEMORY, "no memory for an ablation");
    *s = (kh_ablate_study){.ctx = ctx,
                           .model = model,
                           .info = kh_model_get_info(model),
                           .o = *options,
                           .read = image,
                           .user = user};
    const kh_status status = study(s, images, truth, out, err);
    clear_study(s);
    kh_free(s);
    if (status) kh_ablation_clear(out);
    return status;
}

void kh_ablation_clear(kh_ablation *a) {
    if (!a) return;
    kh_free(a->effects);
    kh_free(a->points);
    kh_free(a->swaps);
    kh_free(a->doses);
    kh_free(a->listed);
    kh_free(a->correlations);
    kh_free(a->shared);
    kh_free(a->class_rows);
    kh_free(a->quantities);
    *a = (kh_ablation){0};
}
