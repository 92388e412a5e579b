/* vit/steps.h: every operation of a pass goes through here and is either carried out or, when the
 * plan is being explained, written down. So the explanation is what happens, not a second telling
 * of it. */
#ifndef KH_VIT_STEPS_H
#define KH_VIT_STEPS_H

#include "vit/rows.h"

struct kh_recorder {
    kh_text *text; /* NULL: only count */
    double flop;
    size_t steps;
};

/* name is completed to "blocks.N.name" when block is not SIZE_MAX. */
void kh_step_linear(kh_pass *p, size_t block, const char *name, size_t ins,
                    const kh_linear_args *args);
void kh_step_mlp(kh_pass *p, size_t block, const char *name, size_t dim, size_t neurons,
                 const kh_mlp_args *args);
void kh_step_attention(kh_pass *p, size_t block, const kh_attention_args *args);
void kh_step_layernorm(kh_pass *p, size_t block, const char *name, const kh_norm *norm, size_t rows,
                       const float *x, size_t x_stride, const float *residual, float *y,
                       size_t y_stride, float *scale);
void kh_step_activate(kh_pass *p, size_t block, size_t count, const float *x, float *y);
void kh_step_gate(kh_pass *p, size_t block, size_t rows, size_t neurons, const float *pre,
                  float *post);
void kh_step_patchify(kh_pass *p, const float *pixels, float *patches);
void kh_step_add(kh_pass *p, size_t block, const char *name, size_t count, const float *a,
                 const float *b, float *out);
void kh_step_gather(kh_pass *p, size_t block, const char *name, size_t from_rows, size_t width,
                    size_t count, const size_t *list, const float *from, float *to);
/* A step of rows.c that has no line of its own; false when it must not be carried out. */
bool kh_step_other(kh_pass *p, size_t block, const char *name, const char *kind, double flop);
/* "tap" or "edit" of a site. */
void kh_step_note(kh_pass *p, const char *kind, kh_stage stage, size_t block);

#endif
