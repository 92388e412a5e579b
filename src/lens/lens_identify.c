/* Lens "identify": what each token says about the class when the classifier reads it early (Vilas
 * et al. 2023): class identifiability, class-similarity change, residual composition, key-value
 * agreement and memory-prediction match. Costs about three heads for every token and block. */
#include "lens/identify.h"
#include "lens/key_value.h"
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>

typedef struct state {
    const kh_lens_setup *setup;
    size_t classes, blocks;
    kh_key_values values;
    uint32_t *rank;     /* [blocks, SITES, GROUPS, classes] tokens by place of the true class */
    uint64_t *with_one; /* [blocks, SITES] images with an identifiable patch */
    uint64_t *labelled; /* [1] images */
    uint64_t *rises;    /* [blocks, 2 (attention, MLP), GROUPS] */
    uint64_t *same;  /* [blocks, 8] by which of previous, attention, MLP has the same top class */
    uint64_t *votes; /* [blocks, classes, 2] tokens where a top-5 neuron speaks for the class,
                        or for a random other one */
    uint64_t *match; /* [blocks] tokens where a top-5 neuron's class is the MLP's */
    uint64_t *own_votes; /* [blocks, classes, 2] as votes, where the neuron's own five classes hold
                            the class */
    uint64_t *rises_input; /* [blocks, GROUPS] the MLP over what it read */
    uint64_t *voted;  /* [blocks, classes] tokens for which a top-5 neuron votes for the class */
    uint64_t *agree;  /* [blocks, blocks] tokens where two blocks vote for a common class */
    uint32_t *ballot; /* [blocks, tokens, TOP] votes of the image at hand */
    float *rows;      /* [tokens, dim] */
    float *logits;    /* [SLOTS, tokens, classes]: hs, attention, MLP, previous hs, MLP's input */
} state;

enum { HS, ATTENTION, MLP, SITES, PREVIOUS = SITES, INPUT, SLOTS };
enum { CLASS_TOKEN, PATCHES, GROUPS };
enum { TOP = KH_KEY_VALUE_TOP };

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_key_values_clear(&s->values);
    kh_free(s->rank);
    kh_free(s->with_one);
    kh_free(s->labelled);
    kh_free(s->rises);
    kh_free(s->same);
    kh_free(s->votes);
    kh_free(s->match);
    kh_free(s->own_votes);
    kh_free(s->rises_input);
    kh_free(s->voted);
    kh_free(s->agree);
    kh_free(s->ballot);
    kh_free(s->rows);
    kh_free(s->logits);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t b = setup->info->blocks, c = setup->info->classes;
    *out = NULL;
    if (s) {
        *s = (state){.setup = setup, .classes = c, .blocks = b};
        s->rank = kh_calloc(b * SITES * GROUPS * c, sizeof *s->rank);
        s->with_one = kh_calloc(b * SITES, sizeof *s->with_one);
        s->labelled = kh_calloc(1, sizeof *s->labelled);
        s->rises = kh_calloc(b * 2 * GROUPS, sizeof *s->rises);
        s->same = kh_calloc(b * 8, sizeof *s->same);
        s->votes = kh_calloc(b * c * 2, sizeof *s->votes);
        s->match = kh_calloc(b, sizeof *s->match);
        s->own_votes = kh_calloc(b * c * 2, sizeof *s->own_votes);
        s->rises_input = kh_calloc(b * GROUPS, sizeof *s->rises_input);
        s->voted = kh_calloc(b * c, sizeof *s->voted);
        s->agree = kh_calloc(b * b, sizeof *s->agree);
        s->ballot = kh_calloc(b * setup->info->tokens * TOP, sizeof *s->ballot);
        s->rows = kh_alloc_floats(setup->info->tokens * setup->info->dim);
        s->logits = kh_alloc_floats(SLOTS * setup->info->tokens * c);
    }
    kh_status status = KH_OK;
    if (!s || !s->rank || !s->with_one || !s->labelled || !s->rises || !s->same || !s->votes ||
        !s->match || !s->own_votes || !s->rises_input || !s->voted || !s->agree || !s->ballot ||
        !s->rows || !s->logits)
        status = kh_fail(err, KH_E_MEMORY, "no memory for identifiability");
    if (!status) status = kh_key_values_init(&s->values, setup, err);
    if (status)
        free_state(s);
    else
        *out = s;
    return status;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t b = s->blocks, c = s->classes;
    p[0] = (kh_piece){"identify.rank", KH_PIECE_SUM_U32, s->rank, b * SITES * GROUPS * c, 0};
    p[1] = (kh_piece){"identify.with_one", KH_PIECE_SUM_U64, s->with_one, b * SITES, 0};
    p[2] = (kh_piece){"identify.labelled", KH_PIECE_SUM_U64, s->labelled, 1, 0};
    p[3] = (kh_piece){"identify.rises", KH_PIECE_SUM_U64, s->rises, b * 2 * GROUPS, 0};
    p[4] = (kh_piece){"identify.same", KH_PIECE_SUM_U64, s->same, b * 8, 0};
    p[5] = (kh_piece){"identify.votes", KH_PIECE_SUM_U64, s->votes, b * c * 2, 0};
    p[6] = (kh_piece){"identify.match", KH_PIECE_SUM_U64, s->match, b, 0};
    p[7] = (kh_piece){"identify.own_votes", KH_PIECE_SUM_U64, s->own_votes, b * c * 2, 0};
    p[8] = (kh_piece){"identify.rises_input", KH_PIECE_SUM_U64, s->rises_input, b * GROUPS, 0};
    p[9] = (kh_piece){"identify.voted", KH_PIECE_SUM_U64, s->voted, b * c, 0};
    p[10] = (kh_piece){"identify.agree", KH_PIECE_SUM_U64, s->agree, b * b, 0};
    return 11;
}

