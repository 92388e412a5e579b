/* Non-negative matrix factorisation by hierarchical alternating least squares.
 *
 * With P = X H and G = H^T H fixed, every row of W has its own small problem, solved one component
 * at a time:  w_k <- max(0, (p_k - sum over l != k of w_l G_lk) / G_kk). Then the same for H. */
#include "keyhole/bases.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"
#include "compute/backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS_AT_ONCE = 512, ROWS_PER_TASK = 64 };

kh_nmf_options kh_nmf_options_default(void) {
    return (kh_nmf_options){.rank = 20, .iterations = 200, .tolerance = 1e-5};
}

void kh_nmf_clear(kh_nmf *nmf) {
    if (!nmf) return;
    kh_free(nmf->rows_of);
    kh_free(nmf->columns_of);
    *nmf = (kh_nmf){0};
}

typedef struct work {
    kh_ctx *ctx;
    const kh_backend *backend;
    size_t rows, columns, rank;
    const float *x;
    float *turned;   /* [columns, rows] x transposed */
    float *w, *h;    /* [rows, rank], [columns, rank] */
    float *factor;   /* [rank, longer side] one of them transposed */
    float *product;  /* [longer side, rank] */
    double *gram;    /* [rank, rank] */
    float *in, *out; /* backend */
    double least;    /* instead of zero, so that no base dies for good */
    double square;   /* sum of x^2 */
} work;

static void transpose(const float *from, size_t rows, size_t columns, float *to) {
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
}

/* product [count, rank] <- from [count, length] factor^T, factor [rank, length] = of^T */
static kh_status multiply(work *n, const float *from, size_t count, size_t length, const float *of,
                          kh_error *err) {
    transpose(of, length, n->rank, n->factor);
    kh_weight *packed = n->backend->pack(n->ctx, n->factor, NULL, n->rank, length, false);
    if (!packed) return kh_fail(err, KH_E_MEMORY, "no memory for a factorisation");
    for (size_t first = 0; first < count; first += ROWS_AT_ONCE) {
        const size_t rows = count - first < ROWS_AT_ONCE ? count - first : ROWS_AT_ONCE;
        n->backend->upload(n->ctx, n->in, from + first * length, rows * length);
        n->backend->linear(n->ctx, &(kh_linear_args){.rows = rows,
                                                     .x = n->in,
                                                     .x_stride = length,
                                                     .w = packed,
                                                     .y = n->out,
                                                     .y_stride = n->rank});
        n->backend->download(n->ctx, n->product + first * n->rank, n->out, rows * n->rank);
    }
    n->backend->weight_free(n->ctx, packed);
    return KH_OK;
}

/* gram <- f^T f of f [count, rank], in float64 and one order. */
static void square_of(work *n, const float *f, size_t count) {
    memset(n->gram, 0, n->rank * n->rank * sizeof *n->gram);
    for (size_t i = 0; i < count; i++)
        for (size_t a = 0; a < n->rank; a++) {
            const double v = (double)f[i * n->rank + a];
            if (v > 0)
                for (size_t b = 0; b < n->rank; b++)
                    n->gram[a * n->rank + b] += v * (double)f[i * n->rank + b];
        }
}

typedef struct update_job {
    const work *n;
    float *f; /* [count, rank] */
    size_t count;
} update_job;

static void update_task(void *arg, size_t task, size_t worker) {
    (void)worker;
    const update_job *job = arg;
    const size_t rank = job->n->rank;
    const double *gram = job->n->gram;
    for (size_t i = task * ROWS_PER_TASK; i < job->count && i < (task + 1) * ROWS_PER_TASK; i++) {
        float *f = job->f + i * rank;
        const float *p = job->n->product + i * rank;
        for (size_t k = 0; k < rank; k++) {
            double sum = (double)p[k];
            for (size_t l = 0; l < rank; l++)
                sum -= (double)f[l] * gram[l * rank + k];
            const double own = gram[k * rank + k];
            if (own > 0) f[k] = (float)fmax(job->n->least, (double)f[k] + sum / own);
        }
    }
}

static void update(work *n, float *f, size_t count) {
    update_job job = {n, f, count};
    kh_pool_run(kh_ctx_pool(n->ctx), (count + ROWS_PER_TASK - 1) / ROWS_PER_TASK, update_task,
                &job);
}

