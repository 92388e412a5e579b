/* keyhole/dream.h: images shaped until a neuron answers.
 *
 * A `kh_dream` is one job: one or more images painted towards one objective, with their optimiser's
 * memory and their own random streams. A `kh_dreamer` steps any dreams of one model together in one
 * batch. A dream's bytes depend on its settings, objective, name and seed alone: not on the dreams
 * stepped beside it, on the number of threads, or on being saved and loaded in between.
 *
 * Losses are minimised, so "more activation" is a smaller loss. Formulas: docs/dream.md. */
#ifndef KEYHOLE_DREAM_H
#define KEYHOLE_DREAM_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/io.h"
#include "keyhole/vit.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- how an image is written down ------------------------------------------------------------ */

typedef enum kh_dream_paint {
    KH_PAINT_FOURIER,  /* scaled Fourier coefficients (Lucent's fft=True) */
    KH_PAINT_PIXEL,    /* one parameter per pixel and channel */
    KH_PAINT_STANDARD, /* Fourier coefficients and image standardised at every step (Horama) */
    KH_PAINT_MACO      /* fixed magnitudes, only phases are free (MaCo) */
} kh_dream_paint;

typedef enum kh_dream_squash {
    KH_SQUASH_SIGMOID, /* low + (high - low) * sigmoid(u) */
    KH_SQUASH_NONE,    /* the value itself, clamped to [low, high] after every step */
    KH_SQUASH_LUCID    /* u + colour means, pressed into the unit ball of the largest value */
} kh_dream_squash;

typedef enum kh_dream_chain {
    KH_CHAIN_REFERENCE, /* Lucent's: pad, jitter, scale, rotate, jitter, resize; black fills */
    KH_CHAIN_CLEAN,     /* the same, grey fills, enlargements cropped, jitter to all sides */
    KH_CHAIN_CROPS,     /* a random square of the image, enlarged or shrunk (MaCo) */
    KH_CHAIN_RESIZE,    /* only to the model's size */
    KH_CHAIN_ROLL       /* circular shift, then to the model's size */
} kh_dream_chain;

typedef enum kh_dream_norm {
    KH_NORM_MODEL,    /* (I - mean) / std as the checkpoint wants it */
    KH_NORM_IMAGENET, /* torchvision's constants whatever the model, as the reference did */
    KH_NORM_NONE      /* the painted values go in as they are (MaCo) */
} kh_dream_norm;

typedef enum kh_dream_optimizer { KH_OPTIMIZER_ADAM, KH_OPTIMIZER_NADAM } kh_dream_optimizer;

typedef enum kh_dream_schedule { KH_SCHEDULE_CONSTANT, KH_SCHEDULE_COSINE } kh_dream_schedule;

/* Everything about a dream but what it is after. Start from kh_dream_preset. */
typedef struct kh_dream_settings {
    char preset[24];
    uint64_t seed;
    size_t steps; /* the preset's length; also where a cosine schedule ends */

    kh_dream_paint paint;
    size_t size;         /* side of the square image in pixels; 0: the model's input side */
    double sd;           /* of the first parameters */
    bool starts_uniform; /* first parameters U(0, 1) instead of N(0, sd^2) */
    double decay;        /* power of the Fourier scale, 1 / max(f, 1/n)^decay */
    bool decorrelates;   /* colour matrix */
    bool colour_as_rows; /* the matrix transposed: a trap, for comparison only */
    kh_dream_squash squash;
    double low, high; /* range of the image */
    bool ties_phases; /* MaCo: conjugate phases where the spectrum holds a frequency twice */

    kh_dream_chain chain;
    size_t pad, jitter, second_jitter; /* pixels */
    double max_scale;                  /* 0.1: eleven scales from 0.90 to 1.10 */
    size_t max_angle;                  /* 10: whole degrees from -10 to 10 and five more zeros */
    bool jitter_is_fractional;         /* the reference's x - dx W/(W-1) instead of x - dx */
    size_t roll;                       /* pixels of the model's input */
    double crop_low, crop_high;        /* side of a crop as a share of the image */
    double crop_spread;                /* sd of a crop's centre */
    kh_dream_norm norm;
    size_t views;                       /* augmented copies (or crops) per step; 1 when 0 */
    double noise_normal, noise_uniform; /* per pixel of a view; uniform is +- half of it */
    double noise_decays_over;           /* steps until noise_normal is 0; 0: never */
    bool noise_is_scalar;               /* one draw per copy and channel (a trap of VITVIS) */
    double colour_shift;                /* (x - m) / exp(s), m and s from U(-this, this) */

    double tv;        /* weight of total variation */
    bool tv_on_views; /* on what the model sees instead of the image */

    kh_dream_optimizer optimizer;
    double lr, beta1, beta2, eps;
    kh_dream_schedule schedule;
} kh_dream_settings;

