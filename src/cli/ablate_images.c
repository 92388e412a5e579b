/* The images of an ablation: where they come from, which classes they show, what cannot be read. */
#include "cli/ablate.h"
#include "cli/inputs.h"

#include "base/alloc.h"

#include <string.h>

kh_status kh_ablate_read_image(void *user, size_t index, float *image, bool *is_broken,
                               kh_error *err) {
    kh_ablate_run *run = user;
    const kh_preprocess *how = &kh_model_get_info(run->session->model)->preprocess;
    kh_image decoded = {0};
    kh_error why = {KH_OK, ""};
    kh_status status = kh_source_read_image(run->source, index, &run->decode, &decoded, &why);
    if (!status)
        status = kh_preprocess_image(how, &decoded, image, 3 * how->height * how->width, &why);
    kh_image_clear(&decoded);
    if (status == KH_E_MEMORY) return kh_fail(err, status, "%s", why.text);
    *is_broken = status != KH_OK;
    if (!status) return KH_OK;
    return kh_broken_images_add(&run->broken, &run->broken_count,
                                kh_source_get(run->source, index).name, why.text, err);
}

void kh_ablate_miss_map(void *user, size_t index, const char *reason) {
    kh_ablate_run *run = user;
    const char *name = kh_source_get(run->source, index).name;
    const kh_status status =
        kh_broken_images_add(&run->broken_maps, &run->broken_maps_count, name, reason, NULL);
    if (status) run->broken_maps_status = status;
}

void kh_ablate_run_clear(kh_ablate_run *run) {
    kh_ablation_clear(&run->result);
    kh_broken_images_clear(run->broken, run->broken_count);
    kh_broken_images_clear(run->broken_maps, run->broken_maps_count);
    kh_free(run->truth);
    kh_free(run->is_relative);
    kh_label_set_close(run->label_set);
}

kh_status kh_ablate_find_relatives(kh_ablate_run *run, kh_error *err) {
    const kh_classes *classes = kh_model_classes(run->session->model);
    const size_t count = kh_classes_count(classes), world = kh_diorama_class_count();
    bool found = false;
    run->is_relative = kh_calloc(count, 1);
    if (!run->is_relative) return kh_fail(err, KH_E_MEMORY, "no memory for classes");
    for (size_t c = 0; c < count; c++) {
        const char *wnid = kh_classes_get(classes, c).wnid;
        for (size_t w = 0; w < world && wnid; w++)
            if (strcmp(wnid, kh_diorama_class_wnid(w)) == 0)
                run->is_relative[c] = kh_diorama_class_is_relative(w);
        found = found || run->is_relative[c];
    }
    const char *first = count == 1000 ? kh_classes_get(classes, 151).wnid : NULL;
    if (!found && first && strcmp(first, "n02085620") == 0)
        for (size_t c = 151; c <= 268; c++)
            run->is_relative[c] = 1;
    return KH_OK;
}

kh_status kh_ablate_open_images(kh_ablate_run *run, const char *label_file, size_t count,
                                char **operands, kh_error *err) {
    const kh_source_options how = {.classes = kh_model_classes(run->session->model),
                                   .label_file = label_file,
                                   .warn = kh_session_warn,
                                   .warn_user = run->session};
    KH_TRY(kh_inputs_open(operands, count, &how, &run->source, err));
    const size_t images = kh_source_count(run->source);
    run->decode = (kh_decode_options){.warn = kh_session_warn, .warn_user = run->session};
    run->truth = kh_calloc(images, sizeof *run->truth);
    if (!run->truth) return kh_fail(err, KH_E_MEMORY, "no memory for %zu images", images);
    for (size_t i = 0; i < images; i++)
        run->truth[i] = kh_source_get(run->source, i).truth;
    return kh_require_truth(run->source, err);
}
