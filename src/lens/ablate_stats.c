/* First round over the images: which can be used, what neurons do on average, and what they
 * contribute to each class. Sums run in the order of the images. */
#include "compute/backend.h"
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/rng.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CHUNK = 64 }; /* neurons of a task */

typedef struct adding {
    kh_ablate_study *s;
    const kh_ablate_state *state;
    const double *weight;
    size_t truth, chunks; /* chunks of a block */
} adding;

/* One image's coefficients of a few neurons, onto all sums. */
static void add_task(void *arg, size_t task, size_t worker) {
    const adding *j = arg;
    kh_ablate_study *s = j->s;
    const size_t neurons = s->info->neurons, prefix = s->info->prefix_tokens;
    const size_t block = task / j->chunks, first = task % j->chunks * CHUNK;
    const size_t end = first + CHUNK < neurons ? first + CHUNK : neurons;
    const float *a = j->state->a[block];
    double *all = s->sums;
    double *own = s->sums + (1 + j->truth) * s->groups * s->units;
    (void)worker;
    for (size_t t = 0; t < s->info->tokens; t++) {
        const size_t row = (t < prefix ? t : prefix) * s->units + block * neurons;
        double *weighted = s->weighted + j->truth * s->units + block * neurons;
        double *magnitude = s->magnitude + block * neurons;
        const double w = j->weight[t];
        for (size_t n = first; n < end; n++) {
            const double value = (double)a[t * neurons + n];
            all[row + n] += value;
            own[row + n] += value;
            magnitude[n] += fabs(value);
            weighted[n] += w * value;
        }
    }
    double *active = s->activation + j->truth * s->units + block * neurons;
    for (size_t i = 0; i < j->state->rows.count; i++) /* masked: means over tokens of its own */
        for (size_t n = first; n < end; n++)
            active[n] += (double)a[j->state->rows.tokens[i] * neurons + n];
}

static kh_status allocate(kh_ablate_study *s, kh_error *err) {
    const size_t images = s->asked;
    size_t cells = s->groups, all;
    const size_t pixels = 3 * s->info->image_height * s->info->image_width;
    if (!kh_mul(cells, s->units, &cells) || !kh_mul(cells, s->classes + 1, &all))
        return kh_fail(err, KH_E_LIMIT, "too many neurons and classes");
    s->pixels = kh_alloc_floats(s->o.image_batch * pixels);
    s->donor_pixels = kh_alloc_floats(s->o.image_batch * pixels);
    s->index = kh_calloc(images, sizeof *s->index);
    s->truth = kh_calloc(images, sizeof *s->truth);
    s->donor = kh_calloc(images, sizeof *s->donor);
    s->other = kh_calloc(images, sizeof *s->other);
    s->is_right = kh_calloc(images, 1);
    s->predicted = kh_calloc(images, sizeof *s->predicted);
    s->base_margin = kh_alloc_floats(images);
    s->class_n = kh_calloc(s->classes, sizeof *s->class_n);
    s->sums = kh_calloc(all, sizeof *s->sums);
    s->magnitude = kh_calloc(s->units, sizeof *s->magnitude);
    s->weighted = kh_calloc(s->classes * s->units, sizeof *s->weighted);
    s->means = kh_alloc_floats(cells);
    s->class_means = kh_alloc_floats(s->classes * cells);
    s->activation = kh_calloc(s->classes * s->units, sizeof *s->activation);
    s->edited_of = kh_calloc(s->classes, sizeof *s->edited_of);
    s->taken = kh_calloc(s->classes, sizeof *s->taken);
    s->broken_at = kh_calloc(images, sizeof *s->broken_at);
    s->broken_maps_at = kh_calloc(images, sizeof *s->broken_maps_at);
    const bool is_masked = kh_ablate_is_masked(s->o.tokens);
    if (is_masked) s->masks = kh_calloc(images, s->patches);
    if (s->pixels && s->donor_pixels && s->index && s->truth && s->donor && s->other &&
        s->is_right && s->predicted && s->base_margin && s->class_n && s->sums && s->magnitude &&
        s->weighted && s->means && s->class_means && s->activation && s->edited_of && s->taken &&
        s->broken_at && s->broken_maps_at && (s->masks || !is_masked))
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for the means of %zu neurons over %zu classes",
                   s->units, s->classes);
}

/* The images of a batch, as they were read. */
typedef struct reading {
    kh_ablate_base base;
    kh_ablate_masks masks;
    size_t count, *index, *truth; /* [image_batch] */
} reading;

