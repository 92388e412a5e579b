/* cli/reproduce.h: the report's claims tested on a model and images. Rules:
 * docs/analyses/claims.md.
 */
#ifndef KH_CLI_REPRODUCE_H
#define KH_CLI_REPRODUCE_H

#include "cli/session.h"

#include "base/text.h"

#include "keyhole/claims.h"

enum {
    KH_CLAIMS = 17,
    KH_CLAIM_NUMBERS = 8,
    KH_GOLDENS = 9,
    KH_REPRODUCE_PATH = 4096,
    KH_REPRODUCE_FIGURES = 16
};

typedef struct kh_reproduce_settings {
    const char *out, *truth, *atlas, *ablate, *relatives, *golden_image, *lenses;
    size_t per_class; /* images of each class whose maps are looked at */
    size_t batch, draws, seed;
    double percentile;
    bool no_ablation;
    kh_decode_options decode;
    const char *model;   /* as it was asked for */
    const char *command; /* for manifests */
    kh_progress_fn progress;
} kh_reproduce_settings;

/* One measured number of a claim. */
typedef struct kh_claim_number {
    char name[80];        /* "classes with their top-1 in block 10" */
    kh_band band;         /* lo, hi NaN where there is no interval */
    size_t n;             /* of what the interval is over; 0: not said */
    const char *interval; /* "Wilson, classes" */
    const char *unit;     /* "" or "%": how people read it */
} kh_claim_number;

typedef struct kh_claim {
    kh_verdict verdict;
    kh_claim_number numbers[KH_CLAIM_NUMBERS]; /* the first is what the verdict is about */
    size_t number_count;
    double chance, bar; /* of the first number, NaN where there is none; for the page's scale */
    char setting[400];  /* on what, with which options */
    char found[700];    /* one or two sentences */
    char missing[300];  /* why it cannot be tested */
} kh_claim;

/* What does not depend on the model: in reproduce_texts.c. */
typedef struct kh_claim_text {
    const char *id;     /* "C1" */
    const char *claim;  /* the report's words, short */
    const char *source; /* where the report says it */
    const char *test;   /* how it is measured, with chance and bar */
    const char *limit;  /* what the number cannot say */
} kh_claim_text;
extern const kh_claim_text kh_claim_texts[KH_CLAIMS];

typedef enum kh_golden_state {
    KH_GOLDEN_NEEDS, /* not compared; `got` says what it needs */
    KH_GOLDEN_SAME,
    KH_GOLDEN_DIFFERS
} kh_golden_state;

typedef struct kh_golden {
    kh_golden_state state;
    char want[300], got[400];
} kh_golden;
extern const char *const kh_golden_texts[KH_GOLDENS]; /* what is compared */

/* The maps of some images of every class, beside the masks where they are known. */
typedef struct kh_reproduce_maps {
    size_t images;
    size_t *id;          /* [images] in the source */
    size_t *class_index; /* [images] */
    kh_truth_plan plan;
    kh_truth_score *scores;              /* [images, plan.scored], or NULL without masks */
    bool *is_seen;                       /* [images] false: could not be read */
    uint8_t *has_dot, *has_shuffled_dot; /* [images] in rank 0's map */
    float *rank_zero;                    /* [images, patches] its map */
    size_t dots, worst_rounding, shown;  /* shown: images whose object is known */
} kh_reproduce_maps;

