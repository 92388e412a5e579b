/* Looking at pictures, against activations recorded with PyTorch. */
#include "lens/golden_model.h"

#include "base/alloc.h"

#define ATOL 2e-5 /* the gate for every site of a recorded model */

static kh_ranking rank_all(const golden_model *g, size_t k) {
    kh_error err = {0};
    kh_ranking r;
    kh_rank_options options = kh_rank_options_default();
    options.k = k;
    kh_assert_ok(kh_lens_rank(g->ctx, g->model, &options, &r, &err));
    return r;
}

/* ---- maps ---------------------------------------------------------------------------------- */

/* Every neuron of the last block, by rank, against the recorded site. */
static void assert_maps_match(const char *name, kh_coefficient coefficient) {
    golden_model g;
    kh_error err = {0};
    golden_open(&g, name);
    const size_t neurons = g.info->neurons, tokens = g.info->tokens, prefix = g.info->prefix_tokens;
    const size_t block = g.info->blocks - 1, patches = tokens - prefix;
    size_t count;
    float *images = golden_input(&g, &count);
    kh_ranking ranking = rank_all(&g, neurons);
    kh_look_options options = kh_look_options_default();
    kh_look look;
    options.ranking = &ranking;
    options.k = neurons;
    options.by_block = true;
    options.block = block;
    options.coefficient = coefficient;
    kh_assert_ok(kh_lens_look(g.ctx, g.model, &options, images, count, NULL, &look, &err));
    assert_int_equal(look.patches, patches);
    double *site =
        block_f64(g.golden, block,
                  coefficient == KH_COEFFICIENT_POST ? "mlp.hook_post" : "mlp.hook_pre", false);
    double *bias = calloc(2 * neurons, sizeof *bias);
    if (coefficient == KH_COEFFICIENT_PRE_NOBIAS) {
        free(bias);
        bias = block_f64(g.weights, block, "mlp.fc1.bias", false);
    }
    for (size_t i = 0; i < count; i++)
        for (size_t rank = 0; rank < neurons; rank++) {
            const size_t at = i * neurons + rank;
            const kh_ranked n = look.neurons[at];
            const size_t c = look.class_index[i];
            assert_int_equal(n.block, block);
            assert_int_equal(n.index,
                             ranking.block_index[(block * neurons + rank) * ranking.classes + c]);
            for (size_t t = 0; t < patches; t++) {
                const double want =
                    site[(i * tokens + prefix + t) * neurons + n.index] - bias[n.index];
                const double got = (double)look.maps[at * patches + t];
                if (!(fabs(got - want) <= ATOL))
                    fail_msg("%s: image %zu b%zun%u patch %zu: %g, expected %g", name, i, block,
                             n.index, t, got, want);
            }
            if (g.info->has_class_token) {
                const double want = site[i * tokens * neurons + n.index] - bias[n.index];
                assert_true(fabs((double)look.class_coefficient[at] - want) <= ATOL);
            } else {
                assert_true(isnan(look.class_coefficient[at]));
            }
        }
    free(bias);
    free(site);
    free(images);
    kh_look_clear(&look);
    kh_ranking_clear(&ranking);
    golden_close(&g);
}

