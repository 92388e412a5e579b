/* keyhole classify: top classes of images, and accuracy where the truth is known. */
#include "cli/commands.h"
#include "cli/images.h"
#include "cli/inputs.h"
#include "cli/session.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

typedef struct settings {
    kh_common common;
    kh_model_settings model;
    const char *label_file;
    size_t topk, batch;
    bool truth, exif_rotate, gray16_scale;
} settings;

static void defaults(void *at) {
    settings *s = at;
    s->topk = 5;
    s->batch = 8;
}

static const kh_option options[] = {
    {KH_OPT_SIZE, "topk", 'k', offsetof(settings, topk), "K", "Classes per image. Default: 5."},
    {KH_OPT_FLAG, "truth", 0, offsetof(settings, truth), NULL,
     "The true class is the wnid at the start of a file name or the folder's name, or stands in the"
     " list or archive; print the accuracy."},
    {KH_OPT_TEXT, "label-file", 0, offsetof(settings, label_file), "FILE",
     "True classes: lines 'name label', or one label a line in the order of the images. Implies "
     "--truth."},
    {KH_OPT_SIZE, "batch", 'b', offsetof(settings, batch), "N",
     "Images per pass. Results do not depend on it. Default: 8."},
    {KH_OPT_FLAG, "exif-rotate", 0, offsetof(settings, exif_rotate), NULL,
     "Turn photographs as their EXIF tag says (Pillow and timm do not)."},
    {KH_OPT_FLAG, "gray16-scale", 0, offsetof(settings, gray16_scale), NULL,
     "Scale 16-bit grey images instead of saturating them as Pillow does."},
    KH_MODEL_OPTIONS(settings),
    KH_COMMON_OPTIONS(settings),
    {0},
};

typedef struct tally {
    size_t labelled, top1, top5;
    json_t *images, *broken;
    bool is_short;   /* an image is missing from the JSON: no memory */
    kh_status ended; /* not KH_OK: no image could be read */
} tally;

static bool is_within(const kh_prediction *top, size_t count, size_t truth) {
    for (size_t i = 0; i < count; i++)
        if (top[i].class_index == truth) return true;
    return false;
}

static void print_image(const char *path, const kh_prediction *top, size_t count,
                        const kh_classes *classes, const size_t *truth) {
    char label[256];
    kh_print_path(path);
    if (truth) {
        kh_class_label(classes, *truth, label, sizeof label);
        printf("   (true: %s)", label);
    }
    putchar('\n');
    for (size_t i = 0; i < count; i++) {
        kh_class_label(classes, top[i].class_index, label, sizeof label);
        printf("  %6.2f %%  logit %8.4f  %s\n", 100.0 * (double)top[i].probability,
               (double)top[i].logit, label);
    }
}

static json_t *image_json(const char *path, const kh_prediction *top, size_t count,
                          const kh_classes *classes, const size_t *truth) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        const kh_class c = kh_classes_get(classes, top[i].class_index);
        json_array_append_new(list, json_pack("{s:I, s:s?, s:s, s:f, s:f}", "class",
                                              (json_int_t)top[i].class_index, "wnid", c.wnid,
                                              "name", c.name, "logit", (double)top[i].logit,
                                              "probability", (double)top[i].probability));
    }
    json_t *image = json_pack("{s:o, s:o}", "image", kh_json_text(path), "top", list);
    if (truth) json_object_set_new(image, "truth", json_integer((json_int_t)*truth));
    return image;
}

static bool wants_truth(const settings *s) {
    return s->truth || s->label_file;
}

static void report_image(tally *t, const settings *s, const kh_model *model, const char *path,
                         size_t truth, const kh_prediction *top, size_t predictions) {
    const kh_classes *classes = kh_model_classes(model);
    const bool known = wants_truth(s) && truth != KH_NO_CLASS;
    if (known) {
        t->labelled++;
        t->top1 += top[0].class_index == truth;
        t->top5 += is_within(top, predictions < 5 ? predictions : 5, truth);
    }
    const size_t shown = s->topk < predictions ? s->topk : predictions;
    if (s->common.json)
        t->is_short |= json_array_append_new(t->images, image_json(path, top, shown, classes,
                                                                   known ? &truth : NULL)) != 0;
    else
        print_image(path, top, shown, classes, known ? &truth : NULL);
}

