#include "lens/key_value.h"
#include "lens/clones.h"

#include "base/alloc.h"

enum { TOP = KH_KEY_VALUE_TOP };

/* Is any of these larger? Without a branch, so that the compiler can take many at once. */
static inline bool has_more(const float *values, size_t count, float than) {
    int more = 0;
    for (size_t i = 0; i < count; i++)
        more |= values[i] > than;
    return more != 0;
}

KH_CLONES static void find_top(const float *values, size_t count, size_t k, size_t *top) {
    enum { STEP = 64 };
    float best[8];
    size_t kept = 0;
    for (size_t first = 0; first < count; first += STEP) {
        const size_t end = count - first < STEP ? count : first + STEP;
        if (kept == k && end - first == STEP && !has_more(values + first, STEP, best[k - 1]))
            continue;
        for (size_t i = first; i < end; i++) {
            if (kept == k && !(values[i] > best[k - 1])) continue;
            size_t at = kept < k ? kept++ : k - 1;
            for (; at > 0 && values[i] > best[at - 1]; at--) {
                best[at] = best[at - 1];
                top[at] = top[at - 1];
            }
            best[at] = values[i];
            top[at] = i;
        }
    }
}

/* A clone of its own would be visible outside the library. */
void kh_key_value_top(const float *values, size_t count, size_t k, size_t *top) {
    find_top(values, count, k, top);
}

const char *kh_key_values_refuses(const kh_lens_setup *setup) {
    if (!setup->ranking || setup->info->head_is_indirect || setup->info->head_is_projection)
        return "the model has no classifier that acts on tokens";
    return setup->info->neurons < TOP ? "a block has fewer than five neurons" : NULL;
}

/* While the classes' neurons are ranked: the classes of each neuron. */
static kh_status rank_classes(void *user, size_t block, const float *scores, size_t units,
                              size_t classes, kh_error *err) {
    kh_key_values *k = user;
    (void)err;
    for (size_t n = 0; n < units; n++) {
        size_t top[TOP] = {0};
        kh_key_value_top(scores + n * classes, classes, TOP, top);
        for (size_t r = 0; r < TOP; r++) /* of fewer classes than five the first fill up */
            k->own[(block * units + n) * TOP + r] = (uint32_t)top[r < classes ? r : 0];
    }
    return KH_OK;
}

kh_status kh_key_values_init(kh_key_values *k, const kh_lens_setup *setup, kh_error *err) {
    kh_rank_options options = kh_rank_options_default();
    *k = (kh_key_values){.neurons = setup->info->neurons,
                         .own = kh_calloc(setup->units * TOP, sizeof *k->own)};
    if (!k->own) return kh_fail(err, KH_E_MEMORY, "no memory for keys and values");
    options.align.mode = KH_ALIGN_RAW;
    options.k = TOP;
    options.sink = rank_classes;
    options.sink_user = k;
    const kh_status status = kh_lens_rank(setup->ctx, setup->model, &options, &k->raw, err);
    if (status) kh_key_values_clear(k);
    return status;
}

void kh_key_values_clear(kh_key_values *k) {
    kh_ranking_clear(&k->raw);
    kh_free(k->own);
    *k = (kh_key_values){0};
}

bool kh_key_values_class_has(const kh_key_values *k, size_t block, const size_t *neurons,
                             size_t c) {
    bool has = false;
    for (size_t r = 0; r < TOP; r++) {
        const size_t unit = kh_ranking_unit(&k->raw, block, r, c);
        for (size_t i = 0; i < TOP; i++)
            has |= unit == neurons[i];
    }
    return has;
}

bool kh_key_values_neuron_has(const kh_key_values *k, size_t block, const size_t *neurons,
                              size_t c) {
    bool has = false;
    for (size_t i = 0; i < TOP; i++) {
        const uint32_t *classes = k->own + (block * k->neurons + neurons[i]) * TOP;
        for (size_t r = 0; r < TOP; r++)
            has |= classes[r] == c;
    }
    return has;
}
