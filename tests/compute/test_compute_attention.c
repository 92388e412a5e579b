#include "compute/compute_test.h"

static const double relative = 1e-5,
                    absolute = 5e-6; /* probabilities and their means of numbers below 2 */

typedef struct shape {
    size_t images, tokens, heads, head_dim;
} shape;

static const shape shapes[] = {{1, 1, 2, 8},    {2, 7, 3, 5},    {1, 33, 2, 72}, {2, 145, 1, 64},
                               {1, 197, 3, 64}, {1, 300, 1, 33}, {1, 17, 1, 300}};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static float *random_qkv(const shape *s) {
    return random_floats(s->images * s->tokens * 3 * s->heads * s->head_dim, 1, 2.0f);
}

typedef struct outputs {
    guarded z, scores, pattern;
} outputs;

static outputs run_forward(kh_ctx *ctx, const shape *s, const float *qkv, bool keep) {
    const size_t rows = s->images * s->tokens, square = rows * s->heads * s->tokens;
    outputs out = {guarded_make(rows * s->heads * s->head_dim), guarded_make(square),
                   guarded_make(square)};
    const kh_attention_args args = {.images = s->images,
                                    .tokens = s->tokens,
                                    .heads = s->heads,
                                    .head_dim = s->head_dim,
                                    .qkv = qkv,
                                    .scale = 1.0f / sqrtf((float)s->head_dim),
                                    .z = out.z.data,
                                    .scores = keep ? out.scores.data : NULL,
                                    .pattern = keep ? out.pattern.data : NULL};
    kh_ctx_backend(ctx)->attention(ctx, &args);
    return out;
}

static void outputs_end(outputs *o) {
    guarded_end(&o->z);
    guarded_end(&o->scores);
    guarded_end(&o->pattern);
}

static guarded run_backward(kh_ctx *ctx, const shape *s, const float *qkv, const float *dz) {
    guarded dqkv = guarded_make(s->images * s->tokens * 3 * s->heads * s->head_dim);
    const kh_attention_backward_args args = {.images = s->images,
                                             .tokens = s->tokens,
                                             .heads = s->heads,
                                             .head_dim = s->head_dim,
                                             .qkv = qkv,
                                             .scale = 1.0f / sqrtf((float)s->head_dim),
                                             .dz = dz,
                                             .dqkv = dqkv.data};
    kh_ctx_backend(ctx)->attention_backward(ctx, &args);
    return dqkv;
}

static void attention_agrees_with_the_plain_loops(void **state) {
    (void)state;
    kh_ctx *reference = open_reference();
    for (size_t i = 0; i < ISAS; i++) {
        kh_ctx *ctx = open_isa(all_isas[i], 2);
        if (!ctx) continue;
        for (size_t k = 0; k < SHAPES; k++) {
            float *qkv = random_qkv(&shapes[k]);
            outputs want = run_forward(reference, &shapes[k], qkv, true);
            kh_alloc_fail_after(0);
            outputs got = run_forward(ctx, &shapes[k], qkv, true);
            assert_int_equal(kh_alloc_count(), 3); /* the three of this test, none by the op */
            kh_assert_close(got.scores.data, want.scores.data, want.scores.count, relative, 1e-5);
            kh_assert_close(got.pattern.data, want.pattern.data, want.pattern.count, relative,
                            absolute);
            kh_assert_close(got.z.data, want.z.data, want.z.count, relative, absolute);
            outputs_end(&want);
            outputs_end(&got);
            kh_free(qkv);
        }
        kh_ctx_free(ctx);
    }
    kh_ctx_free(reference);
}

static void attention_backward_agrees_with_the_plain_loops(void **state) {
    (void)state;
    kh_ctx *reference = open_reference();
    for (size_t i = 0; i < ISAS; i++) {
        kh_ctx *ctx = open_isa(all_isas[i], 2);
        if (!ctx) continue;
        for (size_t k = 0; k < SHAPES; k++) {
            const shape *s = &shapes[k];
            float *qkv = random_qkv(s);
            float *dz = random_floats(s->images * s->tokens * s->heads * s->head_dim, 2, 1.0f);
            guarded want = run_backward(reference, s, qkv, dz);
            guarded got = run_backward(ctx, s, qkv, dz);
            kh_assert_close(got.data, want.data, want.count, 1e-4, 1e-5);
            guarded_end(&want);
            guarded_end(&got);
            kh_free(qkv);
            kh_free(dz);
        }
        kh_ctx_free(ctx);
    }
    kh_ctx_free(reference);
}

