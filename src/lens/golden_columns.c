/* Numbers a tutorial published: class embeddings normalised by column. */
#include "keyhole/claims.h"

#include "base/alloc.h"
#include "base/status.h"

#include <math.h>

/* e [classes, dim]: every column divided by its norm over classes, in place. */
static void unit_columns(float *e, size_t classes, size_t dim) {
    for (size_t d = 0; d < dim; d++) {
        double sum = 0;
        for (size_t c = 0; c < classes; c++)
            sum += (double)e[c * dim + d] * (double)e[c * dim + d];
        const double scale = sum > 0 ? 1 / sqrt(sum) : 0;
        for (size_t c = 0; c < classes; c++)
            e[c * dim + d] = (float)((double)e[c * dim + d] * scale);
    }
}

/* Best first, ties to the lower index. */
static void insert(kh_ranked *list, size_t *used, size_t k, kh_ranked one) {
    size_t at = *used;
    while (at > 0 && one.score > list[at - 1].score) {
        if (at < k) list[at] = list[at - 1];
        at--;
    }
    if (at < k) list[at] = one;
    if (*used < k) ++*used;
}

kh_status kh_lens_column_ranking(const kh_model *model, size_t block, const size_t *classes,
                                 size_t count, size_t k, kh_ranked *out, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    const kh_align_options options = kh_align_options_default();
    const size_t dim = info->dim, units = info->neurons;
    size_t rank, shape[8];
    if (!kh_model_tensor_shape(model, "head.weight", &rank, shape) || rank != 2 ||
        shape[0] != info->classes || shape[1] != dim)
        return kh_fail(err, KH_E_UNSUPPORTED, "the model has no plain head.weight [%zu, %zu]",
                       info->classes, dim);
    if (k == 0 || k > units) return kh_fail(err, KH_E_ARG, "%zu of %zu neurons", k, units);
    for (size_t i = 0; i < count; i++)
        if (classes[i] >= info->classes)
            return kh_fail(err, KH_E_ARG, "class %zu of %zu", classes[i], info->classes);
    float *e = kh_alloc_floats(info->classes * dim), *v = kh_alloc_floats(units * dim);
    kh_status status =
        e && v ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for the value vectors of a block");
    if (!status) status = kh_model_tensor_read(model, "head.weight", e, info->classes * dim, err);
    if (!status) status = kh_lens_value_vectors(model, &options, block, v, units * dim, err);
    if (!status) unit_columns(e, info->classes, dim);
    for (size_t i = 0; i < count && !status; i++) {
        size_t used = 0;
        for (size_t j = 0; j < units; j++) {
            double dot = 0, square = 0;
            for (size_t d = 0; d < dim; d++) {
                dot += (double)e[classes[i] * dim + d] * (double)v[j * dim + d];
                square += (double)v[j * dim + d] * (double)v[j * dim + d];
            }
            const float score = square > 0 ? (float)(dot / sqrt(square)) : 0;
            insert(out + i * k, &used, k, (kh_ranked){(uint32_t)block, (uint32_t)j, score});
        }
    }
    kh_free(e);
    kh_free(v);
    return status;
}
