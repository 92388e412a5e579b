/* Lens "class_mean": every neuron's mean coefficient on the images of every class (figure 4), how
 * few neurons hold it, and which classes share their strongest neurons. */
#include "lens/class_images.h"
#include "lens/concentration.h"
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>

enum { SHOWN = 10 };

typedef struct state {
    const kh_lens_setup *setup;
    size_t classes;
    uint32_t *n;   /* [classes] */
    int64_t *sums; /* [classes, units] of the reduced coefficients */
    float *room;   /* of kh_class_reduced */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->n);
    kh_free(s->sums);
    kh_free(s->room);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t classes = setup->info->classes, room = kh_class_room(setup);
    if (s) {
        *s = (state){.setup = setup, .classes = classes};
        s->n = kh_calloc(classes, sizeof *s->n);
        s->sums = kh_calloc(classes * setup->units, sizeof *s->sums);
        s->room = room ? kh_alloc_floats(room) : NULL;
    }
    *out = s;
    if (s && s->n && s->sums && (s->room || !room)) return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for class means of %zu neurons (%.0f MB)",
                   setup->units, (double)(classes * setup->units) * 8e-6);
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    p[0] = (kh_piece){"class_mean.n", KH_PIECE_SUM_U32, s->n, s->classes, 0};
    p[1] =
        (kh_piece){"class_mean.sums", KH_PIECE_SUM_I64, s->sums, s->classes * s->setup->units, 0};
    return 2;
}

static bool see(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    const size_t neurons = s->setup->info->neurons;
    const size_t c = kh_class_of(s->setup, batch, i);
    if (c == KH_NO_CLASS) return true;
    const float *values = kh_class_reduced(s->setup, batch, i, block, s->room);
    int64_t *sums = s->sums + c * s->setup->units + block * neurons;
    bool ok = true;
    for (size_t n = 0; n < neurons; n++)
        ok &= kh_fix_add(&sums[n], (double)values[n]);
    return ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++) {
        const size_t c = kh_class_of(s->setup, batch, i);
        if (c != KH_NO_CLASS) s->n[c]++;
    }
    return kh_lens_by_block(s->setup, batch, see, s, "a memory coefficient", err);
}

/* ---- results ------------------------------------------------------------------------------- */

/* Means of one class, [units]; NaN for a class without images. */
static void class_means(const state *s, size_t c, float *out) {
    for (size_t u = 0; u < s->setup->units; u++)
        out[u] = (float)kh_fix_mean(s->sums[c * s->setup->units + u], s->n[c]);
}

static size_t place_in(const size_t *list, size_t count, size_t value) {
    for (size_t i = 0; i < count; i++)
        if (list[i] == value) return i;
    return SIZE_MAX;
}

static void write_block(const state *s, size_t c, size_t block, const kh_concentration *k,
                        const kh_lens_out *out) {
    const kh_ranking *r = s->setup->ranking;
    const size_t aligned = r ? kh_ranking_unit(r, block, 0, c) : SIZE_MAX;
    const size_t place = place_in(k->top, k->top_count, aligned);
    out->integer(out->user, (int64_t)c);
    out->integer(out->user, (int64_t)block);
    out->integer(out->user, s->n[c]);
    out->real(out->user, k->mean);
    out->real(out->user, k->gini);
    out->real(out->user, k->effective);
    out->real(out->user, k->share[0]);
    out->real(out->user, k->share[1]);
    out->real(out->user, k->share[2]);
    out->integer(out->user, r ? (int64_t)aligned : -1);
    out->integer(out->user, place == SIZE_MAX ? -1 : (int64_t)place);
    out->row(out->user);
}

/* Mean Jaccard overlap of the ten strongest neurons, and each class's nearest. */
static void write_overlap(const state *s, const size_t *top, size_t block, const kh_lens_out *out) {
    const size_t blocks = s->setup->info->blocks;
    for (size_t a = 0; a < s->classes; a++) {
        if (s->n[a] == 0) continue;
        double best = -1, sum = 0;
        size_t nearest = a, others = 0;
        const size_t *mine = top + (a * blocks + block) * SHOWN;
        for (size_t b = 0; b < s->classes; b++) {
            if (b == a || s->n[b] == 0) continue;
            const double j = kh_jaccard(mine, top + (b * blocks + block) * SHOWN, SHOWN);
            sum += j;
            others++;
            if (j > best) {
                best = j;
                nearest = b;
            }
        }
        if (others == 0) continue;
        out->integer(out->user, (int64_t)block);
        out->integer(out->user, (int64_t)a);
        out->integer(out->user, (int64_t)nearest);
        out->real(out->user, best);
        out->real(out->user, sum / (double)others);
        out->row(out->user);
    }
}

