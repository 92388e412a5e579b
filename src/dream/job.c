/* Making dreams and handing out what they painted. */
#include "dream/job.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

/* ---- random streams ----------------------------------------------------------------------------
 */

kh_rng kh_dream_stream(const kh_dream *d, unsigned purpose, size_t step, size_t index) {
    const uint64_t name = (uint64_t)kh_hash_name(d->name) << 32;
    kh_rng of_dream = kh_rng_make(d->settings.seed, name | purpose);
    return kh_rng_make(kh_rng_u64(&of_dream), ((uint64_t)step << 20) + index);
}

void kh_dream_draw(kh_dream *d) {
    if (d->given) {
        memcpy(d->draws, d->given, d->views * sizeof *d->draws);
        return;
    }
    for (size_t v = 0; v < d->views; v++) {
        /* begun anew for every view, so that the shared part is the same for all */
        kh_rng shared = kh_dream_stream(d, KH_STREAM_SHARED, d->steps_done, 0);
        kh_rng own = kh_dream_stream(d, KH_STREAM_VIEW, d->steps_done, v);
        kh_draw_make(&d->settings, d->model_side, &shared, &own, &d->draws[v]);
    }
}

/* ---- checks ------------------------------------------------------------------------------------
 */

static bool is_share(double v) {
    return v >= 0 && v <= 1;
}

