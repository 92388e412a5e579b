/* What wakes a neuron against what it writes: exemplars' classes and its value vector. */
#include "lens/exemplars.h"

#include "base/alloc.h"

#include <math.h>

enum { PROMOTED = 5 };

typedef struct verdict {
    const char *name;
    size_t class_index, hits, labelled, place; /* place: classes the vector speaks for more */
    double score;
} verdict;

/* Most frequent class among the exemplars, ties to the better exemplar. */
static void count_classes(const kh_lens_setup *setup, const kh_top_entry *best, verdict *v) {
    for (size_t i = 0; i < setup->exemplars; i++) {
        if (best[i].id == UINT64_MAX) continue;
        const size_t c = kh_source_get(setup->source, (size_t)best[i].id).truth;
        if (c == KH_NO_CLASS) continue;
        v->labelled++;
        size_t hits = 0;
        for (size_t j = 0; j < setup->exemplars; j++)
            hits += best[j].id != UINT64_MAX &&
                    kh_source_get(setup->source, (size_t)best[j].id).truth == c;
        if (hits <= v->hits) continue;
        v->hits = hits;
        v->class_index = c;
    }
}

static void judge(const kh_lens_setup *setup, const kh_top_entry *best, const float *scores,
                  const double *class_mean, verdict *v) {
    const size_t classes = setup->ranking->classes;
    *v = (verdict){.name = "silent", .class_index = SIZE_MAX, .score = (double)NAN};
    if (best[0].id == UINT64_MAX || !((double)best[0].value >= 0x1p-13)) return;
    count_classes(setup, best, v);
    v->name = "unknown";
    if (v->labelled == 0 || v->class_index >= classes) return;
    v->score = (double)scores[v->class_index] - class_mean[v->class_index];
    for (size_t c = 0; c < classes; c++)
        v->place += (double)scores[c] - class_mean[c] > v->score;
    v->name = 2 * v->hits < v->labelled          ? "shared"
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

static kh_status one_block(const kh_lens_setup *setup, size_t block, const kh_top_entry *best,
                           float *scores, double *mean, const kh_lens_out *out, kh_error *err) {
    const size_t neurons = setup->info->neurons, classes = setup->ranking->classes;
    KH_TRY(kh_lens_alignment(setup->ctx, setup->model, block, KH_ALIGN_LN, scores,
                             neurons * classes, err));
    for (size_t c = 0; c < classes; c++)
        mean[c] = 0;
    for (size_t n = 0; n < neurons; n++)
        for (size_t c = 0; c < classes; c++)
            mean[c] += (double)scores[n * classes + c] / (double)neurons;
    for (size_t n = 0; n < neurons; n++) {
        verdict v;
        judge(setup, best + (block * neurons + n) * setup->exemplars, scores + n * classes, mean,
              &v);
        write(setup, block, n, &v, out);
    }
    return KH_OK;
}

kh_status kh_exemplars_reads_writes(const kh_lens_setup *setup, const kh_top_entry *best,
                                    const kh_lens_out *out, kh_error *err) {
    const size_t classes = setup->ranking->classes;
    float *scores = kh_alloc_floats(setup->info->neurons * classes);
    double *mean = kh_calloc(classes, sizeof *mean);
    kh_status status = KH_OK;
    if (!scores || !mean) status = kh_fail(err, KH_E_MEMORY, "no memory for a block's alignment");
    out->table(out->user, "reads_writes",
               "block:i neuron:i verdict:t class:i hits:i labelled:i place:i score:r writes:i");
    for (size_t b = 0; b < setup->info->blocks && !status; b++)
        status = one_block(setup, b, best, scores, mean, out, err);
    kh_free(mean);
    kh_free(scores);
    return status;
}
