/* Lens "attribution": what every key neuron adds to the logit of the image's true class, exactly:
 * its coefficient at the class token times its fold alignment over the final norm's denominator.
 * Components of the residual stream (embedding, attention, MLP of each block) sum to the logit. */
#include "lens/attribution.h"
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>

typedef struct state {
    const kh_lens_setup *setup;
    size_t classes, parts; /* parts: embedding, then attention and MLP of each block */
    kh_lens_norm norm;
    float *embeddings, *bias; /* [classes, dim], [classes] or NULL */
    double *constant;         /* [classes] E_c.beta + bias_c */
    uint32_t *n;              /* [classes] */
    int64_t *weights;         /* [classes, units] sums of a(class token) / sigma */
    int64_t *direct;          /* [classes, parts] sums of each component's logits */
    float worst;              /* largest |sum of components - logit| of an image */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_lens_norm_clear(&s->norm);
    kh_free(s->embeddings);
    kh_free(s->bias);
    kh_free(s->constant);
    kh_free(s->n);
    kh_free(s->weights);
    kh_free(s->direct);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    const kh_model_info *info = setup->info;
    if (!info->classes || info->head_is_indirect || info->head_is_projection)
        return "the model has no classifier that acts on tokens";
    if (info->pool != KH_POOL_TOKEN) return "the logits are not read from the class token alone";
    if (info->is_post_norm) return "norms behind attention and MLP keep components from adding up";
    return NULL;
}

static kh_status read_head(state *s, kh_error *err) {
    const size_t dim = s->setup->info->dim;
    const kh_align_options align = kh_align_options_default();
    size_t classes;
    KH_TRY(kh_lens_read_final_norm(s->setup->model, &s->norm, err));
    KH_TRY(
        kh_lens_read_embeddings(s->setup->model, &align, &s->embeddings, &s->bias, &classes, err));
    kh_align_constants(KH_ALIGN_LN, s->embeddings, s->bias, classes, dim, &s->norm, s->constant);
    for (size_t c = 0; c < classes; c++) /* from here on gamma is in the embeddings */
        for (size_t d = 0; d < dim; d++)
            s->embeddings[c * dim + d] *= s->norm.w[d];
    return KH_OK;
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t classes = setup->info->classes;
    *out = NULL;
    if (s) {
        *s = (state){.setup = setup, .classes = classes, .parts = 1 + 2 * setup->info->blocks};
        s->constant = kh_calloc(classes, sizeof *s->constant);
        s->n = kh_calloc(classes, sizeof *s->n);
        s->weights = kh_calloc(classes * setup->units, sizeof *s->weights);
        s->direct = kh_calloc(classes * s->parts, sizeof *s->direct);
    }
    kh_status status = KH_OK;
    if (!s || !s->constant || !s->n || !s->weights || !s->direct)
        status = kh_fail(err, KH_E_MEMORY, "no memory for attributions of %zu neurons (%.0f MB)",
                         setup->units, (double)(classes * setup->units) * 8e-6);
    if (!status) status = read_head(s, err);
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
    p[1] = (kh_piece){"attribution.weights", KH_PIECE_SUM_I64, s->weights, c * s->setup->units, 0};
    p[2] = (kh_piece){"attribution.direct", KH_PIECE_SUM_I64, s->direct, c * s->parts, 0};
    p[3] = (kh_piece){"attribution.worst", KH_PIECE_MAX_F32, &s->worst, 1, 0};
    return 4;
}

/* <E_c g, x - mean x> / sigma */
static double direct_of(const state *s, size_t c, const float *x, double sigma) {
    const size_t dim = s->setup->info->dim;
    const float *e = s->embeddings + c * dim;
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
    for (size_t i = 0; i < batch->count; i++) {
        const size_t c = batch->truth[i];
        if (c >= s->classes) continue;
        const double sigma = (double)batch->site[KH_SITE_FINAL_SCALE][0][i];
        double total = s->constant[c];
        bool ok = true;
        for (size_t p = 0; p < s->parts; p++) {
            const double direct = direct_of(s, c, part_of(s, batch, i, p), sigma);
            ok &= kh_fix_add(&s->direct[c * s->parts + p], direct);
            total += direct;
        }
        if (!ok) return kh_lens_not_finite(s->setup, "a contribution", batch->ids[i], err);
        const float off = (float)fabs(total - (double)batch->logits[i * s->classes + c]);
        if (off > s->worst) s->worst = off;
        s->n[c]++;
    }
    return kh_lens_by_block(s->setup, batch, add_weights, s, "a contribution", err);
}

