/* Lens "context": do patches that show the class say so earlier and better than those around it?
 * Identifiability of both kinds, against 300 shuffles of which patch is which within each image
 * (Vilas et al. 2023). Needs label maps; costs as much as the lens "identify". */
#include "lens/batch_maps.h"
#include "lens/lens.h"
#include "lens/token_labels.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>

enum { HS, ATTENTION, MLP, SITES };
enum { SUBJECT, CONTEXT, GROUPS };
enum { SHUFFLES = 300 };

typedef struct state {
    const kh_lens_setup *setup;
    size_t classes, cells; /* cells: blocks * SITES */
    uint64_t *images;      /* [1] with a subject */
    uint64_t *tokens;      /* [GROUPS] */
    uint64_t *place;       /* [cells, GROUPS] sums of the true class's place */
    uint64_t *first;       /* [cells, GROUPS] tokens where it is the first */
    uint64_t *shuffled;  /* [cells, SHUFFLES] sums of places over as many patches drawn at random */
    float *logits;       /* [tokens, classes] scratch */
    uint32_t *places;    /* [cells, patches] of the image at hand */
    uint8_t *truth, *on; /* [pixels], [patches] */
    size_t *order;       /* [patches] */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    void *const all[] = {s->images, s->tokens, s->place, s->first, s->shuffled,
                         s->logits, s->places, s->truth, s->on,    s->order};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        kh_free(all[i]);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    if (!setup->label_set) return "no label maps are given";
    if (!setup->ranking || setup->info->head_is_indirect || setup->info->head_is_projection)
        return "the model has no classifier that acts on tokens";
    return NULL;
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    bool ok = s != NULL;
    *out = NULL;
    if (s) {
        const kh_model_info *info = setup->info;
        const size_t pixels = info->image_height * info->image_width;
        *s = (state){.setup = setup, .classes = info->classes, .cells = info->blocks * SITES};
        s->images = kh_calloc(1, sizeof *s->images);
        s->tokens = kh_calloc(GROUPS, sizeof *s->tokens);
        s->place = kh_calloc(s->cells * GROUPS, sizeof *s->place);
        s->first = kh_calloc(s->cells * GROUPS, sizeof *s->first);
        s->shuffled = kh_calloc(s->cells * SHUFFLES, sizeof *s->shuffled);
        s->logits = kh_alloc_floats(setup->patches * s->classes);
        s->places = kh_calloc(s->cells * setup->patches, sizeof *s->places);
        s->truth = kh_calloc(pixels, 1);
        s->on = kh_calloc(setup->patches, 1);
        s->order = kh_calloc(setup->patches, sizeof *s->order);
        ok = s->images && s->tokens && s->place && s->first && s->shuffled && s->logits &&
             s->places && s->truth && s->on && s->order;
    }
    const kh_status status =
        ok ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for subjects and contexts");
    if (status)
        free_state(s);
    else
        *out = s;
    return status;
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    p[0] = (kh_piece){"context.images", KH_PIECE_SUM_U64, s->images, 1, 0};
    p[1] = (kh_piece){"context.tokens", KH_PIECE_SUM_U64, s->tokens, GROUPS, 0};
    p[2] = (kh_piece){"context.place", KH_PIECE_SUM_U64, s->place, s->cells * GROUPS, 0};
    p[3] = (kh_piece){"context.first", KH_PIECE_SUM_U64, s->first, s->cells * GROUPS, 0};
    p[4] = (kh_piece){"context.shuffled", KH_PIECE_SUM_U64, s->shuffled, s->cells * SHUFFLES, 0};
    return 5;
}

/* ---- one image ----------------------------------------------------------------------------- */

static kh_status find_places(state *s, const kh_lens_batch *batch, size_t i, kh_error *err) {
    static const kh_lens_site sites[SITES] = {KH_SITE_RESID_POST, KH_SITE_ATTN_OUT,
                                              KH_SITE_MLP_OUT};
    const kh_model_info *info = s->setup->info;
    const size_t patches = s->setup->patches;
    for (size_t cell = 0; cell < s->cells; cell++) {
        const float *rows = batch->site[sites[cell % SITES]][cell / SITES] +
                            (i * info->tokens + info->prefix_tokens) * info->dim;
        KH_TRY(kh_model_head(s->setup->ctx, s->setup->model, rows, patches, s->logits, err));
        for (size_t t = 0; t < patches; t++) {
            const size_t place =
                kh_lens_rank_position(s->logits + t * s->classes, s->classes, batch->truth[i]);
            const size_t group = s->on[t] ? SUBJECT : CONTEXT;
            s->places[cell * patches + t] = (uint32_t)place;
            s->place[cell * GROUPS + group] += place;
            s->first[cell * GROUPS + group] += place == 0;
        }
    }
    return KH_OK;
}