/* |x - w h^T|^2 = |x|^2 - 2 <x h, w> + <h^T h, w^T w>; product is x h, gram h^T h. */
static double squared_error(const work *n, double *gram_w) {
    double cross = 0, square = 0;
    memset(gram_w, 0, n->rank * n->rank * sizeof *gram_w);
    for (size_t r = 0; r < n->rows; r++)
        for (size_t a = 0; a < n->rank; a++) {
            const double v = (double)n->w[r * n->rank + a];
            cross += v * (double)n->product[r * n->rank + a];
            for (size_t b = 0; b < n->rank; b++)
                gram_w[a * n->rank + b] += v * (double)n->w[r * n->rank + b];
        }
    for (size_t i = 0; i < n->rank * n->rank; i++)
        square += n->gram[i] * gram_w[i];
    return fmax(0, n->square - 2 * cross + square);
}

/* ---- beginning and end --------------------------------------------------------------------- */

static kh_status check(const float *values, size_t rows, size_t columns, size_t rank,
                       double *square, kh_error *err) {
    if (rank == 0 || rank > rows || rank > columns)
        return kh_fail(err, KH_E_ARG, "rank %zu of a matrix of %zu x %zu", rank, rows, columns);
    *square = 0;
    for (size_t i = 0; i < rows * columns; i++) {
        const double v = (double)values[i];
        if (!(v >= 0) || isinf(v))
            return kh_fail(err, KH_E_NUMERIC, "value %zu of a matrix to factorise is %g", i, v);
        *square += v * v;
    }
    if (!(*square > 0)) return kh_fail(err, KH_E_NUMERIC, "a matrix to factorise is all zeros");
    return KH_OK;
}

static bool take_memory(work *n) {
    size_t cells, factor;
    const size_t longer = n->rows > n->columns ? n->rows : n->columns;
    if (!kh_mul(n->rows, n->columns, &cells) || !kh_mul(longer, n->rank, &factor)) return false;
    n->turned = kh_alloc_floats(cells);
    n->w = kh_alloc_floats(n->rows * n->rank);
    n->h = kh_alloc_floats(n->columns * n->rank);
    n->factor = kh_alloc_floats(factor);
    n->product = kh_alloc_floats(factor);
    n->gram = kh_calloc(2 * n->rank * n->rank, sizeof *n->gram);
    n->in = n->backend->alloc(n->ctx, ROWS_AT_ONCE * longer);
    n->out = n->backend->alloc(n->ctx, ROWS_AT_ONCE * n->rank);
    return n->turned && n->w && n->h && n->factor && n->product && n->gram && n->in && n->out;
}

static void give_back(work *n) {
    if (n->out) n->backend->release(n->ctx, n->out);
    if (n->in) n->backend->release(n->ctx, n->in);
    kh_free(n->gram);
    kh_free(n->product);
    kh_free(n->factor);
    kh_free(n->h);
    kh_free(n->w);
    kh_free(n->turned);
}

static double dot(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * (double)b[i];
    return sum;
}

/* Every base begins as a column of x, drawn in proportion to what the nearest base so far leaves of
 * it (as k-means++ draws its means), so that they begin apart. left [columns]: scratch. */
static void guess(work *n, uint64_t seed, double *left) {
    kh_rng rng = kh_rng_make(seed, 0);
    n->least = 1e-6 * sqrt(n->square / ((double)n->rows * (double)n->columns));
    for (size_t c = 0; c < n->columns; c++)
        left[c] = dot(n->turned + c * n->rows, n->turned + c * n->rows, n->rows);
    for (size_t k = 0; k < n->rank; k++) {
        double all = 0, at;
        size_t chosen = 0;
        for (size_t c = 0; c < n->columns; c++)
            all += left[c];
        at = all * kh_rng_unit(&rng);
        for (size_t c = 0; c < n->columns; c++) {
            if (left[c] > 0) chosen = c;
            at -= left[c];
            if (at < 0) break;
        }
        const float *base = n->turned + chosen * n->rows;
        const double square = dot(base, base, n->rows);
        for (size_t r = 0; r < n->rows; r++)
            n->w[r * n->rank + k] = (float)fmax(n->least, (double)base[r]);
        for (size_t c = 0; c < n->columns; c++) {
            const float *column = n->turned + c * n->rows;
            const double both = dot(column, base, n->rows);
            const double rest = dot(column, column, n->rows) - both * both / square;
            left[c] = c == chosen ? 0 : fmin(left[c], fmax(0, rest));
        }
    }
    for (size_t i = 0; i < n->columns * n->rank; i++)
        n->h[i] = (float)n->least;
}

