/* Lens "distance": how far apart classes are in each block, by the maps of their own first neurons
 * (D1), image by image (D2), or by the same neurons for both (D3). Figures 5 and 6 of the report.
 */
#include "lens/distance.h"
#include "lens/lens.h"
#include "lens/lens_class_mean.h"
#include "lens/lens_units.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

enum { K = 3, IMAGENET = 1000 };

typedef struct state {
    const kh_lens_setup *setup;
    const size_t *classes; /* compared */
    size_t count;
    uint32_t *n;   /* [count] */
    int64_t *maps; /* [count, blocks, K, patches] of the class's r-th neuron, on its own images */
    int64_t *squares; /* [count, blocks, 2] of the map's norm: first neuron, mean of K */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->n);
    kh_free(s->maps);
    kh_free(s->squares);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    if (!setup->ranking) return "no neurons can be aligned with classes";
    return setup->ranking->k < K ? "a block has fewer than three neurons" : NULL;
}

/* Fish, boat and dogs, in the order in which they were always compared. */
static const size_t report[] = {0, 554, 207, 162, 250};
enum { REPORT = sizeof report / sizeof *report };

static int by_size(const void *left, const void *right) {
    const size_t a = *(const size_t *)left, b = *(const size_t *)right;
    return (a > b) - (a < b);
}

static void take(kh_distance_choice *c, const size_t *list, size_t count, const char *why) {
    c->why = why;
    for (c->count = 0; c->count < count && c->count < KH_DISTANCE_CLASSES; c->count++)
        c->classes[c->count] = list[c->count];
}

static bool are_report(const kh_distance_choice *c) {
    size_t found = 0;
    for (size_t i = 0; i < c->count; i++)
        for (size_t r = 0; r < REPORT; r++)
            found += c->classes[i] == report[r];
    return c->count == REPORT && found == REPORT;
}

static size_t seen_of(const kh_distance_choice *c, const bool *is_seen) {
    size_t found = 0;
    for (size_t i = 0; i < c->count; i++)
        found += is_seen[c->classes[i]];
    return found;
}

static void take_seen(kh_distance_choice *c, size_t classes, const bool *is_seen) {
    const bool are_all = classes <= KH_DISTANCE_CLASSES;
    c->why = are_all ? "all" : "seen";
    c->count = 0;
    for (size_t i = 0; i < classes && c->count < KH_DISTANCE_CLASSES; i++)
        if (are_all || is_seen[i]) c->classes[c->count++] = i;
}

kh_distance_choice kh_distance_choose(const size_t *asked, size_t count, size_t classes,
                                      const bool *is_seen) {
    kh_distance_choice c = {.count = 0};
    if (count) {
        take(&c, asked, count, "asked");
        qsort(c.classes, c.count, sizeof *c.classes, by_size);
        if (classes == IMAGENET && are_report(&c)) take(&c, report, REPORT, "asked");
    } else {
        if (classes == IMAGENET) take(&c, report, REPORT, "report");
        if (c.count == 0 || seen_of(&c, is_seen) < 2) take_seen(&c, classes, is_seen);
    }
    c.found = seen_of(&c, is_seen);
    return c;
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    state *s = kh_calloc(1, sizeof *s);
    *out = s;
    if (s) {
        s->setup = setup;
        s->classes = setup->compare->classes;
        s->count = setup->compare->count;
        const size_t cells = s->count * setup->info->blocks;
        s->n = kh_calloc(s->count, sizeof *s->n);
        s->maps = kh_calloc(cells * K * setup->patches, sizeof *s->maps);
        s->squares = kh_calloc(cells * 2, sizeof *s->squares);
    }
    if (s && s->n && s->maps && s->squares) return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for class maps");
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t cells = s->count * s->setup->info->blocks;
    if (s->count == 0) return 0; /* of many classes none has an image */
    p[0] = (kh_piece){"distance.n", KH_PIECE_SUM_U32, s->n, s->count, 0};
    p[1] = (kh_piece){"distance.maps", KH_PIECE_SUM_I64, s->maps, cells * K * s->setup->patches, 0};
    p[2] = (kh_piece){"distance.squares", KH_PIECE_SUM_I64, s->squares, cells * 2, 0};
    return 3;
}

