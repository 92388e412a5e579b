/* atlas/export.h: inside kh_atlas_export_milan. */
#ifndef KH_ATLAS_EXPORT_H
#define KH_ATLAS_EXPORT_H

#include "atlas/job.h"
#include "keyhole/export.h"
#include "keyhole/store.h"

/* What MILAN calls a layer: the units of one block that are exported, in ascending order. */
typedef struct kh_export_layer {
    size_t block, count; /* units */
    size_t *units;       /* [count] */
    float *threshold;    /* [count] */
    float *scale;        /* [count] LayerScale of channels, or ones */
    int64_t *ids;        /* [count, ranks]; -1: none */
    float *activations;  /* [count, ranks]; NaN: none */
    kh_npy_bytes *images, *masks;
    bool differs; /* from what the run says */
} kh_export_layer;

/* A place in the output and the image that belongs there. */
typedef struct kh_export_place {
    uint64_t image;
    float value; /* as the run says */
    uint32_t layer, row, rank;
} kh_export_place;

typedef struct kh_export {
    kh_ctx *ctx;
    const kh_model *model;
    const kh_model_info *info;
    const kh_source *source;
    const kh_export_options *options;
    size_t ranks, pixels, width; /* width: units of a block */
    kh_export_layer *layers;
    size_t layer_count;
    kh_export_place *places; /* in order of image */
    size_t place_count;
    char run_digest[65];
} kh_export;

/* Layers, units, thresholds and places from the run. The caller clears. */
kh_status kh_export_read(kh_export *e, kh_error *err);
void kh_export_clear(kh_export *e);
/* Folder of a layer: OUT/blocks.B.mlp.act or .fc2, and a file in it. */
kh_status kh_export_path(const kh_export *e, size_t layer, const char *file,
                         char out[KH_ATLAS_PATH], kh_error *err);
/* Pictures and masks: one pass over the images that have a place. *images: how many. */
kh_status kh_export_pictures(kh_export *e, size_t *images, kh_error *err);

/* map [grid] brought to height x width as kh_lens_upsample, with zeros beyond the grid instead of
 * its edge. padded: room for (grid.height + 2) * (grid.width + 2). */
void kh_export_upsample_zeros(const float *map, kh_grid grid, size_t height, size_t width,
                              float *padded, float *out);

#endif
