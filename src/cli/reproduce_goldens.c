/* Numbers that the report's sources published for one checkpoint: G1 to G9. */
#include "cli/reproduce.h"

#include "base/alloc.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 10, FIVE = 5, SIX = 6, IMAGENET_S = 4550, VALIDATION = 50000 };

#define CHECKPOINT "timm/vit_base_patch16_224.augreg_in21k_ft_in1k"

static void say(kh_golden *g, kh_golden_state state, const char *format, ...) KH_PRINTF(3, 4);

static void say(kh_golden *g, kh_golden_state state, const char *format, ...) {
    va_list args;
    va_start(args, format);
    (void)vsnprintf(g->got, sizeof g->got, format, args);
    va_end(args);
    g->state = state;
}

static kh_golden_state same_if(bool is_same) {
    return is_same ? KH_GOLDEN_SAME : KH_GOLDEN_DIFFERS;
}

static bool is_near(double got, double want, double tolerance) {
    return fabs(got - want) <= tolerance;
}

/* ---- G1: which checkpoint is this? ------------------------------------------------------------
 */

static kh_status check_g1(kh_reproduce *r, kh_error *err) {
    static const size_t classes[SIX] = {0, 1, 2, 997, 998, 999};
    static const uint32_t neurons[SIX][FIVE] = {
        {2154, 398, 2627, 226, 1198}, {1198, 246, 398, 1091, 707},   {1051, 2248, 2416, 408, 549},
        {428, 2486, 318, 292, 1531},  {2266, 1216, 1812, 721, 1689}, {914, 1922, 1043, 1997, 1630},
    };
    static const struct {
        size_t class_place, rank;
        double score;
    } scores[] = {{0, 0, 0.3569}, {0, 1, 0.2758}, {0, 2, 0.2314}, {0, 3, 0.1857},
                  {0, 4, 0.1771}, {1, 0, 0.3487}, {4, 0, 0.4191}};
    kh_golden *g = &r->goldens[0];
    kh_ranked found[SIX * FIVE];
    size_t same = 0;
    double worst = 0;
    KH_TRY(kh_lens_column_ranking(r->session->model, BLOCK, classes, SIX, FIVE, found, err));
    for (size_t i = 0; i < SIX * FIVE; i++)
        same += found[i].index == neurons[i / FIVE][i % FIVE];
    for (size_t i = 0; i < sizeof scores / sizeof *scores; i++)
        worst =
            fmax(worst, fabs((double)found[scores[i].class_place * FIVE + scores[i].rank].score -
                             scores[i].score));
    (void)snprintf(g->want, sizeof g->want,
                   "class 0: 2154, 398, 2627, 226, 1198 (0.3569 …); 30 neurons, 7 scores");
    say(g, same_if(same == (size_t)SIX * FIVE && worst <= 0.0005),
        "class 0: %u, %u, %u, %u, %u (%.4f …); %zu of 30 neurons, scores off by at most %.4f",
        found[0].index, found[1].index, found[2].index, found[3].index, found[4].index,
        (double)found[0].score, same, worst);
    return KH_OK;
}

/* ---- G2 to G4: weights ----------------------------------------------------------------------- */

/* Mean over classes of each block's best score, from a ranking: out [blocks]. */
static void best_of_blocks(const kh_ranking *k, double *out) {
    for (size_t b = 0; b < k->blocks; b++) {
        out[b] = 0;
        for (size_t c = 0; c < k->classes; c++)
            out[b] += (double)k->block_score[b * k->k * k->classes + c] / (double)k->classes;
    }
}

