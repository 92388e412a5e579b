/* Lens "exemplars": for every key neuron the images that wake it most, images at lower levels of
 * activation, a random baseline, and whether what it reads is what it writes. */
#include "lens/exemplars.h"
#include "lens/lens.h"

#include "base/alloc.h"

typedef struct state {
    kh_exemplar_lists lists;
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_exemplar_lists_clear(&s->lists);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    *out = s;
    if (s && kh_exemplar_lists_init(&s->lists, setup, setup->info->neurons)) return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for exemplars of %zu neurons", setup->units);
}

static size_t pieces(void *at, kh_piece *p) {
    kh_exemplar_lists *l = &((state *)at)->lists;
    p[0] = (kh_piece){"exemplars.top", KH_PIECE_TOP, l->top, l->units * l->k, l->k};
    p[1] =
        (kh_piece){"exemplars.sample", KH_PIECE_MAX_F32, l->sample_max, l->sampled * l->units, 0};
    return 2;
}

static bool see(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    kh_exemplar_lists *l = &((state *)at)->lists;
    const size_t first = i * l->units + block * l->per_block;
    return kh_exemplar_lists_see(l, batch->ids[i], block, batch->features->max + first,
                                 batch->features->token + first);
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    return kh_lens_by_block(s->lists.setup, batch, see, s, "a memory coefficient", err);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    const kh_lens_setup *setup = s->lists.setup;
    kh_top_entry *best = kh_calloc(setup->units * setup->exemplars, sizeof *best);
    if (!best) return kh_fail(err, KH_E_MEMORY, "no memory to list exemplars");
    out->table(out->user, "exemplars",
               "block:i neuron:i level:t rank:i image:i patch:i value:r truth:i");
    kh_status status = kh_exemplar_lists_write(&s->lists, best, out, err);
    if (!status && setup->ranking) status = kh_exemplars_reads_writes(setup, best, out, err);
    kh_free(best);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_exemplar_lists_size(setup, setup->units, out);
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
