/* Lens "key_value": of every class the share of its images' tokens of which one of the five most
 * active neurons speaks for the class (Vilas et al. 2023), beside a random other class, and whether
 * correctly classified images have more of them than the others. An image's counts are kept, so
 * that which ones are correct can be shuffled at the end. */
#include "lens/key_value.h"
#include "lens/lens.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

enum { TOP = KH_KEY_VALUE_TOP, SHUFFLES = 300 };
/* A variant: who holds whom, and which tokens count. */
enum { CLASS_ALL, NEURON_ALL, CLASS_TOKEN, NEURON_TOKEN, VARIANTS };
static const char *const variant_names[2] = {"class_topk", "neuron_topk"};
static const char *const token_names[2] = {"all", "class_token"};
enum { UNSEEN, WRONG, CORRECT };
/* An image's counts of a block in 32 bits: two numbers of tokens, and the class token twice. */
enum { COUNT_BITS = 15, MOST_TOKENS = (1 << COUNT_BITS) - 1 };

typedef struct state {
    const kh_lens_setup *setup;
    size_t classes, blocks;
    kh_key_values values;
    size_t *other;    /* [classes] a random other class; its own where there is none */
    uint32_t *counts; /* [images, blocks] */
    uint32_t *answer; /* [images] UNSEEN, or how it was classified */
    uint64_t *random; /* [classes, blocks, VARIANTS] tokens that speak for the other class */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_key_values_clear(&s->values);
    kh_free(s->other);
    kh_free(s->counts);
    kh_free(s->answer);
    kh_free(s->random);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    if (setup->info->tokens > MOST_TOKENS) return "an image has more than 32767 tokens";
    return kh_key_values_refuses(setup);
}

static void draw_others(state *s) {
    for (size_t c = 0; c < s->classes; c++) {
        kh_rng rng = kh_rng_make(s->setup->seed, kh_hash_name("key_value other") + c);
        const size_t o = s->classes > 1 ? kh_rng_below(&rng, s->classes - 1) : 0;
        s->other[c] = s->classes > 1 && o >= c ? o + 1 : o;
    }
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t blocks = setup->info->blocks, classes = setup->info->classes;
    *out = NULL;
    if (s) {
        *s = (state){.setup = setup, .classes = classes, .blocks = blocks};
        s->other = kh_calloc(classes, sizeof *s->other);
        s->counts = kh_calloc(setup->images * blocks, sizeof *s->counts);
        s->answer = kh_calloc(setup->images, sizeof *s->answer);
        s->random = kh_calloc(classes * blocks * VARIANTS, sizeof *s->random);
    }
    const bool ok = s && s->other && s->counts && s->answer && s->random;
    const kh_status status =
        ok ? kh_key_values_init(&s->values, setup, err)
           : kh_fail(err, KH_E_MEMORY, "no memory for keys and values of %zu images",
                     setup->images);
    if (status) {
        free_state(s);
        return status;
    }
    draw_others(s);
    *out = s;
    return KH_OK;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t images = s->setup->images;
    p[0] = (kh_piece){"key_value.counts", KH_PIECE_SUM_U32, s->counts, images * s->blocks, 0};
    p[1] = (kh_piece){"key_value.answer", KH_PIECE_SUM_U32, s->answer, images, 0};
    p[2] = (kh_piece){"key_value.random", KH_PIECE_SUM_U64, s->random,
                      s->classes * s->blocks * VARIANTS, 0};
    return 3;
}

/* ---- one image ----------------------------------------------------------------------------- */

