/* The conductor of an ablation study: options, two rounds over the images, the tables. */
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

/* ---- names --------------------------------------------------------------------------------- */

static const char *const op_names[] = {"mean", "class-mean", "zero", "resample", "scale"};
static const char *const token_names[] = {"all", "cls", "image"};
static const char *const rank_names[] = {"ln", "fold", "contrib", "activation", "random", "bottom"};
static const char *const metric_names[] = {"d_logit", "d_margin", "d_prob",     "top1", "top5",
                                           "d_top1",  "rank",     "kl",         "flip", "margin",
                                           "share",   "d_swept",  "selectivity"};

static kh_status parse(const char *const *names, size_t count, const char *what, const char *name,
                       size_t *out, kh_error *err) {
    char known[256] = "", shown[KH_SHOWN_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            *out = i;
            return KH_OK;
        }
        const size_t length = strlen(names[i]);
        memcpy(known + used, i ? ", " : "", i ? 2 : 0);
        used += i ? 2 : 0;
        memcpy(known + used, names[i], length + 1);
        used += length;
    }
    return kh_fail(err, KH_E_ARG, "%s '%s' is unknown; there are %s", what,
                   kh_shown(name, strlen(name), shown, sizeof shown), known);
}

const char *kh_ablate_op_name(kh_ablate_op op) {
    return op_names[op];
}
kh_status kh_ablate_op_parse(const char *name, kh_ablate_op *out, kh_error *err) {
    size_t at = 0;
    KH_TRY(parse(op_names, KH_ABLATE_OPS, "operation", name, &at, err));
    *out = (kh_ablate_op)at;
    return KH_OK;
}
const char *kh_ablate_tokens_name(kh_ablate_tokens tokens) {
    return token_names[tokens];
}
kh_status kh_ablate_tokens_parse(const char *name, kh_ablate_tokens *out, kh_error *err) {
    size_t at = 0;
    KH_TRY(parse(token_names, 3, "choice of tokens", name, &at, err));
    *out = (kh_ablate_tokens)at;
    return KH_OK;
}
const char *kh_ablate_rank_name(kh_ablate_rank rank) {
    return rank_names[rank];
}
kh_status kh_ablate_rank_parse(const char *name, kh_ablate_rank *out, kh_error *err) {
    size_t at = 0;
    KH_TRY(parse(rank_names, KH_ABLATE_RANKS, "ranking", name, &at, err));
    *out = (kh_ablate_rank)at;
    return KH_OK;
}
const char *kh_ablate_metric_name(kh_ablate_metric metric) {
    return metric_names[metric];
}
const char *kh_ablate_set_name(kh_ablate_set set) {
    static const char *const names[] = {"ranked", "random", "active"};
    return names[set];
}
const char *kh_ablate_images_name(kh_ablate_images images) {
    static const char *const names[] = {"own", "other", "both"};
    return names[images];
}
const char *kh_ablate_pair_name(kh_ablate_pair pair) {
    static const char *const names[] = {"relative", "near", "far"};
    return names[pair];
}
const char *kh_ablate_pick_name(kh_ablate_pick pick) {
    static const char *const names[] = {"ln", "contrib", "activation", "random"};
    return names[pick];
}
const char *kh_ablate_level_name(kh_ablate_level level) {
    static const char *const names[] = {"class", "mean", "pooled"};
    return names[level];
}

/* ---- options ------------------------------------------------------------------------------- */

kh_ablate_options kh_ablate_options_default(void) {
    return (kh_ablate_options){.designs = KH_ABLATE_EVERYTHING,
                               .ops = {KH_ABLATE_MEAN, KH_ABLATE_ZERO},
                               .op_count = 2,
                               .block = SIZE_MAX,
                               .k = {1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000},
                               .k_count = 11,
                               .sets = 20,
                               .sweep_k = {1, 3, 10},
                               .sweep_k_count = 3,
                               .swap_k = 10,
                               .steer_k = 10,
                               .pairs = 4,
                               .keys = 10,
                               .random_keys = 20,
                               .most_shared = 50,
                               .resamples = 1000,
                               .image_batch = 4,
                               .batch = 16};
}

/* Ascending, from 1 on, none above `most`; what is above becomes `most`. */
static kh_status clip_grid(size_t *k, size_t *count, size_t most, bool adds_most, const char *what,
                           kh_error *err) {
    size_t kept = 0;
    if (*count >= KH_ABLATE_MOST_K)
        return kh_fail(err, KH_E_ARG, "%s has %zu sizes; %d are the most", what, *count,
                       KH_ABLATE_MOST_K - 1);
    for (size_t i = 0; i < *count; i++) {
        if (k[i] == 0 || (i && k[i] <= k[i - 1]))
            return kh_fail(err, KH_E_ARG, "%s: sizes ascend from 1 on, %zu does not fit", what,
                           k[i]);
        if (k[i] < most) kept = i + 1;
    }
    if (adds_most || kept < *count) k[kept++] = most;
    *count = kept;
    return KH_OK;
}

