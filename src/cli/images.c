#include "cli/images.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

enum { MOST_NAMED = 5 };

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
    batch->truths = kh_calloc(capacity, sizeof *batch->truths);
    if (!batch->floats || !batch->bytes || !batch->paths || !batch->truths) {
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
    kh_free(batch->truths);
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

kh_status kh_image_batch_fill(kh_image_batch *batch, const kh_inputs *inputs, size_t *next,
                              kh_error *err) {
    drop_bytes(batch);
    batch->count = 0;
    while (*next < inputs->count && batch->count < batch->capacity) {
        const size_t index = (*next)++;
        const kh_source_image image = kh_source_get(inputs->source, index);
        kh_error why = {KH_OK, ""};
        const kh_status status = load(batch, inputs->source, index, batch->count, &why);
        if (status == KH_E_MEMORY) return kh_fail(err, status, "%s", why.text);
        if (status) {
            KH_TRY(kh_broken_images_add(&batch->broken, &batch->failed, image.name, why.text, err));
            continue;
        }
        batch->truths[batch->count] = image.truth;
        batch->paths[batch->count++] = image.name;
    }
    return KH_OK;
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

/* ---- images that cannot be read ------------------------------------------------------------- */

kh_status kh_broken_images_add(kh_broken_image **list, size_t *count, const char *path,
                               const char *why, kh_error *err) {
    char shown[KH_SHOWN_BYTES * 2];
    kh_shown(path, strlen(path), shown, sizeof shown);
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

static void name_first(const kh_broken_image *list, size_t count) {
    char shown[KH_SHOWN_BYTES * 2];
    for (size_t i = 0; i < count && i < MOST_NAMED; i++) {
        kh_shown(list[i].path, strlen(list[i].path), shown, sizeof shown);
        const bool names_it = strstr(list[i].reason, shown) != NULL;
        fprintf(stderr, "keyhole: %s%s%s\n", names_it ? "" : shown, names_it ? "" : ": ",
                list[i].reason);
    }
}

static void where_listed(size_t count, char *out, size_t out_bytes) {
    if (count > MOST_NAMED)
        (void)snprintf(out, out_bytes, "the first %d are listed above", MOST_NAMED);
    else
        (void)snprintf(out, out_bytes, "listed above");
}

kh_status kh_broken_images_say(kh_session *session, const kh_broken_image *list, size_t count,
                               size_t total, kh_error *err) {
    char text[160], which[40];
    if (count == 0) return KH_OK;
    where_listed(count, which, sizeof which);
    if (!session->common.quiet || count == total) name_first(list, count);
    if (count == total)
        return kh_fail(err, KH_E_FORMAT, "%zu of %zu image%s could not be read (%s)", count, total,
                       KH_S(total), which);
    (void)snprintf(text, sizeof text, "%zu of %zu images could not be read and %s skipped (%s)",
                   count, total, count == 1 ? "was" : "were", which);
    kh_session_warn(session, text);
    return KH_OK;
}

json_t *kh_broken_images_json(const kh_broken_image *list, size_t count) {
    json_t *out = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *one = json_pack("{s:o, s:o}", "image", kh_json_text(list[i].path), "reason",
                                kh_json_text(list[i].reason));
        if (json_array_append_new(out, one) != 0) {
            json_decref(out);
            return NULL;
        }
    }
    return out;
}

static void list_as(const char *key, const kh_broken_image *list, size_t count,
                    kh_manifest *manifest) {
    static const char *const keys[] = {"image", "reason"};
    kh_store_manifest_texts(manifest, key, NULL, 0); /* an empty list: all were read */
    for (size_t i = 0; i < count; i++) {
        const char *const texts[] = {list[i].path, list[i].reason};
        kh_store_manifest_row(manifest, key, keys, texts, 2);
    }
}

void kh_broken_images_list(const kh_broken_image *list, size_t count, kh_manifest *manifest) {
    list_as("failed", list, count, manifest);
}

/* ---- label maps that cannot be read ---------------------------------------------------------- */

void kh_broken_maps_say(kh_session *session, const kh_broken_image *list, size_t count,
                        bool has_failed) {
    char text[160], which[40];
    if (count == 0) return;
    where_listed(count, which, sizeof which);
    if (!session->common.quiet || has_failed) name_first(list, count);
    (void)snprintf(text, sizeof text,
                   "label maps of %zu image%s could not be read, as if there were none (%s)", count,
                   KH_S(count), which);
    kh_session_warn(session, text);
}

void kh_broken_maps_list(const kh_broken_image *list, size_t count, kh_manifest *manifest) {
    list_as("failed_maps", list, count, manifest);
}

/* ---- images without a class ------------------------------------------------------------------ */

static bool has_truth(const kh_source *source) {
    for (size_t i = 0; i < kh_source_count(source); i++)
        if (kh_source_get(source, i).truth != KH_NO_CLASS) return true;
    return false;
}

kh_status kh_require_truth(const kh_source *source, kh_error *err) {
    const size_t images = kh_source_count(source);
    if (has_truth(source)) return KH_OK;
    return kh_fail(err, KH_E_ARG, "none of %zu image%s has a true class; " KH_GIVE_CLASSES, images,
                   KH_S(images));
}

void kh_warn_without_classes(kh_session *session, const kh_source *source, const char *what,
                             const char *cure) {
    char text[400];
    const size_t images = kh_source_count(source);
    if (has_truth(source)) return;
    (void)snprintf(text, sizeof text, "none of %zu image%s has a true class: %s; %s", images,
                   KH_S(images), what, cure);
    kh_session_warn(session, text);
}
