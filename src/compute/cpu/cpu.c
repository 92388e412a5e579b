#define _GNU_SOURCE
#include "compute/cpu/cpu.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "compute/reference/reference.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* best first */
static const kh_cpu_isa *const isas[] = {
#if defined(__x86_64__) || defined(__i386__)
    &kh_isa_avx512,
    &kh_isa_avx2,
#elif defined(__aarch64__)
    &kh_isa_neon,
#endif
    &kh_isa_plain,
};

const kh_cpu_isa *kh_cpu_find_isa(const char *name) {
    for (size_t i = 0; i < sizeof isas / sizeof isas[0]; i++)
        if (isas[i]->supported() && (!name || strcmp(name, isas[i]->name) == 0)) return isas[i];
    return NULL;
}

/* ---- memory ---- */

static float *cpu_alloc(kh_ctx *ctx, size_t count) {
    (void)ctx;
    float *memory = kh_alloc_floats_large(count);
    if (memory) memset(memory, 0, count * sizeof *memory);
    return memory;
}

static void cpu_release(kh_ctx *ctx, float *memory) {
    (void)ctx;
    kh_free(memory);
}

static void cpu_upload(kh_ctx *ctx, float *to, const float *host, size_t count) {
    (void)ctx;
    if (count) memcpy(to, host, count * sizeof *to);
}

static void cpu_download(kh_ctx *ctx, float *host, const float *from, size_t count) {
    (void)ctx;
    if (count) memcpy(host, from, count * sizeof *host);
}

/* ---- products ---- */

/* How a product is cut up. Neither number changes a bit of the result; they only decide who does
 * what. Rows are cut into chunks that fit the second-level cache, their number a multiple of the
 * threads so that all finish together; a handful of rows is cut by columns instead, so that every
 * thread streams only its part of the weights. */
typedef struct split {
    size_t chunks, groups;
} split;

static split split_rows(const kh_ctx *ctx, size_t rows, size_t panels) {
    const size_t threads = kh_pool_threads(ctx->pool), low = 2 * ctx->isa->mr;
    size_t chunks = kh_ceil_div(kh_ceil_div(rows, KH_CHUNK), threads) * threads;
    if (chunks > kh_ceil_div(rows, low)) chunks = kh_ceil_div(rows, low);
    size_t groups = chunks < threads ? kh_ceil_div(threads, chunks) : 1;
    if (groups > panels) groups = panels;
    return (split){chunks, groups};
}

typedef struct linear_job {
    kh_ctx *ctx;
    const kh_linear_args *args;
    split cut;
    size_t first_panel, panels;
} linear_job;

static void linear_task(void *arg, size_t task, size_t worker) {
    const linear_job *job = arg;
    const size_t group = task % job->cut.groups;
    const kh_range rows = kh_part(job->args->rows, task / job->cut.groups, job->cut.chunks);
    kh_range panels = kh_part(job->panels, group, job->cut.groups);
    panels.begin += job->first_panel;
    panels.end += job->first_panel;
    job->ctx->isa->linear(job->args, rows, panels, group == 0, kh_ctx_scratch(job->ctx, worker));
}

static void cpu_linear(kh_ctx *ctx, const kh_linear_args *args) {
    if (args->rows == 0) return;
    const size_t nr = ctx->isa->nr;
    const size_t outs = args->outs ? args->outs : args->w->outs - args->first_out;
    assert(args->first_out + outs <= args->w->outs);
    const size_t first = args->first_out / nr;
    const size_t panels = kh_ceil_div(args->first_out + outs, nr) - first;
    linear_job job = {ctx, args, split_rows(ctx, args->rows, panels), first, panels};
    kh_pool_run(ctx->pool, job.cut.chunks * job.cut.groups, linear_task, &job);
}

typedef struct linear_backward_job {
    kh_ctx *ctx;
    const kh_linear_backward_args *args;
    split cut;
    size_t panels;
} linear_backward_job;

