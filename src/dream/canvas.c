/* Parameters to image and back. The formulas and their adjoints are in docs/dream.md. */
#include "dream/canvas.h"

#include <string.h>
#include <tgmath.h> /* exp of a kh_real is expf or exp */

#include "base/alloc.h"

/* Lucid's channel means; only its own squashing adds them. */
static const kh_real lucid_means[3] = {(kh_real)0.48, (kh_real)0.46, (kh_real)0.41};

void kh_canvas_colours(kh_real matrix[9]) {
    static const double a[9] = {.26, .09, .02, .27, 0, -.05, .27, -.09, .03};
    double largest = 0;
    for (size_t k = 0; k < 3; k++)
        largest = fmax(largest, sqrt(a[k] * a[k] + a[3 + k] * a[3 + k] + a[6 + k] * a[6 + k]));
    for (size_t i = 0; i < 9; i++)
        matrix[i] = (kh_real)(a[i] / largest);
}

void kh_canvas_colours_inverse(double inverse[9]) {
    kh_real m[9];
    kh_canvas_colours(m);
    double det = 0;
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 3; j++) {
            const size_t a = (i + 1) % 3, b = (i + 2) % 3, c = (j + 1) % 3, d = (j + 2) % 3;
            inverse[j * 3 + i] = (double)m[a * 3 + c] * (double)m[b * 3 + d] -
                                 (double)m[a * 3 + d] * (double)m[b * 3 + c];
        }
    for (size_t j = 0; j < 3; j++)
        det += (double)m[j] * inverse[j * 3];
    for (size_t i = 0; i < 9; i++)
        inverse[i] /= det;
}

static bool standardises(const kh_canvas *c) {
    return c->settings.paint == KH_PAINT_STANDARD || c->settings.paint == KH_PAINT_MACO;
}

/* Forward scale and backward scale differ only when accentuating: there the spectrum is the
 * photo's own and only its gradient is shaped. */
static kh_status make_scales(kh_canvas *c, bool is_accent, kh_error *err) {
    const size_t n = c->size, columns = kh_spectrum_columns(c->spectrum);
    c->scale = kh_alloc_reals(n * columns);
    if (!c->scale) return kh_fail(err, KH_E_MEMORY, "out of memory for a canvas");
    kh_spectrum_scale(n, n, c->settings.decay, c->scale);
    if (!is_accent) {
        c->back_scale = c->scale;
        c->gain = (kh_real)(1.0 / (double)n); /* the unitary transform's factor */
        if (c->settings.paint == KH_PAINT_FOURIER) c->gain *= (kh_real)0.25; /* Lucid's constant */
        return KH_OK;
    }
    c->back_scale = c->scale;
    c->scale = NULL;
    for (size_t i = 0; i < n * columns; i++)
        c->back_scale[i] *= (kh_real)n;
    c->gain = (kh_real)(1.0 / ((double)n * (double)n));
    return KH_OK;
}

kh_status kh_canvas_init(kh_canvas *c, const kh_dream_settings *settings, const kh_real *magnitude,
                         bool is_accent, kh_error *err) {
    *c = (kh_canvas){.settings = *settings, .size = settings->size, .gain = 1};
    const size_t n = c->size;
    kh_canvas_colours(c->matrix);
    if (settings->colour_as_rows)
        for (size_t i = 0; i < 3; i++)
            for (size_t j = i + 1; j < 3; j++) {
                const kh_real kept = c->matrix[i * 3 + j];
                c->matrix[i * 3 + j] = c->matrix[j * 3 + i];
                c->matrix[j * 3 + i] = kept;
            }
    if (settings->paint == KH_PAINT_PIXEL) {
        c->count = n * n;
        return KH_OK;
    }
    KH_TRY(kh_spectrum_create(n, n, &c->spectrum, err));
    const size_t columns = kh_spectrum_columns(c->spectrum);
    if (settings->paint != KH_PAINT_MACO) {
        c->count = 2 * n * columns;
        return make_scales(c, is_accent, err);
    }
    c->count = n * columns;
    c->gain = (kh_real)(1.0 / ((double)n * (double)n));
    c->magnitude = kh_alloc_reals(3 * n * columns);
    if (!c->magnitude) return kh_fail(err, KH_E_MEMORY, "out of memory for a canvas");
    if (magnitude)
        memcpy(c->magnitude, magnitude, 3 * n * columns * sizeof *magnitude);
    else
        kh_canvas_natural(n, c->magnitude);
    return KH_OK;
}

