#include "compute/compute_test.h"

/* Sums of up to 700 products of numbers below 1 in two orders: 700 * 2^-24 * sum of |terms| is far
 * above, observed is below 2e-6; weights are scaled so that results are of order one. */
static const double relative = 1e-5, absolute = 1e-5;

typedef struct linear_case {
    size_t ins, outs, first, count; /* count 0: all */
    kh_activation act;
    bool norm, gamma, residual, pre, norm_out, bias;
} linear_case;

static const linear_case linear_cases[] = {
    {48, 64, 0, 0, KH_ACT_NONE, false, false, false, false, false, true},
    {37, 29, 0, 0, KH_ACT_GELU, true, true, true, true, true, true},
    {300, 70, 0, 0, KH_ACT_SILU, true, false, true, false, false, false},
    {257, 33, 0, 0, KH_ACT_QUICK_GELU, false, true, false, true, true, true},
    {600, 95, 17, 41, KH_ACT_GELU_TANH, true, true, true, true, true, true},
    {64, 200, 100, 1, KH_ACT_GELU, true, false, false, true, false, true},
    {5, 3, 0, 0, KH_ACT_NONE, true, true, true, false, false, true},
};
enum { LINEAR_CASES = sizeof linear_cases / sizeof linear_cases[0] };

/* Runs one case; y, pre and norm_out are freshly made and guarded. */
static void run_linear(kh_ctx *ctx, const linear_case *c, size_t rows, guarded *y, guarded *pre,
                       guarded *norm_out, guarded *branch) {
    const kh_backend *b = kh_ctx_backend(ctx);
    const size_t outs = c->count ? c->count : c->outs - c->first, y_stride = outs + 3;
    float *w = random_floats(c->outs * c->ins, 1, 1.0f / sqrtf((float)c->ins));
    float *bias = random_floats(c->outs, 2, 0.5f), *x = random_floats(rows * (c->ins + 5), 3, 2.0f);
    float *gamma = random_floats(outs, 4, 1.0f), *nw = random_floats(c->ins, 5, 1.0f);
    float *nb = random_floats(c->ins, 6, 1.0f);
    const kh_norm norm = {nw, nb, 1e-6f, c->ins};
    *y = guarded_make(rows * y_stride - 3);
    *pre = guarded_make(rows * outs);
    *norm_out = guarded_make(rows * c->ins);
    *branch = guarded_make((rows + 1) / 3 * outs);
    kh_test_fill(y->data, y->count, 7, 1.0f); /* the residual, in place */
    kh_weight *weight = b->pack(ctx, w, c->bias ? bias : NULL, c->outs, c->ins, false);
    assert_non_null(weight);
    kh_alloc_fail_after(0);
    const kh_linear_args args = {.rows = rows,
                                 .x = x,
                                 .x_stride = c->ins + 5,
                                 .norm = c->norm ? &norm : NULL,
                                 .norm_out = c->norm_out ? norm_out->data : NULL,
                                 .w = weight,
                                 .first_out = c->first,
                                 .outs = c->count,
                                 .act = c->act,
                                 .pre = c->pre ? pre->data : NULL,
                                 .gamma = c->gamma ? gamma : NULL,
                                 .residual = c->residual ? y->data : NULL,
                                 .y = y->data,
                                 .y_stride = y_stride,
                                 .branch = {branch->data, 1, 3}};
    b->linear(ctx, &args);
    assert_int_equal(kh_alloc_count(), 0); /* nothing is allocated inside an op */
    b->weight_free(ctx, weight);
    kh_free(w), kh_free(bias), kh_free(x), kh_free(gamma), kh_free(nw), kh_free(nb);
}

static void linear_agrees_with_the_plain_loops(void **state) {
    (void)state;
    kh_ctx *reference = open_reference();
    for (size_t i = 0; i < ISAS; i++) {
        kh_ctx *ctx = open_isa(all_isas[i], 2);
        if (!ctx) continue;
        for (size_t k = 0; k < LINEAR_CASES; k++)
            for (size_t r = 0; r < ROW_COUNTS; r++) {
                guarded want[4], got[4];
                run_linear(reference, &linear_cases[k], row_counts[r], &want[0], &want[1], &want[2],
                           &want[3]);
                run_linear(ctx, &linear_cases[k], row_counts[r], &got[0], &got[1], &got[2],
                           &got[3]);
                for (size_t j = 0; j < 4; j++) {
                    kh_assert_close(got[j].data, want[j].data, want[j].count, relative, absolute);
                    guarded_end(&got[j]);
                    guarded_end(&want[j]);
                }
            }
        kh_ctx_free(ctx);
    }
    kh_ctx_free(reference);
}

