/* Two passes of windowed sums in 22-bit fixed point: Pillow's windows, weights and rounding. */
#include "io/resample.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <math.h>
#include <string.h>

#define WEIGHT_BITS 22 /* 32 - 8 bits of pixel - 2 bits of headroom */
#define MAX_SIDE    ((size_t)1 << 30)
#define PI          3.14159265358979323846

/* ---- filters --------------------------------------------------------------------------------- */

static double box(double x) {
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bilinear(double x) {
    const double d = fabs(x);
    return d < 1.0 ? 1.0 - d : 0.0;
}

static double hamming(double x) {
    const double d = fabs(x);
    if (d == 0.0) return 1.0;
    if (d >= 1.0) return 0.0;
    const double t = d * PI;
    return sin(t) / t * ((double)0.54f + (double)0.46f * cos(t)); /* Pillow's constants are float */
}

/* Keys 1981 with a = -0.5 */
static double bicubic(double x) {
    const double a = -0.5, d = fabs(x);
    if (d < 1.0) return ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    if (d < 2.0) return (((d - 5.0) * d + 8.0) * d - 4.0) * a;
    return 0.0;
}

static double sinc(double x) {
    if (x == 0.0) return 1.0;
    const double t = x * PI;
    return sin(t) / t;
}

static double lanczos(double x) {
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

typedef struct filter_kind {
    double (*at)(double x);
    double support;
} filter_kind;

static bool find_filter(kh_filter filter, filter_kind *out) {
    switch (filter) {
    case KH_FILTER_BILINEAR:
        *out = (filter_kind){bilinear, 1.0};
        return true;
    case KH_FILTER_BICUBIC:
        *out = (filter_kind){bicubic, 2.0};
        return true;
    case KH_FILTER_LANCZOS:
        *out = (filter_kind){lanczos, 3.0};
        return true;
    case KH_FILTER_BOX:
        *out = (filter_kind){box, 0.5};
        return true;
    case KH_FILTER_HAMMING:
        *out = (filter_kind){hamming, 1.0};
        return true;
    }
    return false;
}

/* ---- windows --------------------------------------------------------------------------------- */

typedef struct axis {
    size_t count;       /* output pixels */
    size_t first, last; /* input pixels used by any of them: [first, last) */
    kh_window *windows; /* [count] */
    int32_t *weights;
    int16_t *expanded;
} axis;

static void axis_clear(axis *a) {
    kh_free(a->windows);
    kh_free(a->weights);
    kh_free(a->expanded);
    *a = (axis){0};
}

/* Input pixels [*lo, *hi) that output pixel x looks at; returns where its centre lies. */
static double window_of(size_t x, double scale, double support, size_t in, size_t *lo, size_t *hi) {
    const double center = ((double)x + 0.5) * scale;
    const double low = center - support + 0.5, high = center + support + 0.5;
    *lo = low > 0.0 ? (size_t)low : 0;
    *hi = high < (double)in ? (size_t)high : in;
    if (*hi < *lo) *hi = *lo;
    return center;
}

static int32_t fixed(double weight) {
    const double scaled = weight * (double)(1 << WEIGHT_BITS);
    return (int32_t)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
}

/* Weights of one window, normalised to sum 1; `w` has room for the window. */
static void fill_weights(const filter_kind *filter, double center, double shrink, size_t lo,
                         size_t count, double *w, int32_t *out) {
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        w[i] = filter->at(((double)(i + lo) - center + 0.5) * shrink);
        sum += w[i];
    }
    for (size_t i = 0; i < count; i++) {
        if (sum != 0.0) w[i] /= sum;
        out[i] = fixed(w[i]);
    }
}

/* Four taps for three channels: (k0 k1) thrice, two zeros, (k2 k3) thrice, two zeros; first the
 * weights' upper 16 bits (>> 12), then their lower 12. */
static void expand(const int32_t *weights, size_t count, int16_t *out) {
    for (size_t g = 0; g < (count + 3) / 4; g++, out += 32) {
        for (size_t i = 0; i < 4 && 4 * g + i < count; i++) {
            const int32_t k = weights[4 * g + i];
            for (size_t c = 0; c < 3; c++) {
                const size_t slot = i / 2 * 8 + c * 2 + i % 2;
                out[slot] = (int16_t)(k >> 12);
                out[16 + slot] = (int16_t)(k & 0xFFF);
            }
        }
    }
}

/* Windows of output pixels [from, from + count) of an axis that goes from `in` to `out` pixels. */
static kh_status axis_init(axis *a, size_t in, size_t out, size_t from, size_t count,
                           const filter_kind *filter, bool want_expanded, kh_error *err) {
    const double scale = (double)in / (double)out;
    const double stretch = scale > 1.0 ? scale : 1.0;
    const double support = filter->support * stretch;
    size_t taps = 0, groups = 0, widest = 0;
    *a = (axis){.count = count, .first = in};
    a->windows = kh_calloc(count, sizeof *a->windows);
    if (!a->windows) goto no_memory;
    for (size_t i = 0; i < count; i++) {
        size_t lo, hi;
        (void)window_of(from + i, scale, support, in, &lo, &hi);
        a->windows[i].first = lo;
        a->windows[i].count = hi - lo;
        taps += hi - lo;
        groups += (hi - lo + 3) / 4;
        if (hi - lo > widest) widest = hi - lo;
        if (lo < a->first) a->first = lo;
        if (hi > a->last) a->last = hi;
    }
    double *w = kh_calloc(widest, sizeof *w);
    a->weights = kh_calloc(taps, sizeof *a->weights);
    if (want_expanded) a->expanded = kh_calloc(groups, 32 * sizeof *a->expanded);
    if (!w || !a->weights || (want_expanded && !a->expanded)) {
        kh_free(w);
        goto no_memory;
    }
    taps = groups = 0;
    for (size_t i = 0; i < count; i++) {
        kh_window *window = &a->windows[i];
        size_t lo, hi;
        const double center = window_of(from + i, scale, support, in, &lo, &hi);
        int32_t *weights = a->weights + taps;
        fill_weights(filter, center, 1.0 / stretch, lo, hi - lo, w, weights);
        window->weights = weights;
        if (want_expanded) {
            int16_t *expanded = a->expanded + 32 * groups;
            expand(weights, hi - lo, expanded);
            window->expanded = expanded;
        }
        taps += hi - lo;
        groups += (hi - lo + 3) / 4;
    }
    kh_free(w);
    return KH_OK;
no_memory:
    axis_clear(a);
    return kh_fail(err, KH_E_MEMORY, "no memory to resize %zu pixels to %zu", in, out);
}

/* ---- plain kernels: the definition ----------------------------------------------------------- */

static uint8_t clamp8(uint32_t sum) {
    const int32_t v = (int32_t)sum >> WEIGHT_BITS; /* arithmetic in every compiler we build with */
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void horizontal_plain(const uint8_t *in, size_t in_stride, size_t in_bytes, size_t rows,
                             const kh_window *windows, size_t count, uint8_t *out,
                             size_t out_stride) {
    (void)in_bytes;
    for (size_t y = 0; y < rows; y++) {
        for (size_t x = 0; x < count; x++) {
            const kh_window *w = &windows[x];
            const uint8_t *p = in + y * in_stride + 3 * w->first;
            uint32_t sum[3] = {1u << (WEIGHT_BITS - 1), 1u << (WEIGHT_BITS - 1),
                               1u << (WEIGHT_BITS - 1)};
            for (size_t i = 0; i < w->count; i++)
                for (size_t c = 0; c < 3; c++)
                    sum[c] += p[3 * i + c] * (uint32_t)w->weights[i];
            for (size_t c = 0; c < 3; c++)
                out[y * out_stride + 3 * x + c] = clamp8(sum[c]);
        }
    }
}

static void vertical_plain(const uint8_t *in, size_t in_stride, size_t bytes,
                           const kh_window *window, uint8_t *out) {
    for (size_t x = 0; x < bytes; x++) {
        uint32_t sum = 1u << (WEIGHT_BITS - 1);
        for (size_t i = 0; i < window->count; i++)
            sum += in[i * in_stride + x] * (uint32_t)window->weights[i];
        out[x] = clamp8(sum);
    }
}

const kh_resample_kernels kh_resample_plain = {"plain", horizontal_plain, vertical_plain};

const kh_resample_kernels *kh_resample_best(void) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) return &kh_resample_avx2;
#endif
    return &kh_resample_plain;
}

