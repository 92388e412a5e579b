#include "vit/rows.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { CHUNK = 1 << 14 }; /* floats of one task */

typedef struct job {
    size_t images, rows, width, count, first, heads, head_dim, chunks;
    size_t from_stride, to_stride;
    const size_t *list;
    const float *a, *b, *q, *kv;
    float *out;
    float scale;
    const kh_attention_args *forward;
    const kh_attention_backward_args *backward;
    atomic_size_t bad;
} job;

static size_t tasks_for(size_t count, size_t each) {
    return (count + each - 1) / each;
}

static size_t rows_per_task(size_t width) {
    return width >= CHUNK ? 1 : CHUNK / (width ? width : 1);
}

/* ---- copies and sums ---------------------------------------------------------------------------
 */

static void copy_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const size_t each = rows_per_task(j->width);
    const size_t end = (task + 1) * each < j->rows ? (task + 1) * each : j->rows;
    for (size_t r = task * each; r < end; r++)
        memcpy(j->out + r * j->to_stride, j->a + r * j->from_stride, j->width * sizeof(float));
}

void kh_rows_copy(kh_ctx *ctx, size_t rows, size_t width, const float *from, size_t from_stride,
                  float *to, size_t to_stride) {
    job j = {.rows = rows,
             .width = width,
             .a = from,
             .out = to,
             .from_stride = from_stride,
             .to_stride = to_stride};
    kh_pool_run(kh_ctx_pool(ctx), tasks_for(rows, rows_per_task(width)), copy_task, &j);
}

static void add_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const size_t end = (task + 1) * CHUNK < j->count ? (task + 1) * CHUNK : j->count;
    for (size_t i = task * CHUNK; i < end; i++)
        j->out[i] = j->a[i] + j->b[i];
}

void kh_rows_add(kh_ctx *ctx, size_t count, const float *a, const float *b, float *out) {
    job j = {.count = count, .a = a, .b = b, .out = out};
    kh_pool_run(kh_ctx_pool(ctx), tasks_for(count, CHUNK), add_task, &j);
}

static void zero_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const size_t end = (task + 1) * CHUNK < j->count ? (task + 1) * CHUNK : j->count;
    memset(j->out + task * CHUNK, 0, (end - task * CHUNK) * sizeof(float));
}

void kh_rows_zero(kh_ctx *ctx, size_t count, float *out) {
    job j = {.count = count, .out = out};
    kh_pool_run(kh_ctx_pool(ctx), tasks_for(count, CHUNK), zero_task, &j);
}

static void gather_task(void *arg, size_t image, size_t worker) {
    (void)worker;
    const job *j = arg;
    const float *from = j->a + image * j->rows * j->width;
    float *to = j->out + image * j->count * j->width;
    for (size_t i = 0; i < j->count; i++)
        memcpy(to + i * j->width, from + j->list[i] * j->width, j->width * sizeof(float));
}

void kh_rows_gather(kh_ctx *ctx, size_t images, size_t from_rows, size_t width, size_t count,
                    const size_t *list, const float *from, float *to) {
    job j = {.rows = from_rows, .width = width, .count = count, .list = list, .a = from, .out = to};
    kh_pool_run(kh_ctx_pool(ctx), images, gather_task, &j);
}

static void scatter_task(void *arg, size_t image, size_t worker) {
    (void)worker;
    const job *j = arg;
    const float *from = j->a + image * j->count * j->width;
    float *to = j->out + image * j->rows * j->width;
    memset(to, 0, j->rows * j->width * sizeof(float));
    for (size_t i = 0; i < j->count; i++)
        memcpy(to + j->list[i] * j->width, from + i * j->width, j->width * sizeof(float));
}

void kh_rows_scatter(kh_ctx *ctx, size_t images, size_t to_rows, size_t width, size_t count,
                     const size_t *list, const float *from, float *to) {
    job j = {.rows = to_rows, .width = width, .count = count, .list = list, .a = from, .out = to};
    kh_pool_run(kh_ctx_pool(ctx), images, scatter_task, &j);
}

/* ---- means -------------------------------------------------------------------------------------
 */

enum { COLUMNS = 64 };

static void mean_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const size_t image = task / j->chunks, begin = task % j->chunks * COLUMNS;
    const size_t n = begin + COLUMNS < j->width ? COLUMNS : j->width - begin;
    const float *from = j->a + (image * j->rows + j->first) * j->width + begin;
    double sum[COLUMNS] = {0};
    for (size_t t = 0; t < j->count; t++)
        for (size_t c = 0; c < n; c++)
            sum[c] += (double)from[t * j->width + c];
    float *to = j->out + image * j->to_stride + begin;
    for (size_t c = 0; c < n; c++)
        to[c] = (float)(sum[c] / (double)j->count);
}

void kh_rows_mean(kh_ctx *ctx, size_t images, size_t rows, size_t first, size_t count, size_t width,
                  const float *from, float *to, size_t to_stride) {
    job j = {.rows = rows,
             .first = first,
             .count = count,
             .width = width,
             .chunks = tasks_for(width, COLUMNS),
             .a = from,
             .out = to,
             .to_stride = to_stride};
    kh_pool_run(kh_ctx_pool(ctx), images * j.chunks, mean_task, &j);
}

