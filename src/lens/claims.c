/* Verdicts on the report's claims: pure functions of numbers. docs/analyses/claims.md says why each
 * bar lies where it does; the two change together. */
#include "keyhole/claims.h"

#include <math.h>

#define MOST             0.5
#define ALMOST_ALL       0.9
#define VERY_UNLIKELY    0.1
#define UNRELIABLE       (-0.10)
#define SIGNIFICANT      0.05
#define SEEN_AT_A_GLANCE 1.5
#define ONE_MORE_OF_TEN  0.05
#define CLOSEST          0.9
#define UNCHANGED        0.9
#define SMALL_GAP        0.25
#define PUBLISHED_TOP1   0.8337

enum { FEWEST_OF_A_GROUP = 3, CARRIERS = 10 };

const char *kh_verdict_name(kh_verdict verdict) {
    static const char *const names[] = {"cannot be tested", "reproduced", "mixed",
                                        "not reproduced"};
    return names[verdict];
}

size_t kh_claim_later(size_t blocks) {
    const size_t third = blocks / 3;
    return blocks - (third > 0 || blocks == 0 ? third : 1);
}

static bool is_known(kh_band b) {
    return !isnan(b.mean) && !isnan(b.lo) && !isnan(b.hi);
}

kh_band kh_claim_enough(kh_band band, size_t things) {
    return things < KH_CLAIM_FEWEST ? (kh_band){band.mean, (double)NAN, (double)NAN} : band;
}

kh_verdict kh_claim_above(kh_band value, double chance, double bar) {
    if (!is_known(value) || isnan(chance)) return KH_VERDICT_UNTESTED;
    if (!(value.lo > chance)) return KH_VERDICT_NOT;
    return value.mean >= bar ? KH_VERDICT_REPRODUCED : KH_VERDICT_MIXED;
}

/* Reproduced with the whole interval above (below) the bar, not with all of it on the other side.
 */
static kh_verdict wholly_above(kh_band value, double bar) {
    if (!is_known(value)) return KH_VERDICT_UNTESTED;
    if (value.lo > bar) return KH_VERDICT_REPRODUCED;
    return value.hi < bar ? KH_VERDICT_NOT : KH_VERDICT_MIXED;
}

static kh_verdict wholly_below(kh_band value, double bar) {
    const kh_verdict above = wholly_above(value, bar);
    return above == KH_VERDICT_REPRODUCED ? KH_VERDICT_NOT
           : above == KH_VERDICT_NOT      ? KH_VERDICT_REPRODUCED
                                          : above;
}

kh_verdict kh_claim_both(kh_verdict one, kh_verdict other) {
    if (one == KH_VERDICT_UNTESTED) return other;
    if (other == KH_VERDICT_UNTESTED || one == other) return one;
    return KH_VERDICT_MIXED;
}

/* ---- weights --------------------------------------------------------------------------------- */

static size_t sum_of(const size_t *counts, size_t first, size_t end) {
    size_t sum = 0;
    for (size_t i = first; i < end; i++)
        sum += counts[i];
    return sum;
}

kh_verdict kh_claim_c1(const size_t *classes, size_t blocks, kh_band *share) {
    if (blocks < 2) return KH_VERDICT_UNTESTED;
    const size_t named = blocks - 2, all = sum_of(classes, 0, blocks);
    const kh_band found = kh_claim_enough(kh_lens_wilson(classes[named], all), all);
    if (share) *share = found;
    if (all < KH_CLAIM_FEWEST) return KH_VERDICT_UNTESTED;
    for (size_t b = 0; b < blocks; b++)
        if (b != named && classes[b] >= classes[named]) return KH_VERDICT_NOT;
    return kh_claim_above(found, 1.0 / (double)blocks, MOST);
}

kh_verdict kh_claim_c2(const size_t *classes, size_t blocks, kh_band *share) {
    const size_t later = kh_claim_later(blocks), all = sum_of(classes, 0, blocks);
    const kh_band found = kh_claim_enough(kh_lens_wilson(sum_of(classes, later, blocks), all), all);
    if (share) *share = found;
    return kh_claim_above(found, (double)(blocks - later) / (double)blocks, ALMOST_ALL);
}

kh_verdict kh_claim_c11(kh_band relative_gap) {
    if (!is_known(relative_gap)) return KH_VERDICT_UNTESTED;
    if (relative_gap.lo > SMALL_GAP) return KH_VERDICT_NOT;
    return relative_gap.mean <= SMALL_GAP ? KH_VERDICT_REPRODUCED : KH_VERDICT_MIXED;
}

/* ---- classes and their activations ----------------------------------------------------------- */

kh_verdict kh_claim_c3(kh_band difference, double p, size_t early, size_t others) {
    if (early < FEWEST_OF_A_GROUP || others < FEWEST_OF_A_GROUP || !is_known(difference) ||
        isnan(p))
        return KH_VERDICT_UNTESTED;
    if (!(difference.hi < 0 && p < SIGNIFICANT)) return KH_VERDICT_NOT;
    return difference.mean <= UNRELIABLE ? KH_VERDICT_REPRODUCED : KH_VERDICT_MIXED;
}

