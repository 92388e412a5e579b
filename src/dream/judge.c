/* Does a classifier see in a painted picture what it was painted for? */
#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/status.h"
#include "dream/warp.h"
#include "keyhole/dream.h"

struct kh_dream_judge {
    const kh_model *model;
    kh_pass *pass;
    size_t batch;
    float *inputs; /* [batch, 3, m, m] */
};

const char *kh_dream_view_name(kh_dream_view view) {
    static const char *const names[] = {"squash", "crop", "rim"};
    return names[view];
}

kh_status kh_dream_judge_create(kh_ctx *ctx, const kh_model *model, size_t batch,
                                kh_dream_judge **out, kh_error *err) {
    *out = NULL;
    const kh_model_info *info = kh_model_get_info(model);
    if (info->classes == 0)
        return kh_fail(err, KH_E_UNSUPPORTED, "this model has no classifier to judge with");
    kh_dream_judge *j = kh_calloc(1, sizeof *j);
    if (!j) return kh_fail(err, KH_E_MEMORY, "out of memory for a judge");
    j->model = model;
    j->batch = batch ? batch : 1;
    j->inputs = kh_alloc_floats(j->batch * 3 * info->image_height * info->image_width);
    const kh_pass_spec spec = {.max_batch = j->batch, .want_logits = true};
    kh_status status = j->inputs ? KH_OK : kh_fail(err, KH_E_MEMORY, "out of memory for a judge");
    if (!status) status = kh_pass_create(ctx, model, &spec, &j->pass, err);
    if (status) {
        kh_dream_judge_free(j);
        return status;
    }
    *out = j;
    return KH_OK;
}

void kh_dream_judge_free(kh_dream_judge *j) {
    if (!j) return;
    kh_pass_free(j->pass);
    kh_free(j->inputs);
    kh_free(j);
}

/* A rim of grey as while painting, then bilinear with corners aligned: floats, not bytes. */
static kh_status show_rim(const kh_image *picture, size_t side, float *out, kh_error *err) {
    const size_t n = picture->width, rim = (12 * n + 64) / 128, padded = n + 2 * rim;
    if (picture->height != n)
        return kh_fail(err, KH_E_SHAPE, "the rim view is for square pictures, this is %zux%zu", n,
                       picture->height);
    const kh_warp pad = kh_warp_place(n, padded, (ptrdiff_t)rim, (ptrdiff_t)rim, 0.5f);
    const kh_warp resize = kh_warp_resize(padded, side);
    float *plane = kh_alloc_floats(n * n + padded * padded);
    void *scratch = kh_calloc(1, kh_warp_scratch(&resize));
    if (!plane || !scratch) {
        kh_free(plane);
        kh_free(scratch);
        return kh_fail(err, KH_E_MEMORY, "out of memory for a view");
    }
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < n * n; i++)
            plane[i] = (float)picture->rgb[3 * i + c] / 255.0f;
        kh_warp_apply(&pad, plane, plane + n * n, NULL);
        kh_warp_apply(&resize, plane + n * n, out + c * side * side, scratch);
    }
    kh_free(plane);
    kh_free(scratch);
    return KH_OK;
}

static kh_status show(const kh_model_info *info, const kh_image *picture, kh_dream_view view,
                      kh_dream_norm norm, float *out, kh_error *err) {
    static const double mean[3] = {0.485, 0.456, 0.406}, std[3] = {0.229, 0.224, 0.225};
    kh_preprocess how = info->preprocess;
    if (norm == KH_NORM_IMAGENET) {
        memcpy(how.mean, mean, sizeof mean);
        memcpy(how.std, std, sizeof std);
    }
    const size_t pixels = info->image_height * info->image_width;
    if (view == KH_VIEW_RIM) {
        if (info->image_height != info->image_width)
            return kh_fail(err, KH_E_UNSUPPORTED,
                           "the rim view is square, the model's input %zux%zu", info->image_height,
                           info->image_width);
        KH_TRY(show_rim(picture, info->image_height, out, err));
        for (size_t i = 0; i < 3 * pixels; i++)
            out[i] = (out[i] - (float)how.mean[i / pixels]) / (float)how.std[i / pixels];
        return KH_OK;
    }
    kh_image fitted = {0};
    kh_status status = view == KH_VIEW_CROP
                           ? kh_preprocess_bytes(&how, picture, &fitted, err)
                           : kh_image_resize(picture, info->image_width, info->image_height,
                                             KH_FILTER_BILINEAR, &fitted, err);
    if (!status) status = kh_preprocess_floats(&how, &fitted, out, 3 * pixels, err);
    kh_image_clear(&fitted);
    return status;
}

kh_status kh_dream_judge_logits(kh_dream_judge *j, const kh_image *pictures, size_t count,
                                kh_dream_view view, kh_dream_norm norm, float *logits,
                                kh_error *err) {
    const kh_model_info *info = kh_model_get_info(j->model);
    const size_t floats = 3 * info->image_height * info->image_width;
    if (norm == KH_NORM_NONE) return kh_fail(err, KH_E_ARG, "a judge wants a normalisation");
    for (size_t first = 0; first < count; first += j->batch) {
        const size_t now = count - first < j->batch ? count - first : j->batch;
        for (size_t i = 0; i < now; i++)
            KH_TRY(show(info, &pictures[first + i], view, norm, j->inputs + i * floats, err));
        KH_TRY(kh_pass_run(j->pass, j->inputs, now, err));
        memcpy(logits + first * info->classes, kh_pass_logits(j->pass),
               now * info->classes * sizeof *logits);
    }
    return KH_OK;
}

void kh_dream_interval(size_t k, size_t n, double *low, double *high) {
    const double z = 1.959963984540054, count = (double)n, p = n ? (double)k / count : 0;
    if (n == 0) {
        *low = 0;
        *high = 1;
        return;
    }
    const double middle = p + z * z / (2 * count);
    const double reach = z * sqrt(p * (1 - p) / count + z * z / (4 * count * count));
    *low = (middle - reach) / (1 + z * z / count);
    *high = (middle + reach) / (1 + z * z / count);
}
