/* Lens "attribution": what every key neuron adds to the logit of the image's true class, exactly:
 * its coefficient at the class token times its fold alignment over the final norm's denominator;
 * where the logits read several tokens, the weighted sum over them. Components of the residual
 * stream (embedding, attention, MLP of each block) sum to the logit. */
#include "lens/attribution.h"
#include "lens/attribution_pooled.h"
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>

typedef struct state {
    const kh_lens_setup *setup;
    size_t classes, parts; /* parts: embedding, then attention and MLP of each block */
    size_t heads;          /* 1, or 2 of a pooled model */
    kh_pooled pooled;      /* when the class token is not all */
    double *given;         /* [given_room, parts] logits of a pooled batch's components */
    size_t given_room;     /* images */
    kh_lens_norm norm;     /* w NULL: none */
    float *embeddings[KH_POOLED_HEADS]; /* [classes, dim] times gamma */
    double *constant;                   /* [classes] E_c.beta + bias_c */
    uint32_t *n;                        /* [classes] */
    int64_t *weights;                   /* [heads, classes, units] sums of a(class token) / sigma */
    int64_t *direct;                    /* [classes, parts] sums of each component's logits */
    float worst;                        /* largest |sum of components - logit| of an image */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_lens_norm_clear(&s->norm);
    kh_pooled_clear(&s->pooled);
    kh_free(s->given);
    for (size_t h = 0; h < KH_POOLED_HEADS; h++)
        kh_free(s->embeddings[h]);
    kh_free(s->constant);
    kh_free(s->n);
    kh_free(s->weights);
    kh_free(s->direct);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    const kh_model_info *info = setup->info;
    if (!info->classes || info->head_is_projection)
        return "the model has no classifier that acts on tokens";
    if (info->pool == KH_POOL_MAP || info->head_is_indirect)
        return "the logits are read through an attention pool, which is not linear in the tokens";
    return NULL;
}

static unsigned sites_of(const kh_lens_setup *setup) {
    return kh_is_pooled(setup->info) ? kh_pooled_sites(setup->info)
                                     : 1u << KH_SITE_ATTN_CLS | 1u << KH_SITE_MLP_CLS |
                                           1u << KH_SITE_EMBED_CLS | 1u << KH_SITE_FINAL_SCALE;
}

static kh_align_options head_options(size_t head, kh_align_mode mode) {
    kh_align_options options = kh_align_options_default();
    options.head = head ? KH_HEAD_SECOND : KH_HEAD_FIRST;
    options.mode = mode;
    return options;
}

/* Two heads of their own are averaged and have a bias each; two halves of one share theirs. */
static kh_status read_head(state *s, size_t head, kh_error *err) {
    const kh_model_info *info = s->setup->info;
    const size_t dim = info->dim;
    const double share = info->pool == KH_POOL_DISTILL ? 0.5 : 1;
    const bool has_bias = head == 0 || info->pool == KH_POOL_DISTILL;
    const kh_align_options options = head_options(head, KH_ALIGN_LN);
    size_t classes;
    float *bias = NULL;
    kh_status status = kh_lens_read_embeddings(s->setup->model, &options, &s->embeddings[head],
                                               &bias, &classes, err);
    double *constant = kh_calloc(s->classes, sizeof *constant);
    if (!status && !constant) status = kh_fail(err, KH_E_MEMORY, "no memory for class embeddings");
    if (!status) {
        float *e = s->embeddings[head];
        kh_align_constants(KH_ALIGN_LN, e, has_bias ? bias : NULL, classes, dim, &s->norm,
                           constant);
        for (size_t c = 0; c < classes; c++)
            s->constant[c] += share * constant[c];
        for (size_t c = 0; c < classes; c++) /* from here on gamma is in the embeddings */
            for (size_t d = 0; s->norm.w && d < dim; d++)
                e[c * dim + d] *= s->norm.w[d];
    }
    kh_free(constant);
    kh_free(bias);
    return status;
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t classes = setup->info->classes;
    *out = NULL;
    if (s) {
        *s = (state){.setup = setup,
                     .classes = classes,
                     .parts = 1 + 2 * setup->info->blocks,
                     .heads = kh_pooled_heads(setup->info)};
        s->given = kh_calloc(s->parts, sizeof *s->given);
        s->given_room = 1;
        s->constant = kh_calloc(classes, sizeof *s->constant);
        s->n = kh_calloc(classes, sizeof *s->n);
        s->weights = kh_calloc(s->heads * classes * setup->units, sizeof *s->weights);
        s->direct = kh_calloc(classes * s->parts, sizeof *s->direct);
    }
    kh_status status = KH_OK;
    if (!s || !s->given || !s->constant || !s->n || !s->weights || !s->direct)
        status = kh_fail(err, KH_E_MEMORY, "no memory for attributions of %zu neurons (%.0f MB)",
                         setup->units, (double)(classes * setup->units) * 8e-6);
    if (!status) status = kh_lens_read_final_norm(setup->model, &s->norm, err);
    for (size_t h = 0; !status && h < s->heads; h++)
        status = read_head(s, h, err);
    if (!status && kh_is_pooled(setup->info)) status = kh_pooled_init(&s->pooled, setup->info, err);
    if (status)
        free_state(s);
    else
        *out = s;
    return status;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t c = s->classes;
    p[0] = (kh_piece){"attribution.n", KH_PIECE_SUM_U32, s->n, c, 0};
    p[1] = (kh_piece){"attribution.weights", KH_PIECE_SUM_I64, s->weights,
                      s->heads * c * s->setup->units, 0};
    p[2] = (kh_piece){"attribution.direct", KH_PIECE_SUM_I64, s->direct, c * s->parts, 0};
    p[3] = (kh_piece){"attribution.worst", KH_PIECE_MAX_F32, &s->worst, 1, 0};
    return 4;
}

