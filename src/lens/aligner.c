/* Alignment of a model's value vectors with its class embeddings, block by block. */
#include "lens/aligner.h"

#include "base/alloc.h"
#include "base/checked.h"

kh_align_options kh_align_options_default(void) {
    return (kh_align_options){.mode = KH_ALIGN_LN, .alpha = 1};
}

void kh_lens_aligner_free(kh_aligner *aligner) {
    if (!aligner) return;
    const kh_backend *backend = kh_ctx_backend(aligner->ctx);
    if (aligner->y) backend->release(aligner->ctx, aligner->y);
    if (aligner->x) backend->release(aligner->ctx, aligner->x);
    if (aligner->packed) backend->weight_free(aligner->ctx, aligner->packed);
    kh_free(aligner->rows);
    kh_free(aligner->scratch);
    kh_free(aligner->constant);
    kh_free(aligner->bias);
    kh_free(aligner->embeddings);
    kh_lens_norm_clear(&aligner->final);
    kh_free(aligner);
}

/* Everything that depends on the class embeddings. */
static kh_status prepare_classes(kh_aligner *a, kh_error *err) {
    const kh_align_mode mode = a->options.mode;
    const kh_backend *backend = kh_ctx_backend(a->ctx);
    KH_TRY(
        kh_lens_read_embeddings(a->model, &a->options, &a->embeddings, &a->bias, &a->classes, err));
    if (mode == KH_ALIGN_MARGIN && a->classes < 2)
        return kh_fail(err, KH_E_UNSUPPORTED, "a margin needs at least two classes");
    KH_TRY(kh_lens_read_final_norm(a->model, &a->final, err));
    a->constant = kh_calloc(a->classes, sizeof *a->constant);
    float *vectors = kh_alloc_floats(a->classes * a->dim);
    if (!a->constant || !vectors) {
        kh_free(vectors);
        return kh_fail(err, KH_E_MEMORY, "no memory for %zu class embeddings", a->classes);
    }
    kh_align_classes(mode, a->embeddings, a->classes, a->dim, &a->final, vectors);
    kh_align_constants(mode, a->embeddings, a->bias, a->classes, a->dim, &a->final, a->constant);
    a->packed = backend->pack(a->ctx, vectors, NULL, a->classes, a->dim, false);
    kh_free(vectors);
    if (!a->packed)
        return kh_fail(err, KH_E_MEMORY, "no memory to pack %zu class embeddings", a->classes);
    return KH_OK;
}

static kh_status prepare_rows(kh_aligner *a, kh_error *err) {
    const kh_backend *backend = kh_ctx_backend(a->ctx);
    size_t floats, scores;
    if (!kh_mul(a->units, a->dim, &floats) || !kh_mul(ALIGNER_ROWS, a->classes, &scores))
        return kh_fail(err, KH_E_LIMIT, "alignment of %zu units, %zu classes", a->units,
                       a->classes);
    a->scratch = kh_alloc_floats(floats);
    a->rows = kh_alloc_floats(floats);
    a->x = backend->alloc(a->ctx, ALIGNER_ROWS * a->dim);
    a->y = backend->alloc(a->ctx, scores);
    if (!a->scratch || !a->rows || !a->x || !a->y)
        return kh_fail(err, KH_E_MEMORY, "no memory to align %zu value vectors", a->units);
    return KH_OK;
}

kh_status kh_lens_aligner_create(kh_ctx *ctx, const kh_model *model,
                                 const kh_align_options *options, kh_aligner **out, kh_error *err) {
    *out = NULL;
    if ((size_t)options->mode >= KH_ALIGN_MODES)
        return kh_fail(err, KH_E_ARG, "alignment mode %d does not exist", (int)options->mode);
    const kh_model_info *info = kh_model_get_info(model);
    kh_aligner *a = kh_calloc(1, sizeof *a);
    if (!a) return kh_fail(err, KH_E_MEMORY, "no memory for an aligner");
    a->ctx = ctx;
    a->model = model;
    a->options = *options;
    a->dim = info->dim;
    a->blocks = info->blocks;
    a->units = kh_lens_units(info, options->source);
    kh_status status = prepare_classes(a, err);
    if (!status) status = prepare_rows(a, err);
    if (status) {
        kh_lens_aligner_free(a);
        return status;
    }
    *out = a;
    return KH_OK;
}

size_t kh_lens_aligner_units(const kh_aligner *aligner) {
    return aligner->units;
}

size_t kh_lens_aligner_classes(const kh_aligner *aligner) {
    return aligner->classes;
}

kh_status kh_aligner_load(kh_aligner *a, size_t block, kh_error *err) {
    kh_lens_norm before;
    KH_TRY(kh_lens_value_vectors_into(a->model, &a->options, block, a->scratch, a->rows, err));
    KH_TRY(kh_lens_read_block_norm(a->model, a->options.source, block, &before, err));
    kh_align_rows(kh_ctx_pool(a->ctx), a->options.mode, &before, &a->final, a->units, a->dim,
                  a->rows);
    kh_lens_norm_clear(&before);
    return KH_OK;
}

bool kh_aligner_scores(kh_aligner *a, const kh_weight *packed, const double *constant, float *out) {
    const kh_backend *backend = kh_ctx_backend(a->ctx);
    for (size_t first = 0; first < a->units; first += ALIGNER_ROWS) {
        const size_t rows = a->units - first < ALIGNER_ROWS ? a->units - first : ALIGNER_ROWS;
        backend->upload(a->ctx, a->x, a->rows + first * a->dim, rows * a->dim);
        backend->linear(a->ctx, &(kh_linear_args){.rows = rows,
                                                  .x = a->x,
                                                  .x_stride = a->dim,
                                                  .w = packed,
                                                  .y = a->y,
                                                  .y_stride = a->classes});
        backend->download(a->ctx, out + first * a->classes, a->y, rows * a->classes);
    }
    return kh_align_finish(kh_ctx_pool(a->ctx), a->options.mode, constant, a->units, a->classes,
                           out);
}

kh_status kh_lens_aligner_block(kh_aligner *a, size_t block, float *out, size_t count,
                                kh_error *err) {
    size_t want;
    if (!kh_mul(a->units, a->classes, &want) || count != want)
        return kh_fail(err, KH_E_SHAPE, "room for %zu scores, the alignment is %zu x %zu", count,
                       a->units, a->classes);
    KH_TRY(kh_aligner_load(a, block, err));
    if (!kh_aligner_scores(a, a->packed, a->constant, out))
        return kh_fail(err, KH_E_NUMERIC, "%s alignment of block %zu: a score is not finite",
                       kh_align_mode_name(a->options.mode), block);
    return KH_OK;
}

kh_status kh_lens_alignment(kh_ctx *ctx, const kh_model *model, size_t block, kh_align_mode mode,
                            float *out, size_t count, kh_error *err) {
    kh_align_options options = kh_align_options_default();
    options.mode = mode;
    kh_aligner *aligner = NULL;
    KH_TRY(kh_lens_aligner_create(ctx, model, &options, &aligner, err));
    const kh_status status = kh_lens_aligner_block(aligner, block, out, count, err);
    kh_lens_aligner_free(aligner);
    return status;
}
