/* One step of many dreams: paint, transform, pass, losses, back to the parameters, update.
 *
 * Threads take one channel of one image (or view) at a time. What an image becomes depends on its
 * own dream only; the pass promises the same for its rows. */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/pool.h"
#include "compute/backend.h"
#include "dream/loss.h"
#include "dream/optimizer.h"
#include "dream/regular.h"

struct kh_dreamer {
    kh_ctx *ctx;
    kh_model *model;
    kh_wants wants; /* of `pass` */
    kh_pass *pass;
    size_t capacity;     /* views the pass takes */
    float *inputs;       /* [capacity, 3, m, m] normalised */
    float *gradient;     /* the same, of the inputs */
    float **seeds;       /* [wants.seed_count] */
    unsigned char *work; /* one piece per thread */
    size_t work_bytes;
    /* the step being made */
    kh_dream *const *dreams;
    size_t dream_count, image_count, view_count;
    struct place *places; /* [image_count] */
    size_t place_room;
};

/* Where an image of the batch comes from. */
typedef struct place {
    kh_dream *dream;
    size_t image;
} place;

const kh_model *kh_dreamer_model(const kh_dreamer *d) {
    return d->model;
}

const float *kh_dreamer_inputs(const kh_dreamer *d) {
    return d->inputs;
}

kh_status kh_dreamer_create(kh_ctx *ctx, kh_model *model, kh_dreamer **out, kh_error *err) {
    *out = NULL;
    kh_dreamer *d = kh_calloc(1, sizeof *d);
    if (!d) return kh_fail(err, KH_E_MEMORY, "out of memory for a dreamer");
    d->ctx = ctx;
    d->model = model;
    *out = d;
    return KH_OK;
}

static void drop_pass(kh_dreamer *d) {
    kh_pass_free(d->pass);
    d->pass = NULL;
    for (size_t i = 0; d->seeds && i < d->wants.seed_count; i++)
        kh_free(d->seeds[i]);
    kh_free(d->seeds);
    kh_free(d->inputs);
    kh_free(d->gradient);
    d->seeds = NULL;
    d->inputs = d->gradient = NULL;
    kh_wants_clear(&d->wants);
    d->capacity = 0;
}

void kh_dreamer_free(kh_dreamer *d) {
    if (!d) return;
    drop_pass(d);
    kh_free(d->work);
    kh_free(d->places);
    kh_free(d);
}

size_t kh_dreamer_memory_bytes(const kh_dreamer *d) {
    return d->pass ? kh_pass_memory_bytes(d->pass) : 0;
}

/* ---- getting ready -----------------------------------------------------------------------------
 */

static kh_status make_pass(kh_dreamer *d, kh_wants *wants, size_t views, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(d->model);
    const size_t pixels = 3 * info->image_height * info->image_width;
    drop_pass(d);
    d->wants = *wants;
    *wants = (kh_wants){0};
    const kh_wants *w = &d->wants;
    if (w->has_logits || w->blocks[w->top].has_dense || w->blocks[w->top].has_stream)
        KH_TRY(kh_model_prepare_gradient(d->model, w->has_logits ? info->blocks - 1 : w->top, err));
    else
        KH_TRY(kh_model_prepare_gradient_below_mlp(d->model, w->top, err));
    KH_TRY(kh_wants_read_rows(&d->wants, err));
    const kh_pass_spec spec = {.max_batch = views,
                               .taps = w->taps,
                               .tap_count = w->tap_count,
                               .want_logits = w->has_logits,
                               .want_gradient = true,
                               .seed_sites = w->seeds,
                               .seed_count = w->seed_count,
                               .seed_tokens = w->only_class ? &kh_wants_class_token : NULL,
                               .seed_token_count = w->only_class ? 1 : 0};
    KH_TRY(kh_pass_create(d->ctx, d->model, &spec, &d->pass, err));
    d->inputs = kh_alloc_floats(views * pixels);
    d->gradient = kh_alloc_floats(views * pixels);
    d->seeds = kh_calloc(w->seed_count, sizeof *d->seeds);
    bool ok = d->inputs && d->gradient && d->seeds;
    for (size_t i = 0; ok && i < w->seed_count; i++) {
        d->seeds[i] = kh_alloc_floats(views * w->seed_floats[i]);
        ok = d->seeds[i] != NULL;
    }
    if (!ok) return kh_fail(err, KH_E_MEMORY, "out of memory for a batch of %zu views", views);
    d->capacity = views;
    return KH_OK;
}

