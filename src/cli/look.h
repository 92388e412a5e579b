/* cli/look.h: what `look` computed about a set of images, and its files and figures. */
#ifndef KH_CLI_LOOK_H
#define KH_CLI_LOOK_H

#include "cli/images.h"
#include "cli/session.h"

/* Everything about all images of a run; arrays are indexed by image. */
typedef struct kh_look_result {
    const kh_model *model;
    const kh_ranking *ranking;
    kh_look look;
    char **paths;
    kh_image *photos;              /* what the model saw */
    float *tensors;                /* normalised input, kept for r_compat only */
    size_t *truth;                 /* SIZE_MAX when the path names no class */
    const kh_broken_image *broken; /* those that could not be read */
    size_t broken_count;
    kh_scale scale;
    bool r_compat, norm_before_mean, asked_class;
    double percentile; /* of the masks, in [0, 100] */
    const char *site;  /* "post", "pre", "pre_nobias" */
    const char *block; /* ranked within this one; NULL: over all */
    bool from_truth, exif_rotate, gray16_scale;
    char settings_text[200];
} kh_look_result;

/* look.csv, act_scale.csv, map.npy, and with block maps block_map.npy and mask_stats.csv. */
kh_status kh_look_write_files(const kh_look_result *r, const char *folder, kh_error *err);
/* look.png/.svg (figures 10-11; pages of 12 images) and blocks_<name>.png/.svg (figures 1-2). */
kh_status kh_look_write_figures(const kh_look_result *r, const char *folder, kh_error *err);

/* File names of the pictures, without their endings; room >= KH_LOOK_STEM_BYTES. */
void kh_look_page_stem(const kh_look_result *r, size_t page, char *out, size_t room); /* from 1 */
void kh_look_blocks_stem(const kh_look_result *r, size_t image, char *out, size_t room);

/* The photograph as floats to draw on: [height * width, 3]. */
kh_status kh_look_photo(const kh_look_result *r, size_t image, float **out, kh_error *err);

enum { KH_LOOK_ROWS_PER_PAGE = 12, KH_LOOK_STEM_BYTES = 128 };

#endif