/* ---- the two passes -------------------------------------------------------------------------- */

typedef struct plane {
    const uint8_t *at; /* pixel (0, 0) */
    size_t stride;
    size_t bytes; /* readable from `at` */
} plane;

/* Rows [top, top + rows) of `in`, each resized to the windows of h. */
static void run_horizontal(const kh_resample_kernels *kernels, plane in, size_t top, size_t rows,
                           const axis *h, uint8_t *out, size_t stride) {
    kernels->horizontal(in.at + top * in.stride, in.stride, in.bytes - top * in.stride, rows,
                        h->windows, h->count, out, stride);
}

/* Columns [left, left + width) of `in`, whose row 0 is input row `base` of the axis. */
static void run_vertical(const kh_resample_kernels *kernels, plane in, size_t base, size_t left,
                         size_t width, const axis *v, uint8_t *out, size_t stride) {
    for (size_t y = 0; y < v->count; y++)
        kernels->vertical(in.at + (v->windows[y].first - base) * in.stride + 3 * left, in.stride,
                          3 * width, &v->windows[y], out + y * stride);
}

static void copy_part(plane in, kh_region part, uint8_t *out, size_t stride) {
    for (size_t y = 0; y < part.height; y++)
        memcpy(out + y * stride, in.at + (part.top + y) * in.stride + 3 * part.left,
               3 * part.width);
}

