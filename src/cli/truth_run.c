/* The run of `truth`: class by class, scenes are rendered, looked at and scored. */
#include "cli/truth.h"

#include "base/alloc.h"
#include "base/text.h"

#include <string.h>

enum { SCENES_AT_ONCE = 64 };

/* ---- quantities ------------------------------------------------------------------------------ */

static double accuracy(const kh_truth_result *r, size_t c) {
    return (double)r->correct[c] / (double)r->settings.scenes;
}
static double iou_top1(const kh_truth_result *r, size_t c) {
    return r->class[c].rank->iou;
}
static double iou_random(const kh_truth_result *r, size_t c) {
    return r->class[c].random.iou;
}
static double iou_gain(const kh_truth_result *r, size_t c) {
    return iou_top1(r, c) - iou_random(r, c);
}
static double iou_middle(const kh_truth_result *r, size_t c) {
    return r->middle[c].iou;
}
static double iou_ceiling(const kh_truth_result *r, size_t c) {
    return r->class[c].rank->ceiling;
}
static double pointing_top1(const kh_truth_result *r, size_t c) {
    return r->class[c].rank->pointing;
}
static double pointing_random(const kh_truth_result *r, size_t c) {
    return r->class[c].random.pointing;
}
static double pointing_gain(const kh_truth_result *r, size_t c) {
    return pointing_top1(r, c) - pointing_random(r, c);
}
static double pointing_middle(const kh_truth_result *r, size_t c) {
    return r->middle[c].pointing;
}
static double pointing_chance(const kh_truth_result *r, size_t c) {
    return r->class[c].rank->share;
}
static double auroc_top1(const kh_truth_result *r, size_t c) {
    return r->class[c].rank->auroc;
}
static double auroc_random(const kh_truth_result *r, size_t c) {
    return r->class[c].random.auroc;
}
static double auroc_gain(const kh_truth_result *r, size_t c) {
    return auroc_top1(r, c) - auroc_random(r, c);
}
static double auroc_middle(const kh_truth_result *r, size_t c) {
    return r->middle[c].auroc;
}
static double silent_top1(const kh_truth_result *r, size_t c) {
    return (double)r->class[c].rank->silent / (double)r->class[c].rank->images;
}
static double silent_random(const kh_truth_result *r, size_t c) {
    return (double)r->class[c].random.silent / (double)r->class[c].random.images;
}
static double own_class(const kh_truth_result *r, size_t c) {
    return r->selectivity[c].auroc;
}

const kh_truth_quantity kh_truth_quantities[] = {
    {"accuracy", "accuracy on these scenes", accuracy},
    {"iou_top1", "IoU of the mask: top-1 neuron", iou_top1},
    {"iou_random", "  random neurons of its block", iou_random},
    {"iou_gain", "  top-1 minus random", iou_gain},
    {"iou_middle", "  the middle of the picture", iou_middle},
    {"iou_ceiling", "  best a mask of that size can do", iou_ceiling},
    {"pointing_top1", "pointing game: top-1 neuron", pointing_top1},
    {"pointing_random", "  random neurons of its block", pointing_random},
    {"pointing_gain", "  top-1 minus random", pointing_gain},
    {"pointing_middle", "  the middle of the picture", pointing_middle},
    {"pointing_chance", "  blind (the object's share of pixels)", pointing_chance},
    {"auroc_top1", "AUROC over pixels: top-1 neuron", auroc_top1},
    {"auroc_random", "  random neurons of its block", auroc_random},
    {"auroc_gain", "  top-1 minus random", auroc_gain},
    {"auroc_middle", "  the middle of the picture", auroc_middle},
    {"silent_top1", "silent maps: top-1 neuron", silent_top1},
    {"silent_random", "  random neurons of its block", silent_random},
    {"own_class_auroc", "fires more for its own class (AUROC)", own_class},
    {0},
};

kh_status kh_truth_band(const kh_truth_result *r, const kh_truth_quantity *q, kh_band *out,
                        kh_error *err) {
    double *values = kh_calloc(r->classes, sizeof *values);
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for %zu classes", r->classes);
    for (size_t c = 0; c < r->classes; c++)
        values[c] = q->of(r, c);
    const kh_status status =
        kh_lens_bootstrap(values, r->classes, r->settings.resamples, r->settings.seed, out, err);
    kh_free(values);
    return status;
}

size_t kh_truth_unbeaten(const kh_truth_result *r) {
    size_t count = 0;
    for (size_t c = 0; c < r->classes; c++)
        count += r->class[c].draws_below == r->plan.draws;
    return count;
}

/* ---- classes of the world and of the model --------------------------------------------------- */

static bool is_same_class(kh_class of_model, size_t of_world) {
    return (of_model.wnid && strcmp(of_model.wnid, kh_diorama_class_wnid(of_world)) == 0) ||
           strcmp(of_model.name, kh_diorama_class_name(of_world)) == 0;
}

