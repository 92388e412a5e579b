/* Lens "class_argmax": which neuron of a block is the strongest on an image, and how often each is
 * that on the images of a class. An image's answer is kept: 4 bytes a block, however many classes
 * and neurons there are. */
#include "lens/class_images.h"
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>

enum { SHOWN = 10 };

typedef struct state {
    const kh_lens_setup *setup;
    uint32_t *strongest; /* [images, blocks] 1 + neuron; 0: not seen, or of no class */
    uint32_t *of;        /* [images] 1 + the class that it counts for; 0: none */
    float *room;         /* of kh_class_reduced */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->strongest);
    kh_free(s->of);
    kh_free(s->room);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    const size_t room = kh_class_room(setup);
    if (s) {
        *s = (state){.setup = setup};
        s->strongest = kh_calloc(setup->images * setup->info->blocks, sizeof *s->strongest);
        s->of = kh_calloc(setup->images, sizeof *s->of);
        s->room = room ? kh_alloc_floats(room) : NULL;
    }
    *out = s;
    if (s && s->strongest && s->of && (s->room || !room)) return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for the strongest neurons of %zu images",
                   setup->images);
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t images = s->setup->images;
    p[0] = (kh_piece){"class_argmax.strongest", KH_PIECE_SUM_U32, s->strongest,
                      images * s->setup->info->blocks, 0};
    p[1] = (kh_piece){"class_argmax.of", KH_PIECE_SUM_U32, s->of, images, 0};
    return 2;
}

/* The first of equals. */
static bool see(void *at, const kh_lens_batch *batch, size_t i, size_t block) {
    state *s = at;
    if (kh_class_of(s->setup, batch, i) == KH_NO_CLASS) return true;
    const float *values = kh_class_reduced(s->setup, batch, i, block, s->room);
    size_t best = 0;
    bool ok = true;
    for (size_t n = 0; n < s->setup->info->neurons; n++) {
        ok &= isfinite(values[n]) != 0;
        if (values[n] > values[best]) best = n;
    }
    s->strongest[batch->ids[i] * s->setup->info->blocks + block] = (uint32_t)best + 1;
    return ok;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++) {
        const size_t c = kh_class_of(s->setup, batch, i);
        if (c != KH_NO_CLASS) s->of[batch->ids[i]] = (uint32_t)c + 1;
    }
    return kh_lens_by_block(s->setup, batch, see, s, "a memory coefficient", err);
}

/* ---- results ------------------------------------------------------------------------------- */

typedef struct counted {
    size_t neuron;
    uint32_t n; /* 0: an empty place */
} counted;

/* More images first, of equals the lower neuron. */
static void insert(counted *list, counted one) {
    size_t at = SHOWN;
    while (at > 0 && (list[at - 1].n < one.n ||
                      (list[at - 1].n == one.n && list[at - 1].neuron > one.neuron)))
        at--;
    if (at == SHOWN) return;
    for (size_t i = SHOWN - 1; i > at; i--)
        list[i] = list[i - 1];
    list[at] = one;
}

/* images [count] of the class; `times` [neurons] zeros, and zeros again when it is done. */
static void write_block(const state *s, size_t c, size_t block, const size_t *images, size_t count,
                        uint32_t *times, const kh_lens_out *out) {
    const size_t blocks = s->setup->info->blocks;
    counted list[SHOWN] = {{0, 0}};
    for (size_t i = 0; i < count; i++)
        times[s->strongest[images[i] * blocks + block] - 1]++;
    for (size_t i = 0; i < count; i++) {
        const size_t neuron = s->strongest[images[i] * blocks + block] - 1;
        if (times[neuron]) insert(list, (counted){neuron, times[neuron]});
        times[neuron] = 0;
    }
    for (size_t rank = 0; rank < SHOWN && list[rank].n; rank++) {
        out->integer(out->user, (int64_t)c);
        out->integer(out->user, (int64_t)block);
        out->integer(out->user, (int64_t)rank);
        out->integer(out->user, (int64_t)list[rank].neuron);
        out->integer(out->user, list[rank].n);
        out->real(out->user, (double)list[rank].n / (double)count);
        out->row(out->user);
    }
}

/* A state file says what it likes; nothing is counted beyond what the model has. */
static bool is_of_model(const state *s) {
    const kh_model_info *info = s->setup->info;
    bool ok = true;
    for (size_t i = 0; i < s->setup->images; i++) {
        ok &= s->of[i] <= info->classes;
        for (size_t b = 0; b < info->blocks && s->of[i]; b++)
            ok &= s->strongest[i * info->blocks + b] - 1 < info->neurons;
    }
    return ok;
}

/* order [images]: those that count, class by class; end [classes + 1]: end[c + 1] is where class c
 * ends and the next begins. */
static void sort_by_class(const state *s, size_t *order, size_t *end, size_t *next) {
    const size_t classes = s->setup->info->classes, images = s->setup->images;
    for (size_t i = 0; i < images; i++)
        if (s->of[i]) end[s->of[i]]++;
    for (size_t c = 0; c < classes; c++) {
        next[c] = end[c];
        end[c + 1] += end[c];
    }
    for (size_t i = 0; i < images; i++)
        if (s->of[i]) order[next[s->of[i] - 1]++] = i;
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    const kh_model_info *info = s->setup->info;
    size_t *order = kh_calloc(s->setup->images, sizeof *order);
    size_t *end = kh_calloc(info->classes + 1, 2 * sizeof *end);
    uint32_t *times = kh_calloc(info->neurons, sizeof *times);
    kh_status status = KH_OK;
    if (!order || !end || !times)
        status = kh_fail(err, KH_E_MEMORY, "no memory to count the strongest neurons");
    else if (!is_of_model(s))
        status = kh_fail(err, KH_E_FORMAT,
                         "lens 'class_argmax': its state names a class or a neuron that the model "
                         "has not");
    if (!status) {
        sort_by_class(s, order, end, end + info->classes + 1);
        out->table(out->user, "class_argmax", "class:i block:i rank:i neuron:i n:i share:r");
        for (size_t c = 0; c < info->classes; c++)
            for (size_t b = 0; b < info->blocks && end[c] < end[c + 1]; b++)
                write_block(s, c, b, order + end[c], end[c + 1] - end[c], times, out);
    }
    kh_free(times);
    kh_free(end);
    kh_free(order);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    const uint64_t most = (uint64_t)kh_classes_counted(setup) * SHOWN;
    const uint64_t rows = most < setup->images ? most : setup->images;
    kh_lens_size_add(out, rows * setup->info->blocks, 5, 1, 0);
}

const kh_lens_kind kh_kind_class_argmax = {
    .name = "class_argmax",
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
};