static kh_status check_g2(kh_reproduce *r, kh_error *err) {
    static const double want[12] = {0.125, 0.125, 0.125, 0.125, 0.125, 0.125,
                                    0.125, 0.13,  0.15,  0.19,  0.39,  0.15};
    kh_golden *g = &r->goldens[1];
    kh_rank_options options = kh_rank_options_default();
    kh_ranking ranking;
    double got[12], worst = 0;
    options.align.mode = KH_ALIGN_COS;
    options.k = 1;
    KH_TRY(kh_lens_rank(r->session->ctx, r->session->model, &options, &ranking, err));
    best_of_blocks(&ranking, got);
    kh_ranking_clear(&ranking);
    for (size_t b = 0; b < 12; b++)
        worst = fmax(worst, fabs(got[b] - want[b]));
    (void)snprintf(g->want, sizeof g->want, "blocks 8 to 11: 0.15, 0.19, 0.39, 0.15 (± 0.02)");
    say(g, same_if(worst <= 0.02),
        "blocks 8 to 11: %.3f, %.3f, %.3f, %.3f; worst block off by %.3f", got[8], got[9], got[10],
        got[11], worst);
    return KH_OK;
}

static void check_g3(kh_reproduce *r) {
    kh_golden *g = &r->goldens[2];
    double sum = 0;
    for (size_t c = 0; c < r->info->classes; c++)
        sum += (double)r->ranking.global[c * r->ranking.k].score;
    sum /= (double)r->info->classes;
    (void)snprintf(g->want, sizeof g->want, "9.150");
    say(g, same_if(is_near(sum, 9.150, 0.002)), "%.4f", sum);
}

static kh_status check_g4(kh_reproduce *r, kh_error *err) {
    static const size_t most[4] = {20, 19, 13, 10};
    kh_golden *g = &r->goldens[3];
    kh_shared shared;
    KH_TRY(kh_lens_shared(&r->ranking, 1, &shared, err));
    const size_t two = kh_lens_shared_count(&shared, 2), three = kh_lens_shared_count(&shared, 3);
    bool is_same = is_near((double)two, 141, 1) && is_near((double)three, 35, 1);
    size_t got[4] = {0};
    for (size_t i = 0; i < 4 && i < shared.unit_count; i++) {
        got[i] = shared.units[i].n_classes;
        is_same &= is_near((double)got[i], (double)most[i], 1) && shared.units[i].block == BLOCK;
    }
    kh_shared_clear(&shared);
    (void)snprintf(g->want, sizeof g->want, "141 of two, 35 of three; 20, 19, 13, 10 classes");
    say(g, same_if(is_same), "%zu of two, %zu of three; %zu, %zu, %zu, %zu classes", two, three,
        got[0], got[1], got[2], got[3]);
    return KH_OK;
}

/* ---- G5 to G7: images ------------------------------------------------------------------------ */

static kh_status check_g5(kh_reproduce *r, kh_error *err) {
    static const double want[5] = {0.28, 0.31, 0.34, 0.645, 0.43}; /* blocks 7 to 11 */
    kh_golden *g = &r->goldens[4];
    (void)snprintf(g->want, sizeof g->want, "blocks 9 to 11: 0.34, 0.645, 0.43 (± 0.02)");
    if (r->labelled < VALIDATION) {
        say(g, KH_GOLDEN_NEEDS, "needs the 50,000 images of ImageNet's validation set");
        return KH_OK;
    }
    kh_answer *rows = NULL;
    KH_TRY(kh_reproduce_ask(r,
                            "SELECT truth, avg(truth_logit) FROM images WHERE truth_rank = 0 "
                            "AND truth >= 0 GROUP BY truth",
                            &rows, err));
    double got[5] = {0}, worst = 0;
    const size_t count = kh_answer_rows(rows);
    for (size_t i = 0; i < count; i++)
        for (size_t b = 0; b < 5; b++) {
            const size_t c = (size_t)kh_answer_number(rows, i, 0);
            if (c < r->info->classes)
                got[b] +=
                    (double)
                        r->ranking.block_score[(b + 7) * r->ranking.k * r->ranking.classes + c] /
                    kh_answer_number(rows, i, 1) / (double)count;
        }
    kh_answer_free(rows);
    for (size_t b = 0; b < 5; b++)
        worst = fmax(worst, fabs(got[b] - want[b]));
    say(g, same_if(worst <= 0.02), "blocks 9 to 11: %.3f, %.3f, %.3f", got[2], got[3], got[4]);
    return KH_OK;
}

