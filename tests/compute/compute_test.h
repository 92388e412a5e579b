/* What the compute tests share: contexts of every kind this processor has, guarded buffers. */
#ifndef KH_TEST_COMPUTE_H
#define KH_TEST_COMPUTE_H

#include "support/kh_test.h"

#include "base/alloc.h"
#include "compute/backend.h"

/* Every instruction set the build may know; those this processor lacks are skipped. */
static const char *const all_isas[] = {"avx512", "avx2", "neon", "plain"};
enum { ISAS = 4 };

static const size_t row_counts[] = {1, 7, 33, 145, 197};
enum { ROW_COUNTS = 5 };

/* NULL where the processor lacks it. */
static inline kh_ctx *open_isa(const char *isa, size_t threads) {
    kh_error err;
    kh_ctx *ctx = NULL;
    const kh_ctx_options options = {.isa = isa, .threads = threads};
    const kh_status status = kh_ctx_create(&options, &ctx, &err);
    if (status == KH_E_UNSUPPORTED) return NULL;
    kh_assert_ok(status);
    return ctx;
}

static inline kh_ctx *open_reference(void) {
    kh_error err;
    kh_ctx *ctx = NULL;
    const kh_ctx_options options = {.device = "reference", .threads = 1};
    kh_assert_ok(kh_ctx_create(&options, &ctx, &err));
    return ctx;
}

/* A buffer between sentinels; `data` is what the op gets. */
typedef struct guarded {
    float *whole, *data;
    size_t count;
} guarded;

enum { GUARD = 64 };
static const float sentinel = -12345.678f;

static inline guarded guarded_make(size_t count) {
    guarded g = {kh_alloc_floats(count + 2 * GUARD), NULL, count};
    assert_non_null(g.whole);
    for (size_t i = 0; i < count + 2 * GUARD; i++)
        g.whole[i] = sentinel;
    g.data = g.whole + GUARD;
    return g;
}

/* Frees it after looking at both sentinels. */
static inline void guarded_end(guarded *g) {
    for (size_t i = 0; i < GUARD; i++)
        if (memcmp(&g->whole[i], &sentinel, 4) || memcmp(&g->data[g->count + i], &sentinel, 4))
            fail_msg("written %zu floats outside of %zu", i, g->count);
    kh_free(g->whole);
    g->whole = NULL;
}

static inline float *random_floats(size_t count, uint64_t seed, float scale) {
    float *out = kh_alloc_floats(count);
    assert_non_null(out);
    kh_test_fill(out, count, seed, scale);
    return out;
}

static inline void assert_same_bits(const float *a, const float *b, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (memcmp(&a[i], &b[i], sizeof *a))
            fail_msg("element %zu of %zu: %.9g is not %.9g to the bit", i, count, (double)a[i],
                     (double)b[i]);
}

#endif
