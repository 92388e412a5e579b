/* Which neurons the truth report looks at, and what their scores say about a class. */
#include "keyhole/truth.h"

#include "base/alloc.h"
#include "base/rng.h"
#include "base/status.h"

#include <math.h>

/* ---- means --------------------------------------------------------------------------------- */

/* The fields that are averaged, one after the other. */
static double *field(kh_truth_mean *mean, size_t i) {
    double *const fields[] = {&mean->share,   &mean->iou,      &mean->ceiling,
                              &mean->recall,  &mean->auroc,    &mean->inside,
                              &mean->outside, &mean->pointing, &mean->precision};
    return i < sizeof fields / sizeof *fields ? fields[i] : NULL;
}

static double mean_of(double sum, size_t count) {
    return count ? sum / (double)count : (double)NAN;
}

void kh_lens_truth_mean(const kh_truth_score *scores, size_t images, size_t stride,
                        kh_truth_mean *out) {
    *out = (kh_truth_mean){0};
    size_t masks = 0, besides = 0;
    for (size_t i = 0; i < images; i++) {
        const kh_truth_score *s = &scores[i * stride];
        if (s->object == 0) continue;
        out->images++;
        out->silent += s->is_silent;
        out->share += s->share;
        out->iou += s->iou;
        out->ceiling += s->ceiling;
        out->recall += s->recall;
        out->pointing += s->is_hit;
        out->inside += s->inside;
        if (s->kept) {
            masks++;
            out->precision += s->precision;
        }
        if (!isnan(s->auroc)) {
            besides++;
            out->auroc += s->auroc;
            out->outside += s->outside;
        }
    }
    for (size_t i = 0; field(out, i); i++) {
        double *f = field(out, i);
        *f = mean_of(*f, f == &out->precision                     ? masks
                         : f == &out->auroc || f == &out->outside ? besides
                                                                  : out->images);
    }
}

void kh_lens_truth_mean_of(const kh_truth_mean *means, size_t count, kh_truth_mean *out) {
    *out = (kh_truth_mean){0};
    for (size_t n = 0; n < count; n++) {
        out->images += means[n].images;
        out->silent += means[n].silent;
    }
    for (size_t i = 0; field(out, i); i++) {
        size_t kept = 0;
        double sum = 0;
        for (size_t n = 0; n < count; n++) {
            kh_truth_mean one = means[n];
            const double v = *field(&one, i);
            if (isnan(v)) continue;
            kept++;
            sum += v;
        }
        *field(out, i) = mean_of(sum, kept);
    }
}

/* ---- plan ---------------------------------------------------------------------------------- */

static bool is_among(const kh_ranked *list, size_t count, size_t block, size_t index) {
    for (size_t i = 0; i < count; i++)
        if (list[i].block == block && list[i].index == index) return true;
    return false;
}

/* `draws` different neurons of rank 0's block behind the first topk of row. */
static kh_status draw(const kh_truth_plan *plan, size_t class_index, uint64_t seed, kh_ranked *row,
                      kh_error *err) {
    const uint32_t block = row[0].block;
    const size_t units = plan->neurons.units;
    size_t taken = 0;
    for (size_t i = 0; i < plan->topk; i++)
        taken += row[i].block == block;
    if (plan->draws > units - taken)
        return kh_fail(err, KH_E_ARG,
                       "%zu random neurons; block %u has %zu beside the class's first %zu",
                       plan->draws, block, units - taken, plan->topk);
    kh_rng rng = kh_rng_make(seed, class_index);
    for (size_t i = plan->topk; i < plan->topk + plan->draws;) {
        const size_t index = kh_rng_below(&rng, units);
        if (is_among(row, i, block, index)) continue;
        row[i++] = (kh_ranked){block, (uint32_t)index, NAN};
    }
    return KH_OK;
}

