/* Lens "selectivity": does a neuron fire for the class its value vector promotes most? Area under
 * the ROC curve of its largest coefficient on an image, ratio of means and Cohen's d. */
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>

/* Eight sketch bins in one: 16 an octave. */
enum { FEW = 64, SHIFT = 3, BINS = ((KH_SKETCH_BINS - 1) >> SHIFT) + 2 };

typedef struct state {
    const kh_lens_setup *setup;
    uint32_t *bins;  /* [2, units, BINS] images of other classes, of the neuron's class */
    int64_t *sum;    /* [2, units] of the mean over patches */
    int64_t *square; /* [2, units] */
    uint32_t *n;     /* [classes] */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->bins);
    kh_free(s->sum);
    kh_free(s->square);
    kh_free(s->n);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    return setup->ranking ? NULL : "no neurons can be aligned with classes";
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    *out = s;
    if (s) {
        s->setup = setup;
        s->bins = kh_calloc(2 * setup->units * BINS, sizeof *s->bins);
        s->sum = kh_calloc(2 * setup->units, sizeof *s->sum);
        s->square = kh_calloc(2 * setup->units, sizeof *s->square);
        s->n = kh_calloc(setup->info->classes, sizeof *s->n);
    }
    if (s && s->bins && s->sum && s->square && s->n) return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for the selectivity of %zu neurons", setup->units);
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t u = s->setup->units;
    p[0] = (kh_piece){"selectivity.bins", KH_PIECE_SUM_U32, s->bins, 2 * u * BINS, 0};
    p[1] = (kh_piece){"selectivity.sum", KH_PIECE_SUM_I64, s->sum, 2 * u, 0};
    p[2] = (kh_piece){"selectivity.square", KH_PIECE_SUM_I64, s->square, 2 * u, 0};
    p[3] = (kh_piece){"selectivity.n", KH_PIECE_SUM_U32, s->n, s->setup->info->classes, 0};
    return 4;
}

static size_t bin_of(float value) {
    const size_t bin = kh_sketch_bin(value);
    return bin ? 1 + ((bin - 1) >> SHIFT) : 0;
}

/* Neighbouring neurons: every count lies in a place of its own that nothing expects, so all are
 * asked for before the first is needed. */
static bool see_few(state *s, size_t c, size_t first, size_t count, const float *max,
                    const float *mean) {
    const uint32_t *target = s->setup->ranking->top_class;
    uint32_t *place[FEW];
    bool ok = true;
    for (size_t n = 0; n < count; n++) {
        const size_t at_unit = (target[first + n] == c ? s->setup->units : 0) + first + n;
        place[n] = s->bins + at_unit * BINS + bin_of(max[n]);
        __builtin_prefetch(place[n], 1);
        ok &= kh_fix_add(&s->sum[at_unit], (double)mean[n]);
        ok &= kh_fix_add(&s->square[at_unit], (double)mean[n] * (double)mean[n]);
    }
    for (size_t n = 0; n < count; n++)
        ++*place[n];
    return ok;
}

static bool see(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const size_t units = s->setup->units, neurons = s->setup->info->neurons;
    const size_t c = batch->truth[i];
    bool ok = true;
    for (size_t n = 0; c < s->setup->info->classes && n < neurons; n += FEW) {
        const size_t first = block * neurons + n, at_image = i * units + first;
        ok &= see_few(s, c, first, neurons - n < FEW ? neurons - n : FEW,
                      batch->features->max + at_image, batch->features->mean + at_image);
    }
    return ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++)
        if (batch->truth[i] < s->setup->info->classes) s->n[batch->truth[i]]++;
    return kh_lens_by_block(s->setup, batch, see, s, "a memory coefficient", err);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    const size_t units = s->setup->units, neurons = s->setup->info->neurons;
    uint64_t total = 0;
    (void)err;
    for (size_t c = 0; c < s->setup->info->classes; c++)
        total += s->n[c];
    out->table(out->user, "selectivity",
               "block:i neuron:i class:i n:i rest:i auroc:r mean:r mean_rest:r ratio:r d:r");
    for (size_t u = 0; u < units; u++) {
        const uint32_t c = s->setup->ranking->top_class[u];
        const uint64_t n = s->n[c], rest = total - n;
        const double mean = kh_fix_mean(s->sum[units + u], n);
        const double other = kh_fix_mean(s->sum[u], rest);
        const double within = kh_fix_variance(s->sum[units + u], s->square[units + u], n);
        const double outside = kh_fix_variance(s->sum[u], s->square[u], rest);
        const double pooled = sqrt(0.5 * (within + outside));
        out->integer(out->user, (int64_t)(u / neurons));
        out->integer(out->user, (int64_t)(u % neurons));
        out->integer(out->user, c);
        out->integer(out->user, (int64_t)n);
        out->integer(out->user, (int64_t)rest);
        out->real(out->user,
                  kh_sketch_auroc(s->bins + u * BINS, s->bins + (units + u) * BINS, BINS));
        out->real(out->user, mean);
        out->real(out->user, other);
        out->real(out->user, other > 0 && mean >= 0 ? mean / other : (double)NAN);
        out->real(out->user, pooled > 0 ? (mean - other) / pooled : (double)NAN);
        out->row(out->user);
    }
    return KH_OK;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, setup->units, 5, 5, 0);
}

const kh_lens_kind kh_kind_selectivity = {
    .name = "selectivity",
    .needs_truth = true,
    .version = 1,
    .is_default = true,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