void kh_canvas_clear(kh_canvas *c) {
    kh_spectrum_free(c->spectrum);
    if (c->back_scale != c->scale) kh_free(c->back_scale);
    kh_free(c->scale);
    kh_free(c->magnitude);
    *c = (kh_canvas){0};
}

size_t kh_canvas_scratch(const kh_canvas *c) {
    if (!c->spectrum) return 0;
    return kh_spectrum_scratch(c->spectrum) + 2 * c->size * kh_spectrum_columns(c->spectrum);
}

/* ---- standardising -----------------------------------------------------------------------------
 */

/* Of `count` numbers, `stride` apart; pairs (re, im) count as one complex number each. */
static kh_canvas_moments moments_of(const kh_real *values, size_t count, bool is_complex) {
    const size_t step = is_complex ? 2 : 1, total = count / step;
    kh_canvas_moments m = {0, 0, 0};
    for (size_t i = 0; i < count; i += step) {
        m.mean += (double)values[i];
        if (is_complex) m.mean_i += (double)values[i + 1];
    }
    m.mean /= (double)total;
    m.mean_i /= (double)total;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)values[i] - (i % step ? m.mean_i : m.mean);
        m.sd += d * d;
    }
    m.sd = total > 1 ? sqrt(m.sd / (double)(total - 1)) : 0;
    return m;
}

static const double standard_eps = 1e-4;

static kh_real standard(const kh_canvas_moments *m, double value, bool is_imaginary) {
    return (kh_real)((value - (is_imaginary ? m->mean_i : m->mean)) / (m->sd + standard_eps));
}

/* Adjoint of standardising, in place: dx = (g - mean(g) - c (sum g c) / (d (P - 1) s)) / d with
 * c = x - mean and d = s + 1e-4. `values` are the x, or what they became when is_done. */
static void standard_back(const kh_canvas_moments *m, const kh_real *values, bool is_done,
                          size_t count, bool is_complex, kh_real *g) {
    const size_t step = is_complex ? 2 : 1, total = count / step;
    const double d = m->sd + standard_eps;
    const double means[2] = {is_done ? 0 : m->mean, is_done ? 0 : m->mean_i};
    const double times = is_done ? d : 1;
    double mean[2] = {0, 0}, dot = 0;
    for (size_t i = 0; i < count; i++) {
        mean[i % step] += (double)g[i];
        dot += (double)g[i] * ((double)values[i] - means[i % step]) * times;
    }
    mean[0] /= (double)total;
    mean[1] /= (double)total;
    const double share = m->sd > 0 ? dot / (d * (double)(total - 1) * m->sd) : 0;
    for (size_t i = 0; i < count; i++) {
        const double centred = ((double)values[i] - means[i % step]) * times;
        g[i] = (kh_real)(((double)g[i] - mean[i % step] - centred * share) / d);
    }
}

void kh_canvas_begin(const kh_canvas *c, const kh_real *theta, kh_canvas_state *state) {
    *state = (kh_canvas_state){{0, 0, 0}, {0, 0, 0}};
    if (standardises(c))
        state->parameters = moments_of(theta, 3 * c->count, c->settings.paint == KH_PAINT_STANDARD);
}

/* ---- planes ------------------------------------------------------------------------------------
 */

/* MaCo with tied phases: columns 0 and n/2 hold every frequency twice, and the second is the first
 * one's conjugate; a frequency that is its own conjugate gets phase 0. Returns the cell whose phase
 * counts; *sign is 1, -1 or 0. */