/* A column range of a product has the bits of the whole product. */
static void a_range_of_outputs_has_the_bits_of_the_whole(void **state) {
    (void)state;
    for (size_t i = 0; i < ISAS; i++) {
        kh_ctx *ctx = open_isa(all_isas[i], 2);
        if (!ctx) continue;
        const linear_case all = {300,   131,   0,    0,     KH_ACT_GELU, true,
                                 false, false, true, false, true};
        linear_case part = all;
        part.first = 45;
        part.count = 52;
        guarded a[4], b[4];
        run_linear(ctx, &all, 33, &a[0], &a[1], &a[2], &a[3]);
        run_linear(ctx, &part, 33, &b[0], &b[1], &b[2], &b[3]);
        for (size_t r = 0; r < 33; r++)
            assert_same_bits(b[0].data + r * 55, a[0].data + r * 134 + 45, 52);
        for (size_t k = 0; k < 11; k++) /* without a residual a branch is the result itself */
            assert_same_bits(a[3].data + k * 131, a[0].data + (1 + 3 * k) * 134, 131);
        for (size_t j = 0; j < 4; j++)
            guarded_end(&a[j]), guarded_end(&b[j]);
        kh_ctx_free(ctx);
    }
}

static void packing_gives_the_weight_back(void **state) {
    (void)state;
    float *w = random_floats(77 * 45, 1, 1.0f), *bias = random_floats(77, 2, 1.0f);
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        const kh_backend *b = kh_ctx_backend(ctx);
        kh_weight *weight = b->pack(ctx, w, bias, 77, 45, true);
        assert_non_null(weight);
        guarded back = guarded_make(31 * 45), back_bias = guarded_make(77);
        b->unpack(ctx, weight, 40, 31, back.data);
        b->unpack_bias(ctx, weight, back_bias.data);
        assert_same_bits(back.data, w + 40 * 45, 31 * 45);
        assert_same_bits(back_bias.data, bias, 77);
        assert_true(b->weight_bytes(weight) >= 77 * 45 * sizeof(float));
        guarded_end(&back);
        guarded_end(&back_bias);
        b->weight_free(ctx, weight);
        b->weight_free(ctx, NULL);
        kh_ctx_free(ctx);
    }
    kh_free(w);
    kh_free(bias);
}

static void packing_survives_every_failed_allocation(void **state) {
    (void)state;
    float *w = random_floats(600 * 500, 1, 1.0f);
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        const kh_backend *b = kh_ctx_backend(ctx);
        kh_weight *weight = NULL;
        size_t failures = 0;
        for (size_t n = 1; n < 20 && !weight; n++) {
            kh_alloc_fail_after(n);
            weight = b->pack(ctx, w, NULL, 600, 500, true);
            failures += !weight;
        }
        kh_alloc_fail_after(0);
        assert_non_null(weight);
        assert_true(failures >= 3);
        b->weight_free(ctx, weight);
        assert_null(b->pack(ctx, w, NULL, SIZE_MAX / 2, 500, false));
        kh_ctx_free(ctx);
    }
    kh_free(w);
}

/* ---- linear_backward ---- */

typedef struct backward_case {
    size_t ins, outs, first, count;
    kh_activation act;
    bool gamma, add, in_place;
} backward_case;

static const backward_case backward_cases[] = {
    {48, 64, 0, 0, KH_ACT_NONE, false, false, false},
    {37, 29, 0, 0, KH_ACT_GELU, true, true, false},
    {95, 600, 17, 301, KH_ACT_QUICK_GELU, true, true, true},
    {33, 300, 299, 1, KH_ACT_SILU, false, true, true},
    {130, 70, 3, 40, KH_ACT_GELU_TANH, true, false, false},
};
enum { BACKWARD_CASES = sizeof backward_cases / sizeof backward_cases[0] };

