/* lens/values.h: what the analyses read from a model: value vectors, class embeddings, norms. */
#ifndef KH_LENS_VALUES_H
#define KH_LENS_VALUES_H

#include "lens/align.h"

/* A whole parameter as floats; free with kh_free. *out is NULL (and the call fine) when the model
 * lacks an optional one. */
kh_status kh_lens_read(const kh_model *model, const char *name, bool is_optional, size_t count,
                       float **out, kh_error *err);
/* name formatted with a block index: "blocks.%zu.norm2" + suffix. */
kh_status kh_lens_read_block(const kh_model *model, size_t block, const char *suffix,
                             bool is_optional, size_t count, float **out, kh_error *err);

/* The final norm (norm.* or fc_norm.*); w NULL when the model pools without one. */
kh_status kh_lens_read_final_norm(const kh_model *model, kh_lens_norm *out, kh_error *err);
/* The norm a post-norm block applies to what the source adds; w NULL in pre-norm models. */
kh_status kh_lens_read_block_norm(const kh_model *model, kh_align_source source, size_t block,
                                  kh_lens_norm *out, kh_error *err);
void kh_lens_norm_clear(kh_lens_norm *norm);

/* Class embeddings of the options: [classes, dim] and bias [classes] (NULL: zeros). Free with
 * kh_free. The copy is the caller's also when the options bring their own embeddings. */
kh_status kh_lens_read_embeddings(const kh_model *model, const kh_align_options *options,
                                  float **embeddings, float **bias, size_t *classes, kh_error *err);

/* Units of a block: neurons, or dim for attention. */
size_t kh_lens_units(const kh_model_info *info, kh_align_source source);

/* As kh_lens_value_vectors, with `scratch` for units * dim floats. */
kh_status kh_lens_value_vectors_into(const kh_model *model, const kh_align_options *options,
                                     size_t block, float *scratch, float *out, kh_error *err);

#endif
