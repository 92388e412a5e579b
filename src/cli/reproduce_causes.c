/* Claims about causes: C14, C16, C17. The ablation's tables are those of keyhole ablate. */
#include "cli/reproduce.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A quantity of summary.csv, of the images the model gets right if it is there. */
static kh_status summary_of(const kh_reproduce *r, const char *quantity, kh_band *out, size_t *n,
                            kh_error *err) {
    char query[320];
    kh_answer *rows = NULL;
    (void)snprintf(query, sizeof query,
                   "SELECT n, mean, lo, hi FROM summary WHERE quantity = '%s' "
                   "ORDER BY subset = 'correct' DESC LIMIT 1",
                   quantity);
    *n = 0;
    *out = (kh_band){(double)NAN, (double)NAN, (double)NAN};
    KH_TRY(kh_store_db_ask(r->ablation, query, NULL, 0, &rows, err));
    if (kh_answer_rows(rows) > 0) {
        *n = (size_t)kh_answer_number(rows, 0, 0);
        *out = kh_claim_enough((kh_band){kh_answer_number(rows, 0, 1), kh_answer_number(rows, 0, 2),
                                         kh_answer_number(rows, 0, 3)},
                               *n);
    }
    kh_answer_free(rows);
    return KH_OK;
}

/* ---- C14 ------------------------------------------------------------------------------------- */

static kh_status judge_c14(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 14);
    if (!r->ablation[0]) {
        kh_claim_cannot(claim, "It needs an ablation of labelled images: --ablate RUN, or without "
                               "--no-ablation one is made.");
        return KH_OK;
    }
    kh_band ten, one, random, all, k50, base;
    size_t n = 0, m = 0;
    KH_TRY(summary_of(r, "share_10", &ten, &n, err));
    KH_TRY(summary_of(r, "share_1", &one, &m, err));
    KH_TRY(summary_of(r, "random_d_margin_10", &random, &m, err));
    KH_TRY(summary_of(r, "d_margin_all", &all, &m, err));
    KH_TRY(summary_of(r, "k50_class_median", &k50, &m, err));
    KH_TRY(summary_of(r, "base_margin", &base, &m, err));
    const double share_random = random.mean / all.mean;
    claim->verdict = kh_claim_c14(ten, share_random);
    kh_claim_levels(claim, share_random, 0.5);
    (void)snprintf(claim->setting, sizeof claim->setting,
                   "Ablation of %zu recognised image%s: each loses the neurons best "
                   "aligned with its own class, "
                   "of one block, on all tokens; a coefficient becomes its mean over images.",
                   n, KH_S(n));
    kh_claim_add(claim, "margin lost without ten neurons, of the whole block's", ten, n,
                 "bootstrap over images", "%");
    kh_claim_add_plain(claim, "without ten matched random neurons", share_random, "%");
    kh_claim_add(claim, "without the first neuron alone", one, n, "bootstrap over images", "%");
    kh_claim_add_plain(claim, "neurons for half of it, median class", k50.mean, "");
    kh_claim_add(claim, "margin lost without the whole block (logits)",
                 (kh_band){-all.mean, -all.hi, -all.lo}, n, "bootstrap over images", "");
    (void)snprintf(
        claim->found, sizeof claim->found,
        "Without the ten best aligned neurons of %zu the margin loses %.0f %% of what it "
        "loses without all of the block's; without ten random ones %.1f %%. The margin is %.2f "
        "logits on these images, and the whole block's neurons carry %.2f of them.",
        r->info->neurons, 100 * ten.mean, 100 * share_random, base.mean, -all.mean);
    if (isnan(ten.mean))
        kh_claim_cannot(claim, "The ablation has no k = 10 (share_10 in its summary).");
    else
        kh_claim_too_few(claim, n, "recognised images");
    return KH_OK;
}

/* ---- C16 ------------------------------------------------------------------------------------- */

typedef struct graded {
    double grade; /* IoU or accuracy; lower is worse */
    size_t class_index;
} graded;

static int compare_graded(const void *left, const void *right) {
    const graded *a = left, *b = right;
    if (a->grade < b->grade) return -1;
    if (a->grade > b->grade) return 1;
    return (a->class_index > b->class_index) - (a->class_index < b->class_index);
}

