/* Options of an ablation study: names, defaults, what they become for this model. */
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/text.h"

#include <math.h>
#include <string.h>

/* ---- names --------------------------------------------------------------------------------- */

static const char *const op_names[] = {"mean", "class-mean", "zero", "resample", "scale"};
static const char *const token_names[] = {"all", "cls", "image", "mask", "context"};
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
    KH_TRY(parse(token_names, KH_ABLATE_TOKENS, "choice of tokens", name, &at, err));
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
const char *kh_ablate_design_name(size_t bit) {
    static const char *const names[] = {"own", "sweep", "swap", "steer", "causal", "shared"};
    return names[bit];
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
                               .batch = 16,
                               .checkpoint_seconds = 600};
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
    if (kh_ablate_is_masked(o->tokens) && (!o->label_set || !o->source))
        return kh_fail(err, KH_E_ARG, "tokens %s need label maps of the images",
                       kh_ablate_tokens_name(o->tokens));
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

kh_status kh_ablate_prepare(kh_ablate_study *s, kh_error *err) {
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
    s->patches = s->info->tokens - s->info->prefix_tokens;
    s->classes = classes;
    KH_TRY(clip_grid(o->k, &o->k_count, s->units, true, "the grid of k", err));
    KH_TRY(clip_grid(o->sweep_k, &o->sweep_k_count, s->units, false, "the sweep's grid", err));
    if (o->swap_k > s->units) o->swap_k = s->units;
    if (o->steer_k > s->units) o->steer_k = s->units;
    return KH_OK;
}