/* "default", "quick", "report-quant", "report-qual", "report-fail", "cluster384", "thesis224",
 * "thesis-maco", "maco", "standard-fourier", "pixel-tv", "vitvis"; docs/dream.md says what each is.
 * Names end with NULL. Errors: KH_E_NOT_FOUND. */
KH_API const char *kh_dream_preset_name(size_t index);
KH_API kh_status kh_dream_preset(const char *name, kh_dream_settings *out, kh_error *err);

/* Fills in what depends on the model where size is 0: the size, and padding and jitters that
 * presets give for 128 pixels. kh_dream_create does the same. */
KH_API void kh_dream_fit(kh_dream_settings *s, const kh_model_info *info);

/* ---- what it is after ------------------------------------------------------------------------ */

typedef enum kh_dream_goal {
    KH_GOAL_NEURON,    /* hidden unit `index` of `block` */
    KH_GOAL_VALUE,     /* channel `index` of the heads' outputs of `block` (input of attn.proj) */
    KH_GOAL_DIRECTION, /* (h.d) max(0.1, cos(h, d))^power, h the stream behind `block` */
    KH_GOAL_LOGIT,     /* class `index` */
    KH_GOAL_PROBABILITY,
    KH_GOAL_LOG_PROBABILITY
} kh_dream_goal;

/* Weights add up; a negative weight asks for less. In a dream of several images, image i of n uses
 * weight + i / (n - 1) * (last_weight - weight) when interpolates is set. */
typedef struct kh_dream_term {
    kh_dream_goal goal;
    size_t block, index;
    double weight, last_weight;
    const float *direction; /* [dim], KH_GOAL_DIRECTION only; copied */
    double power;           /* of the cosine; 2 when 0 */
} kh_dream_term;

/* Which value of a neuron, and what its gradient is taken to be. */
typedef enum kh_dream_gate {
    KH_GATE_PRE,           /* before the activation function */
    KH_GATE_POST,          /* behind it: fades to noise where h < -0.75 (figure 7) */
    KH_GATE_POST_WARM,     /* before it for warm_steps, then behind it */
    KH_GATE_POST_POSITIVE, /* value behind it, gradient max(g', 0) */
    KH_GATE_POST_PHI       /* value behind it, gradient Phi(h) */
} kh_dream_gate;

typedef enum kh_dream_tokens {
    KH_TOKENS_ALL,     /* class token included, as the reference */
    KH_TOKENS_CLASS,   /* token 0 */
    KH_TOKENS_PATCHES, /* without prefix tokens */
    KH_TOKENS_CELL,    /* one patch, `cell` counted row by row */
    KH_TOKENS_BOTH     /* half the class token, half the mean of the patches */
} kh_dream_tokens;

typedef enum kh_dream_diversity {
    KH_DIVERSITY_NONE,
    KH_DIVERSITY_UNITS, /* sum over tokens and pairs of cosines of hidden vectors */
    KH_DIVERSITY_GRAM   /* the early version: token Gram matrices of pairs i != i' */
} kh_dream_diversity;

