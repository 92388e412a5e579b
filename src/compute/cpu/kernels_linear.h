/* compute/cpu/kernels_linear.h (template): linear layers and the MLP on a chunk of rows. */
#include "compute/cpu/isa.h"

#include <string.h>

/* ---- packing rows into a slab ---- */

static void pack_row(float *slab, size_t slab_rows, size_t r, const float *x, size_t count) {
    for (size_t k0 = 0; k0 < count; k0 += KH_KC)
        memcpy(slab_at(slab, slab_rows, r, k0), x + k0, least(KH_KC, count - k0) * sizeof *x);
}

static void pack_normed_row(float *slab, size_t slab_rows, size_t r, const float *x,
                            const kh_norm *norm) {
    const moments m = moments_of_row(norm, x);
    const vf mean = v_set1(m.mean), inverse = v_set1(1.0f / m.deviation);
    for (size_t k0 = 0; k0 < norm->dim; k0 += KH_KC) {
        float *to = slab_at(slab, slab_rows, r, k0);
        const size_t end = least(norm->dim, k0 + KH_KC);
        for (size_t i = k0; i < end; i += VL) {
            const vf v = v_load_fill(x + i, end - i, 0.0f);
            v_store(to + (i - k0), normed(norm, v, mean, inverse, i, end - i));
        }
    }
}

static void pack_scaled_row(float *slab, size_t slab_rows, size_t r, const float *x,
                            const float *gamma, size_t count) {
    for (size_t k0 = 0; k0 < count; k0 += KH_KC) {
        float *to = slab_at(slab, slab_rows, r, k0);
        const size_t end = least(count, k0 + KH_KC);
        for (size_t i = k0; i < end; i += VL)
            v_store(to + (i - k0), v_mul(v_load_fill(x + i, end - i, 0.0f),
                                         v_load_fill(gamma + i, end - i, 0.0f)));
    }
}

static void unpack_row(const float *slab, size_t slab_rows, size_t r, float *x, size_t count) {
    for (size_t k0 = 0; k0 < count; k0 += KH_KC)
        memcpy(x + k0, slab + (k0 / KH_KC * slab_rows + r) * KH_LDA,
               least(KH_KC, count - k0) * sizeof *x);
}

/* ---- what happens to a finished tile ---- */

typedef struct finish {
    const float *bias; /* [columns], or NULL */
    kh_activation act;
    float *pre; /* rows pre_stride apart, or NULL */
    size_t pre_stride;
    const float *gamma;    /* [columns], or NULL */
    const float *residual; /* rows y_stride apart, or NULL; added before `slope` */
    kh_activation slope;   /* multiply by the slope of this activation at slope_at */
    const float *slope_at; /* rows slope_stride apart */
    size_t slope_stride;
    float *y; /* rows y_stride apart */
    size_t y_stride;
    kh_branch branch; /* rows as wide as the output: branch_width */
    size_t branch_width;
} finish;

/* Column range of the matrix that a panel adds to an output of columns [first, first + count). */
static kh_range panel_columns(size_t panel, size_t first, size_t count) {
    kh_range columns = {panel * NR, panel * NR + NR};
    if (columns.begin < first) columns.begin = first;
    if (columns.end > first + count) columns.end = first + count;
    return columns;
}

/* The part of an output that one panel finishes: `from` is the first column of the panel that is
 * wanted, `o` the output column it becomes, n columns in all; slab row 0 is output row row0. */
typedef struct panel_end {
    const finish *f;
    size_t row0, from, o, n;
} panel_end;

/* One vector of output row r, column o. */
VEC void finish_vector(const finish *f, const kh_activation act, const kh_activation slope, vf u,
                       vf bias, vf gamma, float *branch, size_t r, size_t o, size_t left) {
    const size_t at = r * f->y_stride + o;
    if (f->bias) u = v_add(u, bias);
    if (f->pre) v_store_n(f->pre + r * f->pre_stride + o, u, left);
    u = v_act(act, u);
    if (f->gamma) u = v_mul(u, gamma);
    if (branch) v_store_n(branch + o, u, left);
    if (f->residual) u = v_add(v_load_fill(f->residual + at, left, 0.0f), u);
    if (slope)
        u = v_mul(u,
                  v_slope(slope, v_load_fill(f->slope_at + r * f->slope_stride + o, left, 0.0f)));
    v_store_n(f->y + at, u, left);
}