static void run_linear_backward(kh_ctx *ctx, const backward_case *c, size_t rows, guarded *dx) {
    const kh_backend *b = kh_ctx_backend(ctx);
    const size_t outs = c->count ? c->count : c->outs - c->first;
    float *w = random_floats(c->outs * c->ins, 1, 1.0f / sqrtf((float)outs));
    float *dy = random_floats(rows * (outs + 2), 2, 2.0f), *gamma = random_floats(outs, 3, 1.0f);
    float *pre = random_floats(rows * c->ins, 4, 3.0f),
          *add = random_floats(rows * c->ins, 5, 1.0f);
    *dx = guarded_make(rows * c->ins);
    memcpy(dx->data, add, rows * c->ins * sizeof *add);
    kh_weight *weight = b->pack(ctx, w, NULL, c->outs, c->ins, false);
    assert_non_null(weight);
    assert_true(b->pack_backward(ctx, weight));
    kh_alloc_fail_after(0);
    const kh_linear_backward_args args = {.rows = rows,
                                          .dy = dy,
                                          .dy_stride = outs + 2,
                                          .gamma = c->gamma ? gamma : NULL,
                                          .w = weight,
                                          .first_out = c->first,
                                          .outs = c->count,
                                          .act = c->act,
                                          .pre = c->act ? pre : NULL,
                                          .add = !c->add       ? NULL
                                                 : c->in_place ? dx->data
                                                               : add,
                                          .dx = dx->data};
    b->linear_backward(ctx, &args);
    assert_int_equal(kh_alloc_count(), 0);
    b->weight_free(ctx, weight);
    kh_free(w), kh_free(dy), kh_free(gamma), kh_free(pre), kh_free(add);
}

static void linear_backward_agrees_with_the_plain_loops(void **state) {
    (void)state;
    kh_ctx *reference = open_reference();
    for (size_t i = 0; i < ISAS; i++) {
        kh_ctx *ctx = open_isa(all_isas[i], 2);
        if (!ctx) continue;
        for (size_t k = 0; k < BACKWARD_CASES; k++)
            for (size_t r = 0; r < ROW_COUNTS; r++) {
                guarded want, got;
                run_linear_backward(reference, &backward_cases[k], row_counts[r], &want);
                run_linear_backward(ctx, &backward_cases[k], row_counts[r], &got);
                kh_assert_close(got.data, want.data, want.count, relative, absolute);
                guarded_end(&got);
                guarded_end(&want);
            }
        kh_ctx_free(ctx);
    }
    kh_ctx_free(reference);
}

/* <dy, linear(x + h d) - linear(x - h d)> / 2h in double against <dx, d>: the map is linear, so
 * only rounding separates the two. */
static void linear_backward_is_the_derivative(void **state) {
    (void)state;
    enum { ROWS = 3, INS = 41, OUTS = 23 };
    float *w = random_floats(OUTS * INS, 1, 0.3f), *x = random_floats(ROWS * INS, 2, 1.0f);
    float *dy = random_floats(ROWS * OUTS, 3, 1.0f), *d = random_floats(ROWS * INS, 4, 1.0f);
    double want = 0;
    for (size_t r = 0; r < ROWS; r++)
        for (size_t o = 0; o < OUTS; o++) {
            double plus = 0, minus = 0;
            for (size_t i = 0; i < INS; i++) {
                const double at = (double)x[r * INS + i], along = 1e-3 * (double)d[r * INS + i];
                plus += (at + along) * (double)w[o * INS + i];
                minus += (at - along) * (double)w[o * INS + i];
            }
            want += (double)dy[r * OUTS + o] * (plus - minus) / 2e-3;
        }
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 1) : open_reference();
        if (!ctx) continue;
        const kh_backend *b = kh_ctx_backend(ctx);
        kh_weight *weight = b->pack(ctx, w, NULL, OUTS, INS, true);
        float dx[ROWS * INS];
        const kh_linear_backward_args args = {
            .rows = ROWS, .dy = dy, .dy_stride = OUTS, .w = weight, .dx = dx};
        b->linear_backward(ctx, &args);
        double got = 0;
        for (size_t j = 0; j < ROWS * INS; j++)
            got += (double)dx[j] * (double)d[j];
        assert_true(fabs(got - want) <= 1e-5 * fabs(want) + 1e-5);
        b->weight_free(ctx, weight);
        kh_ctx_free(ctx);
    }
    kh_free(w), kh_free(x), kh_free(dy), kh_free(d);
}

/* ---- mlp ---- */

typedef struct mlp_case {
    size_t dim, neurons;
    bool gated, norm, gamma, residual;
    kh_activation act;
} mlp_case;