static bool see_block(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    const size_t truth = batch->truth[i], neurons = info->neurons;
    if (truth >= s->classes) return true;
    const float *post = batch->site[KH_SITE_POST][block] + i * info->tokens * neurons;
    uint64_t *random = s->random + (truth * s->blocks + block) * VARIANTS;
    uint32_t count[VARIANTS] = {0};
    for (size_t t = 0; t < info->tokens; t++) {
        size_t top[TOP];
        kh_key_value_top(post + t * neurons, neurons, TOP, top);
        const bool has[2] = {kh_key_values_class_has(&s->values, block, top, truth),
                             kh_key_values_neuron_has(&s->values, block, top, truth)};
        const bool other[2] = {kh_key_values_class_has(&s->values, block, top, s->other[truth]),
                               kh_key_values_neuron_has(&s->values, block, top, s->other[truth])};
        const bool is_class_token = t == 0 && info->has_class_token;
        for (size_t k = 0; k < 2; k++) {
            count[CLASS_ALL + k] += has[k];
            random[CLASS_ALL + k] += other[k];
            count[CLASS_TOKEN + k] += has[k] && is_class_token;
            random[CLASS_TOKEN + k] += other[k] && is_class_token;
        }
    }
    s->counts[batch->ids[i] * s->blocks + block] =
        count[CLASS_ALL] | count[NEURON_ALL] << COUNT_BITS | count[CLASS_TOKEN] << 2 * COUNT_BITS |
        count[NEURON_TOKEN] << (2 * COUNT_BITS + 1);
    return true;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->truth[i] < s->classes)
            s->answer[batch->ids[i]] = batch->predicted[i] == batch->truth[i] ? CORRECT : WRONG;
    return kh_lens_by_block(s->setup, batch, see_block, s, "a coefficient", err);
}

/* ---- results ------------------------------------------------------------------------------- */

/* Labelled images, those of a class behind each other, and what is summed over some of them. A cell
 * is a block and a variant of it. */
typedef struct tally {
    const state *s;
    size_t cells, images, correct;
    size_t *first;        /* [classes + 1] into ids */
    size_t *ids, *order;  /* [images], the second is shuffled */
    uint64_t *all, *good; /* [cells] sums over a group, and over its correct ones */
    uint64_t *drawn;      /* [cells] the same over as many drawn at random */
    uint64_t *within;     /* [SHUFFLES, cells] sums over images drawn within each class */
    uint32_t *above;      /* [cells] shuffles with at least as much as the truth */
    double *rate;         /* [cells, 2] sums over classes, of the class and the random one */
} tally;

static void clear_tally(tally *t) {
    void *const all[] = {t->first, t->ids,    t->order, t->all, t->good,
                         t->drawn, t->within, t->above, t->rate};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
}

static size_t truth_of(const state *s, size_t id) {
    return kh_source_get(s->setup->source, id).truth;
}

static kh_status make_tally(tally *t, const state *s, kh_error *err) {
    const size_t cells = s->blocks * VARIANTS, images = s->setup->images;
    *t = (tally){.s = s, .cells = cells};
    t->first = kh_calloc(s->classes + 1, sizeof *t->first);
    t->ids = kh_calloc(images, sizeof *t->ids);
    t->order = kh_calloc(images, sizeof *t->order);
    t->all = kh_calloc(cells, sizeof *t->all);
    t->good = kh_calloc(cells, sizeof *t->good);
    t->drawn = kh_calloc(cells, sizeof *t->drawn);
    t->within = kh_calloc(SHUFFLES * cells, sizeof *t->within);
    t->above = kh_calloc(cells, sizeof *t->above);
    t->rate = kh_calloc(2 * cells, sizeof *t->rate);
    if (!t->first || !t->ids || !t->order || !t->all || !t->good || !t->drawn || !t->within ||
        !t->above || !t->rate)
        return kh_fail(err, KH_E_MEMORY, "no memory for the table of keys and values");
    for (size_t id = 0; id < images; id++)
        if (s->answer[id] != UNSEEN) t->first[truth_of(s, id) + 1]++;
    for (size_t c = 0; c < s->classes; c++)
        t->first[c + 1] += t->first[c];
    for (size_t id = 0; id < images; id++) /* each class's first is moved to its end, then back */
        if (s->answer[id] != UNSEEN) t->ids[t->first[truth_of(s, id)]++] = id;
    memmove(t->first + 1, t->first, s->classes * sizeof *t->first);
    t->first[0] = 0;
    t->images = t->first[s->classes];
    return KH_OK;
}

