#include "dream/loss.h"

#include <math.h>

#include "base/alloc.h"

double kh_gelu_phi(double h) {
    return 0.5 * erfc(-h * 0.70710678118654752440);
}

double kh_gelu(double h) {
    return h * kh_gelu_phi(h);
}

double kh_gelu_slope(double h) {
    return kh_gelu_phi(h) + h * 0.39894228040143267794 * exp(-0.5 * h * h);
}

/* ---- which tokens ------------------------------------------------------------------------------
 */

typedef struct range {
    size_t first, end;
} range;

static range tokens_of(const kh_dream *d, const kh_model_info *info) {
    switch (d->objective.tokens) {
    case KH_TOKENS_CLASS:
        return (range){0, 1};
    case KH_TOKENS_PATCHES:
        return (range){info->prefix_tokens, info->tokens};
    case KH_TOKENS_CELL:
        return (range){info->prefix_tokens + d->objective.cell,
                       info->prefix_tokens + d->objective.cell + 1};
    case KH_TOKENS_ALL:
    case KH_TOKENS_BOTH:
        break;
    }
    return (range){0, info->tokens};
}

/* What a token counts in the mean over tokens. */
static double share_of(const kh_dream *d, const kh_model_info *info, size_t token) {
    const range tokens = tokens_of(d, info);
    if (d->objective.tokens != KH_TOKENS_BOTH) return 1.0 / (double)(tokens.end - tokens.first);
    if (token == 0) return 0.5;
    return token < info->prefix_tokens ? 0.0 : 0.5 / (double)(info->tokens - info->prefix_tokens);
}

/* A term's weight for one image; with interpolation from weight to last_weight. */
static double weight_of(const kh_dream *d, const kh_dream_term *t, size_t image) {
    if (!d->objective.interpolates || d->images < 2) return t->weight;
    const double along = (double)image / (double)(d->images - 1);
    return t->weight + along * (t->last_weight - t->weight);
}

/* ---- one neuron --------------------------------------------------------------------------------
 */

typedef struct gated {
    double value, slope;
} gated;

static gated gate_of(const kh_dream *d, double h) {
    switch (d->objective.gate) {
    case KH_GATE_PRE:
        break;
    case KH_GATE_POST_WARM:
        if (d->steps_done < d->objective.warm_steps) break;
        return (gated){kh_gelu(h), kh_gelu_slope(h)};
    case KH_GATE_POST:
        return (gated){kh_gelu(h), kh_gelu_slope(h)};
    case KH_GATE_POST_POSITIVE:
        return (gated){kh_gelu(h), fmax(kh_gelu_slope(h), 0)};
    case KH_GATE_POST_PHI:
        return (gated){kh_gelu(h), kh_gelu_phi(h)};
    }
    return (gated){h, 1};
}

/* Sums behind kh_dream_stats, over views and tokens of the first neuron term. */
typedef struct tally {
    size_t count;
    double pre, post, positive, alive, max;
} tally;

static void tally_add(tally *t, double h) {
    t->max = t->count == 0 || h > t->max ? h : t->max;
    t->count++;
    t->pre += h;
    t->post += kh_gelu(h);
    t->positive += h > 0;
    t->alive += h > -0.75;
}

static void neuron_view(const kh_loss_batch *b, kh_dream *d, const kh_dream_term *t, double weight,
                        size_t view, tally *counts) {
    const kh_model_info *info = kh_model_get_info(b->wants->model);
    const kh_wants_block *at = &b->wants->blocks[t->block];
    const size_t width = at->has_dense ? info->neurons : at->count;
    const size_t unit = at->has_dense ? t->index : at->at[t->index];
    const size_t tapped = b->wants->only_class ? 1 : info->tokens;
    const float *pre = kh_pass_tap(b->pass, at->tap_pre) + view * tapped * width;
    const range tokens = tokens_of(d, info);
    for (size_t k = tokens.first; k < tokens.end; k++) {
        const double share = weight / (double)(d->images * d->views) * share_of(d, info, k);
        const double h = (double)pre[k * width + unit];
        const gated g = gate_of(d, h);
        if (counts) tally_add(counts, h);
        d->view_loss -= share * g.value;
        const float slope = (float)(-share * g.slope);
        const size_t row = view * info->tokens + k;
        if (at->seed_input == SIZE_MAX) {
            b->seeds[at->seed_pre][row * info->neurons + t->index] += slope;
            continue;
        }
        float *seed = b->seeds[at->seed_input] + row * info->dim;
        const float *key = at->rows + at->at[t->index] * info->dim;
        for (size_t i = 0; i < info->dim; i++)
            seed[i] += slope * key[i];
    }
}

