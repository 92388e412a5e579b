/* What users hand in: directions of the stream, a photo to accentuate, images MaCo learns from. */
#include "cli/dream.h"
#include "cli/images.h"
#include "cli/outdir.h"

#include "base/alloc.h"
#include "base/checked.h"

#include <stdio.h>
#include <string.h>

/* ---- directions --------------------------------------------------------------------------------
 */

/* The final norm's gain [dim], 1 without one. */
static kh_status read_gain(const kh_model *model, size_t dim, float *gain, kh_error *err) {
    static const char *const names[] = {"norm.weight", "fc_norm.weight"};
    for (size_t i = 0; i < dim; i++)
        gain[i] = 1;
    for (size_t n = 0; n < 2; n++) {
        size_t rank, shape[8];
        if (kh_model_tensor_shape(model, names[n], &rank, shape) && rank == 1 && shape[0] == dim)
            return kh_model_tensor_read(model, names[n], gain, dim, err);
    }
    return KH_OK;
}

/* d = g * E_c without its mean: <d, h> is the fold alignment of h with class c. */
static kh_status class_direction(const kh_dream_run *run, const char *name, float *out,
                                 size_t *target, kh_error *err) {
    const kh_model *model = run->session->model;
    const kh_model_info *info = kh_model_get_info(model);
    size_t rank, shape[8];
    KH_TRY(kh_require_classes(model, err));
    KH_TRY(kh_dream_class(run, name, target, err));
    if (!kh_model_tensor_shape(model, "head.weight", &rank, shape) || rank != 2 ||
        shape[0] != info->classes || shape[1] != info->dim)
        return kh_fail(err, KH_E_UNSUPPORTED,
                       "this model's classes are no directions of its stream");
    const size_t dim = info->dim, all = info->classes * dim;
    float *head = kh_alloc_floats(all), *gain = kh_alloc_floats(dim);
    kh_status status = head && gain ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a class");
    if (!status) status = kh_model_tensor_read(model, "head.weight", head, all, err);
    if (!status) status = read_gain(model, dim, gain, err);
    double mean = 0;
    for (size_t i = 0; !status && i < dim; i++) {
        out[i] = gain[i] * head[*target * dim + i];
        mean += (double)out[i] / (double)dim;
    }
    for (size_t i = 0; !status && i < dim; i++)
        out[i] -= (float)mean;
    kh_free(head);
    kh_free(gain);
    return status;
}

static kh_status value_direction(const kh_dream_run *run, const char *name, float *out,
                                 kh_error *err) {
    const kh_model_info *info = kh_model_get_info(run->session->model);
    const kh_align_options how = kh_align_options_default();
    kh_neuron n;
    KH_TRY(kh_neuron_parse(name, &n, err));
    if (n.block >= info->blocks || n.index >= info->neurons)
        return kh_fail(err, KH_E_ARG, "value:%.40s: the model has %zu blocks of %zu neurons", name,
                       info->blocks, info->neurons);
    const size_t count = info->neurons * info->dim;
    float *all = kh_alloc_floats(count);
    if (!all) return kh_fail(err, KH_E_MEMORY, "no memory for value vectors");
    const kh_status status =
        kh_lens_value_vectors(run->session->model, &how, n.block, all, count, err);
    if (!status) memcpy(out, all + n.index * info->dim, info->dim * sizeof *out);
    kh_free(all);
    return status;
}

static kh_status file_direction(const kh_dream_run *run, const char *path, float *out,
                                kh_error *err) {
    const size_t dim = kh_model_get_info(run->session->model)->dim;
    size_t rank, shape[8], count = 1;
    char shown[KH_SHOWN_BYTES];
    KH_TRY(kh_store_npy_shape(path, shape, &rank, err));
    for (size_t i = 0; i < rank; i++)
        if (!kh_mul(count, shape[i], &count)) count = SIZE_MAX;
    if (count != dim)
        return kh_fail(err, KH_E_SHAPE, "'%s' holds %zu numbers, a direction has %zu",
                       kh_shown(path, strlen(path), shown, sizeof shown), count, dim);
    return kh_store_npy_floats(path, 0, dim, out, err);
}

