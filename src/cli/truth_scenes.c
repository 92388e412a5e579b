/* Scenes of the demo world as a model's input, with their true masks. */
#include "cli/truth.h"

#include "base/alloc.h"

#include <string.h>

kh_status kh_truth_stage_open(kh_truth_stage *stage, const kh_model *model,
                              const kh_truth_settings *settings, kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(model)->preprocess;
    *stage =
        (kh_truth_stage){.how = how, .size = how->height > how->width ? how->height : how->width};
    if (stage->size < KH_DIORAMA_MIN_SIZE || stage->size > KH_DIORAMA_MAX_SIZE)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "the model wants %zu px; scenes are drawn at %d to %d px", stage->size,
                       KH_DIORAMA_MIN_SIZE, KH_DIORAMA_MAX_SIZE);
    KH_TRY(kh_diorama_new((uint32_t)stage->size, settings->seed, settings->flags, &stage->diorama,
                          err));
    const size_t pixels = stage->size * stage->size;
    stage->rgb = kh_calloc(pixels, 3);
    stage->labels = kh_calloc(pixels, KH_DIORAMA_CATEGORIES * sizeof *stage->labels);
    if (stage->rgb && stage->labels) return KH_OK;
    kh_truth_stage_close(stage);
    return kh_fail(err, KH_E_MEMORY, "no memory for a scene");
}

void kh_truth_stage_close(kh_truth_stage *stage) {
    kh_diorama_free(stage->diorama);
    kh_free(stage->rgb);
    kh_free(stage->labels);
    *stage = (kh_truth_stage){0};
}

/* What the model sees of the mask: prepared like the picture, then cut at one half. */
static kh_status prepare_truth(kh_truth_stage *stage, size_t label, uint8_t *truth, kh_error *err) {
    const uint16_t *objects = stage->labels + KH_DIORAMA_OBJECT * stage->size * stage->size;
    for (size_t i = 0; i < stage->size * stage->size; i++)
        memset(stage->rgb + 3 * i, objects[i] == label ? 255 : 0, 3);
    const kh_image drawn = {stage->size, stage->size, stage->rgb};
    kh_image seen = {0};
    KH_TRY(kh_preprocess_bytes(stage->how, &drawn, &seen, err));
    for (size_t i = 0; i < stage->how->height * stage->how->width; i++)
        truth[i] = seen.rgb[3 * i] > 127;
    kh_image_clear(&seen);
    return KH_OK;
}

kh_status kh_truth_stage_render(kh_truth_stage *stage, uint64_t index, float *floats,
                                uint8_t *truth, kh_image *bytes, kh_error *err) {
    const size_t count = 3 * stage->how->height * stage->how->width;
    KH_TRY(kh_diorama_render(stage->diorama, index, stage->rgb, stage->labels, NULL, err));
    const kh_image drawn = {stage->size, stage->size, stage->rgb};
    kh_image seen = {0};
    KH_TRY(kh_preprocess_bytes(stage->how, &drawn, &seen, err));
    kh_status status = kh_preprocess_floats(stage->how, &seen, floats, count, err);
    if (!status)
        status = prepare_truth(
            stage, kh_diorama_class_label((size_t)(index % kh_diorama_class_count())), truth, err);
    if (!status && bytes)
        *bytes = seen;
    else
        kh_image_clear(&seen);
    return status;
}
