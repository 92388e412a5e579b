/* vit/reference.h: Vision Transformers once more, in float64, one image at a time, in loops as
 * plain as the formulas. Shares nothing with the library but the names of weights. */
#ifndef KH_TEST_VIT_REFERENCE_H
#define KH_TEST_VIT_REFERENCE_H

#include "keyhole/vit.h"

typedef struct ref_config {
    size_t dim, blocks, heads, neurons, patch, height, width, classes, registers;
    bool class_token, distill_token, pos_has_prefix;
    bool norm_pre, patch_bias, layer_scale, qkv_bias, qk_norm, gated, post_norm;
    kh_pool_kind pool;
    const char *activation; /* as in kh_model_info */
    double eps;
} ref_config;

typedef struct ref_model ref_model;

/* Fills count doubles with a tensor; false when there is no such tensor. */
typedef bool (*ref_source)(void *user, const char *name, size_t rank, const size_t *shape,
                           double *out);

ref_model *ref_open(const ref_config *config, ref_source source, void *user);
/* A loaded model's weights, by their timm names. */
ref_model *ref_from_model(const kh_model *model);
/* Deterministic weights by name and index. */
ref_model *ref_from_formula(const ref_config *config);
void ref_close(ref_model *model);
size_t ref_parameters(const ref_model *model);

/* Called at every site with its values; what it changes, the rest of the model sees. */
typedef void (*ref_hook)(void *user, const char *site, double *values, size_t count);

/* Logits [classes], or the pooled feature when classes is 0. image [3, height, width]. */
void ref_forward(const ref_model *model, const double *image, ref_hook hook, void *user,
                 double *out);

/* Gradient of <seed, logits> (or feature) with respect to the image, by the chain rule. */
void ref_gradient(const ref_model *model, const double *image, const double *seed,
                  double *gradient);

/* The formula: tensor `name` of this shape. */
void ref_formula(const char *name, size_t rank, const size_t *shape, double *out);

#endif