static void maps_are_the_recorded_coefficients_without_prefix_tokens(void **state) {
    (void)state;
    static const char *const names[] = {
        "vit_base",      "deit3_base",         "rpn_base",     "test_vit2", "deit_base_distilled",
        "reg4_gap_base", "vit_base_nonsquare", "vit_base_miil"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_maps_match(names[i], KH_COEFFICIENT_POST);
}

static void coefficients_before_the_activation_and_without_bias(void **state) {
    (void)state;
    assert_maps_match("vit_base", KH_COEFFICIENT_PRE);
    assert_maps_match("vit_base", KH_COEFFICIENT_PRE_NOBIAS);
}

static void a_gated_model_has_its_gate_before_the_activation(void **state) {
    (void)state;
    assert_maps_match("dinov2_reg4_giant", KH_COEFFICIENT_POST);
    assert_maps_match("dinov2_reg4_giant", KH_COEFFICIENT_PRE);
}

static void block_maps_are_each_blocks_first_neuron(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "vit_base");
    size_t count;
    float *images = golden_input(&g, &count);
    const size_t classes[2] = {4, 9};
    kh_ranking ranking = rank_all(&g, 3);
    kh_look_options options = kh_look_options_default();
    kh_look look;
    options.ranking = &ranking;
    options.k = 3;
    options.want_block_maps = true;
    assert_int_equal(count, 2);
    kh_assert_ok(kh_lens_look(g.ctx, g.model, &options, images, count, classes, &look, &err));
    for (size_t b = 0; b < 2; b++) {
        double *post = block_f64(g.golden, b, "mlp.hook_post", false);
        for (size_t i = 0; i < 2; i++) {
            const kh_ranked n = look.block_neurons[i * 2 + b];
            assert_int_equal(n.block, b);
            assert_int_equal(n.index, ranking.block_index[(b * 3) * 10 + classes[i]]);
            for (size_t t = 0; t < 16; t++)
                assert_true(fabs((double)look.block_maps[(i * 2 + b) * 16 + t] -
                                 post[(i * 17 + 1 + t) * 96 + n.index]) <= ATOL);
        }
        free(post);
    }
    for (size_t i = 0; i < 2; i++)
        for (size_t rank = 0; rank < 3; rank++)
            assert_memory_equal(&look.neurons[i * 3 + rank], &ranking.global[classes[i] * 3 + rank],
                                sizeof(kh_ranked));
    kh_look_clear(&look);
    kh_ranking_clear(&ranking);
    free(images);
    golden_close(&g);
}

/* ---- contributions ------------------------------------------------------------------------- */

static void centre_times(const double *gamma, size_t dim, double *v) {
    double mean = 0;
    for (size_t i = 0; i < dim; i++)
        mean += v[i] / (double)dim;
    for (size_t i = 0; i < dim; i++)
        v[i] = (v[i] - mean) * gamma[i];
}

/* What one neuron of block `b` adds to logit c of image i: from recorded activations and weights
 * only. token_weight[t] multiplies the normalised residual of token t in the logit. */
static double ref_contribution(const golden_model *g, size_t b, size_t index, size_t c,
                               const double *token_weight, const char *head_name) {
    const size_t dim = g->info->dim, neurons = g->info->neurons, tokens = g->info->tokens;
    double *fc2 = block_f64(g->weights, b, "mlp.fc2.weight", false);
    double *gamma = block_f64(g->weights, b, "ls2.gamma", true);
    double *post = block_f64(g->golden, b, "mlp.hook_post", false);
    double *norm2 = g->info->is_post_norm ? block_f64(g->weights, b, "norm2.weight", false) : NULL;
    double *scale2 =
        g->info->is_post_norm ? block_f64(g->golden, b, "ln2.hook_scale", false) : NULL;
    double *final = tensor_f64(g->weights, "norm.weight", true);
    if (!final) final = tensor_f64(g->weights, "fc_norm.weight", false);
    double *head = tensor_f64(g->weights, head_name, false);
    double v[64], sum = 0, fold = 0;
    for (size_t i = 0; i < dim; i++)
        v[i] = fc2[i * neurons + index] * (gamma ? gamma[i] : 1);
    if (norm2) centre_times(norm2, dim, v);
    centre_times(final, dim, v);
    for (size_t i = 0; i < dim; i++)
        fold += v[i] * head[c * dim + i];
    for (size_t t = 0; t < tokens; t++)
        sum += token_weight[t] * post[t * neurons + index] * fold / (scale2 ? scale2[t] : 1);
    free(fc2);
    free(gamma);
    free(post);
    free(norm2);
    free(scale2);
    free(final);
    free(head);
    return sum;
}