static kh_status fit_pass(kh_dreamer *d, kh_error *err) {
    kh_wants wants;
    KH_TRY(kh_wants_make(d->model, d->dreams, d->dream_count, &wants, err));
    const bool same = d->pass && d->view_count <= d->capacity &&
                      strcmp(wants.signature.data, d->wants.signature.data) == 0;
    const kh_status status = same ? KH_OK : make_pass(d, &wants, d->view_count, err);
    kh_wants_clear(&wants);
    if (status) drop_pass(d);
    return status;
}

/* Scratch of one thread: the canvas's or the chain's, whichever is larger. */
static kh_status fit_work(kh_dreamer *d, kh_error *err) {
    size_t bytes = 64;
    for (size_t i = 0; i < d->dream_count; i++) {
        const kh_dream *dream = d->dreams[i];
        const size_t canvas = kh_canvas_scratch(&dream->canvas) * sizeof(float);
        const size_t chain =
            kh_chain_scratch(&dream->settings, dream->canvas.size, dream->model_side);
        if (canvas > bytes) bytes = canvas;
        if (chain > bytes) bytes = chain;
    }
    bytes = (bytes + 63) / 64 * 64;
    if (bytes <= d->work_bytes) return KH_OK;
    kh_free(d->work);
    d->work_bytes = 0;
    const size_t threads = kh_ctx_threads(d->ctx);
    d->work = (unsigned char *)kh_alloc_floats(threads * bytes / sizeof(float));
    if (!d->work) return kh_fail(err, KH_E_MEMORY, "out of memory for a dreamer's scratch");
    d->work_bytes = bytes;
    return KH_OK;
}

static kh_status fit_places(kh_dreamer *d, kh_dream *const *dreams, size_t count, kh_error *err) {
    d->dreams = dreams;
    d->dream_count = count;
    d->image_count = d->view_count = 0;
    for (size_t i = 0; i < count; i++)
        d->image_count += dreams[i]->images;
    if (d->image_count > d->place_room) {
        place *more = kh_realloc(d->places, d->image_count, sizeof *more);
        if (!more) return kh_fail(err, KH_E_MEMORY, "out of memory for %zu dreams", count);
        d->places = more;
        d->place_room = d->image_count;
    }
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        dreams[i]->first_view = d->view_count;
        d->view_count += dreams[i]->images * dreams[i]->views;
        for (size_t k = 0; k < dreams[i]->images; k++)
            d->places[at++] = (place){dreams[i], k};
    }
    return KH_OK;
}

static void *work_of(const kh_dreamer *d, size_t worker) {
    return d->work + worker * d->work_bytes;
}

/* ---- forwards ----------------------------------------------------------------------------------
 */

static void paint_channel(void *arg, size_t task, size_t worker) {
    const kh_dreamer *d = arg;
    const place *at = &d->places[task / 3];
    kh_dream_image *p = &at->dream->image[at->image];
    const size_t plane = at->dream->canvas.size * at->dream->canvas.size;
    kh_canvas_channel(&at->dream->canvas, &p->state, p->theta, task % 3,
                      p->planes + task % 3 * plane, work_of(d, worker));
}

static void paint_begin(void *arg, size_t task, size_t worker) {
    (void)worker;
    const place *at = &((const kh_dreamer *)arg)->places[task];
    kh_dream_image *p = &at->dream->image[at->image];
    kh_canvas_begin(&at->dream->canvas, p->theta, &p->state);
}

