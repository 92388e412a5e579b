/* Lens "heads": what every attention head adds to the logit of the image's true class, exactly. A
 * head's output is linear in what it mixed, so the mean of that over a class's images, each over
 * its final norm's denominator, is all that has to be kept. */
#include "lens/attribution_pooled.h"
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>

typedef struct state {
    const kh_lens_setup *setup;
    size_t classes, width; /* width: dim of all blocks */
    uint32_t *n;           /* [classes] */
    int64_t *sums;         /* [classes, blocks, heads * head_dim] of z(class token) / sigma */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->n);
    kh_free(s->sums);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    const kh_model_info *info = setup->info;
    if (!info->classes || info->head_is_projection)
        return "the model has no classifier that acts on tokens";
    if (kh_is_pooled(info) || info->pool == KH_POOL_MAP || info->head_is_indirect)
        return "the logits are not read at the class token alone";
    if (info->is_post_norm) return "a norm behind attention mixes what its heads add";
    return NULL;
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    if (s) {
        *s = (state){.setup = setup,
                     .classes = setup->info->classes,
                     .width = setup->info->blocks * setup->info->dim};
        s->n = kh_calloc(s->classes, sizeof *s->n);
        s->sums = kh_calloc(s->classes * s->width, sizeof *s->sums);
    }
    *out = s;
    if (s && s->n && s->sums) return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for the heads of %zu classes (%.0f MB)",
                   setup->info->classes,
                   (double)(setup->info->classes * setup->info->blocks * setup->info->dim) * 8e-6);
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    p[0] = (kh_piece){"heads.n", KH_PIECE_SUM_U32, s->n, s->classes, 0};
    p[1] = (kh_piece){"heads.sums", KH_PIECE_SUM_I64, s->sums, s->classes * s->width, 0};
    return 2;
}

static bool see(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const size_t dim = s->setup->info->dim, c = batch->truth[i];
    if (c >= s->classes) return true;
    const double sigma = (double)batch->site[KH_SITE_FINAL_SCALE][0][i];
    const float *z = batch->site[KH_SITE_Z_CLS][block] + i * dim;
    int64_t *sums = s->sums + c * s->width + block * dim;
    bool ok = true;
    for (size_t d = 0; d < dim; d++)
        ok &= kh_fix_add(&sums[d], (double)z[d] / sigma);
    return ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->truth[i] < s->classes) s->n[batch->truth[i]]++;
    return kh_lens_by_block(s->setup, batch, see, s, "a head", err);
}

/* fold [dim, classes]: what one unit of each place adds to every logit. */
static void write_block(const state *s, size_t block, const float *fold, const kh_lens_out *out) {
    const kh_model_info *info = s->setup->info;
    for (size_t c = 0; c < s->classes; c++) {
        const int64_t *sums = s->sums + c * s->width + block * info->dim;
        for (size_t h = 0; h < info->heads && s->n[c]; h++) {
            double logits = 0;
            for (size_t d = h * info->head_dim; d < (h + 1) * info->head_dim; d++)
                logits += kh_fix_mean(sums[d], s->n[c]) * (double)fold[d * s->classes + c];
            out->integer(out->user, (int64_t)c);
            out->integer(out->user, (int64_t)block);
            out->integer(out->user, (int64_t)h);
            out->integer(out->user, s->n[c]);
            out->real(out->user, logits);
            out->row(out->user);
        }
    }
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    const kh_model_info *info = s->setup->info;
    const size_t cells = info->dim * s->classes;
    kh_align_options options = kh_align_options_default();
    options.mode = KH_ALIGN_FOLD;
    options.source = KH_ALIGN_ATTENTION;
    kh_aligner *aligner = NULL;
    float *fold = kh_alloc_floats(cells);
    kh_status status = fold ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a table of heads");
    if (!status)
        status = kh_lens_aligner_create(s->setup->ctx, s->setup->model, &options, &aligner, err);
    out->table(out->user, "attribution_heads", "class:i block:i head:i n:i logits:r");
    for (size_t b = 0; b < info->blocks && !status; b++) {
        status = kh_lens_aligner_block(aligner, b, fold, cells, err);
        if (!status) write_block(s, b, fold, out);
    }
    kh_lens_aligner_free(aligner);
    kh_free(fold);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, setup->classes_seen * setup->info->blocks * setup->info->heads, 4, 1, 0);
}

const kh_lens_kind kh_kind_heads = {
    .name = "heads",
    .version = 1,
    .needs_truth = true,
    .sites = 1u << KH_SITE_Z_CLS | 1u << KH_SITE_FINAL_SCALE,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