/* Both axes change: one pass into a temporary image, the other out of it. */
static kh_status both_passes(const kh_resample_kernels *kernels, plane in, bool vertical_first,
                             const axis *h, const axis *v, kh_region part, uint8_t *out,
                             size_t stride, kh_error *err) {
    const size_t rows = vertical_first ? part.height : v->last - v->first;
    const size_t columns = vertical_first ? h->last - h->first : part.width;
    size_t pixels, bytes;
    if (!kh_mul(rows, columns, &pixels) || !kh_mul(pixels, 3, &bytes) || !kh_add(bytes, 64, &bytes))
        return kh_fail(err, KH_E_LIMIT, "resizing needs %zux%zu pixels in between", columns, rows);
    uint8_t *between = kh_realloc(NULL, bytes, 1);
    if (!between) return kh_fail(err, KH_E_MEMORY, "no memory for %zu bytes while resizing", bytes);
    memset(between + bytes - 64, 0, 64); /* fast kernels read, but do not use, a little more */
    const plane mid = {between, 3 * columns, bytes};
    if (vertical_first) {
        run_vertical(kernels, in, 0, h->first, columns, v, between, mid.stride);
        /* windows count from input column 0, the temporary image from h->first */
        for (size_t i = 0; i < h->count; i++)
            h->windows[i].first -= h->first;
        run_horizontal(kernels, mid, 0, rows, h, out, stride);
    } else {
        run_horizontal(kernels, in, v->first, rows, h, between, mid.stride);
        run_vertical(kernels, mid, v->first, 0, columns, v, out, stride);
    }
    kh_free(between);
    return KH_OK;
}

/* Pillow 13's choice of the pass that comes first, found by experiment: H - h > 2 (W - w). Older
 * releases always begin with the horizontal one; docs/preprocessing.md has the story. */
static bool shrinks_more_in_height(const kh_image *image, size_t width, size_t height) {
    return height < image->height && image->height - height + 2 * width > 2 * image->width;
}

kh_status kh_resample(const kh_resample_kernels *kernels, const kh_image *image, size_t width,
                      size_t height, kh_filter filter, kh_region part, uint8_t *out, size_t stride,
                      kh_error *err) {
    filter_kind kind;
    if (!find_filter(filter, &kind))
        return kh_fail(err, KH_E_ARG, "unknown resize filter %d", (int)filter);
    if (!image->width || !image->height || !image->rgb || !width || !height || !part.width ||
        !part.height || part.left > width || part.top > height || part.width > width - part.left ||
        part.height > height - part.top)
        return kh_fail(err, KH_E_ARG, "cannot resize %zux%zu pixels to %zux%zu", image->width,
                       image->height, width, height);
    if (width > MAX_SIDE || height > MAX_SIDE || image->width > MAX_SIDE ||
        image->height > MAX_SIDE)
        return kh_fail(err, KH_E_LIMIT, "resizing %zux%zu to %zux%zu: a side is over %zu pixels",
                       image->width, image->height, width, height, MAX_SIDE);
    const plane in = {image->rgb, 3 * image->width, 3 * image->width * image->height};
    const bool wider = width != image->width, taller = height != image->height;
    const bool vertical_first = shrinks_more_in_height(image, width, height);
    axis h = {0}, v = {0};
    kh_status status = KH_OK;
    if (wider) KH_GO(axis_init(&h, image->width, width, part.left, part.width, &kind, true, err));
    if (taller)
        KH_GO(axis_init(&v, image->height, height, part.top, part.height, &kind, false, err));
    if (wider && taller)
        KH_GO(both_passes(kernels, in, vertical_first, &h, &v, part, out, stride, err));
    else if (wider)
        run_horizontal(kernels, in, part.top, part.height, &h, out, stride);
    else if (taller)
        run_vertical(kernels, in, 0, part.left, part.width, &v, out, stride);
    else
        copy_part(in, part, out, stride);
done:
    axis_clear(&h);
    axis_clear(&v);
    return status;
}

kh_status kh_image_resize(const kh_image *image, size_t width, size_t height, kh_filter filter,
                          kh_image *out, kh_error *err) {
    size_t pixels, bytes;
    *out = (kh_image){0};
    if (!kh_mul(width, height, &pixels) || !kh_mul(pixels, 3, &bytes))
        return kh_fail(err, KH_E_LIMIT, "cannot resize to %zux%zu pixels: too many", width, height);
    uint8_t *rgb = kh_realloc(NULL, bytes, 1);
    if (!rgb) return kh_fail(err, KH_E_MEMORY, "no memory for a %zux%zu image", width, height);
    const kh_status status = kh_resample(kh_resample_best(), image, width, height, filter,
                                         (kh_region){0, 0, width, height}, rgb, 3 * width, err);
    if (status)
        kh_free(rgb);
    else
        *out = (kh_image){width, height, rgb};
    return status;
}