static void add_image(const tally *t, size_t id, uint64_t *sums) {
    const uint32_t *counts = t->s->counts + id * t->s->blocks;
    for (size_t b = 0; b < t->s->blocks; b++, sums += VARIANTS) {
        sums[CLASS_ALL] += counts[b] & MOST_TOKENS;
        sums[NEURON_ALL] += counts[b] >> COUNT_BITS & MOST_TOKENS;
        sums[CLASS_TOKEN] += counts[b] >> 2 * COUNT_BITS & 1u;
        sums[NEURON_TOKEN] += counts[b] >> (2 * COUNT_BITS + 1);
    }
}

/* Sums of images [first, end) and how many of them are correct. */
static size_t sum_group(const tally *t, size_t first, size_t end) {
    size_t correct = 0;
    memset(t->all, 0, t->cells * sizeof *t->all);
    memset(t->good, 0, t->cells * sizeof *t->good);
    for (size_t i = first; i < end; i++) {
        const bool is_correct = t->s->answer[t->ids[i]] == CORRECT;
        add_image(t, t->ids[i], t->all);
        if (is_correct) add_image(t, t->ids[i], t->good);
        correct += is_correct;
    }
    return correct;
}

/* Calls as many of images [first, end) correct as are, at random; the smaller part is drawn. Counts
 * where they have at least as much as the truly correct ones. within: sums of each shuffle, or
 * NULL. */
static void shuffle_group(const tally *t, size_t first, size_t end, size_t correct, uint64_t stream,
                          uint64_t *within) {
    const size_t n = end - first, draw = correct <= n - correct ? correct : n - correct;
    kh_rng rng = kh_rng_make(t->s->setup->seed, kh_hash_name("key_value") + stream);
    memset(t->above, 0, t->cells * sizeof *t->above);
    memcpy(t->order, t->ids + first, n * sizeof *t->order);
    for (size_t k = 0; k < SHUFFLES; k++) {
        memset(t->drawn, 0, t->cells * sizeof *t->drawn);
        for (size_t i = 0; i < draw; i++) {
            const size_t o = i + kh_rng_below(&rng, n - i), swap = t->order[i];
            t->order[i] = t->order[o];
            t->order[o] = swap;
            add_image(t, t->order[i], t->drawn);
        }
        for (size_t cell = 0; cell < t->cells; cell++) {
            const uint64_t good = draw == correct ? t->drawn[cell] : t->all[cell] - t->drawn[cell];
            t->above[cell] += good >= t->good[cell];
            if (within) within[k * t->cells + cell] += good;
        }
    }
}

static double share(uint64_t hits, size_t images, size_t tokens) {
    return images ? (double)hits / ((double)images * (double)tokens) : (double)NAN;
}

static size_t tokens_of(const tally *t, size_t cell) {
    return cell % VARIANTS < CLASS_TOKEN ? t->s->setup->info->tokens : 1;
}

/* Is there such a variant in this model? */
static bool has_variant(const tally *t, size_t cell) {
    return cell % VARIANTS < CLASS_TOKEN || t->s->setup->info->has_class_token;
}

static void write_variant(const kh_lens_out *out, size_t cell) {
    out->integer(out->user, (int64_t)(cell / VARIANTS));
    out->text(out->user, variant_names[cell % 2]);
    out->text(out->user, token_names[cell % VARIANTS / 2]);
    out->integer(out->user, TOP);
}