static kh_status take_batch(kh_ablate_study *s, reading *r, kh_error *err) {
    if (r->count == 0) return KH_OK;
    KH_TRY(kh_ablate_base_run(&r->base, s->pixels, r->count, err));
    for (size_t i = 0; i < r->count; i++) {
        const float *logits = kh_pass_logits(r->base.pass) + i * s->classes;
        const size_t at = s->images++, c = r->truth[i];
        s->index[at] = r->index[i];
        s->truth[at] = c;
        s->class_n[c]++;
        s->predicted[at] = kh_ablate_predicted(logits, s->classes);
        s->is_right[at] = s->predicted[at] == c;
        s->base_margin[at] = (float)kh_ablate_margin(logits, s->classes, c);
        if (s->masks) kh_ablate_base_mask(&r->base, i, s->o.tokens, s->masks + at * s->patches);
        s->edited_of[c] += r->base.states[i].rows.count;
        adding job = {.s = s,
                      .state = &r->base.states[i],
                      .weight = r->base.weight + i * s->info->tokens,
                      .truth = c,
                      .chunks = (s->info->neurons + CHUNK - 1) / CHUNK};
        kh_pool_run(kh_ctx_pool(s->ctx), s->blocks * job.chunks, add_task, &job);
    }
    r->count = 0;
    return KH_OK;
}

static void tell_broken_map(const kh_ablate_study *s, size_t image, const kh_error *why) {
    if (s->o.broken_map) s->o.broken_map(s->o.broken_map_user, image, why->text);
}

/* Image s->next into the batch, or left out and counted. */
static kh_status look_at(kh_ablate_study *s, reading *r, kh_error *err) {
    const size_t i = s->next, truth = s->asked_truth[i];
    const size_t pixels = 3 * s->info->image_height * s->info->image_width;
    if (truth >= s->classes) {
        s->unlabelled++;
        return KH_OK;
    }
    if (s->o.per_class && s->taken[truth] == s->o.per_class) return KH_OK;
    bool is_broken = false;
    KH_TRY(s->read(s->user, i, s->pixels + r->count * pixels, &is_broken, err));
    if (is_broken) {
        s->broken_at[s->broken++] = i;
        return KH_OK;
    }
    if (s->masks) {
        size_t edited;
        kh_error why;
        uint8_t *mask = s->masks + (s->images + r->count) * s->patches;
        KH_TRY(kh_ablate_masks_read(&r->masks, i, truth, mask, &edited, &why, err));
        if (why.code) {
            s->broken_maps_at[s->broken_maps++] = i;
            tell_broken_map(s, i, &why);
        }
        if (edited == 0) {
            s->unmasked++;
            return KH_OK;
        }
    }
    s->taken[truth]++;
    r->index[r->count] = i;
    r->truth[r->count++] = truth;
    return KH_OK;
}

static kh_status read_all(kh_ablate_study *s, reading *r, kh_error *err) {
    while (s->next < s->asked) {
        if (s->o.progress && !s->o.progress(s->o.progress_user, "images", s->next, 2 * s->asked)) {
            KH_TRY(take_batch(s, r, err));
            return kh_ablate_stop(s, KH_ABLATE_FIRST, s->next, s->asked, err);
        }
        KH_TRY(look_at(s, r, err));
        s->next++;
        if (r->count < s->o.image_batch) continue;
        KH_TRY(take_batch(s, r, err));
        KH_TRY(kh_ablate_save(s, KH_ABLATE_FIRST, false, err));
    }
    KH_TRY(take_batch(s, r, err));
    return kh_ablate_save(s, KH_ABLATE_FIRST, s->has_first, err); /* all of it, or little */
}

/* Of a state: whoever listens hears again of broken label maps. */
static kh_status read_broken_maps(kh_ablate_study *s, reading *r, kh_error *err) {
    if (s->broken_maps == 0) return KH_OK;
    uint8_t *mask = kh_calloc(s->patches, 1);
    kh_status status = mask ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a mask");
    for (size_t k = 0; k < s->broken_maps && !status; k++) {
        const size_t i = s->broken_maps_at[k];
        size_t edited;
        kh_error why;
        status = kh_ablate_masks_read(&r->masks, i, s->asked_truth[i], mask, &edited, &why, err);
        if (!status && why.code == KH_OK)
            status =
                kh_fail(err, KH_E_IO,
                        "the label map of image %zu could not be read before, and now it can", i);
        if (!status) tell_broken_map(s, i, &why);
    }
    kh_free(mask);
    return status;
}

/* No image is used: says why. What was seen is of no use, or nobody would look at files again that
 * have been put right. */
