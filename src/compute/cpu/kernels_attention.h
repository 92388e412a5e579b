/* compute/cpu/kernels_attention.h (template): one head at a time, everything in the caches.
 *
 * Keys are transposed once per head into panels, so that a tile of queries times all keys is an
 * ordinary product; the scores of a tile become its probabilities in place (a slab of MR rows), and
 * the product with the values, packed likewise, follows at once. */
#include "compute/cpu/isa.h"

#include <math.h>

/* Rows of q, k and v are far apart, a few lines each, often last written by another core: the
 * processor does not see them coming, so we say which rows [begin, end) are next. */
VEC void expect_source(const float *from, size_t stride, size_t begin, size_t end, size_t count,
                       size_t width) {
    for (size_t j = begin; j < least(end, count); j++)
        for (size_t d = 0; d < width; d += 16)
            v_prefetch_near(from + j * stride + d);
}

/* The same for rows that will be written. */
VEC void expect_target(const float *to, size_t stride, size_t begin, size_t end, size_t count,
                       size_t width) {
    for (size_t j = begin; j < least(end, count); j++)
        for (size_t d = 0; d < width; d += 16)
            v_prefetch_write(to + j * stride + d);
}

enum { ROWS_AHEAD = 16, TOGETHER = 4 };

/* Source rows [count][width], `stride` apart, into panels of their transpose: k = width, n = count.
 */
static void pack_transposed(const float *from, size_t stride, size_t count, size_t width,
                            float *panels) {
    for (size_t j = 0; j < kh_ceil_div(count, NR) * NR; j += VL) {
        float *to = panels + j / NR * width * NR + j % NR;
        expect_source(from, stride, j + VL, j + 2 * VL, count, width);
        for (size_t d = 0; d < width; d += VL) {
            vf block[VL];
            for (size_t i = 0; i < VL; i++)
                block[i] = j + i < count ? v_load_fill(from + (j + i) * stride + d, width - d, 0.0f)
                                         : v_zero();
            v_transpose(block);
            for (size_t i = 0; i < least(VL, width - d); i++)
                v_store(to + (d + i) * NR, block[i]);
        }
    }
}

/* Source rows [count][width] into panels as they are: k = count, n = width. `deep` rows a panel. */
static void pack_straight(const float *from, size_t stride, size_t count, size_t width,
                          float *panels, size_t deep) {
    for (size_t j = 0; j < count; j++) {
        expect_source(from, stride, j + ROWS_AHEAD, j + ROWS_AHEAD + 1, count, width);
        for (size_t d = 0; d < width; d += VL)
            v_store(panels + d / NR * deep * NR + d % NR + j * NR,
                    v_load_fill(from + j * stride + d, width - d, 0.0f));
    }
}

static void pack_queries(const float *q, size_t stride, size_t rows, size_t hd, float scale,
                         float *slab) {
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < hd; d += VL) {
            const vf v = v_mul(v_load_fill(q + r * stride + d, hd - d, 0.0f), v_set1(scale));
            v_store_n(slab_at(slab, MR, r, d), v, hd - d);
        }
}

/* Tile rows r0.. of `out` (a slab of out_rows rows, k = count) = slab [rows][k] * transposed panels
 */
static void multiply_wide(size_t rows, size_t k, float *slab, const float *panels, size_t count,
                          float *out, size_t out_rows, size_t r0) {
    for (size_t j = 0; j < count; j += NR)
        multiply_tile(rows, vectors(count - j), k, slab, MR, 0, panels + j * k,
                      slab_at(out, out_rows, r0, j));
}

/* exp(s - max) in place over columns 0..count-1 of `together` slab rows from r on, and the sums of
 * each row. One exponential is a chain of some sixty cycles; several rows at a time fill it. */
