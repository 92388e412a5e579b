/* lens/ablate_world.h: the tiny model and its 24 pictures of four classes, for tests of ablations.
 */
#ifndef KH_TEST_ABLATE_WORLD_H
#define KH_TEST_ABLATE_WORLD_H

#include "lens/golden_model.h"

#include "lens/ablate.h"

enum { IMAGES = 24, PER_CLASS = 6, LABELS = 4, CLASSES = 10, NEURONS = 96, BLOCKS = 2, DIM = 24 };
enum { TOKENS = 17, PIXELS = 3 * 32 * 32, K = 10 };

typedef struct ablate_world {
    golden_model g;
    kh_tensors *ablation;
    float images[IMAGES * PIXELS];
    size_t truth[IMAGES];
    size_t order[BLOCKS][CLASSES][NEURONS]; /* by ln, from kh_lens_alignment */
    float a[BLOCKS][IMAGES][TOKENS][NEURONS];
    float means[BLOCKS][2][NEURONS]; /* class token, patches */
    float base[IMAGES * CLASSES];    /* plain logits */
} ablate_world;

static inline void ablate_world_images(ablate_world *w) {
    kh_error err = {0};
    char path[512];
    kh_source *source;
    (void)snprintf(path, sizeof path, "%s/atlas/pictures", KH_TEST_DATA);
    char *operands[] = {path};
    const kh_source_options options = {.classes = kh_model_classes(w->g.model)};
    kh_assert_ok(kh_source_open(operands, 1, &options, &source, &err));
    assert_int_equal(kh_source_count(source), IMAGES);
    for (size_t i = 0; i < IMAGES; i++) {
        kh_image image = {0};
        kh_assert_ok(kh_source_read_image(source, i, NULL, &image, &err));
        kh_assert_ok(kh_preprocess_image(&w->g.info->preprocess, &image, w->images + i * PIXELS,
                                         PIXELS, &err));
        kh_image_clear(&image);
        w->truth[i] = kh_source_get(source, i).truth;
    }
    kh_source_free(source);
}

static inline void ablate_world_open(ablate_world *w) {
    static float ln[NEURONS * CLASSES], column[NEURONS];
    kh_error err = {0};
    char path[512];
    golden_open(&w->g, "vit_base");
    (void)snprintf(path, sizeof path, "%s/atlas/ablation.safetensors", KH_TEST_DATA);
    kh_assert_ok(kh_tensors_open(path, NULL, &w->ablation, &err));
    ablate_world_images(w);
    const kh_tap taps[] = {{.site = "post0"}, {.site = "post1"}};
    const kh_pass_spec spec = {
        .max_batch = IMAGES, .taps = taps, .tap_count = 2, .want_logits = true};
    kh_pass *pass;
    kh_assert_ok(kh_pass_create(w->g.ctx, w->g.model, &spec, &pass, &err));
    kh_assert_ok(kh_pass_run(pass, w->images, IMAGES, &err));
    memcpy(w->base, kh_pass_logits(pass), sizeof w->base);
    for (size_t b = 0; b < BLOCKS; b++) {
        memcpy(w->a[b], kh_pass_tap(pass, b), sizeof w->a[b]);
        kh_assert_ok(
            kh_lens_alignment(w->g.ctx, w->g.model, b, KH_ALIGN_LN, ln, NEURONS * CLASSES, &err));
        for (size_t c = 0; c < CLASSES; c++) {
            for (size_t j = 0; j < NEURONS; j++)
                column[j] = ln[j * CLASSES + c];
            kh_assert_ok(kh_lens_top(column, NEURONS, NEURONS, w->order[b][c], &err));
        }
        for (size_t j = 0; j < NEURONS; j++) {
            double sum[2] = {0, 0};
            for (size_t i = 0; i < IMAGES; i++)
                for (size_t t = 0; t < TOKENS; t++)
                    sum[t > 0] += (double)w->a[b][i][t][j];
            w->means[b][0][j] = (float)(sum[0] / IMAGES);
            w->means[b][1][j] = (float)(sum[1] / (IMAGES * (TOKENS - 1)));
        }
    }
    kh_pass_free(pass);
}

static inline void ablate_world_close(ablate_world *w) {
    kh_tensors_close(w->ablation);
    golden_close(&w->g);
}

static inline kh_status ablate_world_read(void *user, size_t index, float *image, bool *is_broken,
                                          kh_error *err) {
    (void)is_broken;
    (void)err;
    const ablate_world *w = user;
    memcpy(image, w->images + index * PIXELS, PIXELS * sizeof *image);
    return KH_OK;
}

/* Few resamples: these tests are about means. */
static inline kh_ablate_options ablate_world_options(void) {
    kh_ablate_options o = kh_ablate_options_default();
    o.designs = KH_ABLATE_OWN;
    o.resamples = 10;
    o.sets = 2;
    return o;
}

static inline kh_ablation ablate_world_run(ablate_world *w, const kh_ablate_options *o) {
    kh_error err = {0};
    kh_ablation out;
    kh_assert_ok(
        kh_ablate(w->g.ctx, w->g.model, o, IMAGES, w->truth, ablate_world_read, w, &out, &err));
    return out;
}

static inline void assert_near(double got, double want, double atol, const char *what) {
    if (!(fabs(got - want) <= atol)) fail_msg("%s: %.9g, expected %.9g", what, got, want);
}

/* Mean of a metric of design own, all images of class c (KH_NO_CLASS: all). */
static inline double ablate_world_mean(const kh_ablation *a, kh_ablate_set set, kh_ablate_op op,
                                       size_t k, size_t c, kh_ablate_metric metric) {
    for (size_t i = 0; i < a->effect_count; i++) {
        const kh_ablate_effect *e = &a->effects[i];
        if (!e->is_sweep && !e->is_correct && e->set == set && e->op == op && e->k == k &&
            e->class_index == c && e->metric == metric)
            return e->value.mean;
    }
    fail_msg("no row: set %d op %d k %zu class %zu metric %d", (int)set, (int)op, k, c,
             (int)metric);
    return (double)NAN;
}

#endif
