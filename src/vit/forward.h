/* vit/forward.h: what the two halves of a block share, attention and MLP. Inside this room only. */
#ifndef KH_VIT_FORWARD_H
#define KH_VIT_FORWARD_H

#include "vit/steps.h"
#include "vit/taps.h"

static inline bool kh_has(uint32_t bits, kh_stage stage) {
    return (bits & KH_BIT(stage)) != 0;
}

/* kh_touch for a site of a block; _rows: for dense rows. */
void kh_block_touch(kh_pass *p, kh_stage stage, size_t block, const kh_view *view);
void kh_block_touch_rows(kh_pass *p, kh_stage stage, size_t block, float *base, size_t width,
                         const kh_choice *choice);

/* What a linear layer reads behind a norm. */
typedef struct kh_normed {
    const float *x;
    const kh_norm *norm; /* NULL: x is normalised already */
    float *norm_out;     /* where the layer leaves norm(x) for a tap */
} kh_normed;

/* A norm in front of attention or MLP (second). It is fused into the layer behind it unless
 * somebody edits its result, or `alone` asks for it because nothing or several products follow. */
kh_normed kh_block_norm(kh_pass *p, size_t block, bool second, const float *x, size_t rows,
                        const kh_choice *choice, bool alone);

/* How what attention or the MLP (second) computes joins the residual stream: stream + branch to y.
 * The product in front takes residual, to and kept; kh_join_finish does what is left. */
typedef struct kh_join {
    bool second;
    const float *stream;
    float *y;
    const kh_choice *choice; /* which tokens the rows are */

    const float *residual; /* NULL: the product leaves the branch alone */
    float *to;
    kh_branch kept; /* rows somebody looks at, kept by the product */
    kh_view seen;   /* of kept */
} kh_join;

kh_join kh_join_make(const kh_pass *p, size_t block, bool second, const float *stream, float *y,
                     const kh_choice *choice);
/* Returns false when the pass ends inside. */
bool kh_join_finish(kh_pass *p, size_t block, const kh_join *join, size_t rows);

/* forward_mlp.c: from the middle of a block to its end. */
void kh_forward_mlp(kh_pass *p, size_t block);

#endif
