/* Lens "channels": what the second matrix of an MLP gives, channel by channel, before LayerScale:
 * thresholds and exemplars of the units that MILAN's `blocks.N.mlp.fc2` names. They are coordinates
 * of the residual stream, not key neurons: see docs/analyses/atlas.md. */
#include "lens/clones.h"
#include "lens/exemplars.h"
#include "lens/lens.h"
#include "lens/values.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

typedef struct state {
    const kh_lens_setup *setup;
    kh_exemplar_lists lists;
    float *scale;     /* [blocks, dim] LayerScale, or ones */
    uint64_t *images; /* [1] */
    uint32_t *bins;   /* [channels, KH_SKETCH_BINS] over patches */
    int64_t *sum;     /* [channels] over images of the means over patches */
    float *max, *min; /* [channels] */
    float *peak;      /* [channels] of the image at hand; a block's belong to its thread */
    uint32_t *token;  /* [channels] */
    double *total;    /* [channels] */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_exemplar_lists_clear(&s->lists);
    void *const all[] = {s->scale, s->images, s->bins,  s->sum,  s->max,
                         s->min,   s->peak,   s->token, s->total};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    if (setup->info->is_post_norm)
        return "a norm stands between the second matrix and the residual stream";
    if ((double)setup->images * (double)setup->patches >= 0x1p32)
        return "there are more patches than a sketch counts";
    return NULL;
}

static kh_status read_scales(state *s, kh_error *err) {
    const kh_model_info *info = s->setup->info;
    for (size_t b = 0; b < info->blocks; b++) {
        float *gamma = NULL, *scale = s->scale + b * info->dim;
        if (info->has_layer_scale)
            KH_TRY(
                kh_lens_read_block(s->setup->model, b, "ls2.gamma", true, info->dim, &gamma, err));
        for (size_t d = 0; d < info->dim; d++)
            scale[d] = gamma ? gamma[d] : 1.0f;
        kh_free(gamma);
    }
    return KH_OK;
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t channels = setup->info->blocks * setup->info->dim;
    bool ok = s != NULL;
    *out = NULL;
    if (s) {
        s->setup = setup;
        ok = kh_exemplar_lists_init(&s->lists, setup, setup->info->dim);
        s->scale = kh_alloc_floats(channels);
        s->images = kh_calloc(1, sizeof *s->images);
        s->bins = kh_calloc(channels * KH_SKETCH_BINS, sizeof *s->bins);
        s->sum = kh_calloc(channels, sizeof *s->sum);
        s->max = kh_calloc(channels, sizeof *s->max);
        s->min = kh_calloc(channels, sizeof *s->min);
        s->peak = kh_alloc_floats(channels);
        s->token = kh_calloc(channels, sizeof *s->token);
        s->total = kh_calloc(channels, sizeof *s->total);
        ok = ok && s->scale && s->images && s->bins && s->sum && s->max && s->min && s->peak &&
             s->token && s->total;
    }
    kh_status status =
        ok ? read_scales(s, err)
           : kh_fail(err, KH_E_MEMORY, "no memory for exemplars of %zu channels", channels);
    if (status)
        free_state(s);
    else
        *out = s;
    return status;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const kh_exemplar_lists *l = &s->lists;
    p[0] = (kh_piece){"channels.top", KH_PIECE_TOP, l->top, l->units * l->k, l->k};
    p[1] = (kh_piece){"channels.sample", KH_PIECE_MAX_F32, l->sample_max, l->sampled * l->units, 0};
    p[2] = (kh_piece){"channels.images", KH_PIECE_SUM_U64, s->images, 1, 0};
    p[3] = (kh_piece){"channels.bins", KH_PIECE_SUM_U32, s->bins, l->units * KH_SKETCH_BINS, 0};
    p[4] = (kh_piece){"channels.sum", KH_PIECE_SUM_I64, s->sum, l->units, 0};
    p[5] = (kh_piece){"channels.max", KH_PIECE_MAX_F32, s->max, l->units, 0};
    p[6] = (kh_piece){"channels.min", KH_PIECE_MIN_F32, s->min, l->units, 0};
    return 7;
}

/* ---- one image ----------------------------------------------------------------------------- */

/* Channels looked at together: a cache line of floats, and their sketches stay near. */
enum { TILE = 16 };

/* A channel that LayerScale switches off gave nothing: 0. */
static float unscaled(float value, float scale) {
    if (scale == 1.0f) return value;
    return scale != 0.0f ? value / scale : 0.0f;
}

static inline size_t bin_of(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits >= KH_SKETCH_LOW_BITS ? kh_sketch_bin_of_bits(bits) : 0;
}

/* Patches of `width` channels from `first` (of all blocks) on; rows: where the first of them lies.
 */
