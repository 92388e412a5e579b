/* Orders of neurons for each class, and random orders that match them. */
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DECILES = 10 };

/* ---- alignments and contributions ---------------------------------------------------------- */

static kh_status read_alignment(kh_ablate_study *s, kh_error *err) {
    const size_t cells = s->info->neurons * s->classes;
    s->ln = kh_alloc_floats(s->units * s->classes);
    s->fold = kh_alloc_floats(s->units * s->classes);
    s->contribution = kh_calloc(s->classes * s->units, sizeof *s->contribution);
    if (!s->ln || !s->fold || !s->contribution)
        return kh_fail(err, KH_E_MEMORY, "no memory for alignments of %zu neurons", s->units);
    for (size_t b = 0; b < s->blocks; b++) {
        KH_TRY(kh_lens_alignment(s->ctx, s->model, s->first_block + b, KH_ALIGN_LN,
                                 s->ln + b * cells, cells, err));
        KH_TRY(kh_lens_alignment(s->ctx, s->model, s->first_block + b, KH_ALIGN_FOLD,
                                 s->fold + b * cells, cells, err));
    }
    for (size_t c = 0; c < s->classes; c++)
        for (size_t u = 0; u < s->units; u++) {
            const size_t at = c * s->units + u;
            const bool is_known = s->class_n[c] > 0 && kh_ablate_has_weights(s->info);
            s->contribution[at] = is_known ? s->weighted[at] / (double)s->class_n[c] *
                                                 (double)s->fold[u * s->classes + c]
                                           : (double)NAN;
        }
    return KH_OK;
}

/* ---- sorting ------------------------------------------------------------------------------- */

typedef struct keyed {
    double value;
    uint32_t unit;
} keyed;

/* Value descending, then unit: block and index ascending. */
static int compare_keyed(const void *left, const void *right) {
    const keyed *a = left, *b = right;
    if (a->value > b->value || (isnan(b->value) && !isnan(a->value))) return -1;
    if (a->value < b->value || (isnan(a->value) && !isnan(b->value))) return 1;
    return (a->unit > b->unit) - (a->unit < b->unit);
}

static void sort_units(keyed *keys, size_t count, uint32_t *out) {
    qsort(keys, count, sizeof *keys, compare_keyed);
    for (size_t i = 0; i < count; i++)
        out[i] = keys[i].unit;
}

static void shuffle(uint32_t *list, size_t count, kh_rng *rng) {
    for (size_t i = count; i-- > 1;) {
        const size_t j = kh_rng_below(rng, i + 1);
        const uint32_t kept = list[i];
        list[i] = list[j];
        list[j] = kept;
    }
}

static double key_of(const kh_ablate_study *s, kh_ablate_rank rank, size_t c, size_t unit) {
    const size_t at = c * s->units + unit;
    switch (rank) {
    case KH_ABLATE_BY_LN:
        return (double)s->ln[unit * s->classes + c];
    case KH_ABLATE_BY_FOLD:
        return (double)s->fold[unit * s->classes + c];
    case KH_ABLATE_BY_CONTRIB:
        return s->contribution[at];
    case KH_ABLATE_BY_ACTIVATION:
        return s->activation[at];
    case KH_ABLATE_BY_BOTTOM:
        return -(double)s->ln[unit * s->classes + c];
    case KH_ABLATE_BY_RANDOM:
        break;
    }
    return 0;
}

static void order_by(const kh_ablate_study *s, kh_ablate_rank rank, size_t c, keyed *keys,
                     uint32_t *out) {
    for (size_t u = 0; u < s->units; u++)
        keys[u] = (keyed){key_of(s, rank, c, u), (uint32_t)u};
    sort_units(keys, s->units, out);
    if (rank != KH_ABLATE_BY_RANDOM) return;
    kh_rng rng = kh_rng_make(s->o.seed, kh_hash_name("ablate.random") + (uint64_t)c);
    shuffle(out, s->units, &rng);
}

/* ---- deciles ------------------------------------------------------------------------------- */

/* |g (v - mean v)| of every neuron of a block, times its mean |a|: how much it moves what the head
 * reads. */
