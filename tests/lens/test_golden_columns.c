/* Published rankings: a synthetic checkpoint whose best neurons are planted, and a recorded model
 * against the definition in double. */
#include "lens/golden_model.h"

#include "keyhole/claims.h"

enum { K = 5 };

/* E with every column divided by its norm over classes. */
static double *unit_columns(const golden_model *g) {
    const size_t classes = g->info->classes, dim = g->info->dim;
    double *e = tensor_f64(g->weights, "head.weight", false);
    for (size_t d = 0; d < dim; d++) {
        double sum = 0;
        for (size_t c = 0; c < classes; c++)
            sum += e[c * dim + d] * e[c * dim + d];
        for (size_t c = 0; c < classes; c++)
            e[c * dim + d] /= sqrt(sum);
    }
    return e;
}

static double score_of(const golden_model *g, const double *e, const double *w2, size_t neuron) {
    const size_t dim = g->info->dim, units = g->info->neurons;
    double dot = 0, square = 0;
    for (size_t d = 0; d < dim; d++) {
        const double v = w2[d * units + neuron];
        dot += e[d] * v;
        square += v * v;
    }
    return dot / sqrt(square);
}

static void best_by_definition(void **state) {
    (void)state;
    golden_model g;
    kh_error err = {0};
    golden_open(&g, "vit_base");
    const size_t classes[] = {0, 3}, block = 1;
    kh_ranked found[2 * K];
    double *e = unit_columns(&g), *w2 = block_f64(g.weights, block, "mlp.fc2.weight", false);
    kh_assert_ok(kh_lens_column_ranking(g.model, block, classes, 2, K, found, &err));
    for (size_t i = 0; i < 2; i++) {
        const double *row = e + classes[i] * g.info->dim;
        for (size_t k = 0; k < K; k++) {
            const kh_ranked *one = &found[i * K + k];
            assert_int_equal(one->block, block);
            assert_true(fabs((double)one->score - score_of(&g, row, w2, one->index)) < 1e-6);
            size_t better = 0; /* neurons above it: exactly its rank */
            for (size_t n = 0; n < g.info->neurons; n++)
                better += score_of(&g, row, w2, n) > (double)one->score + 1e-6;
            assert_int_equal(better, k);
        }
    }
    free(e);
    free(w2);
    golden_close(&g);
}

/* A copy of the recorded model in which neurons 7, 2 and 9 of block 1 write the column-scaled
 * embedding of class 2, ever less purely. */
static const char *planted_model(const golden_model *g) {
    static const size_t neurons[] = {7, 2, 9};
    const char *folder = kh_test_folder("planted");
    const size_t count = kh_tensors_count(g->weights), dim = g->info->dim, units = g->info->neurons;
    kh_error err = {0};
    char path[512], command[1200];
    kh_tensor_out *out = calloc(count, sizeof *out);
    double *e = unit_columns(g);
    for (size_t i = 0; i < count; i++) {
        const kh_tensor_info info = kh_tensors_get(g->weights, i);
        float *data = malloc(info.count * sizeof *data);
        kh_assert_ok(kh_tensors_read(g->weights, info.name, false, data, info.count, &err));
        for (size_t n = 0; n < 3 && strcmp(info.name, "blocks.1.mlp.fc2.weight") == 0; n++)
            for (size_t d = 0; d < dim; d++)
                data[d * units + neurons[n]] =
                    (float)((e[2 * dim + d] + (d == n ? 0.02 * (double)(n + 1) : 0)) * 3);
        out[i] = (kh_tensor_out){info.name, info.rank, {0}, data};
        memcpy(out[i].shape, info.shape, sizeof info.shape);
    }
    (void)snprintf(path, sizeof path, "%s/model.safetensors", folder);
    kh_assert_ok(kh_tensors_write(path, out, count, NULL, NULL, 0, &err));
    (void)snprintf(command, sizeof command, "cp '%s/golden/vit_base/config.json' '%s'",
                   KH_TEST_DATA, folder);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < count; i++) {
        union {
            const float *shared;
            float *own;
        } data = {.shared = out[i].data};
        free(data.own);
    }
    free(out);
    free(e);
    return folder;
}

static void planted_neurons_come_first(void **state) {
    (void)state;
    golden_model g;
    kh_model *model;
    kh_error err = {0};
    golden_open(&g, "vit_base");
    const char *folder = planted_model(&g);
    kh_assert_ok(kh_model_open(g.ctx, folder, NULL, &model, &err));
    const size_t class_index = 2;
    kh_ranked found[K];
    kh_assert_ok(kh_lens_column_ranking(model, 1, &class_index, 1, K, found, &err));
    assert_int_equal(found[0].index, 7);
    assert_int_equal(found[1].index, 2);
    assert_int_equal(found[2].index, 9);
    assert_true(found[3].score < found[2].score);
    kh_assert_fails(kh_lens_column_ranking(model, 1, &class_index, 1, 0, found, &err), KH_E_ARG,
                    "0 of");
    const size_t beyond = 100000;
    kh_assert_fails(kh_lens_column_ranking(model, 1, &beyond, 1, K, found, &err), KH_E_ARG,
                    "class 100000");
    kh_assert_fails(kh_lens_column_ranking(model, 99, &class_index, 1, K, found, &err), KH_E_ARG,
                    "99");
    kh_model_close(model);
    golden_close(&g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(best_by_definition),
        cmocka_unit_test(planted_neurons_come_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
