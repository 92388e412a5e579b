/* Lens "accuracy": top-1, top-5, margins, the confusion matrix, and labels that look permuted. */
#include "lens/lens.h"

#include "base/alloc.h"

#include <math.h>
#include <stdio.h>

enum { MAX_CONFUSION_CLASSES = 4096, TOP = 5 };

typedef struct state {
    const kh_lens_setup *setup;
    size_t classes;
    uint64_t images;
    uint32_t *n, *top1, *top5; /* [classes] by true class */
    int64_t *logit, *margin;   /* [classes] sums of z_c and of z_c - max of the others */
    uint32_t *confusion;       /* [classes, classes] true, predicted; NULL when too large */
    uint32_t *predicted;       /* [classes] over all images, labelled or not */
} state;

static void free_state(void *at) {
    state *s = at;
    if (!s) return;
    kh_free(s->n);
    kh_free(s->top1);
    kh_free(s->top5);
    kh_free(s->logit);
    kh_free(s->margin);
    kh_free(s->confusion);
    kh_free(s->predicted);
    kh_free(s);
}

static kh_status create(const kh_lens_setup *setup, void **out, kh_error *err) {
    const size_t classes = setup->info->classes;
    const bool has_matrix = classes <= MAX_CONFUSION_CLASSES;
    state *s = kh_calloc(1, sizeof *s);
    *out = s;
    if (s) {
        *s = (state){.setup = setup, .classes = classes};
        s->n = kh_calloc(classes, sizeof *s->n);
        s->top1 = kh_calloc(classes, sizeof *s->top1);
        s->top5 = kh_calloc(classes, sizeof *s->top5);
        s->logit = kh_calloc(classes, sizeof *s->logit);
        s->margin = kh_calloc(classes, sizeof *s->margin);
        s->predicted = kh_calloc(classes, sizeof *s->predicted);
        if (has_matrix) s->confusion = kh_calloc(classes * classes, sizeof *s->confusion);
    }
    if (s && s->n && s->top1 && s->top5 && s->logit && s->margin && s->predicted &&
        (s->confusion || !has_matrix))
        return KH_OK;
    free_state(s);
    return kh_fail(err, KH_E_MEMORY, "no memory for the confusion of %zu classes", classes);
}

static size_t pieces(void *at, kh_piece *p) {
    state *s = at;
    const size_t c = s->classes;
    p[0] = (kh_piece){"accuracy.images", KH_PIECE_SUM_U64, &s->images, 1, 0};
    p[1] = (kh_piece){"accuracy.n", KH_PIECE_SUM_U32, s->n, c, 0};
    p[2] = (kh_piece){"accuracy.top1", KH_PIECE_SUM_U32, s->top1, c, 0};
    p[3] = (kh_piece){"accuracy.top5", KH_PIECE_SUM_U32, s->top5, c, 0};
    p[4] = (kh_piece){"accuracy.logit", KH_PIECE_SUM_I64, s->logit, c, 0};
    p[5] = (kh_piece){"accuracy.margin", KH_PIECE_SUM_I64, s->margin, c, 0};
    p[6] = (kh_piece){"accuracy.predicted", KH_PIECE_SUM_U32, s->predicted, c, 0};
    p[7] = (kh_piece){"accuracy.confusion", KH_PIECE_SUM_U32, s->confusion, c * c, 0};
    return s->confusion ? 8 : 7;
}

/* z_c minus the best of the other classes; 0 when there are none. */
static double margin_of(const float *z, size_t classes, size_t c) {
    double best = -(double)INFINITY;
    for (size_t o = 0; o < classes; o++)
        if (o != c && (double)z[o] > best) best = (double)z[o];
    return classes > 1 ? (double)z[c] - best : 0;
}

static kh_status consume(void *at, const kh_lens_batch *batch, kh_error *err) {
    state *s = at;
    for (size_t i = 0; i < batch->count; i++) {
        const float *z = batch->logits + i * s->classes;
        const size_t c = batch->truth[i], guess = batch->predicted[i];
        s->images++;
        s->predicted[guess]++;
        if (c >= s->classes) continue;
        const size_t rank = kh_lens_rank_position(z, s->classes, c);
        s->n[c]++;
        s->top1[c] += rank == 0;
        s->top5[c] += rank < TOP;
        if (s->confusion) s->confusion[c * s->classes + guess]++;
        if (!kh_fix_add(&s->logit[c], (double)z[c]) ||
            !kh_fix_add(&s->margin[c], margin_of(z, s->classes, c)))
            return kh_lens_not_finite(s->setup, "a logit", batch->ids[i], err);
    }
    return KH_OK;
}

/* ---- results ------------------------------------------------------------------------------- */

/* Wilson's 95 % interval of a share. */
static void interval(uint64_t hits, uint64_t n, double *lo, double *hi) {
    const double z = 1.959963984540054, total = (double)n, p = (double)hits / total;
    const double middle = p + z * z / (2 * total);
    const double half = z * sqrt(p * (1 - p) / total + z * z / (4 * total * total));
    const double scale = 1 + z * z / total;
    *lo = n ? (middle - half) / scale : (double)NAN;
    *hi = n ? (middle + half) / scale : (double)NAN;
}