/* What a user may have typed where presets have something sensible. */
static kh_status check_numbers(const kh_dream_settings *s, kh_error *err) {
    enum { MANY = 1000 };
    const struct {
        const char *name;
        double value, low, high;
    } all[] = {{"deviation of the start", s->sd, 0, MANY},
               {"power of the Fourier scale", s->decay, 0, 10},
               {"low end of pixels", s->low, -MANY, MANY},
               {"high end of pixels", s->high, -MANY, MANY},
               {"spread of crops", s->crop_spread, 0, 10},
               {"noise", s->noise_normal, 0, MANY},
               {"uniform noise", s->noise_uniform, 0, MANY},
               {"steps of noise", s->noise_decays_over, 0, 1e12},
               {"colour shift", s->colour_shift, 0, 10},
               {"total variation", s->tv, 0, 1e6},
               {"step size", s->lr, 0, 1e6},
               {"roll", (double)s->roll, 0, 1e6}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (!(all[i].value >= all[i].low && all[i].value <= all[i].high))
            return kh_fail(err, KH_E_ARG, "%s %g, expected %g to %g", all[i].name, all[i].value,
                           all[i].low, all[i].high);
    return KH_OK;
}

static kh_status check_settings(const kh_dream_settings *s, kh_error *err) {
    enum { MAX_SIDE = 4096, MAX_VIEWS = 256 };
    if (s->size < 2 || s->size > MAX_SIDE)
        return kh_fail(err, KH_E_ARG, "images of %zu pixels; a dream's side is 2 to %d", s->size,
                       MAX_SIDE);
    if (s->views > MAX_VIEWS)
        return kh_fail(err, KH_E_ARG, "%zu views per step, at most %d", s->views, MAX_VIEWS);
    if (s->pad > MAX_SIDE || s->jitter > s->size || s->second_jitter > s->size)
        return kh_fail(err, KH_E_ARG, "padding %zu and jitters %zu, %zu do not fit %zu pixels",
                       s->pad, s->jitter, s->second_jitter, s->size);
    if (!(s->max_scale >= 0 && s->max_scale <= 0.9) || s->max_angle > 180)
        return kh_fail(err, KH_E_ARG, "scales of +-%g and angles of +-%zu; at most 0.9 and 180",
                       s->max_scale, s->max_angle);
    if (s->chain == KH_CHAIN_CROPS && !(s->crop_low > 0 && is_share(s->crop_low) &&
                                        s->crop_high >= s->crop_low && is_share(s->crop_high)))
        return kh_fail(err, KH_E_ARG, "crops of %g to %g of the image", s->crop_low, s->crop_high);
    if (!(s->lr > 0) || !(s->beta1 >= 0 && s->beta1 < 1) || !(s->beta2 >= 0 && s->beta2 < 1) ||
        !(s->eps >= 0))
        return kh_fail(err, KH_E_ARG, "step size %g, betas %g and %g, eps %g make no optimiser",
                       s->lr, s->beta1, s->beta2, s->eps);
    if (!(s->high > s->low)) return kh_fail(err, KH_E_ARG, "pixels from %g to %g", s->low, s->high);
    return check_numbers(s, err);
}

static kh_status check_term(const kh_model *m, const kh_dream_term *t, kh_error *err) {
    const kh_model_info *i = kh_model_get_info(m);
    size_t limit = i->classes;
    if (t->goal == KH_GOAL_NEURON) limit = i->neurons;
    if (t->goal == KH_GOAL_VALUE) limit = i->dim;
    if (t->goal == KH_GOAL_DIRECTION) {
        limit = SIZE_MAX;
        if (!t->direction) return kh_fail(err, KH_E_ARG, "a direction goal without a direction");
    }
    if (t->index >= limit)
        return kh_fail(err, KH_E_ARG, "unit or class %zu, the model has %zu", t->index, limit);
    if (t->goal <= KH_GOAL_DIRECTION && t->block >= i->blocks)
        return kh_fail(err, KH_E_ARG, "block %zu, the model has %zu", t->block, i->blocks);
    if (!isfinite(t->weight) || !isfinite(t->last_weight))
        return kh_fail(err, KH_E_ARG, "a term's weight is no number");
    return KH_OK;
}

static kh_status check_objective(const kh_model *m, const kh_dream_settings *s,
                                 const kh_dream_objective *o, kh_error *err) {
    const kh_model_info *i = kh_model_get_info(m);
    bool has_neuron = false;
    if (o->term_count == 0 || !o->terms)
        return kh_fail(err, KH_E_ARG, "a dream needs at least one goal");
    for (size_t t = 0; t < o->term_count; t++) {
        KH_TRY(check_term(m, &o->terms[t], err));
        has_neuron = has_neuron || o->terms[t].goal == KH_GOAL_NEURON;
    }
    if (i->is_gated && o->gate != KH_GATE_PRE)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "this model's hidden units are gated; only their gates before the "
                       "activation can be dreamed of");
    if ((o->tokens == KH_TOKENS_CLASS || o->tokens == KH_TOKENS_BOTH) && !i->has_class_token)
        return kh_fail(err, KH_E_ARG, "this model has no class token");
    if (o->tokens == KH_TOKENS_CELL && o->cell >= i->tokens - i->prefix_tokens)
        return kh_fail(err, KH_E_ARG, "patch %zu, the model has %zu", o->cell,
                       i->tokens - i->prefix_tokens);
    if (o->diversity != KH_DIVERSITY_NONE && (!has_neuron || o->images < 2))
        return kh_fail(err, KH_E_ARG, "diversity needs a neuron goal and at least two images");
    if (o->photo && s->paint != KH_PAINT_FOURIER)
        return kh_fail(err, KH_E_ARG, "a photo can be accentuated with Fourier painting only");
    if (o->images > 64)
        return kh_fail(err, KH_E_ARG, "%zu images in a dream, at most 64", o->images);
    return KH_OK;
}

/* ---- making ------------------------------------------------------------------------------------
 */

static kh_status copy_terms(kh_dream *d, size_t dim, kh_error *err) {
    const size_t count = d->objective.term_count;
    d->terms = kh_calloc(count, sizeof *d->terms);
    d->directions = kh_calloc(count, sizeof *d->directions);
    if (!d->terms || !d->directions) return kh_fail(err, KH_E_MEMORY, "out of memory for a dream");
    memcpy(d->terms, d->objective.terms, count * sizeof *d->terms);
    for (size_t i = 0; i < count; i++) {
        if (d->terms[i].goal != KH_GOAL_DIRECTION) continue;
        d->directions[i] = kh_alloc_floats(dim);
        if (!d->directions[i]) return kh_fail(err, KH_E_MEMORY, "out of memory for a dream");
        memcpy(d->directions[i], d->terms[i].direction, dim * sizeof(float));
        d->terms[i].direction = d->directions[i];
        if (d->terms[i].power == 0) d->terms[i].power = 2;
    }
    d->objective.terms = d->terms;
    return KH_OK;
}