/* A panel that is wanted in full width, act and slope constants: no decisions inside the loop but
 * those on pointers that stay in registers. */
VEC void finish_full(const panel_end *end, kh_range rows, const float *c, const kh_activation act,
                     const kh_activation slope) {
    const finish f = *end->f;
    vf bias[NV], gamma[NV];
    UNROLL for (size_t v = 0; v < NV; v++) {
        bias[v] = f.bias ? v_load(f.bias + end->o + v * VL) : v_zero();
        gamma[v] = f.gamma ? v_load(f.gamma + end->o + v * VL) : v_zero();
    }
    for (size_t r = rows.begin; r < rows.end; r++) {
        float *branch = kh_branch_row(&f.branch, end->row0 + r, f.branch_width);
        UNROLL for (size_t v = 0; v < NV; v++)
            finish_vector(&f, act, slope, v_load(c + (r - rows.begin) * KH_LDA + v * VL), bias[v],
                          gamma[v], branch, end->row0 + r, end->o + v * VL, VL);
    }
}

/* Part of a panel: the edge of a matrix or of a range of outputs. */
static void finish_part(const panel_end *end, kh_range rows, const float *c) {
    const finish *f = end->f;
    for (size_t r = rows.begin; r < rows.end; r++)
        for (size_t i = 0; i < end->n; i += VL) {
            const size_t left = end->n - i, o = end->o + i;
            const vf bias = f->bias ? v_load_fill(f->bias + o, left, 0.0f) : v_zero();
            const vf gamma = f->gamma ? v_load_fill(f->gamma + o, left, 0.0f) : v_zero();
            const vf u = v_load_fill(c + (r - rows.begin) * KH_LDA + end->from + i, left, 0.0f);
            finish_vector(f, f->act, f->slope, u, bias, gamma,
                          kh_branch_row(&f->branch, end->row0 + r, f->branch_width), end->row0 + r,
                          o, left);
        }
}

/* Rows [begin, end) of the chunk from their accumulators: c is that of row begin, KH_LDA apart. */
static void finish_rows(const panel_end *end, kh_range rows, const float *c) {
    if (end->n != NR) {
        finish_part(end, rows, c);
        return;
    }
    switch (end->f->slope) {
    case KH_ACT_NONE:
        break;
    case KH_ACT_GELU:
        finish_full(end, rows, c, KH_ACT_NONE, KH_ACT_GELU);
        return;
    case KH_ACT_GELU_TANH:
        finish_full(end, rows, c, KH_ACT_NONE, KH_ACT_GELU_TANH);
        return;
    case KH_ACT_QUICK_GELU:
        finish_full(end, rows, c, KH_ACT_NONE, KH_ACT_QUICK_GELU);
        return;
    case KH_ACT_SILU:
        finish_full(end, rows, c, KH_ACT_NONE, KH_ACT_SILU);
        return;
    }
    switch (end->f->act) {
    case KH_ACT_NONE:
        finish_full(end, rows, c, KH_ACT_NONE, KH_ACT_NONE);
        return;
    case KH_ACT_GELU:
        finish_full(end, rows, c, KH_ACT_GELU, KH_ACT_NONE);
        return;
    case KH_ACT_GELU_TANH:
        finish_full(end, rows, c, KH_ACT_GELU_TANH, KH_ACT_NONE);
        return;
    case KH_ACT_QUICK_GELU:
        finish_full(end, rows, c, KH_ACT_QUICK_GELU, KH_ACT_NONE);
        return;
    case KH_ACT_SILU:
        finish_full(end, rows, c, KH_ACT_SILU, KH_ACT_NONE);
        return;
    }
}

