/* The list of lenses, in the order in which they finish. */
#include "lens/lens.h"

#include "compute/backend.h"

#include <stdatomic.h>
#include <string.h>

const kh_lens_kind *const kh_lens_kinds[] = {
    &kh_kind_images,
    &kh_kind_accuracy,
    &kh_kind_units,
    &kh_kind_rotated,
    &kh_kind_class_mean,
    &kh_kind_class_argmax,
    &kh_kind_distance,
    &kh_kind_exemplars,
    &kh_kind_channels,
    &kh_kind_selectivity,
    &kh_kind_attribution,
    &kh_kind_heads,
    &kh_kind_audit,
    &kh_kind_identify,
    &kh_kind_key_value,
    &kh_kind_dissect,
    &kh_kind_masks,
    &kh_kind_context,
    NULL,
};

const kh_lens_kind *kh_lens_kind_find(const char *name) {
    for (size_t i = 0; kh_lens_kinds[i]; i++)
        if (strcmp(kh_lens_kinds[i]->name, name) == 0) return kh_lens_kinds[i];
    return NULL;
}

const char *kh_lens_wants_classes(const kh_lens_setup *setup) {
    return setup->info->classes ? NULL : "the model has no classifier";
}

bool kh_lens_knows_array(const char *name, size_t length) {
    for (size_t i = 0; kh_lens_kinds[i]; i++)
        for (const char *const *one = kh_lens_kinds[i]->arrays; *one; one++)
            if (strlen(*one) == length && memcmp(*one, name, length) == 0) return true;
    return false;
}

void *kh_lens_peer(const kh_lens_setup *setup, const kh_lens_kind *kind) {
    for (size_t i = 0; i < setup->lens_count; i++)
        if (setup->kinds[i] == kind) return setup->states[i];
    return NULL;
}

kh_status kh_lens_begin(const kh_lens_kind *kind, const kh_lens_setup *setup, void **state,
                        kh_error *err) {
    kh_piece pieces[KH_LENS_MAX_PIECES];
    const kh_status created = kind->create(setup, state, err);
    if (created) { /* what it freed is nobody's */
        *state = NULL;
        return created;
    }
    const size_t count = kind->pieces(*state, pieces);
    for (size_t i = 0; i < count; i++)
        if (pieces[i].rule == KH_PIECE_MAX_F32 || pieces[i].rule == KH_PIECE_MIN_F32 ||
            pieces[i].rule == KH_PIECE_TOP)
            kh_piece_reset(&pieces[i]); /* sums are fresh zeros, and a gigabyte of them */
    return KH_OK;
}

kh_status kh_lens_not_finite(const kh_lens_setup *setup, const char *what, uint64_t id,
                             kh_error *err) {
    return kh_fail(err, KH_E_NUMERIC, "%s of image %llu (%s) is not a number that can be summed",
                   what, (unsigned long long)id, kh_source_get(setup->source, (size_t)id).name);
}

typedef struct lens_round {
    const kh_lens_batch *batch;
    kh_see_fn see;
    void *state;
    atomic_size_t bad; /* an image that could not be taken, or SIZE_MAX */
} lens_round;

static void see_block(void *arg, size_t block, size_t worker) {
    lens_round *r = arg;
    (void)worker;
    for (size_t i = 0; i < r->batch->count; i++)
        if (!r->see(r->state, r->batch, i, block)) atomic_store(&r->bad, i);
}

kh_status kh_lens_by_block(const kh_lens_setup *setup, const kh_lens_batch *batch, kh_see_fn see,
                           void *state, const char *what, kh_error *err) {
    lens_round r = {.batch = batch, .see = see, .state = state, .bad = SIZE_MAX};
    kh_pool_run(kh_ctx_pool(setup->ctx), setup->info->blocks, see_block, &r);
    const size_t bad = atomic_load(&r.bad);
    return bad == SIZE_MAX ? KH_OK : kh_lens_not_finite(setup, what, batch->ids[bad], err);
}
