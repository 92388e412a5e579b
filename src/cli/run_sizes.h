/* cli/run_sizes.h: how large the figures of an atlas run will be, before it begins. */
#ifndef KH_CLI_RUN_SIZES_H
#define KH_CLI_RUN_SIZES_H

#include "cli/command.h"

/* What decides it. */
typedef struct kh_run_sizes {
    size_t blocks, neurons, classes;
    size_t classes_seen, classes_counted, classes_compared; /* of kh_atlas_estimate */
    const char *const *lenses;                              /* [lens_count] of both passes */
    size_t lens_count;
} kh_run_sizes;

/* Bytes of all pages, PNG and SVG; *pages is their number. Within a fifth of what is written:
 * a page is so much for its letters and axes, for each block, and for what it has cells, stems or
 * dots for. */
uint64_t kh_run_sizes_figures(const kh_run_sizes *of, size_t *pages);

#endif