static void token_weights(const golden_model *g, size_t head, double *out) {
    const size_t tokens = g->info->tokens, prefix = g->info->prefix_tokens;
    double *sigma = tensor_f64(g->golden, "ln_final.hook_scale", false);
    memset(out, 0, tokens * sizeof *out);
    switch (g->info->pool) {
    case KH_POOL_TOKEN:
        out[0] = 1 / sigma[0];
        break;
    case KH_POOL_DISTILL:
        out[head] = 0.5 / sigma[head];
        break;
    case KH_POOL_AVG_FC:
        for (size_t t = prefix; t < tokens; t++)
            out[t] = 1 / sigma[0] / (double)(tokens - prefix);
        break;
    case KH_POOL_AVG:
        for (size_t t = prefix; t < tokens; t++)
            out[t] = 1 / sigma[t] / (double)(tokens - prefix);
        break;
    default:
        fail_msg("no reference for pool %d", (int)g->info->pool);
    }
    free(sigma);
}

static void assert_contributions_match(const char *name) {
    golden_model g;
    kh_error err = {0};
    golden_open(&g, name);
    size_t count;
    float *images = golden_input(&g, &count);
    const size_t wanted = 7;
    kh_ranking ranking = rank_all(&g, 6);
    kh_look_options options = kh_look_options_default();
    kh_look look;
    options.ranking = &ranking;
    options.k = 6;
    options.want_contributions = true;
    kh_assert_ok(kh_lens_look(g.ctx, g.model, &options, images, 1, &wanted, &look, &err));
    for (size_t rank = 0; rank < 6; rank++) {
        double weights[64], want = 0;
        const size_t heads = g.info->pool == KH_POOL_DISTILL ? 2 : 1;
        for (size_t h = 0; h < heads; h++) {
            token_weights(&g, h, weights);
            want += ref_contribution(&g, look.neurons[rank].block, look.neurons[rank].index, wanted,
                                     weights, h ? "head_dist.weight" : "head.weight");
        }
        if (!(fabs(look.contribution[rank] - want) <= 2e-5))
            fail_msg("%s rank %zu: contribution %.9g, expected %.9g", name, rank,
                     look.contribution[rank], want);
        assert_true(fabs(want) > 1e-5); /* a test on zeros would say nothing */
    }
    kh_look_clear(&look);
    kh_ranking_clear(&ranking);
    free(images);
    golden_close(&g);
}

static void contributions_match_recorded_activations(void **state) {
    (void)state;
    static const char *const names[] = {"vit_base",  "deit3_base", "deit_base_distilled",
                                        "test_vit2", "gap_medium", "rpn_base"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_contributions_match(names[i]);
}

/* All neurons of the last block together, plus its bias, plus everything before it, are the logit.
 */
static void contributions_add_up_to_what_the_block_wrote(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "deit3_base");
    size_t count;
    float *images = golden_input(&g, &count);
    const size_t c = 3, dim = 24, last = 1;
    kh_ranking ranking = rank_all(&g, 96);
    kh_look_options options = kh_look_options_default();
    kh_look look;
    options.ranking = &ranking;
    options.k = 96;
    options.by_block = true;
    options.block = last;
    options.want_contributions = true;
    kh_assert_ok(kh_lens_look(g.ctx, g.model, &options, images, 1, &c, &look, &err));
    double neurons = 0, rest = 0, v[24];
    for (size_t rank = 0; rank < 96; rank++)
        neurons += look.contribution[rank];
    double *mid = block_f64(g.golden, last, "hook_resid_mid", false);
    double *b2 = block_f64(g.weights, last, "mlp.fc2.bias", false);
    double *gamma2 = block_f64(g.weights, last, "ls2.gamma", false);
    double *gamma = tensor_f64(g.weights, "norm.weight", false);
    double *beta = tensor_f64(g.weights, "norm.bias", false);
    double *head = tensor_f64(g.weights, "head.weight", false);
    double *bias = tensor_f64(g.weights, "head.bias", false);
    double *sigma = tensor_f64(g.golden, "ln_final.hook_scale", false);
    double *logits = tensor_f64(g.golden, "logits_f64", false);
    for (size_t i = 0; i < dim; i++)
        v[i] = mid[i] + gamma2[i] * b2[i];
    centre_times(gamma, dim, v);
    for (size_t i = 0; i < dim; i++)
        rest += head[c * dim + i] * (v[i] / sigma[0] + beta[i]);
    assert_true(fabs(neurons + rest + bias[c] - logits[c]) < 2e-5);
    free(mid);
    free(b2);
    free(gamma2);
    free(gamma);
    free(beta);
    free(head);
    free(bias);
    free(sigma);
    free(logits);
    kh_look_clear(&look);
    kh_ranking_clear(&ranking);
    free(images);
    golden_close(&g);
}

