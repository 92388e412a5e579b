/* Claims about classes and what their images activate: C3 to C6, C15. */
#include "cli/reproduce.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { STRONGEST = 10 };

static kh_status no_memory(const kh_reproduce *r, kh_error *err) {
    return kh_fail(err, KH_E_MEMORY, "no memory for %zu classes", r->info->classes);
}

static kh_band nothing(void) {
    return (kh_band){(double)NAN, (double)NAN, (double)NAN};
}

/* ---- C3: accuracy by block --------------------------------------------------------------------
 */

typedef struct accuracies {
    double *early, *others, *score, *top1; /* [classes] */
    size_t early_count, others_count, count;
} accuracies;

static void sort_classes(const kh_reproduce *r, const kh_answer *rows, accuracies *a) {
    for (size_t i = 0; i < kh_answer_rows(rows); i++) {
        const size_t c = (size_t)kh_answer_number(rows, i, 0);
        const double top1 = kh_answer_number(rows, i, 1);
        if (c >= r->info->classes || isnan(top1)) continue;
        const kh_ranked *first = &r->ranking.global[c * r->ranking.k];
        a->score[a->count] = (double)first->score;
        a->top1[a->count++] = top1;
        if (first->block + 2 < r->info->blocks)
            a->early[a->early_count++] = top1;
        else
            a->others[a->others_count++] = top1;
    }
}

static kh_status judge_c3(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 3);
    kh_answer *rows = NULL;
    accuracies a = {0};
    double *room = kh_calloc(r->info->classes, 4 * sizeof *room), p = (double)NAN;
    kh_band difference = nothing();
    kh_status status = room ? KH_OK : no_memory(r, err);
    if (!status)
        status =
            kh_reproduce_ask(r, "SELECT class, top1 FROM class_accuracy WHERE n > 0", &rows, err);
    if (!status) {
        a.early = room;
        a.others = room + r->info->classes;
        a.score = a.others + r->info->classes;
        a.top1 = a.score + r->info->classes;
        sort_classes(r, rows, &a);
    }
    if (!status && a.early_count && a.others_count)
        status = kh_lens_difference(a.early, a.early_count, a.others, a.others_count,
                                    r->settings->seed, &difference, &p, err);
    kh_answer_free(rows);
    if (!status) {
        claim->verdict = kh_claim_c3(difference, p, a.early_count, a.others_count);
        kh_claim_levels(claim, 0, -0.1);
        kh_claim_add(claim, "accuracy, early classes minus the others", difference, a.count,
                     "bootstrap within both groups", "");
        kh_claim_add_plain(claim, "permutation p", p, "");
        kh_claim_add_plain(claim, "classes with an early top-1", (double)a.early_count, "");
        kh_claim_add_plain(claim, "rank correlation of top-1 score and accuracy",
                           kh_lens_spearman(a.score, a.top1, a.count), "");
        (void)snprintf(claim->found, sizeof claim->found,
                       "%zu classes with labelled images have their best neuron before the last "
                       "but one block, %zu in it or behind.",
                       a.early_count, a.others_count);
        if (claim->verdict == KH_VERDICT_UNTESTED)
            kh_claim_cannot(claim,
                            "It needs at least three classes with labelled images on each side; "
                            "before the last but one block there are %zu, behind %zu.",
                            a.early_count, a.others_count);
    }
    kh_free(room);
    return status;
}

/* ---- C4, C5: strength and concentration ------------------------------------------------------ */

/* Mean over blocks [first, end) of peak [blocks]. */
static double mean_between(const double *peak, size_t first, size_t end) {
    double sum = 0;
    for (size_t b = first; b < end; b++)
        sum += peak[b];
    return sum / (double)(end - first);
}

/* ratio [classes]: later over earlier blocks of each class's strongest mean, as a logarithm; share
 * [classes]: of the ten strongest in its strongest block. */
