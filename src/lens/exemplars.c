/* Which images wake a unit: lists that stream and merge, and the rows made of them. */
#include "lens/exemplars.h"
#include "lens/fingerprint.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>

/* Spare places for what turns out to be a near duplicate. */
enum { SPARE = 2 };

static int compare_ids(const void *left, const void *right) {
    const uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* The same images for every unit, shard and run of one seed: a partial shuffle of all ids. */
static bool draw_sample(kh_exemplar_lists *l, size_t images, uint64_t seed) {
    uint64_t *ids = kh_calloc(images, sizeof *ids);
    if (!ids) return false;
    kh_rng rng = kh_rng_make(seed, kh_hash_name("exemplars.sample"));
    for (size_t i = 0; i < images; i++)
        ids[i] = i;
    for (size_t i = 0; i < l->sampled; i++) {
        const size_t j = i + kh_rng_below(&rng, images - i);
        const uint64_t id = ids[i];
        l->sample[i] = ids[j];
        ids[j] = id;
    }
    kh_free(ids);
    qsort(l->sample, l->sampled, sizeof *l->sample, compare_ids);
    return true;
}

bool kh_exemplar_lists_init(kh_exemplar_lists *l, const kh_lens_setup *setup, size_t per_block) {
    *l = (kh_exemplar_lists){.setup = setup,
                             .per_block = per_block,
                             .units = setup->info->blocks * per_block,
                             .k = setup->exemplars * SPARE,
                             .sampled =
                                 setup->sample < setup->images ? setup->sample : setup->images};
    l->top = kh_calloc(l->units * l->k, sizeof *l->top);
    l->sample = kh_calloc(l->sampled, sizeof *l->sample);
    l->sample_max = kh_calloc(l->sampled * l->units, sizeof *l->sample_max);
    return l->top && l->sample && l->sample_max && draw_sample(l, setup->images, setup->seed);
}

void kh_exemplar_lists_clear(kh_exemplar_lists *l) {
    kh_free(l->top);
    kh_free(l->sample);
    kh_free(l->sample_max);
    *l = (kh_exemplar_lists){0};
}

static size_t place_in_sample(const kh_exemplar_lists *l, uint64_t id) {
    const uint64_t *found = bsearch(&id, l->sample, l->sampled, sizeof *l->sample, compare_ids);
    return found ? (size_t)(found - l->sample) : SIZE_MAX;
}

bool kh_exemplar_lists_see(kh_exemplar_lists *l, uint64_t id, size_t block, const float *max,
                           const uint32_t *token) {
    const size_t first = block * l->per_block, place = place_in_sample(l, id);
    bool ok = true;
    for (size_t j = 0; j < l->per_block; j++) {
        const size_t u = first + j;
        ok &= !isnan(max[j]);
        kh_top_insert(l->top + u * l->k, l->k, (kh_top_entry){max[j], token[j], id});
        if (place != SIZE_MAX) l->sample_max[place * l->units + u] = max[j];
    }
    return ok;
}

/* ---- rows ---------------------------------------------------------------------------------- */

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

static void write_entry(const kh_exemplar_lists *l, size_t unit, const char *level, size_t rank,
                        kh_top_entry e, const kh_lens_out *out) {
    const size_t width = l->per_block;
    const size_t truth = kh_source_get(l->setup->source, (size_t)e.id).truth;
    out->integer(out->user, (int64_t)(unit / width));
    out->integer(out->user, (int64_t)(unit % width));
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

enum { AT_LEVEL = 4, RANDOM = 4 };

/* From the sample: images whose maximum lies at given quantiles of the sample's maxima. */
static void write_levels(const kh_exemplar_lists *l, size_t unit, kh_top_entry *scratch,
                         const kh_lens_out *out) {
    static const struct {
        const char *name;
        double q;
    } levels[] = {{"q95", 0.95}, {"q75", 0.75}, {"q50", 0.5}};
    size_t count = 0;
    for (size_t i = 0; i < l->sampled; i++) {
        const float max = l->sample_max[i * l->units + unit];
        if (isfinite(max)) scratch[count++] = (kh_top_entry){max, UINT32_MAX, l->sample[i]};
    }
    for (size_t i = 0; i < RANDOM && i < count; i++) { /* a stride: the sample is in order of id */
        const size_t pick = i * count / RANDOM;
        write_entry(l, unit, "random", i, scratch[pick], out);
    }
    qsort(scratch, count, sizeof *scratch, compare_entries);
    for (size_t v = 0; v < sizeof levels / sizeof *levels && count >= 2 * AT_LEVEL; v++) {
        size_t first = (size_t)((1 - levels[v].q) * (double)count);
        if (first + AT_LEVEL > count) first = count - AT_LEVEL;
        for (size_t i = 0; i < AT_LEVEL; i++)
            write_entry(l, unit, levels[v].name, i, scratch[first + i], out);
    }
}

kh_status kh_exemplar_lists_write(const kh_exemplar_lists *l, kh_top_entry *best,
                                  const kh_lens_out *out, kh_error *err) {
    const kh_lens_setup *setup = l->setup;
    const void *images = kh_lens_peer(setup, &kh_kind_images);
    const uint64_t *fingerprints = images ? kh_lens_fingerprints(images) : NULL;
    kh_top_entry *scratch = kh_calloc(l->sampled, sizeof *scratch);
    if (!scratch) return kh_fail(err, KH_E_MEMORY, "no memory to list exemplars");
    for (size_t u = 0; u < l->units; u++) {
        kh_top_entry *mine = best + u * setup->exemplars;
        kh_top_clear(mine, setup->exemplars);
        const size_t kept =
            kh_exemplars_distinct(l->top + u * l->k, l->k, fingerprints, setup->exemplars, mine);
        for (size_t i = 0; i < kept; i++)
            write_entry(l, u, "top", i, mine[i], out);
        write_levels(l, u, scratch, out);
    }
    kh_free(scratch);
    return KH_OK;
}

void kh_exemplar_lists_size(const kh_lens_setup *setup, size_t units, kh_lens_size *out) {
    const uint64_t kept = setup->exemplars < setup->images ? setup->exemplars : setup->images;
    const uint64_t sampled = setup->sample < setup->images ? setup->sample : setup->images;
    const uint64_t at_levels = sampled < 2 * AT_LEVEL ? 0 : 3 * AT_LEVEL;
    const uint64_t at_random = sampled < RANDOM ? sampled : RANDOM;
    kh_lens_size_add(out, units * (kept + at_levels + at_random), 6, 1, 4);
}
