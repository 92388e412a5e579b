/* Ablations at patches that show the image's class, or at all others: against PyTorch in float64
 * (tools/golden_ablation.py), against the pass's own edits, and what must hold exactly. */
#include "lens/ablate_numbers.h"

/* As in test_ablate.c. */
#define ATOL 2e-5

enum { PATCHES = TOKENS - 1 };

static ablate_world world;
static kh_source *source;
static kh_label_set *maps;
static uint8_t masks[2][IMAGES][PATCHES]; /* by first pixel, by majority */

static void read_masks(const char *name, uint8_t *out) {
    double *values = tensor_f64(world.ablation, name, false);
    size_t on = 0;
    for (size_t i = 0; i < IMAGES * PATCHES; i++)
        on += out[i] = values[i] > 0.5;
    assert_true(on > 20 && on < IMAGES * PATCHES / 2);
    free(values);
}

static int open_world(void **state) {
    (void)state;
    kh_error err = {0};
    char path[512];
    ablate_world_open(&world);
    (void)snprintf(path, sizeof path, "%s/atlas/pictures", KH_TEST_DATA);
    char *operands[] = {path};
    const kh_source_options options = {.classes = kh_model_classes(world.g.model)};
    kh_assert_ok(kh_source_open(operands, 1, &options, &source, &err));
    (void)snprintf(path, sizeof path, "%s/atlas/truth", KH_TEST_DATA);
    kh_assert_ok(kh_label_set_open(path, NULL, &maps, &err));
    read_masks("mask", masks[0][0]);
    read_masks("mask_majority", masks[1][0]);
    return 0;
}

static int close_world(void **state) {
    (void)state;
    kh_label_set_close(maps);
    kh_source_free(source);
    ablate_world_close(&world);
    return 0;
}

static kh_ablate_options masked_options(void) {
    kh_ablate_options o = ablate_world_options();
    o.tokens = KH_ABLATE_MASK;
    o.label_set = maps;
    o.source = source;
    return o;
}

/* ---- against PyTorch ----------------------------------------------------------------------- */

/* Each image loses the first k neurons of its own class at its own patches. */
static void interventions_as_in_pytorch(void **state) {
    (void)state;
    static const struct {
        const char *golden;
        size_t block, k;
        kh_ablate_tokens tokens;
        size_t majority; /* zero: images that it leaves without patches would change the means */
    } rows[] = {{"mask0", 0, K, KH_ABLATE_MASK, 0},
                {"mask1", 1, K, KH_ABLATE_MASK, 0},
                {"context0", 0, K, KH_ABLATE_CONTEXT, 0},
                {"context1", 1, K, KH_ABLATE_CONTEXT, 0},
                {"majority0", 0, NEURONS, KH_ABLATE_MASK, 1}};
    static float got[IMAGES * CLASSES];
    double *base = tensor_f64(world.ablation, "base", false);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        const size_t b = rows[r].block, k = rows[r].k;
        for (size_t l = 0; l < LABELS; l++) {
            kh_error err = {0};
            kh_neuron neurons[NEURONS];
            float values[2 * NEURONS];
            const size_t first = l * PER_CLASS;
            for (size_t i = 0; i < k; i++) {
                neurons[i] = (kh_neuron){b, world.order[b][world.truth[first]][i]};
                values[i] = world.means[b][0][neurons[i].index];
                values[k + i] = world.means[b][1][neurons[i].index];
            }
            const kh_intervention what = {.neurons = neurons,
                                          .count = k,
                                          .op = rows[r].majority ? KH_ABLATE_ZERO : KH_ABLATE_MEAN,
                                          .values = values,
                                          .tokens = rows[r].tokens,
                                          .mask = masks[rows[r].majority][first]};
            kh_assert_ok(kh_lens_intervene(world.g.ctx, world.g.model, &what, 1,
                                           world.images + first * PIXELS, PER_CLASS, 0,
                                           got + first * CLASSES, &err));
        }
        double *want = tensor_f64(world.ablation, rows[r].golden, false), largest = 0;
        for (size_t i = 0; i < IMAGES * CLASSES; i++) {
            assert_near((double)got[i], want[i], ATOL, rows[r].golden);
            largest = fmax(largest, fabs(want[i] - base[i]));
        }
        /* or the comparison would say little; behind the last block patches are not read */
        assert_true(b == BLOCKS - 1 ? largest == 0 : largest > 100 * ATOL);
        free(want);
    }
    free(base);
}

