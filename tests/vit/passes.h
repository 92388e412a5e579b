/* vit/passes.h: small helpers around a pass for the tests. */
#ifndef KH_TEST_VIT_PASSES_H
#define KH_TEST_VIT_PASSES_H

#include "keyhole/vit.h"
#include "support/kh_test.h"

/* One recorded model of each kind of block, tail and prefix. */
extern const char *const pass_families[];

kh_model *pass_open(kh_ctx *ctx, const char *golden_name);
/* count images of the model's size in [-1, 1); free with free(). */
float *pass_images(const kh_model *model, size_t count);

kh_pass *pass_make(kh_ctx *ctx, const kh_model *model, const kh_pass_spec *spec);

/* One site of one pass over `batch` images, copied; free with free(). */
float *pass_site(kh_ctx *ctx, const kh_model *model, const kh_tap *tap, const kh_edit *edits,
                 size_t edit_count, const float *images, size_t batch, size_t *count);
/* Logits, or hook_pre_head of a model without classes. */
const char *pass_result_site(const kh_model *model);

void pass_assert_same(const float *got, const float *want, size_t count, const char *what);

#endif