static void linear_backward_task(void *arg, size_t task, size_t worker) {
    const linear_backward_job *job = arg;
    const kh_range rows = kh_part(job->args->rows, task / job->cut.groups, job->cut.chunks);
    const kh_range panels = kh_part(job->panels, task % job->cut.groups, job->cut.groups);
    job->ctx->isa->linear_backward(job->args, rows, panels, kh_ctx_scratch(job->ctx, worker));
}

static void cpu_linear_backward(kh_ctx *ctx, const kh_linear_backward_args *args) {
    assert(args->w->backward);
    if (args->rows == 0) return;
    const size_t panels = kh_ceil_div(args->w->ins, ctx->isa->nr);
    linear_backward_job job = {ctx, args, split_rows(ctx, args->rows, panels), panels};
    kh_pool_run(ctx->pool, job.cut.chunks * job.cut.groups, linear_backward_task, &job);
}

typedef struct mlp_job {
    kh_ctx *ctx;
    const kh_mlp_args *args;
    size_t chunks;
} mlp_job;

static void mlp_task(void *arg, size_t task, size_t worker) {
    const mlp_job *job = arg;
    job->ctx->isa->mlp(job->args, kh_part(job->args->rows, task, job->chunks),
                       kh_ctx_scratch(job->ctx, worker));
}

static void cpu_mlp(kh_ctx *ctx, const kh_mlp_args *args) {
    if (args->rows == 0) return;
    mlp_job job = {ctx, args, split_rows(ctx, args->rows, 1).chunks};
    kh_pool_run(ctx->pool, job.chunks, mlp_task, &job);
}

typedef struct mlp_backward_job {
    kh_ctx *ctx;
    const kh_mlp_backward_args *args;
    size_t chunks;
} mlp_backward_job;

static void mlp_backward_task(void *arg, size_t task, size_t worker) {
    const mlp_backward_job *job = arg;
    job->ctx->isa->mlp_backward(job->args, kh_part(job->args->rows, task, job->chunks),
                                kh_ctx_scratch(job->ctx, worker));
}

static void cpu_mlp_backward(kh_ctx *ctx, const kh_mlp_backward_args *args) {
    assert(args->fc1->backward && args->fc2->backward);
    if (args->rows == 0) return;
    mlp_backward_job job = {ctx, args, split_rows(ctx, args->rows, 1).chunks};
    kh_pool_run(ctx->pool, job.chunks, mlp_backward_task, &job);
}

/* ---- attention ---- */

/* Floats per worker for both directions; false on overflow. */
static bool attention_floats(size_t tokens, size_t head_dim, size_t *out) {
    const size_t limit = SIZE_MAX / 1024 / sizeof(float);
    size_t area;
    if (tokens >= limit || head_dim >= limit) return false;
    const size_t wide = kh_ceil_div(tokens, KH_NR_MAX) * KH_NR_MAX;
    const size_t deep = kh_ceil_div(head_dim, KH_NR_MAX) * KH_NR_MAX;
    if (!kh_mul(wide, deep, &area) || area >= limit) return false;
    *out = 5 * area + 2 * KH_GROUP * deep + KH_MR_MAX * KH_LDA +
           kh_slab_floats(KH_MR_MAX, head_dim) + 2 * kh_slab_floats(KH_GROUP, tokens);
    return true;
}

static bool cpu_reserve_attention(kh_ctx *ctx, size_t tokens, size_t head_dim) {
    size_t floats;
    return attention_floats(tokens, head_dim, &floats) && kh_ctx_reserve(ctx, floats);
}

bool kh_cpu_reserve_default(kh_ctx *ctx) {
    return cpu_reserve_attention(ctx, 1024, 128);
}

static void fill_nan(float *out, size_t count) {
    for (size_t i = 0; i < count; i++)
        out[i] = NAN;
}

typedef struct attention_job {
    kh_ctx *ctx;
    const kh_attention_args *args;
    size_t parts;
} attention_job;

