#include "lens/values.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

kh_status kh_lens_read(const kh_model *model, const char *name, bool is_optional, size_t count,
                       float **out, kh_error *err) {
    *out = NULL;
    size_t rank, shape[8];
    if (is_optional && !kh_model_tensor_shape(model, name, &rank, shape)) return KH_OK;
    float *values = kh_alloc_floats(count);
    if (!values) return kh_fail(err, KH_E_MEMORY, "no memory for %s (%zu floats)", name, count);
    const kh_status status = kh_model_tensor_read(model, name, values, count, err);
    if (status) {
        kh_free(values);
        return status;
    }
    *out = values;
    return KH_OK;
}

kh_status kh_lens_read_block(const kh_model *model, size_t block, const char *suffix,
                             bool is_optional, size_t count, float **out, kh_error *err) {
    char name[96];
    (void)snprintf(name, sizeof name, "blocks.%zu.%s", block, suffix);
    return kh_lens_read(model, name, is_optional, count, out, err);
}

void kh_lens_norm_clear(kh_lens_norm *norm) {
    kh_free(norm->w);
    kh_free(norm->b);
    *norm = (kh_lens_norm){0};
}

static kh_status read_norm(const kh_model *model, const char *stem, kh_lens_norm *out,
                           kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    char name[96];
    *out = (kh_lens_norm){.eps = (double)(float)info->norm_eps};
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    KH_TRY(kh_lens_read(model, name, false, info->dim, &out->w, err));
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    const kh_status status = kh_lens_read(model, name, false, info->dim, &out->b, err);
    if (status) kh_lens_norm_clear(out);
    return status;
}

kh_status kh_lens_read_final_norm(const kh_model *model, kh_lens_norm *out, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    size_t rank, shape[8];
    *out = (kh_lens_norm){0};
    if (info->pool == KH_POOL_RAW_AVG) return KH_OK;
    const bool is_fc = kh_model_tensor_shape(model, "fc_norm.weight", &rank, shape);
    return read_norm(model, is_fc ? "fc_norm" : "norm", out, err);
}

kh_status kh_lens_read_block_norm(const kh_model *model, kh_align_source source, size_t block,
                                  kh_lens_norm *out, kh_error *err) {
    *out = (kh_lens_norm){0};
    if (!kh_model_get_info(model)->is_post_norm) return KH_OK;
    char stem[64];
    (void)snprintf(stem, sizeof stem, "blocks.%zu.%s", block,
                   source == KH_ALIGN_MLP ? "norm2" : "norm1");
    return read_norm(model, stem, out, err);
}

size_t kh_lens_units(const kh_model_info *info, kh_align_source source) {
    return source == KH_ALIGN_MLP ? info->neurons : info->heads * info->head_dim;
}

static bool has_second_head(const kh_model_info *info) {
    return info->pool == KH_POOL_DISTILL || info->pool == KH_POOL_CLS_AVG;
}

kh_status kh_lens_alignment_shape(const kh_model *model, const kh_align_options *options,
                                  size_t *units, size_t *classes, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    *units = kh_lens_units(info, options->source);
    *classes = 0;
    if (options->embeddings) {
        if (options->embedding_classes == 0)
            return kh_fail(err, KH_E_ARG, "class embeddings without a class");
        *classes = options->embedding_classes;
        return KH_OK;
    }
    if (info->classes == 0)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "%s has no classifier head, so no class embeddings; bring your own "
                       "[classes, %zu] matrix (a linear probe or text embeddings)",
                       info->architecture, info->dim);
    if (info->head_is_indirect)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "the head of %s acts behind an attention pool, so its rows do not speak "
                       "about value vectors; bring your own [classes, %zu] matrix",
                       info->architecture, info->dim);
    if (options->head == KH_HEAD_SECOND && !has_second_head(info))
        return kh_fail(err, KH_E_UNSUPPORTED, "%s has one head only", info->architecture);
    *classes = info->classes;
    return KH_OK;
}

/* Columns [first, first + dim) of the head's [classes, width] matrix. */
static kh_status read_head(const kh_model *model, const char *stem, size_t width, size_t first,
                           float **embeddings, float **bias, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    char name[64];
    size_t count;
    float *whole = NULL;
    *embeddings = *bias = NULL;
    if (!kh_mul(info->classes, width, &count))
        return kh_fail(err, KH_E_LIMIT, "head of %zu x %zu", info->classes, width);
    (void)snprintf(name, sizeof name, "%s.weight", stem);
    KH_TRY(kh_lens_read(model, name, false, count, &whole, err));
    (void)snprintf(name, sizeof name, "%s.bias", stem);
    const kh_status status = kh_lens_read(model, name, true, info->classes, bias, err);
    if (status) {
        kh_free(whole);
        return status;
    }
    if (width != info->dim)
        for (size_t c = 0; c < info->classes; c++)
            memmove(whole + c * info->dim, whole + c * width + first, info->dim * sizeof *whole);
    *embeddings = whole;
    return KH_OK;
}

