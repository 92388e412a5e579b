/* dream/dreams.h: small dreams for tests. */
#ifndef KH_TEST_DREAMS_H
#define KH_TEST_DREAMS_H

#include "support/kh_test.h"

#include "dream/job.h"

typedef struct stage {
    kh_ctx *ctx;
    kh_model *model;
    kh_dreamer *dreamer;
} stage;

static inline stage stage_open(const char *model, size_t side, size_t threads) {
    kh_error err = {0};
    stage s;
    const kh_ctx_options options = {.threads = threads};
    const kh_model_options size = {.height = side, .width = side};
    kh_assert_ok(kh_ctx_create(&options, &s.ctx, &err));
    kh_assert_ok(kh_model_open(s.ctx, model, &size, &s.model, &err));
    kh_assert_ok(kh_dreamer_create(s.ctx, s.model, &s.dreamer, &err));
    return s;
}

static inline void stage_close(stage *s) {
    kh_dreamer_free(s->dreamer);
    kh_model_close(s->model);
    kh_ctx_free(s->ctx);
}

static inline kh_dream_settings preset_of(const char *name, size_t size) {
    kh_error err = {0};
    kh_dream_settings s;
    kh_assert_ok(kh_dream_preset(name, &s, &err));
    if (size) s.size = size;
    return s;
}

static inline kh_dream_term neuron_term(size_t block, size_t index) {
    return (kh_dream_term){.goal = KH_GOAL_NEURON, .block = block, .index = index, .weight = 1};
}

static inline kh_dream *dream_open(stage *s, const char *name, const kh_dream_settings *settings,
                                   const kh_dream_objective *objective) {
    kh_error err = {0};
    kh_dream *d;
    kh_assert_ok(kh_dream_create(s->dreamer, name, settings, objective, &d, &err));
    return d;
}

#endif