static void attention_task(void *arg, size_t task, size_t worker) {
    const attention_job *job = arg;
    const size_t part = task % job->parts, head = task / job->parts % job->args->heads;
    const size_t image = task / job->parts / job->args->heads;
    job->ctx->isa->attention(job->args, image, head, part, job->parts,
                             kh_ctx_scratch(job->ctx, worker));
}

static void cpu_attention(kh_ctx *ctx, const kh_attention_args *args) {
    if (!cpu_reserve_attention(ctx, args->tokens, args->head_dim)) {
        fill_nan(args->z, args->images * args->tokens * args->heads * args->head_dim);
        return;
    }
    const size_t heads = args->images * args->heads, threads = kh_pool_threads(ctx->pool);
    const size_t tiles = kh_ceil_div(args->queries ? args->queries : args->tokens, ctx->isa->mr);
    /* A few heads that do not divide among the threads are cut by queries. */
    size_t parts = heads % threads == 0 || heads >= 8 * threads ? 1 : threads;
    if (parts > tiles) parts = tiles;
    attention_job job = {ctx, args, parts};
    kh_pool_run(ctx->pool, heads * parts, attention_task, &job);
}

typedef struct attention_backward_job {
    kh_ctx *ctx;
    const kh_attention_backward_args *args;
} attention_backward_job;

static void attention_backward_task(void *arg, size_t task, size_t worker) {
    const attention_backward_job *job = arg;
    const size_t heads = job->args->heads;
    job->ctx->isa->attention_backward(job->args, task / heads, task % heads,
                                      kh_ctx_scratch(job->ctx, worker));
}

static void cpu_attention_backward(kh_ctx *ctx, const kh_attention_backward_args *args) {
    if (!cpu_reserve_attention(ctx, args->tokens, args->head_dim)) {
        fill_nan(args->dqkv, args->images * args->tokens * 3 * args->heads * args->head_dim);
        return;
    }
    attention_backward_job job = {ctx, args};
    kh_pool_run(ctx->pool, args->images * args->heads, attention_backward_task, &job);
}

/* ---- rows and elements ---- */

enum { ROWS_PER_TASK = 16, ELEMENTS_PER_TASK = 16384 };

static kh_range task_range(size_t task, size_t per_task, size_t total) {
    const size_t begin = task * per_task;
    return (kh_range){begin, total - begin < per_task ? total : begin + per_task};
}

typedef struct norm_job {
    kh_ctx *ctx;
    const kh_norm *norm;
    size_t rows, x_stride, y_stride;
    const float *x, *dy, *residual;
    float *y, *scale;
} norm_job;

static void layernorm_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const norm_job *job = arg;
    job->ctx->isa->layernorm(job->norm, task_range(task, ROWS_PER_TASK, job->rows), job->x,
                             job->x_stride, job->residual, job->y, job->y_stride, job->scale);
}

static void cpu_layernorm(kh_ctx *ctx, const kh_norm *norm, size_t rows, const float *x,
                          size_t x_stride, const float *residual, float *y, size_t y_stride,
                          float *scale) {
    norm_job job = {.ctx = ctx,
                    .norm = norm,
                    .rows = rows,
                    .x = x,
                    .x_stride = x_stride,
                    .residual = residual,
                    .y = y,
                    .y_stride = y_stride,
                    .scale = scale};
    kh_pool_run(ctx->pool, kh_ceil_div(rows, ROWS_PER_TASK), layernorm_task, &job);
}

static void layernorm_backward_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const norm_job *job = arg;
    job->ctx->isa->layernorm_backward(job->norm, task_range(task, ROWS_PER_TASK, job->rows), job->x,
                                      job->dy, job->residual, job->y);
}