/* sum over everything of weight * z, all in double: independent of the code under test. */
static double weighted_output(const shape *s, const double *qkv, const float *weight) {
    const size_t dim = s->heads * s->head_dim, stride = 3 * dim;
    const double scale = 1.0 / sqrt((double)s->head_dim);
    double total = 0;
    for (size_t image = 0; image < s->images; image++)
        for (size_t head = 0; head < s->heads; head++)
            for (size_t t = 0; t < s->tokens; t++) {
                const double *row0 = qkv + image * s->tokens * stride + head * s->head_dim;
                double a[64], sum = 0;
                for (size_t j = 0; j < s->tokens; j++) {
                    double score = 0;
                    for (size_t d = 0; d < s->head_dim; d++)
                        score += row0[t * stride + d] * row0[dim + j * stride + d];
                    a[j] = exp(score * scale);
                    sum += a[j];
                }
                const float *w = weight + (image * s->tokens + t) * dim + head * s->head_dim;
                for (size_t d = 0; d < s->head_dim; d++)
                    for (size_t j = 0; j < s->tokens; j++)
                        total += (double)w[d] * a[j] / sum * row0[2 * dim + j * stride + d];
            }
    return total;
}

static void attention_backward_is_the_derivative(void **state) {
    (void)state;
    const shape s = {2, 9, 2, 6};
    const size_t count = 2 * 9 * 3 * 12;
    float *qkv = random_qkv(&s), *dz = random_floats(2 * 9 * 12, 2, 1.0f);
    double point[2 * 9 * 3 * 12];
    float want[2 * 9 * 3 * 12];
    for (size_t i = 0; i < count; i++)
        point[i] = (double)qkv[i];
    for (size_t i = 0; i < count; i++) {
        const double h = 1e-5, at = point[i];
        point[i] = at + h;
        const double plus = weighted_output(&s, point, dz);
        point[i] = at - h;
        const double minus = weighted_output(&s, point, dz);
        point[i] = at;
        want[i] = (float)((plus - minus) / (2 * h));
    }
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        guarded got = run_backward(ctx, &s, qkv, dz);
        kh_assert_close(got.data, want, count, 1e-5, 2e-6);
        /* a softmax's gradient sums to 0 over a row, so that of the keys does over the tokens */
        for (size_t c = 0; c < 2 * 12; c++) {
            double sum = 0, size = 0;
            for (size_t t = 0; t < 9; t++) {
                const double d = (double)got.data[((c / 12) * 9 + t) * 36 + 12 + c % 12];
                sum += d;
                size += fabs(d);
            }
            assert_true(size > 0 && fabs(sum) <= 1e-5 * size);
        }
        guarded_end(&got);
        kh_ctx_free(ctx);
    }
    kh_free(qkv);
    kh_free(dz);
}

static void images_do_not_depend_on_batch_threads_or_wishes(void **state) {
    (void)state;
    const shape all = {8, 50, 3, 40};
    const size_t one = 50 * 3 * 3 * 40, one_z = 50 * 3 * 40;
    float *qkv = random_qkv(&all), *dz = random_floats(8 * one_z, 2, 1.0f);
    memcpy(qkv + 5 * one, qkv, one * sizeof *qkv);
    memcpy(dz + 5 * one_z, dz, one_z * sizeof *dz);
    for (size_t i = 0; i < ISAS; i++) {
        kh_ctx *base = open_isa(all_isas[i], 1);
        if (!base) continue;
        outputs want = run_forward(base, &all, qkv, true);
        guarded back = run_backward(base, &all, qkv, dz);
        assert_same_bits(want.z.data + 5 * one_z, want.z.data, one_z);
        assert_same_bits(back.data + 5 * one, back.data, one);
        for (size_t threads = 1; threads <= 3; threads++) {
            kh_ctx *ctx = open_isa(all_isas[i], threads);
            const size_t batches[] = {1, 3, 8};
            for (size_t k = 0; k < 3; k++) {
                shape s = all;
                s.images = batches[k];
                outputs kept = run_forward(ctx, &s, qkv, true),
                        bare = run_forward(ctx, &s, qkv, false);
                guarded grads = run_backward(ctx, &s, qkv, dz);
                assert_same_bits(kept.z.data, want.z.data, s.images * one_z);
                assert_same_bits(bare.z.data, want.z.data, s.images * one_z);
                assert_same_bits(kept.scores.data, want.scores.data, kept.scores.count);
                assert_same_bits(kept.pattern.data, want.pattern.data, kept.pattern.count);
                assert_same_bits(grads.data, back.data, s.images * one);
                outputs_end(&kept);
                outputs_end(&bare);
                guarded_end(&grads);
            }
            kh_ctx_free(ctx);
        }
        outputs_end(&want);
        guarded_end(&back);
        kh_ctx_free(base);
    }
    kh_free(qkv);
    kh_free(dz);
}

