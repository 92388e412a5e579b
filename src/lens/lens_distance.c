/* Lens "distance": how far apart classes are in each block, by the maps of their own first neurons
 * (D1, D1c), image by image (D2), or by the same neurons for both (D3). Figures 5 and 6 of the
 * report. */
#include "lens/distance.h"
#include "lens/lens.h"
#include "lens/lens_units.h"

#include "base/alloc.h"

#include <math.h>

enum { K = 3 };

typedef struct state {
    const kh_lens_setup *setup;
    const size_t *classes; /* compared */
    size_t count;
    uint32_t *n;   /* [count] */
    int64_t *maps; /* [count, blocks, K, patches] of the class's r-th neuron, on its own images */
    int64_t *squares; /* [count, blocks, 2] of the map's norm: first neuron, mean of K */
    int64_t *means; /* [count, blocks, count, K] of the mean over patches of every class's neurons:
                       D3, whatever the run's class means are of */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->n);
    kh_free(s->maps);
    kh_free(s->squares);
    kh_free(s->means);
    kh_free(s);
}

static const char *refuses(const kh_lens_setup *setup) {
    if (!setup->ranking) return "no neurons can be aligned with classes";
    return setup->ranking->k < K ? "a block has fewer than three neurons" : NULL;
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
        s->means = kh_calloc(cells * s->count * K, sizeof *s->means);
    }
    if (s && s->n && s->maps && s->squares && s->means) return KH_OK;
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
    p[3] = (kh_piece){"distance.means", KH_PIECE_SUM_I64, s->means, cells * s->count * K, 0};
    return 4;
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

/* Where the sum of a class's images is for another's r-th neuron. */
static int64_t *mean_at(const state *s, size_t place, size_t block, size_t other, size_t r) {
    return &s->means[((place * s->setup->info->blocks + block) * s->count + other) * K + r];
}

/* mean [units] of the image's patches. */
static bool add_means(const state *s, size_t place, size_t block, const float *mean) {
    const kh_ranking *ranking = s->setup->ranking;
    bool ok = true;
    mean += block * s->setup->info->neurons;
    for (size_t c = 0; c < s->count; c++)
        for (size_t r = 0; r < K; r++)
            ok &= kh_fix_add(mean_at(s, place, block, c, r),
                             (double)mean[kh_ranking_unit(ranking, block, r, s->classes[c])]);
    return ok;
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
                          batch->site[KH_SITE_POST][b] + i * info->tokens * info->neurons) ||
                !add_means(s, place, b, batch->features->mean + i * s->setup->units))
                return kh_lens_not_finite(s->setup, "a memory coefficient", batch->ids[i], err);
        s->n[place]++;
    }
    return KH_OK;
}

/* ---- results ------------------------------------------------------------------------------- */

/* In the order of the table and of the array's first axis. */
enum { D1_ONE, D2_ONE, D3_ONE, D1_THREE, D1C_THREE, D2_THREE, D3_THREE, READINGS };
static const struct {
    const char *name;
    size_t k;
} readings[READINGS] = {{"D1", 1},  {"D2", 1}, {"D3", 1}, {"D1", K},
                        {"D1c", K}, {"D2", K}, {"D3", K}};

typedef struct work {
    const state *s;
    const kh_lens_out *out;
    const void *units;       /* state of that lens, or NULL */
    double *maps;            /* [count, K, patches] mean map of the r-th neuron in one block */
    double *scaled;          /* [count, K, patches] the same in deviations from the neuron's mean */
    double *mixed;           /* [count, patches] mean of the first k maps */
    double *mixed_scaled;    /* [count, patches] */
    double *matrix, *zscore; /* [count, count] */
    float *array;            /* [READINGS, blocks, count, count] */
} work;

