/* Lens "images": what the model made of every image, and a fingerprint to find near duplicates. */
#include "lens/fingerprint.h"
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

typedef struct state {
    const kh_lens_setup *setup;
    uint32_t *predicted;   /* [images] class + 1; 0: not seen */
    uint32_t *rank;        /* [images] of the true class, + 1 */
    float *probability;    /* [images] of the predicted class */
    float *truth_logit;    /* [images] */
    uint64_t *fingerprint; /* [images] */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->predicted);
    kh_free(s->rank);
    kh_free(s->probability);
    kh_free(s->truth_logit);
    kh_free(s->fingerprint);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    *out = s;
    if (s) {
        s->setup = setup;
        s->predicted = kh_calloc(setup->images, sizeof *s->predicted);
        s->rank = kh_calloc(setup->images, sizeof *s->rank);
        s->probability = kh_calloc(setup->images, sizeof *s->probability);
        s->truth_logit = kh_calloc(setup->images, sizeof *s->truth_logit);
        s->fingerprint = kh_calloc(setup->images, sizeof *s->fingerprint);
    }
    if (s && s->predicted && s->rank && s->probability && s->truth_logit && s->fingerprint)
        return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory to list %zu images", setup->images);
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t n = s->setup->images;
    p[0] = (kh_piece){"images.predicted", KH_PIECE_SUM_U32, s->predicted, n, 0};
    p[1] = (kh_piece){"images.rank", KH_PIECE_SUM_U32, s->rank, n, 0};
    p[2] = (kh_piece){"images.probability", KH_PIECE_MAX_F32, s->probability, n, 0};
    p[3] = (kh_piece){"images.truth_logit", KH_PIECE_MAX_F32, s->truth_logit, n, 0};
    p[4] = (kh_piece){"images.fingerprint", KH_PIECE_SUM_U64, s->fingerprint, n, 0};
    return 5;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    (void)err;
    const kh_model_info *info = s->setup->info;
    const size_t floats = 3 * info->image_height * info->image_width;
    for (size_t i = 0; i < batch->count; i++) {
        const size_t id = (size_t)batch->ids[i];
        s->fingerprint[id] = kh_fingerprint(batch->images + i * floats, info->image_height,
                                            info->image_width, &info->preprocess);
        s->predicted[id] = 1;
        if (!batch->logits) continue;
        const float *z = batch->logits + i * info->classes;
        const size_t top = batch->predicted[i];
        double sum = 0;
        for (size_t c = 0; c < info->classes; c++)
            sum += exp((double)z[c] - (double)z[top]);
        s->predicted[id] = (uint32_t)top + 1;
        s->probability[id] = (float)(1 / sum);
        if (batch->truth[i] >= info->classes) continue;
        s->rank[id] = (uint32_t)kh_lens_rank_position(z, info->classes, batch->truth[i]) + 1;
        s->truth_logit[id] = z[batch->truth[i]];
    }
    return KH_OK;
}

static void finite_or_null(const kh_lens_out *out, float value) {
    out->real(out->user, isfinite(value) ? (double)value : (double)NAN);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    (void)err;
    out->table(out->user, "images",
               "image:i name:t truth:i predicted:i probability:r truth_rank:i truth_logit:r "
               "fingerprint:i");
    for (size_t id = 0; id < s->setup->images; id++) {
        const kh_source_image image = kh_source_get(s->setup->source, id);
        const bool has_logits = s->setup->info->classes > 0;
        if (s->predicted[id] == 0) continue; /* broken or not covered */
        out->integer(out->user, (int64_t)id);
        out->text(out->user, image.name);
        out->integer(out->user, image.truth == KH_NO_CLASS ? -1 : (int64_t)image.truth);
        out->integer(out->user, has_logits ? (int64_t)s->predicted[id] - 1 : -1);
        finite_or_null(out, s->probability[id]);
        out->integer(out->user, (int64_t)s->rank[id] - 1);
        finite_or_null(out, s->truth_logit[id]);
        out->integer(out->user, (int64_t)s->fingerprint[id]);
        out->row(out->user);
    }
    return KH_OK;
}

const uint64_t *kh_lens_fingerprints(const void *at) {
    return ((const state *)at)->fingerprint;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, setup->images, 4, 3, 0);
    for (size_t i = 0; i < setup->images; i++)
        out->text_bytes += strlen(kh_source_get(setup->source, i).name) + 2;
}

const kh_lens_kind kh_kind_images = {
    .name = "images",
    .version = 1,
    .is_default = true,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