static const mlp_case mlp_cases[] = {
    {64, 256, false, true, false, true, KH_ACT_GELU},
    {45, 300, false, true, true, true, KH_ACT_QUICK_GELU},
    {300, 530, false, false, true, false, KH_ACT_GELU_TANH},
    {40, 83, true, true, true, true, KH_ACT_SILU},
    {96, 257, true, true, false, true, KH_ACT_SILU},
};
enum { MLP_CASES = sizeof mlp_cases / sizeof mlp_cases[0] };

typedef struct mlp_result {
    guarded y, norm_out, pre, post, branch;
} mlp_result;

/* fused: the mlp op, in place when there is a residual; else linear, gate and linear in sequence.
 */
static mlp_result run_mlp(kh_ctx *ctx, const mlp_case *c, size_t rows, bool fused, bool keep) {
    const kh_backend *b = kh_ctx_backend(ctx);
    const size_t wide = c->gated ? 2 * c->neurons : c->neurons;
    float *w1 = random_floats(wide * c->dim, 1, 1.0f / sqrtf((float)c->dim));
    float *b1 = random_floats(wide, 2, 0.5f), *b2 = random_floats(c->dim, 4, 0.5f);
    float *w2 = random_floats(c->dim * c->neurons, 3, 1.0f / sqrtf((float)c->neurons));
    float *x = random_floats(rows * c->dim, 5, 2.0f), *gamma = random_floats(c->dim, 6, 1.0f);
    float *nw = random_floats(c->dim, 7, 1.0f), *nb = random_floats(c->dim, 8, 1.0f);
    const kh_norm norm = {nw, nb, 1e-5f, c->dim};
    mlp_result result = {guarded_make(rows * c->dim), guarded_make(rows * c->dim),
                         guarded_make(rows * wide), guarded_make(rows * c->neurons),
                         guarded_make((rows + 1) / 3 * c->dim)};
    kh_weight *fc1 = b->pack(ctx, w1, b1, wide, c->dim, false);
    kh_weight *fc2 = b->pack(ctx, w2, b2, c->dim, c->neurons, false);
    assert_non_null(fc1);
    assert_non_null(fc2);
    kh_alloc_fail_after(0);
    memcpy(result.y.data, x, rows * c->dim * sizeof *x);
    if (fused) {
        const kh_mlp_args args = {.rows = rows,
                                  .x = result.y.data,
                                  .norm = c->norm ? &norm : NULL,
                                  .fc1 = fc1,
                                  .fc2 = fc2,
                                  .gated = c->gated,
                                  .act = c->act,
                                  .norm_out = keep ? result.norm_out.data : NULL,
                                  .pre = keep ? result.pre.data : NULL,
                                  .post = keep ? result.post.data : NULL,
                                  .gamma = c->gamma ? gamma : NULL,
                                  .residual = c->residual ? result.y.data : NULL,
                                  .y = result.y.data,
                                  .branch = {keep ? result.branch.data : NULL, 1, 3}};
        b->mlp(ctx, &args);
    } else {
        const kh_linear_args first = {.rows = rows,
                                      .x = x,
                                      .x_stride = c->dim,
                                      .norm = c->norm ? &norm : NULL,
                                      .norm_out = result.norm_out.data,
                                      .w = fc1,
                                      .act = c->gated ? KH_ACT_NONE : c->act,
                                      .pre = c->gated ? NULL : result.pre.data,
                                      .y = c->gated ? result.pre.data : result.post.data,
                                      .y_stride = wide};
        b->linear(ctx, &first);
        if (c->gated) b->gate(ctx, c->act, rows, c->neurons, result.pre.data, result.post.data);
        const kh_linear_args second = {.rows = rows,
                                       .x = result.post.data,
                                       .x_stride = c->neurons,
                                       .w = fc2,
                                       .gamma = c->gamma ? gamma : NULL,
                                       .residual = c->residual ? x : NULL,
                                       .y = result.y.data,
                                       .y_stride = c->dim,
                                       .branch = {result.branch.data, 1, 3}};
        b->linear(ctx, &second);
    }
    assert_int_equal(kh_alloc_count(), 0);
    b->weight_free(ctx, fc1);
    b->weight_free(ctx, fc2);
    kh_free(w1), kh_free(b1), kh_free(w2), kh_free(b2), kh_free(x), kh_free(gamma);
    kh_free(nw), kh_free(nb);
    return result;
}

