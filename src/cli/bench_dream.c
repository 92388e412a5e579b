#include "cli/bench_dream.h"

#include "base/alloc.h"

#include <stdio.h>

/* Multiply-adds that cannot be left out: forwards up to attention of the neuron's block and one
 * row of fc1; backwards without weight gradients, attention's products counted twice. */
static double needed_gflop(const kh_model_info *i, size_t block) {
    const double tokens = (double)i->tokens, dim = (double)i->dim, neurons = (double)i->neurons;
    const double patches = (double)(i->tokens - i->prefix_tokens);
    const double embed = patches * 3 * (double)(i->patch * i->patch) * dim;
    const double products = 2 * tokens * tokens * dim;
    const double attention = tokens * dim * 4 * dim, mlp = 2 * tokens * dim * neurons;
    const double forward =
        embed + (double)block * (attention + products + mlp) + attention + products;
    const double backward =
        embed + (double)block * (attention + 2 * products + mlp) + attention + 2 * products;
    return 2e-9 * (forward + backward + tokens * dim);
}

kh_status kh_bench_dream_open(kh_session *session, size_t batch, kh_bench_dream *out,
                              kh_error *err) {
    const kh_model_info *info = kh_model_get_info(session->model);
    const size_t block = info->blocks > 1 ? info->blocks - 2 : 0;
    *out = (kh_bench_dream){.batch = batch, .gflop = needed_gflop(info, block)};
    out->dreams = kh_calloc(batch, sizeof *out->dreams);
    if (!out->dreams) return kh_fail(err, KH_E_MEMORY, "no memory for %zu dreams", batch);
    kh_dream_settings settings;
    KH_TRY(kh_dream_preset("report-quant", &settings, err));
    KH_TRY(kh_dreamer_create(session->ctx, session->model, &out->dreamer, err));
    for (size_t i = 0; i < batch; i++) {
        char name[32];
        const kh_dream_term term = {.goal = KH_GOAL_NEURON,
                                    .block = block,
                                    .index = (i * 131 + 7) % info->neurons,
                                    .weight = 1};
        const kh_dream_objective goal = {.terms = &term, .term_count = 1, .target = SIZE_MAX};
        (void)snprintf(name, sizeof name, "bench%zu", i);
        KH_TRY(kh_dream_create(out->dreamer, name, &settings, &goal, &out->dreams[i], err));
    }
    return KH_OK;
}

kh_status kh_bench_dream_step(kh_bench_dream *bench, kh_error *err) {
    return kh_dreamer_step(bench->dreamer, bench->dreams, bench->batch, err);
}

void kh_bench_dream_close(kh_bench_dream *bench) {
    for (size_t i = 0; bench->dreams && i < bench->batch; i++)
        kh_dream_free(bench->dreams[i]);
    kh_free(bench->dreams);
    kh_dreamer_free(bench->dreamer);
    *bench = (kh_bench_dream){0};
}