static void fill_start(kh_dream *d, size_t i) {
    const kh_dream_settings *s = &d->settings;
    kh_rng rng = kh_dream_stream(d, KH_STREAM_INIT, 0, i);
    for (size_t k = 0; k < 3 * d->canvas.count; k++)
        d->image[i].theta[k] =
            (float)(s->starts_uniform ? kh_rng_unit(&rng) : s->sd * kh_rng_normal(&rng));
}

static kh_status make_images(kh_dream *d, kh_error *err) {
    const size_t parameters = 3 * d->canvas.count, pixels = 3 * d->canvas.size * d->canvas.size;
    const bool has_alpha =
        d->settings.paint == KH_PAINT_MACO || d->settings.paint == KH_PAINT_STANDARD;
    d->image = kh_calloc(d->images, sizeof *d->image);
    d->draws = kh_calloc(d->views, sizeof *d->draws);
    if (!d->image || !d->draws) return kh_fail(err, KH_E_MEMORY, "out of memory for a dream");
    for (size_t i = 0; i < d->images; i++) {
        kh_dream_image *p = &d->image[i];
        p->theta = kh_alloc_floats(parameters);
        p->m = kh_calloc(parameters, sizeof *p->m);
        p->v = kh_calloc(parameters, sizeof *p->v);
        p->gradient = kh_alloc_floats(parameters);
        p->planes = kh_alloc_floats(pixels);
        p->pixels = kh_alloc_floats(pixels);
        p->back = kh_alloc_floats(pixels);
        if (has_alpha) p->alpha = kh_calloc(pixels / 3, sizeof *p->alpha);
        if (!p->theta || !p->m || !p->v || !p->gradient || !p->planes || !p->pixels || !p->back ||
            (has_alpha && !p->alpha))
            return kh_fail(err, KH_E_MEMORY, "out of memory for images of %zu pixels",
                           d->canvas.size);
        if (d->is_photo)
            KH_TRY(kh_canvas_from_photo(&d->canvas, d->objective.photo, p->theta, err));
        else
            fill_start(d, i);
    }
    return KH_OK;
}

/* A whole rendering on the calling thread. */
static kh_status render(kh_dream *d, size_t i, kh_error *err) {
    kh_dream_image *p = &d->image[i];
    const size_t plane = d->canvas.size * d->canvas.size;
    float *scratch = kh_alloc_floats(kh_canvas_scratch(&d->canvas) + 1);
    if (!scratch) return kh_fail(err, KH_E_MEMORY, "out of memory for a picture");
    kh_canvas_begin(&d->canvas, p->theta, &p->state);
    for (size_t c = 0; c < 3; c++)
        kh_canvas_channel(&d->canvas, &p->state, p->theta, c, p->planes + c * plane, scratch);
    kh_canvas_finish(&d->canvas, &p->state, p->planes, p->pixels);
    kh_free(scratch);
    return KH_OK;
}

static void choose_norm(kh_dream *d, const kh_model_info *info) {
    static const float imagenet_mean[3] = {0.485f, 0.456f, 0.406f};
    static const float imagenet_std[3] = {0.229f, 0.224f, 0.225f};
    for (size_t c = 0; c < 3; c++) {
        d->mean[c] = 0;
        d->std[c] = 1;
        if (d->settings.norm == KH_NORM_IMAGENET) {
            d->mean[c] = imagenet_mean[c];
            d->std[c] = imagenet_std[c];
        } else if (d->settings.norm == KH_NORM_MODEL) {
            d->mean[c] = (float)info->preprocess.mean[c];
            d->std[c] = (float)info->preprocess.std[c];
        }
    }
}

static size_t top_block_of(const kh_dream *d, const kh_model_info *info) {
    size_t top = 0;
    for (size_t i = 0; i < d->objective.term_count; i++) {
        const kh_dream_term *t = &d->terms[i];
        const size_t at = t->goal <= KH_GOAL_DIRECTION ? t->block : info->blocks - 1;
        if (at > top) top = at;
    }
    return top;
}