static bool has_imagenet_s(const kh_reproduce *r) {
    return r->labelled == IMAGENET_S && kh_reproduce_has_table(r->database, "identifiability");
}

static kh_status check_g6(kh_reproduce *r, kh_error *err) {
    static const struct {
        const char *column;
        int block;
        double want;
    } want[] = {{"key_value", 10, 38}, {"key_value", 9, 15},          {"key_value", 8, 6},
                {"key_value", 11, 1},  {"memory_prediction", 10, 57}, {"memory_prediction", 9, 23}};
    kh_golden *g = &r->goldens[5];
    (void)snprintf(
        g->want, sizeof g->want,
        "agreement 38, 15, 6, 1 %% in blocks 10, 9, 8, 11; match 57, 23 %% in 10, 9 (± 2)");
    if (!has_imagenet_s(r)) {
        say(g, KH_GOLDEN_NEEDS,
            "needs the 4550 images of ImageNet-S (five of each of 910 classes) and --lenses all");
        return KH_OK;
    }
    double got[6], worst = 0;
    for (size_t i = 0; i < 6; i++) {
        char query[160];
        (void)snprintf(query, sizeof query, "SELECT avg(%s) FROM agreement WHERE block = %d",
                       want[i].column, want[i].block);
        KH_TRY(kh_store_db_number(r->database, query, 0, &got[i], err));
        got[i] *= 100;
        worst = fmax(worst, fabs(got[i] - want[i].want));
    }
    say(g, same_if(worst <= 2), "%.1f, %.1f, %.1f, %.1f %%; %.1f, %.1f %%", got[0], got[1], got[2],
        got[3], got[4], got[5]);
    return KH_OK;
}

static kh_status check_g7(kh_reproduce *r, kh_error *err) {
    kh_golden *g = &r->goldens[6];
    (void)snprintf(g->want, sizeof g->want,
                   "accuracy 85.69 %%, identifiable tokens 67.04 %%, images with one 97.45 %%");
    if (!has_imagenet_s(r)) {
        say(g, KH_GOLDEN_NEEDS,
            "needs the 4550 images of ImageNet-S (five of each of 910 classes) and --lenses all");
        return KH_OK;
    }
    double got[3];
    KH_TRY(kh_store_db_number(r->database, "SELECT share FROM accuracy WHERE measure = 'top1'", 0,
                              &got[0], err));
    static const char *const columns[2] = {"rate", "images"};
    for (size_t i = 0; i < 2; i++) {
        char query[200];
        (void)snprintf(query, sizeof query,
                       "SELECT %s FROM identifiability WHERE block = 11 AND site = 'residual' AND "
                       "tokens = 'patches'",
                       columns[i]);
        KH_TRY(kh_store_db_number(r->database, query, 0, &got[i + 1], err));
    }
    say(g,
        same_if(is_near(100 * got[0], 85.69, 0.5) && is_near(100 * got[1], 67.04, 0.5) &&
                is_near(100 * got[2], 97.45, 0.5)),
        "%.2f %%, %.2f %%, %.2f %%", 100 * got[0], 100 * got[1], 100 * got[2]);
    return KH_OK;
}

/* ---- G9: one photograph ---------------------------------------------------------------------- */

static kh_status read_photo(kh_reproduce *r, float *floats, size_t count, kh_error *err) {
    char *operands[1];
    kh_source *source = NULL;
    kh_image decoded = {0};
    char path[KH_REPRODUCE_PATH];
    (void)snprintf(path, sizeof path, "%s", r->settings->golden_image);
    operands[0] = path;
    kh_status status = kh_source_open(operands, 1, NULL, &source, err);
    if (!status && kh_source_count(source) == 0)
        status = kh_fail(err, KH_E_NOT_FOUND, "--golden-image is no image");
    if (!status) status = kh_source_read_image(source, 0, &r->settings->decode, &decoded, err);
    if (!status) status = kh_preprocess_image(&r->info->preprocess, &decoded, floats, count, err);
    kh_image_clear(&decoded);
    kh_source_free(source);
    return status;
}

