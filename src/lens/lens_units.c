/* Lens "units": how every key neuron's coefficients are distributed over all patches: thresholds
 * of Network Dissection, moments, density. */
#include "lens/lens_units.h"
#include "lens/clones.h"
#include "lens/lens.h"

#include "base/alloc.h"
#include "compute/backend.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define KH_HAS_COMPRESS
#endif

/* Neurons of one step. */
enum { STEP = 32 };

typedef struct state {
    const kh_lens_setup *setup;
    uint64_t images;
    uint32_t *bins;         /* [units, KH_SKETCH_BINS], without what is in `recent` */
    uint8_t *recent;        /* [units, KH_SKETCH_BINS] counts below 256 that bins lacks */
    int64_t *sum, *squares; /* [units] over images of the means over patches */
    float *max, *min;       /* [units] */
    bool is_settled;        /* recent holds nothing */
    bool can_compress;      /* this processor has AVX-512 */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->bins);
    kh_free(s->sum);
    kh_free(s->squares);
    kh_free(s->max);
    kh_free(s->min);
    kh_free(s->recent);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    *out = NULL;
    if ((double)setup->images * (double)setup->patches >= 0x1p32)
        return kh_fail(err, KH_E_LIMIT, "%zu images of %zu patches are more than a sketch counts",
                       setup->images, setup->patches);
    state *s = kh_calloc(1, sizeof *s);
    if (s) {
        s->setup = setup;
#ifdef KH_HAS_COMPRESS
        s->can_compress = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("popcnt");
#endif
        s->bins = kh_calloc(setup->units * KH_SKETCH_BINS, sizeof *s->bins);
        s->recent = kh_calloc(setup->units * KH_SKETCH_BINS, sizeof *s->recent);
        s->is_settled = true;
        s->sum = kh_calloc(setup->units, sizeof *s->sum);
        s->squares = kh_calloc(setup->units, sizeof *s->squares);
        s->max = kh_calloc(setup->units, sizeof *s->max);
        s->min = kh_calloc(setup->units, sizeof *s->min);
    }
    *out = s;
    if (s && s->bins && s->recent && s->sum && s->squares && s->max && s->min) return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for the sketches of %zu neurons (%.0f MB)",
                   setup->units, (double)(setup->units * KH_SKETCH_BINS) * 4e-6);
}

static void settle_block(void *arg, size_t block, size_t worker) {
    state *s = arg;
    const size_t neurons = s->setup->info->neurons, first = block * neurons * KH_SKETCH_BINS;
    (void)worker;
    for (size_t i = first; i < first + neurons * KH_SKETCH_BINS; i++) {
        s->bins[i] += s->recent[i];
        s->recent[i] = 0;
    }
}

/* Whoever looks at the counts finds all of them in `bins`. */
static void settle(state *s) {
    if (s->is_settled) return;
    kh_pool_run(kh_ctx_pool(s->setup->ctx), s->setup->info->blocks, settle_block, s);
    s->is_settled = true;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t u = s->setup->units;
    settle(s);
    p[0] = (kh_piece){"units.images", KH_PIECE_SUM_U64, &s->images, 1, 0};
    p[1] = (kh_piece){"units.bins", KH_PIECE_SUM_U32, s->bins, u * KH_SKETCH_BINS, 0};
    p[2] = (kh_piece){"units.sum", KH_PIECE_SUM_I64, s->sum, u, 0};
    p[3] = (kh_piece){"units.squares", KH_PIECE_SUM_I64, s->squares, u, 0};
    p[4] = (kh_piece){"units.max", KH_PIECE_MAX_F32, s->max, u, 0};
    p[5] = (kh_piece){"units.min", KH_PIECE_MIN_F32, s->min, u, 0};
    return 6;
}

/* ---- counting ------------------------------------------------------------------------------ */

/* Bins of STEP coefficients. Most are small or negative and fall into bin 0: to count them too is
 * cheaper than to ask. */
static inline void find_bins(const float *row, int32_t *bin) {
    enum { BIN_0_BITS = KH_SKETCH_LOW_BITS - (1 << KH_SKETCH_SHIFT) };
    for (size_t n = 0; n < STEP; n++) {
        int32_t bits;
        memcpy(&bits, &row[n], sizeof bits);
        bits = bits < KH_SKETCH_LOW_BITS ? BIN_0_BITS : bits;
        const int32_t above = (bits - BIN_0_BITS) >> KH_SKETCH_SHIFT;
        bin[n] = above < KH_SKETCH_BINS - 1 ? above : KH_SKETCH_BINS - 1;
    }
}