static size_t mode_of(const state *s, size_t c) {
    size_t best = 0;
    for (size_t p = 1; p < s->classes; p++)
        if (s->confusion[c * s->classes + p] > s->confusion[c * s->classes + best]) best = p;
    return best;
}

/* Permuted labels leave a trace: each label's images are mostly called one class, the wrong one. */
static void check_permutation(const state *s, const kh_lens_out *out) {
    uint64_t n = 0, hits = 0, mode = 0;
    size_t judged = 0, moved = 0, example = SIZE_MAX;
    for (size_t c = 0; s->confusion && c < s->classes; c++) {
        if (s->n[c] < 3) continue;
        const size_t m = mode_of(s, c);
        const uint32_t share = s->confusion[c * s->classes + m];
        judged++;
        n += s->n[c];
        hits += s->top1[c];
        mode += share;
        if (m == c || 2 * share <= s->n[c]) continue;
        moved++;
        if (example == SIZE_MAX) example = c;
    }
    if (judged < 2 || moved * 4 < judged || example == SIZE_MAX) return;
    if ((double)mode < 2.0 * (double)hits + 0.1 * (double)n) return;
    const size_t m = mode_of(s, example);
    const kh_classes *classes = kh_model_classes(s->setup->model);
    char text[640];
    (void)snprintf(
        text, sizeof text,
        "labels look permuted: for %zu of %zu labels most images are predicted as one "
        "other class; of label %zu's (%.60s) %u images, %u are predicted as %zu (%.60s). "
        "Accuracy is %.1f %%, a relabelling would give %.1f %%. ImageNet's "
        "validation_ground_truth.txt numbers classes in another order",
        moved, judged, example, kh_classes_get(classes, example).name, s->n[example],
        s->confusion[example * s->classes + m], m, kh_classes_get(classes, m).name,
        100.0 * (double)hits / (double)n, 100.0 * (double)mode / (double)n);
    if (s->setup->warn) s->setup->warn(s->setup->warn_user, text);
    out->text(out->user, "labels look permuted");
    out->text(out->user, text);
    out->row(out->user);
}

static void whole_table(const state *s, const kh_lens_out *out) {
    uint64_t n = 0, top1 = 0, top5 = 0;
    for (size_t c = 0; c < s->classes; c++) {
        n += s->n[c];
        top1 += s->top1[c];
        top5 += s->top5[c];
    }
    const struct {
        const char *name;
        uint64_t hits;
    } rows[] = {{"top1", top1}, {"top5", top5}};
    out->table(out->user, "accuracy", "measure:t images:i labelled:i hits:i share:r lo:r hi:r");
    for (size_t i = 0; i < 2; i++) {
        double lo, hi;
        interval(rows[i].hits, n, &lo, &hi);
        out->text(out->user, rows[i].name);
        out->integer(out->user, (int64_t)s->images);
        out->integer(out->user, (int64_t)n);
        out->integer(out->user, (int64_t)rows[i].hits);
        out->real(out->user, n ? (double)rows[i].hits / (double)n : (double)NAN);
        out->real(out->user, lo);
        out->real(out->user, hi);
        out->row(out->user);
    }
}

static kh_status finish(void *at, const kh_lens_out *out, kh_error *err) {
    const state *s = at;
    (void)err;
    whole_table(s, out);
    out->table(out->user, "class_accuracy",
               "class:i n:i top1:r top5:r mean_logit:r mean_margin:r predicted:i mode:i");
    for (size_t c = 0; c < s->classes; c++) {
        const double n = s->n[c] ? (double)s->n[c] : (double)NAN;
        out->integer(out->user, (int64_t)c);
        out->integer(out->user, s->n[c]);
        out->real(out->user, (double)s->top1[c] / n);
        out->real(out->user, (double)s->top5[c] / n);
        out->real(out->user, kh_fix_mean(s->logit[c], s->n[c]));
        out->real(out->user, kh_fix_mean(s->margin[c], s->n[c]));
        out->integer(out->user, s->predicted[c]);
        out->integer(out->user, s->confusion && s->n[c] ? (int64_t)mode_of(s, c) : -1);
        out->row(out->user);
    }
    out->table(out->user, "confusion", "truth:i predicted:i n:i");
    for (size_t i = 0; s->confusion && i < s->classes * s->classes; i++) {
        if (!s->confusion[i]) continue;
        out->integer(out->user, (int64_t)(i / s->classes));
        out->integer(out->user, (int64_t)(i % s->classes));
        out->integer(out->user, s->confusion[i]);
        out->row(out->user);
    }
    out->table(out->user, "warnings", "kind:t evidence:t");
    check_permutation(s, out);
    return KH_OK;
}

static void size(const kh_lens_setup *setup, kh_lens_size *out) {
    kh_lens_size_add(out, setup->info->classes, 4, 4, 0);
    kh_lens_size_add(out, setup->classes_seen * 3, 3, 0, 0); /* a few confusions each */
}

const kh_lens_kind kh_kind_accuracy = {
    .name = "accuracy",
    .needs_truth = true,
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