static kh_status check_g9(kh_reproduce *r, kh_error *err) {
    static const double want[FIVE] = {12.5723, 6.2692, 6.7101, 6.8162, 5.8068};
    enum { CLASS = 162 };
    kh_golden *g = &r->goldens[8];
    (void)snprintf(g->want, sizeof g->want, "12.5723, 6.2692, 6.7101, 6.8162, 5.8068");
    if (!r->settings->golden_image) {
        say(g, KH_GOLDEN_NEEDS,
            "needs the photograph notebooks/images/sample_0.JPEG of the vit-cls_emb repository: "
            "--golden-image FILE, with --preset squash224");
        return KH_OK;
    }
    const size_t floats = 3 * r->info->image_height * r->info->image_width;
    static const size_t tokens[FIVE] = {0, 1, 2, 3, 4};
    const kh_tap tap = {.site = "blocks.11.hook_resid_post", .tokens = tokens, .token_count = FIVE};
    const kh_pass_spec spec = {.max_batch = 1, .taps = &tap, .tap_count = 1};
    kh_pass *pass = NULL;
    float *image = kh_alloc_floats(floats), *logits = kh_alloc_floats(FIVE * r->info->classes);
    kh_status status =
        image && logits ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a photograph");
    if (!status) status = read_photo(r, image, floats, err);
    if (!status) status = kh_pass_create(r->session->ctx, r->session->model, &spec, &pass, err);
    if (!status) status = kh_pass_run(pass, image, 1, err);
    if (!status)
        status = kh_model_head(r->session->ctx, r->session->model, kh_pass_tap(pass, 0), FIVE,
                               logits, err);
    double got[FIVE] = {0}, worst = 0;
    for (size_t t = 0; t < FIVE && !status; t++) {
        got[t] = (double)logits[t * r->info->classes + CLASS];
        worst = fmax(worst, fabs(got[t] - want[t]));
    }
    if (!status)
        say(g, same_if(worst <= 0.01), "%.4f, %.4f, %.4f, %.4f, %.4f", got[0], got[1], got[2],
            got[3], got[4]);
    kh_pass_free(pass);
    kh_free(image);
    kh_free(logits);
    return status;
}

/* ---- all ------------------------------------------------------------------------------------- */

static bool fits(const kh_model_info *info) {
    return info->blocks == 12 && info->neurons == 3072 && info->dim == 768 &&
           info->classes == 1000 && info->patch == 16 && !info->has_layer_scale &&
           info->pool == KH_POOL_TOKEN;
}

kh_status kh_reproduce_check_goldens(kh_reproduce *r, kh_error *err) {
    (void)snprintf(r->goldens[7].want, sizeof r->goldens[7].want,
                   "area under the curve 0.8363 to 0.6832");
    r->fits_goldens = fits(r->info);
    for (size_t i = 0; i < KH_GOLDENS; i++)
        say(&r->goldens[i], KH_GOLDEN_NEEDS,
            "needs this checkpoint: keyhole pull " CHECKPOINT "; this model's sizes are others");
    say(&r->goldens[7], KH_GOLDEN_NEEDS,
        "needs the ViT-B/32 and ImageNet-S with masks: keyhole perturb makes such curves");
    if (!r->fits_goldens) return KH_OK;
    KH_TRY(check_g1(r, err));
    if (r->goldens[0].state == KH_GOLDEN_DIFFERS) {
        r->fits_goldens = false;
        for (size_t i = 1; i < KH_GOLDENS; i++)
            if (i != 7)
                say(&r->goldens[i], KH_GOLDEN_NEEDS,
                    "needs this checkpoint: keyhole pull " CHECKPOINT
                    "; this one has the sizes but other neurons (G1 differs)");
        return KH_OK;
    }
    KH_TRY(check_g2(r, err));
    check_g3(r);
    KH_TRY(check_g4(r, err));
    KH_TRY(check_g5(r, err));
    KH_TRY(check_g6(r, err));
    KH_TRY(check_g7(r, err));
    return check_g9(r, err);
}
