/* lens/aligner.h: an aligner taken apart, for analyses that swap its class vectors. */
#ifndef KH_LENS_ALIGNER_H
#define KH_LENS_ALIGNER_H

#include "compute/backend.h"
#include "lens/values.h"

struct kh_aligner {
    kh_ctx *ctx;
    const kh_model *model;
    kh_align_options options;
    size_t dim, blocks, units, classes;
    kh_lens_norm final;
    float *embeddings; /* [classes, dim] as stored */
    float *bias;       /* [classes] or NULL */
    double *constant;  /* [classes] */
    kh_weight *packed; /* class vectors of the mode */
    float *scratch;    /* [units, dim] host: the stored matrix while it is transposed */
    float *rows;       /* [units, dim] host */
    float *x, *y;      /* backend: [ALIGNER_ROWS, dim], [ALIGNER_ROWS, classes] */
};

#define ALIGNER_ROWS 512

/* rows <- the block's value vectors as the mode wants them. */
kh_status kh_aligner_load(kh_aligner *aligner, size_t block, kh_error *err);

/* Rows of the last load times `packed` [classes, dim], finished: out [units, classes]. False when a
 * score is NaN or infinite. */
bool kh_aligner_scores(kh_aligner *aligner, const kh_weight *packed, const double *constant,
                       float *out);

#endif