static kh_status read_profiles(const kh_reproduce *r, double *ratio, double *share, kh_error *err) {
    const size_t blocks = r->info->blocks, later = kh_claim_later(blocks);
    kh_answer *rows = NULL;
    double *peak = kh_calloc(blocks, sizeof *peak);
    kh_status status = peak ? KH_OK : no_memory(r, err);
    if (!status)
        status = kh_reproduce_ask(r,
                                  "SELECT p.class, p.block, p.mean, c.top10_share "
                                  "FROM class_profile p JOIN concentration c USING (class, block) "
                                  "WHERE p.rank = 0 ORDER BY p.class, p.block",
                                  &rows, err);
    for (size_t i = 0; !status && i + blocks <= kh_answer_rows(rows); i += blocks) {
        const size_t c = (size_t)kh_answer_number(rows, i, 0);
        size_t best = 0;
        for (size_t b = 0; b < blocks; b++) {
            peak[b] = kh_answer_number(rows, i + b, 2);
            if (peak[b] > peak[best]) best = b;
        }
        if (later < blocks && c < r->info->classes) {
            ratio[c] = log(mean_between(peak, later, blocks) / mean_between(peak, 0, later));
            share[c] = kh_answer_number(rows, i + best, 3);
        }
    }
    kh_answer_free(rows);
    kh_free(peak);
    return status;
}

/* The mean over all neurons, later over earlier blocks. */
static kh_status ratio_of_all(const kh_reproduce *r, double *out, kh_error *err) {
    char query[256];
    const size_t later = kh_claim_later(r->info->blocks);
    (void)snprintf(query, sizeof query,
                   "SELECT avg(CASE WHEN block >= %zu THEN mean END), avg(CASE WHEN block < %zu "
                   "THEN mean END) FROM neurons",
                   later, later);
    kh_answer *rows = NULL;
    KH_TRY(kh_reproduce_ask(r, query, &rows, err));
    const double late = kh_answer_number(rows, 0, 0), early = kh_answer_number(rows, 0, 1);
    /* means may be below 0 (GELU's dip): then only their order can be told */
    *out = early > 0 ? late / early : late > early ? (double)INFINITY : 0;
    if (isnan(late) || isnan(early)) *out = (double)NAN;
    kh_answer_free(rows);
    return KH_OK;
}

static kh_status judge_c4_c5(kh_reproduce *r, kh_error *err) {
    kh_claim *four = kh_claim_of(r, 4), *five = kh_claim_of(r, 5);
    const size_t classes = r->info->classes;
    double *ratio = kh_calloc(classes, 2 * sizeof *ratio), all = (double)NAN;
    if (!ratio) return no_memory(r, err);
    for (size_t i = 0; i < 2 * classes; i++)
        ratio[i] = (double)NAN;
    kh_band log_ratio, share;
    size_t n = 0, m = 0;
    kh_status status = read_profiles(r, ratio, ratio + classes, err);
    if (!status) status = ratio_of_all(r, &all, err);
    if (!status) status = kh_reproduce_band(r, ratio, classes, &log_ratio, &n, err);
    if (!status) status = kh_reproduce_band(r, ratio + classes, classes, &share, &m, err);
    kh_free(ratio);
    if (status) return status;
    const kh_band times = {exp(log_ratio.mean), exp(log_ratio.lo), exp(log_ratio.hi)};
    const double chance = kh_lens_exponential_share(STRONGEST, r->info->neurons);
    four->verdict = kh_claim_c4(times, all);
    kh_claim_add(four, "strongest neuron, later over earlier blocks", times, n,
                 "bootstrap over classes", "times");
    kh_claim_add_plain(four, "mean over all neurons, later over earlier", all, "times");
    (void)snprintf(four->found, sizeof four->found,
                   "On the images of a class its strongest neuron is %.2f times as active in "
                   "the last third of the blocks as before; the mean over all neurons %s.",
                   times.mean, all > 1 ? "grows too" : "does not grow");
    kh_claim_too_few(four, n, "classes with labelled images");
    five->verdict = kh_claim_c5(share, r->info->neurons);
    kh_claim_levels(four, 1, 1.5);
    kh_claim_levels(five, chance, 0.5);
    kh_claim_add(five, "share of the ten strongest neurons", share, m, "bootstrap over classes",
                 "%");
    kh_claim_add_plain(five, "of as many exponential numbers", chance, "%");
    (void)snprintf(five->found, sizeof five->found,
                   "In the block where a class's strongest neuron is strongest of all, the ten "
                   "strongest of %zu neurons hold %.0f %% of the activation.",
                   r->info->neurons, 100 * share.mean);
    kh_claim_too_few(five, m, "classes with labelled images");
    return KH_OK;
}