/* Scores of several hundred must not overflow, a NaN must be seen and stay in its image. */
/* Some queries alone have the bits they have among all, and nothing else is written. */
static void chosen_queries_have_the_bits_of_all(void **state) {
    (void)state;
    static const size_t chosen[][2] = {{0, 1}, {3, 1}, {2, 5}};
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        for (size_t k = 1; k < SHAPES; k++)
            for (size_t c = 0; c < 3; c++) {
                const shape *s = &shapes[k];
                const size_t dim = s->heads * s->head_dim, first = chosen[c][0];
                const size_t end = first + chosen[c][1];
                float *qkv = random_qkv(s), *dz = random_floats(s->images * s->tokens * dim, 2, 1);
                for (size_t r = 0; r < s->images * s->tokens; r++)
                    if (r % s->tokens < first || r % s->tokens >= end)
                        memset(dz + r * dim, 0, dim * sizeof *dz);
                outputs all = run_forward(ctx, s, qkv, false);
                guarded back = run_backward(ctx, s, qkv, dz);
                guarded z = guarded_make(all.z.count), dqkv = guarded_make(back.count);
                const kh_backend *b = kh_ctx_backend(ctx);
                b->attention(ctx, &(kh_attention_args){.images = s->images,
                                                       .tokens = s->tokens,
                                                       .heads = s->heads,
                                                       .head_dim = s->head_dim,
                                                       .qkv = qkv,
                                                       .scale = 1.0f / sqrtf((float)s->head_dim),
                                                       .z = z.data,
                                                       .first_query = first,
                                                       .queries = chosen[c][1]});
                b->attention_backward(
                    ctx, &(kh_attention_backward_args){.images = s->images,
                                                       .tokens = s->tokens,
                                                       .heads = s->heads,
                                                       .head_dim = s->head_dim,
                                                       .qkv = qkv,
                                                       .scale = 1.0f / sqrtf((float)s->head_dim),
                                                       .dz = dz,
                                                       .dqkv = dqkv.data,
                                                       .first_query = first,
                                                       .queries = chosen[c][1]});
                for (size_t r = 0; r < s->images * s->tokens; r++) {
                    const bool is_chosen = r % s->tokens >= first && r % s->tokens < end;
                    const float *q = dqkv.data + r * 3 * dim;
                    if (is_chosen) {
                        assert_same_bits(z.data + r * dim, all.z.data + r * dim, dim);
                        assert_same_bits(q, back.data + r * 3 * dim, dim);
                    }
                    for (size_t j = 0; !is_chosen && j < dim; j++)
                        assert_true(z.data[r * dim + j] == sentinel && q[j] == sentinel);
                    assert_same_bits(q + dim, back.data + r * 3 * dim + dim, 2 * dim);
                }
                outputs_end(&all);
                guarded_end(&back), guarded_end(&z), guarded_end(&dqkv);
                kh_free(qkv), kh_free(dz);
            }
        kh_ctx_free(ctx);
    }
}