static void paint_finish(void *arg, size_t task, size_t worker) {
    (void)worker;
    const place *at = &((const kh_dreamer *)arg)->places[task];
    kh_dream_image *p = &at->dream->image[at->image];
    kh_canvas_finish(&at->dream->canvas, &p->state, p->planes, p->pixels);
}

/* Noise decays linearly to 0; the reference's counter wraps round there, ours does not. */
static double noise_now(const kh_dream *d) {
    const double over = d->settings.noise_decays_over;
    if (!(over > 0)) return d->settings.noise_normal;
    return d->settings.noise_normal * fmax(0, 1 - (double)d->steps_done / over);
}

static void disturb(const kh_dream *d, size_t image, size_t view, size_t channel, float *x) {
    const kh_draw *draw = &d->draws[view];
    const size_t count = d->model_side * d->model_side;
    const kh_dream_settings *s = &d->settings;
    const double normal = noise_now(d), uniform = s->noise_uniform;
    const float mean = (float)draw->mean[channel], gain = (float)draw->gain[channel];
    for (size_t i = 0; s->colour_shift > 0 && i < count; i++)
        x[i] = (x[i] - mean) * gain;
    if (s->noise_is_scalar) {
        const float all = (float)(normal * draw->scalar[channel]);
        for (size_t i = 0; i < count; i++)
            x[i] += all;
        return;
    }
    if (normal == 0 && uniform == 0) return;
    kh_rng rng =
        kh_dream_stream(d, KH_STREAM_NOISE, d->steps_done, (image * d->views + view) * 3 + channel);
    for (size_t i = 0; i < count; i++)
        x[i] += (float)(normal * kh_rng_normal(&rng) + uniform * (kh_rng_unit(&rng) - 0.5));
}

static void view_channel(void *arg, size_t task, size_t worker) {
    const kh_dreamer *d = arg;
    const size_t channel = task % 3;
    const place *at = &d->places[task / 3];
    const kh_dream *dream = at->dream;
    const size_t side = dream->model_side, count = side * side;
    const float *from =
        dream->image[at->image].pixels + channel * dream->canvas.size * dream->canvas.size;
    for (size_t v = 0; v < dream->views; v++) {
        const size_t view = dream->first_view + at->image * dream->views + v;
        float *to = d->inputs + (view * 3 + channel) * count;
        kh_chain chain;
        kh_chain_make(&dream->settings, dream->canvas.size, side, &dream->draws[v], &chain);
        kh_chain_apply(&chain, from, to, work_of(d, worker));
        disturb(dream, at->image, v, channel, to);
        for (size_t i = 0; i < count; i++)
            to[i] = (to[i] - dream->mean[channel]) / dream->std[channel];
    }
}

/* ---- backwards ---------------------------------------------------------------------------------
 */

static double share_of(const kh_dream *d) {
    return 1.0 / (double)(d->images * d->views);
}

/* Gradient of the views to that of the image, one channel; TV on views joins on the way. */
static void unview_channel(void *arg, size_t task, size_t worker) {
    const kh_dreamer *d = arg;
    const size_t channel = task % 3;
    const place *at = &d->places[task / 3];
    const kh_dream *dream = at->dream;
    const size_t side = dream->model_side, count = side * side;
    const size_t pixels = dream->canvas.size * dream->canvas.size;
    const kh_dream_settings *s = &dream->settings;
    float *back = dream->image[at->image].back + channel * pixels;
    memset(back, 0, pixels * sizeof *back);
    for (size_t v = 0; v < dream->views; v++) {
        const size_t view = dream->first_view + at->image * dream->views + v;
        float *g = d->gradient + (view * 3 + channel) * count;
        /* TV sees the view before normalising; there x = input * std + mean, and a constant does
         * not matter */
        if (s->tv > 0 && s->tv_on_views)
            (void)kh_regular_tv(d->inputs + (view * 3 + channel) * count, side, side,
                                s->tv * share_of(dream) / 3 * (double)dream->std[channel], g);
        const float scale = (s->colour_shift > 0 ? (float)dream->draws[v].gain[channel] : 1.0f) /
                            dream->std[channel];
        for (size_t i = 0; i < count; i++)
            g[i] *= scale;
        kh_chain chain;
        kh_chain_make(s, dream->canvas.size, side, &dream->draws[v], &chain);
        kh_chain_back(&chain, g, back, work_of(d, worker));
    }
}