static void see_tile(state *s, const float *rows, size_t first, size_t width) {
    const size_t dim = s->lists.per_block, patches = s->setup->patches;
    float peak[TILE], low[TILE];
    uint32_t token[TILE] = {0};
    double total[TILE] = {0};
    for (size_t d = 0; d < width; d++) {
        peak[d] = -INFINITY;
        low[d] = s->min[first + d];
    }
    for (size_t t = 0; t < patches; t++) {
        kh_expect_row(rows + t * dim, dim, patches - t, width);
        for (size_t d = 0; d < width; d++) {
            const float v = unscaled(rows[t * dim + d], s->scale[first + d]);
            const bool is_more = v > peak[d];
            total[d] += (double)v;
            peak[d] = is_more ? v : peak[d];
            token[d] = is_more ? (uint32_t)t : token[d];
            low[d] = v < low[d] ? v : low[d];
            s->bins[(first + d) * KH_SKETCH_BINS + bin_of(v)]++;
        }
    }
    for (size_t d = 0; d < width; d++) {
        s->peak[first + d] = peak[d];
        s->token[first + d] = token[d];
        s->total[first + d] = total[d];
        s->min[first + d] = low[d];
    }
}

static bool see(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    const size_t dim = info->dim, first = block * dim;
    const float *rows =
        batch->site[KH_SITE_MLP_OUT][block] + (i * info->tokens + info->prefix_tokens) * dim;
    bool ok = true;
    for (size_t d = 0; d < dim; d += TILE)
        see_tile(s, rows + d, first + d, dim - d < TILE ? dim - d : TILE);
    for (size_t u = first; u < first + dim; u++) {
        ok &= kh_fix_add(&s->sum[u], s->total[u] / (double)s->setup->patches);
        if (s->peak[u] > s->max[u]) s->max[u] = s->peak[u];
    }
    return kh_exemplar_lists_see(&s->lists, batch->ids[i], block, s->peak + first,
                                 s->token + first) &&
           ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    s->images[0] += batch->count;
    return kh_lens_by_block(s->setup, batch, see, s, "a channel of an MLP", err);
}

/* ---- results ------------------------------------------------------------------------------- */

static void write_channels(const state *s, float *threshold, const kh_lens_out *out) {
    const size_t channels = s->lists.units, dim = s->lists.per_block;
    const uint64_t n = s->images[0];
    out->table(out->user, "channels",
               "block:i channel:i n:i mean:r min:r max:r threshold:r is_low:i threshold_99:r");
    for (size_t u = 0; u < channels; u++) {
        const uint32_t *bins = s->bins + u * KH_SKETCH_BINS;
        bool is_low, is_low_99;
        const double t = kh_sketch_quantile(bins, s->setup->quantile, s->max[u], &is_low);
        const double t99 = kh_sketch_quantile(bins, 0.99, s->max[u], &is_low_99);
        threshold[u] = (float)t;
        threshold[channels + u] = (float)t99;
        out->integer(out->user, (int64_t)(u / dim));
        out->integer(out->user, (int64_t)(u % dim));
        out->integer(out->user, (int64_t)(n * s->setup->patches));
        out->real(out->user, kh_fix_mean(s->sum[u], n));
        out->real(out->user, n ? (double)s->min[u] : (double)NAN);
        out->real(out->user, n ? (double)s->max[u] : (double)NAN);
        out->real(out->user, t);
        out->integer(out->user, is_low);
        out->real(out->user, t99);
        out->row(out->user);
    }
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    const size_t channels = s->lists.units;
    const size_t shape[2] = {s->setup->info->blocks, s->setup->info->dim};
    kh_top_entry *best = kh_calloc(channels * s->setup->exemplars, sizeof *best);
    float *threshold = kh_alloc_floats(2 * channels);
    kh_status status = KH_OK;
    if (!best || !threshold)
        status = kh_fail(err, KH_E_MEMORY, "no memory to list exemplars of channels");
    if (!status) {
        write_channels(s, threshold, out);
        out->array(out->user, "channel_thresholds", KH_OUT_F32, shape, 2, threshold,
                   "output exceeded by the dissection share of patches, by block and channel");
        out->array(out->user, "channel_thresholds_99", KH_OUT_F32, shape, 2, threshold + channels,
                   "0.99 quantile over patches, by block and channel");
        out->table(out->user, "channel_exemplars",
                   "block:i channel:i level:t rank:i image:i patch:i value:r truth:i");
        status = kh_exemplar_lists_write(&s->lists, best, out, err);
    }
    kh_free(threshold);
    kh_free(best);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    const size_t channels = setup->info->blocks * setup->info->dim;
    kh_exemplar_lists_size(setup, channels, out);
    kh_lens_size_add(out, channels, 4, 5, 0);
    out->array_bytes += 8 * channels;
}

const kh_lens_kind kh_kind_channels = {
    .name = "channels",
    .version = 1,
    .sites = 1u << KH_SITE_MLP_OUT,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
    .arrays = {"channel_thresholds", "channel_thresholds_99"},
};
