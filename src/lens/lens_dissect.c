/* Lens "dissect": Network Dissection of every key neuron against pixel truth, and which neurons
 * fire on the subject, at its border or on the background. A second pass: thresholds come from
 * "units". */
#include "lens/batch_maps.h"
#include "lens/dissect.h"
#include "lens/lens.h"
#include "lens/rotation.h"

#include "base/alloc.h"
#include "compute/backend.h"

#include <math.h>
#include <string.h>

typedef struct state {
    const kh_lens_setup *setup;
    kh_dissect_plan plan;
    size_t labels, categories, pixels;
    uint64_t *intersect; /* [units, labels + 1] */
    uint64_t *active;    /* [units, categories] pixels above the threshold, annotated images only */
    uint64_t *truth;     /* [labels + 1] */
    uint64_t *seen;      /* [1] images with label maps */
    int64_t *fire;       /* [units, KH_REGIONS] sums of coefficients */
    uint64_t *tokens;    /* [KH_REGIONS] */
    kh_rotation rotation;                         /* units 0: no baseline */
    uint64_t *rotated_intersect, *rotated_active; /* as above, of [blocks, rotation.units] */
    float *turned;   /* [blocks, patches, rotation.units] of the image at hand */
    uint8_t *region; /* [max_batch, patches] of the batch at hand */
    size_t room;     /* images it has room for */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_dissect_plan_clear(&s->plan);
    kh_rotation_clear(&s->rotation);
    void *const all[] = {s->intersect,      s->active, s->truth,  s->seen,
                         s->fire,           s->tokens, s->region, s->rotated_intersect,
                         s->rotated_active, s->turned};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    if (!setup->label_set) return "no label maps are given";
    return setup->thresholds ? NULL : "it needs the thresholds of a complete run";
}

static kh_status create_baseline(state *s, kh_error *err) {
    const kh_lens_setup *setup = s->setup;
    const size_t each = kh_rotation_units(setup->info), units = setup->info->blocks * each;
    if (!setup->rotated) return KH_OK;
    s->rotated_intersect = kh_calloc(units * (s->labels + 1), sizeof *s->rotated_intersect);
    s->rotated_active = kh_calloc(units * s->categories, sizeof *s->rotated_active);
    s->turned = kh_alloc_floats(units * setup->patches);
    if (!s->rotated_intersect || !s->rotated_active || !s->turned)
        return kh_fail(err, KH_E_MEMORY, "no memory to dissect %zu rotated units", units);
    return kh_rotation_init(&s->rotation, setup->info, setup->seed, err);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    kh_status status = KH_OK;
    *out = NULL;
    if (s) {
        const kh_label_set *set = setup->label_set;
        s->setup = setup;
        s->labels = kh_label_set_labels(set);
        s->categories = kh_label_set_categories(set);
        s->pixels = setup->info->image_height * setup->info->image_width;
        s->intersect = kh_calloc(setup->units * (s->labels + 1), sizeof *s->intersect);
        s->active = kh_calloc(setup->units * s->categories, sizeof *s->active);
        s->truth = kh_calloc(s->labels + 1, sizeof *s->truth);
        s->seen = kh_calloc(1, sizeof *s->seen);
        s->fire = kh_calloc(setup->units * KH_REGIONS, sizeof *s->fire);
        s->tokens = kh_calloc(KH_REGIONS, sizeof *s->tokens);
    }
    if (!s || !s->intersect || !s->active || !s->truth || !s->seen || !s->fire || !s->tokens)
        status = kh_fail(err, KH_E_MEMORY, "no memory to dissect %zu neurons", setup->units);
    if (!status) status = kh_dissect_plan_init(&s->plan, setup->info, err);
    if (!status) status = create_baseline(s, err);
    if (status)
        free_state(s);
    else
        *out = s;
    return status;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t u = s->setup->units;
    p[0] = (kh_piece){"dissect.intersect", KH_PIECE_SUM_U64, s->intersect, u * (s->labels + 1), 0};
    p[1] = (kh_piece){"dissect.active", KH_PIECE_SUM_U64, s->active, u * s->categories, 0};
    p[2] = (kh_piece){"dissect.truth", KH_PIECE_SUM_U64, s->truth, s->labels + 1, 0};
    p[3] = (kh_piece){"dissect.seen", KH_PIECE_SUM_U64, s->seen, 1, 0};
    p[4] = (kh_piece){"dissect.fire", KH_PIECE_SUM_I64, s->fire, u * KH_REGIONS, 0};
    p[5] = (kh_piece){"dissect.tokens", KH_PIECE_SUM_U64, s->tokens, KH_REGIONS, 0};
    if (!s->rotation.units) return 6;
    const size_t r = s->rotation.blocks * s->rotation.units;
    p[6] = (kh_piece){"dissect.rotated_intersect", KH_PIECE_SUM_U64, s->rotated_intersect,
                      r * (s->labels + 1), 0};
    p[7] = (kh_piece){"dissect.rotated_active", KH_PIECE_SUM_U64, s->rotated_active,
                      r * s->categories, 0};
    return 8;
}

