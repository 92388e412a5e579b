/* keyhole/export.h: exemplars of a run for other programs. */
#ifndef KEYHOLE_EXPORT_H
#define KEYHOLE_EXPORT_H

#include "keyhole/base.h"
#include "keyhole/compute.h"
#include "keyhole/io.h"
#include "keyhole/vit.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kh_export_options {
    const char *run, *out;
    bool channels;            /* of the second matrix (lens "channels") instead of key neurons */
    const kh_neuron *neurons; /* which units; in any order, twice counts once. NULL: all */
    size_t neuron_count;
    size_t ranks;          /* exemplars of each unit; 0: as many as the run keeps */
    bool use_run_quantile; /* masks at the run's dissection threshold instead of 0.99 */
    bool zero_pad;         /* maps fall to 0 beyond the grid, as in MILAN, instead of staying */
    size_t batch;          /* 8 */
    const char *command;   /* NULL, or what the manifest says was run */
    const kh_decode_options *decode;
    /* NULL, or called once everything is checked, before the first file is written */
    kh_status (*begin)(void *user, kh_error *err);
    void *begin_user;
    kh_progress_fn progress; /* "places" */
    void *progress_user;
} kh_export_options;
KH_API kh_export_options kh_export_options_default(void);

typedef struct kh_export_summary {
    size_t layers, units, ranks;
    size_t images;  /* that went through the model */
    uint64_t bytes; /* of pictures and masks */
} kh_export_summary;

/* Exemplars of a complete run in the layout that MILAN's programs read: for each block a folder
 * blocks.B.mlp.act (key neurons) or blocks.B.mlp.fc2 (channels) with
 *
 *     images.npy       |u1 [units, ranks, 3, height, width], what the model saw
 *     masks.npy        |u1 [units, ranks, 1, height, width], 1 where the map, brought to the input
 *                      bilinearly, is strictly above the unit's threshold
 *     activations.csv  %.5e, a row for each unit; nan where the run has no more exemplars
 *     ids.csv          image numbers of the run; -1 there
 *     units.npy        <i8 [units], ascending; only when not all units of the block are exported
 *
 * Images are read again from the source and go once through the model, so memory does not grow with
 * their number. Errors: KH_E_ARG another model, preprocessing or image set than the run's, or
 * images that changed since; KH_E_NOT_FOUND no complete run, or one without these exemplars. */
KH_API kh_status kh_atlas_export_milan(kh_ctx *ctx, const kh_model *model, const kh_source *source,
                                       const kh_export_options *options, kh_export_summary *summary,
                                       kh_error *err);

#ifdef __cplusplus
}
#endif
#endif
