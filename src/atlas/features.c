#include "atlas/features.h"

#include "base/alloc.h"
#include "compute/backend.h"
#include "lens/clones.h"

#include <math.h>
#include <string.h>

/* Neurons of one task: half a kilobyte of a row at a time, and their sums stay in the first-level
 * cache. */
enum { TILE = 128 };

kh_status kh_features_init(kh_features *f, const kh_model_info *info, size_t max_batch,
                           kh_error *err) {
    const size_t count = max_batch * info->blocks * info->neurons;
    *f = (kh_features){0};
    if (info->prefix_tokens) f->cls = kh_alloc_floats(count);
    f->mean = kh_alloc_floats(count);
    f->squares = kh_alloc_floats(count);
    f->max = kh_alloc_floats(count);
    f->min = kh_alloc_floats(count);
    f->token = kh_calloc(count, sizeof *f->token);
    if ((f->cls || !info->prefix_tokens) && f->mean && f->squares && f->max && f->min && f->token)
        return KH_OK;
    kh_features_clear(f);
    return kh_fail(err, KH_E_MEMORY, "no memory for a batch of %zu images", max_batch);
}

void kh_features_clear(kh_features *f) {
    kh_free(f->cls);
    kh_free(f->mean);
    kh_free(f->squares);
    kh_free(f->max);
    kh_free(f->min);
    kh_free(f->token);
    *f = (kh_features){0};
}

uint64_t kh_features_bytes(const kh_model_info *info, size_t max_batch) {
    return (uint64_t)max_batch * info->blocks * info->neurons * 6 * sizeof(float);
}

typedef struct sums {
    double sum[TILE], squares[TILE];
    float max[TILE], min[TILE];
    uint32_t token[TILE];
} sums;

/* One patch more. */
static inline void add_row(sums *s, const float *row, uint32_t token) {
    for (size_t n = 0; n < TILE; n++) {
        const double v = (double)row[n];
        s->sum[n] += v;
        s->squares[n] += v * v;
    }
    for (size_t n = 0; n < TILE; n++) {
        const bool is_more = row[n] > s->max[n];
        s->max[n] = is_more ? row[n] : s->max[n];
        s->token[n] = is_more ? token : s->token[n];
        s->min[n] = row[n] < s->min[n] ? row[n] : s->min[n];
    }
}

typedef struct job {
    kh_features *f;
    const kh_lens_setup *setup;
    const kh_lens_batch *batch;
    size_t tiles;
} job;

KH_CLONES static void reduce_tile(kh_features *f, const kh_model_info *info, const float *rows,
                                  size_t at, size_t width) {
    const size_t neurons = info->neurons, prefix = info->prefix_tokens;
    const double patches = (double)(info->tokens - prefix);
    float padded[TILE] = {0};
    sums s = {0};
    for (size_t n = 0; n < TILE; n++) {
        s.max[n] = -INFINITY;
        s.min[n] = INFINITY;
    }
    for (size_t t = prefix; t < info->tokens; t++) {
        const float *row = rows + t * neurons;
        kh_expect_row(row, neurons, info->tokens - t, width);
        if (width < TILE) row = memcpy(padded, row, width * sizeof *row);
        add_row(&s, row, (uint32_t)(t - prefix));
    }
    for (size_t n = 0; n < width; n++) {
        f->mean[at + n] = (float)(s.sum[n] / patches);
        f->squares[at + n] = (float)(s.squares[n] / patches);
        f->max[at + n] = s.max[n];
        f->min[at + n] = s.min[n];
        f->token[at + n] = s.token[n];
    }
    if (f->cls) memcpy(f->cls + at, rows, width * sizeof *rows);
}

static void walk_tile(void *arg, size_t task, size_t worker) {
    const job *j = arg;
    const kh_lens_setup *setup = j->setup;
    const kh_model_info *info = setup->info;
    const size_t neurons = info->neurons;
    const size_t block = task / j->tiles, first = task % j->tiles * TILE;
    const size_t width = neurons - first < TILE ? neurons - first : TILE;
    (void)worker;
    for (size_t i = 0; i < j->batch->count; i++) {
        const float *rows =
            j->batch->site[KH_SITE_POST][block] + i * info->tokens * neurons + first;
        reduce_tile(j->f, info, rows, (i * info->blocks + block) * neurons + first, width);
        const kh_lens_tile tile = {block, first, width, i};
        for (size_t l = 0; l < setup->lens_count; l++)
            if (setup->kinds[l]->see_tile)
                setup->kinds[l]->see_tile(setup->states[l], j->batch, tile);
    }
}

void kh_features_compute(kh_features *f, const kh_lens_setup *setup, const kh_lens_batch *batch) {
    const kh_model_info *info = setup->info;
    job j = {.f = f, .setup = setup, .batch = batch, .tiles = (info->neurons + TILE - 1) / TILE};
    kh_pool_run(kh_ctx_pool(setup->ctx), info->blocks * j.tiles, walk_tile, &j);
}