static void spread_task(void *arg, size_t image, size_t worker) {
    (void)worker;
    const job *j = arg;
    const float *from = j->a + image * j->from_stride;
    float *to = j->out + (image * j->rows + j->first) * j->width;
    const float share = 1.0f / (float)j->count;
    for (size_t t = 0; t < j->count; t++)
        for (size_t c = 0; c < j->width; c++)
            to[t * j->width + c] += from[c] * share;
}

void kh_rows_spread(kh_ctx *ctx, size_t images, size_t rows, size_t first, size_t count,
                    size_t width, const float *from, size_t from_stride, float *to) {
    job j = {.rows = rows,
             .first = first,
             .count = count,
             .width = width,
             .a = from,
             .from_stride = from_stride,
             .out = to};
    kh_pool_run(kh_ctx_pool(ctx), images, spread_task, &j);
}

/* ---- looking for NaN ---------------------------------------------------------------------------
 */

static void finite_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    job *j = arg;
    const size_t end = (task + 1) * CHUNK < j->count ? (task + 1) * CHUNK : j->count;
    for (size_t i = task * CHUNK; i < end; i++) {
        if (isfinite(j->a[i])) continue;
        size_t seen = atomic_load(&j->bad);
        while (i < seen && !atomic_compare_exchange_weak(&j->bad, &seen, i))
            continue;
        return;
    }
}

bool kh_rows_finite(kh_ctx *ctx, size_t count, const float *values, size_t *at) {
    job j = {.count = count, .a = values};
    atomic_init(&j.bad, SIZE_MAX);
    kh_pool_run(kh_ctx_pool(ctx), tasks_for(count, CHUNK), finite_task, &j);
    *at = atomic_load(&j.bad);
    return *at == SIZE_MAX;
}

/* ---- one-query attention -----------------------------------------------------------------------
 */

static double dot(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Softmax weights of one head computed on the fly: two passes over the keys for maximum and sum. */
static double softmax_of(const job *j, const float *q, const float *kv, size_t stride,
                         double *maximum) {
    *maximum = -(double)INFINITY;
    for (size_t t = 0; t < j->count; t++) {
        const double s = dot(q, kv + t * stride, j->head_dim) * (double)j->scale;
        if (!(s <= *maximum)) *maximum = s;
    }
    double total = 0;
    for (size_t t = 0; t < j->count; t++)
        total += exp(dot(q, kv + t * stride, j->head_dim) * (double)j->scale - *maximum);
    return total;
}

static void pool_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const size_t image = task / j->heads, head = task % j->heads, d = j->head_dim;
    const size_t stride = 2 * j->heads * d;
    const float *q = j->q + head * d, *k = j->kv + image * j->count * stride + head * d;
    const float *v = k + j->heads * d;
    float *o = j->out + image * j->heads * d + head * d;
    double maximum;
    const double total = softmax_of(j, q, k, stride, &maximum);
    for (size_t begin = 0; begin < d; begin += COLUMNS) {
        const size_t n = begin + COLUMNS < d ? COLUMNS : d - begin;
        double sum[COLUMNS] = {0};
        for (size_t t = 0; t < j->count; t++) {
            const double s = dot(q, k + t * stride, d) * (double)j->scale;
            const double a = exp(s - maximum) / total;
            for (size_t c = 0; c < n; c++)
                sum[c] += a * (double)v[t * stride + begin + c];
        }
        for (size_t c = 0; c < n; c++)
            o[begin + c] = (float)sum[c];
    }
}

void kh_rows_pool_attention(kh_ctx *ctx, size_t images, size_t count, size_t heads, size_t head_dim,
                            float scale, const float *q, const float *kv, float *o) {
    job j = {.count = count,
             .heads = heads,
             .head_dim = head_dim,
             .scale = scale,
             .q = q,
             .kv = kv,
             .out = o};
    kh_pool_run(kh_ctx_pool(ctx), images * heads, pool_task, &j);
}

/* dv[t] = a[t] do; da[t] = <do, v[t]>; ds = a (da - sum a da); dk[t] = scale ds[t] q */
static void pool_back_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const size_t image = task / j->heads, head = task % j->heads, d = j->head_dim;
    const size_t stride = 2 * j->heads * d, at = image * j->count * stride + head * d;
    const float *q = j->q + head * d, *k = j->kv + at, *v = k + j->heads * d;
    const float *d_o = j->a + image * j->heads * d + head * d;
    float *dk = j->out + at, *dv = dk + j->heads * d;
    double maximum;
    const double total = softmax_of(j, q, k, stride, &maximum);
    double mean = 0;
    for (size_t t = 0; t < j->count; t++) {
        const double s = dot(q, k + t * stride, d) * (double)j->scale;
        mean += exp(s - maximum) / total * dot(d_o, v + t * stride, d);
    }
    for (size_t t = 0; t < j->count; t++) {
        const double s = dot(q, k + t * stride, d) * (double)j->scale;
        const double a = exp(s - maximum) / total;
        const double ds = a * (dot(d_o, v + t * stride, d) - mean) * (double)j->scale;
        for (size_t c = 0; c < d; c++) {
            dv[t * stride + c] = (float)(a * (double)d_o[c]);
            dk[t * stride + c] = (float)(ds * (double)q[c]);
        }
    }
}