static kh_status fill_dream(kh_dream *d, const kh_model *model, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(model);
    KH_TRY(copy_terms(d, info->dim, err));
    KH_TRY(kh_canvas_init(&d->canvas, &d->settings, d->objective.magnitude, d->is_photo, err));
    d->model_side = info->image_height;
    d->dim = info->dim;
    KH_TRY(make_images(d, err));
    choose_norm(d, info);
    d->top_block = top_block_of(d, info);
    if (d->is_photo) {
        const size_t pixels = 3 * d->canvas.size * d->canvas.size;
        d->start = kh_alloc_floats(pixels);
        if (!d->start) return kh_fail(err, KH_E_MEMORY, "out of memory for a photo");
        KH_TRY(render(d, 0, err));
        memcpy(d->start, d->image[0].pixels, pixels * sizeof *d->start);
    }
    d->objective.photo = d->objective.magnitude = NULL;
    return KH_OK;
}

kh_status kh_dream_create(kh_dreamer *dreamer, const char *name, const kh_dream_settings *settings,
                          const kh_dream_objective *objective, kh_dream **out, kh_error *err) {
    *out = NULL;
    const kh_model *model = kh_dreamer_model(dreamer);
    const kh_model_info *info = kh_model_get_info(model);
    if (info->image_height != info->image_width)
        return kh_fail(err, KH_E_UNSUPPORTED, "dreams are square, the model's input is %zux%zu",
                       info->image_height, info->image_width);
    kh_dream_settings fitted = *settings;
    kh_dream_fit(&fitted, info);
    KH_TRY(check_settings(&fitted, err));
    KH_TRY(check_objective(model, &fitted, objective, err));
    kh_dream *d = kh_calloc(1, sizeof *d);
    if (!d) return kh_fail(err, KH_E_MEMORY, "out of memory for a dream");
    if (strlen(name) >= sizeof d->name) {
        kh_free(d);
        return kh_fail(err, KH_E_ARG, "a dream's name has at most 63 bytes: %.80s", name);
    }
    memcpy(d->name, name, strlen(name) + 1);
    d->settings = fitted;
    d->objective = *objective;
    d->images = objective->images ? objective->images : 1;
    d->views = fitted.views ? fitted.views : 1;
    if (d->objective.warm_steps == 0) d->objective.warm_steps = 50;
    d->is_photo = objective->photo != NULL;
    const double none = (double)NAN;
    d->stats = (kh_dream_stats){none, none, none, none, none, none, none, none};
    const kh_status status = fill_dream(d, model, err);
    if (status) {
        kh_dream_free(d);
        return status;
    }
    *out = d;
    return KH_OK;
}

void kh_dream_free(kh_dream *d) {
    if (!d) return;
    for (size_t i = 0; d->image && i < d->images; i++) {
        const kh_dream_image *p = &d->image[i];
        float *const all[] = {p->theta,  p->m,      p->v,    p->gradient,
                              p->planes, p->pixels, p->back, p->alpha};
        for (size_t k = 0; k < sizeof all / sizeof all[0]; k++)
            kh_free(all[k]);
    }
    for (size_t i = 0; d->directions && i < d->objective.term_count; i++)
        kh_free(d->directions[i]);
    kh_free(d->directions);
    kh_free(d->terms);
    kh_free(d->start);
    kh_free(d->image);
    kh_free(d->draws);
    kh_canvas_clear(&d->canvas);
    kh_free(d);
}

size_t kh_dream_block(const kh_dream *d) {
    return d->top_block;
}

size_t kh_dream_images(const kh_dream *d) {
    return d->images;
}

size_t kh_dream_size(const kh_dream *d) {
    return d->canvas.size;
}

size_t kh_dream_steps_done(const kh_dream *d) {
    return d->steps_done;
}

kh_dream_stats kh_dream_get_stats(const kh_dream *d) {
    return d->stats;
}

kh_status kh_dream_pixels(kh_dream *d, size_t image, float *out, size_t count, kh_error *err) {
    const size_t pixels = 3 * d->canvas.size * d->canvas.size;
    if (image >= d->images)
        return kh_fail(err, KH_E_ARG, "image %zu of a dream of %zu", image, d->images);
    if (count != pixels)
        return kh_fail(err, KH_E_SHAPE, "room for %zu floats, the image has %zu", count, pixels);
    KH_TRY(render(d, image, err));
    memcpy(out, d->image[image].pixels, pixels * sizeof *out);
    return KH_OK;
}
