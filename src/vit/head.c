/* Final norm and head on plain vectors. */
#include "vit/plan.h"

/* Scratch of one call: normalised rows, the feature the head multiplies, and a second head's
 * logits. */
typedef struct head_memory {
    float *rows, *norm, *feature, *logits, *logits2;
} head_memory;

static bool take_memory(kh_ctx *ctx, const kh_backend *ops, const kh_model *m, size_t rows,
                        head_memory *memory) {
    const size_t dim = m->info.dim, classes = m->info.classes;
    memory->rows = ops->alloc(ctx, rows * dim);
    memory->norm = ops->alloc(ctx, rows * dim);
    memory->feature = ops->alloc(ctx, rows * m->feature_dim);
    memory->logits = ops->alloc(ctx, rows * classes);
    memory->logits2 = m->head_dist ? ops->alloc(ctx, rows * classes) : NULL;
    return memory->rows && memory->norm && memory->feature && memory->logits &&
           (memory->logits2 || !m->head_dist);
}

static void give_memory(kh_ctx *ctx, const kh_backend *ops, head_memory *memory) {
    ops->release(ctx, memory->rows);
    ops->release(ctx, memory->norm);
    ops->release(ctx, memory->feature);
    ops->release(ctx, memory->logits);
    ops->release(ctx, memory->logits2);
}

/* Every token of the image is taken to be this row: a mean over patches is the row itself, and a
 * head on [token 0 ; mean] sees it twice. */
static void apply(kh_ctx *ctx, const kh_backend *ops, const kh_model *m, size_t rows,
                  const head_memory *memory) {
    const size_t dim = m->info.dim, feature = m->feature_dim, classes = m->info.classes;
    const float *x = memory->rows;
    if (m->norm.w) {
        ops->layernorm(ctx, &m->norm, rows, memory->rows, dim, NULL, memory->norm, dim, NULL);
        x = memory->norm;
    }
    if (feature != dim) {
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < feature; i++)
                memory->feature[r * feature + i] = x[r * dim + i % dim];
        x = memory->feature;
    }
    kh_linear_args args = {.rows = rows,
                           .x = x,
                           .x_stride = feature,
                           .w = m->head,
                           .outs = classes,
                           .y = memory->logits,
                           .y_stride = classes};
    ops->linear(ctx, &args);
    if (!m->head_dist) return;
    args.w = m->head_dist;
    args.y = memory->logits2;
    ops->linear(ctx, &args);
    for (size_t i = 0; i < rows * classes; i++)
        memory->logits[i] = (memory->logits[i] + memory->logits2[i]) * 0.5f;
}

kh_status kh_model_head(kh_ctx *ctx, const kh_model *model, const float *rows, size_t row_count,
                        float *logits, kh_error *err) {
    if (!model->head)
        return kh_fail(err, KH_E_UNSUPPORTED, "%s has no class embedding matrix",
                       model->info.architecture);
    if (model->info.head_is_indirect || model->info.pool == KH_POOL_MAP)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "%s reads its classes behind an attention pool; projecting single vectors "
                       "through its head means nothing",
                       model->info.architecture);
    KH_TRY(kh_pass_fit_context(ctx, model, err));
    const kh_backend *ops = kh_ctx_backend(ctx);
    enum { ROWS = 1024 }; /* at once, so that scratch stays small */
    const size_t at_once = row_count < ROWS ? row_count : ROWS;
    if (row_count == 0) return KH_OK;
    head_memory memory;
    const bool good = take_memory(ctx, ops, model, at_once, &memory);
    for (size_t r = 0; good && r < row_count; r += at_once) {
        const size_t n = row_count - r < at_once ? row_count - r : at_once;
        ops->upload(ctx, memory.rows, rows + r * model->info.dim, n * model->info.dim);
        apply(ctx, ops, model, n, &memory);
        ops->download(ctx, logits + r * model->info.classes, memory.logits,
                      n * model->info.classes);
    }
    give_memory(ctx, ops, &memory);
    if (!good) return kh_fail(err, KH_E_MEMORY, "out of memory for %zu rows", row_count);
    return KH_OK;
}
