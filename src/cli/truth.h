/* cli/truth.h: what `truth` measured in the demo world, and its files and figures. Classes are
 * numbered as the model numbers them. */
#ifndef KH_CLI_TRUTH_H
#define KH_CLI_TRUTH_H

#include "cli/session.h"

typedef struct kh_truth_settings {
    size_t scenes; /* of each class */
    uint64_t seed;
    size_t topk, draws, batch, resamples;
    kh_align_mode mode;
    double quantile; /* of the masks, in [0, 1] */
    uint32_t flags;  /* kh_diorama_flags */
} kh_truth_settings;

/* One scene, with the map of its class's first neuron. */
typedef struct kh_truth_scene {
    uint64_t index;
    size_t class_index, predicted;
    kh_truth_score score;
} kh_truth_scene;

typedef struct kh_truth_result {
    const kh_model *model;
    kh_truth_settings settings;
    size_t classes, count; /* count: of all scenes */
    size_t *world;         /* [classes] the demo world's number of each class */
    kh_ranking ranking;
    kh_truth_plan plan;
    kh_truth_scene *scenes; /* [count], class by class */
    kh_truth_mean *means;   /* [classes, plan.scored] */
    kh_truth_class *class;  /* [classes] */
    kh_truth_selectivity *selectivity;
    kh_truth_mean *middle; /* [classes] of a map of the picture's middle */
    size_t *correct;       /* [classes] scenes with the right prediction */
    size_t *fig3;          /* [topk, blocks] */
    size_t *best_iou;      /* [topk] classes whose best rank it is */
    size_t *best_pointing;
} kh_truth_result;

/* A quantity with one value per class, for tables, means and intervals. */
typedef struct kh_truth_quantity {
    const char *key;  /* "iou_top1" */
    const char *text; /* for people */
    double (*of)(const kh_truth_result *r, size_t class_index);
} kh_truth_quantity;
extern const kh_truth_quantity kh_truth_quantities[]; /* key NULL after the last */

/* Renders, looks and scores, one class in memory at a time. Pair: kh_truth_result_clear. */
kh_status kh_truth_run(kh_session *session, const kh_truth_settings *settings, kh_truth_result *r,
                       kh_error *err);
void kh_truth_result_clear(kh_truth_result *r);

/* Mean over classes of a quantity, with its interval. */
kh_status kh_truth_band(const kh_truth_result *r, const kh_truth_quantity *q, kh_band *out,
                        kh_error *err);

/* Classes whose first neuron has a larger mean IoU than every random one. */
size_t kh_truth_unbeaten(const kh_truth_result *r);

/* Scenes of the demo world as the model sees them, with the true mask of the class's object. */
typedef struct kh_truth_stage {
    kh_diorama *diorama;
    const kh_preprocess *how;
    size_t size; /* of the rendered picture */
    uint8_t *rgb;
    uint16_t *labels;
} kh_truth_stage;

kh_status kh_truth_stage_open(kh_truth_stage *stage, const kh_model *model,
                              const kh_truth_settings *settings, kh_error *err);
/* floats [3, height, width]; truth [height, width] 1 on the object; bytes (may be NULL): what the
 * model sees, to be cleared by the caller. */
kh_status kh_truth_stage_render(kh_truth_stage *stage, uint64_t index, float *floats,
                                uint8_t *truth, kh_image *bytes, kh_error *err);
void kh_truth_stage_close(kh_truth_stage *stage);

/* truth*.csv, summary.csv, fig3.csv and manifest.json. */
kh_status kh_truth_write_files(const kh_truth_result *r, const char *folder, kh_error *err);
/* fig3, truth_classes, truth_ranks, truth_blocks. */
kh_status kh_truth_write_charts(const kh_truth_result *r, const char *folder, kh_error *err);
/* truth_maps: one scene of every class. */
kh_status kh_truth_write_maps(kh_session *session, const kh_truth_result *r, const char *folder,
                              kh_error *err);
/* One line for the foot of a figure. */
void kh_truth_footnote(const kh_truth_result *r, char *out, size_t out_bytes);

#endif
