/* cli/exemplar_sheet.h: pages of a neuron's exemplars at several levels, with where it fires. */
#ifndef KH_CLI_EXEMPLAR_SHEET_H
#define KH_CLI_EXEMPLAR_SHEET_H

#include "cli/run_figures.h"
#include "cli/session.h"

/* One exemplar of one neuron. */
typedef struct kh_exemplar {
    size_t level, image; /* level: a place in kh_exemplar_levels */
    double value;
    size_t truth; /* or KH_NO_CLASS */
    float *map;   /* [patches] coefficients, unclipped */
} kh_exemplar;

typedef struct kh_exemplars {
    kh_neuron neuron;
    size_t count;
    kh_exemplar *of; /* [count] by level, then rank */
    double threshold, density;
    size_t reads, hits, labelled, writes; /* reads, writes: class or KH_NO_CLASS */
    char verdict[24];
} kh_exemplars;

enum { KH_EXEMPLAR_LEVELS = 5 };
extern const char *const kh_exemplar_levels[KH_EXEMPLAR_LEVELS]; /* "top", "q95", ... */

/* What the run's tables say of a neuron. Errors: KH_E_NOT_FOUND the run kept no exemplars. Pair:
 * kh_exemplars_clear. */
kh_status kh_exemplars_read(const kh_run *run, kh_neuron neuron, kh_exemplars *out, kh_error *err);
void kh_exemplars_clear(kh_exemplars *exemplars);

/* Reads every needed picture once and fills in the maps; pictures [images] are kept as the model
 * saw them, those not needed stay empty. */
kh_status kh_exemplars_look(kh_session *session, const kh_source *source,
                            const kh_decode_options *decode, size_t batch, kh_exemplars *sets,
                            size_t count, kh_image *pictures, kh_error *err);

/* folder/bBnN.png and .svg */
kh_status kh_exemplars_draw(const kh_run *run, const kh_model *model, const kh_exemplars *of,
                            const kh_image *pictures, const char *folder, kh_error *err);

#endif