static void value_view(const kh_loss_batch *b, kh_dream *d, const kh_dream_term *t, double weight,
                       size_t view) {
    const kh_model_info *info = kh_model_get_info(b->wants->model);
    const kh_wants_block *at = &b->wants->blocks[t->block];
    const float *z = kh_pass_tap(b->pass, at->tap_value);
    const range tokens = tokens_of(d, info);
    for (size_t k = tokens.first; k < tokens.end; k++) {
        const double share = weight / (double)(d->images * d->views) * share_of(d, info, k);
        const size_t i = (view * info->tokens + k) * info->dim + t->index;
        d->view_loss -= share * (double)z[i];
        b->seeds[at->seed_value][i] -= (float)share;
    }
}

/* f = (h.d) m^p with m = max(0.1, cos); f' = m^p d + (h.d) p m^(p-1) (d / (|h| |d|) - cos h /
 * |h|^2) where cos > 0.1. */
static void direction_view(const kh_loss_batch *b, kh_dream *d, const kh_dream_term *t,
                           double weight, size_t view) {
    const kh_model_info *info = kh_model_get_info(b->wants->model);
    const kh_wants_block *at = &b->wants->blocks[t->block];
    const range tokens = tokens_of(d, info);
    for (size_t k = tokens.first; k < tokens.end; k++) {
        const double share = weight / (double)(d->images * d->views) * share_of(d, info, k);
        const size_t row = (view * info->tokens + k) * info->dim;
        const float *h = kh_pass_tap(b->pass, at->tap_stream) + row;
        double dot = 0, hh = 0, dd = 0;
        for (size_t i = 0; i < info->dim; i++) {
            dot += (double)h[i] * (double)t->direction[i];
            hh += (double)h[i] * (double)h[i];
            dd += (double)t->direction[i] * (double)t->direction[i];
        }
        const double lengths = sqrt(hh * dd), cosine = lengths > 0 ? dot / lengths : 0;
        const double m = fmax(0.1, cosine), power = pow(m, t->power);
        const double turn = cosine > 0.1 ? dot * t->power * pow(m, t->power - 1) : 0;
        d->view_loss -= share * dot * power;
        for (size_t i = 0; i < info->dim; i++) {
            const double along = (double)t->direction[i];
            double slope = power * along;
            if (turn != 0) slope += turn * (along / lengths - cosine * (double)h[i] / hh);
            b->seeds[at->seed_stream][row + i] -= (float)(share * slope);
        }
    }
}

/* logit: -z_c; probability: -p_c, dz = -p_c (e_c - p); log-probability: dz = -(e_c - p) */
static void class_view(const kh_loss_batch *b, kh_dream *d, const kh_dream_term *t, double weight,
                       size_t view) {
    const size_t classes = kh_model_get_info(b->wants->model)->classes;
    const float *z = kh_pass_logits(b->pass) + view * classes;
    float *seed = b->seeds[b->wants->seed_logits] + view * classes;
    const double share = weight / (double)(d->images * d->views);
    if (t->goal == KH_GOAL_LOGIT) {
        d->view_loss -= share * (double)z[t->index];
        seed[t->index] -= (float)share;
        return;
    }
    double top = (double)z[0], sum = 0;
    for (size_t c = 0; c < classes; c++)
        top = fmax(top, (double)z[c]);
    for (size_t c = 0; c < classes; c++)
        sum += exp((double)z[c] - top);
    const double log_p = (double)z[t->index] - top - log(sum);
    const bool is_log = t->goal == KH_GOAL_LOG_PROBABILITY;
    const double factor = is_log ? share : share * exp(log_p);
    d->view_loss -= is_log ? share * log_p : share * exp(log_p);
    for (size_t c = 0; c < classes; c++) {
        const double p = exp((double)z[c] - top) / sum;
        seed[c] -= (float)(factor * ((c == t->index) - p));
    }
}