/* ---- predictions --------------------------------------------------------------------------- */

static void predictions_are_the_recorded_logits(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "vit_base");
    size_t count;
    float *images = golden_input(&g, &count), logits[20];
    kh_prediction top[2 * 10];
    kh_assert_ok(kh_lens_classify(g.ctx, g.model, images, count, 1, 10, logits, top, &err));
    double *want = tensor_f64(g.golden, "logits_f64", false);
    for (size_t i = 0; i < 2; i++) {
        double sum = 0, p = 0;
        for (size_t c = 0; c < 10; c++) {
            assert_true(fabs((double)logits[i * 10 + c] - want[i * 10 + c]) <= 2e-5);
            sum += exp(want[i * 10 + c]);
        }
        for (size_t r = 0; r < 10; r++) {
            const kh_prediction *t = &top[i * 10 + r];
            assert_true(t->logit == logits[i * 10 + t->class_index]);
            assert_true(fabs((double)t->probability - exp(want[i * 10 + t->class_index]) / sum) <
                        2e-5);
            if (r) assert_true(t->logit <= t[-1].logit);
            p += (double)t->probability;
        }
        assert_true(fabs(p - 1) < 1e-6);
    }
    free(want);

    kh_ranking ranking = rank_all(&g, 2);
    kh_look_options options = kh_look_options_default();
    kh_look look, one;
    options.ranking = &ranking;
    options.k = 2;
    kh_assert_ok(kh_lens_look(g.ctx, g.model, &options, images, 2, NULL, &look, &err));
    assert_memory_equal(look.logits, logits, sizeof logits);
    assert_int_equal(look.predictions, 5);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(look.class_index[i], top[i * 10].class_index);
        assert_memory_equal(look.top + i * 5, top + i * 10, 5 * sizeof *top);
    }
    /* an image's maps depend neither on its batch nor on the other images' neurons */
    const size_t pixels = 3 * g.info->image_height * g.info->image_width;
    kh_assert_ok(kh_lens_look(g.ctx, g.model, &options, images + pixels, 1, NULL, &one, &err));
    assert_memory_equal(one.maps, look.maps + 2 * 16, 2 * 16 * sizeof(float));
    kh_look_clear(&one);
    kh_look_clear(&look);
    kh_ranking_clear(&ranking);
    free(images);
    golden_close(&g);
}

static void a_model_without_a_classifier_shows_the_class_one_asks_for(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "vit_base_dino");
    size_t count;
    float *images = golden_input(&g, &count), probe[3 * 24];
    const size_t wanted = 2, outside = 3;
    kh_test_fill(probe, 72, 4, 1);
    kh_ranking ranking;
    kh_rank_options how = kh_rank_options_default();
    how.align.embeddings = probe;
    how.align.embedding_classes = 3;
    kh_assert_ok(kh_lens_rank(g.ctx, g.model, &how, &ranking, &err));
    kh_look_options options = kh_look_options_default();
    kh_look look;
    options.ranking = &ranking;
    kh_assert_fails(kh_lens_look(g.ctx, g.model, &options, images, 1, NULL, &look, &err),
                    KH_E_UNSUPPORTED, "say which class");
    kh_assert_fails(kh_lens_look(g.ctx, g.model, &options, images, 1, &outside, &look, &err),
                    KH_E_ARG, "class 3; the ranking has classes 0 to 2");
    kh_assert_ok(kh_lens_look(g.ctx, g.model, &options, images, 1, &wanted, &look, &err));
    assert_null(look.logits);
    assert_int_equal(look.predictions, 0);
    double *post = block_f64(g.golden, look.neurons[0].block, "mlp.hook_post", true);
    for (size_t t = 0; post && t < look.patches; t++)
        assert_true(fabs((double)look.maps[t] - post[(1 + t) * 96 + look.neurons[0].index]) <=
                    ATOL);
    free(post);
    kh_look_clear(&look);
    options.want_contributions = true;
    kh_assert_fails(kh_lens_look(g.ctx, g.model, &options, images, 1, &wanted, &look, &err),
                    KH_E_UNSUPPORTED, "need a classifier");
    kh_prediction top;
    kh_assert_fails(kh_lens_classify(g.ctx, g.model, images, 1, 1, 1, NULL, &top, &err),
                    KH_E_UNSUPPORTED, "no classifier");
    kh_ranking_clear(&ranking);
    free(images);
    golden_close(&g);
}