static void mlp_result_end(mlp_result *r) {
    guarded_end(&r->y);
    guarded_end(&r->norm_out);
    guarded_end(&r->pre);
    guarded_end(&r->post);
    guarded_end(&r->branch);
}

static void mlp_agrees_with_the_plain_loops(void **state) {
    (void)state;
    kh_ctx *reference = open_reference();
    for (size_t i = 0; i < ISAS; i++) {
        kh_ctx *ctx = open_isa(all_isas[i], 2);
        if (!ctx) continue;
        for (size_t k = 0; k < MLP_CASES; k++)
            for (size_t r = 0; r < ROW_COUNTS; r++) {
                mlp_result want = run_mlp(reference, &mlp_cases[k], row_counts[r], true, true);
                mlp_result got = run_mlp(ctx, &mlp_cases[k], row_counts[r], true, true);
                kh_assert_close(got.norm_out.data, want.norm_out.data, want.norm_out.count,
                                relative, absolute);
                kh_assert_close(got.pre.data, want.pre.data, want.pre.count, relative, absolute);
                kh_assert_close(got.post.data, want.post.data, want.post.count, relative, absolute);
                kh_assert_close(got.y.data, want.y.data, want.y.count, relative, absolute);
                kh_assert_close(got.branch.data, want.branch.data, want.branch.count, relative,
                                absolute);
                mlp_result_end(&want);
                mlp_result_end(&got);
            }
        kh_ctx_free(ctx);
    }
    kh_ctx_free(reference);
}

static void mlp_has_the_bits_of_its_parts(void **state) {
    (void)state;
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        for (size_t k = 0; k < MLP_CASES; k++) {
            mlp_result fused = run_mlp(ctx, &mlp_cases[k], 101, true, true);
            mlp_result bare = run_mlp(ctx, &mlp_cases[k], 101, true, false);
            mlp_result parts = run_mlp(ctx, &mlp_cases[k], 101, false, true);
            assert_same_bits(fused.norm_out.data, parts.norm_out.data, parts.norm_out.count);
            assert_same_bits(fused.pre.data, parts.pre.data, parts.pre.count);
            assert_same_bits(fused.post.data, parts.post.data, parts.post.count);
            assert_same_bits(fused.y.data, parts.y.data, parts.y.count);
            assert_same_bits(fused.branch.data, parts.branch.data, parts.branch.count);
            assert_same_bits(bare.y.data, parts.y.data, parts.y.count);
            mlp_result_end(&fused);
            mlp_result_end(&bare);
            mlp_result_end(&parts);
        }
        kh_ctx_free(ctx);
    }
}

/* ---- mlp_backward ---- */

static const mlp_case mlp_backward_cases[] = {
    {64, 256, false, false, false, true, KH_ACT_GELU},
    {45, 300, false, false, true, false, KH_ACT_QUICK_GELU},
    {300, 900, false, false, true, true,
     KH_ACT_GELU_TANH},                                 /* more than one block of hidden units */
    {800, 33, false, false, false, false, KH_ACT_NONE}, /* more than one block of dim */
};
enum { MLP_BACKWARD_CASES = sizeof mlp_backward_cases / sizeof mlp_backward_cases[0] };

/* fused: the op, in place of dy; else back through fc2, then fc1. residual: there is something to
 * add. */
