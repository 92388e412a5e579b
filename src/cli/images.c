#include "cli/images.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

kh_status kh_image_batch_init(kh_image_batch *batch, kh_session *session,
                              const kh_decode_options *decode, size_t capacity, bool keeps_bytes,
                              kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(session->model)->preprocess;
    *batch = (kh_image_batch){.session = session,
                              .decode = decode,
                              .capacity = capacity,
                              .image_floats = 3 * how->height * how->width,
                              .keeps_bytes = keeps_bytes};
    batch->floats = kh_alloc_floats(capacity * batch->image_floats);
    batch->bytes = kh_calloc(capacity, sizeof *batch->bytes);
    batch->paths = kh_calloc(capacity, sizeof *batch->paths);
    if (!batch->floats || !batch->bytes || !batch->paths) {
        kh_image_batch_clear(batch);
        return kh_fail(err, KH_E_MEMORY, "no memory for a batch of %zu images; try --batch 1",
                       capacity);
    }
    return KH_OK;
}

static void drop_bytes(kh_image_batch *batch) {
    for (size_t i = 0; batch->bytes && i < batch->capacity; i++)
        kh_image_clear(&batch->bytes[i]);
}

void kh_image_batch_clear(kh_image_batch *batch) {
    drop_bytes(batch);
    kh_free(batch->floats);
    kh_free(batch->bytes);
    kh_free(batch->paths);
    kh_broken_images_clear(batch->broken, batch->failed);
    *batch = (kh_image_batch){0};
}

static kh_status load(kh_image_batch *batch, const kh_source *source, size_t index, size_t slot,
                      kh_error *err) {
    const kh_preprocess *how = &kh_model_get_info(batch->session->model)->preprocess;
    kh_image decoded = {0}, fitted = {0};
    KH_TRY(kh_source_read_image(source, index, batch->decode, &decoded, err));
    kh_status status = kh_preprocess_bytes(how, &decoded, &fitted, err);
    if (!status)
        status = kh_preprocess_floats(how, &fitted, batch->floats + slot * batch->image_floats,
                                      batch->image_floats, err);
    kh_image_clear(&decoded);
    if (!status && batch->keeps_bytes)
        batch->bytes[slot] = fitted;
    else
        kh_image_clear(&fitted);
    return status;
}

kh_status kh_broken_images_add(kh_broken_image **list, size_t *count, const char *path,
                               const char *why, bool says, kh_error *err) {
    char shown[KH_SHOWN_BYTES * 2];
    kh_shown(path, strlen(path), shown, sizeof shown);
    const bool names_it = strstr(why, shown) != NULL;
    if (says)
        fprintf(stderr, "keyhole: %s%s%s\n", names_it ? "" : shown, names_it ? "" : ": ", why);
    const size_t length = strlen(shown);
    if (strncmp(why, shown, length) == 0 && strncmp(why + length, ": ", 2) == 0) why += length + 2;
    kh_broken_image *broken = kh_realloc(*list, *count + 1, sizeof *broken);
    if (broken) *list = broken;
    char *reason = broken ? kh_strdup(why) : NULL;
    if (!reason) return kh_fail(err, KH_E_MEMORY, "no memory to remember a broken image");
    broken[(*count)++] = (kh_broken_image){path, reason};
    return KH_OK;
}

void kh_broken_images_clear(kh_broken_image *list, size_t count) {
    for (size_t i = 0; i < count; i++)
        kh_free(list[i].reason);
    kh_free(list);
}

kh_status kh_image_batch_fill(kh_image_batch *batch, const kh_inputs *inputs, size_t *next,
                              kh_error *err) {
    drop_bytes(batch);
    batch->count = 0;
    while (*next < inputs->count && batch->count < batch->capacity) {
        const size_t index = (*next)++;
        const char *path = kh_source_get(inputs->source, index).name;
        kh_error why = {KH_OK, ""};
        const kh_status status = load(batch, inputs->source, index, batch->count, &why);
        if (status == KH_E_MEMORY) return kh_fail(err, status, "%s", why.text);
        if (status) {
            KH_TRY(kh_broken_images_add(&batch->broken, &batch->failed, path, why.text, true, err));
            continue;
        }
        batch->paths[batch->count++] = path;
    }
    return KH_OK;
}

json_t *kh_image_batch_failed_json(const kh_image_batch *batch) {
    json_t *list = json_array();
    for (size_t i = 0; i < batch->failed; i++) {
        json_t *one = json_pack("{s:o, s:o}", "image", kh_json_text(batch->broken[i].path),
                                "reason", kh_json_text(batch->broken[i].reason));
        if (json_array_append_new(list, one) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

kh_status kh_image_batch_blame(const kh_image_batch *batch, kh_status status, kh_error *err) {
    if (status != KH_E_NUMERIC) return status;
    for (size_t i = 0; i < batch->count; i++) {
        kh_error why = {KH_OK, ""};
        if (kh_lens_classify(batch->session->ctx, batch->session->model,
                             batch->floats + i * batch->image_floats, 1, 1, 0, NULL, NULL,
                             &why) != KH_E_NUMERIC)
            continue;
        /* alone in its batch it is always image 0, which says less than its name */
        static const char number[] = "image 0: ";
        const bool is_numbered = strncmp(why.text, number, sizeof number - 1) == 0;
        char shown[KH_SHOWN_BYTES];
        kh_shown(batch->paths[i], strlen(batch->paths[i]), shown, sizeof shown);
        return kh_fail(err, KH_E_NUMERIC, "%s: %s", shown,
                       why.text + (is_numbered ? sizeof number - 1 : 0));
    }
    return status; /* no image alone is the cause */
}

void kh_print_path(const char *path) {
    char shown[8192];
    fputs(kh_shown(path, strlen(path), shown, sizeof shown), stdout);
}

kh_status kh_require_classes(const kh_model *model, kh_error *err) {
    if (kh_model_get_info(model)->classes > 0) return KH_OK;
    return kh_fail(err, KH_E_UNSUPPORTED,
                   "this checkpoint has no classifier (num_classes 0), so it names no classes;"
                   " use one that was fine-tuned for classification");
}

kh_status kh_images_failed(size_t failed, size_t total, kh_error *err) {
    return kh_fail(err, KH_E_FORMAT, "%zu of %zu image%s could not be read (listed above)", failed,
                   total, KH_S(total));
}