/* ---- results ------------------------------------------------------------------------------- */

typedef struct writing {
    state *s;
    const kh_lens_out *out;
    float *fold, *ln; /* [neurons, classes] of the block */
    float *mean;      /* [classes, units] contributions */
    float *column;    /* [neurons] ln alignment with one class */
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

static kh_status write_block(writing *w, size_t block, kh_error *err) {
    state *s = w->s;
    const kh_lens_setup *setup = s->setup;
    const size_t neurons = setup->info->neurons, classes = s->classes;
    KH_TRY(kh_lens_alignment(setup->ctx, setup->model, block, KH_ALIGN_FOLD, w->fold,
                             neurons * classes, err));
    KH_TRY(kh_lens_alignment(setup->ctx, setup->model, block, KH_ALIGN_LN, w->ln, neurons * classes,
                             err));
    for (size_t c = 0; c < classes; c++) {
        float *mean = w->mean + c * setup->units + block * neurons;
        for (size_t j = 0; j < neurons; j++) {
            const double weight =
                kh_fix_mean(s->weights[c * setup->units + block * neurons + j], s->n[c]);
            mean[j] = (float)(weight * (double)w->fold[j * classes + c]);
            w->column[j] = w->ln[j * classes + c];
        }
        kh_attribution a;
        if (s->n[c] == 0) continue;
        KH_TRY(kh_attribution_of(mean, w->column, neurons, &w->scratch, &a, err));
        write_row(w, block, c, &a);
    }
    return KH_OK;
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    const size_t cells = info->neurons * s->classes, units = s->setup->units;
    const size_t shape[3] = {s->classes, info->blocks, info->neurons};
    writing w = {.s = s,
                 .out = out,
                 .fold = kh_alloc_floats(cells),
                 .ln = kh_alloc_floats(cells),
                 .mean = kh_alloc_floats(s->classes * units),
                 .column = kh_alloc_floats(info->neurons)};
    kh_status status = kh_attribution_scratch_init(&w.scratch, info->neurons, err);
    if (!status && (!w.fold || !w.ln || !w.mean || !w.column))
        status = kh_fail(err, KH_E_MEMORY, "no memory for the table of attributions");
    out->table(out->user, "attribution",
               "class:i block:i n:i attention:r mlp:r neurons:r k50:i k90:i cancel:r "
               "top_neuron:i top_logits:r overlap1:r overlap5:r overlap10:r spearman:r");
    for (size_t b = 0; b < info->blocks && !status; b++)
        status = write_block(&w, b, err);
    if (!status) {
        out->array(out->user, "attribution_mean", KH_OUT_F32, shape, 3, w.mean,
                   "mean logits a neuron adds to the true class, on the images of that class");
        out->table(out->user, "attribution_check", "images:i worst_error:r");
        uint64_t n = 0;
        for (size_t c = 0; c < s->classes; c++)
            n += s->n[c];
        out->integer(out->user, (int64_t)n);
        out->real(out->user, n ? (double)s->worst : (double)NAN);
        out->row(out->user);
    }
    kh_attribution_scratch_clear(&w.scratch);
    kh_free(w.column);
    kh_free(w.mean);
    kh_free(w.ln);
    kh_free(w.fold);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, setup->classes_seen * setup->info->blocks, 6, 9, 0);
    out->array_bytes += 4 * setup->info->classes * setup->units;
}

const kh_lens_kind kh_kind_attribution = {
    .name = "attribution",
    .version = 1,
    .sites = 1u << KH_SITE_ATTN_CLS | 1u << KH_SITE_MLP_CLS | 1u << KH_SITE_EMBED_CLS |
             1u << KH_SITE_FINAL_SCALE,
    .is_default = true,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