/* ---- one image ----------------------------------------------------------------------------- */

static const float *logits_at(const state *s, size_t site, size_t token) {
    return s->logits + (site * s->setup->info->tokens + token) * s->classes;
}

static size_t best_class(const float *z, size_t classes) {
    size_t best = 0;
    for (size_t c = 1; c < classes; c++)
        if (z[c] > z[best]) best = c;
    return best;
}

static void see_ranks(state *s, size_t block, size_t truth) {
    const kh_model_info *info = s->setup->info;
    for (size_t site = 0; site < SITES; site++) {
        bool has_one = false;
        for (size_t t = 0; t < info->tokens; t++) {
            if (t > 0 && t < info->prefix_tokens) continue; /* registers are neither */
            const size_t group = t < info->prefix_tokens ? CLASS_TOKEN : PATCHES;
            const size_t rank = kh_lens_rank_position(logits_at(s, site, t), s->classes, truth);
            s->rank[((block * SITES + site) * GROUPS + group) * s->classes + rank]++;
            has_one |= rank == 0 && group == PATCHES;
        }
        s->with_one[block * SITES + site] += has_one;
    }
}

/* Against the stream before the block, as Vilas et al. do for both. */
static void see_changes(state *s, size_t block, size_t truth) {
    const kh_model_info *info = s->setup->info;
    for (size_t t = 0; t < info->tokens; t++) {
        if (t > 0 && t < info->prefix_tokens) continue;
        const size_t group = t < info->prefix_tokens ? CLASS_TOKEN : PATCHES;
        const float before = logits_at(s, PREVIOUS, t)[truth];
        s->rises[(block * 2 + 0) * GROUPS + group] += logits_at(s, ATTENTION, t)[truth] > before;
        s->rises[(block * 2 + 1) * GROUPS + group] += logits_at(s, MLP, t)[truth] > before;
        s->rises_input[block * GROUPS + group] +=
            logits_at(s, MLP, t)[truth] > logits_at(s, INPUT, t)[truth];
    }
}

static void see_composition(state *s, size_t block) {
    for (size_t t = 0; t < s->setup->info->tokens; t++) {
        const size_t now = best_class(logits_at(s, HS, t), s->classes);
        const size_t cell = (size_t)(best_class(logits_at(s, PREVIOUS, t), s->classes) == now) |
                            (size_t)(best_class(logits_at(s, ATTENTION, t), s->classes) == now)
                                << 1 |
                            (size_t)(best_class(logits_at(s, MLP, t), s->classes) == now) << 2;
        s->same[block * 8 + cell]++;
    }
}

/* The five most active neurons of every token. */
static void see_votes(state *s, size_t block, size_t truth, size_t other, const float *post) {
    const size_t neurons = s->setup->info->neurons;
    for (size_t t = 0; t < s->setup->info->tokens; t++) {
        size_t top[TOP];
        kh_key_value_top(post + t * neurons, neurons, TOP, top);
        const size_t said = best_class(logits_at(s, MLP, t), s->classes);
        bool matches = false;
        uint32_t *ballot = s->ballot + (block * s->setup->info->tokens + t) * TOP;
        for (size_t i = 0; i < TOP; i++) {
            ballot[i] = s->values.raw.top_class[block * neurons + top[i]];
            matches |= ballot[i] == said;
            bool is_new = true;
            for (size_t o = 0; o < i && is_new; o++)
                is_new = ballot[o] != ballot[i];
            s->voted[block * s->classes + ballot[i]] += is_new;
        }
        const size_t classes[2] = {truth, other}, at = (block * s->classes + truth) * 2;
        for (size_t k = 0; k < 2; k++) {
            s->votes[at + k] += kh_key_values_class_has(&s->values, block, top, classes[k]);
            s->own_votes[at + k] += kh_key_values_neuron_has(&s->values, block, top, classes[k]);
        }
        s->match[block] += matches;
    }
}

