/* From a decoded image to the bytes and floats a model sees: timm's and transformers' geometry. */
#include "base/alloc.h"
#include "base/checked.h"
#include "io/resample.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define MAX_RESIZED 1e9 /* pixels of a side; beyond this a configuration is broken */

static const double half[3] = {0.5, 0.5, 0.5};
static const double imagenet_mean[3] = {0.485, 0.456, 0.406};
static const double imagenet_std[3] = {0.229, 0.224, 0.225};

static kh_preprocess base(const char *preset, kh_crop_mode crop, kh_filter filter, double crop_pct,
                          const double *mean, const double *std) {
    kh_preprocess how = {.height = 224,
                         .width = 224,
                         .crop = crop,
                         .filter = filter,
                         .crop_pct = crop_pct,
                         .rescale_factor = 1.0 / 255.0,
                         .do_resize = true,
                         .do_crop = true,
                         .do_rescale = true,
                         .do_normalize = true,
                         .resize_height = 224,
                         .resize_width = 224,
                         .crop_height = 224,
                         .crop_width = 224};
    (void)snprintf(how.preset, sizeof how.preset, "%s", preset);
    memcpy(how.mean, mean, sizeof how.mean);
    memcpy(how.std, std, sizeof how.std);
    return how;
}

kh_preprocess kh_preprocess_default(void) {
    return base("timm", KH_CROP_CENTER, KH_FILTER_BICUBIC, 0.875, imagenet_mean, imagenet_std);
}

kh_status kh_preprocess_preset(const char *name, kh_preprocess *out, kh_error *err) {
    if (strcmp(name, "squash224") == 0) {
        *out = base(name, KH_CROP_SQUASH, KH_FILTER_BILINEAR, 1.0, half, half);
        return KH_OK;
    }
    return kh_fail(err, KH_E_NOT_FOUND, "no preprocessing preset '%.40s'; there is 'squash224'",
                   name);
}

/* ---- geometry -------------------------------------------------------------------------------- */

/* The image resized to width x height, then a window of it with `fill` outside. */
typedef struct geometry {
    size_t width, height; /* after resizing */
    kh_filter filter;
    ptrdiff_t left, top; /* of the output in the resized image; may be negative */
    uint8_t fill[3];
} geometry;

static bool side_of(double value, size_t *out) {
    if (!(value >= 1.0) || value > MAX_RESIZED) return false;
    *out = (size_t)value;
    return true;
}

/* torchvision: pad (want - have) / 2 in front when too small, else crop at half, ties to even. */
static ptrdiff_t torch_offset(size_t have, size_t want) {
    if (want > have) return -(ptrdiff_t)((want - have) / 2);
    return (ptrdiff_t)rint((double)(have - want) / 2.0);
}

/* transformers: floor((have - want) / 2), zeros outside. */
static ptrdiff_t hf_offset(size_t have, size_t want) {
    if (want > have) return -(ptrdiff_t)((want - have + 1) / 2);
    return (ptrdiff_t)((have - want) / 2);
}

/* Short side to `edge`, the other truncated from edge * long / short. */
static bool short_side_to(double edge, const kh_image *image, geometry *g) {
    const double w = (double)image->width, h = (double)image->height;
    const double new_w = w <= h ? edge : trunc(edge * w / h);
    const double new_h = w <= h ? trunc(edge * h / w) : edge;
    return side_of(new_w, &g->width) && side_of(new_h, &g->height);
}

/* Both sides divided by the same ratio, ties to even. */
static bool divide_by(double ratio, const kh_image *image, geometry *g) {
    return side_of(rint((double)image->width / ratio), &g->width) &&
           side_of(rint((double)image->height / ratio), &g->height);
}

