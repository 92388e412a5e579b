/* vit/plan.h: what a pass was asked for, what it therefore computes, and the memory for it.
 *
 * plan.c and plan_memory.c fill these once, in kh_pass_create; forward*.c, tail.c and backward.c
 * only follow them. */
#ifndef KH_VIT_PLAN_H
#define KH_VIT_PLAN_H

#include "base/text.h"
#include "vit/sites.h"

/* Some of `total` tokens or units, ascending. Everything: list and at are NULL, count == total. */
typedef struct kh_choice {
    size_t total, count;
    size_t *list; /* [count] */
    size_t *at;   /* [total]: place in list, SIZE_MAX when left out */
} kh_choice;

/* Where the values of a site lie: base + image*image_stride + outer*outer_stride +
 * row(token)*token_stride + middle*middle_stride + column(unit). row and column go through the
 * choices when only some tokens or units were computed. */
typedef struct kh_view {
    float *base;
    size_t image_stride;
    size_t outer, outer_stride;
    size_t tokens, token_stride;
    const size_t *token_at;
    size_t middle, middle_stride;
    size_t units;
    const size_t *unit_at;
} kh_view;

typedef struct kh_tap_plan {
    kh_stage stage;
    size_t block;
    kh_site site;
    size_t *tokens, token_count; /* count 0: all */
    size_t *units, unit_count;
    size_t outer, chosen_tokens, middle, chosen_units;
    size_t count; /* floats per image */
    bool is_full;
    float *data; /* [max_batch, count] */
} kh_tap_plan;

typedef struct kh_edit_plan {
    kh_stage stage;
    size_t block;
    kh_site site;
    kh_edit_op op;
    float value;
    float *values; /* [chosen units], or NULL */
    size_t *tokens, token_count;
    size_t *units, unit_count;
    size_t *images, image_count;
} kh_edit_plan;

typedef struct kh_seed_plan {
    kh_stage stage;
    size_t block;
    kh_site site;
    const float *values; /* of the backward pass under way */
} kh_seed_plan;

typedef struct kh_block_plan {
    uint32_t taps, edits, seeds;   /* bits of stages */
    size_t stop;                   /* rank of the last stage carried out */
    bool saves;                    /* backward needs this block's values */
    bool saves_pre;                /* also all of fc1's outputs */
    float *x_pre, *x_mid, *x_post; /* residual stream; the same memory when nothing is saved */
    float *qkv;
    float *qk_raw;                   /* [rows, 2 dim] before q_norm and k_norm; gradients only */
    float *pre;                      /* [rows, fc1 rows] when saves_pre */
    float *attn_branch, *mlp_branch; /* post-norm: inputs of norm1 and norm2 */
    kh_weight **result;              /* [heads] columns of proj for attn.hook_result, or NULL */
} kh_block_plan;

typedef struct kh_tail_plan {
    bool runs;
    size_t stop; /* rank */
    uint32_t taps, edits, seeds;
    kh_choice tokens;    /* rows the final norm acts on */
    size_t *gather_list; /* their places when the last block kept chosen tokens only; or NULL */
    const float *x;      /* input rows of the final norm (after gathering), [batch, rows, dim] */
    float *gathered;     /* NULL when x is the residual stream itself */
    float *norm;         /* [batch, rows, dim] */
    float *mean;         /* [batch, dim] */
    float *pre_head;     /* [batch, (2,) feature] */
    float *logits, *logits2; /* [batch, classes] */
    float *kv;               /* map pool: [batch, patches, 2 dim] */
    float *o, *r, *map_pre;  /* map pool: [batch, dim], [batch, dim], [batch, neurons] */
    float *d_feature, *d_mean, *d_norm, *d_x, *d_kv, *d_map, *d_logits;
} kh_tail_plan;

typedef struct kh_recorder kh_recorder;

struct kh_pass {
    kh_ctx *ctx;
    const kh_model *model;
    kh_model *narrow; /* `model` with fewer tokens, or NULL; the only thing of it that is owned */
    const kh_backend *ops;
    size_t max_batch;
    bool want_logits, want_gradient;
    kh_attention_fn see_attention; /* of kh_pass_backward, or NULL */
    void *see_user;

    kh_tap_plan *taps;
    size_t tap_count;
    kh_edit_plan *edits;
    size_t edit_count;
    kh_seed_plan *seeds;
    size_t seed_count;