typedef struct kh_dream_objective {
    const kh_dream_term *terms; /* copied */
    size_t term_count;
    kh_dream_gate gate;
    size_t warm_steps; /* KH_GATE_POST_WARM; 50 when 0 */
    kh_dream_tokens tokens;
    size_t cell;
    size_t images; /* of this dream; they share draws; 1 when 0 */
    bool interpolates;
    kh_dream_diversity diversity; /* needs a KH_GOAL_NEURON term and two images */
    double lambda;                /* loss += lambda * D, positive: images grow apart */
    bool lambda_is_relative;      /* D is the mean over pairs i != i' (lambda' in docs) */
    /* A photo to start from: [3, size, size] in [0, 1]; NULL: start from noise. Copied. Needs
     * KH_PAINT_FOURIER; its loss gets penalty * mean((I - I0)^2). */
    const float *photo;
    double penalty;
    /* MaCo magnitudes [3, size, size / 2 + 1]; NULL: a fitted natural spectrum. Copied. */
    const float *magnitude;
    size_t target; /* class whose logit and probability logs show; SIZE_MAX: none */
} kh_dream_objective;

/* Weights of k neurons by the classes' alignment scores: "equal", "score" (s / sum s) or "softmax".
 * Errors: KH_E_ARG count 0; KH_E_NUMERIC "score" with a score that is not positive; KH_E_NOT_FOUND
 * unknown name. */
KH_API kh_status kh_dream_weights(const char *how, const float *scores, size_t count, double *out,
                                  kh_error *err);

/* What a preset goes with beside its settings: which value of a neuron, which tokens (the class
 * token for presets of ours where the model has one), and the steps pictures were kept of. */
typedef struct kh_dream_usage {
    kh_dream_gate gate;
    kh_dream_tokens tokens;
    size_t snapshots[4]; /* ascending; 0 behind the last */
} kh_dream_usage;

/* Errors: KH_E_NOT_FOUND. */
KH_API kh_status kh_dream_preset_usage(const char *name, const kh_model_info *info,
                                       kh_dream_usage *out, kh_error *err);

/* ---- dreams ---------------------------------------------------------------------------------- */

typedef struct kh_dreamer kh_dreamer;
typedef struct kh_dream kh_dream;

/* Belongs to ctx; model must outlive it and be used by nobody else while dreamers are created or
 * step for the first time (gradients need a second copy of the weights). */
KH_API kh_status kh_dreamer_create(kh_ctx *ctx, kh_model *model, kh_dreamer **out, kh_error *err);
KH_API void kh_dreamer_free(kh_dreamer *dreamer);

/* name seeds the dream's streams together with settings->seed ("b10n1198", "class_207"). Errors:
 * KH_E_ARG impossible settings or objective, KH_E_UNSUPPORTED, KH_E_MEMORY. */
KH_API kh_status kh_dream_create(kh_dreamer *dreamer, const char *name,
                                 const kh_dream_settings *settings,
                                 const kh_dream_objective *objective, kh_dream **out,
                                 kh_error *err);
KH_API void kh_dream_free(kh_dream *dream);

/* One step of every dream, in one batch. Dreams should be sorted by their highest block, because
 * the batch runs as far as its highest one. Errors: KH_E_NUMERIC a loss or gradient that is no
 * number (the dreams stay as they were), KH_E_MEMORY. */
KH_API kh_status kh_dreamer_step(kh_dreamer *dreamer, kh_dream *const *dreams, size_t count,
                                 kh_error *err);

/* Bytes of the pass of the last step: activations and scratch. */
KH_API size_t kh_dreamer_memory_bytes(const kh_dreamer *dreamer);
/* Highest block any term reads; the model's last for class goals. */
KH_API size_t kh_dream_block(const kh_dream *dream);
KH_API size_t kh_dream_images(const kh_dream *dream);
KH_API size_t kh_dream_size(const kh_dream *dream);
KH_API size_t kh_dream_steps_done(const kh_dream *dream);

/* Of the last step, before its update; means over images, views and the objective's tokens. */
typedef struct kh_dream_stats {
    double loss;
    double mean_pre, mean_post; /* of the first neuron term; NaN without one */
    double share_positive;      /* tokens with h > 0 */
    double share_alive;         /* tokens with h > -0.75, where GELU still rises */
    double max_pre;
    double diversity; /* mean cosine of pairs of images; NaN without the term */
    double gradient_norm;
} kh_dream_stats;
KH_API kh_dream_stats kh_dream_get_stats(const kh_dream *dream);