VEC void exponentials_of(const size_t together, float *slab, size_t rows, size_t r, size_t count,
                         float *sums) {
    vf top[TOGETHER], sum[TOGETHER];
    UNROLL for (size_t i = 0; i < together; i++) top[i] = v_set1(-INFINITY);
    for (size_t k0 = 0; k0 < count; k0 += KH_KC) {
        const float *at = slab_at(slab, rows, r, k0);
        const size_t n = least(KH_KC, count - k0);
        for (size_t j = 0; j < n; j += VL) {
            UNROLL for (size_t i = 0; i < together; i++) top[i] =
                v_max(v_load_fill(at + i * KH_LDA + j, n - j, -INFINITY), top[i]);
        }
    }
    UNROLL for (size_t i = 0; i < together; i++) {
        top[i] = v_set1(v_fold_max(top[i]));
        sum[i] = v_zero();
    }
    for (size_t k0 = 0; k0 < count; k0 += KH_KC) {
        float *at = slab_at(slab, rows, r, k0);
        const size_t n = least(KH_KC, count - k0);
        for (size_t j = 0; j < n; j += VL) {
            UNROLL for (size_t i = 0; i < together; i++) {
                float *to = at + i * KH_LDA + j;
                const vf e = v_exp_falling(v_sub(v_load_fill(to, n - j, -INFINITY), top[i]));
                v_store(to, e); /* a slab block has room for whole vectors */
                sum[i] = v_add(sum[i], e);
            }
        }
    }
    UNROLL for (size_t i = 0; i < together; i++) sums[i] = v_fold_add(sum[i]);
}

/* The same for rows [r, r + height) of a slab of `rows` rows. */
static void exponentials(float *slab, size_t rows, size_t r, size_t height, size_t count,
                         float *sums) {
    size_t i = 0;
    for (; i + TOGETHER <= height; i += TOGETHER)
        exponentials_of(TOGETHER, slab, rows, r + i, count, sums + i);
    for (; i < height; i++)
        exponentials_of(1, slab, rows, r + i, count, sums + i);
}

static void copy_scaled(float *slab, size_t rows, size_t r, float scale, float *to, size_t count) {
    for (size_t j = 0; j < count; j += VL)
        v_store_n(to + j, v_mul(v_load(slab_at(slab, rows, r, j)), v_set1(scale)), count - j);
}

static void attention(const kh_attention_args *args, size_t image, size_t head, size_t part,
                      size_t parts, float *scratch) {
    const size_t tokens = args->tokens, hd = args->head_dim, dim = args->heads * hd;
    const size_t stride = 3 * dim;
    const float *q = args->qkv + image * tokens * stride + head * hd;
    const size_t key_panels = kh_ceil_div(tokens, NR), value_panels = kh_ceil_div(hd, NR);
    float *c = scratch;                                   /* [MR][KH_LDA] */
    float *keys = c + MR * KH_LDA;                        /* [key_panels][hd][NR] */
    float *values = keys + key_panels * hd * NR;          /* [value_panels][tokens][NR] */
    float *queries = values + value_panels * tokens * NR; /* slab of MR rows */
    float *scores = queries + kh_slab_floats(MR, hd);     /* slab of MR rows */
    expect_source(q + dim, stride, 0, VL, tokens, hd);
    pack_transposed(q + dim, stride, tokens, hd, keys);
    expect_source(q + 2 * dim, stride, 0, ROWS_AHEAD, tokens, hd);
    pack_straight(q + 2 * dim, stride, tokens, hd, values, tokens);
    const kh_range asked = kh_queries(args->first_query, args->queries, tokens);
    const size_t tiles = kh_ceil_div(asked.end - asked.begin, MR);
    const kh_range mine = kh_part(tiles, part, parts);
    for (size_t t = mine.begin; t < mine.end; t++) {
        kh_range range = kh_part(asked.end - asked.begin, t, tiles);
        const size_t rows = range.end - range.begin;
        range.begin += asked.begin;
        range.end += asked.begin;
        expect_source(q, stride, range.end, range.end + MR, tokens, hd);
        const size_t at = ((image * args->heads + head) * tokens + range.begin) * tokens;
        float inverse[MR];
        pack_queries(q + range.begin * stride, stride, rows, hd, args->scale, queries);
        multiply_wide(rows, hd, queries, keys, tokens, scores, MR, 0);
        for (size_t r = 0; args->scores && r < rows; r++)
            copy_scaled(scores, MR, r, 1.0f, args->scores + at + r * tokens, tokens);
        exponentials(scores, MR, 0, rows, tokens, inverse);
        for (size_t r = 0; r < rows; r++)
            inverse[r] = 1.0f / inverse[r];
        for (size_t r = 0; args->pattern && r < rows; r++)
            copy_scaled(scores, MR, r, inverse[r], args->pattern + at + r * tokens, tokens);
        for (size_t d = 0; d < hd; d += NR) {
            multiply_tile(rows, vectors(hd - d), tokens, scores, MR, 0, values + d * tokens, c);
            for (size_t r = 0; r < rows; r++) {
                float *z = args->z + (image * tokens + range.begin + r) * dim + head * hd + d;
                const vf scale = v_set1(inverse[r]);
                for (size_t i = 0; i < least(NR, hd - d); i += VL)
                    v_store_n(z + i, v_mul(v_load(c + r * KH_LDA + i), scale), hd - d - i);
            }
        }
    }
}