static kh_status block_deciles(kh_ablate_study *s, size_t block, const kh_lens_norm *final,
                               float *values, keyed *keys, uint32_t *sorted, kh_error *err) {
    const size_t neurons = s->info->neurons, dim = s->info->dim;
    const kh_align_options align = kh_align_options_default();
    KH_TRY(kh_lens_value_vectors(s->model, &align, s->first_block + block, values, neurons * dim,
                                 err));
    for (size_t j = 0; j < neurons; j++) {
        const float *v = values + j * dim;
        double mean = 0, squares = 0;
        for (size_t d = 0; d < dim; d++)
            mean += (double)v[d] / (double)dim;
        for (size_t d = 0; d < dim; d++) {
            const double x = final->w ? (double) final->w[d] * ((double)v[d] - mean) : (double)v[d];
            squares += x * x;
        }
        keys[j] = (keyed){s->magnitude[block * neurons + j] * sqrt(squares),
                          (uint32_t)(block * neurons + j)};
    }
    sort_units(keys, neurons, sorted);
    for (size_t i = 0; i < neurons; i++)
        s->decile[sorted[i]] = (uint8_t)(i * DECILES / neurons);
    return KH_OK;
}

static kh_status find_deciles(kh_ablate_study *s, keyed *keys, uint32_t *sorted, kh_error *err) {
    kh_lens_norm final = {0};
    KH_TRY(kh_lens_read_final_norm(s->model, &final, err));
    float *values = kh_alloc_floats(s->info->neurons * s->info->dim);
    kh_status status = values ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for value vectors");
    for (size_t b = 0; b < s->blocks && !status; b++)
        status = block_deciles(s, b, &final, values, keys, sorted, err);
    size_t at = 0;
    for (size_t g = 0; g < s->blocks * DECILES && !status; g++) {
        s->member_at[g] = at;
        for (size_t j = 0; j < s->info->neurons; j++) {
            const size_t unit = g / DECILES * s->info->neurons + j;
            if (s->decile[unit] == g % DECILES) s->members[at++] = (uint32_t)unit;
        }
    }
    s->member_at[s->blocks * DECILES] = at;
    kh_free(values);
    kh_lens_norm_clear(&final);
    return status;
}

/* ---- random orders ------------------------------------------------------------------------- */

/* Every group (block and decile) is shuffled, the class's first ranks behind the others; place i of
 * the order takes the next of the group of the ranked order's place i. */
void kh_ablate_random_order(const kh_ablate_study *s, size_t c, size_t set, uint32_t *out) {
    const uint32_t *order = s->order + c * s->units;
    uint32_t *const pool = out + s->units; /* scratch behind the answer */
    uint32_t *const place = pool + s->units;
    size_t next[DECILES];
    kh_rng rng = kh_rng_make(1000 + set + s->o.seed, c);
    const size_t reserved = s->units / 8;
    for (size_t i = 0; i < s->units; i++)
        place[order[i]] = (uint32_t)i;
    for (size_t g = 0; g < s->blocks * DECILES; g++) {
        const size_t first = s->member_at[g], count = s->member_at[g + 1] - first;
        uint32_t *group = pool + first;
        memcpy(group, s->members + first, count * sizeof *group);
        shuffle(group, count, &rng);
        /* stable partition: others first. What is kept back waits in `out`, not written yet. */
        size_t kept = 0, back = 0;
        for (size_t i = 0; i < count; i++)
            if (place[group[i]] < reserved)
                out[back++] = group[i];
            else
                group[kept++] = group[i];
        memcpy(group + kept, out, back * sizeof *group);
    }
    for (size_t b = 0; b < s->blocks; b++) {
        for (size_t d = 0; d < DECILES; d++)
            next[d] = s->member_at[b * DECILES + d];
        for (size_t i = 0; i < s->units; i++) {
            const size_t unit = order[i];
            if (unit / s->info->neurons == b) out[i] = pool[next[s->decile[unit]]++];
        }
    }
}

/* ---- all ----------------------------------------------------------------------------------- */

static void order_class(kh_ablate_study *s, size_t c, keyed *keys) {
    uint32_t *by_ln = s->by_ln + c * s->units, *active = s->active + c * (s->units / 2);
    uint32_t *place = s->ln_place + c * s->units;
    order_by(s, s->o.rank, c, keys, s->order + c * s->units);
    order_by(s, KH_ABLATE_BY_LN, c, keys, by_ln);
    for (size_t i = 0; i < s->units; i++)
        place[by_ln[i]] = (uint32_t)i;
    const size_t half = s->units / 2, first = s->units - half;
    for (size_t i = 0; i < half; i++)
        keys[i] = (keyed){s->activation[c * s->units + by_ln[first + i]], by_ln[first + i]};
    sort_units(keys, half, active);
}

