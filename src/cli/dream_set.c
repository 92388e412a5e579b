/* Every setting of a dream by its name: --set changes some of what a preset says, and a run writes
 * down what it was painted with. */
#include "cli/dream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { NUMBER, SIZE, SWITCH, CHOICE } kind;

typedef struct knob {
    const char *name;
    kind kind;
    size_t offset;
    const char *choices; /* of CHOICE, in the order of the enum */
} knob;

#define AT(field) offsetof(kh_dream_settings, field)

static const knob knobs[] = {
    {"paint", CHOICE, AT(paint), "fourier|pixel|standard|maco"},
    {"size", SIZE, AT(size), NULL},
    {"sd", NUMBER, AT(sd), NULL},
    {"uniform-start", SWITCH, AT(starts_uniform), NULL},
    {"decay", NUMBER, AT(decay), NULL},
    {"decorrelate", SWITCH, AT(decorrelates), NULL},
    {"squash", CHOICE, AT(squash), "sigmoid|none|lucid"},
    {"low", NUMBER, AT(low), NULL},
    {"high", NUMBER, AT(high), NULL},
    {"tie-phases", SWITCH, AT(ties_phases), NULL},
    {"chain", CHOICE, AT(chain), "reference|clean|crops|resize|roll"},
    {"pad", SIZE, AT(pad), NULL},
    {"jitter", SIZE, AT(jitter), NULL},
    {"second-jitter", SIZE, AT(second_jitter), NULL},
    {"scale", NUMBER, AT(max_scale), NULL},
    {"angle", SIZE, AT(max_angle), NULL},
    {"fractional-jitter", SWITCH, AT(jitter_is_fractional), NULL},
    {"roll", SIZE, AT(roll), NULL},
    {"crop-low", NUMBER, AT(crop_low), NULL},
    {"crop-high", NUMBER, AT(crop_high), NULL},
    {"crop-spread", NUMBER, AT(crop_spread), NULL},
    {"norm", CHOICE, AT(norm), "model|imagenet|none"},
    {"views", SIZE, AT(views), NULL},
    {"noise", NUMBER, AT(noise_normal), NULL},
    {"uniform-noise", NUMBER, AT(noise_uniform), NULL},
    {"noise-steps", NUMBER, AT(noise_decays_over), NULL},
    {"scalar-noise", SWITCH, AT(noise_is_scalar), NULL},
    {"colour-shift", NUMBER, AT(colour_shift), NULL},
    {"tv", NUMBER, AT(tv), NULL},
    {"tv-on-views", SWITCH, AT(tv_on_views), NULL},
    {"optimizer", CHOICE, AT(optimizer), "adam|nadam"},
    {"lr", NUMBER, AT(lr), NULL},
    {"beta1", NUMBER, AT(beta1), NULL},
    {"beta2", NUMBER, AT(beta2), NULL},
    {"eps", NUMBER, AT(eps), NULL},
    {"schedule", CHOICE, AT(schedule), "constant|cosine"},
};

enum { KNOBS = sizeof knobs / sizeof knobs[0] };

/* Choices are written and read as int whichever enum they are of. */
_Static_assert(sizeof(kh_dream_paint) == sizeof(int) && sizeof(kh_dream_norm) == sizeof(int),
               "enums are as wide as int");

static bool find_choice(const char *choices, const char *text, int *out) {
    const size_t length = strlen(text);
    *out = 0;
    for (const char *p = choices;; p++, ++*out) {
        const size_t size = strcspn(p, "|");
        if (size == length && memcmp(p, text, size) == 0) return true;
        p += size;
        if (!*p) return false;
    }
}

static kh_status refuse(const knob *k, const char *value, kh_error *err) {
    static const char *const wanted[] = {"a number", "a whole number", "0 or 1", ""};
    char shown[KH_SHOWN_BYTES];
    return kh_fail(err, KH_E_ARG, "--set %s=%s: expected %s%s", k->name,
                   kh_shown(value, strlen(value), shown, sizeof shown), wanted[k->kind],
                   k->kind == CHOICE ? k->choices : "");
}

static kh_status store(const knob *k, const char *value, kh_dream_settings *s, kh_error *err) {
    unsigned char *at = (unsigned char *)s + k->offset;
    double number;
    size_t whole;
    int choice;
    switch (k->kind) {
    case NUMBER:
        if (!kh_parse_double(value, &number)) return refuse(k, value, err);
        memcpy(at, &number, sizeof number);
        return KH_OK;
    case SIZE:
        if (!kh_parse_size(value, &whole)) return refuse(k, value, err);
        memcpy(at, &whole, sizeof whole);
        return KH_OK;
    case SWITCH: {
        if (!kh_parse_size(value, &whole) || whole > 1) return refuse(k, value, err);
        const bool is_on = whole == 1;
        memcpy(at, &is_on, sizeof is_on);
        return KH_OK;
    }
    case CHOICE:
        break;
    }
    if (!find_choice(k->choices, value, &choice)) return refuse(k, value, err);
    memcpy(at, &choice, sizeof choice);
    return KH_OK;
}

static kh_status no_such(const char *piece, kh_error *err) {
    char names[640] = "", shown[KH_SHOWN_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < KNOBS && used < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", i ? ", " : "",
                                 knobs[i].name);
    return kh_fail(err, KH_E_ARG, "--set '%s': NAME=VALUE with a name of %s",
                   kh_shown(piece, strlen(piece), shown, sizeof shown), names);
}

kh_status kh_dream_set(const char *list, kh_dream_settings *s, kh_error *err) {
    char piece[256];
    while (kh_dream_piece(&list, piece)) {
        const size_t length = strcspn(piece, "=");
        const knob *found = NULL;
        for (size_t i = 0; i < KNOBS; i++)
            if (strlen(knobs[i].name) == length && memcmp(knobs[i].name, piece, length) == 0)
                found = &knobs[i];
        if (!found || piece[length] != '=') return no_such(piece, err);
        KH_TRY(store(found, piece + length + 1, s, err));
    }
    return KH_OK;
}

/* As short as it can be read back exactly. */
static void put_number(double number, kh_text *out) {
    char text[32];
    (void)snprintf(text, sizeof text, "%.15g", number);
    if (strtod(text, NULL) != number) (void)snprintf(text, sizeof text, "%.17g", number);
    kh_text_add(out, text);
}

void kh_dream_set_text(const kh_dream_settings *s, kh_text *out) {
    for (size_t i = 0; i < KNOBS; i++) {
        const knob *k = &knobs[i];
        const unsigned char *at = (const unsigned char *)s + k->offset;
        double number;
        size_t whole;
        bool is_on;
        int choice;
        kh_text_addf(out, "%s%s=", i ? "," : "", k->name);
        switch (k->kind) {
        case NUMBER:
            memcpy(&number, at, sizeof number);
            put_number(number, out);
            break;
        case SIZE:
            memcpy(&whole, at, sizeof whole);
            kh_text_addf(out, "%zu", whole);
            break;
        case SWITCH:
            memcpy(&is_on, at, sizeof is_on);
            kh_text_add(out, is_on ? "1" : "0");
            break;
        case CHOICE: {
            memcpy(&choice, at, sizeof choice);
            const char *p = k->choices;
            for (int c = 0; c < choice; c++)
                p += strcspn(p, "|") + 1;
            kh_text_add_bytes(out, p, strcspn(p, "|"));
            break;
        }
        }
    }
}
