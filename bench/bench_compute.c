/* Speed of the compute room against the multiply-add peak of the same run.
 *
 *     bench_compute [--threads N] [--isa NAME] [--rounds N] [--only TEXT]
 *
 * Cases and the peak loop take turns, round after round, so that all see the same weather; printed
 * are the medians. "x peak" is the median of rate / peak of the same round. A "block" is a whole
 * transformer block: LayerNorm + qkv, attention, projection + residual, MLP. Before it is timed,
 * every product is checked on a few elements against a double sum. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "base/text.h"
#include "compute/backend.h"

enum { MAX_CASES = 128, MAX_ROUNDS = 99 };

typedef struct layer {
    size_t batch, tokens, dim, heads, neurons, ins, outs;
    kh_weight *w, *qkv, *proj, *fc1, *fc2;
    kh_norm norm;
    float *x, *y, *z, *pre, *dx;
} layer;

typedef struct bench_case {
    char name[64];
    layer shape;
    void (*run)(kh_ctx *ctx, const layer *shape);
    double flop;
    size_t repeats;
    double rate[MAX_ROUNDS], share[MAX_ROUNDS];
} bench_case;

static bench_case cases[MAX_CASES];
static size_t case_count;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, size_t count) {
    double sorted[MAX_ROUNDS];
    memcpy(sorted, values, count * sizeof *values);
    qsort(sorted, count, sizeof *sorted, by_value);
    return sorted[count / 2];
}

static void *need(void *memory) {
    if (memory) return memory;
    (void)fprintf(stderr, "bench_compute: out of memory\n");
    exit(1);
}

static float *filled(kh_ctx *ctx, size_t count, float scale) {
    float *memory = need(kh_ctx_backend(ctx)->alloc(ctx, count));
    kh_rng rng = kh_rng_make(count, 1);
    for (size_t i = 0; i < count; i++)
        memory[i] = (float)(kh_rng_unit(&rng) * 2 - 1) * scale;
    return memory;
}

static kh_weight *packed(kh_ctx *ctx, size_t outs, size_t ins, bool backward) {
    float *w = filled(ctx, outs * ins, 1.0f / sqrtf((float)ins)), *b = filled(ctx, outs, 0.1f);
    kh_weight *weight = need(kh_ctx_backend(ctx)->pack(ctx, w, b, outs, ins, backward));
    kh_ctx_backend(ctx)->release(ctx, w);
    kh_ctx_backend(ctx)->release(ctx, b);
    return weight;
}

static kh_norm made_norm(kh_ctx *ctx, size_t dim) {
    return (kh_norm){filled(ctx, dim, 1.0f), filled(ctx, dim, 1.0f), 1e-6f, dim};
}

/* ---- what is timed ---- */

static void run_product(kh_ctx *ctx, const layer *s) {
    kh_linear_args args = {.rows = s->batch * s->tokens,
                           .x = s->x,
                           .x_stride = s->ins,
                           .w = s->w,
                           .y = s->y,
                           .y_stride = s->outs};
    kh_ctx_backend(ctx)->linear(ctx, &args);
}

static void run_product_backward(kh_ctx *ctx, const layer *s) {
    kh_linear_backward_args args = {
        .rows = s->batch * s->tokens, .dy = s->y, .dy_stride = s->outs, .w = s->w, .dx = s->dx};
    kh_ctx_backend(ctx)->linear_backward(ctx, &args);
}

static void run_attention(kh_ctx *ctx, const layer *s) {
    kh_attention_args args = {.images = s->batch,
                              .tokens = s->tokens,
                              .heads = s->heads,
                              .head_dim = s->dim / s->heads,
                              .qkv = s->pre,
                              .scale = 1.0f / sqrtf((float)(s->dim / s->heads)),
                              .z = s->z};
    kh_ctx_backend(ctx)->attention(ctx, &args);
}

static void run_attention_backward(kh_ctx *ctx, const layer *s) {
    kh_attention_backward_args args = {.images = s->batch,
                                       .tokens = s->tokens,
                                       .heads = s->heads,
                                       .head_dim = s->dim / s->heads,
                                       .qkv = s->pre,
                                       .scale = 1.0f / sqrtf((float)(s->dim / s->heads)),
                                       .dz = s->z,
                                       .dqkv = s->dx};
    kh_ctx_backend(ctx)->attention_backward(ctx, &args);
}

static void run_mlp(kh_ctx *ctx, const layer *s) {
    kh_mlp_args args = {.rows = s->batch * s->tokens,
                        .x = s->x,
                        .norm = &s->norm,
                        .fc1 = s->fc1,
                        .fc2 = s->fc2,
                        .act = KH_ACT_GELU,
                        .residual = s->x,
                        .y = s->x};
    kh_ctx_backend(ctx)->mlp(ctx, &args);
}