/* Regularisers of the image itself, transparency, then from pixels to planes. */
static void back_pixels(void *arg, size_t task, size_t worker) {
    (void)worker;
    const place *at = &((const kh_dreamer *)arg)->places[task];
    const kh_dream *d = at->dream;
    kh_dream_image *p = &at->dream->image[at->image];
    const size_t n = d->canvas.size, pixels = n * n;
    for (size_t i = 0; p->alpha && i < pixels; i++)
        p->alpha[i] +=
            fabsf(p->back[i]) + fabsf(p->back[pixels + i]) + fabsf(p->back[2 * pixels + i]);
    p->extra_loss = 0;
    const double tv = d->settings.tv / (3 * (double)d->images);
    for (size_t c = 0; tv > 0 && !d->settings.tv_on_views && c < 3; c++)
        p->extra_loss += tv * kh_regular_tv(p->pixels + c * pixels, n, n, tv, p->back + c * pixels);
    if (d->start && d->objective.penalty > 0) {
        const double scale = d->objective.penalty / (3 * (double)pixels * (double)d->images);
        for (size_t i = 0; i < 3 * pixels; i++) {
            const double away = (double)p->pixels[i] - (double)d->start[i];
            p->extra_loss += scale * away * away;
            p->back[i] += (float)(2 * scale * away);
        }
    }
    kh_canvas_back_pixels(&d->canvas, &p->state, p->planes, p->pixels, p->back);
}

static void unpaint_channel(void *arg, size_t task, size_t worker) {
    const kh_dreamer *d = arg;
    const size_t channel = task % 3;
    const place *at = &d->places[task / 3];
    const kh_canvas *canvas = &at->dream->canvas;
    kh_dream_image *p = &at->dream->image[at->image];
    kh_canvas_back_channel(canvas, &p->state, p->theta, channel,
                           p->back + channel * canvas->size * canvas->size,
                           p->gradient + channel * canvas->count, work_of(d, worker));
}

static void unpaint_end(void *arg, size_t task, size_t worker) {
    (void)worker;
    const place *at = &((const kh_dreamer *)arg)->places[task];
    kh_dream_image *p = &at->dream->image[at->image];
    kh_canvas_back_end(&at->dream->canvas, &p->state, p->theta, p->gradient);
}

static void update_channel(void *arg, size_t task, size_t worker) {
    (void)worker;
    const size_t channel = task % 3;
    const place *at = &((const kh_dreamer *)arg)->places[task / 3];
    const kh_dream *d = at->dream;
    const size_t count = d->canvas.count, from = channel * count;
    kh_dream_image *p = &at->dream->image[at->image];
    kh_optimizer_step(&d->settings, d->steps_done + 1, count, p->gradient + from, p->theta + from,
                      p->m + from, p->v + from);
    if (d->settings.squash != KH_SQUASH_NONE || d->canvas.spectrum) return;
    for (size_t i = from; i < from + count; i++)
        p->theta[i] = fminf(fmaxf(p->theta[i], (float)d->settings.low), (float)d->settings.high);
}