kh_status kh_ablate_rank_all(kh_ablate_study *s, kh_error *err) {
    const size_t cells = s->classes * s->units;
    if (s->o.rank == KH_ABLATE_BY_CONTRIB && !kh_ablate_has_weights(s->info))
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "%s does not read its logits from the class token or the mean of the "
                       "patches, so a neuron's contribution is not known; rank by ln or fold",
                       s->info->architecture);
    KH_TRY(read_alignment(s, err));
    s->order = kh_calloc(cells, sizeof *s->order);
    s->by_ln = kh_calloc(cells, sizeof *s->by_ln);
    s->ln_place = kh_calloc(cells, sizeof *s->ln_place);
    s->active = kh_calloc(s->classes * (s->units / 2), sizeof *s->active);
    s->decile = kh_calloc(s->units, 1);
    s->members = kh_calloc(s->units, sizeof *s->members);
    s->member_at = kh_calloc(s->blocks * DECILES + 1, sizeof *s->member_at);
    keyed *keys = kh_calloc(s->units, sizeof *keys);
    uint32_t *sorted = kh_calloc(s->units, sizeof *sorted);
    kh_status status = KH_OK;
    if (!s->order || !s->by_ln || !s->ln_place || !s->active || !s->decile || !s->members ||
        !s->member_at || !keys || !sorted)
        status = kh_fail(err, KH_E_MEMORY, "no memory to rank %zu neurons for %zu classes",
                         s->units, s->classes);
    if (!status) status = find_deciles(s, keys, sorted, err);
    for (size_t c = 0; c < s->classes && !status; c++)
        order_class(s, c, keys);
    kh_free(sorted);
    kh_free(keys);
    return status;
}

/* ---- lists for the other designs ----------------------------------------------------------- */

static void list_neuron(kh_ablate_listed *list, size_t *count, uint32_t unit, kh_ablate_pick pick) {
    for (size_t i = 0; i < *count; i++)
        if (list[i].unit == unit) return;
    list[(*count)++] = (kh_ablate_listed){unit, pick};
}

/* The first of three rankings, then random ones; every class gets as many. */
static kh_status list_neurons(kh_ablate_study *s, kh_error *err) {
    static const kh_ablate_rank ranks[] = {KH_ABLATE_BY_LN, KH_ABLATE_BY_CONTRIB,
                                           KH_ABLATE_BY_ACTIVATION};
    static const kh_ablate_pick picks[] = {KH_ABLATE_PICK_LN, KH_ABLATE_PICK_CONTRIB,
                                           KH_ABLATE_PICK_ACTIVATION};
    const size_t most = 3 * s->o.keys + s->o.random_keys;
    s->listed_count = most < s->units ? most : s->units;
    s->listed = kh_calloc(s->classes * s->listed_count, sizeof *s->listed);
    keyed *keys = kh_calloc(s->units, sizeof *keys);
    uint32_t *order = kh_calloc(s->units, sizeof *order);
    kh_status status = KH_OK;
    if (!s->listed || !keys || !order)
        status = kh_fail(err, KH_E_MEMORY, "no memory for a list of neurons");
    for (size_t c = 0; c < s->classes && !status; c++) {
        kh_ablate_listed *list = s->listed + c * s->listed_count;
        size_t count = 0;
        for (size_t r = 0; r < 3; r++) {
            if (ranks[r] == KH_ABLATE_BY_CONTRIB && !kh_ablate_has_weights(s->info)) continue;
            order_by(s, ranks[r], c, keys, order);
            for (size_t i = 0; i < s->o.keys && i < s->units && count < s->listed_count; i++)
                list_neuron(list, &count, order[i], picks[r]);
        }
        kh_rng rng = kh_rng_make(s->o.seed, kh_hash_name("ablate.causal") + (uint64_t)c);
        for (size_t i = 0; i < s->units; i++)
            order[i] = (uint32_t)i;
        shuffle(order, s->units, &rng);
        for (size_t i = 0; count < s->listed_count; i++)
            list_neuron(list, &count, order[i], KH_ABLATE_PICK_RANDOM);
    }
    kh_free(order);
    kh_free(keys);
    return status;
}

