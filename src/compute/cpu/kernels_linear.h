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
    for (size_t i = 0; i < norm->dim; i += VL) {
        const size_t n = norm->dim - i;
        const vf v = normed(norm, v_load_fill(x + i, n, 0.0f), mean, inverse, i, n);
        v_store_n(slab_at(slab, slab_rows, r, i), v, n);
    }
}

static void pack_scaled_row(float *slab, size_t slab_rows, size_t r, const float *x,
                            const float *gamma, size_t count) {
    for (size_t i = 0; i < count; i += VL) {
        const size_t n = count - i;
        const vf v = v_mul(v_load_fill(x + i, n, 0.0f), v_load_fill(gamma + i, n, 0.0f));
        v_store_n(slab_at(slab, slab_rows, r, i), v, n);
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
    const float *slope_at; /* rows y_stride apart */
    float *y;              /* rows y_stride apart */
    size_t y_stride;
} finish;

/* Column range of the matrix that a panel adds to an output of columns [first, first + count). */
static kh_range panel_columns(size_t panel, size_t first, size_t count) {
    kh_range columns = {panel * NR, panel * NR + NR};
    if (columns.begin < first) columns.begin = first;
    if (columns.end > first + count) columns.end = first + count;
    return columns;
}

/* Tile rows r0.. of the output from accumulators c [rows][NR]; `from` is the first column of the
 * panel that is wanted, `o` the output column it becomes, n columns in all. */
static void finish_rows(const finish *f, size_t r0, size_t rows, const float *c, size_t from,
                        size_t o, size_t n) {
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < n; i += VL) {
            const size_t left = n - i, at = (r0 + r) * f->y_stride + o + i;
            vf u = v_load_fill(c + r * NR + from + i, left, 0.0f);
            if (f->bias) u = v_add(u, v_load_fill(f->bias + o + i, left, 0.0f));
            if (f->pre) v_store_n(f->pre + (r0 + r) * f->pre_stride + o + i, u, left);
            u = v_act(f->act, u);
            if (f->gamma) u = v_mul(u, v_load_fill(f->gamma + o + i, left, 0.0f));
            if (f->residual) u = v_add(v_load_fill(f->residual + at, left, 0.0f), u);
            if (f->slope)
                u = v_mul(u, v_slope(f->slope, v_load_fill(f->slope_at + at, left, 0.0f)));
            v_store_n(f->y + at, u, left);
        }
}

/* Rows of a slab times panels [panels.begin, panels.end) of B, of which each panel is `depth` rows
 * deep and k0 is the first one used; finishes columns [first, first + count). Row r of the slab is
 * row row0 + r of the outputs. c: [rows][NR] scratch. */
static void multiply_panels(const finish *f, size_t row0, size_t rows, const float *slab, size_t k,
                            const float *b, size_t depth, size_t k0, kh_range panels, size_t first,
                            size_t count, float *c) {
    for (size_t panel = panels.begin; panel < panels.end; panel++) {
        const kh_range columns = panel_columns(panel, first, count);
        if (columns.begin >= columns.end) continue;
        const size_t from = columns.begin - panel * NR;
        const float *rows_of_b = b + (panel * depth + k0) * NR;
        for (size_t kk = 0; kk < k; kk += KH_KC) {
            const size_t kc = least(KH_KC, k - kk);
            const bool last_block = kk + kc == k, last_panel = panel + 1 == panels.end;
            const float *here = rows_of_b + kk * NR;
            const float *next = !last_block  ? here + kc * NR
                                : last_panel ? here
                                             : rows_of_b + depth * NR;
            multiply_block(rows, vectors(columns.end - panel * NR), kc,
                           slab + kk / KH_KC * rows * KH_LDA, here, next, c, kk == 0);
        }
        finish_rows(f, row0, rows, c, from, columns.begin - first, columns.end - columns.begin);
    }
}

/* ---- the ops ---- */

static void linear(const kh_linear_args *args, kh_range rows, kh_range panels, bool keep_norm,
                   float *scratch) {
    const kh_weight *w = args->w;
    const size_t outs = args->outs ? args->outs : w->outs - args->first_out;
    const size_t count = rows.end - rows.begin;
    float *c = scratch, *slab = c + KH_CHUNK * KH_NR_MAX;
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
                      .y_stride = args->y_stride};
    multiply_panels(&f, rows.begin, count, slab, w->ins, w->forward, w->ins, 0, panels,
                    args->first_out, outs, c);
}

static void linear_backward(const kh_linear_backward_args *args, kh_range rows, kh_range panels,
                            float *scratch) {
    const kh_weight *w = args->w;
    const size_t outs = args->outs ? args->outs : w->outs - args->first_out;
    const size_t count = rows.end - rows.begin;
    float *c = scratch, *slab = c + KH_CHUNK * KH_NR_MAX;
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
    const finish f = {.bias = w->bias + n0,
                      .act = act,
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
    float *c = scratch;                            /* [rows][NR] */
    float *sums = c + KH_CHUNK * KH_NR_MAX;        /* fc2: [out_panels][rows][NR] */
    float *hidden = sums + out_panels * rows * NR; /* one slab block */
    float *values = hidden + rows * KH_LDA;        /* gated: another */
    float *slab = values + rows * KH_LDA;
    for (size_t r = 0; r < rows; r++) {
        const float *x = args->x + (range.begin + r) * dim;
        if (args->norm)
            pack_normed_row(slab, rows, r, x, args->norm);
        else
            pack_row(slab, rows, r, x, dim);
        if (args->norm_out)
            unpack_row(slab, rows, r, args->norm_out + (range.begin + r) * dim, dim);
    }
    for (size_t n0 = 0; n0 < neurons; n0 += KH_KC) {
        const size_t count = least(KH_KC, neurons - n0);
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
        for (size_t r = 0; args->post && r < rows; r++)
            memcpy(args->post + (range.begin + r) * neurons + n0, hidden + r * KH_LDA,
                   count * sizeof(float));
        for (size_t panel = 0; panel < out_panels; panel++) {
            const float *b = fc2->forward + (panel * neurons + n0) * NR;
            const float *next = panel + 1 < out_panels ? b + neurons * NR : b;
            multiply_block(rows, vectors(dim - panel * NR), count, hidden, b, next,
                           sums + panel * rows * NR, n0 == 0);
        }
    }
    const finish f = {.bias = fc2->bias,
                      .gamma = args->gamma,
                      .residual = args->residual,
                      .y = args->y,
                      .y_stride = dim};
    for (size_t panel = 0; panel < out_panels; panel++)
        finish_rows(&f, range.begin, rows, sums + panel * rows * NR, 0, panel * NR,
                    least(NR, dim - panel * NR));
}