static kh_status iterate(work *n, const kh_nmf_options *o, kh_nmf *out, kh_error *err) {
    double before = 1;
    for (out->iterations = 0; out->iterations < o->iterations;) {
        if (o->progress &&
            !o->progress(o->progress_user, "iterations", out->iterations, o->iterations))
            return kh_fail(err, KH_E_STOPPED, "the factorisation was stopped");
        KH_TRY(multiply(n, n->turned, n->columns, n->rows, n->w, err));
        square_of(n, n->w, n->rows);
        update(n, n->h, n->columns);
        KH_TRY(multiply(n, n->x, n->rows, n->columns, n->h, err));
        square_of(n, n->h, n->columns);
        update(n, n->w, n->rows);
        out->iterations++;
        out->error = sqrt(squared_error(n, n->gram + n->rank * n->rank) / n->square);
        if (before - out->error < o->tolerance) break;
        before = out->error;
    }
    if (o->progress)
        (void)o->progress(o->progress_user, "iterations", o->iterations, o->iterations);
    return KH_OK;
}

typedef struct placed {
    double length;
    size_t base;
} placed;

static int compare_placed(const void *left, const void *right) {
    const placed *a = left, *b = right;
    if (a->length > b->length || a->length < b->length) return a->length > b->length ? -1 : 1;
    return (a->base > b->base) - (a->base < b->base);
}

static void clear_least(float *f, size_t count, double least) {
    for (size_t i = 0; i < count; i++)
        if (!((double)f[i] > 2 * least)) f[i] = 0;
}

static double length_of(const float *f, size_t count, size_t rank, size_t k) {
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)f[i * rank + k] * (double)f[i * rank + k];
    return sqrt(sum);
}

static kh_status finish(work *n, kh_nmf *out, kh_error *err) {
    const size_t rank = n->rank;
    clear_least(n->w, n->rows * rank, n->least);
    clear_least(n->h, n->columns * rank, n->least);
    placed *order = kh_calloc(rank, sizeof *order);
    double *norm = kh_calloc(rank, sizeof *norm);
    out->rows_of = kh_alloc_floats(n->rows * rank);
    out->columns_of = kh_alloc_floats(n->columns * rank);
    if (!order || !norm || !out->rows_of || !out->columns_of) {
        kh_free(order);
        kh_free(norm);
        return kh_fail(err, KH_E_MEMORY, "no memory for the bases");
    }
    for (size_t k = 0; k < rank; k++) {
        norm[k] = length_of(n->w, n->rows, rank, k);
        order[k] = (placed){norm[k] * length_of(n->h, n->columns, rank, k), k};
    }
    qsort(order, rank, sizeof *order, compare_placed);
    for (size_t k = 0; k < rank; k++) {
        const size_t from = order[k].base;
        const double w = norm[from] > 0 ? 1 / norm[from] : 0;
        for (size_t r = 0; r < n->rows; r++)
            out->rows_of[r * rank + k] = (float)(w * (double)n->w[r * rank + from]);
        for (size_t c = 0; c < n->columns; c++)
            out->columns_of[c * rank + k] = (float)(norm[from] * (double)n->h[c * rank + from]);
    }
    kh_free(order);
    kh_free(norm);
    return KH_OK;
}

kh_status kh_lens_nmf(kh_ctx *ctx, const float *values, size_t rows, size_t columns,
                      const kh_nmf_options *options, kh_nmf *out, kh_error *err) {
    work n = {.ctx = ctx,
              .backend = kh_ctx_backend(ctx),
              .rows = rows,
              .columns = columns,
              .rank = options->rank,
              .x = values};
    *out = (kh_nmf){.rows = rows, .columns = columns, .rank = options->rank};
    KH_TRY(check(values, rows, columns, n.rank, &n.square, err));
    double *left = kh_calloc(columns, sizeof *left);
    kh_status status = KH_OK;
    if (!left || !take_memory(&n))
        status = kh_fail(err, KH_E_MEMORY, "no memory to factorise %zu x %zu", rows, columns);
    if (!status) {
        transpose(values, rows, columns, n.turned);
        guess(&n, options->seed, left);
        status = iterate(&n, options, out, err);
    }
    if (!status) status = finish(&n, out, err);
    give_back(&n);
    kh_free(left);
    if (status) kh_nmf_clear(out);
    return status;
}
