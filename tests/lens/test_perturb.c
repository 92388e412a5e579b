/* Disturbed models against torch in float64 (tools/golden_perturb.py), and what must hold anyway.
 */
#include "support/kh_test.h"

#include "base/alloc.h"
#include "keyhole.h"
#include "lens/token_labels.h"

enum { IMAGES = 24, PATCHES = 16, CLASSES = 10, FLOATS = 3 * 32 * 32 };

/* Sums over 2 blocks of gradients that are up to 1 in size; activations agree to 2e-5. */
#define MAP_ATOL 1e-4

static kh_ctx *ctx;
static kh_model *model;
static kh_source *source;
static kh_label_set *set;
static kh_tensors *golden;
static float *images; /* [IMAGES, FLOATS] */
static size_t truth[IMAGES];

static int open_all(void **state) {
    (void)state;
    kh_error err = {0};
    char path[512];
    const kh_ctx_options options = {.threads = 2};
    kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
    (void)snprintf(path, sizeof path, "%s/golden/vit_base", KH_TEST_DATA);
    kh_assert_ok(kh_model_open(ctx, path, NULL, &model, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/truth", KH_TEST_DATA);
    kh_assert_ok(kh_label_set_open(path, NULL, &set, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/pictures", KH_TEST_DATA);
    char *operands[] = {path};
    const kh_source_options source_options = {.classes = kh_model_classes(model)};
    kh_assert_ok(kh_source_open(operands, 1, &source_options, &source, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/perturb.safetensors", KH_TEST_DATA);
    kh_assert_ok(kh_tensors_open(path, NULL, &golden, &err));
    images = malloc(IMAGES * FLOATS * sizeof *images);
    for (size_t i = 0; i < IMAGES; i++) {
        kh_image image;
        kh_assert_ok(kh_source_read_image(source, i, NULL, &image, &err));
        kh_assert_ok(kh_preprocess_image(&kh_model_get_info(model)->preprocess, &image,
                                         images + i * FLOATS, FLOATS, &err));
        kh_image_clear(&image);
        truth[i] = kh_source_get(source, i).truth;
    }
    return 0;
}

static int close_all(void **state) {
    (void)state;
    free(images);
    kh_tensors_close(golden);
    kh_label_set_close(set);
    kh_source_free(source);
    kh_model_close(model);
    kh_ctx_free(ctx);
    return 0;
}

static const double *expect(const char *name, size_t count) {
    static double room[3][IMAGES * PATCHES * CLASSES];
    static size_t turn;
    kh_error err = {0};
    double *values = room[turn++ % 3];
    assert_true(count <= IMAGES * PATCHES * CLASSES);
    kh_assert_ok(kh_tensors_read_f64(golden, name, false, values, count, &err));
    return values;
}

static void assert_near(double got, double want, double atol, const char *what, size_t index) {
    if (!(fabs(got - want) <= atol))
        fail_msg("%s[%zu]: %.9g, expected %.9g", what, index, got, want);
}

/* ---- maps ---------------------------------------------------------------------------------- */

static void gradient_maps_are_those_of_autograd(void **state) {
    (void)state;
    kh_error err = {0};
    static float got[IMAGES * PATCHES];
    for (int twice = 0; twice < 2; twice++) {
        kh_gradient_map *map;
        kh_assert_ok(kh_gradient_map_create(ctx, model, IMAGES, twice, &map, &err));
        kh_assert_ok(kh_gradient_map_run(map, images, IMAGES, truth, got, &err));
        const double *want = expect(twice ? "map_double" : "map_single", IMAGES * PATCHES);
        double largest = 0;
        for (size_t i = 0; i < IMAGES * PATCHES; i++) {
            assert_near((double)got[i], want[i], MAP_ATOL, twice ? "double" : "single", i);
            largest = fmax(largest, fabs(want[i]));
        }
        assert_true(largest > 100 * MAP_ATOL); /* or the comparison would say little */
        /* an image's map does not depend on its batch */
        float alone[PATCHES];
        kh_assert_ok(kh_gradient_map_run(map, images + 5 * FLOATS, 1, truth + 5, alone, &err));
        assert_memory_equal(alone, got + 5 * PATCHES, sizeof alone);
        const size_t beyond = CLASSES;
        kh_assert_fails(kh_gradient_map_run(map, images, 1, &beyond, alone, &err), KH_E_ARG,
                        "class 10");
        kh_gradient_map_free(map);
    }
}

/* Largest difference over largest value: sums of products of activations that agree to 2e-5. */
static void assert_relevance(const kh_model *of, const float *pixels, size_t count,
                             const size_t *classes, const char *name) {
    kh_error err = {0};
    kh_relevance *relevance;
    static float got[IMAGES * PATCHES];
    float alone[PATCHES];
    kh_assert_ok(kh_relevance_create(ctx, of, IMAGES, &relevance, &err));
    kh_assert_ok(kh_relevance_run(relevance, pixels, count, classes, got, &err));
    const double *want = expect(name, count * PATCHES);
    for (size_t i = 0; i < count; i++) {
        double largest = 0;
        for (size_t t = 0; t < PATCHES; t++)
            largest = fmax(largest, want[i * PATCHES + t]);
        assert_true(largest > 0);
        for (size_t t = 0; t < PATCHES; t++)
            assert_near((double)got[i * PATCHES + t], want[i * PATCHES + t], 1e-4 * largest, name,
                        i * PATCHES + t);
    }
    /* an image's relevance does not depend on its batch */
    kh_assert_ok(kh_relevance_run(relevance, pixels + (count - 1) * FLOATS, 1, classes + count - 1,
                                  alone, &err));
    assert_memory_equal(alone, got + (count - 1) * PATCHES, sizeof alone);
    const size_t beyond = CLASSES;
    kh_assert_fails(kh_relevance_run(relevance, pixels, 1, &beyond, alone, &err), KH_E_ARG,
                    "class 10");
    kh_relevance_free(relevance);
}

static void relevance_is_that_of_autograd(void **state) {
    (void)state;
    kh_error err = {0};
    kh_relevance *relevance;
    kh_assert_fails(kh_relevance_create(ctx, model, 1, &relevance, &err), KH_E_ARG,
                    "kh_model_prepare_gradient");
    assert_null(relevance);
    kh_assert_ok(kh_model_prepare_gradient(model, 1, &err));
    for (size_t n = 1;; n++) { /* every allocation fails once */
        kh_alloc_fail_after(n);
        const kh_status status = kh_relevance_create(ctx, model, 2, &relevance, &err);
        kh_alloc_fail_after(0);
        if (!status) break;
        assert_int_equal(status, KH_E_MEMORY);
        assert_null(relevance);
        assert_true(n < 1000);
    }
    kh_relevance_free(relevance);
    assert_relevance(model, images, IMAGES, truth, "relevance");
    /* LayerScale, norms of q and k */
    static const char *const others[] = {"deit3_base", "vit_base_qk_norm"};
    for (size_t k = 0; k < 2; k++) {
        char path[512], name[64];
        kh_model *other;
        kh_tensors *recorded;
        const size_t class_index = 3;
        static float input[FLOATS];
        (void)snprintf(path, sizeof path, "%s/golden/%s", KH_TEST_DATA, others[k]);
        kh_assert_ok(kh_model_open(ctx, path, NULL, &other, &err));
        kh_assert_ok(kh_model_prepare_gradient(other, 1, &err));
        (void)snprintf(path, sizeof path, "%s/golden/%s/golden.safetensors", KH_TEST_DATA,
                       others[k]);
        kh_assert_ok(kh_tensors_open(path, NULL, &recorded, &err));
        kh_assert_ok(kh_tensors_read(recorded, "input", false, input, FLOATS, &err));
        (void)snprintf(name, sizeof name, "relevance.%s", others[k]);
        assert_relevance(other, input, 1, &class_index, name);
        kh_tensors_close(recorded);
        kh_model_close(other);
    }
}

static void models_without_a_class_token_are_refused(void **state) {
    (void)state;
    kh_error err = {0};
    kh_model *other;
    kh_gradient_map *map;
    kh_relevance *relevance;
    char path[512];
    (void)snprintf(path, sizeof path, "%s/golden/siglip_gap_base", KH_TEST_DATA);
    kh_assert_ok(kh_model_open(ctx, path, NULL, &other, &err));
    kh_assert_fails(kh_gradient_map_create(ctx, other, 1, true, &map, &err), KH_E_UNSUPPORTED,
                    "class token alone");
    kh_assert_fails(kh_relevance_create(ctx, other, 1, &relevance, &err), KH_E_UNSUPPORTED,
                    "class token alone");
    kh_model_close(other);
}

/* ---- the study ----------------------------------------------------------------------------- */

typedef struct seen {
    size_t count;
    float neuron[IMAGES * PATCHES], relevance[IMAGES * PATCHES];
} seen;

static void see(void *user, size_t image, const float *gradient, const float *neuron,
                const float *relevance) {
    seen *s = user;
    assert_non_null(gradient);
    s->count++;
    memcpy(s->neuron + image * PATCHES, neuron, PATCHES * sizeof *neuron);
    memcpy(s->relevance + image * PATCHES, relevance, PATCHES * sizeof *relevance);
}

static void assert_row(const kh_perturb_row *row, const double *want) {
    const uint64_t got[] = {row->images, row->hits,         row->base_hits,
                            row->tokens, row->identifiable, row->base_identifiable};
    for (size_t i = 0; i < 6; i++)
        assert_near((double)got[i], want[i], 0, row->kind, i);
}

static void disturbances_curves_and_areas(void **state) {
    (void)state;
    kh_error err = {0};
    kh_perturbation p;
    static seen maps;
    kh_perturb_options o = kh_perturb_options_default();
    o.label_set = set;
    o.steps = PATCHES;
    o.random = 3;
    o.batch = 5;
    o.neuron_gradients = true;
    o.see = see;
    o.see_user = &maps;
    kh_assert_ok(kh_lens_perturb(ctx, model, source, &o, &p, &err));
    assert_int_equal(p.labelled, IMAGES);
    assert_int_equal(p.with_maps, IMAGES);
    assert_int_equal(maps.count, IMAGES);
    const double *rows = expect("rows", 4 * 6);
    for (size_t k = 0; k < 4; k++)
        assert_row(&p.rows[k], rows + 6 * k);
    const double *curves = expect("curves", 6 * (PATCHES + 1) * 2), *auc = expect("auc", 6);
    for (size_t v = 0; v < 6; v++) {
        for (size_t k = 0; k <= PATCHES; k++) {
            const double *want = curves + (v * (PATCHES + 1) + k) * 2;
            assert_int_equal(p.curves[v].points[k].removed, k);
            assert_near((double)p.curves[v].points[k].hits, want[0], 0, p.curves[v].method, k);
            assert_near(p.curves[v].points[k].margin, want[1], 1e-4, p.curves[v].sign, k);
        }
        assert_near(p.curves[v].auc, auc[v], 1e-12, "auc", v);
        assert_near(p.curves[v].auc_base, auc[v] * IMAGES / 3, 1e-12, "auc_base", v);
    }
    auc = expect("auc_published", 6);
    for (size_t v = 0; v < 6; v++)
        assert_near(p.curves[v].auc_published, auc[v], 1e-12, "auc_published", v);
    /* nothing removed: the plain answer; everything: nobody's order matters */
    const kh_removal_curve *random = &p.curves[6];
    assert_string_equal(random->method, "random");
    assert_int_equal(random->images, 3 * IMAGES);
    assert_int_equal(random->points[0].hits, 3 * p.rows[0].base_hits);
    assert_int_equal(random->points[PATCHES].hits, 3 * p.curves[0].points[PATCHES].hits);
    uint64_t apart = 0;
    for (size_t k = 0; k <= PATCHES; k++) {
        const kh_removal_point *at = &random->points[k];
        assert_true(3 * at->fewest <= at->hits && at->hits <= 3 * at->most);
        assert_int_equal(p.curves[2].points[k].fewest, p.curves[2].points[k].hits);
        assert_int_equal(p.curves[2].points[k].most, p.curves[2].points[k].hits);
        apart += at->most - at->fewest;
    }
    assert_true(apart > 0);
    const double *relevance = expect("relevance", IMAGES * PATCHES);
    for (size_t i = 0; i < IMAGES * PATCHES; i++)
        assert_near((double)maps.relevance[i], relevance[i], 5e-6, "relevance", i);
    const double *neuron = expect("neuron_gradient", IMAGES * PATCHES);
    for (size_t i = 0; i < IMAGES * PATCHES; i++)
        assert_near((double)maps.neuron[i], neuron[i], 1e-3, "neuron gradient", i);
    kh_perturbation_clear(&p);
}

static void tokens_by_majority(void **state) {
    (void)state;
    kh_error err = {0};
    kh_perturbation p;
    kh_perturb_options o = kh_perturb_options_default();
    o.label_set = set;
    o.steps = 0;
    o.by_majority = true;
    kh_assert_ok(kh_lens_perturb(ctx, model, source, &o, &p, &err));
    assert_int_equal(p.curve_count, 0);
    assert_row(&p.rows[2], expect("majority_1", 6));
    assert_row(&p.rows[3], expect("majority_0", 6));
    kh_perturbation_clear(&p);
    o.steps = PATCHES + 1;
    kh_assert_fails(kh_lens_perturb(ctx, model, source, &o, &p, &err), KH_E_ARG, "16 patches");
}

static void batches_and_threads_change_nothing(void **state) {
    (void)state;
    kh_error err = {0};
    kh_perturbation first, p;
    kh_perturb_options o = kh_perturb_options_default();
    o.steps = 4;
    o.random = 2;
    o.seed = 5;
    kh_assert_ok(kh_lens_perturb(ctx, model, source, &o, &first, &err));
    assert_int_equal(first.row_count, 2); /* no label maps */
    assert_int_equal(first.curve_count, 7);
    o.batch = 1;
    kh_assert_ok(kh_lens_perturb(ctx, model, source, &o, &p, &err));
    assert_memory_equal(p.points, first.points, 7 * 5 * sizeof *p.points);
    for (size_t k = 0; k < 2; k++)
        assert_int_equal(p.rows[k].identifiable, first.rows[k].identifiable);
    kh_perturbation_clear(&p);
    o.no_relevance = true; /* the other curves stay */
    kh_assert_ok(kh_lens_perturb(ctx, model, source, &o, &p, &err));
    assert_int_equal(p.curve_count, 5);
    assert_string_equal(p.curves[4].method, "random");
    assert_memory_equal(p.points, first.points, 4 * 5 * sizeof *p.points);
    assert_memory_equal(p.curves[4].points, first.curves[6].points, 5 * sizeof *p.points);
    kh_perturbation_clear(&p);
    kh_perturbation_clear(&first);
}

/* Attention that looks at itself alone already is not changed by making it so. */
static void identity_attention_stays(void **state) {
    (void)state;
    kh_error err = {0};
    size_t all[PATCHES + 1];
    kh_edit twice[2 * (PATCHES + 2)];
    size_t count = 0;
    for (size_t t = 0; t <= PATCHES; t++)
        all[t] = t;
    for (int again = 0; again < 2; again++) {
        twice[count++] = (kh_edit){.site = "blocks.0.attn.hook_pattern", .op = KH_EDIT_ZERO};
        for (size_t t = 0; t <= PATCHES; t++)
            twice[count++] = (kh_edit){.site = "blocks.0.attn.hook_pattern",
                                       .op = KH_EDIT_SET,
                                       .value = 1,
                                       .tokens = all + t,
                                       .token_count = 1,
                                       .units = all + t,
                                       .unit_count = 1};
    }
    float logits[2][CLASSES];
    for (size_t k = 0; k < 2; k++) {
        const kh_pass_spec spec = {
            .edits = twice, .edit_count = count / 2 * (k + 1), .want_logits = true};
        kh_pass *pass;
        kh_assert_ok(kh_pass_create(ctx, model, &spec, &pass, &err));
        kh_assert_ok(kh_pass_run(pass, images, 1, &err));
        memcpy(logits[k], kh_pass_logits(pass), sizeof logits[k]);
        kh_pass_free(pass);
    }
    assert_memory_equal(logits[0], logits[1], sizeof logits[0]);
}

static void labels_of_tokens_by_hand(void **state) {
    (void)state;
    /* 4 x 6 pixels, 2 x 3 patches */
    const kh_model_info info = {
        .image_height = 4, .image_width = 6, .grid_height = 2, .grid_width = 3, .patch = 2};
    const uint8_t on[24] = {1, 0, 0, 1, 1, 1, /* */
                            0, 0, 1, 1, 1, 1, /* */
                            0, 0, 0, 1, 0, 1, /* */
                            1, 1, 1, 1, 0, 0};
    const uint8_t nearest[6] = {1, 0, 1, 0, 0, 0}, majority[6] = {0, 1, 1, 0, 1, 0};
    uint8_t got[6];
    kh_token_labels(on, &info, false, got);
    assert_memory_equal(got, nearest, 6);
    kh_token_labels(on, &info, true, got);
    assert_memory_equal(got, majority, 6);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_of_tokens_by_hand),
        cmocka_unit_test(gradient_maps_are_those_of_autograd),
        cmocka_unit_test(relevance_is_that_of_autograd),
        cmocka_unit_test(models_without_a_class_token_are_refused),
        cmocka_unit_test(identity_attention_stays),
        cmocka_unit_test(disturbances_curves_and_areas),
        cmocka_unit_test(tokens_by_majority),
        cmocka_unit_test(batches_and_threads_change_nothing),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