/* ---- one image ----------------------------------------------------------------------------- */

/* Its components, and what they leave of its logit. */
static bool add_components(state *s, const kh_lens_batch *batch, size_t i, const double *given) {
    const size_t c = batch->truth[i];
    double total = s->constant[c];
    bool ok = true;
    for (size_t p = 0; p < s->parts; p++) {
        ok &= kh_fix_add(&s->direct[c * s->parts + p], given[p]);
        total += given[p];
    }
    const float off = (float)fabs(total - (double)batch->logits[i * s->classes + c]);
    if (off > s->worst) s->worst = off;
    s->n[c]++;
    return ok;
}

/* ---- several tokens ------------------------------------------------------------------------ */

/* <E_c g, y - mean y>, or <E_c, y> where nothing is normed. */
static double pooled_direct_of(const state *s, size_t head, size_t c, const double *y) {
    const size_t dim = s->setup->info->dim;
    const float *e = s->embeddings[head] + c * dim;
    double mean = 0, sum = 0;
    for (size_t d = 0; s->norm.w && d < dim; d++)
        mean += y[d];
    mean /= (double)dim;
    for (size_t d = 0; d < dim; d++)
        sum += (double)e[d] * (y[d] - mean);
    return sum;
}

/* Components of a block, and with the first one the embedding. */
static void see_components(state *s, const kh_lens_batch *batch, size_t i, size_t block) {
    const kh_model_info *info = s->setup->info;
    const size_t at = i * info->tokens * info->dim;
    const float *const rows[3] = {batch->site[KH_SITE_EMBED][0],
                                  batch->site[KH_SITE_ATTN_OUT][block],
                                  batch->site[KH_SITE_MLP_OUT][block]};
    double *given = s->given + i * s->parts;
    for (size_t k = block ? 1 : 0; k < 3; k++) {
        double sum = 0;
        for (size_t h = 0; h < s->heads; h++)
            sum += pooled_direct_of(
                s, h, batch->truth[i],
                kh_pooled_sum(&s->pooled, i, h, block, rows[k] + at, info->dim, NULL));
        given[2 * block + k] = sum;
    }
}

static bool see_pooled(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    const size_t neurons = info->neurons, units = s->setup->units, c = batch->truth[i];
    const double share = kh_pooled_mean_weight(&s->pooled, i);
    bool ok = true;
    if (c >= s->classes) return true;
    see_components(s, batch, i, block);
    if (isfinite(share)) {
        const float *mean = batch->features->mean + i * units;
        for (size_t u = block * neurons; u < (block + 1) * neurons; u++)
            ok &= kh_fix_add(&s->weights[c * units + u], share * (double)mean[u]);
        return ok;
    }
    const float *rows = batch->site[KH_SITE_POST][block] + i * info->tokens * neurons;
    const float *scale = batch->site[KH_SITE_LN2_SCALE][block];
    if (!info->is_post_norm) scale = NULL; /* another lens may want it */
    if (scale) scale += i * info->tokens;
    for (size_t h = 0; h < s->heads; h++) {
        int64_t *weights = s->weights + (h * s->classes + c) * units + block * neurons;
        const double *sum = kh_pooled_sum(&s->pooled, i, h, block, rows, neurons, scale);
        for (size_t j = 0; j < neurons; j++)
            ok &= kh_fix_add(&weights[j], sum[j]);
    }
    return ok;
}

