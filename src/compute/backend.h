/* compute/backend.h: the seam between models and the machine they run on.
 *
 * A backend is a table of operations. Pointers named `float *` in this header point into backend
 * memory (kh_backend.alloc); on the CPU that is ordinary memory, elsewhere only upload and download
 * may look at it. All matrices are row-major, slowest axis first; `stride` counts floats between
 * rows.
 *
 * The promise every backend keeps: one row's (one image's) result depends on nothing but that row's
 * (image's) input and the weights: not on how many rows come with it, on its place among them, on
 * the number of threads, or on which optional outputs are asked for. Same input, same bytes.
 *
 * Operations run on the context's threads, return when done, and allocate nothing: scratch is
 * reserved when weights are packed (kh_ctx owns it). */
#ifndef KH_COMPUTE_BACKEND_H
#define KH_COMPUTE_BACKEND_H

#include "base/pool.h"
#include "base/status.h"
#include "keyhole/compute.h"

typedef enum kh_activation {
    KH_ACT_NONE,
    KH_ACT_GELU,       /* u * Phi(u), exact erf form */
    KH_ACT_GELU_TANH,  /* tanh approximation */
    KH_ACT_QUICK_GELU, /* u * sigmoid(1.702 u) */
    KH_ACT_SILU        /* u * sigmoid(u) */
} kh_activation;

/* A linear layer as the backend likes it: weight [outs, ins] and optional bias [outs], immutable.
 */
typedef struct kh_weight kh_weight;

/* LayerNorm of one row of `dim`: (x - mean) / sqrt(var + eps) * w + b, biased two-pass variance. */
typedef struct kh_norm {
    const float *w; /* [dim] backend memory */
    const float *b; /* [dim] */
    float eps;
    size_t dim;
} kh_norm;

/* Where the rows first, first + every, ... of what is added to the residual are kept as well. */
typedef struct kh_branch {
    float *to; /* NULL: nowhere; else one row behind the other, [.., outs] */
    size_t first, every;
} kh_branch;

/* Where the branch of a row of `width` goes; NULL: it is not kept. */
static inline float *kh_branch_row(const kh_branch *b, size_t row, size_t width) {
    if (!b->to || row < b->first) return NULL;
    if (b->every == 1) return b->to + (row - b->first) * width; /* no division */
    return (row - b->first) % b->every ? NULL : b->to + (row - b->first) / b->every * width;
}

/* y[r, o] = residual[r, o] + gamma[o] * act( dot(norm(x[r, :]), W[first_out + o, :]) + bias )
 * for o in 0..outs-1. Everything but x, w, rows, y may be absent. */
typedef struct kh_linear_args {
    size_t rows;
    const float *x; /* [rows, ins] */
    size_t x_stride;
    const kh_norm *norm; /* NULL: x as it is */
    float *norm_out;     /* NULL, or [rows, ins] dense: norm(x) is also kept here */
    const kh_weight *w;
    size_t first_out, outs; /* outs 0 means all rows of W from first_out on */
    kh_activation act;
    float *pre;            /* NULL, or [rows, outs] dense: the value before act */
    const float *gamma;    /* NULL: 1 */
    const float *residual; /* NULL, or [rows, outs] with y_stride; may be y itself */
    float *y;              /* [rows, outs] */
    size_t y_stride;
    kh_branch branch;
} kh_linear_args;

/* y = residual + gamma * (fc2( act( fc1(norm(x)) ) )), computed a few rows at a time so that the
 * hidden units stay in cache. gated (SwiGLU): fc1 has 2*neurons rows, gate first, value second, and
 * the hidden unit is act(gate) * value. Bit for bit equal to the linear ops in sequence. */
