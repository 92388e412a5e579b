/* Claims about maps: C9, C10, C12, C13. */
#include "cli/reproduce.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define WITH_OBJECTS "classes with known objects"

/* A property of image i's maps; NaN: it has none. */
typedef double (*of_image)(const kh_reproduce *r, size_t i);

static const kh_truth_score *score_of(const kh_reproduce *r, size_t i, size_t place) {
    return &r->maps.scores[i * r->maps.plan.scored + place];
}

static bool is_shown(const kh_reproduce *r, size_t i) {
    return r->maps.scores && r->maps.is_seen[i] && score_of(r, i, 0)->object > 0;
}

/* Mean over the images of each class, then a band over classes. values [images]. */
static kh_status band_over(const kh_reproduce *r, const double *values, kh_band *out, size_t *n,
                           kh_error *err) {
    const kh_reproduce_maps *m = &r->maps;
    const size_t classes = r->info->classes;
    double *sum = kh_calloc(classes, 2 * sizeof *sum);
    if (!sum) return kh_fail(err, KH_E_MEMORY, "no memory for %zu classes", classes);
    double *count = sum + classes;
    for (size_t i = 0; i < m->images; i++) {
        if (isnan(values[i])) continue;
        sum[m->class_index[i]] += values[i];
        count[m->class_index[i]] += 1;
    }
    for (size_t c = 0; c < classes; c++)
        sum[c] = count[c] > 0 ? sum[c] / count[c] : (double)NAN;
    const kh_status status = kh_reproduce_band(r, sum, classes, out, n, err);
    kh_free(sum);
    return status;
}

static kh_status band_of(const kh_reproduce *r, of_image value, kh_band *out, size_t *n,
                         kh_error *err) {
    const size_t images = r->maps.images;
    double *values = kh_calloc(images, sizeof *values);
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for %zu images", images);
    for (size_t i = 0; i < images; i++)
        values[i] = value(r, i);
    const kh_status status = band_over(r, values, out, n, err);
    kh_free(values);
    return status;
}

/* ---- C9 -------------------------------------------------------------------------------------- */

static double mean_iou(const kh_reproduce *r, size_t i, size_t first, size_t end) {
    const kh_truth_plan *plan = &r->maps.plan;
    if (!is_shown(r, i) || first >= end) return (double)NAN;
    double sum = 0;
    for (size_t b = first; b < end; b++)
        sum += score_of(r, i, plan->topk + plan->draws + b)->iou;
    return sum / (double)(end - first);
}

static double early_iou(const kh_reproduce *r, size_t i) {
    return mean_iou(r, i, 0, kh_claim_later(r->info->blocks));
}

static double late_iou(const kh_reproduce *r, size_t i) {
    return mean_iou(r, i, kh_claim_later(r->info->blocks), r->info->blocks);
}

static double last_iou(const kh_reproduce *r, size_t i) {
    return mean_iou(r, i, r->info->blocks - 1, r->info->blocks);
}

static double chance_iou(const kh_reproduce *r, size_t i) {
    if (!is_shown(r, i)) return (double)NAN;
    return kh_lens_chance_iou(1 - r->settings->percentile / 100, score_of(r, i, 0)->share);
}

/* The later blocks one by one: how many lie above chance, the best of them, the others' range. */
typedef struct later_blocks {
    size_t count, above, best;
    double best_iou, lowest, highest; /* lowest, highest: of the others; NaN with none */
} later_blocks;