static void run_block(kh_ctx *ctx, const layer *s) {
    const size_t rows = s->batch * s->tokens;
    kh_linear_args qkv = {.rows = rows,
                          .x = s->x,
                          .x_stride = s->dim,
                          .norm = &s->norm,
                          .w = s->qkv,
                          .y = s->pre,
                          .y_stride = 3 * s->dim};
    kh_ctx_backend(ctx)->linear(ctx, &qkv);
    run_attention(ctx, s);
    kh_linear_args proj = {.rows = rows,
                           .x = s->z,
                           .x_stride = s->dim,
                           .w = s->proj,
                           .residual = s->x,
                           .y = s->x,
                           .y_stride = s->dim};
    kh_ctx_backend(ctx)->linear(ctx, &proj);
    run_mlp(ctx, s);
}

static void run_gelu(kh_ctx *ctx, const layer *s) {
    kh_ctx_backend(ctx)->activate(ctx, KH_ACT_GELU, s->batch * s->tokens * s->neurons, s->pre,
                                  s->y);
}

static void run_norm(kh_ctx *ctx, const layer *s) {
    kh_ctx_backend(ctx)->layernorm(ctx, &s->norm, s->batch * s->tokens, s->x, s->dim, NULL, s->z,
                                   s->dim, NULL);
}

/* ---- the list ---- */

static bench_case *add(const char *only, const char *name, void (*run)(kh_ctx *, const layer *),
                       double flop, layer shape) {
    if (only && !strstr(name, only)) return NULL;
    bench_case *c = &cases[case_count++];
    (void)snprintf(c->name, sizeof c->name, "%s", name);
    c->run = run;
    c->flop = flop;
    c->shape = shape;
    c->repeats = 1;
    return c;
}

static void check_product(const layer *s, const float *w, const float *b) {
    for (size_t probe = 0; probe < 64; probe++) {
        const size_t r = probe * 7919 % (s->batch * s->tokens), o = probe * 104729 % s->outs;
        double want = b ? (double)b[o] : 0;
        for (size_t i = 0; i < s->ins; i++)
            want += (double)s->x[r * s->ins + i] * (double)w[o * s->ins + i];
        const double diff = fabs(want - (double)s->y[r * s->outs + o]);
        if (diff <= 1e-4) continue;
        (void)fprintf(stderr, "bench_compute: wrong product at %zu,%zu: off by %g\n", r, o, diff);
        exit(1);
    }
}

static void add_products(kh_ctx *ctx, const char *only, const char *model, size_t dim,
                         size_t batch) {
    const size_t shapes[4][2] = {{dim, dim}, {dim, 4 * dim}, {3 * dim, dim}, {4 * dim, dim}};
    for (size_t i = 0; i < 4; i++) {
        layer s = {.batch = batch, .tokens = 197, .outs = shapes[i][0], .ins = shapes[i][1]};
        const double flop = 2.0 * (double)(batch * 197 * s.outs) * (double)s.ins;
        for (int backward = 0; backward < 2; backward++) {
            char name[64];
            (void)snprintf(name, sizeof name, "%s %s b%zu n%zu k%zu",
                           backward ? "backward" : "product", model, batch, s.outs, s.ins);
            bench_case *c = add(only, name, backward ? run_product_backward : run_product, flop, s);
            if (!c) continue;
            float *w = filled(ctx, s.outs * s.ins, 1.0f / sqrtf((float)s.ins));
            c->shape.w = need(kh_ctx_backend(ctx)->pack(ctx, w, NULL, s.outs, s.ins, backward));
            c->shape.x = filled(ctx, batch * 197 * s.ins, 1.0f);
            c->shape.y = filled(ctx, batch * 197 * s.outs, 1.0f);
            c->shape.dx = filled(ctx, batch * 197 * s.ins, 1.0f);
            c->run(ctx, &c->shape);
            if (!backward) check_product(&c->shape, w, NULL);
            kh_ctx_backend(ctx)->release(ctx, w);
        }
    }
}