/* The whole study finds the same masks from the label maps; images without one stay out. */
static void studies_as_in_pytorch(void **state) {
    (void)state;
    static const struct {
        const char *golden;
        size_t k;
        kh_ablate_tokens tokens;
        bool by_majority;
    } rows[] = {{"mask0", K, KH_ABLATE_MASK, false},
                {"context0", K, KH_ABLATE_CONTEXT, false},
                {"majority0", NEURONS, KH_ABLATE_MASK, true}};
    double *base = tensor_f64(world.ablation, "base", false);
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        kh_ablate_options o = masked_options();
        const size_t grid[] = {1, K};
        memcpy(o.k, grid, sizeof grid);
        o.k_count = 2;
        o.block = 0;
        o.tokens = rows[r].tokens;
        o.by_majority = rows[r].by_majority;
        kh_ablation a = ablate_world_run(&world, &o);
        double *now = tensor_f64(world.ablation, rows[r].golden, false), sum = 0;
        size_t n = 0;
        for (size_t i = 0; i < IMAGES; i++) {
            size_t on = 0;
            for (size_t p = 0; p < PATCHES; p++)
                on += masks[rows[r].by_majority][i][p];
            if (rows[r].tokens == KH_ABLATE_MASK ? on == 0 : on == PATCHES) continue;
            const size_t at = i * CLASSES + world.truth[i];
            sum += now[at] - base[at];
            n++;
        }
        assert_int_equal(a.images, n);
        assert_int_equal(a.unmasked, IMAGES - n);
        assert_near(ablate_world_mean(&a, KH_ABLATE_RANKED, o.ops[rows[r].by_majority], rows[r].k,
                                      KH_NO_CLASS, KH_ABLATE_D_LOGIT),
                    sum / (double)n, ATOL, rows[r].golden);
        assert_true(fabs(sum) > 1e-3);
        kh_ablation_clear(&a);
        free(now);
    }
    free(base);
}

/* ---- against the pass's own edits ---------------------------------------------------------- */

/* A different mask for every image, both blocks at once: a full recomputation with edits of these
 * tokens says the same (the specification asks for 1e-4). */
static void masks_as_edits(void **state) {
    (void)state;
    static float got[IMAGES * CLASSES];
    kh_error err = {0};
    kh_neuron neurons[2 * K];
    size_t units[BLOCKS][K];
    for (size_t i = 0; i < 2 * K; i++) {
        neurons[i] = (kh_neuron){i / K, i * 7 % NEURONS};
        units[i / K][i % K] = neurons[i].index;
    }
    for (size_t t = 0; t < 2; t++) {
        const kh_ablate_tokens tokens = t ? KH_ABLATE_CONTEXT : KH_ABLATE_MASK;
        const kh_intervention what = {.neurons = neurons,
                                      .count = 2 * K,
                                      .op = KH_ABLATE_ZERO,
                                      .tokens = tokens,
                                      .mask = masks[0][0]};
        kh_assert_ok(kh_lens_intervene(world.g.ctx, world.g.model, &what, 1, world.images, IMAGES,
                                       3, got, &err));
        for (size_t i = 0; i < IMAGES; i++) {
            size_t rows[PATCHES], count = 0;
            for (size_t p = 0; p < PATCHES; p++)
                if (masks[0][i][p] == (t == 0)) rows[count++] = 1 + p;
            const kh_edit edits[] = {
                {"post0", KH_EDIT_ZERO, 0, NULL, rows, count, units[0], K, NULL, 0},
                {"post1", KH_EDIT_ZERO, 0, NULL, rows, count, units[1], K, NULL, 0}};
            const kh_pass_spec spec = {
                .edits = edits, .edit_count = count ? 2 : 0, .want_logits = true};
            kh_pass *pass;
            kh_assert_ok(kh_pass_create(world.g.ctx, world.g.model, &spec, &pass, &err));
            kh_assert_ok(kh_pass_run(pass, world.images + i * PIXELS, 1, &err));
            for (size_t c = 0; c < CLASSES; c++)
                assert_near((double)got[i * CLASSES + c], (double)kh_pass_logits(pass)[c], ATOL,
                            "edits");
            kh_pass_free(pass);
        }
    }
}

