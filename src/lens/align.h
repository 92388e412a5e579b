/* lens/align.h: the mathematics of alignment on plain arrays.
 *
 * Every mode is a product of rows (from value vectors) with class vectors (from the head), then a
 * finish:
 *
 *     mode              row of v                    vector of class c      finish
 *     raw               v                           E_c                    -
 *     cos               v / |v|                     E_c / |E_c|            clamp to [-1, 1]
 *     fold              v - mu                      g * E_c                -
 *     ln, margin, prob  (v - mu) / sqrt(var+eps)    g * E_c                + E_c.b + bias_c, then
 *                                                                          margin or softmax
 *
 * Without a final norm fold, ln, margin and prob take v and E_c as they are. */
#ifndef KH_LENS_ALIGN_H
#define KH_LENS_ALIGN_H

#include "base/pool.h"
#include "keyhole/lens.h"

/* A LayerNorm's parameters on the host; w NULL: there is none. */
typedef struct kh_lens_norm {
    float *w, *b; /* [dim] */
    double eps;
} kh_lens_norm;

/* Value vectors to rows, in place; [count, dim]. before: the post-norm block's own norm, or NULL.
 * final: the model's final norm (its eps and whether it is there). pool may be NULL. */
void kh_align_rows(kh_pool *pool, kh_align_mode mode, const kh_lens_norm *before,
                   const kh_lens_norm *final, size_t count, size_t dim, float *rows);

/* Class vectors of `embeddings` [classes, dim] -> out, may be the same. */
void kh_align_classes(kh_align_mode mode, const float *embeddings, size_t classes, size_t dim,
                      const kh_lens_norm *final, float *out);

/* constant[c] = E_c.b + bias_c in double for ln, margin and prob, else 0. bias may be NULL. */
void kh_align_constants(kh_align_mode mode, const float *embeddings, const float *bias,
                        size_t classes, size_t dim, const kh_lens_norm *final, double *constant);

/* Products [count, classes] to scores, in place. False when a score is NaN or infinite. */
bool kh_align_finish(kh_pool *pool, kh_align_mode mode, const double *constant, size_t count,
                     size_t classes, float *scores);

/* One `fold` score in double: E.(g (u - mean u)), u = v or the linear part of `before` acting on v.
 */
double kh_align_fold(const kh_lens_norm *before, const kh_lens_norm *final, size_t dim,
                     const float *v, const float *embedding);

#endif