/* ---- C6: neurons that relatives share -------------------------------------------------------- */

static double jaccard(const int *a, const int *b) {
    size_t both = 0, n_a = 0, n_b = 0;
    for (size_t i = 0; i < STRONGEST; i++) {
        n_a += a[i] >= 0;
        n_b += b[i] >= 0;
        for (size_t j = 0; j < STRONGEST; j++)
            both += a[i] >= 0 && a[i] == b[j];
    }
    return n_a + n_b > both ? (double)both / (double)(n_a + n_b - both) : (double)NAN;
}

/* Mean Jaccard index of class c with relatives minus that with the others, in one block. */
static double kinship(const kh_reproduce *r, const int *top, size_t c, double *with_relatives) {
    double near = 0, far = 0;
    size_t n_near = 0, n_far = 0;
    for (size_t other = 0; other < r->info->classes; other++) {
        const double j =
            other == c ? (double)NAN : jaccard(top + c * STRONGEST, top + other * STRONGEST);
        if (isnan(j)) continue;
        *(r->is_relative[other] ? &near : &far) += j;
        ++*(r->is_relative[other] ? &n_near : &n_far);
    }
    *with_relatives = n_near ? near / (double)n_near : (double)NAN;
    return n_near && n_far ? near / (double)n_near - far / (double)n_far : (double)NAN;
}

/* top [blocks, classes, STRONGEST] neurons, -1 where there is none. */
static kh_status read_top(const kh_reproduce *r, int *top, kh_error *err) {
    const size_t cells = r->info->blocks * r->info->classes * STRONGEST;
    kh_answer *rows = NULL;
    for (size_t i = 0; i < cells; i++)
        top[i] = -1;
    KH_TRY(kh_reproduce_ask(
        r, "SELECT block, class, rank, neuron FROM class_profile WHERE rank < 10", &rows, err));
    for (size_t i = 0; i < kh_answer_rows(rows); i++) {
        const size_t b = (size_t)kh_answer_number(rows, i, 0),
                     c = (size_t)kh_answer_number(rows, i, 1),
                     rank = (size_t)kh_answer_number(rows, i, 2);
        if (b < r->info->blocks && c < r->info->classes && rank < STRONGEST)
            top[(b * r->info->classes + c) * STRONGEST + rank] = (int)kh_answer_number(rows, i, 3);
    }
    kh_answer_free(rows);
    return KH_OK;
}

/* Per relative, means over blocks [first, end). */
static void kinship_of_blocks(const kh_reproduce *r, const int *top, size_t first, size_t end,
                              double *difference, double *shared) {
    for (size_t c = 0; c < r->info->classes; c++) {
        double sum = 0, near = 0;
        for (size_t b = first; b < end; b++) {
            double with;
            sum += kinship(r, top + b * r->info->classes * STRONGEST, c, &with);
            near += with;
        }
        difference[c] = r->is_relative[c] ? sum / (double)(end - first) : (double)NAN;
        shared[c] = r->is_relative[c] ? near / (double)(end - first) : (double)NAN;
    }
}

