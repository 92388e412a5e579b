/* lens/golden_model.h: a recorded tiny model, and its tensors as float64 straight from the files.
 */
#ifndef KH_TEST_GOLDEN_MODEL_H
#define KH_TEST_GOLDEN_MODEL_H

#include "support/kh_test.h"

#include "keyhole/lens.h"

typedef struct golden_model {
    kh_ctx *ctx;
    kh_model *model;
    const kh_model_info *info;
    kh_tensors *weights, *golden;
} golden_model;

static inline void golden_open(golden_model *g, const char *name) {
    kh_error err = {0};
    char path[512];
    memset(g, 0, sizeof *g);
    const kh_ctx_options options = {.threads = 2};
    kh_assert_ok(kh_ctx_create(&options, &g->ctx, &err));
    (void)snprintf(path, sizeof path, "%s/golden/%s", KH_TEST_DATA, name);
    kh_assert_ok(kh_model_open(g->ctx, path, NULL, &g->model, &err));
    g->info = kh_model_get_info(g->model);
    (void)snprintf(path, sizeof path, "%s/golden/%s/model.safetensors", KH_TEST_DATA, name);
    kh_assert_ok(kh_tensors_open(path, NULL, &g->weights, &err));
    (void)snprintf(path, sizeof path, "%s/golden/%s/golden.safetensors", KH_TEST_DATA, name);
    kh_assert_ok(kh_tensors_open(path, NULL, &g->golden, &err));
}

static inline void golden_close(golden_model *g) {
    kh_tensors_close(g->golden);
    kh_tensors_close(g->weights);
    kh_model_close(g->model);
    kh_ctx_free(g->ctx);
}

/* A tensor of a file as doubles; free with free(). NULL when absent and optional. */
static inline double *tensor_f64(const kh_tensors *file, const char *name, bool is_optional) {
    kh_error err = {0};
    kh_tensor_info info;
    if (!kh_tensors_find(file, name, &info)) {
        if (!is_optional) fail_msg("no tensor %s", name);
        return NULL;
    }
    double *values = malloc(info.count * sizeof *values + 1);
    assert_non_null(values);
    kh_assert_ok(kh_tensors_read_f64(file, name, false, values, info.count, &err));
    return values;
}

static inline double *block_f64(const kh_tensors *file, size_t block, const char *suffix,
                                bool is_optional) {
    char name[96];
    (void)snprintf(name, sizeof name, "blocks.%zu.%s", block, suffix);
    return tensor_f64(file, name, is_optional);
}

/* The recorded input image(s) as the pass wants them; free with free(). */
static inline float *golden_input(const golden_model *g, size_t *count) {
    kh_error err = {0};
    kh_tensor_info info;
    assert_true(kh_tensors_find(g->golden, "input", &info));
    float *values = malloc(info.count * sizeof *values);
    assert_non_null(values);
    kh_assert_ok(kh_tensors_read(g->golden, "input", false, values, info.count, &err));
    *count = info.shape[0];
    return values;
}

#endif