static void write_profile(size_t c, size_t block, const float *mean, const size_t *top,
                          double total, const kh_lens_out *out) {
    for (size_t rank = 0; rank < SHOWN && top[rank] != SIZE_MAX; rank++) {
        const double value = (double)mean[top[rank]];
        out->integer(out->user, (int64_t)c);
        out->integer(out->user, (int64_t)block);
        out->integer(out->user, (int64_t)rank);
        out->integer(out->user, (int64_t)top[rank]);
        out->real(out->user, value);
        out->real(out->user, total > 0 && value > 0 ? value / total : 0);
        out->row(out->user);
    }
}

static void write_concentration(const state *s, float *means, const kh_concentration *all,
                                size_t *top, const kh_lens_out *out) {
    const size_t blocks = s->setup->info->blocks, neurons = s->setup->info->neurons;
    out->table(out->user, "concentration",
               "class:i block:i n:i mean:r gini:r effective:r top1_share:r top3_share:r "
               "top10_share:r aligned_neuron:i aligned_place:i");
    for (size_t c = 0; c < s->classes; c++)
        for (size_t b = 0; b < blocks && s->n[c]; b++)
            write_block(s, c, b, &all[c * blocks + b], out);
    out->table(out->user, "class_profile", "class:i block:i rank:i neuron:i mean:r share:r");
    for (size_t c = 0; c < s->classes; c++) {
        if (s->n[c] == 0) continue;
        class_means(s, c, means);
        for (size_t b = 0; b < blocks; b++)
            write_profile(c, b, means + b * neurons, top + (c * blocks + b) * SHOWN,
                          all[c * blocks + b].total, out);
    }
    out->table(out->user, "class_overlap", "block:i class:i nearest:i jaccard:r mean_jaccard:r");
    for (size_t b = 0; b < blocks; b++)
        write_overlap(s, top, b, out);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    state *s = at;
    const size_t blocks = s->setup->info->blocks, neurons = s->setup->info->neurons;
    const size_t cells = s->classes * blocks, units = s->setup->units;
    const size_t shape[3] = {s->classes, blocks, neurons};
    float *means = kh_alloc_floats(s->classes * units);
    kh_concentration *all = kh_calloc(cells, sizeof *all);
    size_t *top = kh_calloc(cells * SHOWN, sizeof *top);
    int64_t *n = kh_calloc(s->classes, sizeof *n);
    char text[128];
    kh_status status = KH_OK;
    if (!means || !all || !top || !n)
        status = kh_fail(err, KH_E_MEMORY, "no memory for the table of class means");
    for (size_t c = 0; c < s->classes && !status; c++) {
        n[c] = s->n[c];
        class_means(s, c, means + c * units);
        for (size_t b = 0; b < blocks && s->n[c] && !status; b++)
            status = kh_concentration_of(means + c * units + b * neurons, neurons,
                                         top + (c * blocks + b) * SHOWN, SHOWN,
                                         &all[c * blocks + b], err);
    }
    if (!status) {
        kh_class_mean_text(s->setup, text, sizeof text);
        out->array(out->user, "class_mean", KH_OUT_F32, shape, 3, means, text);
        out->array(out->user, "class_n", KH_OUT_I64, shape, 1, n, "images that count for a class");
        write_concentration(s, means, all, top, out);
    }
    kh_free(n);
    kh_free(top);
    kh_free(all);
    kh_free(means);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    const uint64_t cells = kh_classes_counted(setup) * setup->info->blocks;
    kh_lens_size_add(out, cells, 5, 6, 0);
    kh_lens_size_add(out, cells * SHOWN, 4, 2, 0);
    kh_lens_size_add(out, cells, 3, 2, 0);
    out->array_bytes += 4 * setup->info->classes * setup->units;
}

const kh_lens_kind kh_kind_class_mean = {
    .name = "class_mean",
    .needs_truth = true,
    .goes_by_class = true,
    .version = 1,
    .is_default = true,
    .refuses = kh_lens_wants_classes,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
    .arrays = {"class_mean", "class_n"},
};