/* The sketches of all neurons are half a gigabyte and every batch would read and write most of it.
 * So counting goes into bytes, a quarter of that, which pass on every 256. */
static inline void count_step(const int32_t *bin, uint8_t *recent, uint32_t *bins) {
    KH_UNROLL
    for (size_t n = 0; n < STEP; n++) {
        const size_t at = n * KH_SKETCH_BINS + (size_t)(uint32_t)bin[n];
        if (__builtin_expect(++recent[at] == 0, 0)) bins[at] += 256;
    }
}

/* Any number of neurons up to STEP, on any machine. */
KH_CLONES static void count_rows(const float *rows, size_t stride, size_t patches, size_t width,
                                 uint8_t *recent, uint32_t *bins) {
    float rest[STEP] = {0};
    int32_t bin[STEP];
    for (size_t t = 0; t < patches; t++, rows += stride) {
        if (width == STEP) {
            find_bins(rows, bin);
            count_step(bin, recent, bins);
            continue;
        }
        memcpy(rest, rows, width * sizeof *rest);
        find_bins(rest, bin);
        for (size_t n = 0; n < width; n++) {
            const size_t to = n * KH_SKETCH_BINS + (size_t)bin[n];
            if (++recent[to] == 0) bins[to] += 256;
        }
    }
}

#ifdef KH_HAS_COMPRESS
/* STEP neurons: places of the values above bin 0 go into a list, so that they can be fetched before
 * they are counted; how often bin 0 came is known from the length of what was left out. */
__attribute__((target("avx512f,popcnt"))) static void
count_listed(const float *rows, size_t stride, size_t patches, uint8_t *recent, uint32_t *bins) {
    enum { LANES = 16, VECTORS = STEP / LANES, ROWS = 64, AHEAD = 96 };
    int32_t list[ROWS * STEP + AHEAD + LANES] = {0};
    const __m512i low = _mm512_set1_epi32(KH_SKETCH_LOW_BITS), one = _mm512_set1_epi32(1);
    const __m512i last = _mm512_set1_epi32(KH_SKETCH_BINS - 1);
    const __m512i lane =
        _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                           _mm512_set1_epi32(KH_SKETCH_BINS));
    __m512i below[VECTORS];
    for (size_t v = 0; v < VECTORS; v++)
        below[v] = _mm512_setzero_si512();
    for (size_t t = 0; t < patches;) {
        const size_t end = patches - t < ROWS ? patches : t + ROWS;
        size_t count = 0;
        for (; t < end; t++)
            for (size_t v = 0; v < VECTORS; v++) {
                const __m512i bits = _mm512_loadu_si512(rows + t * stride + v * LANES);
                const __mmask16 is_low = _mm512_cmplt_epi32_mask(bits, low);
                __m512i bin = _mm512_srai_epi32(_mm512_sub_epi32(bits, low), KH_SKETCH_SHIFT);
                bin = _mm512_min_epi32(_mm512_add_epi32(bin, one), last);
                bin = _mm512_add_epi32(bin, lane);
                bin = _mm512_add_epi32(bin, _mm512_set1_epi32((int)(v * LANES) * KH_SKETCH_BINS));
                const __mmask16 is_listed = (__mmask16)~is_low;
                _mm512_storeu_si512(list + count, _mm512_maskz_compress_epi32(is_listed, bin));
                count += (size_t)_mm_popcnt_u32(is_listed);
                below[v] = _mm512_mask_add_epi32(below[v], is_low, below[v], one);
            }
        for (size_t i = 0; i < count; i++) {
            __builtin_prefetch(recent + list[i + AHEAD], 1);
            const size_t to = (size_t)(uint32_t)list[i];
            if (__builtin_expect(++recent[to] == 0, 0)) bins[to] += 256;
        }
    }
    uint32_t times[STEP];
    for (size_t v = 0; v < VECTORS; v++)
        _mm512_storeu_si512(times + v * LANES, below[v]);
    for (size_t n = 0; n < STEP; n++) {
        const size_t to = n * KH_SKETCH_BINS;
        const uint32_t sum = recent[to] + times[n];
        recent[to] = (uint8_t)sum;
        if (sum > UINT8_MAX) bins[to] += sum - (uint8_t)sum;
    }
}
#endif