static double views_tv(const kh_dreamer *d, const kh_dream *dream) {
    const size_t side = dream->model_side, count = side * side;
    double sum = 0;
    for (size_t v = 0; v < dream->images * dream->views; v++)
        for (size_t c = 0; c < 3; c++)
            sum += (double)dream->std[c] *
                   kh_regular_tv(d->inputs + ((dream->first_view + v) * 3 + c) * count, side, side,
                                 0, NULL);
    return dream->settings.tv * share_of(dream) / 3 * sum;
}

static kh_status take_stats(const kh_dreamer *d, kh_dream *dream, kh_error *err) {
    double square = 0, loss = dream->view_loss;
    for (size_t i = 0; i < dream->images; i++) {
        const kh_dream_image *p = &dream->image[i];
        loss += p->extra_loss;
        for (size_t k = 0; k < 3 * dream->canvas.count; k++)
            square += (double)p->gradient[k] * (double)p->gradient[k];
    }
    if (dream->settings.tv > 0 && dream->settings.tv_on_views) loss += views_tv(d, dream);
    dream->stats.loss = loss;
    dream->stats.gradient_norm = sqrt(square);
    if (!isfinite(loss) || !isfinite(square))
        return kh_fail(err, KH_E_NUMERIC,
                       "dream '%s', step %zu: the loss is %g and the gradient's norm %g",
                       dream->name, dream->steps_done + 1, loss, sqrt(square));
    return KH_OK;
}

static void clear_seeds(kh_dreamer *d) {
    for (size_t i = 0; i < d->wants.seed_count; i++)
        memset(d->seeds[i], 0, d->view_count * d->wants.seed_floats[i] * sizeof(float));
}

static kh_status losses_and_gradients(kh_dreamer *d, kh_error *err) {
    kh_pool *pool = kh_ctx_pool(d->ctx);
    const size_t images = d->image_count;
    const kh_loss_batch batch = {&d->wants, d->pass, d->seeds};
    KH_TRY(kh_pass_run(d->pass, d->inputs, d->view_count, err));
    clear_seeds(d);
    for (size_t i = 0; i < d->dream_count; i++)
        KH_TRY(kh_loss_dream(&batch, d->dreams[i], err));
    const kh_model_info *info = kh_model_get_info(d->model);
    KH_TRY(kh_pass_backward(d->pass, (const float *const *)d->seeds, d->gradient,
                            d->view_count * 3 * info->image_height * info->image_width, err));
    kh_pool_run(pool, 3 * images, unview_channel, d);
    kh_pool_run(pool, images, back_pixels, d);
    kh_pool_run(pool, 3 * images, unpaint_channel, d);
    kh_pool_run(pool, images, unpaint_end, d);
    for (size_t i = 0; i < d->dream_count; i++)
        KH_TRY(take_stats(d, d->dreams[i], err));
    return KH_OK;
}

kh_status kh_dreamer_gradient(kh_dreamer *d, kh_dream *const *dreams, size_t count, kh_error *err) {
    if (count == 0) return kh_fail(err, KH_E_ARG, "a step of no dreams");
    KH_TRY(fit_places(d, dreams, count, err));
    KH_TRY(fit_pass(d, err));
    KH_TRY(fit_work(d, err));
    kh_pool *pool = kh_ctx_pool(d->ctx);
    for (size_t i = 0; i < count; i++)
        kh_dream_draw(dreams[i]);
    kh_pool_run(pool, d->image_count, paint_begin, d);
    kh_pool_run(pool, 3 * d->image_count, paint_channel, d);
    kh_pool_run(pool, d->image_count, paint_finish, d);
    kh_pool_run(pool, 3 * d->image_count, view_channel, d);
    return losses_and_gradients(d, err);
}

kh_status kh_dreamer_step(kh_dreamer *d, kh_dream *const *dreams, size_t count, kh_error *err) {
    KH_TRY(kh_dreamer_gradient(d, dreams, count, err));
    kh_pool_run(kh_ctx_pool(d->ctx), 3 * d->image_count, update_channel, d);
    for (size_t i = 0; i < count; i++)
        dreams[i]->steps_done++;
    return KH_OK;
}