typedef struct kh_reproduce {
    kh_session *session;
    const kh_reproduce_settings *settings;
    const kh_model_info *info;
    const kh_classes *classes;
    kh_source *source;
    kh_label_set *labels;                                     /* NULL without --truth */
    char run[KH_REPRODUCE_PATH], database[KH_REPRODUCE_PATH]; /* the atlas and its tables */
    char ablation_folder[KH_REPRODUCE_PATH], ablation[KH_REPRODUCE_PATH]; /* tables; "" without */
    kh_class_by class_by; /* of that atlas's class means */
    kh_class_reduction class_reduction;
    bool has_dissection, is_imagenet, is_run_reused;
    bool is_misused; /* --relatives names what is no class */
    size_t labelled; /* images with a true class */
    kh_ranking ranking;
    double *class_score; /* [classes] mean alignment over all value vectors */
    kh_null_band null_band;
    size_t *top_blocks; /* [blocks] classes whose first neuron is there */
    bool *is_relative;  /* [classes] */
    size_t relatives;
    char relatives_name[80];
    kh_reproduce_maps maps;
    kh_claim claims[KH_CLAIMS];
    kh_golden goldens[KH_GOLDENS];
    bool fits_goldens;                           /* sizes of the goldens' architecture */
    kh_text figures;                             /* HTML of the figures */
    char figure_files[KH_REPRODUCE_FIGURES][64]; /* under DIR, for the manifest */
    size_t figure_count;
} kh_reproduce;

/* Everything before the verdicts: ranking, atlas, dissection, ablation, maps. Pair:
 * kh_reproduce_clear. */
kh_status kh_reproduce_gather(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_look_at_maps(kh_reproduce *r, kh_error *err);
/* --ablate, if it was given; then an ablation if there is none. */
kh_status kh_reproduce_find_ablation(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_ablate(kh_reproduce *r, kh_error *err);
void kh_reproduce_clear(kh_reproduce *r);

/* Claims: of the weights, of tables, of maps, of causes. */
kh_status kh_reproduce_judge_weights(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_judge_classes(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_judge_distances(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_judge_maps(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_judge_causes(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_check_goldens(kh_reproduce *r, kh_error *err);

/* Figures into DIR/figures and their HTML into r->figures. */
kh_status kh_reproduce_draw(kh_reproduce *r, kh_error *err);
/* index.html, then the tables: claims.csv, goldens.csv, manifest.json. */
kh_status kh_reproduce_write(kh_reproduce *r, kh_error *err);
kh_status kh_reproduce_write_tables(const kh_reproduce *r, kh_error *err);

/* ---- helpers of the judges ------------------------------------------------------------------- */

static inline kh_claim *kh_claim_of(kh_reproduce *r, size_t number) {
    return &r->claims[number - 1]; /* C1 is the first */
}
void kh_claim_add(kh_claim *claim, const char *name, kh_band band, size_t n, const char *interval,
                  const char *unit);
/* A number without an interval. */
void kh_claim_add_plain(kh_claim *claim, const char *name, double value, const char *unit);
void kh_claim_levels(kh_claim *claim, double chance, double bar);
void kh_claim_cannot(kh_claim *claim, const char *format, ...) KH_PRINTF(2, 3);
/* Cannot be tested with fewer `things` than an interval needs: `what`, "classes with images". */
void kh_claim_too_few(kh_claim *claim, size_t things, const char *what);
/* Mean over classes with a bootstrap interval (none over too few: kh_claim_enough); NaNs left out.
 */
kh_status kh_reproduce_band(const kh_reproduce *r, const double *values, size_t count, kh_band *out,
                            size_t *n, kh_error *err);
/* Rows of a query on the atlas. */
kh_status kh_reproduce_ask(const kh_reproduce *r, const char *query, kh_answer **out,
                           kh_error *err);
bool kh_reproduce_has_table(const char *database, const char *table);

/* ---- HTML ------------------------------------------------------------------------------------ */

/* Adds text with & < > " escaped, or printf's result escaped. */
void kh_html_add(kh_text *html, const char *text);
void kh_html_addf(kh_text *html, const char *format, ...) KH_PRINTF(2, 3);
/* <figure> with the PNG inside (data:), `width` px wide where there is room. */
void kh_html_figure(kh_text *html, const char *id, const uint8_t *bytes, size_t count, size_t width,
                    const char *alternative, const char *caption);
/* "0.39 [0.30, 0.48]", "94.0 %" */
void kh_claim_number_text(const kh_claim_number *number, char *out, size_t out_bytes);

#endif