static kh_status match_classes(kh_truth_result *r, kh_error *err) {
    const kh_classes *classes = kh_model_classes(r->model);
    const size_t count = kh_diorama_class_count();
    if (r->classes != count)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "the model has %zu classes, the demo world %zu; truth needs a model of the "
                       "demo world, such as demo",
                       r->classes, count);
    for (size_t w = 0; w < count; w++) {
        size_t c = 0;
        while (c < count && !is_same_class(kh_classes_get(classes, c), w))
            c++;
        if (c == count)
            return kh_fail(err, KH_E_UNSUPPORTED,
                           "the demo world's class '%s' (%s) is none of the model's; truth needs a "
                           "model of the demo world, such as demo",
                           kh_diorama_class_name(w), kh_diorama_class_wnid(w));
        r->world[c] = w;
    }
    return KH_OK;
}

/* ---- one class ------------------------------------------------------------------------------- */

/* Memory for one batch of scenes and for the scores of one class. */
typedef struct batch {
    size_t most; /* scenes at once */
    float *floats;
    uint8_t *truth;
    size_t *classes;        /* [most] the class at hand, for the look */
    kh_truth_score *scores; /* [scenes, scored] */
    kh_truth_score *middle; /* [scenes] */
    float *middles;         /* [most, patches] */
    float *peaks;           /* [count, classes] of all scenes */
    size_t *shown;          /* [count] class of each scene */
} batch;

static void batch_clear(batch *b) {
    kh_free(b->floats);
    kh_free(b->truth);
    kh_free(b->classes);
    kh_free(b->scores);
    kh_free(b->middle);
    kh_free(b->middles);
    kh_free(b->peaks);
    kh_free(b->shown);
}

static kh_status batch_init(batch *b, const kh_truth_result *r, kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(r->model)->preprocess;
    const size_t scenes = r->settings.scenes, pixels = how->height * how->width;
    *b = (batch){.most = scenes < SCENES_AT_ONCE ? scenes : SCENES_AT_ONCE};
    b->floats = kh_alloc_floats(b->most * 3 * pixels);
    b->truth = kh_calloc(b->most, pixels);
    b->classes = kh_calloc(b->most, sizeof *b->classes);
    b->scores = kh_calloc(scenes, r->plan.scored * sizeof *b->scores);
    b->middle = kh_calloc(scenes, sizeof *b->middle);
    const kh_grid grid = kh_lens_grid(kh_model_get_info(r->model));
    b->middles = kh_alloc_floats(b->most * grid.height * grid.width);
    b->peaks = kh_alloc_floats(r->count * r->classes);
    b->shown = kh_calloc(r->count, sizeof *b->shown);
    if (!b->floats || !b->truth || !b->classes || !b->scores || !b->middle || !b->middles ||
        !b->peaks || !b->shown)
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu scenes of %zu classes", r->count,
                       r->classes);
    for (size_t i = 0; i < b->most; i++)
        kh_lens_truth_middle(grid, b->middles + i * grid.height * grid.width);
    return KH_OK;
}

static float peak_of(const float *map, size_t patches) {
    float peak = map[0];
    for (size_t p = 1; p < patches; p++)
        if (map[p] > peak) peak = map[p];
    return peak;
}

/* Scores and peaks of n scenes of class c, the first of which is its scene `done`. */
static kh_status score_batch(kh_session *session, kh_truth_result *r, batch *b, size_t c,
                             size_t done, size_t n, kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(r->model)->preprocess;
    kh_look_options options = kh_look_options_default();
    options.ranking = &r->plan.neurons;
    options.k = r->plan.count;
    options.predictions = 1;
    options.batch = r->settings.batch;
    for (size_t i = 0; i < n; i++)
        b->classes[i] = c;
    kh_look look;
    KH_TRY(kh_lens_look(session->ctx, r->model, &options, b->floats, n, b->classes, &look, err));
    kh_truth_maps maps = {.maps = look.maps,
                          .images = n,
                          .stride = r->plan.count,
                          .scored = r->plan.scored,
                          .grid = look.grid,
                          .truth = b->truth,
                          .height = how->height,
                          .width = how->width,
                          .quantile = r->settings.quantile};
    kh_truth_score *scores = b->scores + done * r->plan.scored;
    kh_status status = kh_lens_truth_scores(session->ctx, &maps, scores, err);
    maps.maps = b->middles;
    maps.stride = maps.scored = 1;
    if (!status) status = kh_lens_truth_scores(session->ctx, &maps, b->middle + done, err);
    for (size_t i = 0; i < n && !status; i++) {
        const size_t at = c * r->settings.scenes + done + i;
        kh_truth_scene *scene = &r->scenes[at];
        scene->predicted = look.top[i].class_index;
        scene->score = scores[i * r->plan.scored];
        r->correct[c] += scene->predicted == c;
        b->shown[at] = c;
        for (size_t other = 0; other < r->classes; other++)
            b->peaks[at * r->classes + other] =
                peak_of(look.maps + (i * r->plan.count + r->plan.scored + other) * look.patches,
                        look.patches);
    }
    kh_look_clear(&look);
    return status;
}

