/* Heatmaps against true masks. */
#include "lens/truth.h"

#include "base/alloc.h"
#include "base/pool.h"
#include "base/status.h"
#include "compute/backend.h"

#include <math.h>
#include <string.h>

void kh_lens_truth_middle(kh_grid grid, float *map) {
    for (size_t y = 0; y < grid.height; y++)
        for (size_t x = 0; x < grid.width; x++) {
            const double v = (2 * (double)y + 1) / (double)grid.height * grid.seen_height - 1;
            const double u = (2 * (double)x + 1) / (double)grid.width * grid.seen_width - 1;
            map[y * grid.width + x] = (float)(1 - (u * u + v * v) / 2);
        }
}

/* Scratch of one worker. */
typedef struct bench {
    float *big;     /* [pixels] the upsampled map */
    uint8_t *mask;  /* [pixels] */
    uint64_t *keys; /* [2 pixels] */
} bench;

typedef struct job {
    const kh_truth_maps *what;
    size_t patches, pixels;
    bench *benches; /* [threads] */
    kh_truth_score *out;
    kh_status *status; /* [images * scored] */
} job;

static void describe_map(const float *map, size_t patches, kh_truth_score *out) {
    float low = map[0], high = map[0];
    for (size_t p = 1; p < patches; p++) {
        low = fminf(low, map[p]);
        high = fmaxf(high, map[p]);
    }
    out->peak = high;
    out->is_silent = !(high > 0 && high > low);
}

/* Mean of the map on the object and beside it. */
static void contrast(const float *map, const uint8_t *truth, size_t count, kh_truth_score *out) {
    double sum[2] = {0, 0};
    for (size_t i = 0; i < count; i++)
        sum[truth[i] != 0] += (double)map[i];
    const size_t beside = count - out->object;
    out->inside = out->object ? sum[1] / (double)out->object : (double)NAN;
    out->outside = beside ? sum[0] / (double)beside : (double)NAN;
}

static double ceiling_of(size_t kept, size_t object, size_t pixels, double quantile) {
    size_t size = kept;
    if (size == 0) size = pixels - 1 - (size_t)(quantile * (double)(pixels - 1));
    const size_t small = size < object ? size : object, large = size < object ? object : size;
    return large ? (double)small / (double)large : (double)NAN;
}

static kh_status score(const job *j, const bench *b, const float *map, const uint8_t *truth,
                       kh_truth_score *out) {
    const kh_truth_maps *w = j->what;
    *out = (kh_truth_score){0};
    describe_map(map, j->patches, out);
    kh_lens_upsample(map, w->grid, w->height, w->width, b->big);
    KH_TRY(kh_lens_mask(b->big, j->pixels, w->quantile, b->mask, NULL, NULL, NULL));
    kh_mask_score m;
    kh_lens_mask_score(b->mask, b->big, truth, j->pixels, &m);
    out->object = m.truth;
    out->kept = m.kept;
    if (m.truth == 0) {
        out->share = out->iou = out->ceiling = out->precision = out->recall = (double)NAN;
        out->auroc = out->inside = out->outside = (double)NAN;
        return KH_OK;
    }
    out->share = (double)m.truth / (double)j->pixels;
    out->iou = m.iou;
    out->ceiling = ceiling_of(m.kept, m.truth, j->pixels, w->quantile);
    out->precision = m.precision;
    out->recall = m.recall;
    out->is_hit = m.kept > 0 && m.pointing_hit; /* a constant map points nowhere */
    out->auroc = kh_auroc_with(b->big, truth, j->pixels, b->keys);
    contrast(b->big, truth, j->pixels, out);
    return KH_OK;
}

static void score_task(void *arg, size_t task, size_t worker) {
    const job *j = arg;
    const kh_truth_maps *w = j->what;
    const size_t image = task / w->scored, slot = task % w->scored;
    const float *map = w->maps + (image * w->stride + slot) * j->patches;
    j->status[task] =
        score(j, &j->benches[worker], map, w->truth + image * j->pixels, &j->out[task]);
}

static kh_status first_failure(const job *j, kh_error *err) {
    const kh_truth_maps *w = j->what;
    for (size_t i = 0; i < w->images * w->scored; i++) {
        if (j->status[i] == KH_E_MEMORY)
            return kh_fail(err, KH_E_MEMORY, "no memory to score %zu maps", w->images * w->scored);
        if (j->status[i])
            return kh_fail(err, j->status[i], "map %zu of image %zu holds a NaN", i % w->scored,
                           i / w->scored);
    }
    return KH_OK;
}

kh_status kh_lens_truth_scores(kh_ctx *ctx, const kh_truth_maps *what, kh_truth_score *out,
                               kh_error *err) {
    if (!(what->quantile >= 0 && what->quantile <= 1))
        return kh_fail(err, KH_E_ARG, "quantile %g is not in [0, 1]", what->quantile);
    if (what->scored > what->stride)
        return kh_fail(err, KH_E_ARG, "%zu maps to score of %zu", what->scored, what->stride);
    job j = {.what = what,
             .patches = what->grid.height * what->grid.width,
             .pixels = what->height * what->width,
             .out = out};
    const size_t tasks = what->images * what->scored;
    if (tasks == 0 || j.pixels == 0 || j.patches == 0) return KH_OK;
    kh_pool *pool = ctx ? kh_ctx_pool(ctx) : NULL;
    const size_t threads = pool ? kh_pool_threads(pool) : 1;
    j.benches = kh_calloc(threads, sizeof *j.benches);
    j.status = kh_calloc(tasks, sizeof *j.status);
    bool ok = j.benches && j.status;
    for (size_t t = 0; ok && t < threads; t++) {
        bench *b = &j.benches[t];
        *b = (bench){kh_alloc_floats(j.pixels), kh_calloc(j.pixels, 1),
                     kh_calloc(j.pixels, 2 * sizeof(uint64_t))};
        ok = b->big && b->mask && b->keys;
    }
    kh_status status = KH_OK;
    if (!ok) {
        status = kh_fail(err, KH_E_MEMORY, "no memory to score %zu maps", tasks);
    } else {
        kh_pool_run(pool, tasks, score_task, &j);
        status = first_failure(&j, err);
    }
    for (size_t t = 0; j.benches && t < threads; t++) {
        kh_free(j.benches[t].big);
        kh_free(j.benches[t].mask);
        kh_free(j.benches[t].keys);
    }
    kh_free(j.benches);
    kh_free(j.status);
    return status;
}