kh_verdict kh_claim_c4(kh_band strongest, double all) {
    const kh_verdict verdict = kh_claim_above(strongest, 1.0, SEEN_AT_A_GLANCE);
    const bool grows = all > 1.0;
    return verdict == KH_VERDICT_REPRODUCED && !grows ? KH_VERDICT_MIXED : verdict;
}

kh_verdict kh_claim_c5(kh_band share_of_ten, size_t neurons) {
    return kh_claim_above(share_of_ten, kh_lens_exponential_share(CARRIERS, neurons), MOST);
}

kh_verdict kh_claim_c6(kh_band jaccard_difference) {
    return kh_claim_above(jaccard_difference, 0.0, ONE_MORE_OF_TEN);
}

static kh_verdict is_smaller(double one, double other) {
    if (isnan(one) || isnan(other)) return KH_VERDICT_UNTESTED;
    return one < other ? KH_VERDICT_REPRODUCED : KH_VERDICT_NOT;
}

kh_verdict kh_claim_c7(kh_band nearer, double tench_fireboat, double tench_dogs) {
    return kh_claim_both(kh_claim_above(nearer, 0.5, CLOSEST),
                         is_smaller(tench_fireboat, tench_dogs));
}

kh_verdict kh_claim_c8(kh_band correlation, double fireboat_one, double fireboat_three) {
    return kh_claim_both(wholly_below(correlation, UNCHANGED),
                         is_smaller(fireboat_three, fireboat_one));
}

/* ---- maps and objects ------------------------------------------------------------------------ */

kh_verdict kh_claim_c9(kh_band earlier, kh_band later, double chance) {
    if (!is_known(earlier) || !is_known(later) || isnan(chance)) return KH_VERDICT_UNTESTED;
    if (!(later.lo > chance)) return KH_VERDICT_NOT;
    return earlier.lo <= chance ? KH_VERDICT_REPRODUCED : KH_VERDICT_MIXED;
}

/* "Very unlikely", or at least less likely than not. */
static kh_verdict is_unlikely(kh_band share) {
    if (!is_known(share)) return KH_VERDICT_UNTESTED;
    if (share.mean <= VERY_UNLIKELY) return KH_VERDICT_REPRODUCED;
    return share.hi < 0.5 ? KH_VERDICT_MIXED : KH_VERDICT_NOT;
}

kh_verdict kh_claim_c10(kh_band first_beats_second, kh_band tenth_beats_first) {
    const kh_verdict first = kh_claim_above(first_beats_second, 0.5, 0.5);
    const kh_verdict tenth = is_unlikely(tenth_beats_first);
    if (first == KH_VERDICT_UNTESTED || tenth == KH_VERDICT_UNTESTED) return KH_VERDICT_UNTESTED;
    return kh_claim_both(first, tenth);
}

kh_verdict kh_claim_c12(kh_band reads_subject) {
    return wholly_below(reads_subject, MOST);
}

kh_verdict kh_claim_c13(kh_band maps_with_dots) {
    if (!is_known(maps_with_dots)) return KH_VERDICT_UNTESTED;
    if (maps_with_dots.mean > MOST) return KH_VERDICT_REPRODUCED;
    return maps_with_dots.mean > VERY_UNLIKELY ? KH_VERDICT_MIXED : KH_VERDICT_NOT;
}

/* ---- causes ---------------------------------------------------------------------------------- */

kh_verdict kh_claim_c14(kh_band share_of_ten, double share_of_random) {
    return kh_claim_above(share_of_ten, share_of_random, MOST);
}

kh_verdict kh_claim_c17(kh_band several, double first_alone) {
    const kh_verdict attributed = wholly_above(several, MOST);
    if (isnan(first_alone)) return attributed;
    return kh_claim_both(attributed, first_alone < MOST ? KH_VERDICT_REPRODUCED : KH_VERDICT_NOT);
}

/* ---- the data set ---------------------------------------------------------------------------- */

kh_verdict kh_claim_c15(size_t hits, size_t images, kh_band *share) {
    const kh_band found = kh_lens_wilson(hits, images);
    if (share) *share = found;
    if (!is_known(found)) return KH_VERDICT_UNTESTED;
    return found.lo <= PUBLISHED_TOP1 && PUBLISHED_TOP1 <= found.hi ? KH_VERDICT_REPRODUCED
                                                                    : KH_VERDICT_NOT;
}

kh_verdict kh_claim_c16(size_t relatives, size_t classes, kh_band failures, double others,
                        size_t sharing) {
    const kh_verdict many = classes == 0               ? KH_VERDICT_UNTESTED
                            : relatives * 10 > classes ? KH_VERDICT_REPRODUCED
                                                       : KH_VERDICT_NOT;
    const kh_verdict shared =
        sharing < FEWEST_OF_A_GROUP ? KH_VERDICT_NOT : kh_claim_above(failures, others, MOST);
    return kh_claim_both(many, shared);
}