static bool stop_at_once(void *user, const char *what, uint64_t done, uint64_t total) {
    (void)user;
    (void)done;
    (void)total;
    assert_string_equal(what, "images");
    return false;
}

static void what_cannot_be_looked_at_says_why(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "vit_base");
    size_t count;
    float *images = golden_input(&g, &count);
    kh_ranking ranking = rank_all(&g, 3);
    kh_look_options options = kh_look_options_default();
    kh_look look;
    kh_assert_fails(kh_lens_look(g.ctx, g.model, &options, images, 1, NULL, &look, &err), KH_E_ARG,
                    "needs a ranking");
    options.ranking = &ranking;
    kh_assert_fails(kh_lens_look(g.ctx, g.model, &options, images, 1, NULL, &look, &err), KH_E_ARG,
                    "5 neurons per class; the ranking has 1 to 3");
    options.k = 3;
    options.by_block = true;
    options.block = 2;
    kh_assert_fails(kh_lens_look(g.ctx, g.model, &options, images, 1, NULL, &look, &err), KH_E_ARG,
                    "block 2");
    options.block = 0;
    options.progress = stop_at_once;
    kh_assert_fails(kh_lens_look(g.ctx, g.model, &options, images, 1, NULL, &look, &err),
                    KH_E_STOPPED, "after 0 of 1");
    assert_null(look.maps);
    options.progress = NULL;
    kh_assert_ok(kh_lens_look(g.ctx, g.model, &options, images, 0, NULL, &look, &err));
    kh_look_clear(&look);
    kh_ranking_clear(&ranking);
    free(images);
    golden_close(&g);
}

static void every_failing_allocation_is_reported(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "deit_base_distilled");
    size_t count;
    float *images = golden_input(&g, &count);
    kh_ranking ranking = rank_all(&g, 3);
    kh_look_options options = kh_look_options_default();
    options.ranking = &ranking;
    options.k = 3;
    options.want_block_maps = options.want_contributions = true;
    options.coefficient = KH_COEFFICIENT_PRE_NOBIAS;
    for (size_t n = 1;; n++) {
        kh_look look;
        err = (kh_error){0};
        kh_alloc_fail_after(n);
        const kh_status status =
            kh_lens_look(g.ctx, g.model, &options, images, 1, NULL, &look, &err);
        const size_t asked = kh_alloc_count();
        kh_alloc_fail_after(0);
        kh_look_clear(&look);
        if (asked < n) {
            kh_assert_ok(status);
            break;
        }
        if (status != KH_E_MEMORY) fail_msg("allocation %zu: %s", n, kh_status_name(status));
    }
    kh_ranking_clear(&ranking);
    free(images);
    golden_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_are_the_recorded_coefficients_without_prefix_tokens),
        cmocka_unit_test(coefficients_before_the_activation_and_without_bias),
        cmocka_unit_test(a_gated_model_has_its_gate_before_the_activation),
        cmocka_unit_test(block_maps_are_each_blocks_first_neuron),
        cmocka_unit_test(contributions_match_recorded_activations),
        cmocka_unit_test(contributions_add_up_to_what_the_block_wrote),
        cmocka_unit_test(predictions_are_the_recorded_logits),
        cmocka_unit_test(a_model_without_a_classifier_shows_the_class_one_asks_for),
        cmocka_unit_test(what_cannot_be_looked_at_says_why),
        cmocka_unit_test(every_failing_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