/* "class:NAME", "value:b10n1198" or a file. */
static kh_status read_direction(const kh_dream_run *run, const char *spec, float *out,
                                size_t *target, kh_error *err) {
    *target = SIZE_MAX;
    if (kh_starts_with(spec, "class:")) return class_direction(run, spec + 6, out, target, err);
    if (kh_starts_with(spec, "value:")) return value_direction(run, spec + 6, out, err);
    if (kh_ends_with(spec, ".npy")) return file_direction(run, spec, out, err);
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG, "'%s' is no direction: class:NAME, value:b10n1198 or FILE.npy",
                   kh_shown(spec, strlen(spec), shown, sizeof shown));
}

static kh_status add_direction(kh_dream_run *run, const char *spec, size_t block, kh_error *err) {
    const kh_dream_options *o = run->options;
    const size_t dim = kh_model_get_info(run->session->model)->dim;
    char what[64], stem[24];
    float *away = NULL;
    size_t unused;
    kh_dream_item *item = kh_dream_item_add(run, err);
    if (!item) return KH_E_MEMORY;
    item->direction = kh_alloc_floats(dim);
    if (!item->direction) return kh_fail(err, KH_E_MEMORY, "no memory for a direction");
    KH_TRY(read_direction(run, spec, item->direction, &item->target, err));
    if (o->minus) {
        away = kh_alloc_floats(dim);
        kh_status status = away ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a direction");
        if (!status) status = read_direction(run, o->minus, away, &unused, err);
        for (size_t i = 0; !status && i < dim; i++)
            item->direction[i] -= away[i];
        kh_free(away);
        KH_TRY(status);
    }
    double square = 0;
    for (size_t i = 0; i < dim; i++)
        square += (double)item->direction[i] * (double)item->direction[i];
    if (!(square > 0)) return kh_fail(err, KH_E_ARG, "'%.60s' is a direction of length 0", spec);
    item->terms[item->term_count++] = (kh_dream_term){.goal = KH_GOAL_DIRECTION,
                                                      .block = block,
                                                      .index = item->order,
                                                      .weight = o->is_negative ? -1 : 1,
                                                      .direction = item->direction,
                                                      .power = o->power};
    kh_outdir_stem(kh_starts_with(spec, "class:") ? "" : spec, stem, sizeof stem);
    (void)snprintf(what, sizeof what, "%s%sdirection_b%zu", stem, stem[0] ? "_" : "", block);
    kh_dream_item_name(run, item, what);
    return KH_OK;
}

kh_status kh_dream_run_directions(kh_dream_run *run, kh_error *err) {
    const kh_dream_options *o = run->options;
    const size_t blocks = kh_model_get_info(run->session->model)->blocks;
    const size_t block = o->block == SIZE_MAX ? blocks - 1 : o->block;
    const char *rest = o->directions;
    char piece[256];
    if (block >= blocks)
        return kh_fail(err, KH_E_ARG, "--block %zu: the model has %zu, counted from 0", block,
                       blocks);
    if (!(o->power > 0)) return kh_fail(err, KH_E_ARG, "--power %g: more than 0", o->power);
    while (kh_dream_piece(&rest, piece))
        KH_TRY(add_direction(run, piece, block, err));
    return KH_OK;
}

/* ---- a photo -----------------------------------------------------------------------------------
 */

/* Square, in [0, 1]: the middle of the photo, at the dream's size. */
static kh_status read_photo(kh_dream_run *run, size_t side, kh_error *err) {
    kh_image photo = {0}, fitted = {0};
    kh_preprocess how = kh_preprocess_default();
    how.height = how.width = side;
    how.crop_pct = 1;
    KH_TRY(kh_image_read(run->options->photo, NULL, NULL, &photo, err));
    kh_status status = kh_preprocess_bytes(&how, &photo, &fitted, err);
    kh_image_clear(&photo);
    run->photo = status ? NULL : kh_alloc_floats(3 * side * side);
    if (!status && !run->photo) status = kh_fail(err, KH_E_MEMORY, "no memory for a photo");
    for (size_t i = 0; !status && i < 3 * side * side; i++)
        run->photo[i] = (float)fitted.rgb[3 * (i % (side * side)) + i / (side * side)] / 255.0f;
    kh_image_clear(&fitted);
    run->objective.photo = run->photo;
    return status;
}