static kh_status open_work(const state *s, const kh_lens_out *out, work *w, kh_error *err) {
    const size_t patches = s->setup->patches, square = s->count * s->count;
    *w = (work){.s = s,
                .out = out,
                .units = kh_lens_peer(s->setup, &kh_kind_units),
                .maps = kh_calloc(s->count * K * patches, sizeof *w->maps),
                .scaled = kh_calloc(s->count * K * patches, sizeof *w->scaled),
                .mixed = kh_calloc(s->count * patches, sizeof *w->mixed),
                .mixed_scaled = kh_calloc(s->count * patches, sizeof *w->mixed_scaled),
                .matrix = kh_calloc(square, sizeof *w->matrix),
                .zscore = kh_calloc(square, sizeof *w->zscore),
                .array = kh_calloc(READINGS * s->setup->info->blocks * square, sizeof *w->array)};
    if (w->maps && w->scaled && w->mixed && w->mixed_scaled && w->matrix && w->zscore && w->array)
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for class distances");
}

static void close_work(work *w) {
    kh_free(w->array);
    kh_free(w->zscore);
    kh_free(w->matrix);
    kh_free(w->mixed_scaled);
    kh_free(w->mixed);
    kh_free(w->scaled);
    kh_free(w->maps);
}

static void fill(double *values, size_t count, double value) {
    for (size_t i = 0; i < count; i++)
        values[i] = value;
}

/* Of a class's r-th neuron over all patches of all images; NaN without the lens "units". */
static double unit_of(const work *w, double (*of)(const void *, size_t), size_t place, size_t block,
                      size_t r) {
    const kh_lens_setup *setup = w->s->setup;
    const size_t neuron = kh_ranking_unit(setup->ranking, block, r, w->s->classes[place]);
    return w->units ? of(w->units, block * setup->info->neurons + neuron) : (double)NAN;
}

/* A standard deviation's inverse; a neuron that never changes differs from its mean nowhere. */
static double inverse(double deviation) {
    return deviation <= 0 ? 0 : 1 / deviation;
}

/* Mean maps of a block's neurons; NaN for a class without images. */
static void fill_maps(work *w, size_t block) {
    const state *s = w->s;
    const size_t patches = s->setup->patches;
    for (size_t a = 0; a < s->count; a++)
        for (size_t r = 0; r < K; r++) {
            const int64_t *sums =
                s->maps + ((a * s->setup->info->blocks + block) * K + r) * patches;
            const double mean = unit_of(w, kh_lens_unit_mean, a, block, r);
            const double scale = inverse(unit_of(w, kh_lens_unit_deviation, a, block, r));
            for (size_t t = 0; t < patches; t++) {
                const double value = kh_fix_mean(sums[t], s->n[a]);
                w->maps[(a * K + r) * patches + t] = value;
                w->scaled[(a * K + r) * patches + t] = (value - mean) * scale;
            }
        }
}

/* Means of the first k maps of every class: [count, K, patches] to [count, patches]. */
static void mix(const state *s, const double *maps, size_t k, double *out) {
    const size_t patches = s->setup->patches;
    for (size_t a = 0; a < s->count; a++)
        for (size_t t = 0; t < patches; t++) {
            double sum = 0;
            for (size_t r = 0; r < k; r++)
                sum += maps[(a * K + r) * patches + t] / (double)k;
            out[a * patches + t] = sum;
        }
}