/* Classes with their mean IoU of rank 0, or with their accuracy. */
static kh_status grade_classes(const kh_reproduce *r, graded *list, size_t *count, kh_error *err) {
    const kh_reproduce_maps *m = &r->maps;
    *count = 0;
    if (m->shown > 0) {
        for (size_t c = 0; c < r->info->classes; c++) {
            double sum = 0, n = 0;
            for (size_t i = 0; i < m->images; i++) {
                const kh_truth_score *s = &m->scores[i * m->plan.scored];
                if (m->class_index[i] != c || !m->is_seen[i] || s->object == 0) continue;
                sum += s->iou;
                n += 1;
            }
            if (n > 0) list[(*count)++] = (graded){sum / n, c};
        }
        return KH_OK;
    }
    kh_answer *rows = NULL;
    KH_TRY(kh_reproduce_ask(r, "SELECT class, top1 FROM class_accuracy WHERE n > 0", &rows, err));
    for (size_t i = 0; i < kh_answer_rows(rows) && i < r->info->classes; i++)
        list[(*count)++] =
            (graded){kh_answer_number(rows, i, 1), (size_t)kh_answer_number(rows, i, 0)};
    kh_answer_free(rows);
    return KH_OK;
}

/* Share of member classes of shared neurons that drop without them. */
static kh_status add_shared_causes(kh_reproduce *r, kh_claim *claim, kh_error *err) {
    if (!r->ablation[0]) return KH_OK;
    kh_band drop, random;
    size_t n = 0, m = 0;
    KH_TRY(summary_of(r, "shared_members_drop", &drop, &n, err));
    KH_TRY(summary_of(r, "shared_random_drop", &random, &m, err));
    if (isnan(drop.mean)) return KH_OK;
    kh_claim_add(claim, "member classes whose logit drops without the shared neuron", drop, n,
                 "bootstrap over classes", "%");
    kh_claim_add(claim, "the same without a random neuron", random, m, "bootstrap over classes",
                 "%");
    return KH_OK;
}

static kh_status judge_c16(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 16);
    const size_t classes = r->info->classes;
    kh_shared shared = {0};
    size_t count = 0, sharing = 0, bad_shared = 0, good_shared = 0;
    graded *list = kh_calloc(classes, sizeof *list);
    kh_status status = list ? kh_lens_shared(&r->ranking, 1, &shared, err)
                            : kh_fail(err, KH_E_MEMORY, "no memory for %zu classes", classes);
    if (!status && r->labelled > 0) status = grade_classes(r, list, &count, err);
    const size_t bad = (count + 3) / 4;
    if (!status) {
        qsort(list, count, sizeof *list, compare_graded);
        for (size_t c = 0; c < classes; c++)
            sharing += shared.class_share[c] >= 2;
        for (size_t i = 0; i < count; i++)
            *(i < bad ? &bad_shared : &good_shared) += shared.class_share[list[i].class_index] >= 2;
    }
    kh_shared_clear(&shared);
    kh_free(list);
    if (status) return status;
    const kh_band failures = kh_lens_wilson(bad_shared, bad),
                  others = kh_lens_wilson(good_shared, count - bad);
    claim->verdict =
        kh_claim_c16(r->relatives, r->relatives ? classes : 0, failures, others.mean, sharing);
    if (r->relatives)
        kh_claim_add_plain(claim, "relatives among the classes",
                           (double)r->relatives / (double)classes, "%");
    kh_claim_add(claim, "worst quarter of the classes: top-1 neuron shared", failures, bad,
                 "Wilson over classes", "%");
    kh_claim_add(claim, "the other classes: top-1 neuron shared", others, count - bad,
                 "Wilson over classes", "%");
    kh_claim_add_plain(claim, "classes that share their top-1 neuron", (double)sharing, "");
    (void)snprintf(claim->setting, sizeof claim->setting,
                   "%zu classes; relatives: %s; worst quarter by %s.", classes, r->relatives_name,
                   r->maps.shown > 0 ? "the first map's IoU" : "accuracy");
    (void)snprintf(claim->found, sizeof claim->found,
                   "%zu of %zu classes are %s. %zu classes share their best aligned neuron with "
                   "another; of the %zu worst classes %zu do, of the other %zu %zu.",
                   r->relatives, classes, r->relatives_name, sharing, bad, bad_shared, count - bad,
                   good_shared);
    if (count == 0)
        kh_claim_cannot(claim, "It needs true classes to know which ones fail.");
    else
        kh_claim_too_few(claim, count, "classes with labelled images");
    return add_shared_causes(r, claim, err);
}

