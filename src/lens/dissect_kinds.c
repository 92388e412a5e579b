/* Network Dissection against what labels are kinds of: a map has one label of a category at a
 * pixel, so pixels of "dog" are the sum of those of its breeds, and nothing is counted anew. */
#include "lens/dissect.h"
#include "lens/lens.h"

typedef struct kind_sums {
    uint64_t both, truth;
} kind_sums;

static kind_sums sums_of(const kh_dissect_view *v, size_t unit, const kh_label_kind *kind) {
    kind_sums sums = {0, 0};
    for (size_t i = 0; i < kind->count; i++) {
        sums.both += v->intersect[unit * (v->labels + 1) + kind->labels[i]];
        sums.truth += v->truth[kind->labels[i]];
    }
    return sums;
}

/* The kind of a category with the largest IoU, of equals the deepest, then the first; SIZE_MAX:
 * none is met. */
static size_t best_kind(const kh_dissect_view *v, size_t unit, size_t category, double *iou) {
    const kh_label_set *set = v->setup->label_set;
    size_t best = SIZE_MAX, depth = 0;
    *iou = 0;
    for (size_t k = 0; k < kh_label_set_kinds(set); k++) {
        const kh_label_kind kind = kh_label_set_kind(set, k);
        if (kind.category != category) continue;
        const kind_sums sums = sums_of(v, unit, &kind);
        const double here =
            kh_dissect_iou(sums.both, v->active[unit * v->categories + category], sums.truth);
        if (!(here > *iou || (best != SIZE_MAX && here >= *iou && kind.depth > depth))) continue;
        *iou = here;
        best = k;
        depth = kind.depth;
    }
    return best;
}

static void write_kind(const kh_dissect_view *v, size_t unit, size_t category, kh_best_label best,
                       const kh_lens_out *out) {
    const size_t neurons = v->setup->info->neurons;
    double iou;
    const size_t k = best_kind(v, unit, category, &iou);
    if (k == SIZE_MAX) return;
    const kh_label_kind kind = kh_label_set_kind(v->setup->label_set, k);
    const kind_sums sums = sums_of(v, unit, &kind);
    out->integer(out->user, (int64_t)(unit / neurons));
    out->integer(out->user, (int64_t)(unit % neurons));
    out->text(out->user, kh_label_set_category(v->setup->label_set, category));
    out->text(out->user, kind.wnid);
    out->text(out->user, kind.name);
    out->integer(out->user, (int64_t)kind.count);
    out->integer(out->user, (int64_t)sums.truth);
    out->integer(out->user, (int64_t)v->active[unit * v->categories + category]);
    out->integer(out->user, (int64_t)sums.both);
    out->real(out->user, iou);
    out->real(out->user, best.label ? best.iou : 0);
    out->integer(out->user, iou >= KH_DETECTOR_IOU);
    out->row(out->user);
}

void kh_dissect_write_kinds(const kh_dissect_view *v, const kh_best_label *best,
                            const kh_lens_out *out) {
    const kh_label_set *set = v->setup->label_set;
    if (kh_label_set_kinds(set) == 0) return;
    out->table(out->user, "kinds", "wnid:t name:t category:t depth:i labels:i pixels:i");
    for (size_t k = 0; k < kh_label_set_kinds(set); k++) {
        const kh_label_kind kind = kh_label_set_kind(set, k);
        out->text(out->user, kind.wnid);
        out->text(out->user, kind.name);
        out->text(out->user, kh_label_set_category(set, kind.category));
        out->integer(out->user, (int64_t)kind.depth);
        out->integer(out->user, (int64_t)kind.count);
        out->integer(out->user, (int64_t)sums_of(v, 0, &kind).truth);
        out->row(out->user);
    }
    out->table(out->user, "dissection_kinds",
               "block:i neuron:i category:t wnid:t name:t labels:i label_pixels:i above:i both:i "
               "iou:r label_iou:r is_detector:i");
    for (size_t u = 0; u < v->setup->units; u++)
        for (size_t c = 0; c < v->categories; c++)
            write_kind(v, u, c, best[u * v->categories + c], out);
}
