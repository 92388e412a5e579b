/* A dream on disk: parameters, moments, how far it is, and what it is of. Random streams depend on
 * the step alone, so there is nothing else to keep. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "dream/job.h"

enum { KINDS = 4 };
static const char *const kinds[KINDS] = {"theta", "m", "v", "alpha"};

/* FNV-1a of what a user may hand in: other numbers are another dream. */
static uint64_t fingerprint(const float *values, size_t count) {
    const unsigned char *bytes = (const unsigned char *)values;
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; values && i < count * sizeof *values; i++)
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001B3);
    return hash;
}

/* Everything that decides what the dream becomes, as text: two dreams with the same line and name
 * go the same way. */
static void describe(const kh_dream *d, kh_text *out) {
    const kh_dream_settings *s = &d->settings;
    const kh_dream_objective *o = &d->objective;
    kh_text_addf(out,
                 "seed %llu paint %d size %zu sd %a uniform %d decay %a colours %d %d squash %d",
                 (unsigned long long)s->seed, (int)s->paint, s->size, s->sd, s->starts_uniform,
                 s->decay, s->decorrelates, s->colour_as_rows, (int)s->squash);
    kh_text_addf(out, " range %a %a ties %d chain %d pad %zu jitter %zu %zu %d scale %a angle %zu",
                 s->low, s->high, s->ties_phases, (int)s->chain, s->pad, s->jitter,
                 s->second_jitter, s->jitter_is_fractional, s->max_scale, s->max_angle);
    kh_text_addf(out, " roll %zu crop %a %a %a norm %d views %zu noise %a %a %a %d shift %a",
                 s->roll, s->crop_low, s->crop_high, s->crop_spread, (int)s->norm, s->views,
                 s->noise_normal, s->noise_uniform, s->noise_decays_over, s->noise_is_scalar,
                 s->colour_shift);
    kh_text_addf(out, " tv %a %d optimizer %d %a %a %a %a schedule %d", s->tv, s->tv_on_views,
                 (int)s->optimizer, s->lr, s->beta1, s->beta2, s->eps, (int)s->schedule);
    if (s->schedule != KH_SCHEDULE_CONSTANT) kh_text_addf(out, " over %zu", s->steps);
    kh_text_addf(out, " gate %d %zu tokens %d %zu images %zu %d diversity %d %a %d photo %d %a",
                 (int)o->gate, o->warm_steps, (int)o->tokens, o->cell, d->images, o->interpolates,
                 (int)o->diversity, o->lambda, o->lambda_is_relative, d->is_photo, o->penalty);
    for (size_t i = 0; i < o->term_count; i++)
        kh_text_addf(out, " term %d %zu %zu %a %a %a", (int)d->terms[i].goal, d->terms[i].block,
                     d->terms[i].index, d->terms[i].weight, d->terms[i].last_weight,
                     d->terms[i].power);
    const size_t pixels = 3 * d->canvas.size * d->canvas.size;
    if (d->start) kh_text_addf(out, " from %016" PRIx64, fingerprint(d->start, pixels));
    if (d->canvas.magnitude)
        kh_text_addf(out, " magnitudes %016" PRIx64,
                     fingerprint(d->canvas.magnitude, 3 * d->canvas.count));
    for (size_t i = 0; i < o->term_count; i++)
        if (d->directions[i])
            kh_text_addf(out, " along %016" PRIx64, fingerprint(d->directions[i], d->dim));
}

static float *piece(const kh_dream *d, size_t image, size_t kind) {
    const kh_dream_image *p = &d->image[image];
    float *const all[KINDS] = {p->theta, p->m, p->v, p->alpha};
    return all[kind];
}

static size_t piece_count(const kh_dream *d, size_t kind) {
    return kind == 3 ? d->canvas.size * d->canvas.size : 3 * d->canvas.count;
}

static void piece_name(size_t image, size_t kind, char out[32]) {
    (void)snprintf(out, 32, "%s.%03zu", kinds[kind], image);
}

kh_status kh_dream_save(const kh_dream *d, const char *path, kh_error *err) {
    const size_t room = d->images * KINDS;
    kh_tensor_out *tensors = kh_calloc(room, sizeof *tensors);
    char(*names)[32] = kh_calloc(room, sizeof *names);
    kh_text what = {0};
    describe(d, &what);
    kh_status status = KH_OK;
    if (!tensors || !names || what.failed)
        status = kh_fail(err, KH_E_MEMORY, "out of memory for a dream's state");
    size_t count = 0;
    for (size_t i = 0; !status && i < d->images; i++)
        for (size_t k = 0; k < KINDS; k++) {
            if (!piece(d, i, k)) continue;
            piece_name(i, k, names[count]);
            tensors[count] = (kh_tensor_out){.name = names[count],
                                             .rank = 1,
                                             .shape = {piece_count(d, k)},
                                             .data = piece(d, i, k)};
            count++;
        }
    char step[32];
    (void)snprintf(step, sizeof step, "%zu", d->steps_done);
    const char *const keys[] = {"dream", "of", "step"};
    const char *const values[] = {d->name, what.data, step};
    if (!status) status = kh_tensors_write(path, tensors, count, keys, values, 3, err);
    kh_text_clear(&what);
    kh_free(names);
    kh_free(tensors);
    return status;
}

static kh_status check_file(const kh_dream *d, const kh_tensors *file, const char *path,
                            size_t *step, kh_error *err) {
    const char *name = kh_tensors_metadata(file, "dream"), *of = kh_tensors_metadata(file, "of");
    const char *at = kh_tensors_metadata(file, "step");
    if (!name || !of || !at || !kh_parse_size(at, step))
        return kh_fail(err, KH_E_FORMAT, "%s holds no dream", path);
    kh_text what = {0};
    describe(d, &what);
    const bool same = !what.failed && strcmp(name, d->name) == 0 && strcmp(of, what.data) == 0;
    kh_text_clear(&what);
    if (same) return KH_OK;
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG,
                   "%s is of dream '%s' with other settings or another objective; give another "
                   "folder, or remove it to begin anew",
                   path, kh_shown(name, strlen(name), shown, sizeof shown));
}

kh_status kh_dream_load(kh_dream *d, const char *path, kh_error *err) {
    kh_tensors *file = NULL;
    size_t step = 0;
    KH_TRY(kh_tensors_open(path, NULL, &file, err));
    kh_status status = check_file(d, file, path, &step, err);
    /* everything is read before anything is changed */
    float *all = NULL;
    size_t total = 0, at = 0;
    for (size_t i = 0; i < d->images; i++)
        for (size_t k = 0; k < KINDS; k++)
            total += piece(d, i, k) ? piece_count(d, k) : 0;
    if (!status) {
        all = kh_alloc_floats(total);
        if (!all) status = kh_fail(err, KH_E_MEMORY, "out of memory for a dream's state");
    }
    for (size_t n = 0; !status && n < d->images * KINDS; n++) {
        char name[32];
        piece_name(n / KINDS, n % KINDS, name);
        if (!piece(d, n / KINDS, n % KINDS)) continue;
        status = kh_tensors_read(file, name, false, all + at, piece_count(d, n % KINDS), err);
        at += piece_count(d, n % KINDS);
    }
    at = 0;
    for (size_t n = 0; !status && n < d->images * KINDS; n++) {
        float *to = piece(d, n / KINDS, n % KINDS);
        if (!to) continue;
        memcpy(to, all + at, piece_count(d, n % KINDS) * sizeof *to);
        at += piece_count(d, n % KINDS);
    }
    if (!status) d->steps_done = step;
    kh_free(all);
    kh_tensors_close(file);
    return status;
}