/* sums [tokens][NR] per panel (+)= transpose of slab columns, times rows packed straight. Slab rows
 * are the `count` queries of a group (slab of KH_GROUP rows). */
static void multiply_transposed(size_t tokens, size_t hd, size_t count, const float *slab,
                                const float *panels, float *sums, bool first) {
    for (size_t d = 0; d < hd; d += NR) {
        const float *b = panels + d * KH_GROUP;
        for (size_t j0 = 0; j0 < tokens; j0 += KH_KC) {
            const size_t width = least(KH_KC, tokens - j0), tiles = kh_ceil_div(width, MR);
            const float *block = slab + j0 / KH_KC * KH_GROUP * KH_LDA;
            for (size_t t = 0; t < tiles; t++) {
                const kh_range range = kh_part(width, t, tiles);
                col_tiles[range.end - range.begin][vectors(hd - d)](
                    count, block + range.begin, b, sums + (d * tokens + (j0 + range.begin) * NR),
                    first, b);
            }
        }
    }
}

static void write_sums(const float *sums, size_t tokens, size_t hd, float *to, size_t stride) {
    expect_target(to, stride, 0, ROWS_AHEAD, tokens, hd);
    for (size_t j = 0; j < tokens; j++) {
        expect_target(to, stride, j + ROWS_AHEAD, j + ROWS_AHEAD + 1, tokens, hd);
        for (size_t d = 0; d < hd; d += VL)
            v_store_n(to + j * stride + d, v_load(sums + d / NR * tokens * NR + j * NR + d % NR),
                      hd - d);
    }
}

/* Probabilities of `rows` queries again, in rows r0.. of the group slab, normalised. */
static void probabilities(size_t rows, size_t tokens, float *slab, size_t r0) {
    float sums[MR];
    exponentials(slab, KH_GROUP, r0, rows, tokens, sums);
    for (size_t r = 0; r < rows; r++) {
        const vf inverse = v_set1(1.0f / sums[r]);
        for (size_t j = 0; j < tokens; j += VL) {
            float *at = slab_at(slab, KH_GROUP, r0 + r, j);
            v_store(at, v_mul(v_load(at), inverse));
        }
    }
}

/* dS = A * (dA - rowsum(dA * A)) * scale, in place of dA. Columns beyond tokens have A = 0. */
static void score_gradients(size_t rows, size_t tokens, float scale, float *a_slab, float *ds_slab,
                            size_t r0) {
    for (size_t r = r0; r < r0 + rows; r++) {
        vf sum = v_zero();
        for (size_t j = 0; j < tokens; j += VL)
            sum = v_fma(v_load_fill(slab_at(ds_slab, KH_GROUP, r, j), tokens - j, 0.0f),
                        v_load(slab_at(a_slab, KH_GROUP, r, j)), sum);
        const vf together = v_set1(v_fold_add(sum));
        for (size_t j = 0; j < tokens; j += VL) {
            float *at = slab_at(ds_slab, KH_GROUP, r, j);
            const vf a = v_mul(v_load(slab_at(a_slab, KH_GROUP, r, j)), v_set1(scale));
            v_store(at, v_mul(a, v_sub(v_load(at), together)));
        }
    }
}

