#include "dream/spectrum.h"

#include <kiss_fft.h>
#include <math.h>

#include "base/alloc.h"

struct kh_spectrum {
    size_t height, width, columns;
    kiss_fft_cfg rows_to, rows_from, columns_to, columns_from;
};

static kiss_fft_cfg plan(size_t length, bool inverse) {
    size_t bytes = 0;
    (void)kiss_fft_alloc((int)length, inverse, NULL, &bytes);
    void *memory = kh_calloc(1, bytes);
    return memory ? kiss_fft_alloc((int)length, inverse, memory, &bytes) : NULL;
}

kh_status kh_spectrum_create(size_t height, size_t width, kh_spectrum **out, kh_error *err) {
    enum { MAX_SIDE = 1 << 14 };
    *out = NULL;
    if (height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE)
        return kh_fail(err, KH_E_ARG, "spectra of %zux%zu pixels; sides are 1 to %d", width, height,
                       MAX_SIDE);
    kh_spectrum *s = kh_calloc(1, sizeof *s);
    if (!s) return kh_fail(err, KH_E_MEMORY, "out of memory for a spectrum");
    s->height = height;
    s->width = width;
    s->columns = width / 2 + 1;
    s->rows_to = plan(width, true);
    s->rows_from = plan(width, false);
    s->columns_to = plan(height, true);
    s->columns_from = plan(height, false);
    if (!s->rows_to || !s->rows_from || !s->columns_to || !s->columns_from) {
        kh_spectrum_free(s);
        return kh_fail(err, KH_E_MEMORY, "out of memory for a spectrum");
    }
    *out = s;
    return KH_OK;
}

void kh_spectrum_free(kh_spectrum *s) {
    if (!s) return;
    kh_free(s->rows_to);
    kh_free(s->rows_from);
    kh_free(s->columns_to);
    kh_free(s->columns_from);
    kh_free(s);
}

size_t kh_spectrum_columns(const kh_spectrum *s) {
    return s->columns;
}

size_t kh_spectrum_scratch(const kh_spectrum *s) {
    return 2 * (s->columns * s->height + 2 * s->width + s->height);
}

kh_real kh_spectrum_weight(const kh_spectrum *s, size_t kx) {
    return kx == 0 || 2 * kx == s->width ? 1 : 2;
}

bool kh_spectrum_is_real(const kh_spectrum *s, size_t ky, size_t kx) {
    return (ky == 0 || 2 * ky == s->height) && (kx == 0 || 2 * kx == s->width);
}

void kh_spectrum_scale(size_t height, size_t width, double decay, kh_real *out) {
    const double floor_f = 1.0 / (double)(width > height ? width : height);
    const size_t columns = width / 2 + 1;
    for (size_t ky = 0; ky < height; ky++) {
        const double back = ky < (height + 1) / 2 ? 0.0 : (double)height;
        const double fy = ((double)ky - back) / (double)height;
        for (size_t kx = 0; kx < columns; kx++) {
            const double fx = (double)kx / (double)width, f = sqrt(fx * fx + fy * fy);
            out[ky * columns + kx] = (kh_real)(1.0 / pow(f > floor_f ? f : floor_f, decay));
        }
    }
}

/* Two rows share one complex transform: a is its real part, b its imaginary part. */
static void join_rows(const kh_spectrum *s, const kiss_fft_cpx *half, size_t y, bool two,
                      kiss_fft_cpx *full) {
    const size_t h = s->height, w = s->width;
    for (size_t kx = 0; kx < s->columns; kx++) {
        kiss_fft_cpx a = half[kx * h + y], b = {0, 0};
        if (two) b = half[kx * h + y + 1];
        if (kh_spectrum_weight(s, kx) < 2) a.i = b.i = 0; /* its own mirror image */
        full[kx] = (kiss_fft_cpx){a.r - b.i, a.i + b.r};
        if (kx > 0 && 2 * kx < w) full[w - kx] = (kiss_fft_cpx){a.r + b.i, b.r - a.i};
    }
}

void kh_spectrum_to_plane(const kh_spectrum *s, const kh_real *z, kh_real *x, kh_real *scratch) {
    const size_t h = s->height, w = s->width;
    kiss_fft_cpx *half = (kiss_fft_cpx *)scratch; /* [columns, h] */
    kiss_fft_cpx *full = half + s->columns * h, *pair = full + w;
    for (size_t kx = 0; kx < s->columns; kx++)
        kiss_fft_stride(s->columns_to, (const kiss_fft_cpx *)z + kx, half + kx * h,
                        (int)s->columns);
    for (size_t y = 0; y < h; y += 2) {
        const bool two = y + 1 < h;
        join_rows(s, half, y, two, full);
        kiss_fft(s->rows_to, full, pair);
        for (size_t i = 0; i < w; i++)
            x[y * w + i] = pair[i].r;
        for (size_t i = 0; two && i < w; i++)
            x[(y + 1) * w + i] = pair[i].i;
    }
}

void kh_spectrum_from_plane(const kh_spectrum *s, const kh_real *x, kh_real *z, kh_real *scratch) {
    const size_t h = s->height, w = s->width;
    kiss_fft_cpx *half = (kiss_fft_cpx *)scratch;
    kiss_fft_cpx *full = half + s->columns * h, *pair = full + w, *column = pair + w;
    kiss_fft_cpx *to = (kiss_fft_cpx *)z;
    for (size_t y = 0; y < h; y += 2) {
        const bool two = y + 1 < h;
        for (size_t i = 0; i < w; i++)
            pair[i] = (kiss_fft_cpx){x[y * w + i], two ? x[(y + 1) * w + i] : 0};
        kiss_fft(s->rows_from, pair, full);
        for (size_t kx = 0; kx < s->columns; kx++) {
            const kiss_fft_cpx p = full[kx], q = full[(w - kx) % w];
            half[kx * h + y] =
                (kiss_fft_cpx){(kh_real)0.5 * (p.r + q.r), (kh_real)0.5 * (p.i - q.i)};
            if (two)
                half[kx * h + y + 1] =
                    (kiss_fft_cpx){(kh_real)0.5 * (p.i + q.i), (kh_real)0.5 * (q.r - p.r)};
        }
    }
    for (size_t kx = 0; kx < s->columns; kx++) {
        kiss_fft(s->columns_from, half + kx * h, column);
        for (size_t ky = 0; ky < h; ky++)
            to[ky * s->columns + kx] = column[ky];
    }
}