/* One image into its class's maps of a block. */
static bool add_maps(state *s, size_t place, size_t block, const float *rows) {
    const kh_lens_setup *setup = s->setup;
    const size_t cell = place * setup->info->blocks + block, neurons = setup->info->neurons;
    size_t unit[K];
    double first = 0, mean = 0;
    bool ok = true;
    for (size_t r = 0; r < K; r++)
        unit[r] = kh_ranking_unit(setup->ranking, block, r, s->classes[place]);
    for (size_t t = 0; t < setup->patches; t++) {
        const float *row = rows + (setup->info->prefix_tokens + t) * neurons;
        double sum = 0;
        for (size_t r = 0; r < K; r++) {
            sum += (double)row[unit[r]];
            ok &= kh_fix_add(&s->maps[(cell * K + r) * setup->patches + t], (double)row[unit[r]]);
        }
        first += (double)row[unit[0]] * (double)row[unit[0]];
        mean += sum / K * (sum / K);
    }
    return ok && kh_fix_add(&s->squares[2 * cell], first) &&
           kh_fix_add(&s->squares[2 * cell + 1], mean);
}

static size_t place_of(const state *s, size_t class_index) {
    for (size_t i = 0; i < s->count; i++)
        if (s->classes[i] == class_index) return i;
    return SIZE_MAX;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    const kh_model_info *info = s->setup->info;
    for (size_t i = 0; i < batch->count; i++) {
        const size_t place = place_of(s, batch->truth[i]);
        if (place == SIZE_MAX) continue;
        for (size_t b = 0; b < info->blocks; b++)
            if (!add_maps(s, place, b,
                          batch->site[KH_SITE_POST][b] + i * info->tokens * info->neurons))
                return kh_lens_not_finite(s->setup, "a memory coefficient", batch->ids[i], err);
        s->n[place]++;
    }
    return KH_OK;
}

/* ---- results ------------------------------------------------------------------------------- */

/* Mean map of a class: first neuron (k = 1) or mean of three. */
static void mean_map(const state *s, size_t place, size_t block, size_t k, double *out) {
    const size_t patches = s->setup->patches, cell = place * s->setup->info->blocks + block;
    for (size_t t = 0; t < patches; t++) {
        out[t] = 0;
        for (size_t r = 0; r < k; r++)
            out[t] += kh_fix_mean(s->maps[(cell * K + r) * patches + t], s->n[place]) / (double)k;
    }
}

static void write_matrix(const state *s, const char *name, size_t k, size_t block,
                         const double *matrix, const kh_lens_out *out) {
    for (size_t a = 0; a < s->count; a++)
        for (size_t b = 0; b < s->count; b++) {
            if (s->n[a] == 0 || s->n[b] == 0) continue;
            size_t rank = 0; /* of b among the others, nearest first */
            for (size_t o = 0; o < s->count; o++)
                rank += o != a && o != b && s->n[o] &&
                        (matrix[a * s->count + o] < matrix[a * s->count + b] ||
                         (matrix[a * s->count + o] <= matrix[a * s->count + b] && o < b));
            out->text(out->user, name);
            out->integer(out->user, (int64_t)k);
            out->integer(out->user, (int64_t)block);
            out->integer(out->user, (int64_t)s->classes[a]);
            out->integer(out->user, (int64_t)s->classes[b]);
            out->real(out->user, matrix[a * s->count + b]);
            out->integer(out->user, a == b ? -1 : (int64_t)rank);
            out->row(out->user);
        }
}