    bool runs_embed;
    uint32_t embed_taps, embed_edits, embed_seeds;
    size_t embed_stop; /* rank */
    size_t first_block, block_end;
    kh_block_plan *blocks; /* [model blocks] */
    kh_tail_plan tail;
    size_t top;         /* position of the highest seed */
    kh_choice rows;     /* tokens behind attention in the last block */
    bool has_one_query; /* it is one token, and nobody looks at the other queries there */
    size_t out_token;   /* the only one whose fc2 is wanted there, or SIZE_MAX; its row stays put */
    kh_choice units;    /* key neurons in the last block, when nothing behind them is wanted */

    /* memory shared by all blocks */
    float *x, *xc, *zc, *wide, *z, *ln, *branch, *pre, *post, *scale, *scores, *pattern;
    float *pattern_before, *result, *full_embed, *embed;
    /* backward */
    float *dx, *dxc, *dzc, *dz, *dln, *dwide, *dpost, *dpre, *dbranch, *dbranch2, *dqk, *da;
    float **memory;
    size_t memory_count, memory_room;
    size_t bytes;

    double gflop; /* per image */
    size_t batch; /* of the last run; 0 before */
    bool ran_images, has_result;
    bool checks;           /* look for the first block with a value that is not finite */
    size_t broken;         /* what it found: block, or SIZE_MAX */
    kh_recorder *recorder; /* not NULL: nothing is computed, steps are written down */
};

/* Whether a context can run a model that another one opened; reserves its scratch. */
kh_status kh_pass_fit_context(kh_ctx *ctx, const kh_model *model, kh_error *err);

/* Fills a pass from a spec; on failure the caller frees what there is. */
kh_status kh_plan_make(kh_pass *pass, const kh_pass_spec *spec, kh_error *err);
/* plan_memory.c: the buffers of a pass whose plan is otherwise made. */
kh_status kh_plan_memory(kh_pass *p, kh_error *err);
/* The pool averages rows before the final norm, or instead of it. */
bool kh_plan_pools_first(const kh_model *model);
void kh_plan_clear(kh_pass *pass);

static inline bool kh_pass_compact(const kh_pass *p, size_t block) {
    return block + 1 == p->block_end && p->rows.list != NULL;
}

/* Whether this is the block where only the query of token rows.list[0] is answered. */
static inline bool kh_pass_one_query(const kh_pass *p, size_t block) {
    return block + 1 == p->block_end && p->has_one_query;
}

/* Whether this is the block that keeps its hidden units for every token, its output for one. */
static inline bool kh_pass_one_out(const kh_pass *p, size_t block) {
    return block + 1 == p->block_end && p->out_token != SIZE_MAX;
}

/* Tokens per image behind attention in a block. */
static inline size_t kh_pass_rows(const kh_pass *p, size_t block) {
    return block + 1 == p->block_end ? p->rows.count : p->model->info.tokens;
}

static inline size_t kh_fc1_rows(const kh_model *model) {
    return model->info.is_gated ? 2 * model->info.neurons : model->info.neurons;
}

/* Whether a stage of a block is carried out. */
static inline bool kh_pass_reaches(const kh_pass *p, size_t block, kh_stage stage) {
    return p->blocks[block].stop >= kh_stage_rank(p->model, stage);
}
static inline bool kh_pass_goes_past(const kh_pass *p, size_t block, kh_stage stage) {
    return p->blocks[block].stop > kh_stage_rank(p->model, stage);
}

/* True when the only thing flowing into the hidden units of this block in the backward pass is one
 * seed, so that its zero columns can be skipped. */
bool kh_plan_hidden_is_sparse(const kh_pass *p, size_t block);

/* True when the backward pass goes through the hidden units of this block without stopping there:
 * no seed, no edit, no gate. */
bool kh_plan_hidden_is_passed(const kh_pass *p, size_t block);

/* The buffer of a full tap an operation may write straight into, or NULL. */
float *kh_plan_direct(const kh_pass *p, kh_stage stage, size_t block);

/* ---- carried out by forward.c, forward_embed.c, tail.c, backward.c ----------------------------
 */

void kh_forward_embed(kh_pass *p, const float *images);
void kh_forward_block(kh_pass *p, size_t block);
void kh_forward_tail(kh_pass *p);
/* Leaves the gradient at the output of the last block in p->dx or p->dxc; *live: there is one. */
void kh_backward_tail(kh_pass *p, bool *live);
void kh_backward_block(kh_pass *p, size_t block, bool *live);
void kh_backward_embed(kh_pass *p, bool live, float *pixels);

/* Everything from `images` or, when NULL, from the rows already in the first block's x_pre. */
void kh_forward_all(kh_pass *p, const float *images);

#endif