/* The image as painted, [3, size, size], in [low, high]. */
KH_API kh_status kh_dream_pixels(kh_dream *dream, size_t image, float *out, size_t count,
                                 kh_error *err);
/* As bytes: (int)(255 I), truncated; ranges other than [0, 1] are clipped to their 1 % and 99 %
 * quantiles and stretched (MaCo). out is a new image. */
KH_API kh_status kh_dream_picture(kh_dream *dream, size_t image, kh_image *out, kh_error *err);
/* How often the gradient touched a pixel: [size, size] in [0, 1]; KH_PAINT_MACO and _STANDARD. */
KH_API kh_status kh_dream_alpha(const kh_dream *dream, size_t image, float *out, size_t count,
                                kh_error *err);

/* Everything needed to go on with the same bytes. load refuses a state of another name, preset,
 * size or seed. The file appears whole or not at all. */
KH_API kh_status kh_dream_save(const kh_dream *dream, const char *path, kh_error *err);
KH_API kh_status kh_dream_load(kh_dream *dream, const char *path, kh_error *err);

/* ---- how painted pictures are recognised -------------------------------------------------------
 */

/* How a picture is shown to a classifier. */
typedef enum kh_dream_view {
    KH_VIEW_SQUASH, /* bilinear straight to the input size, as the report did */
    KH_VIEW_CROP,   /* the checkpoint's own preprocessing */
    KH_VIEW_RIM     /* as while painting: a grey rim of 12/128, enlarged */
} kh_dream_view;
KH_API const char *kh_dream_view_name(kh_dream_view view); /* "squash", "crop", "rim" */

/* A classifier and the memory to ask it about `batch` pictures at once. Belongs to ctx. */
typedef struct kh_dream_judge kh_dream_judge;
/* Errors: KH_E_UNSUPPORTED no classifier. */
KH_API kh_status kh_dream_judge_create(kh_ctx *ctx, const kh_model *model, size_t batch,
                                       kh_dream_judge **out, kh_error *err);
KH_API void kh_dream_judge_free(kh_dream_judge *judge);
/* logits [count, classes]; norm must not be KH_NORM_NONE. */
KH_API kh_status kh_dream_judge_logits(kh_dream_judge *judge, const kh_image *pictures,
                                       size_t count, kh_dream_view view, kh_dream_norm norm,
                                       float *logits, kh_error *err);

/* Wilson's 95 % interval of a share k / n. */
KH_API void kh_dream_interval(size_t k, size_t n, double *low, double *high);

/* ---- beside natural images ----------------------------------------------------------------------
 */

/* How neurons answer to pictures: the mean of the memory coefficient over all tokens (or those a
 * dream was after: ALL, CLASS and PATCHES are told apart); and the final tokens, whose distances
 * say how plausible a picture is. Belongs to ctx. */
typedef struct kh_dream_probe kh_dream_probe;
/* neurons [count] may repeat. */
KH_API kh_status kh_dream_probe_create(kh_ctx *ctx, const kh_model *model, const kh_neuron *neurons,
                                       size_t count, kh_dream_tokens tokens, size_t batch,
                                       kh_dream_probe **out, kh_error *err);
KH_API void kh_dream_probe_free(kh_dream_probe *probe);
/* Floats per image of the final patch tokens (behind the final norm where there is one). */
KH_API size_t kh_dream_probe_features(const kh_dream_probe *probe);
/* inputs [images, 3, height, width] normalised, images <= batch; scores [images, count]; features
 * (or NULL) [images, kh_dream_probe_features]. */
KH_API kh_status kh_dream_probe_run(kh_dream_probe *probe, const float *inputs, size_t images,
                                    float *scores, float *features, kh_error *err);

/* ---- magnitudes ------------------------------------------------------------------------------ */

/* Mean magnitude spectrum of images in the decorrelated space MaCo paints in: each image is shrunk
 * or enlarged to size x size, taken through logit and the inverse colour matrix, transformed, and
 * the absolute values are averaged. out [3, size, size / 2 + 1]. */
KH_API kh_status kh_dream_magnitude(const kh_image *images, size_t count, size_t size, float *out,
                                    size_t out_count, kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
