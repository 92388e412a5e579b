/* Patches taken away one share after the other, in the order of a map or of chance. */
#include "lens/perturb.h"

#include "base/alloc.h"
#include "base/rng.h"

#include <math.h>
#include <string.h>

/* ---- orders -------------------------------------------------------------------------------- */

/* The patches of a map by decreasing value, ties to the lower one. */
static void order_of(const float *map, size_t patches, size_t *order) {
    for (size_t t = 0; t < patches; t++) {
        size_t at = t;
        for (; at > 0 && map[order[at - 1]] < map[t]; at--)
            order[at] = order[at - 1];
        order[at] = t;
    }
}

static void turn_round(const size_t *from, size_t patches, size_t *to) {
    for (size_t t = 0; t < patches; t++)
        to[t] = from[patches - 1 - t];
}

static size_t variants(const kh_study *s) {
    return s->ordered + s->options->random;
}

static void make_orders(kh_study *s) {
    const size_t n = s->patches;
    const float *const maps[] = {s->gradient, s->neuron, s->relevant};
    for (size_t i = 0; i < s->count; i++) {
        size_t *own = s->order + i * variants(s) * n;
        for (size_t v = 0; v < s->ordered; v += 2) {
            order_of(maps[v / 2] + i * n, n, own + v * n);
            turn_round(own + v * n, n, own + (v + 1) * n);
        }
        for (size_t r = 0; r < s->options->random; r++) {
            size_t *order = own + (s->ordered + r) * n;
            kh_rng rng = kh_rng_make(s->options->seed,
                                     kh_hash_name("removal") + s->ids[i] * s->options->random + r);
            for (size_t t = 0; t < n; t++)
                order[t] = t;
            for (size_t t = n; t > 1; t--) {
                const size_t k = kh_rng_below(&rng, t), swap = order[t - 1];
                order[t - 1] = order[k];
                order[k] = swap;
            }
        }
    }
}

/* ---- passes -------------------------------------------------------------------------------- */

static bool count_one(kh_study *s, size_t variant, size_t step, bool is_hit, double margin) {
    const size_t curve = variant < s->ordered ? variant : s->ordered;
    s->out->points[curve * (s->steps + 1) + step].hits += is_hit;
    if (variant >= s->ordered)
        s->random_hits[(variant - s->ordered) * (s->steps + 1) + step] += is_hit;
    return kh_fix_add(&s->margins[curve * (s->steps + 1) + step], margin);
}

/* Prefix tokens and the patches behind the first `removed` of the order. */
static void gather(const kh_study *s, size_t image, const size_t *order, size_t removed,
                   float *rows) {
    const kh_model_info *info = s->info;
    const size_t prefix = info->prefix_tokens, dim = info->dim;
    const float *from = kh_pass_tap(s->base, 0) + image * info->tokens * dim;
    memcpy(rows, from, prefix * dim * sizeof *rows);
    for (size_t k = removed; k < s->patches; k++)
        memcpy(rows + (prefix + k - removed) * dim, from + (prefix + order[k]) * dim,
               dim * sizeof *rows);
}

static kh_status run_step(kh_study *s, size_t step, size_t removed, kh_error *err) {
    const size_t tokens = s->info->tokens - removed, per_image = variants(s);
    const size_t all = s->count * per_image, batch = s->options->batch;
    const kh_pass_spec spec = {.max_batch = batch, .want_logits = true, .tokens = tokens};
    kh_pass *pass = NULL;
    KH_TRY(kh_pass_create(s->ctx, s->model, &spec, &pass, err));
    kh_status status = KH_OK;
    for (size_t first = 0; first < all && !status; first += batch) {
        const size_t count = all - first < batch ? all - first : batch;
        for (size_t k = 0; k < count; k++)
            gather(s, (first + k) / per_image, s->order + (first + k) * s->patches, removed,
                   s->rows + k * tokens * s->info->dim);
        status = kh_pass_run_from(pass, s->rows, count, err);
        for (size_t k = 0; k < count && !status; k++) {
            const float *z = kh_pass_logits(pass) + k * s->classes;
            const size_t truth = s->truth[(first + k) / per_image];
            if (!count_one(s, (first + k) % per_image, step, kh_study_is_hit(z, s->classes, truth),
                           kh_study_margin(z, s->classes, truth)))
                status = kh_fail(err, KH_E_NUMERIC, "a margin is too large to be summed");
        }
    }
    kh_pass_free(pass);
    return status;
}

kh_status kh_study_remove(kh_study *s, kh_error *err) {
    if (s->steps == 0) return KH_OK;
    make_orders(s);
    for (size_t i = 0; i < s->count; i++) /* nothing removed: the plain answer */
        for (size_t v = 0; v < variants(s); v++)
            if (!count_one(s, v, 0, s->is_hit[i], s->margin[i]))
                return kh_fail(err, KH_E_NUMERIC, "a margin is too large to be summed");
    for (size_t step = 1; step <= s->steps; step++)
        KH_TRY(run_step(s, step, s->patches * step / s->steps, err));
    for (size_t v = 0; v <= s->ordered; v++)
        s->out->curves[v].images += s->count * (v < s->ordered ? 1 : s->options->random);
    return KH_OK;
}

/* ---- areas --------------------------------------------------------------------------------- */

static void range_of_orders(const kh_study *s, size_t curve, size_t step) {
    kh_removal_point *p = &s->out->curves[curve].points[step];
    p->fewest = p->most = curve < s->ordered ? p->hits : s->random_hits[step];
    for (size_t r = 1; curve == s->ordered && r < s->options->random; r++) {
        const uint64_t hits = s->random_hits[r * (s->steps + 1) + step];
        p->fewest = hits < p->fewest ? hits : p->fewest;
        p->most = hits > p->most ? hits : p->most;
    }
}

void kh_study_areas(const kh_study *s) {
    for (size_t v = 0; v < s->out->curve_count; v++) {
        kh_removal_curve *c = &s->out->curves[v];
        double sum = 0, largest = 0, area = 0;
        for (size_t k = 0; k <= s->steps; k++) {
            c->points[k].removed = s->patches * k / s->steps;
            range_of_orders(s, v, k);
            c->points[k].margin = kh_fix_mean(s->margins[v * (s->steps + 1) + k], c->images);
            const double accuracy = (double)c->points[k].hits / (double)c->images;
            if (k > 0 && k < s->steps) {
                sum += accuracy;
                largest = accuracy > largest ? accuracy : largest;
            }
            if (k == 0) continue;
            const double before = (double)c->points[k - 1].hits / (double)c->images;
            const size_t width = c->points[k].removed - c->points[k - 1].removed;
            area += 0.5 * (accuracy + before) * (double)width / (double)s->patches;
        }
        const double base = (double)c->points[0].hits / (double)c->images;
        c->auc = area;
        c->auc_base = base > 0 ? area / base : (double)NAN;
        const bool is_full = s->steps == s->patches && largest > 0;
        c->auc_published = is_full ? sum / (largest * (double)s->patches) : (double)NAN;
    }
}
