/* Lens "audit": stray tokens. Patches whose residual, where the block's MLP reads it, is far longer
 * than their neighbours', and patches at which surprisingly many of its neurons have their maximum
 * (bright dots). */
#include "lens/clones.h"
#include "lens/lens.h"

#include "base/alloc.h"
#include "base/sorted.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An outlier is this many times longer than the median patch of its image. */
#define OUTLIER 2.5

typedef struct state {
    const kh_lens_setup *setup;
    uint64_t images;
    uint32_t *norms;     /* [blocks, KH_SKETCH_BINS] of patches */
    float *longest;      /* [blocks] */
    int64_t *cls;        /* [blocks] norms of the class token */
    uint64_t *outliers;  /* [blocks] patches */
    uint64_t *stray;     /* [blocks] images with an outlier */
    uint32_t *places;    /* [blocks, patches] outliers at a patch */
    int64_t *top_share;  /* [blocks] share of the firing neurons at the patch most of them chose */
    uint64_t *top_stray; /* [blocks] images where that patch is an outlier */
    double *length, *sorted; /* scratch: [blocks, patches] */
    uint32_t *votes;
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    void *const all[] = {s->norms,     s->longest,   s->cls,    s->outliers, s->stray, s->places,
                         s->top_share, s->top_stray, s->length, s->sorted,   s->votes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t blocks = setup->info->blocks, patches = setup->patches;
    *out = s;
    if (s) {
        s->setup = setup;
        s->norms = kh_calloc(blocks * KH_SKETCH_BINS, sizeof *s->norms);
        s->longest = kh_calloc(blocks, sizeof *s->longest);
        s->cls = kh_calloc(blocks, sizeof *s->cls);
        s->outliers = kh_calloc(blocks, sizeof *s->outliers);
        s->stray = kh_calloc(blocks, sizeof *s->stray);
        s->places = kh_calloc(blocks * patches, sizeof *s->places);
        s->top_share = kh_calloc(blocks, sizeof *s->top_share);
        s->top_stray = kh_calloc(blocks, sizeof *s->top_stray);
        s->length = kh_calloc(blocks * patches, sizeof *s->length);
        s->sorted = kh_calloc(blocks * patches, sizeof *s->sorted);
        s->votes = kh_calloc(blocks * patches, sizeof *s->votes);
    }
    if (s && s->norms && s->longest && s->cls && s->outliers && s->stray && s->places &&
        s->top_share && s->top_stray && s->length && s->sorted && s->votes)
        return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for the audit of tokens");
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t b = s->setup->info->blocks, t = s->setup->patches;
    p[0] = (kh_piece){"audit.images", KH_PIECE_SUM_U64, &s->images, 1, 0};
    p[1] = (kh_piece){"audit.norms", KH_PIECE_SUM_U32, s->norms, b * KH_SKETCH_BINS, 0};
    p[2] = (kh_piece){"audit.longest", KH_PIECE_MAX_F32, s->longest, b, 0};
    p[3] = (kh_piece){"audit.cls", KH_PIECE_SUM_I64, s->cls, b, 0};
    p[4] = (kh_piece){"audit.outliers", KH_PIECE_SUM_U64, s->outliers, b, 0};
    p[5] = (kh_piece){"audit.stray", KH_PIECE_SUM_U64, s->stray, b, 0};
    p[6] = (kh_piece){"audit.places", KH_PIECE_SUM_U32, s->places, b * t, 0};
    p[7] = (kh_piece){"audit.top_share", KH_PIECE_SUM_I64, s->top_share, b, 0};
    p[8] = (kh_piece){"audit.top_stray", KH_PIECE_SUM_U64, s->top_stray, b, 0};
    return 9;
}

/* Lengths of neighbouring rows, in double. Every LANES-th square goes into one of LANES sums, since
 * one addition waits for the one before it. */
KH_CLONES static void lengths_of(const float *rows, size_t count, size_t dim, double *length) {
    enum { LANES = 32 };
    for (size_t r = 0; r < count; r++, rows += dim) {
        double sum[LANES] = {0}, all = 0;
        size_t d = 0;
        for (; d + LANES <= dim; d += LANES)
            for (size_t k = 0; k < LANES; k++)
                sum[k] += (double)rows[d + k] * (double)rows[d + k];
        for (size_t k = 0; d + k < dim; k++)
            sum[k] += (double)rows[d + k] * (double)rows[d + k];
        for (size_t k = 0; k < LANES; k++)
            all += sum[k];
        length[r] = sqrt(all);
    }
}

/* Lower median: one of the values. */
static double median_of(const double *length, double *sorted, size_t count) {
    memcpy(sorted, length, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, kh_compare_doubles);
    return sorted[(count - 1) / 2];
}

/* The patch most firing neurons have their maximum at. */
static size_t favourite(const state *s, uint32_t *votes, const float *max, const uint32_t *token,
                        double *share) {
    size_t firing = 0, best = 0;
    for (size_t t = 0; t < s->setup->patches; t++)
        votes[t] = 0;
    for (size_t n = 0; n < s->setup->info->neurons; n++) {
        if (!(max[n] > 0)) continue;
        votes[token[n]]++;
        firing++;
    }
    for (size_t t = 1; t < s->setup->patches; t++)
        if (votes[t] > votes[best]) best = t;
    *share = firing ? (double)votes[best] / (double)firing : 0;
    return best;
}

static bool see_block(state *s, const kh_lens_batch *batch, size_t i, size_t b) {
    const kh_model_info *info = s->setup->info;
    const size_t at = i * s->setup->units + b * info->neurons;
    const float *rows = batch->site[KH_SITE_RESID_MID][b] + i * info->tokens * info->dim;
    const size_t patches = s->setup->patches;
    double *length = s->length + b * patches;
    size_t outliers = 0;
    double share;
    lengths_of(rows + info->prefix_tokens * info->dim, patches, info->dim, length);
    for (size_t t = 0; t < patches; t++) {
        s->norms[b * KH_SKETCH_BINS + kh_sketch_bin((float)length[t])]++;
        if ((float)length[t] > s->longest[b]) s->longest[b] = (float)length[t];
    }
    const double limit = OUTLIER * median_of(length, s->sorted + b * patches, patches);
    for (size_t t = 0; t < patches; t++) {
        if (!(length[t] > limit)) continue;
        outliers++;
        s->places[b * patches + t]++;
    }
    const size_t top = favourite(s, s->votes + b * patches, batch->features->max + at,
                                 batch->features->token + at, &share);
    s->outliers[b] += outliers;
    s->stray[b] += outliers > 0;
    s->top_stray[b] += length[top] > limit;
    double cls = 0;
    if (info->prefix_tokens) lengths_of(rows, 1, info->dim, &cls);
    return kh_fix_add(&s->cls[b], cls) && kh_fix_add(&s->top_share[b], share);
}

static bool see_image(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    return see_block(at, batch, i, block);
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    s->images += batch->count;
    return kh_lens_by_block(s->setup, batch, see_image, s, "a residual", err);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    const double n = s->images ? (double)s->images : (double)NAN;
    const size_t patches = s->setup->patches;
    (void)err;
    out->table(out->user, "audit",
               "block:i images:i median_norm:r p99_norm:r max_norm:r class_token_norm:r "
               "outliers_per_image:r images_with_outliers:r top_patch_share:r "
               "top_patch_is_outlier:r outlier_chance:r");
    for (size_t b = 0; b < s->setup->info->blocks; b++) {
        const uint32_t *norms = s->norms + b * KH_SKETCH_BINS;
        bool low;
        out->integer(out->user, (int64_t)b);
        out->integer(out->user, (int64_t)s->images);
        out->real(out->user, kh_sketch_quantile(norms, 0.5, s->longest[b], &low));
        out->real(out->user, kh_sketch_quantile(norms, 0.99, s->longest[b], &low));
        out->real(out->user, s->images ? (double)s->longest[b] : (double)NAN);
        out->real(out->user,
                  s->setup->info->prefix_tokens ? kh_fix_mean(s->cls[b], s->images) : (double)NAN);
        out->real(out->user, (double)s->outliers[b] / n);
        out->real(out->user, (double)s->stray[b] / n);
        out->real(out->user, kh_fix_mean(s->top_share[b], s->images));
        out->real(out->user, (double)s->top_stray[b] / n);
        out->real(out->user, (double)s->outliers[b] / (n * (double)patches));
        out->row(out->user);
    }
    out->table(out->user, "audit_places", "block:i patch:i outliers:i");
    for (size_t i = 0; i < s->setup->info->blocks * patches; i++) {
        if (s->places[i] == 0) continue;
        out->integer(out->user, (int64_t)(i / patches));
        out->integer(out->user, (int64_t)(i % patches));
        out->integer(out->user, s->places[i]);
        out->row(out->user);
    }
    return KH_OK;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, setup->info->blocks, 2, 9, 0);
}

const kh_lens_kind kh_kind_audit = {
    .name = "audit",
    .version = 2,
    .sites = 1u << KH_SITE_RESID_MID,
    .is_default = true,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
