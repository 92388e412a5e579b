/* cli/bench_dream.h: the speed of a dream's step, for `bench --dream`. */
#ifndef KH_CLI_BENCH_DREAM_H
#define KH_CLI_BENCH_DREAM_H

#include "cli/session.h"

/* `batch` dreams of the reference chain, 128 pixels, one neuron each in the last block but one. */
typedef struct kh_bench_dream {
    kh_dreamer *dreamer;
    kh_dream **dreams;
    size_t batch;
    double gflop; /* per image-step: what a truncated step needs, 2 per multiply-add */
} kh_bench_dream;

kh_status kh_bench_dream_open(kh_session *session, size_t batch, kh_bench_dream *out,
                              kh_error *err);
kh_status kh_bench_dream_step(kh_bench_dream *bench, kh_error *err);
void kh_bench_dream_close(kh_bench_dream *bench);

#endif