static kh_status consume_pooled(state *s, const kh_lens_batch *batch, kh_error *err) {
    if (batch->count > s->given_room) {
        kh_free(s->given);
        s->given = kh_calloc(batch->count * s->parts, sizeof *s->given);
        s->given_room = s->given ? batch->count : 0;
        if (!s->given) return kh_fail(err, KH_E_MEMORY, "no memory for attributions");
    }
    KH_TRY(kh_pooled_begin(&s->pooled, batch, err));
    KH_TRY(kh_lens_by_block(s->setup, batch, see_pooled, s, "a contribution", err));
    for (size_t i = 0; i < batch->count; i++)
        if (batch->truth[i] < s->classes && !add_components(s, batch, i, s->given + i * s->parts))
            return kh_lens_not_finite(s->setup, "a contribution", batch->ids[i], err);
    return KH_OK;
}

/* ---- the class token ----------------------------------------------------------------------- */

/* <E_c g, x - mean x> / sigma */
static double direct_of(const state *s, size_t c, const float *x, double sigma) {
    const size_t dim = s->setup->info->dim;
    const float *e = s->embeddings[0] + c * dim;
    double mean = 0, sum = 0;
    for (size_t d = 0; d < dim; d++)
        mean += (double)x[d];
    mean /= (double)dim;
    for (size_t d = 0; d < dim; d++)
        sum += (double)e[d] * ((double)x[d] - mean);
    return sum / sigma;
}

static const float *part_of(const state *s, const kh_lens_batch *batch, size_t image, size_t part) {
    const size_t at = image * s->setup->info->dim;
    if (part == 0) return batch->site[KH_SITE_EMBED_CLS][0] + at;
    return batch->site[part % 2 ? KH_SITE_ATTN_CLS : KH_SITE_MLP_CLS][(part - 1) / 2] + at;
}

static bool add_weights(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const size_t units = s->setup->units, neurons = s->setup->info->neurons;
    const size_t c = batch->truth[i];
    if (c >= s->classes) return true;
    const double sigma = (double)batch->site[KH_SITE_FINAL_SCALE][0][i];
    const float *a = batch->features->cls + i * units;
    int64_t *weights = s->weights + c * units;
    bool ok = true;
    for (size_t u = block * neurons; u < (block + 1) * neurons; u++)
        ok &= kh_fix_add(&weights[u], (double)a[u] / sigma);
    return ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    if (kh_is_pooled(s->setup->info)) return consume_pooled(s, batch, err);
    for (size_t i = 0; i < batch->count; i++) {
        const size_t c = batch->truth[i];
        if (c >= s->classes) continue;
        const double sigma = (double)batch->site[KH_SITE_FINAL_SCALE][0][i];
        for (size_t p = 0; p < s->parts; p++)
            s->given[p] = direct_of(s, c, part_of(s, batch, i, p), sigma);
        if (!add_components(s, batch, i, s->given))
            return kh_lens_not_finite(s->setup, "a contribution", batch->ids[i], err);
    }
    return kh_lens_by_block(s->setup, batch, add_weights, s, "a contribution", err);
}

/* ---- results ------------------------------------------------------------------------------- */

/* How a neuron speaks for a class when its contributions are compared with that; the table says it.
 */
static const kh_align_mode compared_with = KH_ALIGN_LN;

typedef struct writing {
    state *s;
    const kh_lens_out *out;
    kh_aligner *fold_of[KH_POOLED_HEADS], *other_of;
    float *fold[KH_POOLED_HEADS], *other; /* [neurons, classes] of the block; compared_with */
    float *mean;                          /* [classes, units] contributions */
    float *column;                        /* [neurons] alignment with one class */
    kh_attribution_scratch scratch;
} writing;

static void write_row(const writing *w, size_t block, size_t c, const kh_attribution *a) {
    const state *s = w->s;
    const kh_lens_out *out = w->out;
    const int64_t *direct = s->direct + c * s->parts + 1 + 2 * block;
    out->integer(out->user, (int64_t)c);
    out->integer(out->user, (int64_t)block);
    out->integer(out->user, s->n[c]);
    out->real(out->user, kh_fix_mean(direct[0], s->n[c]));
    out->real(out->user, kh_fix_mean(direct[1], s->n[c]));
    out->real(out->user, a->sum);
    out->integer(out->user, (int64_t)a->k50);
    out->integer(out->user, (int64_t)a->k90);
    out->real(out->user, a->cancel);
    out->integer(out->user, (int64_t)a->top[0]);
    out->real(out->user, a->top_value);
    out->real(out->user, a->overlap[0]);
    out->real(out->user, a->overlap[1]);
    out->real(out->user, a->overlap[2]);
    out->real(out->user, a->spearman);
    out->row(out->user);
}

