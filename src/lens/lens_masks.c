/* Lens "masks": does the best aligned neuron of a block fire where the object is? Percentile masks
 * (figures 1 and 2) of its map and of the running mean over blocks, against the true mask. */
#include "lens/batch_maps.h"
#include "lens/dissect.h"
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>
#include <string.h>

#define PERCENTILE 0.8

enum { OWN, RUNNING, KINDS };

typedef struct state {
    const kh_lens_setup *setup;
    size_t blocks, pixels;
    uint64_t *n;                       /* [1] images with a subject */
    uint64_t *both, *either;           /* [blocks, KINDS] pixels, over all images */
    uint64_t *hits;                    /* [blocks, KINDS] maximum on the subject */
    int64_t *iou, *precision, *recall; /* [blocks, KINDS] sums over images */
    float *map;                        /* [KINDS, blocks, patches] of an image */
    float *up;                         /* [pixels] */
    uint8_t *truth, *mask;             /* [pixels] */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    void *const all[] = {s->n,      s->both, s->either, s->hits,  s->iou, s->precision,
                         s->recall, s->map,  s->up,     s->truth, s->mask};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    if (!setup->label_set) return "no label maps are given";
    return setup->ranking ? NULL : "no neurons can be aligned with classes";
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t cells = setup->info->blocks * KINDS;
    kh_status status = KH_OK;
    *out = NULL;
    if (s) {
        s->setup = setup;
        s->blocks = setup->info->blocks;
        s->pixels = setup->info->image_height * setup->info->image_width;
        s->n = kh_calloc(1, sizeof *s->n);
        s->both = kh_calloc(cells, sizeof *s->both);
        s->either = kh_calloc(cells, sizeof *s->either);
        s->hits = kh_calloc(cells, sizeof *s->hits);
        s->iou = kh_calloc(cells, sizeof *s->iou);
        s->precision = kh_calloc(cells, sizeof *s->precision);
        s->recall = kh_calloc(cells, sizeof *s->recall);
        s->map = kh_alloc_floats(cells * setup->patches);
        s->up = kh_alloc_floats(s->pixels);
        s->truth = kh_calloc(s->pixels, 1);
        s->mask = kh_calloc(s->pixels, 1);
    }
    if (!s || !s->n || !s->both || !s->either || !s->hits || !s->iou || !s->precision ||
        !s->recall || !s->map || !s->up || !s->truth || !s->mask)
        status = kh_fail(err, KH_E_MEMORY, "no memory to compare masks");
    if (status)
        free_state(s);
    else
        *out = s;
    return status;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t cells = s->blocks * KINDS;
    p[0] = (kh_piece){"masks.n", KH_PIECE_SUM_U64, s->n, 1, 0};
    p[1] = (kh_piece){"masks.both", KH_PIECE_SUM_U64, s->both, cells, 0};
    p[2] = (kh_piece){"masks.either", KH_PIECE_SUM_U64, s->either, cells, 0};
    p[3] = (kh_piece){"masks.hits", KH_PIECE_SUM_U64, s->hits, cells, 0};
    p[4] = (kh_piece){"masks.iou", KH_PIECE_SUM_I64, s->iou, cells, 0};
    p[5] = (kh_piece){"masks.precision", KH_PIECE_SUM_I64, s->precision, cells, 0};
    p[6] = (kh_piece){"masks.recall", KH_PIECE_SUM_I64, s->recall, cells, 0};
    return 7;
}

/* The map of each block's best aligned neuron of the class, and their running means. */
static void take_maps(state *s, const kh_lens_batch *batch, size_t i) {
    const kh_model_info *info = s->setup->info;
    const size_t patches = s->setup->patches;
    for (size_t b = 0; b < s->blocks; b++) {
        const size_t neuron = kh_ranking_unit(s->setup->ranking, b, 0, batch->truth[i]);
        const float *rows = batch->site[KH_SITE_POST][b] +
                            (i * info->tokens + info->prefix_tokens) * info->neurons + neuron;
        for (size_t t = 0; t < patches; t++)
            s->map[b * patches + t] = rows[t * info->neurons];
    }
    kh_lens_running_mean(s->map, s->blocks, patches, false, s->map + s->blocks * patches);
}

/* Precision of an empty mask counts as 0: it found nothing. */
static double or_zero(double value) {
    return isnan(value) ? 0 : value;
}

static kh_status compare(state *s, size_t block, size_t kind, kh_error *err) {
    const kh_model_info *info = s->setup->info;
    const size_t cell = block * KINDS + kind;
    double threshold;
    size_t kept;
    kh_mask_score score;
    kh_lens_upsample(s->map + (kind * s->blocks + block) * s->setup->patches, kh_lens_grid(info),
                     info->image_height, info->image_width, s->up);
    KH_TRY(kh_lens_mask(s->up, s->pixels, PERCENTILE, s->mask, &threshold, &kept, err));
    kh_lens_mask_score(s->mask, s->up, s->truth, s->pixels, &score);
    s->both[cell] += score.both;
    s->either[cell] += score.kept + score.truth - score.both;
    s->hits[cell] += score.pointing_hit;
    (void)kh_fix_add(&s->iou[cell], or_zero(score.iou));
    (void)kh_fix_add(&s->precision[cell], or_zero(score.precision));
    (void)kh_fix_add(&s->recall[cell], or_zero(score.recall));
    return KH_OK;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++) {
        if (!kh_batch_maps_subject(batch->maps, i, batch->truth[i], s->truth)) continue;
        take_maps(s, batch, i);
        for (size_t b = 0; b < s->blocks; b++)
            for (size_t k = 0; k < KINDS; k++)
                KH_TRY(compare(s, b, k, err));
        s->n[0]++;
    }
    return KH_OK;
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    static const char *const names[KINDS] = {"own", "running"};
    const state *s = at;
    (void)err;
    out->table(out->user, "masks",
               "block:i kind:t n:i pooled_iou:r iou:r precision:r recall:r pointing:r");
    for (size_t i = 0; i < s->blocks * KINDS; i++) {
        out->integer(out->user, (int64_t)(i / KINDS));
        out->text(out->user, names[i % KINDS]);
        out->integer(out->user, (int64_t)s->n[0]);
        out->real(out->user,
                  s->either[i] ? (double)s->both[i] / (double)s->either[i] : (double)NAN);
        out->real(out->user, kh_fix_mean(s->iou[i], s->n[0]));
        out->real(out->user, kh_fix_mean(s->precision[i], s->n[0]));
        out->real(out->user, kh_fix_mean(s->recall[i], s->n[0]));
        out->real(out->user, s->n[0] ? (double)s->hits[i] / (double)s->n[0] : (double)NAN);
        out->row(out->user);
    }
    return KH_OK;
}

const kh_lens_kind kh_kind_masks = {
    .name = "masks",
    .version = 1,
    .sites = 1u << KH_SITE_POST,
    .needs_maps = true,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
};
