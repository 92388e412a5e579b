/* What wakes a neuron against what it writes: exemplars' classes and its value vector. */
#include "lens/exemplars.h"

#include "base/alloc.h"

#include <math.h>

/* A class with fewer pictures than exemplars must show on this many of them at least. */
enum { PROMOTED = 5, FEWEST = 3 };

typedef struct verdict {
    const char *name;
    size_t class_index, hits, labelled, place; /* place: classes the vector speaks for more */
    double score;
} verdict;

/* What a neuron is judged against. */
typedef struct bench {
    const kh_lens_setup *setup;
    size_t *images; /* [classes] of the set */
    float *scores;  /* [neurons, classes] of a block */
    double *mean;   /* [classes] of the scores */
} bench;

/* Fills `truth` with the classes of the exemplars that have one, the best first. */
static size_t labels_of(const kh_lens_setup *setup, const kh_top_entry *best, size_t *truth) {
    size_t count = 0;
    for (size_t i = 0; i < setup->exemplars; i++) {
        if (best[i].id == UINT64_MAX) continue;
        const size_t c = kh_source_get(setup->source, (size_t)best[i].id).truth;
        if (c != KH_NO_CLASS) truth[count++] = c;
    }
    return count;
}

/* The class that shows on the largest share of the exemplars it can hold: a class with fewer
 * images than there are exemplars is sought among as many of the strongest. A class that is read
 * comes first, of equals that of the better exemplar. Returns whether there is one to judge. */
static bool choose_class(const bench *of, const size_t *truth, size_t labelled, bool *is_read,
                         verdict *v) {
    const size_t exemplars = of->setup->exemplars;
    *is_read = false;
    v->labelled = labelled;
    for (size_t i = 0; i < labelled; i++) {
        const size_t c = truth[i];
        if (c >= of->setup->ranking->classes) continue;
        const bool is_small = of->images[c] < exemplars;
        if (is_small && of->images[c] < FEWEST) continue;
        const size_t depth = is_small && of->images[c] < labelled ? of->images[c] : labelled;
        size_t hits = 0;
        for (size_t j = 0; j < depth; j++)
            hits += truth[j] == c;
        const bool reads = 2 * hits >= depth && (!is_small || hits >= FEWEST);
        const bool is_more = v->class_index == SIZE_MAX || hits * v->labelled > v->hits * depth;
        if (reads < *is_read || (reads == *is_read && !is_more)) continue;
        *is_read = reads;
        v->class_index = c;
        v->hits = hits;
        v->labelled = depth;
    }
    return v->class_index != SIZE_MAX;
}

static void judge(const bench *of, const kh_top_entry *best, const float *scores, size_t *truth,
                  verdict *v) {
    const size_t classes = of->setup->ranking->classes;
    bool is_read;
    *v = (verdict){.name = "silent", .class_index = SIZE_MAX, .score = (double)NAN};
    if (best[0].id == UINT64_MAX || !((double)best[0].value >= 0x1p-13)) return;
    v->name = "unknown";
    if (!choose_class(of, truth, labels_of(of->setup, best, truth), &is_read, v)) return;
    v->score = (double)scores[v->class_index] - of->mean[v->class_index];
    for (size_t c = 0; c < classes; c++)
        v->place += (double)scores[c] - of->mean[c] > v->score;
    if (of->setup->classes_seen < 2) return; /* every exemplar shows it, whatever the neuron does */
    v->name = !is_read                           ? "shared"
              : v->place < PROMOTED              ? "agree"
              : 2 * (v->place + 1) > classes + 1 ? "suppress"
                                                 : "other";
}

static void write(const kh_lens_setup *setup, size_t block, size_t neuron, const verdict *v,
                  const kh_lens_out *out) {
    const kh_ranking *r = setup->ranking;
    const size_t unit = block * setup->info->neurons + neuron;
    out->integer(out->user, (int64_t)block);
    out->integer(out->user, (int64_t)neuron);
    out->text(out->user, v->name);
    out->integer(out->user, v->class_index == SIZE_MAX ? -1 : (int64_t)v->class_index);
    out->integer(out->user, (int64_t)v->hits);
    out->integer(out->user, (int64_t)v->labelled);
    out->integer(out->user, v->class_index == SIZE_MAX ? -1 : (int64_t)v->place);
    out->real(out->user, v->score);
    out->integer(out->user, r->top_class[unit]);
    out->row(out->user);
}

static kh_status one_block(const bench *of, size_t block, const kh_top_entry *best, size_t *truth,
                           const kh_lens_out *out, kh_error *err) {
    const kh_lens_setup *setup = of->setup;
    const size_t neurons = setup->info->neurons, classes = setup->ranking->classes;
    KH_TRY(kh_lens_alignment(setup->ctx, setup->model, block, KH_ALIGN_LN, of->scores,
                             neurons * classes, err));
    for (size_t c = 0; c < classes; c++)
        of->mean[c] = 0;
    for (size_t n = 0; n < neurons; n++)
        for (size_t c = 0; c < classes; c++)
            of->mean[c] += (double)of->scores[n * classes + c] / (double)neurons;
    for (size_t n = 0; n < neurons; n++) {
        verdict v;
        judge(of, best + (block * neurons + n) * setup->exemplars, of->scores + n * classes, truth,
              &v);
        write(setup, block, n, &v, out);
    }
    return KH_OK;
}

kh_status kh_exemplars_reads_writes(const kh_lens_setup *setup, const kh_top_entry *best,
                                    const kh_lens_out *out, kh_error *err) {
    const size_t classes = setup->ranking->classes;
    const bench of = {.setup = setup,
                      .images = kh_calloc(classes, sizeof *of.images),
                      .scores = kh_alloc_floats(setup->info->neurons * classes),
                      .mean = kh_calloc(classes, sizeof *of.mean)};
    size_t *truth = kh_calloc(setup->exemplars, sizeof *truth);
    kh_status status = KH_OK;
    if (!of.images || !of.scores || !of.mean || !truth)
        status = kh_fail(err, KH_E_MEMORY, "no memory for a block's alignment");
    for (size_t i = 0; i < setup->images && !status; i++) {
        const size_t c = kh_source_get(setup->source, i).truth;
        if (c < classes) of.images[c]++;
    }
    out->table(out->user, "reads_writes",
               "block:i neuron:i verdict:t class:i hits:i labelled:i place:i score:r writes:i");
    for (size_t b = 0; b < setup->info->blocks && !status; b++)
        status = one_block(&of, b, best, truth, out, err);
    kh_free(truth);
    kh_free(of.mean);
    kh_free(of.scores);
    kh_free(of.images);
    return status;
}
