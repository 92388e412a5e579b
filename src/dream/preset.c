/* Named settings. "default" is what we hold to be right; the others reproduce what was run, with
 * everything that was odd about it (docs/dream.md). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "dream/job.h"

static kh_dream_settings lucent(void) {
    return (kh_dream_settings){.steps = 250,
                               .paint = KH_PAINT_FOURIER,
                               .size = 128,
                               .sd = 0.01,
                               .decay = 1,
                               .decorrelates = true,
                               .squash = KH_SQUASH_SIGMOID,
                               .low = 0,
                               .high = 1,
                               .chain = KH_CHAIN_REFERENCE,
                               .pad = 12,
                               .jitter = 8,
                               .second_jitter = 4,
                               .max_scale = 0.1,
                               .max_angle = 10,
                               .crop_low = 1,
                               .crop_high = 1,
                               .norm = KH_NORM_IMAGENET,
                               .views = 1,
                               .optimizer = KH_OPTIMIZER_ADAM,
                               .lr = 0.05,
                               .beta1 = 0.9,
                               .beta2 = 0.999,
                               .eps = 1e-8};
}

static kh_dream_settings clean(void) {
    kh_dream_settings s = lucent();
    s.size = 0;
    s.chain = KH_CHAIN_CLEAN;
    s.norm = KH_NORM_MODEL;
    return s;
}

/* Until the class is recognised, as soon as possible: large steps that fade. Rougher pictures. */
static kh_dream_settings quick(void) {
    kh_dream_settings s = clean();
    s.steps = 25;
    s.lr = 0.3;
    s.schedule = KH_SCHEDULE_COSINE;
    return s;
}

static kh_dream_settings quant(void) {
    kh_dream_settings s = lucent();
    s.steps = 750;
    return s;
}

static kh_dream_settings qual(void) {
    kh_dream_settings s = lucent();
    s.steps = 500;
    return s;
}

static kh_dream_settings wide(void) {
    kh_dream_settings s = lucent();
    s.size = 384;
    s.steps = 1000;
    return s;
}

static kh_dream_settings thesis(void) {
    kh_dream_settings s = lucent();
    s.size = 224;
    s.steps = 500;
    return s;
}

/* What the cluster ran: pixels to +-2.5 without normalisation, crops of 0.25 to 0.30. */
static kh_dream_settings thesis_maco(void) {
    kh_dream_settings s = lucent();
    s.steps = 1000;
    s.paint = KH_PAINT_MACO;
    s.size = 1280;
    s.sd = 1;
    s.low = -2.5;
    s.high = 2.5;
    s.chain = KH_CHAIN_CROPS;
    s.pad = s.jitter = s.second_jitter = 0;
    s.crop_low = 0.25;
    s.crop_high = 0.30;
    s.crop_spread = 0.15;
    s.norm = KH_NORM_NONE;
    s.views = 6;
    s.noise_normal = 0.05;
    s.noise_uniform = 0.05;
    s.optimizer = KH_OPTIMIZER_NADAM;
    s.lr = 1;
    return s;
}

/* The same with what the paper says: values in the model's range, documented crops, true phases. */
static kh_dream_settings maco(void) {
    kh_dream_settings s = thesis_maco();
    s.size = 0;
    s.low = 0;
    s.high = 1;
    s.crop_low = 0.20;
    s.crop_high = 0.25;
    s.norm = KH_NORM_MODEL;
    s.noise_normal = s.noise_uniform = 0.025;
    s.ties_phases = true;
    return s;
}

static kh_dream_settings standard_fourier(void) {
    kh_dream_settings s = maco();
    s.paint = KH_PAINT_STANDARD;
    s.decay = 1.5;
    s.ties_phases = false;
    return s;
}

/* Hatamizadeh et al. style: pixels, TV on eight augmented copies, cosine decay. */
static kh_dream_settings pixel_tv(void) {
    kh_dream_settings s = lucent();
    s.steps = 400;
    s.paint = KH_PAINT_PIXEL;
    s.size = 0;
    s.starts_uniform = true;
    s.decorrelates = false;
    s.squash = KH_SQUASH_NONE;
    s.chain = KH_CHAIN_ROLL;
    s.pad = s.jitter = s.second_jitter = 0;
    s.roll = 16;
    s.norm = KH_NORM_MODEL;
    s.views = 8;
    s.noise_normal = 0.2;
    s.noise_decays_over = 400;
    s.tv = 0.0005;
    s.tv_on_views = true;
    s.lr = 0.1;
    s.beta1 = 0.5;
    s.beta2 = 0.99;
    s.schedule = KH_SCHEDULE_COSINE;
    return s;
}

