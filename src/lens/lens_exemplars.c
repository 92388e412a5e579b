/* Lens "exemplars": for every key neuron the images that wake it most, images at lower levels of
 * activation, a random baseline, and whether what it reads is what it writes. */
#include "lens/exemplars.h"
#include "lens/fingerprint.h"
#include "lens/lens.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

/* Spare places for what turns out to be a near duplicate. */
enum { SPARE = 2 };

typedef struct state {
    const kh_lens_setup *setup;
    size_t k;          /* kept for each unit */
    kh_top_entry *top; /* [units, k] */
    size_t sampled;    /* images in the sample, ids ascending */
    uint64_t *sample;  /* [sampled] */
    float *sample_max; /* [sampled, units]; -inf: not seen */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->top);
    kh_free(s->sample);
    kh_free(s->sample_max);
    kh_free(s);
}

static int compare_ids(const void *left, const void *right) {
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* The same images for every neuron, shard and run of one seed: a partial shuffle of all ids. */
static bool draw_sample(state *s, size_t images, uint64_t seed) {
    uint64_t *ids = kh_calloc(images, sizeof *ids);
    if (!ids) return false;
    kh_rng rng = kh_rng_make(seed, kh_hash_name("exemplars.sample"));
    for (size_t i = 0; i < images; i++)
        ids[i] = i;
    for (size_t i = 0; i < s->sampled; i++) {
        const size_t j = i + kh_rng_below(&rng, images - i);
        const uint64_t id = ids[i];
        s->sample[i] = ids[j];
        ids[j] = id;
    }
    kh_free(ids);
    qsort(s->sample, s->sampled, sizeof *s->sample, compare_ids);
    return true;
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    bool ok = s != NULL;
    if (ok) {
        s->setup = setup;
        s->k = setup->exemplars * SPARE;
        s->sampled = setup->sample < setup->images ? setup->sample : setup->images;
        s->top = kh_calloc(setup->units * s->k, sizeof *s->top);
        s->sample = kh_calloc(s->sampled, sizeof *s->sample);
        s->sample_max = kh_calloc(s->sampled * setup->units, sizeof *s->sample_max);
        ok = s->top && s->sample && s->sample_max && draw_sample(s, setup->images, setup->seed);
    }
    *out = s;
    if (ok) return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for exemplars of %zu neurons", setup->units);
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t u = s->setup->units;
    p[0] = (kh_piece){"exemplars.top", KH_PIECE_TOP, s->top, u * s->k, s->k};
    p[1] = (kh_piece){"exemplars.sample", KH_PIECE_MAX_F32, s->sample_max, s->sampled * u, 0};
    return 2;
}

static size_t place_in_sample(const state *s, uint64_t id) {
    const uint64_t *found = bsearch(&id, s->sample, s->sampled, sizeof *s->sample, compare_ids);
    return found ? (size_t)(found - s->sample) : SIZE_MAX;
}

static bool see(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const size_t units = s->setup->units, neurons = s->setup->info->neurons;
    const float *max = batch->features->max + i * units;
    const uint32_t *token = batch->features->token + i * units;
    const size_t place = place_in_sample(s, batch->ids[i]);
    bool ok = true;
    for (size_t u = block * neurons; u < (block + 1) * neurons; u++) {
        ok &= !isnan(max[u]);
        kh_top_insert(s->top + u * s->k, s->k, (kh_top_entry){max[u], token[u], batch->ids[i]});
        if (place != SIZE_MAX) s->sample_max[place * units + u] = max[u];
    }
    return ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    return kh_lens_by_block(s->setup, batch, see, s, "a memory coefficient", err);
}

/* ---- results ------------------------------------------------------------------------------- */

size_t kh_exemplars_distinct(const kh_top_entry *list, size_t count, const uint64_t *fingerprints,
                             size_t want, kh_top_entry *out) {
    size_t kept = 0;
    for (size_t i = 0; i < count && kept < want && list[i].id != UINT64_MAX; i++) {
        bool is_new = true;
        for (size_t j = 0; j < kept && fingerprints && is_new; j++)
            is_new = kh_fingerprint_distance(fingerprints[list[i].id], fingerprints[out[j].id]) >
                     KH_NEAR_DUPLICATE_BITS;
        if (is_new) out[kept++] = list[i];
    }
    return kept;
}

static void write_entry(const state *s, size_t unit, const char *level, size_t rank, kh_top_entry e,
                        const kh_lens_out *out) {
    const size_t neurons = s->setup->info->neurons;
    const size_t truth = kh_source_get(s->setup->source, (size_t)e.id).truth;
    out->integer(out->user, (int64_t)(unit / neurons));
    out->integer(out->user, (int64_t)(unit % neurons));
    out->text(out->user, level);
    out->integer(out->user, (int64_t)rank);
    out->integer(out->user, (int64_t)e.id);
    out->integer(out->user, e.token == UINT32_MAX ? -1 : (int64_t)e.token);
    out->real(out->user, (double)e.value);
    out->integer(out->user, truth == KH_NO_CLASS ? -1 : (int64_t)truth);
    out->row(out->user);
}

static int compare_entries(const void *left, const void *right) {
    const kh_top_entry *a = left, *b = right;
    return kh_top_before(*b, *a) - kh_top_before(*a, *b);
}

/* From the sample: images whose maximum lies at given quantiles of the sample's maxima. */
static void write_levels(const state *s, size_t unit, kh_top_entry *scratch,
                         const kh_lens_out *out) {
    static const struct {
        const char *name;
        double q;
    } levels[] = {{"q95", 0.95}, {"q75", 0.75}, {"q50", 0.5}};
    enum { AT_LEVEL = 4, RANDOM = 4 };
    size_t count = 0;
    for (size_t i = 0; i < s->sampled; i++) {
        const float max = s->sample_max[i * s->setup->units + unit];
        if (isfinite(max)) scratch[count++] = (kh_top_entry){max, UINT32_MAX, s->sample[i]};
    }
    for (size_t i = 0; i < RANDOM && i < count; i++) { /* a stride: the sample is in order of id */
        const size_t pick = i * count / RANDOM;
        write_entry(s, unit, "random", i, scratch[pick], out);
    }
    qsort(scratch, count, sizeof *scratch, compare_entries);
    for (size_t l = 0; l < sizeof levels / sizeof *levels && count >= 2 * AT_LEVEL; l++) {
        size_t first = (size_t)((1 - levels[l].q) * (double)count);
        if (first + AT_LEVEL > count) first = count - AT_LEVEL;
        for (size_t i = 0; i < AT_LEVEL; i++)
            write_entry(s, unit, levels[l].name, i, scratch[first + i], out);
    }
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    const kh_lens_setup *setup = s->setup;
    const void *images = kh_lens_peer(setup, &kh_kind_images);
    const uint64_t *fingerprints = images ? kh_lens_fingerprints(images) : NULL;
    kh_top_entry *best = kh_calloc(setup->units * setup->exemplars, sizeof *best);
    kh_top_entry *scratch = kh_calloc(s->sampled, sizeof *scratch);
    kh_status status = KH_OK;
    if (!best || !scratch) status = kh_fail(err, KH_E_MEMORY, "no memory to list exemplars");
    if (!status) {
        out->table(out->user, "exemplars",
                   "block:i neuron:i level:t rank:i image:i patch:i value:r truth:i");
        for (size_t u = 0; u < setup->units; u++) {
            kh_top_entry *mine = best + u * setup->exemplars;
            kh_top_clear(mine, setup->exemplars);
            const size_t kept = kh_exemplars_distinct(s->top + u * s->k, s->k, fingerprints,
                                                      setup->exemplars, mine);
            for (size_t i = 0; i < kept; i++)
                write_entry(s, u, "top", i, mine[i], out);
            write_levels(s, u, scratch, out);
        }
        if (setup->ranking) status = kh_exemplars_reads_writes(setup, best, out, err);
    }
    kh_free(scratch);
    kh_free(best);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    const uint64_t kept = setup->exemplars < setup->images ? setup->exemplars : setup->images;
    kh_lens_size_add(out, setup->units * (kept + 16), 6, 1, 4);
    if (setup->ranking) kh_lens_size_add(out, setup->units, 7, 1, 7);
}

const kh_lens_kind kh_kind_exemplars = {
    .name = "exemplars",
    .version = 1,
    .is_default = true,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
