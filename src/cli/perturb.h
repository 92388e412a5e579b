/* cli/perturb.h: what keyhole perturb leaves in its folder. */
#ifndef KH_CLI_PERTURB_H
#define KH_CLI_PERTURB_H

#include "cli/images.h"
#include "cli/outdir.h"
#include "cli/session.h"

typedef struct kh_perturb_settings {
    kh_common common;
    kh_model_settings model;
    const char *out, *truth, *tokens, *softmax, *label_file;
    size_t steps, random, seed, batch, pictures;
    bool neuron_gradients, no_relevance, exif_rotate, overwrite;
} kh_perturb_settings;

/* Maps of all images seen so far, until they are written. */
typedef struct kh_perturb_files {
    const kh_perturb_settings *settings;
    const kh_model *model;
    const kh_source *source;
    size_t patches, count;
    size_t *ids; /* [count] */
    /* [count, patches]; neuron NULL unless asked for, relevance unless it was left out */
    float *gradient, *neuron, *relevance;
    kh_broken_image *broken;
    size_t broken_count;
    kh_broken_image *broken_maps; /* images of which the label map is */
    size_t broken_maps_count;
    kh_status broken_status; /* KH_E_MEMORY: not all are in the lists */
} kh_perturb_files;

/* The maps there are, in the order in which they are drawn. */
typedef struct kh_perturb_map {
    const char *name;    /* of a picture's file: "gradient" */
    const char *file;    /* "map.npy" */
    const char *meaning; /* for the manifest */
    const char *title;   /* of a column of the figure */
    const char *label;   /* of its colour bar */
    bool is_signed;      /* its colours are centred on 0 */
    bool is_relative;    /* its values are shares of the largest already */
    const float *values; /* [count, patches] */
} kh_perturb_map;
enum { KH_PERTURB_MAPS = 3 };
/* How many of out[KH_PERTURB_MAPS] were filled. */
size_t kh_perturb_maps(const kh_perturb_files *files, kh_perturb_map *out);

/* Shares with Wilson's 95 % intervals. Patches of an image are alike, so those of identifiable
 * patches are as wide as if an image were one of them. */
typedef struct kh_perturb_rates {
    kh_band accuracy, base_accuracy, identifiable, base_identifiable;
} kh_perturb_rates;
kh_perturb_rates kh_perturb_rates_of(const kh_perturb_row *row);

kh_status kh_perturb_files_init(kh_perturb_files *files, const kh_perturb_settings *settings,
                                const kh_model *model, const kh_source *source, kh_error *err);
void kh_perturb_files_clear(kh_perturb_files *files);
/* The callback of kh_perturb_options; user: the files. */
void kh_perturb_files_see(void *files, size_t image, const float *gradient, const float *neuron,
                          const float *relevance);
/* And that of images which cannot be read. */
void kh_perturb_files_miss(void *files, size_t image, const char *reason);
void kh_perturb_files_miss_map(void *files, size_t image, const char *reason);
/* perturb.csv, removal.csv, auc.csv, images.csv, map.npy, relevance.npy, neuron_gradient.npy,
 * figures, pictures and manifest.json. */
kh_status kh_perturb_files_write(const kh_perturb_files *files, const kh_perturbation *p,
                                 const kh_decode_options *decode, kh_error *err);

/* One map over its photograph, both [height, width, 3] of the model's input; values from low to
 * high run through JET's colours. */
kh_status kh_perturb_overlay(const kh_perturb_files *files, const float *map, kh_range range,
                             const float *photo, uint8_t *rgb, kh_error *err);
/* What the model saw of an image: its bytes, to be cleared. */
kh_status kh_perturb_photo(const kh_perturb_files *files, size_t row,
                           const kh_decode_options *decode, kh_image *out, kh_error *err);

/* perturb_figures.c: removal curves, shares, a sheet of maps. */
kh_status kh_perturb_write_figures(const kh_perturb_files *files, const kh_perturbation *p,
                                   const kh_decode_options *decode, kh_error *err);
void kh_perturb_list_figures(const kh_perturbation *p, kh_manifest *manifest);

json_t *kh_perturb_json(const kh_perturb_files *files, const kh_perturbation *p);

#endif