/* Rates of the correct images and of the others, and what shuffles say of their difference. */
static void write_difference(const tally *t, const kh_lens_out *out, size_t cell, size_t images,
                             size_t correct) {
    const size_t tokens = tokens_of(t, cell);
    const double right = share(t->good[cell], correct, tokens);
    const double wrong = share(t->all[cell] - t->good[cell], images - correct, tokens);
    const bool has_both = correct > 0 && correct < images;
    out->real(out->user, right);
    out->real(out->user, wrong);
    out->real(out->user, right - wrong);
    out->real(out->user, has_both ? (double)(t->above[cell] + 1) / (SHUFFLES + 1) : (double)NAN);
}

static void write_class(tally *t, const kh_lens_out *out, size_t c) {
    const state *s = t->s;
    const size_t first = t->first[c], images = t->first[c + 1] - first;
    const size_t correct = sum_group(t, first, first + images);
    shuffle_group(t, first, first + images, correct, c + 1, t->within);
    for (size_t cell = 0; cell < t->cells; cell++) {
        const size_t tokens = tokens_of(t, cell);
        const double rate = share(t->all[cell], images, tokens);
        const double random = share(s->random[c * t->cells + cell], images, tokens);
        if (!has_variant(t, cell)) continue;
        t->rate[2 * cell] += rate;
        t->rate[2 * cell + 1] += random;
        out->integer(out->user, (int64_t)c);
        write_variant(out, cell);
        out->integer(out->user, (int64_t)images);
        out->integer(out->user, (int64_t)(images * tokens));
        out->real(out->user, rate);
        out->integer(out->user, s->classes > 1 ? (int64_t)s->other[c] : -1);
        out->real(out->user, s->classes > 1 ? random : (double)NAN);
        out->integer(out->user, (int64_t)correct);
        write_difference(t, out, cell, images, correct);
        out->row(out->user);
    }
}

/* All classes: the mean of their rates, and correct against wrong images whatever their class. */
static void write_blocks(tally *t, const kh_lens_out *out, size_t classes) {
    const size_t correct = sum_group(t, 0, t->images);
    const bool has_both = correct > 0 && correct < t->images;
    shuffle_group(t, 0, t->images, correct, 0, NULL);
    out->table(out->user, "kv_blocks",
               "block:i variant:t tokens:t ksize:i classes:i images:i rate:r rate_random:r "
               "correct:i rate_correct:r rate_wrong:r difference:r p:r p_within:r");
    for (size_t cell = 0; cell < t->cells; cell++) {
        size_t within = 0;
        if (!has_variant(t, cell)) continue;
        for (size_t k = 0; k < SHUFFLES; k++)
            within += t->within[k * t->cells + cell] >= t->good[cell];
        write_variant(out, cell);
        out->integer(out->user, (int64_t)classes);
        out->integer(out->user, (int64_t)t->images);
        out->real(out->user, t->rate[2 * cell] / (double)classes);
        out->real(out->user,
                  t->s->classes > 1 ? t->rate[2 * cell + 1] / (double)classes : (double)NAN);
        out->integer(out->user, (int64_t)correct);
        write_difference(t, out, cell, t->images, correct);
        out->real(out->user, has_both ? (double)(within + 1) / (SHUFFLES + 1) : (double)NAN);
        out->row(out->user);
    }
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    tally t;
    size_t classes = 0;
    const kh_status status = make_tally(&t, s, err);
    out->table(out->user, "kv",
               "class:i block:i variant:t tokens:t ksize:i images:i n_tokens:i rate:r "
               "random_class:i rate_random:r correct:i rate_correct:r rate_wrong:r difference:r "
               "p:r");
    for (size_t c = 0; c < s->classes && !status; c++) {
        if (t.first[c + 1] == t.first[c]) continue;
        write_class(&t, out, c);
        classes++;
    }
    if (!status && classes > 0) write_blocks(&t, out, classes);
    clear_tally(&t);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, (setup->classes_seen + 1) * setup->info->blocks * VARIANTS, 8, 7, 20);
}

const kh_lens_kind kh_kind_key_value = {
    .name = "key_value",
    .needs_truth = true,
    .version = 1,
    .sites = 1u << KH_SITE_POST,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