/* norm: mean length of what is compared, or NaN. Rows of w->matrix and w->zscore. */
static void write_matrix(const work *w, size_t reading, size_t block, double norm) {
    const state *s = w->s;
    const kh_lens_out *out = w->out;
    const double *matrix = w->matrix;
    float *array = w->array + (reading * s->setup->info->blocks + block) * s->count * s->count;
    for (size_t a = 0; a < s->count; a++)
        for (size_t b = 0; b < s->count; b++) {
            const size_t i = a * s->count + b;
            if (s->n[a] == 0 || s->n[b] == 0 || isnan(matrix[i]))
                array[i] = NAN;
            else
                array[i] = (float)matrix[i];
            if (s->n[a] == 0 || s->n[b] == 0) continue;
            size_t rank = 0; /* of b among the others, nearest first */
            for (size_t o = 0; o < s->count; o++)
                rank += o != a && o != b && s->n[o] &&
                        (matrix[a * s->count + o] < matrix[i] ||
                         (matrix[a * s->count + o] <= matrix[i] && o < b));
            out->text(out->user, readings[reading].name);
            out->integer(out->user, (int64_t)readings[reading].k);
            out->integer(out->user, (int64_t)block);
            out->integer(out->user, (int64_t)s->classes[a]);
            out->integer(out->user, (int64_t)s->classes[b]);
            out->real(out->user, matrix[i]);
            out->real(out->user, norm > 0 ? matrix[i] / norm : (double)NAN);
            out->real(out->user, w->zscore[i]);
            out->integer(out->user, a == b ? -1 : (int64_t)rank);
            out->row(out->user);
        }
}

/* D1: of the k neurons' mean map. D1c: of their maps, one behind the other. */
static void map_distances(const work *w, size_t reading, size_t block) {
    const bool is_stacked = reading == D1C_THREE;
    const size_t count = w->s->count, width = w->s->setup->patches * (is_stacked ? K : 1);
    const double *rows = is_stacked ? w->maps : w->mixed;
    kh_l2_matrix(rows, count, width, w->matrix);
    kh_l2_matrix(is_stacked ? w->scaled : w->mixed_scaled, count, width, w->zscore);
    write_matrix(w, reading, block, kh_mean_norm(rows, count, width));
}

/* From the classes' mean maps [count, patches] and sums of squared norms over their images. */
static void rms_matrix(const state *s, const double *maps, const double *squares, double *out) {
    const size_t patches = s->setup->patches;
    for (size_t a = 0; a < s->count; a++)
        for (size_t b = 0; b < s->count; b++) {
            const double *x = maps + a * patches, *y = maps + b * patches;
            const double n = (double)s->n[a], m = (double)s->n[b];
            out[a * s->count + b] =
                a == b ? kh_rms_within(x, squares[a], s->n[a], patches)
                       : kh_rms_between(x, squares[a] / n, y, squares[b] / m, patches);
        }
}

/* D2. Norms of scaled images follow from sums for one neuron; for the mean of three they would need
 * products of neurons, which nobody has added up. */
static void image_distances(const work *w, size_t reading, size_t block) {
    const state *s = w->s;
    const size_t patches = s->setup->patches, k = readings[reading].k;
    double squares[KH_DISTANCE_CLASSES], scaled[KH_DISTANCE_CLASSES], norm = 0, seen = 0;
    for (size_t a = 0; a < s->count; a++) {
        const size_t cell = a * s->setup->info->blocks + block;
        const double n = (double)s->n[a], mean = unit_of(w, kh_lens_unit_mean, a, block, 0);
        const double scale = inverse(unit_of(w, kh_lens_unit_deviation, a, block, 0));
        double sum = 0; /* over patches of the mean map */
        for (size_t t = 0; t < patches; t++)
            sum += w->mixed[a * patches + t];
        squares[a] = kh_fix_value(s->squares[2 * cell + (k > 1)]);
        scaled[a] = (squares[a] - n * mean * (2 * sum - (double)patches * mean)) * scale * scale;
        if (s->n[a] == 0) continue;
        norm += sqrt(squares[a] / n);
        seen += 1;
    }
    rms_matrix(s, w->mixed, squares, w->matrix);
    if (k == 1 && w->units)
        rms_matrix(s, w->mixed_scaled, scaled, w->zscore);
    else
        fill(w->zscore, s->count * s->count, (double)NAN);
    write_matrix(w, reading, block, norm / seen);
}

/* Adds the squared difference of a class's r-th neuron to every pair, in units of its standard
 * deviation over all patches of all images. */
