#include "lens/class_images.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

/* ---- names --------------------------------------------------------------------------------- */

static const char *const by_names[] = {
    [KH_BY_TRUTH] = "truth", [KH_BY_PREDICTED] = "predicted", [KH_BY_CORRECT] = "correct"};
static const char *const reduction_names[] = {[KH_REDUCE_MEAN] = "mean",
                                              [KH_REDUCE_CLS] = "cls",
                                              [KH_REDUCE_MAX] = "max",
                                              [KH_REDUCE_ALL] = "all"};
enum {
    BY_COUNT = sizeof by_names / sizeof *by_names,
    REDUCTION_COUNT = sizeof reduction_names / sizeof *reduction_names
};

const char *kh_class_by_name(kh_class_by by) {
    return (size_t)by < BY_COUNT ? by_names[by] : "?";
}

const char *kh_class_reduction_name(kh_class_reduction reduction) {
    return (size_t)reduction < REDUCTION_COUNT ? reduction_names[reduction] : "?";
}

static size_t place_of(const char *name, const char *const *names, size_t count) {
    size_t place = 0;
    while (place < count && strcmp(names[place], name) != 0)
        place++;
    return place;
}

kh_status kh_class_by_parse(const char *name, kh_class_by *out, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    const size_t place = place_of(name, by_names, BY_COUNT);
    if (place == BY_COUNT)
        return kh_fail(err, KH_E_ARG,
                       "images of a class by '%s': there are truth, predicted and correct",
                       kh_shown(name, strlen(name), shown, sizeof shown));
    *out = (kh_class_by)place;
    return KH_OK;
}

kh_status kh_class_reduction_parse(const char *name, kh_class_reduction *out, kh_error *err) {
    char shown[KH_SHOWN_BYTES];
    const size_t place = place_of(name, reduction_names, REDUCTION_COUNT);
    if (place == REDUCTION_COUNT)
        return kh_fail(err, KH_E_ARG, "class reduction '%s': there are mean, cls, max and all",
                       kh_shown(name, strlen(name), shown, sizeof shown));
    *out = (kh_class_reduction)place;
    return KH_OK;
}

/* ---- images -------------------------------------------------------------------------------- */

size_t kh_class_of(const kh_lens_setup *setup, const kh_lens_batch *batch, size_t image) {
    const size_t truth = batch->truth[image], predicted = batch->predicted[image];
    const size_t of = setup->class_by == KH_BY_PREDICTED ? predicted : truth;
    const bool counts = setup->class_by != KH_BY_CORRECT || truth == predicted;
    return counts && of < setup->info->classes ? of : KH_NO_CLASS;
}

size_t kh_classes_counted(const kh_lens_setup *setup) {
    const size_t classes = setup->info->classes;
    if (setup->class_by != KH_BY_PREDICTED) return setup->classes_seen;
    return classes < setup->images ? classes : setup->images;
}

/* ---- tokens -------------------------------------------------------------------------------- */

const char *kh_class_reduction_refuses(kh_class_reduction reduction, const kh_model_info *info) {
    if (reduction != KH_REDUCE_CLS || info->has_class_token) return NULL;
    return "the model has no class token";
}

size_t kh_class_room(const kh_lens_setup *setup) {
    return setup->class_reduction == KH_REDUCE_ALL ? setup->units : 0;
}

/* The mean over patches is among the features; the few tokens before them join it. */
static const float *over_all(const kh_lens_setup *setup, const kh_lens_batch *batch, size_t image,
                             size_t block, float *out) {
    const kh_model_info *info = setup->info;
    const size_t neurons = info->neurons;
    const float *rows = batch->site[KH_SITE_POST][block] + image * info->tokens * neurons;
    const float *mean = batch->features->mean + image * setup->units + block * neurons;
    for (size_t n = 0; n < neurons; n++) {
        double sum = (double)mean[n] * (double)setup->patches;
        for (size_t t = 0; t < info->prefix_tokens; t++)
            sum += (double)rows[t * neurons + n];
        out[n] = (float)(sum / (double)info->tokens);
    }
    return out;
}

const float *kh_class_reduced(const kh_lens_setup *setup, const kh_lens_batch *batch, size_t image,
                              size_t block, float *room) {
    const kh_features *f = batch->features;
    const size_t at = block * setup->info->neurons, first = image * setup->units + at;
    switch (setup->class_reduction) {
    case KH_REDUCE_CLS:
        return f->cls + first;
    case KH_REDUCE_MAX:
        return f->max + first;
    case KH_REDUCE_ALL:
        return over_all(setup, batch, image, block, room + at);
    case KH_REDUCE_MEAN:
        break;
    }
    return f->mean + first;
}

void kh_class_mean_text(const kh_lens_setup *setup, char *out, size_t room) {
    static const char *const what[] = {
        [KH_REDUCE_MEAN] = "mean coefficient over patches and",
        [KH_REDUCE_CLS] = "coefficient at the class token, mean over",
        [KH_REDUCE_MAX] = "largest coefficient of the patches, mean over",
        [KH_REDUCE_ALL] = "mean coefficient over all tokens and"};
    static const char *const of[] = {[KH_BY_TRUTH] = "images of a class",
                                     [KH_BY_PREDICTED] = "images called a class",
                                     [KH_BY_CORRECT] = "images of a class that are called so"};
    (void)snprintf(out, room, "%s %s, by block and neuron", what[setup->class_reduction],
                   of[setup->class_by]);
}