static bool timm_geometry(const kh_preprocess *how, const kh_image *image, geometry *g) {
    const double pct = how->crop_pct == 0.0 ? 0.875 : how->crop_pct;
    const double scale_h = floor((double)how->height / pct);
    const double scale_w = floor((double)how->width / pct);
    const double ratio_h = (double)image->height / scale_h;
    const double ratio_w = (double)image->width / scale_w;
    bool good;
    switch (how->crop) {
    case KH_CROP_SQUASH:
        good = side_of(scale_w, &g->width) && side_of(scale_h, &g->height);
        break;
    case KH_CROP_BORDER:
        good = divide_by(fmax(ratio_h, ratio_w), image, g);
        for (size_t c = 0; c < 3; c++) {
            const double fill = rint(255.0 * how->mean[c]);
            g->fill[c] = (uint8_t)(fill > 0.0 ? fmin(fill, 255.0) : 0.0);
        }
        break;
    case KH_CROP_CENTER:
    case KH_CROP_HF:
    default:
        good = scale_h == scale_w ? short_side_to(scale_h, image, g)
                                  : divide_by(fmin(ratio_h, ratio_w), image, g);
        break;
    }
    if (!good) return false;
    g->left = torch_offset(g->width, how->width);
    g->top = torch_offset(g->height, how->height);
    return true;
}

static bool hf_geometry(const kh_preprocess *how, const kh_image *image, geometry *g) {
    if (!how->do_resize) {
        g->width = image->width;
        g->height = image->height;
    } else if (how->shortest_edge) {
        if (!short_side_to((double)how->shortest_edge, image, g)) return false;
    } else if (!side_of((double)how->resize_width, &g->width) ||
               !side_of((double)how->resize_height, &g->height)) {
        return false;
    }
    if (how->do_crop) {
        g->left = hf_offset(g->width, how->crop_width);
        g->top = hf_offset(g->height, how->crop_height);
    }
    return true;
}

static kh_status check(const kh_preprocess *how, const kh_image *image, kh_error *err) {
    if (!image->rgb || !image->width || !image->height)
        return kh_fail(err, KH_E_ARG, "preprocessing needs an image of at least 1x1 pixels");
    if (!how->width || !how->height || how->width > 65536 || how->height > 65536)
        return kh_fail(err, KH_E_ARG, "model input of %zux%zu pixels; sides go from 1 to 65536",
                       how->width, how->height);
    if (how->crop != KH_CROP_HF && !(how->crop_pct >= 0.0 && how->crop_pct <= 100.0))
        return kh_fail(err, KH_E_ARG, "crop_pct is %g; expected more than 0, usually 0.8 to 1",
                       how->crop_pct);
    if (how->crop == KH_CROP_HF && how->do_crop &&
        (how->crop_width != how->width || how->crop_height != how->height))
        return kh_fail(err, KH_E_SHAPE, "crop gives %zux%zu pixels, the model wants %zux%zu",
                       how->crop_width, how->crop_height, how->width, how->height);
    return KH_OK;
}

/* The part of one side that exists: `skip` output pixels of fill, then `count` from `from` on. */
static void overlap(ptrdiff_t offset, size_t have, size_t want, size_t *skip, size_t *from,
                    size_t *count) {
    *skip = offset < 0 ? (size_t)-offset : 0;
    *from = offset > 0 ? (size_t)offset : 0;
    const size_t room = *skip < want ? want - *skip : 0;
    const size_t left = *from < have ? have - *from : 0;
    *count = room < left ? room : left;
}

static kh_status render(const geometry *g, const kh_image *image, kh_image *out, kh_error *err) {
    size_t skip_x, skip_y;
    kh_region part;
    overlap(g->left, g->width, out->width, &skip_x, &part.left, &part.width);
    overlap(g->top, g->height, out->height, &skip_y, &part.top, &part.height);
    if (part.width != out->width || part.height != out->height)
        for (size_t i = 0; i < out->width * out->height; i++)
            memcpy(out->rgb + 3 * i, g->fill, 3);
    if (!part.width || !part.height) return KH_OK;
    return kh_resample(kh_resample_best(), image, g->width, g->height, g->filter, part,
                       out->rgb + 3 * (skip_y * out->width + skip_x), 3 * out->width, err);
}

/* Errors: KH_E_SHAPE. */
static kh_status geometry_of(const kh_preprocess *how, const kh_image *image, geometry *g,
                             kh_error *err) {
    *g = (geometry){.filter = how->filter};
    const bool hf = how->crop == KH_CROP_HF;
    if (!(hf ? hf_geometry(how, image, g) : timm_geometry(how, image, g)))
        return kh_fail(err, KH_E_SHAPE,
                       "an image of %zux%zu pixels cannot be resized for a %zux%zu input: a side "
                       "would vanish or be huge",
                       image->width, image->height, how->width, how->height);
    if (hf && !how->do_crop && (g->width != how->width || g->height != how->height))
        return kh_fail(err, KH_E_SHAPE,
                       "resizing gives %zux%zu pixels and nothing crops them, the model wants "
                       "%zux%zu",
                       g->width, g->height, how->width, how->height);
    return KH_OK;
}