/* ---- label maps of a batch ----------------------------------------------------------------- */

static kh_status make_room(state *s, size_t count, kh_error *err) {
    if (count <= s->room) return KH_OK;
    kh_free(s->region);
    s->region = kh_calloc(count * s->setup->patches, sizeof *s->region);
    s->room = s->region ? count : 0;
    if (s->room) return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for the regions of %zu images", count);
}

static const uint16_t *labels_of(const kh_batch_maps *maps, size_t i) {
    return maps->labels + i * maps->categories * maps->pixels;
}

static void count_labels(state *s, const kh_lens_batch *batch, size_t i) {
    uint8_t *region = s->region + i * s->setup->patches;
    memset(region, KH_REGIONS, s->setup->patches);
    if (!batch->maps->is_there[i]) return;
    const uint16_t *labels = labels_of(batch->maps, i);
    for (size_t p = 0; p < s->categories * s->pixels; p++)
        s->truth[labels[p]] += labels[p] > 0;
    s->seen[0]++;
    const uint16_t subject = kh_subject_label(&batch->maps->subjects, s->setup, batch->truth[i]);
    if (subject == 0) return;
    const size_t category = kh_label_set_label(s->setup->label_set, subject).category;
    kh_dissect_regions(&s->plan, labels + category * s->pixels, subject, region);
    for (size_t t = 0; t < s->setup->patches; t++)
        if (region[t] < KH_REGIONS) s->tokens[region[t]]++;
}

/* ---- neurons ------------------------------------------------------------------------------- */

enum { CHUNK = 16 };

typedef struct job {
    state *s;
    const kh_lens_batch *batch;
    size_t chunks; /* of a block */
} job;

static void see_unit(state *s, const kh_lens_batch *batch, size_t i, size_t block, size_t neuron) {
    const kh_model_info *info = s->setup->info;
    const size_t unit = block * info->neurons + neuron, patches = s->setup->patches;
    const float threshold = s->setup->thresholds[unit];
    const float *column = batch->site[KH_SITE_POST][block] +
                          (i * info->tokens + info->prefix_tokens) * info->neurons + neuron;
    const uint8_t *region = s->region + i * patches;
    float map[KH_DISSECT_PATCHES];
    double sums[KH_REGIONS] = {0};
    for (size_t t = 0; t < patches; t++) {
        map[t] = column[t * info->neurons];
        if (region[t] < KH_REGIONS) sums[region[t]] += (double)map[t];
    }
    for (size_t r = 0; r < KH_REGIONS; r++)
        (void)kh_fix_add(&s->fire[unit * KH_REGIONS + r], sums[r]);
    /* a threshold at the sketch's lower edge means: hardly ever fires */
    if (!(threshold > 0x1p-13f) || !(batch->features->max[i * s->setup->units + unit] > threshold))
        return;
    const kh_dissect_image image = {.maps = labels_of(batch->maps, i),
                                    .has = batch->maps->has + i * s->categories,
                                    .categories = s->categories};
    kh_dissect_count(&s->plan, map, threshold, &image, s->intersect + unit * (s->labels + 1),
                     s->active + unit * s->categories);
}

