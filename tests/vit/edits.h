/* vit/edits.h: the same change of a site for the pass and for the float64 path. */
#ifndef KH_TEST_VIT_EDITS_H
#define KH_TEST_VIT_EDITS_H

#include "vit/passes.h"
#include "vit/reference.h"

/* What a run of the float64 path changes and remembers. */
typedef struct edit_watch {
    const kh_model *model;
    const kh_edit *edits;
    size_t edit_count;
    size_t image;             /* which of the batch this run is */
    const char *const *sites; /* to remember, */
    double **kept;            /* here, after the edits; may be NULL */
    size_t site_count;
    const float *const *seeds; /* NULL, or [site_count][site.count]: */
    double total;              /* sum_i <seeds[i], site_i> */
} edit_watch;

/* A ref_hook; user is an edit_watch. */
void edit_watch_hook(void *user, const char *site, double *values, size_t count);

#endif