static void attention_backward(const kh_attention_backward_args *args, size_t image, size_t head,
                               float *scratch) {
    const size_t tokens = args->tokens, hd = args->head_dim, dim = args->heads * hd;
    const size_t stride = 3 * dim;
    const float *q = args->qkv + image * tokens * stride + head * hd, *k = q + dim, *v = k + dim;
    const float *dz = args->dz + image * tokens * dim + head * hd;
    float *dq = args->dqkv + image * tokens * stride + head * hd;
    const size_t wide = kh_ceil_div(tokens, NR) * hd * NR, deep = kh_ceil_div(hd, NR) * NR;
    float *c = scratch;               /* [MR][NR] */
    float *keys_t = c + MR * KH_LDA;  /* transposed panels */
    float *values_t = keys_t + wide;  /* transposed panels */
    float *keys = values_t + wide;    /* straight panels */
    float *dk = keys + tokens * deep; /* [hd panels][tokens][NR] */
    float *dv = dk + tokens * deep;
    float *group_q = dv + tokens * deep; /* straight panels, KH_GROUP deep */
    float *group_dz = group_q + KH_GROUP * deep;
    float *row_slab = group_dz + KH_GROUP * deep; /* MR rows of q or dz */
    float *a = row_slab + kh_slab_floats(MR, hd); /* slabs of KH_GROUP rows */
    float *ds = a + kh_slab_floats(KH_GROUP, tokens);
    pack_transposed(k, stride, tokens, hd, keys_t);
    pack_transposed(v, stride, tokens, hd, values_t);
    pack_straight(k, stride, tokens, hd, keys, tokens);
    const kh_range asked = kh_queries(args->first_query, args->queries, tokens);
    for (size_t g = asked.begin; g < asked.end; g += KH_GROUP) {
        const size_t count = least(KH_GROUP, asked.end - g), tiles = kh_ceil_div(count, MR);
        for (size_t t = 0; t < tiles; t++) {
            const kh_range range = kh_part(count, t, tiles);
            const size_t rows = range.end - range.begin, row = g + range.begin;
            expect_source(q, stride, row + rows, row + rows + MR, asked.end, hd);
            expect_source(dz, dim, row + rows, row + rows + MR, asked.end, hd);
            expect_target(dq, stride, row, row + rows, asked.end, hd);
            pack_queries(q + row * stride, stride, rows, hd, args->scale, row_slab);
            multiply_wide(rows, hd, row_slab, keys_t, tokens, a, KH_GROUP, range.begin);
            probabilities(rows, tokens, a, range.begin);
            pack_queries(dz + row * dim, dim, rows, hd, 1.0f, row_slab);
            multiply_wide(rows, hd, row_slab, values_t, tokens, ds, KH_GROUP, range.begin);
            const size_t at = ((image * args->heads + head) * tokens + row) * tokens;
            for (size_t r = 0; args->pattern && r < rows; r++)
                copy_scaled(a, KH_GROUP, range.begin + r, 1.0f, args->pattern + at + r * tokens,
                            tokens);
            for (size_t r = 0; args->dpattern && r < rows; r++)
                copy_scaled(ds, KH_GROUP, range.begin + r, 1.0f, args->dpattern + at + r * tokens,
                            tokens);
            score_gradients(rows, tokens, args->scale, a, ds, range.begin);
            for (size_t d = 0; d < hd; d += NR) {
                multiply_tile(rows, vectors(hd - d), tokens, ds, KH_GROUP, range.begin,
                              keys + d * tokens, c);
                for (size_t r = 0; r < rows; r++)
                    for (size_t i = 0; i < least(NR, hd - d); i += VL)
                        v_store_n(dq + (row + r) * stride + d + i, v_load(c + r * KH_LDA + i),
                                  hd - d - i);
            }
        }
        pack_straight(q + g * stride, stride, count, hd, group_q, KH_GROUP);
        pack_straight(dz + g * dim, dim, count, hd, group_dz, KH_GROUP);
        multiply_transposed(tokens, hd, count, a, group_dz, dv, g == asked.begin);
        multiply_transposed(tokens, hd, count, ds, group_q, dk, g == asked.begin);
    }
    write_sums(dk, tokens, hd, dq + dim, stride);
    write_sums(dv, tokens, hd, dq + 2 * dim, stride);
}