/* The pattern as the forward pass has it, its gradient <dz, v> in double; asking changes no bit. */
static void backward_hands_out_the_pattern(void **state) {
    (void)state;
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        for (size_t k = 0; k < SHAPES; k++) {
            const shape *s = &shapes[k];
            const size_t n = s->tokens, hd = s->head_dim, dim = s->heads * hd;
            const size_t square = s->images * s->heads * n * n;
            float *qkv = random_qkv(s), *dz = random_floats(s->images * n * dim, 2, 1.0f);
            outputs forward = run_forward(ctx, s, qkv, true);
            guarded want = run_backward(ctx, s, qkv, dz), dqkv = guarded_make(want.count);
            guarded pattern = guarded_make(square), dpattern = guarded_make(square);
            const kh_attention_backward_args args = {.images = s->images,
                                                     .tokens = n,
                                                     .heads = s->heads,
                                                     .head_dim = hd,
                                                     .qkv = qkv,
                                                     .scale = 1.0f / sqrtf((float)hd),
                                                     .dz = dz,
                                                     .dqkv = dqkv.data,
                                                     .pattern = pattern.data,
                                                     .dpattern = dpattern.data};
            kh_ctx_backend(ctx)->attention_backward(ctx, &args);
            assert_same_bits(dqkv.data, want.data, want.count);
            kh_assert_close(pattern.data, forward.pattern.data, square, relative, absolute);
            for (size_t at = 0; at < square; at++) {
                const size_t key = at % n, query = at / n % n, head = at / n / n % s->heads;
                const size_t row = at / n / n / s->heads * n;
                double product = 0, size = 0;
                for (size_t d = 0; d < hd; d++) {
                    const double one = (double)dz[(row + query) * dim + head * hd + d] *
                                       (double)qkv[(row + key) * 3 * dim + 2 * dim + head * hd + d];
                    product += one;
                    size += fabs(one);
                }
                assert_true(fabs((double)dpattern.data[at] - product) <= 2e-6 * size);
            }
            outputs_end(&forward);
            guarded_end(&want), guarded_end(&dqkv), guarded_end(&pattern), guarded_end(&dpattern);
            kh_free(qkv), kh_free(dz);
        }
        kh_ctx_free(ctx);
    }
}

static void extreme_scores_and_nan(void **state) {
    (void)state;
    const shape s = {2, 20, 1, 16};
    float *qkv = random_floats(2 * 20 * 48, 1, 60.0f);
    qkv[20 * 48 + 7 * 48 + 20] = NAN; /* a key of image 1 */
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        outputs out = run_forward(ctx, &s, qkv, true);
        for (size_t r = 0; r < 20; r++) {
            double sum = 0;
            for (size_t j = 0; j < 20; j++)
                sum += (double)out.pattern.data[r * 20 + j];
            assert_true(fabs(sum - 1) <= 1e-6);
            assert_true(isfinite(out.z.data[r * 16]));
            assert_true(isnan(out.z.data[(20 + r) * 16]));
        }
        outputs_end(&out);
        kh_ctx_free(ctx);
    }
    kh_free(qkv);
}

/* More tokens than are reserved from the start: reserving works, and failing memory shows as NaN.
 */
static void long_sequences_reserve_first(void **state) {
    (void)state;
    const shape s = {1, 3000, 1, 64};
    float *qkv = random_qkv(&s);
    kh_ctx *ctx = open_isa(NULL, 2);
    const kh_backend *b = kh_ctx_backend(ctx);
    assert_false(b->reserve_attention(ctx, SIZE_MAX / 2, 64));
    guarded z = guarded_make(3000 * 64);
    const kh_attention_args args = {.images = 1,
                                    .tokens = 3000,
                                    .heads = 1,
                                    .head_dim = 64,
                                    .qkv = qkv,
                                    .scale = 0.125f,
                                    .z = z.data};
    kh_alloc_fail_after(1);
    b->attention(ctx, &args);
    kh_alloc_fail_after(0);
    for (size_t i = 0; i < z.count; i++)
        assert_true(isnan(z.data[i]));
    assert_true(b->reserve_attention(ctx, 3000, 64));
    kh_alloc_fail_after(0);
    b->attention(ctx, &args);
    assert_int_equal(kh_alloc_count(), 0);
    for (size_t i = 0; i < z.count; i++)
        assert_true(isfinite(z.data[i]));
    guarded_end(&z);
    kh_ctx_free(ctx);
    kh_free(qkv);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attention_agrees_with_the_plain_loops),
        cmocka_unit_test(attention_backward_agrees_with_the_plain_loops),
        cmocka_unit_test(attention_backward_is_the_derivative),
        cmocka_unit_test(images_do_not_depend_on_batch_threads_or_wishes),
        cmocka_unit_test(chosen_queries_have_the_bits_of_all),
        cmocka_unit_test(backward_hands_out_the_pattern),
        cmocka_unit_test(extreme_scores_and_nan),
        cmocka_unit_test(long_sequences_reserve_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