typedef struct kh_mlp_args {
    size_t rows;
    const float *x;      /* [rows, dim], stride dim */
    const kh_norm *norm; /* NULL: no norm in front (post-norm blocks) */
    const kh_weight *fc1, *fc2;
    bool gated;
    kh_activation act;
    float *norm_out; /* NULL, or [rows, dim] */
    float *pre;      /* NULL, or [rows, fc1 outs]: fc1 output (gated: gates, then values) */
    float *post;     /* NULL, or [rows, neurons]: memory coefficients */
    const float *gamma, *residual;
    float *y; /* [rows, dim], may equal x and residual */
    kh_branch branch;
} kh_mlp_args;

/* Multi-head attention over `images` sequences of `tokens`:
 * qkv rows are [q | k | v], each heads * head_dim wide. */
typedef struct kh_attention_args {
    size_t images, tokens, heads, head_dim;
    const float *qkv; /* [images, tokens, 3 * heads * head_dim] */
    float scale;      /* head_dim^-0.5 */
    float *z;         /* [images, tokens, heads * head_dim] */
    float *scores;    /* NULL, or [images, heads, tokens, tokens]: scaled, before softmax */
    float *pattern;   /* NULL, or [images, heads, tokens, tokens]: after softmax */
    /* queries not 0: only z's rows first_query.. of each image are computed and written; scores and
     * pattern must be NULL then */
    size_t first_query, queries;
} kh_attention_args;

typedef struct kh_attention_backward_args {
    size_t images, tokens, heads, head_dim;
    const float *qkv; /* as in the forward pass */
    float scale;
    const float *dz; /* [images, tokens, heads * head_dim] */
    float *dqkv;     /* [images, tokens, 3 * heads * head_dim] */
    /* NULL, or [images, heads, tokens, tokens]: the pattern, and its gradient before the softmax is
     * taken back; rows of queries that are not asked for stay as they are */
    float *pattern, *dpattern;
    /* queries not 0: only dz's rows first_query.. of each image are read, the others count as 0; of
     * the q part of dqkv only the same rows are written */
    size_t first_query, queries;
} kh_attention_backward_args;

/* dx[r, i] = add[r, i] + sum_o (dy[r, o] * gamma[o]) * W[first_out + o, i], then
 * dx *= act'(pre) when act is given. The weight must be packed with `backward`. */
typedef struct kh_linear_backward_args {
    size_t rows;
    const float *dy; /* [rows, outs] */
    size_t dy_stride;
    const float *gamma; /* NULL: 1 */
    const kh_weight *w;
    size_t first_out, outs; /* outs 0 means all rows of W from first_out on */
    kh_activation act;      /* KH_ACT_NONE, or the activation whose output was this layer's input */
    const float *pre;       /* [rows, ins] input of that activation */
    const float *add;       /* NULL, or [rows, ins] dense; may be dx itself */
    float *dx;              /* [rows, ins] dense */
} kh_linear_backward_args;

/* dx = add + fc1ᵀ( act'(pre) * fc2ᵀ(dy * gamma) ): back through an MLP that is not gated, a few
 * rows at a time so that the hidden units' gradient stays in cache. Bit for bit equal to
 * linear_backward through fc2 and then fc1. Both weights must be packed with `backward`. */
typedef struct kh_mlp_backward_args {
    size_t rows;
    const float *dy;    /* [rows, dim] */
    const float *gamma; /* NULL: 1 */
    const kh_weight *fc1, *fc2;
    kh_activation act;
    const float *pre; /* [rows, neurons] fc1's outputs */
    const float *add; /* NULL, or [rows, dim]; may be dx itself */
    float *dx;        /* [rows, dim]; may be dy */
} kh_mlp_backward_args;

