/* Photos as spectra: where accentuation starts, and the magnitudes MaCo keeps. */
#include <string.h>
#include <tgmath.h> /* exp of a kh_real is expf or exp */

#include "base/alloc.h"
#include "base/checked.h"
#include "dream/canvas.h"

/* Photo [3, pixels] in [0, 1] to decorrelated logits [3, pixels]. */
static void to_logits(const kh_real *photo, size_t pixels, kh_real *out) {
    double inverse[9];
    kh_canvas_colours_inverse(inverse);
    for (size_t i = 0; i < pixels; i++) {
        double y[3];
        for (size_t k = 0; k < 3; k++) {
            const double p = (double)photo[k * pixels + i];
            y[k] = log((p + 1e-3) / (1 - p + 1e-3));
        }
        for (size_t k = 0; k < 3; k++)
            out[k * pixels + i] = (kh_real)(inverse[3 * k] * y[0] + inverse[3 * k + 1] * y[1] +
                                            inverse[3 * k + 2] * y[2]);
    }
}

static void stretch(kh_real *values, size_t count) {
    kh_real low = values[0], high = values[0];
    for (size_t i = 0; i < count; i++) {
        low = fmin(low, values[i]);
        high = fmax(high, values[i]);
    }
    for (size_t i = 0; high > low && i < count; i++)
        values[i] = (values[i] - low) / (high - low);
}

kh_status kh_canvas_from_photo(const kh_canvas *c, const kh_real *photo, kh_real *theta,
                               kh_error *err) {
    const size_t pixels = c->size * c->size;
    kh_real *plane = kh_alloc_reals(6 * pixels + kh_spectrum_scratch(c->spectrum));
    if (!plane) return kh_fail(err, KH_E_MEMORY, "out of memory for a photo's spectrum");
    kh_real *logits = plane + 3 * pixels;
    for (size_t i = 0; i < 3 * pixels; i++)
        if (!(photo[i] >= 0 && photo[i] <= 1)) {
            kh_free(plane);
            return kh_fail(err, KH_E_NUMERIC, "value %zu of the photo is %g, not in [0, 1]", i,
                           (double)photo[i]);
        }
    memcpy(plane, photo, 3 * pixels * sizeof *plane);
    stretch(plane, 3 * pixels);
    to_logits(plane, pixels, logits);
    for (size_t k = 0; k < 3; k++)
        kh_spectrum_from_plane(c->spectrum, logits + k * pixels, theta + k * c->count,
                               logits + 3 * pixels);
    kh_free(plane);
    return KH_OK;
}

/* Radial means of ImageNet's spectrum in this space, at 512 pixels. */
static const double radius_at[] = {1, 2, 4, 8, 16, 32, 64, 128, 200, 256};
static const double natural_at[3][11] = {
    {255052, 80143, 37435, 16921, 7464, 2996, 1130, 392.5, 103.5, 22.56, 2.68},
    {269511, 87406, 40583, 17409, 7439, 2918, 1108, 363.4, 82.67, 14.65, 1.38},
    {227829, 65559, 31165, 13921, 5995, 2500, 963.5, 345.3, 88.06, 16.91, 1.72}};

static double natural_of(size_t channel, double radius) {
    const double *at = natural_at[channel];
    if (radius <= 0) return at[0];
    size_t i = 1;
    while (i < 9 && radius > radius_at[i])
        i++;
    const double t = log(radius / radius_at[i - 1]) / log(radius_at[i] / radius_at[i - 1]);
    return exp(log(at[i]) + t * (log(at[i + 1]) - log(at[i])));
}

void kh_canvas_natural(size_t size, kh_real *magnitude) {
    const size_t columns = size / 2 + 1;
    for (size_t channel = 0; channel < 3; channel++)
        for (size_t ky = 0; ky < size; ky++)
            for (size_t kx = 0; kx < columns; kx++) {
                const double back = ky < (size + 1) / 2 ? 0.0 : (double)size;
                const double fy = ((double)ky - back) / (double)size;
                const double fx = (double)kx / (double)size;
                magnitude[(channel * size + ky) * columns + kx] =
                    (kh_real)natural_of(channel, 512 * sqrt(fx * fx + fy * fy));
            }
}

static void add_magnitudes(const kh_spectrum *s, const kh_image *image, size_t size, kh_real *work,
                           double *sum) {
    const size_t pixels = size * size, cells = size * kh_spectrum_columns(s);
    kh_real *photo = work, *logits = photo + 3 * pixels, *z = logits + 3 * pixels;
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < pixels; i++)
            photo[k * pixels + i] = (kh_real)image->rgb[3 * i + k] / (kh_real)255.0;
    to_logits(photo, pixels, logits);
    for (size_t k = 0; k < 3; k++) {
        kh_spectrum_from_plane(s, logits + k * pixels, z, z + 2 * cells);
        for (size_t i = 0; i < cells; i++)
            sum[k * cells + i] += hypot((double)z[2 * i], (double)z[2 * i + 1]);
    }
}

kh_status kh_dream_magnitude(const kh_image *images, size_t count, size_t size, float *out,
                             size_t out_count, kh_error *err) {
    const size_t columns = size / 2 + 1;
    size_t cells;
    if (count == 0) return kh_fail(err, KH_E_ARG, "magnitudes need at least one image");
    if (!kh_mul(size, columns, &cells) || !kh_mul(cells, 3, &cells) || out_count != cells)
        return kh_fail(err, KH_E_SHAPE, "room for %zu floats, spectra of %zu pixels have %zu",
                       out_count, size, cells);
    kh_spectrum *s = NULL;
    KH_TRY(kh_spectrum_create(size, size, &s, err));
    kh_status status = KH_OK;
    kh_real *work = kh_alloc_reals(6 * size * size + cells + kh_spectrum_scratch(s));
    double *sum = kh_calloc(cells, sizeof *sum);
    if (!work || !sum) status = kh_fail(err, KH_E_MEMORY, "out of memory for magnitudes");
    for (size_t i = 0; !status && i < count; i++) {
        kh_image fitted = {0};
        status = kh_image_resize(&images[i], size, size, KH_FILTER_BILINEAR, &fitted, err);
        if (!status) add_magnitudes(s, &fitted, size, work, sum);
        kh_image_clear(&fitted);
    }
    for (size_t i = 0; !status && i < cells; i++)
        out[i] = (float)(sum[i] / (double)count);
    kh_free(sum);
    kh_free(work);
    kh_spectrum_free(s);
    return status;
}