/* ---- exactly ------------------------------------------------------------------------------- */

static void intervene_all(size_t block, kh_ablate_tokens tokens, const uint8_t *mask, float *out) {
    kh_error err = {0};
    kh_neuron all[NEURONS];
    for (size_t j = 0; j < NEURONS; j++)
        all[j] = (kh_neuron){block, j};
    const kh_intervention what = {
        .neurons = all, .count = NEURONS, .op = KH_ABLATE_ZERO, .tokens = tokens, .mask = mask};
    kh_assert_ok(kh_lens_intervene(world.g.ctx, world.g.model, &what, 1, world.images, IMAGES, 0,
                                   out, &err));
}

static void masks_of_all_and_of_none(void **state) {
    (void)state;
    static uint8_t ones[IMAGES * PATCHES], zeros[IMAGES * PATCHES];
    static float patches[IMAGES * CLASSES], got[IMAGES * CLASSES];
    memset(ones, 1, sizeof ones);
    intervene_all(0, KH_ABLATE_IMAGE, NULL, patches);
    assert_memory_not_equal(patches, world.base, sizeof patches);
    intervene_all(0, KH_ABLATE_MASK, ones, got);
    assert_memory_equal(got, patches, sizeof got);
    intervene_all(0, KH_ABLATE_CONTEXT, zeros, got);
    assert_memory_equal(got, patches, sizeof got);
    intervene_all(0, KH_ABLATE_MASK, zeros, got);
    assert_memory_equal(got, world.base, sizeof got);
    intervene_all(0, KH_ABLATE_CONTEXT, ones, got);
    assert_memory_equal(got, world.base, sizeof got);
}

/* Behind the last block only the class token is read. */
static void masks_of_the_last_block_change_nothing(void **state) {
    (void)state;
    static float got[IMAGES * CLASSES];
    intervene_all(BLOCKS - 1, KH_ABLATE_MASK, masks[0][0], got);
    assert_memory_equal(got, world.base, sizeof got);
    kh_ablate_options o = masked_options();
    o.block = BLOCKS - 1;
    kh_ablation a = ablate_world_run(&world, &o);
    for (size_t i = 0; i < a.effect_count; i++)
        if (a.effects[i].metric == KH_ABLATE_D_LOGIT && a.effects[i].value.n)
            assert_near(a.effects[i].value.mean, 0, 0, "effect");
    kh_ablation_clear(&a);
}

/* Order and column `activation` are means over the patches that show the class. */
static void activations_are_those_of_the_mask(void **state) {
    (void)state;
    kh_ablate_options o = masked_options();
    o.designs = KH_ABLATE_CAUSAL;
    o.rank = KH_ABLATE_BY_ACTIVATION;
    o.block = 0;
    o.keys = NEURONS;
    kh_ablation a = ablate_world_run(&world, &o);
    assert_int_equal(a.listed_count, LABELS * NEURONS);
    for (size_t i = 0; i < a.listed_count; i++) {
        const size_t c = a.listed[i].class_index, j = a.listed[i].neuron.index;
        double sum = 0, n = 0;
        for (size_t m = 0; m < IMAGES; m++)
            for (size_t p = 0; p < PATCHES && world.truth[m] == c; p++)
                if (masks[0][m][p]) {
                    sum += (double)world.a[0][m][1 + p][j];
                    n++;
                }
        assert_near(a.listed[i].activation, sum / n, 1e-5, "activation");
        const kh_ablate_class *row = &a.class_rows[i / NEURONS];
        double first = -1e30;
        for (size_t l = i / NEURONS * NEURONS; l < (i / NEURONS + 1) * NEURONS; l++)
            if (a.listed[l].neuron.index == row->first.index) first = a.listed[l].activation;
        assert_true(first >= a.listed[i].activation);
    }
    kh_ablation_clear(&a);
}