static kh_status look_at_later_blocks(const kh_reproduce *r, double chance, later_blocks *out,
                                      kh_error *err) {
    const size_t images = r->maps.images, blocks = r->info->blocks;
    double *values = kh_calloc(images + blocks, sizeof *values);
    *out = (later_blocks){.best = kh_claim_later(blocks),
                          .best_iou = (double)NAN,
                          .lowest = (double)NAN,
                          .highest = (double)NAN};
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for %zu images", images);
    double *mean = values + images; /* [blocks] */
    kh_status status = KH_OK;
    for (size_t b = kh_claim_later(blocks); b < blocks && !status; b++) {
        kh_band band = {0};
        size_t n;
        for (size_t i = 0; i < images; i++)
            values[i] = mean_iou(r, i, b, b + 1);
        status = band_over(r, values, &band, &n, err);
        mean[b] = band.mean;
        out->count++;
        out->above += band.lo > chance;
        if (mean[b] > mean[out->best]) out->best = b;
    }
    for (size_t b = kh_claim_later(blocks); b < blocks && !status; b++) {
        if (b == out->best) continue;
        out->lowest = fmin(out->lowest, mean[b]); /* fmin leaves NaN out */
        out->highest = fmax(out->highest, mean[b]);
    }
    out->best_iou = mean[out->best];
    kh_free(values);
    return status;
}

/* Which of the later blocks make the number: a mean hides that it may be one alone. */
static void say_later_blocks(kh_claim *claim, const later_blocks *later) {
    char others[64] = "";
    const size_t used = strlen(claim->found);
    if (later->count < 2) return;
    if (later->lowest < later->highest)
        (void)snprintf(others, sizeof others, "s %.3f to %.3f", later->lowest, later->highest);
    else
        (void)snprintf(others, sizeof others, " %.3f", later->lowest);
    (void)snprintf(claim->found + used, sizeof claim->found - used,
                   " Of the %zu later blocks %zu lie%s above it with the whole interval; block %zu "
                   "overlaps most, by %.3f, the other%s. The verdict is about their mean.",
                   later->count, later->above, later->above == 1 ? "s" : "", later->best,
                   later->best_iou, others);
}

static kh_status judge_c9(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 9);
    kh_band early, late, chance, last;
    size_t n = 0;
    KH_TRY(band_of(r, early_iou, &early, &n, err));
    KH_TRY(band_of(r, late_iou, &late, &n, err));
    KH_TRY(band_of(r, last_iou, &last, &n, err));
    KH_TRY(band_of(r, chance_iou, &chance, &n, err));
    later_blocks one_by_one;
    KH_TRY(look_at_later_blocks(r, chance.mean, &one_by_one, err));
    claim->verdict = kh_claim_c9(early, late, chance.mean);
    kh_claim_levels(claim, chance.mean, (double)NAN);
    kh_claim_add(claim, "IoU with the object, later blocks", late, n, "bootstrap over classes", "");
    kh_claim_add(claim, "IoU with the object, earlier blocks", early, n, "bootstrap over classes",
                 "");
    kh_claim_add(claim, "IoU with the object, last block", last, n, "bootstrap over classes", "");
    kh_claim_add_plain(claim, "a random fifth of the picture", chance.mean, "");
    (void)snprintf(claim->found, sizeof claim->found,
                   "The strongest fifth of a block's best aligned neuron overlaps the object by "
                   "%.3f in the later blocks and %.3f in the earlier ones; a random fifth by %.3f.",
                   late.mean, early.mean, chance.mean);
    say_later_blocks(claim, &one_by_one);
    kh_claim_too_few(claim, n, WITH_OBJECTS);
    return KH_OK;
}

/* ---- C10 ------------------------------------------------------------------------------------- */

static double beats(const kh_reproduce *r, size_t i, size_t one, size_t other) {
    if (!is_shown(r, i) || one >= r->maps.plan.topk || other >= r->maps.plan.topk)
        return (double)NAN;
    return score_of(r, i, one)->iou > score_of(r, i, other)->iou;
}

static double first_beats_second(const kh_reproduce *r, size_t i) {
    return beats(r, i, 0, 1);
}

static double second_beats_first(const kh_reproduce *r, size_t i) {
    return beats(r, i, 1, 0);
}

static double tenth_beats_first(const kh_reproduce *r, size_t i) {
    return beats(r, i, 9, 0);
}

static double is_best(const kh_reproduce *r, size_t i) {
    if (!is_shown(r, i)) return (double)NAN;
    for (size_t k = 1; k < r->maps.plan.topk; k++)
        if (score_of(r, i, k)->iou > score_of(r, i, 0)->iou) return 0;
    return 1;
}

