/* cli/align.h: what `align` computed, and the two ways it leaves: files and figures. */
#ifndef KH_CLI_ALIGN_H
#define KH_CLI_ALIGN_H

#include "cli/session.h"

typedef struct kh_align_result {
    kh_ranking ranking;
    kh_null_band null_band;
    bool has_null;
    kh_shared shared;
    kh_rank_curve *curve; /* [k] */
    size_t *histogram;    /* [k, blocks]: classes whose rank-r value vector is in block b */
    kh_rank_options options;
    char settings_text[160]; /* for footnotes: "mode ln, MLP value vectors" */
    char null_name[80];
} kh_align_result;

kh_status kh_align_write_files(const kh_align_result *r, const kh_model *model, const char *folder,
                               bool has_matrix, kh_error *err);
kh_status kh_align_write_figures(const kh_align_result *r, const kh_model *model,
                                 const char *folder, kh_error *err);

#endif