/* ---- C17 ------------------------------------------------------------------------------------- */

/* Classes, those that need two or more, mean k50 and k90, of the block that adds most. */
static kh_status several_of(const kh_reproduce *r, size_t *block, size_t *several, size_t *count,
                            double k[2], kh_error *err) {
    kh_answer *rows = NULL;
    KH_TRY(kh_reproduce_ask(r,
                            "SELECT block, sum(k50 >= 2), count(*), avg(k50), avg(k90) "
                            "FROM attribution WHERE n > 0 GROUP BY block "
                            "ORDER BY avg(neurons) DESC LIMIT 1",
                            &rows, err));
    *count = 0;
    if (kh_answer_rows(rows) > 0) {
        *block = (size_t)kh_answer_number(rows, 0, 0);
        *several = (size_t)kh_answer_number(rows, 0, 1);
        *count = (size_t)kh_answer_number(rows, 0, 2);
        k[0] = kh_answer_number(rows, 0, 3);
        k[1] = kh_answer_number(rows, 0, 4);
    }
    kh_answer_free(rows);
    return KH_OK;
}

static kh_status judge_c17(kh_reproduce *r, kh_error *err) {
    kh_claim *claim = kh_claim_of(r, 17);
    if (r->labelled == 0 || !kh_reproduce_has_table(r->database, "attribution")) {
        kh_claim_cannot(claim, "It needs true classes and a model that classifies by its class "
                               "token (lens 'attribution').");
        return KH_OK;
    }
    size_t block = 0, several = 0, count = 0, n = 0;
    double k[2] = {(double)NAN, (double)NAN};
    kh_band first = {(double)NAN, (double)NAN, (double)NAN};
    KH_TRY(several_of(r, &block, &several, &count, k, err));
    if (r->ablation[0]) KH_TRY(summary_of(r, "share_1", &first, &n, err));
    const kh_band share = kh_claim_enough(kh_lens_wilson(several, count), count);
    const double alone = isnan(first.lo) ? (double)NAN : first.mean;
    claim->verdict = kh_claim_c17(share, alone);
    kh_claim_levels(claim, (double)NAN, 0.5);
    (void)snprintf(
        claim->setting, sizeof claim->setting,
        "%zu labelled image%s; exact contributions to the true class's logit at the class "
        "token, block %zu, which adds most.",
        r->labelled, KH_S(r->labelled), block);
    kh_claim_add(claim, "classes that need two or more neurons for half", share, count,
                 "Wilson over classes", "%");
    kh_claim_add_plain(claim, "neurons for half, mean over classes", k[0], "");
    kh_claim_add_plain(claim, "neurons for nine tenths, mean over classes", k[1], "");
    if (!isnan(first.mean))
        kh_claim_add(claim, "margin lost without the first alone, of the whole block's", first, n,
                     "bootstrap over images", "%");
    (void)snprintf(claim->found, sizeof claim->found,
                   "Half of all contributions in block %zu come from %.1f neurons on average, nine "
                   "tenths from %.0f; %zu of %zu classes need two or more for half.%s",
                   block, k[0], k[1], several, count,
                   isnan(alone) ? " Without an ablation of enough images the second part is left "
                                  "open."
                                : "");
    kh_claim_too_few(claim, count, "classes with labelled images");
    return KH_OK;
}

kh_status kh_reproduce_judge_causes(kh_reproduce *r, kh_error *err) {
    KH_TRY(judge_c14(r, err));
    KH_TRY(judge_c16(r, err));
    return judge_c17(r, err);
}