static guarded run_mlp_backward(kh_ctx *ctx, const mlp_case *c, size_t rows, bool fused) {
    const kh_backend *b = kh_ctx_backend(ctx);
    float *w1 = random_floats(c->neurons * c->dim, 1, 1.0f / sqrtf((float)c->neurons));
    float *w2 = random_floats(c->dim * c->neurons, 2, 1.0f / sqrtf((float)c->dim));
    float *dy = random_floats(rows * c->dim, 3, 2.0f), *gamma = random_floats(c->dim, 4, 1.0f);
    float *pre = random_floats(rows * c->neurons, 5, 3.0f);
    float *add = random_floats(rows * c->dim, 6, 1.0f);
    float *hidden = kh_alloc_floats(rows * c->neurons);
    guarded dx = guarded_make(rows * c->dim);
    memcpy(dx.data, dy, rows * c->dim * sizeof *dy);
    kh_weight *fc1 = b->pack(ctx, w1, NULL, c->neurons, c->dim, true);
    kh_weight *fc2 = b->pack(ctx, w2, NULL, c->dim, c->neurons, true);
    assert_non_null(fc1);
    assert_non_null(fc2);
    assert_non_null(hidden);
    kh_alloc_fail_after(0);
    if (fused) {
        b->mlp_backward(ctx, &(kh_mlp_backward_args){.rows = rows,
                                                     .dy = dx.data,
                                                     .gamma = c->gamma ? gamma : NULL,
                                                     .fc1 = fc1,
                                                     .fc2 = fc2,
                                                     .act = c->act,
                                                     .pre = pre,
                                                     .add = c->residual ? add : NULL,
                                                     .dx = dx.data});
    } else {
        b->linear_backward(ctx, &(kh_linear_backward_args){.rows = rows,
                                                           .dy = dy,
                                                           .dy_stride = c->dim,
                                                           .gamma = c->gamma ? gamma : NULL,
                                                           .w = fc2,
                                                           .act = c->act,
                                                           .pre = pre,
                                                           .dx = hidden});
        b->linear_backward(ctx, &(kh_linear_backward_args){.rows = rows,
                                                           .dy = hidden,
                                                           .dy_stride = c->neurons,
                                                           .w = fc1,
                                                           .add = c->residual ? add : NULL,
                                                           .dx = dx.data});
    }
    assert_int_equal(kh_alloc_count(), 0);
    b->weight_free(ctx, fc1);
    b->weight_free(ctx, fc2);
    kh_free(w1), kh_free(w2), kh_free(dy), kh_free(gamma), kh_free(pre), kh_free(add);
    kh_free(hidden);
    return dx;
}

static void mlp_backward_has_the_bits_of_its_parts(void **state) {
    (void)state;
    kh_ctx *reference = open_reference();
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 2) : open_reference();
        if (!ctx) continue;
        for (size_t k = 0; k < MLP_BACKWARD_CASES; k++)
            for (size_t rows = 1; rows <= 101; rows += 50) {
                guarded fused = run_mlp_backward(ctx, &mlp_backward_cases[k], rows, true);
                guarded parts = run_mlp_backward(ctx, &mlp_backward_cases[k], rows, false);
                guarded plain = run_mlp_backward(reference, &mlp_backward_cases[k], rows, false);
                assert_same_bits(fused.data, parts.data, parts.count);
                kh_assert_close(fused.data, plain.data, plain.count, relative, absolute);
                guarded_end(&fused);
                guarded_end(&parts);
                guarded_end(&plain);
            }
        kh_ctx_free(ctx);
    }
    kh_ctx_free(reference);
}

/* ---- nothing depends on batch or threads ---- */

/* Rows of a batch of 8 "images" are random; 1 and 3 images are its first rows, and image 0 comes
 * again as image 5. */
