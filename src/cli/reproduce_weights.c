/* Claims about the weights alone: C1, C2, C11; and figure 3's numbers. */
#include "cli/reproduce.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>

static size_t fullest(const kh_reproduce *r) {
    size_t best = 0;
    for (size_t b = 1; b < r->info->blocks; b++)
        if (r->top_blocks[b] > r->top_blocks[best]) best = b;
    return best;
}

static void judge_blocks(kh_reproduce *r) {
    kh_claim *one = kh_claim_of(r, 1), *two = kh_claim_of(r, 2);
    const size_t blocks = r->info->blocks, classes = r->info->classes, peak = fullest(r);
    const size_t later = kh_claim_later(blocks), named = blocks >= 2 ? blocks - 2 : 0;
    kh_band share = {(double)NAN, (double)NAN, (double)NAN}, late = share;
    char name[80];
    one->verdict = kh_claim_c1(r->top_blocks, blocks, &share);
    two->verdict = kh_claim_c2(r->top_blocks, blocks, &late);
    kh_claim_levels(one, 1.0 / (double)blocks, 0.5);
    kh_claim_levels(two, (double)(blocks - later) / (double)blocks, 0.9);
    (void)snprintf(name, sizeof name, "classes with their top-1 in block %zu", named);
    kh_claim_add(one, name, share, classes, "Wilson over classes", "%");
    (void)snprintf(name, sizeof name, "classes in the fullest block, %zu", peak);
    kh_claim_add(one, name, kh_lens_wilson(r->top_blocks[peak], classes), classes,
                 "Wilson over classes", "%");
    (void)snprintf(name, sizeof name, "block %zu under a random head", named);
    kh_claim_add(one, name, r->null_band.block_share[named], r->null_band.draws,
                 "95 % of random heads", "%");
    (void)snprintf(one->found, sizeof one->found,
                   "%zu of %zu classes have their best aligned neuron in block %zu, the last but "
                   "one; most, %zu, have it in block %zu.",
                   r->top_blocks[named], classes, named, r->top_blocks[peak], peak);
    double null = 0;
    size_t count = 0;
    for (size_t b = later; b < blocks; b++) {
        null += r->null_band.block_share[b].mean;
        count += r->top_blocks[b];
    }
    (void)snprintf(name, sizeof name, "classes in blocks %zu to %zu", later, blocks - 1);
    kh_claim_add(two, name, late, classes, "Wilson over classes", "%");
    kh_claim_add_plain(two, "the same under a random head (mean)", null, "%");
    (void)snprintf(two->found, sizeof two->found,
                   "%zu of %zu classes have it in the last third, blocks %zu to %zu.", count,
                   classes, later, blocks - 1);
    for (kh_claim *claim = one; claim <= two; claim++)
        (void)snprintf(claim->setting, sizeof claim->setting,
                       "Weights alone; %zu classes, %zu value vectors, alignment ln; chance from "
                       "%zu random heads.",
                       classes, blocks * r->info->neurons, r->null_band.draws);
    kh_claim_too_few(one, classes, "classes");
    kh_claim_too_few(two, classes, "classes");
}

static kh_status judge_gap(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 11);
    const size_t classes = r->info->classes, k = r->ranking.k;
    double *gap = kh_calloc(classes, 3 * sizeof *gap);
    if (!gap) return kh_fail(err, KH_E_MEMORY, "no memory for %zu classes", classes);
    double *spread = gap + classes, *second = spread + classes;
    for (size_t c = 0; c < classes; c++) {
        const kh_ranked *list = &r->ranking.global[c * k];
        const double first = (double)list[0].score - r->class_score[c];
        const double step = k > 1 ? (double)list[0].score - (double)list[1].score : (double)NAN;
        gap[c] = first > 0 ? step / first : (double)NAN;
        spread[c] = k > 2 && list[0].score > list[k - 1].score
                        ? step / ((double)list[0].score - (double)list[k - 1].score)
                        : (double)NAN;
        second[c] = step;
    }
    kh_band bands[3];
    size_t n[3] = {0};
    kh_status status = KH_OK;
    for (size_t i = 0; i < 3 && !status; i++)
        status = kh_reproduce_band(r, gap + i * classes, classes, &bands[i], &n[i], err);
    kh_free(gap);
    if (status) return status;
    claim->verdict = kh_claim_c11(bands[0]);
    kh_claim_levels(claim, (double)NAN, 0.25);
    kh_claim_add(claim, "gap, as a share of the first one's height", bands[0], n[0],
                 "bootstrap over classes", "%");
    kh_claim_add(claim, "gap, as a share of the way from rank 1 to 10", bands[1], n[1],
                 "bootstrap over classes", "%");
    kh_claim_add(claim, "gap (logits)", bands[2], n[2], "bootstrap over classes", "");
    (void)snprintf(claim->found, sizeof claim->found,
                   "The second neuron is %.0f %% lower than the first, measured from the class's "
                   "mean score. (Equal steps from rank 1 to 10 would give 11 %% of the way to the "
                   "first one, an exponential tail 35 %%.)",
                   100 * bands[0].mean);
    (void)snprintf(claim->setting, sizeof claim->setting,
                   "Weights alone; %zu classes, alignment ln over all blocks.", classes);
    kh_claim_too_few(claim, n[0], "classes");
    return KH_OK;
}

kh_status kh_reproduce_judge_weights(kh_reproduce *r, kh_error *err) {
    judge_blocks(r);
    return judge_gap(r, err);
}