static size_t phase_source(const kh_canvas *c, size_t cell, kh_real *sign) {
    const size_t n = c->size, columns = n / 2 + 1, ky = cell / columns, kx = cell % columns;
    *sign = 1;
    if (!c->settings.ties_phases || kh_spectrum_weight(c->spectrum, kx) > 1) return cell;
    if (kh_spectrum_is_real(c->spectrum, ky, kx)) *sign = 0;
    if (2 * ky <= n) return cell;
    *sign = -1;
    return (n - ky) * columns + kx;
}

static double phase_of(const kh_canvas *c, const kh_canvas_state *state, const kh_real *own,
                       size_t cell) {
    kh_real sign;
    const size_t source = phase_source(c, cell, &sign);
    return (double)(sign * standard(&state->parameters, (double)own[source], false));
}

void kh_canvas_channel(const kh_canvas *c, const kh_canvas_state *state, const kh_real *theta,
                       size_t channel, kh_real *x, kh_real *scratch) {
    const size_t n = c->size;
    const kh_real *own = theta + channel * c->count;
    if (!c->spectrum) {
        memcpy(x, own, c->count * sizeof *x);
        return;
    }
    const size_t cells = n * kh_spectrum_columns(c->spectrum);
    kh_real *z = scratch, *rest = scratch + 2 * cells;
    for (size_t i = 0; i < cells; i++) {
        if (c->settings.paint == KH_PAINT_MACO) {
            const double phase = phase_of(c, state, own, i);
            const kh_real a = c->magnitude[channel * cells + i] * c->gain;
            z[2 * i] = a * (kh_real)cos(phase);
            z[2 * i + 1] = a * (kh_real)sin(phase);
            continue;
        }
        const kh_real scale = (c->scale ? c->scale[i] : 1) * c->gain;
        for (size_t k = 0; k < 2; k++) {
            const kh_real value = own[2 * i + k];
            z[2 * i + k] = scale * (c->settings.paint == KH_PAINT_STANDARD
                                        ? standard(&state->parameters, (double)value, k == 1)
                                        : value);
        }
    }
    kh_spectrum_to_plane(c->spectrum, z, x, rest);
}

static kh_real sigmoid(kh_real u) {
    return 1 / (1 + exp(-u));
}

static kh_real squash(const kh_dream_settings *s, kh_real u, size_t channel) {
    const kh_real low = (kh_real)s->low, high = (kh_real)s->high;
    switch (s->squash) {
    case KH_SQUASH_SIGMOID:
        return sigmoid(u) * (high - low) + low;
    case KH_SQUASH_LUCID: {
        const kh_real v = 2 * (u + lucid_means[channel]) - 1;
        return (kh_real)0.5 * v / fmax((kh_real)1, fabs(v)) + (kh_real)0.5;
    }
    case KH_SQUASH_NONE:
        break;
    }
    return u;
}

static kh_real mixed(const kh_canvas *c, const kh_real *x, size_t pixels, size_t i,
                     size_t channel) {
    const kh_real *m = c->matrix + 3 * channel;
    if (!c->settings.decorrelates) return x[channel * pixels + i];
    return m[0] * x[i] + m[1] * x[pixels + i] + m[2] * x[2 * pixels + i];
}

void kh_canvas_finish(const kh_canvas *c, kh_canvas_state *state, kh_real *x, kh_real *image) {
    const size_t pixels = c->size * c->size;
    if (standardises(c)) {
        state->planes = moments_of(x, 3 * pixels, false);
        for (size_t i = 0; i < 3 * pixels; i++)
            x[i] = standard(&state->planes, (double)x[i], false);
    }
    for (size_t channel = 0; channel < 3; channel++)
        for (size_t i = 0; i < pixels; i++)
            image[channel * pixels + i] =
                squash(&c->settings, mixed(c, x, pixels, i, channel), channel);
}