static kh_status judge_c6(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 6);
    const size_t classes = r->info->classes, blocks = r->info->blocks;
    const size_t later = kh_claim_later(blocks);
    if (r->relatives < KH_CLAIM_FEWEST || r->relatives == classes) {
        kh_claim_cannot(claim,
                        "It needs at least %d classes known as relatives and one other; "
                        "--relatives names them.",
                        KH_CLAIM_FEWEST);
        return KH_OK;
    }
    int *top = kh_calloc(blocks * classes, STRONGEST * sizeof *top);
    double *room = kh_calloc(classes, 4 * sizeof *room);
    kh_band early = nothing(), late = nothing(), with = nothing(), with_late;
    size_t n = 0, m = 0;
    kh_status status = top && room ? read_top(r, top, err) : no_memory(r, err);
    if (!status) {
        kinship_of_blocks(r, top, 0, later, room, room + classes);
        kinship_of_blocks(r, top, later, blocks, room + 2 * classes, room + 3 * classes);
        status = kh_reproduce_band(r, room, classes, &early, &n, err);
    }
    if (!status) status = kh_reproduce_band(r, room + classes, classes, &with, &m, err);
    if (!status) status = kh_reproduce_band(r, room + 2 * classes, classes, &late, &m, err);
    if (!status) status = kh_reproduce_band(r, room + 3 * classes, classes, &with_late, &m, err);
    kh_free(top);
    kh_free(room);
    if (status) return status;
    claim->verdict = kh_claim_c6(early);
    kh_claim_levels(claim, 0, 0.05);
    kh_claim_add(claim, "Jaccard index, relatives minus others, earlier blocks", early, n,
                 "bootstrap over relatives", "");
    kh_claim_add(claim, "the same, later blocks", late, n, "bootstrap over relatives", "");
    kh_claim_add(claim, "Jaccard index between relatives, earlier blocks", with, n,
                 "bootstrap over relatives", "");
    (void)snprintf(claim->found, sizeof claim->found,
                   "Among earlier blocks two relatives (%s) share their strongest neurons with an "
                   "index of %.2f, %.3f %s than with other classes; in later blocks it is %.3f "
                   "%s.",
                   r->relatives_name, with.mean, fabs(early.mean), early.mean < 0 ? "less" : "more",
                   fabs(late.mean), late.mean < 0 ? "less" : "more");
    kh_claim_too_few(claim, n, "relatives with labelled images, and another class");
    return KH_OK;
}

/* ---- C15 ------------------------------------------------------------------------------------- */

static kh_status judge_c15(kh_reproduce *r, kh_error *err) {
    enum { VALIDATION = 50000 };
    kh_claim *claim = kh_claim_of(r, 15);
    kh_answer *rows = NULL;
    KH_TRY(kh_reproduce_ask(r, "SELECT labelled, hits FROM accuracy WHERE measure = 'top1'", &rows,
                            err));
    const double labelled = kh_answer_number(rows, 0, 0), hits = kh_answer_number(rows, 0, 1);
    kh_answer_free(rows);
    if (!(labelled > 0)) return KH_OK;
    kh_band share;
    const kh_verdict verdict = kh_claim_c15((size_t)hits, (size_t)labelled, &share);
    kh_claim_add(claim, "top-1 accuracy on these images", share, (size_t)labelled,
                 "Wilson over images", "%");
    (void)snprintf(claim->found, sizeof claim->found,
                   "%.0f of %.0f labelled images are recognised (preprocessing %s).", hits,
                   labelled, r->info->preprocess.preset);
    if (r->is_imagenet && r->fits_goldens && labelled >= VALIDATION)
        claim->verdict = verdict;
    else
        kh_claim_cannot(claim,
                        "The number belongs to ImageNet's 50,000 validation images and "
                        "timm/vit_base_patch16_224.augreg_in21k_ft_in1k with --preset squash224. "
                        "What is measured is the accuracy here.");
    return KH_OK;
}

kh_status kh_reproduce_judge_classes(kh_reproduce *r, kh_error *err) {
    static const size_t of_labels[] = {3, 4, 5, 6, 15};
    for (size_t i = 0; i < sizeof of_labels / sizeof *of_labels; i++) {
        kh_claim *claim = kh_claim_of(r, of_labels[i]);
        (void)snprintf(
            claim->setting, sizeof claim->setting,
            "%zu labelled image%s; coefficients after the activation function, mean over "
            "patches and images.",
            r->labelled, KH_S(r->labelled));
        if (r->labelled == 0)
            kh_claim_cannot(claim, "It needs true classes: class folders, a list or --label-file.");
    }
    if (r->labelled == 0) return KH_OK;
    KH_TRY(judge_c3(r, err));
    KH_TRY(judge_c15(r, err));
    if (r->class_by != KH_BY_TRUTH || r->class_reduction != KH_REDUCE_MEAN) {
        for (size_t c = 4; c <= 6; c++)
            kh_claim_cannot(kh_claim_of(r, c),
                            "It needs class means over patches and the images of each true class; "
                            "those of this run are of images by %s, reduction %s.",
                            kh_class_by_name(r->class_by),
                            kh_class_reduction_name(r->class_reduction));
        return KH_OK;
    }
    KH_TRY(judge_c4_c5(r, err));
    return judge_c6(r, err);
}