static void same_for_all_batches_and_threads(void **state) {
    (void)state;
    static double want[MOST], got[MOST];
    for (size_t scope = 0; scope < 2; scope++) {
        kh_error err = {0};
        kh_ablate_options o = everything();
        o.tokens = scope ? KH_ABLATE_CONTEXT : KH_ABLATE_MASK;
        o.label_set = maps;
        o.source = source;
        if (scope)
            o.is_global = true;
        else
            o.block = 0;
        if (scope) o.designs &= ~(unsigned)KH_ABLATE_SWEEP;
        kh_ablation a = ablate_world_run(&world, &o);
        const size_t count = flatten(&a, want);
        kh_ablation_clear(&a);
        const kh_ctx_options options = {.threads = 3, .isa = kh_ctx_isa(world.g.ctx)};
        kh_ctx *ctx;
        kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
        o.batch = 5;
        o.image_batch = 7;
        kh_assert_ok(kh_ablate(ctx, world.g.model, &o, IMAGES, world.truth, ablate_world_read,
                               &world, &a, &err));
        assert_int_equal(flatten(&a, got), count);
        assert_same_numbers(want, got, count, scope ? "context of all blocks" : "mask of one");
        kh_ablation_clear(&a);
        kh_ctx_free(ctx);
    }
}

/* ---- refusing ------------------------------------------------------------------------------ */

static void refuses_what_makes_no_sense(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ablation a;
    float out[CLASSES];
    const kh_neuron one = {0, 5};
    kh_intervention what = {
        .neurons = &one, .count = 1, .op = KH_ABLATE_ZERO, .tokens = KH_ABLATE_MASK};
    kh_assert_fails(
        kh_lens_intervene(world.g.ctx, world.g.model, &what, 1, world.images, 1, 0, out, &err),
        KH_E_ARG, "tokens mask need a mask");
    what.tokens = KH_ABLATE_IMAGE;
    what.mask = masks[0][0];
    kh_assert_fails(
        kh_lens_intervene(world.g.ctx, world.g.model, &what, 1, world.images, 1, 0, out, &err),
        KH_E_ARG, "tokens image have no mask");
    kh_ablate_options o = masked_options();
    o.label_set = NULL;
    kh_assert_fails(kh_ablate(world.g.ctx, world.g.model, &o, IMAGES, world.truth,
                              ablate_world_read, &world, &a, &err),
                    KH_E_ARG, "tokens mask need label maps");
    o = masked_options();
    kh_assert_fails(kh_ablate(world.g.ctx, world.g.model, &o, IMAGES - 1, world.truth,
                              ablate_world_read, &world, &a, &err),
                    KH_E_ARG, "23 images, and a source of 24");
    size_t elsewhere[IMAGES]; /* classes that the maps do not know */
    for (size_t i = 0; i < IMAGES; i++)
        elsewhere[i] = 0;
    kh_assert_fails(kh_ablate(world.g.ctx, world.g.model, &o, IMAGES, elsewhere, ablate_world_read,
                              &world, &a, &err),
                    KH_E_ARG, "no patch counts as mask");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interventions_as_in_pytorch),
        cmocka_unit_test(studies_as_in_pytorch),
        cmocka_unit_test(masks_as_edits),
        cmocka_unit_test(masks_of_all_and_of_none),
        cmocka_unit_test(masks_of_the_last_block_change_nothing),
        cmocka_unit_test(activations_are_those_of_the_mask),
        cmocka_unit_test(same_for_all_batches_and_threads),
        cmocka_unit_test(refuses_what_makes_no_sense),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