static void add_neuron(const work *w, size_t block, size_t of, size_t r, double deviation) {
    const state *s = w->s;
    double value[KH_DISTANCE_CLASSES];
    for (size_t a = 0; a < s->count; a++)
        value[a] = kh_fix_mean(*mean_at(s, a, block, of, r), s->n[a]) / deviation;
    for (size_t a = 0; a < s->count; a++)
        for (size_t b = 0; b < s->count; b++)
            w->matrix[a * s->count + b] += (value[a] - value[b]) * (value[a] - value[b]);
}

/* D3: class means of the same neurons, the first k of every compared class. It is a z-score. */
static void profile_distances(const work *w, size_t reading, size_t block) {
    const state *s = w->s;
    const kh_ranking *r = s->setup->ranking;
    const size_t k = readings[reading].k, square = s->count * s->count;
    float *array = w->array + (reading * s->setup->info->blocks + block) * square;
    for (size_t i = 0; i < square; i++)
        array[i] = NAN;
    if (!w->units) return;
    fill(w->matrix, square, 0);
    for (size_t c = 0; c < s->count * k; c++) {
        const size_t neuron = kh_ranking_unit(r, block, c % k, s->classes[c / k]);
        const size_t unit = block * s->setup->info->neurons + neuron;
        const double deviation = kh_lens_unit_deviation(w->units, unit);
        bool is_known = false; /* each neuron of the union once */
        for (size_t o = 0; o < c && !is_known; o++)
            is_known = kh_ranking_unit(r, block, o % k, s->classes[o / k]) == neuron;
        if (!is_known && deviation > 0) add_neuron(w, block, c / k, c % k, deviation);
    }
    for (size_t i = 0; i < square; i++)
        w->zscore[i] = w->matrix[i] = sqrt(w->matrix[i]);
    write_matrix(w, reading, block, (double)NAN);
}

static void write_block(work *w, size_t k, size_t block) {
    const bool is_one = k == 1;
    fill_maps(w, block);
    mix(w->s, w->maps, k, w->mixed);
    mix(w->s, w->scaled, k, w->mixed_scaled);
    map_distances(w, is_one ? D1_ONE : D1_THREE, block);
    if (!is_one) map_distances(w, D1C_THREE, block);
    image_distances(w, is_one ? D2_ONE : D2_THREE, block);
    profile_distances(w, is_one ? D3_ONE : D3_THREE, block);
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    const size_t blocks = s->setup->info->blocks;
    const size_t shape[4] = {READINGS, blocks, s->count, s->count};
    work w;
    const kh_status status = open_work(s, out, &w, err);
    if (!status) {
        out->table(out->user, "distances",
                   "definition:t k:i block:i class_a:i class_b:i distance:r per_norm:r zscore:r "
                   "rank:i");
        for (size_t k = 1; k <= K; k += K - 1)
            for (size_t b = 0; b < blocks; b++)
                write_block(&w, k, b);
        if (s->count) /* of many classes none has an image */
            out->array(out->user, "distances", KH_OUT_F32, shape, 4, w.array,
                       "between the compared classes: D1, D2, D3 with k = 1; D1, D1c, D2, D3 with "
                       "k = 3");
    }
    close_work(&w);
    return status;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    const uint64_t count = setup->compare->found, all = setup->compare->count;
    kh_lens_size_add(out, READINGS * setup->info->blocks * count * count, 5, 3, 2);
    out->array_bytes += 4 * READINGS * setup->info->blocks * all * all;
}

const kh_lens_kind kh_kind_distance = {
    .name = "distance",
    .needs_truth = true,
    .version = 2, /* 2: the sums of D3 are its own */
    .sites = 1u << KH_SITE_POST,
    .is_default = true,
    .refuses = refuses,
    .create = create,
    .free = free_state,
    .pieces = pieces,
    .consume = consume,
    .finish = finish,
    .size = size,
    .arrays = {"distances"},
};