static void cpu_layernorm_backward(kh_ctx *ctx, const kh_norm *norm, size_t rows, const float *x,
                                   const float *dy, const float *add, float *dx) {
    norm_job job = {
        .ctx = ctx, .norm = norm, .rows = rows, .x = x, .dy = dy, .residual = add, .y = dx};
    kh_pool_run(ctx->pool, kh_ceil_div(rows, ROWS_PER_TASK), layernorm_backward_task, &job);
}

typedef struct act_job {
    kh_ctx *ctx;
    kh_activation act;
    size_t count, neurons;
    const float *x, *dy;
    float *y;
} act_job;

static void activate_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const act_job *job = arg;
    const kh_range range = task_range(task, ELEMENTS_PER_TASK, job->count);
    job->ctx->isa->activate(job->act, range.end - range.begin, job->x + range.begin,
                            job->y + range.begin);
}

static void cpu_activate(kh_ctx *ctx, kh_activation act, size_t count, const float *x, float *y) {
    act_job job = {.ctx = ctx, .act = act, .count = count, .x = x, .y = y};
    kh_pool_run(ctx->pool, kh_ceil_div(count, ELEMENTS_PER_TASK), activate_task, &job);
}

static void activate_backward_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const act_job *job = arg;
    const kh_range range = task_range(task, ELEMENTS_PER_TASK, job->count);
    job->ctx->isa->activate_backward(job->act, range.end - range.begin, job->x + range.begin,
                                     job->dy + range.begin, job->y + range.begin);
}

static void cpu_activate_backward(kh_ctx *ctx, kh_activation act, size_t count, const float *x,
                                  const float *dy, float *dx) {
    act_job job = {.ctx = ctx, .act = act, .count = count, .x = x, .dy = dy, .y = dx};
    kh_pool_run(ctx->pool, kh_ceil_div(count, ELEMENTS_PER_TASK), activate_backward_task, &job);
}

static void gate_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const act_job *job = arg;
    const kh_range rows = task_range(task, ROWS_PER_TASK, job->count);
    for (size_t r = rows.begin; r < rows.end; r++)
        job->ctx->isa->gate(job->act, job->neurons, job->x + r * 2 * job->neurons,
                            job->y + r * job->neurons);
}

static void cpu_gate(kh_ctx *ctx, kh_activation act, size_t rows, size_t neurons, const float *pre,
                     float *post) {
    act_job job = {.ctx = ctx, .act = act, .count = rows, .neurons = neurons, .x = pre, .y = post};
    kh_pool_run(ctx->pool, kh_ceil_div(rows, ROWS_PER_TASK), gate_task, &job);
}

static void gate_backward_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const act_job *job = arg;
    const kh_range rows = task_range(task, ROWS_PER_TASK, job->count);
    for (size_t r = rows.begin; r < rows.end; r++)
        job->ctx->isa->gate_backward(job->act, job->neurons, job->x + r * 2 * job->neurons,
                                     job->dy + r * job->neurons, job->y + r * 2 * job->neurons);
}

static void cpu_gate_backward(kh_ctx *ctx, kh_activation act, size_t rows, size_t neurons,
                              const float *pre, const float *dpost, float *dpre) {
    act_job job = {.ctx = ctx,
                   .act = act,
                   .count = rows,
                   .neurons = neurons,
                   .x = pre,
                   .dy = dpost,
                   .y = dpre};
    kh_pool_run(ctx->pool, kh_ceil_div(rows, ROWS_PER_TASK), gate_backward_task, &job);
}

typedef struct patch_job {
    kh_ctx *ctx;
    size_t height, width, patch, patch_floats, image_floats;
    const float *from;
    float *to;
} patch_job;

/* Copies, so the plain loops are as good as any; one image a task. */
static void patchify_task(void *arg, size_t image, size_t worker) {
    (void)worker;
    const patch_job *job = arg;
    kh_reference_patchify(job->ctx, 1, job->height, job->width, job->patch,
                          job->from + image * job->image_floats,
                          job->to + image * job->patch_floats);
}

