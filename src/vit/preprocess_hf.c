/* preprocessor_config.json of transformers: which steps, at which sizes, with the class's defaults
 * for everything the file leaves out. */
#include "base/text.h"
#include "vit/config.h"
#include "vit/json_get.h"

#include <stdio.h>
#include <string.h>

#define WHAT "preprocessor_config.json"

typedef struct processor_class {
    const char *name;
    const char *model_types; /* models whose default it is */
    size_t shortest_edge;    /* 0: resize to height x width */
    size_t resize;
    size_t crop; /* 0: none */
    bool integer_is_edge;
    bool integer_is_wrong;
    int resample;
    double mean[3], std[3];
} processor_class;

#define HALF                                                                                       \
    { 0.5, 0.5, 0.5 }
#define CLIP_MEAN                                                                                  \
    { 0.48145466, 0.4578275, 0.40821073 }
#define CLIP_STD                                                                                   \
    { 0.26862954, 0.26130258, 0.27577711 }

static const processor_class classes[] = {
    {"ViTImageProcessor", " vit ", 0, 224, 0, false, false, 2, HALF, HALF},
    {"DeiTImageProcessor", " deit ", 0, 256, 224, false, false, 3, HALF, HALF},
    {"CLIPImageProcessor", " clip clip_vision_model ", 224, 0, 224, true, false, 3, CLIP_MEAN,
     CLIP_STD},
    {"BitImageProcessor", " dinov2 dinov2_with_registers ", 224, 0, 224, true, false, 3, CLIP_MEAN,
     CLIP_STD},
    {"SiglipImageProcessor", " siglip siglip_vision_model ", 0, 224, 0, false, true, 3, HALF, HALF},
};

/* "ViTImageProcessorFast", "ViTFeatureExtractor" -> "ViTImageProcessor" */
static void plain_class_name(const char *given, char *out, size_t room) {
    (void)snprintf(out, room, "%s", given);
    if (kh_ends_with(out, "Fast")) out[strlen(out) - 4] = '\0';
    char *extractor = strstr(out, "FeatureExtractor");
    const size_t at = extractor ? (size_t)(extractor - out) : 0;
    if (extractor) (void)snprintf(extractor, room - at, "ImageProcessor");
}

static kh_status find_class(const json_t *root, const char *model_type, const processor_class **out,
                            kh_error *err) {
    char name[96] = "", plain[96];
    KH_TRY(kh_get_text(root, WHAT, "feature_extractor_type", name, sizeof name, err));
    KH_TRY(kh_get_text(root, WHAT, "image_processor_type", name, sizeof name, err));
    plain_class_name(name, plain, sizeof plain);
    char padded[64];
    (void)snprintf(padded, sizeof padded, " %.50s ", model_type ? model_type : "?");
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        const bool is_named = strcmp(plain, classes[i].name) == 0;
        if (is_named || (!plain[0] && strstr(classes[i].model_types, padded))) {
            *out = &classes[i];
            return KH_OK;
        }
    }
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_UNSUPPORTED,
                   WHAT ": image processor '%s' is not one of ViT, DeiT, CLIP, Bit, Siglip; "
                        "--preset squash224 would replace it",
                   kh_shown(name, strlen(name), shown, sizeof shown));
}

/* "size": n, {"height", "width"} or {"shortest_edge"} */
static kh_status read_resize(const json_t *root, const processor_class *kind, kh_preprocess *how,
                             kh_error *err) {
    const json_t *size = kh_get(root, "size");
    how->shortest_edge = kind->shortest_edge;
    how->resize_height = how->resize_width = kind->resize;
    if (!size) return KH_OK;
    how->shortest_edge = how->resize_height = how->resize_width = 0;
    if (json_is_integer(size)) {
        size_t side = 0;
        if (kind->integer_is_wrong)
            return kh_fail(err, KH_E_FORMAT, WHAT ": %s needs 'size' with height and width",
                           kind->name);
        KH_TRY(kh_get_size(root, WHAT, "size", 1, 4096, &side, err));
        if (kind->integer_is_edge)
            how->shortest_edge = side;
        else
            how->resize_height = how->resize_width = side;
        return KH_OK;
    }
    if (!json_is_object(size))
        return kh_fail(err, KH_E_FORMAT, WHAT ": 'size' is neither a number nor an object");
    if (kh_get(size, "longest_edge"))
        return kh_fail(err, KH_E_UNSUPPORTED, WHAT ": 'size' with longest_edge is not supported");
    KH_TRY(kh_get_size(size, WHAT ": size", "shortest_edge", 1, 4096, &how->shortest_edge, err));
    KH_TRY(kh_get_size(size, WHAT ": size", "height", 1, 4096, &how->resize_height, err));
    KH_TRY(kh_get_size(size, WHAT ": size", "width", 1, 4096, &how->resize_width, err));
    const bool has_both = how->resize_height && how->resize_width;
    if (!how->shortest_edge && !has_both)
        return kh_fail(err, KH_E_FORMAT,
                       WHAT ": 'size' has neither shortest_edge nor height and "
                            "width");
    return KH_OK;
}

