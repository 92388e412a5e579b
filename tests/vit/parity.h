/* vit/parity.h: a recorded case against the pass. */
#ifndef KH_TEST_VIT_PARITY_H
#define KH_TEST_VIT_PARITY_H

#include "keyhole/vit.h"
#include "support/kh_test.h"

/* Every device and instruction set this machine has; NULL behind the last. */
kh_ctx **parity_contexts(void);
/* Group teardown of every test that uses them. Not at exit: a crash in a worker thread exits from
 * there, and that thread cannot wait for itself. */
int parity_free_contexts(void **state);
/* "cpu avx2", "reference" */
const char *parity_context_name(size_t index);

/* Calls check(ctx, folder name) for every recorded case whose name begins (or does not) with
 * `prefix`. */
void parity_each_case(const char *prefix, bool begins,
                      void (*check)(kh_ctx *ctx, const char *name));

/* Recorded sites of tests/data/golden/NAME within atol, gradient within rtol (relative L2). */
void parity_check_case(kh_ctx *ctx, const char *name, double atol, double gradient_rtol);

/* The recorded input of a case, or the formula's image when none is stored; free with free(). */
float *parity_input(const kh_tensors *golden, const kh_model *model, size_t batch);

/* Opens a recorded case at the size it was run. */
kh_model *parity_open(kh_ctx *ctx, const char *name, kh_tensors **golden);

#endif