static kh_status classify_all(kh_session *session, const settings *s, const kh_inputs *inputs,
                              tally *t, kh_error *err) {
    const kh_model_info *info = kh_model_get_info(session->model);
    const size_t keep = s->topk > 5 ? s->topk : 5; /* top-5 accuracy needs five */
    const size_t predictions = keep < info->classes ? keep : info->classes;
    kh_prediction *top = kh_calloc(s->batch * predictions, sizeof *top);
    const kh_decode_options decode = {.exif_rotate = s->exif_rotate,
                                      .gray16_scale = s->gray16_scale,
                                      .warn = kh_session_warn,
                                      .warn_user = session};
    kh_image_batch batch;
    kh_status status = kh_image_batch_init(&batch, session, &decode, s->batch, false, err);
    if (!status && !top) status = kh_fail(err, KH_E_MEMORY, "no memory for predictions");
    for (size_t next = 0; !status && next < inputs->count;) {
        status = kh_image_batch_fill(&batch, inputs, &next, err);
        if (!status && batch.count)
            status = kh_lens_classify(session->ctx, session->model, batch.floats, batch.count,
                                      s->batch, predictions, NULL, top, err);
        status = kh_image_batch_blame(&batch, status, err);
        for (size_t i = 0; !status && i < batch.count; i++)
            report_image(t, s, session->model, batch.paths[i], batch.truths[i],
                         top + i * predictions, predictions);
        (void)kh_session_progress(session, "images", next, inputs->count);
    }
    if (!status && s->common.json) t->broken = kh_broken_images_json(batch.broken, batch.failed);
    if (!status)
        t->ended = kh_broken_images_say(session, batch.broken, batch.failed, inputs->count, err);
    kh_image_batch_clear(&batch);
    kh_free(top);
    return status;
}

static void print_accuracy(const tally *t) {
    if (t->labelled)
        printf("top-1 %.2f %%, top-5 %.2f %% of %zu labelled image%s\n",
               100.0 * (double)t->top1 / (double)t->labelled,
               100.0 * (double)t->top5 / (double)t->labelled, t->labelled, KH_S(t->labelled));
    else
        printf("no image has a true class\n");
}

static json_t *result_json(const tally *t, const kh_model *model) {
    json_t *root = json_pack("{s:o, s:O, s:O?}", "model", kh_model_receipt(model), "images",
                             t->images, "failed", t->broken);
    if (t->labelled)
        json_object_set_new(root, "accuracy",
                            json_pack("{s:I, s:f, s:f}", "labelled", (json_int_t)t->labelled,
                                      "top1", (double)t->top1 / (double)t->labelled, "top5",
                                      (double)t->top5 / (double)t->labelled));
    return root;
}

static kh_status open_inputs(kh_session *session, const settings *s, size_t count, char **operands,
                             kh_inputs *inputs, kh_error *err) {
    const kh_source_options how = {.classes = kh_model_classes(session->model),
                                   .label_file = s->label_file,
                                   .warn = kh_session_warn,
                                   .warn_user = session};
    KH_TRY(kh_inputs_collect(operands, count, wants_truth(s) ? &how : NULL, inputs, err));
    if (wants_truth(s))
        kh_warn_without_classes(session, inputs->source, "there is no accuracy to tell",
                                KH_GIVE_CLASSES);
    return KH_OK;
}

static int run(const void *from, size_t count, char **operands, kh_error *err) {
    const settings *s = from;
    if (s->topk == 0 || s->batch == 0 || s->batch > 4096) {
        (void)kh_fail(err, KH_E_ARG, "--topk and --batch start at 1; --batch ends at 4096");
        return KH_EXIT_MISUSED;
    }
    kh_session session = {0};
    kh_inputs inputs = {0};
    tally t = {.images = json_array()};
    kh_status status = kh_session_open(&session, &s->common, err);
    if (!status) status = kh_session_model(&session, operands[0], &s->model, err);
    if (!status) status = kh_require_classes(session.model, err);
    if (!status) status = open_inputs(&session, s, count - 1, operands + 1, &inputs, err);
    if (!status) status = classify_all(&session, s, &inputs, &t, err);
    if (!status && (t.is_short || (s->common.json && !t.broken)))
        status = kh_fail(err, KH_E_MEMORY, "no memory for the JSON output");
    if (!status && s->common.json) {
        if (!kh_print_json(result_json(&t, session.model), err)) status = KH_E_MEMORY;
    } else if (!status && !t.ended && wants_truth(s)) {
        print_accuracy(&t);
    }
    if (!status) status = t.ended;
    json_decref(t.images);
    json_decref(t.broken);
    kh_inputs_clear(&inputs);
    kh_session_close(&session);
    return status ? KH_EXIT_FAILED : KH_EXIT_DONE;
}

const kh_command kh_cmd_classify = {
    .name = "classify",
    .summary = "top classes of images; accuracy over a labelled set",
    .operands = "MODEL IMAGE...",
    .description =
        "IMAGE is a JPEG, PNG or WebP file, a folder of them, @FILE with one path a line,"
        " - for such a list on standard input, an archive (tar, zip), or demo:images. An image that"
        " cannot be read is named and skipped; when none can be read the exit status is 1.",
    .examples = "  keyhole classify MODEL photo.jpg\n"
                "  keyhole classify MODEL val/ --truth --json > val.json\n"
                "  keyhole classify demo demo:images --truth\n",
    .options = options,
    .settings_bytes = sizeof(settings),
    .defaults = defaults,
    .min_operands = 2,
    .max_operands = SIZE_MAX,
    .run = run,
};