static void add_model(kh_ctx *ctx, const char *only, const char *model, size_t dim, size_t heads,
                      size_t batch) {
    layer s = {.batch = batch, .tokens = 197, .dim = dim, .heads = heads, .neurons = 4 * dim};
    const double rows = (double)(batch * 197), d = (double)dim;
    const double attention = 4.0 * rows * 197 * d, linear = 2.0 * rows * d * d;
    const struct {
        const char *what;
        void (*run)(kh_ctx *, const layer *);
        double flop;
    } list[] = {{"block", run_block, 12 * linear + attention},
                {"mlp", run_mlp, 8 * linear},
                {"attention", run_attention, attention},
                {"attention_backward", run_attention_backward, 2.5 * attention},
                {"gelu", run_gelu, 0},
                {"layernorm", run_norm, 0}};
    bool made = false;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s %s b%zu", list[i].what, model, batch);
        bench_case *c = add(only, name, list[i].run, list[i].flop, s);
        if (!c) continue;
        if (!made) {
            s.norm = made_norm(ctx, dim);
            s.x = filled(ctx, batch * 197 * dim, 1.0f);
            s.z = filled(ctx, batch * 197 * dim, 1.0f);
            s.pre = filled(ctx, batch * 197 * 4 * dim, 1.0f);
            s.y = filled(ctx, batch * 197 * 4 * dim, 1.0f);
            s.dx = filled(ctx, batch * 197 * 3 * dim, 1.0f);
            s.qkv = packed(ctx, 3 * dim, dim, false);
            s.proj = packed(ctx, dim, dim, false);
            s.fc1 = packed(ctx, 4 * dim, dim, false);
            s.fc2 = packed(ctx, dim, 4 * dim, false);
            made = true;
        }
        c->shape = s;
    }
}

/* So many repeats that one sample takes about 20 ms. */
static void choose_repeats(kh_ctx *ctx, bench_case *c) {
    c->run(ctx, &c->shape);
    const double start = now();
    c->run(ctx, &c->shape);
    const double once = now() - start;
    c->repeats = once < 0.02 ? (size_t)(0.02 / (once + 1e-9)) + 1 : 1;
}

int main(int argc, char **argv) {
    kh_ctx_options options = {.pin_caller = true};
    size_t rounds = 11;
    const char *only = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--threads") == 0 && kh_parse_size(argv[i + 1], &options.threads))
            continue;
        if (strcmp(argv[i], "--rounds") == 0 && kh_parse_size(argv[i + 1], &rounds)) continue;
        if (strcmp(argv[i], "--isa") == 0) {
            options.isa = argv[i + 1];
            continue;
        }
        if (strcmp(argv[i], "--only") == 0) {
            only = argv[i + 1];
            continue;
        }
        (void)fprintf(stderr, "bench_compute: do not understand %s %s\n", argv[i], argv[i + 1]);
        return 2;
    }
    if (rounds < 1 || rounds > MAX_ROUNDS) rounds = 11;
    kh_error err;
    kh_ctx *ctx;
    if (kh_ctx_create(&options, &ctx, &err)) {
        (void)fprintf(stderr, "bench_compute: %s\n", err.text);
        return 1;
    }
    const size_t batches[] = {1, 4, 8};
    for (size_t i = 0; i < 3; i++)
        add_products(ctx, only, "vit_b", 768, batches[i]);
    for (size_t i = 0; i < 3; i++)
        add_products(ctx, only, "vit_ti", 192, batches[i]);
    for (size_t i = 0; i < 3; i++)
        add_model(ctx, only, "vit_b", 768, 12, batches[i]);
    add_model(ctx, only, "vit_ti", 192, 3, 1);
    add_model(ctx, only, "vit_ti", 192, 3, 16);

    double peaks[MAX_ROUNDS];
    for (size_t i = 0; i < case_count; i++)
        choose_repeats(ctx, &cases[i]);
    for (size_t round = 0; round < rounds; round++)
        for (size_t i = 0; i < case_count; i++) {
            bench_case *c = &cases[i];
            peaks[round] = kh_ctx_peak_gflops(ctx, 0.003);
            const double start = now();
            for (size_t n = 0; n < c->repeats; n++)
                c->run(ctx, &c->shape);
            const double seconds = (now() - start) / (double)c->repeats;
            c->rate[round] = c->flop > 0 ? c->flop / seconds * 1e-9 : seconds;
            c->share[round] = c->rate[round] / peaks[round];
        }
    printf("%s, %zu threads, peak %.0f GFLOP/s, medians of %zu interleaved rounds\n",
           kh_ctx_isa(ctx), kh_ctx_threads(ctx), median(peaks, rounds), rounds);
    for (size_t i = 0; i < case_count; i++) {
        const double rate = median(cases[i].rate, rounds);
        if (cases[i].flop > 0)
            printf("%-36s %9.3f ms %8.1f GFLOP/s %6.3f x peak\n", cases[i].name,
                   cases[i].flop / rate * 1e-6, rate, median(cases[i].share, rounds));
        else
            printf("%-36s %9.3f ms\n", cases[i].name, rate * 1e3);
    }
    kh_ctx_free(ctx);
    return 0;
}