/* Mean over the class's images. */
static double weight_of(const state *s, size_t head, size_t c, size_t unit) {
    return kh_fix_mean(s->weights[(head * s->classes + c) * s->setup->units + unit], s->n[c]);
}

static kh_status write_block(writing *w, size_t block, kh_error *err) {
    state *s = w->s;
    const kh_lens_setup *setup = s->setup;
    const size_t neurons = setup->info->neurons, classes = s->classes;
    for (size_t h = 0; h < s->heads; h++)
        KH_TRY(kh_lens_aligner_block(w->fold_of[h], block, w->fold[h], neurons * classes, err));
    KH_TRY(kh_lens_aligner_block(w->other_of, block, w->other, neurons * classes, err));
    for (size_t c = 0; c < classes; c++) {
        float *mean = w->mean + c * setup->units + block * neurons;
        for (size_t j = 0; j < neurons; j++) {
            double sum = 0;
            for (size_t h = 0; h < s->heads; h++)
                sum +=
                    weight_of(s, h, c, block * neurons + j) * (double)w->fold[h][j * classes + c];
            mean[j] = (float)sum;
            w->column[j] = w->other[j * classes + c];
        }
        kh_attribution a;
        if (s->n[c] == 0) continue;
        KH_TRY(kh_attribution_of(mean, w->column, neurons, &w->scratch, &a, err));
        write_row(w, block, c, &a);
    }
    return KH_OK;
}

static kh_status prepare(writing *w, kh_error *err) {
    const state *s = w->s;
    const kh_lens_setup *setup = s->setup;
    const kh_align_options other = head_options(0, compared_with);
    const size_t cells = setup->info->neurons * s->classes;
    for (size_t h = 0; h < s->heads; h++) {
        const kh_align_options fold = head_options(h, KH_ALIGN_FOLD);
        KH_TRY(kh_lens_aligner_create(setup->ctx, setup->model, &fold, &w->fold_of[h], err));
        if (!(w->fold[h] = kh_alloc_floats(cells))) break;
    }
    KH_TRY(kh_lens_aligner_create(setup->ctx, setup->model, &other, &w->other_of, err));
    KH_TRY(kh_attribution_scratch_init(&w->scratch, setup->info->neurons, err));
    w->other = kh_alloc_floats(cells);
    w->mean = kh_alloc_floats(s->classes * setup->units);
    w->column = kh_alloc_floats(setup->info->neurons);
    if (w->fold[s->heads - 1] && w->other && w->mean && w->column) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for the table of attributions");
}

static void clear_writing(writing *w) {
    for (size_t h = 0; h < KH_POOLED_HEADS; h++) {
        kh_lens_aligner_free(w->fold_of[h]);
        kh_free(w->fold[h]);
    }
    kh_lens_aligner_free(w->other_of);
    kh_attribution_scratch_clear(&w->scratch);
    kh_free(w->column);
    kh_free(w->mean);
    kh_free(w->other);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    const size_t shape[3] = {s->classes, info->blocks, info->neurons};
    writing w = {.s = s, .out = out};
    kh_status status = prepare(&w, err);
    out->table(out->user, "attribution",
               "class:i block:i n:i attention:r mlp:r neurons:r k50:i k90:i cancel:r "
               "top_neuron:i top_logits:r overlap1:r overlap5:r overlap10:r spearman:r");
    for (size_t b = 0; b < info->blocks && !status; b++)
        status = write_block(&w, b, err);
    if (!status) {
        out->array(out->user, "attribution_mean", KH_OUT_F32, shape, 3, w.mean,
                   "mean logits a neuron adds to the true class, on the images of that class");
        out->table(out->user, "attribution_check", "images:i worst_error:r alignment:t");
        uint64_t n = 0;
        for (size_t c = 0; c < s->classes; c++)
            n += s->n[c];
        out->integer(out->user, (int64_t)n);
        out->real(out->user, n ? (double)s->worst : (double)NAN);
        out->text(out->user, kh_align_mode_name(compared_with));
        out->row(out->user);
    }
    clear_writing(&w);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, setup->classes_seen * setup->info->blocks, 6, 9, 0);
    out->array_bytes += 4 * setup->info->classes * setup->units;
}

const kh_lens_kind kh_kind_attribution = {
    .name = "attribution",
    .needs_truth = true,
    .version = 1,
    .sites_of = sites_of,
    .is_default = true,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
    .arrays = {"attribution_mean"},
};