static void rows_do_not_depend_on_batch_or_threads(void **state) {
    (void)state;
    enum { TOKENS = 197, INS = 300, OUTS = 70 };
    float *w = random_floats(OUTS * INS, 1, 0.06f), *x = random_floats(8 * TOKENS * INS, 2, 2.0f);
    float *dy = random_floats(8 * TOKENS * OUTS, 3, 2.0f);
    memcpy(x + 5 * TOKENS * INS, x, TOKENS * INS * sizeof *x);
    memcpy(dy + 5 * TOKENS * OUTS, dy, TOKENS * OUTS * sizeof *dy);
    float *nw = random_floats(INS, 7, 1.0f), *nb = random_floats(INS, 8, 1.0f);
    const kh_norm norm = {nw, nb, 1e-6f, INS};
    float *first = kh_alloc_floats(8 * TOKENS * (OUTS + 2 * INS));
    float *again = kh_alloc_floats(8 * TOKENS * (OUTS + 2 * INS));
    for (size_t i = 0; i < ISAS; i++) {
        for (size_t threads = 1; threads <= 3; threads++) {
            kh_ctx *ctx = open_isa(all_isas[i], threads);
            if (!ctx) break;
            const kh_backend *b = kh_ctx_backend(ctx);
            kh_weight *weight = b->pack(ctx, w, NULL, OUTS, INS, true);
            kh_weight *up = b->pack(ctx, w, NULL, INS, OUTS, true);
            const size_t batches[] = {8, 3, 1};
            for (size_t k = 0; k < 3; k++) {
                const size_t rows = batches[k] * TOKENS;
                float *out = threads == 1 && k == 0 ? first : again;
                float *y = out, *dx = y + 8 * TOKENS * OUTS, *z = dx + 8 * TOKENS * INS;
                const kh_linear_args args = {.rows = rows,
                                             .x = x,
                                             .x_stride = INS,
                                             .norm = &norm,
                                             .w = weight,
                                             .act = KH_ACT_GELU,
                                             .y = y,
                                             .y_stride = OUTS};
                b->linear(ctx, &args);
                const kh_linear_backward_args back = {.rows = rows,
                                                      .dy = dy,
                                                      .dy_stride = OUTS,
                                                      .w = weight,
                                                      .act = KH_ACT_GELU,
                                                      .pre = x,
                                                      .dx = dx};
                b->linear_backward(ctx, &back);
                const kh_mlp_args mlp = {.rows = rows,
                                         .x = x,
                                         .norm = &norm,
                                         .fc1 = weight,
                                         .fc2 = up,
                                         .act = KH_ACT_GELU,
                                         .residual = x,
                                         .y = z};
                b->mlp(ctx, &mlp);
                assert_same_bits(y, first, rows * OUTS);
                assert_same_bits(dx, first + 8 * TOKENS * OUTS, rows * INS);
                assert_same_bits(z, first + 8 * TOKENS * (OUTS + INS), rows * INS);
                if (k > 0) continue;
                assert_same_bits(y + 5 * TOKENS * OUTS, y, TOKENS * OUTS);
                assert_same_bits(dx + 5 * TOKENS * INS, dx, TOKENS * INS);
                assert_same_bits(z + 5 * TOKENS * INS, z, TOKENS * INS);
            }
            /* one row alone, wherever it stood */
            for (size_t r = 0; r < 3 * TOKENS; r += 29) {
                float y[OUTS];
                const kh_linear_args args = {.rows = 1,
                                             .x = x + r * INS,
                                             .x_stride = INS,
                                             .norm = &norm,
                                             .w = weight,
                                             .act = KH_ACT_GELU,
                                             .y = y,
                                             .y_stride = OUTS};
                b->linear(ctx, &args);
                assert_same_bits(y, first + r * OUTS, OUTS);
            }
            b->weight_free(ctx, weight);
            b->weight_free(ctx, up);
            kh_ctx_free(ctx);
        }
    }
    kh_free(w), kh_free(x), kh_free(dy), kh_free(nw), kh_free(nb), kh_free(first), kh_free(again);
}

static void nan_in_one_row_stays_in_that_row(void **state) {
    (void)state;
    enum { ROWS = 29, INS = 40, OUTS = 37 };
    float *w = random_floats(OUTS * INS, 1, 0.2f), *x = random_floats(ROWS * INS, 2, 1.0f);
    x[11 * INS + 3] = NAN;
    for (size_t i = 0; i <= ISAS; i++) {
        kh_ctx *ctx = i < ISAS ? open_isa(all_isas[i], 1) : open_reference();
        if (!ctx) continue;
        const kh_backend *b = kh_ctx_backend(ctx);
        kh_weight *weight = b->pack(ctx, w, NULL, OUTS, INS, false);
        float y[ROWS * OUTS];
        for (int act = KH_ACT_NONE; act <= KH_ACT_SILU; act++) {
            const kh_linear_args args = {.rows = ROWS,
                                         .x = x,
                                         .x_stride = INS,
                                         .w = weight,
                                         .act = (kh_activation)act,
                                         .y = y,
                                         .y_stride = OUTS};
            b->linear(ctx, &args);
            for (size_t j = 0; j < ROWS * OUTS; j++)
                assert_int_equal(isnan(y[j]) != 0, j / OUTS == 11);
        }
        b->weight_free(ctx, weight);
        kh_ctx_free(ctx);
    }
    kh_free(w), kh_free(x);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_agrees_with_the_plain_loops),
        cmocka_unit_test(a_range_of_outputs_has_the_bits_of_the_whole),
        cmocka_unit_test(packing_gives_the_weight_back),
        cmocka_unit_test(packing_survives_every_failed_allocation),
        cmocka_unit_test(linear_backward_agrees_with_the_plain_loops),
        cmocka_unit_test(linear_backward_is_the_derivative),
        cmocka_unit_test(mlp_agrees_with_the_plain_loops),
        cmocka_unit_test(mlp_has_the_bits_of_its_parts),
        cmocka_unit_test(mlp_backward_has_the_bits_of_its_parts),
        cmocka_unit_test(rows_do_not_depend_on_batch_or_threads),
        cmocka_unit_test(nan_in_one_row_stays_in_that_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