static kh_status read_crop(const json_t *root, const processor_class *kind, kh_preprocess *how,
                           kh_error *err) {
    how->crop_height = how->crop_width = kind->crop;
    const json_t *crop = kh_get(root, "crop_size");
    if (json_is_object(crop)) {
        KH_TRY(kh_get_size(crop, WHAT ": crop_size", "height", 1, 4096, &how->crop_height, err));
        KH_TRY(kh_get_size(crop, WHAT ": crop_size", "width", 1, 4096, &how->crop_width, err));
    } else if (crop) {
        KH_TRY(kh_get_size_pair(root, WHAT, "crop_size", 1, 4096, &how->crop_height,
                                &how->crop_width, err));
    }
    if (how->do_crop && (!how->crop_height || !how->crop_width))
        return kh_fail(err, KH_E_FORMAT, WHAT ": a centre crop is asked for, but no crop_size");
    return KH_OK;
}

static kh_status read_filter(const json_t *root, const processor_class *kind, kh_preprocess *how,
                             kh_error *err) {
    static const kh_filter filters[] = {[1] = KH_FILTER_LANCZOS,
                                        [2] = KH_FILTER_BILINEAR,
                                        [3] = KH_FILTER_BICUBIC,
                                        [4] = KH_FILTER_BOX,
                                        [5] = KH_FILTER_HAMMING};
    size_t resample = (size_t)kind->resample;
    KH_TRY(kh_get_size(root, WHAT, "resample", 0, 5, &resample, err));
    if (resample == 0)
        return kh_fail(err, KH_E_UNSUPPORTED, WHAT ": resample 0 (nearest) is not supported");
    how->filter = filters[resample];
    return KH_OK;
}

kh_status kh_preprocess_hf(const json_t *root, const char *model_type, kh_preprocess *out,
                           kh_error *err) {
    const processor_class *kind = &classes[0];
    KH_TRY(find_class(root, model_type, &kind, err));
    kh_preprocess how = kh_preprocess_default();
    (void)snprintf(how.preset, sizeof how.preset, "hf");
    how.crop = KH_CROP_HF;
    how.do_resize = how.do_rescale = how.do_normalize = true;
    how.do_crop = kind->crop > 0;
    how.rescale_factor = 1.0 / 255.0;
    memcpy(how.mean, kind->mean, sizeof how.mean);
    memcpy(how.std, kind->std, sizeof how.std);
    KH_TRY(kh_get_bool(root, WHAT, "do_resize", &how.do_resize, err));
    KH_TRY(kh_get_bool(root, WHAT, "do_center_crop", &how.do_crop, err));
    KH_TRY(kh_get_bool(root, WHAT, "do_rescale", &how.do_rescale, err));
    KH_TRY(kh_get_bool(root, WHAT, "do_normalize", &how.do_normalize, err));
    KH_TRY(kh_get_double(root, WHAT, "rescale_factor", 0, 1e6, &how.rescale_factor, err));
    KH_TRY(kh_get_triple(root, WHAT, "image_mean", how.mean, err));
    KH_TRY(kh_get_triple(root, WHAT, "image_std", how.std, err));
    for (size_t i = 0; i < 3; i++)
        if (!(how.std[i] > 0))
            return kh_fail(err, KH_E_LIMIT, WHAT ": 'image_std' has %g, expected above 0",
                           how.std[i]);
    KH_TRY(read_resize(root, kind, &how, err));
    KH_TRY(read_crop(root, kind, &how, err));
    KH_TRY(read_filter(root, kind, &how, err));
    if (how.do_crop) {
        how.height = how.crop_height;
        how.width = how.crop_width;
    } else if (how.do_resize && !how.shortest_edge) {
        how.height = how.resize_height;
        how.width = how.resize_width;
    } else {
        return kh_fail(err, KH_E_UNSUPPORTED,
                       WHAT ": without a centre crop the images come out in different sizes");
    }
    *out = how;
    return KH_OK;
}