/* The repository of that work as it ran: scalar "noise", wide colour shifts, rolls of 32. */
static kh_dream_settings vitvis(void) {
    kh_dream_settings s = pixel_tv();
    s.roll = 32;
    s.noise_normal = 0.5;
    s.noise_is_scalar = true;
    s.noise_decays_over = 398;
    s.colour_shift = 1;
    s.tv = 0.0005 * 8; /* the loss there is divided by 8 once too often */
    return s;
}

static const struct {
    const char *name;
    kh_dream_settings (*make)(void);
    kh_dream_usage usage; /* KH_TOKENS_CLASS: where there is one, else all */
} presets[] = {
    {"default", clean, {.tokens = KH_TOKENS_CLASS}},
    {"quick", quick, {.tokens = KH_TOKENS_CLASS}},
    {"report-quant", quant, {.snapshots = {250, 500, 750}}},
    {"report-qual", qual, {.snapshots = {167, 334, 500}}},
    {"report-fail", wide, {.gate = KH_GATE_POST, .snapshots = {250, 500, 750, 1000}}},
    {"cluster384", wide, {.snapshots = {250, 500, 750, 1000}}},
    {"thesis224", thesis, {.snapshots = {500}}},
    {"thesis-maco", thesis_maco, {.snapshots = {1000}}},
    {"maco", maco, {.tokens = KH_TOKENS_CLASS}},
    {"standard-fourier", standard_fourier, {.tokens = KH_TOKENS_CLASS}},
    {"pixel-tv", pixel_tv, {.tokens = KH_TOKENS_CLASS}},
    {"vitvis", vitvis, {.gate = KH_GATE_POST, .tokens = KH_TOKENS_PATCHES}},
};

enum { PRESETS = sizeof presets / sizeof presets[0] };

const char *kh_dream_preset_name(size_t index) {
    return index < PRESETS ? presets[index].name : NULL;
}

static kh_status find(const char *name, size_t *which, kh_error *err) {
    for (*which = 0; *which < PRESETS; ++*which)
        if (strcmp(name, presets[*which].name) == 0) return KH_OK;
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < PRESETS && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s",
                                 i == 0             ? ""
                                 : i == PRESETS - 1 ? " and "
                                                    : ", ",
                                 presets[i].name);
    return kh_fail(err, KH_E_NOT_FOUND, "no dream preset '%.40s'; there are %s", name, names);
}

kh_status kh_dream_preset(const char *name, kh_dream_settings *out, kh_error *err) {
    size_t which;
    KH_TRY(find(name, &which, err));
    *out = presets[which].make();
    memcpy(out->preset, presets[which].name, strlen(presets[which].name) + 1);
    return KH_OK;
}

kh_status kh_dream_preset_usage(const char *name, const kh_model_info *info, kh_dream_usage *out,
                                kh_error *err) {
    size_t which;
    KH_TRY(find(name, &which, err));
    *out = presets[which].usage;
    if (out->tokens == KH_TOKENS_CLASS && !info->has_class_token) out->tokens = KH_TOKENS_ALL;
    if (info->is_gated) out->gate = KH_GATE_PRE; /* the only one such a model has */
    return KH_OK;
}

static size_t times(size_t pixels, double by) {
    return (size_t)floor((double)pixels * by + 0.5);
}

/* 4/7 of the model's side, as 128 is of 224, for the chains that zoom in; padding and jitters
 * follow. Crops are a fifth of the image and want it large. */
void kh_dream_fit(kh_dream_settings *s, const kh_model_info *info) {
    if (s->size != 0) return;
    const size_t side = info->image_height;
    if (s->chain == KH_CHAIN_CLEAN || s->chain == KH_CHAIN_REFERENCE) {
        s->size = side * 4 / 7 / 2 * 2;
        if (s->size < 2) s->size = 2;
        const double by = (double)s->size / 128;
        s->pad = times(s->pad, by);
        s->jitter = times(s->jitter, by);
        s->second_jitter = times(s->second_jitter, by);
    } else {
        s->size = s->chain == KH_CHAIN_CROPS ? 4 * side : side;
    }
}