/* Asks for the lines that finishing the tile will touch, while it is multiplied: rows lie far
 * apart, and the processor does not see them coming. */
static void expect_rows(const panel_end *end, kh_range rows) {
    const finish *f = end->f;
    for (size_t r = end->row0 + rows.begin; r < end->row0 + rows.end; r++)
        for (size_t i = end->o; i < end->o + end->n; i += 16) {
            v_prefetch_write(f->y + r * f->y_stride + i);
            if (f->residual) v_prefetch_near(f->residual + r * f->y_stride + i);
            if (f->slope) v_prefetch_near(f->slope_at + r * f->slope_stride + i);
            if (f->pre) v_prefetch_write(f->pre + r * f->pre_stride + i);
            if (f->branch.to && f->branch.every == 1)
                v_prefetch_write(f->branch.to + r * f->branch_width + i);
        }
}

/* One block of k for all tiles of a chunk: c [rows][KH_LDA] (+)= slab block times b. The panel
 * block that comes next is fetched meanwhile, each tile its share. With the last block of k comes
 * `end`: each tile is finished while it is hot, and its stores drain behind the next tile's
 * arithmetic. */
static void multiply_block(size_t rows, size_t nv, size_t kc, const float *slab, const float *b,
                           const float *next, float *c, bool first, const panel_end *end) {
    const size_t tiles = kh_ceil_div(rows, MR);
    const size_t share = kc / 4 * 16; /* floats one tile fetches */
    const size_t step = tiles > 1 && kc * NR > share ? (kc * NR - share) / (tiles - 1) : 0;
    const size_t hop = step < share ? step : share;
    for (size_t t = 0; t < tiles; t++) {
        const kh_range range = kh_part(rows, t, tiles);
        /* accumulators nobody comes back to share one place in the first-level cache */
        float *sums = first && end ? c : c + range.begin * KH_LDA;
        if (end) expect_rows(end, range);
        row_tiles[range.end - range.begin][nv](kc, slab + range.begin * KH_LDA, b, sums, first,
                                               next + t * hop);
        if (end) finish_rows(end, range, sums);
    }
}

/* Rows of a slab times panels [panels.begin, panels.end) of B, of which each panel is `depth` rows
 * deep and k0 is the first one used; finishes columns [first, first + count). Row r of the slab is
 * row row0 + r of the outputs. c: scratch, [rows][KH_LDA]. */
static void multiply_panels(const finish *f, size_t row0, size_t rows, const float *slab, size_t k,
                            const float *b, size_t depth, size_t k0, kh_range panels, size_t first,
                            size_t count, float *c) {
    for (size_t panel = panels.begin; panel < panels.end; panel++) {
        const kh_range columns = panel_columns(panel, first, count);
        if (columns.begin >= columns.end) continue;
        const panel_end end = {f, row0, columns.begin - panel * NR, columns.begin - first,
                               columns.end - columns.begin};
        const float *rows_of_b = b + (panel * depth + k0) * NR;
        for (size_t kk = 0; kk < k; kk += KH_KC) {
            const size_t kc = least(KH_KC, k - kk);
            const bool last_block = kk + kc == k, last_panel = panel + 1 == panels.end;
            const float *here = rows_of_b + kk * NR;
            const float *next = !last_block  ? here + kc * NR
                                : last_panel ? here
                                             : rows_of_b + depth * NR;
            multiply_block(rows, vectors(columns.end - panel * NR), kc,
                           slab + kk / KH_KC * rows * KH_LDA, here, next, c, kk == 0,
                           last_block ? &end : NULL);
        }
    }
}

/* ---- the ops ---- */