static kh_status judge_c10(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 10);
    kh_band first, second, tenth, best;
    size_t n = 0, m = 0;
    KH_TRY(band_of(r, first_beats_second, &first, &n, err));
    KH_TRY(band_of(r, second_beats_first, &second, &n, err));
    KH_TRY(band_of(r, tenth_beats_first, &tenth, &m, err));
    KH_TRY(band_of(r, is_best, &best, &n, err));
    claim->verdict = kh_claim_c10(first, tenth);
    kh_claim_levels(claim, 0.5, (double)NAN);
    kh_claim_add(claim, "images where rank 1 overlaps better than rank 2", first, n,
                 "bootstrap over classes", "%");
    kh_claim_add(claim, "images where rank 10 overlaps better than rank 1", tenth, m,
                 "bootstrap over classes", "%");
    kh_claim_add(claim, "images where rank 2 overlaps better than rank 1", second, n,
                 "bootstrap over classes", "%");
    kh_claim_add(claim, "images where rank 1 is the best of all ranks compared", best, n,
                 "bootstrap over classes", "%");
    (void)snprintf(
        claim->found, sizeof claim->found,
        "Rank 1 overlaps the object better than rank 2 on %.0f %% of the images, rank 10 "
        "better than rank 1 on %.0f %%; rank 1 is the best of the first %zu on %.0f %% "
        "(one in %zu by chance).",
        100 * first.mean, 100 * tenth.mean, r->maps.plan.topk, 100 * best.mean, r->maps.plan.topk);
    if (r->maps.plan.topk < 10)
        kh_claim_cannot(claim, "It needs ten ranks; a block has too few neurons.");
    else
        kh_claim_too_few(claim, n, WITH_OBJECTS);
    return KH_OK;
}

/* ---- C12 ------------------------------------------------------------------------------------- */

static bool is_on_subject(const kh_truth_score *s) {
    return s->inside > 0 && s->inside > 2 * fmax(s->outside, 0);
}

static double reads_subject(const kh_reproduce *r, size_t i) {
    return is_shown(r, i) ? is_on_subject(score_of(r, i, 0)) : (double)NAN;
}

static double random_reads_subject(const kh_reproduce *r, size_t i) {
    const kh_truth_plan *plan = &r->maps.plan;
    if (!is_shown(r, i) || plan->draws == 0) return (double)NAN;
    double sum = 0;
    for (size_t d = 0; d < plan->draws; d++)
        sum += is_on_subject(score_of(r, i, plan->topk + d));
    return sum / (double)plan->draws;
}

static kh_status judge_c12(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 12);
    kh_band reads, random;
    size_t n = 0;
    KH_TRY(band_of(r, reads_subject, &reads, &n, err));
    KH_TRY(band_of(r, random_reads_subject, &random, &n, err));
    claim->verdict = kh_claim_c12(reads);
    kh_claim_levels(claim, random.mean, 0.5);
    kh_claim_add(claim, "maps that read the subject, top-1 neuron", reads, n,
                 "bootstrap over classes", "%");
    kh_claim_add(claim, "the same for random neurons of its block", random, n,
                 "bootstrap over classes", "%");
    (void)snprintf(claim->found, sizeof claim->found,
                   "%.0f %% of the maps of top-1 neurons are more than twice as strong on the "
                   "object as beside it; of random neurons of the same block %.0f %%. §6 of the "
                   "report says the opposite of §4.1; this number is for §4.1.",
                   100 * reads.mean, 100 * random.mean);
    kh_claim_too_few(claim, n, WITH_OBJECTS);
    return KH_OK;
}

/* ---- C13 ------------------------------------------------------------------------------------- */

static double has_dot(const kh_reproduce *r, size_t i) {
    return r->maps.is_seen[i] ? r->maps.has_dot[i] : (double)NAN;
}

static double has_shuffled_dot(const kh_reproduce *r, size_t i) {
    return r->maps.is_seen[i] ? r->maps.has_shuffled_dot[i] : (double)NAN;
}