/* As many patches as show the subject, drawn anew for every shuffle; the same ones for all sites.
 */
static void shuffle(state *s, uint64_t id, size_t subject) {
    const size_t patches = s->setup->patches;
    kh_rng rng = kh_rng_make(s->setup->seed, kh_hash_name("context") + id);
    for (size_t t = 0; t < patches; t++)
        s->order[t] = t;
    for (size_t k = 0; k < SHUFFLES; k++) {
        for (size_t t = 0; t < subject; t++) {
            const size_t o = t + kh_rng_below(&rng, patches - t), swap = s->order[t];
            s->order[t] = s->order[o];
            s->order[o] = swap;
        }
        for (size_t cell = 0; cell < s->cells; cell++) {
            const uint32_t *places = s->places + cell * patches;
            uint64_t sum = 0;
            for (size_t t = 0; t < subject; t++)
                sum += places[s->order[t]];
            s->shuffled[cell * SHUFFLES + k] += sum;
        }
    }
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++) {
        if (!kh_batch_maps_subject(batch->maps, i, batch->truth[i], s->truth)) continue;
        size_t subject = 0;
        kh_token_labels(s->truth, s->setup->info, false, s->on);
        for (size_t t = 0; t < s->setup->patches; t++)
            subject += s->on[t];
        KH_TRY(find_places(s, batch, i, err));
        shuffle(s, batch->ids[i], subject);
        s->tokens[SUBJECT] += subject;
        s->tokens[CONTEXT] += s->setup->patches - subject;
        s->images[0]++;
    }
    return KH_OK;
}

/* ---- results ------------------------------------------------------------------------------- */

/* Mean identifiability on the subject less that of the context, from the sum of places there. */
static double difference(const state *s, size_t cell, uint64_t on_subject) {
    const uint64_t all = s->place[cell * GROUPS + SUBJECT] + s->place[cell * GROUPS + CONTEXT];
    const double classes = (double)s->classes;
    return ((double)(all - on_subject) / (double)s->tokens[CONTEXT] -
            (double)on_subject / (double)s->tokens[SUBJECT]) /
           classes;
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    static const char *const names[SITES] = {"residual", "attention", "mlp"};
    const state *s = at;
    (void)err;
    out->table(out->user, "context",
               "block:i site:t images:i subject_tokens:i context_tokens:i subject:r context:r "
               "subject_rate:r context_rate:r difference:r shuffled:r p:r");
    const bool has_both = s->tokens[SUBJECT] && s->tokens[CONTEXT];
    for (size_t cell = 0; cell < s->cells && has_both; cell++) {
        const double real = difference(s, cell, s->place[cell * GROUPS + SUBJECT]);
        double sum = 0;
        size_t above = 0;
        for (size_t k = 0; k < SHUFFLES; k++) {
            const double one = difference(s, cell, s->shuffled[cell * SHUFFLES + k]);
            sum += one;
            above += one > real;
        }
        out->integer(out->user, (int64_t)(cell / SITES));
        out->text(out->user, names[cell % SITES]);
        out->integer(out->user, (int64_t)s->images[0]);
        for (size_t g = 0; g < GROUPS; g++)
            out->integer(out->user, (int64_t)s->tokens[g]);
        for (size_t g = 0; g < GROUPS; g++)
            out->real(out->user, 1 - (double)s->place[cell * GROUPS + g] /
                                         ((double)s->tokens[g] * (double)s->classes));
        for (size_t g = 0; g < GROUPS; g++)
            out->real(out->user, (double)s->first[cell * GROUPS + g] / (double)s->tokens[g]);
        out->real(out->user, real);
        out->real(out->user, sum / SHUFFLES);
        out->real(out->user, (double)(above + 1) / (SHUFFLES + 1));
        out->row(out->user);
    }
    return KH_OK;
}

const kh_lens_kind kh_kind_context = {
    .name = "context",
    .version = 1,
    .sites = 1u << KH_SITE_RESID_POST | 1u << KH_SITE_ATTN_OUT | 1u << KH_SITE_MLP_OUT,
    .needs_maps = true,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
};