static void linear(const kh_linear_args *args, kh_range rows, kh_range panels, bool keep_norm,
                   float *scratch) {
    const kh_weight *w = args->w;
    const size_t outs = args->outs ? args->outs : w->outs - args->first_out;
    const size_t count = rows.end - rows.begin;
    float *c = scratch, *slab = c + count * KH_LDA;
    for (size_t r = 0; r < count; r++) {
        const float *x = args->x + (rows.begin + r) * args->x_stride;
        if (args->norm)
            pack_normed_row(slab, count, r, x, args->norm);
        else
            pack_row(slab, count, r, x, w->ins);
        if (args->norm_out && keep_norm)
            unpack_row(slab, count, r, args->norm_out + (rows.begin + r) * w->ins, w->ins);
    }
    const finish f = {.bias = w->bias + args->first_out,
                      .act = args->act,
                      .pre = args->pre,
                      .pre_stride = outs,
                      .gamma = args->gamma,
                      .residual = args->residual,
                      .y = args->y,
                      .y_stride = args->y_stride,
                      .branch = args->branch,
                      .branch_width = outs};
    multiply_panels(&f, rows.begin, count, slab, w->ins, w->forward, w->ins, 0, panels,
                    args->first_out, outs, c);
}

static void linear_backward(const kh_linear_backward_args *args, kh_range rows, kh_range panels,
                            float *scratch) {
    const kh_weight *w = args->w;
    const size_t outs = args->outs ? args->outs : w->outs - args->first_out;
    const size_t count = rows.end - rows.begin;
    float *c = scratch, *slab = c + count * KH_LDA;
    for (size_t r = 0; r < count; r++) {
        const float *dy = args->dy + (rows.begin + r) * args->dy_stride;
        if (args->gamma)
            pack_scaled_row(slab, count, r, dy, args->gamma, outs);
        else
            pack_row(slab, count, r, dy, outs);
    }
    const finish f = {.residual = args->add,
                      .slope = args->act,
                      .slope_at = args->pre,
                      .slope_stride = w->ins,
                      .y = args->dx,
                      .y_stride = w->ins};
    multiply_panels(&f, rows.begin, count, slab, outs, w->backward, w->outs, args->first_out,
                    panels, 0, w->ins, c);
}

/* Columns [n0, n0 + count) of fc1's output into one slab block: act(...), and pre if wanted. */
static void hidden_columns(const kh_mlp_args *args, size_t row0, size_t rows, const float *slab,
                           size_t n0, size_t count, kh_activation act, float *block, float *c) {
    const kh_weight *w = args->fc1;
    /* finish_rows counts output rows from row0, the slab block from 0 */
    float *post = args->gated || !args->post ? NULL : args->post + row0 * w->outs + n0;
    const finish f = {.bias = w->bias + n0,
                      .act = act,
                      .branch = {post, 0, post ? 1 : 0},
                      .branch_width = w->outs,
                      .pre = args->pre ? args->pre + row0 * w->outs + n0 : NULL,
                      .pre_stride = w->outs,
                      .y = block,
                      .y_stride = KH_LDA};
    const kh_range panels = {n0 / NR, kh_ceil_div(n0 + count, NR)};
    multiply_panels(&f, 0, rows, slab, w->ins, w->forward, w->ins, 0, panels, n0, count, c);
}