static bool share_a_class(const uint32_t *a, const uint32_t *b) {
    for (size_t i = 0; i < TOP; i++)
        for (size_t j = 0; j < TOP; j++)
            if (a[i] == b[j]) return true;
    return false;
}

static void see_agreement(state *s) {
    const size_t tokens = s->setup->info->tokens;
    for (size_t b = 0; b < s->blocks; b++)
        for (size_t o = b; o < s->blocks; o++)
            for (size_t t = 0; t < tokens; t++)
                s->agree[b * s->blocks + o] += share_a_class(s->ballot + (b * tokens + t) * TOP,
                                                             s->ballot + (o * tokens + t) * TOP);
}

/* What the MLP read is the stream behind it less what it added. */
static kh_status read_input(state *s, const kh_lens_batch *batch, size_t i, size_t block,
                            kh_error *err) {
    const kh_model_info *info = s->setup->info;
    const size_t at = i * info->tokens * info->dim, count = info->tokens * info->dim;
    const float *after = batch->site[KH_SITE_RESID_POST][block] + at;
    const float *added = batch->site[KH_SITE_MLP_OUT][block] + at;
    for (size_t k = 0; k < count; k++)
        s->rows[k] = after[k] - added[k];
    return kh_model_head(s->setup->ctx, s->setup->model, s->rows, info->tokens,
                         s->logits + INPUT * info->tokens * s->classes, err);
}

static kh_status see_image(state *s, const kh_lens_batch *batch, size_t i, kh_error *err) {
    static const kh_lens_site sites[SITES] = {KH_SITE_RESID_POST, KH_SITE_ATTN_OUT,
                                              KH_SITE_MLP_OUT};
    const kh_model_info *info = s->setup->info;
    const size_t truth = batch->truth[i], cells = info->tokens * s->classes;
    /* another class, the same for every run */
    const size_t step = s->classes > 1 ? 1 + (size_t)(batch->ids[i] * 7919 % (s->classes - 1)) : 0;
    for (size_t b = 0; b < s->blocks; b++) {
        if (b > 0) /* what was the stream behind the last block is the one before this */
            for (size_t k = 0; k < cells; k++)
                s->logits[PREVIOUS * cells + k] = s->logits[HS * cells + k];
        for (size_t site = 0; site < SITES; site++)
            KH_TRY(kh_model_head(s->setup->ctx, s->setup->model,
                                 batch->site[sites[site]][b] + i * info->tokens * info->dim,
                                 info->tokens, s->logits + site * cells, err));
        KH_TRY(read_input(s, batch, i, b, err));
        see_ranks(s, b, truth);
        see_votes(s, b, truth, (truth + step) % s->classes,
                  batch->site[KH_SITE_POST][b] + i * info->tokens * info->neurons);
        if (b == 0) continue;
        see_changes(s, b, truth);
        see_composition(s, b);
    }
    see_agreement(s);
    return KH_OK;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->truth[i] >= s->classes) continue;
        KH_TRY(see_image(s, batch, i, err));
        s->labelled[0]++;
    }
    return KH_OK;
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    (void)err;
    const kh_identify_view view = {.info = s->setup->info,
                                   .labelled = s->labelled[0],
                                   .rank = s->rank,
                                   .with_one = s->with_one,
                                   .rises = s->rises,
                                   .same = s->same,
                                   .votes = s->votes,
                                   .own_votes = s->own_votes,
                                   .rises_input = s->rises_input,
                                   .voted = s->voted,
                                   .agree = s->agree,
                                   .match = s->match};
    kh_identify_write(&view, out);
    return KH_OK;
}

const kh_lens_kind kh_kind_identify = {
    .name = "identify",
    .needs_truth = true,
    .version = 2,
    .sites = 1u << KH_SITE_RESID_POST | 1u << KH_SITE_ATTN_OUT | 1u << KH_SITE_MLP_OUT |
             1u << KH_SITE_POST,
    .refuses = kh_key_values_refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
};