static kh_status judge_c13(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 13);
    kh_band dots, shuffled;
    size_t n = 0;
    KH_TRY(band_of(r, has_dot, &dots, &n, err));
    KH_TRY(band_of(r, has_shuffled_dot, &shuffled, &n, err));
    claim->verdict = kh_claim_c13(dots);
    kh_claim_levels(claim, (double)NAN, 0.5);
    kh_claim_add(claim, "top-1 maps with a lone bright patch off the object", dots, n,
                 "bootstrap over classes", "%");
    kh_claim_add(claim, "the same maps with their patches shuffled", shuffled, n,
                 "bootstrap over classes", "%");
    kh_claim_add_plain(claim, "largest difference of float and double scaling (levels of 255)",
                       (double)r->maps.worst_rounding, "");
    double share = (double)NAN, stray = (double)NAN, chance = (double)NAN;
    if (kh_reproduce_has_table(r->database, "audit")) {
        kh_answer *rows = NULL;
        KH_TRY(kh_reproduce_ask(r,
                                "SELECT avg(top_patch_share), avg(top_patch_is_outlier), "
                                "avg(outlier_chance) FROM audit",
                                &rows, err));
        share = kh_answer_number(rows, 0, 0);
        stray = kh_answer_number(rows, 0, 1);
        chance = kh_answer_number(rows, 0, 2);
        kh_answer_free(rows);
        kh_claim_add_plain(claim, "a block's firing neurons that peak on one patch, mean", share,
                           "%");
        kh_claim_add_plain(claim, "images where that patch is an outlier by length", stray, "%");
        kh_claim_add_plain(claim, "the same for a random patch", chance, "%");
    }
    const size_t patches = r->info->tokens - r->info->prefix_tokens;
    (void)snprintf(
        claim->found, sizeof claim->found,
        "%.0f %% of the maps have such a dot. Scaling in double precision instead of single "
        "changes a pixel by at most %zu of 255 levels: dots are in the coefficients, not made by "
        "normalisation. In a block, %.1f %% of the firing neurons peak on one and the same patch "
        "(evenly spread it would be %.1f %%); that patch's residual, where the MLP reads it, is an "
        "outlier in %.1f %% of "
        "the images (a random patch's in %.1f %%).",
        100 * dots.mean, r->maps.worst_rounding, 100 * share, 100 / (double)patches, 100 * stray,
        100 * chance);
    kh_claim_too_few(claim, n, "classes with images that can be read");
    return KH_OK;
}

/* ---- all ------------------------------------------------------------------------------------- */

kh_status kh_reproduce_judge_maps(kh_reproduce *r, kh_error *err) {
    static const size_t of_maps[] = {9, 10, 12, 13};
    const kh_reproduce_maps *m = &r->maps;
    for (size_t i = 0; i < sizeof of_maps / sizeof *of_maps; i++) {
        kh_claim *claim = kh_claim_of(r, of_maps[i]);
        (void)snprintf(
            claim->setting, sizeof claim->setting,
            "The first %zu image%s of each class, %zu in all, %zu with a known object; "
            "masks above the %.4gth percentile; %zu random neuron%s of the top-1's block.",
            r->settings->per_class, KH_S(r->settings->per_class), m->images, m->shown,
            r->settings->percentile, m->plan.draws, KH_S(m->plan.draws));
        if (m->images == 0)
            kh_claim_cannot(claim, "It needs true classes: class folders, a list or --label-file.");
        else if (m->shown == 0 && of_maps[i] != 13)
            kh_claim_cannot(claim, "It needs to know where the object is: --truth DIR with label "
                                   "maps (Broden's layout or ImageNet-S) for these images.");
    }
    if (m->images == 0) return KH_OK;
    KH_TRY(judge_c13(r, err));
    if (m->shown == 0) return KH_OK;
    KH_TRY(judge_c9(r, err));
    KH_TRY(judge_c10(r, err));
    return judge_c12(r, err);
}