static kh_status fail_empty(const kh_ablate_study *s, kh_error *err) {
    char maps[96] = "";
    if (s->o.state) (void)kh_ablate_discard(s->o.state, NULL);
    if (s->broken_maps)
        (void)snprintf(maps, sizeof maps, "; label maps of %zu could not be read", s->broken_maps);
    if (s->unmasked > 0)
        return kh_fail(err, s->broken_maps ? KH_E_FORMAT : KH_E_ARG,
                       "none of %zu image%s has tokens to change: of %zu no patch counts as %s%s",
                       s->asked, KH_S(s->asked), s->unmasked, kh_ablate_tokens_name(s->o.tokens),
                       maps);
    return kh_fail(err, KH_E_ARG,
                   "none of %zu image%s can be used: %zu have no true class of the model, "
                   "%zu could not be read",
                   s->asked, KH_S(s->asked), s->unlabelled, s->broken);
}

/* Means of neurons at prefix tokens, patches, and over the edited tokens. */
static void divide(kh_ablate_study *s) {
    const size_t prefix = s->info->prefix_tokens, patches = s->info->tokens - prefix;
    const bool has_prefix = s->o.tokens != KH_ABLATE_IMAGE,
               has_patches = s->o.tokens != KH_ABLATE_CLS;
    const size_t first_groups = !has_prefix ? 0 : has_patches ? prefix : 1;
    const double edited = (double)(first_groups + (has_patches ? patches : 0));
    for (size_t c = 0; c <= s->classes; c++) {
        const double *sums = s->sums + c * s->groups * s->units;
        float *means = c ? s->class_means + (c - 1) * s->groups * s->units : s->means;
        const double n = (double)(c ? s->class_n[c - 1] : s->images);
        for (size_t g = 0; g < s->groups; g++)
            for (size_t u = 0; u < s->units; u++) {
                const double sum = sums[g * s->units + u];
                const double tokens = g < prefix ? 1 : (double)patches;
                means[g * s->units + u] = n > 0 ? (float)(sum / (n * tokens)) : 0;
                if (c && n > 0 && !s->masks && (g < first_groups || (g == prefix && has_patches)))
                    s->activation[(c - 1) * s->units + u] += sum / (n * edited);
            }
    }
    for (size_t c = 0; c < s->classes && s->masks; c++)
        for (size_t u = 0; u < s->units && s->edited_of[c]; u++)
            s->activation[c * s->units + u] /= (double)s->edited_of[c];
}

/* Partners without fixed points (Sattolo's one cycle), and classes to steer to. */
static void draw_partners(kh_ablate_study *s) {
    kh_rng rng = kh_rng_make(s->o.seed, kh_hash_name("ablate.resample"));
    for (size_t i = 0; i < s->images; i++)
        s->donor[i] = i;
    for (size_t i = s->images; i-- > 1;) {
        const size_t j = kh_rng_below(&rng, i), kept = s->donor[i];
        s->donor[i] = s->donor[j];
        s->donor[j] = kept;
    }
    rng = kh_rng_make(s->o.seed, kh_hash_name("ablate.steer"));
    for (size_t i = 0; i < s->images; i++) {
        const size_t drawn = kh_rng_below(&rng, s->classes > 1 ? s->classes - 1 : 1);
        s->other[i] = s->classes > 1 && drawn >= s->truth[i] ? drawn + 1 : drawn;
    }
}

kh_status kh_ablate_gather_stats(kh_ablate_study *s, kh_error *err) {
    KH_TRY(allocate(s, err));
    reading r = {.index = kh_calloc(s->o.image_batch, sizeof *r.index),
                 .truth = kh_calloc(s->o.image_batch, sizeof *r.truth)};
    kh_status status = KH_OK;
    if (!r.index || !r.truth) status = kh_fail(err, KH_E_MEMORY, "no memory for images");
    if (!status)
        status = kh_ablate_base_init(&r.base, s->ctx, s->model, s->first_block, s->blocks,
                                     s->o.image_batch, err);
    if (!status) status = kh_ablate_masks_init(&r.masks, s, err);
    if (!status) status = kh_ablate_load(s, KH_ABLATE_FIRST, err);
    if (!status) status = read_broken_maps(s, &r, err);
    if (!status) status = read_all(s, &r, err);
    kh_ablate_masks_clear(&r.masks);
    kh_ablate_base_clear(&r.base);
    kh_free(r.index);
    kh_free(r.truth);
    if (status) return status;
    if (s->images == 0) return fail_empty(s, err);
    divide(s);
    draw_partners(s);
    kh_free(s->sums);
    s->sums = NULL;
    return KH_OK;
}