static kh_status run_class(kh_session *session, kh_truth_result *r, kh_truth_stage *stage, batch *b,
                           size_t c, kh_error *err) {
    const size_t scenes = r->settings.scenes, pixels = stage->how->height * stage->how->width;
    for (size_t done = 0; done < scenes; done += b->most) {
        const size_t n = scenes - done < b->most ? scenes - done : b->most;
        for (size_t i = 0; i < n; i++) {
            const size_t at = c * scenes + done + i;
            kh_truth_scene *scene = &r->scenes[at];
            scene->class_index = c;
            scene->index = r->world[c] + (uint64_t)(done + i) * r->classes;
            if (!kh_session_progress(session, "scenes", at, r->count))
                return kh_fail(err, KH_E_STOPPED, "stopped after %zu of %zu scene%s", at, r->count,
                               KH_S(r->count));
            KH_TRY(kh_truth_stage_render(stage, scene->index, b->floats + i * 3 * pixels,
                                         b->truth + i * pixels, NULL, err));
        }
        KH_TRY(score_batch(session, r, b, c, done, n, err));
    }
    kh_lens_truth_mean(b->middle, scenes, 1, &r->middle[c]);
    kh_lens_truth_class(&r->plan, b->scores, scenes, r->means + c * r->plan.scored, &r->class[c]);
    if (r->class[c].best_iou != KH_NO_CLASS) {
        r->best_iou[r->class[c].best_iou]++;
        r->best_pointing[r->class[c].best_pointing]++;
    }
    return KH_OK;
}

/* ---- all ------------------------------------------------------------------------------------- */

static kh_status rank(kh_session *session, kh_truth_result *r, kh_error *err) {
    kh_rank_options options = kh_rank_options_default();
    options.align.mode = r->settings.mode;
    options.k = r->settings.topk;
    KH_TRY(kh_lens_rank(session->ctx, r->model, &options, &r->ranking, err));
    return kh_lens_truth_plan(&r->ranking, r->settings.topk, r->settings.draws, r->settings.seed,
                              &r->plan, err);
}

static kh_status allocate(kh_truth_result *r, kh_error *err) {
    const size_t topk = r->settings.topk;
    r->scenes = kh_calloc(r->count, sizeof *r->scenes);
    r->means = kh_calloc(r->classes, r->plan.scored * sizeof *r->means);
    r->class = kh_calloc(r->classes, sizeof *r->class);
    r->selectivity = kh_calloc(r->classes, sizeof *r->selectivity);
    r->middle = kh_calloc(r->classes, sizeof *r->middle);
    r->correct = kh_calloc(r->classes, sizeof *r->correct);
    r->fig3 = kh_calloc(topk, r->ranking.blocks * sizeof *r->fig3);
    r->best_iou = kh_calloc(topk, sizeof *r->best_iou);
    r->best_pointing = kh_calloc(topk, sizeof *r->best_pointing);
    if (r->scenes && r->means && r->class && r->selectivity && r->middle && r->correct && r->fig3 &&
        r->best_iou && r->best_pointing)
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for %zu scenes", r->count);
}

kh_status kh_truth_run(kh_session *session, const kh_truth_settings *settings, kh_truth_result *r,
                       kh_error *err) {
    kh_truth_stage stage = {0};
    batch b = {0};
    kh_status status = KH_OK;
    *r = (kh_truth_result){.model = session->model,
                           .settings = *settings,
                           .classes = kh_model_get_info(session->model)->classes};
    r->count = r->classes * settings->scenes;
    r->world = kh_calloc(r->classes, sizeof *r->world);
    if (!r->world) status = kh_fail(err, KH_E_MEMORY, "no memory for %zu classes", r->classes);
    if (!status) status = match_classes(r, err);
    if (!status) status = rank(session, r, err);
    if (!status) status = allocate(r, err);
    if (!status) status = batch_init(&b, r, err);
    if (!status) status = kh_truth_stage_open(&stage, r->model, settings, err);
    for (size_t c = 0; c < r->classes && !status; c++)
        status = run_class(session, r, &stage, &b, c, err);
    if (!status) {
        (void)kh_session_progress(session, "scenes", r->count, r->count);
        for (size_t k = 0; k < settings->topk; k++)
            kh_lens_block_histogram(&r->ranking, k, r->fig3 + k * r->ranking.blocks);
        status =
            kh_lens_truth_selectivity(b.peaks, b.shown, r->count, r->classes, r->selectivity, err);
    }
    kh_truth_stage_close(&stage);
    batch_clear(&b);
    return status;
}

void kh_truth_result_clear(kh_truth_result *r) {
    kh_truth_plan_clear(&r->plan);
    kh_ranking_clear(&r->ranking);
    kh_free(r->world);
    kh_free(r->scenes);
    kh_free(r->means);
    kh_free(r->class);
    kh_free(r->selectivity);
    kh_free(r->middle);
    kh_free(r->correct);
    kh_free(r->fig3);
    kh_free(r->best_iou);
    kh_free(r->best_pointing);
    *r = (kh_truth_result){0};
}