static kh_status copy_embeddings(const kh_align_options *options, size_t dim, float **embeddings,
                                 float **bias, kh_error *err) {
    size_t count;
    *embeddings = *bias = NULL;
    if (!kh_mul(options->embedding_classes, dim, &count))
        return kh_fail(err, KH_E_LIMIT, "%zu class embeddings", options->embedding_classes);
    *embeddings = kh_alloc_floats(count);
    if (options->embedding_bias) *bias = kh_alloc_floats(options->embedding_classes);
    if (!*embeddings || (options->embedding_bias && !*bias)) {
        kh_free(*embeddings);
        kh_free(*bias);
        *embeddings = *bias = NULL;
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu class embeddings",
                       options->embedding_classes);
    }
    memcpy(*embeddings, options->embeddings, count * sizeof **embeddings);
    if (*bias) memcpy(*bias, options->embedding_bias, options->embedding_classes * sizeof **bias);
    return KH_OK;
}

kh_status kh_lens_read_embeddings(const kh_model *model, const kh_align_options *options,
                                  float **embeddings, float **bias, size_t *classes,
                                  kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    size_t units;
    *embeddings = *bias = NULL;
    KH_TRY(kh_lens_alignment_shape(model, options, &units, classes, err));
    if (options->embeddings) return copy_embeddings(options, info->dim, embeddings, bias, err);
    const bool is_second = options->head == KH_HEAD_SECOND;
    if (info->pool == KH_POOL_CLS_AVG)
        return read_head(model, "head", 2 * info->dim, is_second ? info->dim : 0, embeddings, bias,
                         err);
    return read_head(model, is_second ? "head_dist" : "head", info->dim, 0, embeddings, bias, err);
}

#define TILE 32

/* matrix [dim, units] -> rows [units, dim], times gamma of the dim */
static void transpose(const float *matrix, size_t dim, size_t units, const float *gamma,
                      float *rows) {
    for (size_t n0 = 0; n0 < units; n0 += TILE)
        for (size_t i0 = 0; i0 < dim; i0 += TILE)
            for (size_t n = n0; n < units && n < n0 + TILE; n++)
                for (size_t i = i0; i < dim && i < i0 + TILE; i++)
                    rows[n * dim + i] = matrix[i * units + n] * (gamma ? gamma[i] : 1);
}

kh_status kh_lens_value_vectors_into(const kh_model *model, const kh_align_options *options,
                                     size_t block, float *scratch, float *out, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    const bool is_mlp = options->source == KH_ALIGN_MLP;
    const size_t dim = info->dim, units = kh_lens_units(info, options->source);
    char name[96];
    if (block >= info->blocks)
        return kh_fail(err, KH_E_ARG, "block %zu; the model has blocks 0 to %zu", block,
                       info->blocks - 1);
    (void)snprintf(name, sizeof name, "blocks.%zu.%s.weight", block,
                   is_mlp ? "mlp.fc2" : "attn.proj");
    KH_TRY(kh_model_tensor_read(model, name, scratch, units * dim, err));
    float *gamma = NULL, *bias = NULL;
    KH_TRY(kh_lens_read_block(model, block, is_mlp ? "ls2.gamma" : "ls1.gamma", true, dim, &gamma,
                              err));
    transpose(scratch, dim, units, gamma, out);
    kh_status status = KH_OK;
    if (options->add_bias)
        status = kh_lens_read_block(model, block, is_mlp ? "mlp.fc2.bias" : "attn.proj.bias", true,
                                    dim, &bias, err);
    if (!status && options->add_bias)
        for (size_t n = 0; n < units; n++)
            for (size_t i = 0; i < dim; i++) {
                const double b = bias ? (double)bias[i] * (gamma ? (double)gamma[i] : 1) : 0;
                out[n * dim + i] = (float)(options->alpha * (double)out[n * dim + i] + b);
            }
    kh_free(bias);
    kh_free(gamma);
    return status;
}

kh_status kh_lens_value_vectors(const kh_model *model, const kh_align_options *options,
                                size_t block, float *out, size_t count, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    const size_t units = kh_lens_units(info, options->source);
    size_t want;
    if (!kh_mul(units, info->dim, &want) || count != want)
        return kh_fail(err, KH_E_SHAPE, "room for %zu floats, the value vectors are %zu x %zu",
                       count, units, info->dim);
    float *scratch = kh_alloc_floats(want);
    if (!scratch) return kh_fail(err, KH_E_MEMORY, "no memory for %zu value vectors", units);
    const kh_status status = kh_lens_value_vectors_into(model, options, block, scratch, out, err);
    kh_free(scratch);
    return status;
}