/* Middles of output pixels as shares of the image's side; -1 where there is only fill. */
static void shares_of(ptrdiff_t offset, size_t have, size_t want, double *out) {
    for (size_t i = 0; i < want; i++) {
        const double at = ((double)i + (double)offset + 0.5) / (double)have;
        out[i] = at > 0 && at < 1 ? at : -1;
    }
}

kh_status kh_preprocess_places(const kh_preprocess *how, size_t width, size_t height, double *x,
                               double *y, kh_error *err) {
    uint8_t none = 0;
    const kh_image image = {width, height, &none}; /* only its sides are looked at */
    geometry g;
    KH_TRY(check(how, &image, err));
    KH_TRY(geometry_of(how, &image, &g, err));
    shares_of(g.left, g.width, how->width, x);
    shares_of(g.top, g.height, how->height, y);
    return KH_OK;
}

kh_status kh_preprocess_bytes(const kh_preprocess *how, const kh_image *image, kh_image *out,
                              kh_error *err) {
    geometry g;
    *out = (kh_image){0};
    KH_TRY(check(how, image, err));
    KH_TRY(geometry_of(how, image, &g, err));
    kh_image made = {how->width, how->height, kh_realloc(NULL, how->width * how->height, 3)};
    if (!made.rgb)
        return kh_fail(err, KH_E_MEMORY, "no memory for a %zux%zu image", how->width, how->height);
    const kh_status status = render(&g, image, &made, err);
    if (status) kh_image_clear(&made);
    *out = made;
    return status;
}

/* ---- floats ---------------------------------------------------------------------------------- */

/* Every step rounds to fp32, as PyTorch and NumPy do it. */
static void fill_table(const kh_preprocess *how, float table[3][256]) {
    const bool hf = how->crop == KH_CROP_HF;
    for (size_t c = 0; c < 3; c++) {
        const float mean = (float)how->mean[c], std = (float)how->std[c];
        for (size_t v = 0; v < 256; v++) {
            float x = (float)v;
            if (!hf)
                x = x / 255.0f;
            else if (how->do_rescale)
                x = (float)((double)v * how->rescale_factor);
            if (!hf || how->do_normalize) x = (x - mean) / std;
            table[c][v] = x;
        }
    }
}

kh_status kh_preprocess_floats(const kh_preprocess *how, const kh_image *bytes, float *out,
                               size_t count, kh_error *err) {
    const size_t pixels = how->width * how->height;
    if (bytes->width != how->width || bytes->height != how->height || !bytes->rgb)
        return kh_fail(err, KH_E_SHAPE, "image is %zux%zu pixels, the model wants %zux%zu",
                       bytes->width, bytes->height, how->width, how->height);
    if (count != 3 * pixels)
        return kh_fail(err, KH_E_SHAPE, "room for %zu floats, expected %zu", count, 3 * pixels);
    const bool normalizes = how->crop != KH_CROP_HF || how->do_normalize;
    for (size_t c = 0; c < 3; c++)
        if (normalizes &&
            !(isfinite(how->mean[c]) && fabs(how->std[c]) >= 1e-30 && isfinite(how->std[c])))
            return kh_fail(err, KH_E_NUMERIC, "mean %g and std %g of channel %zu cannot normalise",
                           how->mean[c], how->std[c], c);
    float table[3][256];
    fill_table(how, table);
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            out[c * pixels + i] = table[c][bytes->rgb[3 * i + c]];
    return KH_OK;
}

kh_status kh_preprocess_image(const kh_preprocess *how, const kh_image *image, float *out,
                              size_t count, kh_error *err) {
    kh_image bytes;
    KH_TRY(kh_preprocess_bytes(how, image, &bytes, err));
    const kh_status status = kh_preprocess_floats(how, &bytes, out, count, err);
    kh_image_clear(&bytes);
    return status;
}