/* The bins of STEP neurons fit the first-level cache where those of a whole tile do not. */
static void see_tile(void *at, const kh_lens_batch *batch, kh_lens_tile tile) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    const size_t neurons = info->neurons, patches = s->setup->patches;
    const size_t first = tile.block * neurons + tile.first;
    const float *rows = batch->site[KH_SITE_POST][tile.block] +
                        (tile.image * info->tokens + info->prefix_tokens) * neurons + tile.first;
    for (size_t n = 0; n < tile.width; n += STEP) {
        const size_t width = tile.width - n < STEP ? tile.width - n : STEP;
        uint8_t *recent = s->recent + (first + n) * KH_SKETCH_BINS;
        uint32_t *bins = s->bins + (first + n) * KH_SKETCH_BINS;
#ifdef KH_HAS_COMPRESS
        if (width == STEP && s->can_compress) {
            count_listed(rows + n, neurons, patches, recent, bins);
            continue;
        }
#endif
        count_rows(rows + n, neurons, patches, width, recent, bins);
    }
}

static bool add_moments(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const kh_features *f = batch->features;
    const size_t neurons = s->setup->info->neurons, first = block * neurons;
    bool ok = true;
    for (size_t u = first, k = i * s->setup->units + first; u < first + neurons; u++, k++) {
        ok &= kh_fix_add(&s->sum[u], (double)f->mean[k]);
        ok &= kh_fix_add(&s->squares[u], (double)f->squares[k]);
        if (f->max[k] > s->max[u]) s->max[u] = f->max[k];
        if (f->min[k] < s->min[u]) s->min[u] = f->min[k];
    }
    return ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    s->is_settled = false;
    s->images += batch->count;
    return kh_lens_by_block(s->setup, batch, add_moments, s, "a memory coefficient", err);
}

/* ---- results ------------------------------------------------------------------------------- */

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    settle(s);
    const kh_model_info *info = s->setup->info;
    const size_t units = s->setup->units, shape[2] = {info->blocks, info->neurons};
    float *threshold = kh_alloc_floats(2 * units);
    if (!threshold) return kh_fail(err, KH_E_MEMORY, "no memory for thresholds");
    out->table(out->user, "neurons",
               "block:i neuron:i n:i mean:r std:r min:r max:r density:r threshold:r is_low:i "
               "threshold_99:r");
    for (size_t u = 0; u < units; u++) {
        const uint32_t *bins = s->bins + u * KH_SKETCH_BINS;
        const double n = (double)(s->images * s->setup->patches);
        bool is_low, is_low_99;
        const double t = kh_sketch_quantile(bins, s->setup->quantile, s->max[u], &is_low);
        const double t99 = kh_sketch_quantile(bins, 0.99, s->max[u], &is_low_99);
        threshold[u] = (float)t;
        threshold[units + u] = (float)t99;
        out->integer(out->user, (int64_t)(u / info->neurons));
        out->integer(out->user, (int64_t)(u % info->neurons));
        out->integer(out->user, (int64_t)(s->images * s->setup->patches));
        out->real(out->user, kh_fix_mean(s->sum[u], s->images));
        out->real(out->user, sqrt(kh_fix_variance(s->sum[u], s->squares[u], s->images)));
        out->real(out->user, s->images ? (double)s->min[u] : (double)NAN);
        out->real(out->user, s->images ? (double)s->max[u] : (double)NAN);
        out->real(out->user, s->images ? (n - (double)bins[0]) / n : (double)NAN);
        out->real(out->user, t);
        out->integer(out->user, is_low);
        out->real(out->user, t99);
        out->row(out->user);
    }
    out->array(out->user, "thresholds", KH_OUT_F32, shape, 2, threshold,
               "coefficient exceeded by the dissection share of patches, by block and neuron");
    out->array(out->user, "thresholds_99", KH_OUT_F32, shape, 2, threshold + units,
               "0.99 quantile over patches, by block and neuron");
    kh_free(threshold);
    return KH_OK;
}

double kh_lens_unit_mean(const void *at, size_t unit) {
    const state *s = at;
    return kh_fix_mean(s->sum[unit], s->images);
}

double kh_lens_unit_deviation(const void *at, size_t unit) {
    const state *s = at;
    return sqrt(kh_fix_variance(s->sum[unit], s->squares[unit], s->images));
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, setup->units, 4, 7, 0);
    out->array_bytes += 8 * setup->units;
}

const kh_lens_kind kh_kind_units = {
    .name = "units",
    .version = 1,
    .sites = 1u << KH_SITE_POST,
    .is_default = true,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .see_tile = see_tile,
    .consume = consume,
    .finish = finish,
    .size = size,
    .arrays = {"thresholds", "thresholds_99"},
};