kh_status kh_lens_truth_plan(const kh_ranking *ranking, size_t topk, size_t draws, uint64_t seed,
                             kh_truth_plan *out, kh_error *err) {
    *out = (kh_truth_plan){.topk = topk,
                           .draws = draws,
                           .blocks = ranking->blocks,
                           .classes = ranking->classes,
                           .scored = topk + draws + ranking->blocks};
    if (topk == 0 || topk > ranking->k)
        return kh_fail(err, KH_E_ARG, "%zu neurons per class; the ranking has 1 to %zu", topk,
                       ranking->k);
    if (draws > ranking->units)
        return kh_fail(err, KH_E_ARG, "%zu random neurons; a block has %zu", draws, ranking->units);
    out->count = out->scored + out->classes;
    out->neurons = (kh_ranking){.mode = ranking->mode,
                                .source = ranking->source,
                                .blocks = ranking->blocks,
                                .units = ranking->units,
                                .classes = ranking->classes,
                                .k = out->count};
    kh_ranked *all = kh_calloc(out->classes, out->count * sizeof *all);
    if (!all)
        return kh_fail(err, KH_E_MEMORY, "no memory for the neurons of %zu classes", out->classes);
    out->neurons.global = all;
    kh_status status = KH_OK;
    for (size_t c = 0; c < out->classes && !status; c++) {
        kh_ranked *row = all + c * out->count;
        for (size_t i = 0; i < topk; i++)
            row[i] = ranking->global[c * ranking->k + i];
        status = draw(out, c, seed, row, err);
        for (size_t b = 0; b < out->blocks; b++) {
            const size_t at = b * ranking->k * ranking->classes + c;
            row[topk + draws + b] = (kh_ranked){(uint32_t)b, (uint32_t)ranking->block_index[at],
                                                ranking->block_score[at]};
        }
        for (size_t other = 0; other < out->classes; other++)
            row[out->scored + other] = ranking->global[other * ranking->k];
    }
    if (status) kh_truth_plan_clear(out);
    return status;
}

void kh_truth_plan_clear(kh_truth_plan *plan) {
    if (!plan) return;
    kh_ranking_clear(&plan->neurons);
    *plan = (kh_truth_plan){0};
}

/* ---- a class ------------------------------------------------------------------------------- */

void kh_lens_truth_class(const kh_truth_plan *plan, const kh_truth_score *scores, size_t images,
                         kh_truth_mean *means, kh_truth_class *out) {
    for (size_t i = 0; i < plan->scored; i++)
        kh_lens_truth_mean(scores + i, images, plan->scored, &means[i]);
    *out = (kh_truth_class){.rank = means,
                            .draw = means + plan->topk,
                            .block = means + plan->topk + plan->draws,
                            .best_iou = KH_NO_CLASS,
                            .best_pointing = KH_NO_CLASS};
    kh_lens_truth_mean_of(out->draw, plan->draws, &out->random);
    if (means[0].images == 0) return;
    out->best_iou = out->best_pointing = 0;
    for (size_t i = 1; i < plan->topk; i++) {
        if (out->rank[i].iou > out->rank[out->best_iou].iou) out->best_iou = i;
        if (out->rank[i].pointing > out->rank[out->best_pointing].pointing) out->best_pointing = i;
    }
    for (size_t i = 0; i < plan->draws; i++)
        out->draws_below += out->draw[i].iou < out->rank[0].iou;
}

kh_status kh_lens_truth_selectivity(const float *peaks, const size_t *class_index, size_t images,
                                    size_t classes, kh_truth_selectivity *out, kh_error *err) {
    float *column = kh_alloc_floats(images);
    uint8_t *is_own = kh_calloc(images, 1);
    kh_status status;
    if (!column || !is_own) {
        status = kh_fail(err, KH_E_MEMORY, "no memory for the peaks of %zu images", images);
        goto done;
    }
    status = KH_OK;
    for (size_t c = 0; c < classes; c++) {
        double sum[2] = {0, 0};
        size_t count[2] = {0, 0};
        for (size_t i = 0; i < images; i++) {
            column[i] = peaks[i * classes + c];
            is_own[i] = class_index[i] == c;
            sum[is_own[i]] += (double)column[i];
            count[is_own[i]]++;
        }
        out[c].own = mean_of(sum[1], count[1]);
        out[c].other = mean_of(sum[0], count[0]);
        KH_GO(kh_lens_auroc(column, is_own, images, &out[c].auroc, err));
    }

done:
    kh_free(is_own);
    kh_free(column);
    return status;
}