static kh_status check_options(const kh_ablate_study *s, kh_error *err) {
    const kh_ablate_options *o = &s->o;
    if (o->op_count == 0 || o->op_count > KH_ABLATE_OPS)
        return kh_fail(err, KH_E_ARG, "%zu operations; 1 to %d are possible", o->op_count,
                       KH_ABLATE_OPS);
    for (size_t i = 0; i < o->op_count; i++)
        for (size_t j = 0; j < i; j++)
            if (o->ops[i] == o->ops[j])
                return kh_fail(err, KH_E_ARG, "operation %s is listed twice",
                               kh_ablate_op_name(o->ops[i]));
    if (o->is_global && o->block != SIZE_MAX)
        return kh_fail(err, KH_E_ARG, "one block or all of them, not both");
    if (o->block != SIZE_MAX && o->block >= s->info->blocks)
        return kh_fail(err, KH_E_ARG, "block %zu; the model has blocks 0 to %zu", o->block,
                       s->info->blocks - 1);
    if (o->resamples == 0 || o->image_batch == 0 || o->batch == 0)
        return kh_fail(err, KH_E_ARG, "resamples and batches start at 1");
    if ((o->designs & KH_ABLATE_SWEEP) && o->sweep_k_count == 0)
        return kh_fail(err, KH_E_ARG, "a sweep needs numbers of neurons");
    if (((o->designs & KH_ABLATE_SWAP) && o->swap_k == 0) ||
        ((o->designs & KH_ABLATE_STEER) && o->steer_k == 0))
        return kh_fail(err, KH_E_ARG, "swaps and steering need at least one neuron");
    if (!(fabs(o->alpha) <= 1e6)) return kh_fail(err, KH_E_ARG, "alpha is not a usable factor");
    return KH_OK;
}

/* The block that holds the top-1 neuron of most classes. */
static kh_status choose_block(kh_ablate_study *s, kh_error *err) {
    kh_rank_options options = kh_rank_options_default();
    kh_ranking ranking;
    options.k = 1;
    KH_TRY(kh_lens_rank(s->ctx, s->model, &options, &ranking, err));
    size_t *counts = kh_calloc(ranking.blocks, sizeof *counts), best = 0;
    if (counts) {
        kh_lens_block_histogram(&ranking, 0, counts);
        for (size_t b = 1; b < ranking.blocks; b++)
            if (counts[b] > counts[best]) best = b;
    }
    const bool ok = counts != NULL;
    kh_free(counts);
    kh_ranking_clear(&ranking);
    if (!ok) return kh_fail(err, KH_E_MEMORY, "no memory for a histogram of blocks");
    s->o.block = best;
    return KH_OK;
}

static kh_status prepare(kh_ablate_study *s, kh_error *err) {
    kh_ablate_options *o = &s->o;
    size_t units, classes;
    const kh_align_options align = kh_align_options_default();
    KH_TRY(check_options(s, err));
    KH_TRY(kh_ablate_check_model(s->model, o->tokens, err));
    KH_TRY(kh_lens_alignment_shape(s->model, &align, &units, &classes, err));
    if (classes != s->info->classes)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s has %zu class embeddings for %zu classes",
                       s->info->architecture, classes, s->info->classes);
    if (!o->is_global && o->block == SIZE_MAX) KH_TRY(choose_block(s, err));
    s->first_block = o->is_global ? 0 : o->block;
    s->blocks = o->is_global ? s->info->blocks : 1;
    s->units = s->blocks * s->info->neurons;
    s->groups = s->info->prefix_tokens + 1;
    s->classes = classes;
    KH_TRY(clip_grid(o->k, &o->k_count, s->units, true, "the grid of k", err));
    KH_TRY(clip_grid(o->sweep_k, &o->sweep_k_count, s->units, false, "the sweep's grid", err));
    if (o->swap_k > s->units) o->swap_k = s->units;
    if (o->steer_k > s->units) o->steer_k = s->units;
    return KH_OK;
}

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
            return kh_fail(err, KH_E_STOPPED, "stopped after %zu of %zu images", first + i,
                           s->images);
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
    if (!status)
        status = kh_ablate_base_init(&r.base, s->ctx, s->model, s->first_block, s->blocks,
                                     s->o.image_batch, err);
    if (!status && needs_donors(s))
        status = kh_ablate_base_init(&r.donors, s->ctx, s->model, s->first_block, s->blocks,
                                     s->o.image_batch, err);
    for (size_t first = 0; first < s->images && !status; first += s->o.image_batch) {
        const size_t left = s->images - first;
        status = visit_batch(s, &r, first, left < s->o.image_batch ? left : s->o.image_batch, err);
    }
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
                            s->sets,          s->lists};
    kh_engine_clear(&s->engine);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        kh_free(blocks[i]);
}

static kh_status study(kh_ablate_study *s, size_t images, const size_t *truth, kh_ablation *out,
                       kh_error *err) {
    KH_TRY(prepare(s, err));
    KH_TRY(kh_ablate_gather_stats(s, images, truth, err));
    KH_TRY(kh_ablate_rank_all(s, err));
    KH_TRY(kh_ablate_choose(s, err));
    KH_TRY(kh_ablate_plan_own(s, err));
    KH_TRY(kh_ablate_plan_more(s, err));
    KH_TRY(kh_ablate_run_designs(s, err));
    out->options = s->o;
    out->options.is_relative = NULL;
    out->options.progress = NULL;
    out->options.progress_user = NULL;
    out->classes = s->classes;
    out->neurons = s->units;
    out->images = s->images;
    out->broken = s->broken;
    out->unlabelled = s->unlabelled;
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