static double similarity(const float *e, size_t dim, size_t a, size_t b) {
    double ab = 0, aa = 0, bb = 0;
    for (size_t d = 0; d < dim; d++) {
        const double x = (double)e[a * dim + d], y = (double)e[b * dim + d];
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    return aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
}

static void pair_class(kh_ablate_study *s, const float *embeddings, size_t c, keyed *keys,
                       uint32_t *near) {
    size_t count = 0;
    for (size_t o = 0; o < s->classes; o++)
        if (o != c && s->class_n[o] > 0)
            keys[count++] = (keyed){similarity(embeddings, s->info->dim, c, o), (uint32_t)o};
    sort_units(keys, count, near);
    const size_t half = (s->o.pairs + 1) / 2;
    kh_rng rng = kh_rng_make(s->o.seed, kh_hash_name("ablate.swap") + (uint64_t)c);
    if (count > half) shuffle(near + half, count - half, &rng);
    for (size_t p = 0; p < s->o.pairs && p < count; p++) {
        const size_t at = c * s->o.pairs + p;
        s->pair_to[at] = near[p];
        s->pair_kind[at] = p < half ? KH_ABLATE_PAIR_NEAR : KH_ABLATE_PAIR_FAR;
        if (s->o.is_relative && s->o.is_relative[c] && s->o.is_relative[near[p]])
            s->pair_kind[at] = KH_ABLATE_PAIR_RELATIVE;
    }
}

/* For each class: the most similar ones with images, then random ones of the others. */
static kh_status choose_pairs(kh_ablate_study *s, kh_error *err) {
    const kh_align_options align = kh_align_options_default();
    float *embeddings = NULL, *bias = NULL;
    size_t classes;
    size_t seen = 0;
    for (size_t c = 0; c < s->classes; c++)
        seen += s->class_n[c] > 0;
    if (s->o.pairs + 1 > seen) s->o.pairs = seen - 1;
    KH_TRY(kh_lens_read_embeddings(s->model, &align, &embeddings, &bias, &classes, err));
    s->pair_to = kh_calloc(s->classes * s->o.pairs, sizeof *s->pair_to);
    s->pair_kind = kh_calloc(s->classes * s->o.pairs, sizeof *s->pair_kind);
    keyed *keys = kh_calloc(s->classes, sizeof *keys);
    uint32_t *near = kh_calloc(s->classes, sizeof *near);
    kh_status status = KH_OK;
    if (!s->pair_to || !s->pair_kind || !keys || !near)
        status = kh_fail(err, KH_E_MEMORY, "no memory for pairs of classes");
    for (size_t c = 0; c < s->classes && !status; c++)
        pair_class(s, embeddings, c, keys, near);
    kh_free(near);
    kh_free(keys);
    kh_free(bias);
    kh_free(embeddings);
    return status;
}

/* Neurons that are first for two classes or more, most shared first. */
static kh_status choose_shared(kh_ablate_study *s, kh_error *err) {
    keyed *keys = kh_calloc(s->units, sizeof *keys);
    uint32_t *sorted = kh_calloc(s->units, sizeof *sorted);
    uint32_t *random = kh_calloc(3 * s->units, sizeof *random);
    s->shared = kh_calloc(s->o.most_shared, sizeof *s->shared);
    s->shared_random = kh_calloc(s->o.most_shared, sizeof *s->shared_random);
    s->shared_members = kh_calloc(s->o.most_shared, sizeof *s->shared_members);
    kh_status status = KH_OK;
    if (!keys || !sorted || !random || !s->shared || !s->shared_random || !s->shared_members)
        status = kh_fail(err, KH_E_MEMORY, "no memory for shared neurons");
    if (!status) {
        for (size_t u = 0; u < s->units; u++)
            keys[u] = (keyed){0, (uint32_t)u};
        for (size_t c = 0; c < s->classes; c++)
            keys[s->order[c * s->units]].value += s->class_n[c] > 0;
        qsort(keys, s->units, sizeof *keys, compare_keyed);
        for (size_t i = 0; i < s->units && i < s->o.most_shared && keys[i].value > 1; i++) {
            size_t c = 0;
            while (s->order[c * s->units] != keys[i].unit || s->class_n[c] == 0)
                c++;
            kh_ablate_random_order(s, c, 0, random);
            s->shared[i] = keys[i].unit;
            s->shared_random[i] = random[0];
            s->shared_members[i] = (size_t)keys[i].value;
            s->shared_count = i + 1;
        }
    }
    kh_free(random);
    kh_free(sorted);
    kh_free(keys);
    return status;
}

kh_status kh_ablate_choose(kh_ablate_study *s, kh_error *err) {
    if (s->o.designs & KH_ABLATE_CAUSAL) KH_TRY(list_neurons(s, err));
    if (s->o.designs & KH_ABLATE_SWAP) KH_TRY(choose_pairs(s, err));
    return s->o.designs & KH_ABLATE_SHARED ? choose_shared(s, err) : KH_OK;
}