/* The rotated units of a block, all by one thread. */
static void see_rotated(state *s, const kh_lens_batch *batch, size_t i, size_t block) {
    const kh_model_info *info = s->setup->info;
    const size_t patches = s->setup->patches, each = s->rotation.units;
    const float *rows =
        batch->site[KH_SITE_POST][block] + (i * info->tokens + info->prefix_tokens) * info->neurons;
    float *turned = s->turned + block * patches * each, map[KH_DISSECT_PATCHES];
    const kh_dissect_image image = {.maps = labels_of(batch->maps, i),
                                    .has = batch->maps->has + i * s->categories,
                                    .categories = s->categories};
    kh_rotation_apply(&s->rotation, block, rows, patches, turned);
    for (size_t r = 0; r < each; r++) {
        const size_t unit = block * each + r;
        for (size_t t = 0; t < patches; t++)
            map[t] = turned[t * each + r];
        kh_dissect_count(&s->plan, map, s->setup->rotated[unit], &image,
                         s->rotated_intersect + unit * (s->labels + 1),
                         s->rotated_active + unit * s->categories);
    }
}

static void see_chunk(void *arg, size_t task, size_t worker) {
    const job *j = arg;
    const size_t plain = j->s->setup->info->blocks * j->chunks;
    if (task >= plain) {
        for (size_t i = 0; i < j->batch->count; i++)
            if (j->batch->maps->is_there[i]) see_rotated(j->s, j->batch, i, task - plain);
        return;
    }
    const size_t neurons = j->s->setup->info->neurons;
    const size_t block = task / j->chunks, first = task % j->chunks * CHUNK;
    const size_t end = first + CHUNK < neurons ? first + CHUNK : neurons;
    (void)worker;
    for (size_t i = 0; i < j->batch->count; i++) {
        if (!j->batch->maps->is_there[i]) continue;
        for (size_t n = first; n < end; n++)
            see_unit(j->s, j->batch, i, block, n);
    }
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    KH_TRY(make_room(s, batch->count, err));
    for (size_t i = 0; i < batch->count; i++)
        count_labels(s, batch, i);
    job j = {.s = s, .batch = batch, .chunks = (info->neurons + CHUNK - 1) / CHUNK};
    const size_t tasks = info->blocks * (j.chunks + (s->rotation.units > 0));
    kh_pool_run(kh_ctx_pool(s->setup->ctx), tasks, see_chunk, &j);
    return KH_OK;
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    const kh_dissect_view view = {.setup = s->setup,
                                  .labels = s->labels,
                                  .categories = s->categories,
                                  .images = s->seen[0],
                                  .intersect = s->intersect,
                                  .active = s->active,
                                  .truth = s->truth,
                                  .fire = s->fire,
                                  .tokens = s->tokens,
                                  .rotated_units = s->rotation.units,
                                  .rotated_intersect = s->rotated_intersect,
                                  .rotated_active = s->rotated_active};
    return kh_dissect_write(&view, out, err);
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    const uint64_t categories = kh_label_set_categories(setup->label_set);
    kh_lens_size_add(out, setup->units * categories, 6, 1, 14);
    kh_lens_size_add(out, setup->units, 4, 2, 12);
    kh_lens_size_add(out, setup->units, 2, 3, 10);
    kh_lens_size_add(out, kh_label_set_labels(setup->label_set), 2, 0, 16);
    if (kh_label_set_kinds(setup->label_set) == 0) return;
    kh_lens_size_add(out, kh_label_set_kinds(setup->label_set), 3, 0, 40);
    kh_lens_size_add(out, setup->units * categories, 7, 2, 26);
}

const kh_lens_kind kh_kind_dissect = {
    .name = "dissect",
    .version = 1,
    .sites = 1u << KH_SITE_POST,
    .needs_maps = true,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