/* Hidden units are made KH_KC at a time: one slab block, exactly one block of fc2's k. */
static void mlp(const kh_mlp_args *args, kh_range range, float *scratch) {
    const kh_weight *fc1 = args->fc1, *fc2 = args->fc2;
    const size_t dim = fc1->ins, neurons = fc2->ins, rows = range.end - range.begin;
    const size_t out_panels = kh_ceil_div(dim, NR);
    float *c = scratch;                             /* one slab block */
    float *hidden = c + rows * KH_LDA;              /* one slab block */
    float *values = hidden + rows * KH_LDA;         /* one slab block, only if gated */
    float *slab = values + rows * KH_LDA;           /* x, dim columns */
    float *sums = slab + kh_slab_floats(rows, dim); /* of fc2, dim columns */
    for (size_t r = 0; r < rows; r++) {
        const float *x = args->x + (range.begin + r) * dim;
        if (args->norm)
            pack_normed_row(slab, rows, r, x, args->norm);
        else
            pack_row(slab, rows, r, x, dim);
        if (args->norm_out)
            unpack_row(slab, rows, r, args->norm_out + (range.begin + r) * dim, dim);
    }
    const finish f = {.bias = fc2->bias,
                      .gamma = args->gamma,
                      .residual = args->residual,
                      .y = args->y,
                      .y_stride = dim,
                      .branch = args->branch,
                      .branch_width = dim};
    for (size_t n0 = 0; n0 < neurons; n0 += KH_KC) {
        const size_t count = least(KH_KC, neurons - n0);
        const float *after = fc1->forward + (n0 + count) / NR * dim * NR; /* what fc1 needs next */
        hidden_columns(args, range.begin, rows, slab, n0, count, args->act, hidden, c);
        if (args->gated) {
            hidden_columns(args, range.begin, rows, slab, neurons + n0, count, KH_ACT_NONE, values,
                           c);
            for (size_t r = 0; r < rows; r++)
                for (size_t i = 0; i < count; i += VL) {
                    float *h = hidden + r * KH_LDA + i;
                    v_store(h, v_mul(v_load(h), v_load(values + r * KH_LDA + i)));
                }
        }
        for (size_t r = 0; args->gated && args->post && r < rows; r++)
            memcpy(args->post + (range.begin + r) * neurons + n0, hidden + r * KH_LDA,
                   count * sizeof(float));
        for (size_t panel = 0; panel < out_panels; panel++) {
            const float *b = fc2->forward + (panel * neurons + n0) * NR;
            const float *next = panel + 1 < out_panels ? b + neurons * NR : after;
            const panel_end end = {&f, range.begin, 0, panel * NR, least(NR, dim - panel * NR)};
            multiply_block(rows, vectors(dim - panel * NR), count, hidden, b, next,
                           slab_at(sums, rows, 0, panel * NR), n0 == 0,
                           n0 + count == neurons ? &end : NULL);
        }
    }
}

/* The same way back: gradients of the hidden units are made KH_KC at a time and go through fc1 at
 * once. */
static void mlp_backward(const kh_mlp_backward_args *args, kh_range range, float *scratch) {
    const kh_weight *fc1 = args->fc1, *fc2 = args->fc2;
    const size_t dim = fc1->ins, neurons = fc1->outs, rows = range.end - range.begin;
    const size_t out_panels = kh_ceil_div(dim, NR);
    float *c = scratch;                             /* one slab block */
    float *hidden = c + rows * KH_LDA;              /* one slab block */
    float *slab = hidden + rows * KH_LDA;           /* dy, dim columns */
    float *sums = slab + kh_slab_floats(rows, dim); /* of fc1, dim columns */
    for (size_t r = 0; r < rows; r++) {
        const float *dy = args->dy + (range.begin + r) * dim;
        if (args->gamma)
            pack_scaled_row(slab, rows, r, dy, args->gamma, dim);
        else
            pack_row(slab, rows, r, dy, dim);
    }
    const finish f = {.residual = args->add, .y = args->dx, .y_stride = dim};
    for (size_t n0 = 0; n0 < neurons; n0 += KH_KC) {
        const size_t count = least(KH_KC, neurons - n0);
        const finish into = {.slope = args->act,
                             .slope_at = args->pre + range.begin * neurons + n0,
                             .slope_stride = neurons,
                             .y = hidden,
                             .y_stride = KH_LDA};
        const kh_range panels = {n0 / NR, kh_ceil_div(n0 + count, NR)};
        multiply_panels(&into, 0, rows, slab, dim, fc2->backward, dim, 0, panels, n0, count, c);
        const float *after = fc2->backward + (n0 + count) / NR * dim * NR; /* what fc2 needs next */
        for (size_t panel = 0; panel < out_panels; panel++) {
            const float *b = fc1->backward + (panel * neurons + n0) * NR;
            const float *next = panel + 1 < out_panels ? b + neurons * NR : after;
            const panel_end end = {&f, range.begin, 0, panel * NR, least(NR, dim - panel * NR)};
            multiply_block(rows, vectors(dim - panel * NR), count, hidden, b, next,
                           slab_at(sums, rows, 0, panel * NR), n0 == 0,
                           n0 + count == neurons ? &end : NULL);
        }
    }
}
