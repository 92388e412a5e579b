/* First round over the images: which can be used, what neurons do on average, and what they
 * contribute to each class. Sums run in the order of the images. */
#include "compute/backend.h"
#include "lens/ablate.h"

#include "base/alloc.h"
#include "base/checked.h"
#include "base/rng.h"

#include <math.h>
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
}

static kh_status allocate(kh_ablate_study *s, size_t images, kh_error *err) {
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
    if (s->pixels && s->donor_pixels && s->index && s->truth && s->donor && s->other &&
        s->is_right && s->predicted && s->base_margin && s->class_n && s->sums && s->magnitude &&
        s->weighted && s->means && s->class_means && s->activation)
        return KH_OK;
    return kh_fail(err, KH_E_MEMORY, "no memory for the means of %zu neurons over %zu classes",
                   s->units, s->classes);
}

/* A batch of images that were read. */
static kh_status take_batch(kh_ablate_study *s, kh_ablate_base *base, size_t count,
                            const size_t *index, const size_t *truth, kh_error *err) {
    KH_TRY(kh_ablate_base_run(base, s->pixels, count, err));
    for (size_t i = 0; i < count; i++) {
        const float *logits = kh_pass_logits(base->pass) + i * s->classes;
        const size_t at = s->images++, c = truth[i];
        s->index[at] = index[i];
        s->truth[at] = c;
        s->class_n[c]++;
        s->predicted[at] = kh_ablate_predicted(logits, s->classes);
        s->is_right[at] = s->predicted[at] == c;
        s->base_margin[at] = (float)kh_ablate_margin(logits, s->classes, c);
        adding job = {.s = s,
                      .state = &base->states[i],
                      .weight = base->weight + i * s->info->tokens,
                      .truth = c,
                      .chunks = (s->info->neurons + CHUNK - 1) / CHUNK};
        kh_pool_run(kh_ctx_pool(s->ctx), s->blocks * job.chunks, add_task, &job);
    }
    return KH_OK;
}

static kh_status read_all(kh_ablate_study *s, kh_ablate_base *base, size_t images,
                          const size_t *truth, size_t *taken, size_t *index, size_t *classes,
                          kh_error *err) {
    const size_t pixels = 3 * s->info->image_height * s->info->image_width;
    size_t count = 0;
    for (size_t i = 0; i < images; i++) {
        if (s->o.progress && !s->o.progress(s->o.progress_user, "images", i, 2 * images))
            return kh_fail(err, KH_E_STOPPED, "stopped after %zu of %zu images", i, images);
        if (truth[i] >= s->classes) {
            s->unlabelled++;
            continue;
        }
        if (s->o.per_class && taken[truth[i]] == s->o.per_class) continue;
        bool is_broken = false;
        KH_TRY(s->read(s->user, i, s->pixels + count * pixels, &is_broken, err));
        if (is_broken) {
            s->broken++;
            continue;
        }
        taken[truth[i]]++;
        index[count] = i;
        classes[count++] = truth[i];
        if (count < s->o.image_batch) continue;
        KH_TRY(take_batch(s, base, count, index, classes, err));
        count = 0;
    }
    return count ? take_batch(s, base, count, index, classes, err) : KH_OK;
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
                if (c && n > 0 && (g < first_groups || (g == prefix && has_patches)))
                    s->activation[(c - 1) * s->units + u] += sum / (n * edited);
            }
    }
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

kh_status kh_ablate_gather_stats(kh_ablate_study *s, size_t images, const size_t *truth,
                                 kh_error *err) {
    kh_ablate_base base = {0};
    s->asked = images;
    KH_TRY(allocate(s, images, err));
    size_t *taken = kh_calloc(s->classes, sizeof *taken);
    size_t *index = kh_calloc(s->o.image_batch, sizeof *index);
    size_t *classes = kh_calloc(s->o.image_batch, sizeof *classes);
    kh_status status = KH_OK;
    if (!taken || !index || !classes) status = kh_fail(err, KH_E_MEMORY, "no memory for images");
    if (!status)
        status = kh_ablate_base_init(&base, s->ctx, s->model, s->first_block, s->blocks,
                                     s->o.image_batch, err);
    if (!status) status = read_all(s, &base, images, truth, taken, index, classes, err);
    kh_ablate_base_clear(&base);
    kh_free(taken);
    kh_free(index);
    kh_free(classes);
    if (status) return status;
    if (s->images == 0)
        return kh_fail(err, KH_E_ARG,
                       "none of the %zu images can be used: %zu have no true class of the model, "
                       "%zu could not be read",
                       images, s->unlabelled, s->broken);
    divide(s);
    draw_partners(s);
    kh_free(s->sums);
    s->sums = NULL;
    return KH_OK;
}