typedef struct kh_backend {
    const char *name;

    /* Zeroed backend memory for `count` floats; NULL when out of memory. */
    float *(*alloc)(kh_ctx *ctx, size_t count);
    void (*release)(kh_ctx *ctx, float *memory);
    void (*upload)(kh_ctx *ctx, float *to, const float *host, size_t count);
    void (*download)(kh_ctx *ctx, float *host, const float *from, size_t count);

    /* Packs host weight [outs, ins] and bias ([outs] or NULL). `backward` also keeps what
     * linear_backward needs (about twice the memory). NULL when out of memory. */
    kh_weight *(*pack)(kh_ctx *ctx, const float *weight, const float *bias, size_t outs, size_t ins,
                       bool backward);
    /* Adds what linear_backward needs to a weight packed without it; false when out of memory. */
    bool (*pack_backward)(kh_ctx *ctx, kh_weight *weight);
    void (*weight_free)(kh_ctx *ctx, kh_weight *weight);
    /* Writes rows first_out.. of the weight back as plain [outs, ins] host floats, exactly as
     * packed. */
    void (*unpack)(kh_ctx *ctx, const kh_weight *weight, size_t first_out, size_t outs,
                   float *host);
    void (*unpack_bias)(kh_ctx *ctx, const kh_weight *weight, float *host); /* zeros if none */
    size_t (*weight_bytes)(const kh_weight *weight);

    void (*linear)(kh_ctx *ctx, const kh_linear_args *args);
    void (*linear_backward)(kh_ctx *ctx, const kh_linear_backward_args *args);
    void (*mlp)(kh_ctx *ctx, const kh_mlp_args *args);
    void (*mlp_backward)(kh_ctx *ctx, const kh_mlp_backward_args *args);
    /* Reserves scratch for both attention ops up to these sizes; false when out of memory. At least
     * 1024 tokens of 128 are reserved from the start. Larger ones that were not reserved here are
     * reserved at the first call; if memory fails then, the output is NaN. */
    bool (*reserve_attention)(kh_ctx *ctx, size_t tokens, size_t head_dim);
    void (*attention)(kh_ctx *ctx, const kh_attention_args *args);
    void (*attention_backward)(kh_ctx *ctx, const kh_attention_backward_args *args);

    /* y[r] = residual[r] + norm(x[r]) ; residual may be NULL; scale (NULL or [rows]) gets
     * sqrt(var + eps). y NULL: only scale is wanted. Strides are in floats. */
    void (*layernorm)(kh_ctx *ctx, const kh_norm *norm, size_t rows, const float *x,
                      size_t x_stride, const float *residual, float *y, size_t y_stride,
                      float *scale);
    /* dx[r] = add[r] + LN'(x[r])ᵀ dy[r]; add may be NULL or dx itself. All dense [rows, dim]. */
    void (*layernorm_backward)(kh_ctx *ctx, const kh_norm *norm, size_t rows, const float *x,
                               const float *dy, const float *add, float *dx);
    /* y[i] = act(x[i]) */
    void (*activate)(kh_ctx *ctx, kh_activation act, size_t count, const float *x, float *y);
    /* dx[i] = dy[i] * act'(x[i]) */
    void (*activate_backward)(kh_ctx *ctx, kh_activation act, size_t count, const float *x,
                              const float *dy, float *dx);
    /* gated hidden units: post[r, j] = act(pre[r, j]) * pre[r, neurons + j] */
    void (*gate)(kh_ctx *ctx, kh_activation act, size_t rows, size_t neurons, const float *pre,
                 float *post);
    void (*gate_backward)(kh_ctx *ctx, kh_activation act, size_t rows, size_t neurons,
                          const float *pre, const float *dpost, float *dpre);

    /* images [images, 3, height, width] -> patches [images * grid_h * grid_w, 3 * patch * patch],
     * row-major patches from the top left, column c*P*P + py*P + px; border rests are ignored. */
    void (*patchify)(kh_ctx *ctx, size_t images, size_t height, size_t width, size_t patch,
                     const float *pixels, float *patches);
    /* the transpose: pixels outside every patch get 0 */
    void (*unpatchify)(kh_ctx *ctx, size_t images, size_t height, size_t width, size_t patch,
                       const float *patches, float *pixels);
} kh_backend;

/* What a kh_ctx holds; other rooms read it through these. */
const kh_backend *kh_ctx_backend(const kh_ctx *ctx);
kh_pool *kh_ctx_pool(const kh_ctx *ctx);

#endif