void kh_rows_pool_attention_backward(kh_ctx *ctx, size_t images, size_t count, size_t heads,
                                     size_t head_dim, float scale, const float *q, const float *kv,
                                     const float *d_o, float *dkv) {
    job j = {.count = count,
             .heads = heads,
             .head_dim = head_dim,
             .scale = scale,
             .q = q,
             .kv = kv,
             .a = d_o,
             .out = dkv};
    kh_pool_run(kh_ctx_pool(ctx), images * heads, pool_back_task, &j);
}

/* ---- edited attention patterns ------------------------------------------------------------------
 */

static void mix_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const kh_attention_args *s = j->forward;
    const size_t n = s->tokens, d = s->head_dim, width = s->heads * d;
    const size_t image = task / s->heads, head = task % s->heads;
    const float *v = s->qkv + image * n * 3 * width + 2 * width + head * d;
    for (size_t query = 0; query < n; query++) {
        const size_t row = (task * n + query) * n;
        if (memcmp(j->a + row, j->b + row, n * sizeof(float)) == 0) continue;
        float *z = j->out + (image * n + query) * width + head * d;
        for (size_t begin = 0; begin < d; begin += COLUMNS) {
            const size_t count = begin + COLUMNS < d ? COLUMNS : d - begin;
            double sum[COLUMNS] = {0};
            for (size_t key = 0; key < n; key++)
                for (size_t c = 0; c < count; c++)
                    sum[c] += (double)j->b[row + key] * (double)v[key * 3 * width + begin + c];
            for (size_t c = 0; c < count; c++)
                z[begin + c] = (float)sum[c];
        }
    }
}

void kh_rows_mix_changed(kh_ctx *ctx, const kh_attention_args *shape, const float *before,
                         const float *after, float *z) {
    job j = {.forward = shape, .a = before, .b = after, .out = z};
    kh_pool_run(kh_ctx_pool(ctx), shape->images * shape->heads, mix_task, &j);
}

static void mix_back_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const kh_attention_backward_args *s = j->backward;
    const size_t n = s->tokens, d = s->head_dim, width = s->heads * d;
    const size_t image = task / s->heads, head = task % s->heads;
    const size_t at = image * n * 3 * width + 2 * width + head * d;
    const float *v = s->qkv + at, *dz = s->dz + image * n * width + head * d;
    float *dv = s->dqkv + at;
    for (size_t query = 0; query < n; query++)
        for (size_t key = 0; key < n; key++)
            j->out[(task * n + query) * n + key] =
                (float)dot(dz + query * width, v + key * 3 * width, d);
    for (size_t key = 0; key < n; key++)
        for (size_t c = 0; c < d; c++) {
            double sum = 0;
            for (size_t query = 0; query < n; query++)
                sum += (double)j->a[(task * n + query) * n + key] * (double)dz[query * width + c];
            dv[key * 3 * width + c] = (float)sum;
        }
}

void kh_rows_mix_backward(kh_ctx *ctx, const kh_attention_backward_args *shape, const float *after,
                          float *d_after) {
    job j = {.backward = shape, .a = after, .out = d_after};
    kh_pool_run(kh_ctx_pool(ctx), shape->images * shape->heads, mix_back_task, &j);
}

/* ds = p (dp - sum p dp); dq = scale ds k; dk = scale dsT q */
static void scores_back_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const job *j = arg;
    const kh_attention_backward_args *s = j->backward;
    const size_t n = s->tokens, d = s->head_dim, stride = 3 * s->heads * d;
    const size_t at = task / s->heads * n * stride + task % s->heads * d;
    const float *q = s->qkv + at, *k = q + s->heads * d;
    float *dq = s->dqkv + at, *dk = dq + s->heads * d;
    for (size_t key = 0; key < n; key++)
        for (size_t c = 0; c < d; c++)
            dq[key * stride + c] = dk[key * stride + c] = 0.0f;
    for (size_t query = 0; query < n; query++) {
        const float *p = j->a + (task * n + query) * n, *dp = j->b + (task * n + query) * n;
        const double mean = dot(p, dp, n);
        for (size_t key = 0; key < n; key++) {
            const double ds = (double)p[key] * ((double)dp[key] - mean) * (double)s->scale;
            for (size_t c = 0; c < d; c++) {
                dq[query * stride + c] += (float)(ds * (double)k[key * stride + c]);
                dk[key * stride + c] += (float)(ds * (double)q[query * stride + c]);
            }
        }
    }
}

void kh_rows_scores_backward(kh_ctx *ctx, const kh_attention_backward_args *shape,
                             const float *pattern, const float *d_pattern) {
    job j = {.backward = shape, .a = pattern, .b = d_pattern};
    kh_pool_run(kh_ctx_pool(ctx), shape->images * shape->heads, scores_back_task, &j);
}