/* ---- diversity ---------------------------------------------------------------------------------
 */

/* Blocks of neuron terms, each once, with the sum of their weights. */
static double weight_in_block(const kh_dream *d, size_t term, bool *is_first) {
    double sum = 0;
    *is_first = d->terms[term].goal == KH_GOAL_NEURON;
    for (size_t i = 0; i < d->objective.term_count; i++) {
        const kh_dream_term *t = &d->terms[i];
        if (t->goal != KH_GOAL_NEURON || t->block != d->terms[term].block) continue;
        sum += t->weight;
        if (i < term) *is_first = false;
    }
    return sum;
}

static kh_status diversity_of_block(const kh_loss_batch *b, kh_dream *d, size_t block,
                                    double weight, double *cosine, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(b->wants->model);
    const kh_wants_block *at = &b->wants->blocks[block];
    const float *hidden[64];
    float *seeds[64];
    const size_t first = d->objective.tokens == KH_TOKENS_CLASS ? 1 : 0;
    double lambda = d->objective.lambda * weight / (double)d->views;
    if (d->objective.lambda_is_relative) /* units sum over tokens, Grams do not */
        lambda /=
            (double)(d->images * (d->images - 1)) *
            (d->objective.diversity == KH_DIVERSITY_UNITS ? (double)(info->tokens - first) : 1);
    *cosine = 0;
    for (size_t v = 0; v < d->views; v++) {
        for (size_t i = 0; i < d->images; i++) {
            const size_t start = (d->first_view + i * d->views + v) * info->tokens * info->neurons;
            hidden[i] = kh_pass_tap(b->pass, at->tap_pre) + start;
            seeds[i] = b->seeds[at->seed_pre] + start;
        }
        double value, mean;
        KH_TRY(kh_diversity(d->objective.diversity, d->images, info->tokens, info->neurons, first,
                            hidden, lambda, seeds, &value, &mean, err));
        d->view_loss += lambda * value;
        *cosine += mean / (double)d->views;
    }
    return KH_OK;
}

/* ---- together ----------------------------------------------------------------------------------
 */

static void one_view(const kh_loss_batch *b, kh_dream *d, size_t image, size_t view,
                     tally *counts) {
    bool is_first = true;
    for (size_t i = 0; i < d->objective.term_count; i++) {
        const kh_dream_term *t = &d->terms[i];
        const double weight = weight_of(d, t, image);
        switch (t->goal) {
        case KH_GOAL_NEURON:
            neuron_view(b, d, t, weight, view, is_first ? counts : NULL);
            is_first = false;
            break;
        case KH_GOAL_VALUE:
            value_view(b, d, t, weight, view);
            break;
        case KH_GOAL_DIRECTION:
            direction_view(b, d, t, weight, view);
            break;
        case KH_GOAL_LOGIT:
        case KH_GOAL_PROBABILITY:
        case KH_GOAL_LOG_PROBABILITY:
            class_view(b, d, t, weight, view);
            break;
        }
    }
}

kh_status kh_loss_dream(const kh_loss_batch *b, kh_dream *d, kh_error *err) {
    tally counts = {0};
    d->view_loss = 0;
    for (size_t i = 0; i < d->images; i++)
        for (size_t v = 0; v < d->views; v++)
            one_view(b, d, i, d->first_view + i * d->views + v, &counts);
    d->stats.diversity = (double)NAN;
    for (size_t i = 0; d->objective.diversity != KH_DIVERSITY_NONE && i < d->objective.term_count;
         i++) {
        bool is_first;
        const double weight = weight_in_block(d, i, &is_first);
        double cosine;
        if (!is_first) continue;
        KH_TRY(diversity_of_block(b, d, d->terms[i].block, weight, &cosine, err));
        if (isnan(d->stats.diversity)) d->stats.diversity = cosine;
    }
    const double n = (double)counts.count; /* 0 / 0 is what "none" should show */
    d->stats.mean_pre = counts.pre / n;
    d->stats.mean_post = counts.post / n;
    d->stats.share_positive = counts.positive / n;
    d->stats.share_alive = counts.alive / n;
    d->stats.max_pre = counts.count ? counts.max : (double)NAN;
    return KH_OK;
}