static void map_distances(const state *s, size_t k, size_t block, double *maps, double *matrix,
                          const kh_lens_out *out) {
    const size_t patches = s->setup->patches, blocks = s->setup->info->blocks;
    for (size_t a = 0; a < s->count; a++)
        mean_map(s, a, block, k, maps + a * patches);
    for (size_t a = 0; a < s->count; a++)
        for (size_t b = 0; b < s->count; b++)
            matrix[a * s->count + b] =
                kh_l2_distance(maps + a * patches, maps + b * patches, patches);
    write_matrix(s, "D1", k, block, matrix, out);
    for (size_t a = 0; a < s->count; a++)
        for (size_t b = 0; b < s->count; b++) {
            const size_t i = 2 * (a * blocks + block) + (k > 1);
            const size_t j = 2 * (b * blocks + block) + (k > 1);
            matrix[a * s->count + b] =
                a == b ? kh_rms_within(maps + a * patches, kh_fix_value(s->squares[i]), s->n[a],
                                       patches)
                       : kh_rms_between(maps + a * patches, kh_fix_mean(s->squares[i], s->n[a]),
                                        maps + b * patches, kh_fix_mean(s->squares[j], s->n[b]),
                                        patches);
        }
    write_matrix(s, "D2", k, block, matrix, out);
}

/* Adds one neuron's squared difference to every pair, in units of its standard deviation over all
 * patches of all images. */
static void add_neuron(const state *s, const void *means, size_t unit, double deviation,
                       double *matrix) {
    double value[KH_DISTANCE_CLASSES];
    for (size_t a = 0; a < s->count; a++)
        value[a] = kh_fix_mean(kh_lens_class_sums(means, s->classes[a])[unit],
                               kh_lens_class_images(means, s->classes[a])) /
                   deviation;
    for (size_t a = 0; a < s->count; a++)
        for (size_t b = 0; b < s->count; b++)
            matrix[a * s->count + b] += (value[a] - value[b]) * (value[a] - value[b]);
}

/* D3: class means of the same neurons, the first k of every compared class. */
static void profile_distances(const state *s, size_t k, size_t block, double *matrix,
                              const kh_lens_out *out) {
    const kh_ranking *r = s->setup->ranking;
    const void *means = kh_lens_peer(s->setup, &kh_kind_class_mean);
    const void *units = kh_lens_peer(s->setup, &kh_kind_units);
    if (!means || !units) return;
    for (size_t i = 0; i < s->count * s->count; i++)
        matrix[i] = 0;
    for (size_t c = 0; c < s->count * k; c++) {
        const size_t neuron = kh_ranking_unit(r, block, c % k, s->classes[c / k]);
        const size_t unit = block * s->setup->info->neurons + neuron;
        const double deviation = kh_lens_unit_deviation(units, unit);
        bool is_known = false; /* each neuron of the union once */
        for (size_t o = 0; o < c && !is_known; o++)
            is_known = kh_ranking_unit(r, block, o % k, s->classes[o / k]) == neuron;
        if (!is_known && deviation > 0) add_neuron(s, means, unit, deviation, matrix);
    }
    for (size_t i = 0; i < s->count * s->count; i++)
        matrix[i] = sqrt(matrix[i]);
    write_matrix(s, "D3", k, block, matrix, out);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    static const size_t sizes[2] = {1, K};
    state *s = at;
    double *maps = kh_calloc(s->count * s->setup->patches, sizeof *maps);
    double *matrix = kh_calloc(s->count * s->count, sizeof *matrix);
    kh_status status =
        maps && matrix ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for class distances");
    out->table(out->user, "distances",
               "definition:t k:i block:i class_a:i class_b:i distance:r rank:i");
    for (size_t i = 0; i < 2 && !status; i++)
        for (size_t b = 0; b < s->setup->info->blocks; b++) {
            map_distances(s, sizes[i], b, maps, matrix, out);
            profile_distances(s, sizes[i], b, matrix, out);
        }
    kh_free(matrix);
    kh_free(maps);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    const uint64_t count = setup->compare->found;
    kh_lens_size_add(out, 6 * setup->info->blocks * count * count, 5, 1, 2);
}

const kh_lens_kind kh_kind_distance = {
    .name = "distance",
    .needs_truth = true,
    .version = 1,
    .sites = 1u << KH_SITE_POST,
    .is_default = true,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
};