/* ---- back --------------------------------------------------------------------------------------
 */

static kh_real squash_back(const kh_canvas *c, const kh_real *x, const kh_real *image,
                           size_t pixels, size_t i, size_t channel, kh_real g) {
    const kh_dream_settings *s = &c->settings;
    if (s->squash == KH_SQUASH_NONE) return g;
    if (s->squash == KH_SQUASH_LUCID) {
        const kh_real v = 2 * (mixed(c, x, pixels, i, channel) + lucid_means[channel]) - 1;
        return fabs(v) >= 1 && v * g < 0 ? 0 : g; /* no step further out */
    }
    const kh_real span = (kh_real)(s->high - s->low);
    const kh_real p = (image[channel * pixels + i] - (kh_real)s->low) / span;
    return g * span * p * (1 - p);
}

void kh_canvas_back_pixels(const kh_canvas *c, const kh_canvas_state *state, const kh_real *x,
                           const kh_real *image, kh_real *g) {
    const size_t pixels = c->size * c->size;
    const kh_real *m = c->matrix;
    for (size_t i = 0; i < pixels; i++) {
        kh_real u[3];
        for (size_t channel = 0; channel < 3; channel++)
            u[channel] = squash_back(c, x, image, pixels, i, channel, g[channel * pixels + i]);
        for (size_t k = 0; k < 3; k++)
            g[k * pixels + i] =
                c->settings.decorrelates ? m[k] * u[0] + m[3 + k] * u[1] + m[6 + k] * u[2] : u[k];
    }
    if (standardises(c)) standard_back(&state->planes, x, true, 3 * pixels, false, g);
}

static void maco_back(const kh_canvas *c, const kh_canvas_state *state, const kh_real *own,
                      size_t channel, const kh_real *z, kh_real *dtheta) {
    const size_t columns = kh_spectrum_columns(c->spectrum), cells = c->size * columns;
    memset(dtheta, 0, cells * sizeof *dtheta);
    for (size_t i = 0; i < cells; i++) {
        kh_real sign;
        const size_t source = phase_source(c, i, &sign);
        const double phase = phase_of(c, state, own, i);
        const kh_real a = c->magnitude[channel * cells + i] * c->gain *
                          kh_spectrum_weight(c->spectrum, i % columns);
        dtheta[source] +=
            sign * a * (kh_real)(cos(phase) * (double)z[2 * i + 1] - sin(phase) * (double)z[2 * i]);
    }
}

void kh_canvas_back_channel(const kh_canvas *c, const kh_canvas_state *state, const kh_real *theta,
                            size_t channel, const kh_real *g, kh_real *dtheta, kh_real *scratch) {
    if (!c->spectrum) {
        memcpy(dtheta, g, c->count * sizeof *g);
        return;
    }
    const size_t columns = kh_spectrum_columns(c->spectrum), cells = c->size * columns;
    kh_real *z = scratch, *rest = scratch + 2 * cells;
    kh_spectrum_from_plane(c->spectrum, g, z, rest);
    if (c->settings.paint == KH_PAINT_MACO) {
        maco_back(c, state, theta + channel * c->count, channel, z, dtheta);
        return;
    }
    for (size_t i = 0; i < cells; i++) {
        const size_t ky = i / columns, kx = i % columns;
        const kh_real scale = c->back_scale[i] * c->gain * kh_spectrum_weight(c->spectrum, kx);
        dtheta[2 * i] = scale * z[2 * i];
        /* rounding noise there would become full steps of the optimiser */
        dtheta[2 * i + 1] = kh_spectrum_is_real(c->spectrum, ky, kx) ? 0 : scale * z[2 * i + 1];
    }
}

void kh_canvas_back_end(const kh_canvas *c, const kh_canvas_state *state, const kh_real *theta,
                        kh_real *dtheta) {
    if (standardises(c))
        standard_back(&state->parameters, theta, false, 3 * c->count,
                      c->settings.paint == KH_PAINT_STANDARD, dtheta);
}