/* ---- images that cannot be read
 * ----------------------------------------------------------------- */

kh_status kh_dream_run_failed(kh_dream_run *run, const char *option, const kh_broken_image *broken,
                              size_t count, size_t total, kh_error *err) {
    json_t *list = kh_broken_images_json(broken, count);
    const kh_status status = kh_broken_images_say(run->session, broken, count, total, err);
    if (!run->failed) run->failed = json_array();
    const bool is_kept = run->failed && list && json_array_extend(run->failed, list) == 0;
    json_decref(list);
    if (status) return kh_error_context(err, status, "%s", option);
    return is_kept ? KH_OK : kh_fail(err, KH_E_MEMORY, "no memory for a list of images");
}

/* ---- magnitudes --------------------------------------------------------------------------------
 */

/* MaCo's magnitudes from a folder of the user's own images. */
static kh_status read_magnitudes(kh_dream_run *run, size_t side, kh_error *err) {
    kh_inputs inputs = {0};
    char *folder = kh_strdup(run->options->magnitudes);
    if (!folder) return kh_fail(err, KH_E_MEMORY, "no memory for a list of images");
    kh_status status = kh_inputs_collect(&folder, 1, NULL, &inputs, err);
    const size_t count = inputs.count, floats = 3 * side * (side / 2 + 1);
    float *sum = NULL, *one = NULL;
    if (!status) {
        sum = kh_calloc(floats, sizeof *sum);
        one = kh_alloc_floats(floats);
        if (!sum || !one) status = kh_fail(err, KH_E_MEMORY, "no memory for magnitudes");
    }
    kh_broken_image *broken = NULL;
    size_t broken_count = 0;
    for (size_t i = 0; !status && i < count; i++) {
        kh_image image = {0};
        kh_error why = {KH_OK, ""};
        const kh_status read = kh_source_read_image(inputs.source, i, NULL, &image, &why);
        if (read == KH_E_MEMORY)
            status = kh_fail(err, read, "%s", why.text);
        else if (read)
            status = kh_broken_images_add(&broken, &broken_count,
                                          kh_source_get(inputs.source, i).name, why.text, err);
        else
            status = kh_dream_magnitude(&image, 1, side, one, floats, err);
        for (size_t k = 0; !read && !status && k < floats; k++)
            sum[k] += one[k] / (float)count;
        kh_image_clear(&image);
    }
    if (!status)
        status = kh_dream_run_failed(run, "--magnitudes", broken, broken_count, count, err);
    for (size_t k = 0; !status && broken_count && k < floats; k++)
        sum[k] *= (float)count / (float)(count - broken_count);
    kh_broken_images_clear(broken, broken_count);
    kh_free(one);
    kh_inputs_clear(&inputs);
    kh_free(folder);
    run->magnitude = sum;
    run->objective.magnitude = sum;
    return status;
}

/* What is looked at only behind the painting is there beforehand. */
static kh_status check_natural(const kh_dream_run *run, kh_error *err) {
    kh_inputs inputs = {0};
    char *folder = kh_strdup(run->options->natural);
    if (!folder) return kh_fail(err, KH_E_MEMORY, "no memory for a list of images");
    const kh_status status = kh_inputs_collect(&folder, 1, NULL, &inputs, err);
    kh_inputs_clear(&inputs);
    kh_free(folder);
    return status ? kh_error_context(err, status, "--natural") : KH_OK;
}

kh_status kh_dream_run_given(kh_dream_run *run, kh_error *err) {
    const size_t side = run->settings.size;
    if (run->options->natural) KH_TRY(check_natural(run, err));
    if (run->options->photo) {
        if (run->settings.paint != KH_PAINT_FOURIER)
            return kh_fail(err, KH_E_UNSUPPORTED, "--photo goes with Fourier painting only");
        KH_TRY(read_photo(run, side, err));
    }
    if (run->options->magnitudes) KH_TRY(read_magnitudes(run, side, err));
    return KH_OK;
}