static void unpatchify_task(void *arg, size_t image, size_t worker) {
    (void)worker;
    const patch_job *job = arg;
    kh_reference_unpatchify(job->ctx, 1, job->height, job->width, job->patch,
                            job->from + image * job->patch_floats,
                            job->to + image * job->image_floats);
}

static patch_job make_patch_job(kh_ctx *ctx, size_t height, size_t width, size_t patch) {
    const size_t floats = height / patch * (width / patch) * 3 * patch * patch;
    return (patch_job){.ctx = ctx,
                       .height = height,
                       .width = width,
                       .patch = patch,
                       .patch_floats = floats,
                       .image_floats = 3 * height * width};
}

static void cpu_patchify(kh_ctx *ctx, size_t images, size_t height, size_t width, size_t patch,
                         const float *pixels, float *patches) {
    patch_job job = make_patch_job(ctx, height, width, patch);
    job.from = pixels;
    job.to = patches;
    kh_pool_run(ctx->pool, images, patchify_task, &job);
}

static void cpu_unpatchify(kh_ctx *ctx, size_t images, size_t height, size_t width, size_t patch,
                           const float *patches, float *pixels) {
    patch_job job = make_patch_job(ctx, height, width, patch);
    job.from = patches;
    job.to = pixels;
    kh_pool_run(ctx->pool, images, unpatchify_task, &job);
}

/* ---- the peak ---- */

typedef struct peak_job {
    const kh_cpu_isa *isa;
    size_t rounds;
} peak_job;

static void peak_task(void *arg, size_t task, size_t worker) {
    (void)task;
    (void)worker;
    const peak_job *job = arg;
    float kept;
    (void)job->isa->spin(job->rounds, &kept);
    volatile float sink = kept;
    (void)sink;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_rate(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of rounds of about a millisecond: what the machine sustains, measured as work is (the
 * fastest round would be a moment of turbo that no work can hold). */
double kh_cpu_peak_gflops(kh_ctx *ctx, double seconds) {
    enum { MOST_ROUNDS = 4096 };
    const size_t threads = kh_pool_threads(ctx->pool);
    const kh_cpu_isa *isa = ctx->isa ? ctx->isa : &kh_isa_plain; /* the reference has none */
    float unused;
    const double flop = isa->spin(1, &unused);
    peak_job job = {isa, 600000};
    double rates[MOST_ROUNDS];
    size_t count = 0;
    const double end = now() + seconds;
    do {
        const double start = now();
        kh_pool_run(ctx->pool, threads, peak_task, &job);
        rates[count++] = flop * (double)(job.rounds * threads) / (now() - start) * 1e-9;
    } while (now() < end && count < MOST_ROUNDS);
    qsort(rates, count, sizeof *rates, by_rate);
    return rates[count / 2];
}

const kh_backend kh_cpu_backend = {
    .name = "cpu",
    .alloc = cpu_alloc,
    .release = cpu_release,
    .upload = cpu_upload,
    .download = cpu_download,
    .pack = kh_cpu_pack,
    .pack_backward = kh_cpu_pack_backward,
    .weight_free = kh_cpu_weight_free,
    .unpack = kh_cpu_unpack,
    .unpack_bias = kh_cpu_unpack_bias,
    .weight_bytes = kh_cpu_weight_bytes,
    .linear = cpu_linear,
    .linear_backward = cpu_linear_backward,
    .mlp = cpu_mlp,
    .mlp_backward = cpu_mlp_backward,
    .reserve_attention = cpu_reserve_attention,
    .attention = cpu_attention,
    .attention_backward = cpu_attention_backward,
    .layernorm = cpu_layernorm,
    .layernorm_backward = cpu_layernorm_backward,
    .activate = cpu_activate,
    .activate_backward = cpu_activate_backward,
    .gate = cpu_gate,
    .gate_backward = cpu_gate_backward,
    .patchify = cpu_patchify,
    .unpatchify = cpu_unpatchify,
};
