/* Ablations against PyTorch in float64 with forward hooks (tools/golden_ablation.py), against the
 * pass's own edits, and against what must hold exactly. */
#include "lens/ablate_world.h"

#include "keyhole/truth.h"

#include <math.h>

/* The specification's bound for the update against a full recomputation is 1e-4; sites of this
 * model agree with float64 to 2e-5, and logits here are below 3. */
#define ATOL 2e-5

static ablate_world world;

static int open_world(void **state) {
    (void)state;
    ablate_world_open(&world);
    return 0;
}

static int close_world(void **state) {
    (void)state;
    ablate_world_close(&world);
    return 0;
}

/* [interventions, count, CLASSES] */
static void intervene(const kh_intervention *what, size_t interventions, size_t first, size_t count,
                      float *out) {
    kh_error err = {0};
    kh_assert_ok(kh_lens_intervene(world.g.ctx, world.g.model, what, interventions,
                                   world.images + first * PIXELS, count, 0, out, &err));
}

static void assert_logits(const float *got, const double *want, size_t count, double atol,
                          const char *what) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - want[i]) <= atol))
            fail_msg("%s, number %zu: %.9g, expected %.9g", what, i, (double)got[i], want[i]);
}

static void assert_same(const float *a, const float *b, size_t count, const char *what) {
    if (memcmp(a, b, count * sizeof *a) == 0) return;
    for (size_t i = 0; i < count; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            fail_msg("%s, number %zu: %.9g is not %.9g", what, i, (double)a[i], (double)b[i]);
}

/* ---- against PyTorch ----------------------------------------------------------------------- */

static void every_single_neuron_as_in_pytorch(void **state) {
    (void)state;
    enum { FEW = 4 };
    static kh_neuron neurons[BLOCKS * NEURONS];
    static kh_intervention what[BLOCKS * NEURONS];
    static float got[BLOCKS * NEURONS * FEW * CLASSES];
    for (size_t i = 0; i < BLOCKS * NEURONS; i++) {
        neurons[i] = (kh_neuron){i / NEURONS, i % NEURONS};
        what[i] = (kh_intervention){.neurons = &neurons[i], .count = 1, .op = KH_ABLATE_ZERO};
    }
    double *want = tensor_f64(world.ablation, "single", false);
    intervene(what, BLOCKS * NEURONS, 0, FEW, got);
    assert_logits(got, want, BLOCKS * NEURONS * FEW * CLASSES, ATOL, "single");
    free(want);
}

typedef struct variant {
    const char *golden;
    size_t first_block, last_block, k;
    kh_ablate_op op;
    kh_ablate_tokens tokens;
    double alpha;
} variant;

/* Each image loses the neurons of its own class: six images a class, in order. */
static void check_own(const variant *v) {
    static kh_neuron neurons[BLOCKS * NEURONS];
    static float got[IMAGES * CLASSES], values[2 * BLOCKS * NEURONS];
    for (size_t l = 0; l < LABELS; l++) {
        const size_t c = world.truth[l * PER_CLASS];
        const size_t count = v->k * (v->last_block - v->first_block + 1);
        for (size_t i = 0; i < count; i++) {
            const size_t b = v->first_block + i / v->k, j = world.order[b][c][i % v->k];
            neurons[i] = (kh_neuron){b, j};
            values[i] = world.means[b][0][j];
            values[count + i] = world.means[b][1][j];
        }
        const kh_intervention what = {.neurons = neurons,
                                      .count = count,
                                      .op = v->op,
                                      .alpha = v->alpha,
                                      .values = values,
                                      .tokens = v->tokens};
        intervene(&what, 1, l * PER_CLASS, PER_CLASS, got + l * PER_CLASS * CLASSES);
    }
    double *want = tensor_f64(world.ablation, v->golden, false);
    assert_logits(got, want, IMAGES * CLASSES, ATOL, v->golden);
    free(want);
}

static void sets_of_neurons_as_in_pytorch(void **state) {
    (void)state;
    static const variant variants[] = {
        {"mean0", 0, 0, K, KH_ABLATE_MEAN, KH_ABLATE_ALL, 0},
        {"mean1", 1, 1, K, KH_ABLATE_MEAN, KH_ABLATE_ALL, 0},
        {"zero0", 0, 0, K, KH_ABLATE_ZERO, KH_ABLATE_ALL, 0},
        {"zero1", 1, 1, K, KH_ABLATE_ZERO, KH_ABLATE_ALL, 0},
        {"scale0", 0, 0, K, KH_ABLATE_SCALE, KH_ABLATE_ALL, 2.5},
        {"scale1", 1, 1, K, KH_ABLATE_SCALE, KH_ABLATE_ALL, 2.5},
        {"cls0", 0, 0, K, KH_ABLATE_ZERO, KH_ABLATE_CLS, 0},
        {"cls1", 1, 1, K, KH_ABLATE_ZERO, KH_ABLATE_CLS, 0},
        {"patches0", 0, 0, K, KH_ABLATE_ZERO, KH_ABLATE_IMAGE, 0},
        {"patches1", 1, 1, K, KH_ABLATE_ZERO, KH_ABLATE_IMAGE, 0},
        {"half0", 0, 0, NEURONS / 2, KH_ABLATE_MEAN, KH_ABLATE_ALL, 0},
        {"all0", 0, 0, NEURONS, KH_ABLATE_MEAN, KH_ABLATE_ALL, 0},
        {"global", 0, 1, K, KH_ABLATE_ZERO, KH_ABLATE_ALL, 0},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        check_own(&variants[i]);
}

/* Mean over images of the change of the true class's logit and margin, from recorded logits. */
static double change_of(const double *base, const double *now, size_t first, size_t count,
                        bool is_margin) {
    double sum = 0;
    for (size_t i = first; i < first + count; i++) {
        const size_t c = world.truth[i];
        double best[2] = {-1e30, -1e30};
        for (size_t o = 0; o < CLASSES && is_margin; o++) {
            if (o == c) continue;
            best[0] = fmax(best[0], base[i * CLASSES + o]);
            best[1] = fmax(best[1], now[i * CLASSES + o]);
        }
        sum += now[i * CLASSES + c] - base[i * CLASSES + c];
        if (is_margin) sum -= best[1] - best[0];
    }
    return sum / (double)count;
}

/* The whole study: its own means, orders, and the sum that is subtracted from the change of all. */
static void studies_as_in_pytorch(void **state) {
    (void)state;
    static const struct {
        const char *golden;
        size_t block, k;
        kh_ablate_op op;
    } rows[] = {
        {"mean0", 0, K, KH_ABLATE_MEAN},           {"mean1", 1, K, KH_ABLATE_MEAN},
        {"zero0", 0, K, KH_ABLATE_ZERO},           {"zero1", 1, K, KH_ABLATE_ZERO},
        {"half0", 0, NEURONS / 2, KH_ABLATE_MEAN}, {"most0", 0, NEURONS - 3, KH_ABLATE_MEAN},
        {"most1", 1, NEURONS - 3, KH_ABLATE_MEAN}, {"all0", 0, NEURONS, KH_ABLATE_MEAN},
        {"all1", 1, NEURONS, KH_ABLATE_MEAN},      {"class_mean1", 1, K, KH_ABLATE_CLASS_MEAN}};
    double *base = tensor_f64(world.ablation, "base", false);
    for (size_t b = 0; b < BLOCKS; b++) {
        kh_ablate_options o = ablate_world_options();
        const size_t grid[] = {1, K, NEURONS / 2, NEURONS - 3};
        memcpy(o.k, grid, sizeof grid);
        o.k_count = 4;
        o.block = b;
        o.ops[2] = KH_ABLATE_CLASS_MEAN;
        o.op_count = 3;
        kh_ablation a = ablate_world_run(&world, &o);
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
            if (rows[r].block != b) continue;
            double *now = tensor_f64(world.ablation, rows[r].golden, false);
            for (size_t m = 0; m < 2; m++) {
                const kh_ablate_metric metric = m ? KH_ABLATE_D_MARGIN : KH_ABLATE_D_LOGIT;
                const size_t c = world.truth[PER_CLASS];
                assert_near(ablate_world_mean(&a, KH_ABLATE_RANKED, rows[r].op, rows[r].k,
                                              KH_NO_CLASS, metric),
                            change_of(base, now, 0, IMAGES, m), ATOL, rows[r].golden);
                assert_near(
                    ablate_world_mean(&a, KH_ABLATE_RANKED, rows[r].op, rows[r].k, c, metric),
                    change_of(base, now, PER_CLASS, PER_CLASS, m), ATOL, rows[r].golden);
            }
            free(now);
        }
        kh_ablation_clear(&a);
    }
    free(base);
}

static void contributions_as_in_pytorch(void **state) {
    (void)state;
    double *contribution = tensor_f64(world.ablation, "contribution1", false);
    double *direct = tensor_f64(world.ablation, "direct1", false);
    kh_ablate_options o = ablate_world_options();
    o.designs = KH_ABLATE_CAUSAL;
    o.block = 1;
    o.keys = NEURONS;
    kh_ablation a = ablate_world_run(&world, &o);
    assert_int_equal(a.listed_count, LABELS * NEURONS);
    for (size_t i = 0; i < a.listed_count; i++) {
        const kh_ablate_neuron *n = &a.listed[i];
        const size_t at = i / NEURONS * NEURONS + n->neuron.index;
        assert_int_equal(n->neuron.block, 1);
        assert_int_equal(n->class_index, world.truth[i / NEURONS * PER_CLASS]);
        assert_int_equal(n->picked_by, KH_ABLATE_PICK_LN);
        assert_int_equal(n->place, i % NEURONS);
        assert_near(n->contribution, contribution[at], ATOL, "contribution");
        assert_near(n->direct, direct[at], ATOL, "direct");
    }
    kh_ablation_clear(&a);
    free(direct);
    free(contribution);
}

/* ---- against the pass's own edits ---------------------------------------------------------- */

static void run_edits(const kh_edit *edits, size_t count, size_t first, size_t images, float *out) {
    kh_error err = {0};
    kh_pass *pass;
    const kh_pass_spec spec = {
        .max_batch = images, .edits = edits, .edit_count = count, .want_logits = true};
    kh_assert_ok(kh_pass_create(world.g.ctx, world.g.model, &spec, &pass, &err));
    kh_assert_ok(kh_pass_run(pass, world.images + first * PIXELS, images, &err));
    memcpy(out, kh_pass_logits(pass), images * CLASSES * sizeof *out);
    kh_pass_free(pass);
}

typedef struct kept {
    float logits[4][CLASSES];
} kept;

static void keep(void *user, size_t tag, const float *logits) {
    memcpy(((kept *)user)->logits[tag], logits, CLASSES * sizeof *logits);
}

/* Two images: the first is changed, the second lends its coefficients. */
static void swap_and_resample_as_edits(void **state) {
    (void)state;
    enum { SOME = 6 };
    static const uint32_t from[SOME] = {3, 17, 40, 41, 77, 95}, to[SOME] = {0, 9, 18, 50, 60, 94};
    kh_error err = {0};
    kh_engine engine;
    kh_ablate_base base;
    kept got;
    float want[CLASSES];
    kh_assert_ok(kh_engine_init(&engine, world.g.ctx, world.g.model, 0, 1, KH_ABLATE_ALL, 3, &err));
    kh_assert_ok(kh_ablate_base_init(&base, world.g.ctx, world.g.model, 0, 1, 2, &err));
    kh_assert_ok(kh_ablate_base_run(&base, world.images, 2, &err));
    const kh_ablate_part parts[] = {{.units = from, .count = SOME, .op = KH_ABLATE_ZERO},
                                    {.units = to,
                                     .count = SOME,
                                     .op = KH_ABLATE_CLASS_MEAN,
                                     .means = world.means[0][0],
                                     .row_units = NEURONS}};
    const kh_ablate_part donated = {
        .units = from, .count = SOME, .op = KH_ABLATE_RESAMPLE, .donor = &base.states[1]};
    kh_assert_ok(kh_engine_add(&engine, &base.states[0], parts, 2, 0, keep, &got, &err));
    kh_assert_ok(kh_engine_add(&engine, &base.states[0], &donated, 1, 1, keep, &got, &err));
    kh_assert_ok(kh_engine_flush(&engine, keep, &got, &err));

    size_t units[2][SOME], patches[TOKENS - 1], every[TOKENS];
    float values[2][SOME], lent[TOKENS][SOME];
    kh_edit edits[TOKENS];
    const size_t cls = 0;
    for (size_t i = 0; i < SOME; i++) {
        units[0][i] = from[i];
        units[1][i] = to[i];
        values[0][i] = world.means[0][0][to[i]];
        values[1][i] = world.means[0][1][to[i]];
    }
    for (size_t t = 1; t < TOKENS; t++)
        patches[t - 1] = t;
    const kh_edit swap[] = {
        {.site = "post0", .op = KH_EDIT_ZERO, .units = units[0], .unit_count = SOME},
        {"post0", KH_EDIT_SET, 0, values[0], &cls, 1, units[1], SOME, NULL, 0},
        {"post0", KH_EDIT_SET, 0, values[1], patches, TOKENS - 1, units[1], SOME, NULL, 0}};
    run_edits(swap, 3, 0, 1, want);
    for (size_t c = 0; c < CLASSES; c++)
        assert_float_equal(got.logits[0][c], want[c], ATOL);
    for (size_t t = 0; t < TOKENS; t++) {
        every[t] = t;
        for (size_t i = 0; i < SOME; i++)
            lent[t][i] = world.a[0][1][t][from[i]];
        edits[t] =
            (kh_edit){"post0", KH_EDIT_SET, 0, lent[t], &every[t], 1, units[0], SOME, NULL, 0};
    }
    run_edits(edits, TOKENS, 0, 1, want);
    for (size_t c = 0; c < CLASSES; c++)
        assert_float_equal(got.logits[1][c], want[c], ATOL);
    kh_ablate_base_clear(&base);
    kh_engine_clear(&engine);
}

/* Zeroing every neuron leaves only the second matrix's bias. */
static void without_all_neurons_only_the_bias_is_left(void **state) {
    (void)state;
    static kh_neuron all[NEURONS];
    static float got[IMAGES * CLASSES], want[IMAGES * CLASSES], bias[DIM];
    kh_error err = {0};
    for (size_t b = 0; b < BLOCKS; b++) {
        char name[64], site[64];
        for (size_t j = 0; j < NEURONS; j++)
            all[j] = (kh_neuron){b, j};
        const kh_intervention what = {.neurons = all, .count = NEURONS, .op = KH_ABLATE_ZERO};
        intervene(&what, 1, 0, IMAGES, got);
        (void)snprintf(name, sizeof name, "blocks.%zu.mlp.fc2.bias", b);
        (void)snprintf(site, sizeof site, "blocks.%zu.hook_mlp_out", b);
        kh_assert_ok(kh_model_tensor_read(world.g.model, name, bias, DIM, &err));
        const kh_edit edit = {.site = site, .op = KH_EDIT_SET, .values = bias};
        run_edits(&edit, 1, 0, IMAGES, want);
        for (size_t i = 0; i < IMAGES * CLASSES; i++)
            assert_float_equal(got[i], want[i], ATOL);
    }
}

/* ---- exactly ------------------------------------------------------------------------------- */

static void no_change_is_the_plain_pass_bit_for_bit(void **state) {
    (void)state;
    static kh_neuron all[BLOCKS * NEURONS];
    static float got[2 * IMAGES * CLASSES];
    for (size_t i = 0; i < BLOCKS * NEURONS; i++)
        all[i] = (kh_neuron){i / NEURONS, i % NEURONS};
    const kh_intervention what[] = {
        {.neurons = all, .count = BLOCKS * NEURONS, .op = KH_ABLATE_SCALE, .alpha = 1},
        {.neurons = all, .count = 0, .op = KH_ABLATE_ZERO}};
    intervene(what, 2, 0, IMAGES, got);
    assert_same(got, world.base, IMAGES * CLASSES, "times 1");
    assert_same(got + IMAGES * CLASSES, world.base, IMAGES * CLASSES, "no neuron");
    intervene(what + 1, 1, 0, IMAGES, got);
    assert_same(got, world.base, IMAGES * CLASSES, "no neuron, last block");
}

/* Behind the last block only the class token is read. */
static void patches_of_the_last_block_change_nothing(void **state) {
    (void)state;
    static kh_neuron all[NEURONS];
    static float got[IMAGES * CLASSES];
    for (size_t j = 0; j < NEURONS; j++)
        all[j] = (kh_neuron){BLOCKS - 1, j};
    const kh_intervention what = {
        .neurons = all, .count = NEURONS, .op = KH_ABLATE_ZERO, .tokens = KH_ABLATE_IMAGE};
    intervene(&what, 1, 0, IMAGES, got);
    assert_same(got, world.base, IMAGES * CLASSES, "patches");
}

/* With the final norm's denominator frozen, what attribution says is what happens. */
static void direct_effect_is_exact_when_the_norm_is_frozen(void **state) {
    (void)state;
    kh_error err = {0};
    kh_ablate_options o = ablate_world_options();
    o.designs = KH_ABLATE_CAUSAL;
    o.block = 1;
    o.ops[0] = KH_ABLATE_ZERO;
    o.op_count = 1;
    o.tokens = KH_ABLATE_CLS;
    o.keys = 8;
    o.per_class = 1;
    kh_ablation a = ablate_world_run(&world, &o);
    assert_int_equal(a.images, LABELS);
    const size_t cls = 0;
    const kh_tap taps[] = {{.site = "blocks.1.hook_resid_post", .tokens = &cls, .token_count = 1},
                           {.site = "ln_final.hook_scale"}};
    double *gamma = tensor_f64(world.g.weights, "norm.weight", false);
    double *head = tensor_f64(world.g.weights, "head.weight", false);
    for (size_t i = 0; i < a.listed_count; i++) {
        const kh_ablate_neuron *n = &a.listed[i];
        const size_t image = i / (a.listed_count / LABELS) * PER_CLASS;
        double z[2], sigma = 0;
        for (size_t edited = 0; edited < 2; edited++) {
            const kh_edit edit = {.site = "post1",
                                  .op = KH_EDIT_ZERO,
                                  .tokens = &cls,
                                  .token_count = 1,
                                  .units = &n->neuron.index,
                                  .unit_count = 1};
            const kh_pass_spec spec = {.taps = taps,
                                       .tap_count = 2,
                                       .edits = &edit,
                                       .edit_count = edited,
                                       .want_logits = true};
            kh_pass *pass;
            kh_assert_ok(kh_pass_create(world.g.ctx, world.g.model, &spec, &pass, &err));
            kh_assert_ok(kh_pass_run(pass, world.images + image * PIXELS, 1, &err));
            const float *x = kh_pass_tap(pass, 0);
            double mean = 0, sum = 0;
            if (!edited) sigma = (double)kh_pass_tap(pass, 1)[0];
            for (size_t d = 0; d < DIM; d++)
                mean += (double)x[d] / DIM;
            for (size_t d = 0; d < DIM; d++)
                sum += head[n->class_index * DIM + d] * gamma[d] * ((double)x[d] - mean);
            z[edited] = sum / sigma;
            kh_pass_free(pass);
        }
        assert_near(n->direct, z[0] - z[1], ATOL, "direct");
        assert_near(n->contribution, z[0] - z[1], ATOL, "contribution");
    }
    free(head);
    free(gamma);
    kh_ablation_clear(&a);
}

/* ---- refusing ------------------------------------------------------------------------------ */

static void refuses_what_makes_no_sense(void **state) {
    (void)state;
    kh_error err = {0};
    float out[CLASSES];
    const kh_neuron twice[] = {{0, 5}, {0, 5}}, beyond = {2, 0};
    kh_intervention what = {.neurons = twice, .count = 2, .op = KH_ABLATE_ZERO};
    kh_assert_fails(
        kh_lens_intervene(world.g.ctx, world.g.model, &what, 1, world.images, 1, 0, out, &err),
        KH_E_ARG, "b0n5 is listed twice");
    what = (kh_intervention){.neurons = &beyond, .count = 1, .op = KH_ABLATE_ZERO};
    kh_assert_fails(
        kh_lens_intervene(world.g.ctx, world.g.model, &what, 1, world.images, 1, 0, out, &err),
        KH_E_ARG, "neuron b2n0");
    what = (kh_intervention){.neurons = twice, .count = 1, .op = KH_ABLATE_RESAMPLE};
    kh_assert_fails(
        kh_lens_intervene(world.g.ctx, world.g.model, &what, 1, world.images, 1, 0, out, &err),
        KH_E_ARG, "needs a set of images");
    kh_ablation a;
    kh_ablate_options o = ablate_world_options();
    o.block = 2;
    kh_assert_fails(kh_ablate(world.g.ctx, world.g.model, &o, IMAGES, world.truth,
                              ablate_world_read, &world, &a, &err),
                    KH_E_ARG, "blocks 0 to 1");
    o = ablate_world_options();
    size_t nowhere[IMAGES];
    for (size_t i = 0; i < IMAGES; i++)
        nowhere[i] = KH_NO_CLASS;
    kh_assert_fails(kh_ablate(world.g.ctx, world.g.model, &o, IMAGES, nowhere, ablate_world_read,
                              &world, &a, &err),
                    KH_E_ARG, "24 have no true class");
    o.k[1] = 1;
    kh_assert_fails(kh_ablate(world.g.ctx, world.g.model, &o, IMAGES, world.truth,
                              ablate_world_read, &world, &a, &err),
                    KH_E_ARG, "ascend");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_single_neuron_as_in_pytorch),
        cmocka_unit_test(sets_of_neurons_as_in_pytorch),
        cmocka_unit_test(studies_as_in_pytorch),
        cmocka_unit_test(contributions_as_in_pytorch),
        cmocka_unit_test(swap_and_resample_as_edits),
        cmocka_unit_test(without_all_neurons_only_the_bias_is_left),
        cmocka_unit_test(no_change_is_the_plain_pass_bit_for_bit),
        cmocka_unit_test(patches_of_the_last_block_change_nothing),
        cmocka_unit_test(direct_effect_is_exact_when_the_norm_is_frozen),
        cmocka_unit_test(refuses_what_makes_no_sense),
    };
    return cmocka_run_group_tests(tests, open_world, close_world);
}
